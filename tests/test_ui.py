"""How the page is built: what stands on it, what its events may do, and that it asks nothing of anybody else."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from backend.app import App, Options
from backend.errors import InvalidRequest
from backend.grids.request import GridRequest
from backend.infotext.recipe import read_text
from backend.init_image import HiresFix
from backend.jobs import Job
from backend.recipe_offer import to_values
from backend.request import GenerationRequest
from backend.server.owner import OWNER_COOKIE
from backend.settings import Settings
from backend.styles import Style
from tests.checkpoints import tiny, write_single_file
from tests.scripted import ScriptedWorker
from ui.app import build, mount
from ui.picture_folders import picture_folders, pictures_in, taken_from
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
    *("txt2img_hr", "txt2img_hr-checkbox", "txt2img_hr_upscaler", "txt2img_hires_steps", "txt2img_denoising_strength"),
    *("tab_img2img", "img2img_prompt", "img2img_neg_prompt", "img2img_generate", "img2img_interrupt", "img2img_skip"),
    *("img2img_denoising_strength", "img2img_resize_mode", "img2img_scale", "img2img_image_cfg_scale", "img2img_seed"),
    *("tab_inpaint", "inpaint_prompt", "inpaint_generate", "inpaint_mask_blur", "inpaint_inpainting_fill"),
    *("txt2img_styles", "txt2img_styles_edit_button", "txt2img_paste", "txt2img_subseed_show", "txt2img_subseed"),
    *("txt2img_subseed_strength", "txt2img_seed_resize_from_w", "txt2img_random_subseed", "txt2img_reuse_subseed"),
    *("txt2img_enable", "txt2img_enable-checkbox", "txt2img_checkpoint", "txt2img_switch_at", "tab_pnginfo"),
    *("tab_extras", "extras_generate", "extras_upscaler_1", "extras_upscaler_2", "extras_upscaler_2_visibility"),
    *("extras_upscaling_resize", "extras_upscaling_resize_w", "extras_upscaling_resize_h", "extras_upscaling_crop"),
)
TABS = ("txt2img", "img2img", "inpaint", "extras")


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


def form_values(client: TestClient, tab: str = "txt2img", **changes: Any) -> list[Any]:
    """What a newly opened page sends on Generate, with some fields changed by their ids' endings."""
    config = client.get("/config").json()
    inputs = event(client, f"{tab}_generate")["inputs"]
    components = {component["id"]: component["props"] for component in config["components"]}
    values = {components[i]["elem_id"].removeprefix(f"{tab}_"): components[i].get("value") for i in inputs}
    assert set(changes) <= set(values)
    return list({**values, **changes}.values())


def wish(client: TestClient, wanted: str, /, **details: Any) -> dict[str, Any]:
    """Wish for something as the page's scripts do: what is set then, by ids; what nothing happens to is left out, and
    so are empty sentences."""
    return wish_with(client, wanted, details, {})


def wish_with(client: TestClient, wanted: str, details: dict[str, Any], standing: dict[str, Any]) -> dict[str, Any]:
    """The same where `standing` values, by ids, stand in the forms."""
    sent = event(client, "wishes", wanted)
    components = {component["id"]: component["props"] for component in client.get("/config").json()["components"]}
    ids = {number: props.get("elem_id") for number, props in components.items()}
    assert set(standing) <= {ids[number] for number in sent["inputs"]}
    values = [standing.get(str(ids[number]), components[number].get("value")) for number in sent["inputs"]]
    answer = zip(sent["outputs"], send(client, sent, values, details), strict=True)
    return {ids[output]: value for output, value in answer if value not in ("", {"__type__": "update"})}


def asked(app: App) -> list[Any]:
    """The requests of all jobs."""
    return [job.request for job in app.queue.jobs(ME)]


def put(app: App, size: tuple[int, int] = (96, 64), colour: str = "teal") -> str:
    """A picture in the store; its name."""
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return app.inputs.put(data.getvalue()).name


def painting(picture: str, size: tuple[int, int] = (96, 64), **more: Any) -> str:
    """What the canvas hands over."""
    return json.dumps({"picture": picture, "mask": "", "sketch": "", "box": None, "pictureSize": size, **more})


def made(app: App, client: TestClient, **changes: Any) -> Job:
    """A job of txt2img that is done."""
    app.start()
    wanted = {"prompt": "a boat", "steps": 2, "width": 64, "height": 72, **changes}
    assert send(client, event(client, "txt2img_generate"), form_values(client, **wanted)) == [""]
    job = app.queue.jobs(ME)[-1]
    for _ in job.follow():
        pass
    return job


def test_scripts_find_what_they_know(page: gr.Blocks) -> None:
    assert set(KNOWN_IDS) <= set(by_id(config(page)))
    assert "_gallery`" in (FOLDER / "live_view.js").read_text()


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


def files() -> list[Path]:
    """Everything of ours that a browser may ask for."""
    return [path for path in FOLDER.rglob("*") if path.is_file()]


def test_the_page_is_served_with_its_files(client: TestClient) -> None:
    assert client.get("/").status_code == 200
    for path in files():
        answer = client.get(f"/atelier/static/{path.relative_to(FOLDER).as_posix()}")
        assert answer.content == path.read_bytes()
        assert answer.headers["cache-control"] == "no-cache"
    assert client.get("/atelier/static/../app.py").status_code == 404


