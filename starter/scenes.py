"""The starter's world: simple pictures drawn by code, and captions that describe them exactly.

A :class:`Scene` says what a picture shows; :func:`draw` paints it; :func:`captions` words it in several ways.
Because the pictures come from code, what a picture of a caption *should* show is known: `starter.judge` checks it.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 42, 46),
    "green": (42, 158, 66),
    "yellow": (250, 208, 46),
    "blue": (36, 98, 220),
    "white": (246, 246, 243),
    "black": (26, 26, 30),
    "orange": (245, 132, 32),
    "purple": (150, 56, 172),
}
POSITIONS: dict[str, tuple[float, float]] = {
    "": (0.5, 0.5),
    "left": (0.3, 0.5),
    "right": (0.7, 0.5),
    "top": (0.5, 0.3),
    "bottom": (0.5, 0.7),
}
SIZES: dict[str, float] = {"": 0.31, "small": 0.21, "large": 0.41}
STYLES = ("", "flat", "cartoon", "watercolor")

Point = tuple[float, float]
Polygons = list[list[Point]]
HELD_OUT_FILE = Path(__file__).with_name("held_out.json")
OVERSAMPLING = 3  # drawn larger and reduced: PIL's polygons have hard edges


def _arc(
    cx: float, cy: float, rx: float, ry: float, start: float = 0.0, stop: float = 360.0, n: int = 40
) -> list[Point]:
    angles = np.radians(np.linspace(start, stop, n))
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def _circle() -> Polygons:
    return [_arc(0, 0, 1, 1)]


def _square() -> Polygons:
    return [[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]]


def _triangle() -> Polygons:
    return [[(0, -0.95), (1.0, 0.8), (-1.0, 0.8)]]


def _star() -> Polygons:
    radii = [1.05, 0.44] * 5
    return [[(r * math.sin(math.pi * i / 5), 0.06 - r * math.cos(math.pi * i / 5)) for i, r in enumerate(radii)]]


def _heart() -> Polygons:
    t = np.linspace(0, 2 * math.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return [[(float(a) / 16.5, float(b) / 16.5 - 0.1) for a, b in zip(x, y, strict=True)]]


def _moon() -> Polygons:
    outer = _arc(0.1, 0, 1, 1, 52, 308)
    inner = _arc(0.62, 0, 0.79, 0.79, 274, 86)
    return [outer + inner]


def _tree() -> Polygons:
    def layer(top: float, width: float, foot: float) -> list[Point]:
        return [(0, top), (width, foot), (-width, foot)]

    trunk = [(-0.17, 0.6), (0.17, 0.6), (0.17, 1.0), (-0.17, 1.0)]
    return [layer(-1.05, 0.5, -0.3), layer(-0.62, 0.68, 0.22), layer(-0.15, 0.86, 0.7), trunk]


def _house() -> Polygons:
    walls = [(-0.72, -0.15), (0.72, -0.15), (0.72, 0.9), (-0.72, 0.9)]
    return [walls, [(0, -0.98), (1.0, -0.1), (-1.0, -0.1)], [(0.4, -0.9), (0.62, -0.9), (0.62, -0.3), (0.4, -0.3)]]


def _flower() -> Polygons:
    petals = [
        _arc(0.58 * math.sin(2 * math.pi * i / 5), -0.58 * math.cos(2 * math.pi * i / 5), 0.44, 0.44) for i in range(5)
    ]
    return [*petals, _arc(0, 0, 0.5, 0.5)]


def _boat() -> Polygons:
    hull = [(-1.0, 0.42), (1.0, 0.42), (0.62, 0.92), (-0.62, 0.92)]
    mast = [(-0.08, -1.0), (0.04, -1.0), (0.04, 0.5), (-0.08, 0.5)]
    return [hull, mast, [(0.02, -0.95), (0.8, 0.22), (0.02, 0.22)], [(-0.08, -0.6), (-0.08, 0.22), (-0.62, 0.22)]]


def _fish() -> Polygons:
    return [_arc(-0.18, 0, 0.82, 0.56), [(0.38, 0), (1.02, -0.58), (0.88, 0), (1.02, 0.58)]]


def _cat() -> Polygons:
    return [
        _arc(0, 0.18, 0.94, 0.78),
        [(-0.93, 0.15), (-0.86, -0.98), (-0.2, -0.5)],
        [(0.93, 0.15), (0.86, -0.98), (0.2, -0.5)],
    ]


SUBJECTS: dict[str, Callable[[], Polygons]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "moon": _moon,
    "tree": _tree,
    "house": _house,
    "flower": _flower,
    "boat": _boat,
    "fish": _fish,
    "cat": _cat,
}

# Details inside a silhouette: polygons, and how far their colour goes from the subject's: to dark (< 0) or light (> 0).
DETAILS: dict[str, list[tuple[list[Point], float]]] = {
    "moon": [(_arc(-0.55, -0.25, 0.13, 0.13), -0.16), (_arc(-0.42, 0.4, 0.1, 0.1), -0.16)],
    "tree": [([(-0.17, 0.7), (0.17, 0.7), (0.17, 1.0), (-0.17, 1.0)], -0.45)],
    "house": [
        ([(-0.15, 0.4), (0.17, 0.4), (0.17, 0.9), (-0.15, 0.9)], -0.5),
        ([(-0.56, 0.12), (-0.28, 0.12), (-0.28, 0.4), (-0.56, 0.4)], 0.65),
        ([(0.28, 0.12), (0.56, 0.12), (0.56, 0.4), (0.28, 0.4)], 0.65),
    ],
    "flower": [(_arc(0, 0, 0.27, 0.27), 0.6)],
    "boat": [([(-1.0, 0.42), (1.0, 0.42), (0.88, 0.58), (-0.88, 0.58)], -0.3)],
    "fish": [(_arc(-0.62, -0.12, 0.1, 0.1), -0.75)],
    "cat": [
        (_arc(-0.36, 0.05, 0.12, 0.15), -0.8),
        (_arc(0.36, 0.05, 0.12, 0.15), -0.8),
        ([(-0.11, 0.38), (0.11, 0.38), (0, 0.5)], -0.6),
    ],
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a picture shows. Empty words are the defaults: in the centre, of medium size, softly shaded."""

    subject: str
    colour: str
    background: str
    position: str = ""
    size: str = ""
    style: str = ""


