"""Rows whose values of further unique keys change: taken out of the table, and put back with their new values once all of them are out.

MySQL looks at unique keys row by row, and can't be told to wait. So where two rows swap such a value, or pass it on, no order of updates
may do. A row that is taken out keeps what its columns hold that are not mapped.
"""

# ruff: noqa: S608  every name is quoted by `quote`

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headwater.dialects.mysql_session import quote
from headwater.targets.mysql.session import Connection
from headwater.targets.mysql.staging import Stages
from headwater.targets.mysql.statements import Statements, column_list


class Counts(Protocol):
    """Where it is counted how many rows were updated."""

    updated: int


class Swap:
    """The rows that one step takes out. Errors of the driver pass through."""

    def __init__(self, connection: Connection, statements: Statements, stages: Stages) -> None:
        self._connection, self._sql, self._stages = connection, statements, stages
        self._out = ""
        self._rows = 0

    def take(self, staging: str, columns: Sequence[str]) -> None:
        """Take the rows out that stand, and have other values in a further unique key than the staged ones with these columns."""
        unique = [name for name in self._sql.unique_columns if name in columns]
        if not unique:
            return
        if not self._out:
            self._out = self._stages.open(self._sql, "out", self._sql.writable)
        rows = self._connection.run(self._leaving(staging, unique)).rows
        if not rows:
            return
        self._rows += rows
        self._stages.holds(self._out, self._rows)
        self._connection.run(self._sql.delete(self._out))
        self._connection.run(self._changed(staging, columns))

    def give_back(self, tally: Counts) -> None:
        """Put them in again."""
        if self._rows:
            columns = column_list(self._sql.writable)
            tally.updated += self._connection.run(f"INSERT INTO {self._sql.table} ({columns}) SELECT {columns} FROM {self._out}").rows

    def _leaving(self, staging: str, unique: Sequence[str]) -> str:
        return (
            f"INSERT INTO {self._out} ({column_list(self._sql.writable)}) SELECT {column_list(self._sql.writable, 't')} "
            f"FROM {staging} AS s STRAIGHT_JOIN {self._sql.table} AS t ON {self._sql.meets('t', 's')} "
            f"WHERE NOT ({self._sql.same('t', 's', unique)})"
        )

    def _changed(self, staging: str, columns: Sequence[str]) -> str:
        values = ", ".join(f"t.{quote(name)} = s.{quote(name)}" for name in self._sql.values_of(columns))
        return f"UPDATE {self._out} AS t JOIN {staging} AS s ON {self._sql.meets('t', 's')} SET {values}"
