"""Holes in the starter's pictures: what an inpainting checkpoint learns to fill.

A hole is a mask, (size, size) of bytes, 255 where the picture is to be made new. Four kinds: around the subject, all
beyond a line (which is what outpainting asks for), broad strokes, and everything.
"""

import numpy as np
from PIL import Image, ImageDraw

from starter.scenes import POSITIONS, SIZES, Scene, draw

GREY = (128, 128, 128)  # zero in [-1, 1]: what an inpainting UNet is shown in place of a hole
KINDS = ("subject", "side", "strokes", "all")
SHARES = (0.45, 0.25, 0.2, 0.1)


def hole(scene: Scene, rng: np.random.Generator, size: int) -> Image.Image:
    """A random hole for the picture of `scene`."""
    mask = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(mask)
    kind = str(rng.choice(KINDS, p=SHARES))
    if kind == "subject":
        radius = SIZES[scene.size] * rng.uniform(1.05, 1.5) * size
        x, y = (size * at + rng.uniform(-0.04, 0.04) * size for at in POSITIONS[scene.position])
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((x - radius, y - radius, x + radius, y + radius), fill=255)
    elif kind == "side":
        depth = int(size * rng.uniform(0.2, 0.65))
        whole = size - 1
        sides = ((0, 0, depth, whole), (whole - depth, 0, whole, whole), (0, 0, whole, depth))
        pen.rectangle((*sides, (0, whole - depth, whole, whole))[int(rng.integers(4))], fill=255)
    elif kind == "strokes":
        for _ in range(int(rng.integers(1, 4))):
            points = [(float(x), float(y)) for x, y in rng.uniform(0, size, (3, 2))]
            pen.line(points, fill=255, width=int(size * rng.uniform(0.08, 0.25)), joint="curve")
    else:
        pen.rectangle((0, 0, size, size), fill=255)
    return mask


def holed(scene: Scene, rng: np.random.Generator, size: int, number: int) -> tuple[Image.Image, Image.Image]:
    """The picture that `draw` paints with the same `rng`, grey where its hole of that `number` is; and that hole."""
    mask = hole(scene, rng.spawn(number + 1)[number], size)  # a child of its own: `draw` uses the same numbers as ever
    picture = draw(scene, rng, size)
    picture.paste(GREY, mask=mask)
    return picture, mask
