"""The table of signatures: which tensors, of which shapes, make a file what it is.

A row matches where all its `keys` are there under one of the prefixes that files carry, none of `absent` is, and every
one of `sides` has its length. Rows are tried from the top, so the special comes before the general. Sources, beside the
publishers' own code: diffusers' single_file_utils.py, ComfyUI's model_detection.py, SwarmUI's T2IModelClassSorter.cs,
InvokeAI's configs, spandrel's architectures (names and shapes only).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from backend.model_manager.header import TensorInfo
from backend.model_manager.identity import Kind

PREFIXES = ("", "model.diffusion_model.", "diffusion_model.", "model.", "net.", "transformer.")


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One row. `title` is what a person reads; `sides` are (key, axis, length)."""

    kind: Kind
    title: str
    keys: tuple[str, ...]
    family: str = ""
    variant: str = ""
    absent: tuple[str, ...] = ()
    sides: tuple[tuple[str, int, int], ...] = ()

    def matches(self, tensors: Mapping[str, TensorInfo], prefixes: tuple[str, ...] = PREFIXES) -> bool:
        """Whether a file of these tensors is this."""
        first = self.keys[0]  # most files are none of most rows, and lack that already
        return any(prefix + first in tensors and self._matches(tensors, prefix) for prefix in prefixes)

    def _matches(self, tensors: Mapping[str, TensorInfo], prefix: str) -> bool:
        return (
            all(prefix + key in tensors for key in self.keys)
            and not any(prefix + key in tensors for key in self.absent)
            and all(_side(tensors, prefix + key, axis) == length for key, axis, length in self.sides)
        )


def first_match(
    rows: Iterable[Signature], tensors: Mapping[str, TensorInfo], prefixes: tuple[str, ...] = PREFIXES
) -> Signature | None:
    """The first of the rows that a file of these tensors is, nothing if it is none."""
    return next((row for row in rows if row.matches(tensors, prefixes)), None)


def _side(tensors: Mapping[str, TensorInfo], key: str, axis: int) -> int | None:
    shape = tensors[key].shape if key in tensors else ()
    return shape[axis] if axis < len(shape) else None


def _checkpoint(family: str, title: str, *keys: str, variant: str = "", **rest: tuple) -> Signature:
    return Signature(kind=Kind.CHECKPOINT, family=family, variant=variant, title=title, keys=keys, **rest)


def _upscaler(title: str, *keys: str) -> Signature:
    return Signature(kind=Kind.UPSCALER, title=f"{title} upscaler", keys=keys)


_FLUX = ("double_blocks.0.img_attn.norm.key_norm.scale", "img_in.weight")
_FLUX_DIFFUSERS = ("single_transformer_blocks.0.proj_mlp.weight", "x_embedder.weight")
_GUIDANCE = "time_text_embed.guidance_embedder.linear_1.weight"
_SD3, _SD3_DIFFUSERS = (
    "joint_blocks.0.context_block.attn.qkv.weight",
    "transformer_blocks.0.norm1_context.linear.weight",
)

