"""One module per architecture: what its networks are, how its words are encoded, how its denoiser is called."""

from collections.abc import Mapping

from backend.errors import ModelFileError
from backend.families.family import Family
from backend.families.sd1 import SD1
from backend.families.sd2 import SD2
from backend.families.sdxl import SDXL, SDXL_REFINER
from backend.model_manager.header import Header

FAMILIES: Mapping[str, Family] = {family.name: family for family in (SD1, SD2, SDXL, SDXL_REFINER)}


def identify(header: Header, file_name: str) -> Family:
    """The family whose marks the header bears. Raises `ModelFileError` if Atelier cannot run what the file holds."""
    for family in FAMILIES.values():
        if family.bears_marks(header):
            return family
    titles = ", ".join(family.title for family in FAMILIES.values())
    raise ModelFileError(f"{file_name} is no checkpoint that Atelier can run; it runs {titles}.")
