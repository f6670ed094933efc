"""Tables, columns and their schemas, as both sides of a mapping and every change batch see them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class TableName:
    """A table's name within one database. `str()` gives the API's `schema.table`."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @classmethod
    def parse(cls, text: str, default_schema: str) -> TableName:
        """Read `schema.table`, or a bare `table` of the connection's default schema.

        The first dot divides, so a schema whose own name holds a dot can't be named this way.

        Raises:
            ValueError: a part is empty.
        """
        schema, dot, name = text.partition(".")
        if not dot:
            schema, name = default_schema, text
        if not schema or not name:
            raise ValueError(f"'{text}' is not a table name; write schema.table")
        return cls(schema, name)


@dataclass(frozen=True)
class Column:
    """One column. `type` is the database's own spelling with its length, e.g. `numeric(12,2)`.

    `key` tells that the column belongs to the key by which changes find their row (replica identity or
    primary key at the source, primary key or unique index at the target). `writable` is false for generated
    columns, which no mapping may write. `number` and `type_id` are the database's own words for which column and which type it is: they
    survive a new name, and a column that was dropped and added again has another number. 0 and empty where there are none.
    """

    name: str
    type: str
    key: bool = False
    nullable: bool = True
    writable: bool = True
    number: int = 0
    type_id: str = ""


@dataclass(frozen=True)
class TableSchema:
    """A table's columns in the table's own order, at one moment.

    `id` is the database's own word for the table, which survives a new name; empty where there is none. `called` is the name that
    the table had at that moment, where that is not the one under which it is followed."""

    table: TableName
    columns: tuple[Column, ...]
    id: str = ""
    called: TableName | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the key columns in table order; empty where the table has no usable key."""
        return tuple(c.name for c in self.columns if c.key)

    def index(self, name: str) -> int | None:
        """Position of a column by name, or None where there is no such column."""
        for i, column in enumerate(self.columns):
            if column.name == name:
                return i
        return None