def triples() -> list[tuple[str, str, str]]:
    """Every subject, colour and background whose subject can be seen (its colour is not the background's)."""
    return [(s, c, b) for s in SUBJECTS for c in COLOURS for b in COLOURS if c != b]


def held_out() -> set[tuple[str, str, str]]:
    """The triples no training picture shows: 15% of all, fixed in a file before the first training."""
    return {(s, c, b) for s, c, b in json.loads(HELD_OUT_FILE.read_text(encoding="utf-8"))}


def scenes(rng: np.random.Generator) -> Iterator[Scene]:
    """Endless training scenes: every allowed triple equally often, the plain look and place most often."""
    allowed = [t for t in triples() if t not in held_out()]
    while True:
        for index in rng.permutation(len(allowed)):
            subject, colour, background = allowed[index]
            yield Scene(
                subject=subject,
                colour=colour,
                background=background,
                position=str(rng.choice(list(POSITIONS), p=[0.6, 0.1, 0.1, 0.1, 0.1])),
                size=str(rng.choice(list(SIZES), p=[0.6, 0.2, 0.2])),
                style=str(rng.choice(STYLES, p=[0.52, 0.16, 0.16, 0.16])),
            )


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def captions(scene: Scene, *, whole_ones: int = 4) -> list[str]:
    """Every wording of a scene: sentences and tag lists, whole ones first, then those that leave something open.

    A whole caption stands there `whole_ones` times, worth as many open ones: it says what should be learned. With 0
    there are open ones only.
    """
    thing = " ".join(word for word in (scene.size, scene.colour, scene.subject) if word)
    plain = " ".join(word for word in (scene.size, scene.subject) if word)
    back = scene.background
    where = {
        "": [""],
        "left": [" on the left", " at the left"],
        "right": [" on the right", " at the right"],
        "top": [" at the top", " near the top"],
        "bottom": [" at the bottom", " near the bottom"],
    }[scene.position]
    ways: list[str] = []
    for place in where:
        tags = f", {place.split()[-1]}" if place else ""
        whole = [
            f"{_article(thing)} on {_article(back)} background{place}",
            f"{_article(thing)}{place}, {back} background",
            f"{thing} on {back}{place}",
            f"a picture of {_article(thing)} on {_article(back)} background{place}",
            f"{_article(thing)} in front of {_article(back)} background{place}",
            f"{thing}, {back} background{tags}",
            f"{scene.subject}, {scene.colour}, {back} background" + (f", {scene.size}" if scene.size else "") + tags,
        ]
        open_ended = [
            f"{_article(thing)}{place}",
            f"{_article(plain)} on {_article(back)} background{place}",
            f"{_article(plain)}{place}",
            f"{_article(back)} background",
        ]
        ways += whole * whole_ones + open_ended
    if not scene.style:
        return ways
    return [
        wording
        for way in ways
        for wording in (f"{way}, {scene.style}", f"{scene.style}, {way}", f"{way}, {scene.style} style")
    ]


