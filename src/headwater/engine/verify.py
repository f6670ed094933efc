"""Verification: is the target what the source says, row by row? While the task runs, and at a load with limits.

    per mapping: in which forms can values be compared -> chunk by chunk: digests on both sides; where they differ: rows -> suspects
    -> settle the suspects (`verify_settle.py`) -> repair what differs for certain, where that is wished -> what moved is settled again

Chunks are spans of the source's key. They need not hold the same rows on both sides, for keys may be ordered differently there: each row
of either side lies in a span, and rows that miss their partner within theirs are looked up by key. So a chunk costs less where
the orders agree, and nothing is missed where they don't.

Decision 0018 says why it is made this way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace

from headwater.domain.comparing import Form, forms
from headwater.domain.errors import HeadwaterError
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.engine.control import Clock, Control
from headwater.engine.orders import VerifyLoad
from headwater.engine.verify_settle import PAUSES_S, WHOLE, Settler, Sides, Stopped, Suspects, Watch
from headwater.engine.verify_tally import VerifyTally
from headwater.ports.compare import Comparison, Key, Part, SourceComparison, Span
from headwater.ports.journal import JournalReader
from headwater.ports.source import Source
from headwater.ports.target import Target

NEAR_TRANSACTIONS = 10_000
"""A running task is compared once it is no further behind than this: a look would have to read so much of the journal."""

READY_POLL_S = 0.5
CHUNK_ROWS_MIN = 100
DEPTH_MAX = 8
"""How often a chunk that is too large on one side may be cut by the other side's rows."""
BLOCK_KEYS = 2_000
"""So many suspected rows are settled at once."""

LOOKS = 3
"""Looks at suspected rows while the comparison goes on; those that still move are kept for its end."""

MOVING_MAX = 20_000
"""So many moving rows are kept for the end; the rest counts as unsettled."""

DIFFERENT_MAX = 100_000
"""A table with more rows that differ than this is not compared further."""

REPAIR_KEYS = 200
REPAIR_LOOKS = 40
"""Rows per wish for a repair, and how often the rows are looked at until it is given up; the wish is repeated now and then."""


@dataclass(frozen=True)
class VerifyJob:
    """What one verification works on; see `VerifyOrder`."""

    task_id: str
    mappings: Sequence[TableMapping]
    shared: frozenset[str]
    source: Source
    target: Target
    open_reader: Callable[[], JournalReader]
    repair: bool = False
    load: VerifyLoad = field(default_factory=VerifyLoad)


def verify(job: VerifyJob, control: Control, clock: Clock) -> None:
    """Compare all mappings; the last report says what came out. Asked to stop, it ends without an outcome.

    Raises:
        HeadwaterError: source, target or journal failed.
    """
    tally = VerifyTally(job.mappings, job.load.keys_max, control)
    with (
        closing(job.open_reader()) as reader,
        closing(job.source.compare(job.load.statement_timeout_s)) as source,
        closing(job.target.compare(job.load.statement_timeout_s)) as target,
        ThreadPoolExecutor(1, thread_name_prefix="compare") as pool,
    ):
        watch = Watch(job.task_id, job.source, job.target, reader, control, clock)
        try:
            for mapping in job.mappings:
                Verifier(job, mapping, watch, tally, (source, target), pool).verify()
        except Stopped:
            return
    tally.done()


class NotCompared(Exception):
    """A mapping can't be compared; the text says why."""


