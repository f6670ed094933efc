"""Knocking: a server that is away is asked now and then whether it answers, so that no worker has to be started to find that out.

Starting a worker costs a second of a core, a knock a few milliseconds, and one serves all the tasks of a server. So pauses between
workers may grow, and tasks still go on a moment after their server is back. Workers remain the ones who decide: a server that answers
but can't be worked with (it has no connection to spare, say) is left to the growing pauses.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from headwater.domain.errors import HeadwaterError

KNOCK_S = 0.5
"""Pause between two knocks at one server."""

Knock = Callable[[], None]
"""Connects and leaves; raises HeadwaterError where nobody answers."""


class Knocker:
    """Knocks, with a thread for each server that is away. `on_answer` is called from such a thread when one answers again."""

    def __init__(self, on_answer: Callable[[], None] = lambda: None, knock_s: float = KNOCK_S) -> None:
        self.on_answer = on_answer
        self._knock_s = knock_s
        self._lock = threading.Lock()
        self._doors: dict[str, Knock] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._answered: dict[str, float] = {}
        self._closed = threading.Event()

    def watch(self, doors: Mapping[str, Knock]) -> dict[str, float]:
        """Knock at these, and at no others from now on. Returns when those answered that did not before: monotonic seconds."""
        with self._lock:
            self._doors = dict(doors)
            self._answered = {name: at for name, at in self._answered.items() if name in doors}
            for name in doors:
                if name not in self._threads and not self._closed.is_set():
                    self._threads[name] = threading.Thread(target=self._knock, args=(name,), name=f"knock-{name}", daemon=True)
                    self._threads[name].start()
            return dict(self._answered)

    def close(self) -> None:
        """Knock no more. A knock under way ends by itself."""
        self._closed.set()

    def _knock(self, name: str) -> None:
        gone = False
        while (door := self._door(name)) is not None:
            try:
                door()
            except HeadwaterError:
                gone = True
            else:
                if gone:
                    self._note(name)
                gone = False
            self._closed.wait(self._knock_s)

    def _door(self, name: str) -> Knock | None:
        """Where to knock; None where that is over."""
        with self._lock:
            door = None if self._closed.is_set() else self._doors.get(name)
            if door is None:
                del self._threads[name]
            return door

    def _note(self, name: str) -> None:
        with self._lock:
            if name in self._doors:
                self._answered[name] = time.monotonic()
        self.on_answer()
