"""The promises as a whole: random histories, crashes at every seam, resets to random moments, several tasks on one journal.

The real engine and the real reset service run over the scripted source and the fakes. Held at every step: P1 (confirmed only what is
durable), P2 (an exact target shows states that the source had, across tables), P3 (a run never goes back), P4 (an old
run never commits), P6 (a reset once or not at all). At the end: the target equals the source (P5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from headwater.domain.changes import FIXED_COLUMNS, Op
from headwater.domain.errors import TargetError
from headwater.domain.tables import Column, TableName
from headwater.ports.dirty import DirtyRecord
from headwater.ports.journal import Retention
from headwater.services.errors import ServiceError
from headwater.testing.rows import Key, Row
from headwater.testing.source import OpenTransaction
from tests.model.model_world import TABLES, TASKS, D, ModelSource, Route, World, without_waiting

NAMES = sorted(TABLES)
ACTIONS = ("insert", "insert", "update", "update", "update", "delete", "move", "truncate", "alter")
Change = tuple[int, int, int, int, int]

changes = st.lists(
    st.tuples(st.integers(0, len(NAMES) - 1), st.integers(0, len(ACTIONS) - 1), st.integers(0, 4), st.integers(0, 4), st.integers(0, 99)),
    min_size=1,
    max_size=7,
)
strict_changes = st.lists(
    st.tuples(st.just(NAMES.index(D.table)), st.integers(0, 7), st.integers(0, 4), st.integers(0, 4), st.integers(0, 99)),
    min_size=1,
    max_size=4,
)
tasks = st.sampled_from(sorted(TASKS))
steps = st.one_of(st.none(), st.integers(1, 60))


def key_of(table: TableName, number: int) -> tuple[str, ...]:
    """One of a few keys, so that they meet again and again."""
    return (str(number),) if len(TABLES[table].key) == 1 else (str(number % 2), str(number // 2))


def pieces(wanted: Sequence[Change], alone: frozenset[str]) -> Iterator[list[Change]]:
    """The transactions that are made of what is wanted as one, where some actions stand in none with others."""
    together: list[Change] = []
    for change in wanted:
        if ACTIONS[change[1]] not in alone:
            together.append(change)
            continue
        yield from filter(None, (together, [change]))
        together = []
    if together:
        yield together


def make(transaction: OpenTransaction, wanted: Sequence[Change]) -> None:
    """Make changes of what is wanted, as far as the rows that are there allow it."""
    for table_number, action_number, number, other, value in wanted:
        table, action = NAMES[table_number], ACTIONS[action_number]
        if action == "alter":
            alter(transaction, table)
        elif not TABLES[table].key:
            change_bag(transaction, table, action, number, other, value)
        else:
            key, new_key = key_of(table, number), key_of(table, other)
            stands = {tuple((part or b"").decode() for part in k) for k in transaction.rows(table)}
            change(transaction, table, action if key in stands else "insert", key, new_key if new_key not in stands else key, value)


def alter(transaction: OpenTransaction, table: TableName) -> None:
    """Add a column that nobody maps to the table, or drop it; in front of the columns that are mapped, so that those move."""
    source = transaction.source
    old = source.schemas[table]
    rows = transaction.rows(table)
    if old.index("x") is None:
        added = Column("x", "text", number=100 + len(source.log), type_id="text")
        source.schemas[table] = replace(old, columns=(added, *old.columns))
    else:
        source.schemas[table] = replace(old, columns=tuple(c for c in old.columns if c.name != "x"))
    for row in rows.values():
        row.pop("x", None)
        row |= {c.name: None for c in source.schemas[table].columns if c.name == "x"}


def change(transaction: OpenTransaction, table: TableName, action: str, key: tuple[str, ...], new_key: tuple[str, ...], value: int) -> None:
    """One change. An "insert" of a row that stands updates it, its large column included."""
    source = transaction.source
    assert isinstance(source, ModelSource)
    columns = source.schemas[table].columns
    names = [c.name for c in columns if c.key]
    large = {c.name: f"doc {value}".ljust(source.large_bytes, ".") for c in columns if c.name == "doc"}
    small = {c.name: value for c in columns if c.name in ("v", "w", "x")}
    if action == "truncate":
        transaction.truncate(table)
    elif action == "delete":
        transaction.delete(table, key)
    elif action == "move":
        sent = large if table == D.table else {}  # a change of key that lacks values can't be set aside: its task would stop
        transaction.update(table, key, **dict(zip(names, new_key, strict=True)), **small, **sent)
    elif action == "update":
        transaction.update(table, key, **small)
    elif tuple(part.encode() for part in key) in transaction.rows(table):
        transaction.update(table, key, **small, **large)
    else:
        transaction.insert(table, **dict(zip(names, key, strict=True)), **small, **large)


def change_bag(transaction: OpenTransaction, table: TableName, action: str, number: int, other: int, value: int) -> None:
    """One change of a table without a key, whose few values make equal rows."""
    stands = sorted(transaction.rows(table))
    values = {"v": value % 2, "w": None if other == 0 else other % 2}
    values |= {"x": value} if transaction.source.schemas[table].index("x") is not None else {}
    if action == "truncate":
        transaction.truncate(table)
    elif action == "insert" or not stands:
        transaction.insert(table, **values)
    elif action == "delete":
        transaction.delete(table, stands[number % len(stands)])
    else:
        transaction.update(table, stands[number % len(stands)], **values)


class Model(RuleBasedStateMachine):
    """What can happen to a Headwater."""

    def open_world(self, part_rows: int, rows_max: int) -> World:
        """A fresh one."""
        return World(part_rows, rows_max)

    @initialize(before=st.lists(changes, max_size=3), part_rows=st.sampled_from([3, 100]), rows_max=st.sampled_from([2, 100]))
    def begin(self, before: list[list[Change]], part_rows: int, rows_max: int) -> None:
        self.world = self.open_world(part_rows, rows_max)
        for wanted in before:
            self.transact(wanted, 0, 0)

    @rule(wanted=changes, later_us=st.sampled_from([0, 1, 400, 1000, 3_000_000]), earlier_us=st.sampled_from([0, 0, 0, 1, 2000]))
    def transact(self, wanted: list[Change], later_us: int, earlier_us: int) -> None:
        """A transaction, at times with a stamp before that of its predecessor."""
        self.world.clock.move(later_us / 1e6)
        for piece in pieces(wanted, self.world.source.commits_by_itself):
            with self.world.source.transaction(self.world.clock.now_us() - earlier_us) as transaction:
                make(transaction, piece)

    @rule(crash=steps)
    def capture(self, crash: int | None) -> None:
        with self.world.crashing(crash):
            self.world.capture_or_fail()

    @rule(task_id=tasks, crash=steps, commits=st.one_of(st.none(), st.integers(1, 3)), meanwhile=st.lists(changes, max_size=2))
    def run(self, task_id: str, crash: int | None, commits: int | None, meanwhile: list[list[Change]]) -> None:
        """A run, up to a crash or a stop, while the source goes on."""
        for seam in ("source.snapshot.position", "source.exact_snapshot.position"):
            self.world.faults.before(seam, lambda: [self.transact(wanted, 1, 0) for wanted in meanwhile])
        with self.world.crashing(crash):
            self.world.run(task_id, commits)
        self.world.faults.clear()

    @rule(task_id=tasks, call=st.sampled_from(["target.commit", "target.write", "target.copy_chunk", "target.raise_epoch"]),
          before=st.booleans(), nth=st.integers(1, 3))  # fmt: skip
    def run_with_a_bad_connection(self, task_id: str, call: str, before: bool, nth: int) -> None:
        """Refused, or done with the answer lost."""
        plan = self.world.faults.before if before else self.world.faults.after
        plan(call, TargetError("the connection was lost"), nth)
        self.world.run(task_id)
        self.world.faults.clear()

    @rule(task_id=tasks, moment=st.integers(0, 30), after_ms=st.sampled_from([-1, 0, 1]), crash=st.one_of(st.none(), st.integers(1, 12)))
    def reset(self, task_id: str, moment: int, after_ms: int, crash: int | None) -> None:
        """A reset to about the moment of some transaction."""
        with self.world.crashing(crash):
            self.reset_to(task_id, self.moment(moment, after_ms))

    @rule(task_id=tasks, crash=st.one_of(st.none(), st.integers(1, 12)))
    def reset_from_the_beginning(self, task_id: str, crash: int | None) -> None:
        with self.world.crashing(crash):
            self.reset_to(task_id, None)

    @rule(task_id=tasks, moment=st.one_of(st.none(), st.integers(0, 30)), call=st.sampled_from(["target.commit", "target.copy_chunk"]),
          nth=st.integers(1, 3))  # fmt: skip
    def reset_under_a_run(self, task_id: str, moment: int | None, call: str, nth: int) -> None:
        """A reset in the very moment when a run commits."""
        to = None if moment is None else self.moment(moment, 0)
        self.world.faults.before(call, lambda: self.reset_to(task_id, to), nth)
        self.world.run(task_id)
        self.world.faults.clear()

    @rule(task_id=tasks, moment=st.integers(0, 30))
    def accident(self, task_id: str, moment: int) -> None:
        """Nonsense in rows of the target that were written at or after a moment; a reset to that moment repairs it."""
        self.world.settle()
        self.world.check_equal(task_id)
        to = self.moment(moment, 0)
        self.spoil(task_id, to * 1000)
        if not self.reset_to(task_id, to):
            self.reset_to(task_id, None)
        self.world.settle()
        self.world.check_equal(task_id)

    @rule(needed=st.booleans(), keep=st.integers(0, 3))
    def forget_history(self, needed: bool, keep: int) -> None:
        """Retention drops old history; at the hard cap even what a task still needs."""
        places = [p.offset for t in TASKS if (p := self.world.target.place(t)) is not None and p.offset is not None]
        age_us = self.world.clock.now_us() - self.moment(-keep, 0) * 1000
        retention = Retention(age_us, 1 << 60, 1 << 60)
        self.world.journal.writer().retain(retention, min(places, default=0) if needed else None, self.world.clock.now_us())

    @rule()
    def lose_the_slot(self) -> None:
        """Time goes on a little, so that no commit lies in the very microsecond of the break."""
        self.world.source.lose_slot()
        self.world.clock.move(0.005)

    @rule()
    def use_up_the_slots(self) -> None:
        """Copies have to do without an exact moment, or have one again."""
        self.world.source.slots_left = not self.world.source.slots_left

    @rule()
    def lose_snapshots(self) -> None:
        self.world.faults.before("snapshot.read", self.world.source.lose_snapshots)

    @rule(work=st.lists(strict_changes, min_size=1, max_size=4), crash=steps)
    def follow_strict_rows(self, work: list[list[Change]], crash: int | None) -> None:
        """One transaction after the other is followed into the table that refuses rows."""
        for wanted in work:
            self.transact(wanted, 1, 0)
            self.world.capture_or_fail()
            self.run("three", crash, None, [])

    @rule(number=st.integers(0, 9))
    def discard(self, number: int) -> None:
        """A person gives up a row that was set aside; later changes of its key are still completed from it."""
        held = self.world.set_aside("three")
        if held:
            mending = self.world.target.mend("three")
            mending.dirty.settle([held[number % len(held)].id], "discarded", "model", self.world.clock.now_us())
            mending.commit()

    @rule()
    def restart(self) -> None:
        """The service starts anew."""
        self.world.restart()
        assert self.world.resets.complete_pending() == frozenset()

    @rule()
    def settle(self) -> None:
        self.world.settle()
        self.check_equal()

    @invariant()
    def always(self) -> None:
        if hasattr(self, "world"):
            self.world.check_always()
            self.world.zombies_try()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()
            self.check_equal()

    def check_equal(self) -> None:
        for task_id in TASKS:
            self.world.check_equal(task_id)

    def moment(self, number: int, after_ms: int) -> int:
        """Around the commit of some transaction, in ms."""
        log = self.world.source.log
        stamp = log[number % len(log)].commit_us if log else self.world.clock.now_us()
        return stamp // 1000 + after_ms

    def reset_to(self, task_id: str, moment: int | None) -> bool:
        """Reset, and hold the new place against what it promises; False where it was refused."""
        before, held = self.world.target.place(task_id), self.world.set_aside(task_id)
        try:
            done = self.world.reset(task_id, moment)
        except ServiceError as error:
            if error.code != "FDI.3033":
                raise
            assert self.world.target.place(task_id) == before or self.world.store.resets(task_id, "done")
            return False
        assert done.outcome == "done"
        self.check_forgotten(task_id, moment, held)
        if moment is not None:
            self.check_nothing_missed(task_id, moment)
        return True

    def check_forgotten(self, task_id: str, moment: int | None, held: list[DirtyRecord]) -> None:
        """What was set aside of tables that are copied again is forgotten: the copy finds it anew. All else stays as it is."""
        keyed = {route.id for route in TASKS[task_id] if route.source.key}
        kept = [record for record in held if moment is not None and record.mapping_id in keyed]
        assert self.world.set_aside(task_id) == kept, "a reset forgets the set-aside rows of what is copied again, and no others"

    def check_nothing_missed(self, task_id: str, moment: int) -> None:
        """Every transaction that was committed at or after the moment lies before the task now."""
        place = self.world.target.place(task_id)
        assert place is not None
        if place.offset is not None:
            late = [o for o, p in self.world.positions.items() if p and self.world.source.log[p - 1].commit_us >= moment * 1000]
            assert min(late, default=place.offset) >= place.offset

    def spoil(self, task_id: str, from_us: int) -> None:
        """Write nonsense into every row of the target that a replay from here on writes, and add rows that it deletes.

        What came before a table's own copy is not replayed to it (the record of the reset says so)."""
        states = self.world.target.states(task_id)
        touched = list(self.touched(from_us))
        for route in TASKS[task_id]:
            copy, schema = states.get(route.id), self.world.schemas[route.target]
            if not route.source.key:
                self.world.target.spoil(route.target, (), {c.name: b"nonsense" for c in schema.columns})
            if copy is None or not route.source.key:
                continue
            spoiled: Row = {target: b"nonsense" for _, target in route.columns if target in ("v", "w")}
            for key in self.replayed(
                route, [key for offset, table, key in touched if table == route.source.table and offset >= copy.since]
            ):
                stands = {tuple(row[name] for name in schema.key): row for row in self.world.target.rows(route.target)}
                empty: Row = {c.name: None for c in schema.columns}
                row: Row = dict(zip(schema.key, key, strict=True))
                self.world.target.spoil(route.target, key, empty | stands.get(key, {}) | row | spoiled)

    def replayed(self, route: Route, keys: list[Key]) -> list[Key]:
        """The keys that a replay says something about; `()` among them is a truncation.

        In a table that others fill as well, a truncation removes what the mapping has there, and no row that is nobody's; of what comes
        behind it, nothing is said of rows that are gone again."""
        shared = sum(other.target == route.target for routes in TASKS.values() for other in routes) > 1
        if shared and () in keys:
            behind, standing = len(keys) - keys[::-1].index(()), self.world.source.state[route.source.table]
            keys = [key for key in keys[behind:] if key in standing]
        return [key for key in keys if key]

    def touched(self, from_us: int) -> Iterator[tuple[int, TableName, Key]]:
        """Offsets, tables and keys of the changes in the journal from the first transaction at or after a time on; `()`: truncated."""
        reader = self.world.journal.reader()
        if from_us < (reader.window().earliest_us or from_us + 1):
            return
        for placed in reader.read(reader.seek(from_us)):
            for batch in placed.frame.batches:
                for i in range(batch.data.num_rows):
                    op, offset = batch.data.column(2)[i].as_py(), placed.first_offset + batch.data.column(1)[i].as_py()
                    at = [batch.schema.index(name) or 0 for name in batch.schema.key] if op != Op.TRUNCATE else []
                    if op != Op.SHAPE:
                        yield offset, batch.schema.table, tuple(batch.data.column(FIXED_COLUMNS + k)[i].as_py() for k in at)


@pytest.mark.slow
def test_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """See the module."""
    without_waiting(monkeypatch)
    quick = settings(max_examples=120, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Model, settings=quick)
