"""What extensions put around a checkpoint's networks for one sampling: nothing of it is left afterwards.

Nothing is changed but the attention layers' processors and hooks before layers that join, both of which `Patches` puts
on and takes off; all else is calls within calls. What was put on first is outermost. Where the refiner takes over, all
goes with it: layers are chosen anew there, and residuals are left out where its blocks have other shapes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from backend.extension_api import AroundAttention, AroundJoin, AroundNetwork, AroundVae, AttentionPlace, Residuals
from backend.extensions.calls import Calls
from backend.extensions.extension import Extension

F = TypeVar("F")
Block = Literal["down", "mid", "up"]
Shape = tuple[int, int, int]  # channels, height, width
Run = Callable[..., Tensor]
BLOCKS: Sequence[tuple[str, Block]] = (("down_blocks", "down"), ("mid_block", "mid"), ("up_blocks", "up"))
NO_NUMBER = "it made something that is not a number (NaN) of what is"
ATTENTION = ("attn1", "attn2")  # of a transformer: to itself and to the words


@dataclass(frozen=True)
class _Put(Generic[F]):
    """What an extension has put on."""

    extension: Extension
    around: F


class Patches:
    """All that was put on for one sampling, by whom. Used by the thread that owns the device."""

    def __init__(self, calls: Calls, told: Callable[[str], None]):
        """`told(sentence)` is for the person."""
        self.negative: Sequence[bool] = ()  # of the rows of the call that is under way
        self._calls = calls
        self._told = told
        self._networks: list[_Put[AroundNetwork]] = []
        self._attentions: list[_Put[tuple[AroundAttention, Callable[[AttentionPlace], bool] | None]]] = []
        self._joins: list[_Put[AroundJoin]] = []
        self._residuals: list[_Put[Residuals]] = []
        self._decoders: list[_Put[AroundVae]] = []
        self._encoders: list[_Put[AroundVae]] = []
        self._on = ExitStack()
        self._first: list[int] | None = None  # channels of the blocks of the network that it began with
        self._fits = True
        self._size = (0, 0)  # of the latents of the call that is under way
        self._strict = False

    def wrap_network(self, extension: Extension, around: AroundNetwork) -> None:
        self._networks.append(_Put(extension, around))

    def wrap_attention(
        self, extension: Extension, around: AroundAttention, where: Callable[[AttentionPlace], bool] | None
    ) -> None:
        self._attentions.append(_Put(extension, (around, where)))

    def wrap_joins(self, extension: Extension, around: AroundJoin) -> None:
        self._joins.append(_Put(extension, around))

    def add_residuals(self, extension: Extension, residuals: Residuals) -> None:
        self._residuals.append(_Put(extension, residuals))

    def wrap_vae(self, extension: Extension, *, decode: AroundVae | None, encode: AroundVae | None) -> None:
        if decode is not None:
            self._decoders.append(_Put(extension, decode))
        if encode is not None:
            self._encoders.append(_Put(extension, encode))

    @property
    def any(self) -> bool:
        """Whether anything was put on the network."""
        return bool(self._networks or self._attentions or self._joins or self._residuals)

    def put_on(self, unet: Any) -> None:
        """Put on a network what its layers must know; what was on another one is taken off."""
        self.take_off()
        channels = [shape[0] for shape in _flat(residual_shapes(unet, (8, 8)))] if self._residuals else []
        if self._first is None:
            self._first = channels
        self._fits = channels == self._first
        if not self._fits:
            names = ", ".join(dict.fromkeys(put.extension.title for put in self._residuals))
            self._told(f"The refiner has other blocks: what {names} adds to them is left out there.")
        with ExitStack() as on:
            for place, layer in attention_places(unet) if self._attentions else ():
                chosen = [_Put(put.extension, put.around[0]) for put in self._attentions if self._chooses(put, place)]
                if chosen:
                    on.callback(setattr, layer, "processor", layer.processor)
                    layer.processor = _Processor(self, layer.processor, chosen, place)
            for number, layer, channels_below in join_places(unet) if self._joins else ():
                hook = _joining(self, number, channels_below)
                on.callback(layer.register_forward_pre_hook(hook).remove)
            self._on = on.pop_all()

    def take_off(self) -> None:
        """Leave the network as it was."""
        self._on.close()

    def network(self, unet: Any, x: Tensor, t: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        """What the UNet gives for `x` with all that is around it."""

        def plain(x: Tensor, t: Tensor, **arguments: Any) -> Tensor:
            return self._computed(unet, x, t, arguments)

        run: Run = plain
        for put in reversed(self._networks):
            run = self._around_network(put, run, unet.config["out_channels"])
        return run(x, t, **arguments)

    def vae(self, what: Literal["decode", "encode"]) -> "Callable[[Run, Tensor], Tensor] | None":
        """Who stands around the VAE's decoder or encoder, if anybody: called with what would run, and what is given."""
        puts = tuple(self._decoders if what == "decode" else self._encoders)
        if not puts:
            return None

        def around(run: Run, given: Tensor) -> Tensor:
            for put in reversed(puts):
                run = self._around_vae(put, run, what)
            return run(given)

        return around

    def call(self, put: "_Put[Any]", where: str, run: Run, like: Tensor | None, call: Callable[["_Inner"], Any]) -> Any:
        """What `call(inner)` returns, where `inner` is `run` during which the extension's clock stands still. `like` is
        what it must be like, unless that follows from what `inner` made of its parts."""
        inner = _Inner(self._calls, run)

        def work() -> Tensor:
            expected = like
            made = call(inner)
            if expected is None:
                expected = inner.like_whole()
            made = as_expected(made, expected)
            if expected is None and (made.ndim != 4 or len(made) != 1):
                raise ValueError(f"it must return one picture or its latents, not {tuple(made.shape)}")
            looks = self._strict or where != "wrap_attention"  # there are many of them, and a look takes time
            if looks and not made.isfinite().all() and inner.all_finite:
                raise ValueError(NO_NUMBER)
            return made

        return self._calls.call(put.extension, where, work)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the latents that the network is computing for."""
        return self._size

    def _chooses(
        self, put: "_Put[tuple[AroundAttention, Callable[[AttentionPlace], bool] | None]]", place: AttentionPlace
    ) -> bool:
        where = put.around[1]
        return where is None or bool(self._calls.call(put.extension, "wrap_attention", where, place))

    def _around_network(self, put: _Put[AroundNetwork], run: Run, channels: int) -> Run:
        def wrapped(x: Tensor, t: Tensor, **arguments: Any) -> Tensor:
            like = x[:, :channels]
            return self.call(put, "wrap_network", run, like, lambda inner: put.around(inner.of(x), x, t, **arguments))

        return wrapped

    def _around_vae(self, put: _Put[AroundVae], run: Run, what: str) -> Run:
        def wrapped(given: Tensor) -> Tensor:
            return self.call(put, f"wrap_vae ({what})", run, None, lambda inner: put.around(inner.of(given), given))

        return wrapped

    def _computed(self, unet: Any, x: Tensor, t: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        self._size = (x.shape[-2], x.shape[-1])
        output = self._run(unet, x, t, arguments)
        within = self._attentions or self._joins or self._residuals
        if within and not output.isfinite().all() and x.isfinite().all():
            self._strict = True  # once more, asking each of them
            try:
                self._run(unet, x, t, arguments)
            finally:
                self._strict = False
        return output

    def _run(self, unet: Any, x: Tensor, t: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        added = self._added(unet, x, t, arguments["encoder_hidden_states"]) if self._residuals and self._fits else {}
        return unet(x, t, **arguments, **added, return_dict=False)[0]

    def _added(self, unet: Any, x: Tensor, t: Tensor, context: Tensor) -> dict[str, Any]:
        down, mid = residual_shapes(unet, self._size)
        nothing = torch.zeros((), dtype=x.dtype, device=x.device)
        sums: list[Tensor] = [nothing] * (len(down) + 1)
        for put in self._residuals:

            def work(put: _Put[Residuals] = put) -> list[Tensor | None]:
                return _as_residuals(put.around(x, t, context), [*down, mid], x)

            for number, each in enumerate(self._calls.call(put.extension, "add_residuals", work)):
                sums[number] = sums[number] if each is None else sums[number] + each
        return {"down_block_additional_residuals": tuple(sums[:-1]), "mid_block_additional_residual": sums[-1]}

    def joined(self, number: int, hidden: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        """What an up block joins."""
        for put in reversed(self._joins):

            def work(
                put: _Put[AroundJoin] = put, hidden: Tensor = hidden, skip: Tensor = skip
            ) -> tuple[Tensor, Tensor]:
                made = put.around(hidden, skip, number)
                if not isinstance(made, tuple | list) or len(made) != 2:
                    raise TypeError(f"it must return two tensors, not {in_words(made)}")
                both = as_expected(made[0], hidden), as_expected(made[1], skip)
                if self._strict and not all(each.isfinite().all() for each in both) and hidden.isfinite().all():
                    raise ValueError(NO_NUMBER)
                return both

            hidden, skip = self._calls.call(put.extension, "wrap_joins", work)
        return hidden, skip


class _Inner:
    """What would run without an extension, for it to call."""

    def __init__(self, calls: Calls, run: Run):
        self.outputs: list[Tensor] = []
        self._calls = calls
        self._run = run
        self._given: Tensor | None = None
        self._first: torch.Size | None = None  # the shape of what was run first

    def of(self, given: Tensor) -> "_Inner":
        """The same, which knows what the extension was given."""
        self._given = given
        return self

    @property
    def all_finite(self) -> bool:
        """Whether all that the extension was given, and got of it, are numbers."""
        seen = self.outputs if self._given is None else [*self.outputs, self._given]
        return all(bool(each.isfinite().all()) for each in seen)

    def like_whole(self) -> Tensor | None:
        """Something of the shape that the whole of what was given would have become, worked out from the first part of
        it that was run; nothing where nothing was."""
        if not self.outputs or self._given is None or self._first is None:
            return None
        height, width = (
            side * after // before
            for side, after, before in zip(
                self._given.shape[-2:], self.outputs[0].shape[-2:], self._first[-2:], strict=True
            )
        )
        return self.outputs[0].new_empty((len(self._given), self.outputs[0].shape[1], height, width))

    def __call__(self, part: Tensor, *args: Any, **named: Any) -> Tensor:
        with self._calls.pause():
            output = self._run(part, *args, **named)
        if self._first is None:
            self._first = part.shape
        self.outputs.append(output)
        return output


class _Processor:
    """An attention layer's processor with extensions around it."""

    def __init__(self, patches: Patches, kept: Any, puts: "Sequence[_Put[AroundAttention]]", place: AttentionPlace):
        self._patches = patches
        self._kept = kept
        self._puts = puts
        self._place = place

    def __call__(
        self,
        layer: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        shape = level_of(self._patches.size, hidden_states.shape[1])

        def attend(hidden: Tensor, context: Tensor | None = None) -> Tensor:
            mask = attention_mask if hidden.shape[0] == hidden_states.shape[0] else None
            return self._kept(layer, hidden, encoder_hidden_states=context, attention_mask=mask, **more)

        run: Run = attend
        for put in reversed(self._puts):
            run = self._around(put, run, shape)
        return run(hidden_states, encoder_hidden_states)

    def _around(self, put: "_Put[AroundAttention]", run: Run, shape: tuple[int, int]) -> Run:
        def wrapped(hidden: Tensor, context: Tensor | None = None) -> Tensor:
            return self._patches.call(
                put,
                "wrap_attention",
                run,
                hidden,
                lambda inner: put.around(inner.of(hidden), hidden, context, self._place, shape),
            )

        return wrapped


def _joining(patches: Patches, number: int, below: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    def hook(_layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden, skip = patches.joined(number, args[0][:, :below], args[0][:, below:])
        return torch.cat([hidden, skip], dim=1), *args[1:]

    return hook


def attention_places(unet: nn.Module) -> Iterator[tuple[AttentionPlace, Any]]:
    """Every attention layer of a UNet's transformers, from its input to its output."""
    numbers = {False: 0, True: 0}
    for name, block in BLOCKS:
        for path, layer in getattr(unet, name).named_modules(prefix=name) if getattr(unet, name, None) else ():
            if path.rpartition(".")[2] not in ATTENTION or not hasattr(layer, "processor"):
                continue
            cross = bool(layer.is_cross_attention)
            yield AttentionPlace(name=path, block=block, cross=cross, number=numbers[cross]), layer
            numbers[cross] += 1


def join_places(unet: Any) -> Iterator[tuple[int, nn.Module, int]]:
    """Every residual layer of a UNet's up blocks: its block's number, itself, and how many channels come from below."""
    below = unet.mid_block.resnets[-1].out_channels
    for number, block in enumerate(unet.up_blocks):
        for layer in block.resnets:
            yield number, layer, below
            below = layer.out_channels


def residual_shapes(unet: Any, size: tuple[int, int]) -> tuple[list[Shape], Shape]:
    """The shapes of what a UNet's down blocks hand over, in their order, and of its mid block's output, for latents of
    `size`, (height, width)."""
    height, width = size
    shapes: list[Shape] = [(unet.conv_in.out_channels, height, width)]
    for block in unet.down_blocks:
        shapes += [(layer.out_channels, height, width) for layer in block.resnets]
        if block.downsamplers is not None:
            height, width = -(-height // 2), -(-width // 2)
            shapes.append((block.resnets[-1].out_channels, height, width))
    return shapes, (unet.mid_block.resnets[-1].out_channels, height, width)


def level_of(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Height and width of so many pixels, at whichever of a UNet's levels that is for latents of `size`."""
    height, width = size
    while height * width > pixels and (height, width) != (1, 1):
        height, width = -(-height // 2), -(-width // 2)
    return height, width


def as_expected(made: Any, like: Tensor | None) -> Tensor:
    """What an extension returned, in the precision that is wanted. Raises `TypeError` and `ValueError` with what is
    wrong."""
    if not isinstance(made, Tensor):
        raise TypeError(f"it must return a tensor, not {in_words(made)}")
    if like is None:
        return made
    if made.shape != like.shape:
        raise ValueError(f"it must return a tensor of the shape {tuple(like.shape)}, not {tuple(made.shape)}")
    if made.device != like.device:
        raise ValueError(f"it must return a tensor on {like.device}, not on {made.device}")
    return made.to(like.dtype)


def in_words(value: object) -> str:
    """What kind of thing that is."""
    return "nothing" if value is None else f"a {type(value).__name__}"


def _flat(shapes: tuple[list[Shape], Shape]) -> list[Shape]:
    return [*shapes[0], shapes[1]]


def _as_residuals(made: Any, shapes: Sequence[Shape], x: Tensor) -> list[Tensor | None]:
    """What to add to each of the down blocks' outputs, and last to the mid block's."""
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise TypeError(f"it must return two things, those for the down blocks and that for the mid block, not {made}")
    down, mid = made
    downs: list[Any] = [None] * (len(shapes) - 1) if down is None else list(down)
    if len(downs) != len(shapes) - 1:
        raise ValueError(f"it must return {len(shapes) - 1} tensors for the down blocks, not {len(downs)}")
    found: list[Tensor | None] = []
    for shape, each in zip(shapes, [*downs, mid], strict=True):
        if each is not None:
            if not isinstance(each, Tensor):
                raise TypeError(f"it must return tensors, not {in_words(each)}")
            if tuple(each.shape) != (len(x), *shape):
                raise ValueError(f"it must return a tensor of the shape {(len(x), *shape)}, not {tuple(each.shape)}")
            if not each.isfinite().all():
                raise ValueError(NO_NUMBER)
            each = each.to(device=x.device, dtype=x.dtype)
        found.append(each)
    return found
