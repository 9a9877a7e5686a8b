"""Files are told by their names and shapes; the headers in `tests/headers` come from published configurations."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from backend.model_manager.header import Header, Table, TensorInfo
from backend.model_manager.identify import identify, identify_file
from backend.model_manager.identity import Identity
from backend.model_manager.recognition.structure import Structures
from backend.model_manager.recognition.unet_identity import V_PREDICTION_BIAS
from backend.model_manager.recognition.wording import override
from tests.headers.folding import FOLDER, shrunk, stripped
from tests.headers.rows import CHECKPOINT, CONTROLNET, LORA, NAMED, RUN, UNKNOWN, VAE

ROOT = Path(__file__).resolve().parent.parent
FILE = "model.safetensors"


def known(name: str, file_name: str = FILE) -> Identity:
    return identify(stripped(name), file_name)


def with_tensors(header: Header, *others: Header, metadata: Mapping[str, str] | None = None, **more: str) -> Header:
    """A header with other headers' tensors too, and with single ones: key, dots as double underscores -> sides."""
    tensors = dict(header.tensors)
    for other in others:
        tensors |= other.tensors
    for key, sides in more.items():
        shape = tuple(int(side) for side in sides.split(",") if side)
        tensors[key.replace("__", ".")] = TensorInfo("F16", shape, 2 * int(np.prod(shape)))
    return Header(tensors, dict(metadata or header.metadata))


def test_every_header_has_its_row_and_every_row_its_header() -> None:
    assert not RUN.keys() & NAMED.keys()
    assert {path.stem for path in FOLDER.glob("*.json")} == RUN.keys() | NAMED.keys()


def test_every_header_names_its_source_and_all_are_small() -> None:
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")]
    assert all(len(one["source"]) > 5 for one in kept)
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 1_000_000


@pytest.mark.parametrize("name", RUN)
def test_what_runs_is_known(name: str) -> None:
    found = known(name)
    assert (found.kind, found.family, found.variant, found.context_widths, found.title) == RUN[name]
    assert found.runs
    assert found.problem == ""


@pytest.mark.parametrize("name", NAMED)
def test_what_does_not_run_is_named_in_a_sentence(name: str) -> None:
    found = known(name)
    assert (found.kind, found.family, found.variant, found.title) == NAMED[name]
    assert not found.runs
    assert found.problem.startswith(FILE) and found.problem.endswith(".")


@pytest.mark.parametrize(
    "name", ["sd1", "sdxl", "lora-sdxl", "embedding-sd2", "vae-flux1", "flux1-dev", "upscaler-hat"]
)
@pytest.mark.parametrize("file_name", ["sd_xl_base.safetensors", "flux1-dev-lora.safetensors", "v1-5-inpainting.ckpt"])
def test_a_name_decides_nothing(name: str, file_name: str) -> None:
    assert replace(known(name, file_name), problem="") == replace(known(name), problem="")


@pytest.mark.parametrize("name", [*RUN, *NAMED])
def test_shapes_that_make_no_sense_break_nothing(name: str) -> None:
    header = stripped(name)
    for shape in ((), (0,), (3,), (1, 2), (1,) * 8):
        info = TensorInfo("F16", shape, 2 * int(np.prod(shape)))
        assert isinstance(identify(Header(dict.fromkeys(header.tensors, info), {}), FILE), Identity)


def test_the_type_of_most_bytes_is_told() -> None:
    assert known("sd1").precision == "F32"
    assert known("sdxl").precision == "F16"
    assert known("flux1-schnell").precision == "F8_E4M3"


# Near misses.


def test_an_empty_file_is_unknown() -> None:
    found = identify(Header({}, {}), FILE)
    assert (found.kind, found.family, found.runs) == (UNKNOWN, "", False)
    assert "empty" in found.problem


def test_what_no_row_knows_stays_unknown() -> None:
    found = identify(
        with_tensors(Header({}, {}), decoder__weight="4,4", layers__0__weight="768,768"), "sd15.safetensors"
    )
    assert (found.kind, found.family, found.title, found.runs) == (UNKNOWN, "", "Unknown", False)
    assert found.problem


