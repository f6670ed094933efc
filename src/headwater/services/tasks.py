"""Combined tasks: making, changing, listing, starting, stopping and deleting them.

Services write wishes; the supervisor makes them true. What can be known before a start is checked before it: every finding
of source and target is told at once, and nothing is wished that can't work.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from headwater.domain.dirty import STOP, DirtyPolicy
from headwater.domain.errors import HeadwaterError
from headwater.domain.failures import policy
from headwater.domain.lifecycle import EXECUTE_STATUS, RUNNING
from headwater.domain.mapping import side_by_side
from headwater.ports.source import Finding
from headwater.ports.store import DataSource, Leftover, Scope, Store, Task
from headwater.services import bounded, checks
from headwater.services.data_sources import DATABASE_TIMEOUT_S, Connections, ask_each, register
from headwater.services.errors import ServiceError, invalid, refusal, unknown_task
from headwater.services.locks import TaskLocks
from headwater.services.mappings import Mappings, MappingSet
from headwater.services.pages import Page, page
from headwater.services.rules import is_running, refusing_the_gone

log = logging.getLogger(__name__)

BATCH_MAX = 10
"""The contract's limit of tasks per start or stop request."""

INIT_MAPPINGS = 10
"""Mappings that init answers with; the rest is in the listing."""

DRAFT_KEPT_MS = 7 * 86_400_000
"""How long an id from init waits for its create before it is forgotten."""

STOP_TIMEOUT_S = 10.0
"""How long deleting a task waits for its worker to end; a worker drains to a commit within that."""


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
    dirty: DirtyPolicy = STOP


