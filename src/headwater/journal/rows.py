"""Frames as rows: writing them, finding them, and loading them back, for the writer, the readers and consolidation alike.

Functions here run inside a transaction that the caller has opened, and let SQLite's errors through.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apsw
import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.changes import TRANSACTIONS_SCHEMA, ChangeBatch, Frame
from headwater.domain.tables import TableSchema
from headwater.journal.codec import Counts, Schemas, count, decode, encode, schema_from_text, schema_to_text
from headwater.journal.seals import damaged, seal


class FrameRow(NamedTuple):
    """The index row of one frame, without its blobs. Meanings: see `layout.SCHEMA`."""

    id: int
    first_offset: int
    transactions: int
    part: int
    last: bool
    level: int
    rows: int
    blob_bytes: int
    position: str
    stamp_max: int
    stamp_reach: int
    seen_reach: int
    first_batch: int
    batches: int
    crc: int

    @property
    def next_offset(self) -> int:
        """The offset after it; its own for an unfinished part."""
        return self.first_offset + (self.transactions if self.last else 0)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"the frame of offsets {self.first_offset} to {self.first_offset + self.transactions - 1}"

    def seal(self, body: bytes) -> int:
        """The checksum that belongs to these values and this blob of transactions."""
        numbers = (self.first_offset, self.transactions, self.part, self.last, self.rows, self.stamp_max, self.stamp_reach, self.batches)
        return seal(body, *numbers)


COLUMNS = ", ".join(FrameRow._fields)
_INSERT_FRAME = f"INSERT INTO frames ({COLUMNS}, body) VALUES ({', '.join('?' * (len(FrameRow._fields) + 1))})"  # noqa: S608 our own names
_INSERT_BATCH = "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class EncodedBatch:
    """One table batch, ready to be written."""

    schema: TableSchema
    rows: int
    counts: Counts
    unchanged: str
    body: bytes


@dataclass(frozen=True)
class EncodedFrame:
    """One frame, ready to be written: everything but its place."""

    transactions: int
    part: int
    last: bool
    rows: int
    blob_bytes: int
    position: str
    stamp_max: int
    seen_max: int
    body: bytes
    batches: tuple[EncodedBatch, ...]


def encode_frame(frame: Frame) -> EncodedFrame:
    """Everything that can be done about a frame before the transaction begins."""
    transactions = frame.transactions
    batches = tuple(
        EncodedBatch(b.schema, b.data.num_rows, count(b), ",".join(str(i) for i in b.unchanged), encode(b.data)) for b in frame.batches
    )
    body = encode(transactions)
    return EncodedFrame(
        transactions.num_rows,
        frame.part,
        frame.last,
        sum(b.rows for b in batches),
        len(body) + sum(len(b.body) for b in batches),
        transactions.column(0)[-1].as_py(),
        pc.max(transactions.column(1)).as_py(),
        pc.max(transactions.column(2)).as_py(),
        body,
        batches,
    )


class RowWriter:
    """Writes frames at the end of the tables and hands out the ids; `reload` after a rollback."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._schema_ids: dict[TableSchema, int] = {}
        self._next_frame = self._next_batch = 1
        self.reload()

    def reload(self) -> None:
        """Forget what was handed out and read it from the tables again."""
        self._next_frame = 1 + (self.connection.execute("SELECT max(id) FROM frames").get or 0)
        self._next_batch = 1 + (self.connection.execute("SELECT max(id) FROM batches").get or 0)
        self._schema_ids = {schema: id_ for id_, schema in stored_schemas(self.connection)}

    def insert(
        self, encoded: EncodedFrame, first_offset: int, reach: tuple[int, int], level: int = 0, frame_id: int | None = None
    ) -> FrameRow:
        """Write a frame at its place; `reach` is the running maximum of stamps and of seen_us up to its end."""
        first_batch = self._insert_batches(encoded.batches, first_offset)
        row = FrameRow(
            self._take_frame_id() if frame_id is None else frame_id,
            first_offset,
            encoded.transactions,
            encoded.part,
            encoded.last,
            level,
            encoded.rows,
            encoded.blob_bytes,
            encoded.position,
            encoded.stamp_max,
            *reach,
            first_batch,
            len(encoded.batches),
            0,
        )
        row = row._replace(crc=row.seal(encoded.body))
        self.connection.execute(_INSERT_FRAME, (*row, encoded.body))
        return row

    def _insert_batches(self, batches: tuple[EncodedBatch, ...], first_offset: int) -> int:
        first = self._next_batch
        for batch in batches:
            schema_id = self._schema_id(batch.schema, first_offset)
            crc = _seal_batch(batch.body, schema_id, batch.rows, batch.unchanged)
            row = (self._next_batch, schema_id, batch.rows, *batch.counts, batch.unchanged, crc, batch.body)
            self.connection.execute(_INSERT_BATCH, row)
            self._next_batch += 1
        return first

    def _take_frame_id(self) -> int:
        self._next_frame += 1
        return self._next_frame - 1

    def _schema_id(self, schema: TableSchema, first_offset: int) -> int:
        found = self._schema_ids.get(schema)
        if found is None:
            text = schema_to_text(schema)
            values = (first_offset, str(schema.table), text, seal(text.encode()))
            self.connection.execute("INSERT INTO schemas (first_offset, table_name, body, crc) VALUES (?, ?, ?, ?)", values)
            found = self._schema_ids[schema] = self.connection.last_insert_rowid()
        return found

    def delete(self, row: FrameRow) -> None:
        """Remove a frame with its batches."""
        self.connection.execute("DELETE FROM batches WHERE id >= ? AND id < ?", (row.first_batch, row.first_batch + row.batches))
        self.connection.execute("DELETE FROM frames WHERE id = ?", (row.id,))


