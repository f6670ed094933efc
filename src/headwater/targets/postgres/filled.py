"""Which table each mapping fills: the table itself by its number (oid), not just its name.

Writing goes by name. A table that somebody dropped and made anew, or that was given another one's place by renaming, takes the next
changes without an error, and lacks every row that was there before. So the number is noted before the first copy, and held against the
catalogue when a run begins, with each chunk, and with each commit in the very statement that moves the checkpoint: what was
written there is then locked against being dropped or renamed, so nothing slips through between the look and the commit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from headwater.domain.errors import TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.tables import TableName
from headwater.targets.postgres.session import Connection
from headwater.targets.postgres.statements import quote
from headwater.targets.records import another_table

TABLE = """
    CREATE TABLE IF NOT EXISTS headwater.filled (
        task_id    text NOT NULL,
        mapping_id text NOT NULL,
        table_oid  oid NOT NULL,
        PRIMARY KEY (task_id, mapping_id)
    )
    """

OTHERS = "SELECT FROM unnest(%s::text[], %s::oid[]) AS t (name, number) WHERE to_regclass(t.name)::oid IS DISTINCT FROM t.number"
"""A row for each of these tables (`places`) that is not the one which was noted."""

_THERE = "SELECT to_regclass('headwater.filled') IS NOT NULL"
_NOW = """
SELECT wanted.id, to_regclass(wanted.name)::oid, f.table_oid, coalesce(s.state, 'pending') = 'pending'
FROM unnest(%s::text[], %s::text[]) AS wanted (id, name)
LEFT JOIN headwater.filled f ON f.task_id = %s AND f.mapping_id = wanted.id
LEFT JOIN headwater.table_state s ON s.task_id = %s AND s.mapping_id = wanted.id
"""
_NOTE = """
INSERT INTO headwater.filled (task_id, mapping_id, table_oid) SELECT %s, * FROM unnest(%s::text[], %s::oid[])
ON CONFLICT (task_id, mapping_id) DO UPDATE SET table_oid = EXCLUDED.table_oid
"""


def there(connection: Connection) -> bool:
    """Whether the table of notes is there."""
    row = connection.execute(_THERE).fetchone()
    return row is not None and bool(row[0])


def note(connection: Connection, task_id: str, mappings: Sequence[TableMapping]) -> dict[TableName, int]:
    """The tables' numbers, noted for mappings whose copy has not begun, and for those that have no note yet.

    Raises:
        TargetError: `schema_mismatch`, where a table that holds rows of a mapping is not there any more, or is another one.
    """
    found = check(connection, task_id, mappings)
    new = [(m, number) for m, number, noted in found if number != noted]
    if new:
        connection.execute(_NOTE, [task_id, [m.mapping_id for m, _ in new], [number for _, number in new]])
    return {m.target: number for m, number, _ in found}


def check(connection: Connection, task_id: str, mappings: Sequence[TableMapping]) -> list[tuple[TableMapping, int, int | None]]:
    """The mappings whose tables are there, each with its table's number now and the one that was noted.

    Raises:
        TargetError: see `note`.
    """
    by_id = {m.mapping_id: m for m in mappings}
    names = [quote(m.target.schema, m.target.name) for m in by_id.values()]
    rows = connection.execute(_NOW, [list(by_id), names, task_id, task_id]).fetchall()
    others = [(by_id[i], now) for i, now, noted, pending in rows if noted is not None and now != noted and not pending]
    if others:
        raise TargetError(" ".join(another_table(m, gone=now is None) for m, now in others), kind="schema_mismatch")
    return [(by_id[i], now, noted) for i, now, noted, _ in rows if now is not None]


def places(tables: dict[TableName, int], wanted: Collection[TableName]) -> list[list[str] | list[int]]:
    """The parameters of `OTHERS` for those of the wanted tables that have a number."""
    known = [table for table in wanted if table in tables]
    return [[quote(table.schema, table.name) for table in known], [tables[table] for table in known]]
