"""Broken extensions, kind by kind: the page is up, other pictures are identical to the bit, and the reason is shown.

What holds the interpreter's lock is in test_extension_supervisor.py, as it takes the whole program; what comes broken
from a zip, from git or with dependencies that contradict ours is in test_extension_install.py, as it is never there.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import App, Options
from backend.errors import UserError
from backend.events import Event, Failed, Finished, ImageReady
from backend.request import GenerationRequest
from tests.extension_folders import write_extension
from ui.app import mount

REQUEST = GenerationRequest(
    prompt="a red circle", checkpoint="tiny", width=64, height=64, steps=2, seed=1, sampler="Euler"
)
PARAMETERS = """
class Given(Params):
    amount: int = 1

@hook
def register(api):
    api.params(Given)
"""
# What cannot even be loaded: its code, its manifest, and words of the sentence that says so.
NOT_LOADED = {
    "syntax": ("def broken(:\n    pass\n", {}, "SyntaxError"),
    "import": ("import a_module_that_is_nowhere\n", {}, "a_module_that_is_nowhere"),
    "a wrong api range": ("", {"api": ">=9,<10"}, ">=9,<10"),
    "no such hook": ("@hook\ndef on_nothing():\n    pass\n", {}, "on_nothing"),
    "a wrong argument": ("@hook\ndef on_image(picture_of_me):\n    pass\n", {}, "picture_of_me"),
    "register raises": ("@hook\ndef register(api):\n    raise ValueError('no register')\n", {}, "no register"),
    "it ends the program": ("import sys\nsys.exit(3)\n", {}, "SystemExit"),
    "a missing dependency": ("", {"dependencies": ["a-package-that-is-nowhere>=1"]}, "a-package-that-is-nowhere"),
}
# What fails in a generation: the hook with its code, and words of the sentence.
RAISES = {
    name: (f"@hook\ndef {name}():\n    raise RuntimeError('it broke')\n", "it broke")
    for name in (
        *("on_prompts", "on_request", "on_conditioning", "on_sampling_start", "on_step", "on_sampling_end"),
        *("on_image", "on_save", "on_finish"),
    )
}
FAILS = {
    **{f"raises in {name}": case for name, case in RAISES.items()},
    "sleeps": ("@hook\ndef on_image():\n    import time\n    time.sleep(3600)\n", "did not return from on_image"),
    "while True": ("@hook\ndef on_step():\n    while True:\n        pass\n", "did not return from on_step"),
    "NaN in a step": ("@hook\ndef on_step(guess):\n    return guess.denoised * float('nan')\n", "on_step"),
    "NaN at the end": ("@hook\ndef on_sampling_end(latents):\n    return latents / 0 * 0\n", "on_sampling_end"),
    "a wrong shape in a step": ("@hook\ndef on_step(guess):\n    return guess.denoised[:, :2]\n", "on_step"),
    "a wrong shape at the end": (
        "@hook\ndef on_sampling_end(latents):\n    return latents[..., :4]\n",
        "on_sampling_end",
    ),
    "no picture": ("@hook\ndef on_image():\n    return 'a picture'\n", "on_image"),
    "no request": ("@hook\ndef on_request():\n    return {'prompt': 'x'}\n", "on_request"),
    "no words": ("@hook\ndef on_conditioning():\n    return 'words'\n", "on_conditioning"),
    "no requests": ("@hook\ndef on_prompts(request):\n    return ['a prompt']\n", "on_prompts"),
}


@pytest.fixture(scope="module")
def app(written_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    data_dir = tmp_path_factory.mktemp("data")
    app = App(Options(data_dir=data_dir, checkpoint_dirs=(written_checkpoint.parent,), device="cpu"))
    app.settings.update({"extension_seconds": 2})
    app.start()
    yield app
    app.close()


@pytest.fixture(scope="module")
def page(app: App) -> Iterator[TestClient]:
    """The page, which is made anew whenever an extension is switched."""
    with TestClient(mount(FastAPI(), app)) as client:
        yield client


@pytest.fixture(scope="module")
def plain(app: App) -> bytes:
    """The picture that nobody has a part in, before anything is broken."""
    return picture(app)


def picture(app: App) -> bytes:
    events = made(app, REQUEST)
    assert events[-1] == Finished(), events[-1]
    (path,) = [event.path for event in events if isinstance(event, ImageReady)]
    return path.read_bytes()


def made(app: App, request: GenerationRequest) -> list[Event]:
    (job,) = app.submit(request, "me")
    return list(job.follow())


def is_up(page: TestClient) -> bool:
    return "txt2img_generate" in page.get("/").text


@pytest.mark.parametrize("kind", NOT_LOADED)
def test_what_cannot_be_loaded_says_why_and_touches_nothing(
    kind: str, app: App, page: TestClient, plain: bytes
) -> None:
    code, entries, words = NOT_LOADED[kind]
    id = f"unloaded_{list(NOT_LOADED).index(kind)}"
    write_extension(app.options.data_dir, id, code, **entries)
    app.extensions.rescan()
    extension = app.extensions.switch(id, True)
    assert (extension.state, words in extension.problem) == ("broken", True), extension.problem
    assert extension not in app.extensions.active()
    assert is_up(page)
    assert picture(app) == plain
    app.extensions.switch(id, False)


def test_of_two_with_one_id_neither_hides_that_there_are_two(app: App, page: TestClient, plain: bytes) -> None:
    first = write_extension(app.options.data_dir, "twice", name="The first")
    second = first.with_name("twice_copy")
    first.rename(second)
    write_extension(app.options.data_dir, "twice", name="The second")
    app.extensions.rescan()
    problems = [each.problem for each in app.extensions.all() if each.folder.name.startswith("twice")]
    assert any("twice" in problem for problem in problems), problems
    assert is_up(page)
    assert picture(app) == plain


@pytest.mark.parametrize("kind", FAILS)
def test_what_fails_in_a_generation_fails_its_own_job_alone(
    kind: str, app: App, page: TestClient, plain: bytes
) -> None:
    code, words = FAILS[kind]
    id = f"failing_{list(FAILS).index(kind)}"
    write_extension(app.options.data_dir, id, PARAMETERS + code, name="Brittle")
    app.extensions.rescan()
    extension = app.extensions.switch(id, True)
    assert extension.state == "on", extension.problem
    reason = fault_of(app, replace(REQUEST, extras={id: {"amount": 2}}))
    assert reason.startswith("Brittle"), reason
    assert words in reason
    assert words in extension.failures[-1].sentence
    assert is_up(page)
    assert picture(app) == plain  # while it is still on
    app.extensions.switch(id, False)


def fault_of(app: App, request: GenerationRequest) -> str:
    """What the person is told, at the door or of the job."""
    try:
        end = made(app, request)[-1]
    except UserError as error:
        return str(error)
    assert isinstance(end, Failed), end
    return end.message
