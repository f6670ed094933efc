"""Creating the target tables of a task: an extension beside the contract's operations."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.api.payloads.creation import CreateTablesBody, CreationList, CreationRsp
from headwater.api.routing import CallerRoute, CurrentCaller
from headwater.api.services import Using

router = APIRouter(prefix="/v2/{project_id}/fdi/instances/{instance_id}/tasks/{task_id}", route_class=CallerRoute, tags=["tables"])


@router.post("/target-tables", operation_id="CreateTargetTables")
def create(task_id: str, body: CreateTablesBody, caller: CurrentCaller, using: Using) -> CreationList:
    """Create the target tables that are missing, after those of the source; with `dry_run` only show the statements."""
    made = using.creation.create(caller.scope, task_id, body.tables or [], bool(body.dry_run))
    return CreationList(tables=[CreationRsp.of(one) for one in made])
