"""The rows of a statement straight from the socket, as blocks of text rows: the driver would make a Python object of each value.

The driver sends the statement and takes its head; from the first row on we read what the socket has, and hand stretches of it to
compiled code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pymysql.constants import COMMAND
from pymysql.err import Error, OperationalError, raise_mysql_exception

from headwater.dialects.mysql_errors import LOST
from headwater.dialects.mysql_session import Session
from headwater.domain.text_rows import read_text_rows
from headwater.wire import mysql_rows

BLOCK_BYTES = 256 * 1024
READ_AHEAD_BYTES = 64 * 1024
"""More than the driver reads ahead."""

HEAD = mysql_rows.HEAD_BYTES


def text_rows(session: Session, statement: str, kinds: bytes, end_statement: Callable[[Session], None]) -> Iterator[bytes]:
    """Blocks of whole text rows of about `BLOCK_BYTES`; `kinds` are those of `mysql_rows`, one for each column.

    Where the caller stops early, `end_statement` is called from here to have the server stop too; the session can be used again then.
    Errors of the driver pass through.
    """
    stream = Stream(session, statement, len(kinds))
    ended = False
    try:
        while not ended:
            block, ended = stream.block(kinds)
            if block:
                yield block
    finally:
        if not ended and session.open and not stream.failed:
            end_statement(session)
            stream.drain()
            _settle(session)


def _settle(session: Session) -> None:
    """A word to end a statement may have come when it was over; it would hit the next one."""
    try:
        if session.open:
            session.query("DO 0")
    except Error:
        return


def fields(block: bytes) -> list[str]:
    """The values of a block's only row."""
    row = read_text_rows(block, [str(at) for at in range(block.count(b"\t") + 1)])
    return [column[0].as_py().decode() for column in row.columns]


class Stream:
    """What the server answers to one statement. `failed` once it has ended in an error: the server sends nothing more then."""

    def __init__(self, session: Session, statement: str, columns: int) -> None:
        self._session: Any = session
        self._buffer = bytearray(2 * BLOCK_BYTES)
        self._start = self._end = 0
        self.failed = False
        self._ahead = True
        self._session._execute_command(COMMAND.COM_QUERY, statement.encode())
        head = self._packet()
        if head.read_length_encoded_integer() != columns:
            raise mysql_rows.RowError("The server answers with another number of columns")
        for _ in range(columns + 1):  # their descriptions, and the end of these
            self._packet()

    def _packet(self) -> Any:
        return self._session._read_packet()

    def block(self, kinds: bytes) -> tuple[bytes, bool]:
        """The next rows, and whether those were the last ones."""
        made: list[bytes] = []
        size = 0
        while size < BLOCK_BYTES:
            rows, self._start = mysql_rows.rows(self._buffer, self._start, self._end, kinds)
            if rows:
                made.append(rows)
                size += len(rows)
            if (length := self._whole()) is None:
                self._fill()
            elif length == mysql_rows.PAYLOAD_MAX or mysql_rows.is_row(self._payload(length)):
                made.append(mysql_rows.row(self._long(length), kinds))
                size += len(made[-1])
            else:
                self._finish(length)
                return b"".join(made), True
        return b"".join(made), False

    def drain(self) -> None:
        """Take all that still comes."""
        try:
            while True:
                if (length := self._whole()) is None:
                    self._fill()
                elif length != mysql_rows.PAYLOAD_MAX and not mysql_rows.is_row(self._payload(length)):
                    return
                else:
                    self._long(length)
        except OperationalError:
            self._session._force_close()

    def _whole(self) -> int | None:
        """The length of the packet at the start, where it is there as a whole."""
        if self._end - self._start < HEAD:
            return None
        length = int.from_bytes(self._buffer[self._start : self._start + 3], "little")
        return length if self._end - self._start >= HEAD + length else None

    def _payload(self, length: int) -> bytes:
        return bytes(self._buffer[self._start + HEAD : self._start + HEAD + length])

    def _long(self, length: int) -> bytes:
        """The payload of a row, out of several packets where it is that long."""
        parts = [self._payload(length)]
        self._start += HEAD + length
        while length == mysql_rows.PAYLOAD_MAX:
            while (found := self._whole()) is None:
                self._fill()
            length = found
            parts.append(self._payload(length))
            self._start += HEAD + length
        return b"".join(parts)

    def _finish(self, length: int) -> None:
        payload = self._payload(length)
        if payload[:1] == b"\xff":
            self.failed = True
            raise_mysql_exception(payload)

    def _fill(self) -> None:
        """Read more; make room where the buffer ends, for a large packet more of it."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == len(self._buffer):
            rest = bytes(memoryview(self._buffer)[self._start : self._end])
            if self._start < len(self._buffer) // 2:
                self._buffer = bytearray(2 * len(self._buffer))
            self._buffer[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        try:
            count = self._read()
        except OSError as error:
            self._session._force_close()
            raise OperationalError(LOST, f"Lost connection to MySQL server during query ({error})") from error
        if not count:
            self._session._force_close()
            raise OperationalError(LOST, "Lost connection to MySQL server during query")
        self._end += count

    def _read(self) -> int:
        """What the driver has read ahead first; from then on what the socket gives, straight into our buffer."""
        if self._ahead:
            self._ahead = False
            found = self._session._rfile.read1(READ_AHEAD_BYTES)
            self._buffer[self._end : self._end + len(found)] = found
            return len(found)
        return int(self._session._sock.recv_into(memoryview(self._buffer)[self._end :]))
