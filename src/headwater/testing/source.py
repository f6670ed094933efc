"""A source in memory, scripted by the test: tables, transactions with their commit times, a log with a slot, snapshots.

It keeps every state that its tables ever had (`states[n]`: after the first n transactions), which is what promises P2 and P5 are
held against. A position is that number as text. As with PostgreSQL, a change is only in the log if its table was published
when the change was *made*, which is why a copy must wait for older transactions to end (`settle`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from headwater.domain.changes import Frame, Op
from headwater.domain.errors import SourceError
from headwater.domain.outline import ColumnOutline, Outline
from headwater.domain.tables import TableName, TableSchema
from headwater.ports.source import NO_TRAIL, Captured, Chunk, Finding, Trail, Watched
from headwater.testing.compare import MemoryComparison
from headwater.testing.faults import FaultScript, MovedClock
from headwater.testing.rows import Change, Key, Row, Transaction, frame, order, sorted_rows, text_row

State = dict[TableName, dict[Key, Row]]


@dataclass
class OpenTransaction:
    """A transaction that is still being made. Changes show to nobody until `ScriptedSource.commit`."""

    source: ScriptedSource
    changes: list[tuple[Change, bool]] = field(default_factory=list)  # with: was its table published when it was made
    view: State = field(default_factory=dict)

    def insert(self, table: TableName, **values: object) -> None:
        """Add a row; columns that are left out are null."""
        schema, rows = self._at(table)
        row: Row = {c.name: _text(values.get(c.name)) for c in schema.columns}
        key = tuple(row[name] for name in schema.key) or (str(max((int(k[0] or 0) for k in rows), default=0) + 1).encode(),)
        assert key not in rows, f"{key!r} exists in {table}"
        rows[key] = row
        self._log(Change(schema, Op.INSERT, row))

    def update(self, table: TableName, key: Sequence[object], **values: object) -> None:
        """Change a row. A TOAST column (`ScriptedSource.toast`) that is left out is not sent, as where its value is large.

        Without a key `key` is the row's invented number, and the whole row is logged before and after."""
        schema, rows = self._at(table)
        old_key = tuple(_text(v) for v in key)
        old = rows.pop(old_key)
        row = {**old, **{name: _text(v) for name, v in values.items()}}
        if not schema.key:
            rows[old_key] = row
            self._log(Change(schema, Op.KEY_OLD, old))
            self._log(Change(schema, Op.KEY_NEW, row))
            return
        new_key = tuple(row[name] for name in schema.key)
        assert new_key not in rows, f"{new_key!r} exists in {table}"
        rows[new_key] = row
        unchanged = self.source.toast.get(table, frozenset()) - set(values)
        sent: Row = {name: None if name in unchanged else value for name, value in row.items()}
        if new_key != old_key:
            self._log(Change(schema, Op.KEY_OLD, dict(zip(schema.key, old_key, strict=True))))
        self._log(Change(schema, Op.UPDATE if new_key == old_key else Op.KEY_NEW, sent, frozenset(unchanged)))

    def delete(self, table: TableName, key: Sequence[object]) -> None:
        """Remove a row."""
        schema, rows = self._at(table)
        gone = tuple(_text(v) for v in key)
        old = rows.pop(gone)
        self._log(Change(schema, Op.DELETE, dict(zip(schema.key, gone, strict=True)) if schema.key else old))

    def truncate(self, table: TableName) -> None:
        """Remove all rows."""
        schema, rows = self._at(table)
        rows.clear()
        self._log(Change(schema, Op.TRUNCATE, {}))

    def rows(self, table: TableName) -> dict[Key, Row]:
        """The rows of a table as this transaction sees them."""
        return self._at(table)[1]

    def commit(self, at_us: int | None = None) -> str:
        """Commit at the clock's time, or with the stamp `at_us`; returns the position after it."""
        return self.source.commit(self, at_us)

    def _at(self, table: TableName) -> tuple[TableSchema, dict[Key, Row]]:
        if table not in self.view:
            self.view[table] = {key: dict(row) for key, row in self.source.state[table].items()}
        return self.source.schemas[table], self.view[table]

    def _log(self, change: Change) -> None:
        self.changes.append((change, change.schema.table in self.source.publication))


