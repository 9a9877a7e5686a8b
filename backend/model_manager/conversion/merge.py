"""Checkpoints mixed into a new one: read and written piece by piece, so that a merge needs memory for a few pieces.

The formulas are AUTOMATIC1111's, weight by weight and with multiplier M:
weighted sum A (1 - M) + B M, and add difference A + (B - C) M. Each piece is computed in float32 and cast once. What
only A has stays A's; what B has and C lacks makes no difference; where A's first convolution has more input channels
than B's (inpainting, InstructPix2Pix), the channels that B lacks stay A's.
"""

import fnmatch
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from backend.errors import Cancelled, ModelFileError
from backend.model_manager.conversion.merge_recipe import MergeRecipe, check_recipe, merge_metadata
from backend.model_manager.conversion.tensor_file import (
    HASHED_SHARE,
    PIECE,
    TORCH_NAMES,
    NewTensor,
    Phases,
    TensorReader,
    check_room,
    new_file,
    sha256_of,
    write_tensors,
)
from backend.model_manager.header import DTYPE_BITS, Header, TensorInfo

if TYPE_CHECKING:  # torch is imported when a merge begins
    from torch import Tensor

Progress = Callable[[float, str], None]
Variant = Literal["", "inpainting", "instruct-pix2pix"]

ELEMENTS = 1024 * 1024  # of a tensor at a time: 4 MiB in float32
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
UNET = "model.diffusion_model."
VAE = "first_stage_model."
# What A1111 mixes: the others are the noise schedule, which is the same or should not be mixed.
MIXED = "model"
NEVER_MIXED = frozenset({"cond_stage_model.transformer.text_model.embeddings.position_ids"})


@dataclass(frozen=True, kw_only=True)
class MergeReport:
    """What a merge made: `size` in bytes, `sha256` of the parents by their roles a, b, c and vae; `only_in_a` counts
    the tensors that no other parent had a word in, `variant` says whether the first convolution kept channels of
    A's."""

    target: Path
    tensors: int
    size: int
    sha256: Mapping[str, str]
    only_in_a: int
    variant: Literal["", "inpainting", "instruct-pix2pix"]


def merge(
    recipe: MergeRecipe,
    target: Path,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
    known_sha256: Callable[[Path], str] = lambda _: "",
) -> MergeReport:
    """Make the checkpoint that `recipe` describes as `target`, a safetensors file that must not be there.

    `known_sha256` may know a parent's hash, else the parent is read once more. `progress(fraction, doing)` is called on
    this thread. Raises `ModelFileError` with a sentence if it cannot be made, `Cancelled` if `cancelled()` becomes
    true; in both cases nothing is left behind.
    """

    def tell(share: float, doing: str) -> None:
        if cancelled():
            raise Cancelled(f"The merge into {target.name} was cancelled; nothing was written.")
        progress(share, doing)

    check_recipe(recipe, target)
    files = dict(zip("abc", recipe.parents(), strict=False)) | ({"vae": recipe.vae} if recipe.vae else {})
    with ExitStack() as opened:
        readers = {role: opened.enter_context(TensorReader(path)) for role, path in files.items()}
        mixing = _Mixing(recipe, readers)
        plan = mixing.plan()
        total = sum(tensor.info.size for tensor in plan)
        check_room(target, total)
        watch = Phases(tell)
        hashes = _hashes(files, known_sha256, watch)
        metadata = merge_metadata(recipe, target, readers, hashes, mixing.variant)
        watch.phase(total, "merging")
        with new_file(target) as partial:
            size = write_tensors(partial, plan, metadata, lambda _, count: watch.advance(count))
            for reader in readers.values():
                reader.check_unchanged()
    return MergeReport(
        target=target,
        tensors=len(plan),
        size=size,
        sha256=hashes,
        only_in_a=mixing.only_in_a,
        variant=mixing.variant,
    )


