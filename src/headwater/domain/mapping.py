"""Table mappings: which source column goes to which target column, and whether they fit."""

from __future__ import annotations

from dataclasses import dataclass, field

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
class TableMapping:
    """One source table kept equal in one target table, for the mapped columns only.

    `operations` are the row operations that the task replicates, of INSERT, UPDATE, DELETE. With an operation left out its
    changes are not written: without DELETE rows stay; without INSERT or UPDATE see `merge.py`.
    """

    mapping_id: str
    source: TableName
    target: TableName
    columns: tuple[ColumnPair, ...]
    operations: frozenset[str]

    @property
    def key(self) -> tuple[ColumnPair, ...]:
        """The pairs that form the key, in mapping order."""
        return tuple(c for c in self.columns if c.key)
