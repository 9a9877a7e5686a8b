"""Infotexts as values and as text: nothing is lost on the way, in either direction."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.errors import InvalidRequest
from backend.infotext.provenance import FileHashes, Provenance
from backend.infotext.read import read_infotext
from backend.infotext.values import Infotext, plain, quoted
from backend.infotext.versions import origin_of, version_of
from backend.infotext.write import write_infotext
from backend.init_image import HiresFix, InitImage
from backend.request import GenerationRequest
from backend.sampling_options import Guidance, Refiner, SamplingOptions, Variation
from tests.infotext_samples import SAMPLES

FILES = FileHashes(checkpoint="0123456789abcdef")


@pytest.mark.parametrize("number", [1, 3, 4, 5, 8])
def test_a_sample_is_written_again_byte_for_byte(number: int) -> None:
    assert read_infotext(SAMPLES[number]).text == SAMPLES[number]


@pytest.mark.parametrize("number", list(SAMPLES))
def test_the_values_of_a_sample_survive_as_text(number: int) -> None:
    values = read_infotext(SAMPLES[number])
    assert read_infotext(values.text) == values


def test_the_values_of_the_samples_that_do_not_come_back_as_they_were() -> None:
    second = read_infotext(SAMPLES[2])
    assert second.prompt.splitlines()[1] == "[forest:ruined city:0.4] background BREAK"
    assert second.negative_prompt == "EasyNegative, blurry,\nlow contrast"
    assert second.get("Lora hashes") == "ink_wash_v2: 0c1f8a2b3c4d, detail-tweaker: 7c6bad76eb54"
    assert len(second.pairs) == 14
    assert read_infotext(SAMPLES[6]) == Infotext(prompt=SAMPLES[6])
    seventh = read_infotext(SAMPLES[7])
    assert seventh.values["Sampler"] == "DPM++ 2M Karras"
    assert seventh.values["First pass size"] == "0x0"
    assert (seventh.values["Hypernet"], seventh.values["Hypernet strength"]) == ("anime_3", "0.6")


LINE = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=40).map(str.strip)
KEYS = st.one_of(
    st.sampled_from(["Sampler", "Model", "ADetailer model 2nd", "Hashes", "ControlNet 0", "T.I. (old)", "User", "X"]),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ./()-]{0,18}[A-Za-z0-9)]", fullmatch=True),
)
VALUES = st.one_of(
    LINE,
    st.sampled_from(
        ["", "True", "a, b: c", "line\nbreak", '"', '"quoted"', '{"a": [1, 2]}', "[1]", "User", " x ", "{a"]
    ),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(plain),
)


@st.composite
def infotexts(draw: st.DrawFn) -> Infotext:
    """Any that is unambiguous: no line of a prompt begins as the other parts do."""
    words = st.lists(LINE.filter(lambda line: not line.startswith(("Negative prompt:", "Steps:"))), max_size=4)
    texts = ["\n".join(draw(words)).strip() for _ in range(2)]
    more = draw(st.dictionaries(KEYS.filter(lambda key: key != "Steps"), VALUES, max_size=8))
    fixed = {"Sampler": "Euler a", "Seed": "7"}
    pairs = {"Steps": str(draw(st.integers(1, 150))), **fixed, **more}
    return Infotext(prompt=texts[0], negative_prompt=texts[1], pairs=tuple(pairs.items()))


@settings(max_examples=100, deadline=None)
@given(infotexts())
def test_what_is_written_is_read_back(values: Infotext) -> None:
    assert read_infotext(values.text) == values


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from('Steps: 20, Sampler"\\\n{[}]x1:é '), max_size=120) | st.text(max_size=60))
def test_no_text_stops_the_reader(text: str) -> None:
    values = read_infotext(text)
    assert read_infotext(values.text).prompt == values.prompt or values.pairs or values.negative_prompt


def test_what_a1111_cannot_read_of_its_own_and_of_others() -> None:
    line = (
        'Steps: 20, Sampler: Euler a, Model: foo, bar, T.I. (old): x, Empty: , Hashes: {"model": "ab, c", "vae": "1"}, '
        'Clip skip: 2, Civitai resources: [{"type": "lora", "a": [1, 2]}], X: 5'
    )
    assert read_infotext(line).pairs == (
        ("Steps", "20"),
        ("Sampler", "Euler a"),
        ("Model", "foo, bar"),
        ("T.I. (old)", "x"),
        ("Empty", ""),
        ("Hashes", '{"model": "ab, c", "vae": "1"}'),
        ("Clip skip", "2"),
        ("Civitai resources", '[{"type": "lora", "a": [1, 2]}]'),
        ("X", "5"),
    )
    assert read_infotext(line).text == line.replace("Model: foo, bar", 'Model: "foo, bar"')


def test_the_line_of_parameters_may_stand_anywhere() -> None:
    text = "a cat\nSteps: 20, Sampler: Euler a, Seed: 1, Template: one\ntwo, Version: v1.5.0\nposted by anna"
    values = read_infotext(text)
    assert (values.prompt, values.rest) == ("a cat", "posted by anna")
    assert values.get("Template") == "one\ntwo"
    assert read_infotext(values.text) == values


@pytest.mark.parametrize(
    "text",
    [
        "a cat\n(sad: 1.2), (big: 1.3), (blue: 0.5)",
        "Steps of a dance: one, two: three, four: five",
        "Steps: 10, Seed: 1",
        "",
    ],
)
def test_a_prompt_is_not_taken_for_parameters(text: str) -> None:
    assert read_infotext(text) == Infotext(prompt=text)


def test_parameters_without_steps_are_read_where_a1111_reads_them() -> None:
    assert read_infotext("a cat\nSampler: Euler a, Seed: 1, Size: 8x8").prompt == "a cat"
    assert read_infotext("Postprocess upscale by: 4, Postprocess upscaler: Lanczos").get("Postprocess upscaler")


@pytest.mark.parametrize(
    ("text", "version", "origin"),
    [
        ("v1.10.1", (1, 10, 1, 0), "AUTOMATIC1111"),
        ("1.6.0", (1, 6, 0, 0), "AUTOMATIC1111"),
        ("v1.7.0-225-gabc1234", (1, 7, 0, 225), "AUTOMATIC1111"),
        ("f2.0.1v1.10.1-previous-669-gdfdcbab6", (1, 10, 1, 0), "Forge"),
        ("f0.0.17v1.8.0rc-latest-276-g29be1da7", (1, 8, 0, 0), "Forge"),
        ("neo-2.24", None, "Forge"),
        ("ComfyUI", None, "ComfyUI"),
        ("Vlad", None, "SD.Next"),
        ("Atelier 0.1.0", None, "Atelier"),
        ("Fooocus v2.2.1", None, "Fooocus"),
    ],
)
def test_versions_and_programs(text: str, version: tuple[int, ...] | None, origin: str) -> None:
    values = read_infotext(f"a\nSteps: 1, Sampler: Euler, Seed: 1, Version: {text}")
    assert (version_of(values), origin_of(values)) == (version, origin)


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (7.0, "7"), (6.5, "6.5"), (0.123456789, "0.123456789"), (1e-7, "1e-07"), (2**60, str(2**60))],
)
def test_numbers_are_written_as_a_slider_gives_them(value: float, text: str) -> None:
    assert plain(value) == text
    assert float(text) == value


def test_a_value_is_quoted_only_where_it_must_be() -> None:
    assert [quoted(text) for text in ("a", 'say "x" there', "a,b", "a:b", "a\nb", '"x"', " x")] == [
        *("a", 'say "x" there', '"a,b"', '"a:b"', '"a\\nb"', '"\\"x\\""', '" x"'),
    ]


# --- a request as A1111 writes it ---


def keys_of(request: GenerationRequest, files: FileHashes = FILES, schedule: str = "Karras") -> list[str]:
    text = write_infotext(request, files, schedule=schedule)
    return [f"{key}: {value}" for key, value in read_infotext(text).pairs][8:-1]


REQUEST = GenerationRequest(prompt="a", seed=1, checkpoint="sub/base")


def test_nothing_usual_is_written() -> None:
    assert keys_of(REQUEST) == ["RNG: NV"]
    assert keys_of(replace(REQUEST, noise_source="GPU")) == []  # as A1111, for which that is the default


def test_every_option_has_a1111s_key_in_its_order() -> None:
    request = replace(
        REQUEST,
        sampler="Euler a",
        clip_skip=2,
        variation=Variation(seed=77, strength=0.35),
        seed_resize=(768, 512),
        noise_source="CPU",
        tiling=True,
        emphasis="No norm",
        old_prompt_editing=True,
        sampling=SamplingOptions(
            eta=0.5,
            ensd=31337,
            sigma_churn=1,
            sigma_tmin=0.5,
            sigma_tmax=9,
            sigma_noise=1.05,
            discard_penultimate=True,
            sgm_noise_multiplier=True,
            schedule_min_sigma=0.1,
            schedule_max_sigma=12.5,
            schedule_rho=6,
        ),
        guidance=Guidance(ngms=1.5, ngms_all_steps=True, skip_early=0.1, rescale=0.7, pad_conds=True),
        refiner=Refiner(checkpoint="sub/fine", switch_at=0.6, by_sampling_steps=True),
    )
    files = FileHashes(checkpoint="c" * 64, refiner="d" * 64, loras={"in:k": "e" * 64}, embeddings={"bad": "f" * 64})
    assert keys_of(request, files) == [
        *("Variation seed: 77", "Variation seed strength: 0.35", "Seed resize from: 768x512", "Clip skip: 2"),
        *("ENSD: 31337", "RNG: CPU", "Tiling: True"),
        *(f"Lora hashes: ink: {'e' * 12}", f"TI hashes: bad: {'f' * 12}"),
        *("Emphasis: No norm", "Old prompt editing timelines: True"),
        *("Discard penultimate sigma: True", "Schedule min sigma: 0.1", "Schedule max sigma: 12.5", "Schedule rho: 6"),
        *("SGM noise multiplier: True", "Sigma churn: 1", "Sigma tmin: 0.5", "Sigma tmax: 9", "Sigma noise: 1.05"),
        *("Eta: 0.5", "Skip Early CFG: 0.1", "NGMS: 1.5", "NGMS all steps: True", "CFG Rescale: 0.7"),
        *("Pad conds: True", "Refiner switch by sampling steps: True", f"Refiner: fine [{'d' * 10}]"),
        "Refiner switch at: 0.6",
    ]


@pytest.mark.parametrize(
    ("sampler", "options", "keys"),
    [
        ("Euler", {"ensd": 31337}, []),
        ("Euler a", {"ensd": 31337, "eta": 0.0}, ["Eta: 0"]),
        ("Euler a", {"eta": 1.0}, []),
        ("DDIM", {"eta": 0.5}, ["Eta DDIM: 0.5"]),
        ("DDIM", {"eta": 0.0}, []),
        ("DPM fast", {"eta": 0.0}, ["Eta: 0"]),
    ],
)
def test_what_a_sampler_does_not_heed_is_not_said(sampler: str, options: dict[str, Any], keys: list[str]) -> None:
    request = replace(REQUEST, sampler=sampler, sampling=SamplingOptions(**options))
    assert keys_of(request) == ["RNG: NV", *keys]


@pytest.mark.parametrize(
    ("first", "schedule", "hires", "said"),
    [
        (("DPM++ 2M", "Automatic"), "Karras", HiresFix(), []),
        (("DPM++ 2M", "Automatic"), "Karras", HiresFix(sampler="DPM++ 3M SDE"), ["Exponential"]),
        (("Euler a", "Automatic"), "Automatic", HiresFix(sampler="DPM++ 2M"), ["Karras"]),
        (("DPM++ 2M", "Karras"), "Karras", HiresFix(sampler="Euler a"), ["Karras"]),  # or a reader would take uniform
        (("DPM++ 2M", "Automatic"), "Karras", HiresFix(sampler="Euler a"), []),
        (("DPM++ 2M", "Simple"), "Simple", HiresFix(sampler="Euler a"), []),
        (("DPM++ 2M", "Simple"), "Simple", HiresFix(schedule="Beta"), ["Beta"]),
    ],
)
def test_the_second_schedule_is_said_where_it_is_another_one(
    first: tuple[str, str], schedule: str, hires: HiresFix, said: list[str]
) -> None:
    request = replace(REQUEST, sampler=first[0], schedule=first[1], hires=hires)
    found = [key.partition(": ")[2] for key in keys_of(request, schedule=schedule) if key.startswith("Hires sch")]
    assert found == said


def test_the_second_checkpoint_has_its_hash() -> None:
    hires = HiresFix(checkpoint="sub/large", upscaler="Lanczos")
    assert f"Hires checkpoint: large [{'a' * 10}]" in keys_of(
        replace(REQUEST, hires=hires), replace(FILES, hires_checkpoint="a" * 64)
    )


def test_a_picture_that_was_made_of_another_says_how() -> None:
    init = InitImage(picture="a" * 64, denoising_strength=1.0)
    assert keys_of(replace(REQUEST, init=init)) == ["Denoising strength: 1", "RNG: NV"]


# --- what it was made with ---


def test_what_a_picture_was_made_with_survives_as_json() -> None:
    files = FileHashes(checkpoint="a" * 64, vae="b" * 64, loras={"ink": "c" * 64}, embeddings={"Zoë": "d" * 64})
    made = Provenance(files=files, device="CPU, float32")
    assert Provenance.from_json(made.to_json()) == made
    assert made.to_json().isascii()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "cannot be read"),
        ("[]", "object with files"),
        ('{"schema": 1, "files": 3}', "object with files"),
        ('{"schema": 9, "files": {}}', "newer Atelier"),
        ('{"schema": 1, "files": {"loras": {"a": 1}}}', "must be text"),
        ('{"schema": 1, "files": {}, "device": []}', "must be text"),
        (json.dumps({"files": {}, "x": "y" * 2**20}), "characters"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_what_is_no_such_json_gets_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        Provenance.from_json(text)
