"""What arrives as it was verifies as equal: every value of every type through every pair that `compatible` allows across databases.

Each source column stands on a real server, each target column is filled by the target's own ways with the text that the source gives.
Rows that the target refuses are left out. `tests/contract/test_forms.py` shows that values which are not equal are told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import pymysql
import pytest
from psycopg import sql

from headwater.dialects.mysql_session import Server
from headwater.domain.comparing import PLAIN, Form, forms
from headwater.domain.errors import HeadwaterError
from headwater.domain.kinds import kind_of
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.tables import TableName
from headwater.domain.types import compatible
from headwater.ports.compare import Part, SourceComparison, Span
from headwater.targets.mysql.catalog import read_tables
from headwater.targets.mysql.session import Connection, connect
from headwater.targets.mysql.staging import fill
from headwater.targets.mysql.statements import Statements
from tests.contract.test_compare_contract import mysql_source, postgres_source
from tests.databases import Database, MysqlDatabase
from tests.types.chain import session, set_up
from tests.types.matrix import kinds
from tests.types.mysql_matrix import KINDS, POSTGRES
from tests.types.test_mysql_pairs import ELSEWHERE, MORE_MYSQL, MORE_POSTGRES

Texts = dict[str, str]


@dataclass
class Place:
    """A column `v` of a table with a key `id`. `base` is its common type, `type` what comparing takes it for."""

    session: SourceComparison
    table: TableName
    base: str
    type: str = ""

    def __post_init__(self) -> None:
        self.type = self.session.types(self.table, ["v"])["v"]

    def hashes(self, form: Form) -> dict[str, int]:
        """The rows' hashes by id."""
        part = Part(self.table, (("id", PLAIN), ("v", form)), ("id",), "sha256")
        return {key[0]: one.total for key, one in self.session.rows(part, Span(), 1000).items()}

    def texts(self) -> Texts:
        """The values by id, as a copy brings them."""
        part = Part(self.table, (("id", PLAIN), ("v", PLAIN)), ("id",))
        rows = self.session.values(part, [(str(i),) for i in range(20)])
        return {i.decode(): value.decode() for i, value in rows if i is not None and value is not None}


def mysql_column(connection: Connection, name: str, base: str) -> None:
    """Make a table `name`."""
    spelling, _, charset = (
        base.removeprefix("mysql:").rpartition(" ") if kind_of(base).form in ("text", "enum", "set") else (base[6:], "", "")
    )
    connection.run(f"CREATE TABLE {name} (id int PRIMARY KEY, v {spelling} {f'CHARACTER SET {charset}' if charset else ''} NULL)")


def fill_mysql(connection: Connection, database: MysqlDatabase, name: str, texts: Texts) -> None:
    """Write texts by the target's ways; rows that are refused stay out."""
    table = TableName(database.name, name)
    mapping = TableMapping("m", table, table, (ColumnPair("id", "id", True), ColumnPair("v", "v")), frozenset({"INSERT"}))
    statements = Statements(mapping, read_tables(connection, [table])[table], 1)

    def put(some: Texts) -> bool:
        columns = [pa.array([text.encode() for text in side], pa.binary()) for side in (some, some.values())]
        try:
            fill(connection, statements, statements.table, pa.RecordBatch.from_arrays(columns, ["id", "v"]))
        except (HeadwaterError, pymysql.err.Error):
            connection.rollback()
            return False
        connection.commit()
        return True

    if texts and not put(texts):
        for i, text in texts.items():
            put({i: text})


def fill_postgres(connection: psycopg.Connection[tuple[object, ...]], name: str, texts: Texts) -> None:
    """Write texts as a copy would; rows that are refused stay out."""
    for i, text in texts.items():
        try:
            connection.execute(f"INSERT INTO {name} VALUES ({i}, {sql.Literal(text).as_string(connection)})".encode())
        except psycopg.Error:
            connection.rollback()
        else:
            connection.commit()


