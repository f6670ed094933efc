"""Tables that are altered at the target under a run: what is missing is told by name; what only differs heals by a new run."""

from __future__ import annotations

from contextlib import closing

import pytest

from headwater.domain.errors import TargetError
from headwater.domain.merge import MergeStep
from headwater.targets.postgres.run import PostgresTargetRun
from headwater.targets.postgres.table_writer import SMALL_ROWS
from tests.databases import Database
from tests.targets.test_postgres_failures import opened
from tests.targets.test_postgres_target import batch, mapping, merged

TO, NAMES = mapping("id", "a"), ["id", "a"]
MISSING = {
    "ALTER TABLE t DROP COLUMN a": "public.t has no column a",
    "ALTER TABLE t RENAME COLUMN a TO b": "public.t has no column a",
    "ALTER TABLE t RENAME TO other": "no table public.t",
    "DROP TABLE t": "no table public.t",
    "ALTER TABLE t DROP CONSTRAINT t_pkey": "no primary key or unique index on exactly (id)",
    "ALTER TABLE t ADD COLUMN must int NOT NULL DEFAULT 0; ALTER TABLE t ALTER must DROP DEFAULT": "public.t.must must not be NULL",
}
PASSES = ("ALTER TABLE t ADD COLUMN more text DEFAULT 'd'", "CREATE INDEX ON t (a)", "ALTER TABLE t ALTER COLUMN a TYPE varchar(50)")


def write(run: PostgresTargetRun, first: int, value: str = "1") -> None:
    """A small and a large write, as rows that may stand."""
    for count in (1, SMALL_ROWS + 1):
        run.write([merged(TO, MergeStep(upserts=batch(*((first + i, value) for i in range(count)), names=NAMES)))])
    run.rollback()


@pytest.mark.parametrize("ddl", MISSING)
def test_what_is_missing_is_told_by_name(newest_database: Database, ddl: str) -> None:
    newest_database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    with closing(opened(newest_database)) as run:
        write(run, 1)
        newest_database.run(*ddl.split("; "))
        with pytest.raises(TargetError) as caught:
            write(run, 1)
    assert (caught.value.kind, MISSING[ddl] in str(caught.value)) == ("schema_mismatch", True), str(caught.value)


def test_what_is_harmless_passes(newest_database: Database) -> None:
    newest_database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    with closing(opened(newest_database)) as run:
        for i, ddl in enumerate(PASSES):
            newest_database.run(ddl)
            write(run, i * 1000)


def test_a_widened_column_heals_by_a_new_run(newest_database: Database) -> None:
    newest_database.run("CREATE TABLE t (id int PRIMARY KEY, a smallint)")
    with closing(opened(newest_database)) as run:
        run.write([merged(TO, MergeStep(upserts=batch(*((i, "1") for i in range(SMALL_ROWS + 1)), names=NAMES)))])
        run.rollback()
        run.write([merged(TO, MergeStep(upserts=batch(*((i, "1") for i in range(SMALL_ROWS + 1)), names=NAMES)))])
        run.commit(run.checkpoint())
        newest_database.run("ALTER TABLE t ALTER COLUMN a TYPE bigint")
        with pytest.raises(TargetError) as caught:
            run.write([merged(TO, MergeStep(upserts=batch(*((i, "123456") for i in range(SMALL_ROWS + 1)), names=NAMES)))])
    assert (caught.value.kind, "was altered" in str(caught.value)) == ("target_unavailable", True), str(caught.value)
    with closing(opened(newest_database, 2)) as run:
        write(run, 1, "123456")
