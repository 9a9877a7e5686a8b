"""What extensions brought is known by its name while they are off, also after a restart of the program."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.app import App, Options
from backend.errors import InvalidRequest, UserError
from backend.extensions.extensions import Extensions
from backend.extensions.names import FILE, Known, Names
from backend.init_image import HiresFix
from backend.paths import ROOT
from backend.request import GenerationRequest
from backend.sampling_options import Guidance
from tests.extension_folders import write_extension
from tests.scripted import ScriptedWorker
from tests.sd_studio import SD, cookies, server

BRINGS = """
    def steps(denoise, x, sigmas, *, noise, on_step):
        return x

    def levels(steps, lowest, highest):
        return [highest - k * (highest - lowest) / steps for k in range(steps)]

    class Nothing(Params):
        pass

    @hook
    def register(api):
        api.sampler("Own Euler", steps, aliases=("own_euler",))
        api.schedule("Own Levels", levels)
        api.guidance("Own Guidance", lambda cond, uncond, scale, x, sigma: cond)
        api.upscaler("Own Upscaler", lambda picture, width, height: picture)
        api.script(Script(title="Own Script", kind=Nothing, plan=lambda request, params, turn: Several(requests=())))
"""
REQUEST = GenerationRequest(prompt="a boat", checkpoint="tiny", width=64, height=64, steps=2, seed=1)
# As a program that is started anew: nothing that the one before had in memory is there.
SECOND = """
import json, sys
from pathlib import Path
from backend.app import App, Options
from backend.errors import UserError
from backend.request import GenerationRequest
from tests.scripted import ScriptedWorker

data, checkpoints, wanted = sys.argv[1:]
options = Options(data_dir=Path(data), checkpoint_dirs=(Path(checkpoints),), device="cpu")
app = App(options, worker=ScriptedWorker)
said = {}

def ask(name, act):
    try:
        act()
        said[name] = "taken"
    except UserError as error:
        said[name] = str(error)

for name, values in json.loads(wanted).items():
    ask(name, lambda: app.prepare(GenerationRequest.from_values(values)))
ask("script", lambda: app.scripts.find("own script", "txt2img"))
app.close()
print(json.dumps(said))
"""
WANTED = {
    "sampler": replace(REQUEST, sampler="own euler"),
    "alias": replace(REQUEST, sampler="own_euler"),
    "schedule": replace(REQUEST, schedule="Own Levels"),
    "guidance": replace(REQUEST, guidance=Guidance(method="Own Guidance")),
    "upscaler": replace(REQUEST, hires=HiresFix(upscaler="Own Upscaler")),
}


def said_anew(options: Options) -> dict[str, str]:
    """What a program that is started now on this data folder says to requests that name what was brought."""
    folders = str(options.data_dir), str(options.checkpoint_dirs[0])
    wanted = json.dumps({name: asdict(request) for name, request in WANTED.items()}, default=str)
    command = [sys.executable, "-c", SECOND, *folders, wanted]
    ended = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(ended.stdout.splitlines()[-1])


def first(options: Options, act: Callable[[App], Any]) -> None:
    """An App on the data folder, in which something is done."""
    app = App(options, worker=ScriptedWorker)
    try:
        act(app)
    finally:
        app.close()


def test_the_names_hold_after_a_restart(options: Options) -> None:
    write_extension(options.data_dir, "brings", BRINGS, name="Bringer")

    def on_and_off(app: App) -> None:
        assert app.extensions.switch("brings", True).state == "on"
        for request in WANTED.values():
            app.prepare(request)
        app.extensions.switch("brings", False)

    first(options, on_and_off)
    said = said_anew(options)
    assert said.keys() == {*WANTED, "script"}
    off = "comes with the extension Bringer, which is off: switch it on in Extensions, or choose another."
    assert {sentence.partition("' ")[2] for sentence in said.values()} == {off}
    assert said["sampler"].startswith("The sampler 'own euler' ")
    assert said["script"].startswith("The script 'own script' ")


def test_one_that_is_broken_or_gone_is_named_too(options: Options) -> None:
    folder = write_extension(options.data_dir, "brings", BRINGS, name="Bringer")

    def on(app: App) -> None:
        assert app.extensions.switch("brings", True).state == "on"

    first(options, on)
    assert set(said_anew(options).values()) == {"taken"}
    (folder / "__init__.py").write_text("import no_such_module_at_all\n")
    broken = said_anew(options)
    assert all("the extension Bringer, which cannot be loaded: see why in Ext" in each for each in broken.values())
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    gone = said_anew(options)
    assert all("the extension Bringer, which is not here any more" in each for each in gone.values())


def test_programs_that_name_a_script_are_told_whose_it_is(options: Options) -> None:
    write_extension(options.data_dir, "brings", BRINGS, name="Bringer")

    def ask(app: App) -> None:
        app.extensions.switch("brings", True)
        app.extensions.switch("brings", False)
        with pytest.raises(InvalidRequest, match="'Own Script' comes with the extension Bringer, which is off"):
            app.scripts.refuse_gone("Own Script")
        app.scripts.refuse_gone("")
        app.scripts.refuse_gone("X/Y/Z plot")
        client = TestClient(server(app), cookies=cookies())
        for field, name in {
            "script_name": "own script",
            "sampler_name": "own_euler",
            "scheduler": "Own Levels",
        }.items():
            answer = client.post(f"{SD}/txt2img", json={"prompt": "a boat", field: name})
            assert answer.status_code in (400, 404, 422), answer.text
            assert "comes with the extension Bringer, which is off" in answer.text

    first(options, ask)


def test_the_file_has_what_is_brought_now_and_a_damaged_one_stops_nobody(tmp_path: Path) -> None:
    there = Extensions(tmp_path, bundled=tmp_path / "none")
    there.load()
    assert not (tmp_path / FILE).exists()
    write_extension(tmp_path, "brings", BRINGS)
    write_extension(tmp_path, "plain")
    there.rescan()
    there.switch("brings", True)
    there.switch("plain", True)
    written = json.loads((tmp_path / FILE).read_text())
    assert list(written) == ["brings"]
    assert written["brings"]["names"]["samplers"] == ["Own Euler", "own_euler"]
    assert written["brings"]["names"]["scripts"] == ["Own Script"]
    write_extension(tmp_path, "brings", "x = 1\n")  # a newer one that brings nothing
    there.reload("brings")
    assert json.loads((tmp_path / FILE).read_text()) == {}
    there.close()
    for text in (
        "no json",
        "[]",
        '{"a": 3, "b": {"title": 3}, "c": {"title": "C", "names": {"samplers": "x", "y": []}}}',
    ):
        (tmp_path / FILE).write_text(text)
        names = Names(tmp_path / FILE)
        names.renew(())
        names.close()
    assert Known(title="C", names={}) in Names(tmp_path / FILE)._known.values()


def test_what_is_remembered_is_forgotten_with_the_app(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"old": {"title": "Old", "names": {"samplers": ["Ancient"], "scripts": ["Rune"]}}}')
    there = Extensions(tmp_path, bundled=tmp_path / "none")
    there.load()
    from backend.sampling.samplers import find_sampler

    with pytest.raises(UserError, match="'ancient ' comes with the extension Old, which is not here any more"):
        find_sampler("ancient ")
    there.close()
    with pytest.raises(UserError, match="There is no sampler called 'Ancient'"):
        find_sampler("Ancient")
