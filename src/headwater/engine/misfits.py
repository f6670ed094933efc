"""Where in the log a mapping stops fitting its table: found frame by frame, before anything of that transaction is given out.

A frame is cut in front of the first transaction that holds a change under a schema that a mapping does not fit. What comes before is
applied and committed as always; then the task stops with its place exactly there.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.changes import ChangeBatch, Frame
from headwater.domain.errors import SchemaMismatch
from headwater.domain.mapping import TableMapping
from headwater.domain.shapes import misfit
from headwater.domain.tables import TableName, TableSchema
from headwater.ports.journal import Placed

KNOWN_MAX = 10_000
"""Schemas that are remembered as fitting; beyond it they are looked at again."""


class Misfit(SchemaMismatch):
    """A mapping does not fit its table from the transaction at `offset` on."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class Misfits:
    """Watches the frames of one reading. `followed`: mappings, each with the offset from which on it is followed. `until`: what an earlier
    reading found, so that this one ends there, in front of the parts of that transaction that come before the change."""

    def __init__(self, followed: Sequence[tuple[TableMapping, int]], until: Misfit | None = None) -> None:
        self._until = until
        self._followed: dict[TableName, list[tuple[TableMapping, int]]] = {}
        for mapping, since in followed:
            self._followed.setdefault(mapping.source, []).append((mapping, since))
        self._error: Misfit | None = None
        self._fitting: dict[int, TableSchema] = {}  # by identity: a reader hands the same objects out again and again

    @property
    def found(self) -> bool:
        """True once a frame was cut: nothing may be read behind it."""
        return self._error is not None

    def complain(self) -> None:
        """Raise what was found, if anything."""
        if self._error is not None:
            raise self._error

    def before(self, placed: Placed) -> Placed | None:
        """The frame up to the first transaction that does not fit; None where that is its first one."""
        if self._until is not None and placed.first_offset >= self._until.offset:
            self._error = self._until
            return None
        if all(self._fitting.get(id(batch.schema)) is batch.schema for batch in placed.frame.batches):
            return placed
        found = [one for batch in placed.frame.batches for one in self._look(batch, placed.first_offset)]
        if not found:
            return placed
        at = min(transaction for transaction, _ in found)
        self._error = _error(placed, at, [problem for transaction, problem in found if transaction == at])
        return _upto(placed, at) if at else None

    def _look(self, batch: ChangeBatch, first_offset: int) -> list[tuple[int, str]]:
        """Transactions of the frame, by index, from which on a mapping does not fit this batch, and why."""
        followed = self._followed.get(batch.schema.table, [])
        found_by = [(since, misfit(mapping, batch.schema, keyed=not batch.reshapes)) for mapping, since in followed]
        problems = [(since, problem) for since, problem in found_by if problem is not None]
        if not problems:
            if len(self._fitting) >= KNOWN_MAX:
                self._fitting.clear()
            self._fitting[id(batch.schema)] = batch.schema
        found = []
        for since, problem in problems:
            seen = batch.data.column(1).filter(pc.greater_equal(batch.data.column(1), pa.scalar(since - first_offset, pa.int64())))
            if len(seen):
                found.append((int(seen[0].as_py()), problem))
        return found


def _upto(placed: Placed, at: int) -> Placed:
    """The first `at` transactions of a frame."""
    batches = []
    for batch in placed.frame.batches:
        rows = pc.sum(pc.less(batch.data.column(1), pa.scalar(at, pa.int32()))).as_py() or 0
        if rows:
            batches.append(ChangeBatch(batch.schema, batch.data.slice(0, rows)))
    return Placed(placed.first_offset, Frame(placed.frame.transactions.slice(0, at), tuple(batches)))


def _error(placed: Placed, at: int, problems: Sequence[str]) -> Misfit:
    position, offset = placed.frame.transactions.column("position")[at].as_py(), placed.first_offset + at
    where = f"(The task stands before offset {offset} of its log, position {position} of the source.)"
    return Misfit(f"{' '.join(dict.fromkeys(problems))} {where}", offset)
