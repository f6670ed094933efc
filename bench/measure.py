"""What a row of the table is: figures of several runs, their medians and spread, and what is to be reached."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

POLL_S = 0.005


@dataclass
class Figures:
    """One figure over several runs."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def text(self) -> str:
        """Median with its spread."""
        low, high = min(self.values), max(self.values)
        return f"{shown(self.median)} {self.unit} ({shown(low)} to {shown(high)})"


@dataclass
class Row:
    """One row. `reached` None: nothing is to be reached, or it could not be measured (`note` says why)."""

    what: str
    ours: Figures | None
    baseline: Figures | None
    reach: str
    reached: bool | None
    ratio: float | None = None
    note: str = ""
    more: list[Figures] = field(default_factory=list)


def shown(value: float) -> str:
    """A number as people read it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def compared(what: str, ours: Figures, baseline: Figures, at_least: float, note: str = "") -> Row:
    """A row whose rate is to be at least so many times the baseline's. The ratio is the median of the runs' ratios."""
    ratio = statistics.median(o / b for o, b in zip(ours.values, baseline.values, strict=True))
    return Row(what, ours, baseline, f">= {at_least:g} x", ratio >= at_least, ratio, note)


def until(condition: Callable[[], object], timeout_s: float, what: str, poll_s: float = POLL_S) -> float:
    """Wait until the condition holds; the monotonic time at which it was seen to.

    Raises:
        TimeoutError: naming what did not come.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {timeout_s:.0f} s")
        time.sleep(poll_s)
    return time.monotonic()


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
