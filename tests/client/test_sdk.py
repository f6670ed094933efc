"""The official SDK against the program as its users run it: unchanged clients work, through the whole life of a task."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huaweicloudsdkroma.v2 as roma
import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException

from tests.databases import Database, content, wait_until
from tests.programs import Service, initialised

pytestmark = pytest.mark.filterwarnings("ignore:Unable to convert string to date:ImportWarning")  # the SDK's, without python-dateutil

TABLES = (
    "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL)",
    'CREATE TABLE "Orders" (id bigint PRIMARY KEY, customer bigint, amount numeric(12,2), "no te" varchar(60))',
)
FILL = (
    "INSERT INTO customers SELECT i, 'name ' || i FROM generate_series(1, 300) i",
    """INSERT INTO "Orders" SELECT i, i % 300 + 1, i * 1.5, 'ü' FROM generate_series(1, 700) i""",
)


class Sdk:
    """The SDK's client with the ids that every request repeats."""

    def __init__(self, address: str, access: dict[str, Any], project_id: str | None = None) -> None:
        self.access = access
        keys = BasicCredentials(access["access_key"], access["secret_key"], project_id or access["project_id"])
        self.client = roma.RomaClient.new_builder().with_credentials(keys).with_endpoint(address).build()

    def call(self, method: str, **members: Any) -> Any:
        """`method` with its request object, whose class follows the SDK's naming."""
        name = "".join(part.capitalize() for part in method.split("_")) + "Request"
        return getattr(self.client, method)(getattr(roma, name)(instance_id=self.access["instance_id"], **members))

    def data_source(self, name: str, database: Database) -> str:
        body = roma.DatasourceInfo(name, "POSTGRESQL", self.access["app_id"], roma.Content(**content(database)), "made by the SDK")
        made = self.call("create_datasource_info", body=body)
        assert (made.datasource_name, made.datasource_type, made.content.password) == (name, "POSTGRESQL", None)
        return str(made.datasource_id)

    def operate(self, action: str, task_id: str) -> Any:
        return self.call("batch_start_or_stop_tasks", body=roma.OperateTasksBean(action, [roma.TaskBean(task_id)]))

    def monitor(self, task_id: str) -> Any:
        found = [row for row in self.call("list_monitor_infos").entities if row.task_id == task_id]
        assert len(found) == 1
        return found[0]


@pytest.fixture
def sdk(tmp_path: Path) -> Iterator[Sdk]:
    access = initialised(tmp_path)
    with Service(tmp_path, access) as service:
        yield Sdk(service.address, access)


def rows(database: Database) -> list[list[tuple[Any, ...]]]:
    return [database.rows(f'SELECT * FROM "{table}" ORDER BY 1') for table in ("customers", "Orders")]


def same(source: Database, target: Database) -> None:
    wait_until(lambda: rows(source) == rows(target), 90, "the target to be equal")


