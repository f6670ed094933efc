"""The first copy: one moment of the source, held by a keeper session and read by several others, in keyed chunks.

**Exact position.** The moment is that of a temporary replication slot (see `moment.py`), so the slot's consistent point divides the log:
what was committed before it is visible, what was committed after it is not. That holds for rows, not for TRUNCATE and rewrites of
a table, which show in every older snapshot. So before the first read of a table its files are compared with those before the moment; once
it is read, the reader's lock keeps it from being emptied.

**Other position.** It is `pg_current_wal_insert_lsn()`, taken *after* the snapshot. A transaction that the snapshot sees has inserted
its commit record before it became visible, so the record ends at or before the insert position. (The write or flush position could lie
before it: with `synchronous_commit = off` a transaction is visible before its commit is written.) Because the log is only sent up
to what is flushed, and nobody else may commit for a while, a small transaction of ours then makes the server flush beyond it.

**Chunks.** Bounds come from a sample of the table's pages, sorted by the server: cheap for any size and right for any type, skew and
collation, because the comparison is always the database's own. They need not be exact, only disjoint and without a gap.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from typing import Any

import psycopg
from psycopg import pq, sql

from headwater.domain.errors import SourceError
from headwater.domain.tables import TableName
from headwater.ports.source import Chunk
from headwater.sources.postgres.channel import Channel, readable
from headwater.sources.postgres.config import PostgresConfig
from headwater.sources.postgres.connect import connect, translated, unconverted
from headwater.sources.postgres.moment import Moment
from headwater.wire import copydata

BLOCK_BYTES = 256 * 1024
COUNT_BYTES_MAX = 1024 * 1024
"""Tables up to this size are counted; the number of larger ones is estimated."""
SAMPLE_PAGES_PER_CHUNK = 40
PAGE_BYTES = 8192
INPUT_POLL_S = 0.5

Connection = psycopg.Connection[tuple[Any, ...]]

KIND_AND_SIZE = """
SELECT c.relkind = 'p',
       CASE WHEN c.relkind = 'p' THEN (SELECT coalesce(sum(pg_relation_size(t.relid)), 0) FROM pg_partition_tree(c.oid) t)
            ELSE pg_relation_size(c.oid) END::bigint
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s
"""
FILES = """
SELECT coalesce((SELECT string_agg(pg_relation_filenode(t.relid)::text, ',' ORDER BY t.relid) FROM pg_partition_tree(c.oid) t),
                pg_relation_filenode(c.oid)::text)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s
"""
"""The files that hold a table and its partitions, as they are now, whatever the snapshot: TRUNCATE and rewrites make new ones."""

KEY_TYPES = """
SELECT a.attname, format_type(a.atttypid, -1), n.nspname = 'pg_catalog'
  FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  JOIN pg_type b ON b.oid = CASE WHEN t.typbasetype <> 0 THEN t.typbasetype ELSE t.oid END
  JOIN pg_namespace n ON n.oid = CASE WHEN b.typtype IN ('e', 'r') THEN 'pg_catalog'::regnamespace ELSE b.typnamespace END
 WHERE s.nspname = %s AND c.relname = %s
"""
"""Per column: its type for a cast (no length, which would cut values), and whether the operators that compare it are PostgreSQL's own."""


