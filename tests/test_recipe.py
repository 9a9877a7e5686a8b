"""The recipe in every kind of file, by every program: the files are made here."""

import gzip
import io
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.errors import InvalidRequest
from backend.infotext.containers import LONGEST_TEXT, read_texts
from backend.infotext.provenance import FileHashes, Provenance
from backend.infotext.read import read_infotext
from backend.infotext.recipe import Recipe, read_recipe, read_text
from backend.infotext.write import write_infotext
from backend.outputs import EXIF_IFD, IMAGE_DESCRIPTION, MADE_WITH, USER_COMMENT, encode
from backend.request import GenerationRequest
from tests.infotext_samples import SAMPLES

TEXT = f"夜の港, Zoë {SAMPLES[3]}"
PICTURE = Image.linear_gradient("L").convert("RGB").resize((64, 48))


def png(chunks: Mapping[str, str], picture: Image.Image = PICTURE, *, packed: bool = False) -> bytes:
    texts = PngInfo()
    for name, text in chunks.items():
        texts.add_text(name, text, zip=packed)
    return saved(picture, "PNG", pnginfo=texts)


def saved(picture: Image.Image, format: str, **more: Any) -> bytes:
    data = io.BytesIO()
    picture.save(data, format, **more)
    return data.getvalue()


def with_exif(format: str, tags: Mapping[int, str], comment: bytes = b"") -> bytes:
    exif = Image.Exif()
    for tag, text in {0x0131: "any", **tags}.items():  # Pillow saves no Exif that has nothing but a comment
        exif[tag] = text
    if comment:
        exif.get_ifd(EXIF_IFD)[USER_COMMENT] = comment
    return saved(PICTURE, format, exif=exif)


def found(data: bytes) -> Recipe:
    recipe = read_recipe(data)
    assert recipe is not None
    return recipe


# --- where it stands ---


@pytest.mark.parametrize("packed", [False, True])
def test_a_png_of_a1111(packed: bool) -> None:
    recipe = found(png({"parameters": TEXT}, packed=packed))
    assert (recipe.origin, recipe.place, recipe.text) == ("AUTOMATIC1111", "PNG text: parameters", TEXT)
    assert recipe.infotext == read_infotext(TEXT)
    assert recipe.infotext.text == TEXT


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "PNG"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + TEXT.encode("utf-16-le"),
        b"UNICODE\0\xff\xfe" + TEXT.encode("utf-16-le"),
        b"ASCII\0\0\0" + TEXT.encode(),
        b"\0" * 8 + TEXT.encode(),
        TEXT.encode(),
    ],
)
def test_a_user_comment_in_every_alphabet(format: str, comment: bytes) -> None:
    recipe = found(with_exif(format, {}, comment))
    assert (recipe.text, recipe.place) == (TEXT, "Exif: UserComment")


def test_other_places() -> None:
    assert found(with_exif("JPEG", {IMAGE_DESCRIPTION: SAMPLES[1]})).text == SAMPLES[1]
    assert found(saved(PICTURE, "GIF", comment=SAMPLES[1].encode())).text == SAMPLES[1]
    assert found(saved(PICTURE, "JPEG", comment=SAMPLES[1].encode())).text == SAMPLES[1]
    assert found(png({"postprocessing": "Postprocess upscale by: 4, Postprocess upscaler: Lanczos"})).origin == "text"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_file(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode(encoding))
    recipe = read_recipe(path)
    assert recipe is not None
    assert (recipe.text, recipe.place, recipe.origin) == (TEXT, "text", "AUTOMATIC1111")


def test_a_text_that_is_a_mere_prompt() -> None:
    recipe = found(b"a cat in a hat")
    assert (recipe.origin, recipe.infotext.prompt, recipe.infotext.pairs) == ("text", "a cat in a hat", ())


