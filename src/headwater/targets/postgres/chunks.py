"""The first copy: one chunk of text rows into a table, with its mark, in one transaction.

Into an empty table rows go as they come, bytes from the source's COPY straight into ours. Otherwise they are staged, and only
rows that differ are written, so that copying again costs little where little changed and readers see no gap.
"""

from __future__ import annotations

from collections.abc import Iterable

from headwater.domain.errors import Fenced
from headwater.domain.mapping import TableMapping
from headwater.ports.source import Chunk
from headwater.targets.postgres import checkpoints
from headwater.targets.postgres.session import Connection
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
    with connection.cursor().copy(statements.copy(statements.columns, statements.rows if staged else None)) as copy:
        for block in rows:
            copy.write(block)
            count += block.count(b"\n")
    return count


def _converge(connection: Connection, writer: Writer, mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes], *, remove: bool) -> int:
    statements, table = writer.statements(mapping), writer.table(mapping, exact=False)
    table.open_staging(statements.rows, statements.stage_rows)
    count = _copy(connection, writer, mapping, rows, staged=True)
    if remove:
        connection.execute(statements.index_staged)
        bounds = [*(chunk.after or ()), *(chunk.upto or ())]
        connection.execute(statements.remove_missing(chunk.after is not None, chunk.upto is not None), bounds)
    table.upsert_staged(Tally(), differing=True, rows=count + 1)
    return count
