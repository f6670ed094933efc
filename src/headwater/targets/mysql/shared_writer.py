"""Writing one mapping's steps into a table that other mappings fill as well; see `books.py`."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from headwater.domain.merge import Move
from headwater.targets.mysql.aside import Aside
from headwater.targets.mysql.books import Book
from headwater.targets.mysql.session import Connection
from headwater.targets.mysql.staging import Stages
from headwater.targets.mysql.statements import Statements
from headwater.targets.mysql.table_writer import Staged, TableWriter, Tally
from headwater.targets.shared_steps import SharedSteps, contradiction, one_row


class SharedWriter(SharedSteps[Tally], TableWriter):
    """A `TableWriter` that keeps the mapping's book."""

    def __init__(
        self, connection: Connection, sql: Statements, stages: Stages, aside: Aside, fresh: Callable[[], bool], book: Book
    ) -> None:
        super().__init__(connection, sql, stages, aside, fresh)
        self._book = book

    def write_staged_rows(self, staged: Staged, tally: Tally) -> None:
        """See `TableWriter.write_staged_rows`; puts them into the book, too."""
        super().write_staged_rows(staged, tally)
        self._connection.run(self._book.add(staged.name))

    def _put_rows(self, batch: pa.RecordBatch, tally: Tally) -> None:
        self._put_staged(self._staged_rows(batch), tally)

    def _put_staged(self, staged: Staged, tally: Tally) -> None:
        contradicting = self._book.contradicting(staged.name) if self.exact else ""
        if contradicting and self._connection.ask(contradicting):
            raise contradiction(self._sql.mapping)
        self.write_staged_rows(staged, tally)

    def _put_some(self, batch: pa.RecordBatch, tally: Tally) -> None:
        self.write_staged([self._staged_some(batch)], tally)

    def _leave(self, keys: pa.RecordBatch | None, tally: Tally) -> None:
        if keys is not None:
            staged = self.stage_keys(keys)
        else:
            staged = self._stages.open(self._sql, "keys", self._sql.key_names)
            self._stages.holds(staged, self._connection.run(self._book.stage_all(staged)).rows)
        self._connection.run(self._book.leave(staged))
        tally.deleted += self._connection.run(self._book.remove(staged)).rows
        for statement in self._book.clear(staged):
            tally.updated += self._connection.run(statement).rows

    def _move(self, move: Move, tally: Tally) -> None:
        names = self._sql.key_names
        old = one_row(dict(zip(names, move.old_key, strict=True)))
        new = one_row({name: move.values[name] for name in names})
        moved = self._stages.open(self._sql, "moved", self._sql.columns)
        stood = self._read(new, moved) or self._read(old, moved)
        self._stages.holds(moved, stood)
        self._leave(old, tally)
        if stood:
            self._connection.run(self._sql.overwrite(moved, self._staged_some(one_row(dict(move.values))).name, tuple(move.values)))
            self._put_staged(Staged(moved, self._sql.columns, whole=True), tally)

    def _read(self, key: pa.RecordBatch, into: str) -> int:
        """Put the mapping's own row with a key into a staging table; how many there are."""
        return self._connection.run(self._book.read(self.stage_keys(key), into)).rows
