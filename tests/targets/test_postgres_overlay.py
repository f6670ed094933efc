"""What the target's constraints hold back: laid aside, kept through crashes, shown with one commit, and nothing silently lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest

from headwater.domain.errors import RowRefused, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergeStep, Move
from headwater.domain.tables import TableName
from headwater.ports.source import Chunk
from headwater.ports.target import Checkpoint, CopyState, TableState
from headwater.targets.postgres import PostgresTarget
from headwater.targets.postgres.run import PostgresTargetRun
from tests.databases import Database
from tests.targets.test_postgres_target import SIZES, batch, mapping, merged, target_of

PARENT, CHILD, T = TableName("public", "parent"), TableName("public", "child"), TableName("public", "t")
OVERLAYS = "SELECT relname FROM pg_class WHERE relnamespace = 'headwater'::regnamespace AND relname ~ '^(rows|gone)_[0-9]+$'"
RING = (
    "CREATE TABLE parent (id int PRIMARY KEY, favourite int NOT NULL)",
    "CREATE TABLE child (id int PRIMARY KEY, parent int NOT NULL REFERENCES parent, doc text)",
    "ALTER TABLE parent ADD CONSTRAINT likes FOREIGN KEY (favourite) REFERENCES child",
)
TO_PARENT, TO_CHILD = mapping("id", "favourite", table=PARENT, name="p"), mapping("id", "parent", "doc", table=CHILD, name="c")


@pytest.fixture
def plain(newest_database: Database) -> Iterator[PostgresTarget]:
    """A target whose user may write rows and make our schema, nothing else."""
    name = f"plain_{newest_database.name}"
    database = newest_database
    database.run(f"CREATE ROLE {name} LOGIN PASSWORD 'pw'", f"GRANT CREATE ON DATABASE {database.name} TO {name}")
    database.run(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO {name}", f"GRANT USAGE ON SCHEMA public TO {name}")
    yield target_of(database, name, "pw")
    database.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headwater' AND datname = current_database()",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM {name}",
        f"DROP OWNED BY {name}",
        f"DROP ROLE {name}",
    )


def opened(target: PostgresTarget, mappings: Sequence[TableMapping], epoch: int = 1) -> PostgresTargetRun:
    target.raise_epoch("task", epoch)
    return target.open("task", epoch, mappings)


def replaying(target: PostgresTarget, mappings: Sequence[TableMapping]) -> PostgresTargetRun:
    """A run that stands at offset 0 of a stretch that is exact from 9 on."""
    run = opened(target, mappings)
    for one in mappings:
        run.save_table_state(TableState(one.mapping_id, CopyState.COPIED))
    run.commit(Checkpoint(1, "j", 0, 9))
    return run


def rows(names: str, *values: Sequence[object]) -> pa.RecordBatch:
    return batch(*values, names=names.split())


@SIZES
def test_a_ring_of_not_null_references_comes_and_goes_in_one_write(plain: PostgresTarget, newest_database: Database, rows: int) -> None:
    newest_database.run(*RING)
    run = opened(plain, [TO_PARENT, TO_CHILD])
    parents, children = batch(*((i, i) for i in range(rows)), names=["id", "favourite"]), [(i, i, None) for i in range(rows)]
    below = batch(*children, names=["id", "parent", "doc"])
    run.write([merged(TO_PARENT, MergeStep(inserts=parents)), merged(TO_CHILD, MergeStep(inserts=below))])
    run.commit(Checkpoint(1, "j", 1))
    assert newest_database.rows("SELECT (SELECT count(*) FROM parent), (SELECT count(*) FROM child)") == [(rows, rows)]
    gone = [merged(to, MergeStep(deletes=one.select(["id"]))) for to, one in ((TO_PARENT, parents), (TO_CHILD, below))]
    run.write(gone)
    run.commit(Checkpoint(1, "j", 2))
    run.close()
    assert newest_database.rows("SELECT (SELECT count(*) FROM parent), (SELECT count(*) FROM child)") == [(0, 0)]


def test_a_transaction_in_parts_is_shown_at_its_end(plain: PostgresTarget, newest_database: Database) -> None:
    """A part alone breaks the ring."""
    newest_database.run(*RING)
    run = opened(plain, [TO_PARENT, TO_CHILD])
    run.write([merged(TO_PARENT, MergeStep(inserts=rows("id favourite", (1, 1))))])
    run.write([merged(TO_CHILD, MergeStep(inserts=rows("id parent doc", (1, 1, "d"))))])
    run.write([merged(TO_CHILD, MergeStep(partials=(rows("id parent", (1, 1)),)))])
    run.commit(Checkpoint(1, "j", 1))
    run.close()
    assert newest_database.rows("SELECT * FROM child") == [(1, 1, "d")]


def test_a_cascade_takes_no_row_along_that_the_source_kept(plain: PostgresTarget, newest_database: Database) -> None:
    """The child leaves its parent in the same batch, with a large value that was not sent; a grandchild hangs on it."""
    newest_database.run(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE, doc text, mine int)",
        "CREATE TABLE t (id int PRIMARY KEY, child int REFERENCES child ON DELETE CASCADE)",
        "INSERT INTO parent VALUES (1), (2)",
        "INSERT INTO child VALUES (1, 1, 'large', 7), (2, 1, 'goes', 8)",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
    )
    run = opened(plain, [TO_CHILD, mapping("id", table=PARENT, name="p"), mapping("id", "child", name="t")])
    run.write(
        [
            merged(mapping("id", table=PARENT, name="p"), MergeStep(deletes=rows("id", (1,)))),
            merged(TO_CHILD, MergeStep(deletes=rows("id", (2,)), partials=(rows("id parent", (1, 2)),))),
            merged(mapping("id", "child", name="t"), MergeStep(deletes=rows("id", (2,)))),
        ]
    )
    run.commit(Checkpoint(1, "j", 1))
    run.close()
    assert newest_database.rows("SELECT * FROM child") == [(1, 2, "large", 7)]
    assert newest_database.rows("SELECT * FROM t") == [(1, 1)]


@SIZES
def test_partial_rows_swap_values_of_a_further_unique_constraint(newest_database: Database, rows: int) -> None:
    newest_database.run(
        "CREATE TABLE t (id int PRIMARY KEY, u int NOT NULL UNIQUE, doc text, mine int)",
        f"INSERT INTO t SELECT i, i, 'large' || i, 1000 + i FROM generate_series(0, {rows - 1}) i",
    )
    run = opened(target_of(newest_database), [to := mapping("id", "u", "doc")])
    turned = [(i, (i + 1) % rows) for i in range(rows)]
    run.write([merged(to, MergeStep(partials=(batch(*turned, names=["id", "u"]),)))])
    run.commit(Checkpoint(1, "j", 1))
    run.close()
    expected = [(i, u, f"large{i}", 1000 + i) for i, u in turned]
    assert newest_database.rows("SELECT * FROM t ORDER BY id") == expected


@pytest.mark.parametrize(
    "constraint",
    [
        "CREATE UNIQUE INDEX ON t (lower(u))",
        "CREATE UNIQUE INDEX ON t (u) WHERE id > 0",
        "ALTER TABLE t ADD UNIQUE (u) DEFERRABLE INITIALLY DEFERRED",
        "ALTER TABLE t ADD UNIQUE (u) DEFERRABLE",
        "ALTER TABLE t ADD EXCLUDE USING btree (u WITH =)",
    ],
    ids=["expression", "partial", "deferred", "deferrable", "exclusion"],
)
def test_values_change_hands_under_every_kind_of_unique_constraint(newest_database: Database, constraint: str) -> None:
    newest_database.run("CREATE TABLE t (id int PRIMARY KEY, u text)", constraint, "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    run = opened(target_of(newest_database), [to := mapping("id", "u")])
    run.write([merged(to, MergeStep(deletes=rows("id", (3,)), upserts=rows("id u", (1, "b"), (2, "a")), inserts=rows("id u", (4, "c"))))])
    run.commit(Checkpoint(1, "j", 1))
    run.close()
    assert newest_database.rows("SELECT * FROM t ORDER BY id") == [(1, "b"), (2, "a"), (4, "c")]


def test_values_change_hands_in_a_table_to_which_rows_cling(plain: PostgresTarget, newest_database: Database) -> None:
    """Its rows can't be deleted and inserted anew: that would take the children along."""
    newest_database.run(
        "CREATE TABLE t (id int PRIMARY KEY, u text UNIQUE, must text NOT NULL CONSTRAINT one_each UNIQUE)",
        "CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE)",
        "INSERT INTO t SELECT i, 'u' || i, 'm' || i FROM generate_series(1, 9) i",
        "INSERT INTO child SELECT i, i FROM generate_series(1, 9) i",
    )
    run = opened(plain, [to := mapping("id", "u", "must")])
    swapped = [(1, "u2", "m1"), (2, "u1", "m2"), (3, "u3", "m4"), (4, "u4", "m5"), (5, "u5", "new")]
    run.write([merged(to, MergeStep(upserts=rows("id u must", *swapped)))])
    run.commit(Checkpoint(1, "j", 1))
    assert newest_database.rows("SELECT * FROM t WHERE id < 6 ORDER BY id") == swapped
    assert newest_database.rows("SELECT count(*) FROM child") == [(9,)]
    run.write([merged(to, MergeStep(upserts=rows("id u must", (6, "u6", "m7"), (7, "u7", "m6"))))])
    with pytest.raises(RowRefused, match="one_each"):
        run.commit(Checkpoint(1, "j", 2))
    run.close()
    assert newest_database.rows("SELECT count(*) FROM child") == [(9,)]


