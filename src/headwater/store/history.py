"""Runs and resets in SQL."""

from __future__ import annotations

from dataclasses import asdict, replace

from sqlalchemy import Connection, Table, delete, insert, select, update

from headwater.ports.store import Reset, Run
from headwater.store.base import SqlPart, cleaned
from headwater.store.errors import StoreError
from headwater.store.schema import resets, runs, tasks

RUNS_KEPT = 1000
"""Runs kept per task; a task that fails and is started again for months must not fill the disk."""

RESETS_KEPT = 10_000
"""Resets kept per task, refused ones included; a script that resets every minute must not either."""


class SqlHistory(SqlPart):
    """`HistoryStore` on SQL."""

    def save_run(self, run: Run) -> None:
        """See the port."""
        try:
            with self._transaction() as connection:
                self._put(connection, runs, asdict(run) | {"outcome": cleaned(run.outcome), "message": cleaned(run.message)})
                _drop_oldest(connection, runs, run.task_id, RUNS_KEPT)
        except StoreError as error:
            if error.kind != "store_gone":
                raise

    def runs(self, task_id: str, limit: int, offset: int = 0) -> list[Run]:
        """See the port."""
        query = select(runs).where(runs.c.task_id == task_id).order_by(runs.c.seq.desc()).limit(limit).offset(offset)
        found = ({name: row[name] for name in Run.__dataclass_fields__} for row in self._all(query))
        return [Run(**(values | {"notes": tuple(values["notes"] or ())})) for values in found]

    def accept_reset(self, reset: Reset) -> Reset | None:
        """See the port."""
        raise_epoch = update(tasks).where(tasks.c.id == reset.task_id).values(epoch=tasks.c.epoch + 1).returning(tasks.c.epoch)
        with self._transaction() as connection:
            epoch = connection.execute(raise_epoch).scalar_one_or_none()
            if epoch is None:
                return None
            accepted = replace(reset, epoch=epoch, outcome="accepted")
            connection.execute(insert(resets).values(**asdict(accepted)))
        return accepted

    def save_reset(self, reset: Reset) -> None:
        """See the port."""
        try:
            with self._transaction() as connection:
                self._put(connection, resets, asdict(reset) | {"by": cleaned(reset.by), "message": cleaned(reset.message)})
                _drop_oldest(connection, resets, reset.task_id, RESETS_KEPT)
        except StoreError as error:
            if error.kind != "store_gone":
                raise

    def resets(self, task_id: str | None = None, outcome: str | None = None) -> list[Reset]:
        """See the port."""
        query = select(resets).order_by(resets.c.seq.desc())
        if task_id is not None:
            query = query.where(resets.c.task_id == task_id)
        if outcome is not None:
            query = query.where(resets.c.outcome == outcome)
        return [Reset(**{name: row[name] for name in Reset.__dataclass_fields__}) for row in self._all(query)]


def _drop_oldest(connection: Connection, table: Table, task_id: str, kept: int) -> None:
    """Drop a task's oldest records beyond `kept`, but none of a reset that is still to be carried out."""
    of_task = table.c.task_id == task_id
    oldest_kept = select(table.c.seq).where(of_task).order_by(table.c.seq.desc()).limit(1).offset(kept - 1).scalar_subquery()
    connection.execute(delete(table).where(of_task, table.c.seq < oldest_kept, table.c.outcome != "accepted"))
