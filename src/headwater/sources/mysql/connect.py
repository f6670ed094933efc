"""Sessions at the source, and the translation of PyMySQL's errors into ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pymysql.err import Error

from headwater.dialects.mysql_errors import NoSuchServer, message_of, refuses
from headwater.dialects.mysql_session import READING_MODE, Session
from headwater.dialects.mysql_session import connect as open_session
from headwater.domain.errors import SourceError
from headwater.sources.mysql.config import MysqlConfig

SETTINGS = {"sql_big_selects": "1", "lock_wait_timeout": "30"}
"""On top of what every session pins. A table that is locked against reading is told after half a minute, and tried again."""

REPEATABLE = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"


def connect(config: MysqlConfig, **more: Any) -> Session:
    """An ordinary session in autocommit mode; the caller closes it. `more` goes to the driver.

    Raises:
        SourceError: `source_unavailable`, or `source_refused` where the server says no or is none.
    """
    try:
        with translated(f"Connecting to {config.place}"):
            connection = open_session(Session, config.server, READING_MODE, SETTINGS, autocommit=True, **more)
            connection.query(REPEATABLE)
            return connection
    except NoSuchServer as error:
        raise SourceError(f"Connecting to {config.place} failed: {error}", kind=None if error.passing else "source_refused") from error


@contextmanager
def session(config: MysqlConfig, doing: str) -> Iterator[Session]:
    """A session for the body of the `with`; `doing` begins the messages of its errors."""
    connection = connect(config)
    try:
        with translated(f"{doing} of {config.place}"):
            yield connection
    finally:
        connection.close()


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turns errors of PyMySQL within into SourceError; `doing` begins the message."""
    try:
        yield
    except Error as error:
        raise source_error(doing, error) from None


def source_error(doing: str, error: Error) -> SourceError:
    """The SourceError that tells of `error`. The error itself is not chained: it may hold values."""
    return SourceError(f"{doing} failed: {message_of(error)}", kind="source_refused" if refuses(error) else None)


def rows(connection: Session, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """All rows of a query, each by its columns' names in lower case: MySQL 8 spells those of its catalogue in capitals."""
    with connection.cursor() as cursor:
        cursor.execute(query, tuple(values) or None)
        names = [column[0].lower() for column in cursor.description or ()]
        return [dict(zip(names, found, strict=True)) for found in cursor.fetchall()]


def row(connection: Session, query: str, values: Sequence[Any] = ()) -> dict[str, Any]:
    """The first row of a query; empty where it has none."""
    return next(iter(rows(connection, query, values)), {})
