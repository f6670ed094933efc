"""The stall detector: which tasks stand still, and where, by what their workers' reports show (`domain/stall.py`).

The supervisor looks in each of its steps. A task stands still where its own apply does, or where that has applied everything and its
capture stands still.
"""

from __future__ import annotations

from headwater.domain.stall import Sign, Stall
from headwater.ports.runtime import ApplyReport, CaptureReport

TOLD_S = 5
"""How exactly it is told for how long: each new word is recorded."""


class Stalls:
    """Remembers since when each sign has been the same. Times are monotonic seconds, handed in."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._seen: dict[str, tuple[Sign, float]] = {}

    def look(self, of: str, sign: Sign | None, now: float) -> Stall | None:
        """What stands still, None where nothing does. `of` names whose sign it is; a sign of None forgets."""
        if sign is None or not sign.due:
            self._seen.pop(of, None)
            return None
        before, since = self._seen.get(of, (sign, now))
        if (before.stage, before.mark) != (sign.stage, sign.mark):
            since = now
        self._seen[of] = (sign, since)
        for_s = int(now - since) // TOLD_S * TOLD_S
        return Stall(sign.stage, for_s, sign.obstacle) if now - since >= self._after_s else None


def apply_sign(report: ApplyReport | None, captured: int) -> Sign:
    """The sign of an apply; None is one that has not said anything yet. `captured` is the journal's end by the capture's word.

    One that waits and says for what does not stand still."""
    if report is None or report.state == "starting":
        return Sign("start", due=True)
    mark = (report.offset, report.rows_read, report.rows_taken, report.rows_copied, report.transactions, report.looks, report.state)
    if report.state == "copying":
        return Sign("copy", True, mark, report.obstacle)
    if report.doing:
        return Sign(report.doing, True, mark, report.obstacle)
    behind = report.offset is not None and report.offset < max(report.next_offset, captured)
    return Sign("read", behind and report.state != "waiting", mark)


def capture_sign(report: CaptureReport | None) -> Sign:
    """The sign of a capture: a healthy source says something every second, even where nothing happens."""
    if report is None or report.state == "starting":
        return Sign("capture_start", due=True)
    return Sign("capture", True, (report.position, report.rows, report.source_us))
