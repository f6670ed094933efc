"""Operations on combined tasks: init, create, update, their mappings, and the reset."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from headwater.api.payloads.mappings import MappingBody, MappingId, MappingQuery, MappingSetRsp
from headwater.api.payloads.tasks import CreateBody, InitBody, ResetBody, ResetDone, TaskId, UpdateBody
from headwater.api.routing import CallerRoute, CurrentCaller
from headwater.api.services import Using

router = APIRouter(prefix="/v2/{project_id}/fdi/instances/{instance_id}/multi-tasks", route_class=CallerRoute, tags=["combined tasks"])


@router.post("/init", operation_id="InstallMultiTasks")
def init(body: InitBody, caller: CurrentCaller, using: Using) -> list[MappingSetRsp]:
    """Give out a task id; with `auto_mapping` map what fits by name. The first 10 mappings come back."""
    return [MappingSetRsp.of(using.tasks.init(caller.scope, body.form()))]


@router.post("", operation_id="CreateMultiTasks")
def create(body: CreateBody, caller: CurrentCaller, using: Using) -> TaskId:
    """Save a combined task; it stands still until it is started."""
    return TaskId(task_id=using.tasks.create(caller.scope, body.form()))


@router.put("/{task_id}", operation_id="UpdateMultiTasks")
def update(task_id: str, body: UpdateBody, caller: CurrentCaller, using: Using) -> TaskId:
    """Change a combined task; `repulling_snapshot` copies its tables again."""
    return TaskId(task_id=using.tasks.update(caller.scope, task_id, body.change(), caller.name))


@router.post("/{task_id}/mappings", operation_id="CreateMultiTaskMappings")
def create_mapping(task_id: str, body: MappingBody, caller: CurrentCaller, using: Using) -> MappingId:
    """Add a mapping."""
    return MappingId(mapping_id=using.mappings.create(caller.scope, task_id, body.form()))


@router.get("/{task_id}/mappings", operation_id="ListMultiTaskMappings")
def mappings(task_id: str, query: Annotated[MappingQuery, Query()], caller: CurrentCaller, using: Using) -> MappingSetRsp:
    """List mappings, oldest first."""
    return MappingSetRsp.of(using.mappings.find(caller.scope, task_id, query.filter(), *query.page()))


@router.put("/{task_id}/mappings/{mapping_id}", operation_id="UpdateMultiTaskMappings")
def update_mapping(task_id: str, mapping_id: str, body: MappingBody, caller: CurrentCaller, using: Using) -> MappingId:
    """Replace a mapping."""
    return MappingId(mapping_id=using.mappings.update(caller.scope, task_id, mapping_id, body.form()))


@router.delete("/{task_id}/mappings/{mapping_id}", operation_id="DeleteMultiTaskMapping")
def delete_mapping(task_id: str, mapping_id: str, caller: CurrentCaller, using: Using) -> MappingId:
    """Remove a mapping; rows at the target stay."""
    return MappingId(mapping_id=using.mappings.delete(caller.scope, task_id, mapping_id))


@router.post("/{task_id}/reset", operation_id="ResetMultiTaskOffset")
def reset(task_id: str, body: ResetBody, caller: CurrentCaller, using: Using) -> ResetDone:
    """Take the task back to a moment, or without one to the beginning; a running task runs on from there."""
    using.resets.reset(caller.scope, task_id, body.date_from, caller.name)
    return ResetDone()
