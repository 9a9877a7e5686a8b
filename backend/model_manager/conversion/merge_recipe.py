"""What a merge is to be, and how the result tells of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backend.errors import ModelFileError
from backend.model_manager.conversion.tensor_file import SUFFIX, TensorReader
from backend.model_manager.header import LARGEST_METADATA

Method = Literal["weighted sum", "add difference"]
Precision = Literal["float16", "keep"]

LONGEST_PATTERN = 200
MODELSPEC = "modelspec."
# Of A's own description these are no longer true.
NOT_KEPT = frozenset(
    MODELSPEC + name for name in ("title", "date", "hash_sha256", "thumbnail", "merged_from", "description")
)
MOST_ANCESTRY = LARGEST_METADATA // 2  # characters: merges of merges tell of all that went into them
LEGACY_HASH = (0x100000, 0x10000)  # A1111's first short hash: the sha256 of these bytes, offset and length


@dataclass(frozen=True, kw_only=True)
class MergeRecipe:
    """What is mixed from what.

    `a` is the base, `c` is for add difference only, `multiplier` is M, from 0 to 1, for add difference to 2. `vae` is
    baked in: the file's VAE replaces A's. `discard` are patterns for names of tensors to be left out, with ``*`` and
    ``?`` as in file names; no regular expressions, because some of those never come to an end. With `precision`
    ``keep`` each tensor has A's.
    """

    a: Path
    b: Path
    c: Path | None = None
    method: Method = "weighted sum"
    multiplier: float = 0.3
    precision: Precision = "float16"
    vae: Path | None = None
    discard: tuple[str, ...] = ()

    def parents(self) -> tuple[Path, ...]:
        """A, B, and C where there is one."""
        return (self.a, self.b) if self.c is None else (self.a, self.b, self.c)


def inpainting_recipe(*, inpainting_base: Path, plain_base: Path, checkpoint: Path) -> MergeRecipe:
    """The recipe that makes `checkpoint` an inpainting one: what it learned is added to the inpainting base."""
    return MergeRecipe(a=inpainting_base, b=checkpoint, c=plain_base, method="add difference", multiplier=1.0)


def check_recipe(recipe: MergeRecipe, target: Path) -> None:
    """Raises `ModelFileError` for what can be said without opening a file."""
    if target.suffix != SUFFIX:
        raise ModelFileError(f"{target.name} has to end in {SUFFIX}.")
    if target.exists():
        raise ModelFileError(f"There is a file {target.name} already; choose another name.")
    if (recipe.method == "add difference") != (recipe.c is not None):
        wanted = "needs a third checkpoint" if recipe.c is None else "takes two checkpoints only"
        raise ModelFileError(f"The method {recipe.method!r} {wanted}.")
    if not 0 <= recipe.multiplier <= (1 if recipe.c is None else 2):
        allowed = "0 to 1" if recipe.c is None else "0 to 2"
        raise ModelFileError(f"The multiplier is {recipe.multiplier:g}; {allowed} is allowed.")
    for pattern in recipe.discard:
        if not pattern or len(pattern) > LONGEST_PATTERN:
            raise ModelFileError(f"A pattern to discard has {len(pattern)} characters; 1 to {LONGEST_PATTERN} may be.")


def merge_metadata(
    recipe: MergeRecipe,
    target: Path,
    readers: Mapping[str, TensorReader],
    hashes: Mapping[str, str],
    variant: str,
) -> dict[str, str]:
    """What describes the result: A's ModelSpec, and the recipe under A1111's names (``modules/extras.py`` there)."""
    parents = {role: reader for role, reader in readers.items() if role != "vae"}
    kept = {
        key: value
        for key, value in readers["a"].header.metadata.items()
        if key.startswith(MODELSPEC) and key not in NOT_KEPT
    }
    made: dict[str, Any] = {
        "type": "webui",
        "primary_model_hash": hashes["a"],
        "secondary_model_hash": hashes["b"],
        "tertiary_model_hash": hashes.get("c"),
        "interp_method": recipe.method.capitalize(),
        "multiplier": recipe.multiplier,
        "save_as_half": recipe.precision == "float16",
        "custom_name": target.stem,
        "config_source": 0,
        "bake_in_vae": recipe.vae.name if recipe.vae else "None",
        "discard_weights": ", ".join(recipe.discard),
        "is_inpainting": variant == "inpainting",
        "is_instruct_pix2pix": variant == "instruct-pix2pix",
    }
    models: dict[str, Any] = {}
    for role, reader in parents.items():
        said = reader.header.metadata
        models[hashes[role]] = {
            "name": reader.path.name,
            "legacy_hash": _legacy_hash(reader.path),
            "sd_merge_recipe": _object(said.get("sd_merge_recipe", "")) or None,
        }
        models |= {key: value for key, value in _object(said.get("sd_merge_models", "")).items() if key not in models}
    text = json.dumps(models)
    if len(text) > MOST_ANCESTRY:
        text = json.dumps(
            {digest: models[digest] | {"sd_merge_recipe": None} for digest in (hashes[role] for role in parents)}
        )
    return kept | {
        "format": "pt",
        "modelspec.title": target.stem,
        "modelspec.merged_from": ", ".join(reader.path.stem for reader in parents.values()),
        "sd_merge_recipe": json.dumps(made),
        "sd_merge_models": text,
    }


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _legacy_hash(path: Path) -> str:
    offset, length = LEGACY_HASH
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.sha256(file.read(length)).hexdigest()[:8]
