"""What a PostgreSQL source's tables are made of, for making their like at a target: see `domain/outline.py`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headwater.domain.outline import ColumnOutline, Default, Outline
from headwater.domain.tables import TableName
from headwater.sources.postgres.catalogue import Connection, describe

MORE = """
SELECT n.nspname, c.relname, a.attname, coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attidentity <> '',
       coalesce(col_description(c.oid, a.attnum), ''), coalesce(obj_description(c.oid, 'pg_class'), '')
  FROM unnest(%s::text[], %s::text[]) AS wanted (schema, name)
  JOIN pg_namespace n ON n.nspname = wanted.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
"""
"""Per column its default, is it an identity, its comment, and the table's."""

_LITERAL = re.compile(
    r"\(?(?:'(?P<text>(?:[^']|'')*)'|(?P<number>-?\d+(?:\.\d+)?)|(?P<truth>true|false))\)?"  # in brackets where it is negative
    r"(?:::[^:()']+(?:\([\d,]+\))?[^:()']*)?"  # and a cast to a type, with its length
)
_NULL = re.compile(r"NULL(?:::.*)?")
_NOW = frozenset({"now()", "CURRENT_TIMESTAMP", "transaction_timestamp()", "CURRENT_DATE", "LOCALTIMESTAMP"})
_NUMBERED = "nextval("


def outlines(connection: Connection, wanted: Sequence[TableName]) -> dict[TableName, Outline]:
    """The outlines of the tables that exist. Generated columns, which the log does not hold, are left out."""
    described = describe(connection, wanted)
    more = {}
    comments: dict[TableName, str] = {}
    for schema, table, *told, comment in connection.execute(MORE, ([t.schema for t in wanted], [t.name for t in wanted])):
        more[TableName(schema, table), told[0]] = told[1:]
        comments[TableName(schema, table)] = comment
    made = {}
    for name, schema in described.items():
        columns = []
        for column in schema.columns:
            expression, identity, comment = more.get((name, column.name), ("", False, ""))
            if column.writable:
                default, lost = _default(expression, identity)
                columns.append(ColumnOutline(column, default, lost, comment))
        made[name] = Outline(name, tuple(columns), comments.get(name, ""))
    return made


def _default(expression: str, identity: bool) -> tuple[Default | None, str]:
    if identity or expression.startswith(_NUMBERED):
        return None, "its numbers are given by the source"
    if not expression or _NULL.fullmatch(expression):
        return None, ""
    if expression.removesuffix("::text") in _NOW or expression.startswith("CURRENT_TIMESTAMP("):
        return Default(None), ""
    found = _LITERAL.fullmatch(expression)
    if found is None:
        return None, "its default is computed, and is left out"
    if found["text"] is not None:
        return Default(found["text"].replace("''", "'")), ""
    return Default(found["number"] or found["truth"][0]), ""
