"""Combined tasks: making, changing, listing, starting, stopping and deleting them.

Services write wishes; the supervisor makes them true. What can be known before a start is checked before it: every finding
of source and target is told at once, and nothing is wished that can't work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from headwater.ports.store import Scope, Store
from headwater.services.data_sources import Connections
from headwater.services.locks import TaskLocks
from headwater.services.mappings import Mappings, MappingSet
from headwater.services.pages import Page

BATCH_MAX = 10
"""The contract's limit of tasks per start or stop request."""


class FromTheBeginning(Protocol):
    """The reset service, as far as tasks need it: `repulling_snapshot` is a reset without a time."""

    def reset(self, scope: Scope, task_id: str, date_from_ms: int | None, by: str) -> object:
        """See `services/resets.py`."""


@dataclass(frozen=True)
class InitForm:
    """What a caller sends to init. No `task_id`: a new id is given out. Data sources may come later, with the mappings."""

    source_id: str | None = None
    target_id: str | None = None
    task_id: str | None = None
    auto_mapping: bool = False
    ext_info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskForm:
    """What a caller sends to create. `task_id` from init, or None for a new id. `task_type` REALTIME or TIMING."""

    name: str
    operations: tuple[str, ...]
    task_id: str | None = None
    task_type: str = "REALTIME"
    description: str = ""
    tag: str = ""
    source_app_id: str = ""
    target_app_id: str = ""


@dataclass(frozen=True)
class TaskChange:
    """What a caller sends to update; None leaves as it is. `copy_again` is the API's `repulling_snapshot`."""

    operations: tuple[str, ...] | None = None
    description: str | None = None
    tag: str | None = None
    copy_again: bool = False


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks to list; None or empty lets everything through. `name` matches a part, in any case."""

    task_id: str | None = None
    name: str | None = None
    running: bool | None = None  # the API's status 1 / 0
    task_type: str | None = None  # any case
    source_id: str | None = None
    target_id: str | None = None
    data_source_id: str | None = None  # on either side
    execute_status: str | None = None
    source_app_id: str | None = None
    target_app_id: str | None = None
    tag: str | None = None
    sort_field: Literal["CREATED_DATE", "STATUS"] = "CREATED_DATE"
    ascending: bool = False  # the contract's default is newest first


@dataclass(frozen=True)
class TaskView:
    """A task as it is listed. `running` is the API's status; `state` one of `domain/lifecycle.py`, `execute_status` its API word.

    `hint` says what the operator can do about `error_kind`; both empty without an error. Times in ms since 1970, UTC.
    """

    id: str
    name: str
    task_type: str
    description: str
    tag: str
    operations: tuple[str, ...]
    project_id: str
    instance_id: str
    source_id: str | None
    source_name: str
    source_app_id: str
    source_app_name: str
    target_id: str | None
    target_name: str
    target_app_id: str
    target_app_name: str
    running: bool
    state: str
    execute_status: str
    error_kind: str
    message: str
    hint: str
    epoch: int
    created_ms: int
    modified_ms: int


@dataclass(frozen=True)
class Item:
    """One task of a batch request with its outcome; `error_code` is empty where it worked.

    `details` lists the findings of a refused start one by one."""

    task_id: str
    task_name: str
    error_code: str = ""
    error_message: str = ""
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchOutcome:
    """What became of a batch start or stop."""

    success: tuple[Item, ...]
    failure: tuple[Item, ...]


class Tasks:
    """The use cases on tasks. All raise ServiceError: FDI.3180 (404) for a task that the caller can't see, and what each names."""

    def __init__(
        self,
        store: Store,
        connections: Connections,
        mappings: Mappings,
        resets: FromTheBeginning,
        locks: TaskLocks,
        now_ms: Callable[[], int],
        nudge: Callable[[], None],
    ) -> None:
        self._store = store
        self._connections = connections
        self._mappings = mappings
        self._resets = resets
        self._locks = locks
        self._now_ms = now_ms
        self._nudge = nudge

    def init(self, scope: Scope, form: InitForm) -> MappingSet:
        """Give out a task id, remember its data sources, and map automatically when asked; the first 10 mappings come back.

        A known id that is not created yet may be initialised again. Raises FDI.3033 for an unknown data source, or
        for automatic mapping without both; FDI.3023 for a running task; FDI.3016 where a database can't be reached."""
        raise NotImplementedError

    def create(self, scope: Scope, form: TaskForm) -> str:
        """Save the task and return its id; it is stopped until started. Raises FDI.3033 for fields, or an id that is taken."""
        raise NotImplementedError

    def update(self, scope: Scope, task_id: str, change: TaskChange, by: str) -> str:
        """Change a task, running or not, and return its id. `copy_again` copies all its tables again (now, or at the next start).

        An unknown task is FDI.3021 (400) here, as the contract documents."""
        raise NotImplementedError

    def show(self, scope: Scope, task_id: str) -> TaskView:
        """One saved task."""
        raise NotImplementedError

    def find(self, scope: Scope, wanted: TaskFilter, limit: int, offset: int) -> Page[TaskView]:
        """The matching saved tasks; `offset` counts rows from 0."""
        raise NotImplementedError

    def start(self, scope: Scope, task_ids: list[str]) -> BatchOutcome:
        """Check each task against its databases, then wish it to run. 1 to 10 ids: FDI.3150 for none, FDI.3033 for more.

        Per item: FDI.3022 empty id, FDI.3021 unknown, FDI.3023 already started, FDI.3083 TIMING without a schedule, FDI.3026
        with everything that stands in the way."""
        raise NotImplementedError

    def stop(self, scope: Scope, task_ids: list[str]) -> BatchOutcome:
        """Wish each task to stop; one that is stopped already counts as a success. Limits and unknown ids as in `start`."""
        raise NotImplementedError

    def delete(self, scope: Scope, task_id: str) -> None:
        """Remove a stopped task with its mappings, records, and its checkpoint at the target; rows stay.

        Raises FDI.3023 while it is wished to run, FDI.3028 when its worker has not ended within a few seconds."""
        raise NotImplementedError
