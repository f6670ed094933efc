"""`Comparison` for PostgreSQL 12 and later, over a session that the source or the target adapter has opened.

Row texts are made in a subquery that is not flattened (`OFFSET 0`), so that each value is made into a text once, although its length
and the text itself are both used. Statements run in autocommit mode, read committed, without parallel workers: the load is one core at
most, and no transaction is older than its statement.

Values go into statements as quoted literals, never as parameters, so that a percent sign in a column's name means nothing.
"""

# ruff: noqa: S608  every name is quoted by `quote`, types are PostgreSQL's own spelling, values are literals

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from headwater.dialects.postgres_text import TEXT_SETTINGS
from headwater.domain.comparing import Form
from headwater.domain.errors import HeadwaterError
from headwater.domain.tables import TableName
from headwater.domain.types import name_of
from headwater.ports.compare import Digest, Hash, Key, Part, Span

Connection = psycopg.Connection[tuple[Any, ...]]

SETTINGS = TEXT_SETTINGS | {
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "enable_seqscan": "on",
    "enable_bitmapscan": "on",
    "enable_hashjoin": "on",
    "enable_mergejoin": "on",
    "default_transaction_read_only": "off",
}
"""The text form of values, the same as when rows are copied (decision 0002), and the planner as the server's makers meant it."""

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, -1), b.typtype = 'e',
       format_type(b.oid, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END),
       n.nspname = 'pg_catalog', c.relkind = 'p'
  FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
  JOIN pg_namespace n ON n.oid = CASE WHEN b.typtype IN ('e', 'r') THEN 'pg_catalog'::regnamespace ELSE b.typnamespace END
 WHERE s.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""
"""Per column: its type for a cast (no length, which would cut values), is it an enum, its base type, are its operators PostgreSQL's own."""

POSITION = "SELECT pg_current_wal_insert_lsn()::text"
FLUSHED = "SELECT txid_current()"
"""Takes a number, so its end is written to the log and flushed, and the log is sent up to there."""


@dataclass(frozen=True)
class _Column:
    cast: str
    type: str
    own: bool


@dataclass(frozen=True)
class _Table:
    name: str
    columns: dict[str, _Column]


