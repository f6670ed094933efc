"""Writing one mapping's steps into its table: which statement for what, and how the values get there.

New rows go straight into the table. Others are staged, and one statement over them finds their rows by key. A table with further unique
keys takes rows in another way: `ON DUPLICATE KEY` would take a row that has only such a value in common for the row itself. There the
rows that give a unique value away or get one are taken out and put in again whole, with what their other columns held, so that values can
change hands; the server can't look at a unique key later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pymysql.err import Error

from headwater.dialects.mysql_errors import number_of
from headwater.domain.errors import RowRefused
from headwater.domain.merge import MergeStep, Move
from headwater.ports.target import Written
from headwater.targets.mysql.aside import Aside
from headwater.targets.mysql.errors import DUPLICATE
from headwater.targets.mysql.session import Connection
from headwater.targets.mysql.staging import Stages, fill
from headwater.targets.mysql.statements import Statements
from headwater.targets.mysql.swap import Swap
from headwater.targets.mysql.whole import delete_whole
from headwater.targets.text_rows import sorted_by_key


@dataclass
class Tally:
    """Counts what statements did."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def written(self) -> Written:
        """The sums."""
        return Written(self.inserted, self.updated, self.deleted)


@dataclass(frozen=True)
class Staged:
    """Rows in a staging table. `whole`: of all columns, and to be inserted where they don't stand."""

    name: str
    columns: tuple[str, ...]
    whole: bool


