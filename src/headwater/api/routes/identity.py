"""Tokens, and the project look-up that the official SDK makes where it was given none."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from headwater.api.payloads.identity import TokenBody, token_members
from headwater.api.routing import CallerRoute, CurrentCaller, JsonRoute
from headwater.api.services import Using

router = APIRouter(tags=["identity"])
tokens = APIRouter(prefix="/v3", route_class=JsonRoute)
projects = APIRouter(prefix="/v3", route_class=CallerRoute)


@tokens.post("/auth/tokens", operation_id="CreateToken", status_code=201)
def create_token(request: Request, body: TokenBody, using: Using) -> Response:
    """Issue a token for 24 hours; it is in the header X-Subject-Token, and goes into X-Auth-Token."""
    issued = using.access.issue(body.form())
    members = token_members(issued, str(request.base_url), catalog="nocatalog" not in request.query_params)
    return JSONResponse(members, 201, {"X-Subject-Token": issued.text})


@projects.get("/projects", operation_id="ListProjects")
def list_projects(request: Request, caller: CurrentCaller) -> dict[str, Any]:
    """The caller's one project. The `name` that the SDK sends is its region's id, which a self-hosted service does not have."""
    project = {
        "id": caller.scope.project_id,
        "name": caller.project_name,
        "description": "",
        "enabled": True,
        "is_domain": False,
        "links": {"self": f"{request.base_url}v3/projects/{caller.scope.project_id}"},
    }
    return {"projects": [project], "links": {"self": str(request.base_url) + "v3/projects", "next": None, "previous": None}}


router.include_router(tokens)
router.include_router(projects)
