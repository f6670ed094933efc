"""Columns of MySQL and MariaDB as a comparison needs them: the SQL that gives a value's text in each `Form`, and keys as SQL literals.

A FLOAT's own text has fewer digits than it takes, and no function gives a number's bytes. But a point is made of two doubles, so its
WKB shows them. The sign of a zero is left out: MariaDB does not keep it, and no database compares by it.

What the server can't make is NULL there (a text beyond `max_allowed_packet`). So NULL is told by the column, never by the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headwater.dialects.mysql_session import quote
from headwater.domain.comparing import Form

INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
"""Bits by DATA_TYPE."""

FLOATS = frozenset({"float", "double"})
GEOMETRIES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection"}
)
BYTES = GEOMETRIES | {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"}
TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json"})
ADDRESSES = frozenset({"inet4", "inet6"})
KEYS = INTEGERS.keys() | {
    "decimal", "year", "bit", "date", "datetime", "timestamp", "time", "char", "varchar", "tinytext", "text", "mediumtext", "longtext",
    "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "enum", "set", "uuid",
} | ADDRESSES  # fmt: skip
"""Types whose values are found by their text. A FLOAT or DOUBLE is not: two texts may mean the same number."""

_LABEL = re.compile(r"'((?:[^']|'')*)'")
_LENGTH = re.compile(r"\((\d+)")
_SHAPES = {
    "decimal": r"-?\d+(\.\d+)?",
    "date": r"\d{4}-\d\d-\d\d",
    "datetime": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?",
    "time": r"-?\d{2,3}:\d\d:\d\d(\.\d{1,6})?",
    "uuid": r"[0-9a-fA-F-]{32,36}",
    "inet4": r"[0-9.]{7,15}",
    "inet6": r"[0-9a-fA-F:.]{2,39}",
    "binary": r"\\x([0-9a-fA-F]{2})*",
    "bit": r"[01]{1,64}",
    "integer": r"-?\d{1,40}",
}


class NoSuchKey(ValueError):
    """A text that is no value of the key column."""


@dataclass(frozen=True)
class Field:
    """A column. `type` is COLUMN_TYPE in lower case but for labels, `kind` DATA_TYPE in lower case."""

    name: str
    type: str
    kind: str
    charset: str = ""
    collation: str = ""

    @property
    def zerofill(self) -> bool:
        """Whether its numbers are filled up with zeros."""
        return "zerofill" in self.type and self.kind not in ("enum", "set")

    @property
    def length(self) -> int:
        """The number in brackets: bits, or digits of a fraction; 0 without one."""
        found = _LENGTH.search(self.type)
        return int(found[1]) if found else 0

    @property
    def labels(self) -> list[str]:
        """The labels of an ENUM or SET."""
        return [label.replace("''", "'") for label in _LABEL.findall(self.type)]


def text(field: Field, form: Form, column: str) -> str:
    """The SQL that gives the text of `column` (quoted) in a form, in utf8mb4 or plain ASCII.

    Raises:
        ValueError: the database can't make that form.
    """
    if form.kind in ("plain", "output"):
        return _output(field, column)
    if form.kind == "digest":
        return f"SHA2({column if field.kind in BYTES else _output(field, column)}, 256)"
    if form.kind == "number":
        scaled = field.kind == "decimal" and not field.type.endswith(",0)") and "," in field.type
        number = f"CAST({column} + 0 AS CHAR)" if field.kind == "bit" else _output(field, column)
        return _trimmed(number) if scaled else number
    if form.kind == "double":
        return f"LOWER(HEX(REVERSE(SUBSTR(ST_AsWKB(POINT({column} * 1e0 + 0e0, 0)), 6, 8))))"
    if form.kind == "bits":
        return f"BIN({column} + 0)"
    if form.kind in ("moment", "time"):
        return _clock(field, column)
    if form.kind == "uuid":
        return f"LOWER(REPLACE(REPLACE(REPLACE({_output(field, column)}, '-', ''), '{{', ''), '}}', ''))"
    if form.kind == "address":
        return f"LOWER(HEX(INET6_ATON({_output(field, column)})))"
    raise ValueError(f"{field.type} has no text of the form {form.kind}")


def _output(field: Field, column: str) -> str:
    """The form in which values travel (decision 0002)."""
    kind = field.kind
    if kind in BYTES:
        return f"CONCAT('\\\\x', LOWER(HEX({column})))"
    if kind == "bit":
        return f"LPAD(BIN({column} + 0), {field.length or 1}, '0')"
    if kind in TEXTS or kind in ("enum", "set"):
        return f"CONVERT({column} USING utf8mb4)"
    if kind == "float":
        return f"CAST({column} * 1e0 AS CHAR)"
    if kind == "timestamp":
        return f"CONCAT(CAST({column} AS CHAR), '+00')"
    return f"CAST({column} + 0 AS CHAR)" if field.zerofill or kind == "year" else f"CAST({column} AS CHAR)"


def _clock(field: Field, column: str) -> str:
    """A moment without zone, or a time, without zeros at the end of a fraction."""
    if field.kind == "date":
        return f"CONCAT(CAST({column} AS CHAR), ' 00:00:00')"
    plain = f"CAST({column} AS CHAR)"
    return _trimmed(plain) if field.length else plain


def _trimmed(number: str) -> str:
    """Without zeros at the end of a fraction that is always there."""
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {number}))"


def comparable(field: Field, value: str) -> str:
    """A value of a key column as SQL, to be compared with the column in the column's own order. `value` is in the text form of either side.

    Raises:
        NoSuchKey: it is no value of such a column.
    """
    kind = field.kind
    if kind in INTEGERS or kind == "year":
        return str(int(_shaped("integer", {"t": "1", "f": "0"}.get(value, value))))
    if kind in ("enum", "set"):
        return str(_label_number(field, value))
    if kind == "decimal":
        return _shaped(kind, value)
    if kind == "bit":
        return str(int(_shaped(kind, {"t": "1", "f": "0"}.get(value, value)), 2))
    if kind in BYTES:
        return f"X'{_shaped('binary', value)[2:]}'"
    if kind in TEXTS:
        if kind == "char":  # it has no blanks at its end, the other side's may
            value = value.rstrip(" ")
        return f"CONVERT(_utf8mb4{literal(value)} USING {field.charset}) COLLATE {field.collation}"
    return literal(_shaped("datetime" if kind == "timestamp" else kind, value.removesuffix("+00") if kind != "date" else value))


def exact(field: Field, value: str) -> str:
    """As `comparable`, with the column's own type, so that a join by it can use an index."""
    made = comparable(field, value)
    if field.kind in INTEGERS:
        bits, signed = INTEGERS[field.kind], "unsigned" not in field.type
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if not low <= int(made) <= high:
            raise NoSuchKey(field.name)
        return f"CAST({made} AS {'SIGNED' if signed else 'UNSIGNED'})"
    types = {"date": "DATE", "datetime": "DATETIME(6)", "timestamp": "DATETIME(6)", "time": "TIME(6)", "uuid": "UUID"}
    cast = types.get(field.kind) or (field.kind.upper() if field.kind in ADDRESSES else "")
    return f"CAST({made} AS {cast})" if cast else made


