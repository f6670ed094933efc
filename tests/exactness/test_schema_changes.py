"""Schema changes at the source while changes are in flight. What the mapping does not touch passes; what it touches stops the task in front
of the first transaction that shows it. After the repair both sides end equal, and after a replay from before the change they do too.

Each case has a table of its own, all in one world. They are read twice: as they happen, and later, when the catalogue shows only
what became of them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from headwater.clusters import Installation, PrivatePostgres
from headwater.domain.mapping import TableMapping
from headwater.ports.store import Mapping
from headwater.services.refitting import succeeding
from tests.conftest import BOTH
from tests.databases import Database
from tests.exactness.schema_world import SchemaWorld

PAIRS = (("id", "id"), ("v", "v"), ("n", "n"))


@dataclass(frozen=True)
class Case:
    """`ddl` on the table {t}; `said` is part of the message, empty where nothing may stop. `now`: the pairs that repair it.

    `row`: the values after `id` of a row behind the change, `last`: those of one that is written in the next transaction. `v`: the type of
    the column v at the source, `target_v` at the target. `later`: what is said where all is read later, in front of the first
    transaction already, because the catalogue does not tell any more which column it was."""

    ddl: str
    said: str = ""
    now: tuple[tuple[str, str], ...] = PAIRS
    row: str = "'x', 1, 'u'"
    later: str = ""
    last: str = ""
    v: str = "text"
    target_v: str = "text"


CASES = {
    "column_added": Case("ALTER TABLE {t} ADD COLUMN extra text DEFAULT 'd'"),
    "volatile_default": Case("ALTER TABLE {t} ADD COLUMN extra float DEFAULT random()"),
    "unmapped_dropped": Case("ALTER TABLE {t} DROP COLUMN u", row="'x', 1"),
    "unmapped_renamed": Case("ALTER TABLE {t} RENAME COLUMN u TO other"),
    "unmapped_retyped": Case("ALTER TABLE {t} ALTER COLUMN u TYPE varchar(20)"),
    "nullable": Case("ALTER TABLE {t} ALTER COLUMN n DROP NOT NULL"),
    "not_null": Case("ALTER TABLE {t} ALTER COLUMN v SET NOT NULL"),
    "index_and_constraint": Case("CREATE INDEX ON {t} (v); ALTER TABLE {t} ADD CHECK (n < 1000)"),
    "identity_full": Case("ALTER TABLE {t} REPLICA IDENTITY FULL"),
    "dropped": Case("ALTER TABLE {t} DROP COLUMN v", "no longer has the column v", (("id", "id"), ("n", "n")), "1, 'u'"),
    "renamed": Case(
        "ALTER TABLE {t} RENAME COLUMN v TO amount",
        "v of public.renamed was renamed to amount",
        (("id", "id"), ("amount", "v"), ("n", "n")),
    ),
    "swapped": Case(
        "ALTER TABLE {t} RENAME v TO x; ALTER TABLE {t} RENAME u TO v; ALTER TABLE {t} RENAME x TO u",
        "v of public.swapped was renamed to u",
        (("id", "id"), ("u", "v"), ("n", "n")),
    ),
    "retyped": Case("ALTER TABLE {t} ALTER COLUMN v TYPE bigint USING length(v)", "from text to bigint", row="7, 1, 'u'"),
    "widened": Case("ALTER TABLE {t} ALTER COLUMN n TYPE bigint", "from integer to bigint"),
    "again": Case(
        "ALTER TABLE {t} DROP COLUMN v; ALTER TABLE {t} ADD COLUMN v text DEFAULT 'new'",
        "another one was given its name",
        row="1, 'u', 'x'",
        later="can't be told any more",
    ),
    "key_changed": Case("ALTER TABLE {t} DROP CONSTRAINT {t}_pkey; ALTER TABLE {t} ADD PRIMARY KEY (n)", "finds its rows by (n) now"),
    "key_gone": Case("ALTER TABLE {t} DROP CONSTRAINT {t}_pkey", "finds its rows by (nothing) now"),
    "key_replaced": Case("ALTER TABLE {t} DROP CONSTRAINT {t}_pkey; ALTER TABLE {t} ADD CONSTRAINT other PRIMARY KEY (id)"),
}
TYPES = {
    "enum_gone": Case("ALTER TABLE {t} ALTER COLUMN v TYPE text; DROP TYPE {t}_mood", "to text", row="'free', 1, 'u'", v="{t}_mood"),
    "enum_renamed": Case("ALTER TYPE {t}_mood RENAME TO {t}_feeling", v="{t}_mood"),
    "label_added": Case("ALTER TYPE {t}_mood ADD VALUE 'sad'", last="'sad', 1, 'u'", v="{t}_mood", target_v="{t}_mood"),
    "label_added_in_front": Case("ALTER TYPE {t}_mood ADD VALUE 'sad' BEFORE 'x'", last="'sad', 1, 'u'", v="{t}_mood"),
    "domain_checked": Case("ALTER DOMAIN {t}_short ADD CHECK (length(VALUE) < 9)", v="{t}_short", target_v="{t}_short"),
    "domain_renamed": Case("ALTER DOMAIN {t}_short RENAME TO {t}_brief", v="{t}_short"),
    "domain_to_its_base": Case("ALTER TABLE {t} ALTER COLUMN v TYPE text", "to text", v="{t}_short"),
    "domain_of_another_base": Case(
        "ALTER TABLE {t} ALTER COLUMN v TYPE {t}_number USING length(v)",
        "to public.domain_of_another_base_number",
        row="7, 1, 'u'",
        v="{t}_short",
    ),
}
GROUPS = {"columns and keys": CASES, "enums and domains": TYPES}
UNREPAIRED = ("key_changed", "key_gone")


def mapping_record(mapping: TableMapping) -> Mapping:
    """As the store keeps it."""
    return Mapping("m", "t", str(mapping.source), str(mapping.target), mapping.columns, (), (), (), "MANUAL", 100, 0)


def types_of(name: str) -> list[str]:
    """What a case's columns may be of."""
    return [
        f"CREATE TYPE {name}_mood AS ENUM ('x', 'happy')",
        f"CREATE DOMAIN {name}_short AS text CHECK (length(VALUE) < 10)",
        f"CREATE DOMAIN {name}_number AS bigint",
    ]


