"""Table mappings: which source column goes to which target column, and whether they fit."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.domain.tables import TableName


@dataclass(frozen=True)
class ColumnPair:
    """One source column and the target column that it fills. `key` where the pair finds the row at the target."""

    source: str
    target: str
    key: bool = False


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
