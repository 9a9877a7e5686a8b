"""Pictures made larger by files of the layouts people have, and by interpolation."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from backend.errors import InvalidRequest, ModelFileError, Stopped, UserError
from backend.imaging.upscale import Upscalers
from backend.model_manager.catalog import Catalog
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.trees import ModelFolder
from backend.upscaling import network as network_module
from tests import pickles, upscalers
from tests.upscalers import LAYOUTS, write_upscaler

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of each layout."""
    folder = tmp_path_factory.mktemp("upscalers")
    torch.manual_seed(0)
    for name, (_, tensors) in LAYOUTS.items():
        write_upscaler(folder / f"{name}.safetensors", tensors())
    write_upscaler(folder / "doubling.safetensors", upscalers.doubling())
    return folder


def of(folder: Path, device: torch.device | Callable[[], torch.device] = CPU) -> Upscalers:
    return Upscalers(Catalog([ModelFolder(path=folder, kind=Kind.UPSCALER)]), device)


@pytest.fixture
def enlarger(shelf: Path) -> Upscalers:
    return of(shelf)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))


def levels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes of the tiles that networks were given."""
    seen: list[tuple[int, int]] = []
    run = network_module.Network.__call__

    def counted(self: network_module.Network, tile: Image.Image) -> Image.Image:
        seen.append(tile.size)
        return run(self, tile)

    monkeypatch.setattr(network_module.Network, "__call__", counted)
    return seen


# --- names ---


def test_every_usable_file_is_offered_after_the_interpolations(enlarger: Upscalers) -> None:
    names = enlarger.names()
    assert names[:3] == ["None", "Lanczos", "Nearest"]
    assert set(names[3:]) == {*LAYOUTS, "doubling"}


@pytest.mark.parametrize(
    ("given", "name"), [("lanczos", "Lanczos"), (" None ", "None"), ("DAT", "dat"), ("dat.safetensors", "dat")]
)
def test_a_name_is_made_exact(enlarger: Upscalers, given: str, name: str) -> None:
    assert enlarger.exact(given) == name


@pytest.mark.parametrize(
    ("given", "sentence"), [("Lanzcos", "did you mean Lanczos?"), ("", "must be named: None, Lan")]
)
def test_an_unknown_name_is_refused_with_those_there_are(enlarger: Upscalers, given: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence.replace("?", r"\?")):
        enlarger.upscale(noise(4, 4), given, 8, 8)


def test_a_pickle_is_not_opened_and_says_what_to_do(tmp_path: Path) -> None:
    pickles.write_upscaler(tmp_path / "4x.pth", upscalers.esrgan(4), upscalers.esrgan(4))
    enlarger = of(tmp_path)
    assert enlarger.names() == ["None", "Lanczos", "Nearest"]
    for name in ("4x", "4x.pth"):
        with pytest.raises(ModelFileError, match=r"is a pickle.*convert it to safetensors"):
            enlarger.upscale(noise(4, 4), name, 8, 8)


# --- sizes and pixels ---


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_enlarges_to_exactly_what_is_asked(enlarger: Upscalers, shelf: Path, name: str) -> None:
    """And by its own factor it gives what the network itself does."""
    factor, _ = LAYOUTS[name]
    network = network_module.Network(shelf / f"{name}.safetensors", CPU)
    assert network.factor == factor
    picture = noise(24, 17)
    own = enlarger.upscale(picture, name, 24 * factor, 17 * factor)
    assert own.tobytes() == network(picture).tobytes()
    assert len(own.getcolors(1 << 20) or ()) > 1  # it computes something
    for size in [(48, 34), (24, 17), (96, 68), (7, 5), (33, 50), (100, 20)]:
        assert enlarger.upscale(picture, name, *size).size == size


@pytest.mark.parametrize("name", ["Lanczos", "None", "Nearest"])
def test_interpolation_is_pillows(enlarger: Upscalers, name: str) -> None:
    picture = noise(24, 17)
    way = Image.Resampling.NEAREST if name == "Nearest" else Image.Resampling.LANCZOS
    assert enlarger.upscale(picture, name, 61, 40).tobytes() == picture.resize((61, 40), way).tobytes()


def test_too_large_a_factor_is_reduced_and_too_small_a_one_runs_again(
    enlarger: Upscalers, shelf: Path, calls: list[tuple[int, int]]
) -> None:
    """A1111's rule: until the size is reached, three times at most; Lanczos does the rest."""
    picture = noise(16, 12)

    def runs(name: str, width: int, height: int) -> list[tuple[int, int]]:
        calls.clear()
        enlarger.upscale(picture, name, width, height)
        return list(calls)

    assert runs("esrgan-old", 32, 24) == [(16, 12)]
    assert runs("esrgan-old", 64, 48) == [(16, 12)]
    assert runs("esrgan-old", 65, 48) == [(16, 12), (64, 48)]
    assert runs("esrgan-2x", 64, 48) == [(16, 12), (32, 24)]
    assert runs("esrgan-2x", 16, 12) == [(16, 12)]
    assert runs("esrgan-2x", 16, 11) == []
    assert runs("esrgan-1x", 16, 12) == runs("esrgan-1x", 64, 48) == [(16, 12)]
    assert runs("doubling", 320, 240) == [(16, 12), (32, 24), (64, 48)]
    network = network_module.Network(shelf / "esrgan-old.safetensors", CPU)
    reduced = network(picture).resize((32, 24), Image.Resampling.LANCZOS)
    assert enlarger.upscale(picture, "esrgan-old", 32, 24).tobytes() == reduced.tobytes()


