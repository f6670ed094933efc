"""A real source under the model: what is done to the scripted one is done to a real database as well, and read from there.

The scripted source is the model: it knows every state. Each transaction writes its number into a table of its own, so that the
journal tells which transaction stands where, whatever positions look like.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from headwater.domain.changes import FIXED_COLUMNS, Op
from headwater.domain.errors import SourceError
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.ports.compare import SourceComparison
from headwater.ports.journal import Placed
from headwater.ports.source import NO_TRAIL, Chunk, Log, Snapshot, Source, Trail, Watched
from headwater.testing import FaultScript, MovedClock
from headwater.testing.rows import Change, Row
from headwater.testing.source import OpenTransaction
from tests.databases import AnyDatabase, wait_until
from tests.model.guarded import Guarded
from tests.model.model_world import TABLES, TOAST, ModelSource
from tests.model.words import MysqlWords, words_of

MARK = TableSchema(TableName("s", "mark"), (Column("id", "text", key=True, nullable=False), Column("n", "text")))
LOG_SEAMS = {"next": "log.next"}
LARGE_BYTES = 2500
"""More than PostgreSQL keeps in a row."""

LATE_S = 3
"""By how much stamps are early where the model wants that: MariaDB's are whole seconds."""


class RunningClock(MovedClock):
    """The machine's own clock, which nobody moves: real servers stamp with it."""

    def now_us(self) -> int:
        """See `MovedClock`."""
        return time.time_ns() // 1000

    def now_ms(self) -> int:
        """See `MovedClock`."""
        return self.now_us() // 1000

    def monotonic(self) -> float:
        """See `MovedClock`."""
        return time.monotonic()

    def move(self, seconds: float) -> int:
        """See `MovedClock`: it moves by itself."""
        return self.now_us()


