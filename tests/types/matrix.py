"""The types that a PostgreSQL can have, each with its awkward values: the data from which the tests of P8 and docs/types.md are made.

A `Kind` is one type. Its values are texts as PostgreSQL reads them under `SETTINGS`, each under the name of its class, which is
what a failure names. `array_of` makes the array values of any kind. `python -m tests.types.matrix` prints the table of docs/types.md.
"""

# ruff: noqa: E501  a line of data is as long as it has to be

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "array_nulls": "on",
    "quote_all_identifiers": "off",
    "search_path": "pg_catalog",
}
"""Of the tests' own sessions: values are written and compared under these, whatever the product's sessions use."""

SETUP = (
    "CREATE TYPE public.mood AS ENUM ('sad', 'so so', 'it''s \"quoted\", {x}', 'größe \U0001f600', 'sixty-three bytes of label, which is as long as one can be: end')",
    "CREATE DOMAIN public.price AS numeric(12, 3) CHECK (VALUE >= 0)",
    "CREATE DOMAIN public.price_now AS public.price NOT NULL",
    "CREATE DOMAIN public.few AS integer[] CHECK (cardinality(VALUE) < 9)",
    'CREATE TYPE public."Pair, of" AS ("A a" integer, b text)',
    'CREATE TYPE public.nested AS (name text, pair public."Pair, of", many public."Pair, of"[], at timestamptz, mood public.mood)',
    'CREATE DOMAIN public.sane AS public."Pair, of" CHECK ((VALUE)."A a" IS DISTINCT FROM 0)',
    'CREATE TYPE public.textrange AS RANGE (subtype = text, collation = "C")',
    "CREATE FUNCTION public.thing(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1'",
    'CREATE TABLE public."Some table" (id integer PRIMARY KEY)',
)
"""What the own types need, on both sides."""

EXTENSIONS = ("hstore", "citext", "ltree", "cube", "seg", "isn")
"""Extensions whose types are in the matrix, where the server has them."""


@dataclass(frozen=True)
class Kind:
    """One type. `key`: it can be a primary key. `since`: the major version that brought it. `needs`: an extension, or `libxml`.

    `not_keys` are classes of values that an index can't hold, `young` the versions that brought a value; `array` is false where the
    server has no arrays of the type."""

    type: str
    values: Mapping[str, str]
    key: bool = True
    since: int = 12
    needs: str = ""
    array: bool = True
    group: str = ""
    not_keys: frozenset[str] = frozenset()
    young: Mapping[str, int] = field(default_factory=dict)

    def values_of(self, version: int, *, key: bool = False) -> dict[str, str]:
        """The values that a server of this major version has; with `key` those that a key can hold."""
        return {
            label: value
            for label, value in self.values.items()
            if self.young.get(label, 0) <= version and not (key and label in self.not_keys)
        }


def element(value: str | None) -> str:
    """A value within an array literal."""
    return "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def array_of(kind: Kind, version: int) -> dict[str, str]:
    """Arrays of a kind's values, by class."""
    values = list(kind.values_of(version).values())
    delimiter = ";" if kind.type == "box" else ","

    def braces(*parts: str) -> str:
        return "{" + delimiter.join(parts) + "}"

    def row(*members: str | None) -> str:
        return braces(*map(element, members))

    first, last = values[0], values[-1]
    return {
        "every value": row(*values),
        "empty": "{}",
        "nulls": row(None, first, None),
        "two dimensions": braces(row(first, last), row(last, None)),
        "other bounds": f"[-1:0][3:3]={braces(row(first), row(last))}",
    }


def _ranges(low: str, high: str, *, adjacent: str = "") -> dict[str, str]:
    return {
        "empty": "empty",
        "unbounded": "(,)",
        "both bounds": f'["{low}","{high}")',
        "no lower bound": f'(,"{high}"]',
        "no upper bound": f'("{low}",)',
        **({"infinite bounds": adjacent} if adjacent else {}),
    }


def _multiranges(low: str, middle: str, high: str) -> dict[str, str]:
    return {
        "empty": "{}",
        "unbounded": "{(,)}",
        "one": f'{{["{low}","{middle}")}}',
        "several": f'{{(,"{low}"),("{middle}","{high}"],("{high}9",)}}' if low.isdigit() else f'{{(,"{low}"),("{middle}","{high}")}}',
    }


