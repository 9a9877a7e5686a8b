import os
import struct
from pathlib import Path

import pytest

from backend.errors import ModelFileError
from backend.model_manager.downloads.intake import LONGEST_NAME, check_part, place, recognise, safe_name
from tests.hub_server import safetensors_bytes

SOUND = safetensors_bytes(1000)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("model.safetensors", "model.safetensors"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system.ini", "system.ini"),
        ("/etc/cron.d/x.pt", "x.pt"),
        ("C:evil.pt", "C_evil.pt"),
        ("..", ""),
        ("...", ""),
        ("", ""),
        ("/", ""),
        (".hidden.safetensors", "hidden.safetensors"),
        ("a\0b.pt", "ab.pt"),
        ("a\r\nb.pt", "ab.pt"),
        ("gpj.\u202esrotsnet.pt", "gpj.srotsnet.pt"),
        ("zero\u200bwidth.pt", "zerowidth.pt"),
        ("<img src=x onerror=alert(1)>.pt", "_img src=x onerror=alert(1)_.pt"),
        ('a:b*c?"d|e.pt', "a_b_c__d_e.pt"),
        ("CON", "_CON"),
        ("nul.safetensors", "_nul.safetensors"),
        ("com1.pt", "_com1.pt"),
        ("trailing. ", "trailing"),
        ("e\u0301.pt", "\u00e9.pt"),
        ("my model v1.5", "my model v1.5"),
        ("模型.safetensors", "模型.safetensors"),
    ],
)
def test_a_name_is_one_on_every_system(said: str, name: str) -> None:
    assert safe_name(said) == name
    assert safe_name(name) == name


@pytest.mark.parametrize("sign", ["x", "é", "模", "🎨"])
def test_a_long_name_is_cut_between_signs_and_keeps_its_suffix(sign: str) -> None:
    name = safe_name(sign * 300 + ".safetensors")
    assert LONGEST_NAME - 4 < len(name.encode()) <= LONGEST_NAME
    assert name == sign * (len(name) - 12) + ".safetensors"


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "0.partial"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.safetensors", "a.ckpt", "a.txt", "a"])
def test_safetensors_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    content = recognise(written(tmp_path, SOUND), name)
    assert (content.suffix, content.note) == (".safetensors", "")


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.ckpt", ".ckpt"), ("a.PT", ".pt"), ("a.safetensors", ".ckpt"), ("a", ".ckpt")]
)
@pytest.mark.parametrize("data", [b"\x80\x02}q\x00.", b"\x80\x04\x95.", "zip"])
def test_a_pickle_is_kept_as_one_and_never_opened(tmp_path: Path, name: str, suffix: str, data: bytes | str) -> None:
    member = b"archive/data.pkl"
    head = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 0, 0, 0, 0, 0, 0, 4, 4, len(member), 0) + member + b"\x80\x02}."
    content = recognise(written(tmp_path, head if isinstance(data, str) else data), name)
    assert content.suffix == suffix
    assert "convert it to safetensors" in content.note


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"<!DOCTYPE html><html>log in</html>", "a web page"),
        (b"\n  <html><body>", "a web page"),
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b'{"error": "Unauthorized"}', "neither"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b"MZ\x90\0 this is a program", "neither"),
        (b"\x7fELF" + b"\0" * 100, "neither"),
        (b"PK\x03\x04" + b"\0" * 100, "zip file and no model"),
        (SOUND[:-1], "a.safetensors is cut short"),
        (SOUND + b"\0", "a.safetensors"),
        (SOUND[:40], "a.safetensors"),
    ],
)
def test_what_is_no_model_is_refused_in_a_sentence(tmp_path: Path, data: bytes, sentence: str) -> None:
    with pytest.raises(ModelFileError, match=r"\.$") as refused:
        recognise(written(tmp_path, data), "a.safetensors")
    assert sentence in str(refused.value)
    assert "0.partial" not in str(refused.value)


def test_the_parts_of_a_folder_are_what_their_names_say(tmp_path: Path) -> None:
    check_part(written(tmp_path, SOUND), "unet/x.safetensors")
    check_part(written(tmp_path, b'{"a": 1}'), "unet/config.json")
    check_part(written(tmp_path, "e\u0301 t\n".encode()), "tokenizer/merges.txt")
    for data, name in (
        (b"<html>", "unet/config.json"),
        (b"[]", "unet/config.json"),
        (b'{"a"', "unet/config.json"),
        (b"[" * 100_000, "unet/config.json"),
        (b"\xff\xfe", "tokenizer/merges.txt"),
        (b"\x80\x02}.", "unet/x.safetensors"),
    ):
        with pytest.raises(ModelFileError, match=name):
            check_part(written(tmp_path, data), name)


def test_nothing_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    folder.mkdir()
    (folder / "a.safetensors").write_bytes(b"mine")
    (folder / "a-2.safetensors").symlink_to(tmp_path / "nowhere")
    path = place(written(tmp_path, b"new"), folder, "a.safetensors")
    assert path.name == "a-3.safetensors" and path.read_bytes() == b"new"
    assert (folder / "a.safetensors").read_bytes() == b"mine"
    assert not (tmp_path / "0.partial").exists() and not (tmp_path / "nowhere").exists()
    assert place(written(tmp_path, b"x"), folder, "b.safetensors").name == "b.safetensors"


def test_a_name_taken_between_the_look_and_the_move_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pt").write_bytes(b"mine")
    answers = [False]  # what was seen a moment before somebody else's file came
    look = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: answers.pop() if answers else look(path))
    assert place(written(tmp_path, b"new"), tmp_path, "a.pt").name == "a-2.pt"
    assert (tmp_path / "a.pt").read_bytes() == b"mine"


def test_a_folder_does_not_replace_one_either(tmp_path: Path) -> None:
    (tmp_path / "sd.1" / "unet").mkdir(parents=True)
    source = tmp_path / "whole"
    source.mkdir()
    (source / "model_index.json").write_text("{}")
    path = place(source, tmp_path, "sd.1")
    assert path.name == "sd.1-2" and [entry.name for entry in path.iterdir()] == ["model_index.json"]
    assert [entry.name for entry in (tmp_path / "sd.1").iterdir()] == ["unet"]
