import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from backend.web_address import WebError, is_public, look_up, parse_address
from backend.web_client import ConnectionFailed, Stop, Timeouts, WebClient
from tests.hub_server import CERTIFICATE, Canary, Server, canary

LOOPBACK = ("127.0.0.1", "::1")


class Wire:
    """Every address that this process connects to, whatever library does it; with `cut`, those outside it are kept
    from being reached, as if the cable were out."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.connect" and self.seen is not None:
            address = arguments[1]
            assert isinstance(address, tuple)
            self.seen.append((address[0], address[1]))
            if address[0] not in LOOPBACK:
                raise ConnectionRefusedError("the cable is out")


@pytest.fixture(scope="session")
def only_wire() -> Wire:
    return Wire()  # an audit hook can never be taken off


@pytest.fixture
def wire(only_wire: Wire) -> Iterator[list[tuple[str, int]]]:
    only_wire.seen = []
    yield only_wire.seen
    only_wire.seen = None


@pytest.fixture
def bird() -> Iterator[Canary]:
    with canary() as listening:
        yield listening


def literal(host: str, port: int) -> list[str]:
    """The system's own reading of numbers and of localhost; no name is asked of a name server."""
    if host.endswith((".co", ".test")):
        raise OSError("not here")
    return look_up(host, port)


def fetch(client: WebClient, address: str) -> bytes:
    with client.open(address) as response:
        failure = response.failure()
        if failure:
            raise failure
        return response.body(1_000_000)


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.000.0.1", "0.0.0.0", "0"),
        *("localhost", "localhost.", "LOCALHOST", "①②⑦.⓪.⓪.①", "127。0。0。1"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]"),
        *("[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "[fec0::1]", "[ff02::1]", "[::1%25lo]"),
        *("user@127.0.0.1", "user:word@127.0.0.1", "huggingface.co@127.0.0.1", "huggingface.co:443@127.0.0.1"),
        *("169.254.169.254", "10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
    ],
)
def test_nothing_but_the_internet_is_reached(scheme: str, host: str, bird: Canary, wire: list[tuple[str, int]]) -> None:
    with pytest.raises(WebError):
        fetch(WebClient(resolve=literal), f"{scheme}://{host}:{bird.port}/")
    assert wire == []
    assert bird.calls == 0


@pytest.mark.parametrize(
    "address",
    [
        *("https://127.0.0.1:{port}\\@huggingface.co/", "https://huggingface.co\\@127.0.0.1:{port}/"),
        *("https://huggingface.co @127.0.0.1:{port}/", "https://huggingface.co\t@127.0.0.1:{port}/"),
        *("https:///127.0.0.1:{port}/", "https://", "https://:{port}/", "https://127.0.0.1:{port}:443/"),
        *("https://127.0.0.1:99999/", "https://[127.0.0.1]:{port}/", "https://a..b/", "https://..:{port}"),
        *("file:///etc/passwd", "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/", "//127.0.0.1:{port}/", ""),
        *(
            "javascript:alert(1)",
            "https://127.0.0.1%2f:{port}/",
            "https://127.0.0.1:{port}/\r\nX: y",
            "https://a/" * 900,
        ),
    ],
)
def test_what_is_no_address_is_refused_in_a_sentence(address: str, bird: Canary, wire: list[tuple[str, int]]) -> None:
    with pytest.raises(WebError, match=r"\.$"):
        fetch(WebClient(resolve=literal), address.format(port=bird.port))
    assert wire == []
    assert bird.calls == 0


def test_the_canary_counts_and_the_wire_sees(bird: Canary, wire: list[tuple[str, int]]) -> None:
    """Otherwise the tests above would hold for want of anything to notice."""
    client = WebClient(trusted={f"http://127.0.0.1:{bird.port}"})
    with pytest.raises(ConnectionFailed):
        fetch(client, f"http://127.0.0.1:{bird.port}/")
    assert wire == [("127.0.0.1", bird.port)]
    assert bird.calls == 1


def test_a_name_that_changes_its_mind_is_taken_at_its_first_word(bird: Canary, wire: list[tuple[str, int]]) -> None:
    answers = [["93.184.216.34"], ["127.0.0.1"], ["127.0.0.1"]]
    client = WebClient(resolve=lambda *_: answers.pop(0))
    with pytest.raises(ConnectionFailed):
        fetch(client, f"https://flips.test:{bird.port}/")
    assert wire == [("93.184.216.34", bird.port)]
    assert bird.calls == 0
    assert len(answers) == 2, "it was looked up once"
    with pytest.raises(WebError, match="not a public address"):
        fetch(client, f"https://flips.test:{bird.port}/")
    assert bird.calls == 0


