"""A ``styles.csv`` as its rows, of which those that are not changed stay as they are, byte for byte."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from backend.errors import UserError

BOM = b"\xef\xbb\xbf"
COLUMNS = ("name", "prompt", "negative_prompt")
OLD_PROMPT = "text"  # what the first versions called the prompt
# A cell in quotes, in which two of them are one, with what stands behind it; else one without.
_CELL = re.compile(r'"((?:[^"]|"")*)(?:"|\Z)([^,\r\n]*)|([^,\r\n]*)')
_END = re.compile(r"\r\n|\r|\n|\Z")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row as it stands in the file, with its line end, and what its cells say."""

    raw: str
    cells: tuple[str, ...]

    @property
    def line_end(self) -> str:
        """How it ends; the last one of a file may have nothing."""
        return next((end for end in ("\r\n", "\n", "\r") if self.raw.endswith(end)), "")


@dataclass(frozen=True, kw_only=True)
class StyleSheet:
    """The file: whether a byte order mark begins it, the row that names the columns, and all further ones."""

    marked: bool
    head: Row
    rows: tuple[Row, ...]

    @classmethod
    def empty(cls) -> Self:
        """A file as AUTOMATIC1111 begins one."""
        return cls(marked=True, head=_row(COLUMNS, "\r\n"), rows=())

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Raises `UserError` for what is no such file."""
        marked = data.startswith(BOM)
        try:
            text = data.removeprefix(BOM).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError("It is not written in UTF-8: save it again in that encoding.") from error
        rows = _rows(text)
        if not text.strip():
            return cls.empty()
        head = rows[0]
        if "name" not in head.cells or not {"prompt", OLD_PROMPT} & set(head.cells):
            raise UserError(f"It is no styles file: its first line must name the columns {', '.join(COLUMNS)}.")
        return cls(marked=marked, head=head, rows=tuple(rows[1:]))

    @property
    def data(self) -> bytes:
        """The bytes of the file."""
        text = "".join(row.raw for row in (self.head, *self.rows))
        return (BOM if self.marked else b"") + text.encode("utf-8")

    @property
    def styles(self) -> tuple[tuple[str, str, str], ...]:
        """Name, prompt and negative prompt of every row that has a name."""
        return tuple(values for row in self.rows if (values := self._values(row))[0])

    def with_style(self, style: tuple[str, str, str], replaces: str = "") -> Self:
        """The sheet with a style in the place of all that are called `replaces`, else at its end."""
        sheet = self._with_columns()
        places = [place for place, row in enumerate(sheet.rows) if replaces and sheet._values(row)[0] == replaces]
        rows = list(sheet.rows)
        line_end = sheet.head.line_end or "\r\n"
        if not places:
            new = sheet._row(style, (), line_end)
            return replace(sheet, **sheet._ended(line_end), rows=(*sheet._ended_rows(line_end), new))
        old = rows[places[-1]]
        rows[places[-1]] = sheet._row(style, old.cells, old.line_end)
        return replace(sheet, rows=tuple(row for place, row in enumerate(rows) if place not in places[:-1]))

    def without(self, name: str) -> Self:
        """The sheet without the styles of that name."""
        return replace(self, rows=tuple(row for row in self.rows if self._values(row)[0] != name))

    def _values(self, row: Row) -> tuple[str, str, str]:
        by_column = dict(zip(self.head.cells, row.cells, strict=False))
        prompt = by_column.get("prompt", by_column.get(OLD_PROMPT, ""))
        return by_column.get("name", ""), prompt, by_column.get("negative_prompt", "")

    def _row(self, style: tuple[str, str, str], before: Sequence[str], line_end: str) -> Row:
        """A style as a row; columns that we do not know keep what they said."""
        by_column = dict(zip(self.head.cells, before, strict=False))
        prompt_column = "prompt" if "prompt" in self.head.cells else OLD_PROMPT
        by_column |= dict(zip(("name", prompt_column, "negative_prompt"), style, strict=True))
        return _row([by_column.get(column, "") for column in self.head.cells], line_end)

    def _with_columns(self) -> Self:
        """The first versions had no negative prompts: with a column for them, in every row."""
        if "negative_prompt" in self.head.cells:
            return self
        widened = [_row((*row.cells, ""), row.line_end) if any(row.cells) else row for row in self.rows]
        return replace(self, head=_row((*self.head.cells, "negative_prompt"), self.head.line_end), rows=tuple(widened))

    def _ended(self, line_end: str) -> dict[str, Row]:
        return {} if self.head.line_end else {"head": replace(self.head, raw=self.head.raw + line_end)}

    def _ended_rows(self, line_end: str) -> list[Row]:
        rows = list(self.rows)
        if rows and not rows[-1].line_end:
            rows[-1] = replace(rows[-1], raw=rows[-1].raw + line_end)
        return rows


def _row(cells: Sequence[str], line_end: str) -> Row:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return Row(raw=text.getvalue() + line_end, cells=tuple(cells))


def _rows(text: str) -> list[Row]:
    found: list[Row] = []
    at = 0
    while at < len(text):
        start, cells = at, []
        while True:
            cell = _CELL.match(text, at)
            assert cell is not None  # it may be empty
            cells.append(cell[3] if cell[1] is None else cell[1].replace('""', '"') + cell[2])
            at = cell.end()
            if text[at : at + 1] != ",":
                break
            at += 1
        end = _END.match(text, at)
        at = end.end() if end else at
        found.append(Row(raw=text[start:at], cells=tuple(cells)))
    return found
