"""Writing merged changes of all tables, inside the transaction of the run.

Where everything is small (live following) it goes in one round trip. Foreign keys, where they are in force for us, are met
by deleting from children before parents and then writing parents before children. That may still collide: a row that
changes its parent before the old one goes, or two rows that swap a value of a further unique constraint. Then the write is undone
and done another way, and only when no way is left the collision is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from functools import partial

import psycopg
from psycopg.pq import TransactionStatus

from headwater.domain.errors import TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable
from headwater.domain.tables import TableName
from headwater.ports.target import Written
from headwater.targets.postgres.catalog import TableInfo, parents_first, read_tables
from headwater.targets.postgres.session import Connection
from headwater.targets.postgres.statements import Statements
from headwater.targets.postgres.table_writer import TableWriter, Tally, Way, is_small

_COLLISIONS = (psycopg.errors.UniqueViolation, psycopg.errors.ForeignKeyViolation, psycopg.errors.ExclusionViolation)


class Writer:
    """Writes on one connection. Errors of the driver pass through. `replica`: foreign keys are not in force for us."""

    def __init__(self, connection: Connection, *, replica: bool) -> None:
        self._connection = connection
        self._replica = replica
        self._info: dict[TableName, TableInfo] = {}
        self._order: dict[TableName, int] = {}
        self._statements: dict[TableMapping, Statements] = {}
        self._staged: dict[str, bool] = {}

    def write(self, merged: Sequence[MergedTable]) -> Written:
        """Write all steps, in another way where they collide with a constraint.

        Raises TargetError (`target_refused`) where a table is missing or lacks a unique index on the mapped key."""
        merged = [one for one in merged if one.steps]
        if not merged:
            return Written()
        self.learn(one.mapping for one in merged)
        alone = self._connection.info.transaction_status == TransactionStatus.IDLE
        if not alone:
            self._connection.execute("SAVEPOINT headwater_write")
        way = Way()
        while True:
            try:
                return self._write(merged, way)
            except _COLLISIONS as collision:
                other = self._other_way(merged, way, collision)
                if other is None:
                    raise
                way = other
                self._undo(alone)

    def committed(self) -> None:
        """The transaction was committed: staging tables stay, and are empty."""
        self._staged.update(dict.fromkeys(self._staged, False))

    def staged(self) -> Collection[str]:
        """The staging tables that are there now, for `rolled_back` to a savepoint."""
        return tuple(self._staged)

    def rolled_back(self, staged: Collection[str] = ()) -> None:
        """The transaction was given up: staging tables made in it are gone, and it may be any of them. Rolled back to a savepoint those
        of before are still there, perhaps with rows."""
        self._staged.clear()
        self._staged.update(dict.fromkeys(staged, True))

    def learn(self, mappings: Iterable[TableMapping]) -> None:
        """Read the catalogue for tables that were not met before."""
        new = sorted({m.target for m in mappings} - self._info.keys())
        if not new:
            return
        idle = self._connection.info.transaction_status == TransactionStatus.IDLE
        self._info |= read_tables(self._connection, new)
        self._order = {table: place for place, table in enumerate(parents_first(self._connection, list(self._info.values())))}
        if idle:
            self._connection.commit()

    def table(self, mapping: TableMapping, *, exact: bool) -> TableWriter:
        """The writer of one mapping, whose table `learn` knows."""
        info, statements = self._known(mapping)
        truncates = "TRUNCATE" in info.privileges and not info.referenced
        return TableWriter(self._connection, statements, self._staged, truncates=truncates, exact=exact)

    def statements(self, mapping: TableMapping) -> Statements:
        """The statements of one mapping, whose table `learn` knows."""
        return self._known(mapping)[1]

    def _known(self, mapping: TableMapping) -> tuple[TableInfo, Statements]:
        info = self._info.get(mapping.target)
        if info is None:
            raise TargetError(f"The target has no table {mapping.target} (any more). Create it.", kind="target_refused")
        if mapping not in self._statements:
            names = [pair.target for pair in mapping.key]
            if names and info.key_on(names) is None:
                where = f"The target table {mapping.target} has no unique index on ({', '.join(names)})"
                raise TargetError(f"{where}. Create one.", kind="target_refused")
            self._statements[mapping] = Statements(mapping, info, len(self._statements))
        return info, self._statements[mapping]

    def _write(self, merged: Sequence[MergedTable], way: Way) -> Written:
        tables = sorted(merged, key=lambda one: self._order.get(one.mapping.target, 0))
        writers = [(self.table(one.mapping, exact=one.exact and not way.careful), one.steps) for one in tables]
        small = way == Way() and all(is_small(step) for one in merged for step in one.steps)
        tally = Tally()
        with self._connection.pipeline() if small else nullcontext():
            for level in range(max(len(one.steps) for one in merged)):
                now = [(writer, steps[level]) for writer, steps in writers if level < len(steps)]
                removing: list[Callable[[], None]] = [partial(writer.remove, step, tally) for writer, step in reversed(now)]
                putting: list[Callable[[], None]] = [partial(writer.put, step, tally, way) for writer, step in now]
                for act in putting + removing if way.rows_first else removing + putting:
                    act()
        return tally.written()

    def _undo(self, alone: bool) -> None:
        if alone:
            self._connection.rollback()
        else:
            self._connection.execute("ROLLBACK TO SAVEPOINT headwater_write")
        self._staged.clear()
        self._connection.execute("SET CONSTRAINTS ALL DEFERRED")

    def _other_way(self, merged: Sequence[MergedTable], tried: Way, collision: psycopg.Error) -> Way | None:
        """What to try next; None where nothing is left."""
        if isinstance(collision, psycopg.errors.ForeignKeyViolation):
            return Way(rows_first=True, careful=True) if not tried.careful else None
        if tried.replacing:
            return None
        cascades = not self._replica and any(self._info[one.mapping.target].cascades for one in merged)
        if cascades:
            return Way(careful=True) if not tried.careful else None
        return Way(careful=True, replacing=True)