def test_nothing_can_be_uploaded(client: TestClient) -> None:
    answer = client.post("/gradio_api/upload", files={"files": ("a.txt", b"a")})
    assert answer.status_code == 413


def test_every_module_that_a_script_imports_is_there() -> None:
    for script in FOLDER.rglob("*.js"):
        for name in re.findall(r'^(?:import|export) .*?"(\.[\w./]+)";', script.read_text(), re.MULTILINE):
            assert (script.parent / name).is_file(), f"{script.name} imports {name}"


def test_nothing_of_ours_names_another_host() -> None:
    for path in files():
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
    job = made(app, client)
    filled = wish(client, "reuse", job=job.id, index=0)
    assert filled["txt2img_prompt"] == "a boat"
    assert (filled["txt2img_steps"], filled["txt2img_width"], filled["txt2img_height"]) == (2, 64, 72)
    assert filled["txt2img_seed"] == str(job.request.seed)
    assert filled["txt2img_hr-checkbox"] is False
    assert filled["wishes"]["tab"] == "txt2img"
    assert not [name for name in filled if name.startswith(("img2img_", "inpaint_", "extras_"))]
    for tab in ("txt2img", "inpaint"):
        told = wish(client, "reuse_seed", job=job.id, index=0, tab=tab)
        assert told.pop("wishes")
        assert told == {f"{tab}_seed": str(job.request.seed)}


@pytest.mark.parametrize(
    "picked", [None, [], {}, {"job": 5}, {"job": "0" * 32, "index": 0}, {"job": None, "index": {}}]
)
def test_reuse_of_what_is_not_there_is_a_sentence(client: TestClient, picked: Any) -> None:
    sent = event(client, "wishes", "reuse")
    *answer, told = send(client, sent, [None] * len(sent["inputs"]), picked)
    assert told["problem"] == "There is no such job in your list."
    assert all(value in ("", {"__type__": "update"}) for value in answer)


def test_img2img_sends_what_lies_on_the_canvas(app: App, client: TestClient) -> None:
    picture, sketch = put(app), put(app, colour="red")
    sent = form_values(
        client,
        "img2img",
        prompt="a boat",
        denoising_strength=0.4,
        painting=painting(picture, sketch=sketch),
        sizing="By a factor",
        scale=2,
    )
    assert send(client, event(client, "img2img_generate"), sent) == [""]
    request = asked(app)[0]
    assert (request.prompt, request.width, request.height) == ("a boat", 192, 128)
    assert (request.init.picture, request.init.sketch) == (picture, sketch)
    assert request.init.denoising_strength == 0.4
    assert request.init.inpainting is None


def test_inpaint_sends_mask_and_box(app: App, client: TestClient) -> None:
    picture, mask = put(app), put(app, colour="white")
    box = {"left": -32, "top": 0, "width": 128, "height": 64}
    values = {"painting": painting(picture, mask=mask, box=box), "mask_blur": 7, "inpaint_full_res": "Only masked"}
    generate = event(client, "inpaint_generate")
    assert send(client, generate, form_values(client, "inpaint", **values)) == [""]
    init = asked(app)[0].init
    assert (init.inpainting.mask, init.inpainting.mask_blur, init.inpainting.area) == (mask, 7, "Only masked")
    assert init.inpainting.soft is None
    assert (init.box.left, init.box.width) == (-32, 128)
    assert send(client, generate, form_values(client, "inpaint", **values, soft=True, soft_schedule_bias=3)) == [""]
    assert asked(app)[1].init.inpainting.soft.schedule_bias == 3
    (message,) = send(client, generate, form_values(client, "inpaint", painting=painting(picture)))
    assert message.startswith("Mask is missing")
    (message,) = send(client, generate, form_values(client, "inpaint", painting=painting("f" * 64, mask=mask)))
    assert "put it in again" in message
    assert len(app.queue.jobs(ME)) == 2


@pytest.mark.parametrize(
    ("tab", "name", "text", "words"),
    [
        ("img2img", "painting", None, "The canvas is not ready yet"),
        ("img2img", "painting", '{"picture": ""}', "There is no picture on the canvas"),
        ("inpaint", "painting", '{"problem": "The disk is full."}', "The disk is full."),
        ("extras", "inputs", None, "There are no pictures yet"),
        ("extras", "inputs", '{"problem": "boat.txt: no picture"}', "boat.txt: no picture"),
        ("extras", "inputs", '[{"name": "x", "width": 1, "height": 1}]', "There is no picture"),
    ],
)
def test_a_tab_without_a_picture_says_so(
    app: App, client: TestClient, tab: str, name: str, text: Any, words: str
) -> None:
    (message,) = send(client, event(client, f"{tab}_generate"), form_values(client, tab, **{name: text}))
    assert message.startswith(words)
    assert app.queue.jobs(ME) == []


def test_each_picture_of_a_folder_becomes_a_job(app: App, client: TestClient) -> None:
    names = [put(app, (96, 64)), put(app, (64, 128), "red")]
    folder = [{"name": names[0], "width": 96, "height": 64}, {"name": names[1], "width": 64, "height": 128}]
    values = form_values(client, "img2img", folder=json.dumps(folder), sizing="By a factor")
    assert send(client, event(client, "img2img_batch_generate"), values) == [""]
    assert [(each.init.picture, each.width, each.height) for each in asked(app)] == [
        (names[0], 96, 64),
        (names[1], 64, 128),
    ]


