"""`Target.create` on real servers: each table whole or not at all, and what can't be made is told beside the rest."""

from __future__ import annotations

import pytest

from headwater.dialects.mysql_session import Server
from headwater.domain.outline import ColumnOutline, Default, Outline
from headwater.domain.tables import Column, TableName
from headwater.ports.target import Target
from headwater.targets.mysql.target import MysqlTarget
from tests.conftest import DatabaseFactory
from tests.databases import AnyDatabase, MysqlDatabase
from tests.targets.test_postgres_target import target_of

KEY = ColumnOutline(Column("id", "bigint", key=True, nullable=False))


@pytest.fixture(params=["newest_cluster", "mariadb", "mysql"])
def database(request: pytest.FixtureRequest, make_database: DatabaseFactory) -> AnyDatabase:
    """On the newest PostgreSQL, and on each flavour of MySQL at hand."""
    made: AnyDatabase = make_database(request.getfixturevalue(request.param))
    return made


def _target(database: AnyDatabase) -> Target:
    if isinstance(database, MysqlDatabase):
        cluster = database.cluster
        return MysqlTarget(Server(cluster.host, cluster.port, database.name, cluster.user, cluster.password))
    return target_of(database)  # type: ignore[arg-type]


def test_one_that_fails_leaves_the_others(database: AnyDatabase) -> None:
    schema = database.name if isinstance(database, MysqlDatabase) else "public"
    target = _target(database)
    good = Outline(
        TableName("s", "good"), (KEY, ColumnOutline(Column("word", "text"), Default("it's \\ here"), comment="a word")), "a table"
    )
    twice = Outline(TableName("s", "twice"), (KEY, KEY))
    long = Outline(TableName("s", "x" * 65), (KEY,))
    wanted = [(twice, TableName(schema, "twice")), (long, TableName(schema, "x" * 65)), (good, TableName(schema, "good"))]
    planned = target.create(wanted, dry_run=True)
    assert target.tables() == []
    assert [bool(one.problem) for one in planned] == [False, True, False]
    made = target.create(wanted, dry_run=False)
    assert "twice" in made[0].problem
    assert planned[2] == made[2]
    assert target.tables() == [TableName(schema, "good")]
    (again,) = target.create(wanted[2:], dry_run=False)
    assert "already exists" in again.problem
    database.run("INSERT INTO good (id) VALUES (1)")
    assert database.rows("SELECT word FROM good") == [("it's \\ here",)]
