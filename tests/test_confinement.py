import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.model_manager.conversion import confinement
from backend.paths import ROOT

# Tries everything once, in a process of its own, because no lock can be taken off again.
ATTEMPTS = """
import json, os, socket, subprocess, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from backend.model_manager.conversion.confinement import confine_by_audit, confine_by_kernel
own, port, how = Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
neighbour = own.with_name("neighbour")
def connect():
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
def run():
    if os.system(f"touch {own.with_name('ran')}"):
        raise OSError("no program was started")
def replace_itself():
    if os.fork() == 0:
        try:
            os.execv("/bin/sh", ["sh", "-c", f"touch {own.with_name('executed')}"])
        except OSError:
            os._exit(7)
    if os.wait()[1]:
        raise OSError("no program was started")
def write_own():
    own.write_bytes(b"own")
def read_neighbour():
    neighbour.read_bytes()
attempts = {
    "connect": connect, "run": run, "replace itself": replace_itself,
    "start": lambda: subprocess.run(["touch", str(own.with_name("started"))], check=True),
    "write a neighbour": lambda: neighbour.write_bytes(b"changed"),
    "create": lambda: own.with_name("created").write_bytes(b""),
    "remove": lambda: neighbour.unlink(),
    "rename": lambda: neighbour.rename(own.with_name("renamed")),
    "write its own": write_own, "read a neighbour": read_neighbour,
}
held = list(confine_by_kernel(own)) if how == "kernel" else []
refused = confine_by_audit(own) if how == "audit" else []
came_through = []
for name, attempt in attempts.items():
    try:
        attempt()
        came_through.append(name)
    except (OSError, subprocess.SubprocessError):
        pass
print(json.dumps({"held": held, "came_through": came_through, "refused": list(refused)}))
"""
PROGRAMS = {"run", "replace itself", "start"}
CHANGES = {"write a neighbour", "create", "remove", "rename"}
ALLOWED = {"write its own", "read a neighbour"}


def attempt(folder: Path, how: str) -> dict[str, Any]:
    own = folder / "own"
    own.write_bytes(b"")
    (folder / "neighbour").write_bytes(b"as it was")
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = [sys.executable, "-I", "-c", ATTEMPTS, str(ROOT), str(own), str(server.getsockname()[1]), how]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_without_locks_all_of_it_can_be_done(tmp_path: Path) -> None:
    """Otherwise the tests below would hold for want of anything to refuse."""
    assert {"connect", "write a neighbour", "create", "remove"} | PROGRAMS | {"write its own"} <= set(
        attempt(tmp_path, "none")["came_through"]
    )


def test_each_lock_of_the_kernel_that_is_said_to_hold_does(tmp_path: Path) -> None:
    outcome = attempt(tmp_path, "kernel")
    came_through, held = set(outcome["came_through"]), set(outcome["held"])
    assert came_through >= ALLOWED
    if confinement.NETWORK in held or confinement.CALLS in held:
        assert "connect" not in came_through
    if confinement.CALLS in held or confinement.FILES in held:
        assert not came_through & PROGRAMS
    if confinement.FILES in held:
        assert not came_through & CHANGES
        assert (tmp_path / "neighbour").read_bytes() == b"as it was"
    if sys.platform.startswith("linux") and os.uname().machine in ("x86_64", "aarch64"):
        assert confinement.CALLS in held  # needs no rights, and is in every kernel that people run


def test_the_audit_hook_refuses_on_every_system(tmp_path: Path) -> None:
    outcome = attempt(tmp_path, "audit")
    assert set(outcome["came_through"]) == ALLOWED
    assert {"socket.getaddrinfo", "os.system", "os.fork", "subprocess.Popen", "open"} <= set(outcome["refused"])
    assert (tmp_path / "neighbour").read_bytes() == b"as it was"


LIMITED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from backend.model_manager.conversion.confinement import Limits, apply_limits
held = apply_limits(Limits(memory=64 * 2**20, seconds=1, output=1000))
assert set(held) >= {"computing time", "file size", "open files"}, held
match sys.argv[2]:
    case "memory":
        bytearray(128 * 2**20)
    case "little memory":
        bytearray(32 * 2**20)
    case "output":
        Path(sys.argv[3]).write_bytes(bytes(2000))
    case "seconds":
        while True:
            pass
"""


@pytest.mark.parametrize(
    ("what", "ends"), [("little memory", ""), ("memory", "MemoryError"), ("output", "OSError"), ("seconds", "SIGXCPU")]
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has none of these limits")
def test_limits_hold(what: str, ends: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-I", "-c", LIMITED, str(ROOT), what, str(tmp_path / "file")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if ends == "SIGXCPU":
        import signal

        assert done.returncode == -signal.SIGXCPU
    else:
        assert (done.returncode == 0) == (not ends)
        assert ends in done.stderr
