"""Steps of a mapping into a table that other mappings fill as well: their order is the same for every kind of target that keeps books of
source rows (docs/decisions/0020).

Everything goes through staging, small or not: such tables are rare, and a statement over staged keys is the same for one key
and for a hundred thousand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

import pyarrow as pa

from headwater.domain.errors import RowRefused
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergeStep, Move

T = TypeVar("T")
"""What counts what statements did."""


class SharedSteps(ABC, Generic[T]):
    """Writes steps and keeps the mapping's book; to be mixed into the writer of a kind of target."""

    def remove(self, step: MergeStep, tally: T) -> None:
        """The step's TRUNCATE, which is that of all rows in the book, and deletes."""
        if step.truncate:
            self._leave(None, tally)
        if step.deletes is not None:
            self._leave(step.deletes, tally)

    def put(self, step: MergeStep, tally: T) -> None:
        """The step's rows."""
        for move in step.moves:
            self._move(move, tally)
        for batch in (step.inserts, step.upserts):
            if batch is not None:
                self._put_rows(batch, tally)
        for batch in step.partials:
            self._put_some(batch, tally)

    @abstractmethod
    def _leave(self, keys: pa.RecordBatch | None, tally: T) -> None:
        """The rows with these keys, or all in the book, are gone at the source."""

    @abstractmethod
    def _move(self, move: Move, tally: T) -> None:
        """The whole row under its new key, from where it stands: there already, or under the old key, which it leaves."""

    @abstractmethod
    def _put_rows(self, batch: pa.RecordBatch, tally: T) -> None:
        """Whole rows, which may stand; their keys go into the book. RowRefused where they contradict others, but for a replay."""

    @abstractmethod
    def _put_some(self, batch: pa.RecordBatch, tally: T) -> None:
        """Some values of rows that stand."""


def contradiction(mapping: TableMapping) -> RowRefused:
    """A row differs from that of another mapping in a column that both fill."""
    return RowRefused(
        f"A row of {mapping.source} and one of another table have the same key in {mapping.target}, and differ in "
        "a column that both fill. Let one mapping fill it, or make their keys differ."
    )


def cleared(mapping: TableMapping) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """The mapping's columns by the ids of those that fill them too, and keep them where they have the row."""
    by_owners: dict[tuple[str, ...], list[str]] = {}
    for name in mapping.values:
        by_owners.setdefault(mapping.owners(name), []).append(name)
    yield from by_owners.items()


def one_row(row: dict[str, bytes | None]) -> pa.RecordBatch:
    """A batch of one row."""
    return pa.RecordBatch.from_pylist([row], pa.schema([(name, pa.binary()) for name in row]))
