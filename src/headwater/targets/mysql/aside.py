"""Tables of ours beside a target's table: rows that can't stand in it for the moment, and the keys that a copy has brought.

*Parked* rows belong to the table, and are kept out of it while another row has the value of a unique key that theirs has, or a key
that the table takes for theirs. That is so in the middle of a source's transaction, and where rows of different moments meet: in a replay,
and when a table is copied again. Whatever is said of a parked row's key is said of the parked row. When the target is settled
they go back; one that then can't is refused.

*Seen* keys are noted where a copy's chunks have no ranges at the target, because it orders keys otherwise than the source. What is not
among them when the copy is complete is removed.

Both are made over a connection of their own, since making a table ends a transaction. See docs/decisions/0026.
"""

# ruff: noqa: S608  every name is quoted by `quote`

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal, get_args

from pymysql.err import Error

from headwater.dialects.mysql_errors import number_of
from headwater.dialects.mysql_session import Server, quote
from headwater.targets.mysql.session import Connection, connect
from headwater.targets.mysql.statements import Statements, column_list

What = Literal["parked", "seen", "book"]
NO_SUCH_TABLE = 1146


def name_of(what: What, task_id: str, mapping_id: str) -> str:
    """The name of a table of ours for one mapping; ids may be longer than names."""
    return f"headwater_{what}_{_short(task_id)}_{_short(mapping_id)}"


def drop_all(connection: Connection, task_id: str) -> None:
    """Drop these tables of a task, and its books. Commits."""
    found = connection.ask(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "
        "AND (TABLE_NAME LIKE %s OR TABLE_NAME LIKE %s OR TABLE_NAME LIKE %s)",
        [f"headwater\\_{what}\\_{_short(task_id)}\\_%" for what in get_args(What)],
    )
    for (name,) in found:
        connection.run(f"DROP TABLE IF EXISTS {quote(name)}")


def begin_copy(connection: Connection, task_id: str, mapping_id: str) -> None:
    """The copy of a mapping begins: what was kept for it is over. In the connection's transaction."""
    for what in ("parked", "seen"):
        with perhaps_missing():
            connection.run(f"DELETE FROM {quote(name_of(what, task_id, mapping_id))}")