@dataclass(frozen=True)
class TaskChange:
    """What a caller sends to update; None leaves as it is. `copy_again` is the API's `repulling_snapshot`."""

    operations: tuple[str, ...] | None = None
    description: str | None = None
    tag: str | None = None
    copy_again: bool = False
    dirty: DirtyPolicy | None = None


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

    `hint` says what the operator can do about `error_kind`; both empty without an error. `notes`: what the check before the last start
    found that does not keep the task from running. Times in ms since 1970, UTC.
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
    dirty: DirtyPolicy = STOP
    notes: tuple[str, ...] = ()


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

        A known id may be initialised again while it doesn't run; an id that was never given out is FDI.3180. Raises FDI.3033 for an
        unknown data source, or for automatic mapping without both; FDI.3023 for a running task; FDI.3016 where a database
        can't be reached. What automatic mapping left out is told with its reasons, not refused."""
        first = self._initial(scope, form)
        with self._locks.hold(first.id):
            task = self._store.task(first.id, scope) or first
            if is_running(task):
                raise refusal("FDI.3023", "Stop the task before you initialise it again.")
            task = replace(task, ext_info=task.ext_info | form.ext_info, modified_ms=self._now_ms())
            task = self._mappings.joined(task, form.source_id, form.target_id)
            register(self._store, task.source_id, form.ext_info)
            made, unmapped = self._mappings.by_name(task) if form.auto_mapping else ([], [])
            with refusing_the_gone():
                self._store.save_task(task)
            self._store.save_mappings(made)
            self._store.drop_drafts(self._now_ms() - DRAFT_KEPT_MS)
            return self._mappings.shown(task, page(self._store.mappings(task.id), INIT_MAPPINGS, 0), unmapped)

    def create(self, scope: Scope, form: TaskForm) -> str:
        """Save the task and return its id; it is stopped until started. Raises FDI.3033 for fields, or an id that is saved already."""
        first = self._initial(scope, InitForm(task_id=form.task_id))
        with self._locks.hold(first.id):
            task = self._store.task(first.id, scope) or first
            if task.saved:
                raise invalid("task_id", "this task has been created already; update it, or leave task_id out for a new one.")
            self._store.save_task(self._filled(task, form))
        return first.id

    def update(self, scope: Scope, task_id: str, change: TaskChange, by: str) -> str:
        """Change a task, running or not, and return its id. `copy_again` copies all its tables again (now, or at the next start).

        An unknown task is FDI.3021 (400) here, as the contract documents."""
        with self._locks.hold(task_id):
            task = self._saved(scope, task_id)
            if task is None:
                raise refusal("FDI.3021")
            changed = replace(
                task,
                operations=task.operations if change.operations is None else checks.operations(change.operations),
                description=task.description if change.description is None else checks.description(change.description),
                tag=task.tag if change.tag is None else checks.tag(change.tag),
                dirty=task.dirty if change.dirty is None else change.dirty,
                modified_ms=self._now_ms(),
            )
            if change.copy_again and task.started_once and self._store.mappings(task_id):
                self._resets.reset(scope, task_id, None, by)
            self._store.save_task(changed)
        self._nudge()
        return task_id

    def show(self, scope: Scope, task_id: str) -> TaskView:
        """One saved task."""
        task = self._saved(scope, task_id)
        if task is None:
            raise unknown_task()
        return self._views(scope, [task])[0]

    def find(self, scope: Scope, wanted: TaskFilter, limit: int, offset: int) -> Page[TaskView]:
        """The matching saved tasks; `offset` counts rows from 0."""
        found = [view for view in self._views(scope, self._store.tasks(scope)) if _matches(view, wanted)]
        if wanted.sort_field == "STATUS":
            found.sort(key=lambda view: view.running)
        return page(found if wanted.ascending else found[::-1], limit, offset)

    def start(self, scope: Scope, task_ids: list[str]) -> BatchOutcome:
        """Check each task against its databases, then wish it to run. 1 to 10 ids: FDI.3150 for none, FDI.3033 for more.

        Per item: FDI.3022 empty id, FDI.3021 unknown, FDI.3023 already started, FDI.3083 TIMING without a schedule, FDI.3026
        with everything that stands in the way. Takes as long as the slowest database, at most about 20 s per check."""
        return self._each(scope, task_ids, self._start_one)

    def stop(self, scope: Scope, task_ids: list[str]) -> BatchOutcome:
        """Wish each task to stop; one that is stopped already counts as a success. Limits and unknown ids as in `start`."""
        return self._each(scope, task_ids, self._stop_one)

    def delete(self, scope: Scope, task_id: str) -> None:
        """Remove a stopped task with its mappings, records, and its checkpoint at the target; rows stay.

        Raises FDI.3023 while it is wished to run, FDI.3028 when its worker has not ended within a few seconds. A target that can't be
        reached doesn't hold it up: its checkpoint is on record as a leftover until it could be removed."""
        with self._locks.hold(task_id):
            task = self._store.task(task_id, scope)
            if task is None:
                raise unknown_task()
            if is_running(task):
                raise refusal("FDI.3023", "Stop the task before you delete it.")
            self._await_end(task)
            target = self._store.data_source(task.target_id) if task.target_id else None
            if target is not None and task.epoch > 0:  # on record first: a crash in between must not leave it unknown
                self._store.save_leftover(Leftover(task.id, target.id, task.id, self._now_ms(), "The task has just been deleted."))
            self._store.delete_task(task_id)
        self._nudge()
        if target is not None:
            self.tidy(target)

    def tidy(self, target: DataSource) -> None:
        """Try to remove what deleted tasks left at a target; what can't be removed stays on record with the reason."""
        for leftover in self._store.leftovers(target.id):
            task_id = leftover.task_id
            forget = self._connections.target(target).forget
            try:
                bounded.within(DATABASE_TIMEOUT_S, "forgetting a deleted task", lambda f=forget, i=task_id: f(i))  # type: ignore[misc]
            except HeadwaterError as error:
                log.warning("checkpoint_left_behind", extra={"task_id": task_id, "data_source_id": target.id, "reason": str(error)})
                self._store.save_leftover(replace(leftover, message=str(error)))
                return
            self._store.delete_leftover(leftover.id)

    def _saved(self, scope: Scope, task_id: str) -> Task | None:
        task = self._store.task(task_id, scope)
        return task if task is not None and task.saved else None

    def _initial(self, scope: Scope, form: InitForm) -> Task:
        """The task of a known id, or a new one that is not stored yet."""
        if form.task_id:
            known = self._store.task(form.task_id, scope)
            if known is None:
                raise refusal("FDI.3180", "Leave task_id out to get a new one.")
            return known
        now = self._now_ms()
        return Task(
            id=uuid.uuid4().hex,
            scope=scope,
            name="",
            task_type="REALTIME",
            description="",
            tag="",
            operations=frozenset({"INSERT", "UPDATE", "DELETE"}),
            source_id=None,
            target_id=None,
            source_app_id="",
            target_app_id="",
            saved=False,
            wished=False,
            state="saved",
            error_kind="",
            message="",
            epoch=0,
            started_once=False,
            created_ms=now,
            modified_ms=now,
            ext_info={},
        )

    def _filled(self, task: Task, form: TaskForm) -> Task:
        task_type = (form.task_type or "REALTIME").upper()
        if task_type not in {"REALTIME", "TIMING"}:
            raise invalid("task_type", "give REALTIME, or TIMING for a task that runs by a schedule.")
        apps = self._store.app_names(task.scope)
        for parameter, app_id in (("source_app_id", form.source_app_id), ("target_app_id", form.target_app_id)):
            if app_id and app_id not in apps:
                raise invalid(parameter, "there is no such integration application in this instance.")
        return replace(
            task,
            name=checks.task_name(form.name),
            task_type=task_type,
            description=checks.description(form.description),
            tag=checks.tag(form.tag),
            operations=checks.operations(form.operations),
            source_app_id=form.source_app_id,
            target_app_id=form.target_app_id,
            dirty=form.dirty,
            saved=True,
            modified_ms=self._now_ms(),
        )

    def _each(self, scope: Scope, task_ids: list[str], act: Callable[[Scope, str], None]) -> BatchOutcome:
        """Act on every task at the same time, and sort the outcomes into those that worked and those that did not."""
        if not task_ids:
            raise refusal("FDI.3150")
        if len(task_ids) > BATCH_MAX:
            raise invalid("list", f"it names {len(task_ids)} tasks; at most {BATCH_MAX} are allowed.")
        with ThreadPoolExecutor(len(task_ids), thread_name_prefix="batch") as pool:
            items = list(pool.map(lambda task_id: self._item(scope, task_id, act), task_ids))
        self._nudge()
        return BatchOutcome(tuple(i for i in items if not i.error_code), tuple(i for i in items if i.error_code))

    def _item(self, scope: Scope, task_id: str, act: Callable[[Scope, str], None]) -> Item:
        task = self._saved(scope, task_id)
        name = task.name if task else ""
        try:
            if not task_id:
                raise refusal("FDI.3022")
            with self._locks.hold(task_id):
                act(scope, task_id)
        except ServiceError as error:
            return Item(task_id, name, error.code, error.message, error.details)
        return Item(task_id, name)

    def _start_one(self, scope: Scope, task_id: str) -> None:
        task = self._saved(scope, task_id)
        if task is None:
            raise refusal("FDI.3021")
        if is_running(task):
            raise refusal("FDI.3023", "This task is started already; stop it first to start it anew.")
        if task.task_type == "TIMING":
            raise refusal("FDI.3083", "Give the task a schedule, then start it.")
        findings, notes = self._findings(task)
        if findings:
            raise refusal("FDI.3026", " ".join(findings), details=tuple(findings))
        for note in notes:
            log.info("task_noted", extra={"task_id": task_id, "note": note})
        self._store.record_notes(task_id, tuple(notes))
        self._mappings.refit(task)
        if not self._store.wish(task_id, True):
            raise refusal("FDI.3023", "This task was started by somebody else just now.")

    def _stop_one(self, scope: Scope, task_id: str) -> None:
        if self._saved(scope, task_id) is None:
            raise refusal("FDI.3021")
        self._store.wish(task_id, False)

    def _findings(self, task: Task) -> tuple[list[str], list[str]]:
        """Everything that stands in the way of a start, as sentences, empty when the task can run; and what else should be known."""
        source = self._store.data_source(task.source_id) if task.source_id else None
        target = self._store.data_source(task.target_id) if task.target_id else None
        mappings = side_by_side([mapping.table_mapping(task.operations) for mapping in self._store.mappings(task.id)])
        if source is None or target is None:
            return ["The task has no source or target data source; name both in init or with a mapping."], []
        if not mappings:
            return ["The task has no mappings; add one."], []
        read, written = self._connections.source(source), self._connections.target(target)
        tables = sorted({mapping.source for mapping in mappings})
        at_source, at_target = ask_each(lambda: read.check(tables), lambda: written.check(mappings), "check before the start")
        found, notes = (
            [*_sentences("At the source", at_source, stops=stops), *_sentences("At the target", at_target, stops=stops)]
            for stops in (True, False)
        )
        if isinstance(at_source, ServiceError) or isinstance(at_target, ServiceError):
            return found, notes
        try:
            return found + [problem for problem in self._mappings.problems(task) if not _told(problem, found)], notes
        except ServiceError as error:
            return [*found, error.message], notes

    def _await_end(self, task: Task) -> None:
        """Wait until the supervisor has ended the task's worker. Raises FDI.3028 where it does not come to that."""
        deadline = time.monotonic() + STOP_TIMEOUT_S
        found: Task | None = task
        while found is not None and found.state in RUNNING:
            if time.monotonic() >= deadline:
                raise refusal("FDI.3028", "Its worker has not ended yet; try again in a moment.")
            self._nudge()
            time.sleep(0.05)
            found = self._store.task(task.id)

    def _views(self, scope: Scope, tasks: list[Task]) -> list[TaskView]:
        apps = self._store.app_names(scope)
        sources = {one.id: one for one in self._store.data_sources(scope)} if tasks else {}
        return [task_view(task, sources, apps) for task in tasks]


