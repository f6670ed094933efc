"""What keeps tables from being followed because of their kind: partitions, generated columns, tables of the system.

PostgreSQL takes some of them into a publication without a word, and then leaves changes out, or refuses the updates of whoever
writes to the table. So it is asked for before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from headwater.domain.tables import TableName
from headwater.ports.source import Finding
from headwater.sources.postgres import catalogue
from headwater.sources.postgres.config import PostgresConfig

Connection = psycopg.Connection[tuple[Any, ...]]

WANTED = """
WITH wanted AS (
  SELECT c.*, n.nspname, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS called
    FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS w (schema, name)
    JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
)
"""
SYSTEM = f"{WANTED} SELECT nspname, relname, called FROM wanted WHERE oid < 16384 AND relkind IN ('r', 'p')"  # noqa: S608  glued from a constant

RELATED = f"""
{WANTED}, followed AS (
  SELECT oid FROM wanted
   UNION SELECT r.prrelid FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = %(publication)s
)
SELECT n.nspname, c.relname, c.oid::regclass::text, a.relid::regclass::text
  FROM followed f JOIN pg_class c ON c.oid = f.oid AND c.relispartition JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL pg_partition_ancestors(c.oid) a
 WHERE a.relid <> c.oid AND a.relid IN (SELECT oid FROM followed)
   AND (c.oid IN (SELECT oid FROM wanted) OR a.relid IN (SELECT oid FROM wanted))
"""  # noqa: S608  glued from constants
"""Partitions that are followed by themselves, together with a table above them."""

LEAVES = f"""
{WANTED}
SELECT c.nspname, c.relname, c.called, leaf.oid::regclass::text, leaf.relkind, leaf.relpersistence
  FROM wanted c CROSS JOIN LATERAL pg_partition_tree(c.oid) t JOIN pg_class leaf ON leaf.oid = t.relid
 WHERE c.relkind = 'p' AND t.isleaf AND t.relid <> c.oid
   AND (leaf.relkind = 'f' OR leaf.relpersistence <> 'p' OR leaf.relreplident <> 'f' AND EXISTS (
     SELECT FROM pg_attribute a JOIN LATERAL ({catalogue.KEY}) k ON a.attnum = ANY (k.columns)
      WHERE a.attrelid = c.oid AND NOT EXISTS (
        SELECT FROM pg_attribute b JOIN LATERAL ({catalogue.KEY.replace("c.", "leaf.")}) l ON b.attnum = ANY (l.columns)
         WHERE b.attrelid = leaf.oid AND b.attname = a.attname)))
"""  # noqa: S608  glued from constants
"""Partitions whose changes do not come, or do not name the row by the key of their table."""

UNPUBLISHED = f"""
{WANTED}
SELECT c.nspname, c.relname, c.called FROM wanted c
 WHERE c.relreplident = 'f' AND EXISTS (
   SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
      AND (a.attgenerated = 'v'
        OR a.attgenerated = 's' AND NOT EXISTS (SELECT FROM pg_publication WHERE pubname = %(publication)s AND pubgencols = 's')))
"""  # noqa: S608  glued from constants
"""Since version 18 updates of such a table are refused at the source as soon as it is published."""


def findings(connection: Connection, config: PostgresConfig, tables: Sequence[TableName]) -> list[Finding]:
    """All of them, each with the table that it is about."""
    values = {"schemas": [t.schema for t in tables], "names": [t.name for t in tables], "publication": config.publication}
    made = [
        Finding(f"{called} is a table of the system, which can't be published.", "Take it out of the mapping.", TableName(schema, name))
        for schema, name, called in connection.execute(SYSTEM, values)
    ]
    if connection.info.server_version >= 130000:
        made += _related(connection, values)
        made += _leaves(connection, values)
    if connection.info.server_version >= 180000:
        made += _unpublished(connection, values)
    return made


def _related(connection: Connection, values: dict[str, Any]) -> Iterator[Finding]:
    for schema, name, partition, above in connection.execute(RELATED, values):
        what = f"{partition} is a partition of {above}, and both are mapped (by this task or another one of the data source)."
        repair = f"Its changes come under the name of {above} then: map one of the two."
        yield Finding(what, repair, TableName(schema, name))


def _leaves(connection: Connection, values: dict[str, Any]) -> Iterator[Finding]:
    for schema, name, called, partition, kind, persistence in connection.execute(LEAVES, values):
        table = TableName(schema, name)
        if kind == "f":
            yield Finding(f"The partition {partition} of {called} is a foreign table, which has no log here.", "Detach it.", table)
        elif persistence != "p":
            what = f"The partition {partition} of {called} is unlogged: its changes are not logged."
            yield Finding(what, f"Run: ALTER TABLE {partition} SET LOGGED;", table)
        else:
            what = f"Changes in the partition {partition} do not name their row by the key of {called}."
            yield Finding(what, f"Give it the same key, or run: ALTER TABLE {partition} REPLICA IDENTITY FULL;", table)


def _unpublished(connection: Connection, values: dict[str, Any]) -> Iterator[Finding]:
    for schema, name, called in connection.execute(UNPUBLISHED, values):
        what = f"{called} has REPLICA IDENTITY FULL and generated columns: PostgreSQL would refuse its updates once it is published."
        yield Finding(what, f"Run: ALTER TABLE {called} REPLICA IDENTITY DEFAULT;", TableName(schema, name))
