"""The outermost layer of the API: a request id for every answer, bounds on what comes in, and the last resort for our own bugs.

It is plain ASGI, so that it also sees what the framework answers by itself, and never holds a body.
"""

from __future__ import annotations

import re
import time
import uuid
from urllib.parse import unquote_to_bytes

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.api.errors import bad_request, error_response, log_unexpected, unexpected
from headwater.services.errors import ServiceError

BODY_BYTES_MAX = 12 * 1024 * 1024
URI_BYTES_MAX = 32 * 1024
HEADER_BYTES_MAX = 32 * 1024
HEADERS_BYTES_MAX = 128 * 1024

BODIES_BYTES_MAX = 256 * 1024 * 1024
"""All bodies that are held at once, by whomever: a signature can be checked only once its body is there."""

_DIGITS = re.compile(rb"[0-9]{1,18}")
_log = structlog.get_logger(__name__)


def too_large() -> ServiceError:
    """413, whether the length was announced or came out while reading."""
    return ServiceError("APIGW.0201", 413, f"Request entity too large. A body has at most {BODY_BYTES_MAX} bytes (12 MB).")


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the module's docstring."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["request_id"] = uuid.uuid4().hex
        exchange = _Exchange(self, scope, receive, send)
        try:
            await exchange.run(self._app)
        finally:
            self.held_bytes -= exchange.body_bytes


class _Exchange:
    """One request and its answer."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate, self._scope, self._receive, self._send = gate, scope, receive, send
        self.body_bytes = 0
        self._status = 0

    async def run(self, app: ASGIApp) -> None:
        began = time.monotonic()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=self._scope["request_id"])
        try:
            refusal = _refusal(self._scope)
            if refusal is not None:
                await self._answer(refusal)
            else:
                await app(self._scope, self.receive, self.send)
        except Exception as error:  # noqa: BLE001 - the last resort: logged, and answered in the documented shape
            log_unexpected(error, request_id=self._scope["request_id"])
            if not self._status:
                await self._answer(unexpected())
        route = self._scope.get("route")
        path = getattr(route, "path", "-")
        _log.info("api.request", method=self._scope["method"], route=path, status=self._status, ms=round((time.monotonic() - began) * 1000))

    async def receive(self) -> Message:
        """The next piece of the body, counted."""
        message = await self._receive()
        piece = len(message.get("body", b""))
        self.body_bytes += piece
        self._gate.held_bytes += piece
        if self.body_bytes > BODY_BYTES_MAX:
            raise too_large()
        if self._gate.held_bytes > BODIES_BYTES_MAX:
            raise ServiceError("APIG.0201", 503, "Backend unavailable. Too many large requests at once; try again in a few seconds.")
        return message

    async def send(self, message: Message) -> None:
        """The answer, with its id."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message.get("headers", []), (b"x-request-id", self._scope["request_id"].encode())]
        await self._send(message)

    async def _answer(self, error: ServiceError) -> None:
        response = error_response(Request(self._scope), error)
        await response(self._scope, self._receive, self.send)


def _refusal(scope: Scope) -> ServiceError | None:
    """What is wrong with a request by its first line and headers alone."""
    path, query = scope.get("raw_path") or scope["path"].encode(), scope["query_string"]
    if len(path) + len(query) >= URI_BYTES_MAX:
        return ServiceError("APIG.0201", 414, "Request URI too large. It has at most 32 KB.")
    sizes = [len(name) + len(value) for name, value in scope["headers"]]
    if max(sizes, default=0) > HEADER_BYTES_MAX or sum(sizes) > HEADERS_BYTES_MAX:
        return ServiceError("APIG.0201", 494, "Request headers too large. One has at most 32 KB, all together 128 KB.")
    for part in (path, query):
        decoded = unquote_to_bytes(part)
        if b"\x00" in decoded:
            return bad_request("The URL has a NUL character.")
        try:
            decoded.decode()
        except UnicodeDecodeError:
            return bad_request("The URL is not UTF-8.")
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if lengths and (not _DIGITS.fullmatch(lengths[0]) or int(lengths[0]) > BODY_BYTES_MAX):
        return too_large()
    return None
