"""What the bank, its faults and its checkers have to do differently at each kind of database."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import pymysql
from pymysql.constants import ER

from tests.databases import AnyDatabase, Database, MysqlDatabase

ROLE = "headwater_crash"
PASSWORD = "first secret"

S = TypeVar("S", bound=AnyDatabase)

LEDGER = "CREATE TABLE ledger (writer int, number bigint, times int NOT NULL, PRIMARY KEY (writer, number))"


class Side(ABC, Generic[S]):
    """One database of a stage. `ledger` are the statements that make a target count how often each transfer was put in there."""

    ledger: tuple[str, ...]

    def __init__(self, database: S) -> None:
        self.database = database

    @abstractmethod
    def create_role(self) -> None:
        """Make the role that Headwater comes as, with every right."""

    @abstractmethod
    def change_password(self, password: str) -> None:
        """Give the role another password, and end its sessions."""

    @abstractmethod
    def end_sessions(self) -> None:
        """End all sessions of the role."""

    @abstractmethod
    def sessions(self) -> int:
        """How many sessions the role has."""

    @abstractmethod
    def lock(self, table: str) -> contextlib.AbstractContextManager[int]:
        """Nobody else reads or writes the table, for the body of the `with`; the server's number of the session that holds it."""

    @abstractmethod
    def waiting(self) -> bool:
        """Whether any session at the database waits for a lock."""

    @abstractmethod
    def kept_log(self) -> int:
        """Bytes of log that the server keeps because of us."""

    @abstractmethod
    def log_so_far(self) -> int:
        """Bytes of log that the server has ever written."""

    @abstractmethod
    def left_behind(self) -> list[Any]:
        """What of ours stands there as a source."""


class PostgresSide(Side[Database]):
    """PostgreSQL."""

    ledger = (
        LEDGER,
        """
        CREATE FUNCTION note_transfer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO public.ledger AS l VALUES (NEW.writer, NEW.number, 1)
            ON CONFLICT (writer, number) DO UPDATE SET times = l.times + 1;
            RETURN NULL;
        END $$
        """,
        "CREATE TRIGGER note_transfer AFTER INSERT OR UPDATE ON transfer FOR EACH ROW EXECUTE FUNCTION note_transfer()",
        "ALTER TABLE transfer ENABLE ALWAYS TRIGGER note_transfer",
    )

    def create_role(self) -> None:
        self.database.run(f"CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD '{PASSWORD}'")

    def change_password(self, password: str) -> None:
        self.database.run(f"ALTER ROLE {ROLE} PASSWORD '{password}'")
        self.end_sessions()

    def end_sessions(self) -> None:
        self.database.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")

    def sessions(self) -> int:
        return self._number(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}'")

    @contextlib.contextmanager
    def lock(self, table: str) -> Iterator[int]:
        with self.database.connect(autocommit=False) as connection:
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            yield connection.info.backend_pid
            connection.rollback()

    def waiting(self) -> bool:
        waits = "wait_event_type = 'Lock' AND datname = current_database()"
        return self._number(f"SELECT count(*) FROM pg_stat_activity WHERE {waits}") > 0

    def kept_log(self) -> int:
        kept = "max(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn))"
        return self._number(f"SELECT coalesce({kept}, 0)::bigint FROM pg_replication_slots")

    def log_so_far(self) -> int:
        return self._number("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")

    def left_behind(self) -> list[Any]:
        slots = "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'headwater%'"
        return self.database.rows(f"{slots} UNION ALL SELECT pubname FROM pg_publication")

    def _number(self, query: str) -> int:
        return int(self.database.rows(query)[0][0])


class MysqlSide(Side[MysqlDatabase]):
    """MariaDB and MySQL. Their log is kept for nobody in particular, and nothing of ours stands at the source."""

    ledger = (
        LEDGER,
        *(
            f"CREATE TRIGGER note_{event} AFTER {event} ON transfer FOR EACH ROW INSERT INTO ledger VALUES (NEW.writer, NEW.number, 1)"
            " ON DUPLICATE KEY UPDATE times = times + 1"
            for event in ("INSERT", "UPDATE")
        ),
    )

    def create_role(self) -> None:
        self.database.run(f"CREATE USER {ROLE}@'%' IDENTIFIED BY '{PASSWORD}'", f"GRANT ALL ON *.* TO {ROLE}@'%'")

    def change_password(self, password: str) -> None:
        self.database.run(f"ALTER USER {ROLE}@'%' IDENTIFIED BY '{password}'")
        self.end_sessions()

    def end_sessions(self) -> None:
        with self.database.session(autocommit=True) as session:
            for (number,) in session.execute("SELECT id FROM information_schema.processlist WHERE user = %s", [ROLE]):
                try:
                    session.execute(f"KILL {number}")
                except pymysql.err.OperationalError as error:
                    if error.args[0] != ER.NO_SUCH_THREAD:
                        raise

    def sessions(self) -> int:
        (found,) = self.database.rows(f"SELECT count(*) FROM information_schema.processlist WHERE user = '{ROLE}'")
        return int(found[0])

    @contextlib.contextmanager
    def lock(self, table: str) -> Iterator[int]:
        with self.database.session() as session:
            session.execute(f"LOCK TABLES {table} WRITE")
            yield int(session.execute("SELECT connection_id()")[0][0])

    def waiting(self) -> bool:
        rows = "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        tables = "SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
        return bool(self.database.rows(f"{rows} UNION ALL {tables}"))

    def kept_log(self) -> int:
        return 0

    def log_so_far(self) -> int:
        return sum(int(size) for _, size, *_ in self.database.rows("SHOW BINARY LOGS"))

    def left_behind(self) -> list[Any]:
        tables = "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'headwater%'"
        replicas = f"SELECT command FROM information_schema.processlist WHERE user = '{ROLE}' AND command LIKE 'Binlog Dump%'"
        return self.database.rows(f"{tables} UNION ALL {replicas}")


def side_of(database: AnyDatabase) -> Side[Any]:
    """What a database of this kind does in its own way."""
    return MysqlSide(database) if isinstance(database, MysqlDatabase) else PostgresSide(_postgres(database))


def _postgres(database: AnyDatabase) -> Database:
    assert isinstance(database, Database)
    return database
