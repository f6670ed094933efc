"""Merging on whole columns: which change of each key decides, and the batches that follow from it. The common path.

`Stretch.keys` numbers keys by first appearance, so the place of a key's last change is an inverse permutation of those numbers
(the last one wins), and its first change is wherever the running maximum rises. Nothing here looks at one row alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.changes import Op
from headwater.domain.errors import DecodeError
from headwater.domain.steps import MergeStep
from headwater.domain.stretch import Stretch

BORN = (Op.INSERT, Op.KEY_NEW)
GONE = (Op.DELETE, Op.KEY_OLD)


@dataclass(frozen=True)
class Rules:
    """How changes of a key become writes; see the table in `merge.py`.

    `exact`: a key that comes into being in the stretch is absent from the target before. `may_insert`: new rows may come into being.
    `may_delete`: rows that the source has no more are gone; otherwise any key may still stand at the target.
    """

    exact: bool
    may_insert: bool
    may_delete: bool

    @classmethod
    def of(cls, operations: frozenset[str], *, exact: bool, truncated: bool) -> Rules:
        """The rules for a set of operations; after a TRUNCATE everything is exact."""
        everything = operations >= {"INSERT", "UPDATE", "DELETE"}
        return cls(truncated or (exact and everything), "INSERT" in operations, "DELETE" in operations)


@dataclass(frozen=True)
class _Last:
    """Per key, in order of first appearance: the operations of its first and last change, the row of its last, and whether the
    key was ever gone. `known` has, per column with unchanged marks, the row that holds its latest known value, or null."""

    first: pa.Array
    last: pa.Array
    row: pa.Array
    ever_gone: pa.Array
    known: dict[int, pa.Array]


def merge_columns(stretch: Stretch, rules: Rules, truncate: bool) -> MergeStep:
    """One step for a stretch without moves."""
    if not stretch.ops:
        return MergeStep(truncate=truncate)
    if rules.exact and stretch.ops <= {Op.INSERT} and not stretch.unknown and stretch.keys[1] == stretch.rows:
        return MergeStep(truncate=truncate, inserts=stretch.batch())
    last = _last(stretch)
    born, stands = _any_of(last.first, BORN), pc.invert(_any_of(last.last, GONE))
    if not rules.may_insert:
        deletes, changed = last.ever_gone, pc.invert(last.ever_gone)
        upserts, partials = None, _partials(stretch, last, changed, update_only=True)
        return MergeStep(truncate=truncate, deletes=_deletes(stretch, last, deletes), upserts=upserts, partials=partials)
    inserts = None
    deletes, changed = pc.invert(stands), stands
    if rules.exact:
        inserts = _inserts(stretch, last, pc.and_(born, stands))
        deletes, changed = pc.and_not(deletes, born), pc.and_not(changed, born)
    return MergeStep(
        truncate=truncate,
        deletes=_deletes(stretch, last, deletes),
        inserts=inserts,
        upserts=_complete(stretch, last, changed),
        partials=_partials(stretch, last, changed, update_only=False),
    )


def _last(stretch: Stretch) -> _Last:
    codes, count = stretch.keys
    row = pc.inverse_permutation(codes, max_index=count - 1, output_type=pa.int32())
    gone = _any_of(stretch.op, GONE)
    return _Last(
        first=stretch.op.take(_firsts(codes)) if count < stretch.rows else stretch.op,
        last=stretch.op.take(row) if count < stretch.rows else stretch.op,
        row=row,
        ever_gone=_ever(codes, count, gone),
        known={i: _latest_known(stretch, mark, gone) for i, mark in stretch.unknown.items()},
    )


def _firsts(codes: pa.Array) -> pa.Array:
    """Rows where a number appears for the first time; numbers rise in order of appearance."""
    highest = pc.cumulative_max(codes)
    before = pa.concat_arrays([pa.array([-1], codes.type), highest.slice(0, len(codes) - 1)])
    return pc.indices_nonzero(pc.greater(codes, before))


def _ever(codes: pa.Array, count: int, mask: pa.Array) -> pa.Array:
    """Per number: true where some of its rows is under the mask."""
    return pc.is_valid(pc.inverse_permutation(codes.filter(mask), max_index=count - 1, output_type=pa.int32()))


def _latest_known(stretch: Stretch, unknown: pa.Array, gone: pa.Array) -> pa.Array:
    """Per key: the row of the latest known value of a column, null where none was sent since the key was last gone."""
    codes, count = stretch.keys
    marks = pc.indices_nonzero(pc.or_(pc.invert(unknown), gone))
    at = pc.inverse_permutation(codes.take(marks), max_index=count - 1, output_type=pa.int32())
    row = pc.cast(marks, pa.int32()).take(at)
    return pc.if_else(pc.fill_null(gone.take(row), pa.scalar(True)), pa.scalar(None, pa.int32()), row)


def _any_of(op: pa.Array, wanted: tuple[Op, ...]) -> pa.Array:
    return pc.is_in(op, pa.array([int(w) for w in wanted], pa.uint8()))


def _deletes(stretch: Stretch, last: _Last, mask: pa.Array) -> pa.RecordBatch | None:
    rows = last.row.filter(mask)
    if not len(rows):
        return None
    names = [stretch.mapping.columns[i].target for i in stretch.key_columns]
    return pa.record_batch([stretch.columns[i].take(rows) for i in stretch.key_columns], names=names)


def _inserts(stretch: Stretch, last: _Last, mask: pa.Array) -> pa.RecordBatch | None:
    if not mask.true_count:
        return None
    if any(known.filter(mask).null_count for known in last.known.values()):
        raise DecodeError(
            f"The history of {stretch.mapping.source} holds a new row that lacks values, which a log never does. "
            "Reset the task without a time to copy again."
        )
    return _take(stretch, last, mask)


def _complete(stretch: Stretch, last: _Last, mask: pa.Array) -> pa.RecordBatch | None:
    for known in last.known.values():
        mask = pc.and_(mask, pc.is_valid(known))
    return _take(stretch, last, mask) if mask.true_count else None


def _partials(stretch: Stretch, last: _Last, mask: pa.Array, *, update_only: bool) -> tuple[pa.RecordBatch, ...]:
    """Rows that lack values (`update_only`: all rows), one batch per set of known columns; without any value to write: none."""
    pattern = pa.repeat(pa.scalar(0, pa.int64()), len(mask))
    for bit, known in enumerate(last.known.values()):
        pattern = pc.add(pattern, pc.multiply(pc.cast(pc.is_null(known), pa.int64()), pa.scalar(1 << bit)))
    lacking = pc.unique(pattern.filter(mask)).to_pylist()
    batches = []
    for one in sorted(lacking):
        if one == 0 and not update_only:
            continue
        missing = {i for bit, i in enumerate(last.known) if one >> bit & 1}
        columns = [i for i in range(len(stretch.columns)) if i not in missing]
        if len(columns) > len(stretch.key_columns):
            batches.append(_take(stretch, last, pc.and_(mask, pc.equal(pattern, pa.scalar(one))), columns))
    return tuple(batches)


def _take(stretch: Stretch, last: _Last, mask: pa.Array, columns: list[int] | None = None) -> pa.RecordBatch:
    wanted = range(len(stretch.columns)) if columns is None else columns
    rows = last.row.filter(mask)
    taken = [stretch.columns[i].take(last.known[i].filter(mask) if i in last.known else rows) for i in wanted]
    return pa.record_batch(taken, names=[stretch.mapping.columns[i].target for i in wanted])
