"""Forms of values between kinds of databases: equal values have equal hashes on real servers, and others have not.

Each case is a pair of column types with values that mean the same, and values that don't. `forms` says in which forms they are compared,
in each direction in which such columns are joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from headwater.clusters import MysqlServer
from headwater.domain.comparing import DIGEST, PLAIN, forms
from headwater.domain.tables import TableName
from headwater.ports.compare import Comparison, Part, Span
from tests.conftest import DatabaseFactory
from tests.contract.test_compare_contract import mysql_source, postgres_source
from tests.databases import Database, MysqlDatabase

Values = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Case:
    """Types of MySQL and PostgreSQL, and pairs of values in SQL. `to`: where the target may be; `only`: servers that have the type."""

    mysql: str
    postgres: str
    equal: Values
    unequal: Values
    to: str = "postgres mysql"
    only: str = "mariadb mysql"


def same(*values: str) -> Values:
    """Values that both write alike."""
    return [(value, value) for value in values]


CASES = (
    Case("tinyint", "smallint", same("-128", "127"), [("1", "2")]),
    Case("tinyint(1)", "boolean", [("1", "true"), ("0", "false")], [("1", "false"), ("5", "true")]),
    Case("bigint unsigned", "numeric(20)", same("18446744073709551615", "0"), [("18446744073709551615", "18446744073709551614")]),
    Case("int(8) unsigned zerofill", "bigint", same("42", "0"), [("42", "420")]),
    Case("int", "text", [("-7", "'-7'")], [("-7", "'7'")], to="postgres"),
    Case("bigint", "double precision", same("-7", "4503599627370497"), [("7", "7.5")], to="postgres"),
    Case("year", "integer", same("2026", "0"), [("2026", "2025")]),
    Case("decimal(12,3)", "numeric", same("1.5", "-0.001", "0", "100"), [("1.5", "1.501"), ("1", "10"), ("0", "'NaN'")]),
    Case("decimal(12,3)", "numeric(14,5)", same("1.5", "-0.001", "0.000", "1200"), [("1.5", "1.50001")]),
    Case("decimal(5,0)", "numeric", same("100", "0"), [("100", "1"), ("100", "100.5")]),
    Case("decimal(65,30)", "numeric", same("-12345678901234567890123456789012345.000000000000000000000000000001"), [("1", "1.1")]),
    Case("decimal(8,2) unsigned zerofill", "numeric", same("0.5", "12.25"), [("12.25", "12")]),
    Case("decimal(8,3)", "text", [("1.5", "'1.500'")], [("1.5", "'1.5'")], to="postgres"),
    Case("double", "double precision", same("0.1", "1e300", "-2.5e-308", "123456789012345678", "5e-324", "0"), [("0.1",
         "0.10000000000000002")]),
    Case("double", "double precision", [("-0e0", "0"), ("0", "'-0'")], [("0", "'NaN'"), ("1e308", "'Infinity'")]),
    Case("float", "real", same("0.1", "16777216", "1.1754944e-38", "-3.4e38"), [("0.1", "0.10000001"), ("16777214", "16777216")]),
    Case("float", "double precision", [("0.1", "0.10000000149011612")], [("0.1", "0.1")], to="postgres"),
    Case("double", "numeric", same("0.1", "1e22", "-123.456", "0"), [("0.1", "0.10000000000000000001"),
         ("1e22", "1e22 + 1")], to="postgres"),
    Case("varchar(50)", "text", same("''", "'ü𝄞\t'", "'a '", "'1:2,-'"), [("'a'", "'a '"), ("'a'", "'A'"), ("'u'", "'ü'"), ("''", "NULL")]),
    Case("varchar(50) charset latin1", "varchar(50)", same("'€ü'"), [("'€'", "'?'")]),
    Case("text charset utf16", "text", same("'ü𝄞'"), [("'ü'", "'u'")]),
    Case("text charset gbk", "text", same("'中文'"), [("'中'", "'文'")]),
    Case("char(5)", "character(7)", same("'ab'", "''"), [("'ab'", "'abc'")]),
    Case("varchar(9)", "character(4)", [("'ab  '", "'ab'")], [("'ab'", "'ab'")], to="mysql"),
    Case("longtext", "text", [("REPEAT('ü', 70000)", "repeat('ü', 70000)"), ("''", "''")], [("REPEAT('a', 70000)", "repeat('a', 70001)")]),
    Case("varbinary(20)", "bytea", [("X'00FF'", r"'\x00ff'"), ("''", r"'\x'")], [("X'00'", r"'\x'")]),
    Case("binary(4)", "bytea", [("X'61'", r"'\x61000000'")], [("X'61'", r"'\x61'")]),
    Case("longblob", "bytea", [("REPEAT(X'FF', 70000)", r"('\x' || repeat('ff', 70000))::bytea")], [("X'00'", r"'\x01'")]),
    Case("point", "bytea", [("POINT(1, 2)", r"'\x000000000101000000000000000000f03f0000000000000040'")], [("POINT(1, 2)", r"'\x00'")]),
    Case("bit(5)", "bit(5)", [("b'101'", "B'00101'"), ("0", "B'00000'")], [("b'101'", "B'10100'")]),
    Case("bit(64)", "bit varying", [(f"b'1{'0' * 63}'", f"B'1{'0' * 63}'")], [("b'1'", f"B'1{'0' * 63}'")], to="postgres"),
    Case("bit(8)", "bit(5)", [("b'101'", "B'00101'"), ("0", "B'00000'")], [("b'101'", "B'10100'")], to="mysql"),
    Case("bit(1)", "boolean", [("1", "true"), ("0", "false")], [("1", "false")]),
    Case("bit(3)", "text", [("1", "'001'")], [("1", "'1'")], to="postgres"),
    Case("date", "date", same("'0001-01-01'", "'2026-02-28'", "'9999-12-31'"), [("'2026-02-28'", "'2026-03-01'"),
         ("'0044-03-15'", "'0044-03-15 BC'")]),
    Case("date", "timestamp", same("'2026-02-28'"), [("'2026-02-28'", "'2026-02-28 00:00:01'")], to="postgres"),
    Case("datetime", "timestamp(0)", same("'2026-02-28 10:20:30'", "'1000-01-01 00:00:00'"), [("'2026-02-28 10:20:30'",
         "'2026-02-28 10:20:31'")]),
    Case("datetime(6)", "timestamp", same("'2026-02-28 10:20:30.5'", "'2026-02-28 10:20:30'", "'2026-02-28 10:20:30.000001'"),
         [("'2026-02-28 10:20:30'", "'2026-02-28 10:20:30.000001'"), ("'9999-12-31'", "'infinity'")]),
    Case("datetime(3)", "timestamptz(3)", [("'2026-02-28 10:20:30.12'", "'2026-02-28 11:20:30.12+01'")],
         [("'2026-02-28 10:20:30'", "'2026-02-28 10:20:30+01'")]),
    Case("timestamp(6) NULL", "timestamptz", [("'2026-03-29 01:30:00.5'", "'2026-03-29 02:30:00.5+01'")],
         [("'2026-03-29 01:30:00'", "'2026-03-29 01:30:01+00'")]),
    Case("timestamp NULL", "timestamp", same("'2026-03-29 02:30:00'"), [("'2026-03-29 02:30:00'", "'2026-03-29 01:30:00'")]),
    Case("timestamp(3) NULL", "text", [("'2026-03-29 02:30:00.5'", "'2026-03-29 02:30:00.500+00'")],
         [("'2026-03-29 02:30:00'", "'2026-03-29 02:30:00'")], to="postgres"),
    Case("time(6)", "time", same("'23:59:59.999999'", "'00:00:00'", "'10:00:00.5'"), [("'10:00:00'", "'10:00:00.000001'")]),
    Case("time(3)", "interval", [("'-838:59:58.5'", "'-838:59:58.5'"), ("'26:00:00'", "'1 day 02:00:00'"),
         ("'22:00:00'", "'1 day -02:00:00'"),
         ("'-00:00:00.5'", "'-0.5 s'"), ("'00:00:00'", "'0'")], [("'26:00:00'", "'1 mon 02:00:00'"), ("'24:00:00'", "'1 mon'"),
         ("'1:00:00'", "'2:00:00'")]),
    Case("enum('a','B''c')", "text", [("'a'", "'a'"), ("'B''c'", "'B''c'")], [("'a'", "'A'")]),
    Case("set('x','y')", "varchar(9)", [("'y,x'", "'x,y'"), ("''", "''")], [("'x'", "'x,y'")]),
    Case("char(36)", "uuid", [("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'")],
         [("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'")], to="postgres"),
    Case("varchar(40)", "uuid", same("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"), [("'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11'",
         "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'")], to="mysql"),
    Case("uuid", "uuid", same("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"), [("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
         "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'")], only="mariadb"),
    Case("inet6", "inet", same("'2001:db8::1:0:0:1'", "'::'", "'::ffff:1.2.3.4'"), [("'::1'", "'::1/64'"),
         ("'::1'", "'::2'")], only="mariadb"),
    Case("inet4", "inet", same("'10.0.0.1'"), [("'10.0.0.1'", "'10.0.0.1/8'")], only="mariadb"),
    Case("json", "json", [("'{\"b\": 1,  \"a\": [1.50]}'",) * 2], [("'{\"a\": 1}'", "'{\"a\":1}'")], only="mariadb"),
    Case("json", "jsonb", [("'{\"a\": 2, \"bb\": 1.50}'", "'{\"bb\": 1.50,  \"a\": 2}'")],
         [("'{\"a\": 1}'", "'{\"a\": 2}'")], to="mysql", only="mariadb"),
    Case("json", "json", [("'{\"b\": 1,  \"a\": [1, null]}'", "'{\"a\": [1, null], \"b\": 1}'")],
         [("'{\"a\": 1}'", "'{\"a\":1}'")], to="postgres", only="mysql"),
    Case("varchar(9)", "boolean", [("'t'", "true")], [("'true'", "true")], to="mysql"),
    Case("varchar(40)", "timestamptz", [("'2026-02-28 10:20:30.5+00'", "'2026-02-28 10:20:30.5+00'")],
         [("'2026-02-28'", "'2026-02-28+00'")], to="mysql"),
    Case("text", "integer[]", [("'{1,NULL}'", "'{1,NULL}'")], [("'{1}'", "'{1,1}'")], to="mysql"),
    Case("varchar(40)", "inet", [("'10.0.0.1'", "'10.0.0.1'")], [("'10.0.0.1/32'", "'10.0.0.1'")], to="mysql"),
)  # fmt: skip


@dataclass
class Side:
    """A session with its table `many`, which has a column for each case."""

    session: Comparison
    table: TableName
    types: dict[str, str]

    def hashes(self, column: str, part: Part) -> dict[str, int]:
        """The rows' hashes by id."""
        return {key[0]: one.total for key, one in self.session.rows(part, Span(), 1000).items()}


