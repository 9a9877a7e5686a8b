"""Who may log in, with what, how often they may try, and what is kept of it."""

import copy
import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from backend.errors import UserError
from backend.server import login
from backend.server.accounts import Accounts, parse_entries, users_of
from backend.server.api_tokens import ApiTokens
from backend.server.doorkeeper import Doorkeeper
from backend.server.guard import Guard
from backend.server.passwords import Secret, hash_password, new_secret, parse_hash
from backend.server.people import GRANTED, RISKS, ROLES, Person, may, owner_named
from backend.server.sessions import LIFETIME, Sessions
from backend.server.throttle import ALL_TRIES, TRIES, WINDOW, Throttle

CANARY = "CANARY-7f3a"
OWNER = "a" * 32


class Clock:
    """Time that goes on when a test says so."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


# secrets and hashes


def test_a_secret_shows_itself_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(CANARY)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").warning("%s %r", secret, {"password": secret})
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>40}", str([secret]), caplog.text]
    assert not any(CANARY in each for each in shown)
    with pytest.raises(TypeError):
        copy.copy(secret)  # which asks a value for its parts as pickle does
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY) and secret != Secret("other") and secret != CANARY


def test_a_hash_knows_its_password_and_nothing_else() -> None:
    made = hash_password(Secret("p\u00e4ssword"))
    assert made.matches(Secret("pa\u0308ssword"))  # the same letter, written as two
    assert not made.matches(Secret("password")) and not made.matches(Secret(""))
    assert "p\u00e4ss" not in str(made) + repr(made)
    assert parse_hash(str(made)) == made
    assert hash_password(Secret("p\u00e4ssword")) != made  # a salt of its own


@pytest.mark.parametrize("text", ["", "x" * 1025])
def test_what_is_no_password_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"from 1 to 1,024"):
        hash_password(Secret(text))


def test_a_hash_that_would_take_a_machine_down_is_none() -> None:
    salt = "A" * 24
    for text in (
        *("plain", "scrypt$15$8$1$!!!!!!!!$!!!!!!!!", f"scrypt$15$8$1${salt}$short"),
        *(
            f"scrypt$30$8$1${salt}${'A' * 43}=",
            f"scrypt$15$99$1${salt}${'A' * 43}=",
            f"scrypt$1$8$1${salt}${'A' * 43}=",
        ),
    ):
        assert parse_hash(text) is None, text


def test_new_secrets_have_128_bits_and_more() -> None:
    assert len({new_secret().reveal() for _ in range(100)}) == 100
    assert len(new_secret().reveal()) * 6 >= 128


# accounts


def test_logins_are_read_as_a1111_writes_them() -> None:
    read = parse_entries("anna:a:b , bert:c\n# nobody\n\nviewer vera:d\nclara", first="administrator", others="artist")
    assert [(each.name, each.role, each.password and each.password.reveal()) for each in read] == [
        ("anna", "administrator", "a:b"),
        ("bert", "artist", "c"),
        ("vera", "viewer", "d"),
        ("clara", "artist", None),
    ]


@pytest.mark.parametrize("text", [f"king anna:{CANARY}", f"a b c:{CANARY}", f":{CANARY}", f"a/b:{CANARY}", "anna:"])
def test_a_login_that_cannot_be_read_is_a_sentence_without_the_password(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_entries(f"x:y,{text}", first="artist", others="artist")
    assert CANARY not in str(refused.value)
    assert "number 2" in str(refused.value) or "'king'" in str(refused.value)


def test_a_name_twice_has_both_passwords_and_the_first_role() -> None:
    """A launch line may hold the same name for the page and for the API."""
    kept = str(hash_password(Secret("kept")))
    page = parse_entries("anna:page", first="administrator", others="artist")
    api = parse_entries(f"Anna:api,bert:{kept}", first="artist", others="artist")
    accounts = Accounts(users_of([*page, *api]))
    assert len(accounts) == 2
    for name, password in (("anna", "page"), ("ANNA", "api"), ("bert", "kept")):
        user = accounts.check(name, Secret(password))
        assert user and user.role == ("administrator" if name != "bert" else "artist")
    for name, password in (("anna", "kept"), ("nobody", "page"), ("", ""), ("bert", kept)):
        assert accounts.check(name, Secret(password)) is None
    assert "page" not in repr(accounts) and accounts.check("x", Secret("y")) is None


def test_roles_contain_each_other() -> None:
    granted = [GRANTED[role] for role in ROLES]
    assert granted[0] == set(RISKS) and granted[0] > granted[1] > granted[2] == {"read"}
    person = Person(name="x", role="artist", owner=OWNER, how="token", scopes=frozenset({"read", "manage"}))
    assert [risk for risk in RISKS if may(person, risk)] == ["read"]
    assert owner_named("x") == owner_named("x") != owner_named("y")


# sessions and tries


def test_a_session_ends_by_itself() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    token = sessions.begin("anna")
    clock.time += LIFETIME - 1
    assert sessions.name(token) == "anna"
    clock.time += 1
    assert sessions.name(token) is None
    assert sessions.name("") is None
    assert token not in repr(vars(sessions))


def test_a_mark_of_a_browser_cannot_be_made_up() -> None:
    sessions = Sessions()
    mark = sessions.mark()
    assert sessions.marked(mark) == mark.partition(".")[0]
    for wrong in ("", ".", "x", mark[:-1], f"{mark}0", Sessions().mark(), mark.replace(".", "é.")):
        assert sessions.marked(wrong) == "", wrong


def test_of_a_thousand_guesses_twenty_are_looked_at() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    one = 0
    for _ in range(1000):
        clock.time += WINDOW / 2000
        one += throttle.wait("one") == 0.0
    assert one == TRIES
    throttle = Throttle(clock)
    many = 0
    for number in range(1000):
        clock.time += WINDOW / 2000
        many += throttle.wait(f"address {number}") == 0.0
    assert many == ALL_TRIES
    # Whoever has logged in before is not kept out by that.
    assert throttle.wait("known", known=True) == 0.0
    assert 0 < throttle.wait("another") <= WINDOW
    clock.time += WINDOW
    assert throttle.wait("another") == 0.0


def test_who_was_right_is_forgiven() -> None:
    throttle = Throttle(Clock())
    for _ in range(100):
        assert throttle.wait("x") == 0.0
        throttle.forgive("x")


def test_a_throttle_forgets_old_addresses() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for number in range(30_000):
        throttle.wait(f"{number}", known=True)
    assert len(vars(throttle)["_tries"]) <= 10_000


@pytest.fixture(scope="module")
def accounts() -> Accounts:
    return Accounts(users_of(parse_entries("anna:secret,bert:brush", first="administrator", others="artist")))


def guarded(doorkeeper: Doorkeeper, address: str = "192.168.1.5") -> TestClient:
    app = FastAPI(openapi_url=None)
    app.include_router(login.router(doorkeeper))
    return TestClient(
        Guard(app, doorkeeper=doorkeeper), base_url="http://127.0.0.1:7860", client=(address, 1), follow_redirects=False
    )


def test_guesses_over_the_page_are_slowed_and_known_browsers_are_not(accounts: Accounts) -> None:
    clock = Clock()
    doorkeeper = Doorkeeper(accounts, throttle=Throttle(clock))
    right, wrong = {"username": "anna", "password": "secret"}, {"username": "anna", "password": "guess"}
    known = guarded(doorkeeper)
    assert known.post("/login", data=right).status_code == 303
    stranger = guarded(doorkeeper)
    assert [stranger.post("/login", data=wrong).status_code for _ in range(7)] == [401] * TRIES + [429] * 2
    refused = stranger.post("/login", data=right)
    assert refused.status_code == 429 and 0 < int(refused.headers["retry-after"]) <= WINDOW + 1
    assert 'role="alert"' in refused.text
    basic = stranger.get("/sdapi/v1/x", auth=("anna", "secret"))
    assert (basic.status_code, basic.json()["error"]) == (429, "too_many_requests")
    known.post("/logout")
    assert known.post("/login", data=right).status_code == 303  # from the same address
    clock.time += WINDOW
    assert stranger.post("/login", data=right).status_code == 303


def test_what_is_typed_is_not_said_again(accounts: Accounts) -> None:
    answer = guarded(Doorkeeper(accounts)).post("/login", data={"username": f"<script>{CANARY}", "password": CANARY})
    assert answer.status_code == 401 and CANARY not in answer.text + str(answer.headers)


def test_a_login_form_that_is_none_is_refused(accounts: Accounts) -> None:
    here = guarded(Doorkeeper(accounts))
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert here.post("/login", json={"username": "anna", "password": "secret"}).status_code == 415
    assert here.post("/login", content=b"x" * 9000, headers=form).status_code == 413
    for body in (b"", b"username=anna", b"\xff=%ff", b"&" * 3):
        assert here.post("/login", content=body, headers=form).status_code in (401, 429)


# tokens


def test_a_token_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    path = tmp_path / "api-tokens.json"
    tokens = ApiTokens(path)
    record, secret = tokens.make(name="Photoshop", user="anna", owner=OWNER, scopes=["make", "read"])
    assert record.scopes == ["read", "make"]
    text = path.read_text()
    assert secret.reveal() not in text and record.digest in text
    assert os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == 0o600
    again = ApiTokens(path)
    assert again.find(secret.reveal()) == record
    assert again.find("") is None and again.find(record.digest) is None
    with pytest.raises(UserError):
        again.forget(record.id, "bert")
    again.forget(record.id, "anna")
    assert ApiTokens(path).find(secret.reveal()) is None


@pytest.mark.parametrize("data", [b"{", b"[{}]", b'{"a": 1}', b"\xff"])
def test_a_damaged_file_of_tokens_is_kept_aside(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "api-tokens.json"
    path.write_bytes(data)
    assert ApiTokens(path).of("") == []
    (aside,) = tmp_path.iterdir()
    assert aside.read_bytes() == data and aside.name != path.name


@pytest.mark.parametrize(("name", "scopes"), [("", ["read"]), ("x\n", ["read"]), ("x", []), ("x", ["everything"])])
def test_a_token_that_cannot_be_is_a_sentence(name: str, scopes: list[str]) -> None:
    with pytest.raises(UserError):
        ApiTokens().make(name=name, user="", owner=OWNER, scopes=scopes)


def test_a_person_gives_tokens_of_what_they_may_and_takes_them_back(accounts: Accounts) -> None:
    doorkeeper = Doorkeeper(accounts)
    here = guarded(doorkeeper)
    here.cookies["atelier_login"] = doorkeeper.sessions.begin("bert")
    path = "/atelier/api-tokens"
    assert here.post(path, json={"name": "x", "scopes": ["manage"]}).status_code == 403
    made: Any = here.post(path, json={"name": "x", "scopes": ["read"]})
    assert made.status_code == 201
    program = guarded(doorkeeper)
    program.headers["authorization"] = f"Bearer {made.json()['token']}"
    said = program.get("/atelier/me").json()
    assert said == {"name": "bert", "role": "artist", "how": "token", "may": ["read"]}
    # One that could make others could never be taken back.
    assert program.post(path, json={"name": "y", "scopes": ["read"]}).status_code == 403
    assert program.get(path).status_code == 400
    assert "token" not in here.get(path).json()["tokens"][0]
    assert here.post(f"{path}/{made.json()['id']}/forget").status_code == 200
    answer = program.get("/atelier/me")
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")


def test_the_token_of_somebody_who_is_gone_is_none(accounts: Accounts) -> None:
    tokens = ApiTokens()
    _, secret = tokens.make(name="x", user="clara", owner=OWNER, scopes=["read"])
    here = guarded(Doorkeeper(accounts, tokens=tokens))
    assert here.get("/atelier/me", headers={"authorization": f"Bearer {secret.reveal()}"}).status_code == 401
