"""Setting rows aside, with the real apply over fakes: what is refused lies over the table until it is settled (P3, P5, P7)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from headwater.domain.dirty import DirtyPolicy, DirtyRow, sealed_at
from headwater.domain.errors import DirtyLimit, HeadwaterError, RowRefused, TargetError
from headwater.engine.apply import ApplyJob
from headwater.ports.dirty import DirtyRecord
from headwater.ports.runtime import ApplyReport
from headwater.ports.target import Checkpoint
from headwater.sealing import RowSeal, row_key
from headwater.testing import Crash
from tests.databases import wait_until
from tests.engine.workbench import ACCOUNTS, Running, Workbench, report_of

SEAL = RowSeal(row_key(bytes(32)))
T = ACCOUNTS.table


def bad(row: dict[str, bytes | None]) -> bool:
    """The target's constraint on accounts."""
    return row["amount"] is not None and row["amount"].startswith(b"-")


@pytest.fixture
def bench() -> Workbench:
    """Accounts may not have a negative amount at the target; updates that keep an owner don't send it."""
    made = Workbench()
    made.source.toast = {T: frozenset({"owner"})}
    made.target.tables_by_name[T].refuses = bad
    return made


def job(bench: Workbench, rows_max: int = 5, per_minute_max: int | None = None) -> ApplyJob:
    return replace(bench.apply_job(ahead=0), dirty=DirtyPolicy(rows_max, per_minute_max), seal=SEAL)


def account(bench: Workbench, id: int) -> dict[str, bytes | None] | None:
    return next((row for row in bench.target.rows(T) if row["id"] == str(id).encode()), None)


def amount(bench: Workbench, id: int) -> bytes | None:
    row = account(bench, id)
    return row["amount"] if row else None


def records(bench: Workbench, state: str = "open") -> list[DirtyRecord]:
    return [r for r in bench.target.places["task"].dirty.values() if r.state == state]


def opened(record: DirtyRecord) -> DirtyRow:
    assert record.sealed_row is not None
    return DirtyRow.read(SEAL.open(record.sealed_row, sealed_at("task", record.id, "row")))


def report(running: Running) -> ApplyReport:
    found = report_of(running)
    assert isinstance(found, ApplyReport)
    return found


def insert(bench: Workbench, *rows: tuple[int, int]) -> None:
    with bench.source.transaction() as t:
        for id, amount in rows:
            t.insert(T, id=id, owner=f"o{id}", amount=amount)


def update(bench: Workbench, id: int, **values: object) -> None:
    with bench.source.transaction() as t:
        t.update(T, [id], **values)


def ended(bench: Workbench, made: ApplyJob) -> HeadwaterError:
    """What ends this run."""
    with bench.applying(made) as running:
        wait_until(lambda: running.error, what="an end")
        (error,) = running.error
        running.error.clear()
    assert isinstance(error, HeadwaterError)
    return error


def whole(bench: Workbench) -> list[dict[str, bytes | None]]:
    """The target's accounts with what was set aside laid over them."""
    rows = {row["id"]: row for row in bench.target.rows(T)}
    for record in bench.target.places["task"].dirty.values():
        if record.sealed_row is None:
            continue
        row = opened(record)
        key = row.values["id"]
        if row.kind == "delete":
            rows.pop(key, None)
        elif row.kind == "write" or key in rows:
            rows[key] = {**rows.get(key, {}), **row.values}
    return sorted(rows.values(), key=lambda row: int(row["id"] or 0))


def test_refused_rows_are_set_aside_and_all_others_written(bench: Workbench) -> None:
    with bench.capturing(), bench.applying(job(bench)) as running:
        wait_until(bench.copied)
        insert(bench, (1, 1), (2, -2), (3, 3))
        bench.await_applied()
        assert [account(bench, i) is not None for i in (1, 2, 3)] == [True, False, True]
        (record,) = records(bench)
        assert opened(record) == DirtyRow("write", {"id": b"2", "owner": b"o2", "amount": b"-2"})
        assert (record.position, record.target_table, record.times) == (str(len(bench.source.log)), "public.accounts", 1)
        assert b"-2" not in (record.sealed_row or b"") + record.sealed_key + record.reason.encode()
        assert (report(running).rows_dirty, report(running).dirty_open) == (1, 1)