def filled(types: Sequence[str], values: Sequence[Sequence[str]], text: str) -> list[str]:
    """The statements that make `many`: column `c<i>` of each type, its values from row 1 on."""
    columns = ", ".join(f"c{i} {type_}" for i, type_ in enumerate(types))
    rows = max(map(len, values))
    listed = [", ".join([str(at), *(of[at] if at < len(of) else "NULL" for of in values)]) for at in range(rows)]
    return [f"CREATE TABLE many (id {text} PRIMARY KEY, {columns})", *(f"INSERT INTO many VALUES ({row})" for row in listed)]


def sides(mysql: MysqlDatabase, postgres: Database, cases: Sequence[Case]) -> tuple[Side, Side]:
    """Both servers with the cases' values; the caller closes the sessions."""
    every = [[*case.equal, *case.unequal] for case in cases]
    mysql.run("SET time_zone = '+00:00'", *filled([c.mysql for c in cases], [[m for m, _ in of] for of in every], "int"))
    postgres.run(*filled([c.postgres for c in cases], [[p for _, p in of] for of in every], "int"))
    names = [f"c{i}" for i in range(len(cases))]
    ours, theirs = mysql_source(mysql).compare(10.0), postgres_source(postgres).compare(10.0)
    here, there = TableName(mysql.name, "many"), TableName("public", "many")
    return Side(ours, here, ours.types(here, names)), Side(theirs, there, theirs.types(there, names))


