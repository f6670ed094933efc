"""Types as the catalogue spells them, as the log announces them, and one spelling for both, by which the two can be compared.

A table map tells a column's type and what narrows it, not COLUMN_TYPE: no display width, and bytes instead of characters. `from_catalogue`
and `from_log` give the same text for a column that is still the same.
"""

from __future__ import annotations

import re

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
