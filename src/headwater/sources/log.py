"""The `Log` that the engine sees, where a thread reads a source's log into a box: the same for every kind of source."""

from __future__ import annotations

from typing import Protocol

from headwater.ports.source import Captured
from headwater.sources.box import Box

QUEUE_BYTES_MAX = 16 * 1024 * 1024
"""Decoded changes that may wait for the caller; beyond it reading stops."""


class Reader(Protocol):
    """The thread that reads."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End soon."""

    def join(self) -> None:
        """Wait for the end."""


class Closes(Protocol):
    """What the reader works with."""

    def close(self) -> None:
        """Let go, for good."""


class ReadLog:
    """A `Log` without what its kind of source says of it: `start`, `history`, `stamp_margin_us` and `confirm`.

    `next` and `confirm` belong to one caller; the reader thread has the rest. `held` is closed in this order, once that has ended."""

    def __init__(self, box: Box, reader: Reader, *held: Closes) -> None:
        self._box, self._thread, self._held = box, reader, held
        self._closed = False
        reader.start()

    def next(self, timeout_s: float) -> Captured | None:
        """See `Log.next`."""
        return self._box.take(timeout_s)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of decoded changes that wait for `next`."""
        return self._box.waiting_bytes

    def close(self) -> None:
        """See `Log.close`."""
        if self._closed:
            return
        self._closed = True
        self._thread.stop()
        self._thread.join()
        for one in (*self._held, self._box):
            one.close()
