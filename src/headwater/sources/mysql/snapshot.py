"""The first copy: one moment of the source (`moment.py`), held by a few sessions that each see it, and read in keyed chunks.

A session can't be given the moment later, so it is opened with the moment and lent to whoever reads. A reading that is broken off has
its statement ended at the server (`KILL QUERY`), so that the session can be lent again.

**Chunks.** Where the key begins with a whole number, its range is halved until the server's estimate of each half is small enough: a
few looks into the index, whatever the size. Otherwise the index is walked. Bounds need not be exact, only disjoint and without a gap.

**DDL.** A session keeps each table that it has read from being changed until the moment is let go; one that was changed before can't be
read (error 1412), and the copy takes a new moment.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from pymysql.err import Error

from headwater.dialects.mysql_session import Session, quote
from headwater.domain.errors import SourceError
from headwater.domain.tables import TableName
from headwater.ports.source import Chunk
from headwater.sources.mysql import catalogue, reading, selecting, types
from headwater.sources.mysql.catalogue import Field, Table
from headwater.sources.mysql.config import MysqlConfig
from headwater.sources.mysql.connect import connect, row, translated
from headwater.sources.mysql.moment import Moment, let_go

COUNT_BYTES_MAX = 1024 * 1024
"""Tables up to this size are counted; the number of larger ones is estimated."""

HALVINGS_MAX = 40
LEND_POLL_S = 0.5

Bound = tuple[str, ...]


class MysqlSnapshot:
    """See `Snapshot`. `inexact`: its place does not divide the log, although the moment's does, where a table has no transactions."""

    def __init__(self, config: MysqlConfig, moment: Moment, inexact: bool = False) -> None:
        self._config = config
        self.position = str(moment.position)
        self.exact = moment.exact and not inexact
        self._idle = list(moment.sessions)
        self._left = len(self._idle)
        self._free = threading.Condition()
        self._closed = False
        self._tables: dict[TableName, Table] = {}

    def rows_estimate(self, table: TableName) -> int:
        """See `Snapshot.rows_estimate`. Small tables are counted."""
        with self._lent(f"Estimating {table}") as session:
            return self._rows(session, table)

    def chunks(self, table: TableName, key: Sequence[str], chunk_rows: int) -> list[Chunk]:
        """See `Snapshot.chunks`. A key that is ordered otherwise than compared (ENUM, SET) is not cut."""
        with self._lent(f"Planning the copy of {table}") as session:
            session.query(f"SELECT 1 FROM {quote(table.schema, table.name)} LIMIT 0")  # noqa: S608  keeps the table as it is from here on
            fields = self._fields(session, table, key)
            count = round(self._rows(session, table) / chunk_rows)
            if count < 2 or not selecting.cut_by(fields):
                return [Chunk(0, None, None)]
            bounds = _bounds(session, table, fields, chunk_rows)
        edges = [None, *bounds, None]
        return [Chunk(i, after, upto) for i, (after, upto) in enumerate(pairwise(edges))]

    def read(self, table: TableName, columns: Sequence[str], key: Sequence[str], chunk: Chunk) -> Iterator[bytes]:
        """See `Snapshot.read`. The session is taken at the first block and given back after the last."""
        with self._lent(f"Reading {table}") as session:
            fields, keys = self._fields(session, table, columns), self._fields(session, table, key)
            statement = selecting.select(table, fields, keys, chunk)
            yield from reading.text_rows(session, statement, selecting.row_kinds(fields), self._end_statement)

    def close(self) -> None:
        """See `Snapshot.close`."""
        with self._free:
            self._closed = True
            idle, self._idle = self._idle, []
            self._free.notify_all()
        let_go(tuple(idle))

    def _rows(self, session: Session, table: TableName) -> int:
        known = self._table(session, table)
        if known is None:
            selecting.fields_of(None, table, ())
        assert known is not None
        if known.bytes > COUNT_BYTES_MAX:
            return known.estimate
        counted = row(session, f"SELECT COUNT(*) AS n FROM {quote(table.schema, table.name)}")  # noqa: S608  a quoted name
        return int(counted["n"])

    def _fields(self, session: Session, table: TableName, columns: Sequence[str]) -> list[Field]:
        return selecting.fields_of(self._table(session, table), table, columns)

    def _table(self, session: Session, table: TableName) -> Table | None:
        """As the catalogue has it. What was changed since the moment can't be read at all, so this is how it was then."""
        if table not in self._tables:
            self._tables.update(catalogue.look(session, [table]))
        return self._tables.get(table)

    @contextmanager
    def _lent(self, doing: str) -> Iterator[Session]:
        """A session that sees the moment, for the body of the `with`; one that was lost is not given back."""
        with translated(f"{doing} in {self._config.place}"):
            session = self._borrow()
            try:
                yield session
            finally:
                self._give_back(session)

    def _borrow(self) -> Session:
        with self._free:
            while not self._idle:
                if self._closed:
                    raise SourceError(f"The snapshot of {self._config.place} was closed.")
                if not self._left:
                    raise SourceError(f"The snapshot of {self._config.place} is lost with its sessions.")
                self._free.wait(LEND_POLL_S)
            return self._idle.pop()

    def _give_back(self, session: Session) -> None:
        with self._free:
            if session.open and not self._closed:
                self._idle.append(session)
            else:
                self._left -= 1
                let_go((session,))
            self._free.notify()

    def _end_statement(self, session: Session) -> None:
        """Have the server end what the session reads. Errors don't matter: the session is given up then."""
        try:
            with connect(self._config) as other:
                other.query(f"KILL QUERY {session.server_thread_id[0]}")
        except (Error, SourceError):
            let_go((session,))


