"""Decoder of PostgreSQL's logical replication stream (`pgoutput`, protocol version 1) into columns.

The one place of the data plane where Python works per row, so it is written to be compiled: Cython's *pure-Python mode*, one source
that runs compiled (values are copied straight into growing C buffers) and uncompiled (values are collected in lists and joined
once per batch). Both give the same bytes. No I/O: the caller feeds CopyData payloads and takes what has gathered.

    feed(payload) -> event      NOTHING | COMMIT | EMPTY | FULL | KEEPALIVE | KEEPALIVE_URGENT
    feed_stream(...)            the same for a whole stretch of the server's stream, up to the first event
    take() -> Taken             everything gathered since the last take, as buffers that Arrow can wrap without copying

Every read is checked against the message's length, and every failure carries its byte offset. After a failure the decoder is dead.
"""

# mypy: disable-error-code="untyped-decorator,no-any-return,misc,import-untyped"
# (Cython is not typed.)

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import cython

from headwater.wire.columns import DELETE, INSERT, KEY_NEW, KEY_OLD, TRUNCATE, UPDATE, Batch, ColumnBuffers, Taken

if cython.compiled:
    from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
    from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING, PyByteArray_Resize
    from cython.cimports.libc.string import memcpy

COMPILED: bool = cython.compiled
EPOCH_US = 946_684_800_000_000  # 2000-01-01, where PostgreSQL's clock starts, in microseconds since 1970

NOTHING, COMMIT, EMPTY, FULL, KEEPALIVE, KEEPALIVE_URGENT, OTHER = range(7)
"""What `feed` saw: nothing to act on; the end of a transaction with changes; of one without; the open transaction alone has reached
the limits, so take a part of it; a keepalive; a keepalive that wants an answer at once. `feed_stream` also: no CopyData."""


class PgOutputError(ValueError):
    """Bytes that are not what the protocol says. `offset` is where in the payload, which begins with its `w` or `k`."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(f"{what} (byte {offset} of the message)")
        self.offset = offset


@dataclass(frozen=True)
class RelationColumn:
    """A column as the stream announces it. `identity`: part of the replica identity."""

    name: str
    type_oid: int
    type_modifier: int
    identity: bool


@dataclass(frozen=True)
class Relation:
    """A table as the stream announces it. `replica_identity` is `d`efault, `i`ndex, `f`ull or `n`othing."""

    oid: int
    schema: str
    name: str
    replica_identity: str
    columns: tuple[RelationColumn, ...]


KeyOf = Callable[[Relation], tuple[int, ...] | None]
"""The caller's answer to an announced relation: which columns find a row, or None to leave the table out. No columns: rows are found as a
whole, so old rows keep all their values, and an update that brings its old row is always the pair KEY_OLD, KEY_NEW."""


@cython.final
@cython.cclass
class _Buffer:
    """A growing piece of memory, not zeroed. The compiled form gathers in these.

    Here and below, `exceptval` spares the hot functions a look at Python's error state after each call: none of them returns -1."""

    store: bytearray
    p: cython.p_uchar
    used: cython.Py_ssize_t
    size: cython.Py_ssize_t

    def __init__(self, size: cython.Py_ssize_t) -> None:
        self.store = bytearray()
        self.used = 0
        self.size = 0
        self.grow(size)

    @cython.cfunc
    @cython.exceptval(-1)
    def grow(self, more: cython.Py_ssize_t) -> cython.int:
        size: cython.Py_ssize_t = self.used + more + (self.size >> 1)
        PyByteArray_Resize(self.store, size)
        self.p = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(self.store))
        self.size = size
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def put(self, source: cython.p_const_uchar, size: cython.Py_ssize_t) -> cython.int:
        if self.used + size > self.size:
            self.grow(size)
        memcpy(self.p + self.used, source, size)
        self.used += size
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def put_int(self, value: cython.Py_ssize_t) -> cython.int:
        if self.used + 4 > self.size:
            self.grow(4)
        cython.cast(cython.p_int, self.p)[self.used >> 2] = cython.cast(cython.int, value)
        self.used += 4
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def put_byte(self, value: cython.int) -> cython.int:
        if self.used + 1 > self.size:
            self.grow(1)
        self.p[self.used] = cython.cast(cython.uchar, value)
        self.used += 1
        return 0

    @cython.cfunc
    def view(self) -> Any:
        return memoryview(self.store)[: self.used]


