"""What an extension may import, and all that it can do: this file is the manual.

An extension is a folder in ``extensions/`` with an ``extension.toml`` (see `backend.extensions.manifest`) and a Python
package. Its module has a function `register`, and may have others named as the stages in `Hooks`, each under `hook`::

    from backend.extension_api import ExtensionApi, Field, Image, Params, PictureTurn, hook

    class Frame(Params):
        width: int = Field(default=8, ge=0, le=64, title="Width of the frame")

    @hook
    def register(api: ExtensionApi) -> None:
        api.params(Frame)

    @hook
    def on_image(image: Image.Image, turn: PictureTurn) -> Image.Image:
        ...

Values go by name and never by position: a function takes those arguments of its stage that it wants, a parameter is
found by its name in the form, in ``/api/v2``, in the infotext and on an axis of a plot.

**What is promised.** `API_VERSION` is ``major.minor``. Within a major number names are added, never taken away, and
what they mean stays: an extension that says ``api = ">=1.0,<2"`` goes on working. What is not in `__all__` is no
promise. 1.1 has added `Person` and `asked_by` (with `Depends`), `ExtensionApi.pictures`, `SavedPicture.saved`,
`ExtensionApi.keep` with `Turn.kept`, and `Turn.settings`.

**What is not offered**: replacing parts of Atelier, values by position, code that runs while something is installed. An
extension is a program with all the rights of the person who runs Atelier; its permissions say what it is written to do
and do not keep it from anything else.

Importing this file imports no PyTorch. An extension that computes imports torch inside its functions.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

import pluggy
from fastapi import APIRouter, Depends
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from backend.errors import Cancelled, InvalidRequest, Stopped, UserError, unknown_name
from backend.events import ImageReady
from backend.grids.axes import NOTHING, Axis, find_axis
from backend.grids.grid import Cell, Grid, Line, Look, Side
from backend.grids.request import GridRequest
from backend.grids.values import MOST_CELLS
from backend.init_image import Box, HiresFix, InitImage, Inpainting, SoftInpainting
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.record import ModelRecord
from backend.name_search import NameSearch
from backend.prompt.grammar import Problem
from backend.prompt.template import Template
from backend.request import GenerationRequest
from backend.sampling.solvers import Noise, OnStep
from backend.sampling_options import LARGEST_SEED, Guidance, Refiner, SamplingOptions, Variation
from backend.upscaling.request import UpscaleRequest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from backend.sampling.denoiser import Words

API_VERSION = "1.1"
PROJECT = "atelier"

hook = pluggy.HookimplMarker(PROJECT)  # stands above each function that is a hook
_spec = pluggy.HookspecMarker(PROJECT)

Tab = Literal["txt2img", "img2img", "inpaint"]
TABS: tuple[Tab, ...] = ("txt2img", "img2img", "inpaint")
EventName = Literal["image_saved", "job_ended", "checkpoint_loaded", "settings_changed"]
Pass = Literal["first", "hires", "nested"]
Risk = Literal["read", "make", "manage"]


class Params(BaseModel):
    """Parameters of a generation, as a pydantic model: frozen, and without unknown names.

    A field is a bool, an int or a float (with ``ge`` and ``le`` a slider), a str (``json_schema_extra={"lines": 4}``
    for a large one), or a `Literal` (a list to choose from). Each has a default. ``title`` are its words on the page,
    ``description`` the hint below it, ``json_schema_extra={"step": 0.05}`` a slider's step. A bool called ``enabled``
    is the switch of the whole: while it is off a request does not name the extension at all.

    Becomes: an accordion in the tab; ``extras.<id>`` of a request in ``/api/v2`` with this schema, and an always-on
    script of ``/sdapi``; keys of the infotext, ``<title> <field>``; axes of the X/Y/Z plot, ``<title>: <field>``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


P = TypeVar("P", bound=Params)
S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")
S_co = TypeVar("S_co", bound=BaseModel, covariant=True)
P_contra = TypeVar("P_contra", bound=Params, contravariant=True)


# --- The stages of a generation ---------------------------------------------------------------------------------------


