"""A target table that is not the one any more which rows were copied to: noticed with the next chunk, commit or run."""

from __future__ import annotations

from contextlib import closing

import pytest

from headwater.domain.errors import TargetError
from headwater.domain.merge import MergeStep
from headwater.ports.source import Chunk
from headwater.ports.target import CopyState, TableState
from headwater.targets.postgres import run as run_module
from headwater.targets.postgres.run import PostgresTargetRun
from tests.databases import Database
from tests.targets.test_postgres_target import batch, mapping, merged, target_of

TO, NAMES = mapping("id", "a"), ["id", "a"]
SAME_NAME = "CREATE TABLE t (id int PRIMARY KEY, a text)"
OTHER = {
    "made anew": ("DROP TABLE t", SAME_NAME),
    "renamed": ("ALTER TABLE t RENAME TO t_old", SAME_NAME),
    "moved": ("CREATE SCHEMA s", "ALTER TABLE t SET SCHEMA s", SAME_NAME),
}
HARMLESS = ("ALTER TABLE t ADD b int", "VACUUM FULL t", "TRUNCATE t", "ALTER TABLE t RENAME TO x", "ALTER TABLE x RENAME TO t")


def opened(database: Database, epoch: int, recopy: bool = False) -> PostgresTargetRun:
    """A run with the mapping."""
    target = target_of(database)
    target.raise_epoch("task", epoch, recopy=recopy)
    return target.open("task", epoch, [TO])


def follow(run: PostgresTargetRun, first: int) -> None:
    """One transaction of a follower."""
    run.write([merged(TO, MergeStep(upserts=batch((first, "x"), names=NAMES)))])
    run.commit(run.checkpoint())


def copied(database: Database) -> PostgresTargetRun:
    """A run whose table is copied and followed."""
    run = opened(database, 1)
    run.save_table_state(TableState(TO.mapping_id, CopyState.COPYING, chunks=(Chunk(0, None, None), Chunk(1, None, None))))
    run.copy_chunk(TO, Chunk(0, None, None), [b"1\tx\n"], fresh=True, remove=True)
    run.save_table_state(TableState(TO.mapping_id, CopyState.COPIED))
    follow(run, 2)
    return run


@pytest.mark.parametrize("ddl", OTHER)
def test_another_table_is_noticed(newest_database: Database, ddl: str) -> None:
    newest_database.run(SAME_NAME)
    with closing(copied(newest_database)) as run:
        newest_database.run(*OTHER[ddl])
        for act in (lambda: follow(run, 3), lambda: run.copy_chunk(TO, Chunk(1, None, None), [b"9\tx\n"], fresh=True, remove=True)):
            with pytest.raises(TargetError, match=r"public\.t is another table .* Save the mapping again") as caught:
                act()
            assert (caught.value.kind, str(TO.source) in str(caught.value)) == ("schema_mismatch", True)
            assert newest_database.rows("SELECT * FROM t") == []
    with pytest.raises(TargetError, match="is another table"):
        opened(newest_database, 2)
    with closing(opened(newest_database, 3, recopy=True)) as run:
        follow(run, 3)
    assert newest_database.rows("SELECT id FROM t") == [(3,)]


def test_a_quiet_table_is_looked_at_now_and_then(newest_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    newest_database.run(SAME_NAME)
    with closing(copied(newest_database)) as run:
        newest_database.run(*OTHER["made anew"])
        run.commit(run.checkpoint())  # too soon for a look
        monkeypatch.setattr(run_module, "LOOK_S", 0.0)
        run._look_at = 0.0
        with pytest.raises(TargetError, match="is another table"):
            run.commit(run.checkpoint())


def test_a_table_that_is_gone_is_named_and_may_come_back(newest_database: Database) -> None:
    newest_database.run(SAME_NAME)
    copied(newest_database).close()
    newest_database.run("ALTER TABLE t RENAME TO x")
    with pytest.raises(TargetError, match=r"no table public\.t any more") as caught:
        opened(newest_database, 2)
    assert caught.value.kind == "schema_mismatch"
    newest_database.run("ALTER TABLE x RENAME TO t")
    with closing(opened(newest_database, 3)) as run:
        follow(run, 3)


def test_what_keeps_the_table_passes(newest_database: Database) -> None:
    newest_database.run(SAME_NAME)
    with closing(copied(newest_database)) as run:
        for i, ddl in enumerate(HARMLESS):
            newest_database.run(ddl)
            if not ddl.endswith("TO x"):
                follow(run, 10 + i)
    opened(newest_database, 2).close()


@pytest.mark.parametrize(
    ("ddl", "said"),
    [
        ("ALTER TABLE t RENAME COLUMN a TO b", "public.t has no column a"),
        ("ALTER TABLE t DROP COLUMN a", "public.t has no column a"),
        ("ALTER TABLE t RENAME TO x", "no table public.t"),
    ],
)
def test_what_is_missing_within_a_copy_is_told_by_name(newest_database: Database, ddl: str, said: str) -> None:
    newest_database.run(SAME_NAME)
    with closing(opened(newest_database, 1)) as run:
        run.save_table_state(TableState(TO.mapping_id, CopyState.COPYING, chunks=(Chunk(0, None, None), Chunk(1, None, None))))
        run.copy_chunk(TO, Chunk(0, None, None), [b"1\tx\n"], fresh=True, remove=True)
        newest_database.run(ddl)
        with pytest.raises(TargetError) as caught:
            run.copy_chunk(TO, Chunk(1, None, None), [b"2\tx\n"], fresh=True, remove=True)
    assert (caught.value.kind, said in str(caught.value)) == ("schema_mismatch", True), str(caught.value)
