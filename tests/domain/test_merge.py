"""Merging: what the steps look like, column by column; see also the properties in `test_merge_properties.py`."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest

from headwater.domain.changes import ChangeBatch, Op, batch_schema
from headwater.domain.errors import DecodeError, SchemaMismatch
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.merge import MergedTable, MergeStep, Move, merge
from headwater.domain.tables import Column, TableName, TableSchema

S = TableName("public", "s")
T = TableName("public", "t")
ALL = frozenset({"INSERT", "UPDATE", "DELETE"})
UNCHANGED = object()

IN, U, D, TR, KO, KN = Op.INSERT, Op.UPDATE, Op.DELETE, Op.TRUNCATE, Op.KEY_OLD, Op.KEY_NEW

Rows = Sequence[tuple[object, ...]]


def schema(*names: str, key: Sequence[str] = ("id",), kind: str = "text") -> TableSchema:
    return TableSchema(S, tuple(Column(n, "bigint" if n == "id" else kind, n in key) for n in names))


def changes(of: TableSchema, *rows: tuple[object, ...]) -> ChangeBatch:
    """Rows are (op, value ...); `UNCHANGED` marks a value as not sent."""
    unchanged = tuple(i for i in range(len(of.columns)) if any(row[i + 1] is UNCHANGED for row in rows))
    arrays: list[pa.Array] = [
        pa.array(range(len(rows)), pa.int32()),
        pa.array([0] * len(rows), pa.int32()),
        pa.array([int(row[0]) for row in rows], pa.uint8()),  # type: ignore[call-overload]
    ]
    sent = [[None if value in (None, UNCHANGED) else str(value).encode() for value in row[1:]] for row in rows]
    arrays += [pa.array([row[i] for row in sent], pa.binary()) for i in range(len(of.columns))]
    arrays += [pa.array([row[i + 1] is UNCHANGED for row in rows], pa.bool_()) for i in unchanged]
    return ChangeBatch(of, pa.RecordBatch.from_arrays(arrays, schema=batch_schema(of, unchanged)))


def to(*pairs: str, key: Sequence[str] = ("id",), operations: frozenset[str] = ALL) -> TableMapping:
    """Pairs are `source` or `source>target`."""
    columns = []
    for pair in pairs:
        source, _, target = pair.partition(">")
        columns.append(ColumnPair(source, target or source, source in key))
    return TableMapping("m", S, T, tuple(columns), operations)


def rows(batch: pa.RecordBatch | None) -> list[dict[str, bytes | None]]:
    return [] if batch is None else list(batch.to_pylist())


def only_step(merged: MergedTable) -> MergeStep:
    (step,) = merged.steps
    return step


IDA = schema("id", "a")


def test_nothing_gives_no_steps() -> None:
    assert merge(to("id", "a"), [], exact=True).steps == ()
    assert merge(to("id", "a"), [changes(IDA)], exact=False).steps == ()
    assert merge(to("id", "a"), [changes(IDA, (IN, 1, "x"), (D, 1, None))], exact=True).steps == ()


def test_columns_are_chosen_renamed_and_ordered_by_the_mapping() -> None:
    wide = schema("x", "id", "a", "b")
    step = only_step(merge(to("b>bee", "id>key_id"), [changes(wide, (IN, "x", 1, "a", "b"), (IN, None, 2, None, None))], exact=True))
    assert step.inserts is not None
    assert step.inserts.schema.names == ["bee", "key_id"]
    assert rows(step.inserts) == [{"bee": b"b", "key_id": b"1"}, {"bee": None, "key_id": b"2"}]
    assert step == MergeStep(inserts=step.inserts)


def test_one_source_column_may_fill_two_target_columns() -> None:
    step = only_step(merge(to("id", "a>first", "a>second"), [changes(IDA, (IN, 1, "v"))], exact=True))
    assert rows(step.inserts) == [{"id": b"1", "first": b"v", "second": b"v"}]


def test_batches_under_different_schemas_meet_by_name() -> None:
    before, after = schema("id", "a"), schema("new", "a", "id")
    batches = [changes(before, (IN, 1, "old"), (IN, 2, "old")), changes(after, (U, "n", "now", 1), (IN, "n", "three", 3))]
    step = only_step(merge(to("id", "a"), batches, exact=True))
    assert rows(step.inserts) == [{"id": b"1", "a": b"now"}, {"id": b"2", "a": b"old"}, {"id": b"3", "a": b"three"}]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(SchemaMismatch, match=r"public\.s no longer has the column a.*public\.t\.aa"):
        merge(to("id", "a>aa"), [changes(IDA, (IN, 1, "x")), changes(schema("id", "b"), (IN, 1, "x"))], exact=True)


def test_another_key_than_the_tables_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match=r"finds its rows by \(id\).*key \(a\)"):
        merge(to("id", "a", key=("a",)), [changes(IDA, (IN, 1, "x"))], exact=True)
    with pytest.raises(SchemaMismatch, match="NULL in id"):
        merge(to("id", "a"), [changes(IDA, (IN, None, "x"))], exact=True)


@pytest.mark.parametrize("exact", [True, False])
def test_first_and_last_change_decide(exact: bool) -> None:
    log = changes(
        IDA,
        (IN, 1, "a"), (U, 1, "b"),
        (IN, 2, "a"), (D, 2, None),
        (U, 3, "b"), (D, 3, None),
        (U, 4, "a"), (U, 4, None),
        (D, 5, None), (IN, 5, "again"),
        (D, 6, None),
    )  # fmt: skip
    step = only_step(merge(to("id", "a"), [log], exact=exact))
    inserts = [{"id": b"1", "a": b"b"}]
    upserts = [{"id": b"4", "a": None}, {"id": b"5", "a": b"again"}]
    assert rows(step.inserts) == (inserts if exact else [])
    assert rows(step.upserts) == (upserts if exact else inserts + upserts)
    assert rows(step.deletes) == [{"id": b"3"}, {"id": b"6"}] if exact else [{"id": b"2"}, {"id": b"3"}, {"id": b"6"}]


def test_keys_that_look_alike_are_told_apart() -> None:
    keyed = schema("k", "l", "v", key=("k", "l"))
    log = changes(keyed, (IN, "a", "bc", 1), (IN, "ab", "c", 2), (IN, "a", "bc ", 3), (U, "ab", "c", 4))
    step = only_step(merge(to("v", "l", "k", key=("k", "l")), [log], exact=True))
    assert [(r["k"], r["l"], r["v"]) for r in rows(step.inserts)] == [(b"a", b"bc", b"1"), (b"ab", b"c", b"4"), (b"a", b"bc ", b"3")]


def test_integers_beyond_the_type_are_still_told_apart() -> None:
    big = 2**64
    step = only_step(merge(to("id", "a"), [changes(IDA, (IN, big, "x"), (IN, big + 1, "y"))], exact=True))
    assert len(rows(step.inserts)) == 2


def test_unchanged_values_are_taken_from_the_stretch_or_left_out() -> None:
    three = schema("id", "a", "big")
    log = changes(
        three,
        (IN, 1, "a", "B1"), (U, 1, "b", UNCHANGED),
        (U, 2, "a", UNCHANGED), (U, 2, "b", UNCHANGED),
        (U, 3, "a", "B3"), (U, 3, "b", UNCHANGED),
        (U, 4, UNCHANGED, UNCHANGED),
        (U, 5, UNCHANGED, "B5"),
        (U, 6, "a", "B6"), (D, 6, None, None), (IN, 6, None, None),
    )  # fmt: skip
    step = only_step(merge(to("id", "a", "big"), [log], exact=True))
    assert rows(step.inserts) == [{"id": b"1", "a": b"b", "big": b"B1"}]
    assert rows(step.upserts) == [{"id": b"3", "a": b"b", "big": b"B3"}, {"id": b"6", "a": None, "big": None}]
    assert sorted((rows(p) for p in step.partials), key=str) == [[{"id": b"2", "a": b"b"}], [{"id": b"5", "big": b"B5"}]]


def test_a_new_row_without_all_its_values_is_an_error() -> None:
    with pytest.raises(DecodeError):
        merge(to("id", "a"), [changes(IDA, (IN, 1, UNCHANGED))], exact=True)


def test_a_key_change_with_all_values_is_a_delete_and_a_row() -> None:
    step = only_step(merge(to("id", "a"), [changes(IDA, (KO, 1, None), (KN, 2, "x"))], exact=True))
    assert rows(step.deletes) == [{"id": b"1"}]
    assert rows(step.inserts) == [{"id": b"2", "a": b"x"}]
    step = only_step(merge(to("id", "a"), [changes(IDA, (KO, 1, None), (KN, 2, "x"))], exact=False))
    assert (rows(step.deletes), rows(step.upserts)) == ([{"id": b"1"}], [{"id": b"2", "a": b"x"}])


def test_keys_that_swap_through_a_third() -> None:
    log = changes(IDA, (KO, 1, None), (KN, 9, "one"), (KO, 2, None), (KN, 1, "two"), (KO, 9, None), (KN, 2, "one"))
    step = only_step(merge(to("id", "a"), [log], exact=True))
    assert rows(step.upserts) == [{"id": b"1", "a": b"two"}, {"id": b"2", "a": b"one"}]
    assert (step.deletes, step.inserts) == (None, None)


def test_a_key_change_that_lacks_values_moves_the_row_at_its_place() -> None:
    three = schema("id", "a", "big")
    log = changes(
        three,
        (IN, 7, "seven", "B7"),
        (U, 1, "before", UNCHANGED),
        (KO, 1, None, None), (KN, 2, "moved", UNCHANGED),
        (KO, 2, None, None), (KN, 3, "again", UNCHANGED),
        (U, 3, "after", UNCHANGED),
        (IN, 1, "new", "B1"),
    )  # fmt: skip
    merged = merge(to("id>k", "a", "big"), [log], exact=True)
    rest, before, moves, after = merged.steps
    assert rows(rest.inserts) == [{"k": b"7", "a": b"seven", "big": b"B7"}]
    assert [rows(p) for p in before.partials] == [[{"k": b"1", "a": b"before"}]]
    assert moves == MergeStep(
        moves=(Move((b"1",), {"k": b"2", "a": b"moved"}), Move((b"2",), {"k": b"3", "a": b"again"})),
    )
    assert [rows(p) for p in after.partials] == [[{"k": b"3", "a": b"after"}]]
    assert rows(after.inserts) == [{"k": b"1", "a": b"new", "big": b"B1"}]


def test_a_key_change_finds_unchanged_values_in_the_stretch() -> None:
    three = schema("id", "a", "big")
    log = changes(three, (IN, 1, "a", "B"), (KO, 1, None, None), (KN, 2, "b", UNCHANGED), (KO, 2, None, None), (KN, 3, "c", UNCHANGED))
    step = only_step(merge(to("id", "a", "big"), [log], exact=True))
    assert step.moves == ()
    assert rows(step.inserts) == [{"id": b"3", "a": b"c", "big": b"B"}]


def test_a_key_that_was_left_for_one_merged_elsewhere_is_free_before_another_row_moves_there() -> None:
    three = schema("id", "a", "big")
    log = changes(
        three,
        (KO, 3, None, None), (KN, 1, "left", "B"),
        (U, 5, "stays", UNCHANGED),
        (KO, 5, None, None), (KN, 3, "moved", UNCHANGED),
    )  # fmt: skip
    rest, before, moves = merge(to("id", "a", "big"), [log], exact=True).steps
    assert rows(rest.inserts) == [{"id": b"1", "a": b"left", "big": b"B"}]
    assert rows(before.deletes) == [{"id": b"3"}]
    assert moves == MergeStep(moves=(Move((b"5",), {"id": b"3", "a": b"moved"}),))


def test_truncate_drops_what_was_before_and_makes_what_follows_new() -> None:
    log = changes(
        IDA, (IN, 1, "x"), (D, 8, None), (TR, None, None), (IN, 1, "y"), (IN, 2, "z"), (D, 2, None), (TR, None, None), (IN, 3, "w")
    )
    for exact in (True, False):
        step = only_step(merge(to("id", "a"), [log], exact=exact))
        assert step.truncate
        assert rows(step.inserts) == [{"id": b"3", "a": b"w"}]
        assert (step.deletes, step.upserts) == (None, None)
    assert only_step(merge(to("id", "a"), [changes(IDA, (IN, 1, "x"), (TR, None, None))], exact=True)) == MergeStep(truncate=True)


def test_mappings_whose_columns_are_all_key_have_nothing_to_update() -> None:
    two = schema("id", "k", "v", key=("id", "k"))
    mapping = to("id", "k", key=("id", "k"))
    log = changes(two, (U, 1, "a", "v"), (IN, 2, "b", "v"), (U, 2, "b", "w"), (D, 3, "c", None), (KO, 4, "d", None), (KN, 5, "d", "v"))
    step = only_step(merge(mapping, [log], exact=False))
    assert rows(step.upserts) == [{"id": b"2", "k": b"b"}, {"id": b"5", "k": b"d"}]
    assert rows(step.deletes) == [{"id": b"3", "k": b"c"}, {"id": b"4", "k": b"d"}]
    assert step.partials == ()


OPERATIONS_LOG = changes(
    IDA,
    (IN, 1, "new"), (U, 1, "changed"),
    (U, 2, "changed"),
    (D, 3, None),
    (KO, 4, None), (KN, 5, "moved"),
    (D, 6, None), (IN, 6, "again"),
)  # fmt: skip


def test_without_delete_rows_stay_and_reinserted_keys_are_written_over() -> None:
    step = only_step(merge(to("id", "a", operations=frozenset({"INSERT", "UPDATE"})), [OPERATIONS_LOG], exact=True))
    assert rows(step.deletes) == [{"id": b"4"}]
    assert [r["id"] for r in rows(step.upserts)] == [b"1", b"2", b"5", b"6"]
    assert step.inserts is None
    only_truncate = changes(IDA, (TR, None, None))
    assert merge(to("id", "a", operations=frozenset({"INSERT", "UPDATE"})), [only_truncate], exact=True).steps == ()


def test_without_update_the_inserted_version_is_written_and_keys_stay() -> None:
    step = only_step(merge(to("id", "a", operations=frozenset({"INSERT", "DELETE"})), [OPERATIONS_LOG], exact=True))
    assert rows(step.upserts) == [{"id": b"1", "a": b"new"}, {"id": b"6", "a": b"again"}]
    assert rows(step.deletes) == [{"id": b"3"}]


def test_without_insert_only_rows_that_stand_change() -> None:
    merged = merge(to("id", "a", operations=frozenset({"UPDATE", "DELETE"})), [OPERATIONS_LOG], exact=True)
    rest, moves = merged.steps
    assert [rows(p) for p in rest.partials] == [[{"id": b"1", "a": b"changed"}, {"id": b"2", "a": b"changed"}]]
    assert rows(rest.deletes) == [{"id": b"3"}, {"id": b"6"}]
    assert moves.moves == (Move((b"4",), {"id": b"5", "a": b"moved"}),)
    assert (rest.upserts, rest.inserts) == (None, None)


def test_sliced_batches_are_read_where_they_begin() -> None:
    whole = changes(schema("id", "a", "big"), (D, 1, None, None), (U, 2, "a", UNCHANGED), (U, 3, "b", "B"), (D, 4, None, None))
    part = ChangeBatch(whole.schema, whole.data.slice(1, 2))
    step = only_step(merge(to("id", "a", "big"), [part], exact=True))
    assert rows(step.upserts) == [{"id": b"3", "a": b"b", "big": b"B"}]
    assert [rows(p) for p in step.partials] == [[{"id": b"2", "a": b"a"}]]
    assert step.deletes is None
