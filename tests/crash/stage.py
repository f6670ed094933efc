"""Where a plan is played: two private servers behind doors, the real service, one task, the bank's writers, and the checkers.

Headwater goes through the doors, writers and checkers go to the servers themselves.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from headwater.clusters import PrivatePostgres
from tests.crash import transfers
from tests.crash.headwater_process import Headwater, now_ms
from tests.crash.leaks import Usage
from tests.crash.proxy import Proxy
from tests.crash.sides import PASSWORD, ROLE, Side, side_of
from tests.databases import AWAY, D, Database, Session, content

SEED = int(os.environ.get("HEADWATER_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
SETTLE_S = 120.0
"""How long any healing may take before the test gives up; what is promised is shorter, see `plans.py`."""


@dataclass
class Setting:
    """How large a stage is, and what our processes find in their environment."""

    archive_rows: int = 24_000
    writers: int = 2
    pause_s: float = 0.04
    environment: Mapping[str, str] = field(default_factory=dict)


class Stage(Generic[D]):
    """See the module. Made by `stage`."""

    def __init__(self, directory: Path, source: D, target: D, setting: Setting) -> None:
        self.source, self.target, self.setting, self.directory = source, target, setting, directory
        self.random = random.Random(SEED)
        self.doors = {side: Proxy((one.cluster.host, one.cluster.port)) for side, one in self.databases.items()}
        self.headwater = Headwater(directory, setting.environment)
        self.writers: list[transfers.Writer] = []
        self.ids: dict[str, str] = {}
        self.task_id = ""
        self.exclusive = threading.RLock()  # held by faults that start and end processes of ours
        self.servers = threading.RLock()  # held by faults that stop servers, or need them
        self.began_ms = 0
        self._checker: transfers.Checker | None = None
        self._before: Usage | None = None
        self._watch: Session | None = None

    @property
    def databases(self) -> dict[str, D]:
        """Both by their side."""
        return {"source": self.source, "target": self.target}

    @property
    def sides(self) -> dict[str, Side[Any]]:
        """What is done differently at the two."""
        return {side: side_of(database) for side, database in self.databases.items()}

    @property
    def checker(self) -> transfers.Checker:
        """The one that watches the target."""
        assert self._checker is not None
        return self._checker

    def content(self, side: str, password: str = PASSWORD) -> dict[str, Any]:
        """What the API is told of a side: the door, and a role of our own."""
        door = self.doors[side]
        return {**content(self.databases[side]), "host": door.host, "port": str(door.port), "user_name": ROLE, "password": password}

    def open(self) -> None:
        """Fill the source, start the service and the task, and wait until it follows."""
        for side in self.sides.values():
            side.create_role()
        transfers.set_up(self.source, self.target, self.setting.archive_rows)
        self.headwater.start()
        self.ids = {side: self.headwater.data_source(side, one.type, self.content(side)) for side, one in self.databases.items()}
        tables = [(f"{self.source.schema}.{table}", f"{self.target.schema}.{table}") for table in transfers.TABLES]
        self.task_id = self.headwater.combined_task("transfers", self.ids["source"], self.ids["target"], tables)
        self.writers = [transfers.Writer(self.source, n + 1, SEED, self.setting.pause_s) for n in range(self.setting.writers)]
        self._checker = transfers.Checker(self.target, self.task_id)
        for thread in (*self.writers, self._checker):
            thread.start()
        self.headwater.call("start", self.task_id)
        self.await_moved_on()
        self.began_ms = now_ms()
        self._before = self.usage()
        self.target.run("TRUNCATE TABLE ledger")  # what was put in twice between the copy and the log is explained

    def close(self) -> None:
        """End what runs."""
        for thread in self.writers:
            thread.end()
        if self._checker is not None:
            self._checker.end()
        if self._watch is not None:
            self._watch.close()
        self.headwater.kill()
        for door in self.doors.values():
            door.close()

    # -- what is seen

    def await_moved_on(self, timeout_s: float = SETTLE_S) -> float:
        """Wait until the target shows, exactly, something that the source committed after this call; returns the seconds that took."""
        began = time.monotonic()
        before = [(writer, writer.made) for writer in self.writers]
        self.wait(lambda: all(writer.made > made for writer, made in before), timeout_s, "the writers going on")
        wanted = [(writer.number, writer.made) for writer in self.writers]
        self.wait(lambda: self._shows(wanted), timeout_s, f"the target showing {wanted}")
        return time.monotonic() - began

    def _shows(self, wanted: list[tuple[int, int]]) -> bool:
        self.check()
        try:
            watch = self._watch = self._watch or self.target.session(autocommit=True)
            seen = transfers.exact(watch, self.target, self.task_id)
            return seen and all(transfers.applied(watch, writer) >= number for writer, number in wanted)
        except AWAY:
            self._watch = None
            return False

    def wait(self, probe: Callable[[], object], timeout_s: float, what: str) -> None:
        """Wait until the probe is true; where it does not come true the error tells the seed and what the service says."""
        deadline = time.monotonic() + timeout_s
        while not probe():
            assert time.monotonic() < deadline, f"{self.seed}: {what} did not come true within {timeout_s} s; {self.told()}"
            time.sleep(0.05)

    def await_failed(self, kind: str, timeout_s: float = SETTLE_S) -> str:
        """Wait until the task has stopped for this reason; returns its message, which tells what to do."""
        self.wait(lambda: self.task()["state"] == "failed", timeout_s, f"the task stopping with {kind}")
        task = self.task()
        assert task["error_kind"] == kind, task
        return str(task["message"])

    def task(self) -> dict[str, Any]:
        """The task as the API's detail tells it: `state`, `error_kind`, `message` and so on."""
        detail: dict[str, Any] = self.headwater.call("task", self.task_id)["detail"]
        return detail

    def told(self) -> str:
        """State and message of the task, as far as the service answers."""
        with contextlib.suppress(Exception):
            return f"{self.task()}"
        return "the service does not answer"

    def check(self) -> None:
        """Fail where the checker has found something."""
        assert not self.checker.findings.wrong, f"{self.seed}: {self.checker.findings.wrong}"

    @property
    def seed(self) -> str:
        """What repeats this run."""
        return f"seed {SEED} (repeat with HEADWATER_CRASH_SEED={SEED})"

    # -- the end

    def finish(self, ledger: bool = True) -> None:
        """Stop the writers and hold everything against what was promised: equality, ledger, leaks, nothing left behind."""
        for writer in self.writers:
            writer.stop()
        self.wait(self.equal, SETTLE_S, "source and target being equal")
        self.headwater.wait_for(self.task_id, "following")
        findings = self.checker.stop()
        assert not findings.wrong, f"{self.seed}: {findings.wrong}"
        assert findings.exact, "the target was never exact: nothing was tested"
        self._await_nothing_grown()
        twice = self.target.rows(transfers.TWICE)
        assert not (ledger and twice), f"{self.seed}: transfers that were applied more than once: {twice}"
        print(f"{sum(w.made for w in self.writers)} transfers, {findings}")

    def usage(self) -> Usage:
        """What the stage uses up now."""
        return Usage.of(self.headwater.processes(), self.sides["source"], self.sides["target"], self.directory)

    def _await_nothing_grown(self) -> None:
        before = self._before
        assert before is not None
        grown = [""]

        def settled() -> bool:
            grown[0] = self.usage().grown_since(before)
            return not grown[0]

        with contextlib.suppress(AssertionError):
            self.wait(settled, 30, "nothing")
        assert not grown[0], f"{self.seed}: something has grown and stays so: {grown[0]}"

    def equal(self) -> bool:
        """True where all tables are."""
        try:
            return transfers.equal(self.source, self.target)
        except AWAY:
            return False

    def leave(self) -> None:
        """Delete everything through the API; nothing may stay at either side, and no process behind."""
        headwater = self.headwater
        headwater.call("stop", self.task_id)
        headwater.wait_for(self.task_id, "stopped")
        headwater.call("delete_task", self.task_id)
        for id_ in self.ids.values():
            headwater.call("delete_data_source", id_)
        assert self.sides["source"].left_behind() == []
        assert self.target.rows(f"SELECT task_id FROM {'.'.join(self.target.record('checkpoint'))}") == []
        headwater.kill()
        assert headwater.processes() == []


@contextlib.contextmanager
def stage(directory: Path, source: PrivatePostgres, target: PrivatePostgres, setting: Setting) -> Iterator[Stage]:
    """A stage on two running PostgreSQL servers that belong to the test, closed at the end of the block whatever happens."""
    with staged(directory, Database.create(source, "bank"), Database.create(target, "copy"), setting) as made:
        yield made


@contextlib.contextmanager
def staged(directory: Path, source: D, target: D, setting: Setting) -> Iterator[Stage[D]]:
    """A stage on two databases whose servers run and belong to the test, closed at the end of the block whatever happens."""
    print(f"seed {SEED}: repeat with HEADWATER_CRASH_SEED={SEED}")
    made = Stage(directory, source, target, setting)
    with ExitStack() as stack:
        stack.callback(made.close)
        try:
            made.open()
            yield made
        except BaseException:
            print(made.headwater.log_tail())
            raise
