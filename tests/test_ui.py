"""How the page is built: what stands on it, what its events may do, and that it asks nothing of anybody else."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import App, Options
from backend.server.owner import OWNER_COOKIE
from backend.settings import Settings
from tests.scripted import ScriptedWorker
from ui.app import build, mount
from ui.settings import ELSEWHERE
from ui.static_files import FOLDER

ME = "a" * 32
KNOWN_IDS = (
    *("tabs", "tab_txt2img", "tab_settings", "setting_sd_model_checkpoint", "settings_submit"),
    *("txt2img_prompt", "txt2img_neg_prompt", "txt2img_sampling", "txt2img_scheduler", "txt2img_steps"),
    *("txt2img_cfg_scale", "txt2img_width", "txt2img_height", "txt2img_res_switch_btn", "txt2img_seed"),
    *(
        "txt2img_random_seed",
        "txt2img_reuse_seed",
        "txt2img_batch_count",
        "txt2img_batch_size",
        "txt2img_vae",
        "txt2img_clip_skip",
    ),
    *("txt2img_generate", "txt2img_interrupt", "txt2img_skip", "txt2img_results"),
)


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    """Not started: what is queued stays queued."""
    app = App(options, worker=ScriptedWorker)
    yield app
    app.close()


@pytest.fixture
def page(app: App) -> gr.Blocks:
    return build(app)


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(mount(FastAPI(), app), cookies={OWNER_COOKIE: ME})


def config(page: gr.Blocks) -> dict[str, Any]:
    return json.loads(json.dumps(page.get_config_file(), default=str))


def by_id(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {c["props"]["elem_id"]: c for c in config["components"] if c["props"].get("elem_id")}


def event(client: TestClient, elem_id: str, kind: str = "click") -> dict[str, Any]:
    """The event that Python handles, of the component with this id."""
    config = client.get("/config").json()
    target = by_id(config)[elem_id]["id"]
    found = [e for e in config["dependencies"] if [target, kind] in e["targets"] and e["backend_fn"]]
    assert len(found) == 1
    return found[0]


def send(client: TestClient, event: dict[str, Any], data: list[Any], event_data: Any = None) -> list[Any]:
    """Let the browser's part be done: post the event and give the answer's values."""
    body = {"data": data, "event_data": event_data, "fn_index": event["id"], "session_hash": "x" * 10}
    answer = client.post("/gradio_api/run/predict", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def form_values(client: TestClient, **changes: Any) -> list[Any]:
    """What a newly opened page sends on Generate, with some fields changed by their ids' endings."""
    config = client.get("/config").json()
    inputs = event(client, "txt2img_generate")["inputs"]
    components = {component["id"]: component["props"] for component in config["components"]}
    values = {components[i]["elem_id"].removeprefix("txt2img_"): components[i].get("value") for i in inputs}
    assert set(changes) <= set(values)
    return list({**values, **changes}.values())


def test_scripts_find_what_they_know(page: gr.Blocks) -> None:
    assert set(KNOWN_IDS) <= set(by_id(config(page)))
    assert 'id="txt2img_gallery"' in (FOLDER / "live_view.html").read_text()


def test_no_id_stands_twice(page: gr.Blocks) -> None:
    ids = [c["props"]["elem_id"] for c in config(page)["components"] if c["props"].get("elem_id")]
    assert len(ids) == len(set(ids))


def test_events_are_short_and_private(page: gr.Blocks) -> None:
    """No queue, no state and no `unload`: the last two hold a connection for every open window."""
    structure = config(page)
    assert structure["dependencies"]
    for event in structure["dependencies"]:
        assert event["api_visibility"] == "private"
        assert not event["backend_fn"] or event["queue"] is False
        assert all(kind != "unload" for _, kind in event["targets"])
        assert event["connection"] != "stream"
    assert not [c for c in structure["components"] if c["type"] == "state"]
    assert structure.get("connect_heartbeat") is not True


def test_every_setting_is_on_the_settings_tab(page: gr.Blocks) -> None:
    ids = set(by_id(config(page)))
    assert {f"setting_{name}" for name in Settings.model_fields if name not in ELSEWHERE} <= ids


def test_the_page_is_served_with_its_files(client: TestClient) -> None:
    assert client.get("/").status_code == 200
    for path in FOLDER.iterdir():
        answer = client.get(f"/atelier/static/{path.name}")
        assert answer.content == path.read_bytes()
        assert answer.headers["cache-control"] == "no-cache"
    assert client.get("/atelier/static/../app.py").status_code == 404


def test_nothing_can_be_uploaded(client: TestClient) -> None:
    answer = client.post("/gradio_api/upload", files={"files": ("a.txt", b"a")})
    assert answer.status_code == 413


def test_every_module_that_a_script_imports_is_there() -> None:
    for script in FOLDER.glob("*.js"):
        for name in re.findall(r'^(?:import|export) .*?"\./([\w.]+)";', script.read_text(), re.MULTILINE):
            assert (FOLDER / name).is_file(), f"{script.name} imports {name}"


