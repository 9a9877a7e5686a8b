"""Which layers a LoRA changes, by every naming, in every family; and how one is refused."""

import copy
import re
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from backend.errors import ModelFileError
from backend.model_manager.lora.lora_file import Lora, read_lora
from backend.model_manager.patches import LoraUse, Patcher, match
from tests.loras import (
    ATTENTION,
    Modules,
    Weights,
    changed,
    clean_of,
    is_clean,
    kohya,
    low_rank,
    peft,
    random_lora,
    sd1_networks,
    sd2_networks,
    sdxl_networks,
    snapshot,
    write_lora,
    written,
)


@pytest.fixture(scope="module")
def made() -> Modules:
    return sd1_networks()


@pytest.fixture
def modules(made: Modules) -> Modules:
    """Tiny networks of SD 1.x's form, for each test's own use."""
    return copy.deepcopy(made)


def test_names_of_kohya_and_of_diffusers_mean_the_same(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    layers = random_lora(modules, ATTENTION + r"|.*(?:ff|proj_in|proj_out|mlp)", alpha=None)
    today = peft(layers)
    namings = {
        "kohya": kohya(layers),
        "peft": today,
        "xl": kohya(layers, {"unet": "lora_unet_", "text_encoder": "lora_te1_"}),
        "adapter": {re.sub(r"(lora_[AB])", r"\1.default", key): tensor for key, tensor in today.items()},
        "old": {
            key.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): tensor for key, tensor in today.items()
        },
    }
    results: list[Weights] = []
    for name, tensors in namings.items():
        patcher = Patcher()
        report = patcher.apply(modules, clean, [LoraUse(lora=written(tmp_path, name, tensors))])
        assert (report.computed, report.remarks) == (len(layers), ()), name
        results.append(snapshot(clean_of(modules)))
        patcher.restore()
    for result in results[1:]:
        assert all(torch.equal(result[r][n], results[0][r][n]) for r in result for n in result[r])


def test_the_oldest_names_of_diffusers(tmp_path: Path, modules: Modules) -> None:
    """Attention processors held the factors, and the text encoder's projections went by the UNet's names."""
    layers = random_lora(modules, ATTENTION, alpha=None)
    old: dict[str, Tensor] = {}
    for key, tensor in peft(layers).items():
        name = key.replace(".lora_A.weight", "_lora.down.weight").replace(".lora_B.weight", "_lora.up.weight")
        name = name.replace("to_out.0_lora", "to_out_lora").replace("out_proj_lora", "to_out_lora")
        for letter in "qkv":
            name = name.replace(f"{letter}_proj_lora", f"to_{letter}_lora")
        old[name.replace("attn1.", "attn1.processor.").replace("attn2.", "attn2.processor.")] = tensor
    matched = match(written(tmp_path, "old", old), modules)
    targets = {(target.role, target.parameter) for target in matched.targets}
    assert targets == {(role, f"{path}.weight") for role, path in layers}
    assert matched.left_out == ()


def test_an_inpainting_network_keeps_what_a_lora_does_not_know(tmp_path: Path) -> None:
    unet = UNet2DConditionModel(
        in_channels=9, block_out_channels=(32, 32), cross_attention_dim=64, attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    modules: Modules = {"unet": unet.requires_grad_(False)}
    clean = clean_of(modules)
    parts = low_rank(torch.empty(32, 4, 3, 3))
    tensors = {f"lora_unet_conv_in.{part}": tensor for part, tensor in parts.items()}
    Patcher().apply(modules, clean, [LoraUse(lora=written(tmp_path, "ink", tensors))])
    delta = 0.5 * (parts["lora_up.weight"].flatten(1) @ parts["lora_down.weight"].flatten(1)).view(32, 4, 3, 3)
    torch.testing.assert_close(unet.conv_in.weight[:, :4], clean["unet"]["conv_in.weight"][:, :4] + delta)
    assert torch.equal(unet.conv_in.weight[:, 4:], clean["unet"]["conv_in.weight"][:, 4:])


SDXL_KOHYA = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}


