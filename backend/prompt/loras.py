"""The LoRA files that a prompt names."""

from backend.errors import ModelFileError
from backend.model_manager.catalog import Catalog
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.record import ModelRecord, misfit
from backend.prompt.grammar import LoraToken, Problem, read_prompt
from backend.prompt.problems import MOST_PROBLEMS


def named_loras(prompt: str, catalog: Catalog, checkpoint: ModelRecord) -> list[tuple[LoraToken, ModelRecord]]:
    """Every ``<lora:...>`` of a prompt with its file.

    Raises `InvalidRequest` for a token that cannot be read, `ModelFileError` for a name that is not there, a file that
    cannot be used or one that does not fit `checkpoint`. A1111 reads no tokens in negative prompts, and neither does
    this.
    """
    read = read_prompt(prompt)
    read.check()
    named = [(token, catalog.find(token.name, Kind.LORA)) for token in read.loras]
    for _, record in named:
        if record.family and checkpoint.family and not record.identity.fits(checkpoint.identity):
            raise ModelFileError(misfit(record, checkpoint))
    return named


def unknown_loras(prompt: str, catalog: Catalog) -> tuple[Problem, ...]:
    """The tokens of a prompt that name what is not there, or cannot be used, each with the sentence, at most
    the first `MOST_PROBLEMS`.

    This is asked while somebody types, so the disk is not; until all models were looked at once nothing is unknown.
    """
    if not catalog.wait(0):
        return ()
    found: list[Problem] = []
    said: dict[str, str] = {}
    for token in read_prompt(prompt).loras:
        if token.name not in said:
            said[token.name] = _against(token.name, catalog)
        if said[token.name]:
            found.append(Problem(message=said[token.name], start=token.start, end=token.end))
        if len(found) == MOST_PROBLEMS:
            break
    return tuple(found)


def _against(name: str, catalog: Catalog) -> str:
    """Why no LoRA of this name can be used; empty where one can."""
    try:
        catalog.find(name, Kind.LORA, look=False)
    except ModelFileError as error:
        return str(error)
    return ""
