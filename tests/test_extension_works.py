"""What extensions do beside a generation: background jobs, events, a log, flags of the command line."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flags
from backend.app import App, Options
from backend.errors import UserError
from backend.extensions.extension import Extension
from backend.extensions.log import LARGEST, ExtensionLog
from backend.extensions.quick_engine import QuickEngine
from backend.extensions.works import MOST_AT_ONCE
from backend.paths import ROOT
from backend.request import GenerationRequest
from tests.extension_folders import write_extension

OWNER = "a" * 32


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Callable[..., tuple[App, Extension]]]:
    """Starts an app in which an extension of such code is on."""
    made: list[App] = []

    def start(code: str, **entries: Any) -> tuple[App, Extension]:
        write_extension(tmp_path, "frame", code)
        made.append(App(Options(data_dir=tmp_path, device="cpu", **entries), worker=QuickEngine))
        extension = made[-1].extensions.switch("frame", True)
        assert extension.problem == ""
        made[-1].start()
        return made[-1], extension

    yield start
    for app in made:
        app.close()


def changed(app: App, until: Callable[[], bool]) -> None:
    """Waits for a change of the background jobs after which that is so."""
    told = threading.Condition()

    def tell() -> None:
        with told:
            told.notify_all()

    end = app.extensions.works.subscribe(tell)
    with told:
        told.wait_for(until)
    end()


WORKS = """
import threading
gate = threading.Event()

@hook
def register(api):
    global begin
    begin = api.background

def count(work):
    for number in range(4):
        work.progress(number, 4, f"{number} of 4")
        gate.wait()
        work.check()

def fail(work):
    raise ValueError("no luck")
"""


def test_a_background_job_says_how_far_it_is_and_ends(studio: Callable[..., tuple[App, Extension]]) -> None:
    app, extension = studio(WORKS)
    module: Any = extension.module
    works = app.extensions.works
    module.begin("Counting", module.count)
    changed(app, lambda: works.all()[0].doing == "0 of 4")
    (work,) = works.of("frame")
    assert (work.title, work.state, work.share) == ("Counting", "running", 0.0)
    module.gate.set()
    changed(app, lambda: works.all()[0].ended)
    assert [(each.state, each.share, each.problem) for each in works.all()] == [("finished", 1.0, "")]


def test_a_background_job_is_ended_by_hand_and_with_its_extension(
    studio: Callable[..., tuple[App, Extension]],
) -> None:
    app, extension = studio(WORKS)
    module: Any = extension.module
    works = app.extensions.works
    for _ in range(MOST_AT_ONCE):
        module.begin("Counting", module.count)
    with pytest.raises(UserError, match="has 4 background jobs already"):
        module.begin("Counting", module.count)
    works.cancel(works.all()[0].id)
    app.extensions.switch("frame", False)
    module.gate.set()
    changed(app, lambda: all(work.ended for work in works.all()))
    assert [work.state for work in works.all()] == ["cancelled"] * MOST_AT_ONCE
    with pytest.raises(UserError, match="is off"):
        module.begin("Counting", module.count)
    with pytest.raises(UserError, match="no longer in the list"):
        works.cancel("x")


def test_a_background_job_that_fails_says_why(studio: Callable[..., tuple[App, Extension]]) -> None:
    app, extension = studio(WORKS)
    module: Any = extension.module
    module.begin("Failing", module.fail)
    changed(app, lambda: app.extensions.works.all()[0].ended)
    (work,) = app.extensions.works.all()
    assert work.state == "failed"
    assert work.problem.startswith("Frame failed in the background job Failing: ValueError: no luck.")
    assert [failure.where for failure in extension.failures] == ["the background job Failing"]


EVENTS = """
import queue
heard = queue.Queue()

class Own(BaseModel):
    colour: str = "red"

@hook
def register(api):
    global settings
    settings = api.settings(Own)
    for event in ("image_saved", "job_ended", "checkpoint_loaded", "settings_changed"):
        api.on(event, lambda value, event=event: heard.put((event, value)))
    def fail(job):
        raise ValueError("deaf")
    api.on("job_ended", fail)
