"""A metadata store in memory that keeps the contract of `ports/store.py`. One lock makes each method a transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Concatenate, ParamSpec, TypeVar

from headwater.domain.errors import HeadwaterError
from headwater.ports.store import AccessKey, DataSource, Leftover, Mapping, Reset, Run, Scope, Task, Token, User, Verification
from headwater.testing.faults import FaultScript

P = ParamSpec("P")
R = TypeVar("R")


def _write(method: Callable[Concatenate[MemoryStore, P], R]) -> Callable[Concatenate[MemoryStore, P], R]:
    """A writing method: one transaction, with its seams announced as `store.<name>`."""

    def wrapped(self: MemoryStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.faults.around(f"store.{method.__name__}"), self.lock:
            return method(self, *args, **kwargs)

    wrapped.__doc__ = method.__doc__
    return wrapped


class MemoryStore:
    """`Store` in memory. What it holds survives a scripted crash, as on disk. Dictionaries keep the order of insertion."""

    def __init__(self, faults: FaultScript | None = None) -> None:
        self.faults = faults or FaultScript()
        self.lock = threading.RLock()
        self._tasks: dict[str, Task] = {}
        self._mappings: dict[str, Mapping] = {}
        self._runs: dict[str, Run] = {}
        self._resets: dict[str, Reset] = {}
        self._verifications: dict[str, Verification] = {}
        self._data_sources: dict[str, DataSource] = {}
        self._leftovers: dict[str, Leftover] = {}
        self._users: dict[str, User] = {}
        self._keys: dict[str, AccessKey] = {}
        self._tokens: dict[str, Token] = {}

    def task(self, task_id: str, scope: Scope | None = None) -> Task | None:
        """See `TaskStore.task`."""
        with self.lock:
            task = self._tasks.get(task_id)
            return task if task is not None and scope in (None, task.scope) else None

    def tasks(self, scope: Scope | None = None) -> list[Task]:
        """See `TaskStore.tasks`."""
        with self.lock:
            return [t for t in self._tasks.values() if t.saved and scope in (None, t.scope)]

    @_write
    def save_task(self, task: Task) -> None:
        """See `TaskStore.save_task`."""
        old = self._tasks.get(task.id)
        if old is not None:
            task = replace(
                task,
                epoch=old.epoch,
                wished=old.wished,
                state=old.state,
                error_kind=old.error_kind,
                message=old.message,
                started_once=old.started_once,
                notes=old.notes,
            )
        self._tasks[task.id] = task

    @_write
    def wish(self, task_id: str, running: bool) -> bool:
        """See `TaskStore.wish`."""
        task = self._tasks.get(task_id)
        if task is None or (task.wished == running and not (running and task.state == "failed")):
            return False
        wished = replace(task, wished=running)
        self._tasks[task_id] = replace(wished, state="starting", error_kind="", message="") if running else wished
        return True

    @_write
    def record_state(self, task_id: str, state: str, error_kind: str = "", message: str = "") -> None:
        """See `TaskStore.record_state`."""
        if task_id in self._tasks:
            self._tasks[task_id] = replace(self._tasks[task_id], state=state, error_kind=error_kind, message=message)

    @_write
    def record_notes(self, task_id: str, notes: tuple[str, ...]) -> None:
        """See `TaskStore.record_notes`."""
        if task_id in self._tasks:
            self._tasks[task_id] = replace(self._tasks[task_id], notes=notes)

    @_write
    def next_epoch(self, task_id: str) -> int:
        """See `TaskStore.next_epoch`."""
        if task_id not in self._tasks:
            raise HeadwaterError(f"There is no task {task_id}.")
        task = self._tasks[task_id]
        self._tasks[task_id] = replace(task, epoch=task.epoch + 1, started_once=True)
        return task.epoch + 1

    @_write
    def delete_task(self, task_id: str) -> None:
        """See `TaskStore.delete_task`."""
        self._tasks.pop(task_id, None)
        self._mappings = {k: m for k, m in self._mappings.items() if m.task_id != task_id}
        self._runs = {k: r for k, r in self._runs.items() if r.task_id != task_id}
        self._resets = {k: r for k, r in self._resets.items() if r.task_id != task_id}
        self._verifications = {k: v for k, v in self._verifications.items() if v.task_id != task_id}

    @_write
    def drop_drafts(self, before_ms: int) -> None:
        """See `TaskStore.drop_drafts`."""
        old = {k for k, t in self._tasks.items() if not t.saved and t.modified_ms < before_ms}
        self._tasks = {k: t for k, t in self._tasks.items() if k not in old}
        self._mappings = {k: m for k, m in self._mappings.items() if m.task_id not in old}

    def mappings(self, task_id: str) -> list[Mapping]:
        """See `TaskStore.mappings`."""
        with self.lock:
            return [m for m in self._mappings.values() if m.task_id == task_id]

    def mappings_by_task(self) -> dict[str, list[Mapping]]:
        """See `TaskStore.mappings_by_task`."""
        found: dict[str, list[Mapping]] = {}
        with self.lock:
            for mapping in self._mappings.values():
                found.setdefault(mapping.task_id, []).append(mapping)
        return found

    @_write
    def save_mapping(self, mapping: Mapping) -> None:
        """See `TaskStore.save_mapping`."""
        self._mappings[mapping.id] = mapping

    @_write
    def save_mappings(self, mappings: Sequence[Mapping]) -> None:
        """See `TaskStore.save_mappings`."""
        self._mappings |= {mapping.id: mapping for mapping in mappings}

    @_write
    def delete_mapping(self, task_id: str, mapping_id: str) -> bool:
        """See `TaskStore.delete_mapping`."""
        if mapping_id not in self._mappings or self._mappings[mapping_id].task_id != task_id:
            return False
        del self._mappings[mapping_id]
        return True

    @_write
    def save_run(self, run: Run) -> None:
        """See `HistoryStore.save_run`."""
        if run.task_id in self._tasks:
            self._runs[run.id] = run

    def runs(self, task_id: str, limit: int, offset: int = 0) -> list[Run]:
        """See `HistoryStore.runs`."""
        with self.lock:
            found = [r for r in reversed(self._runs.values()) if r.task_id == task_id]
            return found[offset : offset + limit]

    @_write
    def accept_reset(self, reset: Reset) -> Reset | None:
        """See `HistoryStore.accept_reset`."""
        task = self._tasks.get(reset.task_id)
        if task is None:
            return None
        accepted = replace(reset, epoch=task.epoch + 1, outcome="accepted")
        self._tasks[task.id] = replace(task, epoch=accepted.epoch)
        self._resets[reset.id] = accepted
        return accepted

    @_write
    def save_reset(self, reset: Reset) -> None:
        """See `HistoryStore.save_reset`."""
        if reset.task_id in self._tasks:
            self._resets[reset.id] = reset

    def resets(self, task_id: str | None = None, outcome: str | None = None) -> list[Reset]:
        """See `HistoryStore.resets`."""
        with self.lock:
            newest_first = reversed(self._resets.values())
            return [r for r in newest_first if task_id in (None, r.task_id) and outcome in (None, r.outcome)]

    @_write
    def save_verification(self, verification: Verification) -> None:
        """See `VerificationStore.save_verification`."""
        held = self._verifications.get(verification.id)
        if verification.task_id in self._tasks and (held is None or held.open):
            self._verifications[verification.id] = verification

    def verifications(self, task_id: str | None = None, *, only_open: bool = False, limit: int | None = None) -> list[Verification]:
        """See `VerificationStore.verifications`."""
        with self.lock:
            newest_first = reversed(self._verifications.values())
            return [v for v in newest_first if task_id in (None, v.task_id) and (v.open or not only_open)][:limit]

    def data_source(self, data_source_id: str, scope: Scope | None = None) -> DataSource | None:
        """See `DataSourceStore.data_source`."""
        with self.lock:
            found = self._data_sources.get(data_source_id)
            return found if found is not None and scope in (None, found.scope) else None

    def data_sources(self, scope: Scope | None = None) -> list[DataSource]:
        """See `DataSourceStore.data_sources`."""
        with self.lock:
            return [d for d in self._data_sources.values() if scope in (None, d.scope)]

    @_write
    def save_data_source(self, data_source: DataSource) -> None:
        """See `DataSourceStore.save_data_source`."""
        old = self._data_sources.get(data_source.id)
        if old is not None:
            data_source = replace(data_source, history=old.history, published=old.published)
        self._data_sources[data_source.id] = data_source

    @_write
    def set_published(self, data_source_id: str, published: bool) -> None:
        """See `DataSourceStore.set_published`."""
        if data_source_id in self._data_sources:
            self._data_sources[data_source_id] = replace(self._data_sources[data_source_id], published=published)

    @_write
    def renew_history(self, data_source_id: str) -> int:
        """See `DataSourceStore.renew_history`."""
        if data_source_id not in self._data_sources:
            raise HeadwaterError(f"There is no data source {data_source_id}.")
        old = self._data_sources[data_source_id]
        self._data_sources[data_source_id] = replace(old, history=old.history + 1)
        return old.history + 1

    @_write
    def delete_data_source(self, data_source_id: str) -> None:
        """See `DataSourceStore.delete_data_source`."""
        self._data_sources.pop(data_source_id, None)
        self._leftovers = {k: v for k, v in self._leftovers.items() if v.data_source_id != data_source_id}

    @_write
    def save_leftover(self, leftover: Leftover) -> None:
        """See `DataSourceStore.save_leftover`."""
        self._leftovers[leftover.id] = leftover

    def leftovers(self, data_source_id: str | None = None) -> list[Leftover]:
        """See `DataSourceStore.leftovers`."""
        with self.lock:
            return [left for left in self._leftovers.values() if data_source_id in (None, left.data_source_id)]

    @_write
    def delete_leftover(self, leftover_id: str) -> None:
        """See `DataSourceStore.delete_leftover`."""
        self._leftovers.pop(leftover_id, None)

    def access_key(self, access_key: str) -> AccessKey | None:
        """See `AccessStore.access_key`."""
        return self._keys.get(access_key)

    def user(self, user_id: str) -> User | None:
        """See `AccessStore.user`."""
        return self._users.get(user_id)

    def user_by_name(self, domain_name: str, name: str) -> User | None:
        """See `AccessStore.user_by_name`."""
        with self.lock:
            return next((u for u in self._users.values() if (u.domain_name, u.name) == (domain_name, name)), None)

    def first_user(self) -> User | None:
        """See `AccessStore.first_user`."""
        with self.lock:
            return next(iter(self._users.values()), None)

    @_write
    def create_user(self, user: User, key: AccessKey) -> None:
        """See `AccessStore.create_user`."""
        taken = any(u.id == user.id or (u.domain_name, u.name) == (user.domain_name, user.name) for u in self._users.values())
        if taken or key.access_key in self._keys:
            raise HeadwaterError("That is there already.", kind="store_exists")
        self._users[user.id] = user
        self._keys[key.access_key] = key

    def app_names(self, scope: Scope) -> dict[str, str]:
        """See `AccessStore.app_names`."""
        with self.lock:
            return {u.app_id: u.app_name for u in self._users.values() if u.scope == scope}

    @_write
    def save_token(self, token: Token) -> None:
        """See `AccessStore.save_token`."""
        self._tokens = {k: t for k, t in self._tokens.items() if t.expires_ms > token.issued_ms}
        self._tokens[token.digest] = token

    def token(self, digest: str) -> Token | None:
        """See `AccessStore.token`."""
        return self._tokens.get(digest)

    def ping(self) -> None:
        """See `Store.ping`."""

    def close(self) -> None:
        """See `Store.close`."""
