"""Reading the history: by offset, by time, and waiting for more.

A reader holds no database transaction between two frames that it gives: a few frames' bytes are fetched in one, and decoded
after it has ended, so that the writer's checkpoints are never held up by a reader that takes its time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.errors import JournalError, OutOfWindow
from headwater.journal import layout, state
from headwater.journal.codec import cut
from headwater.journal.layout import translated
from headwater.journal.progress import ProgressReader
from headwater.journal.rows import FrameRow, RowReader, StoredFrame
from headwater.journal.seals import damaged
from headwater.journal.wakeups import Ear
from headwater.ports.journal import JournalEnd, Placed, Window

FETCH_FRAMES_MAX = 64
FETCH_BYTES_MAX = 8 << 20
BEFORE_ALL_US, AFTER_ALL_US = -(1 << 63), (1 << 63) - 1
LOOK_AGAIN_S = 0.5  # how often a reader checks that the files at its paths are still the ones it has open


class EmbeddedJournalReader:
    """`ports.journal.JournalReader` on a journal directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / layout.FILE_NAME
        self._inode = layout.inode_of(self._path)
        self._connection = layout.open_for_reading(self._path)
        self._rows = RowReader(self._connection)
        self._progress = ProgressReader(directory)
        self._ear = Ear(directory)
        self._looked_s = time.monotonic()
        with self._reading("Opening the journal"):
            self._journal_id: str = self._connection.execute("SELECT value FROM meta WHERE key = 'journal_id'").get

    def end(self) -> JournalEnd:
        """See the port. One system call while nothing has changed."""
        self._look_again()
        end = self._progress.read()
        if end is not None and end.journal_id == self._journal_id:
            return end
        with self._reading("Reading the journal's end"):
            return state.load(self._connection).end(self._journal_id)

    def window(self) -> Window:
        """See the port."""
        self._look_again()
        end = self.end()
        with self._reading("Reading the journal's window"):
            now = state.load(self._connection)
            used = used_bytes(self._connection)
            first = max(self._first_held(now), self._behind_last_break())
        return Window(now.earliest_us, end.source_us, first, now.next_offset, used)

    def read(self, offset: int, tables: frozenset[str] | None = None) -> Iterator[Placed]:
        """See the port."""
        part = 0
        while fetched := self._fetch(offset, part, tables):
            for stored in fetched:
                frame, row = stored.frame(self._rows.schemas), stored.row
                if row.first_offset < offset:
                    frame = cut(frame, offset - row.first_offset)
                yield Placed(offset, frame)
                offset, part = row.next_offset, 0 if row.last else row.part + 1

    def _fetch(self, offset: int, part: int, tables: frozenset[str] | None) -> list[StoredFrame]:
        """The next few frames from (offset, part) on; nothing where the end is reached."""
        self._look_again()
        found: list[StoredFrame] = []
        size = 0
        with self._reading(f"Reading the journal from offset {offset}"):
            upto = self._readable(offset, state.load(self._connection))
            if offset == upto:
                return []
            start = self._connection.execute("SELECT max(first_offset) FROM frames WHERE first_offset <= ?", (offset,)).get
            where = "WHERE (first_offset, part) >= (?, ?) AND first_offset < ? ORDER BY first_offset, part LIMIT ?"
            for row, body in self._rows.find(where, (start, part, upto, FETCH_FRAMES_MAX)):
                found.append(self._rows.load(row, body, tables))
                size += row.blob_bytes
                if size >= FETCH_BYTES_MAX:
                    break
        _check_joined(found, offset, part)
        return found

    def _readable(self, offset: int, now: state.State) -> int:
        """The offset up to which reading from `offset` may go: the end, or the next break. Raises OutOfWindow."""
        first = self._first_held(now)
        breaks = "SELECT at_offset, reason FROM breaks WHERE at_offset >= ? ORDER BY at_offset"
        broken = self._connection.execute(breaks, (offset,)).fetchone()
        if broken is not None and offset == broken[0]:
            message = f"The history breaks at offset {offset}: {broken[1]}. Nothing can be followed across it."
            raise OutOfWindow(message, kind="history_broken")
        if offset < first:
            raise OutOfWindow(f"Offset {offset} is no longer in the journal, which begins at offset {first}.")
        if offset > now.next_offset:
            raise OutOfWindow(f"Offset {offset} is beyond the end of the journal, which is offset {now.next_offset}.")
        return now.next_offset if broken is None else int(broken[0])

    def seek(self, time_us: int) -> int:
        """See the port."""
        self._look_again()
        with self._reading("Seeking in the journal"):
            now = state.load(self._connection)
            if now.earliest_us is None:
                raise OutOfWindow("The journal holds no word of its source yet, so there is no moment to go back to.")
            if time_us < now.earliest_us:
                raise OutOfWindow(f"The journal reaches back to {_moment(now.earliest_us)}; {_moment(time_us)} is before that.")
            margin_us = layout.stamp_margin_us(self._connection)
            bounds = (time_us - margin_us, time_us if margin_us else BEFORE_ALL_US)
            where = (
                "WHERE stamp_reach >= ? AND seen_reach >= ? AND first_offset >= ? AND first_offset < ? "
                "ORDER BY stamp_reach, first_offset, part LIMIT 1"
            )
            found = list(self._rows.find(where, (*bounds, self._behind_last_break(), now.next_offset)))
            before = self._reach_before(found[0][0]) if found and margin_us else (BEFORE_ALL_US, 0)
        if not found:
            return now.next_offset
        row, body = found[0]
        times = StoredFrame(row, body, ()).transactions()
        at = [
            _first_from(times.column(name), bound)
            for name, bound, reached in zip(("commit_us", "seen_us"), bounds, before, strict=True)
            if reached < bound
        ]
        if -1 in at:
            raise damaged(f"{row.name} does not hold the time that its index promises")
        return row.first_offset + max(at, default=0)

    def _reach_before(self, row: FrameRow) -> tuple[int, int]:
        """How far stamps and times of seeing had come before a frame, where nothing is known of what went before: all stamps, since only
        dropped history has gone before then, and none of the others, which it can't have reached."""
        where = "WHERE (first_offset, part) < (?, ?) ORDER BY first_offset DESC, part DESC LIMIT 1"
        found = list(self._rows.rows(where, (row.first_offset, row.part)))
        return (found[0].stamp_reach, found[0].seen_reach) if found else (AFTER_ALL_US, BEFORE_ALL_US)

    def stamp(self, offset: int) -> int | None:
        """See the port."""
        with self._reading(f"Reading the stamp of offset {offset}"):
            visible = offset < state.load(self._connection).next_offset
            where = "WHERE first_offset <= ? ORDER BY first_offset DESC, part LIMIT 1"
            found = list(self._rows.find(where, (offset,))) if visible else []
        if not found or offset >= found[0][0].first_offset + found[0][0].transactions:
            return None
        row, body = found[0]
        stamp: int = StoredFrame(row, body, ()).transactions().column(1)[offset - row.first_offset].as_py()
        return stamp

    def wait(self, next_offset: int, timeout_s: float) -> bool:
        """See the port."""
        return self._ear.sleep_until(lambda: self.end().next_offset > next_offset, timeout_s)

    def close(self) -> None:
        """See the port."""
        self._ear.close()
        self._progress.close()
        self._connection.close()

    def _first_held(self, now: state.State) -> int:
        first: int | None = self._connection.execute("SELECT min(first_offset) FROM frames").get
        return now.next_offset if first is None else first

    def _behind_last_break(self) -> int:
        last: int | None = self._connection.execute("SELECT max(at_offset) FROM breaks").get
        return 0 if last is None else last + 1

    @contextmanager
    def _reading(self, doing: str) -> Iterator[None]:
        """One short read transaction: everything read within belongs to the same moment."""
        with translated(self._path, doing):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _look_again(self) -> None:
        if time.monotonic() - self._looked_s < LOOK_AGAIN_S:
            return
        self._looked_s = time.monotonic()
        if layout.inode_of(self._path) != self._inode:
            raise JournalError(f"The journal {self._path} was removed or replaced while it was read. Its history is gone: restore it.")
        self._progress.refresh()


