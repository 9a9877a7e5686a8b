"""Prompts from a file or a text box: one request a line, each with what AUTOMATIC1111's flags change in it."""

import csv
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from backend.extension_api import (
    LARGEST_SEED,
    MOST_CELLS,
    ExtensionApi,
    Field,
    GenerationRequest,
    InvalidRequest,
    Params,
    Script,
    ScriptTurn,
    Several,
    Variation,
    find_axis,
    hook,
    unknown_name,
)

SMALLEST_SIDE = 8  # of a picture whose noise is resized
_FLAG = "--"


def _whole(text: str) -> int:
    return int(text)


def _flag(text: str) -> bool:
    return text.casefold() == "true"


PROMPTS = ("prompt", "negative_prompt")
FLAGS: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {
        **dict.fromkeys(("sd_model", "sampler_name", "styles", "outpath_samples", "outpath_grids"), str),
        **dict.fromkeys(("prompt", "negative_prompt", "prompt_for_display"), str),
        **dict.fromkeys(("steps", "seed", "subseed", "batch_size", "n_iter", "width", "height"), _whole),
        **dict.fromkeys(("seed_resize_from_h", "seed_resize_from_w"), _whole),
        **dict.fromkeys(("cfg_scale", "subseed_strength"), float),
        **dict.fromkeys(("restore_faces", "tiling", "do_not_save_samples", "do_not_save_grid"), _flag),
    }
)
FIELDS: Mapping[str, str] = MappingProxyType(
    {
        **{name: name for name in ("steps", "seed", "batch_size", "cfg_scale", "width", "height", "tiling")},
        "n_iter": "batch_count",
        "sd_model": "checkpoint",
    }
)
# Flags that change no picture, and why nothing comes of them.
IDLE: Mapping[str, str] = MappingProxyType(
    {
        "outpath_samples": "pictures go where Settings say",
        "outpath_grids": "pictures go where Settings say",
        "do_not_save_samples": "every picture is saved",
        "do_not_save_grid": "no grid is made of these pictures",
        "prompt_for_display": "pictures are shown with the prompt they have",
    }
)


class PromptLines(Params):
    """What is asked for, in AUTOMATIC1111's order. Without a seed, `iterate` and `same_seed` choose one for the first
    line; `iterate` counts it up by the pictures of a request with every line. The line's prompt is put at the `place`
    of the form's, if that has one."""

    iterate: bool = Field(
        default=False,
        title="Count the seed up with every line",
        json_schema_extra={"suffix": "prompts_from_file_or_textbox_checkbox_iterate"},
    )
    same_seed: bool = Field(
        default=False,
        title="The same random seed for all lines",
        json_schema_extra={"suffix": "prompts_from_file_or_textbox_checkbox_iterate_batch"},
    )
    place: Literal["start", "end"] = Field(
        default="start",
        title="Lines go to the prompt's",
        json_schema_extra={"suffix": "prompts_from_file_or_textbox_prompt_position", "segments": True},
    )
    text: str = Field(
        default="",
        title="Prompts, one a line",
        json_schema_extra={
            "suffix": "prompts_from_file_or_textbox_prompt_txt",
            "lines": 4,
            "placeholder": "a red boat\n--prompt a blue boat --steps 12",
            "file": True,
        },
    )

    def requests(self, request: GenerationRequest, turn: ScriptTurn) -> Several:
        """One request for each line that is not empty, of the form's `request`. Raises `InvalidRequest` with the number
        of a line that cannot be read or that asks for what cannot be."""
        if self.iterate or self.same_seed:
            request = replace(request, seed=request.resolved().seed)
        remarks: dict[str, None] = {}
        found: list[GenerationRequest] = []
        for number, line in enumerate(self.text.removeprefix("\ufeff").splitlines(), start=1):
            if not line.strip():
                continue
            if len(found) == MOST_CELLS:
                raise InvalidRequest(f"This list has more than {MOST_CELLS:,} prompts, which are allowed.")
            try:
                given = read_line(line.strip())
                remarks |= dict.fromkeys(f"--{name} is left out: {why}." for name, why in IDLE.items() if name in given)
                found.append(self._applied(request, given, turn))
            except InvalidRequest as error:
                raise InvalidRequest(f"Line {number}: {error}") from error
            if self.iterate:
                request = replace(request, seed=(request.seed + request.pictures) % (LARGEST_SEED + 1))
        if not found:
            raise InvalidRequest("This list has no prompts: write one a line.")
        return Several(requests=tuple(found), remarks=tuple(remarks))

    def _applied(self, request: GenerationRequest, given: Mapping[str, object], turn: ScriptTurn) -> GenerationRequest:
        if given.get("restore_faces"):
            raise InvalidRequest("--restore_faces cannot be done: there is no face restoration.")
        changes = {FIELDS[name]: value for name, value in given.items() if name in FIELDS}
        for name in PROMPTS:
            if name in given:
                changes[name] = self._joined(str(given[name]), getattr(request, name))
        made = replace(request, **changes, **_variation(request, given), **_resized(request, given))
        if "sampler_name" in given:  # as an axis reads it, with a schedule behind it or without
            made = find_axis("Sampler").apply(made, str(given["sampler_name"]), ())
        return turn.with_styles(made, _names(str(given.get("styles", ""))))

    def _joined(self, line: str, form: str) -> str:
        if not line or not form:
            return line or form
        return f"{line} {form}" if self.place == "start" else f"{form} {line}"


