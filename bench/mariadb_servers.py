"""Two private servers of which at least one is MariaDB, with fsync on, and the workload W1 in MariaDB's words."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack, closing
from types import TracebackType
from typing import Any, Literal, Self

import psycopg
import pymysql

from bench import servers, workload
from bench.measure import until
from headwater import adapters
from headwater.clusters import PrivateMariadb, PrivatePostgres
from headwater.domain.tables import TableName
from headwater.engine.orders import Connection

DATABASE = "bench"
Kind = Literal["mariadb", "postgres"]
SETTINGS = {
    "innodb_buffer_pool_size": "512M",
    "innodb_log_file_size": "2G",
    "max_binlog_size": "1G",
    "max_allowed_packet": "64M",
    "local_infile": "ON",
}

TABLE = """
CREATE TABLE `{table}` (
    id bigint PRIMARY KEY, number int, amount bigint, name varchar(60), price decimal(12,2), made datetime(6), words text, open boolean
)
"""

ROWS = """
INSERT INTO `{table}`
SELECT i, mod(i * 7919, 1000003), i * 104729, left(concat(md5(i), md5(-i)), 20 + mod(abs(i), 41)), mod(abs(i), 10000000) / 100.0,
       timestamp '2026-01-01 00:00:00' + interval i * 1.037 second, left(concat(md5(i * 3), md5(i * 5)), 60), mod(i, 3) = 0
  FROM (SELECT cast(seq AS signed) + {first} AS i FROM {sequence}) AS s
"""

W1 = """
CREATE PROCEDURE w1 (transactions bigint)
BEGIN
    DECLARE t bigint DEFAULT 0;
    WHILE t < transactions DO
        START TRANSACTION;
        {insert};
        UPDATE `{table}` SET price = price + 1, words = left(concat(md5(t + id), md5(t)), 60)
         WHERE id BETWEEN (t - 30) * 70 + 20 AND (t - 30) * 70 + 39;
        DELETE FROM `{table}` WHERE id BETWEEN (t - 50) * 70 AND (t - 50) * 70 + 9;
        COMMIT;
        SET t = t + 1;
    END WHILE;
