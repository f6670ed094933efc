"""The line between a worker and whoever started it: it is told to stop and what to keep, and it says how it is doing.

The loops of the engine only look at `stopping` and post their newest report; how commands arrive and reports travel (pipes of a
process, plain calls in a test) is the runtime's business.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from headwater.ports.runtime import RepairAsk, Report

UNTOLD = 0
"""The needed offset before anybody told one: everything is kept, because a running task may need it."""


class Clock(Protocol):
    """Time as an argument: `monotonic` seconds for durations, `now_us` for stamps (microseconds since 1970, UTC)."""

    def now_us(self) -> int:
        """Now, by this machine's clock."""

    def monotonic(self) -> float:
        """Seconds that never run backward."""


class SystemClock:
    """The real one."""

    def now_us(self) -> int:
        """Now, by this machine's clock."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds that never run backward."""
        return time.monotonic()


class Control:
    """One worker's line. Thread-safe.

    `needed_offset` is the lowest journal offset that a running task still needs; None: nobody needs any. `repair` is the newest
    wish for a repair (an apply's); `running` tells whether the task has an apply (a verification's). `stale`:
    by source table, the offset before which no copy of it may have begun (an apply's)."""

    def __init__(self, post: Callable[[Report], None] | None = None) -> None:
        self._stop = threading.Event()
        self._post = post
        self.needed_offset: int | None = UNTOLD
        self.repair: RepairAsk | None = None
        self.running = False
        self.stale: dict[str, int] = {}
        self.report: Report | None = None

    @property
    def stopping(self) -> bool:
        """True once the worker has been asked to drain and end."""
        return self._stop.is_set()

    def tell(self, command: dict[str, Any]) -> None:
        """Take a command of `ports.runtime.Worker.tell`."""
        if command.get("stop"):
            self._stop.set()
        if "needed_offset" in command:
            self.needed_offset = command["needed_offset"]
        if "repair" in command:
            self.repair = read_ask(command["repair"])
        if "stale" in command:
            self.stale = command["stale"]
        if "running" in command:
            self.running = command["running"]

    def pause(self, timeout_s: float) -> bool:
        """Sleep, but no longer than until the worker is asked to stop; True where it is."""
        return self._stop.wait(timeout_s)

    def post(self, report: Report) -> None:
        """Make this the newest report."""
        self.report = report
        if self._post is not None:
            self._post(report)


def read_ask(message: dict[str, Any]) -> RepairAsk:
    """A wish for a repair as it comes out of JSON."""
    return RepairAsk(message["number"], message["mapping_id"], tuple(tuple(key) for key in message["keys"]))
