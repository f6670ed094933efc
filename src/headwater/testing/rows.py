"""Rows as the fakes hold them, and the two forms in which they travel: change frames and text rows.

Written independently of the engine and the adapters, so that the model tests compare two opinions and not one with itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from headwater.domain.changes import FIXED_COLUMNS, TRANSACTIONS_SCHEMA, ChangeBatch, Frame, Op, batch_schema
from headwater.domain.tables import TableName, TableSchema

Row = dict[str, bytes | None]
Key = tuple[bytes | None, ...]


@dataclass(frozen=True)
class Change:
    """One change: `values` by column (for DELETE and KEY_OLD the key only, if there is one), `unchanged` columns that are not sent."""

    schema: TableSchema
    op: Op
    values: Mapping[str, bytes | None]
    unchanged: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Transaction:
    """One committed transaction. `position` is the place right after it."""

    position: str
    commit_us: int
    changes: tuple[Change, ...]


def frame(transactions: Sequence[Transaction], seen_us: int, part: int = 0, last: bool = True) -> Frame:
    """The frame that holds these transactions (or one part of one)."""
    header = pa.RecordBatch.from_pylist(
        [{"position": t.position, "commit_us": t.commit_us, "seen_us": seen_us, "rows": len(t.changes)} for t in transactions],
        schema=TRANSACTIONS_SCHEMA,
    )
    numbered = [(i, change) for i, t in enumerate(transactions) for change in t.changes]
    grouped: dict[TableName, list[tuple[TableSchema, list[tuple[int, int, Change]]]]] = {}
    for seq, (txn, change) in enumerate(numbered):
        versions = grouped.setdefault(change.schema.table, [])
        if not versions or versions[-1][0] != change.schema:  # also where the table is again what it was
            versions.append((change.schema, []))
        versions[-1][1].append((seq, txn, change))
    return Frame(header, tuple(_batch(schema, rows) for versions in grouped.values() for schema, rows in versions), part, last)


def _batch(schema: TableSchema, rows: Sequence[tuple[int, int, Change]]) -> ChangeBatch:
    unchanged = tuple(i for i, c in enumerate(schema.columns) if any(c.name in change.unchanged for _, _, change in rows))
    columns: list[pa.Array] = [
        pa.array([seq for seq, _, _ in rows], pa.int32()),
        pa.array([txn for _, txn, _ in rows], pa.int32()),
        pa.array([int(change.op) for _, _, change in rows], pa.uint8()),
    ]
    columns += [pa.array([change.values.get(c.name) for _, _, change in rows], pa.binary()) for c in schema.columns]
    columns += [pa.array([schema.columns[i].name in change.unchanged for _, _, change in rows], pa.bool_()) for i in unchanged]
    return ChangeBatch(schema, pa.RecordBatch.from_arrays(columns, schema=batch_schema(schema, unchanged)))


def cut(whole: Frame, skip: int) -> Frame:
    """The frame without its first `skip` transactions."""
    if skip == 0:
        return whole
    batches = tuple(b for b in (_cut_batch(b, skip) for b in whole.batches) if b.data.num_rows)
    return Frame(whole.transactions.slice(skip), batches, whole.part, whole.last)


def _cut_batch(batch: ChangeBatch, skip: int) -> ChangeBatch:
    txns = batch.data.column(1).to_pylist()
    first = next((i for i, txn in enumerate(txns) if txn >= skip), len(txns))
    kept = batch.data.slice(first)
    columns = [kept.column(i) for i in range(kept.num_columns)]
    columns[1] = pa.array([txn - skip for txn in txns[first:]], pa.int32())
    return ChangeBatch(batch.schema, pa.RecordBatch.from_arrays(columns, schema=kept.schema))


def only_tables(whole: Frame, tables: frozenset[str] | None) -> Frame:
    """The frame with the batches of these tables only; its transactions stay."""
    if tables is None:
        return whole
    return Frame(whole.transactions, tuple(b for b in whole.batches if str(b.schema.table) in tables), whole.part, whole.last)


def frame_bytes(whole: Frame) -> int:
    """About how large the frame is."""
    return int(whole.transactions.nbytes + sum(b.data.nbytes for b in whole.batches))


def replay(state: dict[TableName, dict[Key, Row]], whole: Frame) -> None:
    """Apply a frame, change by change, to tables by key (without one, by an invented number): the plain meaning of a history."""
    changes = [(batch, i) for batch in whole.batches for i in range(batch.data.num_rows)]
    old: Row = {}
    for batch, i in sorted(changes, key=lambda c: c[0].data.column(0)[c[1]].as_py()):
        old = _replay_change(state.setdefault(batch.schema.table, {}), batch, i, old)


def _replay_change(table: dict[Key, Row], batch: ChangeBatch, i: int, old: Row) -> Row:
    op = Op(batch.data.column(2)[i].as_py())
    if op is Op.TRUNCATE:
        table.clear()
        return {}
    row: Row = {c.name: batch.data.column(FIXED_COLUMNS + at)[i].as_py() for at, c in enumerate(batch.schema.columns)}
    key = tuple(row[name] for name in batch.schema.key)
    if not key:
        equal = [k for k, held in table.items() if held == row]
        key = equal[0] if op in (Op.DELETE, Op.KEY_OLD) else (str(max((int(k[0] or 0) for k in table), default=0) + 1).encode(),)
    if op in (Op.DELETE, Op.KEY_OLD):
        return table.pop(key, {})
    before = old if op is Op.KEY_NEW else table.get(key, {})
    for at, marks in batch.unchanged.items():
        if marks[i].as_py():
            row[batch.schema.columns[at].name] = before.get(batch.schema.columns[at].name)
    table[key] = row
    return {}


_ESCAPES = {b"\\": b"\\\\", b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r", b"\b": b"\\b", b"\f": b"\\f", b"\v": b"\\v"}
_UNESCAPES = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def text_row(values: Iterable[bytes | None]) -> bytes:
    """One row in the text form that copies use: tab between, newline after, `\\N` for null."""
    return b"\t".join(b"\\N" if v is None else _escape(v) for v in values) + b"\n"


def _escape(value: bytes) -> bytes:
    return b"".join(_ESCAPES.get(value[i : i + 1], value[i : i + 1]) for i in range(len(value)))


def parse_text_rows(blocks: Iterable[bytes]) -> Iterator[tuple[bytes | None, ...]]:
    """The rows of blocks of whole text rows."""
    for block in blocks:
        for line in block.split(b"\n")[:-1]:
            yield tuple(None if field == b"\\N" else _unescape(field) for field in line.split(b"\t"))


def _unescape(field: bytes) -> bytes:
    out = bytearray()
    i = 0
    while i < len(field):
        if field[i : i + 1] == b"\\":
            i += 1
            out += _UNESCAPES.get(field[i : i + 1], field[i : i + 1])
        else:
            out += field[i : i + 1]
        i += 1
    return bytes(out)


def order(values: Iterable[bytes | str | None]) -> tuple[tuple[int, int, str], ...]:
    """Sort key for key values in text form: numbers by value, before all other text."""
    texts = [v.decode() if isinstance(v, bytes) else (v or "") for v in values]
    return tuple((0, int(t), "") if t.lstrip("-").isdigit() else (1, 0, t) for t in texts)


def sorted_rows(schema: TableSchema, rows: Mapping[Key, Row]) -> list[Row]:
    """A table's rows by key; without a key, by their values."""
    by_value = sorted(rows.values(), key=lambda row: [(value is not None, value or b"") for value in row.values()])
    return [dict(row) for row in (by_value if not schema.key else [rows[key] for key in sorted(rows, key=order)])]
