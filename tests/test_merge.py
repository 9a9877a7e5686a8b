import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from backend.errors import Cancelled, ModelFileError
from backend.files import PARTIAL, sweep_partial
from backend.model_manager.conversion.merge import MergeReport, merge
from backend.model_manager.conversion.merge_recipe import MergeRecipe, inpainting_recipe
from backend.model_manager.header import read_header
from backend.paths import ROOT

MIB = 1024 * 1024
UNET = "model.diffusion_model."
FIRST = UNET + "input_blocks.0.0.weight"
TEXT = "cond_stage_model.transformer.text_model."
TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}


def run(recipe: MergeRecipe, target: Path, **options: Any) -> MergeReport:
    options = {"progress": lambda *_: None, "cancelled": lambda: False} | options
    return merge(recipe, target, **options)


def other_than(path: Path, seed: int, **changed: Any) -> Path:
    """A fine-tune of the checkpoint `path`: every weight moved, the keys in another order, saved beside it."""
    generator = torch.Generator().manual_seed(seed)
    tensors = load_file(path)
    moved = {
        name: (tensor.float() + 0.1 * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
        for name, tensor in reversed(tensors.items())
        if tensor.is_floating_point()
    }
    made = path.with_name(f"tune-{seed}.safetensors")
    save_file(tensors | moved, made, **changed)
    return made


def rewritten(path: Path, name: str, change: Any, metadata: Mapping[str, str] | None = None) -> Path:
    """The same checkpoint after `change(tensors)`, under another name."""
    tensors = load_file(path)
    change(tensors)
    made = path.with_name(f"{name}.safetensors")
    save_file(tensors, made, metadata=dict(metadata or {}))
    return made


def widened(path: Path, channels: int, seed: int = 5) -> Path:
    """Its inpainting or InstructPix2Pix kind: more input channels, every weight moved."""

    def change(tensors: dict[str, Tensor]) -> None:
        first = tensors[FIRST]
        generator = torch.Generator().manual_seed(seed)
        more = torch.randn(first.shape[0], channels - 4, 3, 3, generator=generator).to(first.dtype)
        tensors[FIRST] = torch.cat([first, more], dim=1)

    return rewritten(other_than(path, seed), f"wide-{channels}", change)


def assert_near(path: Path, expected: Mapping[str, Tensor]) -> None:
    """Equal to a float64 computation as far as float32 arithmetic and one rounding to the file's type allow."""
    merged = load_file(path)
    assert merged.keys() == expected.keys()
    for name, exact in expected.items():
        made = merged[name]
        if not made.is_floating_point():
            assert torch.equal(made, exact), name
            continue
        ulp = torch.finfo(made.dtype).eps
        bound = exact.abs() * ulp * 0.501 + 4 * torch.finfo(torch.float32).eps * exact.abs().max() + 2.0**-25
        assert bool(((made.double() - exact).abs() <= bound).all()), name


def doubles(path: Path) -> dict[str, Tensor]:
    return {name: t.double() if t.is_floating_point() else t for name, t in load_file(path).items()}


# The formulas


@pytest.mark.parametrize("multiplier", [0.0, 0.3, 1.0])
def test_a_weighted_sum_is_the_formula(multiplier: float, tiny_checkpoint: Path, tmp_path: Path) -> None:
    tune = other_than(tiny_checkpoint, 1)
    report = run(MergeRecipe(a=tiny_checkpoint, b=tune, multiplier=multiplier), tmp_path / "m.safetensors")
    a, b = doubles(tiny_checkpoint), doubles(tune)
    assert_near(report.target, {name: a[name] * (1 - multiplier) + b[name] * multiplier for name in a})
    assert report.only_in_a == 0
    if multiplier == 0:
        original = load_file(tiny_checkpoint)
        assert all(torch.equal(tensor, original[name]) for name, tensor in load_file(report.target).items())


def test_add_difference_is_the_formula(tiny_checkpoint: Path, tmp_path: Path) -> None:
    b, c = other_than(tiny_checkpoint, 1), other_than(tiny_checkpoint, 2)
    recipe = MergeRecipe(a=tiny_checkpoint, b=b, c=c, method="add difference", multiplier=0.7)
    run(recipe, tmp_path / "m.safetensors")
    x, y, z = doubles(tiny_checkpoint), doubles(b), doubles(c)
    assert_near(tmp_path / "m.safetensors", {name: x[name] + (y[name] - z[name]) * 0.7 for name in x})


def test_precisions_differ_between_the_parents(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A in three precisions, B in another; kept, the result has A's, else float16."""

    def mixed(tensors: dict[str, Tensor]) -> None:
        for k, name in enumerate(tensors):
            tensors[name] = tensors[name].to((torch.float32, torch.bfloat16, torch.float16)[k % 3])
        tensors["betas"] = torch.linspace(0.1, 0.2, 7, dtype=torch.float64)
        tensors[TEXT + "embeddings.position_ids"] = torch.arange(77).expand(1, -1).clone()

    def halved(tensors: dict[str, Tensor]) -> None:
        tensors |= {name: tensor.bfloat16() for name, tensor in tensors.items()}
        tensors["betas"] = torch.zeros(7, dtype=torch.float64)
        tensors[TEXT + "embeddings.position_ids"] = torch.zeros(1, 77)

    a = rewritten(tiny_checkpoint, "a", mixed)
    b = rewritten(other_than(tiny_checkpoint, 1), "b", lambda t: t.update(_changed(t, halved)))
    x, y = doubles(a), doubles(b)
    alone = {"betas", TEXT + "embeddings.position_ids"}
    expected = {name: x[name] if name in alone else x[name] * 0.6 + y[name] * 0.4 for name in x}
    for precision in ("keep", "float16"):
        recipe = MergeRecipe(a=a, b=b, multiplier=0.4, precision=precision)
        report = run(recipe, tmp_path / f"{precision}.safetensors")
        assert_near(report.target, expected)
        assert report.only_in_a == len(alone)
        made, kept = read_header(report.target).tensors, read_header(a).tensors
        for name, info in made.items():
            assert info.dtype == (kept[name].dtype if precision == "keep" or name in alone else "F16")


def _changed(tensors: dict[str, Tensor], change: Any) -> dict[str, Tensor]:
    copy = dict(tensors)
    change(copy)
    return copy


def test_what_one_side_lacks_stays_as_it_is_in_a(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """B without a VAE and with keys of its own, C without a text encoder: A1111 takes no difference for those."""

    def without(prefix: str) -> Any:
        def change(tensors: dict[str, Tensor]) -> None:
            for name in [name for name in tensors if name.startswith(prefix)]:
                del tensors[name]
            tensors["model_ema.decay"] = torch.tensor(0.5)

        return change

    b = rewritten(other_than(tiny_checkpoint, 1), "b", without("first_stage_model."))
    c = rewritten(other_than(tiny_checkpoint, 2), "c", without("cond_stage_model."))
    recipe = MergeRecipe(a=tiny_checkpoint, b=b, c=c, method="add difference", multiplier=1.0)
    report = run(recipe, tmp_path / "m.safetensors")
    x, y, z = doubles(tiny_checkpoint), doubles(b), doubles(c)
    assert_near(report.target, {n: x[n] + y[n] - z[n] if n.startswith(UNET) else x[n] for n in x})
    assert report.only_in_a == sum(not name.startswith(UNET) for name in x)


# Inpainting


def test_an_inpainting_version_keeps_the_bases_own_channels(tiny_checkpoint: Path, tmp_path: Path) -> None:
    base, tune = widened(tiny_checkpoint, 9), other_than(tiny_checkpoint, 1)
    recipe = inpainting_recipe(inpainting_base=base, plain_base=tiny_checkpoint, checkpoint=tune)
    report = run(recipe, tmp_path / "m.safetensors")
    x, y, z = doubles(base), doubles(tune), doubles(tiny_checkpoint)
    expected = {name: x[name] + y[name] - z[name] for name in x if name != FIRST}
    first = x[FIRST].clone()
    first[:, :4] += y[FIRST] - z[FIRST]
    assert_near(report.target, expected | {FIRST: first})
    assert torch.equal(load_file(report.target)[FIRST][:, 4:], load_file(base)[FIRST][:, 4:])
    assert report.variant == "inpainting"
    assert json.loads(read_header(report.target).metadata["sd_merge_recipe"])["is_inpainting"] is True


def test_a_weighted_sum_with_an_inpainting_base_mixes_the_channels_they_share(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    for channels, variant in ((9, "inpainting"), (8, "instruct-pix2pix")):
        base = widened(tiny_checkpoint, channels)
        report = run(MergeRecipe(a=base, b=tiny_checkpoint, multiplier=0.25), tmp_path / f"{channels}.safetensors")
        x, y = doubles(base), doubles(tiny_checkpoint)
        first = x[FIRST].clone()
        first[:, :4] = 0.75 * first[:, :4] + 0.25 * y[FIRST]
        assert_near(report.target, {n: 0.75 * x[n] + 0.25 * y[n] for n in x if n != FIRST} | {FIRST: first})
        assert report.variant == variant


def test_two_inpainting_checkpoints_are_mixed_whole(tiny_checkpoint: Path, tmp_path: Path) -> None:
    base = widened(tiny_checkpoint, 9)
    tune = other_than(base, 3)
    report = run(MergeRecipe(a=base, b=tune, multiplier=0.5), tmp_path / "m.safetensors")
    x, y = doubles(base), doubles(tune)
    assert_near(report.target, {name: 0.5 * x[name] + 0.5 * y[name] for name in x})
    assert report.variant == ""


# VAE, patterns, metadata


@pytest.mark.parametrize("bare", [True, False])
def test_a_vae_is_baked_in(bare: bool, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Bare as VAE files are, or within another checkpoint; attention as matrices, as some keep it."""
    donor = load_file(other_than(tiny_checkpoint, 4))
    prefix = "first_stage_model."
    vae = {name: tensor.float() for name, tensor in donor.items() if name.startswith(prefix)}
    squeezed = {n: t[..., 0, 0].contiguous() if t.dim() == 4 and t.shape[2:] == (1, 1) else t for n, t in vae.items()}
    stored = {n.removeprefix(prefix) if bare else n: t for n, t in (squeezed if bare else donor).items()}
    save_file(stored, tmp_path / "vae.safetensors")
    recipe = MergeRecipe(a=tiny_checkpoint, b=tiny_checkpoint, vae=tmp_path / "vae.safetensors")
    report = run(recipe, tmp_path / "m.safetensors")
    made, original = load_file(report.target), load_file(tiny_checkpoint)
    for name, tensor in made.items():
        assert tensor.shape == original[name].shape
        assert torch.equal(tensor, vae[name].half() if name in vae else original[name])
    assert set(report.sha256) == {"a", "b", "vae"}


def test_patterns_discard(tiny_checkpoint: Path, tmp_path: Path) -> None:
    recipe = MergeRecipe(a=tiny_checkpoint, b=tiny_checkpoint, discard=("first_stage_model.*", "*.bias"))
    report = run(recipe, tmp_path / "m.safetensors")
    expected = {
        n for n in load_file(tiny_checkpoint) if not n.startswith("first_stage_model.") and not n.endswith(".bias")
    }
    assert set(read_header(report.target).tensors) == expected
    assert report.tensors == len(expected)


def test_the_file_tells_how_it_was_made(tiny_checkpoint: Path, tmp_path: Path) -> None:
    told = {"modelspec.architecture": "stable-diffusion-v1", "modelspec.title": "Old", "modelspec.hash_sha256": "0x1"}
    a = rewritten(tiny_checkpoint, "a", lambda _: None, told | {"modelspec.prediction_type": "epsilon", "ss_x": "1"})
    first = run(MergeRecipe(a=a, b=other_than(a, 1)), tmp_path / "first.safetensors")
    second = run(MergeRecipe(a=first.target, b=tiny_checkpoint, multiplier=0.5), tmp_path / "second.safetensors")
    said = read_header(second.target).metadata
    assert said["modelspec.architecture"] == "stable-diffusion-v1"
    assert said["modelspec.prediction_type"] == "epsilon"
    assert said["modelspec.title"] == "second"
    assert said["modelspec.merged_from"] == "first, tiny"
    assert not {"modelspec.hash_sha256", "ss_x"} & said.keys()
    recipe, models = json.loads(said["sd_merge_recipe"]), json.loads(said["sd_merge_models"])
    true = {path: sha256(path.read_bytes()).hexdigest() for path in (first.target, tiny_checkpoint, a)}
    assert recipe["type"] == "webui"
    assert (recipe["primary_model_hash"], recipe["secondary_model_hash"]) == (true[first.target], true[tiny_checkpoint])
    assert (recipe["interp_method"], recipe["multiplier"], recipe["save_as_half"]) == ("Weighted sum", 0.5, True)
    assert models[true[first.target]]["name"] == "first.safetensors"
    assert models[true[first.target]]["sd_merge_recipe"]["primary_model_hash"] == true[a]
    assert models[true[a]]["name"] == "a.safetensors"
    data = tiny_checkpoint.read_bytes()[0x100000:0x110000]
    assert models[true[tiny_checkpoint]]["legacy_hash"] == sha256(data).hexdigest()[:8]


def test_a_known_hash_is_not_taken_again(tiny_checkpoint: Path, tmp_path: Path) -> None:
    phases: list[str] = []
    report = run(
        MergeRecipe(a=tiny_checkpoint, b=tiny_checkpoint),
        tmp_path / "m.safetensors",
        known_sha256=lambda path: f"of {path.stem}",
        progress=lambda _, doing: phases.append(doing),
    )
    assert set(phases) == {"merging"}
    assert report.sha256 == {"a": "of tiny", "b": "of tiny"}


# What is refused


def test_recipes_that_cannot_be_get_a_sentence(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plain = MergeRecipe(a=tiny_checkpoint, b=tiny_checkpoint)
    wide = widened(tiny_checkpoint, 9)
    (tmp_path / "taken.safetensors").write_bytes(b"mine")
    lora = tmp_path / "lora.safetensors"
    save_file({"lora_unet_x.lora_up.weight": torch.zeros(2, 2)}, lora)
    deeper = rewritten(tiny_checkpoint, "deeper", lambda t: t.update({UNET + "more.weight": torch.zeros(1)}))
    broader = rewritten(tiny_checkpoint, "broader", lambda t: t.update({UNET + "out.2.bias": torch.zeros(9)}))
    other_vae = rewritten(tiny_checkpoint, "vae", lambda t: t.pop("first_stage_model.decoder.conv_in.weight"))
    cases: list[tuple[MergeRecipe, str, str]] = [
        (plain, "m.ckpt", r"has to end in \.safetensors"),
        (plain, "taken.safetensors", r"There is a file taken\.safetensors already"),
        (replace(plain, multiplier=1.5), "m.safetensors", "multiplier is 1.5; 0 to 1"),
        (replace(plain, multiplier=float("nan")), "m.safetensors", "multiplier is nan"),
        (replace(plain, method="add difference"), "m.safetensors", "needs a third checkpoint"),
        (replace(plain, c=tiny_checkpoint), "m.safetensors", "takes two checkpoints only"),
        (replace(plain, b=tmp_path / "none.safetensors"), "m.safetensors", r"none\.safetensors cannot be read"),
        (replace(plain, b=lora), "m.safetensors", "cannot be merged: their UNets have"),
        (replace(plain, a=lora), "m.safetensors", r"lora\.safetensors is no checkpoint"),
        (replace(plain, b=deeper), "m.safetensors", "cannot be merged: their UNets have"),
        (replace(plain, b=broader), "m.safetensors", r"of different families and .*out\.2\.bias is 4 in one and 9"),
        (replace(plain, b=wide), "m.safetensors", "has more input channels than"),
        (
            MergeRecipe(a=wide, b=wide, c=tiny_checkpoint, method="add difference"),
            "m.safetensors",
            "have no difference to be added",
        ),
        (replace(plain, vae=lora), "m.safetensors", "cannot be baked in as VAE: it lacks"),
        (replace(plain, vae=other_vae), "m.safetensors", r"it lacks decoder\.conv_in\.weight"),
        (replace(plain, discard=("*",)), "m.safetensors", "leave no tensor"),
        (replace(plain, discard=("a" * 201,)), "m.safetensors", "has 201 characters"),
    ]
    before = {path.name for path in tmp_path.iterdir()}
    for recipe, name, words in cases:
        with pytest.raises(ModelFileError, match=words) as refused:
            run(recipe, tmp_path / name)
        assert str(refused.value).endswith(".")
        assert {path.name for path in tmp_path.iterdir()} == before
    assert (tmp_path / "taken.safetensors").read_bytes() == b"mine"


def test_what_is_too_large_for_float16_gets_a_sentence(tiny_checkpoint: Path, tmp_path: Path) -> None:
    large = rewritten(tiny_checkpoint, "large", lambda t: t.update({UNET + "out.2.bias": torch.full((4,), 1e6)}))
    with pytest.raises(ModelFileError, match="too large for float16: keep the precision"):
        run(MergeRecipe(a=large, b=large), tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())
    run(MergeRecipe(a=large, b=large, precision="keep"), tmp_path / "m.safetensors")


def test_a_disk_without_room_is_seen_before_anything_is_read_or_written(tmp_path: Path) -> None:
    """Two checkpoints with a hole in them, each larger than any disk that this could run on."""
    free = shutil.disk_usage(tmp_path).free
    count = free // 2 + 1
    header = json.dumps({FIRST: {"dtype": "F16", "shape": [count], "data_offsets": [0, 2 * count]}}).encode()
    for name in "ab":
        with (tmp_path / f"{name}.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + 2 * count)
    phases: list[str] = []
    with pytest.raises(ModelFileError, match=r"There is no room for m\.safetensors: it needs"):
        run(
            MergeRecipe(a=tmp_path / "a.safetensors", b=tmp_path / "b.safetensors"),
            tmp_path / "m.safetensors",
            progress=lambda _, doing: phases.append(doing),
        )
    assert phases == []
    assert {path.name for path in tmp_path.iterdir()} == {"a.safetensors", "b.safetensors"}


def test_a_parent_that_changes_meanwhile_gets_a_sentence(tiny_checkpoint: Path, tmp_path: Path) -> None:
    tune = other_than(tiny_checkpoint, 1)

    def touch(_: float, doing: str) -> None:
        if doing == "merging":
            os.utime(tune, ns=(1, 1))

    with pytest.raises(ModelFileError, match="was changed while it was read"):
        run(MergeRecipe(a=tiny_checkpoint, b=tune), tmp_path / "m.safetensors", progress=touch)

    def cut(_: float, doing: str) -> None:
        if doing == "merging":
            os.truncate(tune, 100_000)

    with pytest.raises(ModelFileError, match="was cut short while it was read"):
        run(MergeRecipe(a=tiny_checkpoint, b=tune), tmp_path / "m.safetensors", progress=cut)
    assert not list(tmp_path.iterdir())


def test_cancelling_leaves_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    for wanted in ("reading", "merging"):
        seen: list[str] = []
        with pytest.raises(Cancelled, match="nothing was written"):
            run(
                MergeRecipe(a=tiny_checkpoint, b=tiny_checkpoint),
                tmp_path / "m.safetensors",
                progress=lambda _, doing, seen=seen: seen.append(doing),
                cancelled=lambda wanted=wanted, seen=seen: wanted in seen,
            )
        assert seen[-1] == wanted
        assert not list(tmp_path.iterdir())


def test_progress_only_grows_and_ends_at_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    run(
        MergeRecipe(a=tiny_checkpoint, b=tiny_checkpoint),
        tmp_path / "m.safetensors",
        progress=lambda fraction, _: seen.append(fraction),
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1


# Faults, each in processes of their own

MERGER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from backend.errors import ModelFileError
from backend.model_manager.conversion.merge import merge
from backend.model_manager.conversion.merge_recipe import MergeRecipe
import torch
torch.set_num_threads(1)
folder = Path(sys.argv[2])
a, b, c, target = (folder / f"{name}.safetensors" for name in "abcm")
recipe = MergeRecipe(a=a, b=b, c=c, method="add difference")
def run(progress=lambda *_: None):
    merge(recipe, target, progress=progress, cancelled=lambda: False, known_sha256=lambda path: path.name)
"""

DISK_FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
try:
    run()
except ModelFileError as error:
    print(error)
"""

# Each line says how far the merge of a forked process is; the test kills that process there.
KILLED = """
for stop in [0.0, 0.2, 0.5, 0.9, 1.0]:
    child = os.fork()
    if child == 0:
        def tell(fraction, doing):
            if fraction >= stop:
                os.kill(os.getpid(), 9)
        run(tell)
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), (folder / "m.safetensors").exists(), flush=True)
run()
"""

MEMORY = """
def anonymous():
    return 1024 * int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0])
def tell(fraction, doing):
    peaks.append(anonymous())
small = torch.ones(100).half().float()
small.sub_(small).mul_(2).add_(small).half().isinf().any()  # so that torch has set up what it sets up late
peaks = []
before = anonymous()
run(tell)
print(max(peaks) - before)
"""


def script(body: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", MERGER + body, str(ROOT), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def parents(tiny_checkpoint: Path) -> Path:
    """A folder with three checkpoints a, b and c."""
    for k, name in enumerate("abc"):
        other_than(tiny_checkpoint, k).rename(tiny_checkpoint.with_name(f"{name}.safetensors"))
    tiny_checkpoint.unlink()
    return tiny_checkpoint.parent


def test_a_disk_that_fills_up_leaves_nothing(parents: Path) -> None:
    assert script(DISK_FULL, parents).startswith("m.safetensors cannot be written: there is no room left in")
    assert sorted(path.name for path in parents.iterdir()) == ["a.safetensors", "b.safetensors", "c.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
def test_killed_at_any_moment_nothing_has_the_name(parents: Path) -> None:
    lines = script(KILLED, parents).splitlines()
    assert lines == [f"{int(signal.SIGKILL)} False"] * 5
    assert len(list(parents.glob(f".*{PARTIAL}"))) == 5
    assert sweep_partial(parents) == 5
    assert (
        read_header(parents / "m.safetensors").tensors.keys() == read_header(parents / "a.safetensors").tensors.keys()
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells anonymous memory apart")
def test_memory_is_a_few_pieces_whatever_the_size(tmp_path: Path) -> None:
    """Three parents of 128 MiB, most of it one tensor, are merged in half of what one of them takes."""
    for name in "abc":
        save_file(
            {FIRST: torch.zeros(60, MIB, dtype=torch.float16), UNET + "b": torch.zeros(4, MIB)},
            tmp_path / f"{name}.safetensors",
        )
    assert int(script(MEMORY, tmp_path)) < 64 * MIB
