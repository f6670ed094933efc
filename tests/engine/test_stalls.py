"""Who stands still, and who only has nothing to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from headwater.domain.errors import TargetError
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.stall import NEXT_STEPS, STAGES, Sign
from headwater.domain.tables import TableName
from headwater.engine.control import Control
from headwater.engine.stalls import Stalls, apply_sign, capture_sign
from headwater.engine.tally import Tally
from headwater.engine.watchdog import IDLE_LOOKS, Watchdog
from headwater.ports.runtime import ApplyReport, CaptureReport
from headwater.ports.target import Look, TargetRun
from headwater.testing import MemoryTarget, MovedClock
from headwater.testing.target import MemoryTargetRun
from tests.engine.test_supervisor import Rig

FOLLOWING = ApplyReport("following", offset=5, kept_offset=5, next_offset=5)
TABLE = TableMapping("m", TableName("public", "a"), TableName("public", "a"), (ColumnPair("id", "id", True),), frozenset({"INSERT"}))


def test_a_stage_stands_still_when_its_mark_has_not_moved_for_long_enough() -> None:
    stalls = Stalls(30)
    assert stalls.look("t", Sign("write", True, (1,)), 0) is None
    assert stalls.look("t", Sign("write", True, (1,)), 29.9) is None
    assert str(stalls.look("t", Sign("write", True, (1,), "A lock."), 30)).startswith(
        "The target has not finished what it was given for 30 s. A lock. "
    )
    assert stalls.look("t", Sign("write", True, (2,)), 31) is None, "something got done"
    assert stalls.look("t", Sign("commit", True, (2,)), 61) is None, "another stage"
    assert stalls.look("t", Sign("commit", False, (2,)), 99) is None, "nothing to do"
    assert stalls.look("t", Sign("commit", True, (2,)), 100) is None, "it has something to do since now"


def test_every_stage_has_its_words() -> None:
    assert STAGES.keys() == NEXT_STEPS.keys()


@pytest.mark.parametrize(
    ("report", "captured", "stage", "due"),
    [
        (None, 0, "start", True),
        (ApplyReport("starting"), 0, "start", True),
        (ApplyReport("waiting", message="for open transactions"), 9, "read", False),
        (ApplyReport("copying"), 0, "copy", True),
        (FOLLOWING, 5, "read", False),
        (FOLLOWING, 6, "read", True),
        (replace(FOLLOWING, next_offset=6), 0, "read", True),
        (replace(FOLLOWING, doing="write"), 5, "write", True),
        (replace(FOLLOWING, doing="commit"), 5, "commit", True),
    ],
)
def test_what_an_apply_shows(report: ApplyReport | None, captured: int, stage: str, due: bool) -> None:
    sign = apply_sign(report, captured)
    assert (sign.stage, sign.due) == (stage, due)


@pytest.mark.parametrize("done", [{"rows_read": 1}, {"rows_taken": 1}, {"rows_copied": 1}, {"offset": 6}, {"looks": 1}])
def test_everything_that_gets_done_moves_the_mark(done: dict[str, int]) -> None:
    stuck = replace(FOLLOWING, doing="write")
    assert apply_sign(stuck, 9).mark != apply_sign(replace(stuck, **done), 9).mark  # type: ignore[arg-type]


def test_an_idle_source_is_heard_every_second_and_a_silent_one_stands_still() -> None:
    first = capture_sign(CaptureReport("capturing", position="0/1", source_us=1))
    assert first.due
    assert first.mark != capture_sign(CaptureReport("capturing", position="0/1", source_us=2)).mark
    assert capture_sign(CaptureReport("starting")).stage == "capture_start"


def test_the_supervisor_shows_a_task_that_stands_still_and_takes_it_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add_task()
    worker = rig.start()
    worker.said = ApplyReport("following", offset=1, kept_offset=1, next_offset=2, doing="write", obstacle="It waits for a lock.")
    for _ in range(31):
        rig.capturing()
        rig.step(1)
    task = rig.store.task("t")
    assert task is not None
    assert (task.state, task.error_kind) == ("stalled", "stalled")
    assert "The target has not finished what it was given for 30 s. It waits for a lock. Look at the target" in task.message
    worker.said = ApplyReport("following", offset=2, kept_offset=2, next_offset=2)
    rig.step(1)
    assert rig.state() == "following"


def test_a_task_that_has_everything_stands_still_with_its_capture(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.add_task()
    rig.start()
    rig.capturing()
    for _ in range(31):
        rig.step(1)
    task = rig.store.task("t")
    assert task is not None
    assert task.state == "stalled"
    assert task.message.startswith("Nothing new was heard from the source for 30 s.")
    for _ in range(31):
        rig.capturing()
        rig.step(1)
    assert rig.state() == "following", "an idle task is not stalled"


class Seen(MemoryTargetRun):
    """A run whose target is seen as the test says."""

    seen: Look | TargetError = Look("working")
    cuts = 0

    def look(self) -> Look:
        if isinstance(self.seen, TargetError):
            raise self.seen
        return self.seen

    def cut(self) -> None:
        self.cuts += 1


def watched(state: str = "write") -> tuple[Seen, Tally, Watchdog]:
    clock = MovedClock()
    target = MemoryTarget()
    target.raise_epoch("t", 1)
    run = Seen(target, "t", 1)
    tally = Tally([TABLE], Control(), clock)
    if state == "copying":
        tally.say("copying")
    elif state:
        tally.committing()
    return run, tally, Watchdog(run, tally)


def test_a_target_at_work_counts_as_moving() -> None:
    _, tally, dog = watched()
    for _ in range(4):
        dog.look()
    assert (tally.report.looks, tally.report.obstacle) == (3, "")


def test_what_is_in_the_way_is_told_and_nothing_is_cut() -> None:
    run, tally, dog = watched("copying")
    run.seen = Look("blocked", "It waits for a lock.")
    for _ in range(IDLE_LOOKS * 2):
        dog.look()
    assert (tally.report.looks, tally.report.obstacle, run.cuts) == (0, "It waits for a lock.", 0)


@pytest.mark.parametrize("seen", [Look("idle", "It waits for us."), TargetError("The target can't be reached.")])
def test_a_connection_on_which_both_sides_wait_is_cut(seen: Look | TargetError) -> None:
    run, _, dog = watched()
    run.seen = seen
    for _ in range(IDLE_LOOKS):
        dog.look()
    assert run.cuts == 0
    dog.look()
    assert run.cuts == 1


def test_nobody_looks_where_nothing_is_asked_or_things_move() -> None:
    run, tally, dog = watched("")
    run.seen = Look("idle", "It waits for us.")
    for _ in range(IDLE_LOOKS * 2):
        dog.look()
    assert (tally.report.obstacle, run.cuts) == ("", 0)


def test_the_fake_looks_like_a_run() -> None:
    run: TargetRun = watched()[0]
    assert run.look().state == "working"
