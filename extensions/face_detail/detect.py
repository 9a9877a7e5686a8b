"""Where in a picture something lies that deserves more resolution: three detectors, by OpenCV and arithmetic."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.extension_api import Image, UserError

Mask = NDArray[np.uint8]

FACES = "Faces (YuNet)"
SKIN = "Ovals of skin"
DISTINCT = "What stands out"
YUNET = "face_detection_yunet.onnx"
LONGEST = 320  # pixels: what is looked for is large, and the time it takes is not
LEAST_CONTRAST = 12.0  # Lab units: paper and noise stay below
OVAL = (0.55, 1.15, 0.6)  # a face's width to its height, at least and at most; how much of its ellipse is filled


@dataclass(frozen=True, kw_only=True)
class Region:
    """A region: its mask in the picture's size, 255 inside; how sure the detector is, 0 to 1; its share of the
    picture."""

    mask: Mask
    confidence: float
    share: float


def regions(image: Image.Image, detector: str, yunet: Path | None = None) -> list[Region]:
    """What a detector finds, the largest first. Raises `UserError` where its file is missing."""
    factor = min(1.0, LONGEST / max(image.size))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    small = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX))
    found = _faces(small, yunet) if detector == FACES else _DETECTORS[detector](small)
    whole = [
        Region(
            mask=np.asarray(cv2.resize(each.mask, image.size, interpolation=cv2.INTER_NEAREST), np.uint8),
            confidence=each.confidence,
            share=each.share,
        )
        for each in found
    ]
    return sorted(whole, key=lambda region: -region.share)


def _faces(pixels: NDArray[np.uint8], yunet: Path | None) -> list[Region]:
    """Wu, Peng & Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector", as OpenCV runs it."""
    if yunet is None or not yunet.exists():
        where = YUNET if yunet is None else str(yunet)
        raise UserError(
            f"{FACES} needs the network of OpenCV's model zoo, which does not come with Atelier: put it at {where}, or "
            f"choose {SKIN} or {DISTINCT}."
        )
    height, width = pixels.shape[:2]
    try:
        detector = cv2.FaceDetectorYN.create(str(yunet), "", (width, height), score_threshold=0.3)
        _, rows = detector.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise UserError(f"{yunet.name} cannot be used: {str(error).strip().splitlines()[0]}") from error
    found = []
    for row in () if rows is None else rows:
        left, top, wide, high = (float(value) for value in row[:4])
        found.append(_ellipse((width, height), (left + wide / 2, top + high / 2), (wide, high), 0, float(row[-1])))
    return [each for each in found if each.share > 0]


def _skin(pixels: NDArray[np.uint8]) -> list[Region]:
    """Ovals of the colour of skin: Kovac, Peer & Solina 2003, "Human Skin Colour Clustering for Face Detection", the
    rule for daylight, and of its blobs those that fill an upright ellipse."""
    red, green, blue = (pixels[..., k].astype(np.int16) for k in range(3))
    lively = pixels.max(axis=-1).astype(np.int16) - pixels.min(axis=-1) > 15
    colour = (red > 95) & (green > 40) & (blue > 20) & lively & (red - green > 15) & (red > blue)
    found = []
    narrow, wide, filled = OVAL
    for blob in _blobs(colour):
        outline = max(cv2.findContours(blob, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)
        if len(outline) < 20:
            continue
        left, top, width, height = cv2.boundingRect(outline)
        if not narrow <= width / height <= wide:
            continue
        oval = _ellipse(blob.shape[::-1], (left + width / 2, top + height / 2), (width, height), 0, 0.0)
        both, either = np.count_nonzero(oval.mask & blob), np.count_nonzero(oval.mask | blob)
        if both / either >= filled:
            found.append(Region(mask=oval.mask, confidence=both / either, share=oval.share))
    return found


def _distinct(pixels: NDArray[np.uint8]) -> list[Region]:
    """What differs from the colours at the border: a salience as in Achanta et al. 2009, "Frequency-tuned Salient
    Region Detection", with the border's median for the mean; cut by Otsu's threshold. Confidence is the contrast, as a
    share of that between black and white."""
    lab = cv2.cvtColor(cv2.GaussianBlur(pixels, (0, 0), 1.5).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    ring = max(1, min(lab.shape[:2]) // 40)
    border = np.concatenate([lab[edge].reshape(-1, 3) for edge in _edges(ring)])
    contrast = np.linalg.norm(lab - np.median(border, axis=0), axis=-1)
    levels = np.clip(contrast * 2, 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    inside = contrast > max(LEAST_CONTRAST, threshold / 2)
    return [
        Region(mask=blob, confidence=float(min(1.0, contrast[blob > 0].mean() / 100)), share=float((blob > 0).mean()))
        for blob in _blobs(inside)
    ]


def _edges(ring: int) -> list[tuple[slice, slice]]:
    every = slice(None)
    return [(slice(ring), every), (slice(-ring, None), every), (every, slice(ring)), (every, slice(-ring, None))]


def _blobs(inside: NDArray[np.bool_]) -> list[Mask]:
    """The connected parts, with small gaps closed and holes filled; those of a few pixels are left out."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = cv2.morphologyEx(inside.astype(np.uint8) * 255, cv2.MORPH_CLOSE, disc)
    outlines = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    found = []
    for outline in outlines:
        blob = np.zeros(inside.shape, np.uint8)
        cv2.drawContours(blob, [outline], -1, 255, cv2.FILLED)
        if np.count_nonzero(blob) >= 16:
            found.append(blob)
    return found


def _ellipse(
    size: tuple[int, ...], centre: tuple[float, float], axes: tuple[float, float], angle: float, confidence: float
) -> Region:
    mask = np.zeros((size[1], size[0]), np.uint8)
    cv2.ellipse(mask, (centre, axes, angle), 255, cv2.FILLED)
    return Region(mask=mask, confidence=min(1.0, confidence), share=float((mask > 0).mean()))


_DETECTORS: Mapping[str, Callable[[NDArray[np.uint8]], list[Region]]] = {SKIN: _skin, DISTINCT: _distinct}
