"""Hires fix: the pictures of a first pass, enlarged, and made once more."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from backend.families.family import LatentFormat
from backend.generation import Generation
from backend.imaging.upscale import Upscalers
from backend.init_image import LATENT_UPSCALERS, HiresFix
from backend.jobs import Job
from backend.picture_latents import enlarged
from backend.request import GenerationRequest
from backend.sampling.img2img import lengthened
from backend.sampling.plan import steps_taken
from backend.sampling.samplers import find_sampler
from backend.sampling_pass import Made
from backend.upscaling.fitting import in_tiles_that_fit


def second_pass(request: GenerationRequest, hires: HiresFix) -> GenerationRequest:
    """The request of the second pass: what `hires` leaves open is as in the first, and so is the size that it goes on
    from."""
    words = {
        "prompt": hires.prompt,
        "negative_prompt": hires.negative_prompt,
        "checkpoint": hires.checkpoint,
        "sampler": hires.sampler,
        "schedule": hires.schedule,
        "steps": hires.steps,
        "cfg_scale": hires.cfg_scale,
    }
    given = {name: value for name, value in words.items() if value}
    return replace(request, **given, hires=None)


def steps_of(request: GenerationRequest, hires: HiresFix | None) -> int:
    """How many steps a pass takes, the second one of `hires` if that is given."""
    sampler = find_sampler(request.sampler)
    if hires is not None:
        if hires.denoising_strength == 0:
            return 0
        steps = lengthened(request.steps, hires.denoising_strength)
        return steps_taken(sampler, request.schedule, steps.scheduled, request.sampling, taken=steps.taken)
    return steps_taken(sampler, request.schedule, request.steps, request.sampling)


@dataclass(frozen=True)
class Enlarged:
    """What goes into the second pass: latents, or pictures that its VAE has yet to read. `made` is what they were."""

    made: Made
    latents: Tensor | None
    pictures: Sequence[Image.Image]
    format: LatentFormat


def enlarge(
    first: Generation,
    made: Made,
    request: GenerationRequest,
    hires: HiresFix,
    upscalers: Upscalers,
    free: Callable[[], int],
    job: Job,
) -> Enlarged:
    """The pictures that were `made` for `request`, at the size of the second pass. `free` is as in `in_tiles_that_fit`.
    Raises `Stopped` if the job is, `UserError` if memory does not suffice."""
    assert made.latents is not None
    whole, target = hires.enlarged(request.width, request.height), hires.target(request.width, request.height)
    if hires.upscaler in LATENT_UPSCALERS:
        factor = first.format.factor
        in_latents = [(size[0] // factor, size[1] // factor) for size in (whole, target)]
        latents = enlarged(made.latents, hires.upscaler, in_latents[0], in_latents[1])
        return Enlarged(made, latents, (), first.format)

    def stop(_done: int, _of: int) -> None:
        job.check()

    pictures = []
    for picture in first.decoded(made):
        large = in_tiles_that_fit(
            lambda tile, small=picture: upscalers.upscale(small, hires.upscaler, *whole, tile=tile, on_tile=stop),
            free,
            job,
        )
        left, top = (whole[0] - target[0]) // 2, (whole[1] - target[1]) // 2
        pictures.append(large.crop((left, top, left + target[0], top + target[1])))
        job.check()
    return Enlarged(made, None, pictures, first.format)


def refine(second: Generation, number: int, large: Enlarged, hires: HiresFix) -> Iterator[Made]:
    """The second pass over what was enlarged. Without any noise it changes nothing.

    Raises `InvalidRequest` if latents of the first checkpoint mean nothing to the second.
    """
    latents = large.latents
    hires.check_latents(same=second.format == large.format)
    if latents is None:
        latents = torch.cat([second.encoded(picture) for picture in large.pictures])
    made = replace(large.made, latents=latents)
    if hires.denoising_strength == 0:
        yield made
    else:
        yield from second.refined(number, made)
