"""Writing under constraints: foreign keys in and out of force, values that change hands, users with few rights."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headwater.domain.errors import TargetError
from headwater.domain.merge import MergeStep
from headwater.domain.tables import TableName
from headwater.ports.target import Checkpoint
from headwater.targets.postgres.run import PostgresTargetRun
from tests.databases import Database
from tests.targets.test_postgres_target import SIZES, batch, mapping, merged, target_of

PARENT, CHILD = TableName("public", "parent"), TableName("public", "child")
TABLES = (
    "CREATE TABLE parent (id int PRIMARY KEY)",
    "CREATE TABLE child (id int PRIMARY KEY, parent int NOT NULL CONSTRAINT of_parent REFERENCES parent)",
)


@pytest.fixture
def plain_user(database: Database) -> Iterator[str]:
    """A user who may write to all tables of the database and little else; they have to be granted after creation."""
    name = f"plain_{database.name}"
    database.run(f"CREATE ROLE {name} LOGIN PASSWORD 'pw'", f"GRANT CREATE ON DATABASE {database.name} TO {name}")
    yield name
    database.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def plain_run(database: Database, user: str) -> PostgresTargetRun:
    """A run whose server does not let it write as a replica: foreign keys are in force."""
    database.run(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}", f"GRANT USAGE ON SCHEMA public TO {user}")
    target = target_of(database, user, "pw")
    target.raise_epoch("task", 1)
    return target.open("task", 1)


@SIZES
def test_foreign_keys_in_force_are_met_by_order(database: Database, plain_user: str, rows: int) -> None:
    database.run(*TABLES)
    run = plain_run(database, plain_user)
    parents = batch(*((i,) for i in range(rows)), names=["id"])
    children = batch(*((i, i) for i in range(rows)), names=["id", "parent"])
    child, parent = mapping("id", "parent", table=CHILD, name="c"), mapping("id", table=PARENT, name="p")
    run.write([merged(child, MergeStep(inserts=children)), merged(parent, MergeStep(inserts=parents))])
    run.write([merged(parent, MergeStep(deletes=parents)), merged(child, MergeStep(deletes=children.select(["id"])))])
    run.commit(Checkpoint(1))
    run.close()
    assert database.rows("SELECT (SELECT count(*) FROM parent), (SELECT count(*) FROM child)") == [(0, 0)]


@SIZES
def test_a_child_that_leaves_its_parent_before_the_parent_goes(database: Database, plain_user: str, rows: int) -> None:
    database.run(*TABLES, "INSERT INTO parent VALUES (-1)", f"INSERT INTO child SELECT i, -1 FROM generate_series(0, {rows - 1}) i")
    run = plain_run(database, plain_user)
    children = batch(*((i, -2) for i in range(rows)), names=["id", "parent"])
    parent_step = MergeStep(deletes=batch((-1,), names=["id"]), inserts=batch((-2,), names=["id"]))
    run.write(
        [
            merged(mapping("id", "parent", table=CHILD, name="c"), MergeStep(upserts=children)),
            merged(mapping("id", table=PARENT, name="p"), parent_step),
        ]
    )
    run.commit(Checkpoint(1))
    run.close()
    assert database.rows("SELECT (SELECT max(id) FROM parent), (SELECT count(*) FROM child WHERE parent = -2)") == [(-2, rows)]


def test_a_foreign_key_that_no_order_meets_is_named_without_values(database: Database, plain_user: str) -> None:
    database.run(*TABLES)
    run = plain_run(database, plain_user)
    run.write([merged(mapping("id", "parent", table=CHILD), MergeStep(inserts=batch((1, 4711), names=["id", "parent"])))])
    with pytest.raises(TargetError) as caught:
        run.commit(Checkpoint(1))
    assert caught.value.kind == "row_refused"
    assert "of_parent" in str(caught.value)
    assert "public.child" in str(caught.value)
    assert "4711" not in str(caught.value)
    run.close()


def test_where_the_server_lets_us_foreign_keys_and_triggers_of_the_target_stay_out(database: Database) -> None:
    database.run(
        *TABLES,
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := NEW.id + 1000; RETURN NEW; END'",
        "CREATE TRIGGER spoil BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION spoil()",
    )
    target = target_of(database)
    target.raise_epoch("task", 1)
    run = target.open("task", 1)
    run.write([merged(mapping("id", "parent", table=CHILD), MergeStep(inserts=batch((1, 2), names=["id", "parent"])))])
    run.commit(Checkpoint(1))
    run.close()
    assert database.rows("SELECT * FROM child") == [(1, 2)]


@SIZES
@pytest.mark.parametrize("before", [False, True], ids=["first write", "after another write"])
def test_values_of_a_further_unique_constraint_change_hands(database: Database, rows: int, before: bool) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, u text UNIQUE, mine int DEFAULT 7)",
        f"INSERT INTO t SELECT i, 'u' || i, 1000 + i FROM generate_series(0, {rows - 1}) i",
    )
    target = target_of(database)
    target.raise_epoch("task", 1)
    run = target.open("task", 1)
    to = mapping("id", "u")
    if before:
        run.write([merged(to, MergeStep(inserts=batch((-1, "early"), names=["id", "u"])))])
    turned = [(i, f"u{(i + 1) % rows}") for i in range(rows)]
    run.write([merged(to, MergeStep(upserts=batch(*turned, (rows, "new"), names=["id", "u"])))])
    run.commit(Checkpoint(1))
    run.write([merged(to, MergeStep(deletes=batch((0,), names=["id"]), inserts=batch((rows + 1, "u1"), names=["id", "u"])))])
    run.commit(Checkpoint(1))
    run.close()
    expected = [(i, u, 1000 + i) for i, u in turned[1:]] + [(rows, "new", 7), (rows + 1, "u1", 7)]
    assert database.rows("SELECT * FROM t WHERE id >= 0 ORDER BY id") == expected
    assert len(database.rows("SELECT FROM t WHERE id = -1")) == before


@SIZES
def test_an_insert_that_meets_a_row_after_all_writes_over_it(database: Database, rows: int) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)", "INSERT INTO t VALUES (1, 'somebody else''s')")
    target = target_of(database)
    target.raise_epoch("task", 1)
    run = target.open("task", 1)
    run.write([merged(mapping("id", "a"), MergeStep(inserts=batch(*((i, "ours") for i in range(rows)), names=["id", "a"])))])
    run.commit(Checkpoint(1))
    run.close()
    assert database.rows("SELECT DISTINCT a, count(*) OVER () FROM t") == [("ours", rows)]


def test_a_unique_value_that_another_row_keeps_is_refused_by_name(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, u text CONSTRAINT only_once UNIQUE)", "INSERT INTO t VALUES (1, 'secret')")
    target = target_of(database)
    target.raise_epoch("task", 1)
    run = target.open("task", 1)
    run.write([merged(mapping("id", "u"), MergeStep(inserts=batch((2, "secret"), names=["id", "u"])))])
    with pytest.raises(TargetError, match="only_once") as caught:
        run.commit(Checkpoint(1))
    assert caught.value.kind == "row_refused"
    assert "secret" not in str(caught.value)
    run.close()


@pytest.mark.parametrize("referenced", [False, True])
def test_truncate_empties_the_table_whether_or_not_others_refer_to_it(database: Database, referenced: bool) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    if referenced:
        database.run("CREATE TABLE other (t int REFERENCES t)")
    target = target_of(database)
    target.raise_epoch("task", 1)
    run = target.open("task", 1)
    run.write([merged(mapping("id"), MergeStep(truncate=True, inserts=batch((3,), names=["id"])))])
    run.rollback()
    assert database.rows("SELECT count(*) FROM t") == [(2,)]
    run.write([merged(mapping("id"), MergeStep(truncate=True, inserts=batch((3,), names=["id"])))])
    run.commit(Checkpoint(1))
    run.close()
    assert database.rows("SELECT * FROM t") == [(3,)]
