"""Samplers and schedules by the names that infotexts of every age have for them."""

from dataclasses import dataclass

from backend.errors import InvalidRequest
from backend.infotext.versions import SCHEDULE_TYPE, Version
from backend.infotext.write import PLAIN_SCHEDULE
from backend.sampling.samplers import SAME_SAMPLER, Sampler, find_sampler
from backend.sampling.schedules import AUTOMATIC, SAME_SCHEDULE, SCHEDULES, find_schedule, is_automatic

SAME = (SAME_SAMPLER, SAME_SCHEDULE)
OWN_KARRAS = "Restart"  # never had another schedule, and no word for it
_SHORT_SUFFIXES = {"_ka": "Karras", "_exp": "Exponential"}  # of the aliases that combined samplers had


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A sampler and a schedule by their names here; `remark` says what was concluded and not read."""

    sampler: str
    schedule: str
    remark: str = ""


def chosen(sampler: str, schedule: str | None, version: Version | None) -> Chosen:
    """What an infotext means by its ``Sampler`` and its ``Schedule type``. Raises `InvalidRequest` for unknown names.

    Until 1.9 the schedule stood in the sampler's name, or none did for evenly spaced timesteps; since then A1111 always
    names it. A schedule that is what Automatic stands for becomes that, as in A1111.
    """
    row, combined = _split(sampler)
    remark = ""
    if schedule is not None and schedule not in SAME:
        name = AUTOMATIC if is_automatic(schedule) else find_schedule(schedule).name
        name = combined if combined and name == AUTOMATIC else name
    elif combined:
        name = combined
    elif (version and version >= SCHEDULE_TYPE) or not _asks(row):
        name = AUTOMATIC
    else:
        name = PLAIN_SCHEDULE
        remark = f"No schedule type is said, which before A1111 1.9 meant {name} for {row.name}."
    is_usual = name == row.automatic_schedule != PLAIN_SCHEDULE
    return Chosen(sampler=row.name, schedule=AUTOMATIC if is_usual else name, remark=remark)


def chosen_again(
    first: Chosen, sampler: str | None, schedule: str | None, stated: str | None, version: Version | None
) -> Chosen:
    """The same for the second pass, where empty names mean those of the first. `stated` is the first pass's ``Schedule
    type``."""
    same = sampler is None or sampler in SAME
    unsaid = schedule is None or schedule in SAME
    if same and unsaid:
        return Chosen(sampler="", schedule="")
    if unsaid and stated is None:
        second = chosen(sampler or "", None, version)
        return Chosen(sampler=second.sampler, schedule=second.schedule, remark=second.remark)
    row, _ = _split(first.sampler if same else sampler or "")
    if unsaid:
        # A1111 would have named what Automatic stands for here, had it been another one.
        held = row.automatic_schedule not in (PLAIN_SCHEDULE, stated) and not is_automatic(stated or "")
        name = find_schedule(stated or "").name if held else ""
    else:
        name = AUTOMATIC if is_automatic(schedule or "") else find_schedule(schedule or "").name
        name = "" if name == row.automatic_schedule and first.schedule == AUTOMATIC else name
    return Chosen(sampler="" if same or row.name == first.sampler else row.name, schedule=name)


def _asks(row: Sampler) -> bool:
    """Whether it makes a difference to a sampler that no schedule is named."""
    return row.own_grid is None and row.automatic_schedule != PLAIN_SCHEDULE and row.name != OWN_KARRAS


def _split(name: str) -> tuple[Sampler, str]:
    """A sampler, and the schedule that its name ends with, if it does."""
    try:
        return find_sampler(name), ""
    except InvalidRequest:
        for suffix, schedule in _suffixes():
            if name.casefold().endswith(suffix.casefold()):
                return find_sampler(name[: -len(suffix)]), schedule
        raise


def _suffixes() -> list[tuple[str, str]]:
    spaced = [(f" {word}", row.name) for row in SCHEDULES.values() for word in (row.name, *row.aliases)]
    return sorted([*spaced, *_SHORT_SUFFIXES.items()], key=lambda each: -len(each[0]))
