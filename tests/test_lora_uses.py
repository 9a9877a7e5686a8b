"""LoRAs from the prompt to the picture, with the real engine on a tiny checkpoint."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from backend.app import App, Options
from backend.errors import InvalidRequest, ModelFileError
from backend.events import Finished, Notice
from tests.loras import kohya, random_lora, sd1_networks, write_lora
from tests.test_engine import REQUEST, pixels, run


@pytest.fixture
def options(options: Options, tmp_path: Path) -> Options:
    folder = tmp_path / "loras"
    networks = sd1_networks()
    layers = random_lora(networks, ".*(attn|proj_in)")
    write_lora(folder / "ink.safetensors", kohya(layers))
    embeddings = tmp_path / "embeddings"
    embeddings.mkdir()
    save_file({"emb_params": torch.randn(2, 64)}, embeddings / "dots.safetensors")
    save_file({"emb_params": torch.randn(2, 768)}, embeddings / "wide.safetensors")
    return replace(options, lora_dirs=(folder,), embedding_dirs=(embeddings,))


def test_the_prompt_puts_it_on_and_nothing_stays(app: App) -> None:
    (before,) = run(app, REQUEST)
    (on,) = run(app, replace(REQUEST, prompt="a red circle<lora:ink:1>"))
    (half,) = run(app, replace(REQUEST, prompt="a red circle<lora:ink:0.5>"))
    (none,) = run(app, replace(REQUEST, prompt="a red circle<lora:ink:0>"))
    (after,) = run(app, REQUEST)
    assert (pixels(on) != pixels(before)).any()
    assert (pixels(half) != pixels(on)).any()
    assert (pixels(none) == pixels(before)).all()
    assert after.read_bytes() == before.read_bytes()


def test_what_cannot_be_put_on_is_refused_and_nothing_queued(app: App) -> None:
    with pytest.raises(ModelFileError, match=r"There is no LoRA called 'inc'; did you mean ink\?"):
        app.queue.submit(replace(REQUEST, prompt="x <lora:inc:1>"), "me")
    with pytest.raises(InvalidRequest, match="must be a number"):
        app.queue.submit(replace(REQUEST, prompt="x <lora:ink:lots>"), "me")
    assert app.queue.jobs("me") == []
    (path,) = run(app, REQUEST)
    assert path.exists()


def test_the_infotext_names_what_the_words_used(app: App, options: Options, tmp_path: Path) -> None:
    """With the hashes that A1111 writes: a LoRA's over its tensors alone, an embedding's over the whole file."""
    (embeddings,) = options.embedding_dirs
    (path,) = run(app, replace(REQUEST, prompt="dots, a circle <lora:ink:0.5>", negative_prompt="unused"))
    lora = (tmp_path / "loras" / "ink.safetensors").read_bytes()
    of_tensors = hashlib.sha256(lora[8 + int.from_bytes(lora[:8], "little") :]).hexdigest()
    of_embedding = hashlib.sha256((embeddings / "dots.safetensors").read_bytes()).hexdigest()
    with Image.open(path) as picture:
        said = picture.info["parameters"]
    assert said.startswith("dots, a circle <lora:ink:0.5>\nNegative prompt: unused\n")
    assert f', RNG: NV, Lora hashes: "ink: {of_tensors[:12]}", TI hashes: "dots: {of_embedding[:12]}", ' in said


def test_what_does_not_fit_is_told_and_the_picture_made(app: App) -> None:
    """The embedding of another family stays ordinary words."""
    events = list(app.queue.submit(replace(REQUEST, prompt="a circle, wide"), "me").follow())
    assert events[-1] == Finished()
    (told,) = [event.message for event in events if isinstance(event, Notice)]
    assert told.startswith("The embedding wide is for another kind of checkpoint")
