"""How the tables of the model are made and changed on real servers: what PostgreSQL says in its way, and MariaDB and MySQL in theirs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from headwater.domain.tables import TableName, TableSchema
from headwater.testing.rows import Row
from tests.databases import AnyDatabase, MysqlDatabase

Statement = tuple[str, list[str | None]]
"""A statement, and the values for each `%s` in it."""


class Words(ABC):
    """SQL for the tables of a model. All columns are texts that compare by their bytes."""

    quote: str
    type: str
    key_type: str
    equal: str
    """What holds null equal to null."""
    commits_by_itself: frozenset[str] = frozenset()
    """Actions that end the transaction that they stand in."""

    def name(self, table: TableName) -> str:
        """The table's name, quoted."""
        return f"{self.quoted(table.schema)}.{self.quoted(table.name)}"

    def quoted(self, name: str) -> str:
        """A quoted name."""
        return f"{self.quote}{name}{self.quote}"

    @abstractmethod
    def clear(self, schemas: Sequence[str]) -> list[str]:
        """Statements that leave these schemas there, and empty."""

    def drop(self, schemas: Sequence[str]) -> list[str]:
        """Statements that remove these schemas."""
        return [f"DROP SCHEMA IF EXISTS {self.quoted(one)}" for one in schemas]

    def create(self, schema: TableSchema, refusing: bool = False) -> list[str]:
        """Statements that make a table; where it is `refusing`, with `model_world.refused` as a constraint."""
        columns = [
            f"{self.quoted(c.name)} {self.key_type if c.key else self.type} {'NULL' if c.nullable else 'NOT NULL'}" for c in schema.columns
        ]
        keys = [f"PRIMARY KEY ({', '.join(self.quoted(name) for name in schema.key)})"] if schema.key else []
        rule = ["CHECK (right(w, 1) NOT IN ('0', '2', '4', '6', '8'))"] if refusing else []
        return [f"CREATE TABLE {self.name(schema.table)} ({', '.join([*columns, *keys, *rule])})"]

    def add_x(self, table: TableName) -> str:
        """Add the column that nobody maps."""
        return f"ALTER TABLE {self.name(table)} ADD COLUMN x {self.type} NULL"

    def drop_x(self, table: TableName) -> str:
        """Drop it."""
        return f"ALTER TABLE {self.name(table)} DROP COLUMN x"

    def insert(self, table: TableName, row: Row) -> Statement:
        """Add a row."""
        names = ", ".join(self.quoted(name) for name in row)
        return f"INSERT INTO {self.name(table)} ({names}) VALUES ({', '.join('%s' for _ in row)})", texts(row)

    def update(self, table: TableName, old: Row, new: Row) -> Statement:
        """Set `new` in one row that has `old`."""
        sets = ", ".join(f"{self.quoted(name)} = %s" for name in new)
        return f"UPDATE {self.name(table)} SET {sets} WHERE {self.one(table, old)}", [*texts(new), *texts(old)]

    def delete(self, table: TableName, old: Row) -> Statement:
        """Remove one row that has `old`."""
        return f"DELETE FROM {self.name(table)} WHERE {self.one(table, old)}", texts(old)

    def one(self, table: TableName, old: Row) -> str:
        """The condition of one row that has these values, which are to be given."""
        return " AND ".join(f"{self.quoted(name)} {self.equal} %s" for name in old)


class PostgresWords(Words):
    """PostgreSQL's."""

    quote, equal = '"', "IS NOT DISTINCT FROM"
    type = key_type = 'text COLLATE "C"'

    def clear(self, schemas: Sequence[str]) -> list[str]:
        """See `Words`."""
        return [f'DROP SCHEMA IF EXISTS "{one}" CASCADE' for one in (*schemas, "headwater")] + [f'CREATE SCHEMA "{one}"' for one in schemas]

    def drop(self, schemas: Sequence[str]) -> list[str]:
        """See `Words`."""
        return self.clear(schemas)[: len(schemas) + 1]

    def create(self, schema: TableSchema, refusing: bool = False) -> list[str]:
        """See `Words`. Large values lie outside of the row as they are, so that they are not sent again with every update."""
        outside = [f"ALTER TABLE {self.name(schema.table)} ALTER doc SET STORAGE EXTERNAL" for c in schema.columns if c.name == "doc"]
        return [*super().create(schema, refusing), *outside]

    def one(self, table: TableName, old: Row) -> str:
        """See `Words`."""
        return f"ctid = (SELECT ctid FROM {self.name(table)} WHERE {super().one(table, old)} LIMIT 1)"


class MysqlWords(Words):
    """MariaDB's and MySQL's."""

    quote, equal = "`", "<=>"
    type, key_type = "text COLLATE utf8mb4_bin", "varchar(100) COLLATE utf8mb4_bin"
    commits_by_itself = frozenset({"truncate", "alter"})

    def clear(self, schemas: Sequence[str]) -> list[str]:
        """See `Words`."""
        return [statement for one in schemas for statement in (f"DROP DATABASE IF EXISTS `{one}`", f"CREATE DATABASE `{one}`")]

    def add_x(self, table: TableName) -> str:
        """See `Words`: in front, so that all other columns move."""
        return f"{super().add_x(table)} FIRST"

    def one(self, table: TableName, old: Row) -> str:
        """See `Words`."""
        return f"{super().one(table, old)} LIMIT 1"


def texts(row: Row) -> list[str | None]:
    """Its values, for the driver."""
    return [None if value is None else value.decode() for value in row.values()]


def words_of(database: AnyDatabase) -> Words:
    """Those that the database's server speaks."""
    return MysqlWords() if isinstance(database, MysqlDatabase) else PostgresWords()
