"""Connections that are reset, refused, stalled, slow, or robbed of the answer to a COMMIT, under a transfer workload.

At no time does the target show a state that the source never had (P2, P3), nothing is put in twice, and at the end both are equal (P1).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import BOTH, ClusterFactory
from tests.crash.faults import CONNECTIONS
from tests.crash.plans import TIMEOUT_S, play
from tests.crash.stage import Setting, stage

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(TIMEOUT_S)]


def test_connections(tmp_path: Path, make_cluster: ClusterFactory) -> None:
    with stage(tmp_path, make_cluster(BOTH[0]), make_cluster(BOTH[-1]), Setting()) as made:
        play(made, CONNECTIONS, rounds=40)
        made.finish()
        made.leave()
