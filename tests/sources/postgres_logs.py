"""Help for the tests of the PostgreSQL source: a source on a throw-away database, and reading its log until something has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from headwater.domain.changes import Frame, Op
from headwater.domain.tables import TableName
from headwater.ports.source import Captured, Log
from headwater.sources.postgres import PostgresConfig, PostgresSource
from tests.databases import Database

Row = dict[str, Any]


def source_of(database: Database, source_id: str = "", **more: Any) -> PostgresSource:
    """A source that reads the database as its superuser, or as `user` with `password`, or through another `host` and `port`."""
    cluster = database.cluster
    way = {"host": cluster.host, "port": cluster.port, "user": cluster.user, "password": cluster.password, **more}
    return PostgresSource(PostgresConfig(source_id or database.name, database=database.name, **way))


def table(name: str, schema: str = "public") -> TableName:
    return TableName(schema, name)


def rows_of(frames: Sequence[Frame]) -> list[tuple[str, str, Row]]:
    """The changes in log order as (table, operation, values by column); unchanged values are left out."""
    made = []
    for number, frame in enumerate(frames):
        for batch in frame.batches:
            batch.data.validate(full=True)
            marks = {column: mark.to_pylist() for column, mark in batch.unchanged.items()}
            names = [c.name for c in batch.schema.columns]
            for at, row in enumerate(batch.data.to_pylist()):
                values = {name: row[name] for i, name in enumerate(names) if not (i in marks and marks[i][at])}
                made.append(((number, row["_seq"]), (str(batch.schema.table), Op(row["_op"]).name, values)))
    return [change for _, change in sorted(made, key=lambda pair: pair[0])]


class Follower:
    """Takes from a log and remembers everything."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.frames: list[Frame] = []
        self.heard: list[Captured] = []

    def until(self, enough: Callable[[], Any], timeout_s: float = 30.0) -> None:
        """Take until `enough` is true."""
        deadline = time.monotonic() + timeout_s
        while not enough():
            assert time.monotonic() < deadline, f"not within {timeout_s} s; so far {len(self.frames)} frames, {len(self.heard)} words"
            captured = self.log.next(0.2)
            if captured is not None:
                self.heard.append(captured)
                self.frames += captured.frames

    def rows(self, count: int, timeout_s: float = 30.0) -> list[tuple[str, str, Row]]:
        """Take until there are `count` rows; fails where there are more."""
        self.until(lambda: self.row_count >= count, timeout_s)
        assert self.row_count == count
        return rows_of(self.frames)

    def passed(self, source: PostgresSource, position: str) -> None:
        """Take until the log has told that it is at or behind `position`."""
        self.until(lambda: self.heard and source.reached(self.heard[-1].position, position))

    @property
    def row_count(self) -> int:
        return sum(batch.data.num_rows for frame in self.frames for batch in frame.batches)

    @property
    def position(self) -> str:
        return self.heard[-1].position
