"""torchsde's Brownian tree, drawing its normal numbers from where it is told.

torchsde takes them from a function of its module, which others replace for the whole process. Here the tree is made of
nodes of our own class instead, so nothing global changes and two trees cannot disturb each other. The three members
that are overridden or read are private to torchsde; `tests/test_noise.py` compares the values with its own tree.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torchsde._brownian import brownian_interval

_DIGITS = 6  # torchsde.BrownianTree stops halving at 1e-6 and takes times as rounded to that
_POOL_SIZE = 24  # and this much entropy for its seeds
_KEPT = 64


class _Node(brownian_interval._Interval):
    """An interval of the tree; its halves are of the same kind."""

    __slots__ = ()

    def _randn(self, seed: int) -> Tensor:
        return self._top.normals(int(seed))

    def _split_exact(self, midway: float) -> None:
        super()._split_exact(midway)
        left, right = self._left_child, self._right_child
        self._left_child = _Node(left._start, left._end, self, True, self._top)
        self._right_child = _Node(right._start, right._end, self, False, self._top)


class _Root(_Node, brownian_interval.BrownianInterval):
    """The whole interval, with torchsde's search and its cache of increments.

    Both halves of an interval and all neighbouring queries ask for the same normal numbers: keeping the last
    `_KEPT` draws leaves a third of the drawing (660 of 2084 draws in 20 steps of DPM++ SDE).
    """

    def __init__(self, draw: Callable[[int], Tensor], **options: Any) -> None:
        self.normals = lru_cache(maxsize=_KEPT)(draw)
        super().__init__(device=torch.device("cpu"), **options)


class BrownianTree:
    """A Brownian path on [start, end] of tensors of `size`, on the CPU. `draw(seed)` gives normal numbers of that size
    and `dtype`; the path is determined by `seed` and by them."""

    def __init__(
        self,
        start: float,
        end: float,
        size: tuple[int, ...],
        dtype: torch.dtype,
        seed: int,
        draw: Callable[[int], Tensor],
    ) -> None:
        self._root = _Root(
            draw,
            t0=start,
            t1=end,
            size=size,
            dtype=dtype,
            entropy=seed,
            tol=10.0**-_DIGITS,
            pool_size=_POOL_SIZE,
            halfway_tree=True,
        )

    def increment(self, start: float, end: float) -> Tensor:
        """The path at `end` minus the path at `start`; both are rounded as the tree's own ends are."""
        increment = self._root(round(start, _DIGITS), round(end, _DIGITS))
        assert isinstance(increment, Tensor)  # a tuple comes only with the areas, which nobody asks for here
        return increment
