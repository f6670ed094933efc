"""From the journal's frames to batches of the size that the target likes, merged by key: the reading half of apply.

A batch takes whatever is there, up to its limits, and waits for nothing: with a backlog batches are large and merge well, without
one they are as small as the last transaction, so that it becomes visible at once. A transaction larger than the limits spans
several batches, of which only the last one is `whole`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.changes import ChangeBatch
from headwater.domain.errors import JournalError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable, merge
from headwater.domain.tables import TableName
from headwater.engine.compact import EVERYTHING, compact
from headwater.engine.displaced import CopyAgain, repeatable
from headwater.engine.misfits import Misfit, Misfits
from headwater.ports.journal import JournalReader, Placed


@dataclass(frozen=True)
class Limits:
    """When a batch is full, in changes and in bytes of Arrow data (P9). It may pass them by one frame."""

    rows: int
    bytes: int


EXACT = Limits(150_000, 32 << 20)
"""Batches that bring each change once: large enough for bulk statements, small enough to be two in memory."""

REPLAY = Limits(400_000, 64 << 20)
"""What a batch of a replay holds at the same time; then it is compacted, and takes more where that has made room."""

REPLAY_ROWS = 5_000_000
"""How many changes a batch of a replay takes in all: each one puts off the commit, and with it the place to go on from after a crash."""

ROOM = 0.5
"""A batch that compaction has made this much shorter goes on."""


@dataclass(frozen=True)
class Followed:
    """One mapping that is followed: changes before offset `since` are in its copy. `complete` where everything that the source does
    is written and nobody else's rows are in the way, so that outside a replay an insert can't meet a row of its own."""

    mapping: TableMapping
    since: int = 0
    complete: bool = True


@dataclass
class Batch:
    """A stretch of history, `first_offset` to `next_offset`. `whole` where it ends between transactions.

    `rows` are the changes that it has taken, `held_rows` and `held_bytes` what of them is in memory.
    Stamps and position are those of its transactions: `first_us` of the first, `last_us` and `position` of the last one."""

    first_offset: int
    next_offset: int
    exact: bool
    whole: bool = True
    rows: int = 0
    held_rows: int = 0
    held_bytes: int = 0
    transactions: int = 0
    first_us: int = 0
    last_us: int = 0
    position: str = ""
    changes: list[tuple[int, ChangeBatch]] = field(default_factory=list)

    def add(self, placed: Placed) -> None:
        """Take a frame in."""
        stamps = placed.frame.transactions
        if not self.transactions and not self.changes:
            self.first_us = int(stamps.column("commit_us")[0].as_py())
        self.last_us = int(stamps.column("commit_us")[-1].as_py())
        self.position = str(stamps.column("position")[-1].as_py())
        self.next_offset, self.whole = placed.next_offset, placed.frame.last
        self.transactions += stamps.num_rows if placed.frame.last else 0
        for batch in placed.frame.batches:
            if batch.reshapes:
                continue
            self.changes.append((placed.first_offset, batch))
            self.rows += batch.data.num_rows
            self.held_rows += batch.data.num_rows
            self.held_bytes += batch.data.nbytes

    def full(self, limits: Limits) -> bool:
        """True where it has reached a limit."""
        return self.held_rows >= limits.rows or self.held_bytes >= limits.bytes

    def make_room(self, columns: Mapping[TableName, frozenset[str]]) -> bool:
        """Compact the changes; True where that made enough room to go on. Only for a batch that is not exact."""
        by_table: dict[TableName, list[ChangeBatch]] = {}
        for _, change in self.changes:
            by_table.setdefault(change.schema.table, []).append(change)
        short = {table: compact(changes, columns[table]) for table, changes in by_table.items()}
        kept = [batch for batches in short.values() if batches is not None for batch in batches]
        if None in short.values() or sum(batch.data.num_rows for batch in kept) > self.held_rows * ROOM:
            return False
        self.changes = [(self.first_offset, batch) for batch in kept]
        self.held_rows = sum(batch.data.num_rows for batch in kept)
        self.held_bytes = sum(batch.data.nbytes for batch in kept)
        return True


@dataclass(frozen=True)
class Prepared:
    """A batch as the target writes it. `merged` may be empty: transactions without changes for this task move the place alone."""

    batch: Batch
    merged: Sequence[MergedTable]


@dataclass(frozen=True)
class Idle:
    """The journal has nothing more."""


class Collector:
    """Reads batches from `offset` on, up to the place of `until` where that is known. Batches that begin before `exact_from` are not exact
    and none of them reaches beyond the frame in which that offset lies."""

    def __init__(
        self, reader: JournalReader, followed: Sequence[Followed], offset: int, exact_from: int, until: Misfit | None = None
    ) -> None:
        self._reader, self._followed, self._exact_from = reader, followed, exact_from
        self._tables = frozenset(str(f.mapping.source) for f in followed)
        self._offset = offset
        self._frames: Iterator[Placed] = iter(())
        self._held: Placed | None = None
        self._inside = False
        self.rows_taken = 0  # for whoever watches from another thread
        self._misfits = Misfits([(f.mapping, f.since) for f in followed], until)

    def take(self) -> Batch | None:
        """The next batch; None where the journal has nothing more.

        Raises:
            Misfit: a mapping does not fit its table from here on. What of that transaction was given out already must not be committed.
        """
        batch: Batch | None = None
        while (placed := self._next()) is not None:
            exact = placed.first_offset >= self._exact_from
            if batch is None:
                batch = Batch(placed.first_offset, placed.first_offset, exact)
            elif exact != batch.exact and not self._inside:
                self._held = placed
                break
            batch.add(placed)
            self.rows_taken += sum(change.data.num_rows for change in placed.frame.batches)
            self._offset, self._inside = placed.next_offset, not placed.frame.last
            if batch.full(EXACT) if batch.exact else batch.full(REPLAY) and not self._room_in(batch):
                break
        if batch is None:
            self._misfits.complain()
        return batch

    def _room_in(self, batch: Batch) -> bool:
        """True where a full batch of a replay can take more. Mappings that are followed from within it need its changes one by one."""
        within = any(batch.first_offset < f.since <= batch.next_offset for f in self._followed)
        if within or batch.rows >= REPLAY_ROWS or not all(f.mapping.operations >= EVERYTHING for f in self._followed):
            return False
        columns: dict[TableName, frozenset[str]] = {}
        for f in self._followed:
            columns[f.mapping.source] = columns.get(f.mapping.source, frozenset()) | {pair.source for pair in f.mapping.columns}
        return batch.make_room(columns)

    def check_repeatable(self, made: Prepared) -> None:
        """Raises CopyAgain where moves of a batch that is not exact would harm a target that is ahead."""
        since = {f.mapping.mapping_id: f.since for f in self._followed}
        upto = made.batch.next_offset
        void = [m.mapping.mapping_id for m in made.merged if not repeatable(self._reader, m, since[m.mapping.mapping_id], upto)]
        if void:
            raise CopyAgain(void, "Key changes of rows with unchanged large values can't be repeated.")

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the journal has more; True where it has."""
        return self._reader.wait(self._offset, timeout_s)

    def _next(self) -> Placed | None:
        if self._held is not None:
            held, self._held = self._held, None
            return held
        if self._misfits.found:
            return None
        placed = next(self._frames, None)
        if placed is None and self._inside:
            raise JournalError(f"The journal ends within the transaction at offset {self._offset}, which it had announced as complete.")
        if placed is None and self._reader.end().next_offset > self._offset:
            self._frames = self._reader.read(self._offset, self._tables)
            placed = next(self._frames, None)
        return None if placed is None else self._misfits.before(placed)