class PostgresSnapshot:
    """See `Snapshot`."""

    def __init__(self, config: PostgresConfig, moment: Moment | None = None) -> None:
        """A snapshot of now, or of an exact moment that its maker still holds; it may be let go as soon as this returns."""
        self._config = config
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False
        self._files = moment.files if moment else {}
        self.exact = moment is not None
        self._keeper = connect(config)
        try:
            with translated(f"Taking a snapshot of {config.place}"):
                self.position, self._id = self._hold(moment)
        except BaseException:
            self._keeper.close()
            raise

    def _hold(self, moment: Moment | None) -> tuple[str, str]:
        """Begin the keeper's transaction and export its moment; see to it that the log will be sent up to the position."""
        self._keeper.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if moment is not None:
            self._keeper.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(moment.snapshot)))
        exported = self._keeper.execute("SELECT pg_export_snapshot()").fetchone()
        assert exported is not None
        if moment is not None:
            return moment.position, exported[0]
        position = self._keeper.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        with connect(self._config) as other:
            other.execute("SELECT txid_current()")  # takes a number, so its end is written to the log and flushed
        assert position is not None
        return position[0], exported[0]

    def rows_estimate(self, table: TableName) -> int:
        """See `Snapshot.rows_estimate`. Small tables are counted."""
        with self._session() as session, translated(f"Estimating {table} in {self._config.place}"):
            return _rows(session, table)[0]

    def chunks(self, table: TableName, key: Sequence[str], chunk_rows: int) -> list[Chunk]:
        """See `Snapshot.chunks`. A key whose type brings its own operators, or whose texts are not UTF-8, is not cut."""
        whole = [Chunk(0, None, None)]
        with self._session() as session, translated(f"Planning the copy of {table} in {self._config.place}"):
            rows, pages = _rows(session, table)
            count = round(rows / chunk_rows)
            if count < 2 or not key or _key_types(session, table, key) is None:
                return whole
            try:
                with session.transaction():
                    bounds = _bounds(session, table, key, count, pages)
            except psycopg.errors.CharacterNotInRepertoire:
                return whole
        edges = [None, *bounds, None]
        return [Chunk(i, after, upto) for i, (after, upto) in enumerate(pairwise(edges))]

    def read(self, table: TableName, columns: Sequence[str], key: Sequence[str], chunk: Chunk) -> Iterator[bytes]:
        """See `Snapshot.read`. The session is taken at the first block and given back after the last."""
        with self._session() as session, translated(f"Reading {table} in {self._config.place}"):
            self._check_files(session, table)
            statement = _copy_statement(session, table, columns, key, chunk).as_string(session)
            with unconverted(session):
                yield from _copy_out(session, statement.encode())

    def _check_files(self, session: Connection, table: TableName) -> None:
        """Lock the table against TRUNCATE and rewrites, and make sure that none has come between the moment and now."""
        if not self.exact:
            return
        session.execute(sql.SQL("SELECT FROM {} LIMIT 0").format(sql.Identifier(table.schema, table.name)))
        if files_of(session, table) != self._files.get(table):
            raise SourceError(f"The table {table} was emptied or rewritten while its copy began; the copy takes a new snapshot.")

    def close(self) -> None:
        """See `Snapshot.close`."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in [*idle, self._keeper]:
            session.close()

    def _session(self) -> _Borrowed:
        return _Borrowed(self)

    def borrow(self) -> Connection:
        """A session that sees the moment: an idle one, or a new one."""
        with self._lock:
            if self._closed:
                raise SourceError(f"The snapshot of {self._config.place} was closed.")
            if self._idle:
                return self._idle.pop()
        session = connect(self._config)
        try:
            with translated(f"Joining the snapshot of {self._config.place}"):
                session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                session.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self._id)))
        except SourceError as error:
            session.close()
            raise SourceError(f"The snapshot of {self._config.place} is lost with its session: {error}") from error
        except BaseException:
            session.close()
            raise
        return session

    def give_back(self, session: Connection, clean: bool) -> None:
        """Keep a session for the next reader; one that failed or was left in the middle of a copy is closed."""
        with self._lock:
            if clean and not self._closed and session.info.transaction_status == pq.TransactionStatus.INTRANS:
                self._idle.append(session)
                return
        session.close()


class _Borrowed:
    """A session of the snapshot for the length of a `with`."""

    def __init__(self, snapshot: PostgresSnapshot) -> None:
        self._snapshot = snapshot
        self._session: Connection | None = None

    def __enter__(self) -> Connection:
        self._session = self._snapshot.borrow()
        return self._session

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        assert self._session is not None
        self._snapshot.give_back(self._session, error is None)


def files_of(session: Connection, table: TableName) -> str:
    """The files that hold a table now; empty where there is no such table."""
    row = session.execute(FILES, (table.schema, table.name)).fetchone()
    return "" if row is None else str(row[0])


def _name(table: TableName, partitioned: bool) -> sql.Composable:
    """The table for FROM: alone, without what inherits from it; a partitioned one with its partitions."""
    return (sql.SQL("{}") if partitioned else sql.SQL("ONLY {}")).format(sql.Identifier(table.schema, table.name))


def _kind_and_size(session: Connection, table: TableName) -> tuple[bool, int]:
    row = session.execute(KIND_AND_SIZE, (table.schema, table.name)).fetchone()
    if row is None:
        raise SourceError(f"The table {table} does not exist at the source. Correct the mapping, then start again.", kind="source_refused")
    return row[0], row[1]


def _rows(session: Connection, table: TableName) -> tuple[int, int]:
    """About how many rows, and how many pages. The planner's estimate knows today's size, whenever statistics were last taken."""
    partitioned, size = _kind_and_size(session, table)
    name = _name(table, partitioned)
    if size <= COUNT_BYTES_MAX:
        counted = session.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone()
        return (counted[0] if counted else 0), size // PAGE_BYTES
    plan = session.execute(sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM {}").format(name)).fetchone()
    return (int(plan[0][0]["Plan"]["Plan Rows"]) if plan else 0), size // PAGE_BYTES


def _key_types(session: Connection, table: TableName, key: Sequence[str]) -> list[str] | None:
    """The types of the key's columns as casts; None where one of them compares by operators that an extension brings."""
    found = {name: (type_, own) for name, type_, own in session.execute(KEY_TYPES, (table.schema, table.name))}
    if not all(name in found and found[name][1] for name in key):
        return None
    return [found[name][0] for name in key]


