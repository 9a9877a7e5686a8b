"""Tag completion as a bundled extension: its lists, and its route as the page asks it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import App, Options
from backend.name_search import BEGINS, BEGINS_A_WORD
from backend.server import extension_routes
from backend.server.guard import Guard
from extensions.tag_completion.tags import Tag, TagLists, read_tags
from tests.model_studio import HERE
from tests.scripted import ScriptedWorker

TAGS = """tag,type,count,aliases
long_hair,0,4300000,"longhair,/lh"
long_sleeves,0,1800000,
saber_(fate),4,30000,"artoria"
very_long_hair,0,900000,
^_^,0,50000,
"""


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[App]:
    """With a list, and the extension as it is at first."""
    (tmp_path / "data" / "tags").mkdir(parents=True)
    (tmp_path / "data" / "tags" / "list.csv").write_text(TAGS, encoding="utf-8")
    app = App(Options(data_dir=tmp_path / "data", installation=tmp_path), worker=ScriptedWorker)
    yield app
    app.close()


@pytest.fixture
def client(studio: App) -> TestClient:
    web = FastAPI()
    extension_routes.attach(web, studio)
    return TestClient(Guard(web), base_url=HERE)


def found(client: TestClient, before: str) -> tuple[str, list[Any]]:
    answer = client.post("/ext/tag_completion/find", json={"before": before})
    assert answer.status_code == 200, answer.text
    return answer.json()["typed"], answer.json()["rows"]


def test_words_become_tags(client: TestClient) -> None:
    typed, rows = found(client, "a girl with long ha")
    assert typed == "long ha" and [row["text"] for row in rows] == ["long hair", "very long hair"]
    assert [row["rank"] for row in rows] == [BEGINS, BEGINS_A_WORD]
    assert rows[0]["note"] == "4.3M" and {row["what"] for row in rows} == {"tag"}
    _, rows = found(client, "artor")
    assert rows[0]["label"] == "saber_(fate)" and rows[0]["text"] == "saber \\(fate\\)"
    assert rows[0]["note"] == "artoria · 30k" and rows[0]["type"] == 4
    assert found(client, "s") == ("", [])
    assert found(client, "nothing is called zzz") == ("", [])
    assert client.post("/ext/tag_completion/find", json={"before": "a" * 201}).status_code == 422


def test_the_script_is_there_while_the_extension_is_on(studio: App, client: TestClient) -> None:
    script = client.get("/ext/tag_completion/js/tag_completion.js")
    assert script.status_code == 200 and "export function init(host)" in script.text
    assert client.get("/ext/tag_completion/js/../tags.py").status_code == 404
    studio.extensions.switch("tag_completion", False)
    assert client.get("/ext/tag_completion/js/tag_completion.js").status_code in (403, 404)
    assert client.post("/ext/tag_completion/find", json={"before": "long"}).status_code in (403, 404)


def test_tag_lists_are_read_as_they_are_and_again_when_they_change(tmp_path: Path) -> None:
    lists = TagLists([tmp_path / "tags"])
    assert lists.find("long", most=5) == []
    folder = tmp_path / "tags"
    folder.mkdir()
    (folder / "a.csv").write_bytes(
        b'\xef\xbb\xbflong_hair,0,10,"lh,l_h"\n\nonly\nbad\xff,x,-3\n' + b"x" * 201 + b",0,9\n"
    )
    assert list(read_tags(folder / "a.csv")) == [
        Tag(name="long_hair", count=10, aliases=("lh", "l_h")),
        Tag(name="only"),
        Tag(name="bad\ufffd"),
    ]
    assert [tag.name for tag, _, _ in lists.find("long", most=5)] == ["long_hair"]
    (folder / "b.csv").write_text("long_hair,5,99,\nlonger,0,11,\n")
    assert [(tag.name, tag.count) for tag, _, _ in lists.find("long", most=5)] == [("longer", 11), ("long_hair", 10)]
    (folder / "c.csv").write_bytes(b'ok,0,1\n"' + b"y" * 200_000)
    assert [tag.name for tag, _, _ in lists.find("ok", most=5)] == ["ok"]


def test_of_a_hundred_thousand_tags_the_most_used_come_first_and_the_list_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    path.write_text("".join(f"tag_{k:06},0,{k},also_{k:06}\n" for k in range(100_000)))
    changed = path.stat().st_mtime_ns
    lists = TagLists([tmp_path])
    assert [tag.count for tag, _, _ in lists.find("tag", most=24)] == list(range(99_999, 99_975, -1))
    assert [tag.name for tag, _, _ in lists.find("tag 0123", most=500)] == [
        f"tag_{k:06}" for k in range(12399, 12299, -1)
    ]
    assert [(tag.name, name) for tag, name, _ in lists.find("lso_054321", most=24)] == [("tag_054321", "also_054321")]
    path.write_bytes(b" " * path.stat().st_size)
    os.utime(path, ns=(changed, changed))
    assert len(lists.find("tag", most=24)) == 24  # as it was read, for it does not say that it has changed


def test_faces_keep_their_underscores() -> None:
    assert [Tag(name=name).text for name in ("^_^", "o_o", "a_[b]")] == ["^_^", "o_o", "a \\[b\\]"]
