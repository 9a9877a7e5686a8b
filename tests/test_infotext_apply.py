"""From an infotext to the fields of a form: whose version meant what, and which models are here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.errors import InvalidRequest, ModelFileError
from backend.infotext.again import again
from backend.infotext.apply import first_pass_size, propose
from backend.infotext.proposal import Proposal, flat
from backend.infotext.provenance import FileHashes, Provenance
from backend.infotext.read import read_infotext
from backend.infotext.recipe import Recipe
from backend.infotext.write import write_infotext
from backend.init_image import LATENT_UPSCALERS, Box, HiresFix, InitImage, Inpainting, SoftInpainting, TiledUpscale
from backend.model_manager.identity import Kind
from backend.request import OWN_VAE, GenerationRequest
from backend.sampling.samplers import SAMPLERS
from backend.sampling.schedules import AUTOMATIC, SCHEDULES, is_automatic
from backend.sampling_options import EMPHASIS_MODES, Guidance, Refiner, SamplingOptions, Variation
from tests.infotext_samples import SAMPLES


@dataclass(frozen=True, kw_only=True)
class Here:
    """A model on a shelf that can be asked as a catalog can."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Models by kind, each with its hash."""

    models: Mapping[Kind, Mapping[str, str]] = field(default_factory=dict)

    def find(self, name: str, kind: Kind = Kind.CHECKPOINT) -> Here:
        for known in self.models.get(kind, {}):
            if name in (known, known.rpartition("/")[2]):
                return Here(name=known)
        raise ModelFileError(f"There is no {kind} called {name!r}.")

    def with_hash(self, text: str, kind: Kind | None = None) -> Here | None:
        found = [
            name for name, sha256 in self.models.get(kind or Kind.CHECKPOINT, {}).items() if sha256.startswith(text)
        ]
        return Here(name=found[0]) if found else None


EMPTY = Shelf()


def of(text: str, shelf: Shelf = EMPTY) -> Proposal:
    return propose(read_infotext(text), shelf)


def line(**more: str) -> str:
    pairs = {"Steps": "20", "Sampler": "Euler a", "Seed": "1", **{k.replace("_", " "): v for k, v in more.items()}}
    return "a cat\n" + ", ".join(f"{key}: {value}" for key, value in pairs.items())


def test_a_plain_picture_gives_every_field_back() -> None:
    shelf = Shelf(models={Kind.CHECKPOINT: {"sd/v1-5-pruned-emaonly": "6ce0161689" + "0" * 54}})
    found = of(SAMPLES[1], shelf)
    made = found.request(GenerationRequest(clip_skip=2, tiling=True, sampling=SamplingOptions(eta=0.5), cfg_scale=3))
    assert made == GenerationRequest(
        prompt="a lighthouse at dusk, oil painting",
        checkpoint="sd/v1-5-pruned-emaonly",
        sampler="Euler a",
        steps=20,
        cfg_scale=7,
        seed=1234567890,
    )
    assert (found.not_applied, found.missing) == ((), ())


def test_the_second_sample() -> None:
    found = of(SAMPLES[2])
    assert found.fields["negative_prompt"] == "EasyNegative, blurry,\nlow contrast"
    assert (found.fields["sampler"], found.fields["schedule"], found.fields["clip_skip"]) == ("DPM++ 2M", AUTOMATIC, 2)
    assert [(each.kind, each.name, each.hash) for each in found.missing] == [
        ("LoRA", "detail-tweaker", "7c6bad76eb54"),
        ("LoRA", "ink_wash_v2", "0c1f8a2b3c4d"),
        ("embedding", "EasyNegative", "c74b4e810b03"),
        ("checkpoint", "anyModel_v5", "7f96a1a9ca"),
        ("VAE", "vae-ft-mse-840000.safetensors", "735e4c3a44"),
    ]
    assert found.not_applied == ()


def test_hires_fix_with_words_of_its_own() -> None:
    shelf = Shelf(models={Kind.UPSCALER: {"RealESRGAN_x4plus": "9" * 64}})
    made = of(SAMPLES[3], shelf).request(GenerationRequest())
    assert made.hires == HiresFix(
        prompt='castle on a cliff, "ultra" detail\nsecond line',
        cfg_scale=6,
        schedule="Exponential",
        scale=1.5,
        steps=15,
        denoising_strength=0.45,
        upscaler="RealESRGAN_x4plus",
    )
    assert made.noise_source == "CPU"
    assert [each.name for each in of(SAMPLES[3]).missing] == ["dreamy", "R-ESRGAN 4x+"]


