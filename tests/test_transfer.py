"""Bytes from a server that does everything wrong, over real sockets into real files."""

import json
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend.model_manager.downloads.download import Downloads, web_download
from tests.download_studio import MODEL, PLACE, QUICK, SMALL, Studio, studio_at
from tests.hub_server import PIECE, safetensors_bytes


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with studio_at(tmp_path) as studio:
        yield studio


@pytest.mark.parametrize("drops", [[100_000], [300_000, 1, 200_000], [0, 0, 500_000, 0, 0, 100_000, 0, 0]])
def test_a_connection_that_breaks_is_taken_up_where_it_broke(studio: Studio, drops: list[int]) -> None:
    download = studio.from_hub()
    studio.storage.faults.drops = list(drops)
    record = studio.run(download)
    assert record.state == "finished", record.problem
    assert record.path is not None and record.path.read_bytes() == MODEL
    assert studio.storage.sent <= len(MODEL) + PIECE * len(drops)
    ranges = [asked.headers["Range"] for asked in studio.storage.asked if "Range" in asked.headers]
    assert ranges and all("If-Range" in asked.headers for asked in studio.storage.asked if "Range" in asked.headers)


def test_a_connection_that_always_breaks_is_given_up_and_can_be_resumed(studio: Studio) -> None:
    download = studio.from_hub()
    studio.storage.faults.drops = [400_000, 0, 0, 0, 0]
    record = studio.run(download)
    assert record.state == "failed" and "broke off" in record.problem and "resume it later" in record.problem
    assert len(studio.storage.asked) == 1 + QUICK.attempts
    assert studio.left() == [f".download-{record.id}", f".download-{record.id}/0.partial"]
    studio.storage.faults.drops = []
    studio.downloads.resume(record.id)
    assert studio.settle(record.id).state == "finished"
    assert studio.storage.sent <= len(MODEL) + PIECE
    assert (studio.folder / "style.safetensors").read_bytes() == MODEL


@pytest.mark.parametrize("fault", ["deaf", "shifted"])
def test_a_server_that_ignores_or_twists_range_gives_the_right_bytes_or_none(studio: Studio, fault: str) -> None:
    download = studio.from_hub()
    setattr(studio.storage.faults, fault, True)
    studio.storage.faults.drops = [300_000]
    record = studio.run(download)
    assert record.state == "finished", record.problem
    assert (studio.folder / "style.safetensors").read_bytes() == MODEL
    assert "Range" in studio.storage.asked[1].headers


def test_a_file_that_changes_between_two_requests_is_not_mixed(studio: Studio) -> None:
    other = safetensors_bytes(len(MODEL) - len(SMALL))
    studio.storage.files["/free.safetensors"] = MODEL
    studio.storage.faults.drops = [300_000]
    studio.storage.faults.changes = {"/free.safetensors": other}
    record = studio.run(web_download(f"{studio.storage.origin}/free.safetensors", studio.folder))
    assert record.state == "finished", record.problem
    assert (studio.folder / "free.safetensors").read_bytes() == other


def test_a_file_that_is_not_the_announced_one_is_thrown_away(studio: Studio) -> None:
    download = studio.from_hub()
    other = bytearray(MODEL)
    other[-1] ^= 1
    studio.storage.files["/lfs/style.safetensors"] = bytes(other)
    record = studio.run(download)
    assert record.state == "failed" and "sha256" in record.problem and "thrown away" in record.problem
    assert not (studio.folder / "style.safetensors").exists()
    assert studio.storage.sent == len(MODEL)


def test_damage_in_the_part_that_was_there_costs_one_more_try(studio: Studio) -> None:
    download = studio.from_hub()
    studio.storage.faults.drops = [400_000, 0, 0, 0]
    record = studio.run(download)
    partial = studio.folder / f".download-{record.id}" / "0.partial"
    with partial.open("r+b") as file:
        file.seek(1000)
        file.write(b"rotten")
    studio.downloads.resume(record.id)
    assert studio.settle(record.id).state == "finished"
    assert (studio.folder / "style.safetensors").read_bytes() == MODEL


@pytest.mark.parametrize("lie", [10, len(MODEL) - 1, len(MODEL) + 1, 10**9])
def test_a_lie_about_the_size_is_seen_before_the_file_is_fetched(studio: Studio, lie: int) -> None:
    studio.hub.faults.sizes["style.safetensors"] = lie
    record = studio.run(studio.from_hub())
    assert record.state == "failed" and f"{lie:,} were announced" in record.problem
    assert record.received == 0 and studio.left() == [f".download-{record.id}", f".download-{record.id}/0.partial"]


