"""Writing a batch step by step, where rows of it are refused or lie over the table already: see `dirty.py`.

Steps of all tables are written level by level, as the target does it, because what is refused in one changes what the next one means.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from headwater.domain.dirty import DirtyRow, Key, fold, key_of, touched
from headwater.domain.errors import HeadwaterError, RowRefused
from headwater.domain.isolate import Part, Piece, Refused, assemble, isolate, parts
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable, MergeStep, Move
from headwater.ports.target import Writing, Written

Place = tuple[str, Key]
"""A mapping's id and a key."""


@dataclass(frozen=True)
class Bad:
    """A row that was refused."""

    mapping: TableMapping
    row: DirtyRow
    reason: str


class Careful:
    """Writes one batch. `rows` are the set-aside rows, by mapping and key, that it touches; `most` how many rows may be refused at the same
    time (0: none).

    Afterwards `bad` has the rows that lie over the tables newly or anew, `settled` the places where none lies any more."""

    def __init__(self, target: Writing, whole: bool, rows: dict[str, dict[Key, DirtyRow]], most: int) -> None:
        self._target, self._whole, self._rows, self._most = target, whole, rows, most
        self._written = Written()
        self.bad: dict[Place, Bad] = {}
        self.settled: set[Place] = set()

    def write(self, merged: Sequence[MergedTable]) -> Written:
        """Write what is taken.

        Raises:
            RowRefused: what is refused can't be set aside.
            TooMany: it is too much.
        """
        self._write([])  # what stood in the transaction before must hold by itself, or every row would seem bad
        waiting = [(one, deque(one.steps)) for one in merged]
        levels = 0
        while level := [one for table, steps in waiting if (one := self._next(table, steps)) is not None]:
            levels += 1
            self._write_level(level)
        if levels > 1:
            self._once_more()
        return self._written

    def _next(self, table: MergedTable, steps: deque[MergeStep]) -> MergedTable | None:
        """A table's next step, folded."""
        while steps:
            step, held = steps.popleft(), self._rows.get(table.mapping.mapping_id, {})
            if step.moves and touched(table.mapping, step, held.keys()):
                for move in step.moves:
                    self._move(table, move)
                continue
            folded = fold(table.mapping, step, held)
            if not folded.empty:
                return replace(table, steps=(folded,))
        return None

    def _move(self, table: MergedTable, move: Move) -> None:
        """A change of key which lacks values (see `Move`), where set-aside rows may lie over its old or its new place."""
        mapping, new = table.mapping, key_of(table.mapping, move.values)
        held = self._rows.get(mapping.mapping_id, {})
        removal = DirtyRow("delete", {pair.target: value for pair, value in zip(mapping.key, new, strict=True)})
        if new in held and held[new].kind == "delete":
            self._write_row(table, removal)
            if new in held:
                raise RowRefused(f"A change of key in {mapping.target} needs the place of a row whose removal the target refuses.")
        old = held.get(move.old_key)
        gone = DirtyRow("delete", {pair.target: value for pair, value in zip(mapping.key, move.old_key, strict=True)})
        if (new in held and held[new].kind == "write") or self._target.stands(mapping, new):
            self._write_row(table, DirtyRow("update", move.values))
            self._write_row(table, gone)
        elif old is None or old.kind == "update":
            known = {**(old.values if old else {}), **move.values}
            self._write_level([replace(table, steps=(MergeStep(moves=(replace(move, values=known),)),))])
        elif old.kind == "write":
            self._write_row(table, gone)
            self._write_row(table, DirtyRow("write", {**old.values, **move.values}))

    def _write_row(self, table: MergedTable, row: DirtyRow) -> None:
        step = fold(table.mapping, row.step(table.mapping), self._rows.get(table.mapping.mapping_id, {}))
        if not step.empty:
            self._write_level([replace(table, steps=(step,), exact=False)])

    def _write_level(self, level: Sequence[MergedTable]) -> None:
        refused: list[Refused] = []
        if self._attempt(level) is not None:
            refused = self._isolate(level)
        for one in level:
            rows = self._rows.get(one.mapping.mapping_id, {})
            for key in touched(one.mapping, one.steps[0], rows.keys()) if rows else ():
                self._settle(one.mapping.mapping_id, key)
        for one_row in refused:
            (piece,) = one_row.part
            self._note(piece, one_row.reason)

    def _isolate(self, level: Sequence[MergedTable]) -> list[Refused]:
        """Write a level but for the rows that are refused, and return those."""
        self._write([replace(one, steps=(MergeStep(truncate=True),)) for one in level if one.steps[0].truncate])
        refused = isolate(parts(level), lambda part: self._attempt(assemble(part)), self._most)
        if len(refused) > 1:
            refused = self._together(refused)
        for one in refused:
            if not self._most or not one.part[0].mapping.key:
                raise one.reason
        self._write([replace(one, steps=(MergeStep(moves=one.steps[0].moves),)) for one in level if one.steps[0].moves])
        return refused

    def _together(self, refused: list[Refused]) -> list[Refused]:
        """Rows may be refused alone and taken together (values that change hands in a circle). So those of which the whole row is known are
        tried with their old rows out of the way: what is refused then is bad by itself, and the others are written together."""
        if self._attempt(assemble(_joined(refused))) is None:
            return []
        whole = [one for one in refused if one.part[0].kind in ("inserts", "upserts") and one.part[0].mapping.key]
        while whole:
            bad = self._bad_without_old_rows(whole)
            whole = [one for one in whole if not any(_same(one.part, other.part) for other in bad)]
            if whole and self._attempt(assemble(_joined(whole))) is None:
                return [one for one in refused if not any(one is taken for taken in whole)]
            if not bad:
                break
        return refused

    def _bad_without_old_rows(self, whole: list[Refused]) -> list[Refused]:
        """Which of these rows are refused although no row stands at any of their keys. Nothing of it stays."""
        gone = [MergedTable(one.part[0].mapping, (MergeStep(deletes=_keys(one.part[0])),)) for one in whole]
        with self._target.tentatively(keep=False):
            before = self._written
            try:
                self._write(gone)
                return isolate([_joined(whole)], lambda part: self._attempt(assemble(part)), len(whole))
            except RowRefused:
                return []
            finally:
                self._written = before

    def _once_more(self) -> None:
        """What was refused at its own level may be taken now that all are written."""
        taken = True
        while taken:
            taken = False
            for (mapping_id, key), bad in list(self.bad.items()):
                if self._attempt([MergedTable(bad.mapping, (bad.row.step(bad.mapping),))]) is None:
                    self._settle(mapping_id, key)
                    taken = True

    def _settle(self, mapping_id: str, key: Key) -> None:
        self._rows[mapping_id].pop(key, None)
        self.bad.pop((mapping_id, key), None)
        self.settled.add((mapping_id, key))

    def _note(self, piece: Piece, reason: HeadwaterError) -> None:
        (values,) = piece.rows.to_pylist()
        kinds = {"deletes": "delete", "partials": "update"}
        row = DirtyRow(kinds.get(piece.kind, "write"), values)  # type: ignore[arg-type]
        place = piece.mapping.mapping_id, key_of(piece.mapping, values)
        self._rows.setdefault(place[0], {})[place[1]] = row
        self.bad[place] = Bad(piece.mapping, row, str(reason))
        self.settled.discard(place)

    def _attempt(self, merged: Sequence[MergedTable]) -> RowRefused | None:
        try:
            self._write(merged)
        except RowRefused as refusal:
            return refusal
        return None

    def _write(self, merged: Sequence[MergedTable]) -> None:
        written = attempt(self._target, merged, self._whole)
        now = self._written
        self._written = Written(now.inserted + written.inserted, now.updated + written.updated, now.deleted + written.deleted)


def attempt(target: Writing, merged: Sequence[MergedTable], whole: bool) -> Written:
    """Write; where a row is refused the transaction stays as it was. `whole`: constraints must hold now, not at the commit."""
    with target.tentatively():
        written = target.write(merged) if merged else Written()
        if whole:
            target.check()
        return written


def _joined(refused: Sequence[Refused]) -> Part:
    """Rows as one part, in few pieces."""
    found: dict[tuple[TableMapping, str, tuple[str, ...]], list[Piece]] = {}
    for one in refused:
        for piece in one.part:
            found.setdefault((piece.mapping, piece.kind, tuple(piece.rows.schema.names)), []).append(piece)
    return tuple(
        replace(pieces[0], rows=pa.Table.from_batches([piece.rows for piece in pieces]).combine_chunks().to_batches()[0])
        for pieces in found.values()
    )


def _keys(piece: Piece) -> pa.RecordBatch:
    return piece.rows.select([pair.target for pair in piece.mapping.key])


def _same(one: Part, other: Part) -> bool:
    """Whether two parts of one row are about the same row."""
    return one[0].mapping.mapping_id == other[0].mapping.mapping_id and _keys(one[0]).equals(_keys(other[0]))
