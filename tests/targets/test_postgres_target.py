"""The PostgreSQL target on real servers, the oldest and the newest at hand: rows, checkpoint, fence, copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa
import pytest

from headwater.clusters import PrivatePostgres
from headwater.domain.errors import Fenced, TargetError
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.merge import MergedTable, MergeStep, Move
from headwater.domain.tables import TableName
from headwater.ports.source import Chunk
from headwater.ports.target import Checkpoint, CopyState, TableState, Written
from headwater.targets.postgres import PostgresTarget, PostgresTargetConfig
from headwater.targets.postgres.run import PostgresTargetRun
from headwater.targets.postgres.table_writer import SMALL_ROWS
from tests.databases import Database, wait_until

ALL = frozenset({"INSERT", "UPDATE", "DELETE"})
T = TableName("public", "t")
SIZES = pytest.mark.parametrize("rows", [3, SMALL_ROWS + 2], ids=["small", "bulk"])


def target_of(database: Database, user: str | None = None, password: str = "") -> PostgresTarget:
    cluster: PrivatePostgres = database.cluster
    config = PostgresTargetConfig(cluster.host, cluster.port, database.name, user or cluster.user, password if user else cluster.password)
    return PostgresTarget(config)


def mapping(
    *columns: str, key: Sequence[str] = ("id",), table: TableName = T, operations: frozenset[str] = ALL, name: str = "m"
) -> TableMapping:
    return TableMapping(name, TableName("public", "s"), table, tuple(ColumnPair(c, c, c in key) for c in columns), operations)


def batch(*rows: Sequence[object], names: Sequence[str]) -> pa.RecordBatch:
    def text(value: object) -> bytes | None:
        return value if value is None or isinstance(value, bytes) else str(value).encode()

    return pa.record_batch([pa.array([text(row[i]) for row in rows], pa.binary()) for i in range(len(names))], names=list(names))


def merged(to: TableMapping, *steps: MergeStep, exact: bool = True) -> MergedTable:
    return MergedTable(to, steps, exact)


@pytest.fixture
def open_run(database: Database) -> Iterator[Callable[[int], PostgresTargetRun]]:
    """Opens a run of task `task` under an epoch that it raises."""
    runs: list[PostgresTargetRun] = []

    def open_one(epoch: int = 1) -> PostgresTargetRun:
        target = target_of(database)
        target.raise_epoch("task", epoch)
        runs.append(target.open("task", epoch))
        return runs[-1]

    yield open_one
    for run in runs:
        run.close()


OpenRun = Callable[..., PostgresTargetRun]


def test_a_write_is_seen_only_with_its_commit_and_its_checkpoint(database: Database, open_run: OpenRun) -> None:
    database.run("CREATE TABLE t (id bigint PRIMARY KEY, a text)")
    run = open_run()
    to = mapping("id", "a")
    assert run.write([merged(to, MergeStep(inserts=batch((1, "x"), (2, None), names=["id", "a"])))]) == Written(inserted=2)
    assert database.rows("SELECT * FROM t") == []
    run.commit(Checkpoint(1, "j", 7, 3, "0/1", 99))
    assert database.rows("SELECT * FROM t ORDER BY id") == [(1, "x"), (2, None)]
    assert run.checkpoint() == Checkpoint(1, "j", 7, 3, "0/1", 99)
    run.write([merged(to, MergeStep(deletes=batch((1,), names=["id"])))])
    run.rollback()
    assert database.rows("SELECT count(*) FROM t") == [(2,)]


@SIZES
def test_every_kind_of_step(database: Database, open_run: OpenRun, rows: int) -> None:
    database.run("CREATE TABLE t (id bigint PRIMARY KEY, a text, b numeric(12,2), extra text DEFAULT 'mine')")
    run = open_run()
    to = mapping("id", "a", "b")
    names = ["id", "a", "b"]
    ids = range(rows)
    assert run.write([merged(to, MergeStep(inserts=batch(*((i, f"a\t{i}\\\n", "1.50") for i in ids), names=names)))]) == Written(rows)
    step = MergeStep(
        deletes=batch(*((i,) for i in ids if i % 2), names=["id"]),
        upserts=batch(*((i, None, "2") for i in ids if not i % 2), names=names),
        inserts=batch((-1, "new", None), names=names),
    )
    written = run.write([merged(to, step)])
    assert written == Written(1, (rows + 1) // 2, rows // 2)
    run.write([merged(to, MergeStep(partials=(batch(*((i, f"p{i}") for i in ids), names=["id", "a"]),)))])
    run.commit(Checkpoint(1))
    assert database.rows("SELECT id, a, b::text, extra FROM t ORDER BY id") == [
        (-1, "new", None, "mine"),
        *((i, f"p{i}", "2.00", "mine") for i in ids if not i % 2),
    ]


@SIZES
def test_converging_upserts_write_what_is_missing_and_what_differs(database: Database, open_run: OpenRun, rows: int) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a json)", f"INSERT INTO t SELECT i, '1' FROM generate_series(0, {rows // 2}) i")
    run = open_run()
    upserts = batch(*((i, "1" if i % 2 else "2") for i in range(rows)), names=["id", "a"])
    run.write([merged(mapping("id", "a"), MergeStep(upserts=upserts), exact=False)])
    run.commit(Checkpoint(1))
    assert database.rows("SELECT id, a::text FROM t ORDER BY id") == [(i, "1" if i % 2 else "2") for i in range(rows)]
    if rows > SMALL_ROWS:
        untouched = database.rows("SELECT count(*) FROM t WHERE xmin::text::bigint <> (SELECT max(xmin::text::bigint) FROM t)")
        assert untouched[0][0] > 0


@SIZES
def test_composite_and_text_keys(database: Database, open_run: OpenRun, rows: int) -> None:
    database.run("CREATE TABLE t (k text, n int, v int, PRIMARY KEY (k, n))")
    run = open_run()
    to = mapping("v", "n", "k", key=("k", "n"))
    names = ["v", "n", "k"]
    run.write([merged(to, MergeStep(inserts=batch(*((0, i, '"\\,{') for i in range(rows)), names=names)))])
    run.write([merged(to, MergeStep(upserts=batch(*((1, i, '"\\,{') for i in range(rows)), names=names)))])
    run.write([merged(to, MergeStep(deletes=batch(*((i, '"\\,{') for i in range(1, rows)), names=["n", "k"])))])
    run.commit(Checkpoint(1))
    assert database.rows("SELECT * FROM t") == [('"\\,{', 0, 1)]


@SIZES
def test_text_keys_of_one_column_survive_quoting(database: Database, open_run: OpenRun, rows: int) -> None:
    database.run("CREATE TABLE t (k text PRIMARY KEY)")
    run = open_run()
    keys = ['"', "\\", "{a,b}", "NULL", "", "ä\t\n", *(f"k{i}" for i in range(rows))]
    rows_of_keys = batch(*((k,) for k in keys), names=["k"])
    run.write([merged(mapping("k", key=("k",)), MergeStep(upserts=rows_of_keys))])
    run.write([merged(mapping("k", key=("k",)), MergeStep(upserts=rows_of_keys))])
    assert run.write([merged(mapping("k", key=("k",)), MergeStep(deletes=rows_of_keys))]).deleted == len(keys)


def test_moves_keep_what_was_not_sent_and_give_way_to_a_later_row(database: Database, open_run: OpenRun) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, a text, big text)", "INSERT INTO t VALUES (1, 'a', 'B1'), (3, 'c', 'B3'), (4, 'd', 'B4')"
    )
    run = open_run()
    moves = (
        Move((b"1",), {"id": b"2", "a": b"moved"}),
        Move((b"8",), {"id": b"9", "a": b"nobody"}),
        Move((b"3",), {"id": b"4", "a": b"later"}),
    )
    run.write([merged(mapping("id", "a", "big"), MergeStep(moves=moves))])
    run.commit(Checkpoint(1))
    assert database.rows("SELECT * FROM t ORDER BY id") == [(2, "moved", "B1"), (4, "later", "B4")]


def test_a_raised_epoch_fences_the_old_run_and_keeps_its_rows_out(database: Database, open_run: OpenRun) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    old = open_run(1)
    old.commit(Checkpoint(1, "j", 5))
    old.write([merged(mapping("id"), MergeStep(inserts=batch((1,), names=["id"])))])
    new = open_run(2)
    assert new.checkpoint() == Checkpoint(2, "j", 5)
    with pytest.raises(Fenced):
        old.commit(Checkpoint(1, "j", 6))
    assert database.rows("SELECT * FROM t") == []
    with pytest.raises(Fenced):
        old.copy_chunk(mapping("id"), Chunk(0, None, None), [b"1\n"], fresh=True, remove=False)
    with pytest.raises(Fenced):
        old.save_table_state(TableState("m"))
    with pytest.raises(Fenced):
        target_of(database).raise_epoch("task", 1)
    assert database.rows("SELECT * FROM t") == []
    new.commit(Checkpoint(2, "j", 8))
    assert target_of(database).raise_epoch("task", 2, Checkpoint(2, "j", 0), recopy=True) == Checkpoint(2, "j", 8)


def test_a_chunk_is_copied_once_whatever_is_asked(database: Database, open_run: OpenRun) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    run = open_run()
    to, chunk = mapping("id", "a"), Chunk(0, None, ("5",))
    assert run.is_empty(T)
    run.save_table_state(TableState("m", CopyState.COPYING, 3, True, (chunk, Chunk(1, ("5",), None))))
    assert run.copy_chunk(to, chunk, [b"1\ta\n2\t\\N\n", b"3\tb\n"], fresh=True, remove=False) == 3
    assert run.copy_chunk(to, chunk, [b"1\ta\n2\t\\N\n", b"3\tb\n"], fresh=True, remove=False) == 3
    assert not run.is_empty(T)
    state = run.table_states()["m"]
    assert (state.chunks_done, state.rows_done, state.fresh, state.since) == (frozenset({0}), 3, True, 3)
    assert state.chunks == (chunk, Chunk(1, ("5",), None))
    run.save_table_state(state)
    assert run.table_states()["m"] == state


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "followed"])
def test_a_row_that_another_session_puts_there_meanwhile_gets_our_columns_too(database: Database, open_run: OpenRun, copied: bool) -> None:
    """As the copy of another mapping into the same table does: its row is not to be seen yet when ours comes to it."""
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text, b text)")
    run, to, ids = open_run(), mapping("id", "a"), range(1, SMALL_ROWS + 3)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor(1) as pool, database.connect(autocommit=False) as other:
        other.execute("INSERT INTO t (id, b) VALUES (7, 'theirs')")
        ours: Future[object]
        if copied:
            rows = [b"%d\tours\n" % i for i in ids]
            ours = pool.submit(lambda: run.copy_chunk(to, Chunk(0, None, None), rows, fresh=False, remove=False))
        else:
            step = MergeStep(upserts=batch(*((i, "ours") for i in ids), names=["id", "a"]))
            ours = pool.submit(lambda: run.write([merged(to, step, exact=False)]))
        wait_until(lambda: database.rows(waiting), what="our session waiting for the other one")
        other.commit()
        ours.result(timeout=30)
    run.commit(Checkpoint(1, "j", 1))
    assert database.rows("SELECT * FROM t WHERE id = 7") == [(7, "ours", "theirs")]
    assert database.rows("SELECT count(*) FROM t WHERE a = 'ours'") == [(len(ids),)]


def test_copying_again_writes_differences_and_removes_what_is_gone_in_its_range_only(database: Database, open_run: OpenRun) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, a json, extra int DEFAULT 7)",
        "INSERT INTO t SELECT i, '1' FROM generate_series(1, 20) i WHERE i <> 9",
        "UPDATE t SET extra = 8",
    )
    run = open_run()
    before = dict(database.rows("SELECT id, xmin::text FROM t"))
    blocks = [b"".join(b"%d\t%s\n" % (i, b"2" if i == 6 else b"1") for i in (6, 8, 9, 10))]
    assert run.copy_chunk(mapping("id", "a"), Chunk(1, ("5",), ("10",)), blocks, fresh=False, remove=True) == 4
    rows = database.rows("SELECT id, a::text, extra FROM t ORDER BY id")
    assert [r[0] for r in rows] == [*range(1, 7), *range(8, 21)]
    assert (6, "2", 8) in rows
    assert (9, "1", 7) in rows
    after = dict(database.rows("SELECT id, xmin::text FROM t"))
    assert {i for i in after if before.get(i) != after[i]} == {6, 9}
    assert run.copy_chunk(mapping("id", "a", name="n"), Chunk(0, None, None), [], fresh=False, remove=True) == 0
    assert run.is_empty(T)


def test_looking_and_forgetting(database: Database, open_run: OpenRun) -> None:
    target = target_of(database)
    assert target.look("task") == (Checkpoint(0), {})
    target.forget("task")
    run = open_run(3)
    run.save_table_state(TableState("m"))
    assert target.look("task") == (Checkpoint(3), {"m": TableState("m")})
    target.forget("task")
    assert target.look("task") == (Checkpoint(0), {})
    with pytest.raises(Fenced):
        target.open("task", 3)


def test_a_refused_row_is_told_without_its_values(database: Database, open_run: OpenRun) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a int CONSTRAINT small CHECK (a < 10))")
    run = open_run()
    for value, words in ((b"secret", "in column a"), (b"4711", "constraint small")):
        for count in (1, SMALL_ROWS + 1):
            rows = batch(*((i, value) for i in range(count)), names=["id", "a"])
            with pytest.raises(TargetError) as caught:
                run.write([merged(mapping("id", "a"), MergeStep(inserts=rows))])
            assert caught.value.kind == "row_refused"
            assert value.decode() not in str(caught.value)
            assert "public.t" in str(caught.value) or "table t" in str(caught.value) or count == 1
            assert words in str(caught.value) or count == 1
            assert caught.value.__cause__ is None
            run.rollback()


def test_a_key_that_the_target_orders_differently_is_copied_again_aside(database: Database, open_run: OpenRun) -> None:
    database.run("CREATE TABLE t (id text PRIMARY KEY)", "INSERT INTO t SELECT i::text FROM generate_series(1, 12) i")
    run = open_run()
    run.commit(Checkpoint(1, "j", 0, 1))
    chunks = (Chunk(0, None, ("9",)), Chunk(1, ("9",), None))
    run.save_table_state(TableState("m", CopyState.COPYING, chunks=chunks))
    first = [b"%d\n" % i for i in range(1, 9)]
    assert run.copy_chunk(mapping("id"), chunks[0], first, fresh=False, remove=True) == 8
    with pytest.raises(TargetError, match="copied again beside") as caught:
        run.copy_chunk(mapping("id"), chunks[1], [b"10\n", b"11\n"], fresh=False, remove=True)
    assert caught.value.kind == "target_unavailable"  # tried again
    run = open_run(2)
    assert run.table_states()["m"].chunks_done == frozenset()
    run.copy_chunk(mapping("id"), chunks[0], first, fresh=False, remove=True)
    run.copy_chunk(mapping("id"), chunks[1], [b"10\n", b"11\n"], fresh=False, remove=True)
    run.write([merged(mapping("id"), MergeStep(upserts=batch(("13",), names=["id"])), exact=False)])
    run.commit(Checkpoint(2, "j", 1, 1))
    assert database.rows("SELECT string_agg(id, ' ' ORDER BY id::int) FROM t") == [("1 2 3 4 5 6 7 8 10 11 13",)]
    assert database.rows("SELECT relname FROM pg_class WHERE relname ~ '^(rows|gone)_'") == []


def test_a_composite_key_range(database: Database, open_run: OpenRun) -> None:
    database.run(
        "CREATE TABLE t (a int, b text, PRIMARY KEY (b, a))", "INSERT INTO t SELECT i / 4, 'k' || i % 4 FROM generate_series(0, 11) i"
    )
    run = open_run()
    chunk = Chunk(1, ("0", "k1"), ("2", "k0"))
    run.copy_chunk(mapping("a", "b", key=("a", "b")), chunk, [b"0\tk2\n1\tk1\n2\tk0\n"], fresh=False, remove=True)
    kept = [(0, "k0"), (0, "k1"), (0, "k2"), (1, "k1"), (2, "k0"), (2, "k1"), (2, "k2"), (2, "k3")]
    assert database.rows("SELECT a, b FROM t ORDER BY a, b") == kept


@SIZES
def test_names_with_every_odd_character(database: Database, open_run: OpenRun, rows: int) -> None:
    odd = TableName('Sch"e.ma %s', "ta%b'le; --")
    names = ['I"D', "%", "a%(b)s", "t", "s", "order"]
    quoted = ", ".join('"' + name.replace('"', '""') + '" text' for name in names)
    database.run('CREATE SCHEMA "Sch""e.ma %s"', f'CREATE TABLE "Sch""e.ma %s"."ta%b\'le; --" ({quoted}, PRIMARY KEY ("I""D", "%"))')
    run = open_run()
    to = mapping(*names, key=names[:2], table=odd)
    all_rows = batch(*((i, "%s", "x", "y", None, "z") for i in range(rows)), names=names)
    run.write([merged(to, MergeStep(inserts=all_rows))])
    run.write([merged(to, MergeStep(upserts=all_rows), exact=False)])
    run.write([merged(to, MergeStep(partials=(all_rows.select([0, 1, 4]),)))])
    new: dict[str, bytes | None] = dict.fromkeys(names, b"%(v0)s")
    run.write([merged(to, MergeStep(moves=(Move((b"0", b"%s"), new),)))])
    assert run.write([merged(to, MergeStep(deletes=all_rows.select([0, 1])))]).deleted == rows - 1
    run.commit(Checkpoint(1))
    run.copy_chunk(to, Chunk(0, ("", ""), ("x", "x")), [b"1\t1\t1\t1\t1\t1\n"], fresh=False, remove=True)
    assert target_of(database).check([to]) == []
    assert database.rows('SELECT count(*), min("s") FROM "Sch""e.ma %s"."ta%b\'le; --"') == [(1, "1")]