def chosen(name: str, title: str, size: tuple[int, int] = (96, 64)) -> dict[str, Any]:
    """What the script hands over for a picture from the disk."""
    return {"name": name, "title": title, "width": size[0], "height": size[1]}


def test_what_of_a_folder_is_not_queued_is_said_by_name(app: App, client: TestClient) -> None:
    batch = event(client, "img2img_batch_generate")
    name = put(app)
    files = [chosen(name, "a.png"), {"title": "b.txt", "problem": "No picture."}, chosen("f" * 64, "c.png")]
    (message,) = send(client, batch, form_values(client, "img2img", folder=json.dumps(files)))
    assert message.startswith("1 of 3 are queued, but not c.png, b.txt. ")
    assert message.endswith("No picture.")
    assert len(asked(app)) == 1
    # What is wrong with all of them is said once, and nothing is queued.
    values = form_values(client, "img2img", folder=json.dumps([chosen(name, f"{n}.png") for n in range(9)]), steps=500)
    assert send(client, batch, values) == ["Sampling steps must be from 1 to 150, not 500."]
    assert len(asked(app)) == 1
    app.settings.update({"queue_each": 3})
    values = form_values(client, "img2img", folder=json.dumps([chosen(name, f"{n}.png") for n in range(9)]))
    (message,) = send(client, batch, values)
    assert message.startswith("2 of 9 are queued, but not 2.png, 3.png, 4.png and 4 more. The queue is full: 3 of your")
    assert len(asked(app)) == 3


def test_a_folder_of_this_machine_is_queued_where_the_settings_declare_one(
    app: App, client: TestClient, tmp_path: Path
) -> None:
    root = tmp_path / "scans"
    (root / "june").mkdir(parents=True)
    for place, size in (("b.png", (64, 64)), ("june/a.png", (96, 64)), (".hidden.png", (8, 8))):
        Image.new("RGB", size, "teal").save(root / place)
    (root / "june" / "broken.png").write_text("no picture")
    (root / "note.txt").write_text("no picture")
    values = form_values(client, "img2img", folder="[]", picture_folder="scans/june")
    batch = event(client, "img2img_batch_generate")
    (message,) = send(client, batch, values)
    assert message.startswith("The folder 'scans/june' is not there any more")
    app.settings.update({"picture_folders": f"{root}\n/nowhere/at/all"})
    assert {name: len(pictures_in(folder)) for name, folder in picture_folders(app.settings.value).items()} == {
        "scans": 1,
        "scans/june": 2,
    }
    (message,) = send(client, batch, values)
    assert message.startswith("1 of 2 are queued, but not broken.png. ")
    (request,) = asked(app)
    assert app.inputs.path(request.init.picture).read_bytes() == (root / "june" / "a.png").read_bytes()
    with pytest.raises(InvalidRequest, match="1 pictures may be queued at once; scans/june holds 2"):
        taken_from("scans/june", app.settings.value, 1)


@pytest.mark.parametrize("kind", ["sd2", "sd2-depth"])
def test_a_depth_map_is_for_depth_checkpoints(options: Options, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    write_single_file(folder / "other.safetensors", tiny(kind))
    app = App(replace(options, checkpoint_dirs=(folder,)), worker=ScriptedWorker)
    app.settings.update({"checkpoint": "other"})
    try:
        client = TestClient(mount(FastAPI(), app), cookies={OWNER_COOKIE: ME})
        picture, depth = put(app), put(app, colour="white")
        values = form_values(client, "img2img", painting=painting(picture, depth=depth))
        assert send(client, event(client, "img2img_generate"), values) == [""]
        (request,) = asked(app)
        assert request.init.depth == (depth if kind.endswith("depth") else "")
        filled = wish(client, "reuse", job=app.queue.jobs(ME)[0].id)
        stored = {"name": depth, "width": 96, "height": 64}
        assert filled["wishes"]["canvas"]["depth"] == (stored if kind.endswith("depth") else None)
    finally:
        app.close()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ([512, 512, 2, 0, 0], "From 512 × 512 to 1024 × 1024"),
        ([512, 768, 1.3, 0, 0], "From 512 × 768 to 664 × 992"),
        ([512, 768, 2, 1024, 0], "From 512 × 768 to 1024 × 1536"),
        ([512, None, 2, 0, 0], ""),
        ([512, 512, 99, 0, 0], ""),
    ],
)
def test_hires_fix_says_from_which_size_to_which(client: TestClient, changes: list[Any], line: str) -> None:
    config = client.get("/config").json()
    target = by_id(config)["txt2img_hr_sizes"]["id"]
    (told,) = [each for each in config["dependencies"] if each["outputs"] == [target]]
    assert send(client, told, changes) == [line]


def test_hires_fix_is_asked_for_while_it_is_on(app: App, client: TestClient) -> None:
    generate = event(client, "txt2img_generate")
    assert send(client, generate, form_values(client, hr_scale=1.5)) == [""]
    assert send(client, generate, form_values(client, **{"hr-checkbox": True, "hr_scale": 1.5})) == [""]
    assert [each.hires for each in asked(app)] == [None, HiresFix(scale=1.5)]