class PostgresComparison:
    """See `Comparison` and `SourceComparison`. `fail` makes the adapter's error of a driver's error and what was being done."""

    hashes: tuple[Hash, ...] = ("md5", "sha256")

    def __init__(self, connection: Connection, timeout_s: float, fail: Callable[[psycopg.Error, str], HeadwaterError]) -> None:
        self._connection = connection
        self._fail = fail
        self._timeout_s = timeout_s
        self._known: dict[TableName, _Table] = {}
        try:
            with self._doing("preparing a comparison"):
                if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    connection.rollback()
                connection.autocommit = True
                limit = str(round(timeout_s * 1000))
                for name, value in (SETTINGS | {"statement_timeout": limit, "lock_timeout": limit}).items():
                    connection.execute("SELECT set_config(%s, %s, false)", [name, value])
                encoding = connection.execute("SHOW server_encoding").fetchone()
                self._encoding = str(encoding[0]) if encoding is not None else ""
        except BaseException:
            connection.close()
            raise

    def types(self, table: TableName, columns: Sequence[str]) -> dict[str, str]:
        """See `Comparison.types`."""
        with self._doing(f"describing {table}"):
            found = self._table(table, anew=True).columns
        return {name: found[name].type for name in columns if name in found}

    def chunked(self, part: Part) -> bool:
        """See `Comparison.chunked`."""
        with self._doing(f"describing {part.table}"):
            found = self._table(part.table).columns
        return bool(part.key) and all(name in found and found[name].own for name in part.key)

    def rows_estimate(self, table: TableName) -> int:
        """See `Comparison.rows_estimate`."""
        with self._doing(f"describing {table}"):
            plan = self._connection.execute(f"EXPLAIN (FORMAT JSON) SELECT FROM {self._table(table).name}".encode()).fetchone()
        return int(plan[0][0]["Plan"]["Plan Rows"]) if plan else 0

    def digest(self, part: Part, span: Span) -> Digest:
        """See `Comparison.digest`."""
        with self._doing(f"comparing {part.table}"):
            hashed = self._hashed(part, f"{self._from(part)}{self._where(part, span)}")
            row = self._connection.execute(f"SELECT count(*), coalesce(sum(h), 0)::text FROM ({hashed}) AS rows".encode()).fetchone()
        assert row is not None
        return Digest(row[0], int(row[1]))

    def bound(self, part: Part, span: Span, rows: int) -> Key | None:
        """See `Comparison.bound`."""
        with self._doing(f"reading keys of {part.table}"):
            key = _list(part.key)
            statement = f"SELECT {key} {self._from(part)}{self._where(part, span)} ORDER BY {key} LIMIT 2 OFFSET {int(rows) - 1}"
            found = _texts(self._connection.execute(statement.encode()), len(part.key))
        return found[0] if len(found) > 1 else None

    def rows(self, part: Part, span: Span, limit: int) -> dict[Key, Digest]:
        """See `Comparison.rows`."""
        with self._doing(f"comparing {part.table}"):
            keys = [f"{quote(name)} AS k{i}" for i, name in enumerate(part.key)]
            where = f"{self._from(part)}{self._where(part, span)} ORDER BY {_list(part.key)} LIMIT {int(limit)}"
            hashed = self._hashed(part, where, keys)
            cursor = self._connection.execute(hashed.encode())
            count = len(part.key)
            return _summed((key[:count], 1, int(key[count])) for key in _texts(cursor, count + 1))

    def rows_at(self, part: Part, keys: Sequence[Key]) -> dict[int, Digest]:
        """See `Comparison.rows_at`."""
        if not keys:
            return {}
        with self._doing(f"comparing {part.table}"):
            hashed = self._hashed(part, self._joined(part, keys), ["wanted.at AS at"])
            statement = f"SELECT at::int, count(*), sum(h)::text FROM ({hashed}) AS rows GROUP BY at"
            cursor = self._connection.execute(statement.encode())
            return {at - 1: Digest(rows, int(total)) for at, rows, total in cursor}

    def values(self, part: Part, keys: Sequence[Key]) -> list[tuple[bytes | None, ...]]:
        """See `SourceComparison.values`."""
        if not keys:
            return []
        with self._doing(f"reading rows of {part.table}"):
            columns = ", ".join(f"t.{quote(name)}" for name, _ in part.columns)
            statement = f"SELECT {columns} {self._joined(part, keys)}"
            result = self._connection.execute(statement.encode()).pgresult
            assert result is not None
            return [tuple(result.get_value(row, at) for at in range(len(part.columns))) for row in range(result.ntuples)]

    def position(self) -> str:
        """See `SourceComparison.position`."""
        with self._doing("asking for the end of the log"):
            row = self._connection.execute(POSITION).fetchone()
            self._connection.execute(FLUSHED)
        assert row is not None
        return str(row[0])

    def close(self) -> None:
        """See `Comparison.close`."""
        self._connection.close()

    # -- statements

    def _table(self, table: TableName, *, anew: bool = False) -> _Table:
        if anew or table not in self._known:
            columns: dict[str, _Column] = {}
            partitioned = False
            for column, cast, enum, base, own, divided in self._connection.execute(_COLUMNS, [table.schema, table.name]):
                columns[column] = _Column(cast, "text" if enum else base, own)
                partitioned = divided
            name = quote(table.schema, table.name)
            self._known[table] = _Table(name if partitioned else f"ONLY {name}", columns)
        return self._known[table]

    def _from(self, part: Part) -> str:
        return f"FROM {self._table(part.table).name} AS t"

    def _joined(self, part: Part, keys: Sequence[Key]) -> str:
        """FROM the table, the rows with these keys; `wanted.at` counts the keys from 1."""
        arrays = ", ".join(f"{self._literal([key[i] for key in keys])}::text[]" for i in range(len(part.key)))
        names = ", ".join(f"k{i}" for i in range(len(part.key)))
        matches = " AND ".join(f"t.{quote(name)} = wanted.k{i}::{self._cast(part, name)}" for i, name in enumerate(part.key))
        return f"FROM unnest({arrays}) WITH ORDINALITY AS wanted ({names}, at) JOIN {self._table(part.table).name} AS t ON {matches}"

    def _where(self, part: Part, span: Span) -> str:
        bounds = [(operator, bound) for operator, bound in ((">", span.after), ("<=", span.upto)) if bound is not None]
        key = _list(part.key)
        return "".join(
            f" {'AND' if at else 'WHERE'} ({key}) {operator} ({self._values(part, bound)})" for at, (operator, bound) in enumerate(bounds)
        )

    def _values(self, part: Part, key: Key) -> str:
        """A key as literals of its columns' types, so that their own order decides."""
        pairs = zip(part.key, key, strict=True)
        return ", ".join(f"{self._literal(value)}::{self._cast(part, name)}" for name, value in pairs)

    def _literal(self, value: str | list[str]) -> str:
        return sql.Literal(value).as_string(self._connection)

    def _cast(self, part: Part, name: str) -> str:
        return self._table(part.table).columns[name].cast

    def _hashed(self, part: Part, of: str, more: Sequence[str] = ()) -> str:
        """The columns `more` and the hash `h` of each row of `of` (FROM and what follows)."""
        columns = self._table(part.table).columns
        texts = [f"{_text(f't.{quote(name)}', form, columns[name].type, part.hash)} AS v{i}" for i, (name, form) in enumerate(part.columns)]
        pieces = ", ".join(f"coalesce({self._length(f'v{i}')} || ':' || v{i}, '-')" for i in range(len(texts)))
        text = f"concat_ws(',', {pieces})"
        if part.hash == "sha256" or self._encoding != "UTF8":
            text = f"convert_to({text}, 'UTF8')"
        kept = [one.rpartition(" AS ")[2] for one in more]
        wanted = ", ".join([*kept, f"('x' || left({_hash(text, part.hash)}, 15))::bit(60)::bigint AS h"])
        return f"SELECT {wanted} FROM (SELECT {', '.join([*more, *texts])} {of} OFFSET 0) AS given"

    def _length(self, text: str) -> str:
        """Characters of a text; a database without an encoding would count bytes."""
        return f"length(convert_to({text}, 'UTF8'), 'UTF8')" if self._encoding == "SQL_ASCII" else f"length({text})"

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        try:
            yield
        except psycopg.errors.QueryCanceled as error:
            said = f"A statement took longer than {self._timeout_s:g} s while {what}."
            raise _kind(self._fail(error, what), said, "compare_timeout") from None
        except psycopg.errors.DataError as error:
            said = f"A value has no text that could be compared ({type(error).__name__}) while {what}."
            raise _kind(self._fail(error, what), said, "compare_impossible") from None
        except psycopg.Error as error:
            raise self._fail(error, what) from None


