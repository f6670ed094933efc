"""The engine's log: events with fields, over the standard library's logging, which never raises into the thread that logs.

The service and the workers turn the records into one shape (`headwater/logs.py`, `headwater/worker.py`). No row values, no secrets.
"""

from __future__ import annotations

import logging


class Log:
    """Says events of one part of the engine."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def say(self, level: int, event: str, **fields: object) -> None:
        """Log `event` (a stable name) with its fields, at a level of `logging`."""
        self._logger.log(level, event, extra={"fields": fields})

    def info(self, event: str, **fields: object) -> None:
        """Something that an operator may want to know."""
        self.say(logging.INFO, event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something that heals by itself, or needs a look."""
        self.say(logging.WARNING, event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Something that should not happen."""
        self.say(logging.ERROR, event, **fields)
