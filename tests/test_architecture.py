"""Which part may import which, and what none may do: read off the sources, and off fresh processes.

Every rule is also shown a source that breaks it, so that a rule which sees nothing is noticed.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import pytest

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = ("torch", "diffusers", "transformers")
PAGE = ("gradio", "gradio_client")
# What of the server others ask too: who somebody is, and what a route may do.
ASKED = ("backend.server.owner", "backend.server.people", "backend.server.risks")


@dataclass(frozen=True, kw_only=True)
class Part:
    """`may` names the other parts that this one may import, `never` the libraries that it may not, not even late."""

    may: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


# A module belongs to the part with the longest name that begins its own.
PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "backend": Part(may=("backend.extension_api",), never=PAGE),
        "backend.extension_api": Part(may=("backend",), never=PAGE),
        "backend.server": Part(may=("backend", "backend.extension_api", *ASKED), never=PAGE),
        "backend.server.owner": Part(may=("backend", "backend.extension_api", "backend.server.people"), never=PAGE),
        "backend.server.people": Part(may=("backend",), never=PAGE),
        "backend.server.risks": Part(may=("backend", "backend.server.people"), never=PAGE),
        "ui": Part(may=("backend", "backend.extension_api", *ASKED), never=NETWORKS),
        "flags": Part(never=(*NETWORKS, *PAGE)),
        "webui": Part(may=("backend", "backend.server", "flags", "ui", *ASKED), never=NETWORKS),
        "launch": Part(never=(*NETWORKS, *PAGE)),
        "extensions": Part(may=("backend.extension_api",)),
        "starter": Part(may=("backend",), never=PAGE),
        # What the interface for programs costs is measured on the server itself.
        "bench": Part(may=("backend", "backend.extension_api", "backend.server", *ASKED, "starter"), never=PAGE),
        "tests": Part(
            may=(
                *("backend", "backend.extension_api", "backend.server", *ASKED),
                *("bench", "extensions", "flags", "launch", "starter", "ui", "webui"),
            )
        ),
    }
)
FOLDERS = ("backend", "bench", "extensions", "starter", "tests", "ui")
EMPTY_NAMES = frozenset({"common", "helper", "helpers", "misc", "shared", "util", "utils"})
RUNS_WHAT_IT_READS = frozenset({"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "torch.hub"})
RUNS_ITS_ARGUMENT = frozenset({"builtins.eval", "builtins.exec", "eval", "exec", "os.popen", "os.system"})
OPENS_A_DOOR = frozenset({"allow_pickle", "shell", "trust_remote_code"})
TORCH_LOADS = frozenset({"torch.jit.load", "torch.load"})
# A training keeps its resumable state with torch.save, and reads it back as weights only; and the child process that
# converts a stranger's pickles reads them so, after the inert reader and behind locks.
WEIGHTS_ONLY = frozenset({"backend/model_manager/conversion/unpickling.py", "starter/stage.py", "starter/train.py"})


def sources() -> dict[str, str]:
    """The text of every Python file of the house, by its path from the root."""
    paths = [*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def part_of(module: str) -> str | None:
    """The part a module of the house belongs to; nothing for a library."""
    return max((name for name in PARTS if f"{module}.".startswith(f"{name}.")), key=len, default=None)


def imports(path: str, source: str) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that is imported, at any depth and also by name at run time."""
    package = module_of(path).split(".")
    if not path.endswith("/__init__.py"):
        package.pop()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom():
                above = package[: len(package) - node.level + 1] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
            case ast.Call(args=[ast.Constant(value=str(name)), *_]):
                if ast.unparse(node.func) in ("__import__", "import_module", "importlib.import_module"):
                    yield node.lineno, name


def wrong_directions(path: str, source: str) -> list[str]:
    """What this file imports although its part may not."""
    here = part_of(module_of(path))
    assert here is not None, f"{path} belongs to no part of the house"
    part = PARTS[here]
    return [
        f"{path}:{line} imports {name}"
        for line, name in imports(path, source)
        if part_of(name) not in (None, here, *part.may) or name.partition(".")[0] in part.never
    ]


