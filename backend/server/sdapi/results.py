"""What a client is answered when its job has ended."""

import html
import json
from typing import Any

from backend.events import Failed, Notice
from backend.infotext.provenance import VERSION
from backend.job import Job
from backend.request import OWN_VAE
from backend.server.sdapi.calls import Call
from backend.server.sdapi.door import Refused
from backend.server.sdapi.fields import Generation, Img2Img
from backend.server.sdapi.models import Models
from backend.server.sdapi.pictures import encoded
from backend.server.sdapi.progress import timestamp

# Faults of a job that lie in what was asked for; all others are the server's own.
ASKED_WRONGLY = frozenset({"invalid_value", "model_not_found"})


def answer(call: Call, wish: Generation, models: Models) -> dict[str, Any]:
    """Pictures, the body as it was understood, and ``info``. What was interrupted gives what it made. Raises
    `UserError` if it failed."""
    _check(call.failure)
    hidden = {"init_images": None, "mask": None}
    echo = wish.model_dump() | (hidden if isinstance(wish, Img2Img) and not wish.include_init_images else {})
    images = [encoded(each.image) for each in call.shown] if wish.send_images else []
    said = info(call, models) | {"styles": [name for name in wish.styles or () if name]}
    return {"images": images, "parameters": echo, "info": json.dumps(said)}


def info(call: Call, models: Models) -> dict[str, Any]:
    """How the pictures were made, one entry of every list for each (``Processed.js`` of AUTOMATIC1111)."""
    request, shown = call.request, call.shown
    record = models.checkpoint_or_none(request.checkpoint)
    strength = request.hires.denoising_strength if request.hires else None
    first = shown[0] if shown else None
    return {
        "prompt": request.prompt,
        "all_prompts": [each.request.prompt for each in shown],
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": [each.request.negative_prompt for each in shown],
        "seed": first.image.seed if first else request.seed,
        "all_seeds": [each.image.seed for each in shown],
        "subseed": first.subseed if first else 0,
        "all_subseeds": [each.subseed for each in shown],
        "subseed_strength": request.variation.strength if request.variation else 0,
        "width": request.width,
        "height": request.height,
        "sampler_name": request.sampler,
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": request.checkpoint,
        "sd_model_hash": models.sha256(record)[:10] if record else "",
        "sd_vae_name": None if request.vae == OWN_VAE else request.vae,
        "sd_vae_hash": None,
        "seed_resize_from_w": request.seed_resize[0] if request.seed_resize else -1,
        "seed_resize_from_h": request.seed_resize[1] if request.seed_resize else -1,
        "denoising_strength": request.init.denoising_strength if request.init else strength,
        "extra_generation_params": {},
        "index_of_first_image": len(call.grids),
        "infotexts": [each.image.infotext for each in shown],
        "styles": [],
        "job_timestamp": timestamp(call.jobs[0]),
        "clip_skip": request.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": VERSION,
    }


def extras(job: Job) -> tuple[list[str], str]:
    """The pictures that were enlarged, and what is to be said of them as HTML. Raises `UserError` if none could be."""
    ending = job.since()[-1][1]
    _check(ending if isinstance(ending, Failed) else None)
    notices = [event.message for _, event in job.since() if isinstance(event, Notice)]
    words = [job.images[0].infotext.rpartition("\n")[2], *notices] if job.images else notices
    return [encoded(image) for image in job.images], "".join(f"<p>{html.escape(each)}</p>" for each in words)


def _check(failure: Failed | None) -> None:
    if failure is not None:
        status = 422 if failure.kind in ASKED_WRONGLY else 500
        raise Refused(failure.message, status=status, kind=failure.kind)
