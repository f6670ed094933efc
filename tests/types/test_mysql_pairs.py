"""P8 for every pair of types that `compatible` allows where MySQL or MariaDB are on either side: a value arrives with its meaning, or is
refused. Never changed.

The text in which a value travels is given to a column of the other database, and what stands there then is read back. `meaning` says what
a text means as a value of the source's kind.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg

from headwater.domain.kinds import Kind, kind_of
from headwater.domain.types import compatible
from tests.databases import Database
from tests.types.mysql_matrix import KINDS, POSTGRES

MORE_POSTGRES = (
    "numeric(20,0)",
    "bit(1)",
    "bit(64)",
    "bit varying(5)",
    "timestamp(3) without time zone",
    "interval(3)",
    "character varying(3)",
)
KNOWN = {"varchar(20) latin1 to character varying(3), blanks"}
"""PostgreSQL cuts blanks at the end that a `varchar(n)` has no room for, without a word; docs/types.md says so."""

TRUTHS = {"t": "1", "f": "0"}


def meaning(kind: Kind, text: str) -> Any:
    """What a text means as a value of this kind, so that differing spellings of one value are equal."""
    if kind.form in ("integer", "year", "decimal", "boolean"):
        return Decimal(TRUTHS.get(text, text))
    if kind.form == "bits":
        return TRUTHS.get(text, text)
    if kind.form == "float":
        return struct.pack("f", float(text))
    if kind.form == "double":
        return float(text)
    if kind.form in ("date", "stamp", "instant"):
        day, _, time = text.removesuffix("+00").partition(" ")
        return day, _seconds(time or "00:00:00")
    if kind.form in ("time", "interval"):
        return _seconds(text)
    if kind.form == "json":
        return json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return text


def _seconds(text: str) -> Decimal:
    hours, minutes, seconds = text.removeprefix("-").split(":")
    total = Decimal(hours) * 3600 + Decimal(minutes) * 60 + Decimal(seconds)
    return -total if text.startswith("-") else total


def _same(source: Kind, target: str, sent: str, there: str) -> bool:
    if sent == there:
        return True
    goal = kind_of(target)
    if goal.form == "text" and not goal.padded:
        return False
    if goal.padded and goal.form == "text":
        return sent.rstrip(" ") == there.rstrip(" ")
    if "json" in (source.form, goal.form):
        return bool(meaning(kind_of("json"), sent) == meaning(kind_of("json"), there))
    return bool(meaning(source, sent) == meaning(source, there))


def _changed_by_postgres(connection: psycopg.Connection[Any], target: str) -> Iterator[str]:
    """Give the column `t.v` of the type `target` each value of each type that it takes; yields those that are another value then."""
    for kind in KINDS:
        if compatible(kind.base, target) is not None:
            continue
        for label, value in kind.values.items():
            try:
                connection.execute(b"INSERT INTO t VALUES (%s)", [value])
                found = connection.execute(b"SELECT v FROM t").pgresult
            except psycopg.Error:
                connection.rollback()
                continue
            there = (found.get_value(0, 0) or b"").decode() if found else ""
            connection.rollback()
            if not _same(kind_of(kind.base), target, value, there):
                yield f"{kind.type} to {target}, {label}: {value[:60]!r} became {there[:60]!r}"


def test_postgres_takes_no_value_of_mysql_for_another(newest_database: Database) -> None:
    newest_database.run("CREATE TYPE label AS ENUM ('a', 'B''b', '1')")
    changed: list[str] = []
    with newest_database.connect(autocommit=False) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.commit()
        for target in (*POSTGRES, *MORE_POSTGRES):
            connection.execute(f"CREATE TABLE t (v {'label' if target == 'enum' else target})".encode())
            connection.commit()
            changed += _changed_by_postgres(connection, target)
            connection.execute("DROP TABLE t")
            connection.commit()
    assert {line.partition(":")[0] for line in changed} == KNOWN
