"""What other programs say of their pictures in JSON of their own, in A1111's words as far as there are such."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from backend.infotext.containers import LONGEST_TEXT
from backend.infotext.values import Infotext, plain

Read = tuple[Infotext, list[str]]  # with sentences about what was not understood
Size = tuple[int, int]

_NOVELAI_SAMPLERS = {
    "k_euler": "Euler",
    "k_euler_ancestral": "Euler a",
    "k_dpm_2": "DPM2",
    "k_dpm_2_ancestral": "DPM2 a",
    "k_dpmpp_2s_ancestral": "DPM++ 2S a",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "k_dpmpp_sde": "DPM++ SDE",
    "k_dpm_fast": "DPM fast",
    "k_dpm_adaptive": "DPM adaptive",
    "k_heun": "Heun",
    "k_lms": "LMS",
    "ddim": "DDIM",
    "ddim_v3": "DDIM",
    "plms": "PLMS",
}
_NOVELAI_SCHEDULES = {
    "native": "Uniform",
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
}
_INVOKEAI_SAMPLERS = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "deis": "DEIS",
    "euler": "Euler",
    "euler_a": "Euler a",
    "heun": "Heun",
    "lms": "LMS",
    "pndm": "PLMS",
    "kdpm_2": "DPM2",
    "kdpm_2_a": "DPM2 a",
    "dpmpp_2s": "DPM++ 2S a",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_3m": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE",
    "unipc": "UniPC",
    "lcm": "LCM",
}
# ComfyUI's, which Fooocus has too.
COMFYUI_SAMPLERS = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "heunpp2": "HeunPP2",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "ddpm": "DDPM",
    "lcm": "LCM",
    "ipndm": "IPNDM",
    "ipndm_v": "IPNDM_V",
    "deis": "DEIS",
    "ddim": "DDIM",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
    "restart": "Restart",
}
COMFYUI_SCHEDULES = {
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
    "beta": "Beta",
    "kl_optimal": "KL Optimal",
    "turbo": "Turbo",
    "align_your_steps": "Align Your Steps",
}


def json_object(text: str) -> dict[str, Any]:
    """The object that a text is, empty if it is none or too long. Numbers that are none in JSON are read as Python
    writes them."""
    if not text.startswith("{") or len(text) > LONGEST_TEXT:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def said(value: Any) -> str | None:
    """A value as an infotext has it; nothing for what is no text, number or truth, or no finite number."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return plain(value) if math.isfinite(value) and abs(value) < 2**64 else None
    return value if isinstance(value, str) else None


def model_file(name: str) -> str:
    """A model's name without folder and suffix, as A1111 writes it."""
    return re.sub(r"\.(?:safetensors|ckpt|pt|sft|gguf)$", "", re.split(r"[\\/]", name)[-1])


def sampler_name(name: Any, names: Mapping[str, str], problems: list[str]) -> str | None:
    """A1111's name for another program's sampler; one that it has no name for is kept as it is, with a sentence."""
    if not isinstance(name, str):
        return None
    known = names.get(name.removesuffix("_gpu"))
    if known is None:
        problems.append(f"The sampler {name!r} has no counterpart in A1111's words.")
    return known or name


def size_said(width: Any, height: Any) -> str | None:
    """``512x768``, if both are whole numbers from 1."""
    whole = all(isinstance(side, int) and side > 0 and not isinstance(side, bool) for side in (width, height))
    return f"{width}x{height}" if whole else None


def read_novelai(values: Mapping[str, Any], size: Size, description: str = "") -> Read:
    """NovelAI's ``Comment``. As in A1111, its clip skip and its noise for ancestral samplers are taken for granted."""
    problems: list[str] = []
    prompt, negative = description or said(values.get("prompt")) or "", said(values.get("uc")) or ""
    if re.search(r"[{}]", prompt + negative) or re.search(r"\d::", prompt):
        problems.append("NovelAI's {emphasis} is another one than A1111's (emphasis): look the prompt through.")
    wide, high = values.get("width"), values.get("height")
    infotext = Infotext(prompt=prompt, negative_prompt=negative).with_pairs(
        {
            "Steps": said(values.get("steps")),
            "Sampler": sampler_name(values.get("sampler"), _NOVELAI_SAMPLERS, problems),
            "Schedule type": _NOVELAI_SCHEDULES.get(str(values.get("noise_schedule"))),
            "CFG scale": said(values.get("scale")),
            "Seed": said(values.get("seed")),
            "Size": size_said(wide, high) or size_said(*size),
            "Denoising strength": said(values.get("strength"))
            if values.get("image") or values.get("strength")
            else None,
            "Clip skip": 2,
            "ENSD": 31337,
            "CFG Rescale": said(values.get("cfg_rescale")) if values.get("cfg_rescale") else None,
        }
    )
    problems.append("NovelAI's models are not for download: another checkpoint makes another picture.")
    return infotext, problems


