"""Models as the page has them: a card for the list, and everything that is known of one."""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from html.parser import HTMLParser
from typing import Any, get_args

from backend.errors import ModelFileError
from backend.model_manager.catalog import Catalog
from backend.model_manager.header import read_header
from backend.model_manager.identity import Distilled, Identity, Kind, Prediction
from backend.model_manager.inventory.hashes import HashIndex, autov2
from backend.model_manager.inventory.overview import Shown
from backend.model_manager.inventory.record import ModelRecord, misfit
from backend.model_manager.inventory.scan import Format
from backend.model_manager.inventory.sidecars import Civitai
from backend.model_manager.recognition.wording import (
    ALGORITHM_TITLES,
    DISTILLED_TITLES,
    FAMILY_TITLES,
    KIND_TITLES,
    VARIANT_TITLES,
)

LONGEST_VALUE = 2000  # characters of a saying in a file
MOST_SAYINGS = 500
MOST_TAGS = 100
LONGEST_TEXT = 20_000  # characters of a description
FITTING = (Kind.LORA, Kind.EMBEDDING, Kind.VAE)
SITE = "https://civitai.com/models"
BLOCKS = frozenset({"p", "br", "div", "li", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "hr", "ul", "ol", "blockquote"})
SILENT = frozenset({"script", "style"})


def cards(models: Sequence[Shown], *, local: bool) -> list[dict[str, Any]]:
    """Every model as a list has it; where somebody is not at this machine, without the folders above the models."""
    lasts = Counter(_last(each.record) for each in models if each.record.kind is Kind.LORA)
    return [card(each, plain=lasts[_last(each.record)] < 2, local=local) for each in models]


def card(shown: Shown, *, plain: bool, local: bool) -> dict[str, Any]:
    """One model; `plain` where no other LoRA has its name without the folder."""
    record, notes = shown.record, shown.notes
    return {
        "id": shown.id,
        "kind": record.kind.value,
        "name": record.name,
        "label": record.name.rpartition("/")[2],
        "folder": record.folder,
        "root": str(record.root) if local else record.root.name,
        "file": record.path.name,
        "title": record.identity.title,
        "family": record.identity.family,
        "base": FAMILY_TITLES.get(record.identity.family, ""),
        "variant": record.identity.variant,
        "size": record.size,
        "modified": record.modified // 1_000_000_000,
        "format": record.format.value,
        "problem": record.problem,
        "remark": record.remark,
        "chosen": record.chosen,
        "suggested": list(record.identity.suggested),
        "convertible": record.format is Format.PICKLE,
        "preview": f"atelier/models/{shown.id}/preview?v={shown.preview // 1_000_000}" if shown.preview else "",
        "weight": notes.preferred_weight,
        "trigger": notes.activation_text,
        "negative": notes.negative_text,
        "token": _token(record, plain=plain),
    }


def details(
    shown: Shown, *, models: Sequence[Shown], catalog: Catalog, hashes: HashIndex, local: bool
) -> dict[str, Any]:
    """Everything that is known of a model; its files are read now."""
    record = shown.record
    plain = sum(_last(each.record) == _last(record) for each in models if each.record.kind is Kind.LORA) < 2
    metadata, problems = _metadata(record)
    sidecar = catalog.sidecar(record)
    sha256 = hashes.known(record)
    return {
        **card(shown, plain=plain, local=local),
        "path": str(record.path) if local else record.path.name,
        "hash": sha256,
        "autov2": autov2(sha256),
        "alias": record.alias,
        "prediction": record.identity.prediction,
        "zero_terminal_snr": record.identity.zero_terminal_snr,
        "distilled": record.identity.distilled,
        "precision": record.identity.precision,
        "native_size": list(record.native_size),
        "resolution": _resolution(record, metadata),
        "metadata": {key: value[:LONGEST_VALUE] for key, value in list(metadata.items())[:MOST_SAYINGS]},
        "tags": tags_in(metadata.get("ss_tag_frequency", "")),
        "notes": asdict(sidecar.notes),
        "civitai": _civitai(sidecar.civitai) if sidecar.civitai else None,
        "problems": [*problems, *sidecar.problems],
        "choices": choices(),
        "fits": _fits(record.identity, (each.record for each in models)) if record.kind in FITTING else None,
    }


