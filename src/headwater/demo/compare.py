"""Is the target equal to the source? Counted and hashed, table by table, on both sides: nothing is taken on trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

SESSION = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=iso_8601 -c extra_float_digits=1 -c bytea_output=hex"
"""The same words for the same values on both sides."""

FINGERPRINT = sql.SQL("SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {} AS t")
"""Rows, and the sum of a 64-bit hash of each: the order of rows does not matter, every value of every column does."""


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


def compare(source_dsn: str, target_dsn: str, tables: Sequence[str]) -> list[Comparison]:
    """Compare the tables, each side in one snapshot."""
    source, target = (_fingerprints(dsn, tables) for dsn in (source_dsn, target_dsn))
    return [Comparison(table, source[table], target[table]) for table in tables]


def _fingerprints(dsn: str, tables: Sequence[str]) -> dict[str, Fingerprint]:
    found = {}
    with psycopg.connect(dsn, options=SESSION) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for table in tables:
            row = connection.execute(FINGERPRINT.format(sql.Identifier(table))).fetchone()
            assert row is not None
            found[table] = Fingerprint(int(row[0]), int(row[1]))
    return found