class Turn(Protocol):
    """An extension's turn in one generation: what it is told, and what it can say."""

    @property
    def api(self) -> "ExtensionApi":
        """What its `register` was handed: its settings, log and data folder."""
        ...

    @property
    def request(self) -> GenerationRequest:
        """What is being made, as far as earlier stages have changed it."""
        ...

    def params(self, kind: type[P]) -> P:
        """The extension's own parameters as the request has them; the defaults where it does not name them."""
        ...

    def settings(self, kind: type[S]) -> S:
        """The extension's own settings as they are now, of the model that `register` named to `ExtensionApi.settings`.
        Raises `UserError` for another one."""
        ...

    def kept(self, kind: type[T]) -> T:
        """What `register` has kept of that class (`ExtensionApi.keep`). Raises `UserError` if there is nothing."""
        ...


class JobTurn(Turn, Protocol):
    """A turn while the job runs, on the thread that owns the device."""

    @property
    def owner(self) -> str:
        """Whose job it is, as `Person.owner` has it."""
        ...

    def remark(self, sentence: str) -> None:
        """Tell the person something, as a `Notice` of the job."""
        ...

    def picture(self, name: str) -> Image.Image:
        """A picture that was put in, by the name that a request has for it. Raises `UserError` if it is gone."""
        ...

    def note(self, key: str, value: str) -> None:
        """Add a key of the infotext to the pictures that are saved from now on in this job."""
        ...

    def check(self) -> None:
        """Raises `Stopped` if the person has ended the job or this picture. To be called in long loops; it also starts
        the extension's time anew, as it shows that it lives."""
        ...


class PictureTurn(JobTurn, Protocol):
    """A turn at one picture."""

    @property
    def index(self) -> int:
        """Its number in the job, from 0."""
        ...

    @property
    def seed(self) -> int:
        """Of its noise."""
        ...

    def keep(self, image: Image.Image) -> str:
        """Put a picture or a mask in, so that a request can name it: `InitImage.picture`, `Inpainting.mask`."""
        ...

    def generate(self, request: GenerationRequest) -> list[Image.Image]:
        """Make the pictures of another request within this job: with its progress, its interrupt, and the checkpoint
        that is loaded if that is the one it names. Nothing is saved. Extensions that the request's `extras` name take
        part in it, but for the one that asks. Not within `on_step` or while a network computes.

        Raises `Stopped`, and `UserError` for a request that cannot be.
        """
        ...


