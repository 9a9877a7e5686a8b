"""Extensions that tests write: folders as an author makes them."""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

IMPORTS = "from backend.extension_api import *\n"


def manifest(id: str, **entries: Any) -> str:
    """The text of an ``extension.toml``; `entries` replace what would stand there, None leaves it out."""
    values = {"id": id, "name": id.capitalize(), "version": "1.0", "api": ">=1.0,<2", **entries}
    # What JSON writes of texts and lists of texts is TOML too.
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items() if value is not None)


def write_extension(
    data_dir: Path, id: str, code: str = "", *, files: Mapping[str, str] | None = None, **entries: Any
) -> Path:
    """An extension in the data folder; its code stands below an import of the whole interface. Returns its folder."""
    folder = data_dir / "extensions" / id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "extension.toml").write_text(manifest(id, **entries), encoding="utf-8")
    register = "" if "def register" in code else "\n@hook\ndef register(api):\n    pass\n"
    text = IMPORTS + textwrap.dedent(code) + register
    for name, content in {"__init__.py": text, **(files or {})}.items():
        (folder / name).write_text(textwrap.dedent(content), encoding="utf-8")
    return folder
