"""Where the pictures of a request go when they are made: through the extensions, into a file, to whoever watches."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from backend.errors import Cancelled, Stopped
from backend.events import ImageReady
from backend.extensions.course import Course
from backend.extensions.extension import Extension
from backend.extensions.turns import PicturePlace
from backend.job import Job
from backend.outputs import Outputs
from backend.recipe import Recipe
from backend.request import GenerationRequest
from backend.settings import SettingsStore

Change = Callable[[GenerationRequest], GenerationRequest]
Nested = Callable[[Extension, GenerationRequest], list[Image.Image]]


def as_it_is(request: GenerationRequest) -> GenerationRequest:
    """No other request."""
    return request


@dataclass(frozen=True, kw_only=True)
class FinishedPicture:
    """A picture that came out of a generation, the `number` of it in the request (from 0) and in the job (`index`);
    what it says of its making; and how another generation is made in between."""

    image: Image.Image
    number: int
    index: int
    recipe: Recipe
    nested: Nested


class Delivery:
    """Saves and announces the pictures of a job. The file keeps the request as it was asked for, and its infotext says
    what was worked on."""

    def __init__(self, course: Course, outputs: Outputs, settings: SettingsStore):
        self.course = course
        self._outputs = outputs
        self._settings = settings

    @property
    def job(self) -> Job:
        return self.course.job

    def wants(self, stop: Stopped | None) -> bool:
        """Whether a picture is delivered that was ended by this, if by anything."""
        return stop is None or self._settings.value.save_interrupted

    def next_pictures(self) -> None:
        """Before each batch: see `Job.next_pictures`."""
        self.job.next_pictures()

    def go_on(self, stop: Stopped | None) -> None:
        """After pictures that were ended by this, if by anything: raises it where it ends the others too."""
        if isinstance(stop, Cancelled):
            raise stop

    def take(self, made: FinishedPicture, change: Change = as_it_is) -> None:
        """Deliver a picture, made of what the request becomes by `change`. Raises `Cancelled` if the job was ended
        meanwhile, and then what there is of the picture is saved if the settings want that."""
        place = self._place(made, change)
        image, stop = self.course.image(made.image, place)
        if self.wants(stop):
            self._save(image, made, place, single(change(self.course.asked), made.number))
        self.go_on(stop)

    def _place(self, made: FinishedPicture, change: Change) -> PicturePlace:
        worked = single(change(self.course.request), made.number)
        return PicturePlace(index=made.index, seed=worked.seed, request=worked, nested=made.nested)

    def _save(self, image: Image.Image, made: FinishedPicture, place: PicturePlace, asked: GenerationRequest) -> None:
        further = self.course.saved(image, place)
        made_with = made.recipe.made_with(self.course.versions)
        infotext = made.recipe.infotext(place.request, made_with.files, further)
        path = self._outputs.save(
            image, asked, infotext=infotext, schedule=made.recipe.schedule, made_with=made_with.to_json()
        )
        self.job.emit(
            ImageReady(
                index=made.index,
                seed=asked.seed,
                path=path,
                width=image.width,
                height=image.height,
                infotext=infotext,
                request=asked.to_json(),
            )
        )


class Collection(Delivery):
    """The pictures of a nested generation, which are kept for who asked: whole ones only, none is saved. Whatever ends
    one of them ends all."""

    def __init__(self, course: Course, outputs: Outputs, settings: SettingsStore):
        super().__init__(course, outputs, settings)
        self.images: list[Image.Image] = []

    def wants(self, stop: Stopped | None) -> bool:
        return stop is None

    def next_pictures(self) -> None:
        self.job.check()

    def go_on(self, stop: Stopped | None) -> None:
        if stop is not None:
            raise stop

    def take(self, made: FinishedPicture, change: Change = as_it_is) -> None:
        image, stop = self.course.image(made.image, self._place(made, change))
        self.go_on(stop)
        self.images.append(image)


def single(request: GenerationRequest, number: int) -> GenerationRequest:
    """The request that makes picture `number` of one (from 0) again."""
    batch, place = divmod(number, request.batch_size)
    seeds = request.picture_seeds(batch)[place]
    return request.single(seeds.seed, seeds.variation)