class SamplingTurn(JobTurn, Protocol):
    """A turn from the start of a sampling to its end. All that is put on the networks here is taken off at that end,
    whatever happens; what was put on first is outermost.
    """

    @property
    def part(self) -> Pass:
        """Which pass this is: the first, the second of hires fix, or a nested generation's."""
        ...

    @property
    def seeds(self) -> Sequence[int]:
        """Of the pictures that are made together."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of what is sampled."""
        ...

    @property
    def sigmas(self) -> Sequence[float]:
        """The noise levels, from the first to the last."""
        ...

    @property
    def device(self) -> "torch.device":
        """What is computed on."""
        ...

    def encode(self, prompt: str, negative_prompt: str = "") -> "Words":
        """Other words as the checkpoint is told them, in the prompt's whole language but for its tokens."""
        ...

    def latents(self, picture: Image.Image) -> "Tensor":
        """A picture as the checkpoint's VAE sees it at `size`: (1, channels, height / 8, width / 8), scaled as
        `Guess.denoised` is, in float32."""
        ...

    @property
    def residual_shapes(self) -> tuple[Sequence[tuple[int, int, int]], tuple[int, int, int]]:
        """(channels, height, width) of each output of the UNet's down blocks, in their order, and of its mid block's:
        what `add_residuals` is to match."""
        ...

    @property
    def negative_rows(self) -> Sequence[bool]:
        """While the UNet computes, of each row of that call whether it is the negative prompt's."""
        ...

    def wrap_network(self, around: "AroundNetwork") -> None:
        """Stand around each call of the UNet. This and what follows, `encode` and `latents` too, are for
        ``on_sampling_start`` only. Where the refiner takes over, what was put on goes with it; layers are chosen anew
        among its own, and residuals are left out if its blocks have other shapes."""
        ...

    def wrap_attention(
        self, around: "AroundAttention", where: Callable[["AttentionPlace"], bool] | None = None
    ) -> None:
        """Stand around the attention layers of the UNet that `where` chooses, all of them without it."""
        ...

    def wrap_joins(self, around: "AroundJoin") -> None:
        """Stand where the UNet's up blocks join what comes from below with what the down blocks handed over: before
        each of their residual layers."""
        ...

    def add_residuals(self, residuals: "Residuals") -> None:
        """Add to what the UNet's blocks hand on, as a ControlNet does; what several add is summed."""
        ...

    def wrap_vae(self, *, decode: "AroundVae | None" = None, encode: "AroundVae | None" = None) -> None:
        """Stand around the VAE until the pictures of this sampling are decoded. A picture that img2img begins with was
        encoded before; `encode` sees those that are encoded later."""
        ...


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One call of the denoiser. `x` are the noisy latents in sigma space, `denoised` the guess of the clean ones after
    guidance, `cond` and `uncond` those for the prompt and the negative prompt (the same where that was not asked), all
    (pictures, channels, height / 8, width / 8) in float32. `call` counts from 0 to `calls`, about one or two a step."""

    x: "Tensor"
    sigma: float
    call: int
    calls: int
    cond: "Tensor"
    uncond: "Tensor"
    denoised: "Tensor"


@dataclass(frozen=True, kw_only=True)
class AttentionPlace:
    """Where an attention layer stands: its dotted name in the UNet, ``down``, ``mid`` or ``up``, whether it looks at
    the words (cross attention), and its number among those of its kind, from 0 at the input."""

    name: str
    block: Literal["down", "mid", "up"]
    cross: bool
    number: int


class AroundNetwork(Protocol):
    """`network(x, t, **arguments)` is the UNet as it would run: `x` (rows, channels, height / 8, width / 8), scaled as
    the network wants it, `t` the timestep; ``encoder_hidden_states`` among the arguments are the words of each row.
    Returns a tensor such as `network` gives."""

    def __call__(self, network: Callable[..., "Tensor"], x: "Tensor", t: "Tensor", /, **arguments: Any) -> "Tensor": ...


class AroundAttention(Protocol):
    """`attend(hidden, context)` is the layer as it would run: `hidden` (rows, pixels, width), `context` (rows, tokens,
    width) or None for self attention. `shape` is (height, width) of the pixels. Returns a tensor like `hidden`."""

    def __call__(
        self,
        attend: "Callable[[Tensor, Tensor | None], Tensor]",
        hidden: "Tensor",
        context: "Tensor | None",
        place: AttentionPlace,
        shape: tuple[int, int],
        /,
    ) -> "Tensor": ...


class AroundJoin(Protocol):
    """`hidden` comes from below, `skip` from the down block of the same size, both (rows, channels, height, width);
    `block` is the up block's number, from 0 at the deepest. Returns both, in their shapes, as they are to be joined."""

    def __call__(self, hidden: "Tensor", skip: "Tensor", block: int, /) -> "tuple[Tensor, Tensor]": ...


class Residuals(Protocol):
    """What to add, for the rows of one call as `AroundNetwork` sees them: a tensor for each output of the down blocks,
    in their order, and one for the mid block; either may be None."""

    def __call__(
        self, x: "Tensor", t: "Tensor", context: "Tensor", /
    ) -> "tuple[Sequence[Tensor] | None, Tensor | None]": ...


class AroundVae(Protocol):
    """`run` is the VAE's encoder or decoder as it would run, from pixels (1, 3, height, width), -1 to 1, to latents or
    back. Returns what `run` would."""

    def __call__(self, run: "Callable[[Tensor], Tensor]", given: "Tensor", /) -> "Tensor": ...


