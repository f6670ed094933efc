"""P8 for every pair of types that `compatible` allows: a value arrives with its meaning, or is refused. Never changed.

The text that the source writes of a value is given to a column of the other type, as our target gives it. What stands there then is read
as a value of the first type again, and has to be the value that was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg

from headwater.domain.types import compatible
from tests.conftest import BOTH
from tests.databases import Database
from tests.types.chain import run, session, set_up
from tests.types.conftest import Servers
from tests.types.matrix import FROM_EXTENSIONS, OWN, array_of, kinds

MORE_TARGETS = ("character(2)", "numeric(20,0)", "bit(5)", "timestamp(3) without time zone", "timestamp(0) with time zone")
"""Types besides the matrix's own, into which not every value fits."""

TEXTS = ("text", "character varying")
NUMBERS = ("smallint", "integer", "bigint", "oid", "numeric", "real", "double precision")
TRIMMED = '{}::bpchar COLLATE "C"'
SAME = {**dict.fromkeys(NUMBERS, "{}::numeric"), "json": "{}::jsonb", "jsonb": "{}::jsonb", "character": TRIMMED, "bpchar": TRIMMED}
"""Types that write one value in several ways, and how two of their texts are compared."""

KNOWN = {"text to character varying(3), blanks"}
"""PostgreSQL cuts blanks at the end that a `varchar(n)` has no room for, without a word; docs/types.md says so."""


def changes(connection: psycopg.Connection[Any], source: str, target: str, values: Mapping[str, str]) -> Iterator[str]:
    """Write each value; yields those that are taken and are another value then."""
    run(connection, f"CREATE TEMP TABLE goal (v {target})")
    for label, value in values.items():
        text = _output(connection, f"SELECT %s::{source}", value)
        try:
            connection.execute(b"INSERT INTO goal VALUES (%s)", [text])
        except psycopg.Error:
            connection.rollback()
            continue
        there = _output(connection, "SELECT v FROM goal")
        if not _same(connection, source, target, text, there):
            yield f"{source} to {target}, {label}: {text[:60]!r} became {there[:60]!r}"
        connection.rollback()
    run(connection, "DROP TABLE goal")


def _same(connection: psycopg.Connection[Any], source: str, target: str, text: str, there: str) -> bool:
    if text == there:
        return True
    name, array = source.removesuffix("[]").partition("(")[0], source.removeprefix(source.removesuffix("[]"))
    if target.partition("(")[0] in TEXTS and name not in ("character", "bpchar"):
        return False
    back = f"%(there)s::{target}::{source}" if name == "macaddr" else f"%(there)s::{'numeric' + array if name in NUMBERS else source}"
    same = "{}::numeric[]" if name in NUMBERS and array else "{}::text" if array else SAME.get(name, "{}::text")
    question = f"SELECT {same.format(f'({back})::text')} = {same.format('%(text)s::text')}"
    try:
        found = connection.execute(question.encode(), {"there": there, "text": text}).fetchone()
    except psycopg.Error:
        return False
    return bool(found and found[0])


def _output(connection: psycopg.Connection[Any], query: str, *parameters: str) -> str:
    """The one value of a query, as PostgreSQL writes it."""
    result = connection.execute(query.encode(), parameters).pgresult
    assert result is not None
    return (result.get_value(0, 0) or b"").decode()


def test_no_allowed_pair_changes_a_value(servers: Servers, make_database: Callable[..., Database]) -> None:
    database = make_database(servers(BOTH[-1]))
    set_up(database)
    version = BOTH[-1].version[0]
    own = {kind.type for kind in (*OWN, *FROM_EXTENSIONS)}
    found = [kind for kind in kinds(version) if kind.type not in own]
    targets = [*(kind.type for kind in found), *MORE_TARGETS]
    changed: list[str] = []
    tried = 0
    with session(database) as connection:
        for kind in found:
            allowed = [target for target in targets if target != kind.type and compatible(kind.type, target) is None]
            tried += len(allowed)
            for target in allowed:
                changed += changes(connection, kind.type, target, kind.values_of(version))
                if kind.array and kind.type not in ("json", "bpchar") and compatible(f"{kind.type}[]", f"{target}[]") is None:
                    changed += changes(connection, f"{kind.type}[]", f"{target}[]", array_of(kind, version))
    assert {line.partition(":")[0] for line in changed} == KNOWN
    assert tried > 200
