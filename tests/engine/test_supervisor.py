"""The supervisor, one step at a time, over a store in memory and workers that only do what the test says."""

from __future__ import annotations

from collections import abc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from headwater.domain.failures import RETRY_PAUSE_S
from headwater.domain.mapping import ColumnPair
from headwater.engine.knock import Knocker
from headwater.engine.post import DRAIN_S
from headwater.engine.supervisor import STARTING_MAX, Supervisor
from headwater.engine.tidy import Tidy
from headwater.engine.wishes import Terms
from headwater.ports.journal import Retention
from headwater.ports.runtime import ApplyReport, CaptureReport, Exit, Report, TableReport, WorkerSpec
from headwater.ports.store import DataSource, Leftover, Mapping, Reset, Scope, Task
from headwater.testing import MemoryStore, MemoryTarget, MovedClock, ScriptedSource
from tests.databases import wait_until
from tests.engine.workbench import ACCOUNTS, NOTES

SCOPE = Scope("p", "i")


@dataclass
class FakeWorker:
    """A worker under the test's hand."""

    spec: WorkerSpec
    said: Report | None = None
    ended: Exit | None = None
    told: list[dict[str, Any]] = field(default_factory=list)
    killed: bool = False

    def report(self) -> Report | None:
        return self.said

    def exited(self) -> Exit | None:
        return self.ended

    def tell(self, command: dict[str, Any]) -> None:
        self.told.append(command)

    def kill(self) -> None:
        self.killed = True
        self.ended = self.ended or Exit("crashed", "killed")


@dataclass
class FakeRuntime:
    """Starts fake workers and remembers them all."""

    workers: list[FakeWorker] = field(default_factory=list)
    closed: bool = False

    def start(self, spec: WorkerSpec) -> FakeWorker:
        self.workers.append(FakeWorker(spec))
        return self.workers[-1]

    def close(self) -> None:
        self.closed = True


class Rig:
    """A supervisor with everything around it."""

    def __init__(self, directory: Path) -> None:
        self.clock = MovedClock()
        self.store = MemoryStore()
        self.runtime = FakeRuntime()
        self.source, self.target = ScriptedSource([ACCOUNTS, NOTES]), MemoryTarget([ACCOUNTS, NOTES])
        self.directory = directory
        self.held: frozenset[str] = frozenset()
        for name in ("source", "target"):
            self.store.save_data_source(DataSource(name, SCOPE, "a", name, "POSTGRESQL", "", {"host": name}, {"password": "s"}, 0, 0))
        self.tidy = Tidy(self.store, lambda _: self.source, lambda _: self.target, self.journal_dir)
        terms = Terms(self.journal_dir, Retention(1, 2, 3))
        self.supervisor = Supervisor(self.store, self.runtime, terms, self.tidy, lambda: self.held, self.clock)

    def journal_dir(self, source_id: str) -> Path:
        return self.directory / source_id

    def add_task(self, task_id: str = "t", table: str = "accounts") -> None:
        made = Task(
            task_id, SCOPE, task_id, "REALTIME", "", "", frozenset({"INSERT"}), "source", "target", "a", "a", True, False, "saved", "",
            "", 0, False, 0, 0, {},
        )  # fmt: skip
        self.store.save_task(made)
        pairs = (ColumnPair("id", "id", True),)
        name = f"public.{table}"
        self.store.save_mapping(Mapping(f"{task_id}-m", task_id, name, name, pairs, (), (), (), "MANUAL", 100, 0))

    def step(self, seconds: float = 0.0) -> None:
        self.clock.move(seconds)
        self.supervisor.step(self.clock.monotonic())

    def stepping(self, true: Callable[[], bool]) -> Callable[[], bool]:
        """Look for something, with a step a few seconds later each time."""

        def look() -> bool:
            self.step(6)
            return true()

        return look

    def published(self) -> bool:
        saved = self.store.data_source("source")
        return saved is not None and saved.published

    def newest(self, kind: str, id: str) -> FakeWorker:
        return [w for w in self.runtime.workers if (w.spec.kind, w.spec.id) == (kind, id)][-1]

    def count(self, kind: str) -> int:
        return sum(w.spec.kind == kind for w in self.runtime.workers)

    def state(self, task_id: str = "t") -> str:
        task = self.store.task(task_id)
        assert task is not None
        return task.state

    def capturing(self, **fields: Any) -> CaptureReport:
        report = CaptureReport("capturing", **{"source_us": self.clock.now_us(), **fields})
        self.newest("capture", "source").said = report
        return report

    def start(self, task_id: str = "t") -> FakeWorker:
        """Wish a task to run and bring it to `following`; its worker."""
        self.store.wish(task_id, True)
        self.step()
        self.capturing(next_offset=5)
        self.step()
        worker = self.newest("apply", task_id)
        worker.said = ApplyReport("following", offset=5, kept_offset=5, next_offset=5)
        self.step()
        return worker


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path)
    made.add_task()
    return made