CONTROLS = "".join(map(chr, range(1, 32)))
PLANES = "".join(chr(plane << 16 | 0x41) for plane in range(17)) + "\ufffe\uffff\U0001fffe\U0010ffff\ue000\ufeff"
LONG = "".join(f"{i:x}ä" for i in range(20_000))

NUMBERS = (
    Kind("smallint", {"least": "-32768", "greatest": "32767", "zero": "0"}),
    Kind("integer", {"least": "-2147483648", "greatest": "2147483647", "zero": "0"}),
    Kind("bigint", {"least": "-9223372036854775808", "greatest": "9223372036854775807", "zero": "0"}),
    Kind(
        "numeric",
        {
            "zero": "0", "zeros behind the point": "-1.5000", "not a number": "NaN", "infinity": "Infinity", "minus infinity": "-Infinity",
            "3000 digits": "-" + "1234567890" * 200 + "." + "0987654321" * 100, "huge": "1e16000", "tiny": "1e-16383",
        },
        young={"infinity": 14, "minus infinity": 14},
    ),
    Kind("numeric(12,3)", {"greatest": "999999999.999", "least": "-999999999.999", "zero": "0.000", "not a number": "NaN"}),
    Kind("numeric(5,-2)", {"rounded to hundreds": "1234500", "zero": "0"}, since=15),
    Kind(
        "real",
        {
            "denormal": "1e-45", "greatest": "3.4028235e+38", "tenth": "0.1", "not a number": "NaN", "infinity": "Infinity",
            "minus infinity": "-Infinity", "minus zero": "-0",
        },
    ),
    Kind(
        "double precision",
        {
            "denormal": "5e-324", "greatest": "1.7976931348623157e+308", "17 digits": "0.30000000000000004", "not a number": "NaN",
            "infinity": "Infinity", "minus infinity": "-Infinity", "minus zero": "-0",
        },
    ),
    Kind(
        "money",
        {"least": "-92233720368547758.08", "greatest": "92233720368547758.07", "cents": "-1234.56", "thousands": "1234567.00", "zero": "0"},
    ),
    Kind("boolean", {"true": "t", "false": "f"}),
)  # fmt: skip

TEXTS = (
    Kind(
        "text",
        {
            "empty": "", "backslash N": "\\N", "end of copy": "\\.", "controls": CONTROLS, "every plane": PLANES, "NULL": "NULL",
            "quotes, braces, commas": "{a,\"b\",'c';(d)}\\\"", "blanks": "  x  ", "one line feed": "\n",
            "combining and right to left": "e\u0301 \u05e9\u05dc\u05d5\u05dd \u200f\U0001f468\u200d\U0001f469\u200d\U0001f467", "long": LONG,
        },
        not_keys=frozenset({"long"}),
    ),
    Kind("character varying(3)", {"full": "ä€\U0001f600", "blanks": "   ", "empty": ""}),
    Kind("character varying", {"blanks at the end": "x  ", "tab": "\t"}),
    Kind("character(4)", {"padded": "ä   ", "full": "\\N\t\n", "blank": "    "}),
    Kind("bpchar", {"no length": "a", "empty": ""}),
    Kind('"char"', {"letter": "a", "backslash": "\\\\", "comma": ","}),
    Kind("name", {"63 bytes": "ü" * 31 + "x", "quotes": "a\"b'c", "empty": ""}),
    Kind("bytea", {"every byte": "\\x" + bytes(range(256)).hex(), "empty": "\\x", "copy's marks": "\\x5c2e0a5c4e09"}),
    Kind("json", {"spaces, order, doubles": '{"b": 1,  "a":[1,2], "b":null}', "escapes": '"\\u00e4\\n\\"\\\\"', "number": "1.10e400"}, key=False),
    Kind("jsonb", {"nested": '{"a": {"ä": [1.10, null, "x\\ty"]}, "": true}', "scalar": '"{\\"x\\"}"', "number": "1E+400"}),
    Kind("jsonpath", {"filter": '$."a b"[*]?(@.x > 1.5 && @.y like_regex "^\\\\d" flag "i")', "strict": "strict $"}, key=False),
    Kind("xml", {"content": "text<a b=\"ü&amp;\">\t</a><!-- c -->", "document": "<a><![CDATA[<x>]]></a>", "empty": ""}, key=False, needs="libxml"),
    Kind("uuid", {"nil": "0" * 32, "some": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "max": "f" * 32}),
    Kind("tsvector", {"weights": "'it''s':1A,2B 'a\\\\b':3 'ü':16383", "empty": "", "no places": "'a' 'b c'"}),
    Kind("tsquery", {"all operators": "!'a':*AB & ( 'b c' | 'd''e' <3> 'f' )", "empty": ""}),
    Kind("refcursor", {"name": "a \"portal\""}, key=False),
)  # fmt: skip

