"""What a list of requests will cost, before it is started."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backend.errors import InvalidRequest
from backend.grids.grid import Grid
from backend.request import GenerationRequest
from backend.sampling.samplers import calls, find_sampler

LARGEST_SHEET = 200  # megapixels: A1111's img_max_size_mp
MEGAPIXEL = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Pictures; evaluations of the network, `steps`, as far as they are known beforehand; the same by the megapixels of
    what it works on, which is what time goes by; how often a checkpoint is loaded that was not the last; and the
    megapixels of the grid's picture, 0 where there is none."""

    pictures: int
    steps: int
    megapixel_steps: float
    checkpoint_loads: int
    sheet: float = 0.0

    @property
    def sentence(self) -> str:
        """All of it, for the person who is about to start it."""
        loads = f", {_many(self.checkpoint_loads, 'checkpoint load')}" if self.checkpoint_loads > 1 else ""
        sheet = f"; a grid of {self.sheet:.1f} megapixels" if self.sheet else ""
        return (
            f"{_many(self.pictures, 'picture')}, {_many(self.steps, 'step')}, {self.megapixel_steps:,.1f} megapixel "
            f"steps{loads}{sheet}."
        )


def cost_of(requests: Sequence[GenerationRequest]) -> Cost:
    """The cost of requests in their order. What a tiled upscale costs depends on its picture: it counts as one tile."""
    passes = [(request, each) for request in requests for each in _passes(request)]
    loaded = [name for request in requests for name in _checkpoints(request)]
    return Cost(
        pictures=sum(request.pictures for request in requests),
        steps=sum(request.pictures * steps for request, (steps, _) in passes),
        megapixel_steps=sum(request.pictures * steps * pixels for request, (steps, pixels) in passes) / MEGAPIXEL,
        checkpoint_loads=sum(name != before for name, before in zip(loaded, [None, *loaded], strict=False)),
    )


def cost_of_grid(grid: Grid) -> Cost:
    """The cost of a grid; cells that are alike are made once. Raises `InvalidRequest` for one whose picture would be
    larger than `LARGEST_SHEET`."""
    different = {
        cell.request.to_json() if cell.request.seed >= 0 else str(n): cell for n, cell in enumerate(grid.cells)
    }
    cost = cost_of([cell.request for cell in different.values()])
    sizes = [shown_size(cell.request) for cell in grid.cells]
    width = (max(w for w, _ in sizes) + grid.look.margin) * len(grid.x.legends) * len(grid.z.legends)
    height = (max(h for _, h in sizes) + grid.look.margin) * len(grid.y.legends)
    sheet = width * height / MEGAPIXEL
    if sheet > LARGEST_SHEET:
        raise InvalidRequest(
            f"The picture of this grid would have {sheet:,.0f} megapixels; {LARGEST_SHEET} are allowed: choose fewer "
            "values, or a smaller size."
        )
    return Cost(
        pictures=cost.pictures,
        steps=cost.steps,
        megapixel_steps=cost.megapixel_steps,
        checkpoint_loads=cost.checkpoint_loads,
        sheet=sheet,
    )


def shown_size(request: GenerationRequest) -> tuple[int, int]:
    """The size of its pictures, as far as the request says it: what goes back into a picture has that one's size."""
    hires = request.hires
    return (request.width, request.height) if hires is None else hires.target(request.width, request.height)


def _passes(request: GenerationRequest) -> Iterator[tuple[int, int]]:
    """Evaluations and pixels of each way through a sampler, of one picture."""
    pixels = request.width * request.height
    if request.init is not None:
        strength = min(request.init.denoising_strength, 0.999)
        yield _evaluations(request.sampler, int(strength * request.steps) + 1), pixels
        return
    yield _evaluations(request.sampler, request.steps), pixels
    hires = request.hires
    if hires is not None and hires.denoising_strength > 0:
        width, height = hires.target(request.width, request.height)
        yield _evaluations(hires.sampler or request.sampler, hires.steps or request.steps), width * height


def _evaluations(sampler: str, steps: int) -> int:
    known = calls(find_sampler(sampler), steps)
    return steps if known is None else known


def _checkpoints(request: GenerationRequest) -> list[str]:
    """Those of a request in the order in which they are needed, for each batch."""
    others = (part.checkpoint for part in (request.refiner, request.hires) if part is not None)
    return [request.checkpoint, *filter(None, others)] * request.batch_count


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
