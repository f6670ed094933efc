"""The decoder of binary logs on what real servers write: every kind of event, both forms alike, and no bytes taken for what they are not.

Holds up P7 (what can't be read stops, with type, file and offset) and P8, for the log's half. Values by type: `test_binlog_values.py`.
"""

from __future__ import annotations

import re
import struct
import subprocess
import zlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.clusters import MysqlServer
from headwater.wire.binlog_events import Query, Rotate, TableMap
from tests import binlogs
from tests.binlogs import COMMIT, FULL, NOTHING, OTHER, UNCHANGED
from tests.conftest import DatabaseFactory
from tests.databases import MysqlDatabase
from tests.wire.decoder_forms import both

INSERT, UPDATE, DELETE, TRUNCATE, KEY_OLD, KEY_NEW = range(1, 7)
TABLE = "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), b TEXT)"
HEAP = "CREATE TABLE h (a INT, b VARCHAR(20))"


def seen(database: MysqlDatabase, statements: Sequence[str], before: Sequence[str] = (), **more: Any) -> binlogs.Read:
    """What both forms alike make of the log of these statements."""
    found = binlogs.recorded(database.cluster, statements, database.name, before)
    plan = binlogs.planner(database.cluster)
    reads = [binlogs.read(form, found, plan, **more) for form in both("binlog")]
    assert reads[0] == reads[-1]
    return reads[0]


def test_transactions_come_whole_with_place_and_time(mysql_database: MysqlDatabase) -> None:
    read = seen(mysql_database, ["INSERT INTO t VALUES (1,'x',NULL)", "BEGIN", "UPDATE t SET a='y'", "DELETE FROM t", "COMMIT"], [TABLE])
    assert read.changes() == [(INSERT, (b"1", b"x", None)), (UPDATE, (b"1", b"y", None)), (DELETE, (b"1", None, None))]
    assert [count for _, _, count in read.transactions] == [1, 2]
    assert read.transactions[-1][0] == read.position == binlogs.place(mysql_database.cluster)
    with mysql_database.connect() as session, session.cursor() as cursor:
        cursor.execute("SELECT UNIX_TIMESTAMP(NOW(6))")
        (now,) = cursor.fetchone()
    assert all(0 <= float(now) - commit_us / 1e6 < 60 for _, commit_us, _ in read.transactions)
    assert len(read.gtids) == 2
    assert all(re.fullmatch(r"\d+-\d+-\d+|[0-9a-f-]{36}:\d+", gtid) for gtid in read.gtids)


def test_a_changed_key_is_a_pair(mysql_database: MysqlDatabase) -> None:
    read = seen(
        mysql_database, ["UPDATE t SET id = id + 10 WHERE a = 'x'", "UPDATE t SET id = id"], [TABLE, "INSERT INTO t VALUES (1,'x','b')"]
    )
    assert read.changes() == [(KEY_OLD, (b"1", None, None)), (KEY_NEW, (b"11", b"x", b"b"))]


def test_without_a_key_the_whole_row_is_one(mysql_database: MysqlDatabase) -> None:
    read = seen(mysql_database, ["UPDATE h SET b = NULL", "DELETE FROM h"], [HEAP, "INSERT INTO h VALUES (1,'x')"])
    assert read.changes() == [(KEY_OLD, (b"1", b"x")), (KEY_NEW, (b"1", None)), (DELETE, (b"1", None))]


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_what_a_row_image_lacks_is_unchanged(mysql_database: MysqlDatabase, image: str) -> None:
    before = [
        TABLE,
        "INSERT INTO t VALUES (1,'x','long'), (2,NULL,NULL)",
        HEAP,
        "INSERT INTO h VALUES (1,'x')",
        f"SET binlog_row_image = {image}",
    ]
    changes = [
        "UPDATE t SET a='y' WHERE id=1",
        "UPDATE t SET id=3 WHERE id=1",
        "UPDATE h SET b='y'",
        "DELETE FROM t WHERE id=2",
        "DELETE FROM h",
    ]
    read = seen(mysql_database, changes, before)
    a = UNCHANGED if image == "MINIMAL" else b"y"
    assert read.error == ""
    assert read.changes() == [
        (UPDATE, (b"1", b"y", UNCHANGED)), (KEY_OLD, (b"1", None, None)), (KEY_NEW, (b"3", a, UNCHANGED)),
        (KEY_OLD, (b"1", b"x")), (KEY_NEW, (b"1", b"y")), (DELETE, (b"2", None, None)), (DELETE, (b"1", b"y")),
    ]  # fmt: skip


