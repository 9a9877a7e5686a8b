"""What it takes to have a checkpoint ready: ``python -m bench.models [--pairs N] [--checkpoint FILE]``.

Loading, swapping and patching a full-size checkpoint with random weights, against the least that it could take
(README.md says what is compared). Wants 16 GB of memory.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from backend.families import identify
from backend.families.clip_tokenizer import clip_tokenizer
from backend.families.ldm import UNET, VAE
from backend.families.sd1 import TEXT
from backend.model_manager.header import read_header
from backend.model_manager.inventory.hashes import HashIndex
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.lora.lora_file import read_lora
from backend.model_manager.memory.budgets import GIB, Budgets, Space
from backend.model_manager.memory.devices import Accelerator, Device, Processor
from backend.model_manager.memory.status import ModelStatus, StatusBoard
from backend.model_manager.patches import LoraUse
from backend.model_manager.residency import LoadedModel, Residency
from bench import WORK, full_size
from bench.pairs import alternate
from bench.report import Figure, machine, ratio

SCRATCH = 16 * 1024 * 1024  # bytes that a plain read goes through
PAGE = 4096
LORA_RANK = 16
SIDE = 256  # pixels of the picture that one step is compared on
AGAIN = 20  # swaps and repeated LoRA sets: single ones are too short to time


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where everything lies: the checkpoint, another one with other bytes in each network, and what is written."""

    checkpoint: ModelRecord
    other: ModelRecord
    folder: Path

    @classmethod
    def beside(cls, checkpoint: Path, folder: Path) -> "Place":
        """`other` is a copy of `checkpoint` in which a bit of each network is turned."""
        other = folder / "other.safetensors"
        tensors = load_file(shutil.copy(checkpoint, folder / "copy.safetensors"))
        for prefix in (UNET, VAE, TEXT):
            key = next(key for key in tensors if key.startswith(prefix) and tensors[key].is_floating_point())
            tensors[key] = tensors[key].clone()
            tensors[key].view(torch.int16).view(-1)[0] ^= 1
        save_file(tensors, other)
        (folder / "copy.safetensors").unlink()
        return cls(checkpoint=_record(checkpoint), other=_record(other), folder=folder)

    def residency(self, device: Device) -> Residency:
        """One that knows nothing yet, and may keep everything."""
        hashes = HashIndex(self.folder / f"hashes-{time.monotonic_ns()}.sqlite3")
        budgets = Budgets(ram=64 * GIB)
        return Residency(
            device,
            StatusBoard(ModelStatus()),
            hashes,
            budgets=budgets,
            ram=lambda: Space(total=128 * GIB, free=96 * GIB),
        )


def _record(path: Path) -> ModelRecord:
    stat = path.stat()
    family = identify(read_header(path), path.name)
    return ModelRecord(
        path=path,
        name=path.stem,
        family=family.name,
        problem="",
        native_size=(family.native_size, family.native_size),
        size=stat.st_size,
        modified=stat.st_mtime_ns,
    )


def touch(modules: Sequence[nn.Module]) -> int:
    """Read from every page of every weight: what is mapped is only then there."""
    return sum(
        int(p.detach().contiguous().view(-1).view(torch.uint8)[::PAGE].sum()) for m in modules for p in m.parameters()
    )


@torch.inference_mode()
def first_layers(model: LoadedModel) -> None:
    """The first layer of each network runs: it is ready."""
    networks = model.networks
    like: dict[str, Any] = {"device": model.device, "dtype": networks.unet.dtype}
    networks.text_encoder.get_input_embeddings()(torch.zeros(1, 1, dtype=torch.long, device=model.device))  # pyright: ignore
    networks.unet.conv_in(torch.zeros(1, networks.unet.conv_in.in_channels, 8, 8, **like))
    like["dtype"] = networks.vae.dtype
    networks.vae.get_submodule("post_quant_conv")(torch.zeros(1, 4, 8, 8, **like))
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def plain_read(path: Path) -> None:
    """The file from its beginning to its end, kept nowhere."""
    scratch = bytearray(SCRATCH)
    with path.open("rb", buffering=0) as file:
        while file.readinto(scratch):
            pass


