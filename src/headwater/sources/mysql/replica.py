"""A session that the server takes for a replica: it registers, asks for the log, and gets its events as they are written.

PyMySQL logs in; from the moment at which the log begins we read its socket ourselves, and give whole stretches to the decoder. The
protocol is that of `COM_REGISTER_SLAVE`, `COM_BINLOG_DUMP` and `COM_BINLOG_DUMP_GTID`: nothing is ever sent back.
"""

from __future__ import annotations

import ssl
import struct
from typing import Any

from pymysql.err import OperationalError, raise_mysql_exception

from headwater.dialects.mysql_session import Session
from headwater.sources.mysql import positions
from headwater.wire import binlog
from headwater.wire.binlog_events import BinlogError

COM_BINLOG_DUMP, COM_REGISTER_SLAVE, COM_BINLOG_DUMP_GTID = 0x12, 0x15, 0x1E
HEARTBEAT_S = 0.5
"""How often an idle server says that it is there."""

BUFFER_BYTES = 1024 * 1024
HEAD_BYTES = 4
CONTINUED = 0xFFFFFF
"""The size of a packet that the next one continues."""

EVENT_BYTES_MAX = (1 << 30) + (1 << 20)
"""No event is larger: `max_allowed_packet` can't be."""

LOST = 2013
BY_GTIDS = 4
"""The flag that says so."""

TAGGED = 1
"""The form of a set of GTIDs that has tags; a tag has 32 letters at most."""

CHECKSUM = "SET @master_binlog_checksum = @@GLOBAL.binlog_checksum, @source_binlog_checksum = @@GLOBAL.binlog_checksum"


class LogEnded(Exception):
    """The server has ended the stream without an error. Never leaves this package."""


def register(session: Session, server_id: int) -> None:
    """Tell the server who we are and what we understand.

    Raises:
        pymysql.err.Error: the server refuses.
    """
    session.query(CHECKSUM)
    session.query(f"SET @master_heartbeat_period = {int(HEARTBEAT_S * 1e9)}, @source_heartbeat_period = {int(HEARTBEAT_S * 1e9)}")
    if session.mariadb:
        session.query("SET @mariadb_slave_capability = 4")
    about = struct.pack("<I", server_id) + b"\x09headwater\0\0" + struct.pack("<HII", 0, 0, 0)
    session._execute_command(COM_REGISTER_SLAVE, about)
    session._read_packet()  # type: ignore[no-untyped-call]


def dump_from(session: Session, server_id: int, file: str, offset: int) -> None:
    """Ask for the log from a place on, whose offset has to fit into 32 bits."""
    session._execute_command(COM_BINLOG_DUMP, struct.pack("<IHI", offset, 0, server_id) + file.encode())


def dump_from_beyond(session: Session, server_id: int, file: str, offset: int) -> None:
    """Ask a MySQL that gives GTIDs for the log from a place on, whatever its offset."""
    name, known = file.encode(), encoded("")
    session._execute_command(
        COM_BINLOG_DUMP_GTID, struct.pack("<HII", BY_GTIDS, server_id, len(name)) + name + struct.pack("<QI", offset, len(known)) + known
    )


def dump_behind(session: Session, server_id: int, gtids: str) -> None:
    """Ask for everything that is not among these GTIDs."""
    if session.mariadb:
        with session.cursor() as cursor:
            cursor.execute("SET @slave_connect_state = %s, @slave_gtid_strict_mode = 0, @slave_gtid_ignore_duplicates = 0", (gtids,))
        session._execute_command(COM_BINLOG_DUMP, struct.pack("<IHI", 4, 0, server_id))
        return
    known = encoded(gtids)
    session._execute_command(COM_BINLOG_DUMP_GTID, struct.pack("<HIIQI", BY_GTIDS, server_id, 0, 4, len(known)) + known)


def encoded(gtids: str) -> bytes:
    """MySQL's form of a set for the wire: by server, or server and tag, its spans, whose ends are not in them.

    Servers before 8.3 know no tags, and read the older form alone. In the newer one the first byte and the eighth tell the form, and
    the count is between them; a tag's length is doubled. (`Gtid_set::encode`, sql/rpl_gtid_set.cc.)
    """
    found = positions.intervals(gtids)
    tagged = any(":" in source for source in found)
    made = struct.pack("<Q", (TAGGED << 56 | len(found) << 8 | TAGGED) if tagged else len(found))
    for source, spans in sorted(found.items()):
        server, _, tag = source.partition(":")
        named = bytes([len(tag) << 1]) + tag.encode() if tagged else b""
        made += bytes.fromhex(server.replace("-", "")) + named + struct.pack("<Q", len(spans))
        made += b"".join(struct.pack("<QQ", first, last + 1) for first, last in spans)
    return made


