"""What is typed for a grid becomes requests: values, axes, plots, matrices, lists of prompts; and what they cost."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import InvalidRequest
from backend.extension_api import Params
from backend.grids.axes import AXES, ELSEWHERE, choices_of, find_axis
from backend.grids.cost import cost_of, cost_of_grid
from backend.grids.grid import Grid, Line, Look
from backend.grids.request import GridRequest
from backend.grids.scripts import Planning, read_params
from backend.grids.styled import styles_axis
from backend.grids.values import listed, numbers, orders, whole_numbers
from backend.init_image import HiresFix, InitImage, Inpainting
from backend.model_manager.identity import Kind
from backend.request import GenerationRequest
from backend.sampling_options import Refiner, Variation
from backend.styles import Style, Styles
from extensions.prompt_lines import PromptLines, read_line
from extensions.prompt_matrix import Matrix, parts_of
from extensions.xyz_plot import XyzPlot
from extensions.xyz_plot.plot import Plot, Plotted
from tests.prompts import SEARCH

REQUEST = GenerationRequest(prompt="a red boat, calm sea", negative_prompt="red sky", seed=7, width=64, height=128)
NO_STYLES = Planning(styles=Styles(Path("no folder")))
PICTURE = InitImage(picture="a" * 64, inpainting=Inpainting(mask="b" * 64))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1, 3,  5", [1, 3, 5]),
        ("1-5", [1, 2, 3, 4, 5]),
        ("1-10 (+2)", [1, 3, 5, 7, 9]),
        ("1-9(+2)", [1, 3, 5, 7, 9]),
        ("10-5 (-3)", [10, 7]),
        ("3-1 (-1)", [3, 2, 1]),
        ("1-10 [5]", [1, 3, 5, 7, 10]),
        ("10-1 [4]", [10, 7, 4, 1]),
        ("4-9 [1]", [4]),
        ("-2 - 2 (+2), 20", [-2, 0, 2, 20]),
        ("-1", [-1]),
        ("18446744073709551613-18446744073709551615", [2**64 - 3, 2**64 - 2, 2**64 - 1]),
        ("1,,2,", [1, 2]),
    ],
)
def test_whole_numbers(text: str, values: list[int]) -> None:
    assert whole_numbers("Steps", text) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5, 7", [0.5, 7.0]),
        ("0.1-0.4 (+0.1)", [0.1, 0.2, 0.3, 0.4]),
        ("1-2 (+0.3)", [1.0, 1.3, 1.6, 1.9]),
        ("1-0 (-.5)", [1.0, 0.5, 0.0]),
        ("0-1 [4]", [0.0, 1 / 3, 2 / 3, 1.0]),
        ("1-3", [1.0, 2.0, 3.0]),
        ("-1.5", [-1.5]),
        ("1e-2", [0.01]),
    ],
)
def test_numbers(text: str, values: list[float]) -> None:
    assert numbers("Eta", text) == pytest.approx(values, rel=1e-11)
    assert len(str(numbers("Eta", text)[-1])) <= 14  # nothing of the binary is left


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("many", r"Steps has the value 'many', which is neither a whole number nor a range such as"),
        ("1.5", "Steps has the value '1.5', which is neither"),
        ("5-1", r"Steps has the range '5-1', in which there is nothing: count down with \(-1\)\."),
        ("1-5 (-1)", r"nothing: count up with \(\+1\)\."),
        ("1-5 (+0)", "in which there is nothing"),
        ("1-5 [0]", "asks for 0 values; 1 to 1,000 are allowed"),
        ("1-100000", "has 100,000 values in '1-100000'; 1,000 are allowed"),
        ("1-99999999999999999999", "1,000 are allowed"),
    ],
)
def test_values_that_are_none_get_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        whole_numbers("Steps", text)


def test_lists_have_quotes_and_lines() -> None:
    assert listed('red, "blue, deep" , "say ""hi"""\ngreen') == ["red", "blue, deep", 'say "hi"', "green"]
    assert orders("Prompt order", "a, b, c")[:2] == [("a", "b", "c"), ("a", "c", "b")]
    with pytest.raises(InvalidRequest, match="7 items, which have 5,040 orders; 1,000 are allowed"):
        orders("Prompt order", "a,b,c,d,e,f,g")


