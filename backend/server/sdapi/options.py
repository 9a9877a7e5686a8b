"""AUTOMATIC1111's settings (``modules/shared_options.py``): which of them Atelier has, which it has not, and which a
client has set.

What a client sets through ``POST /options`` counts for its owner's requests here and for nobody else's, where
AUTOMATIC1111 has one value for all. Settings of the whole installation are an administrator's.
"""

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from backend.errors import InvalidRequest
from backend.files import write_atomically
from backend.infotext.fields import checked_value
from backend.server.people import Person, may
from backend.server.sdapi.door import Refused
from backend.server.sdapi.fields import LONGEST_NAME
from backend.server.sdapi.models import Models
from backend.settings import Settings, SettingsStore

if TYPE_CHECKING:
    from backend.model_manager.inventory.record import ModelRecord

log = logging.getLogger(__name__)

CHECKPOINT, VAE = "sd_model_checkpoint", "sd_vae"
MOST_OWNERS = 1000  # whose settings are remembered, those that changed theirs last


@dataclass(frozen=True, kw_only=True)
class PixelOption:
    """A setting that changes pixels: where a request has it, and AUTOMATIC1111's default."""

    place: str
    default: object


def _option(place: str, default: object) -> PixelOption:
    return PixelOption(place=place, default=default)


PIXELS: Mapping[str, PixelOption] = MappingProxyType(
    {
        "CLIP_stop_at_last_layers": _option("clip_skip", 1),
        "emphasis": _option("emphasis", "Original"),
        "comma_padding_backtrack": _option("comma_backtrack", 20),
        "randn_source": _option("noise_source", "NV"),  # its GPU's noise, which NV makes on every device
        "tiling": _option("tiling", False),
        "use_old_scheduling": _option("old_prompt_editing", False),
        "eta_ddim": _option("sampling.eta", 0.0),
        "eta_ancestral": _option("sampling.eta", 1.0),
        "s_churn": _option("sampling.sigma_churn", 0.0),
        "s_tmin": _option("sampling.sigma_tmin", 0.0),
        "s_tmax": _option("sampling.sigma_tmax", 0.0),
        "s_noise": _option("sampling.sigma_noise", 1.0),
        "sigma_min": _option("sampling.schedule_min_sigma", 0.0),
        "sigma_max": _option("sampling.schedule_max_sigma", 0.0),
        "rho": _option("sampling.schedule_rho", 0.0),
        "beta_dist_alpha": _option("sampling.beta_alpha", 0.6),
        "beta_dist_beta": _option("sampling.beta_beta", 0.6),
        "always_discard_next_to_last_sigma": _option("sampling.discard_penultimate", False),
        "sgm_noise_multiplier": _option("sampling.sgm_noise_multiplier", False),
        "eta_noise_seed_delta": _option("sampling.ensd", 0),
        "uni_pc_variant": _option("sampling.unipc_variant", "bh1"),
        "uni_pc_skip_type": _option("sampling.unipc_skip_type", "time_uniform"),
        "uni_pc_order": _option("sampling.unipc_order", 3),
        "uni_pc_lower_order_final": _option("sampling.unipc_lower_order_final", True),
        "s_min_uncond": _option("guidance.ngms", 0.0),
        "s_min_uncond_all": _option("guidance.ngms_all_steps", False),
        "skip_early_cond": _option("guidance.skip_early", 0.0),
        "pad_cond_uncond": _option("guidance.pad_conds", False),
        "refiner_switch_by_sample_steps": _option("refiner.by_sampling_steps", False),
        "inpainting_mask_weight": _option("init.inpainting.mask_weight", 1.0),
        "initial_noise_multiplier": _option("init.noise_multiplier", 1.0),
        "img2img_extra_noise": _option("init.extra_noise", 0.0),
    }
)
# What changes AUTOMATIC1111's pixels and is not here: taken with its default, and refused with any other value.
ABSENT: Mapping[str, object] = MappingProxyType(
    {
        "img2img_color_correction": False,
        "img2img_fix_steps": False,
        "face_restoration": False,
        "sd_hypernetwork": "None",
        "sd_lora": "None",
        "sd_unet": "Automatic",
        "sd_vae_encode_method": "Full",
        "sd_vae_decode_method": "Full",
        "sd_noise_schedule": "Default",
        "sdxl_clip_l_skip": False,
        "sdxl_crop_top": 0,
        "sdxl_crop_left": 0,
        "sdxl_refiner_low_aesthetic_score": 2.5,
        "sdxl_refiner_high_aesthetic_score": 6.0,
        "token_merging_ratio": 0.0,
        "token_merging_ratio_img2img": 0.0,
        "token_merging_ratio_hr": 0.0,
        "pad_cond_uncond_v0": False,
        "ddim_discretize": "uniform",
        "hires_fix_refiner_pass": "second pass",
        "hires_fix_use_firstpass_conds": False,
        "use_old_emphasis_implementation": False,
        "use_old_karras_scheduler_sigmas": False,
        "use_old_hires_fix_width_height": False,
        "use_downcasted_alpha_bar": False,
        "no_dpmpp_sde_batch_determinism": False,
        "fp8_storage": "Disable",
    }
)
FORMATS: Mapping[str, str] = MappingProxyType({"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"})
# Settings of the whole installation, by their names here.
INSTALLATION: Mapping[str, str] = MappingProxyType(
    {
        "samples_format": "image_format",
        "jpeg_quality": "image_quality",
        "save_txt": "save_text",
        "save_incomplete_images": "save_interrupted",
        "live_previews_enable": "previews",
        "show_progress_every_n_steps": "preview_every",
    }
)
# True of every picture here, and not to be changed.
FIXED: Mapping[str, object] = MappingProxyType(
    {
        "samples_save": True,
        "enable_pnginfo": True,
        "return_grid": False,
        "grid_save": False,
        "return_mask": False,
        "return_mask_composite": False,
        "interrupt_after_current": False,
        "sd_checkpoints_limit": 1,
    }
)


