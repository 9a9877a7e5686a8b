"""The LoRAs that a prompt puts on, read from their files."""

from collections.abc import Iterable

from backend.model_manager.inventory.hashes import HashIndex
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.lora.lora_file import LoraShelf
from backend.model_manager.patches import LoraUse
from backend.prompt.grammar import LoraToken


class LoraUses:
    """Reads the LoRAs of prompts; those used lately stay read. Used by one thread."""

    def __init__(self, hashes: HashIndex):
        self._hashes = hashes
        self._shelf = LoraShelf()

    def of(self, named: Iterable[tuple[LoraToken, ModelRecord]]) -> list[LoraUse]:
        """What a prompt puts on that names these files. Raises `ModelFileError` for one that cannot be read."""
        uses: list[LoraUse] = []
        for token, record in named:
            lora = self._shelf.read(record.path, title=record.identity.title, sha256=self._hashes.known(record))
            uses.append(LoraUse(lora=lora, unet=token.unet, text_encoder=token.text_encoder, rank=token.rank))
        return uses
