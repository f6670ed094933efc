"""Tables without a key on real servers: each change once, whatever happens while they are copied (P3, P5)."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from tests.databases import AWAY, AnyDatabase, wait_until
from tests.integration.reset_world import ResetWorld, now_ms
from tests.integration.world import World
from tests.pairs import POSTGRES, Sides, on

KEPT = "CREATE TABLE kept (id int PRIMARY KEY, n int)"


@dataclass(frozen=True)
class Bag:
    """The table without a key. `columns` are two that not everybody compares alike, `values` theirs, `seen` how a test looks at them."""

    columns: str
    values: str
    seen: str

    @property
    def table(self) -> str:
        """Its statement."""
        return f"CREATE TABLE bag (n int, v text, {self.columns})"

    @property
    def rows(self) -> str:
        """How often there is each row."""
        return (
            f"SELECT * FROM (SELECT n, v, {self.seen}, count(*) FROM bag GROUP BY 1, 2, 3, 4) t ORDER BY n IS NULL, n, v IS NULL, v, 3, 4"
        )

    def fill(self, database: AnyDatabase, rows: int) -> str:
        """A statement that adds so many rows, many of them alike."""
        values = f"i % 40, CASE WHEN i % 3 > 0 THEN concat('v', i % 5) END, {self.values}"
        return f"INSERT INTO bag SELECT {values} FROM {database.series(1, rows)}"


SPECIAL = Bag("j json, p point", """'{"a": 1}', point(i % 2, 0)""", "j::text, p::text")
"""PostgreSQL has no equality for these types."""
PLAIN = Bag("j double precision, p numeric(4,1)", "0.1, i % 2", "j, p")


def bag(world: World[AnyDatabase]) -> Bag:
    """The one that both sides can have."""
    return SPECIAL if {world.source.type, world.target.type} == {"POSTGRESQL"} else PLAIN


def any_row(database: AnyDatabase, number: int) -> str:
    """The end of a statement that is about one row, if there are so many."""
    if database.type == "POSTGRESQL":
        return f"WHERE ctid = (SELECT ctid FROM bag ORDER BY n, v LIMIT 1 OFFSET {number})"
    return f"WHERE n = {number % 40} ORDER BY v LIMIT 1"


class Writers:
    """Sessions that insert, update and delete rows of which there are many alike, until told to stop."""

    def __init__(self, world: World[AnyDatabase]) -> None:
        self._database, self._bag, self._stop, self.made = world.source, bag(world), threading.Event(), 0
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
        with self._database.session() as session:
            while not self._stop.is_set():
                try:
                    for _ in range(chance.randint(1, 3)):
                        session.execute(self._statement(chance))
                    session.execute("UPDATE kept SET n = n + 1 WHERE id = 1")
                    session.commit()
                except AWAY:  # a deadlock, where reading a table without a key locks its rows
                    session.rollback()
                    continue
                self.made += 1

    def _statement(self, chance: random.Random) -> str:
        one = any_row(self._database, chance.randint(0, 200))
        return chance.choice(
            [
                self._bag.fill(self._database, chance.randint(1, 3)),
                f"UPDATE bag SET v = 'u{chance.randint(0, 3)}', j = NULL {one}",
                f"UPDATE bag SET n = NULL {one}",
                f"DELETE FROM bag {one}",
            ]
        )


@pytest.fixture
def world(tmp_path: Path, sides: Sides) -> Iterator[ResetWorld[AnyDatabase]]:
    """A task over a table without a key and one with a key, not started."""
    source, target = sides
    made = ResetWorld(tmp_path, source, target)
    chosen = bag(made)
    source.run(chosen.table, KEPT, chosen.fill(source, 3000), "INSERT INTO kept VALUES (1, 0)")
    if source.type == "POSTGRESQL":
        source.run("ALTER TABLE bag REPLICA IDENTITY FULL")
    target.run(chosen.table, KEPT, chosen.fill(target, 7))
    made.add_task("one", ["bag", "kept"])
    with made.running():
        yield made
    made.store.close()


def same(world: ResetWorld[AnyDatabase]) -> bool:
    query = bag(world).rows
    return world.source.rows(query) == world.target.rows(query) and world.same("kept")


def await_exactly_the_same(world: ResetWorld[AnyDatabase]) -> None:
    """Equal once, and still equal when everything that was written has been applied."""
    wait_until(lambda: same(world), 60, "both sides have the same rows equally often")
    world.source.run("UPDATE kept SET n = n + 1 WHERE id = 1")
    wait_until(lambda: same(world), 60, "both sides are the same after a further transaction")
    world.await_state("one", "following", "catching_up")


@on(POSTGRES[0], "oldest-mariadb", "mariadb-mariadb")
def test_each_change_of_a_table_without_a_key_is_applied_once(world: ResetWorld[AnyDatabase]) -> None:
    with Writers(world) as writers:
        world.wish("one", True)
        world.await_state("one", "waiting", "copying", "catching_up", "following")
        world.kill("apply", "one")
        world.await_state("one", "following", timeout_s=60)
        before = writers.made
        wait_until(lambda: writers.made > before + 50)
        world.kill("apply", "one")
    await_exactly_the_same(world)
    more = [bag(world).fill(world.source, rows) for rows in (20, 3)]
    world.source.run("TRUNCATE TABLE bag", more[0], "DELETE FROM bag WHERE n < 5", more[1])
    await_exactly_the_same(world)


@on(POSTGRES[1], "mysql-newest")
def test_a_reset_copies_a_table_without_a_key_again_and_says_so(world: ResetWorld[AnyDatabase]) -> None:
    world.wish("one", True)
    world.await_state("one", "following")
    moment = now_ms()
    with Writers(world):
        done = world.reset("one", moment)
        assert done.message.endswith(f"Without a usable key, and therefore copied again: {world.source.schema}.bag.")
        world.target.run("DELETE FROM bag WHERE n = 3")  # an accident, which the copy repairs
        world.await_state("one", "following", timeout_s=60)
    await_exactly_the_same(world)
    with Writers(world):
        world.reset("one", None)
        world.await_state("one", "following", timeout_s=60)
    await_exactly_the_same(world)


@on(*POSTGRES, "oldest-mariadb")
def test_rows_that_somebody_removed_at_the_target_stop_the_task(world: ResetWorld[AnyDatabase]) -> None:
    world.wish("one", True)
    world.await_state("one", "following")
    world.target.run("DELETE FROM bag")
    world.source.run("DELETE FROM bag WHERE n = 3")
    world.await_state("one", "failed")
    assert world.task("one").error_kind == "target_changed"
    world.reset("one", now_ms())
    await_exactly_the_same(world)
