"""Grids at work: cells that are jobs, the picture that is drawn of them, and what a crash leaves."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from backend.any_request import read_request
from backend.app import App, Options
from backend.errors import Abandoned, InvalidRequest, QueueFull, UserError
from backend.events import ImageReady, Notice
from backend.grids.found import pictures_of
from backend.grids.grid import Cell, Grid, Line, Look, Side
from backend.grids.grids import CHUNK, OUTCOMES, VALUES
from backend.grids.request import GridRequest
from backend.grids.sheet import EMPTY, draw
from backend.infotext.provenance import FileHashes, Provenance
from backend.infotext.recipe import read_recipe
from backend.infotext.write import write_infotext
from backend.job_store import MOST_BEGINNINGS
from backend.jobs import BEGUN_AGAIN, Job
from backend.request import GenerationRequest
from extensions.prompt_matrix import Matrix
from extensions.xyz_plot.plot import Plot, Plotted

BASE = GenerationRequest(prompt="a red boat", seed=5, steps=3, width=64, height=64)
PLOT = Plot(x=Plotted(axis="Seed", values="5-8"))


class Painter:
    """Paints a colour for each seed, and saves it as the engine does. What `at` says of a seed happens to it."""

    def __init__(self, app: App, at: dict[int, str]):
        self._app = app
        self.at = at
        self.made: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def generate(self, request: GenerationRequest | GridRequest, job: Job) -> None:
        self.gate.wait(10)
        job.check()
        if isinstance(request, GridRequest):
            self._app.grids.draw(request, job)
            return
        what = self.at.get(request.seed, "")
        if what == "fail":
            raise UserError("This one cannot be made.")
        if what == "die":
            raise Abandoned  # the thread ends where it stands, as with the process
        if what == "cancel":
            job.cancel()
        self.made.append(request.seed)
        size = (request.width, request.height)
        picture = Image.new("RGB", size, (request.seed * 10, request.steps, request.seed))
        path = self._saved(picture, request)
        if what == "die saved":
            raise Abandoned
        job.emit(
            ImageReady(
                index=0, seed=request.seed, path=path, width=64, height=64, infotext="", request=request.to_json()
            )
        )
        job.check()

    def _saved(self, picture: Image.Image, request: GenerationRequest) -> Path:
        files = FileHashes(checkpoint="0123456789abcdef")
        infotext = write_infotext(request, files, schedule="Karras")
        made_with = Provenance(files=files, device="CPU").to_json()
        return self._app.outputs.save(picture, request, infotext=infotext, schedule="Karras", made_with=made_with)


class Studio:
    """An app, opened as often as it takes, and its painter."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._opened: list[App] = []
        self.at: dict[int, str] = {}

    def open(self) -> App:
        app = App(Options(data_dir=self._folder, device="cpu"), worker=self._worker)
        self.painter = Painter(app, self.at)
        app.start()
        self._opened.append(app)
        return app

    def _worker(self, _app: App) -> Painter:
        return self.painter

    def close(self) -> None:
        for app in self._opened:
            app.close()


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path)
    yield studio
    studio.close()


def wait(until: Callable[[], bool]) -> None:
    for _ in range(2000):
        if until():
            return
        time.sleep(0.005)
    raise AssertionError("it never came")


def ended(job: Job) -> Job:
    list(job.follow())
    return job


def place_of(job: Job) -> str:
    assert isinstance(job.request, GridRequest)
    return job.request.place


def states(app: App, place: str) -> list[str]:
    return [each.state for each in app.grids.cells(place, "me")]