def test_the_row_that_stands_stays_until_a_later_change_is_taken(bench: Workbench) -> None:
    insert(bench, (1, 1))
    with bench.capturing(), bench.applying(job(bench)) as running:
        wait_until(bench.copied)
        update(bench, 1, amount=-1)  # without the owner, which did not change
        bench.await_applied()
        assert (account(bench, 1), len(records(bench))) == ({"id": b"1", "owner": b"o1", "amount": b"1"}, 1)
        update(bench, 1, amount=-7)
        bench.await_applied()
        assert [(r.times, opened(r).values["amount"]) for r in records(bench)] == [(2, b"-7")]
        update(bench, 1, amount=5)
        bench.await_applied()
        assert (account(bench, 1), records(bench)) == ({"id": b"1", "owner": b"o1", "amount": b"5"}, [])
        assert [(r.state, r.sealed_row) for r in records(bench, "resolved")] == [("resolved", None)]
        assert (report(running).rows_dirty, report(running).dirty_open) == (1, 0)


def test_no_half_row_comes_of_an_update_that_lacks_values(bench: Workbench) -> None:
    with bench.capturing(), bench.applying(job(bench)):
        wait_until(bench.copied)
        insert(bench, (1, -1))
        bench.await_applied()
        update(bench, 1, amount=5)
        bench.await_applied()
        assert (account(bench, 1), records(bench)) == ({"id": b"1", "owner": b"o1", "amount": b"5"}, [])


@pytest.mark.parametrize("how", ["delete", "truncate", "key"])
def test_what_the_source_removes_is_settled(bench: Workbench, how: str) -> None:
    with bench.capturing(), bench.applying(job(bench)):
        wait_until(bench.copied)
        insert(bench, (1, -1))
        bench.await_applied()
        with bench.source.transaction() as t:
            if how == "delete":
                t.delete(T, [1])
            elif how == "truncate":
                t.truncate(T)
            else:
                t.update(T, [1], id=2, amount=2)
        bench.await_applied()
        assert records(bench) == []
        assert bench.equal()


def test_a_discarded_row_still_completes_later_updates(bench: Workbench) -> None:
    with bench.capturing(), bench.applying(job(bench)):
        wait_until(bench.copied)
        insert(bench, (1, -1))
        bench.await_applied()
        mending = bench.target.mend("task")
        mending.dirty.settle([records(bench)[0].id], "discarded", "anna", 1)
        mending.commit()
        update(bench, 1, amount=5)
        bench.await_applied()
        assert bench.equal()
        assert [(r.settled_by, r.sealed_row) for r in records(bench, "discarded")] == [("anna", None)]


def test_without_leave_to_set_aside_the_task_stops_with_its_place_kept_p7(bench: Workbench) -> None:
    insert(bench, (1, 1))
    with bench.capturing():
        with bench.applying(job(bench, 0)):
            wait_until(bench.copied)
        before = bench.target.place("task")
        insert(bench, (2, 2), (3, -3))
        assert isinstance(ended(bench, job(bench, 0)), RowRefused)
        after = bench.target.place("task")
        assert before is not None
        assert after == replace(before, epoch=2)
        assert account(bench, 2) is None


def test_a_task_that_may_no_longer_set_aside_keeps_what_it_has(bench: Workbench) -> None:
    with bench.capturing():
        with bench.applying(job(bench)):
            wait_until(bench.copied)
            insert(bench, (1, -1))
            bench.await_applied()
        with bench.applying(job(bench, 0)):
            insert(bench, (2, 2))
            update(bench, 1, amount=1)
            bench.await_applied()
            assert (bench.equal(), records(bench)) == (True, [])
        insert(bench, (3, -1))
        assert ended(bench, job(bench, 0)).kind == "row_refused"


