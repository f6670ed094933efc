"""Merging row by row, for the few keys that meet in key changes whose new row lacks unchanged values.

Such a change needs the values of the old row: from the stretch where they were sent in it, otherwise from the row that stands at
the target, which has to be in the right state then. So changes are collected per key, written as one step, and the moves
follow as a step of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from headwater.domain.changes import Op
from headwater.domain.merge_columns import BORN, GONE, Rules
from headwater.domain.steps import MergeStep, Move
from headwater.domain.stretch import Stretch

Key = tuple[bytes | None, ...]
Values = dict[int, bytes | None]


@dataclass
class _Change:
    """One change: `values` by pair, without those that were not sent."""

    op: int
    key: Key
    values: Values


@dataclass
class _Pending:
    """What has to become of one key since the last step. `values` are those known since it came into being here."""

    born: bool
    stands: bool
    ever_gone: bool = False
    values: Values = field(default_factory=dict)


def merge_rows(stretch: Stretch, rules: Rules) -> list[MergeStep]:
    """The steps for the changes of keys that meet in moves, in order."""
    rows = _Rows(stretch, rules)
    old: _Change | None = None
    for change in _changes(stretch):
        if old is not None and change.op == Op.KEY_NEW:
            rows.change_key(old, change)
        else:
            if old is not None:  # its other half is of a key that is merged elsewhere
                rows.remove(old.key)
            if change.op != Op.KEY_OLD:
                rows.apply(change)
        old = change if change.op == Op.KEY_OLD else None
    if old is not None:
        rows.remove(old.key)
    return rows.finish()


def _changes(stretch: Stretch) -> Iterator[_Change]:
    columns = [column.to_pylist() for column in stretch.columns]
    marks = {i: mark.to_pylist() for i, mark in stretch.unknown.items()}
    for row, op in enumerate(stretch.op.to_pylist()):
        values = {i: column[row] for i, column in enumerate(columns) if not (i in marks and marks[i][row])}
        yield _Change(op, tuple(columns[i][row] for i in stretch.key_columns), values)


class _Rows:
    """Collects changes per key and cuts a step wherever a move needs the target to be in the state of that place."""

    def __init__(self, stretch: Stretch, rules: Rules) -> None:
        self._pairs = stretch.mapping.columns
        self._key_columns = stretch.key_columns
        self._rules = rules
        self._pending: dict[Key, _Pending] = {}
        self._moves: list[Move] = []
        self._steps: list[MergeStep] = []

    def apply(self, change: _Change) -> None:
        """Merge one change that stays with its key."""
        if change.op in GONE:
            self.remove(change.key)
        else:
            self._write(change.key, change.values, born=change.op in BORN)

    def remove(self, key: Key) -> None:
        """The row at `key` is gone."""
        self._cut_moves()
        before = self._pending.pop(key, None)
        if self._rules.exact and before is not None and before.born:
            return
        self._pending[key] = _Pending(born=False, stands=False, ever_gone=True)

    def change_key(self, old: _Change, new: _Change) -> None:
        """An update of the key: by values where all are known, else by moving the row that stands at the target.

        Without DELETE a row may still stand at the new key, and keeps what was not sent: only the target can tell, so that is a move.
        """
        lacking = set(range(len(self._pairs))) - new.values.keys()
        before = self._pending.get(old.key)
        inherits = self._rules.may_delete and before and before.stands and lacking <= before.values.keys()
        if self._rules.may_insert and (not lacking or inherits):
            known = {i: before.values[i] for i in lacking} if before else {}
            self.remove(old.key)
            self._write(new.key, known | new.values, born=True)
            return
        self._cut_pending()
        self._moves.append(Move(old.key, {self._pairs[i].target: value for i, value in new.values.items()}))

    def finish(self) -> list[MergeStep]:
        """All steps."""
        self._cut_pending()
        self._cut_moves()
        return self._steps

    def _write(self, key: Key, values: Values, *, born: bool) -> None:
        self._cut_moves()
        before = self._pending.get(key)
        if before is None:
            self._pending[key] = _Pending(born=born, stands=True, values=dict(values))
        elif before.stands and not born:
            before.values.update(values)
        elif before.stands or self._rules.may_insert:
            self._pending[key] = _Pending(before.born, True, before.ever_gone, dict(values))

    def _cut_moves(self) -> None:
        if self._moves:
            self._steps.append(MergeStep(moves=tuple(self._moves)))
            self._moves = []

    def _cut_pending(self) -> None:
        if not self._pending:
            return
        self._cut_moves()
        self._steps.append(self._step())
        self._pending = {}

    def _step(self) -> MergeStep:
        deletes: list[Values] = []
        inserts: list[Values] = []
        upserts: list[Values] = []
        partials: dict[tuple[int, ...], list[Values]] = {}
        for key, pending in self._pending.items():
            if not pending.stands:
                deletes.append(dict(zip(self._key_columns, key, strict=True)))
            elif self._rules.exact and pending.born:
                inserts.append(pending.values)
            elif self._rules.may_insert and len(pending.values) == len(self._pairs):
                upserts.append(pending.values)
            elif len(pending.values) > len(key):
                partials.setdefault(tuple(sorted(pending.values)), []).append(pending.values)
        return MergeStep(
            deletes=self._batch(self._key_columns, deletes),
            inserts=self._batch(range(len(self._pairs)), inserts),
            upserts=self._batch(range(len(self._pairs)), upserts),
            partials=tuple(batch for columns, rows in partials.items() if (batch := self._batch(columns, rows)) is not None),
        )

    def _batch(self, columns: Iterable[int], rows: list[Values]) -> pa.RecordBatch | None:
        if not rows:
            return None
        wanted = list(columns)
        arrays = [pa.array([row[i] for row in rows], pa.binary()) for i in wanted]
        return pa.record_batch(arrays, names=[self._pairs[i].target for i in wanted])