def test_of_several_addresses_only_the_public_ones_are_tried(bird: Canary, wire: list[tuple[str, int]]) -> None:
    client = WebClient(resolve=lambda *_: ["127.0.0.1", "93.184.216.34", "::1", "10.0.0.1", "2606:2800:220:1::1"])
    with pytest.raises(ConnectionFailed, match="cannot be reached"):
        fetch(client, f"https://mixed.test:{bird.port}/")
    assert [ip for ip, _ in wire] == ["93.184.216.34", "2606:2800:220:1::1"]
    assert bird.calls == 0


@pytest.mark.parametrize(
    "onward",
    [
        *("http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/latest/meta-data/"),
        *("https://127.0.0.1:{port}/", "http://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "https://0x7f.1:{port}/"),
        *(
            "https://[::ffff:127.0.0.1]:{port}/",
            "http://localhost.:{port}/",
            "https://huggingface.co@127.0.0.1:{port}/",
        ),
        *("file:///etc/passwd", "ftp://127.0.0.1:{port}/"),
    ],
)
def test_a_redirect_is_checked_like_the_first_address(onward: str, bird: Canary, wire: list[tuple[str, int]]) -> None:
    with Server() as server:
        server.faults.onward = onward.format(port=bird.port)
        with pytest.raises(WebError):
            fetch(WebClient(trusted={server.origin}, resolve=literal), f"{server.origin}/file")
    assert wire == [("127.0.0.1", server.port)]
    assert bird.calls == 0


def test_the_internet_does_not_redirect_to_what_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with Server({"/secret": b"inside"}) as inner, Server(tls=True, host="hub.test") as outer:
        outer.faults.onward = f"{inner.origin}/secret"
        both = WebClient(trusted={inner.origin, outer.origin}, resolve=lambda *_: ["127.0.0.1"])
        assert fetch(both, f"{outer.origin}/") == b"inside"
        # There is no internet here: for the rest of this test, this machine counts as a part of it.
        monkeypatch.setattr("backend.web_client.is_public", lambda _: True)
        one = WebClient(trusted={inner.origin}, resolve=lambda *_: ["127.0.0.1"])
        with pytest.raises(WebError, match="use https"):
            fetch(one, f"{outer.origin}/")
        assert fetch(one, f"{inner.origin}/secret") == b"inside"
        assert len(outer.asked) == len(inner.asked) == 2


def test_an_address_with_a_user_in_it_is_refused_wherever_it_leads() -> None:
    for user in ("me@", "me:word@", "@", "huggingface.co@", "huggingface.co%2f@"):
        with pytest.raises(WebError, match="carries a user name or a password"):
            parse_address(f"https://{user}files.test/a")


def test_three_redirects_are_followed_and_no_more() -> None:
    with Server({"/end": b"there"}) as server:
        client = WebClient(trusted={server.origin})
        server.faults.refusals = [(status, {"Location": "/end"}) for status in (301, 307, 308)]
        assert fetch(client, f"{server.origin}/start") == b"there"
        server.faults.refusals = [(302, {"Location": "/end"})] * 4
        with pytest.raises(WebError, match="more than 3 times"):
            fetch(client, f"{server.origin}/start")
        assert server.asked[-1].path == "/end" and len(server.asked) == 8


def test_the_name_is_proved_though_the_address_was_looked_up_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with Server({"/file": b"whole"}, tls=True, host="hub.test") as server:
        other = server.origin.replace("hub.test", "other.test")
        client = WebClient(trusted={server.origin, other}, resolve=lambda *_: ["127.0.0.1"])
        assert fetch(client, f"{server.origin}/file") == b"whole"
        assert server.asked[0].headers["Host"] == f"hub.test:{server.port}"
        with pytest.raises(WebError, match=r"cannot prove that it is other\.test"):
            fetch(client, f"{other}/file")
        assert len(server.asked) == 1
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(WebError, match="cannot prove"):
            fetch(WebClient(trusted={server.origin}, resolve=lambda *_: ["127.0.0.1"]), f"{server.origin}/file")


def test_http_stays_on_this_machine_whatever_is_trusted(wire: list[tuple[str, int]]) -> None:
    client = WebClient(trusted={"http://mirror.test"}, resolve=lambda *_: ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(WebError):
        fetch(client, "http://mirror.test/file")
    assert wire == []


def test_a_token_goes_to_its_own_host_only() -> None:
    tokens = {}
    with Server({"/end": b"there"}, host="localhost") as other, Server() as server:
        tokens[server.origin] = "hf_secret"
        client = WebClient(trusted={server.origin, other.origin}, token=lambda origin: tokens.get(origin, ""))
        server.faults.onward = f"{other.origin}/end"
        assert fetch(client, f"{server.origin}/start") == b"there"
        assert server.asked[0].headers["Authorization"] == "Bearer hf_secret"
        assert "Authorization" not in other.asked[0].headers
        # The same machine under another name, or at another port, is another host.
        other.faults.onward = f"http://localhost:{server.port}/start"
        client = WebClient(
            trusted={server.origin, other.origin, f"http://localhost:{server.port}"},
            token=lambda origin: tokens.get(origin, ""),
        )
        with pytest.raises(WebError, match="more than 3"):
            fetch(client, f"{other.origin}/")
        assert len(server.asked) > 1
        assert all("Authorization" not in asked.headers for asked in (*server.asked[1:], *other.asked))


def test_nothing_that_a_server_could_know_us_by_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server({"/a": b"a"}) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        client = WebClient(trusted={server.origin})
        server.faults.headers = {"Set-Cookie": "who=you; Path=/"}
        fetch(client, f"{server.origin}/a")
        fetch(client, f"{server.origin}/a")
        assert set(server.asked[1].headers) == {"Host", "User-Agent", "Accept-Encoding", "Connection"}


def test_a_failure_says_that_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch, wire: list[tuple[str, int]]) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ConnectionFailed, match="HTTPS_PROXY is set, but downloads do not go through a proxy"):
        fetch(WebClient(resolve=lambda *_: ["93.184.216.34"]), "https://far.test/")
    assert wire == [("93.184.216.34", 443)]


