"""What the log's announcements of tables mean: which table it is for us, which columns these are, and which of them find a row.

The stream tells names, type numbers and the replica identity as they were when the change was made. It does not number the columns,
and a type that was dropped since has no name any more. So each announcement is laid beside today's catalogue, which
keeps every column that the table ever had, in order: a dropped one leaves a gap with its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from headwater.domain.tables import Column, TableName, TableSchema
from headwater.sources.frames import Framer
from headwater.sources.postgres import catalogue, positions
from headwater.sources.postgres.config import PostgresConfig
from headwater.sources.postgres.connect import connect, translated
from headwater.wire.pgoutput import Relation

UNMARKED = ("f", "n")
"""Replica identities with which the stream marks no column as key: all columns, or none, are sent. The key is today's then. (With NOTHING
the server refuses updates and deletes of a table that is published, so only inserts come, and those have all values.)"""


@dataclass(frozen=True)
class Attribute:
    """A column of today's catalogue, or the gap that one has left."""

    number: int
    name: str
    dropped: bool = False
    generated: bool = False
    nullable: bool = True
    key: bool = False


class Announcer:
    """Answers the decoder's announcements. `followed`: today's numbers of the wanted tables, as the log is opened."""

    def __init__(self, config: PostgresConfig, tables: Sequence[TableName], followed: Mapping[int, TableName]) -> None:
        self.framer = Framer(positions.text, lambda relation: relation.oid)
        self._config = config
        self._wanted = frozenset(tables)
        self._followed = dict(followed)
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def key_of(self, relation: Relation) -> tuple[int, ...] | None:
        """The indexes of the key columns, none where rows are found as a whole; None for a table that nobody wants and that has no key.

        A wanted table without a key passes: what comes of it is for the tasks that map it to say, and not for all others.
        """
        attributes, types = self._look(relation)
        table, called = self._name(relation)
        numbers = align([column.name for column in relation.columns], attributes)
        known = {attribute.number: attribute for attribute in attributes}
        columns = []
        for column, number, type_ in zip(relation.columns, numbers, types, strict=True):
            today = known.get(number, Attribute(number, column.name))
            key = today.key if relation.replica_identity in UNMARKED else column.identity
            type_id = catalogue.type_id(column.type_oid, column.type_modifier)
            columns.append(Column(column.name, type_, key, today.nullable, True, number, type_id))
        self.framer.announced(relation, TableSchema(table, tuple(columns), str(relation.oid), called))
        key_at = tuple(i for i, column in enumerate(columns) if column.key)
        return key_at if key_at or table in self._wanted else None

    def close(self) -> None:
        """Let the catalogue session go. Idempotent."""
        if self._connection is not None:
            self._connection.close()

    def _name(self, relation: Relation) -> tuple[TableName, TableName | None]:
        """The name under which the table is followed, and the one that it had then, where that is another one."""
        name = TableName(relation.schema, relation.name)
        if name in self._wanted:
            self._followed[relation.oid] = name
        table = self._followed.get(relation.oid, name)
        return table, None if table == name else name

    def _look(self, relation: Relation) -> tuple[list[Attribute], list[str]]:
        """Today's columns of the relation, none where it is gone; and the names of the announced types."""
        with translated(f"Looking up the table {relation.schema}.{relation.name} in {self._config.place}"):
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._config)
            found = self._connection.execute(catalogue.ATTRIBUTES, (relation.oid,)).fetchall()
            oids, modifiers = [c.type_oid for c in relation.columns], [c.type_modifier for c in relation.columns]
            types = self._connection.execute(catalogue.TYPES, (oids, modifiers)).fetchall()
        return [Attribute(*row) for row in found], [row[0] for row in types]


def align(names: Sequence[str], attributes: Sequence[Attribute]) -> list[int]:
    """Numbers of announced columns, found among today's; -1 where the catalogue does not tell any more which one it was, 0 where it does
    not know the table any more. Pure.

    Both are in the order of their numbers. A column that is there today and was there before a later one must be among the announced ones,
    so columns of the same name hold the two lists together, and what lies between them follows where there is one way only.
    """
    if not attributes:
        return [0] * len(names)
    there = [a for a in attributes if not a.generated or a.name in names]
    places = {a.name: i for i, a in enumerate(there) if not a.dropped}
    anchors = [(i, places[name]) for i, name in enumerate(names) if name in places]
    for held in (anchors, []):
        found = _between(len(names), there, held)
        if found is not None:
            return found
    return [-1] * len(names)


def _between(count: int, there: Sequence[Attribute], anchors: Sequence[tuple[int, int]]) -> list[int] | None:
    """Numbers with some columns held fast; None where those can't have been there together."""
    numbers = [-1] * count
    first, at = 0, 0
    for i, place in [*anchors, (count, -1)]:
        end = place if place >= 0 else len(there)
        if end < at or not _fill(numbers, (first, i), there[at:end], last=place < 0):
            return None
        if place >= 0:
            numbers[i] = there[place].number
        first, at = i + 1, end + 1
    return numbers


def _fill(numbers: list[int], announced: tuple[int, int], gap: Sequence[Attribute], last: bool) -> bool:
    """Give numbers to a run of announced columns out of the attributes that lie there; False where that can't be."""
    wanted = announced[1] - announced[0]
    alive = [a.number for a in gap if not a.dropped]
    chosen = [a.number for a in gap]
    if last and all(not a.dropped for a in gap[:wanted]):
        chosen, alive = chosen[:wanted], alive[:wanted]  # what comes later was added later
    elif last:
        chosen, alive = chosen if len(chosen) == wanted else [], []
    if wanted > len(gap) or len(alive) > wanted:
        return False
    for fits in (alive, chosen):
        if len(fits) == wanted:
            numbers[announced[0] : announced[1]] = fits
            return True
    return True
