"""An exact moment: a place in the log together with the snapshot that has just what was committed before it.

Only the making of a logical replication slot gives both. The server waits for the transactions that are open, and where it finds a
place before which it knows the fate of every transaction, it exports the snapshot that belongs to it. The slot is temporary: nobody
reads from it, and it goes with its session, as soon as somebody has taken the snapshot over.
"""

from __future__ import annotations

import secrets
import select
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq

from headwater.domain.errors import HeadwaterError, SourceError
from headwater.domain.tables import TableName
from headwater.sources.postgres.config import PostgresConfig
from headwater.sources.postgres.connect import connect_replication, source_error, without_values

WAIT_POLL_S = 0.25
"""How often the caller is asked whether it still wants to wait."""

NO_SLOT_LEFT = "53400"
"""SQLSTATE of a configured limit that is reached."""

LIMITS = ("max_wal_senders", "max_replication_slots")


@dataclass(frozen=True)
class Moment:
    """`position` divides the log, `snapshot` is the name of the exported snapshot; `files` are the tables' files from before."""

    position: str
    snapshot: str
    files: Mapping[TableName, str]


@contextmanager
def held(config: PostgresConfig, files: Mapping[TableName, str], wait: Callable[[], bool]) -> Iterator[Moment | None]:
    """The moment, held for the body of the `with`; None where `wait` gave up.

    Raises:
        SourceError: `slots_exhausted` where no slot or WAL sender is left; whatever else `connect` tells.
    """
    try:
        connection = connect_replication(config)
    except HeadwaterError as error:
        raise _exhausted(config, error) if any(limit in str(error) for limit in LIMITS) else error from error
    try:
        made = _create(connection, config, wait)
        yield None if made is None else Moment(*made, files)
    finally:
        connection.close()


def _create(connection: psycopg.Connection[Any], config: PostgresConfig, wait: Callable[[], bool]) -> tuple[str, str] | None:
    """Make the slot, which may take as long as the oldest open transaction: (its consistent point, name of the snapshot)."""
    pgconn = connection.pgconn
    pgconn.send_query(f'CREATE_REPLICATION_SLOT "{config.slot}_copy_{secrets.token_hex(4)}" TEMPORARY LOGICAL pgoutput'.encode())
    pgconn.flush()
    while True:
        ready, _, _ = select.select([pgconn.socket], [], [], WAIT_POLL_S)
        if ready:
            pgconn.consume_input()
        if not pgconn.is_busy():
            break
        if not ready and not wait():
            return None
    result = pgconn.get_result()
    if result is None or result.status != pq.ExecStatus.TUPLES_OK:
        raise _refused(config, psycopg.errors.error_from_result(result) if result else psycopg.OperationalError("no answer"))
    position, snapshot = result.get_value(0, 1), result.get_value(0, 2)
    assert position is not None
    assert snapshot is not None
    return position.decode(), snapshot.decode()


def _refused(config: PostgresConfig, error: psycopg.Error) -> HeadwaterError:
    found = source_error(f"Making a temporary replication slot in {config.place}", error)
    found.__cause__ = without_values(error)
    return _exhausted(config, found) if error.sqlstate == NO_SLOT_LEFT else found


def _exhausted(config: PostgresConfig, error: HeadwaterError) -> SourceError:
    return SourceError(
        f"{config.place} has no replication slot or WAL sender to spare for the moment of a copy, which needs one more of each: {error}",
        kind="slots_exhausted",
    )
