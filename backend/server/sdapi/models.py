"""Models by the names that clients have for them: a title with its hash, a file's name, a hash alone, or the name
here."""

from typing import TYPE_CHECKING, Any

from backend.errors import ModelFileError, UserError
from backend.infotext.apply import UPSCALER_FILES
from backend.infotext.known_models import Missing, find_model
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.hashes import autov2
from backend.model_manager.inventory.scan import Format
from backend.request import AUTOMATIC_VAE, OWN_VAE

if TYPE_CHECKING:
    from backend.app import App
    from backend.model_manager.inventory.record import ModelRecord

SAME_CHECKPOINT = ("Use same checkpoint", "None", "none", "")


class Models:
    """The catalog of an app, asked in AUTOMATIC1111's words. Files are shown by where they lie in their model folder:
    a path of the machine is nobody's business."""

    def __init__(self, app: "App"):
        self._app = app
        self._catalog = app.catalog

    def checkpoint(self, name: str) -> "ModelRecord":
        """The checkpoint of that name; for none the first there is. Raises `ModelFileError`."""
        return self._catalog.find(self._named(Kind.CHECKPOINT, name) if name.strip() else "")

    def checkpoint_or_none(self, name: str) -> "ModelRecord | None":
        """The same, or the first there is where that one is gone, or nothing."""
        for each in (name, ""):
            try:
                return self.checkpoint(each)
            except UserError:
                continue
        return None

    def vae(self, name: str) -> str:
        """The VAE's name here, or A1111's words for none. Raises `ModelFileError`."""
        for word in (AUTOMATIC_VAE, OWN_VAE):
            if name.casefold() == word.casefold():
                return word
        return self._named(Kind.VAE, name)

    def upscaler(self, name: str) -> str:
        """The upscaler's name here; AUTOMATIC1111 calls those that it downloads otherwise than their files. Raises
        `UserError`."""
        try:
            return self._app.upscalers.exact(name)
        except UserError:
            if name not in UPSCALER_FILES:
                raise
            found = find_model(self._catalog, Kind.UPSCALER, UPSCALER_FILES[name])
            if isinstance(found, Missing):
                raise
            return found.name

    def title(self, record: "ModelRecord") -> str:
        """What clients show and send back: the file, and the beginning of its hash once that was taken."""
        sha256 = self.sha256(record)
        return f"{self.file(record)} [{autov2(sha256)}]" if sha256 else self.file(record)

    def sha256(self, record: "ModelRecord") -> str:
        """A file's hash, if it was taken."""
        return self._app.hashes.known(record)

    def file(self, record: "ModelRecord") -> str:
        """Where a file lies in its model folder."""
        return record.name if record.format is Format.DIFFUSERS else record.name + record.path.suffix

    def usable(self, kind: Kind) -> "list[ModelRecord]":
        """All of a kind that can be used."""
        return [record for record in self._catalog.records(kind) if not record.problem]

    def checkpoints(self) -> list[dict[str, Any]]:
        """The rows of ``/sd-models``."""
        return [
            {
                "title": self.title(record),
                "model_name": record.name,
                "hash": autov2(self.sha256(record)) or None,
                "sha256": self.sha256(record) or None,
                "filename": self.file(record),
                "config": None,
            }
            for record in self.usable(Kind.CHECKPOINT)
        ]

    def _named(self, kind: Kind, name: str) -> str:
        found = find_model(self._catalog, kind, name)
        if isinstance(found, Missing):
            by_hash = self._catalog.with_hash(name, kind)
            if by_hash is None:
                raise ModelFileError(found.sentence)
            return by_hash.name
        return found.name
