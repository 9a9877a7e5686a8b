"""Writes stripped headers from published configurations: `python -m tests.headers.write`.

Names and shapes come from `layouts.py`, or from diffusers' own networks on the meta device; those of `layouts.py` are
first held against what diffusers, transformers and open_clip make of the same dimensions. Nothing that identifies files
is used.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import open_clip
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from diffusers.models.adapter import T2IAdapter
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from tests.headers.adapters import attention_layers, convolutions, flat, trained
from tests.headers.folding import FOLDER, fold
from tests.headers.layouts import SCHEDULE, UNET, Leaves, UNetConfig, clip_l, open_clip_text, unet, vae

COMPVIS, STABILITY = "CompVis/stable-diffusion", "Stability-AI/stablediffusion"
SGM = "Stability-AI/generative-models"
COND, CONDITIONER = "cond_stage_model.", "conditioner.embedders."
SD1 = UNetConfig()
SD2 = replace(SD1, context_dim=1024, linear=True)
SDXL = UNetConfig(
    channel_mult=(1, 2, 4),
    depth_in=(0, 0, 2, 2, 10, 10),
    depth_out=(10, 10, 10, 2, 2, 2, 0, 0, 0),
    depth_middle=10,
    context_dim=2048,
    linear=True,
    adm_in_channels=2816,
)
REFINER = UNetConfig(
    model_channels=384,
    depth_in=(0, 0, 4, 4, 4, 4, 0, 0),
    depth_out=(0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0),
    depth_middle=4,
    context_dim=1280,
    linear=True,
    adm_in_channels=2560,
)
SSD = replace(SDXL, depth_in=(0, 0, 2, 2, 4, 4), depth_out=(4, 4, 10, 2, 1, 1, 0, 0, 0), depth_middle=-1)
VEGA = replace(SDXL, depth_in=(0, 0, 1, 1, 2, 2), depth_out=(2, 2, 2, 1, 1, 1, 0, 0, 0), depth_middle=-1)
UPSCALER = replace(
    SD2,
    in_channels=7,
    model_channels=256,
    channel_mult=(1, 2, 2, 4),
    depth_in=(0, 0, 1, 1, 1, 1, 1, 1),
    depth_out=(1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0),
    classes=1000,
    cross_only=(True, True, True, False),
)
CLIP_H = open_clip_text(f"{COND}model.", 1024, 24)
CLIP_L_XL = clip_l(f"{CONDITIONER}0.transformer.")
CLIP_G = open_clip_text(f"{CONDITIONER}1.model.", 1280, 32)
CLIP_G_REFINER = open_clip_text(f"{CONDITIONER}0.model.", 1280, 32)
POSITIONS = {f"{COND}transformer.text_model.embeddings.position_ids": "I64 1,77"}
# DPT's published state dict (isl-org/MiDaS, dpt_hybrid): one of each part of its head, the rest is a ViT.
DEPTH_MODEL = {
    "depth_model.model.pretrained.act_postprocess3.0.project.0.weight": "768,1536",
    "depth_model.model.pretrained.act_postprocess3.0.project.0.bias": "768",
    "depth_model.model.scratch.layer1_rn.weight": "256,256,3,3",
    "depth_model.model.scratch.output_conv.0.weight": "128,256,3,3",
}


def schedule(names: tuple[str, ...] = SCHEDULE) -> Leaves:
    return dict.fromkeys(names, "F32 1000")


def first_convolution(channels: int, width: int = 320) -> Leaves:
    return {f"{UNET}input_blocks.0.0.weight": f"{width},{channels},3,3"}


def checkpoints() -> Mapping[str, dict[str, Any]]:
    """Name -> where it is published, what it is like, its tensors or those that differ."""
    vpred = {"v_pred": "F32 0", "ztsnr": "F32 0"}
    return {
        "sd1": kept(
            f"{COMPVIS} configs/stable-diffusion/v1-inference.yaml (v1-5-pruned-emaonly.safetensors)",
            schedule() | unet(SD1) | vae() | clip_l(f"{COND}transformer.") | POSITIONS,
            dtype="F32",
        ),
        "sd1-inpainting": kept("runwayml/stable-diffusion v1-inpainting-inference.yaml", first_convolution(9), "sd1"),
        "sd1-instruct-pix2pix": kept("timbrooks/instruct-pix2pix configs/generate.yaml", first_convolution(8), "sd1"),
        "sd1-unet": kept(f"{COMPVIS} v1-inference.yaml, its unet_config alone", unet(SD1)),
        "sd2": kept(
            f"{STABILITY} v2-inference-v.yaml (v2-1_768-ema-pruned; v2-inference.yaml's 512-base-ema is alike)",
            schedule() | unet(SD2) | vae() | CLIP_H,
            dtype="F32",
        ),
        "sd2-inpainting": kept(f"{STABILITY} v2-inpainting-inference.yaml", first_convolution(9), "sd2"),
        "sd2-depth": kept(f"{STABILITY} v2-midas-inference.yaml", first_convolution(5) | DEPTH_MODEL, "sd2"),
        "sd2-unclip": kept(
            f"{STABILITY} v2-1-stable-unclip-h-inference.yaml",
            unet(replace(SD2, adm_in_channels=2048))
            | vae()
            | CLIP_H
            | {"embedder.model.visual.transformer.resblocks.0.attn.in_proj_weight": "3840,1280"},
        ),
        "sd2-x4-upscaler": kept(
            f"{STABILITY} x4-upscaling.yaml",
            unet(UPSCALER) | vae(mult=(1, 2, 4)) | CLIP_H | {"low_scale_model.betas": "F32 1000"},
        ),
        "sd2-turbo": kept(
            "stabilityai/sd-turbo (sd_turbo.safetensors): sd_2_1.yaml's networks under sgm's names",
            unet(SD2) | vae() | open_clip_text(f"{CONDITIONER}0.model.", 1024, 24) | {"denoiser.sigmas": "F32 1000"},
        ),
        "sdxl": kept(
            f"{SGM} configs/inference/sd_xl_base.yaml",
            unet(SDXL) | vae() | CLIP_L_XL | CLIP_G | schedule(("denoiser.sigmas",)),
        ),
        "sdxl-inpainting": kept("diffusers/stable-diffusion-xl-1.0-inpainting-0.1", first_convolution(9), "sdxl"),
        "sdxl-instruct-pix2pix": kept("diffusers/sdxl-instructpix2pix-768", first_convolution(8), "sdxl"),
        "sdxl-v": kept("Laxhar/noobai-XL-Vpred-1.0: two empty tensors mark it", vpred, "sdxl"),
        "sdxl-playground": kept(
            "playgroundai/playground-v2.5-1024px-aesthetic",
            {"edm_mean": "F32 1,4,1,1", "edm_std": "F32 1,4,1,1"},
            "sdxl",
        ),
        "sdxl-cosxl": kept("stabilityai/cosxl", {"edm_vpred.sigma_max": "F32 ", "edm_vpred.sigma_min": "F32 "}, "sdxl"),
        "sdxl-unet": kept(f"{SGM} sd_xl_base.yaml, its network_config alone, without a prefix", unet(SDXL, "")),
        "sdxl-ssd-1b": kept(
            "segmind/SSD-1B unet/config.json (SSD-1B-A1111.safetensors)", unet(SSD) | vae() | CLIP_L_XL | CLIP_G
        ),
        "sdxl-vega": kept("segmind/Segmind-Vega unet/config.json", unet(VEGA) | vae() | CLIP_L_XL | CLIP_G),
        "sdxl-refiner": kept(f"{SGM} configs/inference/sd_xl_refiner.yaml", unet(REFINER) | vae() | CLIP_G_REFINER),
        "vae-sd": kept(f"{COMPVIS} first_stage_config (stabilityai/sd-vae-ft-mse-original)", vae("")),
        "vae-flux1": kept(
            "black-forest-labs/flux src/flux/util.py AutoEncoderParams (ae.safetensors)",
            vae("", latent=16, quant=False),
        ),
        "vae-flux2": kept(
            "black-forest-labs/flux2 AutoEncoderParams (flux2-vae.safetensors)",
            vae("", latent=32) | {"bn.running_mean": "128", "bn.running_var": "128", "bn.num_batches_tracked": "I64 "},
        ),
    }


def kept(source: str, tensors: Leaves, like: str = "", dtype: str = "F16") -> dict[str, Any]:
    origin = {"like": like} if like else {}
    return {"source": source, "dtype": dtype, **origin, "tensors": fold(tensors)}


def leaves(network: nn.Module, prefix: str = "") -> Leaves:
    return {prefix + name: ",".join(map(str, tensor.shape)) for name, tensor in network.state_dict().items()}


def diffusers_unet(config: UNetConfig) -> UNet2DConditionModel:
    """The UNet as its diffusers folder configures it."""
    levels = len(config.channel_mult)
    depths = [config.depth_in[2 * level] for level in range(levels)]
    widths = tuple(config.model_channels * multiple for multiple in config.channel_mult)
    up = list(reversed(["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in depths]))
    with torch.device("meta"):
        return UNet2DConditionModel(
            in_channels=config.in_channels,
            block_out_channels=widths,
            down_block_types=tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths),
            up_block_types=tuple(up),
            # Every level wants a number; the last one's is also the middle's.
            transformer_layers_per_block=(*(max(depth, 1) for depth in depths[:-1]), max(depths[-2:])),  # pyright: ignore[reportArgumentType]
            cross_attention_dim=config.context_dim,
            use_linear_projection=config.linear,
            attention_head_dim=tuple(width // 64 for width in widths) if config.linear else 8,  # pyright: ignore[reportArgumentType]
            addition_embed_type="text_time" if config.adm_in_channels else None,
            addition_time_embed_dim=256 if config.adm_in_channels else None,
            projection_class_embeddings_input_dim=config.adm_in_channels or None,
        )


def check() -> None:
    """The layouts, turned by diffusers' converters, must be exactly the networks' own tensors."""
    for config in (SD1, SD2, SDXL, REFINER, replace(SD1, in_channels=9)):
        network = diffusers_unet(config)
        ours = {name: torch.empty(shape_of(leaf), device="meta") for name, leaf in unet(config).items()}
        same(leaves(network), convert_ldm_unet_checkpoint(ours, dict(network.config)))
    for levels in (3, 4):
        mult = (1, 2, 4, 4)[:levels]
        with torch.device("meta"):
            network = AutoencoderKL(
                block_out_channels=tuple(128 * multiple for multiple in mult),  # pyright: ignore[reportArgumentType]
                down_block_types=("DownEncoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
                up_block_types=("UpDecoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
                layers_per_block=2,
            )
        ours = {name: torch.empty(shape_of(leaf), device="meta") for name, leaf in vae(mult=mult).items()}
        same(leaves(network), convert_ldm_vae_checkpoint(ours, dict(network.config)))
    with torch.device("meta"):
        text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12))
    own = {name.removeprefix("text_model."): leaf for name, leaf in leaves(text).items()}
    assert own == {name.removeprefix("text_model."): leaf for name, leaf in clip_l("").items()}
    for name, width, layers in (("ViT-H-14", 1024, 24), ("ViT-bigG-14", 1280, 32)):
        config = open_clip.get_model_config(name)
        assert config is not None
        with torch.device("meta"):
            network = open_clip.CLIP(**config)
        theirs = {key: leaf for key, leaf in leaves(network).items() if not key.startswith("visual.")}
        assert theirs == open_clip_text("", width, layers), name


def shape_of(leaf: str) -> tuple[int, ...]:
    return tuple(int(side) for side in leaf.split(",") if side)


def same(theirs: Leaves, converted: Mapping[str, torch.Tensor]) -> None:
    ours = {name: ",".join(map(str, tensor.shape)) for name, tensor in converted.items()}
    assert ours == theirs, sorted(set(ours.items()) ^ set(theirs.items()))[:6]


def adapters() -> Mapping[str, dict[str, Any]]:
    """LoRAs and their kin for Stable Diffusion, as the trainers name them."""
    sd1, sd2 = (leaves(diffusers_unet(config)) for config in (SD1, SD2))
    attention, second = attention_layers(sd1), attention_layers(sd2)
    text = flat("lora_te_", attention_layers(clip_l("")))
    unet1, unet2 = flat("lora_unet_", attention), flat("lora_unet_", second)
    xl = flat("lora_unet_", attention_layers(unet(SDXL, "")))
    texts = flat("lora_te1_", attention_layers(clip_l(""))) | flat("lora_te2_", attention_layers(clip_l("", 1280, 32)))
    kohya, lycoris, peft = (
        "kohya-ss/sd-scripts networks/lora.py",
        "KohakuBlueleaf/LyCORIS",
        "diffusers train_dreambooth_lora",
    )
    in_pipeline = {f"unet.{name}": shape for name, shape in attention.items() if ".to_" in name}
    in_pipeline_xl = {f"unet.{n}": s for n, s in attention_layers(leaves(diffusers_unet(SDXL))).items() if ".to_" in n}
    cross = {name: shape for name, shape in unet1.items() if "attn" in name}
    kinds = ("loha", "lokr", "dora", "oft", "boft", "glora", "ia3", "full")
    xlarge = flat("lora_unet_", attention_layers(leaves(diffusers_unet(SDXL))))
    found = {
        "lora-sd1": kept(kohya, trained("lora", unet1 | text)),
        "lora-sd1-locon": kept(f"{kohya}, conv_dim", trained("lora", unet1 | flat("lora_unet_", convolutions(sd1)))),
        "lora-sd2": kept(kohya, trained("lora", unet2 | flat("lora_te_", attention_layers(clip_l("", 1024, 23))))),
        "lora-sdxl": kept(kohya, trained("lora", xl | texts, 8)),
        "lora-sdxl-diffusers-blocks": kept("OneTrainer: kohya's endings, diffusers' blocks", trained("lora", xlarge)),
        "lora-sd1-peft": kept(peft, trained("peft", in_pipeline, 4)),
        "lora-sdxl-peft": kept(f"{peft}_sdxl", trained("peft", in_pipeline_xl, 4)),
        "lora-sd1-peft-dora": kept("huggingface/peft use_dora", trained("peft-dora", in_pipeline, 4)),
        "lora-sd1-diffusers-old": kept("diffusers 0.20", trained("diffusers-old", in_pipeline, 4)),
        "lora-sd1-text-only": kept(kohya, trained("lora", text)),
        "lora-sd2-text-only": kept(kohya, trained("lora", flat("lora_te_", attention_layers(clip_l("", 1024, 23))))),
        "lora-starter": kept(f"{kohya}, for a checkpoint of context 64", starter_lora()),
    }
    return found | {f"lora-sd1-{kind}": kept(lycoris, trained(kind, cross)) for kind in kinds}


def starter_lora() -> Leaves:
    """A LoRA for a narrow SD 1.x: only the dimensions differ."""
    narrow = replace(SD1, model_channels=64, context_dim=64, channel_mult=(1, 2, 2, 2))
    return trained("lora", flat("lora_unet_", attention_layers(leaves(diffusers_unet(narrow)))), 4)


# Module, class, and what differs from the class's own defaults, which are the published configuration; two blocks of
# each kind stand for all.
NETWORKS: Mapping[str, tuple[str, str, dict[str, Any], str]] = {
    "auraflow": ("auraflow_transformer_2d", "AuraFlowTransformer2DModel", {}, "fal/AuraFlow"),
    "chroma": ("transformer_chroma", "ChromaTransformer2DModel", {}, "lodestones/Chroma1-HD"),
    "cosmos": ("transformer_cosmos", "CosmosTransformer3DModel", {}, "nvidia/Cosmos-1.0-Diffusion-7B-Text2World"),
    "flux1": ("transformer_flux", "FluxTransformer2DModel", {"guidance_embeds": True}, "black-forest-labs/FLUX.1-dev"),
    "flux2": ("transformer_flux2", "Flux2Transformer2DModel", {}, "black-forest-labs/FLUX.2-dev"),
    "hidream": ("transformer_hidream_image", "HiDreamImageTransformer2DModel", {
        "num_routed_experts": 4, "num_activated_experts": 2, "caption_channels": [4096, 4096],
        "text_emb_dim": 2048, "num_attention_heads": 20, "attention_head_dim": 128, "llama_layers": [0, 1],
        "patch_size": 2, "in_channels": 16, "axes_dims_rope": (64, 32, 32), "max_resolution": (128, 128),
    }, "HiDream-ai/HiDream-I1-Dev"),
    "hunyuan-dit": ("hunyuan_transformer_2d", "HunyuanDiT2DModel", {
        "hidden_size": 1408, "sample_size": 128, "mlp_ratio": 4.3637, "patch_size": 2, "in_channels": 4,
    }, "Tencent-Hunyuan/HunyuanDiT"),
    "hunyuan-video": ("transformer_hunyuan_video", "HunyuanVideoTransformer3DModel", {}, "Tencent/HunyuanVideo"),
    "ltx-video": ("transformer_ltx", "LTXVideoTransformer3DModel", {}, "Lightricks/LTX-Video"),
    "lumina2": ("transformer_lumina2", "Lumina2Transformer2DModel", {}, "Alpha-VLLM/Lumina-Image-2.0"),
    "mochi": ("transformer_mochi", "MochiTransformer3DModel", {}, "genmo/mochi-1-preview"),
    "pixart": ("pixart_transformer_2d", "PixArtTransformer2DModel", {
        "caption_channels": 4096, "use_additional_conditions": False,
    }, "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS"),
    "qwen-image": ("transformer_qwenimage", "QwenImageTransformer2DModel", {}, "Qwen/Qwen-Image"),
    "sana": ("sana_transformer", "SanaTransformer2DModel", {}, "Efficient-Large-Model/Sana_1600M_1024px_diffusers"),
    "sd3": ("transformer_sd3", "SD3Transformer2DModel", {
        "num_attention_heads": 24, "caption_projection_dim": 1536, "pos_embed_max_size": 192, "out_channels": 16,
    }, "stabilityai/stable-diffusion-3-medium-diffusers"),
    "wan": ("transformer_wan", "WanTransformer3DModel", {}, "Wan-AI/Wan2.1-T2V-14B-Diffusers"),
    "z-image": ("transformer_z_image", "ZImageTransformer2DModel", {}, "Tongyi-MAI/Z-Image-Turbo"),
}  # fmt: skip


def diffusers_networks() -> Mapping[str, dict[str, Any]]:
    """Files in diffusers' own naming, as they lie in a folder's `unet` or `transformer`."""
    found = {
        f"diffusers-{name}-unet": kept(source, leaves(diffusers_unet(config)))
        for name, config, source in (
            ("sd1", SD1, "runwayml/stable-diffusion-v1-5 unet/config.json"),
            ("sd1-inpainting", replace(SD1, in_channels=9), "runwayml/stable-diffusion-inpainting unet/config.json"),
            ("sd2", SD2, "stabilityai/stable-diffusion-2-1 unet/config.json"),
            ("sdxl", SDXL, "stabilityai/stable-diffusion-xl-base-1.0 unet/config.json"),
            ("sdxl-refiner", REFINER, "stabilityai/stable-diffusion-xl-refiner-1.0 unet/config.json"),
        )
    }
    xl: dict[str, Any] = {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "attention_head_dim": (5, 10, 20),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }
    with torch.device("meta"):
        beside = {
            "controlnet-sd1": ("lllyasviel/control_v11p_sd15_canny", ControlNetModel(cross_attention_dim=768)),
            "controlnet-sdxl": ("diffusers/controlnet-canny-sdxl-1.0", ControlNetModel(**xl)),
            "controlnet-union-sdxl": (
                "xinsir/controlnet-union-sdxl-1.0",
                ControlNetUnionModel(num_control_type=6, **xl),
            ),
            "t2i-adapter-sd1": ("TencentARC/t2iadapter_canny_sd14v1", T2IAdapter(in_channels=1)),
            "t2i-adapter-light": ("TencentARC/t2iadapter_color_sd14v1", T2IAdapter(adapter_type="light_adapter")),
            "t2i-adapter-sdxl": (
                "TencentARC/t2i-adapter-canny-sdxl-1.0",
                T2IAdapter(adapter_type="full_adapter_xl", downscale_factor=16),
            ),
        }
        found |= {f"diffusers-{name}": kept(source, leaves(network)) for name, (source, network) in beside.items()}
        found["diffusers-vae-sd"] = kept(
            "stabilityai/sd-vae-ft-mse config.json",
            leaves(
                AutoencoderKL(
                    block_out_channels=(128, 256, 512, 512),  # pyright: ignore[reportArgumentType]
                    down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
                    up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
                    layers_per_block=2,
                )
            ),
        )
        for name, (module, kind, arguments, source) in NETWORKS.items():
            maker = getattr(import_module(f"diffusers.models.transformers.{module}"), kind)
            few = {key: 2 for key in ("num_layers", "num_single_layers", "num_mmdit_layers", "num_single_dit_layers",
                                      "n_layers", "num_refiner_layers", "n_refiner_layers")
                   if key in maker.__init__.__annotations__}  # fmt: skip
            found[f"diffusers-{name}"] = kept(source, leaves(maker(**few, **arguments)), dtype="BF16")
    return found


def main() -> None:
    check()
    for name, content in {**checkpoints(), **adapters(), **diffusers_networks()}.items():
        text = json.dumps(content, indent=None, separators=(",", ":")) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
