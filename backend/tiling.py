"""Pictures without a seam: what lies beyond an edge, for every convolution, is what lies at the opposite one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

Beyond = Literal["zeros", "circular"]


@contextmanager
def seamless(*networks: nn.Module, beyond: Beyond = "circular") -> Iterator[None]:
    """Let convolutions in two dimensions wrap around until the end of the `with`; then they are as they were before.
    With "zeros" it is the other way round.

    As in AUTOMATIC1111 a convolution that is given an edge of its own, as in a VAE's encoder where it halves a picture,
    keeps that.
    """
    convolutions = [
        module
        for network in networks
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and any(module.padding)
    ]
    before: list[Any] = [module.padding_mode for module in convolutions]
    try:
        for module in convolutions:
            module.padding_mode = beyond
        yield
    finally:
        for module, mode in zip(convolutions, before, strict=True):
            module.padding_mode = mode


def wrapped(x: Tensor, margin: int) -> Tensor:
    """What is (n, channels, height, width) with a margin around it, in which it begins again."""
    rows, columns = (torch.arange(-margin, side + margin, device=x.device) % side for side in x.shape[-2:])
    return x[..., rows, :][..., columns]


def unwrapped(x: Tensor, margin: int) -> Tensor:
    """The same without its margin."""
    return x[..., margin:-margin, margin:-margin]
