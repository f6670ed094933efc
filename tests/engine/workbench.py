"""One source, one journal and one target in memory, with the real capture and the real apply between them, in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.engine.apply import ApplyJob, apply
from headwater.engine.capture import CaptureJob, capture
from headwater.engine.control import Clock, Control, SystemClock
from headwater.engine.followed import MemoryNote
from headwater.engine.orders import VerifyLoad
from headwater.engine.verify import VerifyJob, verify
from headwater.ports.journal import Retention
from headwater.ports.runtime import ApplyReport, CaptureReport, VerifyReport
from headwater.ports.target import CopyState
from headwater.testing import FaultScript, MemoryJournal, MemoryTarget, MovedClock, ScriptedSource
from tests.databases import wait_until

EVERYTHING = frozenset({"INSERT", "UPDATE", "DELETE"})
RETENTION = Retention(10**15, 1 << 40, 1 << 41)


def schema(table: str, *columns: str) -> TableSchema:
    """A table `public.<table>` whose first column is its key."""
    made = tuple(Column(name, "text", key=i == 0, nullable=i > 0) for i, name in enumerate(columns))
    return TableSchema(TableName("public", table), made)


def mapping(source: TableSchema, target: TableSchema | None = None, operations: frozenset[str] = EVERYTHING) -> TableMapping:
    """All columns of a table to those of the same names."""
    pairs = tuple(ColumnPair(c.name, c.name, c.key) for c in source.columns)
    return TableMapping(f"m-{source.table.name}", source.table, (target or source).table, pairs, operations)


ACCOUNTS = schema("accounts", "id", "owner", "amount")
NOTES = schema("notes", "id", "text")


@dataclass
class Running:
    """A loop in a thread. `error` is what ended it."""

    control: Control
    thread: threading.Thread
    error: list[BaseException] = field(default_factory=list)

    def stop(self) -> None:
        """Ask it to stop, and wait; raises what ended it instead."""
        self.control.tell({"stop": True})
        self.thread.join(20)
        assert not self.thread.is_alive(), "did not stop"
        if self.error:
            raise self.error[0]


@dataclass
class Workbench:
    """The parts, and how to run them."""

    schemas: tuple[TableSchema, ...] = (ACCOUNTS, NOTES)
    clock: MovedClock = field(default_factory=MovedClock)
    faults: FaultScript = field(default_factory=FaultScript)

    def __post_init__(self) -> None:
        self.source = ScriptedSource(self.schemas, self.clock, self.faults)
        self.journal = MemoryJournal(faults=self.faults)
        self.target = MemoryTarget(self.schemas, self.faults)
        self.mappings = [mapping(s) for s in self.schemas]
        self.epoch = 0
        self.note = MemoryNote()

    def capture_job(self, renewal: Callable[[], None] | None = None) -> CaptureJob:
        """A capture of all tables."""
        tables = sorted(m.source for m in self.mappings)
        return CaptureJob(self.source, tables, self.journal.writer(), self.journal.reader(), RETENTION, renewal, self.note)

    def apply_job(self, task_id: str = "task", ahead: int = 1) -> ApplyJob:
        """A run of the task under the next epoch."""
        self.epoch += 1
        job = ApplyJob(task_id, self.epoch, self.mappings, self.source, self.target, self.journal.reader, 2, ahead)
        return replace(job, follows=lambda tables: {str(table) for table in tables} <= self.note.read().following)

    @contextmanager
    def capturing(self, job: CaptureJob | None = None) -> Iterator[Running]:
        """Run a capture for the body of the `with`."""
        made = job or self.capture_job()
        with _running(lambda control: capture(made, control, self.clock)) as running:
            yield running

    @contextmanager
    def applying(self, job: ApplyJob | None = None, clock: Clock | None = None) -> Iterator[Running]:
        """Run an apply for the body of the `with`."""
        made = job or self.apply_job()
        with _running(lambda control: apply(made, control, clock or self.clock)) as running:
            yield running

    def copied(self, task_id: str = "task") -> bool:
        """True once every mapping's first copy is complete."""
        states = self.target.places[task_id].states if task_id in self.target.places else {}
        return all(m.mapping_id in states and states[m.mapping_id].state is CopyState.COPIED for m in self.mappings)

    def equal(self) -> bool:
        """True where every target table has the rows of its source table."""
        return all(self.target.rows(m.target) == self.source.rows(m.source) for m in self.mappings)

    def await_equal(self) -> None:
        """Wait for that."""
        wait_until(self.equal, what="target and source are equal")

    def await_applied(self, task_id: str = "task") -> None:
        """Wait until all that the source has committed is captured, and the task's checkpoint stands behind it."""

        def reached() -> bool:
            self.clock.move(1)  # a place that was only passed by is committed when its time has come
            place, end = self.target.place(task_id), self.journal.end()
            captured = end.position is not None and int(end.position) >= len(self.source.log)
            return captured and place is not None and place.offset == end.next_offset

        wait_until(reached, what="all is applied")

    def verify_job(self, repair: bool = False, shared: frozenset[str] = frozenset(), load: VerifyLoad | None = None) -> VerifyJob:
        """A verification of the task, in small chunks and without pauses."""
        small = load or VerifyLoad(chunk_rows=10, pause_s=0.0, settle_s=10.0)
        return VerifyJob("task", self.mappings, shared, self.source, self.target, self.journal.reader, repair, small)

    def verify(self, job: VerifyJob | None = None, running: bool = True) -> VerifyReport:
        """Verify the task and give the last report."""
        control = Control()
        control.tell({"running": running})
        verify(job or self.verify_job(), control, SystemClock())
        assert isinstance(control.report, VerifyReport)
        assert control.report.state == "done"
        return control.report


def report_of(running: Running) -> ApplyReport | CaptureReport:
    """Its newest report."""
    report = running.control.report
    assert isinstance(report, ApplyReport | CaptureReport)
    return report


@contextmanager
def _running(loop: Callable[[Control], None]) -> Iterator[Running]:
    running = Running(Control(), threading.Thread())

    def run() -> None:
        try:
            loop(running.control)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            running.error.append(error)

    running.thread = threading.Thread(target=run, daemon=True)
    running.thread.start()
    try:
        yield running
    finally:
        running.control.tell({"stop": True})
        running.thread.join(20)
        assert not running.thread.is_alive(), "did not stop"
