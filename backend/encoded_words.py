"""The words of a request as one checkpoint is told them."""

from collections.abc import Callable

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
        inversions: Callable[[LoadedModel], Inversions],
    ):
        """`request` comes without the tokens of its prompt. `inversions(model)` are the embeddings that the words may
        name for a checkpoint."""
        self._request = request
        self._passes = passes
        self._cache = cache
        self._find = inversions
        self._inversions: Inversions | None = None
        self._words: dict[tuple[int, int], Words] = {}

    def of(self, model: LoadedModel, size: tuple[int, int]) -> Words:
        """What `model`, the same each time, is told for pictures of a size, (width, height). It must be at work."""
        if size not in self._words:
            # While the text encoders hold the same weights, the same words are encoded to the same.
            state = tuple((text.role, model.contents[text.role]) for text in model.family.text)
            self._words[size] = conditionings(
                self._request,
                model.family,
                model.networks,
                model.tokenizer,
                self.inversions(model),
                size,
                passes=self._passes,
                kept=self._cache.kept(state),
            )
        return self._words[size]

    def inversions(self, model: LoadedModel) -> Inversions:
        """The embeddings for `model`, looked for once."""
        if self._inversions is None:
            self._inversions = self._find(model)
        return self._inversions
