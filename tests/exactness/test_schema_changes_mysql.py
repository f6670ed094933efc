"""Schema changes at a MariaDB or MySQL while changes are in flight. There the log holds the statement, at its place: what a mapping does
not touch, or what can only have made its columns wider, passes; everything else stops the task right there, and after the repair both
sides end equal. What goes on without a copy can be replayed from before the change.

Each case has a table of its own, all in one world. They are read as they happen, and some of them later, when the catalogue shows only
what became of them all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from headwater.domain.tables import TableName
from headwater.ports.runtime import CaptureReport
from headwater.services.refitting import succeeding
from tests.databases import MysqlDatabase
from tests.exactness.schema_world import SchemaWorld
from tests.exactness.test_schema_changes import PAIRS, mapping_record
from tests.pairs import Sides

MADE = "CREATE TABLE {t} (id int PRIMARY KEY, v {v}, n int NOT NULL, u varchar(20))"
COPIED_BY_HAND = (
    "CREATE TABLE {t}_new LIKE {t}",
    "ALTER TABLE {t}_new MODIFY v varchar(90)",
    "INSERT INTO {t}_new SELECT * FROM {t}",
    "RENAME TABLE {t} TO {t}_old, {t}_new TO {t}",
)
"""How gh-ost and pt-online-schema-change end."""


@dataclass(frozen=True)
class Case:
    """`ddl` on the table {t}; `said` is part of the message, empty where nothing may stop. `now`: the pairs that repair it, of the table
    `called` where that has another name; `again`: the repair copies the table. `row`: the values after `id` of rows behind the change.
    `v`: the type of the column v at the source. `early`: where capture lags it may stop before the change already, for today's key is taken
    for that of rows of the same columns."""

    ddl: tuple[str, ...]
    said: str = ""
    now: tuple[tuple[str, str], ...] = PAIRS
    again: bool = True
    called: str = "{t}"
    row: str = "'x', 1, 'u'"
    v: str = "varchar(20)"
    early: bool = False


UNLOGGED = "may have changed here"
OTHERS = "may be others from here on"
CASES = {
    "column_added": Case(("ALTER TABLE {t} ADD COLUMN extra varchar(20) DEFAULT 'd' AFTER id",), row="'e', 'x', 1, 'u'"),
    "unmapped_dropped": Case(("ALTER TABLE {t} DROP COLUMN u",), row="'x', 1"),
    "moved": Case(("ALTER TABLE {t} MODIFY v varchar(20) CHARACTER SET utf8mb4 AFTER u",), row="1, 'u', 'x'"),
    "widened": Case(("ALTER TABLE {t} MODIFY n bigint NOT NULL, MODIFY v varchar(40) CHARACTER SET utf8mb4",), row="'x', 5000000000, 'u'"),
    "label_added": Case(("ALTER TABLE {t} MODIFY v enum('x','y','sad') CHARACTER SET utf8mb4",), row="'sad', 1, 'u'", v="enum('x','y')"),
    "retyped": Case(("UPDATE {t} SET v = '7'", "ALTER TABLE {t} MODIFY v int"), UNLOGGED, row="7, 1, 'u'"),
    "dropped": Case(("ALTER TABLE {t} DROP v",), "no longer has the column v", (("id", "id"), ("n", "n")), again=False, row="1, 'u'"),
    "renamed": Case(
        ("ALTER TABLE {t} RENAME COLUMN v TO amount",), "no longer has the column v", (("id", "id"), ("amount", "v"), ("n", "n"))
    ),
    "swapped": Case(("ALTER TABLE {t} CHANGE v u varchar(20), CHANGE u v varchar(20)",), UNLOGGED, (("id", "id"), ("u", "v"), ("n", "n"))),
    "again": Case(("ALTER TABLE {t} DROP v, ADD v varchar(20) DEFAULT 'new' AFTER id",), UNLOGGED),
    "key_changed": Case(("ALTER TABLE {t} DROP PRIMARY KEY, ADD PRIMARY KEY (n)",), "finds its rows by (n) now", (), early=True),
    "emptied_between": Case(("INSERT INTO {t} VALUES (9, 'x', 9, 'u')", "TRUNCATE TABLE {t}", "INSERT INTO {t} VALUES (1, 'b', 3, 'u')")),
    "made_anew": Case(("DROP TABLE {t}", MADE, "INSERT INTO {t} VALUES (2, 'anew', 2, 'u')"), OTHERS),
    "copied_by_hand": Case(COPIED_BY_HAND, OTHERS),
    "table_renamed": Case(("RENAME TABLE {t} TO {t}_x",), "was renamed to", called="{t}_x"),
}
FEW = ("column_added", "widened", "renamed", "emptied_between", "made_anew", "copied_by_hand", "table_renamed")
"""Where all is read later."""


@pytest.fixture
def cases(later: bool) -> dict[str, Case]:
    """What happens in one world."""
    return {name: CASES[name] for name in (FEW if later else CASES)}


@pytest.fixture
def world(sides: Sides, cases: dict[str, Case], tmp_path: Path) -> SchemaWorld[MysqlDatabase]:
    """All tables on both sides, empty; at the target every value that comes has room."""
    source, target = sides
    assert isinstance(source, MysqlDatabase)
    for name, case in cases.items():
        source.run(MADE.format(t=name, v=case.v))
        target.run(f"CREATE TABLE {name} (id int PRIMARY KEY, v varchar(100), n bigint)")
    made = SchemaWorld(tmp_path, source, target)
    made.begin(list(cases))
    return made


def write(world: SchemaWorld[MysqlDatabase], cases: dict[str, Case]) -> None:
    """Each table's history: rows, the change, rows behind it."""
    for name, case in cases.items():
        table = case.called.format(t=name)
        world.source.run(
            f"INSERT INTO {name} VALUES (1, 'x', 1, 'u'), (2, 'x', 2, 'u')",
            f"INSERT INTO {name} VALUES (3, 'x', 3, 'u')",
            *(statement.format(t=name, v=case.v) for statement in case.ddl),
            f"INSERT INTO {table} VALUES (4, {case.row.replace('1', '4', 1)}), (5, {case.row.replace('1', '5', 1)})",
            f"DELETE FROM {table} WHERE id = 2",
        )


