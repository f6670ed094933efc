"""The journal: the durable, ordered, bounded history of one source.

An *offset* numbers the transactions of one journal from 0, in log order, without gaps. Times are microseconds since
1970, UTC. One process writes (capture), any number of processes read at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from headwater.domain.changes import Frame


@dataclass(frozen=True)
class JournalEnd:
    """Where the history stands. `next_offset` is the offset that the next transaction will get.

    `position` is the source's place up to which everything is in the journal (None before the first word), moved on
    by `append` and by `heartbeat`. `source_us` is the source's clock at that word, for the lag of an idle source.
    """

    journal_id: str
    next_offset: int
    position: str | None
    source_us: int | None


@dataclass(frozen=True)
class Window:
    """What a reset can reach. Times are None while the journal holds no word of its source.

    `earliest_us` is the earliest moment for which `seek` is exact; `latest_us` the source time up to which the journal is
    known to be complete. `first_offset` is the oldest offset that can be read, after the last break in the history.
    `position` is the source's word for the oldest place, None where unknown.
    """

    earliest_us: int | None
    latest_us: int | None
    first_offset: int
    next_offset: int
    bytes: int


@dataclass(frozen=True)
class Placed:
    """A frame with its place: `first_offset` is the offset of its first transaction."""

    first_offset: int
    frame: Frame

    @property
    def next_offset(self) -> int:
        """The offset where reading goes on once this frame's transactions are complete (its own for an unfinished part)."""
        return self.first_offset + (self.frame.transactions.num_rows if self.frame.last else 0)


@dataclass(frozen=True)
class Retention:
    """How much history is kept. `bytes_hard` is the cap at which even history that a running task needs is dropped."""

    age_us: int
    bytes_max: int
    bytes_hard: int


class JournalWriter(Protocol):
    """The one writer. Opening it repairs what a crash left: parts of a transaction whose last part is missing are removed.

    Raises JournalError: kind `journal_full` (disk full: nothing was kept of that call, try again when there is space),
    `journal_damaged` (not a journal, wrong version, or unreadable).
    """

    def end(self) -> JournalEnd:
        """Where the history stands."""

    def append(self, frames: Sequence[Frame], position: str, source_us: int) -> int:
        """Add frames in one group commit and return the new `next_offset`.

        Returning promises that all of it is on disk (P1). `position` is the source's place after them (for a
        group that ends in an unfinished part: before that transaction). Whole or nothing: after an error nothing of the call is held.
        Frames whose stamps run backward are fine. Readers are woken.
        """

    def stamps_within(self, margin_us: int) -> None:
        """Durably note that stamps may be older than their commits by up to `margin_us` (0: they are exact). The largest word holds."""

    def heartbeat(self, position: str, source_us: int) -> None:
        """Note that the source has nothing more up to `position` at source time `source_us`. Not durable; cheap; may be
        lost in a crash. Call at most every few hundred milliseconds."""

    def break_history(self, position: str, reason: str, source_us: int) -> None:
        """Durably mark that what follows does not join what is there (the slot was lost, for instance).

        Readers can't cross it: the break takes one offset for itself, `first_offset` of the window becomes the `next_offset` behind
        it, and reading from before or at it ends there with OutOfWindow, kind `history_broken`, whose message holds `reason`.
        (Its own offset is what keeps a reader who had read everything before the break from going on behind it unawares.)
        """

    def retain(self, retention: Retention, needed_offset: int | None, now_us: int) -> int:
        """Drop the oldest history beyond age or size, whole frames only; returns how many transactions were dropped.

        Nothing at or after `needed_offset` (the lowest cursor of a running task; None: nobody needs any) is dropped
        before `bytes_hard` is passed.
        """

    def close(self) -> None:
        """Release the file. Idempotent."""


class JournalReader(Protocol):
    """A reader in any process; not safe for several threads at once."""

    def end(self) -> JournalEnd:
        """Where the history stands now, cheaply (it is called every few milliseconds)."""

    def window(self) -> Window:
        """What a reset can reach now."""

    def read(self, offset: int, tables: frozenset[str] | None = None) -> Iterator[Placed]:
        """Frames from the transaction `offset` on, up to the end as it stands when the iteration gets there, in order.

        The first frame is cut so that it starts exactly at `offset`. `tables` (names as `str(TableName)`) leaves
        out the batches of other tables without decoding them; transactions are all there. Parts of an unfinished
        transaction are not given. Nothing to read: an empty iteration.

        Raises:
            OutOfWindow: `offset` is older than what is held, beyond the end, or before a break in the history.
            JournalError: a frame is damaged; the message tells which offsets.
        """

    def seek(self, time_us: int) -> int:
        """The first offset in log order whose transaction may have committed at or after `time_us`.

        `next_offset` where there is none yet. With exact stamps that is the first transaction with stamp >= time_us. Otherwise it is
        the later of the first that was seen at or after `time_us`, and the first behind which the running maximum of stamps has come to
        `time_us` minus the margin (architecture, section 3): capture sees no commit before it is made, and what it sees late is bounded
        by the margin.

        Raises:
            OutOfWindow: the time is before the window; the message gives the earliest reachable time.
        """

    def stamp(self, offset: int) -> int | None:
        """Commit time of the transaction at `offset`, or None where the journal does not hold it."""

    def wait(self, next_offset: int, timeout_s: float) -> bool:
        """Sleep until the journal's end is beyond `next_offset`, at most `timeout_s`; True where it is. Costs no CPU while asleep."""

    def close(self) -> None:
        """Release the file. Idempotent."""


OpenJournal = Callable[[str], JournalReader | None]
"""Opens the journal of a data source for reading, by its id; None where there is none yet. The caller closes it."""
