"""What is being fetched, converted and merged, as the page has it: for its routes and for the live channel."""

from typing import Any

from backend.app import App
from backend.model_manager.chores import Chore
from backend.model_manager.downloads.download_record import DownloadRecord


def works(app: App) -> dict[str, Any]:
    """All works and downloads as they are now; nothing on the disk is asked."""
    return {
        "works": [_work(chore) for chore in app.chores.all()],
        "downloads": [_download(record) for record in app.downloads.all()],
    }


def _work(chore: Chore) -> dict[str, Any]:
    return {
        "id": chore.id,
        "kind": chore.kind,
        "title": chore.title,
        "state": chore.state,
        "share": chore.share,
        "doing": chore.doing,
        "problem": chore.problem,
        "note": chore.note,
        "result": chore.result,
    }


def _download(record: DownloadRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "state": record.state,
        "received": record.received,
        "size": record.size,
        "rate": record.rate,
        "remaining": record.remaining,
        "problem": record.problem,
        "note": record.note,
    }
