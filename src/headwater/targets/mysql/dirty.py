"""Set-aside rows at the target: the statements of `DirtyDesk`, run in the transaction of whoever holds the desk.

What is to be kept of a row is sealed before it comes here. The record of a row that is put is locked by that, and by `take`; so apply and
a person who retries the same row are ordered by the record, whatever else they write.
"""

# ruff: noqa: S608  glued from constants

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields

from headwater.domain.dirty import CLOSED_KEPT
from headwater.ports.dirty import DirtyRecord
from headwater.targets.mysql.session import Connection, Value

TABLE = """
    CREATE TABLE IF NOT EXISTS headwater_dirty_row (
        task_id      varchar(64) COLLATE utf8mb4_bin NOT NULL,
        id           varchar(64) COLLATE utf8mb4_bin NOT NULL,
        mapping_id   varchar(128) COLLATE utf8mb4_bin NOT NULL,
        source_table text NOT NULL,
        target_table text NOT NULL,
        state        varchar(16) NOT NULL,
        kind         varchar(16) NOT NULL,
        reason       text NOT NULL,
        position     text,
        commit_us    bigint,
        upto         bigint NOT NULL,
        first_us     bigint NOT NULL,
        last_us      bigint NOT NULL,
        times        int NOT NULL,
        row_bytes    bigint NOT NULL,
        settled_by   text NOT NULL,
        settled_us   bigint,
        sealed_key   longblob NOT NULL,
        sealed_row   longblob,
        PRIMARY KEY (task_id, id)
    ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4
    """

_NAMES = [field.name for field in fields(DirtyRecord)]
_WITHOUT_ROW = ", ".join("NULL" if name == "sealed_row" else name for name in _NAMES)
_HELD = f"SELECT {_WITHOUT_ROW} FROM headwater_dirty_row WHERE task_id = %s AND sealed_row IS NOT NULL ORDER BY first_us, id"
_COUNT = "SELECT count(*) FROM headwater_dirty_row WHERE task_id = %s AND (state = %s OR %s = '')"
_PAGE = f"""
SELECT {_WITHOUT_ROW} FROM headwater_dirty_row WHERE task_id = %s AND (state = %s OR %s = '') ORDER BY last_us DESC, id LIMIT %s OFFSET %s
"""
_OF = "FROM headwater_dirty_row WHERE task_id = %s AND id IN ({ids})"
_TAKE = f"SELECT {', '.join(_NAMES)} {_OF} ORDER BY id FOR UPDATE"
_KNOWN = f"SELECT {_WITHOUT_ROW} {_OF}"
_KEPT = ("id", "first_us", "times")
_PUT = f"""
INSERT INTO headwater_dirty_row (task_id, {", ".join(_NAMES)}) VALUES (%s, {", ".join("%s" for _ in _NAMES)})
ON DUPLICATE KEY UPDATE times = times + 1, {", ".join(f"{name} = %s" for name in _NAMES if name not in _KEPT)}
"""
_DISCARD = """
UPDATE headwater_dirty_row SET state = 'discarded', settled_by = %s, settled_us = %s WHERE task_id = %s AND state = 'open' AND id IN ({ids})
"""
_SETTLE = """
UPDATE headwater_dirty_row SET sealed_key = '', sealed_row = NULL, row_bytes = 0,
    settled_by = IF(state = 'discarded', settled_by, %s), settled_us = IF(state = 'discarded', settled_us, %s),
    state = IF(state = 'discarded', state, %s)
WHERE task_id = %s AND sealed_row IS NOT NULL AND id IN ({ids})
"""
_CLOSED = """
SELECT id FROM headwater_dirty_row WHERE task_id = %s AND sealed_row IS NULL ORDER BY settled_us IS NULL, settled_us DESC, id
LIMIT 1000000 OFFSET %s
"""
_RESET = """
UPDATE headwater_dirty_row SET sealed_key = '', sealed_row = NULL, row_bytes = 0, state = IF(state = 'open', 'reset', state),
    settled_us = COALESCE(settled_us, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED))
WHERE task_id = %s AND sealed_row IS NOT NULL
"""


