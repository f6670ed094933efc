"""Books of source rows, for mappings that share a target table: whose row stands there, and whose does no more.

Such a table is joined by key: each mapping fills its own columns. A row may go only when no mapping has a source row with its key any more,
which the table itself can't tell. So each mapping that has others beside it has a book: a table of keys in our schema, written in
the same transactions as the rows. `headwater.book` lists them (docs/decisions/0020).
"""

# ruff: noqa: S608  every name is quoted by `quote`, types and operators are PostgreSQL's own spelling

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

from headwater.domain.mapping import TableMapping
from headwater.targets.postgres.session import Connection
from headwater.targets.postgres.statements import Statements, column_list, final, quote
from headwater.targets.shared_steps import cleared

SCHEMA_STATEMENT = """
    CREATE TABLE IF NOT EXISTS headwater.book (
        task_id    text NOT NULL,
        mapping_id text NOT NULL,
        name       text NOT NULL,
        complete   boolean NOT NULL,
        PRIMARY KEY (task_id, mapping_id)
    )
"""

_THERE = "SELECT to_regclass('headwater.book') IS NOT NULL"
_LIST = "SELECT mapping_id, name, complete FROM headwater.book WHERE task_id = %s"
_REMOVE = "DELETE FROM headwater.book WHERE task_id = %s AND mapping_id = %s"
_BEGIN = """
INSERT INTO headwater.book (task_id, mapping_id, name, complete) VALUES (%s, %s, %s, false)
ON CONFLICT (task_id, mapping_id) DO UPDATE SET complete = false
"""
_COMPLETE = "UPDATE headwater.book SET complete = true WHERE task_id = %s AND mapping_id = %s"


def name_of(task_id: str, mapping_id: str) -> str:
    """The name of a mapping's book in our schema; ids may be longer than names."""
    return "book_" + hashlib.blake2s(f"{task_id}\n{mapping_id}".encode(), digest_size=8).hexdigest()


def tracked(connection: Connection, task_id: str, mappings: Sequence[TableMapping]) -> frozenset[str]:
    """See `TargetRun.tracked`. In the connection's transaction, which the caller commits."""
    if not _there(connection):
        return frozenset()
    wanted = {m.mapping_id for m in mappings if m.beside}
    complete = set()
    for mapping_id, name, whole in connection.execute(_LIST, [task_id]).fetchall():
        if mapping_id not in wanted:
            _drop(connection, task_id, mapping_id, name)
        elif whole:
            complete.add(mapping_id)
    return frozenset(complete)


def forget(connection: Connection, task_id: str) -> None:
    """Drop all books of a task."""
    if _there(connection):
        for mapping_id, name, _ in connection.execute(_LIST, [task_id]).fetchall():
            _drop(connection, task_id, mapping_id, name)


def start(connection: Connection, task_id: str, mapping: TableMapping, statements: Statements) -> None:
    """See `TargetRun.start_copy`."""
    connection.execute(SCHEMA_STATEMENT.encode())
    name = name_of(task_id, mapping.mapping_id)
    connection.execute(_BEGIN, [task_id, mapping.mapping_id, name])
    table, columns = quote("headwater", name), column_list(statements.key_names)
    connection.execute(f"DROP TABLE IF EXISTS {table}".encode())
    connection.execute(f"CREATE TABLE {table} AS SELECT {columns} FROM {statements.own} WITH NO DATA".encode())
    connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({columns})".encode())


def finish(connection: Connection, task_id: str, mapping: TableMapping, book: Book) -> None:
    """See `TargetRun.finish_copy`."""
    connection.execute("SET LOCAL enable_hashjoin = on")
    connection.execute("SET LOCAL enable_seqscan = on")
    connection.execute("SET LOCAL work_mem = '64MB'")
    for statement in (book.remove_unknown, *book.clear_unknown):
        connection.execute(statement)
    connection.execute(_COMPLETE, [task_id, mapping.mapping_id])