def test_a_replay_over_values_of_another_moment_is_seen_with_one_commit(newest_database: Database) -> None:
    """At the target row 2 has what row 1 had at first; rows of the replay are of that time, and no order of them would do."""
    newest_database.run("CREATE TABLE t (id int PRIMARY KEY, u text NOT NULL UNIQUE)", "INSERT INTO t VALUES (1, 'z'), (2, 'a')")
    target = target_of(newest_database)
    run = replaying(target, [to := mapping("id", "u")])
    run.write([merged(to, MergeStep(upserts=rows("id u", (1, "a"))), exact=False)])
    run.commit(Checkpoint(1, "j", 3, 9))
    before = [(1, "z"), (2, "a")]
    assert newest_database.rows("SELECT * FROM t ORDER BY id") == before
    assert len(newest_database.rows(OVERLAYS)) == 2
    run.close()
    run = opened(target, [to], 2)  # as after a crash
    run.write([merged(to, MergeStep(upserts=rows("id u", (3, "c"))), exact=False)])
    assert newest_database.rows("SELECT * FROM t ORDER BY id") == before
    run.write([merged(to, MergeStep(upserts=rows("id u", (1, "z"), (2, "a")), deletes=rows("id", (3,))), exact=False)])
    run.commit(Checkpoint(2, "j", 9, 9))
    assert newest_database.rows("SELECT * FROM t ORDER BY id") == before
    assert newest_database.rows(OVERLAYS) == newest_database.rows("SELECT mapping_id FROM headwater.overlay") == []
    run.write([merged(to, MergeStep(upserts=rows("id u", (1, "y"))))])
    run.commit(Checkpoint(2, "j", 10, 9))
    run.close()
    assert newest_database.rows("SELECT u FROM t WHERE id = 1") == [("y",)]


