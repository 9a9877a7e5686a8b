"""From a checkpoint to its networks, as views of the file's own pages."""

from dataclasses import dataclass

from safetensors import SafetensorError
from safetensors.torch import load_file

from backend.errors import ModelFileError
from backend.families import FAMILIES
from backend.families.diffusers_folder import read_folder
from backend.families.family import Component, Family
from backend.families.ldm import has_zero_terminal_snr, vae_component
from backend.model_manager.header import read_header
from backend.model_manager.identity import Prediction
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.inventory.scan import Format, measure
from backend.model_manager.memory.components import WatchedFile
from backend.model_manager.memory.rescue import first_line, out_of_memory


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The networks of a checkpoint, the mapped files that hold them, and what these say of its training."""

    family: Family
    files: tuple[WatchedFile, ...]
    components: tuple[Component, ...]
    prediction: Prediction = "epsilon"
    zero_terminal_snr: bool = False


def read_checkpoint(record: ModelRecord) -> Reading:
    """Map a single file, or diffusers' folder, and find its networks. Raises `ModelFileError` if it is damaged or not
    what it was taken for."""
    try:
        return _folder(record) if record.format is Format.DIFFUSERS else _single_file(record)
    except (SafetensorError, RuntimeError, LookupError, ValueError, OSError) as error:
        if out_of_memory(error):
            raise
        title = FAMILIES[record.family].title
        raise ModelFileError(f"{record.path.name} cannot be loaded as {title}: {first_line(error)}.") from error


def state(record: ModelRecord) -> tuple[int, int]:
    """Size and time of change as they are now, which may not be the record's. Raises `ModelFileError` if it is gone."""
    try:
        return measure(str(record.path), record.format)
    except OSError as error:
        raise ModelFileError(f"{record.path.name} cannot be read: {error.strerror or error}.") from error


def _single_file(record: ModelRecord) -> Reading:
    file = WatchedFile(record.path)
    header = read_header(record.path)
    family = FAMILIES[record.family]
    tensors = load_file(record.path)
    return Reading(
        family=family,
        files=(file,),
        components=family.components(header, tensors),
        prediction=family.prediction(header, tensors),
        zero_terminal_snr=has_zero_terminal_snr(header),
    )


def _folder(record: ModelRecord) -> Reading:
    folder = read_folder(record.path)
    files = tuple(WatchedFile(path) for paths in folder.files.values() for path in paths)
    return Reading(
        family=folder.family,
        files=files,
        components=folder.components(),
        prediction=folder.prediction,
        zero_terminal_snr=folder.zero_terminal_snr,
    )


def read_vae(record: ModelRecord, *, full_precision: bool) -> tuple[tuple[WatchedFile, ...], Component]:
    """Map a file that holds a VAE, alone or in a checkpoint. Raises `ModelFileError` if it has none that fits."""
    file = WatchedFile(record.path)
    header = read_header(record.path)
    try:
        return (file,), vae_component(header, load_file(record.path), full_precision=full_precision)
    except (SafetensorError, LookupError, ValueError, OSError, ModelFileError) as error:
        raise ModelFileError(f"{record.path.name} cannot be used as a VAE: {error}") from error
