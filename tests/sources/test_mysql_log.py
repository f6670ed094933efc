"""The log of a MariaDB or MySQL source: changes and statements as they come, where it is gone on from, and what ends it (P1, P2, P7)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Any

import pymysql
import pytest

from headwater.clusters import MysqlServer
from headwater.domain.errors import DecodeError, SourceError
from headwater.domain.mapping import ColumnPair, ColumnShape, TableMapping
from headwater.domain.shapes import misfit
from headwater.domain.tables import TableName
from headwater.domain.text_rows import read_text_rows
from headwater.ports.source import Log, Trail
from headwater.sources.mysql import capture, catalogue, lineage, positions, replica
from headwater.sources.mysql.connect import connect
from headwater.sources.mysql.defaults import Defaults
from headwater.sources.mysql.source import MysqlSource
from tests.conftest import DatabaseFactory
from tests.databases import MysqlDatabase
from tests.sources.mysql_places import config_of, source_of
from tests.sources.postgres_logs import Follower

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(50))"


def named(database: MysqlDatabase, *names: str) -> list[TableName]:
    return [TableName(database.name, name) for name in names or ("t",)]


@contextmanager
def followed(database: MysqlDatabase, *names: str, after: str | None = None, **more: Any) -> Iterator[Follower]:
    """A log from now on, or from a place."""
    with closing(source_of(database, **more).open_log(named(database, *names), after, False)) as log:
        yield Follower(log)


def values(follower: Follower, count: int) -> list[tuple[str, Any]]:
    """(operation, values) of so many changes."""
    return [(op, tuple(row.values())) for _, op, row in follower.rows(count)]


def place_of(position: str) -> tuple[int, int]:
    """The place alone, for positions whose GTIDs may be spelled in another order."""
    return positions.parse(position).place


def end_of(database: MysqlDatabase) -> str:
    """Where the server's log ends now, as text."""
    with connect(config_of(database)) as session:
        return str(lineage.end_of_log(session))


def test_changes_come_with_their_places(mysql_database: MysqlDatabase) -> None:
    mysql_database.run(TABLE, "INSERT INTO t VALUES (0, 'before')")
    with followed(mysql_database) as follower:
        mysql_database.run(
            "INSERT INTO t VALUES (1,'x'), (2,NULL)",
            "UPDATE t SET v='y' WHERE id=1",
            "UPDATE t SET id=9 WHERE id=2",
            "DELETE FROM t WHERE id=0",
        )
        assert values(follower, 6) == [
            ("INSERT", (b"1", b"x")), ("INSERT", (b"2", None)),
            ("UPDATE", (b"1", b"y")), ("KEY_OLD", (b"2", None)), ("KEY_NEW", (b"9", None)),
            ("DELETE", (b"0", None)),
        ]  # fmt: skip
        transactions = [row for frame in follower.frames for row in frame.transactions.to_pylist()]
        assert [row["rows"] for row in transactions] == [2, 1, 2, 1]
        assert all(abs(row["seen_us"] - row["commit_us"]) < 60_000_000 for row in transactions)
        assert transactions[-1]["position"] == follower.position == end_of(mysql_database)


def test_it_is_gone_on_from_any_transaction(mysql_database: MysqlDatabase) -> None:
    mysql_database.run(TABLE)
    with followed(mysql_database) as follower:
        start = follower.log.start
        mysql_database.run(*(f"INSERT INTO t VALUES ({i}, 'x')" for i in range(5)), "FLUSH BINARY LOGS", "INSERT INTO t VALUES (5, 'x')")
        everything = values(follower, 6)
        places = [start] + [row["position"] for frame in follower.frames for row in frame.transactions.to_pylist()]
    assert all(source_of(mysql_database).reached(later, earlier) for earlier, later in pairwise(places))
    for i, place in enumerate(places[:-1]):
        with followed(mysql_database, after=place) as follower:
            assert values(follower, 6 - i) == everything[i:]


