"""A target in memory with real transactions, epochs that fence, and answers that can get lost.

A run's writes are tried on a private view and become real at the commit, under one lock, where its epoch is checked: as in
a database, a run with an old epoch may write as much as it likes and can't commit. Keys are unique, and inserting one twice is
refused, so that an engine that wrongly believes a row to be absent is found out.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pyarrow as pa

from headwater.domain.errors import Fenced, RowRefused, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable, MergeStep, Move
from headwater.domain.tables import TableName, TableSchema
from headwater.ports.dirty import DirtyRecord
from headwater.ports.source import Chunk, Finding
from headwater.ports.target import Checkpoint, CopyState, Look, TableState, Written
from headwater.testing.compare import MemoryComparison
from headwater.testing.faults import FaultScript
from headwater.testing.rows import Key, Row, order, parse_text_rows, sorted_rows


@dataclass
class MemoryTable:
    """One table: rows by their key (without a key: by an invented number)."""

    schema: TableSchema
    rows: dict[Key, Row] = field(default_factory=dict)
    invented: int = 0
    refuses: Callable[[Row], bool] = lambda _: False
    """A constraint of the table's: rows for which this is true are refused."""

    def copy(self) -> MemoryTable:
        """An independent copy."""
        return MemoryTable(self.schema, {key: dict(row) for key, row in self.rows.items()}, self.invented, self.refuses)

    def key_of(self, row: Row) -> Key:
        """The key of a full row."""
        if not self.schema.key:
            self.invented += 1
            return (str(self.invented).encode(),)
        return tuple(row[name] for name in self.schema.key)

    def find(self, wanted: Row) -> list[Key]:
        """Keys of the rows that have these values."""
        if set(wanted) == set(self.schema.key):
            key = tuple(wanted[name] for name in self.schema.key)
            return [key] if key in self.rows else []
        return [key for key, row in self.rows.items() if all(row.get(name) == value for name, value in wanted.items())]

    def insert(self, row: Row) -> None:
        """Add a row; columns that it lacks are null."""
        full = {c.name: row.get(c.name) for c in self.schema.columns}
        key = self.key_of(full)
        if key in self.rows:
            raise RowRefused(f"A row of {self.schema.table} with this key exists already.")
        if self.refuses(full):
            raise RowRefused(f"A row of {self.schema.table} breaks a constraint.")
        self.rows[key] = full

    def update(self, keys: Iterable[Key], values: Row) -> int:
        """Set values in these rows, moving them where their key changes; returns how many."""
        moved = [{**self.rows.pop(key), **values} for key in keys]
        for row in moved:
            self.insert(row)
        return len(moved)


@dataclass
class Books:
    """By mapping id: the keys of its source rows, where others are beside it; and which of these are complete."""

    keys: dict[str, set[Key]] = field(default_factory=dict)
    complete: frozenset[str] = frozenset()

    def copy(self) -> Books:
        """An independent copy."""
        return Books({name: set(keys) for name, keys in self.keys.items()}, self.complete)

    def elsewhere(self, mapping: TableMapping, key: Key, column: str = "") -> bool:
        """Whether a mapping beside this one (that fills `column`, where one is given) has a row with the key."""
        others = mapping.owners(column) if column else [other.mapping_id for other in mapping.beside]
        return any(key in self.keys.get(other, ()) for other in others)


@dataclass
class _TaskPlace:
    checkpoint: Checkpoint
    states: dict[str, TableState] = field(default_factory=dict)
    dirty: dict[str, DirtyRecord] = field(default_factory=dict)
    books: Books = field(default_factory=Books)


CommitHook = Callable[[str, Checkpoint], None]


