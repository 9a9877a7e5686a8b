"""Randomness: one source per picture, so that a picture does not depend on the batch it was made in.

No global generator is read or changed, and every number is a function of a seed. Where the numbers come from is a
choice: "NV" are those of CUDA's generator, computed here, and the same on every device; "CPU" are torch's on the CPU;
"GPU" are torch's on the device if that is CUDA's, and else, as in AUTOMATIC1111, torch's on the CPU.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

# Standard normal numbers of a shape, float32; each call gives the next ones.
Normals: TypeAlias = Callable[[tuple[int, ...]], Tensor]

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_BLOCK = 16384  # numbers made at a time, so that the words stay in the processor's cache
_WORD = 0xFFFFFFFF
_LONG_WORD = 0xFFFFFFFFFFFFFFFF
_UNIT = 2.0**-32
_ANGLE = float(np.float32(2 * math.pi)) * 2.0**-32  # CUDA rounds 2 pi to float32
_PARALLEL = 0.9995  # the mean cosine above which two noises are mixed along the chord


class PhiloxGenerator:
    """The normal numbers of CUDA's generator, on any device ("NV" noise).

    Philox 4x32 with 10 rounds (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3") and the Box-Muller
    transform. Number k of call c has the counter (c, 0, k, 0) and the seed as key; of the four words that come out the
    first two make it. This is what torch's CUDA kernel does for tensors that fill its grid no more than once.
    """

    def __init__(self, seed: int) -> None:
        self._key = seed & _WORD, (seed & _LONG_WORD) >> 32
        self._offset = 0

    def randn(self, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normal numbers, float32; each call gives the next ones."""
        numbers = np.empty(math.prod(shape), np.float32)
        for start in range(0, numbers.size, _BLOCK):
            block = numbers[start : start + _BLOCK]
            first, second = _philox(self._offset, range(start, start + block.size), self._key)
            radius = np.sqrt(-2.0 * np.log(first * _UNIT + _UNIT / 2))
            block[:] = radius * np.sin(second * _ANGLE + _ANGLE / 2)
        self._offset += 1
        return numbers.reshape(shape)


def _philox(offset: int, elements: range, key: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The first two words for the counters (offset, 0, element, 0): 32-bit values in uint64, so that products fit."""
    a = np.full(len(elements), offset, np.uint64)
    b = np.zeros_like(a)
    c = np.arange(elements.start, elements.stop, dtype=np.uint64)
    d = np.zeros_like(a)
    for n in range(_ROUNDS):
        low_key, high_key = ((k + n * weyl) & _WORD for k, weyl in zip(key, _WEYL, strict=True))
        a *= _MULTIPLIERS[0]
        c *= _MULTIPLIERS[1]
        b ^= (c >> 32) ^ low_key
        d ^= (a >> 32) ^ high_key
        a &= _WORD
        c &= _WORD
        a, b, c, d = b, c, d, a
    return a, b


def normals(source: str, seed: int, device: torch.device) -> Normals:
    """The normal numbers of a seed from a source, "NV", "CPU" or "GPU"; `device` is what is computed on.

    Seeds are counted modulo 2**64.
    """
    if source == "NV":
        philox = PhiloxGenerator(seed)
        return lambda shape: torch.from_numpy(philox.randn(shape))
    place = device if source == "GPU" and device.type == "cuda" else torch.device("cpu")
    generator = torch.Generator(place).manual_seed(seed & _LONG_WORD)
    return lambda shape: torch.randn(shape, generator=generator, device=place)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How the noise of pictures is drawn: from which source, and what becomes of the first one.

    That is moved by `strength` towards the noise of another seed. With `drawn_at`, (height, width) in latents, it is
    drawn for a picture of that size and put into the middle of this one's. All that follows is drawn with the seed
    plus `seed_delta`, A1111's "eta noise seed delta".
    """

    source: str = "NV"
    strength: float = 0.0
    drawn_at: tuple[int, int] | None = None
    seed_delta: int = 0


PLAIN = Drawing()


class ImageNoise:
    """Independent normal noise: one generator per picture of a batch.

    `shape` is that of one picture's latents, (channels, height, width). The first `next` is the noise a picture starts
    from; the later ones are for samplers that add noise between steps.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: tuple[int, int, int],
        device: torch.device,
        drawing: Drawing = PLAIN,
        *,
        variation_seeds: Sequence[int] = (),
    ) -> None:
        """`variation_seeds`, one per picture, are those towards which `drawing` moves the first noise."""
        self._seeds = seeds
        self._variation_seeds = variation_seeds if drawing.strength else ()
        self._shape = shape
        self._device = device
        self._drawing = drawing
        self._normals = [self._of(seed) for seed in seeds]
        self._begun = False

    def next(self) -> Tensor:
        """The next noise of every picture, (pictures, channels, height, width), float32, on the device."""
        if self._begun:
            return self._stacked([draw(self._shape) for draw in self._normals])
        self._begun = True
        first = self._stacked([self._first(number) for number in range(len(self._seeds))])
        if delta := self._drawing.seed_delta:
            self._normals = [self._of(seed + delta) for seed in self._seeds]
        return first

    def _first(self, number: int) -> Tensor:
        """The noise that a picture starts from, in AUTOMATIC1111's order of draws: what is drawn at another size comes
        from generators of its own, and this size's noise is drawn around it."""
        seed, own = self._seeds[number], self._normals[number]
        size = self._drawing.drawn_at
        elsewhere = size is not None and size != self._shape[1:]
        shape = (self._shape[0], *size) if size is not None and elsewhere else self._shape
        noise = self._of(seed)(shape) if elsewhere else own(shape)
        if self._variation_seeds:
            noise = slerp(noise, self._of(self._variation_seeds[number])(shape), self._drawing.strength)
        return _centred(noise, own(self._shape)) if elsewhere else noise

    def _of(self, seed: int) -> Normals:
        return normals(self._drawing.source, seed, self._device)

    def _stacked(self, noises: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(noises)).to(self._device)


def slerp(low: Tensor, high: Tensor, share: float) -> Tensor:
    """The point at `share` of the way from one noise to another, along the arc between them (Shoemake 1985).

    As AUTOMATIC1111 has it, where (channels, height, width) are taken row by row along the height: each column of each
    channel is a vector. Noises that are all but parallel are mixed along the chord, with the shares exchanged.
    """
    cosine = (low / low.norm(dim=1, keepdim=True) * (high / high.norm(dim=1, keepdim=True))).sum(1)
    if cosine.mean() > _PARALLEL:
        return low * share + high * (1 - share)
    angle = cosine.acos()
    parts = [torch.sin(part * angle) / angle.sin() for part in (1 - share, share)]
    return parts[0].unsqueeze(1) * low + parts[1].unsqueeze(1) * high


def _centred(noise: Tensor, around: Tensor) -> Tensor:
    """One noise in the middle of another; of what is larger the middle is seen."""
    into, of = (slice(None),), (slice(None),)
    for small, large in zip(noise.shape[1:], around.shape[1:], strict=True):
        margin = int((large - small) // 2)  # rounded down, also below zero
        length = small if margin >= 0 else small + 2 * margin
        into += (slice(max(0, margin), max(0, margin) + length),)
        of += (slice(max(0, -margin), max(0, -margin) + length),)
    result = around.clone()
    result[into] = noise[of]
    return result


class BrownianNoise:
    """Noise for SDE solvers: increments of one Brownian path per picture, so that substeps and steps agree.

    `x` gives shape (pictures, channels, height, width), dtype and device; one seed per picture. The path lives on
    [sigma_min, sigma_max] and is torchsde's virtual Brownian tree (Li et al. 2020, "Scalable Gradients for
    Stochastic Differential Equations") over the normals of a source: AUTOMATIC1111's noise for these samplers. The tree
    resolves sigmas to 1e-6, as much as its float32 sigmas are good for, so the two agree to about 1e-3 of the noise.
    """

    def __init__(
        self, x: Tensor, sigma_min: float, sigma_max: float, seeds: Sequence[int], source: str = PLAIN.source
    ) -> None:
        from backend.sampling.brownian import BrownianTree  # late: torchsde brings scipy, few samplers need it

        size, dtype, device = tuple(x.shape[1:]), x.dtype, x.device

        def draw(seed: int) -> Tensor:
            return normals(source, seed, device)(size).to("cpu", dtype)

        self._trees = [BrownianTree(sigma_min, sigma_max, size, dtype, seed & _LONG_WORD, draw) for seed in seeds]
        self._device = device

    def __call__(self, sigma: float, sigma_next: float) -> Tensor:
        """The path's increment from `sigma` to `sigma_next`, divided by sqrt(|sigma - sigma_next|): unit variance."""
        low, high = sorted((sigma, sigma_next))
        scale = math.copysign(1 / math.sqrt(high - low), sigma_next - sigma)
        return (torch.stack([tree.increment(low, high) for tree in self._trees]) * scale).to(self._device)
