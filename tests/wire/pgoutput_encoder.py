"""The other direction of the protocol: messages as a server would send them. Shared by the tests of the decoder and of the frames."""

from __future__ import annotations

import struct
from collections.abc import Sequence

EPOCH_US = 946_684_800_000_000

Value = bytes | str | None
"""A value in text form, None for null, or `UNCHANGED`."""

UNCHANGED = "unchanged"


def xlog(message: bytes, lsn: int = 0, clock_us: int = EPOCH_US) -> bytes:
    """A change message as CopyData carries it."""
    return struct.pack("!cQQq", b"w", lsn, lsn, clock_us - EPOCH_US) + message


def keepalive(end: int, clock_us: int = EPOCH_US, urgent: bool = False) -> bytes:
    """A primary keepalive."""
    return struct.pack("!cQqB", b"k", end, clock_us - EPOCH_US, urgent)


def begin(lsn: int, commit_us: int = EPOCH_US, xid: int = 7) -> bytes:
    """A transaction whose commit record begins at `lsn`."""
    return xlog(struct.pack("!cQqI", b"B", lsn, commit_us - EPOCH_US, xid), lsn)


def commit(lsn: int, end: int, commit_us: int = EPOCH_US, clock_us: int = EPOCH_US) -> bytes:
    """Its end, at `end`."""
    return xlog(struct.pack("!cBQQq", b"C", 0, lsn, end, commit_us - EPOCH_US), lsn, clock_us)


def relation(oid: int, name: str, columns: Sequence[tuple[str, int, int, bool]], identity: str = "d", schema: str = "public") -> bytes:
    """An announcement; columns as (name, type oid, modifier, part of the replica identity)."""
    made = struct.pack("!cI", b"R", oid) + schema.encode() + b"\0" + name.encode() + b"\0"
    made += struct.pack("!cH", identity.encode(), len(columns))
    for column, type_oid, modifier, key in columns:
        made += bytes([key]) + column.encode() + b"\0" + struct.pack("!Ii", type_oid, modifier)
    return xlog(made)


def values(row: Sequence[Value]) -> bytes:
    """A tuple."""
    made = struct.pack("!H", len(row))
    for value in row:
        if value is None:
            made += b"n"
        elif isinstance(value, str):
            made += b"u"
        else:
            made += b"t" + struct.pack("!I", len(value)) + value
    return made


def insert(oid: int, row: Sequence[Value]) -> bytes:
    """A new row."""
    return xlog(struct.pack("!cI", b"I", oid) + b"N" + values(row))


def update(oid: int, row: Sequence[Value], old: Sequence[Value] | None = None, mark: bytes = b"K") -> bytes:
    """A changed row, with its old key (`K`) or old row (`O`) where it is given."""
    before = b"" if old is None else mark + values(old)
    return xlog(struct.pack("!cI", b"U", oid) + before + b"N" + values(row))


def delete(oid: int, old: Sequence[Value], mark: bytes = b"K") -> bytes:
    """A row that is gone."""
    return xlog(struct.pack("!cI", b"D", oid) + mark + values(old))


def truncate(oids: Sequence[int], options: int = 0) -> bytes:
    """Tables that were emptied."""
    return xlog(struct.pack(f"!cIB{len(oids)}I", b"T", len(oids), options, *oids))
