"""Routes of extensions, ``/ext/<id>/``: behind the guard as all others, and each extension's on a thread of its own.

A handler that raises answers with a sentence that names the extension; one that does not answer is given up with its
thread, and the next request begins a new one. Nothing of that holds the server's own loop or threads.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.app import App
from backend.errors import UserError
from backend.extensions.asking import asked_as
from backend.extensions.calls import Calls, too_long
from backend.extensions.extension import Extension
from backend.extensions.offered import ROUTE, SCRIPTS, SERVED, scripts_folder
from backend.server.owner import asker, person_of
from backend.server.people import may, not_for
from backend.server.risks import ANY_TYPE, MEBIBYTE, UNDECLARED, RouteTable, Rule, declare_every, declared

LARGEST_BODY = 64 * MEBIBYTE
GIVEN_UP = 1013  # the close code of a WebSocket, "try again later"


def attach(server: FastAPI, app: App) -> Callable[[], None]:
    """Serve the routes of the extensions that are on, now and after each change; returns the function that ends it.
    To be called before a page is mounted at ``/``, which takes every address."""
    place = _Place(server, app)
    place.renew()
    return app.extensions.subscribe(place.renew)


class _Place:
    """Where the routes stand in a server's list: other ones after each change."""

    def __init__(self, server: FastAPI, app: App):
        self._server = server
        self._app = app
        self._lock = threading.Lock()
        self._known: dict[str, tuple[tuple[int, int], Mount, Apart]] = {}

    def renew(self) -> None:
        """Let the list have the routes of what is on now. What goes on unchanged keeps its thread."""
        extensions = self._app.extensions
        with self._lock:
            there: dict[str, tuple[tuple[int, int], Mount, Apart]] = {}
            for extension in extensions.active():
                key = (id(extension), extension.revision)
                known = self._known.get(extension.id)
                if known and known[0] == key:
                    there[extension.id] = known
                elif extension.brought.routes or scripts_folder(extension):
                    apart = self._apart(extension)
                    if apart is not None:
                        there[extension.id] = key, Mount(f"{ROUTE}/{extension.id}", app=apart), apart
            gone = [each for name, each in self._known.items() if there.get(name) is not each]
            _place(self._server, [mount for _, mount, _ in gone], [mount for _, mount, _ in there.values()])
            self._known = there
        for _, _, apart in gone:
            apart.close()

    def _apart(self, extension: Extension) -> "Apart | None":
        """Its routes; nothing of one whose routes cannot be put in place, as with a path that does not begin with /."""
        calls = self._app.extensions.calls
        try:
            return apart_of(extension, calls, lambda: self._app.settings.value.extension_seconds)
        except Exception as error:  # noqa: BLE001 - an author's routes, which FastAPI looks at now
            calls.failed(extension, "its routes", error)
            return None


def _place(server: FastAPI, gone: Sequence[Mount], there: Sequence[Mount]) -> None:
    """Put the mounts in front of all other routes; a new list, because the old one may be being read."""
    ours = {id(mount) for mount in (*gone, *there)}
    others = [route for route in server.router.routes if id(route) not in ours]
    server.router.routes = [*there, *others]


def apart_of(extension: Extension, calls: Calls, seconds: Callable[[], float]) -> "Apart":
    """The routes and scripts of an extension, with what they risk."""
    inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    folder = scripts_folder(extension)
    if folder is not None and folder.is_dir():
        inner.mount(f"/{SCRIPTS}", declared(Rule(risk="read"))(Scripts(directory=folder)))
    for each in extension.brought.routes:
        before = set(map(id, inner.routes))
        inner.include_router(each.router)
        rule = Rule(risk=each.risk, largest=LARGEST_BODY, types=ANY_TYPE)
        declare_every([route for route in inner.routes if id(route) not in before], rule)
    _answer_faults(inner, extension, calls)
    return Apart(inner, extension, calls, seconds)


def _answer_faults(inner: FastAPI, extension: Extension, calls: Calls) -> None:
    def no(_request: Request, error: Exception) -> JSONResponse:
        return _problem(f"{extension.title}: {error}", 400)

    def failed(request: Request, error: Exception) -> JSONResponse:
        return _problem(str(calls.failed(extension, _where(request), error)), 500)

    inner.add_exception_handler(UserError, no)
    inner.add_exception_handler(Exception, failed)


