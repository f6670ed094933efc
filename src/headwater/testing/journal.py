"""A journal in memory that keeps the whole contract of `ports/journal.py`, and loses on a crash what a real one loses."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from headwater.domain.changes import Frame
from headwater.domain.errors import JournalError, OutOfWindow
from headwater.ports.journal import JournalEnd, Placed, Retention, Window
from headwater.testing.faults import FaultScript
from headwater.testing.rows import cut, frame_bytes, only_tables


@dataclass
class _History:
    """What is "on disk"."""

    frames: list[Placed] = field(default_factory=list)
    parts: list[Frame] = field(default_factory=list)  # of a transaction whose last part is still missing
    first_offset: int = 0
    next_offset: int = 0
    position: str | None = None
    earliest_us: int | None = None
    latest_us: int | None = None
    reach_offset: int = 0  # behind the last break
    stamp_dropped: int = 0  # the highest stamp of what was dropped
    breaks: dict[int, str] = field(default_factory=dict)  # the offsets that breaks took, with their reasons


class MemoryJournal:
    """One source's history in memory: `writer()` and `reader()` open it, as often as wanted; only the newest writer may write."""

    def __init__(self, journal_id: str = "memory", faults: FaultScript | None = None) -> None:
        self.journal_id = journal_id
        self.faults = faults or FaultScript()
        self.margin_us = 0  # by how much stamps may be older than their commits
        self.history = _History()
        self.changed = threading.Condition(threading.RLock())
        self.heartbeat: tuple[str, int] | None = None  # not durable
        self.writers = 0

    def writer(self) -> MemoryJournalWriter:
        """Open for writing; repairs what a crash left."""
        with self.changed:
            self.writers += 1
            self.history.parts.clear()
            self.heartbeat = None
            return MemoryJournalWriter(self, self.writers)

    def reader(self) -> MemoryJournalReader:
        """Open for reading."""
        return MemoryJournalReader(self)

    def end(self) -> JournalEnd:
        """Where the history stands."""
        with self.changed:
            h = self.history
            position, source_us = self.heartbeat or (h.position, h.latest_us)
            return JournalEnd(self.journal_id, h.next_offset, position, source_us)


class MemoryJournalWriter:
    """`JournalWriter` over a `MemoryJournal`."""

    def __init__(self, journal: MemoryJournal, number: int) -> None:
        self._journal = journal
        self._number = number

    def end(self) -> JournalEnd:
        """See `JournalWriter.end`."""
        return self._journal.end()

    def append(self, frames: Sequence[Frame], position: str, source_us: int) -> int:
        """See `JournalWriter.append`."""
        journal = self._journal
        with journal.faults.around("journal.append"), journal.changed:
            self._check()
            for frame in frames:
                self._add(frame)
            self._word(position, source_us)
            journal.heartbeat = None
            journal.changed.notify_all()
            return journal.history.next_offset

    def stamps_within(self, margin_us: int) -> None:
        """See `JournalWriter.stamps_within`."""
        self._journal.margin_us = max(self._journal.margin_us, margin_us)

    def heartbeat(self, position: str, source_us: int) -> None:
        """See `JournalWriter.heartbeat`. Only the first word of all is durable, since it begins the window."""
        journal = self._journal
        with journal.faults.around("journal.heartbeat"), journal.changed:
            self._check()
            if journal.history.earliest_us is None:
                self._word(position, source_us)
            journal.heartbeat = (position, source_us)
            journal.changed.notify_all()

    def break_history(self, position: str, reason: str, source_us: int) -> None:
        """See `JournalWriter.break_history`."""
        journal = self._journal
        with journal.faults.around("journal.break_history"), journal.changed:
            self._check()
            h = journal.history
            h.parts.clear()
            h.breaks[h.next_offset] = reason
            h.next_offset += 1
            h.reach_offset, h.earliest_us = h.next_offset, source_us
            self._word(position, source_us)
            journal.heartbeat = None
            journal.changed.notify_all()

    def retain(self, retention: Retention, needed_offset: int | None, now_us: int) -> int:
        """See `JournalWriter.retain`."""
        journal = self._journal
        with journal.faults.around("journal.retain"), journal.changed:
            self._check()
            dropped = 0
            while journal.history.frames and self._droppable(retention, needed_offset, now_us):
                dropped += self._drop_oldest()
            return dropped

    def close(self) -> None:
        """See `JournalWriter.close`."""

    def _check(self) -> None:
        if self._number != self._journal.writers:
            raise JournalError("Another writer has opened this journal.", kind="fenced")

    def _add(self, frame: Frame) -> None:
        h = self._journal.history
        if frame.part != len(h.parts):
            raise JournalError(f"Part {frame.part} of a transaction came where part {len(h.parts)} was due.", kind="internal")
        h.parts.append(frame)
        if frame.last:
            h.frames += [Placed(h.next_offset, part) for part in h.parts]
            h.next_offset += frame.transactions.num_rows
            h.parts = []
            if h.earliest_us is None:
                h.earliest_us = frame.transactions.column("commit_us")[0].as_py()

    def _word(self, position: str, source_us: int) -> None:
        h = self._journal.history
        h.position, h.latest_us = position, source_us
        if h.earliest_us is None:
            h.earliest_us = source_us

    def _droppable(self, retention: Retention, needed_offset: int | None, now_us: int) -> bool:
        h = self._journal.history
        held = sum(frame_bytes(p.frame) for p in h.frames)
        group = self._oldest()
        if held > retention.bytes_hard:
            return True
        if needed_offset is not None and group[-1].next_offset > needed_offset:
            return False
        newest = max(p.frame.transactions.column("commit_us").to_pylist()[-1] for p in group)
        return held > retention.bytes_max or newest < now_us - retention.age_us

    def _oldest(self) -> list[Placed]:
        frames = self._journal.history.frames
        return [p for p in frames if p.first_offset == frames[0].first_offset]

    def _drop_oldest(self) -> int:
        h = self._journal.history
        group = self._oldest()
        del h.frames[: len(group)]
        dropped = group[-1].next_offset - h.first_offset
        h.first_offset = group[-1].next_offset
        h.stamp_dropped = max(h.stamp_dropped, *(s for p in group for s in p.frame.transactions.column("commit_us").to_pylist()))
        names = ("commit_us", "seen_us") if self._journal.margin_us else ("commit_us",)
        stamps = [stamp for p in group for name in names for stamp in p.frame.transactions.column(name).to_pylist()]
        h.earliest_us = max(h.earliest_us or 0, max(stamps) + 1)
        return dropped


