"""What the PostgreSQL target finds in the way before a task starts, and that the sentence beside it repairs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headwater.domain.errors import TargetError
from headwater.domain.tables import Column, TableName
from headwater.targets.postgres import PostgresTarget, PostgresTargetConfig
from tests.databases import Database
from tests.targets.test_postgres_target import mapping, target_of


@pytest.fixture
def nobody(database: Database) -> Iterator[str]:
    """A user without any right."""
    name = f"nobody_{database.name}"
    database.run(f"CREATE ROLE {name} LOGIN PASSWORD 'pw'", f"REVOKE ALL ON DATABASE {database.name} FROM public")
    database.run(f"GRANT CONNECT ON DATABASE {database.name} TO {name}", "REVOKE ALL ON SCHEMA public FROM public")
    yield name
    database.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_ready_target_has_no_findings(database: Database) -> None:
    database.run("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text, b int NOT NULL DEFAULT 1)")
    assert target_of(database).check([mapping("id", "a")]) == []


def test_everything_is_found_at_once(database: Database) -> None:
    database.run(
        "CREATE TABLE t (id int, a text, g int GENERATED ALWAYS AS (id + 1) STORED, must int NOT NULL, n int GENERATED ALWAYS AS IDENTITY)"
    )
    missing = TableName("public", "nowhere")
    found = target_of(database).check([mapping("id", "a", "g", "n", "ghost"), mapping("id", table=missing)])
    whats = " ".join(f.what for f in found)
    for part in (
        "no column ghost",
        "g is a generated",
        "must must not be NULL",
        "exactly (id)",
        "n is GENERATED ALWAYS",
        f"no table {missing}",
    ):
        assert part in whats
    assert len(found) == 6


def test_a_partial_or_deferrable_or_wider_unique_index_is_no_key(database: Database) -> None:
    database.run(
        "CREATE TABLE t (id int NOT NULL, a int, CONSTRAINT later UNIQUE (id) DEFERRABLE)",
        "CREATE UNIQUE INDEX ON t (id) WHERE a > 0",
        "CREATE UNIQUE INDEX ON t (id, a)",
    )
    (finding,) = target_of(database).check([mapping("id", "a")])
    assert "exactly (id)" in finding.what
    database.run(finding.repair)
    assert target_of(database).check([mapping("id", "a")]) == []


def test_missing_privileges_name_the_grant_that_repairs_them(database: Database, nobody: str) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    target = target_of(database, nobody, "pw")
    for _ in range(2):  # a schema that may not be used hides nothing else
        found = target.check([mapping("id", "a")])
        grants = [f.repair.split("; or")[0] for f in found]
        assert all(g.startswith("GRANT") for g in grants)
        if grants:
            database.run(*grants)
    assert target.check([mapping("id", "a")]) == []
    target.raise_epoch("task", 1)
    assert target.check([mapping("id", "a")]) == []


def test_a_schema_made_by_an_administrator_has_to_be_granted(database: Database, nobody: str) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", f"GRANT TEMPORARY ON DATABASE {database.name} TO {nobody}")
    database.run(f"GRANT USAGE ON SCHEMA public TO {nobody}", f"GRANT ALL ON t TO {nobody}")
    target_of(database).raise_epoch("other", 1)
    target = target_of(database, nobody, "pw")
    (finding,) = target.check([mapping("id")])
    assert "schema headwater" in finding.what
    database.run(*finding.repair.strip(";").split("; "))
    assert target.check([mapping("id")]) == []
    target.raise_epoch("task", 1)
    target.open("task", 1).close()


def test_foreign_keys_in_force_need_room_aside_and_little_else(database: Database, nobody: str) -> None:
    database.run(
        "CREATE TABLE p (id int PRIMARY KEY, u int UNIQUE)", "CREATE TABLE c (id int PRIMARY KEY, p int CONSTRAINT of_p REFERENCES p)"
    )
    database.run(f"GRANT USAGE ON SCHEMA public TO {nobody}", f"GRANT ALL ON p, c TO {nobody}")
    database.run(f"GRANT TEMPORARY ON DATABASE {database.name} TO {nobody}")
    target_of(database).raise_epoch("other", 1)  # an administrator has made our schema
    database.run(f"GRANT USAGE ON SCHEMA headwater TO {nobody}", f"GRANT ALL ON ALL TABLES IN SCHEMA headwater TO {nobody}")
    both = [mapping("id", table=TableName("public", name)) for name in ("p", "c")]
    assert target_of(database).check(both) == []
    target = target_of(database, nobody, "pw")
    assert target.check(both[1:]) == []
    (finding,) = target.check(both)
    assert "may not create tables in the schema headwater" in finding.what
    database.run(finding.repair)
    assert target.check(both) == []
    database.run("ALTER TABLE c ADD CONSTRAINT of_u FOREIGN KEY (p) REFERENCES p (u) ON UPDATE CASCADE")
    (finding,) = target.check(both)
    assert "of_u" in finding.what
    assert "not the mapped key" in finding.what
    (finding,) = target.check([both[0], mapping("id", key=(), table=both[1].target)])[:1]
    assert "mapped without key" in finding.what
    assert target_of(database).check(both) == []


def test_what_would_lose_or_hide_rows_is_refused(database: Database, nobody: str) -> None:
    database.run(
        "CREATE UNLOGGED TABLE t (id int PRIMARY KEY)",
        "CREATE TABLE ruled (id int PRIMARY KEY)",
        "CREATE RULE away AS ON INSERT TO ruled DO INSTEAD NOTHING",
        "CREATE TABLE hidden (id int PRIMARY KEY)",
        "ALTER TABLE hidden ENABLE ROW LEVEL SECURITY",
        "CREATE VIEW seen AS SELECT * FROM hidden",
        "CREATE DOMAIN must AS int NOT NULL",
        "CREATE TABLE needs (id int PRIMARY KEY, b must)",
        f"GRANT ALL ON t, ruled, hidden, seen, needs TO {nobody}",
        f"GRANT USAGE ON SCHEMA public TO {nobody}",
        f"GRANT CREATE, TEMPORARY ON DATABASE {database.name} TO {nobody}",
    )
    target = target_of(database, nobody, "pw")
    words = {"t": "unlogged", "ruled": "rule away", "hidden": "Row security", "seen": "is a view", "needs": "b must not be NULL"}
    for table, word in words.items():
        (finding,) = target.check([mapping("id", table=TableName("public", table))])
        assert word in finding.what
    database.run("ALTER TABLE t SET LOGGED", "ALTER TABLE hidden DISABLE ROW LEVEL SECURITY", "DROP RULE away ON ruled")
    assert target.check([mapping("id", table=TableName("public", table)) for table in ("t", "hidden", "ruled")]) == []


def test_describe_gives_types_key_and_what_may_be_written(database: Database) -> None:
    database.run(
        "CREATE TABLE t (a varchar(3)[], id numeric(9,0), k text NOT NULL, g int GENERATED ALWAYS AS (1) STORED, UNIQUE (k))",
        "CREATE TABLE nokey (a int UNIQUE)",
    )
    target = target_of(database)
    names = [TableName("public", n) for n in ("t", "nokey", "absent")]
    described = target.describe(names)
    assert described[names[0]].columns == (
        Column("a", "character varying(3)[]"),
        Column("id", "numeric(9,0)"),
        Column("k", "text", key=True, nullable=False),
        Column("g", "integer", writable=False),
    )
    assert described[names[1]].key == ()
    assert set(described) == set(names[:2])
    target.raise_epoch("task", 1)
    assert target.tables() == sorted(names[:2])


def test_a_wrong_password_is_refused_and_a_closed_port_is_unavailable(database: Database) -> None:
    cluster = database.cluster
    with pytest.raises(TargetError) as refused:
        PostgresTarget(PostgresTargetConfig(cluster.host, cluster.port, database.name, cluster.user, "wrong-secret")).test()
    assert refused.value.kind == "target_refused"
    assert "wrong-secret" not in str(refused.value)
    with pytest.raises(TargetError) as unavailable:
        PostgresTarget(PostgresTargetConfig(cluster.host, 1, database.name, cluster.user, "x")).test()
    assert unavailable.value.kind == "target_unavailable"
    target_of(database).test()
