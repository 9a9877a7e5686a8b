"""Parameters of extensions as fields of a form: made from their models, asked for, and filled again."""

from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal

import gradio as gr
import pytest
from pydantic import Field

from backend.app import App, Options
from backend.errors import UserError
from backend.extension_api import Params
from backend.request import GenerationRequest
from backend.settings import Settings
from tests.scripted import ScriptedWorker
from tests.test_extension_api import FRAME
from tests.test_extension_routes import added, write
from ui.extension_fields import Part, hints, parts_of, place, rows
from ui.form import Form
from ui.operations import shown_operations
from ui.script_fields import shown_scripts


class Wood(Enum):
    OAK = "oak"
    ASH = "ash"


class Every(Params):
    enabled: bool = Field(False, title="Whatever")
    width: int = Field(8, ge=0, le=64, title="Width", description="In `pixels` of ${this}.")
    share: float = Field(0.5, ge=0, le=1)
    large: float = Field(3, ge=0, le=30, json_schema_extra={"step": 0.25})
    count: int = Field(3, ge=1)
    free: float | None = None
    text: str = ""
    long: str = Field("", json_schema_extra={"lines": 4, "placeholder": "words"})
    colour: Literal["black", "white"] = "black"
    wood: Wood = Wood.OAK
    several: list[Literal["a", "b"]] = Field(default_factory=list)


def test_each_kind_of_parameter_has_its_field() -> None:
    made = {row.name: row for row in rows(Every, "extras.every", "ext_every", title="Everything")}
    looks = {name.rpartition(".")[2]: (row.make, row.options) for name, row in made.items()}
    assert looks["enabled"] == (gr.Checkbox, {})
    assert looks["width"] == (gr.Slider, {"minimum": 0, "maximum": 64, "step": 1, "buttons": []})
    assert looks["share"][1]["step"] == 0.01
    assert looks["large"][1]["step"] == 0.25
    assert looks["count"] == (gr.Number, {"minimum": 1, "step": 1})
    assert looks["free"] == (gr.Number, {"step": 0.01})
    assert looks["text"][1]["lines"] == 1
    assert (looks["long"][1]["lines"], looks["long"][1]["placeholder"]) == (4, "words")
    assert looks["colour"] == (gr.Dropdown, {"choices": ["black", "white"]})
    assert looks["wood"] == (gr.Dropdown, {"choices": ["oak", "ash"]})
    assert looks["several"] == (gr.Dropdown, {"choices": ["a", "b"], "multiselect": True})
    settings = Settings()
    assert made["extras.every.width"].default(settings) == 8
    assert made["extras.every.wood"].default(settings) == "oak"
    assert (made["extras.every.enabled"].label, made["extras.every.share"].label) == ("Everything", "Share")
    assert made["extras.every.width"].suffix == "ext_every_width"
    assert hints(Every, "extras.every") == {"extras.every.width": "In `pixels` of ${this}."}


def test_what_no_form_has_is_a_sentence() -> None:
    class Odd(Params):
        table: dict[str, int] = Field(default_factory=dict, title="The table")

    with pytest.raises(UserError, match="There is no field for 'The table'"):
        rows(Odd, "extras.odd", "ext_odd")


def placed(part: Part) -> Form:
    form = Form("txt2img", Settings(), {}, (), (part,))
    with gr.Blocks(analytics_enabled=False):
        place(form)
    return form


def standing(form: Form) -> dict[str, Any]:
    return {name: each.value for name, each in form.components.items()}  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def app(options: Options) -> Iterator[App]:
    app = App(options, worker=ScriptedWorker)
    yield app
    app.close()


def test_a_part_is_asked_for_while_its_switch_is_on(app: App) -> None:
    added(app, "frame", FRAME)
    (part,) = [each for each in parts_of(app.extensions.active(), "txt2img") if each.id == "frame"]
    assert [each.id for each in parts_of(app.extensions.active(), "img2img") if each.id == "frame"] == []
    form = placed(part)
    values = standing(form)
    assert values["extras.frame.enabled"] is False
    assert Form.request(values).extras == {}
    request = Form.request({**values, "extras.frame.enabled": True, "extras.frame.width": 12})
    assert request.extras == {"frame": {"enabled": True, "width": 12, "colour": "oak", "soft": False}}
    assert form.label("extras.frame.width") == "Width of the frame"


def test_a_request_fills_the_fields_again(app: App) -> None:
    added(app, "frame", FRAME)
    form = placed(next(each for each in parts_of(app.extensions.active(), "txt2img") if each.id == "frame"))
    asked = GenerationRequest(extras={"frame": {"enabled": True, "width": 12, "colour": "black", "soft": True}})
    filled = form.values_for(asked)
    assert filled == {f"extras.frame.{name}": value for name, value in asked.extras["frame"].items()}
    assert Form.request({**standing(form), **filled}).extras == asked.extras
    # Who says no more than the name means that it is on; of one that is not there the values stay.
    assert form.values_for(GenerationRequest(extras={"frame": {"width": 3}}))["extras.frame.enabled"] is True
    assert form.values_for(GenerationRequest()) == {"extras.frame.enabled": False}


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("table: dict[str, int] = Field(default_factory=dict)", "table"),
        ("words: str = Field('', json_schema_extra={'lines': 'many'})", "many"),
        ("words: str = Field('', json_schema_extra=lambda schema: 1 / 0)", "division by zero"),
    ],
)
def test_a_part_that_cannot_be_shown_says_so_and_others_are_there(field: str, said: str, app: App) -> None:
    odd = f"""
        from backend.extension_api import ExtensionApi, Field, Params, hook

        class Odd(Params):
            enabled: bool = False
            {field}

        @hook
        def register(api: ExtensionApi) -> None:
            api.params(Odd)
    """
    added(app, "frame", FRAME)
    extension = app.extensions.find("frame")
    write(app.options, "odd", odd)
    app.extensions.rescan()
    if app.extensions.switch("odd", True).state == "on":
        problems = {each.id: each.problem for each in parts_of(app.extensions.active(), "txt2img")}
        assert said in problems["odd"]
        assert problems["frame"] == ""
    else:
        assert said in app.extensions.find("odd").problem.casefold()
    assert extension.state == "on"


def test_an_operation_and_a_script_that_cannot_be_shown_say_so_too(app: App) -> None:
    odd = """
        from backend.extension_api import ExtensionApi, Field, Params, Script, Several, hook

        class Odd(Params):
            words: str = Field("", json_schema_extra={"lines": "many"})

        @hook
        def register(api: ExtensionApi) -> None:
            api.operation("Odd one", lambda picture, params: picture, Odd)
            api.script(Script(title="Odd script", kind=Odd, plan=lambda request, params, turn: Several()))
    """
    added(app, "odd", odd)
    problems = {each.name: each.problem for each in shown_operations()}
    problems |= {each.title: each.problem for each in shown_scripts(app.scripts.offered("txt2img"), app.scripts.axes())}
    assert "many" in problems["Odd one"]
    assert "many" in problems["Odd script"]
    assert problems["X/Y/Z plot"] == ""