def check(source: Side, target: Side, column: str, case: Case) -> list[str]:
    """What is wrong with a case in one direction."""
    name = f"{source.types[column]} to {target.types[column]}"
    found = forms(source.types[column], target.types[column])
    if found is None:
        return [f"{name}: not compared"]
    ours, theirs = (
        side.hashes(column, Part(side.table, (("id", PLAIN), (column, form)), ("id",), "sha256"))
        for side, form in zip((source, target), found, strict=True)
    )
    values = [*case.equal, *case.unequal]
    wrong = [value for at, value in enumerate(values) if (ours[str(at)] == theirs[str(at)]) != (at < len(case.equal))]
    return [f"{name}: {value}" for value in wrong]


def test_equal_values_have_equal_hashes_and_others_have_not(
    mysql_like: MysqlServer, newest_database: Database, make_database: DatabaseFactory
) -> None:
    mysql_database = make_database(mysql_like)
    flavour = mysql_like.installation.flavour
    too_new = {"uuid": (10, 7), "inet4": (10, 10)} if flavour == "mariadb" else {}
    cases = [case for case in CASES if flavour in case.only and mysql_like.installation.version >= too_new.get(case.mysql, (0, 0))]
    mysql, postgres = sides(mysql_database, newest_database, cases)
    wrong = []
    with closing(mysql.session), closing(postgres.session):
        for at, case in enumerate(cases):
            if "postgres" in case.to:
                wrong += check(mysql, postgres, f"c{at}", case)
            if "mysql" in case.to:
                wrong += check(postgres, mysql, f"c{at}", case)
    assert not wrong, "\n".join(wrong)


