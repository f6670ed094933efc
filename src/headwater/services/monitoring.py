"""What is to be seen of tasks: states, progress, lag, the window that a reset can reach, and the log of runs and resets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headwater.ports.journal import OpenJournal
from headwater.ports.runtime import Live
from headwater.ports.store import Reset, Scope, Store
from headwater.services.pages import Page
from headwater.services.tasks import TaskView


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


@dataclass(frozen=True)
class MonitorRow:
    """One task in the monitor list. `position` is ADAPTER, READER or WRITER: how far the latest run got."""

    task: TaskView
    last_execute_ms: int | None
    position: str
    progress: Progress


@dataclass(frozen=True)
class LogStep:
    """One step within a run: a reset that led to it, the copy of a table, the writing of changes.

    `status`, `position`, `position_status` and `stage` are the API's vocabularies (contract: TaskMonitorDetailLog)."""

    id: str
    status: int
    position: str
    position_status: str
    stage: str
    rows: int
    began_ms: int
    ended_ms: int | None
    remarks: str


@dataclass(frozen=True)
class RunLog:
    """One run as a monitor log (contract: TaskMonitorLog). `rows` are those written; `spent_ms` up to now while it runs."""

    id: str
    started_ms: int
    ended_ms: int | None
    execute_status: str
    position: str
    position_status: str
    status: int
    rows: int
    spent_ms: int
    remarks: str
    steps: tuple[LogStep, ...]


@dataclass(frozen=True)
class Counts:
    """Tasks by what they are doing; combined tasks never complete, and never started ones count nowhere."""

    running: int
    abnormal: int
    terminated: int
    completed: int


class Monitoring:
    """Read-only; all raise ServiceError FDI.3180 (404) for a task that the caller can't see."""

    def __init__(self, store: Store, live: Live, open_journal: OpenJournal, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._live = live
        self._open_journal = open_journal
        self._now_ms = now_ms

    def details(self, scope: Scope, task_id: str) -> Details:
        """Everything about one task."""
        raise NotImplementedError

    def monitors(self, scope: Scope, limit: int = 10, offset: int = 1, name: str = "", execute_status: str = "") -> Page[MonitorRow]:
        """Tasks, newest first. `offset` is the first row's number counted from 1 (0 is 1), `limit` is cut at 999.

        `name` matches a part in the same case, as the contract says."""
        raise NotImplementedError

    def logs(
        self, scope: Scope, task_id: str, limit: int = 10, offset: int = 1, begin_ms: int | None = None, end_ms: int | None = None
    ) -> Page[RunLog]:
        """Runs that began within the times given, newest first; paging as in `monitors`."""
        raise NotImplementedError

    def log(self, scope: Scope, task_id: str, run_id: str) -> RunLog:
        """One run. Raises FDI.3033 (404) `[tracking_id]` where there is none."""
        raise NotImplementedError

    def resets(self, scope: Scope, task_id: str) -> list[Reset]:
        """All resets on record, newest first."""
        raise NotImplementedError

    def count(self, scope: Scope) -> Counts:
        """Statistics of the combined tasks."""
        raise NotImplementedError
