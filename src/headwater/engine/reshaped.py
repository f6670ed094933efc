"""Tables that were altered without any row that tells: a word about it goes into the journal, so that no task waits for a row to find out.

The log has no word for ALTER TABLE; it shows in the next change of the table. But a column that was dropped and added again with a
default has new values in every row at once, perhaps with no change ever after. So the columns of the followed tables are compared with
those of the last look, and a difference is written down as a SHAPE change once the journal has everything that was committed before the
look: rows from before the alteration must not come behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from headwater.domain.changes import TRANSACTIONS_SCHEMA, ChangeBatch, Frame, Op, batch_schema
from headwater.domain.tables import TableName, TableSchema
from headwater.engine.followed import Note
from headwater.engine.log import Log
from headwater.ports.journal import JournalWriter
from headwater.ports.source import Source

log = Log("headwater.capture")


class Reshaped:
    """The looks of one capture. Times are microseconds of the source's clock."""

    def __init__(self, source: Source, writer: JournalWriter, note: Note) -> None:
        self._source, self._writer, self._note = source, writer, note
        self._seen_us = 0
        self._waiting: tuple[TableSchema, ...] = ()

    def look(self, tables: Sequence[TableName], now_us: int, complete_us: int | None) -> None:
        """Write down what an earlier look has found, when the journal is complete up to that look; and look again."""
        if self._waiting and complete_us is not None and complete_us > self._seen_us:
            self._write_down(complete_us)
        if not self._waiting:
            known = dict(self._note.read().shapes)
            now = {str(table): schema for table, schema in self._source.describe(tables).items()}
            self._waiting = tuple(s for name, s in sorted(now.items()) if known.get(name, mark(s)) != mark(s))
            self._seen_us = now_us
            self._keep(known | {name: mark(schema) for name, schema in now.items() if name not in known})

    def _write_down(self, complete_us: int) -> None:
        end = self._writer.end()
        row = {"position": end.position or "", "commit_us": complete_us, "seen_us": complete_us, "rows": 0}
        transactions = pa.RecordBatch.from_pylist([row], schema=TRANSACTIONS_SCHEMA)
        batches = tuple(_word(i, schema) for i, schema in enumerate(self._waiting))
        self._writer.append([Frame(transactions, batches)], end.position or "", end.source_us or complete_us)
        log.info("tables_reshaped", tables=[str(schema.table) for schema in self._waiting])
        self._keep(dict(self._note.read().shapes) | {str(schema.table): mark(schema) for schema in self._waiting})
        self._waiting = ()

    def _keep(self, shapes: dict[str, str]) -> None:
        known = self._note.read()
        if dict(known.shapes) != shapes:
            self._note.write(replace(known, shapes=tuple(sorted(shapes.items()))))


def mark(schema: TableSchema) -> str:
    """What tells a table's columns from what they were: which they are, their names and types. Keys and NULLs show in the log itself."""
    columns = [(c.number, c.name, c.type_id or c.type) for c in schema.columns]
    return hashlib.sha256(repr((schema.id, columns)).encode()).hexdigest()[:16]


def _word(seq: int, schema: TableSchema) -> ChangeBatch:
    """One SHAPE change. Its schema tells no key, so that it never joins a batch of rows."""
    bare = replace(schema, columns=tuple(replace(column, key=False) for column in schema.columns))
    fixed = [pa.array([seq], pa.int32()), pa.array([0], pa.int32()), pa.array([int(Op.SHAPE)], pa.uint8())]
    values = [pa.nulls(1, pa.binary()) for _ in bare.columns]
    return ChangeBatch(bare, pa.RecordBatch.from_arrays([*fixed, *values], schema=batch_schema(bare)))
