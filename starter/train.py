"""Train the starter checkpoint: ``python -m starter.train [--device cuda] [--seed 0]``.

Four stages, each with its own file in ``starter/work/`` (so that an interrupted run goes on where it stopped):

1. the VAE, on crops of drawn pictures;
2. the text encoder, on naming what a caption says (minutes, and the UNet then listens from its first step);
3. the UNet at 64x64 pixels, epsilon-prediction, loss weighted by min-SNR (Hang et al. 2023,
   eq. 5, gamma 5), exponential moving average;
4. the UNet at 128x128 pixels mixed with 64x64.

``--continue-from FILE`` starts stages 3 and 4 (and with ``--vae-steps`` also 1) from a finished checkpoint instead,
with nothing else at hand.

``--inpaint`` makes an inpainting checkpoint of a finished one: its UNet sees, beside the noisy latents, the mask and
the latents of the picture with a hole, nine channels in all (Rombach et al. 2022).
"""

import argparse
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from backend.families.clip_tokenizer import clip_tokenizer
from backend.families.networks import Networks
from backend.families.sd1 import SD1
from starter import layout
from starter.holes import hole, holed
from starter.scenes import COLOURS, POSITIONS, SIZES, STYLES, SUBJECTS, Scene, captions, draw, scenes
from starter.stage import Run, Stage

Paint = Callable[[Scene, np.random.Generator, int], Image.Image]
LATENT_SCALE = SD1.latent_format.scale
VAE_STEPS = 5200
WORK = Path(__file__).with_name("work")
CHECKPOINT = Path(__file__).parent.parent / "models" / "checkpoints" / "starter.safetensors"
INPAINTING = CHECKPOINT.with_name("starter-inpainting.safetensors")
HOLES = 3  # for each picture, encoded once


def card(side: int) -> dict[str, str]:
    """The file's metadata in ModelSpec's words; `side` is the width and height in pixels it was trained on last."""
    return {
        "modelspec.title": "Atelier starter",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.resolution": f"{side}x{side}",
    }


def networks(in_channels: int = 4) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """The starter's three networks, freshly initialised: SD 1.x in everything but width."""
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=in_channels,
        block_out_channels=(64, 64, 96, 96),
        cross_attention_dim=64,
        attention_head_dim=8,
    )
    vae = AutoencoderKL(
        # 64 at full resolution: with 32 channels in 32 groups the last norm would forget every colour's mean.
        # Annotated as tuples of one, whatever the number of levels.
        block_out_channels=(64, 32, 64, 64),  # pyright: ignore[reportArgumentType]
        down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        layers_per_block=2,
        latent_channels=4,
    )
    text = CLIPTextConfig(
        hidden_size=64, intermediate_size=256, num_hidden_layers=6, num_attention_heads=1, hidden_act="quick_gelu"
    )
    return unet, vae, CLIPTextModel(text)


def pixels(pictures: list[np.ndarray], device: torch.device) -> Tensor:
    """Pictures (height, width, 3) of bytes -> (n, 3, height, width) in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(device).float() / 127.5 - 1


def train_vae(run: Run, vae: AutoencoderKL, steps: int, count: int) -> None:
    """Stage 1, on `count` pictures of each size. Crops first: what an f=8 autoencoder learns here is edges and colours,
    which are local. Then whole pictures, for the norms and the attention, which are not.

    A linear map of each latent must tell the mean colour of its 8x8 pixels. Left alone, an encoder with group norms
    hides a picture's colours in one bright corner, where neither a UNet nor a preview finds them. And the decoder
    sees latents with noise of a thirtieth of their spread, for the UNet's are not exact either.
    """
    rng = np.random.default_rng((run.seed, 1))
    drawn = scenes(rng)
    small, large = ([np.asarray(draw(next(drawn), rng, size)) for _ in range(count)] for size in (64, 128))
    colours = nn.Conv2d(4, 3, 1).to(run.device)
    stage = Stage("vae", run, nn.ModuleDict({"vae": vae, "colours": colours}), steps, 1e-3)

    def batch(rng: np.random.Generator) -> list[np.ndarray]:
        if stage.step < steps // 2:
            pool = small + large
            return [busiest_crop(pool[i], 32, rng) for i in rng.integers(0, len(pool), 12)]
        pool, count = (large, 1) if rng.random() < 0.5 else (small, 4)
        return [pool[i] for i in rng.integers(0, len(pool), count)]

    def loss_of(rng: np.random.Generator) -> Tensor:
        x = pixels(batch(rng), run.device)
        with torch.autocast(run.device.type, torch.bfloat16):
            posterior = vae.encode(x, return_dict=False)[0]
            z = posterior.sample()
            z = z + 0.03 * z.detach().std((0, 2, 3), keepdim=True) * torch.randn_like(z)
            # Annotated as FloatTensor, which no tensor of torch is.
            y = vae.decode(z, return_dict=False)[0].float()  # pyright: ignore[reportArgumentType]
        # In float32: these are differences of near numbers.
        seen = colours(posterior.mean.float() * LATENT_SCALE) - F.avg_pool2d(x, 8)
        edges = torch.stack([(x.diff(dim=d) - y.diff(dim=d)).abs().mean() for d in (2, 3)]).sum()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return (x - y).abs().mean() + 0.5 * edges + 0.1 * seen.abs().mean() + 3e-5 * kl

    vae.load_state_dict(stage.optimise(loss_of)["vae"].state_dict())
    standardise(vae, pixels(large[:256], run.device))


def busiest_crop(picture: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Of three random crops the one with most in it: plain areas are learned soon enough."""
    corners = [rng.integers(0, picture.shape[0] - side + 1, 2) for _ in range(3)]
    crops = [picture[top : top + side, left : left + side] for top, left in corners]
    return max(crops, key=lambda crop: float(crop.std()))


