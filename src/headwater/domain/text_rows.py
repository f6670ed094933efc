"""Text rows, as a copy reads them (see `Snapshot.read`), as columns. Row by row: only for rows that need to be looked at one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_MEANT = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def read_text_rows(block: bytes, names: Sequence[str]) -> pa.RecordBatch:
    """The rows of one block of whole text rows, as binary columns of these names."""
    rows = [line.split(b"\t") for line in bytes(block).split(b"\n")[:-1]]
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return pa.record_batch([pa.array([_value(field) for field in column], pa.binary()) for column in columns], names=list(names))


def _value(field: bytes) -> bytes | None:
    if field == b"\\N":
        return None
    return _ESCAPED.sub(lambda found: _MEANT.get(found[1], found[1]), field) if b"\\" in field else field
