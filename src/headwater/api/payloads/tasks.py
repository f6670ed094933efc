"""Combined tasks on the wire: init, create, update, reset, list, show, batch start and stop."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from headwater.api.payloads.common import (
    INT64_MAX,
    UPPER,
    Id,
    Query,
    QueryInt,
    QueryText,
    Request,
    Response,
    Text64,
    Text1024,
    given,
)
from headwater.api.payloads.dirty_rows import DirtyRowsPolicy
from headwater.api.payloads.mappings import ExtInfo
from headwater.api.payloads.verifications import verification_members
from headwater.domain.dirty import STOP, DirtyPolicy
from headwater.domain.reset import DATE_FROM_MAX
from headwater.ports.store import Reset
from headwater.services.monitoring import Details, Progress
from headwater.services.pages import LIMIT_MAX, Page
from headwater.services.tasks import BatchOutcome, InitForm, Item, TaskChange, TaskFilter, TaskForm, TaskView

DATE_FROM_SCHEMA = {"type": ["integer", "null"], "minimum": 1, "maximum": DATE_FROM_MAX, "description": "ms since 1970, UTC"}

EXECUTE_STATUS = Literal["UNSTARTED", "WAITING", "RUNNING", "SUCCESS", "CANCELLED", "ERROR"]
Operations = Annotated[list[Literal["INSERT", "UPDATE", "DELETE"]], Field(min_length=1, max_length=3)]
Tag = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")]


class InitBody(Request):
    """Body of init."""

    source_datasource_id: Id | None = None
    target_datasource_id: Id | None = None
    task_id: Id | None = None
    auto_mapping: bool | None = None
    ext_info: ExtInfo | None = None

    def form(self) -> InitForm:
        """For the service."""
        return InitForm(
            self.source_datasource_id or None,
            self.target_datasource_id or None,
            self.task_id or None,
            bool(self.auto_mapping),
            self.ext_info.members() if self.ext_info else {},
        )


class CreateBody(Request):
    """Body of create."""

    task_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{2,99}$", max_length=100)]
    task_id: Id | None = None
    task_type: Annotated[Literal["REALTIME", "TIMING"] | None, UPPER] = None
    description: Text1024 | None = None
    task_tag: Tag | None = None
    operation_types: Operations
    source_app_id: Text64 | None = None
    target_app_id: Text64 | None = None
    dirty_rows: DirtyRowsPolicy | None = Field(None, description="ours: what is done with rows that the target refuses; default: stop")

    def form(self) -> TaskForm:
        """For the service."""
        return TaskForm(
            self.task_name,
            tuple(self.operation_types),
            self.task_id or None,
            given(self.task_type, "REALTIME"),
            given(self.description, ""),
            given(self.task_tag, ""),
            given(self.source_app_id, ""),
            given(self.target_app_id, ""),
            self.dirty_rows.form() if self.dirty_rows else STOP,
        )


class UpdateBody(Request):
    """Body of update; what is left out stays."""

    description: Text1024 | None = None
    task_tag: Tag | None = None
    operation_types: Operations | None = None
    repulling_snapshot: bool | None = Field(None, description="copy all tables again")
    dirty_rows: DirtyRowsPolicy | None = Field(None, description="ours: what is done with rows that the target refuses")

    def change(self) -> TaskChange:
        """For the service."""
        operations = tuple(self.operation_types) if self.operation_types else None
        dirty = self.dirty_rows.form() if self.dirty_rows else None
        return TaskChange(operations, self.description, self.task_tag, bool(self.repulling_snapshot), dirty)


class ResetBody(Request):
    """Body of reset: back to a moment, or without one from the beginning.

    Whatever stands in `date_from` goes to the service, whose refusal also tells the reachable window, and is on record.
    """

    date_from: Annotated[Any, WithJsonSchema(DATE_FROM_SCHEMA)] = None


class TaskRef(Request):
    """A task in a batch; an id may be empty and is then refused for itself."""

    task_id: Id | None = None


class BatchBody(Request):
    """Body of batch start and stop."""

    action_id: Annotated[Literal["START", "STOP"], UPPER]
    tasks: Annotated[list[TaskRef], Field(max_length=9_999)] | None = Field(None, alias="list")

    def ids(self) -> list[str]:
        """The ids, in order."""
        return [given(ref.task_id, "") for ref in self.tasks or ()]


class TaskQuery(Query):
    """Filters of the list. The name filter has three spellings: `name`, `task_name`, `taks_name`."""

    limit: QueryInt = None
    offset: QueryInt = None
    task_id: QueryText = None
    name: QueryText = None
    task_name: QueryText = None
    taks_name: QueryText = None
    status: Annotated[Literal["0", "1"] | None, UPPER] = None
    task_type: Annotated[Literal["REALTIME", "TIMING"] | None, UPPER] = None
    source_datasource_id: QueryText = None
    target_datasource_id: QueryText = None
    datasource_id: QueryText = None
    sort_field: Annotated[Literal["CREATED_DATE", "STATUS"] | None, UPPER] = None
    sort_type: Annotated[Literal["ASC", "DESC"] | None, UPPER] = None
    execute_status: Annotated[EXECUTE_STATUS | None, UPPER] = None
    source_app_id: QueryText = None
    target_app_id: QueryText = None
    task_tag: QueryText = None

    def filter(self) -> TaskFilter:
        """For the service."""
        return TaskFilter(
            task_id=self.task_id,
            name=self.name or self.task_name or self.taks_name,
            running=None if self.status is None else self.status == "1",
            task_type=self.task_type,
            source_id=self.source_datasource_id,
            target_id=self.target_datasource_id,
            data_source_id=self.datasource_id,
            execute_status=self.execute_status,
            source_app_id=self.source_app_id,
            target_app_id=self.target_app_id,
            tag=self.task_tag,
            sort_field=given(self.sort_field, "CREATED_DATE"),
            ascending=self.sort_type == "ASC",
        )

    def page(self) -> tuple[int, int]:
        """Limit and offset for the service."""
        return min(given(self.limit, LIMIT_MAX), INT64_MAX), given(self.offset, 0)


class TaskId(Response):
    """The answer of create and update."""

    task_id: str


class ResetDone(Response):
    """The answer of reset."""

    message: str = "Reset Success"


class BriefTask(Response):
    """A task in the list."""

    task_id: str
    task_name: str
    task_type: str
    status: int = Field(description="0 stopped or never started, 1 running")
    created_date: str = Field(description="ISO 8601, UTC; a text, because the SDK reads it as a date")
    version: str = ""
    last_modified_time: int = Field(description="ms since 1970, UTC")
    execute_status: str
    source_app_id: str
    target_app_id: str
    source_instance_id: str
    target_instance_id: str
    ext_type: str = "CDC"
    enterprise_project_id: str = "0"
    task_tag: str

    @classmethod
    def of(cls, view: TaskView) -> BriefTask:
        """From the service."""
        return cls(
            task_id=view.id,
            task_name=view.name,
            task_type=view.task_type.upper(),
            status=int(view.running),
            created_date=iso(view.created_ms),
            last_modified_time=view.modified_ms,
            execute_status=view.execute_status,
            source_app_id=view.source_app_id,
            target_app_id=view.target_app_id,
            source_instance_id=view.instance_id,
            target_instance_id=view.instance_id,
            task_tag=view.tag,
        )


class TaskList(Response):
    """A page of tasks."""

    total: int
    size: int
    entities: list[BriefTask]

    @classmethod
    def of(cls, page: Page[TaskView]) -> TaskList:
        """From the service."""
        return cls(total=page.total, size=len(page.items), entities=[BriefTask.of(view) for view in page.items])


class TaskBasic(Response):
    """A task's basic attributes. Words are the SDK's here: lower case, `stop` or `running`."""

    task_id: str
    task_name: str
    task_type: str
    status: str
    project_id: str
    source_datasource_id: str | None
    target_datasource_id: str | None
    source_datasource_name: str
    target_datasource_name: str
    source_app_id: str
    target_app_id: str
    source_app_name: str
    target_app_name: str
    created_date: int = Field(description="ms since 1970, UTC")
    last_modified_date: int = Field(description="ms since 1970, UTC")
    description: str
    task_tag: str

    @classmethod
    def of(cls, view: TaskView) -> TaskBasic:
        """From the service."""
        return cls(
            task_id=view.id,
            task_name=view.name,
            task_type=view.task_type.lower(),
            status="running" if view.running else "stop",
            project_id=view.project_id,
            source_datasource_id=view.source_id,
            target_datasource_id=view.target_id,
            source_datasource_name=view.source_name,
            target_datasource_name=view.target_name,
            source_app_id=view.source_app_id,
            target_app_id=view.target_app_id,
            source_app_name=view.source_app_name,
            target_app_name=view.target_app_name,
            created_date=view.created_ms,
            last_modified_date=view.modified_ms,
            description=view.description,
            task_tag=view.tag,
        )


class TaskShown(Response):
    """One task. `task_detail` is a JSON document as a text, as the contract has it; docs/reference/api.md tells its members."""

    task: TaskBasic
    task_detail: str

    @classmethod
    def of(cls, details: Details) -> TaskShown:
        """From the service."""
        return cls(task=TaskBasic.of(details.task), task_detail=json.dumps(task_detail(details)))


class TaskFacade(Response):
    """One task of a batch with its outcome. `details` lists the findings of a refused start one by one (ours)."""

    task_id: str
    task_name: str
    error_code: str | None
    error_msg: str | None
    details: list[str] | None

    @classmethod
    def of(cls, item: Item) -> TaskFacade:
        """From the service."""
        return cls(
            task_id=item.task_id,
            task_name=item.task_name,
            error_code=item.error_code or None,
            error_msg=item.error_message or None,
            details=list(item.details) or None,
        )


class BatchDone(Response):
    """The answer of batch start and stop: always 200, with what worked and what did not."""

    success_count: int
    failure_count: int
    success: list[TaskFacade]
    failure: list[TaskFacade]

    @classmethod
    def of(cls, outcome: BatchOutcome) -> BatchDone:
        """From the service."""
        return cls(
            success_count=len(outcome.success),
            failure_count=len(outcome.failure),
            success=[TaskFacade.of(item) for item in outcome.success],
            failure=[TaskFacade.of(item) for item in outcome.failure],
        )


def iso(ms: int) -> str:
    """A moment as ISO 8601 in UTC, e.g. `2026-01-02T03:04:05.678Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def progress_members(progress: Progress) -> dict[str, Any]:
    """What a task is doing, as JSON: the service's own names, which carry their units."""
    plain = dict(vars(progress))
    plain["tables"] = [vars(table) for table in progress.tables]
    return plain


def dirty_members(policy: DirtyPolicy) -> dict[str, Any]:
    """What a task does with refused rows, as in the bodies of create and update."""
    if not policy.sets_aside:
        return {"policy": "STOP"}
    return {"policy": "SET_ASIDE", "rows_max": policy.rows_max, "rows_per_minute_max": policy.per_minute_max}


def reset_members(reset: Reset) -> dict[str, Any]:
    """A reset on record, as JSON."""
    return {
        "id": reset.id,
        "by": reset.by,
        "accepted_ms": reset.accepted_ms,
        "asked_ms": reset.asked_ms,
        "effective_ms": None if reset.effective_us is None else reset.effective_us // 1000,
        "from_offset": reset.from_offset,
        "to_offset": reset.to_offset,
        "outcome": reset.outcome,
        "message": reset.message,
        "done_ms": reset.done_ms,
    }


def task_detail(details: Details) -> dict[str, Any]:
    """The document in `task_detail`."""
    task = details.task
    return {
        "state": task.state,
        "execute_status": task.execute_status,
        "error_kind": task.error_kind,
        "message": task.message,
        "hint": task.hint,
        "notes": list(task.notes),
        "operation_types": list(task.operations),
        "epoch": task.epoch,
        "dirty_rows": dirty_members(task.dirty),
        "progress": progress_members(details.progress),
        "window": vars(details.window) if details.window else None,
        "last_reset": reset_members(details.last_reset) if details.last_reset else None,
        "last_verification": verification_members(details.last_verification) if details.last_verification else None,
    }
