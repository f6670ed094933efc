"""What all parts of the SQL store share: one transaction per method, errors without values, and insert-or-replace."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql import Select

from headwater.store.errors import StoreError, from_driver
from headwater.store.secrets import SecretBox


def storable(text: str) -> bool:
    """False for a text that no database row can hold (NUL, half a surrogate pair): looking it up finds nothing."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def cleaned(text: str) -> str:
    """A text from outside (what a database or a worker said last) as every database can hold it."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


class SqlPart:
    """The part of a store that talks to one database. Methods are safe to call from any thread."""

    def __init__(self, engine: Engine, box: SecretBox) -> None:
        self._engine = engine
        self._box = box

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """One transaction; errors of the database become StoreErrors without values."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise _integrity(error) from None
        except DBAPIError as error:
            raise from_driver(error) from None
        except PoolTimeout:
            raise StoreError("The metadata store is busy: no connection became free in time.") from None

    def _one(self, query: Select[Any]) -> RowMapping | None:
        with self._transaction() as connection:
            return connection.execute(query).mappings().one_or_none()

    def _all(self, query: Select[Any]) -> Sequence[RowMapping]:
        with self._transaction() as connection:
            return connection.execute(query).mappings().all()

    def _put(self, connection: Connection, table: Table, values: Mapping[str, Any], key: str = "id", keep: Collection[str] = ()) -> None:
        """Insert a row, or replace the one with the same key in all columns but those to `keep`. No other columns: insert if absent."""
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        statement = insert(table).values(**values)
        replaced = {name: statement.excluded[name] for name in values if name != key and name not in keep}
        if replaced:
            connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=replaced))
        else:
            connection.execute(statement.on_conflict_do_nothing(index_elements=[key]))


def _integrity(error: IntegrityError) -> StoreError:
    """`store_exists` for a value that must be unique, `store_gone` for a row whose owner does not exist (any more)."""
    text = str(error.orig).lower()
    if "foreign key" in text:
        return StoreError("What this belongs to is not there any more.", kind="store_gone")
    if "unique" in text:
        return StoreError("That is there already.", kind="store_exists")
    return from_driver(error)
