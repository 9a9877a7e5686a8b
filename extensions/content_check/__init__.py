"""A content check that is honest about being simple: how much of a picture has the colour of skin.

Kovac, Peer & Solina 2003, "Human Skin Colour Clustering for Face Detection", the rule for daylight. Whoever has a real
classifier puts it into the extension's data folder; see the README.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from backend.extension_api import (
    BaseModel,
    ConfigDict,
    ExtensionApi,
    Field,
    Image,
    PictureTurn,
    UserError,
    hook,
)

CLASSIFIER = "classifier.onnx"
SIDE = 224  # what a classifier is shown
BLUR = 24  # a blurred picture keeps details of a share of 1 / 24 of its longer side


class ContentCheck(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(
        default=0.4,
        gt=0,
        le=1,
        title="Threshold",
        description="From this share of skin on it acts, or from this answer of a classifier",
    )
    action: Literal["Remark", "Blur", "Refuse"] = Field(
        default="Blur", title="Action", description="Say so, save the picture blurred, or end the job without it"
    )


@hook
def register(api: ExtensionApi) -> None:
    api.settings(ContentCheck)


@hook
def on_image(image: Image.Image, turn: PictureTurn) -> Image.Image | None:
    asked = turn.settings(ContentCheck)
    score, what = judged(image.convert("RGB"), turn.api.data_dir / CLASSIFIER)
    turn.note("Content check", f"{score:.2f}")
    if score < asked.threshold:
        return None
    sentence = f"{what} {score:.0%}, and the threshold is {asked.threshold:.0%}"
    if asked.action == "Refuse":
        raise UserError(f"The picture is not saved: {sentence}.")
    if asked.action == "Remark":
        turn.remark(f"The content check would act: {sentence}.")
        return None
    turn.remark(f"The picture is blurred: {sentence}.")
    return blurred(image)


def judged(image: Image.Image, classifier: Path | None = None) -> tuple[float, str]:
    """A number from 0 to 1 for a picture in RGB, and what was measured; by the classifier if its file is there."""
    if classifier is not None and classifier.exists():
        return classified(image, classifier), "the classifier says"
    return float(skin(np.asarray(image)).mean()), "of its pixels as many have the colour of skin:"


def skin(pixels: np.ndarray) -> np.ndarray:
    """Which pixels, (height, width, 3) in RGB, have the colour of skin: R > 95, G > 40, B > 20, max - min > 15,
    |R - G| > 15, R > G and R > B."""
    red, green, blue = (pixels[..., k].astype(np.int16) for k in range(3))
    lively = pixels.max(axis=-1).astype(np.int16) - pixels.min(axis=-1) > 15
    return (red > 95) & (green > 40) & (blue > 20) & lively & (red - green > 15) & (red > blue)


def classified(image: Image.Image, path: Path) -> float:
    """What a network in ONNX says: the last number of its output, from 0 to 1, for the picture at 224 x 224 in RGB from
    0 to 1. Raises `UserError` for a file that is none such."""
    import cv2

    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
        network.setInput(np.ascontiguousarray(small.transpose(2, 0, 1)[None]))
        answer = float(np.asarray(network.forward()).ravel()[-1])
    except cv2.error as error:
        raise UserError(f"{path.name} cannot be used as a classifier: {str(error).strip().splitlines()[0]}") from error
    if not 0 <= answer <= 1:
        raise UserError(f"{path.name} answers {answer:g}: a classifier's last number must be from 0 to 1.")
    return answer


def blurred(image: Image.Image) -> Image.Image:
    """The picture without its details, in its size."""
    factor = max(image.size) / BLUR
    few = (max(1, round(image.width / factor)), max(1, round(image.height / factor)))
    return image.resize(few, Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)
