"""The tables of a target in memory: rows by their key, keys unique, a constraint where a test sets one; and how a chunk is copied in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from headwater.domain.errors import RowRefused
from headwater.domain.mapping import TableMapping
from headwater.domain.tables import TableSchema
from headwater.ports.source import Chunk
from headwater.testing.rows import Key, Row, order


@dataclass
class MemoryTable:
    """One table: rows by their key (without a key: by an invented number)."""

    schema: TableSchema
    rows: dict[Key, Row] = field(default_factory=dict)
    invented: int = 0
    refuses: Callable[[Row], bool] = lambda _: False
    """A constraint of the table's: rows for which this is true are refused."""

    def copy(self) -> MemoryTable:
        """An independent copy."""
        return MemoryTable(self.schema, {key: dict(row) for key, row in self.rows.items()}, self.invented, self.refuses)

    def key_of(self, row: Row) -> Key:
        """The key of a full row."""
        if not self.schema.key:
            self.invented += 1
            return (str(self.invented).encode(),)
        return tuple(row[name] for name in self.schema.key)

    def find(self, wanted: Row) -> list[Key]:
        """Keys of the rows that have these values."""
        if set(wanted) == set(self.schema.key):
            key = tuple(wanted[name] for name in self.schema.key)
            return [key] if key in self.rows else []
        return [key for key, row in self.rows.items() if all(row.get(name) == value for name, value in wanted.items())]

    def insert(self, row: Row) -> None:
        """Add a row; columns that it lacks are null."""
        full = {c.name: row.get(c.name) for c in self.schema.columns}
        key = self.key_of(full)
        if key in self.rows:
            raise RowRefused(f"A row of {self.schema.table} with this key exists already.")
        if self.refuses(full):
            raise RowRefused(f"A row of {self.schema.table} breaks a constraint.")
        self.rows[key] = full

    def update(self, keys: Iterable[Key], values: Row) -> int:
        """Set values in these rows, moving them where their key changes; returns how many."""
        moved = [{**self.rows.pop(key), **values} for key in keys]
        for row in moved:
            self.insert(row)
        return len(moved)


def key_values(mapping: TableMapping, row: Row) -> Row:
    return {pair.target: row[pair.target] for pair in mapping.key}


def upsert(table: MemoryTable, mapping: TableMapping, row: Row) -> bool:
    found = table.find(key_values(mapping, row)) if mapping.key else []
    if found:
        table.update(found, row)
        return False
    table.insert(row)
    return True


def put(table: MemoryTable, mapping: TableMapping, row: Row, new: bool) -> None:
    if new:
        table.insert(row)
    else:
        upsert(table, mapping, row)


def missing(table: MemoryTable, mapping: TableMapping, rows: Sequence[Row]) -> list[Row]:
    """The rows that the table lacks: of equal rows as many as it has fewer."""
    names = [pair.target for pair in mapping.columns]
    held = Counter(tuple(row[name] for name in names) for row in table.rows.values())
    lacking = []
    for row in rows:
        values = tuple(row[name] for name in names)
        if held[values]:
            held[values] -= 1
        else:
            lacking.append(row)
    return lacking


def remove_missing(table: MemoryTable, mapping: TableMapping, chunk: Chunk, rows: Sequence[Row]) -> None:
    kept = {tuple(row[p.target] for p in mapping.key) for row in rows} if mapping.key else set()
    for key, row in list(table.rows.items()):
        values = tuple(row[p.target] for p in mapping.key)
        if values not in kept and _in_chunk(values, chunk):
            del table.rows[key]


def _in_chunk(values: Key, chunk: Chunk) -> bool:
    place = order(values)
    return (chunk.after is None or order(chunk.after) < place) and (chunk.upto is None or place <= order(chunk.upto))
