"""What the API stands on: the services, in one value that the composition root fills."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Request

from headwater.ports.store import Scope
from headwater.services.access import Access
from headwater.services.creation import TableCreation
from headwater.services.data_sources import DataSources
from headwater.services.dirty_rows import DirtyRowsAside
from headwater.services.mappings import Mappings
from headwater.services.monitoring import Monitoring
from headwater.services.tasks import Tasks
from headwater.services.verifications import Verifications
from headwater.services.vitals import Vitals


class Resetting(Protocol):
    """The reset service, as far as the API needs it (see `services/resets.py`)."""

    def reset(self, scope: Scope, task_id: str, date_from_ms: object, by: str) -> object:
        """Take a task back to a moment, or to the beginning (None). What is not a moment is refused there, with the reachable window."""


@dataclass(frozen=True)
class Services:
    """All services. `ready` returns what keeps the service from being ready, in words; nothing means ready."""

    access: Access
    data_sources: DataSources
    tasks: Tasks
    mappings: Mappings
    resets: Resetting
    monitoring: Monitoring
    verifications: Verifications
    creation: TableCreation
    vitals: Vitals
    dirty_rows: DirtyRowsAside
    ready: Callable[[], Sequence[str]]


def services_of(request: Request) -> Services:
    """The services of the application that a request came to."""
    services: Services = request.app.state.services
    return services


Using = Annotated[Services, Depends(services_of)]
