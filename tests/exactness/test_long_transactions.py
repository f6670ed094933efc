"""Transactions that last: prepared ones across the slot's start and a restart of the capture, and one of a million rows.

`HEADWATER_SOAK_BYTES` makes the large one hold that many bytes of values instead (2 GB, say), for a run by hand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.clusters import PrivatePostgres
from tests.databases import Database, wait_until
from tests.exactness.exact_world import TASK, ExactWorld

ROWS = 1_000_000
SUM = "SELECT count(*), sum(id), sum(hashtext(v)::bigint) FROM big"


@pytest.fixture
def world(tmp_path: Path, newest_cluster: PrivatePostgres, make_database: Callable[[PrivatePostgres], Database]) -> Iterator[ExactWorld]:
    """A task over a small and a large table."""
    source, target = make_database(newest_cluster), make_database(newest_cluster)
    for side in (source, target):
        side.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE big (id int PRIMARY KEY, v text)")
    made = ExactWorld(tmp_path, source, target)
    made.prepare()
    yield made
    made.store.close()


def test_prepared_transactions_across_the_start_and_a_restart_of_the_capture(world: ExactWorld) -> None:
    name = world.source.name
    world.source.run(f"BEGIN; INSERT INTO t VALUES (1, 'before'); PREPARE TRANSACTION '{name}_1'", "INSERT INTO t VALUES (2, 'beside')")
    with world.running():
        world.wish(TASK, True)
        wait_until(lambda: world.source.rows(f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}' AND application_name = 'headwater'"))
        assert world.state(TASK) != "failed"
        world.source.run(f"COMMIT PREPARED '{name}_1'")
        world.settle(100)
        assert world.differences() == {}
        world.source.run(f"BEGIN; UPDATE t SET v = 'held' WHERE id = 1; INSERT INTO t VALUES (3, 'held'); PREPARE TRANSACTION '{name}_2'")
        world.source.run(f"BEGIN; DELETE FROM t WHERE id = 2; PREPARE TRANSACTION '{name}_3'")
        world.kill("capture", "source")
        world.source.run("INSERT INTO t VALUES (4, 'meanwhile')")
        world.settle()
        assert world.target.rows("SELECT v FROM t ORDER BY id") == [("before",), ("beside",), ("meanwhile",)]
        world.source.run(f"ROLLBACK PREPARED '{name}_3'", f"COMMIT PREPARED '{name}_2'")
        world.settle()
        assert world.differences() == {}
        assert world.target.rows("SELECT v FROM t ORDER BY id") == [("held",), ("beside",), ("held",), ("meanwhile",)]


@pytest.mark.slow
@pytest.mark.timeout(3600 if "HEADWATER_SOAK_BYTES" in os.environ else 180)
def test_a_transaction_of_a_million_rows_p2_p9(world: ExactWorld) -> None:
    size = max(1, int(os.environ.get("HEADWATER_SOAK_BYTES", "0")) // ROWS)
    with world.following():
        world.source.run(
            f"BEGIN; INSERT INTO big SELECT i, repeat(chr(97 + i % 26), {size}) FROM generate_series(1, {ROWS}) i;"
            "SAVEPOINT s; DELETE FROM big WHERE id % 2 = 0; ROLLBACK TO s;"
            "UPDATE big SET v = 'changed' WHERE id % 100 = 0;"
            "DELETE FROM big WHERE id % 100 = 1; UPDATE big SET id = -id WHERE id % 1000 = 7;"
            "COMMIT"
        )
        world.settle(3000 if size > 1 else 120)
        assert world.source.rows(SUM) == world.target.rows(SUM)
