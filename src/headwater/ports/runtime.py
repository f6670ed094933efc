"""Where workers run, and what they report. A worker is one capture (per source), one apply (per task) or one verification."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class WorkerSpec:
    """All that a worker needs; it never opens the metadata store. `payload` is JSON with secrets in it: never log it.

    Two specs that compare equal need the same worker; the supervisor replaces a worker whose spec has changed.
    """

    kind: Literal["capture", "apply", "verify"]
    id: str  # data source id of a capture, task id of an apply, id of a verification
    payload: dict[str, Any] = field(repr=False, hash=False)


@dataclass(frozen=True)
class CaptureReport:
    """What a capture last said. Counters run from the worker's start."""

    state: Literal["starting", "capturing"]
    message: str = ""
    position: str | None = None
    next_offset: int = 0
    first_offset: int = 0
    earliest_us: int | None = None
    latest_us: int | None = None
    source_us: int | None = None  # source clock of the last word
    clock_offset_us: int = 0  # source clock minus ours
    behind_bytes: int = 0
    journal_bytes: int = 0
    transactions: int = 0
    rows: int = 0
    rows_per_s: float = 0.0
    lost: tuple[tuple[str, int], ...] = ()  # tables that were away at the source; copies that begin before the offset are void
    stale: tuple[tuple[str, int], ...] = ()  # tables that changed outside of the log; older copies are made again


@dataclass(frozen=True)
class TableReport:
    """Copy progress of one mapping."""

    mapping_id: str
    source_table: str
    target_table: str
    state: Literal["pending", "copying", "copied"]
    rows_done: int = 0
    rows_expected: int = 0
    rows_per_s: float = 0.0
    since: int = 0  # the offset from which it is followed; what lies before came with its copy


@dataclass(frozen=True)
class ApplyReport:
    """What an apply last said. Counters run from the run's start.

    `state`: `waiting` for the capture or for open source transactions, `copying`, `catching_up` (behind: after a
    copy, in a replay, with a backlog), `following` (at most a moment behind). `doing` is what the target was asked for and has not
    answered yet; where that takes long, `looks` counts how often the target was seen at work on it, and `obstacle` is a sentence
    about what else was seen there. `domain/stall.py` reads them.
    """

    state: Literal["starting", "waiting", "copying", "catching_up", "following"]
    message: str = ""
    offset: int | None = None
    kept_offset: int | None = None  # the offset in the target's checkpoint: history from there on is needed
    next_offset: int = 0  # the journal's end when last looked
    exact_from: int = 0
    position: str | None = None
    commit_us: int | None = None  # stamp of the last applied transaction
    pending_us: int | None = None  # stamp of the first captured transaction that is not applied; None where none waits
    lag_ms: int | None = None  # filled in by the supervisor, which knows the capture too (see domain/lag.py)
    lag_transactions: int = 0
    rows_read: int = 0
    rows_taken: int = 0  # read from the journal, written or not
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0
    rows_copied: int = 0
    rows_dirty: int = 0  # newly set aside
    dirty_open: int = 0  # set aside now
    rows_per_s: float = 0.0
    transactions: int = 0
    tables: tuple[TableReport, ...] = ()
    doing: Literal["", "write", "commit"] = ""
    looks: int = 0
    obstacle: str = ""
    at_us: int = field(default=0, compare=False)  # our clock when it was made; saying the same again is no news


@dataclass(frozen=True)
class KeyDifference:
    """A row that differs. `key` is its key's text (cut where it is long), `kind` what is wrong at the target: `missing`, `extra` (the
    source has no such row) or `differing`. `repaired` once it was written again and found equal."""

    key: tuple[str, ...]
    kind: Literal["missing", "extra", "differing"]
    repaired: bool = False


@dataclass(frozen=True)
class VerifiedTable:
    """How far the comparison of one mapping is. Counts are rows.

    `state`: `pending`, `comparing`, then `equal`, `different`, `unsettled` (some rows never stood still, or changed since a stopped
    task's checkpoint; all others are equal) or `not_compared` (with the reason in `message`). `repaired` of the differences were
    repaired. `keys` are the first differences; `left_out` names column pairs that can't be compared, with the reason.
    """

    mapping_id: str
    source_table: str
    target_table: str
    state: Literal["pending", "comparing", "equal", "different", "unsettled", "not_compared"] = "pending"
    rows: int = 0
    rows_expected: int = 0
    missing: int = 0
    extra: int = 0
    differing: int = 0
    repaired: int = 0
    unsettled: int = 0
    left_out: tuple[str, ...] = ()
    message: str = ""
    keys: tuple[KeyDifference, ...] = ()

    @property
    def different(self) -> int:
        """Rows that were found to differ, repaired or not."""
        return self.missing + self.extra + self.differing

    @classmethod
    def read(cls, fields: dict[str, Any]) -> VerifiedTable:
        """From `asdict`, also where it went through JSON."""
        keys = tuple(KeyDifference(tuple(one["key"]), one["kind"], one["repaired"]) for one in fields["keys"])
        return cls(**{**fields, "left_out": tuple(fields["left_out"]), "keys": keys})


@dataclass(frozen=True)
class RepairAsk:
    """A wish to the task's apply: write the rows with these keys as the source has them now (see `engine/repair.py`). `number` rises."""

    number: int
    mapping_id: str
    keys: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class VerifyReport:
    """What a verification last said. `outcome` is set at its end: `equal`, `repaired`, `different`, or `unsettled` (not proved).

    `offset`: everything that the task had applied before it is proved equal, where the outcome says so. `rows_per_s` counts rows of the
    source."""

    state: Literal["starting", "waiting", "comparing", "done"]
    message: str = ""
    outcome: Literal["", "equal", "repaired", "different", "unsettled"] = ""
    offset: int | None = None
    rows: int = 0
    rows_per_s: float = 0.0
    tables: tuple[VerifiedTable, ...] = ()
    ask: RepairAsk | None = None


Report = CaptureReport | ApplyReport | VerifyReport


@dataclass(frozen=True)
class Exit:
    """How a worker ended. `kind` is a key of the failure table, `stopped` for an end that was asked for, `crashed` for
    a process that ended without a word."""

    kind: str
    message: str


class Worker(Protocol):
    """A running worker, seen from the supervisor. No method blocks."""

    spec: WorkerSpec

    def report(self) -> Report | None:
        """The newest report; None before the first."""

    def exited(self) -> Exit | None:
        """How it ended; None while it runs."""

    def tell(self, command: dict[str, Any]) -> None:
        """Send a command: `{"stop": true}` (drain to a commit and end), `{"needed_offset": n}` (capture: retention),
        `{"repair": {...}}` (apply: a `RepairAsk`), `{"running": bool}` (verify: whether the task has an apply)."""

    def kill(self) -> None:
        """End it now. Idempotent."""


class Runtime(Protocol):
    """Places workers. No worker outlives the runtime, however it ends."""

    def start(self, spec: WorkerSpec) -> Worker:
        """Start a worker. Returns at once; a failure to start shows as an exit."""

    def close(self) -> None:
        """Kill what still runs and wait for it. Idempotent."""


class Live(Protocol):
    """What running workers last said, for whoever shows it. The supervisor implements it; no method blocks."""

    def apply(self, task_id: str) -> ApplyReport | None:
        """The newest report of a task's apply; None where none runs or none has reported."""

    def capture(self, data_source_id: str) -> CaptureReport | None:
        """The newest report of a data source's capture; None where none runs or none has reported."""
