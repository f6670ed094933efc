"""Capture: follow the log of one source into its journal, and confirm to the source only what the journal holds on disk (P1).

    publish the tables -> open the log where the journal ends -> take -> append -> confirm -> take ...

While `append` waits for the disk, the log's own thread goes on reading and decoding, so groups grow by themselves under load and
are as small as one transaction without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import pyarrow.compute as pc

from headwater.domain.changes import Frame
from headwater.domain.errors import OutOfWindow, SourceError
from headwater.domain.lag import complete_us
from headwater.domain.tables import TableName
from headwater.engine.control import Clock, Control
from headwater.engine.followed import Followed, MemoryNote, Note
from headwater.engine.reshaped import Reshaped
from headwater.ports.journal import JournalReader, JournalWriter, Retention
from headwater.ports.runtime import CaptureReport
from headwater.ports.source import Captured, Log, Source, Trail

TAKE_TIMEOUT_S = 0.5
"""How long one wait for the log lasts: a stop is seen within it."""

HEARTBEAT_S = 0.2
"""Heartbeats reach the journal at most this often."""

IDLE_CONFIRM_S = 10.0
"""How often the place of a source without changes for us is made durable and confirmed, so that it can drop its log."""

REPORT_S = 0.5
"""How often the report is made anew."""

RETAIN_S = 30.0
"""How often old history is dropped."""

LOOK_S = 5.0
"""How often it is made sure that the source still lets us follow every table."""


@dataclass(frozen=True)
class CaptureJob:
    """What one capture works on. `renewal` is the consent to begin a new history, None where there is none; called once it is used."""

    source: Source
    tables: Sequence[TableName]
    writer: JournalWriter
    reader: JournalReader
    retention: Retention
    renewal: Callable[[], None] | None = None
    note: Note = field(default_factory=MemoryNote)


def capture(job: CaptureJob, control: Control, clock: Clock) -> None:
    """Run until asked to stop.

    Raises:
        HeadwaterError: the source or the journal failed; the kind says what follows. The journal keeps what it has.
    """
    control.post(CaptureReport("starting"))
    followed = Followed(job.source, job.tables, job.writer, job.note, clock.now_us())
    followed.publish()
    with closing(open_log(job, followed, clock)) as log:
        followed.mark()
        keeper = Keeper(job, log, followed, control, clock)
        while not control.stopping:
            captured = log.next(TAKE_TIMEOUT_S)
            if captured is not None:
                keeper.keep(captured)
            keeper.tick()
        keeper.settle()


def open_log(job: CaptureJob, followed: Followed, clock: Clock) -> Log:
    """The log that joins the journal's end; or, with consent where that is lost, a new one behind a break in the history."""
    after, trail = job.writer.end().position, Trail(followed.history, last_captured(job.reader))
    try:
        log = job.source.open_log(followed.tables, after, new_history=False, trail=trail)
    except SourceError as error:
        if error.kind != "slot_lost" or job.renewal is None:
            raise
        job.writer.break_history(after or "", str(error), clock.now_us())
        log = job.source.open_log(followed.tables, None, new_history=True)
        job.writer.append((), log.start, clock.now_us())
    job.writer.stamps_within(log.stamp_margin_us)
    if after is None:
        job.writer.append((), log.start, clock.now_us())  # from here on, also after a crash
    followed.belongs_to(log.history)
    if job.renewal is not None:
        job.renewal()
    return log


def last_captured(reader: JournalReader) -> str | None:
    """The source's place of the last transaction that the journal holds; None where it holds none, or a break stands at its end."""
    try:
        placed = next(reader.read(reader.end().next_offset - 1, frozenset()), None)
    except OutOfWindow:
        return None
    return str(placed.frame.transactions.column("position")[-1].as_py()) if placed is not None else None