# Transformers in place of a U-Net: known by name.
TRANSFORMERS = (
    _checkpoint("flux3", "FLUX.3", "early_stream_modulations.image.lin.weight"),
    _checkpoint("flux2", "FLUX.2", "single_stream_modulation.lin.weight"),
    _checkpoint("flux2", "FLUX.2", "single_stream_modulation.linear.weight"),
    _checkpoint("chroma", "Chroma", "distilled_guidance_layer.in_proj.weight"),
    _checkpoint("flux1", "FLUX.1 Fill", *_FLUX, variant="inpainting", sides=(("img_in.weight", 1, 384),)),
    _checkpoint("flux1", "FLUX.1 Depth or Canny", *_FLUX, variant="control", sides=(("img_in.weight", 1, 128),)),
    _checkpoint("flux1", "FLUX.1 dev", *_FLUX, "guidance_in.in_layer.bias", variant="dev"),
    _checkpoint("flux1", "FLUX.1 schnell", *_FLUX, variant="schnell"),
    _checkpoint("flux1", "FLUX.1 dev", *_FLUX_DIFFUSERS, _GUIDANCE, variant="dev"),
    _checkpoint("flux1", "FLUX.1 schnell", *_FLUX_DIFFUSERS, variant="schnell"),
    _checkpoint("sd3", "SD 3.5 Large", _SD3, "joint_blocks.37.x_block.mlp.fc1.weight", variant="3.5-large"),
    _checkpoint("sd3", "SD 3.5 Medium", _SD3, "joint_blocks.0.x_block.attn2.qkv.weight", variant="3.5-medium"),
    _checkpoint("sd3", "SD 3", _SD3),
    _checkpoint("auraflow", "AuraFlow", "double_layers.0.attn.w1q.weight", "cond_seq_linear.weight"),
    _checkpoint("auraflow", "AuraFlow", "joint_transformer_blocks.0.attn.add_k_proj.weight"),
    _checkpoint("hidream", "HiDream", "double_stream_blocks.0.block.adaLN_modulation.1.bias"),
    _checkpoint("z-image", "Z-Image", "cap_embedder.1.weight", "layers.0.adaLN_modulation.0.weight"),
    _checkpoint("lumina2", "Lumina Image 2.0", "cap_embedder.1.weight", "layers.0.adaLN_modulation.1.weight"),
    _checkpoint("lumina2", "Lumina Image 2.0", "time_caption_embed.caption_embedder.0.weight", "x_embedder.weight"),
    _checkpoint(
        "qwen-image", "Qwen-Image", "txt_norm.weight", "img_in.weight", "transformer_blocks.0.img_mod.1.weight"
    ),
    _checkpoint("qwen-image", "Qwen-Image 2.1", "txt_in.text_norm.weight", variant="2.1"),
    _checkpoint("krea2", "Krea 2", "txtfusion.projector.weight"),
    _checkpoint("sana", "Sana", "attention_y_norm.weight", "blocks.0.cross_attn.q_linear.weight"),
    _checkpoint(
        "sana", "Sana", "caption_norm.weight", "patch_embed.proj.weight", "transformer_blocks.0.attn1.to_q.weight"
    ),
    _checkpoint("pixart", "PixArt", "t_block.1.weight", "blocks.0.cross_attn.kv_linear.weight"),
    _checkpoint(
        "pixart", "PixArt", "adaln_single.linear.weight", "pos_embed.proj.weight", "caption_projection.linear_1.weight"
    ),
    _checkpoint("hunyuan-video", "Hunyuan Video", "txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias"),
    _checkpoint("hunyuan-video", "Hunyuan Video", "context_embedder.token_refiner.refiner_blocks.0.norm1.weight"),
    _checkpoint("hunyuan-dit", "Hunyuan-DiT", "mlp_t5.0.weight"),
    _checkpoint("hunyuan-dit", "Hunyuan-DiT", "text_embedder.linear_1.weight", "time_extra_emb.pooler.k_proj.weight"),
    _checkpoint("anima", "Anima", "llm_adapter.embed.weight", "blocks.0.adaln_modulation_cross_attn.1.weight"),
    _checkpoint("cosmos", "Cosmos Predict 2", "blocks.0.adaln_modulation_cross_attn.1.weight", variant="predict-2"),
    _checkpoint("cosmos", "Cosmos", "blocks.block0.blocks.0.adaLN_modulation.1.weight"),
    _checkpoint("cosmos", "Cosmos", "time_embed.t_embedder.linear_1.weight", "norm_out.linear_1.weight"),
    _checkpoint("wan", "Wan", "head.modulation", "patch_embedding.weight"),
    _checkpoint("wan", "Wan", "condition_embedder.time_embedder.linear_1.weight", "patch_embedding.weight"),
    _checkpoint("ltx-video", "LTX-Video", "patchify_proj.weight", "adaln_single.emb.timestep_embedder.linear_1.bias"),
    _checkpoint(
        "ltx-video",
        "LTX-Video",
        "time_embed.emb.timestep_embedder.linear_1.weight",
        "proj_in.weight",
        "scale_shift_table",
    ),
    _checkpoint("mochi", "Mochi", "t5_yproj.weight"),
    _checkpoint("mochi", "Mochi", "time_embed.pooler.to_kv.weight"),
    _checkpoint("sd3", "SD 3", _SD3_DIFFUSERS, "pos_embed.proj.weight", "transformer_blocks.0.attn.add_q_proj.weight"),
    _checkpoint("cascade", "Stable Cascade, stage C", "clip_txt_mapper.weight", "clf.1.weight", variant="stage-c"),
    _checkpoint("cascade", "Stable Cascade, stage B", "clip_mapper.weight", "clf.1.weight", variant="stage-b"),
)


