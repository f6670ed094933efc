"""The contract of `ports/compare.py`, run over every implementation: they must make the very same hashes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from headwater.clusters import PrivatePostgres
from headwater.dialects.mysql_session import Server
from headwater.domain.comparing import PLAIN
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.ports.compare import Comparison, Digest, Hash, Part, SourceComparison, Span
from headwater.sources.mysql.config import MysqlConfig
from headwater.sources.mysql.source import MysqlSource
from headwater.sources.postgres import PostgresConfig, PostgresSource
from headwater.targets.mysql.target import MysqlTarget
from headwater.targets.postgres import PostgresTarget, PostgresTargetConfig
from headwater.testing import MemoryTarget, ScriptedSource
from headwater.testing.rows import Row
from tests.conftest import DatabaseFactory
from tests.databases import Database, MysqlDatabase

T = TableName("public", 'odd "100%s" name')
SCHEMA = TableSchema(
    T, (Column("id", "integer", key=True, nullable=False), Column("part", "text", key=True, nullable=False), Column("v%", "text"))
)
PART = Part(T, (("id", PLAIN), ("part", PLAIN), ("v%", PLAIN)), ("id", "part"))
ROWS: list[tuple[int, str, str | None]] = [
    (1, "a", None), (1, "b", ""), (2, "a", "ü𝄞,\t'\\"), (2, "b", "1:2"), (3, "", "-"), (10, "ä", "x" * 5000),
]  # fmt: skip


def expected(row: tuple[object, ...], by: Hash = "md5") -> int:
    """The hash of a row, as the port's docstring has it."""
    text = ",".join("-" if value is None else f"{len(str(value))}:{value}" for value in row)
    return int(hashlib.new(by, text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


class Place(ABC):
    """A table with `ROWS` and a way to compare it: `part`, whose columns `id` and `v%` have these `types`."""

    part = PART
    types = ("integer", "text")

    @abstractmethod
    def compare(self) -> Comparison: ...

    def expected(self, *rows: tuple[object, ...]) -> Digest:
        """The digest of these rows."""
        return Digest(len(rows), sum(expected(row, self.part.hash) for row in rows))


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


class Mysql(Place):
    types = ("mysql:int", "mysql:text utf8mb4")

    def __init__(self, database: MysqlDatabase, role: str) -> None:
        self.database, self.role = database, role
        self.part = replace(PART, table=TableName(database.name, T.name), hash="sha256")
        name = '`odd "100%s" name`'
        database.run(
            f"CREATE TABLE {name} (id int, part varchar(9) CHARSET latin1, `v%` text, PRIMARY KEY (id, part))",
            *(f"INSERT INTO {name} VALUES {_literals(row)}" for row in ROWS),
        )

    def compare(self) -> Comparison:
        at = self.database.cluster
        if self.role == "target":
            return MysqlTarget(Server(at.host, at.port, self.database.name, at.user, at.password)).compare(10.0)
        return mysql_source(self.database).compare(10.0)


def mysql_source(database: MysqlDatabase) -> MysqlSource:
    """The source adapter of a database."""
    at = database.cluster
    return MysqlSource(MysqlConfig("s", at.host, database.name, at.user, at.port, at.password))


def _literals(row: tuple[object, ...]) -> str:
    return "(" + ", ".join("NULL" if v is None else f"CONVERT(X'{str(v).encode().hex()}' USING utf8mb4)" for v in row) + ")"


@pytest.fixture(
    params=[
        "scripted source",
        "memory target",
        "postgres source",
        "postgres target",
        "mariadb source",
        "mariadb target",
        "mysql source",
        "mysql target",
    ]
)
def place(request: pytest.FixtureRequest, make_database: DatabaseFactory) -> Place:
    """A place of each kind."""
    if request.param == "scripted source":
        return Scripted()
    if request.param == "memory target":
        return Memory()
    kind, _, role = request.param.partition(" ")
    if kind in ("mariadb", "mysql"):
        return Mysql(make_database(request.getfixturevalue(kind)), role)
    database = request.getfixturevalue("newest_database")
    return Source(database) if request.param == "postgres source" else Target(database)


@pytest.fixture
def session(place: Place) -> Iterator[Comparison]:
    """A comparing session of each implementation."""
    with closing(place.compare()) as session:
        yield session


def test_the_digest_is_the_sum_of_the_hashes(place: Place, session: Comparison) -> None:
    assert "sha256" in session.hashes
    for by in session.hashes:
        digest = Digest(len(ROWS), sum(expected(row, by) for row in ROWS))
        assert session.digest(replace(place.part, hash=by), Span()) == digest


def test_a_span_begins_after_its_first_key_and_ends_with_its_last(place: Place, session: Comparison) -> None:
    part = place.part
    assert session.digest(part, Span(("1", "a"), ("2", "b"))) == place.expected(*ROWS[1:4])
    assert session.digest(part, Span(("2", "b"))).rows == 2
    assert session.digest(part, Span(None, ("1", "a"))).rows == 1
    assert session.digest(part, Span(("90", ""))) == Digest(0, 0)


def test_bounds_cut_a_span_into_chunks(place: Place, session: Comparison) -> None:
    part = place.part
    assert session.bound(part, Span(), 2) == ("1", "b")
    assert session.bound(part, Span(("1", "b")), 3) == ("3", "")
    assert session.bound(part, Span(("1", "b")), 4) is None
    assert session.bound(part, Span(), 100) is None


def test_rows_come_by_key(place: Place, session: Comparison) -> None:
    part = place.part
    assert session.rows(part, Span(("1", "b")), 10) == {(str(r[0]), r[1]): place.expected(r) for r in ROWS[2:]}
    assert len(session.rows(part, Span(), 4)) == 4
    keys = [("1", "b"), ("77", "b"), ("10", "ä")]
    assert session.rows_at(part, keys) == {0: place.expected(ROWS[1]), 2: place.expected(ROWS[5])}
    assert session.rows_at(part, []) == {}


def test_types_of_what_is_missing_are_missing(place: Place, session: Comparison) -> None:
    part = place.part
    assert session.types(part.table, ["id", "v%", "nothing"]) == dict(zip(("id", "v%"), place.types, strict=True))
    assert session.types(replace(part.table, name="nothing"), ["id"]) == {}
    assert session.chunked(part)
    assert not session.chunked(replace(part, key=()))


def test_without_a_key_the_whole_table_has_a_digest(place: Place, session: Comparison) -> None:
    assert session.digest(replace(place.part, key=()), Span()).rows == len(ROWS)


@pytest.mark.parametrize("place", ["scripted source", "postgres source", "mariadb source", "mysql source"], indirect=True)
def test_a_source_gives_rows_as_a_copy_would(place: Place, session: SourceComparison) -> None:
    found = session.values(place.part, [("2", "a"), ("1", "a"), ("5", "a")])
    assert sorted(found, key=str) == [(b"1", b"a", None), (b"2", b"a", "ü𝄞,\t'\\".encode())]
    assert session.values(place.part, []) == []
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
