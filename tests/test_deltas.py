"""Each formula against an evaluation of its own, in float64 and by another way."""

import itertools
from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backend.model_manager.lora.deltas import (
    Decomposed,
    Difference,
    Generalized,
    Hadamard,
    Kronecker,
    LowRank,
    Patch,
    Rescaling,
    Rotation,
)

OUT, IN, RANK, STRENGTH = 12, 8, 3, 0.7
LINEAR, CONV = (OUT, IN), (OUT, IN, 3, 3)
Double = torch.float64
PICTURE = torch.randn(2, IN, 5, 5, dtype=Double)


def holds(patch: Patch, clean: Tensor, expected: Tensor) -> None:
    """The patch's delta is `expected` (float64), alone and added, and nothing that it was given changes."""
    before = clean.clone()
    assert patch.fits(clean.shape)
    delta = patch.delta(clean, STRENGTH)
    assert delta.dtype == torch.float32 and delta.shape == clean.shape
    scale = expected.abs().max().item()
    assert scale > 1e-3
    torch.testing.assert_close(delta.double(), expected, rtol=1e-4, atol=1e-5 * scale)
    total = torch.randn(clean.shape)
    kept = total.clone()
    added = patch.add(total, clean, STRENGTH)
    assert torch.equal(total, kept)
    torch.testing.assert_close(added.double(), kept.double() + expected, rtol=1e-4, atol=1e-5 * (1 + scale))
    assert patch.add(total, clean, STRENGTH, in_place=True).data_ptr() == total.data_ptr()
    torch.testing.assert_close(total, added)
    assert torch.equal(clean, before)


