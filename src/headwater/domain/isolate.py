"""Finding the rows that a target refuses, in few tries, by nothing but writing parts of a batch and seeing whether they are taken.

A part that is refused is halved, and all parts of a size are tried before smaller ones. So a row that needs another one to be there
(a child its parent, a value its former owner's change) finds it in place by the time it stands alone. What is refused alone is tried
again, last first, as long as that helps some row: what depends on its successors comes in one go.

For *k* bad ones of *n* rows that takes at most about `2 k (log2 n + 2)` tries (`tests/domain/test_isolate.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from headwater.domain.errors import HeadwaterError
from headwater.domain.mapping import TableMapping
from headwater.domain.steps import MergedTable, MergeStep

PieceKind = Literal["deletes", "inserts", "upserts", "partials"]


@dataclass(frozen=True)
class Piece:
    """Some rows of one step of one mapping, all of one kind."""

    mapping: TableMapping
    kind: PieceKind
    rows: pa.RecordBatch
    exact: bool = False

    def slice(self, start: int, count: int) -> Piece:
        """Some of the rows."""
        return Piece(self.mapping, self.kind, self.rows.slice(start, count), self.exact)


Part = tuple[Piece, ...]
"""Rows that are tried together."""


@dataclass(frozen=True)
class Refused:
    """A part of one row, and why the target refuses it."""

    part: Part
    reason: HeadwaterError


class TooMany(Exception):
    """More rows are refused than anybody wants to know of. `refused` is one of them."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(str(refused.reason))
        self.refused = refused


Attempt = Callable[[Part], HeadwaterError | None]
"""Writes a part on top of what was taken before; where it is refused, leaves no trace of it and answers why."""


def parts(level: Sequence[MergedTable]) -> list[Part]:
    """What is to be isolated of tables with one step each: removals first, then rows. TRUNCATE and moves are left out."""
    removing, putting = [], []
    for one in level:
        (step,) = one.steps
        if step.deletes is not None:
            removing.append(Piece(one.mapping, "deletes", step.deletes, one.exact))
        kinds: list[tuple[PieceKind, pa.RecordBatch | None]] = [("inserts", step.inserts), ("upserts", step.upserts)]
        kinds += [("partials", batch) for batch in step.partials]
        putting += [Piece(one.mapping, kind, rows, one.exact) for kind, rows in kinds if rows is not None]
    return [tuple(pieces) for pieces in (removing, putting) if pieces]


def assemble(part: Part) -> list[MergedTable]:
    """A part as a target writes it."""
    made = []
    for piece in part:
        rows = (piece.rows,) if piece.kind == "partials" else piece.rows
        made.append(MergedTable(piece.mapping, (MergeStep(**{piece.kind: rows}),), piece.exact))  # type: ignore[arg-type]
    return made


def isolate(waiting: Sequence[Part], attempt: Attempt, most: int) -> list[Refused]:
    """Have everything written that is taken, and return the rows that are not, each as a part of its own.

    Raises:
        TooMany: more than `most` parts are refused at the same time.
    """
    parts, alone = list(waiting), list[Refused]()
    while parts:
        refused = [Refused(part, reason) for part in parts if (reason := attempt(part)) is not None]
        single = [one for one in refused if size(one.part) == 1]
        alone += single
        if len(refused) - len(single) + len(alone) > most:
            raise TooMany((alone or refused)[-1])
        parts = [half for one in refused if size(one.part) > 1 for half in halves(one.part)]
    while alone:
        again = [Refused(one.part, reason) for one in reversed(alone) if (reason := attempt(one.part)) is not None]
        if len(again) == len(alone):
            break
        alone = again
    return alone


def size(part: Part) -> int:
    """How many rows it has."""
    return sum(piece.rows.num_rows for piece in part)


def halves(part: Part) -> tuple[Part, Part]:
    """Cut after half of the rows, in order."""
    left: list[Piece] = []
    right: list[Piece] = []
    room = size(part) // 2
    for piece in part:
        count = min(room, piece.rows.num_rows)
        room -= count
        if count:
            left.append(piece.slice(0, count))
        if count < piece.rows.num_rows:
            right.append(piece.slice(count, piece.rows.num_rows - count))
    return tuple(left), tuple(right)
