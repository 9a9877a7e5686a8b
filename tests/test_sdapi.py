"""AUTOMATIC1111's interface, as a client meets it: what comes out, what it costs to wait, whose job it is."""

import asyncio
import base64
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from backend.app import App, Options
from backend.request import GenerationRequest
from backend.server.sdapi.fields import Extras, Img2Img, Txt2Img
from tests.loops import run_apart
from tests.sd_studio import ME, OTHER, SD, Workshop, cookies, gated, in_base64, pictured, server

SMALL = {"prompt": "a green tree", "steps": 2, "width": 64, "height": 64}
WAITING = 60  # clients: more than there are threads for handlers


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    app = App(options, worker=Workshop)
    app.start()
    yield app
    app.close()


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(server(app), cookies=cookies())


@pytest.fixture
def gate() -> threading.Semaphore:
    return threading.Semaphore(0)


@pytest.fixture
def gated_app(options: Options, gate: threading.Semaphore) -> Iterator[App]:
    app = App(options, worker=gated(gate))
    app.start()
    yield app
    app.close()


def post(client: TestClient, path: str, body: Any, status: int = 200) -> Any:
    answer = client.post(f"{SD}/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def until(there: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


@contextlib.contextmanager
def asking(client: TestClient, gate: threading.Semaphore, body: Any) -> Iterator[list[Any]]:
    """Ask for pictures beside the test: the answer is in the list at the end."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(client.post(f"{SD}/txt2img", json=body)))
    thread.start()
    try:
        yield answers
    except BaseException:
        gate.release(100_000)  # or the test would wait instead of failing
        raise
    finally:
        thread.join()


def step_of(client: TestClient) -> int:
    return client.get(f"{SD}/progress").json()["state"]["sampling_step"]


def test_defaults_are_those_of_a1111() -> None:
    said = {
        "steps": 50, "cfg_scale": 7.0, "width": 512, "height": 512, "seed": -1, "subseed": -1, "subseed_strength": 0.0,
        "seed_resize_from_h": -1, "seed_resize_from_w": -1, "batch_size": 1, "n_iter": 1, "sampler_index": "Euler",
        "denoising_strength": 0.75, "send_images": True, "save_images": False, "alwayson_scripts": {},
        "override_settings_restore_afterwards": True, "script_args": [], "sampler_name": None, "scheduler": None,
        "eta": None, "s_churn": None, "tiling": None, "infotext": None,
    }  # fmt: skip
    words = {"enable_hr": False, "hr_scale": 2.0, "hr_upscaler": None, "hr_resize_x": 0, "hr_second_pass_steps": 0}
    picture = {
        "init_images": None, "resize_mode": 0, "mask": None, "mask_blur_x": 4, "mask_round": True, "inpainting_fill": 0,
        "inpaint_full_res": True, "inpaint_full_res_padding": 0, "inpainting_mask_invert": 0,
        "include_init_images": False, "image_cfg_scale": None,
    }  # fmt: skip
    extras = {"upscaling_resize": 2.0, "upscaling_resize_w": 512, "upscaling_crop": True, "upscaler_1": "None"}
    for kind, expected in ((Txt2Img, said | words), (Img2Img, said | picture), (Extras, extras)):
        values = kind().model_dump()
        assert {name: values[name] for name in expected} == expected


def test_txt2img_gives_pictures_that_say_how_they_were_made(client: TestClient) -> None:
    answer = post(client, "txt2img", {**SMALL, "seed": 7, "batch_size": 2, "n_iter": 2, "negative_prompt": "fog"})
    info = json.loads(answer["info"])
    assert len(answer["images"]) == 4
    for image, infotext in zip(answer["images"], info["infotexts"], strict=True):
        picture = pictured(image)
        assert picture.size == (64, 64) and picture.format == "PNG"
        assert picture.info["parameters"] == infotext
        assert "Steps: 2, Sampler: Euler" in infotext
    assert info["all_seeds"] == [7, 8, 9, 10] and info["seed"] == 7
    assert info["all_prompts"] == ["a green tree"] * 4 and info["all_negative_prompts"] == ["fog"] * 4
    assert info["index_of_first_image"] == 0 and info["batch_size"] == 2 and info["sd_model_name"]
    assert len(info["all_subseeds"]) == 4
    assert answer["parameters"]["steps"] == 2 and answer["parameters"]["n_iter"] == 2


def test_an_empty_body_needs_no_content_type(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[GenerationRequest] = []
    monkeypatch.setattr(Workshop, "generate", lambda _self, request, _job: asked.append(request))
    answer = client.post(f"{SD}/txt2img")
    assert answer.status_code == 200, answer.text
    assert answer.json()["images"] == []
    request = asked[0]
    assert (request.steps, request.sampler, request.width, request.seed >= 0) == (50, "Euler", 512, True)
    for path in ("interrupt", "skip", "refresh-checkpoints", "reload-checkpoint", "unload-checkpoint"):
        assert client.post(f"{SD}/{path}").status_code == 200
    assert client.post(f"{SD}/png-info").json() == {"info": "", "items": {}, "parameters": {}}


def test_null_and_unknown_names_are_tolerated(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        answer = post(client, "txt2img", {**SMALL, "seed": None, "styles": None, "clip_skip": 2, "hr_cfg\n": 1})
    assert len(answer["images"]) == 1
    line = next(record.message for record in caplog.records if "ignored" in record.message)
    assert "'clip_skip'" in line and "'hr_cfg\\n'" in line


def test_send_images_leaves_the_pictures_out(client: TestClient) -> None:
    answer = post(client, "txt2img", {**SMALL, "send_images": False})
    assert answer["images"] == [] and len(json.loads(answer["info"])["infotexts"]) == 1


WRONG = [
    b"{", b"[]", b"7", b'"x"', b'{"steps": NaN}', b'{"cfg_scale": 1e999}', b'{"steps": 2.5}', b'{"prompt": 7}',
    b'{"steps": 0}', b'{"steps": ' + b"9" * 5000 + b"}", b'{"prompt": "\\ud800"}', b"[" * 100_000,
    b'{"width": -8}', b'{"batch_size": 99}', b'{"restore_faces": true}', b'{"styles": ["x"]}',
    b'{"sampler_name": "' + b"x" * 5000 + b'"}', b'{"prompt": "' + b"<a:" * 50_000 + b'"}',
    b'{"override_settings": 7}', b'{"override_settings": {"CLIP_stop_at_last_layers": "two"}}',
    b'{"alwayson_scripts": {"x": {"args": [1]}}}', b'{"script_name": "X/Y/Z plot", "script_args": [99]}', b"\xff\xfe",
    b'{"override_settings": {"sd_model_checkpoint": "never there"}}',
    b'{"override_settings": {"sd_model_checkpoint": ["a"]}}',
    b'{"override_settings": {"token_merging_ratio": 0.5}}',
]  # fmt: skip


def test_what_a_client_sends_wrongly_is_a_sentence(client: TestClient) -> None:
    for body in WRONG:
        answer = client.post(f"{SD}/txt2img", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422, (body[:80], answer.text)
        said = answer.json()
        assert said["errors"] == said["detail"] and said["detail"][-1] in ".;?", said
        assert said["error"] == ("model_not_found" if b"never there" in body else "invalid_value")
        assert said["body"] == ""
    assert client.get(f"{SD}/progress").json()["state"]["job_count"] == 0


def test_a_failed_job_says_so_in_a1111s_words(client: TestClient) -> None:
    said = post(client, "txt2img", {**SMALL, "prompt": "crash"}, 500)
    assert "a scripted crash" in said["errors"] and said["errors"] == said["detail"]
    assert said["error"] == "failed"


def test_a_full_queue_is_429_and_says_when_to_come_again(gated_app: App) -> None:
    gated_app.settings.update({"queue_each": 1})
    client = TestClient(server(gated_app), cookies=cookies())
    for _ in range(2):
        gated_app.queue.submit(GenerationRequest(steps=1, width=64, height=64), ME)
        until(lambda: any(job.state == "running" for job in gated_app.queue.jobs(ME)))
    answer = client.post(f"{SD}/txt2img", json=SMALL)
    assert answer.status_code == 429 and answer.json()["error"] == "queue_full"
    assert int(answer.headers["retry-after"]) > 0


def test_progress_is_that_of_ones_own_job(gated_app: App, gate: threading.Semaphore) -> None:
    web = server(gated_app)
    with TestClient(web, cookies=cookies()) as client, TestClient(web, cookies=cookies(OTHER)) as other:
        idle = client.get(f"{SD}/progress").json()
        assert idle["progress"] == 0 and idle["state"]["job_count"] == 0 and idle["current_image"] is None
        with asking(client, gate, {**SMALL, "steps": 4, "n_iter": 2}) as answers:
            gate.release(6)
            until(lambda: step_of(client) == 2)
            said = client.get(f"{SD}/progress").json()
            assert said["progress"] == pytest.approx(6 / 8)
            state = said["state"]
            assert (state["job_no"], state["job_count"], state["sampling_steps"]) == (1, 2, 4)
            assert said["eta_relative"] >= 0 and state["job"] == said["current_task"]
            assert pictured(said["current_image"]).format == "JPEG"
            assert client.get(f"{SD}/progress?skip_current_image=true").json()["current_image"] is None
            assert other.get(f"{SD}/progress").json() == idle
            assert other.post(f"{SD}/interrupt").json() == {} and other.post(f"{SD}/skip").json() is None
            gate.release(2)
        assert len(answers[0].json()["images"]) == 2, "somebody else ended it"
        assert client.get(f"{SD}/progress").json() == idle


def test_skip_ends_the_pictures_that_are_being_made(gated_app: App, gate: threading.Semaphore) -> None:
    with TestClient(server(gated_app), cookies=cookies()) as client:
        with asking(client, gate, {**SMALL, "n_iter": 2}) as answers:
            gate.release()
            until(lambda: step_of(client) == 1)
            assert client.post(f"{SD}/skip").json() is None
            gate.release(3)  # one of them may still be taken by what is skipped
        assert len(answers[0].json()["images"]) == 1


def test_interrupt_ends_the_job(gated_app: App, gate: threading.Semaphore) -> None:
    with TestClient(server(gated_app), cookies=cookies()) as client:
        with asking(client, gate, {**SMALL, "n_iter": 2}) as answers:
            gate.release(3)
            until(lambda: client.get(f"{SD}/progress").json()["state"]["job_no"] == 1)
            assert client.post(f"{SD}/interrupt").json() == {}
        assert answers[0].status_code == 200
        assert len(answers[0].json()["images"]) == 1, "what was there is kept"


def test_interrupt_takes_a_job_that_waits_for_somebody_elses(gated_app: App, gate: threading.Semaphore) -> None:
    theirs = gated_app.queue.submit(GenerationRequest(steps=1, width=64, height=64), OTHER)
    until(lambda: theirs.state == "running")
    with TestClient(server(gated_app), cookies=cookies()) as client:
        with asking(client, gate, SMALL) as answers:
            until(lambda: gated_app.queue.jobs(ME))
            waiting = client.get(f"{SD}/progress").json()
            assert waiting["progress"] == 0 and waiting["state"]["job_count"] == 1
            client.post(f"{SD}/interrupt")
        assert answers[0].json()["images"] == []
    assert theirs.state == "running"
    gate.release()
    until(lambda: theirs.state == "finished")


def test_waiting_clients_take_no_threads(gated_app: App, gate: threading.Semaphore) -> None:
    async def run() -> tuple[int, list[httpx.Response]]:
        transport, idle = httpx.ASGITransport(server(gated_app)), threading.active_count()
        async with httpx.AsyncClient(transport=transport, base_url="http://here", cookies=cookies()) as client:
            body = {**SMALL, "steps": 1}
            posts = [asyncio.create_task(client.post(f"{SD}/txt2img", json=body)) for _ in range(WAITING)]
            while len(gated_app.queue.jobs(ME)) < WAITING:
                await asyncio.sleep(0.01)
            more = threading.active_count() - idle
            # Both of these would hang if those who wait held the threads that handlers run on.
            samplers, progress = await client.get(f"{SD}/samplers"), await client.get(f"{SD}/progress")
            assert samplers.status_code == 200 and progress.json()["state"]["job_count"] == 1
            gate.release(WAITING)
            return more, await asyncio.gather(*posts)

    more, answers = run_apart(run())
    assert more < WAITING
    assert all(len(answer.json()["images"]) == 1 for answer in answers)
    seeds = [json.loads(answer.json()["info"])["seed"] for answer in answers]
    assert len(set(seeds)) == WAITING, "somebody got another one's picture"


def test_a_client_that_goes_away_leaves_its_job(gated_app: App, gate: threading.Semaphore) -> None:
    async def leave() -> None:
        transport = httpx.ASGITransport(server(gated_app))
        async with httpx.AsyncClient(transport=transport, base_url="http://here", cookies=cookies()) as client:
            task = asyncio.create_task(client.post(f"{SD}/txt2img", json=SMALL))
            while not gated_app.queue.jobs(ME):
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run_apart(leave())
    gate.release()
    gate.release()
    until(lambda: gated_app.queue.jobs(ME)[0].state == "finished")
    assert len(gated_app.queue.jobs(ME)[0].images) == 1


def checker(side: int = 64) -> Image.Image:
    return Image.linear_gradient("L").resize((side, side)).convert("RGB")


def test_extras_enlarge_by_a_factor_and_to_a_size(client: TestClient) -> None:
    body = {"image": in_base64(checker()), "upscaler_1": "Lanczos"}
    twice = post(client, "extra-single-image", body)
    assert pictured(twice["image"]).size == (128, 128) and "Lanczos" in twice["html_info"]
    sized = {**body, "resize_mode": 1, "upscaling_resize_w": 96, "upscaling_resize_h": 160}
    assert pictured(post(client, "extra-single-image", sized)["image"]).size == (96, 160)
    uncut = post(client, "extra-single-image", {**sized, "upscaling_crop": False})
    assert pictured(uncut["image"]).size == (160, 160)


def test_extras_without_an_upscaler_leave_the_picture_as_it_is(client: TestClient) -> None:
    answer = post(client, "extra-single-image", {"image": "data:image/png;base64," + in_base64(checker())})
    assert pictured(answer["image"]).tobytes() == checker().tobytes()


def test_extras_take_several_pictures_in_their_order(client: TestClient) -> None:
    sides = (16, 24, 32)
    pictures = [{"data": in_base64(checker(side)), "name": f"{side}.png"} for side in sides]
    answer = post(client, "extra-batch-images", {"imageList": pictures, "upscaler_1": "Nearest", "upscaling_resize": 3})
    assert [pictured(image).width for image in answer["images"]] == [48, 72, 96]
    post(client, "extra-batch-images", {"imageList": []}, 422)
    post(client, "extra-batch-images", {"image_list": pictures}, 422)


def test_extras_say_what_cannot_be(client: TestClient) -> None:
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"image": ""}, 404),
        ({"image": "!!"}, 422),
        ({"image": base64.b64encode(b"no picture").decode()}, 422),
        ({"image": "http://example.com/x.png"}, 422),
        ({"gfpgan_visibility": 0.5}, 422),
        ({"upscaler_1": "ESRGAN_4x"}, 422),
        ({"upscaling_resize": 99}, 422),
        ({"resize_mode": 2}, 422),
    ]
    for change, status in wrong:
        body = {"image": in_base64(checker(16)), "upscaler_1": "Lanczos", **change}
        assert len(post(client, "extra-single-image", body, status)["detail"]) > 20


def test_png_info_reads_our_pictures_and_others(client: TestClient) -> None:
    made = post(client, "txt2img", {**SMALL, "seed": 5, "negative_prompt": "fog"})
    info = json.loads(made["info"])["infotexts"][0]
    answer = post(client, "png-info", {"image": "data:image/png;base64," + made["images"][0]})
    assert answer["info"] == info
    parameters = answer["parameters"]
    assert (parameters["Prompt"], parameters["Negative prompt"], parameters["Seed"]) == ("a green tree", "fog", "5")
    assert (parameters["Size-1"], parameters["Size-2"]) == ("64", "64")
    assert "parameters" not in answer["items"] and answer["items"]
    assert post(client, "png-info", {"image": in_base64(checker())})["info"] == ""
    assert post(client, "png-info", {"image": in_base64(checker(), "JPEG", comment=info.encode())})["info"] == info
    for wrong in ("?", base64.b64encode(b"just words").decode()):
        post(client, "png-info", {"image": wrong}, 422)


def test_interrogate_says_that_it_is_not_there(client: TestClient) -> None:
    said = post(client, "interrogate", {"image": in_base64(checker())}, 501)
    assert "interrogator" in said["detail"]
    post(client, "interrogate", {}, 404)


def test_pictures_come_in_the_format_of_the_settings(app: App, client: TestClient) -> None:
    app.settings.update({"image_format": "webp"})
    picture = pictured(post(client, "txt2img", SMALL)["images"][0])
    assert picture.format == "WEBP" and "exif" in picture.info


def test_img2img_gives_back_what_it_began_with_if_asked(client: TestClient) -> None:
    body = {**SMALL, "init_images": [in_base64(checker())], "mask": in_base64(checker())}
    plain, with_them = post(client, "img2img", body), post(client, "img2img", {**body, "include_init_images": True})
    assert plain["parameters"]["init_images"] is None and plain["parameters"]["mask"] is None
    assert with_them["parameters"]["init_images"] == body["init_images"]
    assert len(plain["images"]) == 1
    assert json.loads(plain["info"])["denoising_strength"] == 0.75


def test_the_real_engine_makes_what_the_request_makes(options: Options) -> None:
    app = App(options)
    app.start()
    try:
        body = {**SMALL, "seed": 11, "sampler_name": "DPM++ 2M Karras", "cfg_scale": 5}
        answer = post(TestClient(server(app), cookies=cookies()), "txt2img", body)
        request = GenerationRequest(
            prompt="a green tree", steps=2, width=64, height=64, seed=11, schedule="Karras", cfg_scale=5
        )
        job = app.queue.submit(request, ME)
        for _ in job.follow():
            pass
        with Image.open(job.images[0].path) as same:
            assert pictured(answer["images"][0]).tobytes() == same.tobytes()
        black = {**SMALL, "init_images": [in_base64(checker())], "mask": in_base64(Image.new("L", (64, 64)))}
        said = post(TestClient(server(app), cookies=cookies()), "img2img", black, 422)
        assert said["error"] == "invalid_value" and "mask is empty" in said["detail"]
    finally:
        app.close()


def test_a_file_that_is_gone_is_a_sentence(app: App, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Workshop.generate

    def lose(self: Workshop, request: Any, job: Any) -> None:
        real(self, request, job)
        for image in job.images:
            image.path.unlink()

    monkeypatch.setattr(Workshop, "generate", lose)
    said = post(client, "txt2img", SMALL, 507)
    assert said["error"] == "not_saved"
    assert str(app.options.data_dir) not in said["detail"]
