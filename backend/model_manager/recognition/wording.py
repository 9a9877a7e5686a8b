"""An identity in words, and whether Atelier can use it."""

import re
from collections.abc import Mapping
from dataclasses import replace

from backend.model_manager.identity import Distilled, Identity, Kind, Prediction

FAMILY_TITLES: Mapping[str, str] = {
    "sd1": "SD 1.x", "sd2": "SD 2.x", "sdxl": "SDXL", "sdxl-refiner": "SDXL refiner", "svd": "Stable Video Diffusion",
    "sd3": "SD 3", "flux1": "FLUX.1", "flux2": "FLUX.2", "flux3": "FLUX.3", "chroma": "Chroma", "z-image": "Z-Image",
    "lumina2": "Lumina Image 2.0", "qwen-image": "Qwen-Image", "krea2": "Krea 2", "hidream": "HiDream", "sana": "Sana",
    "pixart": "PixArt", "auraflow": "AuraFlow", "wan": "Wan", "ltx-video": "LTX-Video", "cosmos": "Cosmos",
    "anima": "Anima", "mochi": "Mochi", "hunyuan-dit": "Hunyuan-DiT", "hunyuan-video": "Hunyuan Video",
    "cascade": "Stable Cascade",
}  # fmt: skip
VARIANT_TITLES: Mapping[str, str] = {
    "inpainting": "inpainting", "instruct-pix2pix": "InstructPix2Pix", "depth": "depth", "ssd-1b": "SSD-1B",
    "vega": "Segmind Vega", "koala": "KOALA", "kolors": "Kolors", "playground-2.5": "Playground 2.5", "cosxl": "CosXL",
    "unclip": "unCLIP", "x4-upscaler": "x4 upscaler", "sdxs": "SDXS",
}  # fmt: skip
ALGORITHM_TITLES: Mapping[str, str] = {
    "lora": "LoRA", "locon": "LoCon", "loha": "LoHa", "lokr": "LoKr", "dora": "DoRA",
    "oft": "OFT", "glora": "GLoRA", "ia3": "IA3", "full": "full changes",
}  # fmt: skip
KIND_TITLES: Mapping[Kind, str] = {
    Kind.CHECKPOINT: "Checkpoint", Kind.LORA: "LoRA", Kind.EMBEDDING: "Embedding", Kind.VAE: "VAE",
    Kind.CONTROLNET: "ControlNet", Kind.T2I_ADAPTER: "T2I-Adapter", Kind.IP_ADAPTER: "IP-Adapter",
    Kind.UPSCALER: "Upscaler", Kind.TEXT_ENCODER: "Text encoder", Kind.UNKNOWN: "Unknown",
}  # fmt: skip
USUAL_WIDTHS: Mapping[str, tuple[int, ...]] = {
    "sd1": (768,), "sd2": (1024,), "sdxl": (768, 1280), "sdxl-refiner": (1280,)
}  # fmt: skip
RUNNABLE = frozenset({
    ("sd1", ""), ("sd1", "inpainting"), ("sd1", "instruct-pix2pix"),
    ("sd2", ""), ("sd2", "inpainting"), ("sd2", "depth"),
    ("sdxl", ""), ("sdxl", "inpainting"), ("sdxl", "ssd-1b"), ("sdxl-refiner", ""),
})  # fmt: skip
# Two that mend faces, and one that nothing here can build.
NO_ENLARGERS = frozenset({"GFPGAN upscaler", "CodeFormer upscaler", "SRFormer upscaler"})
PATCHABLE = frozenset({"lora", "locon", "loha", "lokr", "dora"})
DISTILLED_TITLES: Mapping[Distilled, str] = {
    "lcm": "LCM", "turbo": "Turbo", "lightning": "Lightning", "hyper": "Hyper", "": ""
}  # fmt: skip

# What trainers write as `modelspec.architecture` and `ss_base_model_version`, by how it begins.
_ARCHITECTURES = (
    ("stable-diffusion-xl-v1-refiner", "sdxl-refiner"),
    ("stable-diffusion-xl", "sdxl"),
    ("sdxl", "sdxl"),
    ("stable-diffusion-v1", "sd1"),
    ("sd_v1", "sd1"),
    ("sd_1", "sd1"),
    ("stable-diffusion-v2", "sd2"),
    ("sd_v2", "sd2"),
    ("stable-diffusion-v3", "sd3"),
    ("stable-diffusion-3", "sd3"),
    ("sd3", "sd3"),
    ("flux-1", "flux1"),
    ("flux1", "flux1"),
    ("flux.1", "flux1"),
)
_DISTILLED_NAMES: tuple[tuple[Distilled, str], ...] = (
    ("lcm", r"LCM|(?<![a-z])lcm(?![a-z])"),
    ("lightning", r"(?i:lightning)"),
    ("turbo", r"(?i:turbo)"),
    ("hyper", r"(?i:hyper(?=sd|[^a-z]|$))"),
)


def said_family(metadata: Mapping[str, str]) -> str:
    """The family that a file's metadata name, empty if they name none."""
    for key in ("modelspec.architecture", "ss_base_model_version"):
        said = metadata.get(key, "").lower()
        if family := next((family for start, family in _ARCHITECTURES if said.startswith(start)), ""):
            return family
    return "sd2" if metadata.get("ss_v2") == "True" else ""


