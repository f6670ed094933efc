"""How a plan of faults is played: strike, let it be over, and hold the time until the target moves on against what is said.

The faults of a plan (`faults.py`) heal by themselves. `heals_s` is the time that docs/reference/failures.md gives for it, from the moment
at which the cause is gone. A long run (`make soak`), which has the machine for itself, holds its median against that; in any run no
healing may take longer than `HEALING_MAX_S`. Faults after which a person has to act are tests of their own.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.crash.stage import Stage

Strike = Callable[[Stage[Any], Random], None]

MINUTES = float(os.environ.get("HEADWATER_CRASH_MINUTES", "0"))
"""How long each plan goes on; 0: for its number of rounds."""

TIMEOUT_S = 900 + int(MINUTES * 60)
"""When a plan that hangs is ended."""

OVERLAP = 0.2
"""Share of the rounds in which a second fault strikes while the first one does."""

HEALING_MAX_S = 60.0
"""No healing may take longer than this, however slow the machine."""


@dataclass(frozen=True)
class Fault:
    """One way to be hit. `strike` returns once its cause is gone."""

    name: str
    heals_s: float
    strike: Strike


@dataclass(frozen=True)
class Healing:
    """How long it took until the target moved on after a fault."""

    fault: str
    seconds: float


def play(stage: Stage[Any], faults: Sequence[Fault], rounds: int) -> None:
    """Play rounds, then hold the healing times against what is said of each fault."""
    healings: list[Healing] = []
    deadline = time.monotonic() + MINUTES * 60
    number = 0
    order = _shuffled(stage.random, faults)
    while time.monotonic() < deadline if MINUTES else number < rounds:
        healings.append(_round(stage, next(order), stage.random.choice(faults), number))
        number += 1
    print(f"{number} rounds; seconds until the target moved on again (median, longest):")
    for fault in dict.fromkeys(faults):
        seconds = [one.seconds for one in healings if one.fault == fault.name]
        if not seconds:
            continue
        median = statistics.median(seconds)
        print(f"  {fault.name:<44} {len(seconds):>3} times  {median:>5.1f}  {max(seconds):>5.1f}")
        assert not MINUTES or median <= fault.heals_s, f"{stage.seed}: {fault.name} heals in {median} s, and not in {fault.heals_s} s"
        assert max(seconds) <= HEALING_MAX_S, f"{stage.seed}: {fault.name} took {max(seconds)} s to heal"


def _shuffled(random: Random, faults: Sequence[Fault]) -> Iterator[Fault]:
    """The faults for ever, in another order each time, none twice before all were there."""
    while True:
        yield from random.sample(faults, len(faults))


def _round(stage: Stage[Any], fault: Fault, second: Fault, number: int) -> Healing:
    aside = Random(stage.random.random())
    time.sleep(stage.random.uniform(0, 0.3))  # the moment is the point, not the waiting
    if stage.random.random() >= OVERLAP or second is fault:
        fault.strike(stage, stage.random)
    else:
        _both(stage, fault, second, aside)
    try:
        return Healing(fault.name, stage.await_moved_on())
    except AssertionError as error:
        raise AssertionError(f"round {number}, after {fault.name}: {error}") from error


def _both(stage: Stage[Any], first: Fault, second: Fault, aside: Random) -> None:
    """Strike twice at the same time."""
    errors: list[BaseException] = []

    def strike() -> None:
        try:
            second.strike(stage, aside)
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's thread
            errors.append(error)

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    first.strike(stage, stage.random)
    thread.join(120)
    assert not thread.is_alive(), f"{second.name} does not end"
    if errors:
        raise errors[0]
