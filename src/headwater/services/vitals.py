"""The vital signs of the whole service, for its operator: what every task and every capture is doing, across all projects.

Callers of the API see only their own through `monitoring`; this view is for metrics, and holds no names of tables and no values.
"""

from __future__ import annotations

from dataclasses import dataclass

from headwater.ports.runtime import ApplyReport, CaptureReport, Live
from headwater.ports.store import Store, Verification


@dataclass(frozen=True)
class TaskSign:
    """A task: its state, its apply's newest report (None where none runs), its newest verification that has ended."""

    task_id: str
    name: str
    state: str
    report: ApplyReport | None
    verified: Verification | None = None


@dataclass(frozen=True)
class CaptureSign:
    """A data source whose log is captured: its capture's newest report."""

    data_source_id: str
    name: str
    report: CaptureReport


class Vitals:
    """Reads the store and the live reports; never blocks on a worker or a database of a user."""

    def __init__(self, store: Store, live: Live) -> None:
        self._store = store
        self._live = live

    def tasks(self) -> list[TaskSign]:
        """All saved tasks, oldest first."""
        return [TaskSign(t.id, t.name, t.state, self._live.apply(t.id), self._verified(t.id)) for t in self._store.tasks()]

    def captures(self) -> list[CaptureSign]:
        """All data sources whose capture has reported, oldest first."""
        found = [(source, self._live.capture(source.id)) for source in self._store.data_sources()]
        return [CaptureSign(source.id, source.name, report) for source, report in found if report is not None]

    def _verified(self, task_id: str) -> Verification | None:
        return next((v for v in self._store.verifications(task_id, limit=2) if not v.open), None)