def test_inpainting_keeps_the_picture_that_is_there() -> None:
    found = of(SAMPLES[4])
    there = GenerationRequest(init=InitImage(picture="a" * 64, inpainting=Inpainting(mask="b" * 64, mask_blur=1)))
    assert found.request(there).init == InitImage(
        picture="a" * 64,
        denoising_strength=0.85,
        noise_multiplier=1.05,
        inpainting=Inpainting(
            mask="b" * 64,
            inverted=True,
            mask_blur=8,
            area="Only masked",
            padding=48,
            masked_content="latent noise",
            soft=SoftInpainting(schedule_bias=1),
        ),
    )
    without_mask = GenerationRequest(init=InitImage(picture="a" * 64))
    plain = InitImage(picture="a" * 64, denoising_strength=0.85, noise_multiplier=1.05)
    assert found.request(without_mask).init == plain
    assert found.request(GenerationRequest()).init is None
    assert found.not_applied == ()


def test_variation_refiner_and_sampler_options() -> None:
    shelf = Shelf(models={Kind.CHECKPOINT: {"refine": "7440042bbd" + "0" * 54}})
    found = of(SAMPLES[5], shelf)
    made = found.request(GenerationRequest(checkpoint="mine"))
    assert made.variation == Variation(seed=77, strength=0.35)
    assert made.seed_resize == (768, 768)
    assert made.refiner == Refiner(checkpoint="refine", switch_at=0.8)
    assert made.sampling == SamplingOptions(ensd=31337, discard_penultimate=True, schedule_max_sigma=12.5)
    assert made.checkpoint == "mine"
    assert [each.name for each in found.missing] == ["sd_xl_base_1.0"]


def test_a_mere_prompt_changes_the_prompts_only() -> None:
    assert dict(of(SAMPLES[6]).fields) == {"prompt": SAMPLES[6], "negative_prompt": ""}


def test_the_first_hires_fix_and_the_names_before_1_9() -> None:
    found = of(SAMPLES[7])
    made = found.request(GenerationRequest(width=64, schedule="Beta"))
    assert (made.sampler, made.schedule) == ("DPM++ 2M", AUTOMATIC)  # which is Karras for it
    assert (made.width, made.height) == (512, 512)
    assert made.hires == HiresFix(width=512, height=512, denoising_strength=0.7)
    assert ("Hypernet", "anime_3") in [(each.key, each.value) for each in found.not_applied]
    assert any("half precision" in remark for remark in found.remarks)


def test_a_picture_of_another_family_says_what_is_not_applied() -> None:
    found = of(SAMPLES[8])
    assert found.fields["schedule"] == "Simple"
    keys = [each.key for each in found.not_applied]
    assert keys[:3] == ["Distilled CFG Scale", "ADetailer model", "ADetailer prompt"]
    assert "ControlNet 0" in keys
    assert not {"User", "Version", "Size"} & set(keys)
    assert all(each.reason.endswith(".") for each in found.not_applied)


@pytest.mark.parametrize(
    ("size", "first"),
    [((512, 512), (512, 512)), ((1024, 1024), (512, 512)), ((1920, 1080), (704, 384)), ((64, 4096), (64, 4096))],
)
def test_the_size_that_the_first_hires_fix_chose(size: tuple[int, int], first: tuple[int, int]) -> None:
    assert first_pass_size(*size) == first