def test_a_picture_keeps_its_transparency(enlarger: Upscalers) -> None:
    picture = noise(30, 20)
    picture.putalpha(Image.linear_gradient("L").resize((30, 20)))
    for name in ("doubling", "Lanczos"):
        made = enlarger.upscale(picture, name, 60, 40)
        assert made.mode == "RGBA"
        assert (
            made.getchannel("A").tobytes()
            == picture.getchannel("A").resize((60, 40), Image.Resampling.LANCZOS).tobytes()
        )
        assert made.convert("RGB").tobytes() == enlarger.upscale(picture.convert("RGB"), name, 60, 40).tobytes()
    assert enlarger.upscale(picture.convert("L"), "doubling", 60, 40).mode == "RGB"


def test_a_network_for_grey_is_given_each_colour(tmp_path: Path) -> None:
    write_upscaler(tmp_path / "grey.safetensors", upscalers.esrgan(2, channels=1))
    picture = noise(12, 8)
    made = of(tmp_path).upscale(picture, "grey", 24, 16)
    network = network_module.Network(tmp_path / "grey.safetensors", CPU)
    for mine, theirs in zip(made.split(), picture.split(), strict=True):
        assert mine.tobytes() == network(theirs.convert("RGB")).getchannel(0).tobytes()


@pytest.mark.parametrize("prefix", ["params_ema.", "params."])
def test_weights_that_a_training_wrapped_are_found(tmp_path: Path, prefix: str) -> None:
    torch.manual_seed(3)
    tensors = upscalers.renamed_esrgan("real-esrgan")
    write_upscaler(tmp_path / "plain.safetensors", tensors)
    write_upscaler(tmp_path / "wrapped.safetensors", tensors, prefix=prefix)
    enlarger, picture = of(tmp_path), noise(10, 10)
    made = [enlarger.upscale(picture, name, 40, 40).tobytes() for name in ("plain", "wrapped")]
    assert made[0] == made[1]


# --- tiles ---


def test_no_seam_shows_in_a_constant_or_a_gradient_picture(enlarger: Upscalers, calls: list[tuple[int, int]]) -> None:
    constant = Image.new("RGB", (200, 150), (13, 200, 77))
    gradient = Image.linear_gradient("L").resize((200, 150)).convert("RGB")
    for picture in (constant, gradient):
        calls.clear()
        made = enlarger.upscale(picture, "doubling", 400, 300, tile=64)
        assert len(calls) == 4 * 3
        assert made.tobytes() == picture.resize((400, 300), Image.Resampling.NEAREST).tobytes()


