"""What we keep at the target, in the schema `headwater`: where each task stands, under which epoch, and how far its copies are.

An administrator may create it beforehand (`SCHEMA_STATEMENTS`, docs/how-to) and grant SELECT, INSERT, UPDATE, DELETE on its
tables; otherwise the first task does, which needs CREATE on the database once. `chunk_done` has a row per chunk, so that
chunks that end at the same time don't wait for one another.
"""

from __future__ import annotations

from collections.abc import Sequence

from headwater.ports.target import Checkpoint, CopyState, TableState
from headwater.targets.postgres import dirty, filled
from headwater.targets.postgres.session import Connection
from headwater.targets.records import plan_text, table_states, taken_over

SCHEMA_STATEMENTS = (
    "CREATE SCHEMA IF NOT EXISTS headwater",
    """
    CREATE TABLE IF NOT EXISTS headwater.checkpoint (
        task_id     text PRIMARY KEY,
        epoch       bigint NOT NULL,
        journal_id  text,
        next_offset bigint,
        exact_from  bigint NOT NULL DEFAULT 0,
        position    text,
        commit_us   bigint,
        updated_at  timestamptz NOT NULL DEFAULT now()
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE IF NOT EXISTS headwater.table_state (
        task_id    text NOT NULL,
        mapping_id text NOT NULL,
        state      text NOT NULL,
        since      bigint NOT NULL,
        fresh      boolean NOT NULL,
        chunks     jsonb NOT NULL,
        rows_done  bigint NOT NULL,
        PRIMARY KEY (task_id, mapping_id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS headwater.chunk_done (
        task_id    text NOT NULL,
        mapping_id text NOT NULL,
        number     integer NOT NULL,
        rows_done  bigint NOT NULL,
        PRIMARY KEY (task_id, mapping_id, number)
    )
    """,
    dirty.TABLE,
    """
    CREATE TABLE IF NOT EXISTS headwater.overlay (
        task_id    text NOT NULL,
        mapping_id text NOT NULL,
        number     integer NOT NULL GENERATED ALWAYS AS IDENTITY,
        copied     boolean NOT NULL,
        whole      boolean NOT NULL,
        PRIMARY KEY (task_id, mapping_id)
    )
    """,
    filled.TABLE,
)

_THERE = """
SELECT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'headwater' AND c.relname = 'overlay'
)
"""
_SCHEMA_THERE = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'headwater')"
MAY_CREATE = """
SELECT CASE WHEN EXISTS (SELECT FROM pg_namespace WHERE nspname = 'headwater') THEN has_schema_privilege('headwater', 'CREATE')
            ELSE has_database_privilege(current_database(), 'CREATE') END
"""
"""True where the user may make what is missing of our schema."""
MAY_USE = """
SELECT has_schema_privilege('headwater', 'USAGE') AND (
    SELECT bool_and(has_table_privilege(c.oid, p)) FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p
    WHERE c.relnamespace = 'headwater'::regnamespace
      AND c.relname IN ('checkpoint', 'table_state', 'chunk_done', 'dirty_row', 'overlay', 'filled')
)
"""
"""True where the user may do with our tables what we need."""
_LOCK_CREATION = "SELECT pg_advisory_xact_lock(4931127604391)"
_ADD = "INSERT INTO headwater.checkpoint (task_id, epoch) VALUES (%s, -1) ON CONFLICT (task_id) DO NOTHING"
_READ = "SELECT epoch, journal_id, next_offset, exact_from, position, commit_us FROM headwater.checkpoint WHERE task_id = %s"
_MOVE = """
UPDATE headwater.checkpoint
SET epoch = %s, journal_id = %s, next_offset = %s, exact_from = %s, position = %s, commit_us = %s, updated_at = now()
WHERE task_id = %s
"""
_ADVANCE = f"""
UPDATE headwater.checkpoint
SET journal_id = %s, next_offset = %s, exact_from = %s, position = %s, commit_us = %s, updated_at = now()
WHERE task_id = %s AND epoch = %s AND NOT EXISTS ({filled.OTHERS})
"""  # noqa: S608  glued from a constant
_HOLD = "SELECT FROM headwater.checkpoint WHERE task_id = %s AND epoch = %s FOR SHARE"
_STATES = "SELECT mapping_id, state, since, fresh, chunks, rows_done FROM headwater.table_state WHERE task_id = %s"
_CHUNKS = "SELECT mapping_id, number, rows_done FROM headwater.chunk_done WHERE task_id = %s"
_SAVE_STATE = """
INSERT INTO headwater.table_state (task_id, mapping_id, state, since, fresh, chunks, rows_done) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (task_id, mapping_id) DO UPDATE SET state = EXCLUDED.state, since = EXCLUDED.since, fresh = EXCLUDED.fresh,
    chunks = EXCLUDED.chunks, rows_done = EXCLUDED.rows_done
"""
_SET_CHUNKS = "INSERT INTO headwater.chunk_done (task_id, mapping_id, number, rows_done) SELECT %s, %s, unnest(%s::int[]), 0"
_ADD_CHUNK = """
INSERT INTO headwater.chunk_done (task_id, mapping_id, number, rows_done) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_CHUNK_IS_DONE = "SELECT FROM headwater.chunk_done WHERE task_id = %s AND mapping_id = %s AND number = %s"
_FORGET_CHUNKS = "DELETE FROM headwater.chunk_done WHERE task_id = %s AND mapping_id = %s"
_OF_COPIES = ("overlay", "chunk_done", "table_state", "filled")
_FORGET = "DELETE FROM headwater.{table} WHERE task_id = %s AND (mapping_id = ANY (%s::text[]) OR %s)"


def prepared(connection: Connection) -> bool:
    """Whether our tables are there."""
    return _holds(connection, _THERE)


def prepare(connection: Connection) -> None:
    """Create our schema and tables where they are missing; safe for several at once."""
    if prepared(connection) and dirty.there(connection) and filled.there(connection):
        return
    connection.execute(_LOCK_CREATION)
    skipped = 1 if _holds(connection, _SCHEMA_THERE) else 0  # asking for it, even IF NOT EXISTS, takes a right that may be missing
    for statement in SCHEMA_STATEMENTS[skipped:]:
        connection.execute(statement.encode())


def read(connection: Connection, task_id: str, *, lock: bool = False) -> Checkpoint | None:
    """The task's checkpoint; with `lock` no commit of the task is under way afterwards, and none can come before this transaction's end."""
    row = connection.execute(_READ + (" FOR UPDATE" if lock else ""), [task_id]).fetchone()
    return None if row is None else Checkpoint(row[0], row[1], row[2], row[3], row[4], row[5])


def raise_epoch(connection: Connection, task_id: str, epoch: int, move_to: Checkpoint | None, recopy: bool | frozenset[str]) -> Checkpoint:
    """See `Target.raise_epoch`; in the connection's transaction, which the caller commits."""
    connection.execute(_ADD, [task_id])
    old = read(connection, task_id, lock=True)
    new = taken_over(task_id, old, epoch, move_to)
    if new != old:
        connection.execute(_MOVE, [new.epoch, new.journal_id, new.offset, new.exact_from, new.position, new.commit_us, task_id])
        if recopy:
            forget_states(connection, task_id, None if recopy is True else recopy)
    return new


