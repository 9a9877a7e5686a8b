"""The LoRAs that a prompt puts on, found in the catalog and read."""

from backend.model_manager.catalog import Catalog
from backend.model_manager.inventory.hashes import HashIndex
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.lora.lora_file import LoraShelf
from backend.model_manager.patches import LoraUse
from backend.prompt.loras import named_loras


class LoraUses:
    """Reads the LoRAs of prompts; those used lately stay read. Used by one thread."""

    def __init__(self, catalog: Catalog, hashes: HashIndex):
        self._catalog = catalog
        self._hashes = hashes
        self._shelf = LoraShelf()

    def of(self, prompt: str, checkpoint: ModelRecord) -> list[LoraUse]:
        """What the prompt puts on `checkpoint`. Raises `InvalidRequest` and `ModelFileError` as `named_loras`
        does, and `ModelFileError` for a file that cannot be read."""
        uses: list[LoraUse] = []
        for token, record in named_loras(prompt, self._catalog, checkpoint):
            lora = self._shelf.read(record.path, title=record.identity.title, sha256=self._hashes.known(record))
            uses.append(LoraUse(lora=lora, unet=token.unet, text_encoder=token.text_encoder, rank=token.rank))
        return uses
