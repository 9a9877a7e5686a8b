"""From a request's words to what the UNet is told at each call."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from backend.families import identify
from backend.families.clip_tokenizer import clip_tokenizer
from backend.families.denoising import conditionings, denoiser_for, passes_of
from backend.families.family import Family
from backend.families.networks import Networks
from backend.model_manager.header import read_header
from backend.prompt.conditioning_cache import ConditioningCache
from backend.prompt.encode import Reading, encode
from backend.request import GenerationRequest
from backend.sampling.conditioning import PromptConditioning
from backend.sampling.denoiser import Words
from backend.sampling.schedules import SigmaTable
from backend.sampling_options import Guidance
from tests.checkpoints import tiny, write_single_file

Loaded = tuple[Family, Networks]


def loaded(name: str, folder: Path) -> Loaded:
    path = folder / f"{name}.safetensors"
    write_single_file(path, tiny(name))
    header = read_header(path)
    family = identify(header, path.name)
    return family, family.build(header, load_file(path))


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return loaded("sd1", tmp_path_factory.mktemp("sd1"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return loaded("sdxl", tmp_path_factory.mktemp("sdxl"))


def told(model: Loaded, prompt: str, negative: str = "", *, first: int | None = None, **values: Any) -> Words:
    request = GenerationRequest(prompt=prompt, negative_prompt=negative, seed=1, **values)
    return conditionings(request, *model, clip_tokenizer(), passes=passes_of(request, first))


def encoded(model: Loaded, *texts: str) -> list[Tensor]:
    """The contexts of the texts, as prompts of their own."""
    family, networks = model
    encoders = list(zip(family.text, networks.text_encoders(), strict=True))
    groups = encode(clip_tokenizer(), encoders, [[text] for text in texts], reading=Reading())
    return [said.context for (said,) in groups]


def said(prompt: PromptConditioning | None, model: Loaded, texts: list[str]) -> list[str]:
    """Which of `texts` a prompt of one part says at each of its calls, up to one after the last."""
    assert prompt is not None
    contexts = encoded(model, *texts)
    (part,) = prompt.parts
    found = [part.at(call).context for call in range(part.schedule[-1][0] + 1)]
    return [next(text for text, known in zip(texts, contexts, strict=True) if close(known, each)) for each in found]


def close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_plain_prompt_says_one_thing(sd1: Loaded) -> None:
    words = told(sd1, "a red boat", "night")
    assert said(words.cond, sd1, ["a red boat"]) == ["a red boat"] * 21
    assert said(words.uncond, sd1, ["night"]) == ["night"] * 21
    assert words.cond.weights == (1.0,)
    assert words.empty is None


@torch.inference_mode()
def test_words_change_in_both_prompts(sd1: Loaded) -> None:
    """A1111's count: of 20 steps a half is 11 calls."""
    words = told(sd1, "a [red:blue:0.5] boat # [", "[night|day]", steps=20)
    red, blue = "a red boat \n", "a blue boat \n"
    assert said(words.cond, sd1, [red, blue]) == [red] * 11 + [blue] * 10
    assert said(words.uncond, sd1, ["night", "day"]) == ["night", *["night", "day"] * 10]


@torch.inference_mode()
def test_a_sampler_of_second_order_has_two_calls_to_a_step(sd1: Loaded) -> None:
    words = told(sd1, "[red:blue:5]", steps=10, sampler="Heun")
    assert said(words.cond, sd1, ["red", "blue"]) == ["red"] * 6 + ["blue"] * 15


@torch.inference_mode()
def test_the_second_pass_goes_by_its_own_numbers(sd1: Loaded) -> None:
    words = told(sd1, "[red:blue:1.5]", "[night:day:12]", steps=4, first=10)
    assert said(words.cond, sd1, ["red", "blue"]) == ["red"] * 3 + ["blue"] * 2
    assert said(words.uncond, sd1, ["night", "day"]) == ["night"] * 3 + ["day"] * 2
    old = told(sd1, "[red:blue:0.5]", steps=4, first=10, old_prompt_editing=True)
    assert said(old.cond, sd1, ["red", "blue"]) == ["red"] * 6 + ["blue"] * 5


@torch.inference_mode()
def test_and_joins_in_the_prompt_alone(sd1: Loaded) -> None:
    words = told(sd1, "a red boat :0.7 AND the sea :-0.2", "night AND day :2")
    assert words.cond.weights == (0.7, -0.2)
    red, sea = encoded(sd1, "a red boat", " the sea")
    assert [close(*pair) for pair in zip((each.context for each in words.cond.at(0)), (red, sea), strict=True)] == [
        True,
        True,
    ]
    assert said(words.uncond, sd1, ["night AND day :2"])[0] == "night AND day :2"


