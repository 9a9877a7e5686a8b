"""Wildcards and choices: ``__colour__`` and ``{red|blue}`` become words, which the seed draws for each picture."""

from collections.abc import Sequence

from backend.extension_api import ExtensionApi, GenerationRequest, hook

from .words import Wildcards

FOLDER = "wildcards"
# Where an AUTOMATIC1111 installation with the extension Dynamic Prompts has them.
OF_DYNAMIC_PROMPTS = f"extensions/sd-dynamic-prompts/{FOLDER}"

_wildcards = Wildcards([])


@hook
def register(api: ExtensionApi) -> None:
    folders = dict.fromkeys([*api.folders(FOLDER), *api.folders(OF_DYNAMIC_PROMPTS)])
    _wildcards.look_in(list(folders))
    api.words(_wildcards)


@hook
def on_prompts(request: GenerationRequest) -> Sequence[GenerationRequest]:
    return _wildcards.requests(request)
