"""The two databases of the demo, each of any kind: how the shop is made, looked at and lived in there, in that database's words."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pymysql

from headwater.clusters import MysqlServer, PrivateMariadb, PrivateMysql, PrivatePostgres
from headwater.demo import shop

DATABASE = "shop"
FAILURES = (psycopg.Error, pymysql.err.Error)
"""What a database's driver raises."""

_DEADLOCK = 1213


class Session:
    """A connection of either driver, with the few words that the demo needs."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; the number of rows that it changed."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement.encode() if isinstance(self._connection, psycopg.Connection) else statement, tuple(values) or None)
            return int(cursor.rowcount)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._connection.cursor() as cursor:
            cursor.execute(query.encode() if isinstance(self._connection, psycopg.Connection) else query, tuple(values) or None)
            return list(cursor.fetchall())

    def one(self, query: str, values: Sequence[Any] = ()) -> Any:
        """The first column of the first row."""
        return self.rows(query, values)[0][0]

    def commit(self) -> None:
        """End the transaction."""
        self._connection.commit()


class Side(ABC):
    """A server with a database of the demo. `type` is the data source's."""

    type: str
    clock: str
    """The present moment, as SQL."""
    schema: str
    fill: tuple[str, ...]

    def __init__(self, server: PrivatePostgres | MysqlServer, database: str = DATABASE) -> None:
        self.server, self.database = server, database

    @property
    def product(self) -> str:
        """What it is, with its version."""
        return f"{self.server.product} {'.'.join(map(str, self.server.installation.version))}"

    @property
    def content(self) -> dict[str, Any]:
        """A data source's content as the API takes it."""
        who = {"user_name": self.server.user, "password": self.server.password}
        return {"host": self.server.host, "port": str(self.server.port), "database_name": self.database, **who}

    @property
    def url(self) -> str:
        """The address of the database, for a person."""
        return self.server.url(self.database)

    @abstractmethod
    def start(self) -> None:
        """Start the server with an empty database."""

    @abstractmethod
    @contextmanager
    def session(self, *, autocommit: bool = False) -> Iterator[Session]:
        """A session in UTC; what is not committed at its end is, where nothing failed."""

    @abstractmethod
    def deadlock(self, error: Exception) -> bool:
        """Whether this is how it tells a deadlock."""

    def make(self) -> None:
        """The shop's tables, empty."""
        with self.session() as session:
            for statement in filter(str.strip, self.schema.split(";")):
                session.run(statement)

    def stock(self) -> None:
        """What is in the shop when the story begins."""
        with self.session() as session:
            for statement in self.fill:
                session.run(statement)

    def count(self, table: str) -> int:
        """The rows of a table."""
        with self.session() as session:
            return int(session.one(f"SELECT count(*) FROM {table}"))  # noqa: S608 - a constant

    def now(self) -> datetime:
        """The server's clock, in whole milliseconds, UTC."""
        with self.session() as session:
            told: datetime = session.one(f"SELECT {self.clock}")
        aware = told if told.tzinfo else told.replace(tzinfo=UTC)
        return aware.astimezone(UTC).replace(microsecond=aware.microsecond // 1000 * 1000)

    def fingerprint(self, table: str) -> tuple[int, int]:
        """Rows, and the sum of a 64-bit hash of each: the order of rows does not matter, every value of every column does."""
        with self.session() as session:
            found = session.rows(f"SELECT * FROM {table}")  # noqa: S608 - a constant
        return len(found), sum(_hash(row) for row in found)


class PostgresSide(Side):
    """A PostgreSQL."""

    type = "POSTGRESQL"
    clock = "clock_timestamp()"
    schema = shop.SCHEMA
    fill = (shop.FILL,)
    server: PrivatePostgres

    def start(self) -> None:
        """See `Side.start`."""
        self.server.start()
        with self.server.connect() as connection:
            connection.execute(f"CREATE DATABASE {self.database}")

    @contextmanager
    def session(self, *, autocommit: bool = False) -> Iterator[Session]:
        """See `Side.session`."""
        with psycopg.connect(self.server.dsn(self.database, options="-c timezone=UTC"), autocommit=autocommit) as connection:
            yield Session(connection)

    def deadlock(self, error: Exception) -> bool:
        """See `Side.deadlock`."""
        return isinstance(error, psycopg.errors.DeadlockDetected)


class MysqlSide(Side):
    """A MariaDB or MySQL."""

    type = "MYSQL"
    clock = "sysdate(6)"
    schema = shop.SCHEMA_MYSQL
    fill = shop.FILL_MYSQL
    server: MysqlServer

    def start(self) -> None:
        """See `Side.start`."""
        self.server.start()
        with self.server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {self.database}")

    @contextmanager
    def session(self, *, autocommit: bool = False) -> Iterator[Session]:
        """See `Side.session`."""
        with self.server.connect(self.database, autocommit=autocommit) as connection:
            session = Session(connection)
            session.run("SET time_zone = '+00:00'")
            yield session
            session.commit()

    def deadlock(self, error: Exception) -> bool:
        """See `Side.deadlock`."""
        return isinstance(error, pymysql.err.OperationalError) and error.args[0] == _DEADLOCK


def side(kind: str) -> Side:
    """A side of the kind `postgres`, `mariadb` or `mysql`. Raises ClusterError where its binaries are missing."""
    if kind == "postgres":
        return PostgresSide(PrivatePostgres())
    settings = {"local_infile": "ON"}
    return MysqlSide(PrivateMariadb(settings=settings) if kind == "mariadb" else PrivateMysql(settings=settings))


def _hash(row: Sequence[Any]) -> int:
    plain = [_plain(name) for name in row]
    return int.from_bytes(hashlib.blake2b(repr(plain).encode(), digest_size=8).digest(), "big")


def _plain(value: Any) -> Any:
    """One word for a value, whichever driver it came from."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    return value