def test_a_checkpoint_with_strangers_tensors_stays_a_checkpoint() -> None:
    strangers = [stripped(name) for name in ("lora-sd1", "animatediff", "embedding-sdxl", "vae-flux2", "text-clip-l")]
    for name in ("sd1", "sdxl", "sd2-depth"):
        found = identify(with_tensors(stripped(name), *strangers, control_model__stray="3,3"), FILE)
        assert (found.kind, found.family, found.runs) == (CHECKPOINT, RUN[name][1], True)


def test_a_controlnet_that_brings_its_checkpoint_is_a_controlnet() -> None:
    assert identify(with_tensors(stripped("sd1"), stripped("controlnet-sd1")), FILE).kind is CONTROLNET


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl", "sdxl-refiner"])
def test_a_checkpoint_that_lacks_a_part_says_which(name: str) -> None:
    whole = stripped(name)

    def without(*prefixes: str) -> Identity:
        tensors = {key: info for key, info in whole.tensors.items() if not key.startswith(prefixes)}
        found = identify(Header(tensors, {}), FILE)
        assert (found.kind, found.family, found.runs) == (CHECKPOINT, RUN[name][1], False)
        return found

    assert "has no VAE" in without("first_stage_model.").problem
    assert "has no text encoder" in without("cond_stage_model.", "conditioner.").problem
    assert "alone" in without("first_stage_model.", "cond_stage_model.", "conditioner.").problem


def test_a_vae_that_kept_its_prefix_is_a_vae() -> None:
    tensors = {key: info for key, info in stripped("sdxl").tensors.items() if key.startswith("first_stage_model.")}
    assert identify(Header(tensors, {}), FILE).kind is VAE


def test_parts_that_do_not_fit_together_do_not_run() -> None:
    text = {
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": TensorInfo("F16", (49408, 64), 0)
    }
    found = identify(Header({**stripped("sd1").tensors, **text}, {}), FILE)
    assert not found.runs
    assert "64" in found.problem and "768" in found.problem


def test_an_unheard_of_number_of_channels_does_not_run() -> None:
    header = with_tensors(stripped("sd1"), model__diffusion_model__input_blocks__0__0__weight="320,12,3,3")
    found = identify(header, FILE)
    assert (found.family, found.variant, found.runs) == ("sd1", "12-channel", False)


@pytest.mark.parametrize("name", [name for name, row in RUN.items() if row[0] is CHECKPOINT])
def test_a_narrow_checkpoint_is_of_the_same_family(name: str, tmp_path: Path) -> None:
    """Written to a file, every width 4: structure decides, and the title says the width."""
    path = tmp_path / "narrow.safetensors"
    save_file(shrunk(stripped(name)), path)
    found = identify_file(path)
    kind, family, variant, widths, title = RUN[name]
    narrow = (4,) * len(widths)
    assert (found.kind, found.family, found.variant) == (kind, family, variant)
    if len(widths) == 1:  # SDXL's context is the sum of two, which shrinking to 4 does not keep
        assert found.context_widths == narrow
        assert found.title == f"{title}, context 4"
        assert found.runs


def test_a_narrow_lora_of_sdxl_is_told_by_its_depth() -> None:
    tensors = {
        key: replace(info, shape=(8, 128)) if info.shape == (8, 2048) else info
        for key, info in stripped("lora-sdxl").tensors.items()
        if key.startswith("lora_unet_")
    }
    found = identify(Header(tensors, {}), FILE)
    assert (found.family, found.context_widths, found.title) == ("sdxl", (128,), "LoRA for SDXL, context 128")


# Prediction, distillation, families from metadata.


@pytest.mark.parametrize(("spread", "prediction"), [(0.05, "epsilon"), (0.2, "v")])
def test_the_prediction_of_sd2_is_read_from_one_tensor(spread: float, prediction: str, tmp_path: Path) -> None:
    tensors = shrunk(stripped("sd2"))
    tensors[V_PREDICTION_BIAS] = np.array([spread, -spread] * 2, np.float16)
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    found = identify_file(path)
    assert (found.prediction, found.suggested) == (prediction, ())
    assert ("v-prediction" in found.title) == (prediction == "v")
    said = {"v": "epsilon", "epsilon": "v"}[prediction]
    save_file(tensors, path, metadata={"modelspec.prediction_type": said})
    assert identify_file(path).prediction == said


def test_a_tensor_that_cannot_be_looked_into_leaves_it_to_the_name(tmp_path: Path) -> None:
    tensors = shrunk(stripped("sd2"))
    tensors[V_PREDICTION_BIAS] = np.array([0.2, -0.2] * 2, np.float64)
    path = tmp_path / "v2-1_768.safetensors"
    save_file(tensors, path)
    found = identify_file(path)
    assert (found.problem, found.prediction, found.suggested) == ("", "v", ("prediction",))


