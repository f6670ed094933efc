"""Decoder of the binary logs of MySQL and MariaDB, as their servers send them to replicas, into columns.

Written to be compiled like `pgoutput.py`, and for the same reason: one source, in Cython's pure-Python mode, that runs compiled (the texts
of values are written straight into growing C buffers) and uncompiled (they are collected in lists, those of usual rows by `binlog_plain`).
Both give the same bytes. No I/O.

    feed(event) -> what         NOTHING | COMMIT | EMPTY | FULL | NOTICE | PREPARED | CUT
    feed_stream(...)            the same for a stretch of the server's stream: packets with their heads, up to the first event of note
    take() -> Taken             everything gathered since the last take, as buffers that Arrow can wrap without copying

What comes with every row is here; the rest is in `binlog_events`, the texts of values in `binlog_values`. Every read is checked against the
event's length, and every failure tells file and offset of the event. After a failure the decoder is dead.
"""

# mypy: disable-error-code="untyped-decorator,no-any-return,misc,import-untyped"
# (Cython is not typed.)

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

import cython

from headwater.wire import binlog_events as events
from headwater.wire import binlog_json
from headwater.wire.binlog_events import BinlogError, TableMap
from headwater.wire.binlog_plain import Rows
from headwater.wire.binlog_values import ColumnPlan, UnreadableColumn, reading
from headwater.wire.columns import Batch, ColumnBuffers, Taken

if cython.compiled:
    from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
    from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING, PyByteArray_Resize
    from cython.cimports.cpython.bytes import PyBytes_AS_STRING
    from cython.cimports.libc.string import memcmp, memcpy

COMPILED: bool = cython.compiled
LEFT_OUT = "a new row without all of its values: binlog_row_image is not FULL, and a default is not in the log"

NOTHING, COMMIT, EMPTY, FULL, NOTICE, PREPARED, CUT, OTHER = range(8)
"""What `feed` saw: nothing to act on; the end of a transaction with changes; of one without; the open transaction alone has reached the
limits, so take a part of it; something that is in `notice`; the end of an XA transaction that is only prepared; the log breaks
off within a transaction, which was never committed. `feed_stream` also: no event, or a packet that is continued in the next one."""

MAPS_MAX = 10_000
"""So many tables' maps are remembered; beyond it the memory of them begins anew."""

VALUE_BYTES_MAX = (1 << 31) - 1
"""The texts of one column of one batch: Arrow's offsets have 32 bits."""

PIECE_BYTES = 1 << 20
"""A compressed transaction is unpacked in pieces of this size."""

CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class TablePlan:
    """The caller's answer to a table map: what the decoder has to know of each column, and by which a row is found.

    No key: rows are found as a whole, so old rows keep all their values, and every update is the pair KEY_OLD, KEY_NEW."""

    key: tuple[int, ...]
    columns: tuple[ColumnPlan, ...]


PlanOf = Callable[[TableMap], TablePlan | None]
"""Asked at every new table map; may raise. None leaves the table out."""

DefaultsOf = Callable[[TableMap, tuple[int, ...], int], "dict[int, bytes | None]"]
"""Asked for the values of columns (by index) that an insert of this stamp (seconds) leaves out; those that it does not know are missing."""

Unpack = Callable[[bytes, int], Any]
"""Makes a reader (`read(size) -> bytes`) of a zstd stream that announces so many bytes."""


class Places(Protocol):
    """The caller's words for places in the log."""

    def passed(self, gtid: str) -> None:
        """The transaction with this GTID has ended; empty where it has none."""

    def text(self, file: str, offset: int) -> Any:
        """The place behind all that has passed."""


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
    def need(self, more: cython.Py_ssize_t) -> cython.int:
        """Have room for so many bytes behind those that are used."""
        if self.used + more > self.size:
            self.grow(more)
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def put(self, source: cython.p_const_uchar, size: cython.Py_ssize_t) -> cython.int:
        self.need(size)
        memcpy(self.p + self.used, source, size)
        self.used += size
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def put_int(self, value: cython.Py_ssize_t) -> cython.int:
        self.need(4)
        cython.cast(cython.p_int, self.p)[self.used >> 2] = cython.cast(cython.int, value)
        self.used += 4
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def put_byte(self, value: cython.int) -> cython.int:
        self.need(1)
        self.p[self.used] = cython.cast(cython.uchar, value)
        self.used += 1
        return 0

    @cython.cfunc
    def view(self) -> Any:
        return memoryview(self.store)[: self.used]


@cython.final
@cython.cclass
class _Column:
    """One column: how it is read, where its values of the row at hand stand, and what has gathered of it.

    A value that is null has the size -1, one that the row does not have -2."""

    key: cython.bint
    fixed: cython.Py_ssize_t
    prefix: cython.int
    kind: cython.int
    extra: cython.int
    partial: cython.bint
    convert: Any
    old_at: cython.Py_ssize_t
    old_size: cython.Py_ssize_t
    new_at: cython.Py_ssize_t
    new_size: cython.Py_ssize_t
    patch: cython.bint
    data: _Buffer
    offsets: _Buffer
    nulls: _Buffer
    unchanged: _Buffer
    values: list[bytes]
    null_rows: list[int]
    unchanged_rows: list[int]

    def __init__(self, found: Any, key: cython.bint) -> None:
        self.key = key
        self.fixed, self.prefix, self.kind, self.extra = found.size, found.prefix, found.kind, found.extra
        self.convert, self.partial = found.convert, found.partial
        self.patch = False

    @cython.cfunc
    def begin(self, bytes_hint: cython.Py_ssize_t, rows_hint: cython.Py_ssize_t) -> cython.int:
        if cython.compiled:
            self.data = _Buffer(bytes_hint)
            self.offsets = _Buffer(4 * rows_hint + 4)
            self.offsets.put_int(0)
            self.nulls = _Buffer(16)
            self.unchanged = _Buffer(16)
        else:
            self.values, self.null_rows, self.unchanged_rows = [], [], []
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def value(self, p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.int:
        """Add the text of the value whose bytes stand there."""
        if cython.compiled:
            kind: cython.int = self.kind
            if kind == 1:  # PLAIN_KIND
                self.data.put(p + at, size)
            elif kind == 2 or kind == 3:  # SIGNED_KIND, UNSIGNED_KIND
                _put_integer(self.data, p + at, size, kind == 2)
            elif kind == 4:  # DECIMAL_KIND
                _put_decimal(self.data, p + at, self.extra >> 8, self.extra & 255)
            elif kind == 5:  # DATETIME_KIND
                _put_datetime(self.data, p + at, size, self.extra)
            elif kind == 6:  # TIMESTAMP_KIND
                _put_timestamp(self.data, p + at, size, self.extra)
            elif kind == 7:  # DATE_KIND
                _put_date(self.data, p[at] | (p[at + 1] << 8) | (p[at + 2] << 16))
            else:
                self.put_text(p[at : at + size] if self.convert is None else self.convert(p[at : at + size]))
                return 0
            self.seal()
        else:
            found = p[at : at + size]
            self.values.append(found if self.convert is None else self.convert(found))
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def seal(self) -> cython.int:
        if self.data.used > 2147483647:  # VALUE_BYTES_MAX
            raise ValueError("values that are too large for one batch")
        self.offsets.put_int(self.data.used)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def put_text(self, text: bytes) -> cython.int:
        if cython.compiled:
            self.data.put(cython.cast(cython.p_const_uchar, PyBytes_AS_STRING(text)), len(text))
            self.seal()
        else:
            self.values.append(text)
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
    @cython.inline
    @cython.exceptval(-1)
    def old(self, p: cython.p_const_uchar, row: cython.Py_ssize_t) -> cython.int:
        """Add the old value."""
        if self.old_size >= 0:
            return self.value(p, self.old_at, self.old_size)
        if self.old_size == -1:
            return self.null(row)
        raise ValueError("an old row without a value that it needs (binlog_row_image is not FULL)")

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
    if cython.compiled:
        _flip(made, row_numbers)
    else:
        for row in row_numbers.cast("i"):
            made[row >> 3] ^= 1 << (row & 7)
    return made


@cython.cfunc
def _flip(bits: bytearray, row_numbers: Any) -> cython.int:
    p: cython.p_uchar = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(bits))
    buffer: Py_buffer = cython.declare(Py_buffer)
    PyObject_GetBuffer(row_numbers, cython.address(buffer), PyBUF_SIMPLE)
    rows: cython.p_int = cython.cast(cython.p_int, buffer.buf)
    i: cython.Py_ssize_t
    for i in range(buffer.len >> 2):
        p[rows[i] >> 3] ^= cython.cast(cython.uchar, 1 << (rows[i] & 7))
    PyBuffer_Release(cython.address(buffer))
    return 0


