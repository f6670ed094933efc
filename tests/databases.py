"""Throw-away databases in the private servers of a test run, and waiting without sleeping blindly."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import psycopg
import pymysql
from psycopg import sql

from headwater.clusters import MysqlServer, PrivatePostgres

T = TypeVar("T")


def wait_until(probe: Callable[[], T], timeout_s: float = 30.0, what: str = "the condition") -> T:
    """Call `probe` until its answer is true, and return that answer; AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.02)
    return answer


class AnyDatabase(Protocol):
    """A database of its own in a private server, of whatever kind."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def url(self) -> str:
        """The address of the superuser's connection."""

    def run(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""

    def drop(self) -> None:
        """Remove the database, whoever is still connected."""


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database of its own in a private server."""

    cluster: PrivatePostgres
    name: str

    @property
    def dsn(self) -> str:
        """Connection string of the superuser."""
        return self.cluster.dsn(self.name)

    @property
    def url(self) -> str:
        """The same as a `postgresql://` address."""
        return self.cluster.url(self.name)

    def connect(self, *, autocommit: bool = True) -> psycopg.Connection[Any]:
        """A connection of the superuser; the caller closes it."""
        return self.cluster.connect(self.name, autocommit=autocommit)

    def run(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self.connect() as connection:
            return connection.execute(query.encode()).fetchall()

    @classmethod
    def create(cls, cluster: PrivatePostgres, name: str, encoding: str = "UTF8") -> Database:
        """Make the database."""
        with cluster.connect() as connection:
            statement = sql.SQL("CREATE DATABASE {} ENCODING {} TEMPLATE template0")
            connection.execute(statement.format(sql.Identifier(name), sql.Literal(encoding)))
        return cls(cluster, name)

    def drop(self) -> None:
        """Remove the database with its replication slots, whoever is still connected."""
        if not self.cluster.running:
            return
        with self.cluster.connect() as connection:
            wait_until(lambda: self._drop_slots(connection), what=f"dropping the slots of {self.name}")
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))

    def _drop_slots(self, connection: psycopg.Connection[Any]) -> bool:
        """End the users of our slots and drop the free ones; True once none is left."""
        slots = connection.execute("SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s", [self.name]).fetchall()
        for slot, user in slots:
            if user is not None:
                connection.execute("SELECT pg_terminate_backend(%s)", [user])
                continue
            try:
                connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
            except (psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
                continue  # taken or gone since we looked; look again
        return not slots


@dataclass(frozen=True)
class MysqlDatabase:
    """A database of its own in a private MariaDB or MySQL server."""

    cluster: MysqlServer
    name: str

    @property
    def url(self) -> str:
        """A `mysql://` address of the superuser."""
        return self.cluster.url(self.name)

    @property
    def parameters(self) -> dict[str, Any]:
        """Arguments of `pymysql.connect` for the superuser."""
        return self.cluster.parameters(self.name)

    def connect(self, *, autocommit: bool = True, **more: Any) -> pymysql.Connection[Any]:
        """A connection of the superuser; the caller closes it."""
        return self.cluster.connect(self.name, autocommit=autocommit, **more)

    def run(self, *statements: str) -> None:
        """Run statements in one session, each in a transaction of its own."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    @classmethod
    def create(cls, cluster: MysqlServer, name: str, charset: str = "utf8mb4") -> MysqlDatabase:
        """Make the database."""
        with cluster.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET {charset}")
        return cls(cluster, name)

    def drop(self) -> None:
        """Remove the database, whoever is still connected. Its past stays in the server's log."""
        if not self.cluster.running:
            return
        with self.cluster.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (self.name,))
            for (user,) in cursor.fetchall():
                _end_session(cursor, user)
            cursor.execute(f"DROP DATABASE IF EXISTS `{self.name}`")


def _end_session(cursor: pymysql.cursors.Cursor, user: int) -> None:
    try:
        cursor.execute(f"KILL {user}")
    except pymysql.err.OperationalError as error:
        if error.args[0] != pymysql.constants.ER.NO_SUCH_THREAD:
            raise
