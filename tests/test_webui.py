"""The command itself, as a person or a launcher runs it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from backend.claim import claim
from backend.paths import ROOT

FOLDER_FLAGS = (
    *("--ckpt-dir", "--lora-dir", "--vae-dir", "--embeddings-dir", "--controlnet-dir", "--upscaler-dir"),
    *("--esrgan-models-path", "--models-dir"),
)


def start(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "webui.py", *flags], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_lists_the_flags_and_hides_those_to_come() -> None:
    done = start("--help")
    assert done.returncode == 0
    for flag in ("--port", "--data-dir", "--device", *FOLDER_FLAGS):
        assert flag in done.stdout
    assert "--share" not in done.stdout


@pytest.mark.parametrize("flag", ["--listen", "--share", "--nowebui", "--api"])
def test_flags_to_come_answer_in_a_sentence(flag: str) -> None:
    done = start(flag)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Atelier: {flag} comes with the door")
    assert done.stderr.count("\n") == 1


def test_a_taken_port_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = start("--port", str(port))
    assert done.returncode == 2
    assert f"Port {port} cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--port", "70000"), "from 0 to 65535"),
        (("--port", "many"), "invalid int value"),
        *(((flag, "/no/such/folder"), "There is no folder /no/such/folder") for flag in FOLDER_FLAGS),
        (("--device", "tpu"), "invalid choice: 'tpu'"),
        (("--colour", "red"), "unrecognized arguments"),
    ],
)
def test_a_wrong_flag_is_a_sentence(flags: tuple[str, ...], words: str) -> None:
    done = start(*flags)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_in_use_is_a_sentence(tmp_path: Path) -> None:
    held = claim(tmp_path)
    done = start("--port", "0", "--data-dir", str(tmp_path))
    held.close()
    assert done.returncode == 2
    assert done.stderr.startswith(f"Atelier: Another Atelier works in {tmp_path} already")
    assert done.stderr.count("\n") == 1


def test_a_data_folder_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = start("--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert done.returncode == 2
    assert "cannot be used" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="there SIGTERM ends a process without asking it")
def test_every_folder_that_is_given_is_searched(tmp_path: Path) -> None:
    """Given twice each, and asked for over the page's own address."""
    flags: list[str] = []
    for flag in FOLDER_FLAGS:
        for number in "12":
            folder = tmp_path / f"{flag.strip('-')}-{number}"
            folder.mkdir()
            flags += [flag, str(folder)]
    running = subprocess.Popen(
        [sys.executable, "webui.py", "--port", "0", "--data-dir", str(tmp_path / "data"), *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    address = running.stdout.readline().split()[3]
    folders = httpx.get(f"{address}/atelier/models/folders").json()["folders"]
    running.terminate()
    assert running.wait(60) == 0
    kinds = {Path(each["path"]).name: each["kind"] for each in folders if Path(each["path"]).parent == tmp_path}
    assert len(kinds) == 2 * len(FOLDER_FLAGS)
    assert kinds["lora-dir-2"] == "lora"
    assert kinds["esrgan-models-path-1"] == kinds["upscaler-dir-1"] == "upscaler"
    assert kinds["models-dir-1"] == "unknown"
    assert running.stderr is not None
    assert "cannot be used yet" not in running.stderr.read()


@pytest.mark.skipif(os.name == "nt", reason="there SIGTERM ends a process without asking it")
def test_asked_to_end_it_closes_what_it_opened(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "webui.py", "--port", "0", "--data-dir", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline().startswith("Atelier is at http://127.0.0.1:")
    running.terminate()
    assert running.wait(60) == 0  # and not what the signal itself would have left
