"""Pictures and masks as tensors, and what sampling begins with of a frame."""

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn.functional import interpolate

from backend.families.unseen import Shown
from backend.frame import Frame
from backend.imaging.mask import latent_mask
from backend.imaging.resize import JUST_RESIZE, resize
from backend.init_image import LATENT_UPSCALERS
from backend.sampling.img2img import Known, seen_difference

SOFT_EDGE = 4  # pixels that the edge of what soft inpainting changed is blurred by, as A1111 does


def to_pixels(picture: Image.Image, device: torch.device) -> Tensor:
    """A picture in RGB as (1, 3, height, width) from -1 to 1."""
    data = torch.from_numpy(np.array(picture, np.float32)) / 255 * 2 - 1
    return data.movedim(-1, 0)[None].to(device)


def to_picture(pixels: Tensor) -> Image.Image:
    """Pixels around 0, (1, 3, height, width), as a picture: cut off to bytes, not rounded, as A1111 does."""
    data = ((pixels[0].movedim(0, -1) + 1) / 2).clamp(0, 1) * 255
    return Image.fromarray(data.to(torch.uint8).cpu().numpy())


def known_of(frame: Frame, latents: Tensor, factor: int) -> Known:
    """What sampling begins with: the `latents` of the frame's picture, at the size of its area, and its mask at that
    of latents, which are `factor` pixels wide."""
    size = (frame.area[0] // factor, frame.area[1] // factor)
    if latents.shape[-2:] != (size[1], size[0]):
        latents = interpolate(latents, size=(size[1], size[0]), mode="bilinear")
    if frame.mask is None:
        return Known(latents=latents)
    soft = frame.inpainting.soft if frame.inpainting else None
    mask = torch.from_numpy(latent_mask(frame.mask, size, rounded=soft is None)).to(latents.device)
    return Known(latents=latents, mask=mask[None, None], soft=soft)


def shown_of(frame: Frame, device: torch.device, tile: int | None) -> Shown:
    """What a UNet with more input channels is shown of a frame."""
    seen = frame.picture if frame.picture.size == frame.area else frame.shown
    mask = depth = None
    if frame.mask is not None:
        soft = frame.inpainting is not None and frame.inpainting.soft is not None
        levels = np.asarray(frame.mask, np.float32) / 255
        mask = torch.from_numpy(levels if soft else np.around(levels))[None, None].to(device)
    if frame.depth is not None:
        depth = torch.from_numpy(np.array(frame.depth, np.float32))[None, None].to(device)
    weight = frame.inpainting.mask_weight if frame.inpainting else 1.0
    return Shown(pixels=to_pixels(seen, device), mask=mask, mask_weight=weight, depth=depth, tile=tile)


def difference_mask(frame: Frame, known: Known, latents: Tensor, number: int) -> Image.Image | None:
    """How much of picture `number` soft inpainting lets be seen, at the size of the frame's area; nothing where that is
    not asked for."""
    if known.soft is None or known.mask is None:
        return None
    share = seen_difference(known.soft, known, latents)[number]
    levels = Image.fromarray((share * 255).round().to(torch.uint8).cpu().numpy())
    return resize(levels, JUST_RESIZE, *frame.area).filter(ImageFilter.GaussianBlur(SOFT_EDGE))


def enlarged(latents: Tensor, upscaler: str, whole: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Latents by one of `LATENT_UPSCALERS` to the size `whole`, of which the middle is kept, `target`: both (width,
    height) in latents."""
    mode, antialias = LATENT_UPSCALERS[upscaler]
    large = interpolate(latents, size=(whole[1], whole[0]), mode=mode, antialias=antialias)
    left, top = (whole[0] - target[0]) // 2, (whole[1] - target[1]) // 2
    return large[..., top : top + target[1], left : left + target[0]]
