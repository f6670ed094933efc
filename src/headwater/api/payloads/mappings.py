"""Mappings on the wire: MultiTaskMappingCreateBody, MultiTaskMappingElement and the set that init and list answer with."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from headwater.api.payloads.common import (
    Id,
    NumberText,
    Query,
    QueryInt,
    QueryText,
    Request,
    Response,
    TableText,
    Text256,
    given,
)
from headwater.ports.store import Mapping
from headwater.services.mappings import ColumnForm, MappingFilter, MappingForm, MappingSet, PairForm
from headwater.services.pages import LIMIT_MAX

COLUMNS_MAX = 9_999


class ExtInfo(Request):
    """Further attributes: the id by which a task reads a MySQL binlog."""

    server_id: NumberText | None = None

    def members(self) -> dict[str, Any]:
        """All members that carry a value."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class ColumnBody(Request):
    """A column as a caller names it."""

    field_name: Annotated[str, Field(min_length=1, max_length=256)]
    field_type: Text256 | None = None
    field_length: NumberText | None = None

    def form(self) -> ColumnForm:
        """For the service."""
        return ColumnForm(self.field_name, given(self.field_type, ""), given(self.field_length, ""))


class MappingInfo(Request):
    """A column pair."""

    source_column: Annotated[str, Field(min_length=1, max_length=256)]
    target_column: Annotated[str, Field(min_length=1, max_length=256)]
    source_column_type: Text256 | None = None
    source_column_length: NumberText | None = None
    target_column_type: Text256 | None = None
    target_column_length: NumberText | None = None

    def form(self) -> PairForm:
        """For the service."""
        return PairForm(
            self.source_column,
            self.target_column,
            given(self.source_column_type, ""),
            given(self.source_column_length, ""),
            given(self.target_column_type, ""),
            given(self.target_column_length, ""),
        )


class MappingBody(Request):
    """Body of create and update. Without `mapping_columns` columns are paired by name.

    `mapping`, the name of that list in answers, is taken as well, so that an answer can be sent back changed.
    """

    source_table: TableText
    target_table: TableText
    source_datasource_id: Id | None = None
    target_datasource_id: Id | None = None
    source_columns: Annotated[list[ColumnBody], Field(max_length=COLUMNS_MAX)] | None = None
    target_columns: Annotated[list[ColumnBody], Field(max_length=COLUMNS_MAX)] | None = None
    mapping_columns: Annotated[list[MappingInfo], Field(max_length=COLUMNS_MAX)] | None = None
    mapping: Annotated[list[MappingInfo], Field(max_length=COLUMNS_MAX)] | None = None
    ext_info: ExtInfo | None = None

    def form(self) -> MappingForm:
        """For the service."""
        pairs = self.mapping if self.mapping_columns is None else self.mapping_columns
        return MappingForm(
            self.source_table,
            self.target_table,
            tuple(pair.form() for pair in given(pairs, [])),
            tuple(column.form() for column in given(self.source_columns, [])),
            tuple(column.form() for column in given(self.target_columns, [])),
            self.source_datasource_id or None,
            self.target_datasource_id or None,
            self.ext_info.members() if self.ext_info else {},
        )


class MappingQuery(Query):
    """Filters of the list."""

    limit: QueryInt = None
    offset: QueryInt = None
    source_datasource_id: QueryText = None
    target_datasource_id: QueryText = None
    source_table: QueryText = None
    target_table: QueryText = None
    table_name: QueryText = None

    def filter(self) -> MappingFilter:
        """For the service."""
        return MappingFilter(self.source_datasource_id, self.target_datasource_id, self.source_table, self.target_table, self.table_name)

    def page(self) -> tuple[int, int]:
        """Limit and offset for the service."""
        return given(self.limit, LIMIT_MAX), given(self.offset, 0)


class MappingId(Response):
    """The answer of create, update and delete."""

    mapping_id: str


class MappingElement(Response):
    """A mapping as it is shown."""

    id: str
    source_table: str
    target_table: str
    updated_time: int = Field(description="ms since 1970, UTC")
    mapping_percent: int
    status: str
    source_columns: list[dict[str, str]]
    target_columns: list[dict[str, str]]
    mapping: list[dict[str, str]]

    @classmethod
    def of(cls, mapping: Mapping) -> MappingElement:
        """From the service."""
        return cls(
            id=mapping.id,
            source_table=mapping.source_table,
            target_table=mapping.target_table,
            updated_time=mapping.updated_ms,
            mapping_percent=mapping.percent,
            status=mapping.status,
            source_columns=list(mapping.source_columns),
            target_columns=list(mapping.target_columns),
            mapping=list(mapping.pairs),
        )


class UnmappedElement(Response):
    """A source table that automatic mapping left out, and why. Ours; clients of the contract ignore it."""

    source_table: str
    reason: str


class MappingSetRsp(Response):
    """The mappings of one task with the two data sources that they join."""

    ext_info: dict[str, Any]
    task_id: str
    source_datasource_id: str | None
    target_datasource_id: str | None
    source_group: str = "SOURCE_GROUP1"
    target_group: str = "TARGET_GROUP1"
    source_ds_id: str | None
    target_ds_id: str | None
    source_instance_id: str
    target_instance_id: str
    source_app_id: str
    target_app_id: str
    source_datasource_name: str
    target_datasource_name: str
    source_datasource_type: str
    target_datasource_type: str
    mappings: list[MappingElement]
    mappings_total_count: int
    unmapped: list[UnmappedElement]

    @classmethod
    def of(cls, found: MappingSet) -> MappingSetRsp:
        """From the service."""
        return cls(
            ext_info=found.ext_info,
            task_id=found.task_id,
            source_datasource_id=found.source_id,
            target_datasource_id=found.target_id,
            source_ds_id=found.source_id,
            target_ds_id=found.target_id,
            source_instance_id=found.instance_id,
            target_instance_id=found.instance_id,
            source_app_id=found.source_app_id,
            target_app_id=found.target_app_id,
            source_datasource_name=found.source_name,
            target_datasource_name=found.target_name,
            source_datasource_type=found.source_type,
            target_datasource_type=found.target_type,
            mappings=[MappingElement.of(mapping) for mapping in found.mappings.items],
            mappings_total_count=found.mappings.total,
            unmapped=[UnmappedElement(source_table=table.source_table, reason=table.reason) for table in found.unmapped],
        )
