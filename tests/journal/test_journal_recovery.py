"""What a journal survives, and what it refuses loudly: kills, damage, full disks, lost files (P1, P7)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from headwater.domain.errors import JournalError
from headwater.journal import EmbeddedJournalWriter, layout
from headwater.ports.journal import Retention
from tests.journal import histories
from tests.journal.conftest import Journals
from tests.small_disks import small_disk

ROOT = Path(__file__).parents[2]
NEVER = 1 << 60
MIB = 1 << 20


def kill_while_writing(directory: Path, chance: random.Random) -> int:
    """Run the writing process, kill it in the middle, and return the last end that it promised."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-m", "tests.journal.writing", str(directory), str(chance.random())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        promised = 0
        for _ in range(chance.randint(1, 150)):
            promised = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read().splitlines(keepends=True)
    return max([promised, *(int(line) for line in rest if line.endswith("\n"))])


@pytest.mark.crash
def test_a_killed_writer_loses_nothing_that_it_promised_and_keeps_no_half(journals: Journals, tmp_path: Path) -> None:
    chance = random.Random(1)
    for _ in range(10):
        promised = kill_while_writing(tmp_path, chance)
        reader = journals.reader()  # before anybody repairs anything
        window = reader.window()
        assert histories.check(list(reader.read(window.first_offset)), window.first_offset) == window.next_offset
        assert promised <= window.next_offset
        reader.close()
        writer = journals.writer()
        assert promised <= writer.end().next_offset == window.next_offset
        writer.close()


def test_parts_without_their_last_are_removed_from_the_file(journals: Journals, tmp_path: Path) -> None:
    writer = journals.writer()
    writer.append([histories.parts(3)[0]], "before", 1)
    writer.close()
    writer = journals.writer()
    writer.close()
    with apsw.Connection(str(tmp_path / layout.FILE_NAME)) as connection:
        assert list(connection.execute("SELECT count(*), (SELECT count(*) FROM batches) FROM frames")) == [(0, 0)]


def test_the_last_heartbeat_is_known_after_a_restart(journals: Journals, tmp_path: Path) -> None:
    writer = journals.writer()
    writer.append([histories.whole([0])], "p1", 100)
    writer.heartbeat("p2", 200)
    writer.close()
    assert journals.writer().end().position == "p2"


def test_an_append_after_a_heartbeat_wins_over_it(journals: Journals, tmp_path: Path) -> None:
    writer = journals.writer()
    writer.heartbeat("p1", 100)
    writer.append([histories.whole([0])], "p2", 200)
    writer.close()
    assert journals.writer().end().position == "p2"


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b"HWP1 but then nonsense that is no record"])
def test_a_damaged_side_file_costs_nothing(journals: Journals, tmp_path: Path, damage: bytes) -> None:
    writer, reader = journals.writer(), journals.reader()
    writer.append([histories.whole([0])], "p1", 100)
    (tmp_path / "progress").write_bytes(damage)
    assert (reader.end().next_offset, reader.end().position) == (1, "p1")
    writer.close()
    reopened = journals.writer()
    assert reopened.end().position == "p1"
    assert journals.reader().end() == reopened.end()


def test_two_writers_are_refused(journals: Journals, tmp_path: Path) -> None:
    first = journals.writer()
    with pytest.raises(JournalError) as raised:
        journals.writer()
    assert raised.value.kind == "journal_busy"
    first.close()
    journals.writer().close()


def test_a_reader_of_a_journal_that_is_not_there_can_wait_for_it(journals: Journals, tmp_path: Path) -> None:
    with pytest.raises(JournalError) as raised:
        journals.reader(tmp_path / "none")
    assert raised.value.kind == "journal_missing"
    (tmp_path / layout.FILE_NAME).touch()  # being made
    with pytest.raises(JournalError) as raised:
        journals.reader()
    assert raised.value.kind == "journal_missing"


