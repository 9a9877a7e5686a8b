"""The list of downloads: from a hub on this machine into real folders, through pauses, kills and full disks."""

import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.errors import UserError
from backend.model_manager.downloads.download import AT_ONCE, Downloads, web_download
from backend.model_manager.downloads.download_record import CUT_OFF, Download
from backend.model_manager.downloads.transfer import RemoteFile
from tests.download_studio import MODEL, PLACE, QUICK, SMALL, TEXTS, Studio, studio_at

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with studio_at(tmp_path) as studio:
        yield studio


def test_a_file_from_the_hub_comes_whole(studio: Studio) -> None:
    seen: list[tuple[str, int]] = []
    told_of_the_end = threading.Event()

    in_order = threading.Lock()

    def look() -> None:
        with in_order:
            seen.extend((record.state, record.received) for record in studio.downloads.all())
        if seen and seen[-1][0] == "finished":
            told_of_the_end.set()

    studio.downloads.subscribe(look)
    record = studio.run(studio.from_hub())
    assert told_of_the_end.wait(60)
    assert (record.state, record.problem, record.note) == ("finished", "", "")
    assert record.path == studio.folder / "style.safetensors"
    assert (studio.folder / "style.safetensors").read_bytes() == MODEL
    assert studio.left() == ["style.safetensors"]
    assert (record.received, record.size) == (len(MODEL), len(MODEL))
    assert record.parts[0].sha256 == hashlib.sha256(MODEL).hexdigest()
    assert studio.sent() == len(MODEL), "the hub's redirect has no body, and nothing came twice"
    states = [state for state, _ in seen]
    assert states.index("running") < states.index("checking") < states.index("finished")
    assert [received for _, received in seen] == sorted(received for _, received in seen)


def test_a_listed_folder_comes_as_one_with_known_names_only(studio: Studio) -> None:
    record = studio.run(studio.whole_folder())
    assert (record.state, record.problem) == ("finished", "")
    assert record.path is not None and record.path == studio.folder / "folder"
    files = {path.relative_to(record.path).as_posix(): path.read_bytes() for path in record.path.rglob("*.*")}
    assert files == {**TEXTS, "unet/diffusion_pytorch_model.safetensors": MODEL, "vae/x.safetensors": SMALL}
    assert not any("run.py" in asked.path for asked in studio.hub.asked)
    assert all(f"/resolve/{'0123456789abcdef' * 2}01234567/" in a.path for a in studio.hub.asked if "resolve" in a.path)
    assert [path for path in studio.left() if path.startswith(".")] == []


def test_a_small_file_is_held_against_its_git_hash(studio: Studio) -> None:
    studio.hub.faults.digests["unet/config.json"] = "0" * 40
    record = studio.run(studio.whole_folder())
    assert record.state == "failed" and "git hash differs" in record.problem
    assert not (studio.folder / "folder").exists()


def test_a_folder_with_one_wrong_file_never_gets_its_name(studio: Studio) -> None:
    studio.hub.repositories["artist/folder"].files["unet/config.json"] = b"[1]"
    record = studio.run(studio.whole_folder())
    assert record.state == "failed" and "unet/config.json is damaged" in record.problem
    assert studio.left() == []
    studio.hub.repositories["artist/folder"].files |= TEXTS
    studio.downloads.cancel(record.id)
    assert studio.run(studio.whole_folder()).state == "finished"


