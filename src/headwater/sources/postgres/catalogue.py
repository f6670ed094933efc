"""What the source's catalogue says of its tables: names, columns, types, keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from headwater.dialects.postgres_types import BASE
from headwater.domain.tables import Column, TableName, TableSchema

TABLES = """
SELECT n.nspname, c.relname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
   AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
 ORDER BY 1, 2
"""

KEY = """
SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] AS columns
  FROM pg_index i
 WHERE i.indrelid = c.oid AND i.indimmediate AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
"""
"""The columns that name a row of a table `c`: the replica identity's index, or else the primary key. Not a deferrable one: PostgreSQL takes
none as replica identity, and refuses updates of the published table."""

DESCRIBE = f"""
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
       coalesce(a.attnum = ANY (k.columns), false), NOT a.attnotnull, a.attgenerated = '',
       a.attnum, a.atttypid || ':' || a.atttypmod, c.oid::text, base.type
  FROM unnest(%s::text[], %s::text[]) AS wanted (schema, name)
  JOIN pg_namespace n ON n.nspname = wanted.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN LATERAL ({KEY}) k ON true
  {BASE}
 ORDER BY n.nspname, c.relname, a.attnum
"""  # noqa: S608  glued from a constant

ATTRIBUTES = f"""
SELECT a.attnum, a.attname, a.attisdropped, a.attgenerated <> '', NOT a.attnotnull, coalesce(a.attnum = ANY (k.columns), false)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
  LEFT JOIN LATERAL ({KEY}) k ON true
 WHERE c.oid = %s
 ORDER BY a.attnum
"""  # noqa: S608  glued from a constant
"""Today's word on a relation that the log announces: every column that it ever had, dropped ones too."""

TYPES = """
SELECT CASE WHEN y.oid IS NULL THEN 'unknown type ' || t.oid ELSE format_type(t.oid, t.modifier) END
  FROM unnest(%s::oid[], %s::int4[]) WITH ORDINALITY AS t (oid, modifier, at) LEFT JOIN pg_type y ON y.oid = t.oid
 ORDER BY t.at
"""
"""Names of types by their numbers; a type that is gone has none."""

OIDS = """
SELECT n.nspname, c.relname, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[])) AND c.relkind IN ('r', 'p')
"""

Connection = psycopg.Connection[tuple[Any, ...]]


def tables(connection: Connection) -> list[TableName]:
    """Every base or partitioned table that the role may read, in order; partitions belong to their table."""
    return [TableName(schema, name) for schema, name in connection.execute(TABLES)]


def describe(connection: Connection, wanted: Sequence[TableName]) -> dict[TableName, TableSchema]:
    """Today's schemas of the tables that exist."""
    columns: dict[tuple[TableName, str], list[Column]] = {}
    found = connection.execute(DESCRIBE, ([t.schema for t in wanted], [t.name for t in wanted]))
    for schema, table, name, type_, key, nullable, writable, number, type_id, id_, base in found:
        column = Column(name, type_, key, nullable, writable, number, type_id, base)
        columns.setdefault((TableName(schema, table), id_), []).append(column)
    return {table: TableSchema(table, tuple(described), id_) for (table, id_), described in columns.items()}


def type_id(oid: int, modifier: int) -> str:
    """`Column.type_id`: the type's number with what narrows it (a length, say)."""
    return f"{oid}:{modifier}"


def oids(connection: Connection, wanted: Sequence[TableName]) -> dict[int, TableName]:
    """The tables that exist, by their numbers."""
    found = connection.execute(OIDS, ([t.schema for t in wanted], [t.name for t in wanted]))
    return {oid: TableName(schema, name) for schema, name, oid in found}
