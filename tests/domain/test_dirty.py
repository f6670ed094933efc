"""A set-aside row lies over the target's table: what later changes of its key become."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.dirty import DirtyRow, Key, Values, fold, key_text, read_key, rows_with, touched
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.merge import MergeStep, Move
from headwater.domain.tables import TableName
from headwater.domain.text_rows import read_text_rows

NAME = TableName("public", "t")
PAIRS = (ColumnPair("id", "id", key=True), ColumnPair("n", "n", key=True), ColumnPair("a", "a"), ColumnPair("big", "big"))
MAPPING = TableMapping("m", NAME, NAME, PAIRS, frozenset({"INSERT", "UPDATE", "DELETE"}))
K: Key = (b"1", b"x")
WHOLE = DirtyRow("write", {"id": b"1", "n": b"x", "a": b"bad", "big": b"B"})
SOME = DirtyRow("update", {"id": b"1", "n": b"x", "a": b"bad"})
GONE = DirtyRow("delete", {"id": b"1", "n": b"x"})


def batch(*rows: tuple[bytes | None, ...], names: tuple[str, ...] = ("id", "n", "a", "big")) -> pa.RecordBatch:
    return pa.record_batch([pa.array(column, pa.binary()) for column in zip(*rows, strict=True)], names=list(names))


UPDATE = batch((b"1", b"x", b"ok"), (b"2", b"x", b"ok"), names=("id", "n", "a"))
OTHER = batch((b"2", b"x", b"ok"), names=("id", "n", "a"))


def test_an_update_that_lacks_values_is_completed_from_the_row_that_was_set_aside() -> None:
    step = fold(MAPPING, MergeStep(partials=(UPDATE,)), {K: WHOLE})
    assert step.partials == (OTHER,)
    assert step.upserts == batch((b"1", b"x", b"ok", b"B"))


def test_an_update_over_an_update_knows_what_both_know() -> None:
    over = batch((b"1", b"x", b"C"), names=("id", "n", "big"))
    step = fold(MAPPING, MergeStep(partials=(over,)), {K: SOME})
    assert step.partials == (batch((b"1", b"x", b"bad", b"C")),)
    assert step.upserts is None


def test_an_update_of_a_row_that_has_to_go_is_nothing() -> None:
    step = fold(MAPPING, MergeStep(partials=(UPDATE,)), {K: GONE})
    assert step == MergeStep(partials=(OTHER,))


def test_an_insert_at_a_set_aside_key_may_meet_the_old_row() -> None:
    new = batch((b"1", b"x", b"ok", b"N"), (b"3", b"x", b"ok", b"N"))
    step = fold(MAPPING, MergeStep(inserts=new), {K: GONE})
    assert (step.inserts, step.upserts) == (new.slice(1), new.slice(0, 1))


def test_keys_are_found_by_all_their_columns() -> None:
    wanted = {(b"1", b"x"), (b"2", b"y")}
    rows = batch((b"1", b"y"), (b"2", b"y"), (b"1", b"x"), (b"3", b"x"), names=("id", "n"))
    assert rows_with(MAPPING, rows, wanted) == {1: (b"2", b"y"), 2: (b"1", b"x")}
    assert touched(MAPPING, MergeStep(truncate=True), wanted) == wanted
    assert touched(MAPPING, MergeStep(moves=(Move(K, {"id": b"2", "n": b"x"}),)), {K, (b"2", b"x")}) == {K, (b"2", b"x")}


values = st.none() | st.binary(max_size=8)


@given(st.dictionaries(st.sampled_from(["a", "b", 'c"']), values), st.tuples(values, values))
def test_rows_and_keys_survive_as_text(row: Values, key: Key) -> None:
    assert DirtyRow.read(DirtyRow("write", row).text()) == DirtyRow("write", row)
    assert read_key(key_text(key)) == key


def test_text_rows_become_columns() -> None:
    block = b"1\t\\N\ta\\tb\\\\\\n\n2\t\t\\N\n"
    assert read_text_rows(block, ["id", "n", "a"]).to_pylist() == [
        {"id": b"1", "n": None, "a": b"a\tb\\\n"}, {"id": b"2", "n": b"", "a": None}
    ]  # fmt: skip
    assert read_text_rows(b"", ["id"]).num_rows == 0