def test_nothing_runs_before_it_is_wished(rig: Rig) -> None:
    rig.step()
    assert not rig.runtime.workers
    assert rig.state() == "saved"


def test_capture_begins_first_and_the_apply_follows_with_a_fresh_epoch(rig: Rig) -> None:
    rig.store.wish("t", True)
    rig.step()
    assert (rig.count("capture"), rig.count("apply")) == (1, 0)
    assert rig.state() == "starting"
    assert rig.published()
    rig.capturing()
    rig.step()
    worker = rig.newest("apply", "t")
    assert worker.spec.payload["epoch"] == 1
    worker.said = ApplyReport("copying")
    rig.step()
    assert rig.state() == "copying"
    assert [run.outcome for run in rig.store.runs("t", 5)] == ["running"]


def test_stopping_drains_and_capture_goes_on(rig: Rig) -> None:
    worker = rig.start()
    rig.store.wish("t", False)
    rig.step()
    assert worker.told == [{"stop": True}]
    assert rig.state() == "following"  # until it has ended
    worker.ended = Exit("stopped", "")
    rig.step()
    assert rig.state() == "stopped"
    assert rig.newest("capture", "source").ended is None
    assert [run.outcome for run in rig.store.runs("t", 5)] == ["stopped"]


def test_a_worker_that_does_not_drain_is_killed(rig: Rig) -> None:
    worker = rig.start()
    rig.store.wish("t", False)
    rig.step()
    rig.step(DRAIN_S - 1)
    assert not worker.killed
    rig.step(2)
    assert worker.killed
    rig.step()
    assert rig.state() == "stopped"


def test_a_failure_that_heals_is_tried_again_after_growing_pauses(rig: Rig) -> None:
    worker = rig.start()
    for pause_s in (*RETRY_PAUSE_S, RETRY_PAUSE_S[-1]):
        started = rig.count("apply")
        worker.ended = Exit("target_unavailable", "gone")
        rig.step()
        assert rig.state() == "retrying"
        rig.step(pause_s * 0.9)
        assert rig.count("apply") == started
        rig.step(pause_s * 0.2)
        assert rig.count("apply") == started + 1
        worker = rig.newest("apply", "t")
    assert worker.spec.payload["epoch"] == len(RETRY_PAUSE_S) + 2


def test_a_failure_for_a_person_stops_the_task_until_it_is_wished_again(rig: Rig) -> None:
    worker = rig.start()
    worker.ended = Exit("schema_mismatch", "column gone")
    rig.step()
    task = rig.store.task("t")
    assert task is not None
    assert (task.state, task.error_kind, task.message) == ("failed", "schema_mismatch", "column gone")
    rig.step(100)
    assert rig.count("apply") == 1
    assert rig.store.wish("t", True)
    rig.step()
    assert rig.count("apply") == 2


def test_stopping_a_failed_task_makes_it_stopped(rig: Rig) -> None:
    worker = rig.start()
    worker.ended = Exit("schema_mismatch", "column gone")
    rig.step()
    rig.store.wish("t", False)
    rig.step()
    assert rig.state() == "stopped"


def test_a_reset_elsewhere_replaces_the_worker_that_it_fenced(rig: Rig) -> None:
    worker = rig.start()
    rig.store.accept_reset(Reset("r", "t", "me", 0, None, None, None, None, 0, "accepted", "", None))
    rig.held = frozenset({"t"})
    rig.step()
    assert worker.killed
    rig.step()
    assert rig.count("apply") == 1  # the reset is still to have its effect
    rig.store.save_reset(replace(rig.store.resets("t")[0], outcome="done"))
    rig.held = frozenset()
    rig.step()
    assert rig.newest("apply", "t").spec.payload["epoch"] == 3


def test_a_reset_that_is_accepted_while_a_run_begins_is_not_passed_p6(rig: Rig) -> None:
    rig.store.wish("t", True)
    rig.step()
    rig.capturing()
    accepted = Reset("r", "t", "me", 0, None, None, None, None, 0, "accepted", "", None)
    rig.store.faults.before("store.next_epoch", lambda: rig.store.accept_reset(accepted))
    rig.step()
    assert rig.count("apply") == 0