def test_what_is_laid_aside_takes_every_step(plain: PostgresTarget, newest_database: Database) -> None:
    newest_database.run(
        *RING[:2],
        "INSERT INTO parent SELECT i, 0 FROM generate_series(1, 3) i",
        "INSERT INTO child SELECT i, 1, 'doc' || i FROM generate_series(1, 6) i",
    )
    run = replaying(plain, [TO_PARENT, TO_CHILD])
    steps = [
        MergeStep(deletes=rows("id", (1,)), partials=(rows("id parent", (2, 2), (99, 2)),)),
        MergeStep(moves=(Move((b"3",), {"id": b"30", "parent": b"2"}), Move((b"30",), {"id": b"31"}), Move((b"4",), {"id": b"5"}))),
        MergeStep(partials=(rows("id parent", (1, 3), (31, 3)),), upserts=rows("id parent doc", (7, 3, "new"))),
        MergeStep(deletes=rows("id", (7,)), inserts=rows("id parent doc", (8, 2, None))),
    ]
    run.write([merged(TO_CHILD, *steps, exact=False)])
    run.commit(Checkpoint(1, "j", 9, 9))
    expected = [(2, 2, "doc2"), (5, 1, "doc5"), (6, 1, "doc6"), (8, 2, None), (31, 3, "doc3")]
    assert newest_database.rows("SELECT * FROM child ORDER BY id") == expected
    run.close()


