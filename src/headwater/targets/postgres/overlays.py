"""Which overlays a task has: noted in `headwater.overlay`, so that a run that resumes finds them.

A note is made with the overlay's tables in one transaction, and taken away with the commit that shows it, or with the copy's progress
when a reset begins the copy anew. Tables whose note is gone are dropped by whoever comes by (`sweep`): a reset must not
wait for a lock that a frozen run may hold on them.
"""

from __future__ import annotations

from contextlib import suppress

import psycopg

from headwater.targets.postgres.overlay import Place
from headwater.targets.postgres.session import Connection
from headwater.targets.postgres.statements import quote

_READ = "SELECT mapping_id, number, copied, whole FROM headwater.overlay WHERE task_id = %s"
_NOTE = """
INSERT INTO headwater.overlay (task_id, mapping_id, copied, whole) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING number
"""
_FORGET = "DELETE FROM headwater.overlay WHERE task_id = %s AND mapping_id = ANY (%s::text[])"
_FORGET_OTHERS = "DELETE FROM headwater.overlay WHERE task_id = %s AND mapping_id <> ALL (%s::text[])"
_COPYING = """
SELECT FROM headwater.overlay o JOIN headwater.table_state s USING (task_id, mapping_id)
WHERE o.task_id = %s AND o.copied AND (s.state = 'pending' OR s.state = 'copying' AND jsonb_array_length(s.chunks) >
    (SELECT count(*) FROM headwater.chunk_done d WHERE d.task_id = o.task_id AND d.mapping_id = o.mapping_id))
LIMIT 1
"""
_LEFT_OVER = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'headwater'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^(rows|gone)_[0-9]+$'
  AND pg_has_role(c.relowner, 'USAGE')
  AND substring(c.relname FROM 6)::integer NOT IN (SELECT number FROM headwater.overlay)
"""
SWEEP_WAIT = "1s"
"""How long dropping what is left over waits for whoever still holds it; the next run tries again."""


def read(connection: Connection, task_id: str) -> dict[str, Place]:
    """The task's overlays by mapping id."""
    return {mapping_id: Place(*place) for mapping_id, *place in connection.execute(_READ, [task_id]).fetchall()}


def note(connection: Connection, task_id: str, mapping_id: str, *, copied: bool, whole: bool) -> Place | None:
    """Note a new overlay; None where there is one. Its tables have to be made in the same transaction. Waits for another one's note."""
    row = connection.execute(_NOTE, [task_id, mapping_id, copied, whole]).fetchone()
    return None if row is None else Place(row[0], copied, whole)


def forget(connection: Connection, task_id: str, mapping_ids: list[str]) -> None:
    """Take notes away."""
    connection.execute(_FORGET, [task_id, mapping_ids])


def copying(connection: Connection, task_id: str) -> bool:
    """Whether some overlay waits for the rest of its copy."""
    return connection.execute(_COPYING, [task_id]).fetchone() is not None


def sweep(connection: Connection, task_id: str, mapping_ids: list[str] | None = None) -> None:
    """Take away what nobody will show any more: the task's overlays of other mappings than these, and tables without a note. Commits."""
    if mapping_ids is not None:
        connection.execute(_FORGET_OTHERS, [task_id, mapping_ids])
    connection.commit()
    for (name,) in connection.execute(_LEFT_OVER).fetchall():
        with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable), connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{SWEEP_WAIT}'".encode())
            connection.execute(f"DROP TABLE {quote('headwater', name)}".encode())
    connection.commit()
