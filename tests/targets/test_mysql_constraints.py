"""What the constraints of a MariaDB or MySQL table hold back: values that change hands, keys that are one to a collation, copies by keys
that come in another order. And servers that don't take files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pytest

from headwater.dialects.mysql_ddl import COLLATIONS
from headwater.dialects.mysql_session import Server
from headwater.domain.errors import RowRefused, TargetError
from headwater.domain.mapping import ColumnPair, TableMapping, side_by_side
from headwater.domain.merge import MergedTable, MergeStep
from headwater.domain.tables import TableName
from headwater.ports.source import Chunk
from headwater.ports.target import Checkpoint, CopyState, TableState
from headwater.targets.mysql import MysqlTarget
from headwater.targets.mysql.run import MysqlTargetRun
from headwater.targets.mysql.values import FLOAT_MAX
from tests.databases import MysqlDatabase, wait_until

EVERYTHING = frozenset({"INSERT", "UPDATE", "DELETE"})
REPLAYED = Checkpoint(1, "j", 5, exact_from=100)
"""A place at which the target may be ahead."""
SETTLED = Checkpoint(1, "j", 100, exact_from=100)
UNIQUE = "CREATE TABLE t (id int PRIMARY KEY, u varchar(20) UNIQUE, mine int DEFAULT 7)"
FOLDED = "CREATE TABLE t (id varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, u int, mine int DEFAULT 7)"


class Place:
    """A target with a run, and a table `t` of which (id, u) is mapped."""

    def __init__(self, database: MysqlDatabase) -> None:
        self.database = database
        cluster = database.cluster
        self.target = MysqlTarget(Server(cluster.host, cluster.port, database.name, cluster.user, cluster.password))
        self.target.raise_epoch("task", 1)
        self.runs: list[MysqlTargetRun] = []
        self.mapping = mapped(database, "id", "u")

    @property
    def run(self) -> MysqlTargetRun:
        """The run, opened when first asked for."""
        if not self.runs:
            self.runs.append(self.target.open("task", 1, [self.mapping]))
        return self.runs[-1]

    def at(self, place: Checkpoint) -> None:
        """Let the run stand there."""
        self.run.commit(place)

    def write(self, *steps: MergeStep, exact: bool = True) -> None:
        self.run.write([MergedTable(self.mapping, steps, exact=exact)])

    def refused(self, step: MergeStep) -> str:
        """Why a step is refused; nothing of it stays."""

        def attempt() -> None:
            with self.run.tentatively():
                self.write(step)
                self.run.check()

        with pytest.raises(RowRefused) as error:
            attempt()
        return str(error.value)

    def rows(self) -> list[tuple[object, ...]]:
        """What is committed, by id, byte for byte."""
        return self.database.rows("SELECT * FROM t ORDER BY CAST(id AS BINARY)")

    def parked(self) -> int:
        """How many rows are parked."""
        tables = self.database.rows("SHOW TABLES LIKE 'headwater\\_parked%'")
        return sum(int(self.database.rows(f"SELECT count(*) FROM {name}")[0][0]) for (name,) in tables)


@pytest.fixture
def place(mysql_database: MysqlDatabase) -> Iterator[Place]:
    """A target on each flavour, which takes files of rows; make `t` before the run is used."""
    mysql_database.run("SET GLOBAL local_infile = 1")
    made = Place(mysql_database)
    yield made
    for run in made.runs:
        run.close()


def mapped(database: MysqlDatabase, *columns: str) -> TableMapping:
    table = TableName(database.name, "t")
    return TableMapping("m", TableName("s", "t"), table, tuple(ColumnPair(c, c, c == "id") for c in columns), EVERYTHING)


def batch(*rows: Sequence[object], names: Sequence[str] = ("id", "u")) -> pa.RecordBatch:
    columns = [[None if row[i] is None else str(row[i]).encode() for row in rows] for i in range(len(names))]
    return pa.record_batch([pa.array(column, pa.binary()) for column in columns], names=list(names))


def text(*rows: Sequence[object]) -> list[bytes]:
    return ["".join("\t".join(map(str, row)) + "\n" for row in rows).encode()]


@pytest.mark.parametrize("rows", [3, 300])
def test_values_of_a_further_unique_key_change_hands(place: Place, rows: int) -> None:
    place.database.run(UNIQUE, f"INSERT INTO t SELECT i, CONCAT('u', i), 1000 + i FROM {place.database.series(0, rows - 1)}")
    turned = [(i, f"u{(i + 1) % rows}") for i in range(rows)]
    place.write(MergeStep(upserts=batch(*turned, (rows, "new"))))
    place.at(Checkpoint(1))
    place.write(MergeStep(deletes=batch((0,), names=["id"]), inserts=batch((rows + 1, "u1"))))
    place.at(Checkpoint(1))
    expected = [(i, u, 1000 + i) for i, u in turned[1:]] + [(rows, "new", 7), (rows + 1, "u1", 7)]
    assert sorted(place.rows()) == sorted(expected)


def test_a_value_passes_on_in_two_writes_of_one_transaction(place: Place) -> None:
    place.database.run(UNIQUE, "INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20)")
    place.write(MergeStep(upserts=batch((1, "b"))))
    place.write(MergeStep(upserts=batch((2, "c"))))
    place.at(Checkpoint(1))
    assert place.rows() == [(1, "b", 10), (2, "c", 20)]


def test_a_value_that_a_stranger_has_is_refused_and_nothing_is_overwritten(place: Place) -> None:
    place.database.run(UNIQUE, "INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20)")
    place.write(MergeStep(upserts=batch((1, "b"))))
    with pytest.raises(RowRefused) as error:
        place.at(Checkpoint(1))
    assert "'b'" not in str(error.value)
    place.refused(MergeStep(upserts=batch((1, "b"))))
    place.run.rollback()
    assert place.rows() == [(1, "a", 10), (2, "b", 20)]


def test_a_replay_passes_through_values_that_are_ahead_p5(place: Place) -> None:
    """At the source: 1 had `a` and gave it to 2, which gave `b` to 3. The target is there already, and goes through it again."""
    place.database.run(UNIQUE, "INSERT INTO t VALUES (1, 'x', 10), (2, 'a', 20), (3, 'b', 30)")
    place.at(REPLAYED)
    place.write(MergeStep(upserts=batch((1, "a"), (2, "b"))), exact=False)
    place.at(REPLAYED)
    assert place.parked() == 1
    assert place.run.stands(place.mapping, [b"3"])
    place.write(MergeStep(upserts=batch((1, "x"), (2, "a")), partials=(batch((3, "b")),)), exact=False)
    place.at(SETTLED)
    assert place.rows() == [(1, "x", 10), (2, "a", 20), (3, "b", 30)]
    assert place.parked() == 0


def test_parked_rows_go_with_their_keys(place: Place) -> None:
    place.database.run(UNIQUE, "INSERT INTO t VALUES (2, 'a', 20)")
    place.at(REPLAYED)
    place.write(MergeStep(upserts=batch((1, "a"))), exact=False)
    place.at(REPLAYED)
    place.write(MergeStep(deletes=batch((2,), names=["id"])), exact=False)
    place.at(SETTLED)
    assert place.rows() == [(1, "a", 7)]
    place.target.forget("task")
    assert place.database.rows("SHOW TABLES LIKE 'headwater\\_parked%'") == []


@pytest.mark.parametrize("kind", ["inserts", "upserts"])
def test_two_keys_that_are_one_to_the_collation_are_refused_never_overwritten(place: Place, kind: str) -> None:
    place.database.run(FOLDED, "INSERT INTO t VALUES ('k', 1, 10)")
    for rows in (batch(("K", 2)), batch(("K", 2), ("other", 3)), batch(("n", 4), ("N", 5))):
        reason = place.refused(MergeStep(**{kind: rows}))
        assert "one and the same" in reason
        assert "'K'" not in reason
    place.run.rollback()
    assert place.rows() == [("k", 1, 10)]


def test_a_key_is_found_byte_for_byte(place: Place) -> None:
    place.database.run(FOLDED, "INSERT INTO t VALUES ('k', 1, 10)")
    place.write(MergeStep(deletes=batch(("K",), names=["id"])))
    place.write(MergeStep(partials=(batch(("K", 9)),)))
    assert not place.run.stands(place.mapping, [b"K"])
    place.at(Checkpoint(1))
    assert place.rows() == [("k", 1, 10)]
    place.write(MergeStep(deletes=batch(("k",), names=["id"]), inserts=batch(("K", 2))))
    place.at(Checkpoint(1))
    assert place.rows() == [("K", 2, 7)]


def test_blanks_at_the_end_of_keys_do_not_make_two_rows_one(place: Place) -> None:
    place.database.run(FOLDED)
    with pytest.raises(RowRefused):
        place.write(MergeStep(inserts=batch(("k", 1), ("k ", 2))))


def test_a_copy_by_keys_in_another_order_removes_what_the_source_has_not(place: Place) -> None:
    """The source's order is that of bytes: `B` comes before `a`."""
    place.database.run(FOLDED, "INSERT INTO t VALUES ('a', 0, 1), ('B', 0, 2), ('gone', 0, 3), ('Z', 0, 4)")
    chunks = (Chunk(0, None, ("Z",)), Chunk(1, ("Z",), None))
    place.run.save_table_state(TableState("m", CopyState.COPYING, chunks=chunks))
    place.run.copy_chunk(place.mapping, chunks[1], text(("a", 1), ("b2", 2)), False, True)
    place.run.copy_chunk(place.mapping, chunks[0], text(("B", 3), ("Z", 4)), False, True)
    assert len(place.rows()) == 5
    place.run.save_table_state(TableState("m", CopyState.COPIED, chunks=chunks, chunks_done=frozenset({0, 1})))
    assert sorted(map(str, place.rows())) == sorted(map(str, [("B", 3, 2), ("Z", 4, 4), ("a", 1, 1), ("b2", 2, 7)]))
    assert place.database.rows("SHOW TABLES LIKE 'headwater\\_seen%'") == []