def hidden(text: str, signature: str, picture: Image.Image = PICTURE) -> bytes:
    """A picture with a text in its lowest bits, column by column."""
    data = gzip.compress(text.encode()) if signature.endswith("comp") else text.encode()
    whole = signature.encode() + (len(data) * 8).to_bytes(4) + data
    bits = np.unpackbits(np.frombuffer(whole, np.uint8))
    channels = slice(0, 3) if "rgb" in signature else slice(3, 4)
    pixels = np.array(picture.resize((256, 256)).convert("RGBA"))
    columns = pixels[..., channels].transpose(1, 0, 2).copy()
    flat = columns.reshape(-1)
    flat[: bits.size] = flat[: bits.size] & 254 | bits
    pixels[..., channels] = flat.reshape(columns.shape).transpose(1, 0, 2)
    return saved(Image.fromarray(pixels), "PNG")


@pytest.mark.parametrize("signature", ["stealth_pnginfo", "stealth_pngcomp", "stealth_rgbinfo", "stealth_rgbcomp"])
def test_what_hides_in_the_pixels(signature: str) -> None:
    recipe = found(hidden(TEXT, signature))
    assert (recipe.text, recipe.origin, recipe.place) == (TEXT, "AUTOMATIC1111", "pixels: parameters")


# --- what does not belong there ---


def test_a_text_that_would_unpack_to_more_than_is_read() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    bomb = zlib.compress(b"x" * (64 * LONGEST_TEXT), 9)
    assert len(bomb) < LONGEST_TEXT
    plain = png({})
    texts = chunk(b"zTXt", b"parameters\0\0" + bomb) + chunk(b"iTXt", b"a\0\1\0\0\0" + bomb)
    found_texts = read_texts(plain[:33] + texts + plain[33:])
    assert found_texts is not None
    assert max(map(len, found_texts.chunks.values())) == 0
    large = plain[:33] + chunk(b"tEXt", b"parameters\0" + b"x" * LONGEST_TEXT) + plain[33:]
    assert read_recipe(large) is None


def test_pixels_that_would_unpack_to_more_than_is_read() -> None:
    assert read_recipe(hidden("x" * (LONGEST_TEXT + 1), "stealth_pngcomp")) is None


@pytest.mark.parametrize(
    "data", [b"", b"\x00\x01\x02", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"x" * (LONGEST_TEXT + 1)]
)
def test_no_recipe(data: bytes) -> None:
    assert read_recipe(data) is None


def test_a_picture_that_says_nothing(tmp_path: Path) -> None:
    assert [read_recipe(saved(PICTURE, format)) for format in ("PNG", "JPEG", "WEBP", "AVIF", "GIF")] == [None] * 5
    assert read_recipe(tmp_path / "none.png") is None
    assert read_recipe(with_exif("JPEG", {IMAGE_DESCRIPTION: "DCIM\\100"})) is None


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
def test_a_damaged_file_stops_nothing(format: str) -> None:
    whole = (
        with_exif(format, {IMAGE_DESCRIPTION: TEXT}, b"UNICODE\0" + TEXT.encode("utf-16-be"))
        if format != "GIF"
        else (saved(PICTURE, "GIF", comment=SAMPLES[1].encode()))
    )
    chance = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(whole[: chance.integers(1, len(whole))])
        for place in chance.integers(0, len(data), 8):
            data[place] = chance.integers(256)
        read_recipe(bytes(data))


def test_texts_behind_the_pixels_and_in_a_file_that_breaks_off_are_read() -> None:
    plain = png({})
    data = b"parameters\0" + SAMPLES[1].encode()
    chunk = struct.pack(">I", len(data)) + b"tEXt" + data + b"\0\0\0\0"
    assert found(plain[:-12] + chunk + plain[-12:]).text == SAMPLES[1]
    assert found(plain[:-12] + chunk).text == SAMPLES[1]


