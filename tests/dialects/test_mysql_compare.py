"""What comparing MariaDB and MySQL tables has of its own: keys of all types, limits of the server, other servers' texts of keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from headwater.clusters import MysqlServer
from headwater.dialects.mysql_compare import MysqlComparison
from headwater.domain.comparing import OUTPUT, PLAIN, Form
from headwater.domain.errors import SourceError
from headwater.domain.tables import TableName
from headwater.ports.compare import Digest, Key, Part, Span
from headwater.sources.mysql.config import MysqlConfig
from headwater.sources.mysql.source import MysqlSource
from tests.databases import MysqlDatabase

KEYS: dict[str, Sequence[str]] = {
    "int": ["-5", "0", "7"],
    "bigint unsigned zerofill": ["0", "9223372036854775808", "18446744073709551615"],
    "decimal(12,2)": ["-1.50", "0.00", "100.25"],
    "year": ["0", "1999", "2026"],
    "bit(12)": ["000000000001", "000000000101", "100000000000"],
    "date": ["0000-00-00", "0001-01-01", "2026-02-28"],
    "datetime(3)": ["2026-02-28 10:20:30.000", "2026-02-28 10:20:30.500", "9999-12-31 00:00:00.000"],
    "timestamp(6)": ["2026-02-28 10:20:30.000000+00", "2026-02-28 10:20:30.000001+00", "2030-12-31 00:00:00.000000+00"],
    "time(1)": ["-838:59:58.5", "-00:00:00.5", "00:00:01.0"],
    "varchar(20) COLLATE utf8mb4_bin": ["", "A", "a \\ ' %s"],
    "varchar(20) COLLATE utf8mb4_general_ci": ["a", "B", "ü"],
    "varchar(20) CHARSET latin1": ["a", "ü", "€"],
    "varchar(20) CHARSET utf16": ["a", "ü", "𝄞"],
    "char(9) COLLATE latin1_bin": ["", "a", "b"],
    "varbinary(9)": ["\\x", "\\x00", "\\xff00"],
    "binary(2)": ["\\x0000", "\\x6100", "\\xff00"],
    "enum('z','a','it''s')": ["z", "a", "it's"],
    "set('z','a')": ["", "z", "z,a"],
}
"""Columns with keys as they travel, in the server's order."""

OF_MARIADB = {"uuid": [f"00000000-0000-4000-8000-00000000000{i}" for i in "19f"], "inet6": ["::1", "::2", "2001:db8::"]}


def comparison(database: MysqlDatabase, timeout_s: float = 10.0) -> MysqlComparison:
    """A session of the source adapter."""
    at = database.cluster
    return MysqlSource(MysqlConfig("s", at.host, database.name, at.user, at.port, at.password)).compare(timeout_s)


def literal(type_: str, value: str) -> str:
    """A key as the tests write it."""
    if value.startswith("\\x"):
        return f"X'{value[2:]}'"
    if "bit" in type_:
        return f"b'{value}'"
    if "year" in type_:
        return value
    text = value.removesuffix("+00") if "timestamp" in type_ else value
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def filled(database: MysqlDatabase, statement: str, rows: Sequence[str]) -> None:
    """Make a table `k` with these rows, zero dates included."""
    with database.connect(init_command="SET time_zone = '+00:00', sql_mode = ''") as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        if rows:
            cursor.execute(f"INSERT INTO k VALUES {', '.join(f'({row})' for row in rows)}")


def keyed(database: MysqlDatabase, type_: str, keys: Sequence[str]) -> Part:
    """A table `k` with a key `id`."""
    filled(database, f"CREATE TABLE k (id {type_} PRIMARY KEY)", [literal(type_, key) for key in keys])
    return Part(TableName(database.name, "k"), (("id", OUTPUT),), ("id",), "sha256")


def check(session: MysqlComparison, part: Part, keys: Sequence[Key]) -> None:
    """Rows are cut by these keys, which are in order, and found by them."""
    rows = session.rows(part, Span(), 10)
    assert list(rows) == keys, part.key
    assert session.chunked(part)
    assert session.bound(part, Span(), 1) == keys[0], part.key
    assert session.digest(part, Span(keys[0], keys[1])) == rows[keys[1]], part.key
    assert session.digest(part, Span(None, keys[0])) == rows[keys[0]], part.key
    assert session.digest(part, Span(keys[0])).rows == len(keys) - 1, part.key
    assert session.rows_at(part, keys) == dict(enumerate(rows.values())), part.key
    found = session.values(part, keys[1:2])
    assert [row[: len(part.key)] for row in found] == [tuple(value.encode() for value in keys[1])]


