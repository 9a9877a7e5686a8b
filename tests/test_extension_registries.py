"""What extensions bring for the tables: chosen by name as ours, called with their name, and gone when they are off."""

# ruff: noqa: ARG001, ARG005  each function has the signature of its kind

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from backend.app import App
from backend.errors import InvalidRequest, Stopped, UserError
from backend.events import Event, Failed, Finished, ImageReady
from backend.extension_api import Params, Token
from backend.extensions import brought
from backend.extensions.brought import Brought
from backend.extensions.calls import Calls
from backend.extensions.extension import Extension, ExtensionFault
from backend.extensions.log import ExtensionLog
from backend.extensions.tables import put_in, tokens_in
from backend.grids.axes import find_axis
from backend.imaging.upscale import ENLARGERS
from backend.infotext.read import read_infotext
from backend.init_image import HiresFix
from backend.prompt.grammar import EXTRA_NETWORKS, read_prompt
from backend.request import GenerationRequest
from backend.sampling.guidance import GUIDANCE, find_guidance
from backend.sampling.plan import steps_taken
from backend.sampling.samplers import SAMPLER_NAMES, SAMPLERS, find_sampler, split_name
from backend.sampling.schedules import SCHEDULES, find_schedule, schedule_names
from backend.sampling.solvers import Noise, OnStep, sample_euler
from backend.sampling_options import Guidance, SamplingOptions
from backend.server.sdapi import listings
from backend.settings import Settings
from backend.upscaling.operations import OPERATIONS
from backend.upscaling.request import UpscaleRequest
from ui.fields import FIELDS, OPTIONS
from ui.form import Form

REQUEST = GenerationRequest(
    prompt="a red circle", checkpoint="tiny", width=64, height=64, steps=3, seed=1, sampler="Euler"
)
Put = Callable[..., Callable[[], None]]


class Tint(Params):
    strength: float = Field(0.5, ge=0, le=1, title="How strong")
    colour: str = "red"


def tinted(picture: Image.Image, params: Tint) -> Image.Image:
    return Image.blend(picture.convert("RGB"), Image.new("RGB", picture.size, params.colour), params.strength)


def own_euler(
    denoise: Callable[[Tensor, float], Tensor], x: Tensor, sigmas: Sequence[float], *, noise: Noise, on_step: OnStep
) -> Tensor:
    for number, (sigma, after) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        on_step(number, denoised)
        x = denoised + (x - denoised) * (after / sigma)
    return x


def as_cfg(cond: Tensor, uncond: Tensor, scale: float, x: Tensor, sigma: float) -> Tensor:
    return uncond + scale * (cond - uncond)


def halving(steps: int, lowest: float, highest: float) -> list[float]:
    return [highest * (lowest / highest) ** (k / max(1, steps - 1)) for k in range(steps)]


@pytest.fixture
def put(tmp_path: Path) -> Iterator[Put]:
    """Put what an extension of that id brings into the tables; all of it is taken out in the end."""
    undone: list[Callable[[], None]] = []

    def put(id: str = "mine", *, calls: Calls | None = None, **brings: Any) -> Callable[[], None]:
        folder = tmp_path / "extensions" / id
        extension = Extension(id=id, folder=folder, data_dir=folder, log=ExtensionLog(id, folder))
        extension.brought = Brought(**brings)
        undone.append(put_in(extension, calls or Calls()))
        return undone[-1]

    yield put
    for undo in undone:
        undo()


def outcome(app: App, request: GenerationRequest | UpscaleRequest) -> tuple[list[ImageReady], Event]:
    events = list(app.queue.submit(request, "me").follow())
    return [event for event in events if isinstance(event, ImageReady)], events[-1]


def pixels(ready: Sequence[ImageReady]) -> np.ndarray:
    with Image.open(ready[0].path) as picture:
        return np.asarray(picture.convert("RGB"))


def put_picture(app: App, size: tuple[int, int] = (64, 48)) -> str:
    data = io.BytesIO()
    Image.new("RGB", size, "blue").save(data, "PNG")
    return app.inputs.put(data.getvalue()).name


# --- samplers ---


