"""The one callable that samplers see: noisy latents and a sigma in, the network's guess of the clean picture out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from backend.model_manager.identity import Prediction
from backend.sampling.conditioning import Conditioning, PromptConditioning, equally_long
from backend.sampling.guidance import Combine, check_edits
from backend.sampling.schedules import SigmaTable
from backend.sampling_options import Guidance

MOST_STACKED = 4  # sets of conditionings: words that alternate, with the negative prompt and without it


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a picture is made of: a prompt, and what it is led away from, if it is. `empty` is a chunk without words,
    which makes both equally long, where that is wanted."""

    cond: PromptConditioning
    uncond: PromptConditioning | None = None
    empty: Conditioning | None = None


@dataclass(frozen=True, kw_only=True)
class Guide:
    """How far the guesses for the prompt lead away from those for the negative prompt.

    With an `image_cfg_scale` other than 1 a UNet that edits a picture is led towards it as well. `combine` takes the
    place of classifier-free guidance, wherever the negative prompt is asked. `calls` are those of the whole run, of
    which `options` take shares. Where `by_timestep` the minimum sigma is compared with timesteps, as A1111 does for
    DDIM and its kin.
    """

    cfg_scale: float
    image_cfg_scale: float | None = None
    options: Guidance = field(default_factory=Guidance)
    combine: Combine | None = None
    calls: int = 1
    by_timestep: bool = False

    def leaves_out(self, call: int, sigma: float, table: SigmaTable) -> bool:
        """Whether the negative prompt has no part in a call."""
        options = self.options
        if options.skip_early and call / self.calls <= options.skip_early:
            return True
        turn = options.ngms_all_steps or call % 2 == 1
        return turn and (table.sigma_to_t(sigma) if self.by_timestep else sigma) < options.ngms


class Around(Protocol):
    """Who stands around the calls of a denoiser."""

    def network(
        self, unet: UNet2DConditionModel, x: Tensor, t: Tensor, arguments: Mapping[str, Any], negative: Sequence[bool]
    ) -> Tensor:
        """What the UNet gives for `x`, or something like it; `negative` says which of its rows are not the prompt's."""
        ...

    def guessed(
        self, *, x: Tensor, sigma: float, call: int, calls: int, cond: Tensor, uncond: Tensor, denoised: Tensor
    ) -> Tensor:
        """The guess `denoised`, or another one like it."""
        ...


@dataclass(frozen=True)
class _Batch:
    """Conditionings that go through the network in one call, stacked. Of each, `negative` says that it is not the
    prompt's."""

    context: Tensor
    pooled: Tensor | None
    sizes: Tensor
    pictures: Tensor | None
    negative: tuple[bool, ...]

    @classmethod
    def of(
        cls,
        parts: Sequence[Conditioning],
        pictures: Tensor | None,
        dtype: torch.dtype,
        negative: Sequence[bool],
    ) -> "_Batch":
        context = torch.stack([part.context for part in parts]).to(dtype)
        pooled = [part.pooled.to(dtype) for part in parts if part.pooled is not None]
        sizes = torch.tensor([part.sizes for part in parts], dtype=torch.float32, device=context.device)
        return cls(context, torch.stack(pooled) if pooled else None, sizes, pictures, tuple(negative))

    def __len__(self) -> int:
        return len(self.context)

    def beside(self, x: Tensor) -> Tensor:
        """`x` for each conditioning, with the picture that it is shown."""
        repeated = x.repeat(len(self), 1, 1, 1)
        if self.pictures is None:
            return repeated
        return torch.cat([repeated, self.pictures.repeat_interleave(len(x), dim=0)], dim=1)

    def arguments(self, pictures: int) -> dict[str, Any]:
        """What the UNet is called with, for that many pictures of each conditioning."""
        arguments: dict[str, Any] = {"encoder_hidden_states": self.context.repeat_interleave(pictures, dim=0)}
        if self.pooled is not None:
            arguments["added_cond_kwargs"] = {
                "text_embeds": self.pooled.repeat_interleave(pictures, dim=0),
                "time_ids": self.sizes.repeat_interleave(pictures, dim=0),
            }
        return arguments


def _from_noise(x: Tensor, guess: Tensor, sigma: float) -> Tensor:
    """x - sigma eps."""
    return x - sigma * guess


def _from_velocity(x: Tensor, guess: Tensor, sigma: float) -> Tensor:
    """Salimans & Ho 2022, appendix D, v = alpha eps - sigma x0, solved for x0 with x in sigma space."""
    variance = sigma * sigma + 1
    return x / variance - guess * (sigma / variance**0.5)