def _control(family: str, title: str, *keys: str, variant: str = "") -> Signature:
    return Signature(kind=Kind.CONTROLNET, family=family, variant=variant, title=f"ControlNet for {title}", keys=keys)


# Networks beside a checkpoint; those of Stable Diffusion get their family from their U-Net's half.
BESIDE = (
    _control("", "Stable Diffusion", "lora_controlnet", variant="control-lora"),
    _control("", "Stable Diffusion", "control_model.input_hint_block.0.weight", "control_model.zero_convs.0.0.weight"),
    _control("", "Stable Diffusion", "input_hint_block.0.weight", "zero_convs.0.0.weight"),
    _control("", "Stable Diffusion", "controlnet_cond_embedding.conv_in.weight", "task_embedding", variant="union"),
    _control("", "Stable Diffusion", "controlnet_cond_embedding.conv_in.weight", "controlnet_down_blocks.0.weight"),
    _control("sd3", "SD 3", "pos_embed_input.proj.weight", "controlnet_blocks.0.weight"),
    _control("flux1", "FLUX.1", "controlnet_x_embedder.weight", "controlnet_blocks.0.weight"),
    _control("flux1", "FLUX.1", "controlnet_blocks.0.weight", "double_blocks.0.img_attn.norm.key_norm.scale"),
    _control("z-image", "Z-Image", "control_all_x_embedder.2-1.weight"),
    Signature(
        kind=Kind.IP_ADAPTER,
        family="flux1",
        title="IP-Adapter for FLUX.1",
        keys=("ip_adapter_proj_model.proj.weight",),
    ),
    Signature(kind=Kind.IP_ADAPTER, title="IP-Adapter", keys=("ip_adapter.1.to_k_ip.weight",)),
    Signature(kind=Kind.T2I_ADAPTER, title="T2I-Adapter", keys=("adapter.body.0.resnets.0.block1.weight",)),
    Signature(kind=Kind.T2I_ADAPTER, title="T2I-Adapter", keys=("body.0.block1.weight", "conv_in.weight")),
    Signature(kind=Kind.T2I_ADAPTER, title="T2I-Adapter", keys=("body.0.in_conv.weight",)),
)

