"""`backend.extensions`: found, loaded, refused with a sentence, and taken away again."""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.app import App, Options
from backend.errors import UserError
from backend.extension_api import Hooks, Kind
from backend.extensions import extensions as module
from backend.extensions.brought import Brought
from backend.extensions.extensions import Extensions
from backend.extensions.switches import Switches
from backend.families.ldm import alphas_cumprod
from backend.sampling.samplers import SAMPLERS
from backend.sampling.schedules import SigmaTable, find_schedule
from backend.watchdog import interrupt
from tests.extension_folders import write_extension

FRAME = """
class Frame(Params):
    width: int = Field(8, ge=0, le=64, title="Width")

class Own(BaseModel):
    colour: str = "red"

def steps(denoise, x, sigmas, *, noise, on_step):
    return x

@hook
def register(api):
    api.params(Frame)
    api.settings(Own)
    api.sampler("Framed", steps)
    api.on("job_ended", lambda id: None)
    api.log.info("registered")

@hook
def on_image(image):
    return image
"""


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Extensions]:
    """Extensions of a data folder, of which none ships."""
    found = Extensions(tmp_path, bundled=tmp_path / "none")
    found.load()
    yield found
    found.close()


def problem_of(there: Extensions, id: str) -> str:
    """What is said of one that is switched on and cannot be loaded; nothing of it may be there."""
    extension = there.switch(id, True)
    assert extension.state == "broken"
    assert extension.brought == Brought()
    assert extension.impls == {}
    assert there.active() == ()
    assert not [name for name in sys.modules if name.startswith(f"atelier_extensions.{id}")]
    assert extension.problem.endswith((".", "?"))
    return extension.problem


def refused(there: Extensions, folder: Path, code: str) -> str:
    """What is said of an extension with this code."""
    write_extension(folder, "frame", code)
    there.rescan()
    return problem_of(there, "frame")


def test_hook_register(there: Extensions, tmp_path: Path) -> None:
    """One that is switched on brings what it registers; switched off, it takes all of it away."""
    write_extension(tmp_path, "frame", FRAME)
    told: list[int] = []
    there.subscribe(lambda: told.append(there.revision))
    there.rescan()
    assert [(each.id, each.title, each.state) for each in there.all()] == [("frame", "Frame", "off")]
    extension = there.switch("frame", True)
    assert (extension.state, extension.problem) == ("on", "")
    assert there.active() == (extension,)
    assert extension.brought.parameters is not None
    assert extension.brought.parameters.title == "Frame"
    assert [impl.argnames for impl in extension.hookimpls("on_image")] == [("image",)]
    assert extension.settings is not None
    assert extension.settings.value.colour == "red"
    assert "Framed" in SAMPLERS
    assert extension.log.lines()[-1].endswith("INFO registered")
    there.switch("frame", False)
    assert (extension.state, extension.brought, there.active()) == ("off", Brought(), ())
    assert "Framed" not in SAMPLERS
    assert told == [1, 2, 3]


def test_a_switch_is_remembered(there: Extensions, tmp_path: Path) -> None:
    write_extension(tmp_path, "frame")
    there.rescan()
    there.switch("frame", True)
    there.close()
    again = Extensions(tmp_path, bundled=tmp_path / "none")
    again.load()
    assert again.find("frame").state == "on"
    again.close()


def test_what_ships_may_be_on_at_first_and_is_switched_off_for_good(tmp_path: Path) -> None:
    write_extension(tmp_path / "shipped", "frame")
    (tmp_path / "shipped" / "extensions" / "bundled.txt").write_text("frame on\n")
    for on in (True, False):
        found = Extensions(tmp_path, bundled=tmp_path / "shipped" / "extensions")
        found.load()
        assert (found.find("frame").state == "on") is on
        assert found.find("frame").bundled
        found.switch("frame", False)
        found.close()


def test_in_safe_mode_all_are_listed_and_none_is_loaded(tmp_path: Path) -> None:
    write_extension(tmp_path, "frame", "raise SystemExit(1)")
    (tmp_path / "extensions.json").write_text('{"switched": {"frame": true}}')
    found = Extensions(tmp_path, bundled=tmp_path / "none", safe_mode=True)
    found.load()
    assert [(each.id, each.state) for each in found.all()] == [("frame", "off")]
    with pytest.raises(UserError, match="safe mode"):
        found.switch("frame", True)
    found.switch("frame", False)
    found.close()


