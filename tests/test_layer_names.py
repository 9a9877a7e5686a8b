"""Names of layers and parts, as real files spell them."""

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from backend.model_manager.lora.layer_names import Place, flat_path, place, split_key
from starter.layout import file_names
from tests.checkpoints import tiny_networks

ATTENTION = "down_blocks_1_attentions_0_transformer_blocks_0_attn1"
CLIP = "encoder_layers_0_self_attn"


@pytest.mark.parametrize(
    ("key", "layer", "part"),
    [
        # kohya and LyCORIS
        ("lora_unet_conv_in.lora_up.weight", "lora_unet_conv_in", "up"),
        ("lora_unet_conv_in.lora_down.weight", "lora_unet_conv_in", "down"),
        ("lora_unet_conv_in.lora_mid.weight", "lora_unet_conv_in", "mid"),
        ("lora_unet_conv_in.alpha", "lora_unet_conv_in", "alpha"),
        ("lora_unet_conv_in.scale", "lora_unet_conv_in", "scale"),
        ("lora_unet_conv_in.dora_scale", "lora_unet_conv_in", "dora_scale"),
        ("lora_unet_conv_in.hada_w1_a", "lora_unet_conv_in", "hada_w1_a"),
        ("lora_unet_conv_in.hada_t2", "lora_unet_conv_in", "hada_t2"),
        ("lora_unet_conv_in.lokr_w1", "lora_unet_conv_in", "lokr_w1"),
        ("lora_unet_conv_in.lokr_w2_b", "lora_unet_conv_in", "lokr_w2_b"),
        ("lora_unet_conv_in.lokr_t2", "lora_unet_conv_in", "lokr_t2"),
        ("lora_unet_conv_in.oft_blocks", "lora_unet_conv_in", "oft_blocks"),
        ("lora_unet_conv_in.rescale", "lora_unet_conv_in", "rescale"),
        ("lora_unet_conv_in.a1.weight", "lora_unet_conv_in", "a1"),
        ("lora_unet_conv_in.bm.weight", "lora_unet_conv_in", "bm"),
        ("lora_unet_conv_in.weight", "lora_unet_conv_in", "weight"),
        ("lora_unet_conv_in.on_input", "lora_unet_conv_in", "on_input"),
        ("lora_unet_conv_in.diff", "lora_unet_conv_in", "diff"),
        ("lora_unet_conv_in.diff_b", "lora_unet_conv_in", "diff_b"),
        ("lora_unet_conv_norm_out.w_norm", "lora_unet_conv_norm_out", "diff"),
        ("lora_unet_conv_norm_out.b_norm", "lora_unet_conv_norm_out", "diff_b"),
        # diffusers and PEFT
        ("unet.mid.attn1.to_q.lora_A.weight", "unet.mid.attn1.to_q", "down"),
        ("unet.mid.attn1.to_q.lora_B.weight", "unet.mid.attn1.to_q", "up"),
        ("unet.mid.attn1.to_q.lora_B.bias", "unet.mid.attn1.to_q", "up_bias"),
        ("base_model.model.mid.to_q.lora_A.default.weight", "base_model.model.mid.to_q", "down"),
        ("base_model.model.mid.to_q.lora_B.my-style_1.weight", "base_model.model.mid.to_q", "up"),
        ("unet.mid.to_q.lora_magnitude_vector", "unet.mid.to_q", "magnitude"),
        ("unet.mid.to_q.lora_magnitude_vector.weight", "unet.mid.to_q", "magnitude"),
        ("unet.mid.to_q.lora_magnitude_vector.default.weight", "unet.mid.to_q", "magnitude"),
        ("unet.mid.to_out.0.lora.up.weight", "unet.mid.to_out.0", "up"),
        ("unet.mid.to_out.0.lora.down.weight", "unet.mid.to_out.0", "down"),
        ("unet.mid.to_out.0.lora.alpha", "unet.mid.to_out.0", "alpha"),
        ("mid.attn1.processor.to_q_lora.up.weight", "mid.attn1.processor.to_q", "up"),
        ("text_encoder.x.q_proj.lora_linear_layer.down.weight", "text_encoder.x.q_proj", "down"),
    ],
)
def test_a_key_is_split(key: str, layer: str, part: str) -> None:
    assert split_key(key) == (layer, part)


@pytest.mark.parametrize("key", ["emb_params", "lora_unet_conv_in.bias_indices", "x.hada_w3_a", ""])
def test_what_is_no_part_is_none(key: str) -> None:
    assert split_key(key) is None