def test_without_its_values_the_prediction_of_sd2_is_a_suggestion() -> None:
    for file_name, prediction in (("v2-1_768-ema-pruned.safetensors", "v"), ("512-base-ema.safetensors", "epsilon")):
        found = known("sd2", file_name)
        assert (found.prediction, found.suggested) == (prediction, ("prediction",))


def test_predictions_of_the_others() -> None:
    assert [known(name).prediction for name in ("sd1", "sd2-inpainting", "sd2-depth", "sdxl", "sdxl-refiner")] == [
        "epsilon"
    ] * 5
    assert (known("sdxl-v").prediction, known("sdxl-v").zero_terminal_snr) == ("v", True)
    assert known("sdxl").zero_terminal_snr is False
    assert known("flux1-dev").prediction == "flow"
    assert known("sdxl-playground").prediction == "edm"
    trained = with_tensors(stripped("sd1"), metadata={"ss_v_parameterization": "True", "ss_zero_terminal_snr": "True"})
    assert (identify(trained, FILE).prediction, identify(trained, FILE).zero_terminal_snr) == ("v", True)


@pytest.mark.parametrize(
    ("file_name", "distilled"),
    [
        ("sd_xl_turbo_1.0_fp16.safetensors", "turbo"),
        ("DreamShaperXL_Lightning.safetensors", "lightning"),
        ("Hyper-SDXL-8steps.safetensors", "hyper"),
        ("dreamshaperLCM_v7.safetensors", "lcm"),
        ("lcm-lora-sdxl.safetensors", "lcm"),
        ("hyperRealism_v3.safetensors", ""),
        ("calcmodel.safetensors", ""),
        ("sd_xl_base_1.0.safetensors", ""),
    ],
)
def test_a_name_suggests_a_distillation_and_metadata_tell_it(file_name: str, distilled: str) -> None:
    for name in ("sdxl", "lora-sdxl"):
        found = known(name, file_name)
        assert (found.distilled, found.suggested) == (distilled, ("distilled",) if distilled else ())
        assert found.title == RUN[name][4]
    told = identify(with_tensors(stripped("sdxl"), metadata={"modelspec.title": file_name}), FILE)
    assert (told.distilled, told.suggested) == (distilled, ())


def test_a_vae_of_four_channels_is_told_by_metadata_or_suggested_by_its_name() -> None:
    for file_name, family in (
        ("sdxl_vae.safetensors", "sdxl"),
        ("vae-ft-mse-840000-ema-pruned.safetensors", "sd1"),
        ("pretty.safetensors", ""),
    ):
        found = known("vae-sd", file_name)
        assert (found.family, found.suggested) == (family, ("family",) if family else ())
    told = with_tensors(stripped("vae-sd"), metadata={"modelspec.architecture": "stable-diffusion-xl-v1-base/vae"})
    assert (identify(told, FILE).family, identify(told, FILE).suggested) == ("sdxl", ())


def test_what_a_lora_does_not_show_its_metadata_tell() -> None:
    for metadata, family in (
        ({"ss_base_model_version": "sd_v1"}, "sd1"),
        ({"ss_v2": "True"}, "sd2"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}, "sd2"),
        ({"ss_base_model_version": "something"}, ""),
    ):
        assert identify(with_tensors(stripped("lora-sd1-oft"), metadata=metadata), FILE).family == family
    # But they do not overrule what it shows.
    assert identify(with_tensors(stripped("lora-sd1"), metadata={"ss_v2": "True"}), FILE).family == "sd1"


def test_quantised_files_are_said_to_be() -> None:
    plain = Header({key: replace(info, dtype="F8_E4M3") for key, info in stripped("sdxl").tensors.items()}, {})
    assert (identify(plain, FILE).precision, identify(plain, FILE).runs) == ("F8_E4M3", True)
    scaled = identify(with_tensors(plain, scaled_fp8="2"), FILE)
    assert (scaled.title, scaled.runs) == ("SDXL, scaled fp8", False)
    assert "quantised" in scaled.problem


# What fits what, and what a person says.


