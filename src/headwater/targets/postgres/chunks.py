"""The first copy: one chunk of text rows into a table, with its mark, in one transaction.

Into an empty table rows go as they come, bytes from the source's COPY straight into ours. Otherwise they are staged, and only
rows that differ are written, so that copying again costs little where little changed and readers see no gap.
"""

from __future__ import annotations

from collections.abc import Iterable

from headwater.domain.errors import Fenced, TargetError
from headwater.domain.mapping import TableMapping
from headwater.ports.source import Chunk
from headwater.targets.postgres import checkpoints
from headwater.targets.postgres.session import Connection
from headwater.targets.postgres.statements import Statements, bounds_of
from headwater.targets.postgres.table_writer import Tally
from headwater.targets.postgres.writer import Writer


def copy_chunk(
    connection: Connection, writer: Writer, task: tuple[str, int], mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes],
    *, fresh: bool, remove: bool,
) -> int:  # fmt: skip
    """See `TargetRun.copy_chunk`; `task` is (task id, epoch). Commits. Errors of the driver pass through."""
    task_id, epoch = task
    writer.learn([mapping])
    if checkpoints.chunk_is_done(connection, task_id, mapping.mapping_id, chunk.number):
        return sum(block.count(b"\n") for block in rows)
    statements = writer.statements(mapping)
    if fresh or not mapping.key:
        if not fresh:
            connection.execute(statements.clear)
        count = _copy(connection, writer, mapping, rows, staged=False)
    else:
        count = _converge(connection, writer, mapping, chunk, rows, remove=remove)
    checkpoints.mark_chunk(connection, task_id, mapping.mapping_id, chunk.number, count)
    if not checkpoints.hold(connection, task_id, epoch):
        connection.rollback()
        raise Fenced(f"Task {task_id} is no longer held by epoch {epoch} at the target.")
    connection.commit()
    return count


def _copy(connection: Connection, writer: Writer, mapping: TableMapping, rows: Iterable[bytes], *, staged: bool) -> int:
    statements = writer.statements(mapping)
    count = 0
    with connection.cursor().copy(statements.copy(statements.columns, statements.rows if staged else "")) as copy:
        for block in rows:
            copy.write(block)
            count += block.count(b"\n")
    return count


def _converge(connection: Connection, writer: Writer, mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes], *, remove: bool) -> int:
    statements, table = writer.statements(mapping), writer.table(mapping, exact=False)
    table.open_staging(statements.rows)
    count = _copy(connection, writer, mapping, rows, staged=True)
    if remove:
        _remove(connection, statements, mapping, chunk)
    table.upsert_staged(Tally(), differing=True, rows=count + 1)
    return count


def remove_missing(connection: Connection, writer: Writer, mapping: TableMapping, chunk: Chunk, keys: Iterable[bytes]) -> None:
    """See `TargetRun.remove_missing`."""
    writer.learn([mapping])
    statements = writer.statements(mapping)
    writer.table(mapping, exact=False).open_staging(statements.rows)
    with connection.cursor().copy(statements.copy(statements.key_names, statements.rows)) as copy:
        for block in keys:
            copy.write(block)
    _remove(connection, statements, mapping, chunk)


def _remove(connection: Connection, statements: Statements, mapping: TableMapping, chunk: Chunk) -> None:
    """Delete what the source no longer has in the chunk's range of keys.

    The range is the source's. Where the target orders keys differently (another collation, another type), its range would hold
    rows of other chunks, which this would delete for good. While every chunk's rows lie within its own range here too, the
    ranges don't overlap and nothing of another chunk is deleted; the first that does not stops the copy.
    """
    bounds = bounds_of(chunk)
    if bounds and connection.execute(statements.stray(chunk), bounds * (2 if chunk.after and chunk.upto else 1)).fetchone():
        raise TargetError(
            f"The key of {mapping.target} is ordered differently than at the source (another collation or type), so rows that the source "
            f"no longer has can't be told chunk by chunk. Empty {mapping.target} at the target, then reset the task without a time.",
            kind="target_refused",
        )
    connection.execute("SET LOCAL enable_hashjoin = on")
    connection.execute("SET LOCAL work_mem = '64MB'")
    connection.execute(statements.remove_missing(chunk), bounds)
    connection.execute("SET LOCAL enable_hashjoin = off")
