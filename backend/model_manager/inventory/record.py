"""What the rest of Atelier knows of a model on disk."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from backend.families import FAMILIES
from backend.model_manager.identity import Identity, Kind
from backend.model_manager.inventory.model_index import Choice, FileKey, Inspection
from backend.model_manager.inventory.scan import Format, Found
from backend.model_manager.recognition.wording import override

# As a sentence names one of them; with an s behind it, many.
WORDS: Mapping[Kind, str] = {
    Kind.CHECKPOINT: "checkpoint",
    Kind.LORA: "LoRA",
    Kind.EMBEDDING: "embedding",
    Kind.VAE: "VAE",
    Kind.CONTROLNET: "ControlNet",
    Kind.T2I_ADAPTER: "T2I-Adapter",
    Kind.IP_ADAPTER: "IP-Adapter",
    Kind.UPSCALER: "upscaler",
    Kind.TEXT_ENCODER: "text encoder",
    Kind.UNKNOWN: "model",
}
CONTROL = frozenset({Kind.CONTROLNET, Kind.T2I_ADAPTER, Kind.IP_ADAPTER})  # kept in one folder by custom
NOT_LOOKED = Identity(kind=Kind.UNKNOWN, title="Not looked into")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRecord:
    """A model in a model folder.

    `kind` is the shelf it stands on: what its content says, or, where that says nothing, what its folder is for.
    `family` is the table's name for its architecture, empty if it cannot be used here, and then `problem` is the
    sentence that says why. `native_size` is the width and height in pixels that a checkpoint makes best; `size` in
    bytes; `modified` in nanoseconds since 1970. `root` is the model folder, `folder` the path from there with ``/``.
    `remark` is a sentence about a file that lies where others are meant to. `alias` is the name its trainer gave it,
    `stated_hash` the hash of its tensors that its metadata name. `chosen` says that a person set its type.
    """

    path: Path
    name: str
    family: str
    problem: str
    native_size: tuple[int, int]
    size: int
    modified: int
    kind: Kind = Kind.CHECKPOINT
    identity: Identity = NOT_LOOKED
    root: Path = Path()
    folder: str = ""
    format: Format = Format.SAFETENSORS
    remark: str = ""
    alias: str = ""
    stated_hash: str = ""
    chosen: bool = False

    @property
    def key(self) -> FileKey:
        """What is remembered of the file's content is remembered under this."""
        return str(self.path), self.size, self.modified


def misfit(part: ModelRecord, checkpoint: ModelRecord) -> str:
    """The sentence for a part, such as a LoRA or a VAE, that was made for other checkpoints."""
    return (
        f"The {WORDS[part.kind]} {part.name} is for another family ({part.identity.title}) and does not fit "
        f"{checkpoint.name}, which is {checkpoint.identity.title}."
    )


def record_of(found: Found, inspection: Inspection, choice: Choice | None) -> ModelRecord:
    """The record of a file, from what lies there, what a look into it found, and what a person says of it."""
    path = Path(found.path)
    identity = _as_chosen(inspection, choice, path.name) if choice else inspection.identity
    problem = identity.problem
    if not (problem or identity.runs):
        problem = f"{path.name} cannot be used here: {identity.title}."
    return ModelRecord(
        path=path,
        name=found.name,
        family=identity.family if identity.runs else "",
        problem=problem,
        native_size=_native_size(inspection, identity),
        size=found.size,
        modified=found.modified,
        kind=found.root.kind if identity.kind is Kind.UNKNOWN else identity.kind,
        identity=identity,
        root=found.root.path,
        folder=found.name.rpartition("/")[0],
        format=found.format,
        remark=_remark(path.name, found.root.kind, identity.kind),
        alias=inspection.alias,
        stated_hash=inspection.stated_hash,
        chosen=choice is not None,
    )


def _as_chosen(inspection: Inspection, choice: Choice, name: str) -> Identity:
    """What a person says in place of what the file looks like. No word makes a damaged file whole."""
    if not inspection.readable:
        return replace(inspection.identity, kind=choice.kind or inspection.identity.kind)
    return override(inspection.identity, name, **asdict(choice))


def _native_size(inspection: Inspection, identity: Identity) -> tuple[int, int]:
    if any(inspection.stated_size) or identity.kind is not Kind.CHECKPOINT or identity.family not in FAMILIES:
        return inspection.stated_size
    family = FAMILIES[identity.family]
    side = (family.native_size_of_v if identity.prediction == "v" else 0) or family.native_size
    return side, side


def _remark(name: str, expected: Kind, kind: Kind) -> str:
    if Kind.UNKNOWN in (expected, kind) or kind is expected or {expected, kind} <= CONTROL:
        return ""
    return f"{name} lies among the {WORDS[expected]}s; by its content it is listed with the {WORDS[kind]}s."
