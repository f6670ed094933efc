"""PostgreSQL's protocol on a session's own socket, for the two streams in which every microsecond per row counts.

libpq logs in, with all that belongs to it, and then hands out one row at a time: an object, a copy and several calls for each. Where the
connection is not encrypted we read the socket ourselves from the moment a COPY or the replication begins, and give whole stretches
of it to compiled code, which about halves our part of the work. Encrypted connections stay with libpq (see `reader`, `snapshot`).
"""

from __future__ import annotations

import os
import select
import socket
from typing import Any

import psycopg

from headwater.wire import copydata

BUFFER_BYTES = 256 * 1024


class ServerError(psycopg.Error):
    """What the server reported in a stream that we read ourselves."""

    def __init__(self, told: dict[str, str]) -> None:
        super().__init__(told.get("M", "no message"))
        self.sqlstate = told.get("C", "XX000")


def readable(connection: psycopg.Connection[Any]) -> bool:
    """True where we can read the session's socket ourselves: nothing encrypts it."""
    return not connection.pgconn.ssl_in_use


class Channel:
    """The socket of a session that is idle in libpq's eyes. Messages stand in `buffer` between `start` and `end`."""

    def __init__(self, connection: psycopg.Connection[Any], buffer_bytes: int = BUFFER_BYTES) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.pgconn.socket))
        self._socket.setblocking(False)
        self._buffer_bytes = buffer_bytes
        self.buffer = bytearray(buffer_bytes)
        self.start = self.end = 0
        self.bytes_read = 0
        self._unsent = b""

    def fileno(self) -> int:
        """The socket, to sleep on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let our handle of the socket go; the session keeps its own. Idempotent."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send as much as fits now, the rest at the next call."""
        self._unsent += data
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            raise psycopg.OperationalError(f"the connection was lost: {error.strerror}") from error

    def fill(self) -> bool:
        """Take what the socket has, up to the buffer's end; False where it has nothing.

        Raises:
            psycopg.OperationalError: the connection was lost.
        """
        self._make_room()
        try:
            with memoryview(self.buffer) as view:
                count = self._socket.recv_into(view[self.end :])
        except BlockingIOError:
            return False
        except OSError as error:
            raise psycopg.OperationalError(f"the connection was lost: {error.strerror}") from error
        if not count:
            raise psycopg.OperationalError("the server closed the connection")
        self.end += count
        self.bytes_read += count
        return True

    def wait(self, timeout_s: float | None = None) -> None:
        """Sleep until the socket has something."""
        select.select([self._socket], [], [], timeout_s)

    def other(self) -> tuple[str, bytes] | None:
        """The next message that is not CopyData, as its letter and payload; None where it is not all there yet."""
        if self.end - self.start < copydata.HEAD_BYTES:
            return None
        stop = copydata.message_end(self.buffer, self.start)
        if stop > self.end:
            return None
        kind, payload = chr(self.buffer[self.start]), bytes(self.buffer[self.start + copydata.HEAD_BYTES : stop])
        self.start = stop
        if kind == "E":
            raise ServerError(copydata.fields(payload))
        return kind, payload

    def message(self) -> tuple[str, bytes]:
        """Wait for the next message that is not CopyData."""
        while True:
            found = self.other()
            if found is not None:
                return found
            if not self.fill():
                self.wait()

    def _make_room(self) -> None:
        """Move what is left to the front, and grow for a message that is larger than the buffer; shrink back afterwards."""
        left = self.end - self.start
        wanted = max(self._buffer_bytes, left + self._buffer_bytes // 8)
        if left >= copydata.HEAD_BYTES:
            wanted = max(wanted, copydata.message_end(self.buffer, self.start) - self.start + copydata.HEAD_BYTES)
        if self.start or wanted != len(self.buffer):
            rest = self.buffer[self.start : self.end]
            if wanted != len(self.buffer):
                self.buffer = bytearray(wanted)
            with memoryview(self.buffer) as view:
                view[:left] = rest
            self.start, self.end = 0, left
