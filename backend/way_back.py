"""How the model's answer comes back into the picture. Nothing here needs torch."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.imaging.composite import RING, composite, matched, over, ring_around
from backend.imaging.fill import extended
from backend.imaging.mask import Bytes, bounds, cut, doubled, moved
from backend.imaging.resize import JUST_RESIZE, Placement, Rectangle, placement
from backend.init_image import Box

PAPER = (255, 255, 255)  # what transparent pictures lie on (A1111's img2img_background_color)


@dataclass(frozen=True, kw_only=True)
class Return:
    """Where an answer is put in: `painted`, (height, width) of the region, says by how much.

    `canvas` is RGB or RGBA. `context` is what the region shows the model before anything is filled, `inside` where it
    is old picture.
    """

    canvas: Image.Image
    region: Rectangle
    placement: Placement
    painted: Bytes
    context: Bytes
    inside: NDArray[np.bool_]
    match: bool

    def of(self, made: Image.Image, allowed: Image.Image | None) -> Image.Image:
        """The canvas with `made`, in RGB at the size of the area, in it; where `allowed`, a mask of that size, is dark,
        with less of it."""
        left, top, right, bottom = self.placement.seen
        near = bounds(self.painted[top:bottom, left:right], RING)
        done = self.canvas.copy()
        if near is None:
            return done
        part = (left + near[0], top + near[1], left + near[2], top + near[3])
        painted, inside, context = (cut(each, part) for each in (self.painted, self.inside, self.context))
        if allowed is not None:
            painted = np.where(painted > 0, np.asarray(self.placement.taken(allowed, part)), 0).astype(np.uint8)
        piece = np.asarray(self.placement.taken(made, part))
        if self.match:
            piece = matched(piece, context, ring_around(painted, inside), painted)
        there = moved(part, self.region[:2])
        under = np.asarray(self.canvas.crop(there))
        lay = composite if self.canvas.mode == "RGB" else over
        done.paste(Image.fromarray(lay(under, piece, painted)), there[:2])
        return done


def on_canvas(back: Return, box: Box | None) -> Return:
    """The same with the picture enlarged to its union with the box, where the picture's edge goes on; what neither
    covers is clear."""
    if box is None:
        return back
    picture, (left, top, right, bottom) = back.canvas, box.rectangle
    across, down = max(0, -left), max(0, -top)
    width, height = max(right, picture.width) + across, max(bottom, picture.height) + down
    region = moved(back.region, (across, down))
    if (width, height) == picture.size:
        return replace(back, region=region)
    shared = (min(right, picture.width) - max(left, 0)) * (min(bottom, picture.height) - max(top, 0))
    gaps = width * height > picture.width * picture.height + box.width * box.height - shared
    mode = "RGBA" if gaps or picture.mode == "RGBA" else "RGB"
    canvas = Image.new(mode, (width, height), (*PAPER, 0)[: len(mode)])
    canvas.paste(extended(on_paper(picture), (left, top, right, bottom)), (left + across, top + down))
    canvas.paste(picture, (across, down))
    return replace(back, canvas=canvas, region=region)


def resized(back: Return, flat: Image.Image) -> Return:
    """A1111's whole picture: the answer over the picture at the answer's size."""
    area, placed = back.placement.area, back.placement
    small = placed.put(flat)
    painted = doubled(np.asarray(placed.put(Image.fromarray(back.painted))))
    return Return(
        canvas=small,
        region=(0, 0, *area),
        placement=placement(JUST_RESIZE, area, area),
        painted=painted,
        context=np.asarray(small),
        inside=np.ones(painted.shape, bool),
        match=back.match,
    )


def on_paper(picture: Image.Image) -> Image.Image:
    """A copy in RGB, on white where it is clear."""
    if picture.mode != "RGBA":
        return picture.convert("RGB").copy()
    flat = Image.new("RGB", picture.size, PAPER)
    flat.paste(picture, mask=picture.getchannel("A"))
    return flat
