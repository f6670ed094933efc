"""The watchdog of one apply: where the target owes an answer for long, it looks why, over another connection.

A call that waits for a lock can't tell so, and one whose question or answer got lost on the way would wait for ever. What is in the way is
reported; a connection on which both sides wait for each other is broken, so that the run ends and is started again (its place is
kept).
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from headwater.domain.errors import HeadwaterError
from headwater.engine.log import Log
from headwater.engine.tally import Tally
from headwater.ports.runtime import ApplyReport
from headwater.ports.target import TargetRun

LOOK_S = 5.0
"""How long nothing has to move before the target is looked at, and the pause between looks."""

IDLE_LOOKS = 4
"""So many looks in a row that find the target idle, or can't be had, and the connections are broken."""

log = Log("headwater.watchdog")


class Watchdog:
    """A context manager around a run. `look` is one look; a thread of its own calls it until the end."""

    def __init__(self, run: TargetRun, tally: Tally) -> None:
        self._run, self._tally = run, tally
        self._left = threading.Event()
        self._mark: object = None
        self._idle = 0
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left.set()

    def look(self) -> None:
        """Look at the target, where it owes an answer since the last look."""
        report = self._tally.report
        mark, self._mark = self._mark, _mark(report)
        if mark != self._mark or not (report.doing or report.state == "copying"):
            self._idle = 0
            return
        reason = self._reason()
        if self._left.is_set() or self._mark != _mark(self._tally.report):
            return
        self._tally.seen(reason)
        if self._idle >= IDLE_LOOKS:
            log.warning("target_cut", doing=report.doing or report.state, reason=reason)
            self._run.cut()

    def _reason(self) -> str:
        """What is in the way; empty where the target is at work."""
        try:
            seen = self._run.look()
        except HeadwaterError as error:
            self._idle += 1
            return str(error)
        self._idle = self._idle + 1 if seen.state == "idle" else 0
        return seen.reason

    def _watch(self) -> None:
        while not self._left.wait(LOOK_S):
            self._look_safely()

    def _look_safely(self) -> None:
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 - watching must not end for one bad look, and must not end the run
            log.error("look_failed", error=type(error).__name__)


def _mark(report: ApplyReport) -> object:
    """Changes with everything that gets done."""
    return report.doing, report.state, report.offset, report.rows_read, report.rows_copied