class Hooks:
    """The hooks, in the order in which one generation comes upon them. Each is a function of the extension's module.

    Those of a generation are called where the request names the extension (`Params`), or where it has no parameters and
    is on. Extensions stand in the order of ``before`` and ``after`` in their manifests, else of their ids; what one
    returns is what the next one gets, and None leaves it. What is raised, a time limit that is passed, or a value of
    another kind ends the job with a sentence that names the extension; `UserError` with its own sentence.
    """

    @_spec
    def register(self, api: "ExtensionApi") -> None:
        """Called once when the extension is loaded, and again when it is loaded anew. It says what the extension
        brings. All of that is taken away when the extension is switched off."""

    @_spec
    def on_prompts(self, request: GenerationRequest, turn: Turn) -> Sequence[GenerationRequest] | None:
        """At the door, before anything is queued: the requests that this one becomes, each of which is a job; so each
        picture may have words of its own. The seed is a number by now. Must be quick, and draw what is left to chance
        from the seed."""

    @_spec
    def on_request(self, request: GenerationRequest, turn: JobTurn) -> GenerationRequest | None:
        """When the job begins: the request that is worked on instead. The file of a picture keeps the request as it was
        asked for, so that making it again comes here again; its infotext says what was worked on."""

    @_spec
    def on_conditioning(self, words: "Words", turn: JobTurn) -> "Words | None":
        """The encoded words, before they are used for a size: other ones, or the same with other tensors."""

    @_spec
    def on_sampling_start(self, turn: SamplingTurn) -> None:
        """Before the first step of each sampling: the place for patches."""

    @_spec
    def on_step(self, guess: Guess, turn: SamplingTurn) -> "Tensor | None":
        """After each call of the denoiser: another guess of the clean latents than `guess.denoised`."""

    @_spec
    def on_sampling_end(self, latents: "Tensor", turn: SamplingTurn) -> "Tensor | None":
        """After the last step, and not where it was stopped: other latents, of the same shape."""

    @_spec
    def on_image(self, image: Image.Image, turn: PictureTurn) -> Image.Image | None:
        """Each picture, decoded and put back into its frame, before it is saved: another picture, of any size. Here
        another generation can be made (`PictureTurn.generate`)."""

    @_spec
    def on_save(self, image: Image.Image, turn: PictureTurn) -> Mapping[str, str] | None:
        """Each picture as it will be saved, which can no longer be changed: further keys of its infotext."""

    @_spec
    def on_finish(self, images: Sequence[ImageReady], turn: JobTurn) -> None:
        """When the job has made its last picture, and also where it was ended: what was saved. The files are there."""


# --- What an extension can bring --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card of a page in *Models*. `insert` is put into the prompt when it is pressed; `picture` is a file."""

    title: str
    insert: str
    subtitle: str = ""
    picture: Path | None = None
    search: str = ""


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token of the prompt, ``<name:argument:argument>``."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Several:
    """What a script makes of a request: requests that are queued one by one, or a grid. `remarks` are told to the
    person; `lone` says whether a program is answered the pictures of a grid beside it."""

    requests: Sequence[GenerationRequest] = ()
    grid: Grid | None = None
    remarks: Sequence[str] = ()
    lone: bool = True


class ScriptTurn(Protocol):
    """What a script is told beside the request and its own parameters."""

    @property
    def axes(self) -> Sequence[Axis]:
        """Every axis there is: those of the table, of extensions and of their parameters, and *Styles*, which puts its
        styles on after those that are chosen in the form. For `find_axis`."""
        ...

    def with_styles(self, request: GenerationRequest, names: Sequence[str]) -> GenerationRequest:
        """The request with the words of these styles in its prompts. Raises `InvalidRequest` for a name that no style
        has."""
        ...


class Plan(Protocol[P_contra]):
    """What to queue. Called when *Generate* is pressed, and while the form changes, to say what it will cost: must be
    quick. `request` has no words of the styles that are chosen: these are put on what is returned. Raises `UserError`
    for what cannot be."""

    def __call__(self, request: GenerationRequest, params: P_contra, turn: ScriptTurn, /) -> Several: ...


