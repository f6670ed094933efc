"""The data plane on real servers together with the reset service, as the service puts them together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Self

from headwater import adapters
from headwater.engine.control import SystemClock
from headwater.engine.local_runtime import LocalRuntime
from headwater.engine.supervisor import Supervisor
from headwater.engine.tidy import Tidy
from headwater.engine.wishes import Terms
from headwater.ports.store import Reset, Task
from headwater.ports.target import Checkpoint, Target
from headwater.services.data_sources import Connections
from headwater.services.locks import TaskLocks
from headwater.services.resets import Resets
from tests.databases import D, wait_until
from tests.integration.world import RETENTION, SCOPE, World


class Crashed(Exception):
    """The service ended here."""


class ResetWorld(World[D]):
    """A `World` whose supervisor rolls resets forward. `resets` belongs to the present incarnation of the service."""

    resets: Resets

    @contextmanager
    def running(self, drain_s: float = 8.0) -> Iterator[Self]:
        """The service, for the body of the `with`."""
        runtime = LocalRuntime()
        tidy = Tidy(self.store, adapters.source_of, adapters.target_of, self.journal_dir)
        terms = Terms(self.journal_dir, RETENTION)
        self.supervisor = Supervisor(self.store, runtime, terms, tidy, self._roll, SystemClock())
        self.restart_resets()
        runtime.on_change = self.supervisor.nudge
        self.supervisor.start()
        try:
            yield self
        finally:
            self.supervisor.close(drain_s)

    def _roll(self) -> frozenset[str]:
        return self.resets.roll_forward()

    def restart_resets(self) -> None:
        """The reset service as a new process has it."""
        connections = Connections(adapters.source_of, adapters.target_of, adapters.KINDS, adapters.default_schema)
        opener = adapters.journal_opener(self.directory)
        self.resets = Resets(self.store, connections, opener, self.supervisor, TaskLocks(), now_ms, self.supervisor.nudge)

    def reset(self, task_id: str, moment_ms: object) -> Reset:
        """A reset by the user."""
        return self.resets.reset(SCOPE, task_id, moment_ms, "tester")

    def target_adapter(self) -> Target:
        """The adapter of the target database."""
        data_source = self.store.data_source("target")
        assert data_source is not None
        return adapters.target_of(data_source)

    def place(self, task_id: str) -> Checkpoint:
        """Where the task stands at the target."""
        return self.target_adapter().look(task_id)[0]

    def task(self, task_id: str) -> Task:
        """As stored."""
        task = self.store.task(task_id)
        assert task is not None
        return task

    def stamps(self) -> list[int]:
        """The commit times in the journal, in microseconds, by offset."""
        reader = adapters.journal_opener(self.directory)("source")
        assert reader is not None
        with closing(reader):
            return [stamp for offset in range(reader.end().next_offset) if (stamp := reader.stamp(offset)) is not None]

    def await_captured(self, transactions: int) -> list[int]:
        """Wait until the journal holds so many transactions; their commit times."""
        return wait_until(lambda: stamps if len(stamps := self.stamps()) >= transactions else [], what=f"{transactions} transactions")

    def await_applied(self, task_id: str) -> None:
        """Wait until the target has all that the journal holds now."""
        end = len(self.stamps())
        wait_until(lambda: (self.place(task_id).offset or 0) >= end, what=f"{task_id} having applied {end} transactions")

    def crash_before_the_effect(self, call: Callable[[], object]) -> None:
        """Let the service end between the acceptance of a reset and its effect."""

        def crash(*_: object) -> None:
            raise Crashed

        self.resets._move = crash  # type: ignore[assignment, method-assign]
        try:
            call()
        except Crashed:
            return
        raise AssertionError("the reset did not get as far as its effect")


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
