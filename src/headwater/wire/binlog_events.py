"""The events of a MySQL or MariaDB binary log that come seldom: bytes to messages, in plain Python.

What comes for every row is in `binlog.py`. Layouts are those of MySQL's `libs/mysql/binlog/event` and MariaDB's `sql/log_event.h`, both
checked against running servers. An event's *body* here is what stands behind its header, without the checksum.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

HEADER_BYTES = 19

QUERY, STOP, ROTATE, INTVAR, APPEND_BLOCK, DELETE_FILE, RAND, USER_VAR, FORMAT_DESCRIPTION, XID = 2, 3, 4, 5, 9, 11, 13, 14, 15, 16
BEGIN_LOAD_QUERY, EXECUTE_LOAD_QUERY, TABLE_MAP, INCIDENT, HEARTBEAT, IGNORABLE, ROWS_QUERY = 17, 18, 19, 26, 27, 28, 29
WRITE_ROWS_V1, UPDATE_ROWS_V1, DELETE_ROWS_V1, WRITE_ROWS, UPDATE_ROWS, DELETE_ROWS = 23, 24, 25, 30, 31, 32
GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS, TRANSACTION_CONTEXT, VIEW_CHANGE, XA_PREPARE = 33, 34, 35, 36, 37, 38
PARTIAL_UPDATE_ROWS, TRANSACTION_PAYLOAD, HEARTBEAT_V2, GTID_TAGGED = 39, 40, 41, 42
ANNOTATE_ROWS, BINLOG_CHECKPOINT, MARIADB_GTID, GTID_LIST, START_ENCRYPTION, QUERY_COMPRESSED = 160, 161, 162, 163, 164, 165
WRITE_ROWS_COMPRESSED_V1, UPDATE_ROWS_COMPRESSED_V1, DELETE_ROWS_COMPRESSED_V1 = 166, 167, 168
WRITE_ROWS_COMPRESSED, UPDATE_ROWS_COMPRESSED, DELETE_ROWS_COMPRESSED = 169, 170, 171
"""The types of events. Those from 160 on are MariaDB's."""

INFLATED_BYTES_MAX = 1 << 30
"""No event is larger, as `max_allowed_packet` can't be: what announces more is refused before it is unpacked."""

MARIADB_STANDALONE, MARIADB_PREPARED_XA, MARIADB_COMPLETED_XA = 1, 64, 128
"""Flags of MariaDB's GTID event: one statement that no commit follows; an XA transaction's first half; its end."""


class BinlogError(ValueError):
    """Bytes that are not what the format says. `offset` counts from the event's first byte."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(f"{what} (byte {offset} of the event)")
        self.what = what
        self.offset = offset


class Body:
    """Reads a body from the left to the right; every read is checked. `shift` is where the body begins in its event."""

    def __init__(self, data: bytes, shift: int = HEADER_BYTES) -> None:
        self.data = data
        self.at = 0
        self._shift = shift

    @property
    def left(self) -> int:
        """Bytes that have not been read."""
        return len(self.data) - self.at

    def error(self, what: str) -> BinlogError:
        """An error at this place."""
        return BinlogError(what, self._shift + self.at)

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size > self.left:
            raise self.error(f"The event ends too early: {size} bytes wanted, {self.left} there")
        found = self.data[self.at : self.at + size]
        self.at += size
        return found

    def number(self, size: int) -> int:
        """An unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def length(self) -> int:
        """A length-encoded number."""
        first = self.number(1)
        if first < 251:
            return first
        if first in (251, 255):
            raise self.error(f"A length that begins with {first}")
        return self.number({252: 2, 253: 3, 254: 8}[first])

    def name(self) -> str:
        """A length-encoded name and the zero behind it."""
        found = self.text(self.take(self.length()))
        if self.take(1) != b"\0":
            raise self.error("A name without its end")
        return found

    def text(self, found: bytes) -> str:
        """Bytes that were just read, as UTF-8."""
        try:
            return found.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error("A name that is not UTF-8") from error

    def rest(self) -> bytes:
        """What is left."""
        return self.take(self.left)


