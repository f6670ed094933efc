"""Every kind of change on real servers: the target is the source, row by row, after following, after a replay, after a fresh copy.

All kinds run in one task, so that they also meet one another in batches. What each came to is a test of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import pytest

from headwater.domain.tables import TableName
from tests.conftest import AnyServer
from tests.databases import AnyDatabase, create
from tests.exactness.awkward_names import NAMED
from tests.exactness.exact_world import ExactWorld, moment
from tests.exactness.kinds import KINDS, MYSQL_KINDS, SHARED, Kind
from tests.pairs import POSTGRES

STAGES = ["copied", "followed", "replayed", "copied again"]
PAIRS = {
    **dict.fromkeys(POSTGRES, KINDS),
    "oldest-mariadb": [kind for kind in MYSQL_KINDS if kind.everywhere],
    "mariadb-newest": MYSQL_KINDS,
    "mysql-mariadb": MYSQL_KINDS,
}
CASES = [(pair, kind) for pair in PAIRS for kind in PAIRS[pair]]


@dataclass
class Outcome:
    """What a run over all kinds found: by stage, the differences by source table. `failed` says why a stage never came."""

    version: int
    stages: dict[str, dict[str, str]] = field(default_factory=dict)
    unmapped: dict[str, str] = field(default_factory=dict)
    failed: str = ""


@pytest.fixture(scope="module")
def outcome_of(
    make_servers: Callable[[str], tuple[AnyServer, AnyServer]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Outcome]:
    """One run over all kinds of a pair that the source's version knows, made when it is first asked for."""

    @cache
    def outcome(pair: str) -> Outcome:
        servers = make_servers(pair)
        source, target = create(servers[0], "exact_source"), create(servers[1], "exact_target")
        try:
            found = Outcome(servers[0].installation.version[0])
            kinds = [kind for kind in PAIRS[pair] if kind.since <= found.version or kind in MYSQL_KINDS]
            world = ExactWorld[AnyDatabase](tmp_path_factory.mktemp("exact"), source, target)
            try:
                make(kinds, source, target)
                run(kinds, world, found)
            except AssertionError as error:
                found.failed = str(error)
            finally:
                world.store.close()
            return found
        finally:
            source.drop()
            target.drop()

    return outcome


def make(kinds: list[Kind], source: AnyDatabase, target: AnyDatabase) -> None:
    """The tables of all kinds on both sides, and their rows at the source."""
    for side in (source, target):
        if side.type == "POSTGRESQL":
            side.run(SHARED, *(f"CREATE SCHEMA {kind.name}" for kind in kinds if kind in KINDS))
    for kind in kinds:
        kind.run(source, kind.tables, kind.rows)
        kind.run(target, kind.target if kind.target and target.type == "POSTGRESQL" else kind.tables)


def run(kinds: list[Kind], world: ExactWorld[AnyDatabase], found: Outcome) -> None:
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


@pytest.mark.parametrize(("pair", "kind"), CASES, ids=[f"{pair}-{kind.name}" for pair, kind in CASES])
def test_the_target_is_the_source_p2_p5(pair: str, kind: Kind, outcome_of: Callable[[str], Outcome]) -> None:
    outcome = outcome_of(pair)
    if kind in KINDS and kind.since > outcome.version:
        pytest.skip(f"PostgreSQL {outcome.version} does not know this")
    assert not outcome.failed, f"after {list(outcome.stages)}: {outcome.failed}"
    ours = {stage: {t: d for t, d in differences.items() if belongs(t, kind)} for stage, differences in outcome.stages.items()}
    assert ours == {stage: {} for stage in STAGES}
    assert {t: r for t, r in outcome.unmapped.items() if belongs(t, kind)} == {}


def belongs(table: str, kind: Kind) -> bool:
    """Whether the table is one of this kind's."""
    name = TableName.parse(table, "public")
    if kind in MYSQL_KINDS:
        return f"CREATE TABLE {name.name} " in kind.tables
    return name.schema == kind.name or (kind.name == "names" and name.schema in {one.schema for one in NAMED})