@pytest.mark.parametrize(
    ("sampler", "schedule", "version", "expected"),
    [
        ("DPM++ 2M", None, None, ("DPM++ 2M", "Uniform")),
        ("DPM++ 2M", None, "v1.8.0", ("DPM++ 2M", "Uniform")),
        ("DPM++ 2M", None, "v1.9.0", ("DPM++ 2M", AUTOMATIC)),
        ("DPM++ 2M", None, "f0.0.17v1.8.0rc-latest-276-g29be1da7", ("DPM++ 2M", "Uniform")),
        ("DPM++ 3M SDE", None, "1.7.0", ("DPM++ 3M SDE", "Uniform")),
        ("Restart", None, "1.7.0", ("Restart", AUTOMATIC)),
        ("Euler a", None, None, ("Euler a", AUTOMATIC)),
        ("DDIM", None, None, ("DDIM", AUTOMATIC)),
        ("DPM fast", None, None, ("DPM fast", AUTOMATIC)),
        ("DPM++ 2M Karras", None, None, ("DPM++ 2M", AUTOMATIC)),
        ("DPM++ 2M SDE Karras", None, None, ("DPM++ 2M SDE", "Karras")),
        ("DPM++ 2M SDE Heun Exponential", None, "v1.6.0", ("DPM++ 2M SDE Heun", AUTOMATIC)),
        ("LMS Karras", None, None, ("LMS", "Karras")),
        ("k_dpmpp_2m_ka", None, None, ("DPM++ 2M", AUTOMATIC)),
        ("DPM++ 2M", "Karras", "v1.9.0", ("DPM++ 2M", AUTOMATIC)),
        ("DPM++ 2M", "sgm_uniform", "v1.9.0", ("DPM++ 2M", "SGM Uniform")),
        ("DPM++ 2M", "Exponential", None, ("DPM++ 2M", "Exponential")),
        ("Euler", "Uniform", None, ("Euler", "Uniform")),
    ],
)
def test_samplers_and_schedules_of_every_version(
    sampler: str, schedule: str | None, version: str | None, expected: tuple[str, str]
) -> None:
    more = {"Schedule_type": schedule} if schedule else {}
    more |= {"Version": version} if version else {}
    found = of(line(Sampler=sampler, **more))
    assert (found.fields["sampler"], found.fields["schedule"]) == expected


def test_an_unknown_sampler_is_not_replaced() -> None:
    found = of(line(Sampler="Euler b", Schedule_type="Karras"))
    assert "sampler" not in found.fields
    assert [(each.key, each.value) for each in found.not_applied] == [("Sampler", "Euler b, Karras")]


@pytest.mark.parametrize(
    ("version", "more", "field", "value"),
    [
        ("v1.5.2", {}, "old_prompt_editing", True),
        ("v1.6.0", {}, "old_prompt_editing", False),
        ("", {}, "old_prompt_editing", False),
        ("v1.5.2", {"Refiner": "fine [7440042bbd]"}, "refiner.by_sampling_steps", True),
        ("v1.8.0", {"Refiner": "fine [7440042bbd]"}, "refiner.by_sampling_steps", None),
        ("v1.5.2", {}, "noise_source", "NV"),
        ("v1.5.2", {"RNG": "CPU"}, "noise_source", "CPU"),
        ("Atelier 0.1.0", {}, "noise_source", "GPU"),
        ("Atelier 0.1.0", {}, "vae", OWN_VAE),
        ("v1.10.1", {}, "vae", "Automatic"),
        ("v1.10.1", {"VAE": "None"}, "vae", OWN_VAE),
        ("v1.10.1", {"CFG_rescale": "0.5"}, "guidance.rescale", 0.5),
        ("v1.10.1", {"SGM_noise_multplier": "True"}, "sampling.sgm_noise_multiplier", True),
        ("v1.10.1", {"CLiP-skip": "2"}, "clip_skip", 2),
        ("v1.10.1", {"Steps": "20.0"}, "steps", 20),
    ],
)
def test_what_a_version_means(version: str, more: dict[str, str], field: str, value: object) -> None:
    shelf = Shelf(models={Kind.CHECKPOINT: {"fine": "7440042bbd"}})
    found = of(line(**more, **({"Version": version} if version else {})).replace("a cat", "a [cat:dog:5]"), shelf)
    assert found.fields.get(field) == value


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"Steps": "many"}, "cannot be read"),
        ({"Steps": "500"}, "must be from 1 to 150"),
        ({"CFG_scale": "0"}, "must be from 1 to 30"),
        ({"CFG_scale": "nan"}, "must be from 1 to 30"),
        ({"Size": "500x512"}, "not a multiple of 8"),
        ({"Size": "large"}, "no size"),
        ({"RNG": "TPU"}, "TPU"),
        ({"Tiling": "maybe"}, "neither True nor False"),
        ({"Denoising_strength": "0.5", "Canvas_box": "1 2"}, "no box"),
        ({"Denoising_strength": "0.5", "Soft_inpainting_enabled": "perhaps"}, "neither True nor False"),
        ({"Denoising_strength": "0.5", "Mask_mode": "upside down"}, "none of"),
        ({"Hires_upscale": "9", "Denoising_strength": "1"}, "must be from 1 to 4"),
        ({"Hires_upscale": "2", "Hires_sampler": "Fast"}, "Fast"),
    ],
)
def test_a_value_that_cannot_be_is_told_and_the_others_are_applied(more: dict[str, str], sentence: str) -> None:
    found = of(line(**more))
    assert any(sentence in each.reason for each in found.not_applied), found.not_applied
    assert found.fields["seed"] == 1
    found.request(GenerationRequest())


