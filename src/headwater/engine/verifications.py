"""The verifications that are wished: each gets a worker, whose word is put on record; what it wants repaired is passed on to the apply.

Part of the supervisor's step. A verification that a restart of the service interrupts begins again from the start; so does one whose
worker failed in a way that heals, a few times. One that was cancelled, or whose task was deleted, loses its worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

from headwater.domain.failures import policy
from headwater.engine.control import Clock
from headwater.engine.log import Log
from headwater.engine.orders import Connection, VerifyOrder
from headwater.engine.post import Ended, Post
from headwater.engine.wishes import Terms, Wishes, runs
from headwater.ports.runtime import Runtime, VerifyReport
from headwater.ports.store import Store, Task, Verification

AT_ONCE = 2
"""Verifications that run at the same time."""

TRIES = 5
"""How often in series the worker of one may fail before that is the outcome."""

SAVE_S = 1.0
"""How often the progress of one is put on record."""

AGAIN = "It was interrupted, and begun again from the start."

log = Log("headwater.verifications")


class _Running:
    """One verification with its worker's post."""

    def __init__(self, verification: Verification, runtime: Runtime) -> None:
        self.verification = verification
        self.post = Post("verify", verification.id, runtime)
        self.saved_at = float("-inf")
        self.saved: VerifyReport | None = None
        self.told: bool | None = None
        self.asked = 0
        self.failures = 0
        self.again = False


class Verifications:
    """Belongs to the supervisor's thread. `apply` finds the post of a task's apply."""

    def __init__(self, store: Store, runtime: Runtime, terms: Terms, clock: Clock, apply: Callable[[str], Post | None]) -> None:
        self._store, self._runtime, self._terms, self._clock, self._apply = store, runtime, terms, clock, apply
        self._running: dict[str, _Running] = {}

    @property
    def busy(self) -> bool:
        """True while a worker of ours runs."""
        return any(one.post.busy for one in self._running.values())

    def stop(self, now: float, *, at_once: bool) -> None:
        """The service ends: have all workers end. What is open stays so, and begins again with the next service."""
        for one in self._running.values():
            one.post.stop(now, at_once=at_once)
            one.post.hear(now)

    def step(self, wishes: Wishes, now: float) -> None:
        """Make true what is wished; `now` in monotonic seconds."""
        wished = {v.id: v for v in reversed(self._store.verifications(only_open=True))}
        for one in list(self._running.values()):
            if one.verification.id not in wished:
                one.post.stop(now)
            self._hear(one, now)
            if one.verification.id not in wished and not one.post.busy:
                del self._running[one.verification.id]
        for verification in wished.values():
            task = wishes.tasks.get(verification.task_id)
            if task is not None:
                self._start(verification, task, now)
        for one in self._running.values():
            task = wishes.tasks.get(one.verification.task_id)
            if one.post.busy and task is not None:
                self._tell(one, task)

    def _start(self, verification: Verification, task: Task, now: float) -> None:
        one = self._running.get(verification.id)
        busy = sum(other.post.busy for other in self._running.values())
        if verification.after_reset and verification.started_ms is None and task.state != "following":
            return
        if busy >= AT_ONCE or (one is not None and not one.post.may_start(now)):
            return
        order = self._order(verification, task)
        if order is None:
            self._end(verification, "failed", "The task has lost its mappings or one of its data sources.")
            return
        one = self._running.setdefault(verification.id, _Running(verification, self._runtime))
        began = verification.started_ms if verification.started_ms is not None else self._now_ms()
        one.again = verification.started_ms is not None
        one.verification = replace(verification, outcome="running", started_ms=began, message="", tables=())
        self._store.save_verification(one.verification)
        one.told = runs(task)
        one.post.start(order, {"order": order.payload(), "running": one.told}, 0, now)
        log.info("verification_started", id=verification.id, task=task.id, repair=verification.repair)

    def _order(self, verification: Verification, task: Task) -> VerifyOrder | None:
        all_mappings = self._store.mappings_by_task()
        mappings = all_mappings.get(task.id, [])
        source = self._store.data_source(task.source_id) if task.source_id else None
        target = self._store.data_source(task.target_id) if task.target_id else None
        if not mappings or source is None or target is None:
            return None
        beside = [t.id for t in self._store.tasks() if t.target_id == task.target_id]
        filled = [m.target_table for task_id in beside for m in all_mappings.get(task_id, [])]
        made = tuple(m.table_mapping(task.operations) for m in mappings)
        shared = frozenset(m.incarnation for m in mappings if filled.count(m.target_table) > 1)
        directory = str(self._terms.journal_dir(source.id))
        connections = Connection.of(source), Connection.of(target)
        return VerifyOrder(task.id, *connections, directory, made, shared, verification.repair, self._terms.verify)

    def _tell(self, one: _Running, task: Task) -> None:
        """Tell the worker whether its task runs, and the task's apply what is to be repaired."""
        assert one.post.worker is not None
        if one.told != runs(task):
            one.told = runs(task)
            one.post.worker.tell({"running": one.told})
        report = one.post.newest
        ask = report.ask if isinstance(report, VerifyReport) and one.post.fresh else None
        apply = self._apply(task.id)
        if ask is not None and ask.number != one.asked and apply is not None and apply.worker is not None:
            one.asked = ask.number
            apply.worker.tell({"repair": asdict(ask)})

    def _hear(self, one: _Running, now: float) -> None:
        ended = one.post.hear(now)
        report = one.post.last_report if one.post.fresh else None
        if isinstance(report, VerifyReport):
            one.verification = _said(one.verification, report)
            if ended is None and report is not one.saved and now >= one.saved_at + SAVE_S:
                one.saved, one.saved_at = report, now
                self._store.save_verification(one.verification)
        if ended is not None:
            self._ended(one, ended, report if isinstance(report, VerifyReport) else None)

    def _ended(self, one: _Running, ended: Ended, report: VerifyReport | None) -> None:
        if ended.asked:
            return
        one.asked = 0
        if report is not None and report.outcome:
            self._end(one.verification, report.outcome, AGAIN if one.again else "")
            return
        one.failures += 1
        if ended.decision.action == "stop" or one.failures >= TRIES:
            self._end(one.verification, "failed", f"{ended.exit.message} {policy(ended.exit.kind).hint}")
        else:
            log.warning("verification_interrupted", id=one.verification.id, kind=ended.exit.kind, message=ended.exit.message)

    def _end(self, verification: Verification, outcome: str, message: str) -> None:
        over = replace(verification, outcome=outcome, message=message, ended_ms=self._now_ms())
        self._store.save_verification(over)
        log.info("verification_ended", id=verification.id, task=verification.task_id, outcome=outcome)

    def _now_ms(self) -> int:
        return self._clock.now_us() // 1000


def _said(verification: Verification, report: VerifyReport) -> Verification:
    return replace(
        verification, message=report.message, offset=report.offset, rows_per_s=report.rows_per_s, tables=report.tables
    )  # fmt: skip