@pytest.fixture(params=GROUPS.values(), ids=list(GROUPS))
def cases(request: pytest.FixtureRequest) -> dict[str, Case]:
    """What happens in one world."""
    found: dict[str, Case] = request.param
    return found


@pytest.fixture(params=[False, True], ids=["as it happens", "read later"])
def later(request: pytest.FixtureRequest) -> bool:
    """When the log is read."""
    return bool(request.param)


@pytest.fixture
def world(
    cases: dict[str, Case],
    later: bool,
    tmp_path: Path,
    shared_cluster: Callable[[Installation, str], PrivatePostgres],
    make_database: Callable[[PrivatePostgres], Database],
) -> SchemaWorld:
    """All tables on both sides, empty and published; the oldest version is followed as it happens, the newest is read later."""
    source, target = (make_database(shared_cluster(BOTH[at], "first")) for at in ((-1, 0) if later else (0, -1)))
    for name, case in cases.items():
        types = types_of(name) if "{t}" in case.v else []
        source.run(*types, f"CREATE TABLE {name} (id int PRIMARY KEY, v {case.v.format(t=name)}, n int NOT NULL, u text)")
        target.run(*types, f"CREATE TABLE {name} (id int PRIMARY KEY, v {case.target_v.format(t=name)}, n bigint)")
        if name == "label_added":
            target.run("ALTER TYPE label_added_mood ADD VALUE 'sad'")
    made = SchemaWorld(tmp_path, source, target)
    made.begin(list(cases))
    return made


def write(world: SchemaWorld, cases: dict[str, Case], captured: Callable[[], None]) -> dict[str, tuple[int, int]]:
    """Each table's history: one transaction, the change together with a row, and one behind it. Returns the offsets of the first two."""
    places, number = {}, 0
    with world.source.connect(autocommit=False) as connection:
        for name, case in cases.items():
            connection.execute(f"INSERT INTO {name} VALUES (1, 'x', 1, 'u'), (2, 'x', 2, 'u')".encode())
            connection.commit()
            if case.later:
                captured()
            connection.execute(f"INSERT INTO {name} VALUES (3, 'x', 3, 'u')".encode())
            connection.execute(case.ddl.format(t=name).encode())
            connection.execute(f"INSERT INTO {name} VALUES (4, {case.row.replace('1', '4', 1)})".encode())
            connection.commit()
            connection.execute(f"INSERT INTO {name} VALUES (5, {(case.last or case.row).replace('1', '5', 1)})".encode())
            if name not in UNREPAIRED:
                connection.execute(f"DELETE FROM {name} WHERE id = 2".encode())
            connection.commit()
            places[name] = (number, number + 1)
            number += 3
    return places


def test_changes_at_the_source(world: SchemaWorld, cases: dict[str, Case], later: bool) -> None:
    places = write(world, cases, lambda: None) if later else {}
    with world.capturing():
        world.begin_tasks()
        places = places or write(world, cases, world.captured)
        world.captured()
        wrong = {name: problem for name, case in cases.items() if (problem := check(world, name, case, places[name], later))}
    assert not wrong, "\n".join(f"{name}: {problem}" for name, problem in wrong.items())


def check(world: SchemaWorld, name: str, case: Case, places: tuple[int, int], later: bool) -> str:
    """Run one case; what is wrong with it, in words."""
    first, early = places[0], later and bool(case.later)
    said, stands = world.run(name)
    if case.said:
        wanted = places[0] if early else places[1]
        if not said.startswith("schema_mismatch") or (case.later if early else case.said) not in said:
            return f"it said: {said!r}"
        if stands != wanted:
            return f"it stands at {stands}, not at {wanted}: {said}"
        if world.target.rows(f"SELECT id FROM {name} ORDER BY id") != [(1,), (2,)][: 0 if wanted == first else 2]:
            return "what came before was not applied, or more"
        if name in UNREPAIRED:
            return ""
        repaired = world.fitted(name, case.now)
        old = mapping_record(world.mappings[name])
        after = succeeding(old, mapping_record(repaired), stopped_at=True)
        if (after.revision == 0) != (name in ("dropped", "renamed", "swapped")):
            return "copied again or not, against expectation"
        world.mappings[name] = replace(repaired, columns=after.columns)
        if after.revision:
            world.mappings[name] = world.copied_again(world.mappings[name])
        said, _ = world.run(name)
    if said:
        return f"after the repair it said: {said}"
    here, there = world.differences(name)
    if here != there:
        return f"{here} at the source, {there} at the target"
    if not world.mappings[name].mapping_id.endswith(name):
        return ""
    world.target.run(f"UPDATE {name} SET n = -1")
    world.reset(name, first)
    said, _ = world.run(name)
    here, there = world.differences(name)
    return said or ("" if here == there else f"after a replay {here} at the source, {there} at the target")
