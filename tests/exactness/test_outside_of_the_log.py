"""What changes tables without a word in the log, on real servers: the table is copied again by itself, and is equal in the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.domain.tables import TableName
from headwater.engine import capture
from tests.databases import Database, wait_until
from tests.exactness.exact_world import TASK, ExactWorld
from tests.sources.postgres_logs import source_of

TREE = """
CREATE TYPE {0}_mood AS ENUM ('x', 'y');
CREATE TYPE {0}_deep AS ENUM ('a', 'b');
CREATE DOMAIN {0}_many AS {0}_deep[];
CREATE TABLE {0} (id int, part int, v text, mood {0}_mood DEFAULT 'x', many {0}_many DEFAULT '{{a}}', PRIMARY KEY (id, part))
    PARTITION BY LIST (part);
CREATE TABLE {0}_1 PARTITION OF {0} FOR VALUES IN (1);
CREATE TABLE {0}_2 PARTITION OF {0} FOR VALUES IN (2) PARTITION BY LIST (part);
CREATE TABLE {0}_2a PARTITION OF {0}_2 FOR VALUES IN (2);
INSERT INTO {0} SELECT i, 1 + i % 2, 'v' FROM generate_series(1, 20) i;
"""
OUTSIDE = {
    "attached": "CREATE TABLE x (LIKE {0}); INSERT INTO x VALUES (100, 3, 'x'); ALTER TABLE {0} ATTACH PARTITION x FOR VALUES IN (3)",
    "detached": "ALTER TABLE {0} DETACH PARTITION {0}_1",
    "dropped": "DROP TABLE {0}_2",
    "truncated": "BEGIN; TRUNCATE {0}_1; INSERT INTO {0} VALUES (200, 1, 'after'); COMMIT",
    "label_renamed": "ALTER TYPE {0}_mood RENAME VALUE 'x' TO 'z'; INSERT INTO {0} VALUES (210, 1, 'after', 'z')",
    "deep_label_renamed": "ALTER TYPE {0}_deep RENAME VALUE 'a' TO 'c'",
    "in_one": "BEGIN; CREATE TABLE y (LIKE {0}); INSERT INTO y VALUES (1, 4); ALTER TABLE {0} ATTACH PARTITION y FOR VALUES IN (4); COMMIT",
}
INSIDE = {
    "created": "CREATE TABLE {0}_9 PARTITION OF {0} FOR VALUES IN (9); INSERT INTO {0} VALUES (300, 9, 'new')",
    "created_in_one": "BEGIN; CREATE TABLE {0}_8 PARTITION OF {0} FOR VALUES IN (8); INSERT INTO {0} VALUES (300, 8, 'new'); COMMIT",
    "attached_empty": "CREATE TABLE z (LIKE {0}); ALTER TABLE {0} ATTACH PARTITION z FOR VALUES IN (7); INSERT INTO z VALUES (400, 7, 'z')",
    "label_added": "ALTER TYPE {0}_mood ADD VALUE 'w' BEFORE 'x'; INSERT INTO {0} VALUES (500, 1, 'w', 'w')",
    "changed": "UPDATE {0} SET part = 3 - part; DELETE FROM {0} WHERE id = 3; VACUUM {0}; ANALYZE {0}",
}


def _run(database: Database, table: str, script: str) -> None:
    for statement in [script] if "BEGIN" in script else script.split(";"):
        database.run(statement.format(table))


def test_what_the_log_does_not_tell_is_seen_and_nothing_else_is(database: Database) -> None:
    if int(database.rows("SHOW server_version_num")[0][0]) < 130000:
        pytest.skip("partitioned tables can't be published before 13")
    names = [TableName("public", name) for name in (*OUTSIDE, *INSIDE)]
    for name in names:
        database.run(TREE.format(name.name))
    source = source_of(database)
    source.publish(names)
    before = source.watch(names, {})
    assert set(before.marks) == set(names)
    assert not before.changed
    for table, script in {**OUTSIDE, **INSIDE}.items():
        _run(database, table, script)
    after = source.watch(names, before.marks)
    assert {table.name for table in after.changed} == set(OUTSIDE)
    assert not source.watch(names, after.marks).changed
    publication = source.config.publication
    database.run(f"ALTER PUBLICATION {publication} DROP TABLE created", f"ALTER PUBLICATION {publication} ADD TABLE created")
    assert {table.name for table in source.watch(names, after.marks).changed} == {"created"}
    database.run(f"ALTER PUBLICATION {publication} SET (publish = 'insert')")
    assert set(source.watch(names, after.marks).changed) == set(names)


@pytest.fixture
def world(tmp_path: Path, source_database: Database, target_database: Database) -> Iterator[ExactWorld]:
    """A task over one table for each script, and one that nothing happens to."""
    if int(source_database.rows("SHOW server_version_num")[0][0]) < 130000:
        pytest.skip("partitioned tables can't be published before 13")
    for name in (*OUTSIDE, *INSIDE):
        source_database.run(TREE.format(name))
        target_database.run(f"CREATE TABLE {name} (id int, part int, v text, mood text, many text, PRIMARY KEY (id, part))")
    made = ExactWorld(tmp_path, source_database, target_database)
    made.prepare()
    yield made
    made.store.close()


def test_tables_that_changed_outside_of_the_log_are_copied_again_and_others_are_not(world: ExactWorld) -> None:
    with world.following():
        before = {t.source_table: t.since for t in world.report(TASK).tables}
        for table, script in {**OUTSIDE, **INSIDE}.items():
            _run(world.source, table, script)
        wait_until(lambda: not world.differences(), capture.LOOK_S + 45, "source and target are equal")
        world.settle()
        moved = {t.source_table for t in world.report(TASK).tables if t.since > before[t.source_table]}
        assert moved == {f"public.{name}" for name in OUTSIDE}
        assert not world.differences()
