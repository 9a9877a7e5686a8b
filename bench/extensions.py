"""What extensions cost that do nothing: ``python -m bench.extensions [--pairs N] [--starts N]``.

Twenty of them are on, each with every hook of a generation; beside them the same Atelier has none (README.md says what
is counted). Both figures are ratios, medians over alternating pairs.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from backend.app import App, Options
from backend.engine import Engine
from backend.extension_api import Hooks
from backend.extensions.switches import Switches
from backend.jobs import Job
from backend.request import GenerationRequest
from bench import STARTER, WORK
from bench.pairs import alternate
from bench.report import machine, ratio
from bench.startup import await_answer, running

MANY = 20
GENERATION_AIM = 1.01
START_AIM = 1.1
REQUEST = GenerationRequest(
    prompt="a red circle on a blue background",
    negative_prompt="a green square",
    width=128,
    height=128,
    steps=20,
    seed=1,
)


def write_idle(data_dir: Path, count: int = MANY) -> None:
    """Put extensions into a data folder that have every hook and do nothing in any, and switch them on."""
    stages = [name for name in vars(Hooks) if name.startswith("on_")]
    hooks = [f"@hook\ndef {name}():\n    return None\n" for name in stages]
    switches = Switches(data_dir / "extensions.json")
    for number in range(count):
        folder = data_dir / "extensions" / f"idle_{number}"
        folder.mkdir(parents=True)
        manifest = {"id": folder.name, "name": f"Idle {number}", "version": "1.0", "api": ">=1.0,<2"}
        lines = [f'{key} = "{value}"' for key, value in manifest.items()]
        (folder / "extension.toml").write_text("\n".join(lines), encoding="utf-8")
        register = "from backend.extension_api import hook\n\n\n@hook\ndef register():\n    return None\n"
        (folder / "__init__.py").write_text("\n\n".join([register, *hooks]), encoding="utf-8")
        switches.switch(folder.name, True)


@contextmanager
def engine(folder: Path, count: int) -> Iterator[Engine]:
    """An engine with so many idle extensions, and the starter loaded."""
    write_idle(folder, count)
    app = App(Options(data_dir=folder, device="cpu", checkpoint_dirs=(STARTER.parent,)))
    try:
        if len(app.extensions.active()) < count:
            raise RuntimeError("Not all of the extensions are on: there is nothing to compare.")
        yield Engine.create(app)
    finally:
        app.close()


def generation(pairs: int) -> None:
    """The whole generation with twenty, over the same with none."""
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(TemporaryDirectory(dir=WORK))) for _ in range(2)]
        many, none = (stack.enter_context(engine(f, n)) for f, n in zip(folders, (MANY, 0), strict=True))
        ways = [lambda made=made: made.generate(REQUEST, Job(REQUEST, "bench")) for made in (many, none)]
        for way in ways:
            way()
        measured = alternate(ways[0], ways[1], pairs)
    print(ratio("extensions.generation", measured, GENERATION_AIM).line, flush=True)


def start(pairs: int) -> None:
    """From the start of the program to the page's first answer, with twenty over none."""

    def once(count: int) -> None:
        with TemporaryDirectory(dir=WORK) as folder:
            write_idle(Path(folder), count)
            with running(STARTER, Path(folder)) as (address, _):
                await_answer(address)

    once(MANY)
    once(0)
    print(ratio("extensions.start", alternate(lambda: once(MANY), lambda: once(0), pairs), START_AIM).line)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(prog="python -m bench.extensions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20, help="pairs of generations (default: 20)")
    parser.add_argument("--starts", type=int, default=5, help="pairs of starts (default: 5)")
    asked = parser.parse_args(arguments)
    if min(asked.pairs, asked.starts) < 1:
        parser.error("--pairs and --starts must be at least 1")
    if not STARTER.is_file():
        sys.exit(f"There is no {STARTER}.")
    print(machine(), flush=True)
    WORK.mkdir(exist_ok=True)
    generation(asked.pairs)
    start(asked.starts)


if __name__ == "__main__":
    main()
