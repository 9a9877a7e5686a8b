"""What latents look like, without decoding them: a linear map to colours, fitted to the loaded VAE."""

import io

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from torch import Tensor

SAMPLES = 24  # pictures the map is fitted on
SIDE = 64  # pixels of their sides
QUALITY = 90  # of the JPEG; previews are tiny, the browser enlarges them


class Previewer:
    """Latents to RGB by least squares: colours = [latents, 1] @ weights, one pixel a latent.

    Tables of such weights are known for published VAEs; fitting them takes one small encoding and is right for any.
    """

    def __init__(self, vae: AutoencoderKL, scale: float):
        """Fit to `vae`, on smooth pictures of every colour; `scale` makes its latents unit variance."""
        device = vae.device
        generator = torch.Generator().manual_seed(0)
        # Coarse random colours, enlarged softly: neighbouring latents see edges as well as plain areas.
        coarse = torch.rand(SAMPLES, 3, 4, 4, generator=generator)
        pictures = torch.nn.functional.interpolate(coarse, size=SIDE, mode="bicubic").clamp(0, 1)
        pictures[: SAMPLES // 2] = torch.nn.functional.interpolate(coarse[: SAMPLES // 2], size=SIDE, mode="nearest")
        # One picture a call, as everywhere: a large VAE must not need more memory for this than for the result.
        inputs = (pictures * 2 - 1).to(device, vae.dtype)
        encoded = [vae.encode(picture[None], return_dict=False)[0].mean.float().cpu() for picture in inputs]
        latents = torch.cat(encoded) * scale
        colours = torch.nn.functional.adaptive_avg_pool2d(pictures, (latents.shape[-2], latents.shape[-1]))
        x = torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1).movedim(1, -1).flatten(0, -2)
        self._weights = torch.linalg.lstsq(x, colours.movedim(1, -1).flatten(0, -2)).solution

    def image(self, latents: Tensor) -> Image.Image:
        """The pictures of (batch, channels, height, width) latents side by side, one pixel a latent."""
        x = latents.detach().float().cpu()
        row = torch.cat(list(x), dim=-1).movedim(0, -1)
        colours = (row @ self._weights[:-1] + self._weights[-1]).clamp(0, 1)
        return Image.fromarray((colours * 255).round().to(torch.uint8).numpy())

    def jpeg(self, latents: Tensor) -> bytes:
        """The same as a small JPEG file."""
        data = io.BytesIO()
        self.image(latents).save(data, "JPEG", quality=QUALITY, subsampling=0)
        return data.getvalue()
