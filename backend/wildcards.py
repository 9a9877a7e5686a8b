"""The words that a picture's seed means, where its prompt leaves them to chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backend.errors import InvalidRequest
from backend.prompt.choices import Draws, drawn, has_choices, read_choices, wildcards_in
from backend.prompt.grammar import Problem
from backend.prompt.template import Template
from backend.prompt.wildcard_files import WildcardFiles
from backend.request import GenerationRequest

MOST_SAMPLES = 100
FOLDER = "wildcards"
# Where an AUTOMATIC1111 installation with the extension Dynamic Prompts has them, and where others do.
IN_INSTALLATION = ("extensions/sd-dynamic-prompts/wildcards", FOLDER)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The words that a seed means."""

    seed: int
    prompt: str
    negative_prompt: str


class Wildcards:
    """Prompts with ``__name__`` and ``{a|b}`` become words. Safe to use from any thread."""

    def __init__(self, data_dir: Path, declared: Sequence[Path] = (), installations: Sequence[Path] = ()):
        """The files of ``wildcards/`` in the data folder, of the declared folders, and of installations that have any;
        of two of a name the first counts."""
        found = [path / place for path in installations for place in IN_INSTALLATION]
        self.files = WildcardFiles([data_dir / FOLDER, *declared, *found])

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
        resolved = request.resolved()
        if request.pictures == 1 or self.in_words(resolved).template == request.template:
            return [request]
        if resolved.variation is not None and resolved.variation.strength > 0:
            return [self.in_words(resolved)]
        found: list[GenerationRequest] = []
        for batch in range(resolved.batch_count):
            seeds = resolved.seeds(batch)
            varied = resolved.variation_seeds(batch) or [None] * len(seeds)
            found += [self.in_words(resolved.single(*each)) for each in zip(seeds, varied, strict=True)]
        return found

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