class Verifier:
    """The comparison of one mapping."""

    def __init__(
        self,
        job: VerifyJob,
        mapping: TableMapping,
        watch: Watch,
        tally: VerifyTally,
        sessions: tuple[SourceComparison, Comparison],
        pool: ThreadPoolExecutor,
    ) -> None:
        self._job, self._mapping, self._watch, self._tally = job, mapping, watch, tally
        self._sessions, self._pool = sessions, pool
        self._id = mapping.mapping_id
        self._chunk_rows = job.load.chunk_rows
        self._suspects, self._moving, self._dropped = Suspects(), Suspects(), 0

    def verify(self) -> None:
        """See the module."""
        try:
            self._until_ready()
            sides = self._sides(casts=True)
            try:
                self._compare(sides)
            except HeadwaterError as error:
                if error.kind != "compare_impossible":
                    raise
                self._tally.anew(self._id)
                self._suspects, self._moving = Suspects(), Suspects()
                self._compare(self._sides(casts=False))
        except NotCompared as reason:
            self._tally.change(self._id, state="not_compared", message=str(reason))
        except HeadwaterError as error:
            if error.kind not in ("compare_timeout", "compare_impossible"):
                raise
            self._tally.change(self._id, state="not_compared", message=str(error))

    # -- before

    def _until_ready(self) -> None:
        """Wait until the mapping is copied and its task is not far behind; take note of where it stands."""
        while True:
            place, copied = self._watch.place(self._id)
            behind = self._watch.reader.end().next_offset - (place.offset or 0)
            replaying = place.offset is not None and place.offset < place.exact_from
            if copied and not (self._watch.control.running and (replaying or behind > NEAR_TRANSACTIONS)):
                break
            if not self._watch.control.running:
                raise NotCompared("It is not copied yet, and the task does not run. Start the task, then verify it.")
            why = "is being copied" if not copied else "is being replayed" if replaying else f"is {behind:,} transactions behind"
            self._tally.say("waiting", f"{self._mapping.target} {why}; it is compared after that.")
            self._watch.pause(READY_POLL_S)
        assert place.offset is not None
        self._tally.placed(place.offset)
        self._tally.say("comparing")

    def _sides(self, *, casts: bool) -> Sides:
        """Both sides with the columns that can be compared; the others are told."""
        source, target = self._sessions
        mapping = self._mapping
        ours = source.types(mapping.source, [pair.source for pair in mapping.columns])
        theirs = target.types(mapping.target, [pair.target for pair in mapping.columns])
        compared: list[tuple[ColumnPair, tuple[Form, Form]]] = []
        left_out = []
        for pair in mapping.columns:
            if pair.source not in ours or pair.target not in theirs:
                raise NotCompared(f"{mapping.source}.{pair.source} or {mapping.target}.{pair.target} does not exist. Change the mapping.")
            found = forms(ours[pair.source], theirs[pair.target])
            if found is None or (found[0].kind == "cast" and not casts):
                left_out.append(f"{pair.source} ({ours[pair.source]}) and {pair.target} ({theirs[pair.target]}) have no common text")
            elif pair.key or not mapping.key or "UPDATE" in mapping.operations:
                compared.append((pair, found))
        self._tally.change(self._id, left_out=tuple(left_out))
        pairs = [pair for pair, _ in compared]
        if not pairs or any(pair.key and pair not in pairs for pair in mapping.columns):
            raise NotCompared("Its key can't be compared: its columns have no common text.")
        key = mapping.key
        hashed = next(one for one in source.hashes if one in target.hashes)
        here = Part(mapping.source, tuple((p.source, f[0]) for p, f in compared), tuple(p.source for p in key), hashed)
        there = Part(mapping.target, tuple((p.target, f[1]) for p, f in compared), tuple(p.target for p in key), hashed)
        if not (source.chunked(here) and target.chunked(there)):
            here, there = replace(here, key=()), replace(there, key=())
        return Sides(source, target, here, there, self._pool)

    # -- comparing

    def _compare(self, sides: Sides) -> None:
        settler = Settler(self._watch, sides, self._mapping, self._id in self._job.shared)
        self._tally.change(self._id, state="comparing", rows_expected=sides.source.rows_estimate(self._mapping.source))
        if sides.ours.key:
            self._walk(sides, settler, Span())
            self._settle(settler, self._suspects, LOOKS)
            self._suspects = Suspects()
            self._settle_moving(settler)
        else:
            self._compare_whole(sides, settler)
        table = self._tally.table(self._id)
        unsettled = len(self._moving) + self._dropped
        state = "different" if table.different > table.repaired else "unsettled" if unsettled or table.message else "equal"
        self._tally.change(self._id, state=state, unsettled=unsettled, message=table.message or self._why_unsettled(unsettled))

    def _why_unsettled(self, unsettled: int) -> str:
        if not unsettled:
            return ""
        if self._watch.control.running:
            return "The rows counted as unsettled changed each time they were looked at; all others were settled."
        return "The rows counted as unsettled changed after the place where the stopped task stands; all others were settled."

    def _compare_whole(self, sides: Sides, settler: Settler) -> None:
        """A table whose rows can't be found by key: equal or not, and nothing more."""
        if self._id in self._job.shared or not self._mapping.operations >= {"INSERT", "UPDATE", "DELETE"}:
            raise NotCompared("Its rows can't be found by key, and they are not all that the target table holds.")
        began = self._watch.clock.monotonic()
        ours, theirs = sides.digests(Span())
        self._tally.compared(self._id, ours.rows, self._watch.clock.monotonic() - began)
        if ours == theirs:
            return
        differing, self._moving = settler.settle(Suspects({WHOLE}), self._looks())
        if differing:
            counts = f"{ours.rows:,} rows at the source, {theirs.rows:,} at the target"
            self._tally.change(
                self._id, differing=1, message=f"Without a usable key only the whole table is compared: it differs ({counts})."
            )

    def _walk(self, sides: Sides, settler: Settler, span: Span, by: str = "source", depth: int = 0) -> None:
        """Compare a span chunk by chunk, cut as one side's rows lie."""
        if depth > DEPTH_MAX:
            raise NotCompared("Source and target order its key so differently that it can't be cut into chunks for both.")
        session, part = (sides.source, sides.ours) if by == "source" else (sides.target, sides.theirs)
        while True:
            upto = session.bound(part, span, self._chunk_rows)
            self._chunk(sides, settler, Span(span.after, upto or span.upto), depth)
            if upto is None or self._too_many():
                return
            span = Span(upto, span.upto)

    def _chunk(self, sides: Sides, settler: Settler, span: Span, depth: int) -> None:
        began = self._watch.clock.monotonic()
        try:
            ours, theirs = sides.digests(span)
        except HeadwaterError as error:
            if error.kind != "compare_timeout" or self._chunk_rows <= CHUNK_ROWS_MIN:
                raise
            self._chunk_rows = max(CHUNK_ROWS_MIN, self._chunk_rows // 4)
            self._walk(sides, settler, span, depth=depth)
            return
        spent_s = self._watch.clock.monotonic() - began
        self._watch.pause(max(self._job.load.pause_s, 0.0))
        if ours != theirs and max(ours.rows, theirs.rows) > 2 * self._chunk_rows:
            self._walk(sides, settler, span, "source" if ours.rows >= theirs.rows else "target", depth + 1)
            return
        self._tally.compared(self._id, ours.rows, spent_s)
        if ours != theirs:
            self._list(sides, settler, span)

    def _list(self, sides: Sides, settler: Settler, span: Span) -> None:
        """Find the rows of an unequal chunk that may differ."""
        ours, theirs = sides.rows(span, 4 * self._chunk_rows)
        kinds = {key: settler.kind(ours.get(key), theirs.get(key)) for key in ours.keys() | theirs.keys()}
        suspected = {key for key, kind in kinds.items() if kind is not None}
        self._suspects.at_source |= suspected & ours.keys()
        self._suspects.at_target |= suspected - ours.keys()
        if len(self._suspects) >= BLOCK_KEYS:
            self._settle(settler, self._suspects, LOOKS)
            self._suspects = Suspects()

    # -- settling and repairing

    def _settle(self, settler: Settler, suspects: Suspects, looks: int) -> None:
        for block in _blocks(suspects):
            if self._too_many():
                return
            differing, moving = settler.settle(block, looks)
            if len(self._moving) + len(moving) <= MOVING_MAX:
                self._moving.at_source |= moving.at_source
                self._moving.at_target |= moving.at_target
            else:
                self._dropped += len(moving)
            if differing:
                repaired = self._repair(settler, list(differing)) if self._job.repair else set()
                self._tally.found(self._id, differing, repaired)

    def _settle_moving(self, settler: Settler) -> None:
        moving, self._moving = self._moving, Suspects()
        self._settle(settler, moving, self._looks())

    def _looks(self) -> int:
        """How many looks fit into the time that moving rows are given; for a stopped task it would always be the same."""
        return LOOKS if not self._watch.control.running else len(PAUSES_S) + round(self._job.load.settle_s / PAUSES_S[-1])

    def _repair(self, settler: Settler, keys: list[Key]) -> set[Key]:
        """Have the apply write rows again; those that are equal afterwards."""
        repaired: set[Key] = set()
        for start in range(0, len(keys), REPAIR_KEYS):
            left = set(keys[start : start + REPAIR_KEYS])
            for look in range(REPAIR_LOOKS):
                if not left or not self._watch.control.running:
                    break
                if look % 4 == 0:
                    self._tally.ask(self._id, sorted(left))
                _, unequal = settler.settle(Suspects(left, left), 1, (0.5,))
                repaired |= left - unequal.at_source
                left = unequal.at_source
        return repaired

    def _too_many(self) -> bool:
        if self._tally.table(self._id).different < DIFFERENT_MAX:
            return False
        self._tally.change(self._id, message=f"More than {DIFFERENT_MAX:,} rows differ; the rest was not compared. Copy the table again.")
        return True


def _blocks(suspects: Suspects) -> list[Suspects]:
    keys = [(key, True) for key in suspects.at_source] + [(key, False) for key in suspects.at_target - suspects.at_source]
    blocks = [keys[at : at + BLOCK_KEYS] for at in range(0, len(keys), BLOCK_KEYS)]
    return [Suspects({k for k, ours in block if ours}, {k for k, ours in block if not ours}) for block in blocks]
