"""Values that the target can't hold, and values of a hundred megabytes, through the whole chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.clusters import PrivatePostgres
from tests.databases import Database, wait_until
from tests.integration.world import World

LARGE = "decode(repeat(md5('{}'), 6553600), 'hex')"  # 100 MiB
DIGESTS = "SELECT id, octet_length(v), md5(v) FROM large ORDER BY id"
MEMORY_LIMIT_MB = 2600
"""Ten times the 200 MB that such a value has in the text form in which it travels, and what a worker has anyway. A value is in memory as
a whole in several places at once: what is bounded is how many of them."""


@pytest.fixture
def world(tmp_path: Path, newest_cluster: PrivatePostgres, make_database: Callable[[PrivatePostgres], Database]) -> Iterator[World]:
    made = World(tmp_path, make_database(newest_cluster), make_database(newest_cluster))
    yield made
    made.store.close()


def test_values_of_a_hundred_megabytes_pass_in_bounded_memory_p8_p9(world: World) -> None:
    for database in (world.source, world.target):
        database.run("CREATE TABLE large (id int PRIMARY KEY, v bytea)")
    world.source.run(f"INSERT INTO large VALUES (1, {LARGE.format('copied')})")
    world.add_task("t", ["large"])
    with world.running():
        world.wish("t", True)
        world.await_state("t", "following", timeout_s=120)
        world.source.run(
            f"INSERT INTO large VALUES (2, {LARGE.format('followed')})", f"UPDATE large SET v = {LARGE.format('updated')} WHERE id = 1"
        )
        wait_until(lambda: world.source.rows(DIGESTS) == world.target.rows(DIGESTS), 120, "the values are the same")
        for kind, id_ in (("capture", "source"), ("apply", "t")):
            assert peak_mb(world.pid(kind, id_)) < MEMORY_LIMIT_MB, kind


def peak_mb(pid: int) -> float:
    """The most memory that a process ever had resident."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


@pytest.mark.parametrize(
    ("at_source", "at_target", "value"),
    [
        (
            "CREATE TYPE mood AS ENUM ('fine', 'SECRET')",
            "CREATE TYPE mood AS ENUM ('fine')",
            "'SECRET'",
        ),
        (
            "CREATE DOMAIN mood AS text",
            "CREATE DOMAIN mood AS text CHECK (VALUE <> 'SECRET')",
            "'SECRET'",
        ),
        (
            "CREATE DOMAIN mood AS text",
            "CREATE DOMAIN mood AS text NOT NULL DEFAULT 'fine'",
            "NULL",
        ),
    ],
    ids=["enum label", "domain check", "domain not null"],
)
def test_a_value_that_the_target_s_type_lacks_stops_the_task_p7(world: World, at_source: str, at_target: str, value: str) -> None:
    for database, made in ((world.source, at_source), (world.target, at_target)):
        database.run(made, "CREATE TABLE moods (id int PRIMARY KEY, v mood)")
    world.source.run("INSERT INTO moods VALUES (1, 'fine')")
    world.add_task("t", ["moods"])
    with world.running():
        world.wish("t", True)
        world.await_state("t", "following", timeout_s=60)
        world.source.run(
            "INSERT INTO moods VALUES (2, 'fine')", f"INSERT INTO moods VALUES (3, {value})", "INSERT INTO moods VALUES (4, 'fine')"
        )
        world.await_state("t", "failed", timeout_s=60)
        task = world.store.task("t")
        assert task is not None
        assert task.error_kind == "row_refused"
        assert "moods" in task.message
        assert "SECRET" not in task.message
        assert {row[0] for row in world.target.rows("SELECT id FROM moods")} <= {1, 2}, "nothing from its batch on"
