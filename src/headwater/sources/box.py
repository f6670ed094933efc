"""The bounded box between the thread that owns the socket and the caller of `Log.next`.

One thread puts, one takes. The box counts bytes: when it is full the putting thread stops reading (never waits here), and the taking
thread wakes it through a pipe, because it sleeps in `select` on its socket. What the reader wrote while the caller was
busy comes out in one piece, so groups grow with the backlog.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass

from headwater.domain.changes import Frame
from headwater.domain.errors import HeadwaterError
from headwater.ports.source import Captured

TAKE_BYTES_MAX = 16 * 1024 * 1024
"""At most about this much comes out of the box in one piece."""


@dataclass
class _Entry:
    frames: tuple[Frame, ...]
    bytes: int
    position: str
    source_us: int
    behind_bytes: int


class Box:
    """`bytes_max` bounds what waits in it, to within one put."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._entries: deque[_Entry] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._error: HeadwaterError | None = None
        self._waiting = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    @property
    def wake_fd(self) -> int:
        """Becomes readable when the taker has taken, or waits."""
        return self._wake_read

    @property
    def waiting_bytes(self) -> int:
        """What waits in it."""
        return self._bytes

    @property
    def full(self) -> bool:
        """True where the reader must not read on."""
        return self._bytes >= self._bytes_max

    @property
    def wanted(self) -> bool:
        """True where the taker waits, or would find nothing."""
        return self._waiting or not self._entries

    def put(self, frames: tuple[Frame, ...], size: int, position: str, source_us: int, behind_bytes: int) -> None:
        """Add frames, or, without any, a heartbeat: it moves the newest entry on where one waits."""
        with self._changed:
            if not frames and self._entries:
                last = self._entries[-1]
                last.position, last.source_us, last.behind_bytes = position, source_us, behind_bytes
            else:
                self._entries.append(_Entry(frames, size, position, source_us, behind_bytes))
                self._bytes += size
            self._changed.notify()

    def fail(self, error: HeadwaterError) -> None:
        """What `take` raises once everything before it was taken."""
        with self._changed:
            self._error = error
            self._changed.notify()

    def take(self, timeout_s: float) -> Captured | None:
        """Everything that waits, up to `TAKE_BYTES_MAX`; None after the timeout."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._entries:
                if self._error is not None:
                    raise self._error
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._wait(left)
            return self._gather()

    def _wait(self, left: float) -> None:
        self._waiting = True
        self.wake()
        self._changed.wait(left)
        self._waiting = False

    def _gather(self) -> Captured:
        frames: list[Frame] = []
        size = 0
        was_full = self.full
        while True:
            entry = self._entries.popleft()
            frames += entry.frames
            size += entry.bytes
            if not self._entries or size + self._entries[0].bytes > TAKE_BYTES_MAX:
                break
        self._bytes -= size
        if was_full:
            self.wake()
        return Captured(tuple(frames), entry.position, entry.source_us, entry.behind_bytes)

    def wake(self) -> None:
        """Rouse the reader."""
        try:
            os.write(self._wake_write, b"!")
        except BlockingIOError:
            return  # it has been roused already

    def hush(self) -> None:
        """The reader has woken: forget the rousings."""
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Release the pipe; only once the reader has ended."""
        for fd in (self._wake_read, self._wake_write):
            os.close(fd)
