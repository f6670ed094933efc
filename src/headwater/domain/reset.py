"""The decisions of a reset, free of I/O: whether a moment can be gone back to, and where that puts the task.

A reset is a replay: the cursor goes to the first transaction that may have committed at or after the moment, and everything from
there is written again. So it never moves a task past changes that it has not applied (decision 0003), and it is refused,
with what is possible instead, where the history does not hold all that it promises to replay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

DATE_FROM_MAX = 9_999_999_999_999_999_999
"""The largest `date_from` that the API's documents allow."""

CLOCK_SKEW_MS = 1_000
"""How far ahead of the source's clock a moment may lie before it is called the future: clocks differ a little, and "now" is fair."""

SECONDS_BELOW = 100_000_000_000
"""A number below this is 1973 in milliseconds, and up to the year 5138 in seconds: nobody means the first."""

MICROSECONDS_FROM = 100_000_000_000_000
"""A number from here on is the year 5138 or later in milliseconds: nobody means that either."""

_ISO_MS_MAX = 253_402_300_799_999  # the last millisecond of the year 9999


class Unreachable(ValueError):
    """A moment that a reset can't go back to. `str()` is the sentence for the caller: what is wrong, and what is possible."""


@dataclass(frozen=True)
class Reach:
    """The moments that a reset can reach, in microseconds since 1970, UTC; None while there is no history."""

    earliest_us: int | None
    latest_us: int | None

    @property
    def earliest_ms(self) -> int | None:
        """The first whole millisecond within reach."""
        return None if self.earliest_us is None else -(-self.earliest_us // 1000)

    def __str__(self) -> str:
        if self.earliest_ms is None or self.latest_us is None:
            return "There is no history to go back to yet."
        latest_ms = max(self.earliest_ms, self.latest_us // 1000)
        return f"Reachable: {self.earliest_ms} ({iso_ms(self.earliest_ms)}) to {latest_ms} ({iso_ms(latest_ms)})."


@dataclass(frozen=True)
class Standing:
    """Where a task stands in its history, in offsets. `offset` None: it has not found its place yet.

    `copied_from` is the lowest offset from which changes are applied to one of its tables: what lies before that came with the copies,
    and the history need not hold it. `first_offset` and `next_offset` are the ends of what the journal holds.
    """

    offset: int | None
    copied_from: int
    first_offset: int
    next_offset: int


@dataclass(frozen=True)
class Decision:
    """Where a reset puts the task: `to_offset` (None: it has no place yet and needs none), and a sentence for the record."""

    to_offset: int | None
    message: str


def iso_ms(ms: int) -> str:
    """A moment as ISO 8601, UTC, to the millisecond; beyond the year 9999 just that."""
    if not 0 <= ms <= _ISO_MS_MAX:
        return "beyond the year 9999" if ms > 0 else "before 1970"
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def whole_ms(value: object) -> int:
    """`date_from` as the integer that it must be.

    Raises:
        Unreachable: it is no integer, or outside of 1 to `DATE_FROM_MAX`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unreachable("it must be an integer, the moment in milliseconds since 1970-01-01T00:00:00Z.")
    if not 1 <= value <= DATE_FROM_MAX:
        raise Unreachable(f"it must lie between 1 and {DATE_FROM_MAX}, in milliseconds since 1970-01-01T00:00:00Z.")
    return value


def check_moment(ms: int, reach: Reach, source_now_us: int, skew_ms: int = CLOCK_SKEW_MS) -> None:
    """Whether the moment `ms` lies within reach; `source_now_us` is the source's clock, as well as we know it.

    Raises:
        Unreachable: it lies in the future, or before the history begins, or there is no history.
    """
    if ms >= MICROSECONDS_FROM:
        raise Unreachable(f"{ms} lies in the future ({iso_ms(ms)}); it looks finer than the milliseconds that are meant. {reach}")
    if ms > source_now_us // 1000 + skew_ms:
        raise Unreachable(f"{ms} ({iso_ms(ms)}) lies in the future. {reach}")
    if reach.earliest_us is None:
        raise Unreachable(str(reach))
    if ms * 1000 < reach.earliest_us:
        raise Unreachable(f"{ms} ({iso_ms(ms)}) {_before(ms)} {reach}")


def _before(ms: int) -> str:
    if ms < SECONDS_BELOW:
        return "looks like seconds, and milliseconds are meant: multiply it by 1000."
    return "lies before the window. An earlier state comes back with a reset without a time, which copies everything again."


def decide(sought: int, standing: Standing) -> Decision:
    """Where a reset to the moment whose first transaction is `sought` puts the task.

    Raises:
        Unreachable: the task's own place is no longer in the journal, so nothing can be replayed up to it without a gap; or the
            moment lies before the copy of one of its tables.
    """
    at = standing.offset
    if at is None:
        return Decision(None, "The task has not found its place in the history yet; it goes on as it would have.")
    if not standing.first_offset <= at <= standing.next_offset:
        raise Unreachable("the journal no longer holds the place where the task stands. Reset the task without a time to copy again.")
    if at <= sought:
        return Decision(at, f"The task had not passed this moment yet; it goes on from where it stood, offset {at}.")
    if sought < standing.copied_from:
        raise Unreachable("it lies before the task's tables were copied, and what came before that is not in the task's history.")
    return Decision(sought, f"{at - sought} transactions are replayed, from offset {sought} on.")
