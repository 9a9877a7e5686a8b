"""One checkpoint on one device, and the ways of making the same picture with it that `bench.engine` compares."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

from backend.app import App, Options
from backend.engine import Engine
from backend.events import Progress
from backend.families.ldm import BETAS, TRAINING_STEPS
from backend.families.networks import Networks
from backend.jobs import Job
from backend.outputs import PNG_COMPRESSION
from backend.request import GenerationRequest
from backend.settings import SettingsStore

Shape = tuple[int, ...]
CHUNK = 77  # tokens of a text with its start and end


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the networks were asked: texts encoded, the shape of each UNet call's latents, and of each decoding's."""

    texts: int
    denoised: tuple[Shape, ...]
    decoded: tuple[Shape, ...]

    @classmethod
    def of(cls, request: GenerationRequest) -> "Work":
        """The least that a guided request of one picture can be made with, one evaluation a step."""
        latents = (4, request.height // 8, request.width // 8)
        return cls(texts=2, denoised=((2, *latents),) * request.steps, decoded=((1, *latents),))


@dataclass(frozen=True)
class Calls:
    """The calls of three networks as they happened, arguments and all, so that they can be made again."""

    networks: Networks
    texts: list[tuple[Any, Any]] = field(default_factory=list)
    denoised: list[tuple[Any, Any]] = field(default_factory=list)
    decoded: list[Any] = field(default_factory=list)  # tensors; diffusers' annotation of them is none that exists

    @property
    def work(self) -> Work:
        """What these calls amount to."""
        return Work(
            texts=sum(ids.numel() // CHUNK for (ids, *_), _ in self.texts),
            denoised=tuple(tuple(x.shape) for (x, *_), _ in self.denoised),
            decoded=tuple(tuple(z.shape) for z in self.decoded),
        )

    @torch.inference_mode()
    def replay(self) -> None:
        """The networks' work and nothing around it."""
        for args, kwargs in self.texts:
            self.networks.text_encoder(*args, **kwargs)
        for args, kwargs in self.denoised:
            self.networks.unet(*args, **kwargs)
        for z in self.decoded:
            self.networks.vae.decode(z, return_dict=False)


@contextmanager
def recorded(networks: Networks) -> Iterator[Calls]:
    """Write down every call of the networks until the end of the `with`; nothing stays on them after it."""
    calls = Calls(networks)
    hooks = [
        networks.text_encoder.register_forward_pre_hook(
            lambda _module, args, kwargs: calls.texts.append((args, kwargs)), with_kwargs=True
        ),
        networks.unet.register_forward_pre_hook(
            lambda _module, args, kwargs: calls.denoised.append((args, kwargs)), with_kwargs=True
        ),
        # Decoding is no forward of the VAE; this is its first layer, and nobody else's.
        networks.vae.get_submodule("post_quant_conv").register_forward_pre_hook(
            lambda _module, args: calls.decoded.append(args[0])
        ),
    ]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


class Subject:
    """The product's engine on `checkpoint`, and what it is measured against: the same networks in every way."""

    def __init__(self, checkpoint: Path, request: GenerationRequest, device: Literal["cpu", "cuda"], folder: Path):
        """Loads the checkpoint, makes the picture of `request` once in each way, and counts: raises `RuntimeError` if
        a way did other work than the others, for then no ratio would be honest. Everything is kept in `folder`."""
        app = App(Options(data_dir=folder, checkpoint_dirs=(checkpoint.parent,), device=device))
        record = app.catalog.find(checkpoint.stem)
        if not record.path.samefile(checkpoint):
            raise RuntimeError(f"{record.path} has the name of {checkpoint} and would be measured in its place.")
        app.settings.update({"checkpoint": record.name})
        self.request = app.prepare(replace(request, checkpoint=record.name))
        self._picture = folder / "diffusers.png"
        self._engine = Engine.create(app)
        quiet = SettingsStore(folder / "without-previews.json")
        quiet.update({"previews": False})
        self._quiet_engine = Engine(
            self._engine.residency,
            app.catalog,
            app.hashes,
            app.outputs,
            quiet,
            app.inputs,
            app.upscalers,
            app.options.depth_folder,
        )
        with self._engine.residency.ready(record) as model:
            self._device = model.device
            self.networks = model.networks
            self._pipeline = _pipeline(model.networks, model.tokenizer).to(model.device)
        self._calls = self._checked(self.whole)
        self._checked(self.diffusers)
        self._checked(self.without_previews)
        self.bare()

    def whole(self) -> bool:
        """A generation as the product makes it, previews and PNG; whether there was a preview at the end."""
        return self._generate(self._engine)

    def without_previews(self) -> bool:
        """The same with previews turned off in the settings."""
        return self._generate(self._quiet_engine)

    def bare(self) -> None:
        """The calls of the networks that `whole` makes, with its very arguments."""
        self._calls.replay()
        self._wait()

    def diffusers(self) -> bool:
        """diffusers' own pipeline and a PNG of the same compression; it has no previews."""
        request = self.request
        made: Any = self._pipeline(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.cfg_scale,
            generator=torch.Generator().manual_seed(request.seed),
        )
        made.images[0].save(self._picture, compress_level=PNG_COMPRESSION)
        self._wait()
        return False

    def _generate(self, engine: Engine) -> bool:
        job = Job(self.request, "bench")
        engine.encoded.clear()  # the same words each time would be encoded once only
        engine.generate(self.request, job)
        self._wait()
        return any(event.preview for _, event in job.since() if isinstance(event, Progress))

    def _checked(self, way: Callable[[], bool]) -> Calls:
        with recorded(self.networks) as calls:
            previewed = way()
        wanted = Work.of(self.request)
        if calls.work != wanted:
            raise RuntimeError(f"{way.__name__} did {calls.work}, not {wanted}: the ways cannot be compared.")
        if previewed != (way == self.whole):
            raise RuntimeError(
                f"{way.__name__} made {'a' if previewed else 'no'} preview: the ways cannot be compared."
            )
        return calls

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _pipeline(networks: Networks, tokenizer: Any) -> StableDiffusionPipeline:
    """DPM++ 2M with the Karras schedule in diffusers' words."""
    low, high = BETAS
    scheduler: Any = DPMSolverMultistepScheduler(
        num_train_timesteps=TRAINING_STEPS,
        beta_start=low,
        beta_end=high,
        beta_schedule="scaled_linear",
        algorithm_type="dpmsolver++",
        solver_order=2,
        use_karras_sigmas=True,
        steps_offset=1,
    )
    pipeline = StableDiffusionPipeline(
        vae=networks.vae,
        text_encoder=networks.text_encoder,
        tokenizer=tokenizer,
        unet=networks.unet,
        scheduler=scheduler,
        safety_checker=cast(Any, None),  # may be left out, which the annotations do not say
        feature_extractor=cast(Any, None),
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
