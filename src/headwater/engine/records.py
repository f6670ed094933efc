"""The run records: one per incarnation of a task, opened at its start, with counters kept at intervals, closed with its outcome."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from headwater.engine.control import Clock
from headwater.ports.runtime import ApplyReport, Exit
from headwater.ports.store import Run, Store

COUNTERS_S = 10.0
"""How often the counters of a run are saved while it goes on."""

COUNTED = ("rows_read", "rows_inserted", "rows_updated", "rows_deleted", "rows_copied", "rows_dirty", "transactions", "offset", "state")
"""Fields of a report that a run record keeps."""


class Records:
    """Writes run records."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._runs: dict[str, Run] = {}
        self._saved: dict[str, tuple[float, dict[str, Any]]] = {}  # by task: when, and what

    def adopt(self) -> None:
        """Close what an earlier service left open when it was killed: its workers died with it."""
        for task in self._store.tasks():
            for run in self._store.runs(task.id, 1):
                if run.outcome == "running":
                    ended = replace(run, ended_ms=self._now_ms(), outcome="crashed", message="The service ended without a word.")
                    self._store.save_run(ended)

    def began(self, task_id: str, epoch: int, notes: tuple[str, ...] = ()) -> None:
        """A run has been started; `notes` are its task's."""
        self._runs[task_id] = Run(uuid.uuid4().hex, task_id, epoch, self._now_ms(), None, "running", "", {}, notes)
        self._store.save_run(self._runs[task_id])

    def counters(self, task_id: str, report: ApplyReport, now: float) -> None:
        """Keep the newest counters; `now` in monotonic seconds."""
        run = self._runs.get(task_id)
        if run is None:
            return
        counters = _counted(report)
        self._runs[task_id] = replace(run, counters=counters)
        at, saved = self._saved.get(task_id, (float("-inf"), {}))
        if counters != saved and now >= at + COUNTERS_S:
            self._saved[task_id] = now, counters
            self._store.save_run(self._runs[task_id])

    def ended(self, task_id: str, ended: Exit) -> None:
        """The run is over. A task that was deleted meanwhile has no records any more."""
        run = self._runs.pop(task_id, None)
        self._saved.pop(task_id, None)
        if run is not None and self._store.task(task_id) is not None:
            self._store.save_run(replace(run, ended_ms=self._now_ms(), outcome=ended.kind, message=ended.message))

    def _now_ms(self) -> int:
        return self._clock.now_us() // 1000


def _counted(report: ApplyReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in COUNTED}
