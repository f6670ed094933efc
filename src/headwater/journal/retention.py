"""Dropping the oldest history: which frames go is decided from the index alone, bounded work at a time.

History goes when it is too old or the journal too large, but nothing that a running task still needs goes before the hard
cap is passed. A transaction in parts goes as a whole. Space is used again by later appends; the file itself shrinks, a
little per call, only where much more is free than will be needed soon.
"""

from __future__ import annotations

from dataclasses import dataclass

import apsw

from headwater.journal import layout
from headwater.journal.reader import used_bytes
from headwater.journal.rows import FrameRow, RowReader, RowWriter
from headwater.ports.journal import Retention

STEP_BYTES = 64 << 20  # dropped per database transaction
STEP_FRAMES = 2_000
FREE_BYTES_MAX = 64 << 20  # free space in the file beyond this, and beyond a quarter of what is used, is given back
VACUUM_BYTES = 32 << 20  # per call


@dataclass(frozen=True)
class Limits:
    """When a frame may go: the policy with the clock, and what is needed."""

    retention: Retention
    needed_offset: int | None
    now_us: int

    def drops(self, frame: FrameRow, used: int) -> bool:
        """True where the frame, the oldest one, has to go while the journal uses `used` bytes."""
        if self.needed_offset is not None and frame.next_offset > self.needed_offset:
            return used > self.retention.bytes_hard
        return used > self.retention.bytes_max or frame.stamp_max < self.now_us - self.retention.age_us


@dataclass(frozen=True)
class Dropped:
    """What one step dropped, and the running maxima up to its end, None where it was nothing."""

    transactions: int
    stamp_reach: int | None
    seen_reach: int | None
    more: bool


class Dropper:
    """Drops frames inside the caller's transactions."""

    def __init__(self, connection: apsw.Connection, writer: RowWriter) -> None:
        self._connection = connection
        self._writer = writer
        self._reader = RowReader(connection)

    def step(self, limits: Limits, next_offset: int) -> Dropped:
        """Drop the oldest frames that have to go, up to the limits of one step."""
        used = used_bytes(self._connection)
        group: list[FrameRow] = []
        drop: list[FrameRow] = []
        size = 0
        for row in self._reader.rows("WHERE first_offset < ? ORDER BY first_offset, part LIMIT ?", (next_offset, STEP_FRAMES)):
            group.append(row)
            if not row.last:
                continue  # all parts of a transaction are judged by its last one
            if size >= STEP_BYTES or not limits.drops(row, used - size):
                break
            drop += group
            size += sum(r.blob_bytes for r in group)
            group = []
        for row in drop:
            self._writer.delete(row)
        stamp_reach, seen_reach = (drop[-1].stamp_reach, drop[-1].seen_reach) if drop else (None, None)
        return Dropped(sum(r.transactions for r in drop if r.last), stamp_reach, seen_reach, bool(drop))

    def vacuum(self) -> None:
        """Give back to the disk what is far more than appends will use again soon. Not inside a transaction."""
        free = self._connection.pragma("freelist_count") * layout.PAGE_BYTES
        if free > max(FREE_BYTES_MAX, used_bytes(self._connection) // 4):
            self._connection.execute(f"PRAGMA incremental_vacuum({VACUUM_BYTES // layout.PAGE_BYTES})")