def test_beyond_the_limit_nothing_of_the_batch_is_done_p7(bench: Workbench) -> None:
    with bench.capturing():
        with bench.applying(job(bench, 2)):
            wait_until(bench.copied)
            insert(bench, (1, -1), (2, -2))
            bench.await_applied()
        insert(bench, (3, 3), (4, -4))
        error = ended(bench, job(bench, 2))
        assert isinstance(error, DirtyLimit)
        assert "3 rows would be set aside; the limit is 2 rows" in str(error)
        assert (account(bench, 3), len(records(bench))) == (None, 2)
        mending = bench.target.mend("task")
        mending.dirty.settle([records(bench)[0].id], "discarded", "anna", 1)
        mending.commit()
        with bench.applying(job(bench, 2)):
            bench.await_applied()
            assert (account(bench, 3) is not None, len(records(bench))) == (True, 2)


def test_a_person_may_make_room_while_the_task_runs(bench: Workbench) -> None:
    with bench.capturing(), bench.applying(job(bench, 1)) as running:
        wait_until(bench.copied)
        insert(bench, (1, -1))
        bench.await_applied()
        mending = bench.target.mend("task")
        mending.dirty.settle([records(bench)[0].id], "discarded", "anna", 1)
        mending.commit()
        wait_until(lambda: bench.clock.move(11) and report(running).dirty_open == 0, what="a look at what somebody has done")
        insert(bench, (2, -2))
        bench.await_applied()
        assert [r.state for r in bench.target.places["task"].dirty.values()] == ["discarded", "open"]


def test_the_rate_limit_looks_at_one_minute(bench: Workbench) -> None:
    with bench.capturing():
        with bench.applying(job(bench, 100, 2)):
            wait_until(bench.copied)
            for i in range(4):
                insert(bench, (i, -1))
                bench.await_applied()
                bench.clock.move(40)
        insert(bench, (10, -1), (11, -1), (12, -1))
        assert "within a minute" in str(ended(bench, job(bench, 100, 2)))
        assert len(records(bench)) == 4


def test_a_replay_makes_no_dirty_rows_p5(bench: Workbench) -> None:
    with bench.capturing():
        with bench.applying(job(bench)):
            wait_until(bench.copied)
            insert(bench, (1, -1), (2, -2))
            update(bench, 1, amount=-3)
            bench.await_applied()
        before = {r.id: opened(r) for r in records(bench)}
        made = job(bench, rows_max=2, per_minute_max=1)
        bench.target.raise_epoch("task", made.epoch, Checkpoint(made.epoch, offset=0))
        with bench.applying(made) as running:
            bench.await_applied()
            assert report(running).rows_dirty == 0
        assert {r.id: opened(r) for r in records(bench)} == before
        assert all(r.times > 1 for r in records(bench))
        assert whole(bench) == bench.source.rows(T)


def test_rows_that_the_copy_brings_are_set_aside_too_and_a_fresh_copy_begins_anew(bench: Workbench) -> None:
    insert(bench, *((i, -i if i in (7, 8) else i) for i in range(1, 20)))
    with bench.capturing():
        with bench.applying(job(bench)) as running:
            wait_until(bench.copied)
            bench.await_applied()
            assert (report(running).rows_dirty, report(running).dirty_open) == (2, 2)
        assert len(bench.target.rows(T)) == 17
        ids = {r.id for r in records(bench)}
        insert(bench, (30, -30))
        update(bench, 7, amount=7)
        made = job(bench)
        bench.target.raise_epoch("task", made.epoch, Checkpoint(made.epoch), recopy=True)
        with bench.applying(made) as running:
            wait_until(bench.copied)
            bench.await_applied()
            assert report(running).rows_dirty == 1, "that of 30; 8 is the same as before"
        assert len({r.id for r in records(bench)} & ids) == 1
        assert whole(bench) == bench.source.rows(T)