def test_an_idle_source_is_heard(mysql_database: MysqlDatabase) -> None:
    mysql_database.run(TABLE, "CREATE TABLE other (id INT)")
    with followed(mysql_database) as follower:
        follower.until(lambda: len(follower.heard) >= 2)
        mysql_database.run("INSERT INTO other VALUES (1)")
        end = end_of(mysql_database)
        follower.until(lambda: follower.position == end)
        assert follower.frames == []
        assert abs(follower.heard[-1].source_us - time.time_ns() // 1000) < 60_000_000
        assert follower.heard[-1].behind_bytes == 0


def test_encrypted_it_is_the_same(mysql: MysqlServer, make_database: DatabaseFactory) -> None:
    database = make_database(mysql)
    database.run(TABLE)
    with followed(database, tls=True) as follower:
        database.run(*(f"INSERT INTO t VALUES ({i}, REPEAT('x', 50))" for i in range(300)))
        assert len(follower.rows(300)) == 300


def test_a_value_beyond_one_packet(mysql_database: MysqlDatabase) -> None:
    """20 MB do not fit into one packet of the protocol."""
    mysql_database.run("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)", "SET GLOBAL max_allowed_packet = 100000000")
    with followed(mysql_database) as follower:
        mysql_database.run("INSERT INTO t VALUES (1, REPEAT('ab', 10000000))", "INSERT INTO t VALUES (2, 'small')")
        rows = follower.rows(2)
        assert [(row["id"], len(row["v"])) for _, _, row in rows] == [(b"1", 20_000_000), (b"2", 5)]


def test_following_goes_on_behind_an_event_that_is_larger_than_a_packet(mariadb_database: MysqlDatabase) -> None:
    """MariaDB does not tell the GTIDs of places behind it: that was taken for a log that was begun anew."""
    mariadb_database.run("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT, w LONGTEXT)", "FLUSH BINARY LOGS")
    mariadb_database.run("SET GLOBAL max_allowed_packet = 16777216")
    with followed(mariadb_database) as follower:
        mariadb_database.run("INSERT INTO t VALUES (1, REPEAT('a', 9000000), REPEAT('b', 9000000))", "INSERT INTO t VALUES (2, '', '')")
        assert len(follower.rows(2)) == 2
        after = follower.frames[-1].transactions.column("position").to_pylist()[-1]
    mariadb_database.run("INSERT INTO t VALUES (3, '', '')")
    with followed(mariadb_database, after=after) as follower:
        assert [row["id"] for _, _, row in follower.rows(1)] == [b"3"]
    mariadb_database.run("FLUSH BINARY LOGS")


def test_statements_leave_their_mark(mysql_database: MysqlDatabase) -> None:
    mysql_database.run(TABLE, "CREATE TABLE u (id INT PRIMARY KEY)", "CREATE TABLE other (id INT)")
    statements = [
        "INSERT INTO t VALUES (1,'x')", "TRUNCATE t", "TRUNCATE other", "ALTER TABLE t ADD w ENUM('a','b') FIRST",
            "INSERT INTO t VALUES ('b', 2, 'y')",
        "ALTER TABLE t CHANGE v z VARCHAR(60)", "INSERT INTO t VALUES ('a', 3, 'z')", "DROP TABLE u",
    ]  # fmt: skip
    with followed(mysql_database, "t", "u") as follower:
        mysql_database.run(*statements)
        rows = follower.rows(7)
    name = str(named(mysql_database)[0])
    assert rows == [
        (name, "INSERT", {"id": b"1", "v": b"x"}),
        (name, "TRUNCATE", dict.fromkeys(rows[1][2])),
        (name, "SHAPE", {"id": None, "v": None}),
        (name, "INSERT", {"w": b"b", "id": b"2", "v": b"y"}),
        (name, "SHAPE", {"w": None, "id": None, "v": None}),  # its values may have changed
        (name, "INSERT", {"w": b"a", "id": b"3", "z": b"z"}),
        (str(named(mysql_database, "u")[0]), "SHAPE", {}),
    ]


def test_a_column_that_became_wider_is_followed_on(mysql_database: MysqlDatabase) -> None:
    mysql_database.run("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), n INT)", "INSERT INTO t VALUES (1, NULL, NULL)")
    (schema,) = source_of(mysql_database).describe(named(mysql_database)).values()
    pairs = tuple(ColumnPair(c.name, c.name, c.key, ColumnShape.of(schema, c)) for c in schema.columns)
    mapping = TableMapping("m", schema.table, schema.table, pairs, frozenset())
    with followed(mysql_database) as follower:
        with pytest.raises(pymysql.err.Error), mysql_database.session() as strict:
            strict.execute("ALTER TABLE t MODIFY n INT NOT NULL")
        mysql_database.run(
            "ALTER TABLE t MODIFY v VARCHAR(40) COMMENT 'wider', CHANGE n n BIGINT", "INSERT INTO t VALUES (2, 'x', 3000000000)"
        )
        with mysql_database.session() as lax:
            lax.execute("SET sql_mode = ''")
            lax.execute("ALTER TABLE t MODIFY n BIGINT NOT NULL")
        assert mysql_database.rows("SELECT n FROM t WHERE id = 1") == [(0,)]
        follower.rows(3)
        found = [misfit(mapping, batch.schema, keyed=False) for frame in follower.frames for batch in frame.batches]
    assert found[:2] == [None, None]
    assert "column n" in str(found[2])


def test_rows_from_before_an_alteration_are_read_as_they_were(mysql_database: MysqlDatabase) -> None:
    """Capture that lags meets rows of a table that looks otherwise today; the log itself tells how it was."""
    mysql_database.run(
        "CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, a VARCHAR(9) CHARACTER SET latin1, b ENUM('x','ÿ') CHARACTER SET latin1, c BLOB)"
    )
    start = end_of(mysql_database)
    mysql_database.run(
        "INSERT INTO t VALUES (4000000000, 'é', 'ÿ', X'0041')",
            "ALTER TABLE t DROP a, DROP b, CHANGE c d TEXT, DROP PRIMARY KEY, CHANGE id nr BIGINT",
        "INSERT INTO t VALUES (2, 'text')", "DROP TABLE t",
    )  # fmt: skip
    with followed(mysql_database, after=start) as follower:
        rows = [row for _, op, row in follower.rows(4) if op == "INSERT"]
        schemas = [batch.schema for frame in follower.frames for batch in frame.batches]
    assert rows == [{"id": b"4000000000", "a": "é".encode(), "b": "ÿ".encode(), "c": b"\\x0041"}, {"nr": b"2", "d": b"text"}]
    assert [schema.key for schema in schemas] == [("id",), (), (), ()]


def test_prepared_transactions_count_where_they_are_committed(mysql_database: MysqlDatabase) -> None:
    mysql_database.run(TABLE)

    def half(name: str, id: int) -> list[str]:
        return [f"XA START '{name}'", f"INSERT INTO t VALUES ({id}, '{name}')", f"XA END '{name}'", f"XA PREPARE '{name}'"]

    with followed(mysql_database) as follower:
        with mysql_database.connect() as session, session.cursor() as cursor:
            for statement in half("a", 1):
                cursor.execute(statement)
            mysql_database.run("INSERT INTO t VALUES (2, 'b')")
            cursor.execute("XA COMMIT 'a'")
        mysql_database.run(*half("c", 3), "XA ROLLBACK 'c'", "INSERT INTO t VALUES (4, 'd')")
        assert [row[0] for _, row in values(follower, 3)] == [b"2", b"1", b"4"]


def test_prepared_transactions_survive_a_restart_of_capture(mysql_database: MysqlDatabase) -> None:
    """What is gone on from a place brings their rows at their commit, and nothing twice."""
    database = mysql_database
    database.run(TABLE, "CREATE TABLE other (id INT PRIMARY KEY)")

    def half(name: str, *statements: str) -> list[str]:
        return [f"XA START '{name}'", *statements, f"XA END '{name}'", f"XA PREPARE '{name}'"]

    with followed(database) as follower:
        database.run(*half("early", "INSERT INTO t VALUES (10, 'e')"))
        database.run(*half("a", "INSERT INTO t VALUES (1, 'a')", "UPDATE t SET v = 'A' WHERE id = 1"))
        database.run("XA COMMIT 'early'", "INSERT INTO t VALUES (2, 'b')", "FLUSH BINARY LOGS")
        database.run(*half("foreign", "INSERT INTO other VALUES (1)"))
        database.run(*half("undone", "INSERT INTO t VALUES (3, 'c')"))
        database.run("XA ROLLBACK 'undone'", "INSERT INTO t VALUES (4, 'd')")
        assert [row[0] for _, row in values(follower, 3)] == [b"10", b"2", b"4"]
        places = [row["position"] for frame in follower.frames for row in frame.transactions.to_pylist()]
        follower.until(lambda: follower.position == follower.position and len(follower.heard) > 1)
        places.append(follower.position)
    assert all(positions.parse(place).since for place in places)
    with followed(database, after=places[-1]) as follower:
        follower.until(lambda: bool(follower.heard))
        assert follower.frames == []
        database.run("INSERT INTO t VALUES (5, 'e')", "XA COMMIT 'foreign'", "XA COMMIT 'a'", "INSERT INTO t VALUES (6, 'f')")
        assert [row[0] for _, row in values(follower, 4)] == [b"5", b"1", b"1", b"6"]
        assert positions.parse(follower.position).since is None
        done = follower.position
    for place, rest in zip(places, ([b"2", b"4"], [b"4"], []), strict=False):
        with followed(database, after=place) as follower:
            wanted = [*rest, b"5", b"1", b"1", b"6"]
            assert [row[0] for _, row in values(follower, len(wanted))] == wanted
    with followed(database, after=done) as follower:
        follower.until(lambda: bool(follower.heard))
        assert follower.frames == []


def test_a_large_prepared_transaction(mysql_database: MysqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one frame holds; also where it is committed at once."""
    monkeypatch.setattr(capture, "FRAME_ROWS_MAX", 100)
    mysql_database.run("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50))", "CREATE TABLE s (v CHAR(1))")
    mysql_database.run("INSERT INTO s VALUES ('x'), ('y')", *["INSERT INTO s SELECT * FROM s"] * 8)
    with followed(mysql_database) as follower:
        for end in ("XA PREPARE 'a'", "XA COMMIT 'a' ONE PHASE"):
            statements = ["XA START 'a'", "INSERT INTO t (v) SELECT v FROM s", "XA END 'a'", end]
            mysql_database.run(*statements, *["XA COMMIT 'a'"] * ("PREPARE" in end), "INSERT INTO t (v) VALUES ('z')")
        count = 2 * ((2 << 8) + 1)
        rows = follower.rows(count)
        assert len({row["id"] for _, _, row in rows}) == count
    parts = [(frame.part, frame.last) for frame in follower.frames]
    assert sum(not last for _, last in parts) >= 2
    assert all(part == 0 or before == (part - 1, False) for before, (part, _) in pairwise(parts)), str(parts)


def test_a_large_transaction_comes_in_parts(mysql_database: MysqlDatabase) -> None:
    mysql_database.run("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50))", "INSERT INTO t (v) VALUES ('x'), ('y')")
    with followed(mysql_database) as follower:
        with mysql_database.connect(autocommit=False) as session, session.cursor() as cursor:
            for _ in range(16):
                cursor.execute("INSERT INTO t (v) SELECT v FROM t")
            session.commit()
        mysql_database.run("INSERT INTO t (v) VALUES ('z')")
        count = (2 << 16) - 2 + 1
        assert len(follower.rows(count, 120)) == count
    parts = [(frame.part, frame.last) for frame in follower.frames]
    assert parts[0] == (0, False)
    assert len(parts) >= 3
    assert parts[-2][1]
    assert parts[-1] == (0, True)


LITERALS = (
    "n INT", "i INT NOT NULL DEFAULT 7", "v VARCHAR(9) DEFAULT 'é\\t'", "b BIT(3) DEFAULT b'101'", "e ENUM('p','q') NOT NULL DEFAULT 'q'",
    "d DECIMAL(5,2) DEFAULT 1.5", "q DATE DEFAULT '2020-01-01'", "r TIMESTAMP NULL DEFAULT '2020-01-01 00:00:00'",
    "vb VARBINARY(4) DEFAULT 'ab'", "s SET('u','v') DEFAULT 'u,v'", "f FLOAT DEFAULT 0.1", "t TIME(2) DEFAULT '-10:00:00'",
    "y YEAR DEFAULT 2020", "bi BINARY(4) DEFAULT 'ab'", "z INT(5) ZEROFILL DEFAULT 3", "o TEXT", "g POINT", "j JSON",
)  # fmt: skip
COMPUTED = (
    "now DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)",
    "x INT DEFAULT (1 + 1)",
    "u VARCHAR(40) DEFAULT (UUID())",
    "st INT AS (i + 1) STORED",
)


@contextmanager
def minimal(database: MysqlDatabase, *more: str) -> Iterator[None]:
    """The server's log without what can be left out, for new sessions."""
    database.run("SET GLOBAL binlog_row_image = MINIMAL", *more)
    try:
        yield
    finally:
        database.run("SET GLOBAL binlog_row_image = FULL", *(statement.replace("ON", "OFF") for statement in more))


@pytest.mark.parametrize("compressed", [False, True])
def test_what_an_insert_leaves_to_defaults_is_what_a_copy_reads_p8(mysql_database: MysqlDatabase, compressed: bool) -> None:
    database = mysql_database
    packing = "log_bin_compress" if database.cluster.product == "MariaDB" else "binlog_transaction_compression"
    names = [part.split()[0] for part in (*LITERALS, *COMPUTED)]
    database.run("SET time_zone = '+05:00'", f"CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, {', '.join((*LITERALS, *COMPUTED))})")
    with minimal(database, *[f"SET GLOBAL {packing} = ON"] * compressed), followed(database) as follower:
        database.run(
            "INSERT INTO t () VALUES ()", "INSERT INTO t (i, v) VALUES (1, 'x'), (2, DEFAULT)", "INSERT INTO t (o) SELECT REPEAT('x', 999)"
        )
        logged = [list(row.values()) for _, _, row in follower.rows(4)]
    with closing(source_of(database).snapshot()) as snapshot:
        (chunk,) = snapshot.chunks(named(database)[0], ["id"], 1000)
        block = b"".join(snapshot.read(named(database)[0], ["id", *names], ["id"], chunk))
    copied = [list(row.values()) for row in read_text_rows(block, ["id", *names]).to_pylist()]
    assert logged == copied
    assert logged[0][2:5] == [b"7", "é\t".encode(), b"101"]


def test_defaults_are_those_of_the_row_s_place_in_the_log(mysql_database: MysqlDatabase) -> None:
    """What is behind an alteration has the new ones; in front of it nobody can know them any more, and it stops (P7)."""
    database = mysql_database
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT DEFAULT 1)")
    with minimal(database):
        with followed(database) as follower:
            database.run("INSERT INTO t (id) VALUES (1)")
            assert values(follower, 1) == [("INSERT", (b"1", b"1"))]
            database.run("ALTER TABLE t ALTER v SET DEFAULT 2", "INSERT INTO t (id) VALUES (2)")
            assert values(follower, 2)[1:] == [("INSERT", (b"2", b"2"))]
            place = follower.position
        database.run("INSERT INTO t (id) VALUES (3)", "ALTER TABLE t ALTER v SET DEFAULT 3")
        with followed(database, after=place) as follower, pytest.raises(DecodeError, match="without all of its values"):
            follower.rows(1)


def test_defaults_that_turn_out_to_be_younger_stop(mysql_database: MysqlDatabase) -> None:
    """An alteration that began before the row and counts behind it: known only once it is met (P7)."""
    database = mysql_database
    defaults = Defaults(named(database))
    database.run("CREATE TABLE t (id INT PRIMARY KEY, v INT DEFAULT 1)")
    fields = catalogue.look(connect(config_of(database)), named(database))[named(database)[0]].fields
    before, later = positions.parse(end_of(database)).place, 1 << 40
    database.run("ALTER TABLE t ALTER v SET DEFAULT 2")
    with connect(config_of(database)) as session:
        assert defaults.of(named(database)[0], fields[1:], later, lambda: session) == {"v": b"2"}
        assert defaults.of(named(database)[0], fields[1:], 0, lambda: session) == {}
    defaults.statement("ALTER TABLE other ADD x INT", 0, before)
    with pytest.raises(SourceError, match="copied again"):
        defaults.statement("alter table `T` alter v set default 2", 0, before)


def test_a_statement_instead_of_rows_stops(mysql_database: MysqlDatabase) -> None:
    mysql_database.run(TABLE)
    with followed(mysql_database) as follower:
        mysql_database.run("SET binlog_format = STATEMENT", "INSERT INTO t VALUES (1, 'secret')")
        with pytest.raises(DecodeError, match="binlog_format") as caught:
            follower.rows(1)
    assert "secret" not in str(caught.value)


def test_a_damaged_log_is_told_with_its_place(mysql_database: MysqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    mysql_database.run(TABLE)
    with followed(mysql_database) as follower:
        fill = replica.Stream.fill

        def spoiled(stream: Any) -> None:
            before = stream._end
            fill(stream)
            if stream._end - before > 60:
                stream._buffer[stream._end - 7] ^= 1

        monkeypatch.setattr(replica.Stream, "fill", spoiled)
        mysql_database.run("INSERT INTO t VALUES (1, 'x')")
        with pytest.raises(DecodeError, match=r"type \d+ at binlog\.\d+:\d+"):
            follower.rows(1)


def test_a_server_that_goes_and_comes_back(make_mysql_like: Any) -> None:
    server = make_mysql_like()
    database = MysqlDatabase.create(server, "restarted")
    database.run(TABLE)
    with followed(database) as follower:
        database.run("INSERT INTO t VALUES (1, 'x')")
        assert len(follower.rows(1)) == 1
        place = follower.position
        server.stop("immediate")
        with pytest.raises(SourceError) as caught:
            follower.rows(2)
        assert caught.value.kind == "source_unavailable"
    server.start()
    database.run("INSERT INTO t VALUES (2, 'y')")
    with followed(database, after=place) as follower:
        assert values(follower, 1) == [("INSERT", (b"2", b"y"))]
    database.run("FLUSH BINARY LOGS")
    later = end_of(database)
    database.run(f"PURGE BINARY LOGS TO '{positions.parse(later).file}'")
    with pytest.raises(SourceError, match="is not there any more; the log of this server begins with") as lost:
        source_of(database).open_log(named(database), place, False)
    assert lost.value.kind == "slot_lost"


def open_at(source: MysqlSource, database: MysqlDatabase, after: str, trail: Trail) -> Log:
    return source.open_log(named(database), after, False, trail)


def test_from_beyond_4_gib(mysql_database: MysqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an offset is too large to be asked for: the next file, if nothing else is left, or by GTIDs, or not at all (P7)."""
    database = mysql_database
    database.run(TABLE)
    with followed(database) as follower:
        database.run("INSERT INTO t VALUES (1, 'x')", "INSERT INTO t VALUES (2, 'x')", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (3, 'x')")
        assert len(follower.rows(3)) == 3
        within, at_end, _ = [row["position"] for frame in follower.frames for row in frame.transactions.to_pylist()]
    monkeypatch.setattr(capture, "OFFSET_MAX", lineage.BEGINNING)
    with followed(database, after=at_end) as follower:
        assert values(follower, 1) == [("INSERT", (b"3", b"x"))]
    with followed(database, after=within) as follower:
        assert [row[0] for _, row in values(follower, 2)] == [b"2", b"3"]
        assert place_of(follower.position) == place_of(end_of(database))
    mariadb = database.cluster.product == "MariaDB"
    if not mariadb:
        database.run("SET GLOBAL gtid_mode = ON_PERMISSIVE")
    number, offset = place_of(within)
    since = positions.spelled((number, offset - 1)) if mariadb else ""
    try:
        with pytest.raises(SourceError, match="where an XA transaction was prepared" if mariadb else "gtid_mode is not ON") as caught:
            source_of(database).open_log(named(database), within + since, False)
        assert caught.value.kind == "slot_lost"
    finally:
        if not mariadb:
            database.run("SET GLOBAL gtid_mode = ON")


def test_another_server_with_the_same_transactions(
    make_mysql_like: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A switch-over: what follows by GTIDs at the new primary, where files and offsets are others."""
    flavour = request.node.callspec.params["make_mysql_like"]
    settings = {"gtid_mode": "ON", "enforce_gtid_consistency": "ON"} if flavour == "make_mysql" else {}
    old, new = make_mysql_like(settings=settings), make_mysql_like(settings=settings)
    databases = [MysqlDatabase(old, "moved"), MysqlDatabase(new, "moved")]
    statements = ["CREATE DATABASE moved", f"USE moved; {TABLE}", *(f"INSERT INTO moved.t VALUES ({i}, 'x')" for i in range(3))]
    for number, statement in enumerate(statements, 1):
        for server in (old, new):
            run_as(server, number, statement)
    with closing(source_of(databases[0]).open_log(named(databases[0]), None, False)) as log:
        run_as(old, 6, "INSERT INTO moved.t VALUES (6, 'both')")
        follower = Follower(log)
        assert len(follower.rows(1)) == 1
        trail = Trail(log.history, follower.position)
    run_as(new, 6, "INSERT INTO moved.t VALUES (6, 'both')")
    with closing(open_at(source_of(databases[1]), databases[1], trail.upto or "", trail)) as log:
        follower = Follower(log)
        run_as(new, 7, "INSERT INTO moved.t VALUES (7, 'new')")
        assert values(follower, 1) == [("INSERT", (b"7", b"new"))]
        place = follower.position
        trail = Trail(log.history, place)
    run_as(new, 8, "INSERT INTO moved.t VALUES (8, 'new')")
    with closing(open_at(source_of(databases[1]), databases[1], place, trail)) as log:
        assert values(Follower(log), 1) == [("INSERT", (b"8", b"new"))]
    with monkeypatch.context() as beyond:
        beyond.setattr(capture, "OFFSET_MAX", lineage.BEGINNING)
        with closing(open_at(source_of(databases[1]), databases[1], place, trail)) as log:
            follower = Follower(log)
            assert values(follower, 1) == [("INSERT", (b"8", b"new"))]
            assert place_of(follower.position) == place_of(end_of(databases[1]))
    with pytest.raises(SourceError, match="lacks what was captured"):
        open_at(source_of(databases[0]), databases[0], place, trail)


def run_as(server: MysqlServer, number: int, statement: str) -> None:
    """Run it with the GTID of this number, as a replica would. MySQL's have two tags, or none."""
    with server.connect() as session, session.cursor() as cursor:
        if "MariaDB" in server.product:
            cursor.execute(f"SET gtid_domain_id = 7, server_id = 77, gtid_seq_no = {number}")
        else:
            tag = ("", "shop:", "_b1:")[number % 3] if server.installation.version >= (8, 3) else ""
            cursor.execute(f"SET gtid_next = '11111111-2222-3333-4444-555555555555:{tag}{number}'")
        for part in statement.split("; "):
            if part.startswith("USE "):
                session.select_db(part[4:])
            else:
                cursor.execute(part)
