"""What the OpenAPI document says of requests is what requests hold themselves against."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel, TypeAdapter

from backend.errors import InvalidRequest
from backend.request import GenerationRequest
from backend.server.jobs_api.request_schema import CHOICES, RANGES, STEPPED, UPSCALE_RANGES, Generation, Upscale
from backend.upscaling.request import UpscaleRequest

NAME = "0" * 64
# What has to stand beside a value for a part to be a whole one.
AROUND: dict[str, dict[str, Any]] = {
    "init": {"picture": NAME},
    "init.box": {"left": 0, "top": 0, "width": 64, "height": 64},
    "init.inpainting": {"mask": NAME},
    "refiner": {"checkpoint": "other"},
}


def at(place: str, value: object) -> dict[str, Any]:
    """The smallest request with `value` at `place`."""
    *path, name = place.split(".")
    whole: dict[str, Any] = {}
    part, done = whole, ""
    for each in path:
        done = f"{done}.{each}".strip(".")
        part = part.setdefault(each, dict(AROUND.get(done, {})))
    part[name] = [value, value] if place == "seed_resize" else value
    return whole


def read_at(place: str, request: Any) -> Any:
    for each in place.split("."):
        request = getattr(request, each)
    return request[0] if place == "seed_resize" else request


def outside(place: str, low: float, high: float) -> Iterator[float]:
    step = 8 if place in STEPPED else 1 if isinstance(high, int) else 0.01
    yield from (low - step, high + step)


@pytest.mark.parametrize("place", RANGES)
def test_the_ends_of_a_range_are_those_that_a_request_takes(place: str) -> None:
    low, high = RANGES[place]
    for end in (low, high):
        assert read_at(place, GenerationRequest.from_values(at(place, end))) == end
    for beyond in outside(place, low, high):
        with pytest.raises(InvalidRequest):
            GenerationRequest.from_values(at(place, beyond))


@pytest.mark.parametrize("name", UPSCALE_RANGES)
def test_the_ends_of_a_range_are_those_that_an_upscale_takes(name: str) -> None:
    low, high = UPSCALE_RANGES[name]
    for end in (low, high):
        assert getattr(UpscaleRequest.from_values({"inputs": [NAME], name: end}), name) == end
    for beyond in outside("", low, high):
        with pytest.raises(InvalidRequest):
            UpscaleRequest.from_values({"inputs": [NAME], name: beyond})


@pytest.mark.parametrize("place", sorted(STEPPED))
def test_what_is_a_multiple_is_that(place: str) -> None:
    low, _ = RANGES[place]
    with pytest.raises(InvalidRequest, match="multiple of 8"):
        GenerationRequest.from_values(at(place, low + 68))


@pytest.mark.parametrize("place", CHOICES)
def test_the_names_of_a_choice_are_those_that_a_request_takes(place: str) -> None:
    for name in CHOICES[place]:
        assert read_at(place, GenerationRequest.from_values(at(place, name))) == name
    with pytest.raises(InvalidRequest):
        GenerationRequest.from_values(at(place, CHOICES[place][0] + "?"))


def numbers(kind: type, place: str = "") -> Iterator[str]:
    """The places of all numbers of a request."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        here = f"{place}.{field.name}".strip(".")
        kinds = get_args(hints[field.name]) or (hints[field.name],)
        for each in kinds:
            if is_dataclass(each):
                assert isinstance(each, type)
                yield from numbers(each, here)
            elif each in (int, float) or get_args(each) == (int, int):
                yield here


def test_no_number_is_without_a_range_and_no_range_without_a_number() -> None:
    assert set(numbers(GenerationRequest)) == set(RANGES)
    assert set(numbers(UpscaleRequest)) == set(UPSCALE_RANGES)


def test_every_value_of_a_request_is_described_with_its_default() -> None:
    schema = TypeAdapter(list[Generation | Upscale]).json_schema()
    for kind in (GenerationRequest, UpscaleRequest):
        described = schema["$defs"][kind.__name__]["properties"]
        assert list(described) == [field.name for field in fields(kind)]
        values = {"inputs": [NAME]} if kind is UpscaleRequest else {}
        made = kind.from_values(values)
        for name, each in described.items():
            if each.get("default") is not None:
                assert getattr(made, name) == each["default"], name


def test_a_request_goes_out_as_it_came_in() -> None:
    class Both(BaseModel):
        one: Generation
        two: Upscale

    init = {"picture": NAME, "inpainting": {"mask": NAME, "soft": {"schedule_bias": 2}}}
    given = {"one": {"prompt": "a", "init": init, "seed_resize": [64, 128]}, "two": {"inputs": [NAME]}}
    read = Both.model_validate(given)
    assert read.one == GenerationRequest.from_values(given["one"])
    assert Both.model_validate_json(read.model_dump_json()) == read
