"""The SQL of one mapping, by name. Identifiers go through one quoting function.

`t` is the table, `s` a staging table: temporary, of the same column types, so that values become what they will be in the table when they
are read. Keys *find* a row as the column's collation compares (that is what its index is for), and are the *same* only byte for byte.
"""

# ruff: noqa: S608  every name is quoted by `quote`

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from headwater.dialects.mysql_session import quote
from headwater.domain.mapping import TableMapping
from headwater.domain.tables import TableName
from headwater.targets.mysql.catalog import TableInfo, TargetColumn
from headwater.targets.mysql.session import text_literal


class Statements:
    """Statements for one mapping; its staging tables carry `number`."""

    def __init__(self, mapping: TableMapping, info: TableInfo, number: int) -> None:
        self.name, self.info = info.table, info
        self.mapping = mapping
        self.number = number
        self.operations = mapping.operations
        self.columns = tuple(pair.target for pair in mapping.columns)
        self.key_names = tuple(pair.target for pair in mapping.key)
        self.table = quote(info.table.schema, info.table.name)
        self.writable = tuple(c.name for c in info.columns if c.writable)
        self.further = info.further_keys(self.key_names) if self.key_names else []
        self.unique_columns = tuple(dict.fromkeys(name for key in self.further for name in key.columns if name not in self.key_names))
        self.upserts_only = not info.transactional  # what a crash has left there may stand already
        self.collates = any(self._column(name).collates for name in self.key_names)
        self.ordered = all(self._column(name).ordered for name in self.key_names)

    def _column(self, name: str) -> TargetColumn:
        return self.info.by_name[name]

    def values_of(self, columns: Iterable[str]) -> list[str]:
        """Those of the columns that are not key."""
        return [name for name in columns if name not in self.key_names]

    # How rows get in.

    def staging(self, what: str) -> str:
        """The name of a staging table, quoted."""
        return quote(f"headwater_{what}_{self.number}")

    def stage(self, staging: str, columns: Sequence[str], *, indexed: bool = False, engine: str = "InnoDB") -> str:
        """Make a staging table with these columns; `indexed` by the mapping's key."""
        staging = f"{staging} (KEY ({column_list(self.key_names)}))" if indexed else staging
        return f"CREATE TEMPORARY TABLE {staging} ENGINE = {engine} AS SELECT {column_list(columns)} FROM {self.table} LIMIT 0"

    def load(self, into: str, columns: Sequence[str]) -> str:
        """`LOAD DATA LOCAL` of text rows with these columns."""
        names, readings = [], []
        for i, name in enumerate(columns):
            reading = self._column(name).reading
            names.append(f"@v{i}" if reading else quote(name))
            readings += [f"{quote(name)} = {reading.format(v=f'@v{i}')}"] if reading else []
        head = f"LOAD DATA LOCAL INFILE 'rows' INTO TABLE {into} CHARACTER SET utf8mb4 ({', '.join(names)})"
        return head + (f" SET {', '.join(readings)}" if readings else "")

    def insert(self, into: str, columns: Sequence[str]) -> bytes:
        """The beginning of an INSERT of rows in parentheses."""
        return f"INSERT INTO {into} ({column_list(columns)}) VALUES ".encode()

    # Whole batches, staged in `s`.

    def put(self, staging: str, columns: Sequence[str]) -> str:
        """Insert the staged rows or update those that stand; a row that is the same already stays untouched."""
        values = self.values_of(columns)
        if not values:
            return self.insert_missing(staging, columns)
        return (
            f"INSERT INTO {self.table} ({column_list(columns)}) SELECT {column_list(columns, 's')} FROM {staging} AS s "
            f"ON DUPLICATE KEY UPDATE {', '.join(f'{self.table}.{quote(name)} = s.{quote(name)}' for name in values)}"
        )

    def insert_missing(self, staging: str, columns: Sequence[str]) -> str:
        """Insert the staged rows whose key does not stand."""
        return (
            f"INSERT INTO {self.table} ({column_list(columns)}) SELECT {column_list(columns, 's')} FROM {staging} AS s "
            f"WHERE NOT EXISTS (SELECT 1 FROM {self.table} AS t WHERE {self.finds('t', 's')})"
        )

    def update(self, staging: str, columns: Sequence[str]) -> str:
        """Update rows from staged ones."""
        values = ", ".join(f"t.{quote(name)} = s.{quote(name)}" for name in self.values_of(columns))
        return f"UPDATE {staging} AS s STRAIGHT_JOIN {self.table} AS t ON {self.meets('t', 's')} SET {values}"

    def delete(self, staging: str) -> str:
        """Delete the rows whose keys are staged."""
        return f"DELETE t FROM {staging} AS s STRAIGHT_JOIN {self.table} AS t ON {self.meets('t', 's')}"

    def stands(self, staging: str) -> str:
        """One row where one of the staged keys stands."""
        return f"SELECT 1 FROM {staging} AS s STRAIGHT_JOIN {self.table} AS t ON {self.meets('t', 's')} LIMIT 1"

    def move(self, keys: str, rows: str, columns: Sequence[str]) -> str:
        """The row with the one key in `keys` becomes the one row in `rows`, of which these columns are known."""
        values = ", ".join(f"t.{quote(name)} = r.{quote(name)}" for name in columns)
        return f"UPDATE {keys} AS s STRAIGHT_JOIN {rows} AS r STRAIGHT_JOIN {self.table} AS t ON {self.meets('t', 's')} SET {values}"

    def overwrite(self, rows: str, other: str, columns: Sequence[str]) -> str:
        """Give the one row of a staging table the values of these columns of the one in another."""
        values = ", ".join(f"s.{quote(name)} = o.{quote(name)}" for name in columns)
        return f"UPDATE {rows} AS s CROSS JOIN {other} AS o SET {values}"

    def twice(self, staging: str) -> str:
        """One row where two of the staged keys are one to the table."""
        keys = column_list(self.key_names)
        return f"SELECT 1 FROM {staging} GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"

    def strangers(self, staging: str) -> str:
        """One row where a staged row would take the place of one with another key."""
        return (
            f"SELECT 1 FROM {staging} AS s STRAIGHT_JOIN {self.table} AS t ON {self.finds('t', 's')} "
            f"WHERE NOT ({self.same('t', 's', self.key_names)}) LIMIT 1"
        )

    def finds(self, one: str, other: str) -> str:
        """The row with a key that the table takes for the same."""
        return " AND ".join(f"{one}.{quote(name)} = {other}.{quote(name)}" for name in self.key_names)

    def meets(self, one: str, other: str) -> str:
        """The row with the same key."""
        collating = [name for name in self.key_names if self._column(name).collates]
        return self.finds(one, other) + (f" AND {self.same(one, other, collating)}" if collating else "")

    def same(self, one: str, other: str, columns: Iterable[str]) -> str:
        """Whether two rows are the same in these columns, byte for byte."""
        return " AND ".join(f"{self._bytes(one, name)} <=> {self._bytes(other, name)}" for name in columns) or "true"

    def _bytes(self, alias: str, name: str) -> str:
        column = f"{alias}.{quote(name)}"
        return f"CAST({column} AS BINARY)" if self._column(name).collates else column

    # The whole table, or a range of it.

    @cached_property
    def clear(self) -> str:
        """Remove all rows. TRUNCATE would commit."""
        return f"DELETE FROM {self.table}"

    def remove_missing(self, staging: str, after: Sequence[str] | None, upto: Sequence[str] | None, table: str = "") -> bytes:
        """Delete the rows of a range of keys that are not staged, from the table or another one with its columns."""
        absent = f"NOT EXISTS (SELECT 1 FROM {staging} AS s WHERE {self.finds('t', 's')})".encode()
        found = f"DELETE t FROM {table or self.table} AS t WHERE ".encode()
        return found + b" AND ".join([*self._range("t", after, upto), absent])

    def stray(self, staging: str, after: Sequence[str] | None, upto: Sequence[str] | None) -> bytes:
        """One row where a staged key lies outside of the range, as the target orders keys."""
        bounds = self._range("s", after, upto)
        return f"SELECT 1 FROM {staging} AS s WHERE NOT (".encode() + b" AND ".join(bounds or [b"true"]) + b") LIMIT 1"

    def _range(self, alias: str, after: Sequence[str] | None, upto: Sequence[str] | None) -> list[bytes]:
        found = []
        for operator, bound in ((">", after), ("<=", upto)):
            if bound is not None:
                found.append(self._beyond(alias, operator, bound))
        return found

    def _beyond(self, alias: str, operator: str, bound: Sequence[str]) -> bytes:
        """A key compared with a bound, column by column: servers find no range for whole rows."""
        names = [f"{alias}.{quote(name)}".encode() for name in self.key_names]
        values = [self.value(name, text.encode()) for name, text in zip(self.key_names, bound, strict=True)]
        strict = operator.rstrip("=").encode()
        last = len(names) - 1
        whole = b"%s %s %s" % (names[last], operator.encode(), values[last])
        for name, value in zip(reversed(names[:last]), reversed(values[:last]), strict=True):
            whole = b"(%s %s %s OR (%s = %s AND %s))" % (name, strict, value, name, value, whole)
        return b"(" + whole + b")"

    def value(self, name: str, text: bytes | None) -> bytes:
        """A value of a column as it stands in a statement that compares with the column."""
        column = self._column(name)
        if text is None:
            return b"NULL"
        quoted = text_literal(text)
        if column.data_type == "decimal":
            return b"CAST(" + quoted + b" AS " + column.type.replace("unsigned", "").replace("zerofill", "").strip().encode() + b")"
        if not column.reading:
            return quoted
        before, *others = column.reading.format(v="\0").encode().split(b"\0")
        return before + b"".join(quoted + piece for piece in others)


def any_row(table: TableName) -> str:
    """One row where the table has any."""
    return f"SELECT 1 FROM {quote(table.schema, table.name)} LIMIT 1"


def column_list(columns: Sequence[str], alias: str = "") -> str:
    """Columns with commas between."""
    return ", ".join(f"{alias}.{quote(name)}" if alias else quote(name) for name in columns)
