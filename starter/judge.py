"""A judge by code: which subject a picture shows, in which colour, on which background.

It knows `starter.scenes`' palette and silhouettes and has no learned parts, so no training can have taught it to agree.
``python -m starter.judge`` measures the judge itself on freshly drawn pictures.

The steps: the background as a smooth surface through the border, the difference from it in CIE Lab, Otsu's threshold
(Otsu 1979) on that difference, the largest connected blob, then the nearest colour names inside and outside the blob,
and the silhouette most like the blob once both are brought to the same centroid and radius of gyration.
"""

import argparse
import io
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from starter.scenes import COLOURS, POSITIONS, SIZES, STYLES, SUBJECTS, Scene, draw, triples
from starter.silhouettes import SIDE, Floats, Mask, filled, match

RING = 3  # pixels of the border that are background even beside the largest subjects
LEAST_CONTRAST = 14.0  # Lab units between a subject's inside and its background: mottled paper and rings stay below
LEAST_AREA = 0.02  # of the picture; the smallest star covers 0.06
SECOND_BLOB = 0.35  # of the largest one's area; from there on the picture shows two things
JOINING = 11  # pixels: parts nearer than this are one thing: a weak model loses the mast between sail and hull
MOST_AREA = 0.7  # of the picture; the largest square covers 0.55
MOST_BORDER = 40  # pixels of the border (of 508): beyond, a thing is cut off and its silhouette unknown
FARTHEST_NAME = 24.0  # Lab units from the nearest shade of a name: beyond, a colour has no name here
LEAST_SHARE = 0.6  # of the pixels looked at must bear the name that is given


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a picture shows; an empty word is "nothing that has a name". `likeness` and `wobble` are its
    `starter.silhouettes.Match`'s, `area` is the blob's share of the picture."""

    subject: str
    colour: str
    background: str
    likeness: float = 0.0
    wobble: float = 0.0
    area: float = 0.0

    def agrees(self, scene: Scene) -> "Agreement":
        """Which of `scene`'s subject, colour and background this names."""
        return Agreement(
            subject=self.subject == scene.subject,
            colour=self.colour == scene.colour,
            background=self.background == scene.background,
        )


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Which parts of a scene a picture shows as asked."""

    subject: bool
    colour: bool
    background: bool

    @property
    def whole(self) -> bool:
        return self.subject and self.colour and self.background


@dataclass(frozen=True, kw_only=True)
class Blob:
    """The one thing in a picture: its filled silhouette, the next thing's area as a share of its own, and how many of
    its pixels lie on the picture's border."""

    silhouette: Mask
    second: float
    border: int

    @property
    def whole(self) -> bool:
        return self.second <= SECOND_BLOB and self.border <= MOST_BORDER


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured figure and what it should be: at least `aim`, or at most where `most` is set; not below `floor`."""

    name: str
    value: float
    unit: str
    aim: float
    most: bool = False
    floor: float | None = None

    @property
    def ok(self) -> bool:
        return self.value <= self.aim if self.most else self.value >= self.aim

    def __str__(self) -> str:
        aim = f"aim {'<=' if self.most else '>='} {self.aim:g}"
        floor = "" if self.floor is None else f", floor {self.floor:g}"
        return f"{self.name} {self.value:.1f} {self.unit} ({aim}{floor}) {'ok' if self.ok else 'short'}"


def lab(rgb: NDArray[np.generic]) -> Floats:
    """sRGB values 0..255, shape (..., 3), as CIE Lab (D65): L 0..100, a and b about -100..100."""
    flat = np.asarray(rgb, np.float32).reshape(1, -1, 3) / 255
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_RGB2LAB), np.float32).reshape(rgb.shape)


@cache
def _shades() -> tuple[tuple[str, ...], Floats]:
    """Names and sRGB shades (n, 3) that still bear them: each colour lighter, darker and as it is."""
    names: list[str] = []
    shades: list[Floats] = []
    for name, colour in COLOURS.items():
        base = np.asarray(colour, np.float32)
        lighter, darker = {"white": (0.0, 0.18), "black": (0.14, 0.0)}.get(name, (0.25, 0.2))
        shades += [base, base + (255 - base) * lighter, base * (1 - darker)]
        names += [name] * 3
    return tuple(names), np.stack(shades)


def _name(pixels: Floats, names: tuple[str, ...], shades: Floats) -> str:
    """The name most of `pixels` (n, 3, Lab) bear, of shades (m, 3, Lab); empty when no name covers enough of them."""
    if len(pixels) == 0:
        return ""
    squares = (pixels**2).sum(1)[:, None] - 2 * pixels @ shades.T + (shades**2).sum(1)
    nearest = squares.argmin(1)
    near = np.take_along_axis(squares, nearest[:, None], 1)[:, 0] <= FARTHEST_NAME**2
    labels = list(COLOURS)
    votes = np.bincount(np.array([labels.index(name) for name in names])[nearest[near]], minlength=len(labels))
    return labels[int(votes.argmax())] if votes.max() >= LEAST_SHARE * len(pixels) else ""


def _background_name(pixels: Floats) -> str:
    names, shades = _shades()
    return _name(pixels, names, lab(shades))


def _subject_name(pixels: Floats, background: str, paper: Floats) -> str:
    """Name the subject's `pixels` (n, 3, Lab) on `paper` (sRGB), some of which shines through watercolour."""
    names, shades = _shades()
    keep = [i for i, name in enumerate(names) if name != background]
    solid = shades[keep]
    bearing = tuple(names[i] for i in keep)
    through = [solid + (paper - solid) * share for share in (0.0, 0.1, 0.2)]
    return _name(pixels, bearing * len(through), lab(np.concatenate(through)))


