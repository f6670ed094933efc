"""Rows that looked different once: do they differ, or did they only move while we looked?

Source and target are read at different moments, and both go on. So suspected rows are read again, between two looks at the task's
checkpoint, and then the journal is asked which of them any transaction has touched from that checkpoint on up to now (up to a place
at the source behind our reading). A row that none has touched was the same all that time on both sides: if it differs, it differs. It
has to be found so twice, the same both times. A touched row is looked at again, after a pause that grows.

A stopped task is told apart by the same rule: rows that changed after its checkpoint count as touched, for as long as it does not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, repeat

from headwater.domain.errors import HeadwaterError, OutOfWindow, SourceError
from headwater.domain.mapping import TableMapping
from headwater.engine.control import Clock, Control
from headwater.engine.touched import touched
from headwater.engine.verify_tally import Kind
from headwater.ports.compare import Comparison, Digest, Key, Part, SourceComparison, Span
from headwater.ports.journal import JournalReader
from headwater.ports.source import Source
from headwater.ports.target import Checkpoint, CopyState, Target

PAUSES_S = (0.0, 0.1, 0.3, 1.0, 2.0)
"""Pauses before the first, second, ... look; the last one repeats."""

CAPTURED_S = 60.0
"""How long the journal may stand still without reaching a place of the source before a verification gives up."""

POLL_S = 0.05
WHOLE: Key = ()
"""The key that stands for a whole table without a usable key."""


class Stopped(Exception):
    """The worker was asked to stop."""


@dataclass
class Sides:
    """Both sides of one mapping, asked at the same time. `ours` is the source's part, `theirs` the target's."""

    source: SourceComparison
    target: Comparison
    ours: Part
    theirs: Part
    pool: ThreadPoolExecutor

    def digests(self, span: Span) -> tuple[Digest, Digest]:
        """The digest of a span on both sides."""
        there = self.pool.submit(self.target.digest, self.theirs, span)
        try:
            return self.source.digest(self.ours, span), there.result()
        finally:
            there.exception()

    def rows(self, span: Span, limit: int) -> tuple[dict[Key, Digest], dict[Key, Digest]]:
        """The rows of a span on both sides."""
        there = self.pool.submit(self.target.rows, self.theirs, span, limit)
        try:
            return self.source.rows(self.ours, span, limit), there.result()
        finally:
            there.exception()

    def at(self, keys: Sequence[Key]) -> list[tuple[Digest | None, Digest | None]]:
        """The rows with these keys on both sides; for `WHOLE` the digest of the table."""
        if keys == [WHOLE]:
            return [self.digests(Span())]
        there = self.pool.submit(_rows_at, self.target, self.theirs, keys)
        try:
            return list(zip(_rows_at(self.source, self.ours, keys), there.result(), strict=True))
        finally:
            there.exception()


def _rows_at(session: Comparison, part: Part, keys: Sequence[Key]) -> list[Digest | None]:
    """The rows with these keys, None where there is none. A key that the side's type can't even express has none."""
    try:
        found = session.rows_at(part, keys)
    except HeadwaterError as error:
        if error.kind != "compare_impossible":
            raise
        half = len(keys) // 2
        return [None] if not half else [*_rows_at(session, part, keys[:half]), *_rows_at(session, part, keys[half:])]
    return [found.get(i) for i in range(len(keys))]


@dataclass
class Suspects:
    """Keys that are to be looked at. `at_target` are in the target's text form: they matter only where the source has no such row, since
    each row of the source is looked at by its own key."""

    at_source: set[Key] = field(default_factory=set)
    at_target: set[Key] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.at_source) + len(self.at_target)


@dataclass(frozen=True)
class Watch:
    """How to learn where source, journal and target stand."""

    task_id: str
    source: Source
    target: Target
    reader: JournalReader
    control: Control
    clock: Clock

    def place(self, mapping_id: str) -> tuple[Checkpoint, bool]:
        """The task's checkpoint, and whether the mapping is copied.

        Raises:
            OutOfWindow: the target stands in another journal than the one that is there.
        """
        place, states = self.target.look(self.task_id)
        if place.offset is not None and place.journal_id != self.reader.end().journal_id:
            raise OutOfWindow("The target stands in a journal that is not there any more.", kind="history_broken")
        state = states.get(mapping_id)
        return place, place.offset is not None and state is not None and state.state is CopyState.COPIED

    def until_captured(self, position: str) -> None:
        """Wait until the journal holds everything before a place of the source.

        Raises:
            SourceError: the journal stands still.
        """
        end = self.reader.end()
        since = self.clock.monotonic()
        while end.position is None or not self.source.reached(end.position, position):
            self.pause(POLL_S)
            before, end = end, self.reader.end()
            if (before.position, before.next_offset) != (end.position, end.next_offset):
                since = self.clock.monotonic()
            elif self.clock.monotonic() - since > CAPTURED_S:
                raise SourceError("The capture of the source stands still, so rows that move can't be told from rows that differ.")

    def pause(self, timeout_s: float) -> None:
        """Sleep; ends with `Stopped` where the worker is asked to."""
        if self.control.pause(timeout_s):
            raise Stopped


class Settler:
    """Settles suspected rows of one mapping. `shared`: others write to its target table too, so that further rows there mean nothing."""

    def __init__(self, watch: Watch, sides: Sides, mapping: TableMapping, shared: bool) -> None:
        self._watch, self._sides, self._mapping, self._shared = watch, sides, mapping, shared

    def settle(self, suspects: Suspects, looks: int, pauses: Iterable[float] = ()) -> tuple[dict[Key, Kind], Suspects]:
        """The rows that differ for certain, and those that still moved at the last of `looks` looks."""
        differing: dict[Key, Kind] = {}
        seen: dict[Key, tuple[Digest | None, Digest | None]] = {}
        pause = chain(pauses or PAUSES_S, repeat(PAUSES_S[-1]))
        for _ in range(looks):
            if not suspects:
                break
            self._watch.pause(next(pause))
            unequal, still = self._look(suspects)
            for key in [k for k in unequal if k in still and seen.get(k) == unequal[k][:2]]:
                differing[key] = unequal.pop(key)[2]
            seen = {key: unequal[key][:2] for key in unequal if key in still}
            suspects = Suspects(suspects.at_source & unequal.keys(), suspects.at_target & unequal.keys() - suspects.at_source)
        return differing, suspects

    def _look(self, suspects: Suspects) -> tuple[dict[Key, tuple[Digest | None, Digest | None, Kind]], set[Key]]:
        """One look: the rows that are not equal now, and those of them that have not changed while we looked."""
        watch, keys = self._watch, [*suspects.at_source, *(suspects.at_target - suspects.at_source)]
        first = watch.reader.end().next_offset
        before, copied_before = watch.place(self._mapping.mapping_id)
        unequal: dict[Key, tuple[Digest | None, Digest | None, Kind]] = {}
        for key, (ours, theirs) in zip(keys, self._sides.at(keys), strict=True):
            kind = self.kind(ours, theirs)
            if kind is not None and not (ours is not None and key not in suspects.at_source):
                unequal[key] = ours, theirs, kind
        if not unequal:
            return {}, set()
        watch.until_captured(self._sides.source.position())
        after, copied_after = watch.place(self._mapping.mapping_id)
        if not (copied_before and copied_after) or before.epoch != after.epoch or before.offset is None:
            return unequal, set()
        names = self._sides.ours.key if keys != [WHOLE] else ()
        since = min(first, before.offset)
        moved = touched(watch.reader, since, self._mapping.source, names, unequal.keys(), lambda: watch.control.stopping)
        return unequal, set(unequal) - moved

    def kind(self, ours: Digest | None, theirs: Digest | None) -> Kind | None:
        """What is wrong with a row, as far as the task replicates it; None where nothing is."""
        operations = self._mapping.operations
        if ours == theirs:
            return None
        if ours is None:
            return "extra" if "DELETE" in operations and not self._shared else None
        if theirs is None:
            return "missing" if "INSERT" in operations else None
        return "differing" if "UPDATE" in operations else None
