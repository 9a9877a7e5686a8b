"""The OpenAPI document against the server: generated requests, right ones and wrong ones, by schemathesis.

A right request may still be refused for what it names (an unknown sampler); a wrong one must be, nothing may be a fault
of the server, and every answer has to be one that the document has.
"""

import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from PIL import Image
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS

from backend.app import App
from backend.events import ImageReady
from backend.job import Job
from backend.request import GenerationRequest
from tests.api_studio import Studio, studio
from tests.test_inputs import saved

WHATEVER_IT_NAMES = ("positive_data_acceptance",)
# What hypothesis says of slow or rare examples; all of these come from the document.
TOLERATED = (
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
)
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


class AtOnce:
    """An engine that is done before it began."""

    def __init__(self, app: App):
        self._app = app

    def generate(self, request: GenerationRequest, job: Job) -> None:
        path = self._app.outputs.save_extra(Image.new("RGB", (8, 8)), infotext="", request="{}")
        job.emit(
            ImageReady(index=0, seed=request.seed, path=path, width=8, height=8, infotext="", request=request.to_json())
        )


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("data"), AtOnce) as opened:
        yield opened


def known(here: Studio) -> dict[str, list[str]]:
    """Names of what is there, by the parameters that they stand for: else no request would find anything."""
    jobs = [here.submit() for _ in range(3)]
    for id in jobs:
        here.ended(id)
    picture = here.client().post("/inputs", content=saved(Image.new("RGB", (64, 64)))).json()["name"]
    models = [model["id"] for model in here.client().get("/models").json()["models"]]
    return {"job": jobs, "sha256": [picture], "id": models, "index": ["0"]}


def fuzz(here: Studio, examples: int) -> int:
    """So many cases of each operation and mode; returns how many were answered as they should."""
    schema: Any = schemathesis.openapi.from_asgi("/api/v2/openapi.json", here.web)
    excluded = [check for check in CHECKS.get_all() if check.__name__ in WHATEVER_IT_NAMES]
    names, asked = known(here), 0
    for found in schema.get_all_operations():
        for mode in MODES:
            asked += _fuzz(found.ok(), mode, examples, names, excluded)
    return asked


def _fuzz(operation: Any, mode: GenerationMode, examples: int, names: dict[str, list[str]], excluded: Any) -> int:
    asked = 0
    cases = operation.as_strategy(generation_mode=mode)

    @seed(random.SystemRandom().getrandbits(64))
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=TOLERATED)
    @given(case=cases, data=st.data())
    def run(case: Case, data: st.DataObject) -> None:
        nonlocal asked
        for name in case.path_parameters or {}:
            if mode is GenerationMode.POSITIVE and name in names and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(names[name]))
        case.call_and_validate(excluded_checks=excluded)
        asked += 1

    with suppress(Unsatisfiable):  # an operation that takes nothing, or anything, cannot be asked wrongly
        run()
    return asked


def test_generated_requests_are_answered_as_the_document_says(here: Studio) -> None:
    assert fuzz(here, 1) > 30


@pytest.mark.slow
def test_10000_generated_requests_are_answered_as_the_document_says(here: Studio) -> None:
    asked = fuzz(here, 350)
    print(f"{asked} cases, every answer as the document has it, none a fault of the server")
    assert asked >= 10_000
