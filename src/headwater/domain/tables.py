"""Tables, columns and their schemas, as both sides of a mapping and every change batch see them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NAME = re.compile(r'(?:(?P<schema>"(?:[^"]|"")+"|[^".][^.]*)\.)?(?P<name>"(?:[^"]|"")+"|[^"].*)', re.DOTALL)


@dataclass(frozen=True, order=True)
class TableName:
    """A table's name within one database.

    `str()` gives the API's `schema.table`, which `parse` reads back as the same name. Names stand as they are; only where that could be
    read another way (a schema that holds a dot, a name that begins with a quotation mark) they are quoted as in SQL.
    """

    schema: str
    name: str

    def __str__(self) -> str:
        schema = _quoted(self.schema) if "." in self.schema else _unambiguous(self.schema)
        return f"{schema}.{_unambiguous(self.name)}"

    @classmethod
    def parse(cls, text: str, default_schema: str) -> TableName:
        """Read `schema.table`, or a bare `table` of the connection's default schema.

        The first dot divides. Either part may be quoted as in SQL (`"my.schema".table`), with a quotation mark within it written
        twice. Upper and lower case are always kept, quoted or not.

        Raises:
            ValueError: a part is empty, or a quotation does not end where the part does.
        """
        found = _NAME.fullmatch(text)
        if found is None or (found["schema"] is None and "." in text and not text.startswith('"')):
            raise ValueError(f"'{text}' is not a table name; write schema.table, and names in quotation marks as in SQL")
        schema = default_schema if found["schema"] is None else _unquoted(found["schema"])
        if not schema:
            raise ValueError(f"'{text}' is not a table name; write schema.table")
        return cls(schema, _unquoted(found["name"]))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unambiguous(name: str) -> str:
    return _quoted(name) if name.startswith('"') else name


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


@dataclass(frozen=True)
class Column:
    """One column. `type` is the database's own spelling with its length, e.g. `numeric(12,2)`.

    `key` tells that the column belongs to the key by which changes find their row (replica identity or
    primary key at the source, primary key or unique index at the target). `writable` is false for generated
    columns, which no mapping may write. `number` and `type_id` are the database's own words for which column and which type it is: they
    survive a new name, and a column that was dropped and added again has another number. 0 and empty where there are none; -1 where
    there is one that is not known any more.
    `base` is the type by which its values behave, where that is not `type`: that of a domain, and what an own type is made of. It says how
    a column may be joined, not which column it is.
    """

    name: str
    type: str
    key: bool = False
    nullable: bool = True
    writable: bool = True
    number: int = 0
    type_id: str = ""
    base: str = field(default="", compare=False)


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
