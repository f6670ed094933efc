"""From Arrow columns to PostgreSQL's array literals. Compiled code on whole columns."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from headwater.targets.text_rows import escape

_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'))


def array_literal(values: pa.Array) -> bytes:
    """The values, none of them null, as a PostgreSQL array literal: `{"a","b"}`."""
    quoted = pc.binary_join_element_wise(b'"', escape(values, _ESCAPES), b'"', b"")
    whole = pa.ListArray.from_arrays(pa.array([0, len(quoted)], pa.int32()), quoted)
    return b"{" + bytes(pc.binary_join(whole, b",")[0].as_buffer()) + b"}"
