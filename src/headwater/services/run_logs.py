"""Runs and resets told as the API's monitor logs: which stage a run reached, how it ended, and what it did, step by step. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from headwater.domain.failures import policy
from headwater.domain.lifecycle import EXECUTE_STATUS
from headwater.domain.reset import iso_ms
from headwater.ports.store import Reset, Run

_ROWS = ("rows_copied", "rows_inserted", "rows_updated", "rows_deleted")


@dataclass(frozen=True)
class LogStep:
    """One step within a run: what the check before it noted, a reset that led to it, the copy of the tables, the writing of changes, a
    failure.

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
    dirty: int = 0


@dataclass(frozen=True)
class RunLog:
    """One run as a monitor log (contract: TaskMonitorLog). `rows` are those written, `dirty` those newly set aside;
    `spent_ms` up to now while it runs."""

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
    dirty: int = 0


@dataclass(frozen=True)
class _Ending:
    """How a run is called in the API's four vocabularies."""

    execute_status: str
    position: str
    position_status: str
    status: int


_RUNNING = {
    "starting": _Ending("WAITING", "ADAPTER", "NORMAL", 900),
    "waiting": _Ending("WAITING", "ADAPTER", "NORMAL", 99),
    "copying": _Ending("RUNNING", "READER", "NORMAL", 102),
    "catching_up": _Ending("RUNNING", "WRITER", "NORMAL", 502),
    "following": _Ending("RUNNING", "WRITER", "NORMAL", 502),
    "stalled": _Ending("WAITING", "WRITER", "NORMAL", 502),
}
_CANCELLED = _Ending("CANCELLED", "WRITER", "RUNTIME_CANCEL", 901)
_FAILED = {
    "source": _Ending("ERROR", "READER", "RUNTIME_ERR", 103),
    "slot": _Ending("ERROR", "READER", "RUNTIME_ERR", 103),
    "undecodable": _Ending("ERROR", "READER", "RUNTIME_ERR", 103),
    "target": _Ending("ERROR", "WRITER", "RUNTIME_ERR", 503),
    "row": _Ending("ERROR", "WRITER", "RUNTIME_ERR", 503),
    "schema": _Ending("ERROR", "WRITER", "RUNTIME_ERR", 503),
}
_BROKEN = _Ending("ERROR", "ADAPTER", "INTERNAL_ERR", 915)


def run_log(run: Run, state: str, resets: Sequence[Reset], now_ms: int, before: Run | None = None) -> RunLog:
    """A run as a log. `state` is the task's, which tells how far a run that still goes on is; `resets` are all of the task.

    `before` is the run before it: the resets whose epochs lie between the two led here (each reset and each run takes a fresh one)."""
    ending = _ending(run, state)
    since = before.epoch if before else 0
    led_here = [reset for reset in resets if since < reset.epoch <= run.epoch and reset.outcome in ("accepted", "done", "failed")]
    return RunLog(
        id=run.id,
        started_ms=run.started_ms,
        ended_ms=run.ended_ms,
        execute_status=ending.execute_status,
        position=ending.position,
        position_status=ending.position_status,
        status=ending.status,
        rows=sum(_count(run.counters, name) for name in _ROWS),
        spent_ms=max(0, (now_ms if run.ended_ms is None else run.ended_ms) - run.started_ms),
        remarks=_remarks(run, led_here),
        steps=(*_note_steps(run), *(_reset_step(reset) for reset in led_here), *_work_steps(run, ending)),
        dirty=_count(run.counters, "rows_dirty"),
    )


def reset_sentence(reset: Reset) -> str:
    """One reset in a sentence: what was asked for, where it led, and what came of it."""
    asked = "to the beginning" if reset.asked_ms is None else f"to {iso_ms(reset.asked_ms)}"
    moved = f", from offset {reset.from_offset} to {reset.to_offset}" if reset.to_offset is not None else ""
    return f"Reset {asked} by {reset.by}{moved}: {reset.outcome}. {reset.message}".strip()


def stage_reached(state: str) -> str:
    """ADAPTER, READER or WRITER for a task's state."""
    return _RUNNING[state].position if state in _RUNNING else "ADAPTER" if state in {"saved", "retrying"} else "WRITER"


def _ending(run: Run, state: str) -> _Ending:
    if run.outcome == "running":
        return _RUNNING.get(state, _RUNNING["starting"]) if EXECUTE_STATUS[state] != "ERROR" else _BROKEN
    if run.outcome == "stopped" or policy(run.outcome).action == "replace":
        return _CANCELLED
    return _FAILED.get(run.outcome.partition("_")[0], _BROKEN)


def _remarks(run: Run, resets: Sequence[Reset]) -> str:
    said = [reset_sentence(reset) for reset in resets]
    if run.outcome == "running":
        said.append(run.message or "Running.")
    elif run.outcome == "stopped":
        said.append(run.message or "Stopped as asked.")
    else:
        said.append(f"{run.outcome}: {run.message} {policy(run.outcome).hint}")
    return " ".join(said)


def _note_steps(run: Run) -> list[LogStep]:
    """What the check before the task's start found that does not keep it from running."""
    at = run.started_ms
    said = enumerate(run.notes, start=1)
    return [LogStep(f"{run.id}-note-{n}", 900, "ADAPTER", "NODE_END", "note", 0, at, at, f"Note: {note}") for n, note in said]


def _reset_step(reset: Reset) -> LogStep:
    done = reset.outcome == "done"
    failed = reset.outcome == "failed"
    return LogStep(
        id=reset.id,
        status=915 if failed else 507 if done else 900,  # 507: write task resumed
        position="ADAPTER",
        position_status="INTERNAL_ERR" if failed else "NODE_END" if done else "NORMAL",
        stage="reset",
        rows=0,
        began_ms=reset.accepted_ms,
        ended_ms=reset.done_ms,
        remarks=reset_sentence(reset),
    )


def _work_steps(run: Run, ending: _Ending) -> list[LogStep]:
    """The copy and the writing of changes, as far as the run came to them."""
    copied = _count(run.counters, "rows_copied")
    written = sum(_count(run.counters, name) for name in _ROWS[1:])
    steps = []
    if copied or ending.position == "READER":
        over = run.ended_ms is not None or ending.position == "WRITER"
        steps.append(
            LogStep(f"{run.id}-copy", 104 if over else 102, "READER", "NODE_END" if over else "NORMAL", "snapshot", copied, run.started_ms,
                    run.ended_ms, f"{copied} rows copied.")
        )  # fmt: skip
    if written or ending.position == "WRITER":
        counts = ", ".join(f"{_count(run.counters, name)} {name.removeprefix('rows_')}" for name in _ROWS[1:])
        steps.append(
            LogStep(f"{run.id}-apply", ending.status, "WRITER", ending.position_status, "apply", written, run.started_ms, run.ended_ms,
                    f"Rows: {counts}; transactions: {_count(run.counters, 'transactions')}. {run.message}".strip())
        )  # fmt: skip
    if not steps:
        steps.append(
            LogStep(f"{run.id}-start", ending.status, ending.position, ending.position_status, "adapter", 0, run.started_ms, run.ended_ms,
                    run.message or "Started.")
        )  # fmt: skip
    steps[-1] = replace(steps[-1], dirty=_count(run.counters, "rows_dirty"))  # a run doesn't tell in which step
    return steps


def _count(counters: dict[str, Any], name: str) -> int:
    value = counters.get(name, 0)
    return value if isinstance(value, int) else 0