class TableWriter:
    """Writes for one mapping. Errors of the driver pass through. `fresh` tells whether the table is being filled by its first copy."""

    def __init__(self, connection: Connection, sql: Statements, stages: Stages, aside: Aside, fresh: Callable[[], bool]) -> None:
        self._connection, self._sql, self._stages = connection, sql, stages
        self.aside, self._fresh = aside, fresh
        self.exact = False  # whether what is written is of one moment, with what stands there: not in a replay
        self._parts: dict[tuple[str, ...], str] = {}

    def remove(self, step: MergeStep, tally: Tally) -> None:
        """The step's TRUNCATE and deletes."""
        if step.truncate:
            tally.deleted += self._connection.run(self._sql.clear).rows + self.aside.clear()
        if step.deletes is None:
            return
        if self._sql.key_names:
            keys = self.stage_keys(step.deletes)
            tally.deleted += self._connection.run(self._sql.delete(keys)).rows + self.aside.delete(keys)
        else:
            tally.deleted += delete_whole(self._connection, self._sql, self._stages, step.deletes)

    def put(self, step: MergeStep, tally: Tally) -> None:
        """The step's rows: moves, then new rows, then rows that may stand, then rows of which some values are known."""
        for move in step.moves:
            self._move(move, tally)
        inserts, upserts = step.inserts, step.upserts
        if inserts is not None and not (self.aside.parks or self._sql.upserts_only):
            fill(self._connection, self._sql, self._sql.table, inserts)
            tally.inserted += inserts.num_rows
            inserts = None
        rows = [batch for batch in (inserts, upserts) if batch is not None]
        staged = [self._staged_rows(pa.Table.from_batches(rows).combine_chunks().to_batches()[0])] if rows else []
        staged += [self._staged_some(batch) for batch in step.partials]
        if staged:
            self.write_staged(staged, tally)

    def write_staged_rows(self, staged: Staged, tally: Tally) -> None:
        """Write whole staged rows."""
        self.write_staged([staged], tally)

    def write_staged(self, staged: Sequence[Staged], tally: Tally) -> None:
        """Write staged rows: whole ones are inserted or updated, others updated."""
        if self.aside.parks:
            self._make_room(staged, tally)
        for one in staged:
            if one.whole and not self._sql.further:
                self._upsert(one.name, tally)
                continue
            if self._sql.values_of(one.columns):
                tally.updated += self._connection.run(self._sql.update(one.name, one.columns)).rows
            if one.whole:
                tally.inserted += self._connection.run(self._sql.insert_missing(one.name, one.columns)).rows

    def _make_room(self, staged: Sequence[Staged], tally: Tally) -> None:
        """Where a row can't stand beside another: first every row that moves is taken out, then what is in the way is parked."""
        swap = Swap(self._connection, self._sql, self._stages, self.aside)
        parked = 0
        for one in staged:
            if self._sql.collates and self._connection.ask(self._sql.twice(one.name)):
                raise two_keys(self._sql)
            if self._sql.upserts_only and self._connection.ask(self._sql.strangers(one.name)):
                raise two_keys(self._sql)  # nothing is undone there, so no row may leave the table for a while
            swap.take(one.name, one.columns)
        for one in staged:
            if one.whole:
                parked += self.aside.make_room(one.name, one.columns)
        if parked and self._fresh():
            raise two_keys(self._sql) if self._sql.collates else two_rows(self._sql)
        swap.give_back(tally)

    def _upsert(self, staging: str, tally: Tally) -> None:
        did = self._connection.run(self._sql.put(staging, self._sql.columns))
        values = bool(self._sql.values_of(self._sql.columns))
        tally.inserted += did.rows - 2 * did.duplicates if values else did.rows
        tally.updated += did.duplicates if values else 0

    def _staged_rows(self, batch: pa.RecordBatch) -> Staged:
        return self._staged("rows", batch, whole=True)

    def _staged_some(self, batch: pa.RecordBatch) -> Staged:
        what = self._parts.setdefault(tuple(batch.schema.names), f"some_{len(self._parts)}")
        return self._staged(what, batch, whole=False)

    def _staged(self, what: str, batch: pa.RecordBatch, *, whole: bool) -> Staged:
        """Put rows into the staging table for their columns, sorted by key."""
        rows = sorted_by_key(batch, self._sql.key_names) if self._sql.key_names else batch
        return Staged(self._stages.put(self._sql, what, rows), tuple(batch.schema.names), whole)

    def stage_keys(self, keys: pa.RecordBatch) -> str:
        """Put keys into their staging table, sorted; its name."""
        return self._stages.put(self._sql, "keys", sorted_by_key(keys, self._sql.key_names))

    def _move(self, move: Move, tally: Tally) -> None:
        """See `Move`."""
        names = self._sql.key_names
        old = _batch(dict(zip(names, move.old_key, strict=True)))
        new = _batch({name: move.values[name] for name in names})
        row = _batch(dict(move.values))
        if self.aside.parked:
            self.settle()
        if self._stands(new):
            if self._sql.values_of(row.schema.names):
                tally.updated += self._connection.run(self._sql.update(self._staged_some(row).name, row.schema.names)).rows
            if not old.equals(new):
                tally.deleted += self._connection.run(self._sql.delete(self.stage_keys(old))).rows
        elif self._stands(old):
            rows = self._staged_some(row).name
            tally.updated += self._connection.run(self._sql.move(self.stage_keys(old), rows, row.schema.names)).rows

    def _stands(self, key: pa.RecordBatch) -> bool:
        keys = self.stage_keys(key)
        return bool(self._connection.ask(self._sql.stands(keys))) or self.aside.stands(keys)

    def settle(self) -> None:
        """Have parked rows stand in the table again. Raises RowRefused where one can't."""
        try:
            self.aside.come_back()
        except Error as error:
            if number_of(error) not in DUPLICATE:
                raise
            raise (two_keys if self._sql.collates and not self._sql.further else two_rows)(self._sql) from None

    def stands(self, key: Sequence[bytes | None]) -> bool:
        """Whether a row with this key stands."""
        return self._stands(_batch(dict(zip(self._sql.key_names, key, strict=True))))


def two_keys(statements: Statements) -> RowRefused:
    """Two keys of the source are one to the target."""
    return RowRefused(
        f"Two rows of {statements.mapping.source} have keys that are one and the same to {statements.name} "
        f"({', '.join(statements.key_names)}), so one would take the other's place. Give the target's key a collation that tells them "
        "apart, such as utf8mb4_nopad_bin (MariaDB) or utf8mb4_0900_bin (MySQL)."
    )


def two_rows(statements: Statements) -> RowRefused:
    """Two rows of the source share a value that is unique at the target."""
    keys = "; ".join(", ".join(key.columns) for key in statements.further)
    return RowRefused(
        f"Two rows of {statements.mapping.source} have the same values of a unique key of {statements.name} ({keys}). "
        "Make target and source agree on what is unique, or remove the key at the target."
    )


def _batch(row: dict[str, bytes | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([row], pa.schema([(name, pa.binary()) for name in row]))
