"""Opening the log at a place, and the `Log` that the engine sees."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from headwater.domain.errors import SourceError
from headwater.domain.tables import TableName
from headwater.ports.source import NO_TRAIL, Trail
from headwater.sources.box import Box
from headwater.sources.log import QUEUE_BYTES_MAX, ReadLog
from headwater.sources.postgres import catalogue, lineage, positions, publication, slot
from headwater.sources.postgres.announcer import Announcer
from headwater.sources.postgres.config import PostgresConfig
from headwater.sources.postgres.connect import connect, connect_replication, message_of, translated, without_values
from headwater.sources.postgres.reader import FRAME_BYTES_MAX, FRAME_ROWS_MAX, Reader, log_error
from headwater.sources.postgres.stream import Stream
from headwater.sources.postgres.stream import start as begin
from headwater.wire.pgoutput import Decoder

OBJECT_IN_USE = "55006"
ACTIVE_SLOT_PATIENCE_S = 8.0
"""How long to wait for a slot that another process still reads, which may be our own one that was killed a moment ago."""


class PostgresLog(ReadLog):
    """See `Log`."""

    stamp_margin_us = 0

    def __init__(self, connection: psycopg.Connection[Any], stream: Stream, announcer: Announcer, place: Place) -> None:
        self.start = positions.text(place.start)
        self.history = place.history
        decoder = Decoder(announcer.key_of, FRAME_ROWS_MAX, FRAME_BYTES_MAX, place.start)
        box = Box(QUEUE_BYTES_MAX)
        self._reader = Reader(stream, decoder, announcer.framer, box, place.start, place.known_end)
        super().__init__(box, self._reader, stream, connection, announcer)

    def confirm(self, position: str) -> None:
        """See `Log.confirm`."""
        self._reader.confirm(positions.parse(position))


@dataclass(frozen=True)
class Place:
    """Where a stream starts, where the server's log ended then, and whose log that is. `failover` where the slot is to be kept ready for
    a standby, and is not yet."""

    start: int
    known_end: int
    history: str
    failover: bool = False


def open_log(
    config: PostgresConfig, tables: Sequence[TableName], after: str | None, new_history: bool, trail: Trail = NO_TRAIL
) -> PostgresLog:
    """See `Source.open_log`."""
    connection = connect_replication(config)
    try:
        with translated(f"Asking {config.place} for its history"):
            server = lineage.identify(connection)
        joined = lineage.join(server, None if after is None else positions.parse(after), trail)
        with connect(config) as session, translated(f"Preparing the log of {config.place}"):
            place = _prepare(session, config, joined, new_history, server.text)
            announcer = Announcer(config, tables, catalogue.oids(session, tables))
        stream = _start(connection, config, place)
        return PostgresLog(connection, stream, announcer, place)
    except BaseException:
        connection.close()
        raise


def _prepare(session: catalogue.Connection, config: PostgresConfig, joined: lineage.Joined, new_history: bool, history: str) -> Place:
    """See to the slot; tells where the stream starts and where the server's log ends now."""
    _refuse_standby(session, config)
    state, flushed = slot.look(session, config.slot)
    decision = slot.Decision("lost", joined.reason) if joined.reason else slot.decide(state, flushed, joined.after, config.database)
    if decision.what == "lost" and not new_history:
        raise SourceError(
            f"The replication slot {config.slot} of {config.place} can't give what follows the captured changes: {decision.reason}.",
            kind="slot_lost",
        )
    if decision.what == "use":
        assert state is not None
        assert state.confirmed is not None
        return Place(max(joined.after or 0, state.confirmed), flushed, history, failover=state.failover is False)
    if state is not None:
        publication.drop_slot(session, config.slot)
    publication.create_slot(session, config.slot)
    made, flushed = slot.look(session, config.slot)
    assert made is not None
    assert made.confirmed is not None
    return Place(made.confirmed, flushed, history)


def _refuse_standby(session: catalogue.Connection, config: PostgresConfig) -> None:
    """A standby can't give us a log that goes on when it is promoted; where it is about to be, we come back."""
    if session.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
        raise SourceError(f"{config.place} is a standby that has not been promoted; its log can be followed when it is the primary.")


def _start(connection: psycopg.Connection[Any], config: PostgresConfig, place: Place) -> Stream:
    """Begin to stream. Waits a little where the slot is still read by somebody."""
    command = (
        f'START_REPLICATION SLOT "{config.slot}" LOGICAL {positions.text(place.start)} '
        f"(proto_version '1', publication_names '\"{config.publication}\"')"
    )
    deadline = time.monotonic() + ACTIVE_SLOT_PATIENCE_S
    while True:
        try:
            if place.failover:
                connection.execute(f'ALTER_REPLICATION_SLOT "{config.slot}" (FAILOVER true)'.encode())
            return begin(connection, command)
        except psycopg.Error as error:
            if error.sqlstate != OBJECT_IN_USE:
                raise log_error(error, positions.text(place.start)) from without_values(error)
            if time.monotonic() > deadline:
                raise SourceError(
                    f"The replication slot {config.slot} of {config.place} is being read by another process: {message_of(error)}. "
                    "Another Headwater, or one that has just ended? Headwater tries again."
                ) from None
        time.sleep(0.1)