def test_truncate_aside(plain: PostgresTarget, newest_database: Database) -> None:
    newest_database.run(*RING[:2], "INSERT INTO parent VALUES (1, 0), (2, 0)", "INSERT INTO child VALUES (1, 1, 'a'), (2, 2, 'b')")
    run = replaying(plain, [TO_PARENT, TO_CHILD])
    run.write([merged(TO_CHILD, MergeStep(upserts=rows("id parent doc", (5, 1, "x"))), exact=False)])
    run.write(
        [
            merged(TO_PARENT, MergeStep(truncate=True, inserts=rows("id favourite", (2, 5), (3, 5))), exact=False),
            merged(TO_CHILD, MergeStep(truncate=True, inserts=rows("id parent doc", (7, 3, "y"))), exact=False),
            merged(TO_CHILD, MergeStep(partials=(rows("id parent", (2, 2)),)), exact=False),
        ]
    )
    run.commit(Checkpoint(1, "j", 9, 9))
    run.close()
    assert newest_database.rows("SELECT id FROM parent ORDER BY 1") == [(2,), (3,)]
    assert newest_database.rows("SELECT * FROM child") == [(7, 3, "y")]


def test_a_copy_over_rows_of_another_moment_goes_aside_and_removes_what_is_gone(plain: PostgresTarget, newest_database: Database) -> None:
    newest_database.run(*RING[:2], "INSERT INTO parent VALUES (1, 0), (9, 0)", "INSERT INTO child VALUES (1, 1, 'a'), (2, 9, 'b')")
    run = opened(plain, both := [TO_PARENT, TO_CHILD])
    run.commit(Checkpoint(1, "j", 0, 0))
    chunks = (Chunk(0, None, ("5",)), Chunk(1, ("5",), None))
    for to in both:
        run.save_table_state(TableState(to.mapping_id, CopyState.COPYING, chunks=chunks))
    run.copy_chunk(TO_CHILD, chunks[0], [b"1\t6\tnew\n"], fresh=False, remove=True)
    run.copy_chunk(TO_PARENT, chunks[0], [b"2\t1\n"], fresh=False, remove=True)
    run.close()
    run = opened(plain, both, 2)
    run.commit(Checkpoint(2, "j", 0, 0))  # before the copy is complete nothing of it is shown
    assert newest_database.rows("SELECT count(*) FROM parent") == [(2,)]
    run.copy_chunk(TO_CHILD, chunks[1], [b"8\t2\tmore\n"], fresh=False, remove=True)
    run.copy_chunk(TO_PARENT, chunks[1], [b"6\t1\n"], fresh=False, remove=True)
    run.commit(Checkpoint(2, "j", 0, 4))
    assert newest_database.rows("SELECT count(*) FROM parent") == [(2,)]
    run.write([merged(TO_CHILD, MergeStep(partials=(rows("id parent", (8, 6), (2, 6)),)), exact=False)])
    run.commit(Checkpoint(2, "j", 4, 4))
    run.close()
    assert newest_database.rows("SELECT * FROM parent ORDER BY 1") == [(2, 1), (6, 1)]
    assert newest_database.rows("SELECT * FROM child ORDER BY 1") == [(1, 6, "new"), (8, 6, "more")]


