"""The first copy: what is in the source's tables now, joined to the log without a gap, resumable chunk by chunk.

    published? -> exact snapshot -> captured? -> since = the first offset behind the snapshot's position -> chunks ... -> copied

The snapshot has what was committed before its position and nothing else, so from `since` on the log has each change that the copy does not
have, once. Why this is exact, and what else was considered: `docs/decisions/0014-an-exact-place-for-the-copy.md`. Where the source
has no replication slot to spare, tables with a key are copied as `docs/decisions/0001-hand-over.md` tells: `since` is the journal's end
before the snapshot, and what both have is applied once more, by key.

Each step is on disk at the target before the next one begins, so that a crash anywhere resumes: `since` before the first chunk, each
chunk with its mark, `exact_from` before the mappings are marked as copied. A snapshot that is lost is replaced by a new one: chunks
that are done stay, `since` stays, `exact_from` grows. A table without a key is one chunk: it is there as a whole or begun anew.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, repeat

from headwater.domain.errors import OutOfWindow, RowRefused, SchemaMismatch, SourceError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable, MergeStep
from headwater.domain.shapes import misfit
from headwater.domain.tables import TableName
from headwater.domain.text_rows import read_text_rows
from headwater.engine.control import Clock, Control
from headwater.engine.dirty import FROM_COPY, At, DirtyRows
from headwater.engine.tally import Tally
from headwater.ports.journal import JournalReader
from headwater.ports.source import Chunk, Snapshot, Source
from headwater.ports.target import Checkpoint, CopyState, TableState, TargetRun

CHUNK_ROWS = 200_000
"""Rows per chunk, about: what a crash costs at most per stream, and the size of one target transaction."""

POLL_S = 0.1
"""How often capture's progress is looked at while waiting for it."""

SETTLE_S = (1.0, 2.0, 5.0, 15.0, 60.0)
"""How long the first, second, ... wait for the source's open transactions lasts; the last one repeats. Each one waits for those that
are open when it begins, so waits that grow get through between long transactions that overlap. A stop is seen between them."""

WAITING_FOR_OPEN = "Waiting for transactions that are open at the source: a copy can begin when they have ended."

PROGRESS_S = 0.5
"""How often progress is reported while copying."""


Follows = Callable[[Sequence[TableName]], bool]


@dataclass(frozen=True)
class CopyJob:
    """What one copy works on. `follows` tells whether the capture follows these tables from the journal's end on."""

    source: Source
    run: TargetRun
    reader: JournalReader
    mappings: Sequence[TableMapping]
    dirty: DirtyRows
    streams: int = 2
    follows: Follows = lambda _: True


class Stopped(Exception):
    """The worker was asked to stop; what is not on disk yet is done again by the next run."""


def copy(job: CopyJob, place: Checkpoint, control: Control, tally: Tally, clock: Clock) -> Checkpoint:
    """Copy the mappings that are not copied and return the place from which to follow; without any, that is `place` at once.

    Asked to stop, it returns early with `place` as it came; the caller must look at `control.stopping`.

    Raises:
        OutOfWindow: the history that a half-done copy needs is gone.
        HeadwaterError: source, target or journal failed; a later call resumes.
    """
    copier = Copier(job, control, tally, clock)
    try:
        return copier.copy(place)
    except Stopped:
        return place


