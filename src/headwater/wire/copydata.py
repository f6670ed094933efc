"""PostgreSQL's message stream while a COPY runs: rows without their heads, and the few other messages that come between.

The server puts each row into a message of its own. Taking a stretch of rows out in one go is compiled work (pure-Python mode, see
`pgoutput.py`); one object per row would cost several times as much as all the rest of the copy. No I/O.
"""

# mypy: disable-error-code="untyped-decorator,import-untyped"
# (Cython is not typed.)

from __future__ import annotations

import struct

import cython

if cython.compiled:
    from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING
    from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
    from cython.cimports.libc.string import memcpy

HEAD_BYTES = 5


class StreamError(ValueError):
    """Bytes that are not PostgreSQL's protocol."""


def query(statement: bytes) -> bytes:
    """A simple query."""
    return struct.pack("!cI", b"Q", len(statement) + 5) + statement + b"\0"


def copy_data(payload: bytes) -> bytes:
    """A CopyData message to the server."""
    return struct.pack("!cI", b"d", len(payload) + 4) + payload


def message_end(stream: bytearray, start: int) -> int:
    """Where the message that begins at `start` ends; its head must be there.

    Raises:
        StreamError: the length can't be one.
    """
    (size,) = struct.unpack_from("!I", stream, start + 1)
    if size < 4:
        raise StreamError(f"A message of {size} bytes")
    return start + 1 + int(size)


def fields(payload: bytes) -> dict[str, str]:
    """The fields of an error or a notice by their letter: `C` the SQLSTATE, `M` the message, `S` or `V` the severity."""
    made = {}
    for field in payload.split(b"\0"):
        if field:
            made[chr(field[0])] = field[1:].decode("utf-8", "replace")
    return made


def rows(stream: bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> tuple[bytes, int]:
    """The payloads of the whole CopyData messages from `start` on, joined, and the place behind them.

    Ends in front of a message of another kind, or of which a part is missing before `end`.
    """
    at: cython.Py_ssize_t = start
    size: cython.Py_ssize_t
    total: cython.Py_ssize_t = 0
    if not cython.compiled:
        return _rows_plain(stream, start, end)
    p: cython.p_const_uchar = cython.cast(cython.p_const_uchar, PyByteArray_AS_STRING(stream))
    while end - at >= 5 and p[at] == 100:
        size = (cython.cast(cython.Py_ssize_t, p[at + 1]) << 24) | (p[at + 2] << 16) | (p[at + 3] << 8) | p[at + 4]
        if size < 4 or size > end - at - 1:
            break
        total += size - 4
        at += 1 + size
    made: bytes = PyBytes_FromStringAndSize(cython.NULL, total)
    target: cython.p_char = PyBytes_AS_STRING(made)
    stop: cython.Py_ssize_t = at
    at = start
    while at < stop:
        size = (cython.cast(cython.Py_ssize_t, p[at + 1]) << 24) | (p[at + 2] << 16) | (p[at + 3] << 8) | p[at + 4]
        memcpy(target, p + at + 5, size - 4)
        target += size - 4
        at += 1 + size
    return made, stop


def _rows_plain(stream: bytearray, start: int, end: int) -> tuple[bytes, int]:
    data = bytes(memoryview(stream)[:end])
    payloads = []
    at = start
    while end - at >= HEAD_BYTES and data[at] == 100:
        stop = at + 1 + int.from_bytes(data[at + 1 : at + 5])
        if stop > end or stop < at + HEAD_BYTES:
            break
        payloads.append(data[at + 5 : stop])
        at = stop
    return b"".join(payloads), at
