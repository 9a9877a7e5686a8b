"""AUTOMATIC1111's `p` and `process_images`, on a request and a nested generation."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from backend.extension_api import GenerationRequest, Image, InvalidRequest, PictureTurn, Variation, find_axis

# Its names for what a request has under another one, or under the same.
NAMES = {
    **{name: name for name in ("prompt", "negative_prompt", "seed", "steps", "cfg_scale", "width", "height", "tiling")},
    "batch_size": "batch_size",
    "n_iter": "batch_count",
    "scheduler": "schedule",
}


class Processing:
    """A request with AUTOMATIC1111's names, to be read and changed. What is not among them can be set, and means
    nothing."""

    prompt: Any
    negative_prompt: Any
    seed: Any
    steps: Any
    cfg_scale: Any
    width: Any
    height: Any
    tiling: Any
    batch_size: Any
    n_iter: Any
    scheduler: Any

    def __init__(self, turn: PictureTurn, image: Image.Image):
        request = turn.request
        init = request.init
        self._turn, self._image, self._request = turn, image, request
        self._first = True
        for theirs, ours in NAMES.items():
            setattr(self, theirs, getattr(request, ours))
        variation = request.variation or Variation(strength=0.0)
        self.sampler_name = request.sampler
        self.subseed, self.subseed_strength = variation.seed, variation.strength
        self.denoising_strength = init.denoising_strength if init else None
        self.init_images = [turn.picture(init.picture)] if init else []
        self._given = tuple(self.init_images)
        self.extra_generation_params: dict[str, Any] = {}
        self.styles: list[str] = []
        self.outpath_samples = self.outpath_grids = ""
        self.do_not_save_samples = self.do_not_save_grid = False
        self.script_args: Sequence[Any] = ()

    def pictures(self) -> tuple[list[Image.Image], list[GenerationRequest]]:
        """What it asks for now. The picture that was made already is the answer to the first question that is not
        changed."""
        requests = list(self._requests())
        made: list[Image.Image] = []
        for request in requests:
            if self._first and request == self._request:
                made.append(self._image)
            else:
                made += self._turn.generate(request)
            self._first = False
        for key, value in self.extra_generation_params.items():
            self._turn.note(str(key), str(value))
        return made, requests

    def _requests(self) -> list[GenerationRequest]:
        """One for each of the prompts and seeds, of which there may be lists."""
        changes = {ours: getattr(self, theirs) for theirs, ours in NAMES.items()}
        several = [changes[name] for name in ("prompt", "negative_prompt", "seed") if isinstance(changes[name], list)]
        found = []
        for number in range(max(map(len, several), default=1)):
            own = {name: v[number % len(v)] if isinstance(v, list) else v for name, v in changes.items()}
            made = find_axis("Sampler").apply(replace(self._request, **own), str(self.sampler_name), ())
            if made.sampler == self._request.sampler or own["schedule"] != self._request.schedule:
                made = replace(made, schedule=own["schedule"])
            found.append(replace(made, **self._varied(), init=self._init()))
        return found

    def _varied(self) -> dict[str, Any]:
        variation = self._request.variation
        if not self.subseed_strength:
            return {} if variation is None else {"variation": None}
        return {"variation": Variation(seed=self.subseed, strength=self.subseed_strength)}

    def _init(self) -> Any:
        init = self._request.init
        if init is None:
            if self.init_images:
                raise InvalidRequest("This script begins with a picture of its own: start it in img2img.")
            return None
        if tuple(self.init_images) != self._given:
            init = replace(init, picture=self._turn.keep(self.init_images[0].convert("RGB")), sketch="")
        return replace(init, denoising_strength=self.denoising_strength)


class Processed:
    """What a script gives back: pictures, and some words about them."""

    def __init__(
        self, p: Processing, images_list: Sequence[Image.Image], seed: int = -1, info: str = "", **more: Any
    ) -> None:
        self.images = list(images_list)
        self.seed, self.info = seed, info
        self.prompt, self.negative_prompt = p.prompt, p.negative_prompt
        self.width, self.height = p.width, p.height
        self.subseed = p.subseed
        self.index_of_first_image = 0
        self.all_seeds = self.all_subseeds = [seed] * len(self.images)
        self.all_prompts = [self.prompt] * len(self.images)
        self.infotexts = [info] * len(self.images)
        for name, value in more.items():
            setattr(self, name, value)

    def infotext(self, _p: Processing, _index: int) -> str:
        return self.info

    def js(self) -> str:
        return "{}"


def process_images(p: Processing) -> Processed:
    """Make what `p` asks for now. Raises `Stopped` and `UserError`."""
    made, requests = p.pictures()
    seeds = [seed for each in requests for batch in range(each.batch_count) for seed in each.seeds(batch)]
    return Processed(p, made, seed=seeds[0], all_seeds=seeds, all_prompts=[each.prompt for each in requests])


def fix_seed(p: Processing) -> None:
    """Choose a seed where there is none: there is one here."""
    if p.seed in (None, "", -1):
        p.seed = GenerationRequest().resolved().seed


def grid_of(imgs: Sequence[Image.Image], batch_size: int = 1, rows: int | None = None) -> Image.Image:  # noqa: ARG001
    """Pictures in rows, as many as columns unless said."""
    rows = rows or max(1, math.isqrt(len(imgs)))
    columns = math.ceil(len(imgs) / rows)
    width, height = max(each.width for each in imgs), max(each.height for each in imgs)
    whole = Image.new("RGB", (columns * width, rows * height), "black")
    for number, each in enumerate(imgs):
        whole.paste(each, (number % columns * width, number // columns * height))
    return whole
