"""Data sources and leftovers in SQL. All secrets of a data source are one sealed cell."""

from __future__ import annotations

import json
from dataclasses import asdict

from sqlalchemy import RowMapping, delete, select, update

from headwater.ports.store import DataSource, Leftover, Scope
from headwater.store.base import SqlPart, cleaned, storable
from headwater.store.errors import StoreError
from headwater.store.schema import data_sources, leftovers


def _place(data_source_id: str) -> str:
    return f"data_sources.secrets.{data_source_id}"


class SqlDataSources(SqlPart):
    """`DataSourceStore` on SQL."""

    def data_source(self, data_source_id: str, scope: Scope | None = None) -> DataSource | None:
        """See the port."""
        if not storable(data_source_id):
            return None
        query = select(data_sources).where(data_sources.c.id == data_source_id)
        if scope is not None:
            query = query.where(data_sources.c.project_id == scope.project_id, data_sources.c.instance_id == scope.instance_id)
        row = self._one(query)
        return None if row is None else self._data_source(row)

    def data_sources(self, scope: Scope | None = None) -> list[DataSource]:
        """See the port."""
        query = select(data_sources).order_by(data_sources.c.seq)
        if scope is not None:
            query = query.where(data_sources.c.project_id == scope.project_id, data_sources.c.instance_id == scope.instance_id)
        return [self._data_source(row) for row in self._all(query)]

    def save_data_source(self, data_source: DataSource) -> None:
        """See the port."""
        values = {name: getattr(data_source, name) for name in DataSource.__dataclass_fields__ if name != "scope"}
        values |= {"project_id": data_source.scope.project_id, "instance_id": data_source.scope.instance_id}
        values["secrets"] = self._box.seal(json.dumps(data_source.secrets).encode(), _place(data_source.id))
        with self._transaction() as connection:
            self._put(connection, data_sources, values, keep=("history", "published"))

    def set_published(self, data_source_id: str, published: bool) -> None:
        """See the port."""
        with self._transaction() as connection:
            connection.execute(update(data_sources).where(data_sources.c.id == data_source_id).values(published=published))

    def renew_history(self, data_source_id: str) -> int:
        """See the port."""
        change = update(data_sources).where(data_sources.c.id == data_source_id).values(history=data_sources.c.history + 1)
        with self._transaction() as connection:
            history = connection.execute(change.returning(data_sources.c.history)).scalar_one_or_none()
        if history is None:
            raise StoreError(f"There is no data source {data_source_id}.", kind="store_gone")
        return int(history)

    def delete_data_source(self, data_source_id: str) -> None:
        """See the port."""
        with self._transaction() as connection:
            connection.execute(delete(data_sources).where(data_sources.c.id == data_source_id))

    def save_leftover(self, leftover: Leftover) -> None:
        """See the port."""
        try:
            with self._transaction() as connection:
                self._put(connection, leftovers, asdict(leftover) | {"message": cleaned(leftover.message)})
        except StoreError as error:
            if error.kind != "store_gone":
                raise

    def leftovers(self, data_source_id: str | None = None) -> list[Leftover]:
        """See the port."""
        query = select(leftovers).order_by(leftovers.c.seq)
        if data_source_id is not None:
            query = query.where(leftovers.c.data_source_id == data_source_id)
        return [Leftover(**{name: row[name] for name in Leftover.__dataclass_fields__}) for row in self._all(query)]

    def delete_leftover(self, leftover_id: str) -> None:
        """See the port."""
        with self._transaction() as connection:
            connection.execute(delete(leftovers).where(leftovers.c.id == leftover_id))

    def _data_source(self, row: RowMapping) -> DataSource:
        values = {name: row[name] for name in DataSource.__dataclass_fields__ if name != "scope"}
        values["secrets"] = json.loads(self._box.open(row["secrets"], _place(row["id"])))
        return DataSource(scope=Scope(row["project_id"], row["instance_id"]), **values)
