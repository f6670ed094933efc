"""What is to be seen of tasks: states, progress, lag, the window that a reset can reach, and the log of runs and resets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from headwater.domain.errors import HeadwaterError
from headwater.domain.lifecycle import RUNNING
from headwater.ports.journal import JournalReader, OpenJournal
from headwater.ports.runtime import ApplyReport, Live
from headwater.ports.store import Mapping, Reset, Run, Scope, Store, Task, Verification
from headwater.ports.target import Checkpoint, TableState
from headwater.services import bounded
from headwater.services.data_sources import Connections
from headwater.services.errors import invalid, unknown_task
from headwater.services.pages import Page, page
from headwater.services.resets import task_reach
from headwater.services.run_logs import LogStep, RunLog, run_log, stage_reached
from headwater.services.tasks import TaskView, task_view

log = logging.getLogger(__name__)

LOOK_TIMEOUT_S = 3.0
"""How long showing one task waits for its target to tell since when its tables have a history."""

RUNS_SHOWN = 1000
"""Runs that the store keeps per task, and that a log can show."""

__all__ = [
    "Counts", "Details", "LogStep", "MonitorRow", "Monitoring", "Progress", "RunLog", "TableProgress", "WindowView",
]  # fmt: skip


@dataclass(frozen=True)
class TableProgress:
    """Copy progress of one mapping. `state` pending, copying or copied."""

    mapping_id: str
    source_table: str
    target_table: str
    state: str
    rows_done: int
    rows_expected: int
    rows_per_s: float


@dataclass(frozen=True)
class WindowView:
    """The moments that a reset can reach, in ms since 1970 (rounded inward), and the size of the history behind it."""

    earliest_ms: int | None
    latest_ms: int | None
    transactions: int
    bytes: int


@dataclass(frozen=True)
class Progress:
    """What a task is doing now. None: not known (not running, or no word yet). Counters run from the run's start.

    `capture_state` is `starting`, `capturing`, or empty where no capture runs for its source."""

    lag_ms: int | None
    lag_transactions: int | None
    rows_per_s: float
    rows_read: int
    rows_inserted: int
    rows_updated: int
    rows_deleted: int
    rows_copied: int
    rows_dirty: int
    dirty_open: int | None
    transactions: int
    offset: int | None
    journal_end: int | None
    position: str | None
    commit_ms: int | None
    capture_state: str
    capture_message: str
    capture_rows_per_s: float
    capture_behind_bytes: int
    tables: tuple[TableProgress, ...]


@dataclass(frozen=True)
class Details:
    """All that `task show` shows."""

    task: TaskView
    progress: Progress
    window: WindowView | None  # None: no history yet
    last_reset: Reset | None
    last_verification: Verification | None = None


@dataclass(frozen=True)
class MonitorRow:
    """One task in the monitor list. `position` is ADAPTER, READER or WRITER: how far the latest run got.

    `earliest_ms` to `latest_ms` is the window of its source's journal by the capture's last word; None where no capture runs."""

    task: TaskView
    last_execute_ms: int | None
    position: str
    progress: Progress
    earliest_ms: int | None = None
    latest_ms: int | None = None


@dataclass(frozen=True)
class Counts:
    """Tasks by what they are doing; combined tasks never complete, and never started ones count nowhere."""

    running: int
    abnormal: int
    terminated: int
    completed: int


class Monitoring:
    """Read-only; all raise ServiceError FDI.3180 (404) for a task that the caller can't see.

    With `connections` the window of one task's details is exactly what a reset of it can reach (its target tells since when each
    table has a history); without, or when the target is out of reach, it is the window of the journal."""

    def __init__(
        self, store: Store, live: Live, open_journal: OpenJournal, now_ms: Callable[[], int], connections: Connections | None = None
    ) -> None:
        self._store = store
        self._live = live
        self._open_journal = open_journal
        self._now_ms = now_ms
        self._connections = connections

    def details(self, scope: Scope, task_id: str) -> Details:
        """Everything about one task."""
        task = self._known(scope, task_id)
        resets = self._store.resets(task_id)
        place = self._place(task)
        progress = self._progress(task)
        if place is not None and progress.offset is None:
            progress = replace(self._resting(task, progress, *place), dirty_open=self._dirty_open(task))
        window = self._window(task, place[1] if place else {})
        verified = self._store.verifications(task_id, limit=1)
        last = resets[0] if resets else None
        return Details(self._views(scope, [task])[0], progress, window, last, verified[0] if verified else None)

    def monitors(self, scope: Scope, limit: int = 10, offset: int = 1, name: str = "", execute_status: str = "") -> Page[MonitorRow]:
        """Tasks, newest first. `offset` is the first row's number counted from 1 (0 is 1), `limit` is cut at 999.

        `name` matches a part in the same case, as the contract says."""
        tasks = {task.id: task for task in self._store.tasks(scope)}
        views = [view for view in self._views(scope, list(tasks.values())) if name in view.name]
        found = page([v for v in views[::-1] if execute_status in ("", v.execute_status)], limit, offset - 1)
        return Page(found.total, tuple(self._row(view, tasks[view.id]) for view in found.items))

    def logs(
        self, scope: Scope, task_id: str, limit: int = 10, offset: int = 1, begin_ms: int | None = None, end_ms: int | None = None
    ) -> Page[RunLog]:
        """Runs that began within the times given, newest first; paging as in `monitors`."""
        task = self._known(scope, task_id)
        runs = self._store.runs(task_id, RUNS_SHOWN)
        began = [at for at, run in enumerate(runs) if _within(run.started_ms, begin_ms, end_ms)]
        found = page(began, limit, offset - 1)
        return Page(found.total, tuple(self._logs(task, runs, found.items)))

    def log(self, scope: Scope, task_id: str, run_id: str) -> RunLog:
        """One run. Raises FDI.3033 (404) `[tracking_id]` where there is none."""
        task = self._known(scope, task_id)
        runs = self._store.runs(task_id, RUNS_SHOWN)
        at = next((at for at, run in enumerate(runs) if run.id == run_id), None)
        if at is None:
            raise invalid("tracking_id", "there is no such run of this task (any more).", status=404)
        return self._logs(task, runs, [at])[0]

    def resets(self, scope: Scope, task_id: str) -> list[Reset]:
        """All resets on record, newest first."""
        self._known(scope, task_id)
        return self._store.resets(task_id)

    def count(self, scope: Scope) -> Counts:
        """Statistics of the combined tasks."""
        states = [task.state for task in self._store.tasks(scope)]
        return Counts(
            running=sum(state in RUNNING for state in states),
            abnormal=states.count("failed"),
            terminated=states.count("stopped"),
            completed=0,
        )

    def _known(self, scope: Scope, task_id: str) -> Task:
        task = self._store.task(task_id, scope)
        if task is None or not task.saved:
            raise unknown_task()
        return task

    def _views(self, scope: Scope, tasks: list[Task]) -> list[TaskView]:
        apps = self._store.app_names(scope)
        sources = {one.id: one for one in self._store.data_sources(scope)} if tasks else {}
        return [task_view(task, sources, apps) for task in tasks]

    def _logs(self, task: Task, runs: list[Run], wanted: Sequence[int]) -> list[RunLog]:
        """Logs of the runs at these places of the list, newest first."""
        resets, now, before = self._store.resets(task.id), self._now_ms(), [*runs[1:], None]
        return [run_log(runs[at], task.state, resets, now, before[at]) for at in wanted]

    def _row(self, view: TaskView, task: Task) -> MonitorRow:
        runs = self._store.runs(view.id, 1)
        capture = self._live.capture(task.source_id) if task.source_id else None
        earliest = -(-capture.earliest_us // 1000) if capture and capture.earliest_us is not None else None
        latest = capture.latest_us // 1000 if capture and capture.latest_us is not None else None
        return MonitorRow(view, runs[0].started_ms if runs else None, _stage(task, runs), self._progress(task), earliest, latest)

    def _progress(self, task: Task) -> Progress:
        report = self._live.apply(task.id)
        capture = self._live.capture(task.source_id) if task.source_id else None
        return Progress(
            lag_ms=report.lag_ms if report else None,
            lag_transactions=report.lag_transactions if report else None,
            rows_per_s=report.rows_per_s if report else 0.0,
            rows_read=report.rows_read if report else 0,
            rows_inserted=report.rows_inserted if report else 0,
            rows_updated=report.rows_updated if report else 0,
            rows_deleted=report.rows_deleted if report else 0,
            rows_copied=report.rows_copied if report else 0,
            rows_dirty=report.rows_dirty if report else 0,
            dirty_open=report.dirty_open if report else None,
            transactions=report.transactions if report else 0,
            offset=report.offset if report else None,
            journal_end=capture.next_offset if capture else report.next_offset if report else None,
            position=report.position if report else None,
            commit_ms=report.commit_us // 1000 if report and report.commit_us is not None else None,
            capture_state=capture.state if capture else "",
            capture_message=capture.message if capture else "",
            capture_rows_per_s=capture.rows_per_s if capture else 0.0,
            capture_behind_bytes=capture.behind_bytes if capture else 0,
            tables=_tables(report),
        )

    def _resting(self, task: Task, progress: Progress, checkpoint: Checkpoint, states: dict[str, TableState]) -> Progress:
        """The progress of a task that doesn't report, from what its target has on disk."""
        tables = tuple(_rested(mapping, states.get(mapping.incarnation)) for mapping in self._store.mappings(task.id))
        commit_ms = None if checkpoint.commit_us is None else checkpoint.commit_us // 1000
        return replace(progress, offset=checkpoint.offset, position=checkpoint.position, commit_ms=commit_ms, tables=tables)

    def _window(self, task: Task, states: dict[str, TableState]) -> WindowView | None:
        """What a reset can reach; None without a history, or where it can't be read (the log says why)."""
        if not task.source_id:
            return None
        mapped = {mapping.incarnation for mapping in self._store.mappings(task.id)}
        copied_from = min((state.since for mapping_id, state in states.items() if mapping_id in mapped), default=0)
        try:
            reader = self._open_journal(task.source_id)
            if reader is None:
                return None
            with closing(reader):
                return _reachable(reader, copied_from)
        except HeadwaterError as error:
            log.warning("window_unreadable", extra={"task_id": task.id, "reason": str(error)})
            return None

    def _place(self, task: Task) -> tuple[Checkpoint, dict[str, TableState]] | None:
        """Where the task stands by its target's word; None where that is not to be had (the log says why)."""
        target = self._store.data_source(task.target_id) if task.target_id else None
        if self._connections is None or target is None or not task.started_once:
            return None
        at_target = self._connections.target(target)
        try:
            return bounded.within(LOOK_TIMEOUT_S, "look at the task's place", lambda: at_target.look(task.id))
        except HeadwaterError as error:
            log.info("place_not_seen", extra={"task_id": task.id, "reason": str(error)})
            return None

    def _dirty_open(self, task: Task) -> int | None:
        """How many rows are set aside, by the target's word; None where that is not to be had."""
        target = self._store.data_source(task.target_id) if task.target_id else None
        if self._connections is None or target is None:
            return None
        at_target = self._connections.target(target)

        def count() -> int:
            with closing(at_target.mend(task.id)) as mending:
                return mending.dirty.page("open", 1, 0)[0]

        try:
            return bounded.within(LOOK_TIMEOUT_S, "count set-aside rows", count)
        except HeadwaterError as error:
            log.info("set_aside_rows_not_seen", extra={"task_id": task.id, "reason": str(error)})
            return None