class OptionStore:
    """What each owner has set, in a file that is written whole. Safe to use from any thread."""

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._values = _read(path)

    def of(self, owner: str) -> Mapping[str, Any]:
        """The settings that an owner has set."""
        return self._values.get(owner, {})

    def update(self, owner: str, changes: Mapping[str, Any]) -> None:
        """Set some. Raises `UserError` when the disk says no."""
        with self._lock:
            values = {name: kept for name, kept in self._values.items() if name != owner}
            values[owner] = {**self.of(owner), **changes}
            values = dict(list(values.items())[-MOST_OWNERS:])
            try:
                write_atomically(self._path, json.dumps(values, indent=1).encode("ascii"))
            except OSError as error:
                said = error.strerror or error
                raise Refused(f"The settings could not be kept: {said}.", status=507, kind="not_saved") from error
            self._values = values


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """What was kept; nothing, with a word in the log, where that cannot be read."""
    try:
        values = json.loads(path.read_bytes())
        if isinstance(values, dict) and all(isinstance(each, dict) for each in values.values()):
            return values
        raise ValueError("it holds something else")
    except FileNotFoundError:
        pass
    except (OSError, ValueError, RecursionError) as error:
        log.warning("The settings of API clients in %s cannot be read (%s): the defaults are used.", path, error)
    return {}


