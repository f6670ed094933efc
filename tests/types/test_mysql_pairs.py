"""P8 for every pair of types that `compatible` allows where MySQL or MariaDB are on either side: a value arrives with its meaning, or is
refused. Never changed.

The text in which a value travels is given to a column of the other database, and what stands there then is read back. `meaning` says what
a text means as a value of the source's kind.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pymysql

from headwater.dialects.mysql_session import Server
from headwater.domain.errors import HeadwaterError
from headwater.domain.kinds import Kind, kind_of
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.tables import TableName
from headwater.domain.types import compatible
from headwater.targets.mysql.catalog import read_tables
from headwater.targets.mysql.session import Connection, connect
from headwater.targets.mysql.staging import fill, load
from headwater.targets.mysql.statements import Statements
from headwater.targets.text_rows import copy_rows
from tests.databases import Database, MysqlDatabase
from tests.types.chain import session, set_up
from tests.types.matrix import kinds
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
        return int(TRUTHS.get(text, text), 2) if kind.mysql else TRUTHS.get(text, text)
    if kind.form == "float":
        return struct.unpack("f", struct.pack("f", float(text)))[0]
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


def same(source: Kind, target: str, sent: str, there: str) -> bool:
    """Whether a text that stands in a column of the type `target` means what was sent."""
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
            if not same(kind_of(kind.base), target, value, there):
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


MORE_MYSQL = (
    "decimal(20,0)", "char(20) utf8mb4", "varchar(3) utf8mb4", "bit(8)", "datetime(3)", "varbinary(3)", "smallint unsigned", "tinytext gbk",
)  # fmt: skip
ELSEWHERE = ("range", "ts", "reg", "vector", "txid", "pg_", "xid", "cid", "tid", "public.", "acl", "jsonpath", "refcursor")
"""Beginnings and ends of PostgreSQL's types that only texts take, as they take any other."""

READ_BACK = {
    "bits": "LPAD(BIN(v + 0), {length}, '0')",
    "bytes": "CONCAT('\\\\x', LOWER(HEX(v)))",
    "geometry": "CONCAT('\\\\x', LOWER(HEX(v)))",
    "year": "CAST(v + 0 AS CHAR)",
    "float": "CAST(CAST(v AS DOUBLE) AS CHAR)",
    "instant": "CONCAT(CAST(v AS CHAR), IF(v = 0, '', '+00'))",
}
"""By form: the text in which a value of MySQL travels, as SQL. Others are shown in it."""


class Goal:
    """A table `t` of one column `v` of a type, and the target's own two ways of filling it."""

    def __init__(self, connection: Connection, database: str, base: str) -> None:
        self.connection, self.kind = connection, kind_of(base)
        name, _, charset = self.kind.spelling.rpartition(" ") if self.kind.form in ("text", "enum", "set") else (self.kind.spelling, "", "")
        connection.run("DROP TABLE IF EXISTS t")
        connection.run(f"CREATE TABLE t (v {name} {f'CHARACTER SET {charset}' if charset else ''} NULL)")
        table = TableName(database, "t")
        mapping = TableMapping("m", table, table, (ColumnPair("v", "v"),), frozenset({"INSERT"}))
        self.statements = Statements(mapping, read_tables(connection, [table])[table], 1)
        connection.commit()

    def put(self, values: list[str], *, loading: bool) -> list[str] | None:
        """Give it these values; what stands there then, None where one is refused."""
        batch = pa.RecordBatch.from_arrays([pa.array([value.encode() for value in values], pa.binary())], ["v"])
        try:
            if loading:
                load(self.connection, self.statements, self.statements.table, ["v"], copy_rows(batch))
            else:
                fill(self.connection, self.statements, self.statements.table, batch)
            found = READ_BACK.get(self.kind.form, "CAST(v AS CHAR)").format(length=self.kind.length)
            return [there for (there,) in self.connection.ask(f"SELECT {found} FROM t")]
        except (HeadwaterError, pymysql.err.Error):
            return None
        finally:
            self.connection.rollback()

    def changes(self, sources: dict[str, dict[str, str]]) -> Iterator[str]:
        """Give it each value of each type that it takes; yields those that are another value then."""
        target = f"mysql:{self.kind.spelling}"
        taken: list[tuple[str, str, str]] = []
        for source, values in sources.items():
            if compatible(source, target) is None:
                whole = self.put(list(values.values()), loading=False) is not None
                accepted = values if whole else [label for label in values if self.put([values[label]], loading=False) is not None]
                taken += [(source, label, values[label]) for label in accepted]
        for loading in (False, True) if taken else ():
            found = self.put([value for *_, value in taken], loading=loading)
            assert found is not None, f"{target}: refused together what it has taken one by one"
            for (source, label, value), there in zip(taken, found, strict=True):
                if not same(kind_of(source), target, value, there):
                    yield f"{source.removeprefix('mysql:')} to {self.kind.spelling}, {label}: {value[:60]!r} became {there[:60]!r}"


def _postgres_values(database: Database) -> dict[str, dict[str, str]]:
    """Type -> values by class, as PostgreSQL writes them."""
    set_up(database)
    made: dict[str, dict[str, str]] = {}
    with session(database) as connection:
        found_kinds = kinds(database.cluster.installation.version[0])
        for kind in (one for one in found_kinds if not one.type.startswith(ELSEWHERE) and not one.type.endswith(ELSEWHERE)):
            made[kind.type] = {}
            for label, value in kind.values_of(database.cluster.installation.version[0]).items():
                found = connection.execute(f"SELECT %s::{kind.type}".encode(), [value]).pgresult
                assert found is not None
                made[kind.type][label] = (found.get_value(0, 0) or b"").decode()
        connection.rollback()
    return made


def test_mysql_takes_no_value_for_another(newest_database: Database, mysql_database: MysqlDatabase) -> None:
    flavour = mysql_database.cluster.installation.flavour
    sources = {**_postgres_values(newest_database), **{kind.base: dict(kind.values) for kind in KINDS}}
    targets = [*(kind.base for kind in KINDS if kind.only in ("", flavour)), *(f"mysql:{kind}" for kind in MORE_MYSQL)]
    cluster = mysql_database.cluster
    changed: list[str] = []
    with closing(connect(Server(cluster.host, cluster.port, mysql_database.name, cluster.user, cluster.password))) as connection:
        connection.run("SET GLOBAL local_infile = 1")
        for target in targets:
            changed += Goal(connection, mysql_database.name, target).changes(sources)
    assert {line.partition(":")[0] for line in changed} == set(), "\n".join(changed)