def _sentences(side: str, found: list[Finding] | ServiceError, *, stops: bool) -> list[str]:
    """What one side found that `stops` the task, or does not; that it did not answer does, too."""
    if isinstance(found, ServiceError):
        return [found.message] if stops else []
    return [f"{side}: {one}" for one in found if one.stops == stops]


def _told(problem: str, found: list[str]) -> bool:
    """Whether a finding of one side says already what a mapping's problem says: a table, a column or a key that is missing."""
    table, lacks_key, _ = problem.partition("has no usable key")
    missing, not_seen, _ = problem.partition(" that its user can see.")
    name = missing.rpartition(" ")[2]
    return any(
        problem in one or (lacks_key and f"{table}has no " in one) or (not_seen and (f"table {name} " in one or f"table {name}." in one))
        for one in found
    )


def task_view(task: Task, sources: dict[str, DataSource], apps: dict[str, str]) -> TaskView:
    """A task as it is shown, with the names of its data sources and applications."""
    source, target = sources.get(task.source_id or ""), sources.get(task.target_id or "")
    source_app = task.source_app_id or (source.app_id if source else "")
    target_app = task.target_app_id or (target.app_id if target else "")
    return TaskView(
        id=task.id,
        name=task.name,
        task_type=task.task_type,
        description=task.description,
        tag=task.tag,
        operations=tuple(one for one in ("INSERT", "UPDATE", "DELETE") if one in task.operations),
        project_id=task.scope.project_id,
        instance_id=task.scope.instance_id,
        source_id=task.source_id,
        source_name=source.name if source else "",
        source_app_id=source_app,
        source_app_name=apps.get(source_app, ""),
        target_id=task.target_id,
        target_name=target.name if target else "",
        target_app_id=target_app,
        target_app_name=apps.get(target_app, ""),
        running=is_running(task),
        state=task.state,
        execute_status=EXECUTE_STATUS[task.state],
        error_kind=task.error_kind,
        message=task.message,
        hint=policy(task.error_kind).hint if task.error_kind else "",
        epoch=task.epoch,
        created_ms=task.created_ms,
        modified_ms=task.modified_ms,
        dirty=task.dirty,
        notes=task.notes,
    )


def _matches(view: TaskView, wanted: TaskFilter) -> bool:
    exact = (
        (wanted.task_id, view.id),
        (wanted.source_id, view.source_id),
        (wanted.target_id, view.target_id),
        (wanted.execute_status, view.execute_status),
        (wanted.source_app_id, view.source_app_id),
        (wanted.target_app_id, view.target_app_id),
        (wanted.tag, view.tag),
        (wanted.task_type.upper() if wanted.task_type else None, view.task_type),
    )
    return (
        all(not asked or asked == found for asked, found in exact)
        and checks.contains(wanted.name, view.name)
        and (wanted.running is None or wanted.running == view.running)
        and (not wanted.data_source_id or wanted.data_source_id in (view.source_id, view.target_id))
    )