def test_extras_scales_by_or_to(app: App, client: TestClient) -> None:
    name = put(app)
    values = {"inputs": json.dumps([{"name": name, "width": 96, "height": 64}]), "upscaling_resize_w": 400}
    upscale = event(client, "extras_generate")
    assert send(client, upscale, form_values(client, "extras", **values, upscaling_resize=2)) == [""]
    assert send(client, upscale, form_values(client, "extras", **values, resize_mode="Scale to")) == [""]
    by, to = asked(app)
    assert (by.inputs, by.scale, by.by_size) == ((name,), 2, False)
    assert (to.by_size, to.width, to.height) == (True, 400, 0)
    (message,) = send(
        client, upscale, form_values(client, "extras", **values | {"upscaling_resize_w": 0}, resize_mode="Scale to")
    )
    assert "both 0" in message
    (message,) = send(client, upscale, form_values(client, "extras", **values, upscaling_resize=None))
    assert message == "Scale by is empty; it needs a value."


def test_reuse_brings_everything_back_to_its_tab(app: App, client: TestClient) -> None:
    picture, mask = put(app), put(app, colour="white")
    box = {"left": -32, "top": 0, "width": 128, "height": 64}
    values = {"prompt": "a star", "painting": painting(picture, mask=mask, box=box), "mask_blur": 9}
    send(client, event(client, "inpaint_generate"), form_values(client, "inpaint", **values))
    job = app.queue.jobs(ME)[0]
    filled = wish(client, "reuse", job=job.id)
    assert filled["wishes"]["tab"] == "inpaint"
    brought = {"picture": picture, "mask": mask, "sketch": "", "box": box, "depth": None}
    assert filled["wishes"]["canvas"] == brought
    assert (filled["inpaint_prompt"], filled["inpaint_mask_blur"]) == ("a star", 9)
    assert (filled["inpaint_sizing"], filled["inpaint_width"]) == ("To a size", asked(app)[0].width)
    assert not [name for name in filled if name.startswith(("txt2img_", "img2img_"))]

    files = json.dumps([{"name": picture, "width": 96, "height": 64}])
    send(client, event(client, "extras_generate"), form_values(client, "extras", inputs=files, upscaling_resize=3))
    filled = wish(client, "reuse", job=app.queue.jobs(ME)[1].id)
    assert filled["wishes"]["files"] == [{"name": picture, "width": 96, "height": 64}]
    assert (filled["extras_upscaling_resize"], filled["extras_resize_mode"]) == (3, "Scale by")


def test_what_was_put_in_and_is_gone_is_a_sentence(app: App, client: TestClient) -> None:
    picture = put(app)
    files = json.dumps([{"name": picture, "width": 96, "height": 64}])
    send(client, event(client, "img2img_generate"), form_values(client, "img2img", painting=painting(picture)))
    send(client, event(client, "extras_generate"), form_values(client, "extras", inputs=files, upscaling_resize=3))
    app.inputs.path(picture).unlink()
    first, second = app.queue.jobs(ME)
    filled = wish(client, "reuse", job=first.id)
    assert filled["img2img_message"].startswith(
        "Everything is filled in but what lay on the canvas. There is no picture"
    )
    assert "canvas" not in filled["wishes"]
    filled = wish(client, "reuse", job=second.id)
    assert filled["extras_message"].startswith("Everything is filled in but the pictures. There is no picture")
    assert (filled["extras_upscaling_resize"], "files" in filled["wishes"]) == (3, False)


@pytest.mark.parametrize(("strength", "denoising"), [("subtle", 0.3), ("strong", 0.6)])
def test_a_variation_begins_with_the_picture_and_has_a_seed_of_its_own(
    app: App, client: TestClient, strength: str, denoising: float
) -> None:
    job = made(app, client, **{"hr-checkbox": True})
    told = wish(client, "vary", job=job.id, index=0, strength=strength)
    assert not told["wishes"].get("problem")
    varied = asked(app)[-1]
    assert app.inputs.path(varied.init.picture).read_bytes() == job.images[0].path.read_bytes()
    assert (varied.prompt, varied.init.denoising_strength, varied.hires) == ("a boat", denoising, None)
    assert (varied.width, varied.height) == (job.images[0].width, job.images[0].height)
    assert varied.seed != job.request.seed
    assert wish(client, "vary", job=job.id, index=0, strength="wild")["wishes"]["problem"].startswith("A variation is")
    assert "no such picture" in wish(client, "vary", job=job.id, index=5, strength=strength)["wishes"]["problem"]


def test_a_picture_takes_its_words_along_to_another_tab(app: App, client: TestClient) -> None:
    job = made(app, client, neg_prompt="fog")
    filled = wish(client, "take", job=job.id, index=0, tab="inpaint")
    assert (filled["inpaint_prompt"], filled["inpaint_neg_prompt"], filled["inpaint_steps"]) == ("a boat", "fog", 2)
    assert filled["inpaint_seed"] == "-1"
    # what belongs to the canvas there stays
    stays = {"inpaint_width", "inpaint_sizing", "inpaint_denoising_strength", "inpaint_mask_blur", "inpaint_soft"}
    assert not stays & set(filled)
    assert "img2img_tiled" not in wish(client, "take", job=job.id, index=0, tab="img2img")


