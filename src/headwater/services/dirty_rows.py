"""Set-aside rows, for people: looking at them, taking them out, writing them again, and discarding them.

They live at the target of their task, so all of this happens there, in transactions of its own beside whatever run the task has. A retry
takes each record before it writes its row, as apply does: a row is written again only while its record stands, in the
transaction that ends it, so that a newer change of the same key wins whoever comes first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from headwater.domain.dirty import DirtyRow, sealed_at
from headwater.domain.errors import HeadwaterError, RowRefused
from headwater.domain.isolate import Part, assemble, isolate, parts
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable
from headwater.ports.dirty import DirtyRecord, Seal
from headwater.ports.store import Scope, Store, Task
from headwater.ports.target import Mending
from headwater.services import bounded
from headwater.services.data_sources import Connections
from headwater.services.errors import invalid, refusal, unknown_task
from headwater.services.pages import Page

T = TypeVar("T")

IDS_MAX = 500
"""Rows that one request may name, and that one transaction at the target mends."""

EXPORT_BYTES_MAX = 8 << 20
"""A page with rows in it ends before it becomes larger than this, but for its first row."""

TIMEOUT_S = 40.0
"""How long a request waits for the target; shorter than what clients wait."""

STATES = ("open", "discarded", "resolved", "retried", "reset", "removed")


@dataclass(frozen=True)
class ShownRow:
    """A record, with its row by target column where that was asked for and is still kept: text, or None for NULL."""

    record: DirtyRecord
    row: dict[str, str | None] | None = None


@dataclass(frozen=True)
class Mended:
    """What became of the rows of a retry or discard, by id. `left` ones were settled before, or are unknown; `refused` with reasons."""

    done: tuple[str, ...]
    left: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()


class DirtyRowsAside:
    """The use cases. All raise ServiceError: FDI.3180 (404) for a task that the caller can't see, FDI.3033 for a field, FDI.3016 where
    the target can't be reached, or a run holds the rows for too long."""

    def __init__(self, store: Store, connections: Connections, seal: Seal, now_us: Callable[[], int]) -> None:
        self._store, self._connections, self._seal, self._now_us = store, connections, seal, now_us

    def find(self, scope: Scope, task_id: str, state: str, limit: int, offset: int, *, with_rows: bool = False) -> Page[ShownRow]:
        """Records in a state (`""`: all), newest first; `offset` counts from 0. With rows a page may be shorter than asked for."""
        if state and state not in STATES:
            raise invalid("state", f"give one of {', '.join(STATES)}, or nothing.")
        size = max(1, min(limit, IDS_MAX))

        def look(mending: Mending) -> Page[ShownRow]:
            total, records = mending.dirty.page(state, size, max(offset, 0))
            if not with_rows:
                return Page(total, tuple(ShownRow(record) for record in records))
            kept = {r.id: r for r in mending.dirty.take([r.id for r in _within(records)])}
            return Page(total, tuple(ShownRow(r, self._row(task_id, kept.get(r.id))) for r in _within(records)))

        return self._at_target(self._task(scope, task_id), look, Page(0, ()))

    def retry(self, scope: Scope, task_id: str, ids: Sequence[str], by: str) -> Mended:
        """Write these rows again; those that are taken are settled, the others stay as they are, with today's reason."""
        task, wanted = self._task(scope, task_id), _checked(ids)
        mappings = {m.incarnation: m.table_mapping(task.operations) for m in self._store.mappings(task_id)}

        def mend(mending: Mending) -> Mended:
            taken = {record.id: record for record in mending.dirty.take(wanted)}
            known = {i: record for i, record in taken.items() if record.mapping_id in mappings}
            refused = self._written(mending, task_id, known, mappings)
            done = [i for i in known if i not in refused]
            mending.dirty.settle(done, "retried", by, self._now_us())
            mending.dirty.put([replace(known[i], reason=why, last_us=self._now_us()) for i, why in refused.items()])
            mending.commit()
            return Mended(tuple(done), tuple(i for i in wanted if i not in known), tuple(refused.items()))

        return self._at_target(task, mend, Mended((), tuple(wanted)))

    def discard(self, scope: Scope, task_id: str, ids: Sequence[str], by: str) -> Mended:
        """Give these rows up: they count no more. The target keeps what it has at their keys until the source changes them again."""
        task, wanted = self._task(scope, task_id), _checked(ids)

        def give_up(mending: Mending) -> Mended:
            done = [record.id for record in mending.dirty.take(wanted) if record.state == "open"]
            mending.dirty.settle(done, "discarded", by, self._now_us())
            mending.commit()
            return Mended(tuple(done), tuple(i for i in wanted if i not in done))

        return self._at_target(task, give_up, Mended((), tuple(wanted)))

    def _written(
        self, mending: Mending, task_id: str, records: dict[str, DirtyRecord], mappings: dict[str, TableMapping]
    ) -> dict[str, str]:
        """Write what is taken; the others' ids with reasons."""
        by_part: dict[int, str] = {}
        waiting: list[Part] = []
        for record in records.values():
            mapping = mappings[record.mapping_id]
            (part,) = parts([MergedTable(mapping, (self._opened(task_id, record).step(mapping),))])
            by_part[id(part)] = record.id
            waiting.append(part)

        def attempt(part: Part) -> HeadwaterError | None:
            try:
                with mending.tentatively():
                    mending.write(assemble(part))
                    mending.check()
            except RowRefused as refusal_:
                return refusal_
            return None

        if not waiting or attempt(tuple(piece for part in waiting for piece in part)) is None:
            return {}
        return {by_part[id(one.part)]: str(one.reason) for one in isolate(waiting, attempt, len(waiting))}

    def _opened(self, task_id: str, record: DirtyRecord) -> DirtyRow:
        assert record.sealed_row is not None
        return DirtyRow.read(self._seal.open(record.sealed_row, sealed_at(task_id, record.id, "row")))

    def _row(self, task_id: str, record: DirtyRecord | None) -> dict[str, str | None] | None:
        if record is None:
            return None
        values: dict[str, Any] = json.loads(self._opened(task_id, record).text())["values"]
        return values

    def _task(self, scope: Scope, task_id: str) -> Task:
        task = self._store.task(task_id, scope)
        if task is None or not task.saved:
            raise unknown_task()
        return task

    def _at_target(self, task: Task, act: Callable[[Mending], T], never_started: T) -> T:
        data_source = self._store.data_source(task.target_id) if task.target_id else None
        if data_source is None or not task.started_once:
            return never_started
        target = self._connections.target(data_source)

        def call() -> T:
            with closing(target.mend(task.id)) as mending:
                return act(mending)

        try:
            return bounded.within(TIMEOUT_S, "set-aside rows", call)
        except HeadwaterError as error:
            raise refusal("FDI.3016", f"Nothing is known to have changed: {error}") from error


def _checked(ids: Sequence[str]) -> list[str]:
    wanted = list(dict.fromkeys(ids))
    if not 1 <= len(wanted) <= IDS_MAX:
        raise invalid("ids", f"it names {len(wanted)} rows; 1 to {IDS_MAX} are allowed.")
    return wanted


def _within(records: Sequence[DirtyRecord]) -> list[DirtyRecord]:
    """As many of them as fit into one answer."""
    fitting: list[DirtyRecord] = []
    size = 0
    for record in records:
        size += record.row_bytes
        if fitting and size > EXPORT_BYTES_MAX:
            break
        fitting.append(record)
    return fitting