def test_a_sampler_makes_pictures_and_goes_with_its_extension(app: App, put: Put) -> None:
    undo = put(samplers=[brought.Sampler(name="Own Euler", sample=own_euler, aliases=("own_euler",))])
    assert find_sampler("OWN_EULER").name == "Own Euler"
    assert split_name("Own Euler Karras")[1] is SCHEDULES["Karras"]
    (mine, end), (ours, _) = outcome(app, replace(REQUEST, sampler="own euler")), outcome(app, REQUEST)
    assert end == Finished()
    # The same algorithm in another order of additions.
    assert np.abs(pixels(mine).astype(int) - pixels(ours)).max() <= 1
    assert "Sampler: Own Euler" in mine[0].infotext
    undo()
    assert tuple(SAMPLERS) == SAMPLER_NAMES
    with pytest.raises(InvalidRequest, match="'Own Euler' comes with the extension mine, which is off: switch it on"):
        app.prepare(replace(REQUEST, sampler="Own Euler"))
    with pytest.raises(InvalidRequest, match="There is no sampler called 'Owned'"):
        find_sampler("Owned")


def test_a_sampler_of_second_order_counts_its_calls_so(put: Put) -> None:
    put(samplers=[brought.Sampler(name="Twice", sample=own_euler, second_order=True)])
    row = find_sampler("Twice")
    assert row.evaluations is not None
    assert (row.second_order, row.evaluations(10)) == (True, 19)


def raising(denoise: Any, x: Tensor, sigmas: Any, *, noise: Any, on_step: Any) -> Tensor:
    raise ValueError("no such thing")


def too_small(denoise: Any, x: Tensor, sigmas: Any, *, noise: Any, on_step: Any) -> Tensor:
    return x[..., :2]


def nothing(denoise: Any, x: Tensor, sigmas: Any, *, noise: Any, on_step: Any) -> Any:
    return None


def no_number(denoise: Any, x: Tensor, sigmas: Any, *, noise: Any, on_step: Any) -> Tensor:
    return denoise(x, sigmas[0]) * float("nan")


@pytest.mark.parametrize(
    ("sample", "sentence"),
    [
        (raising, "mine failed in the sampler Bad: ValueError: no such thing."),
        (too_small, "mine: it must return a tensor of the shape (1, 4, 8, 8), not one of (1, 4, 8, 2)."),
        (nothing, "mine: it must return a tensor of the shape (1, 4, 8, 8), not NoneType."),
        (no_number, "mine: the sampler Bad made something that is not a number of what is."),
    ],
)
def test_a_sampler_that_fails_is_named_and_leaves_other_pictures_alone(
    app: App, put: Put, sample: Any, sentence: str
) -> None:
    before, _ = outcome(app, REQUEST)
    put(samplers=[brought.Sampler(name="Bad", sample=sample)])
    made, end = outcome(app, replace(REQUEST, sampler="Bad"))
    assert isinstance(end, Failed)
    assert end.message.startswith(sentence)
    assert not made
    after, _ = outcome(app, REQUEST)
    assert before[0].path.read_bytes() == after[0].path.read_bytes()


def test_what_the_denoiser_raises_is_no_fault_of_the_sampler(put: Put) -> None:
    put(samplers=[brought.Sampler(name="Own", sample=own_euler)])
    x, levels = torch.ones(1, 4, 8, 8), [2.0, 1.0, 0.0]
    sample = find_sampler("Own").solver(SamplingOptions())

    def refuse(_x: Tensor, _sigma: float) -> Tensor:
        raise FloatingPointError("ours")

    def stop(_number: int, _denoised: Tensor) -> None:
        raise Stopped

    with pytest.raises(FloatingPointError, match="ours"):
        sample(refuse, x, levels, noise=lambda _a, _b: x, on_step=stop)
    with pytest.raises(Stopped):
        sample(lambda x, _sigma: x, x, levels, noise=lambda _a, _b: x, on_step=stop)


def test_the_clock_of_a_sampler_stands_still_while_the_network_computes(put: Put) -> None:
    calls, late = Calls(lambda: 0.05), []
    put(samplers=[brought.Sampler(name="Own", sample=own_euler)], calls=calls)
    x = torch.ones(1, 4, 8, 8)

    def slow(x: Tensor, _sigma: float) -> Tensor:
        time.sleep(0.1)
        late.extend(calls.overdue())
        return x

    find_sampler("Own").solver(SamplingOptions())(
        slow, x, [2.0, 1.0, 0.0], noise=lambda _a, _b: x, on_step=lambda _number, _denoised: None
    )
    assert not late


