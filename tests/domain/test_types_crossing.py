"""Which column types may be joined where MySQL or MariaDB are on either side, and which type is suggested."""

from __future__ import annotations

from itertools import product

import pytest

from headwater.domain.best_types import Family, best
from headwater.domain.kinds import MYSQL, kind_of
from headwater.domain.types import compatible, fits

ALLOWED = [
    # MySQL to PostgreSQL
    ("mysql:tinyint(1)", "boolean"),
    ("mysql:tinyint", "smallint"),
    ("mysql:bigint unsigned", "numeric(20,0)"),
    ("mysql:bigint unsigned", "bigint"),  # rows beyond are refused
    ("mysql:bigint", "integer"),
    ("mysql:int unsigned", "double precision"),
    ("mysql:mediumint", "real"),
    ("mysql:int(11)", "integer"),
    ("mysql:year", "smallint"),
    ("mysql:decimal(65,30)", "numeric"),
    ("mysql:decimal(10,2)", "numeric(8,2)"),
    ("mysql:decimal(10,0)", "bigint"),
    ("mysql:float", "real"),
    ("mysql:float", "double precision"),
    ("mysql:float", "numeric"),
    ("mysql:double", "double precision"),
    ("mysql:bit(1)", "boolean"),
    ("mysql:bit(64)", "bit(64)"),
    ("mysql:bit(64)", "bit varying"),
    ("mysql:varchar(20) gbk", "text"),
    ("mysql:longtext utf8mb4", "character varying(10)"),
    ("mysql:char(3) latin1", "character(3)"),
    ("mysql:varchar(36) utf8mb4", "uuid"),
    ("mysql:text utf8mb4", "jsonb"),
    ("mysql:json", "jsonb"),
    ("mysql:json", "text"),
    ("mysql:binary(16)", "bytea"),
    ("mysql:longblob", "bytea"),
    ("mysql:point", "bytea"),
    ("mysql:date", "date"),
    ("mysql:datetime(6)", "timestamp without time zone"),
    ("mysql:datetime", "timestamp(0) without time zone"),
    ("mysql:datetime(3)", "timestamp with time zone"),
    ("mysql:timestamp(6)", "timestamp with time zone"),
    ("mysql:timestamp(6)", "timestamp without time zone"),
    ("mysql:time(6)", "interval"),
    ("mysql:time(6)", "interval day to second(6)"),
    ("mysql:time(6)", "time without time zone"),  # negative and long ones are refused
    ("mysql:enum('a','b') utf8mb4", "enum"),
    ("mysql:enum('a','b') utf8mb4", "text"),
    ("mysql:set('a','b') utf8mb4", "text"),
    ("mysql:uuid", "uuid"),
    ("mysql:inet4", "inet"),
    ("mysql:inet6", "inet"),
    # PostgreSQL to MySQL
    ("boolean", "mysql:tinyint(1)"),
    ("boolean", "mysql:bit(1)"),
    ("bigint", "mysql:bigint unsigned"),
    ("oid", "mysql:int unsigned"),
    ("numeric", "mysql:decimal(65,30)"),
    ("numeric(12,2)", "mysql:decimal(12,4)"),
    ("numeric(12,0)", "mysql:int"),
    ("numeric(5,-2)", "mysql:decimal(7,0)"),
    ("real", "mysql:float"),
    ("double precision", "mysql:double"),
    ("text", "mysql:varchar(20) latin1"),
    ("character(3)", "mysql:char(3) utf8mb4"),
    ("uuid", "mysql:char(36) ascii"),
    ("uuid", "mysql:uuid"),
    ("inet", "mysql:inet6"),
    ("bytea", "mysql:longblob"),
    ("bytea", "mysql:varbinary(16)"),
    ("bytea", "mysql:point"),
    ("bit(3)", "mysql:bit(3)"),
    ("jsonb", "mysql:json"),
    ("jsonb", "mysql:longtext utf8mb4"),
    ("integer[]", "mysql:longtext utf8mb4"),
    ("int4range", "mysql:varchar(50) utf8mb4"),
    ("enum", "mysql:enum('a') utf8mb4"),
    ("text", "mysql:set('a') utf8mb4"),
    ("date", "mysql:datetime"),
    ("timestamp without time zone", "mysql:datetime(6)"),
    ("timestamp with time zone", "mysql:timestamp(6)"),
    ("timestamp(0) with time zone", "mysql:datetime"),
    ("interval", "mysql:time(6)"),
    # MySQL to MySQL
    ("mysql:bit(3)", "mysql:bit(8)"),
    ("mysql:bigint unsigned", "mysql:bigint"),
    ("mysql:float", "mysql:double"),
    ("mysql:binary(16)", "mysql:varbinary(16)"),
    ("mysql:point", "mysql:geometry"),
    ("mysql:geometry", "mysql:polygon"),
    ("mysql:geomcollection", "mysql:geometrycollection"),
    ("mysql:year", "mysql:year"),
    ("mysql:char(2) utf8mb4", "mysql:char(3) utf8mb4"),
    ("mysql:datetime(3)", "mysql:timestamp(3)"),
    ("mysql:vector(3)", "mysql:blob"),
]

