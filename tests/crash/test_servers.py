"""Servers that crash and come back, sessions that somebody ends, locks on target tables, under a transfer workload.

At no time does the target show a state that the source never had (P2, P3), nothing is put in twice, and at the end both are equal (P1).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import BOTH, ClusterFactory
from tests.crash.faults import SERVERS
from tests.crash.plans import TIMEOUT_S, play
from tests.crash.stage import Setting, stage

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(TIMEOUT_S)]


def test_servers(tmp_path: Path, make_cluster: ClusterFactory) -> None:
    with stage(tmp_path, make_cluster(BOTH[-1]), make_cluster(BOTH[-1]), Setting()) as made:
        play(made, SERVERS, rounds=25)
        made.finish()
        made.leave()
