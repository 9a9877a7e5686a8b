"""What of a picture goes to the model; `way_back` has how the model's answer comes back into it.

The *canvas* is the picture, enlarged where the box reaches outside; the *region* is what the model sees of it, brought
to the model's *area*. Nothing here needs torch.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.errors import InvalidRequest
from backend.imaging.fill import extended, fill
from backend.imaging.mask import Bytes, blurred, bounds, cut, doubled, grown, in_ratio, mask_of, moved, outwards, shrunk
from backend.imaging.resize import FILL, JUST_RESIZE, LATENT, Placement, Rectangle, Size, placement, resize
from backend.init_image import SIZE_STEP, SMALLEST_SIDE, InitImage, Inpainting
from backend.inputs import Inputs
from backend.request import GenerationRequest
from backend.way_back import Return, on_canvas, on_paper, resized

SEAM = 24  # pixels to each side of it
SEAM_BLUR = 8
SEAM_STRENGTH = 0.25


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A picture at work.

    `picture` (RGB) is what is encoded: `area` large, or as large as its latents are to be before they are resized.
    `mask` (L, `area` large) is what is made new of it, everything if there is none; `shown` is what an inpainting
    checkpoint sees around it. Without `back` the model's answer is the result.
    """

    area: Size
    strength: float
    picture: Image.Image
    shown: Image.Image
    mask: Image.Image | None
    depth: Image.Image | None
    init: InitImage | None
    back: Return | None

    @property
    def inpainting(self) -> Inpainting | None:
        """How the mask is to be used, if there is one."""
        return self.init.inpainting if self.init is not None and self.mask is not None else None

    @classmethod
    def of_picture(cls, picture: Image.Image, strength: float) -> "Frame":
        """The frame of a picture in RGB, with sides that latents have, which is made new at its own size."""
        return cls(
            area=picture.size,
            strength=strength,
            picture=picture,
            shown=picture,
            mask=None,
            depth=None,
            init=None,
            back=None,
        )

    @classmethod
    def of(cls, request: GenerationRequest, inputs: Inputs) -> "Frame | None":
        """The frame of a request, if it has a picture. Raises `UserError` for an input that is not there, one of
        another size than the picture, and a mask that is empty."""
        init = request.init
        if init is None:
            return None
        inputs.check(init)
        area = (request.width, request.height)
        picture = inputs.picture(init.picture)
        flat = with_sketch(picture, init, inputs)
        depth = inputs.picture(init.depth) if init.depth else None
        if init.box is None and init.inpainting is None:
            return cls._plain(init, area, flat, depth)
        masked = inputs.picture(init.inpainting.mask) if init.inpainting and init.inpainting.mask else None
        return cls._painted(init, area, picture, flat, masked, depth)

    @classmethod
    def _plain(cls, init: InitImage, area: Size, flat: Image.Image, depth: Image.Image | None) -> "Frame":
        whole = placement(init.resize_mode, flat.size, area)
        return cls(
            area=area,
            strength=init.denoising_strength,
            picture=_for_latents(flat, init, whole),
            shown=whole.put(flat),
            mask=None,
            depth=whole.put(_like(depth, flat.size)) if depth else None,
            init=init,
            back=None,
        )

    @classmethod
    def _painted(
        cls,
        init: InitImage,
        area: Size,
        picture: Image.Image,
        flat: Image.Image,
        masked: Image.Image | None,
        depth: Image.Image | None,
    ) -> "Frame":
        region = init.box.rectangle if init.box else (0, 0, *flat.size)
        inside = _inside(region, flat.size)
        mode, inpainting = init.resize_mode, init.inpainting
        mask, painted = None, np.full(inside.shape, 255, np.uint8)
        if inpainting is not None:
            mask, painted = _masks(inpainting, masked, region, inside)
            crop = bounds(mask, inpainting.padding if inpainting.only_masked else 0)
            if crop is None:
                raise InvalidRequest("The mask is empty: paint where the picture is to be made new.")
            if inpainting.only_masked:
                crop = in_ratio(crop, area, (region[2] - region[0], region[3] - region[1]))
                mask, painted, inside = (cut(each, crop) for each in (mask, painted, inside))
                region, mode = moved(crop, region[:2]), FILL
        placed = placement(mode, (region[2] - region[0], region[3] - region[1]), area)
        context = extended(flat, region)
        encoded = _for_latents(context, init, placed)
        hole = None
        if inpainting is not None and mask is not None:
            hole = placed.put(Image.fromarray(mask))
            encoded = fill(inpainting.masked_content, encoded, resize(hole, JUST_RESIZE, *encoded.size))
        back = Return(
            canvas=picture,
            region=region,
            placement=placed,
            painted=painted,
            context=np.asarray(context),
            inside=inside,
            match=inpainting is not None and inpainting.colour_match,
        )
        return cls(
            area=area,
            strength=init.denoising_strength,
            picture=encoded,
            shown=placed.put(context),
            mask=hole,
            depth=placed.put(extended(_like(depth, flat.size), region)) if depth else None,
            init=init,
            back=on_canvas(back, init.box) if keeps_canvas(init) else resized(back, flat),
        )

    def result(self, made: Image.Image, allowed: Image.Image | None = None) -> Image.Image:
        """The picture that is delivered, of the model's answer in RGB; `allowed` is a mask of the area that limits how
        much of it may be seen."""
        return made if self.back is None else self.back.of(made, allowed)

    def seam(self, result: Image.Image) -> "Frame | None":
        """The frame of a second, light pass over the seam of an outpainting, if `result` has one and it is wanted.

        The old picture lends its side of the seam, and stays as it is.
        """
        back = self.back
        if back is None or self.inpainting is None or not self.inpainting.seam_pass or back.inside.all():
            return None
        outside = np.where(back.inside, 0, 255).astype(np.uint8)
        band = np.where(grown(outside, SEAM) > shrunk(outside, SEAM), 255, 0).astype(np.uint8)
        painted = np.where(back.inside, 0, np.minimum(doubled(blurred(band, SEAM_BLUR)), back.painted))
        context = on_paper(result).crop(back.region)
        light = replace(self.inpainting, masked_content="original", soft=None)
        shown = back.placement.put(context)
        return replace(
            self,
            strength=min(SEAM_STRENGTH, self.strength),
            picture=shown,
            shown=shown,
            mask=back.placement.put(Image.fromarray(blurred(band, SEAM_BLUR))),
            init=self.init and replace(self.init, inpainting=light),
            back=replace(back, canvas=result, context=np.asarray(context), painted=painted.astype(np.uint8)),
        )