TIMES = (
    Kind(
        "date",
        {
            "infinity": "infinity", "minus infinity": "-infinity", "first": "4714-11-24 BC", "last": "5874897-12-31", "year 10000": "10000-01-01",
            "BC": "0001-12-31 BC", "year 1": "0001-01-02", "day and month alike": "2003-02-01",
        },
    ),
    Kind("time without time zone", {"24 hours": "24:00:00", "midnight": "00:00:00", "microseconds": "23:59:59.999999"}),
    Kind("time(3) without time zone", {"milliseconds": "23:59:59.999"}),
    Kind("time with time zone", {"east": "12:00:00.000001+15:59:59", "west": "24:00:00-15:59", "seconds": "01:02:03+02:34:56"}),
    Kind(
        "timestamp without time zone",
        {
            "infinity": "infinity", "minus infinity": "-infinity", "first": "4714-11-24 00:00:00 BC", "last": "294276-12-31 23:59:59.999999",
            "year 10000": "10000-01-01 00:00:00", "skipped hour": "2026-03-29 02:30:00.123456",
        },
    ),
    Kind("timestamp(0) without time zone", {"seconds": "1969-12-31 23:59:59"}),
    Kind(
        "timestamp with time zone",
        {
            "infinity": "infinity", "minus infinity": "-infinity", "first": "4714-11-24 00:00:00+00 BC", "last": "294276-12-31 23:59:59.999999+00",
            "year 10000": "10000-01-01 00:00:00+00", "repeated hour": "2026-10-25 02:30:00.000001+01", "offset with seconds": "1850-01-01 00:00:00+00:53:28",
        },
    ),
    Kind("timestamp(2) with time zone", {"hundredths": "2026-01-01 00:00:00.12+00"}),
    Kind(
        "interval",
        {
            "signs of each part": "-1 years +2 mons -3 days +04:05:06.789", "other signs": "1 year -2 mons 3 days -00:00:00.000001", "zero": "0",
            "most months": "178956970 years 7 mons", "least days": "-2147483648 days", "most time": "2562047788:00:54.775807",
            "weeks of hours": "1000:00:00", "infinity": "infinity", "minus infinity": "-infinity",
        },
        young={"infinity": 17, "minus infinity": 17},
    ),
    Kind("interval year to month", {"months": "-13 mons"}),
    Kind("interval day to second(3)", {"milliseconds": "-1 days +00:00:00.123"}),
)  # fmt: skip

BITS_AND_NETS = (
    Kind("bit(3)", {"mixed": "101", "none": "000"}),
    Kind("bit(64)", {"all": "1" * 64, "sign": "1" + "0" * 63}),
    Kind("bit varying", {"empty": "", "long": "10" * 300}),
    Kind("bit varying(5)", {"short": "0", "full": "00001"}),
    Kind("inet", {"host": "10.0.0.1", "host and mask": "10.0.0.1/8", "IPv6": "fe80::1/64", "mapped": "::ffff:1.2.3.4", "all": "0.0.0.0/0"}),
    Kind("cidr", {"IPv4": "10.0.0.0/8", "IPv6": "2001:db8::/32"}),
    Kind("macaddr", {"some": "08:00:2b:01:02:03", "greatest": "ff:ff:ff:ff:ff:ff"}),
    Kind("macaddr8", {"some": "08:00:2b:01:02:03:04:05"}),
)

