"""What an apply's report says once the capture's is held beside it: how far the task is behind, now."""

from __future__ import annotations

from dataclasses import replace

from headwater.domain.lag import Progress, lag_ms, lag_transactions
from headwater.ports.runtime import ApplyReport, CaptureReport

LATE_MS = 2_500
"""A task that is behind by more than this is not following, whatever its worker last said: it may be blocked."""

AS_OF_US = 2_000_000
"""A report younger than this is taken as it was when it came; an older one is held against the present."""


def with_lag(report: ApplyReport, capture: CaptureReport | None, caught_up_us: int | None, now_us: int) -> ApplyReport:
    """An apply's report with its lag, as far as both reports together tell it; far behind, it is catching up.

    `caught_up_us` is the newest source time at which the task was known to have applied everything; `now_us` is ours."""
    seen = capture or CaptureReport("starting")
    age_us = now_us - report.at_us
    fresh = age_us <= AS_OF_US
    next_offset = report.next_offset if fresh else max(report.next_offset, seen.next_offset)
    known = Progress(next_offset, report.offset, seen.source_us, report.pending_us, caught_up_us)
    as_of_us = report.at_us if fresh and lag_transactions(known) else now_us
    lag = lag_ms(known, as_of_us, seen.clock_offset_us)
    late = report.state == "following" and lag is not None and lag > LATE_MS
    return replace(report, state="catching_up" if late else report.state, lag_ms=lag, lag_transactions=lag_transactions(known))
