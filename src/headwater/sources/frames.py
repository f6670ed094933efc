"""From the decoder's buffers to frames: Arrow wraps them without copying, and cuts where a large transaction begins.

A frame is either a group of whole transactions or one part of one large transaction. The decoder is emptied when a group is large
enough or the stream pauses, or when the open transaction alone has reached the limits; only then does a part come about.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from headwater.domain.changes import TRANSACTIONS_SCHEMA, ChangeBatch, Frame, Op, batch_schema
from headwater.domain.tables import TableSchema
from headwater.wire.columns import Batch, Buffer, ColumnBuffers, Taken


class Framer:
    """Makes frames of what a decoder gathered, in order. Whoever answers the decoder's announcements tells it each schema.

    `text` words a place of the decoder's, `name` tells the table of an announcement, the same for all announcements of it."""

    def __init__(self, text: Callable[[Any], str], name: Callable[[Any], object]) -> None:
        self._text = text
        self._name = name
        self._schemas: dict[int, tuple[Any, TableSchema]] = {}  # by identity: equal announcements may mean different columns
        self._part = 0
        self._arrow: dict[tuple[Any, tuple[int, ...]], pa.Schema] = {}

    @property
    def parting(self) -> bool:
        """True while a transaction is being given in parts: its end must then be taken by itself."""
        return self._part > 0

    def announced(self, relation: Any, schema: TableSchema) -> None:
        """From here on this announcement holds for its table."""
        self._schemas[id(relation)] = relation, schema

    def _forget(self) -> None:
        """Let go of announcements that later ones have replaced; nothing that was gathered under them is left."""
        newest = {self._name(relation): key for key, (relation, _) in self._schemas.items()}
        self._schemas = {key: self._schemas[key] for key in newest.values()}

    def frames(self, taken: Taken, seen_us: int) -> tuple[Frame, ...]:
        """The frames of one take; none where nothing has gathered. `seen_us` is the source clock, for an unfinished transaction."""
        batches = [(batch, self._wrap(batch)) for batch in taken.batches]
        self._forget()
        if self._part:
            return (self._next_part(taken, tuple(b for _, b in batches), seen_us),)
        made = []
        whole = len(taken.ends)
        if whole:
            rows = taken.counts
            made.append(Frame(self._transactions(taken.ends, taken.commit_us, taken.seen_us, rows), _before(batches, whole)))
        if taken.open_rows:
            made.append(self._next_part(taken, _behind(batches, whole), seen_us, open_only=True))
        return tuple(made)

    def apart(self, taken: Taken) -> tuple[tuple[Frame, ...], tuple[ChangeBatch, ...]]:
        """The frame of what has ended, and the rows of the open transaction, which is given in no part yet, by themselves."""
        batches = [(batch, self._wrap(batch)) for batch in taken.batches]
        self._forget()
        whole = len(taken.ends)
        ended = (
            Frame(self._transactions(taken.ends, taken.commit_us, taken.seen_us, taken.counts), _before(batches, whole)) if whole else None
        )
        return (ended,) if ended else (), _behind(batches, whole)

    def _next_part(self, taken: Taken, batches: tuple[ChangeBatch, ...], seen_us: int, open_only: bool = False) -> Frame:
        part, ended = self._part, bool(taken.ends) and not open_only
        if ended:
            assert len(taken.ends) == 1, "the end of a transaction given in parts is taken by itself"
            self._part = 0
            return Frame(self._transactions(taken.ends, taken.commit_us, taken.seen_us, taken.counts), batches, part, True)
        self._part += 1
        unfinished = self._transactions([taken.open_end], [taken.open_commit_us], [seen_us], [taken.open_rows])
        return Frame(unfinished, batches, part, False)

    def _transactions(self, ends: Sequence[Any], commit_us: Sequence[int], seen_us: Sequence[int], rows: Sequence[int]) -> pa.RecordBatch:
        texts = [self._text(end) for end in ends]
        return pa.RecordBatch.from_pydict(
            {"position": texts, "commit_us": commit_us, "seen_us": seen_us, "rows": rows}, schema=TRANSACTIONS_SCHEMA
        )

    def _wrap(self, batch: Batch) -> ChangeBatch:
        (_, table), rows = self._schemas[id(batch.relation)], batch.rows
        unchanged = tuple(i for i, column in enumerate(batch.columns) if column.unchanged is not None)
        arrays = [_fixed(pa.int32(), rows, batch.seq), _fixed(pa.int32(), rows, batch.txn), _fixed(pa.uint8(), rows, batch.op)]
        arrays += [_binary(column, rows) for column in batch.columns]
        arrays += [_fixed(pa.bool_(), rows, batch.columns[i].unchanged or b"") for i in unchanged]
        return ChangeBatch(table, pa.RecordBatch.from_arrays(arrays, schema=self._schema(batch.relation, table, unchanged)))

    def _schema(self, relation: Any, table: TableSchema, unchanged: tuple[int, ...]) -> pa.Schema:
        found = self._arrow.get((relation, unchanged))
        if found is None:
            found = self._arrow[relation, unchanged] = batch_schema(table, unchanged)
        return found


