"""The SQL of one mapping, by name. Identifiers go through one quoting function, values are never part of a statement.

`t` is the table, `s` the staged batch: a temporary table of the same column types, so that values become what they will be in the
table when COPY reads them. Keys are compared by the operator of the key's own index, found in the catalogue: an operator
found by name might be another one, and the index would not be used.

Statements are made once and kept as bytes, since small batches come hundreds of times per second. A parameter is written as
`\\0s` (or `\\0(name)s`) until the end, so that a percent sign in a column's name can be told from one of the driver's placeholders.
"""

# ruff: noqa: S608  every name is quoted by `quote`, types and operators are PostgreSQL's own spelling

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache

from psycopg import sql

from headwater.domain.mapping import TableMapping
from headwater.domain.tables import TableName
from headwater.ports.source import Chunk
from headwater.targets.postgres.catalog import KeyColumn, TableInfo

PARAMETER = "\0s"

FORMAT_COLUMNS_MAX = 90
"""Values that one call of `format` takes: a function has at most 100 arguments."""


def quote(*names: str) -> str:
    """An identifier, qualified where there are several names."""
    return sql.Identifier(*names).as_string(None)


class Statements:
    """Statements for one mapping; its staging tables carry `number`. `rows` and `keys` are their quoted names.

    `instead` is a table with the same columns that is written in the target table's place (see `overlay.py`), quoted."""

    def __init__(self, mapping: TableMapping, info: TableInfo, number: int, instead: str | None = None) -> None:
        self.name = info.table
        self.operations = mapping.operations
        self._partitioned = info.kind == "p"
        self.columns = tuple(pair.target for pair in mapping.columns)
        self.key_names = tuple(pair.target for pair in mapping.key)
        found = info.key_on(self.key_names)
        by_name = {column.name: column for column in found.columns} if found else {}
        self._key = tuple(by_name[name] for name in self.key_names if name in by_name)
        self.table = instead or quote(info.table.schema, info.table.name)
        self.own = self.table if info.kind == "p" or instead else f"ONLY {self.table}"  # never those of tables that inherit from it
        self.rows, self.keys = (quote(f"headwater_{what}_{number}") for what in ("rows", "keys"))
        self.unmapped = tuple(c.name for c in info.columns if c.writable and c.name not in self.columns)
        self.literal_key = all(column.literal for column in self._key)
        self.update = lru_cache(self._update)
        self.move = lru_cache(self._move)
        self.copy = lru_cache(self._copy)
        self.update_staged = lru_cache(self._update_staged)

    def values_of(self, columns: Iterable[str]) -> list[str]:
        """Those of the columns that are not key. A key that may be written in several ways is a value as well, for its spelling."""
        return [name for name in columns if name not in self.key_names or not self.literal_key]

    # One row at a time, for small batches.

    @cached_property
    def insert(self) -> bytes:
        """Insert one row; parameters are its values."""
        return final(f"INSERT INTO {self.table} ({column_list(self.columns)}) OVERRIDING SYSTEM VALUE VALUES ({_parameters(self.columns)})")

    @cached_property
    def upsert(self) -> bytes:
        """Insert or update one row; parameters are its values."""
        assignments = ", ".join(f"{quote(name)} = EXCLUDED.{quote(name)}" for name in self.values_of(self.columns))
        return final(
            f"INSERT INTO {self.table} ({column_list(self.columns)}) OVERRIDING SYSTEM VALUE VALUES ({_parameters(self.columns)}) "
            f"ON CONFLICT ({column_list(self.key_names)}) " + (f"DO UPDATE SET {assignments}" if assignments else "DO NOTHING")
        )

    def _update(self, columns: tuple[str, ...]) -> bytes:
        """Update one row; parameters are the values and then the key."""
        assignments = ", ".join(f"{quote(name)} = {PARAMETER}" for name in self.values_of(columns))
        return final(f"UPDATE {self.own} AS t SET {assignments} WHERE {self._matches_parameters}")

    @cached_property
    def delete(self) -> bytes:
        """Delete one row; parameters are the key."""
        return final(f"DELETE FROM {self.own} AS t WHERE {self._matches_parameters}")

    @cached_property
    def stands(self) -> bytes:
        """One row where a row with this key stands; parameters are the key."""
        return final(f"SELECT 1 FROM {self.own} AS t WHERE {self._matches(PARAMETER for _ in self._key)}")

    def _move(self, columns: tuple[str, ...]) -> bytes:
        """A `Move`. Parameters by name: v0, v1, ... the values of `columns`, o0, o1, ... the old key, n0, n1, ... the new one."""
        old, new = self.key_is("o%d"), self.key_is("n%d")
        there = f"EXISTS (SELECT FROM {self.own} AS t WHERE {new})"
        assignments = ", ".join(f"{quote(name)} = \0(v{i})s" for i, name in enumerate(columns))
        return final(
            f"WITH gone AS (DELETE FROM {self.own} AS t WHERE {old} AND NOT ({new}) AND {there}) "
            f"UPDATE {self.own} AS t SET {assignments} WHERE ({new}) OR ({old} AND NOT {there})"
        )

    # Whole batches.

    def _copy(self, columns: tuple[str, ...], into: str = "") -> bytes:
        """COPY text rows into the table, or into a staging table."""
        return f"COPY {f'pg_temp.{into}' if into else self.table} ({column_list(columns)}) FROM STDIN".encode()

    def stage(self, staging: str) -> bytes:
        """Make a staging table, for rows or for keys."""
        columns = column_list(self.columns if staging == self.rows else self.key_names)
        return f"CREATE TEMP TABLE IF NOT EXISTS {staging} ON COMMIT DELETE ROWS AS SELECT {columns} FROM {self.own} WITH NO DATA".encode()

    def empty(self, staging: str) -> bytes:
        """Empty a staging table."""
        return f"TRUNCATE pg_temp.{staging}".encode()

    @property
    def in_arrays(self) -> bool:
        """Whether `delete_any` is possible: one column, whose values can stand in an array."""
        return len(self._key) == 1 and self._key[0].in_arrays

    @cached_property
    def delete_any(self) -> bytes:
        """Delete rows by an array of keys, where these are `in_arrays`."""
        (column,) = self._key
        return final(f"DELETE FROM {self.own} AS t WHERE t.{quote(column.name)} {_operator(column)} ANY ({PARAMETER}::{column.type}[])")

    @cached_property
    def delete_staged(self) -> bytes:
        """Delete the rows whose keys are staged."""
        return f"DELETE FROM {self.own} AS t USING pg_temp.{self.keys} AS s WHERE {self._matches_staged}".encode()

    def _update_staged(self, columns: tuple[str, ...], differing: bool) -> bytes:
        """Update rows from staged ones; with `differing` only those that are not the same already, byte for byte."""
        condition = f" AND {self.differs('t', 's', columns)}" if differing else ""
        assignments = self.assignments("s", columns)
        return f"UPDATE {self.own} AS t SET {assignments} FROM pg_temp.{self.rows} AS s WHERE {self._matches_staged}{condition}".encode()

    def assignments(self, alias: str, columns: Sequence[str]) -> str:
        """What an UPDATE sets, from another table's row."""
        return ", ".join(f"{quote(name)} = {quote(alias, name)}" for name in self.values_of(columns))

    def differs(self, one: str, other: str, columns: Sequence[str]) -> str:
        """Whether two rows differ in these columns, key left out, byte for byte."""
        return differing(self.values_of(columns), one, other)

    def meets(self, one: str, other: str) -> str:
        """Whether two rows, by their aliases, have the same key."""
        pairs = ((quote(one, c.name), _operator(c), quote(other, c.name)) for c in self._key)
        return " AND ".join(" ".join(pair) for pair in pairs)

    @cached_property
    def insert_missing(self) -> bytes:
        """Insert the staged rows whose key is not in the table."""
        columns = column_list(self.columns)
        return (
            f"INSERT INTO {self.table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM pg_temp.{self.rows} "
            f"ON CONFLICT ({column_list(self.key_names)}) DO NOTHING"
        ).encode()

    # Without a key: rows are found as a whole, and equal rows are counted. The texts of all mapped columns are one text per row, because
    # some types have no equality (json, xml, point) and NULL is equal to nothing. Each of these reads the whole table.

    @cached_property
    def delete_whole(self) -> bytes:
        """Delete, for each staged row, one of the rows that are equal to it."""
        found = "SELECT place FROM found WHERE number <= n"
        part = f" AND (t.tableoid, t.ctid) IN ({found.replace('place', 'part, place')})" if self._partitioned else ""
        return (
            f"WITH wanted AS MATERIALIZED (SELECT {self._whole('s')} AS whole, count(*) AS n FROM pg_temp.{self.rows} AS s GROUP BY 1), "
            "found AS MATERIALIZED (SELECT t.tableoid AS part, t.ctid AS place, w.n, row_number() OVER (PARTITION BY w.whole) AS number "
            f"FROM {self.own} AS t JOIN wanted AS w ON {self._whole('t')} = w.whole) "
            f"DELETE FROM {self.own} AS t WHERE t.ctid = ANY (ARRAY({found})){part}"
        ).encode()

    @cached_property
    def insert_more(self) -> bytes:
        """Insert of the staged rows as many as the table has fewer."""
        return (
            f"INSERT INTO {self.table} ({column_list(self.columns)}) OVERRIDING SYSTEM VALUE SELECT {column_list(self.columns, 's')} "
            f'FROM (SELECT s.*, {self._whole("s")} AS "~whole", row_number() OVER (PARTITION BY {self._whole("s")}) AS "~number" '
            f"FROM pg_temp.{self.rows} AS s) AS s "
            f"LEFT JOIN (SELECT {self._whole('t')} AS whole, count(*) AS n FROM {self.own} AS t GROUP BY 1) AS held "
            'ON held.whole = s."~whole" WHERE s."~number" > coalesce(held.n, 0)'
        ).encode()

    def _whole(self, alias: str) -> str:
        """A row's mapped columns as one text, equal for equal rows only: each value quoted, NULL bare."""
        pieces = []
        for start in range(0, len(self.columns), FORMAT_COLUMNS_MAX):
            some = self.columns[start : start + FORMAT_COLUMNS_MAX]
            pieces.append(f"format('{'%L,' * len(some)}', {column_list(some, alias)})")
        return f'({" || ".join(pieces)}) COLLATE "C"'

    # The whole table, or a range of it.

    @cached_property
    def truncate(self) -> bytes:
        """Remove all rows, the quick way."""
        return f"TRUNCATE {self.own}".encode()

    @cached_property
    def clear(self) -> bytes:
        """Remove all rows, the way that is always allowed."""
        return f"DELETE FROM {self.own}".encode()

    def remove_missing(self, chunk: Chunk) -> bytes:
        """Delete the rows of a chunk's key range that are not staged. Parameters: `bounds_of(chunk)`."""
        missing = f"NOT EXISTS (SELECT FROM pg_temp.{self.rows} AS s WHERE {self._matches_staged})"
        return final(f"DELETE FROM {self.own} AS t WHERE {' AND '.join([*self._range('t', chunk), missing])}")

    def stray(self, chunk: Chunk) -> bytes:
        """One row where a staged row lies outside of the chunk's key range, or the range is empty, as the target orders keys.

        Parameters: `bounds_of(chunk)`, twice where it has both bounds."""
        outside = f"EXISTS (SELECT FROM pg_temp.{self.rows} AS s WHERE NOT ({' AND '.join(self._range('s', chunk))}))"
        falling = f" OR NOT {self._bound} < {self._bound}" if chunk.after is not None and chunk.upto is not None else ""
        return final(f"SELECT 1 WHERE {outside}{falling}")

    def _range(self, alias: str, chunk: Chunk) -> list[str]:
        bounds = [(">", chunk.after), ("<=", chunk.upto)]
        return [f"ROW({column_list(self.key_names, alias)}) {operator} {self._bound}" for operator, bound in bounds if bound is not None]

    @cached_property
    def _bound(self) -> str:
        """A bound as parameters, of the key columns' types, so that their own order decides."""
        return f"ROW({', '.join(f'{PARAMETER}::{column.type}' for column in self._key)})"

    @cached_property
    def _matches_parameters(self) -> str:
        """With the type told: of a composite type or an array the operator alone does not tell it."""
        return self._matches(f"{PARAMETER}::{column.type}" for column in self._key)

    @cached_property
    def _matches_staged(self) -> str:
        return self.meets("t", "s")

    def key_is(self, form: str) -> str:
        """The row of `t` whose key is given by parameters; `form` names them, with their number in place of `%d`."""
        return self._matches(f"\0({form % i})s::{column.type}" for i, column in enumerate(self._key))

    def _matches(self, values: Iterable[str]) -> str:
        """The row of `t` whose key has these values, in the order of `key_names`."""
        return " AND ".join(f"t.{quote(c.name)} {_operator(c)} {value}" for c, value in zip(self._key, values, strict=True))


def bounds_of(chunk: Chunk) -> list[str]:
    """The chunk's bounds as parameters, `after` first."""
    return [*(chunk.after or ()), *(chunk.upto or ())]


def any_row(table: TableName) -> bytes:
    """One row where the table has any."""
    return f"SELECT 1 FROM {quote(table.schema, table.name)} LIMIT 1".encode()


def final(statement: str) -> bytes:
    """A statement with parameters, as the driver reads it."""
    return statement.replace("%", "%%").replace("\0", "%").encode()


def differing(columns: Sequence[str], one: str, other: str) -> str:
    """Whether two rows, by their aliases, differ in these columns, byte for byte."""
    records = [f"CAST(ROW({column_list(columns, alias)}) AS record)" for alias in (one, other)]
    return f"{records[0]} OPERATOR(pg_catalog.*<>) {records[1]}"


def _operator(column: KeyColumn) -> str:
    schema, name = column.equals
    return f"OPERATOR({quote(schema)}.{name})"


def column_list(columns: Sequence[str], alias: str = "") -> str:
    return ", ".join(quote(alias, name) if alias else quote(name) for name in columns)


def _parameters(columns: Sequence[str]) -> str:
    return ", ".join(PARAMETER for _ in columns)
