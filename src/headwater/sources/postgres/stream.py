"""A started replication stream, behind one door for two ways of reading it: the socket itself, or libpq where it is encrypted.

`fill` takes what has come, `feed` decodes it up to the first event that asks for something. Both never wait.
"""

from __future__ import annotations

from typing import Any, Protocol

import psycopg
from psycopg import pq

from headwater.sources.postgres.channel import Channel, readable
from headwater.wire import copydata, pgoutput

SKIPPING_WARNINGS = ("55000",)
"""SQLSTATEs of warnings that mean that changes do not come: since version 18 a publication that is gone is no error any more."""


class StreamEnded(Exception):
    """The server has ended the stream without an error. Never leaves this package."""


class Stream(Protocol):
    """What the reader thread needs."""

    left_out: str
    """What the server warned of that it leaves out; empty where it warned of nothing."""

    @property
    def bytes_read(self) -> int:
        """Bytes taken so far."""

    def fileno(self) -> int:
        """The socket, to sleep on."""

    def fill(self) -> None:
        """Take what the socket has."""

    def feed(self, decoder: pgoutput.Decoder) -> int:
        """Decode what was taken, up to the first event; NOTHING where no whole message is left."""

    def send(self, payload: bytes) -> None:
        """Send a CopyData message; never waits."""

    def close(self) -> None:
        """Let go. Idempotent."""


def start(connection: psycopg.Connection[Any], command: str) -> Stream:
    """Begin to replicate.

    Raises:
        psycopg.Error: the server refuses.
    """
    return SocketStream(connection, command) if readable(connection) else LibpqStream(connection, command)


class SocketStream:
    """Reads the socket."""

    def __init__(self, connection: psycopg.Connection[Any], command: str) -> None:
        self.left_out = ""
        self._channel = Channel(connection)
        try:
            self._channel.send(copydata.query(command.encode()))
            while (found := self._channel.message())[0] != "W":
                self._hear(*found)
        except BaseException:
            self._recover()
            raise

    @property
    def bytes_read(self) -> int:
        """See `Stream`."""
        return self._channel.bytes_read

    def fileno(self) -> int:
        """See `Stream`."""
        return self._channel.fileno()

    def fill(self) -> None:
        """See `Stream`."""
        self._channel.fill()

    def feed(self, decoder: pgoutput.Decoder) -> int:
        """See `Stream`."""
        channel = self._channel
        while True:
            channel.start, event = decoder.feed_stream(channel.buffer, channel.start, channel.end)
            if event != pgoutput.OTHER:
                return event
            found = channel.other()
            if found is None:
                return pgoutput.NOTHING
            self._hear(*found)

    def send(self, payload: bytes) -> None:
        """See `Stream`."""
        self._channel.send(copydata.copy_data(payload))

    def close(self) -> None:
        """See `Stream`."""
        self._channel.close()

    def _hear(self, kind: str, payload: bytes) -> None:
        if kind in ("c", "C"):
            raise StreamEnded
        if kind == "N":
            told = copydata.fields(payload)
            if told.get("C") in SKIPPING_WARNINGS:
                self.left_out = told.get("M", "")

    def _recover(self) -> None:
        """After a refusal the session is to be used again: take the rest of the answer."""
        try:
            while self._channel.message()[0] != "Z":
                pass
        except psycopg.Error:
            pass
        self._channel.close()


class LibpqStream:
    """Lets libpq read."""

    def __init__(self, connection: psycopg.Connection[Any], command: str) -> None:
        self._bytes_read = 0
        self.left_out = ""
        self._pgconn = connection.pgconn
        result = self._pgconn.exec_(command.encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise psycopg.errors.error_from_result(result)
        self._pgconn.nonblocking = 1
        self._pgconn.notice_handler = self._notice

    @property
    def bytes_read(self) -> int:
        """See `Stream`."""
        return self._bytes_read

    def fileno(self) -> int:
        """See `Stream`."""
        return self._pgconn.socket

    def fill(self) -> None:
        """See `Stream`."""
        self._pgconn.consume_input()

    def feed(self, decoder: pgoutput.Decoder) -> int:
        """See `Stream`."""
        get, feed = self._pgconn.get_copy_data, decoder.feed
        size, message = get(1)
        while size > 0:
            self._bytes_read += size
            event: int = feed(message)
            if event:
                return event
            size, message = get(1)
        if size < 0:
            result = self._pgconn.get_result()
            if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result)
            raise StreamEnded
        return pgoutput.NOTHING

    def send(self, payload: bytes) -> None:
        """See `Stream`."""
        self._pgconn.put_copy_data(payload)
        self._pgconn.flush()

    def close(self) -> None:
        """See `Stream`."""

    def _notice(self, result: pq.abc.PGresult) -> None:
        if (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode() in SKIPPING_WARNINGS:
            self.left_out = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace")
