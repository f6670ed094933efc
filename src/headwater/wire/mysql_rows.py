"""MySQL's stream of result rows as text rows: packets in, blocks of a copy out (`ports/source.py`, `Snapshot.read`).

The server puts each row into a packet of its own, each value with its length in front. Making lines of them is compiled work (pure-Python
mode, see `pgoutput.py`). The packets are those of the text protocol: a row, an error (first byte 0xFF), or the end (0xFE, shorter than nine
bytes); a payload of 16 MiB - 1 goes on in the next packet. No I/O.
"""

# mypy: disable-error-code="untyped-decorator,import-untyped,no-untyped-call"
# (Cython is not typed.)

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING
    from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
    from cython.cimports.libc.stdlib import free, malloc, realloc
    from cython.cimports.libc.string import memcpy

TEXT, PLAIN, BYTES, NUMBER, INSTANT, BITS = range(6)
"""What a value becomes. TEXT: as it is, escaped. PLAIN: as it is, nothing in it needs that. BYTES: `\\x` and hexadecimal digits. NUMBER: a
number without the zeros that fill it up. INSTANT: with `+00` behind it. BITS + n: n binary digits."""

HEAD_BYTES = 4
PAYLOAD_MAX = 0xFFFFFF


class RowError(ValueError):
    """Bytes that are not a row of as many values as were asked for."""


def rows(stream: bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t, kinds: bytes) -> tuple[bytes, int]:
    """The whole rows from `start` on as text rows, and the place behind them.

    Ends in front of a packet that is no row, that goes on in the next one, or of which a part is missing before `end`.

    Raises:
        RowError: a row does not have a value for each of the kinds.
    """
    if not cython.compiled:
        return _rows_plain(stream, start, end, kinds)
    at: cython.Py_ssize_t = start
    size: cython.Py_ssize_t
    filled: cython.Py_ssize_t = 0
    made: cython.Py_ssize_t
    room: cython.Py_ssize_t = 2 * (end - start) + 4096
    needed: cython.Py_ssize_t
    count: cython.Py_ssize_t = len(kinds)
    kind: cython.p_const_uchar = cython.cast(cython.p_const_uchar, PyBytes_AS_STRING(kinds))
    p: cython.p_const_uchar = cython.cast(cython.p_const_uchar, PyByteArray_AS_STRING(stream))
    out: cython.p_uchar = cython.cast(cython.p_uchar, malloc(room))
    if out == cython.NULL:
        raise MemoryError
    try:
        while end - at >= 4:
            size = p[at] | (p[at + 1] << 8) | (p[at + 2] << 16)
            if size > end - at - 4 or size == 0xFFFFFF or _is_other(p + at + 4, size):
                break
            needed = filled + 2 * size + 80 * count + 2
            if needed > room:
                room = needed + (room >> 1)
                out = _grown(out, room)
            made = _row(p + at + 4, size, kind, count, out + filled)
            if made < 0:
                raise RowError("A row of the server ends too early or too late")
            filled += made
            at += 4 + size
        return PyBytes_FromStringAndSize(cython.cast(cython.p_char, out), filled), at
    finally:
        free(out)


def row(payload: bytes, kinds: bytes) -> bytes:
    """One row, from its whole payload, as a text row. For those that don't fit into one packet."""
    fields, at = [], 0
    for kind in kinds:
        value, at = _value(payload, at)
        fields.append(b"\\N" if value is None else _text(value, kind))
    if at != len(payload):
        raise RowError("A row of the server ends too early or too late")
    return b"\t".join(fields) + b"\n"


def is_row(payload: bytes) -> bool:
    """Whether it is a row, and not the end of them or an error."""
    return bool(payload) and payload[0] != 0xFF and not (payload[0] == 0xFE and len(payload) < 9)


@cython.cfunc
def _grown(out: cython.p_uchar, room: cython.Py_ssize_t) -> cython.p_uchar:
    made: cython.p_uchar = cython.cast(cython.p_uchar, realloc(out, room))
    if made == cython.NULL:
        raise MemoryError
    return made


@cython.cfunc
@cython.exceptval(check=False)
def _is_other(p: cython.p_const_uchar, size: cython.Py_ssize_t) -> cython.bint:
    return size == 0 or p[0] == 0xFF or (p[0] == 0xFE and size < 9)


