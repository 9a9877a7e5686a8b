"""Finds faces, or what stands out, and repaints each with all of the picture's resolution: a nested generation that
inpaints *Only masked*. `detect` finds."""

from dataclasses import replace
from typing import Literal

import cv2
import numpy as np

from backend.extension_api import (
    ExtensionApi,
    Field,
    GenerationRequest,
    Image,
    InitImage,
    Inpainting,
    Params,
    PictureTurn,
    hook,
)

from .detect import YUNET, Region, regions

Detector = Literal["What stands out", "Ovals of skin", "Faces (YuNet)"]
_SHARE = "As a share of the picture"


class FaceDetail(Params):
    enabled: bool = Field(default=False, title="Enabled")
    detector: Detector = Field(default="What stands out", title="Detector")
    confidence: float = Field(default=0.3, ge=0, le=1, title="Least confidence", json_schema_extra={"step": 0.05})
    smallest: float = Field(
        default=0.005,
        ge=0,
        le=0.5,
        title="Smallest region",
        description=_SHARE,
        json_schema_extra={"step": 0.005},
    )
    largest: float = Field(
        default=0.5,
        ge=0.01,
        le=1,
        title="Largest region",
        description=_SHARE,
        json_schema_extra={"step": 0.01},
    )
    most: int = Field(default=3, ge=1, le=16, title="At most so many regions", description="The largest")
    strength: float = Field(default=0.4, ge=0, le=1, title="Denoising strength", json_schema_extra={"step": 0.05})
    prompt: str = Field(default="", title="Prompt", description="Empty: the picture's", json_schema_extra={"lines": 2})
    grow: int = Field(default=4, ge=-32, le=128, title="Grow the mask", description="Pixels; below 0 it shrinks")
    blur: int = Field(default=4, ge=0, le=64, title="Mask blur")
    padding: int = Field(default=32, ge=0, le=256, title="Padding", description="Pixels around it")


@hook
def register(api: ExtensionApi) -> None:
    api.params(FaceDetail)


@hook
def on_image(image: Image.Image, turn: PictureTurn) -> Image.Image | None:
    asked = turn.params(FaceDetail)
    found = [
        region
        for region in regions(image, asked.detector, turn.api.data_dir / YUNET)
        if region.confidence >= asked.confidence and asked.smallest <= region.share <= asked.largest
    ][: asked.most]
    turn.note("Face and detail regions", str(len(found)))
    if not found:
        turn.remark(f"{asked.detector}: nothing was found in picture {turn.index + 1}, so it is left as it is.")
        return None
    for region in found:
        turn.check()
        made = turn.generate(repainting(turn, image, region, asked))
        if not made:
            break
        image = made[0]
    return image


def repainting(turn: PictureTurn, image: Image.Image, region: Region, asked: FaceDetail) -> GenerationRequest:
    """The request that makes a region of the picture again, at the size of the whole."""
    inpainting = Inpainting(
        mask=turn.keep(Image.fromarray(grown(region.mask, asked.grow))),
        mask_blur=asked.blur,
        area="Only masked",
        padding=asked.padding,
    )
    return replace(
        turn.request,
        prompt=asked.prompt or turn.request.prompt,
        seed=turn.seed,
        batch_size=1,
        batch_count=1,
        hires=None,
        variation=None,
        template=None,
        seed_resize=None,
        init=InitImage(
            picture=turn.keep(image),
            denoising_strength=asked.strength,
            resize_mode="Just resize",
            inpainting=inpainting,
        ),
    )


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask, larger or smaller by that many pixels on every side."""
    if not pixels:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(pixels) + 1,) * 2)
    return cv2.dilate(mask, disc) if pixels > 0 else cv2.erode(mask, disc)