def _reachable(reader: JournalReader, copied_from: int) -> WindowView:
    window = reader.window()
    reach = task_reach(reader, window, copied_from)
    latest = None if reach.latest_us is None else reach.latest_us // 1000
    earliest = reach.earliest_ms if latest is None or reach.earliest_ms is None else min(reach.earliest_ms, latest)
    return WindowView(earliest, latest, window.next_offset - window.first_offset, window.bytes)


def _stage(task: Task, runs: list[Run]) -> str:
    if task.state in RUNNING or not runs:
        return stage_reached(task.state)
    return run_log(runs[0], task.state, [], runs[0].started_ms).position


def _rested(mapping: Mapping, state: TableState | None) -> TableProgress:
    known = state or TableState(mapping.incarnation)
    return TableProgress(mapping.id, mapping.source_table, mapping.target_table, known.state.value, known.rows_done, known.rows_done, 0.0)


def _tables(report: ApplyReport | None) -> tuple[TableProgress, ...]:
    return tuple(
        TableProgress(t.mapping_id.partition(".")[0], t.source_table, t.target_table, t.state, t.rows_done, t.rows_expected, t.rows_per_s)
        for t in (report.tables if report else ())
    )


def _within(moment_ms: int, begin_ms: int | None, end_ms: int | None) -> bool:
    return (begin_ms is None or begin_ms <= moment_ms) and (end_ms is None or moment_ms <= end_ms)