_PAIRS = b"".join(b"%02d" % pair for pair in range(100))
"""The digits of 0 to 99, which all numbers are written with."""

_pairs = cython.declare(cython.p_const_uchar)
if cython.compiled:
    _pairs = cython.cast(cython.p_const_uchar, PyBytes_AS_STRING(_PAIRS))  # type: ignore[possibly-undefined]


@cython.cfunc
@cython.inline
def _put_digits(to: _Buffer, value: cython.ulonglong, width: cython.int) -> cython.int:
    """Decimal digits, zeros in front up to `width`."""
    digits = cython.declare(cython.uchar[32])
    start: cython.int = 32
    pair: cython.int
    while value >= 100:
        pair = 2 * cython.cast(cython.int, value % 100)
        value //= 100
        start -= 2
        digits[start] = _pairs[pair]
        digits[start + 1] = _pairs[pair + 1]
    pair = 2 * cython.cast(cython.int, value)
    start -= 1
    digits[start] = _pairs[pair + 1]
    if value >= 10:
        start -= 1
        digits[start] = _pairs[pair]
    while 32 - start < width:
        start -= 1
        digits[start] = 48
    return to.put(cython.address(digits[0]) + start, 32 - start)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _pair(p: cython.p_uchar, value: cython.uint) -> cython.void:
    """The two digits of a number below 100."""
    p[0] = _pairs[2 * value]
    p[1] = _pairs[2 * value + 1]


@cython.cfunc
@cython.inline
def _little(p: cython.p_const_uchar, size: cython.Py_ssize_t) -> cython.ulonglong:
    value: cython.ulonglong = 0
    while size:
        size -= 1
        value = (value << 8) | p[size]
    return value


@cython.cfunc
@cython.inline
def _big(p: cython.p_const_uchar, size: cython.Py_ssize_t) -> cython.ulonglong:
    value: cython.ulonglong = 0
    i: cython.Py_ssize_t
    for i in range(size):
        value = (value << 8) | p[i]
    return value


@cython.cfunc
@cython.inline
def _put_integer(to: _Buffer, p: cython.p_const_uchar, size: cython.Py_ssize_t, signed: cython.bint) -> cython.int:
    value: cython.ulonglong = _little(p, size)
    if signed and p[size - 1] & 128:
        if size < 8:
            value |= ~cython.cast(cython.ulonglong, 0) << cython.cast(cython.ulonglong, 8 * size)
        to.put_byte(45)  # -
        value = ~value + 1
    return _put_digits(to, value, 1)


@cython.cfunc
@cython.inline
def _put_decimal(to: _Buffer, p: cython.p_const_uchar, precision: cython.int, scale: cython.int) -> cython.int:
    """Groups of nine digits, counted from the point; the first bit inverted, all bits where the number is negative."""
    mask: cython.uint = 0 if p[0] & 128 else 0xFFFFFFFF
    at: cython.Py_ssize_t = 0
    digits: cython.int
    width: cython.int
    group: cython.uint
    left: cython.int = precision - scale
    shown: cython.bint = False
    if mask:
        to.put_byte(45)  # -
    while left > 0:
        digits = left % 9 or 9
        width = _digit_bytes(digits)
        group = cython.cast(cython.uint, _big(p + at, width))
        if at == 0:
            group ^= cython.cast(cython.uint, 128) << cython.cast(cython.uint, 8 * (width - 1))
        group = _inverted(group, mask, width)
        if shown or group:
            _put_digits(to, group, digits if shown else 1)
            shown = True
        at += width
        left -= digits
    if not shown:
        to.put_byte(48)
    if scale:
        to.put_byte(46)  # .
        left = scale
        while left > 0:
            digits = min(9, left)
            width = _digit_bytes(digits)
            group = cython.cast(cython.uint, _big(p + at, width))
            if at == 0:
                group ^= cython.cast(cython.uint, 128) << cython.cast(cython.uint, 8 * (width - 1))
            _put_digits(to, _inverted(group, mask, width), digits)
            at += width
            left -= digits
    return 0


@cython.cfunc
@cython.inline
def _inverted(group: cython.uint, mask: cython.uint, width: cython.int) -> cython.uint:
    ones: cython.uint = 0xFFFFFFFF
    return (group ^ mask) & (ones >> cython.cast(cython.uint, 32 - 8 * width))


@cython.cfunc
@cython.inline
def _digit_bytes(digits: cython.int) -> cython.int:
    return 4 if digits > 6 else (digits + 1) >> 1


@cython.cfunc
@cython.inline
def _put_date(to: _Buffer, packed: cython.uint) -> cython.int:
    return _put_ymd(to, packed >> 9, (packed >> 5) & 15, packed & 31)


