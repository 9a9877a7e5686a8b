import dataclasses
import math

import pytest

from backend.errors import InvalidRequest
from backend.request import LABELS, LARGEST_SEED, GenerationRequest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", 151),
        ("steps", 2.5),
        ("steps", math.nan),
        ("steps", "20"),
        ("steps", True),
        ("steps", None),
        ("cfg_scale", math.nan),
        ("cfg_scale", math.inf),
        ("cfg_scale", 0.5),
        ("cfg_scale", 31),
        ("width", 0),
        ("width", -8),
        ("width", 65),
        ("height", 4096),
        ("seed", -2),
        ("seed", LARGEST_SEED + 1),
        ("batch_size", 0),
        ("batch_count", 10**6),
        ("clip_skip", 13),
        ("prompt", 7),
        ("prompt", "a\0b"),
        ("prompt", "\ud800"),
        ("negative_prompt", "x" * 65_537),
    ],
)
def test_a_wrong_value_is_named_in_a_sentence(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        GenerationRequest.from_values({field: value})
    sentence = str(caught.value)
    assert sentence.startswith(LABELS[field])
    assert sentence.endswith(".")


def test_a_size_between_two_multiples_names_both() -> None:
    with pytest.raises(InvalidRequest, match="Width 511 is not a multiple of 8; 504 or 512 would do"):
        GenerationRequest(width=511)


def test_whole_numbers_from_a_browser_come_as_floats() -> None:
    request = GenerationRequest.from_values({"steps": 20.0, "seed": 3.0})
    assert (request.steps, type(request.steps), request.seed, type(request.seed)) == (20, int, 3, int)


def test_json_round_trip_is_lossless() -> None:
    request = GenerationRequest(
        prompt='Zoë’s "boat",\nline two 🛶', negative_prompt="x: y", cfg_scale=7.3, seed=LARGEST_SEED, width=264
    )
    assert GenerationRequest.from_json(request.to_json()) == request


@pytest.mark.parametrize("text", ["", "[]", "{", '{"colour": 1}', '{"steps": "many"}'])
def test_json_that_is_no_request_gets_a_sentence(text: str) -> None:
    with pytest.raises(InvalidRequest):
        GenerationRequest.from_json(text)


def test_every_field_has_a_label() -> None:
    assert {field.name for field in dataclasses.fields(GenerationRequest)} == set(LABELS)


def test_a_random_seed_becomes_a_number_once() -> None:
    resolved = GenerationRequest(seed=-1).resolved()
    assert resolved.seed >= 0
    assert resolved.resolved() is resolved
    assert GenerationRequest(seed=5).resolved().seed == 5
    # 32 random bits: twenty equal draws in a row do not happen.
    assert len({GenerationRequest().resolved().seed for _ in range(20)}) > 1


def test_pictures_of_a_request_have_consecutive_seeds() -> None:
    request = GenerationRequest(seed=10, batch_size=3, batch_count=2)
    assert [request.seeds(0), request.seeds(1)] == [[10, 11, 12], [13, 14, 15]]
    assert request.pictures == 6
    single = request.single(12)
    assert (single.seed, single.pictures) == (12, 1)
    assert dataclasses.replace(single, seed=10, batch_size=3, batch_count=2) == request
