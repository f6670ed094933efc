"""Operations on set-aside rows: list them (with the rows: export), retry, discard."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from headwater.api.payloads.dirty_rows import DirtyRowsBody, DirtyRowsList, DirtyRowsMended, DirtyRowsQuery
from headwater.api.routing import CallerRoute, CurrentCaller
from headwater.api.services import Using

router = APIRouter(
    prefix="/v2/{project_id}/fdi/instances/{instance_id}/tasks/{task_id}/dirty-rows", route_class=CallerRoute, tags=["dirty rows"]
)


@router.get("", operation_id="ListDirtyRows")
def find(task_id: str, query: Annotated[DirtyRowsQuery, Query()], caller: CurrentCaller, using: Using) -> DirtyRowsList:
    """List the rows that the target refused, newest first; with `rows=true` the rows themselves."""
    limit, offset = query.page()
    return DirtyRowsList.of(using.dirty_rows.find(caller.scope, task_id, query.state or "", limit, offset, with_rows=query.rows))


@router.post("/retry", operation_id="RetryDirtyRows")
def retry(task_id: str, body: DirtyRowsBody, caller: CurrentCaller, using: Using) -> DirtyRowsMended:
    """Write set-aside rows again; newer changes of the same rows win."""
    return DirtyRowsMended.of(using.dirty_rows.retry(caller.scope, task_id, body.ids, caller.name))


@router.post("/discard", operation_id="DiscardDirtyRows")
def discard(task_id: str, body: DirtyRowsBody, caller: CurrentCaller, using: Using) -> DirtyRowsMended:
    """Give set-aside rows up; they count no more."""
    return DirtyRowsMended.of(using.dirty_rows.discard(caller.scope, task_id, body.ids, caller.name))
