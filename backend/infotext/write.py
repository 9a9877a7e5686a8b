"""A request as AUTOMATIC1111 1.10 writes it into a picture, so that any tool of the field can read it."""

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType

from backend.infotext.provenance import VERSION, FileHashes
from backend.infotext.values import Infotext, plain
from backend.init_image import RESIZE_MODES, HiresFix, InitImage
from backend.prompt.grammar import uncommented
from backend.prompt.passage import Passage
from backend.request import GenerationRequest
from backend.sampling.samplers import find_sampler
from backend.sampling.schedules import is_automatic
from backend.sampling_options import Guidance, SamplingOptions

PROGRAM = "Atelier"  # how the value of `Version` begins
SHORT = 10  # digits of a checkpoint's or a VAE's sha256
SHORT_OF_MANY = 12  # digits where a list of hashes is written
PLAIN_SCHEDULE = "Uniform"  # for which Automatic stays Automatic
UNWRITTEN_SOURCE = "GPU"  # A1111 leaves RNG out for it

# In the order in which A1111 comes upon them: when it computes the schedule,
_SCHEDULE_KEYS = {
    "discard_penultimate": "Discard penultimate sigma",
    "schedule_min_sigma": "Schedule min sigma",
    "schedule_max_sigma": "Schedule max sigma",
    "schedule_rho": "Schedule rho",
    "beta_alpha": "Beta schedule alpha",
    "beta_beta": "Beta schedule beta",
}
# prepares the sampler, and samples.
_SAMPLING_KEYS = {
    "sgm_noise_multiplier": "SGM noise multiplier",
    "sigma_churn": "Sigma churn",
    "sigma_tmin": "Sigma tmin",
    "sigma_tmax": "Sigma tmax",
    "sigma_noise": "Sigma noise",
    "unipc_variant": "UniPC variant",
    "unipc_skip_type": "UniPC skip type",
    "unipc_order": "UniPC order",
    "unipc_lower_order_final": "UniPC lower order final",
}
_GUIDANCE_KEYS = {
    "skip_early": "Skip Early CFG",
    "ngms": "NGMS",
    "ngms_all_steps": "NGMS all steps",
    "rescale": "CFG Rescale",
    "pad_conds": "Pad conds",
    "method": "Guidance method",
}


NOTHING: Mapping[str, str] = MappingProxyType({})
USUAL_PICTURE = InitImage(picture="0" * 64)  # whichever it is


def write_infotext(
    request: GenerationRequest,
    files: FileHashes,
    *,
    schedule: str,
    edits: bool = False,
    inpaints: bool = False,
    further: Mapping[str, str] = NOTHING,
) -> str:
    """The ``parameters`` text of one picture, whose seed is `request.seed`.

    `schedule` is the resolved one (A1111 writes ``Karras`` where the page says Automatic). `edits` and `inpaints` say
    that the checkpoint is an InstructPix2Pix or an inpainting one, which have a value of their own. Keys stand in the
    order of A1111 1.10, a value that is as if it were not there is left out. `further` pairs, those of extensions,
    stand where A1111 has its extensions'.
    """
    pairs: dict[str, object] = {
        "Steps": request.steps,
        "Sampler": request.sampler,
        "Schedule type": schedule,
        "CFG scale": plain(request.cfg_scale),
        "Image CFG scale": plain(request.init.image_cfg_scale) if edits and request.init else None,
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": files.checkpoint[:SHORT],
        "Model": _file(request.checkpoint),
        "VAE hash": files.vae[:SHORT] or None,
        "VAE": f"{_file(request.vae)}.safetensors" if files.vae else None,
        **_variation(request),
        **_strength(request, inpaints=inpaints),
        "Clip skip": request.clip_skip if request.clip_skip > 1 else None,
        "ENSD": _ensd(request),
        "RNG": request.noise_source if request.noise_source != UNWRITTEN_SOURCE else None,
        "Tiling": request.tiling or None,
        **(_second_pass(request, request.hires, files, schedule) if request.hires else {}),
        **(_painting(request.init) if request.init else {}),
        "Lora hashes": _hashes(files.loras),
        "TI hashes": _hashes(files.embeddings),
        **_words(request),
        **_sampling(request),
        **_refiner(request, files),
        **_template(request),
        **further,
        "Version": f"{PROGRAM} {VERSION}",
    }
    said = Infotext(prompt=_written(request.prompt), negative_prompt=_written(request.negative_prompt))
    return said.with_pairs(pairs).text