def test_a_value_that_an_insert_leaves_out_is_guessed_by_nobody_p7(mysql_database: MysqlDatabase) -> None:
    read = seen(mysql_database, ["INSERT INTO t (id) VALUES (2)"], [TABLE, "SET binlog_row_image = MINIMAL"])
    assert "binlog_row_image is not FULL" in read.error


def test_a_value_that_an_insert_leaves_out_is_asked_for(mysql_database: MysqlDatabase) -> None:
    statements = ["SET binlog_row_image = MINIMAL", "INSERT INTO t (id) VALUES (2), (3)", "INSERT INTO t (id, a) VALUES (4, 'y')"]
    found = binlogs.recorded(mysql_database.cluster, statements[1:], mysql_database.name, [TABLE, statements[0]])
    for form in both("binlog"):
        asked: list[tuple[int, ...]] = []

        def defaults(_: TableMap, absent: tuple[int, ...], stamp_s: int, asked: list[tuple[int, ...]] = asked) -> dict[int, bytes | None]:
            assert stamp_s > 1_700_000_000
            asked.append(absent)
            return {at: b"default" if at == 1 else None for at in absent}

        read = binlogs.read(form, found, binlogs.planner(mysql_database.cluster), defaults_of=defaults)
        assert read.error == ""
        assert [values[:2] for _, values in read.changes()] == [(b"2", b"default"), (b"3", b"default"), (b"4", b"y")]
        assert [len(absent) for absent in asked] == [len(asked[1]) + 1, len(asked[1])]


def test_statements_are_told(mysql_database: MysqlDatabase) -> None:
    statements = [
        "ALTER TABLE t ADD c INT",
        "INSERT INTO t VALUES (1,'x','b',7)",
        "ALTER TABLE t CHANGE a renamed VARCHAR(20)",
        "TRUNCATE t",
    ]
    read = seen(
        mysql_database, [*statements, "BEGIN", "SAVEPOINT s", "INSERT INTO t VALUES (2,'x','b',7)", "ROLLBACK TO s", "COMMIT"], [TABLE]
    )
    assert read.queries() == ["ALTER TABLE t ADD c INT", "ALTER TABLE t CHANGE a renamed VARCHAR(20)", "TRUNCATE t"]
    assert read.changes() == [(INSERT, (b"1", b"x", b"b", b"7"))]
    assert len(read.gtids) >= 4
    query = next(notice for notice in read.notices if isinstance(notice, Query))
    assert query.database == mysql_database.name
    assert query.charset
    assert query.sql_mode is not None


def test_a_table_made_from_a_query_is_one_transaction(mysql_database: MysqlDatabase) -> None:
    read = seen(mysql_database, ["CREATE TABLE made (id INT PRIMARY KEY, a VARCHAR(9)) SELECT 1 AS id, 'x' AS a"], [TABLE])
    assert read.changes() == [(INSERT, (b"1", b"x"))]
    assert [count for _, _, count in read.transactions] == [1]
    assert "CREATE TABLE" in read.queries()[0]


def test_tables_that_are_not_wanted_are_passed_over(mysql_database: MysqlDatabase) -> None:
    found = binlogs.recorded(
        mysql_database.cluster, ["INSERT INTO t VALUES (1,'x','y')", "INSERT INTO h VALUES (1,'x')"], mysql_database.name, [TABLE, HEAP]
    )
    plan = binlogs.planner(mysql_database.cluster)
    for form in both("binlog"):
        read = binlogs.read(form, found, lambda table: plan(table) if table.name == "h" else None)
        assert read.rows == [("h", INSERT, (b"1", b"x"))]
        assert (len(read.transactions), len(read.gtids)) == (1, 2)


def test_prepared_transactions_are_told(mysql_database: MysqlDatabase) -> None:
    statements = ["XA START 'one'", "INSERT INTO t VALUES (1,'x',NULL)", "XA END 'one'", "XA PREPARE 'one'", "XA COMMIT 'one'"]
    single = ["XA START 'two'", "INSERT INTO t VALUES (2,'x',NULL)", "XA END 'two'", "XA COMMIT 'two' ONE PHASE"]
    read = seen(mysql_database, statements + single, [TABLE])
    assert read.error == ""
    name = f"X'{b'one'.hex()}',X'',1"
    assert name in read.notices
    assert [query.replace(" ", "") for query in read.queries()] == [f"XACOMMIT{name}"]
    assert read.changes()[-1] == (INSERT, (b"2", b"x", None))