class _Mixing:
    """The tensors of the new file, and how each comes about."""

    def __init__(self, recipe: MergeRecipe, readers: Mapping[str, TensorReader]):
        self._recipe = recipe
        self._readers = readers
        self.only_in_a = 0
        self.variant: Variant = ""

    def plan(self) -> list[NewTensor]:
        """Decide from the headers alone. Raises `ModelFileError` if the parents do not fit together."""
        a = self._readers["a"].header
        for role in ("b", "c"):
            if role in self._readers:
                self._check_same_unet(role)
        baked = _baked(a, self._readers["vae"]) if "vae" in self._readers else {}
        names = [name for name in a.tensors if not any(fnmatch.fnmatchcase(name, p) for p in self._recipe.discard)]
        if not names:
            raise ModelFileError("The patterns to discard leave no tensor of the merge.")
        return [self._baked_tensor(name, baked[name]) if name in baked else self._tensor(name) for name in names]

    def _check_same_unet(self, role: str) -> None:
        """Equal names, because a UNet with more or fewer blocks is another family; shapes are looked at one by one."""
        a, other = self._readers["a"], self._readers[role]
        mine = {name for name in a.header.tensors if name.startswith(UNET)}
        if not mine:
            raise ModelFileError(f"{a.path.name} is no checkpoint: it has no UNet, so nothing can be merged into it.")
        theirs = {name for name in other.header.tensors if name.startswith(UNET)}
        if mine != theirs:
            raise ModelFileError(
                f"{a.path.name} and {other.path.name} cannot be merged: their UNets have {len(mine)} and {len(theirs)} "
                f"tensors, of which {len(mine & theirs)} are of one name."
            )

    def _tensor(self, name: str) -> NewTensor:
        info = self._readers["a"].header.tensors[name]
        mixed = MIXED in name and name not in NEVER_MIXED and info.dtype in FLOATS
        sources = {role: reader for role, reader in self._readers.items() if role == "b" and mixed}
        sources = {role: reader for role, reader in sources.items() if name in reader.header.tensors}
        if sources and "c" in self._readers:
            c = self._readers["c"]
            # What C lacks makes no difference, as in A1111.
            sources = sources | {"c": c} if name in c.header.tensors else {}
        channels = {self._check_shape(name, info, reader) for reader in sources.values()} or {0}
        if len(channels) > 1:
            names = " and ".join(reader.path.name for reader in sources.values())
            raise ModelFileError(f"{names} have no difference to be added: {name} has other channels in each.")
        if not sources:
            self.only_in_a += 1
        made = TensorInfo(*self._stored(name, info))
        return NewTensor(name=name, info=made, pieces=lambda: self._pieces(name, info, made, sources, max(channels)))

    def _stored(self, name: str, info: TensorInfo) -> tuple[str, tuple[int, ...], int]:
        """Element type, shape and size in the new file: the schedule and whole numbers stay as they are."""
        if self._recipe.precision == "keep" or info.dtype not in FLOATS or MIXED not in name:
            return info.dtype, info.shape, info.size
        return "F16", info.shape, _elements(info) * 2

    def _check_shape(self, name: str, info: TensorInfo, reader: TensorReader) -> int:
        """0 for equal shapes; else the number of input channels that the other one has of A's."""
        other = reader.header.tensors[name]
        if other.dtype not in FLOATS:
            raise ModelFileError(f"{reader.path.name} holds {name} as {other.dtype}, which cannot be merged.")
        a = self._readers["a"].path.name
        match info.shape, other.shape:
            case mine, theirs if mine == theirs:
                return 0
            case (out, (8 | 9) as mine, *kernel), (o, 4, *k) if (out, kernel) == (o, k) and name.startswith(UNET):
                self.variant = "inpainting" if mine == 9 else "instruct-pix2pix"
                return 4
            case (_, 4, *_), (_, 8 | 9, *_):
                raise ModelFileError(
                    f"{reader.path.name} has more input channels than {a}: put the inpainting or InstructPix2Pix "
                    "checkpoint in A's place."
                )
        mine, theirs = (" x ".join(map(str, shape)) for shape in (info.shape, other.shape))
        raise ModelFileError(
            f"{a} and {reader.path.name} are of different families and cannot be merged: "
            f"{name} is {mine} in one and {theirs} in the other."
        )

    def _pieces(
        self,
        name: str,
        info: TensorInfo,
        made: TensorInfo,
        sources: Mapping[str, TensorReader],
        channels: int,
    ) -> Iterator[memoryview]:
        a = self._readers["a"]
        count = _elements(info)
        if info.dtype == made.dtype and not sources:
            yield from _copied(a, name)
            return
        if channels and count:
            own = _piece(a, name, 0, count).reshape(info.shape)
            # A small convolution: whole, because the channels of B lie in pieces among those of A.
            others = {r: _piece(s, name, 0, _elements(s.header.tensors[name])) for r, s in sources.items()}
            shape = (info.shape[0], channels, *info.shape[2:])
            own[:, :channels] = self._mix(own[:, :channels], {r: t.reshape(shape) for r, t in others.items()})
            yield self._cast(name, own.reshape(-1), made.dtype)
            return
        for begin in range(0, count, ELEMENTS):
            length = min(ELEMENTS, count - begin)
            own = _piece(a, name, begin, length)
            mixed = self._mix(own, {role: _piece(reader, name, begin, length) for role, reader in sources.items()})
            yield self._cast(name, mixed, made.dtype)

    def _mix(self, a: "Tensor", others: "Mapping[str, Tensor]") -> "Tensor":
        """The formula, in the memory of A's and B's values."""
        if not others:
            return a
        m = self._recipe.multiplier
        if "c" in others:
            return a.add_(others["b"].sub_(others["c"]).mul_(m))
        return a.mul_(1 - m).add_(others["b"].mul_(m))

    def _cast(self, name: str, values: "Tensor", dtype: str) -> memoryview:
        import torch

        cast = values.to(getattr(torch, TORCH_NAMES[dtype]))
        if dtype == "F16" and bool((cast.isinf() & values.isfinite()).any()):
            raise ModelFileError(f"{name} has values that are too large for float16: keep the precision instead.")
        return cast.view(torch.uint8).numpy().data

    def _baked_tensor(self, name: str, theirs: str) -> NewTensor:
        reader = self._readers["vae"]
        mine, info = self._readers["a"].header.tensors[name], reader.header.tensors[theirs]
        made = TensorInfo(*self._stored(name, TensorInfo(info.dtype, mine.shape, info.size)))

        def pieces() -> Iterator[memoryview]:
            if info.dtype == made.dtype:
                yield from _copied(reader, theirs)
                return
            count = _elements(info)
            for begin in range(0, count, ELEMENTS):
                yield self._cast(name, _piece(reader, theirs, begin, min(ELEMENTS, count - begin)), made.dtype)

        return NewTensor(name=name, info=made, pieces=pieces)


