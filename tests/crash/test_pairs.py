"""The faults of both sides where MariaDB is the source, the target, or both, under a transfer workload: all plans in small.

At no time does the target show a state that the source never had (P2, P3), nothing is put in twice, and at the end both are equal (P1).
"""

from __future__ import annotations

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


PAIRS = {"mariadb-newest": SOURCE, "oldest-mariadb": TARGET, "mariadb-mariadb": BOTH}


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs(pair: str, tmp_path: Path, make_own_sides: Callable[[str], Sides]) -> None:
    faults = PAIRS[pair]
    with staged(tmp_path, *make_own_sides(pair), Setting(archive_rows=8_000)) as made:
        play(made, faults, rounds=len(faults))
        made.finish(ledger=RESET not in faults)
        made.leave()
