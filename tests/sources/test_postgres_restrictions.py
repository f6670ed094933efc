"""Tables that can't be followed because of their kind: each is refused with its reason, and what the repair says makes it go away."""

from __future__ import annotations

import pytest

from headwater.sources.postgres import PostgresSource
from tests.databases import Database
from tests.sources.postgres_logs import source_of, table


def texts(source: PostgresSource, *names: str, schema: str = "public") -> list[str]:
    return [str(finding) for finding in source.check([table(name, schema) for name in names])]


def version(database: Database) -> int:
    return int(database.rows("SHOW server_version_num")[0][0]) // 10000


@pytest.mark.parametrize(
    ("name", "made", "reason"),
    [
        ("v", "CREATE VIEW v AS SELECT 1 AS a", "public.v is a view"),
        ("m", "CREATE MATERIALIZED VIEW m AS SELECT 1 AS a", "public.m is a materialized view"),
        ("s", "CREATE SEQUENCE s", "public.s is a sequence"),
        ("c", "CREATE TYPE c AS (a int)", "public.c is a composite type"),
        ("i", "CREATE TABLE t (a int); CREATE INDEX i ON t (a)", "public.i is an index"),
        (
            "f",
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f (a int) SERVER s",
            "a foreign table",
        ),
        ("u", "CREATE UNLOGGED TABLE u (a int PRIMARY KEY)", "ALTER TABLE public.u SET LOGGED"),
        ("d", "CREATE TABLE d (a int PRIMARY KEY DEFERRABLE)", "public.d has no key"),
    ],
)
def test_what_is_no_table_or_has_no_log(database: Database, name: str, made: str, reason: str) -> None:
    database.run(made)
    (found,) = texts(source_of(database), name)
    assert reason in found


def test_tables_of_the_system(database: Database) -> None:
    assert any(
        "pg_catalog.pg_class is a table of the system" in text for text in texts(source_of(database), "pg_class", schema="pg_catalog")
    )


def test_a_partition_and_its_table_are_not_followed_both(database: Database) -> None:
    if version(database) < 13:
        pytest.skip("partitioned tables can't be published before 13")
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE high PARTITION OF t FOR VALUES FROM (10) TO (20)",
    )
    source = source_of(database)
    assert texts(source, "t") == texts(source, "low", "high") == []
    (found,) = texts(source, "t", "low")
    assert "public.low is a partition of public.t" in found
    source.publish([table("high")])
    assert "public.high is a partition of public.t" in texts(source, "t")[0]
    source.publish([table("t")])
    assert "public.low is a partition of public.t" in texts(source, "low")[0]


def test_partitions_whose_changes_would_not_come_or_not_find_their_row(database: Database) -> None:
    if version(database) < 13:
        pytest.skip("partitioned tables can't be published before 13")
    database.run(
        "CREATE TABLE t (id int NOT NULL, v int NOT NULL) PARTITION BY RANGE (id)",
        "CREATE UNIQUE INDEX by_id ON t (id)",
        "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE mid PARTITION OF t FOR VALUES FROM (10) TO (20)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX by_id",
        "ALTER TABLE mid REPLICA IDENTITY FULL",
    )
    source = source_of(database)
    (found,) = texts(source, "t")
    assert "partition public.low do not name their row by the key of public.t" in found
    database.run("ALTER TABLE public.low REPLICA IDENTITY FULL")
    assert texts(source, "t") == []
    if version(database) < 18:
        database.run(
            "CREATE UNLOGGED TABLE passing PARTITION OF t FOR VALUES FROM (20) TO (30)", "ALTER TABLE passing REPLICA IDENTITY FULL"
        )
        (found,) = texts(source, "t")
        assert "public.passing of public.t is unlogged" in found


def test_generated_columns_with_a_full_replica_identity(database: Database) -> None:
    """Published, such a table could not be updated any more by those who work with it."""
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t VALUES (1, 1)",
    )
    source = source_of(database)
    found = texts(source, "t")
    assert len(found) == (version(database) >= 18)
    if found:
        database.run(found[0].partition("Run: ")[2])
    assert texts(source, "t") == []
    source.publish([table("t")])
    database.run("UPDATE t SET a = 2")
