"""Writing merged changes of all tables, inside the transaction of the run: what is known of the tables, and each table's writer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import zip_longest

from headwater.dialects.mysql_session import Server
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable
from headwater.domain.tables import TableName
from headwater.ports.target import Written
from headwater.targets.mysql import checkpoints
from headwater.targets.mysql.aside import Aside
from headwater.targets.mysql.books import Book
from headwater.targets.mysql.catalog import TableInfo, read_tables
from headwater.targets.mysql.session import Connection
from headwater.targets.mysql.shared_writer import SharedWriter
from headwater.targets.mysql.staging import Stages
from headwater.targets.mysql.statements import Statements
from headwater.targets.mysql.table_writer import TableWriter, Tally
from headwater.targets.records import no_key, no_table


class Writer:
    """Writes for one task on one connection. Errors of the driver pass through."""

    def __init__(self, server: Server, connection: Connection, task_id: str, mappings: Iterable[TableMapping]) -> None:
        self._server, self._connection, self._task_id = server, connection, task_id
        self._mappings = {m.mapping_id: m for m in mappings}
        self._info: dict[TableName, TableInfo] = {}
        self._tables: dict[TableMapping, TableWriter] = {}
        self._statements: dict[TableMapping, Statements] = {}
        self.stages = Stages(connection)

    @property
    def known(self) -> Mapping[TableName, TableInfo]:
        """The tables as this writer has learnt them."""
        return self._info

    def write(self, merged: Sequence[MergedTable]) -> Written:
        """Write all steps: of all tables what goes before what comes, so that a row may pass from one mapping to another.

        Raises TargetError (`target_refused`) where a table is missing or lacks a unique index on the mapped key."""
        merged = [one for one in merged if one.steps]
        self.learn(one.mapping for one in merged)
        tally = Tally()
        for steps in zip_longest(*([(self.table(one.mapping, exact=one.exact), step) for step in one.steps] for one in merged)):
            for table, step in filter(None, steps):
                table.remove(step, tally)
            for table, step in filter(None, steps):
                table.put(step, tally)
        return tally.written()

    def learn(self, mappings: Iterable[TableMapping] = ()) -> None:
        """Read the catalogue for the task's tables, where it was not read yet."""
        self._mappings |= {m.mapping_id: m for m in mappings}
        wanted = {m.target for m in self._mappings.values()}
        if not wanted <= self._info.keys():
            self._info |= read_tables(self._connection, sorted(wanted - self._info.keys()))

    def table(self, mapping: TableMapping, *, exact: bool = False) -> TableWriter:
        """The writer of one mapping, whose table `learn` knows."""
        if mapping not in self._tables:
            sql = self.statements(mapping)
            aside = Aside(self._server, self._connection, self._task_id, sql)
            known = (self._connection, sql, self.stages, aside, partial(self._fresh, mapping))
            self._tables[mapping] = SharedWriter(*known, self.book(mapping)) if mapping.beside else TableWriter(*known)
        self._tables[mapping].exact = exact
        return self._tables[mapping]

    def book(self, mapping: TableMapping) -> Book:
        """The book of a mapping with others beside it, whose table `learn` knows."""
        return Book(self._task_id, self.statements(mapping))

    def settle(self) -> None:
        """Have everything stand in the tables: the target is to be what the source was at one moment."""
        self.learn()
        for mapping in self._mappings.values():
            if mapping.target in self._info:
                self.table(mapping).settle()

    def ended(self, *, settled: bool = False) -> None:
        """The transaction has ended; `settled`: it was committed with nothing left aside."""
        for table in self._tables.values():
            table.aside.forget(empty=settled)

    def _fresh(self, mapping: TableMapping) -> bool:
        copying = checkpoints.copying(self._connection, self._task_id, mapping.mapping_id)
        return copying is not None and copying.fresh

    def statements(self, mapping: TableMapping) -> Statements:
        """The statements of one mapping, whose table `learn` knows."""
        info = self._info.get(mapping.target)
        if info is None:
            raise no_table(mapping)
        if mapping not in self._statements:
            names = [pair.target for pair in mapping.key]
            if names and info.key_on(names) is None:
                raise no_key(mapping, names)
            self._statements[mapping] = Statements(mapping, info, len(self._statements))
        return self._statements[mapping]