GEOMETRY = (
    Kind("point", {"digits": "(0.1,-1e-300)", "infinite": "(Infinity,-Infinity)", "not a number": "(NaN,0)"}, key=False),
    Kind("line", {"slope": "{1.5,-1,0.30000000000000004}", "vertical": "{-1,0,3}"}, key=False),
    Kind("lseg", {"digits": "[(0,0.1),(1e+100,2)]"}, key=False),
    Kind("box", {"digits": "(1,0.1),(0,-1)", "infinite": "(Infinity,1),(0,-Infinity)"}, key=False),
    Kind("path", {"open": "[(0,0),(1,0.1)]", "closed": "((0,0),(1,1),(2,0))"}, key=False),
    Kind("polygon", {"triangle": "((0,0),(1,0.1),(2,0))"}, key=False),
    Kind("circle", {"digits": "<(1,-2),0.1>", "point": "<(0,0),0>"}, key=False),
)

RANGES = (
    Kind("int4range", _ranges("-2147483648", "2147483646")),
    Kind("int8range", _ranges("-9223372036854775808", "9223372036854775806")),
    Kind("numrange", _ranges("-1.50", "1e30")),
    Kind("tsrange", _ranges("0044-03-15 12:00:00 BC", "10000-01-01 00:00:00.5", adjacent="[-infinity,infinity]")),
    Kind("tstzrange", _ranges("0044-03-15 12:00:00+00 BC", "10000-01-01 00:00:00.5+00", adjacent="[-infinity,infinity]")),
    Kind("daterange", _ranges("0044-03-15 BC", "10000-01-01", adjacent="[-infinity,infinity)")),
    Kind("int4multirange", _multiranges("1", "5", "10"), since=14),
    Kind("int8multirange", _multiranges("1", "5", "10"), since=14),
    Kind("nummultirange", _multiranges("1", "5", "10"), since=14),
    Kind("tsmultirange", _multiranges("2000-01-01 00:00:00", "2001-01-01 00:00:00", "10000-01-01 00:00:00"), since=14),
    Kind("tstzmultirange", _multiranges("2000-01-01 00:00:00+00", "2001-01-01 00:00:00+00", "10000-01-01 00:00:00+00"), since=14),
    Kind("datemultirange", _multiranges("2000-01-01", "2001-01-01", "10000-01-01"), since=14),
)

SYSTEM = (
    Kind("oid", {"zero": "0", "greatest": "4294967295"}),
    Kind("xid", {"greatest": "4294967295"}, key=False),
    Kind("xid8", {"greatest": "18446744073709551615", "zero": "0"}, since=13),
    Kind("cid", {"greatest": "4294967295"}, key=False),
    Kind("tid", {"greatest": "(4294967295,65535)", "first": "(0,1)"}),
    Kind("pg_lsn", {"zero": "0/0", "greatest": "FFFFFFFF/FFFFFFFF"}),
    Kind("txid_snapshot", {"some": "10:20:10,14,15"}, key=False),
    Kind("pg_snapshot", {"some": "10:20:10,14,15"}, key=False, since=13),
    Kind("regclass", {"own": 'public."Some table"', "system": "pg_class", "none": "-"}),
    Kind("regtype", {"own": 'public."Pair, of"', "array": "public.mood[]", "built in": "timestamp without time zone"}),
    Kind("regproc", {"own": "public.thing", "system": "now"}),
    Kind("regprocedure", {"own": "public.thing(integer)", "system": "abs(bigint)"}),
    Kind("regoper", {"one of its name": "||/"}),
    Kind("regoperator", {"binary": "+(integer,integer)", "prefix": "-(NONE,integer)"}),
    Kind("regrole", {"system": "pg_monitor"}),
    Kind("regnamespace", {"system": "pg_catalog"}),
    Kind("regconfig", {"system": "english"}),
    Kind("regdictionary", {"system": "simple"}),
    Kind("regcollation", {"system": '"C"'}, since=13),
    Kind("aclitem", {"grant option": "pg_monitor=r*w/pg_read_all_data"}, key=False, since=14),
    Kind("int2vector", {"some": "-1 2 3", "empty": ""}, key=False),
    Kind("oidvector", {"some": "1 2 4294967295", "empty": ""}),
)

