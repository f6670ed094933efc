"""Tasks and mappings in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping, and_, delete, or_, select, update

from headwater.domain.dirty import DirtyPolicy
from headwater.domain.mapping import ColumnPair, ColumnShape
from headwater.ports.store import Mapping, Scope, Task
from headwater.store import schema
from headwater.store.base import SqlPart, cleaned, storable
from headwater.store.errors import StoreError
from headwater.store.schema import mappings, tasks

_OWN_METHODS = ("epoch", "wished", "state", "error_kind", "message", "started_once", "notes")
"""Columns that `save_task` leaves as they are: only their own methods change them."""

_ELSEWHERE = {"scope", "operations", "dirty", "notes"}
"""Fields of a task that are stored under other names, or in another form."""


def _task(row: RowMapping) -> Task:
    values = {name: row[name] for name in Task.__dataclass_fields__ if name not in _ELSEWHERE}
    dirty = DirtyPolicy(row["dirty_rows_max"] or 0, row["dirty_per_minute_max"])
    scope = Scope(row["project_id"], row["instance_id"])
    return Task(scope=scope, operations=_operations(row["operations"]), dirty=dirty, notes=tuple(row["notes"] or ()), **values)


def _operations(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split(",")))


def _task_values(task: Task) -> dict[str, Any]:
    values = {name: getattr(task, name) for name in Task.__dataclass_fields__ if name not in _ELSEWHERE}
    return values | {
        "dirty_rows_max": task.dirty.rows_max or None,
        "dirty_per_minute_max": task.dirty.per_minute_max,
        "project_id": task.scope.project_id,
        "instance_id": task.scope.instance_id,
        "operations": ",".join(sorted(task.operations)),
        "notes": list(task.notes) or None,
    }


def _mapping(row: RowMapping) -> Mapping:
    values = {name: row[name] for name in Mapping.__dataclass_fields__}
    for name in ("source_columns", "target_columns", "pairs"):
        values[name] = tuple(values[name])
    values["columns"] = tuple(_pair(*stored) for stored in values["columns"])
    return Mapping(**values)


def _mapping_values(mapping: Mapping) -> dict[str, Any]:
    values = {name: getattr(mapping, name) for name in Mapping.__dataclass_fields__}
    for name in ("source_columns", "target_columns", "pairs"):
        values[name] = list(values[name])
    values["columns"] = [[pair.source, pair.target, pair.key, pair.shape and asdict(pair.shape)] for pair in mapping.columns]
    return values


def _pair(source: str, target: str, key: bool, shape: dict[str, Any] | None = None) -> ColumnPair:
    """A stored pair; those of earlier versions have no shape."""
    return ColumnPair(source, target, key, ColumnShape(**{**shape, "names": tuple(shape["names"])}) if shape else None)


class SqlTasks(SqlPart):
    """`TaskStore` on SQL."""

    def task(self, task_id: str, scope: Scope | None = None) -> Task | None:
        """See the port."""
        if not storable(task_id):
            return None
        query = select(tasks).where(tasks.c.id == task_id)
        if scope is not None:
            query = query.where(tasks.c.project_id == scope.project_id, tasks.c.instance_id == scope.instance_id)
        row = self._one(query)
        return None if row is None else _task(row)

    def tasks(self, scope: Scope | None = None) -> list[Task]:
        """See the port."""
        query = select(tasks).where(tasks.c.saved).order_by(tasks.c.seq)
        if scope is not None:
            query = query.where(tasks.c.project_id == scope.project_id, tasks.c.instance_id == scope.instance_id)
        return [_task(row) for row in self._all(query)]

    def save_task(self, task: Task) -> None:
        """See the port."""
        with self._transaction() as connection:
            self._put(connection, tasks, _task_values(task), keep=_OWN_METHODS)

    def wish(self, task_id: str, running: bool) -> bool:
        """See the port."""
        if running:
            again = and_(tasks.c.wished, tasks.c.state == "failed")
            change = update(tasks).where(or_(~tasks.c.wished, again)).values(wished=True, state="starting", error_kind="", message="")
        else:
            change = update(tasks).where(tasks.c.wished).values(wished=False)
        with self._transaction() as connection:
            return connection.execute(change.where(tasks.c.id == task_id)).rowcount == 1

    def record_state(self, task_id: str, state: str, error_kind: str = "", message: str = "") -> None:
        """See the port."""
        change = update(tasks).where(tasks.c.id == task_id).values(state=state, error_kind=cleaned(error_kind), message=cleaned(message))
        with self._transaction() as connection:
            connection.execute(change)

    def record_notes(self, task_id: str, notes: tuple[str, ...]) -> None:
        """See the port."""
        change = update(tasks).where(tasks.c.id == task_id).values(notes=[cleaned(note) for note in notes] or None)
        with self._transaction() as connection:
            connection.execute(change)

    def next_epoch(self, task_id: str) -> int:
        """See the port."""
        change = update(tasks).where(tasks.c.id == task_id).values(epoch=tasks.c.epoch + 1, started_once=True).returning(tasks.c.epoch)
        with self._transaction() as connection:
            epoch = connection.execute(change).scalar_one_or_none()
        if epoch is None:
            raise StoreError(f"There is no task {task_id}.", kind="store_gone")
        return int(epoch)

    def delete_task(self, task_id: str) -> None:
        """See the port."""
        with self._transaction() as connection:
            connection.execute(delete(tasks).where(tasks.c.id == task_id))

    def drop_drafts(self, before_ms: int) -> None:
        """See the port."""
        with self._transaction() as connection:
            connection.execute(delete(tasks).where(~tasks.c.saved, tasks.c.modified_ms < before_ms))

    def mappings(self, task_id: str) -> list[Mapping]:
        """See the port."""
        return [_mapping(row) for row in self._all(select(mappings).where(mappings.c.task_id == task_id).order_by(mappings.c.seq))]

    def mappings_by_task(self) -> dict[str, list[Mapping]]:
        """See the port."""
        found: dict[str, list[Mapping]] = {}
        for row in self._all(select(mappings).order_by(mappings.c.seq)):
            found.setdefault(row["task_id"], []).append(_mapping(row))
        return found

    def save_mapping(self, mapping: Mapping) -> None:
        """See the port."""
        self.save_mappings([mapping])

    def save_mappings(self, mappings: Sequence[Mapping]) -> None:
        """See the port."""
        with self._transaction() as connection:
            for mapping in mappings:
                self._put(connection, schema.mappings, _mapping_values(mapping))

    def delete_mapping(self, task_id: str, mapping_id: str) -> bool:
        """See the port."""
        if not storable(mapping_id):
            return False
        with self._transaction() as connection:
            gone = connection.execute(delete(mappings).where(mappings.c.task_id == task_id, mappings.c.id == mapping_id))
        return gone.rowcount == 1
