"""What travels between a worker process and its runtime: one JSON object per line, in both directions.

To the worker: first the order (`{"kind", "id", "payload"}`), then commands. From it: `{"report": ...}` when something has changed,
`{"alive": true}` from time to time, and last of all `{"exit": {"kind", "message"}}`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from headwater.engine.control import read_ask
from headwater.ports.runtime import (
    ApplyReport,
    CaptureReport,
    Exit,
    Report,
    TableReport,
    VerifiedTable,
    VerifyReport,
    WorkerSpec,
)

MESSAGE_MAX = 1000
"""Error texts are cut to this many characters (P9)."""


def encode(message: dict[str, Any]) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def order_line(spec: WorkerSpec) -> bytes:
    """The first line to a worker."""
    return encode({"kind": spec.kind, "id": spec.id, "payload": spec.payload})


def read_order(line: bytes) -> WorkerSpec:
    """Read `order_line`."""
    return WorkerSpec(**json.loads(line))


KINDS: dict[type[Report], str] = {ApplyReport: "apply", CaptureReport: "capture", VerifyReport: "verify"}


def report_line(report: Report) -> bytes:
    """A report."""
    return encode({"report": {"of": KINDS[type(report)], **asdict(report)}})


def read_report(message: dict[str, Any]) -> Report:
    """Read the object below `report`."""
    fields = dict(message)
    kind = fields.pop("of")
    if kind == "verify":
        ask = fields["ask"]
        tables = tuple(VerifiedTable.read(table) for table in fields["tables"])
        return VerifyReport(**{**fields, "tables": tables, "ask": None if ask is None else read_ask(ask)})
    if kind == "capture":
        return CaptureReport(**{**fields, "lost": _offsets(fields["lost"]), "stale": _offsets(fields["stale"])})
    return ApplyReport(**{**fields, "tables": tuple(TableReport(**t) for t in fields["tables"])})


def _offsets(pairs: list[list[Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((name, offset) for name, offset in pairs)


def exit_line(ended: Exit) -> bytes:
    """The last line."""
    return encode({"exit": {"kind": ended.kind, "message": ended.message[:MESSAGE_MAX]}})
