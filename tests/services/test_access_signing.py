"""The signature, against the two worked examples that were made by the official SDK, and against everything that must not pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.services.signing import Claim, Message, SignatureError, canonical_path, canonical_query, canonical_request, sign, verify

ACCESS = "FAKEAKFAKEAKFAKEAK01"
SECRET = "fakeSKfakeSKfakeSKfakeSKfakeSKfakeSK0001"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BASE = "/v2/c53626012ba84727b938ca8bf03108ef/fdi/instances/fae7ff6c-8e07-4cf8-9e67-589cab2f017c"
NAMES = "content-type;host;user-agent;x-project-id;x-sdk-date"


def headers(content_type: str) -> list[tuple[str, str]]:
    return [
        ("Content-Type", content_type),
        ("Host", "127.0.0.1:8080"),
        ("User-Agent", "huaweicloud-usdk-python/3.0; example"),
        ("X-Project-Id", "c53626012ba84727b938ca8bf03108ef"),
        ("X-Sdk-Date", "20260102T030405Z"),
        ("Accept-Encoding", "gzip"),
    ]


EXAMPLES = {
    "A": (
        Message(
            "POST",
            f"{BASE}/multi-tasks/15366328208d4d77b76532fe9f4006a6/reset".encode(),
            b"",
            headers("application/json;charset=utf-8"),
            b'{"date_from": 1630052714000}',
        ),
        "3aedf54a42530ada9b3423ce7a39bba345dba365784d9f7724df13573b424b73",
    ),
    "B": (
        Message("GET", f"{BASE}/tasks".encode(), b"limit=10&name=a%20b%2F%C3%A9~%2A&offset=0", headers("application/json")),
        "7a6b190058f1370e0484f6e74670142295b26104e8a4a877df0ea511cf5c8198",
    ),
}


@pytest.fixture(params=sorted(EXAMPLES))
def example(request: pytest.FixtureRequest) -> tuple[Message, str]:
    return EXAMPLES[request.param]


def claim(signature: str) -> Claim:
    return Claim.parse(f"SDK-HMAC-SHA256 Access={ACCESS}, SignedHeaders={NAMES}, Signature={signature}")


def test_worked_example_verifies(example: tuple[Message, str]) -> None:
    message, signature = example
    verify(message, claim(signature), SECRET, NOW)


def test_worked_example_is_what_we_sign(example: tuple[Message, str]) -> None:
    message, signature = example
    ours = sign(replace(message, headers=message.headers[:-1]), ACCESS, SECRET, NOW)
    assert ours[-1] == ("Authorization", f"SDK-HMAC-SHA256 Access={ACCESS}, SignedHeaders={NAMES}, Signature={signature}")


def test_canonical_request_of_example_b_has_the_printed_hash() -> None:
    import hashlib

    canonical = canonical_request(EXAMPLES["B"][0], NAMES.split(";"))
    assert hashlib.sha256(canonical.encode()).hexdigest() == "d86ee263f5749d26a90b55b14f452ac8ef26d023d0c210a351c0fa6bcbc574c0"


@pytest.mark.parametrize(
    "altered",
    [
        {"method": "PUT"},
        {"path": EXAMPLES["A"][0].path + b"/x"},
        {"query": b"a=1"},
        {"body": b'{"date_from": 1630052714001}'},
        {"body": b""},
        {"headers": [*headers("application/json;charset=utf-8")[:3], ("X-Project-Id", "other"), ("X-Sdk-Date", "20260102T030405Z")]},
        {"headers": [h if h[0] != "X-Sdk-Date" else ("X-Sdk-Date", "20260102T030406Z") for h in EXAMPLES["A"][0].headers]},
    ],
    ids=["method", "path", "query", "body", "no body", "header", "date"],
)
def test_an_altered_request_is_refused_as_a_guess(altered: dict[str, object]) -> None:
    message, signature = EXAMPLES["A"]
    with pytest.raises(SignatureError, match="verify aksk signature fail") as caught:
        verify(replace(message, **altered), claim(signature), SECRET, NOW)  # type: ignore[arg-type]
    assert caught.value.guess


def test_a_wrong_key_is_refused() -> None:
    message, signature = EXAMPLES["A"]
    with pytest.raises(SignatureError, match="verify aksk"):
        verify(message, claim(signature), SECRET + "x", NOW)


@pytest.mark.parametrize("seconds", [901, -901, 86_400])
def test_a_skewed_clock_is_named_and_is_not_a_guess(seconds: int) -> None:
    message, signature = EXAMPLES["A"]
    with pytest.raises(SignatureError, match="15 minutes from the server's time") as caught:
        verify(message, claim(signature), SECRET, NOW + timedelta(seconds=seconds))
    assert not caught.value.guess


@pytest.mark.parametrize("seconds", [900, -900])
def test_just_15_minutes_pass(seconds: int) -> None:
    message, signature = EXAMPLES["A"]
    verify(message, claim(signature), SECRET, NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "date",
    ["", "now", "20260102T030405", "2026-01-02T03:04:05Z", "20261302T030405Z", "00000102T030405Z", "२०२६०१०२T०३०४०५Z", "20260230T030405Z"],
)
def test_malformed_dates_are_refused(date: str) -> None:
    message = replace(EXAMPLES["A"][0], headers=[("Host", "h"), ("X-Sdk-Date", date)])
    with pytest.raises(SignatureError, match="YYYYMMDDTHHMMSSZ"):
        verify(message, claim("0" * 64), SECRET, NOW)


def test_no_date_is_refused() -> None:
    with pytest.raises(SignatureError, match="x-sdk-date not found"):
        verify(replace(EXAMPLES["A"][0], headers=[]), claim("0" * 64), SECRET, NOW)


def test_a_signed_header_must_stand_there_once() -> None:
    message, signature = EXAMPLES["A"]
    for changed, words in ((message.headers[1:], "is absent"), ([*message.headers, ("host", "evil")], "stands there twice")):
        with pytest.raises(SignatureError, match=words):
            verify(replace(message, headers=changed), claim(signature), SECRET, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Bearer abc",
        "SDK-HMAC-SM3 Access=a, SignedHeaders=host, Signature=" + "0" * 64,
        "SDK-HMAC-SHA256 Access=, SignedHeaders=host, Signature=" + "0" * 64,
        "SDK-HMAC-SHA256 Access=a, SignedHeaders=, Signature=" + "0" * 64,
        "SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=" + "0" * 63,
        "SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=" + "0" * 65,
        "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;host, Signature=" + "0" * 64,
        "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;;x, Signature=" + "0" * 64,
        "SDK-HMAC-SHA256 Access=a, SignedHeaders=" + ";".join(f"h{i}" for i in range(65)) + ", Signature=" + "0" * 64,
    ],
)
def test_a_malformed_authorization_is_refused(text: str) -> None:
    with pytest.raises(SignatureError):
        Claim.parse(text)


def signed(message: Message) -> tuple[Message, Claim]:
    sent = sign(message, ACCESS, SECRET, NOW)
    return replace(message, headers=sent), Claim.parse(sent[-1][1])


def test_an_unsigned_payload_may_change_where_the_client_signed_that() -> None:
    message = Message("POST", b"/x", b"", [("Host", "h"), ("X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD")], b"a")
    sent, by = signed(message)
    verify(replace(sent, body=b"b"), by, SECRET, NOW)


def test_an_added_hash_header_does_not_cover_another_body() -> None:
    import hashlib

    sent, by = signed(Message("POST", b"/x", b"", [("Host", "h")], b"a"))
    stolen = [*sent.headers, ("X-Sdk-Content-Sha256", hashlib.sha256(b"a").hexdigest())]
    verify(replace(sent, headers=stolen), by, SECRET, NOW)
    with pytest.raises(SignatureError, match="not the SHA-256 of the body"):
        verify(replace(sent, headers=stolen, body=b"b"), by, SECRET, NOW)


def test_an_added_unsigned_payload_header_does_not_pass() -> None:
    sent, by = signed(Message("POST", b"/x", b"", [("Host", "h")], b"a"))
    with pytest.raises(SignatureError, match="verify aksk"):
        verify(replace(sent, headers=[*sent.headers, ("X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD")], body=b"b"), by, SECRET, NOW)


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        (b"/", "/"),
        (b"", "/"),
        (b"/a/", "/a/"),
        (b"/a%2Fb", "/a/b/"),
        (b"/%7Bproject_id%7D/x", "/%7Bproject_id%7D/x/"),
        (b"/a%20b/~c*", "/a%20b/~c%2A/"),
        (b"/%25", "/%25/"),
        (b"/%FF", "/%FF/"),
    ],
)
def test_paths_are_decoded_before_they_are_split(path: bytes, canonical: str) -> None:
    assert canonical_path(path) == canonical


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        (b"", ""),
        (b"b=2&a=1", "a=1&b=2"),
        (b"a=2&a=1", "a=1&a=2"),
        (b"a", "a="),
        (b"a=", "a="),
        (b"&&a=1&", "a=1"),
        (b"a=b+c%2B", "a=b%20c%2B"),
        (b"a=%C3%A9=x", "a=%C3%A9%3Dx"),
        (b"a=%FF", "a=%FF"),
    ],
)
def test_queries_are_sorted_and_encoded_again(query: bytes, canonical: str) -> None:
    assert canonical_query(query) == canonical


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABC-0123456789", min_size=1, max_size=12)


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=50), st.dictionaries(TOKEN, TEXT, max_size=5))
def test_whatever_we_sign_verifies(path: bytes, query: bytes, body: bytes, values: dict[str, str]) -> None:
    reserved = ("host", "x-sdk-date", "x-sdk-content-sha256")
    lowered = {name.lower(): value for name, value in values.items() if name.lower() not in reserved}
    sent, by = signed(Message("POST", path, query, [("Host", "h"), *lowered.items()], body))
    verify(sent, by, SECRET, NOW)
