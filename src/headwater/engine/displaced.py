"""Key changes that can't be repeated by key, found where a batch is not exact; their tables are copied again.

A key change whose new row lacks unchanged values (TOAST) moves the row that stands at the target. Where the target is ahead of the
history (after a copy, in a replay) the row stands at its later key already, and the move leaves it there. But if that later key was
used before in the same stretch (two rows swapped keys, say), repeating the earlier use deletes or overwrites the very row that holds the
values, and no log has them. So such a table is copied again instead (decision 0013).

What was used is looked up in the journal, from the table's copy on: the question comes up rarely, so nothing is kept for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.changes import ChangeBatch, Op
from headwater.domain.errors import HeadwaterError, SchemaMismatch
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable
from headwater.domain.shapes import places
from headwater.ports.journal import JournalReader

Key = tuple[bytes | None, ...]


class CopyAgain(HeadwaterError):
    """These mappings have to be copied again before their tables can be followed. Never leaves the engine."""

    def __init__(self, mapping_ids: Sequence[str], reason: str) -> None:
        super().__init__(reason)
        self.mapping_ids = tuple(mapping_ids)


def repeatable(reader: JournalReader, merged: MergedTable, since: int, upto: int) -> bool:
    """Whether the moves of a table, merged from a stretch that ends at offset `upto`, do no harm to a target that is ahead.

    The mapping is followed from offset `since` on.
    """
    keys = {_new_key(merged.mapping, move.values) for step in merged.steps for move in step.moves}
    if not keys:
        return True
    used: set[Key] = set()
    try:
        for op, key, lacking in _uses(reader, merged.mapping, keys, since, upto):
            if op == Op.TRUNCATE:
                if "DELETE" in merged.mapping.operations:
                    return True  # the target is emptied by it, so behind it nothing is ahead
                continue
            if lacking and op == Op.KEY_NEW and key in used:
                return False
            used.add(key)
    except SchemaMismatch:
        return False
    return True


def _new_key(mapping: TableMapping, values: dict[str, bytes | None]) -> Key:
    return tuple(values[pair.target] for pair in mapping.key)


def _uses(reader: JournalReader, mapping: TableMapping, keys: set[Key], since: int, upto: int) -> Iterator[tuple[int, Key, bool]]:
    """The changes of these keys, and truncations, in log order: operation, key, whether some mapped value was not sent."""
    first = max(since, reader.window().first_offset)
    for placed in reader.read(first, frozenset({str(mapping.source)})):
        if placed.first_offset > upto:
            return
        for change in placed.frame.batches:
            if change.schema.table == mapping.source:
                yield from _uses_in(change, mapping, keys)


def _uses_in(change: ChangeBatch, mapping: TableMapping, keys: set[Key]) -> Iterator[tuple[int, Key, bool]]:
    at = places(mapping, change.schema)
    key_at = [place for place, pair in zip(at, mapping.columns, strict=True) if pair.key]
    op = change.data.column(2)
    wanted = pc.is_in(change.value(key_at[0]), pa.array(sorted({key[0] or b"" for key in keys}), pa.binary()))
    rows = pc.indices_nonzero(pc.or_(wanted, pc.equal(op, pa.scalar(int(Op.TRUNCATE), pa.uint8()))))
    columns = [change.value(place).take(rows).to_pylist() for place in key_at]
    marks = [mark.take(rows).to_pylist() for place, mark in change.unchanged.items() if place in at]
    for i, one in enumerate(op.take(rows).to_pylist()):
        key = tuple(column[i] for column in columns)
        if one == Op.TRUNCATE or key in keys:
            yield one, key, any(mark[i] for mark in marks)
