"""How values, in the text form in which they travel, become values of a column.

What a column takes directly (numbers, texts, dates) the server reads itself, and everything that it would bend it tells by a warning, which
refuses the row. This module is about the rest: forms that the server does not read (`t`, `\\x6869`, `+00`), and values that it would turn
into others without a word (a label that is a number, a year of one digit). Each becomes an SQL expression over `{v}`, the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

BINARY = frozenset(
    {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry", "point", "linestring", "polygon", "multipoint",
     "multilinestring", "multipolygon", "geometrycollection", "geomcollection", "vector"}
)  # fmt: skip
"""Types whose values travel as `\\x` and hexadecimal digits."""

TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"})
"""Types whose values have a character set and a collation."""

ORDERED = frozenset(
    {"tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal", "date", "datetime", "timestamp", "time", "year", "bit",
     "binary", "varbinary"}
)  # fmt: skip
"""Types that every database puts in the same order."""

REAL_MAX, FLOAT_MAX = "3.4028235e+38", "3.4028234663852886e38"
"""PostgreSQL's shortest text for its largest `real`, which is the largest FLOAT, too. But MySQL compares a number with the largest FLOAT
before it rounds it to one, and as a double the text is larger."""

REFUSE = "CAST(CONCAT('x', {v}) AS SIGNED)"
"""Always a warning, which refuses the row; NULL for NULL."""

_LABEL = re.compile(r"'((?:[^']|'')*)'")


def reading(data_type: str, column_type: str, nullable: bool) -> str:
    """The expression by which a column reads a text `{v}`; empty where it reads it by itself."""
    if data_type == "tinyint":
        return "CASE {v} WHEN 't' THEN '1' WHEN 'f' THEN '0' ELSE {v} END"
    if data_type == "float":
        return f"CASE {{v}} WHEN '{REAL_MAX}' THEN '{FLOAT_MAX}' WHEN '-{REAL_MAX}' THEN '-{FLOAT_MAX}' ELSE {{v}} END"
    if data_type == "bit":
        digits = re.search(r"\d+", column_type)
        bits = f"IF({{v}} REGEXP '^0*[01]{{{{1,{digits[0] if digits else 1}}}}}$', CAST(CONV({{v}}, 2, 10) AS UNSIGNED), {REFUSE})"
        return f"CASE {{v}} WHEN 't' THEN 1 WHEN 'f' THEN 0 ELSE {bits} END"
    if data_type == "year":
        return f"IF({{v}} = '0', '0000', IF({{v}} REGEXP '^[0-9]{{{{4}}}}$', {{v}}, {REFUSE}))"
    if data_type in BINARY:
        return f"COALESCE(IF(LEFT({{v}}, 2) = X'5C78', UNHEX(SUBSTRING({{v}}, 3)), NULL), {REFUSE})"
    if data_type == "enum":
        return f"IF({{v}} IS NULL, NULL, FIELD(CAST({{v}} AS BINARY), {', '.join(_hex(label) for label in labels(column_type))}))"
    if data_type == "set":
        return _set(labels(column_type))
    if data_type in ("datetime", "timestamp", "time"):
        stamp = "IF(RIGHT({v}, 3) = '+00', LEFT({v}, CHAR_LENGTH({v}) - 3), {v})"
        # a TIMESTAMP that must not be NULL may take NULL for "now"
        return stamp if nullable or data_type != "timestamp" else f"COALESCE({stamp}, 'NULL')"
    return ""


def labels(column_type: str) -> list[str]:
    """The labels of an ENUM or SET, in their order."""
    return [found.replace("''", "'") for found in _LABEL.findall(column_type)]


def _set(found: Sequence[str]) -> str:
    """A SET by the numbers of its labels: by the text a number would be taken for them. All of it is without a sign: the number of the
    64th label fits into no other, and IF would make a decimal of it, which servers cut to what fits without a word."""
    bits = " | ".join(f"((FIND_IN_SET({_hex(label)}, CAST({{v}} AS BINARY)) > 0) << {i})" for i, label in enumerate(found)) or "0"
    count = "1 + LENGTH({v}) - LENGTH(REPLACE({v}, ',', ''))"
    chosen = f"IF({{v}} IS NULL, NULL, IF(LENGTH({{v}}) = 0, 0, IF(BIT_COUNT({bits}) = {count}, {bits}, {REFUSE})))"
    return f"CAST({chosen} AS UNSIGNED)"


def _hex(text: str) -> str:
    return f"X'{text.encode().hex()}'"
