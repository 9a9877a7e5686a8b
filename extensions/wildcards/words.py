"""The words that a picture's seed means, where its prompt leaves them to chance."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from backend.extension_api import GenerationRequest, InvalidRequest, Problem, Sample, Template

from .choices import Draws, drawn, has_choices, in_plain_words, read_choices, wildcards_in
from .files import WildcardFiles

MOST_SAMPLES = 100


class Wildcards:
    """Prompts with ``__name__`` and ``{a|b}`` become words. Safe to use from any thread."""

    def __init__(self, folders: Sequence[Path]):
        """The files of these folders; of two of a name the first counts."""
        self.files = WildcardFiles(folders)

    def names(self) -> list[str]:
        """Of all wildcards there are."""
        return self.files.look().names

    def in_words(self, request: GenerationRequest) -> GenerationRequest:
        """The same with its words drawn by its seed, which must be a number, and with the template they were drawn
        from.

        One generator serves the picture: the prompt is drawn first, then the negative one, then those of the second
        pass; texts that are alike are drawn once. Variations of a picture have its words. Raises `InvalidRequest` for a
        wildcard that is not there or leads back to itself.
        """
        hires = request.hires
        template = Template(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            hires_prompt=hires.prompt if hires else "",
            hires_negative_prompt=hires.negative_prompt if hires else "",
        )
        texts = (template.prompt, template.negative_prompt, template.hires_prompt, template.hires_negative_prompt)
        if request.template is not None or not any(map(has_choices, texts)):
            return request
        words = self._words(texts, request.seed)
        if hires is not None:
            second = {"prompt": words[template.hires_prompt], "negative_prompt": words[template.hires_negative_prompt]}
            hires = replace(hires, **second)
        first = {"prompt": words[template.prompt], "negative_prompt": words[template.negative_prompt]}
        return replace(request, **first, hires=hires, template=template)

    def requests(self, request: GenerationRequest) -> list[GenerationRequest]:
        """What to queue for a request: one where nothing is left to chance or all pictures are variations of one, else
        one for each picture, as each has words of its own. Raises what `in_words` does."""
        made = self.in_words(request)
        varied = request.variation is not None and request.variation.strength > 0
        if request.pictures == 1 or varied or made.template == request.template:
            return [made]
        found: list[GenerationRequest] = []
        for batch in range(request.batch_count):
            seeds = request.seeds(batch)
            variations = request.variation_seeds(batch) or [None] * len(seeds)
            found += [self.in_words(request.single(*each)) for each in zip(seeds, variations, strict=True)]
        return found

    def open(self, text: str) -> bool:
        """Whether anything in the text is left to chance. Never raises."""
        try:
            return has_choices(text)
        except InvalidRequest:
            return True

    def plain(self, text: str) -> tuple[str, Sequence[int]]:
        """The text as it can be read before anything is drawn, and where in it something is drawn. Never raises."""
        try:
            return in_plain_words(text)
        except InvalidRequest:
            return text, ()

    def samples(self, prompt: str, negative_prompt: str = "", *, seed: int = 0, count: int = 10) -> list[Sample]:
        """The words that pictures of these prompts have whose seeds go up from `seed`; `count` up to `MOST_SAMPLES`."""
        found = []
        for each in range(seed, seed + min(count, MOST_SAMPLES)):
            words = self._words((prompt, negative_prompt), each)
            found.append(Sample(seed=each, prompt=words[prompt], negative_prompt=words[negative_prompt]))
        return found

    def problems(self, text: str) -> tuple[Problem, ...]:
        """The mistakes of a prompt's wildcards, each where it stands. Never raises."""
        try:
            wildcards = list(wildcards_in(read_choices(text)))
        except InvalidRequest as error:
            return (Problem(message=str(error), start=0, end=len(text)),)
        if not wildcards:
            return ()
        found: list[Problem] = []
        look = self.files.look()
        for wildcard in wildcards:
            try:
                look.check([wildcard.name])
            except InvalidRequest as error:
                found.append(Problem(message=str(error), start=wildcard.start, end=wildcard.end))
        return tuple(found)

    def _words(self, texts: Sequence[str], seed: int) -> Mapping[str, str]:
        draws, look = Draws(seed), self.files.look()
        words: dict[str, str] = {}
        for text in texts:
            if text not in words:
                look.check([each.name for each in wildcards_in(read_choices(text))])
                words[text] = drawn(text, look.options, draws)
        return words
