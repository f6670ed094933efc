"""A task whose requirements no longer hold: told all at once at the start; and what it says when they break while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater import adapters
from headwater.clusters import PrivatePostgres
from headwater.services.data_sources import Connections
from headwater.services.errors import ServiceError
from headwater.services.locks import TaskLocks
from headwater.services.mappings import MappingForm, Mappings
from headwater.services.tasks import Item, Tasks
from tests.databases import Database, wait_until
from tests.exactness.exact_world import TASK, ExactWorld
from tests.integration.reset_world import now_ms
from tests.integration.world import SCOPE

TABLES = ("gone", "keyless", "hidden", "there_gone", "there_less", "typed", "fine")


@pytest.fixture
def world(tmp_path: Path, newest_cluster: PrivatePostgres, make_database: Callable[[PrivatePostgres], Database]) -> Iterator[ExactWorld]:
    """A task over tables that are all right."""
    source_database, target_database = make_database(newest_cluster), make_database(newest_cluster)
    for side in (source_database, target_database):
        side.run(*(f"CREATE TABLE {name} (id int PRIMARY KEY, v text)" for name in TABLES))
    made = ExactWorld(tmp_path, source_database, target_database)
    made.prepare()
    yield made
    made.store.close()


def services(world: ExactWorld) -> tuple[Tasks, Mappings]:
    """The control plane's word on it."""
    connections, locks = Connections(adapters.source_of, adapters.target_of), TaskLocks()
    mappings = Mappings(world.store, connections, locks, now_ms)
    return Tasks(world.store, connections, mappings, world.resets, locks, now_ms, lambda: None), mappings


def refused(world: ExactWorld) -> Item:
    """What a start is refused with."""
    with world.running():
        outcome = services(world)[0].start(SCOPE, [TASK])
    (item,) = outcome.failure
    assert item.error_code == "FDI.3026"
    return item


def test_everything_that_no_longer_holds_is_told_at_once_for_both_sides(world: ExactWorld) -> None:
    world.source.run(
        "DROP TABLE gone",
        "ALTER TABLE keyless DROP CONSTRAINT keyless_pkey",
        "ALTER TABLE hidden SET UNLOGGED",
    )
    world.target.run(
        "DROP TABLE there_gone",
        "ALTER TABLE there_less DROP COLUMN v",
        "ALTER TABLE typed ALTER v TYPE int USING NULL",
        "ALTER TABLE fine DROP CONSTRAINT fine_pkey",
    )
    details = refused(world).details
    said = "\n".join(details)
    for sign in (
        "At the source: The table public.gone does not exist.",
        "public.keyless",
        "At the source: The table public.hidden is unlogged",
        "At the target: The target has no table public.there_gone.",
        "At the target: public.there_less has no column v.",
        "public.typed.v (text) can't fill public.typed.v (integer)",
        "public.fine has no",
    ):
        assert sign in said, said
    assert len(details) == len(TABLES) + 1, said  # of keyless: what its log lacks, and that its mapping was made for another key


def test_a_side_that_does_not_answer_is_told_beside_what_the_other_one_says(world: ExactWorld) -> None:
    world.target.run("DROP TABLE there_gone")
    saved = world.store.data_source("source")
    assert saved is not None
    world.store.save_data_source(type(saved)(**{**saved.__dict__, "content": {**saved.content, "port": "1"}}))
    said = "\n".join(refused(world).details)
    assert "At the source: Connecting to" in said
    assert "The target has no table public.there_gone." in said


def test_a_role_that_lost_its_rights_and_a_publication_that_was_changed(world: ExactWorld) -> None:
    with world.following():
        world.wish(TASK, False)
        world.await_state(TASK, "stopped")
    role = f"poor_{world.source.name}"
    (publication,) = world.source.rows("SELECT pubname FROM pg_publication")[0]
    world.source.run(
        f"CREATE ROLE {role} LOGIN PASSWORD 'pw'",
        f"ALTER PUBLICATION {publication} SET (publish = 'insert')",
        f"GRANT SELECT ON fine TO {role}",
    )
    try:
        saved = world.store.data_source("source")
        assert saved is not None
        content, secrets = {**saved.content, "user_name": role}, {"password": "pw"}
        world.store.save_data_source(type(saved)(**{**saved.__dict__, "content": content, "secrets": secrets}))
        said = "\n".join(refused(world).details)
        assert f"ALTER ROLE {role} REPLICATION" in said
        assert f"GRANT SELECT ON TABLE public.gone TO {role}" in said
        assert f"GRANT SELECT ON TABLE public.fine TO {role}" not in said
        assert "does not publish all operations" in said
    finally:
        world.source.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_what_is_no_table_is_refused_with_its_reason_when_it_is_mapped(world: ExactWorld) -> None:
    world.source.run("CREATE VIEW seen AS SELECT 1 AS id", "CREATE SEQUENCE counted")
    with world.running():
        mappings = services(world)[1]
        for name, reason in (
            ("seen", "public.seen is a view"),
            ("counted", "public.counted is a sequence"),
            ("ghost", "has no table public.ghost"),
        ):
            with pytest.raises(ServiceError, match=reason) as caught:
                mappings.create(SCOPE, TASK, MappingForm(f"public.{name}", "public.fine"))
            assert caught.value.code == "FDI.3037"


def test_what_breaks_while_a_task_runs_is_told_by_its_state(world: ExactWorld) -> None:
    with world.following():
        world.target.run("ALTER TABLE there_less DROP COLUMN v")
        world.source.run("INSERT INTO there_less VALUES (1, 'a')")
        world.await_state(TASK, "failed")
        task = world.task(TASK)
        assert task.error_kind in ("target_refused", "schema_mismatch")
        assert "there_less" in task.message
        world.target.run("ALTER TABLE there_less ADD COLUMN v text")
        world.wish(TASK, True)
        world.settle()
        (publication,) = world.source.rows("SELECT pubname FROM pg_publication")[0]
        world.source.run(f"ALTER PUBLICATION {publication} SET (publish = 'insert')", "INSERT INTO fine VALUES (1, 'a')")
        wait_until(lambda: world.state(TASK) == "failed", 60, "the task has failed")
        task = world.task(TASK)
        assert task.error_kind == "source_refused"
        assert "does not publish all operations" in task.message
        world.source.run("UPDATE fine SET v = 'left out' WHERE id = 1")
        world.source.run(f"ALTER PUBLICATION {publication} SET (publish = 'insert, update, delete, truncate')")
        world.wish(TASK, True)
        wait_until(lambda: not world.differences(), 60, "source and target are equal")
