"""The data plane end to end: real servers, a real journal, worker processes under the supervisor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.sides import side_of
from tests.databases import AnyDatabase, wait_until
from tests.integration.world import World
from tests.pairs import CROSSED, POSTGRES, Sides, on


def tables(database: AnyDatabase) -> tuple[str, ...]:
    """Their statements."""
    referring = "customer bigint, FOREIGN KEY (customer) REFERENCES customers (id)"
    return (
        "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, note text)",
        f"CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(12,2), placed {database.instant}, {referring})",
    )


def rows(database: AnyDatabase) -> tuple[str, ...]:
    """The statements that fill the tables."""
    return (
        f"INSERT INTO customers SELECT i, concat('name ', i), repeat('x', i % 50) FROM {database.series(1, 2000)}",
        f"INSERT INTO orders SELECT i, i * 1.25, {database.at('2026-01-01 00:00:00')}, 1 + i % 2000 FROM {database.series(1, 5000)}",
    )


@pytest.fixture
def world(tmp_path: Path, sides: Sides) -> Iterator[World[AnyDatabase]]:
    """A world over two servers with the same two empty tables, filled at the source; a task `t` over both."""
    source, target = sides
    source.run(*tables(source), *rows(source))
    target.run(*tables(target))
    made = World(tmp_path, source, target)
    made.add_task("t", ["customers", "orders"])
    yield made
    made.store.close()


@on(POSTGRES[0], *CROSSED, "mysql-mysql")
def test_copies_then_follows_all_kinds_of_change(world: World[AnyDatabase]) -> None:
    with world.running():
        world.wish("t", True)
        world.await_same("customers", "orders")
        world.await_state("t", "following")
        world.source.run(
            "INSERT INTO customers VALUES (3000, 'new', NULL)",
            "UPDATE customers SET name = 'changed' WHERE id <= 10",
            "UPDATE customers SET id = 9000 WHERE id = 3000",
            "DELETE FROM orders WHERE id % 7 = 0",
        )
        world.await_same("customers", "orders")
        world.source.run("TRUNCATE TABLE orders", "INSERT INTO orders VALUES (1, NULL, NULL, 1)")
        world.await_same("customers", "orders")
        wait_until(lambda: world.report("t").rows_deleted > 0)
        assert {t.state for t in world.report("t").tables} == {"copied"}


def test_a_stopped_task_goes_on_where_it_stood_and_capture_never_pauses(world: World[AnyDatabase]) -> None:
    with world.running():
        world.wish("t", True)
        world.await_same("customers", "orders")
        world.await_state("t", "following")
        world.wish("t", False)
        world.await_state("t", "stopped")
        captured = world.supervisor.capture("source")
        assert captured is not None
        world.source.run("DELETE FROM orders", "UPDATE customers SET note = 'while stopped'")
        wait_until(lambda: (world.supervisor.capture("source") or captured).next_offset >= captured.next_offset + 2)
        assert not world.same("orders")
        world.wish("t", True)
        world.await_same("customers", "orders")
        copies = [run for run in world.store.runs("t", 10) if run.counters.get("rows_copied")]
        assert len(copies) == 1


@on(POSTGRES[1], "mysql-mariadb")
def test_the_service_goes_on_after_a_restart(world: World[AnyDatabase]) -> None:
    with world.running():
        world.wish("t", True)
        world.await_same("customers", "orders")
        world.await_state("t", "following")
    world.source.run("DELETE FROM orders WHERE id > 100", "INSERT INTO customers VALUES (5000, 'between', NULL)")
    with world.running():
        world.await_same("customers", "orders")
        world.await_state("t", "following")
    outcomes = [run.outcome for run in world.store.runs("t", 10)]
    assert outcomes == ["stopped", "stopped"]


@pytest.mark.crash
@on(POSTGRES[0], "mariadb-mariadb")
@pytest.mark.parametrize("kind", ["capture", "apply"])
def test_a_killed_worker_is_started_again_and_nothing_is_lost_or_twice_p1_p3(world: World[AnyDatabase], kind: str) -> None:
    counts = "CREATE TABLE counts (id bigint PRIMARY KEY, n bigint)"
    world.source.run(counts, f"INSERT INTO counts SELECT i, 0 FROM {world.source.series(1, 50)}")
    world.target.run(counts)
    world.add_mapping("t", "counts")
    with world.running():
        world.wish("t", True)
        world.await_same("customers", "orders", "counts")
        world.await_state("t", "following")
        for round_ in range(3):
            for _ in range(30):
                world.source.run("UPDATE counts SET n = n + 1")
            world.kill(kind, "source" if kind == "capture" else "t")
            world.source.run(f"INSERT INTO customers VALUES ({7000 + round_}, 'after', NULL)")
        world.await_same("customers", "orders", "counts")
    assert world.target.rows("SELECT DISTINCT n FROM counts") == [(90,)]


def test_two_tasks_share_one_slot_and_one_capture(world: World[AnyDatabase]) -> None:
    world.target.run("CREATE TABLE mirror (id bigint PRIMARY KEY, name text)")
    world.add_task("u", [], frozenset({"INSERT", "UPDATE"}))
    world.add_mapping("u", "customers", ("id", "name"), target="mirror")
    with world.running():
        world.wish("t", True)
        world.wish("u", True)
        world.await_same("customers", "orders")
        wait_until(lambda: world.same("customers", "id, name", "mirror"))
        world.source.run("UPDATE customers SET name = 'both' WHERE id = 5", "DELETE FROM orders WHERE customer = 6")
        world.source.run("DELETE FROM customers WHERE id = 5 AND NOT EXISTS (SELECT FROM orders WHERE customer = 5)")
        world.await_same("customers", "orders")
        wait_until(lambda: world.same("customers", "id, name", "mirror"))
        assert len(world.source.rows("SELECT 1 FROM pg_replication_slots WHERE database = current_database()")) == 1


def test_a_task_that_replicates_no_deletes_keeps_rows(world: World[AnyDatabase]) -> None:
    world.target.run("CREATE TABLE mirror (id bigint PRIMARY KEY, name text)")
    world.add_task("u", [], frozenset({"INSERT", "UPDATE"}))
    world.add_mapping("u", "customers", ("id", "name"), target="mirror")
    world.source.run("DELETE FROM orders")
    with world.running():
        world.wish("u", True)
        wait_until(lambda: world.same("customers", "id, name", "mirror"))
        world.await_state("u", "following")
        world.source.run("DELETE FROM customers WHERE id = 1", "INSERT INTO customers VALUES (1, 'again', NULL)")
        world.source.run("DELETE FROM customers WHERE id = 2")
        wait_until(lambda: world.target.rows("SELECT name FROM mirror WHERE id = 1") == [("again",)])
        assert world.target.rows("SELECT count(*) FROM mirror WHERE id = 2") == [(1,)]


@on(POSTGRES[1], "mysql-newest")
def test_a_table_that_is_added_to_a_task_is_copied_and_the_others_are_not(world: World[AnyDatabase]) -> None:
    with world.running():
        world.wish("t", True)
        world.await_same("customers", "orders")
        world.await_state("t", "following")
        world.wish("t", False)
        world.await_state("t", "stopped")
        for side in (world.source, world.target):
            side.run("CREATE TABLE extra (id bigint PRIMARY KEY, v text)")
        world.source.run(f"INSERT INTO extra SELECT i, 'v' FROM {world.source.series(1, 1000)}", "DELETE FROM orders WHERE id < 100")
        world.add_mapping("t", "extra")
        world.wish("t", True)
        world.await_same("customers", "orders", "extra")
        world.await_state("t", "following")
        world.source.run("UPDATE extra SET v = 'w'", "DELETE FROM orders")
        world.await_same("customers", "orders", "extra")
        wait_until(lambda: world.store.runs("t", 1)[0].counters.get("state") == "following")
    assert world.store.runs("t", 1)[0].counters["rows_copied"] == 1000


def test_what_was_made_at_the_source_goes_with_its_last_task(world: World[AnyDatabase]) -> None:
    slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    with world.running():
        world.wish("t", True)
        world.await_same("customers", "orders")
        world.await_state("t", "following")
        assert world.source.rows(slots) == [(1,)]
        world.wish("t", False)
        world.await_state("t", "stopped")
        world.store.delete_task("t")
        world.supervisor.nudge()
        wait_until(lambda: world.source.rows(slots) == [(0,)])
        wait_until(lambda: not world.journal_dir("source").exists())
        wait_until(lambda: not (world.store.data_source("source") or pytest.fail("gone")).published)
        assert world.source.rows("SELECT count(*) FROM pg_publication") == [(0,)]


def test_a_lost_slot_fails_the_task_with_the_reason_once_it_has_applied_the_journal_p7(world: World[AnyDatabase]) -> None:
    with world.running():
        world.wish("t", True)
        world.await_same("customers", "orders")
        world.await_state("t", "following")
    world.source.run(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()",
        "DELETE FROM orders WHERE id = 1",
    )
    with world.running():
        world.await_state("t", "failed")
        task = world.store.task("t")
        assert task is not None
        assert task.error_kind == "slot_lost"
        assert not world.same("orders")
        world.wish("t", True)  # without consent it fails again
        wait_until(lambda: len(world.store.runs("t", 10)) >= 2)
        world.await_state("t", "failed")
        world.store.renew_history("source")
        world.copy_again("t")
        world.wish("t", True)
        world.await_same("customers", "orders")
        world.await_state("t", "following")


@on(*POSTGRES, "oldest-mariadb")
def test_lag_grows_while_the_target_is_blocked_and_ends_when_it_is_not(world: World[AnyDatabase]) -> None:
    with world.running():
        world.wish("t", True)
        world.await_same("customers", "orders")
        world.await_state("t", "following")
        wait_until(lambda: world.report("t").lag_ms == 0)
        with side_of(world.target).lock("orders"):
            world.source.run("UPDATE orders SET amount = 0 WHERE id = 1")
            wait_until(lambda: (world.report("t").lag_ms or 0) > 3000)
            assert world.report("t").lag_transactions >= 1
            world.await_state("t", "catching_up")
        world.await_same("customers", "orders")
        wait_until(lambda: world.report("t").lag_ms == 0)
        world.await_state("t", "following")


@on(*POSTGRES, "oldest-mariadb")
def test_a_task_whose_target_is_locked_says_so_and_by_whom_and_goes_on_by_itself(world: World[AnyDatabase]) -> None:
    world.stall_after_s = 5.0
    with world.running():
        world.wish("t", True)
        world.await_state("t", "following")
        with side_of(world.target).lock("orders") as holder:
            world.source.run("DELETE FROM orders WHERE id = 1")
            world.await_state("t", "stalled", timeout_s=60)
            wait_until(lambda: f"held by session {holder} (" in world.message("t"), what="the holder is named")
            assert "The target has not finished what it was given" in world.message("t")
        world.await_state("t", "following")
        world.await_same("orders")
