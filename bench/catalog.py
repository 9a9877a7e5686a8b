"""How long ten thousand models take to be known: ``python -m bench.catalog [--files N] [--warm-runs N]``.

The library is written once: headers with the names and numbers of tensors that real LoRAs, checkpoints and embeddings
have, on narrow layers, so that ten thousand of them fit into a few gigabytes. Each measurement is a new process.
"""

import argparse
import json
import random
import shutil
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from backend.model_manager.catalog import Catalog
from backend.model_manager.header import read_header
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.trees import ATELIER
from backend.paths import ROOT
from bench import STARTER, WORK
from bench.report import Figure, machine

COLD_AIM = 10.0  # seconds
WARM_AIM = 0.3
FILES = 10_000
WARM_RUNS = 5
NARROW = 8  # the width of layers whose width tells nothing
RANKS = (1, 2, 3, 4, 6, 8)
RESIZED = 0.05  # of the LoRAs
BYTES = {"F16": 2, "BF16": 2, "F32": 4}
Shapes = Mapping[str, tuple[int, ...]]
# Attention blocks of a UNet: the name in kohya's LoRAs, and how many transformer layers each has.
SD1_BLOCKS = {
    **{f"down_blocks_{level}_attentions_{k}": 1 for level in (0, 1, 2) for k in (0, 1)},
    "mid_block_attentions_0": 1,
    **{f"up_blocks_{level}_attentions_{k}": 1 for level in (1, 2, 3) for k in (0, 1, 2)},
}
SDXL_BLOCKS = {
    **{f"input_blocks_{block}_1": depth for block, depth in ((4, 2), (5, 2), (7, 10), (8, 10))},
    "middle_block_1": 10,
    **{f"output_blocks_{block}_1": depth for block, depth in ((0, 10), (1, 10), (2, 10), (3, 2), (4, 2), (5, 2))},
}
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out_0")


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What one process measured: seconds until everything was known, and how much that was."""

    seconds: float
    records: int
    looked_into: int


def lora(
    blocks: Mapping[str, int], *, context: int, rank: int, text_layers: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """Shapes of a LoRA as kohya's trainer writes it: every projection of the attention blocks and text encoders. Around
    the blocks SD 1.x has convolutions where SDXL has matrices."""
    around = (1, 1) if blocks is SD1_BLOCKS else ()
    layers: dict[str, int] = {}  # name, input width
    for block, depth in blocks.items():
        layers |= {f"lora_unet_{block}_{name}": NARROW for name in ("proj_in", "proj_out")}
        for k in range(depth):
            inner = f"lora_unet_{block}_transformer_blocks_{k}"
            layers |= {f"{inner}_attn1_{name}": NARROW for name in PROJECTIONS}
            layers |= {f"{inner}_attn2_{name}": context if name in ("to_k", "to_v") else NARROW for name in PROJECTIONS}
            layers |= {f"{inner}_{name}": NARROW for name in ("ff_net_0_proj", "ff_net_2")}
    for k, depth in enumerate(text_layers, start=1):
        prefix = f"lora_te{k if len(text_layers) > 1 else ''}_text_model_encoder_layers"
        inner = [*(f"self_attn_{name}_proj" for name in "qkv"), "self_attn_out_proj", "mlp_fc1", "mlp_fc2"]
        layers |= {f"{prefix}_{layer}_{name}": NARROW for layer in range(depth) for name in inner}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, width in layers.items():
        kernel = around if name.endswith(("_proj_in", "_proj_out")) else ()
        shapes |= {f"{name}.alpha": (), f"{name}.lora_down.weight": (rank, width, *kernel)}
        shapes |= {f"{name}.lora_up.weight": (NARROW, rank, *kernel)}
    return shapes


def resized(shapes: Shapes, chance: random.Random) -> dict[str, tuple[int, ...]]:
    """Shapes of a LoRA whose layers were each cut to a rank of their own, as kohya's resize_lora.py does: hardly any
    two have the same."""
    ranks = {name.removesuffix(".alpha"): chance.choice(RANKS) for name in shapes if name.endswith(".alpha")}
    cut = dict(shapes)
    for layer, rank in ranks.items():
        down, up = f"{layer}.lora_down.weight", f"{layer}.lora_up.weight"
        cut[down] = (rank, *shapes[down][1:])
        cut[up] = (shapes[up][0], rank, *shapes[up][2:])
    return cut


def table(shapes: Shapes, dtype: str) -> tuple[bytes, int]:
    """The entries of a header without its first brace, and the size of the data in bytes."""
    entries, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + prod(shape) * BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    return json.dumps(entries, separators=(",", ":")).encode()[1:], end


@dataclass(frozen=True, kw_only=True)
class Design:
    """What many files of a library have in common: all but their metadata. `share` of the files are made so, and
    `shapes` and `dtype` are what the table was written from."""

    kind: Kind
    share: float
    shapes: Shapes
    dtype: str
    table: bytes
    data_size: int


def designs() -> list[Design]:
    """Of a hundred files 65 are LoRAs for SD 1.x, 30 for SDXL, four embeddings and one a checkpoint."""
    made: list[tuple[Kind, int, Shapes, str]] = []
    for rank in RANKS:
        for dtype in BYTES:
            small = [lora(SD1_BLOCKS, context=768, rank=rank, text_layers=texts) for texts in ((), (12,))]
            large = [lora(SDXL_BLOCKS, context=2048, rank=rank, text_layers=texts) for texts in ((), (12, 32))]
            made += [(Kind.LORA, 65, shapes, dtype) for shapes in small]
            made += [(Kind.LORA, 30, shapes, dtype) for shapes in large]
        made.append((Kind.EMBEDDING, 4, {"emb_params": (rank, 768)}, "F32"))
    header = read_header(STARTER)
    made.append((Kind.CHECKPOINT, 1, {name: info.shape for name, info in header.tensors.items()}, "F16"))
    of_share = Counter(share for _, share, _, _ in made)
    return [_design(kind, share / of_share[share], shapes, dtype) for kind, share, shapes, dtype in made]


def _design(kind: Kind, share: float, shapes: Shapes, dtype: str) -> Design:
    text, size = table(shapes, dtype)
    return Design(kind=kind, share=share, shapes=shapes, dtype=dtype, table=text, data_size=size)


def write_library(folder: Path, files: int) -> None:
    """Write `files` models into Atelier's layout below `folder`, fifty to a folder, each with metadata of its own, and
    one in twenty LoRAs with ranks of its own too."""
    chance = random.Random(0)
    every = designs()
    places = {place.kind: place.path for place in ATELIER.folders(folder)}
    for k, design in enumerate(chance.choices(every, [design.share for design in every], k=files)):
        below = places[design.kind] / f"set-{k // 50:03}"
        below.mkdir(parents=True, exist_ok=True)
        entries, data_size = design.table, design.data_size
        if design.kind is Kind.LORA and chance.random() < RESIZED:
            entries, data_size = table(resized(design.shapes, chance), design.dtype)
        tags = {f"tag {chance.randrange(10_000)}": chance.randrange(1, 500) for _ in range(100)}
        metadata = {
            "ss_output_name": f"style {k}",
            "ss_tag_frequency": json.dumps({"10_style": tags}),
            "sshs_model_hash": f"{chance.getrandbits(256):064x}",
        }
        text = b'{"__metadata__":' + json.dumps(metadata).encode() + b"," + entries
        text += b" " * (-len(text) % 8)
        with (below / f"model {k}.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + data_size)  # zeros that take no room where the file system can


def library(files: int) -> Path:
    """The library of so many files, written if it is not there."""
    folder = WORK / f"library-{files}"
    if not folder.is_dir():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        write_library(unfinished, files)
        unfinished.rename(folder)
    return folder


def scan(folder: Path, index: Path) -> Scan:
    """From nothing to every record, in this process."""
    started = time.perf_counter()
    catalog = Catalog(ATELIER.folders(folder), index)
    catalog.refresh()
    records = sum(len(catalog.records(kind, look=False)) for kind in Kind)
    seconds = time.perf_counter() - started
    looked_into = catalog.looked_into
    catalog.close()
    return Scan(seconds=seconds, records=records, looked_into=looked_into)


def scan_in_new_process(folder: Path, index: Path) -> Scan:
    """The same in a process that has just begun; what it imports before is not counted."""
    command = [sys.executable, "-m", "bench.catalog", "--scan", str(folder), str(index)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return Scan(**json.loads(done.stdout))


def check(scans: Sequence[Scan], files: int) -> None:
    """That the first scan looked into every file and the others into none; raises `RuntimeError` if not."""
    found = [(each.records, each.looked_into) for each in scans]
    if found != [(files, files), *[(files, 0)] * (len(scans) - 1)]:
        raise RuntimeError(f"The scans found and looked into {found}, not {files} files once.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the library where it is missing, scan it, and print the figures last."""
    parser = argparse.ArgumentParser(prog="python -m bench.catalog", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=FILES, help=f"how many models (default: {FILES})")
    parser.add_argument("--warm-runs", type=int, default=WARM_RUNS, help=f"how often to scan again ({WARM_RUNS})")
    parser.add_argument("--scan", type=Path, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.scan:
        print(json.dumps(asdict(scan(*asked.scan))))
        return
    if asked.files < 1 or asked.warm_runs < 1:
        parser.error("--files and --warm-runs must be at least 1")
    print(machine(), flush=True)
    WORK.mkdir(exist_ok=True)
    folder = library(asked.files)
    with TemporaryDirectory(dir=WORK) as data_dir:
        scans = [scan_in_new_process(folder, Path(data_dir) / "models.sqlite3") for _ in range(1 + asked.warm_runs)]
    check(scans, asked.files)
    cold, *warm = (each.seconds for each in scans)
    print(f"scans of {asked.files:,} files: cold {cold:.2f} s, warm " + ", ".join(f"{each:.3f} s" for each in warm))
    print(Figure(name="catalog.cold", value=cold, unit="s", aim=COLD_AIM, digits=2).line)
    print(Figure(name="catalog.warm", value=median(warm), unit="s", aim=WARM_AIM, digits=3).line)


if __name__ == "__main__":
    main()
