"""Start Atelier: ``python webui.py [flags]``; ``--help`` lists them.

Nothing heavy is imported before the flags are understood, and torch only after the page is served.
"""

import argparse
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, NoReturn

from flags import FOLDERS, PORT, given, parse

if TYPE_CHECKING:
    from backend.app import App
    from backend.server.accounts import Entry
    from backend.server.guard import Guard
    from backend.server.origins import Policy
    from backend.server.shared_link import SharedLink

PORTS_TRIED = 100
API_TOKENS = "api-tokens.json"
RELAY_VARIABLE = "GRADIO_SHARE_SERVER_ADDRESS"
LARGEST_ORDER = 65_536  # bytes of a message over a WebSocket


@dataclass(frozen=True, kw_only=True)
class Door:
    """Who may come in: from where, and by which logins."""

    policy: "Policy"
    logins: "Sequence[Entry]"


def main() -> None:
    """Understand the flags, take the port, serve the page, and stay until Ctrl+C."""
    environment = dict(os.environ)  # as it was before what may be secret is taken out
    arguments = parse(sys.argv[1:])
    for flag, *_ in FOLDERS:
        for folder in given(arguments, flag):
            if not folder.is_dir():
                fail(f"There is no folder {folder}: a folder given by a flag must be there.")
    from backend.errors import UserError
    from backend.extensions.supervisor import supervise

    try:
        if arguments.hash_password:
            print_hash()
        elif arguments.new_token:
            print_token(arguments)
        elif is_supervised(arguments, environment):
            sys.exit(supervise(environment))
        else:
            start(arguments)
    except UserError as error:
        fail(str(error))


def is_supervised(arguments: argparse.Namespace, environment: Mapping[str, str]) -> bool:
    """Whether another process is to watch over the one that serves: only where code lies that is not Atelier's own."""
    from backend.extensions.supervisor import SUPERVISED, is_needed
    from backend.paths import ROOT

    if arguments.safe_mode or SUPERVISED in environment:
        return False
    return is_needed((arguments.data_dir or ROOT).resolve(), ROOT / "extensions")


def fail(sentence: str) -> NoReturn:
    """End with a sentence and exit status 2."""
    print(f"Atelier: {sentence}", file=sys.stderr)
    sys.exit(2)


def print_hash() -> None:
    """Ask for a password twice, and print what may be written in its place. Raises `UserError`."""
    from getpass import getpass

    from backend.server.passwords import Secret, hash_password

    password = Secret(getpass("Password: "))
    if password != Secret(getpass("Once more: ")):
        fail("The two are not the same.")
    print(hash_password(password))


def print_token(arguments: argparse.Namespace) -> None:
    """Make a token for a program, and print it this once. Raises `UserError`."""
    from backend.claim import claim
    from backend.paths import ROOT
    from backend.server.api_tokens import ApiTokens
    from backend.server.people import PROGRAMS

    folder = (arguments.data_dir or ROOT).resolve()
    held = claim(folder)  # a running Atelier would not see it; there the page's own route makes them
    scopes = [scope.strip() for scope in arguments.token_scopes.split(",")]
    _, secret = ApiTokens(folder / API_TOKENS).make(name=arguments.new_token, user="", owner=PROGRAMS, scopes=scopes)
    held.close()
    print(secret.reveal())


def start(arguments: argparse.Namespace) -> None:
    """Decide who may come in, and serve. Raises `UserError`."""
    from backend.server import entrance

    wishes = entrance.Wishes(
        **{
            field: getattr(arguments, field)
            for field in entrance.Wishes.__dataclass_fields__
            if field != "allowed_host"
        },
        allowed_host=tuple(arguments.allowed_host),
    )
    if arguments.port is not None and not 0 <= arguments.port <= 65535:
        fail(f"--port must be from 0 to 65535, not {arguments.port}.")
    family, numbers = entrance.resolved(wishes.address, arguments.port or 0)
    policy = entrance.policy_of(wishes, numbers)
    # Taken out of the environment: what is started later does not have it.
    variable = os.environ.pop(entrance.LOGIN_VARIABLE, "")
    logins = entrance.entries(wishes, variable, asking())
    if not policy.loopback and not logins:
        fail(
            f"Whoever reaches {wishes.address} could use this Atelier: give a login by --gradio-auth NAME:PASSWORD, "
            "--gradio-auth-path FILE or the variable ATELIER_AUTH."
        )
    if (arguments.tls_keyfile is None) != (arguments.tls_certfile is None):
        fail("--tls-keyfile and --tls-certfile belong together.")
    if arguments.share and arguments.tls_keyfile:
        fail("--share brings its own https: leave --tls-keyfile and --tls-certfile out.")
    for file in filter(None, (arguments.tls_keyfile, arguments.tls_certfile)):
        if not file.is_file():
            fail(f"There is no file {file}.")
    listener = take_port(arguments.port, family, numbers)
    serve(arguments, listener, Door(policy=policy, logins=logins))


