"""The wire, without databases: both sides of each disagreement of SDK and documents, shapes of answers, and what never comes out."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import structlog

from headwater.api.metrics import FAMILIES
from headwater.client import ApiError, Client
from headwater.domain.errors import SourceError
from headwater.ports.runtime import ApplyReport, CaptureReport
from headwater.services.monitoring import Monitoring
from headwater.services.tasks import Tasks
from tests.serving import Served

CONTENT = {"host": "db.example", "port": 5432, "database_name": "d", "user_name": "uuuu", "password": "s3cret-word", "encoding": "UTF-8"}


def refused(client: Client, method: str, path: str, body: Any = None, query: dict[str, object] | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        client.call(method, path, query, body)
    return caught.value


def source(client: Client, served: Served, name: str = "s") -> str:
    return str(client.create_data_source(name, "POSTGRESQL", served.first.app_id, CONTENT)["datasource_id"])


@pytest.mark.parametrize("body", [None, {}])
def test_init_gives_an_id_in_a_top_level_array(client: Client, body: dict[str, Any] | None) -> None:
    answer = client.call("POST", "/multi-tasks/init", body=body)
    assert isinstance(answer, list)
    assert len(answer[0]["task_id"]) == 32
    assert (answer[0]["mappings"], answer[0]["mappings_total_count"], answer[0]["source_group"]) == ([], 0, "SOURCE_GROUP1")


def test_null_is_absent_and_unknown_members_are_ignored(client: Client) -> None:
    body = {"task_name": "abc", "operation_types": ["INSERT"], "task_id": None, "description": None, "what": {"is": ["this"]}}
    assert client.call("POST", "/multi-tasks", body=body)["task_id"]


def test_a_task_in_the_list_has_the_types_that_the_sdk_reads(client: Client) -> None:
    task_id = client.create_task("abc")
    task = client.tasks()[0]
    assert (task["task_id"], task["status"], task["task_type"], task["ext_type"]) == (task_id, 0, "REALTIME", "CDC")
    assert isinstance(task["created_date"], str)
    assert task["created_date"].endswith("Z")
    assert isinstance(task["last_modified_time"], int)
    shown = client.task(task_id)
    assert (shown["status"], shown["task_type"], type(shown["created_date"])) == ("stop", "realtime", int)
    assert shown["detail"]["state"] == "saved"


@pytest.mark.parametrize("name", ["name", "task_name", "taks_name"])
def test_the_name_filter_has_three_spellings(client: Client, name: str) -> None:
    client.create_task("first-one")
    client.create_task("second-one")
    found = client.call("GET", "/tasks", {name: "first"})
    assert [task["task_name"] for task in found["entities"]] == ["first-one"]


@pytest.mark.parametrize(
    "query", [{"task_type": "realtime"}, {"task_type": "REALTIME"}, {"status": 0}, {"execute_status": "UNSTARTED"}, {"limit": ""}]
)
def test_filters_that_let_it_through(client: Client, query: dict[str, object]) -> None:
    client.create_task("abc")
    assert client.call("GET", "/tasks", query)["total"] == 1


@pytest.mark.parametrize(
    "query", [{"task_type": "timing"}, {"status": 1}, {"execute_status": "ERROR"}, {"datasource_id": "x"}, {"task_tag": "x"}]
)
def test_filters_that_do_not(client: Client, query: dict[str, object]) -> None:
    client.create_task("abc")
    assert client.call("GET", "/tasks", query)["total"] == 0


def test_pages_and_order(client: Client) -> None:
    for name in ("aaa", "bbb", "ccc"):
        client.create_task(name)

    def names(path: str, **query: object) -> list[str]:
        return [task["task_name"] for task in client.call("GET", path, query)["entities"]]

    assert names("/tasks") == ["ccc", "bbb", "aaa"]
    assert names("/tasks", sort_field="CREATED_DATE", sort_type="asc", limit=2) == ["aaa", "bbb"]
    assert names("/tasks", offset=-5, limit=1) == ["ccc"]
    assert names("/tasks", offset=2, limit=100_000) == ["aaa"]
    assert names("/task-monitors", offset=0, limit=1) == names("/task-monitors", offset=1, limit=1) == ["ccc"]
    assert names("/task-monitors", offset=3) == ["aaa"]


def test_batches(client: Client) -> None:
    assert refused(client, "POST", "/batch-operation/tasks", {"action_id": "start", "list": []}).code == "FDI.3150"
    assert refused(client, "POST", "/batch-operation/tasks", {"action_id": "start"}).code == "FDI.3150"
    assert refused(client, "POST", "/batch-operation/tasks", {"action_id": "start", "list": [{"task_id": "x"}] * 11}).code == "FDI.3033"
    assert refused(client, "POST", "/batch-operation/tasks", {"action_id": "go", "list": []}).message.startswith(
        "Invalid parameter [action_id]"
    )
    task_id = client.create_task("abc")
    wanted = [{"task_id": task_id}, {"task_id": ""}, {}, {"task_id": "nobody"}]
    answer = client.call("POST", "/batch-operation/tasks", body={"action_id": "stop", "list": wanted})
    assert (answer["success_count"], answer["failure_count"]) == (1, 3)
    assert [item["error_code"] for item in answer["failure"]] == ["FDI.3022", "FDI.3022", "FDI.3021"]
    assert [item["task_name"] for item in answer["success"]] == ["abc"]


@pytest.mark.parametrize("body", [None, {}, {"date_from": None}])
def test_a_reset_without_a_time_in_three_spellings(client: Client, body: Any) -> None:
    error = refused(client, "POST", f"/multi-tasks/{client.create_task('abc')}/reset", body)
    assert (error.status, error.code) == (400, "FDI.3150")


@pytest.mark.parametrize("moment", ["1630052714000", 1.5, True, [], {}, -1, 0, 2**70, "x" * 1_000_000])
def test_a_reset_to_what_is_no_time(client: Client, moment: Any) -> None:
    error = refused(client, "POST", f"/multi-tasks/{client.create_task('abc')}/reset", {"date_from": moment})
    assert (error.status, error.code) in {(400, "FDI.3033"), (400, "FDI.3150")}
    assert len(error.message) <= 512


@pytest.mark.parametrize(
    ("query", "name"),
    [({}, "direction_type"), ({"position": "LEFT"}, "position"), ({"position": "SOURCE", "direction_type": "TARGET"}, "direction_type")],
)
def test_the_side_of_a_data_source(client: Client, served: Served, query: dict[str, object], name: str) -> None:
    data_source = source(client, served)
    for path in ("tables", "columns"):
        error = refused(client, "GET", f"/datasources/{data_source}/{path}", query=query)
        assert (error.code, error.message.startswith(f"Invalid parameter [{name}]")) == ("FDI.3033", True)


@pytest.mark.parametrize("name", ["position", "direction_type"])
def test_both_names_of_the_side_are_taken(client: Client, served: Served, name: str) -> None:
    data_source = source(client, served)
    error = refused(client, "GET", f"/datasources/{data_source}/columns", query={name: "source"})
    assert error.message.startswith("Invalid parameter [table_name]")


def test_types_of_data_sources_by_either_name(client: Client, served: Served) -> None:
    made = client.create_data_source("s", "postgresql/openGauss", served.first.app_id, CONTENT)
    assert made["datasource_type"] == "POSTGRESQL"
    assert client.call("GET", "/datasources", {"datasource_type": "POSTGRESQL/OPENGAUSS"})["total"] == 1
    assert client.call("GET", "/datasources", {"datasource_type": "KAFKA"})["total"] == 0
    assert refused(client, "POST", "/datasources", {**body_of(served), "datasource_type": "KAFKA"}).code == "FDI.3033"


def body_of(served: Served) -> dict[str, Any]:
    return {"datasource_name": "s", "datasource_type": "POSTGRESQL", "app_id": served.first.app_id, "content": dict(CONTENT)}


def test_a_password_never_comes_back_and_stays_where_it_is_left_out(client: Client, served: Served) -> None:
    made = client.call("POST", "/datasources", body=body_of(served))
    content = {name: value for name, value in CONTENT.items() if name != "password"}
    path = f"/datasources/{made['datasource_id']}"
    changed = client.call("PUT", path, body={**body_of(served), "datasource_name": "renamed", "content": content})
    answers = [made, changed, client.call("GET", path), client.call("GET", "/datasources")]
    assert all("s3cret" not in json.dumps(answer) and "password" not in json.dumps(answer) for answer in answers)
    assert changed["content"]["port"] == "5432"
    assert changed["content"]["encoding"] == "UTF-8"
    saved = served.store.data_source(made["datasource_id"])
    assert saved is not None
    assert "s3cret-word" in saved.secrets.values()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"datasource_name": "a<b"}, "datasource_name"),
        ({"datasource_name": ""}, "datasource_name"),
        ({"datasource_name": "x" * 256}, "datasource_name"),
        ({"datasource_name": 5}, "datasource_name"),
        ({"content": None}, "content"),
        ({"content": {"port": 2**70}}, "content.port"),
        ({"content": {"password": ["s3cret-word"]}}, "content.password"),
        ({"content": {"filler": "x" * 1_000_001}}, "content"),
        ({"description": "x" * 1025}, "description"),
    ],
)
def test_a_refused_data_source_names_the_parameter_and_repeats_no_value(
    client: Client, served: Served, change: dict[str, Any], name: str
) -> None:
    error = refused(client, "POST", "/datasources", {**body_of(served), **change})
    assert (error.status, error.code) == (400, "FDI.3033")
    assert error.message.startswith(f"Invalid parameter [{name}]: ")
    assert "s3cret" not in error.message
    assert client.data_sources() == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"task_name": None}, "task_name"),
        ({"task_name": "ab"}, "task_name"),
        ({"task_name": "-abc"}, "task_name"),
        ({"task_name": "abc\n"}, "task_name"),
        ({"task_name": "a" * 101}, "task_name"),
        ({"operation_types": []}, "operation_types"),
        ({"operation_types": ["TRUNCATE"]}, "operation_types[0]"),
        ({"operation_types": "INSERT"}, "operation_types"),
        ({"task_type": "BATCH"}, "task_type"),
        ({"task_tag": "a b"}, "task_tag"),
        ({"task_tag": "abc\n"}, "task_tag"),
    ],
)
def test_a_refused_task_names_the_parameter(client: Client, change: dict[str, Any], name: str) -> None:
    error = refused(client, "POST", "/multi-tasks", {"task_name": "abc", "operation_types": ["INSERT"], **change})
    assert (error.status, error.code) == (400, "FDI.3033")
    assert error.message.startswith(f"Invalid parameter [{name}]: ")
    assert client.tasks() == []


def test_an_unknown_task_has_the_documented_codes(client: Client) -> None:
    assert refused(client, "GET", "/tasks/nobody").code == "FDI.3180"
    assert refused(client, "POST", "/multi-tasks/nobody/reset", {}).code == "FDI.3180"
    update = refused(client, "PUT", "/multi-tasks/nobody", {"operation_types": ["INSERT"], "repulling_snapshot": False})
    assert (update.status, update.code) == (400, "FDI.3021")


def test_delete_answers_204_without_a_body(client: Client, served: Served) -> None:
    task_id, data_source = client.create_task("abc"), source(client, served)
    assert client.call("DELETE", f"/tasks/{task_id}") is None
    assert client.call("DELETE", f"/datasources/{data_source}") is None
    assert refused(client, "DELETE", f"/tasks/{task_id}").code == "FDI.3180"


def test_statistics(client: Client) -> None:
    assert set(client.call("GET", "/statistics/tasks")["cdc_task_details"].values()) == {0}


def test_bugs_of_ours_are_a_500_that_tells_nothing(client: Client, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("row value 4711")

    monkeypatch.setattr(Tasks, "find", broken)
    with structlog.testing.capture_logs() as entries:
        error = refused(client, "GET", "/tasks")
    assert (error.status, error.code) == (500, "APIG.0201")
    assert "4711" not in error.message
    logged = [entry for entry in entries if entry["event"] == "api.unexpected"]
    assert [(entry["error"], entry["request_id"]) for entry in logged] == [("builtins.RuntimeError", error.request_id)]
    assert any("broken" in frame for frame in logged[0]["frames"])
    assert "4711" not in str(entries)


def test_errors_of_databases_are_told_as_such(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object, **__: object) -> None:
        raise SourceError("The source db.example refuses connections.")

    monkeypatch.setattr(Monitoring, "count", down)
    error = refused(client, "GET", "/statistics/tasks")
    assert (error.status, error.code) == (400, "FDI.3016")
    assert error.message.endswith("The source db.example refuses connections.")


def test_health(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    ready = http.get("/readyz")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["The supervisor does not run."])
    assert len(ready.headers["X-Request-Id"]) == 32


def test_metrics(client: Client, http: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id, data_source = client.create_task("abc"), source(client, served)
    applied = ApplyReport("following", lag_ms=1500, lag_transactions=3, rows_inserted=7, rows_per_s=12.5)
    captured = CaptureReport("capturing", earliest_us=1_000_000, latest_us=2_500_000, behind_bytes=9, journal_bytes=4096)
    monkeypatch.setattr(served.parts.supervisor, "apply", lambda wanted: applied if wanted == task_id else None)
    monkeypatch.setattr(served.parts.supervisor, "capture", lambda wanted: captured if wanted == data_source else None)
    text = http.get("/metrics").text
    for line in (
        f'headwater_task_state{{name="abc",state="saved",task="{task_id}"}} 1.0',
        f'headwater_task_state{{name="abc",state="failed",task="{task_id}"}} 0.0',
        f'headwater_task_lag_seconds{{name="abc",task="{task_id}"}} 1.5',
        f'headwater_task_lag_transactions{{name="abc",task="{task_id}"}} 3.0',
        f'headwater_task_rows_total{{name="abc",op="inserted",task="{task_id}"}} 7.0',
        f'headwater_capture_behind_bytes{{name="s",source="{data_source}"}} 9.0',
        f'headwater_journal_bytes{{name="s",source="{data_source}"}} 4096.0',
        f'headwater_window_earliest_seconds{{name="s",source="{data_source}"}} 1.0',
        f'headwater_window_latest_seconds{{name="s",source="{data_source}"}} 2.5',
    ):
        assert line in text.splitlines()
    assert all(f"# HELP {family.name} " in text for family in FAMILIES)
    monitors = client.monitors()
    assert monitors[0]["window"] is None, "the task has no source"
    assert monitors[0]["progress"]["lag_ms"] == 1500


def test_the_openapi_document_shows_our_errors(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    operations = [(path, one) for path, methods in document["paths"].items() for one in methods.values()]
    assert len(operations) > 25
    assert all("422" not in one["responses"] for _, one in operations)
    assert all(
        one["responses"]["400"]["content"]["application/json"]["schema"]["$ref"].endswith("/Error")
        for path, one in operations
        if path[:2] == "/v"
    )
    assert "HTTPValidationError" not in document["components"]["schemas"]
