"""What both decoders hand out: columns of changes as buffers that Arrow can wrap without copying.

The classes that gather them are each decoder's own: compiled, a method of a class in another module can't be inlined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Buffer = bytes | bytearray | memoryview

INSERT, UPDATE, DELETE, TRUNCATE, KEY_OLD, KEY_NEW = range(1, 7)
"""Kinds of rows, by the numbers of the change format."""


@dataclass(frozen=True)
class ColumnBuffers:
    """One column of a batch as Arrow's binary array wants it: `rows + 1` int32 offsets into `data`, bits of the valid rows.

    `validity` is None where nothing is null. `unchanged` has bits for the values that were not sent (TOAST, a minimal row image), None
    where there are none.
    """

    data: Buffer
    offsets: Buffer
    validity: Buffer | None
    nulls: int
    unchanged: Buffer | None


@dataclass(frozen=True)
class Batch:
    """Changes of one table under one announcement. `seq` and `txn` are int32, `op` uint8; `key` are indexes into the columns.

    `relation` is the announcement itself: a `pgoutput.Relation`, a `binlog_events.TableMap`."""

    relation: Any
    key: tuple[int, ...]
    rows: int
    seq: Buffer
    txn: Buffer
    op: Buffer
    columns: tuple[ColumnBuffers, ...]


@dataclass(frozen=True)
class Taken:
    """What has gathered: batches in the order in which they began, and the transactions that ended, in log order.

    `ends` are the places after their commits, `counts` their rows in here. `open_rows` rows, with a `txn` of `len(ends)`,
    belong to a transaction that has not ended yet; `open_end` and `open_commit_us` are what its begin said. A place is a log
    sequence number from `pgoutput`, and what the caller's `Places` make of it from `binlog`.
    """

    batches: tuple[Batch, ...]
    ends: list[Any]
    commit_us: list[int]
    seen_us: list[int]
    counts: list[int]
    open_rows: int
    open_end: Any
    open_commit_us: int