class Copier:
    """The steps of one copy."""

    def __init__(self, job: CopyJob, control: Control, tally: Tally, clock: Clock) -> None:
        self._job, self._control, self._tally, self._clock = job, control, tally, clock

    def copy(self, place: Checkpoint) -> Checkpoint:
        """See the module's docstring; one line per step."""
        self._tally.placed(place)
        pending = self._pending(place)
        if not pending:
            return place
        self._until_published(pending)
        begun = self._job.reader.end()
        with closing(self._open(pending)) as snapshot:
            since = self._behind(snapshot.position, begun.next_offset) if snapshot.exact else begun.next_offset
            known = self._known(place, pending)
            place = self._begin(place, pending, since, snapshot.position if snapshot.exact else begun.position)
            states = self._plan(snapshot, pending, known, since, place)
            self._check_fit(pending)
            for piece in self._copy_chunks(snapshot, pending, states):
                self._set_aside(snapshot, piece, place)
        for mapping in pending:
            if mapping.beside:
                self._job.run.finish_copy(mapping)
        exact_from = since if snapshot.exact else self._captured(snapshot.position)
        return self._finish(place, pending, exact_from)

    def _pending(self, place: Checkpoint) -> list[TableMapping]:
        states = self._job.run.table_states()
        for mapping in self._job.mappings:
            if mapping.mapping_id in states:
                self._tally.table(states[mapping.mapping_id])
        if place.offset is None:
            return list(self._job.mappings)
        tracked = self._job.run.tracked(self._job.mappings)
        done = {m for m, state in states.items() if state.state is CopyState.COPIED}
        return [m for m in self._job.mappings if m.mapping_id not in done or (m.beside and m.mapping_id not in tracked)]

    def _until_published(self, pending: Sequence[TableMapping]) -> None:
        tables = sorted({m.source for m in pending})
        if not self._published(tables):
            self._tally.say("waiting", "Waiting for the capture to follow the tables that are to be copied.")
            missing = set(tables) - self._job.source.describe(tables).keys()
            if missing:
                names = ", ".join(str(table) for table in sorted(missing))
                raise SourceError(f"The source has no table {names}. Create it, or remove its mapping.", kind="source_refused")
            while not self._published(tables):
                self._pause()

    def _published(self, tables: Sequence[TableName]) -> bool:
        """Both are needed: there are sources that keep their log whoever reads it, so what they say tells nothing of the capture."""
        return self._job.source.published(tables) and self._job.follows(tables)

    def _open(self, pending: Sequence[TableMapping]) -> Snapshot:
        """A snapshot with an exact position; with another one where the source has no slot to spare and every table has a key."""
        try:
            snapshot = self._job.source.exact_snapshot(sorted({m.source for m in pending}), self._wait_for_open)
        except SourceError as error:
            if error.kind != "slots_exhausted" or not all(m.key for m in pending):
                raise
            self._until_settled()
            return self._job.source.snapshot()
        if snapshot is None:
            raise Stopped
        return snapshot

    def _wait_for_open(self) -> bool:
        self._tally.say("waiting", WAITING_FOR_OPEN)
        return not self._control.stopping

    def _behind(self, position: str, first: int) -> int:
        """The first offset from `first` on whose transaction was committed after `position`, once the journal is complete up to there."""
        self._captured(position)
        for placed in self._job.reader.read(first, frozenset()):
            first = placed.first_offset
            for place in placed.frame.transactions.column("position").to_pylist():
                if place and not self._job.source.reached(position, place):
                    return first
                first += 1
            first = placed.next_offset
        return first

    def _known(self, place: Checkpoint, pending: Sequence[TableMapping]) -> dict[str, TableState]:
        """The copies that were begun and can be gone on with. Without a key that is one that is in the target as a whole."""
        states = {} if place.offset is None else self._job.run.table_states()
        wanted = {m.mapping_id: m for m in pending}
        begun = {i: s for i, s in states.items() if i in wanted and s.state is CopyState.COPYING and (wanted[i].key or s.chunks_done)}
        for state in begun.values():
            self._check_joined(state)
        return begun

    def _begin(self, place: Checkpoint, pending: Sequence[TableMapping], since: int, position: str | None) -> Checkpoint:
        """Put the beginning on disk where the task has no place yet."""
        if place.offset is not None:
            return place
        place = replace(place, journal_id=self._job.reader.end().journal_id, offset=since, exact_from=since, position=position)
        self._forget(pending, self._job.run.table_states(), since)
        self._job.run.commit(place)
        self._tally.placed(place)
        return place

    def _forget(self, pending: Sequence[TableMapping], states: dict[str, TableState], since: int) -> None:
        """A task without a place copies everything anew, whatever the target still says about copies."""
        for mapping in pending:
            if mapping.mapping_id in states:
                self._job.run.save_table_state(TableState(mapping.mapping_id, since=since))

    def _check_joined(self, state: TableState) -> None:
        first = self._job.reader.window().first_offset
        if state.since < first:
            raise OutOfWindow(
                f"A half-done copy needs the history from offset {state.since} on, but it begins at {first} now.", kind="history_broken"
            )

    def _until_settled(self) -> None:
        """Transactions that began before the tables were published may have changes that no log has; the snapshot must see them."""
        waits = chain(SETTLE_S, repeat(SETTLE_S[-1]))
        while not self._job.source.settle(next(waits)):
            self._tally.say("waiting", WAITING_FOR_OPEN)
            self._check_stop()

    def _plan(
        self, snapshot: Snapshot, pending: Sequence[TableMapping], known: dict[str, TableState], since: int, place: Checkpoint
    ) -> dict[str, TableState]:
        """Cut the tables that have no chunks yet, and put the plan on disk, with the offset from which each one is followed."""
        writers = Counter(m.target for m in self._job.mappings)
        planned = {}
        for mapping in pending:
            self._check_stop()
            state = known.get(mapping.mapping_id)
            if state is None:
                self._job.dirty.copied_again(mapping.mapping_id, place)
                key = [pair.source for pair in mapping.key]
                chunks = tuple(snapshot.chunks(mapping.source, key, CHUNK_ROWS))
                fresh = writers[mapping.target] == 1 and self._job.run.is_empty(mapping.target)
                state = TableState(mapping.mapping_id, CopyState.COPYING, since, fresh, chunks)
                if mapping.beside:
                    self._job.run.start_copy(mapping)
                self._job.run.save_table_state(state)
            self._tally.table(state, snapshot.rows_estimate(mapping.source))
            planned[mapping.mapping_id] = state
        return planned

    def _check_fit(self, pending: Sequence[TableMapping]) -> None:
        """Chunks are read by the columns' names. Planning has locked the tables, so what fits now fits until the snapshot is closed; before
        that, while the copy waited or between two runs of it, a column may have been given another's name, and be taken for it.

        Raises:
            SchemaMismatch: a mapped column is not the one that it was made on.
        """
        now = self._job.source.describe(sorted({m.source for m in pending}))
        problems = [problem for m in pending if m.source in now and (problem := misfit(m, now[m.source], keyed=False)) is not None]
        if problems:
            raise SchemaMismatch(" ".join(dict.fromkeys(problems)))

    def _copy_chunks(self, snapshot: Snapshot, pending: Sequence[TableMapping], states: dict[str, TableState]) -> list[Piece]:
        """Copy what is not copied; returns the pieces of which the target refuses rows that may be set aside."""
        self._tally.say("copying")
        writers = Counter(m.target for m in self._job.mappings)
        pieces = [
            Piece(m, states[m.mapping_id], chunk, "DELETE" in m.operations and writers[m.target] == 1)
            for m in pending
            for chunk in states[m.mapping_id].chunks
            if chunk.number not in states[m.mapping_id].chunks_done
        ]
        streams = Streams(self._job.run, snapshot, pieces, self._control, self._tally, self._clock, self._job.dirty.sets_aside)
        return streams.run(self._job.streams)

    def _set_aside(self, snapshot: Snapshot, piece: Piece, place: Checkpoint) -> None:
        """Copy a piece in which the target refuses rows: all others by the way of changes, in one transaction with its mark."""
        mapping, run = piece.mapping, self._job.run
        columns, key = [pair.source for pair in mapping.columns], [pair.source for pair in mapping.key]
        at = At(FROM_COPY, piece.state.since, position=snapshot.position)
        if piece.remove:
            run.remove_missing(mapping, piece.chunk, snapshot.read(mapping.source, key, key, piece.chunk))
        count = 0
        for block in snapshot.read(mapping.source, columns, key, piece.chunk):
            self._check_stop()
            rows = read_text_rows(block, [pair.target for pair in mapping.columns])
            self._job.dirty.write([MergedTable(mapping, (MergeStep(upserts=rows),))], at)
            count += rows.num_rows
        run.mark_chunk(mapping, piece.chunk, count)
        run.commit(place)
        self._job.dirty.committed()
        self._tally.dirty(self._job.dirty)

    def _captured(self, position: str) -> int:
        """Wait until the journal has everything up to `position`; the offset behind it all then."""
        if not self._reached(position):
            self._tally.say("waiting", "Waiting for the capture to pass the moment of the copy.")
        while not self._reached(position):
            self._pause()
        return self._job.reader.end().next_offset

    def _reached(self, position: str) -> bool:
        now = self._job.reader.end().position
        return now is not None and self._job.source.reached(now, position)

    def _finish(self, place: Checkpoint, pending: Sequence[TableMapping], exact_from: int) -> Checkpoint:
        place = replace(place, exact_from=max(place.exact_from, exact_from))
        self._job.run.commit(place)
        states = self._job.run.table_states()
        for mapping in pending:
            state = replace(states[mapping.mapping_id], state=CopyState.COPIED, chunks=(), chunks_done=frozenset())
            self._job.run.save_table_state(state)
            self._tally.table(state)
        self._tally.placed(place)
        return place

    def _pause(self) -> None:
        self._control.pause(POLL_S)
        self._check_stop()

    def _check_stop(self) -> None:
        if self._control.stopping:
            raise Stopped