def test_models_are_found_by_hash_before_name() -> None:
    shelf = Shelf(
        models={
            Kind.CHECKPOINT: {"a/dreamy": "1" * 64, "renamed": "aabbccddee" + "0" * 54},
            Kind.LORA: {"inked": "0c1f8a2b3c4d" + "0" * 52, "fur": "2" * 64},
            Kind.VAE: {"sharp": "3" * 64},
        }
    )
    text = line(Model_hash="aabbccddee", Model="dreamy", VAE="sharp.safetensors", VAE_hash="ffffffffff")
    text = text.replace("a cat", "a <lora:ink:0.8> cat <lora:fur:1>")
    found = of(text + ', Lora hashes: "ink: 0c1f8a2b3c4d, fur: 9999"', shelf)
    assert found.fields["checkpoint"] == "renamed"
    assert found.fields["prompt"] == "a <lora:inked:0.8> cat <lora:fur:1>"
    assert found.fields["vae"] == "sharp"
    assert "The LoRA ink is called inked here." in found.remarks
    assert len([remark for remark in found.remarks if "not by the hash" in remark]) == 2
    assert found.missing == ()


def test_civitais_hashes_and_resources_are_read() -> None:
    shelf = Shelf(models={Kind.CHECKPOINT: {"here": "aabbccddee" + "0" * 54}})
    hashes = 'Hashes: {"model": "aabbccddee", "lora:ink": "0c1f"}'
    resources = 'Civitai resources: [{"type":"lora","weight":0.7,"modelName":"Ink, washed"}]'
    found = of(f"{line()}, {hashes}, {resources}", shelf)
    assert found.fields["checkpoint"] == "here"
    assert [(each.key, each.value) for each in found.not_applied] == [("Civitai resources", "Ink, washed")]
    assert "weight of 0.7" in found.not_applied[0].reason


@pytest.mark.parametrize(
    ("stated", "second", "said", "expected"),
    [
        ("Karras", "Euler a", None, ("Euler a", "")),
        ("Karras", "DPM++ 3M SDE", None, ("DPM++ 3M SDE", "Karras")),
        ("Karras", "DPM++ 3M SDE", "Exponential", ("DPM++ 3M SDE", "")),
        ("Karras", "Use same sampler", "Use same scheduler", ("", "")),
        ("Karras", None, "Beta", ("", "Beta")),
        (None, "DPM++ 2M", None, ("DPM++ 2M", "Uniform")),
        (None, "DPM++ 2M SDE Karras", None, ("DPM++ 2M SDE", "Karras")),
        (None, None, None, ("", "")),
    ],
)
def test_the_second_pass_has_its_own_sampler(
    stated: str | None, second: str | None, said: str | None, expected: tuple[str, str]
) -> None:
    more = {"Schedule_type": stated, "Hires_sampler": second, "Hires_schedule_type": said}
    given = {key: value for key, value in more.items() if value}
    found = of(line(Sampler="DPM++ 2M", Hires_upscale="2", Denoising_strength="0.5", **given))
    assert (found.fields.get("hires.sampler"), found.fields.get("hires.schedule")) == expected


def test_what_changes_can_be_told() -> None:
    base = GenerationRequest(prompt="a dog", steps=30, seed=5)
    made = of(line()).request(base)
    before, after = flat(base), flat(made)
    assert {name for name in before if before[name] != after[name]} == {"prompt", "steps", "seed", "sampler"}
    assert of(line()).request(base, without=("seed",)).seed == 5


def test_a_picture_that_came_from_another_turns_hires_off_and_the_other_way_round() -> None:
    with_hires = GenerationRequest(hires=HiresFix())
    assert of(line(Denoising_strength="0.5")).request(with_hires).hires is None
    with_init = GenerationRequest(init=InitImage(picture="a" * 64))
    made = of(line(Denoising_strength="0.5", Hires_upscale="2")).request(with_init)
    assert (made.init, made.hires) == (None, HiresFix(denoising_strength=0.5, scale=2))
    assert of(line()).request(with_init).init is None


# --- what a request is written as is read as that request ---