def test_keys_of_every_type_cut_and_find_rows(mysql_like: MysqlServer, mysql_database: MysqlDatabase) -> None:
    types = KEYS | (OF_MARIADB if mysql_like.installation.flavour == "mariadb" else {})
    columns = ", ".join(f"k{i} {type_} NOT NULL UNIQUE" for i, type_ in enumerate(types))
    rows = [", ".join(literal(type_, keys[at]) for type_, keys in types.items()) for at in range(3)]
    filled(mysql_database, f"CREATE TABLE k ({columns})", rows)
    with closing(comparison(mysql_database)) as session:
        for i, keys in enumerate(types.values()):
            check(session, Part(TableName(mysql_database.name, "k"), ((f"k{i}", OUTPUT),), (f"k{i}",), "sha256"), [(key,) for key in keys])


def test_keys_of_two_columns_cut_and_find_rows(mysql_database: MysqlDatabase) -> None:
    keys = [("1", "b"), ("2", "a"), ("2", "c"), ("3", "")]
    filled(mysql_database, "CREATE TABLE k (a int, b varchar(9), v int, PRIMARY KEY (a, b))", [f"{a}, '{b}', {a}" for a, b in keys])
    part = Part(TableName(mysql_database.name, "k"), (("a", PLAIN), ("v", PLAIN), ("b", PLAIN)), ("a", "b"), "sha256")
    with closing(comparison(mysql_database)) as session:
        session.types(part.table, [])
        assert session.values(part, keys[1:2]) == [(b"2", b"2", b"a")]
        check(session, replace(part, columns=(("a", PLAIN), ("b", PLAIN))), keys)


@pytest.mark.parametrize(
    ("type_", "key", "theirs"),
    [
        ("tinyint", "1", "t"),
        ("bit(1)", "1", "t"),
        ("datetime(6)", "2026-02-28 10:20:30.500000", "2026-02-28 10:20:30.5+00"),
        ("decimal(9,3)", "1.500", "1.5"),
        ("char(9)", "ab", "ab       "),
        ("bit(8)", "00000101", "00101"),
    ],
)
def test_keys_are_found_by_the_text_of_the_other_side(mysql_database: MysqlDatabase, type_: str, key: str, theirs: str) -> None:
    part = keyed(mysql_database, type_, [key])
    with closing(comparison(mysql_database)) as session:
        assert session.rows_at(part, [(theirs,)]).keys() == {0}
        assert session.digest(part, Span(None, (theirs,))).rows == 1


@pytest.mark.parametrize(
    ("type_", "theirs"),
    [("int", "abc"), ("int", "2147483648"), ("date", "0044-03-15 BC"), ("datetime", "infinity"), ("enum('a')", "b"),
     ("time", "1 mon"), ("varbinary(9)", "abc"), ("decimal(9,2)", "NaN")],
)  # fmt: skip
def test_a_key_that_is_no_value_of_the_column_is_told(mysql_database: MysqlDatabase, type_: str, theirs: str) -> None:
    part = keyed(mysql_database, type_, [])
    with closing(comparison(mysql_database)) as session, pytest.raises(SourceError) as told:
        session.rows_at(part, [(theirs,)])
    assert told.value.kind == "compare_impossible"
    assert theirs not in str(told.value)


def test_floating_point_keys_are_not_looked_up(mysql_database: MysqlDatabase) -> None:
    part = keyed(mysql_database, "double", ["0.1"])
    with closing(comparison(mysql_database)) as session:
        session.types(part.table, ["id"])
        assert not session.chunked(part)


def test_a_statement_ends_after_the_time_limit(mysql_database: MysqlDatabase) -> None:
    mysql_database.run("CREATE TABLE big (id int PRIMARY KEY, v text)", "INSERT INTO big VALUES (1, REPEAT('x', 60000))")
    for i in range(8):
        mysql_database.run(f"INSERT INTO big SELECT id + {1 << i}, v FROM big")
    part = Part(TableName(mysql_database.name, "big"), (("id", PLAIN), ("v", PLAIN)), ("id",), "sha256")
    with closing(comparison(mysql_database, timeout_s=0.005)) as session, pytest.raises(SourceError) as told:
        session.digest(part, Span())
    assert told.value.kind == "compare_timeout"


