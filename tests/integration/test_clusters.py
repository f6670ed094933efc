"""Private servers: they start as any user, survive being killed, and never outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from headwater import clusters
from headwater.clusters import ClusterError, Installation, MysqlServer, PrivatePostgres, fetch_servers, find_mariadb
from tests.conftest import BOTH, ClusterFactory, MysqlFactory
from tests.databases import Database, MysqlDatabase, wait_until

START_AND_TELL = """
import sys, time
from headwater.clusters import PrivatePostgres
cluster = PrivatePostgres()
cluster.start()
with cluster.connect() as connection:
    (level,) = connection.execute("SHOW wal_level").fetchone()
print(cluster.pid, cluster.directory, level, flush=True)
sys.stdin.read()
cluster.close()
"""


@pytest.mark.parametrize("installation", BOTH, ids=lambda found: found.name)
def test_what_was_committed_survives_a_kill_of_the_whole_server(make_cluster: ClusterFactory, installation: Installation) -> None:
    cluster = make_cluster(installation)
    with cluster.connect() as connection:
        connection.execute("CREATE TABLE kept (a int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    port = cluster.port
    cluster.kill()
    assert not cluster.running
    with pytest.raises(psycopg.OperationalError):
        cluster.connect()
    cluster.start()
    assert cluster.port == port
    with cluster.connect() as connection:
        assert connection.execute("SELECT a FROM kept").fetchall() == [(7,)]


def test_settings_of_the_caller_win_and_change_with_a_restart(make_cluster: ClusterFactory) -> None:
    cluster = make_cluster(settings={"max_replication_slots": "3"}, auth="trust")
    assert cluster.password == ""
    for expected in ("3", "5"):
        with cluster.connect() as connection:
            assert connection.execute("SHOW max_replication_slots").fetchall() == [(expected,)]
        cluster.restart(settings={"max_replication_slots": "5"})


def test_a_wrong_password_is_refused(make_cluster: ClusterFactory) -> None:
    cluster = make_cluster()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(cluster.dsn(), password="not it")


def test_a_server_that_can_not_start_says_why_and_leaves_nothing() -> None:
    cluster = PrivatePostgres(settings={"no_such_setting": "1"})
    with pytest.raises(ClusterError, match="no_such_setting"), cluster:
        pytest.fail("it has started")
    assert cluster.directory is not None
    assert not cluster.directory.exists()


def test_closing_leaves_nothing_behind() -> None:
    with PrivatePostgres() as cluster:
        directory, pid = cluster.directory, cluster.pid
    assert directory is not None
    assert not directory.exists()
    assert not _alive(pid)


def test_the_server_dies_with_a_starter_that_is_killed() -> None:
    starter = subprocess.Popen([sys.executable, "-c", START_AND_TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pid, directory, _ = starter.stdout.readline().split()
    assert _alive(int(pid))
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    wait_until(lambda: not _alive(int(pid)), what="the server's end")
    wait_until(lambda: not Path(directory).exists(), what="the directory's removal")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_can_start_one() -> None:
    python = _python_of_everyone()
    if python is None:
        pytest.skip("no Python interpreter here can be run by an ordinary user")
    told = _as_nobody(python, START_AND_TELL)
    assert told.returncode == 0, told.stderr
    pid, directory, level = told.stdout.split()
    assert level == "logical"
    assert not _alive(int(pid))
    assert not Path(directory).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another user")
def test_binaries_out_of_the_servers_reach_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation = next(found for found in reversed(clusters.find_postgres()) if "pixeltable" in str(found.bin))
    site, package = installation.bin.parents[2], installation.bin.parents[1]
    hidden = tmp_path / "hidden"  # below a directory that only root may enter
    hidden.mkdir(mode=0o700)
    for part in (package.name, f"{package.name}.libs"):
        (hidden / part).symlink_to(site / part)
    open_to_all = Path("/tmp") / f"headwater-test-{os.getpid()}"
    open_to_all.mkdir(mode=0o755)
    monkeypatch.setattr("tempfile.tempdir", str(open_to_all))
    try:
        for _ in range(2):
            with PrivatePostgres(Installation(installation.version, hidden / installation.bin.relative_to(site))) as cluster:
                assert cluster.running
            assert [path.name[:20] for path in open_to_all.iterdir()] == ["headwater-postgres-1"]
    finally:
        subprocess.run(["rm", "-rf", str(open_to_all)], check=True)


def test_a_dropped_database_takes_its_slots_along(database: Database) -> None:
    slot = f"slot_{database.name}"
    database.rows(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    database.drop()
    with database.cluster.connect() as connection:
        assert connection.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", [slot]).fetchall() == []


def test_source_and_target_are_two_servers(source_database: Database, target_database: Database) -> None:
    assert source_database.cluster.port != target_database.cluster.port


def test_a_mysql_like_server_is_private_and_survives_a_kill(make_mysql_like: MysqlFactory) -> None:
    with make_mysql_like(settings={"sql_mode": ""}) as server:
        settings = "SELECT @@port, @@server_id, @@binlog_format, @@binlog_row_metadata, @@sql_mode, @@socket, @@log_bin, @@bind_address"
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(settings)
            assert cursor.fetchall() == ((server.port, server.port, "ROW", "FULL", "", "", 1, "127.0.0.1"),)
            cursor.execute("SELECT user, host FROM mysql.user WHERE user NOT LIKE '%.%'")
            assert cursor.fetchall() == (("root", "127.0.0.1"),)
            cursor.execute("CREATE DATABASE kept")
            cursor.execute("CREATE TABLE kept.t (a int PRIMARY KEY) SELECT 7 AS a")
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            server.connect(password="not it")
        server.kill()
        server.start()
        assert MysqlDatabase(server, "kept").rows("SELECT a FROM t") == [(7,)]
        server.restart(settings={"binlog_row_metadata": "MINIMAL"})
        assert MysqlDatabase(server, "kept").rows("SELECT @@binlog_row_metadata") == [("MINIMAL",)]
        directory, pid = server.directory, server.pid
    assert directory is not None
    assert not directory.exists()
    assert not _alive(pid)


def test_mariadb_that_can_not_start_says_why(make_mariadb: MysqlFactory) -> None:
    with pytest.raises(ClusterError, match="no-such-setting"):
        make_mariadb(settings={"no_such_setting": "1"})


def test_mysql_comes_with_the_tools_that_read_its_log(mysql_like: MysqlServer) -> None:
    for program in ("mariadb-binlog", "mariadb") if mysql_like.installation.flavour == "mariadb" else ("mysqlbinlog", "mysql"):
        told = subprocess.run([*mysql_like.installation.command(program), "--version"], capture_output=True, text=True, check=True)
        assert "Ver" in told.stdout


def test_fetching_mysql_again_fetches_nothing(
    mysql: MysqlServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch_servers, "_run", lambda *command: pytest.fail(f"ran {command[0]}"))
    assert fetch_servers.main() == 0
    assert capsys.readouterr().out == ""


def test_a_machine_that_can_not_fetch_mysql_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch_servers, "cache_directory", lambda: tmp_path / "cache")
    monkeypatch.setattr(fetch_servers, "fetched", lambda _: [])
    monkeypatch.setenv("PATH", str(tmp_path))  # neither apt nor dpkg
    assert fetch_servers.main() == 1
    assert "!!! MySQL can't be fetched here" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


def test_only_what_there_is_can_be_fetched(capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch_servers.main(["oracle"]) == 2
    assert capsys.readouterr().out == "!!! oracle can't be fetched; mariadb and mysql can\n"


def test_another_mariadb_is_used_where_it_is_named(mariadb: MysqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    own = mariadb.installation
    assert find_mariadb()[-1] == own
    monkeypatch.setenv("HEADWATER_MARIADB", own.name.removeprefix("mariadb"))
    assert find_mariadb() == [own]
    monkeypatch.setenv("HEADWATER_MARIADB", "5.1")
    with pytest.raises(ClusterError, match=f"no MariaDB 5.1 .* here, only .*{own.name}"):
        find_mariadb()


def test_a_dropped_mysql_database_ends_who_holds_it(mysql_database: MysqlDatabase) -> None:
    mysql_database.run("CREATE TABLE t (a int PRIMARY KEY)")
    with mysql_database.connect(autocommit=False) as holder, holder.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)")
        mysql_database.drop()
    with mysql_database.cluster.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute("SHOW DATABASES LIKE %s", (mysql_database.name,)) == 0


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _as_nobody(python: str, program: str) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1"}
    who: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    return subprocess.run([python, "-c", program], cwd="/", input="", env=paths, capture_output=True, text=True, check=False, **who)


def _python_of_everyone() -> str | None:
    """An interpreter that an ordinary user can run with our modules; ours may lie below root's home."""
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            if _as_nobody(python, "import headwater.clusters").returncode == 0:
                return python
        except PermissionError:
            continue
    return None