def in_original_words(key: str) -> str:
    """SDXL's layers as kohya's trainer calls them: its numbers of blocks count through, three to a level."""
    words = {
        "down_blocks_1_attentions_0": "input_blocks_4_1", "down_blocks_1_attentions_1": "input_blocks_5_1",
        "down_blocks_2_attentions_0": "input_blocks_7_1", "down_blocks_2_attentions_1": "input_blocks_8_1",
        "mid_block_attentions_0": "middle_block_1",
        "up_blocks_0_attentions_0": "output_blocks_0_1", "up_blocks_0_attentions_1": "output_blocks_1_1",
        "up_blocks_0_attentions_2": "output_blocks_2_1", "up_blocks_1_attentions_0": "output_blocks_3_1",
        "up_blocks_1_attentions_1": "output_blocks_4_1", "up_blocks_1_attentions_2": "output_blocks_5_1",
    }  # fmt: skip
    for ours, theirs in words.items():
        key = key.replace(f"lora_unet_{ours}_", f"lora_unet_{theirs}_")
    return key


def test_sdxl_by_both_of_its_namings(tmp_path: Path) -> None:
    modules = sdxl_networks()
    clean = clean_of(modules)
    layers = random_lora(modules, ATTENTION + "|.*(?:proj_in|proj_out|ff|mlp|text_projection)")
    assert {role for role, _ in layers} == set(modules)
    files = {"diffusers": kohya(layers, SDXL_KOHYA)}
    files["original"] = {in_original_words(key): tensor for key, tensor in files["diffusers"].items()}
    assert not any("attentions" in key for key in files["original"])
    results: list[Weights] = []
    for name, tensors in files.items():
        patcher = Patcher()
        report = patcher.apply(modules, clean, [LoraUse(lora=written(tmp_path, name, tensors))])
        assert (report.computed, report.remarks) == (len(layers), ())
        results.append(snapshot(clean_of(modules)))
        patcher.restore()
    assert all(torch.equal(results[0][r][n], results[1][r][n]) for r in modules for n in results[0][r])


def test_of_a_layer_under_two_names_one_counts(tmp_path: Path) -> None:
    modules = sdxl_networks()
    layers = random_lora({"unet": modules["unet"]}, ".*attn1.to_q")
    one = kohya(layers, SDXL_KOHYA)
    matched = match(
        written(tmp_path, "a", one | {in_original_words(key): t.clone() for key, t in one.items()}), modules
    )
    assert len(matched.targets) == len(matched.left_out) == len(layers)


def test_sd2_with_factors_of_either_projection(tmp_path: Path) -> None:
    modules = sd2_networks()
    clean = clean_of(modules)
    layers = random_lora(modules, ATTENTION + "|.*proj_in|.*proj_out")
    flat = kohya(layers)
    square = {
        key: t[..., None, None] if "proj_in.lora" in key or "proj_out.lora" in key else t for key, t in flat.items()
    }
    results: list[Weights] = []
    for name, tensors in {"flat": flat, "square": square}.items():
        patcher = Patcher()
        assert patcher.apply(modules, clean, [LoraUse(lora=written(tmp_path, name, tensors))]).computed == len(layers)
        results.append(snapshot(clean_of(modules)))
        patcher.restore()
    assert all(torch.equal(results[0][r][n], results[1][r][n]) for r in modules for n in results[0][r])