@pytest.mark.parametrize(
    ("sides", "later"),
    [("mariadb-newest", False), ("mysql-mariadb", True)],
    ids=["mariadb-newest as it happens", "mysql-mariadb read later"],
    indirect=["sides"],
)
def test_changes_at_the_source(world: SchemaWorld[MysqlDatabase], cases: dict[str, Case], later: bool) -> None:
    if later:
        with world.capturing():
            world.begin_tasks()
        write(world, cases)
    with world.capturing() as control:
        if not later:
            world.begin_tasks()
            write(world, cases)
        world.captured()
        gone = {"table_renamed"} if later else set()
        assert isinstance(control.report, CaptureReport)
        assert {TableName.parse(table, "").name for table, _ in control.report.lost} == gone, "told by the supervisor"
        wrong = {name: problem for name, case in cases.items() if name not in gone and (problem := check(world, name, case))}
    assert not wrong, "\n".join(f"{name}: {problem}" for name, problem in wrong.items())


def check(world: SchemaWorld[MysqlDatabase], name: str, case: Case) -> str:
    """Run one case; what is wrong with it, in words."""
    said, _ = world.run(name)
    if case.said:
        if not said.startswith("schema_mismatch") or case.said not in said or f"{world.source.schema}.{name}" not in said:
            return f"it said: {said!r}"
        if (before := world.target.rows(f"SELECT id FROM {name} ORDER BY id")) not in ([(1,), (2,), (3,)], [] if case.early else None):
            return f"what came before was not applied, or more: {before}; {said}"
        if not case.now:
            return ""
        if problem := repair(world, name, case):
            return problem
        said, _ = world.run(name)
    if said:
        return f"in the end it said: {said}"
    here, there = world.differences(name)
    if here != there:
        return f"{here} at the source, {there} at the target"
    return "" if case.said and case.again else replay(world, name)


def repair(world: SchemaWorld[MysqlDatabase], name: str, case: Case) -> str:
    """Map what is there now, as the service does it."""
    old, repaired = world.mappings[name], world.fitted(name, case.now, case.called.format(t=name))
    after = succeeding(mapping_record(old), mapping_record(repaired), stopped_at=True)
    if bool(after.revision) != case.again:
        return "copied again or not, against expectation"
    mapping = replace(repaired, columns=after.columns)
    world.mappings[name] = world.copied_again(mapping) if after.revision else mapping
    return ""


def replay(world: SchemaWorld[MysqlDatabase], name: str) -> str:
    """From before the change once more, over rows that are all wrong."""
    world.target.run(f"UPDATE {name} SET n = -1")
    world.reset(name, 0)
    said, _ = world.run(name)
    here, there = world.differences(name)
    return said or ("" if here == there else f"after a replay {here} at the source, {there} at the target")