class Aside:
    """The tables of ours beside one mapping's. Errors of the driver pass through."""

    def __init__(self, server: Server, connection: Connection, task_id: str, sql: Statements) -> None:
        self._server, self._connection, self._sql = server, connection, sql
        self._names = {what: name_of(what, task_id, sql.mapping.mapping_id) for what in ("parked", "seen")}
        self._there: bool | None = None  # whether there may be parked rows; None: not asked yet

    # Parked rows.

    def forget(self, *, empty: bool = False) -> None:
        """The transaction has ended: others may have parked rows since, unless it is known that there are none."""
        self._there = False if empty else None

    @property
    def parks(self) -> bool:
        """Whether rows of this table may have to be parked."""
        return bool(self._sql.key_names) and bool(self._sql.further or self._sql.collates)

    @property
    def parked(self) -> str:
        """The table of parked rows, quoted; empty where no row is parked."""
        if self._there is None:
            self._there = self.parks and self._holds_rows()
        return quote(self._names["parked"]) if self._there else ""

    def make_room(self, staging: str, columns: Sequence[str]) -> int:
        """Park the rows that stand where the staged ones with these columns are to stand; how many."""
        rows = 0
        for condition in self._collisions(columns):
            found = f"FROM {staging} AS s STRAIGHT_JOIN {self._sql.table} AS t ON {condition}"
            if not self._connection.ask(f"SELECT 1 {found} LIMIT 1"):
                continue
            into = self._make("parked", self._sql.writable)
            names = column_list(self._sql.writable)
            rows += self._connection.run(f"INSERT INTO {into} ({names}) SELECT {column_list(self._sql.writable, 't')} {found}").rows
            self._there = True
            self._connection.run(f"DELETE t FROM {into} AS s STRAIGHT_JOIN {self._sql.table} AS t ON {self._sql.meets('t', 's')}")
        return rows

    def _collisions(self, columns: Sequence[str]) -> Iterator[str]:
        """Where a row `t` stands in the way of a staged row `s`, and is another one."""
        other = f"NOT ({self._sql.finds('t', 's')} AND {self._sql.same('t', 's', self._sql.key_names)})"
        if self._sql.collates:
            yield f"{self._sql.finds('t', 's')} AND {other}"
        for key in self._sql.further:
            if key.whole and set(key.columns) <= set(columns):
                yield " AND ".join(f"t.{quote(name)} = s.{quote(name)}" for name in key.columns) + f" AND {other}"

    def fetch(self, staging: str, out: str) -> int:
        """Move the parked rows whose keys are staged into the table `out`; how many."""
        if not (parked := self.parked):
            return 0
        names = column_list(self._sql.writable)
        found = f"FROM {staging} AS s JOIN {parked} AS t ON {self._sql.meets('t', 's')}"
        rows = self._connection.run(f"INSERT INTO {out} ({names}) SELECT {column_list(self._sql.writable, 't')} {found}").rows
        self._connection.run(f"DELETE t {found}")
        return rows

    def delete(self, staging: str) -> int:
        """Delete the parked rows whose keys are staged; how many."""
        if not (parked := self.parked):
            return 0
        return self._connection.run(f"DELETE t FROM {staging} AS s JOIN {parked} AS t ON {self._sql.meets('t', 's')}").rows

    def clear(self) -> int:
        """Delete all parked rows; how many."""
        return self._connection.run(f"DELETE FROM {parked}").rows if (parked := self.parked) else 0

    def stands(self, staging: str) -> bool:
        """Whether a staged key is that of a parked row."""
        parked = self.parked
        return bool(parked) and bool(
            self._connection.ask(f"SELECT 1 FROM {staging} AS s JOIN {parked} AS t ON {self._sql.meets('t', 's')} LIMIT 1")
        )

    def come_back(self) -> None:
        """Put all parked rows into the table again; the driver's error where one can't stand there."""
        if parked := self.parked:
            names = column_list(self._sql.writable)
            self._connection.run(f"INSERT INTO {self._sql.table} ({names}) SELECT {names} FROM {parked}")
            self._connection.run(f"DELETE FROM {parked}")

    def remove_missing(self, statement: Callable[[str], bytes]) -> None:
        """Delete parked rows as `statement` says for their table."""
        if parked := self.parked:
            self._connection.run(statement(parked))

    # Seen keys.

    def see(self, staging: str) -> None:
        """Note the staged keys as seen."""
        names = column_list(self._sql.key_names)
        self._connection.run(f"INSERT INTO {self._make('seen', self._sql.key_names)} ({names}) SELECT {names} FROM {staging}")

    def remove_unseen(self) -> None:
        """Where keys were noted, delete all rows with others."""
        seen = quote(self._names["seen"])
        with perhaps_missing():
            self._connection.ask(f"SELECT 1 FROM {seen} LIMIT 1")
            unseen = f"NOT EXISTS (SELECT 1 FROM {seen} AS s WHERE {self._sql.meets('t', 's')})"
            for table in filter(None, (self._sql.table, self.parked)):
                self._connection.run(f"DELETE t FROM {table} AS t WHERE {unseen}")

    def drop_seen(self) -> None:
        """The copy is complete. Over a connection of its own."""
        with suppress(Error), beside(self._server) as connection:
            connection.run(f"DROP TABLE IF EXISTS {quote(self._names['seen'])}")

    def _make(self, what: What, columns: Sequence[str]) -> str:
        """Have the table there; its name, quoted."""
        name = quote(self._names[what])
        with beside(self._server) as connection:
            connection.run(
                f"CREATE TABLE IF NOT EXISTS {name} (KEY ({column_list(self._sql.key_names)})) ENGINE = InnoDB "
                f"AS SELECT {column_list(columns)} FROM {self._sql.table} LIMIT 0"
            )
        return name

    def _holds_rows(self) -> bool:
        with perhaps_missing():
            return bool(self._connection.ask(f"SELECT 1 FROM {quote(self._names['parked'])} LIMIT 1"))
        return False


@contextmanager
def beside(server: Server) -> Iterator[Connection]:
    """A connection apart, for what would end a transaction."""
    connection = connect(server)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def perhaps_missing() -> Iterator[None]:
    """Where a table of ours is not there, there is nothing to be done."""
    try:
        yield
    except Error as error:
        if number_of(error) != NO_SUCH_TABLE:
            raise


def _short(text: str) -> str:
    return hashlib.blake2s(text.encode(), digest_size=6).hexdigest()
