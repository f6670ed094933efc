"""One run's side of a target: its open transaction, its checkpoint, and connections for the threads that copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from pymysql.err import Error

from headwater.dialects.mysql_session import Server
from headwater.domain.errors import HeadwaterError, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable
from headwater.domain.tables import TableName
from headwater.ports.source import Chunk
from headwater.ports.target import Checkpoint, CopyState, Look, TableState, Written
from headwater.targets.mysql import aside, books, checkpoints, chunks, filled
from headwater.targets.mysql.looking import end, look
from headwater.targets.mysql.session import Connection, connected
from headwater.targets.mysql.statements import any_row
from headwater.targets.mysql.writing import MysqlWriting, Session
from headwater.targets.pool import Pool
from headwater.targets.records import fenced, no_checkpoint, settled


class MysqlTargetRun(MysqlWriting):
    """`TargetRun` for MariaDB and MySQL."""

    def __init__(self, server: Server, task_id: str, epoch: int, mappings: Sequence[TableMapping] = ()) -> None:
        super().__init__(server, task_id, mappings)
        self._epoch = epoch
        self._pool = Pool(lambda: Session(server, task_id, mappings))
        self._touched: dict[str, TableMapping] = {}  # mappings that the open transaction has written for
        self._copied: dict[str, TableMapping] = {m.mapping_id: m for m in mappings}
        try:
            self._place = self.checkpoint()
            if self._place.epoch != epoch:
                raise fenced(task_id, epoch)
            if mappings:
                with self._fenced_session("looking which tables are there") as session:
                    filled.check(session.connection, task_id, mappings, self.is_empty)
        except HeadwaterError:
            self.close()
            raise

    def checkpoint(self) -> Checkpoint:
        """See `TargetRun.checkpoint`."""
        with self._reading("reading the checkpoint") as connection:
            found = checkpoints.read(connection, self._task_id)
            if found is None:
                raise no_checkpoint(self._task_id)
            return found

    def table_states(self) -> dict[str, TableState]:
        """See `TargetRun.table_states`."""
        with self._reading("reading the copy's progress") as connection:
            return checkpoints.states(connection, self._task_id)

    def save_table_state(self, state: TableState) -> None:
        """See `TargetRun.save_table_state`."""
        mapping = self._copied.get(state.mapping_id)
        with self._fenced_session("recording the copy's progress") as session:
            if state.state is CopyState.COPIED and mapping is not None:
                session.writer.learn([mapping])
                session.writer.table(mapping).aside.remove_unseen()
            elif not state.chunks_done:
                aside.begin_copy(session.connection, self._task_id, state.mapping_id)
            checkpoints.save_state(session.connection, self._task_id, state)
        if state.state is CopyState.COPIED and mapping is not None:
            session.writer.table(mapping).aside.drop_seen()

    def tracked(self, mappings: Sequence[TableMapping]) -> frozenset[str]:
        """See `TargetRun.tracked`."""
        with self._fenced_session("looking into the books of rows") as session:
            complete, others = books.tracked(session.connection, self._task_id, mappings)
        if others:
            with connected(self._server, "dropping books of rows") as connection:
                books.drop(connection, self._task_id, others)
        return complete

    def start_copy(self, mapping: TableMapping) -> None:
        """See `TargetRun.start_copy`."""
        with self._fenced_session(f"beginning the copy to {mapping.target}") as session:
            session.writer.learn([mapping])
            books.start(self._server, session.connection, self._task_id, session.writer.statements(mapping))

    def finish_copy(self, mapping: TableMapping) -> None:
        """See `TargetRun.finish_copy`."""
        with self._fenced_session(f"ending the copy to {mapping.target}") as session:
            session.writer.learn([mapping])
            books.finish(session.connection, self._task_id, session.writer.book(mapping))

    def is_empty(self, table: TableName) -> bool:
        """See `TargetRun.is_empty`."""
        with self._reading(f"looking into {table}") as connection:
            return not connection.ask(any_row(table))

    def copy_chunk(self, mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes], fresh: bool, remove: bool) -> int:
        """See `TargetRun.copy_chunk`."""
        self._copied[mapping.mapping_id] = mapping
        with self._session(f"copying to {mapping.target}") as session:
            task = (self._task_id, self._epoch)
            filled.check(session.connection, self._task_id, [mapping], self.is_empty)
            return chunks.copy_chunk(session.connection, session.writer, task, mapping, chunk, rows, fresh=fresh, remove=remove)

    def remove_missing(self, mapping: TableMapping, chunk: Chunk, keys: Iterable[bytes]) -> None:
        """See `TargetRun.remove_missing`."""
        self._copied[mapping.mapping_id] = mapping
        with self._asking(f"copying to {mapping.target}"):
            chunks.remove_missing(self._main.connection, self._main.writer, mapping, chunk, keys)

    def mark_chunk(self, mapping: TableMapping, chunk: Chunk, rows: int) -> None:
        """See `TargetRun.mark_chunk`."""
        with self._asking(f"copying to {mapping.target}"):
            chunks.hold(self._main.connection, (self._task_id, self._epoch))
            checkpoints.mark_chunk(self._main.connection, self._task_id, mapping.mapping_id, chunk.number, rows)

    def write(self, merged: Sequence[MergedTable]) -> Written:
        """See `Writing.write`."""
        self._touched |= {one.mapping.mapping_id: one.mapping for one in merged if one.steps}
        return super().write(merged)

    def commit(self, checkpoint: Checkpoint) -> None:
        """See `TargetRun.commit`."""
        if checkpoint.epoch != self._epoch:
            raise TargetError(f"The checkpoint's epoch {checkpoint.epoch} is not the run's {self._epoch}.", kind="internal")
        with self._asking("committing what was written"):
            if settled(checkpoint):
                self._main.writer.settle()
            touched, self._touched = list(self._touched.values()), {}
            if touched:
                filled.check(self._main.connection, self._task_id, touched, self.is_empty)
            held = checkpoints.advance(self._main.connection, self._task_id, checkpoint)
            if held:
                self._main.connection.commit()
        if not held:
            self._main.rollback()
            raise fenced(self._task_id, self._epoch)
        self._main.writer.ended(settled=settled(checkpoint) and settled(self._place))
        self._place = checkpoint

    def look(self) -> Look:
        """See `TargetRun.look`."""
        ids = [session.id for session in (self._main, *self._pool.busy)]
        asked = self._main.id if self._transaction.asked else None
        with connected(self._server, "looking at the target's sessions") as connection:
            return look(connection, ids, asked)

    def cut(self) -> None:
        """See `TargetRun.cut`. The server may never hear of it, so its sessions are ended first: their locks would stop the next run."""
        sessions = [self._main, *self._pool.all]
        with suppress(HeadwaterError), connected(self._server, "ending our sessions at the target") as connection:
            end(connection, [session.id for session in sessions])
        for session in sessions:
            session.cut()

    def close(self) -> None:
        """See `TargetRun.close`."""
        self._pool.close()
        self._main.close()

    def _settled(self) -> bool:
        return settled(self._place)

    @contextmanager
    def _session(self, doing: str) -> Iterator[Session]:
        """A session of the caller's own, apart from the run's transaction."""
        try:
            with self._pool.session() as session:
                yield session
        except Error as error:
            raise self._translated(error, doing) from None

    @contextmanager
    def _fenced_session(self, doing: str) -> Iterator[Session]:
        """A session of the caller's own; what is done in it is committed, under our epoch."""
        with self._session(doing) as session:
            chunks.hold(session.connection, (self._task_id, self._epoch))
            yield session
            session.connection.commit()
            session.writer.ended()

    @contextmanager
    def _reading(self, doing: str) -> Iterator[Connection]:
        with self._session(doing) as session:
            yield session.connection
            session.connection.rollback()