@cython.final
@cython.cclass
class _Column:
    """One column while it gathers: buffers in the compiled form, lists in the uncompiled one."""

    key: cython.bint
    data: _Buffer
    offsets: _Buffer
    nulls: _Buffer
    unchanged: _Buffer
    values: list[bytes]
    null_rows: list[int]
    unchanged_rows: list[int]

    def __init__(self, key: cython.bint, bytes_hint: cython.Py_ssize_t, rows_hint: cython.Py_ssize_t) -> None:
        self.key = key
        if cython.compiled:
            self.data = _Buffer(bytes_hint)
            self.offsets = _Buffer(4 * rows_hint + 4)
            self.offsets.put_int(0)
            self.nulls = _Buffer(16)
            self.unchanged = _Buffer(16)
        else:
            self.values = []
            self.null_rows = []
            self.unchanged_rows = []

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def value(self, p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.int:
        if cython.compiled:
            self.data.put(p + at, size)
            self.offsets.put_int(self.data.used)
        else:
            self.values.append(p[at : at + size])
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def null(self, row: cython.Py_ssize_t) -> cython.int:
        if cython.compiled:
            self.nulls.put_int(row)
            self.offsets.put_int(self.data.used)
        else:
            self.null_rows.append(row)
            self.values.append(b"")
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def not_sent(self, row: cython.Py_ssize_t) -> cython.int:
        if cython.compiled:
            self.unchanged.put_int(row)
        else:
            self.unchanged_rows.append(row)
        return self.null(row)

    @cython.cfunc
    def bytes_used(self) -> cython.Py_ssize_t:
        return self.data.used if cython.compiled else 0

    @cython.cfunc
    def finish(self, rows: cython.Py_ssize_t) -> Any:
        if cython.compiled:
            nulls, unchanged = self.nulls.view(), self.unchanged.view()
            data, offsets = self.data.view(), self.offsets.view()
        else:
            nulls, unchanged = _ints(self.null_rows), _ints(self.unchanged_rows)
            data, offsets = b"".join(self.values), _ints(accumulate(map(len, self.values), initial=0))
        return ColumnBuffers(
            data,
            offsets,
            _bitmap(nulls, rows, True) if len(nulls) else None,
            len(nulls) >> 2,
            _bitmap(unchanged, rows, False) if len(unchanged) else None,
        )


def _ints(numbers: Iterable[int]) -> memoryview:
    """Numbers as the bytes of int32."""
    return memoryview(array("i", numbers)).cast("B")


def _bitmap(row_numbers: memoryview, rows: int, ones: bool) -> bytearray:
    """Row numbers as a bitmap, lowest bit first: these rows cleared in ones, or set in zeros."""
    made = bytearray((b"\xff" if ones else b"\0") * ((rows + 7) >> 3))
    for row in row_numbers.cast("i"):
        made[row >> 3] ^= 1 << (row & 7)
    return made


@cython.final
@cython.cclass
class _Table:
    """One announced relation with the batch that gathers for it."""

    relation: Any
    keys: tuple[int, ...]
    ignored: cython.bint
    width: cython.Py_ssize_t
    rows: cython.Py_ssize_t
    columns: list[_Column]
    seq: _Buffer
    txn: _Buffer
    op: _Buffer
    seqs: list[int]
    txns: list[int]
    ops: list[int]

    def __init__(self, relation: Relation, keys: tuple[int, ...] | None) -> None:
        self.relation = relation
        self.ignored = keys is None
        self.keys = () if keys is None else keys
        self.width = len(relation.columns)
        self.rows = 0
        self.begin([64] * self.width, 16)

    @cython.cfunc
    def begin(self, bytes_hints: list[int], rows_hint: cython.Py_ssize_t) -> cython.int:
        self.rows = 0
        self.columns = [_Column(i in self.keys, hint, rows_hint) for i, hint in enumerate(bytes_hints)]
        if cython.compiled:
            self.seq, self.txn, self.op = _Buffer(4 * rows_hint), _Buffer(4 * rows_hint), _Buffer(rows_hint)
        else:
            self.seqs, self.txns, self.ops = [], [], []
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def seal(self, op: cython.int, seq: cython.Py_ssize_t, txn: cython.Py_ssize_t) -> cython.int:
        """End a row whose values are all in."""
        if cython.compiled:
            self.seq.put_int(seq)
            self.txn.put_int(txn)
            self.op.put_byte(op)
        else:
            self.seqs.append(seq)
            self.txns.append(txn)
            self.ops.append(op)
        self.rows += 1
        return 0

    @cython.cfunc
    def take(self) -> Any:
        """The batch, and a new one begun in its place."""
        rows: cython.Py_ssize_t = self.rows
        column: _Column
        hints: list[int] = []
        columns: list[Any] = []
        for column in self.columns:
            hints.append(column.bytes_used() + 64)
            columns.append(column.finish(rows))
        if cython.compiled:
            seq, txn, op = self.seq.view(), self.txn.view(), self.op.view()
        else:
            seq, txn, op = _ints(self.seqs), _ints(self.txns), bytes(self.ops)
        self.begin(hints, rows + 16)
        return Batch(self.relation, self.keys, rows, seq, txn, op, tuple(columns))


@cython.cfunc
@cython.inline
def _u16(p: cython.p_const_uchar, at: cython.Py_ssize_t) -> cython.int:
    return (p[at] << 8) | p[at + 1]


@cython.cfunc
@cython.inline
def _u32(p: cython.p_const_uchar, at: cython.Py_ssize_t) -> cython.longlong:
    high: cython.longlong = p[at]
    return (high << 24) | (p[at + 1] << 16) | (p[at + 2] << 8) | p[at + 3]


@cython.cfunc
def _i64(p: cython.p_const_uchar, at: cython.Py_ssize_t) -> Any:
    """A position or a clock; seldom read, so a Python integer."""
    return int.from_bytes(p[at : at + 8], "big", signed=True)


@cython.cfunc
@cython.inline
def _need(at: cython.Py_ssize_t, size: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    if size > end - at:
        raise PgOutputError(f"The message ends too early: {size} bytes wanted, {end - at} there", at)
    return 0


@cython.cfunc
def _text(p: cython.p_const_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> Any:
    """A zero-terminated string from `at`, and where it ends."""
    stop: cython.Py_ssize_t = at
    while stop < end and p[stop]:
        stop += 1
    if stop == end:
        raise PgOutputError("A name without its end", at)
    found: bytes = p[at:stop]
    try:
        return found.decode("utf-8"), stop + 1
    except UnicodeDecodeError as error:
        raise PgOutputError("A name that is not UTF-8", at + error.start) from error


@cython.final
@cython.cclass
class Decoder:
    """Gathers one replication stream. `key_of` is asked at every announcement of a relation and may raise.

    A transaction whose commit begins before `skip_before` is left out. When the open transaction alone has `rows_max` rows or
    `bytes_max` bytes in here, `feed` says FULL.
    """

    key_of: Any
    skip_before: Any
    rows_max: cython.Py_ssize_t
    bytes_max: cython.Py_ssize_t
    tables: dict[int, _Table]
    batches: list[Any]
    touched: list[_Table]
    ends: list[int]
    commits: list[int]
    seen: list[int]
    counts: list[int]
    rows_all: cython.Py_ssize_t
    bytes_all: cython.Py_ssize_t
    rows_open: cython.Py_ssize_t
    bytes_open: cython.Py_ssize_t
    is_open: cython.bint
    skipping: cython.bint
    parted: cython.bint
    begin_lsn: Any
    begin_us: Any
    end_lsn: Any
    clock: Any

    def __init__(self, key_of: KeyOf, rows_max: int, bytes_max: int, skip_before: int = 0) -> None:
        self.key_of = key_of
        self.skip_before = skip_before
        self.rows_max = rows_max
        self.bytes_max = bytes_max
        self.tables = {}
        self.is_open = self.skipping = self.parted = False
        self.begin_lsn = self.begin_us = self.end_lsn = self.clock = 0
        self.forget()

    @cython.cfunc
    def forget(self) -> cython.int:
        self.batches, self.touched = [], []
        self.ends, self.commits, self.seen, self.counts = [], [], [], []
        self.rows_all = self.bytes_all = self.rows_open = self.bytes_open = 0
        return 0

    @property
    def rows(self) -> int:
        """Rows that wait to be taken."""
        return self.rows_all

    @property
    def message_bytes(self) -> int:
        """Bytes of the messages that wait to be taken."""
        return self.bytes_all

    @property
    def transactions(self) -> int:
        """Ended transactions that wait to be taken."""
        return len(self.ends)

    @property
    def open(self) -> bool:
        """True between a transaction's begin and its end."""
        return self.is_open

    @property
    def position(self) -> int:
        """The place up to which all is in: the end of the last commit, or what a later keepalive said; 0 before both."""
        return self.end_lsn

    @property
    def clock_us(self) -> int:
        """The server's clock at its last commit or keepalive, in microseconds since 1970; 0 before both."""
        return self.clock

    @cython.ccall
    def feed(self, message: Any) -> cython.int:
        """Read one CopyData payload (anything with a buffer). Returns what there is to do: see the constants above.

        Raises:
            PgOutputError: the bytes are not what the protocol says.
        """
        if cython.compiled:
            buffer: Py_buffer
            PyObject_GetBuffer(message, cython.address(buffer), PyBUF_SIMPLE)
            try:
                return self._message(cython.cast(cython.p_const_uchar, buffer.buf), buffer.len)
            finally:
                PyBuffer_Release(cython.address(buffer))
        return self._message(bytes(message), len(message))

    def feed_stream(self, stream: bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> tuple[int, int]:
        """Read the server's byte stream between `start` and `end`: CopyData messages with their heads.

        Returns the place behind what was read, and the first event that asks for something: OTHER in front of a message that is not
        CopyData, NOTHING where no whole message is left.
        """
        at: cython.Py_ssize_t = start
        size: cython.Py_ssize_t
        event: cython.int = 0
        p: cython.p_const_uchar
        if cython.compiled:
            p = cython.cast(cython.p_const_uchar, PyByteArray_AS_STRING(stream))
        else:
            p = memoryview(stream)
        while event == 0 and end - at >= 5:
            if p[at] != 100:  # d
                return at, OTHER
            size = _u32(p, at + 1)
            if size < 4:
                raise PgOutputError(f"A message of {size} bytes in the stream", 0)
            if size > end - at - 1:
                break
            if cython.compiled:
                event = self._message(p + at + 5, size - 4)
            else:
                event = self._message(bytes(p[at + 5 : at + 1 + size]), size - 4)
            at += 1 + size
        return at, event

    @cython.cfunc
    @cython.exceptval(-1)
    def _message(self, p: cython.p_const_uchar, end: cython.Py_ssize_t) -> cython.int:
        _need(0, 1, end)
        if p[0] == 119:  # w
            _need(0, 26, end)
            kind: cython.int = p[25]
            if kind == 73 or kind == 85 or kind == 68:  # I, U, D
                return self._row(p, kind, end)
            return self._other(p, kind, end)
        if p[0] == 107:  # k
            return self._keepalive(p, end)
        raise PgOutputError(f"An unknown kind of replication message: {p[0]}", 0)

    def take(self) -> Taken:
        """Everything gathered since the last take. An open transaction goes on with `txn` 0 and `seq` 0."""
        table: _Table
        for table in self.touched:
            if table.rows:
                self.batches.append(table.take())
        taken = Taken(
            tuple(self.batches),
            self.ends,
            self.commits,
            self.seen,
            self.counts,
            self.rows_open if self.is_open else 0,
            self.begin_lsn,
            self.begin_us,
        )
        self.parted = self.is_open and (self.parted or self.rows_open > 0)
        self.forget()
        return taken

    @cython.cfunc
    @cython.exceptval(-1)
    def _row(self, p: cython.p_const_uchar, kind: cython.int, end: cython.Py_ssize_t) -> cython.int:
        """Insert, update or delete: the relation, then one or two tuples, each behind its mark."""
        _need(26, 5, end)
        table: _Table = self._table(p, 26)
        mark: cython.int = p[30]
        at: cython.Py_ssize_t
        if self.skipping or table.ignored:
            return 0
        if not table.rows:
            self.touched.append(table)
        if kind == 68 and (mark == 75 or mark == 79):  # D with K, O
            at = self._delete(p, end, table)
        elif kind != 68 and mark == 78:  # N
            at = self._values(p, 31, end, table, kind)
            self._seal(table, INSERT if kind == 73 else UPDATE)
        elif kind == 85 and (mark == 75 or mark == 79):  # U with K, O
            at = self._update_with_old(p, end, table)
        else:
            raise PgOutputError(f"An unknown mark before a row: {mark}", 30)
        if at != end:
            raise PgOutputError("Bytes behind the row", at)
        return self._grown(end)

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def _seal(self, table: _Table, op: cython.int) -> cython.int:
        table.seal(op, self.rows_all, len(self.ends))
        self.rows_all += 1
        self.rows_open += 1
        return 0

    @cython.cfunc
    @cython.inline
    def _grown(self, size: cython.Py_ssize_t) -> cython.int:
        """Count a message's bytes, and say whether the open transaction has reached the limits."""
        self.bytes_all += size
        self.bytes_open += size
        return FULL if self.rows_open >= self.rows_max or self.bytes_open >= self.bytes_max else NOTHING

    @cython.cfunc
    def _table(self, p: cython.p_const_uchar, at: cython.Py_ssize_t) -> _Table:
        """The announced relation whose number stands at `at`."""
        if not self.is_open:
            raise PgOutputError("A change outside of a transaction", 25)
        oid: cython.longlong = _u32(p, at)
        found = self.tables.get(oid)
        if found is None:
            raise PgOutputError(f"A change of a relation that was not announced: {oid}", at)
        return found

    @cython.cfunc
    @cython.exceptval(-1)
    def _width(self, p: cython.p_const_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, table: _Table) -> cython.Py_ssize_t:
        """The number of values in a tuple, which must be that of the announced columns."""
        _need(at, 2, end)
        width: cython.Py_ssize_t = _u16(p, at)
        if width != table.width:
            raise PgOutputError(f"A row of {width} values for a relation of {table.width} columns", at)
        return width

    @cython.cfunc
    @cython.exceptval(-1)
    def _values(
        self, p: cython.p_const_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, table: _Table, kind: cython.int
    ) -> cython.Py_ssize_t:
        """A new row whose key did not change. The hottest loop: what it does not call, the uncompiled form need not call either."""
        row: cython.Py_ssize_t = table.rows
        i: cython.Py_ssize_t
        size: cython.Py_ssize_t
        mark: cython.int
        column: _Column
        columns: list[_Column] = table.columns
        width: cython.Py_ssize_t = self._width(p, at, end, table)
        at += 2
        for i in range(width):
            column = columns[i]
            if at >= end:
                _need(at, 1, end)
            mark = p[at]
            if mark == 116:  # t
                if at + 5 > end:
                    _need(at, 5, end)
                size = _u32(p, at + 1) if cython.compiled else int.from_bytes(p[at + 1 : at + 5])
                at += 5
                if size > end - at:
                    _need(at, size, end)
                if cython.compiled:
                    column.value(p, at, size)
                else:
                    column.values.append(p[at : at + size])
                at += size
            elif mark == 110:  # n
                column.null(row)
                at += 1
            elif mark == 117 and kind == 85 and not column.key:  # u, in an update
                column.not_sent(row)
                at += 1
            else:
                raise PgOutputError(f"A value that can't stand here: {chr(mark)!r} in column {i}", at)
        return at

    @cython.cfunc
    def _spans(self, p: cython.p_const_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, table: _Table) -> Any:
        """A tuple as (mark, start, size) per value, and where it ends."""
        spans: list[tuple[int, int, int]] = []
        size: cython.Py_ssize_t
        i: cython.Py_ssize_t
        mark: cython.int
        width: cython.Py_ssize_t = self._width(p, at, end, table)
        at += 2
        for i in range(width):
            _need(at, 1, end)
            mark = p[at]
            if mark == 116:  # t
                _need(at, 5, end)
                size = _u32(p, at + 1)
                _need(at + 5, size, end)
                spans.append((mark, at + 5, size))
                at += 5 + size
            elif mark == 110 or mark == 117:  # n, u
                spans.append((mark, at, 0))
                at += 1
            else:
                raise PgOutputError(f"A value that can't stand here: {chr(mark)!r} in column {i}", at)
        return spans, at

    @cython.cfunc
    @cython.exceptval(-1)
    def _delete(self, p: cython.p_const_uchar, end: cython.Py_ssize_t, table: _Table) -> cython.Py_ssize_t:
        spans, at = self._spans(p, 31, end, table)
        if not table.keys and p[30] != 79:  # O
            raise PgOutputError("A deleted row of which neither a key nor all values were sent", 30)
        self._put(p, spans, table, DELETE)
        return at

    @cython.cfunc
    @cython.exceptval(-1)
    def _update_with_old(self, p: cython.p_const_uchar, end: cython.Py_ssize_t, table: _Table) -> cython.Py_ssize_t:
        """An update that brings the old key or the old row. Whether the key changed shows by comparing: an old key also comes
        where a part of it is stored out of line, and that part is not in the new row then. Without a key the whole row is one."""
        old, at = self._spans(p, 31, end, table)
        _need(at, 1, end)
        if p[at] != 78:  # N
            raise PgOutputError(f"An unknown mark before a new row: {p[at]}", at)
        new, stop = self._spans(p, at + 1, end, table)
        whole = p[30] == 79  # O
        if not table.keys and not whole:
            raise PgOutputError("An old row of which neither a key nor all values were sent", 30)
        for i in range(table.width):
            if new[i][0] == 117 and (whole or i in table.keys):
                new[i] = old[i]
        moved = not table.keys
        for i in table.keys:
            moved = moved or p[old[i][1] : old[i][1] + old[i][2]] != p[new[i][1] : new[i][1] + new[i][2]]
        if moved:
            self._put(p, old, table, KEY_OLD)
        self._put(p, new, table, KEY_NEW if moved else UPDATE)
        return stop

    @cython.cfunc
    @cython.exceptval(-1)
    def _put(self, p: cython.p_const_uchar, spans: list[tuple[int, int, int]], table: _Table, op: cython.int) -> cython.int:
        """Add a row from its spans; a deleted row or an old key brings the values of its key only, if it has one."""
        key_only: cython.bint = op in (DELETE, KEY_OLD) and len(table.keys) > 0
        column: _Column
        mark: cython.int
        for column, (mark, start, size) in zip(table.columns, spans):  # noqa: B905  equal by _width; `strict` costs
            if key_only and not column.key:
                column.null(table.rows)
            elif mark == 116:
                column.value(p, start, size)
            elif column.key:
                raise PgOutputError("A row without the value of its key", start)
            elif mark == 110:
                column.null(table.rows)
            else:
                column.not_sent(table.rows)
        return self._seal(table, op)

    @cython.cfunc
    def _other(self, p: cython.p_const_uchar, kind: cython.int, end: cython.Py_ssize_t) -> cython.int:
        """Everything but rows."""
        if kind == 66:  # B
            return self._begin(p, end)
        if kind == 67:  # C
            return self._commit(p, end)
        if kind == 82:  # R
            return self._relation(p, end)
        if kind == 84:  # T
            return self._truncate(p, end)
        if kind == 79 or kind == 89 or kind == 77:  # O, Y, M: origins, types and logical messages hold nothing for us
            return 0
        raise PgOutputError(f"An unknown kind of change message: {kind}", 25)

    @cython.cfunc
    def _keepalive(self, p: cython.p_const_uchar, end: cython.Py_ssize_t) -> cython.int:
        _size("keepalive", 0, 18, end)
        self.clock = _i64(p, 9) + EPOCH_US
        if not self.is_open:
            self.end_lsn = max(self.end_lsn, _i64(p, 1))
        return KEEPALIVE_URGENT if p[17] else KEEPALIVE

    @cython.cfunc
    def _begin(self, p: cython.p_const_uchar, end: cython.Py_ssize_t) -> cython.int:
        _size("begin", 25, 46, end)
        if self.is_open:
            raise PgOutputError("A begin inside of a transaction", 25)
        self.is_open = True
        self.parted = False
        self.begin_lsn = _i64(p, 26)
        self.begin_us = _i64(p, 34) + EPOCH_US
        self.skipping = self.begin_lsn < self.skip_before
        self.rows_open = self.bytes_open = 0
        return 0

    @cython.cfunc
    def _commit(self, p: cython.p_const_uchar, end: cython.Py_ssize_t) -> cython.int:
        _size("commit", 25, 51, end)
        if not self.is_open or _i64(p, 27) != self.begin_lsn:
            raise PgOutputError("A commit that does not end the open transaction", 25)
        self.is_open = False
        self.clock = _i64(p, 17) + EPOCH_US
        self.end_lsn = max(self.end_lsn, _i64(p, 35))
        if not self.rows_open and not self.parted:
            return EMPTY
        self.ends.append(self.end_lsn)
        self.commits.append(_i64(p, 43) + EPOCH_US)
        self.seen.append(self.clock)
        self.counts.append(self.rows_open)
        return COMMIT

    @cython.cfunc
    def _relation(self, p: cython.p_const_uchar, end: cython.Py_ssize_t) -> cython.int:
        """A new announcement ends the batch of the old one. One that says the same comes when a column was dropped and added again."""
        _need(26, 4, end)
        oid = _u32(p, 26)
        schema, at = _text(p, 30, end)
        name, at = _text(p, at, end)
        _need(at, 3, end)
        identity, width = chr(p[at]), _u16(p, at + 1)
        columns = []
        at += 3
        for _ in range(width):
            _need(at, 1, end)
            flags = p[at]
            column, at = _text(p, at + 1, end)
            _need(at, 8, end)
            columns.append(RelationColumn(column, _u32(p, at), int.from_bytes(p[at + 4 : at + 8], "big", signed=True), bool(flags & 1)))
            at += 8
        if at != end:
            raise PgOutputError("Bytes behind the relation", at)
        self._announce(Relation(oid, schema or "pg_catalog", name, identity, tuple(columns)))
        return 0

    @cython.cfunc
    def _announce(self, relation: Any) -> cython.int:
        keys = self.key_of(relation)
        old: _Table | None = self.tables.get(relation.oid)
        if old is not None and old.rows:
            self.batches.append(old.take())
        self.tables[relation.oid] = _Table(relation, keys)
        return 0

    @cython.cfunc
    def _truncate(self, p: cython.p_const_uchar, end: cython.Py_ssize_t) -> cython.int:
        """A row in each table that was emptied."""
        _need(26, 5, end)
        relations = _u32(p, 26)
        _size("truncate", 25, 31 + 4 * relations, end)
        column: _Column
        for i in range(relations):
            table: _Table = self._table(p, 31 + 4 * i)
            if self.skipping or table.ignored:
                continue
            if not table.rows:
                self.touched.append(table)
            for column in table.columns:
                column.null(table.rows)
            self._seal(table, TRUNCATE)
        return self._grown(end)


@cython.cfunc
def _size(what: str, start: cython.Py_ssize_t, wanted: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    """Messages of a fixed size have it."""
    if end != wanted:
        raise PgOutputError(f"A {what} of {end - start} bytes where {wanted - start} were expected", start)
    return 0
