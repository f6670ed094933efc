"""What several use cases ask about a task."""

from __future__ import annotations

from headwater.ports.store import Task


def is_running(task: Task) -> bool:
    """True where the task is wished to run and has not failed: the API's status 1, and what changes have to wait for."""
    return task.wished and task.state != "failed"
