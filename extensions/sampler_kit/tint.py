"""``<tint:colour:strength>`` in a prompt: a tint, put on where the picture is decoded."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from PIL import ImageColor

from backend.extension_api import InvalidRequest, SamplingTurn, Token

if TYPE_CHECKING:
    from torch import Tensor

STRENGTH = 0.3  # where none is said
LUMA = (0.299, 0.587, 0.114)
NAMES = {"amber": "#ffbf00", "sepia": "#b08050", "rose": "#e8a0a8"}  # which PIL does not have


def tint(token: Token, turn: SamplingTurn) -> None:
    """Stand around the decoder. Raises `InvalidRequest` for a colour or strength that is none."""
    red, green, blue = colour_of(token.arguments[0] if token.arguments else "")
    strength = strength_of(token.arguments[1]) if len(token.arguments) > 1 else STRENGTH

    def tinted(run: "Callable[[Tensor], Tensor]", given: "Tensor") -> "Tensor":
        pixels = run(given)
        light = (pixels + 1) / 2
        luma = sum(share * light[:, k : k + 1] for k, share in enumerate(LUMA))
        colour = light.new_tensor([red, green, blue]).view(1, 3, 1, 1)
        full = colour / (colour * light.new_tensor(LUMA).view(1, 3, 1, 1)).sum().clamp(min=0.05)
        return (light + strength * ((luma * full).clamp(0, 1) - light)) * 2 - 1

    turn.wrap_vae(decode=tinted)


def colour_of(text: str) -> tuple[float, float, float]:
    """A colour's light, from 0 to 1: by name, or six hexadecimal digits."""
    said = text.strip().lower()
    try:
        red, green, blue = ImageColor.getrgb(
            NAMES.get(said) or (f"#{said}" if re.fullmatch("[0-9a-f]{6}", said) else said)
        )[:3]
    except ValueError as error:
        raise InvalidRequest(
            f"<tint:{text[:40]}> names no colour: write amber, tomato, or six digits as ff8040."
        ) from error
    return red / 255, green / 255, blue / 255


def strength_of(text: str) -> float:
    """From 0 to 1."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise InvalidRequest(f"The strength of a tint is {text[:40]!r}; it goes from 0 to 1.")
    return found