@pytest.mark.slow
def test_the_whole_life_of_a_combined_task(sdk: Sdk, source_database: Database, target_database: Database) -> None:
    source_database.run(*TABLES, *FILL)
    target_database.run(*TABLES)
    source, target = sdk.data_source("源 source", source_database), sdk.data_source("target", target_database)

    # data sources
    assert sdk.call("start_test_datasource", datasource_id=source).result is True
    assert sdk.call("list_datasources", name="源").entities[0].datasource_id == source
    assert sdk.call("show_dataource_detail", datasource_id=target).description == "made by the SDK"
    assert sdk.call("list_datasource_tables", datasource_id=source, position="SOURCE").tables == ["public.Orders", "public.customers"]
    columns = sdk.call("list_datasource_columns", datasource_id=source, position="SOURCE", table_name="public.Orders").columns
    assert [(column.field_name, column.primary) for column in columns] == [("id", "1"), ("customer", "0"), ("amount", "0"), ("no te", "0")]
    assert (columns[2].field_type, columns[2].field_length, columns[2].decimal_digits) == ("numeric", "12", "2")

    # make a task
    body = roma.MultiTaskInitBody(source_datasource_id=source, target_datasource_id=target, auto_mapping=True)
    made = sdk.call("install_multi_tasks", body=body).body[0]
    assert (made.mappings_total_count, sorted(m.source_table for m in made.mappings)) == (2, ["public.Orders", "public.customers"])
    assert made.mappings[0].mapping[0].source_column == "id"
    wanted = roma.MultiTaskRequestBody("sdk-task", made.task_id, "REALTIME", "描述", "tag_1", ["INSERT", "UPDATE", "DELETE"])
    task_id = sdk.call("create_multi_tasks", body=wanted).task_id
    assert task_id == made.task_id
    for mapping in made.mappings:
        if mapping.source_table == "public.customers":
            assert sdk.call("delete_multi_task_mapping", task_id=task_id, mapping_id=mapping.id).mapping_id == mapping.id
    by_hand = roma.MultiTaskMappingCreateBody(
        source_datasource_id=source,
        target_datasource_id=target,
        source_table="customers",
        target_table="public.customers",
        mapping_columns=[roma.MappingInfo(name, "any", "0", name, "any", "0") for name in ("id", "name")],
    )
    assert sdk.call("create_multi_task_mappings", task_id=task_id, body=by_hand).mapping_id

    # start, follow, look
    listed = sdk.call("list_tasks", name="dk-ta").entities
    assert [(task.task_name, task.status, task.execute_status, task.ext_type) for task in listed] == [("sdk-task", 0, "UNSTARTED", "CDC")]
    started = sdk.operate("start", task_id)
    assert (started.success_count, started.failure_count, started.failure) == (1, 0, [])
    same(source_database, target_database)
    wait_until(lambda: sdk.monitor(task_id).execute_status == "RUNNING", what="the task to run")
    shown = sdk.call("show_task", task_id=task_id).task
    assert (shown.status, shown.task_type, shown.source_datasource_name) == ("running", "realtime", "源 source")
    again = sdk.operate("start", task_id)
    assert [item.error_code for item in again.failure] == ["FDI.3023"]
    counts = sdk.call("count_tasks")
    assert (counts.cdc_task_details.running_tasks_count, counts.common_task_details.running_tasks_count) == (1, 0)

    # an accident at the target, and back to the moment before it
    wait_until(lambda: sdk.monitor(task_id).execute_status == "RUNNING", what="the task to run")
    source_database.run("INSERT INTO customers VALUES (999, 'before')")
    same(source_database, target_database)
    moment = round(time.time() * 1000)
    source_database.run("UPDATE customers SET name = 'changed' WHERE id <= 50", 'DELETE FROM "Orders" WHERE id > 600')
    same(source_database, target_database)
    target_database.run("UPDATE customers SET name = 'nonsense' WHERE id <= 50")
    reset = sdk.call("reset_multi_task_offset", task_id=task_id, body=roma.MultiTaskResetBody(moment))
    assert reset.message == "Reset Success"
    same(source_database, target_database)

    # and from the beginning: with an empty object, with no body at all
    for body in (roma.MultiTaskResetBody(), None):
        target_database.run("TRUNCATE customers", 'DELETE FROM "Orders" WHERE id % 2 = 0', "INSERT INTO customers VALUES (-1, 'stray')")
        assert sdk.call("reset_multi_task_offset", task_id=task_id, body=body).message == "Reset Success"
        same(source_database, target_database)

    # what can't be
    with pytest.raises(ClientRequestException) as caught:
        sdk.call("reset_multi_task_offset", task_id=task_id, body=roma.MultiTaskResetBody(moment + 3_600_000))
    assert (caught.value.status_code, caught.value.error_code) == (400, "FDI.3033")
    assert caught.value.error_msg.startswith("Invalid parameter [date_from]: ")
    with pytest.raises(ClientRequestException) as caught:
        sdk.call("delete_task", task_id=task_id)
    assert caught.value.error_code == "FDI.3023"
    assert len(caught.value.request_id) == 32

    # change, stop, delete
    change = roma.MultiTaskUpdateBody(description="new", task_tag="other", operation_types=["INSERT", "UPDATE"], repulling_snapshot=False)
    assert sdk.call("update_multi_tasks", task_id=task_id, body=change).task_id == task_id
    assert sdk.operate("stop", task_id).success_count == 1
    wait_until(lambda: sdk.monitor(task_id).execute_status == "CANCELLED", what="the task to stop")
    logs = sdk.call("list_monitor_log", task_id=task_id)
    assert logs.total >= 3
    assert logs.entities[0].execute_status == "CANCELLED"
    assert sdk.call("delete_task", task_id=task_id).status_code == 204
    for data_source in (source, target):
        assert sdk.call("delete_datasource_info_by_id", datasource_id=data_source).status_code == 204
    assert sdk.call("list_tasks").total == 0
    assert source_database.rows("SELECT slot_name FROM pg_replication_slots") == []