def _bounds(session: Connection, table: TableName, key: Sequence[str], count: int, pages: int) -> list[tuple[str, ...]]:
    """About `count - 1` keys that divide the table evenly, in rising order, from a sample of its pages."""
    partitioned, _ = _kind_and_size(session, table)
    percent = min(100.0, max(0.001, 100.0 * SAMPLE_PAGES_PER_CHUNK * count / max(1, pages)))
    columns = sql.SQL(", ").join(map(sql.Identifier, key))
    query = sql.SQL(
        'WITH sampled AS (SELECT {columns}, ntile({count}) OVER (ORDER BY {columns}) AS "~tile"'
        " FROM {table} TABLESAMPLE SYSTEM ({percent}) REPEATABLE (0))"
        ' SELECT DISTINCT ON ("~tile") {columns} FROM sampled WHERE "~tile" > 1 ORDER BY "~tile", {columns}'
    ).format(columns=columns, count=sql.Literal(count), table=_name(table, partitioned), percent=sql.Literal(percent))
    result = session.execute(query).pgresult
    assert result is not None
    texts = [tuple((result.get_value(row, at) or b"").decode() for at in range(len(key))) for row in range(result.ntuples)]
    return list(dict.fromkeys(texts))


def _copy_statement(session: Connection, table: TableName, columns: Sequence[str], key: Sequence[str], chunk: Chunk) -> sql.Composable:
    partitioned, _ = _kind_and_size(session, table)
    wanted = sql.SQL(", ").join(map(sql.Identifier, columns))
    conditions = []
    if chunk.after is not None or chunk.upto is not None:
        types = _key_types(session, table, key)
        if types is None:
            what = f"The key of {table} has changed since its copy was planned. Reset the task to copy again."
            raise SourceError(what, kind="schema_mismatch")
        for bound, operator in ((chunk.after, ">"), (chunk.upto, "<=")):
            if bound is not None:
                conditions.append(_comparison(key, types, operator, bound))
    where = sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(conditions)) if conditions else sql.SQL("")
    return sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT").format(wanted, _name(table, partitioned), where)


def _comparison(key: Sequence[str], types: Sequence[str], operator: str, bound: Sequence[str]) -> sql.Composable:
    """A comparison of the key with a bound. Values are quoted literals, cast to the column's type, so that its own order decides."""
    values = [sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(type_)) for value, type_ in zip(bound, types, strict=True)]
    return sql.SQL("({}) {} ({})").format(sql.SQL(", ").join(map(sql.Identifier, key)), sql.SQL(operator), sql.SQL(", ").join(values))


def _copy_out(session: Connection, statement: bytes) -> Iterator[bytes]:
    """Run a COPY TO STDOUT and give its rows in blocks."""
    return _copy_out_of_socket(session, statement) if readable(session) else _copy_out_of_libpq(session.pgconn, statement)


def _copy_out_of_socket(session: Connection, statement: bytes) -> Iterator[bytes]:
    """Read the socket ourselves: a stretch of rows at a time."""
    with closing(Channel(session, BLOCK_BYTES // 2)) as channel:
        channel.send(copydata.query(statement))
        blocks: list[bytes] = []
        gathered = 0
        while True:
            block, channel.start = copydata.rows(channel.buffer, channel.start, channel.end)
            if block:
                blocks.append(block)
                gathered += len(block)
                if gathered >= BLOCK_BYTES:
                    yield blocks[0] if len(blocks) == 1 else b"".join(blocks)
                    blocks, gathered = [], 0
            found = channel.other()
            if found is not None and found[0] == "Z":
                break
            if found is None and not channel.fill():
                channel.wait()
        if blocks:
            yield b"".join(blocks)


def _copy_out_of_libpq(pgconn: pq.abc.PGconn, statement: bytes) -> Iterator[bytes]:
    """Let libpq read, one row at a time."""
    pgconn.send_query(statement)
    pgconn.flush()
    _await_result(pgconn)
    result = pgconn.get_result()
    if result is None or result.status != pq.ExecStatus.COPY_OUT:
        _finish(pgconn, result)
        return
    rows: list[memoryview] = []
    gathered = 0
    get = pgconn.get_copy_data
    while True:
        size, row = get(1)
        if size > 0:
            rows.append(row)
            gathered += size
            if gathered >= BLOCK_BYTES:
                yield b"".join(rows)
                rows, gathered = [], 0
        elif size == 0:
            _await_input(pgconn)
        else:
            break
    if rows:
        yield b"".join(rows)
    _finish(pgconn, pgconn.get_result())


def _await_result(pgconn: pq.abc.PGconn) -> None:
    while pgconn.is_busy():
        _await_input(pgconn)


def _await_input(pgconn: pq.abc.PGconn) -> None:
    """Sleep until more has come; with TLS some may have come already that the socket does not show, so never for long."""
    select.select([pgconn.socket], [], [], INPUT_POLL_S)
    pgconn.consume_input()


def _finish(pgconn: pq.abc.PGconn, result: pq.abc.PGresult | None) -> None:
    """Take the command's end; an error of the server is raised."""
    failed = None
    while result is not None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            failed = psycopg.errors.error_from_result(result)
        result = pgconn.get_result()
    if failed is not None:
        raise failed
