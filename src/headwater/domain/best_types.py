"""For every kind of values the type that keeps them all: what a new table's columns get, and what is suggested where a pair is refused.

Exact comes before customary: a `tinyint(1)` may hold 2, so it is a `smallint` in PostgreSQL and no `boolean`; a `TIME` may be negative or
longer than a day, so it is an `interval`. Who knows better makes the column by hand; the mapping takes it where rows fit.
"""

from __future__ import annotations

from typing import Literal

from headwater.domain.kinds import MICROSECONDS, Kind
from headwater.domain.postgres_types import known

Family = Literal["postgres", "mysql", "mariadb"]

KEY_BYTES_MAX = 3072
"""What an index of InnoDB holds at most of one row."""
VARCHAR_MAX = 1000
"""Characters up to which texts stand in the row, whose length is limited as well; longer ones stand beside it."""
MEDIUMTEXT_CHARS = ((1 << 24) - 1) // 4
TEXT_CHARS = ((1 << 16) - 1) // 4
DECIMAL_DIGITS = 65
DECIMALS = {"mysql": 30, "mariadb": 38}


def best(source: Kind, family: Family, key_bytes: int = 0) -> str:
    """The type, as that database spells it. `key_bytes`: how much of a key a value may be, 0 where it is in none."""
    if family == "postgres":
        return _for_postgres(source) if source.mysql else source.spelling if known(source.spelling) else "text"
    if source.mysql and source.form not in ("text", "enum", "set", "uuid", "inet4", "inet6", "json", "bytes"):
        return source.spelling
    return _for_mysql(source, family, key_bytes)


def _for_postgres(source: Kind) -> str:
    fraction = "" if source.precision == MICROSECONDS else f"({source.precision})"
    fixed: dict[str, str] = {
        "year": "smallint",
        "decimal": f"numeric({source.digits},{source.scale})",
        "float": "real",
        "double": "double precision",
        "bits": f"bit({source.length})",
        "text": f"character varying({source.length})" if source.name in ("char", "varchar") else "text",
        "enum": "text",
        "set": "text",
        "bytes": "bytea",
        "geometry": "bytea",
        "stamp": f"timestamp{fraction} without time zone",
        "instant": f"timestamp{fraction} with time zone",
        "time": f"interval{fraction}",
        "inet4": "inet",
        "inet6": "inet",
        "other": "text",
    }
    return _postgres_integer(source) if source.form == "integer" else fixed.get(source.form, source.form)


def _postgres_integer(source: Kind) -> str:
    for name, bits in (("smallint", 16), ("integer", 32), ("bigint", 64)):
        if -(1 << (bits - 1)) <= source.low and source.high < 1 << (bits - 1):
            return name
    return "numeric(20,0)"


def _for_mysql(source: Kind, family: Family, key_bytes: int) -> str:
    form = source.form
    if form in ("text", "enum", "set", "interval", "other") or (form == "bits" and not 0 < (source.length or 0) <= 64):
        return _mysql_text(source, key_bytes)
    if form == "bytes":
        return _mysql_bytes(source, key_bytes)
    if form == "decimal":
        return _mysql_decimal(source, family)
    fraction = f"({source.precision})" if source.precision else ""
    mariadb = family == "mariadb"
    fixed: dict[str, str] = {
        "integer": "int unsigned" if source.name == "oid" else {"integer": "int"}.get(source.name, source.name),
        "boolean": "tinyint(1)",
        "bits": f"bit({source.length})" if source.padded else f"varchar({source.length})",
        "stamp": f"datetime{fraction}",
        "instant": f"datetime{fraction}",
        "time": f"time{fraction}",
        "uuid": "uuid" if mariadb else "char(36)",
        "inet": "varchar(43)",
        "inet4": "inet4" if mariadb else "varchar(15)",
        "inet6": "inet6" if mariadb else "varchar(45)",
    }
    return fixed.get(form, form)


_LONGEST = {"name": 63, "macaddr": 17, "macaddr8": 23, "cidr": 43, "time with time zone": 21}
"""Characters of types that are texts in MySQL."""


def _mysql_text(source: Kind, key_bytes: int) -> str:
    length = source.length if source.form in ("text", "bits") else None
    if source.mysql and source.form in ("enum", "set"):
        return source.spelling.rpartition(")")[0] + ")"
    if source.form == "enum":
        length = 63
    elif source.form == "interval":
        length = 64
    length = _LONGEST.get(source.name, length)
    if source.padded and source.form == "text" and length is not None and length <= 255:
        return f"char({length})"
    if key_bytes:
        return f"varchar({min(length or KEY_BYTES_MAX, key_bytes // 4)})"
    if source.name in ("tinytext", "text", "mediumtext", "longtext") and source.mysql:
        return {"tinytext": "text", "text": "mediumtext"}.get(source.name, "longtext")
    if length is None or length > MEDIUMTEXT_CHARS:
        return "longtext"
    return f"varchar({length})" if length <= VARCHAR_MAX else "text" if length <= TEXT_CHARS else "mediumtext"


def _mysql_bytes(source: Kind, key_bytes: int) -> str:
    if source.mysql and not key_bytes:
        return source.spelling
    if source.padded:
        return source.spelling
    if key_bytes:
        return f"varbinary({min(source.length or KEY_BYTES_MAX, key_bytes)})"
    return "longblob"


def _mysql_decimal(source: Kind, family: Family) -> str:
    most = DECIMALS["mariadb" if family == "mariadb" else "mysql"]
    if source.digits is None or source.scale is None:
        return f"decimal({DECIMAL_DIGITS},{DECIMALS['mysql']})"
    scale = max(source.scale, 0)
    digits = source.digits + max(-source.scale, 0)
    if scale > most or digits > DECIMAL_DIGITS:  # more than its decimals hold: as a text, with sign, zero and point
        return f"varchar({digits + 3})" if digits < VARCHAR_MAX else "text"
    return f"decimal({max(digits, scale)},{scale})"
