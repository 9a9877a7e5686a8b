"""What trainers of LoRAs write, by the naming and the shapes of their published code.

kohya-ss/sd-scripts networks/lora.py (names, scaling), KohakuBlueleaf/LyCORIS lycoris/modules/*.py (LoHa, LoKr, OFT,
GLoRA, IA3, full), huggingface/peft and diffusers loaders/lora_conversion_utils.py (`lora_A`, `lora_magnitude_vector`,
`.lora.down`).
"""

from collections.abc import Iterator

from tests.headers.layouts import Leaves

Layers = dict[str, tuple[int, ...]]
"""A network's layers: name -> shape of its weight."""


def sides(*shape: int) -> str:
    return ",".join(map(str, shape))


def attention_layers(leaves: Leaves) -> Layers:
    """What kohya trains by default: the linear layers and 1x1 convolutions of attention blocks."""
    shapes = {name: tuple(map(int, leaf.split(","))) for name, leaf in leaves.items() if name.endswith(".weight")}
    marks = ("transformer_blocks.", "proj_in.", "proj_out.", ".self_attn.", ".mlp.")
    return {
        name.removesuffix(".weight"): shape
        for name, shape in shapes.items()
        if any(mark in name for mark in marks) and len(shape) in (2, 4) and shape[2:] in ((), (1, 1))
    }


def convolutions(leaves: Leaves) -> Layers:
    """What `conv_dim` adds (LoCon): 3x3 convolutions of residual blocks and samplers."""
    shapes = {name: tuple(map(int, leaf.split(","))) for name, leaf in leaves.items() if leaf.endswith(",3,3")}
    ends = ("conv_in.weight", "conv_out.weight")
    return {name.removesuffix(".weight"): shape for name, shape in shapes.items() if not name.endswith(ends)}


def flat(prefix: str, layers: Layers) -> Layers:
    """kohya's names of layers: no dots."""
    return {prefix + name.replace(".", "_"): shape for name, shape in layers.items()}


def factors(width: int, largest: int = 64) -> tuple[int, int]:
    """LyCORIS' factorization(width, -1): the pair that is nearest to a square, the smaller first."""
    small = max(side for side in range(1, largest) if width % side == 0 and side * side <= width)
    return small, width // small


def parts(algorithm: str, shape: tuple[int, ...], rank: int) -> Iterator[tuple[str, str]]:
    """One layer's tensors, by their endings."""
    out, into, *kernel = shape
    ones = [1] * len(kernel)
    (small_out, large_out), (small_in, large_in) = factors(out), factors(into)
    low_rank = {"lora_down.weight": sides(rank, into, *kernel), "lora_up.weight": sides(out, rank, *ones), "alpha": ""}
    peft = {"lora_A.weight": sides(rank, into), "lora_B.weight": sides(out, rank)}
    hadamard = {"hada_w1_a": sides(out, rank), "hada_w1_b": sides(rank, into)}
    endings: dict[str, dict[str, str]] = {
        "lora": low_rank,
        "dora": {**low_rank, "dora_scale": sides(1, into, *ones)},
        "loha": {**hadamard, **{name.replace("w1", "w2"): leaf for name, leaf in hadamard.items()}, "alpha": ""},
        "lokr": {
            "lokr_w1": sides(small_out, small_in),
            "lokr_w2_a": sides(large_out, rank),
            "lokr_w2_b": sides(rank, large_in),
            "alpha": "",
        },
        "oft": {"oft_blocks": sides(large_out, small_out, small_out), "alpha": ""},
        "boft": {"oft_blocks": sides(3, large_out, small_out, small_out), "alpha": ""},
        "glora": {
            "a1.weight": sides(into, rank),
            "a2.weight": sides(rank, into),
            "b1.weight": sides(out, rank),
            "b2.weight": sides(rank, into),
            "alpha": "",
        },
        "ia3": {"weight": sides(out), "on_input": ""},
        "full": {"diff": sides(*shape)},
        "peft": peft,
        "peft-dora": {**peft, "lora_magnitude_vector": sides(out)},
        "diffusers-old": {"lora.down.weight": sides(rank, into), "lora.up.weight": sides(out, rank)},
    }
    yield from endings[algorithm].items()


def trained(algorithm: str, layers: Layers, rank: int = 16) -> Leaves:
    return {
        f"{name}.{ending}": leaf for name, shape in layers.items() for ending, leaf in parts(algorithm, shape, rank)
    }
