"""One source, one journal, several tasks and one target, under the real engine and the real reset service.

Source and target are scripted, or real ones behind the same seams (`real_source.py`, `real_target.py`).

Everything happens in one thread and in an order that the test chooses: a capture or an apply is a call that ends by itself once
nothing is left to do, or at a scripted crash. After each commit of a run the promises are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pytest

from headwater.domain.dirty import DirtyPolicy, DirtyRow, sealed_at
from headwater.domain.errors import Fenced, HeadwaterError
from headwater.domain.failures import policy
from headwater.domain.mapping import ColumnPair, ColumnShape, TableMapping, side_by_side
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.engine import apply as apply_module
from headwater.engine import capture as capture_module
from headwater.engine.apply import ApplyJob, apply
from headwater.engine.capture import CaptureJob, capture
from headwater.engine.control import Control
from headwater.engine.followed import MemoryNote
from headwater.ports.dirty import DirtyRecord
from headwater.ports.journal import Placed, Retention
from headwater.ports.runtime import ApplyReport, CaptureReport
from headwater.ports.store import DataSource, Mapping, Reset, Scope, Task
from headwater.ports.target import Checkpoint, CopyState, TableState, Target, TargetRun
from headwater.sealing import RowSeal, row_key
from headwater.services.data_sources import Connections
from headwater.services.locks import TaskLocks
from headwater.services.resets import HISTORY_LOST, Resets
from headwater.testing import Crash, FaultScript, MemoryJournal, MemoryStore, MemoryTarget, MovedClock, ScriptedSource
from headwater.testing.rows import Key, Row, sorted_rows
from headwater.testing.source import State
from headwater.testing.target import MemoryTargetRun
from headwater.testing.target.target import CommitHook

SCOPE = Scope("p" * 32, "instance")
OPERATIONS = frozenset({"INSERT", "UPDATE", "DELETE"})


def _table(name: str, *columns: str, key: int = 1) -> TableSchema:
    made = (Column(c, "text", key=i < key, nullable=i >= key, number=i + 1, type_id="text") for i, c in enumerate(columns))
    return TableSchema(TableName("s", name), tuple(made), id=name)


A = _table("a", "id", "v", "doc")
B = _table("b", "id", "v")
C = _table("c", "k1", "k2", "v", key=2)
D = _table("d", "id", "w", "doc")
K = _table("k", "v", "w", key=0)
TABLES = {s.table: s for s in (A, B, C, D, K)}
STRICT = TableName("three", "d")
SEAL = RowSeal(row_key(bytes(32)))
TOAST = {A.table: frozenset({"doc"}), D.table: frozenset({"doc"})}


@dataclass(frozen=True)
class Route:
    """One mapping of a task: from a source table to a table of the task's own. `columns`: pairs of source and target column."""

    source: TableSchema
    target: TableName
    columns: tuple[tuple[str, str], ...]

    @property
    def id(self) -> str:
        """The mapping's id."""
        return f"{self.target.schema}.{self.target.name}.{self.source.table.name}"

    def row(self, row: Row) -> Row:
        """What the target has of a source row."""
        return {target: row.get(source) for source, target in self.columns}

    def pairs(self, source: TableSchema) -> tuple[ColumnPair, ...]:
        """As the store has them, with the source table as it is now."""
        shapes = {c.name: ColumnShape.of(source, c) for c in source.columns}
        return tuple(ColumnPair(source, target, source in self.source.key, shapes[source]) for source, target in self.columns)


def _route(task_id: str, source: TableSchema, target: str = "", *columns: tuple[str, str]) -> Route:
    pairs = columns or tuple((c.name, c.name) for c in source.columns)
    return Route(source, TableName(task_id, target or source.table.name), pairs)


TASKS = {
    "one": (
        _route("one", A, "heads", ("id", "id"), ("v", "v")),
        _route("one", A, "docs", ("id", "number"), ("doc", "text")),
        _route("one", B),
    ),
    "two": (_route("two", A), _route("two", C), _route("two", B, "both"), _route("two", D, "both", ("id", "id"), ("w", "w"))),
    "three": (_route("three", K), _route("three", D)),
}
"""Three tasks that share tables, so that all read the same history and follow different parts of it. The first one maps one source table
into two targets, the second one two source tables into one target, the third one has a table without a key."""


