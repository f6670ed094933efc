"""The one writer of a journal: appends, heartbeats, breaks, retention, and the repair of what a crash left.

Everything that counts happens in one SQLite transaction per call; in memory the writer keeps only what it can read again.
After the commit, and only then, the side file is written and sleepers are woken: neither can fail an append.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from headwater.domain.changes import Frame
from headwater.domain.errors import JournalError
from headwater.journal import layout, state
from headwater.journal.consolidate import Consolidator
from headwater.journal.layout import translated
from headwater.journal.progress import ProgressWriter
from headwater.journal.retention import Dropper, Limits
from headwater.journal.rows import EncodedFrame, FrameRow, RowReader, RowWriter, encode_frame
from headwater.journal.wakeups import Bell
from headwater.ports.journal import JournalEnd, Retention

log = logging.getLogger(__name__)

LOCK_NAME = "writer.lock"


class EmbeddedJournalWriter:
    """`ports.journal.JournalWriter` on a journal directory. Not safe for several threads at once."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / layout.FILE_NAME
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(directory)
        try:
            self._open(directory)
        except BaseException:
            os.close(self._lock)
            raise
        self._closed = False

    def _open(self, directory: Path) -> None:
        self._connection = layout.open_for_writing(self._path)
        try:
            with translated(self._path, "Opening the journal"):
                self._prepare(directory)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, directory: Path) -> None:
        self._inode = layout.inode_of(self._path)
        self._journal_id: str = self._connection.execute("SELECT value FROM meta WHERE key = 'journal_id'").get
        self._margin_us = layout.stamp_margin_us(self._connection)
        self._state = state.load(self._connection)
        self._rows = RowWriter(self._connection)
        self._next_part = 0
        self._remove_unfinished()
        self._consolidator = Consolidator(self._connection, self._rows)
        self._dropper = Dropper(self._connection, self._rows)
        self._progress = ProgressWriter(directory)
        self._take_over(self._progress.read())
        self._bell = Bell(directory)

    def _remove_unfinished(self) -> None:
        """Parts of a transaction whose last part never came: the source sends all of it again."""
        with self._transaction():
            parts = list(RowReader(self._connection).rows("WHERE first_offset >= ?", (self._state.next_offset,)))
            for row in parts:
                self._rows.delete(row)
        self._next_part = 0
        if parts:
            log.info("journal_unfinished_removed", extra={"fields": {"parts": len(parts), "next_offset": self._state.next_offset}})

    def _take_over(self, left: JournalEnd | None) -> None:
        """Go on from the last heartbeat of an earlier writer, if nothing was appended behind it; make the side file true."""
        ours = left is not None and left.journal_id == self._journal_id and left.next_offset == self._state.next_offset
        if ours and left is not None and (left.source_us or 0) > (self._state.source_us or 0):
            self._state = self._state._replace(position=left.position, source_us=left.source_us)
        self._progress.write(self.end())

    def end(self) -> JournalEnd:
        """See the port."""
        return self._state.end(self._journal_id)

    def append(self, frames: Sequence[Frame], position: str, source_us: int) -> int:
        """See the port."""
        self._check_place(frames)
        encoded = [encode_frame(frame) for frame in frames]
        first_stamps = [frame.transactions.column(1)[0].as_py() for frame in frames]
        with translated(self._path, "Appending to the journal"), self._transaction():
            now, rows = self._insert(encoded, first_stamps)
            now = now.heard(position, source_us)
            state.save(self._connection, now)
        self._state = now
        self._after_append(rows)
        return now.next_offset

    def _insert(self, encoded: list[EncodedFrame], first_stamps: list[int]) -> tuple[state.State, list[FrameRow]]:
        now, rows = self._state, []
        for one, first_stamp in zip(encoded, first_stamps, strict=True):
            at = now.next_offset
            now = now.grown(one.transactions if one.last else 0, first_stamp, one.stamp_max, one.seen_max)
            assert now.stamp_reach is not None
            assert now.seen_reach is not None
            rows.append(self._rows.insert(one, at, (now.stamp_reach, now.seen_reach)))
        return now, rows

    def _check_place(self, frames: Sequence[Frame]) -> None:
        """Refuse frames that would break the form of the history; these are mistakes of the caller."""
        expected = self._next_part
        for frame in frames:
            if frame.transactions.num_rows == 0 or (not frame.whole and frame.transactions.num_rows != 1):
                raise JournalError("A frame holds whole transactions, or one part of exactly one transaction.", kind="internal")
            if frame.part != expected:
                raise JournalError(f"Part {frame.part} of a transaction came where part {expected} was due.", kind="internal")
            expected = 0 if frame.last else frame.part + 1

    def _after_append(self, rows: list[FrameRow]) -> None:
        """What follows a durable append: nothing here may fail it."""
        if rows:
            self._next_part = 0 if rows[-1].last else rows[-1].part + 1
        self._tell()
        self._bell.ring()
        for row in rows:
            self._consolidator.note(row)
        while self._consolidator.due():
            if not self._consolidate():
                break

    def _consolidate(self) -> bool:
        try:
            with translated(self._path, "Merging small frames"), self._transaction():
                self._consolidator.merge_once()
        except (JournalError, pa.ArrowException) as error:
            log.warning("journal_merge_failed", extra={"fields": {"error": type(error).__name__, "kind": getattr(error, "kind", "")}})
            self._consolidator.forget()
            return False
        return True

    def _tell(self, durable: bool = False) -> None:
        """Write the side file. Where that fails it is removed, and readers ask the database."""
        try:
            self._progress.write(self.end(), durable)
        except OSError as error:
            log.warning("journal_progress_failed", extra={"fields": {"errno": error.errno}})
            self._path.with_name("progress").unlink(missing_ok=True)

    def stamps_within(self, margin_us: int) -> None:
        """See the port."""
        if margin_us > self._margin_us:
            with translated(self._path, "Noting how exact stamps are"), self._transaction():
                self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('stamp_margin_us', ?)", (margin_us,))
            self._margin_us = margin_us

    def _committed_by(self, stamp_reach: int | None, seen_reach: int | None) -> int | None:
        """When the last of some transactions can have been committed, by the running maxima up to there."""
        reaches = (stamp_reach, seen_reach if self._margin_us else None)
        return max((reach for reach in reaches if reach is not None), default=None)

    def heartbeat(self, position: str, source_us: int) -> None:
        """See the port. Flushed to disk where the position has moved, because capture confirms it to the source."""
        moved = position != self._state.position
        now = self._state.heard(position, source_us)
        if self._state.position is None:
            with translated(self._path, "Noting the first word of the source"), self._transaction():
                state.save(self._connection, now)
        self._state = now
        self._tell(durable=moved)

    def break_history(self, position: str, reason: str, source_us: int) -> None:
        """See the port. Parts of an unfinished transaction are removed: their rest will never come."""
        with translated(self._path, "Marking a break in the history"):
            self._remove_unfinished()
            with self._transaction():
                at = self._state.next_offset
                self._connection.execute("INSERT INTO breaks VALUES (?, ?, ?, ?)", (at, position, reason, source_us))
                now = self._state.broken(position, source_us, self._committed_by(self._state.stamp_reach, self._state.seen_reach))
                state.save(self._connection, now)
        self._state = now
        self._consolidator.forget()
        self._tell()
        self._bell.ring()

    def retain(self, retention: Retention, needed_offset: int | None, now_us: int) -> int:
        """See the port."""
        limits = Limits(retention, needed_offset, now_us)
        total, more = 0, True
        with translated(self._path, "Dropping old history"):
            while more:
                with self._transaction():
                    dropped = self._dropper.step(limits, self._state.next_offset)
                    reach = self._committed_by(dropped.stamp_reach, dropped.seen_reach)
                    now = self._state if reach is None else self._state.dropped(reach)
                    state.save(self._connection, now)
                self._state = now
                total, more = total + dropped.transactions, dropped.more
            self._dropper.vacuum()
            self._checkpoint_if_large()
        if total:
            self._consolidator.reload()
        return total

    def _checkpoint_if_large(self) -> None:
        wal = self._path.with_name(layout.FILE_NAME + "-wal")
        if wal.exists() and wal.stat().st_size > layout.WAL_BYTES_MAX:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One durable transaction; after an error nothing of it is held."""
        if layout.inode_of(self._path) != self._inode:
            raise JournalError(f"The journal {self._path} was removed or replaced while it was written. Its history is gone: restore it.")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._reload()
            raise

    def _reload(self) -> None:
        """Forget ids that were handed out in a transaction that failed."""
        with translated(self._path, "Reading the journal again"):
            self._rows.reload()

    def close(self) -> None:
        """See the port. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._bell.close()
        self._progress.close()
        self._connection.close()
        os.close(self._lock)


def open_writer(directory: Path) -> EmbeddedJournalWriter:
    """Open the journal in `directory` for writing; make it where there is none.

    Raises:
        JournalError: `journal_busy` while another process writes it, `journal_full`, `journal_damaged`.
    """
    return EmbeddedJournalWriter(directory)


def _lock(directory: Path) -> int:
    lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        message = f"Another process writes the journal in {directory}; there is one capture per source."
        raise JournalError(message, kind="journal_busy") from error
    return lock
