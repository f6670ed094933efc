"""The reset: the one place where a task's progress goes backward (P6).

    validate everything -> accept (one durable write: the record, with a fresh epoch) -> fence and move, at the target -> done

Up to the acceptance nothing has changed, and a refusal leaves nothing but its record. From the acceptance on the reset happens,
exactly once: moving is idempotent by epoch, and what a crash or a lost answer leaves at `accepted` is rolled forward in each step of
the supervisor (`roll_forward`), from the service's start on. No run may start in between: whoever starts one
takes its epoch first and then looks for an accepted reset (see `HistoryStore.accept_reset`).
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from headwater.domain.errors import Fenced, HeadwaterError, JournalError, OutOfWindow, TargetError
from headwater.domain.reset import Decision, Reach, Standing, Unreachable, check_moment, decide, whole_ms
from headwater.ports.journal import JournalReader, OpenJournal, Window
from headwater.ports.runtime import Live
from headwater.ports.store import Mapping, Reset, Scope, Store, Task
from headwater.ports.target import Checkpoint, TableState, Target
from headwater.services import bounded
from headwater.services.data_sources import Connections
from headwater.services.errors import ServiceError, invalid, refusal, unknown_task
from headwater.services.locks import TaskLocks
from headwater.services.refitting import as_now

log = logging.getLogger(__name__)

HISTORY_LOST = frozenset({"slot_lost", "journal_damaged", "history_broken", "out_of_window"})
"""Failures after which capture needs the user's consent to begin a new history; a reset without a time is that consent."""

EFFECT_ATTEMPTS = 2
"""How often the answer of the target is tried for before the caller is told to come back: once more, for an answer that got lost."""

LOOK_TIMEOUT_S = 20.0
"""How long a request waits for the target's word on where the task stands before the reset is refused."""

EFFECT_TIMEOUT_S = 25.0
"""How long a request waits for the target to move the task, which waits for a commit under way, before the caller is told to come back.
Both limits together are shorter than what clients wait."""

REFIT_TIMEOUT_S = 5.0
"""How long a reset without a time waits for the source's word on what the mapped columns are now."""

REACH_STEP_US = 1_000
"""How exactly the first moment is found that leads behind an offset: moments are told in milliseconds."""

_INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class _Plan:
    """A reset that has passed all checks: where the task stands, where it goes, and from which moment on (microseconds)."""

    from_offset: int | None
    to_offset: int | None
    effective_us: int | None
    message: str


