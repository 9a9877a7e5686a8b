"""What latents look like: a linear map to colours, fitted to the loaded VAE, or the VAE itself where none fits."""

import io

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from torch import Tensor

SAMPLES = 48  # pictures the map is fitted on
SIDE = 64  # pixels of their sides
LEAST_EXPLAINED = 0.6  # share of the colours' variance; a map that explains less would mislead
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
        # One picture a call, as everywhere: a large VAE must not need more memory for this than for the result.
        inputs = (pictures * 2 - 1).to(device, vae.dtype)
        encoded = [vae.encode(picture[None], return_dict=False)[0].mean.float().cpu() for picture in inputs]
        latents = torch.cat(encoded) * scale
        colours = torch.nn.functional.adaptive_avg_pool2d(pictures, (latents.shape[-2], latents.shape[-1]))
        x = torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1).movedim(1, -1).flatten(0, -2)
        y = colours.movedim(1, -1).flatten(0, -2)
        self._weights = torch.linalg.lstsq(x, y).solution
        unexplained = (y - x @ self._weights).square().sum() / (y - y.mean(0)).square().sum()
        self._fits = bool(unexplained <= 1 - LEAST_EXPLAINED)
        self._vae, self._scale = vae, scale

    def image(self, latents: Tensor) -> Image.Image:
        """The pictures of (batch, channels, height, width) latents side by side: one pixel a latent, or, of a VAE whose
        latents are no colours, decoded."""
        if self._fits:
            x = latents.detach().float().cpu()
            colours = torch.cat(list(x), dim=-1).movedim(0, -1) @ self._weights[:-1] + self._weights[-1]
        else:
            z = (latents / self._scale).to(self._vae.dtype)
            # diffusers' stub wants a FloatTensor, which no tensor is
            decoded = [
                self._vae.decode(part, return_dict=False)[0][0].float().cpu()  # pyright: ignore[reportArgumentType]
                for part in z.split(1)
            ]
            colours = (torch.cat(decoded, dim=-1).movedim(0, -1) + 1) / 2
        return Image.fromarray((colours.clamp(0, 1) * 255).round().to(torch.uint8).numpy())

    def jpeg(self, latents: Tensor) -> bytes:
        """The same as a small JPEG file."""
        data = io.BytesIO()
        self.image(latents).save(data, "JPEG", quality=QUALITY, subsampling=0)
        return data.getvalue()
