"""Our own worker processes, driven directly: a capture and an apply of one table, as the supervisor would start them."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from bench.measure import until
from bench.servers import DATABASE, Servers, one
from headwater import adapters
from headwater.clusters import PrivatePostgres
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


def connection_of(server: PrivatePostgres, id_: str) -> Connection:
    """A saved connection to a server."""
    content = {"host": server.host, "port": server.port, "database_name": DATABASE, "user_name": server.user}
    return Connection(id_, "POSTGRESQL", content, {"password": server.password})


def slot_name(source_id: str) -> str:
    """The slot that a source with this id reads from."""
    return PostgresConfig(source_id, "", "", "").slot


class Pipeline:
    """One source with its journal, and at most one task on it. A context manager that kills what still runs."""

    def __init__(self, servers: Servers, source_id: str, table: str, target_table: str | None = None) -> None:
        self.servers = servers
        self.table, self.target_table = table, target_table or table
        self.directory = Path(tempfile.mkdtemp(prefix="headwater-bench-"))
        self.journal = self.directory / "journal"
        self.source, self.target = connection_of(servers.source, source_id), connection_of(servers.target, "target")
        self.task_id = f"task-{source_id}"
        self._runtime = LocalRuntime()
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
        return TableMapping("m", TableName("public", self.table), TableName("public", self.target_table), pairs, OPERATIONS)

    def start_capture(self) -> LocalWorker:
        """Start the capture."""
        retention = Retention(FOREVER, FOREVER, FOREVER)
        order = CaptureOrder(self.source, str(self.journal), (TableName("public", self.table),), retention)
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

    def make_journal(self) -> str:
        """An empty journal; its id."""
        with closing(open_writer(self.journal)) as writer:
            return writer.end().journal_id

    def place_task(self, journal_id: str) -> None:
        """Put the task at offset 0 with everything copied, as if it had just finished its first copy there."""
        target = self._target()
        target.forget(self.task_id)  # of an earlier run, whose table is not this one
        target.raise_epoch(self.task_id, 1)
        with closing(target.open(self.task_id, 1)) as run:
            run.save_table_state(TableState("m", CopyState.COPIED, 0))
            run.commit(Checkpoint(1, journal_id, 0))

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
        query = "SELECT next_offset >= %s FROM headwater.checkpoint WHERE task_id = %s"
        return until(lambda: self._holds(one(self.servers.on_target, query, transactions, self.task_id)), timeout_s, "the end of the apply")

    def _holds(self, true: object) -> bool:
        self.check()
        return bool(true)

    def waiting(self, worker: LocalWorker) -> None:
        """Until an apply has opened its journal and waits there."""
        until(lambda: self._holds(getattr(worker.report(), "state", "") == "following"), START_TIMEOUT_S, "an apply that waits")

    def clock(self) -> str:
        """The target's clock, for `apply_began`."""
        return str(one(self.servers.on_target, "SELECT clock_timestamp()"))

    def apply_began(self, since: str) -> float:
        """When the first session at the target of an apply that was started after `since` (see `clock`) began, in monotonic time."""
        query = """
            SELECT extract(epoch FROM clock_timestamp() - min(backend_start)) FROM pg_stat_activity
             WHERE application_name = 'headwater' AND backend_start > %s::timestamptz
        """
        ages: list[float] = []

        def seen() -> bool:
            age = one(self.servers.on_target, query, since)
            if age is not None:
                ages.append(time.monotonic() - float(age))
            return bool(ages)

        until(lambda: self._holds(seen()), START_TIMEOUT_S, "a session of the apply")
        return ages[0]