def quote(*names: str) -> str:
    """An identifier, qualified where there are several names."""
    return sql.Identifier(*names).as_string(None)


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"t.{quote(name)}" for name in names)


def _text(column: str, form: Form, type_: str, hash_: Hash) -> str:
    """The text of a value in a form; NULL stays NULL."""
    if form.kind == "plain":
        return f"{column}::text"
    if form.kind == "digest":
        return _hash(column if type_ == "bytea" else f"convert_to({_output(column, type_)}, 'UTF8')", hash_)
    if form.kind == "output":
        return _output(column, type_)
    if form.kind == "cast":
        return f"({_output(column, type_)})::{form.type}::text"
    return _common(column, form, name_of(type_))


def _output(column: str, type_: str) -> str:
    return f"{column}::text" if type_ in ("text", "character varying") else f"CASE WHEN {column} IS NOT NULL THEN concat({column}) END"


def _common(column: str, form: Form, type_: str) -> str:
    """The forms that are the same on all kinds of databases."""
    if form.kind == "number":
        if type_ == "boolean":
            return f"{column}::int::text"
        plain = f"{column}::text"
        return f"CASE WHEN scale({column}) > 0 THEN rtrim(rtrim({plain}, '0'), '.') ELSE {plain} END" if type_ == "numeric" else plain
    if form.kind == "double":
        double = f"encode(float8send({column}::float8 + 0), 'hex')"
        exact = f"CASE WHEN {column}::float8::text::numeric = {column} THEN '' ELSE '!' || {column} END"
        return f"{double} || {exact}" if type_ == "numeric" else double
    if form.kind == "bits":
        return f"coalesce(nullif(ltrim({column}::text, '0'), ''), CASE WHEN {column} IS NOT NULL THEN '0' END)"
    if form.kind == "moment":
        return f"({column} AT TIME ZONE 'UTC')::text" if type_ == "timestamp with time zone" else f"{column}::timestamp::text"
    if form.kind == "time":
        return _time(column) if type_ == "interval" else f"{column}::text"
    if form.kind == "uuid":
        return f"lower(translate({column}::text, '{{}}-', ''))"
    if form.kind == "address":
        mask = f"CASE WHEN masklen({column}) < CASE family({column}) WHEN 4 THEN 32 ELSE 128 END THEN '/' || masklen({column}) ELSE '' END"
        return f"encode(substr(inet_send({column}), 5), 'hex') || {mask}"
    raise ValueError(f"no text of the form {form.kind}")


def _time(column: str) -> str:
    """An interval of days as hours; one of months, which have no length, as itself."""
    days = f"make_interval(hours => 24 * extract(day FROM {column})::int)"
    return f"CASE WHEN date_trunc('month', {column}) = '0' THEN ({column} - date_trunc('day', {column}) + {days}) ELSE {column} END::text"


def _hash(bytes_: str, hash_: Hash) -> str:
    """The hash in hexadecimal digits; MD5 takes text as well."""
    return f"encode(sha256({bytes_}), 'hex')" if hash_ == "sha256" else f"md5({bytes_})"


def _texts(cursor: psycopg.Cursor[tuple[Any, ...]], columns: int) -> list[Key]:
    """Rows as the server wrote them."""
    result = cursor.pgresult
    assert result is not None
    return [tuple((result.get_value(row, at) or b"").decode() for at in range(columns)) for row in range(result.ntuples)]


def _summed(rows: Iterator[tuple[Key, int, int]]) -> dict[Key, Digest]:
    found: dict[Key, Digest] = {}
    for key, count, total in rows:
        before = found.get(key, Digest())
        found[key] = Digest(before.rows + count, before.total + total)
    return found


def _kind(error: HeadwaterError, message: str, kind: str) -> HeadwaterError:
    return type(error)(message, kind=kind)
