"""The fields of the scripts: ways to many pictures from one form. None of them is a value of a request."""

from typing import Any

import gradio as gr

from backend.grids.axes import AXES, NOTHING
from backend.grids.grid import MARGIN_RANGE
from backend.grids.matrix import JOINERS, PROMPTS
from backend.grids.matrix import SCRIPT as MATRIX
from backend.grids.plot import SCRIPT as PLOT
from backend.grids.prompt_lines import PLACES
from backend.grids.styled import NAME as STYLES
from ui.fields import Field

NONE, LINES = "None", "Prompts from file or textbox"
SCRIPTS = (NONE, MATRIX, LINES, PLOT)
LETTERS = "xyz"
VALUES_HINT = "1, 3, 8 · 1-10 (+2) · 1-10 [5]"


def _field(name: str, suffix: str, said: str, make: Any, value: Any, **options: Any) -> Field:
    """`name` is that of the script's own value; ids are AUTOMATIC1111's, behind the tab's name."""
    return Field(name=f"script.{name}", suffix=suffix, make=make, default=lambda _: value, options=options, said=said)


def _flag(name: str, suffix: str, said: str, *, on: bool = False) -> Field:
    return _field(name, suffix, said, gr.Checkbox, on)


def _axis(letter: str) -> tuple[Field, Field]:
    kinds = [*(axis.name for axis in AXES), STYLES]
    kind = "Seed" if letter == "x" else NOTHING
    return (
        _field(f"{letter}_type", f"xyz_plot_{letter}_type", f"{letter.upper()} type", gr.Dropdown, kind, choices=kinds),
        _field(
            f"{letter}_values",
            f"xyz_plot_{letter}_values",
            f"{letter.upper()} values",
            gr.Textbox,
            "",
            lines=1,
            max_lines=4,
            placeholder=VALUES_HINT,
        ),
    )


_MARGINS: dict[str, Any] = {"minimum": MARGIN_RANGE[0], "maximum": MARGIN_RANGE[1], "step": 2, "buttons": []}
SCRIPT_FIELDS = (
    Field(
        name="script",
        suffix="script_list",
        make=gr.Dropdown,
        default=lambda _: NONE,
        options={"choices": list(SCRIPTS)},
        said="Script",
    ),
    *(field for letter in LETTERS for field in _axis(letter)),
    _flag("legend", "xyz_plot_draw_legend", "Draw legend", on=True),
    _flag("keep_random", "xyz_plot_no_fixed_seeds", "Keep -1 for seeds"),
    *(_flag(f"vary_{x}", f"xyz_plot_vary_seeds_{x}", f"Vary seeds for {x.upper()}") for x in LETTERS),
    _flag("sub_grids", "xyz_plot_include_sub_grids", "Include sub grids"),
    _field("margin", "xyz_plot_margin_size", "Grid margins (px)", gr.Slider, 0, **_MARGINS),
    _field("matrix_prompt", "prompt_matrix_prompt_type", "Prompt", gr.Radio, PROMPTS[0], choices=list(PROMPTS)),
    _field("matrix_joiner", "prompt_matrix_variations_delimiter", "Joined by", gr.Radio, "comma", choices=[*JOINERS]),
    _flag("matrix_at_start", "prompt_matrix_put_at_start", "Parts stand at the start of the prompt"),
    _flag("matrix_seeds", "prompt_matrix_different_seeds", "Another seed for each picture"),
    _field("matrix_margin", "prompt_matrix_margin_size", "Grid margins (px)", gr.Slider, 0, **_MARGINS),
    _field(
        "lines",
        "prompts_from_file_or_textbox_prompt_txt",
        "Prompts, one a line",
        gr.Textbox,
        "",
        lines=4,
        max_lines=14,
        placeholder="a red boat\n--prompt a blue boat --steps 12",
    ),
    _flag("lines_iterate", "prompts_from_file_or_textbox_checkbox_iterate", "Count the seed up with every line"),
    _flag("lines_same", "prompts_from_file_or_textbox_checkbox_iterate_batch", "The same random seed for all lines"),
    _field(
        "lines_place",
        "prompts_from_file_or_textbox_prompt_position",
        "Lines go to the prompt's",
        gr.Radio,
        PLACES[0],
        choices=list(PLACES),
    ),
)