class Resets:
    """The use case. One instance per service; `locks` and `nudge` are those of the other services and the supervisor.

    `on_done` is called with each reset that was carried out, before its record says so (and again where a crash comes in between).
    `reset` may be called from any thread. All raise ServiceError; see `reset` for the codes.
    """

    def __init__(
        self,
        store: Store,
        connections: Connections,
        open_journal: OpenJournal,
        live: Live,
        locks: TaskLocks,
        now_ms: Callable[[], int],
        nudge: Callable[[], None],
        on_done: Callable[[Reset], None] = lambda _reset: None,
    ) -> None:
        self._store = store
        self._connections = connections
        self._open_journal = open_journal
        self._live = live
        self._locks = locks
        self._now_ms = now_ms
        self._nudge = nudge
        self._on_done = on_done
        self._guard = threading.Lock()
        self._rolling: set[str] = set()  # tasks whose resets are being rolled forward

    def reset(self, scope: Scope, task_id: str, date_from_ms: object, by: str) -> Reset:
        """Take the task back to a moment (milliseconds since 1970, UTC), or with None to the beginning.

        Returning promises that the new place is durable and that nothing of an older run can commit any more. The task keeps its wish.

        Raises:
            ServiceError: FDI.3180 (404) a task that the caller can't see; FDI.3150 no mappings; FDI.3083 (404) TIMING without a
                schedule; FDI.3033 a moment that can't be reached; FDI.3016 the target can't be reached: 400 when nothing
                has changed, 500 when the reset is accepted and takes effect as soon as the target can be reached.
        """
        with self._locks.hold(task_id):
            task = self._store.task(task_id, scope)
            if task is None or not task.saved:
                raise unknown_task()
            try:
                plan = self._plan(task, date_from_ms)
            except ServiceError as refused:
                self._store.save_reset(self._record(task, date_from_ms, by, "refused", refused.message))
                raise
            wanted = self._record(task, date_from_ms, by, "done", plan.message)
            if not task.started_once:
                self._store.save_reset(wanted)
                return wanted
            places = replace(wanted, from_offset=plan.from_offset, to_offset=plan.to_offset, effective_us=plan.effective_us)
            accepted = self._store.accept_reset(replace(places, outcome="accepted", done_ms=None))
            if accepted is None:
                raise unknown_task()
            return self.complete(accepted)

    def complete(self, reset: Reset) -> Reset:
        """Carry out an accepted reset; one that is no longer `accepted` is returned as it stands, and nothing is done.

        Raises:
            ServiceError: FDI.3016 (500), the target can't be reached; the reset stays accepted.
        """
        with self._locks.hold(reset.task_id):
            task = self._store.task(reset.task_id)
            stored = next((r for r in self._store.resets(reset.task_id) if r.id == reset.id), reset)
            if task is None or stored.outcome != "accepted":
                return stored
            done = self._carried_out(task, stored)
            self._go_on(task)
            if done.outcome == "done":
                self._on_done(done)
            self._store.save_reset(done)
        self._nudge()
        return done

    def complete_pending(self) -> frozenset[str]:
        """Roll forward every accepted reset, oldest first; returns the tasks of those that still wait for their target."""
        pending = reversed(self._store.resets(outcome="accepted"))
        return frozenset(reset.task_id for reset in pending if not self._completed(reset))

    def roll_forward(self) -> frozenset[str]:
        """`complete_pending` for a caller that can't wait for databases: begins it in threads, one per task, and returns at once.

        The answer is the tasks that have an accepted reset right now; no run of these may be started, and their old workers, which are
        fenced in any case, can be ended: a frozen one may hold the very lock that the reset waits for. Cheap when there is none.
        """
        pending = {reset.task_id: reset for reset in self._store.resets(outcome="accepted")}
        for task_id, reset in pending.items():
            with self._guard:
                if task_id not in self._rolling:
                    self._rolling.add(task_id)
                    threading.Thread(target=self._roll, args=(reset,), name=f"reset-{task_id}", daemon=True).start()
        return frozenset(pending)

    def _roll(self, reset: Reset) -> None:
        try:
            self._completed(reset)
        finally:
            with self._guard:
                self._rolling.discard(reset.task_id)

    def _completed(self, reset: Reset) -> bool:
        """True once it is no longer accepted; False where its target can't be reached, which the task's state then says."""
        try:
            self.complete(reset)
        except ServiceError as error:
            self._say_waiting(reset.task_id, error.message)
            return False
        return True

    def _plan(self, task: Task, date_from: object) -> _Plan:
        """All checks, and where the reset goes. Changes nothing but a reset of before that is still to be carried out."""
        moment = None if date_from is None else _whole_ms(date_from)
        mappings = self._store.mappings(task.id)
        if not mappings:
            raise refusal("FDI.3150", "The task has no mappings: add some, then reset it.")
        if task.task_type == "TIMING":  # as at a start: there are no schedules yet
            raise refusal("FDI.3083", "Give the task a schedule, then reset it.")
        if not task.started_once:
            if moment is not None:
                raise invalid("date_from", "the task was never started: there is nothing to go back to.")
            return _Plan(None, None, None, "The task was never started: its first start copies everything.")
        self._finish_earlier(task)
        checkpoint, states = self._look(task)
        if moment is None:
            return _Plan(checkpoint.offset, None, None, "Every mapped table is copied again, then followed.")
        copied = _Copied.of(mappings, states)
        plan = self._plan_moment(task, moment, checkpoint, copied.first)
        return replace(plan, message=f"{plan.message}{copied.said(plan.from_offset, plan.to_offset)}")

    def _finish_earlier(self, task: Task) -> None:
        """Two resets are never under way at once: the second begins where the first has ended."""
        for pending in self._store.resets(task.id, "accepted"):
            try:
                self.complete(pending)
            except ServiceError as error:
                raise refusal("FDI.3016", f"Nothing was changed; an earlier reset still waits for its target. {error.message}") from error

    def _look(self, task: Task) -> tuple[Checkpoint, dict[str, TableState]]:
        try:
            return bounded.within(LOOK_TIMEOUT_S, "looking where the task stands", lambda: self._target(task).look(task.id))
        except (TargetError, bounded.GaveUp) as error:
            raise refusal("FDI.3016", f"The target can't be reached, so nothing was changed: {error}") from error

    def _plan_moment(self, task: Task, moment: int, checkpoint: Checkpoint, copied_from: int) -> _Plan:
        try:
            reader = self._open_journal(task.source_id or "")
            if reader is None:
                raise Unreachable(str(Reach(None, None)))
            with closing(reader):
                return self._seek(task, moment, checkpoint, copied_from, reader)
        except (Unreachable, OutOfWindow) as error:
            raise invalid("date_from", str(error)) from error
        except JournalError as error:
            raise invalid("date_from", f"the history can't be read; reset without a time to copy again. {error}") from error

    def _seek(self, task: Task, moment: int, checkpoint: Checkpoint, copied_from: int, reader: JournalReader) -> _Plan:
        window = reader.window()
        reach = task_reach(reader, window, copied_from)
        check_moment(moment, reach, self._source_now_us(task, window))
        ours = checkpoint.journal_id in (None, reader.end().journal_id)
        standing = Standing(checkpoint.offset if ours else -1, copied_from, window.first_offset, window.next_offset)
        try:
            decision = decide(reader.seek(moment * 1000), standing)
        except Unreachable as error:
            raise Unreachable(f"{error} {reach}") from error
        return _Plan(checkpoint.offset, decision.to_offset, _effective_us(reader, decision, moment), decision.message)

    def _source_now_us(self, task: Task, window: Window) -> int:
        """The source's clock: ours, moved by what capture has seen between the two, and never before its last word."""
        report = self._live.capture(task.source_id or "")
        ours = self._now_ms() * 1000 + (report.clock_offset_us if report else 0)
        return max(ours, window.latest_us or 0)

    def _carried_out(self, task: Task, reset: Reset) -> Reset:
        """The effect at the target. The record that says so."""
        if reset.asked_ms is None:
            self._consent(task)
            self._refit(task)
        try:
            self._move(task, reset)
        except Fenced as error:
            return replace(reset, outcome="failed", message=f"{reset.message} Not done: {error}", done_ms=self._now_ms())
        return replace(reset, outcome="done", done_ms=self._now_ms())

    def _move(self, task: Task, reset: Reset) -> None:
        """Fence every older run and move the cursor; both or none, and once, however often it is called.

        Which tables have no usable key is looked up here and not in the record: a mapping that was changed since is copied anyway.
        """
        move_to = Checkpoint(reset.epoch, offset=reset.to_offset) if reset.asked_ms is None or reset.to_offset is not None else None
        keyless = frozenset(m.incarnation for m in self._store.mappings(task.id) if not _keyed(m))
        recopy = True if reset.asked_ms is None else keyless

        def move() -> Checkpoint:
            return self._target(task).raise_epoch(task.id, reset.epoch, move_to, recopy)

        for attempt in range(1, EFFECT_ATTEMPTS + 1):
            try:
                bounded.within(EFFECT_TIMEOUT_S, "moving the task", move)
            except (TargetError, bounded.GaveUp) as error:
                if attempt == EFFECT_ATTEMPTS or isinstance(error, bounded.GaveUp):
                    why = f"The reset is accepted and takes effect as soon as the target can be reached: {error}"
                    raise refusal("FDI.3016", why, status=500) from error
            else:
                return

    def _consent(self, task: Task) -> None:
        """Let capture begin a new history where the old one of the task's source is lost. Twice does no harm."""
        kinds = {t.error_kind for t in self._store.tasks() if t.source_id == task.source_id}
        if task.source_id is not None and kinds & HISTORY_LOST:
            self._store.renew_history(task.source_id)

    def _refit(self, task: Task) -> None:
        """Everything is copied again, so the mappings take the columns as they are now. Where nobody can tell, the next start does it."""
        source = self._store.data_source(task.source_id) if task.source_id else None
        if source is None:
            return
        try:
            mappings = self._store.mappings(task.id)
            self._store.save_mappings(as_now(self._connections, source, mappings, REFIT_TIMEOUT_S))
        except HeadwaterError as error:
            log.warning("mappings_not_refitted", extra={"task_id": task.id, "reason": str(error)})

    def _go_on(self, task: Task) -> None:
        """The recorded state after a reset: a failure is over, the wish is what it was."""
        if task.wished:
            self._store.record_state(task.id, "starting")
        elif task.state == "failed":
            self._store.record_state(task.id, "stopped")

    def _say_waiting(self, task_id: str, message: str) -> None:
        task = self._store.task(task_id)
        if task is not None and task.wished:
            self._store.record_state(task_id, "retrying", "target_unavailable", message)

    def _target(self, task: Task) -> Target:
        data_source = self._store.data_source(task.target_id) if task.target_id else None
        if data_source is None:
            raise TargetError("The task has no target data source.", kind="target_refused")
        return self._connections.target(data_source)

    def _record(self, task: Task, date_from: object, by: str, outcome: str, message: str) -> Reset:
        asked = date_from if isinstance(date_from, int) and not isinstance(date_from, bool) and 0 <= date_from <= _INT64_MAX else None
        now = self._now_ms()
        return Reset(uuid.uuid4().hex, task.id, by, now, asked, None, None, None, task.epoch, outcome, message, now)