def test_what_is_not_a_journal_is_refused(journals: Journals, tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / layout.FILE_NAME).write_text("this is not a database " * 100)
    (tmp_path / "other").mkdir()
    with apsw.Connection(str(tmp_path / "other" / layout.FILE_NAME)) as connection:
        connection.execute("CREATE TABLE t (x)")
    journals.writer(tmp_path / "newer").close()
    with apsw.Connection(str(tmp_path / "newer" / layout.FILE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 99")
    for name in ("text", "other", "newer"):
        for opening in (journals.writer, journals.reader):
            with pytest.raises(JournalError) as raised:
                opening(tmp_path / name)
            assert raised.value.kind == "journal_damaged"
    assert (tmp_path / "text" / layout.FILE_NAME).read_text().startswith("this is not")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lost_file_is_noticed(journals: Journals, tmp_path: Path, replaced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.journal.reader.LOOK_AGAIN_S", 0)
    writer, reader = journals.writer(), journals.reader()
    writer.append([histories.whole([0])], "p1", 100)
    (tmp_path / layout.FILE_NAME).unlink()
    if replaced:
        (tmp_path / layout.FILE_NAME).write_bytes(b"")
    with pytest.raises(JournalError, match="removed or replaced"):
        writer.append([histories.whole([1])], "p2", 200)
    with pytest.raises(JournalError, match="removed or replaced"):
        list(reader.read(0))
    with pytest.raises(JournalError, match="removed or replaced"):
        reader.end()


def test_damaged_blobs_are_told_with_their_offsets(journals: Journals, tmp_path: Path) -> None:
    writer = journals.writer()
    for at in range(0, 30, 10):
        writer.append([histories.whole(range(at, at + 10))], "p", at)
    writer.close()
    with apsw.Connection(str(tmp_path / layout.FILE_NAME)) as connection:
        first_batch = connection.execute("SELECT first_batch FROM frames WHERE first_offset = 10").get
        with connection.blob_open("main", "batches", "body", first_batch, True) as blob:
            blob.seek(blob.length() // 2)
            byte = blob.read(1)
            blob.seek(blob.length() // 2)
            blob.write(bytes([byte[0] ^ 1]))
    reader = journals.reader()
    with pytest.raises(JournalError, match="offsets 10 to 19") as raised:
        list(reader.read(0))
    assert raised.value.kind == "journal_damaged"
    assert histories.check(list(reader.read(20)), 20) == 30


def test_a_missing_frame_is_never_passed_over(journals: Journals, tmp_path: Path) -> None:
    writer = journals.writer()
    for at in range(0, 30, 10):
        writer.append([histories.whole(range(at, at + 10))], "p", at)
    writer.close()
    with apsw.Connection(str(tmp_path / layout.FILE_NAME)) as connection:
        connection.execute("DELETE FROM frames WHERE first_offset = 10")
    reader = journals.reader()
    for start in (0, 15):
        with pytest.raises(JournalError, match="is missing"):
            list(reader.read(start))


def test_damaged_pages_end_in_an_error_or_in_the_truth(journals: Journals, tmp_path: Path) -> None:
    """Flip bytes all over the file: a reader may refuse, but it never gives anything else than what was written."""
    original = tmp_path / "original"
    writer = journals.writer(original)
    for at in range(0, 400, 20):
        writer.append([histories.whole(range(at, at + 20))], "p", at)
    writer.close()
    content = (original / layout.FILE_NAME).read_bytes()
    chance, refused = random.Random(3), 0
    for round_ in range(60):
        directory = tmp_path / str(round_)
        directory.mkdir()
        damaged = bytearray(content)
        for _ in range(20):
            damaged[chance.randrange(100, len(damaged))] ^= 1 << chance.randrange(8)
        (directory / layout.FILE_NAME).write_bytes(damaged)
        refused += not _reads_true(journals, directory)
    assert refused > 10


def _reads_true(journals: Journals, directory: Path) -> bool:
    try:
        reader = journals.reader(directory)
        first = reader.window().first_offset
        histories.check(list(reader.read(first)), first)
        reader.close()
    except JournalError as error:
        return error.kind not in ("journal_damaged", "journal_missing")
    return True


def test_a_full_disk_keeps_nothing_of_the_call_and_goes_on_when_there_is_space(journals: Journals, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 8) as disk:
        _fill_up_and_go_on(journals, disk)


def _fill_up_and_go_on(journals: Journals, disk: Path) -> None:
    filler = disk / "filler"
    filler.write_bytes(b"x" * (7 * MIB))
    writer = journals.writer(disk / "journal")
    with pytest.raises(JournalError) as raised:
        _append_until(writer, 100_000)
    assert raised.value.kind == "journal_full"
    kept = writer.end()
    reader = journals.reader(disk / "journal")
    assert reader.end() == kept
    assert histories.check(list(reader.read(0)), 0) == kept.next_offset
    filler.unlink()
    _append_until(writer, kept.next_offset + 50)
    assert histories.check(list(reader.read(0)), 0) == kept.next_offset + 50
    reader.close()
    writer.close()


def test_a_full_file_keeps_nothing_of_the_call(journals: Journals, tmp_path: Path) -> None:
    writer = journals.writer()
    _append_until(writer, 10)
    connection = writer._connection  # the only way to a full disk without a disk
    connection.execute(f"PRAGMA max_page_count = {connection.pragma('page_count') + 8}")
    with pytest.raises(JournalError) as raised:
        _append_until(writer, 10_000)
    assert raised.value.kind == "journal_full"
    kept = writer.end().next_offset
    connection.execute("PRAGMA max_page_count = 1000000")
    _append_until(writer, kept + 100)
    reader = journals.reader()
    assert histories.check(list(reader.read(0)), 0) == kept + 100


def _append_until(writer: EmbeddedJournalWriter, upto: int) -> None:
    while (at := writer.end().next_offset) < upto:
        count = min(50, upto - at)
        writer.append([histories.whole(range(at, at + count))], f"at {at + count}", at)


def test_space_of_dropped_history_is_used_again(journals: Journals, tmp_path: Path) -> None:
    writer = journals.writer()
    sizes = []
    for upto in range(2_000, 20_000, 2_000):
        _append_until(writer, upto)
        writer.retain(Retention(NEVER, 200_000, NEVER), None, 0)
        writer._connection.wal_checkpoint()
        sizes.append((tmp_path / layout.FILE_NAME).stat().st_size)
    assert sizes[-1] <= max(sizes[:4])
