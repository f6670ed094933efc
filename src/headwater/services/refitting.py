"""When a mapping may go on from where it stands, and when its table has to be copied again.

The log tells what becomes of rows, never what a change of the table itself did to the rows that stood there. So a mapping goes on only
with columns that it has followed all along: the same columns by number and type, whatever they are called now (decision 0016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headwater.domain.fitting import with_shapes
from headwater.domain.mapping import ColumnPair, ColumnShape
from headwater.domain.tables import TableName
from headwater.domain.widening import widened
from headwater.ports.store import DataSource, Mapping
from headwater.services import bounded
from headwater.services.data_sources import DATABASE_TIMEOUT_S, Connections


def as_now(
    connections: Connections, source: DataSource, mappings: Sequence[Mapping], timeout_s: float = DATABASE_TIMEOUT_S
) -> list[Mapping]:
    """The mappings, not saved, with what the source says of their columns now; without those whose tables or columns are gone.

    Raises:
        HeadwaterError: the source can't be asked.
    """
    names = {mapping.id: TableName.parse(mapping.source_table, "") for mapping in mappings}
    tables = sorted(set(names.values()))
    described = bounded.within(timeout_s, "description of tables", lambda: connections.source(source).describe(tables))
    return [
        replace(mapping, columns=with_shapes(mapping.columns, here))
        for mapping in mappings
        if (here := described.get(names[mapping.id])) is not None and all(here.index(p.source) is not None for p in mapping.columns)
    ]


def succeeding(old: Mapping, new: Mapping, stopped_at: bool) -> Mapping:
    """The new mapping in the place of the old one: under another revision where its table has to be copied again."""
    columns = tuple(_remembering(old, pair) for pair in new.columns)
    same = columns == old.columns and [pair.shape for pair in columns] == [pair.shape for pair in old.columns]
    if not continues(old, new) or (same and stopped_at):
        return replace(new, revision=old.revision + 1)
    return replace(new, columns=columns)


def continues(old: Mapping, new: Mapping) -> bool:
    """True where the log tells everything that the new mapping needs, from where the old one stands: no column is new to it."""
    if (old.source_table, old.target_table) != (new.source_table, new.target_table):
        return False
    return all((before := _before(old, pair)) is not None and before.key == pair.key for pair in new.columns)


def _before(old: Mapping, pair: ColumnPair) -> ColumnPair | None:
    """The pair of the old mapping that filled the same target column from the same source column."""
    for before in old.columns:
        if before.target != pair.target:
            continue
        known = before.shape is not None and pair.shape is not None and bool(pair.shape.number)
        if before.shape is not None and pair.shape is not None and known:
            return before if before.shape.same_values(pair.shape) else None
        return before if before.source == pair.source and _typed(before.shape, pair.shape) else None
    return None


def _typed(before: ColumnShape | None, now: ColumnShape | None) -> bool:
    """Of columns without numbers. What else may have happened to such a column the log tells."""
    return before is None or now is None or before.type == now.type or widened(before.type_id, now.type_id)


def _remembering(old: Mapping, pair: ColumnPair) -> ColumnPair:
    """A pair that knows the names that its source column had, and its type before that was widened, so that older stretches of the log can
    be read."""
    before = _before(old, pair)
    if before is None or before.shape is None or pair.shape is None:
        return pair
    names = dict.fromkeys((before.source, *before.shape.names))
    known = pair.shape if pair.shape.number else replace(pair.shape, type=before.shape.type, type_id=before.shape.type_id)
    return replace(pair, shape=replace(known, names=tuple(name for name in names if name != pair.source)))