@cython.cfunc
@cython.exceptval(check=False)
def _row(
    p: cython.p_const_uchar, size: cython.Py_ssize_t, kinds: cython.p_const_uchar, count: cython.Py_ssize_t, out: cython.p_uchar
) -> cython.Py_ssize_t:
    """Write one row; how many bytes that took, -1 where the payload does not hold as many values."""
    at: cython.Py_ssize_t = 0
    to: cython.Py_ssize_t = 0
    length: cython.Py_ssize_t
    width: cython.Py_ssize_t
    i: cython.Py_ssize_t
    k: cython.Py_ssize_t
    for i in range(count):
        if at >= size:
            return -1
        if p[at] == 0xFB:
            out[to] = 92  # \N
            out[to + 1] = 78
            out[to + 2] = 9
            to += 3
            at += 1
            continue
        if p[at] < 0xFB:
            length = p[at]
            at += 1
        else:
            if p[at] == 0xFF:
                return -1
            width = 2 if p[at] == 0xFC else 3 if p[at] == 0xFD else 8
            if width > size - at - 1:
                return -1
            length = 0
            for k in range(width):
                if k >= 4 and p[at + 1 + k] != 0:
                    return -1
                if k < 4:
                    length |= cython.cast(cython.Py_ssize_t, p[at + 1 + k]) << (8 * k)
            at += 1 + width
        if length > size - at:
            return -1
        to += _written(p + at, length, kinds[i], out + to)
        at += length
        out[to] = 9
        to += 1
    if at != size:
        return -1
    out[to - 1] = 10
    return to


@cython.cfunc
@cython.exceptval(check=False)
def _digit(value: cython.uchar) -> cython.uchar:
    return 48 + value if value < 10 else 87 + value


@cython.cfunc
@cython.exceptval(check=False)
def _escaped(p: cython.p_const_uchar, size: cython.Py_ssize_t, out: cython.p_uchar) -> cython.Py_ssize_t:
    i: cython.Py_ssize_t = 0
    to: cython.Py_ssize_t = 0
    first: cython.Py_ssize_t = 0
    byte: cython.uchar
    while i < size:
        byte = p[i]
        if byte == 92 or byte == 9 or byte == 10 or byte == 13:
            memcpy(out + to, p + first, i - first)
            to += i - first
            out[to] = 92
            out[to + 1] = 92 if byte == 92 else 116 if byte == 9 else 110 if byte == 10 else 114
            to += 2
            first = i + 1
        i += 1
    memcpy(out + to, p + first, size - first)
    return to + size - first


@cython.cfunc
@cython.exceptval(check=False)
def _written(p: cython.p_const_uchar, size: cython.Py_ssize_t, kind: cython.uchar, out: cython.p_uchar) -> cython.Py_ssize_t:
    i: cython.Py_ssize_t = 0
    to: cython.Py_ssize_t = 0
    first: cython.Py_ssize_t = 0
    if kind == 0:
        return _escaped(p, size, out)
    if kind == 2:
        out[0] = out[1] = 92
        out[2] = 120
        for i in range(size):
            out[3 + 2 * i] = _digit(p[i] >> 4)
            out[4 + 2 * i] = _digit(p[i] & 15)
        return 3 + 2 * size
    if kind >= 5:
        for i in range(kind - 5):
            to = kind - 5 - 1 - i
            first = size - 1 - (i >> 3)
            out[to] = 48 + ((p[first] >> (i & 7)) & 1) if first >= 0 else 48
        return kind - 5
    if kind == 3:
        first = 1 if size and p[0] == 45 else 0
        i = first
        while i < size - 1 and p[i] == 48 and p[i + 1] != 46:
            i += 1
        if first:
            out[0] = 45
        memcpy(out + first, p + i, size - i)
        return first + size - i
    memcpy(out, p, size)
    if kind == 4:
        out[size] = 43
        out[size + 1] = out[size + 2] = 48
        return size + 3
    return size


def _rows_plain(stream: bytearray, start: int, end: int, kinds: bytes) -> tuple[bytes, int]:
    data = bytes(memoryview(stream)[:end])
    made, at = [], start
    while end - at >= HEAD_BYTES:
        size = int.from_bytes(data[at : at + 3], "little")
        payload = data[at + 4 : at + 4 + size]
        if len(payload) < size or size == PAYLOAD_MAX or not is_row(payload):
            break
        made.append(row(payload, kinds))
        at += 4 + size
    return b"".join(made), at


def _value(payload: bytes, at: int) -> tuple[bytes | None, int]:
    """The value at a place, None for NULL, and the place behind it."""
    if at >= len(payload) or payload[at] == 0xFF:
        raise RowError("A row of the server ends too early or too late")
    first, at = payload[at], at + 1
    if first == 0xFB:
        return None, at
    width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0)
    size = int.from_bytes(payload[at : at + width], "little") if width else first
    at += width
    if size > len(payload) - at:
        raise RowError("A row of the server ends too early or too late")
    return payload[at : at + size], at + size


def _text(value: bytes, kind: int) -> bytes:
    if kind == TEXT:
        return value.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    if kind == BYTES:
        return b"\\\\x" + value.hex().encode()
    if kind == INSTANT:
        return value + b"+00"
    if kind == NUMBER:
        sign, digits = (value[:1], value[1:]) if value.startswith(b"-") else (b"", value)
        bare = digits.lstrip(b"0")
        return sign + (b"0" + bare if digits[:1] == b"0" and (not bare or bare.startswith(b".")) else bare)
    return value if kind == PLAIN else f"{int.from_bytes(value, 'big'):0{kind - BITS}b}"[-(kind - BITS) :].encode()
