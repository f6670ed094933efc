"""Verifications of tasks: an extension beside the contract's operations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from headwater.api.payloads.verifications import VerificationList, VerificationQuery, VerificationRsp, VerifyBody
from headwater.api.routing import CallerRoute, CurrentCaller
from headwater.api.services import Using

PREFIX = "/v2/{project_id}/fdi/instances/{instance_id}/tasks/{task_id}/verifications"

router = APIRouter(prefix=PREFIX, route_class=CallerRoute, tags=["verifications"])


@router.post("", operation_id="VerifyTask")
def begin(task_id: str, body: VerifyBody, caller: CurrentCaller, using: Using) -> VerificationRsp:
    """Compare a task's target with its source; with `repair` write rows again that differ. The answer comes at once, the result later."""
    return VerificationRsp.of(using.verifications.begin(caller.scope, task_id, bool(body.repair), caller.name))


@router.get("", operation_id="ListVerifications")
def find(task_id: str, query: Annotated[VerificationQuery, Query()], caller: CurrentCaller, using: Using) -> VerificationList:
    """List a task's verifications, newest first."""
    return VerificationList.of(using.verifications.find(caller.scope, task_id, *query.page()))


@router.get("/{verification_id}", operation_id="ShowVerification")
def show(task_id: str, verification_id: str, caller: CurrentCaller, using: Using) -> VerificationRsp:
    """Show one verification: how far it is, or what came out."""
    return VerificationRsp.of(using.verifications.show(caller.scope, task_id, verification_id))


@router.delete("/{verification_id}", operation_id="CancelVerification")
def cancel(task_id: str, verification_id: str, caller: CurrentCaller, using: Using) -> VerificationRsp:
    """Give a verification up; what it has found stays on record."""
    return VerificationRsp.of(using.verifications.cancel(caller.scope, task_id, verification_id, caller.name))
