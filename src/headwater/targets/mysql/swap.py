"""Rows that have to leave the table before others can be written: taken out, given their new values, and put back.

MySQL looks at unique keys row by row, and can't be told to wait. So where two rows swap a value of a further unique key, or pass it on, no
order of updates may do. A row that is taken out keeps what its columns hold that are not mapped. Rows that stand in the way, and
are not written now, are parked (`aside.py`).
"""

# ruff: noqa: S608  every name is quoted by `quote`

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headwater.dialects.mysql_session import quote
from headwater.targets.mysql.aside import Aside
from headwater.targets.mysql.session import Connection
from headwater.targets.mysql.staging import Stages
from headwater.targets.mysql.statements import Statements, column_list


class Counts(Protocol):
    """Where it is counted how many rows were updated."""

    updated: int


class Swap:
    """The rows that one step takes out. Errors of the driver pass through."""

    def __init__(self, connection: Connection, sql: Statements, stages: Stages, aside: Aside) -> None:
        self._connection, self._sql, self._aside = connection, sql, aside
        self._stages = stages
        self._out = stages.open(sql, "out", sql.writable)
        self._rows = 0

    def take(self, staging: str, columns: Sequence[str]) -> None:
        """Take the rows out that stand, and have other values in a further unique key than the staged ones with these columns; parked
        ones as well."""
        rows = self._aside.fetch(staging, self._out)
        unique = [name for name in self._sql.unique_columns if name in columns]
        if unique:
            leaving = self._connection.run(self._leaving(staging, unique)).rows
            if leaving:
                self._connection.run(self._sql.delete(self._out))
            rows += leaving
        if rows:
            self._rows += rows
            self._stages.holds(self._out, self._rows)
            values = ", ".join(f"t.{quote(name)} = s.{quote(name)}" for name in self._sql.values_of(columns))
            if values:
                self._connection.run(f"UPDATE {self._out} AS t JOIN {staging} AS s ON {self._sql.meets('t', 's')} SET {values}")

    def give_back(self, tally: Counts) -> None:
        """Put them in again."""
        if self._rows:
            self._aside.make_room(self._out, self._sql.writable)
            columns = column_list(self._sql.writable)
            put = f"INSERT INTO {self._sql.table} ({columns}) SELECT {columns} FROM {self._out}"
            tally.updated += self._connection.run(put).rows

    def _leaving(self, staging: str, unique: Sequence[str]) -> str:
        return (
            f"INSERT INTO {self._out} ({column_list(self._sql.writable)}) SELECT {column_list(self._sql.writable, 't')} "
            f"FROM {staging} AS s STRAIGHT_JOIN {self._sql.table} AS t ON {self._sql.meets('t', 's')} "
            f"WHERE NOT ({self._sql.same('t', 's', unique)})"
        )