def test_changed_credentials_replace_both_workers(rig: Rig) -> None:
    worker = rig.start()
    capture = rig.newest("capture", "source")
    saved = rig.store.data_source("source")
    assert saved is not None
    rig.store.save_data_source(replace(saved, secrets={"password": "new"}))
    rig.step()
    assert worker.told == [{"stop": True}]
    assert {"stop": True} in capture.told
    worker.ended = capture.ended = Exit("stopped", "")
    rig.step()
    assert rig.count("capture") == 2
    rig.capturing()
    rig.step()
    assert rig.newest("apply", "t").spec.payload["order"]["source"]["secrets"] == {"password": "new"}


def test_one_capture_has_the_tables_of_all_tasks(rig: Rig) -> None:
    rig.start()
    rig.add_task("u", "notes")
    rig.store.wish("u", True)
    rig.step()
    rig.newest("capture", "source").ended = Exit("stopped", "")
    rig.step()
    tables = rig.newest("capture", "source").spec.payload["tables"]
    assert [t["name"] for t in tables] == ["accounts", "notes"]
    assert rig.newest("apply", "t").ended is None


def test_a_capture_that_failed_for_good_fails_its_tasks_once_they_have_caught_up(rig: Rig) -> None:
    worker = rig.start()
    worker.said = ApplyReport("catching_up", offset=5, next_offset=9)
    rig.newest("capture", "source").ended = Exit("slot_lost", "the slot is gone")
    rig.step()
    assert rig.state() == "catching_up"
    worker.said = ApplyReport("following", offset=9, next_offset=9)
    rig.step()
    task = rig.store.task("t")
    assert task is not None
    assert (task.state, task.error_kind, task.message) == ("failed", "slot_lost", "the slot is gone")
    rig.step(100)
    assert rig.count("capture") == 1


@pytest.mark.parametrize("how", ["start", "consent"])
def test_a_capture_that_failed_for_good_is_tried_again_when_somebody_acts(rig: Rig, how: str) -> None:
    rig.start()
    rig.newest("capture", "source").ended = Exit("slot_lost", "the slot is gone")
    rig.step()
    rig.newest("apply", "t").ended = Exit("stopped", "")
    rig.step()
    assert rig.state() == "failed"
    assert rig.count("capture") == 1
    if how == "start":
        rig.store.wish("t", True)
    else:
        rig.store.renew_history("source")
    rig.step()
    assert rig.count("capture") == 2


def test_a_table_that_was_away_fails_the_tasks_with_older_copies_and_no_other(rig: Rig) -> None:
    for task_id in ("u", "v"):
        rig.add_task(task_id, "notes")
        rig.store.wish(task_id, True)
    rig.start()
    for task_id, since in (("u", 4), ("v", 5)):
        tables = (TableReport("m", "public.notes", "public.notes", "copied", since=since),)
        rig.newest("apply", task_id).said = ApplyReport("following", offset=5, kept_offset=5, next_offset=5, tables=tables)
    rig.capturing(next_offset=5, lost=(("public.notes", 5),))
    rig.step()
    rig.step()
    assert [rig.state(task_id) for task_id in "tuv"] == ["following", "failed", "following"]


def test_a_capture_that_is_being_tried_again_shows_in_its_tasks(rig: Rig) -> None:
    rig.start()
    rig.newest("capture", "source").ended = Exit("source_unavailable", "no route")
    rig.step()
    task = rig.store.task("t")
    assert task is not None
    assert (task.state, task.error_kind) == ("retrying", "source_unavailable")
    rig.step(1)
    rig.capturing()
    rig.step()
    assert rig.state() == "following"


def test_capture_is_told_the_lowest_offset_that_is_needed(rig: Rig) -> None:
    rig.add_task("u", "accounts")
    rig.start("t")
    capture = rig.newest("capture", "source")
    assert capture.told[-1] == {"needed_offset": 5}
    rig.store.wish("u", True)
    rig.step()
    assert capture.told[-1] == {"needed_offset": 5}  # u has not said yet what it needs: nothing new may be dropped
    rig.newest("apply", "u").said = ApplyReport("catching_up", offset=4, kept_offset=2, next_offset=5)
    rig.step()
    assert capture.told[-1] == {"needed_offset": 2}
    for task_id in ("t", "u"):
        rig.store.wish(task_id, False)
    rig.step()
    assert capture.told[-1] == {"needed_offset": None}


def test_only_a_few_tasks_start_at_the_same_time(rig: Rig) -> None:
    for i in range(STARTING_MAX * 2):
        rig.add_task(f"more-{i}")
        rig.store.wish(f"more-{i}", True)
    rig.step()
    rig.capturing()
    rig.step()
    assert rig.count("apply") == STARTING_MAX
    rig.step()
    assert rig.count("apply") == STARTING_MAX
    for worker in rig.runtime.workers:
        if worker.spec.kind == "apply":
            worker.said = ApplyReport("waiting")
    rig.step()
    assert rig.count("apply") == STARTING_MAX * 2