@pytest.mark.parametrize("decomposed", [False, True])
def test_a_fused_projection_changes_three_layers(tmp_path: Path, decomposed: bool) -> None:
    modules = sdxl_networks()
    clean = clean_of(modules)
    fused = low_rank(torch.empty(96, 32))
    if decomposed:
        fused["dora_scale"] = torch.rand(1, 32) + 0.5
    stem = "lora_te2_model_transformer_resblocks_1_attn_in_proj"
    lora = written(tmp_path, "ink", {f"{stem}.{part}": tensor for part, tensor in fused.items()})
    assert Patcher().apply(modules, clean, [LoraUse(lora=lora, text_encoder=0.5)]).computed == 3
    names = [f"text_model.encoder.layers.1.self_attn.{letter}_proj.weight" for letter in "qkv"]
    assert changed(modules, clean) == {("text_encoder_2", name) for name in names}
    whole = torch.cat([clean["text_encoder_2"][name] for name in names])
    delta = 0.5 * fused["lora_up.weight"] @ fused["lora_down.weight"]
    if decomposed:
        delta = fused["dora_scale"] * torch.nn.functional.normalize(whole + delta, dim=0) - whole
    now = torch.cat([modules["text_encoder_2"].get_parameter(name) for name in names])
    torch.testing.assert_close(now, whole + 0.5 * delta)


def refused(lora: Lora, modules: Modules, checkpoint: str) -> str:
    """The sentence with which it is refused; nothing on the networks changes, not even what is on them."""
    clean = clean_of(modules)
    before = snapshot(clean)
    patcher = Patcher()
    with pytest.raises(ModelFileError) as caught:
        patcher.apply(modules, clean, [LoraUse(lora=lora)], checkpoint)
    assert is_clean(modules, clean, before) and patcher.size == 0
    return str(caught.value)


def test_a_lora_for_another_family_is_refused(tmp_path: Path, modules: Modules) -> None:
    families: dict[str, tuple[Modules, dict[str, str]]] = {
        "SD 1.x": (modules, {}), "SD 2.x": (sd2_networks(), {}), "SDXL": (sdxl_networks(), SDXL_KOHYA),
    }  # fmt: skip
    for theirs, (trained, prefixes) in families.items():
        tensors = kohya(random_lora(trained, ATTENTION), prefixes or {"unet": "lora_unet_", "text_encoder": "lora_te_"})
        path = write_lora(tmp_path / f"{theirs}.safetensors", tensors)
        lora = read_lora(path, title=f"a LoRA for {theirs}")
        for ours, (networks, _) in families.items():
            if ours != theirs:
                sentence = refused(lora, networks, ours)
                assert sentence.startswith(f"{path.stem} is a LoRA for {theirs} and does not fit {ours}: ")
                assert sentence.endswith(".")


def test_a_lora_for_a_transformer_with_a_text_encoder_like_ours_is_refused(tmp_path: Path, modules: Modules) -> None:
    """FLUX's first text encoder is SD 1's: that alone must not make the LoRA fit."""
    tensors = kohya(random_lora({"text_encoder": modules["text_encoder"]}, ATTENTION))
    for stem in ("lora_unet_double_blocks_0_img_attn_qkv", "transformer.single_transformer_blocks.0.attn.to_q"):
        parts = {f"{stem}.{part}": tensor for part, tensor in low_rank(torch.empty(96, 32)).items()}
        lora = written(tmp_path, stem[:4], tensors | parts)
        assert "none of its layers is in the UNet" in refused(lora, modules, "SD 1.x")


def test_a_lora_that_fits_in_part_says_what_is_left_out(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    layers = random_lora(modules, r"mid_block.*attn1\.")
    odd = low_rank(torch.empty(8, 8))
    tensors = kohya(layers) | {f"lora_unet_mid_block_attentions_7_proj_in.{part}": t for part, t in odd.items()}
    tensors |= {f"lora_te2_text_projection.{part}": t.clone() for part, t in odd.items()}
    tensors["bundle_emb.pen.emb_params"] = torch.ones(1, 64)
    report = Patcher().apply(modules, clean, [LoraUse(lora=written(tmp_path, "ink", tensors))])
    assert report.computed == len(layers)
    assert report.remarks == (
        "ink: 2 layers do not apply to this checkpoint "
        "(lora_te2_text_projection, lora_unet_mid_block_attentions_7_proj_in).",
        "ink carries embeddings that are not used from there: pen.",
    )
