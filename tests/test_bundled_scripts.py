"""The bundled extensions that make many pictures of one form, as an app has them: list, plans, jobs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from backend.any_request import read_request
from backend.app import App, Options
from backend.errors import InvalidRequest, UserError
from backend.extension_api import Several
from backend.infotext.recipe import read_recipe
from backend.init_image import InitImage, Inpainting, TiledUpscale
from backend.request import GenerationRequest
from backend.sampling_options import LARGEST_SEED
from backend.styles import Style
from tests.extension_folders import write_extension
from tests.test_img2img import noise, put, spot

REQUEST = GenerationRequest(prompt="a red boat", seed=7, steps=2, width=64, height=64, sampler="Euler")
TITLES = ["Loopback", "Prompt matrix", "Prompts from file or textbox", "X/Y/Z plot"]
IDS = ("loopback", "prompt_lines", "prompt_matrix", "wildcards", "xyz_plot")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    """With those that are on at first."""
    folder = tmp_path_factory.mktemp("scripts")
    app = App(Options(data_dir=folder, checkpoint_dirs=(written_checkpoint.parent,), device="cpu"))
    app.start()
    app.styles.save(Style(name="ink", prompt="in ink"))
    app.styles.save(Style(name="old", prompt="old"))
    yield app
    app.close()


def planned(app: App, title: str, request: GenerationRequest, chosen: Sequence[str] = (), **values: object) -> Several:
    offered = app.scripts.find(title)
    return app.scripts.plan(offered, request, offered.params(values), chosen)


def made(app: App, request: GenerationRequest) -> tuple[Image.Image, Path]:
    (job,) = app.submit(request, "me")
    list(job.follow())
    assert job.state == "finished", job.since()[-1]
    path = job.images[0].path
    with Image.open(path) as image:
        image.load()
        return image, path


def test_they_are_on_at_first_and_gone_when_they_are_switched_off(app: App) -> None:
    active = {each.id for each in app.extensions.active()}
    assert active >= set(IDS)
    assert [each.title for each in app.scripts.offered()] == TITLES
    assert [each.title for each in app.scripts.offered("txt2img")] == TITLES[1:]
    assert app.scripts.find("prompt MATRIX ").id == "prompt_matrix"
    app.extensions.switch("prompt_matrix", False)
    try:
        with pytest.raises(InvalidRequest, match="Prompt matrix"):
            app.scripts.find("Prompt matrix")
    finally:
        app.extensions.switch("prompt_matrix", True)
    with pytest.raises(InvalidRequest, match="no script called 'Loopback'"):
        app.scripts.find("Loopback", "txt2img")


def test_a_plot_knows_the_axes_of_other_extensions_and_the_styles(app: App) -> None:
    found = planned(app, "X/Y/Z plot", REQUEST, ["old"], x_type="Styles", x_values="ink", y_type=4, y_values="1,2")
    assert found.grid is not None
    assert [(cell.request.prompt, cell.request.steps) for cell in found.grid.cells] == [
        ("a red boat, old, in ink", 1),
        ("a red boat, old, in ink", 2),
    ]
    # What a script tells its own steps is nobody's to plot.
    assert "Loopback: Step" not in [axis.name for axis in app.scripts.axes()]
    with pytest.raises(InvalidRequest, match="no axis called 'Stepps'; did you mean Steps"):
        planned(app, "X/Y/Z plot", REQUEST, x_type="Stepps", x_values="1")


def test_styles_are_put_on_after_every_script(app: App) -> None:
    matrix = planned(app, "Prompt matrix", replace(REQUEST, prompt="a boat|red"), ["ink"]).grid
    assert matrix is not None
    assert [cell.request.prompt for cell in matrix.cells] == ["a boat, in ink", "a boat, red, in ink"]
    lines = planned(app, "Prompts from file or textbox", REQUEST, ["ink"], text="a cat\n--prompt a dog --steps 5")
    assert [(each.prompt, each.steps) for each in lines.requests] == [
        ("a cat a red boat, in ink", 2),
        ("a dog a red boat, in ink", 5),
    ]


def test_what_is_wrong_with_a_form_is_said_in_its_words(app: App) -> None:
    plot = app.scripts.find("X/Y/Z plot")
    for values, words in (
        ({"margin_size": None}, "Grid margins (px) is empty; it needs a value."),
        ({"margin_size": 501}, "Grid margins (px) is '501': input should be less than or equal to 500."),
        ({"draw_legend": "perhaps"}, "Draw legend is 'perhaps': input should be a valid boolean"),
        ({"legends": True}, "There is no 'legends' here."),
    ):
        with pytest.raises(InvalidRequest) as told:
            plot.params(values)
        assert str(told.value).startswith(words)
    with pytest.raises(InvalidRequest, match=r"^draw_legend is 'perhaps'"):
        plot.params({"draw_legend": "perhaps"}, said=str)


BROKEN = """
from backend.extension_api import Field, Params, Script, Several, UserError, hook

