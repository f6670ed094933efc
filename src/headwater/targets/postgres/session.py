"""Connections to a target, all alike: what text means and how plans are made is pinned, whatever server, database and role say.

Statements join a staged batch to a table by the table's key, and always want the index. Temporary tables have no
statistics, so the planner is left no other way; without that one bad estimate reads a whole table per batch.

`session_replication_role = replica` is set where the server lets us (docs/decisions/0007): what arrives has passed the source's
triggers and foreign keys already.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format

from headwater.dialects.postgres_text import PINNED_AGAIN, TEXT_SETTINGS
from headwater.targets.postgres.config import PostgresTargetConfig
from headwater.targets.postgres.errors import cannot_connect, translate

Connection = psycopg.Connection[tuple[Any, ...]]

SESSION_SETTINGS = {
    "default_transaction_isolation": "read\\ committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "temp_buffers": "32MB",
    "jit": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
}


PREPARED_MAX = 500
"""Statements that the server keeps prepared for a session: a few for each of the tables of a large task."""


class _TextDumper(Dumper):
    """Passes `bytes` on as a value in text form whose type the server infers, as everything in a change batch is."""

    format = Format.TEXT

    def dump(self, obj: bytes) -> bytes:
        return obj


class _NameLoader(Loader):
    """Reads text as UTF-8 where the driver would give bytes."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "replace")


def connect(config: PostgresTargetConfig) -> Connection:
    """Open a connection in transactions of its own (not autocommit).

    Raises TargetError: `target_unavailable` or, where the server answered and said no, `target_refused`."""
    options = " ".join(f"-c {name}={value}" for name, value in (TEXT_SETTINGS | SESSION_SETTINGS).items())
    try:
        connection = psycopg.connect(
            host=config.host,
            port=config.port,
            dbname=config.database,
            user=config.user,
            password=config.password,
            sslmode=config.sslmode,
            connect_timeout=config.connect_timeout_s,
            application_name="headwater",
            client_encoding="UTF8",
            options=options,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
        )
        connection.execute(PINNED_AGAIN)
        connection.commit()
    except psycopg.Error as error:
        raise cannot_connect(config, error) from None
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        _convert_nothing(connection)
    connection.adapters.register_dumper(bytes, _TextDumper)
    connection.prepare_threshold = 2
    connection.prepared_max = PREPARED_MAX
    return connection


@contextmanager
def connected(config: PostgresTargetConfig, doing: str) -> Iterator[Connection]:
    """A connection for the body of the `with`, while `doing` something: the driver's errors become ours."""
    connection = connect(config)
    try:
        yield connection
    except psycopg.Error as error:
        raise translate(error, doing) from None
    finally:
        connection.close()


def _convert_nothing(connection: Connection) -> None:
    """Let a database of encoding SQL_ASCII take texts as the bytes that they are, UTF-8 or not; what we read there is names, in UTF-8."""
    connection.execute("SET client_encoding = 'SQL_ASCII'")
    connection.commit()
    for type_ in ("text", "varchar", "name"):
        connection.adapters.register_loader(type_, _NameLoader)


def write_as_replica(connection: Connection) -> bool:
    """Keep foreign keys and ordinary triggers of this session from running; False where the server does not let us."""
    connection.commit()
    try:
        connection.execute("SET session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        connection.rollback()
        return False
    connection.commit()
    return True


def may_write_as_replica(connection: Connection) -> bool:
    """Whether `write_as_replica` would succeed; changes nothing."""
    try:
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    connection.execute("SET LOCAL session_replication_role = DEFAULT")
    return True
