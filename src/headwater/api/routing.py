"""The route class of all operations that need a caller: who it is, whose resources these are, and what the body says, in this order.

Doing it here, before the framework reads anything, means that a stranger learns nothing from validation, that the signature is checked over
the very bytes that came, and that an operation's function starts with a proven caller and a clean object.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from headwater.api.errors import no_such_instance
from headwater.api.strict_json import read_object
from headwater.services.access import Access, Caller, unauthorized
from headwater.services.errors import refusal
from headwater.services.signing import ALGORITHM, Message

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class JsonRoute(APIRoute):
    """Reads a body by our own rules; whatever its content type, it is JSON or nothing."""

    def get_route_handler(self) -> Handler:
        """The framework's handler behind our own reading."""
        handle = super().get_route_handler()
        reads_body = self.body_field is not None

        async def handler(request: Request) -> Response:
            body = await self.admit(request)
            if not reads_body:
                return await handle(request)
            value = await run_in_threadpool(read_object, await request.body() if body is None else body)
            return await handle(_parsed(request, value))

        return handler

    async def admit(self, request: Request) -> bytes | None:  # noqa: ARG002 - everybody comes in here
        """Let the request in or raise; returns its body if it had to be read for that."""
        return None


class CallerRoute(JsonRoute):
    """Lets in only authenticated callers, and only to their own project and instance."""

    async def admit(self, request: Request) -> bytes | None:
        """Authenticate and authorise."""
        if not _claims_something(request):
            raise unauthorized("x-auth-token not found")
        body = await request.body()
        access: Access = request.app.state.services.access
        caller = await run_in_threadpool(access.authenticate, message_of(request, body), request.client.host if request.client else "")
        _authorise(request, caller)
        request.state.caller = caller
        return body


def message_of(request: Request, body: bytes) -> Message:
    """The request as it stood on the wire. Header values are UTF-8 where they can be, as the official SDK sends them."""
    headers = [(name.decode("latin-1"), _text(value)) for name, value in request.headers.raw]
    path = request.scope.get("raw_path") or request.scope["path"].encode()
    return Message(request.method, path, request.scope["query_string"], headers, body)


def current_caller(request: Request) -> Caller:
    """The caller that `CallerRoute` has proven."""
    caller: Caller = request.state.caller
    return caller


CurrentCaller = Annotated[Caller, Depends(current_caller)]


def _claims_something(request: Request) -> bool:
    return "x-auth-token" in request.headers or request.headers.get("authorization", "").startswith(ALGORITHM)


def _authorise(request: Request, caller: Caller) -> None:
    project, instance = request.path_params.get("project_id"), request.path_params.get("instance_id")
    if project not in (None, caller.scope.project_id) or instance not in (None, caller.scope.instance_id):
        raise no_such_instance()
    named = request.headers.get("x-project-id")
    if project is not None and named not in (None, "", project):
        raise refusal("FDI.3039", "The X-Project-Id header names another one.")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _parsed(request: Request, value: dict[str, Any]) -> Request:
    """A request whose JSON is read already, in the terms of the framework."""
    scope = dict(request.scope)
    scope["headers"] = [*(header for header in scope["headers"] if header[0] != b"content-type"), (b"content-type", b"application/json")]
    parsed = Request(scope, request.receive)
    parsed._body = b"{}"  # not empty, so that the framework asks for the JSON
    parsed._json = value
    return parsed
