"""What the page asks while a prompt is typed, behind the real guard."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from safetensors.numpy import save_file

from backend.app import App, Options
from backend.families.clip_tokenizer import clip_tokenizer
from backend.name_search import BEGINS, BEGINS_A_WORD, CONTAINS, EXACT, NameSearch
from backend.prompt.embeddings import read_inversion
from backend.request import GenerationRequest
from backend.server import prompts
from backend.server.guard import Guard
from backend.server.owner import OWNER_COOKIE
from bench.catalog import SD1_BLOCKS, lora
from tests.model_studio import HERE, ME, OTHER
from tests.scripted import ScriptedWorker


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Options:
    root = tmp_path_factory.mktemp("prompts")
    for folder in ("loras", "embeddings", "data/wildcards/garden"):
        (root / folder).mkdir(parents=True)
    for name, width in (("ink", 64), ("wide", 768)):
        shapes = lora(SD1_BLOCKS, context=width, rank=1, text_layers=())
        tensors = {key: np.zeros(shape, np.float16) for key, shape in shapes.items()}
        save_file(tensors, root / "loras" / f"{name}.safetensors")
    (root / "loras" / "ink.json").write_text('{"activation text": "ink wash", "preferred weight": 0.8}')
    for name, shape in (("soft light", (3, 64)), ("grand", (2, 768))):
        save_file({"emb_params": np.zeros(shape, np.float32)}, root / "embeddings" / f"{name}.safetensors")
    (root / "embeddings" / "torn.safetensors").write_bytes(b"nothing")
    (root / "data" / "wildcards" / "garden" / "flower.txt").write_text("rose\ntulip\n")
    (root / "data" / "styles.csv").write_text('name,prompt,negative_prompt\nQuiet Matte,"{prompt}, matte",gloss\n')
    return Options(
        data_dir=root / "data",
        installation=root,
        checkpoint_dirs=(written_checkpoint.parent,),
        lora_dirs=(root / "loras",),
        embedding_dirs=(root / "embeddings",),
    )


@pytest.fixture(scope="module")
def studio(options: Options) -> Iterator[App]:
    app = App(options, worker=ScriptedWorker)
    app.start()
    app.catalog.wait()
    yield app
    app.close()


@pytest.fixture(scope="module")
def client(studio: App) -> TestClient:
    web = FastAPI()
    web.include_router(prompts.router(studio))
    return TestClient(Guard(web), base_url=HERE, cookies={OWNER_COOKIE: ME})


def looked_over(client: TestClient, prompt: str = "", negative: str = "") -> Any:
    order = {"prompt": prompt, "negative": negative, "checkpoint": "tiny"}
    answer = client.post("/atelier/prompt", json=order)
    assert answer.status_code == 200, answer.text
    return answer.json()


def suggested(client: TestClient, before: str, sign: str = "", *, negative: bool = False) -> tuple[str, list[Any]]:
    order = {"sign": sign, "before": before, "negative": negative, "checkpoint": "tiny"}
    answer = client.post("/atelier/prompt/suggestions", json=order)
    assert answer.status_code == 200, answer.text
    return answer.json()["typed"], answer.json()["rows"]


def test_tokens_are_counted_by_prompt(client: TestClient) -> None:
    found = looked_over(client, "a red house, morning", "blurry")
    assert [found[name]["tokens"] for name in ("prompt", "negative")] == [5, 1]
    assert [found[name]["limit"] for name in ("prompt", "negative")] == [75, 75]
    assert not found["prompt"]["problems"] and not found["negative"]["problems"]
    long = looked_over(client, ", ".join(["a house"] * 30))["prompt"]
    assert long["tokens"] > 75 and long["limit"] == 150


def test_what_is_put_on_by_styles_is_counted_and_how_words_are_read(client: TestClient) -> None:
    def tokens(**options: object) -> list[int]:
        order = {"prompt": "a (red) house", "negative": "blurry", "checkpoint": "tiny", **options}
        answer = client.post("/atelier/prompt", json=order).json()
        return [answer[name]["tokens"] for name in ("prompt", "negative")]

    assert tokens() == [3, 1]
    assert tokens(styles=["Quiet Matte"]) == [5, 3]
    assert tokens(styles=["gone"]) == [3, 1]
    assert tokens(emphasis="None") == [5, 1]
    commas = ", ".join(["a red house"] * 40)
    assert tokens(prompt=commas, comma_backtrack=0)[0] < tokens(prompt=commas, comma_backtrack=20)[0]


def test_an_embedding_counts_as_many_tokens_as_it_has_vectors(client: TestClient, options: Options) -> None:
    plain = len(clip_tokenizer()("soft light", add_special_tokens=False).input_ids)
    vectors = len(read_inversion(options.embedding_dirs[0] / "soft light.safetensors"))
    assert vectors != plain
    assert looked_over(client, "a house, soft light")["prompt"]["tokens"] == 3 + vectors
    assert looked_over(client, "a house, soft lights")["prompt"]["tokens"] != 3 + vectors


@pytest.mark.parametrize(
    ("prompt", "at", "word"),
    [
        ("a (red house", "(", "closed"),
        ("😀 a red house)", ")", "closes nothing"),
        ("😀 <lora:inc:1>", "<lora:inc:1>", "inc"),
        ("é <lora:wide:1>", "<lora:wide:1>", "family"),
        ("a grand house", "grand", "family"),
        ("a torn house", "torn", "cannot be used"),
        ("a house, embedding:soft", "embedding:soft", "write soft"),
        ("😀 a __garden/tree__", "__garden/tree__", "garden/tree"),
    ],
)
def test_a_fault_is_told_with_its_place_as_javascript_counts(
    client: TestClient, prompt: str, at: str, word: str
) -> None:
    problems = looked_over(client, prompt)["prompt"]["problems"]
    assert len(problems) == 1, problems
    units = prompt.encode("utf-16-le")
    assert units[2 * problems[0]["start"] : 2 * problems[0]["end"]].decode("utf-16-le") == at
    assert word in problems[0]["message"]


@pytest.mark.parametrize(
    "prompt",
    [
        "a {red|blue} [cat:dog:0.5]",
        "[{0.5::a|b}:c:0.5], ({2$$, $$a|{b|c}}:1.2)",
        "<lora:{ink|wide}:{0.5|1}>, (a:{1.1|1.3})",
        "[a:b:__garden/flower__] {(a:1.2)|[b:c:3]}",
    ],
)
def test_what_is_drawn_is_no_fault(client: TestClient, prompt: str) -> None:
    assert looked_over(client, prompt)["prompt"]["problems"] == []


def test_options_have_faults_too(client: TestClient) -> None:
    problems = looked_over(client, "{a (red|<lora:inc>} [b:c:much]")["prompt"]["problems"]
    assert [problem["start"] for problem in problems] == [3, 8, 20]


def test_a_negative_prompt_has_faults_of_its_own(client: TestClient) -> None:
    problems = looked_over(client, "", "a boat AND <lora:ink:1>, grand")["negative"]["problems"]
    assert [problem["start"] for problem in problems] == [7, 11, 25]


def test_loras_are_suggested_after_their_sign_with_trigger_words(client: TestClient) -> None:
    typed, rows = suggested(client, "", "<")
    assert typed == "" and [row["label"] for row in rows] == ["ink", "wide"]
    typed, rows = suggested(client, "lora:in", "<")
    assert typed == "lora:in" and (rows[0]["text"], rows[0]["words"]) == ("<lora:ink:0.8>", "ink wash")
    assert [row["fits"] for row in suggested(client, "", "<")[1]] == [True, False]
    assert suggested(client, "in", "<", negative=True)[1] == []


def test_words_become_embeddings_and_loras(client: TestClient) -> None:
    typed, rows = suggested(client, "a painting of soft li")
    assert typed == "soft li" and [(row["what"], row["text"]) for row in rows] == [("embedding", "soft light")]
    assert rows[0]["rank"] == BEGINS
    assert [row["what"] for row in suggested(client, "ink")[1]] == ["lora"]
    assert suggested(client, "ink", negative=True)[1] == []
    assert suggested(client, "s") == ("", [])
    assert suggested(client, "nothing is called zzz") == ("", [])


def test_styles_are_suggested_by_their_names_for_both_prompts(client: TestClient) -> None:
    for negative in (False, True):
        typed, rows = suggested(client, "a boat, quiet ma", negative=negative)
        assert typed == "quiet ma"
        assert [(row["what"], row["label"], row["note"]) for row in rows] == [
            ("style", "Quiet Matte", "{prompt}, matte")
        ]


def test_wildcards_are_suggested_after_two_underscores(client: TestClient) -> None:
    for before in ("", "gard", "flow", "garden/fl"):
        assert [row["text"] for row in suggested(client, before, "__")[1]] == ["__garden/flower__"]
    assert suggested(client, "tree", "__")[1] == []


def test_earlier_prompts_are_the_owners_and_come_once(studio: App, client: TestClient) -> None:
    def make(prompt: str, negative: str = "", owner: str = ME) -> None:
        request = GenerationRequest(prompt=prompt, negative_prompt=negative, steps=1, width=64, height=64)
        job = studio.queue.submit(request, owner)
        for _ in job.follow():
            pass
        time.sleep(0.002)  # the clock of some systems has no finer ticks

    make("a red house", "blurry")
    make("a blue boat")
    make("a red house", "blurry")
    make("a secret", owner=OTHER)
    make("")
    rows = client.get("/atelier/prompt/history").json()["prompts"]
    assert [(row["prompt"], row["negative"], row["count"]) for row in rows] == [
        ("a red house", "blurry", 2),
        ("a blue boat", "", 1),
    ]
    assert rows[0]["made"] >= rows[1]["made"] and rows[0]["picture"].startswith("atelier/pictures/")
    found = client.get("/atelier/prompt/history", params={"words": "BLUR red"}).json()["prompts"]
    assert [row["prompt"] for row in found] == ["a red house"]
    assert client.get("/atelier/prompt/history", params={"words": "secret"}).json()["prompts"] == []


def test_a_prompt_comes_back_as_it_was_written_not_as_it_was_drawn(studio: App, client: TestClient) -> None:
    request = GenerationRequest(prompt="a __garden/flower__ in {snow|rain}", steps=1, width=64, height=64)
    for _ in studio.queue.submit(request, OTHER).follow():
        pass
    client = TestClient(client.app, base_url=HERE, cookies={OWNER_COOKIE: OTHER})
    rows = client.get("/atelier/prompt/history", params={"words": "flower"}).json()["prompts"]
    assert [row["prompt"] for row in rows] == [request.prompt]


def test_a_prompt_comes_back_without_the_styles_that_are_still_chosen(studio: App, client: TestClient) -> None:
    prompt, negative = studio.styles.applied(["Quiet Matte"], "a lake", "fog")
    request = GenerationRequest(prompt=prompt, negative_prompt=negative, steps=1, width=64, height=64)
    for _ in studio.queue.submit(request, OTHER).follow():
        pass
    client = TestClient(client.app, base_url=HERE, cookies={OWNER_COOKIE: OTHER})

    def put_back(**params: Any) -> tuple[str, str]:
        (row,) = client.get("/atelier/prompt/history", params={"words": "lake", **params}).json()["prompts"]
        return row["prompt"], row["negative"]

    assert put_back() == ("a lake, matte", "fog, gloss")
    assert put_back(styles=["gone"]) == ("a lake, matte", "fog, gloss")
    assert put_back(styles=["gone", "Quiet Matte"]) == ("a lake", "fog")


def test_strangers_and_what_is_too_long_are_refused(client: TestClient) -> None:
    assert client.post("/atelier/prompt", json={}, headers={"origin": "http://evil.example"}).status_code == 403
    for path, order in (
        ("", {"prompt": "a" * 65_537}),
        ("", {"prompt": 3}),
        ("", {"text": "a"}),
        ("/suggestions", {"sign": "<<", "before": ""}),
        ("/suggestions", {"sign": "<", "before": "a" * 201}),
    ):
        answer = client.post(f"/atelier/prompt{path}", json=order)
        assert answer.status_code == 400 and answer.json().keys() == {"problem"}


def test_names_are_found_in_the_order_of_how_they_fit() -> None:
    search = NameSearch(
        [
            ("Old_Cat", 0),
            ("cats", 1),
            ("concatenate", 2),
            ("Cat", 3),
            ("catalogue", 1),
            ("", 4),
            (" \n", 5),
            ("a\nb  c__d/e", 6),
        ]
    )
    found = [(hit.what, hit.name, hit.rank) for hit in search.find("cAT", most=9)]
    assert found == [
        (3, "Cat", EXACT),
        (1, "cats", BEGINS),
        (0, "Old_Cat", BEGINS_A_WORD),
        (2, "concatenate", CONTAINS),
    ]
    assert [hit.what for hit in search.find("cat", most=2)] == [3, 1]
    assert [hit.what for hit in search.find("old cat", most=9)] == [0]
    assert [hit.what for hit in search.find("b c D e", most=9)] == [6]
    assert search.find(" ", most=9) == [] and search.find("dog", most=9) == []
    assert [hit.what for hit in search.find("ca", most=9)] == [1, 3, 0]


def test_a_name_is_found_wherever_it_stands_among_many() -> None:
    names = [f"{word}_{k}" for k in range(300) for word in ("sun", "moon", "star")]
    search = NameSearch((name, k) for k, name in enumerate(names))
    for k, name in enumerate(names):
        assert search.find(name, most=3)[0].what == k
    assert [hit.what for hit in search.find("moon", most=4)] == [1, 4, 7, 10]