@pytest.mark.parametrize(
    ("prompt", "values", "is_asked"),
    [
        ("a boat", {"cfg_scale": 1}, False),
        ("a boat", {"cfg_scale": 1.5}, True),
        ("a boat :0.5", {"cfg_scale": 1}, True),
        ("a boat AND the sea", {"cfg_scale": 1}, True),
        ("a boat", {"cfg_scale": 1, "sampler": "DDIM CFG++"}, True),
    ],
)
@torch.inference_mode()
def test_the_negative_prompt_is_encoded_where_it_counts(
    sd1: Loaded, prompt: str, values: dict[str, Any], is_asked: bool
) -> None:
    assert (told(sd1, prompt, "night", **values).uncond is not None) == is_asked


@pytest.mark.parametrize(
    ("negative", "zero"), [("", True), ("[::5]", True), ("[night::5]", False), (" ", False), ("night", False)]
)
@torch.inference_mode()
def test_of_sdxl_a_negative_prompt_without_words_is_zero(sdxl: Loaded, negative: str, zero: bool) -> None:
    words = told(sdxl, "", negative, guidance=Guidance(pad_conds=True))
    assert words.uncond is not None
    assert words.empty is not None
    for call in (0, 20):
        (uncond,) = words.uncond.at(call)
        assert uncond.pooled is not None
        assert (not uncond.context.any() and not uncond.pooled.any()) == zero
    assert words.empty.context.any()
    (cond,) = words.cond.at(0)
    assert close(cond.context, words.empty.context)
    assert cond.sizes == words.uncond.at(0)[0].sizes == (512, 512, 0, 0, 512, 512)


@torch.inference_mode()
def test_how_words_are_read_is_in_the_request(sd1: Loaded) -> None:
    prompt = "(red:1.5)" + " tree" * 68 + "," + " tree" * 8
    plain = told(sd1, prompt).cond.at(0)[0].context
    others: list[dict[str, Any]] = [
        {"emphasis": "No norm"},
        {"emphasis": "None"},
        {"clip_skip": 2},
        {"comma_backtrack": 4},
    ]
    for values in others:
        other = told(sd1, prompt, **values).cond.at(0)[0].context
        assert other.shape == plain.shape
        assert not close(other, plain)
    assert close(told(sd1, prompt, comma_backtrack=30).cond.at(0)[0].context, plain)


@torch.inference_mode()
def test_a_denoiser_of_a_request_guides_as_it_says(sd1: Loaded) -> None:
    """Against one that knows nothing of options, in which the words of that call stand alone."""
    family, networks = sd1
    table = SigmaTable(family.alphas_cumprod().tolist())
    request = GenerationRequest(prompt="a [red:blue:2] boat", negative_prompt="night", seed=1, steps=4, cfg_scale=5)
    x = torch.randn(1, 4, 8, 8)

    def denoiser(asked: GenerationRequest, **options: Any) -> Any:
        words = conditionings(asked, family, networks, clip_tokenizer(), size=(64, 64))
        return denoiser_for(asked, family, networks, words, table, size=(64, 64), **options)

    def plain(color: str, cfg_scale: float = 5) -> Tensor:
        return denoiser(replace(request, prompt=f"a {color} boat", cfg_scale=cfg_scale))(x, 2.0)

    changing = denoiser(request)
    for color in ("red", "red", "red", "blue", "blue"):
        torch.testing.assert_close(changing(x, 2.0), plain(color))
    early = denoiser(replace(request, guidance=Guidance(skip_early=0.5)), steps=2)
    for color, cfg_scale in (("red", 1), ("red", 1), ("red", 5)):
        torch.testing.assert_close(early(x, 2.0), plain(color, cfg_scale))
    divided = denoiser(replace(request, sampler="DDIM CFG++"))
    torch.testing.assert_close(divided(x, 2.0), plain("red", 1) * 0.4 + divided.last_uncond * 0.6, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_kept_prompt_is_the_same_to_the_bit(sdxl: Loaded) -> None:
    family, networks = sdxl
    cache = ConditioningCache()
    request = GenerationRequest(prompt="a [(red:1.2):blue:0.5] boat", seed=1)

    def asked(state: str) -> Words:
        return conditionings(request, family, networks, clip_tokenizer(), kept=cache.kept(state))

    first, again, other = asked("one"), asked("one"), asked("other")
    for call in (0, 20):
        one, same, new = (words.cond.at(call)[0].context for words in (first, again, other))
        assert one is same
        assert one is not new
        assert torch.equal(one, new)
    assert cache.size > 0
