"""`Comparison` for MariaDB 10.5 and later and MySQL 5.7 and later, over a session that the source or the target adapter has opened.

Statements run in autocommit mode, read committed: no lock on rows, and no view is held longer than a statement. Keys are
compared column by column in the columns' own types and collations, so that the key's index serves; the servers find no range in a
comparison of rows.

MySQL has no MD5 any more (9.6 moved it to a component), so rows are hashed by SHA-256.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pymysql.err import Error

from headwater.dialects.mysql_errors import number_of
from headwater.dialects.mysql_forms import KEYS, Field, NoSuchKey, asked, comparable, exact, given, literal, named, text
from headwater.dialects.mysql_session import READING_MODE, Session, quote
from headwater.dialects.mysql_types import base
from headwater.domain.errors import HeadwaterError
from headwater.domain.tables import TableName
from headwater.ports.compare import Digest, Hash, Key, Part, Span

TOOK_TOO_LONG = frozenset({1969, 3024})
"""ER_STATEMENT_TIMEOUT of MariaDB, ER_QUERY_TIMEOUT of MySQL."""

UNMADE = 1 << 100
"""In place of a hash that the server could not make. No sum of hashes reaches it."""

_COLUMNS = """
SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, LOWER(DATA_TYPE), COALESCE(CHARACTER_SET_NAME, ''), COALESCE(COLLATION_NAME, '')
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}
"""
_ESTIMATE = "SELECT COALESCE(MAX(TABLE_ROWS), 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}"

Row = tuple[Any, ...]


class MysqlComparison:
    """See `Comparison` and `SourceComparison`. `fail` makes the adapter's error of a driver's error and what was being done; `position`,
    which only a source has, tells the end of the log."""

    hashes: tuple[Hash, ...] = ("sha256",)

    def __init__(
        self,
        connection: Session,
        timeout_s: float,
        fail: Callable[[Error, str], HeadwaterError],
        position: Callable[[Session], str] | None = None,
    ) -> None:
        self._connection, self._timeout_s, self._fail, self._position = connection, timeout_s, fail, position
        self._known: dict[TableName, dict[str, Field]] = {}
        try:
            with self._doing("preparing a comparison"):
                self._prepare()
        except BaseException:
            connection.close()
            raise

    def types(self, table: TableName, columns: Sequence[str]) -> dict[str, str]:
        """See `Comparison.types`. MariaDB's JSON is the text that it is there."""
        with self._doing(f"describing {table}"):
            found = self._fields(table, anew=True)
        return {name: base(found[name].type, found[name].charset) for name in columns if name in found}

    def chunked(self, part: Part) -> bool:
        """See `Comparison.chunked`."""
        with self._doing(f"describing {part.table}"):
            found = self._fields(part.table)
        return bool(part.key) and all(name in found and found[name].kind in KEYS for name in part.key)

    def rows_estimate(self, table: TableName) -> int:
        """See `Comparison.rows_estimate`."""
        with self._doing(f"describing {table}"):
            return int(self._ask(_ESTIMATE.format(literal(table.schema), literal(table.name)))[0][0])

    def digest(self, part: Part, span: Span) -> Digest:
        """See `Comparison.digest`."""
        with self._doing(f"comparing {part.table}"):
            total = f"COALESCE(SUM({self._hash(part)}), 0)"
            ((rows, summed),) = self._ask(f"SELECT COUNT(*), {total} {self._from(part)}{self._where(part, span)}")
        return self._made(part, int(rows), int(summed))

    def bound(self, part: Part, span: Span, rows: int) -> Key | None:
        """See `Comparison.bound`."""
        with self._doing(f"reading keys of {part.table}"):
            where = f"{self._from(part)}{self._where(part, span)} ORDER BY {self._order(part)} LIMIT 2 OFFSET {int(rows) - 1}"
            found = self._ask(f"SELECT {self._values(part, part.key)} {where}")
        return self._key(part, found[0]) if len(found) > 1 else None

    def rows(self, part: Part, span: Span, limit: int) -> dict[Key, Digest]:
        """See `Comparison.rows`."""
        with self._doing(f"comparing {part.table}"):
            where = f"{self._from(part)}{self._where(part, span)} ORDER BY {self._order(part)} LIMIT {int(limit)}"
            found = self._ask(f"SELECT {self._values(part, part.key)}, {self._hash(part)} {where}")
        made: dict[Key, Digest] = {}
        for row in found:
            key, before = self._key(part, row), made.get(self._key(part, row), Digest())
            made[key] = self._made(part, before.rows + 1, before.total + int(row[-1]))
        return made

    def rows_at(self, part: Part, keys: Sequence[Key]) -> dict[int, Digest]:
        """See `Comparison.rows_at`."""
        if not keys:
            return {}
        with self._doing(f"comparing {part.table}"):
            statement = f"SELECT wanted.place, COUNT(*), SUM({self._hash(part)}) {self._joined(part, keys)} GROUP BY wanted.place"
            found = self._ask(statement)
        return {int(place): self._made(part, int(rows), int(total)) for place, rows, total in found}

    def values(self, part: Part, keys: Sequence[Key]) -> list[tuple[bytes | None, ...]]:
        """See `SourceComparison.values`."""
        if not keys:
            return []
        names = [name for name, _ in part.columns]
        with self._doing(f"reading rows of {part.table}"):
            found = self._ask(f"SELECT {self._values(part, names)} {self._joined(part, keys)}")
            fields = [self._fields(part.table)[name] for name in names]
        return [tuple(_given(field, value) for field, value in zip(fields, row, strict=True)) for row in found]

    def position(self) -> str:
        """See `SourceComparison.position`."""
        assert self._position is not None, "a target has no log"
        with self._doing("asking for the end of the log"):
            return self._position(self._connection)

    def close(self) -> None:
        """See `Comparison.close`."""
        if self._connection.open:
            self._connection.close()

    # -- the session

    def _prepare(self) -> None:
        connection: Any = self._connection
        connection.rollback()
        connection.autocommit(True)
        limit = f"max_statement_time = {self._timeout_s}" if connection.mariadb else f"max_execution_time = {round(self._timeout_s * 1000)}"
        wait = f"lock_wait_timeout = {max(1, math.ceil(self._timeout_s))}"
        connection.query(f"SET SESSION {limit}, SESSION {wait}, SESSION sql_mode = '{READING_MODE}'")
        connection.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def _ask(self, statement: str) -> list[Row]:
        """The rows, each value as the server writes it."""
        connection: Any = self._connection
        decoders, connection.decoders = connection.decoders, {}
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.decoders = decoders

    def _fields(self, table: TableName, *, anew: bool = False) -> dict[str, Field]:
        if anew or table not in self._known:
            found = self._ask(_COLUMNS.format(literal(table.schema), literal(table.name)))
            # the catalogue compares names without regard to case
            self._known[table] = {row[1]: Field(*row[1:]) for row in found if row[0] == table.name}
        return self._known[table]

    # -- statements

    def _from(self, part: Part) -> str:
        return f"FROM {quote(part.table.schema, part.table.name)} AS t"

    def _key_fields(self, part: Part) -> list[Field]:
        fields = self._fields(part.table)
        return [fields[name] for name in part.key]

    def _order(self, part: Part) -> str:
        return ", ".join(map(named, self._key_fields(part)))

    def _values(self, part: Part, names: Sequence[str]) -> str:
        fields = self._fields(part.table)
        return ", ".join(asked(fields[name], named(fields[name])) for name in names)

    def _where(self, part: Part, span: Span) -> str:
        fields = self._key_fields(part)
        conditions = [_compared(fields, ">", span.after)] if span.after is not None else []
        conditions += [_compared(fields, "<=", span.upto)] if span.upto is not None else []
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def _joined(self, part: Part, keys: Sequence[Key]) -> str:
        """FROM the table, the rows with these keys; `wanted.place` counts the keys from 0."""
        fields = self._key_fields(part)
        wanted = " UNION ALL ".join(
            f"SELECT {place} AS place, "
            + ", ".join(f"{exact(field, value)} AS k{i}" for i, (field, value) in enumerate(zip(fields, key, strict=True)))
            for place, key in enumerate(keys)
        )
        matches = " AND ".join(f"{named(field)} = wanted.k{i}" for i, field in enumerate(fields))
        return f"FROM ({wanted}) AS wanted STRAIGHT_JOIN {quote(part.table.schema, part.table.name)} AS t ON {matches}"

    def _hash(self, part: Part) -> str:
        """The hash of a row; `UNMADE` where a text of it is longer than what the server puts together."""
        fields = self._fields(part.table)
        pieces = []
        for name, form in part.columns:
            column = named(fields[name])
            value = text(fields[name], form, column)
            pieces.append(f"IF({column} IS NULL, '-', CONCAT(CHAR_LENGTH({value}), ':', {value}))")
        row = ", ',', ".join(pieces)
        whole = f"SHA2(CONCAT({row}), 256)"
        return f"COALESCE(CAST(CONV(LEFT({whole}, 15), 16, 10) AS UNSIGNED), {UNMADE})"

    # -- answers

    def _key(self, part: Part, row: Row) -> Key:
        fields = self._key_fields(part)
        return tuple((_given(field, value) or b"").decode() for field, value in zip(fields, row[: len(fields)], strict=True))

    def _made(self, part: Part, rows: int, total: int) -> Digest:
        if total >= UNMADE:
            said = f"A row of {part.table} is longer than the server's max_allowed_packet, so its text can't be put together there."
            raise self._error(said, "compare_impossible")
        return Digest(rows, total)

    def _error(self, message: str, kind: str) -> HeadwaterError:
        return type(self._fail(Error(), ""))(message, kind=kind)

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        try:
            yield
        except NoSuchKey:
            raise self._error(f"A key of the other side is no value of the key's type while {what}.", "compare_impossible") from None
        except Error as error:
            if number_of(error) in TOOK_TOO_LONG:
                raise self._error(f"A statement took longer than {self._timeout_s:g} s while {what}.", "compare_timeout") from None
            raise self._fail(error, what) from None


def _compared(fields: Sequence[Field], operator: str, key: Key) -> str:
    """The key compared with a bound (`>` or `<=`) in its columns' own order."""
    literals = [comparable(field, value) for field, value in zip(fields, key, strict=True)]
    alternatives = []
    for i, field in enumerate(fields):
        equal = [f"{named(before)} = {value}" for before, value in zip(fields[:i], literals[:i], strict=True)]
        step = operator if i == len(fields) - 1 else operator[0]
        alternatives.append(" AND ".join([*equal, f"{named(field)} {step} {literals[i]}"]))
    return f"({' OR '.join(f'({one})' for one in alternatives)})"


def _listed(fields: Sequence[Field], key: Key) -> str:
    return ", ".join(f"{exact(field, value)} AS k{i}" for i, (field, value) in enumerate(zip(fields, key, strict=True)))


def _given(field: Field, value: str | bytes | None) -> bytes | None:
    return None if value is None else given(field, value.encode() if isinstance(value, str) else value)
