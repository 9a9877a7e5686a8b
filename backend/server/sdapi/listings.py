"""The lists that clients fill their menus with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backend.errors import ModelFileError
from backend.init_image import LATENT_UPSCALERS
from backend.model_manager.header import read_header
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.inventory.scan import Format
from backend.model_manager.memory.budgets import ram_space
from backend.sampling.samplers import SAMPLERS, Sampler
from backend.sampling.schedules import AUTOMATIC, KARRAS_RHO, POLYEXPONENTIAL_RHO, SCHEDULES
from backend.server.sdapi.extension_scripts import always_on_of
from backend.server.sdapi.models import Models
from backend.server.sdapi.scripts import SCRIPTS, Script
from backend.server.sdapi.several import scripts_of

if TYPE_CHECKING:
    from backend.app import App

UPSCALER_SCALE = 4  # what AUTOMATIC1111 says of interpolations
RHO = {"Karras": KARRAS_RHO, "Polyexponential": POLYEXPONENTIAL_RHO}
NO_RHO = -1.0

Rows = list[dict[str, Any]]


def samplers() -> Rows:
    """Every sampler, with what AUTOMATIC1111 says of it in words."""
    return [{"name": row.name, "aliases": list(row.aliases), "options": _options(row)} for row in SAMPLERS.values()]


def _options(row: Sampler) -> dict[str, str]:
    scheduled = row.own_grid is None and row.automatic_schedule != "Uniform"
    return {
        **({"scheduler": _word(row.automatic_schedule)} if scheduled else {}),
        **({"uses_ensd": "True"} if row.uses_ensd else {}),
        **({"second_order": "True"} if row.second_order else {}),
        **({"brownian_noise": "True"} if row.noise == "brownian" else {}),
        **({"discard_next_to_last_sigma": "True"} if row.discard_penultimate else {}),
    }


def schedulers() -> Rows:
    """Every schedule: by its name in lower case, as clients send it, and its label."""
    rows = [(AUTOMATIC, ()), *((row.name, row.aliases) for row in SCHEDULES.values())]
    return [
        {
            "name": _word(label),
            "label": label,
            "aliases": [alias for alias in aliases if alias != _word(label)] or None,
            "default_rho": RHO.get(label, NO_RHO),
            "need_inner_model": label in ("SGM Uniform", "Simple", "Normal", "DDIM", "Beta", "Align Your Steps GITS"),
        }
        for label, aliases in rows
    ]


def _word(label: str) -> str:
    return label.lower().replace(" ", "_")


def upscalers(app: "App") -> Rows:
    """What enlarges pictures, interpolations first."""
    return [
        {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": UPSCALER_SCALE}
        for name in app.upscalers.names()
    ]


def latent_upscale_modes() -> Rows:
    """What else hires fix can enlarge with."""
    return [{"name": name} for name in LATENT_UPSCALERS]


def styles(app: "App") -> Rows:
    """Styles; where their files lie is nobody's business."""
    return [
        {"name": each.name, "prompt": each.prompt, "negative_prompt": each.negative_prompt} for each in app.styles.all()
    ]


def vaes(models: Models) -> Rows:
    """VAEs that lie in files of their own."""
    return [{"model_name": models.file(each), "filename": models.file(each)} for each in models.usable(Kind.VAE)]


def loras(models: Models) -> Rows:
    """LoRAs, with what their trainers wrote into them."""
    return [
        {
            "name": record.name,
            "alias": record.alias or record.name,
            "path": models.file(record),
            "metadata": dict(header.metadata) if (header := _header(record)) else {},
        }
        for record in models.usable(Kind.LORA)
    ]


def _header(record: ModelRecord) -> Any:
    if record.format is not Format.SAFETENSORS:
        return None
    try:
        return read_header(record.path)
    except ModelFileError:  # it went away meanwhile
        return None


def embeddings(models: Models, checkpoint: ModelRecord | None) -> dict[str, Any]:
    """Embeddings by the words that one writes for them: those that fit the checkpoint, and the others."""
    found: dict[str, dict[str, Any]] = {"loaded": {}, "skipped": {}}
    for record in models.usable(Kind.EMBEDDING):
        header = _header(record)
        shapes = sorted((info.shape for info in header.tensors.values()), key=len) if header else []
        vectors, width = shapes[0] if shapes and len(shapes[0]) == 2 else (1, shapes[0][-1] if shapes else 0)
        fits = checkpoint is None or record.identity.fits(checkpoint.identity)
        found["loaded" if fits else "skipped"][record.path.stem] = {
            "step": None,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
            "shape": width,
            "vectors": vectors,
        }
    return found


def scripts(app: "App") -> dict[str, list[str]]:
    """The titles of scripts, in lower case as there."""
    found = {**SCRIPTS, **scripts_of(app.scripts), **_of_extensions(app)}
    return {
        "txt2img": [name for name, each in found.items() if each.for_words],
        "img2img": [name for name, each in found.items() if each.for_pictures],
    }


def script_info(app: "App") -> Rows:
    """What scripts take."""
    there = (*SCRIPTS.values(), *scripts_of(app.scripts).values(), *_of_extensions(app).values())
    return [row for script in there for row in script.shown]


def _of_extensions(app: "App") -> dict[str, Script]:
    """The always-on scripts that parameters of extensions are, each once."""
    return {each.title.lower(): each for each in always_on_of(app.extensions.active()).values()}


def command_line(app: "App") -> dict[str, Any]:
    """How this was started, as far as a client may need it: no path, and no password."""
    return {
        "api": True,
        "lowvram": False,
        "medvram": False,
        "no_half": app.options.precision == "fp32",
        "xformers": app.options.xformers,
        "use_cpu": ["all"] if app.options.device == "cpu" else [],
    }


def memory(app: "App") -> dict[str, Any]:
    """Bytes of RAM and of the GPU's memory."""
    ram = ram_space()
    said: dict[str, Any] = {"ram": {"free": ram.free, "used": ram.total - ram.free, "total": ram.total}}
    residency = app.residency
    if residency is None or residency.device.place.type != "cuda":
        return said | {"cuda": {"error": "unavailable"}}
    import torch  # it is there since the first picture

    free, total = torch.cuda.mem_get_info(residency.device.place)
    stats: Mapping[str, int] = torch.cuda.memory_stats(residency.device.place)
    return said | {
        "cuda": {
            "system": {"free": free, "used": total - free, "total": total},
            "active": _now_and_most(stats, "active_bytes"),
            "allocated": _now_and_most(stats, "allocated_bytes"),
            "reserved": _now_and_most(stats, "reserved_bytes"),
            "inactive": _now_and_most(stats, "inactive_split_bytes"),
            "events": {"retries": stats.get("num_alloc_retries", 0), "oom": stats.get("num_ooms", 0)},
        }
    }


def _now_and_most(stats: Mapping[str, int], name: str) -> dict[str, int]:
    return {"current": stats.get(f"{name}.all.current", 0), "peak": stats.get(f"{name}.all.peak", 0)}
