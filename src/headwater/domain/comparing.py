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

from headwater.domain.types import INTEGERS, TEXTS, known, name_of

Kind = Literal["plain", "digest", "output", "cast", "number", "double", "bits", "moment", "time", "uuid", "address"]


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

    kind: Kind = "plain"
    type: str = ""


PLAIN, DIGEST, OUTPUT = Form(), Form("digest"), Form("output")
NUMBER, DOUBLE, BITS, MOMENT = Form("number"), Form("double"), Form("bits"), Form("moment")
TIME, UUID, ADDRESS = Form("time"), Form("uuid"), Form("address")

MYSQL = "mysql:"
"""In front of the spelling of types of MySQL and MariaDB; see `domain/types.py`."""

_ABOUT: dict[str, frozenset[str]] = {
    "integer": INTEGERS | {"oid"},
    "decimal": frozenset({"numeric"}),
    "boolean": frozenset({"boolean"}),
    "float": frozenset({"real", "double precision"}),
    "text": TEXTS,
    "bytes": frozenset({"bytea"}),
    "bits": frozenset({"bit", "bit varying"}),
    "date": frozenset({"date"}),
    "moment": frozenset({"timestamp without time zone", "timestamp with time zone"}),
    "time": frozenset({"time without time zone", "interval"}),
    "uuid": frozenset({"uuid"}),
    "address": frozenset({"inet", "cidr"}),
    "json text": frozenset({"json"}),
    "json": frozenset({"jsonb"}),
}
_MYSQL_ABOUT: dict[str, frozenset[str]] = {
    "integer": frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"}),
    "decimal": frozenset({"decimal"}),
    "float": frozenset({"float", "double"}),
    "text": frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}),
    "bytes": frozenset(
        {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector", "geometry", "point", "linestring", "polygon",
         "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection"}
    ),
    "bits": frozenset({"bit"}),
    "date": frozenset({"date"}),
    "moment": frozenset({"datetime", "timestamp"}),
    "time": frozenset({"time"}),
    "uuid": frozenset({"uuid"}),
    "address": frozenset({"inet4", "inet6"}),
    "json": frozenset({"json"}),
}  # fmt: skip
"""What types are about, by their names. MySQL's own `json` is a value like `jsonb`; MariaDB's is a LONGTEXT, and spelled so."""

_LONG = frozenset({"mediumtext", "longtext"})
"""Texts that may be longer than what MySQL concatenates (`max_allowed_packet`), so that they go into a row's text by their hash."""

_SAME: dict[tuple[str, str], Form] = {
    **{(ours, theirs): NUMBER for ours in ("integer", "decimal", "boolean") for theirs in ("integer", "decimal", "boolean")},
    ("bits", "boolean"): NUMBER,
    ("boolean", "bits"): NUMBER,
    ("integer", "float"): DOUBLE,
    ("float", "float"): DOUBLE,
    ("bytes", "bytes"): DIGEST,
    ("date", "moment"): MOMENT,
    ("moment", "moment"): MOMENT,
    ("time", "time"): TIME,
    ("uuid", "uuid"): UUID,
    ("text", "uuid"): UUID,
    ("address", "address"): ADDRESS,
    ("json text", "json text"): DIGEST,
    ("text", "json text"): DIGEST,  # it keeps the text
    ("json", "json text"): DIGEST,
}
"""What source and target are about -> the form that both give."""


def forms(source_type: str, target_type: str) -> tuple[Form, Form] | None:
    """The forms of a column pair, source first; None where the two can't be compared.

    Types are what `Comparison.types` answers."""
    if source_type.startswith(MYSQL) or target_type.startswith(MYSQL):
        return _across(source_type, target_type)
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


def _across(source_type: str, target_type: str) -> tuple[Form, Form] | None:
    """Where at least one side is MySQL or MariaDB."""
    source, target = _name(source_type), _name(target_type)
    ours, theirs = _about(source_type), _about(target_type)
    if theirs == "text":
        if ours == "text" and not _LONG.isdisjoint((source, target)) and "character" not in (source, target):
            return DIGEST, DIGEST
        return (PLAIN if source == "character" and target == "char" else OUTPUT), PLAIN
    if ours == theirs == "bits":  # a target that has bits of a length of its own, filled up in front
        return (BITS, BITS) if target_type.startswith(MYSQL) else (OUTPUT, PLAIN)
    if ours == theirs == "date":
        return OUTPUT, PLAIN
    if ours == "float" and target == "numeric":  # whose `double` tells also what is no double
        return DOUBLE, DOUBLE
    if ours == theirs == "json":  # of two servers of one kind; jsonb writes numbers otherwise
        return (DIGEST, DIGEST) if source == target else None
    form = _SAME.get((ours, theirs))
    return None if form is None else (form, form)


def _name(spelling: str) -> str:
    if not spelling.startswith(MYSQL):
        return name_of(spelling)
    return spelling.removeprefix(MYSQL).partition("(")[0].partition(" ")[0]


def _about(spelling: str) -> str:
    table = _MYSQL_ABOUT if spelling.startswith(MYSQL) else _ABOUT
    name = _name(spelling)
    return next((about for about, names in table.items() if name in names), "")
