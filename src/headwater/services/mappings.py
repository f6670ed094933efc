"""Mappings: which source table fills which target table, column by column, checked against both databases as they are now.

A mapping is refused when it could not be applied: a missing table or column, types that can't hold each other's values, no key
by which a row is found on both sides. Automatic mapping takes what fits by name and says of the rest why it was left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from headwater.ports.store import Mapping, Scope, Store
from headwater.services.data_sources import Connections
from headwater.services.locks import TaskLocks
from headwater.services.pages import Page


@dataclass(frozen=True)
class ColumnForm:
    """A column as callers name it; type and length are optional and only compared by the server's own catalogue."""

    name: str
    type: str = ""
    length: str = ""


@dataclass(frozen=True)
class PairForm:
    """A column pair as callers send it; types and lengths are taken from the databases, whatever is sent."""

    source_column: str
    target_column: str
    source_type: str = ""
    source_length: str = ""
    target_type: str = ""
    target_length: str = ""


@dataclass(frozen=True)
class MappingForm:
    """A mapping as callers send it. No `pairs`: columns are paired by name. A bare table name means the default schema.

    No data source ids: those of the task."""

    source_table: str
    target_table: str
    pairs: tuple[PairForm, ...] = ()
    source_columns: tuple[ColumnForm, ...] = ()
    target_columns: tuple[ColumnForm, ...] = ()
    source_id: str | None = None
    target_id: str | None = None
    ext_info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MappingFilter:
    """Which mappings to list; empty lets everything through. Table names match a part, in any case."""

    source_id: str | None = None
    target_id: str | None = None
    source_table: str | None = None
    target_table: str | None = None
    table_name: str | None = None  # either side


@dataclass(frozen=True)
class Unmapped:
    """A source table that automatic mapping left out, and why."""

    source_table: str
    reason: str


@dataclass(frozen=True)
class MappingSet:
    """The mappings of one task with the two data sources that they join. `mappings` is one page of them.

    `Mapping.source_columns`, `target_columns` and `pairs` are in the API's member names already (field_name, field_type,
    field_length; source_column, source_column_type, ...)."""

    task_id: str
    source_id: str | None
    source_name: str
    source_type: str
    source_app_id: str
    target_id: str | None
    target_name: str
    target_type: str
    target_app_id: str
    instance_id: str
    ext_info: dict[str, Any]
    mappings: Page[Mapping]
    unmapped: tuple[Unmapped, ...] = ()


class Mappings:
    """The use cases on mappings. All raise ServiceError: FDI.3180 (404) for a task that the caller can't see, FDI.3023 for a
    running task ('stop it first'), FDI.3037 for a mapping that can't be, FDI.3033 for an unknown mapping (404) or data source."""

    def __init__(self, store: Store, connections: Connections, locks: TaskLocks, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._connections = connections
        self._locks = locks
        self._now_ms = now_ms

    def create(self, scope: Scope, task_id: str, form: MappingForm) -> str:
        """Add a mapping to a task (known from init on) and return its id. The first one of a task without data sources sets them."""
        raise NotImplementedError

    def find(self, scope: Scope, task_id: str, wanted: MappingFilter, limit: int, offset: int) -> MappingSet:
        """The task's mappings, oldest first; `offset` counts rows from 0."""
        raise NotImplementedError

    def update(self, scope: Scope, task_id: str, mapping_id: str, form: MappingForm) -> str:
        """Replace a mapping and return its id. Its table is copied again at the next start when tables or pairs changed."""
        raise NotImplementedError

    def delete(self, scope: Scope, task_id: str, mapping_id: str) -> str:
        """Remove a mapping and return its id. Rows at the target stay."""
        raise NotImplementedError
