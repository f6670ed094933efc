"""The contract of `ports/target.py`, run over every implementation, the fake included."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pyarrow as pa
import pytest

from headwater.dialects.mysql_session import Server
from headwater.domain.errors import Fenced, TargetError
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.merge import MergedTable, MergeStep, Move
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.ports.source import Chunk
from headwater.ports.target import Checkpoint, CopyState, TableState, Target, TargetRun, Written
from headwater.targets.mysql import MysqlTarget
from headwater.targets.postgres import PostgresTarget, PostgresTargetConfig
from headwater.testing import MemoryTarget
from tests.conftest import DatabaseFactory
from tests.databases import Database, MysqlDatabase

T = TableName("public", "t")
SCHEMA = TableSchema(T, (Column("id", "integer", key=True, nullable=False), Column("v", "text"), Column("doc", "text")))
BAG = TableName("public", "bag")
BAG_SCHEMA = TableSchema(BAG, (Column("v", "text"), Column("doc", "text")))
WHOLE = Chunk(0, None, None)
Row = tuple[int, str | None, str | None]
BagRow = tuple[str | None, str | None]


class Place(ABC):
    """A target under test: the empty tables `public.t (id, v, doc)`, and `public.bag (v, doc)` without a key."""

    target: Target

    def __init__(self) -> None:
        self.runs: list[TargetRun] = []

    def run(self, task_id: str, epoch: int) -> TargetRun:
        """Open a run; it is closed after the test."""
        self.runs.append(self.target.open(task_id, epoch))
        return self.runs[-1]

    @abstractmethod
    def rows(self) -> list[Row]:
        """What is committed, by id."""

    @abstractmethod
    def put(self, *rows: Row) -> None:
        """Put rows in behind the product's back."""

    @abstractmethod
    def bag(self) -> list[BagRow]:
        """What is committed in the table without a key, in order, null first."""


class Memory(Place):
    """The fake."""

    def __init__(self) -> None:
        super().__init__()
        self.target = self.memory = MemoryTarget([SCHEMA, BAG_SCHEMA])

    def rows(self) -> list[Row]:
        """See `Place`."""
        texts = [(row["id"], row["v"], row["doc"]) for row in self.memory.rows(T)]
        return [(int(i or 0), None if v is None else v.decode(), None if d is None else d.decode()) for i, v, d in texts]

    def put(self, *rows: Row) -> None:
        """See `Place`."""
        for row in rows:
            values = [None if value is None else str(value).encode() for value in row]
            self.memory.tables_by_name[T].insert(dict(zip(("id", "v", "doc"), values, strict=True)))

    def bag(self) -> list[BagRow]:
        """See `Place`."""
        texts = [(row["v"], row["doc"]) for row in self.memory.rows(BAG)]
        return [(None if v is None else v.decode(), None if d is None else d.decode()) for v, d in texts]


