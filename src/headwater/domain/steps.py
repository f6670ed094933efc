"""What merging hands to a target: the steps that bring one table to where a stretch of history ends, as whole columns.

Kept apart from `merge.py` so that its parts can share the shapes; everybody else imports them from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from headwater.domain.mapping import TableMapping


@dataclass(frozen=True)
class MergedTable:
    """What one mapping's target table has to become, in the order in which it must be written: steps of whole columns.

    Every Arrow batch has one binary column per mapped pair, named by the *target* column, in mapping order (deletes: key
    pairs only). Keys don't repeat within one batch, nor between the batches of one step. `exact` is what the merge was told: with it,
    rows in `upserts` and `partials` stand at the target and nearly always differ; without it, many may be the same already.

    A mapping without key has only `deletes` and `inserts`, both of all pairs. Equal rows repeat, and each row in `deletes` removes one of
    those that are equal to it. They must be there where the mapping replicates every operation; otherwise they may be missing.
    """

    mapping: TableMapping
    steps: tuple[MergeStep, ...]
    exact: bool = False


@dataclass(frozen=True)
class MergeStep:
    """One step. Steps of a table are written in order; within a step deletes come before rows (two texts may be one key to
    the target, as in `citext`), and the rest is free.

    `truncate`: remove all rows first. `deletes`: keys to remove. `inserts`: rows whose key is known to be absent (only outside a
    replay). `upserts`: rows to insert or update, all columns known. `partials`: rows of which some columns did not
    change and were not sent: per set of known columns one batch of those columns (key always among them); update only.
    `moves`: (old key, new row's known columns) of key changes that need values of the old row: see `Move`. They stand in a step of
    their own, and their order counts.
    """

    truncate: bool = False
    deletes: pa.RecordBatch | None = None
    inserts: pa.RecordBatch | None = None
    upserts: pa.RecordBatch | None = None
    partials: tuple[pa.RecordBatch, ...] = ()
    moves: tuple[Move, ...] = ()

    @property
    def empty(self) -> bool:
        """True where there is nothing to write."""
        written = (self.deletes, self.inserts, self.upserts)
        return not (self.truncate or self.partials or self.moves) and all(batch is None for batch in written)


@dataclass(frozen=True)
class Move:
    """A key change whose new row lacks unchanged values, so the old row itself must move, at exactly this place.

    Update the row at `old_key` to the new key and the known `values` (target column -> text or None, new key included). Where no
    row stands at `old_key` (a replay): update the row at the new key, if there is one, with the known values. Where rows stand at
    both (a replay too: the old key was used again later): do that and remove the one at `old_key`; its own insert follows."""

    old_key: tuple[bytes | None, ...]
    values: dict[str, bytes | None]