def test_what_fits_what() -> None:
    narrow = replace(known("sd1"), context_widths=(64,))
    sd1, sd2, sdxl, refiner = (known(name) for name in ("sd1", "sd2", "sdxl", "sdxl-refiner"))
    fits = {
        "lora-sd1": [sd1], "lora-sd2": [sd2], "lora-sdxl": [sdxl], "lora-starter": [narrow],
        "embedding-sd1": [sd1], "embedding-sd2": [sd2], "embedding-sdxl": [sdxl], "embedding-starter": [narrow],
        "vae-sd": [sd1, sd2, sdxl, refiner, narrow],
    }  # fmt: skip
    for name, checkpoints in fits.items():
        adapter = known(name)
        assert [one for one in (sd1, sd2, sdxl, refiner, narrow) if adapter.fits(one)] == checkpoints, name
    told = known("vae-sd", "sdxl_vae.safetensors")
    assert [told.fits(one) for one in (sd1, sd2, sdxl, refiner)] == [False, False, True, True]
    # Of a narrow SDXL a U-Net's LoRA shows only the sum of both text encoders' widths.
    assert replace(known("lora-sdxl"), context_widths=(128,)).fits(replace(sdxl, context_widths=(64, 64)))


def test_what_a_person_says_takes_the_place_of_what_was_found() -> None:
    guessed = known("sd2", "768.safetensors")
    told = override(guessed, FILE, prediction="epsilon")
    assert (told.prediction, told.suggested, told.title, told.runs) == ("epsilon", (), "SD 2.x", True)
    vae = override(known("vae-sd", "my_xl.safetensors"), FILE, family="sd1")
    assert (vae.family, vae.suggested, vae.title, vae.runs) == ("sd1", (), "VAE for SD 1.x and 2.x", True)
    lora = override(known("lora-sd1-oft"), FILE, family="sd1")
    assert (lora.title, lora.runs) == ("LoRA (OFT) for SD 1.x", False)
    lora = override(identify(Header({}, {}), FILE), FILE, kind=LORA, family="sdxl", variant="lora")
    assert (lora.kind, lora.title, lora.runs, lora.problem) == (LORA, "LoRA for SDXL", True, "")
    turbo = override(known("sdxl", "turbo.safetensors"), FILE, distilled="turbo")
    assert (turbo.distilled, turbo.suggested, turbo.title) == ("turbo", (), "SDXL, Turbo")


def test_saying_what_it_is_does_not_complete_a_file() -> None:
    alone = override(known("sd1-unet"), FILE, prediction="v")
    assert (alone.prediction, alone.runs) == ("v", False)
    assert "alone" in alone.problem


# Many files in one go.


def test_what_many_files_share_never_tells_one_of_another() -> None:
    """Every header under names and with metadata that matter, all of them with one memory, and each with none."""
    structures = Structures()
    metadata = (
        {},
        {"ss_v2": "True", "ss_v_parameterization": "True", "ss_zero_terminal_snr": "True"},
        {"modelspec.architecture": "stable-diffusion-xl-v1-base/vae", "modelspec.title": "LCM"},
        {"ss_base_model_version": "sd_v1", "modelspec.prediction_type": "epsilon"},
    )
    files = ("model.safetensors", "sdxl_lightning_v.safetensors")
    tables = {name: Table(tensors=stripped(name).tensors, begins={}) for name in (*RUN, *NAMED)}
    different = set()
    for said in metadata:
        for file_name in files:
            for name, table in tables.items():
                shared = identify(Header(table.tensors, said, table=table), file_name, structures=structures)
                assert shared == identify(Header(table.tensors, said), file_name), (name, said, file_name)
                different.add((name, replace(shared, problem="")))
    assert len(different) > len(tables) + 50  # names and metadata did matter


def test_files_of_the_same_names_are_told_apart_by_their_shapes() -> None:
    structures = Structures()
    for width, family in ((768, "sd1"), (1024, "sd2"), (768, "sd1")):
        tensors = {
            key: replace(info, shape=(*info.shape[:1], width)) if info.shape[1:] == (768,) else info
            for key, info in stripped("lora-sd1-text-only").tensors.items()
        }
        header = Header(tensors, {}, table=Table(tensors=tensors, begins={}))
        assert identify(header, FILE, structures=structures).family == family


def test_to_identify_needs_no_network_library() -> None:
    code = (
        "import sys, backend.model_manager.identify; print({'torch', 'diffusers', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
