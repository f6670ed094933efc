"""Logging of the service: structured entries on standard error, ours and those of the libraries in one shape.

Every entry has an `event` (a stable name), a `level`, a `time` (UTC) and the ids of the thing it is about. Row values and secrets are
never logged; nothing here could take them out again.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Literal

import structlog

from headwater.domain.errors import HeadwaterError

QUIET = ("httpx", "httpcore", "alembic", "uvicorn.error")
"""Libraries whose progress messages say nothing to an operator: only their warnings get through."""


def configure(level: str, shape: Literal["json", "console"]) -> None:
    """Set up structlog, and the standard library's logging to go the same way. May be called again."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=_last(shape), foreign_pre_chain=[*shared, _fields]))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _last(shape: Literal["json", "console"]) -> list[structlog.typing.Processor]:
    """The steps that make text of an entry."""
    clean = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if shape == "console":
        return [clean, _error, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    return [clean, _error, structlog.processors.JSONRenderer(default=str)]


def _error(_logger: object, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """An exception as its type and the places it came through. Its text is kept only where we wrote it: a driver's holds row values."""
    given = entry.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else sys.exc_info()[1] if given else None
    if error is None:
        return entry
    entry["error"] = type(error).__name__
    if isinstance(error, HeadwaterError):
        entry["message"] = str(error)
    entry["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return entry


def _fields(_logger: object, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Entries of plain `logging` carry their fields as `extra={"fields": {...}}`."""
    record = entry.get("_record")
    return {**entry, **getattr(record, "fields", {})}
