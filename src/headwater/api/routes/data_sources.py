"""Operations on data sources."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from headwater.api.payloads.data_sources import (
    ColumnInfo,
    Columns,
    ColumnsQuery,
    DatasourceInfo,
    DataSourceList,
    DatasourceQuery,
    DataSourceRsp,
    Tables,
    TablesQuery,
    TestConnect,
    TestResult,
)
from headwater.api.routing import CallerRoute, CurrentCaller
from headwater.api.services import Using
from headwater.services.errors import invalid

router = APIRouter(prefix="/v2/{project_id}/fdi/instances/{instance_id}/datasources", route_class=CallerRoute, tags=["data sources"])


@router.post("", operation_id="CreateDatasourceInfo")
def create(body: DatasourceInfo, caller: CurrentCaller, using: Using) -> DataSourceRsp:
    """Save a connection."""
    return DataSourceRsp.of(using.data_sources.create(caller.scope, body.form()))


@router.get("", operation_id="ListDatasources")
def find(query: Annotated[DatasourceQuery, Query()], caller: CurrentCaller, using: Using) -> DataSourceList:
    """List connections, newest first."""
    return DataSourceList.of(using.data_sources.find(caller.scope, query.filter(), *query.page()))


@router.get("/{datasource_id}", operation_id="ShowDataourceDetail")
def show(datasource_id: str, caller: CurrentCaller, using: Using) -> DataSourceRsp:
    """Show one connection, without its secrets."""
    return DataSourceRsp.of(using.data_sources.show(caller.scope, datasource_id))


@router.put("/{datasource_id}", operation_id="UpdateDatasourceInfo")
def update(datasource_id: str, body: DatasourceInfo, caller: CurrentCaller, using: Using) -> DataSourceRsp:
    """Replace a connection; secrets that are left out stay."""
    return DataSourceRsp.of(using.data_sources.update(caller.scope, datasource_id, body.form()))


@router.delete("/{datasource_id}", operation_id="DeleteDatasourceInfoById", status_code=204)
def delete(datasource_id: str, caller: CurrentCaller, using: Using) -> Response:
    """Delete a connection that no task uses."""
    using.data_sources.delete(caller.scope, datasource_id)
    return Response(status_code=204)


@router.post("/{datasource_id}/test-connect", operation_id="StartTestDatasource")
def test_connect(datasource_id: str, body: TestConnect, caller: CurrentCaller, using: Using) -> TestResult:
    """Connect once: with what is saved, or with the connection in the body before it is saved."""
    form = body.form(using.data_sources.show(caller.scope, datasource_id)) if body.content else None
    return TestResult(result=using.data_sources.test_connect(caller.scope, datasource_id, form))


@router.get("/{datasource_id}/tables", operation_id="ListDatasourceTables")
def tables(datasource_id: str, query: Annotated[TablesQuery, Query()], caller: CurrentCaller, using: Using) -> Tables:
    """List the tables that can be mapped, as `schema.table`."""
    found = using.data_sources.tables(caller.scope, datasource_id, query.side(), query.filter or "")
    return Tables(tables=[name for name in found if not query.db_schema or name.startswith(f"{query.db_schema}.")])


@router.get("/{datasource_id}/columns", operation_id="ListDatasourceColumns")
def columns(datasource_id: str, query: Annotated[ColumnsQuery, Query()], caller: CurrentCaller, using: Using) -> Columns:
    """List the columns of one table."""
    side = query.side()
    if not query.table_name:
        raise invalid("table_name", "is missing.")
    found = using.data_sources.columns(caller.scope, datasource_id, side, query.table_name)
    return Columns(columns=[ColumnInfo.of(column) for column in found])
