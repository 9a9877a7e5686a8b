"""LoRA files that tests write themselves, with the names that trainers give, and networks to put them on."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from backend.model_manager.lora.lora_file import Lora, read_lora
from tests.checkpoints import tiny_networks

Parts = Mapping[str, Tensor]  # by LyCORIS' own names: ``lora_up.weight``, ``hada_w1_a``, ``alpha`` ...
Layers = Mapping[tuple[str, str], Parts]  # by role and the path of the module in its network

Modules = dict[str, nn.Module]  # networks by role
Weights = dict[str, dict[str, Tensor]]  # by role and parameter name

ATTENTION = r".*attn[12]\.|.*self_attn\."
KOHYA = {"unet": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}
PEFT = {"lora_up.weight": "lora_B.weight", "lora_down.weight": "lora_A.weight", "dora_scale": "lora_magnitude_vector"}


def low_rank(weight: Tensor, rank: int = 4, *, alpha: float | None = 2.0, size: float = 0.1) -> dict[str, Tensor]:
    """Random factors for a matrix or a convolution, the kernel in ``down`` as LoCon has it; `size` is about how large
    the product's numbers are."""
    rows, columns, *kernel = weight.shape
    ones = [1] * len(kernel)
    parts = {
        "lora_up.weight": torch.randn(rows, rank, *ones),
        "lora_down.weight": torch.randn(rank, columns, *kernel) * size,
    }
    return parts if alpha is None else parts | {"alpha": torch.tensor(alpha)}


def random_lora(
    modules: Mapping[str, nn.Module], pattern: str, rank: int = 4, *, alpha: float | None = 2.0
) -> dict[tuple[str, str], dict[str, Tensor]]:
    """Low rank factors for every matrix and convolution whose path matches `pattern` from its start."""
    layers: dict[tuple[str, str], dict[str, Tensor]] = {}
    for role, module in modules.items():
        for path, layer in module.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and re.match(pattern, path):
                layers[role, path] = low_rank(layer.weight, rank, alpha=alpha)
    assert layers, f"no layer is called {pattern}"
    return layers


def kohya(layers: Layers, prefixes: Mapping[str, str] = KOHYA) -> dict[str, Tensor]:
    """Flattened names; the text encoder's path with the outer ``text_model`` that it had when they were made."""
    return {
        f"{prefixes[role]}{nested(role, path).replace('.', '_')}.{part}": tensor
        for (role, path), parts in layers.items()
        for part, tensor in parts.items()
    }


def peft(layers: Layers) -> dict[str, Tensor]:
    """diffusers' names of today; there is no alpha among them."""
    return {
        f"{role}.{nested(role, path)}.{PEFT.get(part, part)}": tensor
        for (role, path), parts in layers.items()
        for part, tensor in parts.items()
        if part != "alpha"
    }


def nested(role: str, path: str) -> str:
    inner = path.removeprefix("text_model.")
    return f"text_model.{inner}" if role.startswith("text_encoder") and inner != "text_projection" else path


def write_lora(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a file as trainers do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Each with memory of its own: the writer refuses tensors that share it.
    save_file(
        {key: tensor.clone().contiguous() for key, tensor in tensors.items()}, path, metadata=dict(metadata or {})
    )
    return path


def clean_of(modules: Mapping[str, nn.Module]) -> Weights:
    """Their weights as a store of components keeps them: tensors, not parameters."""
    return {role: {name: p.detach() for name, p in module.named_parameters()} for role, module in modules.items()}


def snapshot(weights: Mapping[str, Mapping[str, Tensor]]) -> Weights:
    return {role: {name: tensor.clone() for name, tensor in own.items()} for role, own in weights.items()}


def is_clean(modules: Modules, clean: Weights, before: Weights) -> bool:
    """Every parameter is the clean tensor itself, and that is what it was, bit for bit."""
    return all(
        p.data_ptr() == clean[role][name].data_ptr() and torch.equal(p, before[role][name])
        for role, module in modules.items()
        for name, p in module.named_parameters()
    )


def changed(modules: Modules, clean: Weights) -> set[tuple[str, str]]:
    return {
        (role, name)
        for role, module in modules.items()
        for name, p in module.named_parameters()
        if not torch.equal(p, clean[role][name])
    }


def written(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> Lora:
    return read_lora(write_lora(folder / f"{name}.safetensors", tensors))


def sd1_networks(seed: int = 0) -> Modules:
    """SD 1.x's form, as they are when they generate."""
    unet, _, text_encoder = tiny_networks(seed)
    return {"unet": unet.eval().requires_grad_(False), "text_encoder": text_encoder.eval().requires_grad_(False)}


def clip(width: int, layers: int, *, projected: bool) -> nn.Module:
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=width, num_hidden_layers=layers, num_attention_heads=1, vocab_size=8,
        projection_dim=width,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).requires_grad_(False)


def sd2_networks() -> Modules:
    """SD2's form: matrices project into the transformers, heads of equal width, OpenCLIP's text encoder."""
    unet = UNet2DConditionModel(
        block_out_channels=(32, 32, 64, 64), cross_attention_dim=128, use_linear_projection=True,
        attention_head_dim=(1, 1, 2, 2),  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    return {"unet": unet.requires_grad_(False), "text_encoder": clip(128, 2, projected=False)}


def sdxl_networks() -> Modules:
    """SDXL's form: three levels, several transformers to a block, two text encoders."""
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 3),  # pyright: ignore[reportArgumentType]
        cross_attention_dim=96,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80,
        use_linear_projection=True,
    )
    return {
        "unet": unet.requires_grad_(False),
        "text_encoder": clip(64, 2, projected=False),
        "text_encoder_2": clip(32, 2, projected=True),
    }
