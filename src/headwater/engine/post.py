"""A post: the place of one worker, whoever holds it. It remembers what the supervisor needs from one worker to the next.

The supervisor looks at a post once per step: `hear` takes in how a worker ended, `wants` tells what to do about the order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from headwater.domain.failures import Decision, decide
from headwater.engine.orders import ApplyOrder, CaptureOrder, VerifyOrder
from headwater.ports.runtime import ApplyReport, CaptureReport, Exit, Report, Runtime, Worker, WorkerSpec

DRAIN_S = 8.0
"""How long a worker may take to reach a commit when it is asked to stop; then it is killed (its place is kept)."""


@dataclass
class Ended:
    """How a worker ended, and what follows from it. `asked` where it was told to."""

    exit: Exit
    asked: bool
    decision: Decision


class Post:
    """One worker's place. All times are monotonic seconds, handed in."""

    def __init__(self, kind: Literal["capture", "apply", "verify"], id: str, runtime: Runtime) -> None:
        self.kind, self.id = kind, id
        self.order: CaptureOrder | ApplyOrder | VerifyOrder | None = None
        self.worker: Worker | None = None
        self.epoch = 0
        self.failing: Exit | None = None
        self.last_report: Report | None = None
        self.fresh = False  # the last report is by the worker that holds the post
        self._runtime = runtime
        self._failures = 0
        self._started_at = self._retry_at = 0.0
        self._kill_at: float | None = None

    @property
    def busy(self) -> bool:
        """True while a process of ours holds the post."""
        return self.worker is not None

    @property
    def stopping(self) -> bool:
        """True once the worker has been told to stop."""
        return self._kill_at is not None

    @property
    def silent(self) -> bool:
        """True while the worker has not reported yet."""
        return self.worker is not None and self.worker.report() is None

    @property
    def newest(self) -> Report | None:
        """What was said last here, whether it was taken in already or not."""
        report = self.worker.report() if self.worker is not None else None
        return report or self.last_report

    def may_start(self, now: float) -> bool:
        """True where the post is free and no pause after a failure is left."""
        return not self.busy and now >= self._retry_at

    def pause_left(self, now: float) -> float:
        """Seconds until a free post may be filled again after a failure; 0 where there is nothing to wait for."""
        return 0.0 if self.busy else max(0.0, self._retry_at - now)

    def hurry(self, answered_at: float, now: float) -> None:
        """The server that the last worker missed has answered at `answered_at`: what is left of the pause is not needed."""
        if not self.busy and self._started_at < answered_at:
            self._retry_at = min(self._retry_at, now)

    def start(self, order: CaptureOrder | ApplyOrder | VerifyOrder, payload: dict[str, Any], epoch: int, now: float) -> None:
        """Put a worker here."""
        self.order, self.epoch, self._started_at, self._kill_at = order, epoch, now, None
        self.fresh = False
        self.worker = self._runtime.start(WorkerSpec(self.kind, self.id, payload))

    def stop(self, now: float, at_once: bool = False) -> None:
        """Tell the worker to drain and end; kill it where it takes too long, or `at_once`. Call it again in each step."""
        if self.worker is None:
            return
        if self._kill_at is None:
            self._kill_at = now + DRAIN_S
            self.worker.tell({"stop": True})
        if at_once or now >= self._kill_at:
            self.worker.kill()

    def hear(self, now: float) -> Ended | None:
        """Take in the newest report and, where the worker has ended, how; None while it runs."""
        if self.worker is None:
            return None
        exit_ = self.worker.exited()  # before the report: nothing is reported after the end
        report = self.worker.report()
        if report is not None and report is not self.last_report:
            self.last_report, self.fresh = report, True
            if report.state != "starting":
                self.failing = None
        if exit_ is None:
            return None
        if self.stopping and exit_.kind == "crashed":  # by our own hand, and no failure to tell of
            exit_ = Exit("stopped", "It was ended at once: a newer run has taken over, or it took too long to drain.")
        kind = "crashed" if exit_.kind == "stopped" and not self.stopping else exit_.kind
        decision = decide(kind, self._failures, now - self._started_at, got_further(report))
        ended = Ended(exit_, self.stopping, decision)
        self.worker, self._kill_at = None, None
        if not ended.asked:
            self._failures, self._retry_at = decision.failures, now + decision.pause_s
            self.failing = exit_ if decision.action != "replace" else None
        return ended

    def forgive(self) -> None:
        """Forget failures: somebody has changed what it should do, or asked for it again."""
        self._failures, self._retry_at, self.failing = 0, 0.0, None


def got_further(report: Report | None) -> bool:
    """Whether a worker that said this has moved anything since it started."""
    if isinstance(report, ApplyReport):
        return bool(report.transactions or report.rows_copied)
    return isinstance(report, CaptureReport) and report.transactions > 0
