"""The pictures that guide others: files of a folder, or pictures that were put in."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import cv2
import numpy as np

from backend.extension_api import Image, JobTurn, SamplingTurn, UserError, asked_by

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
LATEST = "latest"
WEAK, STRONG = 60, 160  # Canny's thresholds


class Guides:
    """Guides by their names. What the VAE makes of one is kept for the length of a sampling."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._latents: WeakKeyDictionary[Any, Tensor] = WeakKeyDictionary()

    def put(self, file: Path) -> str:
        """A result becomes the guide called `LATEST` of whoever asks."""
        path = self._latest(asked_by().owner)
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as picture:
            picture.convert("RGB").save(path)
        return f"{file.name} is the guide called {LATEST}: switch Simple control on to use it."

    def find(self, name: str, turn: JobTurn) -> Image.Image:
        """The picture in RGB. Raises `UserError` for a name that there is not."""
        name, latest = name.strip(), self._latest(turn.owner)
        if re.fullmatch(r"[0-9a-f]{64}", name):
            return turn.picture(name).convert("RGB")
        files = {path.stem: path for path in self._files()} | {path.name: path for path in self._files()}
        if latest.is_file():
            files[LATEST] = latest
        if name not in files:
            own = [LATEST] if latest.is_file() else []
            names = ", ".join([*own, *(path.name for path in self._files())]) or "no guides yet"
            raise UserError(f"There is no guide called {name!r} in {self.folder}; there are {names}.")
        with Image.open(files[name]) as picture:
            return picture.convert("RGB")

    def encode(self, name: str, turn: SamplingTurn) -> None:
        """Keep what the VAE makes of the guide for this sampling."""
        self._latents[turn] = turn.latents(self.find(name, turn))

    def latents(self, turn: SamplingTurn) -> "Tensor":
        """The guide as the VAE sees it, (1, channels, height / 8, width / 8)."""
        return self._latents[turn]

    def edges(self, name: str, turn: SamplingTurn) -> "np.ndarray[Any, Any]":
        """Where the guide has edges (Canny 1986), (1, 1, height, width), from 0 to 1."""
        picture = self.find(name, turn).resize(turn.size, Image.Resampling.LANCZOS)
        found = cv2.Canny(np.asarray(picture.convert("L")), WEAK, STRONG)
        return (found.astype(np.float32) / 255)[None, None]

    def _latest(self, owner: str) -> Path:
        """The result that somebody has made a guide."""
        return self.folder / LATEST / f"{owner or 'nobody'}.png"

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if path.suffix.lower() in SUFFIXES)