class MemoryTarget:
    """`Target` in memory. `on_commit` functions are called with task id and checkpoint after each commit of a run."""

    def __init__(self, schemas: Iterable[TableSchema] = (), faults: FaultScript | None = None) -> None:
        self.tables_by_name: dict[TableName, MemoryTable] = {s.table: MemoryTable(s) for s in schemas}
        self.places: dict[str, _TaskPlace] = {}
        self.faults = faults or FaultScript()
        self.reachable = True
        self.on_commit: list[CommitHook] = []
        self.lock = threading.RLock()

    def rows(self, table: TableName) -> list[Row]:
        """The committed rows of a table, by key; without one, by their values."""
        with self.lock:
            return sorted_rows(self.tables_by_name[table].schema, self.tables_by_name[table].rows)

    def place(self, task_id: str) -> Checkpoint | None:
        """The checkpoint as it stands, for tests."""
        return self.places[task_id].checkpoint if task_id in self.places else None

    def test(self) -> None:
        """See `Target.test`."""
        with self.faults.around("target.test"):
            self._reach()

    def tables(self) -> list[TableName]:
        """See `Target.tables`."""
        self._reach()
        return sorted(self.tables_by_name)

    def describe(self, tables: Sequence[TableName]) -> dict[TableName, TableSchema]:
        """See `Target.describe`."""
        self._reach()
        return {name: self.tables_by_name[name].schema for name in tables if name in self.tables_by_name}

    def check(self, mappings: Sequence[TableMapping]) -> list[Finding]:
        """See `Target.check`: missing tables only."""
        self._reach()
        missing = [m.target for m in mappings if m.target not in self.tables_by_name]
        return [Finding(f"There is no table {name} at the target.", "Create it.") for name in missing]

    def look(self, task_id: str) -> tuple[Checkpoint, dict[str, TableState]]:
        """See `Target.look`."""
        with self.faults.around("target.look"), self.lock:
            self._reach()
            place = self.places.get(task_id)
            return (place.checkpoint, dict(place.states)) if place else (Checkpoint(0), {})

    def raise_epoch(self, task_id: str, epoch: int, move_to: Checkpoint | None = None, recopy: bool | frozenset[str] = False) -> Checkpoint:
        """See `Target.raise_epoch`."""
        with self.faults.around("target.raise_epoch"), self.lock:
            self._reach()
            place = self.places.setdefault(task_id, _TaskPlace(Checkpoint(0)))
            old = place.checkpoint
            if old.epoch > epoch:
                raise Fenced(f"Epoch {old.epoch} holds task {task_id}; {epoch} is older.")
            if old.epoch < epoch:
                place.checkpoint = replace(old, epoch=epoch) if move_to is None else old.moved_back(move_to, epoch)
                forgotten = set(place.states) if recopy is True else set(recopy or ())
                place.states = {k: v for k, v in place.states.items() if k not in forgotten}
                again = [r.id for r in place.dirty.values() if recopy is True or r.mapping_id in forgotten]
                _settle(place.dirty, again, "reset", "", 0)
            return place.checkpoint

    def open(self, task_id: str, epoch: int, mappings: Sequence[TableMapping] = ()) -> MemoryTargetRun:  # noqa: ARG002
        """See `Target.open`."""
        with self.faults.around("target.open"), self.lock:
            self._reach()
            run = MemoryTargetRun(self, task_id, epoch)
            run.check_epoch()
            return run

    def mend(self, task_id: str) -> MemoryMending:
        """See `Target.mend`."""
        with self.lock:
            self._reach()
            return MemoryMending(self, task_id)

    def forget(self, task_id: str) -> None:
        """See `Target.forget`."""
        with self.faults.around("target.forget"), self.lock:
            self._reach()
            self.places.pop(task_id, None)

    def compare(self, timeout_s: float) -> MemoryComparison:  # noqa: ARG002 - nothing takes time here
        """See `Target.compare`."""
        self._reach()

        def look(table: TableName) -> tuple[TableSchema, list[Row]] | None:
            with self.lock:
                self.faults.point("target.compare")
                self._reach()
                found = self.tables_by_name.get(table)
                return None if found is None else (found.schema, [dict(row) for row in found.rows.values()])

        return MemoryComparison(look)

    def _reach(self) -> None:
        if not self.reachable:
            raise TargetError("The target can't be reached.")


