"""P8 and P7 between databases of differing encodings: a text arrives as the same characters, or its row is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headwater.domain.errors import TargetError
from tests.conftest import BOTH
from tests.databases import Database
from tests.types.conftest import Servers
from tests.types.direct import direct

MakeDatabase = Callable[..., Database]

ASCII, LATIN, WIDE, LATIN_BYTES = b"a", "\u00e9\u00ff".encode(), "\u20ac\U0001f600".encode(), b"\xe9\xff"
"""Texts as UTF-8, and bytes that are not UTF-8."""

ARRIVE = [
    ("LATIN1", "UTF8", [ASCII, LATIN]),
    ("UTF8", "LATIN1", [ASCII, LATIN]),
    ("LATIN1", "LATIN1", [ASCII, LATIN]),
    ("UTF8", "SQL_ASCII", [ASCII, LATIN, WIDE]),
    ("LATIN1", "SQL_ASCII", [ASCII, LATIN]),
    ("SQL_ASCII", "UTF8", [ASCII, LATIN, WIDE]),
    ("SQL_ASCII", "LATIN1", [ASCII, LATIN]),
    ("SQL_ASCII", "SQL_ASCII", [ASCII, LATIN, WIDE, LATIN_BYTES, bytes(range(1, 256))]),
]
REFUSED = [
    ("UTF8", "LATIN1", WIDE),
    ("SQL_ASCII", "LATIN1", WIDE),
    ("SQL_ASCII", "UTF8", LATIN_BYTES),
    ("SQL_ASCII", "LATIN1", LATIN_BYTES),
]


@pytest.fixture
def pair(servers: Servers, make_database: MakeDatabase) -> Callable[[str, str], tuple[Database, Database]]:
    """Makes a source and a target of the given encodings, each with a table `t` whose name and column hold no surprise."""

    def made(source: str, target: str) -> tuple[Database, Database]:
        both = make_database(servers(BOTH[0]), source), make_database(servers(BOTH[-1]), target)
        for database in both:
            database.run("CREATE TABLE t (id text PRIMARY KEY, v text)")
        return both

    return made


def literal(value: bytes, encoding: str) -> str:
    """An expression for a text; `value` is UTF-8, or for SQL_ASCII any bytes."""
    written = value if encoding == "SQL_ASCII" else value.decode().encode("latin-1" if encoding == "LATIN1" else "utf-8")
    return f"convert_from('\\x{written.hex()}', '{encoding}')"


def stored(database: Database, encoding: str) -> set[bytes]:
    """The texts of the table, as the bytes of `encoding` that are stored there."""
    found = set()
    for row in database.rows(f"SELECT convert_to(id, '{encoding}'), convert_to(v, '{encoding}') FROM t"):
        assert row[0] == row[1]
        found.add(bytes(row[0]))
    return found


@pytest.mark.parametrize(("source", "target", "values"), ARRIVE, ids=lambda case: case if isinstance(case, str) else "")
def test_the_same_characters_arrive(
    source: str, target: str, values: list[bytes], pair: Callable[[str, str], tuple[Database, Database]]
) -> None:
    here, there = pair(source, target)
    literals = [literal(value, source) for value in values]
    here.run(*(f"INSERT INTO t VALUES ({text}, {text})" for text in literals))
    with direct(here, there) as chain:
        chain.copy()
        expected = {v if target == "SQL_ASCII" else v.decode().encode("latin-1" if target == "LATIN1" else "utf-8") for v in values}
        assert stored(there, target) == expected
        here.run(*(f"UPDATE t SET v = NULL WHERE id = {text}" for text in literals))
        here.run(*(f"UPDATE t SET v = id WHERE id = {text}" for text in literals), f"DELETE FROM t WHERE id = {literals[0]}")
        here.run(f"INSERT INTO t VALUES ({literals[0]}, {literals[0]})")
        chain.follow(2 * len(values) + 2)
        assert stored(there, target) == expected


@pytest.mark.parametrize(("source", "target", "value"), REFUSED, ids=lambda case: case if isinstance(case, str) else "")
def test_what_the_target_s_encoding_can_not_hold_is_refused(
    source: str, target: str, value: bytes, pair: Callable[[str, str], tuple[Database, Database]]
) -> None:
    here, there = pair(source, target)
    with direct(here, there) as chain:
        here.run(f"INSERT INTO t VALUES ('1', {literal(value, source)})")
        for act in (chain.copy, lambda: chain.follow(1)):
            with pytest.raises(TargetError, match=r"a text.* that the encoding of the target's database can't hold") as refused:
                act()
            assert refused.value.kind == "row_refused"
            assert repr(value)[2:-1] not in str(refused.value)
            chain.run.rollback()
    assert there.rows("SELECT * FROM t") == []


def test_a_large_table_whose_keys_are_no_text_is_copied_whole(pair: Callable[[str, str], tuple[Database, Database]]) -> None:
    here, there = pair("SQL_ASCII", "SQL_ASCII")
    here.run(
        "INSERT INTO t SELECT convert_from(decode(to_hex(128 + i % 128) || '41', 'hex'), 'SQL_ASCII') || i FROM generate_series(1, 500) i"
    )
    here.run("UPDATE t SET v = id")
    with direct(here, there) as chain:
        chain.copy()
    assert len(stored(there, "SQL_ASCII")) == 500
