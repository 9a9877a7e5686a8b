"""What can be done to a finished picture without a network."""

import numpy as np
from PIL import ImageFilter

from backend.extension_api import Field, Image, Params

SHARPEN = ImageFilter.UnsharpMask(radius=1.5, percent=80, threshold=2)


class Grain(Params):
    """Film grain."""

    amount: float = Field(default=0.0, ge=0.0, le=1.0, title="Amount", json_schema_extra={"step": 0.05})
    size: int = Field(default=1, ge=1, le=8, title="Size", description="Pixels of a grain.")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, title="Seed")


class Vignette(Params):
    """Darker corners."""

    amount: float = Field(default=0.0, ge=0.0, le=1.0, title="Amount", json_schema_extra={"step": 0.05})
    reach: float = Field(default=0.5, ge=0.0, le=1.0, title="Reach", description="Where it begins: 0 in the middle.")


def sharpened(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Enlarged by bicubic interpolation, and sharpened as much as that blurs."""
    return picture.resize((width, height), Image.Resampling.BICUBIC).filter(SHARPEN)


def grain(picture: Image.Image, how: Grain) -> Image.Image:
    """With grey noise, strongest in the middle tones as on film; the same for the same seed."""
    if how.amount == 0:
        return picture
    width, height = picture.size
    rows, columns = -(-height // how.size), -(-width // how.size)
    drawn = np.random.default_rng(how.seed).normal(0, 40 * how.amount, (rows, columns)).astype(np.float32)
    noise = drawn.repeat(how.size, 0).repeat(how.size, 1)[:height, :width, None]
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    tone = pixels.mean(axis=2, keepdims=True) / 255
    return _to_picture(pixels + noise * (4 * tone * (1 - tone)))


def vignette(picture: Image.Image, how: Vignette) -> Image.Image:
    """Darker towards the corners, which keep 1 - amount of their light."""
    if how.amount == 0:
        return picture
    width, height = picture.size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    away = np.hypot(x, y) / np.sqrt(2)
    share = np.clip((away - how.reach) / max(1 - how.reach, 1e-6), 0, 1) ** 2
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    return _to_picture(pixels * (1 - how.amount * share[..., None]))


def _to_picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), "RGB")
