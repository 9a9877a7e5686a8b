"""Wildcards and choices: ``__colour__`` and ``{red|blue}`` become words, which the seed draws for each picture."""

from collections.abc import Sequence

from backend.extension_api import ExtensionApi, GenerationRequest, Turn, hook

from .words import Wildcards

FOLDER = "wildcards"
# Where an AUTOMATIC1111 installation with the extension Dynamic Prompts has them.
OF_DYNAMIC_PROMPTS = f"extensions/sd-dynamic-prompts/{FOLDER}"


@hook
def register(api: ExtensionApi) -> None:
    folders = dict.fromkeys([*api.folders(FOLDER), *api.folders(OF_DYNAMIC_PROMPTS)])
    api.words(api.keep(Wildcards(list(folders))))


@hook
def on_prompts(request: GenerationRequest, turn: Turn) -> Sequence[GenerationRequest]:
    return turn.kept(Wildcards).requests(request)
