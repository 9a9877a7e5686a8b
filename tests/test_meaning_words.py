"""What A1111's prompt language does to pictures, on the shipped starter: shares over the fixed consecutive seeds of
`tests.meaning`, each beside its control runs. Every bound lies between the shares that were measured.
"""

import functools
from collections.abc import Callable, Iterator

import pytest

from backend.request import GenerationRequest
from starter.judge import Verdict
from tests.meaning import Make, made, share, side_of, starter_studio

STEPS = 12
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """The pictures of a request, one for each of the fixed seeds; each request is made once."""
    with starter_studio(tmp_path_factory.mktemp("data")) as app:
        yield functools.cache(lambda request: made(app, side_of(app), request))


def asked(prompt: str) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, steps=STEPS)


def coloured(name: str) -> Callable[[Verdict], bool]:
    return lambda verdict: verdict.colour == name


def red_on_blue(verdict: Verdict) -> bool:
    return (verdict.subject, verdict.colour, verdict.background) == ("circle", "red", "blue")


def edited(when: float) -> GenerationRequest:
    return asked(f"a [red:blue:{when}] circle on a white background")


def test_a_word_that_changes_early_decides_and_one_that_changes_late_does_not(make: Make) -> None:
    early, late = make(edited(0.1)), make(edited(0.9))
    blue, control = share(early, coloured("blue")), share(late, coloured("blue"))
    assert control <= 0.5 <= blue, (blue, control)  # measured: 1.00 against 0.00
    red, control = share(late, coloured("red")), share(early, coloured("red"))
    assert control <= 0.5 <= red, (red, control)  # measured: 1.00 against 0.00


def test_a_word_that_changes_half_way_mixes_its_colour_with_the_first(make: Make) -> None:
    mixed = share(make(edited(0.5)), coloured("purple"))
    controls = [share(make(edited(when)), coloured("purple")) for when in (0.1, 0.9)]
    assert max(controls) <= 0.5 <= mixed, (mixed, controls)  # measured: 0.88 against 0.00 and 0.00


@pytest.mark.parametrize("joined", ["a red circle AND a blue background", "[a red circle|a blue background]"])
def test_prompts_that_are_joined_or_take_turns_are_both_heeded(joined: str, make: Make) -> None:
    both = share(make(asked(joined)), red_on_blue)
    controls = [share(make(asked(prompt)), red_on_blue) for prompt in ("a red circle", "a blue background")]
    assert max(controls) <= 0.5 <= both, (both, controls)  # measured: 1.00 each, against 0.00


def test_attention_decides_between_two_colours(make: Make) -> None:
    """The word that is written first is the stronger one by itself: where it is weak, both show."""
    strong, weak = (
        make(asked(f"a (red:{red}) (blue:{blue}) circle on a white background"))
        for red, blue in ((1.5, 0.5), (0.5, 1.5))
    )
    red, control = share(strong, coloured("red")), share(weak, coloured("red"))
    assert control <= 0.5 <= red, (red, control)  # measured: 1.00 against 0.00
    mixed, control = share(weak, coloured("purple")), share(strong, coloured("purple"))
    assert control <= 0.5 <= mixed, (mixed, control)  # measured: 1.00 against 0.00