@torch.no_grad()
def standardise(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Fold a scale and shift into the two 1x1 convolutions, so that latents x 0.18215 have mean 0 and variance 1."""
    latents = torch.cat([vae.encode(part, return_dict=False)[0].mean for part in pictures.split(16)])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    gain = 1 / (std * LATENT_SCALE)
    into, out = vae.quant_conv, vae.post_quant_conv
    assert into is not None and into.bias is not None
    assert out is not None and out.bias is not None
    into.weight[:4] *= gain[:, None, None, None]
    into.bias[:4] = (into.bias[:4] - mean) * gain
    into.bias[4:] += 2 * gain.log()
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight /= gain[None, :, None, None]


ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "subject": tuple(SUBJECTS),
    "colour": tuple(COLOURS),
    "background": tuple(COLOURS),
    "position": tuple(POSITIONS),
    "size": tuple(SIZES),
    "style": STYLES,
}


def train_text(run: Run, text_encoder: CLIPTextModel, steps: int) -> None:
    """Stage 2: from the end-of-text token, name every attribute of the scene that a whole caption describes."""
    tokenizer = clip_tokenizer()
    heads = nn.ModuleDict({name: nn.Linear(64, len(values)) for name, values in ATTRIBUTES.items()}).to(run.device)
    stage = Stage("text", run, nn.ModuleDict({"text_encoder": text_encoder, "heads": heads}), steps, 2e-3, 0.99)

    def loss_of(rng: np.random.Generator) -> Tensor:
        drawn = scenes(rng)
        batch = [next(drawn) for _ in range(96)]
        tokens = tokenizer([_whole_caption(s, rng) for s in batch], padding=True, return_tensors="pt").to(run.device)
        hidden = text_encoder(tokens.input_ids).last_hidden_state
        end = hidden[torch.arange(len(batch)), (tokens.input_ids == tokenizer.eos_token_id).int().argmax(1)]
        losses = []
        for name, values in ATTRIBUTES.items():
            target = torch.tensor([values.index(getattr(s, name)) for s in batch], device=run.device)
            losses.append(F.cross_entropy(heads[name](end), target))
        return torch.stack(losses).mean()

    text_encoder.load_state_dict(stage.optimise(loss_of)["text_encoder"].state_dict())


def _whole_caption(scene: Scene, rng: np.random.Generator) -> str:
    whole = [c for c in captions(scene) if scene.subject in c and scene.colour in c and scene.background in c]
    return str(rng.choice(whole))


@torch.no_grad()
def latents(
    run: Run, vae: AutoencoderKL, size: int, count: int, paint: Paint = draw, name: str = "latents"
) -> tuple[Tensor, list[Scene]]:
    """`count` scenes painted and encoded once, (count, 4, size/8, size/8), unit variance; kept in the work folder under
    `name` for as long as the VAE is the same."""
    weights = hashlib.sha256(b"".join(p.cpu().numpy().tobytes() for p in vae.encoder.parameters()))
    path = run.work / f"{name}_{size}_{count}_{run.seed}_{weights.hexdigest()[:8]}.pt"
    rng = np.random.default_rng((run.seed, size))
    drawn = scenes(rng)
    chosen: list[Scene] = []
    parts: list[Tensor] = []
    saved = torch.load(path, weights_only=True) if path.exists() else None
    for start in range(0, count, 64):
        batch = [next(drawn) for _ in range(min(64, count - start))]
        chosen += batch
        if saved is None:
            pictures = [
                np.asarray(paint(scene, np.random.default_rng((run.seed, size, start + i)), size))
                for i, scene in enumerate(batch)
            ]
            posterior = vae.encode(pixels(pictures, run.device), return_dict=False)[0]
            parts.append((posterior.mean * LATENT_SCALE).cpu())
            if start % 1600 == 0:
                print(f"encoding {size}x{size}: {start}/{count}", flush=True)
    encoded = saved if saved is not None else torch.cat(parts)
    if saved is None:
        run.work.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(encoded, partial)
        partial.replace(path)
    return encoded.to(run.device), chosen


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures of one size with their scenes, and how many of them make a batch.

    `holes` is what an inpainting UNet sees beside the noisy latents: (holes of each picture, pictures, 5, height / 8,
    width / 8), the mask before the latents of the picture with that hole.
    """

    latents: Tensor
    scenes: list[Scene]
    batch: int
    holes: Tensor | None = None


def coarse_and_fine(error: Tensor) -> Tensor:
    """The squared error of each picture with its coarse parts counted more.

    White noise spreads a picture's error evenly over all frequencies, so the mean of an 8x8 latent is a 64th of it, yet
    that mean is the colour. Any such positive form has the same minimum, the conditional expectation of the noise.
    """
    scales = ((error, 1.0), (F.avg_pool2d(error, 2), 4.0), (F.adaptive_avg_pool2d(error, 1), 8.0))
    return torch.stack([weight * part.square().mean((1, 2, 3)) for part, weight in scales]).sum(0)


def denoising_loss(
    networks: Networks, pictures: Pictures, rng: np.random.Generator, *, unworded: float = 0.1
) -> Tensor:
    """How wrong the UNet's guess of the noise is on a batch of `pictures`, one caption of each, min-SNR weighted; a
    share of `unworded` captions is left empty, as guidance needs (Ho and Salimans 2022). Where there are holes, every
    caption leaves something open: told everything, the UNet would have no need to look at what is around a hole."""
    device = pictures.latents.device
    chosen = rng.integers(0, len(pictures.scenes), pictures.batch)
    whole_ones = 4 if pictures.holes is None else 0
    wordings = [captions(pictures.scenes[i], whole_ones=whole_ones) for i in chosen]
    words = ["" if rng.random() < unworded else str(rng.choice(wording)) for wording in wordings]
    tokens = clip_tokenizer()(words, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    with torch.no_grad():  # it learned its words in stage 2, and every picture costs less this way
        context = networks.text_encoder(tokens.input_ids.to(device)).last_hidden_state
    x = pictures.latents[torch.as_tensor(chosen, device=device)]
    t = torch.as_tensor(rng.integers(0, 1000, len(chosen)), device=device)
    a = SD1.alphas_cumprod().to(device)[t][:, None, None, None]
    noise = torch.randn_like(x)
    seen = a.sqrt() * x + (1 - a).sqrt() * noise
    if pictures.holes is not None:
        which = torch.as_tensor(rng.integers(0, len(pictures.holes), len(chosen)), device=device)
        seen = torch.cat([seen, pictures.holes[which, torch.as_tensor(chosen, device=device)]], 1)
    predicted = networks.unet(seen, t, context).sample
    snr = (a / (1 - a)).flatten()
    weight = snr.clamp(max=5) / snr
    return (weight * coarse_and_fine(predicted - noise)).mean()


def train_unet(
    run: Run,
    name: str,
    networks: Networks,
    sources: list[tuple[float, Pictures]],
    *,
    steps: int,
    learning_rate: float,
) -> None:
    """Stages 3 and 4: epsilon-prediction on a mix of `sources` (share, pictures). Each save also writes a checkpoint,
    whose native size is that of the largest pictures."""
    side = max(pictures.latents.shape[-1] for _, pictures in sources) * 8
    shares = np.array([share for share, _ in sources])

    def export(average: nn.ModuleDict) -> None:
        layout.write(
            run.work / f"{name}.safetensors", average["unet"], networks.vae, networks.text_encoder, metadata=card(side)
        )

    stage = Stage(name, run, nn.ModuleDict({"unet": networks.unet}), steps, learning_rate, on_save=export)

    def loss_of(rng: np.random.Generator) -> Tensor:
        pictures = sources[rng.choice(len(sources), p=shares / shares.sum())][1]
        return denoising_loss(networks, pictures, rng)

    networks.unet.load_state_dict(stage.optimise(loss_of)["unet"].state_dict())


def train_inpainting(arguments: argparse.Namespace) -> None:
    """Fine-tune the UNet of a finished checkpoint on holes; its other networks stay as they are."""
    run = Run(device=torch.device(arguments.device), seed=arguments.seed, work=arguments.work)
    torch.manual_seed(run.seed)
    plain = Networks(*networks())
    layout.read(arguments.continue_from or CHECKPOINT, plain.unet, plain.vae, plain.text_encoder)
    learner = Networks(networks(in_channels=9)[0], plain.vae, plain.text_encoder)
    weights = plain.unet.state_dict()
    first = weights["conv_in.weight"]
    # The new channels are silent at first, so that it begins as the checkpoint it comes from.
    weights["conv_in.weight"] = torch.cat([first, first.new_zeros(len(first), 5, *first.shape[2:])], 1)
    learner.unet.load_state_dict(weights)
    learner.to(run.device, torch.float32)
    count = arguments.pictures // 2
    encoded, drawn = latents(run, learner.vae, 128, count)
    beside = torch.stack([holes(run, learner.vae, 128, count, drawn, number) for number in range(HOLES)])
    pictures = Pictures(encoded, drawn, batch=arguments.native_batch, holes=beside)
    train_unet(run, "inpaint", learner, [(1.0, pictures)], steps=arguments.inpaint_steps, learning_rate=1e-3)
    metadata = card(128) | {"modelspec.title": "Atelier starter, inpainting"}
    layout.write(arguments.output, learner.unet, learner.vae, learner.text_encoder, metadata=metadata)


def holes(run: Run, vae: AutoencoderKL, size: int, count: int, drawn: list[Scene], number: int) -> Tensor:
    """The hole of that `number` in each of `count` pictures and what is left of it, (count, 5, size / 8, size / 8)."""

    def paint(scene: Scene, rng: np.random.Generator, size: int) -> Image.Image:
        return holed(scene, rng, size, number)[0]

    left, _ = latents(run, vae, size, count, paint, f"hole{number}")
    masks = [
        hole(scene, np.random.default_rng((run.seed, size, i)).spawn(number + 1)[number], size)
        for i, scene in enumerate(drawn)
    ]
    # The nearest pixel of each latent's 8x8, as A1111 takes it.
    small = torch.from_numpy(np.stack([np.asarray(mask)[::8, ::8] for mask in masks])).to(run.device).float() / 255
    return torch.cat([small[:, None], left], 1)


def train(arguments: argparse.Namespace) -> None:
    """Run the stages in order; whatever is already done is taken from the work folder."""
    run = Run(device=torch.device(arguments.device), seed=arguments.seed, work=arguments.work)
    torch.manual_seed(run.seed)
    trained = Networks(*networks())
    trained.to(run.device, torch.float32)
    fresh = arguments.continue_from is None
    if not fresh:
        layout.read(arguments.continue_from, trained.unet, trained.vae, trained.text_encoder)
    if vae_steps := (VAE_STEPS if fresh else 0) if arguments.vae_steps is None else arguments.vae_steps:
        train_vae(run, trained.vae, vae_steps, arguments.vae_pictures)
    if fresh:
        train_text(run, trained.text_encoder, arguments.text_steps)
    small = Pictures(*latents(run, trained.vae, 64, arguments.pictures), batch=arguments.small_batch)
    if arguments.small_steps:
        train_unet(run, "unet64", trained, [(1.0, small)], steps=arguments.small_steps, learning_rate=1e-3)
    if arguments.native_steps:
        encoded = latents(run, trained.vae, 128, arguments.pictures // 2)
        native = Pictures(*encoded, batch=arguments.native_batch)
        mix = [(0.75, native), (0.25, small)]
        train_unet(run, "unet128", trained, mix, steps=arguments.native_steps, learning_rate=6e-4)
    side = 128 if arguments.native_steps else 64
    layout.write(arguments.output, trained.unet, trained.vae, trained.text_encoder, metadata=card(side))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m starter.train", description="Train the starter checkpoint.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--continue-from", type=Path, help="a finished checkpoint to improve, such as the shipped one")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of what is trained so far")
    parser.add_argument("--output", type=Path, help="by default the file that ships")
    parser.add_argument("--inpaint", action="store_true", help="make an inpainting checkpoint of a finished one")
    parser.add_argument("--inpaint-steps", type=int, default=2400)
    parser.add_argument("--pictures", type=int, default=10_000, help="64x64 pictures to draw; half as many at 128x128")
    parser.add_argument("--vae-pictures", type=int, default=4000, help="to draw of each size for the VAE")
    parser.add_argument("--vae-steps", type=int, help=f"{VAE_STEPS} for a new starter, 0 for one that is improved")
    parser.add_argument("--text-steps", type=int, default=600)
    parser.add_argument("--small-steps", type=int, default=7000, help="steps of the UNet at 64x64")
    parser.add_argument("--native-steps", type=int, default=4000, help="steps of the UNet at 128x128")
    parser.add_argument("--small-batch", type=int, default=32)
    parser.add_argument("--native-batch", type=int, default=16)
    arguments = parser.parse_args()
    arguments.output = arguments.output or (INPAINTING if arguments.inpaint else CHECKPOINT)
    (train_inpainting if arguments.inpaint else train)(arguments)
    print(f"wrote {arguments.output} ({arguments.output.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
