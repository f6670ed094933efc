"""Every kind of change on real servers: the target is the source, row by row, after following, after a replay, after a fresh copy.

All kinds run in one task, so that they also meet one another in batches. What each came to is a test of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from headwater.clusters import PrivatePostgres
from headwater.domain.tables import TableName
from tests.databases import Database
from tests.exactness.awkward_names import NAMED
from tests.exactness.exact_world import ExactWorld, moment
from tests.exactness.kinds import KINDS, SHARED, Kind

STAGES = ["copied", "followed", "replayed", "copied again"]


@dataclass
class Outcome:
    """What a run over all kinds found: by stage, the differences by source table. `failed` says why a stage never came."""

    version: int
    stages: dict[str, dict[str, str]] = field(default_factory=dict)
    unmapped: dict[str, str] = field(default_factory=dict)
    failed: str = ""


@pytest.fixture(scope="module")
def outcome(postgres: PrivatePostgres, other_postgres: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """One run over all kinds that the source's version knows."""
    source, target = Database.create(postgres, "exact_source"), Database.create(other_postgres, "exact_target")
    try:
        found = Outcome(int(source.rows("SHOW server_version_num")[0][0]) // 10000)
        kinds = [kind for kind in KINDS if kind.since <= found.version]
        world = ExactWorld(tmp_path_factory.mktemp("exact"), source, target)
        try:
            make(kinds, source, target)
            run(kinds, world, found)
        except AssertionError as error:
            found.failed = str(error)
        finally:
            world.store.close()
        yield found
    finally:
        source.drop()
        target.drop()


def make(kinds: list[Kind], source: Database, target: Database) -> None:
    """The tables of all kinds on both sides, and their rows at the source."""
    for side in (source, target):
        side.run(SHARED, *(f"CREATE SCHEMA {kind.name}" for kind in kinds))
    for kind in kinds:
        kind.run(source, kind.tables, kind.rows)
        kind.run(target, kind.target or kind.tables)


def run(kinds: list[Kind], world: ExactWorld, found: Outcome) -> None:
    """Copy, follow all changes, replay them, copy again; with a look at the differences after each."""
    world.prepare()
    found.unmapped = {one.source_table: one.reason for one in world.unmapped}
    assert world.findings() == []
    with world.following():
        found.stages["copied"] = world.differences()
        before = moment(world.source)
        for kind in kinds:
            kind.run(world.source, *kind.changes)
        world.settle()
        found.stages["followed"] = world.differences()
        world.replay_from(before)
        found.stages["replayed"] = world.differences()
        world.copy_everything_again()
        found.stages["copied again"] = world.differences()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_target_is_the_source_p2_p5(outcome: Outcome, kind: Kind) -> None:
    if kind.since > outcome.version:
        pytest.skip(f"PostgreSQL {outcome.version} does not know this")
    assert not outcome.failed, f"after {list(outcome.stages)}: {outcome.failed}"
    ours = {stage: {t: d for t, d in differences.items() if belongs(t, kind)} for stage, differences in outcome.stages.items()}
    assert ours == {stage: {} for stage in STAGES}
    assert {t: r for t, r in outcome.unmapped.items() if belongs(t, kind)} == {}


def belongs(table: str, kind: Kind) -> bool:
    """Whether the table is one of this kind's."""
    schema = TableName.parse(table, "public").schema
    return schema == kind.name or (kind.name == "names" and schema in {one.schema for one in NAMED})