def test_origins_tell_what_each_of_ones_own_jobs_began_with(app: App, client: TestClient) -> None:
    picture, mask = put(app), put(app, colour="white")
    box = {"left": -32, "top": 8, "width": 128, "height": 64}
    send(client, event(client, "txt2img_generate"), form_values(client))
    send(client, event(client, "img2img_generate"), form_values(client, "img2img", painting=painting(picture)))
    lay = painting(picture, mask=mask, box=box)
    send(client, event(client, "inpaint_generate"), form_values(client, "inpaint", painting=lay))
    files = json.dumps([{"name": picture, "width": 96, "height": 64}])
    send(client, event(client, "extras_generate"), form_values(client, "extras", inputs=files))
    told = client.get("/atelier/origins").json()
    assert [told[job.id] for job in app.queue.jobs(ME)] == [
        {"tab": "txt2img", "pictures": [], "place": None},
        {"tab": "img2img", "pictures": [picture], "place": None},
        {"tab": "inpaint", "pictures": [picture], "place": {"left": 32, "top": 0}},
        {"tab": "extras", "pictures": [picture], "place": None},
    ]
    client.cookies.set(OWNER_COOKIE, "b" * 32)
    assert client.get("/atelier/origins").json() == {}
    client.cookies.clear()
    assert client.get("/atelier/origins").status_code == 404


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
        ({"image_quality": None}, "JPEG, WebP and AVIF quality is empty; it needs a value."),
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


def choose(client: TestClient, name: str, standing: dict[str, Any]) -> dict[str, Any]:
    """Choose a checkpoint where these values stand on every tab, by the ends of their ids: what is set then."""
    sent = event(client, "setting_sd_model_checkpoint", "input")
    components = {component["id"]: component["props"] for component in client.get("/config").json()["components"]}
    ids = {number: str(props.get("elem_id")) for number, props in components.items()}
    everywhere = {f"{tab}_{end}": value for tab in TABS for end, value in standing.items()} | standing
    values = [everywhere.get(ids[number], components[number].get("value")) for number in sent["inputs"][1:]]
    answer = zip(sent["outputs"], send(client, sent, [name, *values]), strict=True)
    return {ids[output]: value for output, value in answer if value not in ("", {"__type__": "update"})}


def on_every_tab(**values: Any) -> dict[str, Any]:
    return {f"{tab}_{end}": value for tab in TABS[:3] for end, value in values.items()}


def test_the_chosen_checkpoint_is_remembered_and_brings_what_suits_it(
    app: App, client: TestClient, options: Options
) -> None:
    across, down = app.catalog.find("tiny").native_size
    plain = {"steps": 20, "cfg_scale": 7, "sampling": "DPM++ 2M", "scheduler": "Automatic"}
    app.settings.update({"checkpoint": "tiny"})
    added = [
        add_checkpoint(options, "small", {"modelspec.resolution": "192x128"}),
        add_checkpoint(options, "quick", {"modelspec.resolution": "192x128", "modelspec.title": "Quick Turbo"}),
        add_checkpoint(options, "named-turbo", {"modelspec.resolution": "192x128"}),
    ]
    try:
        native, small = {"width": across, "height": down}, {"width": 192, "height": 128}
        assert choose(client, "small", {**native, **plain}) == on_every_tab(**small)
        assert app.settings.value.checkpoint == "small"
        fresh = by_id(client.get("/config").json())
        assert fresh["setting_sd_model_checkpoint"]["props"]["value"] == "small"
        assert fresh["txt2img_width"]["props"]["value"] == 192
        # a distilled one brings its steps, guidance, sampler and schedule, and takes them away again
        turbo = {"steps": 4, "cfg_scale": 1, "sampling": "Euler a", "scheduler": "SGM Uniform"}
        assert choose(client, "quick", {**small, **plain}) == on_every_tab(**turbo)
        assert by_id(client.get("/config").json())["txt2img_steps"]["props"]["value"] == 4
        # a name alone says nothing: nobody has confirmed it
        assert choose(client, "named-turbo", {**small, **turbo}) == on_every_tab(**plain)
        # what the artist has set stays, on each tab by itself
        standing = {**small, **plain, "txt2img_width": 640, "inpaint_height": 384}
        assert choose(client, "tiny", standing) == {"img2img_width": across, "img2img_height": down}
        assert choose(client, "quick", {**native, **plain, "steps": 31}) == on_every_tab(**small)
        told = choose(client, "nowhere", {**native, **plain})
        assert told["checkpoint_message"].startswith("There is no checkpoint called 'nowhere'")
        assert app.settings.value.checkpoint == "quick"
    finally:
        for path in added:
            path.unlink()


def test_a_checkpoint_brings_the_values_that_a_person_gave_it(app: App, client: TestClient, options: Options) -> None:
    app.settings.update({"checkpoint": "tiny"})
    other = add_checkpoint(options, "other", {})
    standing = {"txt2img_clip_skip": 2, "txt2img_steps": 33, "txt2img_prompt": "a boat"}
    try:
        details = {"tab": "txt2img", "checkpoint": "other", "groups": ["sampling"]}
        told = wish_with(client, "save_preset", details, standing)
        assert told["wishes"]["saved"] == {"words": "These values come with other"}
        kept = app.presets.of_checkpoint("other")
        assert (kept["clip_skip"], kept["steps"], "prompt" in kept) == (2, 33, False)
        # also over what the artist has set, and all of it goes with the checkpoint
        assert choose(client, "other", {"clip_skip": 5}) == on_every_tab(clip_skip=2, steps=33)
        assert by_id(client.get("/config").json())["img2img_clip_skip"]["props"]["value"] == 2
        told = choose(client, "tiny", {"clip_skip": 2, "steps": 33})
        assert (told["txt2img_clip_skip"], told["txt2img_steps"]) == (1, 20)
        told = wish_with(client, "save_preset", {**details, "groups": []}, {})
        assert told["wishes"]["saved"]["words"].startswith("other brings what suits it")
        assert not app.presets.of_checkpoint("other")
    finally:
        other.unlink()


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


