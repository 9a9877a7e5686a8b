"""A request's words and numbers in the way its checkpoint's family wants them."""

from dataclasses import replace

from transformers import CLIPTokenizer

from backend.families.family import Family
from backend.families.networks import Networks
from backend.families.unseen import EDIT, Shown, further_channels, no_picture, other_picture
from backend.prompt.composition import subprompts
from backend.prompt.conditioning_cache import Kept
from backend.prompt.editing import Passes, read_editing
from backend.prompt.embeddings import Inversions
from backend.prompt.encode import Reading, encode
from backend.prompt.grammar import uncommented
from backend.prompt.passage import Passage
from backend.request import GenerationRequest
from backend.sampling.conditioning import PromptConditioning, WeightedSchedule
from backend.sampling.denoiser import Guide, GuidedDenoiser, Words
from backend.sampling.guidance import find_guidance
from backend.sampling.samplers import find_sampler
from backend.sampling.schedules import SigmaTable
from backend.sampling_options import CFG


def calls_of(request: GenerationRequest, steps: int) -> int:
    """How many calls of the denoiser A1111 counts for so many steps: two each with a sampler of second order."""
    return steps * (2 if find_sampler(request.sampler).second_order else 1)


def passes_of(request: GenerationRequest, first: int | None = None) -> Passes:
    """How the numbers in the prompts of a request count, in the second pass of hires fix after `first` calls."""
    return Passes(total=calls_of(request, request.steps), first=first, old=request.old_prompt_editing)


def conditionings(
    request: GenerationRequest,
    family: Family,
    networks: Networks,
    tokenizer: CLIPTokenizer,
    inversions: Inversions | None = None,
    size: tuple[int, int] | None = None,
    *,
    passes: Passes | None = None,
    kept: Kept | None = None,
) -> Words:
    """What the UNet is told of the prompt, whose tokens were cut out, and of the negative prompt unless that has no
    weight: then it is neither encoded nor asked. `size` is what is made, (width, height), unless that is the request's.
    `passes` are by default those of a single pass, `kept` is as in `encode`."""
    passes = passes or passes_of(request)
    parts = subprompts(uncommented(Passage.of(request.prompt)))
    schedules = [read_editing(part.text).texts(passes) for part in parts]
    negative = None
    if _is_asked(request, [part.weight for part in parts]):
        negative = read_editing(uncommented(Passage.of(request.negative_prompt)).text).texts(passes)
        schedules.append(negative)
    groups = [[text for _, text in schedule] for schedule in schedules]
    if request.guidance.pad_conds and negative is not None:
        groups.append([""])
    reading = Reading(clip_skip=request.clip_skip, emphasis=request.emphasis, comma_backtrack=request.comma_backtrack)
    encoders = list(zip(family.text, networks.text_encoders(), strict=True))
    encoded = encode(tokenizer, encoders, groups, reading=reading, inversions=inversions, kept=kept)
    width, height = size or (request.width, request.height)

    def scheduled(number: int, *, is_negative: bool = False, weight: float = 1.0) -> WeightedSchedule:
        sizes = family.sizes(width, height, negative=is_negative)
        silent = is_negative and family.empty_negative_is_zero and not any(groups[number])
        told = {
            text: replace(said.without_words() if silent else said, sizes=sizes)
            for text, said in zip(groups[number], encoded[number], strict=True)
        }
        return WeightedSchedule(schedule=tuple((last, told[text]) for last, text in schedules[number]), weight=weight)

    return Words(
        cond=PromptConditioning(
            parts=tuple(scheduled(number, weight=part.weight) for number, part in enumerate(parts))
        ),
        uncond=None if negative is None else PromptConditioning(parts=(scheduled(len(parts), is_negative=True),)),
        empty=encoded[-1][0] if len(groups) > len(schedules) else None,
    )


def denoiser_for(
    request: GenerationRequest,
    family: Family,
    networks: Networks,
    words: Words,
    table: SigmaTable,
    *,
    shown: Shown | None = None,
    size: tuple[int, int] | None = None,
    steps: int | None = None,
    apart: bool = False,
) -> GuidedDenoiser:
    """The denoiser that makes the pictures of `request`, of which `words` are the `conditionings`, at the noise levels
    of `table`; `shown` is the picture that its UNet may look at, `size` as in `conditionings`. `steps` are those that
    it takes, if they are not the request's. `apart` is as in `GuidedDenoiser`."""
    latent = family.latent_format
    if shown is None:
        picture = no_picture(networks, latent, *(size or (request.width, request.height)))
    else:
        picture = other_picture(networks, latent, shown)
    edits = request.init if further_channels(networks, latent) == EDIT else None
    sampler = find_sampler(request.sampler)
    guide = Guide(
        cfg_scale=request.cfg_scale / sampler.cfg_divisor,
        image_cfg_scale=edits.image_cfg_scale if edits else None,
        options=request.guidance,
        combine=find_guidance(request.guidance.method).combine,
        calls=calls_of(request, steps or request.steps),
        by_timestep=sampler.unit_variance,
    )
    return GuidedDenoiser(
        networks.unet, table, words, guide, prediction=networks.prediction, picture=picture, apart=apart
    )


def _is_asked(request: GenerationRequest, weights: list[float]) -> bool:
    """Whether the negative prompt changes anything."""
    if request.guidance.method != CFG:  # which may ask for both at any scale
        return True
    return weights != [1.0] or request.cfg_scale != 1 or find_sampler(request.sampler).cfg_divisor != 1