def test_a_copy_that_collides_begins_again_aside(newest_database: Database) -> None:
    """The first chunk is of an earlier moment than the second: a unique value has moved between them."""
    newest_database.run("CREATE TABLE t (id int PRIMARY KEY, u text UNIQUE)")
    target = target_of(newest_database)
    run = opened(target, [to := mapping("id", "u")])
    run.commit(Checkpoint(1, "j", 0, 0))
    chunks = (Chunk(0, None, ("5",)), Chunk(1, ("5",), None))
    run.save_table_state(TableState("m", CopyState.COPYING, fresh=True, chunks=chunks))
    run.copy_chunk(to, chunks[0], [b"1\tx\n3\tz\n"], fresh=True, remove=True)
    with pytest.raises(TargetError, match="copied again") as caught:
        run.copy_chunk(to, chunks[1], [b"6\tx\n"], fresh=True, remove=True)
    assert caught.value.kind == "target_unavailable"
    run.close()
    run = opened(target, [to], 2)
    assert run.table_states()["m"].chunks_done == frozenset()
    run.copy_chunk(to, chunks[0], [b"1\ty\n"], fresh=True, remove=True)
    run.copy_chunk(to, chunks[1], [b"6\tx\n"], fresh=True, remove=True)
    run.commit(Checkpoint(2, "j", 0, 0))
    run.close()
    assert newest_database.rows("SELECT * FROM t ORDER BY id") == [(1, "y"), (6, "x")]


@pytest.mark.parametrize("recopy", [True, frozenset({"c"})])
def test_a_reset_that_copies_again_gives_up_what_was_laid_aside(
    plain: PostgresTarget, newest_database: Database, recopy: bool | frozenset[str]
) -> None:
    newest_database.run(*RING[:2], "INSERT INTO parent VALUES (1, 0)")
    run = replaying(plain, [TO_PARENT, TO_CHILD])
    run.write([merged(TO_CHILD, MergeStep(upserts=rows("id parent doc", (1, 1, "never"))), exact=False)])
    run.commit(Checkpoint(1, "j", 3, 9))
    run.write([merged(TO_CHILD, MergeStep(upserts=rows("id parent doc", (2, 1, "nor this"))), exact=False)])
    plain.raise_epoch("task", 2, Checkpoint(2) if recopy is True else None, recopy)  # waits for nobody
    run.close()
    run = plain.open("task", 2, [TO_PARENT, TO_CHILD])
    assert newest_database.rows(OVERLAYS) == []
    run.commit(Checkpoint(2, "j", 9, 9))
    run.close()
    assert newest_database.rows("SELECT * FROM child") == []


def test_a_task_that_is_forgotten_leaves_nothing_laid_aside(plain: PostgresTarget, newest_database: Database) -> None:
    newest_database.run(*RING[:2])
    run = replaying(plain, [TO_PARENT, TO_CHILD])
    run.write([merged(TO_PARENT, MergeStep(upserts=rows("id favourite", (1, 0))), exact=False)])
    run.commit(Checkpoint(1, "j", 3, 9))
    run.close()
    plain.forget("task")
    assert newest_database.rows(OVERLAYS) == []


def test_what_is_laid_aside_for_a_mapping_that_is_gone_is_given_up(plain: PostgresTarget, newest_database: Database) -> None:
    newest_database.run(*RING[:2])
    run = replaying(plain, [TO_PARENT, TO_CHILD])
    run.write([merged(TO_PARENT, MergeStep(upserts=rows("id favourite", (1, 0))), exact=False)])
    run.commit(Checkpoint(1, "j", 3, 9))
    run.close()
    opened(plain, [TO_CHILD], 2).close()
    assert newest_database.rows(OVERLAYS) == newest_database.rows("SELECT mapping_id FROM headwater.overlay") == []


NUMBERS = "CREATE TABLE t (id numeric PRIMARY KEY, a text)"


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("exact", [True, False])
def test_two_keys_that_are_one_to_the_target_are_refused_p7(newest_database: Database, together: bool, exact: bool) -> None:
    newest_database.run(NUMBERS)
    target, to = target_of(newest_database), mapping("id", "a")
    run = opened(target, [to]) if exact else replaying(target, [to])
    pair = [("1.0", "one"), ("1.00", "other")]

    def write() -> None:
        for part in [pair] if together else [pair[:1], pair[1:]]:
            run.write([merged(to, MergeStep(upserts=rows("id a", *part)), exact=exact)])
            run.commit(Checkpoint(1, "j", 1) if exact else Checkpoint(1, "j", 3, 9))

    with pytest.raises(RowRefused, match="one and the same to"):
        write()
    run.close()
    assert newest_database.rows("SELECT count(*) FROM t WHERE a = 'other'") == [(0,)]


