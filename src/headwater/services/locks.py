"""One lock per task within the service process: start, stop, reset, change and delete of one task never interleave.

The store makes each of its writes atomic; these locks make a use case of several reads and writes atomic against the others.
They are re-entrant, because a change of a task may end in a reset. All services share one instance.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TaskLocks:
    """Locks by task id; a lock exists only while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.RLock, int]] = {}

    @contextmanager
    def hold(self, task_id: str) -> Iterator[None]:
        """Hold the task's lock for the body of the `with`."""
        with self._guard:
            lock, users = self._locks.get(task_id, (threading.RLock(), 0))
            self._locks[task_id] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks[task_id]
                if users == 1:
                    del self._locks[task_id]
                else:
                    self._locks[task_id] = (lock, users - 1)
