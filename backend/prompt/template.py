"""The words as they were written, where some of them were drawn by chance: kept beside what was drawn."""

from dataclasses import dataclass

from backend import checked


@dataclass(frozen=True, kw_only=True)
class Template:
    """What a request's prompts were drawn from. It changes no pixel: the request's own prompts are what is drawn, and
    one that has a template is not drawn again."""

    prompt: str = ""
    negative_prompt: str = ""
    hires_prompt: str = ""
    hires_negative_prompt: str = ""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            checked.text(f"Template of the {name.replace('_', ' ')}", getattr(self, name))
