"""Colour schemes as words for the prompt: a page of cards, and one drawn for each picture."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from PIL import ImageColor, ImageDraw

from backend.extension_api import Card, ExtensionApi, Field, GenerationRequest, Image, Params, Turn, UserError, hook

Palette = Sequence[tuple[str, str]]  # words, each with its colour as #rrggbb
SHIPPED = Path(__file__).parent / "palettes.json"
SIDE = 384  # pixels of a card's picture


class Palettes(Params):
    """Which palette goes into the prompt."""

    enabled: bool = Field(default=False, title="Palettes")
    name: str = Field(default="", title="Palette", description="Its name; empty for one that the seed draws.")
    drawn: Literal["One for each picture", "The same for all"] = Field(default="One for each picture", title="Drawn")


class Box:
    """All palettes there are: those that are shipped, and a person's own, in whose data folder the pictures lie."""

    def __init__(self, folder: Path):
        self._folder = folder

    def all(self) -> dict[str, Palette]:
        """Every palette by its name. Raises `UserError` for a file of one's own that cannot be read."""
        own = self._folder / SHIPPED.name
        return {**_read(SHIPPED), **(_read(own) if own.is_file() else {})}

    def cards(self) -> list[Card]:
        """A card for each."""
        return [
            Card(title=name, insert=words(palette), subtitle=words(palette), picture=self._drawn(palette))
            for name, palette in sorted(self.all().items())
        ]

    def _drawn(self, palette: Palette) -> Path:
        """The card's picture: a file whose name says what is on it, so that a changed palette gets another one."""
        colours = [colour.lstrip("#") for _, colour in palette]
        path = self._folder / "pictures" / f"{'-'.join(colours)}.png"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            swatches([colour for _, colour in palette]).save(path)
        return path


def words(palette: Palette) -> str:
    """What goes into a prompt."""
    *first, last = [word for word, _ in palette]
    return f"colour palette of {', '.join(first)} and {last}" if first else f"colour palette of {last}"


def swatches(colours: Sequence[str]) -> Image.Image:
    """Bands of the colours, each narrower than the one before, with a disc of the last on the first."""
    picture = Image.new("RGB", (SIDE, SIDE), colours[0])
    draw = ImageDraw.Draw(picture)
    left = 0.0
    for number, colour in enumerate(colours):
        draw.rectangle((round(left), 0, SIDE, SIDE), fill=colour)
        left += (SIDE - left) * (0.5 if number == 0 else 0.45)
    draw.ellipse((SIDE * 0.12, SIDE * 0.36, SIDE * 0.4, SIDE * 0.64), fill=colours[-1])
    return picture


@hook
def register(api: ExtensionApi) -> None:
    """A page of cards, and parameters."""
    api.params(Palettes)
    api.card_page("Palettes", api.keep(Box(api.data_dir)).cards)


@hook
def on_prompts(request: GenerationRequest, turn: Turn) -> list[GenerationRequest]:
    """The request with the words of a palette; where each picture has its own, a request for each of them. The words
    are in the prompt then, and the extension is no part of what is left to do."""
    chosen = turn.params(Palettes)
    palettes = turn.kept(Box).all()
    done = replace(request, extras={id: values for id, values in request.extras.items() if id != "palette"})
    if chosen.name:
        name = next((name for name in palettes if name.casefold() == chosen.name.strip().casefold()), None)
        if name is None:
            raise UserError(f"There is no palette called {chosen.name!r}; there are {', '.join(sorted(palettes))}.")
        return [_with(done, palettes[name])]
    draws = random.Random(request.seed)
    if chosen.drawn == "The same for all" or request.pictures == 1:
        return [_with(done, palettes[draws.choice(sorted(palettes))])]
    singles = [
        done.single(each.seed, each.variation)
        for batch in range(request.batch_count)
        for each in request.picture_seeds(batch)
    ]
    return [_with(single, palettes[draws.choice(sorted(palettes))]) for single in singles]


def _with(request: GenerationRequest, palette: Palette) -> GenerationRequest:
    return replace(request, prompt=", ".join(filter(None, (request.prompt.rstrip(" ,"), words(palette)))))


def _read(path: Path) -> Mapping[str, Palette]:
    """Palettes of a file. Raises `UserError` for anything that is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        palettes = {str(name): [(str(word), str(colour)) for word, colour in rows] for name, rows in found.items()}
        for rows in palettes.values():
            if not rows:
                raise ValueError("a palette has no colour")
            for _, colour in rows:
                ImageColor.getrgb(colour)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path.name} cannot be read as palettes ({error}); the README says how one looks.") from error
    return palettes
