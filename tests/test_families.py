"""Every family and variant from a tiny file in its original layout, with the network off."""

import functools
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_img2img import (
    StableDiffusionXLImg2ImgPipeline,
)
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler, rescale_zero_terminal_snr
from safetensors.torch import load_file, save_file
from torch import Tensor

from backend.errors import ModelFileError
from backend.families import FAMILIES, identify
from backend.families.clip_tokenizer import clip_tokenizer
from backend.families.defaults import defaults_for
from backend.families.denoising import conditionings, denoiser_for
from backend.families.diffusers_folder import is_folder_of_networks, read_folder
from backend.families.family import Family
from backend.families.ldm import BETAS, alphas_cumprod, vae_component
from backend.families.networks import Networks, assemble, fill
from backend.families.unseen import no_picture
from backend.imaging.vae import decode, encode
from backend.model_manager.header import read_header
from backend.model_manager.identity import Identity, Kind
from backend.request import CFG_RANGE, STEPS_RANGE, GenerationRequest
from backend.sampling.plan import sigmas_for
from backend.sampling.samplers import find_sampler
from backend.sampling.schedules import SigmaTable
from tests.checkpoints import KINDS, single_file, tiny, unused, write_folder, write_single_file

REQUEST = GenerationRequest(
    prompt="a red boat", negative_prompt="blurry", width=64, height=72, steps=2, cfg_scale=5, sampler="Euler"
)
OFFLINE = {"blocked": False}  # an audit hook can never be removed, so this one is switched


def _refuse(event: str, _arguments: object) -> None:
    if OFFLINE["blocked"] and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"):
        raise AssertionError(f"the network was asked: {event}")


