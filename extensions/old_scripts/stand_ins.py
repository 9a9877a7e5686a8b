"""Stand-ins for the parts of AUTOMATIC1111 that its scripts import: few, and with little in them."""

import builtins
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from .components import Recorder
from .processing import Processed, Processing, fix_seed, grid_of, process_images

ALWAYS_VISIBLE = object()


class Script:
    """The class that scripts inherit."""

    filename = ""
    args_from = args_to = None
    is_txt2img = is_img2img = False

    def title(self) -> str:
        raise NotImplementedError

    def ui(self, is_img2img: bool) -> Any:  # noqa: ARG002 - what the page is made of
        return []

    def show(self, is_img2img: bool) -> Any:  # noqa: ARG002
        return True

    def run(self, p: Processing, *args: Any) -> Processed | None:
        raise NotImplementedError

    def elem_id(self, item: str) -> str:
        return item

    def describe(self) -> str:
        return ""


class Options(SimpleNamespace):
    """Settings: those that nobody knows are off."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)


def modules(folder: Path) -> Mapping[str, Any]:
    """By their names what a script of this folder can import."""
    state = SimpleNamespace(
        interrupted=False, skipped=False, stopping_generation=False, job="", job_count=0, job_no=0, textinfo=""
    )
    parts = {
        "scripts": {"Script": Script, "AlwaysVisible": ALWAYS_VISIBLE, "basedir": lambda: str(folder)},
        "processing": {
            "Processed": Processed,
            "StableDiffusionProcessing": Processing,
            "StableDiffusionProcessingTxt2Img": Processing,
            "StableDiffusionProcessingImg2Img": Processing,
            "process_images": process_images,
            "fix_seed": fix_seed,
        },
        "shared": {"opts": Options(), "cmd_opts": Options(), "state": state, "sd_model": None},
        "images": {"image_grid": grid_of, "save_image": lambda *_args, **_named: (None, None)},
        "devices": {"torch_gc": lambda: None},
        "ui_components": {"FormRow": Recorder().Row, "FormGroup": Recorder().Group},
    }
    whole = ModuleType("modules")
    found: dict[str, Any] = {"modules": whole, "gradio": Recorder()}
    for name, values in parts.items():
        part = ModuleType(f"modules.{name}")
        vars(part).update(values)
        setattr(whole, name, part)
        found[part.__name__] = part
    return found


def load(path: Path, there: Mapping[str, Any]) -> ModuleType:
    """Run a script's file, which sees `there` where it imports these names, and the real modules for all others. Raises
    whatever it raises."""
    spec = importlib.util.spec_from_file_location(f"old_script_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)

    def import_(name: str, *args: Any, **named: Any) -> Any:
        top = name.partition(".")[0]
        if top not in there:
            return builtins.__import__(name, *args, **named)
        if name not in there:
            raise ImportError(f"{name} is not there: of AUTOMATIC1111 there is {', '.join(sorted(there))}")
        wanted = args[2] if len(args) > 2 else named.get("fromlist")
        return there[name] if wanted else there[top]

    # Seen by this module's own code alone, so that nobody else is told what stands in.
    vars(module)["__builtins__"] = {**vars(builtins), "__import__": import_}
    spec.loader.exec_module(module)
    return module
