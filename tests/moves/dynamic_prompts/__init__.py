"""Words that are drawn for each picture: `[[red|green]]` is one of both."""

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from backend.extension_api import LARGEST_SEED, ExtensionApi, GenerationRequest, UserError, hook

CHOICE = re.compile(r"\[\[([^\[\]]*)\]\]")
MOST = 100


def drawn(text: str, seed: int) -> str:
    """The text with one of the words of each choice."""
    chance = random.Random(seed)
    return CHOICE.sub(lambda found: chance.choice(found[1].split("|")), text)


@hook
def register(api: ExtensionApi) -> None:
    pass


@hook
def on_prompts(request: GenerationRequest) -> Sequence[GenerationRequest] | None:
    if not CHOICE.search(request.prompt):
        return None
    count = request.batch_count * request.batch_size
    if count > MOST:
        raise UserError(f"Words can be drawn for {MOST} pictures at once, not for {count}.")
    seeds = [(request.seed + number) % (LARGEST_SEED + 1) for number in range(count)]
    return [
        replace(request, prompt=drawn(request.prompt, seed), seed=seed, batch_count=1, batch_size=1) for seed in seeds
    ]
