"""How a merged batch gets into the tables: mapping by mapping, and level by level where several mappings fill one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from headwater.domain.errors import RowRefused, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable, MergeStep, Move
from headwater.domain.tables import TableName
from headwater.ports.target import Written
from headwater.testing.rows import Key, Row, order
from headwater.testing.target.places import Books
from headwater.testing.target.tables import MemoryTable, key_values, upsert


def apply_merged(merged: Sequence[MergedTable], table: Callable[[TableName], MemoryTable], books: Books) -> Written:
    """All removals of a level before all rows of it, as between mappings of one table a row may go from one to another."""
    total = Written()
    for level in range(max((len(one.steps) for one in merged), default=0)):
        now = [(one, one.steps[level]) for one in merged if level < len(one.steps)]
        shared = [(one, step) for one, step in now if one.mapping.beside]
        for one, step in shared:
            total = _sum(total, _remove_shared(table(one.mapping.target), one.mapping, step, books))
        for one, step in shared:
            total = _sum(total, _put_shared(table(one.mapping.target), one, step, books))
    for one in merged:
        for step in one.steps if not one.mapping.beside else ():
            done = _step(table(one.mapping.target), one.mapping, step)
            total = _sum(total, done)
    return total


def _sum(one: Written, other: Written) -> Written:
    return Written(one.inserted + other.inserted, one.updated + other.updated, one.deleted + other.deleted)


def _step(table: MemoryTable, mapping: TableMapping, step: MergeStep) -> Written:
    inserted = updated = deleted = 0
    if step.truncate:
        deleted += len(table.rows)
        table.rows.clear()
    for row in _rows(step.deletes):
        found = table.find(row)[: 1 if not mapping.key else None]
        if not (found or mapping.key) and mapping.operations >= {"INSERT", "UPDATE", "DELETE"}:
            raise TargetError(f"{mapping.target} lacks a row that is to go.", kind="target_changed")
        deleted += len(found)
        for key in found:
            del table.rows[key]
    for row in _rows(step.inserts):
        table.insert(row)
        inserted += 1
    for row in _rows(step.upserts):
        new = upsert(table, mapping, row)
        inserted, updated = inserted + new, updated + (not new)
    for batch in step.partials:
        for row in _rows(batch):
            updated += table.update(table.find(key_values(mapping, row)), row)
    for move in step.moves:
        updated += _move(table, mapping, move)
    return Written(inserted, updated, deleted)


def _move(table: MemoryTable, mapping: TableMapping, move: Move) -> int:
    old = {pair.target: value for pair, value in zip(mapping.key, move.old_key, strict=True)}
    new = key_values(mapping, dict(move.values))
    at_old, at_new = table.find(old), table.find(new)
    if at_new and at_old != at_new:
        for key in at_old:
            del table.rows[key]
    return table.update(at_new or at_old, dict(move.values))


def _remove_shared(table: MemoryTable, mapping: TableMapping, step: MergeStep, books: Books) -> Written:
    book, removed, cleared = books.keys[mapping.mapping_id], 0, 0
    names = [pair.target for pair in mapping.key]
    gone = sorted(book, key=order) if step.truncate else []
    for key in [*gone, *(tuple(row[name] for name in names) for row in _rows(step.deletes))]:
        book.discard(key)
        for place in table.find(dict(zip(names, key, strict=True))):
            last = clear(table, mapping, books, place, key)
            removed, cleared = removed + last, cleared + (not last)
    return Written(0, cleared, removed)


def _put_shared(table: MemoryTable, one: MergedTable, step: MergeStep, books: Books) -> Written:
    mapping, book = one.mapping, books.keys[one.mapping.mapping_id]
    inserted = updated = 0
    moved = [_move_shared(table, mapping, move, books) for move in step.moves]
    for row in [*(row for row in moved if row), *_rows(step.inserts), *_rows(step.upserts)]:
        key = tuple(row[pair.target] for pair in mapping.key)
        if one.exact and _contradicts(table, mapping, row, key, books):
            raise RowRefused(f"Two source rows fill the same columns of one row of {mapping.target} differently.")
        book.add(key)
        new = upsert(table, mapping, row)
        inserted, updated = inserted + new, updated + (not new)
    for batch in step.partials:
        for row in _rows(batch):
            updated += table.update(table.find(key_values(mapping, row)), row)
    return Written(inserted, updated)


def _contradicts(table: MemoryTable, mapping: TableMapping, row: Row, key: Key, books: Books) -> bool:
    stands = [table.rows[place] for place in table.find(key_values(mapping, row))]
    return any(stands[0][name] != row[name] for name in mapping.values if books.elsewhere(mapping, key, name)) if stands else False


def _move_shared(table: MemoryTable, mapping: TableMapping, move: Move, books: Books) -> Row | None:
    """The whole row under its new key, taken from where it stands: there already, or under the old key, which it leaves."""
    book, names = books.keys[mapping.mapping_id], [pair.target for pair in mapping.key]
    new = tuple(move.values[name] for name in names)
    stood = new if new in book else move.old_key if move.old_key in book else None
    if stood is None:
        return None
    (place,) = table.find(dict(zip(names, stood, strict=True)))
    row = {pair.target: table.rows[place][pair.target] for pair in mapping.columns} | dict(move.values)
    book.discard(move.old_key)
    for left in table.find(dict(zip(names, move.old_key, strict=True))):
        clear(table, mapping, books, left, move.old_key)
    return row


def clear(table: MemoryTable, mapping: TableMapping, books: Books, place: Key, key: Key) -> bool:
    """The mapping has no row with this key any more: True where nobody beside it has one, and the row at `place` is removed."""
    if not books.elsewhere(mapping, key):
        del table.rows[place]
        return True
    table.rows[place].update({name: None for name in mapping.values if not books.elsewhere(mapping, key, name)})
    return False


def _rows(batch: pa.RecordBatch | None) -> list[Row]:
    return [] if batch is None else list(batch.to_pylist())
