import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from backend.errors import OutputError
from backend.infotext.provenance import FileHashes
from backend.infotext.write import write_infotext
from backend.init_image import HiresFix, InitImage, Inpainting, SoftInpainting
from backend.outputs import EXIF_IFD, IMAGE_DESCRIPTION, USER_COMMENT, Outputs, file_name
from backend.request import GenerationRequest
from backend.settings import Settings

REQUEST = GenerationRequest(
    prompt="a red boat, Zoë", negative_prompt="blue", seed=7, checkpoint="sub/starter", width=64
)
INFOTEXT = write_infotext(REQUEST, FileHashes(checkpoint="0123456789"), schedule="Karras")


def save(folder: Path, settings: Settings, request: GenerationRequest = REQUEST, infotext: str = INFOTEXT) -> Path:
    picture = Image.linear_gradient("L").convert("RGB")
    return Outputs(lambda: settings, folder).save(picture, request, infotext=infotext, schedule="Karras")


def test_infotext_is_written_as_a1111_writes_it() -> None:
    assert INFOTEXT.splitlines() == [
        "a red boat, Zoë",
        "Negative prompt: blue",
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 7, Size: 64x512, "
        "Model hash: 0123456789, Model: starter, RNG: NV, Version: Atelier 0.1.0",
    ]


def test_infotext_leaves_out_what_is_not_set_and_quotes_what_needs_it() -> None:
    request = replace(REQUEST, negative_prompt="", clip_skip=2, cfg_scale=7.5, checkpoint="odd, name: x")
    lines = write_infotext(request, FileHashes(checkpoint="0"), schedule="Automatic").splitlines()
    assert len(lines) == 2
    assert 'CFG scale: 7.5, Seed: 7, Size: 64x512, Model hash: 0, Model: "odd, name: x", Clip skip: 2, RNG' in lines[1]


def parameters(request: GenerationRequest, *, edits: bool = False, inpaints: bool = False) -> str:
    text = write_infotext(request, FileHashes(checkpoint="0"), schedule="Karras", edits=edits, inpaints=inpaints)
    return text.splitlines()[-1]


def test_infotext_of_a_picture_that_began_with_one_has_a1111s_keys() -> None:
    inpainting = Inpainting(
        mask="b" * 64, mask_blur=8, inverted=True, area="Only masked", padding=48, masked_content="latent noise"
    )
    init = InitImage(picture="a" * 64, denoising_strength=0.85, inpainting=inpainting)
    request = replace(REQUEST, init=init)
    assert parameters(request).partition("Model: starter, ")[2] == (
        "Denoising strength: 0.85, RNG: NV, Mask mode: Inpaint not masked, Mask blur: 8, Inpaint area: Only masked, "
        "Masked area padding: 48, Masked content: latent noise, Version: Atelier 0.1.0"
    )
    assert "Conditional mask weight: 1.0, RNG" in parameters(request, inpaints=True)
    assert "CFG scale: 7, Image CFG scale: 1.5, Seed: 7" in parameters(request, edits=True)
    soft = replace(init, inpainting=Inpainting(mask="b" * 64, soft=SoftInpainting()), resize_mode="Crop and resize")
    assert parameters(replace(REQUEST, init=soft)).partition("RNG: NV, ")[2] == (
        "Mask blur: 4, Soft inpainting enabled: True, Soft inpainting schedule bias: 1, Soft inpainting preservation "
        "strength: 0.5, Soft inpainting transition contrast boost: 4, Soft inpainting mask influence: 0, Soft "
        "inpainting difference threshold: 0.5, Soft inpainting difference contrast: 2, Resize mode: Crop and resize, "
        "Version: Atelier 0.1.0"
    )


def test_infotext_of_hires_fix_has_a1111s_keys() -> None:
    hires = HiresFix(scale=1.5, steps=15, denoising_strength=0.45, cfg_scale=6, schedule="Exponential", prompt="a: b")
    assert parameters(replace(REQUEST, hires=hires)).partition("Model: starter, ")[2] == (
        'Denoising strength: 0.45, RNG: NV, Hires prompt: "a: b", Hires CFG Scale: 6, Hires schedule type: '
        "Exponential, Hires upscale: 1.5, Hires steps: 15, Hires upscaler: Latent, Version: Atelier 0.1.0"
    )


def test_pictures_that_began_with_one_lie_apart(tmp_path: Path) -> None:
    path = save(tmp_path, Settings(), replace(REQUEST, init=InitImage(picture="a" * 64)))
    assert path.parent.parent == tmp_path / "img2img"