def globals_changed(path: str, source: str) -> list[str]:
    return [f"{path}:{node.lineno}" for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Global)]


def strangers_code(path: str, source: str) -> list[str]:
    """Where this file could run what somebody else wrote into a file or a text."""
    found = [
        f"{path}:{line} imports {name}"
        for line, name in imports(path, source)
        if name in TORCH_LOADS or any(f"{name}.".startswith(f"{bad}.") for bad in RUNS_WHAT_IT_READS)
    ]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        switches = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in RUNS_ITS_ARGUMENT or any(switches.get(name, "False") != "False" for name in OPENS_A_DOOR):
            found.append(f"{path}:{node.lineno} {ast.unparse(node)}")
        if called in TORCH_LOADS and not (path in WEIGHTS_ONLY and switches.get("weights_only") == "True"):
            found.append(f"{path}:{node.lineno} {ast.unparse(node)}")
    return found


def test_the_sources_are_read() -> None:
    """Otherwise the rules below would hold for want of anything to look at."""
    assert {"backend/engine.py", "ui/app.py", "starter/train.py", "webui.py", "tests/conftest.py"} <= set(sources())
    assert (1, "backend.server.owner.owner_of") in imports("ui/x.py", "from backend.server.owner import owner_of")


def test_imports_point_one_way() -> None:
    assert [fault for path, source in sources().items() for fault in wrong_directions(path, source)] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("backend/engine.py", "import gradio as gr"),
        ("backend/jobs.py", "def late():\n    from gradio.components import Component"),
        ("backend/jobs.py", "from ui import form"),
        ("backend/jobs.py", "from backend.server.live import Channel"),
        ("backend/jobs.py", "from backend import server"),
        ("backend/jobs.py", "from .server import live"),
        ("backend/families/sd1.py", "from starter.scenes import draw"),
        ("backend/app.py", "import tests.scripted"),
        ("backend/app.py", "from bench import pairs"),
        ("backend/app.py", "import webui"),
        ("backend/server/live.py", "from ui.app import mount"),
        ("backend/server/owner.py", "from backend.server.guard import Guard"),
        ("ui/form.py", "import torch.nn"),
        ("ui/form.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from diffusers import UNet2DModel"),
        ("ui/form.py", "import importlib\nimportlib.import_module('transformers')"),
        ("ui/txt2img.py", "from backend.server.live import router"),
        ("ui/txt2img.py", "from backend.server import live"),
        ("ui/__init__.py", "from .form import Form\nimport starter"),
        ("webui.py", "import torch"),
        ("webui.py", "from tests.scripted import ScriptedWorker"),
        ("launch.py", "from backend.paths import ROOT"),
        ("starter/train.py", "from tests.checkpoints import tiny_networks"),
        ("bench/engine.py", "from ui.app import build"),
        ("extensions/frame/frame.py", "from backend.app import App"),
    ],
)
def test_an_import_the_wrong_way_is_seen(path: str, source: str) -> None:
    assert wrong_directions(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("backend/server/live.py", "import fastapi\nfrom backend.app import App\nfrom .owner import owner_of"),
        ("ui/txt2img.py", "from backend.server import owner\nfrom ui.form import Form"),
        ("webui.py", "from backend.server import live, pictures\nfrom ui.app import mount"),
        ("extensions/frame/frame.py", "import gradio\nfrom backend.extension_api import hook"),
        ("bench/engine.py", "import torch\nfrom starter import layout"),
        ("bench/server.py", "from backend.server import jobs_api\nfrom backend.server.guard import Guard"),
    ],
)
def test_an_import_the_right_way_is_no_fault(path: str, source: str) -> None:
    assert wrong_directions(path, source) == []


