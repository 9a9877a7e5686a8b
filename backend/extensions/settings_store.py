"""An extension's own settings: a pydantic model, and the file that they are kept in."""

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError

from backend.errors import OutputError, UserError
from backend.files import write_atomically

FILE = "settings.json"

S = TypeVar("S", bound=BaseModel)


class ExtensionSettings(Generic[S]):
    """The settings of one extension. A file with a bad value loses that value only, and its log says so."""

    def __init__(self, kind: type[S], path: Path, log: logging.Logger, *, told: Callable[[], None] = lambda: None):
        """`told` is called after each change. Raises `UserError` for a model that has a field without a default, or one
        that a file and the page do not give back."""
        self.kind = kind
        self._path = path
        self._log = log
        self._told = told
        self._lock = threading.Lock()
        self.revision = 0  # counts changes
        _check(kind)
        self.value: S = self._load()

    def change(self, **values: Any) -> S:
        """Set some of them. Raises `UserError` with a sentence for a value that cannot be; then none has changed."""
        with self._lock:
            for name in values:
                if name not in self.kind.model_fields:
                    raise UserError(f"There is no setting called {name!r}.")
            try:
                value = self.kind.model_validate({**self.value.model_dump(), **values})
            except ValidationError as error:
                raise UserError(complaints(self.kind, error)[0]) from error
            try:
                write_atomically(self._path, value.model_dump_json(indent=2).encode() + b"\n")
            except OSError as error:
                raise OutputError(f"{self._path} could not be written: {error.strerror or error}.") from error
            self.value = value
            self.revision += 1
        self._told()
        return value

    def _load(self) -> S:
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return self.kind()
        except (OSError, ValueError) as error:
            self._log.warning("the settings cannot be read (%s): the defaults are used", error)
            return self.kind()
        values = values if isinstance(values, dict) else {}
        while True:
            try:
                return self.kind.model_validate(values)
            except ValidationError as error:
                bad = {str(fault["loc"][0]) for fault in error.errors() if fault["loc"]}
                for sentence in complaints(self.kind, error):
                    self._log.warning("a setting is left out: %s", sentence)
                if not bad & values.keys():
                    return self.kind()
                values = {name: value for name, value in values.items() if name not in bad}


def _check(kind: type[BaseModel]) -> None:
    """Raises `UserError` for a model whose values cannot be kept in a file, or not be shown on the page."""
    try:
        first = kind()
    except ValidationError as error:
        raise UserError(f"a field of its settings has no default: {complaints(kind, error)[0]}") from error
    try:
        schema = json.dumps(kind.model_json_schema())
        text = json.dumps(first.model_dump(mode="json"), allow_nan=False)
        again = kind.model_validate(json.loads(text))
    except ValidationError as error:
        raise UserError(f"a default of its settings cannot be: {complaints(kind, error)[0]}") from error
    except (ValueError, TypeError, PydanticUserError, PydanticSerializationError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(f"its settings cannot be written as JSON: {reason}.") from error
    if '"writeOnly": true' in schema:  # pydantic's secrets, which are written as asterisks
        raise UserError("its settings have a secret, of which a file would keep asterisks: make it a str.")
    for name in kind.model_fields:
        if getattr(again, name) != getattr(first, name):
            raise UserError(f"its setting {name} is not the same after it was written down: choose a plain type.")


def complaints(kind: type[BaseModel], error: ValidationError) -> list[str]:
    """A sentence for each bad value, in the words of the model's titles."""
    sentences = []
    for fault in error.errors():
        name = str(fault["loc"][0]) if fault["loc"] else ""
        field = kind.model_fields.get(name)
        reason = fault["msg"].removeprefix("Value error, ").rstrip(".")
        reason = reason[:1].lower() + reason[1:]
        if fault["type"] == "missing":
            sentences.append(f"{name} is not given.")
        elif name:
            sentences.append(f"{(field.title if field else None) or name} is {fault['input']!r}: {reason}.")
        else:
            sentences.append(f"{reason[:1].upper()}{reason[1:]}.")
    return sentences