def test_a_copy_over_rows_that_hold_each_others_unique_values(place: Place) -> None:
    place.database.run(UNIQUE, "INSERT INTO t VALUES (1, 'b', 10), (9, 'a', 90), (10, 'z', 100)")
    place.at(REPLAYED)
    chunks = (Chunk(0, None, ("5",)), Chunk(1, ("5",), None))
    place.run.save_table_state(TableState("m", CopyState.COPYING, chunks=chunks))
    place.run.copy_chunk(place.mapping, chunks[0], text((1, "a"), (2, "z")), False, True)
    place.run.copy_chunk(place.mapping, chunks[1], text((9, "b")), False, True)
    place.at(SETTLED)
    assert place.rows() == [(1, "a", 10), (2, "z", 7), (9, "b", 90)]
    assert place.parked() == 0


def test_the_first_copy_refuses_a_second_row_with_a_unique_value(place: Place) -> None:
    place.database.run(UNIQUE)
    place.run.save_table_state(TableState("m", CopyState.COPYING, fresh=True, chunks=(Chunk(0, None, None),)))
    with pytest.raises(RowRefused):
        place.run.copy_chunk(place.mapping, Chunk(0, None, None), text((1, "a"), (2, "a")), True, False)
    assert place.rows() == []


def test_without_local_infile_rows_go_by_statements(mysql_database: MysqlDatabase) -> None:
    mysql_database.run("SET GLOBAL local_infile = 0")
    try:
        place = Place(mysql_database)
        place.database.run(UNIQUE)
        (note,) = place.target.check([place.mapping])
        assert ("local_infile" in str(note), note.stops) == (True, False)
        rows = [(i, "it's \\ " + "x" * 5 + str(i)) for i in range(1000)]
        place.run.save_table_state(TableState("m", CopyState.COPYING, fresh=True, chunks=(Chunk(0, None, None),)))
        escaped = [(i, u.replace("\\", "\\\\")) for i, u in rows]
        assert place.run.copy_chunk(place.mapping, Chunk(0, None, None), text(*escaped), True, False) == 1000
        place.write(MergeStep(upserts=batch(*((i, f"new {i}") for i in range(500)))))
        place.at(Checkpoint(1))
        found = {i: u for i, u, _ in place.rows()}
        assert found == {**dict(rows), **{i: f"new {i}" for i in range(500)}}
        place.run.close()
    finally:
        mysql_database.run("SET GLOBAL local_infile = 1")


