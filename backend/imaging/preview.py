"""What latents look like: a linear map to colours, fitted to the loaded VAE."""

import io

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from torch import Tensor

from backend.imaging.vae import encode

SAMPLES = 48  # pictures the map is fitted on
SIDE = 64  # pixels of their sides
QUALITY = 90  # of the JPEG; previews are tiny, the browser enlarges them


class Previewer:
    """Latents to RGB by least squares: colours = [latents, 1] @ weights, one pixel a latent.

    Tables of such weights are known for published VAEs; fitting them takes one small encoding and is right for any.
    """

    def __init__(self, vae: AutoencoderKL, scale: float):
        """Fit to `vae`, on simple pictures of every colour; `scale` makes its latents unit variance."""
        device = vae.device
        generator = torch.Generator().manual_seed(0)
        # A thing before a ground, both of random colours: what a picture is like at the scale of a latent.
        ground, thing = torch.rand(2, SAMPLES, 3, 1, 1, generator=generator)
        inside = torch.zeros(SAMPLES, 1, SIDE, SIDE)
        for k in range(SAMPLES):
            top, left, height, width = torch.randint(SIDE // 8, SIDE // 2, (4,), generator=generator).tolist()
            inside[k, :, top : top + height, left : left + width] = 1
        pictures = ground + (thing - ground) * inside
        latents = encode(vae, (pictures * 2 - 1).to(device), scale).cpu()
        colours = torch.nn.functional.adaptive_avg_pool2d(pictures, (latents.shape[-2], latents.shape[-1]))
        x = torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1).movedim(1, -1).flatten(0, -2)
        y = colours.movedim(1, -1).flatten(0, -2)
        # An encoder that overflows tells nothing: then every preview is grey, and it is the picture that must complain.
        known = bool(x.isfinite().all())
        grey = torch.cat([torch.zeros(x.shape[1] - 1, 3), torch.full((1, 3), 0.5)])
        self._weights = torch.linalg.lstsq(x, y).solution if known else grey

    def image(self, latents: Tensor) -> Image.Image:
        """The pictures of (batch, channels, height, width) latents side by side, one pixel a latent."""
        x = latents.detach().float().cpu()
        colours = torch.cat(list(x), dim=-1).movedim(0, -1) @ self._weights[:-1] + self._weights[-1]
        return Image.fromarray((colours.clamp(0, 1) * 255).round().to(torch.uint8).numpy())

    def jpeg(self, latents: Tensor) -> bytes:
        """The same as a small JPEG file."""
        data = io.BytesIO()
        self.image(latents).save(data, "JPEG", quality=QUALITY, subsampling=0)
        return data.getvalue()