@hook
def register(api: ExtensionApi) -> None:
    api.script(Script(title="Prompts from file or textbox", kind=PromptLines, plan=_plan))


def _plan(request: GenerationRequest, params: PromptLines, turn: ScriptTurn) -> Several:
    return params.requests(request, turn)


def read_line(line: str) -> dict[str, object]:
    """What a line says: a prompt, or flags with their values, of which those of prompts need no quotes. Raises
    `InvalidRequest` for a flag that there is not, or a value that it cannot have."""
    if _FLAG not in line:
        return {"prompt": line}
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidRequest(
            f'it has flags and cannot be read ({str(error).lower()}): quote it as in --prompt "a boat".'
        ) from error
    found: dict[str, object] = {}
    at = 0
    while at < len(words):
        word = words[at]
        name = word.removeprefix(_FLAG)
        if not word.startswith(_FLAG):
            raise InvalidRequest(f"{word[:40]!r} stands where a flag should: write --prompt in front of a prompt.")
        if name not in FLAGS:
            raise InvalidRequest(unknown_name("flag", name, FLAGS))
        end = at + 2
        if name in PROMPTS:
            while end < len(words) and not words[end].startswith(_FLAG):
                end += 1
        if at + 1 >= len(words):
            raise InvalidRequest(f"--{name} has no value.")
        text = " ".join(words[at + 1 : end])
        try:
            found[name] = FLAGS[name](text)
        except ValueError as error:
            kind = "a whole number" if FLAGS[name] is _whole else "a number"
            raise InvalidRequest(f"--{name} needs {kind}, not {text[:40]!r}.") from error
        at = end
    return found


def _names(text: str) -> list[str]:
    """Names between commas; one with a comma in it stands in double quotes. Raises `InvalidRequest`."""
    try:
        return [name.strip() for row in csv.reader([text], skipinitialspace=True) for name in row if name.strip()]
    except csv.Error as error:
        raise InvalidRequest(f"--styles has {text[:40]!r}, which cannot be read as a list: {error}.") from error


def _variation(request: GenerationRequest, given: Mapping[str, object]) -> dict[str, Variation]:
    flags = {"subseed": "seed", "subseed_strength": "strength"}
    changes = {field: given[name] for name, field in flags.items() if name in given}
    return {"variation": replace(request.variation or Variation(), **changes)} if changes else {}


def _resized(request: GenerationRequest, given: Mapping[str, object]) -> dict[str, tuple[int, int] | None]:
    """Both sides, where one is given the other is that of the picture; 0 or less means none, as in AUTOMATIC1111."""
    sides = [given.get("seed_resize_from_w"), given.get("seed_resize_from_h")]
    if sides == [None, None]:
        return {}
    now = request.seed_resize or (request.width, request.height)
    width, height = (old if side is None else int(str(side)) for side, old in zip(sides, now, strict=True))
    return {"seed_resize": None if min(width, height) < SMALLEST_SIDE else (width, height)}