def asking() -> "Callable[[str], str] | None":
    """How to ask for a password without showing it; nothing where nobody sits at a terminal."""
    if not sys.stdin or not sys.stdin.isatty():
        return None
    from getpass import getpass

    return getpass


def take_port(wanted: int | None, family: int, numbers: str) -> socket.socket:
    """A bound socket on the port that was asked for, or on the first free one."""
    for port in [wanted] if wanted is not None else range(PORT, PORT + PORTS_TRIED):
        listener = socket.socket(family, socket.SOCK_STREAM)
        if os.name != "nt":  # there it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((numbers, port))
            # A bound port can still be bound by another until one of them listens.
            listener.listen(2048)
        except OSError as error:
            listener.close()
            if wanted is not None:
                fail(f"Port {wanted} cannot be used ({error.strerror}): choose another with --port, or leave it out.")
            continue
        return listener
    fail(f"No port from {PORT} to {PORT + PORTS_TRIED - 1} is free: choose one with --port.")


def isolate(data_dir: Path) -> None:
    """Take the libraries' settings out of the environment's hands: no analytics, no hub, no shared folders."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    cache = data_dir / "cache"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(cache / "gradio"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def serve(arguments: argparse.Namespace, listener: socket.socket, door: Door) -> None:
    """Compose the app, put the guard in front of it, and run until Ctrl+C."""
    from backend.app import App, Options
    from backend.claim import claim
    from backend.errors import UserError
    from backend.extensions.supervisor import HeldUp, Pulse
    from backend.paths import ROOT

    options = Options(
        data_dir=(arguments.data_dir or ROOT).resolve(),
        checkpoint_dirs=tuple(arguments.ckpt_dir),
        lora_dirs=tuple(arguments.lora_dir),
        vae_dirs=tuple(arguments.vae_dir),
        embedding_dirs=tuple(arguments.embeddings_dir),
        controlnet_dirs=tuple(arguments.controlnet_dir),
        upscaler_dirs=tuple(arguments.upscaler_dir),
        wildcard_dirs=tuple(arguments.wildcards_dir),
        model_dirs=tuple(arguments.models_dir),
        device=arguments.device,
        xformers=arguments.xformers,
        precision=arguments.precision,
        ram_gb=arguments.ram_gb,
        vram_gb=arguments.vram_gb,
        safe_mode=arguments.safe_mode,
        extension_flags=arguments.extension_flags,
        pulse=Pulse.from_environment(),
        held_up=HeldUp.from_environment(),
    )
    relay = os.environ.get(RELAY_VARIABLE) if arguments.share else None
    try:
        held = claim(options.data_dir)
        isolate(options.data_dir)
        app = App(options)
    except UserError as error:
        fail(str(error))
    except (OSError, sqlite3.Error) as error:
        fail(f"The data folder {options.data_dir} cannot be used: {error}.")
    try:
        run(arguments, listener, door, app, relay)
    finally:
        if options.pulse is not None:
            options.pulse.close()
        app.close()
        held.close()


def run(arguments: argparse.Namespace, listener: socket.socket, door: Door, app: "App", relay: str | None) -> None:
    """Serve the app until Ctrl+C."""
    import uvicorn

    from backend.server.shared_link import SharedLink

    secure = arguments.tls_keyfile is not None
    # What comes by the public link comes by a socket of its own: no header can make it look like something else.
    outside = take_port(0, socket.AF_INET, "127.0.0.1") if arguments.share else None
    link = SharedLink(outside.getsockname()[1], lifetime=arguments.share_hours * 3600) if outside else None
    web = guarded(arguments, door, app, link)
    address = address_of(listener, secure=secure) + door.policy.subpath

    class Server(uvicorn.Server):
        """Starts the work once the page can be served, not before: importing torch keeps Python busy for seconds."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"Atelier is at {address}  (Ctrl+C ends it)", flush=True)
            app.start()
            if link:
                certificate = app.options.data_dir / "cache" / "share" / "certificate.pem"
                Thread(target=share, args=(link, certificate, relay), name="share", daemon=True).start()
            if arguments.autolaunch and not arguments.nowebui and app.options.held_up is None:
                import webbrowser

                webbrowser.open(address)

    config = uvicorn.Config(
        web,
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=LARGEST_ORDER,
        timeout_graceful_shutdown=2,
        proxy_headers=False,  # who asks is read off the socket, not off what the request says
        server_header=False,
        ssl_keyfile=arguments.tls_keyfile,
        ssl_certfile=arguments.tls_certfile,
    )
    # Asked to end, uvicorn ends the process on its own way out, and what follows would never be done.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Server(config).run([each for each in (listener, outside) if each])
    except KeyboardInterrupt:
        pass
    finally:
        if link:
            link.stop()