PACKET_BYTES = 16 << 20
LARGE = 20_000_000


@pytest.fixture
def small_packets(mysql_database: MysqlDatabase) -> Iterator[None]:
    """A server that takes 16 MiB in a packet, as MariaDB does by default."""
    ((packet, local),) = mysql_database.rows("SELECT @@GLOBAL.max_allowed_packet, @@GLOBAL.local_infile")
    mysql_database.run(f"SET GLOBAL max_allowed_packet = {PACKET_BYTES}", "SET GLOBAL local_infile = 1")
    yield
    mysql_database.run(f"SET GLOBAL max_allowed_packet = {packet}", f"SET GLOBAL local_infile = {local}")


@pytest.mark.usefixtures("small_packets")
def test_values_larger_than_a_packet_of_the_server(place: Place) -> None:
    """They arrive by LOAD DATA. Where that is off they are refused by name; the connection is not lost, which would be tried for ever."""
    place.database.run("CREATE TABLE t (id int PRIMARY KEY, u longblob)")
    digits = b"ab" * LARGE
    place.run.save_table_state(TableState("m", CopyState.COPYING, fresh=True, chunks=(Chunk(0, None, None),)))
    place.run.copy_chunk(place.mapping, Chunk(0, None, None), [b"1\t\\\\x", digits, b"\n"], True, False)
    place.write(MergeStep(upserts=batch((2, (b"\\x" + digits).decode()))))
    place.at(Checkpoint(1))
    assert place.database.rows("SELECT id, LENGTH(u), HEX(RIGHT(u, 2)) FROM t ORDER BY id") == [(1, LARGE, "ABAB"), (2, LARGE, "ABAB")]
    place.run.close()
    place.runs.clear()
    place.database.run("SET GLOBAL local_infile = 0")
    assert "larger than its max_allowed_packet" in place.refused(MergeStep(upserts=batch((2, (b"\\x" + digits).decode()))))
    place.write(MergeStep(upserts=batch((3, "\\x61"))))
    place.at(Checkpoint(1))
    assert place.database.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,)]