def test_a_png_carries_both_recipes_and_every_pixel(tmp_path: Path) -> None:
    path = save(tmp_path, Settings())
    with Image.open(path) as picture:
        assert isinstance(picture, PngImageFile)
        assert picture.text["parameters"] == INFOTEXT
        assert GenerationRequest.from_json(picture.text["atelier"]) == REQUEST
        assert picture.tobytes() == Image.linear_gradient("L").convert("RGB").tobytes()
    assert path.parent.parent == tmp_path / "txt2img"
    assert path.name == "00000-7.png"


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
def test_other_formats_carry_both_recipes(format: Literal["jpeg", "webp", "avif"], tmp_path: Path) -> None:
    path = save(tmp_path, Settings(image_format=format))
    with Image.open(path) as picture:
        exif = picture.getexif()
        comment = exif.get_ifd(EXIF_IFD)[USER_COMMENT]
        assert comment[:8] == b"UNICODE\0"
        assert comment[8:].decode("utf-16-be") == INFOTEXT
        assert GenerationRequest.from_json(exif[IMAGE_DESCRIPTION]) == REQUEST


def test_a_text_file_lies_beside_the_picture_where_that_is_asked_for(tmp_path: Path) -> None:
    assert not list(save(tmp_path, Settings()).parent.glob("*.txt"))
    path = save(tmp_path, Settings(save_text=True))
    assert path.with_suffix(".txt").read_text(encoding="utf-8") == f"{INFOTEXT}\n"
    again = save(tmp_path, Settings(save_text=True, name_pattern="[seed]"))
    assert again.with_suffix(".txt").exists()


def test_a_text_file_that_cannot_be_written_costs_no_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outputs = Outputs(lambda: Settings(save_text=True), tmp_path)

    def made() -> Path:
        return outputs.save(Image.new("RGB", (8, 8)), REQUEST, infotext=INFOTEXT, schedule="Karras")

    taken = made().with_name("00001-7.txt")
    taken.write_text("somebody's")
    assert made() == taken.with_suffix(".png")
    assert taken.read_text() == "somebody's"
    assert "could not be written" in caplog.text


@pytest.mark.parametrize(("format", "suffix"), [("jpeg", ".png"), ("webp", ".webp"), ("avif", ".avif")])
def test_a_recipe_too_long_for_the_format_costs_neither_it_nor_the_picture(
    format: Literal["jpeg", "webp"], suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Exif in a JPEG ends at 64 KiB; the request alone has six bytes for each of these characters."""
    request = replace(REQUEST, prompt="夜" * 9000)
    infotext = write_infotext(request, FileHashes(checkpoint="0123456789"), schedule="Karras")
    path = save(tmp_path, Settings(image_format=format), request, infotext)
    assert path.suffix == suffix
    assert [record.message for record in caplog.records] == (
        ["This picture does not go into JPEG (EXIF data is too long): it is saved as PNG."] if suffix == ".png" else []
    )
    with Image.open(path) as picture:
        if isinstance(picture, PngImageFile):
            assert picture.text == {"parameters": infotext, "atelier": request.to_json()}
        else:
            exif = picture.getexif()
            assert exif.get_ifd(EXIF_IFD)[USER_COMMENT][8:].decode("utf-16-be") == infotext
            assert exif[IMAGE_DESCRIPTION] == request.to_json()


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


@pytest.mark.parametrize(
    "pattern",
    [
        "[seed]-[number]",
        "[date]-[number]",
        "[date]-[time] [number]-[seed]-[steps]",
        "[prompt_words]-[number]",
        "[sampler].[model_name].[number]",
        "2024-[number] (c) [cfg]",
        "[seed]",
        "é" * 190 + "[number]",
        "[number]" + "é" * 190,
        "[number] of [number]",
        " ([number]) seed ",
        "[prompt_words]" * 14,
        "[date][time][seed] [prompt_words] [sampler] [schedule] [steps] [cfg] [width] [height] [model_name] [number]",
    ],
)
def test_numbers_go_on_wherever_the_pattern_puts_them(pattern: str, tmp_path: Path) -> None:
    """Each `save` is a process of its own; seeds and dates are no running numbers."""
    settings = Settings(name_pattern=pattern)
    requests = [replace(REQUEST, seed=seed, prompt="12345 sheep") for seed in (4294967295, 7, 1234567)]
    names = [save(tmp_path, settings, request).stem for request in requests]
    assert [f"{k:05d}" in name for k, name in enumerate(names)] == [True, True, True], names


@pytest.mark.parametrize("pattern", ["[prompt_words]-[number]", "x" * 190 + "[number]", "[prompt_words]"])
def test_a_name_that_is_cut_keeps_its_number(pattern: str, tmp_path: Path) -> None:
    request = replace(REQUEST, prompt="夜の港に浮かぶ赤い小さな船と" * 20)
    names = [file_name(pattern, request, number, "Karras") for number in (1, 2, 123456)]
    assert len(set(names)) == 3
    assert all(len(name.encode()) <= 180 for name in names)
    paths = [save(tmp_path, Settings(name_pattern=pattern), request) for _ in range(3)]
    assert [path.stem for path in paths] == [file_name(pattern, request, number, "Karras") for number in range(3)]


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