def _baked(a: Header, vae: TensorReader) -> dict[str, str]:
    """A's name for each tensor of its VAE, and the file's. Raises `ModelFileError` if the file's VAE is another."""
    mine = {name for name in a.tensors if name.startswith(VAE)}
    theirs = vae.header.tensors
    names = {name: name if name in theirs else name.removeprefix(VAE) for name in mine}
    lacking = sorted(name for name, other in names.items() if other not in theirs)
    if not mine or lacking:
        lack = f"it lacks {lacking[0].removeprefix(VAE)}" if lacking else "the checkpoint has none to replace"
        raise ModelFileError(f"{vae.path.name} cannot be baked in as VAE: {lack}.")
    for name, other in names.items():
        # 1x1 convolutions are kept as matrices by some.
        if _without_kernel(a.tensors[name].shape) != _without_kernel(theirs[other].shape):
            raise ModelFileError(f"{vae.path.name} cannot be baked in as VAE: its {other} has another shape.")
        if theirs[other].dtype not in FLOATS:
            raise ModelFileError(f"{vae.path.name} cannot be baked in as VAE: its {other} is {theirs[other].dtype}.")
    return names


def _without_kernel(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape


def _elements(info: TensorInfo) -> int:
    return math.prod(info.shape)


def _copied(reader: TensorReader, name: str) -> Iterator[memoryview]:
    """A tensor's bytes as they are."""
    size = reader.header.tensors[name].size
    for begin in range(0, size, PIECE):
        yield memoryview(reader.read(name, begin, min(PIECE, size - begin)))


def _piece(reader: TensorReader, name: str, begin: int, count: int) -> "Tensor":
    """`count` elements in float32, from number `begin` on."""
    import torch

    dtype = reader.header.tensors[name].dtype
    each = DTYPE_BITS[dtype] // 8
    data = reader.read(name, begin * each, count * each)
    return torch.frombuffer(data, dtype=getattr(torch, TORCH_NAMES[dtype])).float()


def _hashes(files: Mapping[str, Path], known: Callable[[Path], str], watch: Phases) -> dict[str, str]:
    """Each parent's sha256; it has to be known before the first byte is written, because the header carries it."""
    hashes = {role: known(path) for role, path in files.items()}
    unknown = {path for role, path in files.items() if not hashes[role]}
    if unknown:
        watch.phase(sum(path.stat().st_size for path in unknown), "reading", HASHED_SHARE)
        read: dict[Path, str] = {}
        for path in sorted(unknown):
            try:
                read[path] = sha256_of(path, watch.advance)
            except OSError as error:
                raise ModelFileError(f"{path.name} cannot be read: {error.strerror or error}.") from error
        hashes = {role: value or read[files[role]] for role, value in hashes.items()}
    return hashes