def unequal(source: Place, target: Place) -> Iterator[str]:
    """Values that stand on both sides and do not verify as equal."""
    found = forms(source.type, target.type)
    if found is None:
        return
    ours, theirs = source.hashes(found[0]), target.hashes(found[1])
    for i in ours.keys() & theirs.keys():
        if ours[i] != theirs[i]:
            yield f"{source.base} to {target.base} ({found[0].kind}): {source.texts()[i][:60]!r}"


KNOWN = {"mysql:varchar(20) latin1 to character varying(3)"}
"""PostgreSQL cuts blanks at the end that a `varchar(n)` has no room for."""


@pytest.fixture
def places(newest_database: Database, mariadb_database: MysqlDatabase) -> Iterator[tuple[list[Place], list[Place], Connection]]:
    """Filled columns of all types of MariaDB, which has those of MySQL and more, and of PostgreSQL."""
    at = mariadb_database.cluster
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect(Server(at.host, at.port, mariadb_database.name, at.user, at.password))))
        mysql = stack.enter_context(closing(mysql_source(mariadb_database).compare(30.0)))
        postgres = stack.enter_context(closing(postgres_source(newest_database).compare(30.0)))
        ours = []
        for number, kind in enumerate(KINDS):
            mysql_column(connection, f"m{number}", kind.base)
            fill_mysql(connection, mariadb_database, f"m{number}", {str(i): text for i, text in enumerate(kind.values.values())})
            ours.append(Place(mysql, TableName(mariadb_database.name, f"m{number}"), kind.base))
        yield ours, list(_postgres_places(newest_database, postgres)), connection


def _postgres_places(database: Database, asking: SourceComparison) -> Iterator[Place]:
    set_up(database)
    version = database.cluster.installation.version[0]
    with session(database) as connection:
        for number, kind in enumerate(kinds(version)):
            if not kind.type.startswith(ELSEWHERE) and not kind.type.endswith(ELSEWHERE):
                connection.execute(f"CREATE TABLE public.p{number} (id int PRIMARY KEY, v {kind.type})".encode())
                connection.commit()
                fill_postgres(connection, f"public.p{number}", {str(i): text for i, text in enumerate(kind.values_of(version).values())})
                yield Place(asking, TableName("public", f"p{number}"), kind.type)


def test_what_arrives_is_equal(
    places: tuple[list[Place], list[Place], Connection], mariadb_database: MysqlDatabase, newest_database: Database
) -> None:
    ours, theirs, connection = places
    wrong = [*_into_mysql(ours, theirs, connection, mariadb_database), *_into_postgres(ours, theirs, newest_database)]
    assert {line.partition(" (")[0] for line in wrong} == KNOWN, "\n".join(wrong)


def _into_mysql(ours: list[Place], theirs: list[Place], connection: Connection, database: MysqlDatabase) -> Iterator[str]:
    texts = {place.base: place.texts() for place in [*ours, *theirs]}
    for base in [*(place.base for place in ours), *(f"mysql:{one}" for one in MORE_MYSQL)]:
        mysql_column(connection, "t", base)
        target = Place(ours[0].session, TableName(database.name, "t"), base)
        for source in [*ours, *theirs]:
            if compatible(source.base, base) is None:
                connection.run("DELETE FROM t")
                connection.commit()
                fill_mysql(connection, database, "t", texts[source.base])
                yield from unequal(source, target)
        connection.run("DROP TABLE t")


def _into_postgres(ours: list[Place], theirs: list[Place], database: Database) -> Iterator[str]:
    database.run("CREATE TYPE label AS ENUM ('a', 'B''b', '1')")
    with database.connect(autocommit=False) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for base in (*POSTGRES, *MORE_POSTGRES):
            connection.execute(f"CREATE TABLE t (id int PRIMARY KEY, v {'label' if base == 'enum' else base})".encode())
            connection.commit()
            target = Place(theirs[0].session, TableName("public", "t"), base)
            for source in ours:
                if compatible(source.base, base) is None:
                    connection.execute(b"DELETE FROM t")
                    connection.commit()
                    fill_postgres(connection, "t", source.texts())
                    yield from unequal(source, target)
            connection.execute(b"DROP TABLE t")
            connection.commit()
