"""Pictures to latents and back, in one piece or in tiles."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

# Who stands around a decoder or an encoder: called with what would run, and with what that is given.
Around = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]
OVERLAP = 4  # a tile shares this part (one in so many) of its side with the next


def decode(vae: AutoencoderKL, latents: Tensor, scale: float, *, tile: int | None = None) -> Tensor:
    """Pixels around 0, (n, 3, height, width) in float32, of latents (n, channels, h, w) of variance 1 after `scale`.

    Computed in the VAE's precision, one picture at a time. In half precision a VAE can overflow: then it is asked once
    more in float32. What is not finite after that is given back as it is. With `tile`, in squares of so many latents
    that overlap and are blended: they take less memory, and as each is normalised on its own, colours move a little.
    """
    return torch.cat([_in_enough_precision(vae, z, _decoded, tile) for z in (latents / scale).split(1)])


def encode(vae: AutoencoderKL, pixels: Tensor, scale: float, *, tile: int | None = None) -> Tensor:
    """Latents of variance 1, (n, channels, h, w) in float32, of pixels around 0, (n, 3, height, width).

    They are the mean of what the encoder gives, where AUTOMATIC1111 draws around it, so that a picture is the same
    twice. Precision and `tile`, in pixels, as in `decode`.
    """
    return torch.cat([_in_enough_precision(vae, x, _encoded, tile) for x in pixels.split(1)]) * scale


def _decoded(vae: AutoencoderKL, z: Tensor) -> Tensor:
    # Annotated as FloatTensor, which no tensor of torch is.
    return vae.decode(z.to(vae.dtype), return_dict=False)[0].float()  # pyright: ignore[reportArgumentType]


def _encoded(vae: AutoencoderKL, x: Tensor) -> Tensor:
    return vae.encode(x.to(vae.dtype), return_dict=False)[0].mean.float()


def _in_enough_precision(
    vae: AutoencoderKL, x: Tensor, function: Callable[[AutoencoderKL, Tensor], Tensor], tile: int | None
) -> Tensor:
    def whole() -> Tensor:
        return function(vae, x) if tile is None else in_tiles(lambda part: function(vae, part), x, tile)

    y = whole()
    if y.isfinite().all() or not x.isfinite().all() or vae.dtype == torch.float32:
        return y
    with in_float32(vae):
        return whole()


@contextmanager
def in_float32(module: nn.Module) -> Iterator[None]:
    """Let `module` compute in float32 until the end of the `with`; then it has the same parameters as before."""
    kept = {part: dict(part._parameters) for part in module.modules() if part._parameters}
    try:
        with torch.inference_mode(False), torch.no_grad():  # kernels ask parameters what inference tensors do not know
            for part, parameters in kept.items():
                for name, parameter in parameters.items():
                    if parameter is not None:
                        part._parameters[name] = nn.Parameter(parameter.detach().float(), requires_grad=False)
        yield
    finally:
        for part, parameters in kept.items():
            part._parameters.update(parameters)


def in_tiles(function: Callable[[Tensor], Tensor], x: Tensor, tile: int) -> Tensor:
    """`function` of (1, channels, height, width), applied to overlapping squares of side `tile` and blended.

    It may scale height and width by a whole factor or divide them by one that divides the tile's quarter. Where two
    tiles overlap, the weight of each falls evenly towards its edge.
    """
    height, width = x.shape[-2:]
    corners = list(product(_starts(height, tile), _starts(width, tile)))
    if len(corners) == 1:
        return function(x)
    total = weights = torch.empty(0)
    for top, left in corners:
        part = function(x[..., top : top + tile, left : left + tile])
        tall, wide = part.shape[-2:]
        y_of, x_of = _scaled(tall, min(tile, height)), _scaled(wide, min(tile, width))
        if not total.numel():
            total = part.new_zeros(*part.shape[:-2], y_of(height), x_of(width))
            weights = part.new_zeros(total.shape[-2:])
        rows = _ramp(tall, y_of(tile // OVERLAP), part.device)
        columns = _ramp(wide, x_of(tile // OVERLAP), part.device)
        weight = rows[:, None] * columns
        down, across = slice(y_of(top), y_of(top) + tall), slice(x_of(left), x_of(left) + wide)
        total[..., down, across] += part * weight
        weights[down, across] += weight
    return total / weights


def _starts(side: int, tile: int) -> list[int]:
    """Where tiles begin along a side: each overlaps the next, and the last ends with it."""
    stride = tile - tile // OVERLAP
    return [*range(0, max(0, side - tile), stride), max(0, side - tile)]


def _scaled(after: int, before: int) -> Callable[[int], int]:
    """What becomes of a length when `before` becomes `after`."""
    return lambda length: length * after // before


def _ramp(length: int, overlap: int, device: torch.device) -> Tensor:
    """Weights that rise from the edge to 1 over an overlap; at the picture's own edge only their ratio counts."""
    distance = torch.arange(1, length + 1, device=device, dtype=torch.float32)
    return (torch.minimum(distance, distance.flip(0)) / (overlap + 1)).clamp(max=1)
