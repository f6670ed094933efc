"""Copies of MariaDB and MySQL: the moment, the chunks, the values."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest

from headwater.domain.errors import SourceError
from headwater.domain.tables import TableName
from headwater.domain.text_rows import read_text_rows
from headwater.sources.mysql import lineage, moment
from headwater.sources.mysql.connect import session
from headwater.sources.mysql.positions import parse
from headwater.sources.mysql.snapshot import MysqlSnapshot
from tests.crash.sides import side_of
from tests.databases import MysqlDatabase, wait_until
from tests.sources.mysql_places import source_of, user_of

READ = "SELECT ON *.*", "REPLICATION CLIENT ON *.*", "REPLICATION SLAVE ON *.*"


def exact(database: MysqlDatabase, *tables: str, **more: Any) -> MysqlSnapshot:
    found = source_of(database, **more).exact_snapshot([TableName(database.name, table) for table in tables], lambda: True)
    assert found is not None
    return found


def rows_of(snapshot: MysqlSnapshot, database: MysqlDatabase, table: str, columns: list[str], chunk_rows: int = 1000) -> list[Any]:
    name = TableName(database.name, table)
    chunks = snapshot.chunks(name, columns[:1], chunk_rows)
    assert (chunks[0].after, chunks[-1].upto) == (None, None)
    assert all(one.upto == next.after for one, next in pairwise(chunks))
    blocks = [block for chunk in chunks for block in snapshot.read(name, columns, columns[:1], chunk)]
    return [tuple(row.values()) for block in blocks for row in read_text_rows(block, columns).to_pylist()]


KINDS = (
    ("bigint unsigned", "18446744073709551615", b"18446744073709551615"),
    ("int(8) unsigned zerofill", "7", b"7"),
    ("decimal(8,2) zerofill", "0.5", b"0.50"),
    ("decimal(65,30)", "-12345678901234567890123456789012345.123456789012345678901234567891", None),
    ("float", "0.1", b"0.10000000149011612"),
    ("float(7,3)", "0.125", b"0.125"),
    ("double", "1e20", b"1e20"),
    ("double", "-0.1", b"-0.1"),
    ("bit(10)", "b'1000000011'", b"1000000011"),
    ("bit(64)", "b'1'", b"0" * 63 + b"1"),
    ("year", "0", b"0"),
    ("year", "2155", b"2155"),
    ("date", "'0000-00-00'", b"0000-00-00"),
    ("date", "'2024-02-00'", b"2024-02-00"),
    ("time(3)", "'-838:59:58.999'", b"-838:59:58.999"),
    ("datetime(6)", "'9999-12-31 23:59:59.999999'", b"9999-12-31 23:59:59.999999"),
    ("timestamp(3) null", "'2024-03-31 02:30:00.5'", b"2024-03-31 02:30:00.500+00"),
    ("char(10)", "'ab '", b"ab"),
    ("varchar(20)", "'ab '", b"ab "),
    ("varchar(20) character set latin1", "'€é'", "€é".encode()),
    ("varchar(20) character set utf16", "'𝄞'", "𝄞".encode()),
    ("varchar(20)", r"'\\\t\n\r\0\b|'", b"\\\t\n\r\0\b|"),
    ("binary(4)", "'ab'", rb"\x61620000"),
    ("varbinary(20)", "''", rb"\x"),
    ("blob", "x'00ff0a095c'", rb"\x00ff0a095c"),
    ("text", "'null'", b"null"),
    ("enum('a','b,c')", "'b,c'", b"b,c"),
    ("set('r','g','b')", "'b,r'", b"r,b"),
    ("json", """'{"b": 1, "a": "\\\\n"}'""", None),
    ("point", "point(1,2)", None),
    ("int", "null", None),
)


def test_values_come_in_their_common_text_forms_p8(mysql_database: MysqlDatabase) -> None:
    """Under another time zone and another SQL mode of the server than ours."""
    database = mysql_database
    columns = ", ".join(f"c{i} {kind}" for i, (kind, _, _) in enumerate(KINDS))
    values = ", ".join(value for _, value, _ in KINDS)
    database.run(
        f"CREATE TABLE t (id int primary key, {columns})",
        "SET SESSION sql_mode = '', time_zone = '+00:00'",
    )
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = '', time_zone = '+00:00'")
        cursor.execute(f"INSERT INTO t VALUES (1, {values})")
    with closing(exact(database, "t")) as snapshot:
        ((_, *found),) = rows_of(snapshot, database, "t", ["id", *(f"c{i}" for i in range(len(KINDS)))])
    for (kind, value, expected), got in zip(KINDS, found, strict=True):
        assert expected is None or got == expected, (kind, value)
    known = dict(zip((kind for kind, _, _ in KINDS), found, strict=True))
    assert known["decimal(65,30)"] == KINDS[3][1].encode()
    assert known["point"] == rb"\x00000000" + b"0101000000000000000000f03f0000000000000040"
    assert known["int"] is None
    assert b'"b": 1' in known["json"]


def test_chunks_of_every_kind_of_key_cover_the_table(mysql_database: MysqlDatabase) -> None:
    database = mysql_database
    keys = {
        "a": ("bigint", "n * n * n - 4000000"),
        "b": ("varchar(20) collate utf8mb4_unicode_ci", "concat('Ä', n % 7, ' ', n)"),
        "c": ("varbinary(32)", "unhex(sha2(n, 256))"),
        "d": ("datetime(6)", "'2024-01-01' + interval n * 777 microsecond"),
        "e": ("decimal(20,5)", "(n - 500) / 7"),
        "f": ("timestamp(6)", "'2024-01-01' + interval n minute"),
        "g": ("enum('x','y','z')", "1 + n % 3"),
        "h": ("double", "(n - 500) / 7e0"),
    }
    for name, (kind, value) in keys.items():
        database.run(
            f"CREATE TABLE {name} (k {kind} NOT NULL, n int NOT NULL, v varchar(10), PRIMARY KEY (k, n))",
            "SET SESSION cte_max_recursion_depth = 10000" if "MySQL" in database.cluster.product else "DO 0",
            f"INSERT INTO {name} WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) "
            f"SELECT {value}, n, n FROM s",
        )
    database.run("CREATE TABLE i (k int PRIMARY KEY, v int)", "INSERT INTO i SELECT n * 1000000, n FROM a", "ANALYZE TABLE i")
    tables = [*keys, "i"]
    with closing(exact(database, *tables)) as snapshot:
        for table in tables:
            key = ["k"] if table == "i" else ["k", "n"]
            chunks = snapshot.chunks(TableName(database.name, table), key, 100)
            assert (len(chunks) == 1) == (table == "g"), table
            blocks = [b for c in chunks for b in snapshot.read(TableName(database.name, table), ["v"], key, c)]
            assert sorted(int(v) for block in blocks for v in block.split()) == list(range(1, 1001)), table


def test_the_moment_divides_the_log_while_others_commit(mysql_database: MysqlDatabase) -> None:
    """As many rows are visible to every session of the moment as the log has inserts before its place."""
    database = mysql_database
    database.run("CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v int)", "FLUSH BINARY LOGS")
    stop = threading.Event()

    def write() -> None:
        with database.connect() as connection, connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("INSERT INTO t (v) VALUES (1)")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2):
            with closing(exact(database, "t")) as snapshot:
                assert snapshot.exact
                assert len(snapshot._idle) == moment.SESSIONS
                assert {visible(one, database) for one in snapshot._idle} == {inserts_upto(database, snapshot.position)}
    finally:
        stop.set()
        writer.join()


def visible(one: Any, database: MysqlDatabase) -> int:
    with one.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {database.name}.t")
        return int(cursor.fetchone()[0])


def inserts_upto(database: MysqlDatabase, position: str) -> int:
    """Inserts into the table in the log's last file before a place, as the server lists them."""
    place, count, table = parse(position), 0, ""
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SHOW BINLOG EVENTS IN '{place.file}'")
        for _, at, kind, _, _, info in cursor.fetchall():
            if at >= place.offset:
                break
            table = info if kind == "Table_map" else table
            count += kind.startswith("Write_rows") and f"{database.name}.t)" in table
    return count