def prepare(batch: Batch, followed: Sequence[Followed]) -> Prepared:
    """Merge a batch for each mapping.

    Raises:
        SchemaMismatch: a mapping no longer fits the table as the log describes it.
    """
    merged = []
    for f in followed:
        changes = [c for first, change in batch.changes for c in _since(change, first, f)]
        if changes:
            merged.append(merge(f.mapping, changes, exact=_exact(batch, f)))
    batch.changes.clear()
    return Prepared(batch, [m for m in merged if m.steps])


def _exact(batch: Batch, followed: Followed) -> bool:
    """Whether what comes into being in the batch meets nothing. Within a large transaction a row may come to one of several mappings of a
    table before it leaves another."""
    return batch.exact and followed.complete and (batch.whole or not followed.mapping.beside)


def prepared(collector: Collector, followed: Sequence[Followed], stopping: Callable[[], bool], wait_s: float) -> Iterator[Prepared | Idle]:
    """Batches for as long as nobody asks to stop; `Idle` each time when there is nothing more, before it waits for up to `wait_s`.

    It may end within a large transaction: that one is given up then and begun again by the next run.

    Raises:
        CopyAgain: tables can't be followed from here without being copied again.
    """
    while not stopping():
        batch = collector.take()
        if batch is None:
            yield Idle()
            collector.wait(wait_s)
        else:
            made = prepare(batch, followed)
            if not batch.exact:
                collector.check_repeatable(made)
            yield made


def _since(change: ChangeBatch, first_offset: int, followed: Followed) -> Iterator[ChangeBatch]:
    """The part of a change batch that this mapping has to see: its table's, from `since` on."""
    if change.schema.table != followed.mapping.source:
        return
    skipped = followed.since - first_offset
    if skipped > 0:
        before = pc.sum(pc.less(change.data.column(1), pa.scalar(skipped))).as_py() or 0
        change = ChangeBatch(change.schema, change.data.slice(before))
    if change.data.num_rows:
        yield change


def follow(mappings: Sequence[TableMapping], since: Callable[[str], int]) -> list[Followed]:
    """The mappings with what is to be known for following them."""
    targets: dict[TableName, int] = {}
    for mapping in mappings:
        targets[mapping.target] = targets.get(mapping.target, 0) + 1
    return [Followed(m, since(m.mapping_id), (targets[m.target] == 1 or bool(m.beside)) and m.operations >= EVERYTHING) for m in mappings]
