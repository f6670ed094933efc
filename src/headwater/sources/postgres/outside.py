"""What changes tables without a word in the log: found by marks of the catalogue that differ from those of an earlier look.

Three things do. Somebody changes the publication, so that changes are left out for a while: each such change gives its row, or the table's
entry in it, another version. And partitions: rows come and go with one that is attached, detached or dropped, and PostgreSQL does not log
the TRUNCATE of a single partition for a table that is published as a whole. A partition that was emptied has another file, as
after VACUUM FULL or CLUSTER; which of them it was can't be told afterwards, so all count.

And where a label of an enum is renamed, every row that has it reads otherwise from then on; a label that is added changes no row.

A new partition without rows from before (the daily case) is not among them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from headwater.domain.tables import TableName
from headwater.ports.source import Watched
from headwater.sources.postgres.config import PostgresConfig

Connection = psycopg.Connection[tuple[Any, ...]]

PUBLISHED = """
SELECT wanted.schema, wanted.name, concat_ws(' ', p.oid, p.xmin, r.oid, r.xmin), c.oid, c.relkind = 'p'
  FROM unnest(%s::text[], %s::text[]) AS wanted (schema, name)
  JOIN pg_namespace n ON n.nspname = wanted.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
  JOIN pg_publication p ON p.pubname = %s
  LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
"""
PARTITIONS = """
SELECT t.relid::oid::text, pg_relation_filenode(t.relid)::text FROM pg_partition_tree(%s::oid::regclass) t WHERE t.isleaf AND t.relid <> %s
"""
LABELS = """
WITH RECURSIVE used (relid, type) AS (
    SELECT attrelid, atttypid FROM pg_attribute WHERE attrelid = ANY(%s::oid[]) AND attnum > 0 AND NOT attisdropped
    UNION
    SELECT used.relid, part.type
      FROM used JOIN pg_type t ON t.oid = used.type
      CROSS JOIN LATERAL (
        SELECT t.typelem UNION ALL SELECT t.typbasetype
        UNION ALL SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid
        UNION ALL SELECT atttypid FROM pg_attribute WHERE t.typrelid <> 0 AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
      ) part (type)
     WHERE part.type <> 0)
SELECT used.relid, e.oid::text, e.enumlabel FROM used JOIN pg_enum e ON e.enumtypid = used.type
"""
"""The labels of all enums within the columns of tables: as an element, below a domain, within a range or a composite type too."""

ATTACHED = """
SELECT n.nspname, c.relname, i.xmin::text, i.cmin::text, age(i.xmin)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL pg_partition_ancestors(c.oid) a
  JOIN pg_inherits i ON i.inhrelid = a.relid
 WHERE c.oid = %s::oid AND has_table_privilege(c.oid, 'SELECT')
 ORDER BY age(i.xmin) LIMIT 1
"""
"""The newest link between a partition and the table: nothing where we may not look into it."""

OLDER_ROW = """
SELECT 1 FROM ONLY {} t
 WHERE age(t.xmin) > %(age)s OR (t.xmin::text = %(xmin)s AND t.cmin::text::bigint < %(cmin)s::bigint) LIMIT 1
"""


def watch(connection: Connection, config: PostgresConfig, tables: Sequence[TableName], before: Mapping[TableName, str]) -> Watched:
    """See `Source.watch`."""
    marks: dict[TableName, str] = {}
    changed: dict[TableName, str] = {}
    found = connection.execute(PUBLISHED, ([t.schema for t in tables], [t.name for t in tables], config.publication)).fetchall()
    labels = _labels(connection, [oid for *_, oid, _ in found])
    for schema, name, published, oid, partitioned in found:
        table = TableName(schema, name)
        files: dict[str, str] = dict(connection.execute(PARTITIONS, (oid, oid)).fetchall()) if partitioned else {}
        marks[table] = json.dumps([published, files, labels.get(oid, {})], sort_keys=True)
        if table in before and before[table] != marks[table]:
            was_published, had, *told = json.loads(before[table])  # an older mark tells nothing of labels
            reason = _reason(connection, was_published == published, had, files)
            reason = reason or _renamed(told[0] if told else {}, labels.get(oid, {}))
            changed.update({table: reason} if reason else {})
    return Watched(marks, changed)


def _labels(connection: Connection, tables: Sequence[int]) -> dict[int, dict[str, str]]:
    """By table the labels that its values may have, by their number, which stays when they are renamed."""
    found: dict[int, dict[str, str]] = {}
    for table, number, label in connection.execute(LABELS, [list(tables)]):
        found.setdefault(table, {})[number] = label
    return found


def _renamed(had: dict[str, str], labels: dict[str, str]) -> str:
    """Whether a label is called otherwise, in words; empty where none is."""
    return "a label of an enum was renamed" if any(labels.get(number, label) != label for number, label in had.items()) else ""


def _reason(connection: Connection, same_publication: bool, had: dict[str, str], files: dict[str, str]) -> str:
    """What may have happened outside of the log; empty where nothing has."""
    if not same_publication:
        return "the publication was changed by somebody else"
    if had.keys() - files.keys():
        return "a partition was detached or dropped"
    if any(files[oid] != file for oid, file in had.items()):
        return "a partition was truncated or rewritten"
    if any(_brought_rows(connection, oid) for oid in sorted(files.keys() - had.keys())):
        return "a partition was attached with rows in it"
    return ""


def _brought_rows(connection: Connection, partition: str) -> bool:
    """Whether a new partition holds rows from before it was one; True where that can't be seen."""
    attached = connection.execute(ATTACHED, (partition,)).fetchone()
    if attached is None:
        return True
    schema, name, xmin, cmin, age = attached
    query = sql.SQL(OLDER_ROW).format(sql.Identifier(schema, name))
    return connection.execute(query, {"age": age, "xmin": xmin, "cmin": cmin}).fetchone() is not None