@cython.cfunc
@cython.inline
def _put_ymd(to: _Buffer, year: cython.uint, month: cython.uint, day: cython.uint) -> cython.int:
    if year > 9999:
        _put_digits(to, year, 4)
    else:
        to.need(4)
        _pair(to.p + to.used, year // 100)
        _pair(to.p + to.used + 2, year % 100)
        to.used += 4
    to.need(6)
    p: cython.p_uchar = to.p + to.used
    p[0] = p[3] = 45  # -
    _pair(p + 1, month)
    _pair(p + 4, day)
    to.used += 6
    return 0


@cython.cfunc
@cython.inline
def _put_hms(to: _Buffer, hour: cython.uint, minute: cython.uint, second: cython.uint) -> cython.int:
    to.need(9)
    p: cython.p_uchar = to.p + to.used
    p[0] = 32
    p[3] = p[6] = 58  # :
    _pair(p + 1, hour)
    _pair(p + 4, minute)
    _pair(p + 7, second)
    to.used += 9
    return 0


@cython.cfunc
@cython.inline
def _put_fraction(to: _Buffer, p: cython.p_const_uchar, size: cython.Py_ssize_t, digits: cython.int) -> cython.int:
    """The fraction is stored in pairs of digits, so an odd last one is left away."""
    if digits:
        to.put_byte(46)
        start: cython.Py_ssize_t = to.used
        _put_digits(to, _big(p, size), cython.cast(cython.int, 2 * size))
        to.used = start + digits
    return 0


@cython.cfunc
@cython.inline
def _put_datetime(to: _Buffer, p: cython.p_const_uchar, size: cython.Py_ssize_t, digits: cython.int) -> cython.int:
    packed: cython.ulonglong = _big(p, 5) - (cython.cast(cython.ulonglong, 1) << 39)
    if packed >> 40:  # below the middle: no server writes that
        raise ValueError("a negative DATETIME")
    months: cython.uint = cython.cast(cython.uint, packed >> 22)
    _put_ymd(to, months // 13, months % 13, (packed >> 17) & 31)
    _put_hms(to, (packed >> 12) & 31, (packed >> 6) & 63, packed & 63)
    return _put_fraction(to, p + 5, size - 5, digits)


@cython.cfunc
@cython.inline
def _put_timestamp(to: _Buffer, p: cython.p_const_uchar, size: cython.Py_ssize_t, digits: cython.int) -> cython.int:
    """Counts days in eras of 400 years that begin in March, as `binlog_values.civil`."""
    seconds: cython.uint = cython.cast(cython.uint, _big(p, 4))
    if seconds == 0:
        _put_ymd(to, 0, 0, 0)
        _put_hms(to, 0, 0, 0)
    else:
        day: cython.uint = seconds // 86400 + 719468
        era: cython.uint = day // 146097
        day -= era * 146097
        year: cython.uint = (day - day // 1460 + day // 36524 - day // 146096) // 365
        day -= 365 * year + year // 4 - year // 100
        month: cython.uint = (5 * day + 2) // 153
        _put_ymd(to, year + era * 400 + (1 if month > 9 else 0), month + 3 if month < 10 else month - 9, day - (153 * month + 2) // 5 + 1)
        seconds %= 86400
        _put_hms(to, seconds // 3600, seconds // 60 % 60, seconds % 60)
    _put_fraction(to, p + 4, size - 4, digits)
    to.put_byte(43)  # +
    to.put_byte(48)
    return to.put_byte(48)


@cython.final
@cython.cclass
class _Table:
    """One announced table with the batch that gathers for it."""

    relation: Any
    body: bytes
    keys: tuple[int, ...]
    ignored: cython.bint
    width: cython.Py_ssize_t
    rows: cython.Py_ssize_t
    columns: list[_Column]
    defaults: dict[int, Any]
    seq: _Buffer
    txn: _Buffer
    op: _Buffer
    seqs: list[int]
    txns: list[int]
    ops: list[int]
    plain: Any

    def __init__(self, relation: TableMap, body: bytes, plan: TablePlan | None) -> None:
        self.relation = relation
        self.body = body
        self.ignored = plan is None
        self.keys = () if plan is None else plan.key
        self.width = len(relation.columns)
        self.defaults = {}
        self.rows = 0
        readings = [] if plan is None else _readings(relation, plan)
        self.columns = [_Column(found, i in self.keys) for i, found in enumerate(readings)]
        if not cython.compiled:
            self.plain = Rows(readings, self.keys)
        self.begin([64] * len(self.columns), 16)

    @cython.cfunc
    def begin(self, bytes_hints: list[int], rows_hint: cython.Py_ssize_t) -> cython.int:
        column: _Column
        self.rows = 0
        for column, hint in zip(self.columns, bytes_hints):  # noqa: B905
            column.begin(hint, rows_hint)
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

    def add(self, op: int, count: int, columns: Any, seq: int, txn: int) -> None:
        """Rows that were read at once. Uncompiled only."""
        for column, (texts, nulls) in zip(self.columns, columns):  # noqa: B905
            column.values += texts
            column.null_rows += [self.rows + row for row in nulls]
        self.seqs += range(seq, seq + count)
        self.txns += [txn] * count
        self.ops += [op] * count
        self.rows += count

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


def _readings(relation: TableMap, plan: TablePlan) -> list[Any]:
    if len(plan.columns) != len(relation.columns):
        raise UnreadableColumn(f"it has {len(relation.columns)} columns in the log, and {len(plan.columns)} by what is known of it")
    return [reading(column, told) for column, told in zip(relation.columns, plan.columns, strict=True)]


@cython.cfunc
@cython.inline
def _need(at: cython.Py_ssize_t, size: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    if size > end - at:
        raise BinlogError(f"The event ends too early: {size} bytes wanted, {end - at} there", at)
    return 0


@cython.cfunc
@cython.inline
def _bit(p: cython.p_const_uchar, at: cython.Py_ssize_t, i: cython.Py_ssize_t) -> cython.int:
    return (p[at + (i >> 3)] >> (i & 7)) & 1


@cython.cfunc
def _set_bits(p: cython.p_const_uchar, at: cython.Py_ssize_t, count: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """How many of the first `count` bits are set."""
    if not cython.compiled:
        return (int.from_bytes(p[at : at + ((count + 7) >> 3)], "little") & ((1 << count) - 1)).bit_count()
    i: cython.Py_ssize_t
    found: cython.Py_ssize_t = 0
    for i in range(count):
        found += _bit(p, at, i)
    return found


def _all_set(event: bytes, present: int, after: int, width: int, both: bool) -> bool:
    """Whether the images of an event's rows have all columns. Uncompiled only."""
    return _set_bits(event, present, width) == width and (not both or _set_bits(event, after, width) == width)


@cython.final
@cython.cclass
class Decoder:
    """Gathers one log. `plan_of` is asked at every new table map and may raise; `places` words the places of commits.

    When the open transaction alone has `rows_max` rows or `bytes_max` bytes in here, `feed` says FULL, in the middle of an event too: that
    event is to be fed again, and goes on where it was. The same is so for a compressed transaction, which is one event. `clock_us`, the
    source's clock, is the caller's to set: it is when transactions were seen.
    """

    plan_of: Any
    places: Any
    unpack: Any
    defaults_of: Any
    rows_max: cython.Py_ssize_t
    bytes_max: cython.Py_ssize_t
    maps: dict[int, _Table]
    known: dict[bytes, _Table]
    current: dict[Any, _Table]
    batches: list[Any]
    touched: list[_Table]
    ends: list[Any]
    commits: list[int]
    seen: list[int]
    counts: list[int]
    rows_all: cython.Py_ssize_t
    bytes_all: cython.Py_ssize_t
    rows_open: cython.Py_ssize_t
    bytes_open: cython.Py_ssize_t
    is_open: cython.bint
    parted: cython.bint
    begun: cython.bint
    xa: cython.bint
    checksums: cython.int
    mariadb: cython.bint
    resume: cython.Py_ssize_t
    inner: bytes
    inner_at: cython.Py_ssize_t
    payload: Any
    crc: bytearray
    file: str
    at: cython.ulonglong
    next: cython.ulonglong
    safe: cython.ulonglong
    gtid: Any
    begin_us: Any
    clock: Any
    told: Any
    kind: cython.int
    stamp: Any
    server: Any

    def __init__(
        self,
        plan_of: PlanOf,
        places: Places,
        rows_max: int,
        bytes_max: int,
        file: str = "",
        offset: int = 4,
        unpack: Unpack | None = None,
        defaults_of: DefaultsOf | None = None,
    ) -> None:
        self.plan_of, self.places, self.unpack, self.defaults_of = plan_of, places, unpack, defaults_of
        self.rows_max, self.bytes_max = rows_max, bytes_max
        self.maps, self.known, self.current = {}, {}, {}
        self.is_open = self.parted = self.begun = self.xa = False
        self.checksums = -1  # not told yet
        self.mariadb = False
        self.resume = self.inner_at = 0
        self.inner, self.payload = b"", None
        self.file, self.at, self.next, self.safe = file, offset, offset, offset
        self.gtid, self.told = events.Gtid(""), None
        self.begin_us = self.clock = self.stamp = self.server = 0
        self.kind = 0
        self.crc = _crc_tables() if cython.compiled else bytearray()
        self.batches, self.touched = [], []
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
        """Bytes of the row events that wait to be taken."""
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
    def position(self) -> Any:
        """The place behind the last transaction that has ended."""
        return self.places.text(self.file, self.safe)

    @property
    def log_file(self) -> str:
        """The file that is being read."""
        return self.file

    @property
    def log_offset(self) -> int:
        """Where the event ends that was read last."""
        return self.at

    @property
    def may_be_prepared(self) -> bool:
        """Whether the open transaction is an XA transaction, whose commit may come much later."""
        return self.is_open and self.xa

    @property
    def ended_offset(self) -> int:
        """Where in the file the last transaction ended, and the open one began."""
        return self.safe

    @property
    def clock_us(self) -> int:
        """The source's clock, as the caller has set it."""
        return self.clock

    @clock_us.setter
    def clock_us(self, value: int) -> None:
        self.clock = value

    @property
    def begun_us(self) -> int:
        """The stamp with which the last transaction, or statement, began."""
        return self.begin_us

    @property
    def resumes(self) -> bool:
        """After FULL or a notice: the event has not been read to its end, and is to be fed again."""
        return self.resume != 0 or self.payload is not None

    @property
    def notice(self) -> Any:
        """What the last NOTICE was about; with PREPARED the name of the XA transaction."""
        return self.told

    def feed(self, event: Any) -> int:
        """Read one event. FULL: feed it again once everything was taken."""
        if cython.compiled:
            buffer: Py_buffer = cython.declare(Py_buffer)
            PyObject_GetBuffer(event, cython.address(buffer), PyBUF_SIMPLE)
            try:
                return self._placed(cython.cast(cython.p_const_uchar, buffer.buf), buffer.len)
            finally:
                PyBuffer_Release(cython.address(buffer))
        return self._placed(bytes(event), len(event))

    @cython.cfunc
    def _placed(self, p: cython.p_const_uchar, size: cython.Py_ssize_t) -> cython.int:
        try:
            return self._event(p, size)
        except BinlogError as error:
            raise self._told(error) from error.__cause__

    @cython.cfunc
    def _told(self, error: Any) -> Any:
        """The error with the event and its place."""
        return BinlogError(f"{error.what}, in the event of type {self.kind} at {self.file}:{self.at}", error.offset)

    def feed_stream(self, stream: bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> tuple[int, int]:
        """Read the server's byte stream between `start` and `end`: packets with their heads.

        Returns the place behind what was read, and the first event that asks for something: OTHER in front of a packet that is not one
        whole event, NOTHING where no whole packet is left. With FULL the place may still be in front of the packet.
        """
        at: cython.Py_ssize_t = start
        size: cython.Py_ssize_t
        event: cython.int = 0
        p: cython.p_const_uchar
        if cython.compiled:
            p = cython.cast(cython.p_const_uchar, PyByteArray_AS_STRING(stream))
        else:
            p = memoryview(stream)
        try:
            while event == 0 and end - at >= 4:
                size = p[at] | (p[at + 1] << 8) | (p[at + 2] << 16)
                if size > end - at - 4 and size != 0xFFFFFF:
                    break
                if size == 0xFFFFFF or size == 0 or p[at + 4] != 0:
                    return at, OTHER
                if cython.compiled:
                    event = self._event(p + at + 5, size - 1)
                else:
                    event = self._event(bytes(p[at + 5 : at + 4 + size]), size - 1)
                if event == 6 or self.resume or self.payload is not None:  # CUT, or not at its end
                    return at, event
                at += 4 + size
        except BinlogError as error:
            raise self._told(error) from error.__cause__
        return at, event

    @cython.cfunc
    @cython.exceptval(-1)
    def _event(self, p: cython.p_const_uchar, size: cython.Py_ssize_t) -> cython.int:
        """One event with its header: the checksum, then what it says. `at` moves behind it once it was read to its end."""
        if size < 19:
            raise BinlogError(f"An event of {size} bytes", 0)
        kind: cython.int = p[4]
        self.kind = kind
        end: cython.Py_ssize_t = size
        if self.resume == 0 and self.payload is None:
            self._check(p, size, kind)
        if self.checksums > 0 and kind != 15:
            end -= 4
        self.next = self._behind(p, kind)
        event: cython.int = self._payload(p, end) if kind == 40 else self._dispatch(p, kind, end)
        if self.resume == 0 and self.payload is None and event != 6:  # CUT
            self.at = self.next
            if not self.is_open:
                self.safe = self.next
        return event

    @cython.cfunc
    @cython.exceptval(-1)
    def _check(self, p: cython.p_const_uchar, size: cython.Py_ssize_t, kind: cython.int) -> cython.int:
        """The size in the header and the checksum are those of the event."""
        if cython.cast(cython.Py_ssize_t, _little(p + 9, 4)) != size if cython.compiled else int.from_bytes(p[9:13], "little") != size:
            raise BinlogError(f"An event of {size} bytes, of which its header says otherwise", 9)
        if self.checksums == 0 or size < 23:
            if self.checksums > 0:
                raise BinlogError(f"An event of {size} bytes, without room for its checksum", 0)
            return 0
        same: cython.bint = (
            _checksum(self.crc, p, size - 4) == cython.cast(cython.uint, _little(p + size - 4, 4))
            if cython.compiled
            else zlib.crc32(p[:-4]) == int.from_bytes(p[-4:], "little")
        )
        if kind == 15:  # the format description says itself whether it has one
            if not same and p[size - 5] == 1:
                raise BinlogError("An event that was damaged: its checksum is another one", size - 4)
        elif self.checksums < 0:
            self.checksums = 1 if same else 0
        elif not same:
            raise BinlogError("An event that was damaged: its checksum is another one", size - 4)
        return 0

    @cython.cfunc
    @cython.inline
    def _behind(self, p: cython.p_const_uchar, kind: cython.int) -> cython.ulonglong:
        """Where the log stands behind this event. The header's 32 bits wrap in files of more than 4 GiB. Events that the server makes up
        for the stream have no place, and those at the head of a file may be sent again at a start in its middle."""
        place: cython.ulonglong = _little(p + 13, 4) if cython.compiled else int.from_bytes(p[13:17], "little")
        artificial: cython.bint = (p[17] & 0x20) != 0
        if artificial or kind == 4:
            return self.at
        if place == 0 or kind in (15, 35, 161, 163, 164):  # what the head of a file is made of
            return self._adjoining(p, place)
        whole: cython.ulonglong = ((self.at >> 32) << 32) | place
        if whole >= self.at:
            return whole
        return self.at if kind == 27 else whole + (cython.cast(cython.ulonglong, 1) << 32)  # HEARTBEAT

    @cython.cfunc
    def _adjoining(self, p: cython.p_const_uchar, place: cython.ulonglong) -> cython.ulonglong:
        """The place behind an event that may not stand here: if its 32 bits are those of an event that does."""
        behind: cython.ulonglong = self.at + (_little(p + 9, 4) if cython.compiled else int.from_bytes(p[9:13], "little"))
        return behind if behind & 0xFFFFFFFF == place else self.at

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def _dispatch(self, p: cython.p_const_uchar, kind: cython.int, end: cython.Py_ssize_t) -> cython.int:
        if kind == 23 or kind == 30:  # WRITE_ROWS
            return self._rows(p, 1, kind, end)
        if kind == 19:  # TABLE_MAP
            return self._table_map(p, end)
        if kind == 24 or kind == 31 or kind == 39:  # UPDATE_ROWS, PARTIAL_UPDATE_ROWS
            return self._rows(p, 2, kind, end)
        if kind == 25 or kind == 32:  # DELETE_ROWS
            return self._rows(p, 3, kind, end)
        return self._other(p, kind, end)

    # Tables

    @cython.cfunc
    @cython.exceptval(-1)
    def _table_map(self, p: cython.p_const_uchar, end: cython.Py_ssize_t) -> cython.int:
        """Mostly one that is known: the same bytes under the same number."""
        _need(19, 8, end)
        number: cython.ulonglong = _little(p + 19, 6) if cython.compiled else int.from_bytes(p[19:25], "little")
        table: _Table
        found = self.maps.get(number)
        if found is not None:
            table = found
            if cython.compiled:
                if len(table.body) == end - 25 and memcmp(PyBytes_AS_STRING(table.body), p + 25, end - 25) == 0:
                    return 0
            elif table.body == p[25:end]:
                return 0
        return self._announced(number, p[19:end])

    @cython.cfunc
    def _announced(self, number: Any, body: bytes) -> cython.int:
        """A number or a table that is new. Where it is only the number, the table's batch goes on."""
        table: _Table
        known = self.known.get(body[6:])
        if known is None:
            relation = events.table_map(body, self.mariadb)
            try:
                known = _Table(relation, body[6:], self.plan_of(relation))
            except UnreadableColumn as error:
                raise BinlogError(f"The table {relation.schema}.{relation.name} can't be read: {error}", events.HEADER_BYTES) from error
            self.known[body[6:]] = known
        table = known
        self.maps[number] = table
        name = (table.relation.schema, table.relation.name)
        before: _Table
        announced = self.current.get(name)
        if announced is not None and announced is not table:
            before = announced  # typed: compiled, only that makes its parts reachable
            self._close(before)
            self.known.pop(before.body, None)
            self.maps = {known_number: other for known_number, other in self.maps.items() if other is not before}
        self.current[name] = table
        return 0

    @cython.cfunc
    def _close(self, table: _Table) -> cython.int:
        """End the table's batch, so that a later one of the same table comes after it."""
        if table.rows:
            self.batches.append(table.take())
        return 0

    def forget_tables(self) -> None:
        """Ask for every table anew from its next map on: after DDL, which a map may not show."""
        table: _Table
        for table in self.touched:
            self._close(table)
        self.touched = []
        self.maps, self.known, self.current = {}, {}, {}

    # Rows

    @cython.cfunc
    @cython.exceptval(-1)
    def _rows(self, p: cython.p_const_uchar, op: cython.int, kind: cython.int, end: cython.Py_ssize_t) -> cython.int:
        """The rows of one event: number of the table, which columns there are, then row after row."""
        _need(19, 8, end)
        number: cython.ulonglong = _little(p + 19, 6) if cython.compiled else int.from_bytes(p[19:25], "little")
        if number == 0xFFFFFF:
            return 0  # ends a statement and holds nothing
        found = self.maps.get(number)
        if found is None:
            raise BinlogError(f"A change of a table that was not announced: {number}", 19)
        table: _Table = found
        if table.ignored:
            return 0
        if not self.is_open:
            raise BinlogError("A change outside of a transaction", 19)
        if not table.rows:
            self.touched.append(table)
        present: cython.Py_ssize_t = self._width(p, self._behind_extra(p, kind, end), end, table)
        size: cython.Py_ssize_t = (table.width + 7) >> 3
        after: cython.Py_ssize_t = present + size
        at: cython.Py_ssize_t = after + size if op == 2 else after
        _need(present, at - present, end)
        if self.resume:
            at = self.resume
            self.resume = 0
        else:
            self.bytes_all += end
            self.bytes_open += end
            if op == 1 and _set_bits(p, present, table.width) < table.width:
                self._left_out(p, table, present)
        return self._each(p, op, at, end, table, present, after, kind == 39)

    @cython.cfunc
    def _left_out(self, p: cython.p_const_uchar, table: _Table, present: cython.Py_ssize_t) -> cython.int:
        """Values that the new rows of this event do not have: their columns' defaults."""
        absent = tuple([i for i in range(table.width) if not _bit(p, present, i)])
        table.defaults = {} if self.defaults_of is None else self.defaults_of(table.relation, absent, int.from_bytes(p[0:4], "little"))
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _behind_extra(self, p: cython.p_const_uchar, kind: cython.int, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where the width stands: the second version of row events has extra data in front of it."""
        if kind < 30:
            return 27
        _need(27, 2, end)
        extra: cython.Py_ssize_t = p[27] | (p[28] << 8)
        if extra < 2:
            raise BinlogError(f"Extra data of {extra} bytes", 27)
        _need(27, extra, end)
        return 27 + extra

    @cython.cfunc
    @cython.exceptval(-1)
    def _each(
        self,
        p: cython.p_const_uchar,
        op: cython.int,
        at: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        table: _Table,
        present: cython.Py_ssize_t,
        after: cython.Py_ssize_t,
        may_be_partial: cython.bint,
    ) -> cython.int:
        """Row after row, up to the limit."""
        start: cython.Py_ssize_t = at
        usual: cython.bint = not cython.compiled and not may_be_partial and _all_set(p, present, after, table.width, op == 2)
        try:
            while True:
                start = at
                if usual:
                    usual, at = False, self._at_once(p, op, at, end, table)
                if at != start:
                    pass
                elif op == 1:
                    at = self._insert(p, at, end, table, present)
                elif op == 2:
                    at = self._update(p, at, end, table, present, after, may_be_partial)
                else:
                    at = self._delete(p, at, end, table, present)
                if at >= end:
                    break
                if at == start:
                    raise BinlogError("Rows without any value", at)
                if self.rows_open >= self.rows_max:
                    self.resume = at
                    return FULL
        except BinlogError:
            raise
        except (ValueError, zlib.error) as error:
            what = "a value that is not in its column's character set" if isinstance(error, UnicodeError) else error
            where = f"{table.relation.schema}.{table.relation.name}"
            raise BinlogError(f"A row of {where} can't be read: {what}", start) from None
        return FULL if self.rows_open >= self.rows_max or self.bytes_open >= self.bytes_max else NOTHING

    def _at_once(self, event: bytes, op: int, at: int, end: int, table: Any) -> int:
        """As many rows as can be read without looking at each value; returns where they end. Uncompiled only."""
        found = table.plain.read(event, op, at, end, self.rows_max - self.rows_open)
        if found is None:
            return at
        at, count, columns = found
        table.add(op, count, columns, self.rows_all, len(self.ends))
        self.rows_all += count
        self.rows_open += count
        return at

    @cython.cfunc
    @cython.exceptval(-1)
    def _width(self, p: cython.p_const_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, table: _Table) -> cython.Py_ssize_t:
        """The number of columns, which must be that of the table's map; returns where it ends."""
        _need(at, 1, end)
        width: cython.Py_ssize_t = p[at]
        at += 1
        if width == 252:
            _need(at, 2, end)
            width = p[at] | (p[at + 1] << 8)
            at += 2
        if width != table.width or width == 0:
            raise BinlogError(f"Rows of {width} values for a table of {table.width} columns", at)
        return at

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def _seal(self, table: _Table, op: cython.int) -> cython.int:
        table.seal(op, self.rows_all, len(self.ends))
        self.rows_all += 1
        self.rows_open += 1
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _insert(
        self, p: cython.p_const_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, table: _Table, present: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        """A new row, straight into its columns. The hottest loop."""
        row: cython.Py_ssize_t = table.rows
        column: _Column
        columns: list[_Column] = table.columns
        width: cython.Py_ssize_t = table.width
        nulls: cython.Py_ssize_t = at
        bit: cython.Py_ssize_t = 0
        size: cython.Py_ssize_t
        i: cython.Py_ssize_t
        size = (_set_bits(p, present, width) + 7) >> 3
        _need(at, size, end)
        at += size
        for i in range(width):
            column = columns[i]
            if not (p[present + (i >> 3)] >> (i & 7)) & 1:
                if i not in table.defaults:
                    raise ValueError(LEFT_OUT)
                if table.defaults[i] is None:
                    column.null(row)
                else:
                    column.put_text(table.defaults[i])
                continue
            bit += 1
            if (p[nulls + ((bit - 1) >> 3)] >> ((bit - 1) & 7)) & 1:
                column.null(row)
                continue
            size = column.fixed
            if size < 0:
                if column.prefix > end - at:
                    _need(at, column.prefix, end)
                size = (
                    cython.cast(cython.Py_ssize_t, _little(p + at, column.prefix))
                    if cython.compiled
                    else int.from_bytes(p[at : at + column.prefix], "little")
                )
                at += column.prefix
            if size > end - at:
                _need(at, size, end)
            if cython.compiled:
                column.value(p, at, size)
            else:
                found = p[at : at + size]
                column.values.append(found if column.convert is None else column.convert(found))
            at += size
        self._seal(table, 1)
        return at

    @cython.cfunc
    @cython.exceptval(-1)
    def _scan(
        self,
        p: cython.p_const_uchar,
        at: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        table: _Table,
        present: cython.Py_ssize_t,
        new: cython.bint,
        patches: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """Where the values of a row stand; returns where it ends. `patches`: bits of the JSON columns that are partial, or -1."""
        column: _Column
        columns: list[_Column] = table.columns
        width: cython.Py_ssize_t = table.width
        nulls: cython.Py_ssize_t = at
        bit: cython.Py_ssize_t = 0
        document: cython.Py_ssize_t = 0
        size: cython.Py_ssize_t
        i: cython.Py_ssize_t
        partial: cython.bint
        size = (_set_bits(p, present, width) + 7) >> 3
        _need(at, size, end)
        at += size
        for i in range(width):
            column = columns[i]
            partial = False
            if column.partial and patches >= 0:
                partial = _bit(p, patches, document) != 0
                document += 1
            if not (p[present + (i >> 3)] >> (i & 7)) & 1:
                size = -2
            else:
                bit += 1
                if (p[nulls + ((bit - 1) >> 3)] >> ((bit - 1) & 7)) & 1:
                    size = -1
                else:
                    size = column.fixed
                    if size < 0:
                        if column.prefix > end - at:
                            _need(at, column.prefix, end)
                        size = (
                            cython.cast(cython.Py_ssize_t, _little(p + at, column.prefix))
                            if cython.compiled
                            else int.from_bytes(p[at : at + column.prefix], "little")
                        )
                        at += column.prefix
                    if size > end - at:
                        _need(at, size, end)
            if new:
                column.new_at, column.new_size, column.patch = at, size, partial
            else:
                column.old_at, column.old_size = at, size
            if size > 0:
                at += size
        return at

    @cython.cfunc
    @cython.exceptval(-1)
    def _delete(
        self, p: cython.p_const_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, table: _Table, present: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        at = self._scan(p, at, end, table, present, False, -1)
        self._put_old(p, table, 3)
        return at

    @cython.cfunc
    @cython.exceptval(-1)
    def _put_old(self, p: cython.p_const_uchar, table: _Table, op: cython.int) -> cython.int:
        """A deleted row or an old key: the values of its key only, if it has one."""
        row: cython.Py_ssize_t = table.rows
        column: _Column
        whole: cython.bint = len(table.keys) == 0
        for column in table.columns:
            if whole or column.key:
                column.old(p, row)
            else:
                column.null(row)
        return self._seal(table, op)

    @cython.cfunc
    @cython.exceptval(-1)
    def _update(
        self,
        p: cython.p_const_uchar,
        at: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        table: _Table,
        present: cython.Py_ssize_t,
        after: cython.Py_ssize_t,
        may_be_partial: cython.bint,
    ) -> cython.Py_ssize_t:
        """The old row, then the new one. Whether the key changed shows by comparing; without a key the whole row is one."""
        row: cython.Py_ssize_t
        patches: cython.Py_ssize_t = -1
        column: _Column
        at = self._scan(p, at, end, table, present, False, -1)
        if may_be_partial:
            _need(at, 1, end)
            if p[at] > 1:
                raise BinlogError(f"Unknown options of a partial update: {p[at]}", at)
            at += 1
            if p[at - 1] & 1:
                patches = at
                size: cython.Py_ssize_t = (self._documents(table) + 7) >> 3
                _need(at, size, end)
                at += size
        at = self._scan(p, at, end, table, after, True, patches)
        whole: cython.bint = len(table.keys) == 0
        moved: cython.bint = whole
        for column in table.columns:
            if column.key and column.new_size != -2 and not _same(p, column):
                moved = True
        if moved:
            self._put_old(p, table, 5)
        row = table.rows
        for column in table.columns:
            if column.new_size >= 0:
                if column.patch:
                    self._put_patched(p, column)
                else:
                    column.value(p, column.new_at, column.new_size)
            elif column.new_size == -1:
                column.null(row)
            elif column.key or whole:
                column.old(p, row)
            else:
                column.not_sent(row)
        self._seal(table, 6 if moved else 2)
        return at

    @cython.cfunc
    def _documents(self, table: _Table) -> cython.Py_ssize_t:
        column: _Column
        count: cython.Py_ssize_t = 0
        for column in table.columns:
            if column.partial:
                count += 1
        return count

    @cython.cfunc
    def _put_patched(self, p: cython.p_const_uchar, column: _Column) -> cython.int:
        """A document of which only the changes were sent; they go onto the old one."""
        if column.old_size < 0:
            raise ValueError("a change of a document that the old row does not have (binlog_row_image is not FULL)")
        before: bytes = p[column.old_at : column.old_at + column.old_size]
        steps: bytes = p[column.new_at : column.new_at + column.new_size]
        return column.put_text(binlog_json.patched(before, steps))

    # Everything else

    @cython.cfunc
    def _other(self, p: cython.p_const_uchar, kind: cython.int, end: cython.Py_ssize_t) -> cython.int:
        """Events that come once per transaction or less."""
        if kind == 16:  # XID
            _need(19, 8, end)
            return self._end(int.from_bytes(p[0:4], "little"))
        self.stamp = int.from_bytes(p[0:4], "little")
        self.server = int.from_bytes(p[5:9], "little")
        if kind in _GTIDS:
            return self._began(_GTIDS[kind](p[19:end], self.server))
        if kind in _INFLATED:
            return self._inflated(p, kind, end)
        if kind in (events.QUERY, events.QUERY_COMPRESSED, events.EXECUTE_LOAD_QUERY):
            return self._query(p[19:end], kind)
        if kind == events.XA_PREPARE:
            return self._prepared(p[19:end])
        if kind in _NOTICES:
            return self._noticed(p, kind, end)
        if kind in _PASSED_OVER or p[17] & 0x80:  # LOG_EVENT_IGNORABLE_F
            return 0
        raise BinlogError(f"An unknown type of event: {kind}", 4)

    @cython.cfunc
    def _noticed(self, p: cython.p_const_uchar, kind: cython.int, end: cython.Py_ssize_t) -> cython.int:
        body: bytes = p[19:end]
        if kind == 15:  # FORMAT_DESCRIPTION
            self.told = events.format_description(body)
            self.checksums = 1 if self.told.checksums else 0
            self.mariadb = "mariadb" in self.told.server_version.lower()
            self.forget_tables()
        elif kind == 4:  # ROTATE
            return self._rotated(events.rotate(body))
        elif kind == 27:  # HEARTBEAT
            self.told = events.heartbeat(body, int.from_bytes(p[13:17], "little"))
        elif kind == 41:  # HEARTBEAT_V2
            self.told = events.heartbeat_v2(body)
            if not self.is_open and self.told.file == self.file and self.told.offset > self.at:
                self.next = self.told.offset
        elif kind == 26:  # INCIDENT
            self.told = events.incident(body)
        else:
            self.told = events.Stopped()
        return NOTICE

    @cython.cfunc
    def _rotated(self, rotate: Any) -> cython.int:
        """The log goes on elsewhere. A transaction that is open there was never committed: the server went down within it."""
        if self.is_open and rotate.file != self.file:
            if self.parted:
                raise BinlogError("The log breaks off within a transaction", 19)
            if self.rows_open:
                return CUT
            self.is_open = False
        if not self.is_open and (rotate.file != self.file or rotate.offset > self.at):  # by GTIDs it is told as the file's beginning
            self.file = rotate.file
            self.at = self.next = self.safe = rotate.offset
        self.told = rotate
        return NOTICE

    @cython.cfunc
    def _began(self, gtid: Any) -> cython.int:
        if self.is_open:
            raise BinlogError("A transaction within a transaction", 19)
        if len(self.maps) > MAPS_MAX or len(self.known) > MAPS_MAX:
            self.forget_tables()
        self.is_open = True
        self.gtid = gtid
        self.begun = gtid.begins
        self.parted = False
        self.xa = gtid.xa != ""
        self.begin_us = gtid.commit_us or self.stamp * 1_000_000
        self.rows_open = self.bytes_open = 0
        return 0

    @cython.cfunc
    def _end(self, stamp_s: Any) -> cython.int:
        """The commit, whose stamp is that of its own event where the GTID did not tell a better one."""
        if not self.is_open:
            raise BinlogError("A commit outside of a transaction", 0)
        self.is_open = False
        self.places.passed(self.gtid.text)
        if not self.rows_open and not self.parted:
            return EMPTY
        self.ends.append(self.places.text(self.file, self.next))
        self.commits.append(self.gtid.commit_us or stamp_s * 1_000_000)
        self.seen.append(self.clock)
        self.counts.append(self.rows_open)
        return COMMIT

    @cython.cfunc
    def _prepared(self, body: bytes) -> cython.int:
        """The end of the first half of an XA transaction; in one phase it is the commit."""
        name, one_phase = events.xa_prepare(body)
        if one_phase:
            return self._end(self.stamp)
        if not self.is_open:
            raise BinlogError("A prepared transaction outside of a transaction", 0)
        self.told = name
        return PREPARED

    def put_aside(self) -> None:
        """After PREPARED, and after its rows were taken: the transaction has ended here as far as the log goes on."""
        self.is_open = self.parted = False
        self.places.passed(self.gtid.text)
        self.safe = self.at

    def drop_open(self) -> None:
        """After CUT, and after everything was taken: the rows of the open transaction are not to count."""
        self.is_open = False

    @cython.cfunc
    def _query(self, body: bytes, kind: cython.int) -> cython.int:
        """Statements that begin and end transactions, and others, of which the caller is told."""
        query = events.query(body, self.stamp, kind == events.QUERY_COMPRESSED, kind == events.EXECUTE_LOAD_QUERY)
        text = query.text.strip()
        word = text[:12].upper()
        if text == b"BEGIN" or word.startswith(b"XA START"):
            if not self.is_open:
                self._began(events.Gtid(""))
            self.begun = True
            self.xa = word.startswith(b"XA START")
            return 0
        if text == b"COMMIT" and self.is_open:
            return self._end(self.stamp)
        if word.startswith((b"ROLLBACK", b"SAVEPOINT", b"XA END", b"RELEASE")):
            return self._undone(text)
        self.told = query
        if self.is_open and not self.begun and kind != events.EXECUTE_LOAD_QUERY and not self.rows_open:
            self.is_open = False
            self.places.passed(self.gtid.text)
        return NOTICE

    @cython.cfunc
    def _undone(self, text: bytes) -> cython.int:
        """Marks within a transaction mean nothing, unless changes that are in the log are taken back."""
        if text[:8].upper() != b"ROLLBACK":
            return 0
        if self.rows_open or self.parted:
            raise BinlogError("Changes that the log takes back (a transaction that wrote to tables without transactions too)", 19)
        if text.upper() != b"ROLLBACK" or not self.is_open:
            return 0
        self.is_open = False
        self.places.passed(self.gtid.text)
        return EMPTY

    @cython.cfunc
    def _inflated(self, p: cython.p_const_uchar, kind: cython.int, end: cython.Py_ssize_t) -> cython.int:
        """MariaDB's compressed rows: all behind the columns' bits is packed."""
        rows: cython.int = _INFLATED[kind]
        at: cython.Py_ssize_t = 27
        if kind >= 169:
            _need(at, 2, end)
            at += p[at] | (p[at + 1] << 8)
        _need(at, 1, end)
        width: cython.Py_ssize_t = p[at]
        at += 1
        if width == 252:
            _need(at, 2, end)
            width = p[at] | (p[at + 1] << 8)
            at += 2
        size: cython.Py_ssize_t = (width + 7) >> 3
        at += size * 2 if rows == 24 or rows == 31 else size
        _need(at, 0, end)
        whole: bytes = p[:at] + events.inflate(p[at:end], at)
        if cython.compiled:
            return self._dispatch(cython.cast(cython.p_const_uchar, PyBytes_AS_STRING(whole)), rows, len(whole))
        return self._dispatch(whole, rows, len(whole))

    # Compressed transactions of MySQL

    @cython.cfunc
    def _payload(self, p: cython.p_const_uchar, end: cython.Py_ssize_t) -> cython.int:
        """A whole transaction in one event, whose events are read one by one; after FULL or a notice it goes on where it was."""
        if self.payload is None:
            self._open_payload(p[19:end])
        event: cython.int = 0
        size: cython.Py_ssize_t
        while event == 0:
            if not self._more(19):
                if len(self.inner) != self.inner_at:
                    raise BinlogError("A compressed transaction that ends within an event", 19)
                self.payload, self.inner, self.inner_at = None, b"", 0
                return 0
            size = int.from_bytes(self.inner[self.inner_at + 9 : self.inner_at + 13], "little")
            if size < 19 or size > events.INFLATED_BYTES_MAX or not self._more(size):
                raise BinlogError(f"An event of {size} bytes in a compressed transaction", 19)
            event = self._inner(self.inner[self.inner_at : self.inner_at + size], size)
            if not self.resume:
                self.inner_at += size
        if event != FULL and len(self.inner) == self.inner_at and not self._more(1):
            self.payload, self.inner, self.inner_at = None, b"", 0
        return event

    @cython.cfunc
    def _inner(self, event: bytes, size: cython.Py_ssize_t) -> cython.int:
        self.kind = event[4]
        if self.kind == 40:
            raise BinlogError("A compressed transaction within another", 19)
        if cython.compiled:
            return self._dispatch(cython.cast(cython.p_const_uchar, PyBytes_AS_STRING(event)), event[4], size)
        return self._dispatch(event, event[4], size)

    @cython.cfunc
    def _more(self, size: cython.Py_ssize_t) -> cython.bint:
        """Have `size` bytes unpacked; False where there are not so many."""
        while len(self.inner) - self.inner_at < size:
            try:
                piece: bytes = self.payload.read(max(PIECE_BYTES, size))
            except (OSError, ValueError) as error:
                raise BinlogError("A compressed transaction that can't be unpacked", 19) from error
            if not piece:
                return False
            self.inner = self.inner[self.inner_at :] + piece
            self.inner_at = 0
        return True

    @cython.cfunc
    def _open_payload(self, body: bytes) -> cython.int:
        data, algorithm, size = events.payload(body)
        if algorithm == 255:
            raise BinlogError("A compressed transaction of which it is not told how it was compressed", 19)
        if algorithm != 0 or self.unpack is None:
            raise BinlogError(f"A transaction that was compressed in an unknown way: {algorithm}", 19)
        self.payload = self.unpack(data, size)
        self.inner, self.inner_at = b"", 0
        return 0

    def take(self) -> Taken:
        """Everything gathered since the last take. An open transaction goes on with `txn` 0 and `seq` 0."""
        table: _Table
        for table in self.touched:
            self._close(table)
        taken = Taken(
            tuple(self.batches),
            self.ends,
            self.commits,
            self.seen,
            self.counts,
            self.rows_open if self.is_open else 0,
            self.places.text(self.file, self.safe),
            self.begin_us,
        )
        self.parted = self.is_open and (self.parted or self.rows_open > 0)
        self.forget()
        return taken


@cython.cfunc
def _same(p: cython.p_const_uchar, column: _Column) -> cython.bint:
    """Whether old and new value are the same bytes."""
    if column.old_size != column.new_size:
        return False
    if cython.compiled:
        return column.new_size < 0 or memcmp(p + column.old_at, p + column.new_at, column.new_size) == 0
    size = column.new_size
    return size < 0 or p[column.old_at : column.old_at + size] == p[column.new_at : column.new_at + size]


_GTIDS: dict[int, Callable[[bytes, int], events.Gtid]] = {
    events.MARIADB_GTID: events.mariadb_gtid,
    events.GTID: lambda body, _: events.mysql_gtid(body, False),
    events.ANONYMOUS_GTID: lambda body, _: events.mysql_gtid(body, True),
    events.GTID_TAGGED: lambda body, _: events.gtid_tagged(body),
}
_INFLATED = {166: 23, 167: 24, 168: 25, 169: 30, 170: 31, 171: 32}
_NOTICES = frozenset((events.FORMAT_DESCRIPTION, events.ROTATE, events.HEARTBEAT, events.HEARTBEAT_V2, events.INCIDENT, events.STOP))
_PASSED_OVER = frozenset(
    (
        events.INTVAR, events.RAND, events.USER_VAR, events.APPEND_BLOCK, events.DELETE_FILE, events.BEGIN_LOAD_QUERY, events.IGNORABLE,
        events.ROWS_QUERY, events.PREVIOUS_GTIDS, events.TRANSACTION_CONTEXT, events.VIEW_CHANGE, events.ANNOTATE_ROWS,
        events.BINLOG_CHECKPOINT, events.GTID_LIST, events.START_ENCRYPTION,
    )
)  # fmt: skip
"""Types that hold nothing for us: what a statement was made of (the statement itself is a notice), the text behind rows, the server's
own books."""


def _crc_tables() -> bytearray:
    """Eight tables of 256 for reading eight bytes at a time (CRC-32 as in zlib)."""
    first = []
    for i in range(256):
        value = i
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        first.append(value)
    tables = [first]
    for _ in range(7):
        before = tables[-1]
        tables.append([first[value & 255] ^ value >> 8 for value in before])
    return bytearray(array("I", [value for table in tables for value in table]).tobytes())


@cython.cfunc
def _checksum(store: bytearray, p: cython.p_const_uchar, size: cython.Py_ssize_t) -> cython.uint:
    """The CRC-32 of a piece, eight bytes at a time: an event is too short to call zlib for."""
    tables: cython.p_uint = cython.cast(cython.p_uint, PyByteArray_AS_STRING(store))
    crc: cython.uint = 0xFFFFFFFF
    at: cython.Py_ssize_t = 0
    low: cython.uint
    high: cython.uint
    while size - at >= 8:
        low = crc ^ (p[at] | (p[at + 1] << 8) | (p[at + 2] << 16) | (cython.cast(cython.uint, p[at + 3]) << 24))
        high = p[at + 4] | (p[at + 5] << 8) | (p[at + 6] << 16) | (cython.cast(cython.uint, p[at + 7]) << 24)
        crc = (
            tables[1792 + (low & 255)] ^ tables[1536 + ((low >> 8) & 255)] ^ tables[1280 + ((low >> 16) & 255)] ^ tables[1024 + (low >> 24)]
            ^ tables[768 + (high & 255)] ^ tables[512 + ((high >> 8) & 255)] ^ tables[256 + ((high >> 16) & 255)] ^ tables[high >> 24]
        )  # fmt: skip
        at += 8
    while at < size:
        crc = (crc >> 8) ^ tables[(crc ^ p[at]) & 255]
        at += 1
    return ~crc