@dataclass(frozen=True)
class FormatDescription:
    """The first event of every file: which server wrote it, and whether its events carry checksums."""

    server_version: str
    created: int
    checksums: bool


@dataclass(frozen=True)
class Rotate:
    """The log goes on in `file`, at `offset`."""

    file: str
    offset: int


@dataclass(frozen=True)
class Query:
    """A statement that stands in the log as text: DDL; or a change of rows, where the log is not row-based. `charset` is the number of
    the collation that the client spoke, `sql_mode` as bits; None where the event does not tell. `stamp_s` is the event's own: when it
    began, `took_s` before its end."""

    database: str
    text: bytes
    charset: int | None
    sql_mode: int | None
    stamp_s: int
    error_code: int = 0
    took_s: int = 0


@dataclass(frozen=True)
class Incident:
    """The server says that its log has a gap."""

    number: int
    message: str


@dataclass(frozen=True)
class Heartbeat:
    """The server's word that nothing has come: where it stands."""

    file: str
    offset: int


@dataclass(frozen=True)
class Stopped:
    """The server was shut down here."""


@dataclass(frozen=True)
class Gtid:
    """Begins a transaction (`begins`: without a BEGIN of its own, MariaDB), or one statement alone. `text` is the server's own form of
    it, empty where the transaction has none. `commit_us` is 0 where the event does not tell. `xa` names the half of an XA transaction."""

    text: str
    begins: bool = False
    commit_us: int = 0
    xa: str = ""


@dataclass(frozen=True)
class MapColumn:
    """A column as its table map tells. `type` and `meta` are the format's own; what is optional there is None where it is not told."""

    type: int
    meta: int
    nullable: bool
    name: str | None = None
    unsigned: bool | None = None
    collation: int | None = None
    labels: tuple[bytes, ...] | None = None
    visible: bool = True


@dataclass(frozen=True)
class TableMap:
    """A table as the log announces it. `primary_key` are indexes into its columns, None where not told."""

    table_id: int
    schema: str
    name: str
    columns: tuple[MapColumn, ...]
    primary_key: tuple[int, ...] | None = None


Notice = FormatDescription | Rotate | Query | Incident | Heartbeat | Stopped


def format_description(body: bytes) -> FormatDescription:
    """The event tells of checksums itself, and is the only one that has four bytes for one in any case: `body` is with them."""
    read = Body(body)
    version = read.number(2)
    server = read.take(50).rstrip(b"\0").decode("ascii", "replace")
    created, header = read.number(4), read.number(1)
    if version != 4 or header != HEADER_BYTES:
        raise read.error(f"A binary log of version {version} with headers of {header} bytes; only version 4 is known")
    if read.left < 5:
        raise read.error("A format description without a checksum algorithm")
    algorithm = body[-5]
    if algorithm not in (0, 1, 255):
        raise BinlogError(f"An unknown checksum algorithm: {algorithm}", HEADER_BYTES + len(body) - 5)
    return FormatDescription(server, created, algorithm == 1)


def rotate(body: bytes) -> Rotate:
    """Where the log goes on."""
    read = Body(body)
    offset = read.number(8)
    return Rotate(read.text(read.rest()), offset)


def heartbeat(body: bytes, log_pos: int) -> Heartbeat:
    """The older form: the header tells the offset."""
    read = Body(body)
    return Heartbeat(read.text(read.rest()), log_pos)


def heartbeat_v2(body: bytes) -> Heartbeat:
    """MySQL's form for logs beyond 4 GiB: fields of (kind, length, value) up to kind 0."""
    read = Body(body)
    file, offset = "", 0
    while read.left and (kind := read.length()):
        value = Body(read.take(read.length()), HEADER_BYTES + read.at)
        if kind == 1:
            file = value.text(value.rest())
        elif kind == 2:
            offset = value.length()
    return Heartbeat(file, offset)


