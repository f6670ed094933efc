"""Tables made after another database's outline: real servers take the statements, and the new table fits the mapping."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.dialects import mysql_ddl, mysql_types, postgres_ddl
from headwater.dialects.mysql_session import READING_MODE, Server, Session, connect
from headwater.domain.fitting import by_name, fit
from headwater.domain.outline import Made, Outline
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.domain.types import compatible
from headwater.sources.mysql.outline import outlines as mysql_outlines
from headwater.sources.postgres.outline import outlines as postgres_outlines
from headwater.targets.postgres import catalog
from tests.databases import Database, MysqlDatabase

ON_POSTGRES = """
CREATE TABLE "Some ""things" (
    id bigint GENERATED ALWAYS AS IDENTITY,
    part text NOT NULL DEFAULT 'it''s \\ here',
    "text" text DEFAULT 'x',
    truth boolean NOT NULL DEFAULT true,
    whole integer DEFAULT -5,
    cents numeric(12,2) DEFAULT 1.50,
    plain numeric DEFAULT 'NaN',
    at timestamp with time zone DEFAULT now(),
    on_day date DEFAULT CURRENT_DATE,
    moment timestamp(3) without time zone DEFAULT '2020-01-01 10:00:00.5',
    ends timestamp without time zone DEFAULT 'infinity',
    doc jsonb DEFAULT '{"a": 1}',
    tags text[] DEFAULT '{}',
    bytes bytea DEFAULT '\\x00ff',
    who uuid DEFAULT gen_random_uuid(),
    bits bit(3) DEFAULT '101',
    long interval DEFAULT '01:00:00',
    feels mood DEFAULT 'glad',
    net inet,
    twice integer GENERATED ALWAYS AS (whole * 2) STORED,
    PRIMARY KEY (id, part)
)
"""
COMMENTS = """COMMENT ON TABLE "Some ""things" IS 'it''s \\ a table'""", """COMMENT ON COLUMN "Some ""things".part IS 'naïve'"""
ON_MYSQL = """
CREATE TABLE `Some "things` (
    id int unsigned NOT NULL AUTO_INCREMENT,
    part varchar(20) NOT NULL DEFAULT 'it''s \\\\ here' COMMENT 'naïve',
    `text` longtext,
    truth tinyint(1) NOT NULL DEFAULT 1,
    whole bigint unsigned DEFAULT 5,
    cents decimal(12,2) DEFAULT 1.50,
    at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    moment datetime(3) DEFAULT '2020-01-01 10:00:00.500',
    never datetime DEFAULT 0,
    on_day date DEFAULT (CURRENT_DATE),
    doc json DEFAULT ('{"a": 1}'),
    bytes varbinary(10) DEFAULT 'ab',
    bits bit(8) DEFAULT b'101',
    longer time DEFAULT '-100:00:00',
    feels enum('sad','glad') DEFAULT 'glad',
    some set('a','b') DEFAULT 'a,b',
    who varchar(36) DEFAULT (uuid()),
    year year DEFAULT 2020,
    place point,
    twice int GENERATED ALWAYS AS (truth * 2) STORED,
    PRIMARY KEY (id, part)
) COMMENT 'it''s \\\\ a table'
"""
CATALOGUE = """
SELECT column_name, column_type, character_set_name, column_key, is_nullable, extra
  FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
