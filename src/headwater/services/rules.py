"""What several use cases ask about a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from headwater.domain.errors import HeadwaterError
from headwater.ports.store import Task
from headwater.services.errors import unknown_data_source


def is_running(task: Task) -> bool:
    """True where the task is wished to run and has not failed: the API's status 1, and what changes have to wait for."""
    return task.wished and task.state != "failed"


@contextmanager
def refusing_the_gone() -> Iterator[None]:
    """Around saving a task: a data source of it that was deleted since it was looked up is refused like one that never was."""
    try:
        yield
    except HeadwaterError as error:
        if error.kind != "store_gone":
            raise
        raise unknown_data_source("source_datasource_id or target_datasource_id", status=400) from error
