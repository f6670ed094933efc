"""Table mappings: which source column goes to which target column, and whether they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from headwater.domain.tables import Column, TableName, TableSchema


@dataclass(frozen=True)
class ColumnShape:
    """A source column as it was when its mapping was made, in the words of `Column` and `TableSchema.id`.

    `names` are those that it had earlier, under which older stretches of the log know it."""

    table_id: str = ""
    number: int = 0
    type: str = ""
    type_id: str = ""
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: TableSchema, column: Column) -> ColumnShape:
        """As it is now."""
        return cls(table.id, column.number, column.type, column.type_id)

    def same_values(self, other: ColumnShape) -> bool:
        """True where both are one and the same column of one type, so that nothing but logged changes can have altered its values."""
        ours, theirs = ((one.table_id, one.number, one.type_id or one.type) for one in (self, other))
        return self.number > 0 and ours == theirs


@dataclass(frozen=True)
class ColumnPair:
    """One source column and the target column that it fills. `key` where the pair finds the row at the target.

    `shape`: what the source column was when the mapping was made; None where nobody looked."""

    source: str
    target: str
    key: bool = False
    shape: ColumnShape | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Beside:
    """Another mapping of the task that fills the same target table, with the columns besides the key that it fills there."""

    mapping_id: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class TableMapping:
    """One source table kept equal in one target table, for the mapped columns only.

    `operations` are the row operations that the task replicates, of INSERT, UPDATE, DELETE. With an operation left out its
    changes are not written: without DELETE rows stay; without INSERT or UPDATE see `merge.py`.

    `beside` are the other mappings into the same target table, where deletes are replicated: a row stands there while one of their
    source rows does, so a delete clears this mapping's columns, and removes the row where no other's source row is left.
    """

    mapping_id: str
    source: TableName
    target: TableName
    columns: tuple[ColumnPair, ...]
    operations: frozenset[str]
    beside: tuple[Beside, ...] = ()

    @property
    def key(self) -> tuple[ColumnPair, ...]:
        """The pairs that form the key, in mapping order."""
        return tuple(c for c in self.columns if c.key)

    @property
    def values(self) -> tuple[str, ...]:
        """The target columns that are not key."""
        return tuple(c.target for c in self.columns if not c.key)

    def owners(self, column: str) -> tuple[str, ...]:
        """Ids of the mappings beside this one that fill the column too."""
        return tuple(other.mapping_id for other in self.beside if column in other.columns)


def side_by_side(mappings: Sequence[TableMapping]) -> tuple[TableMapping, ...]:
    """The mappings of one task, each knowing those beside it."""

    def beside(mapping: TableMapping) -> tuple[Beside, ...]:
        others = [m for m in mappings if m.target == mapping.target and m.mapping_id != mapping.mapping_id]
        return tuple(Beside(m.mapping_id, m.values) for m in others if "DELETE" in mapping.operations and mapping.key)

    return tuple(replace(mapping, beside=beside(mapping)) for mapping in mappings)