def _mix(colour: tuple[int, ...], other: tuple[int, ...], amount: float) -> tuple[int, int, int]:
    red, green, blue = (round(a + (b - a) * amount) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _toned(colour: tuple[int, ...], amount: float) -> tuple[int, int, int]:
    """`colour` moved towards white (amount > 0) or black (< 0); white only darkens, black only lightens, and small
    moves of those two are halved, or the one would look grey and the other too."""
    if min(colour) > 200 or max(colour) < 60:
        amount = abs(amount) if max(colour) < 60 else -abs(amount)
        amount *= 0.5 if abs(amount) < 0.25 else 1
    return _mix(colour, (255, 255, 255) if amount > 0 else (0, 0, 0), abs(amount))


def _gradient(size: int, top: tuple[int, ...], bottom: tuple[int, ...]) -> Image.Image:
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    rows = np.asarray(top, np.float32) * (1 - ramp) + np.asarray(bottom, np.float32) * ramp
    return Image.fromarray(np.broadcast_to(rows, (size, size, 3)).round().astype(np.uint8))


def _silhouette(size: int, polygons: Polygons) -> Image.Image:
    mask = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(mask)
    for polygon in polygons:
        pen.polygon(polygon, fill=255)
    return mask


def _mottled(size: int, rng: np.random.Generator) -> Image.Image:
    """Soft blotches between 0 and 255, for the watercolor look."""
    noise = Image.fromarray((rng.random((7, 7)) * 255).astype(np.uint8))
    return noise.resize((size, size), Image.Resampling.BICUBIC)


def draw(scene: Scene, rng: np.random.Generator, size: int = 128) -> Image.Image:
    """Paint `scene` at `size` x `size` pixels, RGB; `rng` moves, turns, scales and tints it a little."""
    big = size * OVERSAMPLING
    # A shade, never another hue: the judge and the words must keep agreeing.
    colour = _toned(COLOURS[scene.colour], float(rng.uniform(-0.08, 0.08)))
    background = _toned(COLOURS[scene.background], float(rng.uniform(-0.07, 0.07)))
    radius = SIZES[scene.size] * float(rng.uniform(0.94, 1.06))
    centre = [
        float(np.clip(at + rng.uniform(-0.025, 0.025), radius + 0.04, 0.96 - radius))
        for at in POSITIONS[scene.position]
    ]
    angle = math.radians(float(rng.uniform(-6, 6)))

    def placed(polygon: list[Point]) -> list[Point]:
        cos, sin = math.cos(angle), math.sin(angle)
        return [
            ((centre[0] + radius * (x * cos - y * sin)) * big, (centre[1] + radius * (x * sin + y * cos)) * big)
            for x, y in polygon
        ]

    if scene.style == "flat":
        paper = Image.new("RGB", (big, big), background)
        body = Image.new("RGB", (big, big), colour)
    else:
        paper = _gradient(big, _toned(background, 0.14), _toned(background, -0.1))
        body = _gradient(big, _toned(colour, 0.12), _toned(colour, -0.12))
    mask = _silhouette(big, [placed(polygon) for polygon in SUBJECTS[scene.subject]()])
    for polygon, tone in DETAILS.get(scene.subject, []):
        ImageDraw.Draw(body).polygon(placed(polygon), fill=_toned(colour, tone))
    if scene.style == "cartoon":
        # The line must differ from the picture on both of its sides.
        ink = (250, 250, 250) if "black" in (scene.colour, scene.background) else (16, 16, 22)
        if {scene.colour, scene.background} == {"black", "white"}:
            ink = (128, 128, 128)
        line = mask.resize((size, size)).filter(ImageFilter.MaxFilter(2 * (size // 64) + 1)).resize((big, big))
        paper.paste(ink, mask=line)
    elif scene.style == "watercolor":
        pale = _mix(colour, (255, 255, 255) if max(colour) < 60 else background, 0.22)
        body = Image.composite(Image.new("RGB", (big, big), pale), body, _mottled(big, rng))
        thinner = _mottled(big, rng).point([v * 3 // 4 for v in range(256)])
        paper = Image.composite(Image.new("RGB", (big, big), _toned(background, 0.2)), paper, thinner)
        ragged = ImageChops.multiply(mask.filter(ImageFilter.GaussianBlur(big / 100)), Image.new("L", mask.size, 235))
        mask = ragged
    paper.paste(body, mask=mask)
    return paper.resize((size, size), Image.Resampling.BOX)
