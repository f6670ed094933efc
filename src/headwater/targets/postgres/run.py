"""One run's side of a target: its open transaction, its checkpoint, and connections for the threads that copy."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg

from headwater.domain.errors import HeadwaterError, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable
from headwater.domain.tables import TableName
from headwater.ports.source import Chunk
from headwater.ports.target import Checkpoint, Look, TableState, Written
from headwater.targets.pool import Pool
from headwater.targets.postgres import books, checkpoints, chunks, filled, overlays
from headwater.targets.postgres.config import PostgresTargetConfig
from headwater.targets.postgres.errors import translate
from headwater.targets.postgres.looking import end, look
from headwater.targets.postgres.session import Connection, connected
from headwater.targets.postgres.statements import any_row
from headwater.targets.postgres.writing import PostgresWriting, Session
from headwater.targets.records import fenced, no_checkpoint, settled

LOOK_S = 5.0
"""How often a commit looks at all of the run's tables, not just at those that it has written to."""


class PostgresTargetRun(PostgresWriting):
    """`TargetRun` for PostgreSQL."""

    def __init__(self, config: PostgresTargetConfig, task_id: str, epoch: int, mappings: Sequence[TableMapping] = ()) -> None:
        super().__init__(config, task_id, mappings)
        self._epoch = epoch
        self._pool = Pool(lambda: Session(config, task_id, mappings))
        self._tables: dict[TableName, int] = {}  # the tables that the run fills, by name: see filled.py
        self._touched: set[TableName] = set()
        self._look_at = 0.0
        try:
            self._place = self.checkpoint()
            if self._place.epoch != epoch:
                raise fenced(task_id, epoch)
            self._tables = self._identify()
            self._noted = self._sweep()  # whether there may be overlays that wait to be shown
        except HeadwaterError:
            self.close()
            raise

    def checkpoint(self) -> Checkpoint:
        """See `TargetRun.checkpoint`."""
        with self._reading("reading the checkpoint") as connection:
            found = checkpoints.read(connection, self._task_id) if checkpoints.prepared(connection) else None
            if found is None:
                raise no_checkpoint(self._task_id)
            return found

    def table_states(self) -> dict[str, TableState]:
        """See `TargetRun.table_states`."""
        with self._reading("reading the copy's progress") as connection:
            return checkpoints.states(connection, self._task_id)

    def save_table_state(self, state: TableState) -> None:
        """See `TargetRun.save_table_state`."""
        with self._fenced_session("recording the copy's progress") as session:
            checkpoints.save_state(session.connection, self._task_id, state)

    def tracked(self, mappings: Sequence[TableMapping]) -> frozenset[str]:
        """See `TargetRun.tracked`."""
        with self._fenced_session("looking into the books of rows") as session:
            return books.tracked(session.connection, self._task_id, mappings)

    def start_copy(self, mapping: TableMapping) -> None:
        """See `TargetRun.start_copy`."""
        with self._fenced_session(f"beginning the copy to {mapping.target}") as session:
            session.writer.learn([mapping])
            books.start(session.connection, self._task_id, mapping, session.writer.statements(mapping))

    def finish_copy(self, mapping: TableMapping) -> None:
        """See `TargetRun.finish_copy`."""
        with self._fenced_session(f"ending the copy to {mapping.target}") as session:
            session.writer.learn([mapping])
            books.finish(session.connection, self._task_id, mapping, session.writer.book(mapping))

    def is_empty(self, table: TableName) -> bool:
        """See `TargetRun.is_empty`."""
        with self._reading(f"looking into {table}") as connection:
            return connection.execute(any_row(table)).fetchone() is None

    def copy_chunk(self, mapping: TableMapping, chunk: Chunk, rows: Iterable[bytes], fresh: bool, remove: bool) -> int:
        """See `TargetRun.copy_chunk`."""
        with self._session(f"copying to {mapping.target}") as session:
            self._noted = True
            task = (self._task_id, self._epoch)
            try:
                count = chunks.copy_chunk(session.connection, session.writer, task, mapping, chunk, rows, fresh=fresh, remove=remove)
            except psycopg.Error as error:
                raise self._explained(translate(error, f"copying to {mapping.target}"), [mapping], session.writer) from None
            session.writer.committed()
            return count

    def remove_missing(self, mapping: TableMapping, chunk: Chunk, keys: Iterable[bytes]) -> None:
        """See `TargetRun.remove_missing`."""
        with self._asking(f"copying to {mapping.target}"):
            chunks.remove_missing(self._main.connection, self._main.writer, mapping, chunk, keys)

    def mark_chunk(self, mapping: TableMapping, chunk: Chunk, rows: int) -> None:
        """See `TargetRun.mark_chunk`."""
        with self._asking(f"copying to {mapping.target}"):
            chunks.hold(self._main.connection, (self._task_id, self._epoch))
            self._main.writer.check_notes(mapping)
            filled.check(self._main.connection, self._task_id, [mapping])
            checkpoints.mark_chunk(self._main.connection, self._task_id, mapping.mapping_id, chunk.number, rows)

    def write(self, merged: Sequence[MergedTable]) -> Written:
        """See `Writing.write`."""
        self._touched.update(one.mapping.target for one in merged)
        return super().write(merged)

    def commit(self, checkpoint: Checkpoint) -> None:
        """See `TargetRun.commit`. TargetError (`schema_mismatch`) where a table that was written to is not the one that was copied to."""
        if checkpoint.epoch != self._epoch:
            raise TargetError(f"The checkpoint's epoch {checkpoint.epoch} is not the run's {self._epoch}.", kind="internal")
        connection = self._main.connection
        with self._asking("committing what was written"):
            shown = settled(checkpoint) and self._show()
            held = checkpoints.advance(connection, self._task_id, checkpoint, self._places(shown=shown))
            if held:
                if shown:
                    self._main.writer.shown()
                connection.commit()
        if not held:
            self._main.rollback()
            self._identify()
            raise fenced(self._task_id, self._epoch)
        self._main.writer.committed()
        self._touched.clear()
        self._place = checkpoint

    def look(self) -> Look:
        """See `TargetRun.look`."""
        sessions = [self._main, *self._pool.busy]
        asked = self._main.connection.info.backend_pid if self._transaction.asked else None
        with connected(self._config, "looking at the target's sessions") as connection:
            return look(connection, [session.connection.info.backend_pid for session in sessions], asked)

    def cut(self) -> None:
        """See `TargetRun.cut`. The server may never hear of it, so its sessions are ended first: their locks would stop the next run."""
        sessions = [self._main, *self._pool.all]
        with suppress(HeadwaterError), connected(self._config, "ending our sessions at the target") as connection:
            end(connection, [session.connection.info.backend_pid for session in sessions])
        for session in sessions:
            session.cut()

    def close(self) -> None:
        """See `TargetRun.close`."""
        self._pool.close()
        self._main.close()

    def _settled(self) -> bool:
        """While there may be something to be shown, writing may have to go there."""
        self._noted = self._noted or not settled(self._place)
        return not self._noted

    def _show(self) -> bool:
        """Show what was laid aside, inside the open transaction, unless a part of it is still being copied."""
        if self._noted and overlays.copying(self._main.connection, self._task_id):
            return False
        noted, self._noted = self._noted, False
        if not (noted or self._main.writer.passing()):
            return False
        return self._main.writer.show()

    def _places(self, *, shown: bool) -> list[list[str] | list[int]]:
        """The tables that a commit looks at."""
        now = time.monotonic()
        everything = shown or now >= self._look_at
        if everything:
            self._look_at = now + LOOK_S
        return filled.places(self._tables, self._tables.keys() if everything else self._touched)

    def _identify(self) -> dict[TableName, int]:
        """The tables' numbers. TargetError (`schema_mismatch`) where one that was copied to is another one now."""
        if not self._mappings:
            return {}
        with self._fenced_session("looking which tables are there") as session:
            return filled.note(session.connection, self._task_id, self._mappings)

    def _sweep(self) -> bool:
        with self._session("looking for what was laid aside") as session:
            overlays.sweep(session.connection, self._task_id, sorted(m.mapping_id for m in self._mappings) or None)
            return bool(overlays.read(session.connection, self._task_id))

    @contextmanager
    def _session(self, doing: str) -> Iterator[Session]:
        """A connection of the caller's own, apart from the run's transaction."""
        try:
            with self._pool.session() as session:
                yield session
        except psycopg.Error as error:
            raise translate(error, doing) from None

    @contextmanager
    def _fenced_session(self, doing: str) -> Iterator[Session]:
        """A session of the caller's own; what is done in it is committed, under our epoch."""
        with self._session(doing) as session:
            yield session
            chunks.hold(session.connection, (self._task_id, self._epoch))
            session.connection.commit()
            session.writer.committed()

    @contextmanager
    def _reading(self, doing: str) -> Iterator[Connection]:
        with self._session(doing) as session:
            yield session.connection
            session.connection.rollback()