class Desk:
    """`DirtyDesk` on a connection. `asking` turns the driver's errors into ours. Its table is made when the task's first epoch is raised;
    a person may ask before that."""

    def __init__(self, connection: Connection, task_id: str, asking: Callable[[str], AbstractContextManager[None]]) -> None:
        self._connection, self._task_id, self._asking = connection, task_id, asking

    def held(self) -> list[DirtyRecord]:
        """See `DirtyDesk.held`."""
        with self._asking("reading set-aside rows"):
            return self._read(_HELD, [self._task_id]) if _there(self._connection) else []

    def page(self, state: str, limit: int, offset: int) -> tuple[int, list[DirtyRecord]]:
        """See `DirtyDesk.page`."""
        with self._asking("reading set-aside rows"):
            if not _there(self._connection):
                return 0, []
            ((total,),) = self._connection.ask(_COUNT, [self._task_id, state, state])
            return total, self._read(_PAGE, [self._task_id, state, state, limit, offset])

    def take(self, ids: Collection[str]) -> list[DirtyRecord]:
        """See `DirtyDesk.take`."""
        if not ids:
            return []
        with self._asking("locking set-aside rows"):
            found = self._read(_listing(_TAKE, ids), [self._task_id, *sorted(ids)])
            return [record for record in found if record.sealed_row is not None]

    def known(self, ids: Collection[str]) -> dict[str, DirtyRecord]:
        """See `DirtyDesk.known`."""
        if not ids:
            return {}
        with self._asking("reading set-aside rows"):
            return {record.id: record for record in self._read(_listing(_KNOWN, ids), [self._task_id, *sorted(ids)])}

    def put(self, records: Sequence[DirtyRecord]) -> None:
        """See `DirtyDesk.put`."""
        with self._asking("setting rows aside"):
            for record in sorted(records, key=lambda one: one.id):
                values = [getattr(record, name) for name in _NAMES]
                again = [getattr(record, name) for name in _NAMES if name not in _KEPT]
                self._connection.run(_PUT, [self._task_id, *values, *again])

    def settle(self, ids: Collection[str], state: str, by: str, now_us: int) -> None:
        """See `DirtyDesk.settle`."""
        if not ids:
            return
        with self._asking("settling set-aside rows"):
            if state == "discarded":
                self._connection.run(_listing(_DISCARD, ids), [by, now_us, self._task_id, *sorted(ids)])
            else:
                self._connection.run(_listing(_SETTLE, ids), [by, now_us, state, self._task_id, *sorted(ids)])
                old = [id for (id,) in self._connection.ask(_CLOSED, [self._task_id, CLOSED_KEPT])]
                if old:
                    self._connection.run(_listing(f"DELETE {_OF}", old), [self._task_id, *old])

    def _read(self, statement: str, values: Sequence[Value]) -> list[DirtyRecord]:
        return [DirtyRecord(**dict(zip(_NAMES, row, strict=True))) for row in self._connection.ask(statement, values)]


def reset(connection: Connection, task_id: str, mapping_ids: Sequence[str] | None) -> None:
    """The tables of these mappings (None: of all) are copied again: what was set aside of them is settled by that."""
    connection.run(_RESET + among("mapping_id", mapping_ids), [task_id, *(mapping_ids or ())])


def among(column: str, values: Collection[str] | None) -> str:
    """The condition, begun with AND, that a column has one of some values, which are to be given; None: any."""
    if values is None:
        return ""
    return f" AND {column} IN ({', '.join('%s' for _ in values)})" if values else " AND false"


def _there(connection: Connection) -> bool:
    asked = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'headwater_dirty_row'"
    return bool(connection.ask(asked))


def _listing(statement: str, ids: Collection[str]) -> str:
    return statement.replace("{ids}", ", ".join("%s" for _ in ids))
