"""Which column types may be joined, from PostgreSQL to PostgreSQL."""

from __future__ import annotations

import pytest

from headwater.domain.types import compatible, fits

ALLOWED = [
    ("integer", "integer"),
    ("smallint", "bigint"),
    ("bigint", "integer"),  # may be refused by rows, loudly
    ("bigint", "numeric(20,0)"),
    ("integer", "double precision"),
    ("numeric(12,2)", "numeric(14,2)"),
    ("numeric(12,2)", "numeric(10,4)"),
    ("numeric(12,2)", "numeric"),
    ("real", "double precision"),
    ("character varying(60)", "text"),
    ("text", "character varying(60)"),
    ("character(3)", "character varying"),
    ("bytea", "text"),
    ("jsonb", "text"),
    ("integer[]", "text"),
    ("json", "jsonb"),
    ("text", "uuid"),
    ("date", "timestamp without time zone"),
    ("date", "timestamp(0) without time zone"),
    ("timestamp(3) with time zone", "timestamp with time zone"),
    ("timestamp with time zone", "timestamp without time zone"),
    ("integer[]", "bigint[]"),
    ("numeric(10,2)[]", "numeric(12,2)[]"),
    ("public.mood", "public.mood"),
    ("public.mood", "app.mood"),
    ("public.mood", "text"),
    ("enum", "enum"),
    ("text", "enum"),
    ("enum", "text"),
    ("enum[]", "enum[]"),
    ("row(integer, text)", "row(integer, text)"),
    ("row(integer, text)[]", "row(integer, text)[]"),
    ("range of text", "range of text"),
    ("public.hstore", "extensions.hstore"),
    ("public.citext", "extensions.citext"),
    ("interval day to second(3)", "interval day to second(3)"),
    ("interval year to month", "interval"),
    ("character(3)", "character(5)"),
    ("character(5)", "character(3)"),
    ("text", "bpchar"),
    ("name", "text"),
    ("int4range", "int8range"),
    ("int4range[]", "int8range[]"),
    ("box[]", "text"),
    ("box[]", "box[]"),
    ("timestamp(3) without time zone[]", "timestamp without time zone[]"),
    ('"bit"', "bit varying"),
    ("numeric(5,-2)", "numeric(7,0)"),
    ("regclass", "regclass"),
    ('"char"', '"char"'),
    ('public."Pair, of"[]', 'app."Pair, of"[]'),
    ("date[]", "text[]"),
    ("public.citext", "text"),
    ("interval day to second(3)", "interval"),
    ('"char"', "text"),
    ("bit(3)", "bit varying(8)"),
    ("cidr", "inet"),
]

REFUSED = [
    ("text", "bytea", "does not read"),
    ("text", "integer", "does not read"),
    ("boolean", "timestamp without time zone", "does not read"),
    ("boolean", "integer", "does not read"),
    ("integer", "boolean", "does not read"),
    ("bytea", "uuid", "does not read"),
    ("money", "numeric", "does not read"),
    ("bigint", "double precision", "rounded"),
    ("numeric", "real", "rounded"),
    ("numeric(12,4)", "numeric(12,2)", "rounded"),
    ("numeric", "numeric(12,2)", "rounded"),
    ("double precision", "numeric(12,2)", "rounded"),
    ("numeric(12,2)", "numeric(12)", "rounded"),
    ("timestamp without time zone", "date", "time of day"),
    ("timestamp without time zone", "timestamp(3) without time zone", "rounded"),
    ("time with time zone", "time without time zone", "time zone"),
    ("integer[]", "integer", "array"),
    ("integer", "integer[]", "array"),
    ("text[]", "integer[]", "does not read"),
    ("interval", "time without time zone", "does not read"),
    ("interval", "interval year to month", "all but the year to month would be lost"),
    ("interval day to second(6)", "interval day to second(3)", "rounded"),
    ("text", "character(3)", "blanks"),
    ("character varying(2)[]", "character(3)[]", "blanks"),
    ("text", "name", "63 bytes"),
    ("text", '"char"', "does not read"),
    ("integer", "oid", "does not read"),  # which reads -1 as 4294967295
    ("box[]", "text[]", "does not read"),
    ("integer[]", "bigint", "array"),
    ("numeric(12,4)[]", "numeric(12,2)[]", "rounded"),
    ("timestamp without time zone[]", "date[]", "time of day"),
    ("integer", "numeric(5,-2)", "rounded"),
    ("enum", "integer", "does not read"),
    ("text", "row(integer, text)", "does not read"),
    ("row(numeric)", "row(numeric(10,2))", "does not read"),
    ("range of text", "range of character varying", "does not read"),
    ("public.seg", "public.cube", "does not read"),
    ("public.seg", "real", "does not read"),
    ("double precision", "public.seg", "does not read"),
    ("public.date", "date", "does not read"),
    ("numrange", "int4range", "does not read"),
    ("regclass", "oid", "does not read"),
]


@pytest.mark.parametrize(("source", "target"), ALLOWED)
def test_pairs_that_keep_values_or_fail_loudly_are_allowed(source: str, target: str) -> None:
    assert compatible(source, target) is None
    assert fits(source, target)


@pytest.mark.parametrize(("source", "target", "reason"), REFUSED)
def test_pairs_that_cannot_work_or_change_values_silently_are_refused_with_the_reason(source: str, target: str, reason: str) -> None:
    told = compatible(source, target)
    assert told is not None
    assert reason in told
    assert not fits(source, target)
