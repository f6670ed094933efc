"""Writing one mapping's steps into its table: which statement for what, and how the values get there.

New rows go straight into the table. Others are staged, and one statement over them finds their rows by key. A table with further unique
keys takes rows in another way: `ON DUPLICATE KEY` would take a row that has only such a value in common for the row itself. There the
rows that give a unique value away or get one are taken out and put in again whole, with what their other columns held, so that values can
change hands; the server can't look at a unique key later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from headwater.domain.errors import RowRefused
from headwater.domain.merge import MergeStep, Move
from headwater.ports.target import Written
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


class TableWriter:
    """Writes for one mapping. Errors of the driver pass through."""

    def __init__(self, connection: Connection, statements: Statements, stages: Stages) -> None:
        self._connection, self._sql, self._stages = connection, statements, stages
        self._parts: dict[tuple[str, ...], str] = {}

    def remove(self, step: MergeStep, tally: Tally) -> None:
        """The step's TRUNCATE and deletes."""
        if step.truncate:
            tally.deleted += self._connection.run(self._sql.clear).rows
        if step.deletes is None:
            return
        if self._sql.key_names:
            tally.deleted += self._connection.run(self._sql.delete(self.stage_keys(step.deletes))).rows
        else:
            tally.deleted += delete_whole(self._connection, self._sql, self._stages, step.deletes)

    def put(self, step: MergeStep, tally: Tally) -> None:
        """The step's rows: moves, then new rows, then rows that may stand, then rows of which some values are known."""
        for move in step.moves:
            self._move(move, tally)
        if self._sql.further:
            self._put_apart(step, tally)
            return
        if step.inserts is not None:
            self._insert(step.inserts, tally)
        if step.upserts is not None:
            self.upsert(self.stage(step.upserts), tally)
        for batch in step.partials:
            tally.updated += self._connection.run(self._sql.update(self.stage(batch), batch.schema.names)).rows

    def stage(self, batch: pa.RecordBatch) -> str:
        """Put rows into the staging table for their columns, sorted by key; its name."""
        names = tuple(batch.schema.names)
        what = "rows" if names == self._sql.columns else f"some_{len(self._parts)}"
        what = self._parts.setdefault(names, what)
        return self._stages.put(self._sql, what, sorted_by_key(batch, self._sql.key_names))

    def stage_keys(self, keys: pa.RecordBatch) -> str:
        """Put keys into their staging table, sorted; its name."""
        return self._stages.put(self._sql, "keys", sorted_by_key(keys, self._sql.key_names))

    def upsert(self, staging: str, tally: Tally) -> None:
        """Insert or update the staged rows, of all columns.

        Raises RowRefused where two keys are one to the table."""
        self.check_keys(staging)
        if self._sql.further:
            swap = Swap(self._connection, self._sql, self._stages)
            swap.take(staging, self._sql.columns)
            swap.give_back(tally)
            tally.updated += self._connection.run(self._sql.update(staging, self._sql.columns)).rows if self._has_values else 0
            tally.inserted += self._connection.run(self._sql.insert_missing(staging, self._sql.columns)).rows
            return
        did = self._connection.run(self._sql.put(staging, self._sql.columns))
        tally.inserted += did.rows - 2 * did.duplicates if self._has_values else did.rows
        tally.updated += did.duplicates if self._has_values else 0

    @property
    def _has_values(self) -> bool:
        return bool(self._sql.values_of(self._sql.columns))

    def check_keys(self, staging: str) -> None:
        """Raises RowRefused where two of the staged keys, or one and that of a row that stands, are one to the table, but not the same."""
        if self._sql.collates and (self._connection.ask(self._sql.twice(staging)) or self._connection.ask(self._sql.strangers(staging))):
            raise two_keys(self._sql)

    def _insert(self, batch: pa.RecordBatch, tally: Tally) -> None:
        if self._sql.collates:  # staged, to be told which key collides, and with what
            self.upsert(self.stage(batch), tally)
            return
        fill(self._connection, self._sql, self._sql.table, batch)
        tally.inserted += batch.num_rows

    def _put_apart(self, step: MergeStep, tally: Tally) -> None:
        """Into a table with further unique keys: first every row that moves is taken out, then all are put in."""
        batches = [batch for batch in (step.upserts, *step.partials) if batch is not None]
        staged = [(self.stage(batch), tuple(batch.schema.names)) for batch in batches]
        swap = Swap(self._connection, self._sql, self._stages)
        for staging, columns in staged:
            if columns == self._sql.columns:
                self.check_keys(staging)
            swap.take(staging, columns)
        swap.give_back(tally)
        if step.inserts is not None:
            self._insert(step.inserts, tally)
        for staging, columns in staged:
            if self._sql.values_of(columns):
                tally.updated += self._connection.run(self._sql.update(staging, columns)).rows
            if columns == self._sql.columns and step.upserts is not None:
                tally.inserted += self._connection.run(self._sql.insert_missing(staging, columns)).rows

    def _move(self, move: Move, tally: Tally) -> None:
        """See `Move`."""
        names = self._sql.key_names
        old = _batch(dict(zip(names, move.old_key, strict=True)))
        new = _batch({name: move.values[name] for name in names})
        row = _batch(dict(move.values))
        if self._stands(new):
            tally.updated += self._connection.run(self._sql.update(self.stage(row), row.schema.names)).rows
            if not old.equals(new):
                tally.deleted += self._connection.run(self._sql.delete(self.stage_keys(old))).rows
        elif self._stands(old):
            rows = self.stage(row)
            tally.updated += self._connection.run(self._sql.move(self.stage_keys(old), rows, row.schema.names)).rows

    def _stands(self, key: pa.RecordBatch) -> bool:
        return bool(self._connection.ask(self._sql.stands(self.stage_keys(key))))

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


def _batch(row: dict[str, bytes | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([row], pa.schema([(name, pa.binary()) for name in row]))