class _Writing:
    """`Writing` over a `MemoryTarget`: what is written is tried on a private view, and done again for real at the commit."""

    def __init__(self, target: MemoryTarget, task_id: str) -> None:
        self._target = target
        self._task_id = task_id
        self._view: dict[TableName, MemoryTable] = {}
        self._pending: list[MergedTable] = []
        self._books: Books | None = None
        self._depth = 0
        self.dirty = MemoryDesk(lambda: target.places.get(task_id))

    def write(self, merged: Sequence[MergedTable]) -> Written:
        """See `Writing.write`."""
        with self._target.faults.around("target.write"), self._target.lock:
            self._reach()
            before = self._saved()
            try:
                written = _apply(merged, self._table_in_view, self._books_in_view())
            except RowRefused:
                self._restore(before) if self._depth else self.rollback()
                raise
            self._pending += merged
            return written

    def stands(self, mapping: TableMapping, key: Sequence[bytes | None]) -> bool:
        """See `Writing.stands`."""
        with self._target.lock:
            self._reach()
            wanted = {pair.target: value for pair, value in zip(mapping.key, key, strict=True)}
            return bool(self._table_in_view(mapping.target).find(wanted))

    def check(self) -> None:
        """See `Writing.check`: constraints never wait here."""

    @contextmanager
    def tentatively(self, *, keep: bool = True) -> Iterator[None]:
        """See `Writing.tentatively`."""
        before = self._saved()
        self._depth += 1
        try:
            yield
        except RowRefused:
            self._restore(before)
            raise
        finally:
            self._depth -= 1
        if not keep:
            self._restore(before)

    def rollback(self) -> None:
        """See `Writing.rollback`."""
        self._view, self._pending, self._books = {}, [], None
        self.dirty.pending.clear()

    def close(self) -> None:
        """See `Writing.close`."""
        self.rollback()

    def _commit(self) -> None:
        """Make it real; the caller holds the lock."""
        target = self._target
        real = {m.mapping.target: target.tables_by_name[m.mapping.target].copy() for m in self._pending}
        books = self._place().books.copy()
        _apply(self._pending, real.__getitem__, books)
        target.tables_by_name.update(real)
        self._place().books = books
        self._place().dirty = self.dirty.records()
        self.rollback()

    def _saved(self) -> tuple[dict[TableName, MemoryTable], Books, int]:
        return {name: table.copy() for name, table in self._view.items()}, self._books_in_view().copy(), len(self._pending)

    def _restore(self, before: tuple[dict[TableName, MemoryTable], Books, int]) -> None:
        self._view, self._books, self._pending = before[0], before[1], self._pending[: before[2]]

    def _place(self) -> _TaskPlace:
        place = self._target.places.get(self._task_id)
        if place is None:
            raise Fenced(f"Task {self._task_id} was forgotten here.")
        return place

    def _reach(self) -> None:
        if not self._target.reachable:
            self.rollback()
            raise TargetError("The connection to the target was lost.")

    def _books_in_view(self) -> Books:
        if self._books is None:
            self._books = self._place().books.copy()
        return self._books

    def _table_in_view(self, name: TableName) -> MemoryTable:
        if name not in self._view:
            self._view[name] = self._target.tables_by_name[name].copy()
        return self._view[name]


