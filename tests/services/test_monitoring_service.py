"""Monitoring: what is shown of a running, a resting and a failed task, and that runs and resets read as the API's logs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.domain.lifecycle import EXECUTE_STATUS
from headwater.ports.runtime import ApplyReport, CaptureReport, TableReport
from headwater.ports.store import Reset, Run, Scope, Task
from headwater.ports.target import Checkpoint, CopyState, TableState
from headwater.services.errors import ServiceError
from headwater.services.monitoring import Counts, WindowView
from headwater.services.run_logs import run_log
from headwater.testing import MemoryJournal
from headwater.testing.rows import Transaction, frame
from tests.services.control_plane import Plane

STRANGER = Scope("f" * 32, "another-instance")


def run(name: str, task: Task, started_ms: int = 1_000, **changes: object) -> Run:
    return replace(Run(name, task.id, 1, started_ms, None, "running", "", {}), **changes)  # type: ignore[arg-type]


def reset(name: str, task: Task, **changes: object) -> Reset:
    made = Reset(name, task.id, "admin", 500, 1_700_000_000_000, 1_700_000_000_000_000, 30, 10, 1, "done", "Replays 20.", 600)
    return replace(made, **changes)  # type: ignore[arg-type]


def journal(plane: Plane, task: Task, transactions: int = 10) -> int:
    """A journal with one transaction per second; returns the time of the first in ms."""
    made = plane.journals[task.source_id or ""] = MemoryJournal()
    start_ms = plane.clock.now_ms()
    writer = made.writer()
    writer.append((), "0", plane.clock.now_us())
    for i in range(transactions):
        writer.append([frame([Transaction(str(i + 1), plane.clock.now_us(), ())], plane.clock.now_us())], str(i + 1), plane.clock.now_us())
        plane.clock.move(1)
    return start_ms


def test_a_task_that_never_ran(plane: Plane) -> None:
    task = plane.task()
    shown = plane.monitoring.details(plane.scope, task.id)
    assert (shown.task.execute_status, shown.window, shown.last_reset) == ("UNSTARTED", None, None)
    assert (shown.progress.lag_ms, shown.progress.offset, shown.progress.tables) == (None, None, ())


def test_a_running_task_shows_what_its_workers_say(plane: Plane) -> None:
    task = plane.started()
    (first, _) = plane.store.mappings(task.id)
    plane.live.applies[task.id] = ApplyReport(
        "following",
        offset=7,
        next_offset=9,
        lag_ms=120,
        lag_transactions=2,
        rows_inserted=5,
        rows_per_s=50.5,
        commit_us=1_700_000_000_123_456,
        tables=(TableReport(f"{first.id}.3", "public.customers", "public.customers", "copied", 10, 10, 0.0),),
    )
    plane.live.captures[task.source_id or ""] = CaptureReport("capturing", "fine", next_offset=12, behind_bytes=99)
    progress = plane.monitoring.details(plane.scope, task.id).progress
    assert (progress.lag_ms, progress.lag_transactions, progress.rows_inserted, progress.rows_per_s) == (120, 2, 5, 50.5)
    assert (progress.offset, progress.journal_end, progress.commit_ms) == (7, 12, 1_700_000_000_123)
    assert (progress.capture_state, progress.capture_behind_bytes) == ("capturing", 99)
    assert [(t.mapping_id, t.state, t.rows_done) for t in progress.tables] == [(first.id, "copied", 10)]


def test_a_resting_task_shows_what_its_target_has(plane: Plane) -> None:
    task = plane.started()
    plane.tasks.stop(plane.scope, [task.id])
    (first, second) = plane.store.mappings(task.id)
    run_ = plane.target.open(task.id, task.epoch)
    run_.save_table_state(TableState(first.incarnation, CopyState.COPIED, rows_done=5))
    run_.commit(Checkpoint(task.epoch, "journal", 8, commit_us=1_700_000_000_000_000))
    shown = plane.monitoring.details(plane.scope, task.id).progress
    assert (shown.offset, shown.commit_ms, shown.lag_ms) == (8, 1_700_000_000_000, None)
    assert [(t.mapping_id, t.state, t.rows_done) for t in shown.tables] == [(first.id, "copied", 5), (second.id, "pending", 0)]


def test_a_target_out_of_reach_does_not_hide_the_rest(plane: Plane) -> None:
    task = plane.started()
    start_ms = journal(plane, task)
    plane.target.reachable = False
    shown = plane.monitoring.details(plane.scope, task.id)
    assert shown.progress.offset is None
    assert shown.window is not None
    assert shown.window.earliest_ms == start_ms


def test_the_window_is_what_a_reset_can_reach(plane: Plane) -> None:
    task = plane.started()
    start_ms = journal(plane, task, 10)
    shown = plane.monitoring.details(plane.scope, task.id).window
    assert shown == WindowView(start_ms, start_ms + 9_000, 10, shown.bytes if shown else 0)
    for mapping in plane.store.mappings(task.id):
        plane.target.open(task.id, task.epoch).save_table_state(TableState(mapping.incarnation, CopyState.COPIED, since=4))
    later = plane.monitoring.details(plane.scope, task.id).window
    assert later is not None
    assert start_ms + 3_000 < (later.earliest_ms or 0) <= start_ms + 4_000, "before its copy a table has no history"


def test_the_last_reset_is_shown(plane: Plane) -> None:
    task = plane.started()
    plane.store.save_reset(reset("x1", task))
    plane.store.save_reset(reset("x2", task, outcome="refused"))
    shown = plane.monitoring.details(plane.scope, task.id).last_reset
    assert shown is not None
    assert shown.id == "x2"
    assert [r.id for r in plane.monitoring.resets(plane.scope, task.id)] == ["x2", "x1"]


def test_monitors_page_from_one_and_match_case(plane: Plane) -> None:
    for name in ("Alpha", "beta", "alphabet"):
        plane.task(name)
    running = plane.started("gamma")
    plane.store.save_run(run("r1", running, 77))

    def found(*paging: int, **wanted: str) -> list[str]:
        return [row.task.name for row in plane.monitoring.monitors(plane.scope, *paging, **wanted).items]  # type: ignore[arg-type]

    assert found() == ["gamma", "alphabet", "beta", "Alpha"]
    assert found(2, 0) == found(2, 1) == ["gamma", "alphabet"]
    assert found(2, 2) == ["alphabet", "beta"]
    assert found(2, 5) == []
    assert found(2, -7) == ["gamma", "alphabet"]
    assert found(name="alpha") == ["alphabet"]
    assert found(execute_status="RUNNING") == ["gamma"]
    assert found(execute_status="ERROR") == []
    row = plane.monitoring.monitors(plane.scope).items[0]
    assert (row.last_execute_ms, row.position) == (77, "WRITER")
    assert plane.monitoring.monitors(STRANGER).total == 0


def test_counts(plane: Plane) -> None:
    plane.task("never-started")
    plane.started("running")
    for name, state in (("waiting", "retrying"), ("failed", "failed"), ("stopped", "stopped")):
        plane.store.record_state(plane.started(name).id, state, "slot_lost" if state == "failed" else "")
    assert plane.monitoring.count(plane.scope) == Counts(running=2, abnormal=1, terminated=1, completed=0)
    assert plane.monitoring.count(STRANGER) == Counts(0, 0, 0, 0)


def test_logs_are_runs_newest_first(plane: Plane) -> None:
    task = plane.started()
    for number in range(5):
        plane.store.save_run(run(f"r{number}", task, number * 1_000, ended_ms=number * 1_000 + 10, outcome="stopped"))

    def found(limit: int = 10, offset: int = 1, begin_ms: int | None = None, end_ms: int | None = None) -> list[str]:
        return [log.id for log in plane.monitoring.logs(plane.scope, task.id, limit, offset, begin_ms, end_ms).items]

    assert found() == ["r4", "r3", "r2", "r1", "r0"]
    assert found(2, 2) == ["r3", "r2"]
    assert found(begin_ms=1_000, end_ms=3_000) == ["r3", "r2", "r1"]
    assert plane.monitoring.logs(plane.scope, task.id, 1, 1).total == 5
    assert plane.monitoring.log(plane.scope, task.id, "r2").started_ms == 2_000
    with pytest.raises(ServiceError, match=r"\[tracking_id\]") as caught:
        plane.monitoring.log(plane.scope, task.id, "nothing")
    assert (caught.value.code, caught.value.status) == ("FDI.3033", 404)


def test_nobody_sees_anothers(plane: Plane) -> None:
    task = plane.started()
    plane.store.save_run(run("r1", task))
    for call in (
        lambda: plane.monitoring.details(STRANGER, task.id),
        lambda: plane.monitoring.logs(STRANGER, task.id),
        lambda: plane.monitoring.log(STRANGER, task.id, "r1"),
        lambda: plane.monitoring.resets(STRANGER, task.id),
    ):
        with pytest.raises(ServiceError) as caught:
            call()
        assert (caught.value.code, caught.value.status) == ("FDI.3180", 404)


@pytest.mark.parametrize(
    ("outcome", "state", "told"),
    [
        ("running", "starting", ("WAITING", "ADAPTER", "NORMAL", 900)),
        ("running", "copying", ("RUNNING", "READER", "NORMAL", 102)),
        ("running", "following", ("RUNNING", "WRITER", "NORMAL", 502)),
        ("stopped", "stopped", ("CANCELLED", "WRITER", "RUNTIME_CANCEL", 901)),
        ("fenced", "following", ("CANCELLED", "WRITER", "RUNTIME_CANCEL", 901)),
        ("slot_lost", "failed", ("ERROR", "READER", "RUNTIME_ERR", 103)),
        ("source_unavailable", "retrying", ("ERROR", "READER", "RUNTIME_ERR", 103)),
        ("target_refused", "failed", ("ERROR", "WRITER", "RUNTIME_ERR", 503)),
        ("row_refused", "failed", ("ERROR", "WRITER", "RUNTIME_ERR", 503)),
        ("schema_mismatch", "failed", ("ERROR", "WRITER", "RUNTIME_ERR", 503)),
        ("crashed", "retrying", ("ERROR", "ADAPTER", "INTERNAL_ERR", 915)),
        ("something new", "failed", ("ERROR", "ADAPTER", "INTERNAL_ERR", 915)),
    ],
)
def test_how_a_run_ended_in_the_words_of_the_api(plane: Plane, outcome: str, state: str, told: tuple[str, str, str, int]) -> None:
    task = plane.task()
    log = run_log(run("r1", task, ended_ms=None if outcome == "running" else 3_000, outcome=outcome), state, [], 5_000)
    assert (log.execute_status, log.position, log.position_status, log.status) == told
    assert log.spent_ms == (4_000 if outcome == "running" else 2_000)
    assert log.steps


@pytest.mark.parametrize("state", sorted(EXECUTE_STATUS))
def test_every_state_has_a_log_and_a_stage(plane: Plane, state: str) -> None:
    task = plane.started()
    plane.store.save_run(run("r1", task))
    plane.store.record_state(task.id, state)
    assert plane.monitoring.logs(plane.scope, task.id).items[0].execute_status in {"WAITING", "RUNNING", "ERROR"}
    assert plane.monitoring.monitors(plane.scope).items[0].position in {"ADAPTER", "READER", "WRITER"}


def test_a_run_tells_its_reset_its_copy_and_its_changes(plane: Plane) -> None:
    task = plane.started()
    counters = {"rows_copied": 10, "rows_inserted": 1, "rows_updated": 2, "rows_deleted": 3, "transactions": 4, "state": "following"}
    plane.store.save_run(run("r0", task, epoch=4))
    plane.store.save_run(run("r1", task, epoch=6, counters=counters, ended_ms=9_000, outcome="target_refused", message="No privilege."))
    plane.store.save_run(run("r2", task, epoch=8, notes=("One.", "Other.")))
    plane.store.save_reset(reset("x0", task, epoch=3))
    plane.store.save_reset(reset("x1", task, epoch=5))
    plane.store.save_reset(reset("x2", task, epoch=5, outcome="refused"))
    plane.store.save_reset(reset("x3", task, epoch=7))
    assert [step.id for step in plane.monitoring.log(plane.scope, task.id, "r0").steps if step.stage == "reset"] == ["x0"]
    log = plane.monitoring.log(plane.scope, task.id, "r1")
    noted = [(step.stage, step.remarks) for step in plane.monitoring.log(plane.scope, task.id, "r2").steps]
    assert noted[:2] == [("note", "Note: One."), ("note", "Note: Other.")]
    assert log.rows == 16
    assert [(step.stage, step.rows) for step in log.steps] == [("reset", 0), ("snapshot", 10), ("apply", 6)]
    assert log.steps[0].id == "x1"
    assert "Reset to 2023-11-14T22:13:20.000Z by admin, from offset 30 to 10: done. Replays 20." in log.remarks
    assert "target_refused: No privilege. Repair what the message names at the target" in log.remarks