def colours(path: Path, columns: int) -> list[tuple[int, ...]]:
    """What stands in the middle of each column of the lowest row."""
    with Image.open(path) as picture:
        wide = picture.width // columns
        return [picture.getpixel((wide * k + wide // 2, picture.height - 8)) for k in range(columns)]  # pyright: ignore


def paint(seed: int, steps: int = 3) -> tuple[int, int, int]:
    return (seed * 10, steps, seed)


def test_cells_are_jobs_and_the_grid_is_drawn_behind_them(studio: Studio) -> None:
    app = studio.open()
    job = ended(app.grids.begin(PLOT.grid(BASE), "me"))
    assert [each.state for each in app.queue.jobs("me")] == ["finished"] * 5
    (image,) = job.images
    assert image.path.parent == app.outputs.folder / "grids" / place_of(job)
    assert colours(image.path, 4) == [paint(seed) for seed in (5, 6, 7, 8)]
    cells = app.grids.cells(place_of(job), "me")
    assert [(each.state, each.cell.x, each.cell.request.seed) for each in cells] == [
        ("made", x, seed) for x, seed in enumerate((5, 6, 7, 8))
    ]
    for each in cells:
        assert each.picture is not None
        assert Image.open(each.picture).getpixel((0, 0)) == paint(each.cell.request.seed)
        assert app.queue.find(each.cell.job, "me").images[0].path == each.picture
    assert app.grids.places("me") == [place_of(job)]
    # Somebody else's is not there, and neither is what lies elsewhere
    assert app.grids.places("you") == []
    for place, owner in ((place_of(job), "you"), ("../settings.json", "me"), ("2026-01-01/000000-00000000", "me")):
        with pytest.raises(InvalidRequest, match="There is no grid"):
            app.grids.cells(place, owner)
    assert "me" not in json.loads((image.path.parent / VALUES).read_text())["owner"]


def test_the_picture_of_a_grid_says_what_a1111s_says(studio: Studio) -> None:
    app = studio.open()
    plot = Plot(x=Plotted(axis="Seed", values="5, 6"), y=Plotted(axis="Prompt S/R", values='red,"blue, deep"'))
    job = ended(app.grids.begin(plot.grid(BASE), "me"))
    recipe = read_recipe(job.images[0].path)
    assert recipe is not None
    assert recipe.text == job.images[0].infotext
    assert recipe.text.splitlines()[-1].partition("RNG: NV, ")[2] == (
        'Script: X/Y/Z plot, X Type: Seed, X Values: "5, 6", Fixed X Values: "5, 6", Y Type: Prompt S/R, '
        'Y Values: "red,\\"blue, deep\\"", Version: Atelier 0.1.0'
    )
    first = app.grids.cells(place_of(job), "me")[0]
    assert recipe.request == first.cell.shown.to_json()
    assert recipe.made_with
    with Image.open(job.images[0].path) as picture:
        grid = Grid.from_json(picture.info[CHUNK])
    assert (grid.owner, grid.x.name, len(grid.cells)) == ("", "Seed", 4)
    assert read_request(job.images[0].request) == first.cell.shown
    assert read_request(job.request.to_json()) == job.request


def test_a_wrong_cell_queues_nothing(studio: Studio) -> None:
    app = studio.open()
    plot = Plot(x=Plotted(axis="Checkpoint name", values="starter, missing"))
    with pytest.raises(UserError, match="missing"):
        app.grids.begin(plot.grid(BASE), "me")
    assert app.queue.jobs("me") == []
    assert app.grids.places("me") == []


def test_cells_that_are_alike_are_made_once(studio: Studio) -> None:
    app = studio.open()
    job = ended(app.grids.begin(Plot(x=Plotted(axis="Seed", values="5,6,5")).grid(BASE), "me"))
    assert studio.painter.made == [5, 6]
    assert colours(job.images[0].path, 3) == [paint(5), paint(6), paint(5)]


@pytest.mark.parametrize("how", ["die", "die saved"])
def test_what_a_crash_cost_is_made_again_and_nothing_else(studio: Studio, how: str) -> None:
    studio.at[7] = how
    app = studio.open()
    job = app.grids.begin(PLOT.grid(BASE), "me")
    thread = next(each for each in threading.enumerate() if each is app.queue._thread)
    thread.join(10)
    before = studio.painter.made
    del studio.at[7]
    again = studio.open()  # on what is on the disk
    assert states(again, place_of(job))[:2] == ["made", "made"]
    wait(lambda: any(isinstance(each.request, GridRequest) and each.images for each in again.queue.jobs("me")))
    drawing = next(each for each in again.queue.jobs("me") if each.images and isinstance(each.request, GridRequest))
    assert colours(drawing.images[0].path, 4) == [paint(seed) for seed in (5, 6, 7, 8)]
    assert states(again, place_of(job)) == ["made"] * 4
    # What ran is made again from the start, also where its picture had just been saved.
    assert before + studio.painter.made == ([5, 6, 7, 7, 8] if how == "die saved" else [5, 6, 7, 8])
    events = [event for each in again.queue.jobs("me") for _, event in each.since()]
    assert [event.message for event in events if isinstance(event, Notice)] == [BEGUN_AGAIN]


def test_a_cell_that_ends_the_process_every_time_leaves_an_empty_place(studio: Studio) -> None:
    studio.at[7] = "die"
    app = studio.open()
    app.grids.begin(PLOT.grid(BASE), "me")
    for _ in range(MOST_BEGINNINGS):
        assert app.queue._thread is not None
        app.queue._thread.join(10)
        app = studio.open()
    wait(lambda: any(job.images for job in app.queue.jobs("me") if isinstance(job.request, GridRequest)))
    drawing = next(job for job in app.queue.jobs("me") if job.images and isinstance(job.request, GridRequest))
    assert colours(drawing.images[0].path, 4) == [paint(5), paint(6), EMPTY, paint(8)]
    assert states(app, place_of(drawing)) == ["made", "made", "failed", "made"]
    assert [job.state for job in app.queue.line()] == []


def test_a_cancelled_cell_leaves_an_empty_place_and_can_be_made_later(studio: Studio) -> None:
    studio.at |= {6: "cancel", 7: "fail"}
    app = studio.open()
    job = ended(app.grids.begin(PLOT.grid(BASE), "me"))
    assert states(app, place_of(job)) == ["made", "stopped", "failed", "made"]
    assert colours(job.images[0].path, 4) == [paint(5), EMPTY, EMPTY, paint(8)]
    assert app.grids.cells(place_of(job), "me")[2].message == "This one cannot be made."
    for each in app.queue.jobs("me"):  # the queue forgets; what was half made is no picture of the grid all the same
        app.queue.forget(each)
    assert states(app, place_of(job)) == ["made", "stopped", "failed", "made"]
    studio.at.clear()
    studio.painter.made.clear()
    second = ended(app.grids.resume(place_of(job), "me"))
    assert studio.painter.made == [6, 7]
    assert states(app, place_of(job)) == ["made"] * 4
    assert colours(second.images[0].path, 4) == [paint(seed) for seed in (5, 6, 7, 8)]
    assert second.images[0].path.parent == job.images[0].path.parent


def test_what_the_end_of_the_process_interrupts_is_made_again(studio: Studio) -> None:
    app = studio.open()
    studio.painter.gate.clear()
    job = app.grids.begin(PLOT.grid(BASE), "me")
    wait(lambda: app.queue.jobs("me")[0].state == "running")
    closing = threading.Thread(target=app.close)
    closing.start()
    wait(lambda: app.queue.jobs("me")[0]._wish is not None)
    studio.painter.gate.set()
    closing.join()
    again = studio.open()
    wait(lambda: any(each.images for each in again.queue.jobs("me") if isinstance(each.request, GridRequest)))
    assert states(again, place_of(job)) == ["made"] * 4


def test_a_whole_grid_can_be_cancelled(studio: Studio) -> None:
    app = studio.open()
    studio.painter.gate.clear()
    job = app.grids.begin(PLOT.grid(BASE), "me")
    wait(lambda: app.queue.jobs("me")[0].state == "running")
    assert states(app, place_of(job)) == ["running", "queued", "queued", "queued"]
    app.grids.cancel(place_of(job), "me")
    studio.painter.gate.set()
    (*_, failed) = job.follow()
    assert getattr(failed, "message", "") == "None of this grid's pictures is there, so there is nothing to draw."


def test_a_picture_that_is_deleted_is_made_again(studio: Studio) -> None:
    app = studio.open()
    job = ended(app.grids.begin(PLOT.grid(BASE), "me"))
    gone = app.grids.cells(place_of(job), "me")[1].picture
    assert gone is not None
    gone.unlink()
    (app.outputs.folder / "grids" / place_of(job) / OUTCOMES).write_text('{"half a li')  # and its file was damaged
    studio.painter.made.clear()
    ended(app.grids.resume(place_of(job), "me"))
    assert studio.painter.made == [6]


def test_every_cell_has_the_words_of_its_seed(studio: Studio) -> None:
    app = studio.open()
    request = replace(BASE, prompt="a {red|blue|green|grey} boat")
    job = ended(app.grids.begin(PLOT.grid(request), "me"))
    cells = [each.cell.request for each in app.grids.cells(place_of(job), "me")]
    assert [each.prompt for each in cells] == [
        sample.prompt for sample in app.wildcards.samples(request.prompt, seed=5, count=4)
    ]
    assert {each.template.prompt for each in cells if each.template} == {request.prompt}


def test_each_picture_of_a_batch_is_a_job_where_words_are_drawn(studio: Studio) -> None:
    app = studio.open()
    jobs = app.submit(replace(BASE, prompt="{a|b} boat", batch_size=2, batch_count=2), "me")
    assert [job.request.seed for job in jobs] == [5, 6, 7, 8]
    for job in map(ended, jobs):
        assert isinstance(job.request, GenerationRequest)
        assert job.request.prompt in ("a boat", "b boat")
        assert app.prepare(job.request) == job.request
    assert len(app.submit(replace(BASE, batch_size=2), "me")) == 1


def test_pictures_are_found_by_what_their_files_say(tmp_path: Path, studio: Studio) -> None:
    app = studio.open()
    request = app.prepare(BASE)
    path = studio.painter._saved(Image.new("RGB", (64, 64)), request)
    day = path.parent.name
    wanted = {"key": request.to_json(), "other": replace(request, seed=6).to_json()}
    (path.parent / "notes.png").write_bytes(b"no picture")
    assert pictures_of(wanted, app.outputs.folder, day, set()) == {"key": path}
    assert pictures_of(wanted, app.outputs.folder, day, {str(path)}) == {}
    assert pictures_of(wanted, app.outputs.folder, "9999-01-01", set()) == {}
    assert pictures_of(wanted, tmp_path / "nothing", day, set()) == {}


def painted(folder: Path, name: str, colour: str, size: tuple[int, int] = (60, 40)) -> Path:
    path = folder / f"{name}.png"
    Image.new("RGB", size, colour).save(path)
    return path


def sheet_of(look: Look, *, wide: int = 2, high: int = 2, deep: int = 1, legends: bool = True) -> Grid:
    def side(name: str, count: int) -> Side:
        shown = tuple((Line(text=f"{name} {k}"),) if legends else () for k in range(count))
        return Side(name=name, legends=shown)

    cells = tuple(Cell(x=x, y=y, z=z, request=BASE) for z in range(deep) for y in range(high) for x in range(wide))
    return Grid(
        script="X/Y/Z plot", base=BASE, cells=cells, x=side("x", wide), y=side("y", high), z=side("z", deep), look=look
    )


def test_the_picture_of_a_grid(tmp_path: Path) -> None:
    red, blue = painted(tmp_path, "red", "red"), painted(tmp_path, "blue", "blue", (40, 40))
    places = {(0, 0): red, (1, 1): blue, (0, 1): tmp_path / "gone.png"}
    (bare,) = draw(sheet_of(Look(legend=False, margin=10)), lambda x, y, _z: places.get((x, y)))
    assert bare.size == (60 * 2 + 10, 40 * 2 + 10)
    assert bare.getpixel((0, 0)) == (255, 0, 0)
    assert bare.getpixel((65, 5)) == (255, 255, 255)  # the margin
    assert bare.getpixel((80, 5)) == EMPTY
    assert bare.getpixel((30, 60)) == EMPTY
    assert [bare.getpixel((x, 70)) for x in (72, 81, 119, 127)] == [
        (255, 255, 255),
        (0, 0, 255),
        (0, 0, 255),
        (255,) * 3,
    ]
    (legended,) = draw(sheet_of(Look()), lambda x, y, _z: places.get((x, y)))
    left, top = legended.width - 120, legended.height - 80
    assert left > 0
    assert top > 0
    assert legended.getpixel((left, top)) == (255, 0, 0)
    for box in ((left, 0, left + 60, top), (left + 60, 0, left + 120, top), (0, top, left, top + 40)):
        assert min(legended.crop(box).convert("L").getextrema()) < 100  # type: ignore[type-var]
    assert legended.crop((0, 0, left, top)).getextrema() == ((255, 255),) * 3


def test_planes_stand_side_by_side_and_can_be_had_alone(tmp_path: Path) -> None:
    red = painted(tmp_path, "red", "red")
    grid = sheet_of(Look(sub_grids=True, margin=6), deep=3)
    first, _, third, whole = draw(grid, lambda x, y, z: red if (x, y, z) == (0, 0, 2) else None)
    assert first.size == third.size
    assert whole.width == 3 * first.width + 2 * 6
    assert whole.height > first.height
    third_in_whole = whole.crop((2 * (first.width + 6), whole.height - third.height, whole.width, whole.height))
    assert third_in_whole.tobytes() == third.tobytes()
    assert first.tobytes() != third.tobytes()
    assert len(list(draw(sheet_of(Look(), deep=3), lambda _x, _y, _z: red))) == 1


def test_long_and_crossed_out_legends_fit(tmp_path: Path) -> None:
    red = painted(tmp_path, "red", "red")
    long = Side(name="x", legends=((Line(text="word " * 30), Line(text="w" * 200, active=False)), ()))
    plain = replace(sheet_of(Look(), high=1), y=Side(), x=long, cells=sheet_of(Look(), high=1).cells)
    (picture,) = draw(plain, lambda _x, _y, _z: red)
    assert picture.width == 120  # a legend makes a sheet taller, and never wider than its column
    assert picture.height > 40 + 30
    beyond = picture.crop((61, 0, 120, picture.height - 40))
    assert beyond.getextrema() == ((255, 255),) * 3


def test_a_matrix_is_drawn_with_its_parts(studio: Studio) -> None:
    app = studio.open()
    grid = Matrix(different_seeds=True).grid(replace(BASE, prompt="a boat|red|large"))
    job = ended(app.grids.begin(grid, "me"))
    assert [each.state for each in app.grids.cells(place_of(job), "me")] == ["made"] * 4
    assert "Script: Prompt matrix, " in job.images[0].infotext


def test_cells_of_the_engine_are_known_by_their_files(app: App) -> None:
    plot = Plot(x=Plotted(axis="Var. strength", values="0, 0.5"))
    job = ended(app.grids.begin(plot.grid(replace(BASE, steps=1, batch_size=2, prompt="{a|one} red boat")), "me"))
    assert [each.state for each in app.queue.jobs("me")] == ["finished"] * 3
    (app.outputs.folder / "grids" / place_of(job) / OUTCOMES).unlink()
    for each in app.queue.jobs("me"):
        app.queue.forget(each)
    assert states(app, place_of(job)) == ["lost"] * 2
    assert [each.state for each in app.grids.cells(place_of(job), "me", search=True)] == ["made"] * 2
    recipe = read_recipe(job.images[0].path)
    assert recipe is not None
    assert "X Type: Var. strength" in recipe.text


def test_a_grid_comes_into_the_line_as_a_whole_or_says_why_not(studio: Studio) -> None:
    app = studio.open()
    studio.painter.gate.clear()
    app.settings.update({"queue_each": 4})
    with pytest.raises(UserError, match="needs 5 places in the queue at once; 4 are allowed"):
        app.grids.begin(PLOT.grid(BASE), "me")  # four cells and the drawing
    three = Plot(x=Plotted(axis="Seed", values="1-3")).grid(BASE)
    running = app.queue.submit(BASE, "me")
    wait(lambda: running.state == "running")
    waiting = app.queue.submit(BASE, "me")
    with pytest.raises(QueueFull, match="1 of your jobs wait already, and this needs 4 of 4 places"):
        app.grids.begin(three, "me")
    assert list(app.queue.line()) == [waiting] and app.grids.places("me") == []
    app.queue.cancel(waiting)
    drawing = app.grids.begin(three, "me")
    assert len(list(app.queue.line())) == 4
    studio.painter.gate.set()
    assert ended(drawing).state == "finished"
    assert states(app, place_of(drawing)) == ["made"] * 3


def test_what_cannot_be_resumed_for_want_of_room_stays_as_it_was(studio: Studio) -> None:
    app = studio.open()
    studio.at |= {5: "cancel", 6: "cancel"}
    drawing = ended(app.grids.begin(PLOT.grid(BASE), "me"))
    before = states(app, place_of(drawing))
    assert before == ["stopped", "stopped", "made", "made"]
    app.settings.update({"queue_each": 2})
    with pytest.raises(UserError, match="needs 3 places"):
        app.grids.resume(place_of(drawing), "me")
    assert states(app, place_of(drawing)) == before and list(app.queue.line()) == []
    app.settings.update({"queue_each": 3})
    studio.at.clear()
    assert ended(app.grids.resume(place_of(drawing), "me")).state == "finished"
    assert states(app, place_of(drawing)) == ["made"] * 4


def test_another_person_s_job_says_nothing_of_a_grid_s_cell(studio: Studio) -> None:
    app = studio.open()
    studio.painter.gate.clear()
    drawing = app.grids.begin(PLOT.grid(BASE), "me")
    same = app.queue.submit(app.grids.find(place_of(drawing), "me").cells[1].request, "another")
    app.queue.cancel(same)
    assert same.ended
    studio.painter.gate.set()
    assert ended(drawing).state == "finished"
    lines = (app.outputs.folder / "grids" / place_of(drawing) / OUTCOMES).read_text().splitlines()
    assert [json.loads(line)["state"] for line in lines] == ["made"] * 4
