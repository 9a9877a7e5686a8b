"""Checkpoints as diffusers saves them: a folder with a folder for each network, its shape in JSON beside it.

Of the JSON only known keys with values of the right kind are read, and nothing in it names code that is run. What the
networks are is what `backend.families.ldm` makes of a single file of the same weights.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import ModelFileError
from backend.families import FAMILIES
from backend.families.family import Component, Family
from backend.families.ldm import UNET_DEFAULTS, attention_named, whole_unet_config
from backend.families.text_encoders import text_component
from backend.model_manager.header import read_header
from backend.model_manager.identity import Prediction

if TYPE_CHECKING:  # folders are looked at before torch is loaded
    from torch import Tensor

    from backend.families.networks import Networks

INDEX = "model_index.json"
LARGEST_JSON = 4 * 1024 * 1024  # bytes; the index of a sharded network names every tensor
UNET_BLOCKS = frozenset(
    {"CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"}
    | {"UNetMidBlock2DCrossAttn", "UNetMidBlock2D", "text_time"}
)
VAE_DEFAULTS: Mapping[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
}
TEXT_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
}
ACTIVATIONS = frozenset({"quick_gelu", "gelu"})
LARGEST_NUMBER = 1_000_000  # no width and no vocabulary comes near
MOST_LAYERS = 200
MOST_LEVELS = 16
PER_LEVEL = frozenset({"attention_head_dim", "transformer_layers_per_block"})  # one number, or one for each level


@dataclass(frozen=True, kw_only=True)
class DiffusersFolder:
    """A folder that has been understood. `files` are the weights of each network, by its folder's name."""

    path: Path
    family: Family
    prediction: Prediction
    zero_terminal_snr: bool
    files: Mapping[str, tuple[Path, ...]]
    configs: Mapping[str, Mapping[str, Any]]

    def components(self) -> tuple[Component, ...]:
        """Its networks, with the files mapped. Raises `ModelFileError` for a file that lies or is damaged."""
        return tuple(self._components())

    def build(self) -> "Networks":
        """Networks in shells of their own. Raises `ModelFileError`, or `RuntimeError` if the files lack tensors."""
        from backend.families.networks import assemble

        return assemble(self.components(), prediction=self.prediction, zero_terminal_snr=self.zero_terminal_snr)

    def _components(self) -> Iterator[Component]:
        from backend.families.networks import architecture, unet_shell, vae_shell

        unet, vae = self.configs["unet"], self.configs["vae"]
        yield Component(
            role="unet",
            architecture=architecture("unet", unet),
            blank=partial(unet_shell, unet),
            tensors=self._tensors("unet"),
        )
        yield Component(
            role="vae",
            architecture=architecture("vae", vae),
            blank=partial(vae_shell, vae),
            tensors={attention_named(key): tensor for key, tensor in self._tensors("vae").items()},
            full_precision=self.family.full_precision_vae,
        )
        folders = [name for name in self.files if name.startswith("text_encoder")]
        for encoding, name in zip(self.family.text, folders, strict=True):
            tensors = {key.removeprefix("text_model."): tensor for key, tensor in self._tensors(name).items()}
            yield text_component(encoding.role, self.configs[name], tensors)

    def _tensors(self, name: str) -> "dict[str, Tensor]":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        tensors: dict[str, Tensor] = {}
        for path in self.files[name]:
            read_header(path)
            try:
                tensors |= load_file(path)
            except (SafetensorError, OSError) as error:
                raise ModelFileError(f"{_shown(path)} cannot be read: {error}") from error
        return tensors


def is_folder_of_networks(path: Path) -> bool:
    """Whether this folder says that it is a checkpoint of diffusers."""
    return (path / INDEX).is_file()