class MemoryDesk:
    """`DirtyDesk` over a `MemoryTarget`; what is done becomes real with the commit of its holder. Nobody waits for a record here."""

    def __init__(self, place: Callable[[], _TaskPlace | None]) -> None:
        self._place = place
        self.pending: list[Callable[[dict[str, DirtyRecord]], None]] = []

    def records(self) -> dict[str, DirtyRecord]:
        """The records with what is pending."""
        place = self._place()
        found = dict(place.dirty) if place else {}
        for act in self.pending:
            act(found)
        return found

    def held(self) -> list[DirtyRecord]:
        """See `DirtyDesk.held`."""
        return [replace(r, sealed_row=None) for r in self.records().values() if r.sealed_row is not None]

    def page(self, state: str, limit: int, offset: int) -> tuple[int, list[DirtyRecord]]:
        """See `DirtyDesk.page`."""
        found = sorted((r for r in self.records().values() if state in ("", r.state)), key=lambda r: (-r.last_us, r.id))
        return len(found), [replace(r, sealed_row=None) for r in found[offset : offset + limit]]

    def take(self, ids: Collection[str]) -> list[DirtyRecord]:
        """See `DirtyDesk.take`."""
        return [r for r in self.records().values() if r.id in ids and r.sealed_row is not None]

    def known(self, ids: Collection[str]) -> dict[str, DirtyRecord]:
        """See `DirtyDesk.known`."""
        return {r.id: replace(r, sealed_row=None) for r in self.records().values() if r.id in ids}

    def put(self, records: Sequence[DirtyRecord]) -> None:
        """See `DirtyDesk.put`."""
        self.pending.append(lambda held: held.update({r.id: _again(held.get(r.id), r) for r in records}))

    def settle(self, ids: Collection[str], state: str, by: str, now_us: int) -> None:
        """See `DirtyDesk.settle`."""
        self.pending.append(lambda held: _settle(held, ids, state, by, now_us))


class MemoryMending(_Writing):
    """`Mending` over a `MemoryTarget`."""

    def commit(self) -> None:
        """See `Mending.commit`."""
        with self._target.lock:
            self._reach()
            self._commit()


