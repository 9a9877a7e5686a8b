"""The parts of a request that begin with a picture: what is wrong is said, what is right comes through JSON."""

import dataclasses
import math
from typing import Any

import pytest

from backend.errors import InvalidRequest
from backend.init_image import Box, HiresFix, InitImage, Inpainting, SoftInpainting, TiledUpscale
from backend.prompt.template import Template
from backend.request import GenerationRequest, label
from backend.request_parts import PART_LABELS

NAME, MASK = "a" * 64, "b" * 64


def whole() -> GenerationRequest:
    inpainting = Inpainting(mask=MASK, mask_blur=9, soft=SoftInpainting(schedule_bias=2.5), colour_match=False)
    box = Box(left=-16, top=3, width=520, height=512)
    return GenerationRequest(init=InitImage(picture=NAME, sketch=MASK, box=box, inpainting=inpainting))


def tiled() -> GenerationRequest:
    upscale = TiledUpscale(upscaler="4x", scale=2.5, overlap=32)
    return GenerationRequest(init=InitImage(picture=NAME, upscale=upscale))


@pytest.mark.parametrize(
    "request_", [whole(), tiled(), GenerationRequest(hires=HiresFix(scale=1.5, prompt="finer: x"))]
)
def test_json_round_trip_is_lossless_all_the_way_down(request_: GenerationRequest) -> None:
    again = GenerationRequest.from_json(request_.to_json())
    assert again == request_
    assert hash(again) == hash(request_)


def test_a_request_from_words_alone_says_nothing_of_pictures() -> None:
    assert '"init"' not in GenerationRequest().to_json()
    assert GenerationRequest.from_values({"init": None, "hires": None}) == GenerationRequest()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"init": {}}, "init is not complete"),
        ({"init": {"picture": ""}}, "Picture is missing"),
        ({"init": {"picture": "../../etc/passwd"}}, "Picture must be the name of a picture that was put in"),
        ({"init": {"picture": NAME, "magic": 1}}, "There is no parameter called 'init.magic'"),
        ({"init": {"picture": NAME, "denoising_strength": 1.5}}, "Denoising strength must be from 0 to 1, not 1.5"),
        ({"init": {"picture": NAME, "denoising_strength": math.nan}}, "Denoising strength must be from 0 to 1"),
        ({"init": {"picture": NAME, "image_cfg_scale": 4}}, "Image CFG scale must be from 0 to 3, not 4"),
        ({"init": {"picture": NAME, "resize_mode": "Crop and resized"}}, "did you mean Crop and resize"),
        ({"init": {"picture": NAME, "box": {"left": 0}}}, "init.box is not complete"),
        ({"init": {"picture": NAME, "box": {"left": 0, "top": 0, "width": 0, "height": 8}}}, "Width of the box must"),
        ({"init": {"picture": NAME, "inpainting": {}}}, "Mask is missing"),
        ({"init": {"picture": NAME, "inpainting": {"mask": MASK, "mask_blur": 65}}}, "Mask blur must be from 0 to 64"),
        ({"init": {"picture": NAME, "inpainting": {"mask": MASK, "inverted": 1}}}, "Inpaint not masked must be true"),
        ({"init": {"picture": NAME, "inpainting": {"mask": MASK, "area": "Half"}}}, "no inpaint area called 'Half'"),
        (
            {"init": {"picture": NAME, "inpainting": {"mask": MASK, "soft": {"mask_influence": 2}}}},
            "Mask influence must be from 0 to 1, not 2",
        ),
        (
            {"init": {"picture": NAME, "inpainting": {"mask": MASK, "soft": {"magic": 2}}}},
            "There is no parameter called 'init.inpainting.soft.magic'",
        ),
        ({"init": {"picture": NAME, "upscale": 2}}, "init.upscale must be an object with named values"),
        ({"init": {"picture": NAME, "upscale": {"magic": 2}}}, "no parameter called 'init.upscale.magic'"),
        ({"init": {"picture": NAME, "upscale": {"upscaler": 4}}}, "Upscaler must be text, not 4"),
        ({"init": {"picture": NAME, "upscale": {"scale": 9}}}, "Upscale by must be from 1 to 8, not 9"),
        ({"init": {"picture": NAME, "upscale": {"overlap": 257}}}, "Tile overlap must be from 0 to 256, not 257"),
        ({"width": 64, "init": {"picture": NAME, "upscale": {}}}, "Tile overlap 64 is more than half of a tile"),
        (
            {"init": {"picture": NAME, "upscale": {}, "inpainting": {"mask": MASK}}},
            "Tiled upscale is for whole pictures: leave out inpainting",
        ),
        ({"init": "a picture"}, "init must be an object with named values"),
        ({"hires": {"scale": 5}}, "Upscale by must be from 1 to 4, not 5"),
        ({"hires": {"width": 100}}, "Resize width to 100 is not a multiple of 8; 96 or 104 would do"),
        ({"hires": {"height": 16}}, "Resize height to must be 0 or from 64"),
        ({"hires": {"cfg_scale": 0.5}}, "Hires CFG scale must be 0 or from 1"),
        ({"hires": {}, "init": {"picture": NAME}}, "Hires. fix is for pictures from words alone"),
    ],
)
def test_a_wrong_value_is_named_in_a_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        GenerationRequest.from_values(values)
    assert words in str(caught.value)
    assert str(caught.value)[-1] in ".?"


def test_every_field_of_every_part_has_its_words() -> None:
    parts = {
        "init": InitImage,
        "init.box": Box,
        "init.inpainting": Inpainting,
        "init.inpainting.soft": SoftInpainting,
        "init.upscale": TiledUpscale,
        "hires": HiresFix,
        "template": Template,
    }
    names = {f"{place}.{field.name}" for place, part in parts.items() for field in dataclasses.fields(part)}
    assert names == set(PART_LABELS)
    assert label("init.resize_mode") == "Resize mode"


def test_all_inputs_are_named() -> None:
    request = whole()
    assert request.init is not None
    assert request.init.inputs == (NAME, MASK, MASK)


def test_the_size_of_a_tiled_upscale() -> None:
    assert TiledUpscale(scale=1.5).target(33, 97) == (50, 146)  # to the nearest, and halves to the even one
    assert TiledUpscale(scale=8).target(2048, 1) == (16_384, 8)
    with pytest.raises(InvalidRequest, match="2,049 x 1 would become 16,392 x 8; 16,384 pixels along a side"):
        TiledUpscale(scale=8).target(2049, 1)


@pytest.mark.parametrize(
    ("hires", "target", "enlarged"),
    [
        (HiresFix(scale=2), (1024, 1536), (1024, 1536)),
        (HiresFix(scale=1.3), (664, 992), (664, 992)),
        (HiresFix(width=1024), (1024, 1536), (1024, 1536)),
        (HiresFix(height=1152), (768, 1152), (768, 1152)),
        (HiresFix(width=1024, height=1024), (1024, 1024), (1024, 1536)),
        (HiresFix(width=512, height=1536), (512, 1536), (1024, 1536)),
    ],
)
def test_the_size_of_the_second_pass(hires: HiresFix, target: tuple[int, int], enlarged: tuple[int, int]) -> None:
    assert hires.target(512, 768) == target
    assert hires.enlarged(512, 768) == enlarged


def test_latents_do_not_go_to_a_checkpoint_that_reads_them_otherwise() -> None:
    for hires, same in ((HiresFix(), True), (HiresFix(upscaler="Lanczos"), False)):
        hires.check_latents(same=same)
    with pytest.raises(InvalidRequest, match="Latent cannot go from one checkpoint to another of a different kind"):
        HiresFix().check_latents(same=False)
