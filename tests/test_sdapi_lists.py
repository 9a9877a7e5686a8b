"""The lists that clients fill their menus with, and the settings that they read and write."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import save_file

from backend.app import App, Options
from backend.sampling.samplers import SAMPLERS
from backend.sampling.schedules import find_schedule
from backend.server.people import Person
from backend.server.risks import RouteTable
from backend.server.sdapi.door import Refused
from backend.server.sdapi.models import Models
from backend.server.sdapi.options import Options as ClientOptions
from backend.server.sdapi.options import OptionStore
from backend.styles import Style
from tests.sd_studio import ME, OTHER, SD, Workshop, cookies, server

# Every list of the interface, and what its rows must have.
LISTS: dict[str, set[str]] = {
    "samplers": {"name", "aliases", "options"},
    "schedulers": {"name", "label", "aliases", "default_rho", "need_inner_model"},
    "upscalers": {"name", "model_name", "model_path", "model_url", "scale"},
    "latent-upscale-modes": {"name"},
    "sd-models": {"title", "model_name", "hash", "sha256", "filename", "config"},
    "sd-vae": {"model_name", "filename"},
    "loras": {"name", "alias", "path", "metadata"},
    "prompt-styles": {"name", "prompt", "negative_prompt"},
    "script-info": {"name", "is_alwayson", "is_img2img", "args"},
}
EMPTY = ("hypernetworks", "face-restorers", "realesrgan-models", "extensions")
OBJECTS = ("options", "cmd-flags", "memory", "scripts", "embeddings", "progress")
CONTROLNET = ("version", "model_list?update=true", "module_list?alias_names=false", "control_types", "settings")


@pytest.fixture
def app(options: Options, tiny_checkpoint: Path) -> Iterator[App]:
    del tiny_checkpoint
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    lora = {
        f"{layer}.lora_{end}.weight": torch.zeros(shape) for end, shape in {"up": (320, 4), "down": (4, 768)}.items()
    }
    folder = options.data_dir.parent / "networks"
    folder.mkdir()
    save_file(lora, folder / "ink.safetensors", metadata={"ss_output_name": "Ink", "ss_tag": "é"})
    save_file({"emb_params": torch.zeros(2, 768)}, folder / "badly.safetensors")
    save_file({"emb_params": torch.zeros(3, 1024)}, folder / "wide.safetensors")
    app = App(
        Options(
            data_dir=options.data_dir,
            installation=options.data_dir.parent,
            checkpoint_dirs=options.checkpoint_dirs,
            lora_dirs=(folder,),
            embedding_dirs=(folder,),
            device="cpu",
        ),
        worker=Workshop,
    )
    app.start()
    yield app
    app.close()


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(server(app), cookies=cookies())


def get(client: TestClient, path: str, prefix: str = SD) -> Any:
    answer = client.get(f"{prefix}/{path}")
    assert answer.status_code == 200, (path, answer.text)
    return answer.json()


def test_every_list_has_a1111s_rows(client: TestClient) -> None:
    for path, keys in LISTS.items():
        rows = get(client, path)
        assert isinstance(rows, list)
        assert all(keys <= row.keys() for row in rows), path
        assert rows or path in ("sd-vae", "prompt-styles")
    for path in EMPTY:
        assert get(client, path) == []


def test_every_route_says_what_it_may_do(app: App) -> None:
    rows = [row for row in RouteTable(server(app).routes).rows if row.path.startswith(("/sdapi/", "/controlnet/"))]
    assert len(rows) >= 35
    levels = {row.path.removeprefix(f"{SD}/"): row.rule and row.rule.risk for row in rows}
    assert None not in levels.values()
    assert (levels["txt2img"], levels["progress"], levels["interrupt"]) == ("make", "read", "make")
    assert (levels["unload-checkpoint"], levels["reload-checkpoint"]) == ("manage", "manage")


def test_no_answer_tells_where_files_lie(app: App, client: TestClient) -> None:
    paths = [f"{SD}/{path}" for path in (*LISTS, *EMPTY, *OBJECTS)] + [f"/controlnet/{path}" for path in CONTROLNET]
    for path in paths:
        text = client.get(path).text
        for folder in (app.options.data_dir.parent, *app.options.checkpoint_dirs, Path.home()):
            assert json.dumps(str(folder))[1:-1] not in text, path


def test_samplers_and_schedules_can_be_sent_as_they_are_listed(client: TestClient) -> None:
    rows = get(client, "samplers")
    assert [row["name"] for row in rows] == list(SAMPLERS)
    options = {row["name"]: row["options"] for row in rows}
    assert options["DPM++ 2M"] == {"scheduler": "karras"}
    assert options["DPM++ SDE"] == {"scheduler": "karras", "second_order": "True", "brownian_noise": "True"}
    assert options["DPM2"]["discard_next_to_last_sigma"] == "True"
    assert options["Euler"] == {} and options["DDIM"] == {}
    for row in get(client, "schedulers")[1:]:
        for said in (row["name"], row["label"], *(row["aliases"] or ())):
            assert find_schedule(said).name == row["label"]
    assert get(client, "schedulers")[0]["name"] == "automatic"


def test_models_can_be_sent_as_they_are_listed(app: App, client: TestClient) -> None:
    plain = get(client, "sd-models")[0]
    assert (plain["title"], plain["model_name"], plain["hash"]) == ("tiny.safetensors", "tiny", None)
    sha256 = app.hashes.sha256(app.catalog.find("tiny")).result()
    row = get(client, "sd-models")[0]
    assert row["title"] == f"tiny.safetensors [{sha256[:10]}]" and row["sha256"] == sha256
    assert client.post(f"{SD}/options", json={"sd_model_checkpoint": row["title"]}).json() is None
    shown = get(client, "options")
    assert shown["sd_model_checkpoint"] == row["title"] and shown["sd_checkpoint_hash"] == sha256


def test_loras_and_embeddings(client: TestClient) -> None:
    row = get(client, "loras")[0]
    assert (row["name"], row["alias"], row["path"]) == ("ink", "Ink", "ink.safetensors")
    assert row["metadata"] == {"ss_output_name": "Ink", "ss_tag": "é"}
    words = get(client, "embeddings")
    known = {**words["loaded"], **words["skipped"]}
    assert (known["badly"]["shape"], known["badly"]["vectors"]) == (768, 2)
    assert known["wide"]["vectors"] == 3 and "wide" in words["skipped"]


def test_a_new_file_is_there_after_a_refresh(app: App, client: TestClient, tiny_checkpoint: Path) -> None:
    (app.options.checkpoint_dirs[0] / "second.safetensors").write_bytes(tiny_checkpoint.read_bytes())
    assert client.post(f"{SD}/refresh-checkpoints").json() is None
    assert {row["model_name"] for row in get(client, "sd-models")} == {"tiny", "second"}
    for what in ("vae", "loras", "embeddings"):
        assert client.post(f"{SD}/refresh-{what}").json() is None


def test_scripts_and_their_arguments(client: TestClient) -> None:
    single = ["soft inpainting", "sd upscale", "loopback"]
    several = ["prompt matrix", "prompts from file or textbox", "x/y/z plot"]
    assert get(client, "scripts") == {"txt2img": several, "img2img": [*single, *several]}
    rows = get(client, "script-info")
    assert [row["is_img2img"] for row in rows if row["name"] == "x/y/z plot"] == [False, True]
    info = {row["name"]: row for row in rows}
    assert [len(info[name]["args"]) for name in several] == [5, 4, 18]
    assert "Schedule type" in info["x/y/z plot"]["args"][0]["choices"]
    assert info["soft inpainting"]["is_alwayson"] and not info["sd upscale"]["is_alwayson"]
    assert info["sd upscale"]["args"][1] == {
        "label": "Tile overlap", "value": 64, "minimum": 0, "maximum": 256, "step": 16,
    }  # fmt: skip


def test_styles_are_listed_and_put_on(app: App, client: TestClient) -> None:
    for name, negative in (("ink", ""), ("night", "sun")):
        app.styles.save(Style(name=name, prompt=f"{name} of {{prompt}}", negative_prompt=negative))
    assert get(client, "prompt-styles")[1] == {
        "name": "night", "prompt": "night of {prompt}", "negative_prompt": "sun",
    }  # fmt: skip
    body = {"prompt": "a tree", "styles": ["ink", "night"], "steps": 1, "width": 64, "height": 64}
    info = json.loads(client.post(f"{SD}/txt2img", json=body).json()["info"])
    assert (info["prompt"], info["negative_prompt"]) == ("night of ink of a tree", "sun")
    assert info["styles"] == ["ink", "night"]


def test_memory_and_command_line(client: TestClient) -> None:
    memory = get(client, "memory")
    ram = memory["ram"]
    assert ram["free"] + ram["used"] == ram["total"] > 0
    assert memory["cuda"] == {"error": "unavailable"}
    assert get(client, "cmd-flags")["api"] is True


def test_controlnet_answers_with_what_there_is(client: TestClient) -> None:
    answers = [get(client, path, "/controlnet") for path in CONTROLNET]
    assert answers[0] == {"version": 2} and answers[1] == {"model_list": ["None"]}
    assert answers[2]["module_list"] == ["none"] and answers[4] == {"control_net_unit_count": 0}
    for path in ("detect", "render_openpose_json"):
        answer = client.post(f"/controlnet/{path}", json={"controlnet_module": "canny"})
        assert answer.status_code == 501 and "ControlNet" in answer.json()["detail"]


def test_all_settings_can_be_sent_back(app: App, client: TestClient) -> None:
    before, settings = get(client, "options"), app.settings.value
    echo = {**before, "unknown_setting": 5, "outdir_samples": "/etc", "quicksettings_list": ["sd_model_checkpoint"]}
    assert client.post(f"{SD}/options", json=echo).json() is None
    assert get(client, "options") == before
    assert app.settings.value == settings


def test_settings_are_kept_for_their_owner(app: App, client: TestClient) -> None:
    changes = {"CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 31337, "sd_vae": "None"}
    assert client.post(f"{SD}/options", json=changes).status_code == 200
    assert {name: get(client, "options")[name] for name in changes} == changes
    other = TestClient(server(app), cookies=cookies(OTHER))  # made anew: read from the file
    assert get(other, "options")["CLIP_stop_at_last_layers"] == 1
    again = TestClient(server(app), cookies=cookies())
    assert get(again, "options")["CLIP_stop_at_last_layers"] == 2
    body = {"steps": 1, "width": 64, "height": 64, "sampler_name": "Euler a"}
    info = json.loads(again.post(f"{SD}/txt2img", json=body).json()["info"])
    assert info["clip_skip"] == 2 and "ENSD: 31337" in info["infotexts"][0]


def test_an_override_may_stay(client: TestClient) -> None:
    body = {"steps": 1, "width": 64, "height": 64, "override_settings": {"CLIP_stop_at_last_layers": 3}}
    for stays, after in ((True, 1), (False, 3)):
        body["override_settings_restore_afterwards"] = stays
        assert json.loads(client.post(f"{SD}/txt2img", json=body).json()["info"])["clip_skip"] == 3
        assert get(client, "options")["CLIP_stop_at_last_layers"] == after


def test_a_wrong_setting_changes_nothing(app: App, client: TestClient) -> None:
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"sd_model_checkpoint": "never there"}, 422, "never there"),
        ({"CLIP_stop_at_last_layers": 99}, 422, "CLIP_stop_at_last_layers"),
        ({"CLIP_stop_at_last_layers": {"a": 1}}, 422, "CLIP_stop_at_last_layers"),
        ({"token_merging_ratio": 0.5}, 422, "token_merging_ratio"),
        ({"samples_format": "gif"}, 422, "samples_format"),
        ({"jpeg_quality": 900}, 422, "quality"),
        ({"s_noise": 1.05, "sd_vae": ["x"]}, 422, "sd_vae"),
    ]
    before, settings = get(client, "options"), app.settings.value
    for changes, status, word in wrong:
        answer = client.post(f"{SD}/options", json=changes)
        assert answer.status_code == status and word in answer.json()["detail"], answer.text
        assert get(client, "options") == before and app.settings.value == settings


def test_only_an_administrator_changes_the_installation(app: App, client: TestClient) -> None:
    assert client.post(f"{SD}/options", json={"samples_format": "jpg", "jpeg_quality": 70}).status_code == 200
    assert (app.settings.value.image_format, app.settings.value.image_quality) == ("jpeg", 70)
    assert get(client, "options")["samples_format"] == "jpg"
    models = Models(app)
    options = ClientOptions(OptionStore(app.options.data_dir / "some.json"), app.settings, models)
    artist = Person(name="Ada", role="artist", owner=ME, how="login")
    with pytest.raises(Refused, match="samples_format") as caught:
        options.update(artist, {"samples_format": "png"})
    assert caught.value.status == 403 and app.settings.value.image_format == "jpeg"
    options.update(artist, {**options.shown(ME), "s_noise": 1.05})
    assert options.given(ME) == {"s_noise": 1.05}


def test_a_damaged_file_of_settings_costs_only_these(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for damage in (b"{", b"[]", b'{"a": 5}', b"\xff"):
        path = tmp_path / "options.json"
        path.write_bytes(damage)
        store = OptionStore(path)
        assert store.of("a") == {}
        store.update("a", {"s_noise": 1.0})
        assert OptionStore(path).of("a") == {"s_noise": 1.0}
    assert "cannot be read" in caplog.text


def test_the_description_of_the_routes_is_whole(app: App) -> None:
    described = server(app).openapi()
    assert "$defs" not in json.dumps(described)
    body = described["paths"][f"{SD}/extra-batch-images"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["properties"]["imageList"]["items"]["properties"]["data"]["type"] == "string"
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert {"200", "422", "501"} <= operation["responses"].keys(), path
