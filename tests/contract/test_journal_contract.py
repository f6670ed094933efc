"""The contract of `ports/journal.py`, run over every implementation, the fake included."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from headwater.domain.changes import Frame, Op
from headwater.domain.errors import JournalError, OutOfWindow
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.journal import open_reader, open_writer
from headwater.ports.journal import JournalReader, JournalWriter, Placed, Retention
from headwater.testing.journal import MemoryJournal
from headwater.testing.rows import Change, Transaction, frame

A = TableSchema(TableName("s", "a"), (Column("id", "bigint", key=True), Column("text", "text")))
B = TableSchema(TableName("s", "b"), (Column("id", "bigint", key=True),))
KEEP = 1 << 60
EVERYTHING = Retention(KEEP, KEEP, KEEP)


@dataclass
class Journal:
    """One journal under test: opened as often as wanted."""

    writer: Callable[[], JournalWriter]
    reader: Callable[[], JournalReader]


def embedded(directory: Path) -> Journal:
    return Journal(lambda: open_writer(directory), lambda: open_reader(directory))


def memory(_: Path) -> Journal:
    made = MemoryJournal()
    return Journal(made.writer, made.reader)


@pytest.fixture(params=[embedded, memory])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    made: Journal = request.param(tmp_path / "journal")
    return made


@pytest.fixture
def writer(journal: Journal) -> Iterator[JournalWriter]:
    opened = journal.writer()
    yield opened
    opened.close()


@pytest.fixture
def reader(journal: Journal, writer: JournalWriter) -> Iterator[JournalReader]:
    opened = journal.reader()
    yield opened
    opened.close()


def change(number: int, schema: TableSchema = A) -> Change:
    values = {"id": str(number).encode(), "text": f"row {number}".encode()}
    return Change(schema, Op.INSERT, {c.name: values[c.name] for c in schema.columns})


def transaction(number: int, commit_us: int | None = None, schema: TableSchema = A, rows: int = 1) -> Transaction:
    changes = tuple(change(number * 1000 + i, schema) for i in range(rows))
    return Transaction(f"0/{number:X}", 1000 + 100 * number if commit_us is None else commit_us, changes)


def bulky(number: int) -> Transaction:
    """A transaction of about 400 kB that does not compress."""
    noise = random.Random(number)
    changes = tuple(Change(A, Op.INSERT, {"id": str(i).encode(), "text": noise.randbytes(400)}) for i in range(1000))
    return Transaction(f"0/{number:X}", 1000 + 100 * number, changes)


def whole(*transactions: Transaction) -> Frame:
    return frame(transactions, seen_us=max(t.commit_us for t in transactions) + 10)


def part(number: int, at: int, last: bool, rows: int = 2) -> Frame:
    one = transaction(number)
    changes = tuple(change(number * 1000 + at * rows + i) for i in range(rows))
    return frame([Transaction(one.position, one.commit_us, changes)], one.commit_us + 10, at, last)


def append(writer: JournalWriter, *numbers: int) -> int:
    """Append one frame of one-row transactions."""
    return writer.append([whole(*(transaction(n) for n in numbers))], f"0/{numbers[-1]:X}", 1050 + 100 * numbers[-1])


def positions(placed: list[Placed]) -> list[str]:
    return [p for one in placed for p in one.frame.transactions.column(0).to_pylist()]


def ids(placed: list[Placed]) -> list[int]:
    return [int(value) for one in placed for batch in one.frame.batches for value in batch.value(0).to_pylist()]


def test_an_empty_journal_has_nothing_and_is_nowhere(reader: JournalReader) -> None:
    end = reader.end()
    assert (end.next_offset, end.position, end.source_us) == (0, None, None)
    assert end.journal_id
    window = reader.window()
    assert (window.earliest_us, window.latest_us, window.first_offset, window.next_offset) == (None, None, 0, 0)
    assert list(reader.read(0)) == []
    assert reader.stamp(0) is None
    with pytest.raises(OutOfWindow):
        reader.seek(1)


def test_what_was_appended_is_read_in_order_with_its_values(writer: JournalWriter, reader: JournalReader) -> None:
    assert append(writer, 0, 1, 2) == 3
    assert append(writer, 3) == 4
    placed = list(reader.read(0))
    assert positions(placed) == ["0/0", "0/1", "0/2", "0/3"]
    assert ids(placed) == [0, 1000, 2000, 3000]
    assert placed[0].frame.batches[0].schema == A
    assert placed[0].frame.batches[0].value(1).to_pylist()[2] == b"row 2000"
    assert [p.next_offset for p in placed][-1] == 4


def test_the_end_moves_with_appends_and_heartbeats(writer: JournalWriter, reader: JournalReader) -> None:
    append(writer, 0)
    assert (reader.end().next_offset, reader.end().position, reader.end().source_us) == (1, "0/0", 1050)
    writer.heartbeat("0/F", 5000)
    assert (reader.end().next_offset, reader.end().position, reader.end().source_us) == (1, "0/F", 5000)
    assert writer.end() == reader.end()
    assert reader.window().latest_us == 5000


def test_an_append_without_frames_moves_only_the_position(writer: JournalWriter, reader: JournalReader) -> None:
    assert writer.append([], "0/9", 7000) == 0
    assert (reader.end().next_offset, reader.end().position) == (0, "0/9")
    assert list(reader.read(0)) == []


@pytest.mark.parametrize("offset", range(5))
def test_reading_starts_exactly_at_the_offset(writer: JournalWriter, reader: JournalReader, offset: int) -> None:
    append(writer, 0, 1, 2)
    append(writer, 3, 4)
    placed = list(reader.read(offset))
    assert placed[0].first_offset == offset
    assert positions(placed) == [f"0/{n:X}" for n in range(offset, 5)]
    assert ids(placed) == [n * 1000 for n in range(offset, 5)]
    assert placed[0].frame.batches[0].data.column(1)[0].as_py() == 0


def test_reading_at_the_end_is_empty_and_beyond_it_refused(writer: JournalWriter, reader: JournalReader) -> None:
    append(writer, 0)
    assert list(reader.read(1)) == []
    with pytest.raises(OutOfWindow):
        list(reader.read(2))


def test_an_iteration_reaches_what_was_appended_meanwhile(writer: JournalWriter, reader: JournalReader) -> None:
    append(writer, 0)
    reading = reader.read(0)
    first = next(reading)
    append(writer, 1)
    assert positions([first, *reading]) == ["0/0", "0/1"]


def test_other_tables_are_left_out_but_transactions_stay(writer: JournalWriter, reader: JournalReader) -> None:
    writer.append([whole(transaction(0), transaction(1, schema=B), transaction(2))], "0/2", 2000)
    placed = list(reader.read(0, frozenset({"s.b"})))
    assert positions(placed) == ["0/0", "0/1", "0/2"]
    assert ids(placed) == [1000]
    assert [b.schema for p in placed for b in p.frame.batches] == [B]
    assert ids(list(reader.read(0, frozenset({"s.nothing"})))) == []
    assert ids(list(reader.read(2, frozenset({"s.b"})))) == []


def test_two_schemas_of_a_table_are_both_kept(writer: JournalWriter, reader: JournalReader) -> None:
    wider = TableSchema(A.table, (*A.columns, Column("more", "int")))
    changed = Transaction("0/1", 1100, (Change(wider, Op.UPDATE, {"id": b"1", "text": None, "more": b"5"}, frozenset({"text"})),))
    writer.append([whole(transaction(0), changed)], "0/1", 2000)
    batches = next(iter(reader.read(0))).frame.batches
    assert [b.schema for b in batches] == [A, wider]
    assert batches[1].unchanged[1].to_pylist() == [True]


def test_parts_are_seen_only_when_the_last_one_is_there(writer: JournalWriter, reader: JournalReader) -> None:
    append(writer, 0)
    assert writer.append([part(1, 0, last=False)], "0/0", 1200) == 1
    assert writer.append([part(1, 1, last=False)], "0/0", 1300) == 1
    assert positions(list(reader.read(0))) == ["0/0"]
    assert list(reader.read(1)) == []
    assert reader.stamp(1) is None
    assert reader.seek(1100) == 1
    assert writer.append([part(1, 2, last=True), whole(transaction(2))], "0/2", 1400) == 3
    placed = list(reader.read(1))
    assert [(p.first_offset, p.frame.part, p.frame.last) for p in placed] == [(1, 0, False), (1, 1, False), (1, 2, True), (2, 0, True)]
    assert [p.next_offset for p in placed] == [1, 1, 2, 3]
    assert ids(placed) == [1000, 1001, 1002, 1003, 1004, 1005, 2000]
    assert reader.stamp(1) == 1100


def test_a_part_out_of_order_is_refused_with_nothing_kept(writer: JournalWriter, reader: JournalReader) -> None:
    append(writer, 0)
    with pytest.raises(JournalError):
        writer.append([whole(transaction(1)), part(2, 1, last=True)], "0/2", 1400)
    assert reader.end().next_offset in (1, 2)  # a fake may keep whole frames before the mistake
    writer.append([part(1, 0, last=False)], "0/0", 1200) if reader.end().next_offset == 1 else None


def test_opening_the_writer_again_removes_unfinished_parts(journal: Journal) -> None:
    first = journal.writer()
    append(first, 0)
    first.append([part(1, 0, last=False)], "0/0", 1200)
    first.close()
    second = journal.writer()
    assert second.end().next_offset == 1
    second.append([part(1, 0, last=False, rows=3), part(1, 1, last=True, rows=3)], "0/1", 1300)
    reader = journal.reader()
    assert ids(list(reader.read(1))) == [1000, 1001, 1002, 1003, 1004, 1005]
    reader.close()
    second.close()


def test_reopening_keeps_everything(journal: Journal) -> None:
    first = journal.writer()
    append(first, 0, 1)
    before = first.end()
    first.close()
    second = journal.writer()
    assert second.end() == before
    assert append(second, 2) == 3
    reader = journal.reader()
    assert positions(list(reader.read(0))) == ["0/0", "0/1", "0/2"]
    reader.close()
    second.close()


def test_seek_gives_the_first_transaction_at_or_after_the_time(writer: JournalWriter, reader: JournalReader) -> None:
    append(writer, 0, 1)  # stamps 1000, 1100
    append(writer, 2, 3)  # 1200, 1300
    assert [reader.seek(t) for t in (1000, 1001, 1100, 1101, 1200, 1300, 1301)] == [0, 1, 1, 2, 2, 3, 4]
    with pytest.raises(OutOfWindow):
        reader.seek(999)


def test_seek_with_stamps_that_run_backward_misses_nothing(writer: JournalWriter, reader: JournalReader) -> None:
    stamps = [1000, 1400, 1100, 1200, 1500, 1300]
    for number, stamp in enumerate(stamps):
        writer.append([whole(transaction(number, stamp))], f"0/{number:X}", 2000)
    for time_us in range(1000, 1600, 50):
        expected = next((n for n, stamp in enumerate(stamps) if stamp >= time_us), len(stamps))
        assert reader.seek(time_us) == expected, time_us
    assert [reader.stamp(n) for n in range(7)] == [*stamps, None]


@pytest.mark.parametrize("seed", range(4))
def test_seek_with_stamps_older_than_their_commits_misses_nothing(seed: int, writer: JournalWriter, reader: JournalReader) -> None:
    """Long statements are stamped with their start, and for a while capture is far behind."""
    rng, margin_us, now = random.Random(seed), 500, 1000
    writer.stamps_within(margin_us)
    writer.stamps_within(0)
    times: list[tuple[int, int, int]] = []  # committed, stamp, seen
    for number in range(90):
        now += rng.choice([0, 1, 20, 100])
        seen_us = max(5000 if 20 <= number < 60 else now + rng.choice([0, 5]), times[-1][2] if times else 0)
        times.append((now, now - rng.choice([0, 0, 3, margin_us]), seen_us))
        made = transaction(number, times[-1][1])
        writer.append([frame([made], seen_us)], made.position, seen_us)
    check_seek(reader, times, margin_us)
    assert writer.retain(Retention(now - times[40][0], KEEP, KEEP), None, now) > 0
    window = reader.window()
    assert window.earliest_us is not None
    assert window.earliest_us > max(seen_us for _, _, seen_us in times[: window.first_offset])
    check_seek(reader, times, margin_us)


def test_seek_knows_nothing_of_the_stamps_of_dropped_history_and_misses_nothing(writer: JournalWriter, reader: JournalReader) -> None:
    writer.stamps_within(500)
    for first, stamps, seen_us in ((0, [1000], 1000), (1, [550, 1050], 1100)):
        made = [transaction(first + i, stamp) for i, stamp in enumerate(stamps)]
        writer.append([frame(made, seen_us)], made[-1].position, seen_us)
    assert writer.retain(Retention(0, KEEP, KEEP), 1, 2000) == 1
    assert reader.window().earliest_us == 1001
    assert reader.seek(1100) == 1


def check_seek(reader: JournalReader, times: list[tuple[int, int, int]], margin_us: int) -> None:
    """Nothing is missed, and nothing that was seen before is sought again; `times` are when committed, stamped and seen."""
    window = reader.window()

    def first(which: int, time_us: int) -> int:
        return next((n for n in range(window.first_offset, len(times)) if times[n][which] >= time_us), len(times))

    for time_us in range(window.earliest_us or 0, times[-1][2] + 50, 31):
        found = reader.seek(time_us)
        assert first(2, time_us) <= found <= first(0, time_us), time_us
        if found >= window.first_offset + 40:  # not in the first frame, of which it is not known what went before
            assert found == max(first(1, time_us - margin_us), first(2, time_us)), time_us


def test_a_heartbeat_begins_the_window(writer: JournalWriter, reader: JournalReader) -> None:
    writer.heartbeat("0/0", 900)
    assert reader.window().earliest_us == 900
    assert reader.seek(900) == 0
    append(writer, 0)
    assert reader.seek(950) == 0
    with pytest.raises(OutOfWindow):
        reader.seek(899)


def test_nothing_is_read_across_a_break(writer: JournalWriter, reader: JournalReader) -> None:
    append(writer, 0, 1)
    writer.break_history("0/50", "the slot was lost", 5000)
    window = reader.window()
    assert window.first_offset == window.next_offset == reader.end().next_offset == 3
    reading = reader.read(0)
    assert positions([next(reading)]) == ["0/0", "0/1"]
    for caught in (reading, reader.read(2)):
        with pytest.raises(OutOfWindow, match="the slot was lost") as raised:
            list(caught)
        assert raised.value.kind == "history_broken"
    assert list(reader.read(3)) == []
    append(writer, 80, 81)
    assert positions(list(reader.read(3))) == ["0/50", "0/51"]
    assert reader.stamp(2) is None
    assert reader.stamp(3) == 9000
    assert reader.seek(9000) == 3
    with pytest.raises(OutOfWindow):
        reader.seek(4999)


def test_a_caught_up_reader_is_woken_by_a_break(writer: JournalWriter, reader: JournalReader) -> None:
    append(writer, 0)
    writer.break_history("0/50", "gone", 5000)
    assert reader.wait(1, 0)


def test_retention_by_age_drops_whole_frames_and_moves_the_window(writer: JournalWriter, reader: JournalReader) -> None:
    append(writer, 0, 1)
    append(writer, 2, 3)
    append(writer, 4, 5)
    assert writer.retain(EVERYTHING, None, 10_000) == 0
    assert writer.retain(Retention(500, KEEP, KEEP), None, 1601 + 100) == 2  # frame of 1000 and 1100 is too old, 1300 is not
    window = reader.window()
    assert (window.first_offset, window.next_offset, window.earliest_us) == (2, 6, 1101)
    with pytest.raises(OutOfWindow):
        list(reader.read(1))
    with pytest.raises(OutOfWindow):
        reader.seek(1100)
    assert reader.seek(1101) == 2
    assert positions(list(reader.read(2))) == ["0/2", "0/3", "0/4", "0/5"]
    assert reader.stamp(1) is None


def test_retention_keeps_what_is_needed_until_the_hard_cap(writer: JournalWriter, reader: JournalReader) -> None:
    append(writer, 0, 1)
    append(writer, 2, 3)
    assert writer.retain(Retention(0, 0, KEEP), needed_offset=1, now_us=1 << 50) == 0
    assert writer.retain(Retention(0, 0, KEEP), needed_offset=2, now_us=1 << 50) == 2
    assert reader.window().first_offset == 2
    assert writer.retain(Retention(KEEP, KEEP, 0), needed_offset=2, now_us=0) == 2
    window = reader.window()
    assert (window.first_offset, window.next_offset) == (4, 4)
    assert list(reader.read(4)) == []


def test_retention_by_size_drops_the_oldest(writer: JournalWriter, reader: JournalReader) -> None:
    for number in range(6):
        writer.append([whole(bulky(number))], f"0/{number:X}", 2000)
    held = reader.window().bytes
    dropped = writer.retain(Retention(KEEP, held // 2, KEEP), None, 0)
    assert 0 < dropped < 6
    assert reader.window().bytes <= held // 2
    assert reader.window().first_offset == dropped


def test_a_transaction_in_parts_is_dropped_whole_and_never_unfinished(writer: JournalWriter, reader: JournalReader) -> None:
    writer.append([part(0, 0, last=False), part(0, 1, last=True)], "0/0", 1050)
    writer.append([part(1, 0, last=False)], "0/0", 1150)
    assert writer.retain(Retention(0, 0, 0), None, 1 << 50) == 1
    writer.append([part(1, 1, last=True)], "0/1", 1250)
    assert ids(list(reader.read(1))) == [1000, 1001, 1002, 1003]


def test_waiting_ends_with_what_was_waited_for_or_with_the_time(writer: JournalWriter, reader: JournalReader) -> None:
    assert reader.wait(0, 0.01) is False
    append(writer, 0)
    assert reader.wait(0, 60) is True
    assert reader.wait(1, 0.01) is False


def test_closing_twice_is_harmless(journal: Journal) -> None:
    writer, reader = journal.writer(), journal.reader()
    for one in (writer, reader, writer, reader):
        one.close()