class Scripts(StaticFiles):
    """The folder of an extension's script: what a page may need of it and nothing else, asked about each time."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if not any(path.endswith(suffix) for suffix in SERVED):
            raise HTTPException(status_code=404)
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


@dataclass(frozen=True)
class _Line:
    """A thread with a loop on which handlers of one extension run."""

    loop: asyncio.AbstractEventLoop

    @classmethod
    def begun(cls, name: str) -> "_Line":
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name=name, daemon=True).start()
        return cls(loop)

    def end(self) -> None:
        """Let what is under way be cancelled, and the thread end as soon as it comes back to its loop."""
        self.loop.call_soon_threadsafe(self._wind_up)

    def _wind_up(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        asyncio.gather(*tasks, return_exceptions=True).add_done_callback(lambda _: self.loop.stop())


class Apart:
    """An ASGI app of an extension, run on a loop of its own. It asks once more who may: between the guard's look at
    the routes and this one they may have changed."""

    def __init__(self, inner: FastAPI, extension: Extension, calls: Calls, seconds: Callable[[], float]):
        self._inner = inner
        self._extension = extension
        self._calls = calls
        self._seconds = seconds
        self._table = RouteTable(inner.routes)
        self._lock = threading.Lock()
        self._line: _Line | None = None
        self._closed = False

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """What the guard reads."""
        return self._inner.routes

    def close(self) -> None:
        """The extension is off: what is under way may end, and nothing more begins."""
        with self._lock:
            self._closed = True
            line, self._line = self._line, None
        if line:
            line.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope)
        if refusal:
            await _refuse(refusal, scope, receive, send)
            return
        line = self._running()
        if line is None:
            await _refuse(self._off(), scope, receive, send)
            return
        await self._served(line, scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        row = self._table.find(scope.get("method", ""), path, websocket=scope["type"] == "websocket")
        person = person_of(HTTPConnection(scope))
        if row is None or may(person, (row.rule or UNDECLARED).risk):
            return None
        return _problem(not_for(person), 403)

    def _off(self) -> JSONResponse:
        return _problem(f"{self._extension.title} is off.", 404)

    def _running(self) -> _Line | None:
        with self._lock:
            if self._closed:
                return None
            self._line = self._line or _Line.begun(f"routes of {self._extension.id}")
            return self._line

    async def _served(self, line: _Line, scope: Scope, receive: Receive, send: Send) -> None:
        here = asyncio.get_running_loop()
        answered, given_up, closed = asyncio.Event(), False, False

        async def passed(message: Message) -> None:
            nonlocal closed
            if not given_up:
                answered.set()
                closed = message["type"] == "websocket.close"
                await send(message)

        def brought_over(coroutine: Coroutine[Any, Any, Any]) -> Any:
            return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, here))

        async def work() -> None:
            # A WebSocket is open for hours: what happens meanwhile is seldom its doing.
            told = self._calls.request(self._extension, _where(scope)) if scope["type"] == "http" else nullcontext()
            with asked_as(asker(HTTPConnection(scope))), told:
                await self._inner(
                    scope,
                    lambda: brought_over(receive()),  # pyright: ignore[reportArgumentType]
                    lambda message: brought_over(passed(message)),
                )

        done = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), line.loop))
        first = asyncio.ensure_future(answered.wait())
        limit = self._seconds() or None
        await asyncio.wait({done, first}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        first.cancel()
        if not done.done() and not answered.is_set():
            given_up = True
            self._give_up(line)
            done.cancel()
            fault = self._calls.noted(
                self._extension, _where(scope), too_long(self._extension, _where(scope), limit or 0)
            )
            await _refuse(_problem(str(fault), 504), scope, receive, send)
            return
        try:
            await done
        except asyncio.CancelledError:
            if not done.cancelled():
                raise  # it is this request that was cancelled
            if not answered.is_set() or (scope["type"] == "websocket" and not closed):
                await _refuse(self._off(), scope, receive, send)
        except Exception as error:  # noqa: BLE001 - of an extension; the inner app has answered and raises it again
            if not answered.is_set():
                await _refuse(
                    _problem(str(self._calls.failed(self._extension, _where(scope), error)), 500), scope, receive, send
                )

    def _give_up(self, line: _Line) -> None:
        """The next request gets another thread; this one ends if it ever comes back."""
        with self._lock:
            if self._line is line:
                self._line = None
        line.end()


def _where(asked: Request | Scope) -> str:
    scope = asked.scope if isinstance(asked, Request) else asked
    return f"{scope.get('method', 'a WebSocket at')} {scope['path']}"


def _problem(sentence: str, status: int) -> JSONResponse:
    return JSONResponse({"problem": sentence}, status_code=status)


async def _refuse(answer: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": GIVEN_UP, "reason": ""})
        return
    await answer(scope, receive, send)
