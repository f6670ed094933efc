"""Tables without a key on real servers: each change once, whatever happens while they are copied (P3, P5)."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.databases import Database, wait_until
from tests.integration.reset_world import ResetWorld, now_ms

BAG = "CREATE TABLE bag (n int, v text, j json, p point)"
KEPT = "CREATE TABLE kept (id int PRIMARY KEY, n int)"
FILL = """
INSERT INTO bag SELECT i % 40, CASE WHEN i % 3 > 0 THEN 'v' || i % 5 END, '{{"a": 1}}', point(i % 2, 0) FROM generate_series(1, {}) i
"""
ROWS = "SELECT n, v, j::text, p::text, count(*) FROM bag GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
ANY = "WHERE ctid = (SELECT ctid FROM bag ORDER BY n, v LIMIT 1 OFFSET {})"


class Writers:
    """Sessions that insert, update and delete rows of which there are many alike, until told to stop."""

    def __init__(self, database: Database) -> None:
        self._database, self._stop, self.made = database, threading.Event(), 0
        self._threads = [threading.Thread(target=self._write, args=(seed,)) for seed in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.made > 20, what="the writers write")
        return self

    def __exit__(self, *left: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, seed: int) -> None:
        chance = random.Random(seed)
        with self._database.connect(autocommit=False) as connection:
            while not self._stop.is_set():
                for _ in range(chance.randint(1, 3)):
                    connection.execute(self._statement(chance).encode())
                connection.execute("UPDATE kept SET n = n + 1 WHERE id = 1")
                connection.commit()
                self.made += 1

    def _statement(self, chance: random.Random) -> str:
        any_row = ANY.format(chance.randint(0, 200))
        return chance.choice(
            [
                FILL.format(chance.randint(1, 3)),
                f"UPDATE bag SET v = 'u{chance.randint(0, 3)}', j = NULL {any_row}",
                f"UPDATE bag SET n = NULL {any_row}",
                f"DELETE FROM bag {any_row}",
            ]
        )


@pytest.fixture
def world(tmp_path: Path, source_database: Database, target_database: Database) -> Iterator[ResetWorld]:
    """A task over a table without a key and one with a key, not started."""
    source_database.run(BAG, KEPT, "ALTER TABLE bag REPLICA IDENTITY FULL", FILL.format(3000), "INSERT INTO kept VALUES (1, 0)")
    target_database.run(BAG, KEPT, FILL.format(7))
    made = ResetWorld(tmp_path, source_database, target_database)
    made.add_task("one", ["bag", "kept"])
    with made.running():
        yield made
    made.store.close()


def same(world: ResetWorld) -> bool:
    return world.source.rows(ROWS) == world.target.rows(ROWS) and world.same("kept")


def await_exactly_the_same(world: ResetWorld) -> None:
    """Equal once, and still equal when everything that was written has been applied."""
    wait_until(lambda: same(world), 60, "both sides have the same rows equally often")
    world.source.run("UPDATE kept SET n = n + 1 WHERE id = 1")
    wait_until(lambda: same(world), 60, "both sides are the same after a further transaction")
    world.await_state("one", "following", "catching_up")


def test_each_change_of_a_table_without_a_key_is_applied_once(world: ResetWorld) -> None:
    with Writers(world.source) as writers:
        world.wish("one", True)
        world.await_state("one", "waiting", "copying", "catching_up", "following")
        world.kill("apply", "one")
        world.await_state("one", "following", timeout_s=60)
        before = writers.made
        wait_until(lambda: writers.made > before + 50)
        world.kill("apply", "one")
    await_exactly_the_same(world)
    world.source.run("TRUNCATE bag", FILL.format(20), "DELETE FROM bag WHERE n < 5", FILL.format(3))
    await_exactly_the_same(world)


def test_a_reset_copies_a_table_without_a_key_again_and_says_so(world: ResetWorld) -> None:
    world.wish("one", True)
    world.await_state("one", "following")
    moment = now_ms()
    with Writers(world.source):
        done = world.reset("one", moment)
        assert done.message.endswith("Without a usable key, and therefore copied again: public.bag.")
        world.target.run("DELETE FROM bag WHERE n = 3")  # an accident, which the copy repairs
        world.await_state("one", "following", timeout_s=60)
    await_exactly_the_same(world)
    with Writers(world.source):
        world.reset("one", None)
        world.await_state("one", "following", timeout_s=60)
    await_exactly_the_same(world)


def test_rows_that_somebody_removed_at_the_target_stop_the_task(world: ResetWorld) -> None:
    world.wish("one", True)
    world.await_state("one", "following")
    world.target.run("DELETE FROM bag")
    world.source.run("DELETE FROM bag WHERE n = 3")
    world.await_state("one", "failed")
    assert world.task("one").error_kind == "target_changed"
    world.reset("one", now_ms())
    await_exactly_the_same(world)
