"""A log of its own for each extension: a file that does not grow without end."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE = "log.txt"
LARGEST = 512 * 1024  # bytes of a file; the one before is kept beside it
SHOWN = 200  # lines
LONGEST_LINE = 4096


class ExtensionLog(logging.Logger):
    """A logger that writes into a file, which is made with its first line, and to where all of Atelier logs."""

    def __init__(self, id: str, folder: Path):
        super().__init__(f"atelier.extensions.{id}", logging.INFO)
        self._file = folder / FILE
        self._handler: RotatingFileHandler | None = None
        self.parent = logging.getLogger("atelier.extensions")

    def handle(self, record: logging.LogRecord) -> None:
        """Write a record; that a log cannot be written is no reason to stop."""
        if self._handler is None:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                handler = RotatingFileHandler(self._file, maxBytes=LARGEST, backupCount=1, encoding="utf-8")
            except OSError as error:
                logging.getLogger(__name__).warning("%s cannot be written: %s", self._file, error)
            else:
                handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
                self._handler = handler
                self.addHandler(handler)
        super().handle(record)

    def lines(self, count: int = SHOWN) -> list[str]:
        """The newest lines, oldest first."""
        found: list[str] = []
        for path in (self._file, self._file.with_name(f"{FILE}.1")):
            try:
                with path.open("rb") as file:
                    size = file.seek(0, 2)
                    file.seek(max(0, size - count * LONGEST_LINE))
                    text = file.read().decode("utf-8", errors="replace")
            except OSError:
                continue
            found = [*text.splitlines(), *found][-count:]
            if len(found) == count:
                break
        return [line[:LONGEST_LINE] for line in found]

    def close(self) -> None:
        """Close the file; a line that is written later opens it again."""
        if self._handler is not None:
            self.removeHandler(self._handler)
            self._handler.close()
            self._handler = None