@pytest.mark.parametrize(
    ("layer", "role", "expected"),
    [
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q", "unet", f"{ATTENTION}_to_q"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", "unet", f"{ATTENTION}_to_q"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", "unet", f"{ATTENTION}_to_q"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q", "unet", f"{ATTENTION}_to_q"),
        (
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out",
            "unet",
            f"{ATTENTION}_to_out_0",
        ),
        ("down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_k", "unet", f"{ATTENTION}_to_k"),
        ("base_model.model.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_v", "unet", f"{ATTENTION}_to_v"),
        (
            "unet.base_model.model.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_v",
            "unet",
            f"{ATTENTION}_to_v",
        ),
        ("diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_out.0", "unet", f"{ATTENTION}_to_out_0"),
        ("lycoris_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q", "unet", f"{ATTENTION}_to_q"),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj", "text_encoder", f"{CLIP}_q_proj"),
        ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", "text_encoder", f"{CLIP}_q_proj"),
        ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", "text_encoder_2", f"{CLIP}_q_proj"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.out_proj", "text_encoder", f"{CLIP}_out_proj"),
        ("text_encoder_2.text_model.encoder.layers.0.self_attn.out_proj", "text_encoder_2", f"{CLIP}_out_proj"),
        ("text_encoder.encoder.layers.0.self_attn.k_proj", "text_encoder", f"{CLIP}_k_proj"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.to_q", "text_encoder", f"{CLIP}_q_proj"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.to_out", "text_encoder", f"{CLIP}_out_proj"),
        ("base_model.model.text_model.encoder.layers.0.self_attn.v_proj", "text_encoder", f"{CLIP}_v_proj"),
        ("lora_te2_text_projection", "text_encoder_2", "text_projection"),
        ("lora_te2_model_transformer_resblocks_0_attn_in_proj", "text_encoder_2", f"{CLIP}_in_proj"),
        ("lora_te2_transformer_resblocks_0_attn_out_proj", "text_encoder_2", f"{CLIP}_out_proj"),
        (
            "conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_fc",
            "text_encoder_2",
            "encoder_layers_0_mlp_fc1",
        ),
        (
            "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc2",
            "text_encoder",
            "encoder_layers_0_mlp_fc2",
        ),
        ("lora_unet_double_blocks_0_img_attn_qkv", "unet", "double_blocks_0_img_attn_qkv"),
        ("transformer.single_transformer_blocks.0.attn.to_q", "unet", "single_transformer_blocks_0_attn_to_q"),
        ("double_blocks.0.img_attn.qkv", "", "double_blocks_0_img_attn_qkv"),
    ],
)
def test_a_layer_is_placed(layer: str, role: str, expected: str) -> None:
    assert place(layer) == Place(role, expected)


def test_every_layer_of_the_original_sd1_unet_is_found() -> None:
    """Against the layout that the project's own checkpoints are written in."""
    prefix = "model.diffusion_model."
    networks = tiny_networks()
    names = {key: own for key, (network, own) in file_names(*networks).items() if network == "unet"}
    assert len(names) == len(networks[0].state_dict())
    for key, own in names.items():
        original, _, leaf = key.removeprefix(prefix).rpartition(".")
        expected = Place("unet", flat_path(own.removesuffix(f".{leaf}")))
        assert place("lora_unet_" + original.replace(".", "_")) == expected, key
        assert place(prefix + original) == expected, key


RESNET = ("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3")
TRANSFORMER = ("norm", "proj_in", "proj_out", "transformer_blocks.0.attn2.to_k", "transformer_blocks.1.ff.net.0.proj")
SDXL_BLOCKS = {
    "resnets": "input_blocks.1.0 input_blocks.2.0 input_blocks.4.0 input_blocks.5.0 input_blocks.7.0 input_blocks.8.0 "
    "middle_block.0 middle_block.2 output_blocks.0.0 output_blocks.1.0 output_blocks.2.0 output_blocks.3.0 "
    "output_blocks.4.0 output_blocks.5.0 output_blocks.6.0 output_blocks.7.0 output_blocks.8.0",
    "attentions": "input_blocks.4.1 input_blocks.5.1 input_blocks.7.1 input_blocks.8.1 middle_block.1 "
    "output_blocks.0.1 output_blocks.1.1 output_blocks.2.1 output_blocks.3.1 output_blocks.4.1 output_blocks.5.1",
    "others": "input_blocks.0.0 input_blocks.3.0.op input_blocks.6.0.op output_blocks.2.2.conv output_blocks.5.2.conv "
    "time_embed.0 time_embed.2 label_emb.0.0 label_emb.0.2 out.0 out.2 input_blocks.4.0.skip_connection",
}


def test_every_layer_of_the_original_sdxl_unet_is_found() -> None:
    """Against diffusers' converter, on a network of SDXL's form."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(32, 64, 128),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 2),  # pyright: ignore[reportArgumentType]
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=64,
            use_linear_projection=True,
        )
    layers = [f"{block}.{name}" for block in SDXL_BLOCKS["resnets"].split() for name in RESNET]
    layers += [f"{block}.{name}" for block in SDXL_BLOCKS["attentions"].split() for name in TRANSFORMER]
    layers += SDXL_BLOCKS["others"].split()
    keys = {f"{layer}.{leaf}": torch.tensor(float(k)) for k, layer in enumerate(layers) for leaf in ("weight", "bias")}
    converted = convert_ldm_unet_checkpoint(
        {f"model.diffusion_model.{key}": value for key, value in keys.items()}, dict(unet.config)
    )
    modules = {int(value): key.rpartition(".")[0] for key, value in converted.items()}
    assert len(modules) == len(layers)
    for number, layer in enumerate(layers):
        assert place("lora_unet_" + layer.replace(".", "_")) == Place("unet", flat_path(modules[number])), layer
        assert list(unet.get_submodule(modules[number]).parameters()), layer


def test_text_encoders_of_both_nestings_have_one_name() -> None:
    assert flat_path("text_model.encoder.layers.0.mlp.fc1") == flat_path("encoder.layers.0.mlp.fc1")
    assert flat_path("text_projection") == "text_projection"
