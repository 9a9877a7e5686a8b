"""A recipe on its way to a browser and back."""

import json

import pytest

from backend.errors import InvalidRequest
from backend.infotext.read import read_infotext
from backend.infotext.recipe import Recipe
from backend.recipe_offer import from_values, to_values

TEXT = 'a red circle\nNegative prompt: blue\nSteps: 20, Sampler: Euler, Seed: 1, Size: 64x64, Note: "a, b: c"'


def test_what_comes_back_is_what_went() -> None:
    recipe = Recipe(
        origin="A1111",
        place="PNG",
        text=TEXT,
        infotext=read_infotext(TEXT),
        request="{}",
        made_with='{"a": 1}',
        enlarged="{}",
    )
    assert from_values(json.loads(json.dumps(to_values(recipe)))) == recipe


@pytest.mark.parametrize(
    "values",
    [
        {"origin": 1},
        {"enlarged": ["text"]},
        {"infotext": {"pairs": "Steps"}},
        {"infotext": {"pairs": [["Steps"]]}},
        {"infotext": {"pairs": [["Steps", 20]]}},
    ],
)
def test_what_is_no_recipe_is_said(values: object) -> None:
    with pytest.raises(InvalidRequest, match=r"This recipe cannot be read: .*\."):
        from_values(values)