class MemoryTargetRun(_Writing):
    """`TargetRun` over a `MemoryTarget`."""

    def __init__(self, target: MemoryTarget, task_id: str, epoch: int) -> None:
        super().__init__(target, task_id)
        self._epoch = epoch
        self._marks: list[tuple[str, Chunk, int]] = []

    def check_epoch(self) -> None:
        """Raise `Fenced` where another epoch holds the task."""
        place = self._target.places.get(self._task_id)
        held = place.checkpoint.epoch if place else None
        if held != self._epoch:
            raise Fenced(f"Epoch {held} holds task {self._task_id}, not {self._epoch}.")

    def checkpoint(self) -> Checkpoint:
        """See `TargetRun.checkpoint`."""
        with self._target.lock:
            self._reach()
            return self._place().checkpoint

    def table_states(self) -> dict[str, TableState]:
        """See `TargetRun.table_states`."""
        with self._target.lock:
            self._reach()
            return dict(self._place().states)

    def save_table_state(self, state: TableState) -> None:
        """See `TargetRun.save_table_state`."""
        with self._target.faults.around("target.save_table_state"), self._target.lock:
            self._reach()
            self.check_epoch()
            self._place().states[state.mapping_id] = state

    def tracked(self, mappings: Sequence[TableMapping]) -> frozenset[str]:
        """See `TargetRun.tracked`."""
        with self._target.lock:
            self._reach()
            self.check_epoch()
            books, kept = self._place().books, {m.mapping_id for m in mappings if m.beside}
            books.keys = {name: keys for name, keys in books.keys.items() if name in kept}
            books.complete &= kept
            return books.complete

    def start_copy(self, mapping: TableMapping) -> None:
        """See `TargetRun.start_copy`."""
        with self._target.lock:
            self._reach()
            self.check_epoch()
            books = self._place().books
            books.keys[mapping.mapping_id] = set()
            books.complete -= {mapping.mapping_id}

    def finish_copy(self, mapping: TableMapping) -> None:
        """See `TargetRun.finish_copy`."""
        with self._target.lock:
            self._reach()
            self.check_epoch()
            books, table = self._place().books, self._target.tables_by_name[mapping.target]
            for key, row in list(table.rows.items()):
                values = tuple(row[p.target] for p in mapping.key)
                if values not in books.keys[mapping.mapping_id]:
                    _clear(table, mapping, books, key, values)
            books.complete |= {mapping.mapping_id}

    def is_empty(self, table: TableName) -> bool:
        """See `TargetRun.is_empty`."""
        with self._target.lock:
            self._reach()
            return not self._target.tables_by_name[table].rows

    def copy_chunk(self, mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes], fresh: bool, remove: bool) -> int:
        """See `TargetRun.copy_chunk`."""
        read = [{p.target: v for p, v in zip(mapping.columns, row, strict=True)} for row in parse_text_rows(rows)]
        with self._target.faults.around("target.copy_chunk"), self._target.lock:
            self._reach()
            self.check_epoch()
            table = self._target.tables_by_name[mapping.target].copy()
            new = read
            if not fresh and remove:
                _remove_missing(table, mapping, chunk, read)
            elif not fresh and not mapping.key:
                new = _missing(table, mapping, read)
            for row in new:
                _put(table, mapping, row, new=fresh or not mapping.key)
            if mapping.beside:
                self._place().books.keys[mapping.mapping_id] |= {tuple(row[p.target] for p in mapping.key) for row in read}
            self._mark_done(mapping.mapping_id, chunk, len(read))
            self._target.tables_by_name[mapping.target] = table
            return len(read)

    def remove_missing(self, mapping: TableMapping, chunk: Chunk, keys: Iterable[bytes]) -> None:
        """See `TargetRun.remove_missing`."""
        with self._target.lock:
            self._reach()
            kept = [dict(zip((p.target for p in mapping.key), row, strict=True)) for row in parse_text_rows(keys)]
            stray = self._table_in_view(mapping.target).copy()
            _remove_missing(stray, mapping, chunk, kept)
            gone = [row for key, row in self._table_in_view(mapping.target).rows.items() if key not in stray.rows]
        if gone:
            columns = [pa.array([row[p.target] for row in gone], pa.binary()) for p in mapping.key]
            deletes = pa.record_batch(columns, names=[p.target for p in mapping.key])
            self.write([MergedTable(mapping, (MergeStep(deletes=deletes),))])

    def mark_chunk(self, mapping: TableMapping, chunk: Chunk, rows: int) -> None:
        """See `TargetRun.mark_chunk`."""
        self._marks.append((mapping.mapping_id, chunk, rows))

    def commit(self, checkpoint: Checkpoint) -> None:
        """See `TargetRun.commit`."""
        target = self._target
        with target.faults.around("target.commit"), target.lock:
            self._reach()
            self.check_epoch()
            if checkpoint.epoch != self._epoch:
                raise TargetError(f"The checkpoint's epoch {checkpoint.epoch} is not the run's {self._epoch}.", kind="internal")
            marks = self._marks
            self._commit()
            for mark in marks:
                self._mark_done(*mark)
            self._place().checkpoint = checkpoint
            for hook in target.on_commit:
                hook(self._task_id, checkpoint)

    def rollback(self) -> None:
        """See `TargetRun.rollback`."""
        super().rollback()
        self._marks = []

    def look(self) -> Look:
        """See `TargetRun.look`: always at work."""
        self._reach()
        return Look("working")

    def cut(self) -> None:
        """See `TargetRun.cut`: no call waits here."""

    def _mark_done(self, mapping_id: str, chunk: Chunk, rows: int) -> None:
        states = self._place().states
        state = states.get(mapping_id, TableState(mapping_id, CopyState.COPYING))
        states[mapping_id] = replace(state, chunks_done=state.chunks_done | {chunk.number}, rows_done=state.rows_done + rows)


def _again(before: DirtyRecord | None, record: DirtyRecord) -> DirtyRecord:
    return record if before is None else replace(record, first_us=before.first_us, times=before.times + 1)


def _settle(held: dict[str, DirtyRecord], ids: Collection[str], state: str, by: str, now_us: int) -> None:
    for record in [held[i] for i in ids if i in held]:
        ended = replace(record, state=state, settled_by=by, settled_us=now_us) if record.state == "open" else record
        if record.sealed_row is not None:
            held[record.id] = ended if state == "discarded" else replace(ended, sealed_key=b"", sealed_row=None, row_bytes=0)


def _key_values(mapping: TableMapping, row: Row) -> Row:
    return {pair.target: row[pair.target] for pair in mapping.key}


