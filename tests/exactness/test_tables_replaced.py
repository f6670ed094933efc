"""Whole tables that are renamed, swapped, moved or made anew under running tasks: each such task stops and says so, others go on.

Each case has a table and a task of its own, all on one source; `other` is a task that none of it concerns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import Database, wait_until
from tests.integration.world import World

MADE = "CREATE TABLE {0} (id int PRIMARY KEY, v text)"
ROWS = "INSERT INTO {0} VALUES (5, 'after')"
SWAP = (
    MADE.format("{0}_new"),
    "INSERT INTO {0}_new VALUES (1, 'new'), (2, 'new')",
    "ALTER TABLE {0} RENAME TO {0}_old; ALTER TABLE {0}_new RENAME TO {0}",
)
CASES = {
    "renamed": ("ALTER TABLE {0} RENAME TO {0}_x", ROWS.format("{0}_x")),
    "quietly_renamed": ("ALTER TABLE {0} RENAME TO {0}_x",),
    "swapped": (*SWAP, ROWS),
    "quietly_swapped": SWAP,
    "made_anew": ("DROP TABLE {0}", MADE, ROWS),
    "quietly_made_anew": ("DROP TABLE {0}", MADE),
    "dropped": (ROWS, "DROP TABLE {0}"),
    "moved": ("ALTER TABLE {0} SET SCHEMA elsewhere", ROWS.format("elsewhere.{0}")),
}
"""Case -> statements at the source; {0} is the table."""


@pytest.fixture
def world(tmp_path: Path, source_database: Database, target_database: Database) -> Iterator[World]:
    made = World(tmp_path, source_database, target_database)
    source_database.run("CREATE SCHEMA elsewhere")
    for name in (*CASES, "other"):
        source_database.run(MADE.format(name), f"INSERT INTO {name} VALUES (1, 'before'), (2, 'before')")
        target_database.run(MADE.format(name))
        made.add_task(name, [name])
    yield made
    made.store.close()


def test_tasks_whose_tables_are_replaced_stop_and_say_so_p7(world: World) -> None:
    with world.running():
        for name in (*CASES, "other"):
            world.wish(name, True)
        for name in (*CASES, "other"):
            world.await_state(name, "following", timeout_s=120)
        for name, statements in CASES.items():
            world.source.run(*(statement.format(name) for statement in statements))
        for name in CASES:
            wait_until(lambda name=name: world.state(name) == "failed", 60, f"{name} stops, which is {world.state(name)}")  # type: ignore[misc]
        world.source.run("INSERT INTO other VALUES (3, 'goes on')")
        world.await_same("other")
        assert world.state("other") == "following"
    untold = {name: world.message(name) for name in CASES if name not in world.message(name)}
    assert not untold
    for name in CASES:
        kept = {row[0] for row in world.target.rows(f"SELECT v FROM {name} WHERE id IN (1, 2)")}
        assert kept == {"before"}, f"{name}: nothing of another table was written, and nothing is lost"
