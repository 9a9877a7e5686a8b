"""The recipe that every picture carries, in AUTOMATIC1111's words, so that any tool of the field can read it."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from backend.request import GenerationRequest

VERSION = "0.1.0"


SHORT = 10  # digits of a checkpoint's or a VAE's sha256
SHORT_OF_MANY = 12  # digits where a list of hashes is written
NONE: Mapping[str, str] = MappingProxyType({})


def write_infotext(
    request: GenerationRequest,
    *,
    schedule: str,
    model_hash: str,
    vae_hash: str = "",
    lora_hashes: Mapping[str, str] = NONE,
    embedding_hashes: Mapping[str, str] = NONE,
) -> str:
    """The ``parameters`` text of one picture, whose seed is `request.seed`.

    `schedule` is the resolved one (A1111 writes ``Karras`` where the page says Automatic). The hashes are whole sha256,
    a LoRA's that of its tensors alone, by the names that the words use. Keys stand in A1111 1.10's order.
    """
    pairs = {
        "Steps": request.steps,
        "Sampler": request.sampler,
        "Schedule type": schedule,
        "CFG scale": f"{request.cfg_scale:g}",
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": model_hash[:SHORT],
        "Model": request.checkpoint.rpartition("/")[2],
    }
    if vae_hash:
        pairs |= {"VAE hash": vae_hash[:SHORT], "VAE": f"{request.vae.rpartition('/')[2]}.safetensors"}
    if request.clip_skip > 1:
        pairs["Clip skip"] = request.clip_skip
    for key, hashes in (("Lora hashes", lora_hashes), ("TI hashes", embedding_hashes)):
        if hashes:
            pairs[key] = ", ".join(f"{name}: {sha256[:SHORT_OF_MANY]}" for name, sha256 in hashes.items())
    pairs |= {"RNG": "NV", "Version": f"Atelier {VERSION}"}
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{key}: {_quoted(value)}" for key, value in pairs.items()))
    return "\n".join(lines).strip()


def _quoted(value: object) -> str:
    """A1111 quotes a value as JSON exactly when it contains a comma, a colon or a line break."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n") else text
