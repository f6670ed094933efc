"""Data sources on the wire: DatasourceInfo, DataSourceRsp, ColumnInfo and the listings."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from headwater.api.payloads.common import UPPER, NumberText, Query, QueryInt, QueryText, Request, Response, Text1024, given
from headwater.services.data_sources import ColumnView, DataSourceFilter, DataSourceForm, DataSourceView, Side
from headwater.services.errors import invalid
from headwater.services.pages import LIMIT_MAX, Page

CONTENT_CHARS_MAX = 1_000_000

_DISPLAY_NAMES = {
    "POSTGRESQL/OPENGAUSS": "POSTGRESQL",
    "SQL SERVER": "SQLSERVER",
    "GAUSSDB(FOR MYSQL)": "TAURUS",
    "IBM MQ": "IBMMQ",
    "MRS HBASE": "MRSHBASE",
    "MRS HDFS": "MRSHDFS",
    "MRS HIVE": "MRSHIVE",
    "MRS KAFKA": "MRSKAFKA",
}


def _type_name(value: Any) -> Any:
    """The API's type name, also from the display name that newer documents print."""
    if not isinstance(value, str):
        return value
    upper = value.strip().upper()
    return _DISPLAY_NAMES.get(upper, upper) or None


TypeName = Annotated[str, BeforeValidator(_type_name), Field(max_length=32)]


class Content(Request):
    """Connection details. Members that are not listed here are kept as they come."""

    model_config = ConfigDict(strict=True, extra="allow")

    host: Annotated[str, Field(max_length=255)] | None = None
    port: NumberText | None = None
    database_name: Annotated[str, Field(max_length=255)] | None = None
    user_name: Annotated[str, Field(max_length=255)] | None = None
    password: Annotated[str, Field(max_length=4096)] | None = Field(None, description="never given back")
    mode: Annotated[str, Field(max_length=64)] | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Content:
        if len(json.dumps(self.model_extra)) > CONTENT_CHARS_MAX:
            raise ValueError(f"all members together should have at most {CONTENT_CHARS_MAX} characters")
        return self

    def members(self) -> dict[str, Any]:
        """All members that carry a value."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class DatasourceInfo(Request):
    """Body of create and update."""

    datasource_name: Annotated[str, Field(min_length=1, max_length=255, pattern=r"""^[^&<>"'()]+$""")]
    datasource_type: TypeName
    app_id: Annotated[str, Field(max_length=255)]
    content: Content
    description: Text1024 | None = None

    def form(self) -> DataSourceForm:
        """For the service."""
        return DataSourceForm(self.datasource_name, self.datasource_type, self.app_id, self.content.members(), given(self.description, ""))


class TestConnect(Request):
    """Body of test-connect: nothing tests what is saved; with `content` the changed connection is tested before it is saved."""

    __test__ = False

    datasource_name: Annotated[str, Field(max_length=255)] | None = None
    datasource_type: TypeName | None = None
    app_id: Annotated[str, Field(max_length=255)] | None = None
    content: Content | None = None
    description: Text1024 | None = None

    def form(self, saved: DataSourceView) -> DataSourceForm | None:
        """For the service; what is left out is as saved."""
        if self.content is None:
            return None
        return DataSourceForm(
            given(self.datasource_name, saved.name),
            given(self.datasource_type, saved.type),
            given(self.app_id, saved.app_id),
            self.content.members(),
            given(self.description, saved.description),
        )


class DatasourceQuery(Query):
    """Filters of the list."""

    limit: QueryInt = None
    offset: QueryInt = None
    datasource_type: Annotated[Annotated[str, Field(max_length=32)] | None, BeforeValidator(_type_name)] = None
    sort_field: Annotated[Literal["CREATED_DATE"] | None, UPPER] = None
    sort_type: Annotated[Literal["ASC", "DESC"] | None, UPPER] = None
    name: QueryText = None
    app_id: QueryText = None
    custom_plugin_id: QueryText = None
    customized: Annotated[Literal["TRUE", "FALSE"] | None, UPPER] = None

    def filter(self) -> DataSourceFilter:
        """For the service."""
        customized = None if self.customized is None else self.customized == "TRUE"
        return DataSourceFilter(self.datasource_type, self.name, self.app_id, self.custom_plugin_id, customized, self.sort_type == "ASC")

    def page(self) -> tuple[int, int]:
        """Limit and offset for the service."""
        return given(self.limit, LIMIT_MAX), given(self.offset, 0)


class SideQuery(Query):
    """On which side of a task a data source is looked at: `position` to the SDK, `direction_type` to the documents."""

    position: Annotated[Literal["SOURCE", "TARGET"] | None, UPPER] = None
    direction_type: Annotated[Literal["SOURCE", "TARGET"] | None, UPPER] = None

    def side(self) -> Side:
        """The one that was given.

        Raises:
            ServiceError: neither was, or both and not the same.
        """
        if self.position and self.direction_type and self.position != self.direction_type:
            raise invalid("direction_type", "it contradicts position; give one of them.")
        side = self.position or self.direction_type
        if side is None:
            raise invalid("direction_type", "is missing; SOURCE or TARGET (position is taken as well).")
        return side


class TablesQuery(SideQuery):
    """Filters of the table list."""

    filter: QueryText = None
    db_schema: QueryText = None


class ColumnsQuery(SideQuery):
    """Whose columns."""

    table_name: QueryText = None


class DataSourceRsp(Response):
    """A data source as it is shown; `content` without secrets."""

    datasource_id: str
    datasource_name: str
    datasource_type: str
    vpc_id: str | None = None
    app_id: str
    app_name: str
    instance_id: str
    create_time: int = Field(description="ms since 1970, UTC")
    update_time: int = Field(description="ms since 1970, UTC")
    custom_plugin_id: str | None = None
    content: dict[str, Any]
    description: str
    app_permission: tuple[str, ...] = ("read", "access", "delete", "modify")

    @classmethod
    def of(cls, view: DataSourceView) -> DataSourceRsp:
        """From the service."""
        return cls(
            datasource_id=view.id,
            datasource_name=view.name,
            datasource_type=view.type,
            app_id=view.app_id,
            app_name=view.app_name,
            instance_id=view.instance_id,
            create_time=view.created_ms,
            update_time=view.modified_ms,
            content=view.content,
            description=view.description,
        )


class DataSourceList(Response):
    """A page of data sources."""

    total: int
    size: int
    entities: list[DataSourceRsp]

    @classmethod
    def of(cls, page: Page[DataSourceView]) -> DataSourceList:
        """From the service."""
        return cls(total=page.total, size=len(page.items), entities=[DataSourceRsp.of(view) for view in page.items])


class ColumnInfo(Response):
    """A column. `primary` and `unique` are `1` or `0` (the SDK types them as texts of one character), `null_able` is `true` or `false`."""

    field_name: str
    field_type: str
    field_length: str | None
    null_able: str
    is_partition: bool = False
    primary: str
    unique: str
    decimal_digits: str | None

    @classmethod
    def of(cls, view: ColumnView) -> ColumnInfo:
        """From the service."""
        key = "1" if view.key else "0"
        return cls(
            field_name=view.name,
            field_type=view.type,
            field_length=view.length,
            null_able="true" if view.nullable else "false",
            primary=key,
            unique=key,
            decimal_digits=view.decimal_digits,
        )


class Tables(Response):
    """Table names `schema.table`."""

    tables: list[str]


class Columns(Response):
    """Columns in the table's order."""

    columns: list[ColumnInfo]


class TestResult(Response):
    """The outcome of test-connect."""

    __test__ = False

    result: bool
