"""Readiness of MariaDB and MySQL: each thing in the way is found, all at once, each with the statement that repairs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from headwater.domain.errors import SourceError
from headwater.domain.tables import TableName
from headwater.ports.source import Finding
from tests.databases import MysqlDatabase
from tests.sources.mysql_places import source_of, user_of

LOG_RIGHTS = "REPLICATION SLAVE ON *.*", "REPLICATION CLIENT ON *.*", "RELOAD ON *.*"


def check(database: MysqlDatabase, *tables: str, **more: object) -> list[Finding]:
    names = [TableName.parse(table, database.name) for table in tables]
    return source_of(database, **more).check(names)


def said(findings: list[Finding]) -> str:
    return "\n".join(map(str, findings))


@contextmanager
def server_set(database: MysqlDatabase, name: str, value: str) -> Iterator[None]:
    """A global setting for the body of the `with`."""
    ((before,),) = database.rows(f"SELECT @@GLOBAL.{name}")
    database.run(f"SET GLOBAL {name} = {value}")
    try:
        yield
    finally:
        database.run(f"SET GLOBAL {name} = '{before}'" if isinstance(before, str) else f"SET GLOBAL {name} = {before}")


def test_a_user_with_the_documented_rights_finds_nothing(mysql_database: MysqlDatabase) -> None:
    database = mysql_database
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE nokey (id int)")
    assert check(database, "t", "nokey", **user_of(database, f"SELECT ON {database.name}.*", *LOG_RIGHTS)) == []


def test_missing_rights_are_named_with_their_grants(mysql_database: MysqlDatabase) -> None:
    database = mysql_database
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY, v int)")
    user = user_of(database, f"SELECT (id) ON {database.name}.u")
    found = said(check(database, "t", "u", **user))
    status = "BINLOG MONITOR" if database.cluster.product == "MariaDB" else "REPLICATION CLIENT"
    assert f"GRANT REPLICATION SLAVE, {status} ON *.* TO '{database.name}'@'%';" in found
    assert f"GRANT SELECT ON `{database.name}`.`u` TO '{database.name}'@'%';" in found
    assert f"may not read {database.name}.t" in found
    if database.cluster.product == "MySQL":
        assert "GRANT RELOAD, PROCESS" in found


@pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
def test_a_replica_that_does_not_log_what_it_replicates(flavour: str, request: pytest.FixtureRequest) -> None:
    """MariaDB does not unless it is told to, MySQL does unless it is told not to."""
    if flavour == "mariadb":
        server, name = request.getfixturevalue("mariadb"), "log_slave_updates"
        begin, end = "CHANGE MASTER TO master_host = '127.0.0.1', master_port = 1", "RESET SLAVE ALL"
    else:
        server, name = request.getfixturevalue("make_mysql")(settings={"log_replica_updates": "OFF"}), "log_replica_updates"
        begin, end = "CHANGE REPLICATION SOURCE TO source_host = '127.0.0.1', source_port = 1", "RESET REPLICA ALL"
    database = request.getfixturevalue("make_database")(server)
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    assert check(database, "t") == []
    database.run(begin)
    try:
        assert f"does not log what it replicates. Set {name} = ON" in said(check(database, "t"))
        little = user_of(database, f"SELECT ON {database.name}.*", *LOG_RIGHTS)
        told = said(check(database, "t", **little))
        assert ("does not log" in told) == (flavour == "mysql"), "MariaDB tells this user of replicas that run, and this one does not"
    finally:
        database.run(end)


def test_rights_that_come_by_a_role_count(mysql_database: MysqlDatabase) -> None:
    database = mysql_database
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "DROP ROLE IF EXISTS readers", "CREATE ROLE readers")
    database.run(*(f"GRANT {grant} TO readers" for grant in LOG_RIGHTS))
    user = user_of(database, f"SELECT ON {database.name}.*")
    role = "SET DEFAULT ROLE readers FOR" if database.cluster.product == "MariaDB" else "SET DEFAULT ROLE readers TO"
    database.run(f"GRANT readers TO {database.name}@'%'", f"{role} {database.name}@'%'")
    assert check(database, "t", **user) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("binlog_format", "'STATEMENT'", "SET GLOBAL binlog_format = 'ROW';"),
        ("binlog_row_image", "'MINIMAL'", "SET GLOBAL binlog_row_image = 'FULL';"),
        ("binlog_expire_logs_seconds", "3600", "for 3600 seconds only"),
    ],
)
def test_settings_of_the_log(mysql_database: MysqlDatabase, name: str, value: str, words: str) -> None:
    database = mysql_database
    if not database.rows(f"SHOW GLOBAL VARIABLES LIKE '{name}'"):
        pytest.skip("this server has another setting for that")
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE nokey (id int)")
    with server_set(database, name, value):
        (finding,) = check(database, "t", "nokey")
    assert words in str(finding)
    assert check(database, "t", "nokey") == []


def test_virtual_columns_that_the_log_leaves_out(mariadb_database: MysqlDatabase) -> None:
    database = mariadb_database
    database.run("CREATE TABLE t (id int PRIMARY KEY, v int AS (id + 1) VIRTUAL, s int AS (id + 2) STORED)")
    assert check(database, "t") == []
    with server_set(database, "binlog_row_image", "'MINIMAL'"):
        (finding,) = check(database, "t")
    assert "as v of" in finding.what


def test_the_servers_own_id_is_refused(mysql_database: MysqlDatabase) -> None:
    ((own,),) = mysql_database.rows("SELECT @@server_id")
    (finding,) = check(mysql_database, server_id=own)
    assert "another server_id" in finding.repair
    assert check(mysql_database, server_id=own + 1) == []


def test_tables_that_have_no_log_of_rows(mysql_database: MysqlDatabase) -> None:
    database = mysql_database
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE TABLE m (id int PRIMARY KEY) ENGINE = MEMORY",
        "CREATE TABLE i (id int) ENGINE = MyISAM",
        "CREATE TABLE k (id int PRIMARY KEY) ENGINE = MyISAM",
    )
    found = {finding.table.name: finding for finding in check(database, "t", "v", "m", "i", "k", "mysql.user") if finding.table}
    assert set(found) == {"v", "m", "i", "user"}
    assert "is a view" in found["v"].what
    assert "ENGINE = InnoDB" in found["m"].repair
    assert "primary key" in found["i"].repair
    (gone,) = check(database, "t", "gone")
    assert gone.what == f"The table {database.name}.gone does not exist."
    assert gone.table is None
    if database.cluster.product == "MariaDB":
        database.run("CREATE TABLE h (id int PRIMARY KEY) WITH SYSTEM VERSIONING", "CREATE SEQUENCE s")
        assert "system versioned" in said(check(database, "h"))
        assert "sequence" in said(check(database, "s"))


def test_cascading_foreign_keys_are_refused_where_the_log_does_not_tell(mysql_database: MysqlDatabase) -> None:
    database = mysql_database
    database.run(
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE c (id int PRIMARY KEY, p int, CONSTRAINT fk FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE SET NULL)",
        "CREATE TABLE d (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p (id) ON DELETE RESTRICT)",
    )
    assert check(database, "p", "d") == []
    found = check(database, "p", "c", "d")
    if database.cluster.product == "MySQL":
        assert found == []  # 9.7, see the next test
        return
    (finding,) = found
    assert finding.table == TableName(database.name, "c")
    assert "ON DELETE CASCADE ON UPDATE SET NULL" in finding.what
    assert "DROP FOREIGN KEY `fk`" in finding.repair


def test_a_server_that_logs_cascades_does_so(mysql: object, make_database: object) -> None:
    """What the check above relies on for MySQL 9.6 and later."""
    database: MysqlDatabase = make_database(mysql)  # type: ignore[operator]
    ((native,),) = database.rows("SELECT @@GLOBAL.innodb_native_foreign_keys")
    assert native == 0
    database.run(
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE c (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
        "INSERT INTO p VALUES (1)",
        "INSERT INTO c VALUES (7, 1)",
        "FLUSH BINARY LOGS",
        "DELETE FROM p",
    )
    ((file, *_),) = database.rows("SHOW BINARY LOG STATUS")
    maps = [row[5] for row in database.rows(f"SHOW BINLOG EVENTS IN '{file}'") if row[2] == "Table_map"]
    assert any(f"({database.name}.c)" in info for info in maps)


def test_what_is_no_server_of_these_and_who_is_not_let_in(mysql_database: MysqlDatabase) -> None:
    with pytest.raises(SourceError, match="Access denied") as error:
        source_of(mysql_database, password="wrong").test()
    assert error.value.kind == "source_refused"
    if mysql_database.cluster.product == "MariaDB" and mysql_database.rows("SELECT @@have_ssl") != [("YES",)]:
        with pytest.raises(SourceError, match="SSL is required") as error:
            source_of(mysql_database, tls=True).test()
        assert error.value.kind == "source_refused"
    else:
        source_of(mysql_database, tls=True).test()
