import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend.model_manager.downloads.hub import (
    HUB,
    Choice,
    Hub,
    HubFile,
    HubPlace,
    Listing,
    file_name,
    hub_endpoint,
    parse_place,
    vouched_origins,
)
from backend.model_manager.downloads.intake import is_plain_path
from backend.model_manager.downloads.suggestions import SUGGESTIONS
from backend.model_manager.identity import Kind
from backend.web_address import WebError
from backend.web_client import WebClient
from tests.hub_server import COMMIT, HubServer, Repository, Server, git_blob, safetensors_bytes

LARGE = safetensors_bytes(5000)
SMALL = json.dumps({"_class_name": "UNet2DConditionModel"}).encode()


@pytest.fixture
def server() -> Iterator[HubServer]:
    repositories = {
        "artist/style": Repository({"README.md": b"#", "style.safetensors": LARGE, "style.ckpt": b"\x80\x02" * 3000}),
        "artist/gated": Repository({"a.safetensors": LARGE}, gated=True),
        "artist/private": Repository({"a.safetensors": LARGE, "unet/config.json": SMALL}, private=True),
    }
    with Server(host="localhost") as storage, HubServer(repositories, storage) as server:
        assert isinstance(server, HubServer)
        yield server


def hub(server: HubServer, token: str = "") -> Hub:
    return Hub(
        WebClient(trusted={server.origin}, token=lambda origin: token if origin == server.origin else ""), server.origin
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("owner/name", HubPlace(repository="owner/name")),
        (" stabilityai/sdxl-vae ", HubPlace(repository="stabilityai/sdxl-vae")),
        (f"{HUB}/owner/name", HubPlace(repository="owner/name")),
        ("huggingface.co/owner/name/", HubPlace(repository="owner/name")),
        ("https://hf.co/owner/name", HubPlace(repository="owner/name")),
        (f"{HUB}/owner/name?not-for-all-audiences=true", HubPlace(repository="owner/name")),
        (f"{HUB}/owner/name/tree/fp16/unet", HubPlace(repository="owner/name", revision="fp16")),
        (f"{HUB}/o/n/blob/main/a%20b/c.safetensors", HubPlace(repository="o/n", path="a b/c.safetensors")),
        (f"{HUB}/o/n/resolve/main/c.pt?download=true", HubPlace(repository="o/n", path="c.pt")),
        (f"{HUB}/o/n/resolve/{COMMIT}/c.pt", HubPlace(repository="o/n", revision=COMMIT, path="c.pt")),
        (f"{HUB}/o/n/blob/refs%2Fpr%2F3/c.pt", HubPlace(repository="o/n", revision="refs/pr/3", path="c.pt")),
        (f"{HUB}/o/n/blob/refs/pr/3/c.pt", HubPlace(repository="o/n", revision="refs/pr/3", path="c.pt")),
        ("https://civitai.com/api/download/models/1", None),
        ("https://huggingface.co.evil.test/o/n", None),
        ("https://mirror.test/o/n", None),
    ],
)
def test_a_pasted_text_names_a_place(text: str, place: HubPlace | None) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize(
    "text",
    [
        *("", "name", "owner/name/extra", "../..", "owner/..", f"{HUB}/datasets/o/n", f"{HUB}/spaces/o/n", f"{HUB}/o"),
        *(f"{HUB}/o/n/blob/main/..%2f..%2fetc%2fpasswd", f"{HUB}/o/n/resolve/main/a%5cb", f"{HUB}/o/n/blob/main"),
        *("https://user:word@huggingface.co/o/n", "https://huggingface.co\\@evil.test/o/n", f"{HUB}/o%2f..%2fn/x"),
    ],
)
def test_what_names_no_model_is_refused(text: str) -> None:
    with pytest.raises(WebError, match=r"\.$"):
        parse_place(text)


def test_a_mirror_stands_for_the_hub() -> None:
    assert hub_endpoint({}) == HUB
    assert hub_endpoint({"HF_ENDPOINT": "https://mirror.test/"}) == "https://mirror.test"
    with pytest.raises(WebError):
        hub_endpoint({"HF_ENDPOINT": "mirror"})
    assert vouched_origins({}) == vouched_origins({"HF_ENDPOINT": HUB}) == frozenset()
    assert vouched_origins({"HF_ENDPOINT": "http://localhost:8080/x"}) == {"http://localhost:8080"}
    assert parse_place("https://mirror.test/o/n", "https://mirror.test") == HubPlace(repository="o/n")
    assert parse_place(f"{HUB}/o/n", "https://mirror.test") == HubPlace(repository="o/n")