END
"""

HASH = {
    "mariadb": """
        SELECT concat(count(*), ' ', coalesce(sum(cast(conv(left(md5(concat_ws(',', id, number, amount, name, price,
               date_format(made, '%Y-%m-%d %H:%i:%s.%f'), words, open)), 15), 16, 10) AS decimal(30))), 0)) FROM `{table}`
        """,
    "postgres": """
        SELECT count(*) || ' ' || coalesce(sum(('x' || left(md5(concat_ws(',', id, number, amount, name, price,
               to_char(made, 'YYYY-MM-DD HH24:MI:SS.US'), words, open::int)), 15))::bit(60)::bigint), 0) FROM {table}
        """,
}


CLOCK = {"mariadb": "SELECT connection_id()", "postgres": "SELECT clock_timestamp()"}
LATER = {
    "mariadb": "SELECT 1 FROM information_schema.processlist WHERE id > {since} AND id <> connection_id() AND db IS NOT NULL",
    "postgres": "SELECT 1 FROM pg_stat_activity WHERE application_name = 'headwater' AND backend_start > '{since}'",
}
"""A moment, and whether a session has begun after it. MariaDB numbers its sessions."""


class Side:
    """One of the two servers, of either kind, with a database `bench`."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.mariadb = PrivateMariadb(fsync=True, settings=SETTINGS) if kind == "mariadb" else None
        self.postgres = PrivatePostgres(fsync=True, settings=servers.SETTINGS) if kind == "postgres" else None
        self._session: Any = None

    def open(self, stack: ExitStack) -> None:
        """Start the server and connect to it."""
        server = self.mariadb or self.postgres
        assert server is not None
        stack.enter_context(server)
        with server.connect() as connection:
            self._on(connection, f"CREATE DATABASE {DATABASE}")
        self._session = stack.enter_context(server.connect(DATABASE))

    def connection(self, id_: str) -> Connection:
        """As a saved data source."""
        server = self.mariadb or self.postgres
        assert server is not None
        content = {"host": server.host, "port": str(server.port), "database_name": DATABASE, "user_name": server.user}
        return Connection(id_, "MYSQL" if self.mariadb else "POSTGRESQL", content, {"password": server.password})

    def name(self, table: str) -> TableName:
        """The table's whole name."""
        return TableName(DATABASE if self.mariadb else "public", table)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement; its rows, if it gives some."""
        return self._on(self._session, statement)

    def one(self, query: str) -> Any:
        """The first column of the first row; None where there is no row."""
        rows = self.run(query)
        return rows[0][0] if rows else None

    def make_table(self, table: str) -> None:
        """The workload's table, empty, in place of one that was there."""
        self.run(f"DROP TABLE IF EXISTS {table}")
        if self.mariadb:
            self.run(TABLE.format(table=table))
        else:
            workload.make_table(self._session, table)

    def fill(self, table: str, first: int, last: int) -> None:
        """Rows with these ids."""
        if self.mariadb:
            self.run(ROWS.format(table=table, first=first, sequence=f"seq_0_to_{last - first}"))
        else:
            workload.fill(self._session, table, first, last)

    def w1(self, table: str, transactions: int) -> None:
        """The changes of W1. The table must hold ids from -BEFORE to -1."""
        if self.mariadb:
            insert = ROWS.format(table=table, first="t * 70", sequence="seq_0_to_69").strip()
            self.run("DROP PROCEDURE IF EXISTS w1")
            self.run(W1.format(table=table, insert=insert))
            self.run(f"CALL w1({transactions})")
        else:
            workload.w1(self._session, table, transactions)

    def content(self, table: str) -> str:
        """The number of rows and a hash that is the same on both kinds."""
        return str(self.one(HASH[self.kind].format(table=table)))

    def log_end(self) -> tuple[str, int]:
        """File and offset of the end of a MariaDB's log."""
        row = self.run("SHOW MASTER STATUS")[0]
        return str(row[0]), int(row[1])

    def dumping(self) -> bool:
        """Whether somebody reads a MariaDB's log."""
        return bool(self.run("SELECT 1 FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'"))

    def end_dumps(self) -> None:
        """End the sessions that read a MariaDB's log: an idle one does not notice that its replica is gone."""
        for (number,) in self.run("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'"):
            self.run(f"KILL {number}")
        until(lambda: not self.dumping(), 30, "the end of the replica's session")

    def program(self, name: str, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
        """A program of MariaDB, started and told how to connect."""
        assert self.mariadb is not None
        server = self.mariadb
        told = [f"--host={server.host}", f"--port={server.port}", f"--user={server.user}", f"--password={server.password}"]
        command = server.installation.command(name)
        return subprocess.Popen([*command, "--no-defaults", *told, *arguments], **more)

    def _on(self, connection: Any, statement: str) -> list[tuple[Any, ...]]:
        if isinstance(connection, psycopg.Connection):
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
        assert isinstance(connection, pymysql.Connection)
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


class Pair:
    """A source and a target. A context manager."""

    def __init__(self, source: Kind, target: Kind) -> None:
        self.source, self.target = Side(source), Side(target)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.source.open(stack)
            self.target.open(stack)
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def connections(self, source_id: str) -> tuple[Connection, Connection]:
        """See `Ends`."""
        return self.source.connection(source_id), self.target.connection("target")

    def names(self, source_table: str, target_table: str) -> tuple[TableName, TableName]:
        """See `Ends`."""
        return self.source.name(source_table), self.target.name(target_table)

    def applied(self, task_id: str) -> int:
        """See `Ends`."""
        there = self.target.connection("target")
        return adapters.target(there.type, there.id, there.content, there.secrets).look(task_id)[0].offset or 0

    def clock(self) -> str:
        """See `Ends`."""
        return str(self.target.one(CLOCK[self.target.kind]))

    def session_began(self, since: str) -> float | None:
        """See `Ends`."""
        return time.monotonic() if self.target.one(LATER[self.target.kind].format(since=since)) else None

    def position(self) -> str:
        """The present end of the source's log, as our source names it."""
        here = self.source.connection("source")
        with closing(adapters.source(here.type, here.id, here.content, here.secrets).snapshot()) as snapshot:
            return snapshot.position

    def equal(self, table: str) -> None:
        """A rate of wrong rows is worth nothing: raise where the target differs from the source."""
        source, target = self.source.content(table), self.target.content(table)
        if source != target:
            raise RuntimeError(f"table {table} differs: {source} at the source, {target} at the target")
