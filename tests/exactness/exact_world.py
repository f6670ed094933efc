"""A data plane on real servers with one task over every table that both databases have, mapped by name as the API does it.

Everything that a test did to the source is settled by a marker: a row that is written last and must arrive. Then source and
target are compared table by table, text by text.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg import sql

from headwater import adapters
from headwater.domain.tables import TableName
from headwater.ports.store import Mapping
from headwater.services.data_sources import Connections
from headwater.services.locks import TaskLocks
from headwater.services.mappings import Mappings, Unmapped
from tests.databases import AnyDatabase, D, Database, wait_until
from tests.integration.reset_world import ResetWorld, now_ms
from tests.integration.world import alike

Rows = Sequence[Any]
TASK = "t"
MARKER = "CREATE TABLE marker (id int PRIMARY KEY)"
PARTITIONED = "SELECT relkind = 'p' FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE (nspname, relname) = (%s, %s)"


class ExactWorld(ResetWorld[D]):
    """A `ResetWorld` whose task covers all tables. `unmapped` is what automatic mapping left out, with the reasons."""

    unmapped: list[Unmapped]

    def prepare(self) -> None:
        """Make the marker, and the task over what stands in the databases now."""
        for side in (self.source, self.target):
            side.run(MARKER)
        self._marks = itertools.count()
        self.add_task(TASK, [])
        self.unmapped = self.map_by_name()

    def map_by_name(self) -> list[Unmapped]:
        """Map every table that is not mapped yet; what is left out comes back."""
        connections = Connections(adapters.source_of, adapters.target_of, adapters.KINDS, adapters.default_schema)
        made, unmapped = Mappings(self.store, connections, TaskLocks(), now_ms).by_name(self.task(TASK))
        self.store.save_mappings(made)
        return unmapped

    def findings(self) -> list[str]:
        """What the start of the task would be refused for."""
        mappings = [m.table_mapping(frozenset({"INSERT", "UPDATE", "DELETE"})) for m in self.store.mappings(TASK)]
        source, target = self.store.data_source("source"), self.store.data_source("target")
        assert source is not None
        assert target is not None
        found = adapters.source_of(source).check(sorted({m.source for m in mappings}))
        return [str(one) for one in [*found, *adapters.target_of(target).check(mappings)] if one.stops]

    @contextmanager
    def following(self) -> Iterator[Self]:
        """The data plane, with the task started and caught up."""
        with self.running():
            self.wish(TASK, True)
            self.settle()
            yield self

    def settle(self, timeout_s: float = 60.0) -> None:
        """Wait until everything that was committed at the source is in the target; a task that fails meanwhile fails the test."""
        mark = next(self._marks)
        self.source.run(f"INSERT INTO marker VALUES ({mark})")
        arrived = f"SELECT 1 FROM marker WHERE id = {mark}"
        with self.target.session(autocommit=True) as session:
            wait_until(lambda: self._alive() and session.execute(arrived), timeout_s, "the marker arrives")
        wait_until(lambda: self._alive() and self.state(TASK) == "following", timeout_s, "the task follows")

    def _alive(self) -> bool:
        task = self.task(TASK)
        assert task.state != "failed", f"the task failed: {task.error_kind}: {task.message}"
        return True

    def differences(self) -> dict[str, str]:
        """By source table: how source and target differ; empty where they are equal."""
        look = self._look_at_values
        if isinstance(self.source, Database) and isinstance(self.target, Database):
            look = self._look_at_texts
        found = {m.source_table: self._difference(*look(m)) for m in self.store.mappings(TASK)}
        return {table: difference for table, difference in found.items() if difference}

    def _look_at_texts(self, mapping: Mapping) -> tuple[Rows, Rows]:
        """The rows of both sides as the texts of their values."""
        here, there = TableName.parse(mapping.source_table, "public"), TableName.parse(mapping.target_table, "public")
        with self.source.session() as source, self.target.session() as target:
            return (
                content(source.connection, here, [c.source for c in mapping.columns]),
                content(target.connection, there, [c.target for c in mapping.columns]),
            )

    def _look_at_values(self, mapping: Mapping) -> tuple[Rows, Rows]:
        """The rows of both sides as the values that their drivers make of them."""
        here, there = ", ".join(c.source for c in mapping.columns), ", ".join(c.target for c in mapping.columns)
        return (
            sorted(alike(self.source.rows(f"SELECT {here} FROM {mapping.source_table}")), key=repr),
            sorted(alike(self.target.rows(f"SELECT {there} FROM {mapping.target_table}")), key=repr),
        )

    def _difference(self, here: Rows, there: Rows) -> str:
        if here == there:
            return ""
        lacks, surplus = [row for row in here if row not in there], [row for row in there if row not in here]
        return f"{len(here)} rows at the source, {len(there)} at the target; lacking {_few(lacks)}; surplus {_few(surplus)}"

    def replay_from(self, moment_ms: int) -> None:
        """Reset to a moment and wait until the task has caught up again."""
        self.reset(TASK, moment_ms)
        self.settle()

    def copy_everything_again(self) -> None:
        """Reset to the beginning and wait until the task has caught up again."""
        self.reset(TASK, None)
        self.settle()


def content(connection: psycopg.Connection[object], table: TableName, columns: list[str]) -> list[bytes]:
    """All rows of a table as sorted text; of a table with heirs its own rows only."""
    kind = connection.execute(PARTITIONED, [table.schema, table.name]).fetchone()
    only = sql.SQL("" if kind and kind[0] else "ONLY ")  # type: ignore[index]
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT").format(names, only, sql.Identifier(table.schema, table.name))
    with connection.cursor().copy(query) as rows:
        return sorted(b"".join(bytes(block) for block in rows).split(b"\n"))


def _few(rows: Rows) -> str:
    return f"{len(rows)}: {[repr(row)[:80] for row in rows[:3]]}"


def moment(database: AnyDatabase) -> int:
    """Now by the database's clock, in ms; what commits from here on is later."""
    clock = "unix_timestamp(now(3))" if database.type == "MYSQL" else "extract(epoch FROM clock_timestamp())"
    now = int(database.rows(f"SELECT floor({clock} * 1000) + 1")[0][0])
    wait_until(lambda: time.time_ns() // 1_000_000 > now, what="a millisecond")
    return now