@given(st.one_of(st.text(max_size=30), st.text(alphabet='0123456789.-+()[], "ex', max_size=25)))
@SEARCH
def test_no_text_crashes(text: str) -> None:
    for axis in AXES:
        try:
            values = axis.values(text)
        except InvalidRequest:
            continue
        assert values or axis.name == "Nothing"
        assert all(isinstance(axis.legend(value), str) for value in values[:3])


@given(st.lists(st.text(alphabet='ab ,"é', min_size=1, max_size=5).map(str.strip), min_size=1, max_size=5))
@SEARCH
def test_a_list_that_is_written_is_read_back(items: list[str]) -> None:
    quoted = [item.replace('"', '""') for item in items]
    assert listed(", ".join(f'"{item}"' for item in quoted)) == items


def put(axis: str, text: str, request: GenerationRequest = REQUEST) -> list[GenerationRequest]:
    found = find_axis(axis)
    values = found.values(text)
    return [found.apply(request, value, values) for value in values]


def test_every_axis_changes_its_value() -> None:
    whole = replace(
        REQUEST, hires=HiresFix(), refiner=Refiner(checkpoint="x"), variation=Variation(), sampler="Euler", seed=1
    )
    pictured = replace(whole, hires=None, init=PICTURE)
    texts = {"Size": "96x64", "Prompt S/R": "red,blue", "Prompt order": 'red,"calm sea"', "VAE": "None", "Seed": "3"}
    names = {"Sampler": "Heun", "Hires sampler": "Heun", "Schedule type": "karras", "RNG source": "CPU"}
    flags = dict.fromkeys(("Always discard next-to-last sigma", "SGM noise multiplier"), "true")
    values = {**texts, **names, **flags, "Hires upscaler": "Lanczos", "Checkpoint name": "b"}
    for axis in AXES[1:]:
        picture = axis.name in ("Image CFG Scale", "Cond. Image Mask Weight", "Initial noise multiplier")
        default = "0.5" if axis.read is numbers else "5"
        asked = pictured if picture else whole
        text = "1.1" if axis.name == "CFG Scale" else "r" if axis.name == "Refiner checkpoint" else default
        *_, changed = put(axis.name, values.get(axis.name, text), asked)
        assert changed != asked, axis.name
        assert GenerationRequest.from_json(changed.to_json()) == changed


def test_what_axes_do() -> None:
    assert [request.steps for request in put("Steps", "10-12")] == [10, 11, 12]
    assert put("Denoising", "0.4", replace(REQUEST, init=PICTURE))[0].init == replace(PICTURE, denoising_strength=0.4)
    old = put("Sampler", "DPM++ 2M SDE Karras, euler a")
    assert [(each.sampler, each.schedule) for each in old] == [("DPM++ 2M SDE", "Karras"), ("Euler a", "Automatic")]
    assert put("Refiner checkpoint", "x, None")[0].refiner == Refiner(checkpoint="x")
    assert put("Refiner checkpoint", "x, None")[1].refiner is None
    replaced = put("Prompt S/R", '"red",blue,"green, deep"')
    assert [each.prompt for each in replaced] == [f"a {word} boat, calm sea" for word in ("red", "blue", "green, deep")]
    assert [each.negative_prompt for each in replaced] == ["red sky", "blue sky", "green, deep sky"]
    assert put("Prompt S/R", "a red ,")[1].prompt == " boat, calm sea"
    ordered = put("Prompt order", "boat, sea, red")
    assert [each.prompt for each in ordered][:3] == [
        "a boat sea, calm red",
        "a boat red, calm sea",
        "a sea boat, calm red",
    ]
    assert len(ordered) == 6


