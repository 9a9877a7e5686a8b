"""The one place that calls an extension's code: within a limit, and so that what fails bears its name."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

from backend.errors import Abandoned, Stopped, UserError
from backend.extensions.extension import Extension, ExtensionFault, HookImpl

T = TypeVar("T")

DOOR_SECONDS = 10.0  # what is called while a person waits must be quick
OUT_OF_MEMORY = "OutOfMemoryError"  # torch's; it is not imported here


@dataclass(eq=False, slots=True)
class Call:
    """A call of an extension's code that is under way on a thread.

    `since` is when its time began, by the monotonic clock, or None while its clock stands still.
    """

    extension: Extension
    where: str
    limit: float
    thread: int
    since: float | None = field(default_factory=time.monotonic)
    given_up: bool = False
    foreign: BaseException | None = None  # raised by what the extension called of ours, and no fault of its own


@dataclass(frozen=True, kw_only=True)
class Overdue:
    """A call that has taken longer than it may."""

    call: Call
    seconds: float

    @property
    def thread(self) -> int:
        """The identifier of the thread that it runs on."""
        return self.call.thread

    @property
    def extension(self) -> Extension:
        return self.call.extension

    @property
    def where(self) -> str:
        return self.call.where

    @property
    def fault(self) -> ExtensionFault:
        """The sentence for whoever waits for it."""
        return too_long(self.call.extension, self.call.where, self.call.limit)


class Calls:
    """Every call of an extension's code. Safe to use from any thread; each thread has a clock of its own.

    `seconds()` is the limit where none is named, 0 for none. `watch` is told whenever the innermost call of a thread
    changes, before it is called and after it has returned: (thread, call or None), and of requests to routes.
    """

    def __init__(self, seconds: Callable[[], float] = lambda: 60.0):
        self._seconds = seconds
        self._lock = threading.Lock()
        self._under_way: dict[int, list[Call]] = {}  # of each thread the calls within one another
        self.watch: Callable[[int, Call | None], None] | None = None
        self._requests = itertools.count(1)

    def call(
        self,
        extension: Extension,
        where: str,
        function: Callable[..., T],
        /,
        *args: Any,
        limit: float | None = None,
        **kwargs: Any,
    ) -> T:
        """Call a function of an extension, as `where`, such as ``on_image``; `limit` in seconds, 0 for none.

        Raises `Stopped` as it comes, `ExtensionFault` for everything else, and `Abandoned` where the thread was given
        up meanwhile.
        """
        thread = threading.get_ident()
        call = Call(extension, where, self._seconds() if limit is None else limit, thread)
        stack = self._under_way.setdefault(thread, [])
        stack.append(call)
        try:
            try:
                if self.watch is not None:
                    self.watch(thread, call)
                return function(*args, **kwargs)
            finally:
                self._end(call, stack)
        except (Stopped, ExtensionFault, Abandoned):
            raise
        except UserError as error:
            raise ExtensionFault(f"{extension.title}: {error}") from error
        except BaseException as error:
            # Also what is no Exception: libraries in Rust raise a panic as one, and it would end the worker's thread.
            if error is call.foreign or type(error).__name__ == OUT_OF_MEMORY:
                raise
            raise self.failed(extension, where, error) from error
        finally:
            call.foreign = None

    def hook(self, extension: Extension, impl: HookImpl, arguments: Mapping[str, Any]) -> Any:
        """Call a hook with those of the stage's arguments that it wants. Raises as `call`."""
        return self.call(extension, impl.name, impl.function, **{name: arguments[name] for name in impl.argnames})

    def call_apart(
        self,
        extension: Extension,
        where: str,
        function: Callable[..., T],
        /,
        *args: Any,
        limit: float = DOOR_SECONDS,
        **kwargs: Any,
    ) -> T:
        """Call a function of an extension on a thread of its own, and wait no longer than `limit` seconds. Who asks on
        this thread (`asked_by`) asks on that one too.

        Raises as `call`; where it takes longer, `ExtensionFault`, and its thread is given up.
        """
        results: list[T] = []
        faults: list[BaseException] = []

        def work() -> None:
            try:
                results.append(self.call(extension, where, function, *args, limit=limit, **kwargs))
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits
                faults.append(error)

        thread = threading.Thread(
            target=copy_context().run, args=(work,), name=f"extension {extension.id}", daemon=True
        )
        thread.start()
        thread.join(limit or None)
        if thread.is_alive() and self.give_up(thread.ident or 0):
            raise self.noted(extension, where, too_long(extension, where, limit))
        thread.join()
        if faults:
            raise faults[0]
        return results[0]

    def answer(self, extension: Extension, where: str, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """As `call_apart`, for what a person has asked for: a `UserError` of the extension is about that, and comes as
        it is."""
        try:
            return self.call_apart(extension, where, function, *args, **kwargs)
        except ExtensionFault as fault:
            if isinstance(fault.__cause__, UserError):
                raise fault.__cause__ from None
            raise

    @contextmanager
    def request(self, extension: Extension, where: str) -> Iterator[None]:
        """Around a request to an extension's routes, whose handlers run on threads of its own and have no clock here:
        whoever watches over the process is told of it, under a number that no thread has."""
        number = -next(self._requests)
        if self.watch is not None:
            self.watch(number, Call(extension, where, 0, number))
        try:
            yield
        finally:
            if self.watch is not None:
                self.watch(number, None)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """While something of ours runs within an extension's call on this thread, the call's clock stands still; what
        is raised there is no fault of the extension, unless it is a `UserError`. Starts its time anew afterwards.

        Raises `Abandoned` where the thread was given up.
        """
        stack = self._under_way.get(threading.get_ident())
        call = stack[-1] if stack else None
        if call is None:
            yield
            return
        self._set(call, None)
        if self.watch is not None:
            self.watch(call.thread, None)
        try:
            yield
        except BaseException as error:
            call.foreign = error
            raise
        finally:
            self._set(call, time.monotonic())
            if self.watch is not None:
                self.watch(call.thread, call)

    def renew(self) -> None:
        """Start the time of this thread's call anew. Raises `Abandoned` where the thread was given up."""
        stack = self._under_way.get(threading.get_ident())
        if stack:
            self._set(stack[-1], time.monotonic())

    def overdue(self) -> list[Overdue]:
        """The innermost calls that take longer than they may, of threads that were not given up yet."""
        now = time.monotonic()
        late = []
        for stack in tuple(self._under_way.values()):
            call = stack[-1] if stack else None
            if call is None or call.given_up or call.since is None or not call.limit:
                continue
            if now - call.since > call.limit:
                late.append(Overdue(call=call, seconds=now - call.since))
        return late

    @property
    def limit(self) -> float:
        """How many seconds a call may take where nothing else is said, 0 for no limit."""
        return self._seconds()

    @property
    def busy(self) -> bool:
        """Whether any thread is in an extension's code."""
        return bool(self._under_way)

    def under_way(self, thread: int) -> Call | None:
        """What a thread is in, if it is in an extension's code."""
        stack = self._under_way.get(thread)
        return stack[-1] if stack else None

    def abandoned(self) -> list[Call]:
        """The innermost calls of threads that were given up and still run."""
        innermost = [stack[-1] for stack in tuple(self._under_way.values()) if stack]
        return [call for call in innermost if call.given_up]

    def give_up(self, thread: int) -> bool:
        """Give a thread up that is in an extension's code: `Abandoned` is raised in it as soon as it returns from
        there. False where it has returned already."""
        with self._lock:
            stack = self._under_way.get(thread)
            for call in stack or ():
                call.given_up = True
            return bool(stack)

    def failed(self, extension: Extension, where: str, error: BaseException) -> ExtensionFault:
        """What is said of an exception that an extension raised; its log has the whole of it."""
        extension.log.error("failed in %s", where, exc_info=error)
        fault = ExtensionFault(
            f"{extension.title} failed in {where}: {reason(error)}. Switch it off in Extensions, or see its log there."
        )
        return self.noted(extension, where, fault)

    def noted(self, extension: Extension, where: str, fault: ExtensionFault) -> ExtensionFault:
        """The same fault, remembered with the extension."""
        extension.note_failure(where, str(fault))
        return fault

    def _set(self, call: Call, since: float | None) -> None:
        if call.given_up:
            raise Abandoned
        call.since = since

    def _end(self, call: Call, stack: list[Call]) -> None:
        with self._lock:
            while stack and stack.pop() is not call:  # what an exception from outside has left there
                pass
            if not stack:
                self._under_way.pop(call.thread, None)
            given_up = call.given_up
        if self.watch is not None:
            self.watch(call.thread, stack[-1] if stack else None)
        if given_up:
            raise Abandoned


def reason(error: BaseException) -> str:
    """An exception in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def too_long(extension: Extension, where: str, limit: float) -> ExtensionFault:
    """The sentence for a call that did not return in time."""
    seconds = "a second" if limit == 1 else f"{limit:g} seconds"
    return ExtensionFault(
        f"{extension.title} did not return from {where} within {seconds} and was given up. Switch it off in "
        "Extensions, or see its log there."
    )
