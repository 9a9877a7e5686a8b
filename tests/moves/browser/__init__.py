"""An index of the pictures that were saved, in a file of its own; a route and a tab list them."""

import json
from pathlib import Path

from backend.extension_api import APIRouter, ExtensionApi, SavedPicture, hook


def entries(index: Path) -> list[dict[str, str]]:
    """What was saved, the newest first: its path below the outputs, its infotext."""
    if not index.exists():
        return []
    return [json.loads(line) for line in reversed(index.read_text(encoding="utf-8").splitlines())]


@hook
def register(api: ExtensionApi) -> None:
    index = api.data_dir / "index.jsonl"
    routes = APIRouter()

    def saved(picture: SavedPicture) -> None:
        path = picture.path.relative_to(api.outputs).as_posix()
        entry = {"path": path, "infotext": picture.infotext, "owner": picture.owner}
        with index.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    @routes.get("/pictures")
    def pictures(words: str = "") -> list[dict[str, str]]:
        found = [entry for entry in entries(index) if words.lower() in entry["infotext"].lower()]
        return [{"path": entry["path"], "infotext": entry["infotext"]} for entry in found]

    def build() -> None:
        import gradio as gr

        listed = gr.Dataframe(headers=["path", "infotext"], label="Saved pictures", elem_id="saved_pictures")
        again = gr.Button("Look again")
        again.click(lambda: [[entry["path"], entry["infotext"]] for entry in entries(index)], outputs=listed)

    api.on("image_saved", saved)
    # Its list is everybody's: only the administrator may look.
    api.routes(routes, risk="manage")
    api.tab("Browser", build)
