"""The layouts of Stable Diffusion's single files: every tensor's name and shape, from a published yaml's dimensions.

After CompVis' and Stability's openaimodel.py and model.py, open_clip's and transformers' text models. `write.py` holds
what is said here against the networks that diffusers, transformers and open_clip make of the same dimensions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

Leaves = dict[str, str]
UNET, VAE = "model.diffusion_model.", "first_stage_model."
SCHEDULE = (
    *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"),
    *("log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod"),
    *("posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2"),
)


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """`unet_config` of a published yaml. `depth_in` and `depth_out` are transformer blocks per level and layer, the
    latter in the order of `output_blocks`; `depth_middle` is -1 where the middle is one residual block."""

    in_channels: int = 4
    model_channels: int = 320
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    depth_in: tuple[int, ...] = (1, 1, 1, 1, 1, 1, 0, 0)
    depth_out: tuple[int, ...] = (0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    depth_middle: int = 1
    context_dim: int = 768
    linear: bool = False
    adm_in_channels: int = 0
    classes: int = 0
    cross_only: tuple[bool, ...] = (False, False, False, False)


def weights(name: str, *shape: int, bias: bool = True) -> Iterator[tuple[str, str]]:
    yield f"{name}.weight", ",".join(map(str, shape))
    if bias:
        yield f"{name}.bias", str(shape[0])


def norm(name: str, width: int) -> Iterator[tuple[str, str]]:
    return weights(name, width)


def residual(name: str, channels: int, out: int, embedding: int) -> Iterator[tuple[str, str]]:
    yield from norm(f"{name}.in_layers.0", channels)
    yield from weights(f"{name}.in_layers.2", out, channels, 3, 3)
    yield from weights(f"{name}.emb_layers.1", out, embedding)
    yield from norm(f"{name}.out_layers.0", out)
    yield from weights(f"{name}.out_layers.3", out, out, 3, 3)
    if channels != out:
        yield from weights(f"{name}.skip_connection", out, channels, 1, 1)


def transformer(
    name: str, width: int, depth: int, config: UNetConfig, cross_only: bool = False
) -> Iterator[tuple[str, str]]:
    kernel = () if config.linear else (1, 1)
    yield from norm(f"{name}.norm", width)
    yield from weights(f"{name}.proj_in", width, width, *kernel)
    for index in range(depth):
        block = f"{name}.transformer_blocks.{index}"
        for attention, context in (
            ("attn1", config.context_dim if cross_only else width),
            ("attn2", config.context_dim),
        ):
            yield from weights(f"{block}.{attention}.to_q", width, width, bias=False)
            yield from weights(f"{block}.{attention}.to_k", width, context, bias=False)
            yield from weights(f"{block}.{attention}.to_v", width, context, bias=False)
            yield from weights(f"{block}.{attention}.to_out.0", width, width)
        yield from weights(f"{block}.ff.net.0.proj", 8 * width, width)
        yield from weights(f"{block}.ff.net.2", width, 4 * width)
        for number in (1, 2, 3):
            yield from norm(f"{block}.norm{number}", width)
    yield from weights(f"{name}.proj_out", width, width, *kernel)


def unet(config: UNetConfig, prefix: str = UNET) -> Leaves:
    """ldm/modules/diffusionmodules/openaimodel.py (and sgm's), two residual blocks to a level."""
    first = config.model_channels
    embedding = 4 * first
    found = [*weights("time_embed.0", embedding, first), *weights("time_embed.2", embedding, embedding)]
    if config.adm_in_channels:
        found += weights("label_emb.0.0", embedding, config.adm_in_channels)
        found += weights("label_emb.0.2", embedding, embedding)
    if config.classes:
        found += weights("label_emb", config.classes, embedding, bias=False)
    found += weights("input_blocks.0.0", first, config.in_channels, 3, 3)
    depths_in, depths_out = iter(config.depth_in), iter(config.depth_out)
    channels, block, skips = first, 0, [first]
    for level, multiple in enumerate(config.channel_mult):
        for _ in range(2):
            block, width = block + 1, first * multiple
            found += residual(f"input_blocks.{block}.0", channels, width, embedding)
            if depth := next(depths_in):
                found += transformer(f"input_blocks.{block}.1", width, depth, config, config.cross_only[level])
            channels = width
            skips.append(channels)
        if level < len(config.channel_mult) - 1:
            block += 1
            found += weights(f"input_blocks.{block}.0.op", channels, channels, 3, 3)
            skips.append(channels)
    found += residual("middle_block.0", channels, channels, embedding)
    if config.depth_middle >= 0:
        found += transformer("middle_block.1", channels, config.depth_middle, config)
        found += residual("middle_block.2", channels, channels, embedding)
    block = 0
    for level, multiple in reversed([*enumerate(config.channel_mult)]):
        for layer in range(3):
            width, depth = first * multiple, next(depths_out)
            found += residual(f"output_blocks.{block}.0", channels + skips.pop(), width, embedding)
            if depth:
                found += transformer(f"output_blocks.{block}.1", width, depth, config, config.cross_only[level])
            if level and layer == 2:
                found += weights(f"output_blocks.{block}.{2 if depth else 1}.conv", width, width, 3, 3)
            channels, block = width, block + 1
    found += [*norm("out.0", first), *weights("out.2", 4, first, 3, 3)]
    return {prefix + name: leaf for name, leaf in found}


def vae_block(name: str, channels: int, out: int) -> Iterator[tuple[str, str]]:
    yield from norm(f"{name}.norm1", channels)
    yield from weights(f"{name}.conv1", out, channels, 3, 3)
    yield from norm(f"{name}.norm2", out)
    yield from weights(f"{name}.conv2", out, out, 3, 3)
    if channels != out:
        yield from weights(f"{name}.nin_shortcut", out, channels, 1, 1)


def vae_middle(name: str, width: int) -> Iterator[tuple[str, str]]:
    yield from vae_block(f"{name}.block_1", width, width)
    yield from norm(f"{name}.attn_1.norm", width)
    for projection in ("q", "k", "v", "proj_out"):
        yield from weights(f"{name}.attn_1.{projection}", width, width, 1, 1)
    yield from vae_block(f"{name}.block_2", width, width)


def vae(prefix: str = VAE, *, latent: int = 4, mult: tuple[int, ...] = (1, 2, 4, 4), quant: bool = True) -> Leaves:
    """ldm/modules/diffusionmodules/model.py with `ch` 128, `num_res_blocks` 2, `double_z`."""
    found = [*weights("encoder.conv_in", 128, 3, 3, 3)]
    channels = 128
    for level, multiple in enumerate(mult):
        for layer in range(2):
            found += vae_block(f"encoder.down.{level}.block.{layer}", channels, 128 * multiple)
            channels = 128 * multiple
        if level < len(mult) - 1:
            found += weights(f"encoder.down.{level}.downsample.conv", channels, channels, 3, 3)
    found += vae_middle("encoder.mid", channels)
    found += [*norm("encoder.norm_out", channels), *weights("encoder.conv_out", 2 * latent, channels, 3, 3)]
    found += [*weights("decoder.conv_in", channels, latent, 3, 3), *vae_middle("decoder.mid", channels)]
    for level, multiple in reversed([*enumerate(mult)]):
        for layer in range(3):
            found += vae_block(f"decoder.up.{level}.block.{layer}", channels, 128 * multiple)
            channels = 128 * multiple
        if level:
            found += weights(f"decoder.up.{level}.upsample.conv", channels, channels, 3, 3)
    found += [*norm("decoder.norm_out", channels), *weights("decoder.conv_out", 3, channels, 3, 3)]
    if quant:
        found += weights("quant_conv", 2 * latent, 2 * latent, 1, 1)
        found += weights("post_quant_conv", latent, latent, 1, 1)
    return {prefix + name: leaf for name, leaf in found}


def clip_l(prefix: str, width: int = 768, layers: int = 12) -> Leaves:
    """transformers' CLIPTextModel as version 4 saved it."""
    found = [
        *weights("embeddings.token_embedding", 49408, width, bias=False),
        *weights("embeddings.position_embedding", 77, width, bias=False),
    ]
    for layer in range(layers):
        name = f"encoder.layers.{layer}"
        for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
            found += weights(f"{name}.self_attn.{projection}", width, width)
        found += [*norm(f"{name}.layer_norm1", width), *norm(f"{name}.layer_norm2", width)]
        found += [*weights(f"{name}.mlp.fc1", 4 * width, width), *weights(f"{name}.mlp.fc2", width, 4 * width)]
    found += norm("final_layer_norm", width)
    return {f"{prefix}text_model.{name}": leaf for name, leaf in found}


def open_clip_text(prefix: str, width: int, layers: int) -> Leaves:
    """open_clip's CLIP without its `visual` half (FrozenOpenCLIPEmbedder deletes that)."""
    found = [("positional_embedding", f"77,{width}"), ("text_projection", f"{width},{width}"), ("logit_scale", "")]
    for layer in range(layers):
        name = f"transformer.resblocks.{layer}"
        found += [*norm(f"{name}.ln_1", width), *norm(f"{name}.ln_2", width)]
        found += [
            (f"{name}.attn.in_proj_weight", f"{3 * width},{width}"),
            (f"{name}.attn.in_proj_bias", f"{3 * width}"),
        ]
        found += weights(f"{name}.attn.out_proj", width, width)
        found += [*weights(f"{name}.mlp.c_fc", 4 * width, width), *weights(f"{name}.mlp.c_proj", width, 4 * width)]
    found += [*weights("token_embedding", 49408, width, bias=False), *norm("ln_final", width)]
    return {prefix + name: leaf for name, leaf in found}
