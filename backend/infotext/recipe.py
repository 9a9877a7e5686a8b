"""The recipe in any file of the field: found wherever it was put, and read in A1111's words whoever wrote it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from backend.infotext.comfyui import read_comfyui
from backend.infotext.containers import FileTexts, read_texts
from backend.infotext.foreign import Read, Size, json_object, read_civitai, read_fooocus, read_invokeai, read_novelai
from backend.infotext.read import read_infotext
from backend.infotext.stealth import read_stealth
from backend.infotext.values import Infotext
from backend.infotext.versions import origin_of
from backend.infotext.write import PROGRAM
from backend.outputs import ENLARGED, MADE_WITH, PARAMETERS, REQUEST

A1111 = "AUTOMATIC1111"
TEXT = "text"  # the origin of a prompt without parameters


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a picture was made, as its file says.

    `origin` is the program, ``AUTOMATIC1111``, ``Forge``, ``ComfyUI`` and so on; `place` where in the file it stood;
    `text` what stood there; `infotext` the same as values in A1111's words. `request` and `made_with` are Atelier's own
    JSON, empty for the pictures of others, and `enlarged` that of what Extras did to the picture, if it did.
    `not_understood` are sentences about what was there and was not read.
    """

    origin: str
    place: str
    text: str
    infotext: Infotext
    request: str = ""
    made_with: str = ""
    enlarged: str = ""
    not_understood: tuple[str, ...] = ()


def read_recipe(source: bytes | Path) -> Recipe | None:
    """The recipe in a picture or a text file, given as bytes or by its path; nothing where there is none.

    What stands in texts goes before what hides in the pixels, A1111's text before a graph. Never raises for what is in
    the file.
    """
    found = read_texts(source)
    if found is None:
        return None
    for place, texts in _places(found):
        recipe = _read(texts, place, found.size)
        if recipe is not None:
            enlarged = texts.get("ImageHistory" if place == "Exif" else ENLARGED, "")
            return replace(recipe, enlarged=enlarged if enlarged.startswith("{") else "")
    hidden = read_stealth(source) if found.kind in ("PNG", "WEBP") else ""
    return _of_hidden(hidden, found.size) if hidden else None


def read_text(text: str) -> Recipe | None:
    """The recipe in a text that was pasted, in whatever form a file may have it."""
    return _read({TEXT: text}, TEXT, (0, 0))


def _read(texts: Mapping[str, str], place: str, size: Size) -> Recipe | None:
    return _own(texts, place) or _novelai(texts, place, size) or _parameters(texts, place) or _json(texts, place, size)


def _places(found: FileTexts) -> list[tuple[str, Mapping[str, str]]]:
    kind = "PNG text" if found.kind == "PNG" else found.kind
    places: list[tuple[str, Mapping[str, str]]] = [(kind, found.chunks), ("Exif", found.exif)]
    return places if found.kind == "PNG" else places[::-1]


def _own(texts: Mapping[str, str], place: str) -> Recipe | None:
    """Ours: A1111's text and both of our JSON texts. Others describe their pictures with JSON too."""
    exif = place == "Exif"
    request = texts.get("ImageDescription" if exif else REQUEST, "")
    text = texts.get("UserComment" if exif else PARAMETERS, "")
    infotext = read_infotext(text)
    if not request.startswith("{") or (exif and origin_of(infotext) != PROGRAM):
        return None
    made_with = texts.get("MakerNote" if exif else MADE_WITH, "")
    return Recipe(
        origin=PROGRAM,
        place=place,
        text=text,
        infotext=infotext,
        request=request,
        made_with=made_with if made_with.startswith("{") else "",
    )


def _parameters(texts: Mapping[str, str], place: str) -> Recipe | None:
    """A1111's text, wherever programs put it. A prompt alone counts only in a text file and under A1111's keyword."""
    for key in (PARAMETERS, "UserComment", "comment", "ImageDescription", TEXT, "postprocessing"):
        text = texts.get(key, "").strip()
        if not text or json_object(text):
            continue
        infotext = read_infotext(text)
        if infotext.pairs or key in (PARAMETERS, TEXT):
            origin = origin_of(infotext) or (A1111 if key == PARAMETERS else TEXT)
            return Recipe(origin=origin, place=_at(place, key), text=text, infotext=infotext)
    return None


def _novelai(texts: Mapping[str, str], place: str, size: Size) -> Recipe | None:
    if texts.get("Software") != "NovelAI":
        return None
    read = partial(read_novelai, description=texts.get("Description", ""))
    return _recipe("NovelAI", _at(place, "Comment"), texts.get("Comment", ""), read, size)


@dataclass(frozen=True, kw_only=True)
class _Format:
    """A program that writes JSON: under which keys, how one knows it, and who reads it."""

    origin: str
    keys: tuple[str, ...]
    known: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Mapping[str, Any], Size], Read]


_FORMATS = (
    _Format(
        origin="InvokeAI",
        keys=("invokeai_metadata",),
        known=lambda values: "positive_prompt" in values,
        read=read_invokeai,
    ),
    _Format(
        origin="Civitai",
        keys=("UserComment", PARAMETERS),
        known=lambda values: "extraMetadata" in values,
        read=read_civitai,
    ),
    _Format(
        origin="Fooocus",
        keys=(PARAMETERS, "UserComment", "comment"),
        known=lambda values: "base_model" in values or str(values.get("version", "")).startswith("Fooocus"),
        read=read_fooocus,
    ),
    _Format(
        origin="NovelAI", keys=("Comment",), known=lambda values: {"uc", "prompt"} <= values.keys(), read=read_novelai
    ),
    _Format(
        origin="ComfyUI",
        keys=("prompt", "UserComment", "ImageDescription", "Make", "Model", "comment"),
        known=lambda values: any(isinstance(node, dict) and "class_type" in node for node in values.values()),
        read=read_comfyui,
    ),
)


def _json(texts: Mapping[str, str], place: str, size: Size) -> Recipe | None:
    """What programs say in JSON. ComfyUI's nodes for other files than PNG write ``prompt:`` in front of it."""
    for format in _FORMATS:
        for key in (*format.keys, TEXT):
            text = re.sub(r"^\s*[Pp]rompt:\s*", "", texts.get(key, "")).strip()
            values = json_object(text)
            if values and format.known(values):
                return _recipe(format.origin, _at(place, key), text, format.read, size)
    for key in ("workflow", "ImageDescription", "Make", "Model"):
        text = re.sub(r"^\s*[Ww]orkflow:\s*", "", texts.get(key, "")).strip()
        if {"nodes", "links"} <= json_object(text).keys():
            said = "The file holds ComfyUI's drawing of its graph, but not the graph that was run."
            return Recipe(
                origin="ComfyUI", place=_at(place, key), text=text, infotext=Infotext(), not_understood=(said,)
            )
    return None


def _recipe(
    origin: str, place: str, text: str, read: Callable[[Mapping[str, Any], Size], Read], size: Size
) -> Recipe | None:
    values = json_object(text)
    if not values:
        return None
    infotext, not_understood = read(values, size)
    return Recipe(origin=origin, place=place, text=text, infotext=infotext, not_understood=tuple(not_understood))


def _of_hidden(text: str, size: Size) -> Recipe | None:
    """What hides in the pixels: A1111's text, or NovelAI's texts as one object."""
    values = json_object(text)
    texts = {key: value for key, value in values.items() if isinstance(value, str)} if values else {PARAMETERS: text}
    return _read(texts, "pixels", size)


def _at(place: str, key: str) -> str:
    return key if place == key else f"{place}: {key}"