def test_what_was_made_is_dropped_with_the_last_task_and_tried_again_until_it_works(rig: Rig) -> None:
    rig.start()
    rig.source.publish([ACCOUNTS.table])
    rig.journal_dir("source").mkdir()
    rig.source.reachable = False
    rig.store.delete_task("t")
    rig.step()
    for worker in rig.runtime.workers:
        worker.ended = Exit("stopped", "")
    rig.step()
    wait_until(rig.stepping(lambda: "source" in rig.tidy._again_at))
    assert rig.journal_dir("source").exists()
    rig.source.reachable = True
    wait_until(rig.stepping(lambda: not rig.published()))
    assert rig.source.slot is None
    assert not rig.journal_dir("source").exists()


def test_leftovers_at_targets_are_removed(rig: Rig) -> None:
    rig.target.raise_epoch("gone", 3)
    rig.store.save_leftover(Leftover("l", "target", "gone", 0, "was down"))
    wait_until(rig.stepping(lambda: not rig.store.leftovers()))
    assert rig.target.place("gone") is None


def test_closing_drains_everything(rig: Rig) -> None:
    worker = rig.start()
    capture = rig.newest("capture", "source")
    worker.ended = capture.ended = Exit("stopped", "")
    rig.supervisor.close(1.0)
    assert rig.runtime.closed
    task = rig.store.task("t")
    assert task is not None
    assert task.wished
    assert [run.outcome for run in rig.store.runs("t", 5)] == ["stopped"]


def test_runs_that_a_killed_service_left_open_are_closed(rig: Rig) -> None:
    rig.start()
    other = Rig(rig.directory)
    other.store, other.supervisor._records._store = rig.store, rig.store
    other.supervisor._records.adopt()
    assert [run.outcome for run in rig.store.runs("t", 5)] == ["crashed"]


def test_lag_is_right_while_idle_and_while_blocked(rig: Rig) -> None:
    worker = rig.start()
    rig.step()
    idle = rig.supervisor.apply("t")
    assert idle is not None
    assert (idle.lag_ms, idle.lag_transactions) == (0, 0)
    # a transaction is captured, and the apply says nothing about it: its target blocks it
    rig.clock.move(10)
    rig.capturing(next_offset=7)
    rig.step()
    rig.clock.move(20)
    rig.capturing(next_offset=7)
    rig.step()
    blocked = rig.supervisor.apply("t")
    assert blocked is not None
    assert (blocked.lag_ms, blocked.lag_transactions, blocked.state) == (30_000, 2, "catching_up")
    rig.step()
    assert rig.state() == "catching_up"
    # capture falls silent
    worker.said = ApplyReport("following", offset=7, kept_offset=7, next_offset=7, at_us=rig.clock.now_us())
    rig.step()
    rig.clock.move(60)
    silent = rig.supervisor.apply("t")
    assert silent is not None
    assert silent.lag_ms == 60_000


def test_under_load_lag_is_what_the_apply_saw_and_not_the_age_of_its_report(rig: Rig) -> None:
    worker = rig.start()
    seen_us = rig.clock.now_us()
    worker.said = ApplyReport("following", offset=7, next_offset=9, pending_us=seen_us - 20_000, at_us=seen_us)
    rig.clock.move(1)
    rig.capturing(next_offset=500)
    report = rig.supervisor.apply("t")
    assert report is not None
    assert (report.lag_ms, report.state) == (20, "following")


def test_ids_in_payloads_are_no_secret_but_payloads_are_not_shown(rig: Rig) -> None:
    rig.start()
    assert "'s'" not in repr(rig.newest("apply", "t").spec)


def test_a_server_that_answers_again_ends_the_pauses_of_its_workers(rig: Rig) -> None:
    answered: dict[str, float] = {}

    class Watching(Knocker):
        def watch(self, doors: abc.Mapping[str, Callable[[], None]]) -> dict[str, float]:
            return {name: at for name, at in answered.items() if name in doors}

    rig.supervisor._knocker = Watching()
    rig.add_task()
    rig.store.wish("t", True)
    rig.step()
    for _ in range(len(RETRY_PAUSE_S)):
        rig.runtime.workers[-1].ended = Exit("source_unavailable", "away")
        rig.step(RETRY_PAUSE_S[-1] + 1)
    rig.runtime.workers[-1].ended = Exit("source_unavailable", "away")
    started = len(rig.runtime.workers)
    rig.step()
    assert len(rig.runtime.workers) == started  # the pause is long by now
    answered["source-source"] = rig.clock.monotonic()
    rig.step(0.01)
    assert len(rig.runtime.workers) == started + 1