def used_bytes(connection: apsw.Connection) -> int:
    """What the journal's content takes on disk; free pages of the file, which will be used again, don't count."""
    pages = connection.pragma("page_count") - connection.pragma("freelist_count")
    return int(pages) * layout.PAGE_BYTES


def open_reader(directory: Path) -> EmbeddedJournalReader:
    """Read the journal in `directory`.

    Raises:
        JournalError: kind `journal_missing` where there is none yet: wait and try again; `journal_damaged`.
    """
    return EmbeddedJournalReader(directory)


def _check_joined(found: list[StoredFrame], offset: int, part: int) -> None:
    """Raise where the frames don't follow one another: rows of the index are missing."""
    if not found or not found[0].row.first_offset <= offset < found[0].row.first_offset + found[0].row.transactions:
        raise _gap(offset, found[0].row if found else None)
    expected = (found[0].row.first_offset, part)
    for row in (stored.row for stored in found):
        if (row.first_offset, row.part) != expected:
            raise _gap(expected[0], row)
        expected = (row.next_offset, 0 if row.last else row.part + 1)


def _gap(expected: int, row: FrameRow | None) -> JournalError:
    found = "nothing" if row is None else row.name
    return damaged(f"offset {expected} is missing, {found} follows")


def _first_from(times: pa.Array, time_us: int) -> int:
    at: int = pc.index(pc.greater_equal(times, pa.scalar(time_us, pa.int64())), pa.scalar(True)).as_py()
    return at


def _moment(time_us: int) -> str:
    """A time for people and for programs: ISO 8601 and milliseconds."""
    try:
        text = datetime.fromtimestamp(time_us / 1_000_000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        text = "a time outside the calendar"
    return f"{text} ({-(-time_us // 1000)} ms)"