@dataclass(frozen=True, kw_only=True)
class Script(Generic[P]):
    """A way to many pictures from one form: chosen in the list *Script* of its `tabs`. `kind` are its parameters, which
    a program gives by name, or by position in their order. `grid` says that its pictures are drawn as one too; `hint`
    stands above its fields.

    In ``json_schema_extra`` a field may say how it stands in the form: ``suffix``, what the element's id ends with;
    ``row``, a word that fields side by side share; ``first``, what the form begins with where that is not the default;
    ``page: False``, that only programs have it; ``file: True``, that a text can be read from a file; ``axis: True``,
    that it is the name of an axis; ``fill: NAME``, that a button (``fill_suffix``) fills it with every choice of the
    axis that the field of that name chooses; ``segments: True``, that all its choices are seen; ``needs: NAME``, that
    it is seen only while that field chooses an axis.
    """

    title: str
    kind: type[P]
    plan: Plan[P]
    tabs: Sequence[Tab] = TABS
    grid: bool = False
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The words that a seed means."""

    seed: int
    prompt: str
    negative_prompt: str


class PromptWords(Protocol):
    """What the tools of a prompt ask of an extension that draws words in `on_prompts`: quickly, as somebody types."""

    def names(self) -> Sequence[str]:
        """What can be written between two ``__``."""
        ...

    def problems(self, text: str) -> Sequence[Problem]:
        """The mistakes of a prompt, each where it stands. Never raises."""
        ...

    def open(self, text: str) -> bool:
        """Whether anything in the text is left to chance."""
        ...

    def plain(self, text: str) -> tuple[str, Sequence[int]]:
        """The text as it can be read before anything is drawn, each word where it stands, and where in it something is
        drawn. Never raises."""
        ...

    def samples(self, prompt: str, negative_prompt: str, *, seed: int, count: int) -> Sequence[Sample]:
        """The words of pictures whose seeds go up from `seed`. Raises `UserError` for prompts that cannot be."""
        ...


class SampleFunction(Protocol):
    """A sampler, in k-diffusion's shape: from `x` at ``sigmas[0]`` to ``sigmas[-1]``. `denoise(x, sigma)` guesses the
    clean latents, `noise(sigma, next)` is fresh noise like `x`, `on_step(number, denoised)` is called after each step
    and may raise `Stopped`, which must pass."""

    def __call__(
        self,
        denoise: "Callable[[Tensor, float], Tensor]",
        x: "Tensor",
        sigmas: Sequence[float],
        *,
        noise: Noise,
        on_step: OnStep,
    ) -> "Tensor": ...


class ScheduleFunction(Protocol):
    """Noise levels: `steps` falling ones between `highest` and `lowest`, without the final 0."""

    def __call__(self, steps: int, lowest: float, highest: float) -> Sequence[float]: ...


class GuidanceFunction(Protocol):
    """How the guesses for the prompt and the negative prompt become one, all like `x`, at a CFG `scale`."""

    def __call__(self, cond: "Tensor", uncond: "Tensor", scale: float, x: "Tensor", sigma: float) -> "Tensor": ...


class Settings(Protocol[S_co]):
    """An extension's own settings, kept in its data folder and shown in *Extensions*."""

    @property
    def value(self) -> S_co: ...

    def change(self, **values: Any) -> S_co:
        """Set some of them. Raises `UserError` with a sentence for a value that cannot be."""
        ...


class Work(Protocol):
    """A background job: what it says of itself, and whether it is to end."""

    def progress(self, done: float, of: float, sentence: str = "") -> None: ...

    def check(self) -> None:
        """Raises `Cancelled` when the person has ended it, or the extension is switched off."""
        ...


@dataclass(frozen=True, kw_only=True)
class SavedPicture:
    """What ``image_saved`` tells, and `ExtensionApi.pictures` gives: the file, its infotext, whose it is (as
    `Person.owner`), and when it was saved, in seconds since 1970."""

    path: Path
    infotext: str
    owner: str
    saved: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who asks. `owner` is whose jobs and pictures they see: 32 hex digits, the same as `SavedPicture.owner`; empty for
    a browser that takes no cookies, to which no picture belongs. `name` is what they log in with, empty where nobody
    does. `administrator` says whether they may do what is an administrator's."""

    owner: str
    name: str
    administrator: bool


