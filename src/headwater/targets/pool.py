"""Connections of a run apart from its transaction, for the threads that copy: opened when needed, used again, closed with the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar


class Closes(Protocol):
    """What can be closed, for good."""

    def close(self) -> None:
        """Let go."""


S = TypeVar("S", bound=Closes)


class Pool(Generic[S]):
    """Sessions, each made by `make` and held by one thread at a time. Thread-safe."""

    def __init__(self, make: Callable[[], S]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[S] = []
        self._busy: list[S] = []
        self._closed = False

    @contextmanager
    def session(self) -> Iterator[S]:
        """A session for the body of the `with`; one in which something failed is closed."""
        with self._lock:
            session = self._idle.pop() if self._idle else None
        session = session or self._make()
        with self._lock:
            self._busy.append(session)
        try:
            yield session
        except BaseException:
            session.close()
            raise
        finally:
            with self._lock:
                self._busy.remove(session)
        with self._lock:
            if not self._closed:
                self._idle.append(session)
                return
        session.close()

    @property
    def busy(self) -> list[S]:
        """Those that are held now."""
        with self._lock:
            return list(self._busy)

    @property
    def all(self) -> list[S]:
        """Those that are open."""
        with self._lock:
            return [*self._busy, *self._idle]

    def close(self) -> None:
        """Close those that nobody holds, now; the others when they come back. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()