def test_a_repository_is_listed_at_one_commit(server: HubServer) -> None:
    listing = hub(server).listing(HubPlace(repository="artist/style"))
    assert (listing.commit, listing.gated) == (COMMIT, False)
    by_path = {file.path: file for file in listing.files}
    large = by_path["style.safetensors"]
    assert (large.size, large.sha256) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
    assert by_path["README.md"].git_blob == git_blob(b"#") and not by_path["README.md"].sha256
    (choice,) = listing.choices()  # the pickle of the same name is not offered
    assert (choice.title, choice.size, choice.folder) == ("style.safetensors", len(LARGE), False)
    download = hub(server).download(listing, choice, Path("/models"))
    assert download.files[0].address == f"{server.origin}/artist/style/resolve/{COMMIT}/style.safetensors"
    assert download.name == "style.safetensors" and download.size == len(LARGE)


def test_a_file_is_known_by_its_head(server: HubServer) -> None:
    asked = hub(server, token="hf_right")
    file, commit = asked.file(HubPlace(repository="artist/style", path="style.safetensors"))
    assert (file.size, file.sha256, commit) == (len(LARGE), hashlib.sha256(LARGE).hexdigest(), COMMIT)
    file, _ = asked.file(HubPlace(repository="artist/private", path="unet/config.json"))
    assert (file.size, file.git_blob, file.sha256) == (len(SMALL), git_blob(SMALL), "")
    assert {seen.method for seen in server.asked} == {"HEAD"}
    assert server.sent == 0


def test_a_long_list_comes_in_pages(server: HubServer) -> None:
    files = {f"{i}.safetensors": b"x" for i in range(25)}
    server.repositories["artist/many"] = Repository(files)
    server.page = 10
    assert len(hub(server).listing(HubPlace(repository="artist/many")).files) == 25
    with Server() as other:
        server.faults.onward_page = f"{other.origin}/api/models/artist/many/tree/{COMMIT}"
        with pytest.raises(WebError, match="another host"):
            hub(server).listing(HubPlace(repository="artist/many"))
        assert other.asked == []


@pytest.mark.parametrize(
    ("place", "token", "sentence"),
    [
        (HubPlace(repository="artist/none"), "", "There is no repository artist/none on 127.0.0.1, or it is private"),
        (HubPlace(repository="artist/private"), "", "give a token for 127.0.0.1"),
        (HubPlace(repository="artist/style", revision="dev"), "", "no such branch"),
        (HubPlace(repository="artist/style", path="none.pt"), "", "no such file"),
        (HubPlace(repository="artist/gated", path="a.safetensors"), "", "accept its terms at"),
        (HubPlace(repository="artist/gated", path="a.safetensors"), "hf_wrong", "accept its terms at"),
    ],
)
def test_the_hub_says_no_in_a_sentence(server: HubServer, place: HubPlace, token: str, sentence: str) -> None:
    asked = hub(server, token)
    with pytest.raises(WebError) as refused:
        (asked.file if place.path else asked.listing)(place)
    assert sentence in str(refused.value)
    assert "<b>" not in str(refused.value) and "hf_wrong" not in str(refused.value)


def test_with_the_right_token_it_says_yes(server: HubServer) -> None:
    asked = hub(server, token="hf_right")
    assert len(asked.listing(HubPlace(repository="artist/private")).files) == 2
    assert asked.file(HubPlace(repository="artist/gated", path="a.safetensors"))[0].size == len(LARGE)


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"<html>", b"[]", b"{}", b'{"sha": "main"}', b'{"sha": 5}', b'{"sha": "../../../../x"}', b"[" * 10**6),
        b'{"sha": null}',
    ],
)
def test_an_answer_that_is_none_is_refused(server: HubServer, answer: bytes) -> None:
    server.faults.said["revision"] = answer
    with pytest.raises(WebError, match=r"cannot be understood|is no JSON"):
        hub(server).listing(HubPlace(repository="artist/style"))