# --- ours ---


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "avif"])
def test_our_own_pictures_can_be_made_again(format: str) -> None:
    request = GenerationRequest(prompt="夜の港, Zoë", seed=2**64 - 1, checkpoint="a/b")
    files = FileHashes(checkpoint="a" * 64, loras={"ink": "b" * 64})
    made_with = Provenance(files=files, device="CPU, float32")
    text = write_infotext(request, files, schedule="Karras")
    recipe = found(encode(PICTURE, format, 90, text, request.to_json(), {MADE_WITH: made_with.to_json()}))
    assert (recipe.origin, recipe.text) == ("Atelier", text)
    assert GenerationRequest.from_json(recipe.request) == request
    assert Provenance.from_json(recipe.made_with) == made_with


def test_our_own_pictures_from_before_are_read_too() -> None:
    request = GenerationRequest(prompt="a", seed=1)
    text = write_infotext(request, FileHashes(), schedule="Karras")
    recipe = found(encode(PICTURE, "jpeg", 90, text, request.to_json()))
    assert (recipe.request, recipe.made_with) == (request.to_json(), "")
    with pytest.raises(InvalidRequest):
        Provenance.from_json(recipe.made_with)


# --- other programs ---


def test_forge_and_sdnext() -> None:
    assert found(png({"parameters": SAMPLES[8]})).origin == "Forge"
    text = "a cat\nSteps: 20, Size: 512x512, Sampler: Euler a, Seed: 1, CFG scale: 6, App: SD.Next, Version: 0eb4a98"
    assert found(with_exif("JPEG", {}, b"UNICODE\0" + text.encode("utf-16-be"))).origin == "SD.Next"


NOVELAI = {
    "prompt": "a {red} cat",
    "uc": "lowres",
    "steps": 28,
    "scale": 5.0,
    "seed": 3456789,
    "sampler": "k_dpmpp_2m",
    "noise_schedule": "karras",
    "width": 832,
    "height": 1216,
}


@pytest.mark.parametrize("stealth", [False, True])
def test_novelai(stealth: bool) -> None:
    texts = {"Software": "NovelAI", "Description": NOVELAI["prompt"], "Comment": json.dumps(NOVELAI)}
    recipe = found(
        hidden(json.dumps(texts), "stealth_pngcomp") if stealth else png({k: str(v) for k, v in texts.items()})
    )
    assert recipe.origin == "NovelAI"
    assert (recipe.infotext.prompt, recipe.infotext.negative_prompt) == ("a {red} cat", "lowres")
    assert recipe.infotext.pairs == (
        *(
            ("Steps", "28"),
            ("Sampler", "DPM++ 2M"),
            ("Schedule type", "Karras"),
            ("CFG scale", "5"),
            ("Seed", "3456789"),
        ),
        *(("Size", "832x1216"), ("Clip skip", "2"), ("ENSD", "31337")),
    )
    assert len(recipe.not_understood) == 2


def test_civitai() -> None:
    text = (
        "a cat\nSteps: 30, CFG scale: 5, Sampler: Euler a, Seed: 9, Size: 832x1216, Clip skip: 2, "
        'Created Date: 2024-06-01T10:00:00.0Z, Civitai resources: [{"type":"checkpoint","modelVersionId":290640}], '
        "Civitai metadata: {}"
    )
    recipe = found(with_exif("JPEG", {}, b"UNICODE\0" + text.encode("utf-16-le")))
    assert recipe.origin == "Civitai"
    assert recipe.infotext.get("Created Date") == "2024-06-01T10:00:00.0Z"
    assert recipe.infotext.get("Civitai metadata") == "{}"
    extra = {"prompt": "a dog", "negativePrompt": "bad", "steps": 25, "cfgScale": 7, "sampler": "euler", "seed": 4}
    graph = {"resource-stack": {"class_type": "X", "inputs": {}}, "extraMetadata": json.dumps(extra)}
    recipe = found(with_exif("JPEG", {}, b"UNICODE\0" + json.dumps(graph).encode("utf-16-be")))
    assert (recipe.origin, recipe.infotext.prompt, recipe.infotext.get("Sampler")) == ("Civitai", "a dog", "Euler")


