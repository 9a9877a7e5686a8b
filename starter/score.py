"""Score a checkpoint on captions its training never showed: ``python -m starter.score [--checkpoint FILE]``.

The captions word the held-out triples of `starter.scenes`, the product's own engine paints them with fixed settings and
seeds, and `starter.judge` says what each picture shows.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw, ImageFont

from backend.families import identify
from backend.model_manager.catalog import native_size
from backend.model_manager.header import read_header
from starter.judge import Agreement, Figure, Verdict, judge
from starter.scenes import SUBJECTS, Scene, captions, held_out

# Fixed, or two scores could not be compared.
SAMPLER = "DPM++ 2M"
SCHEDULE = "Automatic"
STEPS = 20
CFG_SCALE = 5.0
CAPTIONS = 200

ROOT = Path(__file__).parent.parent
CHECKPOINT = ROOT / "models" / "checkpoints" / "starter.safetensors"
SHEET = ROOT / "outputs" / "starter_score.png"
WORDINGS = (0, 5)  # of `captions`: "a red cat on a white background", then "red cat, white background"
AIMS = {"colour": (95, 85), "background": (95, 85), "subject": (90, 75), "all_three": (80, None)}  # percent: aim, floor
TILE = 128  # pixels of the sheet's smallest tile: a line of words must fit below it
COLUMNS = 20
LABEL = 26  # pixels under a picture of the sheet


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One caption of the score, the scene it words and the seed it is painted from."""

    scene: Scene
    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was asked, what was painted, and what the judge saw in it."""

    asked: Asked
    picture: Image.Image
    verdict: Verdict

    @property
    def right(self) -> Agreement:
        return self.verdict.agrees(self.asked.scene)


def asked(count: int = CAPTIONS) -> list[Asked]:
    """The first `count` captions: every held-out triple in one wording, then again in the other, and so on."""
    by_subject = {subject: sorted(t for t in held_out() if t[0] == subject) for subject in SUBJECTS}
    # In turn, so that a short score meets every subject too.
    longest = max(map(len, by_subject.values()))
    turns = [own[turn] for turn in range(longest) for own in by_subject.values() if turn < len(own)]
    chosen: list[Asked] = []
    for seed in range(count):
        subject, colour, background = turns[seed % len(turns)]
        scene = Scene(subject=subject, colour=colour, background=background)
        wording = WORDINGS[seed // len(turns) % len(WORDINGS)]
        chosen.append(Asked(scene=scene, prompt=captions(scene)[wording], seed=seed))
    return chosen


def pictures(wanted: Iterable[Asked], checkpoint: Path, size: int) -> Iterator[Image.Image]:
    """Paint every caption with the product's engine, in order, `size` x `size` pixels.

    Raises `RuntimeError` for a caption that ended without a picture."""
    # Here and not above: all the rest of this file needs no engine.
    from backend.app import App, Options
    from backend.request import GenerationRequest

    with TemporaryDirectory(prefix="score-") as folder:
        # Under a name of its own: of two checkpoints with one name the catalog knows only the first. A copy, because it
        # follows no link out of its folders.
        scored = Path(folder) / "checkpoints" / "scored.safetensors"
        scored.parent.mkdir()
        shutil.copyfile(checkpoint, scored)
        app = App(Options(data_dir=Path(folder), checkpoint_dirs=(scored.parent,)))
        app.start()
        try:
            for one in wanted:
                request = GenerationRequest(
                    prompt=one.prompt,
                    checkpoint=scored.stem,
                    seed=one.seed,
                    width=size,
                    height=size,
                    sampler=SAMPLER,
                    schedule=SCHEDULE,
                    steps=STEPS,
                    cfg_scale=CFG_SCALE,
                )
                job = app.queue.submit(request, owner="score")
                events = list(job.follow())
                if len(job.images) != 1:
                    raise RuntimeError(f"No picture for {one.prompt!r}: {events[-1]}")
                yield Image.open(job.images[0].path).convert("RGB")
        finally:
            app.close()


def native_side(checkpoint: Path) -> int:
    """The side of the pictures the checkpoint makes best, as its header says."""
    header = read_header(checkpoint)
    return native_size(header, identify(header, checkpoint.name))[0]


def score(wanted: Sequence[Asked], painted: Iterable[Image.Image]) -> list[Judged]:
    """Judge one picture for each caption, in order; a picture too few or too many is a ValueError."""
    return [
        Judged(asked=one, picture=picture, verdict=judge(picture)) for one, picture in zip(wanted, painted, strict=True)
    ]


def shares(judged: Sequence[Judged]) -> dict[str, float]:
    """Percent of the pictures that show what their caption asked for, by what was asked."""
    right = [one.right for one in judged]
    counts = {
        "colour": sum(r.colour for r in right),
        "background": sum(r.background for r in right),
        "subject": sum(r.subject for r in right),
        "all_three": sum(r.whole for r in right),
    }
    return {name: 100 * count / len(judged) for name, count in counts.items()}


def figures(judged: Sequence[Judged]) -> list[Figure]:
    """The score against its aims."""
    return [
        Figure(name=name, value=value, unit="%", aim=AIMS[name][0], floor=AIMS[name][1])
        for name, value in shares(judged).items()
    ]


def by_subject(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """`shares` of each subject that was asked for, and how many pictures those are."""
    groups = {subject: [one for one in judged if one.asked.scene.subject == subject] for subject in SUBJECTS}
    return {subject: {"pictures": len(group), **shares(group)} for subject, group in groups.items() if group}


def sheet(judged: Sequence[Judged]) -> Image.Image:
    """All pictures under each other: what was asked below each, and in red what the judge saw instead."""
    side = max(TILE, *(one.picture.width for one in judged))
    columns = min(COLUMNS, len(judged))
    rows = -(-len(judged) // columns)
    paper = Image.new("RGB", (columns * (side + 4), rows * (side + LABEL + 4)), "white")
    pen = ImageDraw.Draw(paper)
    font = ImageFont.load_default(10)
    for index, one in enumerate(judged):
        left, top = index % columns * (side + 4) + 2, index // columns * (side + LABEL + 4) + 2
        paper.paste(one.picture.resize((side, side)), (left, top))
        scene, seen = one.asked.scene, one.verdict
        pen.text((left, top + side), f"{scene.colour} {scene.subject}/{scene.background}", "black", font)
        if not one.right.whole:
            words = [word or "?" for word in (seen.colour, seen.subject, seen.background)]
            pen.text((left, top + side + LABEL // 2 - 1), "{} {}/{}".format(*words), "red", font)
    return paper


def report(judged: Sequence[Judged], checkpoint: Path, size: int) -> dict[str, object]:
    """Everything about a score that a later one may want to compare, as JSON values."""
    return {
        "checkpoint": checkpoint.name,
        "size": size,
        "sampler": SAMPLER,
        "schedule": SCHEDULE,
        "steps": STEPS,
        "cfg_scale": CFG_SCALE,
        "figures": [{**asdict(figure), "ok": figure.ok} for figure in figures(judged)],
        "subjects": by_subject(judged),
        "pictures": [
            {
                "prompt": one.asked.prompt,
                "seed": one.asked.seed,
                "seen": asdict(one.verdict),
                "right": asdict(one.right),
            }
            for one in judged
        ],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Paint, judge, print the figures (one line each, the subjects' lines before them) and write the contact sheet."""
    parser = argparse.ArgumentParser(description="Score a checkpoint on captions its training never showed.")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--size", type=int, help="pixels, each way (default: the checkpoint's native size)")
    parser.add_argument("--captions", type=int, default=CAPTIONS, help="how many (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write every picture's verdict there")
    parser.add_argument("--sheet", type=Path, default=SHEET, help="contact sheet (default: %(default)s)")
    options = parser.parse_args(arguments)
    wanted = asked(options.captions)
    size = options.size or native_side(options.checkpoint)
    judged = score(wanted, pictures(wanted, options.checkpoint, size))
    for subject, own in by_subject(judged).items():
        print(f"{subject:9}", "  ".join(f"{name} {value:.0f}" for name, value in own.items()))
    results = figures(judged)
    print("\n".join(map(str, results)))
    options.sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet(judged).save(options.sheet)
    if options.json:
        options.json.write_text(json.dumps(report(judged, options.checkpoint, size), indent=1), encoding="utf-8")
    sys.exit(not all(figure.ok for figure in results))


if __name__ == "__main__":
    main()