class Postgres(Place):
    """PostgreSQL."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        cluster = database.cluster
        config = PostgresTargetConfig(cluster.host, cluster.port, database.name, cluster.user, cluster.password)
        self.target = PostgresTarget(config)

    def rows(self) -> list[Row]:
        """See `Place`."""
        return [(int(i), v, d) for i, v, d in self.database.rows("SELECT id, v, doc FROM t ORDER BY id")]

    def put(self, *rows: Row) -> None:
        """See `Place`."""
        with self.database.connect() as connection:
            for row in rows:
                connection.execute("INSERT INTO t VALUES (%s, %s, %s)", row)

    def bag(self) -> list[BagRow]:
        """See `Place`."""
        return [(v, d) for v, d in self.database.rows("SELECT v, doc FROM bag ORDER BY v NULLS FIRST, doc NULLS FIRST")]


class Mysql(Place):
    """MariaDB or MySQL, in a database that is called `public`. The one takes rows by LOAD DATA, the other by statements."""

    def __init__(self, database: MysqlDatabase) -> None:
        super().__init__()
        self.database = database
        cluster = database.cluster
        self.target = MysqlTarget(Server(cluster.host, cluster.port, database.name, cluster.user, cluster.password))

    def settings(self, loads: bool) -> list[str]:
        """Take rows by LOAD DATA with a strict `sql_mode`, or by statements with a lax one; what sets the server back."""
        ((local, mode),) = self.database.rows("SELECT @@GLOBAL.local_infile, @@GLOBAL.sql_mode")
        wanted = (1, "STRICT_ALL_TABLES") if loads else (0, "")
        before, now = ([f"SET GLOBAL local_infile = {one}", f"SET GLOBAL sql_mode = '{two}'"] for one, two in ((local, mode), wanted))
        self.database.run(*now)
        return before

    def rows(self) -> list[Row]:
        """See `Place`."""
        return [(int(i), v, d) for i, v, d in self.database.rows("SELECT id, v, doc FROM t ORDER BY id")]

    def put(self, *rows: Row) -> None:
        """See `Place`."""
        with self.database.connect() as connection, connection.cursor() as cursor:
            for row in rows:
                cursor.execute("INSERT INTO t VALUES (%s, %s, %s)", row)

    def bag(self) -> list[BagRow]:
        """See `Place`."""
        return [(v, d) for v, d in self.database.rows("SELECT v, doc FROM bag ORDER BY v, doc")]


TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text, doc text)"
BAG_TABLE = "CREATE TABLE bag (v text COLLATE {0}, doc text COLLATE {0})"


@pytest.fixture(params=["memory", "postgres", "mariadb", "mysql"])
def place(request: pytest.FixtureRequest, make_database: DatabaseFactory) -> Iterator[Place]:
    """Each implementation."""
    with ExitStack() as stack:
        made: Place
        if request.param == "memory":
            made = Memory()
        elif request.param == "postgres":
            made = Postgres(make_database(request.getfixturevalue("newest_cluster")))
            made.database.run(TABLE, BAG_TABLE.format('"C"'))
        else:
            made = Mysql(MysqlDatabase.create(request.getfixturevalue(request.param), T.schema))
            stack.callback(made.database.drop)
            stack.callback(made.database.run, *made.settings(request.param == "mariadb"))
            made.database.run(TABLE, BAG_TABLE.format("utf8mb4_bin"))
        yield made
        for run in made.runs:
            run.close()


def mapping(mapping_id: str = "m") -> TableMapping:
    pairs = tuple(ColumnPair(c.name, c.name, c.key) for c in SCHEMA.columns)
    return TableMapping(mapping_id, TableName("s", "t"), T, pairs, frozenset({"INSERT", "UPDATE", "DELETE"}))


def batch(names: Sequence[str], *rows: Sequence[object]) -> pa.RecordBatch:
    columns = [[None if row[i] is None else str(row[i]).encode() for row in rows] for i in range(len(names))]
    return pa.record_batch([pa.array(column, pa.binary()) for column in columns], names=list(names))


def inserts(*rows: Row) -> MergeStep:
    return MergeStep(inserts=batch(("id", "v", "doc"), *rows))


def merged(*steps: MergeStep) -> list[MergedTable]:
    return [MergedTable(mapping(), steps, exact=False)]


def text(*rows: Row) -> list[bytes]:
    return ["".join("\t".join("\\N" if v is None else str(v) for v in row) + "\n" for row in rows).encode()]


def test_a_task_that_was_never_here_has_no_place(place: Place) -> None:
    assert place.target.look("task") == (Checkpoint(0), {})


@pytest.mark.parametrize("place", ["postgres", "mariadb", "mysql"], indirect=True)
def test_what_the_server_refuses_outside_of_runs_is_told_as_our_error(place: Place) -> None:
    assert isinstance(place, (Postgres, Mysql))
    place.target.raise_epoch("task", 1)
    place.database.run(f"DROP TABLE headwater{'.' if isinstance(place, Postgres) else '_'}table_state")
    with pytest.raises(TargetError, match="reading the checkpoint") as caught:
        place.target.look("task")
    assert caught.value.kind == "target_refused"


def test_raising_the_epoch_takes_the_task_over_and_keeps_its_place(place: Place) -> None:
    assert place.target.raise_epoch("task", 1) == Checkpoint(1)
    run = place.run("task", 1)
    run.commit(Checkpoint(1, "j", 5, 2, "p5", 55))
    assert place.target.raise_epoch("task", 4) == Checkpoint(4, "j", 5, 2, "p5", 55)
    assert place.target.look("task")[0] == Checkpoint(4, "j", 5, 2, "p5", 55)
    with pytest.raises(Fenced):
        place.target.raise_epoch("task", 3)


def test_raising_to_the_same_epoch_again_changes_nothing_p6(place: Place) -> None:
    place.target.raise_epoch("task", 1)
    run = place.run("task", 1)
    run.commit(Checkpoint(1, "j", 9))
    run.save_table_state(TableState("m", CopyState.COPIED, since=1))
    run.close()
    moved = place.target.raise_epoch("task", 2, Checkpoint(2, offset=3))
    assert moved == place.target.raise_epoch("task", 2, Checkpoint(2, offset=1), True)
    assert (moved.offset, moved.exact_from) == (3, 9)
    assert set(place.target.look("task")[1]) == {"m"}


def test_a_reset_never_moves_on_and_is_exact_only_behind_what_was_written(place: Place) -> None:
    place.target.raise_epoch("task", 1)
    run = place.run("task", 1)
    run.commit(Checkpoint(1, "j", 9, 4, "p", 7))
    run.close()
    assert place.target.raise_epoch("task", 2, Checkpoint(2, offset=20)) == Checkpoint(2, "j", 9, 4, "p", 7)
    assert place.target.raise_epoch("task", 3, Checkpoint(3, offset=6)) == Checkpoint(3, "j", 6, 9)
    assert place.target.raise_epoch("task", 4, Checkpoint(4), True) == Checkpoint(4)


@pytest.mark.parametrize(("recopy", "left"), [(False, {"a", "b"}), (True, set()), (frozenset({"a"}), {"b"})])
def test_copies_are_forgotten_as_told(place: Place, recopy: bool | frozenset[str], left: set[str]) -> None:
    place.target.raise_epoch("task", 1)
    run = place.run("task", 1)
    for name in "ab":
        run.save_table_state(TableState(name, CopyState.COPIED, since=3))
    run.close()
    place.target.raise_epoch("task", 2, None, recopy)
    assert set(place.target.look("task")[1]) == left


def test_rows_and_checkpoint_are_one_commit_p3(place: Place) -> None:
    place.target.raise_epoch("task", 1)
    run = place.run("task", 1)
    assert run.write(merged(inserts((1, "a", None), (2, "b", "d")))) == Written(inserted=2)
    assert place.rows() == []
    assert place.target.look("task")[0] == Checkpoint(1)
    run.commit(Checkpoint(1, "j", 3))
    assert place.rows() == [(1, "a", None), (2, "b", "d")]
    assert run.checkpoint() == place.target.look("task")[0] == Checkpoint(1, "j", 3)
    run.write(merged(MergeStep(truncate=True)))
    run.rollback()
    run.rollback()
    assert len(place.rows()) == 2
    run.write(merged(MergeStep(truncate=True)))
    run.close()
    run.close()
    assert len(place.rows()) == 2


def test_an_old_run_commits_nothing_p4(place: Place) -> None:
    place.target.raise_epoch("task", 1)
    old = place.run("task", 1)
    old.write(merged(inserts((1, "old", None))))
    place.target.raise_epoch("task", 2)
    with pytest.raises(Fenced):
        old.commit(Checkpoint(1, "j", 3))
    assert place.rows() == []
    with pytest.raises(Fenced):
        old.save_table_state(TableState("m", CopyState.COPIED))
    with pytest.raises(Fenced):
        old.copy_chunk(mapping(), WHOLE, text((1, "old", None)), fresh=True, remove=False)
    with pytest.raises(Fenced):
        place.run("task", 1)
    assert place.rows() == []
    assert place.target.look("task") == (Checkpoint(2), {})


def test_tasks_do_not_fence_one_another(place: Place) -> None:
    for task in ("one", "two"):
        place.target.raise_epoch(task, 1)
    run = place.run("one", 1)
    place.target.raise_epoch("two", 9)
    run.commit(Checkpoint(1, "j", 3))
    assert place.target.look("two")[0] == Checkpoint(9)


def test_of_two_runs_and_a_fence_at_the_same_time_one_order_comes_out(place: Place) -> None:
    """Whoever comes first: either the commit is in the checkpoint that the fence returns, or it is refused."""
    for epoch in range(1, 21, 2):
        place.target.raise_epoch("task", epoch)
        run = place.run("task", epoch)
        results: list[Checkpoint | str] = []

        def commit(run: TargetRun = run, epoch: int = epoch, results: list[Checkpoint | str] = results) -> None:
            try:
                run.commit(Checkpoint(epoch, "j", epoch))
                results.append("committed")
            except Fenced:
                results.append("fenced")

        thread = threading.Thread(target=commit)
        thread.start()
        seen = place.target.raise_epoch("task", epoch + 1)
        thread.join(20)
        assert results == ["committed" if seen.offset == epoch else "fenced"]
        assert place.target.look("task")[0].offset == seen.offset


def write(place: Place, *steps: MergeStep) -> Written:
    """Write and commit under a new epoch."""
    epoch = place.target.look("task")[0].epoch + 1
    place.target.raise_epoch("task", epoch)
    run = place.run("task", epoch)
    written = run.write(merged(*steps))
    run.commit(Checkpoint(epoch, "j", epoch))
    run.close()
    return written


def test_upserts_write_whether_the_row_stands_or_not(place: Place) -> None:
    place.put((1, "old", "d"))
    written = write(place, MergeStep(upserts=batch(("id", "v", "doc"), (1, "new", None), (2, "too", "e"))))
    assert place.rows() == [(1, "new", None), (2, "too", "e")]
    assert written.inserted + written.updated == 2  # which of the two an upsert was is not promised


def test_partials_touch_no_other_column_and_insert_nothing(place: Place) -> None:
    place.put((1, "old", "large"))
    write(place, MergeStep(partials=(batch(("id", "v"), (1, "new"), (2, "absent")),)))
    assert place.rows() == [(1, "new", "large")]


def test_deletes_of_what_is_not_there_are_fine(place: Place) -> None:
    place.put((1, "a", None), (2, "b", None))
    assert write(place, MergeStep(deletes=batch(("id",), (2,), (3,)))).deleted == 1
    assert place.rows() == [(1, "a", None)]


def test_steps_follow_one_another(place: Place) -> None:
    place.put((1, "a", None))
    write(place, MergeStep(truncate=True), inserts((1, "b", None), (2, "c", None)), MergeStep(deletes=batch(("id",), (2,))))
    assert place.rows() == [(1, "b", None)]


@pytest.mark.parametrize(
    ("standing", "left"),
    [
        ([(1, "a", "large")], [(2, "n", "large")]),
        ([(2, "later", "large too")], [(2, "n", "large too")]),
        ([(1, "again", "x"), (2, "later", "large")], [(2, "n", "large")]),
        ([], []),
    ],
    ids=["moves", "moved already", "both stand", "neither stands"],
)
def test_a_move_takes_the_row_with_it(place: Place, standing: list[Row], left: list[Row]) -> None:
    place.put(*standing)
    write(place, MergeStep(moves=(Move((b"1",), {"id": b"2", "v": b"n"}),)))
    assert place.rows() == left


@pytest.mark.parametrize(
    ("standing", "left"),
    [
        ([(1, "old", "t")], [(2, "old", "t")]),
        ([(2, "new", "t")], [(2, "new", "t")]),
        ([(1, "old", "t"), (2, "new", "t")], [(2, "new", "t")]),
    ],
    ids=["moves", "moved already", "both stand"],
)
def test_a_move_of_which_nothing_but_the_keys_is_known(place: Place, standing: list[Row], left: list[Row]) -> None:
    """As a log tells it that holds only what a statement has changed."""
    place.put(*standing)
    write(place, MergeStep(moves=(Move((b"1",), {"id": b"2"}),)))
    assert place.rows() == left


def test_a_chunk_and_its_mark_are_one_commit(place: Place) -> None:
    place.target.raise_epoch("task", 1)
    run = place.run("task", 1)
    chunks = (Chunk(0, None, ("5",)), Chunk(1, ("5",), None))
    run.save_table_state(TableState("m", CopyState.COPYING, since=7, fresh=True, chunks=chunks))
    assert run.copy_chunk(mapping(), chunks[1], text((6, "a", None), (7, "b", "x")), fresh=True, remove=False) == 2
    state = run.table_states()["m"]
    assert (state.chunks, state.chunks_done, state.rows_done, state.since) == (chunks, frozenset({1}), 2, 7)

    def broken() -> Iterator[bytes]:
        yield text((1, "c", None))[0]
        raise TargetError("the source went away")

    with pytest.raises(TargetError):
        run.copy_chunk(mapping(), chunks[0], broken(), fresh=True, remove=False)
    assert run.table_states()["m"].chunks_done == {1}
    assert [row[0] for row in place.rows()] == [6, 7]


def test_a_repeated_copy_writes_what_differs_and_removes_orphans_of_its_range(place: Place) -> None:
    place.put((1, "same", None), (2, "differs", None), (3, "orphan", None), (8, "next chunk", None))
    place.target.raise_epoch("task", 1)
    run = place.run("task", 1)
    chunk = Chunk(0, None, ("5",))
    run.save_table_state(TableState("m", CopyState.COPYING, chunks=(chunk, Chunk(1, ("5",), None))))
    run.copy_chunk(mapping(), chunk, text((1, "same", None), (2, "new", "d"), (4, "more", None)), fresh=False, remove=True)
    assert place.rows() == [(1, "same", None), (2, "new", "d"), (4, "more", None), (8, "next chunk", None)]
    run.copy_chunk(mapping(), Chunk(1, ("5",), None), [], fresh=False, remove=False)
    assert place.rows()[-1] == (8, "next chunk", None)


def test_being_empty_is_seen(place: Place) -> None:
    place.target.raise_epoch("task", 1)
    run = place.run("task", 1)
    assert run.is_empty(T)
    place.put((1, "a", None))
    assert not run.is_empty(T)


def test_forgetting_leaves_the_rows(place: Place) -> None:
    place.put((1, "a", None))
    place.target.forget("task")
    place.target.raise_epoch("task", 5)
    run = place.run("task", 5)
    run.save_table_state(TableState("m", CopyState.COPIED))
    place.target.forget("task")
    place.target.forget("task")
    assert place.target.look("task") == (Checkpoint(0), {})
    assert place.rows() == [(1, "a", None)]
    with pytest.raises(Fenced):
        run.commit(Checkpoint(5, "j", 1))


def test_tables_are_told(place: Place) -> None:
    place.target.test()
    assert T in place.target.tables()
    described = place.target.describe([T, TableName("public", "missing")])
    assert set(described) == {T}
    assert [(c.name, c.key) for c in described[T].columns] == [("id", True), ("v", False), ("doc", False)]
    assert [found for found in place.target.check([mapping()]) if found.stops] == []


EVERYTHING = frozenset({"INSERT", "UPDATE", "DELETE"})


def bag_mapping(operations: frozenset[str] = EVERYTHING) -> TableMapping:
    return TableMapping("bag", TableName("s", "bag"), BAG, (ColumnPair("v", "v"), ColumnPair("doc", "doc")), operations)


def bag_rows(*rows: BagRow) -> pa.RecordBatch:
    return batch(("v", "doc"), *rows)


def bag_step(step: MergeStep, operations: frozenset[str] = EVERYTHING) -> list[MergedTable]:
    return [MergedTable(bag_mapping(operations), (step,))]


def bag_run(place: Place, *rows: BagRow) -> TargetRun:
    """A run after a commit of these rows."""
    place.target.raise_epoch("task", 1)
    run = place.run("task", 1)
    if rows:
        run.write(bag_step(MergeStep(inserts=bag_rows(*rows))))
    run.commit(Checkpoint(1, "j", 1))
    return run


def test_without_a_key_as_many_of_equal_rows_go_as_are_named(place: Place) -> None:
    run = bag_run(place, ("x", "1"), ("x", "1"), ("x", "1"), ("x", None), (None, None), (None, None), ("", None))
    gone = bag_rows(("x", "1"), (None, None), ("x", "1"))
    assert run.write(bag_step(MergeStep(deletes=gone, inserts=bag_rows(("y", "1"), ("y", "1"))))) == Written(inserted=2, deleted=3)
    run.commit(Checkpoint(1, "j", 2))
    assert place.bag() == [(None, None), ("", None), ("x", None), ("x", "1"), ("y", "1"), ("y", "1")]


@pytest.mark.parametrize("gone", [[("z", "1")], [("x", "1"), ("x", "1")], [("x", "2"), ("x", "1")], [("x", None)]])
def test_a_whole_row_that_is_to_go_and_is_not_there_is_an_error(place: Place, gone: list[BagRow]) -> None:
    """Nobody but the task removes rows; where operations are left out, some were never there."""
    run = bag_run(place, ("x", "1"), ("y", "1"))
    with pytest.raises(TargetError) as error:
        run.write(bag_step(MergeStep(deletes=bag_rows(*gone))))
    assert error.value.kind == "target_changed"
    run.rollback()
    run.write(bag_step(MergeStep(deletes=bag_rows(*gone)), frozenset({"INSERT", "DELETE"})))
    run.commit(Checkpoint(1, "j", 2))
    assert ("y", "1") in place.bag()


def test_a_truncate_without_a_key(place: Place) -> None:
    run = bag_run(place, ("x", "1"), ("x", "1"))
    run.write(bag_step(MergeStep(truncate=True, inserts=bag_rows(("n", None)))))
    run.commit(Checkpoint(1, "j", 2))
    assert place.bag() == [("n", None)]


def test_a_copy_without_a_key_replaces_what_is_there(place: Place) -> None:
    run = bag_run(place, ("x", "1"), ("x", "1"), ("stranger", None))
    again = [b"x\t1\nx\t1\nx\t1\n\\N\t2\n"]
    for _ in range(2):
        run.save_table_state(TableState("bag", CopyState.COPYING, 0, False, (WHOLE,)))
        assert run.copy_chunk(bag_mapping(), WHOLE, iter(again), False, True) == 4
        assert place.bag() == [(None, "2"), ("x", "1"), ("x", "1"), ("x", "1")]


def test_a_copy_without_a_key_that_may_not_remove_adds_what_is_missing(place: Place) -> None:
    run = bag_run(place, ("x", "1"), ("x", "1"), ("kept", None))
    mapped = bag_mapping(frozenset({"INSERT"}))
    run.save_table_state(TableState("bag", CopyState.COPYING, 0, False, (WHOLE,)))
    assert run.copy_chunk(mapped, WHOLE, iter([b"x\t1\nx\t1\nx\t1\n\\N\t2\n\\N\t2\n"]), False, False) == 5
    assert place.bag() == [(None, "2"), (None, "2"), ("kept", None), ("x", "1"), ("x", "1"), ("x", "1")]
