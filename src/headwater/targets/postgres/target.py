"""PostgreSQL as a target: what can be asked of it without a run, and how runs begin."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import psycopg

from headwater.dialects import postgres_ddl
from headwater.dialects.postgres_compare import PostgresComparison
from headwater.domain.mapping import TableMapping
from headwater.domain.outline import Made, Outline
from headwater.domain.tables import TableName, TableSchema
from headwater.ports.source import Finding
from headwater.ports.target import Checkpoint, TableState
from headwater.targets.postgres import books, catalog, checkpoints, overlays
from headwater.targets.postgres.check import find
from headwater.targets.postgres.config import PostgresTargetConfig
from headwater.targets.postgres.errors import translate
from headwater.targets.postgres.run import PostgresTargetRun
from headwater.targets.postgres.session import Connection, connect, connected
from headwater.targets.postgres.writing import PostgresMending


class PostgresTarget:
    """`Target` for PostgreSQL 12 and later. Each call opens a connection of its own."""

    def __init__(self, config: PostgresTargetConfig) -> None:
        self._config = config

    def test(self) -> None:
        """See `Target.test`."""
        with self._connected("saying hello") as connection:
            connection.execute("SELECT")

    def tables(self) -> list[TableName]:
        """See `Target.tables`."""
        with self._connected("listing tables") as connection:
            return catalog.all_tables(connection)

    def describe(self, tables: Sequence[TableName]) -> dict[TableName, TableSchema]:
        """See `Target.describe`."""
        with self._connected("describing tables") as connection:
            return {table: info.schema for table, info in catalog.read_tables(connection, tables).items()}

    def create(self, wanted: Sequence[tuple[Outline, TableName]], dry_run: bool) -> list[Made]:
        """See `Target.create`."""
        made = [postgres_ddl.create_table(outline, table) for outline, table in wanted]
        if dry_run:
            return made
        with self._connected("creating tables") as connection:
            names = [str(table) for _, table in wanted]
            return [self._created(connection, one, name) for one, name in zip(made, names, strict=True)]

    def _created(self, connection: Connection, made: Made, name: str) -> Made:
        try:
            for statement in made.statements:
                connection.execute(statement.encode())
            connection.commit()
        except psycopg.Error as error:
            problem = translate(error, f"creating {name}")
            if connection.closed:
                raise problem from None
            connection.rollback()
            return replace(made, problem=str(problem))
        return made

    def check(self, mappings: Sequence[TableMapping]) -> list[Finding]:
        """See `Target.check`."""
        with self._connected("checking the target") as connection:
            return find(connection, mappings)

    def look(self, task_id: str) -> tuple[Checkpoint, dict[str, TableState]]:
        """See `Target.look`."""
        with self._connected("reading the checkpoint") as connection:
            place = checkpoints.read(connection, task_id) if checkpoints.prepared(connection) else None
            return (Checkpoint(0), {}) if place is None else (place, checkpoints.states(connection, task_id))

    def raise_epoch(self, task_id: str, epoch: int, move_to: Checkpoint | None = None, recopy: bool | frozenset[str] = False) -> Checkpoint:
        """See `Target.raise_epoch`."""
        with self._connected("taking the task over") as connection:
            checkpoints.prepare(connection)
            place = checkpoints.raise_epoch(connection, task_id, epoch, move_to, recopy)
            connection.commit()
            return place

    def open(self, task_id: str, epoch: int, mappings: Sequence[TableMapping] = ()) -> PostgresTargetRun:
        """See `Target.open`."""
        return PostgresTargetRun(self._config, task_id, epoch, mappings)

    def mend(self, task_id: str) -> PostgresMending:
        """See `Target.mend`."""
        return PostgresMending(self._config, task_id)

    def forget(self, task_id: str) -> None:
        """See `Target.forget`."""
        with self._connected("forgetting the task") as connection:
            if checkpoints.prepared(connection):
                books.forget(connection, task_id)
                checkpoints.forget(connection, task_id)
                overlays.sweep(connection, task_id)

    def compare(self, timeout_s: float) -> PostgresComparison:
        """See `Target.compare`."""
        return PostgresComparison(connect(self._config), timeout_s, lambda error, doing: translate(error, f"{doing} at {self._config}"))

    def _connected(self, doing: str) -> AbstractContextManager[Connection]:
        return connected(self._config, f"{doing} at {self._config}")


def open_target(target_id: str, content: dict[str, Any], secrets: dict[str, str]) -> PostgresTarget:  # noqa: ARG001 - every factory has it
    """The target of a saved data source: `content` and `secrets` with the API's field names. Connects to nothing."""
    return PostgresTarget(
        PostgresTargetConfig(
            host=str(content["host"]),
            port=int(content.get("port") or 5432),
            database=str(content["database_name"]),
            user=str(content["user_name"]),
            password=secrets.get("password", ""),
            sslmode="require" if content.get("ssl_enable") else "prefer",
        )
    )