def _written(prompt: str) -> str:
    """A prompt as A1111 has it in its texts: without comments."""
    return uncommented(Passage.of(prompt)).text


def _file(name: str) -> str:
    """A model's name without its folder."""
    return name.rpartition("/")[2]


def _title(name: str, sha256: str) -> str:
    """A second checkpoint as A1111 names it."""
    return f"{_file(name)} [{sha256[:SHORT]}]" if sha256 else _file(name)


def _hashes(hashes: Mapping[str, str]) -> str | None:
    named = ((name.replace(":", "").replace(",", ""), sha256) for name, sha256 in hashes.items())
    return ", ".join(f"{name}: {sha256[:SHORT_OF_MANY]}" for name, sha256 in named) or None


def _variation(request: GenerationRequest) -> dict[str, object]:
    pairs: dict[str, object] = {}
    if request.variation is not None and request.variation.strength > 0:
        pairs["Variation seed"] = request.variation.seed
        pairs["Variation seed strength"] = plain(request.variation.strength)
    if request.seed_resize is not None:
        pairs["Seed resize from"] = f"{request.seed_resize[0]}x{request.seed_resize[1]}"
    return pairs


def _strength(request: GenerationRequest, *, inpaints: bool) -> dict[str, object]:
    """How much is made new, of a picture or in the second pass."""
    part = request.init or request.hires
    if part is None:
        return {}
    pairs: dict[str, object] = {"Denoising strength": plain(part.denoising_strength)}
    if inpaints and request.init is not None:
        weight = request.init.inpainting.mask_weight if request.init.inpainting else 1.0
        pairs["Conditional mask weight"] = weight  # a setting, which no slider makes a whole number
    return pairs


def _ensd(request: GenerationRequest) -> int | None:
    """A1111 says it only where noise is drawn from the seeds of the pictures after the first."""
    drawn = find_sampler(request.sampler).uses_ensd and request.sampling.eta != 0
    return request.sampling.ensd or None if drawn else None


def _painting(init: InitImage) -> dict[str, object]:
    pairs: dict[str, object] = {}
    inpainting = init.inpainting
    if inpainting is not None:
        if inpainting.inverted:
            pairs["Mask mode"] = "Inpaint not masked"
        pairs["Mask blur"] = inpainting.mask_blur
        if inpainting.only_masked:
            pairs |= {"Inpaint area": inpainting.area, "Masked area padding": inpainting.padding}
        if inpainting.masked_content != "original":
            pairs["Masked content"] = inpainting.masked_content
    pairs["Noise multiplier"] = _unusual(init, USUAL_PICTURE, "noise_multiplier")
    if inpainting is not None and inpainting.soft is not None:
        pairs["Soft inpainting enabled"] = True
        for name, value in asdict(inpainting.soft).items():
            pairs[f"Soft inpainting {name.replace('_', ' ')}"] = plain(value)
    if init.upscale is not None:
        return {
            "Noise multiplier": pairs["Noise multiplier"],
            "SD upscale overlap": init.upscale.overlap,
            "SD upscale upscaler": init.upscale.upscaler,
            "SD upscale by": plain(init.upscale.scale),
        }
    if init.resize_mode != RESIZE_MODES[0]:
        pairs["Resize mode"] = init.resize_mode
    if init.box is not None:
        pairs["Canvas box"] = f"{init.box.left} {init.box.top} {init.box.width}x{init.box.height}"
    return pairs


