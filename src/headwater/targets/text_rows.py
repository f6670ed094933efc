"""From Arrow columns to text rows, which PostgreSQL's COPY and MySQL's LOAD DATA read in bulk. Compiled code on whole columns.

Rows are made in pieces of about four megabytes: the server works on one while the next
is being made. A row begins with the newline of the one before it: that way only the first column is copied once more, and a
piece goes out as Arrow made it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

PIECE_BYTES = 4 << 20

_COPY_ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"))


def copy_rows(batch: pa.RecordBatch) -> Iterator[bytes | memoryview]:
    """The batch as text rows (tab, `\\N`, newline, backslash escapes), in pieces that don't end with rows."""
    rows = max(1, batch.num_rows * PIECE_BYTES // max(batch.nbytes, 1))
    for start in range(0, batch.num_rows, rows):
        piece = _piece([column.slice(start, rows) for column in batch.columns])
        yield piece[1:] if start == 0 else piece
    if batch.num_rows:
        yield b"\n"


def sorted_by_key(batch: pa.RecordBatch, key: Sequence[str]) -> pa.RecordBatch:
    """The rows by the length and then the bytes of their key, which for whole numbers without sign is their order.

    Neighbours in the index are neighbours on disk: it nearly doubles the rate of updates."""
    columns = [batch.column(name) for name in key]
    lengths = [pc.binary_length(column) for column in columns]
    parts = [part for pair in zip(lengths, columns, strict=True) for part in pair]
    table = pa.table(parts, names=[str(i) for i in range(len(parts))])
    return batch.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in table.column_names]))


def _piece(columns: list[pa.Array]) -> memoryview:
    """Rows, each with a newline before it."""
    first, *others = [escape(column, _COPY_ESCAPES) for column in columns]
    nulls = {"null_handling": "replace", "null_replacement": b"\\N"}
    first = pc.binary_join_element_wise(b"", first, b"\n", **nulls)
    lines = pc.binary_join_element_wise(first, *others, b"\t", **nulls) if others else first
    return _text(lines)


def escape(values: pa.Array, escapes: tuple[tuple[bytes, bytes], ...]) -> pa.Array:
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
