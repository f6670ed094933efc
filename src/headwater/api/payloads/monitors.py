"""Monitoring on the wire: TaskMonitorInfo, TaskMonitorLog, TaskMonitorDetailLog, TaskStatisticDetails.

Members that the contract lacks (`progress`, `window`, `state`, `message`, `hint`) are ours; clients of the contract ignore them.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from headwater.api.payloads.common import UPPER, Query, QueryInt, QueryText, Response, given
from headwater.api.payloads.tasks import EXECUTE_STATUS, progress_members
from headwater.services.monitoring import Counts, LogStep, MonitorRow, RunLog
from headwater.services.pages import Page

PAGE_ROWS = 10
"""The contract's default page."""


class PageQuery(Query):
    """Paging of the monitors: `offset` counts rows from 1."""

    limit: QueryInt = None
    offset: QueryInt = None

    def page(self) -> tuple[int, int]:
        """Limit and offset for the service."""
        return given(self.limit, PAGE_ROWS), given(self.offset, 1)


class MonitorQuery(PageQuery):
    """Filters of the monitor list."""

    task_name: QueryText = None
    execute_status: Annotated[EXECUTE_STATUS | None, UPPER] = None


class LogQuery(PageQuery):
    """Filters of a task's log; times in ms since 1970, UTC."""

    begin_time: QueryInt = None
    end_time: QueryInt = None


class MonitorInfo(Response):
    """One task in the monitor list."""

    task_id: str
    task_name: str
    task_type: str
    status: int
    last_execute_time: int | None = Field(description="ms since 1970, UTC")
    use_quartz_cron: bool = False
    cron: str | None = None
    period: str | None = None
    dispatch_interval: int | None = None
    position: str
    execute_status: str
    source_app_id: str
    source_app_name: str
    source_instance_id: str
    target_app_id: str
    target_app_name: str
    target_instance_id: str
    ext_type: str = "CDC"
    enterprise_project_id: str = "0"
    task_tag: str
    state: str
    message: str
    hint: str
    progress: dict[str, Any]
    window: dict[str, int] | None = Field(description="`earliest_ms` and `latest_ms` of the source's journal; null where no capture runs")

    @classmethod
    def of(cls, row: MonitorRow) -> MonitorInfo:
        """From the service."""
        task = row.task
        known = row.earliest_ms is not None and row.latest_ms is not None
        return cls(
            task_id=task.id,
            task_name=task.name,
            task_type=task.task_type.upper(),
            status=int(task.running),
            last_execute_time=row.last_execute_ms,
            position=row.position,
            execute_status=task.execute_status,
            source_app_id=task.source_app_id,
            source_app_name=task.source_app_name,
            source_instance_id=task.instance_id,
            target_app_id=task.target_app_id,
            target_app_name=task.target_app_name,
            target_instance_id=task.instance_id,
            task_tag=task.tag,
            state=task.state,
            message=task.message,
            hint=task.hint,
            progress=progress_members(row.progress),
            window={"earliest_ms": row.earliest_ms, "latest_ms": row.latest_ms} if known else None,
        )


class MonitorList(Response):
    """A page of monitors."""

    total: int
    size: int
    entities: list[MonitorInfo]

    @classmethod
    def of(cls, page: Page[MonitorRow]) -> MonitorList:
        """From the service."""
        return cls(total=page.total, size=len(page.items), entities=[MonitorInfo.of(row) for row in page.items])


class DetailLog(Response):
    """One step of a run."""

    id: str
    status: int
    position: str
    position_status: str
    stage: str
    dirty_data_count: int = 0
    data_count: int
    data_size: float | None = None
    data_size_unit: str | None = None
    spend_time: int | None = Field(description="ms; null while it lasts")
    remarks: str
    step_begin_time: int
    step_end_time: int | None

    @classmethod
    def of(cls, step: LogStep) -> DetailLog:
        """From the service."""
        return cls(
            id=step.id,
            status=step.status,
            position=step.position,
            position_status=step.position_status,
            stage=step.stage,
            dirty_data_count=step.dirty,
            data_count=step.rows,
            spend_time=None if step.ended_ms is None else max(0, step.ended_ms - step.began_ms),
            remarks=step.remarks,
            step_begin_time=step.began_ms,
            step_end_time=step.ended_ms,
        )


class MonitorLog(Response):
    """One run."""

    id: str
    start_time: int
    dispatch_time: int
    end_time: int | None
    execute_status: str
    position: str
    position_status: str
    status: int
    dirty_data_count: int = 0
    data_count: int
    data_size: float | None = None
    data_size_unit: str | None = None
    spend_time: int
    read_spend_time: int | None = None
    write_spend_time: int | None = None
    remarks: str
    detail_logs: list[DetailLog]

    @classmethod
    def of(cls, log: RunLog) -> MonitorLog:
        """From the service."""
        return cls(
            id=log.id,
            start_time=log.started_ms,
            dispatch_time=log.started_ms,
            end_time=log.ended_ms,
            execute_status=log.execute_status,
            position=log.position,
            position_status=log.position_status,
            status=log.status,
            dirty_data_count=log.dirty,
            data_count=log.rows,
            spend_time=log.spent_ms,
            remarks=log.remarks,
            detail_logs=[DetailLog.of(step) for step in log.steps],
        )


class MonitorLogList(Response):
    """A page of runs."""

    total: int
    size: int
    entities: list[MonitorLog]

    @classmethod
    def of(cls, page: Page[RunLog]) -> MonitorLogList:
        """From the service."""
        return cls(total=page.total, size=len(page.items), entities=[MonitorLog.of(log) for log in page.items])


class MonitorLogDetail(Response):
    """One run's steps."""

    id: str
    dirty_data_count: int = 0
    detail_logs: list[DetailLog]

    @classmethod
    def of(cls, log: RunLog) -> MonitorLogDetail:
        """From the service."""
        return cls(id=log.id, dirty_data_count=log.dirty, detail_logs=[DetailLog.of(step) for step in log.steps])


class Statistics(Response):
    """Tasks of one kind, by what they are doing."""

    running_tasks_count: int = 0
    abnormal_tasks_count: int = 0
    terminated_tasks_count: int = 0
    completed_tasks_count: int = 0


class TaskCounts(Response):
    """Ordinary tasks (there are none here) and combined ones."""

    common_task_details: Statistics
    cdc_task_details: Statistics

    @classmethod
    def of(cls, counts: Counts) -> TaskCounts:
        """From the service."""
        combined = Statistics(
            running_tasks_count=counts.running,
            abnormal_tasks_count=counts.abnormal,
            terminated_tasks_count=counts.terminated,
            completed_tasks_count=counts.completed,
        )
        return cls(common_task_details=Statistics(), cdc_task_details=combined)
