"""What suits a checkpoint: the values that a form begins with, and that it takes over with another checkpoint."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from backend.families.defaults import PLAIN, defaults_for
from backend.model_manager.catalog import ModelRecord
from backend.settings import Settings

USUAL_SIZE = (512, 512)  # while there is no checkpoint that could say
# What belongs together: a group follows the checkpoint as long as none of it was changed.
GROUPS = (("width", "height"), ("steps", "cfg_scale", "sampler", "schedule"))
NAMES = tuple(name for group in GROUPS for name in group)


def suited_values(record: ModelRecord | None, settings: Settings) -> dict[str, Any]:
    """Values of a request's fields by `NAMES`: the settings' own, but a size that the settings leave open is the
    checkpoint's, and a distilled checkpoint (Turbo, LCM, Lightning) brings its own steps, guidance and sampler."""
    width, height = record.native_size if record else USUAL_SIZE
    # A name alone does not say how a checkpoint was made: until a person confirms it, it is asked as any other.
    known = record is not None and "distilled" not in record.identity.suggested
    suggested = defaults_for(record.identity) if record and known else PLAIN
    values = {
        "width": settings.default_width or width,
        "height": settings.default_height or height,
        "steps": settings.default_steps,
        "cfg_scale": settings.default_cfg_scale,
        "sampler": settings.default_sampler,
        "schedule": settings.default_schedule,
    }
    return values if suggested == PLAIN else {**values, **asdict(suggested)}


def followed(values: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What of `values` changes when what suits goes from `before` to `after`: of what belongs together all, and only
    while all of it is as suited before."""
    alone = tuple((name,) for name in values if name not in NAMES)
    groups = [group for group in (*GROUPS, *alone) if all(name in values for name in group)]
    same = [group for group in groups if all(values[name] == before[name] for name in group)]
    return {name: after[name] for group in same for name in group if after[name] != before[name]}
