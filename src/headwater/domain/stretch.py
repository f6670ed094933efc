"""A stretch of one table's history as one mapping sees it: whole columns under the target's names, in log order.

Everything that merging needs to know about change batches is read here: columns found by name under whatever schema a batch has,
unchanged marks, and keys turned into small numbers, so that what follows works with one form only.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.changes import ChangeBatch, Op
from headwater.domain.errors import SchemaMismatch
from headwater.domain.mapping import TableMapping
from headwater.domain.shapes import places

_INTEGERS = frozenset({"smallint", "integer", "bigint", "int", "tinyint", "mediumint"})
"""Types with one text per value that fits 64 bits: as numbers their keys are told apart twice as fast."""


@dataclass(frozen=True)
class Stretch:
    """Changes in log order. `columns` has one binary array per mapped pair; `unknown` marks, by pair, values that were not sent."""

    mapping: TableMapping
    op: pa.Array
    columns: tuple[pa.Array, ...]
    unknown: dict[int, pa.Array]
    integer_keys: bool

    @property
    def rows(self) -> int:
        """Number of changes."""
        return len(self.op)

    @cached_property
    def ops(self) -> frozenset[int]:
        """The operations that occur; empty for an empty stretch."""
        return frozenset(pc.unique(self.op).to_pylist())

    @cached_property
    def key_columns(self) -> tuple[int, ...]:
        """Which of the pairs form the key."""
        return tuple(i for i, pair in enumerate(self.mapping.columns) if pair.key)

    def having(self, ops: Sequence[int]) -> pa.Array:
        """Mask of the changes with one of these operations."""
        return pc.is_in(self.op, pa.array(ops, pa.uint8()))

    def where(self, mask: pa.Array) -> Stretch:
        """The changes under the mask."""
        return replace(
            self,
            op=self.op.filter(mask),
            columns=tuple(c.filter(mask) for c in self.columns),
            unknown=_real_marks({i: mark.filter(mask) for i, mark in self.unknown.items()}),
        )

    def after(self, row: int) -> Stretch:
        """The changes behind change number `row`."""
        return replace(
            self,
            op=self.op.slice(row + 1),
            columns=tuple(c.slice(row + 1) for c in self.columns),
            unknown=_real_marks({i: mark.slice(row + 1) for i, mark in self.unknown.items()}),
        )

    def check_keys(self) -> None:
        """Raises SchemaMismatch where a key value is NULL: such a row can't be found again."""
        for i in self.key_columns:
            if self.columns[i].null_count:
                pair = self.mapping.columns[i]
                raise SchemaMismatch(
                    f"A change of {self.mapping.source} has NULL in {pair.source}, which mapping to {self.mapping.target} uses as key. "
                    "Use a key that is never NULL."
                )

    @cached_property
    def keys(self) -> tuple[pa.Array, int]:
        """Each change's key as a number, counted from 0 in the order of first appearance, and how many there are."""
        first, *others = (self.columns[i] for i in self.key_columns)
        encoded = self._encode(first)
        for column in others:
            right = self._encode(column)
            wide = pc.multiply(pc.cast(encoded.indices, pa.int64()), pa.scalar(max(len(right.dictionary), 1)))
            encoded = pc.add(wide, pc.cast(right.indices, pa.int64())).dictionary_encode()
        return encoded.indices, len(encoded.dictionary)

    def _encode(self, column: pa.Array) -> pa.DictionaryArray:
        if self.integer_keys:
            with suppress(pa.ArrowInvalid):  # where the type's name promised too much: as text they are told apart as well
                column = pc.cast(pc.cast(column, pa.string()), pa.int64())
        return column.dictionary_encode()

    def batch(self) -> pa.RecordBatch:
        """All changes' values under the target's names."""
        return pa.record_batch(list(self.columns), names=[pair.target for pair in self.mapping.columns])

    def incomplete(self) -> pa.Array:
        """Mask of the changes that lack some unchanged value."""
        mask = pa.repeat(pa.scalar(False), self.rows)
        for mark in self.unknown.values():
            mask = pc.or_(mask, mark)
        return mask

    def split_moves(self, *, all_pairs: bool) -> tuple[Stretch, Stretch]:
        """Take out the changes of all keys that meet in a key change which lacks values (or, with `all_pairs`, in any key change).

        Returns (the rest, those). Keys have to do with one another through such changes only, so that both parts can be written in
        any order."""
        if Op.KEY_NEW not in self.ops or not (self.unknown or all_pairs):
            return self, self.after(self.rows)
        pairs = self.having([Op.KEY_NEW])
        new = pc.indices_nonzero(pairs if all_pairs else pc.and_(pairs, self.incomplete()))
        codes, _ = self.keys
        taken = pc.is_in(codes, pa.concat_arrays([codes.take(new), codes.take(pc.subtract(new, pa.scalar(1, new.type)))]))
        return self.where(pc.invert(taken)), self.where(taken)


def read_stretch(mapping: TableMapping, batches: Sequence[ChangeBatch]) -> Stretch:
    """Join batches of one table, in log order, to the columns of a mapping.

    Raises SchemaMismatch where the mapping does not fit a batch's schema (see `shapes.py`)."""
    batches = [batch for batch in batches if batch.data.num_rows]
    at_places = [places(mapping, batch.schema) for batch in batches]
    op = _join([b.data.column(2) for b in batches], pa.uint8())
    columns = tuple(
        _join([b.value(at[i]) for b, at in zip(batches, at_places, strict=True)], pa.binary()) for i in range(len(mapping.columns))
    )
    marks = [b.unchanged for b in batches]
    unknown = {
        i: _join([_mark(m, at[i], b) for b, m, at in zip(batches, marks, at_places, strict=True)], pa.bool_())
        for i in range(len(mapping.columns))
        if any(at[i] in m for m, at in zip(marks, at_places, strict=True))
    }
    return Stretch(mapping, op, columns, _real_marks(unknown), _integer_keys(mapping, batches, at_places))


def _integer_keys(mapping: TableMapping, batches: Sequence[ChangeBatch], at_places: Sequence[Sequence[int]]) -> bool:
    keys = [i for i, pair in enumerate(mapping.columns) if pair.key]
    return all(b.schema.columns[at[i]].type in _INTEGERS for b, at in zip(batches, at_places, strict=True) for i in keys)


def _mark(marks: dict[int, pa.Array], at: int, batch: ChangeBatch) -> pa.Array:
    return marks[at] if at in marks else pa.repeat(pa.scalar(False), batch.data.num_rows)


def _join(arrays: Sequence[pa.Array], kind: pa.DataType) -> pa.Array:
    if len(arrays) == 1:
        return arrays[0]
    return pa.concat_arrays(arrays) if arrays else pa.array([], kind)


def _real_marks(unknown: dict[int, pa.Array]) -> dict[int, pa.Array]:
    return {i: mark for i, mark in unknown.items() if mark.true_count}
