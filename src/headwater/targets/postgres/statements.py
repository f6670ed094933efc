"""The SQL of one mapping, by name. Identifiers go through psycopg's quoting, values are never part of a statement.

`t` is the table, `s` the staged batch: a temporary table of the same column types, so that values become what they will be in the
table when COPY reads them. Keys are compared by the operator of the key's own index, found in the catalogue: an operator
found by name might be another one, and the index would not be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from psycopg import sql

from headwater.domain.mapping import TableMapping
from headwater.ports.source import Chunk
from headwater.targets.postgres.catalog import KeyColumn, TableInfo


class Statements:
    """Statements for one mapping, staging into the temporary table number `number`."""

    def __init__(self, mapping: TableMapping, info: TableInfo, number: int) -> None:
        self.columns = [pair.target for pair in mapping.columns]
        key = info.key_on(pair.target for pair in mapping.key)
        self.key: tuple[KeyColumn, ...] = key.columns if key else ()
        self.key_names = [pair.target for pair in mapping.key]
        self._table = sql.Identifier(info.table.schema, info.table.name)
        self.rows = sql.Identifier("pg_temp", f"headwater_rows_{number}")
        self.keys = sql.Identifier("pg_temp", f"headwater_keys_{number}")
        self.kept = sql.Identifier("pg_temp", f"headwater_kept_{number}")
        self.unmapped = [c.name for c in info.columns if c.writable and c.name not in self.columns]

    def values_of(self, columns: Sequence[str]) -> list[str]:
        """Those of the columns that are not key."""
        keys = set(self.key_names)
        return [name for name in columns if name not in keys]

    @cached_property
    def stage_rows(self) -> sql.Composed:
        """Make the table for staged rows."""
        return self._stage(self.rows, self.columns)

    @cached_property
    def stage_keys(self) -> sql.Composed:
        """Make the table for staged keys."""
        return self._stage(self.keys, self.key_names)

    def _stage(self, name: sql.Identifier, columns: Sequence[str]) -> sql.Composed:
        return sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA").format(
            sql.Identifier(name._obj[-1]), _list(columns), self._table
        )

    def empty(self, staging: sql.Identifier) -> sql.Composed:
        """Empty a staging table."""
        return sql.SQL("TRUNCATE {}").format(staging)

    def copy(self, columns: Sequence[str], into: sql.Identifier | None = None) -> sql.Composed:
        """COPY text rows into the table, or into a staging table."""
        return sql.SQL("COPY {} ({}) FROM STDIN").format(into or self._table, _list(columns))

    @property
    def clear(self) -> sql.Composed:
        """Remove all rows, the way that is always allowed."""
        return sql.SQL("DELETE FROM {}").format(self._table)

    @property
    def truncate(self) -> sql.Composed:
        """Remove all rows, the quick way."""
        return sql.SQL("TRUNCATE {}").format(self._table)

    @property
    def insert(self) -> sql.Composed:
        """Insert one row given as parameters."""
        return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
            self._table, _list(self.columns), _parameters(self.columns)
        )

    @property
    def upsert(self) -> sql.Composed:
        """Insert or update one row given as parameters."""
        return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({}) ON CONFLICT ({}) {}").format(
            self._table, _list(self.columns), _parameters(self.columns), _list(self.key_names), self._on_conflict
        )

    @property
    def _on_conflict(self) -> sql.Composable:
        values = self.values_of(self.columns)
        if not values:
            return sql.SQL("DO NOTHING")
        pairs = [sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in values]
        return sql.SQL("DO UPDATE SET {}").format(sql.SQL(", ").join(pairs))

    def update(self, columns: Sequence[str]) -> sql.Composed:
        """Update one row; parameters are the values and then the key."""
        return sql.SQL("UPDATE {} AS t SET {} WHERE {}").format(
            self._table, _assign(self.values_of(columns)), self._match_parameters(self.key_names)
        )

    @property
    def delete(self) -> sql.Composed:
        """Delete one row; parameters are the key."""
        return sql.SQL("DELETE FROM {} AS t WHERE {}").format(self._table, self._match_parameters(self.key_names))

    @property
    def delete_any(self) -> sql.Composed:
        """Delete rows by an array of keys; for keys of one column."""
        (column,) = self.key
        return sql.SQL("DELETE FROM {} AS t WHERE t.{} {} ANY (%s)").format(self._table, sql.Identifier(column.name), _operator(column))

    @property
    def delete_staged(self) -> sql.Composed:
        """Delete the rows whose keys are staged."""
        return sql.SQL("DELETE FROM {} AS t USING {} AS s WHERE {}").format(self._table, self.keys, self._match_staged)

    def update_staged(self, columns: Sequence[str], *, differing: bool) -> sql.Composed:
        """Update rows from staged ones; with `differing` only those that are not the same already, byte for byte."""
        values = self.values_of(columns)
        pairs = [sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in values]
        condition = sql.SQL(" AND {} OPERATOR(pg_catalog.*<>) {}").format(_record("t", values), _record("s", values))
        return sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {}{}").format(
            self._table, sql.SQL(", ").join(pairs), self.rows, self._match_staged, condition if differing else sql.SQL("")
        )

    @property
    def insert_missing(self) -> sql.Composed:
        """Insert the staged rows whose key is not in the table."""
        return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS s ON CONFLICT ({}) DO NOTHING").format(
            self._table, _list(self.columns), _list(self.columns), self.rows, _list(self.key_names)
        )

    @property
    def keep_unmapped(self) -> sql.Composed:
        """Keep what the table's other columns hold in the rows that are staged."""
        columns = [*self.key_names, *self.unmapped]
        return sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} AS t JOIN {} AS s ON {}").format(
            sql.Identifier(self.kept._obj[-1]), _list(columns, "t"), self._table, self.rows, self._match_staged
        )

    @property
    def drop_kept(self) -> sql.Composed:
        """The end of `keep_unmapped`."""
        return sql.SQL("DROP TABLE {}").format(self.kept)

    @property
    def delete_replaced(self) -> sql.Composed:
        """Delete the rows whose keys are among the staged rows."""
        return sql.SQL("DELETE FROM {} AS t USING {} AS s WHERE {}").format(self._table, self.rows, self._match_staged)

    @property
    def insert_replaced(self) -> sql.Composed:
        """Insert the staged rows that were in the table before, with what its other columns held."""
        match = sql.SQL(" AND ").join(self._match(column, "t", sql.SQL("s.{}").format(sql.Identifier(column.name))) for column in self.key)
        columns = [*self.columns, *self.unmapped]
        return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {}{} FROM {} AS s JOIN {} AS t ON {}").format(
            self._table,
            _list(columns),
            _list(self.columns, "s"),
            sql.SQL("").join(sql.SQL(", t.{}").format(sql.Identifier(name)) for name in self.unmapped),
            self.rows,
            self.kept,
            match,
        )

    def move(self, columns: Sequence[str]) -> sql.Composed:
        """A `Move`. Parameters by name: v0, v1, ... the values of `columns`, o0, o1, ... the old key, n0, n1, ... the new one."""
        old = self._match_named("o")
        new = self._match_named("n")
        there = sql.SQL("EXISTS (SELECT FROM {} AS t WHERE {})").format(self._table, new)
        values = [sql.SQL("{} = {}").format(sql.Identifier(c), sql.Placeholder(f"v{i}")) for i, c in enumerate(columns)]
        return sql.SQL(
            "WITH gone AS (DELETE FROM {0} AS t WHERE {1} AND NOT ({2}) AND {3}) UPDATE {0} AS t SET {4} WHERE ({2}) OR ({1} AND NOT {3})"
        ).format(self._table, old, new, there, sql.SQL(", ").join(values))

    def remove_missing(self, chunk: Chunk) -> sql.Composed:
        """Delete the rows of a chunk's key range that are not staged. Parameters: `bounds_of(chunk)`."""
        missing = sql.SQL("NOT EXISTS (SELECT FROM {} AS s WHERE {})").format(self.rows, self._match_staged)
        conditions = sql.SQL(" AND ").join([*self._range("t", chunk), missing])
        return sql.SQL("DELETE FROM {} AS t WHERE {}").format(self._table, conditions)

    def stray(self, chunk: Chunk) -> sql.Composed:
        """One row where a staged row lies outside of the chunk's key range, or the range is empty, as the target orders keys.

        Parameters: `bounds_of(chunk)`, twice where it has both bounds."""
        outside = sql.SQL("EXISTS (SELECT FROM {} AS s WHERE NOT ({}))").format(self.rows, sql.SQL(" AND ").join(self._range("s", chunk)))
        if chunk.after is None or chunk.upto is None:
            return sql.SQL("SELECT 1 WHERE {}").format(outside)
        return sql.SQL("SELECT 1 WHERE {} OR NOT {} < {}").format(outside, self._bound, self._bound)

    def _range(self, alias: str, chunk: Chunk) -> list[sql.Composable]:
        row = sql.SQL("ROW({})").format(_list(self.key_names, alias))
        bounds = [(">", chunk.after), ("<=", chunk.upto)]
        return [sql.SQL("{} {} {}").format(row, sql.SQL(operator), self._bound) for operator, bound in bounds if bound is not None]

    @property
    def _bound(self) -> sql.Composed:
        """A bound as parameters, of the key columns' types, so that their own order decides."""
        types = {column.name: column.type for column in self.key}
        casts = [sql.SQL("%s::{}").format(sql.SQL(types[name])) for name in self.key_names]
        return sql.SQL("ROW({})").format(sql.SQL(", ").join(casts))

    @cached_property
    def _match_staged(self) -> sql.Composed:
        return sql.SQL(" AND ").join(self._match(column, "t", sql.SQL("s.{}").format(sql.Identifier(column.name))) for column in self.key)

    def _match_parameters(self, names: Sequence[str]) -> sql.Composed:
        by_name = {column.name: column for column in self.key}
        return sql.SQL(" AND ").join(self._match(by_name[name], "t", sql.Placeholder()) for name in names)

    def _match_named(self, prefix: str) -> sql.Composed:
        by_name = {column.name: column for column in self.key}
        places = enumerate(self.key_names)
        return sql.SQL(" AND ").join(self._match(by_name[name], "t", sql.Placeholder(f"{prefix}{i}")) for i, name in places)

    @staticmethod
    def _match(column: KeyColumn, alias: str, other: sql.Composable) -> sql.Composed:
        return sql.SQL("{}.{} {} {}").format(sql.Identifier(alias), sql.Identifier(column.name), _operator(column), other)


def bounds_of(chunk: Chunk) -> list[str]:
    """The chunk's bounds as parameters, `after` first."""
    return [*(chunk.after or ()), *(chunk.upto or ())]


def exists_row(table: sql.Identifier) -> sql.Composed:
    """One row where the table has any."""
    return sql.SQL("SELECT 1 FROM {} LIMIT 1").format(table)


def _operator(column: KeyColumn) -> sql.Composed:
    schema, name = column.equals
    return sql.SQL("OPERATOR({}.{})").format(sql.Identifier(schema), sql.SQL(name))  # from pg_operator


def _list(columns: Sequence[str], alias: str | None = None) -> sql.Composed:
    prefix = (alias,) if alias else ()
    return sql.SQL(", ").join(sql.Identifier(*prefix, name) for name in columns)


def _parameters(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Placeholder() for _ in columns)


def _assign(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in columns)


def _record(alias: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("CAST(ROW({}) AS record)").format(_list(columns, alias))
