"""Every type of MariaDB and MySQL: the value that the log brings is the one that a SELECT returns, in both forms of the decoder (P8)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from headwater.clusters import MysqlServer
from headwater.wire.binlog_events import TableMap
from headwater.wire.binlog_values import ColumnPlan
from tests import binlogs
from tests.databases import MysqlDatabase
from tests.wire.decoder_forms import both

PLAIN, BYTES, BITS, INSTANT, DOUBLE, NUMBER = (
    "CONVERT(v USING utf8mb4)", "CONCAT('\\\\x', LOWER(HEX(v)))", "LPAD(CONV(HEX(v), 16, 2), {width}, '0')", "CONCAT(v, '+00')",
    "CONCAT(CAST(v AS DOUBLE), '')", "CONCAT(v + 0, '')",
)  # fmt: skip
"""What makes the common text of a value in SQL."""


@dataclass(frozen=True)
class Case:
    """A type, SQL literals of it, and what makes their text. `only` one flavour has it, `since` a version."""

    type: str
    values: tuple[str, ...]
    text: str = PLAIN
    only: str = ""
    form: str = ""
    since: tuple[int, int] = (0, 0)


def integers(name: str, bits: int) -> list[Case]:
    top = 1 << bits - 1
    signed = Case(name, (f"{-top}", "-1", "0", "1", f"{top - 1}"))
    return [signed, Case(f"{name} UNSIGNED", ("0", f"{top}", f"{2 * top - 1}")), Case(f"{name} UNSIGNED ZEROFILL", ("0", "7"), NUMBER)]


def decimals() -> list[Case]:
    found = []
    for precision, scale in (
        (1, 0),
        (1, 1),
        (9, 0),
        (10, 0),
        (9, 9),
        (10, 9),
        (12, 2),
        (18, 9),
        (19, 10),
        (30, 7),
        (65, 0),
        (65, 30),
        (65, 38),
    ):
        if scale > 30:
            continue
        nines = "9" * (precision - scale) + ("." + "9" * scale if scale else "")
        small = "0." + "0" * (scale - 1) + "1" if scale else "1"
        middle = "1" + "0" * (precision - scale - 1) if precision > scale else "0"
        values = tuple(dict.fromkeys((nines, f"-{nines}", "0", small, f"-{small}", middle, f"-{middle}")))
        found.append(Case(f"DECIMAL({precision},{scale})", values))
    return found


def times() -> list[Case]:
    found = []
    for digits in range(7):
        fraction = "." + "123456"[:digits] if digits else ""
        nines = "." + "9" * digits if digits else ""
        dates = (
            "0000-00-00 00:00:00",
            "2024-00-00 00:00:00",
            f"1000-01-01 00:00:00{fraction}",
            f"9999-12-31 23:59:59{nines}",
            f"2024-02-29 12:34:56{fraction}",
        )
        stamps = (
            "0000-00-00 00:00:00",
            f"1970-01-01 00:00:01{fraction}",
            f"2038-01-19 03:14:07{nines}",
            f"2024-02-29 23:59:59{fraction}",
            "2000-12-31 00:00:00",
            "2001-03-01 00:00:00",
        )
        clocks = (
            "00:00:00",
            f"-838:59:58{nines}",
            f"838:59:58{nines}",
            f"-00:00:00{fraction}",
            f"-00:00:01{fraction}",
            f"12:34:56{fraction}",
            f"-12:00:59{nines}",
            "-100:00:00",
        )
        found.append(Case(f"DATETIME({digits})", tuple(f"'{value}'" for value in dates)))
        found.append(Case(f"TIMESTAMP({digits}) NULL", tuple(f"'{value}'" for value in stamps), INSTANT))
        found.append(Case(f"TIME({digits})", tuple(f"'{value}'" for value in clocks)))
    return found


TEXT = ["''", "'a'", "' padded '", "'tab\\tnewline\\nbackslash\\\\'"]
EVERY_BYTE = "X'" + bytes(range(256)).hex() + "'"

CASES = [
    *integers("TINYINT", 8), *integers("SMALLINT", 16), *integers("MEDIUMINT", 24), *integers("INT", 32), *integers("BIGINT", 64),
    *decimals(), *times(),
    Case("DOUBLE", ("0", "-0e0", "1", "-1.5", "0.1", "1e15", "1e14", "123456789012345.6", "1e16", "1e-14", "1e-15", "1e-16", "5e-324",
        "1.7976931348623157e308", "0.30000000000000004", "-100", "1e22", "1234567890123456789")),
    Case("FLOAT", ("0", "1", "0.1", "-1.5", "3.4028234e38", "1.17549435e-38", "16777216", "123456.789"), DOUBLE),
    Case("YEAR", ("0", "1901", "2155", "2026"), NUMBER),
    Case("DATE", ("'0000-00-00'", "'2024-00-10'", "'1000-01-01'", "'9999-12-31'", "'2024-02-29'")),
    *(Case(f"BIT({bits})", ("0", "1", f"{(1 << bits) - 1}"), BITS.format(width=bits)) for bits in (1, 7, 8, 9, 31, 64)),
    Case("CHAR(5)", ("''", "'a'", "'ab  '", "'äöü€𝄞'")), Case("CHAR(255)", ("''", "REPEAT('€', 255)")),
    Case("VARCHAR(63)", (*TEXT, "REPEAT('𝄞', 63)")), Case("VARCHAR(64)", ("REPEAT('𝄞', 64)", "''")),
    Case("VARCHAR(1000) CHARACTER SET ascii", ("REPEAT('x', 1000)", "'y'")),
    Case("BINARY(5)", ("''", "'a'", "X'0000000000'", "X'61000000FF'"), BYTES), Case("BINARY(255)", (EVERY_BYTE[:-3] + "'", "''"), BYTES),
    Case("VARBINARY(300)", (EVERY_BYTE, "''", "X'00'"), BYTES), Case("VARBINARY(10)", ("X'0000'", "'ab'"), BYTES),
    Case("TINYBLOB", ("''", "X'00ff'"), BYTES), Case("BLOB", (EVERY_BYTE, "REPEAT('x', 65535)"), BYTES),
    Case("MEDIUMBLOB", (EVERY_BYTE, "REPEAT('x', 65536)"), BYTES), Case("LONGBLOB", (EVERY_BYTE, "''"), BYTES),
    Case("TINYTEXT", tuple(TEXT)), Case("TEXT", (*TEXT, "REPEAT('€', 20000)")), Case("MEDIUMTEXT", ("REPEAT('€', 30000)",)),
        Case("LONGTEXT", tuple(TEXT)),
    Case("ENUM('a','b,c','äö','')", ("'a'", "'b,c'", "'äö'", "''", "0")), Case("ENUM('x','y') CHARACTER SET latin1", ("'y'",)),
    Case("ENUM(" + ",".join(f"'l{i}'" for i in range(300)) + ")", ("'l0'", "'l299'")),
    Case("SET('a','b','äö')", ("''", "'a'", "'a,äö'", "'a,b,äö'")),
        Case("SET(" + ",".join(f"'l{i}'" for i in range(64)) + ")", ("'l0,l63'", "18446744073709551615")),
    *(Case(f"VARCHAR(50) CHARACTER SET {charset}", ("''", "'plain'", *values)) for charset, values in {
        "latin1": ("X'8081828d8f909dffe9'", "'café €'"), "latin2": ("'Łódź žluťoučký'",), "cp1251": ("'Привет'",), "koi8r": ("'Привет'",),
        "greek": ("'Ελλάδα'",), "hebrew": ("'שלום'",), "gbk": ("'中文字符'",), "gb2312": ("'中文'",), "big5": ("'中文字'",),
        "sjis": ("'日本語ｱｲｳ'",),
        "cp932": ("'日本語①'",), "ujis": ("'日本語'",), "eucjpms": ("'日本語①'",), "euckr": ("'한국어'",), "tis620": ("'ไทย'",),
        "utf8mb3": ("'€'",),
        "ucs2": ("'€a'",), "utf16": ("'€𝄞'",), "utf16le": ("'€𝄞'",), "utf32": ("'€𝄞'",), "cp850": ("'é'",), "cp852": ("'Ł'",),
        "cp866": ("'Привет'",),
        "cp1250": ("'Łódź'",), "cp1256": ("'سلام'",), "cp1257": ("'Ąž'",), "latin5": ("'ğş'",), "latin7": ("'Ąž'",),
        "macroman": ("'é'",), "koi8u": ("'Їжак'",),
        "hp8": ("'é'",), "macce": ("'Ł'",),
    }.items()),
    Case("VARCHAR(50) CHARACTER SET gb18030", ("'中文𝄞€'", "''"), only="mysql"), Case("TEXT CHARACTER SET utf16", ("'€𝄞'",)),
        Case("CHAR(9) CHARACTER SET ucs2", ("'€a '",)),
    Case("GEOMETRY", ("ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1,2 0)', 0)"), BYTES),
    Case("POINT", ("ST_GeomFromText('POINT(-1.5 2)')",), BYTES),
    Case("UUID", ("'123e4567-e89b-12d3-a456-426614174000'", "'00000000-0000-0000-0000-000000000000'",
        "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'0189dcd5-5311-7d40-8db0-9496a2eef37b'"), only="mariadb", form="uuid", since=(10, 7)),
    Case("INET4", ("'0.0.0.0'", "'255.255.255.255'", "'192.168.1.2'", "'1.0.0.0'"), only="mariadb", form="inet4", since=(10, 10)),
    Case("INET6", ("'::'", "'::1'", "'2001:db8::ff00:42:8329'", "'::ffff:192.0.2.128'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'",
        "'::1.2.3.4'", "'1:0:0:2:0:0:0:3'", "'fe80::'"), only="mariadb", form="inet6"),
    Case("VARCHAR(500) COMPRESSED", ("''", "'short'", "REPEAT('ab€', 100)"), only="mariadb"), Case("TEXT COMPRESSED", ("''", "'x'",
        "REPEAT('€', 10000)"), only="mariadb"),
    Case("BLOB COMPRESSED", ("''", EVERY_BYTE, "REPEAT('x', 65535)"), BYTES, only="mariadb"),
        Case("VARBINARY(20) COMPRESSED", ("'aaaaaaaaaaaaaaaaaaaa'", "X'00'"), BYTES, only="mariadb"),
    Case("JSON", ("'{\"b\": 1, \"a\": [1, 2.50, null, true]}'", "'[]'")),
    Case("JSON", (
        "'null'", "'true'", "'false'", "'1'", "'-1'", "'32768'", "'-32769'", "'2147483648'", "'-2147483649'", "'9223372036854775807'",
        "'18446744073709551615'",
        "'1.0'", "'0.1'", "'1e100'", "'1e15'", "'123456789012345678901234567890'", "'\"text\"'", "'\"\"'", "'{}'",
        "'[[[]]]'", r"""'"\\b\\f\\n\\r\\t\\"\\\\\\u0001\\u001f€𝄞/"'""",
        "'{\"aa\": 1, \"b\": {\"c\": []}, \"\": 0}'", "CAST(1.50 AS JSON)", "CAST(CAST('2024-02-29' AS DATE) AS JSON)",
        "CAST(TIMESTAMP'2024-02-29 12:34:56.789' AS JSON)",
        "CAST(TIME'-12:34:56.5' AS JSON)", "JSON_ARRAY(X'00ff', b'101', 'x')",
        "JSON_OBJECT('k', REPEAT('x', 70000), 'l', REPEAT('y', 200))", "JSON_ARRAY(CAST(-0.000 AS DECIMAL(20,10)), 12.345)",
    ), only="mysql"),
    Case("VECTOR(3)", ("STRING_TO_VECTOR('[1,2,3]')",), BYTES, only="mysql"),
    Case("VECTOR(3)", ("VEC_FromText('[1,2,3]')",), BYTES, only="mariadb", since=(11, 7)),
    Case("TIMESTAMP", ("'2106-02-07 06:28:15'",), INSTANT, only="mariadb", since=(11, 5)),
]  # fmt: skip


def flavour(server: MysqlServer) -> str:
    return server.product.lower()


def test_every_type_comes_as_a_select_shows_it(mysql_database: MysqlDatabase) -> None:
    server = mysql_database.cluster
    cases = [case for case in CASES if case.only in ("", flavour(server)) and server.installation.version >= case.since]
    tables = {f"t{i}": case for i, case in enumerate(cases)}
    made = [f"CREATE TABLE {name} (id INT PRIMARY KEY, v {case.type})" for name, case in tables.items()]
    written = [
        f"INSERT INTO {name} VALUES " + ", ".join(f"({i}, {value})" for i, value in enumerate([*case.values, "NULL"]))
        for name, case in tables.items()
    ]
    modes = ["SET sql_mode = ''", "SET time_zone = '+00:00'"]
    found = binlogs.recorded(server, written, mysql_database.name, modes + made)
    expected, wrong = {}, []
    with mysql_database.connect() as session, session.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        for name, case in tables.items():
            cursor.execute(f"SELECT {case.text} FROM {name} ORDER BY id")
            expected[name] = [
                None if value is None else value if isinstance(value, bytes) else str(value).encode() for (value,) in cursor.fetchall()
            ]

    def adjust(table: TableMap, columns: list[ColumnPlan]) -> list[ColumnPlan]:
        return [columns[0], replace(columns[1], form=tables[table.name].form)]

    plan = binlogs.planner(server, adjust=adjust)
    for form in both("binlog"):
        read = binlogs.read(form, found, plan)
        assert not read.error
        values: dict[str, list[Any]] = {name: [] for name in tables}
        for name, _, (_, value) in read.rows:
            values[name].append(value)
        wrong += [(case.type, g, w) for name, case in tables.items() for g, w in zip(values[name], expected[name], strict=True) if g != w]
    assert wrong == []