def test_a_table_without_transactions_takes_rows_twice_but_not_without_a_key(place: Place) -> None:
    place.database.run("CREATE TABLE t (id int PRIMARY KEY, u int) ENGINE = MyISAM")
    for _ in range(2):
        place.write(MergeStep(inserts=batch((1, 1), (2, 2))))
    place.at(Checkpoint(1))
    assert place.rows() == [(1, 1), (2, 2)]
    (note,) = place.target.check([place.mapping])
    assert ("no transactions" in str(note), note.stops) == (True, False)
    keyless = TableMapping("k", TableName("s", "t"), place.mapping.target, (ColumnPair("id", "id"), ColumnPair("u", "u")), EVERYTHING)
    (found,) = place.target.check([keyless])
    assert ("a crash could leave rows twice" in str(found), found.stops) == (True, True)


def test_a_copy_into_a_table_without_transactions_begins_again_after_a_crash(place: Place) -> None:
    place.database.run("CREATE TABLE t (id int PRIMARY KEY, u int) ENGINE = MyISAM")
    whole = Chunk(0, None, None)
    place.run.save_table_state(TableState("m", CopyState.COPYING, fresh=True, chunks=(whole,)))

    def breaking() -> Iterator[bytes]:
        yield b"".join(text((1, 1), (2, 2)))
        raise OSError("the source is gone")

    place.database.run("INSERT INTO t VALUES (1, 1)")  # what an attempt left that was killed
    with pytest.raises(OSError, match="gone"):
        place.run.copy_chunk(place.mapping, whole, breaking(), True, False)
    assert place.run.copy_chunk(place.mapping, whole, text((1, 1), (2, 2), (3, 3)), True, False) == 3
    assert place.rows() == [(1, 1), (2, 2), (3, 3)]


def test_no_row_leaves_a_table_without_transactions_for_another_one(place: Place) -> None:
    place.database.run(FOLDED + " ENGINE = MyISAM", "INSERT INTO t VALUES ('k', 1, 7)")
    place.at(REPLAYED)
    with pytest.raises(RowRefused, match="one and the same"):
        place.write(MergeStep(upserts=batch(("K", 2))), exact=False)
    assert place.rows() == [("k", 1, 7)]


@pytest.mark.parametrize(
    ("ddl", "said"),
    [
        (UNIQUE + " ENGINE = MyISAM", "could lose rows"),
        ("CREATE TABLE t (id int PRIMARY KEY, u int) ENGINE = MEMORY", "does not keep rows"),
    ],
)
def test_engines_that_would_lose_rows_are_refused(place: Place, ddl: str, said: str) -> None:
    place.database.run(ddl)
    (found,) = place.target.check([place.mapping])
    assert (said in str(found), found.stops) == (True, True)


