"""Prompt matrices: a prompt with every combination of its optional parts."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from backend.extension_api import (
    LARGEST_SEED,
    MOST_CELLS,
    Cell,
    ExtensionApi,
    Field,
    GenerationRequest,
    Grid,
    InvalidRequest,
    Line,
    Look,
    Params,
    Script,
    ScriptTurn,
    Several,
    Side,
    hook,
)

TITLE = "Prompt matrix"
JOINERS = {"comma": ", ", "space": " "}
_SIGN = re.compile(r"\\.|[\[\]{}|]", re.DOTALL)


class Matrix(Params):
    """What a prompt matrix is asked for, in AUTOMATIC1111's order: parts `at_start` stand in front of the first one;
    with `different_seeds` the seed counts up."""

    at_start: bool = Field(
        default=False,
        title="Parts stand at the start of the prompt",
        json_schema_extra={"suffix": "prompt_matrix_put_at_start"},
    )
    different_seeds: bool = Field(
        default=False,
        title="Another seed for each picture",
        json_schema_extra={"suffix": "prompt_matrix_different_seeds"},
    )
    prompt: Literal["positive", "negative"] = Field(
        default="positive",
        title="Prompt",
        json_schema_extra={"suffix": "prompt_matrix_prompt_type", "row": "words", "segments": True},
    )
    joiner: Literal["comma", "space"] = Field(
        default="comma",
        title="Joined by",
        json_schema_extra={"suffix": "prompt_matrix_variations_delimiter", "row": "words", "segments": True},
    )
    margin: int = Field(
        default=0,
        ge=0,
        le=500,
        title="Grid margins (px)",
        json_schema_extra={"suffix": "prompt_matrix_margin_size", "step": 2},
    )

    def grid(self, request: GenerationRequest) -> Grid:
        """The grid of a request whose prompt is ``always|perhaps|perhaps too``. Each half of the optional parts is an
        axis. Raises `InvalidRequest` for a prompt without any, and for more than are allowed."""
        name = "prompt" if self.prompt == "positive" else "negative_prompt"
        always, *optional = parts_of(getattr(request, name))
        if not optional:
            raise InvalidRequest(f"The {self.prompt} prompt has no | in it, so there is nothing to combine.")
        if len(optional) > MOST_CELLS.bit_length() - 1:
            raise InvalidRequest(
                f"{len(optional)} optional parts have {2 ** len(optional):,} combinations; {MOST_CELLS:,} are allowed."
            )
        base = replace(request.resolved(), batch_size=1, batch_count=1)
        wide = (len(optional) + 1) // 2
        cells = []
        for number, chosen in enumerate(_combinations(optional)):
            words = [always, *chosen] if not self.at_start else [*chosen, always]
            seed = (base.seed + number * self.different_seeds) % (LARGEST_SEED + 1)
            made = replace(base, seed=seed, **{name: JOINERS[self.joiner].join(words)})
            cells.append(Cell(x=number % 2**wide, y=number // 2**wide, z=0, request=made))
        return Grid(
            script=TITLE,
            base=replace(request, seed=base.seed),
            cells=tuple(cells),
            x=_side("Parts", optional[:wide]),
            y=_side("More parts", optional[wide:]),
            z=Side(),
            look=Look(margin=self.margin),
        )


@hook
def register(api: ExtensionApi) -> None:
    api.script(
        Script(
            title=TITLE,
            kind=Matrix,
            plan=_plan,
            grid=True,
            hint="a boat|red|at dusk: every combination of what stands behind a |",
        )
    )


def _plan(request: GenerationRequest, params: Matrix, _turn: ScriptTurn) -> Several:
    return Several(grid=params.grid(request))


def parts_of(prompt: str) -> list[str]:
    """A prompt at its ``|``, but for those in brackets, which are prompt editing and choices."""
    parts, begun = [], 0
    depth: list[str] = []
    closes = {"]": "[", "}": "{"}
    for found in _SIGN.finditer(prompt):
        sign = found[0]
        if sign in "[{":
            depth.append(sign)
        elif sign in closes and depth and depth[-1] == closes[sign]:
            depth.pop()
        elif sign == "|" and not depth:
            parts.append(prompt[begun : found.start()])
            begun = found.end()
    return [part.strip().strip(",").strip() if number else part for number, part in enumerate([*parts, prompt[begun:]])]


def _combinations(parts: list[str]) -> Iterator[list[str]]:
    """Without any, with the first, with the second, with both, and so on."""
    for number in range(2 ** len(parts)):
        yield [part for place, part in enumerate(parts) if number >> place & 1]


def _side(name: str, parts: list[str]) -> Side:
    legends = tuple(
        tuple(Line(text=part, active=bool(number >> place & 1)) for place, part in enumerate(parts))
        for number in range(2 ** len(parts))
    )
    return Side(name=name, text=" | ".join(parts), legends=legends) if parts else Side()