def works(patch: Patch, shape: tuple[int, ...], changed: Tensor) -> None:
    """A convolution with the delta of `patch` gives `changed` for `PICTURE`."""
    clean = torch.zeros(shape)
    result = F.conv2d(PICTURE, patch.delta(clean, STRENGTH).double(), padding=shape[-1] // 2)
    torch.testing.assert_close(result, STRENGTH * changed, rtol=1e-4, atol=1e-4)
    assert changed.abs().max() > 0.1


@pytest.mark.parametrize("shape", [LINEAR, CONV, (OUT, IN, 1, 1)])
def test_low_rank(shape: tuple[int, ...]) -> None:
    up, down = torch.randn(OUT, RANK), torch.randn(RANK, *shape[1:])
    product = sum(torch.outer(up[:, r].double(), down[r].double().flatten()) for r in range(RANK))
    assert isinstance(product, Tensor)
    holds(LowRank(up=up, down=down, scale=0.5), torch.randn(shape), STRENGTH * 0.5 * product.view(shape))


def test_a_matrix_takes_factors_of_a_convolution_and_the_other_way_round() -> None:
    """SD2 and SDXL project with matrices what SD1 projects with 1x1 convolutions; files have either."""
    up, down = torch.randn(OUT, RANK), torch.randn(RANK, IN)
    flat = LowRank(up=up, down=down)
    square = LowRank(up=up[..., None, None], down=down[..., None, None])
    torch.testing.assert_close(square.delta(torch.zeros(LINEAR), 1), flat.delta(torch.zeros(LINEAR), 1))
    torch.testing.assert_close(flat.delta(torch.zeros(OUT, IN, 1, 1), 1)[..., 0, 0], flat.delta(torch.zeros(LINEAR), 1))


def test_locon_is_two_convolutions_in_a_row() -> None:
    up, down = torch.randn(OUT, RANK, 1, 1), torch.randn(RANK, IN, 3, 3)
    changed = F.conv2d(F.conv2d(PICTURE, down.double(), padding=1), up.double())
    works(LowRank(up=up, down=down), CONV, changed)


def test_locon_with_a_middle_is_three() -> None:
    up, mid, down = torch.randn(OUT, RANK, 1, 1), torch.randn(RANK, RANK, 3, 3), torch.randn(RANK, IN, 1, 1)
    changed = F.conv2d(F.conv2d(F.conv2d(PICTURE, down.double()), mid.double(), padding=1), up.double())
    works(LowRank(up=up, down=down, mid=mid), CONV, changed)
    holds(
        LowRank(up=up, down=down, mid=mid, scale=2),
        torch.randn(CONV),
        2 * STRENGTH * torch.einsum("or,rskl,si->oikl", up[..., 0, 0].double(), mid.double(), down[..., 0, 0].double()),
    )


def test_a_limited_rank_is_the_first_ranks() -> None:
    up, down = torch.randn(OUT, RANK), torch.randn(RANK, IN)
    limited = LowRank(up=up, down=down, scale=0.5).limited(2)
    holds(limited, torch.randn(LINEAR), STRENGTH * 0.5 * (up[:, :2].double() @ down[:2].double()))
    whole = LowRank(up=up, down=down).limited(99)
    holds(whole, torch.randn(LINEAR), STRENGTH * (up.double() @ down.double()))


@pytest.mark.parametrize("shape", [LINEAR, CONV])
def test_hadamard(shape: tuple[int, ...]) -> None:
    columns = prod(shape[1:])
    a, b, c, d = torch.randn(OUT, RANK), torch.randn(RANK, columns), torch.randn(OUT, RANK), torch.randn(RANK, columns)
    expected = torch.zeros(OUT, columns, dtype=Double)
    for r, s in itertools.product(range(RANK), repeat=2):
        expected += torch.outer((a[:, r] * c[:, s]).double(), (b[r] * d[s]).double())
    patch = Hadamard(w1_a=a, w1_b=b, w2_a=c, w2_b=d, scale=0.25)
    holds(patch, torch.randn(shape), STRENGTH * 0.25 * expected.view(shape))


def tucker(core: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Convolutions in a row make the weight: it is what they answer to single impulses."""
    impulses = torch.zeros(columns.shape[1], columns.shape[1], 5, 5, dtype=Double)
    for channel in range(columns.shape[1]):
        impulses[channel, channel, 2, 2] = 1
    answer = F.conv2d(impulses, columns.double()[..., None, None])
    answer = F.conv2d(answer, core.double())
    answer = F.conv2d(answer, rows.double().T[..., None, None])
    return answer.transpose(0, 1).flip(-1, -2)


def test_hadamard_with_cores() -> None:
    t1, t2 = torch.randn(RANK, RANK, 3, 3), torch.randn(RANK, RANK, 3, 3)
    a, b, c, d = torch.randn(RANK, OUT), torch.randn(RANK, IN), torch.randn(RANK, OUT), torch.randn(RANK, IN)
    expected = tucker(t1, a, b) * tucker(t2, c, d)
    patch = Hadamard(w1_a=a, w1_b=b, w2_a=c, w2_b=d, t1=t1, t2=t2, scale=0.5)
    holds(patch, torch.randn(CONV), STRENGTH * 0.5 * expected)


def kronecker(w1: Tensor, w2: Tensor) -> Tensor:
    """By its definition, element by element; the kernel belongs to w2."""
    rows, columns = w2.shape[:2]
    product = torch.zeros(w1.shape[0] * rows, w1.shape[1] * columns, *w2.shape[2:], dtype=Double)
    for i, j, k, m in itertools.product(*map(range, (*w1.shape, rows, columns))):
        product[i * rows + k, j * columns + m] = w1[i, j].double() * w2[k, m].double()
    return product


@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_kronecker_of_full_factors(kernel: tuple[int, ...]) -> None:
    w1, w2 = torch.randn(3, 2), torch.randn(4, 4, *kernel)
    patch = Kronecker(w1=(w1,), w2=(w2,), scale=0.5)
    holds(patch, torch.randn(OUT, IN, *kernel), STRENGTH * 0.5 * kronecker(w1, w2))


def test_kronecker_of_low_rank_factors() -> None:
    first, second = (torch.randn(3, 2), torch.randn(2, 2)), (torch.randn(4, 2), torch.randn(2, 4))
    expected = kronecker(first[0].double() @ first[1].double(), second[0].double() @ second[1].double())
    holds(Kronecker(w1=first, w2=second), torch.randn(LINEAR), STRENGTH * expected)


def test_kronecker_of_a_convolution() -> None:
    w1, a, b = torch.randn(3, 2), torch.randn(4, 2), torch.randn(2, 4 * 9)
    expected = kronecker(w1, (a.double() @ b.double()).view(4, 4, 3, 3))
    holds(Kronecker(w1=(w1,), w2=(a, b)), torch.randn(CONV), STRENGTH * expected)
    core, rows, columns = torch.randn(2, 2, 3, 3), torch.randn(2, 4), torch.randn(2, 4)
    patch = Kronecker(w1=(w1,), w2=(rows, columns), t2=core)
    holds(patch, torch.randn(CONV), STRENGTH * kronecker(w1, tucker(core, rows, columns)))


@pytest.mark.parametrize("shape", [LINEAR, CONV])
@pytest.mark.parametrize("by_row", [True, False])
def test_decomposed(shape: tuple[int, ...], by_row: bool) -> None:
    clean, up, down = torch.randn(shape), torch.randn(OUT, RANK), torch.randn(RANK, *shape[1:])
    count = OUT if by_row else IN
    magnitude = torch.rand(count) + 0.5
    merged = clean.double() + 0.5 * (up.double() @ down.double().flatten(1)).view(shape)
    expected = torch.zeros(shape, dtype=Double)
    for k in range(count):
        here = (k,) if by_row else (slice(None), k)
        length = merged[here].square().sum().sqrt()
        expected[here] = magnitude[k].double() * merged[here] / length - clean.double()[here]
    side = [count, *[1] * (len(shape) - 1)] if by_row else [1, count, *[1] * (len(shape) - 2)]
    patch = Decomposed(inner=LowRank(up=up, down=down, scale=0.5), magnitude=magnitude.view(side), by_row=by_row)
    holds(patch, clean, STRENGTH * expected)


def test_decomposed_around_another_algorithm_and_a_dead_row() -> None:
    clean = torch.randn(LINEAR)
    clean[3] = 0
    difference = torch.randn(LINEAR)
    difference[3] = 0
    patch = Decomposed(inner=Difference(difference=difference), magnitude=torch.ones(OUT), by_row=True)
    merged = clean.double() + difference.double()
    alive = [k for k in range(OUT) if k != 3]
    expected = torch.zeros(LINEAR, dtype=Double)
    expected[alive] = F.normalize(merged[alive], dim=1) - clean.double()[alive]
    holds(patch, clean, STRENGTH * expected)


def cayley(block: Tensor, limit: float = 0) -> Tensor:
    skew = block.double() - block.double().mT
    if limit and skew.norm() > limit:
        skew = skew * limit / skew.norm()
    identity = torch.eye(block.shape[-1], dtype=Double)
    return (identity + skew) @ torch.linalg.inv(identity - skew)


@pytest.mark.parametrize("shape", [LINEAR, CONV])
@pytest.mark.parametrize("limit", [0.0, 0.3, 1000.0])
def test_rotation_by_blocks(shape: tuple[int, ...], limit: float) -> None:
    blocks, clean = torch.randn(3, 4, 4), torch.randn(shape)
    rotation = torch.block_diag(*cayley(blocks, limit))
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(OUT, dtype=Double))
    # kohya and LyCORIS multiply outputs, rows as they are, from the right.
    turned = torch.einsum("o...,op->p...", clean.double(), rotation)
    holds(Rotation(blocks=blocks, limit=limit), clean, STRENGTH * (turned - clean.double()))


def test_rotation_with_a_rescaling() -> None:
    blocks, clean, rescale = torch.randn(3, 4, 4), torch.randn(LINEAR), torch.rand(OUT, 1) + 0.5
    rotation = torch.eye(OUT, dtype=Double).lerp(torch.block_diag(*cayley(blocks)).T, STRENGTH)
    expected = (1 + STRENGTH * (rescale.double() - 1)) * (rotation @ clean.double()) - clean.double()
    holds(Rotation(blocks=blocks, rescale=rescale), clean, expected)


@pytest.mark.parametrize("shape", [(16, 6), (16, 6, 3, 3)])
def test_rotation_by_butterflies(shape: tuple[int, ...]) -> None:
    factors, number, size = 3, 4, 4
    blocks, clean = torch.randn(factors, number, size, size), torch.randn(shape)
    whole = torch.eye(16, dtype=Double)
    for level in range(factors):
        stride = 2**level * size // 2
        # Two rows that lie `stride` apart stand side by side in a block.
        pairs = itertools.product(range(0, 16, 2 * stride), range(stride), (0, stride))
        order = [group + k + side for group, k, side in pairs]
        permuted = torch.eye(16, dtype=Double)[order]
        factor = torch.block_diag(*(cayley(block) for block in blocks[level]))
        whole = permuted.T @ torch.eye(16, dtype=Double).lerp(factor, STRENGTH) @ permuted @ whole
    expected = torch.einsum("po,o...->p...", whole, clean.double()) - clean.double()
    holds(Rotation(blocks=blocks), clean, expected)


@pytest.mark.parametrize("on_input", [True, False])
def test_rescaling(on_input: bool) -> None:
    weight, factor = torch.randn(CONV), torch.randn(IN if on_input else OUT)
    scaled = factor.double().view(-1, 1, 1)
    if on_input:
        changed = F.conv2d(PICTURE * scaled, weight.double(), padding=1)
    else:
        changed = F.conv2d(PICTURE, weight.double(), padding=1) * scaled
    patch = Rescaling(factor=factor, on_input=on_input)
    assert patch.fits(CONV) and patch.fits(LINEAR) and not patch.fits((7, 7))
    result = F.conv2d(PICTURE, patch.delta(weight, STRENGTH).double(), padding=1)
    torch.testing.assert_close(result, STRENGTH * changed, rtol=1e-4, atol=1e-4)


def test_generalized() -> None:
    weight, a1, a2 = torch.randn(CONV), torch.randn(IN, RANK), torch.randn(RANK, IN)
    up, down = torch.randn(OUT, RANK), torch.randn(RANK, IN, 3, 3)
    patch = Generalized(a=(a1, a2), b=LowRank(up=up, down=down), scale=0.5)
    inner = F.conv2d(PICTURE, (a1.double() @ a2.double())[..., None, None])
    changed = F.conv2d(inner, weight.double(), padding=1)
    changed += F.conv2d(F.conv2d(PICTURE, down.double(), padding=1), up.double()[..., None, None])
    result = F.conv2d(PICTURE, patch.delta(weight, STRENGTH).double(), padding=1)
    torch.testing.assert_close(result, STRENGTH * 0.5 * changed, rtol=1e-4, atol=1e-3)
    assert not patch.fits((OUT, 9 * IN))


@pytest.mark.parametrize("shape", [(OUT,), LINEAR, CONV])
def test_difference(shape: tuple[int, ...]) -> None:
    difference = torch.randn(shape)
    patch = Difference(difference=difference, scale=0.5)
    holds(patch, torch.randn(shape), STRENGTH * 0.5 * difference.double())
    assert not patch.fits((OUT + 1,))


PATCHES: dict[str, Patch] = {
    "low rank": LowRank(up=torch.randn(OUT, RANK), down=torch.randn(RANK, IN)),
    "hadamard": Hadamard(
        w1_a=torch.randn(OUT, RANK), w1_b=torch.randn(RANK, IN), w2_a=torch.randn(OUT, RANK), w2_b=torch.randn(RANK, IN)
    ),
    "kronecker": Kronecker(w1=(torch.randn(3, 2),), w2=(torch.randn(4, 4),)),
    "decomposed": Decomposed(
        inner=LowRank(up=torch.randn(OUT, RANK), down=torch.randn(RANK, IN)), magnitude=torch.rand(OUT), by_row=True
    ),
    "blocks": Rotation(blocks=torch.randn(3, 4, 4), rescale=torch.rand(OUT, 1)),
    "butterflies": Rotation(blocks=torch.randn(2, 6, 2, 2)),
    "rescaling": Rescaling(factor=torch.randn(OUT), on_input=False),
    "generalized": Generalized(
        a=(torch.randn(IN, RANK), torch.randn(RANK, IN)),
        b=LowRank(up=torch.randn(OUT, RANK), down=torch.randn(RANK, IN)),
    ),
    "difference": Difference(difference=torch.randn(OUT, IN)),
}


@pytest.mark.parametrize("name", PATCHES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_full(name: str, dtype: torch.dtype) -> None:
    patch, clean = PATCHES[name], torch.randn(LINEAR).to(dtype)
    torch.testing.assert_close(patch.delta(clean, STRENGTH), patch.delta(clean.float(), STRENGTH), rtol=0, atol=0)


@pytest.mark.parametrize("name", PATCHES)
def test_it_fits_its_own_widths_only(name: str) -> None:
    patch = PATCHES[name]
    assert patch.fits(LINEAR)
    assert not patch.fits((OUT + 4, IN))
    assert patch.fits((OUT, IN + 1)) == (patch.sides[1] is None)
