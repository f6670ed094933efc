"""In which text form each side gives a column's values, so that equal values have equal texts. Pure.

A value reaches the target as text and becomes what the target's type makes of it. So where the types differ, the source is asked for
the text of its value as the target's type. Where that can't be asked for, the pair is not compared, and the result says so: a false
difference would be worse than a gap that is named.

Between two PostgreSQL databases the source itself reads its text as the target's type. No other database can, so beside them are forms
that mean the same everywhere, chosen by what both types are *about*: numbers, moments, bytes. Decision 0030 has their list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater.domain.kinds import MYSQL, Kind, kind_of
from headwater.domain.types import INTEGERS, TEXTS, known, name_of


@dataclass(frozen=True)
class Form:
    """A text form; NULL is NULL in each.

    `plain`: the type's own text. `digest`: the hash of the bytes, of binary data or of a text in UTF-8. `output`: as a copy brings it.
    `cast`: as `output`, then read as a value of `type` and written as `plain`.

    And these, which are the same on all kinds of databases. `number`: decimal digits, no zeros in front or at a fraction's end, booleans as
    1 and 0. `double`: the eight bytes of a binary floating point number in hexadecimal digits, the highest first, a zero without sign;
    an exact number that is not the shortest decimal text of its double has `!` and itself behind. `bits`: binary digits without
    zeros in front. `moment`: `YYYY-MM-DD HH:MM:SS[.f]` in UTC, no zeros at the fraction's end. `time`: `[-]HH:MM:SS[.f]` likewise, hours
    without limit. `uuid`: 32 hexadecimal digits. `address`: an IP address in hexadecimal digits, with `/` and the mask's length where
    it has one.
    """

    kind: Literal["plain", "digest", "output", "cast", "number", "double", "bits", "moment", "time", "uuid", "address"] = "plain"
    type: str = ""


PLAIN, DIGEST, OUTPUT = Form(), Form("digest"), Form("output")
NUMBER, DOUBLE, BITS, MOMENT = Form("number"), Form("double"), Form("bits"), Form("moment")
TIME, UUID, ADDRESS = Form("time"), Form("uuid"), Form("address")

_TEXTS = frozenset({"text", "enum", "set"})
_LONG = frozenset({"mediumtext", "longtext"})
"""Texts that may be longer than what MySQL puts together (`max_allowed_packet`), so that they go into a row's text by their hash."""

_ALIKE: tuple[tuple[frozenset[str], frozenset[str], Form], ...] = tuple(
    (frozenset(source.split()), frozenset(target.split()), form)
    for source, target, form in (
        ("integer year decimal boolean", "integer year decimal boolean", NUMBER),
        ("bits", "boolean", NUMBER),
        ("boolean", "bits", NUMBER),
        ("integer year float double", "float double", DOUBLE),
        ("bytes geometry", "bytes geometry", DIGEST),
        ("date stamp instant", "stamp instant", MOMENT),
        ("time interval", "time interval", TIME),
        ("uuid text", "uuid", UUID),
        ("inet inet4 inet6", "inet inet4 inet6", ADDRESS),
    )
)
"""What the source's values are, what the target's are, and the form that both give then; see `domain/kinds.py`."""


def forms(source_type: str, target_type: str) -> tuple[Form, Form] | None:
    """The forms of a column pair, source first; None where the two can't be compared.

    Types are what `Comparison.types` answers."""
    if source_type.startswith(MYSQL) or target_type.startswith(MYSQL):
        return _across(kind_of(source_type), kind_of(target_type))
    if source_type == target_type:
        return (DIGEST, DIGEST) if source_type == "bytea" else (PLAIN, PLAIN)
    source, target = name_of(source_type), name_of(target_type)
    if source in INTEGERS and (target in INTEGERS or target_type == "numeric"):
        return PLAIN, PLAIN
    if source == target == "character":  # trailing blanks mean nothing, and the plain text has none
        return PLAIN, PLAIN
    if target in TEXTS - {"character"}:
        return OUTPUT, PLAIN
    return (Form("cast", target_type), PLAIN) if known(target_type) else None


def _across(source: Kind, target: Kind) -> tuple[Form, Form] | None:
    """Where at least one side is MySQL or MariaDB."""
    if target.form in _TEXTS:
        return _as_text(source, target)
    if source.form == target.form == "bits":  # MySQL fills bits up in front, PostgreSQL takes exactly as many as it has
        return (BITS, BITS) if target.mysql else (OUTPUT, PLAIN)
    if source.form == target.form == "date":
        return OUTPUT, PLAIN
    if source.form in ("float", "double") and target.name == "numeric":
        return DOUBLE, DOUBLE
    if target.form == "json":
        return _as_json(source, target)
    return next(((form, form) for ours, theirs, form in _ALIKE if source.form in ours and target.form in theirs), None)


def _as_text(source: Kind, target: Kind) -> tuple[Form, Form]:
    if source.name == "character" and target.name == "char":  # neither has blanks at its end
        return PLAIN, PLAIN
    if not _LONG.isdisjoint((source.name, target.name)):
        return DIGEST, DIGEST
    return OUTPUT, PLAIN


def _as_json(source: Kind, target: Kind) -> tuple[Form, Form] | None:
    """PostgreSQL's `json` keeps the text. The others write values in ways of their own, alike between two servers of MySQL only."""
    keeps = target.name == "json" and not target.mysql
    wrote = source.form == "text" or (source.form == "json" and source.mysql)
    return (DIGEST, DIGEST) if wrote and (keeps or (source.form == "json" and target.mysql)) else None
