"""Merge by key: from a stretch of history to the last state per key, on whole columns.

Stub of the shapes; the functions follow below.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from headwater.domain.mapping import TableMapping


@dataclass(frozen=True)
class MergedTable:
    """What one mapping's target table has to become, in the order in which it must be written: steps of whole columns.

    Every Arrow batch has one binary column per mapped pair, named by the *target* column, in mapping order (deletes: key
    pairs only). Keys don't repeat within one batch, nor between the batches of one step.
    """

    mapping: TableMapping
    steps: tuple[MergeStep, ...]


@dataclass(frozen=True)
class MergeStep:
    """One step. Steps of a table are written in order; within a step the order is free.

    `truncate`: remove all rows first. `deletes`: keys to remove. `inserts`: rows whose key is known to be absent (only outside a
    replay). `upserts`: rows to insert or update, all columns known. `partials`: rows of which some columns did not
    change and were not sent: per set of known columns one batch of those columns (key always among them); update only.
    `moves`: (old key, new row's known columns) of key changes that need values of the old row: see `Move`.
    """

    truncate: bool = False
    deletes: pa.RecordBatch | None = None
    inserts: pa.RecordBatch | None = None
    upserts: pa.RecordBatch | None = None
    partials: tuple[pa.RecordBatch, ...] = ()
    moves: tuple[Move, ...] = ()


@dataclass(frozen=True)
class Move:
    """A key change whose new row lacks unchanged values, so the old row itself must move, at exactly this place.

    Update the row at `old_key` to the new key and the known `values` (target column -> text or None, new key included). Where no
    row stands at `old_key` (a replay): update the row at the new key, if there is one, with the known values."""

    old_key: tuple[bytes | None, ...]
    values: dict[str, bytes | None]
