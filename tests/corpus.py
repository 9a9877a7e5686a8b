"""Every file of a folder through every door for pictures: python -m tests.corpus FOLDER

For a corpus of damaged and odd files, such as ``Tests/images`` in the source of Pillow. A file comes out as a picture
or is refused in a sentence; anything else is a crash, and is named. The last line has the counts.
"""

import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from backend.errors import UserError
from backend.infotext.recipe import read_recipe
from backend.inputs import Inputs

LONG = 5.0  # seconds after which a file is named


def doors(inputs: Inputs) -> dict[str, Callable[[bytes], object]]:
    """What is done with the bytes that somebody puts in."""
    return {"put in": lambda data: inputs.picture(inputs.put(data).name), "recipe": read_recipe}


def outcome(door: Callable[[bytes], object], data: bytes) -> str:
    """What came of it in a word, or the fault that should not have been."""
    try:
        return "taken" if door(data) is not None else "nothing"
    except UserError as error:
        return "refused" if str(error).endswith((".", "?")) else f"no sentence: {error}"
    except Exception as error:  # noqa: BLE001 - whatever it is: it is what is looked for
        return f"CRASH {type(error).__name__}: {error}"


def walk(folder: Path, counts: Counter[str]) -> Iterator[str]:
    """A line for each file that crashed or took long; `counts` has all outcomes then."""
    with tempfile.TemporaryDirectory() as kept:
        opened = doors(Inputs(Path(kept)))
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            data = path.read_bytes()
            counts["files"] += 1
            for name, door in opened.items():
                started = time.monotonic()
                found = outcome(door, data)
                took = time.monotonic() - started
                counts[f"{name}: {found.partition(' ')[0]}"] += 1
                if found not in ("taken", "nothing", "refused"):
                    yield f"{path.relative_to(folder)} {name} {found}"
                if took > LONG:
                    yield f"{path.relative_to(folder)} {name} took {took:.1f} s"


def main() -> int:
    """Go through the folder; the exit status says whether anything crashed."""
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    for line in walk(Path(sys.argv[1]), counts):
        print(line, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{dict(counts)}, at most {peak:,.0f} MiB")
    return int(any("CRASH" in name or "no" in name.split() for name in counts))


if __name__ == "__main__":
    sys.exit(main())
