"""Puts LoRAs and their kin on the networks' weights, and takes them off again.

A patched weight is computed from the clean one each time, in float32, and cast once; the clean one is never written
to. So nothing drifts, and taking off is pointing the parameter at the clean tensor again. Only weights whose LoRAs or
strengths changed are computed anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backend.errors import ModelFileError
from backend.model_manager.lora.deltas import Patch, sides_of
from backend.model_manager.lora.layer_names import (
    FUSED,
    FUSED_FROM,
    TEXT_ENCODER,
    TEXT_ENCODER_2,
    UNET,
    flat_path,
)
from backend.model_manager.lora.lora_file import Lora, LoraLayer

NETWORKS = {UNET: "UNet", TEXT_ENCODER: "text encoder", TEXT_ENCODER_2: "second text encoder"}

Weights = Mapping[str, Mapping[str, Tensor]]  # by role and parameter name
Key = tuple[str, str]  # role and parameter name


@dataclass(frozen=True, kw_only=True)
class LoraUse:
    """A LoRA and its strengths on the UNet and on the text encoders; `rank` uses only that many of its ranks."""

    lora: Lora
    unet: float = 1.0
    text_encoder: float = 1.0
    rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """A parameter that a patch changes. `shape` is what the patch works on: the parameter's own, or that of all `fused`
    parameters row by row, of which this is the one at `place`, or that of the first input channels only."""

    role: str
    parameter: str
    shape: tuple[int, ...]
    patch: Patch
    fused: tuple[str, ...] = ()
    place: int = 0


@dataclass(frozen=True, kw_only=True)
class Matched:
    """What a LoRA changes in certain networks, and the names of its layers that are not in them."""

    lora: Lora
    targets: tuple[Target, ...]
    left_out: tuple[str, ...]

    @property
    def remarks(self) -> tuple[str, ...]:
        """A sentence each about what was left out."""
        said: list[str] = []
        if self.left_out:
            some = ", ".join(self.left_out[:3]) + (" ..." if len(self.left_out) > 3 else "")
            layers = "1 layer does" if len(self.left_out) == 1 else f"{len(self.left_out)} layers do"
            said.append(f"{self.lora.name}: {layers} not apply to this checkpoint ({some}).")
        if self.lora.embeddings:
            names = ", ".join(self.lora.embeddings)
            said.append(f"{self.lora.name} carries embeddings that are not used from there: {names}.")
        return tuple(said)


def match(lora: Lora, modules: Mapping[str, nn.Module], checkpoint: str = "this checkpoint") -> Matched:
    """Find the parameters that `lora` changes in `modules`, networks by role (``unet``, ``text_encoder``,
    ``text_encoder_2``).

    Raises `ModelFileError` if it is for other networks: if none of its layers for one of them is there, or if one has
    other widths there. `checkpoint` says in words what the networks are.
    """
    there = {role: _by_flat_name(module) for role, module in modules.items()}
    refusal = f"{lora.name} is {lora.title} and does not fit {checkpoint}"
    targets: dict[Key, Target] = {}
    left_out = list(lora.unread)
    found = {layer.place.role: 0 for layer in lora.layers if layer.place.role in modules}
    for layer in lora.layers:
        # Of a layer that a file has under two names the first counts.
        hits = [hit for hit in _hits(layer, there) if (hit.role, hit.parameter) not in targets]
        for hit in hits:
            if not hit.patch.fits(hit.shape):
                theirs = " x ".join("any" if side is None else str(side) for side in hit.patch.sides)
                ours = " x ".join(str(side) for side in sides_of(hit.shape))
                raise ModelFileError(f"{refusal}: {layer.name} is for {theirs} numbers, and there are {ours}.")
            targets[hit.role, hit.parameter] = hit
            found[hit.role] += 1
        if not hits:
            left_out.append(layer.name)
    if not targets or 0 in found.values():
        empty = next((NETWORKS[role] for role, count in found.items() if not count), "networks")
        raise ModelFileError(f"{refusal}: none of its layers is in the {empty}.")
    return Matched(lora=lora, targets=tuple(targets.values()), left_out=tuple(left_out))


Named = Mapping[str, tuple[str, torch.Size]]  # parameter name and shape, by flattened layer and ``weight`` or ``bias``


def _by_flat_name(module: nn.Module) -> Named:
    flat: dict[str, tuple[str, torch.Size]] = {}
    for name, parameter in module.named_parameters():
        layer, _, leaf = name.rpartition(".")
        flat[f"{flat_path(layer)}.{leaf}"] = (name, parameter.shape)
    return flat


def _hits(layer: LoraLayer, there: Mapping[str, Named]) -> list[Target]:
    """The parameters of the networks that go by the layer's name: one, or three for a fused projection, or none."""
    role, path = layer.place.role, layer.place.layer
    names = there.get(role, {})
    if (own := names.get(f"{path}.{layer.parameter}")) is not None:
        shape = tuple(own[1])
        columns = layer.patch.sides[1]
        if path == "conv_in" and len(shape) == 4 and columns and not layer.patch.fits(shape):
            # Inpainting checkpoints and their like take more channels than the LoRA knows, after those that it knows.
            shape = (shape[0], min(shape[1], columns // (shape[2] * shape[3])), *shape[2:])
        return [Target(role=role, parameter=own[0], shape=shape, patch=layer.patch)]
    stem = path.removesuffix(FUSED)
    parts = [names.get(f"{stem}{part}.{layer.parameter}") for part in FUSED_FROM] if path.endswith(FUSED) else []
    known = [part for part in parts if part is not None]
    if len(known) < len(FUSED_FROM):
        return []
    fused = tuple(name for name, _ in known)
    shape = (sum(size[0] for _, size in known), *known[0][1][1:])
    return [
        Target(role=role, parameter=name, shape=shape, patch=layer.patch, fused=fused, place=place)
        for place, name in enumerate(fused)
    ]


@dataclass(frozen=True, kw_only=True)
class PatchReport:
    """What `Patcher.apply` did: how many parameters it computed and how many it pointed at their clean tensors again;
    how many are patched now, and the bytes that those take beside the clean ones. `unchanged` if it did nothing."""

    computed: int = 0
    restored: int = 0
    patched: int = 0
    size: int = 0
    unchanged: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Share:
    """What one LoRA adds to one parameter."""

    sha256: str
    rank: int | None
    strength: float
    target: Target

    @property
    def signature(self) -> tuple[str, int, float]:
        return self.sha256, self.rank or 0, self.strength


@dataclass(frozen=True, kw_only=True, eq=False)
class _Patched:
    """A parameter that points at `tensor` instead of at `clean`."""

    module: nn.Module
    leaf: str
    clean: Tensor
    tensor: Tensor
    signature: tuple[tuple[str, int, float], ...]

    @property
    def in_place(self) -> bool:
        """Whether the parameter still points at it: others point parameters too, when they swap checkpoints."""
        parameter = self.module._parameters[self.leaf]
        return parameter is not None and parameter.data_ptr() == self.tensor.data_ptr()


class Patcher:
    """Holds which LoRAs are on. Used by one thread.

    Whoever swaps a checkpoint may `restore` before or just point the parameters elsewhere: what no longer stands is
    noticed by the next `apply`.
    """

    def __init__(self) -> None:
        self.computed = 0  # parameters, since the beginning
        self.unchanged = 0  # calls that had nothing to do
        self._patched: dict[Key, _Patched] = {}
        self._wanted: Mapping[str, tuple[tuple[str, int, float], ...]] = {}
        self._modules: Mapping[str, nn.Module] = {}
        self._remarks: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the patched tensors."""
        return sum(entry.tensor.nbytes for entry in self._patched.values())

    def applied(self, role: str) -> tuple[tuple[str, int, float], ...]:
        """What is on a network: sha256, limit of rank (0 for none) and strength of each LoRA. Equal values mean equal
        weights, so that it can be part of a cache's key."""
        return self._wanted.get(role, ())

    @torch.no_grad()
    def apply(
        self,
        modules: Mapping[str, nn.Module],
        clean: Weights,
        uses: Sequence[LoraUse],
        checkpoint: str = "this checkpoint",
    ) -> PatchReport:
        """Make `uses` and nothing else be on `modules`, networks by role.

        `clean` are their clean weights, on the device and in the precision in which they compute. LoRAs are added in
        the order of their files' sha256, so that the order of `uses` changes nothing; one that is used twice counts
        with the sum of its strengths. A LoRA that does not fit raises `ModelFileError`, and what was on stays on. If
        anything fails later, memory above all, the error is raised and every weight is the clean one.
        """
        wanted = {role: _strengths(uses, role) for role in modules}
        if wanted == self._wanted and self._stands(modules, clean):
            self.unchanged += 1
            return self._report(unchanged=True)
        loras = {use.lora.sha256: use.lora for use in uses}
        on = {sha256 for strengths in wanted.values() for sha256, _, _ in strengths}
        matches = {sha256: match(loras[sha256], modules, checkpoint) for sha256 in sorted(on)}
        shares = _shares(wanted, matches)
        kept = self._kept(modules, clean, shares)
        stale = [key for key in self._patched if key not in kept]
        missing = [key for key in shares if key not in kept]
        for sha256 in {share.sha256 for key in missing for share in shares[key]}:
            loras[sha256].check()
        try:
            for key in stale:
                self._put_back(key, modules, clean)
            for key in missing:
                self._put_on(key, modules, clean, shares[key])
        except BaseException:
            self.restore()
            raise
        self._wanted, self._modules = wanted, dict(modules)
        self._remarks = tuple(remark for matched in matches.values() for remark in matched.remarks)
        self.computed += len(missing)
        return self._report(computed=len(missing), restored=len(set(stale) - set(missing)))

    def restore(self) -> int:
        """Point every patched parameter at its clean tensor again; returns how many that were."""
        count = len(self._patched)
        for entry in self._patched.values():
            if entry.in_place:
                _point(entry.module, entry.leaf, entry.clean, entry.clean)
        self._patched.clear()
        self._wanted, self._modules, self._remarks = {}, {}, ()
        return count

    def _report(self, *, computed: int = 0, restored: int = 0, unchanged: bool = False) -> PatchReport:
        return PatchReport(
            computed=computed,
            restored=restored,
            patched=len(self._patched),
            size=self.size,
            unchanged=unchanged,
            remarks=self._remarks,
        )

    def _stands(self, modules: Mapping[str, nn.Module], clean: Weights) -> bool:
        """Whether what was done last is still so, in the same networks and on the same clean weights."""
        if modules.keys() != self._modules.keys() or any(modules[role] is not self._modules[role] for role in modules):
            return False
        return all(entry.in_place and entry.clean is clean[role][name] for (role, name), entry in self._patched.items())

    def _kept(
        self, modules: Mapping[str, nn.Module], clean: Weights, shares: Mapping[Key, Sequence[_Share]]
    ) -> set[Key]:
        """The patched parameters that are already what they shall be."""
        return {
            (role, name)
            for (role, name), entry in self._patched.items()
            if entry.signature == tuple(share.signature for share in shares.get((role, name), ()))
            and modules[role] is self._modules[role]
            and clean[role][name] is entry.clean
            and entry.in_place
        }

    def _put_back(self, key: Key, modules: Mapping[str, nn.Module], clean: Weights) -> None:
        role, name = key
        entry = self._patched.pop(key)
        if entry.in_place:
            weight = clean[role][name] if modules.get(role) is self._modules.get(role) else entry.clean
            _point(entry.module, entry.leaf, weight, weight)

    def _put_on(self, key: Key, modules: Mapping[str, nn.Module], clean: Weights, shares: Sequence[_Share]) -> None:
        role, name = key
        owner, _, leaf = name.rpartition(".")
        tensor = _patched_weight(clean[role], name, shares)
        entry = _Patched(
            module=modules[role].get_submodule(owner),
            leaf=leaf,
            clean=clean[role][name],
            tensor=tensor,
            signature=tuple(share.signature for share in shares),
        )
        self._patched[key] = entry
        _point(entry.module, leaf, tensor, entry.clean)


def _point(module: nn.Module, leaf: str, tensor: Tensor, clean: Tensor) -> None:
    """Point a parameter at `tensor`. It keeps its identity, on which hooks and compiled code rely, unless it is itself
    what the caller keeps as the clean weight."""
    parameter = module._parameters[leaf]
    if parameter is None or parameter is clean:
        module._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    else:
        parameter.data = tensor


def _strengths(uses: Sequence[LoraUse], role: str) -> tuple[tuple[str, int, float], ...]:
    """The LoRAs of a network in the order in which they are added; what has no strength is not among them."""
    sums: dict[tuple[str, int], float] = {}
    for use in uses:
        key = (use.lora.sha256, use.rank or 0)
        sums[key] = sums.get(key, 0.0) + (use.unet if role == UNET else use.text_encoder)
    return tuple(sorted((sha256, rank, strength) for (sha256, rank), strength in sums.items() if strength))


def _shares(
    wanted: Mapping[str, Sequence[tuple[str, int, float]]], matches: Mapping[str, Matched]
) -> dict[Key, list[_Share]]:
    shares: dict[Key, list[_Share]] = {}
    for role, strengths in wanted.items():
        for sha256, rank, strength in strengths:
            for target in matches[sha256].targets:
                if target.role == role:
                    share = _Share(sha256=sha256, rank=rank or None, strength=strength, target=target)
                    shares.setdefault((role, target.parameter), []).append(share)
    return shares


def _patched_weight(clean: Mapping[str, Tensor], name: str, shares: Sequence[_Share]) -> Tensor:
    """The weight with all shares added: computed in float32, and cast once."""
    weight = clean[name]
    # A float32 weight is added to where it lies, into a new tensor; others need a float32 copy anyway.
    total, own = (weight, False) if weight.dtype == torch.float32 else (weight.float(), True)
    for share in shares:
        target = share.target
        patch = target.patch if share.rank is None else target.patch.limited(share.rank)
        if target.fused:
            parts = [clean[part] for part in target.fused]
            whole = patch.delta(torch.cat(parts), share.strength)
            delta = whole.split([part.shape[0] for part in parts])[target.place]
            total = total.add_(delta) if own else total + delta
        elif target.shape != tuple(weight.shape):
            delta = patch.delta(weight[:, : target.shape[1]], share.strength)
            total = total if own else total.clone()
            total[:, : target.shape[1]] += delta
        else:
            total = patch.add(total, weight, share.strength, in_place=own)
        own = True
    if total.dtype == weight.dtype and total.stride() == weight.stride():
        return total
    return torch.empty_like(weight).copy_(total)