def incident(body: bytes) -> Incident:
    """Its number, and what the server says of it."""
    read = Body(body)
    number = read.number(2)
    return Incident(number, read.take(read.number(1)).decode("utf-8", "replace"))


_STATUS_BYTES = {0: 4, 3: 4, 7: 2, 8: 2, 9: 8, 10: 4, 13: 3, 14: 8, 15: 8, 16: 1, 17: 8, 18: 2, 19: 1, 20: 1, 128: 3, 129: 8}
"""Sizes of the status variables that tell nothing that we want: code -> bytes."""


def _status(read: Body) -> tuple[int | None, int | None]:
    """(client collation, sql_mode) of a query's status variables. Behind an unknown one nothing can be read."""
    charset = sql_mode = None
    while read.left:
        code = read.number(1)
        if code == 1:
            sql_mode = read.number(8)
        elif code == 4:
            charset = read.number(2)
            read.take(4)
        elif code in _STATUS_BYTES:
            read.take(_STATUS_BYTES[code])
        elif code in (5, 6):
            read.take(read.number(1))
        elif code == 2:
            read.take(read.number(1) + 1)
        elif code == 11:
            read.take(read.number(1))
            read.take(read.number(1))
        elif code == 12:
            count = read.number(1)
            for _ in range(0 if count == 254 else count):
                while read.take(1) != b"\0":
                    pass
        else:
            break
    return charset, sql_mode


def query(body: bytes, stamp_s: int, compressed: bool = False, load: bool = False) -> Query:
    """A statement; `load` where it is that of an EXECUTE_LOAD_QUERY, which has 13 bytes more in front."""
    read = Body(body)
    read.take(4)
    took_s = read.number(4)
    database_size, error_code, status_size = read.number(1), read.number(2), read.number(2)
    read.take(13 if load else 0)
    charset, sql_mode = _status(Body(read.take(status_size), HEADER_BYTES + read.at))
    database = read.take(database_size).decode("utf-8", "replace")
    if read.take(1) != b"\0":
        raise read.error("A database name without its end")
    text = inflate(read.rest(), HEADER_BYTES + read.at) if compressed else read.rest()
    return Query(database, text, charset, sql_mode, stamp_s, error_code, took_s)


def inflate(data: bytes, offset: int) -> bytes:
    """What MariaDB has compressed: a byte with the algorithm and the size of the length, the length, the data."""
    head = data[0] if data else 0
    width = head & 7
    if not head & 0x80 or head & 0x70 or not 1 <= width <= 4 or len(data) <= width:
        raise BinlogError("Compressed data without its head", offset)
    size = int.from_bytes(data[1 : 1 + width], "big")
    if size > INFLATED_BYTES_MAX:
        raise BinlogError(f"Compressed data that announce {size} bytes", offset)
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(data[1 + width :], size + 1)
    except zlib.error as error:
        raise BinlogError("Compressed data that can't be unpacked", offset) from error
    if len(found) != size or not unpacking.eof:
        raise BinlogError(f"Compressed data that are not the {size} bytes that they announce", offset)
    return found


def mariadb_gtid(body: bytes, server_id: int) -> Gtid:
    """MariaDB's: domain, server and sequence number; the server's is that of the header."""
    read = Body(body)
    sequence, domain, flags = read.number(8), read.number(4), read.number(1)
    if flags & 2:
        read.take(8)
    xa = ""
    if flags & (MARIADB_PREPARED_XA | MARIADB_COMPLETED_XA):
        xa = _xid(read, 1)
    return Gtid(f"{domain}-{server_id}-{sequence}", not flags & (MARIADB_STANDALONE | MARIADB_COMPLETED_XA), 0, xa)


def _xid(read: Body, width: int) -> str:
    """An XA transaction's name as `XA RECOVER` and the log's statements write it: X'..',X'..',format."""
    form, first, second = read.number(4), read.number(width), read.number(width)
    if first > 64 or second > 64:
        raise read.error(f"The name of an XA transaction of {first} and {second} bytes")
    return f"X'{read.take(first).hex()}',X'{read.take(second).hex()}',{form}"


