"""Presets of the forms: which of their values belong together, and what choosing one sets."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from backend.app import App
from backend.errors import InvalidRequest, unknown_name
from backend.presets import STUDIO, Preset
from backend.server.people import Risk
from ui.form import Form

# What a preset may keep, each with the places of its values, or of parts of a request.
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "words": ("prompt", "negative_prompt", "styles", "hires.prompt", "hires.negative_prompt"),
        "models": ("checkpoint", "vae", "refiner"),
        "sampling": (
            *("sampler", "schedule", "steps", "cfg_scale", "clip_skip", "sampling", "guidance", "tiling", "emphasis"),
            *("comma_backtrack", "old_prompt_editing", "noise_source"),
        ),
        "size": ("width", "height", "sizing", "factor", "batch_count", "batch_size"),
        "seed": ("seed", "extra", "variation", "seed_resize"),
        "hires": ("hires",),
        "picture": ("init",),
        "script": ("script",),
        "extensions": ("extras",),
    }
)


def kept(values: Mapping[str, Any], groups: Iterable[object]) -> dict[str, Any]:
    """The values of a form that belong to these groups. Raises `InvalidRequest` for a group that there is not, and
    where nothing is left."""
    places: set[str] = set()
    for group in groups:
        if not isinstance(group, str) or group not in GROUPS:
            raise InvalidRequest(unknown_name("group of values", str(group)[:40], GROUPS))
        places |= {name for name in values if group_of(name) == group}
    if not places:
        raise InvalidRequest("Say what of the form the preset keeps: nothing is chosen.")
    return {name: value for name, value in values.items() if name in places}


def group_of(name: str) -> str:
    """The group that a field belongs to; empty for one that is in none."""
    exact = next((group for group, places in GROUPS.items() if name in places), "")
    return exact or next((group for group, places in GROUPS.items() if name.partition(".")[0] in places), "")


def risk_of(wanted: Mapping[str, Any]) -> Risk:
    """What it takes to save what is wanted: what is for everybody is an administrator's."""
    return "manage" if "checkpoint" in wanted or wanted.get("everybody") is True else "make"


def save(app: App, form: Form, values: Mapping[str, Any], wanted: Mapping[str, Any], shelf: str) -> str:
    """Keep what a person wants of a form's values, as a preset on their `shelf`, one for everybody, or for the
    checkpoint that is chosen; what to say then. Raises `UserError`."""
    groups = wanted.get("groups")
    groups = groups if isinstance(groups, Sequence) and not isinstance(groups, str) else ()
    if "checkpoint" in wanted:
        name = app.catalog.find(str(wanted["checkpoint"])).name
        found = kept(values, groups) if groups else {}
        app.presets.set_of_checkpoint(name, {key: value for key, value in found.items() if key != "checkpoint"})
        return f"These values come with {name}" if groups else f"{name} brings what suits it by itself"
    owner = STUDIO if wanted.get("everybody") is True else shelf
    name = str(wanted.get("name", "")).strip()
    preset = Preset(name=name, tab=form.prefix, values=kept(values, groups), owner=owner)
    app.presets.save(preset)
    return f"The preset {preset.name} is saved"


def fitting(form: Form, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a preset's values that a form has."""
    return {name: value for name, value in values.items() if name in (*form.names, "checkpoint")}
