"""What a body of AUTOMATIC1111's interface becomes: the request, field by field."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image, ImageDraw

from backend.app import App, Options
from backend.errors import UserError
from backend.infotext.proposal import flat
from backend.request import GenerationRequest
from backend.sampling_options import Refiner
from backend.server.sdapi.door import Refused
from backend.server.sdapi.fields import Generation, Img2Img, Txt2Img
from backend.server.sdapi.generation import Translator
from backend.server.sdapi.models import Models
from backend.server.sdapi.options import ABSENT, PIXELS, OptionStore
from backend.server.sdapi.options import Options as ClientOptions
from tests.sd_studio import ME, OTHER, in_base64

OF_PICTURES = ("initial_noise_multiplier", "img2img_extra_noise")
BASE = GenerationRequest(sampler="Euler", steps=50)


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    app = App(options)
    yield app
    app.close()


class Desk:
    """A translator, and what a client has set."""

    def __init__(self, app: App):
        self.app = app
        models = Models(app)
        self.store = OptionStore(app.options.data_dir / "api-options.json")
        self._translator = Translator(app, models, ClientOptions(self.store, app.settings, models))

    def read(self, wish: Generation, owner: str = ME) -> GenerationRequest:
        asked = self._translator.asked(self._translator.filled(wish), owner)
        assert asked.grid is None
        return asked.requests[0]

    def words(self, **body: Any) -> GenerationRequest:
        return self.read(Txt2Img.model_validate(body))

    def picture(self, **body: Any) -> GenerationRequest:
        given = {"init_images": [in_base64(Image.new("RGB", (96, 64), "red"))], **body}
        return self.read(Img2Img.model_validate(given))


@pytest.fixture
def desk(app: App) -> Desk:
    return Desk(app)


def changed(request: GenerationRequest, base: GenerationRequest = BASE) -> dict[str, object]:
    """What a request has otherwise than another, by places."""
    before, now = flat(base), flat(request)
    return {place: value for place, value in now.items() if place not in before or before[place] != value}


def refused(desk: Desk, kind: type[Generation], body: dict[str, Any]) -> Refused:
    with pytest.raises(UserError) as caught:
        desk.picture(**body) if kind is Img2Img else desk.words(**body)
    return caught.value if isinstance(caught.value, Refused) else Refused(str(caught.value), status=422)


def test_a_body_without_values_is_a1111s_default(desk: Desk) -> None:
    assert desk.words() == BASE
    assert changed(desk.picture()) == {
        "init.picture": desk.picture().inputs[0],
        **{f"init.{name}": value for name, value in {"sketch": "", "depth": "", "image_cfg_scale": 1.5}.items()},
        "init.noise_multiplier": 1.0,
        "init.extra_noise": 0.0,
        "init.denoising_strength": 0.75,
        "init.resize_mode": "Just resize",
        **{f"init.{name}": None for name in ("box", "inpainting", "upscale")},
    }


def test_each_field_is_a_place_of_the_request(desk: Desk) -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"prompt": "a", "negative_prompt": "b", "seed": 3}, {"prompt": "a", "negative_prompt": "b", "seed": 3}),
        ({"steps": 7, "cfg_scale": 4.5, "tiling": True}, {"steps": 7, "cfg_scale": 4.5, "tiling": True}),
        ({"width": 523, "height": 767}, {"width": 520, "height": 760}),  # cut off to whole latents, as there
        ({"batch_size": 2, "n_iter": 3}, {"batch_size": 2, "batch_count": 3}),
        ({"subseed": 9, "subseed_strength": 0.25}, {"variation.seed": 9, "variation.strength": 0.25}),
        ({"subseed": 9, "subseed_strength": 0}, {}),
        ({"seed_resize_from_w": 260, "seed_resize_from_h": 256}, {"seed_resize": (256, 256)}),
        ({"seed_resize_from_w": 0, "seed_resize_from_h": 256}, {}),
        ({"eta": 0.5, "s_churn": 2}, {"sampling.eta": 0.5, "sampling.sigma_churn": 2.0}),
        ({"s_tmin": 1, "s_tmax": 5}, {"sampling.sigma_tmin": 1.0, "sampling.sigma_tmax": 5.0}),
        ({"s_noise": 1.05, "s_min_uncond": 2}, {"sampling.sigma_noise": 1.05, "guidance.ngms": 2.0}),
        ({"sampler_name": "Euler a"}, {"sampler": "Euler a"}),
        ({"sampler_index": "k_euler_a"}, {"sampler": "Euler a"}),
        ({"sampler_name": "Euler a", "sampler_index": "LMS"}, {"sampler": "Euler a"}),
        ({"sampler_name": "DPM++ 2M Karras"}, {"sampler": "DPM++ 2M", "schedule": "Karras"}),
        ({"sampler_name": "DPM++ 2M Karras", "scheduler": "simple"}, {"sampler": "DPM++ 2M", "schedule": "Karras"}),
        ({"scheduler": "sgm_uniform"}, {"schedule": "SGM Uniform"}),
        ({"scheduler": "SGM Uniform"}, {"schedule": "SGM Uniform"}),
        ({"scheduler": "automatic"}, {}),
        ({"scheduler": "Use same scheduler"}, {}),
        ({"prompt": "x <lora:none:1>y", "disable_extra_networks": True}, {"prompt": "x y"}),
        ({"hr_scale": 3, "firstphase_width": 256}, {}),  # without enable_hr
        ({"initial_noise_multiplier": 0.5}, {}),  # is img2img's
    ]
    for body, expected in cases:
        assert changed(desk.words(**body)) == expected, body


def test_hires_fix(desk: Desk) -> None:
    usual = desk.words(enable_hr=True).hires
    assert usual is not None
    assert (usual.upscaler, usual.scale, usual.denoising_strength, usual.sampler) == ("Latent", 2.0, 0.75, "")
    full = desk.words(
        enable_hr=True, hr_upscaler="Lanczos", hr_scale=1.5, hr_second_pass_steps=9, hr_resize_x=644, hr_resize_y=800,
        hr_sampler_name="DPM++ 2M Karras", hr_prompt="p", hr_negative_prompt="n", denoising_strength=0.4,
        hr_checkpoint_name="tiny.safetensors",
    ).hires  # fmt: skip
    assert full == replace(
        usual, upscaler="Lanczos", scale=1.5, steps=9, width=640, height=800, sampler="DPM++ 2M", schedule="Karras",
        prompt="p", negative_prompt="n", denoising_strength=0.4, checkpoint="tiny",
    )  # fmt: skip
    same = desk.words(
        enable_hr=True, hr_sampler_name="Use same sampler", hr_scheduler="Use same scheduler",
        hr_checkpoint_name="Use same checkpoint",
    )  # fmt: skip
    assert same.hires == usual
    old = desk.words(enable_hr=True, width=1024, height=768, firstphase_width=512, firstphase_height=384)
    assert (old.width, old.height) == (512, 384)
    assert old.hires is not None and old.hires.target(512, 384) == (1024, 768)


def test_a_refiner_takes_over(desk: Desk) -> None:
    assert desk.words(refiner_checkpoint="None", refiner_switch_at=0.5).refiner is None
    refiner = desk.words(refiner_checkpoint="tiny [abcdef1234]", refiner_switch_at=0.5).refiner
    assert refiner is not None and (refiner.checkpoint, refiner.switch_at) == ("tiny", 0.5)


def test_a_mask_is_a1111s_inpainting(desk: Desk) -> None:
    mask = Image.new("L", (96, 64))
    ImageDraw.Draw(mask).rectangle((20, 20, 60, 40), fill=255)
    init = desk.picture(mask=in_base64(mask)).init
    assert init is not None and init.inpainting is not None
    usual = init.inpainting
    assert (usual.mask_blur, usual.masked_content, usual.area, usual.padding) == (4, "fill", "Only masked", 0)
    assert not (usual.inverted or usual.colour_match or usual.exact_outside or usual.soft)
    assert desk.app.inputs.picture(usual.mask).size == (96, 64)
    other = desk.picture(
        mask="data:image/png;base64," + in_base64(mask), mask_blur=9, inpainting_fill=2, inpaint_full_res=False,
        inpaint_full_res_padding=16, inpainting_mask_invert=1, resize_mode=2, image_cfg_scale=2,
        override_settings={"inpainting_mask_weight": 0.5},
    ).init  # fmt: skip
    assert other is not None and other.inpainting == replace(
        usual, mask_blur=9, masked_content="latent noise", area="Whole picture", padding=16, inverted=True,
        mask_weight=0.5,
    )  # fmt: skip
    assert (other.resize_mode, other.image_cfg_scale) == ("Resize and fill", 2.0)


def test_a_mask_of_another_size_is_brought_to_the_pictures(desk: Desk) -> None:
    half = Image.new("RGBA", (48, 32), (0, 0, 0, 0))
    half.paste((0, 0, 0, 255), (0, 0, 24, 32))  # opaque is masked
    init = desk.picture(mask=in_base64(half)).init
    assert init is not None and init.inpainting is not None
    mask = desk.app.inputs.picture(init.inpainting.mask)
    assert mask.size == (96, 64)
    assert mask.convert("L").getpixel((5, 30)) == 255 and mask.convert("L").getpixel((90, 30)) == 0


def test_soft_inpainting_by_position_and_by_name(desk: Desk) -> None:
    mask = in_base64(Image.new("L", (96, 64), 255))

    def soft(args: object, title: str = "Soft Inpainting") -> Any:
        init = desk.picture(mask=mask, alwayson_scripts={title: {"args": args}}, mask_round=False).init
        return init and init.inpainting and init.inpainting.soft

    by_position = soft([True, 2, 0.25])
    assert (by_position.schedule_bias, by_position.preservation_strength) == (2.0, 0.25)
    assert by_position.difference_contrast == 2.0, "a missing tail is the default"
    assert soft({"enabled": True, "schedule_bias": 2, "Preservation strength": 0.25}) == by_position
    assert soft([True, 2, 0.25], "soft inpainting") == by_position
    sentence = refused(
        desk, Img2Img, {"mask": mask, "alwayson_scripts": {"soft inpainting": {"args": {"enabled": True, "bias": 1}}}}
    )
    assert "schedule_bias" in str(sentence)


def test_sd_upscale_by_position(desk: Desk) -> None:
    for upscaler in ("lanczos", 1):
        init = desk.picture(script_name="sd upscale", script_args=[None, 32, upscaler, 3]).init
        assert init is not None and init.upscale is not None
        assert (init.upscale.overlap, init.upscale.upscaler, init.upscale.scale) == (32, "Lanczos", 3.0)


def test_scripts_that_are_asked_for_nothing_are_passed_over(desk: Desk) -> None:
    off: list[dict[str, Any]] = [
        {"ControlNet": {"args": []}},
        {"ControlNet": {"args": [{"enabled": False, "module": "canny"}, {"module": "none", "model": "None"}]}},
        {"ADetailer": {"args": [False, {"ad_model": "face_yolov8n.pt"}]}},
        {"Refiner": {"args": [True, "x", 0.8]}, "Seed": {"args": [5]}, "Sampler": {"args": [20, "x"]}},
        {"whatever": {}},
    ]
    for scripts in off:
        assert desk.words(alwayson_scripts=scripts) == BASE
    for name in ("None", "", None):
        assert desk.words(script_name=name) == BASE


def test_what_cannot_be_is_refused_with_a1111s_status(desk: Desk) -> None:
    picture = in_base64(Image.new("RGB", (64, 64)))
    cases: list[tuple[type[Generation], dict[str, Any], int, str]] = [
        (Txt2Img, {"sampler_name": "nonsense"}, 400, "Sampler not found"),
        (Txt2Img, {"scheduler": "nonsense"}, 400, "Scheduler not found"),
        (Img2Img, {"init_images": None}, 404, "Init image not found"),
        (Img2Img, {"init_images": []}, 404, "Init image not found"),
        (Img2Img, {"init_images": [picture, picture]}, 422, "2 pictures"),
        (Img2Img, {"init_images": ["https://example.com/a.png"]}, 422, "fetches no pictures"),
        (Img2Img, {"init_images": ["%%%"]}, 422, "base64"),
        (Img2Img, {"init_images": ["abcd"]}, 422, "read as a picture"),
        (Img2Img, {"init_images": ["data:text/html;base64,abcd"]}, 422, "base64"),
        (Img2Img, {"mask": "abcd"}, 422, "read as a picture"),
        (Img2Img, {"mask": picture, "mask_blur_x": 1}, 422, "mask_blur_x"),
        (Img2Img, {"mask": picture, "mask_round": False}, 422, "mask_round"),
        (Img2Img, {"mask": picture, "inpainting_fill": 4}, 422, "inpainting_fill"),
        (Img2Img, {"resize_mode": 4}, 422, "resize_mode"),
        (Img2Img, {"latent_mask": picture}, 422, "latent_mask"),
        (Img2Img, {"initial_noise_multiplier": 1.6}, 422, "Noise multiplier"),
        (Txt2Img, {"restore_faces": True}, 422, "face restoration"),
        (Txt2Img, {"firstpass_image": picture}, 422, "firstpass_image"),
        (Txt2Img, {"styles": ["mine"]}, 422, "mine"),
        (Txt2Img, {"script_name": "Loopback"}, 422, "SD upscale"),
        (Txt2Img, {"script_name": "SD upscale"}, 422, "img2img"),
        (Txt2Img, {"alwayson_scripts": {"ADetailer": {"args": [True]}}}, 422, "ADetailer"),
        (Txt2Img, {"alwayson_scripts": {"ControlNet": {"args": [{"module": "canny"}]}}}, 422, "ControlNet"),
        (Txt2Img, {"alwayson_scripts": {"Soft Inpainting": {"args": [True]}}}, 422, "img2img"),
        (Txt2Img, {"enable_hr": True, "hr_upscaler": "nonsense"}, 422, "nonsense"),
        (Txt2Img, {"enable_hr": True, "hr_checkpoint_name": "nonsense"}, 422, "nonsense"),
        (Txt2Img, {"refiner_checkpoint": "nonsense"}, 422, "nonsense"),
    ]
    for kind, body, status, words in cases:
        error = refused(desk, kind, body)
        assert error.status == status and words in str(error), (body.keys(), str(error))


def test_settings_of_pixels_have_a1111s_defaults() -> None:
    """What is not set anywhere and what has its default are the same request."""
    request = flat(replace(BASE))
    for name, option in PIXELS.items():
        if name in ("eta_ddim", "eta_ancestral"):
            assert request[option.place] is None  # the sampler's own
        elif option.place in request:
            assert request[option.place] == option.default, name
        else:
            assert option.place in ("refiner.by_sampling_steps", "init.inpainting.mask_weight") or name in OF_PICTURES


def test_override_settings_are_places_of_the_request(desk: Desk) -> None:
    others = {int: 2, float: 0.5, bool: True}
    named = {"emphasis": "No norm", "randn_source": "CPU", "uni_pc_variant": "bh2", "uni_pc_skip_type": "logSNR"}
    for name, option in PIXELS.items():
        value = named.get(name) or (others[type(option.default)] if option.default is not True else False)
        if name in ("eta_ddim", "refiner_switch_by_sample_steps", "inpainting_mask_weight", *OF_PICTURES):
            continue
        assert changed(desk.words(override_settings={name: value})) == {option.place: value}, name
    assert changed(desk.words(override_settings={"randn_source": "GPU", **dict(ABSENT), "nonsense": 5})) == {}
    settings = {"eta_ddim": 0.25, "eta_ancestral": 0.75}
    assert desk.words(sampler_name="DDIM", override_settings=settings).sampling.eta == 0.25
    assert desk.words(sampler_name="Euler a", override_settings=settings).sampling.eta == 0.75
    assert desk.words(sampler_name="DDIM", eta=1, override_settings=settings).sampling.eta == 1.0
    by_steps = {"refiner_checkpoint": "tiny", "override_settings": {"refiner_switch_by_sample_steps": True}}
    assert desk.words(**by_steps).refiner == Refiner(checkpoint="tiny", by_sampling_steps=True)
    assert desk.words(override_settings={"sd_vae": "none"}).vae == "None"


def test_noise_on_what_is_there_is_a_setting_and_a_field(desk: Desk) -> None:
    settings = {"initial_noise_multiplier": 0.9, "img2img_extra_noise": 0.25}
    init = desk.picture(override_settings=settings).init
    assert init is not None and (init.noise_multiplier, init.extra_noise) == (0.9, 0.25)
    init = desk.picture(override_settings=settings, initial_noise_multiplier=1.1).init
    assert init is not None and (init.noise_multiplier, init.extra_noise) == (1.1, 0.25)
    hires = desk.words(override_settings=settings, enable_hr=True, hr_cfg=4).hires
    assert hires is not None and (hires.extra_noise, hires.cfg_scale) == (0.25, 4.0)


def test_a_checkpoint_is_found_by_each_of_its_names(desk: Desk) -> None:
    record = desk.app.catalog.find("tiny")
    sha256 = desk.app.hashes.sha256(record).result()
    for name in ("tiny", "tiny.safetensors", f"tiny.safetensors [{sha256[:10]}]", sha256[:10], sha256, "TINY"):
        assert desk.words(override_settings={"sd_model_checkpoint": name}).checkpoint == "tiny", name


def test_what_a_client_set_counts_for_its_owner_only(desk: Desk) -> None:
    desk.store.update(ME, {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "tiny"})
    assert changed(desk.words()) == {"clip_skip": 2, "checkpoint": "tiny"}
    assert desk.words(override_settings={"CLIP_stop_at_last_layers": 3}).clip_skip == 3
    assert desk.read(Txt2Img(), OTHER) == BASE


INFOTEXT = """a red house <lora:none:1>
Negative prompt: fog
Steps: 12, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 4.5, Seed: 77, Size: 384x256, Clip skip: 2, \
Denoising strength: 0.4, Hires upscale: 1.5, Hires steps: 6, Hires upscaler: Latent, Variation seed: 5, \
Variation seed strength: 0.5, Version: v1.10.1"""


def test_an_infotext_fills_what_the_client_left_open(desk: Desk) -> None:
    request = desk.words(infotext=INFOTEXT, seed=5, prompt="mine", hr_scale=2)
    assert (request.prompt, request.seed) == ("mine", 5)
    assert (request.negative_prompt, request.steps, request.cfg_scale) == ("fog", 12, 4.5)
    assert (request.width, request.height, request.clip_skip) == (384, 256, 2)
    assert request.sampler == "DPM++ 2M" and request.schedule in ("Karras", "Automatic")
    assert request.variation is not None and (request.variation.seed, request.variation.strength) == (5, 0.5)
    hires = request.hires
    assert hires is not None and (hires.scale, hires.steps, hires.denoising_strength) == (2.0, 6, 0.4)
    named = desk.words(infotext=INFOTEXT, override_settings={"CLIP_stop_at_last_layers": 1})
    assert named.clip_skip == 1
    assert desk.words(infotext="  ") == BASE


def test_an_infotext_for_img2img(desk: Desk) -> None:
    text = (
        "a\nSteps: 9, Sampler: Euler a, Size: 64x64, Denoising strength: 0.3, Mask blur: 7, Masked content: original, "
    )
    mask = in_base64(Image.new("L", (96, 64), 255))
    init = desk.picture(infotext=text + "Inpaint area: Whole picture", mask=mask).init
    assert init is not None and init.inpainting is not None and init.denoising_strength == 0.3
    assert (init.inpainting.mask_blur, init.inpainting.masked_content) == (7, "original")
    assert init.inpainting.area == "Whole picture"


def test_an_infotext_that_names_a_checkpoint_that_is_not_here(desk: Desk) -> None:
    text = "a\nSteps: 9, Sampler: Euler, Seed: 1, Size: 64x64, Model: never there"
    with pytest.raises(UserError, match="never there"):
        desk.words(infotext=text)
    chosen = desk.words(infotext=text, override_settings={"sd_model_checkpoint": "tiny"})
    assert (chosen.steps, chosen.checkpoint) == (9, "tiny")
