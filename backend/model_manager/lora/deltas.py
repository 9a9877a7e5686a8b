"""What an adapter adds to a weight: one class per algorithm, with the paper or the public code that it follows.

Everything is computed in float32 on the device of the clean weight. A weight counts as a matrix of (rows, columns):
its first side, and the product of all others. Strength 0 adds nothing whatever the algorithm.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor


class Patch(ABC):
    """One adapter of one weight or bias, at strength 1."""

    @property
    @abstractmethod
    def sides(self) -> tuple[int | None, int | None]:
        """Rows and columns of the weights that it was made for; None where any number will do."""

    @abstractmethod
    def delta(self, clean: Tensor, strength: float) -> Tensor:
        """What is to be added to `clean` at `strength`: float32, of its shape, a tensor of its own."""

    def add(self, total: Tensor, clean: Tensor, strength: float, *, in_place: bool = False) -> Tensor:
        """`total`, float32, plus this patch of `clean`: a new tensor, or `total` itself if that may change."""
        delta = self.delta(clean, strength)
        return total.add_(delta) if in_place else delta.add_(total)

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a weight of this shape can be patched."""
        return all(wanted in (None, there) for wanted, there in zip(self.sides, sides_of(shape), strict=True))

    def limited(self, rank: int) -> "Patch":
        """The same with only its first `rank` ranks, as DyLoRA is used; only `LowRank` knows more or less of itself."""
        del rank
        return self