def anonymous() -> int:
    """Bytes of this process that are no file's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


@contextmanager
def loaded(place: Place, device: Device, *, touched: bool = False) -> Iterator[LoadedModel]:
    """The checkpoint from nothing: no module and no tensor is there before."""
    residency = place.residency(device)
    with residency.ready(place.checkpoint) as model:
        if touched:
            touch(model.networks.modules())
        first_layers(model)
        yield model
    residency.unload()  # now, and not when the collector finds its circles


def _load(place: Place, device: Device, *, touched: bool = False) -> None:
    with loaded(place, device, touched=touched):
        pass


def halves(place: Place, pairs: int) -> list[Figure]:
    """Loading in the file's own precision: nothing has to be done to the bytes."""
    device = Processor(torch.float16)
    _load(place, device, touched=True)
    whole = lambda: _load(place, device, touched=True)  # noqa: E731 - three uses, one line
    read = alternate(whole, lambda: plain_read(place.checkpoint.path), pairs)
    config = write_config(place)
    single = alternate(whole, lambda: _single_file(place, config), pairs)
    _told("half", load=read.first, read=read.second, single_file=single.second)
    before = anonymous()
    with loaded(place, device, touched=True):
        added = anonymous() - before
    return [
        ratio("half.load_over_read", read, 2.0),
        ratio("half.load_over_single_file", single, 0.7),
        _share("half.anonymous_over_file", added, place, 0.15),
    ]


def _single_file(place: Place, config: Path) -> None:
    pipeline: Any = StableDiffusionPipeline.from_single_file(
        str(place.checkpoint.path), config=str(config), torch_dtype=torch.float16, local_files_only=True
    )
    touch([pipeline.unet, pipeline.vae, pipeline.text_encoder])


def write_config(place: Place) -> Path:
    """The folder of configurations that diffusers wants, so that it needs no network either."""
    folder = place.folder / "config"
    with loaded(place, Processor(torch.float16)) as model:
        networks = model.networks
        networks.unet.save_config(folder / "unet")
        networks.vae.save_config(folder / "vae")
        networks.text_encoder.config.save_pretrained(folder / "text_encoder")
    clip_tokenizer().save_pretrained(folder / "tokenizer")
    DPMSolverMultistepScheduler(steps_offset=1).save_config(folder / "scheduler")
    parts = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
    }
    index = {"_class_name": "StableDiffusionPipeline", **parts}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def singles(place: Place, pairs: int) -> list[Figure]:
    """Loading on a CPU, which computes in float32, and swapping there."""
    device = Processor()
    before = anonymous()
    with loaded(place, device):
        added = anonymous() - before
    read = alternate(lambda: _load(place, device), _reading_and_casting(place.checkpoint), pairs)
    _told("single", load=read.first, read_and_cast=read.second)
    residency = place.residency(device)
    seconds = swaps(residency, place)
    return [
        ratio("single.load_over_read_and_cast", read, 1.15),
        _share("single.anonymous_over_file", added, place, 2.1),
        Figure(name="single.swap_back", value=median(seconds) * 1000, unit="ms", aim=50, digits=1),
        *loras(residency, place),
    ]