@pytest.fixture(scope="module", autouse=True)
def _no_network() -> Iterator[None]:
    sys.addaudithook(_refuse)
    OFFLINE["blocked"] = True
    yield
    OFFLINE["blocked"] = False


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def file(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / f"{kind}.safetensors"
    write_single_file(path, tiny(kind))
    return path


@functools.cache
def tensors_of(name: str) -> Mapping[str, Tensor]:
    """What a file of a kind holds."""
    return {key: tensor.contiguous() for key, tensor in single_file(tiny(name)).items()}


def load(path: Path) -> tuple[Family, Networks]:
    header = read_header(path)
    family = identify(header, path.name)
    return family, family.build(header, load_file(path))


@torch.inference_mode()
def latents_of(family: Family, networks: Networks, request: GenerationRequest = REQUEST, seed: int = 0) -> Tensor:
    """The request's picture as latents, by the product's denoiser and its own noise of that seed."""
    table = SigmaTable(family.alphas_cumprod(zero_terminal_snr=networks.zero_terminal_snr).tolist())
    words = conditionings(request, family, networks, clip_tokenizer())
    denoise = denoiser_for(request, family, networks, words, table)
    sampler = find_sampler(request.sampler)
    sigmas = sigmas_for(sampler, request.schedule, request.steps, table)
    x = noise(request, seed) * sigmas[0]
    return sampler.function(denoise, x, sigmas, noise=lambda _a, _b: x, on_step=lambda _i, _x: None)


def bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def spans(tensors: Iterable[Tensor]) -> list[tuple[int, int]]:
    """Where contiguous tensors begin and end in memory."""
    laid = list(tensors)
    assert all(tensor.is_contiguous() for tensor in laid)
    return sorted((tensor.data_ptr(), tensor.data_ptr() + bytes_of(tensor)) for tensor in laid)


def joined(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same places, with what touches made one. Places that overlap are a fault."""
    whole = pieces[:1]
    for begin, end in pieces[1:]:
        assert begin >= whole[-1][1]
        whole[-1:] = [(whole[-1][0], end)] if begin == whole[-1][1] else [whole[-1], (begin, end)]
    return whole


def noise(request: GenerationRequest, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 4, request.height // 8, request.width // 8, generator=generator)


def test_a_file_is_recognised_and_every_tensor_is_used_where_it_lies(kind: str, file: Path) -> None:
    header = read_header(file)
    family = identify(header, file.name)
    assert family.name == KINDS[kind].family
    assert [name for name, other in FAMILIES.items() if other.bears_marks(header)] == [family.name]
    tensors = load_file(file)
    used = {}
    for component in family.components(header, tensors):
        used |= {(component.role, name): tensor for name, tensor in component.tensors.items()}
    # Turned over, so a copy; all others are places in the file, each taken once.
    turned = [used.pop(key) for key in list(used) if key[1] == "text_projection.weight"]
    meant = {name: tensor for name, tensor in tensors.items() if not unused(name)}
    originals = [meant.pop(name) for name in list(meant) if name.endswith(".text_projection")]
    assert all(torch.equal(ours.T, theirs) for ours, theirs in zip(turned, originals, strict=True))
    taken, there = (joined(spans(group.values())) for group in (used, meant))
    assert taken == there
    assert sum(map(bytes_of, used.values())) == sum(map(bytes_of, meant.values()))


def test_shells_and_components_fit_without_a_rest(file: Path) -> None:
    header = read_header(file)
    family = identify(header, file.name)
    for component in family.components(header, load_file(file)):
        shell = component.blank()
        own = {name: tensor.shape for name, tensor in shell.state_dict().items()}
        assert own == {name: tensor.shape for name, tensor in component.tensors.items()}, component.role
        assert all(parameter.is_meta and not parameter.requires_grad for parameter in shell.parameters())
        assert not any(buffer.is_meta for buffer in shell.buffers())
        assert not shell.training
        assert hash(component.architecture) is not None


def test_the_weights_are_the_files_to_the_bit(kind: str, file: Path) -> None:
    original = tiny(kind)
    _, networks = load(file)
    for ours, theirs in zip(networks.modules(), (original.unet, original.vae, *original.text.values()), strict=True):
        expected = theirs.state_dict()
        found = ours.state_dict()
        assert found.keys() == expected.keys()
        assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_it_makes_a_picture(file: Path) -> None:
    family, networks = load(file)
    latents = latents_of(family, networks)
    with torch.inference_mode():
        pixels = decode(networks.vae, latents, family.latent_format.scale)
    assert pixels.shape == (1, 3, 72, 64)
    assert pixels.isfinite().all()
    assert pixels.std() > 0
    assert not torch.equal(latents, latents_of(family, networks, seed=1))


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl", "sdxl-ssd-1b", "sdxl-refiner"])
def test_a_diffusers_folder_of_the_same_weights_is_the_same_checkpoint(name: str, tmp_path: Path) -> None:
    networks = tiny(name)
    write_single_file(tmp_path / "file.safetensors", networks)
    write_folder(tmp_path / "folder", networks)
    family, single = load(tmp_path / "file.safetensors")
    assert is_folder_of_networks(tmp_path / "folder")
    folder = read_folder(tmp_path / "folder")
    assert folder.family is family
    header = read_header(tmp_path / "file.safetensors")
    of_file = family.components(header, load_file(tmp_path / "file.safetensors"))
    for ours, theirs in zip(of_file, folder.components(), strict=True):
        assert (ours.role, ours.architecture, ours.full_precision) == (
            theirs.role,
            theirs.architecture,
            theirs.full_precision,
        )
    torch.testing.assert_close(latents_of(family, folder.build()), latents_of(family, single), rtol=0, atol=0)


def test_shards_and_variants_of_a_folder_are_found(tmp_path: Path) -> None:
    networks = tiny("sd1")
    write_folder(tmp_path / "plain", networks, scheduler={"prediction_type": "v_prediction"})
    write_folder(tmp_path / "shards", networks, shard="1MB")
    write_folder(tmp_path / "half", networks, variant="fp16", scheduler={"rescale_betas_zero_snr": True})
    plain, shards, half = (read_folder(tmp_path / name) for name in ("plain", "shards", "half"))
    assert len(shards.files["unet"]) > 1
    assert all(".fp16." in path.name for paths in half.files.values() for path in paths)
    assert (plain.prediction, half.prediction, half.zero_terminal_snr) == ("v", "epsilon", True)
    expected = plain.build().unet.state_dict()
    for other in (shards, half):
        found = other.build().unet.state_dict()
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folders") / "plain"
    write_folder(path, tiny("sd1"))
    return path


def changed_copy(folder: Path, tmp_path: Path, name: str, **changed: Any) -> Path:
    path = Path(shutil.copytree(folder, tmp_path / "folder"))
    config = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps(config | changed))
    return path


@pytest.mark.parametrize(
    ("name", "changed", "sentence"),
    [
        ("unet/config.json", {"down_block_types": ["os.system"] * 4}, "asks for 'os.system'"),
        ("unet/config.json", {"block_out_channels": [10**12]}, "impossible block_out_channels"),
        ("unet/config.json", {"mid_block_type": {"a": 1}}, "impossible mid_block_type"),
        ("unet/config.json", {"down_block_types": None}, "impossible down_block_types"),
        ("unet/config.json", {"layers_per_block": 10**5}, "impossible layers_per_block"),
        ("unet/config.json", {"use_linear_projection": "yes"}, "impossible use_linear_projection"),
        ("unet/config.json", {"up_block_types": ["UpBlock2D"], "down_block_types": ["DownBlock2D"]}, "more levels"),
        ("vae/config.json", {"latent_channels": 16}, "16 latent channels"),
        ("text_encoder/config.json", {"hidden_act": "evil"}, "asks for 'evil'"),
        ("text_encoder/config.json", {"num_hidden_layers": 10**5}, "impossible num_hidden_layers"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "guesses 'sample'"),
        ("model_index.json", {"text_encoder": [None, None]}, "has 0 text encoders"),
    ],
)
def test_a_folder_that_asks_for_what_we_do_not_know_gets_a_sentence(
    name: str, changed: dict[str, Any], sentence: str, plain_folder: Path, tmp_path: Path
) -> None:
    path = changed_copy(plain_folder, tmp_path, name, **changed)
    with pytest.raises(ModelFileError, match=sentence):
        read_folder(path)


def test_a_folder_reads_no_file_outside_and_no_pickle(plain_folder: Path, tmp_path: Path) -> None:
    path = changed_copy(plain_folder, tmp_path, "model_index.json")
    weights = path / "unet" / "diffusion_pytorch_model.safetensors"
    (path / "unet" / "diffusion_pytorch_model.bin").write_bytes(weights.read_bytes())
    outside = weights.rename(tmp_path / "outside.safetensors")
    with pytest.raises(ModelFileError, match=r"only as a pickle"):
        read_folder(path)
    index = path / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": f"../../{outside.name}"}}))
    assert (index.parent / f"../../{outside.name}").is_file()
    with pytest.raises(ModelFileError, match=r"lists '\.\./\.\./outside\.safetensors'"):
        read_folder(path)


def scheduler(**options: Any) -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(
        beta_start=BETAS[0],
        beta_end=BETAS[1],
        beta_schedule="scaled_linear",
        timestep_spacing="linspace",
        **options,
    )


def padding_with_zero() -> Any:
    tokenizer = clip_tokenizer.__wrapped__()
    tokenizer.pad_token = "!"
    return tokenizer


# Four steps ask for timesteps 999, 666, 333 and 0, of which both read the same noise levels off their tables.
IN_FOUR = GenerationRequest(
    prompt="a red boat", negative_prompt="blurry", width=64, height=72, steps=4, cfg_scale=5, sampler="Euler"
)


@torch.inference_mode()
def latents_of_pipeline(pipeline: Any, negative: str | None) -> Tensor:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        prompt=IN_FOUR.prompt,
        negative_prompt=negative,
        width=IN_FOUR.width,
        height=IN_FOUR.height,
        num_inference_steps=IN_FOUR.steps,
        guidance_scale=IN_FOUR.cfg_scale,
        latents=noise(IN_FOUR, 0),
        output_type="latent",
    ).images


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_sd2_makes_the_latents_of_diffusers_pipeline(prediction: str, tmp_path: Path) -> None:
    networks = tiny("sd2")
    path = tmp_path / "sd2.safetensors"
    write_single_file(path, networks, metadata={"modelspec.prediction_type": prediction})
    family, ours = load(path)
    assert ours.prediction == prediction
    pipeline = StableDiffusionPipeline(
        vae=networks.vae,
        text_encoder=next(iter(networks.text.values())),  # pyright: ignore[reportArgumentType]
        tokenizer=padding_with_zero(),
        unet=networks.unet,
        scheduler=scheduler(prediction_type={"epsilon": "epsilon", "v": "v_prediction"}[prediction]),  # pyright: ignore
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
    expected = latents_of_pipeline(pipeline, "blurry")
    torch.testing.assert_close(latents_of(family, ours, IN_FOUR), expected, rtol=1e-4, atol=1e-4)


def sdxl_pipeline(networks: Any) -> StableDiffusionXLPipeline:
    first, second = networks.text.values()
    return StableDiffusionXLPipeline(
        vae=networks.vae,
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=clip_tokenizer(),
        tokenizer_2=padding_with_zero(),
        unet=networks.unet,
        scheduler=scheduler(),  # pyright: ignore[reportArgumentType]
        add_watermarker=False,
    )


@pytest.mark.parametrize(("ours", "theirs"), [("blurry", "blurry"), ("", None)])
@pytest.mark.parametrize("kind_of_sdxl", ["sdxl", "sdxl-ssd-1b"])
def test_sdxl_makes_the_latents_of_diffusers_pipeline(
    kind_of_sdxl: str, ours: str, theirs: str | None, tmp_path: Path
) -> None:
    """Where diffusers knows no negative prompt, AUTOMATIC1111 has an empty one."""
    networks = tiny(kind_of_sdxl)
    path = tmp_path / "sdxl.safetensors"
    write_single_file(path, networks)
    family, loaded = load(path)
    request = GenerationRequest.from_values(json.loads(IN_FOUR.to_json()) | {"negative_prompt": ours})
    expected = latents_of_pipeline(sdxl_pipeline(networks), theirs)
    torch.testing.assert_close(latents_of(family, loaded, request), expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_sdxls_words_are_what_the_pipeline_encodes(tmp_path: Path) -> None:
    networks = tiny("sdxl")
    path = tmp_path / "sdxl.safetensors"
    write_single_file(path, networks)
    family, loaded = load(path)
    words = conditionings(REQUEST, family, loaded, clip_tokenizer())
    assert words.uncond is not None
    (cond,), (uncond,) = words.cond.at(0), words.uncond.at(0)
    context, without, pooled, pooled_without = sdxl_pipeline(networks).encode_prompt(
        REQUEST.prompt, negative_prompt=REQUEST.negative_prompt
    )
    for ours, theirs in ((cond, (context, pooled)), (uncond, (without, pooled_without))):
        for found, expected in zip((ours.context, ours.pooled), theirs, strict=True):
            assert found is not None
            assert expected is not None
            torch.testing.assert_close(found, expected[0], rtol=1e-5, atol=1e-5)
    assert cond.sizes == uncond.sizes == (72, 64, 0, 0, 72, 64)


@torch.inference_mode()
def test_the_refiner_is_told_what_the_pipeline_tells_it(tmp_path: Path) -> None:
    networks = tiny("sdxl-refiner")
    path = tmp_path / "refiner.safetensors"
    write_single_file(path, networks)
    family, loaded = load(path)
    pipeline = StableDiffusionXLImg2ImgPipeline(
        vae=networks.vae,
        text_encoder=None,  # pyright: ignore[reportArgumentType]
        text_encoder_2=next(iter(networks.text.values())),  # pyright: ignore[reportArgumentType]
        tokenizer=None,  # pyright: ignore[reportArgumentType]
        tokenizer_2=padding_with_zero(),
        unet=networks.unet,
        scheduler=scheduler(),  # pyright: ignore[reportArgumentType]
        requires_aesthetics_score=True,
        add_watermarker=False,
    )
    words = conditionings(REQUEST, family, loaded, clip_tokenizer())
    assert words.uncond is not None
    (cond,), (uncond,) = words.cond.at(0), words.uncond.at(0)
    context, _, pooled, _ = pipeline.encode_prompt(REQUEST.prompt, negative_prompt=REQUEST.negative_prompt)
    assert cond.pooled is not None
    torch.testing.assert_close(cond.context, context[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(cond.pooled, pooled[0], rtol=1e-5, atol=1e-5)
    size = (REQUEST.height, REQUEST.width)
    fine, coarse = pipeline._get_add_time_ids(
        size, (0, 0), size, 6.0, 2.5, size, (0, 0), size, dtype=torch.float32, text_encoder_projection_dim=128
    )
    assert (cond.sizes, uncond.sizes) == (tuple(fine[0].tolist()), tuple(coarse[0].tolist()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_file_of_any_precision_is_kept_in_it_and_runs_in_another(dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "sdxl.safetensors"
    write_single_file(path, tiny("sdxl"), dtype)
    family, networks = load(path)
    assert {p.dtype for module in networks.modules() for p in module.parameters()} == {dtype}
    networks.to(torch.device("cpu"), torch.float32)
    assert latents_of(family, networks).isfinite().all()
    networks.to(torch.device("cpu"), torch.float16)
    assert (networks.unet.dtype, networks.vae.dtype) == (torch.float16, torch.float32)
    networks.to(torch.device("cpu"), torch.bfloat16)
    assert networks.vae.dtype == torch.bfloat16


def test_an_old_file_without_the_text_models_level_is_the_same(tmp_path: Path) -> None:
    tensors = {k.replace(".text_model.", "."): v for k, v in tensors_of("sd1").items()}
    save_file(tensors, tmp_path / "old.safetensors")
    family, networks = load(tmp_path / "old.safetensors")
    assert family.name == "sd1"
    expected = next(iter(tiny("sd1").text.values())).state_dict()
    found = networks.text_encoder.state_dict()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("sd1", "model.diffusion_model.middle_block.1.norm.weight"),
        ("sd2", "cond_stage_model.model.transformer.resblocks.1.ln_1.bias"),
        ("sdxl", "first_stage_model.decoder.norm_out.weight"),
    ],
)
def test_a_file_that_lacks_a_tensor_says_which_network_misses_what(name: str, lost: str, tmp_path: Path) -> None:
    tensors = {key: tensor for key, tensor in tensors_of(name).items() if key != lost}
    save_file(tensors, tmp_path / "lacking.safetensors")
    with pytest.raises(RuntimeError, match=r"there is no fitting \S*norm\S*\.\w+ for the \w+"):
        load(tmp_path / "lacking.safetensors")


@pytest.mark.parametrize("channels", [3, 5, 7, 16])
def test_a_unet_of_other_channels_is_not_taken_for_one_of_ours(channels: int, tmp_path: Path) -> None:
    tensors = dict(tensors_of("sd1"))
    tensors["model.diffusion_model.input_blocks.0.0.weight"] = torch.zeros(32, channels, 3, 3)
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(ModelFileError, match=r"other\.safetensors is no checkpoint that Atelier can run"):
        identify(read_header(tmp_path / "other.safetensors"), "other.safetensors")


def witness(spread: float) -> Tensor:
    """A bias whose standard deviation is exactly `spread`, but for rounding."""
    values = torch.linspace(-1, 1, 32)
    return values * (spread / values.std())


@pytest.mark.parametrize(
    ("name", "spread", "metadata", "expected"),
    [
        ("sd2", 0.08, {}, "epsilon"),
        ("sd2", 0.10, {}, "v"),
        ("sd2", 0.10, {"modelspec.prediction_type": "epsilon"}, "epsilon"),
        ("sd2", 0.08, {"modelspec.prediction_type": "v"}, "v"),
        ("sd2-inpainting", 0.10, {}, "epsilon"),
        ("sd1", 0.10, {}, "epsilon"),
    ],
)
def test_what_an_sd2_unet_guesses_is_said_or_told_by_one_bias(
    name: str, spread: float, metadata: dict[str, str], expected: str, tmp_path: Path
) -> None:
    tensors = dict(tensors_of(name))
    tensors["model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"] = witness(spread)
    save_file(tensors, tmp_path / "file.safetensors", metadata=metadata)
    assert load(tmp_path / "file.safetensors")[1].prediction == expected


def test_sdxl_with_the_markers_of_v_prediction_and_zero_terminal_snr(tmp_path: Path) -> None:
    tensors = dict(tensors_of("sdxl"))
    save_file(tensors | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, tmp_path / "v.safetensors")
    family, networks = load(tmp_path / "v.safetensors")
    assert (networks.prediction, networks.zero_terminal_snr) == ("v", True)
    assert latents_of(family, networks).isfinite().all()


def test_zero_terminal_snr_rescales_as_its_paper() -> None:
    betas = torch.linspace(BETAS[0] ** 0.5, BETAS[1] ** 0.5, 1000, dtype=torch.float64) ** 2
    expected = (1 - rescale_zero_terminal_snr(betas)).cumprod(0)
    ours = alphas_cumprod(zero_terminal_snr=True)
    torch.testing.assert_close(ours[:-1], expected[:-1].float(), rtol=1e-6, atol=1e-9)
    assert expected[-1] == 0
    assert ours[-1].item() == pytest.approx(4.8973451890853435e-08)
    assert SigmaTable(ours.tolist()).sigma_max == pytest.approx(4518.76, abs=0.01)


@torch.inference_mode()
def test_without_a_picture_each_variant_sees_what_stands_for_none() -> None:
    latent = FAMILIES["sd1"].latent_format
    for name, channels in {"sd1": 0, "sd2-depth": 1, "sd1-instruct-pix2pix": 4, "sd1-inpainting": 5}.items():
        original = tiny(name)
        networks = Networks(original.unet, original.vae, next(iter(original.text.values())))  # pyright: ignore
        seen = no_picture(networks, latent, 64, 72)
        if not channels:
            assert seen is None
            continue
        assert seen is not None
        assert seen.shape == (1, channels, 9, 8)
        if name == "sd1-inpainting":
            grey = encode(original.vae, torch.zeros(1, 3, 72, 64), latent.scale)
            assert torch.equal(seen, torch.cat([torch.ones(1, 1, 9, 8), grey], dim=1))
            assert grey.abs().max() > 0
        else:
            assert torch.equal(seen, torch.zeros_like(seen))


@pytest.mark.parametrize("layout", ["first_stage_model.", "", "diffusers", "old diffusers"])
def test_a_vae_of_its_own_is_read_in_every_naming(layout: str, tmp_path: Path) -> None:
    networks = tiny("sd1")
    expected = networks.vae.state_dict()
    if "diffusers" in layout:
        tensors = dict(expected)
    else:
        of_vae = {k: v for k, v in single_file(networks).items() if k.startswith("first_stage_model.")}
        tensors = {layout + k.removeprefix("first_stage_model."): v.contiguous() for k, v in of_vae.items()}
    if layout == "old diffusers":
        for new, old in {
            ".to_q.": ".query.",
            ".to_k.": ".key.",
            ".to_v.": ".value.",
            ".to_out.0.": ".proj_attn.",
        }.items():
            tensors = {k.replace(new, old): v for k, v in tensors.items()}
    save_file(tensors | {"loss.logvar": torch.zeros(())}, tmp_path / "vae.safetensors")
    component = vae_component(read_header(tmp_path / "vae.safetensors"), load_file(tmp_path / "vae.safetensors"))
    shell = component.blank()
    assert isinstance(shell, AutoencoderKL)
    fill(shell, component)
    assert [name for name, tensor in shell.state_dict().items() if not torch.equal(tensor, expected[name])] == []
    assert component.tensors.keys() == expected.keys()


def test_a_file_without_such_a_vae_gets_a_sentence(tmp_path: Path) -> None:
    save_file({"decoder.conv_in.weight": torch.zeros(64, 16, 3, 3)}, tmp_path / "flux.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "none.safetensors")
    for name, sentence in {"flux": "has 16 latent channels", "none": "no autoencoder"}.items():
        path = tmp_path / f"{name}.safetensors"
        with pytest.raises(ModelFileError, match=sentence):
            vae_component(read_header(path), load_file(path))


def test_components_of_several_files_can_be_put_together(tmp_path: Path) -> None:
    """A chosen VAE in a checkpoint of any family: its shell is the same."""
    one, other = tiny("sdxl"), tiny("sd1", seed=1)
    for name, networks in {"one": one, "other": other}.items():
        write_single_file(tmp_path / f"{name}.safetensors", networks)
    header, tensors = read_header(tmp_path / "one.safetensors"), load_file(tmp_path / "one.safetensors")
    components = FAMILIES["sdxl"].components(header, tensors)
    path = tmp_path / "other.safetensors"
    vae = vae_component(read_header(path), load_file(path), full_precision=True)
    assert vae.architecture == next(c.architecture for c in components if c.role == "vae")
    mixed = assemble([*(c for c in components if c.role != "vae"), vae])
    expected = other.vae.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in mixed.vae.state_dict().items())


@pytest.mark.parametrize("distilled", ["", "lcm", "turbo", "lightning", "hyper"])
@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_suggested_values_are_ones_that_a_request_takes(distilled: Any, zero_terminal_snr: bool) -> None:
    identity = Identity(
        kind=Kind.CHECKPOINT, title="x", family="sdxl", distilled=distilled, zero_terminal_snr=zero_terminal_snr
    )
    suggested = defaults_for(identity)
    table = SigmaTable(alphas_cumprod().tolist())
    sampler = find_sampler(suggested.sampler)
    assert len(sigmas_for(sampler, suggested.schedule, suggested.steps, table)) == suggested.steps + 1
    assert STEPS_RANGE[0] <= suggested.steps <= STEPS_RANGE[1]
    assert CFG_RANGE[0] <= suggested.cfg_scale <= CFG_RANGE[1]
    if distilled:
        assert suggested.steps <= 8
        assert suggested.cfg_scale <= 2
