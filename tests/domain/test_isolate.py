"""Isolation finds exactly the rows that are refused, in few tries, and none that is only refused without the others."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.domain.errors import RowRefused
from headwater.domain.isolate import Part, Piece, TooMany, assemble, halves, isolate, parts, size
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.merge import MergedTable, MergeStep
from headwater.domain.tables import TableName

NAME = TableName("public", "t")
MAPPING = TableMapping("m", NAME, NAME, (ColumnPair("id", "id", key=True), ColumnPair("v", "v")), frozenset({"INSERT"}))


def rows(*ids: int) -> pa.RecordBatch:
    return pa.record_batch([[str(i).encode() for i in ids], [b"x"] * len(ids)], names=["id", "v"])


def ids_of(part: Part) -> list[int]:
    return [int(value) for piece in part for value in piece.rows.column("id").to_pylist()]


class Table:
    """Takes rows as long as `takes(row, what is there with the part)` holds for all of a part."""

    def __init__(self, takes: Callable[[int, set[int]], bool]) -> None:
        self.takes = takes
        self.there: set[int] = set()
        self.order: list[int] = []
        self.tries = 0

    def attempt(self, part: Part) -> RowRefused | None:
        self.tries += 1
        together = self.there | set(ids_of(part))
        if not all(self.takes(row, together) for row in ids_of(part)):
            return RowRefused("no")
        self.there = together
        self.order += ids_of(part)
        return None


@given(st.integers(1, 1000), st.data())
@settings(max_examples=40, deadline=None)
def test_bad_rows_are_found_in_a_logarithmic_number_of_tries(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=8))
    table = Table(lambda row, _: row not in bad)
    found = isolate([(Piece(MAPPING, "upserts", rows(*range(count))),)], table.attempt, count)
    assert {row for one in found for row in ids_of(one.part)} == bad
    assert table.there == set(range(count)) - bad
    assert sorted(table.order) == sorted(table.there), "nothing is written twice"
    assert table.tries <= 1 + 2 * len(bad) * (math.log2(count) + 2)


@given(st.integers(2, 200), st.data())
@settings(max_examples=60, deadline=None)
def test_rows_that_need_others_are_not_taken_for_bad(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, count - 1))
    parent = {row: data.draw(st.integers(row + 1, count)) for row in range(count)}  # in the wrong order; `count` is there already

    def takes(row: int, there: set[int]) -> bool:
        return row != bad and (parent[row] == count or parent[row] in there)

    def doomed(row: int) -> bool:
        return row == bad or (parent[row] != count and doomed(parent[row]))

    table = Table(takes)
    found = isolate([(Piece(MAPPING, "upserts", rows(*range(count))),)], table.attempt, count)
    assert {row for one in found for row in ids_of(one.part)} == {row for row in range(count) if doomed(row)}


def test_a_flood_ends_early() -> None:
    table = Table(lambda *_: False)
    with pytest.raises(TooMany):
        isolate([(Piece(MAPPING, "upserts", rows(*range(100_000))),)], table.attempt, 10)
    assert table.tries < 64


def test_halves_are_all_rows_in_order_whatever_their_tables() -> None:
    part = (
        Piece(MAPPING, "deletes", rows(1).select(["id"])),
        Piece(MAPPING, "upserts", rows(2, 3, 4)),
        Piece(MAPPING, "partials", rows(5)),
    )
    left, right = halves(part)
    assert (ids_of(left), ids_of(right), size(part)) == ([1, 2], [3, 4, 5], 5)


def test_a_level_comes_apart_and_together_again() -> None:
    step = MergeStep(deletes=rows(1).select(["id"]), inserts=rows(2), upserts=rows(3), partials=(rows(4),))
    removing, putting = parts([MergedTable(MAPPING, (step,), True)])
    assert [one.steps for one in assemble(removing)] == [(MergeStep(deletes=step.deletes),)]
    assert [one.steps[0] for one in assemble(putting)] == [
        MergeStep(inserts=step.inserts), MergeStep(upserts=step.upserts), MergeStep(partials=step.partials)
    ]  # fmt: skip
    assert all(one.exact for one in assemble(putting))
