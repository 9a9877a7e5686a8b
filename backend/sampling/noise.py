"""Randomness: one source per picture, so that a picture does not depend on the batch it was made in.

No global generator is read or changed, and every number is a function of a seed: it is the same on every device.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_BLOCK = 16384  # numbers made at a time, so that the words stay in the processor's cache
_WORD = 0xFFFFFFFF
_LONG_WORD = 0xFFFFFFFFFFFFFFFF
_UNIT = 2.0**-32
_ANGLE = float(np.float32(2 * math.pi)) * 2.0**-32  # CUDA rounds 2 pi to float32


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


class ImageNoise:
    """Independent normal noise: one generator per picture of a batch.

    `shape` is that of one picture's latents, (channels, height, width). The first `next` is the noise a picture starts
    from; the later ones are for samplers that add noise between steps.
    """

    def __init__(self, seeds: Sequence[int], shape: tuple[int, int, int], device: torch.device) -> None:
        self._generators = [PhiloxGenerator(seed) for seed in seeds]
        self._shape = shape
        self._device = device

    def next(self) -> Tensor:
        """The next noise of every picture, (pictures, channels, height, width), float32, on the device."""
        return torch.from_numpy(np.stack([g.randn(self._shape) for g in self._generators])).to(self._device)


class BrownianNoise:
    """Noise for SDE solvers: increments of one Brownian path per picture, so that substeps and steps agree.

    `x` gives shape (pictures, channels, height, width), dtype and device; one seed per picture. The path lives on
    [sigma_min, sigma_max] and is torchsde's virtual Brownian tree (Li et al. 2020, "Scalable Gradients for
    Stochastic Differential Equations") over Philox normals: AUTOMATIC1111's noise for these samplers. The tree resolves
    sigmas to 1e-6, as much as its float32 sigmas are good for, so the two agree to about 1e-3 of the noise.
    """

    def __init__(self, x: Tensor, sigma_min: float, sigma_max: float, seeds: Sequence[int]) -> None:
        from backend.sampling.brownian import PhiloxBrownianTree  # late: torchsde brings scipy, few samplers need it

        size = tuple(x.shape[1:])
        self._trees = [PhiloxBrownianTree(sigma_min, sigma_max, size, x.dtype, seed & _LONG_WORD) for seed in seeds]
        self._device = x.device

    def __call__(self, sigma: float, sigma_next: float) -> Tensor:
        """The path's increment from `sigma` to `sigma_next`, divided by sqrt(|sigma - sigma_next|): unit variance."""
        low, high = sorted((sigma, sigma_next))
        scale = math.copysign(1 / math.sqrt(high - low), sigma_next - sigma)
        return (torch.stack([tree.increment(low, high) for tree in self._trees]) * scale).to(self._device)
