"""The clock of our machine steps by an hour, forward and back, while workers are killed, under a transfer workload.

The step is real for our processes as far as Python tells them the time: each of them loads a `sitecustomize` that adds what a file
says to it. What the servers and the kernel hold for the time is not touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import headwater
from tests.crash.faults import killed
from tests.crash.plans import TIMEOUT_S, Fault, play
from tests.crash.stage import Setting, Stage, staged
from tests.pairs import Sides

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(TIMEOUT_S)]

PAIR = os.environ.get("HEADWATER_CRASH_PAIR", "newest-newest")
HOUR_S = 3600
STEPPED_TIME = """
import pathlib, time
real_ns = time.time_ns
time.time_ns = lambda: real_ns() + int(pathlib.Path({path!r}).read_text()) * 10**9
time.time = lambda: time.time_ns() / 1e9
"""


def clock_faults(clock: Path) -> list[Fault]:
    """The steps: an hour forward, back to the truth, and an hour back."""
    return [stepped(clock, hours) for hours in (1, 0, -1)]


def stepped(clock: Path, hours: int) -> Fault:
    """The clock steps, and stays there."""

    def strike(stage: Stage[Any], random: Random) -> None:
        draft = clock.with_suffix(f".{hours}")  # two steps may fall together
        draft.write_text(str(hours * HOUR_S))
        draft.replace(clock)

    return Fault(f"the clock steps to {hours:+} h", 5.0, strike)


def test_clock(tmp_path: Path, make_own_sides: Callable[[str], Sides]) -> None:
    clock, site = tmp_path / "clock", tmp_path / "site"
    clock.write_text("0")
    site.mkdir()
    (site / "sitecustomize.py").write_text(STEPPED_TIME.format(path=str(clock)))
    paths = f"{site}:{Path(headwater.__file__).parents[1]}"
    with staged(tmp_path, *make_own_sides(PAIR), Setting(environment={"PYTHONPATH": paths})) as made:
        play(made, [*clock_faults(clock), killed("apply"), killed("capture")], rounds=15)
        stepped(clock, 0).strike(made, made.random)
        made.finish()
        made.leave()