WORDS = st.text(st.characters(categories=["L", "N"], include_characters=" ,().:'\""), max_size=30).map(str.strip)
SHARE = st.integers(0, 100).map(lambda percent: percent / 100)
SIDE = st.integers(8, 64).map(lambda number: number * 8)
SEED = st.integers(0, 2**64 - 1)
SHELF = Shelf(models={Kind.CHECKPOINT: {"a/base": "1" * 64, "b/fine": "2" * 64}, Kind.VAE: {"sharp": "3" * 64}})
FILES = FileHashes(checkpoint="1" * 64, refiner="2" * 64, hires_checkpoint="2" * 64)


@st.composite
def options(draw: st.DrawFn) -> SamplingOptions:
    low = draw(SHARE)
    return SamplingOptions(
        sigma_churn=draw(st.integers(0, 100)),
        sigma_tmin=draw(SHARE),
        sigma_tmax=draw(st.integers(0, 999)),
        sigma_noise=draw(SHARE),
        schedule_min_sigma=low,
        schedule_max_sigma=draw(st.sampled_from([0.0, 12.5])),
        schedule_rho=draw(st.integers(0, 9)),
        beta_alpha=draw(st.sampled_from([0.6, 0.75])),
        discard_penultimate=draw(st.booleans()),
        sgm_noise_multiplier=draw(st.booleans()),
        unipc_variant=draw(st.sampled_from(["bh1", "bh2"])),
        unipc_order=draw(st.integers(1, 5)),
        unipc_lower_order_final=draw(st.booleans()),
    )


@st.composite
def second_passes(draw: st.DrawFn) -> HiresFix:
    sides = draw(st.sampled_from([(0, 0), (512, 0), (512, 768)]))
    return HiresFix(
        upscaler=draw(st.sampled_from([*LATENT_UPSCALERS, "Lanczos"])),
        scale=2.0 if any(sides) else draw(st.sampled_from([1.25, 2.0])),
        width=sides[0],
        height=sides[1],
        steps=draw(st.integers(0, 20)),
        denoising_strength=draw(SHARE),
        checkpoint=draw(st.sampled_from(["", "b/fine"])),
        prompt=draw(st.just("") | WORDS.map("second, {}".format)),  # the same as the first is not said
        cfg_scale=draw(st.sampled_from([0.0, 6.5])),
        extra_noise=draw(st.sampled_from([0.0, 0.05])),
    )


@st.composite
def paintings(draw: st.DrawFn) -> InitImage:
    kind = draw(st.sampled_from(["whole", "mask", "tiles", "box"]))
    soft = SoftInpainting(schedule_bias=draw(SHARE), mask_influence=draw(SHARE))
    inpainting = Inpainting(
        mask="b" * 64,
        mask_blur=draw(st.integers(0, 64)),
        inverted=draw(st.booleans()),
        area=(area := draw(st.sampled_from(["Whole picture", "Only masked"]))),
        padding=draw(st.integers(0, 256)) if area == "Only masked" else 32,
        masked_content=draw(st.sampled_from(["fill", "original", "latent noise"])),
        soft=draw(st.sampled_from([None, soft])),
    )
    return InitImage(
        picture="a" * 64,
        denoising_strength=draw(SHARE),
        noise_multiplier=draw(st.sampled_from([1.0, 0.0, 1.05])),
        extra_noise=draw(st.sampled_from([0.0, 0.05, 1.0])),
        resize_mode=draw(st.sampled_from(["Just resize", "Crop and resize"])) if kind != "tiles" else "Just resize",
        inpainting=inpainting if kind == "mask" else None,
        upscale=TiledUpscale(scale=draw(st.sampled_from([1.5, 2.0])), overlap=8) if kind == "tiles" else None,
        box=Box(left=-8, top=draw(st.integers(-64, 64)), width=64, height=draw(SIDE)) if kind == "box" else None,
    )


