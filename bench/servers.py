"""The two private servers of a run: a source with logical WAL and a target, both with fsync on, and the slots on the source."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from headwater.clusters import Installation, PrivatePostgres
from headwater.domain.tables import TableName
from headwater.engine.orders import Connection

DATABASE = "bench"
SETTINGS = {"shared_buffers": "'512MB'", "max_wal_size": "'8GB'", "checkpoint_timeout": "'30min'", "synchronous_commit": "on"}


class Servers:
    """A context manager. Both servers hold a database `bench`."""

    def __init__(self, installation: Installation) -> None:
        self.source = PrivatePostgres(installation, fsync=True, settings=SETTINGS)
        self.target = PrivatePostgres(installation, fsync=True, settings=SETTINGS)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for server in (self.source, self.target):
            self._open.enter_context(server)
            with server.connect() as connection:
                connection.execute(f"CREATE DATABASE {DATABASE}")
        self.on_source = self._open.enter_context(self.source.connect(DATABASE))
        self.on_target = self._open.enter_context(self.target.connect(DATABASE))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def source_dsn(self) -> str:
        """Connection string of the source."""
        return self.source.dsn(DATABASE)

    def target_dsn(self) -> str:
        """Connection string of the target."""
        return self.target.dsn(DATABASE)

    def connections(self, source_id: str) -> tuple[Connection, Connection]:
        """See `Ends`."""
        return _saved(self.source, source_id), _saved(self.target, "target")

    def names(self, source_table: str, target_table: str) -> tuple[TableName, TableName]:
        """See `Ends`."""
        return TableName("public", source_table), TableName("public", target_table)

    def applied(self, task_id: str) -> int:
        """See `Ends`."""
        return int(one(self.on_target, "SELECT next_offset FROM headwater.checkpoint WHERE task_id = %s", task_id) or 0)

    def clock(self) -> str:
        """See `Ends`."""
        return str(one(self.on_target, "SELECT clock_timestamp()"))

    def session_began(self, since: str) -> float | None:
        """See `Ends`."""
        query = """
            SELECT extract(epoch FROM clock_timestamp() - min(backend_start)) FROM pg_stat_activity
             WHERE application_name = 'headwater' AND backend_start > %s::timestamptz
        """
        age = one(self.on_target, query, since)
        return None if age is None else time.monotonic() - float(age)

    def publish(self, name: str, table: str) -> None:
        """A publication of one table, as our source would make it."""
        statement = "CREATE PUBLICATION {} FOR TABLE ONLY {} WITH (publish_via_partition_root = true)"
        self.on_source.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(table)))

    def make_slot(self, name: str) -> None:
        """A slot at the present end of the log."""
        self.on_source.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))

    def copy_slot(self, old: str, new: str) -> None:
        """Another slot at the same place."""
        self.on_source.execute("SELECT pg_copy_logical_replication_slot(%s, %s)", (old, new))

    def drop_slot(self, name: str) -> None:
        """Drop a slot, once nobody reads from it any more."""
        while self.slot_active(name):
            time.sleep(0.02)
        self.on_source.execute("SELECT pg_drop_replication_slot(%s)", (name,))

    def slot_active(self, name: str) -> bool:
        """Whether somebody reads from it: from then on the clock runs, for us and for the baselines alike."""
        return bool(one(self.on_source, "SELECT coalesce((SELECT active FROM pg_replication_slots WHERE slot_name = %s), false)", name))

    def log_end(self) -> str:
        """The present end of the source's log."""
        return str(one(self.on_source, "SELECT pg_current_wal_flush_lsn()"))


def _saved(server: PrivatePostgres, id_: str) -> Connection:
    content = {"host": server.host, "port": server.port, "database_name": DATABASE, "user_name": server.user}
    return Connection(id_, "POSTGRESQL", content, {"password": server.password})


def one(connection: psycopg.Connection[Any], query: str, *values: object) -> Any:
    """The first column of the first row; None where there is no row."""
    row = connection.execute(query.encode(), values).fetchone()
    return None if row is None else row[0]


def identifier(name: str) -> sql.Identifier:
    """A quoted name."""
    return sql.Identifier(name)
