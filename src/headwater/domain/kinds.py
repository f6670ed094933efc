"""What a column's values are, whichever database holds them: `Kind`, in which types of two databases can be compared.

The forms are those in which values travel (decision 0002): an integer is decimal digits, bytes are `\\x` and hexadecimal digits, bits are
zeros and ones. Types that only one database knows (ranges, arrays, rows, `xml`) are `other`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from headwater.domain.postgres_types import TEXTS, read

MYSQL = "mysql:"
"""What a spelling of MySQL's and MariaDB's types begins with."""

Form = Literal[
    "integer", "year", "decimal", "float", "double", "boolean", "bits", "text", "bytes", "geometry", "date", "stamp", "instant", "time",
    "interval", "json", "enum", "set", "uuid", "inet", "inet4", "inet6", "other",
]  # fmt: skip
"""`stamp`: a date and time of no time zone; `instant`: one that is stored as UTC."""

MICROSECONDS = 6


@dataclass(frozen=True)
class Kind:
    """One type. Numbers that do not apply to its form are None or 0.

    `length` is the most characters, bytes or bits (None: no limit of its own), `padded` where shorter values are filled up to it.
    `digits` and `scale` are those of a decimal (None: no limit). `precision` counts the decimals of seconds.
    """

    form: Form
    spelling: str
    mysql: bool = False
    low: int = 0
    high: int = 0
    digits: int | None = None
    scale: int | None = None
    length: int | None = None
    padded: bool = False
    precision: int = MICROSECONDS
    labels: tuple[str, ...] = ()
    name: str = ""


def kind_of(spelling: str) -> Kind:
    """The kind of a type as `Column.base` spells it."""
    return _mysql(spelling.removeprefix(MYSQL)) if spelling.startswith(MYSQL) else _postgres(spelling)


_BYTES = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8}
_TEXT_BYTES = {"tinytext": 255, "text": 65_535, "mediumtext": (1 << 24) - 1, "longtext": (1 << 32) - 1}
_BLOB_BYTES = {"tinyblob": 255, "blob": 65_535, "mediumblob": (1 << 24) - 1, "longblob": (1 << 32) - 1}
_GEOMETRIES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection"}
)
_STAMPS: dict[str, Form] = {"time": "time", "datetime": "stamp", "timestamp": "instant"}
_PLAIN: dict[str, Form] = {"date": "date", "json": "json", "uuid": "uuid", "inet4": "inet4", "inet6": "inet6"}
_MYSQL = re.compile(r"(?P<name>[a-z0-9]+)(?:\((?P<inner>.*)\))?(?P<rest>[^)]*)", re.DOTALL)
_LABEL = re.compile(r"'((?:[^']|'')*)'")


def _mysql(spelling: str) -> Kind:
    found = _MYSQL.fullmatch(spelling)
    name, inner, rest = (found["name"], found["inner"] or "", found["rest"]) if found else (spelling, "", "")
    numbers = [int(number) for number in re.findall(r"\d+", inner)]
    first = numbers[0] if numbers else None
    unsigned = "unsigned" in rest or "zerofill" in rest
    if name in _BYTES:
        bits = 8 * _BYTES[name]
        low, high = (0, (1 << bits) - 1) if unsigned else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        return Kind("integer", spelling, True, low, high, name=name)
    if name in ("enum", "set"):
        labels = tuple(label.replace("''", "'") for label in _LABEL.findall(inner))
        return Kind("enum" if name == "enum" else "set", spelling, True, labels=labels, name=name)
    if name in _STAMPS:
        return Kind(_STAMPS[name], spelling, True, precision=first or 0, name=name)
    if name in _PLAIN:
        return Kind(_PLAIN[name], spelling, True, name=name)
    return _mysql_numbers(name, spelling, numbers) or _mysql_strings(name, spelling, first)


def _mysql_numbers(name: str, spelling: str, numbers: list[int]) -> Kind | None:
    if name == "decimal":
        digits, scale = (numbers + [10, 0][len(numbers) :])[:2]
        return Kind("decimal", spelling, True, digits=digits, scale=scale, name=name)
    if name in ("float", "double"):
        return Kind("float" if name == "float" else "double", spelling, True, name=name)
    if name == "year":
        return Kind("year", spelling, True, 0, 2155, name=name)
    if name == "bit":
        return Kind("bits", spelling, True, length=numbers[0] if numbers else 1, padded=True, name=name)
    return None


def _mysql_strings(name: str, spelling: str, first: int | None) -> Kind:
    if name in ("char", "varchar"):
        return Kind("text", spelling, True, length=first or 1, padded=name == "char", name=name)
    if name in _TEXT_BYTES:
        return Kind("text", spelling, True, length=_TEXT_BYTES[name], name=name)
    if name in ("binary", "varbinary"):
        return Kind("bytes", spelling, True, length=first or 1, padded=name == "binary", name=name)
    if name in _BLOB_BYTES:
        return Kind("bytes", spelling, True, length=_BLOB_BYTES[name], name=name)
    if name == "vector":
        return Kind("bytes", spelling, True, length=4 * (first or 2048), padded=True, name=name)
    if name in _GEOMETRIES:
        return Kind("geometry", spelling, True, name="geometrycollection" if name == "geomcollection" else name)
    return Kind("other", spelling, True, name=name)


_RANGES = {
    "smallint": (-(1 << 15), (1 << 15) - 1),
    "integer": (-(1 << 31), (1 << 31) - 1),
    "bigint": (-(1 << 63), (1 << 63) - 1),
    "oid": (0, (1 << 32) - 1),
}
_FORMS: dict[str, Form] = {
    "real": "float",
    "double precision": "double",
    "boolean": "boolean",
    "bytea": "bytes",
    "uuid": "uuid",
    "inet": "inet",
    "date": "date",
    "json": "json",
    "jsonb": "json",
    "timestamp without time zone": "stamp",
    "timestamp with time zone": "instant",
    "time without time zone": "time",
    "interval": "interval",
    "enum": "enum",
}


def _postgres(spelling: str) -> Kind:
    found = read(spelling)
    first = found.length[0] if found.length else None
    if found.array or (found.own and found.name != "enum"):
        return Kind("other", spelling, name=found.name)
    if found.name in _RANGES:
        return Kind("integer", spelling, low=_RANGES[found.name][0], high=_RANGES[found.name][1], name=found.name)
    if found.name == "numeric":
        scale = None if found.length is None else found.length[1] if len(found.length) > 1 else 0
        return Kind("decimal", spelling, digits=first, scale=scale, name=found.name)
    if found.name in ("bit", "bit varying"):
        bits = first if first or found.name == "bit varying" else 1
        return Kind("bits", spelling, length=bits, padded=found.name == "bit", name=found.name)
    if found.name in TEXTS:
        length = 63 if found.name == "name" else first
        return Kind("text", spelling, length=length, padded=found.name == "character", name=found.name)
    precision = first if first is not None else MICROSECONDS
    name = f"interval {found.fields}" if found.fields else found.name
    return Kind(_FORMS.get(found.name, "other"), spelling, precision=precision, name=name)
