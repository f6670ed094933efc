"""Connections to a target, all alike, and how rows get into them: `LOAD DATA LOCAL` fed from memory.

The driver would read a file by the name that the server asks for. Ours never does: it answers with the rows of the statement that
asked, and a server that asks without such a statement gets an error (docs/decisions/0025).

Transactions are READ COMMITTED: rows are found by key, so nothing is gained from locks on the gaps between them, and chunks that are
copied at the same time would wait for one another. Foreign keys are not looked at: what arrives has passed the source's already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pymysql.connections import MySQLResult
from pymysql.constants import COMMAND
from pymysql.err import Error, OperationalError

from headwater.dialects.mysql_errors import NoSuchServer
from headwater.dialects.mysql_session import WRITING_MODE, Server, Session
from headwater.dialects.mysql_session import connect as open_session
from headwater.domain.errors import TargetError
from headwater.targets.mysql.errors import PACKET_TOO_LARGE, cannot_connect, translate

SETTINGS = {
    "foreign_key_checks": "0",
    "unique_checks": "1",
    "innodb_lock_wait_timeout": "100000000",
    "lock_wait_timeout": "31536000",
}
"""On top of what every session pins. Waits for locks are as long as MariaDB lets them be (with STRICT_ALL_TABLES as the server's own mode
it refuses to be told more): what blocks a task is told by the stall detector."""

READ_COMMITTED = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
ZERO_DATES = ("NO_ZERO_DATE", "NO_ZERO_IN_DATE", "ALLOW_INVALID_DATES")
"""What the target's administrator may wish of dates; all else of `sql_mode` is ours."""

PACKET_BYTES = 1 << 20
"""Rows go in packets of at most so many bytes."""

STATEMENT_BYTES = 4 << 20
"""Statements that hold rows are at most so long, also where the server would take longer ones (`max_allowed_packet`)."""

DEPRECATED = frozenset({1287, 1681, 1831, 3719, 3778, 3755})
"""Warnings about words that a later version may lack."""

_COUNTS = re.compile(r"Records: (\d+) +(?:Duplicates|Deleted): (\d+)")

Value = str | bytes | int | None


@dataclass(frozen=True)
class Warned:
    """A warning of the server: its number and its text, which may hold values."""

    number: int
    text: str


@dataclass(frozen=True)
class Did:
    """What a statement did: rows that it changed, as the server counts them (an update by `ON DUPLICATE KEY` counts twice); rows that it
    was about and of these the ones that stood already, where it tells; the number of warnings."""

    rows: int
    records: int = 0
    duplicates: int = 0
    warnings: int = 0


class Connection(Session):
    """A connection to a target. Errors of the driver pass through."""

    loads = False
    """Whether the server takes LOAD DATA LOCAL."""
    packet_bytes = STATEMENT_BYTES
    """How long a statement of several rows may be."""
    packet_bytes_max = 1 << 30
    """The server's `max_allowed_packet`: it drops the connection that sends a longer statement, and does not say why."""

    def ask(self, statement: str | bytes, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; each `%s` in it is a value. The rows, if it has any."""
        self.run(statement, values)
        return list(self._result.rows or ())

    def run(self, statement: str | bytes, values: Sequence[Value] = ()) -> Did:
        """Run a statement; each `%s` in it is a value."""
        text = statement.encode() if isinstance(statement, str) else statement
        if values:
            pieces = text.split(b"%s")
            assert len(pieces) == len(values) + 1, "as many values as places for them"
            text = pieces[0] + b"".join(literal(value) + piece for value, piece in zip(values, pieces[1:], strict=True))
        if len(text) >= self.packet_bytes_max:
            raise OperationalError(PACKET_TOO_LARGE, f"A statement of {len(text)} bytes.")
        self.query(text)
        return self._did()

    def load(self, statement: str, blocks: Iterable[bytes | memoryview]) -> Did:
        """Run a `LOAD DATA LOCAL` statement whose file is these bytes.

        Where making the bytes fails, the server has taken in a part of them: roll back."""
        self._execute_command(COMMAND.COM_QUERY, statement.encode())
        driver: Any = self
        if not driver._read_packet().is_load_local_packet():
            raise OperationalError(2014, "The server did not ask for rows.")
        try:
            for block in blocks:
                view = memoryview(block)
                for start in range(0, len(view), PACKET_BYTES):
                    self.write_packet(bytes(view[start : start + PACKET_BYTES]))
        finally:
            if self.open:
                self.write_packet(b"")
                self._answered(driver._read_packet())
        return self._did()

    def warned(self, most: int = 20) -> list[Warned]:
        """The warnings of the last statement, at most so many, without those about the words of the statement itself."""
        found = self.ask(f"SHOW WARNINGS LIMIT {most}")
        return [Warned(number, str(text)) for _, number, text in found if number not in DEPRECATED]

    def _answered(self, packet: Any) -> None:
        result: Any = MySQLResult(self)
        result._read_ok_packet(packet)
        self._result = result
        self.server_status = result.server_status

    def _did(self) -> Did:
        result = self._result
        found = _COUNTS.search((result.message or b"").decode("ascii", "replace"))
        records, duplicates = (int(found[1]), int(found[2])) if found else (0, 0)
        return Did(result.affected_rows or 0, records, duplicates, result.warning_count or 0)


def connect(server: Server) -> Connection:
    """Open a connection in transactions of its own (not autocommit).

    Raises TargetError: `target_unavailable` or, where the server answered and said no, `target_refused`."""
    try:
        connection = open_session(Connection, server, WRITING_MODE, SETTINGS)
        try:
            _choose(connection)
        except BaseException:
            connection._force_close()
            raise
    except NoSuchServer as error:
        raise TargetError(f"Can't connect to the target {server}: {error}", kind=None if error.passing else "target_refused") from None
    except Error as error:
        raise cannot_connect(server, error) from None
    return connection


@contextmanager
def connected(server: Server, doing: str) -> Iterator[Connection]:
    """A connection for the body of the `with`, while `doing` something: the driver's errors become ours."""
    connection = connect(server)
    try:
        yield connection
    except Error as error:
        raise translate(error, doing) from None
    finally:
        with suppress(Error):
            connection.close()


def _choose(connection: Connection) -> None:
    """What depends on the server."""
    ((mode, local, packet),) = connection.ask("SELECT @@GLOBAL.sql_mode, @@GLOBAL.local_infile, @@GLOBAL.max_allowed_packet")
    wished = [one for one in ZERO_DATES if one in str(mode).split(",")]
    connection.run("SET SESSION sql_mode = %s", [",".join([WRITING_MODE, *wished])])
    connection.run(READ_COMMITTED)
    connection.commit()
    connection.loads = bool(int(local))
    connection.packet_bytes = min(STATEMENT_BYTES, int(packet) * 3 // 4)
    connection.packet_bytes_max = int(packet)


def literal(value: Value) -> bytes:
    """A value as it stands in a statement: bytes as such, texts as UTF-8."""
    if value is None:
        return b"NULL"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, bytes):
        return b"X'" + value.hex().encode() + b"'"
    return text_literal(value.encode())


def text_literal(text: bytes) -> bytes:
    """A text in UTF-8 as it stands in a statement."""
    return b"'" + text.replace(b"\\", b"\\\\").replace(b"'", b"''") + b"'"