def target_tables() -> list[TableSchema]:
    """The tables of all tasks at the target, each with the columns that its routes fill."""
    made: dict[TableName, dict[str, Column]] = {}
    for route in (r for routes in TASKS.values() for r in routes):
        named = {c.name: c for c in route.source.columns}
        made.setdefault(route.target, {}).update({target: replace(named[source], name=target) for source, target in route.columns})
    return [TableSchema(name, tuple(columns.values())) for name, columns in made.items()]


def refused(row: Row) -> bool:
    """The constraint on `STRICT`: even values of `w` are refused there, so that such rows are set aside."""
    return (row["w"] or b"")[-1:] in (b"0", b"2", b"4", b"6", b"8")


def combined_task(task_id: str) -> Task:
    """A task that is wished to run and was never started."""
    names: dict[str, Any] = {"source_id": "source", "target_id": "target", "source_app_id": "app", "target_app_id": "app"}
    texts: dict[str, Any] = {
        "name": task_id,
        "task_type": "REALTIME",
        "description": "",
        "tag": "",
        "error_kind": "",
        "message": "",
        "state": "saved",
    }
    return Task(
        id=task_id,
        scope=SCOPE,
        operations=OPERATIONS,
        saved=True,
        wished=True,
        epoch=0,
        started_once=False,
        created_ms=0,
        modified_ms=0,
        ext_info={},
        **names,
        **texts,
    )


def opened(task_id: str, record: DirtyRecord) -> DirtyRow:
    """The row that was set aside."""
    assert record.sealed_row is not None
    return DirtyRow.read(SEAL.open(record.sealed_row, sealed_at(task_id, record.id, "row")))


