"""From Arrow columns to the rows of an INSERT: values in parentheses. Compiled code on whole columns.

For few rows, which one statement brings in one round trip, and for servers that don't take `LOAD DATA LOCAL`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.errors import RowRefused
from headwater.targets.mysql.catalog import TargetColumn
from headwater.targets.mysql.values import BINARY
from headwater.targets.text_rows import escape

_END = 2**31 - 1
_ESCAPES = ((b"\\", b"\\\\"), (b"'", b"''"))


def value_rows(batch: pa.RecordBatch, columns: Sequence[TargetColumn], bytes_max: int) -> Iterator[bytes]:
    """The rows as lists of values, each list of at most so many bytes, or of one row.

    Raises RowRefused where a value for a binary column is not in hexadecimal digits."""
    values = [_values(column, array) for column, array in zip(columns, batch.columns, strict=True)]
    rows = pc.binary_join_element_wise(*values, b",") if len(values) > 1 else values[0]
    piece: list[bytes] = []
    size = 0
    for row in rows.to_pylist():
        if piece and size + len(row) > bytes_max:
            yield b"(" + b"),(".join(piece) + b")"
            piece, size = [], 0
        piece.append(row)
        size += len(row) + 3
    if piece:
        yield b"(" + b"),(".join(piece) + b")"


def _values(column: TargetColumn, texts: pa.Array) -> pa.Array:
    """The values of one column as they stand in a statement."""
    if column.data_type in BINARY:
        made = _bytes(column, texts)
    else:
        quoted = pc.binary_join_element_wise(b"'", escape(texts, _ESCAPES), b"'", b"")
        made = _read(column.reading, quoted) if column.reading else quoted
    nothing = column.reading.format(v="NULL") if column.reading else "NULL"
    return pc.fill_null(made, pa.scalar(nothing.encode(), pa.binary()))


def _read(reading: str, quoted: pa.Array) -> pa.Array:
    """The column's own expression over each text."""
    before, *after = reading.format(v="\0").encode().split(b"\0")
    parts: list[bytes | pa.Array] = [before]
    for piece in after:
        parts += [quoted, piece]
    return pc.binary_join_element_wise(*parts, b"")


def _bytes(column: TargetColumn, texts: pa.Array) -> pa.Array:
    wrong = pc.invert(pc.match_substring_regex(texts, pattern=rb"^\\x([0-9a-fA-F]{2})*$"))
    if pc.any(wrong).as_py():
        raise RowRefused(f"A value for column {column.name} is not in the form in which bytes travel. Map a column of bytes to it.")
    digits = pc.binary_slice(texts, 2, stop=_END)  # pyarrow 26 fails on a slice without an end ("Negative buffer resize")
    return pc.binary_join_element_wise(b"X'", digits, b"'", b"")