class Wish(Params):
    how: str = Field(default="", title="How")

def plan(request, params, turn):
    if params.how == "no":
        raise UserError("This cannot be.")
    if params.how == "nothing":
        return None
    return {}[params.how]

@hook
def register(api):
    api.script(Script(title="Broken", kind=Wish, plan=plan))
    api.script(Script(title="Second one", kind=Wish, plan=lambda request, params, turn: Several(requests=[request])))
"""


def test_a_script_that_fails_says_whose_it_is(options: Options) -> None:
    write_extension(options.data_dir, "broken", BROKEN)
    app = App(options)
    try:
        app.extensions.switch("broken", True)
        with pytest.raises(UserError, match=r"^This cannot be\.$"):
            planned(app, "Broken", REQUEST, how="no")
        for how in ("nothing", "else"):
            with pytest.raises(UserError, match="failed in plan") as told:
                planned(app, "Broken", REQUEST, how=how)
            assert told.value.kind == "extension_failed"
        assert len(app.extensions.find("broken").failures) == 2
        assert [each.id for each in app.scripts.offered() if each.extension.id == "broken"] == [
            "broken",
            "broken-second-one",
        ]
        assert planned(app, "Second one", REQUEST).requests == (REQUEST,)
    finally:
        app.close()


def test_words_are_drawn_only_while_the_extension_is_on(app: App) -> None:
    folder = app.options.data_dir / "wildcards"
    folder.mkdir(exist_ok=True)
    (folder / "colour.txt").write_text("red\nblue\n")
    request = replace(REQUEST, prompt="a __colour__ {star|tree}", batch_count=2)
    first, second = app.several(request)
    assert (first.seed, second.seed) == (7, 8)
    assert {first.prompt, second.prompt} <= {f"a {c} {s}" for c in ("red", "blue") for s in ("star", "tree")}
    assert first.template is not None and first.template.prompt == request.prompt
    assert app.wildcards.names() == ["colour"]
    assert app.wildcards.open(request.prompt)
    assert [each.prompt for each in app.wildcards.samples(request.prompt, seed=7, count=2)] == [
        first.prompt,
        second.prompt,
    ]
    assert app.wildcards.plain("{red|blue} boat") == (" red blue  boat", [0])
    assert "nowhere" in app.wildcards.problems("__nowhere__")[0].message
    with pytest.raises(InvalidRequest, match="nowhere"):
        app.several(replace(REQUEST, prompt="__nowhere__"))
    app.extensions.switch("wildcards", False)
    try:
        assert app.several(request) == [request]
        assert (app.wildcards.names(), app.wildcards.open(request.prompt)) == ([], False)
        assert app.wildcards.problems("__nowhere__") == ()
        assert app.wildcards.plain("{red|blue} boat") == ("{red|blue} boat", [])
    finally:
        app.extensions.switch("wildcards", True)


def test_nobody_who_had_no_say_is_named_in_a_picture(app: App) -> None:
    _, path = made(app, REQUEST)
    recipe = read_recipe(path)
    assert recipe is not None and recipe.made_with
    assert not json.loads(recipe.made_with).get("extensions")


def test_a_loop_asks_for_a_step_after_the_other(app: App) -> None:
    init = InitImage(picture="a" * 64, denoising_strength=0.9)
    request = replace(REQUEST, init=init, batch_count=2, batch_size=3, seed=LARGEST_SEED - 1)
    steps = planned(app, "Loopback", request, loops=3, final_strength=0.3).requests
    assert [each.seed for each in steps] == [LARGEST_SEED - 1, LARGEST_SEED, 0, 1, 2, 3]
    strengths = [each.init.denoising_strength for each in steps if each.init]
    assert strengths == pytest.approx([0.9, 0.6, 0.3] * 2)
    assert {each.pictures for each in steps} == {1}
    middle = {
        curve: planned(app, "Loopback", request, loops=3, final_strength=0.3, curve=curve).requests[1].init
        for curve in ("Aggressive", "Lazy")
    }
    # sin and 1 - cos of an eighth of a circle
    assert {curve: init and init.denoising_strength for curve, init in middle.items()} == pytest.approx(
        {"Aggressive": 0.9 - 0.6 * 0.5**0.5, "Lazy": 0.9 - 0.6 * (1 - 0.5**0.5)}
    )
    with pytest.raises(InvalidRequest, match="begins with a picture"):
        planned(app, "Loopback", REQUEST)
    with pytest.raises(InvalidRequest, match="tiled upscale off"):
        planned(
            app, "Loopback", replace(request, init=replace(init, upscale=TiledUpscale(upscaler="Lanczos", overlap=16)))
        )


@pytest.mark.parametrize("masked", [False, True])
def test_each_step_of_a_loop_begins_with_the_picture_of_the_one_before(app: App, masked: bool) -> None:
    first = put(app, noise((64, 64)))
    init = InitImage(picture=first, denoising_strength=0.9)
    if masked:
        mask = put(app, spot((64, 64), (8, 8, 40, 40)))
        init = replace(init, inpainting=Inpainting(mask=mask, masked_content="fill"))
    steps = planned(app, "Loopback", replace(REQUEST, init=init), loops=3, final_strength=0.5).requests
    pictures = [made(app, each) for each in steps]
    assert len({image.tobytes() for image, _ in pictures}) == 3
    before = first
    for number, (step, (image, path)) in enumerate(zip(steps, pictures, strict=True)):
        assert step.init is not None
        begun = replace(step.init, picture=before)
        if masked and number:
            assert begun.inpainting is not None
            begun = replace(begun, inpainting=replace(begun.inpainting, masked_content="original"))
        plain, _ = made(app, replace(step, init=begun, extras={}))
        assert plain.tobytes() == image.tobytes(), f"step {number}"
        recipe = read_recipe(path)
        assert recipe is not None
        assert recipe.infotext.get("Seed") == str(step.seed)
        assert recipe.infotext.get("Denoising strength") == f"{step.init.denoising_strength:g}"
        before = put(app, image)
    # From its file alone, when nobody remembers the steps before.
    recipe = read_recipe(pictures[-1][1])
    assert recipe is not None and recipe.request
    app.extensions.reload("loopback")
    again = read_request(recipe.request)
    assert isinstance(again, GenerationRequest)
    assert made(app, again)[0].tobytes() == pictures[-1][0].tobytes()


OLD_SCRIPT = """
import math
import gradio as gr
import modules.scripts as scripts
from modules import images, shared
from modules.processing import Processed, process_images, fix_seed


