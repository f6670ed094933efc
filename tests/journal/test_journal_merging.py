"""Small frames are merged, and nobody who reads can tell, but for the speed."""

from __future__ import annotations

import pytest

from headwater.domain.changes import ChangeBatch, Frame, Op
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.journal.codec import cut, merge
from headwater.journal.consolidate import FAN_IN, SMALL_ROWS
from headwater.testing.rows import Change, Transaction, frame
from tests.journal import histories
from tests.journal.conftest import Journals

A = TableSchema(TableName("s", "a"), (Column("id", "bigint", key=True), Column("text", "text")))
WIDER = TableSchema(A.table, (*A.columns, Column("more", "int")))


def one(offset: int, schema: TableSchema, unchanged: frozenset[str] = frozenset()) -> Frame:
    values = {c.name: b"%d" % offset for c in schema.columns if c.name not in unchanged}
    return frame([Transaction(f"0/{offset:X}", offset, (Change(schema, Op.UPDATE, values, unchanged),))], offset)


def values(batch: ChangeBatch) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = batch.data.to_pylist()
    return rows


def test_small_frames_become_few_and_stay_the_same_history(journals: Journals) -> None:
    writer, reader = journals.writer(), journals.reader()
    for offset in range(FAN_IN * 40):
        writer.append([histories.whole([offset])], f"{offset}", offset)
    placed = list(reader.read(0))
    assert len(placed) < 3 * FAN_IN
    assert histories.check(placed, 0) == FAN_IN * 40
    for offset in range(0, FAN_IN * 40, 37):
        assert histories.check(list(reader.read(offset)), offset) == FAN_IN * 40
        assert reader.stamp(offset) == histories.stamp_of(offset)


def test_seek_is_exact_across_merged_frames(journals: Journals) -> None:
    writer, reader = journals.writer(), journals.reader()
    count = FAN_IN * 3 + 5
    for offset in range(count):
        writer.append([histories.whole([offset])], f"{offset}", offset)
    for time_us in range(histories.stamp_of(0), histories.stamp_of(count), 5):
        expected = next((o for o in range(count) if histories.stamp_of(o) >= time_us), count)
        assert reader.seek(time_us) == expected


def test_a_reader_in_the_middle_does_not_notice(journals: Journals) -> None:
    writer, reader = journals.writer(), journals.reader()
    for offset in range(FAN_IN - 1):
        writer.append([histories.whole([offset])], f"{offset}", offset)
    reading = reader.read(0)
    placed = [next(reading) for _ in range(5)]
    for offset in range(FAN_IN - 1, FAN_IN * 4):
        writer.append([histories.whole([offset])], f"{offset}", offset)
    assert histories.check([*placed, *reading], 0) == FAN_IN * 4


def test_merging_goes_on_after_the_writer_is_opened_again(journals: Journals) -> None:
    for offset in range(FAN_IN * 2):
        writer = journals.writer()
        writer.append([histories.whole([offset])], f"{offset}", offset)
        writer.close()
    placed = list(journals.reader().read(0))
    assert len(placed) == 2
    assert histories.check(placed, 0) == FAN_IN * 2


def test_nothing_is_merged_across_a_break_or_a_large_frame_or_parts(journals: Journals) -> None:
    writer, reader = journals.writer(), journals.reader()
    for offset in range(FAN_IN - 1):
        writer.append([histories.whole([offset])], f"{offset}", offset)
    writer.break_history("x", "lost", 1)
    writer.append([histories.whole([FAN_IN])], "x", 2)
    assert len(list(reader.read(FAN_IN))) == 1
    at = FAN_IN + 1
    writer.append([histories.whole(range(at, at + SMALL_ROWS + 1))], "x", 3)
    at += SMALL_ROWS + 1
    for offset in range(at, at + FAN_IN - 1):
        writer.append([histories.whole([offset])], f"{offset}", offset)
    writer.append(histories.parts(at + FAN_IN - 1), "x", 4)
    placed = list(reader.read(FAN_IN))
    assert len(placed) == 1 + 1 + FAN_IN - 1 + len(histories.parts(at + FAN_IN - 1))
    assert histories.check(placed, FAN_IN) == at + FAN_IN


@pytest.mark.parametrize("reopened", [False, True])
def test_a_break_at_the_end_is_kept_over_a_restart(journals: Journals, reopened: bool) -> None:
    writer = journals.writer()
    for offset in range(FAN_IN // 2):
        writer.append([histories.whole([offset])], f"{offset}", offset)
    writer.break_history("x", "lost", 1)
    if reopened:
        writer.close()
        writer = journals.writer()
    behind = FAN_IN // 2 + 1
    for offset in range(behind, behind + FAN_IN):
        writer.append([histories.whole([offset])], f"{offset}", offset)
    assert histories.check(list(journals.reader().read(behind)), behind) == behind + FAN_IN


def test_merged_batches_keep_schemas_apart_and_unchanged_marks() -> None:
    merged = merge([one(0, A), one(1, A, frozenset({"text"})), one(2, WIDER), one(3, A)])
    assert [b.schema for b in merged.batches] == [A, WIDER, A]
    assert [row["_seq"] for b in merged.batches for row in values(b)] == [0, 1, 2, 3]
    assert [row["_txn"] for b in merged.batches for row in values(b)] == [0, 1, 2, 3]
    assert [row["~1"] for row in values(merged.batches[0])] == [False, True]
    assert [row["text"] for row in values(merged.batches[0])] == [b"0", None]
    assert merged.transactions.num_rows == 4


@pytest.mark.parametrize("skip", range(5))
def test_cutting_is_the_opposite_of_merging(skip: int) -> None:
    frames = [histories.whole([offset]) for offset in range(4)]
    rest = cut(merge(frames), skip)
    assert rest.transactions.to_pylist() == [row for f in frames[skip:] for row in f.transactions.to_pylist()]
    got = sorted((row["_txn"], str(b.schema.table), row["id"]) for b in rest.batches for row in values(b))
    assert got == sorted((i, table, b"%d" % id_) for i, o in enumerate(range(skip, 4)) for table, id_ in histories.rows_of(o))
