"""Histories whose content follows from the offset, so that whoever reads them can tell whether they are right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headwater.domain.changes import Frame, Op
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.ports.journal import Placed
from headwater.testing.rows import Change, Transaction, frame

TABLES = tuple(TableSchema(TableName("s", name), (Column("id", "bigint", key=True), Column("text", "text"))) for name in "abc")


def rows_of(offset: int) -> list[tuple[str, int]]:
    """The changes of the transaction at `offset`: table and id."""
    return [(str(TABLES[(offset + i) % 3].table), offset * 100 + i) for i in range(1 + offset % 4)]


def transaction(offset: int, take: slice = slice(None)) -> Transaction:
    """The transaction at `offset`, or some of its changes. Stamps run backward now and then."""
    tables = {str(t.table): t for t in TABLES}
    changes = tuple(
        Change(tables[table], Op.INSERT, {"id": str(i).encode(), "text": (f"{i:x}" * 20).encode()}) for table, i in rows_of(offset)[take]
    )
    return Transaction(f"0/{offset:X}", stamp_of(offset), changes)


def stamp_of(offset: int) -> int:
    """Its commit stamp."""
    return 1_000_000 + offset * 10 - (25 if offset % 7 == 3 else 0)


def whole(offsets: Iterable[int]) -> Frame:
    """One frame of these transactions."""
    transactions = [transaction(offset) for offset in offsets]
    return frame(transactions, seen_us=max(t.commit_us for t in transactions))


def parts(offset: int) -> list[Frame]:
    """The same transaction in one part per change."""
    count = len(rows_of(offset))
    return [frame([transaction(offset, slice(i, i + 1))], stamp_of(offset), i, i == count - 1) for i in range(count)]


def check(placed: Sequence[Placed], first: int, tables: frozenset[str] | None = None) -> int:
    """Assert that the frames are exactly the history from `first` on; returns the offset after it."""
    expected, got = first, []
    for one in placed:
        assert one.first_offset == expected
        names = one.frame.transactions.column(0).to_pylist()
        assert names == [f"0/{expected + i:X}" for i in range(len(names))]
        found = [
            (seq, expected + txn, str(batch.schema.table), int(value))
            for batch in one.frame.batches
            for seq, txn, value in zip(
                batch.data.column(0).to_pylist(), batch.data.column(1).to_pylist(), batch.value(0).to_pylist(), strict=True
            )
        ]
        assert len({seq for seq, *_ in found}) == len(found)
        got += [(offset, table, value) for _, offset, table, value in sorted(found)]
        expected = one.next_offset
    wanted = [(o, table, i) for o in range(first, expected) for table, i in rows_of(o) if tables is None or table in tables]
    assert got == wanted
    return expected