def sides_of(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a weight seen as a matrix."""
    return shape[0], prod(shape[1:])


def _matrix(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` as a float32 matrix where `like` is."""
    return tensor.to(like.device, torch.float32).flatten(1)


def _tucker(core: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The weight whose Tucker-2 core is (rank, rank, height, width); rows (rank, out), columns (rank, in)."""
    return torch.einsum("ijkl,io,jc->ockl", core, rows, columns)


@dataclass(frozen=True, kw_only=True, eq=False)
class LowRank(Patch):
    """up @ down x scale (Hu et al. 2021, LoRA, equation 3), for convolutions as LyCORIS' LoCon does: `down` has the
    kernel, `up` is 1x1; with `mid` (rank, rank, height, width) the kernel is there and both are 1x1.

    `up` (out, rank), `down` (rank, in); sides of length 1 may follow.
    """

    up: Tensor
    down: Tensor
    mid: Tensor | None = None
    scale: float = 1.0

    @property
    def sides(self) -> tuple[int, int]:
        kernel = 1 if self.mid is None else self.mid[0, 0].numel()
        return self.up.shape[0], self.down[0].numel() * kernel

    def add(self, total: Tensor, clean: Tensor, strength: float, *, in_place: bool = False) -> Tensor:
        up, down = _matrix(self.up, clean), _matrix(self.down, clean)
        if self.mid is not None:
            core = self.mid.to(clean.device, torch.float32)
            down = torch.einsum("ijkl,jc->ickl", core, down).flatten(1)
        # The sum is taken in the product: for float32 weights there is no second tensor of their size.
        if in_place:
            total.view(self.sides).addmm_(up, down, alpha=self.scale * strength)
            return total
        return torch.addmm(total.reshape(self.sides), up, down, alpha=self.scale * strength).view(total.shape)

    def delta(self, clean: Tensor, strength: float) -> Tensor:
        zero = torch.zeros((), dtype=torch.float32, device=clean.device).expand(clean.shape)
        return self.add(zero, clean, strength)

    def limited(self, rank: int) -> "LowRank":
        return self if self.mid is not None else replace(self, up=self.up[:, :rank], down=self.down[:rank])


@dataclass(frozen=True, kw_only=True, eq=False)
class Hadamard(Patch):
    """(w1_a @ w1_b) * (w2_a @ w2_b) x scale, element by element (Hyeon-Woo et al. 2022, FedPara; LyCORIS' LoHa).

    With the Tucker cores `t1`, `t2` (rank, rank, height, width) each factor is a Tucker product, and w1_a, w2_a are
    (rank, out) instead of (out, rank).
    """

    w1_a: Tensor
    w1_b: Tensor
    w2_a: Tensor
    w2_b: Tensor
    t1: Tensor | None = None
    t2: Tensor | None = None
    scale: float = 1.0

    @property
    def sides(self) -> tuple[int, int]:
        if self.t1 is None:
            return self.w1_a.shape[0], self.w1_b[0].numel()
        return self.w1_a.shape[1], self.w1_b.shape[1] * self.t1[0, 0].numel()

    def delta(self, clean: Tensor, strength: float) -> Tensor:
        first = self._factor(clean, self.w1_a, self.w1_b, self.t1)
        first *= self._factor(clean, self.w2_a, self.w2_b, self.t2)
        return first.mul_(self.scale * strength).view(clean.shape)

    def _factor(self, clean: Tensor, a: Tensor, b: Tensor, core: Tensor | None) -> Tensor:
        a, b = _matrix(a, clean), _matrix(b, clean)
        if core is None:
            return a @ b
        return _tucker(core.to(clean.device, torch.float32), a, b).reshape(self.sides)


@dataclass(frozen=True, kw_only=True, eq=False)
class Kronecker(Patch):
    """The Kronecker product of w1 and w2, x scale (Edalati et al. 2022, KronA; LyCORIS' LoKr).

    `w1` and `w2` are one full factor each, or two low-rank ones to be multiplied; with `t2` the second is a Tucker
    product of (rank, out) and (rank, in). The kernel of a convolution is in w2.
    """

    w1: tuple[Tensor, ...]
    w2: tuple[Tensor, ...]
    t2: Tensor | None = None
    scale: float = 1.0

    @property
    def sides(self) -> tuple[int, int]:
        if self.t2 is None:
            rows, columns = self.w2[0].shape[0], self.w2[-1][0].numel()
        else:
            rows, columns = self.w2[0].shape[1], self.w2[1].shape[1] * self.t2[0, 0].numel()
        return self.w1[0].shape[0] * rows, self.w1[-1].shape[1] * columns

    def delta(self, clean: Tensor, strength: float) -> Tensor:
        small = [_matrix(part, clean) for part in self.w1]
        large = [_matrix(part, clean) for part in self.w2]
        if self.t2 is not None:
            large = [_tucker(self.t2.to(clean.device, torch.float32), *large).flatten(1)]
        # The strength goes into the small factor, which is cheaper to scale than the product.
        first = (small[0] if len(small) == 1 else small[0] @ small[1]) * (self.scale * strength)
        return torch.kron(first, large[0] if len(large) == 1 else large[0] @ large[1]).view(clean.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Decomposed(Patch):
    """magnitude x (W + inner) / |W + inner| (Liu et al. 2024, DoRA, equation 5), of which `strength` takes a share: the
    weight moves from W towards that, so that strength 0 is W itself.

    The norm is taken per row (`by_row`: PEFT, and LyCORIS with `wd_on_out`) or per input channel (the paper, and
    LyCORIS until then). `magnitude` has a number for each.
    """

    inner: Patch
    magnitude: Tensor
    by_row: bool

    @property
    def sides(self) -> tuple[int | None, int | None]:
        return self.inner.sides

    def fits(self, shape: Sequence[int]) -> bool:
        count = shape[0] if self.by_row else shape[1] if len(shape) > 1 else 0
        return self.inner.fits(shape) and self.magnitude.numel() == count

    def delta(self, clean: Tensor, strength: float) -> Tensor:
        base = clean.float()
        merged = self.inner.add(base, clean, 1.0)
        kept = 0 if self.by_row else 1
        norms = torch.linalg.vector_norm(merged, dim=[side for side in range(clean.ndim) if side != kept], keepdim=True)
        magnitude = self.magnitude.to(clean.device, torch.float32).reshape(norms.shape)
        # A row of zeros has no direction: it stays zero.
        merged *= magnitude / norms.clamp_min(torch.finfo(torch.float32).tiny)
        return merged.sub_(base).mul_(strength)

    def limited(self, rank: int) -> "Decomposed":
        return replace(self, inner=self.inner.limited(rank))


@dataclass(frozen=True, kw_only=True, eq=False)
class Rotation(Patch):
    """R W - W with R orthogonal, by Cayley's transform of skew-symmetric blocks (Qiu et al. 2023, OFT).

    `blocks` (number, size, size) is OFT's block diagonal, which kohya and LyCORIS store transposed; (factors, number,
    size, size) are the butterfly factors of BOFT (Liu et al. 2024), as LyCORIS orders them. `limit` is the
    largest Frobenius norm of the skew-symmetric part, 0 for none. `rescale` is LyCORIS' factor per row. The strength
    moves each R and the rescaling away from identity in proportion.
    """

    blocks: Tensor
    limit: float = 0.0
    rescale: Tensor | None = None

    @property
    def sides(self) -> tuple[int, None]:
        return self.blocks.shape[-3] * self.blocks.shape[-2], None

    def delta(self, clean: Tensor, strength: float) -> Tensor:
        base = clean.float()
        rotations = self._rotations(clean, strength)
        turned = base.flatten(1)
        if rotations.ndim == 3:
            turned = _by_blocks(rotations.mT, turned)
        else:
            for level, factor in enumerate(rotations):
                # Rows that lie `stride` apart meet in one block; the stride doubles from factor to factor.
                stride = 2**level * (factor.shape[-1] // 2)
                mixed = turned.unflatten(0, (-1, 2, stride)).transpose(1, 2).flatten(0, 2)
                turned = _by_blocks(factor, mixed).unflatten(0, (-1, stride, 2)).transpose(1, 2).flatten(0, 2)
        if self.rescale is not None:
            rescale = self.rescale.to(clean.device, torch.float32).reshape(-1, 1)
            turned = turned * (1 + strength * (rescale - 1))
        return turned.reshape(clean.shape) - base

    def _rotations(self, clean: Tensor, strength: float) -> Tensor:
        blocks = self.blocks.to(clean.device, torch.float32)
        skew = blocks - blocks.mT
        if self.limit > 0:
            norm = torch.linalg.vector_norm(skew)
            skew = skew * (self.limit / norm.clamp_min(self.limit))
        identity = torch.eye(blocks.shape[-1], device=clean.device)
        rotations = torch.linalg.solve(identity - skew, identity + skew, left=False)
        return torch.lerp(identity.expand_as(rotations), rotations, strength)


def _by_blocks(blocks: Tensor, rows: Tensor) -> Tensor:
    """The block diagonal matrix of `blocks` (number, size, size) times `rows` (number x size, columns)."""
    return torch.bmm(blocks, rows.unflatten(0, blocks.shape[:2])).flatten(0, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rescaling(Patch):
    """W times a learned factor per row, or per input channel with `on_input` (Liu et al. 2022, IA3); LyCORIS stores the
    factor's distance from 1."""

    factor: Tensor
    on_input: bool

    @property
    def sides(self) -> tuple[int | None, int | None]:
        return (None, self.factor.numel()) if self.on_input else (self.factor.numel(), None)

    def fits(self, shape: Sequence[int]) -> bool:
        count = (shape[1] if len(shape) > 1 else 0) if self.on_input else shape[0]
        return count == self.factor.numel()

    def delta(self, clean: Tensor, strength: float) -> Tensor:
        side = 1 if self.on_input else 0
        shape = [-1 if k == side else 1 for k in range(clean.ndim)]
        return clean.float() * (self.factor.to(clean.device, torch.float32).reshape(shape) * strength)


@dataclass(frozen=True, kw_only=True, eq=False)
class Generalized(Patch):
    """(W A + B) x scale, A over W's input channels and both of low rank (Chavan et al. 2023, GLoRA, of which LyCORIS
    trains these two terms).

    `a` are two factors (in, rank), (rank, in); `b` is the additive term.
    """

    a: tuple[Tensor, Tensor]
    b: LowRank
    scale: float = 1.0

    @property
    def sides(self) -> tuple[int, int]:
        return self.b.sides

    def fits(self, shape: Sequence[int]) -> bool:
        return self.b.fits(shape) and shape[1] == self.a[0].shape[0]

    def delta(self, clean: Tensor, strength: float) -> Tensor:
        first, second = _matrix(self.a[0], clean), _matrix(self.a[1], clean)
        mixed = torch.einsum("oi...,ij->oj...", clean.float(), first * (self.scale * strength))
        mixed = torch.einsum("oj...,ji->oi...", mixed, second)
        return self.b.add(mixed, clean, self.scale * strength)


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference(Patch):
    """The difference itself, x scale: of a whole weight, a norm's weight or a bias (LyCORIS' full and norm modules)."""

    difference: Tensor
    scale: float = 1.0

    @property
    def sides(self) -> tuple[int, int]:
        return sides_of(self.difference.shape)

    def delta(self, clean: Tensor, strength: float) -> Tensor:
        return self.difference.to(clean.device, torch.float32).view(clean.shape) * (self.scale * strength)