class Script(scripts.Script):
    def title(self):
        return "Seeds and a frame"

    def show(self, is_img2img):
        return not is_img2img

    def ui(self, is_img2img):
        with gr.Row():
            count = gr.Slider(minimum=1, maximum=9, step=1, label="How many", value=2, elem_id=self.elem_id("count"))
            words = gr.Textbox(label="Words", lines=1)
        way = gr.Radio(label="Way", choices=["one", "two"], value="two", type="index")
        gr.Button("Nothing").click(fn=None, inputs=[], outputs=[])
        return [count, words, way, gr.HTML("a paragraph")]

    def run(self, p, count, words, way, paragraph):
        assert way == 1 and count == int(count), (way, count, paragraph)
        from modules.shared import opts
        assert not opts.grid_save
        fix_seed(p)
        first = p.seed
        made = []
        shared.state.job_count = count
        p.extra_generation_params["Frame"] = words
        for number in range(count):
            p.seed = first + number
            made += process_images(p).images
        return Processed(p, made, p.seed, "")
"""


def test_an_old_script_runs_on_what_stands_in_for_its_house(tmp_path: Path, written_checkpoint: Path) -> None:
    app = App(Options(data_dir=tmp_path, checkpoint_dirs=(written_checkpoint.parent,), device="cpu"))
    folder = tmp_path / "extensions-data" / "old_scripts" / "scripts"
    folder.mkdir(parents=True)
    (folder / "seeds.py").write_text(OLD_SCRIPT)
    (folder / "reaches.py").write_text("from modules import sd_hijack\n")
    (folder / "broken.py").write_text("def (:\n")
    always = "import modules.scripts as s\nclass A(s.Script):\n    def title(self): return 'A'\n"
    (folder / "always.py").write_text(always + "    def show(self, is_img2img): return s.AlwaysVisible\n")
    app.start()
    try:
        assert "Seeds and a frame" not in [each.title for each in app.scripts.offered()]
        extension = app.extensions.switch("old_scripts", True)
        assert (extension.state, extension.problem) == ("on", "")
        log = "\n".join(extension.log.lines(50))
        for words in ("reaches.py is left out: ", "broken.py is left out: SyntaxError", "always.py is left out: "):
            assert words in log
        offered = app.scripts.find("Seeds and a frame", "txt2img")
        assert [row["title"] for row in offered.schema.values()] == ["How many", "Words", "Way"]
        assert offered.schema["arg0"]["maximum"] == 9
        (request,) = planned(app, "Seeds and a frame", REQUEST, arg0=3, arg1="gilded").requests
        image, path = made(app, request)
        parts = [made(app, replace(REQUEST, seed=seed))[0] for seed in (7, 8, 9)]
        assert image.size == (3 * 64, 64)
        for number, part in enumerate(parts):
            assert image.crop((number * 64, 0, number * 64 + 64, 64)).tobytes() == part.convert("RGB").tobytes()
        recipe = read_recipe(path)
        assert recipe is not None and recipe.infotext.get("Frame") == "gilded"
        app.extensions.switch("old_scripts", False)
        with pytest.raises(InvalidRequest, match="which is off"):
            app.several(request)
    finally:
        app.close()
