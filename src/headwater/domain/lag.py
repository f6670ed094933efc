"""How far a task is behind, in milliseconds: right when everything is idle, and right when something is blocked.

Two clocks are at play. Stamps are by the source's clock, "now" is by ours; `clock_offset_us` is what the source's clock shows more
than ours, so that `now + clock_offset_us` is the source's now.

The lag is the age of the oldest thing that the task may not have applied:

* a captured transaction waits: the age of its commit (or, where that is not known, the time since nothing waited);
* nothing waits: the time up to which capture knows that it has everything. From an idle source a heartbeat moves it on
  each second, so up to `FRESH_US` of it says nothing and counts as 0. It stands still while the source is down, capture is
  blocked or not running, and it is old while capture has a backlog of its own to read.
"""

from __future__ import annotations

from dataclasses import dataclass

FRESH_US = 3_000_000
"""Silence of the source up to this long is normal: the pause between heartbeats, and the age that a report may have."""

BEHIND_BYTES = 1 << 20
"""With less log than this still to come, capture counts as having everything: a busy source always has a little on its way."""


@dataclass(frozen=True)
class Progress:
    """What is known about a task's progress. Offsets are the journal's; stamps are microseconds since 1970 by the source's clock.

    `complete_us` is the time up to which capture has everything. `pending_us` is the commit of the first captured
    transaction that is not applied, `caught_up_us` the newest time at which none was waiting; None where not known."""

    next_offset: int
    applied: int | None
    complete_us: int | None
    pending_us: int | None = None
    caught_up_us: int | None = None


def lag_transactions(progress: Progress) -> int:
    """Captured transactions that are not applied; 0 for a task that has no place yet."""
    return 0 if progress.applied is None else max(0, progress.next_offset - progress.applied)


def lag_ms(progress: Progress, now_us: int, clock_offset_us: int) -> int | None:
    """Milliseconds behind; None where nothing is known yet (no place, or the source was never heard)."""
    if progress.applied is None or progress.complete_us is None:
        return None
    source_now_us = now_us + clock_offset_us
    waits = lag_transactions(progress) > 0
    stamps = (progress.pending_us, progress.caught_up_us, progress.complete_us) if waits else (progress.complete_us,)
    age_us = source_now_us - next(stamp for stamp in stamps if stamp is not None)
    return 0 if age_us < 0 or (not waits and age_us <= FRESH_US) else age_us // 1000


def complete_us(before: int | None, heard_us: int, behind_bytes: int, last_commit_us: int | None) -> int:
    """The source time up to which capture has everything, after a word heard at `heard_us` with `behind_bytes` still to come.

    `last_commit_us` is the stamp of the last transaction of that word, None for a heartbeat."""
    if behind_bytes <= BEHIND_BYTES:
        return heard_us
    known = before if last_commit_us is None else last_commit_us
    return min(heard_us, heard_us if known is None else max(known, before or known))