def _text(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None if value is None else str(value).encode()


class ScriptedSource:
    """`Source` in memory; see the module. Transactions of different threads must not touch the same tables.

    Args:
        schemas: the tables; `add_table` adds more.
        toast: per table the columns that an update does not send unless it sets them.
        part_rows: a transaction with more changes comes in parts of this many.
        group: how many transactions one frame holds at most.
    """

    def __init__(
        self,
        schemas: Iterable[TableSchema],
        clock: MovedClock | None = None,
        faults: FaultScript | None = None,
        toast: Mapping[TableName, frozenset[str]] | None = None,
        part_rows: int = 1000,
        group: int = 100,
    ) -> None:
        self.schemas = {s.table: s for s in schemas}
        self.clock = clock or MovedClock()
        self.faults = faults or FaultScript()
        self.toast = dict(toast or {})
        self.part_rows = part_rows
        self.group = group
        self.log: list[Transaction] = []  # published changes only; one per committed transaction
        self.states: list[State] = [{table: {} for table in self.schemas}]
        self.publication: frozenset[TableName] = frozenset()
        self.slot: int | None = None
        self.slot_ever = False
        self.history = "scripted"
        self.on_confirm: list[Callable[[str], None]] = []  # called with each place that somebody says to be safe
        self.open: list[OpenTransaction] = []
        self.outside: dict[TableName, int] = {}
        self.reachable = True
        self.slots_left = True  # for the moment of a copy
        self.snapshots = 0  # rises when all open snapshots are lost
        self.changed = threading.Condition(threading.RLock())

    @property
    def state(self) -> State:
        """The tables as they stand."""
        return self.states[-1]

    def add_table(self, schema: TableSchema) -> None:
        """A new, empty table."""
        self.schemas[schema.table] = schema
        self.states[-1] = {**self.state, schema.table: {}}

    def begin(self) -> OpenTransaction:
        """Begin a transaction by hand; `settle` waits for it until it commits or rolls back."""
        transaction = OpenTransaction(self)
        self.open.append(transaction)
        return transaction

    def rollback(self, transaction: OpenTransaction) -> None:
        """Give a transaction up."""
        with self.changed:
            self.open.remove(transaction)
            self.changed.notify_all()

    @contextmanager
    def transaction(self, at_us: int | None = None) -> Iterator[OpenTransaction]:
        """A transaction that commits at the end of the `with`, unless an error leaves it."""
        transaction = self.begin()
        try:
            yield transaction
        except BaseException:
            self.rollback(transaction)
            raise
        self.commit(transaction, at_us)

    def commit(self, transaction: OpenTransaction, at_us: int | None = None) -> str:
        """Commit; returns the position after it."""
        with self.changed:
            self.open.remove(transaction)
            position = str(len(self.states))
            logged = tuple(change for change, published in transaction.changes if published)
            stamp = self.clock.now_us() if at_us is None else at_us
            self.log.append(Transaction(position, stamp, logged))
            self.states.append({**self.state, **transaction.view})
            self.changed.notify_all()
            return position

    def rows(self, table: TableName) -> list[Row]:
        """The rows of a table, by key; without one, by their values."""
        return sorted_rows(self.schemas[table], self.state[table])

    def lose_slot(self) -> None:
        """Drop the slot behind our back."""
        self.slot = None

    def lose_snapshots(self) -> None:
        """Cut the connections that hold snapshots open."""
        self.snapshots += 1

    def test(self) -> None:
        """See `Source.test`."""
        self.reach()

    def tables(self) -> list[TableName]:
        """See `Source.tables`."""
        self.reach()
        return sorted(self.schemas)

    def describe(self, tables: Sequence[TableName]) -> dict[TableName, TableSchema]:
        """See `Source.describe`."""
        self.reach()
        return {name: self.schemas[name] for name in tables if name in self.schemas}

    def outlines(self, tables: Sequence[TableName]) -> dict[TableName, Outline]:
        """See `Source.outlines`: columns only."""
        columns = {name: schema.columns for name, schema in self.describe(tables).items()}
        return {name: Outline(name, tuple(ColumnOutline(c) for c in found if c.writable)) for name, found in columns.items()}

    def check(self, tables: Sequence[TableName]) -> list[Finding]:
        """See `Source.check`: missing tables only."""
        self.reach()
        return [Finding(f"There is no table {name} at the source.", "Create it.") for name in tables if name not in self.schemas]

    def publish(self, tables: Sequence[TableName]) -> None:
        """See `Source.publish`."""
        with self.faults.around("source.publish"), self.changed:
            self.reach()
            self.publication = frozenset(tables)
            if not self.slot_ever:
                self.slot, self.slot_ever = len(self.log), True

    def published(self, tables: Sequence[TableName]) -> bool:
        """See `Source.published`."""
        self.reach()
        return self.slot is not None and self.publication.issuperset(tables)

    def watch(self, tables: Sequence[TableName], before: Mapping[TableName, str]) -> Watched:
        """See `Source.watch`. `outside` counts by table what a test did to it outside of the log."""
        self.reach()
        marks = {table: str(self.outside.get(table, 0)) for table in tables if table in self.publication}
        return Watched(marks, {table: "a test did it" for table, mark in marks.items() if before.get(table, mark) != mark})

    def settle(self, timeout_s: float) -> bool:
        """See `Source.settle`."""
        with self.faults.around("source.settle"), self.changed:
            self.reach()
            waited_for = list(self.open)
            return self.changed.wait_for(lambda: not any(t in self.open for t in waited_for), timeout_s)

    def open_log(self, tables: Sequence[TableName], after: str | None, new_history: bool, trail: Trail = NO_TRAIL) -> ScriptedLog:
        """See `Source.open_log`."""
        with self.faults.around("source.open_log"), self.changed:
            self.reach()
            if not self.publication.issuperset(tables):
                raise SourceError("Not all of these tables are published; call publish first.", kind="source_refused")
            lost = self.slot is None or (after is not None and (self.slot > int(after) or trail.history not in ("", self.history)))
            if lost and not new_history:
                raise SourceError("The slot is gone or stands beyond the journal's end.", kind="slot_lost")
            if lost:
                self.slot, after = len(self.log), None
            return ScriptedLog(self, int(after) if after is not None else self.slot or 0)

    def reached(self, place: str, wanted: str) -> bool:
        """See `Source.reached`."""
        return int(place) >= int(wanted)

    def snapshot(self) -> ScriptedSnapshot:
        """See `Source.snapshot`. The seam `source.snapshot.position` lies between the moment and the reading of its position."""
        with self.faults.around("source.snapshot"):
            self.reach()
            state = self.state
            self.faults.point("source.snapshot.position")
            return ScriptedSnapshot(self, state, str(len(self.log)))

    def exact_snapshot(self, tables: Sequence[TableName], wait: Callable[[], bool]) -> ScriptedSnapshot | None:
        """See `Source.exact_snapshot`. The seam `source.exact_snapshot.position` lies right behind the moment."""
        with self.faults.around("source.exact_snapshot"), self.changed:
            self.reach()
            assert self.publication.issuperset(tables), "a snapshot is exact for published tables only"
            if not self.slots_left:
                raise SourceError("All replication slots are in use.", kind="slots_exhausted")
            waited_for = list(self.open)
            while not self.changed.wait_for(lambda: not any(t in self.open for t in waited_for), 0.02):
                if not wait():
                    return None
            made = ScriptedSnapshot(self, self.state, str(len(self.log)), exact=True)
            self.faults.point("source.exact_snapshot.position")
            return made

    def release(self) -> None:
        """See `Source.release`."""
        with self.faults.around("source.release"):
            self.reach()
            self.slot, self.slot_ever, self.publication = None, False, frozenset()

    def compare(self, timeout_s: float) -> MemoryComparison:  # noqa: ARG002 - nothing takes time here
        """See `Source.compare`."""
        self.reach()

        def look(table: TableName) -> tuple[TableSchema, list[Row]] | None:
            self.faults.point("source.compare")
            self.reach()
            return (self.schemas[table], list(self.state[table].values())) if table in self.schemas else None

        return MemoryComparison(look, lambda: str(len(self.log)), lambda: self.faults.point("source.values"))

    def reach(self) -> None:
        """Raise where the server can't be reached."""
        if not self.reachable:
            raise SourceError("The source can't be reached.")


class ScriptedLog:
    """`Log` over a `ScriptedSource`; without a thread of its own, since nothing here needs keepalives."""

    stamp_margin_us = 0

    def __init__(self, source: ScriptedSource, after: int) -> None:
        self._source = source
        self.start = str(after)
        self.history = source.history
        self._at = after  # transactions given out
        self._parts: list[Frame] = []  # of a large transaction, still to be given out

    def next(self, timeout_s: float) -> Captured | None:
        """See `Log.next`."""
        source = self._source
        with source.faults.around("log.next"), source.changed:
            source.reach()
            if source.slot is None:
                raise SourceError("The slot was dropped.", kind="slot_lost")
            if not self._parts:
                source.changed.wait_for(lambda: len(source.log) > self._at, timeout_s)
                self._take()
            frames = tuple(self._parts[:1])
            del self._parts[:1]
            position = self._at - 1 if self._parts else self._at
            return Captured(frames, str(position), source.clock.now_us(), 0)

    def confirm(self, position: str) -> None:
        """See `Log.confirm`."""
        with self._source.faults.around("log.confirm"), self._source.changed:
            self._source.reach()
            for hook in self._source.on_confirm:
                hook(position)
            if self._source.slot is not None:
                self._source.slot = max(self._source.slot, int(position))

    def close(self) -> None:
        """See `Log.close`."""

    def _take(self) -> None:
        """Move on over the log and cut what comes next into frames: a group of small transactions, or one large one."""
        log, now_us, part_rows = self._source.log, self._source.clock.now_us(), self._source.part_rows
        group: list[Transaction] = []
        while self._at < len(log) and len(group) < self._source.group:
            if len(log[self._at].changes) > part_rows:
                break
            group += [log[self._at]] if log[self._at].changes else []
            self._at += 1
        if group:
            self._parts = [frame(group, now_us)]
        elif self._at < len(log):
            self._parts = list(_parts(log[self._at], part_rows, now_us))
            self._at += 1


def _parts(large: Transaction, part_rows: int, now_us: int) -> Iterator[Frame]:
    starts = range(0, len(large.changes), part_rows)
    cuts = list(dict.fromkeys([*(_cut_at(large.changes, at) for at in starts), len(large.changes)]))  # a moved cut may be the end
    for number, (first, end) in enumerate(pairwise(cuts)):
        yield frame([Transaction(large.position, large.commit_us, large.changes[first:end])], now_us, number, end == len(large.changes))


def _cut_at(changes: Sequence[Change], at: int) -> int:
    """`at`, or one more where that would part a key change's two rows."""
    return at + 1 if at and changes[at - 1].op is Op.KEY_OLD else at


class ScriptedSnapshot:
    """`Snapshot` over one state of a `ScriptedSource`."""

    def __init__(self, source: ScriptedSource, state: State, position: str, exact: bool = False) -> None:
        self.position = position
        self.exact = exact
        self._source = source
        self._state = state
        self._number = source.snapshots

    def rows_estimate(self, table: TableName) -> int:
        """See `Snapshot.rows_estimate`."""
        self._check()
        return len(self._state[table])

    def chunks(self, table: TableName, key: Sequence[str], chunk_rows: int) -> list[Chunk]:
        """See `Snapshot.chunks`."""
        with self._source.faults.around("snapshot.chunks"):
            self._check()
            keys = self._keys(table, key)
            bounds: list[tuple[str, ...] | None] = [keys[i] for i in range(chunk_rows - 1, len(keys) - 1, chunk_rows)] if key else []
            return [Chunk(i, after, upto) for i, (after, upto) in enumerate(zip([None, *bounds], [*bounds, None], strict=True))]

    def read(self, table: TableName, columns: Sequence[str], key: Sequence[str], chunk: Chunk) -> Iterator[bytes]:
        """See `Snapshot.read`."""
        self._source.faults.point("snapshot.read")
        self._check()
        rows = [row for row in self._state[table].values() if _within(row, key, chunk)]
        for start in range(0, len(rows), 50):
            self._check()
            yield b"".join(text_row(row[c] for c in columns) for row in rows[start : start + 50])

    def close(self) -> None:
        """See `Snapshot.close`."""

    def _keys(self, table: TableName, key: Sequence[str]) -> list[tuple[str, ...]]:
        values = [tuple((row[name] or b"").decode() for name in key) for row in self._state[table].values()]
        return sorted(values, key=order)

    def _check(self) -> None:
        self._source.reach()
        if self._number != self._source.snapshots:
            raise SourceError("The snapshot was lost with its connection.")


def _within(row: Row, key: Sequence[str], chunk: Chunk) -> bool:
    place = order(row[name] for name in key)
    return (chunk.after is None or order(chunk.after) < place) and (chunk.upto is None or place <= order(chunk.upto))
