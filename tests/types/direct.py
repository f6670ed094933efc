"""A table between two databases by the adapters alone, in one process: its copy, and its log through merge and write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.merge import merge
from headwater.domain.tables import TableName
from headwater.ports.source import Chunk
from headwater.ports.target import Checkpoint, TargetRun
from headwater.sources.postgres import PostgresSource
from tests.databases import Database
from tests.sources.postgres_logs import Follower, source_of
from tests.targets.test_postgres_target import target_of

EVERYTHING = frozenset({"INSERT", "UPDATE", "DELETE"})


@dataclass
class Direct:
    """`public.<table>` with the columns `id` (the key) and `v`."""

    source: PostgresSource
    run: TargetRun
    mapping: TableMapping
    log: Follower

    def copy(self) -> None:
        """Copy the table as it is now into an empty one."""
        with closing(self.source.snapshot()) as taken:
            columns, key = [pair.source for pair in self.mapping.columns], [pair.source for pair in self.mapping.key]
            for chunk in taken.chunks(self.mapping.source, key, 10):
                chunk_rows = taken.read(self.mapping.source, columns, key, chunk)
                self.run.copy_chunk(self.mapping, Chunk(chunk.number, None, None), chunk_rows, fresh=True, remove=False)

    def follow(self, rows: int) -> None:
        """Apply the next changes."""
        seen = len(self.log.frames)
        before = self.log.row_count
        self.log.until(lambda: self.log.row_count >= before + rows)
        batches = [batch for frame in self.log.frames[seen:] for batch in frame.batches]
        self.run.write([merge(self.mapping, batches, exact=True)])
        self.run.commit(Checkpoint(1))


@contextmanager
def direct(source: Database, target: Database, table: str = "t") -> Iterator[Direct]:
    """Both tables exist; the source's is published from here on."""
    name = TableName("public", table)
    reader, writer = source_of(source), target_of(target)
    reader.publish([name])
    writer.raise_epoch("task", 1)
    pairs = (ColumnPair("id", "id", True), ColumnPair("v", "v"))
    with ExitStack() as stack:
        log = stack.enter_context(closing(reader.open_log([name], None, False)))
        run = stack.enter_context(closing(writer.open("task", 1)))
        yield Direct(reader, run, TableMapping("m", name, name, pairs, EVERYTHING), Follower(log))
