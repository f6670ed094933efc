"""What stands in the way is found all at once, and doing what the repairs say makes it go away."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing

import pytest

from headwater.domain.errors import SourceError
from headwater.sources.postgres import PostgresSource
from tests.conftest import ClusterFactory
from tests.databases import Database
from tests.sources.postgres_logs import Follower, source_of, table

T, U = table("t"), table("u")


@pytest.fixture
def role(database: Database) -> Iterator[PostgresSource]:
    """A source whose role may do nothing but log in. The role is named as the database is."""
    password = secrets.token_hex(8)
    database.run(f"CREATE ROLE {database.name} LOGIN PASSWORD '{password}'", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    yield source_of(database, user=database.name, password=password)
    source_of(database).release()
    database.run(f"REASSIGN OWNED BY {database.name} TO CURRENT_USER", f"DROP OWNED BY {database.name}", f"DROP ROLE {database.name}")


def texts(source: PostgresSource, *names: str) -> str:
    return "\n".join(str(finding) for finding in source.check([table(name) for name in names]))


def test_ready(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    source = source_of(database)
    assert source.check([T]) == []
    source.publish([T])
    assert source.check([T]) == []


def test_tables_that_can_not_be_followed(database: Database) -> None:
    database.run(
        "CREATE TABLE keyless (a int)",
        'CREATE TABLE "Key less" (a int NOT NULL UNIQUE)',
        "CREATE TABLE nothing (a int PRIMARY KEY)",
        "ALTER TABLE nothing REPLICA IDENTITY NOTHING",
        "CREATE UNLOGGED TABLE fleeting (a int PRIMARY KEY)",
        "CREATE VIEW seen AS SELECT 1 AS a",
        "CREATE MATERIALIZED VIEW kept AS SELECT 1 AS a",
        "CREATE TABLE fullkeyless (a int)",
        "ALTER TABLE fullkeyless REPLICA IDENTITY FULL",
        "CREATE TABLE parts (a int) PARTITION BY LIST (a)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1)",
        "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2)",
        "ALTER TABLE parts_1 REPLICA IDENTITY FULL",
    )
    found = texts(source_of(database), "keyless", "Key less", "nothing", "fleeting", "seen", "kept", "fullkeyless", "parts", "missing")
    assert found.count("\n") == 7
    assert "fullkeyless" not in found
    assert "parts_1" not in found
    for sign in (
        "public.keyless has no key and its log lacks old rows: once it is published, PostgreSQL refuses its UPDATE and DELETE.",
        "Run: ALTER TABLE public.keyless REPLICA IDENTITY FULL;",
        'ALTER TABLE public."Key less" ADD PRIMARY KEY',
        "ALTER TABLE public.nothing REPLICA IDENTITY DEFAULT",
        "ALTER TABLE public.fleeting SET LOGGED",
        "public.seen is a view",
        "public.kept is a materialized view",
        "ALTER TABLE public.parts_2 REPLICA IDENTITY FULL;",
        "public.missing does not exist",
    ):
        assert sign in found


def test_a_role_without_rights_is_told_all_of_them(database: Database, role: PostgresSource) -> None:
    """And an administrator who follows the sentences, owning the tables himself, makes it work: the least privileges."""
    database.run("CREATE SCHEMA s", "CREATE TABLE s.t (id int PRIMARY KEY)")
    there = table("t", "s")
    found = "\n".join(str(finding) for finding in role.check([there]))
    name, publication = database.name, role.config.publication
    for sign in (f"ALTER ROLE {name} REPLICATION", f"GRANT USAGE ON SCHEMA s TO {name}", f"GRANT SELECT ON TABLE s.t TO {name}"):
        assert sign in found
    assert f"GRANT CREATE ON DATABASE {name} TO {name}" in found
    assert f"CREATE PUBLICATION {publication} FOR TABLE s.t" in found
    with pytest.raises(SourceError) as caught:
        role.publish([there])
    assert caught.value.kind == "source_refused"
    database.run(
        f"ALTER ROLE {name} REPLICATION",
        f"GRANT USAGE ON SCHEMA s TO {name}",
        f"GRANT SELECT ON TABLE s.t TO {name}",
        f"CREATE PUBLICATION {publication} FOR TABLE s.t",
    )
    assert role.check([there]) == []
    role.publish([there])
    with closing(role.open_log([there], None, False)) as log:
        assert role.published([there])
        database.run("INSERT INTO s.t VALUES (1)")
        Follower(log).rows(1)
    assert role.settle(5)
    with closing(role.snapshot()) as taken:
        assert b"".join(taken.read(there, ["id"], ["id"], taken.chunks(there, ["id"], 10)[0])) == b"1\n"
    role.release()
    assert database.rows("SELECT count(*) FROM pg_publication") == [(1,)]


def test_a_role_that_owns_its_tables(database: Database, role: PostgresSource) -> None:
    name = database.name
    database.run(f"ALTER ROLE {name} REPLICATION", f"GRANT CREATE ON DATABASE {name} TO {name}", "CREATE TABLE t (id int PRIMARY KEY)")
    assert "does not own public.t" in texts(role, "t")
    database.run(f"ALTER TABLE t OWNER TO {name}")
    assert role.check([T]) == []
    role.publish([T])
    assert role.published([T])
    role.release()
    assert database.rows("SELECT count(*) FROM pg_publication") == [(0,)]


def test_a_publication_of_somebody_else_that_lacks_something(database: Database, role: PostgresSource) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    database.run(f"CREATE PUBLICATION {role.config.publication} FOR TABLE t WITH (publish = 'insert')")
    found = texts(role, "t", "u")
    assert f"ALTER PUBLICATION {role.config.publication} ADD TABLE public.u" in found
    assert f"ALTER PUBLICATION {role.config.publication} SET (publish" in found
    with pytest.raises(SourceError, match=r"ADD TABLE public\.u") as caught:
        role.publish([T, U])
    assert caught.value.kind == "source_refused"


def test_a_publication_that_leaves_rows_or_columns_out(database: Database) -> None:
    if int(database.rows("SHOW server_version_num")[0][0]) < 150000:
        pytest.skip("publications have neither before 15")
    database.run("CREATE TABLE t (id int PRIMARY KEY, a int)", "CREATE TABLE u (id int PRIMARY KEY, a int)")
    source = source_of(database)
    database.run(f"CREATE PUBLICATION {source.config.publication} FOR TABLE t WHERE (id > 5), u (id)")
    found = texts(source, "t", "u")
    assert "only some rows of public.t" in found
    assert "only some columns of public.u" in found


def test_tables_are_listed_as_far_as_the_role_sees_them(database: Database, role: PostgresSource) -> None:
    database.run(
        "CREATE TABLE t (id int)",
        "CREATE TABLE hidden (id int)",
        "CREATE VIEW v AS SELECT 1 AS a",
        "CREATE SCHEMA a",
        'CREATE TABLE a."X y" (id int)',
        f"GRANT SELECT ON t TO {database.name}",
    )
    assert role.tables() == [T]
    assert source_of(database).tables() == [table("X y", "a"), table("hidden"), T]


def test_the_server_itself(make_cluster: ClusterFactory) -> None:
    cluster = make_cluster(settings={"wal_level": "replica", "max_replication_slots": "0", "max_wal_senders": "0"})
    database = Database(cluster, "postgres")
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    found = texts(source_of(database), "t")
    for sign in ("SET wal_level = 'logical'", "SET max_replication_slots", "SET max_wal_senders"):
        assert sign in found
