"""Bodies of AUTOMATIC1111's interface that ask for several pictures: scripts, styles on them, words left to chance."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from backend.app import App, Options
from backend.errors import InvalidRequest
from backend.grids.axes import AXES as OUR_AXES
from backend.grids.axes import ELSEWHERE, find_axis
from backend.request import GenerationRequest
from backend.server.sdapi.several import several
from backend.styles import Style
from extensions.xyz_plot.numbers import AXES, axes
from tests.sd_studio import ME, SD, Workshop, cookies, gated, in_base64, pictured, server

SMALL: dict[str, Any] = {"prompt": "a green tree", "steps": 2, "width": 64, "height": 64, "seed": 5}
# As its page sends it: three axes, then what is drawn, the seeds, the margin, and that texts count.
PLOT: list[Any] = [4, "1,2", [], 6, "3,5,7", [], 0, "", [], True, True, False, False, False, False, False, 0, False]


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    app = App(options, worker=Workshop)
    app.start()
    yield app
    app.close()


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(server(app), cookies=cookies())


def made(client: TestClient, path: str = "txt2img", status: int = 200, **body: Any) -> tuple[list[Image.Image], Any]:
    """The pictures and what is said of them, or of a fault the answer."""
    answer = client.post(f"{SD}/{path}", json={**SMALL, **body})
    assert answer.status_code == status, answer.text
    if status != 200:
        return [], answer.json()
    return [pictured(image) for image in answer.json()["images"]], json.loads(answer.json()["info"])


def until(there: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def said(infotexts: list[str], key: str) -> list[str]:
    """The value of a key in each infotext."""
    return [text.split(f"{key}: ")[1].split(",")[0] for text in infotexts]


def test_its_axes_are_counted_as_there_and_are_ours_or_explained() -> None:
    ours = {axis.name for axis in OUR_AXES} | {"Styles"}
    assert set(AXES) == ours | (set(ELSEWHERE) - {"Distilled CFG Scale"})
    words, pictures = axes(img2img=False), axes(img2img=True)
    assert words.index("Steps") == pictures.index("Steps") == 4
    assert words[5:8] == ("Hires steps", "CFG Scale", "Prompt S/R")
    assert pictures[5:8] == ("CFG Scale", "Image CFG Scale", "Prompt S/R")
    for name in AXES:
        if name not in ELSEWHERE and name != "Styles":
            assert find_axis(name).name == name


def test_a_plot_gives_the_grid_and_its_pictures(client: TestClient) -> None:
    pictures, info = made(client, script_name="X/Y/Z plot", script_args=PLOT)
    assert len(pictures) == 7 and info["index_of_first_image"] == 1
    assert pictures[0].width > 2 * 64 and pictures[0].height > 3 * 64
    assert all(picture.size == (64, 64) for picture in pictures[1:])
    assert said(info["infotexts"][1:], "Steps") == ["1", "2"] * 3
    assert said(info["infotexts"][1:], "CFG scale") == ["3", "3", "5", "5", "7", "7"]
    assert "X Type: Steps" in info["infotexts"][0] and "Script: X/Y/Z plot" in info["infotexts"][0]
    assert {len(info[name]) for name in ("all_prompts", "all_seeds", "all_subseeds", "infotexts")} == {7}
    alone = [*PLOT]
    alone[10] = "False"
    assert len(made(client, script_name="x/y/z plot", script_args=alone)[0]) == 1


def test_axes_by_name_and_by_what_is_chosen(client: TestClient) -> None:
    chosen = ["Schedule type", "not read", ["Karras", "Simple"]]
    pictures, info = made(client, script_name="X/Y/Z plot", script_args=[*chosen, *PLOT[6:9], *PLOT[6:9], True, True])
    assert len(pictures) == 3
    assert "X Type: Schedule type" in info["infotexts"][0] and "Karras" in info["infotexts"][0]


def test_values_that_a_script_does_not_take_are_a_sentence(client: TestClient) -> None:
    wrong: list[tuple[str, list[Any], str]] = [
        ("X/Y/Z plot", [99, "1"], "x_type"),
        ("X/Y/Z plot", [True, "1"], "x_type"),
        ("X/Y/Z plot", ["nonsense", "1"], "nonsense"),
        ("X/Y/Z plot", ["Face restore", "None"], "face restoration"),
        ("X/Y/Z plot", [4, "one"], "one"),
        ("X/Y/Z plot", [4, {"a": 1}], "Steps"),
        ("X/Y/Z plot", [4, "1", 7], "x_values_dropdown"),
        ("X/Y/Z plot", [4, "1-100000"], "1,000"),
        ("X/Y/Z plot", [4, "1", [], 0, "", [], 0, "", [], "perhaps"], "draw_legend"),
        ("X/Y/Z plot", [*PLOT, 1], "19"),
        ("Prompt matrix", [], "|"),
        ("Prompt matrix", [False, False, "both"], "prompt"),
        ("Prompts from file or textbox", [False, False, "start", ""], "no prompts"),
        ("Prompts from file or textbox", [False, False, "start", "--nonsense 5"], "nonsense"),
        ("Prompts from file or textbox", [False, False, "--prompt a"], "start"),
        ("Prompts from file or textbox", [False, False, "start", 5], "text"),
    ]
    for name, args, word in wrong:
        _, answer = made(client, status=422, script_name=name, script_args=args)
        assert word in answer["detail"], (name, args, answer)
    assert client.get(f"{SD}/progress").json()["state"]["job_count"] == 0


def test_a_matrix_combines_and_styles_are_put_on_last(app: App, client: TestClient) -> None:
    app.styles.save(Style(name="ink", prompt="in ink"))
    pictures, info = made(
        client, prompt="tree|red|small", script_name="Prompt matrix", script_args=[False, True], styles=["ink"]
    )
    assert len(pictures) == 5
    assert info["all_prompts"][1:] == [
        "tree, in ink", "tree, red, in ink", "tree, small, in ink", "tree, red, small, in ink",
    ]  # fmt: skip
    assert info["all_seeds"][1:] == [5, 6, 7, 8]


def test_lines_are_made_one_after_the_other(client: TestClient) -> None:
    lines = 'a red circle\n\n--prompt "a blue star" --steps 1 --seed 9 --sampler_name "Euler a"'
    pictures, info = made(
        client, prompt="", script_name="Prompts from file or textbox", script_args=[False, False, "start", lines]
    )
    assert len(pictures) == 2 and info["index_of_first_image"] == 0
    assert info["all_prompts"] == ["a red circle", "a blue star"] and info["all_seeds"] == [5, 9]
    assert said(info["infotexts"], "Steps") == ["2", "1"] and said(info["infotexts"], "Sampler")[1] == "Euler a"


def test_a_script_works_on_pictures_too(client: TestClient) -> None:
    args = [5, "3,5", [], 0, "", [], 0, "", [], True, True]
    body = {"init_images": [in_base64(Image.new("RGB", (64, 64), "red"))], "script_name": "X/Y/Z plot"}
    pictures, info = made(client, "img2img", **body, script_args=args)
    assert len(pictures) == 3 and said(info["infotexts"][1:], "CFG scale") == ["3", "5"]


def test_words_left_to_chance_are_each_pictures_own(app: App, client: TestClient) -> None:
    prompt = "a {red|green|blue|yellow} {circle|star}"
    pictures, info = made(client, prompt=prompt, batch_size=2, n_iter=3)
    assert len(pictures) == 6 and info["all_seeds"] == [5, 6, 7, 8, 9, 10]
    assert info["all_prompts"] == [app.wildcards.samples(prompt, seed=seed, count=1)[0].prompt for seed in range(5, 11)]
    assert len(set(info["all_prompts"])) > 1


def test_one_that_fails_is_said(client: TestClient) -> None:
    lines = "a red circle\na circle that will crash"
    body = {"prompt": "", "script_name": "prompts from file or textbox"}
    _, answer = made(client, status=500, **body, script_args=[False, False, "start", lines])
    assert "crash" in answer["errors"]
    _, answer = made(client, status=500, prompt="a crash", script_name="X/Y/Z plot", script_args=[4, "1,2"])
    assert "crash" in answer["errors"]
    searched = ["Prompt S/R", "tree, crash", [], 0, "", [], 0, "", [], True, True]
    some, info = made(client, script_name="X/Y/Z plot", script_args=searched)
    assert len(some) == 2 and info["index_of_first_image"] == 1, "the grid has an empty place"


def test_progress_and_interrupt_are_about_the_whole_call(options: Options) -> None:
    gate = threading.Semaphore(0)
    app = App(options, worker=gated(gate))
    app.start()
    answers: list[Any] = []
    try:
        with TestClient(server(app), cookies=cookies()) as client:
            body = {**SMALL, "script_name": "X/Y/Z plot", "script_args": PLOT}
            thread = threading.Thread(target=lambda: answers.append(client.post(f"{SD}/txt2img", json=body)))
            thread.start()
            gate.release(2)  # a picture of one step, and the first of two of the second picture
            until(lambda: client.get(f"{SD}/progress").json()["state"]["sampling_steps"] == 2)
            now = client.get(f"{SD}/progress").json()
            assert (now["state"]["job_no"], now["state"]["job_count"]) == (1, 7)
            assert now["progress"] == pytest.approx(1.5 / 7)
            client.post(f"{SD}/interrupt")
            thread.join(60)
        answer = answers[0].json()
        assert len(answer["images"]) == 2, "the grid of what there is, and that picture"
        assert all(job.ended for job in app.queue.jobs(ME))
    finally:
        gate.release(100_000)
        app.close()


def test_a_name_that_is_no_script_of_several_pictures_leaves_the_request(app: App) -> None:
    request = GenerationRequest(seed=1)
    assert several("SD upscale", [None], request, app.scripts, []).requests == (request,)
    with pytest.raises(InvalidRequest):
        several("Prompt Matrix", [], request, app.scripts, [])
