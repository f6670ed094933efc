"""Books of source rows, for mappings that share a target table: whose row stands there, and whose does no more (docs/decisions/0020).

Each mapping that has others beside it has a book: a table of keys, written in the same transactions as the rows. `headwater_book` lists
them. They are made and dropped over a connection of their own, because that ends a transaction.
"""

# ruff: noqa: S608  every name is quoted by `quote`

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headwater.dialects.mysql_session import Server, quote
from headwater.domain.mapping import TableMapping
from headwater.targets.mysql.aside import beside, name_of, perhaps_missing
from headwater.targets.mysql.session import Connection
from headwater.targets.mysql.statements import Statements, column_list
from headwater.targets.shared_steps import cleared

TABLE = """
    CREATE TABLE IF NOT EXISTS headwater_book (
        task_id    varchar(64) COLLATE utf8mb4_bin NOT NULL,
        mapping_id varchar(128) COLLATE utf8mb4_bin NOT NULL,
        complete   tinyint NOT NULL,
        PRIMARY KEY (task_id, mapping_id)
    ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4
"""
_LIST = "SELECT mapping_id, complete FROM headwater_book WHERE task_id = %s"
_SAVE = "REPLACE INTO headwater_book (task_id, mapping_id, complete) VALUES (%s, %s, %s)"


def prepare(connection: Connection) -> None:
    """Have the list of books there. Commits."""
    connection.run(TABLE)


def tracked(connection: Connection, task_id: str, mappings: Sequence[TableMapping]) -> tuple[frozenset[str], list[str]]:
    """See `TargetRun.tracked`; with the ids of mappings whose books are to be dropped after the commit."""
    wanted = {m.mapping_id for m in mappings if m.beside}
    listed: dict[str, int] = {}
    with perhaps_missing():
        listed = dict(connection.ask(_LIST, [task_id]))
    others = sorted(listed.keys() - wanted)
    for mapping_id in others:
        connection.run("DELETE FROM headwater_book WHERE task_id = %s AND mapping_id = %s", [task_id, mapping_id])
    return frozenset(mapping_id for mapping_id in listed.keys() & wanted if listed[mapping_id]), others


def drop(connection: Connection, task_id: str, mapping_ids: Iterable[str]) -> None:
    """Drop the books of mappings. Commits."""
    for mapping_id in mapping_ids:
        connection.run(f"DROP TABLE IF EXISTS {quote(name_of('book', task_id, mapping_id))}")


def forget(connection: Connection, task_id: str) -> None:
    """No book of a task is listed any more; `aside.drop_all` drops them."""
    with perhaps_missing():
        connection.run("DELETE FROM headwater_book WHERE task_id = %s", [task_id])


def start(server: Server, connection: Connection, task_id: str, sql: Statements) -> None:
    """See `TargetRun.start_copy`. In the connection's transaction, which holds the task."""
    name, columns = quote(name_of("book", task_id, sql.mapping.mapping_id)), column_list(sql.key_names)
    with beside(server) as other:
        prepare(other)
        other.run(f"DROP TABLE IF EXISTS {name}")
        other.run(f"CREATE TABLE {name} (PRIMARY KEY ({columns})) ENGINE = InnoDB AS SELECT {columns} FROM {sql.table} LIMIT 0")
    connection.run(_SAVE, [task_id, sql.mapping.mapping_id, 0])


def finish(connection: Connection, task_id: str, book: Book) -> None:
    """See `TargetRun.finish_copy`."""
    for statement in (book.remove_unknown, *book.clear_unknown):
        connection.run(statement)
    connection.run(_SAVE, [task_id, book.mapping.mapping_id, 1])


