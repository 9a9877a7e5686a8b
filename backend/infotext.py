"""The recipe that every picture carries, in AUTOMATIC1111's words, so that any tool of the field can read it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType

from backend.init_image import RESIZE_MODES, HiresFix, InitImage
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
    edits: bool = False,
    inpaints: bool = False,
) -> str:
    """The ``parameters`` text of one picture, whose seed is `request.seed`.

    `schedule` is the resolved one (A1111 writes ``Karras`` where the page says Automatic). The hashes are whole sha256,
    a LoRA's that of its tensors alone, by the names that the words use. `edits` and `inpaints` say that the checkpoint
    is an InstructPix2Pix or an inpainting one, which have a value of their own. Keys stand in A1111 1.10's order.
    """
    pairs: dict[str, object] = {
        "Steps": request.steps,
        "Sampler": request.sampler,
        "Schedule type": schedule,
        "CFG scale": f"{request.cfg_scale:g}",
        **_image_guidance(request, edits=edits),
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": model_hash[:SHORT],
        "Model": request.checkpoint.rpartition("/")[2],
    }
    if vae_hash:
        pairs |= {"VAE hash": vae_hash[:SHORT], "VAE": f"{request.vae.rpartition('/')[2]}.safetensors"}
    pairs |= _strength(request, inpaints=inpaints)
    if request.clip_skip > 1:
        pairs["Clip skip"] = request.clip_skip
    for key, hashes in (("Lora hashes", lora_hashes), ("TI hashes", embedding_hashes)):
        if hashes:
            pairs[key] = ", ".join(f"{name}: {sha256[:SHORT_OF_MANY]}" for name, sha256 in hashes.items())
    pairs |= {"RNG": "NV"}
    if request.init is not None:
        pairs |= _painting(request.init)
    if request.hires is not None:
        pairs |= _second_pass(request.hires)
    pairs |= {"Version": f"Atelier {VERSION}"}
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{key}: {quoted(value)}" for key, value in pairs.items()))
    return "\n".join(lines).strip()


def _image_guidance(request: GenerationRequest, *, edits: bool) -> dict[str, object]:
    return {"Image CFG scale": f"{request.init.image_cfg_scale:g}"} if edits and request.init else {}


def _strength(request: GenerationRequest, *, inpaints: bool) -> dict[str, object]:
    """How much is made new, of a picture or in the second pass."""
    part = request.init or request.hires
    if part is None:
        return {}
    pairs: dict[str, object] = {"Denoising strength": f"{part.denoising_strength:g}"}
    if inpaints and request.init is not None:
        weight = request.init.inpainting.mask_weight if request.init.inpainting else 1.0
        pairs["Conditional mask weight"] = weight
    return pairs


def _painting(init: InitImage) -> dict[str, object]:
    pairs: dict[str, object] = {}
    inpainting = init.inpainting
    if inpainting is not None:
        if inpainting.inverted:
            pairs["Mask mode"] = "Inpaint not masked"
        pairs["Mask blur"] = inpainting.mask_blur
        if inpainting.only_masked:
            pairs |= {"Inpaint area": inpainting.area, "Masked area padding": inpainting.padding}
        if inpainting.masked_content != "original":
            pairs["Masked content"] = inpainting.masked_content
        if inpainting.soft is not None:
            pairs["Soft inpainting enabled"] = True
            for name, value in asdict(inpainting.soft).items():
                pairs[f"Soft inpainting {name.replace('_', ' ')}"] = f"{value:g}"
    if init.upscale is not None:
        return {"SD upscale overlap": init.upscale.overlap, "SD upscale upscaler": init.upscale.upscaler}
    if init.resize_mode != RESIZE_MODES[0]:
        pairs["Resize mode"] = init.resize_mode
    if init.box is not None:
        pairs["Canvas box"] = f"{init.box.left} {init.box.top} {init.box.width}x{init.box.height}"
    return pairs


def _second_pass(hires: HiresFix) -> dict[str, object]:
    """A1111's order; what is as in the first pass is left out."""
    pairs = {
        "Hires checkpoint": hires.checkpoint.rpartition("/")[2],
        "Hires sampler": hires.sampler,
        "Hires prompt": hires.prompt,
        "Hires negative prompt": hires.negative_prompt,
        "Hires CFG Scale": f"{hires.cfg_scale:g}" if hires.cfg_scale else "",
        "Hires schedule type": hires.schedule,
        "Hires upscale": "" if hires.width or hires.height else f"{hires.scale:g}",
        "Hires resize": f"{hires.width}x{hires.height}" if hires.width or hires.height else "",
        "Hires steps": str(hires.steps or ""),
        "Hires upscaler": hires.upscaler,
    }
    return {key: value for key, value in pairs.items() if value}


def quoted(value: object) -> str:
    """A1111 quotes a value as JSON exactly when it contains a comma, a colon or a line break."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n") else text
