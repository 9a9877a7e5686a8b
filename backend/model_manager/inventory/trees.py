"""Folders that hold models: which kind of file is meant to lie where, in the layouts that people have.

The folder only says what is expected there; what a file is, its content says.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from backend.model_manager.identity import Kind

log = logging.getLogger(__name__)

EXTRA_PATHS = "extra_model_paths.yaml"
LARGEST_EXTRA_PATHS = 1024 * 1024  # bytes
# Where the archives of both programs put the installation itself.
INSIDE_ARCHIVE = ("ComfyUI", "webui")


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """A folder that is searched with all folders below it, and the kind of file that is expected there; ``UNKNOWN``
    where it may hold any."""

    path: Path
    kind: Kind = Kind.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a program arranges its models: `places` are folders below the installation, `mark` is the one by which the
    installation is known."""

    title: str
    mark: str
    places: Mapping[str, Kind]

    def folders(self, installation: Path) -> tuple[ModelFolder, ...]:
        """Every place of this layout below `installation`, whether it is there or not."""
        return tuple(ModelFolder(path=installation / place, kind=kind) for place, kind in self.places.items())


ATELIER = Layout(
    title="Atelier",
    mark="models/upscalers",
    places=MappingProxyType(
        {
            "models/checkpoints": Kind.CHECKPOINT,
            "models/loras": Kind.LORA,
            "models/vae": Kind.VAE,
            "models/embeddings": Kind.EMBEDDING,
            "models/controlnet": Kind.CONTROLNET,
            "models/upscalers": Kind.UPSCALER,
        }
    ),
)
A1111 = Layout(
    title="AUTOMATIC1111 or Forge",
    mark="models/Stable-diffusion",
    places=MappingProxyType(
        {
            "models/Stable-diffusion": Kind.CHECKPOINT,
            "models/diffusers": Kind.CHECKPOINT,
            "models/Lora": Kind.LORA,
            "models/LyCORIS": Kind.LORA,
            "models/VAE": Kind.VAE,
            "embeddings": Kind.EMBEDDING,
            "models/embeddings": Kind.EMBEDDING,
            "models/ControlNet": Kind.CONTROLNET,
            "extensions/sd-webui-controlnet/models": Kind.CONTROLNET,
            "models/text_encoder": Kind.TEXT_ENCODER,
            **dict.fromkeys(
                (
                    "models/ESRGAN",
                    "models/RealESRGAN",
                    "models/BSRGAN",
                    "models/SwinIR",
                    "models/ScuNET",
                    "models/DAT",
                    "models/HAT",
                ),
                Kind.UPSCALER,
            ),
        }
    ),
)
COMFYUI = Layout(
    title="ComfyUI",
    mark="models/checkpoints",
    places=MappingProxyType(
        {
            "models/checkpoints": Kind.CHECKPOINT,
            "models/diffusers": Kind.CHECKPOINT,
            "models/diffusion_models": Kind.CHECKPOINT,
            "models/unet": Kind.CHECKPOINT,
            "models/loras": Kind.LORA,
            "models/vae": Kind.VAE,
            "models/embeddings": Kind.EMBEDDING,
            "models/controlnet": Kind.CONTROLNET,
            "models/t2i_adapter": Kind.T2I_ADAPTER,
            "models/ipadapter": Kind.IP_ADAPTER,
            "models/upscale_models": Kind.UPSCALER,
            "models/text_encoders": Kind.TEXT_ENCODER,
            "models/clip": Kind.TEXT_ENCODER,
        }
    ),
)
LAYOUTS = (ATELIER, A1111, COMFYUI)


def layout_of(path: Path) -> tuple[Layout, Path] | None:
    """The layout that `path` is an installation of, and where that begins: at `path`, above it if it is the ``models``
    folder itself, or one below it as the programs' archives have it. Nothing for any other folder."""
    above = (path.parent,) if path.name == "models" else ()
    for installation in (path, *above, *(path / name for name in INSIDE_ARCHIVE)):
        for layout in LAYOUTS:
            if (installation / layout.mark).is_dir():
                return layout, installation
    return None


def expand(folder: ModelFolder) -> tuple[ModelFolder, ...]:
    """The folders that `folder` stands for: every place of an installation, with those that ComfyUI's
    ``extra_model_paths.yaml`` names, else itself. A folder that is meant for one kind is itself."""
    known = layout_of(folder.path) if folder.kind is Kind.UNKNOWN else None
    if known is None:
        return (folder,)
    layout, installation = known
    return (*layout.folders(installation), *(extra_folders(installation) if layout is COMFYUI else ()))


def extra_folders(installation: Path) -> Iterator[ModelFolder]:
    """The folders that a ComfyUI installation's ``extra_model_paths.yaml`` names; a file that cannot be understood
    names none."""
    import yaml  # late: few have such a file

    path = installation / EXTRA_PATHS
    try:
        if path.stat().st_size > LARGEST_EXTRA_PATHS:
            raise ValueError(f"it has more than {LARGEST_EXTRA_PATHS:,} bytes")
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        log.warning("%s is left out: %s", path, " ".join(str(error).split()))
        return
    kinds = {place.rpartition("/")[2]: kind for place, kind in COMFYUI.places.items()}
    for group in groups.values() if isinstance(groups, dict) else ():
        if not isinstance(group, dict):
            continue
        base = _placed(installation, group.get("base_path"))
        for name, kind in kinds.items():
            value = group.get(name)
            lines = value.splitlines() if isinstance(value, str) else []
            yield from (ModelFolder(path=_placed(base, line), kind=kind) for line in lines if line.strip())


def _placed(base: Path, text: object) -> Path:
    """A path as ComfyUI reads it: with ``~`` and variables, from `base` where it is not a full one."""
    if not isinstance(text, str):
        return base
    path = Path(os.path.expandvars(text.strip()))
    with contextlib.suppress(RuntimeError):  # a ``~`` of somebody who is not known here stays what it is
        path = path.expanduser()
    return base / path