class Book:
    """The SQL of one mapping's book. `t` is the target's table, `s` staged rows or keys, `m` this book."""

    def __init__(self, task_id: str, mapping: TableMapping, statements: Statements) -> None:
        self._task_id, self._mapping, self._sql = task_id, mapping, statements
        self._rows_of = statements.own
        self._name = self._book(mapping.mapping_id)
        self._rows, self._keys = f"pg_temp.{statements.rows}", f"pg_temp.{statements.keys}"

    @cached_property
    def add(self) -> bytes:
        """The staged rows are in the book."""
        columns = column_list(self._sql.key_names)
        return f"INSERT INTO {self._name} ({columns}) SELECT {columns} FROM {self._rows} ON CONFLICT DO NOTHING".encode()

    @cached_property
    def read(self) -> bytes:
        """This mapping's columns, as text, of its own row with a key; parameters are k0, k1, ..., the key."""
        columns = ", ".join(f"t.{quote(pair.target)}::pg_catalog.text" for pair in self._mapping.columns)
        own = self._in_book(self._mapping.mapping_id, "t")
        return final(f"SELECT {columns} FROM {self._rows_of} AS t WHERE {self._sql.key_is('k%d')} AND {own}")

    @cached_property
    def contradicting(self) -> bytes | None:
        """A row where a staged row differs in a column that a row of another mapping fills too; None where no column is."""
        conditions = [
            f"{self._in_book(other.mapping_id, 's')} AND {self._sql.differs('t', 's', columns)}"
            for other in self._mapping.beside
            if (columns := [name for name in self._mapping.values if name in other.columns])
        ]
        if not conditions:
            return None
        either = " OR ".join(f"({condition})" for condition in conditions)
        return f"SELECT 1 FROM {self._rows} AS s JOIN {self._rows_of} AS t ON {self._sql.meets('t', 's')} WHERE {either} LIMIT 1".encode()

    @cached_property
    def leave(self) -> bytes:
        """The staged keys are in the book no more."""
        return f"DELETE FROM {self._name} AS m USING {self._keys} AS s WHERE {self._sql.meets('m', 's')}".encode()

    @cached_property
    def remove(self) -> bytes:
        """Remove the rows with staged keys that are in no book beside this one."""
        return (
            f"DELETE FROM {self._rows_of} AS t USING {self._keys} AS s WHERE {self._sql.meets('t', 's')} AND {self._nowhere('t')}".encode()
        )

    @cached_property
    def clear(self) -> tuple[bytes, ...]:
        """Clear this mapping's columns in the rows with staged keys."""
        return self._clear(f"FROM {self._keys} AS s WHERE {self._sql.meets('t', 's')}")

    @cached_property
    def stage_all(self) -> bytes:
        """Take all keys of the book as the staged ones."""
        columns = column_list(self._sql.key_names)
        return f"INSERT INTO {self._keys} ({columns}) SELECT {columns} FROM {self._name}".encode()

    @cached_property
    def remove_unknown(self) -> bytes:
        """Remove the rows that are in no book at all."""
        unknown = f"{self._nowhere('t')} AND NOT {self._in_book(self._mapping.mapping_id, 't')}"
        return f"DELETE FROM {self._rows_of} AS t WHERE {unknown}".encode()

    @cached_property
    def clear_unknown(self) -> tuple[bytes, ...]:
        """Clear this mapping's columns in the rows that are not in its book."""
        return self._clear(f"WHERE NOT {self._in_book(self._mapping.mapping_id, 't')}")

    def _clear(self, where: str) -> tuple[bytes, ...]:
        """One statement per set of mappings that fill the same columns: those are left alone in their rows."""
        statements = []
        for owners, names in cleared(self._mapping):
            assignments = ", ".join(f"{quote(name)} = DEFAULT" for name in names)
            free = "".join(f" AND NOT {self._in_book(owner, 't')}" for owner in owners)
            statements.append(f"UPDATE {self._rows_of} AS t SET {assignments} {where}{free}".encode())
        return tuple(statements)

    def _nowhere(self, alias: str) -> str:
        return " AND ".join(f"NOT {self._in_book(other.mapping_id, alias)}" for other in self._mapping.beside)

    def _in_book(self, mapping_id: str, alias: str) -> str:
        return f"EXISTS (SELECT FROM {self._book(mapping_id)} AS b WHERE {self._sql.meets('b', alias)})"

    def _book(self, mapping_id: str) -> str:
        return quote("headwater", name_of(self._task_id, mapping_id))


def _there(connection: Connection) -> bool:
    row = connection.execute(_THERE).fetchone()
    return row is not None and bool(row[0])


def _drop(connection: Connection, task_id: str, mapping_id: str, name: str) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {quote('headwater', name)}".encode())
    connection.execute(_REMOVE, [task_id, mapping_id])
