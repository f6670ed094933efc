"""kill -9 and SIGSTOP of capture, apply (in the copy as well) and the whole service, at random moments, under a transfer workload.

At no time does the target show a state that the source never had (P2, P3), and at the end both are equal (P1, P5). In the second plan
resets are mixed in, some of them killed between their acceptance and their effect (P6).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import BOTH, ClusterFactory
from tests.crash.faults import PROCESSES, RESET, killed
from tests.crash.plans import TIMEOUT_S, play
from tests.crash.stage import Setting, stage

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(TIMEOUT_S)]


def test_processes_killed_and_frozen(tmp_path: Path, make_cluster: ClusterFactory) -> None:
    with stage(tmp_path, make_cluster(BOTH[0]), make_cluster(BOTH[-1]), Setting()) as made:
        play(made, PROCESSES, rounds=30)
        made.finish()
        made.leave()


def test_killed_within_resets(tmp_path: Path, make_cluster: ClusterFactory) -> None:
    with stage(tmp_path, make_cluster(BOTH[-1]), make_cluster(BOTH[0]), Setting(archive_rows=120_000)) as made:
        play(made, [RESET, RESET, killed("apply"), killed("capture")], rounds=10)
        made.finish(ledger=False)
        made.leave()
    assert outcomes(tmp_path) <= {"done", "refused"}, "a reset was never rolled forward, or failed"


def outcomes(data_dir: Path) -> set[str]:
    """The outcomes of all resets on record."""
    with closing(sqlite3.connect(data_dir / "headwater.db")) as connection:
        return {str(outcome) for (outcome,) in connection.execute("SELECT DISTINCT outcome FROM resets")}
