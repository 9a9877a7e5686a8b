"""How long pictures that were put in stay, and what is known of those that are gone: looked after at the start and once
a day, on a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable, Container

from backend.errors import OutputError
from backend.inputs import Inputs
from backend.saved_pictures import SavedPictures

log = logging.getLogger(__name__)

DAY = 24 * 60 * 60.0  # seconds


class Retention:
    """Deletes pictures that were put in when nobody has used them for as long as the settings say, and forgets saved
    ones that somebody has deleted."""

    def __init__(
        self, inputs: Inputs, days: Callable[[], int], needed: Callable[[], Container[str]], saved: SavedPictures
    ):
        """`days()` is how long, 0 for ever; `needed()` are the names that are kept all the same."""
        self._inputs = inputs
        self._days = days
        self._needed = needed
        self._saved = saved
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="retention", daemon=True)

    def start(self) -> None:
        """Begin, now and every day."""
        self._thread.start()

    def close(self) -> None:
        """End; what is being deleted is."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def sweep(self) -> int:
        """Delete what is due; returns how many pictures that were. Raises `OSError` if the folder cannot be read."""
        days = self._days()
        # A name that is queued from now on was used just then, so that its picture is not old.
        return self._inputs.drop_unused(time.time() - days * DAY, self._needed()) if days else 0

    def _work(self) -> None:
        while True:
            try:
                if dropped := self.sweep():
                    log.info("deleted %d pictures that were put in and not used for %d days", dropped, self._days())
                self._saved.forget_missing()
            except (OSError, OutputError) as error:
                log.warning("pictures could not be looked after: %s", error)
            if self._closing.wait(DAY):
                return
