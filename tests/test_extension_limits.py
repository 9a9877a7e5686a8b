"""An extension that does not come back, or fails: its job ends with its name, and others are made as ever."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.app import App, Options
from backend.errors import Abandoned, Cancelled, InvalidRequest, UserError
from backend.events import Failed, Finished
from backend.extensions.calls import Calls
from backend.extensions.extension import Extension, ExtensionFault
from backend.extensions.log import ExtensionLog
from backend.extensions.quick_engine import QuickEngine
from backend.jobs import Job
from backend.request import GenerationRequest
from backend.watchdog import interrupt
from tests.extension_folders import write_extension

OWNER = "a" * 32


@pytest.fixture
def extension(tmp_path: Path) -> Extension:
    return Extension(id="frame", folder=tmp_path / "frame", data_dir=tmp_path, log=ExtensionLog("frame", tmp_path))


@pytest.fixture
def studio(options: Options) -> Iterator[Callable[..., App]]:
    """Starts an app with extensions of such code, all of them on, which may take a second for each hook."""
    made: list[App] = []

    def start(*, worker: Callable[[App], QuickEngine] | None = QuickEngine, seconds: int = 1, **codes: str) -> App:
        for id, code in codes.items():
            write_extension(options.data_dir, id, code)
        app = App(options, worker=worker)
        made.append(app)
        app.settings.update({"extension_seconds": seconds})
        for id in codes:
            assert app.extensions.switch(id, True).problem == ""
        app.start()
        return app

    yield start
    for app in made:
        app.close()


def made(app: App, prompt: str = "red circle", **changes: object) -> Job:
    """A job that has ended."""
    values = {"prompt": prompt, "steps": 2, "width": 64, "height": 64, "seed": 5, **changes}
    return followed(app.submit(GenerationRequest.from_values(values), OWNER)[0])


def again(app: App, job: Job) -> Job:
    """The same once more."""
    return followed(app.queue.retry(job))


def followed(job: Job) -> Job:
    for _ in job.follow():
        pass
    return job


def fault_of(job: Job) -> Failed:
    last = job.since()[-1][1]
    assert isinstance(last, Failed)
    return last


def pictures(job: Job) -> list[bytes]:
    return [image.path.read_bytes() for image in job.images]


HANGS = {
    "sleeps": "import time\n        time.sleep(1e6)",
    "spins": "while True:\n            pass",
    "spins and catches": "while True:\n            try:\n                sum(range(100))\n"
    "            except Exception:\n                pass",
}


def hanging(how: str) -> str:
    return f"@hook\ndef on_request(request):\n    if 'hang' in request.prompt:\n        {HANGS[how]}\n"


@pytest.mark.parametrize("how", HANGS)
def test_one_that_hangs_fails_its_job_only(studio: Callable[..., App], how: str) -> None:
    app = studio(frame=hanging(how))
    before = made(app)
    (held,) = app.submit(GenerationRequest(prompt="hang, red circle"), OWNER)
    waiting = again(app, before)
    fault = fault_of(held)
    assert fault.message.startswith("Frame did not return from on_request within a second")
    assert fault.kind == "extension_failed"
    assert waiting.state == "finished"
    assert pictures(waiting) == pictures(before)
    extension = app.extensions.find("frame")
    assert [failure.where for failure in extension.failures] == ["on_request"]
    assert any("was given up after" in line and "__init__.py" in line for line in extension.log.lines())
    if how != "sleeps":  # it runs the extension's own code, so that it can be ended
        while app.extensions.calls.busy:
            time.sleep(0.05)
    assert pictures(again(app, before)) == pictures(before)


def test_one_that_comes_back_late_is_not_heard(studio: Callable[..., App]) -> None:
    code = """
    import threading
    gate = threading.Event()
    @hook
    def on_request(request):
        if "hang" in request.prompt:
            gate.wait()
    """
    app = studio(frame=code)
    held = made(app, "hang, red circle")
    events = len(held.since())
    module = app.extensions.find("frame").module
    assert module is not None
    (old,) = app.extensions.calls.abandoned()
    (thread,) = [thread for thread in threading.enumerate() if thread.ident == old.thread]
    module.gate.set()
    thread.join()
    assert len(held.since()) == events
    assert held.images == []
    assert made(app).state == "finished"


def test_one_that_raises_fails_its_job_by_name(studio: Callable[..., App]) -> None:
    code = """
    @hook
    def on_request(request):
        match request.prompt:
            case "raise": raise ValueError("no frame\\nsecond line")
            case "leave": raise SystemExit
            case "panic": raise type("PanicException", (BaseException,), {})("at the disco")
            case "say no": raise UserError("The frame is too wide.")
            case "stop": raise Cancelled
    """
    app = studio(frame=code)
    assert fault_of(made(app, "raise")).message == (
        "Frame failed in on_request: ValueError: no frame. Switch it off in Extensions, or see its log there."
    )
    assert fault_of(made(app, "leave")).message.startswith("Frame failed in on_request: SystemExit.")
    # A panic of a library in Rust is no Exception; the worker's thread goes on all the same.
    assert fault_of(made(app, "panic")).message.startswith("Frame failed in on_request: PanicException: at the disco.")
    assert fault_of(made(app, "say no")).message == "Frame: The frame is too wide."
    assert made(app, "stop").state == "interrupted"
    assert made(app).state == "finished"
    extension = app.extensions.find("frame")
    assert [failure.where for failure in extension.failures] == ["on_request"] * 3
    assert any(line.startswith("ValueError: no frame") for line in extension.log.lines())


def test_zero_seconds_are_no_limit(studio: Callable[..., App]) -> None:
    app = studio(seconds=0, frame="import time\n@hook\ndef on_request():\n    time.sleep(2)")
    assert made(app).state == "finished"


def test_a_call_says_whose_fault_it_is(extension: Extension) -> None:
    calls = Calls()

    def raising(error: BaseException) -> Callable[[], None]:
        def call() -> None:
            raise error

        return call

    with pytest.raises(ExtensionFault, match=r"^frame failed in on_image: KeyError: 'x'\."):
        calls.call(extension, "on_image", raising(KeyError("x")))
    with pytest.raises(ExtensionFault, match=r"^frame: The mask is missing\.$"):
        calls.call(extension, "on_image", raising(InvalidRequest("The mask is missing.")))
    with pytest.raises(Cancelled):
        calls.call(extension, "on_image", raising(Cancelled()))
    memory = type("OutOfMemoryError", (RuntimeError,), {})("all is full")
    with pytest.raises(RuntimeError, match=r"^all is full$"):
        calls.call(extension, "on_image", raising(memory))
    assert calls.call(extension, "on_image", lambda x, y: x + y, 1, y=2) == 3
    assert not calls.busy


def test_what_ours_raises_within_an_extension_is_not_its_fault(extension: Extension) -> None:
    calls = Calls()

    def through(error: Exception) -> None:
        with calls.pause():
            raise error

    ours = RuntimeError("ours")
    with pytest.raises(RuntimeError) as raised:
        calls.call(extension, "on_image", through, ours)
    assert raised.value is ours
    with pytest.raises(ExtensionFault, match=r"^frame: It cannot be\.$"):
        calls.call(extension, "on_image", through, UserError("It cannot be."))
    inner = ExtensionFault("another failed.")
    with pytest.raises(ExtensionFault) as raised:
        calls.call(extension, "on_image", through, inner)
    assert raised.value is inner

    def swallowing() -> None:
        try:
            through(ours)
        except RuntimeError:
            raise KeyError("mine") from None

    with pytest.raises(ExtensionFault, match="KeyError"):
        calls.call(extension, "on_image", swallowing)


def test_the_clock_stands_still_while_ours_runs_and_begins_anew(extension: Extension) -> None:
    calls = Calls(lambda: 0.05)
    seen: list[int] = []

    def hook() -> None:
        time.sleep(0.1)
        seen.append(len(calls.overdue()))
        with calls.pause():
            time.sleep(0.1)
            seen.append(len(calls.overdue()))
        seen.append(len(calls.overdue()))
        time.sleep(0.1)
        seen.append(len(calls.overdue()))
        calls.renew()
        seen.append(len(calls.overdue()))

    calls.call(extension, "on_image", hook)
    assert seen == [1, 0, 0, 1, 0]


def test_of_calls_within_each_other_the_innermost_counts(extension: Extension, tmp_path: Path) -> None:
    calls = Calls(lambda: 0.05)
    other = Extension(id="other", folder=tmp_path / "other", data_dir=tmp_path, log=ExtensionLog("other", tmp_path))
    seen: list[list[str]] = []

    def inner() -> None:
        time.sleep(0.1)
        seen.append([late.extension.id for late in calls.overdue()])

    def outer() -> None:
        with calls.pause():
            calls.call(other, "on_image", inner)

    calls.call(extension, "on_image", outer)
    assert seen == [["other"]]


def test_a_thread_that_is_given_up_ends_where_it_next_meets_us(extension: Extension) -> None:
    calls = Calls()

    def given_up(then: Callable[[], None]) -> None:
        assert calls.give_up(threading.get_ident())
        then()

    def paused() -> None:
        with calls.pause():
            raise AssertionError("nothing of ours runs any more")

    for then in (lambda: None, calls.renew, paused, lambda: 1 / 0):
        with pytest.raises(Abandoned):
            calls.call(extension, "on_image", given_up, then)
    assert not calls.give_up(threading.get_ident())
    assert not calls.busy


def test_at_the_door_nobody_waits_longer_than_the_limit(extension: Extension) -> None:
    calls = Calls()
    gate = threading.Event()
    with pytest.raises(ExtensionFault, match=r"did not return from on_prompts within 0\.2 seconds"):
        calls.call_apart(extension, "on_prompts", gate.wait, limit=0.2)
    gate.set()
    assert calls.call_apart(extension, "on_prompts", lambda x: x, 3) == 3
    with pytest.raises(ExtensionFault, match="ZeroDivisionError"):
        calls.call_apart(extension, "on_prompts", lambda: 1 / 0)
    while calls.busy:
        time.sleep(0.01)


def test_only_an_extensions_own_code_is_interrupted(tmp_path: Path) -> None:
    """Within a library, or while one is imported, a thread is left alone."""
    import importlib.util

    library = tmp_path.parent / f"{tmp_path.name}_library.py"
    library.write_text("def spin(until):\n    while not until():\n        pass\n")
    own = tmp_path / "own.py"
    own.write_text("def spin(until):\n    while not until():\n        pass\n")
    done = threading.Event()
    ended: list[str] = []
    for path in (library, own):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

        def run(spin: Callable[..., None] = module.spin, name: str = path.stem) -> None:
            try:
                spin(done.is_set)
            except Abandoned:
                ended.append(name)

        thread = threading.Thread(target=run)
        thread.start()
        assert thread.ident is not None
        for _ in range(20):
            interrupt(thread.ident, tmp_path)
            time.sleep(0.01)
        if path is own:
            thread.join()
        else:
            assert thread.is_alive()
    done.set()
    assert ended == ["own"]


def test_with_the_real_engine_pictures_after_it_are_the_same(studio: Callable[..., App]) -> None:
    """Its thread, its engine and its networks are left to it; those of the next picture are new."""
    code = """
    import time
    @hook
    def on_step(guess, turn):
        if "hang" in turn.request.prompt:
            while True:
                pass
    """
    app = studio(worker=None, frame=code)
    before = made(app)
    assert before.since()[-1][1] == Finished()
    assert fault_of(made(app, "hang")).message.startswith("Frame did not return from on_step")
    after = made(app)
    assert pictures(after) == pictures(before)
