"""Rows that were set aside: their records at the target, beside the checkpoint, and the box that their values are sealed in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

HELD = ("open", "discarded")
"""States of a record whose row is still kept."""


@dataclass(frozen=True)
class DirtyRecord:
    """One set-aside row. `id` follows from task, mapping and key, so that the same row is the same record however often it comes.

    `state`: `open`; `discarded` by a person; `resolved` by a later change of the key; `retried` with success; `reset` (the table was
    copied again since); `removed` with its mapping. `kind` write, update or delete (see `domain/dirty.py`). `reason` holds no
    values. `position` and `commit_us` are the source's words for where it came from (the copy's: without a commit time), `upto`
    the journal's: what was before that offset has been seen. Stamps are ours, microseconds since 1970. `times` counts refusals.

    `sealed_key` and `sealed_row` are encrypted, and bound to this record; `sealed_row` is None where it was not asked for, and
    both are empty once nobody needs them any more.
    """

    id: str
    mapping_id: str
    source_table: str
    target_table: str
    state: str
    kind: str
    reason: str
    position: str | None
    commit_us: int | None
    upto: int
    first_us: int
    last_us: int
    times: int = 1
    row_bytes: int = 0
    settled_by: str = ""
    settled_us: int | None = None
    sealed_key: bytes = field(default=b"", repr=False)
    sealed_row: bytes | None = field(default=None, repr=False)


class DirtyDesk(Protocol):
    """The records of one task, within a transaction of whoever holds the desk. Raises what that one's writing methods raise.

    Whoever writes a row that has a record takes the record first, and settles or puts it in the same transaction. So apply and a
    person who retries the same row wait for one another, and the later one sees what the other has done.
    """

    def held(self) -> list[DirtyRecord]:
        """All records whose row is kept, without the row. Oldest first."""

    def page(self, state: str, limit: int, offset: int) -> tuple[int, list[DirtyRecord]]:
        """How many records are in a state (all: `""`), and some of them, without the row. Newest first."""

    def take(self, ids: Collection[str]) -> list[DirtyRecord]:
        """Lock these records until the transaction ends, and read them with their rows; those that hold none are left out."""

    def known(self, ids: Collection[str]) -> dict[str, DirtyRecord]:
        """These records in whatever state, without the row."""

    def put(self, records: Sequence[DirtyRecord]) -> None:
        """Insert or replace, but for `first_us` and `times`, which go on counting."""

    def settle(self, ids: Collection[str], state: str, by: str, now_us: int) -> None:
        """End these records with their rows dropped; with `discarded` rows are kept, and `by` may be a person's name.

        A record that was discarded before stays so. Only the newest `CLOSED_KEPT` records without a row are kept."""


class Seal(Protocol):
    """Seals what is kept of rows. Pure; raises HeadwaterError (`internal`) for what was sealed by another key, or moved."""

    def name(self, *parts: bytes) -> str:
        """A name that only the key's holder can derive from its parts, which it doesn't reveal: 32 hexadecimal digits."""

    def seal(self, plain: bytes, place: str) -> bytes:
        """Encrypt for one place."""

    def open(self, sealed: bytes, place: str) -> bytes:
        """Decrypt from its place."""
