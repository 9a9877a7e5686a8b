"""Reading LoRA files: which algorithm each layer has, its scale, and what is refused."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from backend.errors import ModelFileError
from backend.model_manager.lora.deltas import (
    Decomposed,
    Difference,
    Generalized,
    Hadamard,
    Kronecker,
    LowRank,
    Patch,
    Rescaling,
    Rotation,
)
from backend.model_manager.lora.layer_names import Place
from backend.model_manager.lora.lora_file import Lora, LoraShelf, read_lora
from tests.loras import low_rank, write_lora

Q = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
PEFT_Q = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
OUT, IN, RANK = 12, 8, 4
MATRIX = torch.empty(OUT, IN)


def ones(*shape: int) -> Tensor:
    return torch.ones(shape)


def read(folder: Path, parts: dict[str, Tensor], metadata: dict[str, str] | None = None, layer: str = Q) -> Lora:
    tensors = {f"{layer}.{part}": tensor for part, tensor in parts.items()}
    return read_lora(write_lora(folder / "ink.safetensors", tensors, metadata))


def low_rank_of(lora: Lora) -> LowRank:
    (layer,) = lora.layers
    assert isinstance(layer.patch, LowRank)
    return layer.patch


FACTORS = {"hada_w1_a": ones(OUT, 4), "hada_w1_b": ones(4, IN), "hada_w2_a": ones(OUT, 4), "hada_w2_b": ones(4, IN)}
KINDS: dict[str, tuple[dict[str, Tensor], type[Patch], float]] = {
    # The number is what every element of the delta of ones is, at alpha 2.
    "lora": (low_rank(MATRIX), LowRank, 0),
    "loha": ({**FACTORS, "alpha": torch.tensor(2.0)}, Hadamard, 8),
    "lokr full": ({"lokr_w1": ones(3, 2), "lokr_w2": ones(4, 4), "alpha": torch.tensor(2.0)}, Kronecker, 1),
    "lokr first": (
        {"lokr_w1": ones(3, 2), "lokr_w2_a": ones(4, 4), "lokr_w2_b": ones(4, 4), "alpha": torch.tensor(2.0)},
        Kronecker,
        2,
    ),
    "lokr both": (
        {
            "lokr_w1_a": ones(3, 4),
            "lokr_w1_b": ones(4, 2),
            "lokr_w2_a": ones(4, 4),
            "lokr_w2_b": ones(4, 4),
            "alpha": torch.tensor(2.0),
        },
        Kronecker,
        8,
    ),
    "dora by row": ({**low_rank(MATRIX), "dora_scale": ones(OUT, 1)}, Decomposed, 0),
    "dora by channel": ({**low_rank(MATRIX), "dora_scale": ones(1, IN)}, Decomposed, 0),
    "oft": ({"oft_blocks": ones(3, 4, 4), "alpha": torch.tensor(0.0)}, Rotation, 0),
    "boft": ({"oft_blocks": ones(2, 6, 2, 2), "rescale": ones(OUT, 1)}, Rotation, 0),
    "ia3": ({"weight": ones(IN), "on_input": torch.tensor(1)}, Rescaling, 0),
    "glora": (
        {
            "a1.weight": ones(IN, 4),
            "a2.weight": ones(4, IN),
            "b1.weight": ones(OUT, 4),
            "b2.weight": ones(4, IN),
            "alpha": torch.tensor(2.0),
        },
        Generalized,
        2,
    ),
    "glora of old": (
        {
            "a1.weight": ones(4, IN),
            "a2.weight": ones(IN, 4),
            "b1.weight": ones(4, IN),
            "b2.weight": ones(OUT, 4),
            "alpha": torch.tensor(2.0),
        },
        Generalized,
        2,
    ),
    "full": ({"diff": ones(OUT, IN)}, Difference, 1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_what_its_parts_are(tmp_path: Path, kind: str) -> None:
    parts, expected, element = KINDS[kind]
    lora = read(tmp_path, parts)
    (layer,) = lora.layers
    place = Place("unet", "mid_block_attentions_0_transformer_blocks_0_attn1_to_q")
    assert (layer.place, layer.parameter, layer.name) == (place, "weight", Q)
    assert isinstance(layer.patch, expected)
    assert layer.patch.fits((OUT, IN))
    assert lora.unread == ()
    if element:
        delta = layer.patch.delta(torch.zeros(OUT, IN), 1.0)
        torch.testing.assert_close(delta, torch.full((OUT, IN), float(element)))


def test_a_mixture_is_decided_layer_by_layer(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for number, (parts, _, _) in enumerate(KINDS.values()):
        tensors |= {f"lora_unet_conv_{number}.{part}": tensor.clone() for part, tensor in parts.items()}
    lora = read_lora(write_lora(tmp_path / "a.safetensors", tensors))
    kinds = {layer.name: type(layer.patch) for layer in lora.layers}
    assert kinds == {f"lora_unet_conv_{number}": kind for number, (_, kind, _) in enumerate(KINDS.values())}


def test_the_axis_of_a_decomposition(tmp_path: Path) -> None:
    cases = {
        "dora_scale": [(ones(OUT, 1), True), (ones(1, IN), False), (ones(OUT), True)],
        "lora_magnitude_vector.weight": [(ones(OUT), True), (ones(1, OUT, 1, 1), True)],
    }
    for part, shapes in cases.items():
        for tensor, by_row in shapes:
            (layer,) = read(tmp_path, {**low_rank(MATRIX), part: tensor}).layers
            assert isinstance(layer.patch, Decomposed)
            assert layer.patch.by_row is by_row and layer.patch.fits((OUT, IN))


def test_alpha_over_rank_is_the_scale(tmp_path: Path) -> None:
    assert low_rank_of(read(tmp_path, low_rank(MATRIX, RANK, alpha=2.0))).scale == 0.5
    assert low_rank_of(read(tmp_path, low_rank(MATRIX, RANK, alpha=None))).scale == 1.0
    given = {**low_rank(MATRIX, RANK, alpha=2.0), "scale": torch.tensor(0.75)}
    assert low_rank_of(read(tmp_path, given)).scale == 0.75


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ({"unet.lora_alpha": 8, "unet.r": 4}, 2.0),
        ({"lora_alpha": 8}, 2.0),
        ({"unet.lora_alpha": 8, "unet.use_rslora": True}, 4.0),
        ({"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 1}}, 0.25),
        ({"unet.lora_alpha": 8, "unet.alpha_pattern": {"n1.to_q": 1}}, 2.0),
        ({"text_encoder.lora_alpha": 8}, 1.0),
        ({"unet.lora_alpha": "8"}, 1.0),
        ([8], 1.0),
    ],
)
def test_peft_keeps_its_scale_in_the_metadata(tmp_path: Path, values: object, scale: float) -> None:
    parts = {"lora_A.weight": ones(RANK, IN), "lora_B.weight": ones(OUT, RANK)}
    lora = read(tmp_path, parts, {"lora_adapter_metadata": json.dumps(values)}, PEFT_Q)
    assert low_rank_of(lora).scale == scale


def test_peft_keeps_its_scale_beside_the_file(tmp_path: Path) -> None:
    key = "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {f"{key}.lora_A.weight": ones(RANK, IN), f"{key}.lora_B.weight": ones(OUT, RANK)}
    path = write_lora(tmp_path / "adapter_model.safetensors", tensors)
    assert low_rank_of(read_lora(path)).scale == 1.0
    path.with_name("adapter_config.json").write_text(json.dumps({"lora_alpha": 12, "r": RANK}), encoding="utf-8")
    assert low_rank_of(read_lora(path)).scale == 3.0
    path.with_name("adapter_config.json").write_text("{", encoding="utf-8")
    assert low_rank_of(read_lora(path)).scale == 1.0


def test_biases_and_norms(tmp_path: Path) -> None:
    tensors = {
        "lora_unet_conv_norm_out.w_norm": ones(8),
        "lora_unet_conv_norm_out.b_norm": ones(8) * 2,
        "lora_unet_conv_out.diff_b": ones(4) * 3,
        f"{PEFT_Q}.lora_A.weight": ones(RANK, IN),
        f"{PEFT_Q}.lora_B.weight": ones(OUT, RANK),
        f"{PEFT_Q}.lora_B.bias": ones(OUT) * 4,
        f"{PEFT_Q}.alpha": torch.tensor(2.0),
    }
    lora = read_lora(write_lora(tmp_path / "a.safetensors", tensors))
    made = {(layer.place.layer, layer.parameter): layer.patch for layer in lora.layers}
    q = "mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    for key, size, value in (
        (("conv_norm_out", "weight"), 8, 1.0),
        (("conv_norm_out", "bias"), 8, 2.0),
        (("conv_out", "bias"), 4, 3.0),
        ((q, "bias"), OUT, 2.0),
    ):
        assert torch.equal(made.pop(key).delta(torch.zeros(size), 1.0), torch.full((size,), value))
    assert list(made) == [(q, "weight")]


def test_a_lora_knows_its_file(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "ink v2.safetensors", {f"{Q}.{k}": v for k, v in low_rank(MATRIX).items()})
    lora = read_lora(path)
    assert (lora.name, lora.path, lora.size) == ("ink v2", path, path.stat().st_size)
    assert lora.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_lora(path, sha256="known").sha256 == "known"
    assert read_lora(path, title="an SDXL LoRA").title == "an SDXL LoRA"
    lora.check()


def test_a_file_that_changed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "ink.safetensors"
    tensors = {f"{Q}.{k}": v for k, v in low_rank(MATRIX).items()}
    lora = read_lora(write_lora(path, tensors))
    write_lora(path.with_name("new.safetensors"), tensors | {f"{Q}.scale": torch.tensor(1.0)}).replace(path)
    with pytest.raises(ModelFileError, match=r"ink\.safetensors has changed"):
        lora.check()
    path.unlink()
    with pytest.raises(ModelFileError, match=r"ink\.safetensors cannot be read"):
        lora.check()


def test_the_shelf_reads_again_only_what_changed(tmp_path: Path) -> None:
    paths = [
        write_lora(tmp_path / f"{name}.safetensors", {f"{Q}.{k}": v for k, v in low_rank(MATRIX).items()})
        for name in "abc"
    ]
    shelf = LoraShelf(most=2)
    first = shelf.read(paths[0])
    assert shelf.read(paths[0]) is first
    shelf.read(paths[1])
    assert shelf.read(paths[0]) is first  # and is the more recent now
    shelf.read(paths[2])
    assert shelf.read(paths[0]) is first
    write_lora(tmp_path / "new.safetensors", {f"{Q}.diff": ones(OUT, IN)}).replace(paths[0])
    assert isinstance(shelf.read(paths[0]).layers[0].patch, Difference)


def test_what_is_not_understood_is_kept_by_name(tmp_path: Path) -> None:
    tensors = {f"{Q}.{k}": v for k, v in low_rank(MATRIX).items()}
    tensors |= {"lora_unet_conv_in.bias_indices": ones(2), "lora_unet_conv_out.lora_up.weight": ones(4, 4)}
    tensors |= {"bundle_emb.ink.string_to_param.*": ones(1, 8), "bundle_emb.pen.clip_l": ones(1, 8)}
    lora = read_lora(write_lora(tmp_path / "a.safetensors", tensors))
    assert [layer.name for layer in lora.layers] == [Q]
    assert lora.unread == ("lora_unet_conv_in.bias_indices", "lora_unet_conv_out")
    assert lora.embeddings == ("ink", "pen")


WRONG: dict[str, Callable[[], dict[str, Tensor]]] = {
    "ranks differ": lambda: {"lora_up.weight": ones(OUT, 3), "lora_down.weight": ones(4, IN)},
    "one-dimensional": lambda: {"lora_up.weight": ones(4), "lora_down.weight": ones(4)},
    "middle of another rank": lambda: {
        "lora_up.weight": ones(OUT, 4, 1, 1),
        "lora_mid.weight": ones(3, 4, 3, 3),
        "lora_down.weight": ones(4, IN, 1, 1),
    },
    "loha of two sizes": lambda: {**FACTORS, "hada_w2_b": ones(4, IN + 1)},
    "loha with one core": lambda: {**FACTORS, "hada_t1": ones(4, 4, 3, 3)},
    "lokr ranks differ": lambda: {"lokr_w1": ones(3, 2), "lokr_w2_a": ones(4, 3), "lokr_w2_b": ones(4, 4)},
    "oft not square": lambda: {"oft_blocks": ones(3, 4, 5)},
    "boft too deep": lambda: {"oft_blocks": ones(3, 6, 2, 2)},
    "alpha of many": lambda: {**low_rank(MATRIX), "alpha": ones(3)},
    "nothing": lambda: {**low_rank(MATRIX), "lora_up.weight": torch.empty(0, 4)},
    "NaN": lambda: {**low_rank(MATRIX), "lora_up.weight": torch.full((OUT, 4), torch.nan)},
    "infinite": lambda: {**low_rank(MATRIX), "alpha": torch.tensor(torch.inf)},
}


@pytest.mark.parametrize("case", WRONG)
def test_a_damaged_file_is_refused_with_a_sentence(tmp_path: Path, case: str) -> None:
    with pytest.raises(ModelFileError, match=r"^ink\.safetensors is damaged: .*\.$"):
        read(tmp_path, WRONG[case]())


def test_what_is_no_lora_is_refused_with_a_sentence(tmp_path: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no layer that Atelier can use"):
        read_lora(tiny_checkpoint)
    save_file({"emb_params": ones(2, 8)}, tmp_path / "embedding.safetensors")
    with pytest.raises(ModelFileError, match=r"no layer that Atelier can use"):
        read_lora(tmp_path / "embedding.safetensors")
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04 pickled by somebody")
    with pytest.raises(ModelFileError, match=r"a\.pt is no safetensors file"):
        read_lora(tmp_path / "a.pt")
    with pytest.raises(ModelFileError, match=r"gone\.safetensors cannot be read"):
        read_lora(tmp_path / "gone.safetensors")