def test_numbers_that_the_network_makes_wrong_are_not_the_samplers_fault(put: Put) -> None:
    put(samplers=[brought.Sampler(name="Own", sample=own_euler)])
    x = torch.ones(1, 4, 8, 8)
    made = find_sampler("Own").solver(SamplingOptions())(
        lambda x, _sigma: x * float("nan"),
        x,
        [2.0, 0.0],
        noise=lambda _a, _b: x,
        on_step=lambda _number, _denoised: None,
    )
    assert made.isnan().all()  # which the sampling notices and makes again more exactly


# --- schedules ---


def test_a_schedule_is_one_of_the_list_and_ends_at_zero(app: App, put: Put) -> None:
    undo = put(schedules=[brought.Schedule(name="Halving", levels=halving, aliases=("halves",))])
    assert "Halving" in schedule_names()
    assert find_schedule("HALVES").name == "Halving"
    (mine, end), (ours, _) = (
        outcome(app, replace(REQUEST, schedule=name, sampler="Euler")) for name in ("halving", "Exponential")
    )
    assert end == Finished()
    assert "Schedule type: Halving" in mine[0].infotext
    assert np.abs(pixels(mine).astype(int) - pixels(ours)).max() <= 1
    assert "Halving" in find_axis("Schedule type").choices(lambda _kind: [])  # type: ignore[misc]
    undo()
    with pytest.raises(InvalidRequest, match="comes with the extension mine, which is off"):
        find_schedule("Halving")


@pytest.mark.parametrize(
    "levels",
    [
        lambda steps, lowest, highest: [highest, lowest],
        lambda steps, lowest, highest: [lowest] * steps,
        lambda steps, lowest, highest: [0.0] * steps,
        lambda steps, lowest, highest: [float("nan")] * steps,
        lambda steps, lowest, highest: None,
    ],
)
def test_levels_that_cannot_be_sampled_are_refused(put: Put, levels: Any) -> None:
    put(schedules=[brought.Schedule(name="Bad", levels=levels)])
    with pytest.raises(ExtensionFault, match=r"^mine(:| failed)"):
        steps_taken(find_sampler("Euler"), "Bad", 5)


def test_a_schedule_is_asked_once_for_the_same_levels(put: Put) -> None:
    asked = []

    def levels(steps: int, lowest: float, highest: float) -> list[float]:
        asked.append(steps)
        return halving(steps, lowest, highest)

    put(schedules=[brought.Schedule(name="Counted", levels=levels)])
    assert steps_taken(find_sampler("Euler"), "Counted", 5) == steps_taken(find_sampler("Euler"), "Counted", 5) == 5
    assert asked == [5]


# --- guidance ---


def test_a_guidance_method_takes_the_place_of_cfg(app: App, put: Put) -> None:
    def colder(cond: Tensor, uncond: Tensor, scale: float, x: Tensor, sigma: float) -> Tensor:
        return cond

    put(
        guidances=[
            brought.GuidanceMethod(name="As CFG", guide=as_cfg),
            brought.GuidanceMethod(name="None at all", guide=colder),
        ]
    )
    asked = [replace(REQUEST, guidance=Guidance(method=name)) for name in ("as cfg", "None at all")]
    (same, end), (other, _), (ours, _) = outcome(app, asked[0]), outcome(app, asked[1]), outcome(app, REQUEST)
    assert end == Finished()
    assert np.abs(pixels(same).astype(int) - pixels(ours)).max() <= 1
    assert (pixels(other) != pixels(ours)).any()
    assert dict(read_infotext(same[0].infotext).pairs)["Guidance method"] == "As CFG"
    assert "Guidance method" not in ours[0].infotext
    again = GenerationRequest.from_json(same[0].request)
    assert again.guidance.method == "As CFG"


def test_a_guidance_method_that_makes_no_numbers_is_named(app: App, put: Put) -> None:
    def broken(cond: Tensor, uncond: Tensor, scale: float, x: Tensor, sigma: float) -> Tensor:
        return cond * float("nan")

    put(guidances=[brought.GuidanceMethod(name="Broken", guide=broken)])
    made, end = outcome(app, replace(REQUEST, guidance=Guidance(method="Broken")))
    assert made == []
    assert isinstance(end, Failed)
    assert end.message == "mine: the guidance Broken made something that is not a number of what is."


def test_usual_guidance_is_not_said_and_an_unknown_one_is_refused(app: App) -> None:
    assert "method" not in REQUEST.to_json()
    assert GenerationRequest.from_json(REQUEST.to_json()) == REQUEST
    with pytest.raises(InvalidRequest, match="There is no guidance method called 'Warmer'"):
        app.prepare(replace(REQUEST, guidance=Guidance(method="Warmer")))
    assert find_guidance("cfg").combine is None


