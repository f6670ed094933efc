"""Run an iterator in a thread of its own, a bounded number of items ahead of whoever consumes it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")

PUT_POLL_S = 0.1
"""How soon the thread notices that its consumer has gone while the queue is full."""

TICK_S = 1.0
"""How long the consumer waits for an item before it is told that none has come yet."""


class Ahead(Generic[T]):
    """A context manager to iterate over: `with Ahead(items, depth=1) as items: ...`.

    At most `depth` items wait, besides the one that is being made. None stands for `TICK_S` without an item. An error of the iterator is
    raised where its item would have come.
    Leaving ends the thread, after the item that it is making, and closes the iterator.
    """

    def __init__(self, items: Iterator[T], depth: int = 1) -> None:
        self._items = items
        self._queue: queue.Queue[T | BaseException | None] = queue.Queue(depth)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)

    def __enter__(self) -> Ahead[T]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T | None]:
        while True:
            try:
                item = self._queue.get(timeout=TICK_S)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - not swallowed: the consumer raises it
            self._put(error)
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()

    def _put(self, item: T | BaseException | None) -> bool:
        while not self._left.is_set():
            try:
                self._queue.put(item, timeout=PUT_POLL_S)
            except queue.Full:
                continue
            return True
        return False
