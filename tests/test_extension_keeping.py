"""What lives on between the hooks of an extension: its settings and what it keeps; and that modules hold nothing."""

import ast
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.app import App, Options
from backend.errors import UserError
from backend.events import Failed, ImageReady
from backend.extension_api import Person
from backend.extensions.asking import asked_as
from backend.extensions.extension import Extension
from backend.extensions.quick_engine import QuickEngine
from backend.paths import ROOT
from backend.request import GenerationRequest
from tests.extension_folders import write_extension

REQUEST = GenerationRequest(prompt="a red circle", steps=1, width=64, height=64, seed=1)
OWNER = "a" * 32
PATIENCE = 60  # seconds after which what is waited for does not come


@contextmanager
def opened(folder: Path) -> Iterator[App]:
    """A running app whose pictures are discs; none of the bundled extensions is on."""
    app = App(Options(data_dir=folder, device="cpu"), worker=QuickEngine)
    for extension in app.extensions.active():
        app.extensions.switch(extension.id, False)
    app.start()
    try:
        yield app
    finally:
        app.close()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    with opened(tmp_path) as app:
        yield app


def added(app: App, code: str, id: str = "tried") -> Extension:
    write_extension(app.options.data_dir, id, code)
    app.extensions.rescan()
    return app.extensions.switch(id, True)


def made(app: App, request: GenerationRequest, **extras: Any) -> tuple[ImageReady, ...]:
    """The pictures of a request with these parameters, or the `UserError` that it failed with."""
    found: list[ImageReady] = []
    for job in app.submit(replace(request, extras=extras), OWNER):
        *_, last = job.follow()
        if isinstance(last, Failed):
            raise UserError(last.message)
        found += job.images
    return tuple(found)


KEEPING = """
import threading

class Own(BaseModel):
    word: str = "first"

class Other(BaseModel):
    word: str = "other"

class Count:
    def __init__(self, name):
        self.name, self.pictures = name, 0

begun, go_on = threading.Event(), threading.Event()
go_on.set()

@hook
def register(api):
    api.settings(Own)
    assert isinstance(api.keep(Count(api.data_dir.parent.parent.name)), Count)

@hook
def on_prompts(request, turn):
    from dataclasses import replace
    return [replace(request, prompt=f"{request.prompt} {turn.settings(Own).word} {turn.kept(Count).name}")]

@hook
def on_request(turn):
    begun.set()
    go_on.wait()

@hook
def on_save(turn):
    count = turn.kept(Count)
    count.pictures += 1
    return {"Count": str(count.pictures), "Word": turn.settings(Own).word}
"""


def test_hooks_have_their_settings_as_they_are_and_what_register_kept(app: App, tmp_path: Path) -> None:
    extension = added(app, KEEPING)
    assert extension.settings is not None
    (first,) = made(app, REQUEST)
    assert first.infotext.startswith(f"a red circle first {tmp_path.name}\n")
    assert "Count: 1, Word: first" in first.infotext
    extension.settings.change(word="second")
    (second,) = made(app, REQUEST)
    assert second.infotext.startswith("a red circle second")
    assert "Count: 2, Word: second" in second.infotext
    app.extensions.reload("tried")
    (third,) = made(app, REQUEST)
    assert "Count: 1, Word: second" in third.infotext


@pytest.mark.parametrize("change", ["off", "reload"])
def test_a_job_goes_on_with_what_it_began_with(app: App, change: str) -> None:
    module: Any = added(app, KEEPING).module
    module.go_on.clear()
    (job,) = app.submit(REQUEST, OWNER)
    assert module.begun.wait(PATIENCE)
    if change == "off":
        app.extensions.switch("tried", False)
    else:
        assert app.extensions.reload("tried").module is not module
    module.go_on.set()
    *_, last = job.follow()
    assert job.state == "finished", last
    assert "Count: 1, Word: first" in job.images[0].infotext


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("turn.settings(Other)", "Tried: it has no settings Other: register names them to api.settings."),
        ("turn.kept(Other)", "Tried: it keeps no Other: register hands it to api.keep."),
    ],
)
def test_what_register_did_not_name_is_not_there(app: App, asked: str, sentence: str) -> None:
    added(app, f"{KEEPING}\n@hook\ndef on_image(turn):\n    {asked}\n")
    with pytest.raises(UserError) as said:
        made(app, REQUEST)
    assert str(said.value) == sentence


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("api.keep([1]), api.keep([2])", "It keeps a list already: one of each class is kept."),
        ("threading.Timer(0, api.keep, [1])", ""),
    ],
)
def test_one_of_each_class_is_kept(app: App, code: str, sentence: str) -> None:
    extension = added(app, f"import threading\n\n@hook\ndef register(api):\n    {code}\n")
    assert extension.problem == sentence


def test_nothing_more_is_kept_once_register_has_returned(app: App) -> None:
    api: Any = added(app, "").api
    with pytest.raises(UserError, match=r"api\.keep is for register only"):
        api.keep("late")


# --- Two Ateliers in one process ---


@pytest.fixture
def two(tmp_path: Path) -> Iterator[dict[str, App]]:
    with ExitStack() as open_ones:
        yield {name: open_ones.enter_context(opened(tmp_path / name)) for name in ("one", "other")}


def switched(app: App, id: str) -> Extension:
    extension = app.extensions.switch(id, True)
    assert extension.state == "on", extension.problem
    return extension