OWN = (
    Kind("public.mood", {"plain": "sad", "blank": "so so", "quotes": 'it\'s "quoted", {x}', "planes": "größe \U0001f600"}),
    Kind("public.price", {"domain over numeric(12,3)": "0.500", "not a number": "NaN"}),
    Kind("public.price_now", {"domain over a domain, never null": "7.000"}, array=False),
    Kind("public.few", {"domain over an array": "{1,NULL,3}", "bounds": "[0:1]={1,2}"}),
    Kind('public."Pair, of"', {"plain": "(1,x)", "nulls": "(,)", "quotes": '(-1,"a,""b""\\\\ (c)")', "empty text": '(1,"")'}),
    Kind(
        "public.nested",
        {"deep": '("x y","(1,""a,b"")","{""(2,\\\\""q\\\\"")"",NULL}","2026-03-29 01:30:00+00",so so)', "nulls": "(,,,,)"},
    ),
    Kind("public.sane", {"domain over a composite type": "(1,x)"}),
    Kind("public.textrange", {"quotes": '["a,\\"b","c\\\\)"]', "empty texts": '["",""]', "empty": "empty"}),
    Kind("public.textmultirange", {"several": '{["a,b",c),[d,"e f"]}', "empty": "{}"}, since=14),
)

FROM_EXTENSIONS = (
    Kind("public.hstore", {"awkward": '"a b"=>"c\\"d", "n"=>NULL, "N"=>"NULL", ""=>""', "empty": ""}, needs="hstore"),
    Kind("public.citext", {"upper": "ÄB", "lower": "xy"}, needs="citext"),
    Kind("public.ltree", {"path": "Top.Science.a_1", "empty": ""}, needs="ltree"),
    Kind("public.lquery", {"pattern": "*.a_1%@*{1,3}.!b|c"}, key=False, needs="ltree"),
    Kind("public.ltxtquery", {"query": "a & !b@"}, key=False, needs="ltree"),
    Kind("public.cube", {"box": "(1, 2.5),(3, 4)", "point": "(0.1)"}, needs="cube"),
    Kind("public.seg", {"uncertain": "5.0 .. 7.50", "about": "~6.5"}, needs="seg"),
    Kind("public.isbn", {"some": "0-306-40615-2"}, needs="isn"),
)

GROUPS = {
    "Numbers": NUMBERS,
    "Texts, documents, bytes": TEXTS,
    "Dates and times": TIMES,
    "Bits and networks": BITS_AND_NETS,
    "Geometry": GEOMETRY,
    "Ranges": RANGES,
    "The system's own": SYSTEM,
    "Enums, domains, composite types, own ranges": OWN,
    "Extensions": FROM_EXTENSIONS,
}

ARRAY_KEYS = ("integer", "text", "numeric", "timestamp with time zone", "bytea", "public.mood")
"""Kinds whose arrays are tried as keys too."""

NOT_STORED = {
    "pg_node_tree": "has no input", "pg_ndistinct": "has no input", "pg_dependencies": "has no input", "pg_mcv_list": "has no input",
    "pg_brin_bloom_summary": "has no input", "pg_brin_minmax_multi_summary": "has no input", "gtsvector": "has no input",
    "pg_ddl_command": "lives within a command",
}  # fmt: skip
"""Built-in types of which no table can be filled from outside, and why."""


def kinds(version: int, installed: frozenset[str] = frozenset()) -> Iterator[Kind]:
    """The kinds that a server of this major version with these extensions (and `libxml`) has."""
    for group in GROUPS.values():
        for kind in group:
            if kind.since <= version and (not kind.needs or kind.needs in installed):
                yield kind


def table() -> list[str]:
    """The table of docs/types.md, as its lines."""
    lines = ["| type | tried with | as key | since |", "|---|---|---|---|"]
    for name, group in GROUPS.items():
        lines.append(f"| **{name}** | | | |")
        lines += [_line(kind) for kind in group]
    return lines


def _line(kind: Kind) -> str:
    young = {label: f" ({version})" for label, version in kind.young.items()}
    tried = ", ".join(label + young.get(label, "") for label in kind.values)
    known = f"PostgreSQL {kind.since}" if kind.since > 12 else ""
    return f"| `{kind.type}` | {tried} | {'yes' if kind.key else 'no'} | {kind.needs or known} |"


if __name__ == "__main__":
    print("\n".join(table()))
