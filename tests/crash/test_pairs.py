"""The faults of both sides where MariaDB or MySQL is the source, the target, or both, under a transfer workload: all plans in small.

At no time does the target show a state that the source never had (P2, P3), nothing is put in twice, and at the end both are equal (P1).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.faults import LOCKED, RESET, ROBBED, ROTATED, TORN, closed, cut, frozen, killed, restarted, sessions_ended, slow, stalled
from tests.crash.plans import TIMEOUT_S, play
from tests.crash.stage import Setting, staged
from tests.pairs import Sides

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(TIMEOUT_S)]

SOURCE = [
    *(killed("capture"), frozen("capture"), restarted("source"), sessions_ended("source"), ROTATED),
    *(TORN, cut("source"), closed("source"), stalled("source"), slow("source")),
]
TARGET = [
    *(killed("apply"), frozen("apply"), restarted("target"), sessions_ended("target"), LOCKED),
    *(ROBBED, cut("target"), closed("target"), stalled("target"), slow("target")),
]
BOTH = [RESET, killed("service"), frozen("service"), killed("apply"), restarted("source"), restarted("target"), ROTATED, cut("source")]

PAIRS = {"mariadb-newest": SOURCE, "oldest-mariadb": TARGET, "mysql-mariadb": BOTH}
ONE = os.environ.get("HEADWATER_CRASH_PAIR", "")
CHOSEN = {ONE: [*SOURCE, *TARGET, RESET]} if ONE else PAIRS
"""`make soak ARGS="--pair ..."` takes one pair, whichever, and the faults of both sides."""


@pytest.mark.parametrize("pair", CHOSEN)
def test_pairs(pair: str, tmp_path: Path, make_own_sides: Callable[[str], Sides]) -> None:
    faults = [fault for fault in CHOSEN[pair] if fault is not ROTATED or pair.startswith(("mariadb", "mysql"))]
    with staged(tmp_path, *make_own_sides(pair), Setting(archive_rows=8_000)) as made:
        play(made, faults, rounds=len(faults))
        made.finish(ledger=RESET not in faults)
        made.leave()
