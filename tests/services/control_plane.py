"""The control plane for tests: real services over a real metadata store on SQLite, with a scripted source and a target in memory.

A tiny stand-in for the supervisor carries out wishes when it is nudged, so that nothing here needs a worker process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headwater.domain.tables import Column, TableName, TableSchema
from headwater.ports.journal import JournalReader
from headwater.ports.runtime import ApplyReport, CaptureReport
from headwater.ports.store import DataSource, Scope, Task
from headwater.services.data_sources import Connections, DataSourceForm, DataSources
from headwater.services.locks import TaskLocks
from headwater.services.mappings import Mappings
from headwater.services.monitoring import Monitoring
from headwater.services.setup import FirstAccess
from headwater.services.tasks import InitForm, TaskForm, Tasks
from headwater.store import SqlStore
from headwater.testing import MemoryJournal, MemoryTarget, MovedClock, ScriptedSource

KEY = b"k" * 32

CONTENT: dict[str, Any] = {
    "host": "source.example",
    "port": "5432",
    "database_name": "shop",
    "user_name": "reader",
    "password": "hidden-word",
}


def table(name: str, *columns: Column, schema: str = "public") -> TableSchema:
    """A table; without columns it has `id bigint` as its key and `name text`."""
    return TableSchema(TableName(schema, name), columns or (Column("id", "bigint", key=True, nullable=False), Column("name", "text")))


class Reports:
    """`Live` that says what a test puts in."""

    def __init__(self) -> None:
        self.applies: dict[str, ApplyReport] = {}
        self.captures: dict[str, CaptureReport] = {}

    def apply(self, task_id: str) -> ApplyReport | None:
        return self.applies.get(task_id)

    def capture(self, data_source_id: str) -> CaptureReport | None:
        return self.captures.get(data_source_id)


class RecordedResets:
    """A reset service that records what it was asked for; `refusal` is raised instead."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None, str]] = []
        self.refusal: Exception | None = None

    def reset(self, scope: Scope, task_id: str, date_from_ms: int | None, by: str) -> object:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append((task_id, date_from_ms, by))
        return None


@dataclass
class Plane:
    """Everything a service test needs. `supervised` False: wishes stay wishes."""

    url: str
    access: FirstAccess
    source: ScriptedSource = field(default_factory=lambda: ScriptedSource([table("orders"), table("customers")]))
    target: MemoryTarget = field(default_factory=lambda: MemoryTarget([table("orders"), table("customers")]))
    supervised: bool = True
    nudges: int = 0

    def __post_init__(self) -> None:
        self.store = SqlStore(self.url, KEY)
        self.scope, self.app_id = Scope(self.access.project_id, self.access.instance_id), self.access.app_id
        self.clock, self.live, self.resets, self.locks = MovedClock(), Reports(), RecordedResets(), TaskLocks()
        self.journals: dict[str, MemoryJournal] = {}
        connections = Connections(self.source_of, self.target_of)
        self.data_sources = DataSources(self.store, connections, self.clock.now_ms, self.nudge)
        self.mappings = Mappings(self.store, connections, self.locks, self.clock.now_ms)
        self.tasks = Tasks(self.store, connections, self.mappings, self.resets, self.locks, self.clock.now_ms, self.nudge)
        self.monitoring = Monitoring(self.store, self.live, self.open_journal, self.clock.now_ms, connections)
        self.connected: list[DataSource] = []

    def source_of(self, data_source: DataSource) -> ScriptedSource:
        self.connected.append(data_source)
        return self.source

    def target_of(self, data_source: DataSource) -> MemoryTarget:
        self.connected.append(data_source)
        return self.target

    def open_journal(self, data_source_id: str) -> JournalReader | None:
        found = self.journals.get(data_source_id)
        return None if found is None else found.reader()

    def nudge(self) -> None:
        """What the supervisor would do: run what is wished, end what is not, release sources that no task uses."""
        self.nudges += 1
        if not self.supervised:
            return
        used = set()
        for task in self.store.tasks():
            used |= {task.source_id}
            if task.wished and task.state == "starting":
                epoch = self.store.next_epoch(task.id)
                self.target.raise_epoch(task.id, epoch)
                self.store.record_state(task.id, "following")
                if task.source_id:
                    self.store.set_published(task.source_id, True)
            elif not task.wished and task.state not in ("saved", "stopped"):
                self.store.record_state(task.id, "stopped")
        for data_source in self.store.data_sources():
            if data_source.published and data_source.id not in used and self.source.reachable:
                self.source.release()
                self.store.set_published(data_source.id, False)

    def form(self, name: str = "source", **content: Any) -> DataSourceForm:
        return DataSourceForm(name, "POSTGRESQL", self.app_id, CONTENT | content)

    def connections(self) -> tuple[str, str]:
        """Ids of a fresh source and target data source."""
        source = self.data_sources.create(self.scope, self.form("source"))
        return source.id, self.data_sources.create(self.scope, self.form("target", host="target.example")).id

    def task(self, name: str = "task-1", operations: tuple[str, ...] = ("INSERT", "UPDATE", "DELETE"), mapped: bool = True) -> Task:
        """A saved task over fresh data sources, all tables mapped automatically."""
        source, target = self.connections()
        made = self.tasks.init(self.scope, InitForm(source, target, auto_mapping=mapped))
        self.tasks.create(self.scope, TaskForm(name, operations, made.task_id))
        return self.stored(made.task_id)

    def started(self, name: str = "task-1") -> Task:
        """A task that runs."""
        task = self.task(name)
        outcome = self.tasks.start(self.scope, [task.id])
        assert not outcome.failure, outcome.failure
        return self.stored(task.id)

    def stored(self, task_id: str) -> Task:
        found = self.store.task(task_id)
        assert found is not None
        return found
