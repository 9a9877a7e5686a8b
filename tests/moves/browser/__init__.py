"""The pictures of whoever asks, listed and shown by routes, and listed in a tab."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

from fastapi.responses import FileResponse

from backend.extension_api import (
    APIRouter,
    Depends,
    ExtensionApi,
    Person,
    SavedPicture,
    UserError,
    asked_by,
    hook,
)

MOST = 200
Asking = Annotated[Person, Depends(asked_by)]


class Browser:
    def __init__(self, api: ExtensionApi):
        self._api = api

    def found(self, person: Person, words: str = "") -> Iterator[SavedPicture]:
        """The person's pictures with these words in their parameters, the newest first."""
        return (each for each in self._api.pictures(person.owner) if words.lower() in each.infotext.lower())

    def listed(self, person: Person, words: str = "") -> list[dict[str, str]]:
        """As rows: where they lie below the outputs, and their parameters."""
        found = islice(self.found(person, words), MOST)
        return [{"path": self._name(each.path), "infotext": each.infotext} for each in found]

    def file(self, person: Person, path: str) -> Path:
        """One of the person's own. Raises `UserError` for everything else."""
        wanted = self._api.outputs / path
        for each in self.found(person):
            if each.path == wanted:
                return each.path
        raise UserError(f"You have no picture {path}.")

    def _name(self, path: Path) -> str:
        outputs = self._api.outputs  # where they go now; it may have been another folder
        return (path.relative_to(outputs) if path.is_relative_to(outputs) else path).as_posix()


@hook
def register(api: ExtensionApi) -> None:
    browser, routes = Browser(api), APIRouter()

    @routes.get("/pictures")
    def pictures(person: Asking, words: str = "") -> list[dict[str, str]]:
        return browser.listed(person, words)

    @routes.get("/picture")
    def picture(person: Asking, path: str) -> FileResponse:
        return FileResponse(browser.file(person, path))

    def build() -> None:
        import gradio as gr

        listed = gr.Dataframe(headers=["path", "infotext"], label="Saved pictures", elem_id="saved_pictures")
        again = gr.Button("Look again", elem_id="look_again")
        again.click(lambda: [list(row.values()) for row in browser.listed(asked_by())], outputs=listed)

    api.routes(routes)
    api.tab("Browser", build)
