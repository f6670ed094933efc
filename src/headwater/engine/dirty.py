"""Setting rows aside: the way from a prepared batch to the target for a task that may meet rows which the target refuses.

    touches no set-aside row? -> write -> taken: that was all
    else: lock and read the touched records -> write carefully (`careful.py`) -> within the limits? -> put and settle records,
    in the same target transaction as rows and checkpoint (P3)

A task that stops at refused rows pays nothing for this, one that sets them aside a savepoint per batch. Keys of set-aside rows are in
memory, and found in a batch by whole columns; their rows are read when they are needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from headwater.domain.dirty import (
    HELD_BYTES_MAX,
    HELD_MAX,
    RATE_US,
    ROW_BYTES_MAX,
    DirtyPolicy,
    DirtyRow,
    Key,
    key_text,
    read_key,
    sealed_at,
    touched,
)
from headwater.domain.errors import DirtyLimit, RowRefused
from headwater.domain.isolate import TooMany
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable
from headwater.engine.careful import Bad, Careful, Place, attempt
from headwater.engine.control import Clock
from headwater.ports.dirty import HELD, DirtyRecord, Seal
from headwater.ports.target import Checkpoint, TargetRun, Written

SUSPECTS_MAX = 1_000
"""Rows that may be refused while others are not yet written, beyond those that may be set aside: children before their parents."""

REASON_MAX = 500
"""Reasons are cut to this many characters."""

LOOK_S = 10.0
"""How often it is looked whether somebody has settled rows."""

FROM_COPY = -1
"""Where a copy's rows come from, as an offset: before all history."""


@dataclass(frozen=True)
class At:
    """Where a batch comes from. `whole`: it ends between transactions, so constraints must hold. A copy has no commit time."""

    first_offset: int
    next_offset: int
    whole: bool = True
    position: str | None = None
    commit_us: int | None = None