class Steered(Control):
    """A control that ends a worker as soon as it has nothing left to do, and lets others get on while it waits."""

    def __init__(self, done: Callable[[], bool], meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._done, self._meanwhile = done, meanwhile

    @property
    def stopping(self) -> bool:
        """True once there is nothing left to do."""
        return self._done()

    def pause(self, timeout_s: float) -> bool:
        """Let the others get on instead of sleeping."""
        self._meanwhile()
        return self.stopping


class Quiet:
    """`Live` without a word."""

    def apply(self, task_id: str) -> ApplyReport | None:
        """Nobody runs when a reset asks."""

    def capture(self, data_source_id: str) -> CaptureReport | None:
        """The clocks of source and service are one here."""


@dataclass
class Sides:
    """What stands on the two sides of a world, and the time there."""

    faults: FaultScript
    clock: MovedClock
    source: ModelSource
    target: ModelTarget


def scripted(part_rows: int) -> Sides:
    """Both in memory."""
    faults, clock = FaultScript(), MovedClock()
    target = WatchedTarget(target_tables(), faults)
    target.tables_by_name[STRICT].refuses = refused
    return Sides(faults, clock, ModelSource(TABLES.values(), clock, faults, TOAST, part_rows=part_rows, group=3), target)


class World:
    """See the module."""

    def __init__(self, part_rows: int = 4, dirty_rows_max: int = 2, sides: Sides | None = None) -> None:
        sides = sides or scripted(part_rows)
        self.faults, self.clock = sides.faults, sides.clock
        self.source, self.target = sides.source, sides.target
        self.schemas = {schema.table: schema for schema in target_tables()}
        self.journal = MemoryJournal(faults=self.faults)
        self.note = MemoryNote()
        self.dirty_rows_max = dirty_rows_max
        self.store = MemoryStore(self.faults)
        self.positions: dict[int, int] = {}  # offset -> number of the source's transaction
        self.commits: dict[str, Checkpoint] = {}
        self.exact_commits = 0
        self.history_used = 0  # the consent to a new history that capture has used up
        self.target.on_commit.append(self._committed)
        self.source.on_confirm.append(self._confirmed)
        self._save_metadata()
        self.restart()

    def _save_metadata(self) -> None:
        for name in ("source", "target"):
            self.store.save_data_source(DataSource(name, SCOPE, "app", name, "POSTGRESQL", "", {}, {}, 0, 0))
        described = self.source.describe(list(TABLES))
        for task_id, routes in TASKS.items():
            self.store.save_task(combined_task(task_id))
            for r in routes:
                names = (str(r.source.table), str(r.target))
                pairs = r.pairs(described[r.source.table])
                self.store.save_mapping(Mapping(r.id, task_id, *names, pairs, (), (), (), "MANUAL", 100, 0))

    def restart(self) -> None:
        """The service starts anew: all that it had in memory is gone."""
        connections = Connections(source=lambda _: self.source, target=lambda _: self.target)
        self.resets = Resets(
            self.store, connections, lambda _: self.journal.reader(), Quiet(), TaskLocks(), self.clock.now_ms, lambda: None
        )

    @contextmanager
    def crashing(self, steps: int | None) -> Iterator[None]:
        """Let the process die at the seam that is `steps` away, if the body gets that far; what is not on disk is gone then."""
        self.faults.crash_in(steps)
        try:
            yield
        except Crash:
            self.restart()
        finally:
            self.faults.crash_in(None)

    def published(self) -> list[TableName]:
        """The tables that capture has to follow now: those of all tasks that were started."""
        started = {t.id for t in self.store.tasks() if t.started_once}
        return sorted({r.source.table for t in started for r in TASKS[t]})

    def capture(self) -> None:
        """Run capture until the journal has all that the source has."""
        tables = self.published()
        if not tables:
            return
        writer = self.journal.writer()
        data_source = self.store.data_source("source")
        assert data_source is not None
        consent = self._use_consent if data_source.history > self.history_used else None
        keep = Retention(1 << 60, 1 << 60, 1 << 60)
        job = CaptureJob(self.source, [*tables, *self.source.always], writer, self.journal.reader(), keep, renewal=consent, note=self.note)
        control = Steered(self._captured(self.source.end_of_log()), lambda: None)
        try:
            capture(job, control, self.clock)
        finally:
            self._note_positions()

    def _use_consent(self) -> None:
        data_source = self.store.data_source("source")
        assert data_source is not None
        self.history_used = data_source.history

    def _captured(self, end: str) -> Callable[[], bool]:
        """Whether the journal has everything before a place."""

        def done() -> bool:
            position = self.journal.end().position
            return position is not None and self.source.reached(position, end)

        return done

    def _note_positions(self) -> None:
        self.positions |= self.source.numbers(self.journal.history.frames)

    def start(self, task_id: str, commits: int | None = None) -> None:
        """Start a run as the supervisor does, and let it run until it follows, or until it has made so many commits."""
        epoch = self.store.next_epoch(task_id)
        if self.store.resets(task_id, "accepted"):
            self.resets.complete_pending()
            return
        mappings = side_by_side([m.table_mapping(OPERATIONS) for m in self.store.mappings(task_id)])
        made = self.faults.seen.count("target.commit:after")
        control = Steered(lambda: self._ended(control, made, commits), self.capture)
        policy = DirtyPolicy(self.dirty_rows_max)
        job = ApplyJob(task_id, epoch, mappings, self.source, self.target, self.journal.reader, 1, 0, policy, SEAL, self._follows)
        self.commits.pop(task_id, None)
        apply(job, control, self.clock)

    def _follows(self, tables: Sequence[TableName]) -> bool:
        return self.note.read().following.issuperset(str(table) for table in tables)

    def _ended(self, control: Control, made: int, commits: int | None) -> bool:
        if commits is not None and self.faults.seen.count("target.commit:after") - made >= commits:
            return True
        report = control.report
        follows = isinstance(report, ApplyReport) and report.state in ("following", "catching_up")
        return follows and isinstance(report, ApplyReport) and report.offset == self.journal.history.next_offset

    def reset(self, task_id: str, moment_ms: int | None) -> Reset:
        """A reset by the user."""
        return self.resets.reset(SCOPE, task_id, moment_ms, "model")

    def rows(self, task_id: str) -> dict[str, list[Row]]:
        """All rows of a task's target tables, with those that were set aside laid over them."""
        return {name.name: self._whole(task_id, name) for name in {r.target: None for r in TASKS[task_id]}}

    def _whole(self, task_id: str, table: TableName) -> list[Row]:
        held = [opened(task_id, record) for record in self.set_aside(task_id) if record.target_table == str(table)]
        if not held:
            return self.target.rows(table)
        schema = self.schemas[table]
        rows = {tuple(row[name] for name in schema.key): row for row in self.target.rows(table)}
        for row in held:
            key = tuple(row.values[name] for name in schema.key)
            if row.kind == "delete":
                rows.pop(key, None)
            elif row.kind == "write" or key in rows:
                rows[key] = {**rows.get(key, {}), **row.values}
        return sorted_rows(schema, rows)

    def set_aside(self, task_id: str) -> list[DirtyRecord]:
        """The records of a task whose rows are kept: open ones, and discarded ones until their key changes again."""
        return self.target.held(task_id)

    def source_rows(self, task_id: str, state: State) -> dict[str, list[Row]]:
        """What the target tables of a task would be in this state of the source: of several tables into one, the join by key."""
        found: dict[TableName, dict[Key, Row]] = {}
        for route in TASKS[task_id]:
            rows = found.setdefault(route.target, {})
            for key, row in state[route.source.table].items():
                rows[key] = {**rows.get(key, {}), **route.row(row)}
        return {name.name: self._filled(self.schemas[name], rows) for name, rows in found.items()}

    @staticmethod
    def _filled(schema: TableSchema, rows: dict[Key, Row]) -> list[Row]:
        return sorted_rows(schema, {key: {c.name: row.get(c.name) for c in schema.columns} for key, row in rows.items()})

    def run(self, task_id: str, commits: int | None = None) -> str:
        """`start` as the supervisor sees it: the kind of failure is recorded and returned, empty where there was none."""
        try:
            self.start(task_id, commits)
        except HeadwaterError as error:
            self._failed(task_id, error)
            return error.kind
        self.store.record_state(task_id, "following")
        return ""

    def capture_or_fail(self) -> None:
        """`capture` as the supervisor sees it: its failure is that of all tasks of its source."""
        try:
            self.capture()
        except HeadwaterError as error:
            for task in self.store.tasks():
                if task.started_once:
                    self._failed(task.id, error)

    def _failed(self, task_id: str, error: HeadwaterError) -> None:
        if policy(error.kind).action == "stop":
            self.store.record_state(task_id, "failed", error.kind, str(error))

    def settle(self) -> None:
        """Everything catches up, without faults; whoever lost its history is copied again, as the hint says."""
        self.faults.clear()
        self.resets.complete_pending()
        for _ in range(2):
            self.capture_or_fail()
            for task_id in TASKS:
                self._settle_task(task_id)

    def _settle_task(self, task_id: str) -> None:
        task = self.store.task(task_id)
        lost = task is not None and task.error_kind in HISTORY_LOST
        kind = "" if lost else self._run_to_the_end(task_id)
        if lost or kind in HISTORY_LOST:
            self.reset(task_id, None)
            kind = self._run_to_the_end(task_id)
        assert not kind, f"task {task_id} fails without reason: {kind}"

    def _run_to_the_end(self, task_id: str) -> str:
        """Does what the hint of a failure says."""
        kind = self.run(task_id)
        if kind == "slots_exhausted":  # without a key there is no copy without a slot
            self.source.slots_left = True
            kind = self.run(task_id)
        if kind == "dirty_limit":
            self.dirty_rows_max = 100
            kind = self.run(task_id)
        return kind

    def check_equal(self, task_id: str) -> None:
        """The target has what the source has, but for the rows that it refuses, which are set aside."""
        wanted = self.source_rows(task_id, self.source.state)
        assert self.rows(task_id) == wanted, f"task {task_id} differs from its source"
        keys = [opened(task_id, record).values["id"] for record in self.set_aside(task_id)]
        assert sorted(keys, key=str) == [row["id"] for row in wanted.get("d", ()) if refused(row)], f"{keys} are set aside"

    def check_always(self) -> None:
        """P4, whatever has happened."""
        for task in self.store.tasks():
            place = self.target.place(task.id)
            assert place is None or place.epoch <= task.epoch

    def _confirmed(self, position: str) -> None:
        """P1, at each word to the source."""
        durable = self.journal.history.position
        assert durable is not None, "confirmed before anything was durable"
        assert self.source.reached(durable, position), "confirmed to the source before it was durable"

    def zombies_try(self) -> None:
        """Every run that was ever opened wakes up and tries to commit; those with an old epoch must fail (P4)."""
        for woken in list(self.target.runs):
            place = self.target.place(woken.task_id)
            if place is not None and place.epoch > woken.epoch:
                with pytest.raises(Fenced):
                    woken.run.commit(replace(place, epoch=woken.epoch))
                self.target.refused(woken)

    def _committed(self, task_id: str, checkpoint: Checkpoint) -> None:
        """P2 and P3 and the limit of dirty rows, after each commit of a run."""
        last = self.commits.get(task_id)
        if last is not None and last.epoch == checkpoint.epoch and last.offset is not None and checkpoint.offset is not None:
            assert checkpoint.offset >= last.offset, "a run went backward"
        self.commits[task_id] = checkpoint
        assert sum(record.state == "open" for record in self.set_aside(task_id)) <= self.dirty_rows_max, "more is set aside than may be"
        states = self.target.states(task_id)
        copied = all(states.get(m.id) is not None and states[m.id].state is CopyState.COPIED for m in self.store.mappings(task_id))
        if copied and checkpoint.offset is not None and checkpoint.offset >= checkpoint.exact_from:
            self.exact_commits += 1
            self._check_exact(task_id, checkpoint.offset)

    def _check_exact(self, task_id: str, offset: int) -> None:
        self._note_positions()
        first = self.positions.get(offset - 1, 0)
        later = (n for at, n in self.positions.items() if at >= offset and n > first)
        behind = min(later, default=len(self.source.log) + 1)
        rows = self.rows(task_id)
        wanted = [self.source_rows(task_id, self.source.states[n]) for n in range(first, min(behind, len(self.source.states)))]
        assert rows in wanted, f"task {task_id} at offset {offset} shows a state that its source never had: {rows} is none of {wanted}"


class ModelSource(ScriptedSource):
    """The scripted source, and what a world asks of it beside the port."""

    always: tuple[TableName, ...] = ()
    """Tables that capture follows whatever tasks there are."""
    large_bytes = 0
    """How long values of large columns are at least."""
    commits_by_itself: frozenset[str] = frozenset()
    """What can't be part of a transaction."""

    def end_of_log(self) -> str:
        """A place behind all that is committed."""
        return str(len(self.log))

    def numbers(self, frames: Iterable[Placed]) -> dict[int, int]:
        """By offset of the journal the number of the source's transaction there."""
        texts = ((placed, placed.frame.transactions.column("position").to_pylist()) for placed in frames)
        return {placed.first_offset + i: int(position or 0) for placed, positions in texts for i, position in enumerate(positions)}


@dataclass(frozen=True)
class Woken:
    """A run that somebody opened once, and that may wake up at any time."""

    task_id: str
    epoch: int
    run: TargetRun


class ModelTarget(Target, Protocol):
    """A target, and what a world asks of it beside the port. `on_commit` functions are called after each commit of a run."""

    on_commit: list[CommitHook]
    runs: list[Woken]

    def rows(self, table: TableName) -> list[Row]:
        """The committed rows of a table, by key; without one, by their values."""

    def place(self, task_id: str) -> Checkpoint | None:
        """The checkpoint as it stands."""

    def states(self, task_id: str) -> dict[str, TableState]:
        """How far its copies are, by mapping id."""

    def held(self, task_id: str) -> list[DirtyRecord]:
        """The records of set-aside rows, with the rows."""

    def spoil(self, table: TableName, key: Key, row: Row) -> None:
        """Put a row in behind the product's back, in place of the one with this key. Without a key: add it."""

    def refused(self, woken: Woken) -> None:
        """This one has tried, in vain."""


class WatchedTarget(MemoryTarget):
    """A target that puts every run that is opened on record."""

    def __init__(self, schemas: Iterable[TableSchema], faults: FaultScript) -> None:
        super().__init__(schemas, faults)
        self.runs: list[Woken] = []

    def open(self, task_id: str, epoch: int, mappings: Sequence[TableMapping] = ()) -> MemoryTargetRun:
        """See `Target.open`."""
        run = super().open(task_id, epoch, mappings)
        self.runs.append(Woken(task_id, epoch, MemoryTargetRun(self, task_id, epoch)))
        return run

    def states(self, task_id: str) -> dict[str, TableState]:
        """See `ModelTarget`."""
        return dict(self.places[task_id].states) if task_id in self.places else {}

    def held(self, task_id: str) -> list[DirtyRecord]:
        """See `ModelTarget`."""
        place = self.places.get(task_id)
        return [record for record in place.dirty.values() if record.sealed_row is not None] if place else []

    def spoil(self, table: TableName, key: Key, row: Row) -> None:
        """See `ModelTarget`."""
        held = self.tables_by_name[table]
        held.rows[key if held.schema.key else (b"nonsense",)] = row

    def refused(self, woken: Woken) -> None:
        """See `ModelTarget`: it may try again."""


def without_waiting(patch: pytest.MonkeyPatch) -> None:
    """Nothing waits in real time: workers end as soon as they have nothing to do."""
    patch.setattr(apply_module, "IDLE_WAIT_S", 0.0)
    patch.setattr(capture_module, "TAKE_TIMEOUT_S", 0.0)
