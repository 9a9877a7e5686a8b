"""What clients send, with AUTOMATIC1111's names and defaults (1.10, ``modules/api/models.py``).

A value that is null counts as not sent, and a name that is not known is ignored: clients of every age and of forks send
more than they need.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.checked import LONGEST_PROMPT
from backend.infotext.containers import LONGEST_TEXT

LONGEST_NAME = 1000  # characters


# Bounded, because what is not known is compared with what is.
Name = Annotated[str, Field(max_length=LONGEST_NAME)]
Words = Annotated[str, Field(max_length=LONGEST_PROMPT)]


class Wish(BaseModel):
    """A body of this interface."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}


class Generation(Wish):
    """What txt2img and img2img have in common."""

    prompt: Words = ""
    negative_prompt: Words = ""
    styles: list[Name] | None = None
    seed: int = -1
    subseed: int = -1
    subseed_strength: float = 0.0
    seed_resize_from_h: int = -1
    seed_resize_from_w: int = -1
    sampler_name: Name | None = None
    scheduler: Name | None = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    eta: float | None = None
    denoising_strength: float = 0.75
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmax: float | None = None
    s_tmin: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] = Field(default_factory=dict)
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: Name | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool = False
    firstpass_image: str | None = None
    comments: dict[str, Any] | None = None
    force_task_id: Name | None = None
    sampler_index: Name = "Euler"
    script_name: Name | None = None
    script_args: list[Any] = Field(default_factory=list)
    send_images: bool = True
    save_images: bool = False
    alwayson_scripts: dict[str, Any] = Field(default_factory=dict)
    infotext: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None


class Txt2Img(Generation):
    """Pictures from words alone, and hires fix."""

    enable_hr: bool = False
    firstphase_width: int = 0
    firstphase_height: int = 0
    hr_scale: float = 2.0
    hr_upscaler: Name | None = None
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_checkpoint_name: Name | None = None
    hr_sampler_name: Name | None = None
    hr_scheduler: Name | None = None
    hr_prompt: Words = ""
    hr_negative_prompt: Words = ""
    hr_cfg: float | None = None  # Forge's


class Img2Img(Generation):
    """Pictures that begin with one, and inpainting."""

    init_images: list[str] | None = None
    resize_mode: int = 0
    image_cfg_scale: float | None = None
    mask: str | None = None
    mask_blur: int | None = None
    mask_blur_x: int = 4
    mask_blur_y: int = 4
    mask_round: bool = True
    inpainting_fill: int = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = 0
    inpainting_mask_invert: int = 0
    initial_noise_multiplier: float | None = None
    latent_mask: str | None = None
    include_init_images: bool = False


class Extras(Wish):
    """How pictures are enlarged."""

    resize_mode: int = 0
    show_extras_results: bool = True
    gfpgan_visibility: float = 0.0
    codeformer_visibility: float = 0.0
    codeformer_weight: float = 0.0
    upscaling_resize: float = 2.0
    upscaling_resize_w: int = 512
    upscaling_resize_h: int = 512
    upscaling_crop: bool = True
    upscaler_1: Name = "None"
    upscaler_2: Name = "None"
    extras_upscaler_2_visibility: float = 0.0
    upscale_first: bool = False


class ExtraSingle(Extras):
    """One picture to enlarge."""

    image: str = ""


class NamedPicture(Wish):
    """A picture of several, and what its client calls it."""

    data: str
    name: Name = ""


class ExtraBatch(Extras):
    """Several pictures to enlarge."""

    imageList: list[NamedPicture]  # noqa: N815 - the client's word


class PngInfo(Wish):
    """A picture whose recipe is asked for."""

    image: str = ""


class Interrogate(Wish):
    """A picture that is to be described."""

    image: str = ""
    model: Name = "clip"


class Options(Wish):
    """Any settings, by their names."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