ASKING: ContextVar[Person] = ContextVar("ASKING")  # set by whoever lets somebody in; see `backend.extensions.asking`


def asked_by() -> Person:
    """Who asks, in all that an extension is called for by somebody: a handler of its routes (also as a parameter,
    ``person: Annotated[Person, Depends(asked_by)]``, and for a WebSocket whoever has opened it), an event of its tab, a
    button below a picture or at a model, a tool of the canvas, a page of cards. Raises `RuntimeError` everywhere else:
    in hooks, in listeners, in background jobs, and on threads that the extension has begun."""
    try:
        return ASKING.get()
    except LookupError:
        raise RuntimeError(
            "nobody asks here: asked_by is for routes, events of a tab, buttons, tools and cards"
        ) from None


class ExtensionApi(Protocol):
    """What `register` is handed. Everything that is brought belongs to the extension, and goes with it."""

    @property
    def id(self) -> str: ...

    @property
    def folder(self) -> Path:
        """Where the extension lies; not to be written to."""
        ...

    @property
    def data_dir(self) -> Path:
        """The extension's own, ``extensions-data/<id>`` in the data folder: made when it is first asked for."""
        ...

    @property
    def outputs(self) -> Path:
        """The folder that pictures are saved in, below ``txt2img``, ``img2img``, ``extras`` and a day."""
        ...

    @property
    def log(self) -> logging.Logger:
        """Its own log, shown in *Extensions*."""
        ...

    @property
    def flags(self) -> Mapping[str, str | bool]:
        """The values of the command-line flags that its manifest declares, by their names without dashes in front."""
        ...

    # Parameters, settings, scripts

    def params(self, kind: type[Params], *, title: str = "", tabs: Sequence[Tab] = TABS) -> None:
        """Parameters of a generation; once. `title` is that of their accordion, by default the extension's name. Those
        of no tab are for the extension's own scripts to set, and there is no axis of them."""
        ...

    def settings(self, kind: type[S]) -> Settings[S]:
        """The extension's settings, a pydantic model with a default for each; once. A hook has them from
        `Turn.settings`."""
        ...

    def keep(self, thing: T) -> T:
        """Keep something for the hooks while the extension is on, one of each class; `Turn.kept` gives it back. So a
        module holds nothing: of two Ateliers in one process each has its own. What is returned is `thing`."""
        ...

    def script(self, script: Script[Any]) -> None:
        """An entry of the list *Script*."""
        ...

    def words(self, words: PromptWords) -> None:
        """What `on_prompts` knows of a prompt before it is drawn: for the preview, the completion and the proofreading
        of prompts; once."""
        ...

    # Registries

    def sampler(
        self, name: str, sample: SampleFunction, *, aliases: Sequence[str] = (), second_order: bool = False
    ) -> None:
        """A sampler. `second_order` says that it calls the denoiser twice a step, as A1111 counts."""
        ...

    def schedule(self, name: str, levels: ScheduleFunction, *, aliases: Sequence[str] = ()) -> None:
        """An entry of the list *Schedule type*."""
        ...

    def guidance(self, name: str, guide: GuidanceFunction) -> None:
        """An entry of the list *Guidance method*, beside classifier-free guidance."""
        ...

    def upscaler(self, name: str, upscale: Callable[[Image.Image, int, int], Image.Image]) -> None:
        """An upscaler: from a picture in RGB and a width and a height to one of that size."""
        ...

    def operation(self, name: str, operate: Callable[[Image.Image, P], Image.Image], kind: type[P]) -> None:
        """An image operation of *Extras*, with its parameters, done after the upscaling."""
        ...

    def extra_network(self, name: str, activate: Callable[[Token, SamplingTurn], None]) -> None:
        """A kind of token: ``<name:...>`` is cut out of the prompt, and `activate` called at each sampling's start."""
        ...

    def axis(self, axis: Axis) -> None:
        """An axis of the X/Y/Z plot; the parameters have theirs already."""
        ...

    def card_page(self, title: str, cards: Callable[[], Sequence[Card]]) -> None:
        """A page of cards in *Models*; `cards()` is called when it is opened."""
        ...

    # The page

    def tab(self, title: str, build: Callable[[], None]) -> None:
        """A tab. `build` lays it out with gradio, within its own part of the page."""
        ...

    def gallery_action(self, title: str, act: Callable[[Path], str]) -> None:
        """A button below each result: `act(file)` returns a sentence for the person."""
        ...

    def card_action(self, title: str, act: Callable[[ModelRecord], str], *, kinds: Sequence[Kind] = ()) -> None:
        """A button in the details of a model; of those `kinds` only, if there are some."""
        ...

    def canvas_tool(
        self, title: str, select: Callable[[Image.Image, tuple[int, int]], Image.Image], *, hint: str = ""
    ) -> None:
        """A tool of the canvas: the person presses a place, and ``select(picture, (x, y))`` returns a mask of the
        picture's size, in L, which is painted."""
        ...

    # Programs

    def routes(self, router: APIRouter, *, risk: Risk = "read") -> None:
        """Routes under ``/ext/<id>/``, behind the login; `risk` says who may: everybody who may look, who may make
        pictures, or the administrator."""
        ...

    def on(self, event: EventName, listener: Callable[[Any], None]) -> None:
        """Be told: ``image_saved`` a `SavedPicture`, ``job_ended`` the job's id, ``checkpoint_loaded`` its name,
        ``settings_changed`` nothing. Called on a thread of the extension's own, one after the other."""
        ...

    def background(self, title: str, work: Callable[[Work], None]) -> None:
        """Begin a job beside the queue, on a thread of its own; it is listed in *Extensions* with its progress."""
        ...

    def pictures(self, owner: str) -> Iterator[SavedPicture]:
        """The saved pictures of a person, by `Person.owner`, the newest first, those whose files are still there:
        whatever has become of their jobs, and since whenever. They are looked up as they are asked for, so that
        ``islice(api.pictures(person.owner), 50)`` costs no more than 50. What an earlier Atelier has made is among them
        as far as its jobs were in the list when this one first started."""
        ...

    # Models

    def models(self, kind: Kind) -> Sequence[ModelRecord]:
        """The model files of a kind."""
        ...

    def folders(self, name: str) -> Sequence[Path]:
        """Where a person may have put files that only the extension knows, such as ``wildcards``: the folder of that
        name in the data folder, those that ``--wildcards-dir`` names, and that in each installation of AUTOMATIC1111
        which ``--models-dir`` names. They need not be there."""
        ...


