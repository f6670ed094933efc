"""Dirty rows: what is kept of a row that the target refuses, and what later changes of its key make of that.

A row that is set aside lies over the target's table: what the source has at a key is what the target holds, with the set-aside
row laid over it. Every later change of the key changes that sum, and is written as such: so an update that lacks unchanged values is
completed from the set-aside row, and never brings half a row into being. What a record is, and why it lives at the target:
`docs/decisions/0017-dirty-rows-live-at-the-target.md`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.mapping import TableMapping
from headwater.domain.steps import MergeStep

Key = tuple[bytes | None, ...]
Values = Mapping[str, bytes | None]
Kind = Literal["write", "update", "delete"]

ROWS_MAX = 10_000
"""The highest limit that a task may set: its open rows are looked through by whoever repairs them, not by a machine."""

HELD_MAX = 2 * ROWS_MAX
"""Rows of one task that are kept at most, discarded ones included, which are needed until their key changes again."""

ROW_BYTES_MAX = 1 << 20
"""A refused row larger than this is not set aside; the task stops at it."""

CLOSED_KEPT = 1_000
"""Records per task that are kept, without their rows, after they were settled: who did what, and when."""

HELD_BYTES_MAX = 256 << 20
"""Bytes of the rows of one task that are kept at most."""

RATE_US = 60_000_000
"""The time over which the rate limit counts."""


@dataclass(frozen=True)
class DirtyPolicy:
    """What a task does with rows that the target refuses: with `rows_max` 0 it stops at the first one.

    Otherwise it sets them aside while at most `rows_max` are open at the same time and, where `per_minute_max` is given, at most
    so many were newly set aside within any 60 seconds; one more stops it."""

    rows_max: int = 0
    per_minute_max: int | None = None

    @property
    def sets_aside(self) -> bool:
        """False: stop at the first refused row."""
        return self.rows_max > 0


STOP = DirtyPolicy()


@dataclass(frozen=True)
class DirtyRow:
    """What the target refused at one key, by target column. `write`: a whole row. `update`: the values that are known, over the row
    that stands at the target. `delete`: the key of a row that has to go."""

    kind: Kind
    values: Values

    def text(self) -> bytes:
        """As JSON; bytes that are no UTF-8 survive."""
        values = {name: None if value is None else value.decode("utf-8", "surrogateescape") for name, value in self.values.items()}
        return json.dumps({"kind": self.kind, "values": values}).encode()

    @classmethod
    def read(cls, text: bytes) -> DirtyRow:
        """From `text`."""
        held = json.loads(text)
        values = {name: None if value is None else value.encode("utf-8", "surrogateescape") for name, value in held["values"].items()}
        return cls(held["kind"], values)

    def step(self, mapping: TableMapping) -> MergeStep:
        """What writes it."""
        if self.kind == "delete":
            return MergeStep(deletes=_batch([self.values], [pair.target for pair in mapping.key]))
        names = [pair.target for pair in mapping.columns if pair.target in self.values]
        rows = _batch([self.values], names)
        return MergeStep(upserts=rows) if self.kind == "write" else MergeStep(partials=(rows,))

    def under(self, values: Values) -> DirtyRow | None:
        """This row with an update over it that knows `values`; None where there is no row to update."""
        return None if self.kind == "delete" else replace(self, values={**self.values, **values})


def key_text(key: Key) -> bytes:
    """A key as JSON; see `read_key`."""
    return json.dumps([None if value is None else value.decode("utf-8", "surrogateescape") for value in key]).encode()


def read_key(text: bytes) -> Key:
    """From `key_text`."""
    return tuple(None if value is None else value.encode("utf-8", "surrogateescape") for value in json.loads(text))


def sealed_at(task_id: str, record_id: str, what: Literal["key", "row"]) -> str:
    """The place that a record's key or row is sealed for."""
    return f"dirty_row.{what}.{task_id}.{record_id}"


def key_of(mapping: TableMapping, values: Values) -> Key:
    """The key of a row."""
    return tuple(values[pair.target] for pair in mapping.key)


def rows_with(mapping: TableMapping, batch: pa.RecordBatch | None, keys: Collection[Key]) -> dict[int, Key]:
    """Which rows of a batch have one of these keys. Whole columns are looked through, so that many rows cost little."""
    if batch is None or not keys:
        return {}
    columns = [batch.column(pair.target) for pair in mapping.key]
    some = pc.is_in(columns[0], pa.array(sorted({key[0] for key in keys if key[0] is not None}), pa.binary()))
    at = pc.indices_nonzero(some)
    found = zip(at.to_pylist(), zip(*(column.take(at).to_pylist() for column in columns), strict=True), strict=True)
    return {row: key for row, key in found if key in keys}


def touched(mapping: TableMapping, step: MergeStep, keys: Collection[Key]) -> set[Key]:
    """Those of the keys that a step says something about."""
    if step.truncate:
        return set(keys)
    found = {
        key for batch in (step.deletes, step.inserts, step.upserts, *step.partials) for key in rows_with(mapping, batch, keys).values()
    }
    for move in step.moves:
        found |= {move.old_key, key_of(mapping, move.values)} & set(keys)
    return found


def fold(mapping: TableMapping, step: MergeStep, held: Mapping[Key, DirtyRow]) -> MergeStep:
    """The step, as it has to be written where `held` rows lie over the table; without its moves (see `engine/careful.py`)."""
    if not held:
        return step
    inserts, known = _without(mapping, step.inserts, held)
    made: list[DirtyRow] = []
    partials = []
    for batch in step.partials:
        kept, updates = _without(mapping, batch, held)
        partials += [kept] if kept is not None else []
        made += [row for values in updates if (row := held[key_of(mapping, values)].under(values)) is not None]
    names = [pair.target for pair in mapping.columns]
    known += [row.values for row in made if row.kind == "write"]
    updated = [row.step(mapping).partials[0] for row in made if row.kind == "update"]
    upserts = _joined(step.upserts, _batch(known, names) if known else None)
    return replace(step, inserts=inserts, upserts=upserts, partials=(*partials, *updated))


def _without(mapping: TableMapping, batch: pa.RecordBatch | None, keys: Collection[Key]) -> tuple[pa.RecordBatch | None, list[Values]]:
    """A batch without the rows of these keys, and those rows."""
    found = rows_with(mapping, batch, keys)
    if batch is None or not found:
        return batch, []
    rest = sorted(set(range(batch.num_rows)) - found.keys())
    return (batch.take(pa.array(rest, pa.int64())) if rest else None), batch.take(pa.array(sorted(found), pa.int64())).to_pylist()


def _batch(rows: Sequence[Values], names: Sequence[str]) -> pa.RecordBatch:
    return pa.record_batch([pa.array([row[name] for row in rows], pa.binary()) for name in names], names=list(names))


def _joined(one: pa.RecordBatch | None, other: pa.RecordBatch | None) -> pa.RecordBatch | None:
    if one is None or other is None:
        return one if other is None else other
    return pa.Table.from_batches([one, other.select(one.schema.names)]).combine_chunks().to_batches()[0]
