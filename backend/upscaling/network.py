"""An upscaler's file as a network: which architecture it is, spandrel tells from its tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from spandrel import ModelLoader, UnsupportedModelError
from torch import Tensor

from backend.errors import ModelFileError, UserError
from backend.model_manager.header import read_header
from backend.model_manager.memory.rescue import first_line, out_of_memory

PREFIXES = ("params_ema.", "params.")  # where training scripts leave the weights, the averaged ones first
LARGEST_FACTOR = 16
# What an architecture's code can say when the tensors are not what their names promise.
MISFITS = (AssertionError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Network:
    """A network that makes a picture `factor` times as large, on a device: in half precision on CUDA, where its
    architecture bears that and as long as it suffices."""

    def __init__(self, path: Path, device: torch.device, *, half: bool | None = None):
        """Load a safetensors file; `half` says otherwise than the device would.

        Nothing in the file is run: the header is checked, and what is read are tensors. Raises `ModelFileError` if the
        file is damaged, of no architecture that spandrel knows, or made for something else than enlarging.
        """
        self._path = path
        self._place = device
        self._model = load_model(path)
        self._half = (device.type == "cuda" if half is None else half) and self._model.supports_half
        self.factor: int = self._model.scale
        self._settle()

    def __call__(self, tile: Image.Image) -> Image.Image:
        """An RGB picture, enlarged in one piece. Raises `UserError` if the network makes no picture of it."""
        # A copy: PIL's bytes cannot be written to, and torch warns of such.
        pixels = torch.from_numpy(np.array(tile)).movedim(-1, 0)[None].to(self._place).float() / 255
        answer = self._answer(pixels)
        if self._half and not answer.isfinite().all():
            self._half = False
            self._model = load_model(self._path)  # what half precision cut off is only in the file
            self._settle()
            answer = self._answer(pixels)
        if not answer.isfinite().all():
            raise UserError(
                f"{self._path.name} made numbers without end (NaN) and no picture: the file may be damaged."
            )
        data = (answer[0, :3].movedim(0, -1) * 255).round().to(torch.uint8)
        return Image.fromarray(data.cpu().numpy())

    def _settle(self) -> None:
        with torch.inference_mode(False), torch.no_grad():
            self._model.to(self._place, torch.float16 if self._half else torch.float32)

    def _answer(self, pixels: Tensor) -> Tensor:
        """Colours from 0 to 1 of colours from 0 to 1, (1, 3 or 4, height, width) in float32."""
        try:
            return self._computed(pixels)
        except MISFITS as error:  # what a file promises by its names may still not fit together
            if out_of_memory(error):
                raise
            reason = first_line(error).rstrip(".:")
            raise ModelFileError(f"{self._path.name} makes no picture of a tile: {reason}.") from error

    def _computed(self, pixels: Tensor) -> Tensor:
        x = pixels.half() if self._half else pixels
        if self._model.input_channels == 1:  # made for grey: each colour for itself
            return torch.cat([self._model(colour) for colour in x.split(1, dim=1)], dim=1).float()
        if self._model.input_channels == 4:
            x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        return self._model(x).float()


def load_model(path: Path) -> Any:
    """Spandrel's descriptor of a file's network (its types leave the network open), checked, on the CPU. Raises as
    `Network` does."""
    read_header(path)
    try:
        with torch.inference_mode(False), torch.no_grad():
            model = _described(load_file(path))
    except (SafetensorError, OSError, *MISFITS) as error:
        if out_of_memory(error):
            raise
        reason = first_line(error).rstrip(".:")
        raise ModelFileError(f"{path.name} cannot be loaded as an upscaler: {reason}.") from error
    if problem := _problem(model):
        raise ModelFileError(f"{path.name} cannot be used as an upscaler: it {problem}.")
    return model


def _described(tensors: dict[str, Tensor]) -> Any:
    for prefix in PREFIXES:
        if inside := {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}:
            tensors = inside
            break
    try:
        return ModelLoader().load_from_state_dict(tensors)
    except UnsupportedModelError:
        raise ValueError("its tensors are those of no architecture that is known") from None


def _problem(model: Any) -> str:
    """Why a network that could be read is no upscaler; empty if it is one."""
    if model.purpose not in ("SR", "Restoration"):
        return "mends faces or fills holes, and does not enlarge"
    channels = (model.input_channels, model.output_channels)
    if channels not in ((1, 1), (3, 3), (4, 4)):
        return f"has {channels[0]} channels in and {channels[1]} out, not RGB"
    if not 1 <= model.scale <= LARGEST_FACTOR:
        return f"enlarges by {model.scale}; 1 to {LARGEST_FACTOR} can be used"
    return ""
