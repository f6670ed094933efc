"""The supervisor makes wishes true: it compares what should run with what runs, stops what is redundant, starts what is missing.

    hear the workers -> roll resets forward -> read the wishes -> captures -> applies -> record states -> tidy up

All of it happens in `step`, which tests call one at a time; the loop around it only waits. The supervisor decides nothing by itself:
what should run is `wishes.py`, what follows from a failure `domain/failures.py`, what a state is called `domain/lifecycle.py`.

A capture that failed for good (its log is lost, say) leaves the journal complete up to a place. Its tasks go on until they have applied
that, and fail then with the capture's reason. It is tried again when its order changes (a consent to begin a new
history is such a change), or when a task of its source is started anew.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from functools import partial

from headwater.domain.errors import HeadwaterError
from headwater.domain.failures import policy
from headwater.domain.lifecycle import RUNNING, Fact, Recorded, running_state
from headwater.domain.stall import Sign
from headwater.engine.control import Clock
from headwater.engine.knock import Knocker
from headwater.engine.live import with_lag
from headwater.engine.log import Log
from headwater.engine.orders import ApplyOrder, CaptureOrder, Connection
from headwater.engine.post import Post
from headwater.engine.records import Records
from headwater.engine.stalls import Stalls, apply_sign, capture_sign
from headwater.engine.tidy import Tidy
from headwater.engine.verifications import Verifications
from headwater.engine.wishes import Terms, Wishes, read_wishes, runs
from headwater.ports.runtime import ApplyReport, CaptureReport, Exit, Runtime
from headwater.ports.store import Store, Task

INTERVAL_S = 2.0
"""How often the loop takes a step when nothing wakes it. Wishes, ends of workers and of pauses, and changes of their states do."""

BREATH_S = 0.05
"""The shortest pause between two steps, however often something wakes it."""

STARTING_MAX = 4
"""Applies that may be starting at the same time: hundreds of tasks of one target that comes back must not take the machine down."""

AWAY = {"source_unavailable": "source", "target_unavailable": "target"}
"""The failures after which a server is knocked at, and which one that is."""

LOST = (
    "At the source {} was dropped or renamed, and perhaps made anew since; what happened in between is in no log. Where it is there "
    "again, save its mapping again and start the task (or reset it without a time) to copy it; otherwise map another or remove the mapping."
)

log = Log("headwater.supervisor")


class Supervisor:
    """One per service. `step` and `close` belong to one thread at a time; reports, `nudge` and `running` to any.

    `complete_resets` rolls accepted resets forward and returns the tasks whose resets still wait: those must not be started.
    With a `knocker`, `knock` connects to one side of a task ("source" or "target") and leaves.
    """

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        terms: Terms,
        tidy: Tidy,
        complete_resets: Callable[[], frozenset[str]],
        clock: Clock,
        knocker: Knocker | None = None,
        knock: Callable[[str, Connection], None] = lambda _side, _connection: None,
    ) -> None:
        self._store, self._runtime, self._terms, self._tidy = store, runtime, terms, tidy
        self._complete_resets, self._clock = complete_resets, clock
        self._knocker, self._knock = knocker, knock
        self._records = Records(store, clock)
        self._stalls = Stalls(terms.stall_after_s)
        self._captures: dict[str, Post] = {}
        self._applies: dict[str, Post] = {}
        self._verifications = Verifications(store, runtime, terms, clock, self._applies.get)
        self._doomed: dict[str, frozenset[str]] = {}  # by source whose capture failed for good: the tasks that fail with it
        self._told: dict[str, int | None] = {}
        self._caught_up_us: dict[str, int] = {}
        self._wake = threading.Event()
        self._closing = False
        self._drain_s = 0.0
        self._thread: threading.Thread | None = None

    # -- the loop

    def start(self) -> None:
        """Run the loop in a thread of its own. Workers are its children and die with it."""
        self._records.adopt()
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """True while the loop runs."""
        return self._thread is not None and self._thread.is_alive() and not self._closing

    def nudge(self) -> None:
        """Something has changed: take a step soon."""
        self._wake.set()

    def close(self, drain_s: float) -> None:
        """Drain the workers to a commit, for at most `drain_s`, then end them. Wishes stay: the next start goes on. Idempotent."""
        self._closing = True
        self.nudge()
        if self._thread is not None:
            self._drain_s = drain_s
            self._thread.join()
        else:
            self._drain(drain_s)

    def _loop(self) -> None:
        while not self._closing:
            try:
                self.step(self._clock.monotonic())
            except Exception as error:  # noqa: BLE001 - a step that failed is logged, and the next one begins from the facts again
                log.error("step_failed", **_told(error))
            self._wake.wait(self._until_due(self._clock.monotonic()))
            self._wake.clear()
            if not self._closing:
                threading.Event().wait(BREATH_S)
        self._drain(self._drain_s)

    def _until_due(self, now: float) -> float:
        """How long nothing has to be done unless something wakes us: no longer than until a pause after a failure is over."""
        posts = [*self._captures.values(), *self._applies.values()]
        return min([INTERVAL_S, *(post.pause_left(now) for post in posts if post.pause_left(now) > 0)])

    def _drain(self, drain_s: float) -> None:
        deadline = self._clock.monotonic() + drain_s
        posts = [*self._applies.values(), *self._captures.values()]
        while any(post.busy for post in posts) or self._verifications.busy:
            now = self._clock.monotonic()
            self._verifications.stop(now, at_once=now >= deadline)
            for post in posts:
                post.stop(now, at_once=now >= deadline)
                self._hear(post, now)
            self._wake.wait(BREATH_S)
            self._wake.clear()
        self._runtime.close()
        self._tidy.close()
        if self._knocker is not None:
            self._knocker.close()

    # -- one step

    def step(self, now: float) -> None:
        """Take one step; `now` in monotonic seconds. Never waits for a database other than the metadata store's, nor for a worker."""
        for post in [*self._captures.values(), *self._applies.values()]:
            self._hear(post, now)
        self._hurry(now)
        held = self._complete_resets()
        wishes = read_wishes(self._store, self._terms)
        self._reconcile_captures(wishes, now)
        self._reconcile_applies(wishes, held, now)
        self._verifications.step(wishes, now)
        self._note_caught_up()
        self._tell_needed(wishes)
        self._tell_stale()
        self._record_states(wishes, self._look_for_stalls(wishes, now))
        self._tidy.step(wishes, {source for source, post in self._captures.items() if post.busy}, now)
        self._forget(wishes)

    def _hear(self, post: Post, now: float) -> None:
        ended = post.hear(now)
        if post.kind == "apply" and post.fresh and isinstance(post.last_report, ApplyReport):
            self._records.counters(post.id, post.last_report, now)
        if ended is None:
            return
        say = log.info if ended.asked or ended.decision.action == "replace" else log.warning
        say("worker_ended", worker=post.kind, id=post.id, kind=ended.exit.kind, message=ended.exit.message, action=ended.decision.action)
        if post.kind == "apply":
            self._records.ended(post.id, ended.exit)
        if ended.asked or ended.decision.action != "stop":
            return
        if post.kind == "apply":
            self._store.record_state(post.id, "failed", ended.exit.kind, ended.exit.message)
        else:
            wished = frozenset(t.id for t in self._store.tasks() if t.source_id == post.id and runs(t))
            self._doomed[post.id] = wished

    def _hurry(self, now: float) -> None:
        """Knock at the servers that workers have missed; where one answers again its pauses are over."""
        if self._knocker is None:
            return
        missed: dict[str, list[Post]] = {}
        doors: dict[str, Callable[[], None]] = {}
        for post in [*self._captures.values(), *self._applies.values()]:
            side = AWAY.get(post.failing.kind) if post.failing is not None else None
            if side is None or not isinstance(post.order, (CaptureOrder, ApplyOrder)):
                continue
            connection = post.order.target if side == "target" and isinstance(post.order, ApplyOrder) else post.order.source
            name = f"{side}-{connection.id}"
            missed.setdefault(name, []).append(post)
            doors[name] = partial(self._knock, side, connection)
        for name, at in self._knocker.watch(doors).items():
            for post in missed[name]:
                post.hurry(at, now)

    def _reconcile_captures(self, wishes: Wishes, now: float) -> None:
        for source_id, order in wishes.captures.items():
            post = self._captures.setdefault(source_id, Post("capture", source_id, self._runtime))
            if post.order != order and post.busy:
                post.stop(now)
            elif self._capture_is_due(post, order, wishes) and post.may_start(now) and not self._tidy.releasing(source_id):
                self._store.set_published(source_id, True)
                self._told.pop(source_id, None)
                post.start(order, order.payload(), 0, now)
                log.info("worker_started", worker="capture", id=source_id, tables=len(order.tables))
        for source_id, post in self._captures.items():
            if source_id not in wishes.captures:
                post.stop(now)

    def _capture_is_due(self, post: Post, order: CaptureOrder, wishes: Wishes) -> bool:
        """Whether it should run; one that failed for good only when its order has changed or a task was started since."""
        running = frozenset(t.id for t in wishes.tasks.values() if t.source_id == post.id and runs(t))
        if post.id in self._doomed:
            self._doomed[post.id] &= running
        changed = post.order is not None and post.order != order
        if post.id in self._doomed and not changed and running == self._doomed[post.id]:
            return False
        if not post.busy and (changed or post.id in self._doomed):
            self._doomed.pop(post.id, None)
            post.forgive()
        return True

    def _reconcile_applies(self, wishes: Wishes, held: frozenset[str], now: float) -> None:
        starting = sum(post.silent for post in self._applies.values())
        for task_id, order in wishes.applies.items():
            post = self._applies.setdefault(task_id, Post("apply", task_id, self._runtime))
            task = wishes.tasks[task_id]
            if post.busy and post.epoch != task.epoch:
                post.stop(now, at_once=True)  # a reset has fenced it: it can't commit any more
            elif post.busy and (post.order != order or self._fails_with_capture(task, order, post)):
                post.stop(now)
            elif task_id not in held and starting < STARTING_MAX and post.may_start(now) and self._capture_has_begun(order.source.id):
                if post.order != order:
                    post.forgive()
                starting += self._start_apply(post, task, wishes, now)
        for task_id, post in self._applies.items():
            if task_id not in wishes.applies:
                post.stop(now)

    def _start_apply(self, post: Post, task: Task, wishes: Wishes, now: float) -> bool:
        """Take a fresh epoch, and then make sure that no reset has come in between: its epoch must not be passed (P6)."""
        epoch = self._store.next_epoch(task.id)
        if self._store.resets(task.id, "accepted"):
            return False
        order = wishes.applies[task.id]
        post.start(order, {"order": order.payload(), "epoch": epoch}, epoch, now)
        self._records.began(task.id, epoch, task.notes)
        log.info("worker_started", worker="apply", id=task.id, epoch=epoch, tables=len(order.mappings))
        return True

    def _capture_has_begun(self, source_id: str) -> bool:
        """Whether the journal of a source can be read: its capture has begun under its present order, or has at least tried."""
        post = self._captures.get(source_id)
        if post is None:
            return False
        return post.failing is not None or source_id in self._doomed or self._capturing(post)

    def _capturing(self, post: Post) -> bool:
        report = post.worker.report() if post.worker is not None else None
        return isinstance(report, CaptureReport) and report.state == "capturing"

    def _fails_with_capture(self, task: Task, order: ApplyOrder, post: Post) -> bool:
        """A task fails with its capture, or with a table that was lost, once it has applied what the journal holds; records that."""
        report = post.last_report if post.fresh else None
        if not isinstance(report, ApplyReport) or not _drained(report):
            return False
        failed = self._capture_failure(task, order, report)
        if failed is None:
            return False
        self._store.record_state(task.id, "failed", failed.kind, failed.message)
        if order.source.id in self._doomed:
            self._doomed[order.source.id] -= {task.id}
        return True

    def _capture_failure(self, task: Task, order: ApplyOrder, report: ApplyReport) -> Exit | None:
        """Why nothing more will come for this task; None where it will."""
        post = self._captures.get(order.source.id)
        if post is None:
            return None
        if task.id in self._doomed.get(order.source.id, ()):
            return post.failing
        lost = dict(post.last_report.lost) if isinstance(post.last_report, CaptureReport) else {}
        void = sorted({t.source_table for t in report.tables if t.state != "pending" and t.since < lost.get(t.source_table, 0)})
        return Exit("source_refused", LOST.format(", ".join(void))) if void else None

    # -- what is told and recorded

    def _note_caught_up(self) -> None:
        for task_id, post in self._applies.items():
            report = post.last_report
            if isinstance(report, ApplyReport) and report.offset is not None and post.order is not None:
                capture = self._captures.get(post.order.source.id)
                seen = capture.last_report if capture is not None else None
                if isinstance(seen, CaptureReport) and seen.source_us is not None and report.offset >= seen.next_offset:
                    self._caught_up_us[task_id] = seen.source_us

    def _tell_needed(self, wishes: Wishes) -> None:
        """Tell each capture the lowest offset that a running task still needs; nothing before every task has said its own."""
        for source_id, post in self._captures.items():
            tasks = [task_id for task_id, order in wishes.applies.items() if order.source.id == source_id]
            reports = [self._applies[task_id].last_report for task_id in tasks]
            needed = [r.kept_offset for r in reports if isinstance(r, ApplyReport) and r.kept_offset is not None]
            if post.worker is None or len(needed) < len(tasks):
                continue
            lowest = min(needed, default=None)
            if source_id not in self._told or self._told[source_id] != lowest:
                post.worker.tell({"needed_offset": lowest})
                self._told[source_id] = lowest

    def _tell_stale(self) -> None:
        """Tell each apply which of its tables were changed outside of the log since they were copied."""
        for post in self._applies.values():
            capture = self._captures.get(post.order.source.id) if post.order is not None else None
            seen, report = capture.last_report if capture is not None else None, post.last_report if post.fresh else None
            if post.worker is None or not isinstance(seen, CaptureReport) or not isinstance(report, ApplyReport):
                continue
            stale = {name: offset for name, offset in seen.stale for t in report.tables if t.source_table == name and t.since < offset}
            if stale:
                post.worker.tell({"stale": stale})

    def _look_for_stalls(self, wishes: Wishes, now: float) -> dict[str, str]:
        """By task: what stands still."""
        captures = {}
        for source_id, post in self._captures.items():
            said = post.last_report if post.fresh else None
            sign = capture_sign(said if isinstance(said, CaptureReport) else None) if post.busy else None
            captures[source_id] = self._stalls.look(source_id, sign, now)
        found = {}
        for task_id, order in wishes.applies.items():
            post = self._applies[task_id]
            report = post.last_report if post.fresh else None
            stall = self._stalls.look(task_id, self._apply_sign(post), now)
            if stall is None and (not post.busy or (isinstance(report, ApplyReport) and _drained(report))):
                stall = captures.get(order.source.id)
            if stall is not None:
                found[task_id] = str(stall)
        return found

    def _apply_sign(self, post: Post) -> Sign | None:
        if not post.busy or post.stopping or post.order is None:
            return None
        report = post.last_report if post.fresh else None
        capture = self.capture(post.order.source.id)
        return apply_sign(report if isinstance(report, ApplyReport) else None, capture.next_offset if capture else 0)

    def _record_states(self, wishes: Wishes, stalls: dict[str, str]) -> None:
        for task in wishes.tasks.values():
            recorded = self._state(task, stalls.get(task.id, ""))
            if recorded is not None and recorded != Recorded(task.state, task.error_kind, task.message):
                current = self._store.task(task.id)
                if current is not None and (current.wished, current.state) == (task.wished, task.state):
                    self._store.record_state(task.id, recorded.state, recorded.error_kind, recorded.message)

    def _state(self, task: Task, stalled: str) -> Recorded | None:
        """What the task's state is now; None where it stays what it was."""
        post = self._applies.get(task.id)
        if not task.wished:
            over = (post is None or not post.busy) and (task.state in RUNNING or task.state == "failed")
            return Recorded("stopped") if over else None
        if task.state == "failed":
            return None
        capture = self._captures.get(task.source_id or "")
        report = self.apply(task.id)
        fact = Fact(
            report.state if report is not None else None,
            _reported(capture),
            self._failure(task, post, capture),
            report.message if report is not None else "",
            stalled,
        )
        return running_state(fact)

    def _failure(self, task: Task, post: Post | None, capture: Post | None) -> tuple[str, str] | None:
        """What keeps the task from going on, where that is being tried again; its own failure before its capture's."""
        for one in (post, capture):
            if one is not None and one.failing is not None and task.source_id not in self._doomed:
                return one.failing.kind, f"{one.failing.message} {policy(one.failing.kind).hint}"
        return None

    def _forget(self, wishes: Wishes) -> None:
        """Let go of posts that are free and wanted by nobody."""
        for posts, wanted in ((self._captures, set(wishes.captures)), (self._applies, set(wishes.tasks))):
            for id_ in [i for i, post in posts.items() if i not in wanted and not post.busy]:
                del posts[id_]
                self._caught_up_us.pop(id_, None)
                self._doomed.pop(id_, None)
                self._stalls.look(id_, None, 0.0)

    # -- Live

    def capture(self, data_source_id: str) -> CaptureReport | None:
        """See `Live.capture`."""
        post = self._captures.get(data_source_id)
        report = post.newest if post is not None and post.busy else None
        return report if isinstance(report, CaptureReport) else None

    def apply(self, task_id: str) -> ApplyReport | None:
        """See `Live.apply`; with the lag as it is now."""
        post = self._applies.get(task_id)
        report = post.newest if post is not None and post.busy and not post.silent else None
        if post is None or post.order is None or not isinstance(report, ApplyReport):
            return None
        capture = self._captures.get(post.order.source.id)
        seen = capture.newest if capture is not None else None
        caught_up_us = self._caught_up_us.get(task_id)
        return with_lag(report, seen if isinstance(seen, CaptureReport) else None, caught_up_us, self._clock.now_us())


def _drained(report: ApplyReport) -> bool:
    """True where an apply has nothing left to do without its capture."""
    if report.state in ("starting", "copying"):
        return False
    return report.state == "waiting" or report.offset is None or report.offset >= report.next_offset


def _reported(post: Post | None) -> str | None:
    """What the worker that holds the post calls its state."""
    report = post.worker.report() if post is not None and post.worker is not None else None
    return report.state if report is not None else None


def _told(error: Exception) -> dict[str, object]:
    """An error for the log: its text only where we wrote it, since others may hold row values."""
    trace = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return {"error": type(error).__name__, "message": str(error) if isinstance(error, HeadwaterError) else "", "trace": trace}
