"""Writing one mapping's steps into a table that other mappings fill as well; see `books.py`.

Everything goes through staging, small or not: such tables are rare, and a statement over staged keys is the same for one key
and for a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from headwater.domain.errors import RowRefused
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergeStep, Move
from headwater.targets.postgres.books import Book
from headwater.targets.postgres.session import Connection
from headwater.targets.postgres.statements import Statements
from headwater.targets.postgres.table_writer import TableWriter, Tally


class SharedWriter(TableWriter):
    """A `TableWriter` that keeps the mapping's book. `mapping` is the one whose book it is."""

    def __init__(
        self, connection: Connection, statements: Statements, staged: dict[str, bool], mapping: TableMapping, book: Book, *, exact: bool
    ) -> None:
        super().__init__(connection, statements, staged, truncates=False, exact=exact)
        self._mapping, self._book = mapping, book

    def remove(self, step: MergeStep, tally: Tally) -> None:
        """The step's TRUNCATE, which is that of all rows in the book, and deletes."""
        if step.truncate:
            self.open_staging(self._sql.keys)
            self._connection.execute(self._book.stage_all)
            self._leave(tally)
        if step.deletes is not None:
            self.stage_keys(step.deletes)
            self._leave(tally)

    def put(self, step: MergeStep, tally: Tally) -> None:
        """The step's rows."""
        moved = [row for move in step.moves if (row := self._moved(move, tally)) is not None]
        for batch in (*map(_batch, moved), step.inserts, step.upserts):
            if batch is not None:
                self._put_rows(batch, tally)
        for batch in step.partials:
            self.stage_rows(batch)
            tally.updated.append(self._connection.execute(self._sql.update_staged(tuple(batch.schema.names), True)))

    def note_staged(self) -> None:
        """The staged rows stand in the table."""
        self._connection.execute(self._book.add)

    def _put_rows(self, batch: pa.RecordBatch, tally: Tally) -> None:
        self.stage_rows(batch)
        if self._exact and self._book.contradicting and self._connection.execute(self._book.contradicting).fetchone():
            raise RowRefused(
                f"A row of {self._mapping.source} and one of another table have the same key in {self._mapping.target}, and differ in "
                "a column that both fill. Let one mapping fill it, or make their keys differ."
            )
        self.converge_staged(tally)
        self.note_staged()

    def _leave(self, tally: Tally) -> None:
        """The staged keys' rows are gone at the source."""
        self._connection.execute(self._book.leave)
        tally.deleted.append(self._connection.execute(self._book.remove))
        for statement in self._book.clear:
            tally.updated.append(self._connection.execute(statement))

    def _moved(self, move: Move, tally: Tally) -> dict[str, bytes | None] | None:
        """The whole row under its new key, from where it stands: there already, or under the old key, which it leaves."""
        names = self._sql.key_names
        new = tuple(move.values[name] for name in names)
        stood = self._stands(new) or self._stands(move.old_key)
        self.stage_keys(_batch(dict(zip(names, move.old_key, strict=True))))
        self._leave(tally)
        if stood is None:
            return None
        row = dict(zip(self._sql.columns, (None if v is None else str(v).encode() for v in stood), strict=True))
        return row | dict(move.values)

    def _stands(self, key: Sequence[bytes | None]) -> tuple[str | None, ...] | None:
        """The mapping's own row with a key."""
        return self._connection.execute(self._book.read, {f"k{i}": value for i, value in enumerate(key)}).fetchone()


def _batch(row: dict[str, bytes | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([row], pa.schema([(name, pa.binary()) for name in row]))
