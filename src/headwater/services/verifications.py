"""Verifications: wishing one, looking at it, giving it up. What it does is the engine's (`engine/verify.py`, decision 0018)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

from headwater.ports.store import Reset, Scope, Store, Task, Verification
from headwater.services.errors import ServiceError, invalid, refusal, unknown_task
from headwater.services.locks import TaskLocks
from headwater.services.pages import Page, page
from headwater.services.rules import is_running


class Verifications:
    """The use case. All raise ServiceError: FDI.3180 (404) for a task that the caller can't see, FDI.3033 for what can't be done, FDI.3150
    for a task without mappings. `after_reset`: each reset that was carried out wishes one."""

    def __init__(self, store: Store, locks: TaskLocks, now_ms: Callable[[], int], nudge: Callable[[], None], *, after_reset: bool) -> None:
        self._store, self._locks, self._now_ms, self._nudge = store, locks, now_ms, nudge
        self._after_reset = after_reset

    def begin(self, scope: Scope, task_id: str, repair: bool, by: str) -> Verification:
        """Wish a verification; the supervisor begins it. With `repair` rows that differ are written again, which needs a running task."""
        with self._locks.hold(task_id):
            task = self._known(scope, task_id)
            if not self._store.mappings(task.id):
                raise refusal("FDI.3150", "The task has no mappings, so there is nothing to compare.")
            if not task.started_once:
                raise invalid("task_id", "the task was never started, so there is nothing to compare. Start it first.")
            if repair and not is_running(task):
                raise invalid("repair", "only a running task repairs rows. Start it, or verify without a repair.")
            for under_way in self._store.verifications(task.id, only_open=True):
                if not under_way.after_reset or under_way.started_ms is not None:
                    raise invalid("task_id", f"the verification {under_way.id} is under way; wait for it, or cancel it.")
                self._end(under_way, "Another verification was asked for before it began.")
            wished = Verification(uuid.uuid4().hex, task.id, by, repair, after_reset=False, asked_ms=self._now_ms())
            self._store.save_verification(wished)
        self._nudge()
        return wished

    def reset_done(self, reset: Reset) -> None:
        """A reset was carried out: where the settings say so, wish a verification that begins once the task follows again."""
        if self._after_reset:
            for under_way in self._store.verifications(reset.task_id, only_open=True):
                self._end(under_way, "The task was reset.")
            wished = Verification(uuid.uuid4().hex, reset.task_id, reset.by, False, after_reset=True, asked_ms=self._now_ms())
            self._store.save_verification(wished)

    def find(self, scope: Scope, task_id: str, limit: int, offset: int) -> Page[Verification]:
        """The task's verifications, newest first."""
        return page(self._store.verifications(self._known(scope, task_id).id), limit, offset)

    def show(self, scope: Scope, task_id: str, verification_id: str) -> Verification:
        """One of them."""
        found = [v for v in self._store.verifications(self._known(scope, task_id).id) if v.id == verification_id]
        if not found:
            raise _unknown()
        return found[0]

    def cancel(self, scope: Scope, task_id: str, verification_id: str, by: str) -> Verification:
        """Give one up; what it has found stays on record. One that has ended is left as it is."""
        found = self.show(scope, task_id, verification_id)
        if found.open:
            self._end(found, f"Cancelled by {by}.")
            self._nudge()
        return self.show(scope, task_id, verification_id)

    def _end(self, verification: Verification, message: str) -> None:
        self._store.save_verification(replace(verification, outcome="cancelled", message=message, ended_ms=self._now_ms()))

    def _known(self, scope: Scope, task_id: str) -> Task:
        task = self._store.task(task_id, scope)
        if task is None or not task.saved:
            raise unknown_task()
        return task


def _unknown() -> ServiceError:
    return invalid("verification_id", "this task has no such verification.", status=404)
