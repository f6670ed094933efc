"""What should run, read from the metadata store: one apply per task that is wished to run, one capture per source that is in use.

A capture goes on while its tasks are stopped: the journal stays complete, so that they go on later without a gap, and the
source keeps no log for us. It ends when the last task that was ever started is deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from headwater.domain.mapping import side_by_side
from headwater.domain.tables import TableName
from headwater.engine.orders import ApplyOrder, CaptureOrder, Connection, VerifyLoad
from headwater.ports.journal import Retention
from headwater.ports.store import DataSource, Store, Task


@dataclass(frozen=True)
class Terms:
    """Settings that go into every order. `journal_dir` gives the directory of a source's journal by its id."""

    journal_dir: Callable[[str], Path]
    retention: Retention
    copy_streams: int = 2
    stall_after_s: float = 30.0
    verify: VerifyLoad = field(default_factory=VerifyLoad)
    row_key: str = field(default="", repr=False)  # without it no row can be set aside


@dataclass
class Wishes:
    """One look at the store: all tasks by id, and the orders that should be carried out, by task and by source."""

    tasks: dict[str, Task] = field(default_factory=dict)
    applies: dict[str, ApplyOrder] = field(default_factory=dict)
    captures: dict[str, CaptureOrder] = field(default_factory=dict)


def read_wishes(store: Store, terms: Terms) -> Wishes:
    """Read the store. Tasks that miss a data source or mappings are left out: they can't have been started."""
    wishes = Wishes({task.id: task for task in store.tasks()})
    all_mappings = store.mappings_by_task() if wishes.tasks else {}
    tables: dict[str, set[TableName]] = {}
    sources: dict[str, DataSource | None] = {}

    def data_source(data_source_id: str) -> DataSource | None:
        if data_source_id not in sources:
            sources[data_source_id] = store.data_source(data_source_id)
        return sources[data_source_id]

    for task in wishes.tasks.values():
        if not (task.wished or task.started_once) or task.source_id is None or task.target_id is None:
            continue
        mappings = side_by_side([mapping.table_mapping(task.operations) for mapping in all_mappings.get(task.id, ())])
        tables.setdefault(task.source_id, set()).update(mapping.source for mapping in mappings)
        source, target = data_source(task.source_id), data_source(task.target_id)
        if runs(task) and mappings and source is not None and target is not None:
            directory = str(terms.journal_dir(task.source_id))
            connections = Connection.of(source), Connection.of(target)
            wishes.applies[task.id] = ApplyOrder(task.id, *connections, directory, mappings, terms.copy_streams, task.dirty, terms.row_key)
    for source_id, names in tables.items():
        source = data_source(source_id)
        if source is not None and names:
            directory = str(terms.journal_dir(source_id))
            order = CaptureOrder(Connection.of(source), directory, tuple(sorted(names)), terms.retention, source.history)
            wishes.captures[source_id] = order
    return wishes


def runs(task: Task) -> bool:
    """True where the task should have a worker: it is wished to run, and has not failed since."""
    return task.wished and task.state != "failed"
