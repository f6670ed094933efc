"""A source: a database from whose tables and log we read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from headwater.domain.changes import Frame
from headwater.domain.outline import Outline
from headwater.domain.tables import TableName, TableSchema
from headwater.ports.compare import SourceComparison


@dataclass(frozen=True)
class Finding:
    """Something that stands in the way of a task, with the sentence that repairs it. Findings are listed all at once.

    `table`: the one that it is about, where it is about one that is there. `stops` False: a *note*. The task can run, and less is promised
    than usual, or it costs more; whoever starts the task is told."""

    what: str
    repair: str
    table: TableName | None = None
    stops: bool = True

    def __str__(self) -> str:
        return f"{self.what} {self.repair}"


@dataclass(frozen=True)
class Watched:
    """One look at what changes tables outside of the log. `marks`: by table, to be compared with by the next look. `changed`: by table,
    what may have happened since the earlier marks, as the end of a sentence."""

    marks: Mapping[TableName, str]
    changed: Mapping[TableName, str]


@dataclass(frozen=True)
class Captured:
    """What a log gave in one step. `frames` may be empty (a heartbeat).

    `position` is the place after the frames (before the transaction of an unfinished part), `source_us` the
    source's clock at that word. `behind_bytes` is how much log the source still has for us, as far as it told.
    """

    frames: tuple[Frame, ...]
    position: str
    source_us: int
    behind_bytes: int


@dataclass(frozen=True)
class Trail:
    """What is known of the log that was captured: its `history` (see `Log`), and the place of the last transaction in it.

    Empty, or None, where that is not known."""

    history: str = ""
    upto: str | None = None


NO_TRAIL = Trail()


class Log(Protocol):
    """The running log of one source. A thread of its own answers the source's keepalives whatever the caller does."""

    start: str
    """The place from which this log follows: what it gives comes after it. With a new history, where that begins."""

    history: str
    """Names the server, and the branch of its history, in whose log positions are places. Opaque; kept beside the journal."""

    stamp_margin_us: int
    """0 where the log tells when each transaction was committed. Otherwise its stamps may be older than the commits, as a binlog's are: by
    no more than this, as far as one can rely on it."""

    def next(self, timeout_s: float) -> Captured | None:
        """The next captured frames or heartbeat, None after `timeout_s` without either.

        At least one heartbeat per second comes from an idle, healthy source. Memory is bounded: while the caller does not
        take, reading stops, but keepalives go on. Group size adapts: small when caught up, large with a backlog.

        Raises:
            SourceError: the connection was lost (kind `source_unavailable`), the slot is gone or lost its log (`slot_lost`),
                and whatever else `failures.py` names. The log is dead then; open a new one.
            DecodeError: the log holds something that we can't understand.
        """

    def confirm(self, position: str) -> None:
        """Tell the source that everything up to `position` is safe with us (P1: call only once it is on disk)."""

    def close(self) -> None:
        """Stop the thread and the connection. Idempotent."""


@dataclass(frozen=True)
class Chunk:
    """One keyed slice of a table: rows with `after < key <= upto`, both in the source's text form per key column.

    None is open: (None, None) is the whole table. `number` counts from 0 within the table. Chunks of one
    plan don't overlap and together cover the table.
    """

    number: int
    after: tuple[str, ...] | None
    upto: tuple[str, ...] | None


