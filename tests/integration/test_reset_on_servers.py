"""Resets on real servers: complete at the boundary, fenced, alone, once, and loud where they can't be done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headwater.domain.errors import Fenced
from headwater.ports.target import Checkpoint
from headwater.services.errors import ServiceError
from tests.crash.sides import side_of
from tests.databases import AnyDatabase, wait_until
from tests.integration.reset_world import ResetWorld, now_ms
from tests.pairs import CROSSED, Sides, on

PAIR = "oldest-newest"

TABLES = (
    "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL, note text)",
    "CREATE TABLE entry (id bigint PRIMARY KEY, account bigint NOT NULL)",
)
NONSENSE = "UPDATE account SET balance = -1"


@pytest.fixture(params=[PAIR])
def sides(request: pytest.FixtureRequest, make_sides: Callable[[str], Sides]) -> Sides:
    """One pair of PostgreSQL servers is enough here."""
    return make_sides(request.param)


@pytest.fixture
def world(tmp_path: Path, sides: Sides) -> Iterator[ResetWorld[AnyDatabase]]:
    """A running service, and a running task `one` that follows."""
    source, target = sides
    source.run(
        *TABLES,
        f"INSERT INTO account SELECT i, 100, concat(repeat('note ', 800), i) FROM {source.series(1, 500)}",
        f"INSERT INTO entry SELECT i, 1 + i % 500 FROM {source.series(1, 1000)}",
    )
    target.run(*TABLES)
    made = ResetWorld(tmp_path, source, target)
    made.add_task("one", ["account", "entry"])
    with made.running():
        made.wish("one", True)
        made.await_state("one", "following")
        yield made
    made.store.close()


def balances(database: AnyDatabase) -> dict[int, int]:
    return {int(id_): int(balance) for id_, balance in database.rows("SELECT id, balance FROM account WHERE id <= 10")}


def ten_transactions(world: ResetWorld[AnyDatabase]) -> list[int]:
    """Ten transactions, at least 3 ms apart; the n-th gives account n the balance 1000 + n. Their commit times in microseconds."""
    before = len(world.stamps())
    for n in range(1, 11):
        world.source.run(f"UPDATE account SET balance = 1000 + {n} WHERE id = {n}")
        time.sleep(0.003)  # not to wait for something: commit times have to differ by more than a millisecond
    stamps = world.await_captured(before + 10)[before : before + 10]
    world.await_applied("one")
    return stamps


@on(PAIR, "mysql-newest")
def test_exactly_what_was_committed_at_or_after_the_moment_is_replayed(world: ResetWorld[AnyDatabase]) -> None:
    """A moment within the millisecond of a commit includes it; the next millisecond does not."""
    stamps = ten_transactions(world)
    for first, after_ms in ((10, 1), (10, 0), (5, 1), (5, 0), (1, 0)):
        world.target.run(NONSENSE)
        assert world.reset("one", stamps[first - 1] // 1000 + after_ms).outcome == "done"
        world.await_applied("one")
        repaired = {n for n, balance in balances(world.target).items() if balance == 1000 + n}
        assert repaired == set(range(first + after_ms, 11))
        assert world.target.rows("SELECT count(*) FROM account WHERE balance = -1") == [(500 - len(repaired),)]
    assert world.target.rows("SELECT count(*) FROM account WHERE length(note) > 4000") == [(500,)]


@on(PAIR, *CROSSED)
def test_inserts_and_deletes_come_out_as_they_were(world: ResetWorld[AnyDatabase]) -> None:
    (moment,) = (now_ms(),)
    world.source.run(
        f"INSERT INTO entry SELECT i, 7 FROM {world.source.series(5001, 5100)}",
        "DELETE FROM entry WHERE id <= 50",
        "UPDATE entry SET id = id + 100000 WHERE id BETWEEN 51 AND 60",
        "INSERT INTO entry VALUES (55, 9)",
    )
    world.await_same("account", "entry")
    world.target.run("DELETE FROM entry WHERE id > 5000", f"INSERT INTO entry SELECT i, -1 FROM {world.target.series(1, 54)}")
    world.reset("one", moment)
    world.await_same("account", "entry")


@on(PAIR, "oldest-mariadb")
def test_nothing_of_the_old_run_commits_after_the_answer_p4(world: ResetWorld[AnyDatabase]) -> None:
    stamps = ten_transactions(world)
    epoch = world.task("one").epoch
    old = world.target_adapter().open("one", epoch)
    place = world.place("one")
    world.reset("one", stamps[0] // 1000)
    with pytest.raises(Fenced):
        old.commit(Checkpoint(epoch, place.journal_id, place.offset, place.exact_from))
    old.close()
    with pytest.raises(Fenced):
        world.target_adapter().open("one", epoch)
    world.await_same("account", "entry")
    assert world.place("one").epoch > epoch


@on(PAIR, "oldest-mariadb")
def test_a_frozen_worker_holds_no_reset_up_and_writes_nothing_afterwards(world: ResetWorld[AnyDatabase]) -> None:
    """The worker is stopped in the middle of a transaction that holds locks at the target."""
    stamps = ten_transactions(world)
    with world.target.session() as blocker:
        blocker.execute("SELECT id FROM account WHERE id = 11 FOR UPDATE")
        world.source.run("UPDATE account SET balance = 1 WHERE id IN (11, 12)")
        wait_until(lambda: side_of(world.target).waiting(), what="the worker waiting for the row")
        done = world.reset("one", stamps[0] // 1000)
        assert done.outcome == "done"
        assert world.place("one").epoch >= done.epoch
    world.await_same("account", "entry")


def test_other_tasks_of_the_source_are_undisturbed(world: ResetWorld[AnyDatabase]) -> None:
    world.target.run("CREATE TABLE entry_too (id bigint PRIMARY KEY, account bigint NOT NULL)")
    world.add_task("two", [])
    world.add_mapping("two", "entry", target="entry_too")
    world.wish("two", True)
    world.await_state("two", "following")
    stamps = ten_transactions(world)
    workers = world.pid("apply", "two"), world.pid("capture", "source")
    epoch = world.task("two").epoch
    world.reset("one", stamps[0] // 1000)
    world.reset("one", None)
    world.source.run("INSERT INTO entry VALUES (9001, 1)")
    world.await_same("account", "entry")
    wait_until(lambda: world.same("entry", target="entry_too"), what="the other task being equal")
    assert (world.pid("apply", "two"), world.pid("capture", "source")) == workers
    assert (world.task("two").epoch, world.place("two").epoch) == (epoch, epoch)
    assert len(world.store.runs("two", 10)) == 1


def test_a_crash_between_acceptance_and_effect_ends_in_exactly_one_reset_p6(world: ResetWorld[AnyDatabase]) -> None:
    stamps = ten_transactions(world)
    world.target.run(NONSENSE)
    world.crash_before_the_effect(lambda: world.reset("one", stamps[4] // 1000))
    (accepted,) = world.store.resets("one", "accepted")
    world.restart_resets()
    wait_until(lambda: world.store.resets("one", "done"), what="the reset being rolled forward")
    (done,) = world.store.resets("one")
    assert (done.id, done.epoch, done.to_offset) == (accepted.id, accepted.epoch, accepted.to_offset)
    world.await_applied("one")
    repaired = {n for n, balance in balances(world.target).items() if balance == 1000 + n}
    assert repaired == set(range(5, 11))


def test_a_second_identical_reset_is_harmless(world: ResetWorld[AnyDatabase]) -> None:
    stamps = ten_transactions(world)
    world.target.run(NONSENSE + " WHERE id > 4 AND id <= 10")
    for _ in range(2):
        assert world.reset("one", stamps[4] // 1000).outcome == "done"
    world.await_same("account", "entry")
    assert [r.outcome for r in world.store.resets("one")] == ["done", "done"]


def test_a_stopped_task_stays_stopped_and_starts_from_there(world: ResetWorld[AnyDatabase]) -> None:
    stamps = ten_transactions(world)
    world.wish("one", False)
    world.await_state("one", "stopped")
    world.target.run(NONSENSE + " WHERE id <= 10")
    done = world.reset("one", stamps[0] // 1000)
    assert world.place("one").offset == done.to_offset
    assert (world.task("one").wished, world.state("one")) == (False, "stopped")
    assert set(balances(world.target).values()) == {-1}
    world.wish("one", True)
    world.await_same("account", "entry")


@on(PAIR, *CROSSED)
def test_without_a_time_everything_is_copied_again_and_orphans_go(world: ResetWorld[AnyDatabase]) -> None:
    ten_transactions(world)
    world.target.run(
        NONSENSE,
        "DELETE FROM account WHERE id % 3 = 0",
        f"INSERT INTO account SELECT i, 0, 'orphan' FROM {world.target.series(100001, 100050)}",
        "INSERT INTO account VALUES (-5, 0, 'orphan')",
        "TRUNCATE TABLE entry",
    )
    done = world.reset("one", None)
    assert (done.outcome, done.to_offset) == ("done", None)
    world.source.run("UPDATE account SET balance = balance + 1 WHERE id % 7 = 0")
    world.await_same("account", "entry")
    world.await_state("one", "following")


@on(PAIR, "mariadb-mariadb")
def test_a_reset_while_copying_goes_on_to_the_same_end(world: ResetWorld[AnyDatabase]) -> None:
    world.source.run(f"INSERT INTO entry SELECT i, 1 FROM {world.source.series(100001, 160000)}")
    for moment in (None, now_ms(), None):
        world.reset("one", moment)
        wait_until(lambda: world.supervisor.apply("one") is not None, what="a run")
    world.source.run("DELETE FROM entry WHERE id > 150000")
    world.await_same("account", "entry")
    world.await_state("one", "following")
    assert [r.outcome for r in world.store.resets("one")] == ["done"] * 3


def test_out_of_reach_is_refused_loudly_and_changes_nothing(world: ResetWorld[AnyDatabase]) -> None:
    before = world.place("one"), world.pid("apply", "one"), world.task("one").epoch
    moments: dict[str, object] = {
        "looks like seconds": now_ms() // 1000,
        "before the window": now_ms() - 3_600_000,
        "future": now_ms() + 60_000,
        "must lie between": 2**70,
        "must be an integer": "yesterday",
    }
    for said, moment in moments.items():
        with pytest.raises(ServiceError, match=r"Invalid parameter \[date_from\]") as error:
            world.reset("one", moment)
        assert error.value.code == "FDI.3033"
        assert said in error.value.message
        newest = world.store.resets("one")[0]
        assert (newest.outcome, newest.message) == ("refused", error.value.message)
    assert (world.place("one"), world.pid("apply", "one"), world.task("one").epoch) == before


@on(PAIR, "mariadb-newest")
def test_a_moment_that_the_task_has_not_reached_is_not_skipped_to(world: ResetWorld[AnyDatabase]) -> None:
    world.wish("one", False)
    world.await_state("one", "stopped")
    stood = world.place("one").offset
    before = len(world.stamps())
    world.source.run("UPDATE account SET balance = 1 WHERE id = 1", "UPDATE account SET balance = 2 WHERE id = 2")
    stamps = world.await_captured(before + 2)
    done = world.reset("one", stamps[-1] // 1000 + 1)
    assert done.to_offset == stood == world.place("one").offset
    assert "goes on from where it stood" in done.message
    world.wish("one", True)
    world.await_same("account", "entry")


@on("mariadb-newest")
def test_a_long_statement_that_is_stamped_with_its_start_is_missed_by_no_reset(world: ResetWorld[AnyDatabase]) -> None:
    """Stamps of a binlog run backward (architecture, section 3): an insert of five seconds, short transactions beside and after it."""
    source, began, before = world.source, now_ms(), len(world.stamps())
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(source.run, "INSERT INTO entry SELECT 9001, 7 + sleep(5)")
        number = 10_000
        while now_ms() < began + 2_500:
            source.run(f"INSERT INTO entry VALUES ({number}, 1)")
            number += 1
        long.result()
    committed = now_ms()
    source.run("INSERT INTO entry VALUES (20000, 1)", "UPDATE account SET balance = 5 WHERE id = 5")
    world.await_same("account", "entry")
    stamps = world.stamps()[before:]
    assert stamps != sorted(stamps)
    for moment in (began, began + 4_000, committed - 300):
        world.target.run("DELETE FROM entry WHERE id = 9001")
        assert world.reset("one", moment).outcome == "done"
        world.await_same("account", "entry")
