"""Writing one mapping's steps into a table that other mappings fill as well; see `books.py`."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from headwater.domain.mapping import TableMapping
from headwater.domain.merge import Move
from headwater.targets.postgres.books import Book
from headwater.targets.postgres.session import Connection
from headwater.targets.postgres.statements import Statements
from headwater.targets.postgres.table_writer import TableWriter, Tally
from headwater.targets.shared_steps import SharedSteps, contradiction, one_row


class SharedWriter(SharedSteps[Tally], TableWriter):
    """A `TableWriter` that keeps the mapping's book. `mapping` is the one whose book it is."""

    def __init__(
        self, connection: Connection, statements: Statements, staged: dict[str, bool], mapping: TableMapping, book: Book, *, exact: bool
    ) -> None:
        super().__init__(connection, statements, staged, truncates=False, exact=exact)
        self._mapping, self._book = mapping, book

    def note_staged(self) -> None:
        """The staged rows stand in the table."""
        self._connection.execute(self._book.add)

    def _put_rows(self, batch: pa.RecordBatch, tally: Tally) -> None:
        self.stage_rows(batch)
        if self._exact and self._book.contradicting and self._connection.execute(self._book.contradicting).fetchone():
            raise contradiction(self._mapping)
        self.converge_staged(tally)
        self.note_staged()

    def _put_some(self, batch: pa.RecordBatch, tally: Tally) -> None:
        self.stage_rows(batch)
        tally.updated.append(self._connection.execute(self._sql.update_staged(tuple(batch.schema.names), True)))

    def _leave(self, keys: pa.RecordBatch | None, tally: Tally) -> None:
        if keys is not None:
            self.stage_keys(keys)
        else:
            self.open_staging(self._sql.keys)
            self._connection.execute(self._book.stage_all)
        self._connection.execute(self._book.leave)
        tally.deleted.append(self._connection.execute(self._book.remove))
        for statement in self._book.clear:
            tally.updated.append(self._connection.execute(statement))

    def _move(self, move: Move, tally: Tally) -> None:
        names = self._sql.key_names
        stood = self._stands(tuple(move.values[name] for name in names)) or self._stands(move.old_key)
        self._leave(one_row(dict(zip(names, move.old_key, strict=True))), tally)
        if stood is not None:
            row = dict(zip(self._sql.columns, (None if v is None else str(v).encode() for v in stood), strict=True))
            self._put_rows(one_row(row | dict(move.values)), tally)

    def _stands(self, key: Sequence[bytes | None]) -> tuple[str | None, ...] | None:
        """The mapping's own row with a key."""
        return self._connection.execute(self._book.read, {f"k{i}": value for i, value in enumerate(key)}).fetchone()
