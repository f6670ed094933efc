"""Merging small frames: what was appended in a hurry becomes fast to read.

A source that commits often and little makes dozens of frames a second; days of them would be slow to read and waste space.
Whenever `FAN_IN` neighbouring small frames of one level stand at the end they become one frame of the next level, like
carrying in a counter: the work per append is bounded, and each row is rewritten at most a few times. Readers address
history by offset, so they don't notice.
"""

from __future__ import annotations

import apsw

from headwater.journal.codec import merge
from headwater.journal.rows import FrameRow, RowReader, RowWriter, encode_frame

FAN_IN = 32
SMALL_ROWS = 512
SMALL_BYTES = 128 << 10
TAIL_MAX = 256  # frames looked at when a journal is opened


class Consolidator:
    """Knows the small frames at the end of the history, and merges them inside the caller's transaction."""

    def __init__(self, connection: apsw.Connection, writer: RowWriter) -> None:
        self._reader = RowReader(connection)
        self._writer = writer
        self._tail: list[FrameRow] = []
        self.reload()

    def reload(self) -> None:
        """Look at the end of the tables again."""
        rows = list(self._reader.rows("ORDER BY first_offset DESC, part DESC LIMIT ?", (TAIL_MAX,)))
        self._tail = []
        for row in reversed(rows):
            self.note(row)

    def note(self, row: FrameRow) -> None:
        """A frame was appended."""
        if self._tail and self._tail[-1].next_offset != row.first_offset:
            self._tail = []  # a break in the history: never merge across it
        if row.rows >= SMALL_ROWS or row.blob_bytes >= SMALL_BYTES or row.part or not row.last:
            self._tail = []
        else:
            self._tail = [*self._tail[-TAIL_MAX:], row]

    def forget(self) -> None:
        """What follows must not be merged with what is there."""
        self._tail = []

    def due(self) -> bool:
        """True where enough small frames have come together."""
        group = self._tail[-FAN_IN:]
        return len(group) == FAN_IN and len({row.level for row in group}) == 1

    def merge_once(self) -> None:
        """Merge the last `FAN_IN` frames into one. If the caller's transaction fails, `reload`."""
        group = self._tail[-FAN_IN:]
        stored = [self._reader.load(row, self._body(row), None) for row in group]
        frame = merge([s.frame(self._reader.schemas) for s in stored])
        for row in group:
            self._writer.delete(row)
        first, last = group[0], group[-1]
        merged = self._writer.insert(
            encode_frame(frame), first.first_offset, (last.stamp_reach, last.seen_reach), level=first.level + 1, frame_id=first.id
        )
        del self._tail[-FAN_IN:]
        self.note(merged)

    def _body(self, row: FrameRow) -> bytes:
        body: bytes = self._writer.connection.execute("SELECT body FROM frames WHERE id = ?", (row.id,)).get
        return body