def _upsert(table: MemoryTable, mapping: TableMapping, row: Row) -> bool:
    found = table.find(_key_values(mapping, row)) if mapping.key else []
    if found:
        table.update(found, row)
        return False
    table.insert(row)
    return True


def _put(table: MemoryTable, mapping: TableMapping, row: Row, new: bool) -> None:
    if new:
        table.insert(row)
    else:
        _upsert(table, mapping, row)


def _missing(table: MemoryTable, mapping: TableMapping, rows: Sequence[Row]) -> list[Row]:
    """Of equal rows as many as the table has fewer."""
    names = [pair.target for pair in mapping.columns]
    held = Counter(tuple(row[name] for name in names) for row in table.rows.values())
    missing = []
    for row in rows:
        values = tuple(row[name] for name in names)
        if held[values]:
            held[values] -= 1
        else:
            missing.append(row)
    return missing


def _remove_missing(table: MemoryTable, mapping: TableMapping, chunk: Chunk, rows: Sequence[Row]) -> None:
    kept = {tuple(row[p.target] for p in mapping.key) for row in rows} if mapping.key else set()
    for key, row in list(table.rows.items()):
        values = tuple(row[p.target] for p in mapping.key)
        if values not in kept and _in_chunk(values, chunk):
            del table.rows[key]


def _in_chunk(values: Key, chunk: Chunk) -> bool:
    place = order(values)
    return (chunk.after is None or order(chunk.after) < place) and (chunk.upto is None or place <= order(chunk.upto))


def _clear(table: MemoryTable, mapping: TableMapping, books: Books, place: Key, key: Key) -> bool:
    """The mapping has no row with this key any more: True where nobody beside it has one, and the row at `place` is removed."""
    if not books.elsewhere(mapping, key):
        del table.rows[place]
        return True
    table.rows[place].update({name: None for name in mapping.values if not books.elsewhere(mapping, key, name)})
    return False


def _apply(merged: Sequence[MergedTable], table: Callable[[TableName], MemoryTable], books: Books) -> Written:
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


def _remove_shared(table: MemoryTable, mapping: TableMapping, step: MergeStep, books: Books) -> Written:
    book, removed, cleared = books.keys[mapping.mapping_id], 0, 0
    names = [pair.target for pair in mapping.key]
    gone = sorted(book, key=order) if step.truncate else []
    for key in [*gone, *(tuple(row[name] for name in names) for row in _rows(step.deletes))]:
        book.discard(key)
        for place in table.find(dict(zip(names, key, strict=True))):
            last = _clear(table, mapping, books, place, key)
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
        new = _upsert(table, mapping, row)
        inserted, updated = inserted + new, updated + (not new)
    for batch in step.partials:
        for row in _rows(batch):
            updated += table.update(table.find(_key_values(mapping, row)), row)
    return Written(inserted, updated)


def _contradicts(table: MemoryTable, mapping: TableMapping, row: Row, key: Key, books: Books) -> bool:
    stands = [table.rows[place] for place in table.find(_key_values(mapping, row))]
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
        _clear(table, mapping, books, left, move.old_key)
    return row


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
        new = _upsert(table, mapping, row)
        inserted, updated = inserted + new, updated + (not new)
    for batch in step.partials:
        for row in _rows(batch):
            updated += table.update(table.find(_key_values(mapping, row)), row)
    for move in step.moves:
        updated += _move(table, mapping, move)
    return Written(inserted, updated, deleted)


def _move(table: MemoryTable, mapping: TableMapping, move: Move) -> int:
    old = {pair.target: value for pair, value in zip(mapping.key, move.old_key, strict=True)}
    new = _key_values(mapping, dict(move.values))
    at_old, at_new = table.find(old), table.find(new)
    if at_new and at_old != at_new:
        for key in at_old:
            del table.rows[key]
    return table.update(at_new or at_old, dict(move.values))


def _rows(batch: pa.RecordBatch | None) -> list[Row]:
    return [] if batch is None else list(batch.to_pylist())
