"""What a table is made of, as far as another database can be told: `Outline`, and `Made`, the statements that make its like elsewhere.

Indexes besides the key, foreign keys, checks, triggers and generated columns stay behind: they are the target's own business, and a target
that follows is quicker without them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from headwater.domain.kinds import Kind
from headwater.domain.tables import Column, TableName


@dataclass(frozen=True)
class Default:
    """What a column holds where an insert says nothing: `text` in the form in which values travel, or the moment of the insert (None)."""

    text: str | None


@dataclass(frozen=True)
class ColumnOutline:
    """One column. `lost` says in words what of its default can't be told to another database; empty where nothing is lost."""

    column: Column
    default: Default | None = None
    lost: str = ""
    comment: str = ""


@dataclass(frozen=True)
class Outline:
    """One table, its columns in order."""

    table: TableName
    columns: tuple[ColumnOutline, ...]
    comment: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the key columns."""
        return tuple(one.column.name for one in self.columns if one.column.key)


@dataclass(frozen=True)
class Made:
    """How a table is made at a target: statements in order, and sentences about what was left behind. `problem` says why it can't be."""

    statements: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    problem: str = ""


_DAY = r"[1-9]\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_TIME = r"\d\d:\d\d:\d\d(?:\.\d+)?"
_PLAIN: dict[str, re.Pattern[str]] = {
    "integer": re.compile(r"-?\d+"),
    "year": re.compile(r"\d+"),
    "decimal": re.compile(r"-?\d+(?:\.\d+)?"),
    "float": re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE),
    "double": re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE),
    "boolean": re.compile(r"[tf01]|true|false"),
    "bits": re.compile(r"[01]+"),
    "bytes": re.compile(r"\\x(?:[0-9a-f]{2})*"),
    "date": re.compile(_DAY),
    "stamp": re.compile(rf"{_DAY}(?: {_TIME}(?:\+00)?)?"),
    "instant": re.compile(rf"{_DAY}(?: {_TIME}(?:\+00)?)?"),
    "time": re.compile(rf"-?\d?{_TIME}"),
    "interval": re.compile(rf"-?\d?{_TIME}"),
}
"""Defaults that every database reads in the same way. Texts and their like are all such; others are none."""

_AS_TEXT = frozenset({"text", "json", "uuid", "inet", "inet4", "inet6", "enum", "set"})


def plain(kind: Kind, text: str) -> bool:
    """Whether a default may be given to a column of this kind as it stands; zero dates, `infinity`, NaN and their like may not."""
    pattern = _PLAIN.get(kind.form)
    return kind.form in _AS_TEXT if pattern is None else pattern.fullmatch(text) is not None
