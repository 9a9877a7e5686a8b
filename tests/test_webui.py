"""The command itself, as a person or a launcher runs it."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

import webui
from backend.claim import claim
from backend.paths import ROOT
from backend.server.entrance import Wishes, entries, policy_of
from flags import parse

FOLDER_FLAGS = (
    *("--ckpt-dir", "--lora-dir", "--vae-dir", "--embeddings-dir", "--controlnet-dir", "--upscaler-dir"),
    *("--esrgan-models-path", "--models-dir"),
)


def start(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "webui.py", *flags], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def parsed(*line: str) -> Any:
    return parse(line)


def test_help_lists_the_flags_and_hides_those_that_do_nothing() -> None:
    done = start("--help")
    assert done.returncode == 0
    for flag in (
        "--port",
        "--data-dir",
        "--device",
        "--listen",
        "--share",
        "--gradio-auth",
        "--nowebui",
        *FOLDER_FLAGS,
    ):
        assert flag in done.stdout
    assert "--medvram" not in done.stdout


# As they stand in launchers, containers and guides of A1111.
LAUNCH_LINES = [
    "--xformers --medvram --opt-split-attention --no-half-vae --autolaunch",
    "--listen --port 7861 --enable-insecure-extension-access --gradio-auth me:secret --api --api-auth a:b",
    "--api --nowebui --cors-allow-origins=http://localhost:3000,https://studio.example --skip-torch-cuda-test",
    "--share --gradio-auth-path logins.txt --theme dark --api-log --loglevel INFO --no-hashing",
    "--ckpt-dir . --lora-dir . --vae-dir . --embeddings-dir . --esrgan-models-path . --ckpt x.ckpt",
    "--precision full --no-half --use-cpu all --skip-python-version-check --disable-safe-unpickle --subpath sd",
    "--precision autocast --lowvram --opt-sdp-attention --ngrok token --ngrok-region eu --freeze-settings",
    "--data-dir . --models-dir . --no-download-sd-model --disable-nan-check --filenames-max-length 90 --server-name x",
]


@pytest.mark.parametrize("line", LAUNCH_LINES)
def test_launch_lines_of_a1111_are_understood(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    read = parsed(*line.split())
    said = capsys.readouterr().err
    assert "unrecognized" not in said and "Traceback" not in said
    for flag in ("--medvram", "--theme", "--no-hashing", "--ckpt", "--freeze-settings", "--disable-nan-check"):
        assert (flag in said.replace(",", "").replace(".", "").split()) is (flag in line.split())
    for flag in ("--enable-insecure-extension-access", "--disable-safe-unpickle", "--ngrok"):
        assert (f"{flag} is not there" in said) is (flag in line.split())
    assert read.precision == ("fp32" if "full" in line else "auto")
    assert read.device == ("cpu" if "--use-cpu" in line else "auto")


def test_the_variable_of_a1111_holds_flags_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMANDLINE_ARGS", "--port 7 --lora-dir 'a b'")
    read = parsed("--nowebui")
    assert (read.port, read.lora_dir, read.nowebui) == (7, [Path("a b")], True)


@pytest.mark.parametrize(
    "flags", [("--listen",), ("--server-name", "0.0.0.0"), ("--listen", "--share"), ("--listen", "--api")]
)
def test_nobody_listens_without_a_login(flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """S02. No port is taken: the sentence comes first."""
    monkeypatch.setattr("webui.take_port", lambda *_: pytest.fail("a port was taken"))
    monkeypatch.setattr("webui.serve", lambda *_: pytest.fail("it was served"))
    with pytest.raises(SystemExit) as ended:
        webui.start(parsed(*flags))
    assert ended.value.code == 2
    assert "give a login by --gradio-auth" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--gradio-auth", "anna"), "nobody to ask"),
        (("--gradio-auth", ":x"), "cannot be read"),
        (("--gradio-auth-path", "/no/such/file"), "cannot be read"),
        (("--cors-allow-origins", "*"), "not '*'"),
        (("--cors-allow-origins-regex", ".*"), "fits every website"),
        (("--cors-allow-origins-regex", "("), "no regular expression"),
        (("--allowed-host", "http://x"), "without port and path"),
        (("--subpath", "/a/../b"), "--subpath needs"),
        (("--server-name", "no such host"), "no address"),
        (("--tls-keyfile", __file__), "belong together"),
        (("--tls-keyfile", "/no", "--tls-certfile", "/no"), "There is no file /no"),
        (("--share", "--tls-keyfile", __file__, "--tls-certfile", __file__), "its own https"),
    ],
)
def test_a_door_that_cannot_be_is_a_sentence(
    flags: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("sys.argv", ["webui.py", *flags])
    monkeypatch.setattr("webui.serve", lambda *_: pytest.fail("it was served"))
    monkeypatch.setattr("webui.asking", lambda: None)
    with pytest.raises(SystemExit) as ended:
        webui.main()
    assert ended.value.code == 2
    assert words in (said := capsys.readouterr().err) and said.count("\n") == 1


def test_logins_come_from_flags_a_file_a_variable_and_a_prompt(tmp_path: Path) -> None:
    file = tmp_path / "logins"
    file.write_text("clara:c\nviewer vera:v\n")
    wishes = Wishes(gradio_auth="anna", gradio_auth_path=file, api_auth="prog:p")
    asked: list[str] = []
    given = entries(wishes, "bert:b", lambda words: asked.append(words) or "typed")
    assert asked == ["Password for anna: "]
    assert [(each.name, each.role, each.password and each.password.reveal()) for each in given] == [
        ("anna", "administrator", "typed"),
        ("bert", "artist", "b"),
        ("clara", "artist", "c"),
        ("vera", "viewer", "v"),
        ("prog", "artist", "p"),
    ]
    assert "typed" not in repr(given)


def test_who_listens_answers_to_addresses_and_to_its_own_name() -> None:
    quiet = policy_of(Wishes(), "127.0.0.1")
    assert quiet.loopback and not quiet.answers_to("192.168.1.5") and not quiet.answers_to(socket.gethostname().lower())
    loud = policy_of(Wishes(listen=True, allowed_host=("Studio.example", "::1")), "0.0.0.0")
    assert not loud.loopback
    for name in ("192.168.1.5", "[fe80::1]", socket.gethostname().lower(), "studio.example", "localhost", "[::1]"):
        assert loud.answers_to(name), name
    assert not loud.answers_to("evil.example") and not loud.answers_to("")
    assert policy_of(Wishes(subpath="sd/"), "127.0.0.1").subpath == "/sd"


def test_a_token_is_printed_once(tmp_path: Path) -> None:
    done = start("--new-token", "Photoshop", "--data-dir", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() not in (tmp_path / "api-tokens.json").read_text()


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


CANARY = "CANARY-b2c9"


@pytest.mark.skipif(os.name == "nt", reason="there SIGTERM ends a process without asking it")
def test_for_programs_only_with_a_login_below_a_path_and_asked_to_end(tmp_path: Path) -> None:
    """One start for all of it: what is left in the environment, what is served and to whom, and how it ends."""
    line = ["--port", "0", "--data-dir", str(tmp_path), "--nowebui", "--subpath", "sd", "--api-auth", "prog:b"]
    running = subprocess.Popen(
        [sys.executable, "webui.py", *line],
        cwd=ROOT,
        env={**os.environ, "ATELIER_AUTH": f"anna:{CANARY}", "GRADIO_SHARE": "True", "GRADIO_VIBE_MODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.stdout is not None
    said = running.stdout.readline()
    assert said.startswith("Atelier is at http://127.0.0.1:") and said.split()[3].endswith("/sd")
    with httpx.Client(base_url=said.split()[3], timeout=60) as client:
        assert client.get("/sdapi/v1/samplers").status_code == 401
        assert client.get("/sdapi/v1/samplers", auth=("prog", "b")).status_code == 200
        assert client.get("/sdapi/v1/samplers", auth=("anna", CANARY)).status_code == 200
        assert (
            client.get("/sdapi/v1/samplers", auth=("anna", CANARY), headers={"host": "evil.example"}).status_code == 400
        )
        flags_told = client.get("/sdapi/v1/cmd-flags", auth=("anna", CANARY))
        assert CANARY not in flags_told.text and "prog:b" not in flags_told.text
        page = client.get("/", headers={"accept": "text/html"})
        assert page.status_code == 401 and 'action="/sd/login"' in page.text
        assert "server" not in page.headers
    running.terminate()
    rest, _ = running.communicate(timeout=60)
    assert running.returncode == 0, rest  # and not what the signal itself would have left
    assert CANARY not in rest
    assert not any(CANARY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_the_environment_of_libraries_is_taken_out_of_others_hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GRADIO_SHARE", "GRADIO_ALLOWED_PATHS", "GRADIO_VIBE_MODE", "GRADIO_NEW_THING"):
        monkeypatch.setenv(name, "True")
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")  # and put back after the test
    webui.isolate(tmp_path)
    left = {name for name in os.environ if name.startswith("GRADIO_")}
    assert left == {"GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"}
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
