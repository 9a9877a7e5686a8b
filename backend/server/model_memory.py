"""The routes that say which checkpoints are in memory, and that let go of them or keep them."""

import threading
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from backend.app import App
from backend.errors import UserError
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.record import ModelRecord
from backend.model_manager.memory.status import Swap
from backend.server.json_door import Nothing, Order, order, said
from backend.server.risks import risk

COLD = Swap(temperature="cold", seconds=None)


class KeepOrder(Order):
    """Whether a checkpoint stays in RAM."""

    kept: bool


class Kept:
    """The checkpoints that somebody wants to keep warm, also before there is a memory to keep them in."""

    def __init__(self, app: App):
        self._app = app
        self._lock = threading.Lock()
        self._records: dict[str, ModelRecord] = {}
        self._told: set[str] = set()
        app.status.subscribe(self._hand_over)

    def __contains__(self, id: str) -> bool:
        return id in self._records

    def put(self, id: str, record: ModelRecord, *, kept: bool) -> None:
        """Keep a checkpoint, or no longer."""
        with self._lock:
            if kept:
                self._records[id] = record
            else:
                self._records.pop(id, None)
                self._told.discard(id)
        residency = self._app.residency
        if residency and not kept:
            residency.keep_warm(record, kept=False)
        self._hand_over()

    def _hand_over(self) -> None:
        """Tell the memory of what it does not know yet. Called on its own thread too, with every status."""
        residency = self._app.residency
        if residency is None:
            return
        with self._lock:
            new = [record for id, record in self._records.items() if id not in self._told]
            self._told.update(self._records)
        for record in new:
            residency.keep_warm(record, kept=True)


def add_routes(routes: APIRouter, app: App) -> None:
    """``state``, ``unload``, ``ID/unload`` and ``ID/keep``."""
    kept = Kept(app)

    @routes.get("/state")
    @risk("read")
    def state(request: Request) -> Response:
        residency = app.residency
        _, models = app.overview.models()
        checkpoints = {each.id: each.record for each in models if each.record.kind is Kind.CHECKPOINT}
        swaps = {id: residency.swap(record) if residency else COLD for id, record in checkpoints.items()}
        status = asdict(app.status.value)
        memory: dict[str, Any] = status.pop("memory")
        return said(
            request,
            {
                "models": {
                    id: {"state": swap.temperature, "seconds": swap.seconds, "kept": id in kept}
                    for id, swap in swaps.items()
                },
                "memory": asdict(residency.report()) if residency else memory,
                "status": status,
            },
        )

    @routes.post("/unload")
    @risk("manage")
    def unload_all(request: Request, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        if app.residency:
            app.residency.unload()
        return said(request, {})

    @routes.post("/{id}/unload")
    @risk("manage")
    def unload(request: Request, id: str, _: Annotated[Nothing, Depends(order(Nothing))]) -> Response:
        record = app.overview.find(id).record
        if app.residency:
            app.residency.unload(record)
        return said(request, {})

    @routes.post("/{id}/keep")
    @risk("manage")
    def keep(request: Request, id: str, wish: Annotated[KeepOrder, Depends(order(KeepOrder))]) -> Response:
        record = app.overview.find(id).record
        if record.kind is not Kind.CHECKPOINT:
            raise UserError(f"{record.name} is no checkpoint: only those are kept warm.")
        kept.put(id, record, kept=wish.kept)
        return said(request, {"kept": wish.kept})
