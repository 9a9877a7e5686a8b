import dataclasses
import math

import pytest

from backend.errors import InvalidRequest
from backend.request import LABELS, LARGEST_SEED, GenerationRequest, label
from backend.sampling_options import OPTION_LABELS, Guidance, Refiner, SamplingOptions, Variation

PARTS = (SamplingOptions, Guidance)


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
        ("comma_backtrack", 75),
        ("comma_backtrack", -1),
        ("tiling", 1),
        ("old_prompt_editing", None),
        ("seed_resize", [512]),
        ("seed_resize", [512, 511]),
        ("seed_resize", "512x512"),
        ("seed_resize", [0, 512]),
        ("sampling", 7),
        ("guidance", 7),
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
    assert sentence.startswith(field if isinstance(getattr(GenerationRequest(), field), PARTS) else LABELS[field])
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("sampling", {"eta": 1.1}),
        ("sampling", {"eta": "1"}),
        ("sampling", {"sigma_churn": -1}),
        ("sampling", {"sigma_churn": 101}),
        ("sampling", {"sigma_tmin": 10.5}),
        ("sampling", {"sigma_tmax": 1000}),
        ("sampling", {"sigma_noise": 1.2}),
        ("sampling", {"schedule_min_sigma": -0.1}),
        ("sampling", {"schedule_max_sigma": math.inf}),
        ("sampling", {"schedule_max_sigma": 2, "schedule_min_sigma": 2}),
        ("sampling", {"schedule_rho": math.nan}),
        ("sampling", {"beta_alpha": 0}),
        ("sampling", {"beta_beta": 0}),
        ("sampling", {"discard_penultimate": 1}),
        ("sampling", {"sgm_noise_multiplier": "yes"}),
        ("sampling", {"ensd": 0.5}),
        ("sampling", {"unipc_order": 0}),
        ("sampling", {"unipc_lower_order_final": None}),
        ("guidance", {"ngms": 15.1}),
        ("guidance", {"ngms_all_steps": 0}),
        ("guidance", {"skip_early": 2}),
        ("guidance", {"rescale": -0.1}),
        ("guidance", {"pad_conds": None}),
        ("variation", {"seed": -2}),
        ("variation", {"strength": 1.5}),
        ("refiner", {"checkpoint": ""}),
        ("refiner", {"checkpoint": "x", "switch_at": 1.5}),
        ("refiner", {"checkpoint": "x", "by_sampling_steps": 1}),
    ],
)
def test_a_wrong_option_is_named_in_a_sentence(part: str, values: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        GenerationRequest.from_values({part: values})
    sentence = str(caught.value)
    assert sentence.startswith(tuple(OPTION_LABELS[f"{part}.{name}"] for name in values))
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"noise_source": "Banana"}, "'Banana'.*NV, CPU, GPU"),
        ({"emphasis": "Loud"}, "'Loud'.*Original, No norm, Ignore, None"),
        ({"sampling": {"unipc_variant": "bh3"}}, "bh1"),
        ({"sampling": {"unipc_skip_type": "uniform"}}, "time_uniform"),
        ({"sampling": {"colour": 1}}, "'sampling.colour'"),
        ({"variation": {"colour": 1}}, "'variation.colour'"),
        ({"refiner": {}}, "refiner is not complete"),
    ],
)
def test_an_unknown_choice_or_name_is_refused_with_what_there_is(values: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        GenerationRequest.from_values(values)


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


def test_json_keeps_every_option() -> None:
    request = GenerationRequest(
        sampling=SamplingOptions(eta=0.3, sigma_churn=2.5, ensd=31337, unipc_variant="bh2", unipc_order=2),
        guidance=Guidance(ngms=1.5, skip_early=0.1, rescale=0.7, pad_conds=True),
        variation=Variation(seed=LARGEST_SEED, strength=0.25),
        refiner=Refiner(checkpoint="xl/refiner", switch_at=0.75, by_sampling_steps=True),
        noise_source="CPU",
        seed_resize=(768, 512),
        tiling=True,
        emphasis="No norm",
        old_prompt_editing=True,
        comma_backtrack=0,
    )
    again = GenerationRequest.from_json(request.to_json())
    assert again == request
    assert again.seed_resize == (768, 512)
    assert hash(again) == hash(request)


def test_recipes_from_before_there_were_options_are_read() -> None:
    before = GenerationRequest.from_json('{"prompt": "a boat", "seed": 3, "steps": 12, "init": null, "sampling": null}')
    assert before == GenerationRequest(prompt="a boat", seed=3, steps=12)
    assert before.sampling == SamplingOptions()
    assert before.guidance == Guidance()
    assert (before.variation, before.refiner, before.noise_source) == (None, None, "NV")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"colour": 1}', '{"steps": "many"}'])
def test_json_that_is_no_request_gets_a_sentence(text: str) -> None:
    with pytest.raises(InvalidRequest):
        GenerationRequest.from_json(text)


def test_every_field_has_a_label() -> None:
    assert {field.name for field in dataclasses.fields(GenerationRequest)} == set(LABELS)
    parts = {"sampling": SamplingOptions, "guidance": Guidance, "variation": Variation, "refiner": Refiner}
    names = {f"{place}.{field.name}" for place, part in parts.items() for field in dataclasses.fields(part)}
    assert names == set(OPTION_LABELS)
    assert label("sampling.eta") == "Eta"
    assert label("hires.steps") == "Hires steps"


def test_a_random_seed_becomes_a_number_once() -> None:
    resolved = GenerationRequest(seed=-1).resolved()
    assert resolved.seed >= 0
    assert resolved.resolved() is resolved
    assert GenerationRequest(seed=5).resolved().seed == 5
    # 32 random bits: twenty equal draws in a row do not happen.
    assert len({GenerationRequest().resolved().seed for _ in range(20)}) > 1


def test_a_random_variation_seed_becomes_a_number_once() -> None:
    asked = GenerationRequest(seed=5, variation=Variation(strength=0.1))
    resolved = asked.resolved()
    assert resolved.variation is not None
    assert resolved.variation.seed >= 0
    assert (resolved.seed, resolved.variation.strength) == (5, 0.1)
    assert resolved.resolved() is resolved
    assert len({asked.resolved().variation for _ in range(20)}) > 1


def test_varied_pictures_share_a_seed_and_count_the_variations() -> None:
    """AUTOMATIC1111's rule: at strength 0 the seeds count, above it the variation seeds alone."""
    request = GenerationRequest(seed=10, batch_size=3, batch_count=2, variation=Variation(seed=7, strength=0.1))
    assert [request.seeds(0), request.seeds(1)] == [[10, 10, 10], [10, 10, 10]]
    assert [request.variation_seeds(0), request.variation_seeds(1)] == [[7, 8, 9], [10, 11, 12]]
    assert request.single(10, 11).variation == Variation(seed=11, strength=0.1)
    assert request.single(10).variation == request.variation
    still = dataclasses.replace(request, variation=Variation(seed=7))
    assert still.seeds(1) == [13, 14, 15]
    assert GenerationRequest(seed=10).variation_seeds(0) == []


def test_pictures_of_a_request_have_consecutive_seeds() -> None:
    request = GenerationRequest(seed=10, batch_size=3, batch_count=2)
    assert [request.seeds(0), request.seeds(1)] == [[10, 11, 12], [13, 14, 15]]
    assert request.pictures == 6
    single = request.single(12)
    assert (single.seed, single.pictures) == (12, 1)
    assert dataclasses.replace(single, seed=10, batch_size=3, batch_count=2) == request