@st.composite
def requests(draw: st.DrawFn) -> GenerationRequest:
    sampler = draw(st.sampled_from(list(SAMPLERS)))
    usual = SAMPLERS[sampler].automatic_schedule
    schedules = [AUTOMATIC, *(name for name in SCHEDULES if name != usual)]
    part = draw(st.sampled_from(["init", "hires", ""]))
    varied = Variation(seed=draw(SEED), strength=draw(st.integers(1, 100)) / 100)
    ensd = draw(st.sampled_from([0, 31337])) if SAMPLERS[sampler].uses_ensd else 0
    return GenerationRequest(
        prompt=draw(WORDS.filter(lambda text: not text.startswith(("Negative prompt:", "Steps:")))),
        negative_prompt=draw(WORDS.filter(lambda text: not text.startswith("Negative prompt:"))),
        checkpoint="a/base",
        vae=OWN_VAE,
        sampler=sampler,
        schedule=draw(st.sampled_from(schedules)),
        steps=draw(st.integers(1, 150)),
        cfg_scale=draw(st.integers(10, 300)) / 10,
        clip_skip=draw(st.integers(1, 12)),
        width=draw(SIDE.filter(lambda side: side >= 64)),
        height=draw(SIDE.filter(lambda side: side >= 64)),
        seed=draw(SEED),
        init=draw(paintings()) if part == "init" else None,
        hires=draw(second_passes()) if part == "hires" else None,
        sampling=replace(draw(options()), ensd=ensd),
        guidance=Guidance(ngms=draw(SHARE), skip_early=draw(SHARE), rescale=draw(SHARE), pad_conds=draw(st.booleans())),
        variation=draw(st.sampled_from([None, varied])),
        refiner=draw(st.sampled_from([None, Refiner(checkpoint="b/fine", switch_at=0.5)])),
        noise_source=draw(st.sampled_from(["NV", "CPU", "GPU"])),
        seed_resize=draw(st.none() | st.tuples(SIDE, SIDE)),
        tiling=draw(st.booleans()),
        emphasis=draw(st.sampled_from(EMPHASIS_MODES)),
        old_prompt_editing=draw(st.booleans()),
        comma_backtrack=draw(st.integers(0, 74)),
    )


@settings(max_examples=100, deadline=None)
@given(requests())
def test_a_request_that_was_written_is_read_back(request: GenerationRequest) -> None:
    usual = SAMPLERS[request.sampler].automatic_schedule
    automatic = is_automatic(request.schedule) and usual != "Uniform"
    text = write_infotext(request, FILES, schedule=usual if automatic else request.schedule)
    found = of(text, SHELF)
    base = GenerationRequest(init=put_in_again(request.init), steps=3, tiling=True)
    assert found.request(base) == request, text
    assert (found.not_applied, found.missing) == ((), ()), text


def put_in_again(init: InitImage | None) -> InitImage | None:
    """The picture and mask that somebody put in again."""
    if init is None:
        return None
    mask = Inpainting(mask=init.inpainting.mask) if init.inpainting else None
    return InitImage(picture=init.picture, inpainting=mask)


# --- our own pictures once more ---


def ours(request: GenerationRequest, files: FileHashes | None) -> Recipe:
    made_with = Provenance(files=files, device="CPU, float32").to_json() if files else ""
    text = write_infotext(request, files or FileHashes(), schedule="Karras")
    return Recipe(
        origin="Atelier",
        place="",
        text=text,
        infotext=read_infotext(text),
        request=request.to_json(),
        made_with=made_with,
    )


def test_our_own_picture_is_asked_for_again_with_files_by_their_bytes() -> None:
    request = GenerationRequest(
        prompt="a <lora:ink:0.8> cat",
        checkpoint="old/name",
        vae="soft",
        seed=5,
        refiner=Refiner(checkpoint="fine"),
        hires=HiresFix(checkpoint="large"),
    )
    files = FileHashes(
        checkpoint="1" * 64, vae="3" * 64, refiner="2" * 64, hires_checkpoint="4" * 64, loras={"ink": "5" * 64}
    )
    shelf = Shelf(models={**SHELF.models, Kind.LORA: {"washed": "5" * 64}})
    found = again(ours(request, files), shelf)
    assert found.request == replace(
        request,
        prompt="a <lora:washed:0.8> cat",
        checkpoint="a/base",
        vae="sharp",
        refiner=Refiner(checkpoint="b/fine"),
    )
    assert found.device == "CPU, float32"
    assert [(each.kind, each.name, each.hash) for each in found.missing] == [("checkpoint", "large", "4" * 64)]


def test_a_picture_that_does_not_say_its_files_is_asked_for_as_it_was() -> None:
    request = GenerationRequest(prompt="a", checkpoint="gone", seed=5)
    assert again(ours(request, None), EMPTY).request == request
    with pytest.raises(InvalidRequest, match="not made by Atelier"):
        again(replace(ours(request, None), request=""), EMPTY)
