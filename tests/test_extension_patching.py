"""What extensions put around the networks: it computes as it should, and nothing of it is left."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backend.app import App
from backend.events import Failed, Interrupted
from backend.extensions.calls import Calls
from backend.extensions.extension import Extension
from backend.extensions.log import ExtensionLog
from backend.extensions.patching import Patches, attention_places, join_places, level_of, residual_shapes
from backend.init_image import Box, HiresFix, InitImage, Inpainting
from backend.request import GenerationRequest
from backend.sampling_options import Refiner
from tests.checkpoints import tiny
from tests.extended import ended, extended, failed, made, studio
from tests.test_engine import pixels
from tests.test_img2img import noise, put

REQUEST = GenerationRequest(
    prompt="a red circle", checkpoint="tiny", width=64, height=64, steps=2, seed=1, sampler="Euler"
)
START = """
import torch

@hook
def on_sampling_start(turn):
    middle = turn.residual_shapes[1]
"""
# Around each part of the checkpoint, without changing what is computed.
PLAIN = {
    "network": "    turn.wrap_network(lambda network, x, t, **more: network(x, t, **more))\n",
    "attention": "    turn.wrap_attention(lambda attend, hidden, context, place, shape: attend(hidden, context))\n",
    "joins": "    turn.wrap_joins(lambda hidden, skip, block: (hidden, skip))\n",
    "residuals": "    turn.add_residuals(lambda x, t, context: (None, torch.zeros(len(x), *middle)))\n",
    "VAE": "    turn.wrap_vae(decode=lambda run, given: run(given), encode=lambda run, given: run(given))\n",
}
# And changing it.
CHANGING = {
    "network": "    turn.wrap_network(lambda network, x, t, **more: network(x, t, **more) * 0.9)\n",
    "attention": "    turn.wrap_attention(lambda attend, hidden, context, place, shape: attend(hidden, context) / 2)\n",
    "joins": "    turn.wrap_joins(lambda hidden, skip, block: (hidden * 1.2, skip * 0.5))\n",
    "residuals": "    turn.add_residuals(lambda x, t, context: (None, torch.ones(len(x), *middle)))\n",
    "VAE": "    turn.wrap_vae(decode=lambda run, given: -run(given))\n",
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, written_checkpoint: Path) -> Iterator[App]:
    with studio(tmp_path_factory.mktemp("patching"), written_checkpoint) as app:
        yield app


def picture(app: App, request: GenerationRequest = REQUEST) -> np.ndarray:
    (ready,) = made(app, request)
    return pixels(ready.path)


def weights(app: App) -> Mapping[str, bytes]:
    """Every weight of the checkpoint, and how its layers compute."""
    assert app.residency is not None
    with app.residency.ready(app.catalog.find("tiny")) as model:
        state = {name: tensor.cpu().numpy().tobytes() for name, tensor in model.networks.unet.state_dict().items()}
        for _, layer in attention_places(model.networks.unet):
            assert type(layer.processor).__module__.startswith("diffusers")
        for module in (*model.networks.unet.modules(), *model.networks.vae.modules()):
            assert not module._forward_pre_hooks
            assert not module._forward_hooks
        return state


@pytest.mark.parametrize("part", PLAIN)
def test_what_changes_nothing_leaves_the_picture_as_it_is(part: str, app: App) -> None:
    before = picture(app)
    with extended(app, START + PLAIN[part]):
        assert (picture(app) == before).all()


@pytest.mark.parametrize("part", CHANGING)
def test_what_changes_something_is_seen_and_nothing_of_it_is_left(part: str, app: App) -> None:
    before, state = picture(app), weights(app)
    with extended(app, START + CHANGING[part]):
        assert (picture(app) != before).any()
        assert weights(app) == state
        assert (picture(app, replace(REQUEST, hires=HiresFix(scale=1.5, steps=2, upscaler="Latent"))) >= 0).all()
    assert weights(app) == state
    assert (picture(app) == before).all()


def test_a_decoder_that_is_turned_round_is_turned_round(app: App) -> None:
    before = picture(app)
    with extended(app, START + CHANGING["VAE"]):
        assert np.abs(picture(app) - (255 - before)).max() <= 1


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_nothing_is_left_of_a_sampling_that_did_not_come_to_its_end(how: str, app: App) -> None:
    before, state = picture(app), weights(app)
    code = START + "".join(CHANGING.values()) + "\n@hook\ndef on_step(guess, turn):\n"
    if how == "failed":
        with extended(app, code + "    raise RuntimeError('no')\n"):
            assert "RuntimeError: no" in failed(app, REQUEST)
    else:
        with extended(app, code + "    jobs[-1].cancel()\n\njobs = []\n") as module:
            app.queue.subscribe(lambda job: module.jobs.append(job))
            (job,) = app.submit(REQUEST, "me")
            assert ended(job)[0] == Interrupted()
    assert weights(app) == state
    assert (picture(app) == before).all()


def test_several_stand_in_their_order(app: App) -> None:
    """What was put on first is outermost."""
    code = """
    @hook
    def on_sampling_start(turn):
        def around(name):
            def network(network, x, t, **more):
                seen.append(name)
                return network(x, t, **more)
            return network
        turn.wrap_network(around("outer"))
        turn.wrap_network(around("inner"))
    """
    with extended(app, code) as module:
        picture(app, replace(REQUEST, steps=1, cfg_scale=1))
        assert module.seen == ["outer", "inner"]


def test_layers_are_chosen_by_their_place(app: App) -> None:
    code = """
    @hook
    def on_sampling_start(turn):
        def around(attend, hidden, context, place, shape):
            seen.append((place.block, place.cross, shape, hidden.shape[1], context is None))
            return attend(hidden, context)
        turn.wrap_attention(around, lambda place: place.cross and place.number == 0)
        turn.wrap_attention(around, lambda place: place.block == "mid" and not place.cross)
    """
    with extended(app, code) as module:
        picture(app, replace(REQUEST, steps=1, cfg_scale=1, width=72))
        assert module.seen == [("down", True, (8, 9), 72, False), ("mid", False, (1, 2), 2, True)]


def test_rows_say_whose_they_are(app: App) -> None:
    code = """
    @hook
    def on_sampling_start(turn):
        def around(network, x, t, **more):
            seen.append((tuple(turn.negative_rows), len(x)))
            return network(x, t, **more)
        turn.wrap_network(around)
    """
    with extended(app, code) as module:
        picture(app, replace(REQUEST, steps=1))
        picture(app, replace(REQUEST, steps=1, prompt="a cat AND a dog"))
        made(app, replace(REQUEST, steps=1, cfg_scale=1, batch_size=2))
        assert module.seen == [((False, True), 2), ((False, False, True), 3), ((False,), 1), ((False,), 1)]


def test_words_and_pictures_are_read_as_the_checkpoint_sees_them(app: App) -> None:
    code = """
    @hook
    def on_conditioning(words):
        seen.append(words)

    @hook
    def on_sampling_start(turn):
        from PIL import Image
        words = turn.encode("a red circle")
        latents = turn.latents(Image.new("RGB", (640, 640), "red"))
        seen.append((words, latents))
    """
    with extended(app, code) as module:
        picture(app)
        own, (words, latents) = module.seen
    assert torch.equal(own.cond.at(0)[0].context, words.cond.at(0)[0].context)
    assert latents.shape == (1, 4, 8, 8)


def test_what_is_for_the_start_is_refused_later(app: App) -> None:
    code = "@hook\ndef on_step(turn):\n    turn.wrap_network(lambda network, x, t, **more: network(x, t, **more))\n"
    with extended(app, code):
        assert failed(app, REQUEST) == "Tried: wrap_network can be called in on_sampling_start only."


WRONG = {
    "wrap_network": [
        "    turn.wrap_network(lambda network, x, t, **more: network(x, t, **more)[:1, :2])\n",
        "    turn.wrap_network(lambda network, x, t, **more: None)\n",
        "    turn.wrap_network(lambda network, x, t, **more: network(x, t, **more) / 0)\n",
    ],
    "wrap_attention": [
        "    turn.wrap_attention(lambda attend, hidden, context, place, shape: hidden[:, :1])\n",
        "    turn.wrap_attention(lambda attend, hidden, context, place, shape: hidden * float('nan'))\n",
    ],
    "wrap_joins": [
        "    turn.wrap_joins(lambda hidden, skip, block: hidden)\n",
        "    turn.wrap_joins(lambda hidden, skip, block: (hidden, skip * float('nan')))\n",
    ],
    "add_residuals": [
        "    turn.add_residuals(lambda x, t, context: (None, torch.zeros(1, 2, 3, 4)))\n",
        "    turn.add_residuals(lambda x, t, context: ([torch.zeros(1)], None))\n",
        "    turn.add_residuals(lambda x, t, context: (None, torch.full((len(x), *middle), torch.nan)))\n",
    ],
    "wrap_vae": [
        "    turn.wrap_vae(decode=lambda run, given: run(given)[..., :4])\n",
        "    turn.wrap_vae(decode=lambda run, given: run(given) * float('nan'))\n",
        "    turn.wrap_vae(decode=lambda run, given: 'x')\n",
    ],
}


@pytest.mark.parametrize(("where", "code"), [(where, code) for where, codes in WRONG.items() for code in codes])
def test_what_cannot_be_names_who_put_it_on(where: str, code: str, app: App) -> None:
    with extended(app, START + code):
        sentence = failed(app, REQUEST)
        assert sentence.startswith(f"Tried failed in {where}"), sentence
    made(app, REQUEST)


def without_numbers(_layer: nn.Module, _given: object, made: Tensor) -> Tensor:
    return made / 0


def test_numbers_of_the_network_itself_are_nobodys_fault(app: App) -> None:
    """One that gives NaN is computed again in full precision, or said to be damaged, whoever stands around it."""
    code = START + "".join(PLAIN.values())
    with extended(app, code):
        picture(app)
        assert app.residency is not None
        with app.residency.ready(app.catalog.find("tiny")) as model:
            hook = model.networks.unet.conv_out.register_forward_hook(without_numbers)
        try:
            assert failed(app, REQUEST).startswith("The UNet of tiny made numbers without end")
        finally:
            hook.remove()


def test_all_goes_with_the_refiner(app: App) -> None:
    request = replace(REQUEST, steps=4, refiner=Refiner(checkpoint="other", switch_at=0.4))
    code = """
    @hook
    def on_sampling_start(turn):
        def network(network, x, t, **more):
            seen.append("network")
            return network(x, t, **more)
        def attention(attend, hidden, context, place, shape):
            seen.append("attention")
            return attend(hidden, context)
        turn.wrap_network(network)
        turn.wrap_attention(attention, lambda place: place.block == "mid" and place.cross)
    """
    before = picture(app, request)
    with extended(app, code) as module:
        assert (picture(app, request) == before).all()
        assert module.seen == ["network", "attention"] * 4
    assert (picture(app, request) == before).all()


def nines(x: Tensor, t: Tensor, context: Tensor) -> tuple[None, Tensor]:
    assert x.ndim == 4 and t.ndim == 0 and context.ndim == 3
    return None, torch.full((1, 64, 1, 1), 9.0)


def test_residuals_stay_behind_where_the_refiner_has_other_blocks() -> None:
    told: list[str] = []
    patches = Patches(Calls(), told.append)
    adding = Extension(
        id="adding", folder=Path("adding"), data_dir=Path("adding"), log=ExtensionLog("adding", Path("adding"))
    )
    patches.add_residuals(adding, nines)
    unet, other = tiny("sd1").unet, tiny("sd2").unet
    x, context = torch.zeros(1, 4, 8, 8), {"encoder_hidden_states": torch.zeros(1, 77, 64)}
    with torch.no_grad():
        plain = [each(x, 1, **context, return_dict=False)[0] for each in (unet, other)]
        patches.put_on(unet)
        assert (patches.network(unet, x, torch.tensor(1), context) != plain[0]).any()
        patches.put_on(other)
        assert (patches.network(other, x, torch.tensor(1), context) == plain[1]).all()
    assert told == ["The refiner has other blocks: what adding adds to them is left out there."]


def test_an_encoder_is_stood_around_where_a_seam_is_made_new(app: App) -> None:
    """Outpainting makes the seam of what it has made once more, from the picture as it is then."""
    name = put(app, noise((96, 80)))
    begun = InitImage(
        picture=name, box=Box(left=32, top=0, width=96, height=64), inpainting=Inpainting(), denoising_strength=1.0
    )
    code = """
    @hook
    def on_sampling_start(turn):
        turn.wrap_vae(encode=lambda run, given: seen.append("encode") or run(given),
                      decode=lambda run, given: seen.append("decode") or run(given))
    """
    with extended(app, code) as module:
        made(app, replace(REQUEST, init=begun))
        assert module.seen[0] == "decode"
        assert module.seen.count("decode") >= 1


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sdxl-refiner"])
def test_shapes_and_places_are_those_of_the_network(kind: str) -> None:
    """Read off what really goes through it."""
    unet = tiny(kind).unet
    shapes, middle = residual_shapes(unet, (9, 8))
    handed: list[tuple[int, ...]] = []
    joined: list[int] = []

    def below(_layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        joined.append(given[0].shape[1])

    def noted(_layer: nn.Module, _given: object, out: Tensor | tuple[Tensor, ...]) -> None:
        handed.append(tuple(out.shape[1:]) if isinstance(out, Tensor) else tuple(out[0].shape[1:]))

    hooks = [unet.mid_block.register_forward_hook(noted)]
    places = list(join_places(unet))
    hooks += [layer.register_forward_pre_hook(below) for _, layer, _ in places]
    context = torch.zeros(1, 77, unet.config["cross_attention_dim"])
    added = {}
    if unet.config["addition_embed_type"]:
        width = unet.config["projection_class_embeddings_input_dim"]
        ids = 5 if kind == "sdxl-refiner" else 6
        added = {"text_embeds": torch.zeros(1, width - ids * 256), "time_ids": torch.zeros(1, ids)}
    with torch.no_grad():
        zeros = tuple(torch.zeros(1, *shape) for shape in shapes)
        unet(
            torch.zeros(1, 4, 9, 8),
            1,
            context,
            added_cond_kwargs=added,
            down_block_additional_residuals=zeros,
            mid_block_additional_residual=torch.zeros(1, *middle),
        )
    for hook in hooks:
        hook.remove()
    assert handed == [middle]
    skips = [shape[0] for shape in reversed(shapes)]
    assert [below + skip for (_, _, below), skip in zip(places, skips, strict=True)] == joined
    places_of_attention = [place for place, _ in attention_places(unet)]
    assert [place.number for place in places_of_attention if place.cross] == list(range(len(places_of_attention) // 2))
    assert [place.block for place in places_of_attention] == sorted(
        (place.block for place in places_of_attention), key=["down", "mid", "up"].index
    )


@pytest.mark.parametrize(
    ("size", "pixels", "shape"), [((8, 9), 72, (8, 9)), ((8, 9), 20, (4, 5)), ((9, 9), 9, (3, 3)), ((1, 1), 1, (1, 1))]
)
def test_a_level_is_known_by_its_pixels(size: tuple[int, int], pixels: int, shape: tuple[int, int]) -> None:
    assert level_of(size, pixels) == shape


def test_the_failed_say_their_kind(app: App) -> None:
    with extended(app, START + "    turn.wrap_network(3)\n"):
        (job,) = app.submit(REQUEST, "me")
        last, _ = ended(job)
    assert isinstance(last, Failed)
    assert (last.kind, last.message) == ("extension_failed", "Tried: wrap_network wants functions, not 3.")
