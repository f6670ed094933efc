"""A real target under the model: its adapter behind the seams of the fault script, and eyes of our own on its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

import psycopg
import pymysql

from headwater.domain.mapping import TableMapping
from headwater.domain.tables import TableName, TableSchema
from headwater.ports.dirty import DirtyRecord
from headwater.ports.target import Checkpoint, CopyState, TableState, Target, TargetRun
from headwater.testing import FaultScript
from headwater.testing.rows import Key, Row, sorted_rows
from headwater.testing.target.target import CommitHook
from tests.databases import AnyDatabase
from tests.model.guarded import Guarded
from tests.model.model_world import STRICT, Woken
from tests.model.words import words_of

SEAMS = {name: f"target.{name}" for name in ("test", "look", "raise_epoch", "forget")}
RUN_SEAMS = {name: f"target.{name}" for name in ("write", "copy_chunk", "save_table_state")}
RECORD = [field.name for field in fields(DirtyRecord)]
NO_SUCH_TABLE = 1146


class _RealTarget(Guarded):
    """See `real_target`."""

    def __init__(self, database: AnyDatabase, adapter: Target, schemas: Sequence[TableSchema], faults: FaultScript) -> None:
        super().__init__(adapter, faults, SEAMS)
        self.database, self.words = database, words_of(database)
        self.schemas = {schema.table: schema for schema in schemas}
        self.on_commit: list[CommitHook] = []
        self.runs: list[Woken] = []
        self.eyes = database.session(autocommit=True)
        tables = [statement for schema in schemas for statement in self.words.create(schema, schema.table == STRICT)]
        self.names = sorted({schema.table.schema for schema in schemas})
        for statement in [*self.words.clear(self.names), *tables]:
            self.eyes.execute(statement)
        for task_id in self.names:
            adapter.forget(task_id)

    def open(self, task_id: str, epoch: int, mappings: Sequence[TableMapping] = ()) -> TargetRun:
        """See `Target.open`. A second run under the same epoch is kept for later."""
        with self._faults.around("target.open"):
            run = _RealRun(self, self._inner.open(task_id, epoch, mappings), task_id)
        for older in [woken for woken in self.runs if woken.task_id == task_id]:
            self.refused(older)
        self.runs.append(Woken(task_id, epoch, self._inner.open(task_id, epoch, mappings)))
        return cast(TargetRun, run)

    def rows(self, table: TableName) -> list[Row]:
        """See `ModelTarget`."""
        schema = self.schemas[table]
        names = [c.name for c in schema.columns]
        listed = ", ".join(self.words.quoted(name) for name in names)
        found = self.eyes.execute(f"SELECT {listed} FROM {self.words.name(table)}")
        rows: list[Row] = [dict(zip(names, [None if v is None else v.encode() for v in values], strict=True)) for values in found]
        return sorted_rows(schema, {tuple(row[name] for name in schema.key) or (b"%d" % i,): row for i, row in enumerate(rows)})

    def place(self, task_id: str) -> Checkpoint | None:
        """See `ModelTarget`."""
        found = self._records("checkpoint", ("epoch", "journal_id", "next_offset", "exact_from", "position", "commit_us"), task_id)
        return Checkpoint(*found[0]) if found else None

    def states(self, task_id: str) -> dict[str, TableState]:
        """See `ModelTarget`."""
        found = self._records("table_state", ("mapping_id", "state", "since"), task_id)
        return {name: TableState(name, CopyState(state), since) for name, state, since in found}

    def held(self, task_id: str) -> list[DirtyRecord]:
        """See `ModelTarget`."""
        found = (DirtyRecord(**dict(zip(RECORD, row, strict=True))) for row in self._records("dirty_row", RECORD, task_id))
        return sorted((record for record in found if record.sealed_row is not None), key=lambda record: (record.first_us, record.id))

    def _records(self, name: str, columns: Sequence[str], task_id: str) -> list[tuple[Any, ...]]:
        """What a table that is kept at the target says of a task; nothing where it is not there yet."""
        table, listed = TableName(*self.database.record(name)), ", ".join(self.words.quoted(column) for column in columns)
        try:
            return self.eyes.execute(f"SELECT {listed} FROM {self.words.name(table)} WHERE task_id = %s", [task_id])
        except psycopg.errors.UndefinedTable:
            return []
        except pymysql.err.ProgrammingError as error:
            if error.args[0] != NO_SUCH_TABLE:
                raise
            return []

    def spoil(self, table: TableName, key: Key, row: Row) -> None:
        """See `ModelTarget`."""
        if key:
            self.eyes.execute(*self.words.delete(table, dict(zip(self.schemas[table].key, key, strict=True))))
        self.eyes.execute(*self.words.insert(table, row))

    def refused(self, woken: Woken) -> None:
        """See `ModelTarget`: once is enough, as each holds a connection."""
        self.runs.remove(woken)
        woken.run.close()

    def close(self) -> None:
        """Let go of all connections, and remove what was made."""
        for woken in list(self.runs):
            self.refused(woken)
        for statement in self.words.drop(self.names):
            self.eyes.execute(statement)
        self.eyes.close()


class _RealRun(Guarded):
    def __init__(self, target: _RealTarget, run: TargetRun, task_id: str) -> None:
        super().__init__(run, target._faults, RUN_SEAMS)
        self._target, self._task_id = target, task_id

    def commit(self, checkpoint: Checkpoint) -> None:
        """See `TargetRun.commit`."""
        with self._faults.around("target.commit"):
            self._inner.commit(checkpoint)
            for hook in self._target.on_commit:
                hook(self._task_id, checkpoint)


def real_target(database: AnyDatabase, adapter: Target, schemas: Sequence[TableSchema], faults: FaultScript) -> Any:
    """A `ModelTarget` over an adapter that writes to the server of `database`. The tables are made anew there; `close` it afterwards."""
    return _RealTarget(database, adapter, schemas, faults)