# How the clean picture follows from what the network guesses.
CLEAN: Mapping[Prediction, Callable[[Tensor, Tensor, float], Tensor]] = MappingProxyType(
    {"epsilon": _from_noise, "v": _from_velocity}
)


class GuidedDenoiser:
    """A UNet with classifier-free guidance (Ho & Salimans 2022, eq. 6) in Karras et al.'s terms.

    With x in sigma space the network sees x / sqrt(sigma^2 + 1) and t(sigma). If it guesses the noise,
    D(x; sigma) = x - sigma * eps (Karras et al. 2022, table 1, VP row). Guidance mixes the D of all conditionings: that
    of the negative prompt and, for each prompt that AND joins, its weight times the way from there to its own (Liu et
    al. 2022, "Composable Diffusion", eq. 11). All go through the network in one batch where they are of one length;
    padding the shorter would change the picture, so otherwise the negative prompt goes after the others.

    Its calls are counted from 0: at which words change, and the negative prompt may be left out, goes by them.

    A UNet that edits a picture is asked once more, without words, and guided towards the picture as well (Brooks et
    al. 2023, "InstructPix2Pix", eq. 3).

    `around`, if there is somebody, stands around each call of the UNet, and has the last word on each guess.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        table: SigmaTable,
        words: Words,
        guide: Guide,
        *,
        prediction: Prediction = "epsilon",
        picture: Tensor | None = None,
        apart: bool = False,
    ):
        """Without a negative prompt in `words` only the prompt is asked. `picture`, (1, channels, height, width), is
        what a UNet with more input channels sees beside the noisy latents. With an image CFG scale other than 1,
        guidance goes from no picture, all zeros, to the picture with it, and from there to the words with the other.
        With `apart` the pictures of a batch go through the network one after the other: kernels add up in another
        order in larger batches, so each is then, to the bit, the one that is made alone.
        """
        self.call = 0
        self.last_uncond: Tensor | None = None
        self.around: Around | None = None
        self._unet = unet
        self._dtype = unet.dtype  # once: diffusers looks through every module for it
        self._table = table
        self._words = words
        self._guide = guide
        self._clean = CLEAN[prediction]
        self._apart = apart
        self._picture = None if picture is None else picture.to(self._dtype)
        scale = guide.image_cfg_scale
        edits = words.uncond is not None and picture is not None and scale is not None and scale != 1
        self._image_cfg_scale = scale if edits else None
        if edits:
            check_edits(guide.options.method)
        self._stacked: dict[tuple[int, ...], list[_Batch]] = {}

    def restart(self, call: int = 0) -> None:
        """Count calls from here: before each run, and where one goes on that another denoiser began."""
        self.call = call

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """`x` is (batch, channels, height, width), float32; so is what comes back. `last_uncond` is then the guess for
        the negative prompt, or the same where that was not asked."""
        call, self.call = self.call, self.call + 1
        denoised, guesses = self._guided(x, sigma, call)
        if self.around is None:
            return denoised
        uncond = cond = denoised if self.last_uncond is None else self.last_uncond
        if guesses:
            cond = guesses[0] if self._words.cond.weights == (1.0,) else self._led(uncond, uncond, guesses, 1.0)
        return self.around.guessed(
            x=x, sigma=sigma, call=call, calls=self._guide.calls, cond=cond, uncond=uncond, denoised=denoised
        )

    @property
    def unet(self) -> UNet2DConditionModel:
        """The network that is asked."""
        return self._unet

    def _guided(self, x: Tensor, sigma: float, call: int) -> tuple[Tensor, list[Tensor]]:
        """The guess, and what it was led towards: nothing where the negative prompt was not asked."""
        conds = self._words.cond.at(call)
        asked = self._words.uncond
        if asked is not None and self._image_cfg_scale is None and self._guide.leaves_out(call, sigma, self._table):
            asked = None
        guesses = self._guesses(x, sigma, self._batches(conds, None if asked is None else asked.at(call)[0]))
        if asked is None:
            # What else AND joins leads away from the first, as A1111 has it.
            first = guesses[0]
            self.last_uncond = self._led(first, first, guesses, 1.0) if len(guesses) > 1 else first
            return self.last_uncond, []
        guesses, rest = guesses[: len(conds)], guesses[len(conds) :]
        uncond = self.last_uncond = rest[0]
        scale, phi = self._guide.cfg_scale, self._guide.options.rescale
        if self._image_cfg_scale is not None:
            unseen = rest[1]
            return self._led(unseen, uncond, guesses, scale) + self._image_cfg_scale * (uncond - unseen), guesses
        if self._guide.combine is None:
            result = self._led(uncond, uncond, guesses, scale)
        else:
            result = self._guide.combine(self._led(uncond, uncond, guesses, 1.0), uncond, scale, x, sigma)
        if phi:
            result = self._rescaled(x, sigma, result, self._led(uncond, uncond, guesses, 1.0), phi)
        return result, guesses

    def _led(self, start: Tensor, away: Tensor, guesses: Sequence[Tensor], scale: float) -> Tensor:
        """`start`, led in the directions from `away` to the guesses."""
        for weight, guess in zip(self._words.cond.weights, guesses, strict=True):
            start = start + (weight * scale) * (guess - away)
        return start

    def _rescaled(self, x: Tensor, sigma: float, result: Tensor, unguided: Tensor, phi: float) -> Tensor:
        """Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", equations 15 and 16: what
        the network would have guessed, brought back to the spread that it has without guidance, by a share of phi."""
        nothing = self._clean(x, torch.zeros_like(x), sigma)
        guided, plain = (each - nothing for each in (result, unguided))
        ratio = plain.std(dim=(1, 2, 3), keepdim=True) / guided.std(dim=(1, 2, 3), keepdim=True)
        return nothing + guided * (phi * ratio + (1 - phi))

    def _guesses(self, x: Tensor, sigma: float, batches: Sequence[_Batch]) -> list[Tensor]:
        """The clean pictures that the network guesses, one for each conditioning."""
        inputs = (x * (sigma * sigma + 1) ** -0.5).to(self._dtype)
        t = torch.tensor(self._table.sigma_to_t(sigma), dtype=torch.float32, device=x.device)
        groups = inputs.split(1 if self._apart else len(inputs))
        guesses: list[Tensor] = []
        for batch in batches:
            outputs = [self._asked(batch, some, t) for some in groups]
            output = torch.cat([each.unflatten(0, (len(batch), -1)) for each in outputs], dim=1)
            guesses += [self._clean(x, part.to(x.dtype), sigma) for part in output]
        return guesses

    def _asked(self, batch: _Batch, some: Tensor, t: Tensor) -> Tensor:
        """What the network gives for some pictures."""
        x, arguments = batch.beside(some), batch.arguments(len(some))
        if self.around is None:
            return self._unet(x, t, **arguments, return_dict=False)[0]
        return self.around.network(self._unet, x, t, arguments, [each for each in batch.negative for _ in some])

    def _batches(self, conds: Sequence[Conditioning], uncond: Conditioning | None) -> list[_Batch]:
        """Conditionings stacked to go through the network together, those of the prompt first."""
        key = tuple(id(each) for each in (*conds, uncond))
        if key not in self._stacked:
            if len(self._stacked) == MOST_STACKED:
                del self._stacked[next(iter(self._stacked))]
            self._stacked[key] = self._stack(conds, uncond)
        return self._stacked[key]

    def _stack(self, conds: Sequence[Conditioning], uncond: Conditioning | None) -> list[_Batch]:
        told = equally_long(conds)
        if uncond is not None and self._words.empty is not None:
            *told, uncond = _filled_up([*told, uncond], self._words.empty)
        shown = self._picture
        groups = [[(each, shown, False) for each in told]]
        if uncond is not None:
            unseen = None if self._image_cfg_scale is None or shown is None else torch.zeros_like(shown)
            groups += [[(uncond, shown, True)]] + ([] if unseen is None else [[(uncond, unseen, True)]])
            if len(uncond.context) == len(told[0].context):
                groups = [[row for group in groups for row in group]]
        return [
            _Batch.of(
                [each for each, _, _ in group],
                _joined([seen for _, seen, _ in group]),
                self._dtype,
                [negative for _, _, negative in group],
            )
            for group in groups
        ]


def _joined(pictures: Sequence[Tensor | None]) -> Tensor | None:
    seen = [picture for picture in pictures if picture is not None]
    return torch.cat(seen) if seen else None


def _filled_up(conditionings: Sequence[Conditioning], empty: Conditioning) -> list[Conditioning]:
    """All as long as the longest, by chunks without words."""
    tokens = max(len(each.context) for each in conditionings)
    return [
        each.followed_by(empty.context, (tokens - len(each.context)) // len(empty.context)) for each in conditionings
    ]
