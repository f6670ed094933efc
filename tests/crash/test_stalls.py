"""Workers that are alive and get nothing done: frozen, behind a lock, at a connection that swallows everything or a server that is frozen,
under a transfer workload.

Each is shown as `stalled`, with what stands still, and heals by itself. At no time does the target show a state that the source never had
(P2, P3), nothing is put in twice, and at the end both are equal (P1).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from headwater.domain.stall import STAGES
from tests.conftest import BOTH, ClusterFactory
from tests.crash.headwater_process import WorkerKind
from tests.crash.stage import Setting, Stage, stage, staged
from tests.pairs import Sides

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(600)]

STALL_AFTER_S = 5
FROZEN: dict[WorkerKind, str] = {"apply": STAGES["read"], "capture": STAGES["capture"]}
"""What is shown of a frozen worker that had done its last piece."""


def test_stalls(tmp_path: Path, make_cluster: ClusterFactory) -> None:
    """One after the other on one stage."""
    setting = Setting(environment={"HEADWATER_STALL_AFTER_S": str(STALL_AFTER_S)})
    with stage(tmp_path, make_cluster(BOTH[0]), make_cluster(BOTH[-1]), setting) as made:
        for kind in FROZEN:
            frozen_for_a_while(made, kind)
        target_locked(made)
        target_swallowed(made)
        frozen_for_good(made)
        made.finish()
        made.leave()


def test_stalls_at_mariadb(tmp_path: Path, make_own_sides: Callable[[str], Sides]) -> None:
    """The same where a server of its own kind is what stands still."""
    setting = Setting(archive_rows=8_000, environment={"HEADWATER_STALL_AFTER_S": str(STALL_AFTER_S)})
    with staged(tmp_path, *make_own_sides("mariadb-mariadb"), setting) as made:
        server_frozen(made, made.source.cluster.pid, STAGES["capture"])
        server_frozen(made, made.target.cluster.pid, STAGES["write"], STAGES["commit"])
        made.finish()
        made.leave()


def await_stalled(made: Stage[Any], *words: str) -> None:
    """Wait until the task is shown as stalled, with one of these words."""
    made.wait(lambda: made.task()["state"] == "stalled", 60, "the task being shown as stalled")
    made.wait(lambda: any(word in made.task()["message"] for word in words), 60, f"the message saying {words}")


def frozen_for_a_while(made: Stage, kind: WorkerKind) -> None:
    """The same process goes on. What its last report said is what is shown of it, so that must be about following."""
    made.headwater.wait_for(made.task_id, "following")
    before = made.headwater.worker(kind).pid
    with made.headwater.frozen(kind):
        await_stalled(made, FROZEN[kind], STAGES["write"], STAGES["commit"])
    print(f"moved on {made.await_moved_on():.1f} s after the {kind} went on")
    made.headwater.wait_for(made.task_id, "following")
    assert made.headwater.worker(kind).pid == before


def target_locked(made: Stage) -> None:
    """The message names the session that holds the lock."""
    before = made.headwater.worker("apply").pid
    with made.target.connect(autocommit=False) as other:
        other.execute("LOCK TABLE account IN SHARE MODE")
        await_stalled(made, f"held by session {other.info.backend_pid} (")
    print(f"moved on {made.await_moved_on():.1f} s after the lock was gone")
    made.headwater.wait_for(made.task_id, "following")
    assert made.headwater.worker("apply").pid == before


def server_frozen(made: Stage[Any], pid: int, *words: str) -> None:
    """The server says nothing, and its connections stay open."""
    made.headwater.wait_for(made.task_id, "following")
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        await_stalled(made, *words)
    finally:
        for process in family:
            process.resume()
    print(f"moved on {made.await_moved_on():.1f} s after the server went on")
    made.headwater.wait_for(made.task_id, "following")


def target_swallowed(made: Stage) -> None:
    """The watchdog sees a target that waits for us, breaks the connection and ends its session, whose locks would stop the next run."""
    assert made.doors["target"].swallow()
    await_stalled(made, "the question or the answer was lost")
    made.await_moved_on()
    made.headwater.wait_for(made.task_id, "following")
    assert '"event": "target_cut"' in made.headwater.log_tail(2000)


def frozen_for_good(made: Stage) -> None:
    """After a minute of silence both are ended and started again."""
    frozen = [made.headwater.worker(kind) for kind in FROZEN]
    for process in frozen:
        process.suspend()
    await_stalled(made, *STAGES.values())
    gone, alive = psutil.wait_procs(frozen, timeout=100)
    assert not alive
    print(f"moved on {made.await_moved_on():.1f} s after {len(gone)} frozen workers were ended")
    made.headwater.wait_for(made.task_id, "following")
