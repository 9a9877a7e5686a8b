"""What a request tells extensions: fixed, lossless, and held against them at the door; and their axes in a plot."""

import copy
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.app import App
from backend.errors import InvalidRequest
from backend.events import Failed
from backend.extensions.extras import checked
from backend.extensions.param_axes import axes_of
from backend.extensions.parameters import key_of
from backend.grids.axes import choices_of, find_axis
from backend.request import GenerationRequest
from tests.extended import ended, extended, made, studio

REQUEST = GenerationRequest(
    prompt="a red circle", checkpoint="tiny", width=64, height=64, steps=1, seed=1, sampler="Euler"
)
FRAME = """
from typing import Literal

class Frame(Params):
    enabled: bool = False
    width: int = Field(8, ge=0, le=64, title="Width of the frame")
    strength: float = Field(0.5, gt=0, le=1)
    colour: Literal["red", "gold"] = "red"
    inner: bool = False
    words: str = ""

@hook
def register(api):
    api.params(Frame, title="Picture frame")

@hook
def on_image(image, turn):
    seen.append(turn.params(Frame))
"""
USUAL = {"enabled": True, "width": 8, "strength": 0.5, "colour": "red", "inner": False, "words": ""}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    with studio(tmp_path_factory.mktemp("extras"), written_checkpoint) as app:
        yield app


@pytest.fixture
def frame(app: App) -> Iterator[Any]:
    with extended(app, FRAME, "frame") as module:
        yield module


def test_they_are_lossless_and_cannot_be_changed() -> None:
    request = GenerationRequest(extras={"frame": {"width": 8, "parts": [1, {"a": None}], "words": "ä"}})
    assert GenerationRequest.from_json(request.to_json()) == request
    assert hash(GenerationRequest.from_json(request.to_json())) == hash(request)
    assert copy.deepcopy(request) == request
    for change in (
        lambda: request.extras.update({}),  # pyright: ignore[reportAttributeAccessIssue]
        lambda: request.extras["frame"].pop("width"),  # pyright: ignore[reportAttributeAccessIssue]
        lambda: request.extras["frame"].__setitem__("width", 3),  # pyright: ignore[reportAttributeAccessIssue]
    ):
        with pytest.raises(TypeError, match="cannot be changed"):
            change()


def test_a_request_without_them_is_written_as_ever() -> None:
    values = json.loads(GenerationRequest().to_json())
    assert "extras" not in values
    assert {field.name for field in dataclasses.fields(GenerationRequest)} - set(values) >= {"extras"}


@pytest.mark.parametrize("given", [[], "x", {"frame": 3}, {3: {}}, {"frame": {"a": object()}}, {"a": {"b": 1e999}}])
def test_what_is_no_object_of_values_is_refused(given: Any) -> None:
    with pytest.raises(InvalidRequest, match="Extensions"):
        GenerationRequest(extras=given)


def test_what_is_nested_without_end_is_refused() -> None:
    deep: dict[str, Any] = {}
    deep["again"] = deep
    with pytest.raises(InvalidRequest, match="too deep"):
        GenerationRequest(extras={"frame": deep})


def asked(**values: Any) -> GenerationRequest:
    return replace(REQUEST, extras={"frame": values})


def test_at_the_door_every_parameter_has_a_value(app: App, frame: Any) -> None:
    """Who names an extension means it."""
    assert app.prepare(asked()).extras == {"frame": USUAL}
    assert app.prepare(asked(width="12", colour="gold")).extras == {"frame": {**USUAL, "width": 12, "colour": "gold"}}
    assert app.prepare(asked(enabled=False, width=3)) == app.prepare(REQUEST)
    prepared = app.prepare(asked(width=3))
    assert app.prepare(prepared) == prepared
    made(app, asked(width=3, words="a, b"))
    (params,) = frame.seen
    assert (params.width, params.words, params.enabled) == (3, "a, b", True)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"width": 65}, "Picture frame: Width of the frame is '65'; it must be at most 64."),
        ({"width": -1}, "Picture frame: Width of the frame is '-1'; it must be at least 0."),
        ({"width": "x"}, "Picture frame: Width of the frame is 'x'; it must be a whole number."),
        ({"strength": 0}, "Picture frame: Strength is '0'; it must be more than 0.0."),
        ({"strength": None}, "Picture frame: Strength is 'None'; it must be a number."),
        ({"colour": "blue"}, "Picture frame: Colour is 'blue'; it must be one of 'red' or 'gold'."),
        ({"inner": 7}, "Picture frame: Inner is '7'; it must be true or false."),
        ({"words": 7}, "Picture frame: Words is '7'; it must be a text."),
        (
            {"height": 7},
            "Picture frame: There is no parameter called 'height'; there are enabled, width, strength, colour, inner, "
            "words.",
        ),
    ],
)
@pytest.mark.usefixtures("frame")
def test_a_value_that_cannot_be_is_named(values: dict[str, Any], sentence: str, app: App) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        app.submit(asked(**values), "me")
    assert str(refusal.value) == sentence