def read_invokeai(values: Mapping[str, Any], size: Size) -> Read:
    """InvokeAI's ``invokeai_metadata``, of its linear tabs and of graphs with a metadata node."""
    problems: list[str] = []
    name = str(values.get("scheduler", ""))
    model, vae = _part(values, "model"), _part(values, "vae")
    prompt = said(values.get("positive_prompt")) or ""
    prompt += "".join(_lora(_part(each, "model", "lora"), each.get("weight", 1)) for each in _parts(values, "loras"))
    if re.search(r"[\w)][+-]{1,3}(?:\s|$|,)", prompt):
        problems.append("InvokeAI's emphasis with + and - is another one than A1111's: look the prompt through.")
    skip = values.get("clip_skip")
    infotext = Infotext(prompt=prompt, negative_prompt=said(values.get("negative_prompt")) or "").with_pairs(
        {
            "Steps": said(values.get("steps")),
            "Sampler": sampler_name(name.removesuffix("_k"), _INVOKEAI_SAMPLERS, problems),
            "Schedule type": "Karras" if name.endswith("_k") else "Uniform",
            "CFG scale": said(values.get("cfg_scale")),
            "Seed": said(values.get("seed")),
            "Size": size_said(values.get("width"), values.get("height")) or size_said(*size),
            "Model": said(model.get("name") or model.get("model_name")),
            "VAE": said(vae.get("name") or vae.get("model_name")),
            "Denoising strength": said(values.get("strength"))
            if "img2img" in str(values.get("generation_mode"))
            else None,
            "Clip skip": skip + 1 if isinstance(skip, int) and skip > 0 else None,
            "RNG": "CPU" if values.get("rand_device", "cpu") == "cpu" else None,
            "CFG Rescale": said(values.get("cfg_rescale_multiplier")) if values.get("cfg_rescale_multiplier") else None,
            "Tiling": True if values.get("seamless_x") and values.get("seamless_y") else None,
        }
    )
    for key, what in {"controlnets": "ControlNet", "ipAdapters": "IP-Adapter", "t2iAdapters": "T2I-Adapter"}.items():
        if _parts(values, key):
            problems.append(f"The picture was made with a {what}, which is not read.")
    if values.get("hrf_enabled"):
        problems.append("InvokeAI's high resolution fix is not read.")
    return infotext, problems


def read_fooocus(values: Mapping[str, Any], size: Size) -> Read:
    """Fooocus's own scheme (since 2.2) and the words of its older log."""
    problems: list[str] = []
    low = {re.sub(r"\W+", "_", key.casefold()): value for key, value in values.items()}
    prompt = said(low.get("prompt")) or ""
    loras = low.get("loras")
    for entry in loras if isinstance(loras, list) else ():
        if isinstance(entry, list) and len(entry) >= 2 and isinstance(entry[0], str):
            prompt += _lora({"name": entry[0]}, entry[1])
    if low.get("styles") not in (None, "", "[]", []):
        problems.append(f"Fooocus's styles are not applied: {low['styles']}.")
    if low.get("sharpness"):
        problems.append("Fooocus's sharpness and ADM guidance are its own, and are not applied.")
    resolution = [int(side) for side in re.findall(r"\d{1,6}", str(low.get("resolution", "")))]
    sampler = sampler_name(low.get("sampler"), COMFYUI_SAMPLERS, problems)
    infotext = Infotext(prompt=prompt, negative_prompt=said(low.get("negative_prompt")) or "").with_pairs(
        {
            "Steps": said(low.get("steps")),
            "Sampler": sampler,
            "Schedule type": COMFYUI_SCHEDULES.get(str(low.get("scheduler"))),
            "CFG scale": said(low.get("guidance_scale")),
            "Seed": said(low.get("seed")),
            "Size": size_said(*resolution) if len(resolution) == 2 else size_said(*size),
            "Model hash": said(low.get("base_model_hash")),
            "Model": model_file(said(low.get("base_model")) or "") or None,
            "RNG": "CPU",
            "Version": said(low.get("version")),
        }
    )
    if low.get("refiner_model") not in (None, "", "None"):
        problems.append(f"The refiner {low['refiner_model']} is not applied: Fooocus switches to it in its own way.")
    return infotext, problems


def read_civitai(values: Mapping[str, Any], size: Size) -> Read:
    """What Civitai's generator says where it ran a graph of its own: ``extraMetadata``, an object in a text."""
    problems: list[str] = []
    more = values.get("extraMetadata")
    inner = json_object(more) if isinstance(more, str) else more if isinstance(more, dict) else {}
    name = said(inner.get("sampler"))
    infotext = Infotext(
        prompt=said(inner.get("prompt")) or "", negative_prompt=said(inner.get("negativePrompt")) or ""
    ).with_pairs(
        {
            "Steps": said(inner.get("steps")),
            "Sampler": COMFYUI_SAMPLERS.get(name or "", name),
            "CFG scale": said(inner.get("cfgScale")),
            "Seed": said(inner.get("seed")),
            "Size": size_said(inner.get("width"), inner.get("height")) or size_said(*size),
            "Clip skip": said(inner.get("clipSkip")),
            "Civitai resources": json.dumps(inner["resources"]) if isinstance(inner.get("resources"), list) else None,
        }
    )
    problems.append("Civitai names the models of this picture by numbers only.")
    return infotext, problems


def _part(values: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    return next((values[key] for key in keys if isinstance(values.get(key), dict)), {})


def _parts(values: Mapping[str, Any], key: str) -> Iterable[Mapping[str, Any]]:
    found = values.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _lora(model: Mapping[str, Any], weight: Any) -> str:
    """A LoRA that stands beside the prompt, as a token at its end."""
    name = said(model.get("name") or model.get("model_name"))
    return f" <lora:{model_file(name)}:{said(weight) or 1}>" if name else ""
