"""Capture between a scripted source and a journal in memory: what is confirmed, when, and what a lost log leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.domain.errors import OutOfWindow, SourceError
from headwater.engine.capture import IDLE_CONFIRM_S, LOOK_S, Keeper, open_log
from headwater.engine.control import Control
from headwater.engine.followed import FileNote, Followed, Known
from headwater.ports.runtime import CaptureReport
from headwater.testing import Crash
from tests.databases import wait_until
from tests.engine.workbench import ACCOUNTS, NOTES, Running, Workbench, mapping, schema

A = ACCOUNTS.table


def add(bench: Workbench, *ids: int) -> None:
    for i in ids:
        with bench.source.transaction() as t:
            t.insert(A, id=i, owner="o", amount=0)


def followed(bench: Workbench) -> None:
    """Wait until the log is followed: what was committed before its slot was made is not in it."""
    wait_until(lambda: "log.next:after" in bench.faults.seen, what="the log is followed")


def test_nothing_is_confirmed_before_it_is_on_disk_p1() -> None:
    bench = Workbench()
    with bench.capturing() as running:
        wait_until(lambda: bench.source.slot is not None and "log.next:after" in bench.faults.seen)
        bench.faults.before("journal.append", Crash("disk"))
        add(bench, 1)
        wait_until(lambda: running.error)
    assert bench.source.slot == 0
    with bench.capturing():
        wait_until(lambda: bench.journal.end().next_offset == 1 and bench.source.slot == 1)


def test_a_crash_between_append_and_confirm_captures_nothing_twice() -> None:
    bench = Workbench()
    with bench.capturing() as running:
        wait_until(lambda: "log.next:after" in bench.faults.seen)
        bench.faults.before("log.confirm", Crash("here"))
        add(bench, 1)
        wait_until(lambda: running.error)
    add(bench, 2)
    with bench.capturing():
        wait_until(lambda: bench.journal.end().position == "2")
    assert bench.journal.end().next_offset == 2


def test_an_idle_place_is_made_durable_before_it_is_confirmed_p1() -> None:
    bench = Workbench()
    job = bench.capture_job()
    followed = Followed(bench.source, job.tables, job.writer, job.note, bench.clock.now_us())
    followed.publish()
    log = open_log(job, followed, bench.clock)
    keeper = Keeper(job, log, followed, Control(), bench.clock)
    bench.source.publication = frozenset()
    add(bench, 1)  # not ours: the log moves on without a frame
    heard = log.next(0)
    assert heard is not None
    assert not heard.frames
    keeper.keep(heard)
    keeper.tick()
    assert bench.source.slot == 0
    bench.clock.move(IDLE_CONFIRM_S + 1)
    keeper.tick()
    assert bench.source.slot == 1
    bench.journal.heartbeat = None  # what a crash loses
    assert bench.journal.end().position == "1"


def test_a_lost_slot_stops_capture_and_nothing_is_skipped_p7() -> None:
    bench = Workbench()
    with bench.capturing():
        followed(bench)
        add(bench, 1)
        wait_until(lambda: bench.journal.end().next_offset == 1)
    bench.source.lose_slot()
    add(bench, 2)
    with bench.capturing() as running:
        wait_until(lambda: running.error)
        assert isinstance(running.error[0], SourceError)
        assert running.error[0].kind == "slot_lost"
    assert bench.journal.end().next_offset == 1


def test_with_consent_a_new_history_begins_behind_a_break() -> None:
    bench = Workbench()
    with bench.capturing():
        followed(bench)
        add(bench, 1)
        wait_until(lambda: bench.journal.end().next_offset == 1)
    bench.source.lose_slot()
    add(bench, 2)
    used: list[bool] = []
    with bench.capturing(bench.capture_job(lambda: used.append(True))):
        wait_until(lambda: used)
        add(bench, 3)
        wait_until(lambda: bench.journal.end().position == "3")
    assert bench.journal.reader().window().first_offset == 2
    with pytest.raises(OutOfWindow):
        list(bench.journal.reader().read(1))
    with bench.capturing() as running:  # the new log joins: no further consent is needed
        add(bench, 4)
        wait_until(lambda: bench.journal.end().position == "4")
        assert not running.error


@pytest.mark.parametrize("seam", ["journal.break_history", "source.open_log", "journal.append"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_while_a_new_history_begins_is_made_up_for(seam: str, when: str) -> None:
    bench = Workbench()
    with bench.capturing():
        followed(bench)
        add(bench, 1)
        wait_until(lambda: bench.journal.end().next_offset == 1)
    bench.source.lose_slot()
    nth = 2 if seam == "source.open_log" else 1
    if not (seam == "source.open_log" and when == "after"):  # the first, refused call never gets behind its effect
        (bench.faults.before if when == "before" else bench.faults.after)(seam, Crash(seam), nth)
    else:
        bench.faults.after(seam, Crash(seam))
    used: list[bool] = []
    with bench.capturing(bench.capture_job(lambda: used.append(True))) as running:
        wait_until(lambda: running.error)
    with bench.capturing(bench.capture_job(lambda: used.append(True))) as running:
        wait_until(lambda: used)
        add(bench, 2)
        wait_until(lambda: bench.journal.end().position == "2")
        assert not running.error
    assert used == [True]


def lost(running: Running) -> dict[str, int]:
    report = running.control.report
    assert isinstance(report, CaptureReport)
    return dict(report.lost)


def test_a_table_that_was_never_there_keeps_no_other_from_being_followed_p7() -> None:
    bench = Workbench()
    bench.mappings.append(mapping(schema("gone", "id")))
    with bench.capturing():
        followed(bench)
        add(bench, 1)
        wait_until(lambda: bench.journal.end().next_offset == 1)


@pytest.mark.parametrize("while_running", [True, False])
def test_a_table_that_was_away_is_followed_again_and_its_older_copies_are_void_p7(while_running: bool) -> None:
    bench = Workbench()
    with bench.capturing() as running:
        followed(bench)
        add(bench, 1)
        wait_until(lambda: bench.journal.end().next_offset == 1)
        if while_running:
            bench.source.publication -= {NOTES.table}  # what DROP TABLE does
            bench.clock.move(LOOK_S + 1)
            wait_until(lambda: NOTES.table in bench.source.publication)
            bench.clock.move(1)
            wait_until(lambda: lost(running) == {"public.notes": 2})
    bench.source.publication -= {NOTES.table} if not while_running else set()
    for _ in range(2):  # a restart does not forget, and does not lose it twice
        with bench.capturing() as running:
            wait_until(lambda: running.control.report is not None and running.control.report.state == "capturing")
            assert lost(running) == {"public.notes": 2}
            assert bench.source.publication >= {NOTES.table, A}
    assert bench.journal.end().next_offset == 2


def test_the_beginning_is_on_disk_before_anything_relies_on_it_p1() -> None:
    """A source that keeps nothing for us would else be followed from a later place after a crash, behind the moment of a copy."""
    bench = Workbench()
    add(bench, 1)
    bench.faults.before("log.next", Crash("at once"))
    with bench.capturing() as running:
        wait_until(lambda: running.error)
    assert bench.journal.end().position == "1"
    assert bench.note.read().following == {"public.accounts", "public.notes"}


def test_what_is_not_followed_yet_is_not_said_to_be_p7() -> None:
    """While the log can't be opened, and until it is; the note of an earlier capture tells nothing."""
    bench = Workbench()
    bench.note.write(Known(frozenset({"public.accounts"}), following=frozenset({"public.accounts", "public.notes"})))
    bench.faults.before("source.open_log", Crash("gone"))
    with bench.capturing() as running:
        wait_until(lambda: running.error)
    assert bench.note.read().following == frozenset()


def test_the_note_survives(tmp_path: Path) -> None:
    known = Known(frozenset({"a.b"}), (("c.d", 7),), history="a history", following=frozenset({"e.f"}))
    assert FileNote(tmp_path).read() == Known()
    FileNote(tmp_path).write(known)
    assert FileNote(tmp_path).read() == known


def test_a_log_of_another_history_is_never_gone_along_with_p7() -> None:
    bench = Workbench()
    with bench.capturing():
        followed(bench)
        add(bench, 1)
        wait_until(lambda: bench.journal.end().next_offset == 1)
    assert bench.note.read().history == bench.source.history
    bench.source.history = "another server"
    with bench.capturing() as running:
        wait_until(lambda: running.error)
    assert [getattr(error, "kind", "") for error in running.error] == ["slot_lost"]