def test_what_is_off_or_has_no_parameters_is_said(app: App) -> None:
    with extended(app, "", "plain"), pytest.raises(InvalidRequest, match="Plain has no parameters"):
        app.prepare(replace(REQUEST, extras={"plain": {}}))
    with pytest.raises(InvalidRequest, match="This needs the extension frame, which is off"):
        checked((), asked())


def test_a_job_that_waited_while_its_extension_was_switched_off_says_so(app: App) -> None:
    """So does one that is retried."""
    code = (
        FRAME
        + "\n@hook\ndef on_sampling_start(turn):\n    import time\n    while not seen:\n        time.sleep(0.01)\n"
    )
    with extended(app, code, "frame") as module:
        first, second = (app.submit(asked(width=width), "me")[0] for width in (1, 2))
        app.extensions.switch("frame", False)
        module.seen.append("go on")
        ended(first)
        last, pictures = ended(second)
    assert isinstance(last, Failed)
    assert last.message == "This needs the extension frame, which is off: switch it on in Extensions."
    assert not pictures
    with pytest.raises(InvalidRequest, match="which is off"):
        app.queue.retry(second)


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("Picture frame: Width of the frame", "1-5 (+2)", [1, 3, 5]),
        ("picture frame: strength", "0.5, 1", [0.5, 1.0]),
        ("Picture frame: Colour", "gold, red", ["gold", "red"]),
        ("Picture frame: Inner", "True, False", [True, False]),
        ("Picture frame: Words", 'one, "two, three"', ["one", "two, three"]),
    ],
)
@pytest.mark.usefixtures("frame")
def test_each_parameter_is_an_axis(name: str, text: str, values: list[Any], app: App) -> None:
    axis = find_axis(name, axes_of(app.extensions.active()))
    assert axis.values(text) == values
    for value in values:
        applied = app.prepare(axis.apply(REQUEST, value, values)).extras["frame"]
        assert value in applied.values()
        assert {key: each for key, each in applied.items() if each != value} == {
            key: USUAL[key] for key in applied if applied[key] != value
        }
    for choice in choices_of(axis, lambda _kind: []):
        axis.values(choice)


@pytest.mark.usefixtures("frame")
def test_an_axis_names_what_cannot_be(app: App) -> None:
    axes = axes_of(app.extensions.active())
    with pytest.raises(InvalidRequest, match="Picture frame: Colour: 'blue' is none of red, gold"):
        find_axis("Picture frame: Colour", axes).values("blue")
    axis = find_axis("Picture frame: Width of the frame", axes)
    with pytest.raises(InvalidRequest, match="must be at most 64"):
        axis.apply(REQUEST, 99, [99])
    assert find_axis("Picture frame: Width of the frame", axes).legend(3) == "Picture frame: Width of the frame: 3"


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("Picture frame Width", "Picture frame Width"),
        ("Mask blur", "Extension Mask blur"),
        ("a: b, c", "a b c"),
        ("(x)", "Extension (x)"),
        ("Version", "Extension Version"),
    ],
)
def test_a_key_can_be_read_back_and_is_nobody_elses(words: str, key: str) -> None:
    assert key_of(words) == key
    assert len(key_of("x" * 300)) <= 80


def test_a_picture_that_only_extras_name_is_one_that_the_request_needs() -> None:
    """Else it would be deleted before a job that waits, or is retried, has seen it."""
    name = "a" * 64
    assert GenerationRequest(extras={"guide": {"picture": name, "strength": 0.5, "words": "a boat"}}).inputs == (name,)
