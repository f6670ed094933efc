"""MariaDB and MySQL as a target: what can be asked of it without a run, and how runs begin."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from pymysql.err import Error

from headwater.dialects import mysql_ddl
from headwater.dialects.mysql_compare import MysqlComparison
from headwater.dialects.mysql_session import Server
from headwater.domain.mapping import TableMapping
from headwater.domain.outline import Made, Outline
from headwater.domain.tables import TableName, TableSchema
from headwater.ports.source import Finding
from headwater.ports.target import Checkpoint, TableState
from headwater.targets.mysql import aside, books, catalog, checkpoints
from headwater.targets.mysql.check import find
from headwater.targets.mysql.errors import translate
from headwater.targets.mysql.run import MysqlTargetRun
from headwater.targets.mysql.session import Connection, connect, connected
from headwater.targets.mysql.writing import MysqlMending


class MysqlTarget:
    """`Target` for MariaDB 10.5 and later and MySQL 8.0 and later. Each call opens a connection of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def test(self) -> None:
        """See `Target.test`."""
        with self._connected("saying hello") as connection:
            connection.ask("SELECT 1")

    def tables(self) -> list[TableName]:
        """See `Target.tables`: those of the data source's database."""
        with self._connected("listing tables") as connection:
            return catalog.all_tables(connection)

    def describe(self, tables: Sequence[TableName]) -> dict[TableName, TableSchema]:
        """See `Target.describe`."""
        with self._connected("describing tables") as connection:
            found = catalog.read_tables(connection, tables)
            return {table: info.schema for table, info in found.items() if info.kind == "BASE TABLE"}

    def create(self, wanted: Sequence[tuple[Outline, TableName]], dry_run: bool) -> list[Made]:
        """See `Target.create`. A statement that makes a table commits by itself."""
        with self._connected("creating tables") as connection:
            made = [mysql_ddl.create_table(outline, table, connection.mariadb) for outline, table in wanted]
            if dry_run:
                return made
            return [self._created(connection, one, str(table)) for one, (_, table) in zip(made, wanted, strict=True)]

    def _created(self, connection: Connection, made: Made, name: str) -> Made:
        try:
            for statement in made.statements:
                connection.run(statement)
        except Error as error:
            if not connection.open:
                raise translate(error, f"creating {name}") from None
            number, text = (*error.args, "", "")[:2]  # the words are about the statement, which holds no row
            return replace(made, problem=f"The target refused creating {name}: {text} (error {number}).")
        return made

    def check(self, mappings: Sequence[TableMapping]) -> list[Finding]:
        """See `Target.check`."""
        with self._connected("checking the target") as connection:
            return find(connection, self._server, mappings)

    def look(self, task_id: str) -> tuple[Checkpoint, dict[str, TableState]]:
        """See `Target.look`."""
        with self._connected("reading the checkpoint") as connection:
            place = checkpoints.read(connection, task_id)
            return (Checkpoint(0), {}) if place is None else (place, checkpoints.states(connection, task_id))

    def raise_epoch(self, task_id: str, epoch: int, move_to: Checkpoint | None = None, recopy: bool | frozenset[str] = False) -> Checkpoint:
        """See `Target.raise_epoch`."""
        with self._connected("taking the task over") as connection:
            checkpoints.prepare(connection)
            place = checkpoints.raise_epoch(connection, task_id, epoch, move_to, recopy)
            connection.commit()
            return place

    def open(self, task_id: str, epoch: int, mappings: Sequence[TableMapping] = ()) -> MysqlTargetRun:
        """See `Target.open`."""
        return MysqlTargetRun(self._server, task_id, epoch, mappings)

    def mend(self, task_id: str) -> MysqlMending:
        """See `Target.mend`."""
        return MysqlMending(self._server, task_id)

    def forget(self, task_id: str) -> None:
        """See `Target.forget`."""
        with self._connected("forgetting the task") as connection:
            if checkpoints.prepared(connection):
                books.forget(connection, task_id)
                checkpoints.forget(connection, task_id)
                connection.commit()
                aside.drop_all(connection, task_id)

    def compare(self, timeout_s: float) -> MysqlComparison:
        """See `Target.compare`."""
        return MysqlComparison(connect(self._server), timeout_s, lambda error, doing: translate(error, f"{doing} at {self._server}"))

    def _connected(self, doing: str) -> AbstractContextManager[Connection]:
        return connected(self._server, f"{doing} at {self._server}")


def open_target(target_id: str, content: dict[str, Any], secrets: dict[str, str]) -> MysqlTarget:  # noqa: ARG001 - every factory has it
    """The target of a saved data source: `content` and `secrets` with the API's field names. Connects to nothing."""
    return MysqlTarget(
        Server(
            host=str(content["host"]),
            port=int(content.get("port") or 3306),
            database=str(content["database_name"]),
            user=str(content["user_name"]),
            password=secrets.get("password", ""),
            tls=bool(content.get("ssl_enable")),
        )
    )