BROKEN = {
    "syntax": ("def register(api:\n    pass", "SyntaxError"),
    "import": ("import nothing_of_this_name\n", "ModuleNotFoundError"),
    "raises at import": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "exits at import": ("import sys\nsys.exit('gone')", "SystemExit: gone"),
    "panics at import": (
        "class PanicException(BaseException):\n    pass\nraise PanicException('no memory')",
        "PanicException: no memory",
    ),
    "raises in register": (
        "@hook\ndef register(api):\n    raise ValueError('no frame')",
        "register: ValueError: no frame",
    ),
    "unknown hook": ("@hook\ndef on_picture(image):\n    pass", "no hook called 'on_picture'"),
    "unknown argument": ("@hook\ndef on_image(picture):\n    pass", "no argument called 'picture'"),
    "by position": ("@hook\ndef on_image(image, /):\n    pass", "by position only"),
    "any argument": ("@hook\ndef on_image(*all):\n    pass", "named one by one"),
    "first of all": ("@hook(tryfirst=True)\ndef on_image(image):\n    pass", "tryfirst"),
    "a wrapper": ("@hook(hookwrapper=True)\ndef on_image(image):\n    yield", "hookwrapper"),
    "a coroutine": ("@hook\nasync def on_image(image):\n    pass", "plain function"),
    "without a mark": ("def on_image(image):\n    pass", "does not stand below @hook"),
    "a field without default": (
        "class P(Params):\n    x: int\n@hook\ndef register(api):\n    api.params(P)",
        "x of P has no default",
    ),
    "a field of another type": (
        "class P(Params):\n    x: list[int] = []\n@hook\ndef register(api):\n    api.params(P)",
        "none of bool, int",
    ),
    "a taken name": ("@hook\ndef register(api):\n    api.sampler('Euler', lambda **_: None)", "Euler"),
    "no function": ("@hook\ndef register(api):\n    api.sampler('Sampled', 3)", "which is no function"),
    "an unknown event": ("@hook\ndef register(api):\n    api.on('rain', print)", "no event called 'rain'"),
    "a background job at once": ("@hook\ndef register(api):\n    api.background('x', print)", "not in register"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_one_says_why_and_leaves_nothing_behind(there: Extensions, tmp_path: Path, kind: str) -> None:
    code, said = BROKEN[kind]
    # What it brings before it fails goes too.
    first = "@hook\ndef register(api):\n    api.schedule('Left behind', lambda *_: [1.0])\n    fails(api)\n"
    write_extension(tmp_path, "bad", code.replace("@hook\ndef register(api)", f"{first}\ndef fails(api)"))
    write_extension(tmp_path, "good")
    there.rescan()
    assert said in problem_of(there, "bad")
    assert there.switch("good", True).state == "on"
    assert there.switch("bad", False).state == "off"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"api": ">=2"}, "written for the extension interface >=2"),
        ({"dependencies": ["no-such-package>=3"]}, "needs no-such-package>=3, which is not installed"),
        ({"dependencies": ["numpy<1"]}, r"numpy<1 \("),
    ],
)
def test_one_that_does_not_fit_here_is_not_even_imported(
    there: Extensions, tmp_path: Path, entries: dict[str, Any], said: str
) -> None:
    write_extension(tmp_path, "bad", f"open({str(tmp_path / 'ran')!r}, 'w')", **entries)
    there.rescan()
    assert re.search(said, problem_of(there, "bad"))
    assert not (tmp_path / "ran").exists()


def test_one_whose_manifest_is_wrong_or_missing_is_listed_and_nothing_of_it_runs(
    there: Extensions, tmp_path: Path
) -> None:
    write_extension(tmp_path, "bad", f"open({str(tmp_path / 'ran')!r}, 'w')", version="one")
    (write_extension(tmp_path, "bare") / "extension.toml").unlink()
    there.rescan()
    assert {each.id: each.state for each in there.all()} == {"bad": "broken", "bare": "broken"}
    assert "'one'" in problem_of(there, "bad")
    assert "has no extension.toml" in problem_of(there, "bare")
    assert not (tmp_path / "ran").exists()
    write_extension(tmp_path, "bad")
    assert there.reload("bad").state == "on"