def _reading_and_casting(record: ModelRecord) -> Callable[[], None]:
    """Reads the file from beginning to end, and casts as many numbers as it holds in one go."""
    buffer = bytearray(record.size // 2 * 2)
    held = memoryview(buffer)
    numbers = torch.frombuffer(buffer, dtype=torch.float16)

    def work() -> None:
        with record.path.open("rb", buffering=0) as file:
            at = 0
            while taken := file.readinto(held[at : at + SCRATCH]):
                at += taken
        numbers.to(torch.float32)

    return work


def swaps(residency: Residency, place: Place) -> list[float]:
    """Seconds of swaps between two checkpoints whose tensors are in RAM, all networks of which differ."""
    order = (place.checkpoint, place.other)
    seconds: list[float] = []
    for turn in range(2 + AGAIN):
        started = time.perf_counter()
        with residency.ready(order[turn % 2]) as model:
            first_layers(model)
        seconds.append(time.perf_counter() - started)
    if len(residency.report().occupants) != 2 * 3:
        raise RuntimeError("the two checkpoints share a network: this was no whole swap.")
    return seconds[2:]


def loras(residency: Residency, place: Place) -> list[Figure]:
    """A LoRA on every projection of the UNet's attention, and off again."""
    with residency.ready(place.checkpoint) as model:
        use = write_lora(model.networks.unet, place.folder / "lora.safetensors")
        clean = {name: p.detach().clone() for name, p in model.networks.unet.named_parameters()}
        step = _seconds(lambda: _step(model.networks.unet), 3)
    first, again = [], []
    for turn in range(4):
        first.append(_ready(residency, place.checkpoint, use))
        again += [_ready(residency, place.checkpoint, use, runs=False) for _ in range(AGAIN)]
        if turn == 0:
            _require_change(residency, place.checkpoint, use, clean)
        _ready(residency, place.checkpoint)
    with residency.ready(place.checkpoint) as model:
        for name, p in model.networks.unet.named_parameters():
            if not torch.equal(p.view(torch.int32), clean[name].view(torch.int32)):
                raise RuntimeError(f"{name} is not what it was before the LoRA.")
    _told("lora", first=first[1:], step=[step], again=again)
    return [
        Figure(name="lora.first_over_step", value=median(first[1:]) / step, unit="ratio", aim=0.3, digits=3),
        Figure(name="lora.same_again", value=median(again) * 1000, unit="ms", aim=1, digits=2),
    ]


def _require_change(residency: Residency, record: ModelRecord, use: LoraUse, clean: dict[str, Tensor]) -> None:
    with residency.ready(record, loras=[use]) as model:
        changed = [name for name, p in model.networks.unet.named_parameters() if not torch.equal(p, clean[name])]
    if len(changed) != len(use.lora.layers):
        raise RuntimeError(f"the LoRA has {len(use.lora.layers)} layers and changed {len(changed)}.")


def _ready(residency: Residency, record: ModelRecord, *uses: LoraUse, runs: bool = True) -> float:
    """Seconds until the checkpoint is ready with these LoRAs, and until its first layers have run if it `runs`."""
    started = time.perf_counter()
    with residency.ready(record, loras=uses) as model:
        if runs:
            first_layers(model)
        return time.perf_counter() - started


@torch.inference_mode()
def _step(unet: Any) -> None:
    latents = torch.zeros(2, 4, SIDE // 8, SIDE // 8)
    words = torch.zeros(2, 77, unet.config["cross_attention_dim"])
    unet(latents, torch.tensor(500.0), encoder_hidden_states=words, return_dict=False)


def write_lora(unet: nn.Module, path: Path) -> LoraUse:
    """Random factors for every matrix of the UNet's attention, in kohya's names."""
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}
    for name, layer in unet.named_modules():
        if isinstance(layer, nn.Linear) and "attentions" in name:
            key = f"lora_unet_{name.replace('.', '_')}"
            tensors[f"{key}.lora_up.weight"] = torch.randn(layer.out_features, LORA_RANK, generator=generator) / 10
            tensors[f"{key}.lora_down.weight"] = torch.randn(LORA_RANK, layer.in_features, generator=generator) / 10
    save_file({key: tensor.half() for key, tensor in tensors.items()}, path)
    return LoraUse(lora=read_lora(path))


def pinned(place: Place) -> list[Figure]:
    """On a GPU: a swap back from RAM over one plain copy of the same bytes from page-locked memory."""
    residency = place.residency(Accelerator(torch.device("cuda")))
    with residency.ready(place.checkpoint) as model:
        first_layers(model)
    room = residency.report().vram + 64 * PAGE
    residency.set_budgets(Budgets(ram=64 * GIB, vram=room))
    for record in (place.other, place.checkpoint, place.other):  # now both have been on the device and left it
        with residency.ready(record) as model:
            first_layers(model)
    there = torch.empty(room, dtype=torch.uint8, device="cuda")
    here = torch.empty(room, dtype=torch.uint8, pin_memory=True)
    turn = iter(range(10**6))

    def back() -> None:
        with residency.ready((place.checkpoint, place.other)[next(turn) % 2]) as model:
            first_layers(model)

    def copy() -> None:
        there.copy_(here, non_blocking=True)
        torch.cuda.synchronize()

    pairs = alternate(back, copy, AGAIN)
    _told("gpu", swap=pairs.first, copy=pairs.second)
    name = "-".join(torch.cuda.get_device_name().split())
    return [ratio(f"gpu@{name}.swap_over_pinned_copy", pairs, 1.2)]


def _seconds(work: Callable[[], object], count: int) -> float:
    work()
    taken: list[float] = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return median(taken)


def _share(name: str, size: int, place: Place, aim: float) -> Figure:
    return Figure(name=name, value=size / place.checkpoint.size, unit="ratio", aim=aim, digits=3)


def _told(what: str, **seconds: Sequence[float]) -> None:
    print(f"{what}: " + ", ".join(f"{name} {median(taken):.4f} s" for name, taken in seconds.items()), flush=True)


def run(checkpoint: Path, pairs: int) -> None:
    """Measure everything that this machine can do and print the figures last."""
    print(f"{machine()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    WORK.mkdir(exist_ok=True)
    diffusers_logging.disable_progress_bar()
    with TemporaryDirectory(dir=WORK) as folder:
        place = Place.beside(checkpoint, Path(folder))
        figures = halves(place, pairs) + singles(place, pairs)
        if torch.cuda.is_available():
            figures += pinned(place)
    for figure in figures:
        print(figure.line)


def main(arguments: Sequence[str] | None = None) -> None:
    """Understand the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs for each ratio")
    parser.add_argument("--checkpoint", type=Path, default=full_size.CHECKPOINT, help="another file in SD 1.x layout")
    asked = parser.parse_args(arguments)
    if asked.pairs < 1:
        parser.error("--pairs must be at least 1")
    full_size.require(asked.checkpoint)
    run(asked.checkpoint, asked.pairs)


if __name__ == "__main__":
    main()
