"""One connection's open transaction at a MySQL target: what a run and a person who mends rows have in common."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress

from pymysql.err import Error

from headwater.dialects.mysql_session import Server, cut
from headwater.domain.errors import HeadwaterError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable
from headwater.ports.target import Written
from headwater.targets.mysql import checkpoints
from headwater.targets.mysql.dirty import Desk
from headwater.targets.mysql.errors import translate
from headwater.targets.mysql.session import Connection, connect
from headwater.targets.mysql.writer import Writer
from headwater.targets.records import settled
from headwater.targets.transaction import OpenTransaction

MENDING_WAIT_S = 10
"""How long a person who mends rows waits for a row or record that a run holds."""


class Session:
    """A connection with its writer."""

    def __init__(self, server: Server, task_id: str, mappings: Sequence[TableMapping]) -> None:
        self.connection: Connection = connect(server)
        self.writer = Writer(server, self.connection, task_id, mappings)

    @property
    def id(self) -> int:
        """The server's number of the session."""
        return self.connection.server_thread_id[0]

    def execute(self, statement: str) -> None:
        """See `transaction.Session`."""
        self.connection.run(statement)

    def mark(self) -> None:
        """See `transaction.Session`."""

    def back(self, mark: None) -> None:
        """See `transaction.Session`."""
        del mark
        self.writer.stages.forget()
        self.writer.ended()

    def rollback(self) -> None:
        """See `transaction.Session`."""
        try:
            self.connection.rollback()
        except Error:
            self.close()
        self.writer.stages.forget()
        self.writer.ended()

    def cut(self) -> None:
        """Break the connection under a call that waits for it (any thread)."""
        cut(self.connection)

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back. Idempotent."""
        with suppress(Error):
            self.connection.close()


class MysqlWriting:
    """`Writing` for MySQL: one connection's open transaction."""

    def __init__(self, server: Server, task_id: str, mappings: Sequence[TableMapping] = ()) -> None:
        self._server = server
        self._task_id = task_id
        self._mappings = mappings
        self._main = Session(server, task_id, mappings)
        self._transaction = OpenTransaction(self._main, Error, self._translated)
        self.dirty = Desk(self._main.connection, task_id, self._asking)

    def write(self, merged: Sequence[MergedTable]) -> Written:
        """See `Writing.write`."""
        tables = ", ".join(sorted({str(one.mapping.target) for one in merged}))
        with self._asking(f"writing to {tables}"):
            return self._main.writer.write(merged)

    def stands(self, mapping: TableMapping, key: Sequence[bytes | None]) -> bool:
        """See `Writing.stands`."""
        with self._asking(f"looking into {mapping.target}"):
            self._main.writer.learn([mapping])
            return self._main.writer.table(mapping).stands(key)

    def check(self) -> None:
        """See `Writing.check`."""
        with self._asking("what is written, as a whole"):
            if self._settled():
                self._main.writer.settle()

    def tentatively(self, *, keep: bool = True) -> AbstractContextManager[None]:
        """See `Writing.tentatively`."""
        return self._transaction.tentatively(keep=keep)

    def rollback(self) -> None:
        """See `Writing.rollback`."""
        if self._main.connection.open:
            self._main.rollback()

    def close(self) -> None:
        """See `Writing.close`."""
        self._main.close()

    def _settled(self) -> bool:
        """Whether the target is what the source was at one moment, but for this transaction."""
        place = checkpoints.read(self._main.connection, self._task_id)
        return place is None or settled(place)

    def _asking(self, doing: str) -> AbstractContextManager[None]:
        return self._transaction.asking(doing)

    def _translated(self, error: Error, doing: str) -> HeadwaterError:
        names = {name for info in self._main.writer.known.values() for name in info.names}
        return translate(error, doing, names)


class MysqlMending(MysqlWriting):
    """`Mending` for MySQL."""

    def __init__(self, server: Server, task_id: str) -> None:
        super().__init__(server, task_id)
        with self._asking("getting ready"):
            for name in ("innodb_lock_wait_timeout", "lock_wait_timeout"):
                self._main.connection.run(f"SET SESSION {name} = {MENDING_WAIT_S}")

    def commit(self) -> None:
        """See `Mending.commit`."""
        self.check()
        with self._asking("committing"):
            self._main.connection.commit()
        self._main.writer.ended()
