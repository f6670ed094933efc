"""kill -9 of capture, apply (in the copy as well) and the whole service, at random moments, under a transfer workload.

At no time does the target show a state that the source never had (P2, P3), and at the end both are equal (P1, P5). Resets are
mixed in, some of them killed between their acceptance and their effect (P6).
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from headwater.clusters import Installation, PrivatePostgres
from headwater.demo.compare import compare
from tests.conftest import BOTH
from tests.crash import transfers
from tests.crash.headwater_process import Headwater, Victim, now_ms
from tests.databases import Database, wait_until

ROUNDS = int(os.environ.get("HEADWATER_CRASH_ROUNDS", "32"))
SEED = int(os.environ.get("HEADWATER_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
ARCHIVE_ROWS = 120_000
VICTIMS: tuple[Victim, ...] = ("apply", "apply", "capture", "capture", "service")

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(900)]


class Trouble:
    """Hits one running Headwater, in ways that a seeded random picks."""

    def __init__(self, headwater: Headwater, source: Database, target: Database, task_id: str, checker: transfers.Checker) -> None:
        self._headwater, self._source, self._target, self._task_id = headwater, source, target, task_id
        self._checker = checker
        self._random = random.Random(SEED)
        self.began_ms = now_ms()
        self.killed: dict[str, int] = {"apply": 0, "capture": 0, "service": 0, "copy": 0, "reset": 0}

    def round(self, number: int) -> None:
        """One round: at times a reset first, then a kill after a random pause; two of three begin once the target is exact again."""
        if number % 3 != 2:
            seen = self._checker.findings.exact
            wait_until(lambda: self._checker.findings.exact > seen or self._checker.findings.wrong, 120, "the target being exact")
        if number % 8 == 3:
            self._headwater.reset(self._task_id, None)
            self._hit_the_copy()
        elif number % 4 == 1:
            self._kill_under_a_reset()
        else:
            if number % 3 == 0:
                self._headwater.reset(self._task_id, self._moment())
            time.sleep(self._random.uniform(0.05, 1.2))  # the moment is the point, not the waiting
            self._kill(self._random.choice(VICTIMS))

    def _moment(self) -> int:
        return self._random.randint(self.began_ms, now_ms())

    def _hit_the_copy(self) -> None:
        wait_until(lambda: self._headwater.state(self._task_id) in ("copying", "catching_up", "following"), 60, "the copy")
        time.sleep(self._random.uniform(0, 0.8))
        copying = self._headwater.state(self._task_id) == "copying"
        self._kill(self._random.choice(VICTIMS))
        self.killed["copy"] += copying

    def _kill_under_a_reset(self) -> None:
        moment = self._moment() if self._random.random() < 0.7 else None
        call = threading.Thread(target=self._headwater.try_reset, args=(self._task_id, moment), daemon=True)
        call.start()
        time.sleep(self._random.uniform(0, 0.15))
        self._kill("service")
        call.join(60)
        assert not call.is_alive()
        self.killed["reset"] += 1

    def _kill(self, victim: Victim) -> None:
        if victim == "service":
            self._headwater.kill()
            self._headwater.start()
            self.killed["service"] += 1
            return
        port = self._target.cluster.port if victim == "apply" else self._source.cluster.port
        wait_until(lambda: self._headwater.kill_worker(victim, port), 60, f"a {victim} to kill")  # it may just be starting again
        self.killed[victim] += 1


def test_killed_at_random(
    tmp_path: Path,
    shared_cluster: Callable[[Installation, str], PrivatePostgres],
    make_database: Callable[[PrivatePostgres], Database],
) -> None:
    """See the module."""
    print(f"seed {SEED}: repeat with HEADWATER_CRASH_SEED={SEED}")
    clusters = shared_cluster(BOTH[0], "first"), shared_cluster(BOTH[-1], "second" if len(BOTH) == 1 else "first")
    source, target = make_database(clusters[0]), make_database(clusters[1])
    transfers.set_up(source, target, ARCHIVE_ROWS)
    with Headwater(tmp_path) as headwater:
        names = headwater.data_source("source", source), headwater.data_source("target", target)
        task_id = headwater.combined_task("transfers", *names, transfers.TABLES)
        writers = [transfers.Writer(source, number, SEED, 0.008) for number in (1, 2)]
        checker = transfers.Checker(target, task_id)
        for thread in (*writers, checker):
            thread.start()
        headwater.call("start", task_id)
        headwater.wait_for(task_id, "following")
        trouble = Trouble(headwater, source, target, task_id, checker)
        for number in range(ROUNDS):
            trouble.round(number)
            assert not checker.findings.wrong, f"seed {SEED}, round {number}: {checker.findings.wrong}"
        for writer in writers:
            writer.stop()
        wait_until(lambda: equal(source, target), 120, f"seed {SEED}: source and target being equal")
        headwater.wait_for(task_id, "following")
        findings = checker.stop()
        print(f"{sum(w.made for w in writers)} transfers, killed {trouble.killed}, {findings}")
        assert not findings.wrong, f"seed {SEED}: {findings.wrong}"
        assert findings.exact > ROUNDS, "the target was hardly ever exact: nothing was tested"
        assert all(trouble.killed.values()) or ROUNDS < 30
    assert outcomes(tmp_path) <= {"done", "refused"}, "a reset was never rolled forward, or failed"


def equal(source: Database, target: Database) -> bool:
    """True where all tables are."""
    return all(one.equal for one in compare(source.dsn, target.dsn, transfers.TABLES))


def outcomes(data_dir: Path) -> set[str]:
    """The outcomes of all resets on record."""
    with closing(sqlite3.connect(data_dir / "headwater.db")) as connection:
        return {str(outcome) for (outcome,) in connection.execute("SELECT DISTINCT outcome FROM resets")}
