"""A whole data plane on real servers: metadata store, supervisor with worker processes, journal, two databases. No API."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self

from headwater import adapters
from headwater.domain.mapping import ColumnPair
from headwater.engine.control import SystemClock
from headwater.engine.knock import Knocker
from headwater.engine.local_runtime import LocalRuntime, LocalWorker
from headwater.engine.orders import VerifyLoad
from headwater.engine.supervisor import Supervisor
from headwater.engine.tidy import Tidy
from headwater.engine.wishes import Terms
from headwater.ports.journal import Retention
from headwater.ports.runtime import ApplyReport
from headwater.ports.store import DataSource, Mapping, Scope, Task
from headwater.ports.target import Checkpoint
from headwater.store import SqlStore, migrate
from tests.databases import AnyDatabase, D, content, wait_until

SCOPE = Scope("0" * 32, str(uuid.UUID(int=1)))
EVERYTHING = frozenset({"INSERT", "UPDATE", "DELETE"})
RETENTION = Retention(7 * 86_400_000_000, 10 << 30, 20 << 30)


def data_source(name: str, database: AnyDatabase) -> DataSource:
    """The record of a database."""
    known = content(database)
    secrets = {"password": known.pop("password")}
    now = time.time_ns() // 1_000_000
    return DataSource(name, SCOPE, "app", name, database.type, "", known, secrets, now, now)


@dataclass
class World(Generic[D]):
    """See the module. `supervisor` is stepped by its own loop while the world is `running`."""

    directory: Path
    source: D
    target: D
    stall_after_s: float = 30.0
    supervisor: Supervisor = field(init=False)
    verify: VerifyLoad = field(default_factory=VerifyLoad)

    def __post_init__(self) -> None:
        url = f"sqlite:///{self.directory / 'metadata.db'}"
        migrate(url)
        self.store = SqlStore(url, bytes(32))
        self.store.save_data_source(data_source("source", self.source))
        self.store.save_data_source(data_source("target", self.target))
        self.journal_dir = partial(adapters.journal_directory, self.directory)

    @contextmanager
    def running(self, drain_s: float = 8.0) -> Iterator[Self]:
        """The service's data plane, for the body of the `with`."""
        runtime = LocalRuntime()
        tidy = Tidy(self.store, adapters.source_of, adapters.target_of, self.journal_dir)
        terms = Terms(self.journal_dir, RETENTION, stall_after_s=self.stall_after_s, verify=self.verify)
        knocker = Knocker()
        self.supervisor = Supervisor(self.store, runtime, terms, tidy, frozenset, SystemClock(), knocker, adapters.knock)
        runtime.on_change = knocker.on_answer = self.supervisor.nudge
        self.supervisor.start()
        try:
            yield self
        finally:
            self.supervisor.close(drain_s)

    def add_task(self, task_id: str, tables: Sequence[str], operations: frozenset[str] = EVERYTHING, **columns: Sequence[str]) -> None:
        """A task over tables of equal names with a key `id`; `columns` names the mapped columns of a table (default: all)."""
        now = time.time_ns() // 1_000_000
        task = Task(
            task_id, SCOPE, task_id, "REALTIME", "", "", operations, "source", "target", "app", "app", True, False, "saved", "", "", 0,
            False, now, now, {},
        )  # fmt: skip
        self.store.save_task(task)
        for table in tables:
            self.add_mapping(task_id, table, columns.get(table, ()))

    def add_mapping(
        self, task_id: str, table: str, columns: Sequence[str] = (), target: str | None = None, mapping_id: str | None = None
    ) -> None:
        """A mapping of a table of the source."""
        pairs = tuple(ColumnPair(name, name, name == "id") for name in columns or self.source.columns(table))
        origin, goal = f"{self.source.schema}.{table}", f"{self.target.schema}.{target or table}"
        made = Mapping(mapping_id or f"{task_id}-{target or table}", task_id, origin, goal, pairs, (), (), (), "MANUAL", 100, 0)
        self.store.save_mapping(made)

    def wish(self, task_id: str, running: bool) -> None:
        """Start or stop a task."""
        self.store.wish(task_id, running)
        self.supervisor.nudge()

    def copy_again(self, task_id: str) -> None:
        """What a reset without a time does to task and target."""
        epoch = self.store.next_epoch(task_id)
        saved = self.store.data_source("target")
        assert saved is not None
        adapters.target_of(saved).raise_epoch(task_id, epoch, Checkpoint(epoch), recopy=True)

    def replay(self, task_id: str, offset: int) -> None:
        """What a reset to the time of a transaction does to the target."""
        epoch = self.store.next_epoch(task_id)
        saved = self.store.data_source("target")
        assert saved is not None
        adapters.target_of(saved).raise_epoch(task_id, epoch, Checkpoint(epoch, offset=offset))
        self.supervisor.nudge()

    def state(self, task_id: str) -> str:
        """Its recorded state."""
        task = self.store.task(task_id)
        assert task is not None
        return task.state

    def message(self, task_id: str) -> str:
        """What is recorded beside its state."""
        task = self.store.task(task_id)
        assert task is not None
        return task.message

    def await_state(self, task_id: str, *states: str, timeout_s: float = 30.0) -> None:
        """Wait until the task is in one of these states."""
        wait_until(lambda: self.state(task_id) in states, timeout_s, f"{task_id} is {' or '.join(states)}")

    def report(self, task_id: str) -> ApplyReport:
        """Its newest report."""
        report = self.supervisor.apply(task_id)
        assert report is not None
        return report

    def pid(self, kind: str, id: str) -> int:
        """The process of a worker; waits until there is one."""
        posts = self.supervisor._captures if kind == "capture" else self.supervisor._applies  # the tests' own look inside

        def find() -> int:
            worker = posts[id].worker if id in posts else None
            return worker.process.pid if isinstance(worker, LocalWorker) and worker.process is not None else 0

        return wait_until(find, what=f"the {kind} {id} runs")

    def kill(self, kind: str, id: str) -> None:
        """kill -9 of a worker; returns once the supervisor has noticed."""
        pid = self.pid(kind, id)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.pid(kind, id) != pid, what="another process")

    def same(self, table: str, columns: str = "*", target: str | None = None) -> bool:
        """True where both sides have the same rows, whatever order they put them in."""
        here, there = self.source.rows(f"SELECT {columns} FROM {table}"), self.target.rows(f"SELECT {columns} FROM {target or table}")
        return sorted(alike(here), key=repr) == sorted(alike(there), key=repr)

    def await_same(self, *tables: str, timeout_s: float = 30.0) -> None:
        """Wait until both sides have the same rows in these tables."""
        for table in tables:
            try:
                wait_until(lambda table=table: self.same(table), timeout_s, f"{table} is equal")  # type: ignore[misc]
            except AssertionError as error:
                raise AssertionError(f"{error}: {[(t.id, t.state, t.message) for t in self.store.tasks()]}") from None


def alike(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows with the same words for the same values, whatever driver has read them: moments without their zone, which is UTC."""
    return [tuple(_without_zone(value) if isinstance(value, datetime) else value for value in row) for row in rows]


def _without_zone(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