def test_compressed_rows_and_statements(mariadb: MysqlServer, make_database: DatabaseFactory) -> None:
    database = make_database(mariadb)
    long = "y" * 300
    changes = [
        f"INSERT INTO t VALUES (1,'x','{'x' * 300}'), (2,'x',NULL)",
        f"UPDATE t SET b='{long}'",
        f"DELETE FROM t WHERE b='{long}'",
        f"ALTER TABLE t COMMENT '{long}'",
    ]
    try:
        read = seen(database, changes, [TABLE, "SET GLOBAL log_bin_compress = 1, GLOBAL log_bin_compress_min_len = 10"])
    finally:
        database.run("SET GLOBAL log_bin_compress = 0")
    assert read.error == ""
    rows: list[Any] = [(INSERT, (b"1", b"x", b"x" * 300)), (INSERT, (b"2", b"x", None))]
    rows += [(UPDATE, (b"%d" % i, b"x", long.encode())) for i in (1, 2)] + [(DELETE, (b"%d" % i, None, None)) for i in (1, 2)]
    assert read.changes() == rows
    assert read.queries() == [changes[-1]]


def test_compressed_transactions(mysql: MysqlServer, make_database: DatabaseFactory) -> None:
    """They are one event, which is read in parts where it is too large."""
    database = make_database(mysql)
    numbers = "JSON_TABLE(CONCAT('[1', REPEAT(',1', 4999), ']'), '$[*]' COLUMNS (n FOR ORDINALITY)) j"
    many = f"INSERT INTO t SELECT n, 'x', REPEAT('b', 50) FROM {numbers}"
    statements = ["BEGIN", many, "UPDATE t SET a='y' WHERE id <= 10", "COMMIT", "INSERT INTO t VALUES (0,'z',NULL)"]
    plain = seen(database, statements, [TABLE])
    before = ["TRUNCATE t", "SET binlog_transaction_compression = ON"]
    packed = seen(database, statements, before)
    parted = seen(database, statements, ["TRUNCATE t", "SET binlog_transaction_compression = ON"], rows_max=700)
    assert plain.error == packed.error == parted.error == ""
    assert plain.changes() == packed.changes() == parted.changes()
    assert len(plain.rows) == 5011
    assert parted.parts == 7
    assert [count for _, _, count in packed.transactions] == [5010, 1]
    assert parted.transactions[-1][0] == parted.position == binlogs.place(mysql)


def test_changes_within_documents(mysql: MysqlServer, make_database: DatabaseFactory) -> None:
    database = make_database(mysql)
    document = """'{"a": [1, 2, {"x": "y"}], "bb": {"quoted \\\\" name": 1}, "c": "%s", "d": 1.5}'""" % ("long" * 30)
    made = [
        "CREATE TABLE j (id INT PRIMARY KEY, v JSON, n INT, w JSON)",
        f"INSERT INTO j VALUES (1, {document}, 1, {document}), (2, {document}, 1, NULL)",
    ]
    steps = [
        "JSON_SET(v, '$.a[1]', 'two')", "JSON_REMOVE(v, '$.a[0]')",
        "JSON_REPLACE(v, '$.bb.\"quoted \\\\\" name\"', 5)", "JSON_REMOVE(v, '$.d')",
        "JSON_SET(v, '$.c', 'x')", "JSON_REPLACE(v, '$.a[1].x', JSON_ARRAY(1, NULL))",
    ]  # fmt: skip
    updates = [f"UPDATE j SET v = {step}, n = n + 1" for step in steps] + [
        "UPDATE j SET w = JSON_SET(w, '$.d', 2.5), v = JSON_SET(v, '$.c', 'z')"
    ]
    shown = []
    with database.connect() as session, session.cursor() as cursor:
        for statement in made:
            cursor.execute(statement)
        cursor.execute("SET binlog_row_value_options = PARTIAL_JSON")
        start = binlogs.place(mysql)
        for update in updates:
            cursor.execute(update)
            cursor.execute("SELECT CAST(v AS CHAR), CAST(w AS CHAR) FROM j ORDER BY id")
            shown += [(v.encode(), w and w.encode()) for v, w in cursor.fetchall()]
    found = binlogs.events(mysql, *start)
    assert {event[4] for event in found} >= {39}
    for form in both("binlog"):
        read = binlogs.read(form, found, binlogs.planner(mysql))
        assert read.error == ""
        assert [(values[1], values[3]) for _, values in read.changes()] == shown


