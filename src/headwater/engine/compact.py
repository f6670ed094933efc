"""Compaction: a long stretch of changes as an equivalent short one, so that a replay merges more history than fits into memory.

In a replay only the last version per key counts. So when a batch is full of changes, they are merged once for the table as a whole and
written down again as changes: what stands at the end as inserts (which a replay writes as insert-or-update), what is gone as deletes,
rows of which some values are not known as updates with unchanged marks. Over few keys that makes room for many more changes, which
are then merged again. Key changes that need values of the old row don't compact; the batch is written as it is then.

Of a table without a key it says what comes and what goes, as whole rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from headwater.domain.changes import ChangeBatch, Op, batch_schema
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.merge import merge
from headwater.domain.steps import MergeStep
from headwater.domain.tables import TableSchema

EVERYTHING = frozenset({"INSERT", "UPDATE", "DELETE"})


def compact(changes: Sequence[ChangeBatch], columns: frozenset[str]) -> list[ChangeBatch] | None:
    """Changes of one table, in log order, that do in a replay what `changes` do; None where that can't be said shorter.

    Columns other than `columns` and the key are left out. Changes from before and after a change of the table's schema stay apart: which
    columns are the same is for each mapping to say."""
    newest = changes[-1].schema
    if any(change.schema != newest for change in changes):
        return None
    schema = TableSchema(newest.table, tuple(c for c in newest.columns if c.name in columns or c.key))
    pairs = tuple(ColumnPair(c.name, c.name, c.key) for c in schema.columns)
    merged = merge(TableMapping("", schema.table, schema.table, pairs, EVERYTHING), changes, exact=False)
    if len(merged.steps) > 1 or any(step.moves for step in merged.steps):
        return None
    return [batch for step in merged.steps for batch in _changes(step, schema)]


def _changes(step: MergeStep, schema: TableSchema) -> list[ChangeBatch]:
    made = []
    if step.truncate:
        made.append(_batch(schema, Op.TRUNCATE, None, 1))
    for op, rows in ((Op.DELETE, step.deletes), (Op.INSERT, step.inserts), (Op.INSERT, step.upserts)):
        if rows is not None:
            made.append(_batch(schema, op, rows, rows.num_rows))
    return made + [_batch(schema, Op.UPDATE, rows, rows.num_rows) for rows in step.partials]


def _batch(schema: TableSchema, op: Op, rows: pa.RecordBatch | None, count: int) -> ChangeBatch:
    """Rows as changes; of an update, the columns that are missing are marked as unchanged."""
    known = set() if rows is None else set(rows.schema.names)
    unchanged = tuple(i for i, c in enumerate(schema.columns) if c.name not in known) if op is Op.UPDATE else ()
    fixed = [
        pa.array(range(count), pa.int32()),
        pa.repeat(pa.scalar(0, pa.int32()), count),
        pa.repeat(pa.scalar(int(op), pa.uint8()), count),
    ]
    values = [rows.column(c.name) if rows is not None and c.name in known else pa.nulls(count, pa.binary()) for c in schema.columns]
    marks = [pa.repeat(pa.scalar(True), count)] * len(unchanged)
    return ChangeBatch(schema, pa.record_batch([*fixed, *values, *marks], schema=batch_schema(schema, unchanged)))
