"""Frames to bytes and back: Arrow messages without their schema (stored once), each with a checksum.

Compression was measured on rows of 8 columns and 180 bytes (64k rows per batch, one core): zstd level 1 halves the bytes at
1.0 M rows/s, lz4 saves a quarter at 1.4 M, and what lz4 saves in compression SQLite spends in writing more. Small frames
stay as they are: they are merged, and compressed then.
"""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.changes import TRANSACTIONS_SCHEMA, ChangeBatch, Frame, Op, batch_schema
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.journal.seals import damaged

COMPRESS_FROM_BYTES = 32 << 10
_TRANSACTIONS_MESSAGE_BYTES = TRANSACTIONS_SCHEMA.serialize().size


class Counts(NamedTuple):
    """What a batch did to its table. A change of a key is one update."""

    inserts: int
    updates: int
    deletes: int
    truncates: int


def encode(data: pa.RecordBatch) -> bytes:
    """One Arrow record batch message, without the schema message before it."""
    compression = pa.Codec("zstd", compression_level=1) if data.nbytes >= COMPRESS_FROM_BYTES else None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, data.schema, options=pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)) as stream:
        stream.write_batch(data)
    skip = _TRANSACTIONS_MESSAGE_BYTES if data.schema is TRANSACTIONS_SCHEMA else data.schema.serialize().size
    return bytes(memoryview(sink.getvalue())[skip:])


def decode(body: bytes, intact: bool, schema: pa.Schema, what: str) -> pa.RecordBatch:
    """The batch again; `intact` tells whether its checksum fits.

    Raises:
        JournalError: kind `journal_damaged`; `what` names the offsets.
    """
    if not intact:
        raise damaged(f"{what} does not match its checksum")
    try:
        return pa.ipc.read_record_batch(pa.py_buffer(body), schema)
    except (pa.ArrowException, OSError) as error:
        raise damaged(f"{what} can't be decoded") from error


def count(batch: ChangeBatch) -> Counts:
    """Changes by kind."""
    found = {entry["values"].as_py(): entry["counts"].as_py() for entry in pc.value_counts(batch.data.column(2))}
    updates = found.get(Op.UPDATE, 0) + found.get(Op.KEY_NEW, 0)
    return Counts(found.get(Op.INSERT, 0), updates, found.get(Op.DELETE, 0), found.get(Op.TRUNCATE, 0))


def schema_to_text(schema: TableSchema) -> str:
    """A table schema as JSON."""
    called = schema.called and astuple(schema.called)
    return json.dumps([*astuple(schema.table), [astuple(c) for c in schema.columns], schema.id, called], ensure_ascii=False)


def schema_from_text(text: str) -> TableSchema:
    """The schema again."""
    schema, name, columns, *rest = json.loads(text)  # journals of earlier versions know no ids, and columns without numbers
    id_, called = rest or ("", None)
    return TableSchema(TableName(schema, name), tuple(Column(*c) for c in columns), id_, TableName(*called) if called else None)


class Schemas:
    """Arrow schemas by stored schema id and unchanged marks, made once each."""

    def __init__(self) -> None:
        self.tables: dict[int, TableSchema] = {}
        self._arrow: dict[tuple[int, str], pa.Schema] = {}

    def arrow(self, schema_id: int, unchanged: str) -> pa.Schema:
        """The Arrow schema of a batch; the table schema must be in `tables`."""
        key = (schema_id, unchanged)
        if key not in self._arrow:
            marks = tuple(int(i) for i in unchanged.split(",")) if unchanged else ()
            self._arrow[key] = batch_schema(self.tables[schema_id], marks)
        return self._arrow[key]


def cut(frame: Frame, skip: int) -> Frame:
    """The frame without its first `skip` transactions."""
    batches = []
    for batch in frame.batches:
        at = pc.sum(pc.less(batch.data.column(1), pa.scalar(skip, pa.int32()))).as_py()
        if at == batch.data.num_rows:
            continue
        rest = batch.data.slice(at)
        moved = pc.subtract(rest.column(1), pa.scalar(skip, pa.int32()))
        columns = [rest.column(0), moved, *rest.columns[2:]]
        batches.append(ChangeBatch(batch.schema, pa.RecordBatch.from_arrays(columns, schema=rest.schema)))
    return Frame(frame.transactions.slice(skip), tuple(batches), frame.part, frame.last)


def merge(frames: list[Frame]) -> Frame:
    """One frame with the same history as several adjacent whole ones."""
    groups: dict[TableName, list[tuple[TableSchema, list[pa.RecordBatch]]]] = {}
    transactions = sequence = 0
    for frame in frames:
        highest = -1
        for batch in frame.batches:
            moved = _moved(batch.data, sequence, transactions)
            versions = groups.setdefault(batch.schema.table, [])
            if not versions or versions[-1][0] != batch.schema:
                versions.append((batch.schema, []))
            versions[-1][1].append(moved)
            highest = max(highest, moved.column(0)[-1].as_py() if moved.num_rows else -1)
        sequence = max(sequence, highest + 1)
        transactions += frame.transactions.num_rows
    batches = [ChangeBatch(schema, _joined(schema, parts)) for versions in groups.values() for schema, parts in versions]
    return Frame(pa.concat_batches([f.transactions for f in frames]), tuple(batches))


def _moved(data: pa.RecordBatch, sequence: int, transactions: int) -> pa.RecordBatch:
    place = pc.add(data.column(0), pa.scalar(sequence, pa.int32()))
    txn = pc.add(data.column(1), pa.scalar(transactions, pa.int32()))
    return pa.RecordBatch.from_arrays([place, txn, *data.columns[2:]], schema=data.schema)


def _joined(schema: TableSchema, parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches of one schema as one; a batch without an unchanged mark that another has gets one that is all false."""
    marks = sorted({int(f.name[1:]) for p in parts for f in list(p.schema)[3 + len(schema.columns) :]})
    wanted = batch_schema(schema, tuple(marks))
    return pa.concat_batches([_widened(p, wanted) for p in parts])


def _widened(data: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    if data.schema.names == wanted.names:
        return data.cast(wanted) if data.schema != wanted else data
    have: dict[str, Any] = {name: data.column(at) for at, name in enumerate(data.schema.names) if name.startswith("~")}
    plain = data.num_columns - len(have)
    absent = pa.array([False] * data.num_rows, pa.bool_())
    columns = [*data.columns[:plain], *(have.get(name, absent) for name in wanted.names[plain:])]
    return pa.RecordBatch.from_arrays(columns, schema=wanted)