def test_rows_of_a_mapping_that_is_gone_are_over(bench: Workbench) -> None:
    with bench.capturing():
        with bench.applying(job(bench)):
            wait_until(bench.copied)
            insert(bench, (1, -1))
            bench.await_applied()
        bench.mappings = [m for m in bench.mappings if m.source != T]
        with bench.applying(job(bench)):
            wait_until(lambda: records(bench, "removed"))


def test_what_another_key_sealed_is_told_and_not_passed_over(bench: Workbench) -> None:
    with bench.capturing():
        with bench.applying(job(bench)):
            wait_until(bench.copied)
            insert(bench, (1, -1))
            bench.await_applied()
        other = replace(job(bench), seal=RowSeal(row_key(b"another secret")))
        assert ended(bench, other).kind == "dirty_unreadable"


def at_rest(bench: Workbench) -> bool:
    """All that the source has committed is applied."""
    bench.clock.move(1)
    place, end = bench.target.place("task"), bench.journal.end()
    captured = end.position is not None and int(end.position) >= len(bench.source.log)
    return captured and bench.copied() and place is not None and place.offset == end.next_offset


def wander(bench: Workbench, rng: random.Random) -> None:
    """One transaction of random changes."""
    with bench.source.transaction() as t:
        for _ in range(rng.randint(1, 4)):
            there = [int(key[0] or 0) for key in t.rows(T)]
            id, value = rng.randint(0, 5), rng.choice([-1, 1]) * rng.randint(1, 99)
            if id not in there:
                t.insert(T, id=id, owner=f"o{rng.randint(0, 9)}", amount=value)
            elif rng.random() < 0.2:
                t.delete(T, [id])
            elif rng.random() < 0.2 and len(there) < 6:
                new = rng.choice([i for i in range(6) if i not in there])
                t.update(T, [id], id=new, amount=value, owner=f"o{rng.randint(0, 9)}")
            elif rng.random() < 0.4:
                t.update(T, [id], owner=f"o{rng.randint(0, 9)}")
            else:
                t.update(T, [id], amount=value)


@pytest.mark.parametrize("seed", range(12))
def test_target_and_what_lies_over_it_are_the_source_whatever_happens_p3_p5(bench: Workbench, seed: int) -> None:
    """Random changes, resets, and crashes at random seams; a crash leaves no row out and brings none twice."""
    rng = random.Random(seed)
    for _ in range(rng.randint(0, 3)):
        wander(bench, rng)
    with bench.capturing():
        for _ in range(6):
            for _ in range(rng.randint(1, 5)):
                wander(bench, rng)
            made = job(bench, 50)
            kind = rng.choice(["go on", "replay", "copy"])
            place = bench.target.place("task")
            if place is not None and place.offset is not None and kind != "go on":
                to = Checkpoint(made.epoch, offset=rng.randint(0, place.offset) if kind == "replay" else None)
                bench.target.raise_epoch("task", made.epoch, to, recopy=kind == "copy")
            if rng.random() < 0.5:
                call = rng.choice(["target.write", "target.commit", "target.copy_chunk", "target.save_table_state"])
                plan = bench.faults.before if rng.random() < 0.5 else bench.faults.after
                plan(call, rng.choice([Crash("here"), TargetError("The answer was lost.")]), rng.randint(1, 3))
            with bench.applying(made) as running:
                wait_until(lambda: running.error or at_rest(bench), what="an end")
                running.error.clear()
            bench.faults.clear()
        with bench.applying(job(bench, 50)):
            wait_until(bench.copied)
            bench.await_applied()
    assert whole(bench) == bench.source.rows(T)
    assert sorted(opened(r).values["id"] or b"" for r in records(bench)) == [r["id"] for r in bench.source.rows(T) if bad(r)]