THEIRS = (
    "a lighthouse, ink drawing\nNegative prompt: fog\nSteps: 28, Sampler: DPM++ SDE Karras, CFG scale: 6.5, Seed: 31, "
    "Size: 512x384, Model: v1-5-pruned, Model hash: 6ce0161689, Denoising strength: 0.5, Hires upscale: 1.5, "
    "Hires upscaler: Latent, Variation seed: 8, Variation seed strength: 0.2, ADetailer model: face, Version: v1.6.0"
)


def recipe_of(text: str) -> dict[str, Any]:
    """A recipe as the browser has it."""
    found = read_text(text)
    assert found is not None
    return json.loads(json.dumps(to_values(found)))


def changed(told: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {row["name"]: (row["now"], row["then"]) for row in told["wishes"]["proposal"]["rows"]}


def test_a_recipe_is_shown_before_it_is_applied(client: TestClient) -> None:
    standing = {"txt2img_prompt": "before", "txt2img_steps": 28}
    told = wish_with(client, "propose", {"recipe": recipe_of(THEIRS), "tab": "txt2img"}, standing)
    assert set(told) == {"wishes"}
    rows, proposal = changed(told), told["wishes"]["proposal"]
    assert rows["prompt"] == ("before", "a lighthouse, ink drawing")
    assert rows["sampler"] == ("DPM++ 2M", "DPM++ SDE")
    assert (rows["hires"], rows["extra"], rows["variation.seed"]) == (("off", "on"), ("off", "on"), ("-1", "8"))
    assert "steps" not in rows  # as it is already
    assert [(each["kind"], each["name"], each["hash"]) for each in proposal["missing"]] == [
        ("checkpoint", "v1-5-pruned", "6ce0161689")
    ]
    assert [each["key"] for each in proposal["left"]] == ["ADetailer model"]
    assert (proposal["tab"], proposal["origin"]) == ("txt2img", "AUTOMATIC1111")


@pytest.mark.parametrize(
    ("way", "there", "not_there"),
    [
        ("all", {"txt2img_prompt", "txt2img_seed", "txt2img_subseed", "txt2img_hr_scale"}, set()),
        ("but the seed", {"txt2img_prompt", "txt2img_subseed_strength"}, {"txt2img_seed", "txt2img_subseed"}),
        ("prompt", {"txt2img_prompt", "txt2img_neg_prompt"}, {"txt2img_seed", "txt2img_cfg_scale", "txt2img_width"}),
    ],
)
def test_a_recipe_is_applied_as_wanted_and_taken_back(
    client: TestClient, way: str, there: set[str], not_there: set[str]
) -> None:
    standing = {"txt2img_prompt": "before", "txt2img_seed": "77", "txt2img_hr-checkbox": False, "txt2img_eta": None}
    told = wish_with(client, "apply", {"recipe": recipe_of(THEIRS), "tab": "txt2img", "way": way}, standing)
    assert there <= set(told)
    assert not not_there & set(told)
    assert told["txt2img_prompt"] == "a lighthouse, ink drawing"
    undo = told["wishes"]["undo"]
    assert undo["values"]["prompt"] == "before"
    back = wish_with(client, "restore", undo, {})
    assert back["txt2img_prompt"] == "before"
    if way == "all":
        assert (back["txt2img_seed"], back["txt2img_hr-checkbox"]) == ("77", False)
    assert set(back) - {"wishes"} <= set(told)


def test_a_way_that_there_is_not_and_a_recipe_that_is_none_are_sentences(client: TestClient) -> None:
    told = wish(client, "apply", recipe=recipe_of(THEIRS), tab="txt2img", way="some")
    assert told["wishes"]["problem"].startswith("There is no way to apply a recipe called 'some'")
    for broken in ({"infotext": {"pairs": 5}}, {"text": 5}, {"infotext": {"pairs": [["a"]]}}):
        told = wish(client, "propose", recipe=broken, tab="txt2img")
        assert told["wishes"]["problem"].startswith("This recipe cannot be read")
    told = wish(client, "propose", recipe=recipe_of("just words"), tab="txt2img", typed=True)
    assert told["wishes"]["problem"].startswith("There are no parameters in this prompt")


def test_what_a_tab_has_not_is_said(client: TestClient) -> None:
    told = wish(client, "propose", recipe=recipe_of(THEIRS), tab="img2img")
    assert ("Hires. fix", "It is a part of txt2img.") in [
        (each["key"], each["reason"]) for each in told["wishes"]["proposal"]["left"]
    ]
    assert changed(told)["sizing"] == ("As the picture", "To a size")
    sent = wish(client, "apply", recipe=recipe_of(THEIRS), tab="img2img", way="all", with_picture=True)
    assert not {"img2img_width", "img2img_sizing"} & set(sent)  # those of the picture that goes along


def test_a_picture_of_ours_goes_to_its_tab_with_what_lay_on_its_canvas(app: App, client: TestClient) -> None:
    picture, mask = put(app), put(app, colour="white")
    values = {"prompt": "a star", "painting": painting(picture, mask=mask), "mask_blur": 9, "s_noise": 1.05}
    send(client, event(client, "inpaint_generate"), form_values(client, "inpaint", **values))
    (request,) = asked(app)
    assert request.sampling.sigma_noise == 1.05
    recipe = {**recipe_of("a star"), "origin": "Atelier", "request": request.to_json()}
    told = wish(client, "propose", recipe=recipe, tab="txt2img")
    assert told["wishes"]["proposal"]["tab"] == "inpaint"
    assert (changed(told)["init.inpainting.mask_blur"], changed(told)["sampling.sigma_noise"]) == (
        ("4", "9"),
        ("1", "1.05"),
    )
    filled = wish(client, "apply", recipe=recipe, tab="inpaint", way="all")
    assert (filled["inpaint_prompt"], filled["inpaint_seed"]) == ("a star", str(request.seed))
    assert (filled["wishes"]["canvas"]["picture"], filled["wishes"]["canvas"]["mask"]) == (picture, mask)


def test_styles_are_in_the_request_and_found_again_in_a_recipe(app: App, client: TestClient) -> None:
    app.styles.save(Style(name="ink", prompt="{prompt}, ink drawing", negative_prompt="colour"))
    values = {"prompt": "a boat", "neg_prompt": "fog", "styles": ["ink"], "hr-checkbox": True, "hr_prompt": "a ship"}
    assert send(client, event(client, "txt2img_generate"), form_values(client, **values)) == [""]
    (request,) = asked(app)
    assert (request.prompt, request.negative_prompt) == ("a boat, ink drawing", "fog, colour")
    assert (request.hires.prompt, request.hires.negative_prompt) == ("a ship, ink drawing", "")
    (message,) = send(client, event(client, "txt2img_generate"), form_values(client, styles=["inc"]))
    assert message == "There is no style called 'inc'; did you mean ink?"
    # as styles where that gives the same words, else as words
    text = "a boat, ink drawing\nNegative prompt: fog, colour\nSteps: 5, Seed: 1, Size: 64x64"
    filled = wish(client, "apply", recipe=recipe_of(text), tab="txt2img", way="all")
    assert (filled["txt2img_prompt"], filled["txt2img_neg_prompt"]) == ("a boat", "fog")
    assert filled["txt2img_styles"]["value"] == ["ink"]
    standing = {"txt2img_styles": ["ink"]}
    filled = wish_with(
        client, "apply", {"recipe": recipe_of("a\nSteps: 5, Seed: 1, Size: 64x64"), "way": "prompt"}, standing
    )
    assert (filled["txt2img_prompt"], filled["txt2img_styles"]["value"]) == ("a", [])
    standing = {"txt2img_prompt": "a", "txt2img_neg_prompt": "", "txt2img_styles": ["ink", "other"]}
    put_in = wish_with(client, "materialise", {"tab": "txt2img", "styles": ["ink"]}, standing)
    assert (put_in["txt2img_prompt"], put_in["txt2img_neg_prompt"]) == ("a, ink drawing", "colour")
    assert put_in["txt2img_styles"]["value"] == ["other"]


XYZ = {"script_list": "X/Y/Z plot", "prompt": "a boat", "seed": "5", "steps": 3, "width": 64, "height": 64}


@pytest.mark.parametrize(
    ("script", "prompts"),
    [
        ({"script_list": "Prompt matrix", "prompt": "a boat|red"}, ["a boat, ink", "a boat, red, ink"]),
        (
            {"script_list": "Prompts from file or textbox", "prompts_from_file_or_textbox_prompt_txt": "a boat\na cat"},
            ["a boat, ink", "a cat, ink"],
        ),
        (
            {"xyz_plot_x_type": "Prompt S/R", "xyz_plot_x_values": "boat, ink", **XYZ},
            ["a boat, ink", "a ink, ink"],  # the style's own words are not searched
        ),
        (
            {"xyz_plot_x_type": "Styles", "xyz_plot_x_values": "red, ink", **XYZ},
            ["a boat, ink, red", "a boat, ink, ink"],
        ),
    ],
)
def test_the_words_of_styles_are_put_on_after_a_script(
    app: App, client: TestClient, script: dict[str, Any], prompts: list[str]
) -> None:
    app.styles.save(Style(name="ink", prompt="{prompt}, ink"))
    app.styles.save(Style(name="red", prompt="red"))
    assert send(client, event(client, "txt2img_generate"), form_values(client, **{"styles": ["ink"], **script})) == [""]
    assert [each.prompt for each in asked(app) if isinstance(each, GenerationRequest)] == prompts


def test_a_plot_becomes_a_grid_of_jobs(app: App, client: TestClient) -> None:
    app.styles.save(Style(name="ink", prompt="ink drawing"))
    plot = {"xyz_plot_x_type": "Steps", "xyz_plot_x_values": "2, 4", "xyz_plot_y_type": "Seed", "styles": ["ink"]}
    values = form_values(client, **XYZ, **plot, xyz_plot_y_values="5-7", xyz_plot_margin_size=4)
    assert send(client, event(client, "txt2img_generate"), values) == [""]
    *cells, drawing = asked(app)
    assert [(each.steps, each.seed) for each in cells] == [(2, 5), (4, 5), (2, 6), (4, 6), (2, 7), (4, 7)]
    assert {each.prompt for each in cells} == {"a boat, ink drawing"}
    assert isinstance(drawing, GridRequest)
    grid = app.grids.find(drawing.place, ME)
    assert (grid.title, grid.look.margin) == ("X/Y/Z plot: Steps × Seed", 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"xyz_plot_x_type": "Steps", "xyz_plot_x_values": "many"}, "Steps has the value 'many'"),
        ({"xyz_plot_x_type": "Steps", "xyz_plot_x_values": None}, "Steps has no values"),
        ({"xyz_plot_margin_size": None}, "Grid margins (px) is empty"),
        ({"script_list": "Prompt matrix"}, "The positive prompt has no | in it"),
        ({"script_list": "Loopback"}, "There is no script called 'Loopback'"),
        ({"script_list": "Prompts from file or textbox"}, "This list has no prompts"),
    ],
)
def test_a_script_that_cannot_be_is_a_sentence(
    app: App, client: TestClient, changes: dict[str, Any], words: str
) -> None:
    (message,) = send(client, event(client, "txt2img_generate"), form_values(client, **{**XYZ, **changes}))
    assert words in message
    estimated = event(client, "txt2img_script_cost", "estimate")
    (told,) = send(client, estimated, form_values(client, **{**XYZ, **changes}), {"size": None})
    assert told == {"problem": message}
    assert asked(app) == []


