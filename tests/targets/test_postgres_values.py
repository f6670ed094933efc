"""P8: every value arrives as it was written down, by each of the ways into a table, whatever database and role have set."""

from __future__ import annotations

import pyarrow as pa
import pytest

from headwater.domain.merge import MergeStep
from headwater.ports.source import Chunk
from headwater.ports.target import Checkpoint
from headwater.targets.postgres.table_writer import SMALL_ROWS
from headwater.targets.text_rows import copy_rows
from tests.databases import Database
from tests.targets.test_postgres_target import mapping, merged, target_of

VALUES: dict[str, tuple[str | None, ...]] = {
    "smallint": ("-32768", "32767"),
    "bigint": ("-9223372036854775808", "9223372036854775807"),
    "numeric": ("NaN", "0.10", "-12345678901234567890.123456789012345678901"),
    "numeric(12,2)": ("1.50", "-0.01"),
    "real": ("1e-45", "3.4028235e+38", "NaN", "-0"),
    "double precision": ("5e-324", "1.7976931348623157e+308", "-Infinity", "0.1"),
    "boolean": ("t", "f"),
    "text": ("", "\\N", "\\.", "a\tb\nc\rd\\e", "äöü €", "NULL", '"quoted"', "{a,b}", None),
    "varchar(3)": ("äöü", "   "),
    "char(4)": ("a   ", "    "),
    "bytea": ("\\x", "\\x00ff5c0a09"),
    "date": ("0001-01-01 BC", "infinity", "5874897-12-31"),
    "time(3)": ("24:00:00", "23:59:59.999"),
    "timetz": ("12:00:00.123456+02", "00:00:00-15:59"),
    "timestamp": ("-infinity", "4713-01-01 00:00:00 BC", "2026-03-29 02:30:00.123456"),
    "timestamptz": ("2026-03-29 01:30:00.000001+00", "infinity"),
    "interval": ("-1 years -2 mons +3 days -04:05:06.789", "00:00:00"),
    "uuid": ("00000000-0000-0000-0000-00000000000f",),
    "json": ('{"b": 1,  "a": [1, 2]}', "null"),
    "jsonb": ('{"a": "ä\\n"}', "1.10"),
    "int[]": ("{1,NULL,3}", "{{1,2},{3,4}}", "{}", "[0:1]={5,6}"),
    "text[]": ('{"a,b","c\\"d",NULL,"NULL",""}',),
    "inet": ("10.0.0.1/8", "fe80::1/64"),
    "cidr": ("10.0.0.0/8",),
    "macaddr": ("08:00:2b:01:02:03",),
    "bit(3)": ("101",),
    "varbit": ("", "10110"),
    "point": ("(1.5,-2)",),
    "money": ("-$1,234.56",),
    "int4range": ("empty", "[1,5)", "(,)"),
    "tstzrange": ('["2026-01-01 00:00:00+00",)',),
    "tsvector": ("'a':1 'b':2A",),
    "mood": ("sad", "so so"),
    "posint": ("1",),
    "pair": ('(1,"a,b")', "(,)"),
}


@pytest.mark.parametrize(
    ("way", "rows"),
    [("insert", 1), ("upsert", 1), *((way, SMALL_ROWS + 1) for way in ("insert", "upsert", "copy", "copy again"))],
    ids=["insert few", "upsert few", "insert", "upsert", "copy", "copy again"],
)
def test_every_value_arrives_as_it_was_written_down(database: Database, way: str, rows: int) -> None:
    database.run(
        "CREATE TYPE mood AS ENUM ('sad', 'so so')",
        "CREATE DOMAIN posint AS int CHECK (VALUE > 0)",
        "CREATE TYPE pair AS (a int, b text)",
        f"CREATE TABLE t (id int PRIMARY KEY, {', '.join(f'c{i} {kind}' for i, kind in enumerate(VALUES))})",
        f"ALTER DATABASE {database.name} SET timezone = 'Asia/Kolkata'",
        f"ALTER DATABASE {database.name} SET datestyle = 'SQL, DMY'",
        f"ALTER DATABASE {database.name} SET intervalstyle = 'sql_standard'",
        f"ALTER DATABASE {database.name} SET bytea_output = 'escape'",
    )
    names = ["id", *(f"c{i}" for i in range(len(VALUES)))]
    count = max(len(values) for values in VALUES.values())
    columns: list[list[str | None]] = [[str(i) for i in range(count * rows)]]
    columns += [[values[i % len(values)] for i in range(count * rows)] for values in VALUES.values()]
    arrays = [pa.array([None if v is None else v.encode() for v in column], pa.binary()) for column in columns]
    batch = pa.record_batch(arrays, names=names)
    target = target_of(database)
    target.raise_epoch("task", 1)
    run = target.open("task", 1)
    to = mapping(*names)
    for start in range(0, batch.num_rows, 9) if rows == 1 else [0]:
        part = batch.slice(start, 9) if rows == 1 else batch
        if way == "insert":
            run.write([merged(to, MergeStep(inserts=part))])
        elif way == "upsert":
            run.write([merged(to, MergeStep(upserts=part), exact=False)])
            run.write([merged(to, MergeStep(upserts=part), exact=False)])
        else:
            assert run.copy_chunk(to, Chunk(0, None, None), [b"".join(copy_rows(part))], fresh=way == "copy", remove=True) == len(part)
    run.commit(Checkpoint(1))
    run.close()
    settings = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c bytea_output=hex -c extra_float_digits=3 -c lc_monetary=C"
    with database.cluster.connect(database.name) as connection:
        for setting in settings.split("-c ")[1:]:
            name, _, value = setting.strip().partition("=")
            connection.execute(f"SET {name} = '{value}'".encode())
        found = connection.execute(f"SELECT {', '.join(f'{n}::text' for n in names)} FROM t ORDER BY t.id".encode()).fetchall()
    expected = list(zip(*columns, strict=True))
    wrong = {(kind, *pair) for row in zip(expected, found, strict=True) for kind, *pair in zip(("id", *VALUES), *row, strict=True)}
    assert {(kind, want, got) for kind, want, got in wrong if want != got and not _same_text(kind, want, got)} == set()


def _same_text(kind: str, want: str | None, got: str | None) -> bool:
    """`::text` drops the padding of `char(n)`, and writes booleans in full, where output in text form does not."""
    if kind == "boolean":
        return {"true": "t", "false": "f"}.get(got or "") == want
    return kind == "char(4)" and want is not None and want.rstrip() == got
