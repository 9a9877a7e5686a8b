"""Counts what was made: told of each picture, asked by a tab and a route, brought up to date by a background job."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from backend.extension_api import (
    APIRouter,
    BaseModel,
    ConfigDict,
    ExtensionApi,
    Field,
    ImageReady,
    PictureTurn,
    Settings,
    hook,
)

from .book import Book
from .count import Count


class LedgerSettings(BaseModel):
    """What the ledger does besides counting."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: bool = Field(default=False, title="Number in the parameters", description="Each picture's running number.")


class Open:
    """What the hooks need and `register` knows."""

    book: Book
    settings: Settings[LedgerSettings]


OPEN = Open()


@hook
def register(api: ExtensionApi) -> None:
    """A listener, routes, a tab, a background job and settings."""
    file = api.flags.get("ledger-file")
    OPEN.book = book = Book(file if isinstance(file, str) and file else api.data_dir / "ledger.sqlite3")
    OPEN.settings = api.settings(LedgerSettings)
    count = Count(api, book)
    reading, counting = APIRouter(), APIRouter()

    @reading.get("/summary")
    def summary() -> dict[str, Any]:
        return book.summary()

    @counting.post("/count")
    def begin() -> dict[str, str]:
        return {"said": count.begin()}

    api.routes(reading, risk="read")
    api.routes(counting, risk="manage")
    api.on("image_saved", lambda saved: book.note(saved.path, saved.infotext))
    api.tab("Ledger", lambda: page(book, count))


@hook
def on_save(turn: PictureTurn) -> Mapping[str, str] | None:
    """The picture's running number, where that is wanted."""
    if not OPEN.settings.value.number:
        return None
    turn.check()
    return {"Ledger": str(OPEN.book.next_number())}


@hook
def on_finish(images: Sequence[ImageReady]) -> None:
    """A job has ended, with so many pictures."""
    OPEN.book.note_job(len(images))


def page(book: Book, count: Count) -> None:
    """The tab: two tables, and a button that counts."""
    import gradio as gr

    table = gr.HTML(lambda: drawn(book.summary()))
    with gr.Row():
        again = gr.Button("Show what is there now")
        begin = gr.Button("Count what is there")
    said = gr.Markdown()
    again.click(lambda: drawn(book.summary()), None, table, api_visibility="private")
    begin.click(count.begin, None, said, api_visibility="private")


def drawn(summary: Mapping[str, Any]) -> str:
    """The sums as HTML."""
    tables = [_table(title, summary[title.lower()]) for title in ("Days", "Models")]
    return f"<p>{summary['pictures']} pictures in {summary['jobs']} jobs.</p>{''.join(tables)}"


def _table(title: str, rows: Sequence[tuple[str, int]]) -> str:
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{number}</td></tr>" for name, number in rows)
    return f"<h4>{title}</h4><table>{cells}</table>" if rows else ""
