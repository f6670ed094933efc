"""What a text must be to be accepted, in one place. Every failure is FDI.3033 and names the parameter as the API calls it."""

from __future__ import annotations

import re

from headwater.services.errors import invalid

TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,99}")
TAG = re.compile(r"[A-Za-z0-9_-]{1,64}")
DESCRIPTION_CHARS_MAX = 1024
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def text(parameter: str, value: str, *, longest: int, shortest: int = 0) -> str:
    """The value, if it is a storable text of `shortest` to `longest` characters."""
    if not shortest <= len(value) <= longest:
        raise invalid(parameter, f"it has {len(value)} characters; {shortest} to {longest} are allowed.")
    if _CONTROL.search(value):
        raise invalid(parameter, "it holds control characters or broken Unicode.")
    return value


def description(value: str) -> str:
    """A description of up to 1024 characters; may be empty."""
    return text("description", value, longest=DESCRIPTION_CHARS_MAX)


def task_name(value: str) -> str:
    """A task's name."""
    if not TASK_NAME.fullmatch(value):
        raise invalid("task_name", "write 3 to 100 letters, digits, dots, underscores or hyphens, beginning with a letter or digit.")
    return value


def tag(value: str) -> str:
    """A task's label; may be empty."""
    if value and not TAG.fullmatch(value):
        raise invalid("task_tag", "write up to 64 letters, digits, hyphens or underscores.")
    return value


def operations(values: tuple[str, ...]) -> frozenset[str]:
    """Row operations: at least one of INSERT, UPDATE, DELETE."""
    wanted = frozenset(values)
    if not wanted or not wanted <= {"INSERT", "UPDATE", "DELETE"}:
        raise invalid("operation_types", "give one or more of INSERT, UPDATE, DELETE.")
    return wanted


def contains(part: str | None, whole: str) -> bool:
    """The fuzzy filter of the listings: a part in any case; None or empty lets everything through."""
    return not part or part.casefold() in whole.casefold()
