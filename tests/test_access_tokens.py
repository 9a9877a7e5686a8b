import json
import logging
import os
import stat
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.model_manager.downloads.access_tokens import AccessTokens, origin_of

SECRET = "hf_CANARY-0123456789"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "tokens.json"


def test_a_token_is_kept_for_its_host_and_found_by_its_origin(path: Path) -> None:
    tokens = AccessTokens(path)
    tokens.put("HuggingFace.co", f" {SECRET}\n")
    tokens.put("https://civitai.com/models/1?x=y", "other")
    assert tokens.hosts() == ["civitai.com", "huggingface.co"]
    again = AccessTokens(path)
    assert again.token("https://huggingface.co") == SECRET
    for other in ("https://evil.co", "http://huggingface.co", "https://huggingface.co:8443", "huggingface.co", ""):
        assert again.token(other) == ""
    again.forget("huggingface.co")
    assert AccessTokens(path).hosts() == ["civitai.com"]
    assert SECRET not in path.read_text()


def test_only_its_user_may_read_the_file(path: Path) -> None:
    old = os.umask(0)  # the friendliest there is
    try:
        AccessTokens(path).put("huggingface.co", SECRET)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert AccessTokens(path).token("https://huggingface.co") == SECRET
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_token_is_never_shown(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = AccessTokens(path)
    tokens.put("huggingface.co", SECRET)
    assert SECRET not in repr(tokens) + str(tokens) + f"{tokens.hosts()}"
    for bad in (f"{SECRET}\r\nHost: evil", f"{SECRET} {SECRET}", "", "ü" + SECRET, SECRET * 300):
        with pytest.raises(UserError) as refused:
            tokens.put("huggingface.co", bad)
        assert SECRET not in str(refused.value)
    for host in ("", "no host", "https://user@huggingface.co", "a\\b"):
        with pytest.raises(UserError) as refused:
            tokens.put(host, SECRET)
        assert SECRET not in str(refused.value)
    path.write_text(f"{SECRET} is not JSON")
    assert AccessTokens(path).hosts() == []
    assert SECRET not in caplog.text
    assert tokens.token("https://huggingface.co") == SECRET, "what was refused changed nothing"


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{", '{"https://a": 1}', '{"a": "x"}', '{"https://a": "x\\r\\ny"}', '{"file:///a": "x"}'),
        *('{"https://a": ""}', "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")),
    ],
)
def test_a_damaged_file_is_kept_aside(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content, encoding="latin-1")
    assert AccessTokens(path).hosts() == []
    (aside,) = path.parent.iterdir()
    assert aside.name.startswith("tokens.json.bad-") and aside.read_text(encoding="latin-1") == content
    AccessTokens(path).put("huggingface.co", SECRET)
    assert list(json.loads(path.read_text())) == [origin_of("huggingface.co")]


def test_a_disk_that_says_no_is_a_sentence(path: Path) -> None:
    tokens = AccessTokens(path)
    path.parent.write_text("in the way")
    with pytest.raises(UserError, match=r"could not be written to the disk \(") as refused:
        tokens.put("huggingface.co", SECRET)
    assert SECRET not in str(refused.value)
    assert tokens.hosts() == []


def test_a_file_that_cannot_be_read_is_not_written_over(path: Path) -> None:
    path.mkdir(parents=True)
    tokens = AccessTokens(path)
    with pytest.raises(UserError, match="cannot be read"):
        tokens.put("huggingface.co", SECRET)
    assert path.is_dir()
