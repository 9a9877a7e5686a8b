"""``python -m backend.extensions new NAME``: write a new extension to begin with."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from backend.errors import UserError
from backend.extensions.skeleton import write_skeleton
from backend.paths import ROOT


def main(line: Sequence[str]) -> int:
    """Do what is asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m backend.extensions", description="For authors of extensions.")
    orders = parser.add_subparsers(required=True, dest="order")
    new = orders.add_parser("new", help="write a new extension that works, with a test")
    new.add_argument("name", help="what it is called, such as 'Picture frame'")
    new.add_argument(
        "--folder", type=Path, default=ROOT / "extensions", help="where its folder goes (default: extensions)"
    )
    arguments = parser.parse_args(line)
    try:
        place = write_skeleton(arguments.name, arguments.folder)
    except UserError as error:
        print(f"Atelier: {error}", file=sys.stderr)
        return 2
    print(f"{place} is there. Its test: python -m pytest {place}. Then switch it on in Extensions.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