def task_reach(reader: JournalReader, window: Window, copied_from: int) -> Reach:
    """The moments that a reset of one task can reach: those of the journal, but none before its tables were copied.

    `copied_from` as in `Standing`.
    """
    earliest = window.earliest_us
    if earliest is not None and copied_from > window.first_offset:
        stamped = max(earliest, (reader.stamp(copied_from - 1) or earliest) + 1)
        earliest = _first_behind(reader, copied_from, stamped, max(stamped, window.latest_us or stamped))
    return Reach(earliest, window.latest_us)


def _first_behind(reader: JournalReader, offset: int, low: int, high: int) -> int:
    """The first moment of `low` to `high` that leads to the offset or behind it; `high` where none does. Mostly that is `low`, and little
    more where stamps are not exact. A later moment never leads to an earlier offset: steps may grow, and what is left be halved."""
    if reader.seek(low) >= offset:
        return low
    step = REACH_STEP_US
    while low + step < high and reader.seek(low + step) < offset:
        low, step = low + step, 2 * step
    high = min(high, low + step)
    while high - low > REACH_STEP_US:
        middle = (low + high) // 2
        low, high = (low, middle) if reader.seek(middle) >= offset else (middle, high)
    return high


def _whole_ms(value: object) -> int:
    try:
        return whole_ms(value)
    except Unreachable as error:
        raise invalid("date_from", str(error)) from error


