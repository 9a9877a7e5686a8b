"""One Atelier for one data folder: two would run every waiting job twice and sweep each other's unfinished files."""

import sqlite3
from pathlib import Path

from backend.errors import UserError


def claim(folder: Path) -> sqlite3.Connection:
    """Hold `folder` until the connection that is returned is closed or this process ends, however it ends.

    Raises `UserError` if another process holds it, `OSError` or `sqlite3.Error` if it cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # SQLite's lock is the system's own on every platform, and the system drops it with the process.
    held = sqlite3.connect(folder / "in-use.sqlite3", timeout=0, isolation_level=None)
    try:
        held.execute("begin exclusive")
    except sqlite3.OperationalError as error:
        held.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise UserError(
                f"Another Atelier works in {folder} already: use that one, or give this one a folder of its own with "
                "--data-dir."
            ) from error
        raise
    return held