__all__ = [
    "API_VERSION",
    "LARGEST_SEED",
    "MOST_CELLS",
    "NOTHING",
    "TABS",
    "APIRouter",
    "AroundAttention",
    "AroundJoin",
    "AroundNetwork",
    "AroundVae",
    "AttentionPlace",
    "Axis",
    "BaseModel",
    "Box",
    "Cancelled",
    "Card",
    "Cell",
    "ConfigDict",
    "Depends",
    "EventName",
    "ExtensionApi",
    "Field",
    "GenerationRequest",
    "Grid",
    "GridRequest",
    "Guess",
    "Guidance",
    "GuidanceFunction",
    "HiresFix",
    "Hooks",
    "Image",
    "ImageReady",
    "InitImage",
    "Inpainting",
    "InvalidRequest",
    "JobTurn",
    "Kind",
    "Line",
    "Look",
    "ModelRecord",
    "NameSearch",
    "Noise",
    "OnStep",
    "Params",
    "Pass",
    "Person",
    "PictureTurn",
    "Plan",
    "Problem",
    "PromptWords",
    "Refiner",
    "Residuals",
    "Risk",
    "Sample",
    "SampleFunction",
    "SamplingOptions",
    "SamplingTurn",
    "SavedPicture",
    "ScheduleFunction",
    "Script",
    "ScriptTurn",
    "Settings",
    "Several",
    "Side",
    "SoftInpainting",
    "Stopped",
    "Tab",
    "Template",
    "Token",
    "Turn",
    "UpscaleRequest",
    "UserError",
    "Variation",
    "Work",
    "asked_by",
    "find_axis",
    "hook",
    "unknown_name",
]
