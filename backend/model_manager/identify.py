"""What a model file is, told from its names and shapes: structure decides the family, width only refines it.

Nothing is loaded, and a file's own name never decides: where only it tells something, that is a suggestion. What no row
knows stays unknown.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from backend.model_manager.container import Container, gguf_architecture, sniff
from backend.model_manager.header import Header, read_header, read_values
from backend.model_manager.identity import Identity, Kind
from backend.model_manager.recognition.evidence import Evidence, Values
from backend.model_manager.recognition.folder_identity import read_diffusers_folder
from backend.model_manager.recognition.readers import (
    read_adapter,
    read_control,
    read_embedding,
    read_small,
    read_transformer,
    read_upscaler,
    read_vae,
)
from backend.model_manager.recognition.structure import Structures
from backend.model_manager.recognition.unet_identity import read_unet
from backend.model_manager.recognition.wording import FAMILY_TITLES

# What city96's converter, whose files are the common ones, calls the architectures.
GGUF_FAMILIES: Mapping[str, str] = {
    "sd1": "sd1", "sdxl": "sdxl", "sd3": "sd3", "flux": "flux1", "aura": "auraflow", "ltxv": "ltx-video",
    "hyvid": "hunyuan-video", "wan": "wan", "hidream": "hidream", "cosmos": "cosmos", "lumina2": "lumina2",
    "qwen_image": "qwen-image",
}  # fmt: skip
_PICKLE = "is a pickle, which can run a stranger's code when it is opened: convert it to safetensors"
_NO_MODEL = "is no model file that Atelier knows"
CONTAINERS: Mapping[Container, tuple[str, str]] = {
    "pickle": ("Pickle, to be converted", _PICKLE),
    "zip-pickle": ("Pickle, to be converted", _PICKLE),
    "zip": ("Zip archive", _NO_MODEL),
    "7z": ("7z archive", _NO_MODEL),
    "tar": ("Tar archive", _NO_MODEL),
    "hdf5": ("HDF5 file", _NO_MODEL),
    "numpy": ("NumPy file", _NO_MODEL),
    "lfs-pointer": ("Git LFS pointer", "says only where the model would be: fetch it with git lfs pull"),
    "html": ("Web page", "is a web page that was saved in place of the model: download it again"),
    "empty": ("Empty file", "is empty"),
    "unknown": ("Unknown", _NO_MODEL),
}
# In this order: a ControlNet carries half of its base's tensors, and a checkpoint may carry a stray LoRA's.
READERS = (
    read_control,
    read_unet,
    read_transformer,
    read_adapter,
    read_vae,
    read_small,
    read_upscaler,
    read_embedding,
)


def identify(
    header: Header, file_name: str, *, values: Values | None = None, structures: Structures | None = None
) -> Identity:
    """What a safetensors file is. `values(key)` reads one small tensor; without it SD 2.x's prediction, where the
    metadata do not tell it, is only suggested. `structures` are kept from file to file by whoever identifies many."""
    structure = (structures or Structures()).of(header)
    evidence = Evidence(header, file_name, values, structure)
    found = next((identity for reader in READERS if (identity := reader(evidence))), None)
    if found is None:
        said = "it is empty" if not header.tensors else "its tensors are those of no kind that Atelier knows"
        found = Identity(kind=Kind.UNKNOWN, title="Unknown", problem=f"{file_name} cannot be told: {said}.")
    found = replace(found, precision=structure.precision)
    if structure.quantised:
        problem = found.problem or f"{file_name} is quantised ({structure.quantised}); Atelier cannot read that yet."
        found = replace(found, title=f"{found.title}, {structure.quantised}", runs=False, problem=problem)
    return found


def identify_file(path: Path) -> Identity:
    """What the file at `path` is, whatever its name ends in. Raises `ModelFileError` if it cannot be read, or is a
    damaged safetensors file; everything else that is no safetensors file gets a problem, and is not opened."""
    container = sniff(path)
    if container == "safetensors":
        header = read_header(path)
        return identify(header, path.name, values=partial(read_values, path, header))
    if container == "gguf":
        family = GGUF_FAMILIES.get(gguf_architecture(path), "")
        title = f"{FAMILY_TITLES.get(family, 'Unknown')}, GGUF"
        problem = f"{path.name} is {title}; Atelier cannot run that yet."
        return Identity(kind=Kind.CHECKPOINT if family else Kind.UNKNOWN, title=title, family=family, problem=problem)
    title, sentence = CONTAINERS[container]
    return Identity(kind=Kind.UNKNOWN, title=title, problem=f"{path.name} {sentence}.")


def identify_folder(path: Path) -> Identity:
    """What the folder at `path` is, which diffusers saved. Raises `ModelFileError` if it or one of its files is
    damaged."""
    return read_diffusers_folder(path)
