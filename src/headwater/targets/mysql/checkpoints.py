"""What we keep at the target, in tables `headwater_...` of the data source's database: where each task stands, under which epoch, and how
far its copies are.

An administrator may make them beforehand (`TABLES`, docs/reference/databases.md) and grant SELECT, INSERT, UPDATE, DELETE on them;
otherwise the first task does, which needs CREATE on the database once. `chunk_done` has a row per chunk, so that
chunks that end at the same time don't wait for one another.
"""

# ruff: noqa: S608  glued from constants

from __future__ import annotations

from collections.abc import Iterable

from pymysql.err import Error

from headwater.dialects.mysql_errors import number_of
from headwater.ports.target import Checkpoint, CopyState, TableState
from headwater.targets.mysql import dirty, filled
from headwater.targets.mysql.session import Connection, Value
from headwater.targets.records import plan_text, table_states, taken_over

_NO_SUCH_TABLE = 1146

TABLES = {
    "headwater_checkpoint": """
    CREATE TABLE IF NOT EXISTS headwater_checkpoint (
        task_id     varchar(64) COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
        epoch       bigint NOT NULL,
        journal_id  varchar(255),
        next_offset bigint,
        exact_from  bigint NOT NULL DEFAULT 0,
        position    text,
        commit_us   bigint,
        commits     bigint NOT NULL DEFAULT 0
    ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4
    """,
    "headwater_table_state": """
    CREATE TABLE IF NOT EXISTS headwater_table_state (
        task_id    varchar(64) COLLATE utf8mb4_bin NOT NULL,
        mapping_id varchar(128) COLLATE utf8mb4_bin NOT NULL,
        state      varchar(16) NOT NULL,
        since      bigint NOT NULL,
        fresh      tinyint NOT NULL,
        chunks     longtext NOT NULL,
        rows_done  bigint NOT NULL,
        PRIMARY KEY (task_id, mapping_id)
    ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4
    """,
    "headwater_chunk_done": """
    CREATE TABLE IF NOT EXISTS headwater_chunk_done (
        task_id    varchar(64) COLLATE utf8mb4_bin NOT NULL,
        mapping_id varchar(128) COLLATE utf8mb4_bin NOT NULL,
        number     int NOT NULL,
        rows_done  bigint NOT NULL,
        PRIMARY KEY (task_id, mapping_id, number)
    ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4
    """,
    "headwater_dirty_row": dirty.TABLE,
    "headwater_filled": filled.TABLE,
}

_THERE = """
SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'headwater\\\\_%'
"""
_ADD = "INSERT INTO headwater_checkpoint (task_id, epoch) VALUES (%s, -1) ON DUPLICATE KEY UPDATE epoch = epoch"
_READ = "SELECT epoch, journal_id, next_offset, exact_from, position, commit_us FROM headwater_checkpoint WHERE task_id = %s"
_MOVE = """
UPDATE headwater_checkpoint
SET epoch = %s, journal_id = %s, next_offset = %s, exact_from = %s, position = %s, commit_us = %s, commits = commits + 1 WHERE task_id = %s
"""
_ADVANCE = """
UPDATE headwater_checkpoint
SET journal_id = %s, next_offset = %s, exact_from = %s, position = %s, commit_us = %s, commits = commits + 1
WHERE task_id = %s AND epoch = %s
"""
_HOLD = "SELECT 1 FROM headwater_checkpoint WHERE task_id = %s AND epoch = %s LOCK IN SHARE MODE"
_STATES = "SELECT mapping_id, state, since, fresh, chunks, rows_done FROM headwater_table_state WHERE task_id = %s"
_CHUNKS = "SELECT mapping_id, number, rows_done FROM headwater_chunk_done WHERE task_id = %s"
_SAVE_STATE = """
REPLACE INTO headwater_table_state (task_id, mapping_id, state, since, fresh, chunks, rows_done) VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_ADD_CHUNK = """
INSERT INTO headwater_chunk_done (task_id, mapping_id, number, rows_done) VALUES (%s, %s, %s, %s) ON DUPLICATE KEY UPDATE number = number
"""
_CHUNK_IS_DONE = "SELECT 1 FROM headwater_chunk_done WHERE task_id = %s AND mapping_id = %s AND number = %s"
_FORGET_CHUNKS = "DELETE FROM headwater_chunk_done WHERE task_id = %s AND mapping_id = %s"
_OF_COPIES = ("headwater_chunk_done", "headwater_table_state", "headwater_filled")


def prepared(connection: Connection) -> bool:
    """Whether our tables are there."""
    return TABLES.keys() <= _there(connection)


def prepare(connection: Connection) -> None:
    """Create our tables where they are missing; safe for several at once. Commits."""
    there = _there(connection)
    for name in TABLES.keys() - there:
        connection.run(TABLES[name])


def read(connection: Connection, task_id: str, *, lock: bool = False) -> Checkpoint | None:
    """The task's checkpoint; with `lock` no commit of the task is under way afterwards, and none can come before this transaction's end."""
    try:
        rows = connection.ask(_READ + (" FOR UPDATE" if lock else ""), [task_id])
    except Error as error:
        if number_of(error) == _NO_SUCH_TABLE:
            return None
        raise
    return Checkpoint(*rows[0]) if rows else None


def raise_epoch(connection: Connection, task_id: str, epoch: int, move_to: Checkpoint | None, recopy: bool | frozenset[str]) -> Checkpoint:
    """See `Target.raise_epoch`; in the connection's transaction, which the caller commits."""
    connection.run(_ADD, [task_id])
    old = read(connection, task_id, lock=True)
    new = taken_over(task_id, old, epoch, move_to)
    if new != old:
        connection.run(_MOVE, [new.epoch, new.journal_id, new.offset, new.exact_from, new.position, new.commit_us, task_id])
        if recopy:
            forget_states(connection, task_id, None if recopy is True else recopy)
    return new