"""


def test_what_happens_is_told_one_after_the_other(studio: Callable[..., tuple[App, Extension]]) -> None:
    app, extension = studio(EVENTS)
    module: Any = extension.module
    (job,) = app.submit(GenerationRequest(prompt="a red circle", steps=1, width=64, height=64, seed=1), OWNER)
    event, saved = module.heard.get(timeout=60)
    assert event == "image_saved"
    assert (saved.path, saved.owner) == (job.images[0].path, OWNER)
    assert saved.infotext.startswith("a red circle")
    assert module.heard.get(timeout=60) == ("job_ended", job.id)
    app.status.post(checkpoint="starter")
    app.status.post(loading="something else")
    assert module.heard.get(timeout=60) == ("checkpoint_loaded", "starter")
    app.settings.update({"default_steps": 21})
    assert module.heard.get(timeout=60) == ("settings_changed", None)
    module.settings.change(colour="blue")
    assert module.heard.get(timeout=60) == ("settings_changed", None)
    assert [failure.where for failure in extension.failures] == ["on job_ended"]
    app.queue.forget(job)
    app.extensions.switch("frame", False)
    app.settings.update({"default_steps": 22})
    assert module.heard.empty()


def test_who_does_not_listen_costs_no_thread(studio: Callable[..., tuple[App, Extension]]) -> None:
    studio("")
    assert not [thread for thread in threading.enumerate() if thread.name == "events of frame"]


def test_a_log_does_not_grow_without_end(tmp_path: Path) -> None:
    log = ExtensionLog("frame", tmp_path / "data")
    assert log.lines() == []
    assert not (tmp_path / "data").exists()
    for number in range(3):
        log.info("%d %s", number, "x" * (LARGEST // 2))
    log.warning("last")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["log.txt", "log.txt.1"]
    assert log.lines(1)[0].endswith("WARNING last")
    log.close()
    log.info("opened again")
    assert [line.rpartition(" ")[2] for line in log.lines(2)] == ["last", "again"]
    log.close()


FLAGS = """
[[flags]]
name = "--frame-file"
help = "where 100% of it goes"

[[flags]]
name = "--frame-quiet"
type = "flag"
"""


def test_flags_of_manifests_are_understood(
    studio: Callable[..., tuple[App, Extension]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_extension(tmp_path, "frame")
    with (folder / "extension.toml").open("a") as file:
        file.write(FLAGS)
    (write_extension(tmp_path, "bad") / "extension.toml").write_text("[[flags]\n")
    (write_extension(tmp_path, "worse") / "extension.toml").write_text("flags = ['--frame-width']\n")
    (write_extension(tmp_path, "deep") / "extension.toml").write_text(f"id = {'[' * 5000}")
    line = ["--data-dir", str(tmp_path), "--frame-file", "book.txt"]
    arguments = flags.parse(line)
    assert arguments.extension_flags == {"frame-file": "book.txt"}
    assert flags.parse([*line, "--frame-quiet"]).extension_flags["frame-quiet"] is True
    with pytest.raises(SystemExit):  # it belongs to an extension of that data folder
        flags.parse(["--frame-file", "book.txt"])
    manifest = (folder / "extension.toml").read_text()
    app, extension = studio("", extension_flags=arguments.extension_flags)
    (folder / "extension.toml").write_text(manifest)
    extension = app.extensions.reload("frame")
    assert extension.api is not None
    assert dict(extension.api.flags) == {"frame-file": "book.txt", "frame-quiet": False}
    capsys.readouterr()
    for on, shown in ((True, True), (False, False)):
        app.extensions.switch("frame", on)
        with pytest.raises(SystemExit):
            flags.parse(["--data-dir", str(tmp_path), "--help"])
        assert ("where 100% of it goes (Frame)" in " ".join(capsys.readouterr().out.split())) is shown


def test_help_with_an_extension_imports_the_standard_library_only(tmp_path: Path) -> None:
    folder = write_extension(tmp_path, "frame", "raise RuntimeError")
    with (folder / "extension.toml").open("a") as file:
        file.write(FLAGS)
    (tmp_path / "extensions.json").write_text('{"switched": {"frame": true}}')
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['webui.py', '--data-dir', {str(tmp_path)!r}, '--help']\n"
        "before = set(sys.modules)\n"
        "try:\n    runpy.run_path('webui.py', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "print({name.partition('.')[0] for name in set(sys.modules) - before} - {*sys.stdlib_module_names})\n"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--frame-file" in told
    assert told.splitlines()[-1] == "{'flags'}"
