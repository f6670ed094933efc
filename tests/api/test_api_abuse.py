"""Whatever is thrown at any route: an answer in our shape with a code of the contract, never a 422, never a 5xx, and nothing changed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.api import gate
from headwater.api.errors import GATEWAY_CODES
from headwater.api.gate import BODY_BYTES_MAX
from headwater.services.errors import CODES
from tests.serving import Served, listening, service

CODES_KNOWN = set(CODES) | set(GATEWAY_CODES)
JSON = "application/json"


class Attacker:
    """Sends anything with good credentials, and checks every answer for what must always hold."""

    def __init__(self, served: Served, http: httpx.Client, token: str) -> None:
        self.served, self.http, self.token = served, http, token
        self.operations = list(_operations(served))

    def send(self, method: str, path: str, *, content: Any = None, query: str = "", **headers: str) -> httpx.Response:
        url = path.format(
            project_id=self.served.first.project_id,
            instance_id=self.served.first.instance_id,
            task_id="t",
            mapping_id="m",
            datasource_id="d",
            tracking_id="r",
            verification_id="v",
        )
        sent = {"X-Auth-Token": self.token, "Content-Type": JSON, **headers}
        response = self.http.request(method, url + query, content=content, headers=sent)
        check(response)
        return response


def check(response: httpx.Response) -> None:
    assert len(response.headers["X-Request-Id"]) == 32
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.status_code != 422
        body = response.json()
        assert body["error_code"] in CODES_KNOWN
        assert 2 <= len(body["error_msg"]) <= 512
        assert body["request_id"] == response.headers["X-Request-Id"]


def _operations(served: Served) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    """Method, path template and body schema of every operation below /v."""
    document = served.app.openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v"):
                reference = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema", {}).get("$ref")
                schema = document["components"]["schemas"][reference.rsplit("/", 1)[1]] if reference else None
                yield method.upper(), path, schema


@pytest.fixture(scope="module")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacker]:
    with service(tmp_path_factory.mktemp("abuse")) as served, listening(served.app) as url:
        first = served.first
        user = {"name": first.user_name, "password": first.password, "domain": {"name": first.domain_name}}
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
            body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
            yield Attacker(served, http, http.post("/v3/auth/tokens", json=body).headers["X-Subject-Token"])


def deep(levels: int) -> bytes:
    return b'{"x":' * levels + b"1" + b"}" * levels


BAD_BODIES = {
    "not json": b"{",
    "text": b"hello",
    "array": b"[]",
    "number": b"1",
    "string": b'"x"',
    "true": b"true",
    "twice": b'{"task_name": "abc", "task_name": "abd"}',
    "twice inside": b'{"x": [{"a": 1, "a": 2}]}',
    "nan": b'{"x": NaN}',
    "infinity": b'{"x": -Infinity}',
    "not utf-8": b'{"x": "\xff\xfe"}',
    "nul": b'{"x": "a\\u0000b"}',
    "nul in a name": b'{"a\\u0000": 1}',
    "raw nul": b'{"x": "a\x00b"}',
    "half a pair": b'{"x": "\\ud800"}',
    "deep": deep(100),
    "very deep": deep(50_000),
    "deep array": b"[" * 100_000,
    "many digits": b'{"x": ' + b"9" * 500 + b"}",
    "very many digits": b'{"x": ' + b"9" * 100_000 + b"}",
    "two values": b"{}{}",
    "a comment": b"{} // x",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_is_no_clean_object_is_a_400_everywhere(attacker: Attacker, body: bytes) -> None:
    sent = 0
    for method, path, schema in attacker.operations:
        if schema is not None:
            response = attacker.send(method, path, content=body)
            assert (response.status_code, response.json()["error_code"]) == (400, "FDI.3002"), (method, path)
            sent += 1
    assert sent == 15


WRONG: list[Any] = [None, True, 0, -1, 2**70, 1.5, 1e300, "", "x" * 1_000_000, "'; DROP TABLE tasks; --", "a\nb", "\u202e"]
WRONG += [[], {}, [[]], [{}], {"a": {}}]


def test_every_field_with_every_wrong_value(attacker: Attacker) -> None:
    refused = 0
    for method, path, schema in attacker.operations:
        for name in (schema or {}).get("properties", {}):
            for value in WRONG:
                refused += attacker.send(method, path, content=json.dumps({name: value}).encode()).status_code == 400
    assert refused > 500


@pytest.mark.parametrize(
    "value", ["", "x", "-1", "1" * 30, str(2**70), "1.5", "1e3", "NaN", "٣", "%F0%9F%98%80", "'%20OR%201=1--", "x" * 1000]
)
def test_every_query_parameter_with_wrong_values(attacker: Attacker, value: str) -> None:
    document = attacker.served.app.openapi()
    sent = 0
    for path, methods in document["paths"].items():
        for parameter in methods.get("get", {}).get("parameters", []):
            if parameter["in"] == "query":
                attacker.send("GET", path, query=f"?{parameter['name']}={value}")
                sent += 1
    assert sent > 30


@pytest.mark.parametrize(
    "value", ["..%2f..", "%2e%2e", "a%20b", "'--", "%F0%9F%98%80", "x" * 5000, "%7Bproject_id%7D", "%0d%0aX:y", "a;b", "*"]
)
def test_every_id_with_odd_texts(attacker: Attacker, value: str) -> None:
    for method, path, _ in attacker.operations:
        for name in ("{task_id}", "{mapping_id}", "{datasource_id}", "{tracking_id}", "{verification_id}", "{instance_id}", "{project_id}"):
            if name in path:
                response = attacker.send(method, path.replace(name, value.replace("{", "{{").replace("}", "}}")), content=b"{}")
                assert response.status_code in (400, 404), (method, path, response.text)


@pytest.mark.parametrize("odd", ["%00", "a%00b", "%FF", "%C3%28", "%ED%A0%80"])
def test_a_url_with_nul_or_broken_utf8(attacker: Attacker, odd: str) -> None:
    for path in (f"/v2/{{project_id}}/fdi/instances/{{instance_id}}/tasks/{odd}", f"/{odd}", "/v2/x"):
        query = f"?name={odd}" if odd not in path else ""
        response = attacker.send("GET", path, query=query)
        assert (response.status_code, response.json()["error_code"]) == (400, "APIGW.0201")


def test_unknown_paths_and_methods(attacker: Attacker) -> None:
    for path in ("/", "/v2", "/docs", "/redoc", "/v2/x/fdi/instances/y/nothing", "/v2/{project_id}/fdi/instances/{instance_id}/tasks/"):
        response = attacker.send("GET", path)
        assert (response.status_code, response.json()["error_code"]) == (404, "APIGW.0101")
        assert response.json()["error_msg"] == "The API does not exist or has not been published in the environment."
    response = attacker.send("PATCH", "/v2/{project_id}/fdi/instances/{instance_id}/tasks/{task_id}")
    assert (response.status_code, response.json()["error_code"], response.headers["Allow"]) == (404, "APIGW.0101", "DELETE, GET")
    response = attacker.send("DELETE", "/v2/{project_id}/fdi/instances/{instance_id}/datasources")
    assert response.headers["Allow"] == "GET, POST"
    for method in ("HEAD", "OPTIONS", "TRACE", "FOO"):
        answer = attacker.http.request(method, "/v2/x/fdi/instances/y/tasks")
        assert (answer.status_code, len(answer.headers["X-Request-Id"])) == (404, 32)


def test_a_body_of_12_mb_is_taken_and_a_larger_one_is_not(attacker: Attacker) -> None:
    path = "/v2/{project_id}/fdi/instances/{instance_id}/multi-tasks/{task_id}/reset"
    filler = b'{"unknown": "' + b"x" * (BODY_BYTES_MAX - 15) + b'"}'
    assert len(filler) == BODY_BYTES_MAX
    assert attacker.send("POST", path, content=filler).status_code == 404
    for content in (filler + b" ", iter([filler, b" "]), iter([b" " * 1_000_000] * 20)):
        response = attacker.send("POST", path, content=content)
        assert (response.status_code, response.json()["error_code"]) == (413, "APIGW.0201")


def test_a_larger_body_is_refused_without_credentials_too(attacker: Attacker) -> None:
    response = attacker.http.post("/v3/auth/tokens", content=iter([b" " * 1_000_000] * 13))
    check(response)
    assert response.status_code == 413


def test_a_long_uri_and_large_headers(attacker: Attacker) -> None:
    assert attacker.send("GET", "/v2/" + "x" * 33_000).status_code == 414
    for path in ("/v2/x", "/v3/projects"):
        assert attacker.send("GET", path, Large="x" * 33_000).status_code == 494


def exchange(url: httpx.URL, request: bytes) -> bytes:
    """Send bytes as they are; all that comes back until the server hangs up, or the first piece where it does not."""
    with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while b"}" not in answer and (piece := connection.recv(65536)):
            answer += piece
        return answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello\r\n\r\n",
        b"GET / FTP/1.0\r\n\r\n",
        b"GET /" + b"x" * 300_000,
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
    ],
    ids=["no http", "no version", "endless line", "tls", "bad header"],
)
def test_what_is_not_http_gets_our_answer_too(attacker: Attacker, request_bytes: bytes) -> None:
    head = exchange(attacker.http.base_url, request_bytes + b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"X-Request-Id: " in head
    assert b'"error_code": "APIGW.0201"' in head


def test_large_bodies_at_once_are_bounded(attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/v2/{project_id}/fdi/instances/{instance_id}/multi-tasks/{task_id}/reset"
    monkeypatch.setattr(gate, "BODIES_BYTES_MAX", 1_000_000)
    answer = attacker.http.post("/v3/auth/tokens", content=b" " * 1_000_001)
    assert (answer.status_code, answer.json()["error_code"]) == (503, "APIG.0201")
    assert attacker.send("POST", path, content=b" " * 1_000_000).status_code == 404, "what was held before is let go"


def test_odd_lengths_never_reach_an_operation(attacker: Attacker) -> None:
    for length in (b"-1", b"abc", b"9" * 30, b"5, 6"):
        answer = exchange(attacker.http.base_url, b"POST /v3/auth/tokens HTTP/1.1\r\nHost: h\r\nContent-Length: " + length + b"\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413")), answer


def test_the_service_is_whole_after_all_this(attacker: Attacker) -> None:
    assert attacker.send("GET", "/v2/{project_id}/fdi/instances/{instance_id}/statistics/tasks").status_code == 200


texts = st.text(st.characters(), max_size=30)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(leaves, lambda x: st.lists(x, max_size=4) | st.dictionaries(texts, x, max_size=4))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_bodies(attacker: Attacker, data: st.DataObject) -> None:
    method, path, schema = data.draw(st.sampled_from([operation for operation in attacker.operations if operation[2]]))
    assert schema is not None
    names = st.sampled_from(sorted(schema["properties"])) | texts
    body = data.draw(st.dictionaries(names, values, max_size=5))
    attacker.send(method, path, content=json.dumps(body).encode())
