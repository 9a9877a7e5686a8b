"""What the page asks while a prompt is typed: its tokens and faults, what its words may become, and earlier prompts.

``POST /atelier/prompt`` and ``/atelier/prompt/suggestions``, ``GET /atelier/prompt/history``. Nothing here changes
anything, and nothing waits for torch; the first count reads the vocabulary, which takes seconds.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from backend.app import App
from backend.checked import LONGEST_PROMPT
from backend.errors import ModelFileError, UserError
from backend.jobs import Job
from backend.model_manager.inventory.record import ModelRecord
from backend.prompt.chunking import CHUNK, COMMA_BACKTRACK
from backend.prompt.grammar import Problem
from backend.prompt.problems import MOST_PROBLEMS
from backend.prompt.proofreading import Proof, proofread
from backend.request import GenerationRequest
from backend.sampling_options import EMPHASIS_MODES
from backend.server.json_door import JsonRoute, Order, order, said
from backend.server.owner import owner_of
from backend.server.risks import risk
from backend.server.suggestions import Sign, Suggestions
from backend.styles import Styles

LONGEST_TYPED = 200
MOST_PROMPTS = 200  # of the history in an answer


class PromptOrder(Order):
    """Both prompts as they stand, the checkpoint that is chosen, and what of the form decides how words are read."""

    prompt: Annotated[str, Field(max_length=LONGEST_PROMPT)] = ""
    negative: Annotated[str, Field(max_length=LONGEST_PROMPT)] = ""
    checkpoint: str = ""
    styles: Annotated[tuple[str, ...], Field(max_length=100, strict=False)] = ()
    emphasis: str = EMPHASIS_MODES[0]
    comma_backtrack: Annotated[int, Field(ge=0, le=CHUNK)] = COMMA_BACKTRACK


class TypingOrder(Order):
    """What stands before the caret: all since `sign`, or without one since the last comma, bracket or line."""

    sign: Sign
    before: Annotated[str, Field(max_length=LONGEST_TYPED)]
    checkpoint: str = ""
    negative: bool = False


def router(app: App) -> APIRouter:
    """All routes below ``/atelier/prompt``."""
    # Plain functions: they run on threads, because they ask the disk.
    routes = APIRouter(prefix="/atelier/prompt", route_class=JsonRoute)
    reading = threading.Lock()
    suggestions = Suggestions(
        overview=app.overview,
        catalog=app.catalog,
        wildcards=app.wildcards.names,
        styles=app.styles.all,
    )

    @routes.post("")
    @risk("read")
    def look_over(request: Request, typed: Annotated[PromptOrder, Depends(order(PromptOrder))]) -> Response:
        # Late: it takes seconds the first time, which the start of the page has no need of.
        with reading:
            from backend.families.clip_tokenizer import clip_tokenizer

            tokenizer = clip_tokenizer()
        checkpoint = _checkpoint(app, typed.checkpoint)
        texts = (typed.prompt, typed.negative)
        answer = {}
        for name, text, styled in zip(("prompt", "negative"), texts, _styled(app, typed), strict=True):
            proof = proofread(
                text,
                negative=name == "negative",
                tokenizer=tokenizer,
                catalog=app.catalog,
                checkpoint=checkpoint,
                styled=styled,
                comma_backtrack=typed.comma_backtrack,
                literal=typed.emphasis == "None",
                plain=app.wildcards.plain,
            )
            answer[name] = _proof(text, proof, app.wildcards.problems(text))
        return said(request, answer)

    @routes.post("/suggestions")
    @risk("read")
    def suggest(request: Request, typed: Annotated[TypingOrder, Depends(order(TypingOrder))]) -> Response:
        found, rows = suggestions.find(typed.sign, typed.before, checkpoint=typed.checkpoint, negative=typed.negative)
        return said(request, {"typed": found, "rows": [asdict(row) for row in rows]})

    @routes.get("/history")
    @risk("read")
    def history(request: Request, words: str = "", styles: Annotated[tuple[str, ...], Query()] = ()) -> Response:
        rows = _history(app.queue.jobs(owner_of(request)), words)
        return said(request, {"prompts": [_without(styles, app.styles, row) for row in rows] if styles else rows})

    return routes


def _checkpoint(app: App, name: str) -> ModelRecord | None:
    """The checkpoint of that name; None where it cannot be used, which is said elsewhere."""
    try:
        return app.catalog.find(name or app.settings.value.checkpoint, look=False)
    except ModelFileError:
        return None


def _styled(app: App, typed: PromptOrder) -> tuple[str, str]:
    """Both prompts with the words of their styles; without them where one is gone, which is said when it is used."""
    try:
        return app.styles.applied(typed.styles, typed.prompt, typed.negative)
    except UserError:
        return typed.prompt, typed.negative


def _proof(text: str, proof: Proof, of_wildcards: Sequence[Problem]) -> dict[str, Any]:
    places = _places(text)
    ordered = sorted([*proof.problems, *of_wildcards], key=lambda problem: (problem.start, problem.end))
    problems = [
        {"message": problem.message, "start": places[problem.start], "end": places[problem.end]}
        for problem in ordered[:MOST_PROBLEMS]
    ]
    return {"tokens": proof.tokens, "limit": proof.room, "problems": problems}


def _places(text: str) -> Sequence[int]:
    """Where each character of a text begins, and its end, as JavaScript counts: in units of 16 bits."""
    if text.isascii():
        return range(len(text) + 1)
    places = [0]
    for character in text:
        places.append(places[-1] + 1 + (ord(character) > 0xFFFF))
    return places


def _history(jobs: Sequence[Job], words: str) -> list[dict[str, Any]]:
    """The prompts of jobs as they were written, each pair of them once, the newest first; only those in which all of
    `words` stand."""
    wanted = words.casefold().split()
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for job, request in _generations(jobs):
        written = request.template or request
        pair = (written.prompt, written.negative_prompt)
        row = found.get(pair)
        if row is None:
            text = "\n".join(pair).casefold()
            if not any(pair) or not all(word in text for word in wanted):
                continue
            row = found[pair] = {"prompt": pair[0], "negative": pair[1], "made": job.created, "count": 0, "picture": ""}
        images = job.images
        row["count"] += len(images)
        if images and not row["picture"]:
            row["picture"] = f"atelier/pictures/{job.id}/{images[0].index}"
    return list(found.values())[:MOST_PROMPTS]


def _without(chosen: Sequence[str], styles: Styles, row: dict[str, Any]) -> dict[str, Any]:
    """A row without the words of styles that are chosen on the page, which would be put on a second time."""
    found = styles.taken_out(row["prompt"], row["negative"])
    if not found.styles or not set(found.styles) <= set(chosen):
        return row
    return {**row, "prompt": found.prompt, "negative": found.negative_prompt}


def _generations(jobs: Sequence[Job]) -> Iterator[tuple[Job, GenerationRequest]]:
    """The newest first, without what only enlarges."""
    for job in sorted(jobs, key=lambda job: job.created, reverse=True):
        if isinstance(job.request, GenerationRequest):
            yield job, job.request