class RealSource(ModelSource):
    """See the module. `adapter` reads from the server of `database`, whose schema `s` is made anew."""

    always = (MARK.table,)

    def __init__(self, database: AnyDatabase, adapter: Source, faults: FaultScript) -> None:
        super().__init__(TABLES.values(), RunningClock(), faults, TOAST)
        self.adapter, self.database, self.words = adapter, database, words_of(database)
        self.commits_by_itself = self.words.commits_by_itself
        self.large_bytes = 0 if isinstance(self.words, MysqlWords) else LARGE_BYTES
        self.writer = database.session(autocommit=True)
        self.eyes: SourceComparison | None = None
        self.made = dict(self.schemas)
        schemas = [MARK, *TABLES.values()]
        for statement in [*self.words.clear(["s"]), *(made for schema in schemas for made in self.words.create(schema))]:
            self.writer.execute(statement)
        self.writer.execute(*self.words.insert(MARK.table, {"id": b"1", "n": b"0"}))

    def close(self) -> None:
        """Let go of everything, and remove what was made."""
        if self.eyes is not None:
            self.eyes.close()
        self.adapter.release()
        for statement in self.words.drop(["s"]):
            self.writer.execute(statement)
        self.writer.close()

    # -- what is done at the source

    def commit(self, transaction: OpenTransaction, at_us: int | None = None) -> str:
        """See `ScriptedSource.commit`. The stamp of the model is that of the clock before the commit."""
        now_us = self.clock.now_us()
        early = at_us is not None and at_us < now_us - LATE_S * 100
        if isinstance(self.words, MysqlWords):
            self.writer.execute(f"SET timestamp = {now_us // 1_000_000 - LATE_S if early else 'DEFAULT'}")
        self.writer.execute("BEGIN")
        by_itself = self._perform([change for change, _ in transaction.changes])
        number: Row = {"n": b"%d" % len(self.states)}
        self.writer.execute(*self.words.update(MARK.table, {"id": b"1"}, number))
        before_us = now_us if by_itself else self.clock.now_us()
        self.writer.execute("COMMIT")
        return super().commit(transaction, before_us)

    def _perform(self, changes: Sequence[Change]) -> bool:
        """Returns whether a statement was among them that commits by itself."""
        old: Change | None = None
        altered = dict(self.made)
        for change in changes:
            table, key = change.schema.table, change.schema.key
            self._alter(change.schema)
            values = {name: value for name, value in change.values.items() if name not in change.unchanged}
            if change.op is Op.TRUNCATE:
                self.writer.execute(f"TRUNCATE TABLE {self.words.name(table)}")
            elif change.op is Op.INSERT:
                self.writer.execute(*self.words.insert(table, values))
            elif change.op is Op.DELETE:
                self.writer.execute(*self.words.delete(table, values))
            elif change.op in (Op.UPDATE, Op.KEY_NEW):
                where = dict(old.values) if old is not None else {name: values[name] for name in key}
                self.writer.execute(*self.words.update(table, where, values))
            old = change if change.op is Op.KEY_OLD else None
        for schema in self.schemas.values():
            self._alter(schema)
        truncates = any(change.op is Op.TRUNCATE for change in changes)
        return bool(self.commits_by_itself) and (truncates or altered != self.made)

    def _alter(self, schema: TableSchema) -> None:
        """Give the table the columns that it has in the model at this place."""
        was, self.made[schema.table] = self.made[schema.table], schema
        if (was.index("x") is None) != (schema.index("x") is None):
            self.writer.execute(self.words.add_x(schema.table) if was.index("x") is None else self.words.drop_x(schema.table))

    def lose_slot(self) -> None:
        """See `ScriptedSource.lose_slot`. Where a server keeps its log for everybody, the files that were read are removed."""
        if not isinstance(self.words, MysqlWords):
            slots = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
            self.writer.execute(f"SELECT pg_drop_replication_slot(slot_name) FROM ({slots} AND NOT active) AS ours")
            wait_until(lambda: not self.writer.execute(slots), what="the slot being gone")
            return
        for _ in range(2):
            self.writer.execute("FLUSH BINARY LOGS")
        last = self.writer.execute("SHOW BINARY LOGS")[-1][0]

        def purged() -> bool:
            self.writer.execute(f"PURGE BINARY LOGS TO '{last}'")
            return bool(self.writer.execute("SHOW BINARY LOGS")[0][0] == last)

        wait_until(purged, what="the files being removed")

    # -- what is known of places

    def end_of_log(self) -> str:
        """See `ModelSource`."""
        self.eyes = self.eyes or self.adapter.compare(60)
        return self.eyes.position()

    def reached(self, place: str, wanted: str) -> bool:
        """See `Source.reached`."""
        return self.adapter.reached(place, wanted)

    def numbers(self, frames: Iterable[Placed]) -> dict[int, int]:
        """See `ModelSource`. A statement that is a transaction by itself has no number: that of the one behind it is its own."""
        found: dict[int, int | None] = {}
        for placed in frames:
            marks = {}
            for batch in (one for one in placed.frame.batches if one.schema.table == MARK.table):
                at = FIXED_COLUMNS + (batch.schema.index("n") or 0)
                marks = {batch.data.column(1)[i].as_py(): int(batch.data.column(at)[i].as_py()) for i in range(batch.data.num_rows)}
            for i in range(placed.frame.transactions.num_rows):
                found[placed.first_offset + i] = marks.get(i, found.get(placed.first_offset + i))
        return _filled(found)

    # -- the port

    def describe(self, tables: Sequence[TableName]) -> dict[TableName, TableSchema]:
        """See `Source.describe`."""
        return self.adapter.describe(tables)

    def publish(self, tables: Sequence[TableName]) -> None:
        """See `Source.publish`."""
        with self.faults.around("source.publish"):
            self.adapter.publish(tables)

    def published(self, tables: Sequence[TableName]) -> bool:
        """See `Source.published`."""
        return self.adapter.published(tables)

    def watch(self, tables: Sequence[TableName], before: Mapping[TableName, str]) -> Watched:
        """See `Source.watch`."""
        return self.adapter.watch(tables, before)

    def settle(self, timeout_s: float) -> bool:
        """See `Source.settle`."""
        with self.faults.around("source.settle"):
            return self.adapter.settle(timeout_s)

    def open_log(self, tables: Sequence[TableName], after: str | None, new_history: bool, trail: Trail = NO_TRAIL) -> Any:
        """See `Source.open_log`."""
        with self.faults.around("source.open_log"):
            return _RealLog(self, self.adapter.open_log(tables, after, new_history, trail))

    def snapshot(self) -> Any:
        """See `Source.snapshot`."""
        with self.faults.around("source.snapshot"):
            taken = self.adapter.snapshot()
            self.faults.point("source.snapshot.position")
            return _RealSnapshot(self, taken)

    def exact_snapshot(self, tables: Sequence[TableName], wait: Callable[[], bool]) -> Any:
        """See `Source.exact_snapshot`."""
        with self.faults.around("source.exact_snapshot"):
            if not self.slots_left:
                raise SourceError("All replication slots are in use.", kind="slots_exhausted")
            taken = self.adapter.exact_snapshot(tables, wait)
            assert taken is not None
            self.faults.point("source.exact_snapshot.position")
            return _RealSnapshot(self, taken)


def _filled(found: Mapping[int, int | None]) -> dict[int, int]:
    """With the next number where one is missing; at the end, as long as that is not known, with the last."""
    made: dict[int, int] = {}
    following: int | None = None
    for offset in sorted(found, reverse=True):
        following = found[offset] if found[offset] is not None else following
        made[offset] = following if following is not None else max((n for n in found.values() if n is not None), default=0)
    return made


class _RealLog(Guarded):
    def __init__(self, source: RealSource, log: Log) -> None:
        super().__init__(log, source.faults, LOG_SEAMS)
        self._source = source

    def confirm(self, position: str) -> None:
        """See `Log.confirm`."""
        with self._faults.around("log.confirm"):
            for hook in self._source.on_confirm:
                hook(position)
            self._inner.confirm(position)


class _RealSnapshot(Guarded):
    """Lost where the model says so."""

    def __init__(self, source: RealSource, snapshot: Snapshot) -> None:
        super().__init__(snapshot, source.faults, {})
        self._source, self._number = source, source.snapshots

    def read(self, table: TableName, columns: Sequence[str], key: Sequence[str], chunk: Chunk) -> Any:
        """See `Snapshot.read`."""
        self._faults.point("snapshot.read")
        if self._number != self._source.snapshots:
            raise SourceError("The snapshot was lost with its connection.")
        return self._inner.read(table, columns, key, chunk)
