"""A target: a database whose tables we keep equal to the source's, with the task's checkpoint beside the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal, Protocol

from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable
from headwater.domain.outline import Made, Outline
from headwater.domain.tables import TableName, TableSchema
from headwater.ports.compare import Comparison
from headwater.ports.dirty import DirtyDesk
from headwater.ports.source import Chunk, Finding


@dataclass(frozen=True)
class Checkpoint:
    """Where a task stands, as its target has it on disk.

    `offset`: every transaction of journal `journal_id` before it is in the target. Until the offset has
    passed `exact_from` the target may already hold later rows (after the first copy, in a replay), so writing must converge:
    insert or update alike. None: the run has not found its place in the journal yet (never started, or a full reset).
    """

    epoch: int
    journal_id: str | None = None
    offset: int | None = None
    exact_from: int = 0
    position: str | None = None
    commit_us: int | None = None

    def moved_back(self, to: Checkpoint, epoch: int) -> Checkpoint:
        """The place after a reset to `to`, seen from this one, under `epoch`. Pure; called where the fence is set, because a run may
        have committed since the reset looked.

        A reset never skips (decision 0003): the offset is the earlier of both, and a run without a place stays without. The target
        holds rows up to this checkpoint's offset, so nothing is exact before that is passed again. `to.offset` None: a fresh copy.
        The journal stays this one's; `to.journal_id` is not looked at.
        """
        if to.offset is None:
            return Checkpoint(epoch)
        if self.offset is None or self.offset <= to.offset:
            return replace(self, epoch=epoch)
        place = replace(self, epoch=epoch, offset=to.offset, position=to.position, commit_us=to.commit_us)
        return replace(place, exact_from=max(self.exact_from, self.offset))


class CopyState(Enum):
    """How far the first copy of one mapping is."""

    PENDING = "pending"
    COPYING = "copying"
    COPIED = "copied"


@dataclass(frozen=True)
class TableState:
    """Copy progress of one mapping, kept in the target. Changes before offset `since` are not applied to it: its copy has them.

    `fresh` tells that the table was empty when its copy began, so rows go in without merging; `chunks_done` are the
    chunks of `chunks` that are in the target for good."""

    mapping_id: str
    state: CopyState = CopyState.PENDING
    since: int = 0
    fresh: bool = False
    chunks: tuple[Chunk, ...] = ()
    chunks_done: frozenset[int] = frozenset()
    rows_done: int = 0


@dataclass(frozen=True)
class Written:
    """Rows that a write changed, by what was done."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0


@dataclass(frozen=True)
class Look:
    """What the server is seen doing about a run's calls that have not returned: `working` on one of them, `blocked` by somebody else (the
    reason is a sentence that names who), or `idle`: it waits for us, while we wait for it."""

    state: Literal["working", "blocked", "idle"]
    reason: str = ""


class Writing(Protocol):
    """An open transaction at a target, opened by the first write."""

    @property
    def dirty(self) -> DirtyDesk:
        """The task's set-aside rows, in the same transaction."""

    def write(self, merged: Sequence[MergedTable]) -> Written:
        """Write merged changes inside the open transaction.

        A target may lay some aside, and show them at its end; after a copy and in a replay with the commit that reaches `exact_from`.
        An insert of a mapping with others `beside` may meet a row of theirs; where both fill a column, with different values, the row
        is refused (not in a replay).

        Raises TargetError, kind `target_changed`, where a whole row is to go (see `MergedTable`) that must be there and is not."""

    def stands(self, mapping: TableMapping, key: Sequence[bytes | None]) -> bool:
        """Whether a row with this key stands in the mapping's target table, as the open transaction sees it."""

    def check(self) -> None:
        """Have what waits for the end of the transaction done now, constraints too. RowRefused where one is broken."""

    def tentatively(self, *, keep: bool = True) -> AbstractContextManager[None]:
        """What is written within is undone, and nothing else, where a row is refused in it; RowRefused passes through and the
        transaction goes on. Without `keep` it is undone in any case. May be nested."""

    def rollback(self) -> None:
        """Give up the open transaction. Idempotent."""

    def close(self) -> None:
        """Roll back and let go. Idempotent."""


class Mending(Writing, Protocol):
    """A transaction of a person who mends set-aside rows of one task, beside whatever run it has: not fenced, but ordered against
    the run by the records that both take. Where the run holds a record for long, TargetError (`target_unavailable`)."""

    def commit(self) -> None:
        """Commit rows and records together."""


