"""XA transactions that are prepared: the log has their rows where they were prepared, and they count where they are committed."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from headwater.domain.changes import TRANSACTIONS_SCHEMA, ChangeBatch, Frame
from headwater.domain.errors import SourceError

HELD_BYTES_MAX = 64 * 1024 * 1024
"""The rows of prepared transactions wait in memory: so much of them."""

NAMES_MAX = 100_000


class Prepared:
    """The prepared transactions that we have met, by the name that the log gives them."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[ChangeBatch, ...]] = {}

    def hold(self, name: str, batches: Sequence[ChangeBatch]) -> None:
        """Keep the rows of one; it may have none for us.

        Raises:
            SourceError: there is no room for more.
        """
        self._held[name] = tuple(batches)
        size = sum(batch.data.nbytes for held in self._held.values() for batch in held)
        if size > HELD_BYTES_MAX or len(self._held) > NAMES_MAX:
            what = (
                f"The prepared XA transactions of the source have more than {HELD_BYTES_MAX} bytes of changes, which is more than can wait."
            )
            raise SourceError(f"{what} Commit them or roll them back.", kind="source_refused")

    def commit(self, name: str, position: str, commit_us: int, seen_us: int) -> tuple[Frame, ...]:
        """The transaction's changes, at the place where it was committed.

        Raises:
            SourceError: `slot_lost`, it was prepared before we began to read.
        """
        if name not in self._held:
            what = "An XA transaction was committed that had been prepared before this log was opened, so its changes are not known."
            raise SourceError(what, kind="slot_lost")
        batches = self._held.pop(name)
        rows = sum(batch.data.num_rows for batch in batches)
        if not rows:
            return ()
        told = {"position": [position], "commit_us": [commit_us], "seen_us": [seen_us], "rows": [rows]}
        return (Frame(pa.RecordBatch.from_pydict(told, schema=TRANSACTIONS_SCHEMA), batches),)

    def roll_back(self, name: str) -> None:
        """It never was."""
        self._held.pop(name, None)