def test_a_key_that_is_written_in_another_way_is_the_same_row(newest_database: Database) -> None:
    newest_database.run(NUMBERS, "INSERT INTO t VALUES (1.0, 'one'), (2.0, 'two')")
    target, to = target_of(newest_database), mapping("id", "a")
    run = opened(target, [to])
    run.write([merged(to, MergeStep(deletes=rows("id", ("1.0",)), inserts=rows("id a", ("1.00", "changed"))))])
    run.write([merged(to, MergeStep(partials=(rows("id a", ("2.0", "too")),)))])
    run.commit(Checkpoint(1, "j", 1))
    run.close()
    assert newest_database.rows("SELECT id::text, a FROM t ORDER BY id") == [("1.00", "changed"), ("2.0", "too")]


def test_a_copy_finds_two_keys_that_are_one(newest_database: Database) -> None:
    newest_database.run(NUMBERS, "INSERT INTO t VALUES (1.0, 'old')")
    target, to = target_of(newest_database), mapping("id", "a")
    run = opened(target, [to])
    run.save_table_state(TableState("m", CopyState.COPYING, chunks=(Chunk(0, None, None),)))
    with pytest.raises(RowRefused):
        run.copy_chunk(to, Chunk(0, None, None), [b"1.00\tone\n1.0\tother\n"], fresh=False, remove=True)
    run.close()


@pytest.mark.parametrize("by", ["replica", "plain"])
def test_which_triggers_of_the_target_fire(plain: PostgresTarget, newest_database: Database, by: str) -> None:
    newest_database.run(
        "CREATE TABLE t (id int PRIMARY KEY, fired text[] DEFAULT '{}')",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.fired := NEW.fired || TG_NAME::text; RETURN NEW; END$$",
        *(
            f"CREATE TRIGGER {name} BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION note()"
            for name in ("origin", "replica", "always", "never")
        ),
        "ALTER TABLE t ENABLE REPLICA TRIGGER replica",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER always",
        "ALTER TABLE t DISABLE TRIGGER never",
    )
    target = target_of(newest_database) if by == "replica" else plain
    run = opened(target, [to := mapping("id")])
    run.write([merged(to, MergeStep(inserts=rows("id", (1,))))])
    run.commit(Checkpoint(1, "j", 1))
    run.close()
    fired = {"replica": ["always", "replica"], "plain": ["always", "origin"]}
    assert newest_database.rows("SELECT fired FROM t") == [(fired[by],)]
    (note,) = [one for one in target.check([to]) if not one.stops]
    assert f"fire for every row that is written, and may change or refuse it: {', '.join(fired[by])}." in str(note)


@SIZES
def test_rows_that_a_trigger_of_the_target_keeps_out_are_not_lost_in_silence_p7(
    plain: PostgresTarget, newest_database: Database, rows: int
) -> None:
    newest_database.run(
        "CREATE TABLE t (id int PRIMARY KEY, a text)",
        "CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END'",
        "CREATE TRIGGER keeps_out BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION keep_out()",
        "INSERT INTO t VALUES (1, 'old')",
    )
    run = opened(plain, [to := mapping("id", "a")])
    all_rows = batch(*((i, "x") for i in range(2, rows + 2)), names=["id", "a"])
    for step in (MergeStep(inserts=all_rows), MergeStep(upserts=batch(*((i, "x") for i in range(1, rows + 1)), names=["id", "a"]))):
        with pytest.raises(RowRefused, match="keeps 1 of"):
            run.write([merged(to, step)])
        run.rollback()
    with pytest.raises(RowRefused, match="keeps 1 of"):
        run.copy_chunk(to, Chunk(0, None, None), [b"2\tx\n3\tx\n"], fresh=True, remove=False)
    run.close()
    assert newest_database.rows("SELECT id FROM t") == [(1,)]
