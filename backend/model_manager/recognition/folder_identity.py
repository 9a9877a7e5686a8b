"""What a folder is that diffusers saved: told from its networks' headers, and from two of its JSON files.

Of the JSON only known keys are read; nothing in it names code that is run, or a file that is opened.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from backend.errors import ModelFileError
from backend.model_manager.header import Header, TensorInfo, read_header
from backend.model_manager.identity import Identity, Kind, Prediction
from backend.model_manager.recognition.evidence import Evidence
from backend.model_manager.recognition.readers import read_transformer
from backend.model_manager.recognition.structure import Structures
from backend.model_manager.recognition.unet_identity import TOKENS, read_unet
from backend.model_manager.recognition.wording import described

INDEX = "model_index.json"
LARGEST_JSON = 256 * 1024  # bytes
DEEPEST_JSON = 8
MOST_SHARDS = 64
DENOISERS = ("unet", "transformer", "prior", "decoder")
# Family -> the folders that a checkpoint needs, and of these the text encoders in the order of its context.
NEEDED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sd1": (("vae", "text_encoder"), ("text_encoder",)),
    "sd2": (("vae", "text_encoder"), ("text_encoder",)),
    "sdxl": (("vae", "text_encoder", "text_encoder_2"), ("text_encoder", "text_encoder_2")),
    "sdxl-refiner": (("vae", "text_encoder_2"), ("text_encoder_2",)),
}
PREDICTIONS: Mapping[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v", "flow_prediction": "flow"}


def read_diffusers_folder(path: Path) -> Identity:
    """The identity of the checkpoint in a folder with a ``model_index.json``. Raises `ModelFileError` if that or a
    network's file is damaged."""
    index = _json(path / INDEX, path.name)
    denoiser = next((name for name in DENOISERS if (path / name).is_dir()), "")
    header = _header(path / denoiser) if denoiser else None
    if header is None:
        return _unread(path, denoiser, index)
    evidence = Evidence(header, path.name, None, Structures().of(header))
    identity = read_unet(evidence) or read_transformer(evidence)
    if identity is None:
        return _unread(path, denoiser, index)
    identity = replace(identity, precision=evidence.structure.precision)
    if identity.family not in NEEDED:
        return identity
    folders, texts = NEEDED[identity.family]
    headers = {name: _header(path / name) for name in folders}
    scheduler = path / "scheduler" / "scheduler_config.json"
    said = _json(scheduler, path.name) if scheduler.is_file() else {}
    prediction = PREDICTIONS.get(str(said.get("prediction_type", "epsilon")), "")
    identity = described(
        path.name,
        replace(
            identity,
            title="",
            prediction=prediction or identity.prediction,
            zero_terminal_snr=said.get("rescale_betas_zero_snr") is True,
            context_widths=tuple(_text_width(headers[name]) for name in texts),
            suggested=tuple(name for name in identity.suggested if name != "prediction"),
        ),
    )
    missing = [name for name, found in headers.items() if found is None]
    if missing and identity.runs:
        problem = f"{path.name} has no safetensors file in its folder {missing[0]}."
        return replace(identity, runs=False, problem=problem)
    return identity


def _unread(path: Path, denoiser: str, index: Mapping[str, Any]) -> Identity:
    """A folder without a network that can be looked at."""
    named = index.get("_class_name")
    title = named[:80] if isinstance(named, str) and named else "Diffusers folder"
    if denoiser and any((path / denoiser).glob("*.bin")):
        problem = f"{path.name} keeps its networks as pickles: convert it to safetensors."
    else:
        problem = f"{path.name} is a {title}; Atelier cannot run it."
    return Identity(kind=Kind.CHECKPOINT, title=title, problem=problem)


def _header(folder: Path) -> Header | None:
    """The tensors of one network's file, or of all its shards; nothing if there is no safetensors file.

    A folder may hold the network more than once: in full precision without a mark, in half as ``.fp16``.
    """
    paths = sorted(path for path in folder.glob("*.safetensors") if path.is_file()) if folder.is_dir() else []
    marked = [path for path in paths if ".fp16" in path.name or "non_ema" in path.name]
    chosen = [path for path in paths if path not in marked] or marked
    shards = [path for path in chosen if "-of-" in path.name]
    chosen = (shards if len(shards) == len(chosen) else [path for path in chosen if path not in shards][:1])[
        :MOST_SHARDS
    ]
    if not chosen:
        return None
    tensors: dict[str, TensorInfo] = {}
    for path in chosen:
        tensors |= read_header(path).tensors
    return Header(tensors, {})


def _text_width(header: Header | None) -> int:
    shapes = [header.shape(token) for token in TOKENS if token in header.tensors] if header else []
    return shapes[0][-1] if shapes and shapes[0] else 0


def _json(path: Path, name: str) -> dict[str, Any]:
    """An object from a small JSON file. Raises `ModelFileError` naming the folder."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_JSON + 1)
    except OSError as error:
        raise ModelFileError(f"{name} cannot be read: {path.name}: {error.strerror or error}.") from error
    if len(text) > LARGEST_JSON:
        raise ModelFileError(f"{name} is damaged: its {path.name} has more than {LARGEST_JSON:,} bytes.")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name} is damaged: its {path.name} is no JSON.") from error
    if not isinstance(content, dict) or _depth(content) > DEEPEST_JSON:
        raise ModelFileError(f"{name} is damaged: its {path.name} is not what diffusers writes.")
    return content


def _depth(content: object) -> int:
    """How deep lists and objects nest, counted no further than is allowed."""
    layer, depth = [content], 0
    while layer and depth <= DEEPEST_JSON:
        inner = [node for node in layer if isinstance(node, dict | list)]
        layer = [child for node in inner for child in (node.values() if isinstance(node, dict) else node)]
        depth += bool(inner)
    return depth
