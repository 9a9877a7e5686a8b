"""From a body in AUTOMATIC1111's words to a `GenerationRequest`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backend.errors import InvalidRequest
from backend.extension_api import Several
from backend.init_image import AREAS, LATENT_UPSCALERS, MASKED_CONTENT, RESIZE_MODES, SIZE_STEP
from backend.prompt.grammar import TOKEN
from backend.request import AUTOMATIC_VAE, GenerationRequest
from backend.sampling.samplers import Sampler, split_name
from backend.sampling.schedules import AUTOMATIC, find_schedule, is_automatic
from backend.server.sdapi.door import Refused, not_found
from backend.server.sdapi.extension_scripts import always_on_of, values_of
from backend.server.sdapi.fields import Generation, Img2Img, Txt2Img
from backend.server.sdapi.infotext import filled
from backend.server.sdapi.models import SAME_CHECKPOINT, Models
from backend.server.sdapi.options import CHECKPOINT, PIXELS, VAE, Options
from backend.server.sdapi.pictures import put, put_mask
from backend.server.sdapi.scripts import Script, always_on, arguments_of, selected
from backend.server.sdapi.several import scripts_of, several

if TYPE_CHECKING:
    from backend.app import App

Places = dict[str, Any]
SAME = ("use same sampler", "use same scheduler")
LATENT = next(iter(LATENT_UPSCALERS))  # what no name means, as there
TIMESTEPS = ("DDIM", "DDIM CFG++", "PLMS", "UniPC")  # whose eta is the setting eta_ddim
# Settings of parts that a request may not have, by their places.
OF_PARTS = {
    "refiner_switch_by_sample_steps": ("refiner.by_sampling_steps",),
    "inpainting_mask_weight": ("init.inpainting.mask_weight",),
    "initial_noise_multiplier": ("init.noise_multiplier",),
    "img2img_extra_noise": ("init.extra_noise", "hires.extra_noise"),
}
OF_FIELDS = ("s_churn", "s_tmin", "s_tmax", "s_noise", "s_min_uncond")  # settings that are fields too


class Translator:
    """Makes requests of bodies. Reads the catalog and keeps pictures, so that it takes its time."""

    def __init__(self, app: "App", models: Models, options: Options):
        self._app = app
        self._models = models
        self._options = options

    def filled(self, wish: Generation) -> Generation:
        """A body with what its ``infotext`` says. Raises `UserError`."""
        return filled(wish, self._app.catalog)

    def asked(self, wish: Generation, owner: str) -> Several:
        """What a body asks for, with the words of its styles and what its script makes of it. Raises `UserError`."""
        names = [name for name in wish.styles or () if name]
        self._app.styles.applied(names, "", "")  # whether there are any of these, before a script makes many pictures
        return several(wish.script_name, wish.script_args, self.request(wish, owner), self._app.scripts, names)

    def request(self, wish: Generation, owner: str) -> GenerationRequest:
        """The request that a body means, with the settings of its owner and without styles.

        Raises `UserError` with a sentence for what cannot be, before any picture is looked at if it can be said so
        early.
        """
        _refuse_absent(wish)
        settings = {**self._options.given(owner), **self._options.checked(wish.override_settings)}
        img2img = isinstance(wish, Img2Img)
        places = self._usual(wish, settings)
        places |= self._refiner(wish)
        upscalers = self._app.upscalers.names()
        self._app.scripts.refuse_gone(wish.script_name or "")
        places |= selected(wish.script_name, wish.script_args, upscalers, self._others(img2img), img2img=img2img)
        places |= self._extras(wish)
        soft = always_on(wish.alwayson_scripts, list(self._of_extensions()), img2img=img2img)
        if isinstance(wish, Txt2Img) and wish.enable_hr:
            places |= self._hires(wish)
        if isinstance(wish, Img2Img):
            places |= self._init(wish, soft)
        for name, wanted in OF_PARTS.items():
            for place in wanted:
                part = place.rpartition(".")[0] + "."
                if name in settings and place not in places and any(each.startswith(part) for each in places):
                    places[place] = settings[name]
        if "init.upscale.upscaler" in places:
            places["init.upscale.upscaler"] = self._models.upscaler(str(places["init.upscale.upscaler"]))
        return GenerationRequest.from_values(_nested(places))

    def _others(self, img2img: bool) -> dict[str, Script]:
        """The scripts for bodies of this kind that make several pictures."""
        there = scripts_of(self._app.scripts)
        return {name: each for name, each in there.items() if (each.for_pictures if img2img else each.for_words)}

    def _of_extensions(self) -> dict[str, Script]:
        return always_on_of(self._app.extensions.active())

    def _extras(self, wish: Generation) -> Places:
        """What a body tells extensions, as always-on scripts by their titles or ids."""
        scripts = self._of_extensions()
        places: Places = {}
        for title, said in wish.alwayson_scripts.items():
            script, given = scripts.get(title.strip().casefold()), arguments_of(said)
            if script is not None and given:
                places |= values_of(script, given)
        return places

    def _usual(self, wish: Generation, settings: Mapping[str, Any]) -> Places:
        """What every request has."""
        sampler, combined = _sampler(wish.sampler_name or wish.sampler_index)
        eta = "eta_ddim" if sampler.name in TIMESTEPS else "eta_ancestral"
        apart = {"eta_ddim", "eta_ancestral", *OF_PARTS} - {eta}
        places: Places = {
            PIXELS[name].place: settings[name] for name in PIXELS if name in settings and name not in apart
        }
        places |= {
            "prompt": TOKEN.sub("", wish.prompt) if wish.disable_extra_networks else wish.prompt,
            "negative_prompt": wish.negative_prompt,
            "checkpoint": settings.get(CHECKPOINT, ""),
            "vae": settings.get(VAE, AUTOMATIC_VAE),
            "sampler": sampler.name,
            "schedule": combined or _schedule(wish.scheduler) or AUTOMATIC,
            "steps": wish.steps,
            "cfg_scale": wish.cfg_scale,
            "width": _whole_latents(wish.width),
            "height": _whole_latents(wish.height),
            "seed": wish.seed,
            "batch_size": wish.batch_size,
            "batch_count": wish.n_iter,
        }
        for name in OF_FIELDS:
            if getattr(wish, name) is not None:
                places[PIXELS[name].place] = getattr(wish, name)
        if wish.eta is not None:
            places["sampling.eta"] = wish.eta
        if wish.tiling is not None:
            places["tiling"] = wish.tiling
        if wish.subseed_strength > 0:
            places |= {"variation.seed": wish.subseed, "variation.strength": wish.subseed_strength}
        if wish.seed_resize_from_w > 0 and wish.seed_resize_from_h > 0:
            places["seed_resize"] = tuple(
                _whole_latents(side) for side in (wish.seed_resize_from_w, wish.seed_resize_from_h)
            )
        return places

    def _refiner(self, wish: Generation) -> Places:
        if (wish.refiner_checkpoint or "") in SAME_CHECKPOINT:
            return {}
        places: Places = {"refiner.checkpoint": self._models.checkpoint(wish.refiner_checkpoint or "").name}
        if wish.refiner_switch_at is not None:
            places["refiner.switch_at"] = wish.refiner_switch_at
        return places

    def _hires(self, wish: Txt2Img) -> Places:
        sampler = combined = ""
        if wish.hr_sampler_name and wish.hr_sampler_name.casefold() not in SAME:
            row, combined = _sampler(wish.hr_sampler_name)
            sampler = row.name
        upscaler = wish.hr_upscaler or LATENT
        checkpoint = wish.hr_checkpoint_name or ""
        places = {
            "hires.upscaler": upscaler if upscaler in LATENT_UPSCALERS else self._models.upscaler(upscaler),
            "hires.scale": wish.hr_scale,
            "hires.width": _whole_latents(wish.hr_resize_x),
            "hires.height": _whole_latents(wish.hr_resize_y),
            "hires.steps": wish.hr_second_pass_steps,
            "hires.denoising_strength": wish.denoising_strength,
            "hires.sampler": sampler,
            "hires.schedule": combined or _schedule(wish.hr_scheduler),
            "hires.checkpoint": "" if checkpoint in SAME_CHECKPOINT else self._models.checkpoint(checkpoint).name,
            "hires.prompt": wish.hr_prompt,
            "hires.negative_prompt": wish.hr_negative_prompt,
            "hires.cfg_scale": wish.hr_cfg or 0.0,
        }
        if wish.firstphase_width or wish.firstphase_height:  # its interface of before 1.0: the size is the result's
            places |= {"hires.width": _whole_latents(wish.width), "hires.height": _whole_latents(wish.height)}
            places["width"] = _whole_latents(wish.firstphase_width or wish.width)
            places["height"] = _whole_latents(wish.firstphase_height or wish.height)
        return places

    def _init(self, wish: Img2Img, soft: Places) -> Places:
        """The picture to begin with, and the mask over it: AUTOMATIC1111's inpainting, without ours on top."""
        places: Places = {
            "init.denoising_strength": wish.denoising_strength,
            "init.resize_mode": _one_of("resize_mode", RESIZE_MODES, wish.resize_mode),
        }
        if wish.image_cfg_scale is not None:
            places["init.image_cfg_scale"] = wish.image_cfg_scale
        if wish.initial_noise_multiplier is not None:
            places["init.noise_multiplier"] = wish.initial_noise_multiplier
        if wish.mask:
            places |= soft | {
                "init.inpainting.mask_blur": _mask_blur(wish),
                "init.inpainting.inverted": bool(wish.inpainting_mask_invert),
                "init.inpainting.masked_content": _one_of("inpainting_fill", MASKED_CONTENT[:4], wish.inpainting_fill),
                "init.inpainting.area": AREAS[wish.inpaint_full_res],
                "init.inpainting.padding": wish.inpaint_full_res_padding,
                "init.inpainting.colour_match": False,
                "init.inpainting.exact_outside": False,
            }
            if not (wish.mask_round or soft):
                raise Refused("mask_round can only be true: what is half masked is soft inpainting's.", status=422)
        pictures = wish.init_images or []
        if not pictures:
            raise not_found("Init image not found: init_images must hold a picture in base64.")
        if len(pictures) > 1:
            raise Refused(f"init_images holds {len(pictures)} pictures; one is taken at a time.", status=422)
        stored = put(self._app.inputs, pictures[0], "The init image")
        places["init.picture"] = stored.name
        if wish.mask:
            places["init.inpainting.mask"] = put_mask(self._app.inputs, wish.mask, (stored.width, stored.height))
        return places