def test_a_list_of_prompts_and_a_matrix_say_their_cost_first(app: App, client: TestClient) -> None:
    values = form_values(
        client,
        **{**XYZ, "script_list": "Prompts from file or textbox", "prompt": ""},
        prompts_from_file_or_textbox_prompt_txt="a cat\n--prompt a dog --steps 7 --do_not_save_grid true",
    )
    (told,) = send(client, event(client, "txt2img_script_cost", "estimate"), values, {})
    assert told["sentence"].startswith("2 pictures, 10 steps, 0.0 megapixel steps. --do_not_save_grid is left out")
    (message,) = send(client, event(client, "txt2img_generate"), values)
    assert message.startswith("--do_not_save_grid is left out")
    assert [(each.prompt, each.steps) for each in asked(app)] == [("a cat", 3), ("a dog", 7)]
    matrix = form_values(client, **{**XYZ, "script_list": "Prompt matrix", "prompt": "a boat|red|old"})
    (told,) = send(client, event(client, "txt2img_script_cost", "estimate"), matrix, {})
    assert told["sentence"].startswith("4 pictures, 12 steps")


def test_the_cost_over_a_canvas_is_known_by_its_size(client: TestClient) -> None:
    values = form_values(
        client, "img2img", **{**XYZ, "xyz_plot_x_values": "1-4", "steps": 10, "denoising_strength": 0.5}
    )
    estimated = event(client, "img2img_script_cost", "estimate")
    (told,) = send(client, estimated, values, {"size": [128, 64], "number": 7})
    assert told["sentence"].startswith("4 pictures, 24 steps")
    assert told["number"] == 7
    (told,) = send(client, estimated, values, {"size": None, "number": 8})
    assert told["number"] == 8
    assert "canvas" in told["problem"]


