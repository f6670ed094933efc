"""XA transactions that are prepared: the log has their rows where they were prepared, and they count where they are committed.

They wait in memory. Where the first of them begins is part of every position (`positions.py`): whoever goes on from there reads from that
place on, and so has them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from headwater.domain.changes import TRANSACTIONS_SCHEMA, ChangeBatch, Frame
from headwater.domain.errors import SourceError

HELD_BYTES_MAX = 64 * 1024 * 1024
"""The rows of prepared transactions wait in memory: so much of them."""

NAMES_MAX = 100_000

Part = tuple[ChangeBatch, ...]


@dataclass(frozen=True)
class _Held:
    parts: tuple[Part, ...]
    begun: tuple[int, int]


class Prepared:
    """The prepared transactions that we have met, by the name that the log gives them, and the parts of one that is still open."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._parts: list[Part] = []

    @property
    def since(self) -> tuple[int, int] | None:
        """Where the first of them begins."""
        return min((held.begun for held in self._held.values()), default=None)

    @property
    def kept(self) -> bool:
        """Whether parts of the open transaction wait here."""
        return bool(self._parts)

    def keep(self, batches: Sequence[ChangeBatch]) -> None:
        """Keep a part of the open transaction.

        Raises:
            SourceError: `source_refused`, there is no room for more.
        """
        self._parts.append(tuple(batches))
        size = sum(_bytes(held.parts) for held in self._held.values()) + _bytes(self._parts)
        if size > HELD_BYTES_MAX or len(self._held) > NAMES_MAX:
            what = f"The prepared XA transactions of the source have more than {HELD_BYTES_MAX >> 20} MiB of changes"
            raise SourceError(f"{what}, which is more than can wait. Commit them or roll them back.", kind="source_refused")

    def hold(self, name: str, batches: Sequence[ChangeBatch], begun: tuple[int, int]) -> None:
        """The open transaction is prepared; `batches` are the last of it, and it may have none for us.

        Raises:
            SourceError: `source_refused`, there is no room for more.
        """
        self.keep(batches)
        self._held[name] = _Held(self.take(), begun)

    def take(self) -> tuple[Part, ...]:
        """The parts of the open transaction, which is over."""
        parts = tuple(self._parts)
        self._parts = []
        return parts

    def commit(self, name: str) -> tuple[Part, ...]:
        """The parts of a transaction that is committed now.

        Raises:
            SourceError: `slot_lost`, it was prepared in a part of the log that could not be read again.
        """
        if name not in self._held:
            what = "An XA transaction was committed that had been prepared before the log that was read, so its changes are not known."
            raise SourceError(what, kind="slot_lost")
        return self._held.pop(name).parts

    def roll_back(self, name: str) -> None:
        """It never was."""
        self._held.pop(name, None)


def frames(parts: Sequence[Part], position: str, commit_us: int, seen_us: int, last: bool = True) -> tuple[Frame, ...]:
    """A transaction in its parts. Not `last`: another one follows that ends it."""
    counted = [(part, sum(batch.data.num_rows for batch in part)) for part in parts]
    wanted = [(part, rows) for part, rows in counted if rows]
    made = []
    for i, (part, rows) in enumerate(wanted):
        told = {"position": [position], "commit_us": [commit_us], "seen_us": [seen_us], "rows": [rows]}
        made.append(Frame(pa.RecordBatch.from_pydict(told, schema=TRANSACTIONS_SCHEMA), part, i, last and i == len(wanted) - 1))
    return tuple(made)


def _bytes(parts: Sequence[Part]) -> int:
    return sum(batch.data.nbytes for part in parts for batch in part)
