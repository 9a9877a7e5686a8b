"""The ``infotext`` field: what a picture says of itself fills what the client left open, as in AUTOMATIC1111."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from backend.errors import ModelFileError
from backend.infotext.apply import propose
from backend.infotext.known_models import Models as Catalog
from backend.infotext.proposal import Proposal
from backend.infotext.read import read_infotext
from backend.infotext.recipe import read_text
from backend.init_image import AREAS, MASKED_CONTENT, RESIZE_MODES
from backend.server.sdapi.fields import Generation
from backend.server.sdapi.options import CHECKPOINT, PIXELS, VAE

G = TypeVar("G", bound=Generation)

# Fields by the places that an infotext fills; what has another form there is made of it.
FIELDS: Mapping[str, str] = MappingProxyType(
    {
        **{
            name: name
            for name in ("prompt", "negative_prompt", "seed", "steps", "cfg_scale", "width", "height", "tiling")
        },
        "sampler": "sampler_name",
        "schedule": "scheduler",
        "variation.seed": "subseed",
        "variation.strength": "subseed_strength",
        "sampling.eta": "eta",
        "sampling.sigma_churn": "s_churn",
        "sampling.sigma_tmin": "s_tmin",
        "sampling.sigma_tmax": "s_tmax",
        "sampling.sigma_noise": "s_noise",
        "guidance.ngms": "s_min_uncond",
        "refiner.checkpoint": "refiner_checkpoint",
        "refiner.switch_at": "refiner_switch_at",
        "hires.denoising_strength": "denoising_strength",
        "hires.upscaler": "hr_upscaler",
        "hires.scale": "hr_scale",
        "hires.steps": "hr_second_pass_steps",
        "hires.width": "hr_resize_x",
        "hires.height": "hr_resize_y",
        "hires.sampler": "hr_sampler_name",
        "hires.schedule": "hr_scheduler",
        "hires.checkpoint": "hr_checkpoint_name",
        "hires.prompt": "hr_prompt",
        "hires.negative_prompt": "hr_negative_prompt",
        "hires.cfg_scale": "hr_cfg",
        "init.denoising_strength": "denoising_strength",
        "init.resize_mode": "resize_mode",
        "init.image_cfg_scale": "image_cfg_scale",
        "init.noise_multiplier": "initial_noise_multiplier",
        "init.inpainting.mask_blur": "mask_blur",
        "init.inpainting.inverted": "inpainting_mask_invert",
        "init.inpainting.masked_content": "inpainting_fill",
        "init.inpainting.area": "inpaint_full_res",
        "init.inpainting.padding": "inpaint_full_res_padding",
    }
)
FORMS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "resize_mode": RESIZE_MODES.index,
        "inpainting_mask_invert": int,
        "inpainting_fill": MASKED_CONTENT.index,
        "inpaint_full_res": lambda area: area == AREAS[1],
    }
)
SETTINGS: Mapping[str, str] = MappingProxyType(
    {"checkpoint": CHECKPOINT, "vae": VAE, "hires.extra_noise": "img2img_extra_noise"}
    | {option.place: name for name, option in PIXELS.items() if option.place not in FIELDS}
)
# Without which of them a picture would be another one, by the field or setting that says it.
NEEDED: Mapping[str, str] = MappingProxyType({"checkpoint": CHECKPOINT, "VAE": VAE, "upscaler": "hr_upscaler"})


def filled(wish: G, catalog: Catalog) -> G:
    """`wish` with what its infotext says where the client says nothing.

    Raises `ModelFileError` where that names a model that is not here.
    """
    if not (wish.infotext or "").strip():
        return wish
    text = wish.infotext or ""
    recipe = read_text(text)
    proposal = propose(recipe.infotext if recipe else read_infotext(text), catalog)
    said = wish.model_fields_set | set(wish.override_settings)
    for model in proposal.missing:
        if model.kind in NEEDED and NEEDED[model.kind] not in said:
            raise ModelFileError(model.sentence)
    values = {name: value for name, value in _values(proposal).items() if name in type(wish).model_fields}
    settings = {SETTINGS[place]: value for place, value in proposal.fields.items() if place in SETTINGS}
    return wish.model_copy(
        update={
            **{name: value for name, value in values.items() if name not in wish.model_fields_set},
            "override_settings": {**settings, **wish.override_settings},
        }
    )


def _values(proposal: Proposal) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place, value in proposal.fields.items():
        name = FIELDS.get(place)
        if name is not None and value is not None:
            found[name] = FORMS[name](value) if name in FORMS else value
    size = proposal.fields.get("seed_resize")
    if isinstance(size, tuple):
        found["seed_resize_from_w"], found["seed_resize_from_h"] = size
    if any(place.startswith("hires.") for place in proposal.fields):
        found["enable_hr"] = True
    return found