def test_two_ateliers_have_ledgers_of_their_own(two: dict[str, App]) -> None:
    for name, app in two.items():
        settings = switched(app, "ledger").settings
        assert settings is not None
        settings.change(number=name == "one")
    numbered = {name: "Ledger: 1" in made(app, REQUEST)[0].infotext for name, app in two.items()}
    assert numbered == {"one": True, "other": False}
    assert "Ledger: 2" in made(two["one"], REQUEST)[0].infotext
    for name, app in two.items():
        assert (app.options.data_dir / "extensions-data" / "ledger" / "ledger.sqlite3").is_file(), name


def test_two_ateliers_sign_with_words_of_their_own(two: dict[str, App]) -> None:
    for name, app in two.items():
        settings = switched(app, "watermark").settings
        assert settings is not None
        settings.change(text=name, strength=4)
    for name, app in two.items():
        (ready,) = made(app, replace(REQUEST, width=512, height=512))
        (action,) = app.extensions.find("watermark").brought.gallery_actions
        assert action.act(ready.path) == f"The watermark says: {name}"


def test_two_ateliers_check_by_settings_of_their_own(two: dict[str, App]) -> None:
    for name, app in two.items():
        settings = switched(app, "content_check").settings
        assert settings is not None
        settings.change(threshold=1e-6, action="Refuse" if name == "one" else "Remark")
    seen = set()
    for seed in range(100):  # which says what colour a disc has
        assert made(two["other"], replace(REQUEST, seed=seed))
        try:
            seen.add(len(made(two["one"], replace(REQUEST, seed=seed))))
        except UserError:
            seen.add(0)
        if seen == {0, 1}:
            return
    pytest.fail(f"all discs were the same to it: {seen}")


def test_two_ateliers_draw_from_palettes_and_wildcards_of_their_own(two: dict[str, App]) -> None:
    for name, app in two.items():
        folder = app.options.data_dir / "wildcards"
        folder.mkdir(parents=True)
        (folder / "thing.txt").write_text(f"the {name} thing\n")
        switched(app, "wildcards")
        own = switched(app, "palette").data_dir / "palettes.json"
        own.write_text(json.dumps({name.title(): [[name, "#fafafa"]]}))
    for name, app in two.items():
        (made_of,) = app.several(replace(REQUEST, prompt="__thing__", extras={"palette": {"name": name}}))
        assert made_of.prompt == f"the {name} thing, colour palette of {name}"
        other = "other" if name == "one" else "one"
        with pytest.raises(UserError, match=f"no palette called '{other}'"):
            app.several(replace(REQUEST, extras={"palette": {"name": other}}))


def test_two_ateliers_are_led_by_guides_of_their_own(two: dict[str, App], tmp_path: Path) -> None:
    sizes = {"one": (128, 32), "other": (32, 128)}
    for name, app in two.items():
        file = tmp_path / f"{name}.png"
        Image.new("RGB", sizes[name]).save(file)
        (action,) = switched(app, "simple_control").brought.gallery_actions
        with asked_as(Person(owner=OWNER, name="", administrator=True)):
            action.act(file)
    for name, app in two.items():
        (ready,) = made(app, replace(REQUEST, width=256, height=256), simple_control={"enabled": True, "shape": True})
        assert ready.width / ready.height == sizes[name][0] / sizes[name][1]


OLD_SCRIPT = """
import modules.scripts as scripts

class Script(scripts.Script):
    def title(self):
        return "{name}"
"""


def test_two_ateliers_have_old_scripts_of_their_own(two: dict[str, App]) -> None:
    for name, app in two.items():
        folder = app.options.data_dir / "extensions-data" / "old_scripts" / "scripts"
        folder.mkdir(parents=True)
        (folder / "script.py").write_text(OLD_SCRIPT.format(name=name))
        switched(app, "old_scripts")
    for name, app in two.items():
        other = "other" if name == "one" else "one"
        with pytest.raises(UserError, match=f"The script '{other}' is not there any more"):
            made(app, REQUEST, old_scripts={"script": other})
        with pytest.raises(UserError, match="NotImplementedError"):  # of its own run
            made(app, REQUEST, old_scripts={"script": name})


# --- The sources ---


def held(folder: Path) -> list[str]:
    """What the modules of an extension hold: things of its own classes, and containers that are empty at first."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in folder.rglob("*.py")}
    classes = {node.name for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef)}

    def is_holder(value: ast.expr | None) -> bool:
        match value:
            case ast.Call(func=ast.Name(id=name)):
                return name in classes or (name in ("dict", "list", "set") and not value.args)
            case ast.Dict(keys=[]) | ast.List(elts=[]):
                return True
        return False

    return [
        f"{path.relative_to(folder)}: {ast.unparse(node)}"
        for path, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and is_holder(node.value)
    ]


@pytest.mark.parametrize("folder", sorted(path.parent for path in (ROOT / "extensions").glob("*/extension.toml")))
def test_modules_of_bundled_extensions_hold_nothing(folder: Path) -> None:
    assert held(folder) == []


@pytest.mark.parametrize("code", ["BOX = Box()", "_there: dict[str, int] = {}", "seen = []", "known = set()"])
def test_a_module_that_holds_something_is_noticed(code: str, tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text(f"class Box: ...\n\nSIZES = [1, 2]\nNAMES = {{'a': 1}}\n{code}\n")
    assert len(held(tmp_path)) == 1