@pytest.mark.parametrize(
    ("axis", "text", "sentence"),
    [
        ("Prompt S/R", "cat,dog", "Prompt S/R did not find 'cat' in prompt or negative prompt."),
        ("Prompt S/R", ",dog", "Prompt S/R has no values"),
        ("Prompt order", "boat,cat", "Prompt order did not find 'cat' in the prompt."),
        ("Prompt order", "boat,oat", "stand in one another"),
        ("Steps", "200", "Sampling steps must be from 1 to 150, not 200."),
        ("Steps", " ", "Steps has no values"),
        ("Size", "512", "Size has the value '512', which is no size such as 512x768."),
        ("Size", "65x64", "Width 65 is not a multiple of 8; 64 or 72 would do."),
        ("Sampler", "Eulr", "There is no sampler called 'Eulr'; did you mean"),
        ("Schedule type", "Karas", "did you mean Karras"),
        ("RNG source", "TPU", "random number generator source called 'TPU'"),
        ("SGM noise multiplier", "perhaps", "can be True or False, not 'perhaps'"),
        ("Hires steps", "5", "Hires steps cannot be plotted here: switch hires fix on."),
        ("Denoising", "0.5", "begin with a picture, or switch hires fix on"),
        ("Cond. Image Mask Weight", "0.5", "paint a mask|begin with a picture"),
        ("Refiner switch at", "0.5", "Refiner switch at cannot be plotted here: choose a refiner."),
        ("Token merging ratio", "0.5", "Token merging ratio cannot be plotted: tokens are not merged."),
        ("Step", "0.5", "There is no axis called 'Step'; did you mean Steps"),
    ],
)
def test_what_an_axis_cannot_do_gets_a_sentence(axis: str, text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        put(axis, text)


def test_axes_have_a1111s_names_and_can_be_filled() -> None:
    assert {"Var. seed", "CFG Scale", "Sigma Churn", "Cond. Image Mask Weight"} <= {axis.name for axis in AXES}
    assert not set(ELSEWHERE) & {axis.name for axis in AXES}
    assert find_axis("cfg scale").name == "CFG Scale"
    models = {Kind.CHECKPOINT: ["a", "b"], Kind.VAE: ["v"], Kind.UPSCALER: ["u"]}
    filled = {axis.name: choices_of(axis, models.__getitem__) for axis in AXES}
    assert filled["Checkpoint name"] == ["a", "b"]
    assert filled["VAE"] == ["Automatic", "None", "v"]
    assert filled["Hires upscaler"][-1] == "u"
    assert filled["Steps"] == []
    for axis in AXES:  # what it is filled with are values it has
        assert all(axis.values(choice) for choice in filled[axis.name])


def test_a_plot_has_slow_axes_outermost() -> None:
    plot = Plot(
        x=Plotted(axis="Checkpoint name", values="a, b"),
        y=Plotted(axis="Steps", values="5,6"),
        z=Plotted(axis="CFG Scale", values="2, 3"),
    )
    cells = plot.grid(REQUEST).cells
    made = [(cell.request.checkpoint, cell.request.cfg_scale, cell.request.steps) for cell in cells]
    assert made == [(name, scale, steps) for name in "ab" for scale in (2, 3) for steps in (5, 6)]
    assert [(cell.x, cell.y, cell.z) for cell in cells][:3] == [(0, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert cost_of_grid(plot.grid(REQUEST)).checkpoint_loads == 2


def test_axes_that_need_others_come_after_them() -> None:
    plot = Plot(x=Plotted(axis="Refiner switch at", values="0.5"), y=Plotted(axis="Refiner checkpoint", values="other"))
    assert plot.grid(REQUEST).cells[0].request.refiner == Refiner(checkpoint="other", switch_at=0.5)
    plot = Plot(x=Plotted(axis="Schedule type", values="Beta"), y=Plotted(axis="Sampler", values="DPM++ 2M Karras"))
    assert plot.grid(REQUEST).cells[0].request.schedule == "Beta"


def test_seeds_of_a_plot() -> None:
    steps = Plotted(axis="Steps", values="5-7")
    chance = replace(REQUEST, seed=-1)
    one = {cell.request.seed for cell in Plot(x=steps).grid(chance).cells}
    assert len(one) == 1
    assert min(one) >= 0
    assert {cell.request.seed for cell in Plot(x=steps, keep_random=True).grid(chance).cells} == {-1}
    grid = Plot(x=Plotted(axis="Seed", values="5, -1, -1")).grid(REQUEST)
    assert grid.x.fixed[0] == 5
    assert grid.x.fixed == tuple(cell.request.seed for cell in grid.cells)
    assert grid.x.fixed[1] != grid.x.fixed[2]
    assert grid.pairs()["Fixed X Values"] == ", ".join(map(str, grid.x.fixed))
    kept = Plot(x=Plotted(axis="Seed", values="5, -1"), keep_random=True).grid(REQUEST)
    assert ([cell.request.seed for cell in kept.cells], kept.x.fixed) == ([5, -1], ())
    varied = Plot(x=steps, y=Plotted(axis="CFG Scale", values="2,3"), vary_x=True, vary_y=True).grid(REQUEST)
    assert [cell.request.seed for cell in varied.cells] == [7, 8, 9, 10, 11, 12]
    strength = Plot(x=Plotted(axis="Var. strength", values="0, 0.5")).grid(REQUEST)
    parts = [cell.request.variation for cell in strength.cells]
    assert [part.strength for part in parts if part] == [0.0, 0.5]
    assert len({part.seed for part in parts if part}) == 1
    assert all(part.seed >= 0 for part in parts if part)


def test_a_plot_that_is_too_large_gets_a_sentence() -> None:
    many = Plotted(axis="Seed", values="1-40")
    with pytest.raises(InvalidRequest, match="This plot would have 1,600 pictures; 1,000 are allowed"):
        Plot(x=many, y=replace(many, axis="Steps")).grid(REQUEST)
    large = Plot(x=many, y=Plotted(axis="Steps", values="1-10")).grid(replace(REQUEST, width=1024, height=1024))
    with pytest.raises(InvalidRequest, match=r"would have 419 megapixels; 200 are allowed"):
        cost_of_grid(large)


def test_a_grid_is_read_back_as_it_was() -> None:
    plot = Plot(x=Plotted(axis="Prompt S/R", values='red,"a, b",é'), look=Look(margin=4, sub_grids=True))
    grid = replace(plot.grid(replace(REQUEST, init=PICTURE)), owner="me")
    grid = grid.with_jobs({cell.request.to_json(): f"job {cell.x}" for cell in grid.cells})
    assert [cell.job for cell in grid.cells] == ["job 0", "job 1", "job 2"]
    assert Grid.from_json(grid.to_json()) == grid
    assert grid.title == "X/Y/Z plot: Prompt S/R"
    assert dict(grid.pairs()) == {"Script": "X/Y/Z plot", "X Type": "Prompt S/R", "X Values": 'red,"a, b",é'}
    for text in ("", "{}", "[]", "7", grid.to_json().replace('"schema": 1', '"schema": 2'), grid.to_json()[:-9]):
        with pytest.raises(InvalidRequest, match=r"\.$"):
            Grid.from_json(text)
    with pytest.raises(InvalidRequest, match="lies on none of its lines"):
        replace(grid, x=replace(grid.x, legends=((),)))
    with pytest.raises(InvalidRequest, match="Grid margins"):
        Look(margin=501)


def test_the_request_of_a_drawing_is_read_back_and_names_no_other_place() -> None:
    request = GridRequest(
        place="2026-11-22/101010-00ff00ff", title="X/Y/Z plot: Steps", base=replace(REQUEST, init=PICTURE)
    )
    assert GridRequest.from_json(request.to_json()) == request
    assert request.inputs == PICTURE.inputs
    assert not GridRequest.wrote(REQUEST.to_json())
    for place in ("", "../../x", "2026-11-22/101010-00ff00ff/..", "2026-11-22/101010-00ff00ff\n", "/etc", 7):
        with pytest.raises(InvalidRequest, match="There is no grid at"):
            replace(request, place=place)
    for text in ("{", "[]", REQUEST.to_json(), '{"kind": "grid"}'):
        with pytest.raises(InvalidRequest, match=r"\.$"):
            GridRequest.from_json(text)


def test_a_prompt_matrix_has_every_combination() -> None:
    grid = Matrix().grid(replace(REQUEST, prompt="a boat|red|, at dusk ,|large", batch_size=4))
    assert [cell.request.prompt for cell in grid.cells] == [
        "a boat",
        "a boat, red",
        "a boat, at dusk",
        "a boat, red, at dusk",
        "a boat, large",
        "a boat, red, large",
        "a boat, at dusk, large",
        "a boat, red, at dusk, large",
    ]
    assert [(cell.x, cell.y) for cell in grid.cells] == [(k % 4, k // 4) for k in range(8)]
    assert {cell.request.pictures for cell in grid.cells} == {1}
    assert grid.x.legends[1] == (Line(text="red"), Line(text="at dusk", active=False))
    assert grid.y.legends[1] == (Line(text="large"),)
    turned = Matrix(at_start=True, different_seeds=True, prompt="negative", joiner="space")
    cells = turned.grid(replace(REQUEST, negative_prompt="fog|rain")).cells
    assert [(cell.request.negative_prompt, cell.request.seed) for cell in cells] == [("fog", 7), ("rain fog", 8)]
    assert parts_of("a [b|c] {d|e}|f") == ["a [b|c] {d|e}", "f"]
    with pytest.raises(InvalidRequest, match=r"has no \| in it"):
        Matrix().grid(REQUEST)
    with pytest.raises(InvalidRequest, match="10 optional parts have 1,024 combinations; 1,000 are allowed"):
        Matrix().grid(replace(REQUEST, prompt="a|" * 10))


def test_a_list_of_prompts() -> None:
    text = """
a cat
--prompt "a dog" --negative_prompt rain and fog --steps 7 --cfg_scale 3.5
--prompt a bird in flight --sampler_name "DPM++ 2M Karras" --seed 9 --width 96 --sd_model other --tiling true
--subseed 4 --subseed_strength 0.5 --n_iter 3 --batch_size 2 --seed_resize_from_w 96 --seed_resize_from_h 64
"""
    cat, dog, bird, plain = PromptLines(text=text, iterate=True).requests(REQUEST, NO_STYLES).requests
    assert cat == replace(REQUEST, prompt="a cat a red boat, calm sea")
    assert dog == replace(
        REQUEST,
        prompt="a dog a red boat, calm sea",
        negative_prompt="rain and fog red sky",
        steps=7,
        cfg_scale=3.5,
        seed=8,
    )
    assert (bird.prompt, bird.sampler, bird.schedule) == ("a bird in flight a red boat, calm sea", "DPM++ 2M", "Karras")
    assert (bird.seed, bird.width, bird.checkpoint, bird.tiling) == (9, 96, "other", True)
    assert (plain.prompt, plain.seed, plain.pictures) == (REQUEST.prompt, 10, 6)
    assert (plain.variation, plain.seed_resize) == (Variation(seed=4, strength=0.5), (96, 64))
    ends = PromptLines(text="a cat", place="end").requests(REQUEST, NO_STYLES).requests
    assert ends[0].prompt == "a red boat, calm sea a cat"
    assert PromptLines(text="a cat").requests(GenerationRequest(), NO_STYLES).requests[0].prompt == "a cat"
    chance = replace(REQUEST, seed=-1)
    assert {each.seed for each in PromptLines(text="a\nb").requests(chance, NO_STYLES).requests} == {-1}
    same = {each.seed for each in PromptLines(text="a\nb", same_seed=True).requests(chance, NO_STYLES).requests}
    assert len(same) == 1
    assert min(same) >= 0


def test_styles_are_put_on_in_plots_and_lists(tmp_path: Path) -> None:
    styles = Styles(tmp_path)
    styles.save(Style(name="ink", prompt="{prompt}, ink", negative_prompt="photo"))
    styles.save(Style(name="old", prompt="old"))
    base = replace(REQUEST, hires=HiresFix(prompt="a ship"))
    plot = Plot(x=Plotted(axis="Styles", values='ink, "old, ink"'), y=Plotted(axis="Prompt S/R", values="red, blue"))
    grid = plot.grid(base, [styles_axis(styles)])
    assert [cell.request.prompt for cell in grid.cells] == [
        f"a {colour} boat, calm sea{words}" for colour in ("red", "blue") for words in (", ink", ", old, ink")
    ]
    first = grid.cells[0].request
    assert first.hires is not None
    assert (first.negative_prompt, first.hires.prompt) == ("red sky, photo", "a ship, ink")
    assert first.hires.negative_prompt == ""  # as in the first pass, which has the words
    assert [line.text for (line,) in grid.x.legends] == ["ink", "old, ink"]
    assert choices_of(styles_axis(styles), lambda _kind: ()) == ["ink", "old"]
    (listed_one,) = (
        PromptLines(text='--prompt "a cat" --styles "old, ink"').requests(REQUEST, Planning(styles=styles)).requests
    )
    assert listed_one.prompt == "a cat a red boat, calm sea, old, ink"
    with pytest.raises(InvalidRequest, match="no style called 'oil'"):
        replace(plot, x=Plotted(axis="Styles", values="oil")).grid(REQUEST, [styles_axis(styles)])
    with pytest.raises(InvalidRequest, match="no axis called 'Styles'"):
        plot.grid(REQUEST)


def test_flags_that_do_nothing_are_said() -> None:
    listed = PromptLines(text="--prompt a --outpath_samples x\n--prompt b --outpath_samples y --restore_faces false")
    assert listed.requests(REQUEST, NO_STYLES).remarks == (
        "--outpath_samples is left out: pictures go where Settings say.",
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--promt a", "Line 2: There is no flag called 'promt'; did you mean prompt"),
        ("--ar 16:9", "There is no flag called 'ar'"),
        ("a dog --steps 5", "Line 2: 'a' stands where a flag should: write --prompt"),
        ("--steps many", "--steps needs a whole number, not 'many'"),
        ("--cfg_scale x", "--cfg_scale needs a number, not 'x'"),
        ("--steps", "--steps has no value"),
        ("--steps 500", "Line 2: Sampling steps must be from 1 to 150"),
        ("--prompt it's -- odd", "cannot be read"),
        ("--prompt a --restore_faces true", "there is no face restoration"),
        ("--styles x", "There is no style called 'x'"),
        ("--sampler_name Eulr", "There is no sampler called 'Eulr'"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        PromptLines(text=f"a cat\n{line}").requests(REQUEST, NO_STYLES)


def test_a_list_that_is_empty_or_too_long_gets_a_sentence() -> None:
    with pytest.raises(InvalidRequest, match="no prompts"):
        PromptLines(text=" \n").requests(REQUEST, NO_STYLES)
    with pytest.raises(InvalidRequest, match="more than 1,000 prompts"):
        PromptLines(text="a\n" * 1001).requests(REQUEST, NO_STYLES)


@given(st.lists(st.one_of(st.sampled_from(["--prompt", "--steps", "5", '"', "'", " ", "--"]), st.text(max_size=5))))
@SEARCH
def test_no_line_crashes(words: list[str]) -> None:
    line = " ".join(words)
    try:
        found = read_line(line)
    except InvalidRequest:
        return
    assert found == read_line(line)


def test_what_requests_cost() -> None:
    plain = replace(REQUEST, steps=10, sampler="Euler", batch_size=2, width=100 * 8, height=125 * 8)
    cost = cost_of([plain, replace(plain, sampler="Heun", checkpoint="b"), replace(plain, checkpoint="b")])
    assert (cost.pictures, cost.steps, cost.checkpoint_loads) == (6, 2 * (10 + 19 + 10), 2)
    assert cost.megapixel_steps == pytest.approx(78 * 0.8)
    assert cost.sentence == "6 pictures, 78 steps, 62.4 megapixel steps, 2 checkpoint loads."
    hires = replace(plain, batch_size=1, hires=HiresFix(scale=2, steps=5, checkpoint="b"))
    assert cost_of([hires]).steps == 15
    assert cost_of([hires]).megapixel_steps == pytest.approx(0.8 * 10 + 3.2 * 5)
    assert cost_of([hires]).checkpoint_loads == 2
    pictured = replace(plain, batch_size=1, init=replace(PICTURE, denoising_strength=0.5))
    assert cost_of([pictured]).steps == 6
    alike = Plot(x=Plotted(axis="Steps", values="5,5,6")).grid(REQUEST)
    assert cost_of_grid(alike).pictures == 2
    assert cost_of_grid(alike).sheet == pytest.approx(3 * 64 * 128 / 1e6)


def test_options_are_checked() -> None:
    wrong: list[tuple[type[Params], dict[str, Any]]] = [
        (XyzPlot, {"no_fixed_seeds": 7}),
        (XyzPlot, {"x_type": True}),
        (XyzPlot, {"margin_size": None}),
        (Matrix, {"prompt": "both"}),
        (Matrix, {"joiner": ";"}),
        (Matrix, {"joined": ";"}),
        (PromptLines, {"text": "a", "place": "middle"}),
        (PromptLines, {"text": 7}),
    ]
    for kind, values in wrong:
        with pytest.raises(InvalidRequest, match=r"\.$"):
            read_params(kind, values)
    with pytest.raises(InvalidRequest, match=r"\.$"):
        Look(legend=None)  # pyright: ignore[reportArgumentType]