REFUSED = [
    ("mysql:decimal(10,3)", "numeric(10,2)", "decimals beyond the 2 of the target would be rounded; make it numeric(10,3)"),
    ("mysql:decimal(10,2)", "integer", "decimals would be lost; make it numeric(10,2)"),
    ("mysql:decimal(10,2)", "double precision", "rounded"),
    ("mysql:bigint", "double precision", "large whole numbers would be rounded; make it bigint"),
    ("mysql:bigint unsigned", "real", "make it numeric(20,0)"),
    ("mysql:int", "real", "rounded"),
    ("mysql:double", "real", "rounded; make it double precision"),
    ("mysql:double", "numeric(12,4)", "rounded"),
    ("mysql:int", "boolean", "does not read"),
    ("mysql:int", "oid", "negative"),
    ("mysql:bit(8)", "smallint", "binary digits would be read as decimal ones; make it bit(8)"),
    ("mysql:bit(8)", "bit(16)", "exactly as many bits"),
    ("mysql:bit(8)", "bit varying(4)", "never fit"),
    ("mysql:bit(2)", "boolean", "does not read"),
    ("mysql:varchar(3) utf8mb4", "character(3)", "blanks; make it character varying(3)"),
    ("mysql:varchar(3) utf8mb4", "bytea", "not bytes"),
    ("mysql:blob", "text", "hexadecimal digits; make it bytea"),
    ("mysql:point", "text", "hexadecimal digits"),
    ("mysql:binary(16)", "uuid", "does not read the values of binary(16); make it bytea"),
    ("mysql:datetime", "date", "time of day would be lost; make it timestamp(0) without time zone"),
    ("mysql:datetime(6)", "timestamp(3) without time zone", "rounded to 3 decimals"),
    ("mysql:datetime", "time without time zone", "date would be lost"),
    ("mysql:time(6)", "interval(3)", "rounded to 3"),
    ("mysql:time", "interval year to month", "all but the year to month would be lost; make it interval(0)"),
    ("mysql:time", "timestamp without time zone", "does not read"),
    ("mysql:json", "uuid", "does not read"),
    ("mysql:set('a','b') utf8mb4", "text[]", "does not read"),
    ("mysql:inet6", "cidr", "does not read"),
    ("mysql:year", "date", "does not read"),
    ("boolean", "mysql:int", "make it tinyint(1)"),
    ("numeric", "mysql:decimal(20,4)", "decimals beyond the 4 of the target would be rounded; make it decimal(65,30)"),
    ("numeric(20,6)", "mysql:decimal(20,4)", "make it decimal(20,6)"),
    ("numeric(12,2)", "mysql:int", "decimals would be lost"),
    ("numeric", "mysql:double", "rounded"),
    ("double precision", "mysql:float", "rounded"),
    ("double precision", "mysql:decimal(65,30)", "rounded; make it double"),
    ("text", "mysql:char(20) utf8mb4", "blanks at the end"),
    ("text", "mysql:blob", "not bytes; make it longtext"),
    ("character(4)", "mysql:char(3) utf8mb4", "line feeds at the end of longer texts would be cut; make it char(4)"),
    ("bytea", "mysql:binary(16)", "zero bytes; make it longblob"),
    ("bytea", "mysql:longtext utf8mb4", "hexadecimal"),
    ("bit varying(8)", "mysql:bit(8)", "exactly as many bits"),
    ("timestamp without time zone", "mysql:datetime", "seconds would be rounded to 0 decimals; make it datetime(6)"),
    ("timestamp with time zone", "mysql:date", "time of day"),
    ("time with time zone", "mysql:time(6)", "does not read"),
    ("uuid", "mysql:binary(16)", "make it char(36)"),
    ("integer[]", "mysql:json", "does not read"),
    ("text", "mysql:int", "does not read"),
    ("mysql:binary(8)", "mysql:binary(16)", "zero bytes"),
    ("mysql:binary(16)", "mysql:varbinary(8)", "never fit"),
    ("mysql:point", "mysql:polygon", "does not read"),
    ("mysql:enum('a') utf8mb4", "mysql:set('a') utf8mb4", "does not read"),
    ("mysql:vector(3)", "mysql:vector(4)", "zero bytes"),
]