def test_no_function_changes_a_global() -> None:
    assert globals_changed("x.py", "def f():\n    if x:\n        global x") == ["x.py:3"]
    assert [fault for path, source in sources().items() for fault in globals_changed(path, source)] == []


def test_every_module_is_named_for_what_it_is_about() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*") if path.is_file()]
    paths = [PurePosixPath(path.relative_to(ROOT).with_suffix("")) for path in [*files, *ROOT.glob("*.py")]]
    assert PurePosixPath("ui/static/words") in paths
    assert not EMPTY_NAMES.isdisjoint(PurePosixPath("backend/imaging/utils").parts)
    assert [str(path) for path in paths if not EMPTY_NAMES.isdisjoint(path.parts)] == []


def test_nothing_runs_what_a_stranger_wrote() -> None:
    assert [fault for path, source in sources().items() for fault in strangers_code(path, source)] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("backend/engine.py", "import torch\ntorch.load(path, weights_only=True)"),
        ("starter/stage.py", "import torch\ntorch.load(path)"),
        ("starter/stage.py", "import torch\ntorch.load(path, weights_only=False)"),
        ("starter/stage.py", "from torch import load\nload(path)"),
        ("backend/jobs.py", "import pickle"),
        ("backend/jobs.py", "def late():\n    from pickle import loads"),
        ("backend/jobs.py", "import torch.hub"),
        ("ui/form.py", "eval('1')"),
        ("ui/form.py", "exec(text)"),
        ("webui.py", "import os\nos.system('ls')"),
        ("webui.py", "import subprocess\nsubprocess.run(line, shell=True)"),
        ("webui.py", "import subprocess\nsubprocess.run(line, shell=wanted)"),
        ("tests/test_noise.py", "import numpy as np\nnp.load(path, allow_pickle=True)"),
    ],
)
def test_a_way_to_run_a_strangers_code_is_seen(path: str, source: str) -> None:
    assert strangers_code(path, source)


def fresh(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a new process, whose last line tells which modules `code` has imported."""
    told = "import json, sys\nbefore = set(sys.modules)\n{}\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    return subprocess.run(
        [sys.executable, "-c", told.format(code), *arguments],
        cwd=ROOT,
        env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"},
        capture_output=True,
        text=True,
        check=False,
    )


def imported_by(result: subprocess.CompletedProcess[str]) -> set[str]:
    """The first names of the modules that a `fresh` process imported; it must have ended well."""
    assert result.returncode == 0, result.stderr
    return {name.partition(".")[0] for name in json.loads(result.stdout.splitlines()[-1])}


def test_the_page_is_there_without_any_network() -> None:
    modules = [module_of(path) for path in sources() if path.startswith("ui/")]
    loaded = imported_by(fresh(f"import {', '.join(sorted(modules))}"))
    assert {"ui", "backend", "gradio"} <= loaded
    assert loaded & set(NETWORKS) == set()


WITHOUT_GRADIO = f"""
class Uninstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {PAGE}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Uninstalled())
try:
    import gradio
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("gradio can be imported: this shows nothing")
"""


def test_the_backend_runs_without_gradio_and_starts_without_any_network(tmp_path: Path) -> None:
    doors = [module_of(path) for path in sources() if path.startswith("backend/server/")]
    code = f"""{WITHOUT_GRADIO}
import {", ".join(sorted(doors))}
from pathlib import Path
from backend.app import App, Options
App(Options(data_dir=Path(sys.argv[1]))).close()
"""
    loaded = imported_by(fresh(code, str(tmp_path)))
    assert {"backend", "fastapi"} <= loaded
    assert loaded & set(NETWORKS) == set()


def test_help_needs_the_standard_library_only() -> None:
    code = """
import runpy
sys.argv = ["webui.py", "--help"]
try:
    runpy.run_path("webui.py", run_name="__main__")
except SystemExit as end:
    assert not end.code
"""
    result = fresh(code)
    assert imported_by(result) <= {*sys.stdlib_module_names, "flags"}
    assert "--port" in result.stdout