class TargetRun(Writing, Protocol):
    """The target's side of one run, holding its epoch. One thread drives it; `copy_chunk` may be called by several others.

    Writing methods raise TargetError (`target_unavailable`: connection lost, try again in a new run; `target_refused` and
    others of `failures.py`), RowRefused for what rows hold, Fenced where a newer epoch holds the task. After any error `rollback` or
    `close` is the only legal call, but for a refused row within `tentatively`.
    """

    def checkpoint(self) -> Checkpoint:
        """The checkpoint as the target has it; `Checkpoint(epoch)` for a task that was never here."""

    def table_states(self) -> dict[str, TableState]:
        """Copy progress by mapping id; a mapping that is missing is pending."""

    def save_table_state(self, state: TableState) -> None:
        """Record copy progress (own transaction, fenced). Not for chunks: `copy_chunk` does that."""

    def is_empty(self, table: TableName) -> bool:
        """True where the table has no row."""

    def tracked(self, mappings: Sequence[TableMapping]) -> frozenset[str]:
        """Of all of the task's mappings, the ids of those whose source rows the target keeps book of, as those with others `beside` need.

        Books of other mappings are dropped: what happens meanwhile is not in them. Fenced."""

    def start_copy(self, mapping: TableMapping) -> None:
        """Begin the copy of a mapping with others beside it: its book is empty now, and not complete. Fenced. Idempotent."""

    def finish_copy(self, mapping: TableMapping) -> None:
        """All chunks are in, those of the mappings beside it as well: rows that are in nobody's book are removed, in rows that are not
        in this mapping's book its columns are cleared, and the book is complete. Fenced. Idempotent."""

    def copy_chunk(self, mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes], fresh: bool, remove: bool) -> int:
        """Write one chunk of text rows (see `Snapshot.read`) and mark it done, in one transaction (own connection, fenced).

        `fresh`: rows go straight in. Otherwise rows that differ are written, and with `remove` rows of the
        chunk's key range that the source does not have are deleted. A mapping without key comes as one chunk: with `remove` it
        replaces what the table has, otherwise only what the table has fewer of is added. Returns the number of rows read. Thread-safe.
        Rows of a mapping with others beside it are put into its book.
        """

    def remove_missing(self, mapping: TableMapping, chunk: Chunk, keys: Iterable[bytes]) -> None:
        """Delete, in the open transaction, the rows of a chunk's key range whose keys are not among these text rows of keys."""

    def mark_chunk(self, mapping: TableMapping, chunk: Chunk, rows: int) -> None:
        """Mark a chunk as done in the open transaction, for whoever has written its rows by `write`."""

    def commit(self, checkpoint: Checkpoint) -> None:
        """Commit what was written together with the checkpoint (P3). Returning promises that both are durable.

        Raises Fenced, with everything rolled back, where a newer epoch holds the task (P4)."""

    def look(self) -> Look:
        """What the server does about the calls that have not returned, seen over a connection of its own. For any thread."""

    def cut(self) -> None:
        """Break the connections: calls that wait for an answer end with TargetError (`target_unavailable`). For any thread. Idempotent."""


class Target(Protocol):
    """One data source in the role of a target. Making one connects to nothing.

    All methods raise TargetError (`target_unavailable`, `target_refused`) when the server can't be reached or says no.
    """

    def test(self) -> None:
        """Connect and leave; returning means that the credentials work."""

    def tables(self) -> list[TableName]:
        """All tables that could be mapped, in order."""

    def describe(self, tables: Sequence[TableName]) -> dict[TableName, TableSchema]:
        """Today's schemas; missing tables are missing in the answer."""

    def create(self, wanted: Sequence[tuple[Outline, TableName]], dry_run: bool) -> list[Made]:
        """Make tables after outlines under these names, each whole or not at all; with `dry_run` only say how. One answer for each, in
        order: what can't be made, or what the server refuses, is told there as its problem."""

    def check(self, mappings: Sequence[TableMapping]) -> list[Finding]:
        """Everything that would keep these mappings from being applied (privileges, keys, types), and what should be known, all at once."""

    def look(self, task_id: str) -> tuple[Checkpoint, dict[str, TableState]]:
        """The task's checkpoint and copy progress by mapping id, as committed, without taking it over; any run goes on meanwhile.

        `Checkpoint(0)` and no states for a task that was never here. For validating a reset, and for showing a stopped task.
        """

    def raise_epoch(self, task_id: str, epoch: int, move_to: Checkpoint | None = None, recopy: bool | frozenset[str] = False) -> Checkpoint:
        """Take the task over: from the answer on no run with a lower epoch can commit (P4). Returns the checkpoint as it stands then.

        With `move_to` the place becomes `old.moved_back(move_to, epoch)`, taken under the lock that fences. `recopy` forgets all table
        states, so that everything is copied again; a set of mapping ids forgets those only. Waits for a commit that is under
        way. Idempotent for the same epoch: a second call with an epoch that already holds the task changes nothing and answers the same.

        The set-aside rows of tables that are copied again are settled as `reset`: the copy will find those that are bad.

        Raises Fenced where a higher epoch holds the task.
        """

    def open(self, task_id: str, epoch: int, mappings: Sequence[TableMapping] = ()) -> TargetRun:
        """A run under an epoch that `raise_epoch` has set. `mappings` are all of the task, so that the target may know which of its tables
        belong together before their first change; what it has laid aside for others is given up."""

    def mend(self, task_id: str) -> Mending:
        """Begin to look at, or to mend, the task's set-aside rows."""

    def forget(self, task_id: str) -> None:
        """Remove the task's checkpoint, table states and set-aside rows. Rows in tables stay. Idempotent."""

    def compare(self, timeout_s: float) -> Comparison:
        """A session for comparing; each of its statements ends after `timeout_s`."""
