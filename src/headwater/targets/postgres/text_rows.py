"""From Arrow columns to what PostgreSQL reads in bulk: COPY's text rows and array literals. Compiled code on whole columns.

Rows are made in pieces of about a megabyte: a piece stays in the processor's cache, and the server works on one while the next is
being made. A row begins with its newline rather than ending with it, since that way only the first column is
copied once more; the piece then drops the first byte and gets its last.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

PIECE_BYTES = 1 << 20

_COPY_ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"))
_ARRAY_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'))


def copy_rows(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The batch as COPY text (tab, `\\N`, newline, backslash escapes), in pieces of whole rows."""
    size = max(batch.nbytes, 1)
    rows = max(1, batch.num_rows * PIECE_BYTES // size)
    for start in range(0, batch.num_rows, rows):
        yield _piece([column.slice(start, rows) for column in batch.columns])


def array_literal(values: pa.Array) -> bytes:
    """The values, none of them null, as a PostgreSQL array literal: `{"a","b"}`."""
    quoted = pc.binary_join_element_wise(b'"', _escape(values, _ARRAY_ESCAPES), b'"', b"")
    whole = pa.ListArray.from_arrays(pa.array([0, len(quoted)], pa.int32()), quoted)
    return b"{" + bytes(pc.binary_join(whole, b",")[0].as_buffer()) + b"}"


def _piece(columns: list[pa.Array]) -> bytes:
    first, *others = [_escape(column, _COPY_ESCAPES) for column in columns]
    nulls = {"null_handling": "replace", "null_replacement": b"\\N"}
    first = pc.binary_join_element_wise(b"", first, b"\n", **nulls)
    lines = pc.binary_join_element_wise(first, *others, b"\t", **nulls) if others else first
    return bytes(_text(lines)[1:]) + b"\n"


def _escape(values: pa.Array, escapes: tuple[tuple[bytes, bytes], ...]) -> pa.Array:
    """Replace what has a meaning of its own, where there is any."""
    text = bytes(_text(values))
    for plain, escaped in escapes:
        if plain in text:
            values = pc.replace_substring(values, pattern=plain, replacement=escaped)
    return values


def _text(values: pa.Array) -> memoryview:
    """All values of a binary array, one after the other, without a copy."""
    _, offsets, data = values.buffers()
    if data is None or not len(values):
        return memoryview(b"")
    ends = memoryview(offsets).cast("i")
    return memoryview(data)[ends[values.offset] : ends[values.offset + len(values)]]
