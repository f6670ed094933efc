"""By which type a MySQL or MariaDB column's values behave: its COLUMN_TYPE without what changes no value, and with its character set.

`base` makes the spelling of `Column.base`, which `domain/types.py` joins columns by:

* integers without display width (`mysql:int unsigned`; ZEROFILL is a way to show), but `mysql:tinyint(1)`, which is a boolean to many;
* texts with their character set: `mysql:varchar(20) latin1`, `mysql:enum('a','b') utf8mb4`;
* `mysql:json`: MySQL's JSON, and a text of MariaDB that its CHECK keeps to be JSON;
* everything else as the server spells it: `mysql:decimal(65,30)`, `mysql:datetime(6)`, `mysql:bit(64)`, `mysql:uuid`.
"""

from __future__ import annotations

import re

PREFIX = "mysql:"

_COMMENT = re.compile(r"\s*/\*.*?\*/")
_INTEGER = re.compile(r"(tinyint|smallint|mediumint|int|bigint)(?:\((\d+)\))?((?: unsigned| zerofill)*)")
_FLOAT = re.compile(r"(float|double)(?:\(\d+,\d+\))?((?: unsigned| zerofill)*)")
_LABELLED = ("enum(", "set(")
TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"})
"""Types whose values have a character set."""


def base(column_type: str, charset: str | None, *, json: bool = False) -> str:
    """The common type of a column, from COLUMN_TYPE and CHARACTER_SET_NAME. `json`: MariaDB checks it with `json_valid`."""
    spelled = column_type if column_type.startswith(_LABELLED) else _COMMENT.sub("", column_type.lower()).strip()
    if json or spelled == "json":
        return PREFIX + "json"
    if found := _INTEGER.fullmatch(spelled):
        return PREFIX + _integer(found[1], found[2] or "", found[3])
    if found := _FLOAT.fullmatch(spelled):
        return PREFIX + found[1] + (" unsigned" if found[2] else "")
    if spelled.partition("(")[0] in TEXTS:
        return f"{PREFIX}{spelled} {charset or 'utf8mb4'}"
    return PREFIX + ("year" if spelled == "year(4)" else spelled.replace(" zerofill", ""))


def _integer(name: str, width: str, attributes: str) -> str:
    if attributes:  # ZEROFILL means UNSIGNED
        return f"{name} unsigned"
    return "tinyint(1)" if (name, width) == ("tinyint", "1") else name