class Snapshot(Protocol):
    """One moment of the source, readable by several threads at the same time until it is closed.

    Every method raises SourceError (`source_unavailable`) when the moment is lost with its connection; take a new one then.
    """

    position: str
    """Everything committed and visible in this snapshot lies before this place of the log."""

    exact: bool
    """True where `position` divides the log as well: what is not visible here was committed after it, and the log has all of that."""

    def rows_estimate(self, table: TableName) -> int:
        """About how many rows the table has, from statistics; 0 where unknown."""

    def chunks(self, table: TableName, key: Sequence[str], chunk_rows: int) -> list[Chunk]:
        """Cut the table into keyed chunks of about `chunk_rows`; one open chunk for a small table."""

    def read(self, table: TableName, columns: Sequence[str], key: Sequence[str], chunk: Chunk) -> Iterator[bytes]:
        """The chunk's rows as blocks of whole *text rows*: values in the source's text form, tab between, newline after,
        `\\N` for null, backslash escapes as in PostgreSQL's COPY and MySQL's LOAD DATA. UTF-8. Blocks are about 256 KiB."""

    def close(self) -> None:
        """Let the moment go. Idempotent."""


class Source(Protocol):
    """One data source in the role of a source. Making one connects to nothing; every method opens what it needs.

    All methods raise SourceError (`source_unavailable`, `source_refused`) when the server can't be reached or says no.
    """

    def test(self) -> None:
        """Connect and leave; returning means that the credentials work."""

    def tables(self) -> list[TableName]:
        """All tables that could be mapped, in order."""

    def describe(self, tables: Sequence[TableName]) -> dict[TableName, TableSchema]:
        """Today's schemas; missing tables are missing in the answer."""

    def outlines(self, tables: Sequence[TableName]) -> dict[TableName, Outline]:
        """What these tables are made of today, for making their like at a target; missing tables are missing in the answer."""

    def check(self, tables: Sequence[TableName]) -> list[Finding]:
        """Everything that would keep these tables from being captured, all at once; empty when ready."""

    def publish(self, tables: Sequence[TableName]) -> None:
        """Make what capture needs (slot, publication) for exactly these tables. Idempotent.

        A slot is made only where none was ever made for this source (`open_log` decides about a lost one)."""

    def published(self, tables: Sequence[TableName]) -> bool:
        """True where the log of all these tables is being kept for us."""

    def watch(self, tables: Sequence[TableName], before: Mapping[TableName, str]) -> Watched:
        """Look for what has changed rows of tables, or kept changes from us, without a word in the log since the marks `before`.

        Tables without a mark there are only marked. A table that is not published, or not there, is missing in the answer."""

    def settle(self, timeout_s: float) -> bool:
        """Wait until every transaction that is open now has ended; False when some still are after `timeout_s`.

        Between `published` and `snapshot`: see `docs/decisions/` on the hand-over. `exact_snapshot` needs no settling."""

    def open_log(self, tables: Sequence[TableName], after: str | None, new_history: bool, trail: Trail = NO_TRAIL) -> Log:
        """Follow the log after the place `after` (None: from where the slot stands, for an empty journal).

        `trail` tells whose log `after` is a place in. A server that was promoted since is gone along with where it has all that was
        captured; one that has not, or is another server, is `slot_lost`.

        `new_history` allows to make the slot anew and go on from today where the old one is lost; without it that is a
        SourceError of kind `slot_lost`. A slot that stands beyond `after` is `slot_lost` too (never skipped, P7).
        """

    def reached(self, place: str, wanted: str) -> bool:
        """True where `place` is at or after `wanted`. Pure."""

    def snapshot(self) -> Snapshot:
        """Open a snapshot of now. Its position is not exact."""

    def exact_snapshot(self, tables: Sequence[TableName], wait: Callable[[], bool]) -> Snapshot | None:
        """Open a snapshot of these tables, which are published, whose position divides the log exactly (decision 0014).

        Waits until the transactions that are open now have ended; meanwhile `wait` is called now and then, and False from it gives
        up: the answer is None. Reading a table that was emptied or rewritten since (which shows in any snapshot) is an error.

        Raises:
            SourceError: `slots_exhausted` where the server has no replication slot or WAL sender to spare for the moment.
        """

    def release(self) -> None:
        """Drop what `publish` made. Idempotent."""

    def compare(self, timeout_s: float) -> SourceComparison:
        """A session for comparing; each of its statements ends after `timeout_s`."""
