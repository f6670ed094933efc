"""The first copy: one chunk of text rows into a table, with its mark, in one transaction.

Into an empty table rows go as they come, bytes from the source's COPY straight into ours. Otherwise they are staged, and only
rows that differ are written, so that copying again costs little where little changed and readers see no gap. Where the table's
constraints or its order of keys don't allow that, the copy goes aside (`overlay.py`), and what is not in it is removed when it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable

from headwater.domain.errors import Fenced, HeadwaterError, TargetError
from headwater.domain.mapping import TableMapping
from headwater.ports.source import Chunk
from headwater.targets.postgres import checkpoints, filled
from headwater.targets.postgres.overlay import Overlay
from headwater.targets.postgres.session import Connection
from headwater.targets.postgres.shared_writer import SharedWriter
from headwater.targets.postgres.statements import Statements, bounds_of
from headwater.targets.postgres.table_writer import Tally, hash_joins
from headwater.targets.postgres.writer import COLLISIONS, Writer
from headwater.targets.records import fenced


def copy_chunk(
    connection: Connection, writer: Writer, task: tuple[str, int], mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes],
    *, fresh: bool, remove: bool,
) -> int:  # fmt: skip
    """See `TargetRun.copy_chunk`; `task` is (task id, epoch). Commits. Errors of the driver pass through."""
    task_id, _ = task
    writer.learn([mapping])
    if checkpoints.chunk_is_done(connection, task_id, mapping.mapping_id, chunk.number):
        return sum(block.count(b"\n") for block in rows)
    overlay = writer.noted(mapping)
    if overlay is None and writer.must_wait(mapping, empty=fresh):
        overlay = _begin_aside(connection, writer, task, mapping, whole=remove)
    try:
        if overlay is not None:
            count = _copy(connection, overlay.writer.statements, rows)
        else:
            count = _straight(connection, writer, mapping, chunk, rows, fresh=fresh, remove=remove)
    except (*COLLISIONS, _Stray):
        if overlay is not None or not mapping.key or mapping.beside:
            raise
        count = None
    hold(connection, task) if count is not None else connection.rollback()
    if count is None or (overlay is None and writer.noted(mapping) is not None):
        raise _again(connection, writer, task, mapping, whole=remove)
    filled.check(connection, task_id, [mapping])
    checkpoints.mark_chunk(connection, task_id, mapping.mapping_id, chunk.number, count)
    connection.commit()
    return count


def _straight(
    connection: Connection, writer: Writer, mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes], *, fresh: bool, remove: bool
) -> int:
    statements = writer.statements(mapping)
    if fresh or (remove and not mapping.key):
        if not fresh:
            connection.execute(statements.clear)
        return _copy(connection, statements, rows)
    if not mapping.key:
        return _add(connection, writer, mapping, rows)
    return _converge(connection, writer, mapping, chunk, rows, remove=remove)


def _begin_aside(connection: Connection, writer: Writer, task: tuple[str, int], mapping: TableMapping, *, whole: bool) -> Overlay:
    """Have the mapping's overlay there for all that copy, in a transaction of its own."""
    hold(connection, task)
    writer.note(mapping, copied=True, whole=whole)
    connection.commit()
    overlay = writer.noted(mapping)
    assert overlay is not None
    return overlay


def _again(connection: Connection, writer: Writer, task: tuple[str, int], mapping: TableMapping, *, whole: bool) -> HeadwaterError:
    """Let the copy of the mapping begin again, aside. The lock waits for chunks that are being marked, so that none is missed."""
    connection.rollback()
    place = checkpoints.read(connection, task[0], lock=True)
    if place is None or place.epoch != task[1]:
        return _fenced(connection, task)
    if writer.note(mapping, copied=True, whole=whole):
        checkpoints.unmark_chunks(connection, task[0], mapping.mapping_id)
    connection.commit()
    return TargetError(
        f"Rows that stand in {mapping.target} don't let those of the copy in one by one (a further unique constraint, or another order "
        "of keys than at the source). It is copied again beside the table and shown at once."
    )


def hold(connection: Connection, task: tuple[str, int]) -> None:
    """Keep the task from being taken over until the transaction ends. Raises Fenced where it has been."""
    if not checkpoints.hold(connection, *task):
        raise _fenced(connection, task)


def _fenced(connection: Connection, task: tuple[str, int]) -> Fenced:
    connection.rollback()
    return fenced(*task)


def _copy(connection: Connection, statements: Statements, rows: Iterable[bytes], staging: str = "") -> int:
    count, cursor = 0, connection.cursor()
    with cursor.copy(statements.copy(statements.columns, staging)) as copy:
        for block in rows:
            copy.write(block)
            count += block.count(b"\n")
    tally = Tally(expected=[(cursor, count, statements.table)])
    tally.written()
    return count


def _add(connection: Connection, writer: Writer, mapping: TableMapping, rows: Iterable[bytes]) -> int:
    """Without a key, and with rows that must stay although the source no longer has them: add what is missing."""
    statements = writer.statements(mapping)
    writer.table(mapping, exact=False).open_staging(statements.rows)
    count = _copy(connection, statements, rows, statements.rows)
    with hash_joins(connection):
        connection.execute(statements.insert_more)
    return count


def _converge(connection: Connection, writer: Writer, mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes], *, remove: bool) -> int:
    statements, table = writer.statements(mapping), writer.table(mapping, exact=False)
    table.open_staging(statements.rows)
    count = _copy(connection, statements, rows, statements.rows)
    if remove:
        _remove(connection, statements, chunk)
    table.converge_staged(Tally())
    if isinstance(table, SharedWriter):
        table.note_staged()
    return count


def remove_missing(connection: Connection, writer: Writer, mapping: TableMapping, chunk: Chunk, keys: Iterable[bytes]) -> None:
    """See `TargetRun.remove_missing`."""
    writer.learn([mapping])
    if writer.noted(mapping) is not None:
        return  # what the copy does not have is removed when it is shown
    statements = writer.statements(mapping)
    writer.table(mapping, exact=False).open_staging(statements.rows)
    with connection.cursor().copy(statements.copy(statements.key_names, statements.rows)) as copy:
        for block in keys:
            copy.write(block)
    _remove(connection, statements, chunk)


def _remove(connection: Connection, statements: Statements, chunk: Chunk) -> None:
    """Delete what the source no longer has in the chunk's range of keys.

    The range is the source's. Where the target orders keys differently (another collation, another type), its range would hold
    rows of other chunks, which this would delete for good. While every chunk's rows lie within its own range here too, the
    ranges don't overlap and nothing of another chunk is deleted; the first that does not is `_Stray`.
    """
    bounds = bounds_of(chunk)
    if bounds and connection.execute(statements.stray(chunk), bounds * (2 if chunk.after and chunk.upto else 1)).fetchone():
        raise _Stray
    with hash_joins(connection):
        connection.execute(statements.remove_missing(chunk), bounds)


class _Stray(Exception):
    """The target orders keys differently than the source."""