@pytest.mark.parametrize("name", ["esrgan-old", "compact", "swinir", "dat"])
def test_overlap_brings_tiles_nearer_to_the_whole(enlarger: Upscalers, name: str) -> None:
    """What a network makes of a picture at once, against tiles that fade into each other, against tiles that touch."""
    factor, _ = LAYOUTS[name]
    picture = Image.radial_gradient("L").resize((72, 64)).convert("RGB")
    size = (72 * factor, 64 * factor)
    whole = levels(enlarger.upscale(picture, name, *size))

    def largest_step(overlap: int) -> int:
        made = levels(enlarger.upscale(picture, name, *size, tile=32, overlap=overlap))
        return int(np.abs(np.diff(made - whole, axis=1)).max())

    assert largest_step(8) < largest_step(0)


def test_progress_counts_the_tiles_of_every_pass(enlarger: Upscalers) -> None:
    told: list[tuple[int, int]] = []
    enlarger.upscale(noise(60, 40), "doubling", 240, 160, tile=64, on_tile=lambda done, of: told.append((done, of)))
    assert told == [(k + 1, 5) for k in range(5)]  # 60x40 in one, then 120x80 in two times two
    told.clear()
    enlarger.upscale(noise(60, 40), "Lanczos", 240, 160, on_tile=lambda done, of: told.append((done, of)))
    assert told == [(1, 1)]


def test_it_stops_between_two_tiles(enlarger: Upscalers, calls: list[tuple[int, int]]) -> None:
    def stop(done: int, _of: int) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        enlarger.upscale(noise(200, 200), "doubling", 400, 400, tile=64, on_tile=stop)
    assert len(calls) == 2


@pytest.fixture
def largest() -> Iterator[list[int]]:
    """The elements of the largest tensor that any layer of any network was given, as one number."""
    seen = [0]

    def look(_layer: nn.Module, given: tuple[object, ...]) -> None:
        seen[0] = max(seen[0], *(tensor.numel() for tensor in given if isinstance(tensor, Tensor)))

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    yield seen
    handle.remove()


@pytest.mark.parametrize(("name", "layer"), [("esrgan-2x", 8 + 4 * 32), ("compact", 12)])
def test_a_network_never_holds_more_than_a_tile(enlarger: Upscalers, largest: list[int], name: str, layer: int) -> None:
    """`layer` is the widest, in numbers to a pixel of the tile: a dense block's features, or those to be spread out."""
    for side in (64, 128, 640):
        largest[0] = 0
        enlarger.upscale(Image.new("RGB", (side, 64)), name, side * 2, 128, tile=64)
        assert largest == [64 * 64 * layer]


def test_a_picture_of_4096_takes_no_more_of_a_network_than_one_of_384(enlarger: Upscalers, largest: list[int]) -> None:
    enlarger.upscale(Image.new("RGB", (192, 192)), "compact", 384, 384)
    small = largest[0]
    made = enlarger.upscale(Image.new("RGB", (2048, 2048)), "compact", 4096, 4096)
    assert made.size == (4096, 4096)
    assert largest[0] == small == 192 * 192 * 12


# --- loading ---