@pytest.fixture
def packet(mysql_database: MysqlDatabase) -> Iterator[int]:
    """A small `max_allowed_packet` for new sessions."""
    ((before,),) = mysql_database.rows("SELECT @@GLOBAL.max_allowed_packet")
    mysql_database.run("SET GLOBAL max_allowed_packet = 1048576")
    yield 1_048_576
    mysql_database.run(f"SET GLOBAL max_allowed_packet = {before}")


def test_what_the_server_can_not_put_together_is_never_equal(mysql_database: MysqlDatabase, packet: int) -> None:
    """A text longer than `max_allowed_packet` is NULL there, as MariaDB and MySQL have it."""
    half = packet * 5 // 8
    mysql_database.run(
        "CREATE TABLE long_ (id int PRIMARY KEY, a longtext, b longtext)",
        f"INSERT INTO long_ VALUES (1, REPEAT('x', {half}), NULL), (2, NULL, 'b')",
        "UPDATE long_ SET b = a WHERE id = 1",
    )
    table = TableName(mysql_database.name, "long_")
    together = Part(table, (("id", PLAIN), ("a", PLAIN), ("b", PLAIN)), ("id",), "sha256")
    hashed = Part(table, (("id", PLAIN), ("a", Form("digest")), ("b", Form("digest"))), ("id",), "sha256")
    with closing(comparison(mysql_database)) as session:
        assert session.digest(hashed, Span()).rows == 2
        with pytest.raises(SourceError, match="max_allowed_packet") as told:
            session.digest(together, Span())
        assert told.value.kind == "compare_impossible"
        with pytest.raises(SourceError, match="max_allowed_packet"):
            session.rows(together, Span(), 10)
        with pytest.raises(SourceError, match="max_allowed_packet"):
            session.rows_at(together, [("1",)])
        assert session.rows_at(together, [("2",)]).keys() == {0}


def test_spans_and_keys_are_found_by_the_index(mysql_database: MysqlDatabase) -> None:
    """Counted in rows that the server reads, for keys of one and of two columns."""
    mysql_database.run(
        "CREATE TABLE one (id varchar(20) CHARSET latin1 PRIMARY KEY)",
        "INSERT INTO one WITH RECURSIVE n AS (SELECT 10001 i UNION ALL SELECT i + 1 FROM n WHERE i < 11000) SELECT CONCAT('k', i) FROM n",
        "CREATE TABLE two (a bigint, b datetime(6), PRIMARY KEY (a, b))",
        "INSERT INTO two SELECT FLOOR(SUBSTR(id, 2) / 100), '2026-01-01' + INTERVAL SUBSTR(id, 2) SECOND FROM one",
    )
    parts = [
        Part(TableName(mysql_database.name, "one"), (("id", PLAIN),), ("id",), "sha256"),
        Part(TableName(mysql_database.name, "two"), (("a", PLAIN), ("b", PLAIN)), ("a", "b"), "sha256"),
    ]
    with closing(comparison(mysql_database)) as session:
        for part in parts:
            keys = list(session.rows(part, Span(), 1000))
            before = rows_read(session)
            assert session.digest(part, Span(keys[500], keys[520])).rows == 20
            between = rows_read(session)
            assert between - before < 200, part.table
            assert len(session.rows_at(part, keys[500:520])) == 20
            assert rows_read(session) - between < 200, part.table


def rows_read(session: MysqlComparison) -> int:
    """Rows that the session's statements have read at the storage engine."""
    return sum(int(value) for _, value in session._ask("SHOW SESSION STATUS LIKE 'Handler_read%'"))


def test_a_ci_collation_orders_keys_as_the_server_does(mysql_database: MysqlDatabase) -> None:
    """Chunks follow one another in the order of the key's own collation, and together hold every row once."""
    keys = ["a", "B", "c", "D", "É", "f"]
    part = keyed(mysql_database, "varchar(9) COLLATE utf8mb4_unicode_ci", keys)
    with closing(comparison(mysql_database)) as session:
        total, after = Digest(), None
        while True:
            upto = session.bound(part, Span(after), 2)
            one = session.digest(part, Span(after, upto))
            total = Digest(total.rows + one.rows, total.total + one.total)
            if upto is None:
                break
            after = upto
        assert total == session.digest(part, Span())
        assert total.rows == len(keys)
