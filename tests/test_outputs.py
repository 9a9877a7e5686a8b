import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from backend.errors import OutputError
from backend.infotext import write_infotext
from backend.outputs import EXIF_IFD, IMAGE_DESCRIPTION, USER_COMMENT, Outputs, file_name
from backend.request import GenerationRequest
from backend.settings import Settings

REQUEST = GenerationRequest(
    prompt="a red boat, Zoë", negative_prompt="blue", seed=7, checkpoint="sub/starter", width=64
)
INFOTEXT = write_infotext(REQUEST, schedule="Karras", model_hash="0123456789")


def save(folder: Path, settings: Settings, request: GenerationRequest = REQUEST) -> Path:
    picture = Image.linear_gradient("L").convert("RGB")
    return Outputs(lambda: settings, folder).save(picture, request, infotext=INFOTEXT, schedule="Karras")


def test_infotext_is_written_as_a1111_writes_it() -> None:
    assert INFOTEXT.splitlines() == [
        "a red boat, Zoë",
        "Negative prompt: blue",
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 7, Size: 64x512, "
        "Model hash: 0123456789, Model: starter, RNG: NV, Version: Atelier 0.1.0",
    ]


def test_infotext_leaves_out_what_is_not_set_and_quotes_what_needs_it() -> None:
    request = replace(REQUEST, negative_prompt="", clip_skip=2, cfg_scale=7.5, checkpoint="odd, name: x")
    lines = write_infotext(request, schedule="Automatic", model_hash="0").splitlines()
    assert len(lines) == 2
    assert 'CFG scale: 7.5, Seed: 7, Size: 64x512, Model hash: 0, Model: "odd, name: x", Clip skip: 2, RNG' in lines[1]


def test_a_png_carries_both_recipes_and_every_pixel(tmp_path: Path) -> None:
    path = save(tmp_path, Settings())
    with Image.open(path) as picture:
        assert isinstance(picture, PngImageFile)
        assert picture.text["parameters"] == INFOTEXT
        assert GenerationRequest.from_json(picture.text["atelier"]) == REQUEST
        assert picture.tobytes() == Image.linear_gradient("L").convert("RGB").tobytes()
    assert path.parent.parent == tmp_path / "txt2img"
    assert path.name == "00000-7.png"


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_jpeg_and_webp_carry_both_recipes(format: Literal["jpeg", "webp"], tmp_path: Path) -> None:
    path = save(tmp_path, Settings(image_format=format))
    with Image.open(path) as picture:
        exif = picture.getexif()
        comment = exif.get_ifd(EXIF_IFD)[USER_COMMENT]
        assert comment[:8] == b"UNICODE\0"
        assert comment[8:].decode("utf-16-be") == INFOTEXT
        assert GenerationRequest.from_json(exif[IMAGE_DESCRIPTION]) == REQUEST


def test_numbers_go_on_and_nothing_is_overwritten(tmp_path: Path) -> None:
    first = save(tmp_path, Settings())
    (first.parent / "00007-9.png").write_bytes(b"somebody's")
    assert [save(tmp_path, Settings()).name for _ in range(2)] == ["00008-7.png", "00009-7.png"]
    assert (first.parent / "00007-9.png").read_bytes() == b"somebody's"


def test_two_processes_with_the_same_number_both_keep_their_picture(tmp_path: Path) -> None:
    """Each `Outputs` counts for itself, as two processes would; threads race for the same names."""
    paths: list[Path] = []

    def work() -> None:
        outputs = Outputs(Settings, tmp_path)
        for _ in range(10):
            picture = Image.new("RGB", (8, 8))
            paths.append(outputs.save(picture, REQUEST, infotext=INFOTEXT, schedule="Karras"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 40
    assert all(path.exists() for path in paths)


def test_the_pattern_names_the_file() -> None:
    pattern = "[seed]_[prompt_words]_[steps]-[cfg]_[width]x[height]_[model_name]_[sampler]_[nonsense]"
    assert file_name(pattern, REQUEST, 3, "Karras") == "00003-7_a red boat Zoë_20-7_64x512_starter_DPM++ 2M_[nonsense]"


@pytest.mark.parametrize("pattern", ["[prompt_words]", "../[number]", "a/b\\c:[number]", "[number]" + "é" * 400, "."])
def test_no_pattern_leaves_the_folder_or_the_length_of_a_name(pattern: str) -> None:
    request = replace(REQUEST, prompt="../../etc/passwd " * 50)
    name = file_name(pattern, request, 1, "Karras")
    assert name
    assert len(name.encode()) <= 180
    assert not set(name) & set('/\\:*?"<>|')
    assert Path(name).name == name
    assert name not in (".", "..")


def test_a_folder_that_cannot_be_written_gets_a_sentence(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OutputError, match=r"could not be saved in .*file.*Settings"):
        save(tmp_path, Settings(output_folder=str(blocked)))


def test_the_json_chunk_is_json(tmp_path: Path) -> None:
    with Image.open(save(tmp_path, Settings())) as picture:
        assert isinstance(picture, PngImageFile)
        assert json.loads(picture.text["atelier"])["prompt"] == REQUEST.prompt
