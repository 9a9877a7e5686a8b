"""What the artist has set: typed, checked value by value, written whole or not at all."""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from backend.errors import InvalidRequest, UserError
from backend.files import write_atomically
from backend.listeners import Listeners
from backend.request import BATCH_COUNT_RANGE, BATCH_SIZE_RANGE, CFG_RANGE, SIZE_RANGE, SIZE_STEP, STEPS_RANGE
from backend.sampling.samplers import SAMPLER_NAMES, find_sampler
from backend.sampling.schedules import AUTOMATIC, SCHEDULE_NAMES, find_schedule, is_automatic

log = logging.getLogger(__name__)

Size = Annotated[int, Field(ge=0, le=SIZE_RANGE[1], multiple_of=SIZE_STEP)]  # 0: the checkpoint's own


class Settings(BaseModel):
    """Every setting with its default. A title is the words on the page, a description the line under it;
    `json_schema_extra={"section": ...}` says where it stands."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    image_format: Literal["png", "jpeg", "webp", "avif"] = Field(
        default="png",
        title="File format",
        description="PNG keeps every pixel. JPEG, WebP and AVIF are smaller and carry the same parameters.",
        json_schema_extra={"section": "Saving"},
    )
    image_quality: int = Field(
        default=92,
        ge=1,
        le=100,
        title="JPEG, WebP and AVIF quality",
        description="From 1 to 100; 100 in WebP is lossless.",
        json_schema_extra={"section": "Saving"},
    )
    name_pattern: str = Field(
        default="[number]-[seed]",
        min_length=1,
        max_length=200,
        title="File name pattern",
        description="[number] [seed] [date] [time] [prompt_words] [sampler] [schedule] [steps] [cfg] [width] [height] "
        "[model_name]. A running number is put in front where the pattern has none.",
        json_schema_extra={"section": "Saving"},
    )
    output_folder: str = Field(
        default="",
        title="Output folder",
        description="Where pictures go: a full path, or empty for the outputs folder of the data folder. "
        "Pictures lie in txt2img/DATE below it.",
        json_schema_extra={"section": "Saving"},
    )
    save_text: bool = Field(
        default=False,
        title="Text file beside each picture",
        description="The parameters once more, in a .txt of the picture's name.",
        json_schema_extra={"section": "Saving"},
    )
    save_interrupted: bool = Field(
        default=True,
        title="Keep interrupted pictures",
        description="Save what was there when a picture was interrupted or skipped.",
        json_schema_extra={"section": "Saving"},
    )
    keep_inputs_days: int = Field(
        default=30,
        ge=0,
        le=3650,
        title="Keep pictures that were put in, days",
        description="Since they were last used; pictures of jobs in the list stay as long as these. 0 keeps them for "
        "ever.",
        json_schema_extra={"section": "Saving"},
    )
    picture_folders: str = Field(
        default="",
        max_length=4000,
        title="Picture folders for img2img",
        description="Full paths, one a line: img2img can take all pictures of one of these, or of a folder in it.",
        json_schema_extra={"section": "Saving"},
    )
    queue_each: int = Field(
        default=500,
        ge=0,
        le=100_000,
        title="Most jobs that wait, of each person",
        description="Who has more is told to try again later; 0 is no limit.",
        json_schema_extra={"section": "Queue"},
    )
    queue_total: int = Field(
        default=2000,
        ge=0,
        le=100_000,
        title="Most jobs that wait, of all",
        description="0 is no limit.",
        json_schema_extra={"section": "Queue"},
    )
    extension_seconds: int = Field(
        default=60,
        ge=0,
        le=86_400,
        title="Seconds that an extension may take for one thing",
        description="Then its job fails, and the next one begins. 0 is no limit.",
        json_schema_extra={"section": "Extensions"},
    )
    previews: bool = Field(
        default=True,
        title="Live preview",
        description="Show the picture while it is made.",
        json_schema_extra={"section": "Preview"},
    )
    preview_every: int = Field(
        default=1,
        ge=1,
        le=50,
        title="Preview every N steps",
        description="1 shows every step; previews never come faster than ten a second.",
        json_schema_extra={"section": "Preview"},
    )
    default_sampler: str = Field(default="DPM++ 2M", title="Sampling method", json_schema_extra={"section": "Defaults"})
    default_schedule: str = Field(default="Automatic", title="Schedule type", json_schema_extra={"section": "Defaults"})
    default_steps: int = Field(
        default=20,
        ge=STEPS_RANGE[0],
        le=STEPS_RANGE[1],
        title="Sampling steps",
        json_schema_extra={"section": "Defaults"},
    )
    default_cfg_scale: float = Field(
        default=7.0, ge=CFG_RANGE[0], le=CFG_RANGE[1], title="CFG scale", json_schema_extra={"section": "Defaults"}
    )
    default_width: Size = Field(
        default=0,
        title="Width",
        description="0 is what suits the checkpoint.",
        json_schema_extra={"section": "Defaults"},
    )
    default_height: Size = Field(
        default=0,
        title="Height",
        description="0 is what suits the checkpoint.",
        json_schema_extra={"section": "Defaults"},
    )
    default_batch_size: int = Field(
        default=1,
        ge=BATCH_SIZE_RANGE[0],
        le=BATCH_SIZE_RANGE[1],
        title="Batch size",
        json_schema_extra={"section": "Defaults"},
    )
    default_batch_count: int = Field(
        default=1,
        ge=BATCH_COUNT_RANGE[0],
        le=BATCH_COUNT_RANGE[1],
        title="Batch count",
        json_schema_extra={"section": "Defaults"},
    )
    default_negative_prompt: str = Field(
        default="", max_length=10_000, title="Negative prompt", json_schema_extra={"section": "Defaults"}
    )
    checkpoint: str = Field(
        default="",
        title="Checkpoint at start",
        description="Chosen on top of the page; remembered here.",
        json_schema_extra={"section": "Defaults"},
    )

    @field_validator("default_sampler")
    @classmethod
    def _known_sampler(cls, value: str) -> str:
        try:
            name = find_sampler(value).name
        except InvalidRequest as error:
            raise ValueError(str(error)) from error
        return _own(name, SAMPLER_NAMES)

    @field_validator("default_schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        try:
            name = AUTOMATIC if is_automatic(value) else find_schedule(value).name
        except InvalidRequest as error:
            raise ValueError(str(error)) from error
        return _own(name, SCHEDULE_NAMES)

    @field_validator("default_width", "default_height")
    @classmethod
    def _zero_or_large_enough(cls, value: int) -> int:
        if 0 < value < SIZE_RANGE[0]:
            raise ValueError(f"it must be 0 or at least {SIZE_RANGE[0]}")
        return value

    @field_validator("output_folder", "picture_folders")
    @classmethod
    def _full_paths(cls, value: str) -> str:
        for line in filter(None, map(str.strip, value.splitlines())):
            if not Path(line).is_absolute():
                raise ValueError(f"{line!r} is not a full path")
        return value


class SettingsStore:
    """The settings of this installation and the file they live in.

    A file with a bad value loses that value only: it is named in `problems`, the default stands in for it, and the
    file as it was is kept beside it as ``settings.bad-DATE.json``.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._listeners = Listeners()
        self.problems: list[str] = []
        self.value = self._load()

    def update(self, changes: Mapping[str, Any]) -> Settings:
        """Change some settings, check them all, and write the file. Raises `UserError` naming the first bad value;
        then nothing has changed."""
        with self._lock:
            try:
                value = Settings.model_validate({**self.value.model_dump(), **changes})
            except ValidationError as error:
                raise UserError(_complaints(error)[0]) from error
            write_atomically(self._path, json.dumps(value.model_dump(), indent=2, ensure_ascii=False).encode() + b"\n")
            self.value = value
        self._listeners.tell()
        return value

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener()` after each change, on the thread that made it; returns the function that ends it."""
        return self._listeners.add(listener)

    def _load(self) -> Settings:
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Settings()
        except (OSError, UnicodeDecodeError) as error:
            self._keep_aside(f"The settings file cannot be read ({error}); the defaults are used.")
            return Settings()
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError("it holds no object")
        except ValueError as error:
            self._keep_aside(f"The settings file is no JSON ({error}); the defaults are used.")
            return Settings()
        return self._settings_from(values)

    def _settings_from(self, values: dict[str, Any]) -> Settings:
        """Drop bad values one by one: a fault in one must not cost the others."""
        while True:
            try:
                value = Settings.model_validate(values)
            except ValidationError as error:
                if not self.problems:
                    self._keep_aside()
                self.problems += _complaints(error)
                values = {k: v for k, v in values.items() if k not in {e["loc"][0] for e in error.errors()}}
            else:
                return value

    def _keep_aside(self, problem: str = "") -> None:
        aside = self._path.with_name(f"{self._path.stem}.bad-{time.strftime('%Y%m%d-%H%M%S')}.json")
        try:
            aside.write_bytes(self._path.read_bytes())
        except OSError as error:
            log.warning("could not keep the bad settings file aside: %s", error)
        if problem:
            self.problems.append(problem)


def _own(name: str, names: Sequence[str]) -> str:
    """A name that is there at every start, also before extensions are."""
    if name not in names:
        raise ValueError("it comes with an extension, and a default must be one of Atelier's own")
    return name


def _complaints(error: ValidationError) -> list[str]:
    """A sentence for each bad value, in the words of the page."""
    sentences = []
    for fault in error.errors():
        name = str(fault["loc"][0])
        field = Settings.model_fields.get(name)
        if field is None:
            sentences.append(f"There is no setting called {name!r}.")
        else:
            reason = fault["msg"].removeprefix("Value error, ")
            sentences.append(f"{field.title or name} is {fault['input']!r}: {reason[0].lower()}{reason[1:]}.")
    return sentences
