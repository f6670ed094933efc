"""From PostgreSQL into MariaDB and MySQL, end to end: texts for keys, values that change hands; copy, follow, kill, replay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import Database, MysqlDatabase
from tests.integration.world import World

TABLES = (
    "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, note text)",
    "CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint, amount numeric(12,2), placed timestamptz)",
)
FILL = (
    "INSERT INTO customers SELECT i, 'name ' || i, repeat('x', i % 50) FROM generate_series(1, 2000) i",
    "INSERT INTO orders SELECT i, 1 + i % 2000, i * 1.25, timestamptz '2026-01-01 00:00+00' FROM generate_series(1, 5000) i",
)
TARGET_TABLES = (
    "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, note text)",
    "CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint, amount decimal(12,2), placed timestamp(6) NULL)",
)
SWAPS = "CREATE TABLE swaps (id varchar(20) PRIMARY KEY, place int UNIQUE, flag {flag}, raw {bytes})"

Mixed = World[Database | MysqlDatabase]


@pytest.fixture
def world(tmp_path: Path, newest_database: Database, mysql_database: MysqlDatabase) -> Iterator[Mixed]:
    """A world with the same tables on both sides, filled at the source; a task `t` over all of them."""
    newest_database.run(*TABLES, *FILL, SWAPS.format(flag="boolean", bytes="bytea"))
    newest_database.run("INSERT INTO swaps SELECT 'k' || i, i, i % 2 = 0, decode('00ff5c0a', 'hex') FROM generate_series(1, 500) i")
    mysql_database.run(*TARGET_TABLES, SWAPS.format(flag="tinyint(1)", bytes="blob"))
    made: Mixed = World(tmp_path, newest_database, mysql_database)
    made.add_task("t", ["customers", "orders", "swaps"])
    yield made
    made.store.close()


def test_copies_follows_survives_a_kill_and_is_replayed(world: Mixed) -> None:
    tables = ("customers", "orders", "swaps")
    with world.running():
        world.wish("t", True)
        world.await_same(*tables)
        world.await_state("t", "following")
        begun = world.target.rows("SELECT next_offset FROM headwater_checkpoint")[0][0]
        world.source.run(
            "INSERT INTO customers VALUES (3000, E'new\\t\\\\\\n\\f', NULL)",
            "UPDATE customers SET name = 'changed' WHERE id <= 1000",
            "UPDATE customers SET id = 9000 WHERE id = 3000",
            "DELETE FROM orders WHERE id % 7 = 0",
            "BEGIN; UPDATE swaps SET place = -1 WHERE id = 'k1'; UPDATE swaps SET place = 1 WHERE id = 'k2'; "
            "UPDATE swaps SET place = 2, raw = NULL WHERE id = 'k1'; COMMIT",
        )
        world.await_same(*tables)
        world.kill("apply", "t")
        world.source.run("TRUNCATE orders", "INSERT INTO orders VALUES (1, 1, NULL, NULL)", "UPDATE swaps SET id = 'K1' WHERE id = 'k1'")
        world.await_same(*tables)
        world.target.run("UPDATE customers SET name = 'spoilt' WHERE id = 5")
        world.replay("t", int(begun))
        world.await_same(*tables)
        world.await_state("t", "following")
