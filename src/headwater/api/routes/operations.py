"""For those who run the service: is it alive, is it ready, how is it doing. Open to everybody who can reach the port."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from headwater.api.metrics import exposition
from headwater.api.services import Using

router = APIRouter(tags=["operations"])


@router.get("/healthz", operation_id="Healthz")
async def healthz() -> dict[str, str]:
    """Alive. Not in the thread pool on purpose: it answers even while all threads wait for databases."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="Readyz")
def readyz(using: Using) -> Response:
    """Ready to do its work: the store can be reached and the supervisor runs."""
    reasons = list(using.ready())
    if not reasons:
        return JSONResponse({"status": "ready"})
    return JSONResponse({"status": "not ready", "reasons": reasons, "error_code": "APIG.0201", "error_msg": "Backend unavailable."}, 503)


@router.get("/metrics", operation_id="Metrics")
def metrics(using: Using) -> Response:
    """Prometheus metrics."""
    return Response(exposition(using.vitals), media_type=CONTENT_TYPE_LATEST)
