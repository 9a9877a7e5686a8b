"""The score's captions, its tally and its sheet, on drawn pictures; and once through the real engine."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from starter.judge import judge
from starter.scenes import SUBJECTS, Scene, draw, held_out
from starter.score import (
    LABEL,
    TILE,
    Asked,
    Judged,
    asked,
    by_subject,
    figures,
    main,
    pictures,
    report,
    score,
    shares,
    sheet,
)


@pytest.fixture(scope="module")
def wanted() -> list[Asked]:
    """Every triple that is held out, once."""
    return asked(len(held_out()))


def drawn(scene: Scene, seed: int) -> Image.Image:
    return draw(scene, np.random.default_rng(seed), 64)


@pytest.fixture(scope="module")
def perfect(wanted: list[Asked]) -> list[Judged]:
    """The score of a painter who draws what was asked for."""
    return score(wanted, [drawn(one.scene, one.seed) for one in wanted])


@pytest.fixture(scope="module")
def red_circles(wanted: list[Asked]) -> list[Judged]:
    """The score of a painter who draws a red circle on white, whatever was asked for."""
    circle = drawn(Scene(subject="circle", colour="red", background="white"), 0)
    return score(wanted, [circle] * len(wanted))


def test_two_hundred_captions_word_every_held_out_triple_about_twice() -> None:
    captions = asked(200)
    times = Counter((one.scene.subject, one.scene.colour, one.scene.background) for one in captions)
    assert set(times) == held_out()
    assert set(times.values()) == {1, 2}
    assert [one.seed for one in captions] == list(range(200))
    assert len({one.prompt for one in captions}) == 200


def test_the_first_wording_is_a_sentence_and_the_second_a_list() -> None:
    count = len(held_out())
    captions = asked(2 * count)
    orange = next(i for i, one in enumerate(captions) if one.scene.colour == "orange")
    scene = captions[orange].scene
    assert captions[orange].prompt == f"an orange {scene.subject} on a {scene.background} background"
    assert captions[orange + count].scene == scene
    assert captions[orange + count].prompt == f"orange {scene.subject}, {scene.background} background"


def test_a_short_score_meets_every_subject() -> None:
    assert {one.scene.subject for one in asked(len(SUBJECTS))} == set(SUBJECTS)


def test_a_perfect_painter_reaches_every_aim(perfect: list[Judged]) -> None:
    assert all(share >= 99 for share in shares(perfect).values())
    assert all(figure.ok for figure in figures(perfect))


def test_a_painter_of_red_circles_gets_what_the_captions_imply(wanted: list[Asked], red_circles: list[Judged]) -> None:
    implied = {
        "colour": [one.scene.colour == "red" for one in wanted],
        "background": [one.scene.background == "white" for one in wanted],
        "subject": [one.scene.subject == "circle" for one in wanted],
        "all_three": [one.prompt == "a red circle on a white background" for one in wanted],
    }
    assert shares(red_circles) == {name: pytest.approx(100 * np.mean(hits)) for name, hits in implied.items()}
    assert not any(figure.ok for figure in figures(red_circles))
    assert by_subject(red_circles)["circle"]["subject"] == 100
    assert by_subject(red_circles)["boat"]["subject"] == 0


def test_the_lines_say_aim_and_floor(perfect: list[Judged]) -> None:
    aims = [str(figure).partition("(")[2] for figure in figures(perfect)]
    assert aims == [
        "aim >= 95, floor 85) ok", "aim >= 95, floor 85) ok", "aim >= 90, floor 75) ok", "aim >= 80) ok"
    ]  # fmt: skip


def test_a_missing_picture_is_no_score(wanted: list[Asked]) -> None:
    with pytest.raises(ValueError, match="shorter"):
        score(wanted[:2], [drawn(wanted[0].scene, 0)])


def test_the_sheet_shows_every_picture_and_marks_the_wrong_ones(wanted: list[Asked]) -> None:
    right, wrong = wanted[:2]
    judged = score([right, wrong], [drawn(right.scene, 0), Image.new("RGB", (64, 64), "gray")])
    paper = np.asarray(sheet(judged))
    assert paper.shape == (TILE + LABEL + 4, 2 * (TILE + 4), 3)
    shown = np.asarray(judged[0].picture.resize((TILE, TILE)))
    np.testing.assert_array_equal(paper[2 : TILE + 2, 2 : TILE + 2], shown)
    labels = paper[TILE + 2 :].astype(int)
    red = labels[..., 0] - labels[..., 1] > 100
    assert not red[:, : TILE + 4].any()
    assert red[:, TILE + 4 :].any()


def test_the_report_is_json_and_agrees_with_the_figures(red_circles: list[Judged]) -> None:
    written = json.loads(json.dumps(report(red_circles, Path("models/starter.safetensors"), 64)))
    assert written["checkpoint"] == "starter.safetensors"
    assert {figure["name"]: figure["value"] for figure in written["figures"]} == shares(red_circles)
    subjects = [picture["right"]["subject"] for picture in written["pictures"]]
    assert 100 * np.mean(subjects) == pytest.approx(shares(red_circles)["subject"])
    assert sum(own["pictures"] for own in written["subjects"].values()) == len(red_circles)


def test_the_command_scores_a_checkpoint_through_the_engine(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"json": tmp_path / "score.json", "sheet": tmp_path / "deep" / "sheet.png"}
    flags = [f"--{name}={path}" for name, path in files.items()]
    with pytest.raises(SystemExit) as ended:
        main([f"--checkpoint={tiny_checkpoint}", "--captions=2", "--size=64", *flags])
    # Random networks paint no subject.
    assert ended.value.code == 1
    assert capsys.readouterr().out.splitlines()[-4:][2].startswith("subject 0.0 % (aim >= 90, floor 75) short")
    [again] = pictures(asked(1), tiny_checkpoint, 64)
    shown = Image.open(files["sheet"]).crop((2, 2, TILE + 2, TILE + 2))
    assert again.resize((TILE, TILE)).tobytes() == shown.tobytes()
    seen = json.loads(files["json"].read_text(encoding="utf-8"))["pictures"][0]["seen"]
    assert judge(again).background == seen["background"]