def misfits(models: Iterable[Shown], checkpoint: ModelRecord) -> dict[str, str]:
    """By its id why a LoRA, an embedding or a VAE does not go with `checkpoint`; those that may are left out."""
    return {
        each.id: misfit(each.record, checkpoint)
        for each in models
        if each.record.kind in FITTING and not each.record.identity.fits(checkpoint.identity)
    }


def choices() -> dict[str, Any]:
    """What a person may say that a file is, and how that is called."""
    titles = {**{kind.value: title for kind, title in KIND_TITLES.items()}, **FAMILY_TITLES, **VARIANT_TITLES}
    return {
        "kinds": [kind.value for kind in Kind],
        "families": list(FAMILY_TITLES),
        "variants": [*VARIANT_TITLES, *ALGORITHM_TITLES],
        "predictions": [prediction for prediction in get_args(Prediction) if prediction],
        "distilled": [way for way in get_args(Distilled) if way],
        "titles": {**titles, **ALGORITHM_TITLES, **{way: title for way, title in DISTILLED_TITLES.items() if way}},
    }


def tags_in(text: str) -> list[list[str | int]]:
    """The words of a training's captions by how often they come, from kohya's ``ss_tag_frequency``."""
    counts: Counter[str] = Counter()
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(text) if text else {}
        for folder in said.values() if isinstance(said, dict) else ():
            for tag, count in folder.items() if isinstance(folder, dict) else ():
                if isinstance(count, int) and not isinstance(count, bool) and 0 < count < 2**53:
                    counts[tag.strip()[:LONGEST_VALUE]] += count
    return [[tag, count] for tag, count in counts.most_common(MOST_TAGS) if tag]


def plain_text(html: str) -> str:
    """A description without its tags: paragraphs on lines of their own, nothing that a browser would follow."""
    reader = _TextOf()
    reader.feed(html[: 5 * LONGEST_TEXT])
    reader.close()
    lines = (re.sub(r"\s+", " ", line).strip() for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()[:LONGEST_TEXT]


class _TextOf(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._silent += tag in SILENT
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in SILENT and self._silent > 0
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data.replace("\n", " "))


def _last(record: ModelRecord) -> str:
    return record.name.rpartition("/")[2].lower()


def _token(record: ModelRecord, *, plain: bool) -> str:
    """What one writes into a prompt for it."""
    if record.kind is Kind.EMBEDDING:
        return record.path.stem
    if record.kind is not Kind.LORA:
        return ""
    return record.name.rpartition("/")[2] if plain else record.name


def _metadata(record: ModelRecord) -> tuple[Mapping[str, str], list[str]]:
    if record.format is not Format.SAFETENSORS:
        return {}, []
    try:
        return read_header(record.path).metadata, []
    except ModelFileError as error:
        return {}, [str(error)] if str(error) != record.problem else []


def _resolution(record: ModelRecord, metadata: Mapping[str, str]) -> str:
    """The size it was trained at, in words, as its file says."""
    said = metadata.get("modelspec.resolution") or metadata.get("ss_resolution") or ""
    sides = re.findall(r"\d{2,5}", said[:LONGEST_VALUE])[:2]
    if not sides and any(record.native_size):
        sides = [str(side) for side in record.native_size]
    return " x ".join(sides if len(sides) != 1 else sides * 2)


def _civitai(said: Civitai) -> dict[str, Any]:
    version = f"?modelVersionId={said.version_id}" if said.version_id > 0 else ""
    return {
        "name": said.name,
        "version": said.version,
        "base_model": said.base_model,
        "trained_words": [word[:LONGEST_VALUE] for word in said.trained_words[:MOST_TAGS]],
        "description": plain_text(said.description),
        "page": f"{SITE}/{said.model_id}{version}" if said.model_id > 0 else "",
    }


def _fits(identity: Identity, records: Iterable[ModelRecord]) -> list[str]:
    return [
        record.name
        for record in records
        if record.kind is Kind.CHECKPOINT and not record.problem and identity.fits(record.identity)
    ]