def test_old_formats_of_times(mariadb: MysqlServer, make_database: DatabaseFactory) -> None:
    """Tables from before MariaDB 10.1, whose columns' precision the log does not tell."""
    database = make_database(mariadb)
    database.run("SET GLOBAL mysql56_temporal_format = OFF")
    columns = [f"{kind}({digits}) NULL" for digits in (0, 1, 3, 6) for kind in ("DATETIME", "TIMESTAMP", "TIME")]
    moment, clock = "'2024-02-29 12:34:56.123456'", "'-838:12:56.123456'"
    values = [clock if column.startswith("TIME(") else moment for column in columns]
    try:
        made = "CREATE TABLE old (id INT PRIMARY KEY, " + ", ".join(f"c{i} {column}" for i, column in enumerate(columns)) + ")"
        statements = [f"INSERT INTO old VALUES (1, {', '.join(values)})"]
        found = binlogs.recorded(mariadb, statements, database.name, ["SET time_zone = '+00:00'", made])
    finally:
        database.run("SET GLOBAL mysql56_temporal_format = ON")
    with database.connect() as session, session.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(
            "SELECT "
            + ", ".join(f"CONCAT(c{i}, {chr(39) + '+00' + chr(39) if 'STAMP' in c else chr(39) * 2})" for i, c in enumerate(columns))
            + " FROM old"
        )
        expected = tuple(value.encode() for value in cursor.fetchone())
    digits = [0] + [int(column.partition("(")[2][0]) for column in columns]
    plan = binlogs.planner(mariadb, adjust=lambda _, plans: [binlogs.with_precision(p, d) for p, d in zip(plans, digits, strict=True)])
    for form in both("binlog"):
        read = binlogs.read(form, found, plan)
        assert read.error == ""
        assert read.changes() == [(INSERT, (b"1", *expected))]


def test_new_files_and_no_checksums(mysql_database: MysqlDatabase) -> None:
    statements = [
        "INSERT INTO t VALUES (1,'x',NULL)",
        "SET GLOBAL binlog_checksum = NONE",
        "INSERT INTO t VALUES (2,'x',NULL)",
        "FLUSH BINARY LOGS",
        "INSERT INTO t VALUES (3,'x',NULL)",
    ]
    try:
        read = seen(mysql_database, statements, [TABLE])
    finally:
        mysql_database.run("SET GLOBAL binlog_checksum = CRC32")
    assert read.error == ""
    assert [values[0] for _, values in read.changes()] == [b"1", b"2", b"3"]
    files = list(dict.fromkeys(notice.file for notice in read.notices if isinstance(notice, Rotate)))
    assert len(files) == 3
    assert [place[0] for place, _, _ in read.transactions] == files


