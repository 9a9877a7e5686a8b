"""Counts what was made: told of each picture, asked by a tab and a route, brought up to date by a background job."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Annotated, Any

from backend.extension_api import (
    APIRouter,
    BaseModel,
    ConfigDict,
    Depends,
    ExtensionApi,
    Field,
    ImageReady,
    JobTurn,
    Person,
    PictureTurn,
    asked_by,
    hook,
)

from .book import SHOWN, Book
from .count import Count


class LedgerSettings(BaseModel):
    """What the ledger does besides counting."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: bool = Field(default=False, title="Number in the parameters", description="Each picture's running number.")


@hook
def register(api: ExtensionApi) -> None:
    """A listener, routes, a tab, a background job and settings."""
    file = api.flags.get("ledger-file")
    book = api.keep(Book(file if isinstance(file, str) and file else api.data_dir / "ledger.sqlite3"))
    api.settings(LedgerSettings)
    count = Count(api, book)
    reading, counting = APIRouter(), APIRouter()

    @reading.get("/summary")
    def summary() -> dict[str, Any]:
        return book.summary()

    @reading.get("/mine")
    def mine(person: Annotated[Person, Depends(asked_by)]) -> dict[str, Any]:
        return summary_of(api, person)

    @counting.post("/count")
    def begin() -> dict[str, str]:
        return {"said": count.begin()}

    api.routes(reading, risk="read")
    api.routes(counting, risk="manage")
    api.on("image_saved", lambda saved: book.note(saved.path, saved.infotext))
    api.tab("Ledger", lambda: page(api, book, count))


@hook
def on_save(turn: PictureTurn) -> Mapping[str, str] | None:
    """The picture's running number, where that is wanted."""
    if not turn.settings(LedgerSettings).number:
        return None
    turn.check()
    return {"Ledger": str(turn.kept(Book).next_number())}


@hook
def on_finish(images: Sequence[ImageReady], turn: JobTurn) -> None:
    """A job has ended, with so many pictures."""
    turn.kept(Book).note_job(len(images))


def summary_of(api: ExtensionApi, person: Person) -> dict[str, Any]:
    """How many of the pictures that are there somebody has made, and on which days."""
    days = Counter(time.strftime("%Y-%m-%d", time.localtime(each.saved)) for each in api.pictures(person.owner))
    return {"pictures": days.total(), "days": sorted(days.items(), reverse=True)[:SHOWN]}


def page(api: ExtensionApi, book: Book, count: Count) -> None:
    """The tab: the tables, what of it is one's own, and a button that counts."""
    import gradio as gr

    table = gr.HTML(lambda: drawn(book.summary()))
    with gr.Row():
        again = gr.Button("Show what is there now")
        mine = gr.Button("Show mine", elem_id="ledger_mine")
        begin = gr.Button("Count what is there")
    said = gr.Markdown()
    again.click(lambda: drawn(book.summary()), None, table, api_visibility="private")
    mine.click(lambda: drawn_of_one(summary_of(api, asked_by())), None, table, api_visibility="private")
    begin.click(count.begin, None, said, api_visibility="private")


def drawn(summary: Mapping[str, Any]) -> str:
    """The sums as HTML."""
    tables = [_table(title, summary[title.lower()]) for title in ("Days", "Models")]
    return f"<p>{summary['pictures']} pictures in {summary['jobs']} jobs.</p>{''.join(tables)}"


def drawn_of_one(summary: Mapping[str, Any]) -> str:
    """The sums of whoever looks at them."""
    return f"<p>{summary['pictures']} of the pictures that are there are yours.</p>{_table('Days', summary['days'])}"


def _table(title: str, rows: Sequence[tuple[str, int]]) -> str:
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{number}</td></tr>" for name, number in rows)
    return f"<h4>{title}</h4><table>{cells}</table>" if rows else ""