def test_a_server_that_sends_more_than_announced_is_cut_off(studio: Studio) -> None:
    studio.storage.faults.chunked = True  # so that it need not say how much
    studio.hub.faults.sizes["style.safetensors"] = 100_000
    record = studio.run(studio.from_hub())
    assert record.state == "failed" and "more than the 100,000 bytes" in record.problem
    assert sum(path.stat().st_size for path in studio.folder.rglob("*") if path.is_file()) <= 100_000


def test_a_length_that_is_too_small_or_too_large_is_no_whole_file(studio: Studio) -> None:
    studio.storage.files["/a.safetensors"] = MODEL
    for length in (len(MODEL) // 2, len(MODEL) * 2):
        studio.storage.faults.length = length
        record = studio.run(web_download(f"{studio.storage.origin}/a.safetensors", studio.folder))
        assert record.state == "failed", record
        assert "cut short" in record.problem or f"{length:,} bytes and now {len(MODEL):,}" in record.problem
        assert sum(asked.sent for asked in studio.storage.asked) <= len(MODEL), "nothing is fetched again and again"
        studio.storage.asked.clear()
        studio.downloads.cancel(record.id)
    assert studio.left() == []


def test_without_a_length_or_a_tag_a_file_comes_in_one_piece_or_again_from_its_start(studio: Studio) -> None:
    studio.storage.files["/a.safetensors"] = MODEL
    studio.storage.faults.chunked, studio.storage.faults.etag = True, ""
    studio.storage.faults.drops = [300_000]
    record = studio.run(web_download(f"{studio.storage.origin}/a.safetensors", studio.folder))
    assert record.state == "finished", record.problem
    assert (studio.folder / "a.safetensors").read_bytes() == MODEL
    assert not any("Range" in asked.headers for asked in studio.storage.asked)


def test_a_weak_tag_is_no_promise(studio: Studio) -> None:
    studio.storage.files["/a.safetensors"] = MODEL
    studio.storage.faults.etag = 'W/"%s"'
    studio.storage.faults.drops = [300_000]
    assert studio.run(web_download(f"{studio.storage.origin}/a.safetensors", studio.folder)).state == "finished"
    assert not any("Range" in asked.headers for asked in studio.storage.asked)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_asks_for_patience_gets_it(studio: Studio, status: int) -> None:
    download = studio.from_hub()
    studio.hub.faults.refusals = [(status, {"Retry-After": "0"}), (status, {})]
    assert studio.run(download).state == "finished"
    studio.downloads.cancel(studio.downloads.all()[0].id)
    (studio.folder / "style.safetensors").unlink()
    studio.hub.faults.refusals = [(status, {"Retry-After": "7200"})]
    record = studio.run(download)
    assert record.state == "failed" and "wait 120 minutes" in record.problem


@pytest.mark.parametrize(
    ("status", "sentence"), [(401, "refuses this"), (403, "refuses this"), (404, "has nothing at"), (451, "status 451")]
)
def test_a_refusal_is_a_sentence_and_final(studio: Studio, status: int, sentence: str) -> None:
    download = studio.from_hub()
    asked = len(studio.hub.asked)
    studio.hub.faults.refusals = [(status, {})]
    record = studio.run(download)
    assert record.state == "failed" and sentence in record.problem
    assert len(studio.hub.asked) == asked + 1


def test_a_gated_file_wants_the_right_token_and_only_the_hub_sees_it(
    studio: Studio, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    gated = replace(PLACE, repository="artist/gated")
    host = studio.hub.origin
    studio.tokens.put(host, "hf_right")
    download = studio.from_hub(gated)
    studio.tokens.put(host, "hf_wrong")
    record = studio.run(download)
    assert record.state == "failed" and f"accept its terms at {host}/artist/gated" in record.problem
    studio.tokens.put(host, "hf_right")
    studio.downloads.resume(record.id)
    assert studio.settle(record.id).state == "finished"
    assert studio.hub.asked[-1].headers["Authorization"] == "Bearer hf_right"
    assert studio.storage.asked and not any("Authorization" in asked.headers for asked in studio.storage.asked)
    told = caplog.text + repr(studio.downloads.all()) + "".join(capfd.readouterr())
    assert "hf_" not in told
    for path in studio.database.parent.iterdir():
        if not path.name.startswith("tokens"):
            assert b"hf_" not in path.read_bytes() and b"Bearer" not in path.read_bytes()
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, f"{path.name} holds addresses"


@pytest.mark.parametrize(
    ("data", "headers", "sentence"),
    [
        (b"<!doctype html><p>log in", {"Content-Type": "text/html; charset=utf-8"}, "web page"),
        (b"<!doctype html><p>log in" + b" " * 9000, {}, "web page"),
        (b'{"error":"no"}', {"Content-Type": "application/json"}, "neither a safetensors"),
        (b"", {}, "empty"),
        (MODEL[:-5], {}, "cut short"),
        (b"PK\x03\x04" + b"\0" * 99, {}, "no model"),
        (MODEL, {"Content-Encoding": "gzip"}, "no plain file"),
    ],
)
def test_what_is_no_model_never_gets_a_name(
    studio: Studio, data: bytes, headers: dict[str, str], sentence: str
) -> None:
    studio.storage.files["/a.safetensors"] = data
    studio.storage.faults.headers = headers
    record = studio.run(web_download(f"{studio.storage.origin}/a.safetensors", studio.folder))
    assert record.state == "failed" and sentence in record.problem and record.problem.endswith(".")
    assert [path for path in studio.left() if not path.startswith(".")] == []
    studio.storage.files["/a.safetensors"], studio.storage.faults.headers = MODEL, {}
    studio.downloads.resume(record.id)
    assert studio.settle(record.id).state == "finished"
    assert (studio.folder / "a.safetensors").read_bytes() == MODEL


def test_room_is_looked_after_while_a_file_of_unknown_size_comes(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.storage.files["/a.safetensors"] = MODEL
    studio.storage.faults.chunked = True
    studio.restart(replace(QUICK, kept_free=10_000))
    usage = shutil.disk_usage(studio.folder)

    def filling(folder: Path) -> object:
        """The only disk that can be filled here without harm is one that is said to be full."""
        fetched = sum(path.stat().st_size for path in folder.glob("*.partial"))
        return usage._replace(free=9_999 if fetched > 200_000 else 10**9)

    monkeypatch.setattr(shutil, "disk_usage", filling)
    record = studio.run(web_download(f"{studio.storage.origin}/a.safetensors", studio.folder))
    assert record.state == "paused" and "9,999 are free" in record.problem
    assert 200_000 < record.received < len(MODEL)


def test_a_file_larger_than_any_model_is_refused(studio: Studio) -> None:
    studio.restart(replace(QUICK, largest=100_000))
    studio.storage.files["/a.safetensors"] = MODEL
    for chunked, sentence in ((False, "100,000 are allowed"), (True, "more than the 100,000")):
        studio.storage.faults.chunked = chunked
        record = studio.run(web_download(f"{studio.storage.origin}/a.safetensors", studio.folder))
        assert record.state == "failed" and sentence in record.problem
        studio.downloads.cancel(record.id)
    assert studio.left() == []


def test_bytes_that_nothing_vouches_for_are_not_resumed_after_a_crash(studio: Studio) -> None:
    """A power cut can leave zeros in what was not forced to the disk; without a checksum nobody would notice."""
    studio.storage.files["/a.safetensors"] = MODEL
    studio.storage.faults.drops = [600_000, 0, 0, 0]
    record = studio.run(web_download(f"{studio.storage.origin}/a.safetensors", studio.folder))
    studio.downloads.close()
    with sqlite3.connect(studio.database) as database:
        ((text,),) = database.execute("select record from downloads").fetchall()
        told = json.loads(text)
        told["parts"][0]["synced"] = 262_144  # as it stood before the last bytes came
        database.execute("update downloads set record = ?", (json.dumps(told),))
    partial = studio.folder / f".download-{record.id}" / "0.partial"
    with partial.open("r+b") as file:
        file.seek(300_000)
        file.write(b"\0" * 50_000)
    studio.downloads = Downloads(studio.database, studio.client(), [studio.folder.parent], limits=QUICK)
    studio.downloads.resume(record.id)
    assert studio.settle(record.id).state == "finished"
    assert studio.storage.asked[-1].headers["Range"] == "bytes=262144-"
    assert (studio.folder / "a.safetensors").read_bytes() == MODEL