class Keeper:
    """Puts what the log gives into the journal, and keeps the timers and the report beside it."""

    def __init__(self, job: CaptureJob, log: Log, followed: Followed, control: Control, clock: Clock) -> None:
        self._job, self._log, self._followed, self._control, self._clock = job, log, followed, control, clock
        self._reshaped = Reshaped(job.source, job.writer, job.note)
        end = job.writer.end()
        self._durable = end.position
        self._heard: Captured | None = None
        self._complete_us = end.source_us
        self._report = CaptureReport("capturing")
        now = clock.monotonic()
        self._heartbeat_at = self._report_at = now
        self._confirm_at, self._retain_at, self._look_at = now + IDLE_CONFIRM_S, now + RETAIN_S, now + LOOK_S
        self._reported_rows, self._reported_at = 0, now
        self._look_at_shapes()
        self._say()

    def keep(self, captured: Captured) -> None:
        """Take one word of the log: frames durably (then confirm them), a heartbeat in passing."""
        self._heard = captured
        last_us = _last_commit_us(captured.frames)
        self._complete_us = complete_us(self._complete_us, captured.source_us, captured.behind_bytes, last_us)
        if captured.frames:
            self._append(captured)
        elif self._clock.monotonic() >= self._heartbeat_at:
            self._job.writer.heartbeat(captured.position, self._complete_us)
            self._heartbeat_at = self._clock.monotonic() + HEARTBEAT_S
            self._report = replace(self._report, clock_offset_us=captured.source_us - self._clock.now_us())

    def tick(self) -> None:
        """Do what is due: make an idle place durable, drop old history, look after the tables, report."""
        now = self._clock.monotonic()
        if now >= self._confirm_at:
            self.settle()
        if now >= self._retain_at:
            self._job.writer.retain(self._job.retention, self._control.needed_offset, self._clock.now_us())
            self._retain_at = now + RETAIN_S
        if now >= self._look_at:
            self._followed.look()
            self._look_at_shapes()
            self._look_at = now + LOOK_S
        if now >= self._report_at:
            self._say()
            self._report_at = now + REPORT_S

    def _look_at_shapes(self) -> None:
        source_now_us = self._clock.now_us() + self._report.clock_offset_us
        self._reshaped.look(self._followed.tables, source_now_us, self._complete_us)

    def settle(self) -> None:
        """Make the place last heard durable and confirm it; a heartbeat alone may be lost, so it alone is never confirmed (P1)."""
        if self._heard is not None and self._heard.position != self._durable:
            self._append(replace(self._heard, frames=()))
        self._confirm_at = self._clock.monotonic() + IDLE_CONFIRM_S

    def _append(self, captured: Captured) -> None:
        assert self._complete_us is not None
        self._job.writer.append(captured.frames, captured.position, self._complete_us)
        self._log.confirm(captured.position)
        self._durable = captured.position
        self._confirm_at = self._clock.monotonic() + IDLE_CONFIRM_S
        if captured.frames:
            self._count(captured.frames)

    def _count(self, frames: Sequence[Frame]) -> None:
        self._report = replace(
            self._report,
            transactions=self._report.transactions + sum(f.transactions.num_rows for f in frames if f.last),
            rows=self._report.rows + sum(pc.sum(f.transactions.column("rows")).as_py() or 0 for f in frames),
        )

    def _say(self) -> None:
        now, end, window = self._clock.monotonic(), self._job.writer.end(), self._job.reader.window()
        spent = now - self._reported_at
        rate = (self._report.rows - self._reported_rows) / spent if spent > 0 else 0.0
        self._reported_rows, self._reported_at = self._report.rows, now
        self._report = replace(
            self._report,
            position=end.position,
            next_offset=end.next_offset,
            first_offset=window.first_offset,
            earliest_us=window.earliest_us,
            latest_us=window.latest_us,
            source_us=self._complete_us,
            behind_bytes=self._heard.behind_bytes if self._heard else 0,
            journal_bytes=window.bytes,
            rows_per_s=round(rate, 1),
            lost=tuple(sorted(self._followed.lost.items())),
            stale=tuple(sorted(self._followed.stale.items())),
        )
        self._control.post(self._report)


def _last_commit_us(frames: Sequence[Frame]) -> int | None:
    """Stamp of the last transaction of a word, None for a heartbeat."""
    return int(frames[-1].transactions.column("commit_us")[-1].as_py()) if frames else None