def test_nothing_of_ours_names_another_host() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.findall(r"https?://|[\"'(]//", text), path.name


def test_no_template_takes_a_value() -> None:
    """Gradio runs what a template makes of a value."""
    for path in FOLDER.glob("*.html"):
        assert not re.findall(r"\$\{|\{\{", path.read_text()), path.name


def test_the_page_needs_no_torch() -> None:
    code = (
        "import sys, ui.app, backend.server.live, backend.server.pictures\n"
        "print({'torch', 'diffusers'} & set(sys.modules))"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_no_subclass_leaves_a_stub_behind() -> None:
    assert not list(FOLDER.parent.glob("*.pyi"))


def test_generate_queues_one_job_of_ones_own(app: App, client: TestClient) -> None:
    generate = event(client, "txt2img_generate")
    assert send(client, generate, form_values(client, prompt="a red circle", steps=3, seed="11")) == [""]
    assert send(client, generate, form_values(client, prompt="a blue square")) == [""]
    assert [(job.request.prompt, job.request.steps) for job in app.queue.jobs(ME)] == [
        ("a red circle", 3),
        ("a blue square", 20),
    ]
    assert app.queue.jobs(ME)[0].request.seed == 11


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 500}, "Sampling steps must be from 1 to 150, not 500."),
        ({"steps": None}, "Sampling steps is empty; it needs a value."),
        ({"width": 130}, "Width 130 is not a multiple of 8; 128 or 136 would do."),
        ({"sampling": "Eular"}, "There is no sampler called 'Eular'"),
        ({"scheduler": "Linear"}, "There is no schedule called 'Linear'"),
        ({"setting_sd_model_checkpoint": "lost"}, "There is no checkpoint called 'lost'"),
        ({"seed": "abc"}, "Seed must be a whole number"),
        ({"prompt": {"a": 1}}, "Prompt must be text"),
    ],
)
def test_what_cannot_be_made_is_a_sentence_and_queues_nothing(
    app: App, client: TestClient, changes: dict[str, Any], words: str
) -> None:
    (message,) = send(client, event(client, "txt2img_generate"), form_values(client, **changes))
    assert message.startswith(words)
    assert app.queue.jobs(ME) == []


def test_a_browser_without_a_name_queues_nothing(app: App, client: TestClient) -> None:
    generate, values = event(client, "txt2img_generate"), form_values(client)
    client.cookies.clear()
    (message,) = send(client, generate, values)
    assert "cookie" in message
    assert app.queue.jobs(ME) == []


def test_reuse_fills_the_form_from_the_picture(app: App, client: TestClient) -> None:
    app.start()
    send(client, event(client, "txt2img_generate"), form_values(client, prompt="a boat", steps=2, width=64, height=72))
    job = app.queue.jobs(ME)[0]
    for _ in job.follow():
        pass
    reuse = event(client, "txt2img_results", "reuse")
    *answer, message = send(client, reuse, [], {"job": job.id, "index": 0})
    assert message == ""
    config = client.get("/config").json()
    ids = {component["id"]: component["props"].get("elem_id") for component in config["components"]}
    filled = dict(zip([ids[output] for output in reuse["outputs"]], answer, strict=False))
    assert filled["txt2img_prompt"] == "a boat"
    assert (filled["txt2img_steps"], filled["txt2img_width"], filled["txt2img_height"]) == (2, 64, 72)
    assert filled["txt2img_seed"] == str(job.request.seed)
    seed = event(client, "txt2img_results", "reuse_seed")
    assert send(client, seed, [], {"job": job.id, "index": 0}) == [str(job.request.seed), ""]


@pytest.mark.parametrize(
    "picked", [None, [], {}, {"job": 5}, {"job": "0" * 32, "index": 0}, {"job": None, "index": {}}]
)
def test_reuse_of_what_is_not_there_is_a_sentence(client: TestClient, picked: Any) -> None:
    *_, message = send(client, event(client, "txt2img_results", "reuse"), [], picked)
    assert message == "There is no such job in your list."


def settings_window(client: TestClient) -> dict[str, Any]:
    """What the Settings tab of a newly opened page sends, by the endings of its ids, in the order of its inputs."""
    config = client.get("/config").json()
    components = {component["id"]: component["props"] for component in config["components"]}
    inputs = event(client, "settings_submit")["inputs"]
    return {components[i]["elem_id"].removeprefix("setting_"): components[i]["value"] for i in inputs}


