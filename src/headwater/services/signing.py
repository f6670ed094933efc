"""SDK-HMAC-SHA256: how a request proves that its sender holds a secret key, without sending it.

The client and the server derive one text from the request (the *canonical request*), and both compute its HMAC. This module is that
text, once: the server verifies with it, our own client signs with it. No socket, no store, no clock: "now" is an argument.

The signature covers what the client lists in `SignedHeaders`, so the server reads the list from the request and assumes none. The
body is always covered, unless the client itself has signed the words `UNSIGNED-PAYLOAD` in its place.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = "SDK-HMAC-SHA256"
SKEW_MAX = timedelta(minutes=15)
"""How far `X-Sdk-Date` may be from the server's clock, either way."""

SIGNED_HEADERS_MAX = 64
"""More header names than this in `SignedHeaders` are refused: no client lists so many."""

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_HASH = hashlib.sha256(b"").hexdigest()

_AUTHORIZATION = re.compile(
    r"SDK-HMAC-SHA256 +Access=([^,\s]{1,128}), *SignedHeaders=([!#$%&'*+.^`|~0-9A-Za-z;-]+), *Signature=([0-9a-fA-F]{64})"
)
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_DATE_FORMAT = "%Y%m%dT%H%M%SZ"


class SignatureError(Exception):
    """The request does not prove what it claims. `str(error)` is a reason that may be shown to the caller.

    `guess` is true where a wrong key or an altered request is the likely cause, which counts towards the lock of the key.
    """

    def __init__(self, reason: str, *, guess: bool = False) -> None:
        super().__init__(reason)
        self.guess = guess


@dataclass(frozen=True)
class Message:
    """A request as it stands on the wire: nothing decoded, so that both sides see the same bytes.

    `path` and `query` are percent-encoded and without `?`; `headers` are (name, value) in any case and order.
    """

    method: str
    path: bytes
    query: bytes
    headers: Sequence[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The value of a header by lower-case name, outer blanks stripped; None where it is absent."""
        for key, value in self.headers:
            if key.lower() == name:
                return value.strip()
        return None


@dataclass(frozen=True)
class Claim:
    """What an `Authorization` header says: whose key, which headers, which signature."""

    access_key: str
    signed_headers: tuple[str, ...]
    signature: str

    @classmethod
    def parse(cls, authorization: str) -> Claim:
        """Read `SDK-HMAC-SHA256 Access=..., SignedHeaders=a;b, Signature=<64 hex>`.

        Raises:
            SignatureError: it is another algorithm, or not of this form.
        """
        match = _AUTHORIZATION.fullmatch(authorization.strip())
        if match is None:
            raise SignatureError(f"the Authorization header is not of the form '{ALGORITHM} Access=..., SignedHeaders=..., Signature=...'")
        names = tuple(match[2].lower().split(";"))
        if len(names) > SIGNED_HEADERS_MAX or len(set(names)) != len(names) or "" in names:
            raise SignatureError("SignedHeaders names a header twice, an empty one, or too many")
        return cls(match[1], names, match[3].lower())


def signed_at(message: Message, now: datetime) -> str:
    """The `X-Sdk-Date` of a message, checked against `now` (aware).

    Raises:
        SignatureError: absent, malformed, or more than `SKEW_MAX` away.
    """
    stamp = message.header("x-sdk-date")
    if stamp is None:
        raise SignatureError("x-sdk-date not found")
    try:
        moment = datetime.strptime(stamp, _DATE_FORMAT).replace(tzinfo=UTC) if _DATE.fullmatch(stamp) else None
    except ValueError:
        moment = None
    if moment is None:
        raise SignatureError("x-sdk-date is not a UTC time of the form YYYYMMDDTHHMMSSZ")
    if abs(now - moment) > SKEW_MAX:
        raise SignatureError(
            f"x-sdk-date is more than 15 minutes from the server's time {now.astimezone(UTC):%Y%m%dT%H%M%SZ}; set the client's clock"
        )
    return stamp


def verify(message: Message, claim: Claim, secret_key: str, now: datetime) -> None:
    """Return where `claim` holds for `message` under `secret_key`; the comparison takes constant time.

    Raises:
        SignatureError: it does not hold.
    """
    stamp = signed_at(message, now)
    expected = _signature(secret_key, stamp, canonical_request(message, claim.signed_headers))
    if not hmac.compare_digest(expected, claim.signature):
        raise SignatureError("verify aksk signature fail", guess=True)


def sign(message: Message, access_key: str, secret_key: str, now: datetime) -> list[tuple[str, str]]:
    """The headers to send: those of `message`, `X-Sdk-Date` if it had none, and `Authorization`. All of them are signed.

    `message.headers` must hold `Host`. Names with an underscore are sent unsigned, as the official SDK does.
    """
    stamp = message.header("x-sdk-date")
    headers = list(message.headers)
    if stamp is None:
        stamp = now.astimezone(UTC).strftime(_DATE_FORMAT)
        headers.append(("X-Sdk-Date", stamp))
    names = tuple(sorted(name.lower() for name, _ in headers if "_" not in name))
    whole = Message(message.method, message.path, message.query, headers, message.body)
    signature = _signature(secret_key, stamp, canonical_request(whole, names))
    return [*headers, ("Authorization", f"{ALGORITHM} Access={access_key}, SignedHeaders={';'.join(names)}, Signature={signature}")]


def canonical_request(message: Message, signed_headers: Sequence[str]) -> str:
    """The six parts, joined by line feeds, that both sides compute.

    Raises:
        SignatureError: a signed header is absent or stands there twice, or the body is not the one whose hash is claimed.
    """
    names = sorted(signed_headers)
    parts = (
        message.method.upper(),
        canonical_path(message.path),
        canonical_query(message.query),
        "".join(f"{name}:{_signed_value(message, name)}\n" for name in names),
        ";".join(names),
        _payload_hash(message),
    )
    return "\n".join(parts)


def canonical_path(path: bytes) -> str:
    """Decode the whole path, split it, encode each segment again, and end with a slash."""
    text = "/".join(quote(segment, safe="~") for segment in unquote_to_bytes(path).split(b"/"))
    return text if text.endswith("/") else text + "/"


def canonical_query(query: bytes) -> str:
    """Pairs sorted by their decoded text, each side encoded again."""
    # Bytes throughout: parse_qsl can't give back what is not ASCII.
    halves = (pair.replace(b"+", b" ").partition(b"=") for pair in query.split(b"&") if pair)
    pairs = sorted((unquote_to_bytes(key), unquote_to_bytes(value)) for key, _, value in halves)
    return "&".join(f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in pairs)


def _signed_value(message: Message, name: str) -> str:
    values = [value.strip() for key, value in message.headers if key.lower() == name]
    if len(values) != 1:
        raise SignatureError(f"the signed header {name} {'stands there twice' if values else 'is absent'}")
    return values[0]


def _payload_hash(message: Message) -> str:
    if not message.body:
        return EMPTY_HASH
    actual = hashlib.sha256(message.body).hexdigest()
    claimed = message.header("x-sdk-content-sha256")
    if claimed is None or claimed == UNSIGNED_PAYLOAD:
        return claimed or actual
    if not hmac.compare_digest(claimed.lower().encode(), actual.encode()):
        # Taken as is, the old hash in an added header would let anybody on the way replace the body.
        raise SignatureError("x-sdk-content-sha256 is not the SHA-256 of the body", guess=True)
    return claimed


def _signature(secret_key: str, stamp: str, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return hmac.new(secret_key.encode(), f"{ALGORITHM}\n{stamp}\n{digest}".encode(), hashlib.sha256).hexdigest()
