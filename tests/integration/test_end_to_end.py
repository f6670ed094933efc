"""The data plane end to end: real servers, a real journal, worker processes under the supervisor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import Database, wait_until
from tests.integration.world import World

TABLES = (
    "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, note text)",
    "CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint REFERENCES customers, amount numeric(12,2), placed timestamptz)",
)
FILL = (
    "INSERT INTO customers SELECT i, 'name ' || i, repeat('x', i % 50) FROM generate_series(1, 2000) i",
    "INSERT INTO orders SELECT i, 1 + i % 2000, i * 1.25, timestamptz '2026-01-01 00:00+00' + i * interval '1 s' FROM generate_series(1, 5000) i",
)


@pytest.fixture
def world(tmp_path: Path, source_database: Database, target_database: Database) -> Iterator[World]:
    """A world over two servers with the same two empty tables, filled at the source; a task `t` over both."""
    source_database.run(*TABLES, *FILL)
    target_database.run(*TABLES)
    made = World(tmp_path, source_database, target_database)
    made.add_task("t", ["customers", "orders"])
    yield made
    made.store.close()


def test_copies_then_follows_all_kinds_of_change(world: World) -> None:
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
        world.source.run("TRUNCATE orders", "INSERT INTO orders VALUES (1, 1, NULL, NULL)")
        world.await_same("customers", "orders")
        wait_until(lambda: world.report("t").rows_deleted > 0)
        assert {t.state for t in world.report("t").tables} == {"copied"}
