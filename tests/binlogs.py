"""Golden bytes: what a real server sends to a replica for statements of a test, and what a decoder makes of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import pyarrow as pa

from headwater.clusters import MysqlServer
from headwater.wire import binlog_events
from headwater.wire.binlog import TablePlan
from headwater.wire.binlog_events import TableMap
from headwater.wire.binlog_values import ColumnPlan

COM_BINLOG_DUMP = 0x12
NON_BLOCKING = 1
NOTHING, COMMIT, EMPTY, FULL, NOTICE, PREPARED, CUT, OTHER = range(8)

Value = Any  # bytes, None or UNCHANGED
UNCHANGED = "unchanged"


def place(server: MysqlServer) -> tuple[str, int]:
    """Where the server's log ends now."""
    with server.connect() as session, session.cursor() as cursor:
        cursor.execute("SHOW MASTER STATUS" if server.product == "MariaDB" else "SHOW BINARY LOG STATUS")
        file, offset, *_ = cursor.fetchone()
    return str(file), int(offset)


def events(server: MysqlServer, file: str, offset: int, server_id: int = 4_000_000_001) -> list[bytes]:
    """The events from that place to the end of the log, as the server sends them."""
    made = []
    session: Any
    with server.connect() as session:
        with session.cursor() as cursor:
            cursor.execute("SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum")
            cursor.execute("SET @mariadb_slave_capability = 4")
        session._execute_command(COM_BINLOG_DUMP, struct.pack("<IHI", offset, NON_BLOCKING, server_id) + file.encode())
        while not (packet := session._read_packet()).is_eof_packet():
            made.append(bytes(packet.get_all_data()[1:]))
    return made


def recorded(server: MysqlServer, statements: Sequence[str], database: str, before: Sequence[str] = (), **more: Any) -> list[bytes]:
    """The events of the statements, which run in one session; those of `before` come earlier."""
    with server.connect(database, **more) as session, session.cursor() as cursor:
        for statement in before:
            cursor.execute(statement)
        start = place(server)
        for statement in statements:
            cursor.execute(statement)
    return events(server, *start)


@dataclass
class Places:
    """Places as (file, offset), and every GTID that has passed."""

    gtids: list[str] = field(default_factory=list)

    def passed(self, gtid: str) -> None:
        self.gtids.append(gtid)

    def text(self, file: str, offset: int) -> tuple[str, int]:
        return file, offset


def collations(server: MysqlServer) -> dict[int, str]:
    """Character sets by the numbers of their collations. MariaDB lists its newer ones elsewhere."""
    elsewhere = server.product == "MariaDB" and server.installation.version >= (10, 10)
    listed = "COLLATION_CHARACTER_SET_APPLICABILITY" if elsewhere else "COLLATIONS"
    with server.connect() as session, session.cursor() as cursor:
        cursor.execute(f"SELECT id, character_set_name FROM information_schema.{listed}")
        return {int(number): str(name) for number, name in cursor.fetchall() if number is not None and name is not None}


Adjust = Callable[[TableMap, list[ColumnPlan]], list[ColumnPlan]]


def planner(
    server: MysqlServer, key: tuple[int, ...] | None = None, adjust: Adjust | None = None
) -> Callable[[TableMap], TablePlan | None]:
    """Plans from the metadata of the log alone, with the character sets' names from the server."""
    return planner_of(collations(server), key, adjust)


def planner_of(
    charsets: Mapping[int, str], key: tuple[int, ...] | None = None, adjust: Adjust | None = None
) -> Callable[[TableMap], TablePlan | None]:
    """The same with these names of character sets, by the numbers of their collations."""

    def plan(table: TableMap) -> TablePlan | None:
        if table.schema == "mysql":
            return None
        columns = []
        for column in table.columns:
            charset = charsets.get(column.collation, "unknown") if column.collation is not None else "binary"
            labels = tuple(label.decode(_CODECS.get(charset, "utf-8"), "replace") for label in column.labels or ())
            columns.append(ColumnPlan("utf8mb4" if column.labels else charset, bool(column.unsigned), labels))
        found = adjust(table, columns) if adjust else columns
        return TablePlan(table.primary_key or () if key is None else key, tuple(found))

    return plan


_CODECS = {"latin1": "cp1252", "ucs2": "utf-16-be"}


@dataclass
class Read:
    """What a decoder made of events: rows as (table, op, values), places, stamps, and everything that it noticed."""

    rows: list[tuple[str, int, tuple[Value, ...]]] = field(default_factory=list)
    transactions: list[tuple[Any, int, int]] = field(default_factory=list)
    notices: list[Any] = field(default_factory=list)
    gtids: list[str] = field(default_factory=list)
    parts: int = 0
    position: Any = None
    error: str = ""

    def changes(self) -> list[tuple[int, tuple[Value, ...]]]:
        """Operations and values alone."""
        return [(op, values) for _, op, values in self.rows]

    def queries(self) -> list[str]:
        """The statements among the notices."""
        return [notice.text.decode() for notice in self.notices if isinstance(notice, binlog_events.Query)]


def rows_of(taken: Any) -> list[tuple[str, int, tuple[Value, ...]]]:
    """All rows of a take in log order, read as Arrow reads them."""
    made = []
    for batch in taken.batches:
        seq = struct.unpack(f"{batch.rows}i", batch.seq)
        columns = [_values(column, batch.rows) for column in batch.columns]
        assert list(seq) == sorted(set(seq))
        made += [(seq[row], batch.relation.name, batch.op[row], tuple(column[row] for column in columns)) for row in range(batch.rows)]
    return [row[1:] for row in sorted(made, key=lambda row: row[0])]


def _values(column: Any, rows: int) -> list[Value]:
    validity = None if column.validity is None else pa.py_buffer(column.validity)
    array = pa.Array.from_buffers(pa.binary(), rows, [validity, pa.py_buffer(column.offsets), pa.py_buffer(column.data)], column.nulls)
    array.validate(full=True)
    assert array.null_count == sum(value is None for value in array.to_pylist())
    unchanged = column.unchanged or b""
    return [UNCHANGED if unchanged and unchanged[row >> 3] >> (row & 7) & 1 else value for row, value in enumerate(array.to_pylist())]


def read(form: ModuleType, found: Sequence[bytes], plan: Any, rows_max: int = 100_000, bytes_max: int = 1 << 24, **more: Any) -> Read:
    """Feed a decoder, and take what it has whenever it wants that."""
    places, made = Places(), Read()
    decoder = form.Decoder(plan, places, rows_max, bytes_max, unpack=unpack, **more)
    made.gtids = places.gtids

    def take() -> Any:
        taken = decoder.take()
        made.rows += rows_of(taken)
        made.transactions += list(zip(taken.ends, taken.commit_us, taken.counts, strict=True))
        return taken

    try:
        for event in found:
            again = True
            while again:
                what = decoder.feed(event)
                again = decoder.resumes or what == CUT
                if what in (FULL, CUT):
                    take()
                    made.parts += 1
                if what == CUT:
                    decoder.drop_open()
                if what == PREPARED:
                    take()
                    decoder.put_aside()
                if what in (NOTICE, PREPARED):
                    made.notices.append(decoder.notice)
    except form.BinlogError as error:
        made.error = str(error)  # it is dead now
        return made
    take()
    made.position = decoder.position
    return made


def unpack(data: bytes, size: int) -> Any:
    """A reader of zstd."""
    return pa.CompressedInputStream(pa.BufferReader(data), "zstd")


def with_precision(plan: ColumnPlan, digits: int) -> ColumnPlan:
    """The plan of a time of so many digits."""
    return replace(plan, precision=digits)