def advance(connection: Connection, task_id: str, checkpoint: Checkpoint, tables: Sequence[Sequence[object]] = ((), ())) -> bool:
    """Write the checkpoint; False where another epoch holds the task, or one of the tables (`filled.places`) is another one."""
    place = [checkpoint.journal_id, checkpoint.offset, checkpoint.exact_from, checkpoint.position, checkpoint.commit_us]
    return connection.execute(_ADVANCE, [*place, task_id, checkpoint.epoch, *map(list, tables)]).rowcount == 1


def hold(connection: Connection, task_id: str, epoch: int) -> bool:
    """Keep the task from being taken over until this transaction ends; False where another epoch holds it already."""
    return connection.execute(_HOLD, [task_id, epoch]).rowcount == 1


def states(connection: Connection, task_id: str) -> dict[str, TableState]:
    """Copy progress by mapping id."""
    marks = connection.execute(_CHUNKS, [task_id]).fetchall()
    return table_states(connection.execute(_STATES, [task_id]).fetchall(), marks)


def save_state(connection: Connection, task_id: str, state: TableState) -> None:
    """Record copy progress as it is; chunks that `copy_chunk` marked before are replaced by those of `state`."""
    values = [state.mapping_id, state.state.value, state.since, state.fresh, plan_text(state.chunks), state.rows_done]
    connection.execute(_SAVE_STATE, [task_id, *values])
    connection.execute(_FORGET_CHUNKS, [task_id, state.mapping_id])
    if state.state is CopyState.PENDING:
        _forget(connection, "overlay", task_id, frozenset([state.mapping_id]))
    connection.execute(_SET_CHUNKS, [task_id, state.mapping_id, sorted(state.chunks_done)])


def unmark_chunks(connection: Connection, task_id: str, mapping_id: str) -> None:
    """The copy of a mapping begins again, with the same chunks."""
    connection.execute(_FORGET_CHUNKS, [task_id, mapping_id])


def mark_chunk(connection: Connection, task_id: str, mapping_id: str, number: int, rows: int) -> None:
    """Note that a chunk is in the target."""
    connection.execute(_ADD_CHUNK, [task_id, mapping_id, number, rows])


def chunk_is_done(connection: Connection, task_id: str, mapping_id: str, number: int) -> bool:
    """Whether a chunk is in the target already."""
    return connection.execute(_CHUNK_IS_DONE, [task_id, mapping_id, number]).rowcount == 1


def forget_states(connection: Connection, task_id: str, mapping_ids: frozenset[str] | None = None) -> None:
    """Remove copy progress, of all mappings or of these; what was set aside of them is settled, since they are copied again."""
    dirty.reset(connection, task_id, mapping_ids)
    for table in _OF_COPIES:
        _forget(connection, table, task_id, mapping_ids)


def forget(connection: Connection, task_id: str) -> None:
    """Remove everything about a task."""
    forget_states(connection, task_id)
    dirty.forget(connection, task_id)
    connection.execute("DELETE FROM headwater.checkpoint WHERE task_id = %s", [task_id])


def _forget(connection: Connection, table: str, task_id: str, mapping_ids: frozenset[str] | None) -> None:
    connection.execute(_FORGET.format(table=table).encode(), [task_id, sorted(mapping_ids or ()), mapping_ids is None])


def _holds(connection: Connection, question: str) -> bool:
    row = connection.execute(question.encode()).fetchone()
    return row is not None and bool(row[0])