def test_every_choice_of_an_axis_is_filled_in(client: TestClient) -> None:
    fill = event(client, "txt2img_xyz_plot_fill_x")
    (found,) = send(client, fill, ["Sampler", ""])
    assert found.startswith("DPM++ 2M, DPM++ SDE")
    assert send(client, fill, ["Steps", "1, 2"]) == ["1, 2"]
    assert send(client, fill, ["Nonsense", "1"]) == ["1"]


def test_each_picture_of_a_batch_has_words_of_its_own(app: App, client: TestClient) -> None:
    values = {"prompt": "a {red|green|blue} boat", "seed": "5", "batch_count": 3}
    assert send(client, event(client, "txt2img_generate"), form_values(client, **values)) == [""]
    requests = asked(app)
    assert [each.seed for each in requests] == [5, 6, 7]
    assert [each.prompt for each in requests] == [
        each.prompt for each in app.wildcards.samples(values["prompt"], seed=5, count=3)
    ]
    assert {each.template.prompt for each in requests} == {values["prompt"]}


def test_presets_keep_what_was_chosen_and_fill_it_in_elsewhere(client: TestClient) -> None:
    standing = {"txt2img_steps": 33, "txt2img_prompt": "a boat", "txt2img_hr-checkbox": True, "txt2img_eta": 0.25}
    details = {"tab": "txt2img", "name": "fine", "groups": ["sampling", "hires"]}
    assert wish_with(client, "save_preset", details, standing)["wishes"]["saved"] == {
        "words": "The preset fine is saved"
    }
    filled = wish(client, "preset", tab="img2img", name="fine")
    assert (filled["img2img_steps"], filled["img2img_eta"]) == (33, 0.25)
    assert not [name for name in filled if name.endswith(("prompt", "_hr-checkbox", "seed"))]
    assert filled["wishes"]["undo"]["values"]["steps"] == 20
    for wrong in ({"groups": []}, {"groups": ["x"]}, {"name": ""}, {"groups": 5}):
        told = wish_with(client, "save_preset", {**details, **wrong}, standing)
        assert told["wishes"]["saved"]["problem"]
    assert "no preset called" in wish(client, "preset", tab="txt2img", name="fin")["wishes"]["problem"]
