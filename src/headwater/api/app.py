"""The application: routes, errors and the gate put together, and an OpenAPI document that tells the truth about errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

import headwater
from headwater.api import errors
from headwater.api.gate import Gate
from headwater.api.routes import creation, data_sources, dirty_rows, identity, multi_tasks, operations, tasks, verifications
from headwater.api.services import Services

ERROR_STATUSES = {"400": "The request is refused, and why", "401": "The caller is not authenticated", "404": "There is no such thing"}
_UNUSED = ("HTTPValidationError", "ValidationError")


def create_app(services: Services) -> FastAPI:
    """The ASGI application over the given services. It opens nothing and starts nothing by itself."""
    app = FastAPI(
        title="Headwater",
        version=headwater.__version__,
        description="Combined tasks: tables kept equal from one database to another, with a reset to any moment.",
        docs_url=None,  # both pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
    )
    app.state.services = services
    errors.install(app)
    app.add_middleware(Gate)
    routers = (data_sources, multi_tasks, tasks, dirty_rows, verifications, creation, identity, operations)
    for router in (one.router for one in routers):
        app.include_router(router)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        return app.openapi_schema or _with_our_errors(generate())

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _with_our_errors(document: dict[str, Any]) -> dict[str, Any]:
    """Replace the framework's 422 by what is really answered."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _UNUSED:
        schemas.pop(name, None)
    text = {"type": "string"}
    schemas["Error"] = {
        "type": "object",
        "required": ["error_code", "error_msg"],
        "properties": {"error_code": text, "error_msg": {**text, "maxLength": 512}, "request_id": text},
    }
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for path, operations_of in document["paths"].items():
        for operation in operations_of.values():
            operation["responses"].pop("422", None)
            if path.startswith("/v"):
                operation["responses"].update({code: {"description": why, "content": content} for code, why in ERROR_STATUSES.items()})
    return document
