"""What is found about the columns of a target table before a task starts: the same for every kind of target."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from headwater.domain.mapping import TableMapping
from headwater.domain.tables import TableName
from headwater.ports.source import Finding


class Column(Protocol):
    """A column of a target table."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def nullable(self) -> bool:
        """Whether it may be NULL."""

    @property
    def writable(self) -> bool:
        """False for generated columns."""


def unfit(mapping: TableMapping, table: TableName, columns: Sequence[Column], defaults: Collection[str]) -> Iterator[Finding]:
    """Mapped columns that are missing or generated, and others without which no row can be inserted. `defaults`: what fills itself."""
    known = {column.name: column for column in columns}
    mapped = {pair.target for pair in mapping.columns}
    for pair in mapping.columns:
        if pair.target not in known:
            yield Finding(f"{table} has no column {pair.target}.", "Add it, or change the mapping.")
        elif not known[pair.target].writable:
            yield Finding(f"{table}.{pair.target} is a generated column, which can't be written.", "Take it out of the mapping.")
    for column in columns:
        required = not column.nullable and column.writable and column.name not in defaults
        if required and column.name not in mapped and "INSERT" in mapping.operations:
            yield Finding(
                f"{table}.{column.name} must not be NULL, has no default and is not mapped.",
                "Map it, give it a default, or let it be NULL.",
            )


def never_cleared(mapping: TableMapping, table: TableName, columns: Sequence[Column], defaults: Collection[str]) -> Iterator[Finding]:
    """Columns that can't be cleared, of a table that other mappings fill too: rows stay there when one of their source rows goes."""
    for column in columns if mapping.beside else ():
        if column.name in mapping.values and not column.nullable and column.name not in defaults:
            yield Finding(
                f"{table}.{column.name} must not be NULL and has no default, but it is to be cleared when the row of {mapping.source} goes "
                "and one of another table stays.",
                "Let it be NULL, or give it a default.",
            )
