"""The columnar form of history: changes by table, transactions, and the frames that hold both.

This is the one format that every part of the data plane shares, from the decoder's output to the bulk writer's
input, and what the journal stores.

A `ChangeBatch` holds the changes of one table under one schema as an Arrow record batch with these columns:

====  ==========  ========  ===========================================================================
 at   name        type      meaning
====  ==========  ========  ===========================================================================
 0    `_seq`      int32     place of the change among all changes of its frame; strictly rising
 1    `_txn`      int32     index of its transaction in the frame's `transactions`; never falling
 2    `_op`       uint8     an `Op`
 3+i  column name binary    value of the schema's column *i* in the source's text form; null is SQL NULL
 then `~i`        bool      only where some row needs it: true where column *i* was not sent because it did
                            not change (TOAST). Its value slot is null then and must not be read (trap 3)
====  ==========  ========  ===========================================================================

Op by op:

* INSERT, UPDATE: every column is a value or marked unchanged (UPDATE only). The key did not change.
* DELETE: only key columns carry values, the rest is null.
* KEY_OLD, KEY_NEW: an update that changed the key is two neighbouring rows of one batch (`_seq` n and n+1):
  the old key (like DELETE), then the new row (like UPDATE, so columns may be marked unchanged: their values
  are those of the old row).
* A table without a key (`TableSchema.key` is empty) finds rows as a whole: DELETE and KEY_OLD carry every value of the old row, and each
  update is the pair KEY_OLD, KEY_NEW, in which nothing is marked unchanged. (An UPDATE there is one whose old row was not sent.)
* TRUNCATE: all values null. Everything in the table before it is gone.
* SHAPE: all values null. No row changed; the batch's schema tells what the table has become by here, where no row told it before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import pyarrow as pa

from headwater.domain.tables import TableSchema

FIXED_COLUMNS = 3


class Op(IntEnum):
    """What a change does to its row."""

    INSERT = 1
    UPDATE = 2
    DELETE = 3
    TRUNCATE = 4
    KEY_OLD = 5
    KEY_NEW = 6
    SHAPE = 7


TRANSACTIONS_SCHEMA = pa.schema(
    [
        pa.field("position", pa.string(), nullable=False),  # the source's own word for the place after its commit
        pa.field("commit_us", pa.int64(), nullable=False),  # the source's stamp, microseconds since 1970, UTC
        pa.field("seen_us", pa.int64(), nullable=False),  # source clock when capture saw it, same unit
        pa.field("rows", pa.int64(), nullable=False),  # changes it made in captured tables (in this frame)
    ]
)


def batch_schema(table: TableSchema, unchanged: tuple[int, ...] = ()) -> pa.Schema:
    """Arrow schema of a change batch; `unchanged` lists the columns that need a `~i` mark."""
    fields = [
        pa.field("_seq", pa.int32(), nullable=False),
        pa.field("_txn", pa.int32(), nullable=False),
        pa.field("_op", pa.uint8(), nullable=False),
    ]
    fields += [pa.field(c.name, pa.binary()) for c in table.columns]
    fields += [pa.field(f"~{i}", pa.bool_(), nullable=False) for i in unchanged]
    return pa.schema(fields)


@dataclass(frozen=True)
class ChangeBatch:
    """Changes of one table under one schema, in log order. Layout: see the module's docstring."""

    schema: TableSchema
    data: pa.RecordBatch

    @property
    def unchanged(self) -> dict[int, pa.Array]:
        """Column index -> bool array, for the columns that have an unchanged mark in this batch."""
        first = FIXED_COLUMNS + len(self.schema.columns)
        return {int(self.data.schema.field(at).name[1:]): self.data.column(at) for at in range(first, self.data.num_columns)}

    @property
    def reshapes(self) -> bool:
        """True where it brings no rows, but the word that the table has this schema now; such a word stands in a batch of its own."""
        return bool(self.data.num_rows) and bool(self.data.column(2)[0].as_py() == Op.SHAPE)

    def value(self, column: int) -> pa.Array:
        """The values of the schema's column `column`."""
        return self.data.column(FIXED_COLUMNS + column)


@dataclass(frozen=True)
class Frame:
    """A piece of history: either one or more whole transactions, or one part of one large transaction.

    `transactions` has one row per transaction (schema `TRANSACTIONS_SCHEMA`). A part holds exactly one
    transaction, of which `rows` counts this part only; the parts of a transaction follow one another with
    nothing between and only the last one has `last=True`. Readers never see a transaction whose last part is missing.
    Several batches of one table may stand in a frame where its schema changed between them, one behind the other in log order.
    """

    transactions: pa.RecordBatch
    batches: tuple[ChangeBatch, ...]
    part: int = 0  # 0-based number of this part within its transaction; 0 for whole transactions
    last: bool = True  # false while further parts of the same transaction follow

    @property
    def whole(self) -> bool:
        """True where this frame alone holds all of its transactions."""
        return self.part == 0 and self.last