def _bounds(session: Session, table: TableName, key: Sequence[Field], chunk_rows: int) -> list[Bound]:
    """Keys that divide the table into pieces of about `chunk_rows`, in rising order."""
    if key[0].kind in types.INTEGERS and len(key) == 1:
        return _halved(session, table, key, chunk_rows)
    return _walked(session, table, key, chunk_rows)


def _halved(session: Session, table: TableName, key: Sequence[Field], chunk_rows: int) -> list[Bound]:
    """Bounds of a whole number's range, from the server's estimates of how many rows lie in a part of it."""
    name = quote(key[0].column.name)
    ends = row(session, f"SELECT MIN({name}) AS low, MAX({name}) AS high FROM {quote(table.schema, table.name)}")  # noqa: S608  quoted
    if ends["low"] is None:
        return []
    parts, done = [(int(ends["low"]) - 1, int(ends["high"]), 0)], []
    while parts:
        low, high, depth = parts.pop()
        if high - low < 2 or depth >= HALVINGS_MAX or _estimated(session, table, key, low, high) <= chunk_rows:
            done.append(high)
            continue
        middle = (low + high) // 2
        parts += [(middle, high, depth + 1), (low, middle, depth + 1)]
    return [(str(high),) for high in done[:-1]]


def _estimated(session: Session, table: TableName, key: Sequence[Field], low: int, high: int) -> int:
    name = quote(key[0].column.name)
    explain = "EXPLAIN" if session.mariadb else "EXPLAIN FORMAT = TRADITIONAL"
    plan = row(
        session,
        f"{explain} SELECT {name} FROM {quote(table.schema, table.name)} WHERE {name} > {low} AND {name} <= {high}",  # noqa: S608  quoted
    )
    return int(plan["rows"] or 0)


def _walked(session: Session, table: TableName, key: Sequence[Field], chunk_rows: int) -> list[Bound]:
    """Every so manieth key, by the key's own order."""
    found: list[Bound] = []
    listed = ", ".join(quote(field.column.name) for field in key)
    while True:
        where = f" WHERE {selecting.compared(key, '>', found[-1])}" if found else ""
        step = f"SELECT {listed} FROM {quote(table.schema, table.name)}{where} ORDER BY {listed} LIMIT 1 OFFSET {chunk_rows - 1}"  # noqa: S608
        blocks = b"".join(reading.text_rows(session, step, selecting.row_kinds(key), let_go_one))
        if not blocks:
            return found
        found.append(tuple(reading.fields(blocks)))


def let_go_one(session: Session) -> None:
    """End a session."""
    let_go((session,))
