"""Is the target equal to the source? Counted and hashed, table by table, on both sides: nothing is taken on trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headwater.demo.sides import Side


@dataclass(frozen=True)
class Fingerprint:
    """One table on one side."""

    rows: int
    hash: int


@dataclass(frozen=True)
class Comparison:
    """One table on both sides."""

    table: str
    source: Fingerprint
    target: Fingerprint

    @property
    def equal(self) -> bool:
        """True where nothing tells the two apart."""
        return self.source == self.target


def compare(source: Side, target: Side, tables: Sequence[str]) -> list[Comparison]:
    """Compare the tables, while nobody writes."""
    return [Comparison(table, Fingerprint(*source.fingerprint(table)), Fingerprint(*target.fingerprint(table))) for table in tables]