def _shaped(kind: str, value: str) -> str:
    if not re.fullmatch(_SHAPES[kind], value, re.ASCII):
        raise NoSuchKey(f"not a value of {kind}")
    return value


def _label_number(field: Field, value: str) -> int:
    """The number by which the server orders the labels of an ENUM or SET."""
    labels = field.labels
    wanted = [value] if field.kind == "enum" else value.split(",")
    if value == "":
        return 0
    if not set(wanted) <= set(labels):
        raise NoSuchKey(field.name)
    return labels.index(value) + 1 if field.kind == "enum" else sum(1 << labels.index(one) for one in wanted)


def given(field: Field, value: bytes) -> bytes:
    """A value of the text protocol as a copy brings it (see `Form`, `output`); a FLOAT has to be asked for as a double."""
    kind = field.kind
    if kind in BYTES:
        return b"\\x" + value.hex().encode()
    if kind == "bit":
        return f"{int.from_bytes(value, 'big'):0{field.length or 1}b}".encode()
    if kind == "timestamp":
        return value + b"+00"
    if field.zerofill or kind == "year":
        bare = value.lstrip(b"0")
        return bare if bare[:1].isdigit() else b"0" + bare
    return value


def asked(field: Field, column: str) -> str:
    """The SQL to which the server's answer is what `given` takes."""
    return f"{column} * 1e0" if field.kind == "float" else column


def literal(value: str) -> str:
    """A text as SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"


def named(field: Field) -> str:
    """The column of the table `t`."""
    return f"t.{quote(field.name)}"
