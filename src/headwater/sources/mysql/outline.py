"""What the tables of a MySQL or MariaDB source are made of, for making their like at a target: see `domain/outline.py`.

MariaDB's catalogue spells a default as SQL, MySQL's shows its bare text and marks expressions in another column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headwater.dialects.mysql_session import Session
from headwater.domain.kinds import Kind, kind_of
from headwater.domain.outline import ColumnOutline, Default, Outline
from headwater.domain.tables import TableName, TableSchema
from headwater.sources.mysql.connect import rows

COLUMNS = """
SELECT c.COLUMN_NAME AS `name`, c.COLUMN_DEFAULT AS `default`, c.EXTRA AS `extra`, c.COLUMN_COMMENT AS `comment`,
       t.TABLE_COMMENT AS `table_comment`
  FROM information_schema.COLUMNS c JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME)
 WHERE c.TABLE_SCHEMA = %s AND c.TABLE_NAME = %s
"""

_NOW = re.compile(r"(?:current_timestamp|now|localtimestamp)(?:\(\d?\))?|curdate\(\)|current_date(?:\(\))?", re.IGNORECASE)
_QUOTED = re.compile(r"(?:_\w+)?'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
_BITS = re.compile(r"b'([01]*)'")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "Z": "\x1a", "b": "\b"}
COMPUTED = "its default is computed, and is left out"


def outlines(connection: Session, schemas: Mapping[TableName, TableSchema]) -> dict[TableName, Outline]:
    """The outlines of tables as they are described. Generated columns, which other databases compute by other words, are left out."""
    return {name: _outline(connection, name, schema) for name, schema in schemas.items()}


def _outline(connection: Session, name: TableName, schema: TableSchema) -> Outline:
    more = {_text(row["name"]): row for row in rows(connection, COLUMNS, (name.schema, name.name))}
    columns = []
    for column in schema.columns:
        told = more.get(column.name)
        if told is None or not column.writable:
            continue
        kind, extra = kind_of(column.base or f"mysql:{column.type}"), _text(told["extra"] or "")
        found = None if told["default"] is None else _text(told["default"])
        default, lost = sql_default(kind, found) if connection.mariadb else bare_default(kind, found, "DEFAULT_GENERATED" in extra)
        if "auto_increment" in extra.lower():
            lost = "its numbers are given by the source"
        columns.append(ColumnOutline(column, default, lost, _text(told["comment"] or "")))
    comment = next((_text(row["table_comment"] or "") for row in more.values()), "")
    return Outline(name, tuple(columns), comment)


def sql_default(kind: Kind, spelled: str | None) -> tuple[Default | None, str]:
    """A default as MariaDB spells it: a literal in quotation marks, a number, or an expression. With what of it is lost."""
    if spelled is None or spelled.upper() == "NULL":
        return None, ""
    if quoted := _QUOTED.fullmatch(spelled):
        return _literal(kind, _unescaped(quoted[1]), utc=True)
    if _NUMBER.fullmatch(spelled) or _BITS.fullmatch(spelled):
        return _literal(kind, spelled, utc=True)
    return (Default(None), "") if _NOW.fullmatch(spelled) else (None, COMPUTED)


def bare_default(kind: Kind, shown: str | None, expression: bool) -> tuple[Default | None, str]:
    """A default as MySQL shows it: the text of a literal, or an expression."""
    if shown is None:
        return None, ""
    if not expression:
        return _literal(kind, shown, utc=False)
    if quoted := _QUOTED.fullmatch(shown.replace("\\'", "'")):
        return _literal(kind, _unescaped(quoted[1]), utc=False)
    return (Default(None), "") if _NOW.fullmatch(shown) else (None, COMPUTED)


def _literal(kind: Kind, text: str, utc: bool) -> tuple[Default | None, str]:
    """In the form in which values travel. `utc`: the text of a TIMESTAMP is in the session's time zone, which is UTC."""
    if kind.form in ("bytes", "geometry"):
        return None, "the catalogue does not tell a default of bytes"
    if kind.form == "instant":
        return (Default(f"{text}+00"), "") if utc else (None, "its default is of the time zone in which the table was made")
    if kind.form == "bits" and (bits := _BITS.fullmatch(text)):
        return Default(bits[1].rjust(kind.length or 1, "0")), ""
    return Default(text), ""


def _unescaped(text: str) -> str:
    return re.sub(r"''|\\(.)", lambda found: "'" if found[1] is None else _ESCAPES.get(found[1], found[1]), text, flags=re.DOTALL)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
