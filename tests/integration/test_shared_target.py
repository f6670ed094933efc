"""Several source tables into one target table on real servers: copied, followed, replayed, copied again; mappings come and go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import AnyDatabase, wait_until
from tests.integration.world import World
from tests.pairs import POSTGRES, Sides, on

SOURCES = (
    "CREATE TABLE person (id bigint PRIMARY KEY, name text)",
    "CREATE TABLE contact (id bigint PRIMARY KEY, mail text)",
    "CREATE TABLE person_archive (id bigint PRIMARY KEY, name text)",
    "INSERT INTO person SELECT i, 'name ' || i FROM generate_series(1, 1000) i",
    "INSERT INTO contact SELECT i, 'mail ' || i FROM generate_series(500, 1500) i",
    "INSERT INTO person_archive SELECT i, 'old ' || i FROM generate_series(2000, 2100) i",
)
TARGET = "CREATE TABLE person (id bigint PRIMARY KEY, name text, mail text)"
JOINED = """
    SELECT id, name, mail FROM (SELECT * FROM person UNION ALL SELECT * FROM person_archive) p FULL JOIN contact c USING (id) ORDER BY id
"""


@pytest.fixture
def world(tmp_path: Path, sides: Sides) -> Iterator[World[AnyDatabase]]:
    """A task `t` of three mappings into one target table."""
    source_database, target_database = sides
    source_database.run(*SOURCES)
    target_database.run(TARGET)
    made = World(tmp_path, source_database, target_database)
    made.add_task("t", [])
    for table in ("person", "contact", "person_archive"):
        made.add_mapping("t", table, target="person", mapping_id=table)
    yield made
    made.store.close()


def joined(world: World[AnyDatabase]) -> bool:
    return world.source.rows(JOINED) == world.target.rows("SELECT id, name, mail FROM person ORDER BY id")


def await_joined(world: World[AnyDatabase]) -> None:
    try:
        wait_until(lambda: joined(world), timeout_s=60, what="the target is the join of the sources")
    except AssertionError as error:
        rows = set(world.source.rows(JOINED)) ^ set(world.target.rows("SELECT id, name, mail FROM person"))
        raise AssertionError(
            f"{error}: {world.state('t')}, {world.message('t')}, {len(rows)} differ, {sorted(rows, key=str)[:4]}"
        ) from None


def work(world: World[AnyDatabase]) -> None:
    """Rows come and go on all sides; some are archived, in one transaction and in two."""
    with world.source.session() as session:
        session.execute("INSERT INTO person_archive SELECT * FROM person WHERE id % 10 = 0")
        session.execute("DELETE FROM person WHERE id % 10 = 0")
        session.commit()
    world.source.run(
        "INSERT INTO person_archive SELECT * FROM person WHERE id = 501",
        "DELETE FROM person WHERE id = 501",
        "DELETE FROM contact WHERE id % 3 = 0",
        "DELETE FROM person WHERE id % 7 = 0",
        "UPDATE contact SET id = id + 10000 WHERE id > 1490",
        "UPDATE person SET name = upper(name) WHERE id % 5 = 0",
    )


@on(*POSTGRES, "oldest-mariadb")
def test_the_target_is_the_join_of_its_sources_all_along(world: World[AnyDatabase]) -> None:
    with world.running():
        world.wish("t", True)
        await_joined(world)
        world.await_state("t", "following")
        started = world.report("t").offset
        assert started is not None
        work(world)
        await_joined(world)
        world.source.run("TRUNCATE contact", "INSERT INTO contact VALUES (1, 'one'), (20000, 'new')")
        await_joined(world)
        world.target.run("UPDATE person SET mail = 'nonsense' WHERE id = 1", "DELETE FROM person WHERE id = 20000")
        world.replay("t", started)
        await_joined(world)
        world.source.run("DELETE FROM person WHERE id = 1", "DELETE FROM contact WHERE id = 1")
        await_joined(world)
        world.target.run("UPDATE person SET name = 'nonsense', mail = 'nonsense'", "INSERT INTO person VALUES (-1, 'foreign', NULL)")
        world.copy_again("t")
        await_joined(world)
        world.source.run("TRUNCATE person, contact, person_archive")
        await_joined(world)


@on(*POSTGRES)
def test_a_mapping_that_comes_to_a_table_that_another_one_fills_and_goes_again(world: World[AnyDatabase]) -> None:
    for table in ("contact", "person_archive"):
        world.store.delete_mapping("t", table)
    with world.running():
        world.wish("t", True)
        wait_until(lambda: world.target.rows("SELECT count(*) FROM person") == [(1000,)], what="the first mapping is copied")
        world.await_state("t", "following")
        world.add_mapping("t", "contact", target="person", mapping_id="contact")
        world.add_mapping("t", "person_archive", target="person", mapping_id="person_archive")
        world.supervisor.nudge()
        await_joined(world)
        world.source.run("DELETE FROM person WHERE id < 600", "DELETE FROM contact WHERE id > 900")
        await_joined(world)
        assert len(world.target.rows("SELECT FROM headwater.book WHERE complete")) == 3


@on(*POSTGRES)
def test_rows_that_contradict_one_another_stop_the_task_with_the_reason(world: World[AnyDatabase]) -> None:
    with world.running():
        world.wish("t", True)
        await_joined(world)
        world.await_state("t", "following", timeout_s=60)
        world.source.run("INSERT INTO person_archive VALUES (1, 'another name')")
        world.await_state("t", "failed", timeout_s=60)
        assert "have the same key in public.person, and differ in a column that both fill" in world.message("t")
        assert world.target.rows("SELECT name FROM person WHERE id = 1") == [("name 1",)]