def test_invokeai() -> None:
    values = {
        "app_version": "5.0.0",
        "generation_mode": "sdxl_txt2img",
        "positive_prompt": "a red+ cat",
        "negative_prompt": "bad",
        "width": 1024,
        "height": 768,
        "seed": 12,
        "rand_device": "cpu",
        "cfg_scale": 5.5,
        "steps": 30,
        "scheduler": "dpmpp_2m_k",
        "clip_skip": 1,
        "model": {"name": "Juggernaut", "hash": "blake3:12"},
        "loras": [{"model": {"name": "ink"}, "weight": 0.75}],
        "controlnets": [{"image": "a"}],
    }
    recipe = found(png({"invokeai_metadata": json.dumps(values), "invokeai_graph": "{}"}))
    assert recipe.origin == "InvokeAI"
    assert recipe.infotext.prompt == "a red+ cat <lora:ink:0.75>"
    assert recipe.infotext.pairs == (
        *(("Steps", "30"), ("Sampler", "DPM++ 2M"), ("Schedule type", "Karras"), ("CFG scale", "5.5"), ("Seed", "12")),
        *(("Size", "1024x768"), ("Model", "Juggernaut"), ("Clip skip", "2"), ("RNG", "CPU")),
    )
    assert ["ControlNet" in each for each in recipe.not_understood] == [False, True]


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_fooocus(format: str) -> None:
    values = {
        "prompt": "a cat",
        "negative_prompt": "bad",
        "base_model": "juggernautXL_v8.safetensors",
        "base_model_hash": "aeb7e9e689",
        "guidance_scale": 4,
        "loras": [["offset.safetensors", 0.1, "abc"]],
        "resolution": "(1152, 896)",
        "sampler": "dpmpp_2m_sde_gpu",
        "scheduler": "karras",
        "seed": "77",
        "steps": 30,
        "styles": "['Fooocus V2']",
        "version": "Fooocus v2.3.1",
    }
    text = json.dumps(values)
    recipe = found(
        png({"parameters": text, "fooocus_scheme": "fooocus"})
        if format == "png"
        else with_exif("JPEG", {}, text.encode())
    )
    assert recipe.origin == "Fooocus"
    assert recipe.infotext.prompt == "a cat <lora:offset:0.1>"
    wanted = {"Sampler": "DPM++ 2M SDE", "Size": "1152x896", "Model": "juggernautXL_v8", "Seed": "77", "RNG": "CPU"}
    assert wanted.items() <= recipe.infotext.values.items()
    assert "Fooocus V2" in recipe.not_understood[0]


GRAPH: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": ["20", 0],
            "steps": 25,
            "cfg": 7.5,
            "sampler_name": "dpmpp_2m_sde_gpu",
            "scheduler": "karras",
            "denoise": 1,
            "model": ["11", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd\\base.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 640, "height": 512, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["21", 0], "clip": ["12", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["12", 0]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["13", 0]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
    "10": {
        "class_type": "LoraLoader",
        "inputs": {
            "lora_name": "a/ink.safetensors",
            "strength_model": 0.8,
            "strength_clip": 0.5,
            "model": ["4", 0],
            "clip": ["4", 1],
        },
    },
    "11": {
        "class_type": "LoraLoader",
        "inputs": {
            "lora_name": "fur.safetensors",
            "strength_model": 1,
            "strength_clip": 1,
            "model": ["10", 0],
            "clip": ["10", 1],
        },
    },
    "12": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["11", 1]}},
    "13": {"class_type": "VAELoader", "inputs": {"vae_name": "sharp.safetensors"}},
    "20": {"class_type": "PrimitiveNode", "inputs": {"value": 123}},
    "21": {"class_type": "StringConstant", "inputs": {"string": "a cat"}},
}
COMFY_PAIRS = (
    *(("Steps", "25"), ("Sampler", "DPM++ 2M SDE"), ("Schedule type", "Karras"), ("CFG scale", "7.5"), ("Seed", "123")),
    *(("Size", "640x512"), ("Model", "base"), ("VAE", "sharp.safetensors"), ("Clip skip", "2"), ("RNG", "CPU")),
    ("Version", "ComfyUI"),
)


