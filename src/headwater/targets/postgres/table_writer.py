"""Writing one mapping's steps into its table: which statement for what, and how the values get there.

Few rows go as prepared statements, which ride in the caller's pipeline where there is one. Many rows go by COPY: straight into the
table where they are new, otherwise through a temporary staging table and one statement over it. Staged rows are
sorted by key, which nearly doubles the rate of updates: neighbours in the index are neighbours on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pyarrow as pa

from headwater.domain.errors import RowRefused, TargetError
from headwater.domain.merge import MergeStep, Move
from headwater.ports.target import Written
from headwater.targets.postgres.arrays import array_literal
from headwater.targets.postgres.session import Connection
from headwater.targets.postgres.statements import Statements
from headwater.targets.text_rows import copy_rows, sorted_by_key

SMALL_ROWS = 96
"""Up to so many rows of one kind are written one by one: staging them would cost as much, mostly in emptying the staging table."""


@dataclass
class Tally:
    """Counts what statements did. Cursors of a pipeline know only when it has ended."""

    inserted: list[Any] = field(default_factory=list)
    updated: list[Any] = field(default_factory=list)
    deleted: list[Any] = field(default_factory=list)
    expected: list[tuple[Any, int, str]] = field(default_factory=list)  # cursor, rows that it has to write, table

    def written(self) -> Written:
        """The sums.

        Raises RowRefused where a trigger of the target has kept rows out."""
        for cursor, rows, table in self.expected:
            if cursor.rowcount < rows:
                raise RowRefused(f"A trigger of {table} at the target keeps {rows - max(cursor.rowcount, 0)} of {rows} rows out.")
        return Written(*(sum(max(cursor.rowcount, 0) for cursor in kind) for kind in (self.inserted, self.updated, self.deleted)))


class TableWriter:
    """Writes for one mapping. `staged` is shared by all of a connection: staging table -> holds rows of this transaction."""

    def __init__(self, connection: Connection, statements: Statements, staged: dict[str, bool], *, truncates: bool, exact: bool) -> None:
        self._connection = connection
        self.statements = self._sql = statements
        self._staged = staged
        self._truncates = truncates
        self._exact = exact

    def remove(self, step: MergeStep, tally: Tally) -> None:
        """The step's TRUNCATE and deletes."""
        if step.truncate:
            cursor = self._connection.execute(self._sql.truncate if self._truncates else self._sql.clear)
            tally.deleted.append(cursor)
        if step.deletes is not None:
            tally.deleted.append(self._delete(step.deletes))

    def put(self, step: MergeStep, tally: Tally) -> None:
        """The step's rows: moves, then new rows, then rows that may stand, then rows of which some values are known."""
        for columns, moves in groupby(step.moves, key=lambda move: tuple(move.values)):
            tally.updated.append(self._each(self._sql.move(columns), [self._parameters(move) for move in moves]))
        if step.inserts is not None:
            cursor = self._insert(step.inserts)
            tally.inserted.append(cursor)
            tally.expected.append((cursor, step.inserts.num_rows, self._sql.table))
        if step.upserts is not None:
            self._upsert(step.upserts, tally)
        for batch in step.partials:
            tally.updated.append(self._update(batch))

    def copy(self, statement: bytes, batch: pa.RecordBatch) -> Any:
        """COPY a batch; the cursor tells the number of rows."""
        cursor = self._connection.cursor()
        with cursor.copy(statement) as copy:
            for piece in copy_rows(batch):
                copy.write(piece)
        return cursor

    def stage_rows(self, batch: pa.RecordBatch) -> None:
        """Put rows into the staging table, sorted by key where there is one."""
        self.open_staging(self._sql.rows)
        rows = sorted_by_key(batch, self._sql.key_names) if self._sql.key_names else batch
        self.copy(self._sql.copy(tuple(batch.schema.names), self._sql.rows), rows)

    def stage_keys(self, keys: pa.RecordBatch) -> None:
        """Put keys into their staging table, sorted."""
        self.open_staging(self._sql.keys)
        self.copy(self._sql.copy(self._sql.key_names, self._sql.keys), sorted_by_key(keys, self._sql.key_names))

    def open_staging(self, staging: str) -> None:
        """Have the staging table there, and empty."""
        if staging not in self._staged:
            self._connection.execute(self._sql.stage(staging))
        elif self._staged[staging]:
            self._connection.execute(self._sql.empty(staging))
        self._staged[staging] = True

    def _insert(self, batch: pa.RecordBatch) -> Any:
        if batch.num_rows > SMALL_ROWS:
            return self.copy(self._sql.copy(self._sql.columns), batch)
        return self._each(self._sql.insert, _rows(batch, self._sql.columns))

    def _delete(self, keys: pa.RecordBatch) -> Any:
        if not self._sql.key_names:
            return self._delete_whole(keys)
        if self._sql.in_arrays:
            return self._connection.execute(self._sql.delete_any, [array_literal(keys.column(0))])
        if keys.num_rows <= SMALL_ROWS:
            return self._each(self._sql.delete, _rows(keys, self._sql.key_names))
        self.stage_keys(keys)
        return self._connection.execute(self._sql.delete_staged)

    def _delete_whole(self, rows: pa.RecordBatch) -> Any:
        """Delete as many of each row as there are in `rows`.

        Raises:
            TargetError: `target_changed`, some are not there. Where the task leaves operations out that is to be expected, and passed over.
        """
        self.stage_rows(rows)
        with hash_joins(self._connection):
            cursor = self._connection.execute(self._sql.delete_whole)
        if cursor.rowcount < rows.num_rows and self._sql.operations >= {"INSERT", "UPDATE", "DELETE"}:
            raise TargetError(
                f"{self._sql.name} has no key, so rows are found there as a whole, and {rows.num_rows - cursor.rowcount} of "
                f"{rows.num_rows} that went or changed at the source are not there.",
                kind="target_changed",
            )
        return cursor

    def _update(self, batch: pa.RecordBatch) -> Any:
        names = tuple(batch.schema.names)
        if batch.num_rows <= SMALL_ROWS:
            return self._each(self._sql.update(names), _rows(batch, [*self._sql.values_of(names), *self._sql.key_names]))
        self.stage_rows(batch)
        return self._connection.execute(self._sql.update_staged(names, not self._exact))

    def _upsert(self, batch: pa.RecordBatch, tally: Tally) -> None:
        if batch.num_rows <= SMALL_ROWS:
            cursor = self._each(self._sql.upsert, _rows(batch, self._sql.columns))
            if self._sql.values_of(self._sql.columns):
                tally.updated.append(cursor)
                tally.expected.append((cursor, batch.num_rows, self._sql.table))
            else:
                tally.inserted.append(cursor)
        else:
            self.stage_rows(batch)
            if self._exact:
                self._upsert_staged(tally, batch.num_rows)
            else:
                self.converge_staged(tally)

    def converge_staged(self, tally: Tally) -> None:
        """Insert the staged rows that don't stand, then update those that stand and differ.

        In this order, because the copy of another mapping into this table may put rows with the same keys there meanwhile: the insert
        waits for it and leaves those rows to the update, which sees them. The other way round their values would be lost."""
        tally.inserted.append(self._connection.execute(self._sql.insert_missing))
        if self._sql.values_of(self._sql.columns):
            tally.updated.append(self._connection.execute(self._sql.update_staged(self._sql.columns, True)))

    def _upsert_staged(self, tally: Tally, rows: int) -> None:
        """Update the staged rows that stand, then insert those that don't: no more and no fewer than that."""
        updated = 0
        if self._sql.values_of(self._sql.columns):
            cursor = self._connection.execute(self._sql.update_staged(self._sql.columns, False))
            tally.updated.append(cursor)
            updated = cursor.rowcount
        if updated < rows:
            cursor = self._connection.execute(self._sql.insert_missing)
            tally.inserted.append(cursor)
            if updated:
                tally.expected.append((cursor, rows - updated, self._sql.table))

    def _parameters(self, move: Move) -> dict[str, bytes | None]:
        parameters = {f"v{i}": value for i, value in enumerate(move.values.values())}
        parameters |= {f"o{i}": value for i, value in enumerate(move.old_key)}
        return parameters | {f"n{i}": move.values[name] for i, name in enumerate(self._sql.key_names)}

    def _each(self, statement: bytes, rows: Sequence[tuple[bytes | None, ...]] | Sequence[dict[str, bytes | None]]) -> Any:
        cursor = self._connection.cursor()
        cursor.executemany(statement, rows)
        return cursor


@contextmanager
def hash_joins(connection: Connection) -> Iterator[None]:
    """Let the planner join by hash tables, for a statement that reads a whole table (see `session.py`)."""
    connection.execute("SET LOCAL enable_hashjoin = on")
    connection.execute("SET LOCAL work_mem = '64MB'")
    yield
    connection.execute("SET LOCAL enable_hashjoin = off")


def is_small(step: MergeStep, *, keyed: bool) -> bool:
    """Whether nothing of the step needs COPY, so that it can ride in a pipeline."""
    if step.deletes is not None and not keyed:
        return False
    batches = [step.deletes, step.inserts, step.upserts, *step.partials]
    return len(step.moves) <= SMALL_ROWS and all(batch is None or batch.num_rows <= SMALL_ROWS for batch in batches)


def _rows(batch: pa.RecordBatch, columns: Sequence[str]) -> list[tuple[bytes | None, ...]]:
    return list(zip(*(batch.column(name).to_pylist() for name in columns), strict=True))