def _effective_us(reader: JournalReader, decision: Decision, moment: int) -> int | None:
    """When what is replayed first was committed; the moment itself where there is nothing to replay yet."""
    if decision.to_offset is None:
        return None
    stamp = reader.stamp(decision.to_offset)
    return moment * 1000 if stamp is None else stamp


def _keyed(mapping: Mapping) -> bool:
    return any(pair.key for pair in mapping.columns)


@dataclass(frozen=True)
class _Copied:
    """How a task's tables came to the target, by source table: without a usable key, or (offset) copied and followed from there."""

    keyless: tuple[str, ...]
    since: dict[str, int]

    @classmethod
    def of(cls, mappings: list[Mapping], states: dict[str, TableState]) -> _Copied:
        keyed = [m for m in mappings if _keyed(m)]
        since = {m.source_table: states[m.incarnation].since for m in keyed if m.incarnation in states}
        return cls(tuple(sorted({m.source_table for m in mappings if not _keyed(m)})), since)

    @property
    def first(self) -> int:
        """The offset before which no table has a history of its own: all came with their copies."""
        return min(self.since.values(), default=0)

    def said(self, from_offset: int | None, to_offset: int | None) -> str:
        """What the record adds for tables that are not replayed as a whole."""
        later = sorted(t for t, since in self.since.items() if to_offset is not None and to_offset < min(since, from_offset or 0))
        said = f" Copied after that moment, and replayed from their copy on: {_listed(later)}." if later else ""
        return said + (f" Without a usable key, and therefore copied again: {_listed(self.keyless)}." if self.keyless else "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