class MemoryJournalReader:
    """`JournalReader` over a `MemoryJournal`."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    def end(self) -> JournalEnd:
        """See `JournalReader.end`."""
        return self._journal.end()

    def window(self) -> Window:
        """See `JournalReader.window`."""
        with self._journal.changed:
            h = self._journal.history
            held = sum(frame_bytes(p.frame) for p in h.frames)
            return Window(h.earliest_us, self._journal.end().source_us, max(h.first_offset, h.reach_offset), h.next_offset, held)

    def read(self, offset: int, tables: frozenset[str] | None = None) -> Iterator[Placed]:
        """See `JournalReader.read`."""
        self._journal.faults.point("journal.read")
        with self._journal.changed:
            self._check_offset(offset)
        part = 0
        while (placed := self._next(offset, part)) is not None:
            skip = offset - placed.first_offset
            yield Placed(offset, only_tables(cut(placed.frame, skip), tables))
            offset, part = (placed.next_offset, 0) if placed.frame.last else (offset, part + 1)

    def seek(self, time_us: int) -> int:
        """See `JournalReader.seek`."""
        with self._journal.changed:
            window = self.window()
            if window.earliest_us is None or time_us < window.earliest_us:
                raise OutOfWindow(f"The journal reaches back to {window.earliest_us} us; {time_us} is before that.")
            stamps = [s for s in self._stamps() if s[0] >= window.first_offset]
        margin_us = self._journal.margin_us
        if margin_us and self._journal.history.stamp_dropped >= time_us - margin_us:
            stamped = window.first_offset
        else:
            stamped = next((offset for offset, commit_us, _ in stamps if commit_us >= time_us - margin_us), window.next_offset)
        seen = next((offset for offset, _, seen_us in stamps if seen_us >= time_us), window.next_offset)
        return max(seen, stamped) if margin_us else stamped

    def stamp(self, offset: int) -> int | None:
        """See `JournalReader.stamp`."""
        with self._journal.changed:
            return next((commit_us for at, commit_us, _ in self._stamps() if at == offset), None)

    def wait(self, next_offset: int, timeout_s: float) -> bool:
        """See `JournalReader.wait`."""
        journal = self._journal
        with journal.changed:
            return journal.changed.wait_for(lambda: journal.history.next_offset > next_offset, timeout_s)

    def close(self) -> None:
        """See `JournalReader.close`."""

    def _check_offset(self, offset: int) -> None:
        h = self._journal.history
        if offset > h.next_offset:
            raise OutOfWindow(f"Offset {offset} is beyond the end of the journal, {h.next_offset}.")
        if offset < h.first_offset:
            raise OutOfWindow(f"Offset {offset} is no longer held; the oldest is {h.first_offset}.")

    def _next(self, offset: int, part: int) -> Placed | None:
        with self._journal.changed:
            h = self._journal.history
            if offset in h.breaks:
                raise OutOfWindow(f"The history has a gap at offset {offset}: {h.breaks[offset]}", kind="history_broken")
            if offset < h.first_offset:
                raise OutOfWindow(f"Offset {offset} was dropped while it was read.")
            return self._find(offset, part)

    def _find(self, offset: int, part: int) -> Placed | None:
        for placed in self._journal.history.frames:
            if placed.first_offset <= offset < placed.first_offset + placed.frame.transactions.num_rows and placed.frame.part == part:
                return placed
        return None

    def _stamps(self) -> list[tuple[int, int, int]]:
        found: dict[int, tuple[int, int, int]] = {}
        for placed in self._journal.history.frames:
            t = placed.frame.transactions
            for i, (commit_us, seen_us) in enumerate(zip(t.column("commit_us").to_pylist(), t.column("seen_us").to_pylist(), strict=True)):
                found[placed.first_offset + i] = (placed.first_offset + i, commit_us, seen_us)
        return list(found.values())
