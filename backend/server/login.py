"""Logging in and out, and the tokens that somebody gives to programs."""

import html
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from backend.errors import UserError
from backend.server.arrival import arrival_of
from backend.server.doorkeeper import KNOWN_COOKIE, LOGIN_COOKIE, Doorkeeper
from backend.server.json_door import JsonRoute, NotHere, Order, order
from backend.server.owner import owner_of, person_of
from backend.server.passwords import Secret
from backend.server.people import GRANTED, Person
from backend.server.refusal import Refusal
from backend.server.risks import risk
from backend.server.sessions import LIFETIME

FORM = frozenset({"application/x-www-form-urlencoded"})
LONGEST_FORM = 8192  # bytes
YEAR = 365 * 24 * 3600  # seconds
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Atelier</title><link rel="icon" href="data:,"><style>
:root {{ color-scheme: light dark; --ink: light-dark(#1d1c1b, #f3f2ef); --line: light-dark(#d4d1ca, #43413c);
  --accent: light-dark(#1f705b, #53ad92); --serif: "Iowan Old Style", "Palatino Linotype", Palatino, Georgia, serif; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; padding: 16px; min-height: 100vh; min-height: 100dvh; display: grid; place-items: center;
  font: 16px/1.5 system-ui, sans-serif; background: light-dark(#f3f2ef, #141413); color: var(--ink); }}
form {{ width: 100%; max-width: 22rem; display: grid; gap: 1rem; padding: 2rem; border-radius: 10px;
  border: 1px solid light-dark(#e7e5e0, #2e2d2b); background: light-dark(#fff, #1d1c1b); }}
h1 {{ display: flex; align-items: center; gap: 8px; margin: 0 0 .25rem; font: 400 1.5rem/1.2 var(--serif); }}
svg {{ width: 28px; height: 28px; fill: none; stroke: var(--accent); stroke-width: 1.7; stroke-linecap: round;
  stroke-linejoin: round; }}
circle {{ fill: #d99a2b; stroke: none; }}
label {{ display: grid; gap: .3rem; font-size: .9rem; }}
input, button {{ font: inherit; padding: .6rem .75rem; border-radius: 6px; }}
input {{ width: 100%; border: 1px solid var(--line); background: transparent; color: inherit; font-size: 1rem; }}
:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 1px; }}
button {{ margin-top: .25rem; border: 0; background: var(--accent); color: light-dark(#fff, #0a221e); font-weight: 600;
  cursor: pointer; }}
button:hover {{ background: light-dark(#1a5a4a, #7fc6ae); }}
p {{ margin: 0; padding: .5rem .75rem; border-radius: 6px; color: light-dark(#b3352b, #f08a7e);
  background: light-dark(#fbeae7, #3a1e1b); font-size: .9rem; }}
</style></head><body><form method="post" action="{action}"><h1><svg viewBox="0 0 24 24" aria-hidden="true">
<path d="M12 2v3M5.5 21 12 5l6.5 16M7.6 16h8.8"/><circle cx="12" cy="11.5" r="2.1"/></svg>Atelier</h1>{problem}
<label>Name<input name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required
  autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button></form></body></html>
"""


class NewToken(Order):
    """A token for a program."""

    name: str
    scopes: list[str]


def login_page(root: str, problem: str = "") -> str:
    """The page that asks for a name and a password; `root` is the path that everything lies below."""
    said = f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
    return PAGE.format(action=html.escape(f"{root}/login"), problem=said)


def router(doorkeeper: Doorkeeper) -> APIRouter:
    """The routes ``/login``, ``/logout``, ``/atelier/me`` and ``/atelier/api-tokens``."""
    routes = APIRouter(route_class=JsonRoute)
    _login_routes(routes, doorkeeper)
    _token_routes(routes, doorkeeper)
    return routes


def _login_routes(routes: APIRouter, doorkeeper: Doorkeeper) -> None:
    @routes.get("/login")
    @risk("read", public=True)
    def ask(request: Request) -> Response:
        return HTMLResponse(login_page(_root(request)), headers={"Cache-Control": "no-store"})

    @routes.post("/login")
    @risk("read", public=True, types=FORM, largest=LONGEST_FORM)
    async def log_in(request: Request) -> Response:
        form = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=8)
        name, password = (form.get(field, [""])[0] for field in ("username", "password"))
        token = await doorkeeper.log_in(request, arrival_of(request), name, Secret(password))
        if isinstance(token, Refusal):
            page = login_page(_root(request), f"{token.sentence.rstrip('.')}.")
            return HTMLResponse(page, token.status, {"Cache-Control": "no-store", **token.headers})
        # To the page, and to nowhere that the request names.
        answer = Response(status_code=303, headers={"Location": f"{_root(request)}/", "Cache-Control": "no-store"})
        _set_cookie(request, answer, LOGIN_COOKIE, token, int(LIFETIME))
        _set_cookie(request, answer, KNOWN_COOKIE, doorkeeper.sessions.mark(), YEAR)
        return answer

    @routes.post("/logout")
    @risk("read", public=True, types=FORM, largest=LONGEST_FORM)
    def log_out(request: Request) -> Response:
        doorkeeper.sessions.end(request.cookies.get(LOGIN_COOKIE, ""))
        answer = Response(status_code=303, headers={"Location": f"{_root(request)}/", "Cache-Control": "no-store"})
        answer.delete_cookie(LOGIN_COOKIE)
        return answer

    @routes.get("/atelier/me")
    @risk("read")
    def me(request: Request) -> Response:
        person = person_of(request)
        said = {"name": person.name, "role": person.role, "how": person.how, "may": sorted(_granted(person))}
        return JSONResponse(said, headers={"Cache-Control": "no-store"})


def _token_routes(routes: APIRouter, doorkeeper: Doorkeeper) -> None:
    tokens = doorkeeper.tokens

    @routes.get("/atelier/api-tokens")
    @risk("read")
    def mine(request: Request) -> Response:
        return JSONResponse({"tokens": [_shown(each) for each in tokens.of(_maker(request).name)]})

    @routes.post("/atelier/api-tokens")
    @risk("make")
    async def make(request: Request) -> Response:
        person, wish = _maker(request), await order(NewToken)(request)
        if not set(wish.scopes) <= _granted(person):
            raise NotHere(f"A token may do what its {person.role} may: {', '.join(sorted(_granted(person)))}.")
        record, secret = tokens.make(name=wish.name, user=person.name, owner=owner_of(request), scopes=wish.scopes)
        return JSONResponse({**_shown(record), "token": secret.reveal()}, 201, {"Cache-Control": "no-store"})

    @routes.post("/atelier/api-tokens/{id}/forget")
    @risk("make")
    def forget(request: Request, id: str) -> Response:
        tokens.forget(id, _maker(request).name)
        return JSONResponse({})


def _maker(request: Request) -> Person:
    """Who asks, if it is a person: a token that could make others could never be taken back."""
    person = person_of(request)
    if person.how not in ("local", "login"):
        raise UserError("Tokens are made by people: log in on the page.")
    return person


def _granted(person: Person) -> frozenset[str]:
    return GRANTED[person.role] & person.scopes


def _shown(record: Any) -> dict[str, Any]:
    return record.model_dump(include={"id", "name", "scopes", "created"})


def _root(request: Request) -> str:
    return request.scope.get("root_path", "").rstrip("/")


def _set_cookie(request: Request, answer: Response, name: str, value: str, seconds: int) -> None:
    secure = request.scope["scheme"] == "https"
    answer.set_cookie(name, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="lax")
