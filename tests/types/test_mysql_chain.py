"""P8 from MariaDB and MySQL into every kind of database: what is copied, what is followed and what stands in the target are one value.

Every type of `CASES` goes by the real adapters into tables that `create` makes, while servers and databases on both sides have their own
idea of time zones, SQL modes and ways to write values. The target is read as a source would be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import pytest

from headwater.domain.kinds import kind_of
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.merge import merge
from headwater.domain.tables import TableName
from headwater.domain.text_rows import read_text_rows
from headwater.ports.source import Source
from headwater.ports.target import Checkpoint, Target, TargetRun
from headwater.testing.rows import Key, Row, replay
from tests.conftest import AnyServer
from tests.databases import AnyDatabase, MysqlDatabase
from tests.integration.test_binlog_values import CASES, Case, flavour
from tests.model.real_world import source_of, target_of
from tests.sources.postgres_logs import Follower
from tests.types.test_mysql_pairs import same

WIDTH = 12
"""Columns of a table: few enough that any row fits."""
STEP = 1000
"""Rows that are inserted while the log is followed are copies of the first ones, with ids from here on."""

MORE = (
    Case("INT INVISIBLE", ("1", "-1")),
    Case("VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german1_ci", ("'Straße'", "X'80'")),
    Case("LONGTEXT CHARACTER SET sjis", ("'日本語ｱ'",)),
    Case("ENUM('ä','€') CHARACTER SET cp1250", ("'ä'", "'€'")),
    Case("SET('日','本') CHARACTER SET gbk", ("'日,本'", "''")),
)
KEYS = {
    "datetime(6)": ("'2024-03-31 02:30:00.000001'", "'2024-03-31 02:30:00.000002'"),
    "timestamp(6)": ("'2024-10-27 00:30:00.999999'", "'2024-10-27 01:30:00.999999'"),
    "time(6)": ("'-838:59:58.999999'", "'24:00:00.000001'"),
    "decimal(65,30)": ("0.000000000000000000000000000001", "99999999999999999999999999999999999.5"),
    "bigint unsigned": ("18446744073709551615", "9223372036854775808"),
    "binary(3)": ("X'5c0900'", "X'5c0901'"),
    "varchar(20) character set sjis collate sjis_bin": ("'表'", "'ソ'"),
}
"""Types of keys, each with a value before and after a change of the key."""

EVERYTHING = frozenset({"INSERT", "UPDATE", "DELETE"})
ODD_MODE = "ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,IGNORE_SPACE"
ODD_POSTGRES = {
    "TimeZone": "America/St_Johns", "DateStyle": "SQL, DMY", "IntervalStyle": "sql_standard", "bytea_output": "escape",
    "extra_float_digits": "-15",
}  # fmt: skip


@dataclass(frozen=True)
class Wide:
    """A table of many types; `flag` is changed so that the log brings whole rows."""

    name: str
    cases: tuple[Case, ...]

    @property
    def columns(self) -> list[str]:
        return ["id", "flag", *(f"c{i}" for i in range(len(self.cases)))]

    def statements(self) -> list[str]:
        """Make and fill it: each value stands in some row, and one row is empty."""
        columns = ", ".join(f"c{i} {case.type}" for i, case in enumerate(self.cases))
        rows = [
            ", ".join([str(row), "0", *(case.values[row % len(case.values)] for case in self.cases)])
            for row in range(max(len(case.values) for case in self.cases))
        ]
        rows.append(", ".join([str(len(rows)), "0", *["NULL"] * len(self.cases)]))
        listed = ", ".join(self.columns)
        made = f"CREATE TABLE {self.name} (id int PRIMARY KEY, flag int, twice int AS (flag * 2) VIRTUAL, {columns})"
        return [made, *(f"INSERT INTO {self.name} ({listed}) VALUES ({row})" for row in rows)]

    def changes(self) -> list[str]:
        """Bring every value through the log, as inserted and as updated, and JSON in parts where the server logs those."""
        others = ", ".join(self.columns[1:])
        documents = [f"c{i}" for i, case in enumerate(self.cases) if case.type == "JSON"]
        parts = [f"UPDATE {self.name} SET {c} = JSON_SET({c}, '$.part', id) WHERE JSON_TYPE({c}) = 'OBJECT'" for c in documents]
        return [
            f"INSERT INTO {self.name} (id, {others}) SELECT id + {STEP}, {others} FROM {self.name}",
            f"UPDATE {self.name} SET flag = 1",
            *parts,
        ]


def wide_tables(cases: Sequence[Case]) -> list[Wide]:
    return [Wide(f"wide_{at}", tuple(cases[at : at + WIDTH])) for at in range(0, len(cases), WIDTH)]


@contextmanager
def odd(database: AnyDatabase) -> Iterator[None]:
    """The database's server, or the database, has settings of its own; the target's does not mind zero dates."""
    if not isinstance(database, MysqlDatabase):
        database.run(*(f"ALTER DATABASE {database.name} SET {name} = '{value}'" for name, value in ODD_POSTGRES.items()))
        yield
        return
    before = database.rows("SELECT @@GLOBAL.time_zone, @@GLOBAL.sql_mode")[0]
    try:
        database.run("SET GLOBAL time_zone = '-03:30'", f"SET GLOBAL sql_mode = '{ODD_MODE}'")
        yield
    finally:
        database.run(*(f"SET GLOBAL {name} = '{value}'" for name, value in zip(("time_zone", "sql_mode"), before, strict=True)))


def fitting(case: Case, postgres: bool) -> Case:
    """Without the values that no PostgreSQL holds: zero and partial dates are refused there."""
    none = ("'0000-", "'2024-00-")
    return replace(case, values=tuple(value for value in case.values if not value.startswith(none))) if postgres else case


def rows_of(source: Source, table: TableName, columns: list[str]) -> list[Row]:
    """All rows, in the text form of a copy."""
    with closing(source.snapshot()) as taken:
        blocks = [block for chunk in taken.chunks(table, columns[:1], 1 << 20) for block in taken.read(table, columns, columns[:1], chunk)]
    return [row for block in blocks for row in read_text_rows(block, columns).to_pylist()]


@dataclass(frozen=True)
class Chain:
    """Tables of a source and their likes at a target, between the adapters. `tables` gives each one's columns, of which `by` numbers the
    rows and the first is the key."""

    database: MysqlDatabase
    source: Source
    target: Target
    seen: Source
    """Reads the target."""
    goal: str
    tables: dict[str, list[str]]
    by: str

    @property
    def names(self) -> list[TableName]:
        return [TableName(self.database.schema, table) for table in self.tables]

    @property
    def mappings(self) -> list[TableMapping]:
        pairs = {name: tuple(ColumnPair(c, c, at == 0) for at, c in enumerate(columns)) for name, columns in self.tables.items()}
        return [TableMapping(n.name, n, TableName(self.goal, n.name), pairs[n.name], EVERYTHING) for n in self.names]

    def through(self, changes: list[str]) -> dict[TableName, dict[bytes | None, Row]]:
        """Make the tables at the target, copy, make the changes, follow them; the rows that copy and log have told of, by number."""
        outlines = self.source.outlines(self.names)
        made = self.target.create([(outlines[m.source], m.target) for m in self.mappings], dry_run=False)
        problems = [one.problem for one in made if one.problem]
        assert not problems, problems
        self.target.raise_epoch("task", 1)
        with closing(self.source.open_log(self.names, None, False)) as log, closing(self.target.open("task", 1, self.mappings)) as run:
            state = {m.source: self._copied(m, run) for m in self.mappings}
            self._change(changes)
            with closing(self.source.compare(60)) as asking:
                end = asking.position()
            follower = Follower(log)
            follower.until(lambda: follower.heard and self.source.reached(follower.position, end))
            batches = [batch for frame in follower.frames for batch in frame.batches]
            run.write([merge(m, [b for b in batches if b.schema.table == m.source], exact=True) for m in self.mappings])
            run.commit(Checkpoint(1))
        for frame in follower.frames:
            replay(state, frame)
        return {name: {row[self.by]: row for row in rows.values()} for name, rows in state.items()}

    def _copied(self, mapping: TableMapping, run: TargetRun) -> dict[Key, Row]:
        columns = self.tables[mapping.source.name]
        with closing(self.source.snapshot()) as taken:
            for chunk in taken.chunks(mapping.source, columns[:1], 1 << 20):
                run.copy_chunk(mapping, chunk, taken.read(mapping.source, columns, columns[:1], chunk), fresh=True, remove=False)
        return {(row[columns[0]],): row for row in rows_of(self.source, mapping.source, columns)}

    def _change(self, changes: list[str]) -> None:
        with self.database.connect() as session, session.cursor() as cursor:
            cursor.execute("SET sql_mode = ''")
            if self.database.cluster.product == "MySQL":
                cursor.execute("SET binlog_row_value_options = PARTIAL_JSON")
            for statement in changes:
                cursor.execute(statement)

    def differences(self, changes: list[str]) -> Iterator[str]:
        """Do it all; each value that is not one and the same by copy, by log and at the target."""
        told = self.through(changes)
        for mapping in self.mappings:
            columns = self.tables[mapping.source.name]
            copied, stands = (
                {row[self.by]: row for row in rows_of(source, table, columns)}
                for source, table in ((self.source, mapping.source), (self.seen, mapping.target))
            )
            if not copied or not set(copied) == set(told[mapping.source]) == set(stands):
                yield f"{mapping.source}: rows {[sorted(rows, key=str) for rows in (copied, told[mapping.source], stands)]}"
                continue
            kinds, goals = self._kinds(self.source, mapping.source), self._kinds(self.seen, mapping.target)
            for number, row in copied.items():
                for name, value in row.items():
                    followed, standing = told[mapping.source][number][name], stands[number][name]
                    if value != followed or not _one(kinds[name], goals[name], value, standing):
                        texts = [str(one)[:60] for one in (value, followed, standing)]
                        yield f"{kinds[name]} to {goals[name]}, row {number!r}: copied, followed, at the target: {', '.join(texts)}"

    @staticmethod
    def _kinds(source: Source, table: TableName) -> dict[str, str]:
        return {column.name: column.base or column.type for column in source.describe([table])[table].columns}


def _one(kind: str, goal: str, ours: bytes | None, theirs: bytes | None) -> bool:
    return ours is theirs if ours is None or theirs is None else same(kind_of(kind), goal, ours.decode(), theirs.decode())


@pytest.mark.parametrize("pair", ["mariadb-mysql", "mysql-mariadb", "mariadb-newest", "mysql-oldest"])
def test_copied_followed_and_target_values_are_one_p8(
    pair: str, make_servers: Callable[[str], tuple[AnyServer, AnyServer]], make_database: Callable[[AnyServer], AnyDatabase]
) -> None:
    database, goal = (make_database(server) for server in make_servers(pair))
    assert isinstance(database, MysqlDatabase)
    postgres = not isinstance(goal, MysqlDatabase)
    server = database.cluster
    own = [case for case in (*CASES, *MORE) if case.only in ("", flavour(server)) and server.installation.version >= case.since]
    if not postgres:
        own = [case for case in own if not case.type.startswith("VECTOR")]  # not every MariaDB has it, and `create` says so
    wides = wide_tables([fitting(case, postgres) for case in own])
    with database.connect() as session, session.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        for statement in (statement for wide in wides for statement in wide.statements()):
            cursor.execute(statement)
        for number, (kind, (first, _)) in enumerate(KEYS.items()):
            cursor.execute(f"CREATE TABLE key_{number} (id {kind} PRIMARY KEY, n int)")
            cursor.execute(f"INSERT INTO key_{number} VALUES ({first}, 1)")
    moves = [
        statement
        for number, (first, second) in enumerate(KEYS.values())
        for statement in (f"UPDATE key_{number} SET id = {second}", f"INSERT INTO key_{number} VALUES ({first}, 2)")
    ]
    with ExitStack() as stack:
        for one in (database, goal):
            stack.enter_context(odd(one))
        sides = database, source_of(database), target_of(goal), source_of(goal), goal.schema
        found = [
            *Chain(*sides, {wide.name: wide.columns for wide in wides}, "id").differences([c for wide in wides for c in wide.changes()])
        ]
        found += Chain(*sides, {f"key_{number}": ["id", "n"] for number in range(len(KEYS))}, "n").differences(moves)
    assert not found, f"{len(found)} values, among them\n" + "\n".join(found[:30])
