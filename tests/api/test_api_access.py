"""Who gets in: 401 in the documented shape, nobody reaches another's project, and tokens work in place of signatures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from headwater.client import ApiError, Client
from headwater.services.signing import Message, sign
from tests.serving import Served


def token_body(served: Served, **changes: Any) -> dict[str, Any]:
    first = served.first
    user = {"name": first.user_name, "password": first.password, "domain": {"name": first.domain_name}, **changes}
    scope = {"project": {"id": first.project_id}}
    return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}


def check_401(response: Any, reason: str) -> None:
    assert response.status_code == 401
    body = response.json()
    assert body["error_code"] == "APIG.0301"
    assert body["error_msg"] == f"Incorrect IAM authentication information: {reason}"
    assert body["request_id"] == response.headers["X-Request-Id"]


def test_nobody_gets_in_without_credentials(served: Served, http: httpx.Client) -> None:
    check_401(http.get(f"{served.scope_path}/tasks"), "x-auth-token not found")
    check_401(http.post(f"{served.scope_path}/multi-tasks", content=b"{not json"), "x-auth-token not found")


def test_a_wrong_signature(served: Served, http: httpx.Client) -> None:
    served.first = type(served.first)(**{**vars(served.first), "secret_key": "wrong"})
    with pytest.raises(ApiError) as caught:
        served.client(str(http.base_url), http).tasks()
    assert (caught.value.status, caught.value.code) == (401, "APIG.0301")
    assert caught.value.message.endswith("verify aksk signature fail")


def test_a_skewed_clock(served: Served, http: httpx.Client) -> None:
    path = f"{served.scope_path}/tasks".encode()
    late = datetime.now(UTC) - timedelta(minutes=16)
    message = Message("GET", path, b"", [("Host", http.base_url.netloc.decode())])
    headers = sign(message, str(served.first.access_key), str(served.first.secret_key), late)
    response = http.get(path.decode(), headers=headers)
    assert response.status_code == 401
    assert "x-sdk-date is more than 15 minutes" in response.json()["error_msg"]


def test_a_token_instead_of_a_signature(served: Served, http: httpx.Client) -> None:
    issued = http.post("/v3/auth/tokens", json=token_body(served))
    assert issued.status_code == 201
    token = issued.json()["token"]
    assert token["project"]["id"] == served.first.project_id
    assert token["user"]["name"] == served.first.user_name
    assert token["catalog"][0]["endpoints"][0]["url"] == f"{http.base_url}/v2/{served.first.project_id}"
    answer = http.get(f"{served.scope_path}/tasks", headers={"X-Auth-Token": issued.headers["X-Subject-Token"]})
    assert (answer.status_code, answer.json()["total"]) == (200, 0)


def test_nocatalog(served: Served, http: httpx.Client) -> None:
    assert "catalog" not in http.post("/v3/auth/tokens?nocatalog", json=token_body(served)).json()["token"]


def test_an_unknown_token(served: Served, http: httpx.Client) -> None:
    check_401(http.get(f"{served.scope_path}/tasks", headers={"X-Auth-Token": "nonsense"}), "decrypt token fail")


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"name": "nobody"}, {"domain": {"name": "nowhere"}}, {"domain": None}])
def test_a_wrong_password_looks_like_an_unknown_user(served: Served, http: httpx.Client, changes: dict[str, Any]) -> None:
    response = http.post("/v3/auth/tokens", json=token_body(served, **changes))
    check_401(response, "the user name or password is wrong")
    assert response.json()["error"] == {"code": 401, "message": response.json()["error_msg"], "title": "Unauthorized"}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "auth"),
        ({"auth": {"identity": {"methods": []}}}, "auth.identity.methods"),
        ({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "x"}}}}}, "auth.identity.password.user.password"),
        (
            {"auth": {"identity": {"methods": ["password", "totp"], "password": {"user": {"name": "x", "password": "y"}}}}},
            "auth.identity.methods",
        ),
        ({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "x", "password": 1}}}}}, "auth.identity.password"),
    ],
)
def test_a_malformed_token_request(http: httpx.Client, body: Any, name: str) -> None:
    response = http.post("/v3/auth/tokens", json=body)
    assert (response.status_code, response.json()["error_code"]) == (400, "FDI.3033")
    assert response.json()["error_msg"].startswith(f"Invalid parameter [{name}")


OPERATIONS = [
    ("GET", "/tasks", None),
    ("GET", "/tasks/x", None),
    ("DELETE", "/tasks/x", None),
    ("POST", "/multi-tasks/x/reset", {}),
    ("POST", "/multi-tasks", {"task_name": "abc", "operation_types": ["INSERT"]}),
    ("POST", "/batch-operation/tasks", {"action_id": "start", "list": []}),
    ("GET", "/datasources/x", None),
    ("GET", "/task-monitors", None),
    ("GET", "/statistics/tasks", None),
]


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
def test_anothers_project_and_no_project_look_the_same(
    served: Served, http: httpx.Client, method: str, path: str, body: dict[str, Any] | None
) -> None:
    other, mine = served.add_user("bob"), served.first
    answers = []
    for project, instance in (
        (other.project_id, other.instance_id),
        (mine.project_id, other.instance_id),
        (other.project_id, mine.instance_id),
        ("f" * 32, mine.instance_id),
        (mine.project_id, "nowhere"),
        ("{project_id}", mine.instance_id),
    ):
        stranger = Client(str(http.base_url), str(mine.access_key), str(mine.secret_key), project, instance, http=http)
        with pytest.raises(ApiError) as caught:
            stranger.call(method, path, body=body)
        answers.append((caught.value.status, caught.value.code, caught.value.message))
    assert {(status, code) for status, code, _ in answers} == {(404, "APIC.7302")}
    assert len(set(answers)) == 1


def test_anothers_task_and_data_source_look_like_none(served: Served, http: httpx.Client, client: Client) -> None:
    bob = served.add_user("bob")
    theirs = Client(str(http.base_url), str(bob.access_key), str(bob.secret_key), bob.project_id, bob.instance_id, http=http)
    task = theirs.create_task("theirs")
    content = {"host": "127.0.0.1", "port": "1", "database_name": "d", "user_name": "uuuu", "password": "p"}
    source = theirs.create_data_source("theirs", "POSTGRESQL", bob.app_id, content)["datasource_id"]

    def both(method: str, path: str, body: dict[str, Any] | None = None) -> set[tuple[int, str, str]]:
        answers = set()
        for wanted in (task if "task" in path else source, "0" * 32):
            with pytest.raises(ApiError) as caught:
                client.call(method, path.format(wanted), body=body)
            answers.add((caught.value.status, caught.value.code, caught.value.message))
        return answers

    assert {answer[:2] for answer in both("GET", "/tasks/{}")} == {(404, "FDI.3180")}
    for method, path, body in (
        ("GET", "/tasks/{}", None),
        ("DELETE", "/tasks/{}", None),
        ("GET", "/tasks/{}/monitor-logs", None),
        ("POST", "/multi-tasks/{}/reset", {}),
        ("PUT", "/multi-tasks/{}", {"operation_types": ["INSERT"], "repulling_snapshot": False}),
        ("GET", "/multi-tasks/{}/mappings", None),
        ("POST", "/multi-tasks/{}/mappings", {"source_table": "a.b", "target_table": "a.b"}),
        ("DELETE", "/multi-tasks/{}/mappings/m", None),
        ("GET", "/datasources/{}", None),
        ("DELETE", "/datasources/{}", None),
        ("POST", "/datasources/{}/test-connect", {}),
    ):
        assert len(both(method, path, body)) == 1, (method, path)
    answer = client.call("POST", "/batch-operation/tasks", body={"action_id": "start", "list": [{"task_id": task}, {"task_id": "0" * 32}]})
    assert [item["error_code"] for item in answer["failure"]] == ["FDI.3021", "FDI.3021"]
    assert {item["task_name"] for item in answer["failure"]} == {""}
    assert client.tasks() == []
    assert client.data_sources() == []
    assert client.monitors() == []


def test_another_project_in_the_header_is_named(served: Served, http: httpx.Client) -> None:
    token = http.post("/v3/auth/tokens", json=token_body(served)).headers["X-Subject-Token"]
    response = http.get(f"{served.scope_path}/tasks", headers={"X-Auth-Token": token, "X-Project-Id": "other"})
    assert (response.status_code, response.json()["error_code"]) == (400, "FDI.3039")


def test_the_project_look_up_of_the_sdk(served: Served, http: httpx.Client) -> None:
    token = http.post("/v3/auth/tokens", json=token_body(served)).headers["X-Subject-Token"]
    response = http.get("/v3/projects?name=any-region", headers={"X-Auth-Token": token})
    assert [project["id"] for project in response.json()["projects"]] == [served.first.project_id]
    check_401(http.get("/v3/projects?name=any-region"), "x-auth-token not found")
