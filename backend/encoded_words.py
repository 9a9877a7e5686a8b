"""The words of a request as one checkpoint is told them."""

from collections.abc import Callable
from dataclasses import replace

from backend.families.denoising import conditionings
from backend.model_manager.residency import LoadedModel
from backend.prompt.conditioning_cache import ConditioningCache
from backend.prompt.editing import Passes
from backend.prompt.embeddings import Inversions
from backend.request import GenerationRequest
from backend.sampling.denoiser import Words


class EncodedWords:
    """They are encoded when a size is first asked for, and then kept here: for all tiles, and for a seam. Besides,
    `cache` keeps them for other requests."""

    def __init__(
        self,
        request: GenerationRequest,
        passes: Passes,
        cache: ConditioningCache,
        inversions: Callable[[GenerationRequest, LoadedModel], Inversions],
        changed: Callable[[Words], Words] = lambda words: words,
    ):
        """`request` comes without the tokens of its prompt. `inversions(request, model)` are the embeddings that the
        words of one may name for a checkpoint. `changed(words)` are the words as they are to be used."""
        self._request = request
        self._passes = passes
        self._cache = cache
        self._find = inversions
        self._changed = changed
        self._inversions: Inversions | None = None
        self._words: dict[tuple[int, int], Words] = {}

    def of(self, model: LoadedModel, size: tuple[int, int]) -> Words:
        """What `model`, the same each time, is told for pictures of a size, (width, height). It must be at work."""
        if size not in self._words:
            self._words[size] = self._changed(self._encoded(self._request, model, self.inversions(model), size))
        return self._words[size]

    def other(self, model: LoadedModel, size: tuple[int, int], prompt: str, negative_prompt: str) -> Words:
        """Other words, without tokens, as `model` would be told them."""
        request = replace(self._request, prompt=prompt, negative_prompt=negative_prompt)
        return self._encoded(request, model, self._find(request, model), size)

    def _encoded(
        self, request: GenerationRequest, model: LoadedModel, inversions: Inversions, size: tuple[int, int]
    ) -> Words:
        # While the text encoders hold the same weights, the same words are encoded to the same.
        state = tuple((text.role, model.contents[text.role]) for text in model.family.text)
        return conditionings(
            request,
            model.family,
            model.networks,
            model.tokenizer,
            inversions,
            size,
            passes=self._passes,
            kept=self._cache.kept(state),
        )

    def inversions(self, model: LoadedModel) -> Inversions:
        """The embeddings for `model`, looked for once."""
        if self._inversions is None:
            self._inversions = self._find(self._request, model)
        return self._inversions
