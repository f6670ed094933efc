"""Merging without a key: rows are found as a whole, and equal rows are counted.

A table without a key is a bag of rows. What a stretch of changes makes of it is, for each row, how many more or fewer of it there are
at the end: a row that comes counts one up, a row that goes one down, an update is one of each. What comes and goes within the stretch
is never written. The order of changes does not matter to the counts; a TRUNCATE has cut off everything before it already.

"Equal" means the same text in every mapped column. Counts are right only where each change is applied once: a mapping without key is
copied from an exact place of the log on, and copied again by a reset, so that it never meets a change twice.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.changes import Op
from headwater.domain.errors import SchemaMismatch
from headwater.domain.steps import MergeStep
from headwater.domain.stretch import Stretch

COMES = (Op.INSERT, Op.KEY_NEW)


def merge_whole(stretch: Stretch, truncate: bool) -> MergeStep:
    """The one step that a stretch comes to: `deletes` and `inserts` repeat a row as often as it goes or comes.

    Raises:
        SchemaMismatch: the log did not bring the old row of an update, or some of its values; an update meets a mapping that replicates
            updates, but not inserts.
    """
    _check(stretch)
    if not stretch.ops:
        return MergeStep(truncate=truncate)
    if stretch.ops <= {Op.INSERT}:
        return MergeStep(truncate=truncate, inserts=stretch.batch())
    codes, first = _rows(stretch)
    counts = _counts(stretch, codes)
    zero = pa.scalar(0, counts.type)
    return MergeStep(
        truncate=truncate,
        deletes=_repeated(stretch, first, pc.max_element_wise(pc.negate(counts), zero)),
        inserts=_repeated(stretch, first, pc.max_element_wise(counts, zero)),
    )


def _check(stretch: Stretch) -> None:
    if Op.UPDATE in stretch.ops or stretch.unknown:
        raise SchemaMismatch(
            f"The log did not bring all values of a changed row of {stretch.mapping.source}, which is found as a whole. Run at the source: "
            f"ALTER TABLE {stretch.mapping.source} REPLICA IDENTITY FULL; then reset the task, which copies this table again."
        )
    if Op.KEY_NEW in stretch.ops and "INSERT" not in stretch.mapping.operations:
        raise SchemaMismatch(
            f"{stretch.mapping.source} is mapped without a key, so its updates can't be told from inserts, which the task leaves out. "
            "Let the task replicate INSERT, or leave out UPDATE as well."
        )


def _rows(stretch: Stretch) -> tuple[pa.Array, pa.Array]:
    """Each change's row as a number, counted from 0 in the order of first appearance; and the change where each number first appears."""
    codes = stretch.columns[0].dictionary_encode(null_encoding="encode").indices
    for column in stretch.columns[1:]:
        right = column.dictionary_encode(null_encoding="encode")
        wide = pc.multiply(pc.cast(codes, pa.int64()), pa.scalar(max(len(right.dictionary), 1)))
        codes = pc.add(wide, pc.cast(right.indices, pa.int64())).dictionary_encode().indices
    highest = pc.cumulative_max(codes)
    before = pa.concat_arrays([pa.array([-1], codes.type), highest.slice(0, len(codes) - 1)])
    return codes, pc.indices_nonzero(pc.greater(codes, before))


def _counts(stretch: Stretch, codes: pa.Array) -> pa.Array:
    """Per number, how many more of its row there are at the end."""
    signs = pc.if_else(pc.is_in(stretch.op, pa.array([int(op) for op in COMES], pa.uint8())), pa.scalar(1), pa.scalar(-1))
    summed = pa.table([codes, signs], names=["code", "sign"]).group_by("code", use_threads=False).aggregate([("sign", "sum")])
    return summed.column("sign_sum").combine_chunks()  # groups come in the order of first appearance, as the numbers do


def _repeated(stretch: Stretch, first: pa.Array, times: pa.Array) -> pa.RecordBatch | None:
    """The rows, each as often as `times` says; None for none at all."""
    ends = pc.cast(pc.cumulative_sum(times), pa.int32())
    total = ends[-1].as_py()
    if not total:
        return None
    groups = pa.ListArray.from_arrays(pa.concat_arrays([pa.array([0], pa.int32()), ends]), pa.nulls(total))
    return stretch.batch().take(first.take(pc.list_parent_indices(groups)))