def told(op: Op, table: TableSchema, position: str, commit_us: int, seen_us: int) -> Frame:
    """A transaction that is no row but a word on a table: TRUNCATE, or SHAPE, whose schema tells no key, so that it never joins rows."""
    if op == Op.SHAPE:
        table = replace(table, columns=tuple(replace(column, key=False) for column in table.columns))
    transactions = {"position": [position], "commit_us": [commit_us], "seen_us": [seen_us], "rows": [1]}
    values: list[pa.Array] = [pa.array([0], pa.int32()), pa.array([0], pa.int32()), pa.array([int(op)], pa.uint8())]
    values += [pa.nulls(1, pa.binary()) for _ in table.columns]
    batch = ChangeBatch(table, pa.RecordBatch.from_arrays(values, schema=batch_schema(table)))
    return Frame(pa.RecordBatch.from_pydict(transactions, schema=TRANSACTIONS_SCHEMA), (batch,))


def _fixed(kind: pa.DataType, rows: int, values: Buffer) -> pa.Array:
    return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(values)], null_count=0)


def _binary(column: ColumnBuffers, rows: int) -> pa.Array:
    validity = None if column.validity is None else pa.py_buffer(column.validity)
    return pa.Array.from_buffers(pa.binary(), rows, [validity, pa.py_buffer(column.offsets), pa.py_buffer(column.data)], column.nulls)


def _cut(batch: Batch, txn: int) -> int:
    """Number of the batch's first row of transaction `txn` or a later one."""
    return bisect_left(memoryview(batch.txn).cast("B").cast("i"), txn)


def _before(batches: Sequence[tuple[Batch, ChangeBatch]], txn: int) -> tuple[ChangeBatch, ...]:
    """The rows of transactions before `txn`."""
    cuts = ((_cut(raw, txn), raw.rows, batch) for raw, batch in batches)
    return tuple(batch if cut == rows else ChangeBatch(batch.schema, batch.data.slice(0, cut)) for cut, rows, batch in cuts if cut)


def _behind(batches: Sequence[tuple[Batch, ChangeBatch]], txn: int) -> tuple[ChangeBatch, ...]:
    """The rows of the unfinished transaction `txn`, which becomes the only one of its frame."""
    made = []
    for raw, batch in batches:
        cut = _cut(raw, txn)
        if cut == raw.rows:
            continue
        rest = batch.data.slice(cut)
        if txn:
            rest = rest.set_column(1, rest.schema.field(1), _zeros(rest.num_rows))
        made.append(ChangeBatch(batch.schema, rest))
    return tuple(made)


def _zeros(rows: int) -> pa.Array:
    return _fixed(pa.int32(), rows, bytes(4 * rows))