class Options:
    """All settings as a client sees them."""

    def __init__(self, store: OptionStore, settings: SettingsStore, models: Models):
        self._store = store
        self._settings = settings
        self._models = models

    def shown(self, owner: str) -> dict[str, Any]:
        """Every setting with its value for `owner`, by AUTOMATIC1111's names."""
        given = self._store.of(owner)
        settings = self._settings.value
        checkpoint = self.checkpoint(owner)
        return {
            **FIXED,
            **ABSENT,
            **{name: given.get(name, option.default) for name, option in PIXELS.items()},
            **{name: _shown(settings, name) for name in INSTALLATION},
            CHECKPOINT: self._models.title(checkpoint) if checkpoint else None,
            "sd_checkpoint_hash": self._models.sha256(checkpoint) if checkpoint else "",
            VAE: given.get(VAE, "Automatic"),
        }

    def checkpoint(self, owner: str) -> "ModelRecord | None":
        """What an owner's next request is made with, if there is any checkpoint."""
        return self._models.checkpoint_or_none(self._store.of(owner).get(CHECKPOINT) or self._settings.value.checkpoint)

    def given(self, owner: str) -> Mapping[str, Any]:
        """What counts for an owner's requests, where they do not say otherwise themselves."""
        return self._store.of(owner)

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `values` that change pixels, models as they are called here. Raises `UserError` for a value that
        cannot be, a model that is not there, and a setting that is not here and would change pixels."""
        found: dict[str, Any] = {}
        ignored: list[str] = []
        for name, value in values.items():
            if name in PIXELS:
                found[name] = checked_option(name, value)
            elif name == CHECKPOINT:
                found[name] = self._models.checkpoint(_text(name, value)).name if value else ""
            elif name == VAE:
                found[name] = self._models.vae(_text(name, value)) if value else "Automatic"
            elif name in ABSENT:
                _refuse_other(name, value)
            elif name not in INSTALLATION and name not in FIXED:
                ignored.append(name)
        if ignored:
            log.info("%d settings that are not known here are ignored: %s", len(ignored), ascii(ignored[:20])[:2000])
        return found

    def keep(self, owner: str, values: Mapping[str, Any]) -> None:
        """Let what a request set for itself count for the owner's next ones too. Raises `UserError`."""
        found = self.checked(values)
        if found:
            self._store.update(owner, found)

    def update(self, person: Person, changes: Mapping[str, Any]) -> None:
        """What ``POST /options`` does: what is as it was is passed over, so that all of `shown` can be sent back.
        Raises `UserError`; then nothing has changed."""
        shown = self.shown(person.owner)
        wanted = {name: value for name, value in changes.items() if name not in shown or shown[name] != value}
        found = self.checked(wanted)
        own = {
            INSTALLATION[name]: _settings_value(name, value) for name, value in wanted.items() if name in INSTALLATION
        }
        if own and not may(person, "manage"):
            named = ", ".join(name for name in wanted if name in INSTALLATION)
            raise Refused(f"Only an administrator may change {named}.", status=403, kind="forbidden")
        if own:
            self._settings.update(own)
        if found:
            self._store.update(person.owner, found)


def checked_option(name: str, value: Any) -> object:
    """A setting's value as a request has it. Raises `Refused` that names it."""
    option = PIXELS[name]
    if name == "randn_source" and value == "GPU":
        value = option.default
    if isinstance(option.default, bool) and value in (0, 1):
        value = bool(value)
    try:
        return checked_value(option.place, value)
    except InvalidRequest as error:
        raise Refused(f"{name}: {error}", status=422) from error


def _refuse_other(name: str, value: Any) -> None:
    """A setting that is not here is as good as its default."""
    usual = ABSENT[name]
    if value not in (usual, None) and not (usual == "None" and value == ""):
        raise Refused(
            f"There is no setting {name} here, so that it can only be {usual!r}, not {str(value)[:80]!r}.", status=422
        )


def _shown(settings: Settings, name: str) -> object:
    value = getattr(settings, INSTALLATION[name])
    return "jpg" if value == "jpeg" else value


def _settings_value(name: str, value: Any) -> object:
    if name != "samples_format":
        return value
    if not isinstance(value, str) or value.lower() not in FORMATS:
        raise Refused(f"samples_format can be {', '.join(FORMATS)}, not {str(value)[:40]!r}.", status=422)
    return FORMATS[value.lower()]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        raise Refused(f"{name} must be the name of a model, not {str(value)[:80]!r}.", status=422)
    return value