@pytest.mark.parametrize("rows", [1, 300], ids=["statement", "load"])
def test_the_largest_real_of_postgresql_is_the_largest_float(place: Place, rows: int) -> None:
    place.database.run("CREATE TABLE t (id int PRIMARY KEY, u float)")
    place.write(MergeStep(inserts=batch(*((i, "3.4028235e+38") for i in range(rows)), (-1, "-3.4028235e+38"), (-2, None), (-3, "0.1"))))
    place.at(Checkpoint(1))
    largest = f"SELECT id < 0, count(*) FROM t WHERE ABS(u + 0e0) = {FLOAT_MAX} GROUP BY 1 ORDER BY 1"
    assert place.database.rows(largest) == [(0, rows), (1, 1)]
    assert place.database.rows("SELECT id FROM t WHERE u IS NULL OR u + 0e0 = 0.10000000149011612e0 ORDER BY id") == [(-3,), (-2,)]
    assert "out of range" in place.refused(MergeStep(inserts=batch((-4, "3.4028236e+38"))))


def test_what_several_mappings_may_fill(place: Place) -> None:
    place.database.run(
        "CREATE TABLE t (id varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, u varchar(20) NOT NULL UNIQUE) ENGINE = MyISAM"
    )
    two = side_by_side([place.mapping, replace(place.mapping, mapping_id="n")])
    said = " ".join(map(str, place.target.check(two)))
    for part in ("no transactions: a crash could mix", "further unique key (u)", "collation of its key", ".t.u must not be NULL"):
        assert part in said
    telling_apart = COLLATIONS["MariaDB" in place.database.rows("SELECT VERSION()")[0][0]]
    place.database.run("DROP TABLE t", f"CREATE TABLE t (id varchar(20) COLLATE {telling_apart} PRIMARY KEY, u varchar(20))")
    assert place.target.check(two) == []
    assert place.database.rows("SHOW TABLES LIKE 'headwater\\_book'") != []


def test_triggers_fire_and_their_refusals_are_told_without_values(place: Place) -> None:
    place.database.run(
        UNIQUE,
        "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW BEGIN IF NEW.u = 'secret' THEN "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'secret'; END IF; SET NEW.mine = 8; END",
    )
    (note,) = place.target.check([place.mapping])
    assert ("fire for every row that is written, and may change or refuse it: no." in str(note), note.stops) == (True, False)
    place.write(MergeStep(inserts=batch((1, "fine"))))
    place.at(Checkpoint(1))
    assert place.rows() == [(1, "fine", 8)]
    with pytest.raises(TargetError) as error:
        place.write(MergeStep(inserts=batch((2, "secret"))))
    assert "secret" not in str(error.value)
    assert error.value.kind == "row_refused"


def test_a_table_that_was_made_anew_stops_its_task_and_one_that_was_altered_does_not(place: Place) -> None:
    place.database.run(UNIQUE)
    place.run.save_table_state(TableState("m", CopyState.COPIED))
    place.write(MergeStep(inserts=batch((1, "a"))))
    place.at(Checkpoint(1, "j", 1))
    noted = place.database.rows("SELECT made FROM headwater_filled")
    wait_until(lambda: place.database.rows("SELECT CAST(NOW() AS CHAR)")[0][0] > noted[0][0], what="the clock's next second")
    place.database.run("ALTER TABLE t ADD COLUMN more int, FORCE")
    place.write(MergeStep(inserts=batch((2, "b"))))
    place.at(Checkpoint(1, "j", 2))
    assert place.database.rows("SELECT made FROM headwater_filled") > noted
    altered = place.database.rows("SELECT made FROM headwater_filled")
    wait_until(lambda: place.database.rows("SELECT CAST(NOW() AS CHAR)")[0][0] > altered[0][0], what="the clock's next second")
    place.database.run("DROP TABLE t", UNIQUE)
    place.write(MergeStep(inserts=batch((3, "c"))))
    with pytest.raises(TargetError) as error:
        place.at(Checkpoint(1, "j", 3))
    assert error.value.kind == "schema_mismatch"
    assert place.rows() == []
    with pytest.raises(TargetError):
        place.target.open("task", 1, [place.mapping])