def _refuse_absent(wish: Generation) -> None:
    """What AUTOMATIC1111 has and Atelier has not. Raises `Refused`."""
    said: list[str] = []
    if wish.restore_faces:
        said.append("There is no face restoration here: leave out restore_faces.")
    if wish.firstpass_image:
        said.append("firstpass_image is not taken: hires fix begins with words here.")
    if isinstance(wish, Img2Img) and wish.latent_mask:
        said.append("latent_mask is not taken: send mask.")
    if said:
        raise Refused(said[0], status=422)


def _sampler(name: str) -> tuple[Sampler, str]:
    """A sampler, and the schedule that its name ends with, as names did before 1.9, if it does. Raises `Refused` with
    AUTOMATIC1111's status."""
    try:
        row, combined = split_name(name)
    except InvalidRequest as error:
        raise Refused(f"Sampler not found. {error}", status=400) from error
    return row, combined.name if combined else ""


def _schedule(name: str | None) -> str:
    """A schedule's name here; empty where none is named. Raises `Refused`."""
    if not name or name.casefold() in SAME:
        return ""
    try:
        return AUTOMATIC if is_automatic(name) else find_schedule(name).name
    except InvalidRequest as error:
        raise Refused(f"Scheduler not found. {error}", status=400) from error


def _whole_latents(side: int) -> int:
    """AUTOMATIC1111 cuts a side off to whole latents."""
    return side - side % SIZE_STEP


def _one_of(field: str, names: tuple[str, ...], number: int) -> str:
    if not 0 <= number < len(names):
        raise Refused(f"{field} must be from 0 to {len(names) - 1}, not {number}.", status=422)
    return names[number]


def _mask_blur(wish: Img2Img) -> int:
    if wish.mask_blur is not None:
        return wish.mask_blur
    if wish.mask_blur_x != wish.mask_blur_y:
        raise Refused("mask_blur_x and mask_blur_y must be equal here: a mask is blurred alike both ways.", status=422)
    return wish.mask_blur_x


def _nested(places: Mapping[str, Any]) -> dict[str, Any]:
    """Values by their places, ``hires.scale``, as objects within objects."""
    found: dict[str, Any] = {}
    for place, value in places.items():
        *parts, name = place.split(".")
        into = found
        for part in parts:
            into = into.setdefault(part, {})
        into[name] = value
    return found
