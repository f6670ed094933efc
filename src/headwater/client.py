"""A small client of our own API, signed like any other: the command line and the demo go through the front door.

Answers come back as the contract's JSON. `Client` may be used from one thread at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self
from urllib.parse import quote, urlsplit

import httpx

import headwater
from headwater.services.signing import Message, sign

Json = dict[str, Any]
TIMEOUT_S = 60.0
"""Longer than the server's own limits towards the databases, so that its explanation arrives."""

PAGE_ROWS = 999
DIRTY_ROWS = 500


class ApiError(Exception):
    """The server refused. `details` lists single findings, where it gave several."""

    def __init__(self, status: int, code: str, message: str, details: Sequence[str] = (), request_id: str = "") -> None:
        super().__init__(f"{message} ({code})")
        self.status = status
        self.code = code
        self.message = message
        self.details = tuple(details)
        self.request_id = request_id


class Unreachable(Exception):
    """No answer came, or none can come. `str(error)` names the endpoint and the reason."""


@dataclass(frozen=True)
class Mapped:
    """A mapping to create. No `columns`: paired by name."""

    source_table: str
    target_table: str
    columns: Sequence[tuple[str, str]] = ()


class Client:
    """The operations that the command line and the demo need. All raise ApiError and Unreachable, the second also when it is made."""

    def __init__(
        self, endpoint: str, access_key: str, secret_key: str, project_id: str, instance_id: str, *, http: httpx.Client | None = None
    ) -> None:
        self.endpoint = _checked(endpoint)
        self._keys = (access_key, secret_key)
        self._project_id = project_id
        self._base = f"/v2/{quote(project_id, safe='')}/fdi/instances/{quote(instance_id, safe='')}"
        loopback = urlsplit(self.endpoint).hostname in ("127.0.0.1", "localhost", "::1")
        self._http = http or httpx.Client(timeout=TIMEOUT_S, trust_env=not loopback)

    def close(self) -> None:
        """Let go of connections. Idempotent."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Data sources

    def create_data_source(self, name: str, type: str, app_id: str, content: Json, description: str = "") -> Json:
        """Save a connection; the answer is the data source, with its `datasource_id`."""
        body = {"datasource_name": name, "datasource_type": type, "app_id": app_id, "content": content, "description": description}
        return self._object("POST", "/datasources", body=body)

    def data_sources(self, name: str = "") -> list[Json]:
        """All connections, newest first; `name` matches a part."""
        return self._all("/datasources", {"name": name})

    def delete_data_source(self, data_source_id: str) -> None:
        """Delete a connection that no task uses."""
        self.call("DELETE", f"/datasources/{_segment(data_source_id)}")

    def test_connect(self, data_source_id: str) -> bool:
        """Connect with what is saved."""
        return bool(self._object("POST", f"/datasources/{_segment(data_source_id)}/test-connect", body={})["result"])

    def tables(self, data_source_id: str, side: Literal["SOURCE", "TARGET"]) -> list[str]:
        """Tables as `schema.table`."""
        answer = self._object("GET", f"/datasources/{_segment(data_source_id)}/tables", {"direction_type": side})
        return [str(name) for name in answer["tables"]]

    def columns(self, data_source_id: str, side: Literal["SOURCE", "TARGET"], table: str) -> list[Json]:
        """The columns of a table."""
        query = {"direction_type": side, "table_name": table}
        return list(self._object("GET", f"/datasources/{_segment(data_source_id)}/columns", query)["columns"])

    # Combined tasks

    def init_task(self, source_id: str, target_id: str, *, auto_mapping: bool = False) -> Json:
        """Get a task id, and with `auto_mapping` the mappings that fit by name."""
        body = {"source_datasource_id": source_id, "target_datasource_id": target_id, "auto_mapping": auto_mapping}
        answer: list[Json] = self.call("POST", "/multi-tasks/init", body=body)
        return answer[0]

    def map_by_name(self, task_id: str) -> Json:
        """Map what fits by name and is not mapped yet, in a task that does not run."""
        answer: list[Json] = self.call("POST", "/multi-tasks/init", body={"task_id": task_id, "auto_mapping": True})
        return answer[0]

    def create_task(self, name: str, task_id: str | None = None, operations: Sequence[str] = ("INSERT", "UPDATE", "DELETE")) -> str:
        """Save a task and return its id."""
        body: Json = {"task_name": name, "operation_types": list(operations), "task_type": "REALTIME"}
        if task_id:
            body["task_id"] = task_id
        return str(self._object("POST", "/multi-tasks", body=body)["task_id"])

    def create_mapping(self, task_id: str, source_id: str, target_id: str, mapped: Mapped) -> str:
        """Add a mapping and return its id."""
        body: Json = {
            "source_datasource_id": source_id,
            "target_datasource_id": target_id,
            "source_table": mapped.source_table,
            "target_table": mapped.target_table,
            "mapping_columns": [{"source_column": source, "target_column": target} for source, target in mapped.columns],
        }
        return str(self._object("POST", f"/multi-tasks/{_segment(task_id)}/mappings", body=body)["mapping_id"])

    def mappings(self, task_id: str) -> Json:
        """The task's mappings with its two data sources."""
        return self._object("GET", f"/multi-tasks/{_segment(task_id)}/mappings", {"limit": PAGE_ROWS})

    def save_mapping(self, task_id: str, mapping: Json, columns: Sequence[tuple[str, str]]) -> str:
        """Save a mapping of `mappings` anew, with these pairs of (source column, target column)."""
        body: Json = {
            "source_table": mapping["source_table"],
            "target_table": mapping["target_table"],
            "mapping_columns": [{"source_column": source, "target_column": target} for source, target in columns],
        }
        path = f"/multi-tasks/{_segment(task_id)}/mappings/{_segment(mapping['id'])}"
        return str(self._object("PUT", path, body=body)["mapping_id"])

    def reset(self, task_id: str, date_from_ms: int | None = None) -> str:
        """Take a task back to a moment, or to the beginning; returns the server's words."""
        body = {} if date_from_ms is None else {"date_from": date_from_ms}
        return str(self._object("POST", f"/multi-tasks/{_segment(task_id)}/reset", body=body)["message"])

    def set_dirty_rows(self, task_id: str, policy: str, rows_max: int | None = None, rows_per_minute_max: int | None = None) -> None:
        """Say what a task does with rows that its target refuses: STOP or SET_ASIDE, the latter within limits."""
        dirty_rows = {"policy": policy, "rows_max": rows_max, "rows_per_minute_max": rows_per_minute_max}
        self.call("PUT", f"/multi-tasks/{_segment(task_id)}", body={"dirty_rows": dirty_rows})

    # Set-aside rows

    def dirty_rows(self, task_id: str, state: str = "open", *, rows: bool = False) -> Iterator[Json]:
        """Set-aside rows in a state (`""`: all), newest first, with their values where asked for."""
        path, offset = f"/tasks/{_segment(task_id)}/dirty-rows", 0
        while True:
            query = {"state": state, "rows": str(rows).lower(), "limit": DIRTY_ROWS, "offset": offset}
            page = self._object("GET", path, query)
            yield from page["entities"]
            offset += len(page["entities"])
            if not page["entities"] or offset >= page["total"]:
                return

    def mend_dirty_rows(self, task_id: str, action: Literal["retry", "discard"], ids: Sequence[str]) -> Json:
        """Retry or discard set-aside rows: which ones were `done`, `refused` again (with reasons), or `left`."""
        whole: Json = {"done": [], "refused": [], "left": []}
        for start in range(0, len(ids), DIRTY_ROWS):
            body = {"ids": list(ids[start : start + DIRTY_ROWS])}
            answer = self._object("POST", f"/tasks/{_segment(task_id)}/dirty-rows/{action}", body=body)
            whole = {name: found + answer[name] for name, found in whole.items()}
        return whole

    # All tasks

    def tasks(self, name: str = "") -> list[Json]:
        """All tasks, newest first; `name` matches a part."""
        return self._all("/tasks", {"name": name})

    def task(self, task_id: str) -> Json:
        """One task: its basic attributes, and under `detail` the document in `task_detail`."""
        answer = self._object("GET", f"/tasks/{_segment(task_id)}")
        return {**answer["task"], "detail": json.loads(answer["task_detail"])}

    def start(self, task_id: str) -> None:
        """Start one task."""
        self._operate("start", task_id)

    def stop(self, task_id: str) -> None:
        """Stop one task."""
        self._operate("stop", task_id)

    def delete_task(self, task_id: str) -> None:
        """Delete a stopped task."""
        self.call("DELETE", f"/tasks/{_segment(task_id)}")

    def create_tables(self, task_id: str, tables: Sequence[str] = (), dry_run: bool = False) -> list[Json]:
        """Create the target tables that are missing for these source tables (none: for all), or with `dry_run` only say how."""
        body = {"tables": list(tables), "dry_run": dry_run}
        found: list[Json] = self._object("POST", f"/tasks/{_segment(task_id)}/target-tables", body=body)["tables"]
        return found

    def verify(self, task_id: str, repair: bool = False) -> Json:
        """Begin to compare a task's target with its source; the answer is the verification, which goes on."""
        return self._object("POST", f"/tasks/{_segment(task_id)}/verifications", body={"repair": repair})

    def verification(self, task_id: str, verification_id: str) -> Json:
        """One verification: how far it is, or what came out."""
        return self._object("GET", f"/tasks/{_segment(task_id)}/verifications/{_segment(verification_id)}")

    def verifications(self, task_id: str) -> list[Json]:
        """The task's verifications, newest first."""
        return self._all(f"/tasks/{_segment(task_id)}/verifications", {})

    def cancel_verification(self, task_id: str, verification_id: str) -> Json:
        """Give a verification up."""
        return self._object("DELETE", f"/tasks/{_segment(task_id)}/verifications/{_segment(verification_id)}")

    def monitors(self) -> list[Json]:
        """What all tasks are doing."""
        return self._all("/task-monitors", {}, first=1)

    def logs(self, task_id: str) -> list[Json]:
        """The task's runs, newest first."""
        return self._all(f"/tasks/{_segment(task_id)}/monitor-logs", {}, first=1)

    # The wire

    def call(self, method: str, path: str, query: Mapping[str, object] | None = None, body: Json | None = None) -> Any:
        """One signed request below the instance's path. Returns the JSON of the answer; None where it has no body."""
        request = self._request(method, path, query or {}, body)
        try:
            response = self._http.send(request)
        except httpx.TransportError as error:
            raise Unreachable(f"No answer from {self.endpoint}: {str(error) or type(error).__name__}") from error
        if response.is_success:
            return _json(response, self.endpoint) if response.content else None
        raise _refused(response)

    def _request(self, method: str, path: str, query: Mapping[str, object], body: Json | None) -> httpx.Request:
        pairs = "&".join(f"{quote(name, safe='')}={quote(str(value), safe='')}" for name, value in query.items() if value not in (None, ""))
        url = f"{self.endpoint}{self._base}{path}" + (f"?{pairs}" if pairs else "")
        content = None if body is None else json.dumps(body).encode()
        request = self._http.build_request(method, url, content=content)
        raw_path, _, raw_query = request.url.raw_path.partition(b"?")
        headers = [
            ("Host", request.headers["Host"]),
            ("Content-Type", "application/json;charset=utf-8"),
            ("User-Agent", f"headwater/{headwater.__version__}"),
            ("X-Project-Id", self._project_id),
        ]
        request.headers.update(sign(Message(method, raw_path, raw_query, headers, content or b""), *self._keys, datetime.now(UTC)))
        return request

    def _object(self, method: str, path: str, query: Mapping[str, object] | None = None, body: Json | None = None) -> Json:
        answer = self.call(method, path, query, body)
        if not isinstance(answer, dict):
            raise ApiError(200, "-", f"{self.endpoint} does not answer like a Headwater service")
        return answer

    def _all(self, path: str, query: Mapping[str, object], first: int = 0) -> list[Json]:
        """All pages of a list whose rows are counted from `first`."""
        found: list[Json] = []
        while True:
            page = self._object("GET", path, {**query, "limit": PAGE_ROWS, "offset": first + len(found)})
            found += page["entities"]
            if not page["entities"] or len(found) >= page["total"]:
                return found

    def _operate(self, action: Literal["start", "stop"], task_id: str) -> None:
        answer = self._object("POST", "/batch-operation/tasks", body={"action_id": action, "list": [{"task_id": task_id}]})
        for item in answer["failure"]:
            raise ApiError(200, item["error_code"] or "-", item["error_msg"] or "refused", item.get("details") or ())


def _checked(endpoint: str) -> str:
    """The endpoint without a slash at its end.

    Raises:
        Unreachable: nothing can be reached under it.
    """
    try:
        reachable = httpx.URL(endpoint).scheme in ("http", "https") and bool(urlsplit(endpoint).hostname)
    except (httpx.InvalidURL, ValueError):
        reachable = False
    if not reachable:
        raise Unreachable(f"'{endpoint}' is not an address like http://127.0.0.1:8080")
    return endpoint.rstrip("/")


def _segment(text: str) -> str:
    return quote(text, safe="~")


def _json(response: httpx.Response, endpoint: str) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise ApiError(response.status_code, "-", f"{endpoint} does not answer like a Headwater service") from error


def _refused(response: httpx.Response) -> ApiError:
    try:
        body = response.json()
    except ValueError:
        body = None
    request_id = response.headers.get("X-Request-Id", "")
    if isinstance(body, dict) and "error_msg" in body:
        code, details = str(body.get("error_code", "-")), body.get("details") or ()
        return ApiError(response.status_code, code, str(body["error_msg"]), details, request_id)
    text = f"HTTP {response.status_code} {response.reason_phrase}"
    return ApiError(response.status_code, str(response.status_code), text, (), request_id)