def _second_pass(request: GenerationRequest, hires: HiresFix, files: FileHashes, schedule: str) -> dict[str, object]:
    """A1111's order; what is as in the first pass is left out."""
    pairs = {
        "Hires checkpoint": hires.checkpoint and _title(hires.checkpoint, files.hires_checkpoint),
        "Hires sampler": hires.sampler if hires.sampler != request.sampler else "",
        "Hires prompt": _written(hires.prompt) if hires.prompt != request.prompt else "",
        "Hires negative prompt": (
            _written(hires.negative_prompt) if hires.negative_prompt != request.negative_prompt else ""
        ),
        "Hires CFG Scale": plain(hires.cfg_scale) if hires.cfg_scale else "",
        "Hires schedule type": _second_schedule(request, hires, schedule),
        "Hires upscale": "" if hires.width or hires.height else plain(hires.scale),
        "Hires resize": f"{hires.width}x{hires.height}" if hires.width or hires.height else "",
        "Hires steps": str(hires.steps or ""),
        "Hires upscaler": hires.upscaler,
    }
    return {key: value for key, value in pairs.items() if value}


def _second_schedule(request: GenerationRequest, hires: HiresFix, schedule: str) -> str:
    """As in A1111 only one that is not what the first pass says; and also that one where a reader would take it for
    what the first sampler's Automatic stands for, which is another schedule for the second sampler."""
    first, second = find_sampler(request.sampler), find_sampler(hires.sampler or request.sampler)
    asked = hires.schedule or request.schedule
    if is_automatic(asked):
        if second.automatic_schedule == PLAIN_SCHEDULE:  # which A1111 does not say
            return asked if not is_automatic(request.schedule) else ""
        asked = second.automatic_schedule
    doubtful = schedule == first.automatic_schedule != second.automatic_schedule and not is_automatic(request.schedule)
    return asked if asked != schedule or doubtful else ""


def _words(request: GenerationRequest) -> dict[str, object]:
    """How the prompts were read, where not as usual."""
    return {
        "Emphasis": request.emphasis if request.emphasis != GenerationRequest.emphasis else None,
        "Old prompt editing timelines": request.old_prompt_editing or None,
        "Comma padding backtrack": (
            request.comma_backtrack if request.comma_backtrack != GenerationRequest.comma_backtrack else None
        ),
    }


def _template(request: GenerationRequest) -> dict[str, object]:
    """What the words were drawn from, under the keys of Dynamic Prompts."""
    template = request.template
    if template is None:
        return {}
    negative = template.negative_prompt if template.negative_prompt != request.negative_prompt else None
    return {"Template": template.prompt, "Negative Template": negative}


def _sampling(request: GenerationRequest) -> dict[str, object]:
    pairs = _unusual_ones(request.sampling, SamplingOptions(), _SCHEDULE_KEYS)
    if request.schedule == "Beta":
        pairs["Beta schedule alpha"] = plain(request.sampling.beta_alpha)
        pairs["Beta schedule beta"] = plain(request.sampling.beta_beta)
    if request.init is not None:
        pairs["Extra noise"] = _unusual(request.init, USUAL_PICTURE, "extra_noise")
    pairs |= _unusual_ones(request.sampling, SamplingOptions(), _SAMPLING_KEYS)
    eta = request.sampling.eta
    in_timesteps = find_sampler(request.sampler).unit_variance
    if eta is not None and eta != (0.0 if in_timesteps else 1.0):
        pairs["Eta DDIM" if in_timesteps else "Eta"] = plain(eta)
    pairs |= _unusual_ones(request.guidance, Guidance(), _GUIDANCE_KEYS)
    if request.hires is not None:
        pairs["Extra noise"] = _unusual(request.hires, HiresFix(), "extra_noise")
    return pairs


def _unusual_ones(part: object, usual: object, keys: Mapping[str, str]) -> dict[str, object]:
    return {key: _unusual(part, usual, name) for name, key in keys.items()}


def _unusual(part: object, usual: object, name: str) -> object:
    """A value that is not the default, as it is written."""
    value = getattr(part, name)
    if value == getattr(usual, name):
        return None
    return plain(value) if isinstance(value, float) else value


def _refiner(request: GenerationRequest, files: FileHashes) -> dict[str, object]:
    refiner = request.refiner
    if refiner is None:
        return {}
    pairs: dict[str, object] = {"Refiner switch by sampling steps": True} if refiner.by_sampling_steps else {}
    return pairs | {
        "Refiner": _title(refiner.checkpoint, files.refiner),
        "Refiner switch at": plain(refiner.switch_at),
    }