def test_a_pickle_is_kept_with_a_note(studio: Studio) -> None:
    record = studio.run(studio.from_hub(replace(PLACE, path="style.ckpt")))
    assert record.state == "finished" and record.path == studio.folder / "style.ckpt"
    assert "convert it to safetensors" in record.note
    studio.storage.files["/lies.safetensors"] = b"\x80\x02}."
    record = studio.run(web_download(f"{studio.storage.origin}/lies.safetensors", studio.folder))
    assert record.path == studio.folder / "lies.ckpt"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ('attachment; filename="style v2.safetensors"', "style v2.safetensors"),
        ("attachment; filename*=UTF-8''%E6%A8%A1%E5%9E%8B.safetensors", "模型.safetensors"),
        ('attachment; filename="../../../evil.safetensors"', "evil.safetensors"),
        ('attachment; filename="..\\\\..\\\\evil.safetensors"', "evil.safetensors"),
        ('attachment; filename="/etc/cron.d/evil"', "evil.safetensors"),
        ('attachment; filename=".."', "12.safetensors"),
        ('attachment; filename=".bashrc"', "bashrc.safetensors"),
        ("attachment; filename*=utf-8''%2e%2e%2fx%00y.pt", "xy.safetensors"),
        ("attachment", "12.safetensors"),
        ("", "12.safetensors"),
    ],
)
def test_the_server_chooses_a_name_and_no_path(studio: Studio, said: str, name: str) -> None:
    """As Civitai gives its files: an address with a number, a redirect, and the name in a header."""
    studio.storage.files["/api/download/models/12"] = SMALL
    studio.storage.faults.headers = {"Content-Disposition": said} if said else {}
    record = studio.run(web_download(f"{studio.storage.origin}/api/download/models/12?type=Model", studio.folder))
    assert record.state == "finished", record.problem
    assert record.path == studio.folder / name
    assert studio.left() == [name]
    assert [path.name for path in studio.folder.parent.iterdir()] == ["loras"]


def test_nothing_is_replaced(studio: Studio) -> None:
    mine = studio.folder / "style.safetensors"
    download = studio.from_hub()
    mine.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"style\.safetensors is in loras already"):
        studio.downloads.start(download)
    record = studio.run(replace(download, name="other.safetensors"))
    assert record.path == studio.folder / "other.safetensors"
    mine.unlink()
    studio.storage.faults.pause = 0.01
    id = studio.downloads.start(replace(download, name="")).id
    (studio.folder / "style.safetensors").write_bytes(b"mine too")
    record = studio.settle(id)
    assert record.path == studio.folder / "style-2.safetensors"
    assert (studio.folder / "style-2.safetensors").read_bytes() == MODEL
    assert mine.read_bytes() == b"mine too"


@pytest.mark.parametrize(
    "change",
    [
        {"files": ()},
        {"files": (RemoteFile(address="https://a.test/x"),) * 2},
        {"files": (RemoteFile(address="ftp://a.test/x"),)},
        {"files": (RemoteFile(address="https://me:secret@a.test/x"),)},
        {"files": (RemoteFile(address="https://civitai.com/api/download/models/1?token=CANARY"),)},
        {"files": (RemoteFile(address="https://a.test/x?a=b&api_key=CANARY"),)},
        {"files": (RemoteFile(address="https://a.test/x", path="../x"),), "whole_folder": True, "name": "a"},
        {"files": (RemoteFile(address="https://a.test/x", path="/x"),), "whole_folder": True, "name": "a"},
        {"files": (RemoteFile(address="https://a.test/x", path="x"),), "whole_folder": True},
        {"folder": Path("/etc")},
        {"folder": Path("models/../../elsewhere")},
        {"name": ".."},
        {"name": "\u202e"},
    ],
)
def test_what_cannot_be_is_refused_at_the_door(studio: Studio, change: dict[str, Any]) -> None:
    download = Download(folder=studio.folder, files=(RemoteFile(address=f"{studio.hub.origin}/x"),))
    with pytest.raises(UserError, match=r"\.$") as refused:
        studio.downloads.start(replace(download, **change))
    assert "CANARY" not in str(refused.value)
    assert studio.downloads.all() == [] and studio.hub.asked == []


@pytest.mark.parametrize("digest", ["abc", "g" * 64, "0" * 63])
def test_a_checksum_that_is_none_is_refused(studio: Studio, digest: str) -> None:
    with pytest.raises(UserError, match="is no sha256"):
        web_download("https://a.test/x", studio.folder, sha256=digest)


def test_a_checksum_that_a_person_gives_is_held_against_the_file(studio: Studio) -> None:
    studio.storage.files["/a.safetensors"] = MODEL
    address = f"{studio.storage.origin}/a.safetensors"
    digest = hashlib.sha256(MODEL).hexdigest()
    assert studio.run(web_download(address, studio.folder, sha256=f"SHA256:{digest.upper()}")).state == "finished"
    record = studio.run(web_download(address, studio.folder, name="b.safetensors", sha256="0" * 64))
    assert record.state == "failed" and digest in record.problem
    assert not (studio.folder / "b.safetensors").exists()


