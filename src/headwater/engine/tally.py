"""What an apply has done and where it stands, as its report: one value that the copy and the follower both write into."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from headwater.domain.mapping import TableMapping
from headwater.engine.collect import Batch
from headwater.engine.control import Clock, Control
from headwater.engine.dirty import DirtyRows
from headwater.ports.runtime import ApplyReport, TableReport
from headwater.ports.target import Checkpoint, CopyState, TableState, Written

FOLLOWING_US = 2_000_000
"""Behind by less than this is `following`: a moment."""

RATE_S = 1.0
"""Rates are means over at least this long."""


class Tally:
    """The report in the making; each change is posted at once (the runtime thins out). One thread writes it, and the watchdog `seen`."""

    def __init__(self, mappings: Sequence[TableMapping], control: Control, clock: Clock) -> None:
        self._control, self._clock = control, clock
        self._tables = {m.mapping_id: TableReport(m.mapping_id, str(m.source), str(m.target), "pending") for m in mappings}
        self._report = ApplyReport("starting")
        self._rate_at, self._rate_rows = clock.monotonic(), 0
        self._lock = threading.Lock()

    @property
    def report(self) -> ApplyReport:
        """As posted last."""
        return self._report

    def say(self, state: Literal["starting", "waiting", "copying"], message: str = "") -> None:
        """Enter a state that is not about following."""
        self._post(state=state, message=message)

    def placed(self, checkpoint: Checkpoint) -> None:
        """The checkpoint stands here."""
        self._post(
            offset=checkpoint.offset,
            kept_offset=checkpoint.offset,
            exact_from=checkpoint.exact_from,
            position=checkpoint.position,
            commit_us=checkpoint.commit_us,
        )

    def table(self, state: TableState, expected: int | None = None) -> None:
        """Take over a mapping's copy state."""
        before = self._tables[state.mapping_id]
        names: dict[CopyState, Literal["pending", "copying", "copied"]] = {
            CopyState.PENDING: "pending",
            CopyState.COPYING: "copying",
            CopyState.COPIED: "copied",
        }
        rows = before.rows_expected if expected is None else expected
        rows = state.rows_done if state.state is CopyState.COPIED else max(rows, state.rows_done)
        self._tables[state.mapping_id] = replace(
            before, state=names[state.state], since=state.since, rows_done=state.rows_done, rows_expected=rows, rows_per_s=0.0
        )
        self._post(tables=tuple(self._tables.values()))

    def copying(self, done: dict[str, int], rates: dict[str, float], copied: int) -> None:
        """Rows that the copy has brought so far, by mapping, and in all by this run."""
        for mapping_id, rows in done.items():
            before = self._tables[mapping_id]
            self._tables[mapping_id] = replace(
                before, rows_done=rows, rows_expected=max(rows, before.rows_expected), rows_per_s=round(rates.get(mapping_id, 0.0), 1)
            )
        obstacle = self._report.obstacle if copied == self._report.rows_copied else ""
        self._post(obstacle=obstacle, tables=tuple(self._tables.values()), rows_copied=copied, rows_per_s=round(sum(rates.values()), 1))

    def dirty(self, dirty: DirtyRows) -> None:
        """What is set aside now, and what this run was the first to set aside."""
        self._report = replace(self._report, rows_dirty=dirty.new_rows, dirty_open=dirty.open_rows)

    def writing(self, batch: Batch) -> None:
        """A batch is about to be written: until it is committed, its first transaction is the oldest that waits."""
        self._follow(batch.first_us, max(self._report.next_offset, batch.next_offset))
        self._post(doing="write")

    def committing(self) -> None:
        """What was written is about to be committed."""
        self._post(doing="commit")

    def took(self, rows: int) -> None:
        """So many rows in all were read from the journal by now."""
        if rows != self._report.rows_taken:
            self._post(rows_taken=rows)

    def seen(self, obstacle: str) -> None:
        """The target was looked at while it owed an answer: what is in the way, or nothing, and it is at work."""
        self._post(obstacle=obstacle, looks=self._report.looks + (not obstacle))

    def wrote(self, batch: Batch, written: Written) -> None:
        """A batch was written (its commit may still come)."""
        now = self._report
        self._set(
            rows_read=now.rows_read + batch.rows,
            rows_inserted=now.rows_inserted + written.inserted,
            rows_updated=now.rows_updated + written.updated,
            rows_deleted=now.rows_deleted + written.deleted,
            transactions=now.transactions + batch.transactions,
            doing="",
            obstacle="",
        )

    def reached(self, checkpoint: Checkpoint, kept_offset: int | None, next_offset: int, pending_us: int | None) -> None:
        """Everything before the checkpoint's offset is in the target, whose own word for it is `kept_offset`; of what follows up to
        `next_offset` the first was committed at `pending_us`."""
        self._set(
            offset=checkpoint.offset,
            kept_offset=kept_offset,
            exact_from=checkpoint.exact_from,
            position=checkpoint.position,
            commit_us=checkpoint.commit_us,
            doing="",
            obstacle="",
        )
        self._follow(pending_us, next_offset)

    def _follow(self, pending_us: int | None, next_offset: int) -> None:
        replay = (self._report.offset or 0) < self._report.exact_from
        old = pending_us is not None and self._clock.now_us() - pending_us > FOLLOWING_US
        now, rate = self._clock.monotonic(), self._report.rows_per_s
        if now - self._rate_at >= RATE_S:
            rate = round((self._report.rows_read - self._rate_rows) / (now - self._rate_at), 1)
            self._rate_at, self._rate_rows = now, self._report.rows_read
        state = "catching_up" if replay or old else "following"
        self._post(state=state, message="", pending_us=pending_us, next_offset=next_offset, rows_per_s=rate)

    def _set(self, **changes: object) -> None:
        with self._lock:
            self._report = replace(self._report, **changes)  # type: ignore[arg-type]

    def _post(self, **changes: object) -> None:
        with self._lock:
            self._report = replace(self._report, **changes, at_us=self._clock.now_us())  # type: ignore[arg-type]
            self._control.post(self._report)