UPSCALERS = (
    _upscaler("GFPGAN", "toRGB.0.weight", "stylegan_decoder.style_mlp.1.weight"),
    _upscaler("CodeFormer", "position_emb", "idx_pred_layer.1.weight", "quantize.embedding.weight"),
    _upscaler("ESRGAN", "model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"),
    _upscaler("ESRGAN+", "model.0.weight", "model.1.sub.0.RDB1.conv1x1.weight"),
    _upscaler("ESRGAN", "conv_first.weight", "body.0.rdb1.conv1.weight"),
    _upscaler("ESRGAN", "conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight"),
    _upscaler("HAT", "layers.0.residual_group.blocks.0.conv_block.cab.0.weight", "conv_first.weight"),
    _upscaler("ATD", "layers.0.residual_group.td", "conv_first.weight"),
    _upscaler("SRFormer", "layers.0.residual_group.blocks.0.attn.aligned_relative_position_index"),
    _upscaler("CRAFT", "layers.0.residual_group.hf_blocks.0.attn.temperature", "conv_first.weight"),
    _upscaler("Swin2SR", "layers.0.residual_group.blocks.0.attn.relative_position_index", "patch_embed.proj.weight"),
    _upscaler("SwinIR", "layers.0.residual_group.blocks.0.attn.relative_position_index"),
    _upscaler("DRCT", "layers.0.swin1.norm1.weight", "conv_first.weight"),
    _upscaler("RGT", "layers.0.blocks.0.gamma", "before_RG.1.weight"),
    _upscaler("DAT", "layers.0.blocks.0.attn.attns.0.rpe_biases", "before_RG.1.weight"),
    _upscaler("GRL", "layers.0.blocks.0.attn.window_attn.attn_transform.logit_scale", "conv_first.weight"),
    _upscaler("OmniSR", "residual_layer.0.residual_layer.0.layer.0.fn.0.weight", "up.0.weight"),
    _upscaler("PLKSR", "feats.0.weight", "feats.1.lk.conv.weight"),
    _upscaler("PLKSR", "feats.0.weight", "feats.1.lk.convs.0.weight"),
    _upscaler("SAFMN", "to_feat.weight", "feats.0.safm.aggr.weight"),
    _upscaler("SPAN", "block_1.c1_r.sk.weight", "upsampler.0.weight"),
    _upscaler("FDAT", "groups.0.blocks.0.attn.bias", "upsampler.MetaUpsample"),
    _upscaler("MoSR", "gblocks.0.weight", "gblocks.1.fc1.weight"),
    _upscaler("RealCUGAN", "unet1.conv1.conv.0.weight", "unet2.conv1.conv.0.weight"),
    _upscaler("RCAN", "body.0.body.0.body.3.conv_du.0.weight", "tail.1.weight"),
    _upscaler("DITN", "sft.weight", "UFONE.0.ITLs.0.attn.temperature"),
    _upscaler("SCUNet", "m_head.0.weight", "m_tail.0.weight"),
    _upscaler("Swift-SRGAN", "initial.cnn.depthwise.weight", "final_conv.pointwise.weight"),
    _upscaler("AuraSR", "mid_attn.layers.0.0.to_out.weight", "final_res_block.block1.proj.weights"),
    _upscaler("Real-ESRGAN Compact", "body.0.weight", "body.1.weight", "body.2.weight"),
)


def _text(title: str, *keys: str) -> Signature:
    return Signature(kind=Kind.TEXT_ENCODER, title=title, keys=keys)


def _other(title: str, *keys: str) -> Signature:
    return Signature(kind=Kind.UNKNOWN, title=title, keys=keys)


_CLIP = "text_model.embeddings.token_embedding.weight"
SMALL = (
    Signature(kind=Kind.TEXT_ENCODER, title="CLIP-L text encoder", keys=(_CLIP,), sides=((_CLIP, 1, 768),)),
    Signature(kind=Kind.TEXT_ENCODER, title="OpenCLIP-bigG text encoder", keys=(_CLIP,), sides=((_CLIP, 1, 1280),)),
    _text("CLIP text encoder", _CLIP),
    _text("OpenCLIP text encoder", "token_embedding.weight", "transformer.resblocks.0.attn.in_proj_weight"),
    _text("T5 text encoder", "encoder.block.0.layer.0.SelfAttention.q.weight"),
    _text("Qwen-VL text encoder", "visual.blocks.0.attn.proj.bias", "model.layers.0.self_attn.q_proj.weight"),
    _text("Language model", "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"),
    _other("CLIP image encoder", "vision_model.embeddings.patch_embedding.weight"),
    _other("AnimateDiff motion module", "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"),
)