def test_places_go_on_beyond_32_bits(mysql_database: MysqlDatabase) -> None:
    """A huge transaction makes a file larger than 4 GiB, whose events tell the lower 32 bits of where they end."""
    changes = ["INSERT INTO t VALUES (1,'x',NULL)", "DELETE FROM t", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (3,'x',NULL)"]
    found = binlogs.recorded(mysql_database.cluster, changes, mysql_database.name, [TABLE])
    start, plan = int.from_bytes(found[0][19:27], "little"), binlogs.planner(mysql_database.cluster)
    ((file, first), _, _), ((_, second), _, _), later = binlogs.read(both("binlog")[-1], found, plan).transactions
    wraps = {"at a commit": -first, "within an event": 1 - second, "at the start": -start, "later": 3 << 30}
    for name, low in wraps.items():
        shift = (5 << 32) + low
        for form in both("binlog"):
            read = binlogs.read(form, shifted(found, shift), plan, file=file, offset=start + shift)
            assert read.error == "", name
            assert [place for place, _, _ in read.transactions] == [(file, first + shift), (file, second + shift), later[0]], name


def shifted(found: Sequence[bytes], shift: int) -> list[bytes]:
    """The events as they would be if the first file had so many bytes more in front of them."""
    made, moved = [], shift
    for event in found:
        kind, place, artificial = event[4], int.from_bytes(event[13:17], "little"), event[17] & 0x20
        changed = bytearray(event)
        if kind == 4 and artificial:
            changed[19:27] = struct.pack("<Q", int.from_bytes(event[19:27], "little") + moved)
        elif kind == 15 and moved:
            changed[13:17] = struct.pack("<I", place or 256)  # it may be told again
        elif place and not artificial:
            changed[13:17] = struct.pack("<I", (place + moved) & 0xFFFFFFFF)
        made.append(with_checksum(bytes(changed[:-4])))
        moved = 0 if kind == 4 and not artificial else moved
    return made


def test_a_large_statement_is_taken_in_parts(mysql_database: MysqlDatabase) -> None:
    values = ", ".join(f"({i}, 'x', NULL)" for i in range(2000))
    whole = seen(mysql_database, [f"INSERT INTO t VALUES {values}", "UPDATE t SET a = 'y'"], [TABLE])
    parted = seen(mysql_database, [f"INSERT INTO t VALUES {values}", "UPDATE t SET a = 'y'"], ["TRUNCATE t"], rows_max=300)
    assert whole.changes() == parted.changes()
    assert parted.parts >= 12
    assert [count for _, _, count in whole.transactions] == [2000, 2000]
    assert seen(mysql_database, ["DELETE FROM t"], bytes_max=2000).parts >= 2


def as_stream(found: Sequence[bytes]) -> bytearray:
    """Events as packets in the server's stream."""
    return bytearray(b"".join(struct.pack("<I", len(event) + 1)[:3] + bytes((i & 255, 0)) + event for i, event in enumerate(found)))


def test_a_stream_is_read_in_any_pieces(mysql_database: MysqlDatabase) -> None:
    found = binlogs.recorded(mysql_database.cluster, ["INSERT INTO t VALUES (1,'x','y')", "DELETE FROM t"], mysql_database.name, [TABLE])
    plan = binlogs.planner(mysql_database.cluster)
    stream = as_stream(found) + b"\xff\xff\xff\0"
    for form in both("binlog"):
        expected = binlogs.read(form, found, plan).rows
        for cut in range(0, len(stream), 7):
            decoder = form.Decoder(plan, binlogs.Places(), 1000, 1 << 20)
            at, event, events = 0, NOTHING, []
            for end in (cut, len(stream)):
                at, event = decoder.feed_stream(stream, at, end)
                while event not in (NOTHING, OTHER):
                    events.append(event)
                    at, event = decoder.feed_stream(stream, at, end)
            assert (event, at) == (OTHER, len(stream) - 4)
            assert events.count(COMMIT) == 2
            assert binlogs.rows_of(decoder.take()) == expected


def test_unknown_events_stop_unless_they_may_be_ignored(mysql_database: MysqlDatabase) -> None:
    found = binlogs.recorded(mysql_database.cluster, ["INSERT INTO t VALUES (1,'x','y')"], mysql_database.name, [TABLE])
    plan = binlogs.planner(mysql_database.cluster)
    strange = with_checksum(struct.pack("<IBIIIH", 1, 120, 1, 30, 0, 0) + b"unknown")
    ignorable = with_checksum(struct.pack("<IBIIIH", 1, 120, 1, 30, 0, 0x80) + b"unknown")
    file, offset = binlogs.place(mysql_database.cluster)
    for form in both("binlog"):
        assert binlogs.read(form, [*found, ignorable], plan).error == ""
        error = binlogs.read(form, [*found, strange], plan).error
        assert f"An unknown type of event: 120, in the event of type 120 at {file}:{offset}" in error


def with_checksum(event: bytes) -> bytes:
    return event + struct.pack("<I", zlib.crc32(event))


def test_a_damaged_event_stops(mysql_database: MysqlDatabase) -> None:
    found = binlogs.recorded(mysql_database.cluster, ["INSERT INTO t VALUES (1,'x','y')"], mysql_database.name, [TABLE])
    plan = binlogs.planner(mysql_database.cluster)
    for i in range(1, len(found)):
        damaged = bytearray(found[i])
        damaged[-6] ^= 1
        for form in both("binlog"):
            assert "checksum" in binlogs.read(form, [*found[:i], bytes(damaged)], plan).error


def test_the_servers_own_reader_agrees(mariadb: MysqlServer, make_database: DatabaseFactory) -> None:
    """`mariadb-binlog -v` prints the same changes, as SQL in comments."""
    database = make_database(mariadb)
    statements = ["INSERT INTO t VALUES (1,'x',NULL), (2,'it''s','b')", "UPDATE t SET a = 'z' WHERE id = 2", "DELETE FROM t WHERE id = 1"]
    file, offset = binlogs.place(mariadb)
    found = binlogs.recorded(mariadb, statements, database.name, [TABLE])
    told = subprocess.run(
        [*mariadb.installation.command("mariadb-binlog"), "--no-defaults", "-v", "--base64-output=decode-rows", "--read-from-remote-server",
         f"--host={mariadb.host}", f"--port={mariadb.port}", f"--user={mariadb.user}", f"--start-position={offset}", file],
        env={"MYSQL_PWD": mariadb.password}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    theirs = [line.removeprefix("### ").strip() for line in told.splitlines() if line.startswith("### ")]
    read = binlogs.read(both("binlog")[-1], found, binlogs.planner(mariadb))
    kinds = {INSERT: "INSERT INTO", UPDATE: "UPDATE", DELETE: "DELETE FROM"}
    assert [line.split(" `")[0] for line in theirs if "`" in line] == [kinds[op] for op, _ in read.changes()]
    sets = iter([dict(re.findall(r"@(\d)=(.*)", block)) for block in re.findall(r"SET((?:\n@\d=.*)+)", "\n".join(theirs))])
    for op, values in read.changes():
        if op != DELETE:
            quoted = [b"NULL" if v is None else v if i == 0 else b"'" + v + b"'" for i, v in enumerate(values)]
            assert list(next(sets).values()) == [value.decode() for value in quoted]


@pytest.fixture(scope="module")
def every_kind(mysql_like: MysqlServer) -> tuple[MysqlServer, list[bytes], Any]:
    """A log with many kinds of events, without checksums, so that spoiled bytes get through to the readers behind them."""
    name = "spoiled"
    many = (
        "id INT PRIMARY KEY, a VARCHAR(300), b DECIMAL(20,5), c DATETIME(3), d TIMESTAMP(6) NULL, e ENUM('x','y'), f JSON, g BIT(9), "
        "h DOUBLE, i TIME(2), j BLOB, k BIGINT UNSIGNED"
    )
    document = """'{"a": [1, "b", 1.5, {"c": null}]}'"""
    values = f"(1,'x',-1.5,'2024-01-01 00:00:00.5','2024-01-01 00:00:00.5','x',{document},b'101',1.5,'-00:00:01.5','blob',7)"
    with mysql_like.connect() as session, session.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
        cursor.execute("SET GLOBAL binlog_checksum = NONE")
    statements = [
        f"CREATE TABLE m ({many})",
        f"INSERT INTO m VALUES {values}",
        "UPDATE m SET id = 2, a = NULL, c = NULL",
        "SET binlog_row_image = MINIMAL",
        "UPDATE m SET h = 2",
        "DELETE FROM m",
        "ALTER TABLE m ADD z INT",
    ]
    try:
        found = binlogs.recorded(mysql_like, statements, name)
    finally:
        with mysql_like.connect() as session, session.cursor() as cursor:
            cursor.execute("SET GLOBAL binlog_checksum = CRC32")
            cursor.execute(f"DROP DATABASE {name}")
    return mysql_like, found, binlogs.planner(mysql_like)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_forms_judge_spoiled_bytes_alike(every_kind: tuple[MysqlServer, list[bytes], Any], data: st.DataObject) -> None:
    """Whatever stands there: an error of ours or rows, the same from both forms, soon, in bounded memory."""
    _, found, plan = every_kind
    spoiled = list(found)
    number = data.draw(st.integers(1, len(found) - 1))
    event = bytearray(found[number])
    for _ in range(data.draw(st.integers(1, 3))):
        event[data.draw(st.integers(13, len(event) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        event = event[: data.draw(st.integers(19, len(event)))]
        event[9:13] = struct.pack("<I", len(event))
    spoiled[number] = bytes(event)
    verdicts = [binlogs.read(form, spoiled, plan) for form in both("binlog")]
    assert verdicts[0] == verdicts[-1]


def test_half_events_are_refused_at_every_cut(every_kind: tuple[MysqlServer, list[bytes], Any]) -> None:
    _, found, plan = every_kind
    for number, event in enumerate(found):
        if event[4] not in (16, 23, 24, 25, 30, 31, 32):
            continue  # others end with a text of any length, or with what older servers don't have
        for cut in range(19, len(event)):
            part = bytearray(event[:cut])
            part[9:13] = struct.pack("<I", cut)
            for form in both("binlog"):
                read = binlogs.read(form, [*found[:number], bytes(part)], plan)
                assert read.error, (event[4], cut)


def test_plain_and_compiled_are_two(mysql_like: MysqlServer) -> None:
    """Otherwise the tests here would compare one form with itself."""
    forms: list[ModuleType] = both("binlog")
    assert [form.COMPILED for form in forms] == ([False, True] if len(forms) == 2 else [False])
    assert FULL