def with_sketch(picture: Image.Image, init: InitImage, inputs: Inputs) -> Image.Image:
    """A copy of the picture in RGB, on white where it is clear, with the sketch over it. Raises `UserError` if that is
    not there."""
    flat = on_paper(picture)
    if init.sketch:
        flat.paste(sketch := inputs.picture(init.sketch), mask=sketch if sketch.mode == "RGBA" else None)
    return flat


def keeps_canvas(init: InitImage) -> bool:
    """Whether the result has the canvas' size and pixels: always, but for AUTOMATIC1111's resized whole picture."""
    inpainting = init.inpainting
    return init.box is not None or (inpainting is not None and (inpainting.exact_outside or inpainting.only_masked))


def _masks(
    inpainting: Inpainting, masked: Image.Image | None, region: Rectangle, inside: NDArray[np.bool_]
) -> tuple[Bytes, Bytes]:
    """For a region: what is made new, softened, and by how much the result shows.

    The result's is opaque in all of the mask and fades around it. Outside the picture it fades the other way, so that
    no old pixel changes unless it is masked. Where not all outside is to be kept, both are A1111's blurred mask.
    """
    hard = np.zeros(inside.shape, np.uint8)
    if masked is not None:
        drawn = mask_of(masked, rounded=inpainting.soft is None)
        drawn = 255 - drawn if inpainting.inverted else drawn
        left, top = max(0, region[0]), max(0, region[1])
        part = drawn[top : region[3], left : region[2]]
        across, down = left - region[0], top - region[1]
        hard[down : down + part.shape[0], across : across + part.shape[1]] = part
    blur = inpainting.mask_blur
    if not inpainting.exact_outside and inside.all():
        soft = blurred(hard, blur)
        return soft, soft
    outside = np.where(inside, 0, 255).astype(np.uint8)
    whole = np.maximum(hard, outside)
    painted = np.maximum(doubled(blurred(hard, blur)), hard)
    # At a corner of the picture, where most of the neighbourhood is outside, the blur reaches in.
    beyond = np.where(inside, 0, outwards(blurred(outside, blur)))
    return np.maximum(blurred(whole, blur), whole), np.maximum(painted, beyond).astype(np.uint8)


def _for_latents(picture: Image.Image, init: InitImage, placed: Placement) -> Image.Image:
    """What is encoded: the area, or, where latents are resized, the picture at the nearest size that has them."""
    if init.resize_mode != LATENT or (init.inpainting is not None and init.inpainting.only_masked):
        return placed.put(picture)
    width, height = (max(SMALLEST_SIDE, round(side / SIZE_STEP) * SIZE_STEP) for side in picture.size)
    return resize(picture, JUST_RESIZE, width, height)


def _like(picture: Image.Image | None, size: Size) -> Image.Image:
    assert picture is not None
    return resize(picture.convert("L"), JUST_RESIZE, *size)


def _inside(region: Rectangle, size: Size) -> NDArray[np.bool_]:
    """Where a region, (height, width), lies within a picture of `size`."""
    columns, rows = np.arange(region[0], region[2]), np.arange(region[1], region[3])
    return ((rows >= 0) & (rows < size[1]))[:, None] & (columns >= 0) & (columns < size[0])
