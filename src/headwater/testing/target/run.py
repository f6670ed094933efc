"""A run of a task, and a mending of its rows: what they write is tried on a private view and becomes real with the commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from headwater.domain.errors import Fenced, RowRefused, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable, MergeStep
from headwater.domain.tables import TableName
from headwater.ports.source import Chunk
from headwater.ports.target import Checkpoint, CopyState, Look, TableState, Written
from headwater.testing.rows import parse_text_rows
from headwater.testing.target.merged import apply_merged, clear
from headwater.testing.target.places import Books, MemoryDesk, TaskPlace
from headwater.testing.target.tables import MemoryTable, missing, put, remove_missing

if TYPE_CHECKING:
    from headwater.testing.target.target import MemoryTarget


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
                written = apply_merged(merged, self._table_in_view, self._books_in_view())
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
        apply_merged(self._pending, real.__getitem__, books)
        target.tables_by_name.update(real)
        self._place().books = books
        self._place().dirty = self.dirty.records()
        self.rollback()

    def _saved(self) -> tuple[dict[TableName, MemoryTable], Books, int]:
        return {name: table.copy() for name, table in self._view.items()}, self._books_in_view().copy(), len(self._pending)

    def _restore(self, before: tuple[dict[TableName, MemoryTable], Books, int]) -> None:
        self._view, self._books, self._pending = before[0], before[1], self._pending[: before[2]]

    def _place(self) -> TaskPlace:
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
                    clear(table, mapping, books, key, values)
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
                remove_missing(table, mapping, chunk, read)
            elif not fresh and not mapping.key:
                new = missing(table, mapping, read)
            for row in new:
                put(table, mapping, row, new=fresh or not mapping.key)
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
            remove_missing(stray, mapping, chunk, kept)
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
