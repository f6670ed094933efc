"""The reset as a use case, over the shipped fakes: accepted whole or refused whole (P6), rolled forward, fenced (P4)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from headwater.domain.errors import Fenced, JournalError, TargetError
from headwater.domain.mapping import ColumnPair
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.ports.journal import JournalReader, Retention
from headwater.ports.runtime import ApplyReport, CaptureReport
from headwater.ports.store import DataSource, Mapping, Reset, Scope, Task
from headwater.ports.target import Checkpoint, CopyState, TableState
from headwater.services.data_sources import Connections
from headwater.services.errors import ServiceError
from headwater.services.locks import TaskLocks
from headwater.services.resets import Resets, task_reach
from headwater.testing import Crash, FaultScript, MemoryJournal, MemoryStore, MemoryTarget, MovedClock, ScriptedSource
from headwater.testing.rows import Transaction, frame

SCOPE = Scope("p" * 32, "instance")
TABLE = TableSchema(TableName("public", "t"), (Column("id", "bigint", key=True),))
START_MS = MovedClock().now_ms()


class Reports:
    """`Live` that says what a test puts in."""

    def __init__(self) -> None:
        self.captures: dict[str, CaptureReport] = {}

    def apply(self, task_id: str) -> ApplyReport | None:
        return None

    def capture(self, data_source_id: str) -> CaptureReport | None:
        return self.captures.get(data_source_id)


@dataclass
class World:
    """One task `task` that stands at offset 8 of ten transactions, committed one per second from `START_MS` on; copied at offset 2."""

    faults: FaultScript = field(default_factory=FaultScript)
    clock: MovedClock = field(default_factory=MovedClock)
    live: Reports = field(default_factory=Reports)
    nudges: list[None] = field(default_factory=list)
    done: list[Reset] = field(default_factory=list)  # as told to whoever wants to know of resets that were carried out

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.faults)
        self.target = MemoryTarget([TABLE], self.faults)
        self.journal: MemoryJournal | None = MemoryJournal()
        self.journal_error: JournalError | None = None
        self.resets = self.restarted()
        for name in ("source", "target"):
            self.store.save_data_source(DataSource(name, SCOPE, "app", name, "POSTGRESQL", "", {}, {}, 0, 0))
        self.add_task("task")
        writer = self.journal.writer()
        writer.append((), "0", self.clock.now_us())
        for i in range(10):
            writer.append([frame([Transaction(str(i + 1), self.clock.now_us(), ())], self.clock.now_us())], str(i + 1), self.clock.now_us())
            self.clock.move(1)
        self.stand("task", 8)

    def restarted(self) -> Resets:
        """The service as a new process has it: the same store and target, nothing else."""
        source = ScriptedSource([])
        source.reachable = False  # a reset needs no source
        connections = Connections(source=lambda _: source, target=lambda _: self.target)
        nudge = partial(self.nudges.append, None)
        return Resets(self.store, connections, self.open_journal, self.live, TaskLocks(), self.clock.now_ms, nudge, self.done.append)

    def open_journal(self, data_source_id: str) -> JournalReader | None:
        assert data_source_id == "source"
        if self.journal_error is not None:
            raise self.journal_error
        return None if self.journal is None else self.journal.reader()

    def add_task(self, task_id: str, **changed: object) -> None:
        """A running task with one keyed mapping."""
        task = Task(
            task_id, SCOPE, task_id, "REALTIME", "", "", frozenset({"INSERT", "UPDATE", "DELETE"}), "source", "target", "app", "app",
            True, True, "following", "", "", 0, False, 0, 0, {},
        )  # fmt: skip
        self.store.save_task(replace(task, **changed))  # type: ignore[arg-type]
        self.add_mapping(task_id, "public.t", key=True)

    def add_mapping(self, task_id: str, table: str, key: bool) -> None:
        """A mapping of one column."""
        pair = ColumnPair("id", "id", key)
        self.store.save_mapping(Mapping(f"{task_id}/{table}", task_id, table, table, (pair,), (), (), (), "MANUAL", 100, 0))

    def stand(self, task_id: str, offset: int | None, copied_from: int = 2) -> None:
        """Let the task have run up to `offset`."""
        epoch = self.store.next_epoch(task_id)
        self.target.raise_epoch(task_id, epoch)
        run = self.target.open(task_id, epoch)
        run.save_table_state(TableState(f"{task_id}/public.t", CopyState.COPIED, since=copied_from))
        run.commit(Checkpoint(epoch, "memory", offset, copied_from))

    def place(self, task_id: str = "task") -> Checkpoint:
        """Where it stands now."""
        place = self.target.place(task_id)
        assert place is not None
        return place

    def task(self, task_id: str = "task") -> Task:
        """As stored."""
        task = self.store.task(task_id)
        assert task is not None
        return task

    def to(self, second: float | None, task_id: str = "task") -> Reset:
        """Reset to so many seconds after the start."""
        return self.resets.reset(SCOPE, task_id, None if second is None else START_MS + int(second * 1000), "tester")

    def unchanged(self) -> tuple[object, ...]:
        """All that a refused reset must leave as it was."""
        return (
            self.place(),
            self.task(),
            dict(self.target.places["task"].states),
            self.store.resets("task", "done"),
            self.store.resets("task", "accepted"),
        )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def refused(world: World) -> Iterator[Callable[[object], ServiceError]]:
    """Calls a reset that has to be refused with nothing changed but the record of the refusal."""

    def call(date_from: object) -> ServiceError:
        before = world.unchanged()
        with pytest.raises(ServiceError) as error:
            world.resets.reset(SCOPE, "task", date_from, "tester")
        assert world.unchanged() == before
        assert not world.nudges
        newest = world.store.resets("task")[0]
        assert (newest.outcome, newest.message, newest.by) == ("refused", error.value.message, "tester")
        return error.value

    yield call
    assert not world.store.resets("task", "accepted")


def test_a_reset_goes_to_the_first_transaction_at_or_after_the_moment(world: World) -> None:
    done = world.to(5)
    assert world.place() == Checkpoint(2, "memory", 5, exact_from=8)
    assert (done.outcome, done.by, done.from_offset, done.to_offset, done.epoch) == ("done", "tester", 8, 5, 2)
    assert done.asked_ms == START_MS + 5000
    assert done.effective_us == (START_MS + 5000) * 1000
    assert done.done_ms is not None
    assert world.store.resets() == [done]
    assert world.nudges


def test_a_moment_between_two_transactions_goes_to_the_later_one(world: World) -> None:
    done = world.to(4.001)
    assert done.to_offset == 5
    assert done.effective_us == (START_MS + 5000) * 1000


def test_a_task_that_has_not_reached_the_moment_stays_where_it_is_and_the_record_says_so(world: World) -> None:
    done = world.to(9.5)
    assert world.place() == Checkpoint(2, "memory", 8, exact_from=2)
    assert done.to_offset == 8
    assert "goes on from where it stood" in done.message


def test_nothing_of_the_old_run_commits_after_the_answer(world: World) -> None:
    """P4."""
    old = world.target.open("task", world.task().epoch)
    old.write([])
    world.to(5)
    with pytest.raises(Fenced):
        old.commit(Checkpoint(1, "memory", 9))
    assert world.place().offset == 5


def test_what_the_old_run_commits_up_to_the_fence_is_known_to_the_replay(world: World) -> None:
    """Between the look and the fence the run may get on; the replay must pass all that it wrote before anything is exact again."""
    old = world.target.open("task", world.task().epoch)
    world.faults.before("target.raise_epoch", lambda: old.commit(Checkpoint(1, "memory", 10, 2)))
    world.to(5)
    assert world.place() == Checkpoint(2, "memory", 5, exact_from=10)


def test_without_a_time_everything_is_copied_again(world: World) -> None:
    done = world.to(None)
    assert world.place() == Checkpoint(2)
    assert world.target.look("task")[1] == {}
    assert (done.outcome, done.asked_ms, done.from_offset, done.to_offset) == ("done", None, 8, None)


def test_a_reset_to_a_moment_keeps_the_copies(world: World) -> None:
    world.to(5)
    assert world.target.look("task")[1]["task/public.t"].state is CopyState.COPIED


def test_tables_without_a_usable_key_are_copied_again_and_the_record_names_them(world: World) -> None:
    world.add_mapping("task", "public.keyless", key=False)
    world.target.open("task", 1).save_table_state(TableState("task/public.keyless", CopyState.COPIED, since=7))
    done = world.to(5)
    assert set(world.target.look("task")[1]) == {"task/public.t"}
    assert "copied again: public.keyless." in done.message


def test_a_table_that_was_added_later_is_named(world: World) -> None:
    world.add_mapping("task", "public.later", key=True)
    world.target.open("task", 1).save_table_state(TableState("task/public.later", CopyState.COPIED, since=7))
    done = world.to(5)
    assert done.to_offset == 5
    assert "replayed from their copy on: public.later." in done.message


def test_a_running_task_runs_on_and_a_failure_is_over(world: World) -> None:
    world.store.wish("task", True)
    world.store.record_state("task", "failed", "target_refused", "why")
    world.to(5)
    assert (world.task().wished, world.task().state, world.task().error_kind) == (True, "starting", "")


@pytest.mark.parametrize(("state", "after"), [("stopped", "stopped"), ("failed", "stopped")])
def test_a_stopped_task_stays_stopped(world: World, state: str, after: str) -> None:
    world.store.wish("task", False)
    world.store.record_state("task", state)
    world.to(5)
    assert (world.task().wished, world.task().state) == (False, after)
    assert world.place().offset == 5


def test_a_second_identical_reset_is_harmless(world: World) -> None:
    world.to(5)
    done = world.to(5)
    assert world.place() == Checkpoint(3, "memory", 5, exact_from=8)
    assert done.from_offset == done.to_offset == 5


def test_other_tasks_of_the_source_are_undisturbed(world: World) -> None:
    world.add_task("other")
    world.stand("other", 9)
    before = (world.place("other"), world.task("other"))
    world.to(5)
    world.to(None)
    assert (world.place("other"), world.task("other")) == before
    world.target.open("other", 1).commit(Checkpoint(1, "memory", 10))


@pytest.mark.parametrize("value", [True, "1767225605000", 1.5, 0, -5, 2**70, 10**19])
def test_a_malformed_moment_is_refused(refused: Callable[[object], ServiceError], value: object) -> None:
    error = refused(value)
    assert (error.code, error.status) == ("FDI.3033", 400)
    assert error.message.startswith("Invalid parameter [date_from]: it must")


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (START_MS // 1000 + 5, "looks like seconds"),
        (START_MS - 1, "before the window"),
        (START_MS + 60_000, "lies in the future"),
        (9_999_999_999_999_999_999, "lies in the future"),
        (START_MS + 500, "before the window"),  # the task was copied at offset 2, one second later
    ],
)
def test_a_moment_out_of_reach_is_refused_with_the_reach(refused: Callable[[object], ServiceError], moment: int, said: str) -> None:
    error = refused(moment)
    assert (error.code, error.status) == ("FDI.3033", 400)
    assert error.message.startswith("Invalid parameter [date_from]: ")
    assert said in error.message
    assert f"Reachable: {START_MS + 1001} (2026-01-01T00:00:01.001Z) to {START_MS + 9000} (2026-01-01T00:00:09.000Z)." in error.message


def test_stamps_of_whole_seconds_hide_no_moment_behind_a_copy() -> None:
    """MariaDB's: every transaction was seen later than it is stamped."""
    journal, began = MemoryJournal(), START_MS * 1000
    writer, reader = journal.writer(), journal.reader()
    writer.stamps_within(86_400_000_000)
    writer.append((), "0", began)
    seen = [began + i * 250_000 + 1_000 for i in range(40)]
    for i, moment in enumerate(seen):
        writer.append([frame([Transaction(str(i + 1), moment // 10**6 * 10**6, ())], moment)], str(i + 1), moment)
    for copied_from in (1, 10, 39):
        earliest = task_reach(reader, reader.window(), copied_from).earliest_us
        assert earliest is not None
        assert seen[copied_from - 1] < earliest <= seen[copied_from - 1] + 1_000
        assert reader.seek(earliest) == copied_from


def test_the_future_is_judged_by_the_clock_of_the_source(world: World, refused: Callable[[object], ServiceError]) -> None:
    refused(START_MS + 60_000)
    world.live.captures["source"] = CaptureReport("capturing", clock_offset_us=3_600_000_000)
    assert world.resets.reset(SCOPE, "task", START_MS + 60_000, "tester").to_offset == 8


def test_history_that_was_dropped_is_out_of_reach(world: World, refused: Callable[[object], ServiceError]) -> None:
    assert world.journal is not None
    world.journal.writer().retain(Retention(3_500_000, 1 << 60, 1 << 60), 8, world.clock.now_us())
    assert f"Reachable: {START_MS + 6001} " in refused(START_MS + 6000).message
    assert world.to(6.001).to_offset == 7


def test_a_task_whose_own_place_was_dropped_can_only_be_copied_again(world: World, refused: Callable[[object], ServiceError]) -> None:
    assert world.journal is not None
    world.journal.writer().retain(Retention(500_000, 1 << 60, 1 << 60), None, world.clock.now_us())
    assert "Reset the task without a time" in refused(START_MS + 9_500).message
    assert world.to(None).outcome == "done"


def test_another_journal_than_the_one_that_the_task_stood_in_is_refused(world: World, refused: Callable[[object], ServiceError]) -> None:
    assert world.journal is not None
    world.journal.journal_id = "another"
    assert "no longer holds the place" in refused(START_MS + 5000).message


def test_no_history_yet_is_refused(world: World, refused: Callable[[object], ServiceError]) -> None:
    world.journal = None
    assert "no history" in refused(START_MS + 5000).message


def test_a_damaged_journal_is_refused_with_a_time_and_renewed_without(world: World, refused: Callable[[object], ServiceError]) -> None:
    world.journal_error = JournalError("frame 3 is unreadable")
    assert "reset without a time" in refused(START_MS + 5000).message
    world.store.record_state("task", "failed", "journal_damaged", "frame 3 is unreadable")
    world.to(None)
    source = world.store.data_source("source")
    assert source is not None
    assert source.history == 1


def test_a_healthy_history_is_not_renewed(world: World) -> None:
    world.to(None)
    source = world.store.data_source("source")
    assert source is not None
    assert source.history == 0


def test_a_task_that_never_started_has_nothing_to_go_back_to(world: World) -> None:
    world.add_task("new")
    with pytest.raises(ServiceError, match=r"Invalid parameter \[date_from\]: the task was never started") as error:
        world.to(5, "new")
    assert (error.value.code, error.value.status) == ("FDI.3033", 400)
    done = world.to(None, "new")
    assert (done.outcome, world.task("new").epoch, world.target.place("new")) == ("done", 0, None)
    assert [r.outcome for r in world.store.resets("new")] == ["done", "refused"]


def test_a_task_without_a_place_keeps_having_none(world: World) -> None:
    world.stand("task", None)
    assert world.to(5).to_offset is None
    assert world.place() == Checkpoint(3, "memory", None, 2)


def test_a_task_without_mappings_is_refused(world: World, refused: Callable[[object], ServiceError]) -> None:
    world.store.delete_mapping("task", "task/public.t")
    error = refused(START_MS + 5000)
    assert (error.code, error.status) == ("FDI.3150", 400)
    assert refused(None).code == "FDI.3150"


def test_a_timing_task_without_a_schedule_is_refused(world: World) -> None:
    world.add_task("timing", task_type="TIMING")
    world.stand("timing", 8)
    with pytest.raises(ServiceError) as error:
        world.to(5, "timing")
    assert (error.value.code, error.value.status) == ("FDI.3083", 404)


@pytest.mark.parametrize("scope", [SCOPE, Scope("q" * 32, "instance"), Scope("p" * 32, "another")])
def test_a_task_that_the_caller_can_not_see_is_unknown(world: World, scope: Scope) -> None:
    world.add_task("unsaved", saved=False)
    for task_id in ("nobody", "unsaved") if scope == SCOPE else ("task",):
        with pytest.raises(ServiceError) as error:
            world.resets.reset(scope, task_id, START_MS + 5000, "tester")
        assert (error.value.code, error.value.status) == ("FDI.3180", 404)
    assert world.store.resets() == []


def test_an_unreachable_target_refuses_the_reset_whole(world: World, refused: Callable[[object], ServiceError]) -> None:
    world.target.reachable = False
    for moment in (START_MS + 5000, None):
        error = refused(moment)
        assert (error.code, error.status) == ("FDI.3016", 400)
        assert "nothing was changed" in error.message


def test_an_answer_that_was_lost_is_asked_for_again(world: World) -> None:
    world.faults.after("target.raise_epoch", TargetError("connection lost"))
    assert world.to(5).outcome == "done"
    assert world.place() == Checkpoint(2, "memory", 5, exact_from=8)


def vanish_after_acceptance(world: World) -> ServiceError:
    def vanish() -> None:
        world.target.reachable = False

    world.faults.after("store.accept_reset", vanish)
    with pytest.raises(ServiceError) as error:
        world.to(5)
    return error.value


def test_a_target_that_vanishes_after_the_acceptance_is_moved_as_soon_as_it_is_back(world: World) -> None:
    error = vanish_after_acceptance(world)
    assert (error.code, error.status) == ("FDI.3016", 500)
    assert "accepted and takes effect as soon as the target can be reached" in error.message
    assert world.resets.complete_pending() == {"task"}
    assert (world.task().state, world.task().error_kind) == ("retrying", "target_unavailable")
    world.target.reachable = True
    assert world.resets.complete_pending() == frozenset()
    assert world.place() == Checkpoint(2, "memory", 5, exact_from=8)
    assert [r.outcome for r in world.store.resets()] == ["done"]


def test_the_supervisor_never_waits_for_a_target(world: World) -> None:
    """A frozen run may hold the lock that the reset waits for: the supervisor must get on, to end it."""
    vanish_after_acceptance(world)
    world.target.reachable = True
    with world.target.lock:
        assert world.resets.roll_forward() == {"task"}
        assert world.resets.roll_forward() == {"task"}
        rolling = [thread for thread in threading.enumerate() if thread.name == "reset-task"]
        assert len(rolling) == 1
    rolling[0].join(20)
    assert world.resets.roll_forward() == frozenset()
    assert world.place() == Checkpoint(2, "memory", 5, exact_from=8)


def test_while_one_reset_waits_for_its_target_another_is_refused(world: World) -> None:
    vanish_after_acceptance(world)
    with pytest.raises(ServiceError, match="an earlier reset still waits for its target") as error:
        world.to(4)
    assert error.value.status == 400
    world.target.reachable = True
    assert world.to(4).to_offset == 4
    assert [(r.outcome, r.epoch) for r in world.store.resets()] == [("done", 3), ("refused", 2), ("done", 2)]
    assert world.place() == Checkpoint(3, "memory", 4, exact_from=8)


STEPS = 11
"""One more than a reset has seams; the test says so when that changes."""


@pytest.mark.parametrize("step", range(1, STEPS + 1))
@pytest.mark.parametrize("second", [5, None])
def test_a_crash_at_any_seam_ends_in_one_reset_or_in_none(step: int, second: float | None) -> None:
    """P6: before the acceptance none, after it exactly one, however often it is rolled forward."""
    world = World()
    world.store.wish("task", True)
    world.store.record_state("task", "failed", "target_refused", "why")
    world.faults.crash_in(step)
    crashed = False
    try:
        world.to(second)
    except Crash:
        crashed = True
    assert crashed == (step < STEPS), "a reset has other seams than before: set STEPS"
    world.faults.crash_in(None)
    accepted = "store.accept_reset:after" in world.faults.seen
    for _ in range(2):
        assert world.restarted().complete_pending() == frozenset()
    assert [r.outcome for r in world.store.resets()] == (["done"] if accepted else [])
    after = Checkpoint(2, "memory", 5, exact_from=8) if second else Checkpoint(2)
    assert world.place() == (after if accepted else Checkpoint(1, "memory", 8, 2))
    assert world.task().state == ("starting" if accepted else "failed")


def test_rolling_forward_twice_does_not_move_a_run_that_went_on(world: World) -> None:
    world.to(5)
    epoch = world.store.next_epoch("task")
    world.target.raise_epoch("task", epoch)
    world.target.open("task", epoch).commit(Checkpoint(epoch, "memory", 9, 8))
    done = world.store.resets()[0]
    assert world.resets.complete(done) == done
    assert world.restarted().complete_pending() == frozenset()
    assert world.place().offset == 9


def test_a_reset_of_a_task_that_a_newer_epoch_holds_is_recorded_as_failed(world: World) -> None:
    world.faults.after("store.accept_reset", lambda: world.target.raise_epoch("task", 99))
    failed = world.to(5)
    assert failed.outcome == "failed"
    assert "Epoch 99 holds task" in failed.message
    assert world.place() == Checkpoint(99, "memory", 8, 2)


def test_a_task_that_is_deleted_meanwhile_is_unknown(world: World) -> None:
    world.faults.before("store.accept_reset", lambda: world.store.delete_task("task"))
    with pytest.raises(ServiceError) as error:
        world.to(5)
    assert error.value.code == "FDI.3180"
    assert world.place() == Checkpoint(1, "memory", 8, 2)
    assert world.store.resets() == []


def test_many_resets_at_once_end_as_if_one_after_the_other(world: World) -> None:
    seconds = [3, 4, 5, 6, 7, None, 3, 5]
    errors: list[Exception] = []

    def call(second: float | None) -> None:
        try:
            world.to(second)
        except Exception as error:  # noqa: BLE001 - told by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=call, args=(second,)) for second in seconds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == []
    records = world.store.resets()
    assert sorted(r.epoch for r in records) == list(range(2, 2 + len(seconds)))
    assert {r.outcome for r in records} == {"done"}
    assert world.place().epoch == world.task().epoch == 1 + len(seconds)


def test_only_resets_that_were_carried_out_are_told(world: World) -> None:
    with pytest.raises(ServiceError):
        world.to(-100)
    world.target.reachable = False
    with pytest.raises(ServiceError):
        world.to(3)
    assert world.done == []
    world.target.reachable = True
    done = world.to(3)
    assert world.done == [done]
