"""Set-aside rows at the target: the statements of `DirtyDesk`, run in the transaction of whoever holds the desk.

What is to be kept of a row is sealed before it comes here. The record of a row that is put is locked by that, and by `take`; so apply and
a person who retries the same row are ordered by the record, whatever else they write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from typing import Any

from headwater.domain.dirty import CLOSED_KEPT
from headwater.ports.dirty import DirtyRecord
from headwater.targets.postgres.session import Connection

TABLE = """
    CREATE TABLE IF NOT EXISTS headwater.dirty_row (
        task_id      text NOT NULL,
        id           text NOT NULL,
        mapping_id   text NOT NULL,
        source_table text NOT NULL,
        target_table text NOT NULL,
        state        text NOT NULL,
        kind         text NOT NULL,
        reason       text NOT NULL,
        position     text,
        commit_us    bigint,
        upto         bigint NOT NULL,
        first_us     bigint NOT NULL,
        last_us      bigint NOT NULL,
        times        integer NOT NULL,
        row_bytes    bigint NOT NULL,
        settled_by   text NOT NULL,
        settled_us   bigint,
        sealed_key   bytea NOT NULL,
        sealed_row   bytea,
        PRIMARY KEY (task_id, id)
    )
    """

_NAMES = [field.name for field in fields(DirtyRecord)]
_WITHOUT_ROW = ", ".join("NULL::bytea" if name == "sealed_row" else name for name in _NAMES)
_THERE = "SELECT to_regclass('headwater.dirty_row') IS NOT NULL"
_HELD = f"SELECT {_WITHOUT_ROW} FROM headwater.dirty_row WHERE task_id = %s AND sealed_row IS NOT NULL ORDER BY first_us, id"  # noqa: S608
_COUNT = "SELECT count(*) FROM headwater.dirty_row WHERE task_id = %s AND (state = %s OR %s = '')"
_PAGE = f"""
SELECT {_WITHOUT_ROW} FROM headwater.dirty_row WHERE task_id = %s AND (state = %s OR %s = '') ORDER BY last_us DESC, id LIMIT %s OFFSET %s
"""  # noqa: S608
_TAKE = f"""
SELECT {", ".join(_NAMES)} FROM headwater.dirty_row WHERE task_id = %s AND id = ANY (%s::text[]) ORDER BY id FOR UPDATE
"""  # noqa: S608
_KNOWN = f"SELECT {_WITHOUT_ROW} FROM headwater.dirty_row WHERE task_id = %s AND id = ANY (%s::text[])"  # noqa: S608
_PUT = f"""
INSERT INTO headwater.dirty_row (task_id, {", ".join(_NAMES)}) VALUES (%s, {", ".join("%s" for _ in _NAMES)})
ON CONFLICT (task_id, id) DO UPDATE SET times = dirty_row.times + 1,
    {", ".join(f"{name} = EXCLUDED.{name}" for name in _NAMES if name not in ("id", "first_us", "times"))}
"""  # noqa: S608
_DISCARD = """
UPDATE headwater.dirty_row SET state = 'discarded', settled_by = %s, settled_us = %s
WHERE task_id = %s AND id = ANY (%s::text[]) AND state = 'open'
"""
_SETTLE = """
UPDATE headwater.dirty_row SET sealed_key = '', sealed_row = NULL, row_bytes = 0,
    state = CASE WHEN state = 'discarded' THEN state ELSE %s END,
    settled_by = CASE WHEN state = 'discarded' THEN settled_by ELSE %s END,
    settled_us = CASE WHEN state = 'discarded' THEN settled_us ELSE %s END
WHERE task_id = %s AND id = ANY (%s::text[]) AND sealed_row IS NOT NULL
"""
_PRUNE = """
DELETE FROM headwater.dirty_row WHERE task_id = %s AND sealed_row IS NULL AND id IN (
    SELECT id FROM headwater.dirty_row WHERE task_id = %s AND sealed_row IS NULL ORDER BY settled_us DESC NULLS LAST, id OFFSET %s)
