"""Run the slow proofs while time is left, and say of each whether it ran and where it was last seen to hold.

    python -m tests.proofs [--seconds 3000] [--no-start-after 600] [--record]

A proof is a test marked `slow`. Each runs in a pytest of its own, the one longest unseen first; none starts after
``--no-start-after`` seconds, and one still running after ``--seconds`` is stopped: that is no failure, and no proof.
``--record`` writes the commit into ``docs/proofs.md`` beside the proofs that held; it wants a clean checkout, because
only what is committed can be named by a commit.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path("docs/proofs.md")
NEVER = "never"
HEADING = """# Proofs that take longer than the test suite may

Tests marked `slow`. `.ci/run` runs as many as its time allows, the one longest unseen first;
`python -m tests.proofs --record` runs them all and writes this table.

| proof | last green commit |
| --- | --- |
"""
HELD, FAILED, STOPPED, NOT_RUN = "held", "FAILED", "STOPPED (no time left)", "not run"


def read(text: str) -> dict[str, str]:
    """The table's rows: proof -> commit and day, or "never"."""
    return dict(re.findall(r"^\| `(.+?)` \| (.+?) \|$", text, re.MULTILINE))


def write(greens: dict[str, str]) -> str:
    return HEADING + "".join(f"| `{proof}` | {green} |\n" for proof, green in sorted(greens.items()))


def collect(root: Path) -> list[str]:
    """Every slow test's node id, its parameters as one proof. Raises RuntimeError with pytest's words."""
    done = _pytest(root, ["--collect-only", "-q", "-m", "slow"])
    output, _ = done.communicate()
    if done.returncode not in (0, 5):  # 5: none collected
        raise RuntimeError(output)
    ids = [line.split("[", maxsplit=1)[0] for line in output.splitlines() if "::" in line]
    return list(dict.fromkeys(ids))


def run(root: Path, proof: str, seconds: float) -> tuple[str, str]:
    """One proof: what came of it, and pytest's output. It and whatever it started end with the time."""
    process = _pytest(root, ["-q", "-m", "slow", "-o", "faulthandler_timeout=0", proof])
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return STOPPED, output
    return (HELD if process.returncode == 0 else FAILED), output


def _pytest(root: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "-o", "addopts=--import-mode=importlib --strict-markers", *arguments]
    return subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def head(root: Path) -> str:
    """This commit and its day, as the table names it; "unknown" outside a git checkout."""
    return _git(root, "log", "-1", "--format=%h (%cs)") or "unknown"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def prove(root: Path, greens: dict[str, str], *, seconds: float, no_start_after: float) -> dict[str, str]:
    """Run the proofs in `greens`; what came of each, in the order in which their turn came."""
    began = time.monotonic()
    results: dict[str, str] = {}
    for proof in sorted(greens, key=lambda proof: ("(" in greens[proof], greens[proof].partition("(")[2])):
        passed = time.monotonic() - began
        results[proof] = NOT_RUN
        if passed < no_start_after:
            print(f"== {proof}", flush=True)
            results[proof], output = run(root, proof, seconds - passed)
            if results[proof] != HELD:
                print(output, flush=True)
    return results


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Exit status 0 where no proof that ran failed, 1 otherwise, 2 where the table may not be written."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=24 * 3600.0, help="all of it ends after this")
    parser.add_argument("--no-start-after", type=float, default=24 * 3600.0, help="no proof begins after this")
    parser.add_argument("--record", action="store_true", help=f"write what held into {TABLE}")
    options = parser.parse_args(arguments)
    if options.record and (_git(root, "status", "--porcelain") or head(root) == "unknown"):
        print("--record needs a git checkout without changes: a commit can vouch only for what is in it.")
        return 2
    table = root / TABLE
    known = read(table.read_text("utf-8")) if table.exists() else {}
    try:
        greens = {proof: known.get(proof, NEVER) for proof in collect(root)}
    except RuntimeError as error:
        print(f"The slow proofs could not be collected:\n{error}")
        return 1
    results = prove(root, greens, seconds=options.seconds, no_start_after=options.no_start_after)
    this_commit = head(root)
    greens |= {proof: this_commit for proof, result in results.items() if result == HELD}
    width = max((len(proof) for proof in results), default=5)
    print(f"\n{'proof':{width}} | {'this run':22} | last green commit")
    for proof in sorted(results):
        print(f"{proof:{width}} | {results[proof]:22} | {greens[proof]}")
    if not results:
        print("(no test is marked slow)")
    if options.record:
        table.write_text(write(greens), "utf-8")
    return int(FAILED in results.values())


if __name__ == "__main__":
    sys.exit(main())
