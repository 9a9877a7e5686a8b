"""Which of `starter.scenes`' subjects a silhouette is: the one most like it, once both are brought to the same centroid
and radius of gyration."""

import itertools
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from starter.scenes import SUBJECTS

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDE = 128  # every picture is judged at this size: a 64-pixel one gains a threshold finer than its pixels
WOBBLE = 1.6  # pixels that an outline may stray from the best silhouette's on average, whatever the next best is
DECISIVE = 6.0  # pixels more for each unit of likeness by which the best silhouette leads the next subject's
SOLIDITY_WEIGHT = 0.5  # of a difference in solidity, as a loss of likeness: a flat ellipse is no fish
TEMPLATE = 48  # pixels, side of a normalised silhouette
GYRATION = 11.0  # pixels, radius of gyration of a normalised silhouette


@dataclass(frozen=True, kw_only=True)
class Match:
    """The subject most like a silhouette: how like (intersection over union, less for another solidity), by how much
    more than any other subject, and how far the two outlines are apart on average (pixels of SIDE)."""

    subject: str
    likeness: float
    lead: float
    wobble: float

    @property
    def clear(self) -> bool:
        return self.wobble <= WOBBLE + DECISIVE * self.lead


def filled(mask: Mask) -> Mask:
    """`mask` with its holes closed: all that cannot be reached from the border."""
    padded = np.pad(mask, 1).astype(np.uint8)
    cv2.floodFill(padded, None, (0, 0), 2)
    return padded[1:-1, 1:-1] != 2


def _normalised(silhouette: NDArray[np.generic]) -> Floats:
    """A silhouette moved and scaled to the common centroid and radius of gyration, (TEMPLATE, TEMPLATE), 0..1."""
    image = silhouette.astype(np.float32)
    moments = cv2.moments(image)
    area = moments["m00"]
    scale = GYRATION / ((moments["mu20"] + moments["mu02"]) / area) ** 0.5
    middle = (TEMPLATE - 1) / 2
    x, y = moments["m10"] / area, moments["m01"] / area
    move = np.array([[scale, 0, middle - scale * x], [0, scale, middle - scale * y]])
    return np.asarray(cv2.warpAffine(image, move, (TEMPLATE, TEMPLATE), flags=cv2.INTER_LINEAR), np.float32)


def _solidity(silhouette: Mask) -> float:
    """Area as a share of the convex hull's area."""
    points = np.argwhere(silhouette).astype(np.int32)
    hull = cv2.convexHull(points)
    # The hull runs through pixel centres: half a pixel of its outline is missing all round.
    return len(points) / (cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1)


@cache
def _templates() -> tuple[Floats, Floats]:
    """Normalised silhouettes (subjects, n, TEMPLATE * TEMPLATE) and their solidities (subjects, n), in SUBJECTS' order.

    The n of a subject: turned a little, mirrored, and grown by none to two ink lines."""
    rows: list[Floats] = []
    solidities: list[float] = []
    reach, middle = 56, SIDE / 2
    variants = list(itertools.product((-9, -6, -3, 0, 3, 6, 9), (1, -1), (0, 3, 6)))
    for outline, (degrees, mirror, ink) in itertools.product(SUBJECTS.values(), variants):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.array([[mirror * cos, mirror * sin], [-sin, cos]])
        image = np.zeros((SIDE, SIDE), np.uint8)
        for polygon in outline():
            points = (np.asarray(polygon) @ turn * reach + middle) * 16
            cv2.fillPoly(image, [points.round().astype(np.int32)], 255, shift=4)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * ink + 1, 2 * ink + 1))
        silhouette = filled(cv2.dilate(image, disc) > 127)
        rows.append(_normalised(silhouette).ravel())
        solidities.append(_solidity(silhouette))
    shape = (len(SUBJECTS), len(variants))
    return np.stack(rows).reshape(*shape, -1), np.array(solidities, np.float32).reshape(shape)


def match(silhouette: Mask) -> Match:
    """Compare a silhouette with every subject's."""
    templates, solidities = _templates()
    found = _normalised(silhouette).ravel()
    overlap = np.minimum(templates, found).sum(2)
    likenesses = overlap / (templates.sum(2) + found.sum() - overlap)
    likenesses -= SOLIDITY_WEIGHT * np.abs(solidities - _solidity(silhouette))
    second, best = np.argsort(likenesses.max(1))[-2:]
    likeness = float(likenesses[best].max())
    outlines, _ = cv2.findContours(silhouette.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(outline, True) for outline in outlines)
    return Match(
        subject=list(SUBJECTS)[best],
        likeness=likeness,
        lead=likeness - float(likenesses[second].max()),
        wobble=(1 - likeness) * float(silhouette.sum()) / length,
    )
