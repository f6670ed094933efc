"""The first copy: one chunk of text rows into a table, with its mark, in one transaction.

Into an empty table rows go as they come, bytes from the source straight into `LOAD DATA LOCAL`. Otherwise they are staged, and only
rows that differ are written, so that copying again costs little where little changed and readers see no gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from headwater.domain.errors import TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.text_rows import read_text_rows
from headwater.ports.source import Chunk
from headwater.targets.mysql import checkpoints
from headwater.targets.mysql.session import Connection
from headwater.targets.mysql.staging import fill, load
from headwater.targets.mysql.statements import Statements
from headwater.targets.mysql.table_writer import Staged, Tally
from headwater.targets.mysql.whole import insert_more
from headwater.targets.mysql.writer import Writer
from headwater.targets.records import fenced

_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_MEANT = {b"f": b"\f", b"v": b"\v"}
"""Escapes that COPY writes and LOAD DATA takes for letters."""


def copy_chunk(
    connection: Connection, writer: Writer, task: tuple[str, int], mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes],
    *, fresh: bool, remove: bool,
) -> int:  # fmt: skip
    """See `TargetRun.copy_chunk`; `task` is (task id, epoch). Commits. Errors of the driver pass through."""
    task_id, _ = task
    writer.learn([mapping])
    if checkpoints.chunk_is_done(connection, task_id, mapping.mapping_id, chunk.number):
        return sum(block.count(b"\n") for block in rows)
    connection.commit()  # what was read above is not to hold the tables' definitions
    count = _copy(connection, writer, mapping, chunk, rows, fresh=fresh, remove=remove)
    hold(connection, task)
    checkpoints.mark_chunk(connection, task_id, mapping.mapping_id, chunk.number, count)
    connection.commit()
    return count


def hold(connection: Connection, task: tuple[str, int]) -> None:
    """Keep the task from being taken over until the transaction ends. Raises Fenced where it has been."""
    if not checkpoints.hold(connection, *task):
        connection.rollback()
        raise fenced(*task)


def _copy(
    connection: Connection, writer: Writer, mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes], *, fresh: bool, remove: bool
) -> int:
    sql = writer.statements(mapping)
    if (fresh and not sql.upserts_only) or (remove and not mapping.key):
        if not fresh:
            connection.run(sql.clear)
        return _load(connection, sql, sql.table, sql.columns, rows)
    staging = writer.stages.open(sql, "copied", sql.columns)
    count = _load(connection, sql, staging, sql.columns, rows)
    writer.stages.holds(staging, count)
    if not mapping.key:
        insert_more(connection, sql, staging)
        return count
    if remove:
        _remove(connection, writer, mapping, staging, chunk)
    writer.table(mapping).write_staged_rows(Staged(staging, sql.columns, whole=True), Tally())
    return count


def remove_missing(connection: Connection, writer: Writer, mapping: TableMapping, chunk: Chunk, keys: Iterable[bytes]) -> None:
    """See `TargetRun.remove_missing`."""
    writer.learn([mapping])
    sql = writer.statements(mapping)
    staging = writer.stages.open(sql, "copied_keys", sql.key_names)
    writer.stages.holds(staging, _load(connection, sql, staging, sql.key_names, keys))
    _remove(connection, writer, mapping, staging, chunk)


def _remove(connection: Connection, writer: Writer, mapping: TableMapping, staging: str, chunk: Chunk) -> None:
    """Delete what the source no longer has in the chunk's range of keys; where the target orders keys otherwise, note the chunk's keys.

    Raises TargetError where a key of a type that is ordered alike everywhere lies outside of its range."""
    sql, aside = writer.statements(mapping), writer.table(mapping).aside
    bounded = chunk.after is not None or chunk.upto is not None
    if bounded and not sql.ordered:
        aside.see(staging)
        return
    if bounded and connection.ask(sql.stray(staging, chunk.after, chunk.upto)):
        raise TargetError(f"A chunk of {sql.mapping.source} has keys that {sql.name} puts elsewhere. Please report this.", kind="internal")
    connection.run(sql.remove_missing(staging, chunk.after, chunk.upto))
    aside.remove_missing(lambda table: sql.remove_missing(staging, chunk.after, chunk.upto, table))


def _load(connection: Connection, sql: Statements, into: str, columns: tuple[str, ...], rows: Iterable[bytes]) -> int:
    if connection.loads:
        return load(connection, sql, into, columns, _readable(rows))
    count = 0
    for block in rows:
        batch = read_text_rows(block, columns)
        count += batch.num_rows
        if batch.num_rows:
            fill(connection, sql, into, batch)
    return count


def _readable(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Text rows with the escapes that LOAD DATA knows."""
    for block in blocks:
        yield _ESCAPED.sub(_as_meant, block) if b"\\f" in block or b"\\v" in block else block


def _as_meant(found: re.Match[bytes]) -> bytes:
    return _MEANT.get(found[1], found[0])