"""
_RESET = """
UPDATE headwater.dirty_row SET sealed_key = '', sealed_row = NULL, row_bytes = 0,
    state = CASE WHEN state = 'open' THEN 'reset' ELSE state END,
    settled_us = coalesce(settled_us, (extract(epoch FROM now()) * 1000000)::bigint)
WHERE task_id = %s AND (mapping_id = ANY (%s::text[]) OR %s) AND sealed_row IS NOT NULL
"""
_FORGET = "DELETE FROM headwater.dirty_row WHERE task_id = %s"


class Desk:
    """`DirtyDesk` on a connection. `asking` turns the driver's errors into ours. A target that was prepared before there were such
    records has none."""

    def __init__(self, connection: Connection, task_id: str, asking: Callable[[str], AbstractContextManager[None]]) -> None:
        self._connection, self._task_id, self._asking = connection, task_id, asking

    def held(self) -> list[DirtyRecord]:
        """See `DirtyDesk.held`."""
        with self._asking("reading set-aside rows"):
            return self._read(_HELD, [self._task_id]) if there(self._connection) else []

    def page(self, state: str, limit: int, offset: int) -> tuple[int, list[DirtyRecord]]:
        """See `DirtyDesk.page`."""
        with self._asking("reading set-aside rows"):
            if not there(self._connection):
                return 0, []
            total = self._connection.execute(_COUNT, [self._task_id, state, state]).fetchone()
            return total[0] if total else 0, self._read(_PAGE, [self._task_id, state, state, limit, offset])

    def take(self, ids: Collection[str]) -> list[DirtyRecord]:
        """See `DirtyDesk.take`."""
        with self._asking("locking set-aside rows"):
            return [record for record in self._read(_TAKE, [self._task_id, sorted(ids)]) if record.sealed_row is not None] if ids else []

    def known(self, ids: Collection[str]) -> dict[str, DirtyRecord]:
        """See `DirtyDesk.known`."""
        with self._asking("reading set-aside rows"):
            return {record.id: record for record in self._read(_KNOWN, [self._task_id, sorted(ids)])}

    def put(self, records: Sequence[DirtyRecord]) -> None:
        """See `DirtyDesk.put`."""
        with self._asking("setting rows aside"):
            for record in sorted(records, key=lambda one: one.id):
                self._connection.execute(_PUT, [self._task_id, *(_value(getattr(record, name)) for name in _NAMES)])

    def settle(self, ids: Collection[str], state: str, by: str, now_us: int) -> None:
        """See `DirtyDesk.settle`."""
        if not ids:
            return
        with self._asking("settling set-aside rows"):
            if state == "discarded":
                self._connection.execute(_DISCARD, [by, now_us, self._task_id, sorted(ids)])
            else:
                self._connection.execute(_SETTLE, [state, by, now_us, self._task_id, sorted(ids)])
                self._connection.execute(_PRUNE, [self._task_id, self._task_id, CLOSED_KEPT])

    def _read(self, statement: str, parameters: Sequence[Any]) -> list[DirtyRecord]:
        rows = self._connection.execute(statement.encode(), parameters).fetchall()
        return [DirtyRecord(**dict(zip(_NAMES, row, strict=True))) for row in rows]


def there(connection: Connection) -> bool:
    """Whether the table is there."""
    row = connection.execute(_THERE).fetchone()
    return row is not None and bool(row[0])


def reset(connection: Connection, task_id: str, mapping_ids: frozenset[str] | None) -> None:
    """The tables of these mappings (None: of all) are copied again: what was set aside of them is settled by that."""
    connection.execute(_RESET, [task_id, sorted(mapping_ids or ()), mapping_ids is None])


def forget(connection: Connection, task_id: str) -> None:
    """Remove all records of a task."""
    if there(connection):
        connection.execute(_FORGET, [task_id])


def _value(value: Any) -> Any:
    """Bytes in `bytea`'s text form, because a session sends all bytes as text."""
    return b"\\x" + value.hex().encode() if isinstance(value, bytes) else value
