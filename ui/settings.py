"""The Settings tab, made from the schema of `backend.settings.Settings`: a new setting needs no line here."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from backend.app import App
from backend.errors import UserError
from backend.sampling.samplers import SAMPLER_NAMES
from backend.sampling.schedules import SCHEDULE_NAMES
from backend.settings import Settings
from ui.form import SHORT_EVENT
from ui.generate import may_here
from ui.pieces import notice, piece

CHOICES = {"default_sampler": SAMPLER_NAMES, "default_schedule": SCHEDULE_NAMES}
WORDS = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP"}
ELSEWHERE = {"checkpoint"}  # set on top of the page, where it is chosen
LONG_TEXT = 1000  # characters that a text may have before it gets several lines


def build(app: App, tab: gr.Tab, saved: Callable[[], None]) -> None:
    """Lay the tab out; `saved()` is called when settings have changed, and then renews what newly opened pages show.

    Every window knows what it was shown (`shown`): it saves only what was changed in it, and takes up what another
    window changed whenever the tab is opened.
    """
    schema = Settings.model_json_schema()["properties"]
    sections = dict.fromkeys(row["section"] for name, row in schema.items() if name not in ELSEWHERE)
    components: dict[str, Component] = {}
    with gr.Column(elem_id="settings_page"):
        with gr.Row(elem_id="settings_head"):
            piece("settings_search.html")
            save = gr.Button("Save settings", variant="primary", elem_id="settings_submit")
        shown = gr.Textbox(_json(app.settings.value), visible="hidden", elem_id="settings_shown")
        message, done = notice("settings_message"), notice("settings_done", good=True)
        piece("settings_problems.html", "settings_problems", script="problems", value=app.settings.problems)
        with gr.Column(elem_id="settings_sections"):
            for section in sections:
                with gr.Column(elem_classes="settings-section"):
                    gr.HTML(f"<h2>{section}</h2>", js_on_load=None, apply_default_css=False)
                    for name, row in schema.items():
                        if row["section"] == section and name not in ELSEWHERE:
                            components[name] = _component(name, row, getattr(app.settings.value, name))
            places = piece("settings_places.html", "settings_places", script="places", value=_places(app))

    def submit(request: gr.Request, base: str, **values: Any) -> dict[Block, Any]:
        before = json.loads(base)
        try:
            may_here(request, "manage")
            given = _given(values, schema)
            app.settings.update({name: value for name, value in given.items() if value != before[name]})
        except UserError as error:
            return {message: str(error), done: ""}
        except OSError as error:
            return {message: f"The settings could not be written: {error.strerror or error}.", done: ""}
        now = app.settings.value
        for name, component in components.items():
            component.value = getattr(now, name)
        shown.value = _json(now)
        places.value = _places(app)
        saved()
        told = {message: "", done: "Saved. New defaults stand in newly opened pages.", places: places.value}
        return {**told, shown: shown.value, **{component: component.value for component in components.values()}}

    def look(base: str, **values: Any) -> dict[Block, Any]:
        """What another window has saved; what is being edited in this one stays."""
        before, now = json.loads(base), app.settings.value.model_dump()
        untouched = {name: component for name, component in components.items() if values[name] == before[name]}
        fresh = {component: now[name] for name, component in untouched.items()}
        return {shown: json.dumps({**before, **{name: now[name] for name in untouched}}), **fresh}

    fields: dict[str, Block] = {**components, "base": shown}
    every = [shown, *components.values()]
    save.click(submit, None, [message, done, places, *every], inputs_kwargs=fields, preprocess=False, **SHORT_EVENT)
    tab.select(look, None, every, inputs_kwargs=fields, preprocess=False, **SHORT_EVENT)


def _json(settings: Settings) -> str:
    return json.dumps(settings.model_dump())


def _component(name: str, row: Mapping[str, Any], value: Any) -> Component:
    shown = {
        "value": value,
        "label": row["title"],
        "info": _info(row),
        "elem_id": f"setting_{name}",
        "elem_classes": "setting",
    }
    short = {**shown, "elem_classes": "setting short"}  # two of them stand side by side
    if name in CHOICES:
        return gr.Dropdown(list(CHOICES[name]), **short)
    if "enum" in row:
        choices: list[Any] = [(WORDS.get(choice, choice), choice) for choice in row["enum"]]
        return gr.Radio(choices, **shown)
    match row["type"]:
        case "boolean":
            return gr.Checkbox(**shown)
        case "integer" | "number":
            return gr.Number(**short, step=row.get("multipleOf", 1 if row["type"] == "integer" else 0.5))
    return gr.Textbox(**shown, lines=3 if row.get("maxLength", 0) > LONG_TEXT else 1)


def _info(row: Mapping[str, Any]) -> str | None:
    """The line under a setting: its description, else what is allowed."""
    if "description" in row:
        return row["description"]
    if "maximum" not in row:
        return None
    steps = f", in steps of {row['multipleOf']}" if "multipleOf" in row else ""
    return f"{row['minimum']:g} to {row['maximum']:g}{steps}"


def _given(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        if value is None:
            raise UserError(f"{schema[name]['title']} is empty; it needs a value.")
    return dict(values)


def _places(app: App) -> list[dict[str, str]]:
    data = app.options.data_dir
    return [
        {"what": "Data folder", "where": str(data)},
        {"what": "Pictures", "where": str(app.outputs.folder)},
        {"what": "These settings", "where": str(data / "settings.json")},
    ]