def xa_prepare(body: bytes) -> tuple[str, bool]:
    """The name of a prepared transaction, and whether it was committed in one phase."""
    read = Body(body)
    one_phase = read.number(1) != 0
    return _xid(read, 4), one_phase


def _uuid(raw: bytes) -> str:
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def mysql_gtid(body: bytes, anonymous: bool) -> Gtid:
    """MySQL's: the server's UUID and a number; since 8.0 with the time of the commit in microseconds."""
    read = Body(body)
    read.take(1)
    uuid, number = _uuid(read.take(16)), read.number(8)
    commit_us = 0
    if read.left and read.number(1) == 2 and read.left >= 16 + 7:
        read.take(16)
        commit_us = read.number(7) & ~(1 << 55)
    return Gtid("" if anonymous else f"{uuid}:{number}", commit_us=commit_us)


def _varlen(read: Body, signed: bool = False) -> int:
    """A number of MySQL's `mysql::serialization`: as many low bits set in the first byte as bytes follow it."""
    first = read.number(1)
    more = 0
    while more < 8 and first & (1 << more):
        more += 1
    value = int.from_bytes(bytes((first,)) + read.take(more), "little") >> (more + 1 if more < 8 else 8)
    return (~(value >> 1) if value & 1 else value >> 1) if signed else value


def gtid_tagged(body: bytes) -> Gtid:
    """The form of MySQL 8.3 and later for GTIDs with a tag: (number of the field, value) in rising order."""
    read = Body(body)
    _varlen(read)
    _varlen(read)
    _varlen(read)
    uuid = tag = ""
    number = commit_us = 0
    while read.left:
        kind = _varlen(read)
        if kind == 1:
            uuid = _uuid(bytes(_varlen(read) & 255 for _ in range(16)))
        elif kind == 3:
            tag = read.text(read.take(_varlen(read)))
        elif kind in (0, 8, 9, 10, 11):
            _varlen(read)
        elif kind in (2, 4, 5, 6, 7):
            value = _varlen(read, signed=kind in (2, 4, 5))
            number, commit_us = (value if kind == 2 else number), (value if kind == 6 else commit_us)
        else:
            break  # later versions add fields behind those that we know
    if not uuid or number <= 0:
        raise read.error("A tagged GTID without its number")
    return Gtid(f"{uuid}:{tag}:{number}" if tag else f"{uuid}:{number}", commit_us=commit_us)


def payload(body: bytes) -> tuple[bytes, int, int]:
    """(data, algorithm, size of what they are made of) of a compressed transaction: fields of (kind, length, value), then the data."""
    read = Body(body)
    algorithm, size, packed = 255, 0, -1
    while kind := read.length():
        value = Body(read.take(read.length()), HEADER_BYTES + read.at)
        if kind == 1:
            packed = value.length()
        elif kind == 2:
            algorithm = value.length()
        elif kind == 3:
            size = value.length()
    data = read.rest()
    if packed != len(data):
        raise read.error(f"A compressed transaction of {len(data)} bytes that says {packed}")
    return data, algorithm, size


_META_BYTES = dict.fromkeys((4, 5, 140, 242, 245, 249, 250, 251, 252, 255, 17, 18, 19), 1) | dict.fromkeys(
    (15, 16, 141, 246, 247, 248, 253, 254), 2
)
"""How many bytes of metadata a table map has for each type; none for the others."""

_NUMERIC = frozenset((1, 2, 3, 4, 5, 8, 9, 13, 246))
_CHARACTER = frozenset((15, 140, 141, 249, 250, 251, 252, 253, 254))
_CHARACTER_MARIADB = _CHARACTER | {255}
"""Types with a character set; for MariaDB GEOMETRY is one of them, whose character set is that of bytes."""

ENUM, SET, STRING = 247, 248, 254


def real_type(kind: int, meta: int) -> tuple[int, int]:
    """(type, length) of a column: ENUM, SET and long CHAR hide in the metadata of STRING."""
    if kind != STRING:
        return kind, meta
    first, second = meta & 255, meta >> 8
    if first & 0x30 != 0x30:
        return first | 0x30, second | (((first & 0x30) ^ 0x30) << 4)
    return first, second


