"""Sessions at the source, all alike, and the translation of psycopg's errors into ours.

Every session, replication included, pins the settings that the text form of a value depends on, so that the copy and the log bring the
same bytes (P8), and lifts the limits that would end a long copy. Error texts of PostgreSQL may hold values of rows (always in
DETAIL, for data errors in the message itself); those never leave this module (P10).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from headwater.dialects.postgres_text import PINNED_AGAIN, TEXT_SETTINGS
from headwater.domain.errors import HeadwaterError, SourceError
from headwater.sources.postgres.config import PostgresConfig

PINNED = TEXT_SETTINGS | {"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0"}
"""Settings of every session of ours."""

UNCONVERTED = "SET client_encoding = 'SQL_ASCII'"

PINNED_SINCE = {"idle_session_timeout": (140000, "0"), "transaction_timeout": (170000, "0")}
"""Settings that exist only from a version on; set after connecting."""

REFUSED_AT_LOGIN = ("password authentication failed", "no pg_hba.conf entry", "does not exist", "permission denied", "no password supplied")
REFUSED_CLASSES = ("0A", "28", "3D", "3F", "42", "22", "23", "55")
"""Classes of SQLSTATE that repeating does not cure."""

VALUE_CLASSES = ("22", "23")
"""Classes of SQLSTATE whose messages may hold values of rows."""


def conninfo(config: PostgresConfig, **more: str) -> str:
    """The connection string with everything pinned."""
    options = " ".join(f"-c {name}={value}" for name, value in PINNED.items())
    tls = {"sslrootcert": config.sslrootcert} if config.sslrootcert else {}
    return make_conninfo(
        host=config.host,
        port=config.port,
        dbname=config.database,
        user=config.user,
        password=config.password or None,
        sslmode=config.sslmode,
        connect_timeout=config.connect_timeout_s,
        client_encoding="UTF8",
        gssencmode="disable",
        application_name="headwater",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=30_000,
        options=options,
        **tls,
        **more,
    )


def connect(config: PostgresConfig) -> psycopg.Connection[tuple[Any, ...]]:
    """An ordinary session in autocommit mode; the caller closes it.

    Raises:
        SourceError: `source_unavailable`, or `source_refused` where the server says no.
    """
    with translated(f"Connecting to {config.place}"):
        connection = psycopg.connect(conninfo(config), autocommit=True)
        try:
            connection.execute(PINNED_AGAIN)
            for name, (version, value) in PINNED_SINCE.items():
                if connection.info.server_version >= version:
                    connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        except BaseException:
            connection.close()
            raise
        return connection


def connect_replication(config: PostgresConfig) -> psycopg.Connection[tuple[Any, ...]]:
    """A replication session (a walsender); only simple queries work there.

    Raises:
        SourceError: `source_unavailable`, or `source_refused` where the server says no.
    """
    with translated(f"Connecting to {config.place} for replication"):
        connection = psycopg.connect(conninfo(config, replication="database"), autocommit=True)
        try:
            connection.execute(PINNED_AGAIN)
            if has_no_encoding(connection):
                connection.execute(UNCONVERTED)
        except BaseException:
            connection.close()
            raise
        return connection


def has_no_encoding(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """True for a database of encoding SQL_ASCII, whose texts are bytes that nobody has declared the meaning of."""
    return connection.info.parameter_status("server_encoding") == "SQL_ASCII"


@contextmanager
def unconverted(connection: psycopg.Connection[tuple[Any, ...]]) -> Iterator[None]:
    """Within it values come from such a database as they are, whether they are UTF-8 or not. Whoever writes them checks them."""
    if not has_no_encoding(connection):
        yield
        return
    connection.execute(UNCONVERTED)
    yield
    connection.execute("SET client_encoding = 'UTF8'")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turns errors of psycopg within into SourceError; `doing` begins the message."""
    try:
        yield
    except psycopg.Error as error:
        raise source_error(doing, error) from without_values(error)


def source_error(doing: str, error: psycopg.Error) -> HeadwaterError:
    """The SourceError that tells of `error`, with the kind that its SQLSTATE stands for."""
    state = error.sqlstate or ""
    if not state:
        text = str(error).strip()
        refused = any(sign in text for sign in REFUSED_AT_LOGIN)
        return SourceError(f"{doing} failed: {text}", kind="source_refused" if refused else None)
    kind = "source_refused" if state[:2] in REFUSED_CLASSES else None
    return SourceError(f"{doing} failed: {message_of(error)}", kind=kind)


def message_of(error: psycopg.Error) -> str:
    """The server's message without anything that may be a value of a row."""
    state = error.sqlstate or ""
    if state[:2] in VALUE_CLASSES:
        return f"the server reported {type(error).__name__} (SQLSTATE {state}); its text is not shown because it may hold values of rows"
    return f"{error.diag.message_primary or str(error) or type(error).__name__} (SQLSTATE {state})"


def without_values(error: psycopg.Error) -> Exception | None:
    """A cause fit for a log: an error that came with a SQLSTATE may hold values, so it is not chained."""
    return None if error.sqlstate else error