@dataclass(frozen=True)
class Piece:
    """One chunk to be copied. `remove` where rows that the source does not have are to go."""

    mapping: TableMapping
    state: TableState
    chunk: Chunk
    remove: bool


class Streams:
    """Copies pieces over several connections at the same time, in order; the first error ends all."""

    def __init__(
        self, run: TargetRun, snapshot: Snapshot, pieces: Sequence[Piece], control: Control, tally: Tally, clock: Clock, sets_aside: bool
    ) -> None:
        self._sets_aside = sets_aside
        self._refused: list[Piece] = []
        self._run, self._snapshot, self._control, self._tally, self._clock = run, snapshot, control, tally, clock
        self._pieces = iter(pieces)
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []
        self._rows = {piece.mapping.mapping_id: piece.state.rows_done for piece in pieces}
        self._at_start = sum(self._rows.values())

    def run(self, streams: int) -> list[Piece]:
        """Copy all; returns when every chunk is in the target for good, but for those of which it refuses rows that may be set aside."""
        threads = [threading.Thread(target=self._stream, name=f"copy-{n}", daemon=True) for n in range(streams)]
        for thread in threads:
            thread.start()
        before, since = dict(self._rows), self._clock.monotonic()
        for thread in threads:
            while thread.is_alive():
                thread.join(PROGRESS_S)
                now = self._clock.monotonic()
                if thread.is_alive() and now - since >= PROGRESS_S:
                    before, since = self._report(before, now - since), now
        self._report(dict(self._rows), 1.0)
        if self._errors:
            raise self._errors[0]
        return self._refused

    def _stream(self) -> None:
        try:
            while (piece := self._next()) is not None:
                rows = self._count(piece)
                try:
                    self._run.copy_chunk(piece.mapping, piece.chunk, rows, piece.state.fresh, piece.remove)
                except RowRefused:
                    if not self._sets_aside or not piece.mapping.key:
                        raise
                    self._refused.append(piece)
        except BaseException as error:  # noqa: BLE001 - not swallowed: `run` raises the first one
            self._errors.append(error)

    def _next(self) -> Piece | None:
        with self._lock:
            if self._errors:
                return None
            if self._control.stopping:
                raise Stopped
            return next(self._pieces, None)

    def _count(self, piece: Piece) -> Iterator[bytes]:
        """The chunk's rows, counted on the way; they end with an error where the worker has to stop, so that the chunk is rolled back."""
        mapping = piece.mapping
        columns, key = [pair.source for pair in mapping.columns], [pair.source for pair in mapping.key]
        for block in self._snapshot.read(mapping.source, columns, key, piece.chunk):
            if self._control.stopping or self._errors:
                raise Stopped
            with self._lock:
                self._rows[mapping.mapping_id] += block.count(b"\n")
            yield block

    def _report(self, before: dict[str, int], spent_s: float) -> dict[str, int]:
        rows = dict(self._rows)
        rates = {m: (rows[m] - before[m]) / spent_s for m in rows}
        self._tally.copying(rows, rates, sum(rows.values()) - self._at_start)
        return rows
