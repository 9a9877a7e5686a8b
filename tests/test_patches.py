"""LoRAs on real networks: what they change, and that they leave without a trace."""

import copy
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backend.errors import ModelFileError
from backend.model_manager.lora.deltas import Patch
from backend.model_manager.lora.lora_file import Lora, read_lora
from backend.model_manager.patches import LoraUse, Patcher, match
from tests.loras import (
    ATTENTION,
    Modules,
    Weights,
    changed,
    clean_of,
    is_clean,
    kohya,
    random_lora,
    sd1_networks,
    sd2_networks,
    snapshot,
    write_lora,
    written,
)


@pytest.fixture(scope="module")
def made() -> Modules:
    return sd1_networks()


@pytest.fixture
def modules(made: Modules) -> Modules:
    """Tiny networks of SD 1.x's form, for each test's own use."""
    return copy.deepcopy(made)


def outputs(modules: Modules) -> tuple[Tensor, Tensor]:
    latents = torch.linspace(-1, 1, 4 * 8 * 8).view(1, 4, 8, 8)
    with torch.no_grad():
        words = modules["text_encoder"](torch.arange(77)[None] + 5).last_hidden_state
        return modules["unet"](latents, torch.tensor([500]), torch.ones(1, 77, 64)).sample, words


def test_a_lora_changes_what_it_is_for_and_leaves_no_trace(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    before, unpatched = snapshot(clean), outputs(modules)
    layers = random_lora(modules, ATTENTION)
    lora = written(tmp_path, "ink", kohya(layers))
    patcher = Patcher()
    report = patcher.apply(modules, clean, [LoraUse(lora=lora)])
    assert (report.computed, report.patched, report.restored, report.remarks) == (len(layers), len(layers), 0, ())
    assert changed(modules, clean) == {(role, f"{path}.weight") for role, path in layers}
    assert report.size == sum(clean[role][f"{path}.weight"].nbytes for role, path in layers) == patcher.size
    for now, then in zip(outputs(modules), unpatched, strict=True):
        assert (now - then).abs().max() > 1e-3
    report = patcher.apply(modules, clean, [])
    assert (report.computed, report.patched, report.restored, report.size) == (0, 0, len(layers), 0)
    assert is_clean(modules, clean, before)
    for now, then in zip(outputs(modules), unpatched, strict=True):
        assert torch.equal(now, then)


def test_the_weights_are_the_clean_ones_plus_every_delta(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    first, second = (random_lora(modules, ATTENTION) for _ in range(2))
    uses = [
        LoraUse(lora=written(tmp_path, "a", kohya(first)), unet=0.7, text_encoder=-0.3),
        LoraUse(lora=written(tmp_path, "b", kohya(second)), unet=1.5, text_encoder=0.25),
    ]
    Patcher().apply(modules, clean, uses)
    for role, path in first:
        expected = clean[role][f"{path}.weight"].double()
        for layers, strength in ((first, (0.7, -0.3)), (second, (1.5, 0.25))):
            parts = layers[role, path]
            product = parts["lora_up.weight"].double() @ parts["lora_down.weight"].double()
            expected = expected + strength[role != "unet"] * 2 / 4 * product
        weight = modules[role].get_parameter(f"{path}.weight")
        torch.testing.assert_close(weight.double(), expected, rtol=1e-5, atol=1e-6)


def test_zero_is_none(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    before = snapshot(clean)
    lora = written(tmp_path, "ink", kohya(random_lora(modules, ATTENTION)))
    patcher = Patcher()
    report = patcher.apply(modules, clean, [LoraUse(lora=lora, unet=0, text_encoder=0)])
    assert (report.computed, report.patched) == (0, 0)
    assert is_clean(modules, clean, before)
    assert patcher.apply(modules, clean, []).unchanged


def test_unet_and_text_encoder_have_strengths_of_their_own(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    lora = written(tmp_path, "ink", kohya(random_lora(modules, ATTENTION)))
    patcher = Patcher()
    patcher.apply(modules, clean, [LoraUse(lora=lora, unet=1, text_encoder=0)])
    assert {role for role, _ in changed(modules, clean)} == {"unet"}
    assert patcher.applied("unet") == ((lora.sha256, 0, 1),)
    assert patcher.applied("text_encoder") == ()
    patcher.apply(modules, clean, [LoraUse(lora=lora, unet=0, text_encoder=0.5)])
    assert {role for role, _ in changed(modules, clean)} == {"text_encoder"}
    assert patcher.applied("text_encoder") == ((lora.sha256, 0, 0.5),)


def test_only_what_changed_is_computed(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    down = random_lora(modules, r"down_blocks.*attn1\.")
    up = random_lora(modules, r"up_blocks.*attn1\.")
    middle = random_lora(modules, r"mid_block.*attn1\.")
    words = random_lora(modules, "encoder")
    both = written(tmp_path, "both", kohya(middle | words))
    a, b = written(tmp_path, "a", kohya(down)), written(tmp_path, "b", kohya(up))
    patcher = Patcher()
    first = patcher.apply(modules, clean, [LoraUse(lora=a), LoraUse(lora=b), LoraUse(lora=both)])
    then = snapshot(clean_of(modules))
    for _ in range(3):
        report = patcher.apply(modules, clean, [LoraUse(lora=b), LoraUse(lora=both), LoraUse(lora=a)])
        assert report.unchanged and (report.computed, report.size) == (0, first.size)
    assert (patcher.unchanged, patcher.computed) == (3, first.computed)

    report = patcher.apply(modules, clean, [LoraUse(lora=a, unet=0.5), LoraUse(lora=b), LoraUse(lora=both)])
    assert (report.computed, report.restored) == (len(down), 0)
    assert changed(modules, then) == {(role, f"{path}.weight") for role, path in down}

    report = patcher.apply(modules, clean, [LoraUse(lora=a, unet=0.5), LoraUse(lora=both, text_encoder=0.5)])
    assert (report.computed, report.restored) == (len(words), len(up))


def test_the_order_and_the_names_change_nothing(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    loras = [written(tmp_path, name, kohya(random_lora(modules, ATTENTION))) for name in "abc"]
    uses = [LoraUse(lora=lora, unet=k + 0.3, text_encoder=0.7 - k) for k, lora in enumerate(loras)]
    Patcher().apply(modules, clean, uses)
    there = {name: p.clone() for name, p in modules["unet"].named_parameters()}
    renamed = read_lora(copied(loras[0], "zzz"))
    random.shuffle(uses)
    uses = [LoraUse(lora=renamed, unet=u.unet, text_encoder=u.text_encoder) if u.lora is loras[0] else u for u in uses]
    Patcher().apply(modules, clean, uses)
    for name, p in modules["unet"].named_parameters():
        assert torch.equal(p, there[name]), name


def copied(lora: Lora, name: str) -> Path:
    path = lora.path.with_stem(name)
    path.write_bytes(lora.path.read_bytes())
    return path


def test_the_same_lora_twice_counts_twice(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    lora = written(tmp_path, "ink", kohya(random_lora(modules, ATTENTION)))
    same = read_lora(copied(lora, "another"))
    patcher = Patcher()
    patcher.apply(modules, clean, [LoraUse(lora=lora, unet=1, text_encoder=0.5)])
    report = patcher.apply(
        modules, clean, [LoraUse(lora=lora, unet=0.75, text_encoder=0), LoraUse(lora=same, unet=0.25, text_encoder=0.5)]
    )
    assert report.unchanged
    report = patcher.apply(modules, clean, [LoraUse(lora=lora), LoraUse(lora=same, unet=-1, text_encoder=-1)])
    assert (report.patched, report.computed) == (0, 0)


def test_a_limited_rank(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    layers = random_lora({"unet": modules["unet"]}, ATTENTION)
    lora = written(tmp_path, "ink", kohya(layers))
    Patcher().apply(modules, clean, [LoraUse(lora=lora, rank=1)])
    (role, path), parts = next(iter(layers.items()))
    product = 0.5 * parts["lora_up.weight"][:, :1] @ parts["lora_down.weight"][:1]
    weight = modules[role].get_parameter(f"{path}.weight")
    torch.testing.assert_close(weight, clean[role][f"{path}.weight"] + product)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_computed_in_full_and_rounded_once(tmp_path: Path, modules: Modules, dtype: torch.dtype) -> None:
    for module in modules.values():
        nn.Module.to(module, dtype)
    clean = clean_of(modules)
    before = snapshot(clean)
    layers = [random_lora(modules, ATTENTION) for _ in range(2)]
    patcher = Patcher()
    patcher.apply(modules, clean, [LoraUse(lora=written(tmp_path, str(k), kohya(own))) for k, own in enumerate(layers)])
    for role, path in layers[0]:
        exact = clean[role][f"{path}.weight"].double()
        for own in layers:
            exact += 0.5 * own[role, path]["lora_up.weight"].double() @ own[role, path]["lora_down.weight"].double()
        weight = modules[role].get_parameter(f"{path}.weight")
        assert weight.dtype == dtype
        # Half a step of the type, and what float32 errs.
        step = exact.abs() * torch.finfo(dtype).eps / 2 + torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
        assert bool(((weight.double() - exact).abs() <= step * 1.01 + 1e-6).all())
    patcher.restore()
    assert is_clean(modules, clean, before)


def test_biases_and_norms_are_patched_too(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    norm, bias = torch.randn(32), torch.randn(32)
    tensors = {
        "lora_unet_conv_norm_out.w_norm": norm,
        "lora_unet_conv_norm_out.b_norm": bias,
        "lora_unet_conv_in.diff_b": bias,
    }
    lora = written(tmp_path, "norms", tensors)
    Patcher().apply(modules, clean, [LoraUse(lora=lora, unet=0.5)])
    for name, difference in (("conv_norm_out.weight", norm), ("conv_norm_out.bias", bias), ("conv_in.bias", bias)):
        torch.testing.assert_close(modules["unet"].get_parameter(name), clean["unet"][name] + 0.5 * difference)
    assert len(changed(modules, clean)) == 3


def test_what_was_on_stays_when_another_is_refused(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    lora = written(tmp_path, "ink", kohya(random_lora(modules, ATTENTION)))
    other = written(tmp_path, "other", kohya(random_lora({"unet": sd2_networks()["unet"]}, ATTENTION)))
    patcher = Patcher()
    size = patcher.apply(modules, clean, [LoraUse(lora=lora)]).size
    with pytest.raises(ModelFileError, match=r"attn2_to_k is for 32 x 128 numbers, and there are 32 x 64\."):
        patcher.apply(modules, clean, [LoraUse(lora=lora), LoraUse(lora=other)])
    assert patcher.apply(modules, clean, [LoraUse(lora=lora)]).unchanged
    assert patcher.size == size and changed(modules, clean)


class FailsAtLast(Patch):
    """Where memory ends."""

    @property
    def sides(self) -> tuple[None, None]:
        return None, None

    def delta(self, clean: Tensor, strength: float) -> Tensor:  # noqa: ARG002
        raise torch.OutOfMemoryError("no memory is left")


def test_a_failure_in_the_middle_leaves_the_clean_weights(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    before = snapshot(clean)
    on = written(tmp_path, "on", kohya(random_lora(modules, ATTENTION)))
    lora = written(tmp_path, "ink", kohya(random_lora(modules, r"down_blocks.*attn1\.")))
    object.__setattr__(lora.layers[-1], "patch", FailsAtLast())
    patcher = Patcher()
    patcher.apply(modules, clean, [LoraUse(lora=on)])
    with pytest.raises(torch.OutOfMemoryError):
        patcher.apply(modules, clean, [LoraUse(lora=on), LoraUse(lora=lora)])
    assert is_clean(modules, clean, before)
    assert patcher.size == 0 and patcher.applied("unet") == ()
    assert patcher.apply(modules, clean, [LoraUse(lora=on)]).computed == len(on.layers)


def test_a_file_that_changed_is_not_used(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    lora = written(tmp_path, "ink", kohya(random_lora(modules, ATTENTION)))
    patcher = Patcher()
    patcher.apply(modules, clean, [LoraUse(lora=lora)])
    write_lora(tmp_path / "new.safetensors", kohya(random_lora(modules, "mid_block"))).replace(lora.path)
    assert patcher.apply(modules, clean, [LoraUse(lora=lora)]).unchanged  # nothing of the file is needed
    with pytest.raises(ModelFileError, match="has changed"):
        patcher.apply(modules, clean, [LoraUse(lora=lora, unet=0.5)])
    assert patcher.apply(modules, clean, [LoraUse(lora=lora)]).unchanged


def test_checkpoints_may_be_swapped_below(tmp_path: Path, modules: Modules) -> None:
    """The shell stays and its parameters are pointed at other tensors, and back: each time it is seen what is on."""
    first = clean_of(modules)
    second = {role: {name: t + 1 for name, t in own.items()} for role, own in first.items()}
    before = {"first": snapshot(first), "second": snapshot(second)}
    lora = written(tmp_path, "ink", kohya(random_lora(modules, ATTENTION)))
    patcher = Patcher()

    def point(clean: Weights) -> None:
        for role, module in modules.items():
            for name, p in module.named_parameters():
                p.data = clean[role][name]

    for clean in (first, second, first):
        point(clean)
        report = patcher.apply(modules, clean, [LoraUse(lora=lora)])
        assert report.computed == len(lora.layers)
        role, name = next(iter(changed(modules, clean)))
        torch.testing.assert_close(
            modules[role].get_parameter(name) - clean[role][name], delta_of(lora, role, name, modules)
        )
    # Swapped without a word to the modules: only what was patched still has to be pointed elsewhere.
    point(first)
    patcher.apply(modules, first, [])
    assert is_clean(modules, first, before["first"])
    patcher.apply(modules, first, [LoraUse(lora=lora)])
    patcher.restore()
    point(second)
    assert is_clean(modules, second, before["second"])
    assert snapshot(first).keys() == before["first"].keys()
    assert all(torch.equal(first[r][n], before["first"][r][n]) for r in first for n in first[r])


def delta_of(lora: Lora, role: str, name: str, modules: Modules) -> Tensor:
    target = next(t for t in match(lora, modules).targets if (t.role, t.parameter) == (role, name))
    return target.patch.delta(torch.zeros(target.shape), 1.0)


def test_parameters_may_be_the_clean_weights_themselves(tmp_path: Path, modules: Modules) -> None:
    clean: Weights = {role: dict(module.named_parameters()) for role, module in modules.items()}
    before = snapshot(clean)
    lora = written(tmp_path, "ink", kohya(random_lora(modules, ATTENTION)))
    patcher = Patcher()
    patcher.apply(modules, clean, [LoraUse(lora=lora)])
    assert len(changed(modules, clean)) == len(lora.layers)
    assert all(torch.equal(clean[r][n], before[r][n]) for r in clean for n in clean[r])
    patcher.restore()
    assert is_clean(modules, clean, before)


def test_another_shell_is_another_network(tmp_path: Path, modules: Modules) -> None:
    clean = clean_of(modules)
    before = snapshot(clean)
    other: Modules = {"unet": sd1_networks(1)["unet"]}
    others = clean_of(other)
    lora = written(tmp_path, "ink", kohya(random_lora({"unet": modules["unet"]}, ATTENTION)))
    patcher = Patcher()
    patcher.apply(modules, clean, [LoraUse(lora=lora)])
    report = patcher.apply(other, others, [LoraUse(lora=lora)])
    assert report.computed == report.patched == len(lora.layers)
    assert is_clean(modules, clean, before)
    assert len(changed(other, others)) == len(lora.layers)