"""
NAME = 'Some "things'


def _session(database: MysqlDatabase) -> Session:
    cluster = database.cluster
    return connect(
        Session, Server(cluster.host, cluster.port, database.name, cluster.user, cluster.password), READING_MODE, {}, autocommit=True
    )


def _described(database: MysqlDatabase) -> TableSchema:
    """The table as a mapping sees it."""
    columns = []
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(CATALOGUE, (database.name, NAME))
        for name, kind, charset, key, nullable, extra in cursor.fetchall():
            spelled = kind.decode() if isinstance(kind, bytes) else kind
            generated = "GENERATED" in extra.replace("DEFAULT_GENERATED", "")
            base = mysql_types.base(spelled, charset)
            columns.append(Column(name, spelled, key == "PRI", nullable == "YES", not generated, base=base))
    return TableSchema(TableName(database.name, NAME), tuple(columns))


def _from_postgres(database: Database) -> Outline:
    database.run("CREATE TYPE mood AS ENUM ('sad', 'glad')", ON_POSTGRES, *COMMENTS)
    with database.connect() as connection:
        return postgres_outlines(connection, [TableName("public", NAME)])[TableName("public", NAME)]


def _from_mysql(database: MysqlDatabase) -> Outline:
    database.run("SET sql_mode = ''", ON_MYSQL)
    schema = _described(database)
    with _session(database) as session:
        return mysql_outlines(session, {schema.table: schema})[schema.table]


def _fits(outline: Outline, target: TableSchema) -> None:
    source = TableSchema(outline.table, tuple(one.column for one in outline.columns))
    assert [column.name for column in target.columns] == [column.name for column in source.columns]
    assert fit(source, target, by_name(source, target), compatible).problems == ()
    assert source.key == target.key == ("id", "part")
    for here, there in zip(source.columns, target.columns, strict=True):
        assert here.nullable == there.nullable, here.name


def _into_mysql(database: MysqlDatabase, outline: Outline) -> tuple[Made, TableSchema]:
    made = mysql_ddl.create_table(outline, TableName(database.name, NAME), database.cluster.installation.flavour == "mariadb")
    with _session(database) as session, session.cursor() as cursor:
        for statement in made.statements:
            cursor.execute(statement)
    return made, _described(database)


def _into_postgres(database: Database, outline: Outline) -> tuple[Made, TableSchema]:
    made = postgres_ddl.create_table(outline, TableName("public", NAME))
    database.run(*made.statements)
    with database.connect() as connection:
        schema = catalog.read_tables(connection, [TableName("public", NAME)])[TableName("public", NAME)].schema
    return made, schema


def test_from_postgres_into_mysql(newest_database: Database, mysql_database: MysqlDatabase) -> None:
    outline = _from_postgres(newest_database)
    made, target = _into_mysql(mysql_database, outline)
    _fits(outline, target)
    types = {column.name: column.base for column in target.columns}
    mariadb = mysql_database.cluster.installation.flavour == "mariadb"
    assert (types["plain"], types["truth"], types["at"]) == ("mysql:decimal(65,30)", "mysql:tinyint(1)", "mysql:datetime(6)")
    assert types["who"] == ("mysql:uuid" if mariadb else "mysql:char(36) utf8mb4")
    about = {note.partition(":")[0] for note in made.notes}
    assert about == {"id", "part", "plain", "ends", "who"}
    with mysql_database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute('INSERT INTO `Some "things` (id) VALUES (1)')
        cursor.execute('SELECT part, truth, whole, cents, bits, HEX(bytes), moment, doc, at > "2020-01-01" FROM `Some "things`')
        part, truth, whole, cents, bits, octets, moment, doc, recent = cursor.fetchone()
    assert (part, truth, whole, str(cents), bits, octets) == ("it's \\ here", 1, -5, "1.50", b"\x05", "00FF")
    assert (str(moment), doc, recent) == ("2020-01-01 10:00:00.500000", '{"a": 1}', 1)
    assert mysql_database.rows("SELECT table_comment FROM information_schema.tables WHERE table_schema = DATABASE()") == [
        ("it's \\ a table",)
    ]


def test_from_mysql_into_postgres(newest_database: Database, mysql_database: MysqlDatabase) -> None:
    outline = _from_mysql(mysql_database)
    made, target = _into_postgres(newest_database, outline)
    _fits(outline, target)
    types = {column.name: column.type for column in target.columns}
    assert types["whole"] == "numeric(20,0)"
    assert types["longer"] == "interval(0)"
    assert types["at"] == "timestamp with time zone"
    assert {note.partition(":")[0] for note in made.notes} == {"id", "never", "bytes", "who"}
    newest_database.run('INSERT INTO "Some ""things" (id) VALUES (1)')
    found = newest_database.rows(
        'SELECT part, truth, whole, cents, bits, moment::text, doc::text, longer::text, year, "some" FROM "Some ""things"'
    )
    part, truth, whole, cents, *rest = found[0]
    assert (part, truth, int(whole), str(cents)) == ("it's \\ here", 1, 5, "1.50")
    assert rest == ["00000101", "2020-01-01 10:00:00.5", '{"a": 1}', "-100:00:00", 2020, "a,b"]
    assert newest_database.rows('SELECT obj_description(\'"Some ""things"\'::regclass)') == [("it's \\ a table",)]


def test_from_mysql_into_mysql(mysql_database: MysqlDatabase, make_database: Any, mariadb: Any) -> None:
    outline = _from_mysql(mysql_database)
    target = make_database(mariadb)
    made, schema = _into_mysql(target, outline)
    _fits(outline, schema)
    assert {note.partition(":")[0] for note in made.notes} == {"id", "bytes", "who"}


def test_from_postgres_into_postgres(newest_database: Database, database: Database) -> None:
    outline = _from_postgres(newest_database)
    made, schema = _into_postgres(database, outline)
    _fits(outline, schema)
    assert {note.partition(":")[0] for note in made.notes} == {"id", "who"}


@pytest.mark.parametrize("name", ["ü" * 32, "x" * 64])
def test_names_that_postgres_would_cut_are_refused(name: str) -> None:
    made = postgres_ddl.create_table(Outline(TableName("d", name), ()), TableName("public", name))
    assert "63 bytes" in made.problem
    assert made.statements == ()
