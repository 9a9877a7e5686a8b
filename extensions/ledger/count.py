"""Counting what lies in the output folder already, in the background."""

import threading
from pathlib import Path

from backend.extension_api import ExtensionApi, Image, Work

from .book import Book

SUFFIXES = frozenset({".png", ".jpg", ".webp", ".avif"})
AT_ONCE = 50  # pictures that are noted together
EXIF, USER_COMMENT = 0x8769, 0x9286


class Count:
    """One at a time."""

    def __init__(self, api: ExtensionApi, book: Book):
        self._api = api
        self._book = book
        self._counting = threading.Lock()

    def begin(self) -> str:
        """Begin to count; a sentence for the person."""
        if not self._counting.acquire(blocking=False):
            return "It is being counted already; Extensions shows how far it is."
        try:
            self._api.background("Count what is there", self._count)
        except BaseException:
            self._counting.release()
            raise
        return "What is there is being counted; Extensions shows how far it is."

    def _count(self, work: Work) -> None:
        try:
            self._walk(work)
        finally:
            self._counting.release()

    def _walk(self, work: Work) -> None:
        files = [path for path in self._api.outputs.rglob("*") if path.suffix.lower() in SUFFIXES]
        known = self._book.known()
        self._book.strike_out(path for path in known if not Path(path).is_file())
        new = [path for path in files if str(path) not in known]
        for first in range(0, len(new), AT_ONCE):
            work.check()
            self._book.note_all((path, infotext_of(path)) for path in new[first : first + AT_ONCE])
            done = min(first + AT_ONCE, len(new))
            work.progress(done, len(new), f"{done} of {len(new)} new pictures")
        self._api.log.info("%d pictures were there, %d of them new", len(files), len(new))


def infotext_of(path: Path) -> str:
    """The parameters that a picture's file carries; empty where there are none."""
    try:
        with Image.open(path) as picture:
            if text := picture.info.get("parameters"):
                return str(text)
            said = picture.getexif().get_ifd(EXIF).get(USER_COMMENT, b"")
            return said[8:].decode("utf-16-be", errors="ignore") if said[:8] == b"UNICODE\0" else ""
    except (OSError, ValueError, SyntaxError):
        return ""