def test_of_a_list_that_lies_nothing_false_is_taken_over(server: HubServer) -> None:
    sound = {"type": "file", "path": "a.pt", "oid": "a" * 40, "size": 1}
    lies = [
        *(
            {**sound, "path": path}
            for path in ("../a.pt", "/a.pt", "a/../b.pt", "a\\b.pt", "C:a", "", "a//b", ".git/x")
        ),
        *({**sound, "path": path} for path in ("a\0.pt", "x" * 2000, "C:a", "con/a.pt", "a\u202e.pt", 5, None)),
        *({**sound, "size": size} for size in (-1, "1", 1.5, None)),
        *({**sound, "oid": oid} for oid in ("", "A" * 40, "a" * 39, 5)),
        {**sound, "lfs": {"oid": "b" * 40, "size": 1}},
        *(5, None, [], {}, {"type": "file"}),
    ]
    server.faults.said["tree"] = json.dumps([*lies, sound]).encode()
    assert hub(server).listing(HubPlace(repository="artist/style")).files == (
        HubFile(path="a.pt", size=1, git_blob="a" * 40),
    )


def folder_files(*variants: str) -> list[str]:
    networks = (
        "unet/diffusion_pytorch_model",
        "vae/diffusion_pytorch_model",
        "text_encoder/model",
        "safety_checker/model",
    )
    return [f"{stem}{variant}.safetensors" for stem in networks for variant in variants]


TEXTS = ["model_index.json", "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"]
TOKENIZER = ["tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/special_tokens_map.json"]
UNWANTED = [
    *(
        "pipeline.py",
        "unet/modeling.py",
        "setup.py",
        "unet/diffusion_pytorch_model.bin",
        "vae/model.onnx",
        ".gitattributes",
    ),
    *("text_encoder/flax_model.msgpack", "unet/openvino_model.bin", "a/b/config.json", "tokenizer/run.sh"),
    *("safety_checker/config.json", "unet/config.json.py", "tokenizer/extra.json", "scheduler/other.json"),
    *("x.json", ".gitattributes"),
]


def listing(paths: list[str]) -> Listing:
    files = tuple(HubFile(path=path, size=len(path), git_blob="0" * 40) for path in paths)
    return Listing(repository="owner/sd", commit=COMMIT, gated=False, files=files)


def folders(found: Listing) -> dict[str, Choice]:
    return {choice.name: choice for choice in found.choices() if choice.folder}


def test_of_a_diffusers_folder_only_known_names_are_fetched() -> None:
    found = folders(listing([*TEXTS, *TOKENIZER, *folder_files(""), *UNWANTED]))
    paths = [file.path for file in found["sd"].files]
    assert sorted(paths) == sorted([*TEXTS, *TOKENIZER, *folder_files("")[:3]])


def test_each_variant_of_a_folder_is_a_choice() -> None:
    everything = [*TEXTS, *TOKENIZER, *folder_files("", ".fp16", ".non_ema")]
    found = folders(listing([path for path in everything if path != "vae/diffusion_pytorch_model.fp16.safetensors"]))
    assert set(found) == {"sd", "sd-fp16"}
    assert sorted(file.path for file in found["sd-fp16"].files if ".safetensors" in file.path) == [
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert not any("non_ema" in file.path for choice in found.values() for file in choice.files)
    assert folders(listing(folder_files(""))) == {}, "without model_index.json it is no such folder"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("style.safetensors", "style.safetensors"),
        ("deep/style.safetensors", "style.safetensors"),
        ("diffusion_pytorch_model.safetensors", "sd-diffusion_pytorch_model.safetensors"),
        ("vae/diffusion_pytorch_model.fp16.safetensors", "sd-vae-diffusion_pytorch_model.fp16.safetensors"),
        ("pytorch_lora_weights.safetensors", "sd-pytorch_lora_weights.safetensors"),
        ("models.safetensors", "models.safetensors"),
    ],
)
def test_a_file_has_a_name_that_says_something(path: str, name: str) -> None:
    assert file_name("owner/sd", path) == name


def test_suggestions_are_places_that_can_be_asked_for() -> None:
    for suggestion in SUGGESTIONS:
        place = suggestion.place
        assert parse_place(f"{HUB}/{place.repository}/blob/main/{place.path}") == place
        assert is_plain_path(place.path) and place.path.endswith(".safetensors")
        assert suggestion.size is None or suggestion.size > 10**8
    assert len({replace(s.place) for s in SUGGESTIONS}) == len(SUGGESTIONS)
    assert {s.kind for s in SUGGESTIONS} == {Kind.CHECKPOINT, Kind.VAE}
