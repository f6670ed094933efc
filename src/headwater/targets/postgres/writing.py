"""One connection's open transaction at a PostgreSQL target: what a run and a person who mends rows have in common."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, suppress

import psycopg

from headwater.domain.errors import HeadwaterError, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable
from headwater.ports.target import Written
from headwater.targets.postgres import overlays
from headwater.targets.postgres.altered import explained
from headwater.targets.postgres.config import PostgresTargetConfig
from headwater.targets.postgres.dirty import Desk
from headwater.targets.postgres.errors import translate
from headwater.targets.postgres.session import Connection, connect, write_as_replica
from headwater.targets.postgres.writer import Writer
from headwater.targets.transaction import OpenTransaction

MENDING_WAIT_MS = 10_000
"""How long a person who mends rows waits for a row or record that a run holds."""

REFUSALS = ("target_refused", "row_refused")
"""Kinds of failure that altered tables may have caused."""
EXPLAIN_S = 5.0
"""The shortest time between two looks for that."""


class Session:
    """A connection with its writer."""

    def __init__(self, config: PostgresTargetConfig, task_id: str, mappings: Sequence[TableMapping]) -> None:
        self.connection: Connection = connect(config)
        self.writer = Writer(self.connection, task_id, mappings, replica=write_as_replica(self.connection))

    def cut(self) -> None:
        """Break the connection under a call that waits for it (any thread)."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.connection.pgconn.socket)) as handle:
            handle.shutdown(socket.SHUT_RDWR)

    def execute(self, statement: str) -> None:
        """See `transaction.Session`."""
        self.connection.execute(statement.encode())

    def mark(self) -> Collection[str]:
        """See `transaction.Session`."""
        return self.writer.staged()

    def back(self, mark: Collection[str]) -> None:
        """See `transaction.Session`."""
        self.writer.rolled_back(mark)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self.connection.close()

    def rollback(self) -> None:
        """See `transaction.Session`."""
        try:
            self.connection.rollback()
        except psycopg.Error:
            self.connection.close()
        self.writer.rolled_back()


class PostgresWriting:
    """`Writing` for PostgreSQL: one connection's open transaction."""

    def __init__(self, config: PostgresTargetConfig, task_id: str, mappings: Sequence[TableMapping] = ()) -> None:
        self._config = config
        self._task_id = task_id
        self._mappings = mappings
        self._main = Session(config, task_id, mappings)
        self._transaction = OpenTransaction(self._main, psycopg.Error, translate)
        self._explain_at = 0.0
        self.dirty = Desk(self._main.connection, task_id, self._asking)

    def write(self, merged: Sequence[MergedTable]) -> Written:
        """See `Writing.write`."""
        tables = ", ".join(sorted({str(one.mapping.target) for one in merged}))
        try:
            with self._asking(f"writing to {tables}"):
                return self._main.writer.write(merged, settled=self._settled())
        except TargetError as error:
            raise self._explained(error, [one.mapping for one in merged], self._main.writer) from None

    def _explained(self, error: HeadwaterError, mappings: Sequence[TableMapping], writer: Writer) -> HeadwaterError:
        """A refusal may come of tables that were altered; looked at now and then only, since a batch may hold many rows that don't fit."""
        now = time.monotonic()
        if error.kind not in REFUSALS or now < self._explain_at:
            return error
        self._explain_at = now + EXPLAIN_S
        return explained(self._config, mappings, writer.known, error)

    def stands(self, mapping: TableMapping, key: Sequence[bytes | None]) -> bool:
        """See `Writing.stands`."""
        with self._asking(f"looking into {mapping.target}"):
            self._main.writer.learn([mapping])
            found = self._main.connection.execute(self._main.writer.statements(mapping).stands, key).fetchone()
            return found is not None

    def check(self) -> None:
        """See `Writing.check`."""
        with self._asking("what is written, as a whole"):
            self._main.writer.check()

    def tentatively(self, *, keep: bool = True) -> AbstractContextManager[None]:
        """See `Writing.tentatively`."""
        return self._transaction.tentatively(keep=keep)

    def rollback(self) -> None:
        """See `Writing.rollback`."""
        if not self._main.connection.closed:
            self._main.rollback()

    def close(self) -> None:
        """See `Writing.close`."""
        self._main.connection.close()

    def _settled(self) -> bool:
        """Whether nothing of the task is laid aside: the target is what the source was at one moment."""
        return not overlays.read(self._main.connection, self._task_id)

    def _asking(self, doing: str) -> AbstractContextManager[None]:
        return self._transaction.asking(doing)


class PostgresMending(PostgresWriting):
    """`Mending` for PostgreSQL."""

    def __init__(self, config: PostgresTargetConfig, task_id: str) -> None:
        super().__init__(config, task_id)
        with self._asking("getting ready"):
            self._main.connection.execute(f"SET lock_timeout = {MENDING_WAIT_MS}".encode())
            self._main.connection.commit()

    def commit(self) -> None:
        """See `Mending.commit`."""
        with self._asking("committing"):
            self._main.writer.check()
            self._main.connection.commit()
        self._main.writer.committed()