class Stream:
    """The socket of a session from which the log flows. Never waits."""

    def __init__(self, session: Session, buffer_bytes: int = BUFFER_BYTES) -> None:
        assert session._sock is not None
        self._session = session
        self._socket = session._sock
        self._socket.setblocking(False)
        self._buffer_bytes = buffer_bytes
        self._buffer = bytearray(buffer_bytes)
        self._start = self._end = 0
        self._large: bytearray | None = None
        self._large_whole = False
        self.bytes_read = 0

    def fileno(self) -> int:
        """The socket, to sleep on."""
        return self._socket.fileno()

    def close(self) -> None:
        """End the session. Idempotent."""
        self._session._force_close()

    def fill(self) -> None:
        """Take what the socket has, up to the buffer's end.

        Raises:
            pymysql.err.OperationalError: the connection was lost.
        """
        self._make_room()
        try:
            with memoryview(self._buffer) as view:
                count = self._socket.recv_into(view[self._end :])
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            raise OperationalError(LOST, f"the connection was lost: {error.strerror or error}") from error
        if not count:
            raise OperationalError(LOST, "the server closed the connection")
        self._end += count
        self.bytes_read += count

    def feed(self, decoder: binlog.Decoder) -> int:
        """Decode what was taken, up to the first event that asks for something; NOTHING where no whole packet is left.

        Raises:
            pymysql.err.Error: the server's own word on why it sends no more.
            LogEnded: it sends no more, and says nothing.
        """
        while True:
            event = self._feed_large(decoder)
            if event == binlog.NOTHING and self._large is None:
                self._start, event = decoder.feed_stream(self._buffer, self._start, self._end)
            if event not in (binlog.NOTHING, binlog.OTHER):
                return event
            if (event == binlog.NOTHING and self._large is None) or not self._other():
                return binlog.NOTHING

    def _feed_large(self, decoder: binlog.Decoder) -> int:
        """An event of several packets, once it is whole; it may be asked for again."""
        if self._large is None or not self._large_whole:
            return binlog.NOTHING
        event: int = decoder.feed(self._large)
        if not decoder.resumes and event != binlog.CUT:
            self._large = None
        return event

    def _other(self) -> bool:
        """The next packet, if it is one that the decoder does not read by itself; False where it is not all there yet."""
        if self._end - self._start < HEAD_BYTES:
            return False
        size = int.from_bytes(self._buffer[self._start : self._start + 3], "little")
        stop = self._start + HEAD_BYTES + size
        if stop > self._end:
            return False
        packet = bytes(self._buffer[self._start + HEAD_BYTES : stop])
        self._start = stop
        if self._large is None:
            if packet[:1] == b"\xff":
                raise_mysql_exception(packet)
            if packet[:1] != b"\0":
                raise LogEnded
            self._large, self._large_whole = bytearray(), False
            packet = packet[1:]
        self._large += packet
        self._large_whole = size < CONTINUED
        if len(self._large) > EVENT_BYTES_MAX:
            raise BinlogError(f"An event of more than {EVENT_BYTES_MAX} bytes", 0)
        return True

    def _make_room(self) -> None:
        """Move what is left to the front, and grow for a packet that is larger than the buffer; shrink back afterwards."""
        left = self._end - self._start
        wanted = self._buffer_bytes
        if left >= HEAD_BYTES:
            wanted = max(wanted, int.from_bytes(self._buffer[self._start : self._start + 3], "little") + HEAD_BYTES)
        if self._start or wanted > len(self._buffer) or (wanted < len(self._buffer) and left <= wanted):
            rest = self._buffer[self._start : self._end]
            if wanted != len(self._buffer) and left <= wanted:
                self._buffer = bytearray(wanted)
            with memoryview(self._buffer) as view:
                view[:left] = rest
            self._start, self._end = 0, left
        if self._end == len(self._buffer):
            self._buffer += bytes(self._buffer_bytes)


def unpack(data: bytes, _: int) -> Any:
    """A reader of what a compressed transaction holds."""
    import pyarrow as pa

    return pa.CompressedInputStream(pa.BufferReader(data), "zstd")