TWICE = ("varchar(50)", "text", "longtext", "blob", "point", "json", "double", "float", "bit(8)", "decimal(12,3)", "datetime(3)",
         "timestamp(6) NULL",
         "date", "time(2)", "year", "enum('a','b')", "set('a','b')")  # fmt: skip
VALUES = ("'ü'", "'a '", "''", "X'00FF'", "POINT(1, -2)", """'{"a": "ü", "b": [1, 2.5]}'""", "-0.1", "0.1", "b'101'", "-1.5",
         "'2026-02-28 10:20:30.5'",
          "'2026-02-28 10:20:30.5'", "'0000-00-00'", "'-26:00:00.5'", "2026", "'b'", "'a,b'")  # fmt: skip


def test_mariadb_and_mysql_agree(mariadb: MysqlServer, mysql: MysqlServer, make_database: DatabaseFactory) -> None:
    """All but JSON, which only MySQL writes in its own way."""
    databases = [make_database(mariadb), make_database(mysql)]
    found = []
    for database in databases:
        database.run("SET time_zone = '+00:00', sql_mode = ''", *filled(TWICE, [[one, "NULL"] for one in VALUES], "int"))
        names = [f"c{i}" for i in range(len(TWICE))]
        session, table = mysql_source(database).compare(10.0), TableName(database.name, "many")
        found.append(Side(session, table, session.types(table, names)))
    ours, theirs = found
    with closing(ours.session), closing(theirs.session):
        for at, name in enumerate(TWICE):
            column = f"c{at}"
            pairs = [forms(source.types[column], target.types[column]) for source, target in ((ours, theirs), (theirs, ours))]
            if name == "json":
                assert pairs == [None, (DIGEST, DIGEST)]
                continue
            assert None not in pairs, name
            for one, two in filter(None, pairs):
                here, there = (
                    Part(side.table, (("id", PLAIN), (column, form)), ("id",), "sha256") for side, form in ((ours, one), (theirs, two))
                )
                assert ours.hashes(column, here) == theirs.hashes(column, there), name
