"""Tables that change at the source while a task copies them, before its first chunk and between two runs of the copy.

Each case has a table of its own, all in one world. Nothing may be lost or taken from another table without a stop that names it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from headwater.clusters import Installation, PrivatePostgres
from headwater.ports.target import CopyState
from headwater.services.refitting import succeeding
from tests.conftest import BOTH
from tests.databases import Database
from tests.exactness.schema_world import SchemaWorld
from tests.exactness.test_schema_changes import mapping_record

COLUMNS = "(id int PRIMARY KEY, v text, n int NOT NULL, u text)"
ROW = "INSERT INTO {t} (id, v, n) VALUES ({id}, 'a', 0)"


@dataclass(frozen=True)
class Case:
    """`ddl` on the table {t}, in one transaction each statement; `said` is part of the message, empty where nothing may stop.

    `pairs`: what is mapped then (default: by name); `again`: the repair copies the table again."""

    ddl: tuple[str, ...]
    said: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    again: bool = True


ANEW = "CREATE TABLE {t} (id int PRIMARY KEY, v text, n int NOT NULL, u text)"


@pytest.fixture
def world(
    tmp_path: Path, shared_cluster: Callable[[Installation, str], PrivatePostgres], make_database: Callable[[PrivatePostgres], Database]
) -> SchemaWorld:
    """Two databases of the newest version."""
    source, target = (make_database(shared_cluster(BOTH[-1], "first")) for _ in range(2))
    return SchemaWorld(tmp_path, source, target)


def make(world: SchemaWorld, cases: dict[str, Case]) -> None:
    """The cases' tables, mapped; without rows at the source."""
    for name in cases:
        world.source.run(f"CREATE TABLE {name} {COLUMNS}")
        world.target.run(f"CREATE TABLE {name} (id int PRIMARY KEY, v text, n bigint)")
    world.begin(list(cases))


def repair(world: SchemaWorld, name: str, case: Case) -> str:
    """Map what is there now, as the service does it."""
    old = world.mappings[name]
    repaired = world.fitted(name, case.pairs)
    after = succeeding(mapping_record(old), mapping_record(repaired), stopped_at=True)
    if bool(after.revision) != case.again:
        return "copied again or not, against expectation"
    mapping = replace(repaired, columns=after.columns)
    world.mappings[name] = world.copied_again(mapping) if after.revision else mapping
    world.read.publish(sorted({m.source for m in world.mappings.values() if m.source in world.read.describe([m.source])}))
    return ""


COPIED = {
    "unmapped_added": Case(("ALTER TABLE {t} ADD COLUMN w int DEFAULT 3",)),
    "column_renamed": Case(
        ("ALTER TABLE {t} RENAME COLUMN v TO w",), "v of public.column_renamed was renamed to w",
        pairs=(("id", "id"), ("w", "v"), ("n", "n")), again=False,
    ),
    "columns_swapped": Case(
        ("ALTER TABLE {t} RENAME v TO x; ALTER TABLE {t} RENAME u TO v; ALTER TABLE {t} RENAME x TO u",),
        "v of public.columns_swapped was renamed to u", pairs=(("id", "id"), ("u", "v"), ("n", "n")), again=False,
    ),
    "column_retyped": Case(("ALTER TABLE {t} ALTER COLUMN n TYPE bigint",), "from integer to bigint"),
    "table_made_anew": Case(("DROP TABLE {t}", ANEW, ROW.format(t="{t}", id=9)), "is another table"),
}  # fmt: skip


@pytest.mark.parametrize("begun", [False, True], ids=["waiting", "half done"])
def test_tables_that_change_while_they_are_copied(world: SchemaWorld, begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.engine.snapshot.CHUNK_ROWS", 100)
    make(world, COPIED)
    for name in COPIED:
        world.source.run(f"INSERT INTO {name} SELECT i, 'v' || i, 0, 'u' || i FROM generate_series(1, 300) i", f"ANALYZE {name}")
    with world.capturing():
        for name in COPIED:
            world.written.raise_epoch(name, 1)
            world.epochs[name] = 1
            if begun:
                half(world, name)
            for statement in COPIED[name].ddl:
                world.source.run(statement.format(t=name))
        world.captured()
        wrong = {name: problem for name, case in COPIED.items() if (problem := check_copy(world, name, case))}
    assert not wrong, "\n".join(f"{name}: {problem}" for name, problem in wrong.items())


def half(world: SchemaWorld, name: str) -> None:
    """The copy as a run leaves it that was cut off after its first chunk."""
    mapping = world.mappings[name]
    world.run(name)
    with closing(world.written.open(name, world.epochs[name], [mapping])) as run:
        state = run.table_states()[name]
        with closing(world.read.snapshot()) as snapshot:
            chunks = tuple(snapshot.chunks(mapping.source, ["id"], 100))
        assert len(chunks) > 1
        run.save_table_state(replace(state, state=CopyState.COPYING, chunks=chunks, chunks_done=frozenset({0}), rows_done=100))
    bound = chunks[0].upto
    assert bound is not None
    world.target.run(f"DELETE FROM {name} WHERE id > {int(bound[0])}")


def check_copy(world: SchemaWorld, name: str, case: Case) -> str:
    """Run one case of a copy; what is wrong with it, in words."""
    before = world.target.rows(f"SELECT count(*) FROM {name}")
    said, _ = world.run(name)
    if case.said:
        if not said.startswith("schema_mismatch") or case.said not in said or f"public.{name}" not in said:
            return f"it said: {said!r}"
        if world.target.rows(f"SELECT count(*) FROM {name}") != before:
            return "something was copied by the wrong names"
        problem = repair(world, name, case)
        if problem:
            return problem
        said, _ = world.run(name)
    here, there = world.differences(name)
    return f"in the end it said: {said}" if said else "" if here == there else f"differs: {len(here)} and {len(there)} rows, {there[:1]}"
