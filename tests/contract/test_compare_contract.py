"""The contract of `ports/compare.py`, run over every implementation: they must make the very same hashes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from headwater.clusters import PrivatePostgres
from headwater.domain.comparing import PLAIN
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.ports.compare import Comparison, Digest, Part, SourceComparison, Span
from headwater.sources.postgres import PostgresConfig, PostgresSource
from headwater.targets.postgres import PostgresTarget, PostgresTargetConfig
from headwater.testing import MemoryTarget, ScriptedSource
from headwater.testing.rows import Row
from tests.databases import Database

T = TableName("public", 'odd "100%s" name')
SCHEMA = TableSchema(
    T, (Column("id", "integer", key=True, nullable=False), Column("part", "text", key=True, nullable=False), Column("v%", "text"))
)
PART = Part(T, (("id", PLAIN), ("part", PLAIN), ("v%", PLAIN)), ("id", "part"))
ROWS: list[tuple[int, str, str | None]] = [
    (1, "a", None), (1, "b", ""), (2, "a", "ü𝄞,\t'\\"), (2, "b", "1:2"), (3, "", "-"), (10, "ä", "x" * 5000),
]  # fmt: skip


def expected(row: tuple[object, ...]) -> int:
    """The hash of a row, as the port's docstring has it."""
    text = ",".join("-" if value is None else f"{len(str(value))}:{value}" for value in row)
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


class Place(ABC):
    """A table with `ROWS` and a way to compare it."""

    @abstractmethod
    def compare(self) -> Comparison: ...


def _texts(row: tuple[int, str, str | None]) -> Row:
    return {"id": str(row[0]).encode(), "part": row[1].encode(), "v%": None if row[2] is None else row[2].encode()}


class Scripted(Place):
    def __init__(self) -> None:
        self.source = ScriptedSource([SCHEMA])
        with self.source.transaction() as t:
            for row in ROWS:
                t.insert(T, **_texts(row))

    def compare(self) -> SourceComparison:
        return self.source.compare(10.0)


class Memory(Place):
    def __init__(self) -> None:
        self.target = MemoryTarget([SCHEMA])
        for row in ROWS:
            self.target.tables_by_name[T].insert(_texts(row))

    def compare(self) -> Comparison:
        return self.target.compare(10.0)


class OnServer(Place):
    def __init__(self, database: Database) -> None:
        self.database = database
        name = '"odd ""100%s"" name"'
        database.run(f'CREATE TABLE {name} (id int, part text, "v%" text, PRIMARY KEY (id, part))')
        with database.connect() as connection, connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {name.replace('%', '%%')} VALUES (%s, %s, %s)".encode(), ROWS)


def postgres_source(database: Database) -> PostgresSource:
    """The source adapter of a database."""
    cluster = database.cluster
    return PostgresSource(PostgresConfig("s", cluster.host, database.name, cluster.user, cluster.port, cluster.password))


class Source(OnServer):
    def compare(self) -> SourceComparison:
        return postgres_source(self.database).compare(10.0)


class Target(OnServer):
    def compare(self) -> Comparison:
        cluster = self.database.cluster
        return PostgresTarget(PostgresTargetConfig(cluster.host, cluster.port, self.database.name, cluster.user, cluster.password)).compare(
            10.0
        )


@pytest.fixture(params=["scripted source", "memory target", "postgres source", "postgres target"])
def session(request: pytest.FixtureRequest, newest_database: Database) -> Iterator[Comparison]:
    """A comparing session of each implementation."""
    made: dict[str, Callable[[], Place]] = {
        "scripted source": Scripted,
        "memory target": Memory,
        "postgres source": lambda: Source(newest_database),
        "postgres target": lambda: Target(newest_database),
    }
    with closing(made[request.param]().compare()) as session:
        yield session


def test_the_digest_is_the_sum_of_the_hashes(session: Comparison) -> None:
    assert session.digest(PART, Span()) == Digest(len(ROWS), sum(expected(row) for row in ROWS))


def test_a_span_begins_after_its_first_key_and_ends_with_its_last(session: Comparison) -> None:
    inside = ROWS[1:4]
    assert session.digest(PART, Span(("1", "a"), ("2", "b"))) == Digest(3, sum(expected(row) for row in inside))
    assert session.digest(PART, Span(("2", "b"))).rows == 2
    assert session.digest(PART, Span(None, ("1", "a"))).rows == 1
    assert session.digest(PART, Span(("90", ""))) == Digest(0, 0)


def test_bounds_cut_a_span_into_chunks(session: Comparison) -> None:
    assert session.bound(PART, Span(), 2) == ("1", "b")
    assert session.bound(PART, Span(("1", "b")), 3) == ("3", "")
    assert session.bound(PART, Span(("1", "b")), 4) is None
    assert session.bound(PART, Span(), 100) is None


def test_rows_come_by_key(session: Comparison) -> None:
    assert session.rows(PART, Span(("1", "b")), 10) == {(str(r[0]), r[1]): Digest(1, expected(r)) for r in ROWS[2:]}
    assert len(session.rows(PART, Span(), 4)) == 4
    keys = [("1", "b"), ("77", "b"), ("10", "ä")]
    assert session.rows_at(PART, keys) == {0: Digest(1, expected(ROWS[1])), 2: Digest(1, expected(ROWS[5]))}
    assert session.rows_at(PART, []) == {}


def test_types_of_what_is_missing_are_missing(session: Comparison) -> None:
    assert session.types(T, ["id", "v%", "nothing"]) == {"id": "integer", "v%": "text"}
    assert session.types(TableName("public", "nothing"), ["id"]) == {}
    assert session.chunked(PART)
    assert not session.chunked(Part(T, PART.columns, ()))


def test_without_a_key_the_whole_table_has_a_digest(session: Comparison) -> None:
    assert session.digest(Part(T, PART.columns, ()), Span()).rows == len(ROWS)


@pytest.mark.parametrize("kind", ["scripted", "postgres"])
def test_a_source_gives_rows_as_a_copy_would(kind: str, newest_database: Database) -> None:
    place = Scripted() if kind == "scripted" else Source(newest_database)
    with closing(place.compare()) as session:
        found = session.values(PART, [("2", "a"), ("1", "a"), ("5", "a")])
        assert sorted(found, key=str) == [(b"1", b"a", None), (b"2", b"a", "ü𝄞,\t'\\".encode())]
        assert session.values(PART, []) == []
        assert session.position()


def test_old_and_new_servers_agree(postgres: PrivatePostgres, database: Database) -> None:
    with closing(Source(database).compare()) as session:
        assert session.digest(PART, Span()) == Digest(len(ROWS), sum(expected(row) for row in ROWS))


@pytest.mark.parametrize(
    ("encoding", "value"), [("UTF8", "chr(228) || chr(252)"), ("LATIN1", "chr(228) || chr(252)"), ("SQL_ASCII", r"E'\xC3\xA4\xC3\xBC'")]
)
def test_encodings_agree(newest_database: Database, encoding: str, value: str) -> None:
    part = Part(TableName("public", "encoded"), (("id", PLAIN), ("v", PLAIN)), ("id",))
    other = Database(newest_database.cluster, f"{newest_database.name}_encoded")
    newest_database.run(f"CREATE DATABASE {other.name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        other.run("CREATE TABLE encoded (id int PRIMARY KEY, v text)", f"INSERT INTO encoded VALUES (1, {value})")
        with closing(postgres_source(other).compare(10.0)) as session:
            assert session.digest(part, Span()) == Digest(1, expected((1, "äü")))
    finally:
        other.drop()