class Book:
    """The SQL of one mapping's book. `t` is the target's table, `s` staged rows or keys, `m` this book."""

    def __init__(self, task_id: str, sql: Statements) -> None:
        self._task_id, self._sql, self.mapping = task_id, sql, sql.mapping
        self._name = self._book(self.mapping.mapping_id)

    def add(self, rows: str) -> str:
        """The staged rows are in the book."""
        keys, first = self._sql.key_names, quote(self._sql.key_names[0])
        return (
            f"INSERT INTO {self._name} ({column_list(keys)}) SELECT {column_list(keys, 's')} FROM {rows} AS s "
            f"ON DUPLICATE KEY UPDATE {self._name}.{first} = s.{first}"
        )

    def read(self, keys: str, into: str) -> str:
        """Put this mapping's own rows with the staged keys into a staging table of its columns."""
        columns = self._sql.columns
        return (
            f"INSERT INTO {into} ({column_list(columns)}) SELECT {column_list(columns, 't')} FROM {self._standing(keys)} "
            f"WHERE {self._in_book(self.mapping.mapping_id, 't')}"
        )

    def contradicting(self, rows: str) -> str:
        """One row where a staged row differs in a column that a row of another mapping fills too; empty where no column is."""
        conditions = [
            f"({self._in_book(other.mapping_id, 's')} AND NOT ({self._sql.same('t', 's', columns)}))"
            for other in self.mapping.beside
            if (columns := [name for name in self.mapping.values if name in other.columns])
        ]
        return f"SELECT 1 FROM {self._standing(rows)} WHERE {' OR '.join(conditions)} LIMIT 1" if conditions else ""

    def leave(self, keys: str) -> str:
        """The staged keys are in the book no more."""
        return f"DELETE m FROM {keys} AS s STRAIGHT_JOIN {self._name} AS m ON {self._sql.meets('m', 's')}"

    def remove(self, keys: str) -> str:
        """Remove the rows with staged keys that are in no book beside this one."""
        return f"DELETE t FROM {self._standing(keys)} WHERE {self._nowhere('t')}"

    def clear(self, keys: str) -> list[str]:
        """Clear this mapping's columns in the rows with staged keys."""
        return self._clear(self._standing(keys), "true")

    def stage_all(self, keys: str) -> str:
        """Put all keys of the book into a staging table."""
        columns = column_list(self._sql.key_names)
        return f"INSERT INTO {keys} ({columns}) SELECT {columns} FROM {self._name}"

    @property
    def remove_unknown(self) -> str:
        """Remove the rows that are in no book at all."""
        return f"DELETE t FROM {self._sql.table} AS t WHERE {self._nowhere('t')} AND NOT {self._in_book(self.mapping.mapping_id, 't')}"

    @property
    def clear_unknown(self) -> list[str]:
        """Clear this mapping's columns in the rows that are not in its book."""
        return self._clear(f"{self._sql.table} AS t", f"NOT {self._in_book(self.mapping.mapping_id, 't')}")

    def _clear(self, what: str, where: str) -> list[str]:
        """One statement per set of mappings that fill the same columns: those are left alone in their rows."""
        statements = []
        for owners, names in cleared(self.mapping):
            assignments = ", ".join(f"t.{quote(name)} = DEFAULT" for name in names)
            free = "".join(f" AND NOT {self._in_book(owner, 't')}" for owner in owners)
            statements.append(f"UPDATE {what} SET {assignments} WHERE {where}{free}")
        return statements

    def _standing(self, staged: str) -> str:
        return f"{staged} AS s STRAIGHT_JOIN {self._sql.table} AS t ON {self._sql.meets('t', 's')}"

    def _nowhere(self, alias: str) -> str:
        return " AND ".join(f"NOT {self._in_book(other.mapping_id, alias)}" for other in self.mapping.beside)

    def _in_book(self, mapping_id: str, alias: str) -> str:
        return f"EXISTS (SELECT 1 FROM {self._book(mapping_id)} AS b WHERE {self._sql.meets('b', alias)})"

    def _book(self, mapping_id: str) -> str:
        return quote(name_of("book", self._task_id, mapping_id))