class DirtyRows:
    """The set-aside rows of one run. `new_rows` counts those that it was the first to set aside; a replay adds none."""

    def __init__(
        self, run: TargetRun, task_id: str, mappings: Sequence[TableMapping], policy: DirtyPolicy, seal: Seal | None, clock: Clock
    ) -> None:
        self._mapping_ids = {mapping.mapping_id for mapping in mappings}
        self._run, self._task_id, self._seal, self._clock = run, task_id, seal, clock
        self._policy = policy if seal is not None else DirtyPolicy()
        self._held: dict[Place, DirtyRecord] = {}
        self._keys: dict[str, set[Key]] = {}  # of `_held`, by mapping
        self._recent: deque[int] = deque()
        self.new_rows = self._new_committed = 0
        self._look_at = 0.0

    def load(self, place: Checkpoint) -> None:
        """Read what is set aside, also again after a rollback. What belongs to mappings that are gone or were changed is over. Commits."""
        if self._seal is None:
            return
        self._held.clear()
        self._keys.clear()
        self._recent.clear()
        self.new_rows = self._new_committed
        records = self._run.dirty.held()
        for record in records:
            if record.mapping_id in self._mapping_ids:
                key = read_key(self._seal.open(record.sealed_key, sealed_at(self._task_id, record.id, "key")))
                self._hold((record.mapping_id, key), record)
                self._recent += [record.first_us] if record.first_us > self._clock.now_us() - RATE_US else []
        gone = [record.id for record in records if record.mapping_id not in self._mapping_ids]
        self._run.dirty.settle(gone, "removed", "", self._clock.now_us())
        self._run.commit(place) if gone else self._run.rollback()

    def copied_again(self, mapping_id: str, place: Checkpoint) -> None:
        """A mapping's copy begins from its beginning: it will find what is bad, and nothing else is any more. Commits."""
        places = {held for held in self._held if held[0] == mapping_id}
        if places:
            self._settle(places, "reset")
            self._run.commit(place)

    def look(self) -> None:
        """Take over what persons have settled, now and then, so that reports tell it. Only between two transactions."""
        if self._held and self._clock.monotonic() >= self._look_at:
            self._look_at = self._clock.monotonic() + LOOK_S
            self._refresh(set())
            self._run.rollback()

    def committed(self) -> None:
        """What was written is there for good."""
        self._new_committed = self.new_rows

    @property
    def open_rows(self) -> int:
        """Rows that are set aside and neither settled nor discarded, as far as this run knows."""
        return sum(record.state == "open" for record in self._held.values())

    @property
    def sets_aside(self) -> bool:
        """Whether refused rows are set aside."""
        return self._policy.sets_aside

    def write(self, merged: Sequence[MergedTable], at: At) -> Written:
        """Write a batch into the run's open transaction; what is refused is set aside there, as far as the policy lets it.

        Raises:
            RowRefused: the policy is to stop, or what is refused can't be set aside.
            DirtyLimit: there is too much of it.
        """
        places = self._touched(merged)
        if not places:
            try:
                return attempt(self._run, merged, at.whole) if self.sets_aside else self._run.write(merged)
            except RowRefused:
                if not self.sets_aside:
                    raise
        return self._write_carefully(merged, at, places)

    def _write_carefully(self, merged: Sequence[MergedTable], at: At, places: set[Place]) -> Written:
        room = max(self._policy.rows_max - self.open_rows, 0) + SUSPECTS_MAX if self.sets_aside else 0
        careful = Careful(self._run, at.whole, self._taken(places), room)
        try:
            written = careful.write(merged)
        except TooMany as many:
            raise self._beyond(f"More than {self._policy.rows_max} rows", str(many)) from None
        self._put(careful.bad, at)
        self._settle(careful.settled)
        return written

    # -- what is held

    def _touched(self, merged: Sequence[MergedTable]) -> set[Place]:
        """The places of set-aside rows that a batch says something about."""
        if not self._held:
            return set()
        found = set()
        for one in merged:
            keys = self._keys.get(one.mapping.mapping_id, ())
            found |= {(one.mapping.mapping_id, key) for step in one.steps for key in touched(one.mapping, step, keys)} if keys else set()
        return found

    def _taken(self, places: set[Place]) -> dict[str, dict[Key, DirtyRow]]:
        """Lock these records and read their rows; what somebody else has settled meanwhile is forgotten."""
        taken = {record.id: record for record in self._run.dirty.take([self._held[place].id for place in places])} if places else {}
        rows: dict[str, dict[Key, DirtyRow]] = {}
        for mapping_id, key in places:
            record = taken.get(self._held[mapping_id, key].id)
            if record is None:
                self._drop((mapping_id, key))
                continue
            self._hold((mapping_id, key), replace(record, sealed_row=None))
            assert self._seal is not None
            assert record.sealed_row is not None
            row = self._seal.open(record.sealed_row, sealed_at(self._task_id, record.id, "row"))
            rows.setdefault(mapping_id, {})[key] = DirtyRow.read(row)
        return rows

    def _put(self, bad: dict[Place, Bad], at: At) -> None:
        """Record what was refused, within the limits."""
        if not bad:
            return
        assert self._seal is not None
        ids = {place: self._id(place) for place in bad}
        known = self._run.dirty.known(list(ids.values()))
        records = []
        open_before, new_before = self.open_rows, self.new_rows
        for place, one in bad.items():
            before = known.get(ids[place])
            record, is_new = self._record(ids[place], place, one, at, before)
            records.append(record)
            self._hold(place, replace(record, sealed_row=None, first_us=before.first_us if before else record.first_us))
            if is_new:
                self.new_rows += 1
                self._recent.append(record.last_us)
        if self.open_rows > open_before or self.new_rows > new_before:
            self._check_limits(records)
        self._run.dirty.put(records)

    def _record(self, id: str, place: Place, bad: Bad, at: At, before: DirtyRecord | None) -> tuple[DirtyRecord, bool]:
        """The record of a refused row, and whether it is a new one: the same row refused again by a replay never is."""
        assert self._seal is not None
        text, key = bad.row.text(), key_text(place[1])
        if len(text) > ROW_BYTES_MAX:
            raise self._beyond(f"A row of {len(text)} bytes, of which at most {ROW_BYTES_MAX} can be kept,", bad.reason)
        held = before is not None and before.state in HELD and before.row_bytes > 0
        again = before is not None and at.first_offset < before.upto
        now = self._clock.now_us()
        record = DirtyRecord(
            id=id,
            mapping_id=bad.mapping.mapping_id,
            source_table=str(bad.mapping.source),
            target_table=str(bad.mapping.target),
            state="discarded" if before is not None and held and again and before.state == "discarded" else "open",
            kind=bad.row.kind,
            reason=bad.reason[:REASON_MAX],
            position=at.position,
            commit_us=at.commit_us,
            upto=max(at.next_offset, before.upto if before else 0),
            first_us=now,
            last_us=now,
            row_bytes=len(text),
            sealed_key=self._seal.seal(key, sealed_at(self._task_id, id, "key")),
            sealed_row=self._seal.seal(text, sealed_at(self._task_id, id, "row")),
        )
        if record.state == "discarded" and before is not None:
            record = replace(record, settled_by=before.settled_by, settled_us=before.settled_us)
        return record, not again and not (held and before is not None and before.state == "open")

    def _check_limits(self, records: Sequence[DirtyRecord]) -> None:
        """Raises DirtyLimit where more is set aside than may be, with these records that are to be put."""
        last = records[-1]
        if self.open_rows > self._policy.rows_max or len(self._held) > HELD_MAX:
            self._refresh({record.id for record in records})
        if self.open_rows > self._policy.rows_max:
            raise self._beyond(f"{self.open_rows} rows", last.reason)
        size = sum(record.row_bytes for record in self._held.values())
        if len(self._held) > HELD_MAX or size > HELD_BYTES_MAX:
            raise self._beyond(f"{len(self._held)} rows of {size} bytes, discarded ones included,", last.reason)
        while self._recent and self._recent[0] <= last.last_us - RATE_US:
            self._recent.popleft()
        if self._policy.per_minute_max is not None and len(self._recent) > self._policy.per_minute_max:
            raise self._beyond(f"{len(self._recent)} rows within a minute", last.reason)

    def _beyond(self, what: str, reason: str) -> DirtyLimit:
        rate = "" if self._policy.per_minute_max is None else f", {self._policy.per_minute_max} within a minute"
        return DirtyLimit(f"{what} would be set aside; the limit is {self._policy.rows_max} rows{rate}. The last reason: {reason}")

    def _refresh(self, fresh: set[str]) -> None:
        """Take over what persons have settled or discarded; `fresh` ones are not at the target yet."""
        now = {record.id: record for record in self._run.dirty.held()}
        for place, record in list(self._held.items()):
            if record.id in fresh:
                continue
            if record.id in now:
                self._held[place] = now[record.id]
            else:
                self._drop(place)

    def _settle(self, places: set[Place], state: str = "resolved") -> None:
        """End these records: what lay over the tables there does so no more."""
        ids = [self._held[place].id for place in places if place in self._held]
        if ids:
            self._run.dirty.settle(ids, state, "", self._clock.now_us())
        for place in places:
            self._drop(place)

    def _hold(self, place: Place, record: DirtyRecord) -> None:
        self._held[place] = record
        self._keys.setdefault(place[0], set()).add(place[1])

    def _drop(self, place: Place) -> None:
        if self._held.pop(place, None) is not None:
            self._keys[place[0]].discard(place[1])

    def _id(self, place: Place) -> str:
        """The record's id: the same for the same key of the same mapping, and telling nothing of it."""
        assert self._seal is not None
        values = [b"\x00" if value is None else b"\x01" + value for value in place[1]]
        return self._seal.name(self._task_id.encode(), place[0].encode(), *values)
