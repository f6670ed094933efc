"""Types as the catalogue spells them, as the log announces them, and one spelling for both, by which the two can be compared.

A table map tells a column's type and what narrows it, not COLUMN_TYPE: no display width, and bytes instead of characters. `from_catalogue`
and `from_log` give the same text for a column that is still the same.
"""

from __future__ import annotations

import re

from headwater.wire import binlog_values as values
from headwater.wire.binlog_events import ENUM, SET, STRING, MapColumn, real_type

_NUMBERS = re.compile(r"\((\d+)(?:,(\d+))?\)")
_LABEL = re.compile(r"'((?:[^']|'')*)'")

INTEGERS = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8}
"""Bytes by DATA_TYPE."""

BLOBS = {"tinyblob": 1, "blob": 2, "mediumblob": 3, "longblob": 4, "tinytext": 1, "text": 2, "mediumtext": 3, "longtext": 4}
"""Bytes of the length in front of a value."""

BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"})
GEOMETRIES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection"}
)
FORMS = {"uuid": 16, "inet6": 16, "inet4": 4}
"""MariaDB's types that are bytes within and text without, with their number of bytes."""


def charset_of(kind: str, charset: str) -> str:
    """The character set of a column's values: `binary` for bytes, empty for what is neither text nor bytes."""
    return charset or ("binary" if kind in BYTES or kind in GEOMETRIES else "")


def fraction_of(spelled: str, kind: str) -> int:
    """Digits of the seconds' fraction."""
    found = _NUMBERS.search(spelled) if kind in ("time", "datetime", "timestamp") else None
    return int(found[1]) if found else 0


def labels_of(spelled: str) -> tuple[str, ...]:
    """The labels of an ENUM or SET in the catalogue's spelling."""
    return tuple(label.replace("''", "'") for label in _LABEL.findall(spelled))


def from_catalogue(spelled: str, kind: str, charset: str, octets: int) -> str:
    """The spelling of a column of the catalogue. `octets`: the most bytes that a value has."""
    numbers = _NUMBERS.search(spelled)
    first, second = (int(numbers[1]), int(numbers[2] or 0)) if numbers else (0, 0)
    if kind in INTEGERS:
        return f"int{INTEGERS[kind]}{' unsigned' if 'unsigned' in spelled else ''}"
    if kind in ("decimal", "bit"):
        return f"decimal({first},{second})" if kind == "decimal" else f"bit({first or 1})"
    if kind in ("time", "datetime", "timestamp"):
        return f"{kind}({first})"
    if kind in FORMS:
        return f"char({FORMS[kind]}) binary"
    if kind in ("char", "binary", "varchar", "varbinary"):
        return f"{'var' if kind.startswith('var') else ''}char({octets}) {charset}"
    if kind in ("enum", "set"):
        return f"{kind}({spelled.partition('(')[2]}"
    if kind in BLOBS:
        return f"blob({BLOBS[kind]}) {charset}"
    return "geometry" if kind in GEOMETRIES else kind  # float, double, date, year, json, vector


_LOG_INTEGERS = {values.TINY: 1, values.SHORT: 2, values.INT24: 3, values.LONG: 4, values.LONGLONG: 8}
_LOG_TIMES = {values.TIMESTAMP2: "timestamp", values.DATETIME2: "datetime", values.TIME2: "time"}
_LOG_OTHERS = {
    values.FLOAT: "float", values.DOUBLE: "double", values.DATE: "date", values.NEWDATE: "date", values.YEAR: "year", values.JSON: "json",
    values.GEOMETRY: "geometry", values.VECTOR: "vector",
}  # fmt: skip


def from_log(column: MapColumn, charset: str, labels: tuple[str, ...] | None) -> str | None:
    """The spelling of a column of a table map; None where the log does not tell enough (MariaDB's oldest times, labels left out)."""
    kind, length = real_type(column.type, column.meta)
    if kind in _LOG_INTEGERS:
        return None if column.unsigned is None else f"int{_LOG_INTEGERS[kind]}{' unsigned' if column.unsigned else ''}"
    if kind == values.NEWDECIMAL:
        return f"decimal({length & 255},{length >> 8})"
    if kind == values.BIT:
        return f"bit({(length & 255) + 8 * (length >> 8)})"
    if kind in _LOG_TIMES:
        return f"{_LOG_TIMES[kind]}({length})"
    if kind in (ENUM, SET):
        told = ",".join("'" + label.replace("'", "''") + "'" for label in labels or ())
        return None if labels is None else f"{'enum' if kind == ENUM else 'set'}({told})"
    if kind == STRING or kind in (values.VARCHAR, values.VAR_STRING):
        return f"{'' if kind == STRING else 'var'}char({length}) {charset}"
    if kind in values.BLOBS or kind == values.BLOB_COMPRESSED:
        return f"blob({length}) {charset}"
    return _LOG_OTHERS.get(kind)
