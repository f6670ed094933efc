"""Scripted faults and a clock that only moves when told: failure rehearsed, never waited for.

Every fake of this package announces each port call twice, before and after its effect. A `FaultScript` decides what happens at
these seams: an error before the effect ("refused"), an error after it ("done, but the answer was lost"), the end of the
process (`Crash`), or any action, such as a second run that commits in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

When = Literal["before", "after"]
Action = BaseException | Callable[[], object]


class Crash(BaseException):
    """The process ended here, as by kill -9. Not an `Exception`, so that no handler on the way mistakes it for a failure."""


@dataclass
class _Plan:
    call: str
    when: When
    action: Action
    remaining: int


class FaultScript:
    """What happens at the seams of the fakes. Thread-safe; without plans it only counts.

    `steps` counts the seams passed; `seen` holds their names in order (`target.commit:before`).
    """

    def __init__(self) -> None:
        self.steps = 0
        self.seen: list[str] = []
        self._plans: list[_Plan] = []
        self._crash_step: int | None = None
        self._lock = threading.Lock()

    def before(self, call: str, action: Action, nth: int = 1) -> None:
        """Do `action` (raise it, where it is an error) right before the `nth` next call named `call` has its effect."""
        self._add(_Plan(call, "before", action, nth))

    def after(self, call: str, action: Action, nth: int = 1) -> None:
        """Do `action` once the `nth` next call named `call` has had its effect: an error there is an answer that was lost."""
        self._add(_Plan(call, "after", action, nth))

    def clear(self) -> None:
        """Take all plans back."""
        with self._lock:
            self._plans.clear()
            self._crash_step = None

    def crash_in(self, steps: int | None) -> None:
        """Raise `Crash` at the seam that is `steps` (1: the next) away, whatever it is; None takes the plan back."""
        with self._lock:
            self._crash_step = None if steps is None else self.steps + steps

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        """Wrap the effect of one port call."""
        self.point(call, "before")
        yield
        self.point(call, "after")

    def point(self, call: str, when: When = "before") -> None:
        """Pass one seam."""
        with self._lock:
            self.steps += 1
            self.seen.append(f"{call}:{when}")
            crash = self.steps == self._crash_step
            due = self._due(call, when)
        if crash:
            raise Crash(f"{call}:{when}")
        for action in due:
            if isinstance(action, BaseException):
                raise action
            action()

    def _add(self, plan: _Plan) -> None:
        with self._lock:
            self._plans.append(plan)

    def _due(self, call: str, when: When) -> list[Action]:
        due: list[Action] = []
        for plan in [p for p in self._plans if p.call == call and p.when == when]:
            plan.remaining -= 1
            if plan.remaining == 0:
                self._plans.remove(plan)
                due.append(plan.action)
        return due


class MovedClock:
    """A clock that stands still until a test moves it. Starts at 2026-01-01T00:00:00Z."""

    def __init__(self, start_us: int = 1_767_225_600_000_000) -> None:
        self._us = start_us

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return self._us

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        return self._us // 1000

    def monotonic(self) -> float:
        """Seconds, for durations; moves with the clock."""
        return self._us / 1e6

    def move(self, seconds: float) -> int:
        """Move on (or back, with a negative number) and return the new time in microseconds."""
        self._us += int(seconds * 1e6)
        return self._us