@cache
def _places() -> tuple[Floats, NDArray[np.intp]]:
    """Terms of a smooth surface over the picture (SIDE * SIDE, 4), and the indices of the border's pixels."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    border = np.ones((SIDE, SIDE), bool)
    border[RING:-RING, RING:-RING] = False
    return np.stack([np.ones_like(x), x, y, y * y], -1).reshape(-1, 4), np.flatnonzero(border)


def _difference(colours: Floats) -> Floats:
    """How `colours` (SIDE, SIDE, 3, Lab) differ from a smooth surface through the border, outliers there left out."""
    terms, border = _places()
    pixels = colours.reshape(-1, 3)
    ring, design = pixels[border], terms[border]
    fit = np.zeros((4, 3), np.float32)
    fit[0] = np.median(ring, 0)
    for _ in range(3):
        residue = np.linalg.norm(ring - design @ fit, axis=1)
        inliers = residue <= max(6.0, 2.5 * float(np.median(residue)))
        fit = np.linalg.lstsq(design[inliers], ring[inliers], rcond=None)[0]
    return (pixels - terms @ fit).astype(np.float32).reshape(colours.shape)


def _blob(mask: Mask) -> Blob | None:
    """The largest group of parts of `mask`, filled, and the area of the next largest as a share of it."""
    solid = filled(mask)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (JOINING, JOINING))
    count, labels = cv2.connectedComponents(cv2.dilate(solid.astype(np.uint8), disc))
    areas = np.bincount(labels[solid], minlength=count)
    areas[0] = 0
    largest = int(areas.argmax())
    if not LEAST_AREA <= areas[largest] / mask.size <= MOST_AREA:
        return None
    silhouette = solid & (labels == largest)
    second = np.partition(areas, -2)[-2] / areas[largest]
    inner = int(silhouette[1:-1, 1:-1].sum())
    return Blob(silhouette=silhouette, second=float(second), border=int(silhouette.sum()) - inner)


def _deep(silhouette: Mask) -> Mask:
    """The inner half of a silhouette: away from soft edges and ink lines."""
    depth = cv2.distanceTransform(silhouette.astype(np.uint8), cv2.DIST_L2, 3)
    return depth >= np.median(depth[silhouette])


def _segment(colours: Floats) -> Blob | None:
    """Find the one thing in a Lab picture (SIDE, SIDE, 3): what differs, and what differs as its inside does."""
    difference = _difference(colours)
    distance = np.linalg.norm(difference, axis=2)
    threshold, _ = cv2.threshold(distance.clip(0, 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    apart = distance > max(threshold, LEAST_CONTRAST / 2)
    rough = _blob(apart)
    if rough is None:
        return None
    inside = np.median(difference[_deep(rough.silhouette)], 0)
    contrast = float(np.linalg.norm(inside))
    if contrast < LEAST_CONTRAST:
        return None
    return _blob((difference @ inside > 0.5 * contrast**2) | apart)


def judge(picture: Image.Image) -> Verdict:
    """Say what a square picture of any size shows; a word is empty when nothing, no single or no known thing is there.

    Raises `ValueError` for a picture that is not square."""
    if picture.width != picture.height:
        raise ValueError(f"The judge knows square pictures only, not {picture.width}x{picture.height}.")
    resized = picture.convert("RGB")
    if resized.size != (SIDE, SIDE):
        resized = resized.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(resized)
    colours = lab(pixels)
    blob = _segment(colours)
    even = np.asarray(cv2.blur(colours, (3, 3)), np.float32)
    _, border = _places()
    if blob is None:
        return Verdict(subject="", colour="", background=_background_name(even.reshape(-1, 3)[border]))
    outside = cv2.dilate(blob.silhouette.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    outside[1::2] = False
    background = _background_name(even[outside])
    paper = np.median(pixels.reshape(-1, 3)[border], 0).astype(np.float32)
    colour = _subject_name(even[_deep(blob.silhouette)], background, paper)
    found = match(blob.silhouette)
    return Verdict(
        subject=found.subject if blob.whole and found.clear else "",
        colour=colour,
        background=background,
        likeness=found.likeness,
        wobble=found.wobble,
        area=float(blob.silhouette.mean()),
    )


def accepts(picture: Image.Image, scene: Scene) -> Agreement:
    """Which of `scene`'s subject, colour and background `picture` shows."""
    return judge(picture).agrees(scene)