def test_the_list_of_guidance_methods_is_only_seen_where_there_are_several(put: Put) -> None:
    def choices() -> Any:
        form: Any = Form("txt2img", Settings(), {}, (*FIELDS, *OPTIONS))
        return form.place("guidance.method").choices

    assert [value for _, value in choices()] == ["CFG"]
    put(guidances=[brought.GuidanceMethod(name="As CFG", guide=as_cfg)])
    assert [value for _, value in choices()] == ["CFG", "As CFG"]


# --- upscalers and operations ---


def test_an_upscaler_enlarges_in_extras_and_its_size_is_held_against_it(app: App, put: Put) -> None:
    def mosaic(picture: Image.Image, width: int, height: int) -> Image.Image:
        return picture.resize((8, 8)).resize((width, height), Image.Resampling.NEAREST)

    undo = put(
        upscalers=[
            brought.Upscaler(name="Mosaic", upscale=mosaic),
            brought.Upscaler(name="Short", upscale=lambda picture, width, height: picture),
        ]
    )
    assert "Mosaic" in app.upscalers.names()
    request = UpscaleRequest(inputs=(put_picture(app),), upscaler="mosaic", scale=2)
    made, end = outcome(app, request)
    assert end == Finished()
    assert (made[0].width, made[0].height) == (128, 96)
    assert "Postprocess upscaler: Mosaic" in made[0].infotext
    _, end = outcome(app, replace(request, upscaler="Short"))
    assert isinstance(end, Failed)
    assert end.message == "mine: the upscaler Short was asked for 128 x 96 pixels and made 64 x 48."
    assert "Mosaic" in find_axis("Hires upscaler").choices(lambda _kind: [])  # type: ignore[misc]
    undo()
    assert not ENLARGERS
    with pytest.raises(InvalidRequest, match="comes with the extension mine, which is off"):
        app.prepare(request)


def test_hires_fix_takes_an_upscaler_of_an_extension(app: App, put: Put) -> None:

    put(
        upscalers=[
            brought.Upscaler(name="Plain", upscale=lambda picture, width, height: picture.resize((width, height)))
        ]
    )
    made, end = outcome(app, replace(REQUEST, hires=HiresFix(upscaler="plain", scale=2, denoising_strength=0.5)))
    assert end == Finished()
    assert "Hires upscaler: Plain" in made[0].infotext


def test_operations_are_done_to_the_enlarged_picture(app: App, put: Put) -> None:
    undo = put(operations=[brought.Operation(name="Tint", operate=tinted, kind=Tint)])
    request = UpscaleRequest(inputs=(put_picture(app),), upscaler="None", scale=1, operations={"tint": {"strength": 1}})
    assert UpscaleRequest.from_json(request.to_json()) == request
    assert request.prompt == "Upscale 1 times with None, then tint"
    made, end = outcome(app, request)
    assert end == Finished()
    assert (pixels(made) == (255, 0, 0)).all()
    assert "Postprocess Tint: strength: 1.0" in made[0].infotext.replace('"', "")
    assert UpscaleRequest.from_json(made[0].request).operations == {"Tint": {"strength": 1.0, "colour": "red"}}
    undo()
    with pytest.raises(InvalidRequest, match="The image operation 'tint' comes with the extension mine"):
        app.prepare(request)


def test_an_operations_values_are_checked_at_the_door(app: App, put: Put) -> None:
    put(operations=[brought.Operation(name="Tint", operate=tinted, kind=Tint)])
    name = put_picture(app)
    for values, sentence in (
        ({"strength": 3}, r"Tint: How strong is 3: "),
        ({"depth": 1}, r"Tint: depth is 1: "),
    ):
        with pytest.raises(InvalidRequest, match=sentence):
            app.prepare(UpscaleRequest(inputs=(name,), operations={"Tint": values}))
    with pytest.raises(InvalidRequest, match="must be an object"):
        UpscaleRequest(inputs=(name,), operations={"Tint": 3})  # type: ignore[dict-item]
    assert "operations" not in UpscaleRequest(inputs=(name,)).to_json()
    with pytest.raises(InvalidRequest, match="An upscaler must be chosen"):
        UpscaleRequest(inputs=(name,), upscaler="None")