@dataclass(frozen=True)
class StoredBatch:
    """One table batch as it lies on disk."""

    schema_id: int
    unchanged: str
    intact: bool
    body: bytes


@dataclass(frozen=True)
class StoredFrame:
    """A frame as it lies on disk, so that reading and decoding can happen apart."""

    row: FrameRow
    body: bytes
    batches: tuple[StoredBatch, ...]

    def transactions(self) -> pa.RecordBatch:
        """Its transactions. Raises JournalError where they are damaged."""
        return decode(self.body, self.row.seal(self.body) == self.row.crc, TRANSACTIONS_SCHEMA, self.row.name)

    def frame(self, schemas: Schemas) -> Frame:
        """The frame. Raises JournalError where a blob is damaged."""
        batches = tuple(
            ChangeBatch(schemas.tables[b.schema_id], decode(b.body, b.intact, schemas.arrow(b.schema_id, b.unchanged), self.row.name))
            for b in self.batches
        )
        return Frame(self.transactions(), batches, self.row.part, self.row.last)


class RowReader:
    """Finds and loads frames."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._tables: dict[int, str] = {}
        self.schemas = Schemas()

    def rows(self, where: str, values: tuple[int, ...]) -> Iterator[FrameRow]:
        """Index rows alone; `where` is the rest of a statement of ours."""
        for columns in self._connection.execute(f"SELECT {COLUMNS} FROM frames {where}", values):  # noqa: S608 our own texts
            yield _row(columns)

    def find(self, where: str, values: tuple[int, ...]) -> Iterator[tuple[FrameRow, bytes]]:
        """The same with the blob of transactions, checked."""
        for *columns, body in self._connection.execute(f"SELECT {COLUMNS}, body FROM frames {where}", values):  # noqa: S608 our own texts
            row = _row(columns)
            if row.seal(body) != row.crc:
                raise damaged(f"{row.name} does not match its checksum")
            yield row, body

    def load(self, row: FrameRow, body: bytes, tables: frozenset[str] | None) -> StoredFrame:
        """The frame with the batches of the wanted tables."""
        wanted, values = "", (row.first_batch, row.first_batch + row.batches)
        ids: tuple[str, ...] = ()
        if tables is not None:
            wanted = "AND schema IN (SELECT value FROM json_each(?))"
            ids = (json.dumps([i for i, name in self._known().items() if name in tables]),)
        statement = f"SELECT schema, rows, unchanged, crc, body FROM batches WHERE id >= ? AND id < ? {wanted} ORDER BY id"  # noqa: S608
        batches = []
        for schema_id, rows, unchanged, crc, blob in self._connection.execute(statement, (*values, *ids)):
            self._learn(schema_id)
            batches.append(StoredBatch(schema_id, unchanged, _seal_batch(blob, schema_id, rows, unchanged) == crc, blob))
        return StoredFrame(row, body, tuple(batches))

    def _known(self) -> dict[int, str]:
        newest = self._connection.execute("SELECT max(id) FROM schemas").get or 0
        if newest not in self._tables:
            self._learn(newest)
        return self._tables

    def _learn(self, schema_id: int) -> None:
        if schema_id in self.schemas.tables:
            return
        for id_, schema in stored_schemas(self._connection):
            self._tables[id_] = str(schema.table)
            self.schemas.tables.setdefault(id_, schema)
        if schema_id and schema_id not in self.schemas.tables:
            raise damaged(f"table schema {schema_id} is missing")


def stored_schemas(connection: apsw.Connection) -> Iterator[tuple[int, TableSchema]]:
    """All table schemas by id. Raises JournalError where one is damaged."""
    for id_, text, crc in connection.execute("SELECT id, body, crc FROM schemas ORDER BY id"):
        if not isinstance(text, str) or seal(text.encode()) != crc:
            raise damaged(f"table schema {id_} does not match its checksum")
        yield id_, schema_from_text(text)


def _row(columns: Sequence[Any]) -> FrameRow:
    row = FrameRow(*columns)
    if not all(isinstance(value, int) for value in columns[:8]) or not all(isinstance(value, int) for value in columns[9:]):
        raise damaged(f"index row {row.id} holds what is no number")
    return row


def _seal_batch(body: bytes, schema_id: int, rows: int, unchanged: str) -> int:
    return seal(body, schema_id, rows, zlib.crc32(str(unchanged).encode()))