def test_comfyui() -> None:
    recipe = found(png({"prompt": json.dumps(GRAPH), "workflow": '{"nodes": [], "links": []}'}))
    assert (recipe.origin, recipe.place) == ("ComfyUI", "PNG text: prompt")
    assert recipe.infotext.prompt == "a cat <lora:ink:0.5:0.8> <lora:fur:1>"
    assert recipe.infotext.negative_prompt == "bad"
    assert recipe.infotext.pairs == COMFY_PAIRS
    assert recipe.not_understood == ()
    other = found(with_exif("WEBP", {0x0110: f"prompt:{json.dumps(GRAPH)}"}))
    assert (other.infotext, other.place) == (recipe.infotext, "Exif: Model")


def test_comfyui_with_more_than_is_understood() -> None:
    graph = {
        **GRAPH,
        "3": {**GRAPH["3"], "inputs": {**GRAPH["3"]["inputs"], "positive": ["30", 0], "sampler_name": "res_multistep"}},
        "30": {
            "class_type": "ControlNetApply",
            "inputs": {"conditioning": ["6", 0], "image": ["31", 0], "strength": 1},
        },
        "31": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "32": {
            "class_type": "KSampler",
            "inputs": {**GRAPH["3"]["inputs"], "seed": 5, "denoise": 0.5, "latent_image": ["33", 0]},
        },
        "33": {"class_type": "LatentUpscaleBy", "inputs": {"samples": ["3", 0], "scale_by": 1.5}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["32", 0], "vae": ["13", 0]}},
    }
    recipe = found(png({"prompt": json.dumps(graph)}))
    assert recipe.infotext.prompt.startswith("a cat")
    assert (recipe.infotext.get("Seed"), recipe.infotext.get("Denoising strength")) == ("123", None)
    said = " ".join(recipe.not_understood)
    assert all(word in said for word in ("2 samplers", "ControlNetApply", "LoadImage", "res_multistep"))


@pytest.mark.parametrize(
    "graph",
    [
        {"1": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["1", 0], "seed": ["1", 0]}}},
        {"1": {"class_type": "KSampler"}, "2": 3},
        {"1": {"class_type": "KSampler", "inputs": {"steps": [1, 2, 3], "cfg": {"a": 1}, "positive": ["9", 0]}}},
        {"1": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}},
        {"1": {"class_type": 7, "inputs": []}},
    ],
)
def test_a_graph_that_goes_in_circles_or_nowhere(graph: dict[str, Any]) -> None:
    recipe = found(png({"prompt": json.dumps(graph)}))
    assert recipe.origin == "ComfyUI"
    assert recipe.infotext.prompt == ""


def test_a_drawing_without_its_graph_says_so() -> None:
    recipe = found(png({"workflow": json.dumps({"nodes": [], "links": []})}))
    assert recipe.infotext.pairs == ()
    assert "drawing" in recipe.not_understood[0]


@pytest.mark.parametrize(
    "values", [{}, {"positive_prompt": 3, "loras": 7, "model": "x", "steps": [1]}, {"positive_prompt": None}]
)
def test_odd_values_of_other_programs_stop_nothing(values: dict[str, Any]) -> None:
    for key in ("invokeai_metadata", "parameters", "Comment"):
        more = {"uc": 1, "prompt": 2, "base_model": 3, "seed": float("inf"), "resolution": 5, "sampler": [], **values}
        read_recipe(png({key: json.dumps(more), "Software": "NovelAI"}))


def test_a_text_that_was_pasted() -> None:
    pasted = read_text(TEXT)
    assert pasted is not None
    assert replace(pasted, place="PNG text: parameters") == found(png({"parameters": TEXT}))
    graph = read_text(json.dumps(GRAPH))
    assert graph is not None
    assert graph.infotext.pairs == COMFY_PAIRS
    assert read_text("") is None
