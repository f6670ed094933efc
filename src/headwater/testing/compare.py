"""`Comparison` over rows in memory, for both fakes. It makes the row hashes of `ports/compare.py` by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from headwater.domain.tables import TableName, TableSchema
from headwater.ports.compare import Digest, Hash, Key, Part, Span
from headwater.testing.rows import Row, order

Look = Callable[[TableName], tuple[TableSchema, list[Row]] | None]
"""The schema and the rows of a table as they stand; None where there is no such table. Raises where the server can't be reached."""


class MemoryComparison:
    """See `Comparison` and `SourceComparison`. Texts are taken as they are, in whatever form they are asked for."""

    def __init__(self, look: Look, position: Callable[[], str] = str, reading: Callable[[], None] = lambda: None) -> None:
        self._look, self._position, self._reading = look, position, reading

    hashes: tuple[Hash, ...] = ("md5", "sha256")

    def types(self, table: TableName, columns: Sequence[str]) -> dict[str, str]:
        """See `Comparison.types`."""
        found = self._look(table)
        return {} if found is None else {c.name: c.type for c in found[0].columns if c.name in columns}

    def chunked(self, part: Part) -> bool:
        """See `Comparison.chunked`."""
        return bool(part.key)

    def rows_estimate(self, table: TableName) -> int:
        """See `Comparison.rows_estimate`."""
        return len(self._rows(Part(table, (), ()), Span()))

    def digest(self, part: Part, span: Span) -> Digest:
        """See `Comparison.digest`."""
        return _sum(_hash(part, row) for row in self._rows(part, span))

    def bound(self, part: Part, span: Span, rows: int) -> Key | None:
        """See `Comparison.bound`."""
        keys = sorted((_key(part, row) for row in self._rows(part, span)), key=order)
        return keys[rows - 1] if len(keys) > rows else None

    def rows(self, part: Part, span: Span, limit: int) -> dict[Key, Digest]:
        """See `Comparison.rows`."""
        found: dict[Key, list[int]] = {}
        for row in self._rows(part, span):
            found.setdefault(_key(part, row), []).append(_hash(part, row))
        return {key: _sum(hashes) for key, hashes in list(found.items())[:limit]}

    def rows_at(self, part: Part, keys: Sequence[Key]) -> dict[int, Digest]:
        """See `Comparison.rows_at`."""
        found = self.rows(part, Span(), 1 << 60)
        return {i: found[key] for i, key in enumerate(keys) if key in found}

    def values(self, part: Part, keys: Sequence[Key]) -> list[tuple[bytes | None, ...]]:
        """See `SourceComparison.values`."""
        self._reading()
        return [tuple(row[name] for name, _ in part.columns) for row in self._rows(part, Span()) if _key(part, row) in keys]

    def position(self) -> str:
        """See `SourceComparison.position`."""
        return self._position()

    def close(self) -> None:
        """See `Comparison.close`."""

    def _rows(self, part: Part, span: Span) -> list[Row]:
        found = self._look(part.table)
        assert found is not None, f"there is no {part.table}"
        return [row for row in found[1] if not part.key or _within(_key(part, row), span)]


def _key(part: Part, row: Row) -> Key:
    return tuple((row[name] or b"").decode() for name in part.key)


def _within(key: Key, span: Span) -> bool:
    place = order(key)
    return (span.after is None or order(span.after) < place) and (span.upto is None or place <= order(span.upto))


def _hash(part: Part, row: Row) -> int:
    texts = [None if (value := row[name]) is None else value.decode() for name, _ in part.columns]
    text = ",".join("-" if value is None else f"{len(value)}:{value}" for value in texts)
    return int(hashlib.new(part.hash, text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def _sum(hashes: Iterable[int]) -> Digest:
    found = list(hashes)
    return Digest(len(found), sum(found))
