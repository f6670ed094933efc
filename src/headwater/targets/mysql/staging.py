"""Rows on their way into tables: staging tables of a connection, and filling a table with rows, of which none may be bent or left out.

`LOAD DATA LOCAL` never fails for what a row holds: it bends the value, or leaves the row out, and counts a warning. So a load that warns
of anything is refused as a whole. That is stricter than strict `sql_mode`, which lets decimals be rounded with a note.
"""

# ruff: noqa: S608  names of staging tables are ours

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from headwater.domain.errors import HeadwaterError, RowRefused
from headwater.targets.mysql.errors import refused
from headwater.targets.mysql.literals import value_rows
from headwater.targets.mysql.session import Connection
from headwater.targets.mysql.statements import Statements
from headwater.targets.text_rows import copy_rows

SMALL_ROWS = 200
SMALL_BYTES = 64 << 10
"""Up to so many rows of so many bytes go as one statement, which needs one round trip and no file."""

DELETED_ROWS = 2_000
"""A staging table with more rows than these is made anew rather than emptied."""

INDEXED = frozenset({"out", "copied", "copied_keys"})
"""Rows that were taken out, the rows of a chunk, the keys of a chunk."""


class Stages:
    """The staging tables of one connection: which are there, and about how many rows of this transaction they hold.

    Making or dropping a temporary table does not end a transaction, and is not undone with it; its rows may be or not. MariaDB's are
    MyISAM tables where nothing needs an index: that halves the server's work (docs/decisions/0025)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: dict[str, int] = {}

    def open(self, statements: Statements, what: str, columns: Sequence[str]) -> str:
        """Have the staging table there, and empty; its name. `what` stands for the same columns each time.

        What other tables look into row by row has an index by key: `INDEXED`."""
        name = statements.staging(what)
        rows = self._rows.get(name)
        if rows is not None and 0 < rows <= DELETED_ROWS:
            self._connection.run(f"DELETE FROM {name}")
        elif rows:
            self._connection.run(f"DROP TEMPORARY TABLE {name}")
            rows = None
        if rows is None:
            indexed = what in INDEXED and bool(statements.key_names)
            engine = "MyISAM" if self._connection.mariadb and not indexed else "InnoDB"
            self._connection.run(statements.stage(name, columns, indexed=indexed, engine=engine))
        self._rows[name] = 0
        return name

    def put(self, statements: Statements, what: str, batch: pa.RecordBatch) -> str:
        """Stage rows; the table's name."""
        name = self.open(statements, what, batch.schema.names)
        self._rows[name] = batch.num_rows
        fill(self._connection, statements, name, batch)
        return name

    def holds(self, name: str, rows: int) -> None:
        """Note that a staging table was filled by other means."""
        self._rows[name] = rows

    def forget(self) -> None:
        """After a rollback: the tables are there, with whatever they held."""
        self._rows = dict.fromkeys(self._rows, 1)


def fill(connection: Connection, statements: Statements, into: str, batch: pa.RecordBatch) -> None:
    """Put rows into a table, which must not bend one of them.

    Raises RowRefused; what was put in by then stays until the transaction is rolled back."""
    columns = list(batch.schema.names)
    small = batch.num_rows <= SMALL_ROWS and batch.nbytes <= SMALL_BYTES
    if connection.loads and not small:
        load(connection, statements, into, columns, copy_rows(batch), batch.num_rows)
        return
    head = statements.insert(into, columns)
    kinds = [statements.info.by_name[name] for name in columns]
    for rows in value_rows(batch, kinds, connection.packet_bytes - len(head)):
        did = connection.run(head + rows)
        _check(connection, statements, did.warnings)


def load(
    connection: Connection, statements: Statements, into: str, columns: Sequence[str], blocks: Iterable[bytes | memoryview], rows: int = -1
) -> int:
    """Put text rows into a table; how many there were. `rows`: how many there must be, where that is known."""
    count = _Count(blocks)
    did = connection.load(statements.load(into, columns), count)
    _check(connection, statements, did.warnings)
    wanted = rows if rows >= 0 else count.rows
    if did.rows != wanted:
        raise RowRefused(f"Of {wanted} rows for {statements.name} the target took {did.rows}. Look for triggers that keep rows out.")
    return wanted


def _check(connection: Connection, statements: Statements, warnings: int) -> None:
    found = connection.warned() if warnings else []
    if found:
        raise explained(statements, found[0].number, found[0].text)


def explained(statements: Statements, number: int, text: str) -> HeadwaterError:
    """The refusal that a warning about rows of this table stands for."""
    return refused(f"writing to {statements.name}", number, text, statements.info.names)


class _Count:
    """Counts text rows as they pass."""

    def __init__(self, blocks: Iterable[bytes | memoryview]) -> None:
        self._blocks, self.rows = blocks, 0

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for block in self._blocks:
            self.rows += bytes(block).count(b"\n")
            yield block