POSTGRES = [
    "smallint", "integer", "bigint", "oid", "numeric", "numeric(12,2)", "numeric(5,-2)", "numeric(40,35)", "real", "double precision",
    "money", "boolean", "text", "character varying(20)", "character varying(5000)", "character(3)", "name", "bytea", "uuid", "date",
    "timestamp without time zone", "timestamp(3) with time zone", "time without time zone", "time with time zone", "interval", "json",
    "jsonb", "xml", "inet", "cidr", "macaddr", "bit(3)", "bit(100)", "bit varying", "bit varying(5)", "enum", "row(integer)", "integer[]",
    "int4range", "tsvector", "point", "public.hstore",
]  # fmt: skip
MYSQLS = [
    "tinyint(1)", "tinyint", "smallint unsigned", "mediumint", "int", "bigint", "bigint unsigned", "decimal(65,30)", "float", "double",
    "bit(1)", "bit(64)", "year", "char(3) latin1", "varchar(20) utf8mb4", "varchar(60000) latin1", "tinytext gbk", "text utf8mb4",
    "longtext utf8mb4", "binary(16)", "varbinary(16)", "blob", "longblob", "date", "datetime", "datetime(6)", "timestamp", "timestamp(3)",
    "time", "time(6)", "json", "enum('a','b''c') utf8mb4", "set('a','b') utf8mb4", "uuid", "inet4", "inet6", "geometry", "point",
]  # fmt: skip
EVERY = [*POSTGRES, *(MYSQL + spelling for spelling in MYSQLS)]
FAMILIES: tuple[Family, ...] = ("postgres", "mysql", "mariadb")


@pytest.mark.parametrize(("source", "target"), ALLOWED)
def test_pairs_that_keep_values_or_refuse_rows_are_allowed(source: str, target: str) -> None:
    assert compatible(source, target) is None


@pytest.mark.parametrize(("source", "target", "reason"), REFUSED)
def test_pairs_that_would_change_values_are_refused_with_a_type_that_would_do(source: str, target: str, reason: str) -> None:
    found = compatible(source, target)
    assert found is not None
    assert reason in found


@pytest.mark.parametrize(("source", "family"), list(product(EVERY, FAMILIES)))
def test_the_best_type_takes_what_it_is_best_for(source: str, family: Family) -> None:
    """Texts and bytes of a key are shortened to what an index can hold: longer ones are refused by their rows."""
    for key_bytes in (0, 3072, 1000):
        better = best(kind_of(source), family, key_bytes)
        assert fits(source, better if family == "postgres" else MYSQL + better), better
        assert family == "mariadb" or better not in ("uuid", "inet4", "inet6") or family == "postgres"


def test_texts_of_a_key_fit_an_index() -> None:
    assert best(kind_of("text"), "mysql", 3072) == "varchar(768)"
    assert best(kind_of("text"), "mariadb", 1024) == "varchar(256)"
    assert best(kind_of("character varying(40)"), "mysql", 1536) == "varchar(40)"
    assert best(kind_of("bytea"), "mysql", 3072) == "varbinary(3072)"