def said_distilled(metadata: Mapping[str, str], file_name: str) -> tuple[Distilled, bool]:
    """How a file was distilled to few steps, by its metadata, else by its name; the second says that it is the name."""
    told = " ".join(metadata.get(f"modelspec.{key}", "") for key in ("title", "tags", "usage_hint"))
    for text, by_name in ((told, False), (file_name, True)):
        for distilled, pattern in _DISTILLED_NAMES:
            if re.search(pattern, text):
                return distilled, by_name
    return "", False


def described(file_name: str, identity: Identity) -> Identity:
    """The identity with its title, unless it has one, and with the verdict whether it `runs` or what the problem is."""
    identity = replace(identity, title=identity.title or title_of(identity))
    problem = _problem(file_name, identity)
    return replace(identity, runs=not problem, problem=problem)


def override(
    identity: Identity,
    file_name: str,
    *,
    kind: Kind | None = None,
    family: str | None = None,
    variant: str | None = None,
    prediction: Prediction | None = None,
    zero_terminal_snr: bool | None = None,
    distilled: Distilled | None = None,
) -> Identity:
    """The identity with what a person said in place of what was found; what they said is no suggestion any more.

    A file that could not run for what it lacks still cannot, unless they say that it is something else altogether.
    """
    chosen = {
        "kind": kind, "family": family, "variant": variant, "prediction": prediction,
        "zero_terminal_snr": zero_terminal_snr, "distilled": distilled,
    }  # fmt: skip
    said = {name: value for name, value in chosen.items() if value is not None}
    if kind is not None and kind != identity.kind:
        said = {"variant": "", "prediction": "", "distilled": "", **said}
    suggested = tuple(name for name in identity.suggested if name not in said)
    changed = replace(identity, **said, suggested=suggested)
    if not identity.runs and (changed.kind, changed.family, changed.variant) == (
        identity.kind,
        identity.family,
        identity.variant,
    ):
        return changed
    return described(file_name, replace(changed, title=""))


def title_of(identity: Identity) -> str:
    """What a person reads: ``SD 1.x inpainting``, ``LoRA for SDXL (LoCon)``, ``SD 2.x, v-prediction``."""
    base = FAMILY_TITLES.get(identity.family, identity.family)
    usual = USUAL_WIDTHS.get(identity.family, ())
    widths = identity.context_widths
    odd = f", context {'+'.join(map(str, widths))}" if widths and usual and sum(widths) != sum(usual) else ""
    if identity.kind is Kind.CHECKPOINT:
        variant = VARIANT_TITLES.get(identity.variant, identity.variant)
        words = [" ".join(part for part in (base, variant) if part) or "Checkpoint"]
        if identity.prediction == "v" and identity.variant not in ("unclip", "x4-upscaler"):
            words.append("v-prediction")
        if identity.zero_terminal_snr:
            words.append("zero terminal SNR")
        if identity.distilled and "distilled" not in identity.suggested:
            words.append(DISTILLED_TITLES[identity.distilled])
        return ", ".join(words) + odd
    name = KIND_TITLES[identity.kind]
    if identity.kind is Kind.LORA and identity.variant not in ("", "lora"):
        name = f"LoRA ({ALGORITHM_TITLES.get(identity.variant, identity.variant)})"
    if identity.kind is Kind.VAE and identity.family in ("", "sd1"):
        base = "SD 1.x and 2.x" if identity.family else "SD or SDXL"
    if not base and widths:
        return f"{name}, context {'+'.join(map(str, widths))}"
    return f"{name} for {base}{odd}" if base else name


def _problem(file_name: str, identity: Identity) -> str:
    kind, title = identity.kind, identity.title
    if kind is Kind.UPSCALER:
        return f"{file_name} is of a kind that Atelier cannot use yet: {title}." if title in NO_ENLARGERS else ""
    if kind is Kind.CHECKPOINT:
        runs = (identity.family, identity.variant) in RUNNABLE
        return "" if runs else f"{file_name} is {title}; Atelier cannot run it yet."
    if kind is Kind.LORA:
        if identity.family not in USUAL_WIDTHS:
            if base := FAMILY_TITLES.get(identity.family):
                return f"{file_name} is a LoRA for {base}; Atelier cannot run that yet."
            return f"{file_name} is a LoRA that does not tell what it is for."
        algorithm = ALGORITHM_TITLES.get(identity.variant, identity.variant)
        return "" if identity.variant in PATCHABLE else f"{file_name} is {title}; Atelier cannot apply {algorithm} yet."
    if kind is Kind.EMBEDDING:
        runs = identity.family in USUAL_WIDTHS or not identity.family
    else:
        runs = kind is Kind.VAE and not identity.variant and identity.family in ("", "sd1", "sdxl")
    if kind is Kind.UNKNOWN and title == KIND_TITLES[kind]:
        return f"{file_name} cannot be told: its tensors are those of no kind that Atelier knows."
    return "" if runs else f"{file_name} is of a kind that Atelier cannot use yet: {title}."
