"""Words that were encoded are kept, for as long as the text encoder is the same, by the real engine."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.app import App, Options
from backend.engine import Engine
from backend.jobs import Job
from backend.request import GenerationRequest
from tests.checkpoints import write_tiny_checkpoint
from tests.loras import kohya, random_lora, sd1_networks, write_lora
from tests.test_engine import REQUEST


@pytest.fixture
def options(options: Options, tmp_path: Path) -> Options:
    write_tiny_checkpoint(options.checkpoint_dirs[0] / "other.safetensors", seed=5)
    write_lora(tmp_path / "loras" / "ink.safetensors", kohya(random_lora(sd1_networks(), ".*")))
    return replace(options, lora_dirs=(tmp_path / "loras",))


def test_the_same_words_are_encoded_once(app: App) -> None:
    engine = Engine.create(app)
    calls: list[int] = []

    def asked(**change: object) -> int:
        """How often the text encoder is asked for a request."""
        request = app.prepare(replace(REQUEST, negative_prompt="dark", **change))  # pyright: ignore[reportArgumentType]
        calls.clear()
        engine.generate(request, Job(request, "me"))
        return len(calls)

    with engine.residency.ready(app.catalog.find("tiny")) as model:
        model.networks.text_encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    first: GenerationRequest = REQUEST
    assert asked() == 1
    assert asked(seed=5, batch_count=2, width=72, sampler="Heun") == 0
    assert asked(prompt="a blue circle") == 1
    assert asked(prompt=f"{first.prompt} <lora:ink:0.5>") == 1
    assert asked(prompt=f"{first.prompt} <lora:ink:0.9>") == 1
    assert asked(checkpoint="other") == 1
    assert asked(clip_skip=2) == 1
    assert asked(emphasis="None") == 1
    assert asked() == 0
    engine._free()
    assert asked() == 1
