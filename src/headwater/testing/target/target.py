"""`Target` over tables in memory: what is seen and done from outside of a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from headwater.domain.errors import Fenced, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.outline import Made, Outline
from headwater.domain.tables import TableName, TableSchema
from headwater.ports.source import Finding
from headwater.ports.target import Checkpoint, TableState
from headwater.testing.compare import MemoryComparison
from headwater.testing.faults import FaultScript
from headwater.testing.rows import Row, sorted_rows
from headwater.testing.target.places import TaskPlace, settle
from headwater.testing.target.run import MemoryMending, MemoryTargetRun
from headwater.testing.target.tables import MemoryTable

CommitHook = Callable[[str, Checkpoint], None]


class MemoryTarget:
    """`Target` in memory. `on_commit` functions are called with task id and checkpoint after each commit of a run."""

    def __init__(self, schemas: Iterable[TableSchema] = (), faults: FaultScript | None = None) -> None:
        self.tables_by_name: dict[TableName, MemoryTable] = {s.table: MemoryTable(s) for s in schemas}
        self.places: dict[str, TaskPlace] = {}
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

    def create(self, wanted: Sequence[tuple[Outline, TableName]], dry_run: bool) -> list[Made]:
        """See `Target.create`. Tables of a schema `forbidden` are refused."""
        self._reach()
        made = []
        for outline, table in wanted:
            problem = f"The target refused creating {table}." if table.schema == "forbidden" else ""
            made.append(Made((f"CREATE TABLE {table}",), problem=problem))
            if not dry_run and not problem:
                schema = TableSchema(table, tuple(one.column for one in outline.columns))
                self.tables_by_name[table] = MemoryTable(schema)
        return made

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
            place = self.places.setdefault(task_id, TaskPlace(Checkpoint(0)))
            old = place.checkpoint
            if old.epoch > epoch:
                raise Fenced(f"Epoch {old.epoch} holds task {task_id}; {epoch} is older.")
            if old.epoch < epoch:
                place.checkpoint = replace(old, epoch=epoch) if move_to is None else old.moved_back(move_to, epoch)
                forgotten = set(place.states) if recopy is True else set(recopy or ())
                place.states = {k: v for k, v in place.states.items() if k not in forgotten}
                again = [r.id for r in place.dirty.values() if recopy is True or r.mapping_id in forgotten]
                settle(place.dirty, again, "reset", "", 0)
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