def guarded(arguments: argparse.Namespace, door: Door, app: "App", link: "SharedLink | None") -> "Guard":
    """Everything that is served, with the guard in front."""
    from fastapi import FastAPI

    from backend.server import (
        entrance,
        extension_routes,
        extensions,
        grids,
        inputs,
        jobs_api,
        live,
        login,
        models,
        pictures,
        prompts,
        recipes,
        sdapi,
        shared_link,
    )
    from backend.server.api_tokens import ApiTokens
    from backend.server.doorkeeper import Doorkeeper
    from backend.server.guard import Guard

    logins = list(door.logins)
    if link and not logins:
        logins.append(entrance.guest())
        say_password(logins[0])
    doorkeeper = Doorkeeper(
        entrance.accounts_of(logins),
        required=bool(door.logins),
        tokens=ApiTokens(app.options.data_dir / API_TOKENS),
    )
    web = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    for part in (live, pictures, inputs, models, prompts, recipes, grids, extensions, sdapi, jobs_api):
        web.include_router(part.router(app))
    web.include_router(login.router(doorkeeper))
    web.include_router(shared_link.router(link))
    extension_routes.attach(web, app)
    if not arguments.nowebui:
        from ui.app import mount

        mount(web, app, subpath=door.policy.subpath, login=bool(logins), shared=link is not None)
    return Guard(web, policy=door.policy, doorkeeper=doorkeeper, link=link)


def say_password(login: "Entry") -> None:
    """Show the password that was made for the public link. It is kept nowhere but as a hash, and shown this once."""
    assert login.password is not None
    print(f"The public link asks for the name {login.name} and the password {login.password.reveal()}", flush=True)


def share(link: "SharedLink", certificate: Path, relay: str | None) -> None:
    """Open the public link, say where it is, and notice when it has ended; a page without it goes on."""
    import secrets

    from backend.errors import UserError
    from ui.share import open_tunnel

    try:
        tunnel = open_tunnel(link.port, secrets.token_urlsafe(32), certificate=certificate, relay=relay)
    except UserError as error:
        print(f"Atelier is not shared. {error} The page at this machine runs on.", file=sys.stderr, flush=True)
        return
    link.open(tunnel.url, tunnel.close)
    by = f"the relay {relay}, unencrypted" if relay else "Gradio's servers"
    print(f"Shared at {link.url} for {link.left / 3600:.3g} hours, by way of {by}", flush=True)
    tunnel.wait()
    link.stop()
    print("The public link has ended.", flush=True)


def address_of(listener: socket.socket, *, secure: bool) -> str:
    """Where the page is, for a browser at this machine."""
    numbers, port = listener.getsockname()[:2]
    here = "127.0.0.1" if numbers == "0.0.0.0" else "::1" if numbers == "::" else str(numbers)
    return f"http{'s' if secure else ''}://{f'[{here}]' if ':' in here else here}:{port}"


if __name__ == "__main__":
    main()
