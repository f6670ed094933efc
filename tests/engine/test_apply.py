"""Apply with the real capture between fakes: copy, follow, whole transactions, one commit, fences, resuming."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.domain.errors import Fenced, OutOfWindow, SourceError, TargetError
from headwater.engine import collect
from headwater.engine.collect import Limits
from headwater.ports.target import Checkpoint, CopyState
from headwater.testing import Crash
from tests.databases import wait_until
from tests.engine.workbench import ACCOUNTS, NOTES, Workbench, report_of

A, N = ACCOUNTS.table, NOTES.table


def fill(bench: Workbench, rows: int = 250) -> None:
    with bench.source.transaction() as t:
        for i in range(rows):
            t.insert(A, id=i, owner=f"o{i}", amount=i * 10)
            t.insert(N, id=i, text=f"n{i}")


def change(bench: Workbench, base: int) -> None:
    """One transaction with every kind of change, over both tables."""
    with bench.source.transaction() as t:
        t.insert(A, id=base, owner="new", amount=1)
        t.update(A, [base - 1], amount=-1)
        t.delete(N, [base - 2])
    with bench.source.transaction() as t:
        t.update(N, [base - 3], id=base + 1_000_000, text="moved")


def test_copies_and_follows_every_kind_of_change() -> None:
    bench = Workbench()
    fill(bench)
    with bench.capturing(), bench.applying() as running:
        bench.await_equal()
        change(bench, 250)
        bench.await_equal()
        bench.await_applied()
        wait_until(lambda: report_of(running).state == "following")
        tables = {t.source_table: t for t in report_of(running).tables}  # type: ignore[union-attr]
        assert tables["public.accounts"].state == "copied"
        assert tables["public.accounts"].rows_done == 250


def test_only_states_of_the_source_are_visible_after_the_copy_p2() -> None:
    bench = Workbench()
    fill(bench)
    seen: list[tuple[int, int]] = []

    def look(_task: str, place: Checkpoint) -> None:
        if place.offset is not None and place.offset >= place.exact_from:
            seen.append((len(bench.target.rows(A)), len(bench.target.rows(N))))

    with bench.capturing(), bench.applying():
        bench.await_equal()
        bench.await_applied()
        bench.target.on_commit.append(look)
        for i in range(1000, 1200):
            with bench.source.transaction() as t:
                t.insert(A, id=i, owner="x", amount=0)
                t.insert(N, id=i, text="x")
        bench.await_equal()
    assert seen
    assert all(accounts == notes for accounts, notes in seen)


def test_a_transaction_in_parts_is_one_target_transaction_p2_p9(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "EXACT", Limits(100, 1 << 30))
    bench = Workbench()
    bench.source.part_rows = 50
    fill(bench, 3)
    sizes: set[int] = set()
    with bench.capturing(), bench.applying():
        bench.await_equal()
        bench.await_applied()
        bench.target.on_commit.append(lambda _task, _place: sizes.add(len(bench.target.rows(A))))
        with bench.source.transaction() as t:
            for i in range(1000, 1777):
                t.insert(A, id=i, owner="x", amount=0)
        bench.await_equal()
        writes = bench.faults.seen.count("target.write:before")
    assert sizes <= {3, 780}
    assert writes > 5


def test_a_run_with_an_old_epoch_can_not_commit_p4() -> None:
    bench = Workbench()
    fill(bench)
    with bench.capturing(), bench.applying() as running:
        bench.await_equal()
        bench.await_applied()
        bench.target.raise_epoch("task", 100)
        before = bench.target.rows(A)
        change(bench, 250)
        wait_until(lambda: running.error)
        assert isinstance(running.error[0], Fenced)
        assert bench.target.rows(A) == before


def test_a_crash_between_write_and_commit_applies_nothing_twice_p3() -> None:
    bench = Workbench()
    fill(bench)
    with bench.capturing():
        with bench.applying():
            bench.await_equal()
            bench.await_applied()
        bench.faults.before("target.commit", Crash("here"))
        change(bench, 250)
        with bench.applying() as running:
            wait_until(lambda: running.error)
            assert isinstance(running.error[0], Crash)
        with bench.applying() as running:
            bench.await_equal()
            assert not running.error


def test_the_answer_of_a_commit_may_get_lost_p3() -> None:
    bench = Workbench()
    fill(bench)
    with bench.capturing():
        with bench.applying():
            bench.await_equal()
            bench.await_applied()
        bench.faults.after("target.commit", TargetError("The connection was lost."))
        change(bench, 250)
        with bench.applying() as running:
            wait_until(lambda: running.error)
        with bench.applying() as running:
            bench.await_equal()
            bench.await_applied()
            assert not running.error


COPY_SEAMS = ["target.copy_chunk", "target.save_table_state", "target.commit", "snapshot.chunks", "source.exact_snapshot"]


@pytest.mark.parametrize(
    ("slots_left", "seam"), [*((True, seam) for seam in COPY_SEAMS), (False, "source.settle"), (False, "source.snapshot")]
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_copy_resumes_after_a_crash_at_any_seam(
    slots_left: bool, seam: str, when: str, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.engine.snapshot.CHUNK_ROWS", 60)
    bench = Workbench()
    bench.source.slots_left = slots_left
    fill(bench)
    (bench.faults.before if when == "before" else bench.faults.after)(seam, Crash(seam), nth)
    with bench.capturing():
        with bench.applying() as running:
            wait_until(lambda: running.error or bench.copied())
            change(bench, 250)
            wait_until(lambda: running.error or bench.equal())
        with bench.source.transaction() as t:
            t.delete(A, [7])
            t.insert(A, id=5000, owner="late", amount=0)
        with bench.applying() as running:
            bench.await_equal()
            bench.await_applied()
            assert not running.error


def test_chunks_that_are_done_are_not_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.engine.snapshot.CHUNK_ROWS", 50)
    bench = Workbench()
    bench.mappings = bench.mappings[:1]
    fill(bench)
    bench.faults.before("target.copy_chunk", SourceError("lost"), 4)
    with bench.capturing():
        with bench.applying(replace(bench.apply_job(), copy_streams=1)) as running:
            wait_until(lambda: running.error)
        assert len(bench.target.places["task"].states["m-accounts"].chunks_done) == 3
        with bench.applying(replace(bench.apply_job(), copy_streams=1)):
            bench.await_equal()
    assert bench.faults.seen.count("target.copy_chunk:after") == 5


def test_a_lost_snapshot_is_replaced_and_the_copy_stays_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.engine.snapshot.CHUNK_ROWS", 50)
    bench = Workbench()
    fill(bench)

    def lose() -> None:
        bench.source.lose_snapshots()
        change(bench, 250)

    bench.faults.after("target.copy_chunk", lose, 3)
    with bench.capturing():
        with bench.applying() as running:
            wait_until(lambda: running.error)
            assert isinstance(running.error[0], SourceError)
        with bench.applying() as running:
            bench.await_equal()
            bench.await_applied()
            assert not running.error


@pytest.mark.parametrize("slots_left", [True, False])
def test_a_transaction_that_began_before_its_table_was_followed_is_in_the_copy(slots_left: bool) -> None:
    bench = Workbench()
    bench.source.slots_left = slots_left
    fill(bench)
    old = bench.source.begin()
    old.update(A, [5], amount="before it was published")
    with bench.capturing(), bench.applying() as running:
        wait_until(lambda: report_of(running).state == "waiting")
        assert not bench.target.rows(A)
        old.commit()
        wait_until(lambda: bench.clock.move(1) or bench.equal())  # a heartbeat of the capture tells that it has passed the moment


def test_a_copy_waits_for_the_capture_of_a_source_that_keeps_its_log_anyway() -> None:
    """Where nothing has to be made at the source, its word that the log is kept says nothing about what the capture follows."""
    bench = Workbench()
    fill(bench)
    bench.source.publish([m.source for m in bench.mappings])
    with bench.applying() as running:
        wait_until(lambda: report_of(running).state == "waiting")
        change(bench, 250)
        assert "source.exact_snapshot:before" not in bench.faults.seen
        with bench.capturing():
            bench.await_equal()
            bench.await_applied()


@pytest.mark.parametrize("seam", ["source.exact_snapshot", "source.snapshot"])
def test_changes_during_the_copy_are_applied_once_it_is_done(seam: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.engine.snapshot.CHUNK_ROWS", 50)
    bench = Workbench()
    bench.source.slots_left = seam == "source.exact_snapshot"
    fill(bench)
    bench.faults.after(seam, lambda: change(bench, 250))
    with bench.capturing(), bench.applying() as running:
        bench.await_equal()
        bench.await_applied()
        assert not running.error


def test_a_copy_that_nothing_interrupts_is_followed_exactly_from_its_moment_on() -> None:
    """No change is applied that the copy has, none is left out, and no stretch is written as if it might have been applied."""
    bench = Workbench()
    fill(bench)
    bench.faults.before("source.exact_snapshot", lambda: change(bench, 250))

    def later() -> None:
        for number in range(3):
            with bench.source.transaction() as t:
                t.insert(A, id=f"later {number}", owner="x", amount=0)

    bench.faults.after("source.exact_snapshot", later)
    with bench.capturing(), bench.applying():
        bench.await_equal()
        bench.await_applied()
    place, states = bench.target.look("task")
    assert bench.journal.end().next_offset == 5
    assert {s.since for s in states.values()} == {place.exact_from} == {2}


def test_a_mapping_that_is_added_later_is_copied_alone() -> None:
    bench = Workbench()
    fill(bench)
    both = bench.mappings
    bench.mappings = both[:1]
    with bench.capturing(bench.capture_job()), bench.applying():
        bench.await_equal()
        bench.await_applied()
    chunks = bench.faults.seen.count("target.copy_chunk:after")
    bench.mappings = both
    change(bench, 250)
    with bench.capturing(bench.capture_job()), bench.applying() as running:
        bench.await_equal()
        bench.await_applied()
        assert not running.error
    assert bench.faults.seen.count("target.copy_chunk:after") == chunks + 1


def test_a_reset_to_a_moment_replays_to_the_same_rows_p5() -> None:
    bench = Workbench()
    fill(bench)
    with bench.capturing():
        with bench.applying():
            bench.await_equal()
            change(bench, 250)
            with bench.source.transaction() as t:
                t.update(A, [9], amount="again")
            bench.await_equal()
            bench.await_applied()
        place = bench.target.place("task")
        assert place is not None
        bench.epoch += 1
        moved = bench.target.raise_epoch("task", bench.epoch, Checkpoint(bench.epoch, offset=0))
        assert (moved.offset, moved.exact_from, moved.journal_id) == (0, place.offset, place.journal_id)
        bench.target.tables_by_name[A].rows.pop((b"250",))  # an accident at the target
        with bench.applying() as running:
            bench.await_equal()
            bench.await_applied()
            assert not running.error


def test_a_full_reset_copies_again_and_removes_what_the_source_does_not_have() -> None:
    bench = Workbench()
    fill(bench)
    with bench.capturing():
        with bench.applying():
            bench.await_equal()
            bench.await_applied()
        bench.target.tables_by_name[A].insert({"id": b"stranger", "owner": b"x", "amount": b"1"})
        bench.target.tables_by_name[A].rows[(b"3",)]["amount"] = b"nonsense"
        bench.epoch += 1
        bench.target.raise_epoch("task", bench.epoch, Checkpoint(bench.epoch), recopy=True)
        with bench.applying() as running:
            bench.await_equal()
            bench.await_applied()
            assert not running.error


def test_a_journal_that_was_begun_anew_stops_the_task_p7() -> None:
    bench = Workbench()
    fill(bench)
    with bench.capturing(), bench.applying():
        bench.await_equal()
        bench.await_applied()
    bench.journal.journal_id = "another"
    with bench.applying() as running:
        wait_until(lambda: running.error)
        assert isinstance(running.error[0], OutOfWindow)
        assert running.error[0].kind == "history_broken"


def test_stopping_leaves_a_place_that_was_only_passed_by_committed() -> None:
    bench = Workbench()
    fill(bench)
    both = bench.mappings
    with bench.capturing():
        bench.mappings = both[:1]
        with bench.applying():
            bench.await_equal()
            bench.await_applied()
            writes = bench.faults.seen.count("target.write:after")
            for i in range(20):
                with bench.source.transaction() as t:
                    t.insert(N, id=2000 + i, text="not for this task")
            wait_until(lambda: bench.journal.end().next_offset >= 20)
        bench.await_applied()
    assert bench.faults.seen.count("target.write:after") == writes
    assert bench.target.places["task"].states["m-accounts"].state is CopyState.COPIED
