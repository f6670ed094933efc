"""COPY text and array literals from Arrow columns."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.targets import text_rows
from headwater.targets.postgres.arrays import array_literal
from headwater.targets.text_rows import copy_rows

ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}

texts = st.text(st.sampled_from("ab\\\t\n\r,{}\"'%Nä"), max_size=6)
tables = st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[st.none() | texts] * width), max_size=30))


def plain(row: tuple[str | None, ...]) -> str:
    """A row as PostgreSQL's documentation tells."""
    return "\t".join("\\N" if v is None else "".join(ESCAPES.get(c, c) for c in v) for v in row) + "\n"


@given(table=tables, start=st.integers(0, 5), piece=st.sampled_from([1, 40, 1 << 20]))
def test_rows_equal_those_made_one_by_one(table: list[tuple[str | None, ...]], start: int, piece: int) -> None:
    width = len(table[0]) if table else 1
    columns = [pa.array([None if row[i] is None else (row[i] or "").encode() for row in table], pa.binary()) for i in range(width)]
    batch = pa.record_batch(columns, names=[str(i) for i in range(width)]).slice(start)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_rows, "PIECE_BYTES", piece)
        assert b"".join(copy_rows(batch)).decode() == "".join(map(plain, table[start:]))


@given(values=st.lists(texts, max_size=10), start=st.integers(0, 3))
def test_array_literals_quote_every_value(values: list[str], start: int) -> None:
    array = pa.array([v.encode() for v in values], pa.binary()).slice(start)
    quoted = ['"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values[start:]]
    assert array_literal(array).decode() == "{" + ",".join(quoted) + "}"
