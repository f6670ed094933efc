"""Data sources: the saved connections, and what one can see through them.

Content comes in as the API's `Content` with its secrets in the clear; secrets are split off at once, stored encrypted and never
given back. Fields that we don't use are kept as they came. Only kinds with an adapter are accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from headwater.ports.source import Source
from headwater.ports.store import DataSource, Scope, Store
from headwater.ports.target import Target
from headwater.services.pages import Page

Side = Literal["SOURCE", "TARGET"]


@dataclass(frozen=True)
class DataSourceForm:
    """What a caller sends to create, update or test a data source. `content` holds secrets: never log it."""

    name: str
    type: str
    app_id: str
    content: dict[str, Any]
    description: str = ""


@dataclass(frozen=True)
class DataSourceView:
    """A data source as it is shown: `content` without secrets. Times in ms since 1970, UTC."""

    id: str
    name: str
    type: str
    app_id: str
    app_name: str
    instance_id: str
    description: str
    content: dict[str, Any]
    created_ms: int
    modified_ms: int


@dataclass(frozen=True)
class DataSourceFilter:
    """Which data sources to list; None or an empty text lets everything through. `name` matches a part, in any case."""

    type: str | None = None
    name: str | None = None
    app_id: str | None = None
    custom_plugin_id: str | None = None  # we have no custom connectors: any value matches nothing
    customized: bool | None = None  # likewise: true matches nothing
    ascending: bool = False  # by creation time; the contract's default is newest first


@dataclass(frozen=True)
class ColumnView:
    """A column as the API shows it: the bare type, with its length and decimal places apart (None where it has none)."""

    name: str
    type: str
    length: str | None
    decimal_digits: str | None
    nullable: bool
    key: bool


@dataclass(frozen=True)
class Connections:
    """How services reach databases; making a Source or Target connects to nothing."""

    source: Callable[[DataSource], Source]
    target: Callable[[DataSource], Target]


class DataSources:
    """The use cases on data sources. Every method raises ServiceError (see `errors.py`); unknown ids are FDI.3033 with 404."""

    def __init__(self, store: Store, connections: Connections, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._connections = connections
        self._now_ms = now_ms

    def create(self, scope: Scope, form: DataSourceForm) -> DataSourceView:
        """Save a new data source; nothing is connected to."""
        raise NotImplementedError

    def find(self, scope: Scope, wanted: DataSourceFilter, limit: int, offset: int) -> Page[DataSourceView]:
        """The matching data sources; `offset` counts rows from 0."""
        raise NotImplementedError

    def show(self, scope: Scope, data_source_id: str) -> DataSourceView:
        """One data source."""
        raise NotImplementedError

    def update(self, scope: Scope, data_source_id: str, form: DataSourceForm) -> DataSourceView:
        """Replace all but the type; secrets that are left out (or empty) keep their old value.

        Allowed while a running task uses it: its workers are replaced by ones that use the new connection.
        Refused: another type (FDI.3033), another server under a task that has started (FDI.3023)."""
        raise NotImplementedError

    def delete(self, scope: Scope, data_source_id: str) -> None:
        """Remove it, after what we made at the source has been dropped.

        Refused with FDI.3033 while a task uses it (the message names the tasks), or where the source can't be
        reached to drop our slot and publication (the message says how to go on)."""
        raise NotImplementedError

    def test_connect(self, scope: Scope, data_source_id: str, form: DataSourceForm | None = None) -> bool:
        """Connect with the saved connection, or with the changed one in `form` before it is saved; true when it works.

        Raises FDI.3016 with the server's reason (without secrets) when it doesn't."""
        raise NotImplementedError

    def tables(self, scope: Scope, data_source_id: str, side: Side, filter: str = "") -> list[str]:
        """Names `schema.table` of the tables that can be mapped, in order; `filter` matches a part in any case."""
        raise NotImplementedError

    def columns(self, scope: Scope, data_source_id: str, side: Side, table: str) -> list[ColumnView]:
        """The columns of one table. Raises FDI.3033 `[table_name]` where there is no such table."""
        raise NotImplementedError
