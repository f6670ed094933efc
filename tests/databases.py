"""Throw-away databases in the private servers of a test run, and waiting without sleeping blindly."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import psycopg
import pymysql
from psycopg import IsolationLevel, sql
from typing_extensions import TypeVar

from headwater.clusters import MysqlServer, PrivatePostgres, StopMode

T = TypeVar("T")
AWAY = (psycopg.OperationalError, pymysql.err.OperationalError, pymysql.err.InterfaceError)
"""What a statement of a test raises where its server is away, or has ended the session."""


MYSQL_SESSION = "SET time_zone = '+00:00' /*!80003 , cte_max_recursion_depth = 1000000 */ /*M! , max_recursive_iterations = 1000000 */"
"""Moments are read and written in UTC; both have to be told that a series may be long."""


def wait_until(probe: Callable[[], T], timeout_s: float = 30.0, what: str = "the condition") -> T:
    """Call `probe` until its answer is true, and return that answer; AssertionError after `timeout_s`.

    The longer it takes the less often it is called: what is waited for needs the machine as well."""
    deadline, pause_s = time.monotonic() + timeout_s, 0.01
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, 0.15)
    return answer


class Session:
    """A connection to a database of any kind, with what all drivers have. Closed at the end of a `with`; what is open is rolled back."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement, in which `%s` stands for a value where there are values; its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def commit(self) -> None:
        """Commit."""
        self.connection.commit()

    def rollback(self) -> None:
        """Roll back."""
        self.connection.rollback()

    def close(self) -> None:
        """Leave. Idempotent, also where the server has gone."""
        with contextlib.suppress(psycopg.Error, pymysql.err.Error):
            self.connection.close()


class Server(Protocol):
    """A private server of any kind, to be stopped and started by a test."""

    @property
    def host(self) -> str:
        """Its address."""

    @property
    def port(self) -> int:
        """Its port."""

    @property
    def user(self) -> str:
        """Its superuser."""

    @property
    def password(self) -> str:
        """The superuser's."""

    @property
    def pid(self) -> int:
        """Its first process."""

    @property
    def running(self) -> bool:
        """Whether it is there."""

    def start(self) -> None:
        """Start it."""

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop it."""

    def kill(self) -> None:
        """Kill it with SIGKILL."""


class AnyDatabase(Protocol):
    """A database of its own in a private server, of whatever kind."""

    @property
    def cluster(self) -> Server:
        """Its server."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def type(self) -> str:
        """The type of data source that it is."""

    @property
    def schema(self) -> str:
        """What stands before the names of its tables."""

    @property
    def instant(self) -> str:
        """Its type for moments."""

    @property
    def url(self) -> str:
        """The address of the superuser's connection."""

    def run(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""

    def session(self, *, autocommit: bool = False, snapshot: bool = False) -> Session:
        """A session of the superuser: READ COMMITTED, or with `snapshot` one snapshot per transaction."""

    def columns(self, table: str) -> list[str]:
        """The columns of a table, in order."""

    def series(self, first: int, last: int) -> str:
        """What gives the numbers from `first` to `last` as the column `i`, for a FROM."""

    def at(self, moment: str) -> str:
        """A literal of its type for moments, from one in UTC."""

    def record(self, name: str) -> tuple[str, str]:
        """Schema and name of one of the tables that a task keeps at its target, for example of its checkpoint."""

    def drop(self) -> None:
        """Remove the database, whoever is still connected."""


D = TypeVar("D", bound=AnyDatabase, default="Database")
"""The kind of databases that a world of a test is made of. Where nothing is said it is PostgreSQL."""


def content(database: AnyDatabase) -> dict[str, Any]:
    """A data source's content as the API takes it."""
    server = database.cluster
    where = {"host": server.host, "port": str(server.port), "database_name": database.name}
    return {**where, "user_name": server.user, "password": server.password}


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database of its own in a private server."""

    cluster: PrivatePostgres
    name: str
    type: ClassVar[str] = "POSTGRESQL"
    schema: ClassVar[str] = "public"
    instant: ClassVar[str] = "timestamptz"

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

    def session(self, *, autocommit: bool = False, snapshot: bool = False) -> Session:
        """See `AnyDatabase`."""
        connection = psycopg.connect(self.dsn, connect_timeout=5, autocommit=autocommit)
        connection.isolation_level = IsolationLevel.REPEATABLE_READ if snapshot else None
        return Session(connection)

    def columns(self, table: str) -> list[str]:
        """The columns of a table, in order."""
        which = f"attrelid = 'public.{table}'::regclass AND attnum > 0 AND NOT attisdropped"
        return [name for (name,) in self.rows(f"SELECT attname FROM pg_attribute WHERE {which} ORDER BY attnum")]

    def series(self, first: int, last: int) -> str:
        """See `AnyDatabase`."""
        return f"generate_series({first}, {last}) AS series(i)"

    def at(self, moment: str) -> str:
        """See `AnyDatabase`."""
        return f"timestamptz '{moment}+00'"

    def record(self, name: str) -> tuple[str, str]:
        """See `AnyDatabase`."""
        return "headwater", name

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
    type: ClassVar[str] = "MYSQL"
    instant: ClassVar[str] = "timestamp(6) NULL"

    @property
    def schema(self) -> str:
        """A database of MySQL is what others call a schema."""
        return self.name

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
        return self.cluster.connect(self.name, autocommit=autocommit, **{"init_command": MYSQL_SESSION, **more})

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

    def session(self, *, autocommit: bool = False, snapshot: bool = False) -> Session:
        """See `AnyDatabase`."""
        session = Session(self.connect(autocommit=autocommit, connect_timeout=5))
        session.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {'REPEATABLE READ' if snapshot else 'READ COMMITTED'}")
        return session

    def columns(self, table: str) -> list[str]:
        """The columns of a table, in order."""
        return [str(name) for name, *_ in self.rows(f"SHOW COLUMNS FROM `{table}`")]

    def series(self, first: int, last: int) -> str:
        """See `AnyDatabase`."""
        counted = f"SELECT {first} AS i UNION ALL SELECT i + 1 FROM counted WHERE i < {last}"
        return f"(WITH RECURSIVE counted AS ({counted}) SELECT i FROM counted) AS series"

    def at(self, moment: str) -> str:
        """See `AnyDatabase`."""
        return f"TIMESTAMP '{moment}'"

    def record(self, name: str) -> tuple[str, str]:
        """See `AnyDatabase`."""
        return self.name, f"headwater_{name}"

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
            cursor.execute("SET SESSION lock_wait_timeout = 30")  # a failing test is to end, whatever it left open
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (self.name,))
            for (user,) in cursor.fetchall():
                _end_session(cursor, user)
            cursor.execute(f"DROP DATABASE IF EXISTS `{self.name}`")


def create(server: PrivatePostgres | MysqlServer, name: str, encoding: str = "") -> AnyDatabase:
    """Make a database in a server of any kind."""
    if isinstance(server, MysqlServer):
        return MysqlDatabase.create(server, name, *filter(None, [encoding]))
    return Database.create(server, name, *filter(None, [encoding]))


def _end_session(cursor: pymysql.cursors.Cursor, user: int) -> None:
    try:
        cursor.execute(f"KILL {user}")
    except pymysql.err.OperationalError as error:
        if error.args[0] != pymysql.constants.ER.NO_SUCH_THREAD:
            raise