# From here on: the judge judged.

PICTURES = 1800  # at each size
SEED = 20  # of the drawn pictures, not of anything trained


def spoiled(picture: Image.Image, rng: np.random.Generator) -> dict[str, Image.Image]:
    """A 64-pixel picture as a weak model or a lossy file would leave it, by the name of its figure."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    noise = rng.normal(0, 8, (picture.height, picture.width, 3))
    return {
        "blurred_64": picture.filter(ImageFilter.GaussianBlur(1)),
        "noisy_64": Image.fromarray((np.asarray(picture) + noise).round().clip(0, 255).astype(np.uint8)),
        "jpeg_64": Image.open(file),
    }


def any_scenes(rng: np.random.Generator) -> Iterator[Scene]:
    """Endless scenes, of held-out triples too: every subject, position, size and style together equally often."""
    looks = list(itertools.product(SUBJECTS, POSITIONS, SIZES, STYLES))
    coloured = list(itertools.permutations(COLOURS, 2))
    while True:
        for index in rng.permutation(len(looks)):
            subject, position, size, style = looks[index]
            colour, background = coloured[rng.integers(len(coloured))]
            yield Scene(
                subject=subject, colour=colour, background=background, position=position, size=size, style=style
            )


def _one_word_off(scene: Scene, rng: np.random.Generator) -> Scene:
    """`scene` with another subject, or another colour, or another background."""
    asked = (scene.subject, scene.colour, scene.background)
    near = [t for t in triples() if sum(a != b for a, b in zip(t, asked, strict=True)) == 1]
    # First which word, then which other one: there are more subjects than colours.
    place = int(rng.integers(3))
    subject, colour, background = near[rng.choice([i for i, t in enumerate(near) if t[place] != asked[place]])]
    return replace(scene, subject=subject, colour=colour, background=background)


def _another(scene: Scene, rng: np.random.Generator) -> Scene:
    """A scene of any other triple."""
    others = [t for t in triples() if t != (scene.subject, scene.colour, scene.background)]
    subject, colour, background = others[rng.integers(len(others))]
    return replace(scene, subject=subject, colour=colour, background=background)


def measure(count: int, seed: int = SEED) -> list[Figure]:
    """Judge `count` freshly drawn pictures at each size, as they are and spoiled, and say how often that was right."""
    rng = np.random.default_rng(seed)
    right = Counter[str]()
    wrong = Counter[str]()
    seconds = 0.0
    for scene in itertools.islice(any_scenes(rng), count):
        for size in (64, 128):
            picture = draw(scene, rng, size)
            started = time.process_time()
            verdict = judge(picture)
            seconds += time.process_time() - started
            right[f"right_{size}"] += verdict.agrees(scene).whole
            wrong["one_word_off"] += verdict.agrees(_one_word_off(scene, rng)).whole
            wrong["another_caption"] += verdict.agrees(_another(scene, rng)).whole
            if size == 64:
                for name, worse in spoiled(picture, rng).items():
                    right[name] += accepts(worse, scene).whole

    def aim(name: str) -> float:
        return 98 if name.startswith("right") else 93

    return [
        *(Figure(name=name, value=100 * times / count, unit="%", aim=aim(name)) for name, times in right.items()),
        *(Figure(name=name, value=50 * times / count, unit="%", aim=5, most=True) for name, times in wrong.items()),
        Figure(name="time", value=500 * seconds / count, unit="ms", aim=10, most=True),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print how good the judge is, one line a figure; exits 1 when one is short."""
    parser = argparse.ArgumentParser(description="Score the judge itself on freshly drawn pictures.")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="pictures at each size (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    figures = measure(options.pictures, options.seed)
    print("\n".join(map(str, figures)))
    sys.exit(not all(figure.ok for figure in figures))


if __name__ == "__main__":
    main()
