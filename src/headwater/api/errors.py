"""Every error leaves as `{error_code, error_msg, request_id}`: refusals of services, of the gateway part, of validation, and our own bugs.

The codes are those of the contract; FDI codes stand with the services, the gateway's codes here. Values that a caller has sent are never
repeated in a message: they may be secrets, and they may be a megabyte.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from headwater.domain.errors import HeadwaterError, SourceError, TargetError
from headwater.services.errors import ServiceError, cut, invalid, refusal

NO_API = "The API does not exist or has not been published in the environment."
GATEWAY_CODES: dict[str, tuple[tuple[int, str], ...]] = {
    "APIG.0301": ((401, "Incorrect IAM authentication information: <reason>"),),
    "APIGW.0101": ((404, NO_API), (404, "The API does not exist")),
    "APIGW.0201": ((400, "API request error."), (413, "Request entity too large.")),
    "APIG.0201": (
        (414, "Request URI too large."),
        (494, "Request headers too large."),
        (500, "An unexpected error occurred."),
        (503, "Backend unavailable."),
    ),
    "APIC.7302": ((404, "Instance not found"),),
}
"""Code -> the HTTP statuses and texts that it is answered with (contract/error-codes.csv; 503 is ours)."""

_log = structlog.get_logger(__name__)


def bad_request(why: str) -> ServiceError:
    """400 for what is not a request at all: a URL or body that can't be read."""
    return ServiceError("APIGW.0201", 400, cut(f"API request error. {why}"))


def bad_body(why: str) -> ServiceError:
    """400 for a body that is not the JSON object it should be."""
    return refusal("FDI.3002", why)


def no_such_instance() -> ServiceError:
    """404 for a project or instance that is not the caller's, whether it exists or not."""
    return ServiceError("APIC.7302", 404, "Instance not found: the caller has no such project or instance. Check both ids in the URL.")


def error_body(code: str, message: str, request_id: str, details: Sequence[str] = ()) -> dict[str, Any]:
    """The documented error body; `details` is a list of single findings, only where there are several."""
    body: dict[str, Any] = {"error_code": code, "error_msg": cut(message), "request_id": request_id}
    if details:
        body["details"] = list(details)
    return body


def error_response(request: Request, error: ServiceError, headers: dict[str, str] | None = None) -> JSONResponse:
    """A refusal as an answer. Clients of the identity service look for its form of an error, so below /v3 it is there as well."""
    body = error_body(error.code, error.message, request.scope.get("request_id", ""), error.details)
    if request.scope["path"].startswith("/v3/"):
        body["error"] = {"code": error.status, "message": body["error_msg"], "title": _title(error.status)}
    return JSONResponse(body, error.status, headers)


def _title(status: int) -> str:
    """The name of a status; 494 is the gateway's own and has none."""
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"


def log_unexpected(error: Exception, **ids: str) -> None:
    """Log a bug by type and place. Its text is left out: errors of databases quote row values and parameters (P10)."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-12:]]
    _log.error("api.unexpected", error=f"{type(error).__module__}.{type(error).__qualname__}", frames=frames, **ids)


def unexpected() -> ServiceError:
    """500 for our own bugs."""
    return ServiceError("APIG.0201", 500, "An unexpected error occurred. The service's log tells more under this request_id.")


def from_known(error: HeadwaterError) -> ServiceError:
    """What an error that a service has let through means to the caller: a database of theirs, or something of ours."""
    if isinstance(error, SourceError | TargetError):
        return refusal("FDI.3016", str(error))
    if error.kind == "store_unavailable":
        return ServiceError("APIG.0201", 503, cut(f"Backend unavailable. {error}"))
    return ServiceError("APIG.0201", 500, cut(f"An unexpected error occurred. {error}"))


def from_validation(errors: Sequence[Any]) -> ServiceError:
    """The first finding of a failed validation, named by its place, e.g. `mapping_columns[0].source_column`."""
    first = errors[0]
    place, *inner = [part for part in first["loc"] if part not in ("body", "query", "path", "header")] or ["body"]
    name = str(place)[:64] + "".join(f"[{part}]" if isinstance(part, int) else f".{str(part)[:64]}" for part in inner[:8])
    why = "is missing." if first["type"] == "missing" else f"{first['msg']}."
    return invalid(name, why)


def install(app: FastAPI) -> None:
    """Let all of an app's errors leave in our shape."""

    def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ServiceError)
        return error_response(request, error)

    def known(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HeadwaterError)
        _log.warning("api.failed", kind=error.kind, message=str(error), request_id=request.scope.get("request_id", ""))
        return error_response(request, from_known(error))

    def invalid_request(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return error_response(request, from_validation(error.errors()))

    def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            allow = {"Allow": ", ".join(sorted(_methods(app, request)))}
            return error_response(request, ServiceError("APIGW.0101", 404, "The API does not exist: this path knows other methods."), allow)
        if error.status_code == 404:
            return error_response(request, ServiceError("APIGW.0101", 404, NO_API))
        return error_response(request, bad_request(""), dict(error.headers or {}))

    app.add_exception_handler(ServiceError, refused)
    app.add_exception_handler(HeadwaterError, known)
    app.add_exception_handler(RequestValidationError, invalid_request)
    app.add_exception_handler(HTTPException, http)


def _methods(app: FastAPI, request: Request) -> set[str]:
    """All methods that some route knows for the request's path."""
    found: set[str] = set()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in app.router.routes):
            found.add(method)
    return found