def test_one_session_where_commits_can_not_be_held_back(mariadb_database: MysqlDatabase) -> None:
    """MariaDB tells the place of one session exactly, without any lock."""
    database = mariadb_database
    database.run("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1)")
    with closing(exact(database, "t", **user_of(database, *READ))) as snapshot:
        assert snapshot.exact
        assert rows_of(snapshot, database, "t", ["id", "v"]) == [(b"1", b"1")]


def test_without_the_right_to_lock_a_place_is_not_exact(mysql: Any, make_database: Any) -> None:
    database = make_database(mysql)
    database.run("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1)", "CREATE TABLE nokey (v int)")
    user = user_of(database, *READ, "PROCESS ON *.*")
    with closing(exact(database, "t", **user)) as snapshot:
        assert not snapshot.exact
        assert rows_of(snapshot, database, "t", ["id", "v"]) == [(b"1", b"1")]
    with pytest.raises(SourceError, match="has no key, so it must be copied at an exact moment") as error:
        exact(database, "nokey", **user)
    assert error.value.kind == "source_refused"


def test_a_lock_that_is_not_to_be_had_in_time_is_waited_for_where_a_table_has_no_key(
    mysql: Any, make_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement waits for a row, and MySQL's lock for that statement; a table with a key is copied meanwhile, inexactly."""
    database = make_database(mysql)
    monkeypatch.setattr(moment, "LOCK_WAIT_S", 1)
    database.run("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1)", "CREATE TABLE nokey (v int)")
    waits: list[bool] = []
    with database.session() as first, database.session() as second, ThreadPoolExecutor(1) as pool:

        def wait() -> bool:
            waits.append(True)
            first.commit()
            return True

        first.execute("UPDATE t SET v = 2")
        waiting = pool.submit(second.execute, "UPDATE t SET v = 3")
        side = side_of(database)
        wait_until(side.waiting, what="a statement that waits for a row")
        taken = moment.take(source_of(database).config, lambda: True)
        assert taken is not None
        moment.let_go(taken.sessions)
        found = source_of(database).exact_snapshot([TableName(database.name, "nokey")], wait)
        waiting.result()
    assert waits
    assert not taken.exact
    assert found is not None
    with closing(found):
        assert found.exact


def test_a_table_without_transactions_is_copied_inexactly(mysql_database: MysqlDatabase) -> None:
    mysql_database.run("CREATE TABLE t (id int PRIMARY KEY) ENGINE = MyISAM", "INSERT INTO t VALUES (1)")
    with closing(exact(mysql_database, "t")) as snapshot:
        assert not snapshot.exact
        assert rows_of(snapshot, mysql_database, "t", ["id"]) == [(b"1",)]


def test_the_moment_waits_for_the_end_of_the_log_p1(mariadb_database: MysqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the log already, and so perhaps in the journal, has to be seen: here the log's end is said to lie further on."""
    database = mariadb_database
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    source = source_of(database)
    with session(source.config, "Looking") as asking:
        number, offset = lineage.end_place(asking)
    monkeypatch.setattr(lineage, "end_place", lambda _: (number, offset + 1))
    asked: list[int] = []

    def wait() -> bool:
        if len(asked) == 1:
            database.run("INSERT INTO t VALUES (1)")
        asked.append(1)
        return True

    found = source.exact_snapshot([TableName(database.name, "t")], wait)
    assert found is not None
    with closing(found):
        assert len(asked) >= 2
        assert parse(found.position).place >= (number, offset + 1)
    assert source.exact_snapshot([TableName(database.name, "t")], wait) is not None
    monkeypatch.setattr(lineage, "end_place", lambda _: (number, 1 << 30))
    assert source.exact_snapshot([TableName(database.name, "t")], lambda: False) is None


def test_a_reading_that_is_broken_off_gives_its_session_back(mysql_database: MysqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "SESSIONS", 1)
    monkeypatch.setattr(moment._open, "__defaults__", (1,))
    database = mysql_database
    database.run("CREATE TABLE t (id int PRIMARY KEY, v longtext)")
    database.run("INSERT INTO t VALUES " + ", ".join(f"({i}, repeat('x', 20000))" for i in range(500)))
    name = TableName(database.name, "t")
    with closing(exact(database, "t")) as snapshot:
        (chunk,) = snapshot.chunks(name, ["id"], 1000)
        for _ in range(3):
            blocks = snapshot.read(name, ["id", "v"], ["id"], chunk)
            assert next(blocks).startswith(b"0\txxx")
            blocks.close()  # type: ignore[attr-defined]
        assert sum(block.count(b"\n") for block in snapshot.read(name, ["id", "v"], ["id"], chunk)) == 500


def test_large_values_pass(mysql_database: MysqlDatabase) -> None:
    """Rows that take several packets."""
    database = mysql_database
    database.run("CREATE TABLE t (id int PRIMARY KEY, v longblob)", "SET GLOBAL max_allowed_packet = 1073741824")
    database.run("INSERT INTO t VALUES (1, repeat('a', 16777211)), (2, repeat('b', 16777215)), (3, 'c'), (4, repeat('d', 34000000))")
    with closing(exact(database, "t")) as snapshot:
        (chunk,) = snapshot.chunks(TableName(database.name, "t"), ["id"], 9)
        blocks = list(snapshot.read(TableName(database.name, "t"), ["id", "v"], ["id"], chunk))
    lines = b"".join(blocks).split(b"\n")[:-1]
    assert [(line[:2], len(line)) for line in lines] == [
        (b"1\t", 5 + 2 * 16777211), (b"2\t", 5 + 2 * 16777215), (b"3\t", 7), (b"4\t", 5 + 2 * 34000000)
    ]  # fmt: skip
    assert lines[1].endswith(b"6262")


def test_a_table_that_was_changed_behind_the_moment_is_not_read(mysql_database: MysqlDatabase) -> None:
    database = mysql_database
    database.run("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1)")
    with closing(exact(database, "t")) as snapshot:
        database.run("TRUNCATE t")
        with pytest.raises(SourceError) as error:
            rows_of(snapshot, database, "t", ["id", "v"])
        assert error.value.kind == "source_unavailable"


def test_a_snapshot_that_lost_its_sessions_says_so(mysql_database: MysqlDatabase) -> None:
    database = mysql_database
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    with closing(exact(database, "t")) as snapshot:
        for one in snapshot._idle:
            database.run(f"KILL {one.server_thread_id[0]}")
        for _ in range(moment.SESSIONS):
            with pytest.raises(SourceError, match=r"error 2013|error 1927|error 2006|error 4031"):
                snapshot.rows_estimate(TableName(database.name, "t"))
        with pytest.raises(SourceError, match="lost with its sessions"):
            snapshot.rows_estimate(TableName(database.name, "t"))