def table_map(body: bytes, mariadb: bool = False) -> TableMap:
    """A table with its columns, and what optional metadata it has; which columns these are about differs by who wrote them."""
    read = Body(body)
    table_id = read.number(6)
    read.take(2)
    schema, name = read.name(), read.name()
    types = read.take(read.length())
    meta = Body(read.take(read.length()), HEADER_BYTES + read.at)
    metas = [meta.number(_META_BYTES.get(kind, 0)) for kind in types]
    if meta.left:
        raise meta.error("Metadata of columns that are not there")
    nullable = read.take((len(types) + 7) >> 3)
    told = _Told(types, metas, _CHARACTER_MARIADB if mariadb else _CHARACTER)
    while read.left:
        kind = read.number(1)
        told.read(kind, Body(read.take(read.length()), HEADER_BYTES + read.at))
    columns = tuple(
        MapColumn(
            types[i], metas[i], bool(nullable[i >> 3] & (1 << (i & 7))),
            told.names[i] if told.names else None, told.unsigned.get(i), told.collations.get(i), told.labels.get(i),
            i not in told.invisible,
        )
        for i in range(len(types))
    )  # fmt: skip
    return TableMap(table_id, schema, name, columns, told.primary_key)


@dataclass
class _Told:
    """The optional metadata of a table map, as far as they were read."""

    types: bytes
    metas: list[int]
    character: frozenset[int]
    names: list[str] = field(default_factory=list)
    unsigned: dict[int, bool] = field(default_factory=dict)
    collations: dict[int, int] = field(default_factory=dict)
    labels: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    invisible: set[int] = field(default_factory=set)
    primary_key: tuple[int, ...] | None = None

    def _of(self, *wanted: int) -> list[int]:
        """Columns whose real type is among the wanted."""
        return [i for i, kind in enumerate(self.types) if real_type(kind, self.metas[i])[0] in wanted]

    def read(self, kind: int, value: Body) -> None:
        """One field; those that tell nothing that we want are passed over."""
        if kind == 1:
            self.unsigned = dict(zip(self._of(*_NUMERIC), _bits(value), strict=False))
        elif kind in (2, 3):
            self._charsets(value, self._of(*self.character), kind == 2)
        elif kind == 4:
            self.names = [value.text(value.take(value.length())) for _ in self.types]
        elif kind in (5, 6):
            for i in self._of(SET if kind == 5 else ENUM):
                self.labels[i] = tuple(value.take(value.length()) for _ in _counted(value))
        elif kind in (8, 9):
            self._key(value, kind == 9)
        elif kind in (10, 11):
            self._charsets(value, self._of(ENUM, SET), kind == 10)
        elif kind == 12:
            self.invisible = {i for i, visible in zip(range(len(self.types)), _bits(value), strict=False) if not visible}

    def _charsets(self, value: Body, columns: list[int], default: bool) -> None:
        """A default with its exceptions, or one for each column."""
        if not default:
            self.collations.update((i, value.length()) for i in columns)
            return
        common = value.length()
        self.collations.update((i, common) for i in columns)
        while value.left:
            at = value.length()
            if at >= len(columns):
                raise value.error(f"The character set of a column that is not there: {at}")
            self.collations[columns[at]] = value.length()

    def _key(self, value: Body, prefixes: bool) -> None:
        key = []
        while value.left:
            key.append(value.length())
            if prefixes:
                value.length()
        if any(at >= len(self.types) for at in key):
            raise value.error("A key of columns that are not there")
        self.primary_key = tuple(key)


def _bits(value: Body) -> Iterator[bool]:
    """Bits, the highest of each byte first."""
    return (bool(byte & (128 >> bit)) for byte in value.rest() for bit in range(8))


def _counted(value: Body) -> range:
    count = value.length()
    if count > 65_535:
        raise value.error(f"{count} labels of one column")
    return range(count)
