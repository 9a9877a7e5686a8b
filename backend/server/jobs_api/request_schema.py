"""Requests as ``/api/v2`` takes and gives them: read by the dataclasses themselves, described by models made from them.

So there is one source: a field that a request gets is in the OpenAPI document, and what is said of it there is held
against the request's own checks by a test.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from inspect import cleandoc
from types import MappingProxyType, NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, create_model
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from backend.checked import LARGEST_SIDE, LONGEST_PROMPT
from backend.init_image import (
    AREAS,
    EXTRA_NOISE_RANGE,
    HIGHEST_CFG,
    HIGHEST_STEPS,
    HIRES_SCALE_RANGE,
    IMAGE_CFG_RANGE,
    LARGEST_HIRES,
    MASK_BLUR_RANGE,
    MASKED_CONTENT,
    NOISE_MULTIPLIER_RANGE,
    OVERLAP_RANGE,
    PADDING_RANGE,
    RESIZE_MODES,
    SIZE_STEP,
    SOFT_RANGES,
    TILED_SCALE_RANGE,
)
from backend.request import (
    BATCH_COUNT_RANGE,
    BATCH_SIZE_RANGE,
    CFG_RANGE,
    CLIP_SKIP_RANGE,
    SEED_RESIZE_RANGE,
    SIZE_RANGE,
    STEPS_RANGE,
    GenerationRequest,
    label,
)
from backend.sampling_options import (
    COMMA_BACKTRACK_RANGE,
    EMPHASIS_MODES,
    ENSD_RANGE,
    GUIDANCE_RANGES,
    LARGEST_SEED,
    NOISE_SOURCES,
    SAMPLING_RANGES,
    UNIPC_ORDER_RANGE,
    UNIPC_SKIP_TYPES,
    UNIPC_VARIANTS,
)
from backend.upscaling.request import LABELS as UPSCALE_LABELS
from backend.upscaling.request import MOST_PICTURES, SCALE_RANGE, UpscaleRequest

Range = tuple[float, float]
UNIT: Range = (0, 1)
SIDE: Range = (-LARGEST_SIDE, LARGEST_SIDE)
PICTURE_NAME = "^[0-9a-f]{64}$"
PICTURE_OR_NONE = "^([0-9a-f]{64})?$"
PICTURES = frozenset({"init.picture", "init.sketch", "init.depth", "init.inpainting.mask"})


def _within(place: str, ranges: Mapping[str, Range]) -> dict[str, Range]:
    return {f"{place}.{name}": given for name, given in ranges.items()}


# What each number may be, by its place in a request; both ends belong to it.
RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "steps": STEPS_RANGE,
        "cfg_scale": CFG_RANGE,
        "clip_skip": CLIP_SKIP_RANGE,
        "width": SIZE_RANGE,
        "height": SIZE_RANGE,
        "seed": (-1, LARGEST_SEED),
        "batch_size": BATCH_SIZE_RANGE,
        "batch_count": BATCH_COUNT_RANGE,
        "comma_backtrack": COMMA_BACKTRACK_RANGE,
        "seed_resize": SEED_RESIZE_RANGE,
        "init.denoising_strength": UNIT,
        "init.image_cfg_scale": IMAGE_CFG_RANGE,
        "init.noise_multiplier": NOISE_MULTIPLIER_RANGE,
        "init.extra_noise": EXTRA_NOISE_RANGE,
        "init.box.left": SIDE,
        "init.box.top": SIDE,
        "init.box.width": (SIZE_STEP, LARGEST_SIDE),
        "init.box.height": (SIZE_STEP, LARGEST_SIDE),
        "init.inpainting.mask_blur": MASK_BLUR_RANGE,
        "init.inpainting.padding": PADDING_RANGE,
        "init.inpainting.mask_weight": UNIT,
        **_within("init.inpainting.soft", SOFT_RANGES),
        "init.upscale.scale": TILED_SCALE_RANGE,
        "init.upscale.overlap": OVERLAP_RANGE,
        "hires.scale": HIRES_SCALE_RANGE,
        "hires.width": (0, LARGEST_HIRES),
        "hires.height": (0, LARGEST_HIRES),
        "hires.steps": (0, HIGHEST_STEPS),
        "hires.denoising_strength": UNIT,
        "hires.cfg_scale": (0, HIGHEST_CFG),
        "hires.extra_noise": EXTRA_NOISE_RANGE,
        "sampling.eta": UNIT,
        **_within("sampling", SAMPLING_RANGES),
        "sampling.ensd": ENSD_RANGE,
        "sampling.unipc_order": UNIPC_ORDER_RANGE,
        **_within("guidance", GUIDANCE_RANGES),
        "variation.seed": (-1, LARGEST_SEED),
        "variation.strength": UNIT,
        "refiner.switch_at": UNIT,
    }
)
UPSCALE_RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "visibility_2": UNIT,
        "scale": SCALE_RANGE,
        "max_side": (0, LARGEST_SIDE),
        "width": (0, LARGEST_SIDE),
        "height": (0, LARGEST_SIDE),
    }
)
STEPPED = frozenset({"width", "height", "hires.width", "hires.height", "seed_resize"})  # multiples of `SIZE_STEP`
CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "noise_source": NOISE_SOURCES,
        "emphasis": EMPHASIS_MODES,
        "init.resize_mode": RESIZE_MODES,
        "init.inpainting.masked_content": MASKED_CONTENT,
        "init.inpainting.area": AREAS,
        "sampling.unipc_variant": UNIPC_VARIANTS,
        "sampling.unipc_skip_type": UNIPC_SKIP_TYPES,
    }
)


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """What is known of the fields of one kind of request, by their places."""

    ranges: Mapping[str, Range]
    labels: Mapping[str, str] | None = None

    def said(self, place: str) -> str:
        return label(place) if self.labels is None else self.labels[place]


def _model(kind: type, tables: _Tables, place: str = "") -> type[BaseModel]:
    """The model that describes a dataclass at a place of a request, with models for the dataclasses in it."""
    hints = get_type_hints(kind)
    made: dict[str, Any] = {}
    for field in fields(kind):
        at = f"{place}.{field.name}" if place else field.name
        default = ... if field.default is MISSING else field.default
        if field.default_factory is not MISSING:
            default = {} if get_origin(hints[field.name]) is Mapping else None
        made[field.name] = (_described(hints[field.name], at, tables), default)
    doc = cleandoc(kind.__doc__ or "")
    return create_model(kind.__name__, __config__=ConfigDict(extra="forbid"), __doc__=doc, **made)


def _described(hint: Any, place: str, tables: _Tables) -> Any:
    said = tables.said(place)
    if get_origin(hint) is Mapping:  # values by names that nobody here knows
        return Annotated[dict[str, dict[str, bool | float | str]], Field(description=said)]
    inner = [each for each in get_args(hint) or (hint,) if each is not NoneType]
    if is_dataclass(inner[0]):
        assert isinstance(inner[0], type)
        part = _model(inner[0], tables, place)
        return Annotated[part | None, Field(description=said)]  # nothing is what a part is without being named
    if get_origin(hint) is tuple or get_origin(inner[0]) is tuple:
        return _several(place, said, tables)
    described = Annotated[inner[0], Field(**_limits(inner[0], place, tables))]
    return Annotated[described | None if NoneType in get_args(hint) else described, Field(description=said)]


def _several(place: str, said: str, tables: _Tables) -> Any:
    """A pair of numbers, or the names of pictures."""
    if place in tables.ranges:
        side = Annotated[int, Field(**_limits(int, place, tables))]
        return Annotated[tuple[side, side] | None, Field(description=said)]
    name = Annotated[str, Field(pattern=PICTURE_NAME)]
    return Annotated[list[name], Field(description=said, min_length=1, max_length=MOST_PICTURES)]


def _limits(kind: type, place: str, tables: _Tables) -> dict[str, Any]:
    """What pydantic calls the limits of a value."""
    if kind in (int, float):
        low, high = tables.ranges[place]
        step = {"multiple_of": SIZE_STEP} if place in STEPPED and tables.labels is None else {}
        return {"ge": kind(low), "le": kind(high), **step}
    if kind is str and place in CHOICES:
        return {"json_schema_extra": {"enum": list(CHOICES[place])}}
    if kind is str and place in PICTURES:
        return {"pattern": PICTURE_NAME if place == "init.picture" else PICTURE_OR_NONE}
    return {"max_length": LONGEST_PROMPT} if kind is str else {}


class _Described:
    """Tells pydantic that a request reads itself, and what it looks like."""

    def __init__(self, kind: type[GenerationRequest] | type[UpscaleRequest], tables: _Tables):
        self.kind = kind
        self.model = _model(kind, tables)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, self.kind) else self.kind.from_values(value),
            serialization=core_schema.plain_serializer_function_ser_schema(asdict),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # With a name of its own it stands once in a document, and not wherever it is used.
        name = f"{__name__}.{self.model.__name__}"
        described: Any = {**self.model.__pydantic_core_schema__, "ref": name}
        reference = core_schema.definition_reference_schema(name)
        return handler(core_schema.definitions_schema(reference, [described]))


_GENERATION = _Described(GenerationRequest, _Tables(ranges=RANGES))
_UPSCALE = _Described(UpscaleRequest, _Tables(ranges=UPSCALE_RANGES, labels=UPSCALE_LABELS))
Generation = Annotated[GenerationRequest, _GENERATION]
Upscale = Annotated[UpscaleRequest, _UPSCALE]