def test_two_networks_stay_loaded_and_close_lets_them_go(enlarger: Upscalers, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    load = network_module.load_model

    def counted(path: Path) -> object:
        loads.append(path.stem)
        return load(path)

    monkeypatch.setattr(network_module, "load_model", counted)

    def use(*names: str) -> list[str]:
        loads.clear()
        for name in names:
            enlarger.upscale(noise(4, 4), name, 8, 8)
        return list(loads)

    assert use("compact", "doubling", "compact", "doubling") == ["compact", "doubling"]
    assert use("esrgan-2x", "doubling", "compact") == ["esrgan-2x", "compact"]
    enlarger.close()
    assert use("compact") == ["compact"]


def test_a_file_that_was_exchanged_is_read_again(tmp_path: Path) -> None:
    torch.manual_seed(5)
    picture, enlarger = noise(10, 10), of(tmp_path)
    path = write_upscaler(tmp_path / "x.safetensors", upscalers.doubling())
    before = enlarger.upscale(picture, "x", 20, 20)
    write_upscaler(path, upscalers.esrgan(2))
    assert enlarger.upscale(picture, "x", 20, 20).tobytes() != before.tobytes()


def test_the_device_is_asked_for_when_a_network_is_loaded(shelf: Path) -> None:
    asked: list[None] = []

    def device() -> torch.device:
        asked.append(None)
        return CPU

    enlarger = of(shelf, device)
    enlarger.names()
    enlarger.upscale(noise(4, 4), "Lanczos", 8, 8)
    assert not asked
    enlarger.upscale(noise(4, 4), "doubling", 8, 8)
    assert len(asked) == 1


def test_a_network_works_in_inference_mode_as_outside(enlarger: Upscalers) -> None:
    """The engine works in it; what was loaded inside is used outside, and the other way round."""
    with torch.inference_mode():
        first = enlarger.upscale(noise(8, 8), "dat", 16, 16)
    assert enlarger.upscale(noise(8, 8), "dat", 16, 16).tobytes() == first.tobytes()


def test_half_a_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    tensors = upscalers.esrgan(2)
    del tensors["model.3.weight"]
    write_upscaler(tmp_path / "lacks.safetensors", tensors)
    whole = write_upscaler(tmp_path / "short.safetensors", upscalers.esrgan(2))
    enlarger = of(tmp_path)
    with pytest.raises(ModelFileError, match=r"^lacks\.safetensors cannot be loaded as an upscaler: "):
        enlarger.upscale(noise(4, 4), "lacks", 8, 8)
    whole.write_bytes(whole.read_bytes()[:-1000])
    with pytest.raises(ModelFileError, match=r"short\.safetensors"):
        enlarger.upscale(noise(4, 4), "short", 8, 8)


def test_parts_that_do_not_fit_together_are_told_when_they_meet(tmp_path: Path) -> None:
    """A window of 7 with an overlap of 3.5: every tensor is there, and no picture can be made of them."""
    from spandrel.architectures.HAT import HAT

    odd = HAT(embed_dim=60, depths=[2], num_heads=[6], window_size=7, upscale=2, upsampler="pixelshuffle")
    write_upscaler(tmp_path / "odd.safetensors", {name: each.clone() for name, each in odd.state_dict().items()})
    with pytest.raises(ModelFileError, match=r"^odd\.safetensors makes no picture of a tile: "):
        of(tmp_path).upscale(noise(20, 20), "odd", 40, 40)


def test_a_network_that_gives_no_numbers_is_named(tmp_path: Path) -> None:
    tensors = upscalers.esrgan(2)
    tensors["model.0.bias"] = torch.full_like(tensors["model.0.bias"], float("nan"))
    write_upscaler(tmp_path / "ill.safetensors", tensors)
    with pytest.raises(UserError, match=r"ill\.safetensors made numbers without end"):
        of(tmp_path).upscale(noise(4, 4), "ill", 8, 8)


def test_what_is_too_much_for_half_precision_is_computed_in_full(tmp_path: Path) -> None:
    """Weights that take a number beyond 65,504 on the way and back again."""
    torch.manual_seed(4)
    tensors = upscalers.esrgan(2)
    last = max((name for name in tensors if name.endswith("weight") and "sub" not in name), key=_place)
    tensors["model.0.weight"] *= 1e6
    tensors[last] *= 1e-6
    path = write_upscaler(tmp_path / "wide.safetensors", tensors)
    full, short = network_module.Network(path, CPU), network_module.Network(path, CPU, half=True)
    picture = noise(10, 8)
    assert short._half
    assert short(picture).tobytes() == full(picture).tobytes()
    assert not short._half


def _place(name: str) -> int:
    return int(name.split(".")[1])


def test_half_precision_gives_nearly_the_same(shelf: Path) -> None:
    path = shelf / "esrgan-old.safetensors"
    full, short = network_module.Network(path, CPU), network_module.Network(path, CPU, half=True)
    picture = noise(10, 8)
    assert np.abs(levels(short(picture)) - levels(full(picture))).max() <= 1
    assert short._half


def test_what_is_no_enlarger_is_refused(tmp_path: Path) -> None:
    """Six channels in, three out."""
    from spandrel.architectures.ESRGAN import ESRGAN

    odd = ESRGAN(in_nc=6, out_nc=3, num_filters=8, num_blocks=2, scale=2)
    write_upscaler(tmp_path / "odd.safetensors", dict(odd.state_dict()))
    with pytest.raises(ModelFileError, match="has 6 channels in and 3 out, not RGB"):
        of(tmp_path).upscale(noise(4, 4), "odd", 8, 8)