def test_an_operation_that_fails_is_named(app: App, put: Put) -> None:
    def wrong(_picture: Image.Image, _params: Tint) -> Image.Image:
        raise RuntimeError("no paint")

    put(operations=[brought.Operation(name="Tint", operate=wrong, kind=Tint)])
    _, end = outcome(app, UpscaleRequest(inputs=(put_picture(app),), operations={"Tint": {}}))
    assert isinstance(end, Failed)
    assert end.message.startswith("mine failed in the operation Tint: RuntimeError: no paint.")


# --- tokens ---


def test_tokens_of_an_extension_are_cut_out_and_handed_to_it(app: App, put: Put) -> None:
    seen: list[Token] = []
    undo = put(extra_networks=[brought.ExtraNetwork(name="style", activate=lambda token, _turn: seen.append(token))])
    prompt = "a red <style:ink:0.5> circle<lora:none:0>"
    read = read_prompt(prompt)
    assert (read.text, len(read.loras), read.problems) == ("a red  circle", 1, ())
    (each,) = tokens_in(prompt)
    turn: Any = object()
    each.activate(each.token, turn)
    assert seen == [Token(name="style", arguments=("ink", "0.5"))]
    assert each.extension.id == "mine"
    (with_token, end), (plain, _) = (
        outcome(app, replace(REQUEST, prompt=prompt)) for prompt in ("a red circle<style:ink>", "a red circle")
    )
    assert end == Finished()
    assert (pixels(with_token) == pixels(plain)).all()
    undo()
    assert not tokens_in(prompt)
    with pytest.raises(InvalidRequest, match="The kind of token 'style' comes with the extension mine, which is off"):
        app.prepare(replace(REQUEST, prompt=prompt))


# --- names ---


@pytest.mark.parametrize(
    ("brings", "sentence"),
    [
        ({"samplers": [brought.Sampler(name="euler A", sample=own_euler)]}, "'euler A' already: it is Atelier's own"),
        ({"samplers": [brought.Sampler(name="E", sample=own_euler, aliases=("k_euler",))]}, "'k_euler' already"),
        ({"samplers": [brought.Sampler(name=" ", sample=own_euler)]}, "must have a name"),
        ({"schedules": [brought.Schedule(name="automatic", levels=halving)]}, "'automatic' already"),
        ({"guidances": [brought.GuidanceMethod(name="cfg", guide=as_cfg)]}, "'cfg' already"),
        ({"upscalers": [brought.Upscaler(name="Latent", upscale=lambda p, _w, _h: p)]}, "'Latent' already"),
        ({"extra_networks": [brought.ExtraNetwork(name="lora", activate=lambda _t, _u: None)]}, "'lora' already"),
        (
            {"extra_networks": [brought.ExtraNetwork(name="a b", activate=lambda _t, _u: None)]},
            "cannot be called 'a b'",
        ),
    ],
)
def test_a_name_that_is_taken_is_refused_and_nothing_is_left(put: Put, brings: dict[str, Any], sentence: str) -> None:
    before = put("first", operations=[brought.Operation(name="Before", operate=tinted, kind=Tint)])
    with pytest.raises(UserError, match=sentence):
        put(**{"schedules": [brought.Schedule(name="Good", levels=halving)], **brings})
    before()
    tables = (SCHEDULES, SAMPLERS, GUIDANCE, ENLARGERS, OPERATIONS, EXTRA_NETWORKS)
    assert not any(table.added() for table in tables)


def test_two_extensions_cannot_bring_one_name(put: Put) -> None:
    undo = put("one", samplers=[brought.Sampler(name="Same", sample=own_euler)])
    with pytest.raises(InvalidRequest, match="called 'same' already: the extension one brings it"):
        put("two", samplers=[brought.Sampler(name="same", sample=own_euler)])
    undo()
    put("two", samplers=[brought.Sampler(name="same", sample=own_euler)])


def test_programs_are_told_of_them_too(put: Put) -> None:
    put(
        samplers=[brought.Sampler(name="Own Euler", sample=own_euler)],
        schedules=[brought.Schedule(name="Halving", levels=halving)],
    )
    assert listings.samplers()[-1] == {"name": "Own Euler", "aliases": [], "options": {}}
    assert listings.schedulers()[-1]["label"] == "Halving"
    assert "Own Euler" in find_axis("Sampler").choices(lambda _kind: [])  # type: ignore[misc]


def test_a_default_is_one_of_ours(put: Put) -> None:
    put(samplers=[brought.Sampler(name="Own", sample=sample_euler)])
    with pytest.raises(ValueError, match="a default must be one of Atelier's own"):
        Settings(default_sampler="Own")