def advance(connection: Connection, task_id: str, checkpoint: Checkpoint) -> bool:
    """Write the checkpoint; False where another epoch holds the task."""
    place = [checkpoint.journal_id, checkpoint.offset, checkpoint.exact_from, checkpoint.position, checkpoint.commit_us]
    return connection.run(_ADVANCE, [*place, task_id, checkpoint.epoch]).rows == 1


def hold(connection: Connection, task_id: str, epoch: int) -> bool:
    """Keep the task from being taken over until this transaction ends; False where another epoch holds it already."""
    return bool(connection.ask(_HOLD, [task_id, epoch]))


def states(connection: Connection, task_id: str) -> dict[str, TableState]:
    """Copy progress by mapping id."""
    marks = connection.ask(_CHUNKS, [task_id])
    return table_states(connection.ask(_STATES, [task_id]), marks)


def save_state(connection: Connection, task_id: str, state: TableState) -> None:
    """Record copy progress as it is; chunks that `copy_chunk` marked before are replaced by those of `state`."""
    values: list[Value] = [state.state.value, state.since, int(state.fresh), plan_text(state.chunks), state.rows_done]
    connection.run(_SAVE_STATE, [task_id, state.mapping_id, *values])
    connection.run(_FORGET_CHUNKS, [task_id, state.mapping_id])
    for number in sorted(state.chunks_done):
        connection.run(_ADD_CHUNK, [task_id, state.mapping_id, number, 0])


def copying(connection: Connection, task_id: str, mapping_id: str) -> TableState | None:
    """The state of a mapping that is in the middle of its copy."""
    state = states(connection, task_id).get(mapping_id)
    return state if state is not None and state.state is CopyState.COPYING else None


def mark_chunk(connection: Connection, task_id: str, mapping_id: str, number: int, rows: int) -> None:
    """Note that a chunk is in the target."""
    connection.run(_ADD_CHUNK, [task_id, mapping_id, number, rows])


def chunk_is_done(connection: Connection, task_id: str, mapping_id: str, number: int) -> bool:
    """Whether a chunk is in the target already."""
    return bool(connection.ask(_CHUNK_IS_DONE, [task_id, mapping_id, number]))


def forget_states(connection: Connection, task_id: str, mapping_ids: Iterable[str] | None = None) -> None:
    """Remove copy progress, of all mappings or of these; what was set aside of them is settled, since they are copied again."""
    wanted = None if mapping_ids is None else sorted(mapping_ids)
    dirty.reset(connection, task_id, wanted)
    for table in _OF_COPIES:
        connection.run(f"DELETE FROM {table} WHERE task_id = %s{dirty.among('mapping_id', wanted)}", [task_id, *(wanted or ())])


def forget(connection: Connection, task_id: str) -> None:
    """Remove everything about a task."""
    forget_states(connection, task_id)
    connection.run("DELETE FROM headwater_dirty_row WHERE task_id = %s", [task_id])
    connection.run("DELETE FROM headwater_checkpoint WHERE task_id = %s", [task_id])


def _there(connection: Connection) -> set[str]:
    return {name for (name,) in connection.ask(_THERE)}