def test_a_body_is_no_larger_than_allowed() -> None:
    with Server({"/a": b"x" * 5000}) as server:
        client = WebClient(trusted={server.origin})
        for chunked in (False, True):
            server.faults.chunked = chunked
            with client.open(f"{server.origin}/a") as response, pytest.raises(WebError, match=r"5,000|more than"):
                response.body(4000)
            with client.open(f"{server.origin}/a") as response:
                assert len(response.body(5000)) == 5000


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_ends_early_is_no_body(chunked: bool) -> None:
    with Server({"/a": b"x" * 5000}) as server:
        server.faults.chunked = chunked
        server.faults.drops = [2000]
        with pytest.raises(ConnectionFailed, match="broke off after 2,000"):
            fetch(WebClient(trusted={server.origin}), f"{server.origin}/a")


class Silent:
    """Takes connections and says `first`, then nothing, or one byte at a time for ever."""

    def __init__(self, first: bytes, drip: bool = False):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.end = threading.Event()
        self.taken = threading.Event()
        self._first, self._drip = first, drip
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.sendall(self._first)
            self.taken.set()
            while not self.end.wait(0.02):
                if self._drip:
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

    def close(self) -> None:
        self.end.set()
        self._listener.close()


QUICK = Timeouts(connect=0.2, read=0.2, answer=0.5)


@pytest.mark.parametrize(
    ("first", "drip", "sentence"),
    [
        (b"", False, "gave no answer"),
        (b"HTTP/1.1 200 OK\r\nX-", True, "gave no answer"),  # each byte in time, and never an end
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", False, "broke off after 3 bytes"),
        (b"SSH-2.0-OpenSSH\r\n", False, "gave no answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n", False, "gave no answer"),
    ],
)
def test_a_server_that_says_nothing_is_not_waited_for(first: bytes, drip: bool, sentence: str) -> None:
    server = Silent(first, drip)
    try:
        with pytest.raises(ConnectionFailed, match=sentence):
            fetch(WebClient(trusted={server.origin}, timeouts=QUICK), server.origin)
    finally:
        server.close()


def test_a_handshake_has_an_end_too() -> None:
    server = Silent(b"\x16\x03\x03\x40\x00", drip=True)  # the head of a TLS record of 16 KiB
    origin = server.origin.replace("http:", "https:")
    try:
        with pytest.raises(ConnectionFailed, match="cannot be reached"):
            fetch(WebClient(trusted={origin}, timeouts=QUICK), origin)
    finally:
        server.close()


def test_a_wait_on_the_network_can_be_ended() -> None:
    server = Silent(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    stop = Stop()

    def end() -> None:
        server.taken.wait()
        stop.set()

    threading.Thread(target=end, daemon=True).start()
    try:
        client = WebClient(trusted={server.origin}, timeouts=Timeouts(read=600, answer=600))
        with pytest.raises(ConnectionFailed), client.open(server.origin, stop=stop) as response:
            list(response.chunks())
    finally:
        server.close()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *[(a, True) for a in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")],
        *[
            (a, False)
            for a in ("127.0.0.1", "0.0.0.0", "198.18.0.1", "192.0.2.1", "fd00::1", "2001:db8::1", "::", "x", "")
        ],
    ],
)
def test_public_is_one_machine_on_the_internet(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_an_address_is_taken_apart_in_one_way() -> None:
    address = parse_address(" HTTPS://Hub.Test.:443/a b?".replace(" b", "%20b") + "q=ü#part ")
    assert (address.origin, address.target) == ("https://hub.test", "/a%20b?q=%C3%BC")
    assert parse_address("https://münchen.de:8443").authority == "xn--mnchen-3ya.de:8443"
    assert str(parse_address("https://[2606:4700:0:0::1]/x")) == "https://[2606:4700::1]/x"
    with pytest.raises(WebError) as refused:
        parse_address("https://me:hunter2@host\\x/?token=hunter2")
    assert "hunter2" not in str(refused.value)
