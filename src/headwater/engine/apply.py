"""Apply: keep one task's target tables equal to the history in the journal, from the first copy on, for ever.

    take the task over -> find its place -> copy what is not copied -> follow: collect -> merge -> write -> commit

Collecting and merging run one batch ahead in a thread of their own (see `collect.py`); this thread writes. Rows and checkpoint travel
in one target transaction (P3) under the run's epoch (P4), at ends of source transactions only (P2). A place in the journal that
is only passed by (no change for this task in it) is committed now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from headwater.domain.dirty import STOP, DirtyPolicy
from headwater.domain.errors import OutOfWindow
from headwater.domain.mapping import TableMapping
from headwater.engine.ahead import Ahead
from headwater.engine.collect import Batch, Collector, Idle, Prepared, follow, prepared
from headwater.engine.control import Clock, Control
from headwater.engine.dirty import At, DirtyRows
from headwater.engine.displaced import CopyAgain
from headwater.engine.log import Log
from headwater.engine.misfits import Misfit
from headwater.engine.repair import Repairer
from headwater.engine.snapshot import CopyJob, Follows, copy
from headwater.engine.tally import Tally
from headwater.engine.watchdog import Watchdog
from headwater.ports.dirty import Seal
from headwater.ports.journal import JournalReader
from headwater.ports.source import Source
from headwater.ports.target import Checkpoint, TableState, Target, TargetRun

log = Log("headwater.apply")

IDLE_WAIT_S = 2.0
"""How long one wait for the journal lasts: a stop is seen within it."""

PASS_S = 10.0
"""How often a place that was only passed by is committed."""


@dataclass(frozen=True)
class ApplyJob:
    """What one apply works on. `open_reader` opens the journal; each thread opens its own."""

    task_id: str
    epoch: int
    mappings: Sequence[TableMapping]
    source: Source
    target: Target
    open_reader: Callable[[], JournalReader]
    copy_streams: int = 2
    ahead: int = 1  # batches prepared ahead in a thread; 0 does everything in this thread, one step after the other
    dirty: DirtyPolicy = STOP
    seal: Seal | None = None  # without one no row can be set aside
    follows: Follows = lambda _: True  # see `CopyJob`


def apply(job: ApplyJob, control: Control, clock: Clock) -> None:
    """Run until asked to stop; what is written is committed then.

    Raises:
        Fenced: a newer epoch holds the task.
        HeadwaterError: source, target or journal failed; the kind says what follows. The place is kept in the target.
    """
    tally = Tally(job.mappings, control, clock)
    tally.say("starting")
    job.target.raise_epoch(job.task_id, job.epoch)
    with closing(job.target.open(job.task_id, job.epoch, job.mappings)) as run, closing(job.open_reader()) as reader:
        place = joined(run.checkpoint(), reader)
        dirty = DirtyRows(run, job.task_id, job.mappings, job.dirty, job.seal, clock)
        with Watchdog(run, tally):
            while not control.stopping:
                dirty.load(place)
                tally.dirty(dirty)
                copying = CopyJob(job.source, run, reader, job.mappings, dirty, job.copy_streams, job.follows)
                place = copy(copying, place, control, tally, clock)
                if place.offset is None or control.stopping:
                    break
                try:
                    Follower(job, run, reader, place, tally, clock, dirty).follow(control)
                except CopyAgain as again:
                    place = copying_again(again, run)


def copying_again(again: CopyAgain, run: TargetRun) -> Checkpoint:
    """Give up what was not committed, and mark the mappings as not copied; the place then."""
    log.warning("table_copied_again", mappings=again.mapping_ids, reason=str(again))
    run.rollback()
    for mapping_id in again.mapping_ids:
        run.save_table_state(TableState(mapping_id))
    return run.checkpoint()


def joined(place: Checkpoint, reader: JournalReader) -> Checkpoint:
    """The place, once it is certain that it is one of this journal.

    Raises:
        OutOfWindow: the journal was begun anew since.
    """
    if place.offset is not None and place.journal_id != reader.end().journal_id:
        raise OutOfWindow(
            f"The target stands at offset {place.offset} of a journal that is not there any more; the present one was begun later.",
            kind="history_broken",
        )
    return place


class Follower:
    """Writes prepared batches. `place` is what the target has committed, `passed` how far reading has come without a change since."""

    def __init__(
        self, job: ApplyJob, run: TargetRun, reader: JournalReader, place: Checkpoint, tally: Tally, clock: Clock, dirty: DirtyRows
    ) -> None:
        self._job, self._run, self._reader, self._tally, self._clock = job, run, reader, tally, clock
        self._dirty = dirty
        self._place = self._passed = place
        self._writing = False
        self._commit_at = clock.monotonic() + PASS_S

    def follow(self, control: Control) -> None:
        """Until asked to stop. Where a mapping stops fitting its table, everything before that place is committed first.

        What was written together with the beginning of a large transaction, within which the table changed, is read once more for that.
        """
        self._repairer = Repairer(self._job.mappings, self._job.source, self._run, self._reader, control, self._clock, self._dirty)
        found = self._read(control, None)
        if found is not None and self._place.offset != found.offset:
            self._read(control, found)
        if found is not None:
            raise found

    def _read(self, control: Control, until: Misfit | None) -> Misfit | None:
        """Read and write until asked to stop, or up to where a mapping stops fitting its table, which is returned then."""
        found = None
        try:
            with closing(self._job.open_reader()) as reader:
                batches = self._batches(reader, control, until)
                if self._job.ahead:
                    with Ahead(batches, self._job.ahead) as made_ahead:
                        self._take(made_ahead, control)
                else:
                    self._take(batches, control)
        except Misfit as misfit:
            found = misfit
        self._drain()
        return found

    def _drain(self) -> None:
        """Leave the target with everything committed that was complete; a transaction that was not is given up."""
        if self._writing:
            self._run.rollback()
            self._dirty.load(self._place)
            self._writing = False
        if self._passed != self._place:
            self._commit(self._passed)

    def _batches(self, reader: JournalReader, control: Control, until: Misfit | None) -> Iterator[Prepared | Idle]:
        assert self._place.offset is not None
        states = self._run.table_states()
        self._since = {mapping_id: state.since for mapping_id, state in states.items()}
        followed = follow(self._job.mappings, lambda mapping_id: states[mapping_id].since)
        self._collector = collector = Collector(reader, followed, self._place.offset, self._place.exact_from, until)
        return prepared(collector, followed, lambda: control.stopping, IDLE_WAIT_S)

    def _take(self, batches: Iterable[Prepared | Idle | None], control: Control) -> None:
        self._report()
        for item in batches:
            self._check_stale(control)
            if item is None:
                self._tally.took(self._collector.rows_taken)
                continue
            if isinstance(item, Prepared):
                self._write(item)
            if not self._writing and self._passed != self._place and (self._settles() or self._clock.monotonic() >= self._commit_at):
                self._commit(self._passed)
            if not self._writing:
                self._dirty.look()
                self._tally.dirty(self._dirty)
                self._repairer.step(self._passed, self._commit)
            self._report()

    def _check_stale(self, control: Control) -> None:
        """Raises CopyAgain where tables were changed outside of the log since they were copied."""
        void = [m.mapping_id for m in self._job.mappings if self._since[m.mapping_id] < control.stale.get(str(m.source), 0)]
        if void:
            raise CopyAgain(void, "Rows were changed outside of the source's log.")

    def _settles(self) -> bool:
        """Whether passing has come to where the target is exact again: what it has laid aside until then is to be seen."""
        assert self._place.offset is not None
        assert self._passed.offset is not None
        return self._place.offset < self._place.exact_from <= self._passed.offset

    def _write(self, item: Prepared) -> None:
        """Write one batch; commit where it ends between transactions and something was written."""
        batch = item.batch
        if item.merged:
            self._tally.writing(batch)
            at = At(batch.first_offset, batch.next_offset, batch.whole, batch.position, batch.last_us)
            self._tally.wrote(batch, self._dirty.write(item.merged, at))
            self._tally.dirty(self._dirty)
            self._writing = True
        if batch.whole:
            self._passed = self._after(batch)
            if self._writing:
                self._commit(self._passed)

    def _after(self, batch: Batch) -> Checkpoint:
        return replace(self._place, offset=batch.next_offset, position=batch.position, commit_us=batch.last_us)

    def _commit(self, place: Checkpoint) -> None:
        self._tally.committing()
        self._run.commit(place)
        self._dirty.committed()
        self._place, self._writing = place, False
        self._commit_at = self._clock.monotonic() + PASS_S

    def _report(self) -> None:
        end, offset = self._reader.end(), self._passed.offset
        assert offset is not None
        pending = self._reader.stamp(offset) if end.next_offset > offset else None
        self._tally.reached(self._passed, self._place.offset, end.next_offset, pending)