def read_folder(path: Path) -> DiffusersFolder:
    """Understand the folder at `path` without loading a weight.

    Raises `ModelFileError` with a sentence for one that holds something else, lacks a part, or has it only as a pickle.
    """
    entries = _json(path / INDEX)
    unet = _unet_config(path)
    # An entry of [null, null] is a part that this checkpoint does without.
    present = [name for name in ("text_encoder", "text_encoder_2") if (entries.get(name) or [None])[0] is not None]
    family = _family(path, unet, present)
    configs: dict[str, Mapping[str, Any]] = {"unet": unet, "vae": _vae_config(path)}
    for encoding, name in zip(family.text, present, strict=True):
        configs[name] = _text_config(path / name / "config.json", projected=encoding.pooled)
    scheduler = path / "scheduler" / "scheduler_config.json"
    said = _json(scheduler) if scheduler.is_file() else {}
    predictions: dict[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v"}
    prediction = predictions.get(said.get("prediction_type", "epsilon"))
    if prediction is None:
        raise ModelFileError(
            f"{path.name} guesses {said['prediction_type']!r}; Atelier knows {', '.join(predictions)}."
        )
    return DiffusersFolder(
        path=path,
        family=family,
        prediction=prediction,
        zero_terminal_snr=said.get("rescale_betas_zero_snr") is True,
        files={name: tuple(_weights(path / name)) for name in configs},
        configs=configs,
    )


def _family(path: Path, unet: Mapping[str, Any], encoders: list[str]) -> Family:
    """By the marks of a single file: how the UNet projects, what else it is told, and which text encoders it has."""
    if unet["addition_embed_type"] is None:
        name = "sd2" if unet["use_linear_projection"] else "sd1"
    else:
        name = "sdxl" if len(encoders) == 2 else "sdxl-refiner"
    family = FAMILIES[name]
    if len(family.text) != len(encoders):
        raise ModelFileError(f"{path.name} has {len(encoders)} text encoders; {family.title} has {len(family.text)}.")
    return family


def _unet_config(path: Path) -> dict[str, Any]:
    file = path / "unet" / "config.json"
    if not file.is_file():
        raise ModelFileError(f"{path.name} has no unet: Atelier runs {', '.join(f.title for f in FAMILIES.values())}.")
    config = _known(file, UNET_DEFAULTS)
    words = [
        config["addition_embed_type"],
        config["mid_block_type"],
        *config["down_block_types"],
        *config["up_block_types"],
    ]
    strange = [word for word in words if word is not None and word not in UNET_BLOCKS]
    if strange:
        raise ModelFileError(f"{_shown(file)} asks for {strange[0]!r}, which Atelier does not know.")
    try:
        return whole_unet_config(config)
    except ValueError as error:
        raise ModelFileError(f"{_shown(file)} has more levels in one list than in another.") from error


def _vae_config(path: Path) -> dict[str, Any]:
    file = path / "vae" / "config.json"
    config = {**VAE_DEFAULTS, **_known(file, VAE_DEFAULTS)}
    if config["latent_channels"] != 4:
        raise ModelFileError(f"{_shown(file)} has {config['latent_channels']} latent channels; Stable Diffusion has 4.")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}


def _text_config(file: Path, *, projected: bool) -> dict[str, Any]:
    known = _known(file, {**TEXT_DEFAULTS, "projection_dim": 512})
    width = known.pop("projection_dim", 512)
    config = {**TEXT_DEFAULTS, **known} | ({"projection_dim": width} if projected else {})
    if config["hidden_act"] not in ACTIVATIONS:
        raise ModelFileError(f"{_shown(file)} asks for {config['hidden_act']!r}, which Atelier does not know.")
    return config


def _known(file: Path, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the known keys. Raises `ModelFileError` for one of another kind than its default."""
    said = _json(file)
    known = {**defaults, **{key: said[key] for key in defaults if key in said}}
    for key, value in known.items():
        if not _sound(key, value, defaults[key]):
            raise ModelFileError(f"{_shown(file)} has an impossible {key}: {str(value)[:100]}.")
    return known


def _sound(key: str, value: object, default: object) -> bool:
    """Whether a value is of its default's kind; where that is nothing, a number, a word, a list or nothing."""
    match default:
        case bool() | str():
            return isinstance(value, type(default))
        case int():
            return _is_size(key, value) or (key in PER_LEVEL and _is_list(key, value))
        case None:
            return value is None or isinstance(value, str) or _is_size(key, value) or _is_list(key, value)
        case _:
            return isinstance(value, list | tuple) and (_is_list(key, value) or all(isinstance(v, str) for v in value))


def _is_size(key: str, value: object) -> bool:
    largest = MOST_LAYERS if "layers" in key else LARGEST_NUMBER
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest


def _is_list(key: str, value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) <= MOST_LEVELS
        and all(_is_size(key, part) or _is_list(key, part) for part in value)
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > LARGEST_JSON:
            raise ModelFileError(f"{_shown(file)} is too large: {LARGEST_JSON:,} bytes are allowed.")
        said = json.loads(file.read_bytes())
    except OSError as error:
        raise ModelFileError(f"{_shown(file)} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{_shown(file)} is no JSON.") from error
    if not isinstance(said, dict):
        raise ModelFileError(f"{_shown(file)} is no JSON object.")
    return said


def _weights(folder: Path) -> list[Path]:
    """The files of a network: one, or the shards that its index lists; in full precision where there is a choice."""
    for pattern in ("model.safetensors", "diffusion_pytorch_model.safetensors"):
        stem = pattern.removesuffix(".safetensors")
        for variant in ("", ".fp16", ".bf16"):
            whole = folder / f"{stem}{variant}.safetensors"
            if whole.is_file():
                return [whole]
            index = folder / f"{stem}.safetensors.index{variant}.json"
            if index.is_file():
                return _shards(index)
    if any(folder.glob("*.bin")):
        raise ModelFileError(f"{_shown(folder)} has its weights only as a pickle (.bin), which Atelier does not open.")
    raise ModelFileError(f"{_shown(folder)} has no weights.")


def _shards(index: Path) -> list[Path]:
    listed = _json(index).get("weight_map")
    names = sorted({str(name) for name in listed.values()}) if isinstance(listed, dict) else []
    for name in names:
        if name != Path(name).name or not name.endswith(".safetensors") or not (index.parent / name).is_file():
            raise ModelFileError(f"{_shown(index)} lists {name!r}, which is no safetensors file beside it.")
    if not names:
        raise ModelFileError(f"{_shown(index)} lists no files.")
    return [index.parent / name for name in names]


def _shown(path: Path) -> str:
    """The path from the checkpoint's folder on: `config.json` alone would say nothing."""
    return "/".join(path.parts[-3:] if path.suffix else path.parts[-2:])
