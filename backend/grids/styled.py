"""Styles in plots and lists of prompts: the words of more styles, put on what is asked for."""

from collections.abc import Sequence
from dataclasses import replace

from backend.grids.axes import Axis, Value
from backend.grids.values import listed
from backend.request import GenerationRequest
from backend.styles import Styles

NAME = "Styles"


def with_styles(request: GenerationRequest, names: Sequence[str], styles: Styles) -> GenerationRequest:
    """The request with the words of these styles in its prompts, and in those that its second pass has of its own.
    Raises `InvalidRequest` for a name that no style has."""
    prompt, negative = styles.applied(names, request.prompt, request.negative_prompt)
    hires = request.hires
    if hires is not None:
        second = styles.applied(names, hires.prompt, hires.negative_prompt)
        words = {
            name: styled if getattr(hires, name) else ""  # what is empty there is as in the first pass
            for name, styled in zip(("prompt", "negative_prompt"), second, strict=True)
        }
        hires = replace(hires, **words)
    return replace(request, prompt=prompt, negative_prompt=negative, hires=hires)


def styles_axis(styles: Styles) -> Axis:
    """The axis of AUTOMATIC1111's that puts styles on, beside those that are chosen; several at once in quotes."""

    def apply(request: GenerationRequest, value: str, _values: Sequence[Value]) -> GenerationRequest:
        return with_styles(request, listed(value), styles)

    return Axis(
        name=NAME,
        read=lambda _what, text: [item for item in listed(text) if item],
        apply=apply,
        choices=lambda _names: [style.name for style in styles.all()],
        said="alone",
        follows=True,
    )
