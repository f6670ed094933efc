"""Operations on all tasks: list, show, delete, start and stop, monitors, statistics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from headwater.api.payloads.monitors import LogQuery, MonitorList, MonitorLogDetail, MonitorLogList, MonitorQuery, TaskCounts
from headwater.api.payloads.tasks import BatchBody, BatchDone, TaskList, TaskQuery, TaskShown
from headwater.api.routing import CallerRoute, CurrentCaller
from headwater.api.services import Using

router = APIRouter(prefix="/v2/{project_id}/fdi/instances/{instance_id}", route_class=CallerRoute, tags=["tasks"])


@router.get("/tasks", operation_id="ListTasks")
def find(query: Annotated[TaskQuery, Query()], caller: CurrentCaller, using: Using) -> TaskList:
    """List tasks, newest first."""
    return TaskList.of(using.tasks.find(caller.scope, query.filter(), *query.page()))


@router.get("/tasks/{task_id}", operation_id="ShowTask")
def show(task_id: str, caller: CurrentCaller, using: Using) -> TaskShown:
    """Show one task with its progress, the window that a reset can reach, and its last reset."""
    return TaskShown.of(using.monitoring.details(caller.scope, task_id))


@router.delete("/tasks/{task_id}", operation_id="DeleteTask", status_code=204)
def delete(task_id: str, caller: CurrentCaller, using: Using) -> Response:
    """Delete a stopped task; rows at the target stay."""
    using.tasks.delete(caller.scope, task_id)
    return Response(status_code=204)


@router.post("/batch-operation/tasks", operation_id="BatchStartOrStopTasks")
def start_or_stop(body: BatchBody, caller: CurrentCaller, using: Using) -> BatchDone:
    """Start or stop up to 10 tasks, each for itself."""
    operate = using.tasks.start if body.action_id == "START" else using.tasks.stop
    return BatchDone.of(operate(caller.scope, body.ids()))


@router.get("/task-monitors", operation_id="ListMonitorInfos")
def monitors(query: Annotated[MonitorQuery, Query()], caller: CurrentCaller, using: Using) -> MonitorList:
    """What all tasks are doing."""
    return MonitorList.of(using.monitoring.monitors(caller.scope, *query.page(), query.task_name or "", query.execute_status or ""))


@router.get("/tasks/{task_id}/monitor-logs", operation_id="ListMonitorLog")
def logs(task_id: str, query: Annotated[LogQuery, Query()], caller: CurrentCaller, using: Using) -> MonitorLogList:
    """A task's runs, newest first."""
    return MonitorLogList.of(using.monitoring.logs(caller.scope, task_id, *query.page(), query.begin_time, query.end_time))


@router.get("/tasks/{task_id}/monitor-logs/{tracking_id}", operation_id="ShowMonitorLogDetail")
def log(task_id: str, tracking_id: str, caller: CurrentCaller, using: Using) -> MonitorLogDetail:
    """One run, step by step."""
    return MonitorLogDetail.of(using.monitoring.log(caller.scope, task_id, tracking_id))


@router.get("/statistics/tasks", operation_id="CountTasks")
def count(caller: CurrentCaller, using: Using) -> TaskCounts:
    """How many tasks are doing what."""
    return TaskCounts.of(using.monitoring.count(caller.scope))
