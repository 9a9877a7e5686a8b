"""What a UNet is told: the words of prompts as tensors, and which of them holds at which call."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What a UNet is told about one picture.

    `context` are the encoded words, (tokens, width). Some UNets are also told the text as a whole, `pooled`, (width,),
    and numbers about the picture, `sizes`.
    """

    context: Tensor
    pooled: Tensor | None = None
    sizes: tuple[float, ...] = ()

    def without_words(self) -> "Conditioning":
        """The same, all zeros where there were words."""
        pooled = None if self.pooled is None else torch.zeros_like(self.pooled)
        return replace(self, context=torch.zeros_like(self.context), pooled=pooled)

    def stretched(self, tokens: int) -> "Conditioning":
        """With its last token again and again, so that it has as many."""
        more = tokens - len(self.context)
        return self if more <= 0 else self.followed_by(self.context[-1:], more)

    def followed_by(self, context: Tensor, times: int) -> "Conditioning":
        """With another context after its own, some times."""
        return replace(self, context=torch.cat([self.context, context.repeat(times, 1)]))


@dataclass(frozen=True, kw_only=True)
class WeightedSchedule:
    """One of the prompts that AND joins, and its weight. `schedule` has what it says, each with the last call of the
    denoiser, counted from 0, that it is for."""

    schedule: tuple[tuple[int, Conditioning], ...]
    weight: float = 1.0

    def at(self, call: int) -> Conditioning:
        """What is said at a call. After the last one it is what was said first, as in A1111: samplers that choose
        their own steps can get there."""
        return next((said for last, said in self.schedule if call <= last), self.schedule[0][1])


@dataclass(frozen=True, kw_only=True)
class PromptConditioning:
    """A prompt: at least one part."""

    parts: tuple[WeightedSchedule, ...]

    @classmethod
    def plain(cls, conditioning: Conditioning) -> "PromptConditioning":
        """A prompt that says one thing all the time."""
        return cls(parts=(WeightedSchedule(schedule=((0, conditioning),)),))

    @property
    def weights(self) -> tuple[float, ...]:
        return tuple(part.weight for part in self.parts)

    def at(self, call: int) -> tuple[Conditioning, ...]:
        """What each part says at a call."""
        return tuple(part.at(call) for part in self.parts)


def equally_long(conditionings: Sequence[Conditioning]) -> list[Conditioning]:
    """All as long as the longest, as A1111 does with prompts that AND joins."""
    tokens = max(len(each.context) for each in conditionings)
    return [each.stretched(tokens) for each in conditionings]