@pytest.mark.parametrize("code", ["import time\ntime.sleep(1e6)", "while True:\n    pass"])
def test_one_that_does_not_come_back_from_its_import_is_given_up(
    there: Extensions, tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOAD_SECONDS", 0.5)
    folder = write_extension(tmp_path, "bad", code)
    write_extension(tmp_path, "good")
    there.rescan()
    assert "did not return from its import within 0.5 seconds" in there.switch("bad", True).problem
    assert there.switch("good", True).state == "on"
    (left,) = there.calls.abandoned()
    if "while" in code:
        while there.calls.abandoned():
            interrupt(left.thread, folder)
            time.sleep(0.05)
    else:
        assert left.where == "its import"


def test_one_is_reloaded_as_it_is_now_with_what_it_imports(there: Extensions, tmp_path: Path) -> None:
    code = "from .part import NAME\n@hook\ndef register(api):\n    api.schedule(NAME, lambda *_: [1.0])"
    write_extension(tmp_path, "frame", code, files={"part.py": "NAME = 'First'"})
    there.rescan()
    extension = there.switch("frame", True)
    assert [schedule.name for schedule in extension.brought.schedules] == ["First"]
    write_extension(tmp_path, "frame", code, files={"part.py": "NAME = 'Other'"})  # as many bytes, at the same time
    assert there.reload("frame") is extension
    assert [schedule.name for schedule in extension.brought.schedules] == ["Other"]
    assert not list(extension.folder.rglob("*.pyc"))


def test_one_that_is_gone_is_taken_off(there: Extensions, tmp_path: Path) -> None:
    folder = write_extension(tmp_path, "frame", FRAME)
    there.rescan()
    there.switch("frame", True)
    folder.rename(tmp_path / "elsewhere")
    there.rescan()
    assert (there.all(), there.active()) == ((), ())
    assert "Framed" not in SAMPLERS
    with pytest.raises(UserError, match="no extension called 'frame'"):
        there.find("frame")


def test_turns_are_taken_as_the_manifests_say_else_by_name(there: Extensions, tmp_path: Path) -> None:
    write_extension(tmp_path, "aa", after=["cc", "unknown"])
    write_extension(tmp_path, "bb")
    write_extension(tmp_path, "cc")
    write_extension(tmp_path, "dd", before=["bb"])
    there.rescan()
    for extension in there.all():
        there.switch(extension.id, True)
    assert [each.id for each in there.active()] == ["cc", "aa", "dd", "bb"]
    assert {each.problem for each in there.all()} == {""}


def test_those_that_contradict_each_other_are_told(there: Extensions, tmp_path: Path) -> None:
    write_extension(tmp_path, "aa", after=["bb"])
    write_extension(tmp_path, "bb", after=["aa"])
    write_extension(tmp_path, "cc", after=["bb"])
    write_extension(tmp_path, "dd")
    there.rescan()
    for extension in there.all():
        there.switch(extension.id, True)
    assert [each.id for each in there.active()] == ["dd", "aa", "bb", "cc"]
    assert {each.id for each in there.all() if "contradicts itself (aa, bb)" in each.problem} == {"aa", "bb"}
    there.switch("bb", False)
    assert {each.problem for each in there.all()} == {""}


def test_what_is_brought_is_brought_by_register(there: Extensions, tmp_path: Path) -> None:
    write_extension(tmp_path, "late")
    there.rescan()
    api = there.switch("late", True).api
    assert api is not None
    with pytest.raises(UserError, match="for register only"):
        api.on("job_ended", print)


def test_a_kind_of_model_may_be_its_word_and_must_be_one(there: Extensions, tmp_path: Path) -> None:
    register = "@hook\ndef register(api):\n    api.card_action('Look', str, kinds=[{}])\n"
    write_extension(tmp_path, "fine", register.format("'checkpoint'"))
    write_extension(tmp_path, "wrong", register.format("'checkpiont'"))
    there.rescan()
    assert there.switch("fine", True).brought.card_actions[0].kinds == (Kind.CHECKPOINT,)
    assert (
        there.switch("wrong", True).problem == "There is no kind of model called 'checkpiont'; did you mean checkpoint?"
    )


def test_settings_are_kept_and_a_bad_value_costs_itself_only(there: Extensions, tmp_path: Path) -> None:
    code = """
    class Own(BaseModel):
        colour: str = "red"
        width: int = Field(3, ge=1, title="Width")

    @hook
    def register(api):
        api.settings(Own)
    """
    write_extension(tmp_path, "frame", code)
    there.rescan()
    extension = there.switch("frame", True)
    settings = extension.settings
    assert settings is not None
    settings.change(colour="blue", width=5)
    with pytest.raises(UserError, match="Width is 0: "):
        settings.change(width=0)
    with pytest.raises(UserError, match="no setting called 'size'"):
        settings.change(size=0)
    assert (settings.value.colour, settings.value.width) == ("blue", 5)
    (extension.data_dir / "settings.json").write_text('{"colour": "green", "width": -3, "more": 1}')
    there.reload("frame")
    assert extension.settings is not None
    assert (extension.settings.value.colour, extension.settings.value.width) == ("green", 3)
    assert any("Width is -3" in line for line in extension.log.lines())


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("key: SecretStr = SecretStr('x')", "a secret"),
        ("key: SecretStr | None = None", "a secret"),
        ("size: float = float('inf')", "cannot be written as JSON"),
        ("call: Callable = print", "cannot be written as JSON"),
        ("width: int = Field(500, le=64, title='Width')", "Width is 500"),
    ],
)
def test_settings_that_no_file_gives_back_are_refused(field: str, said: str, there: Extensions, tmp_path: Path) -> None:
    code = f"""
    from collections.abc import Callable
    from pydantic import SecretStr

    class Own(BaseModel):
        {field}

    @hook
    def register(api):
        api.settings(Own)
    """
    assert said in refused(there, tmp_path, code)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("width: int = Field(500, le=64)", "width is 500"),
        ("width: Literal['a', 'b'] = 'c'", "width is 'c'"),
        ("width: int = Field(3, alias='w')", "has an alias"),
    ],
)
def test_parameters_whose_defaults_cannot_be_are_refused(
    field: str, said: str, there: Extensions, tmp_path: Path
) -> None:
    code = f"""
    from typing import Literal

    class Frame(Params):
        {field}

    @hook
    def register(api):
        api.params(Frame)
    """
    assert said in refused(there, tmp_path, code)