def test_two_windows_do_not_undo_each_other_s_settings(app: App, client: TestClient) -> None:
    save, look = event(client, "settings_submit"), event(client, "tab_settings", "select")
    first = settings_window(client)
    second = {**first, "preview_every": 7}  # edited here, not saved yet
    send(client, save, list({**first, "default_steps": 33}.values()))

    told = send(client, look, list(second.values()))
    names = [name for name in second if name != "settings_shown"]
    shown, *values = told
    seen = dict(zip(names, values, strict=True))
    assert seen["default_steps"] == 33
    assert seen["preview_every"] == {"__type__": "update"}

    send(client, save, list({**second, "default_steps": 33, "settings_shown": shown}.values()))
    assert (app.settings.value.default_steps, app.settings.value.preview_every) == (33, 7)

    # and without looking: only what was changed in a window is saved by it
    send(client, save, list({**second, "default_cfg_scale": 3.0}.values()))
    assert (app.settings.value.default_steps, app.settings.value.default_cfg_scale) == (33, 3.0)


def test_settings_are_saved_and_new_pages_begin_with_them(app: App, client: TestClient) -> None:
    save = event(client, "settings_submit")
    values = settings_window(client)
    changed = {**values, "default_steps": 33, "image_format": "webp"}
    message, done, *_ = send(client, save, list(changed.values()))
    assert (message, done.split(".")[0]) == ("", "Saved")
    assert (app.settings.value.default_steps, app.settings.value.image_format) == (33, "webp")
    fresh = by_id(client.get("/config").json())
    assert fresh["txt2img_steps"]["props"]["value"] == 33
    assert fresh["setting_default_steps"]["props"]["value"] == 33


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"default_steps": 0}, "Sampling steps is 0"),
        ({"default_width": 100}, "Width is 100"),
        ({"image_quality": None}, "JPEG and WebP quality is empty; it needs a value."),
        ({"output_folder": "here"}, "Output folder is 'here'"),
        ({"image_format": "bmp"}, "File format is 'bmp'"),
    ],
)
def test_a_bad_setting_is_a_sentence_and_saves_nothing(
    app: App, client: TestClient, change: dict[str, Any], words: str
) -> None:
    save = event(client, "settings_submit")
    message, done, *_ = send(client, save, list({**settings_window(client), **change}.values()))
    assert message.startswith(words)
    assert done == ""
    assert app.settings.value == Settings()


def test_the_chosen_checkpoint_is_remembered_and_brings_what_suits_it(
    app: App, client: TestClient, options: Options
) -> None:
    native = app.catalog.find("tiny").native_size
    plain = [20, 7, "DPM++ 2M", "Automatic"]
    unchanged = {"__type__": "update"}
    app.settings.update({"checkpoint": "tiny"})
    added = [
        add_checkpoint(options, "small", {"modelspec.resolution": "192x128"}),
        add_checkpoint(options, "quick", {"modelspec.resolution": "192x128", "modelspec.title": "Quick Turbo"}),
        add_checkpoint(options, "named-turbo", {"modelspec.resolution": "192x128"}),
    ]
    try:
        choose = event(client, "setting_sd_model_checkpoint", "input")
        assert send(client, choose, ["small", *native, *plain]) == ["", 192, 128, *[unchanged] * 4]
        assert app.settings.value.checkpoint == "small"
        fresh = by_id(client.get("/config").json())
        assert fresh["setting_sd_model_checkpoint"]["props"]["value"] == "small"
        assert fresh["txt2img_width"]["props"]["value"] == 192
        # a distilled one brings its steps, guidance, sampler and schedule, and takes them away again
        turbo = [4, 1, "Euler a", "SGM Uniform"]
        assert send(client, choose, ["quick", 192, 128, *plain]) == ["", *[unchanged] * 2, *turbo]
        assert by_id(client.get("/config").json())["txt2img_steps"]["props"]["value"] == 4
        # a name alone says nothing: nobody has confirmed it
        assert send(client, choose, ["named-turbo", 192, 128, *turbo]) == ["", *[unchanged] * 2, *plain]
        # what the artist has set stays
        assert send(client, choose, ["tiny", 640, 384, *plain]) == ["", *[unchanged] * 6]
        assert send(client, choose, ["quick", *native, 31, *plain[1:]]) == ["", 192, 128, *[unchanged] * 4]
        sentence, *_ = send(client, choose, ["nowhere", *native, *plain])
        assert sentence.startswith("There is no checkpoint called 'nowhere'")
        assert app.settings.value.checkpoint == "quick"
    finally:
        for path in added:
            path.unlink()


def add_checkpoint(options: Options, name: str, metadata: dict[str, str]) -> Path:
    """A copy of the tiny checkpoint with metadata."""
    folder = options.checkpoint_dirs[0]
    data = (folder / "tiny.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = folder / f"{name}.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    return path


def test_files_that_cannot_be_run_are_named_with_the_reason(client: TestClient, options: Options) -> None:
    broken = options.checkpoint_dirs[0] / "broken.safetensors"
    broken.write_bytes(b"")
    _, unusable = send(client, event(client, "refresh_sd_model_checkpoint"), [])
    assert [row["name"] for row in unusable] == ["broken"]
    assert "broken.safetensors" in unusable[0]["problem"]
