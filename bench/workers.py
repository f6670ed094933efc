"""Our own worker processes, driven directly: a capture and an apply of one table, as the supervisor would start them."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, Self

from bench.measure import until
from headwater import adapters
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.tables import TableName
from headwater.engine.local_runtime import LocalRuntime, LocalWorker
from headwater.engine.orders import ApplyOrder, CaptureOrder, Connection
from headwater.journal import open_reader, open_writer
from headwater.ports.journal import Retention
from headwater.ports.runtime import WorkerSpec
from headwater.ports.target import Checkpoint, CopyState, TableState
from headwater.sources.postgres.config import PostgresConfig

FOREVER = 1 << 60
COLUMNS = ("id", "number", "amount", "name", "price", "made", "words", "open")
OPERATIONS = frozenset({"INSERT", "UPDATE", "DELETE"})
START_TIMEOUT_S = 60.0


class Ends(Protocol):
    """The two servers between which a pipeline runs."""

    def connections(self, source_id: str) -> tuple[Connection, Connection]:
        """Source and target as saved data sources."""

    def names(self, source_table: str, target_table: str) -> tuple[TableName, TableName]:
        """The whole names of two tables."""

    def applied(self, task_id: str) -> int:
        """The offset that the task has come to, by its checkpoint at the target."""

    def clock(self) -> str:
        """A moment of the target, for `session_began`."""

    def session_began(self, since: str) -> float | None:
        """When the first session at the target of an apply began after that moment, in monotonic time; None where none has."""


def slot_name(source_id: str) -> str:
    """The slot that a source with this id reads from."""
    return PostgresConfig(source_id, "", "", "").slot


class Pipeline:
    """One source with its journal, and at most one task on it. A context manager that kills what still runs. The workers get `environment`
    on top of ours."""

    def __init__(
        self, servers: Ends, source_id: str, table: str, target_table: str | None = None, environment: dict[str, str] | None = None
    ) -> None:
        self.servers = servers
        self.table, self.target_table = servers.names(table, target_table or table)
        self.directory = Path(tempfile.mkdtemp(prefix="headwater-bench-"))
        self.journal = self.directory / "journal"
        self.source, self.target = servers.connections(source_id)
        self.task_id = f"task-{source_id}"
        self._runtime = LocalRuntime(environment=environment)
        self._workers: list[LocalWorker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runtime.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def mapping(self) -> TableMapping:
        """All columns by name."""
        pairs = tuple(ColumnPair(c, c, key=c == "id") for c in COLUMNS)
        return TableMapping("m", self.table, self.target_table, pairs, OPERATIONS)

    def start_capture(self) -> LocalWorker:
        """Start the capture."""
        retention = Retention(FOREVER, FOREVER, FOREVER)
        order = CaptureOrder(self.source, str(self.journal), (self.table,), retention)
        return self._start(WorkerSpec("capture", self.source.id, order.payload()))

    def start_apply(self, epoch: int = 1) -> LocalWorker:
        """Start the apply under an epoch."""
        order = ApplyOrder(self.task_id, self.source, self.target, str(self.journal), (self.mapping,))
        return self._start(WorkerSpec("apply", self.task_id, {"order": order.payload(), "epoch": epoch}))

    def _start(self, spec: WorkerSpec) -> LocalWorker:
        worker = self._runtime.start(spec)
        self._workers.append(worker)
        return worker

    def stop(self, worker: LocalWorker) -> None:
        """Ask it to end, and wait for that."""
        worker.tell({"stop": True})
        until(worker.exited, START_TIMEOUT_S, "the end of a worker")

    def check(self) -> None:
        """Raise where a worker has ended that should not have."""
        for worker in self._workers:
            ended = worker.exited()
            if ended is not None and ended.kind != "stopped":
                raise RuntimeError(f"the {worker.spec.kind} ended: {ended.kind}: {ended.message}")

    def make_journal(self, position: str | None = None) -> str:
        """An empty journal, whose source is followed from a place on; its id."""
        with closing(open_writer(self.journal)) as writer:
            if position is not None:
                writer.append((), position, time.time_ns() // 1000)
            return writer.end().journal_id

    def place_task(self, journal_id: str) -> None:
        """Put the task at offset 0 with everything copied, as if it had just finished its first copy there."""
        self.forget_task()
        target = self._target()
        target.raise_epoch(self.task_id, 1)
        with closing(target.open(self.task_id, 1)) as run:
            run.save_table_state(TableState("m", CopyState.COPIED, 0))
            run.commit(Checkpoint(1, journal_id, 0))

    def forget_task(self) -> None:
        """Leave nothing of an earlier run, whose table is not this one."""
        self._target().forget(self.task_id)

    def reset_task(self, journal_id: str, epoch: int) -> None:
        """Send the task back to offset 0, as a reset does."""
        self._target().raise_epoch(self.task_id, epoch, Checkpoint(epoch, journal_id, 0))

    def _target(self) -> Any:
        return adapters.target(self.target.type, self.target.id, self.target.content, self.target.secrets)

    def captured(self, transactions: int, timeout_s: float = 600) -> float:
        """When the journal holds so many transactions."""
        with closing(open_reader(self.journal)) as reader:
            return until(lambda: self._holds(reader.end().next_offset >= transactions), timeout_s, "the end of the capture")

    def applied(self, transactions: int, timeout_s: float = 600) -> float:
        """When the target has so many transactions of the journal."""
        return until(lambda: self._holds(self.servers.applied(self.task_id) >= transactions), timeout_s, "the end of the apply")

    def _holds(self, true: object) -> bool:
        self.check()
        return bool(true)

    def waiting(self, worker: LocalWorker) -> None:
        """Until an apply has opened its journal and waits there."""
        until(lambda: self._holds(getattr(worker.report(), "state", "") == "following"), START_TIMEOUT_S, "an apply that waits")

    def apply_began(self, since: str) -> float:
        """When the first session at the target of an apply that was started after `since` (see `Ends.clock`) began, in monotonic time."""
        began: list[float] = []

        def seen() -> bool:
            found = self.servers.session_began(since)
            began.extend([] if found is None else [found])
            return bool(began)

        until(lambda: self._holds(seen()), START_TIMEOUT_S, "a session of the apply")
        return began[0]