def test_a_schedule_is_asked_again_when_a_setting_changed(there: Extensions, tmp_path: Path) -> None:
    code = """
    class Own(BaseModel):
        end: float = 0.5

    kept = []

    @hook
    def register(api):
        kept.append(api.settings(Own))
        api.schedule("Straight", lambda steps, lowest, highest: [
            highest + (kept[0].value.end - highest) * k / (steps - 1) for k in range(steps)
        ])
    """
    write_extension(tmp_path, "frame", code)
    there.rescan()
    extension = there.switch("frame", True)
    assert extension.settings is not None
    table = SigmaTable(alphas_cumprod().tolist())
    ends = []
    for end in (0.5, 0.25):
        extension.settings.change(end=end)
        ends.append(find_schedule("Straight").sigmas(5, table)[-2])
    assert ends == [0.5, 0.25]


def test_what_others_say_is_not_loaded_by_whoever_may_not(there: Extensions, tmp_path: Path) -> None:
    write_extension(tmp_path, "frame", FRAME)
    there.rescan()
    there.switch("frame", True)
    write_extension(tmp_path, "frame", "raise SystemExit", version="2.0")
    there.rescan(strangers=False)
    assert (there.find("frame").state, "Framed" in SAMPLERS) == ("on", True)
    there.rescan()
    assert (there.find("frame").state, "Framed" in SAMPLERS) == ("broken", False)


def test_a_switch_that_cannot_be_written_is_as_it_was(tmp_path: Path) -> None:
    switches = Switches(tmp_path / "extensions.json")
    switches.switch("frame", True)
    switches.hold("frame", "It held Atelier up.")
    (tmp_path / "extensions.json").unlink()
    (tmp_path / "extensions.json").mkdir()  # where no file can be put
    with pytest.raises(UserError, match="could not be written"):
        switches.switch("frame", False)
    assert (switches.is_on("frame"), switches.held_up("frame")) == (True, "It held Atelier up.")
    (tmp_path / "extensions.json").rmdir()
    switches.forget("frame")
    again = Switches(tmp_path / "extensions.json")
    assert (again.is_on("frame"), again.held_up("frame")) == (False, "")


def test_an_app_without_extensions_has_none_and_closes_those_it_has(tmp_path: Path) -> None:
    write_extension(tmp_path, "frame", FRAME)
    app = App(Options(data_dir=tmp_path))
    app.extensions.switch("frame", True)
    assert "Framed" in SAMPLERS
    app.close()
    assert "Framed" not in SAMPLERS
    assert "atelier_extensions.frame" not in sys.modules


def test_one_may_be_javascript_alone(there: Extensions, tmp_path: Path) -> None:
    (write_extension(tmp_path, "page", js="page.js") / "__init__.py").unlink()
    write_extension(tmp_path, "idle", files={"__init__.py": "NAME = 'idle'"})
    (write_extension(tmp_path, "bare") / "__init__.py").unlink()
    there.rescan()
    assert there.switch("page", True).problem == ""
    assert there.switch("page", False).state == "off"
    assert "no hook" in problem_of(there, "idle")
    assert "there is no __init__.py" in problem_of(there, "bare").lower()


def test_each_hook_is_one_that_pluggy_knows(there: Extensions, tmp_path: Path) -> None:
    names = [name for name in vars(Hooks) if not name.startswith("_")]
    code = "".join(f"@hook\ndef {name}():\n    pass\n" for name in names)
    write_extension(tmp_path, "every", code)
    there.rescan()
    extension = there.switch("every", True)
    assert extension.problem == ""
    assert set(extension.impls) == set(names)