def test_a_link_out_of_the_model_folders_is_not_followed(studio: Studio, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (studio.folder / "link").symlink_to(outside)
    download = studio.from_hub()
    with pytest.raises(UserError, match="leads out of them"):
        studio.downloads.start(replace(download, folder=studio.folder / "link"))
    # The folder is exchanged for such a link while the download runs.
    studio.storage.faults.pause = 0.01
    inner = studio.folder / "inner"
    inner.mkdir()
    id = studio.downloads.start(replace(download, folder=inner)).id
    studio.until(lambda: studio.now(id).received > 0)
    inner.rename(outside / "inner")
    inner.symlink_to(outside / "inner")
    record = studio.settle(id)
    assert record.state == "failed" and "leads out of them" in record.problem
    assert list(outside.rglob("*.safetensors")) == []


def test_two_at_once_and_the_rest_in_line(studio: Studio) -> None:
    studio.storage.faults.pause = 0.005
    studio.storage.files |= {f"/{i}.safetensors": MODEL for i in range(5)}
    most = 0

    def count() -> None:
        nonlocal most
        most = max(most, sum(r.state in ("running", "checking") for r in studio.downloads.all()))

    studio.downloads.subscribe(count)
    names = [f"{i}.safetensors" for i in range(5)]
    ids = [studio.downloads.start(web_download(f"{studio.storage.origin}/{n}", studio.folder)).id for n in names]
    with pytest.raises(UserError, match="already"):
        studio.downloads.start(web_download(f"{studio.storage.origin}/4.safetensors", studio.folder))
    assert studio.now(ids[4]).state == "queued"
    studio.downloads.pause(ids[3])
    assert studio.now(ids[3]).state == "paused", "one that waits is paused at once"
    for id in (*ids[:3], ids[4]):
        assert studio.settle(id).state == "finished"
    assert most == AT_ONCE
    assert studio.left() == [names[0], names[1], names[2], names[4]]
    studio.downloads.resume(ids[3])
    assert studio.settle(ids[3]).state == "finished"


def test_pause_keeps_and_resume_goes_on(studio: Studio) -> None:
    studio.storage.faults.pause = 0.01
    id = studio.downloads.start(studio.from_hub()).id
    studio.until(lambda: studio.now(id).received > 100_000)
    studio.downloads.pause(id)
    paused = studio.settle(id)
    assert (paused.state, paused.problem) == ("paused", "")
    assert 100_000 < paused.received < len(MODEL)
    assert (studio.folder / f".download-{id}" / "0.partial").stat().st_size == paused.received
    studio.restart()
    assert studio.now(id).state == "paused" and studio.now(id).received == paused.received
    studio.storage.faults.pause = 0
    studio.downloads.resume(id)
    assert studio.settle(id).state == "finished"
    assert studio.storage.asked[-1].sent == len(MODEL) - paused.received
    assert (studio.folder / "style.safetensors").read_bytes() == MODEL


def test_cancel_leaves_nothing_and_forgets(studio: Studio) -> None:
    studio.storage.faults.pause = 0.01
    download = studio.from_hub()
    id = studio.downloads.start(download).id
    studio.until(lambda: studio.now(id).received > 0)
    studio.downloads.cancel(id)
    studio.until(lambda: studio.downloads.all() == [])
    assert studio.left() == []
    studio.restart()
    assert studio.downloads.all() == []
    studio.storage.faults.pause = 0
    record = studio.run(download)
    studio.downloads.cancel(record.id)
    assert studio.downloads.all() == [] and studio.left() == ["style.safetensors"], "what is finished stays"
    for action in (studio.downloads.pause, studio.downloads.resume, studio.downloads.cancel):
        with pytest.raises(UserError, match="no longer in the list"):
            action(id)


CHILD = """
import resource, sys, threading
from pathlib import Path
from backend.model_manager.downloads.download import Downloads
from backend.model_manager.downloads.hub import Hub, HubPlace
from backend.model_manager.downloads.transfer import Limits
from backend.web_client import WebClient

hub, storage, folder, database, largest = sys.argv[1:6]
if int(largest):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
client = WebClient(trusted={hub, storage})
limits = Limits(pause=0.01, attempts=3, kept_free=0, sync_every=256 * 1024)
downloads = Downloads(Path(database), client, [Path(folder).parent], limits=limits)
ended = threading.Event()
download = Hub(client, hub).download_file(HubPlace(repository="artist/style", path="style.safetensors"), Path(folder))
id = downloads.start(download).id

def look():
    if downloads.all()[0].state in ("finished", "failed", "paused"):
        ended.set()

downloads.subscribe(look)
look()
ended.wait(60)
print(downloads.all()[0].state, downloads.all()[0].problem, sep="|")
"""


def child(studio: Studio, largest: int = 0) -> "subprocess.Popen[str]":
    """The same download in another process, whose files may have at most `largest` bytes."""
    arguments = [studio.hub.origin, studio.storage.origin, str(studio.folder), str(studio.database), str(largest)]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_bytes(studio: Studio, process: "subprocess.Popen[str]", least: int) -> None:
    partials = studio.folder.glob(".download-*/0.partial")
    pause = threading.Event()
    while process.poll() is None:
        if any(path.stat().st_size >= least for path in partials):
            return
        partials = studio.folder.glob(".download-*/0.partial")
        pause.wait(0.01)
    pytest.fail(f"the process ended: {process.communicate()}")


def test_kill_in_the_midst_and_resume_gives_the_same_bits_with_fewer_bytes(studio: Studio) -> None:
    studio.downloads.close()
    studio.storage.faults.pause = 0.02
    process = child(studio)
    wait_for_bytes(studio, process, 400_000)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    studio.storage.faults.pause = 0
    assert [path for path in studio.left() if not path.startswith(".")] == []
    studio.downloads = Downloads(studio.database, studio.client(), [studio.folder.parent], limits=QUICK)
    (record,) = studio.downloads.all()
    assert (record.state, record.problem) == ("paused", CUT_OFF)
    assert 400_000 <= record.received < len(MODEL)
    assert len(studio.storage.asked) == 1, "nothing leaves the machine unasked"
    studio.downloads.resume(record.id)
    assert studio.settle(record.id).state == "finished"
    assert (studio.folder / "style.safetensors").read_bytes() == MODEL
    assert [asked.sent for asked in studio.storage.asked[1:]] == [len(MODEL) - record.received]
    assert studio.left() == ["style.safetensors"]


def test_a_full_disk_keeps_what_was_fetched(studio: Studio) -> None:
    studio.downloads.close()
    process = child(studio, largest=500_000)
    output, errors = process.communicate(timeout=120)
    state, _, problem = output.strip().partition("|")
    assert state == "paused" and "disk is full" in problem and problem.endswith("."), output + errors
    studio.downloads = Downloads(studio.database, studio.client(), [studio.folder.parent], limits=QUICK)
    (record,) = studio.downloads.all()
    assert record.received == 500_000
    studio.downloads.resume(record.id)
    assert studio.settle(record.id).state == "finished"
    assert [asked.sent for asked in studio.storage.asked[1:]] == [len(MODEL) - 500_000]
    assert (studio.folder / "style.safetensors").read_bytes() == MODEL


def test_what_does_not_fit_is_not_begun(studio: Studio) -> None:
    download = studio.from_hub()
    free = shutil.disk_usage(studio.folder).free
    studio.restart(replace(QUICK, kept_free=2 * free))
    with pytest.raises(UserError, match="There is no room for"):
        studio.downloads.start(download)
    assert studio.storage.asked == [] and studio.downloads.all() == [] and studio.left() == []


def test_a_row_of_another_version_is_left_alone(studio: Studio) -> None:
    record = studio.run(studio.from_hub())
    studio.downloads.close()
    with sqlite3.connect(studio.database) as database:
        database.execute("insert into downloads values ('x', 1.0, '{\"future\": 1}')")
    studio.downloads = Downloads(studio.database, studio.client(), [studio.folder.parent], limits=QUICK)
    assert [known.id for known in studio.downloads.all()] == [record.id]
    assert studio.downloads.all()[0].path == studio.folder / "style.safetensors"
    with sqlite3.connect(studio.database) as database:
        assert database.execute("select count(*) from downloads").fetchone() == (2,)


def test_a_fault_of_ours_ends_one_download_and_not_the_others(studio: Studio) -> None:
    broken = replace(QUICK, sync_every="often")  # pyright: ignore[reportArgumentType]
    studio.restart(broken)
    record = studio.run(studio.from_hub())
    assert record.state == "failed" and "A fault of Atelier's: TypeError" in record.problem
    studio.restart(QUICK)
    studio.downloads.resume(record.id)
    assert studio.settle(record.id).state == "finished"
