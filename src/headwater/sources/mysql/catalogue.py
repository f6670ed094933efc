"""What the source's catalogue says of its tables: names, columns, types, keys.

MySQL has no number for a column that survives a change of the table, nor one for a table (InnoDB's changes with every rebuild). So columns
are known by their names, and what happens to a table behind its name is read in the log (`ddl.py`). What can be compared with
the log's own announcements is the type: `Column.type_id` is spelled by `types.py` from both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from headwater.dialects import mysql_types
from headwater.dialects.mysql_session import Session, quote
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.sources.mysql import types
from headwater.sources.mysql.connect import rows

TRANSACTIONAL = frozenset({"innodb", "rocksdb", "tokudb", "ndbcluster", "ndb"})
"""Engines with transactions."""

ONE_BY_ONE_MAX = 10
"""Up to so many tables of a database are asked for one by one: the servers open just those then, and not every table there is."""

TABLES = """
SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME
"""
ABOUT = """
SELECT TABLE_NAME AS name, TABLE_TYPE AS kind, ENGINE AS engine, TABLE_ROWS AS estimate, DATA_LENGTH AS bytes
  FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND {}
"""
COLUMNS = """
SELECT TABLE_NAME AS name, COLUMN_NAME AS called, COLUMN_TYPE AS type, DATA_TYPE AS kind, IS_NULLABLE AS nullable, EXTRA AS extra,
       CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation, CHARACTER_OCTET_LENGTH AS bytes
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND {} ORDER BY TABLE_NAME, ORDINAL_POSITION
"""
INDEXES = """
SELECT TABLE_NAME AS name, INDEX_NAME AS called, COLUMN_NAME AS part, SUB_PART AS prefix
  FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND NON_UNIQUE = 0 AND {} ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX
"""

JSON_CHECKS = """
SELECT TABLE_NAME AS name, CHECK_CLAUSE AS clause FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s AND {}
"""
"""MariaDB's JSON is a text with such a check."""


@dataclass(frozen=True)
class Field:
    """A column with what decoding and copying its values takes. `charset` is `binary` for bytes, empty for what is no string. `labels`
    are those of an ENUM or SET. `kind` is DATA_TYPE in lower case."""

    column: Column
    kind: str
    charset: str = ""
    collation: str = ""
    labels: tuple[str, ...] = ()
    unsigned: bool = False
    fraction: int = 0
    virtual: bool = False


@dataclass(frozen=True)
class Table:
    """A table as it is today. `engine` and `estimate` (rows) as the server says; `bytes` of its rows. `primary`: it has a primary key."""

    schema: TableSchema
    fields: tuple[Field, ...]
    engine: str = ""
    estimate: int = 0
    bytes: int = 0
    primary: bool = False

    @property
    def transactional(self) -> bool:
        """Whether a snapshot shows its rows as they were at one moment."""
        return self.engine.lower() in TRANSACTIONAL


def tables(connection: Session, database: str) -> list[TableName]:
    """The base tables of the database that the user may see, in order."""
    return [TableName(database, _text(row["name"])) for row in rows(connection, TABLES, (database,))]


def describe(connection: Session, wanted: Sequence[TableName]) -> dict[TableName, TableSchema]:
    """Today's schemas of the tables that exist."""
    return {name: table.schema for name, table in look(connection, wanted).items()}


def look(connection: Session, wanted: Sequence[TableName]) -> dict[TableName, Table]:
    """The tables among these that exist, in full; views and the like are none."""
    about = {name: row for name, row in _ask(connection, ABOUT, wanted) if row["kind"] == "BASE TABLE"}
    columns: dict[TableName, list[dict[str, Any]]] = {}
    for name, row in _ask(connection, COLUMNS, sorted(about)):
        columns.setdefault(name, []).append(row)
    keys, checks = _keys(connection, columns), _json_checks(connection, columns)
    found = {}
    for name, described in columns.items():
        index, key = keys.get(name, ("", ()))
        fields = tuple(_field(row, key, checks.get(name, frozenset()), connection.mariadb) for row in described)
        found[name] = _table(name, about[name], fields, index == "PRIMARY")
    return found


def kinds(connection: Session, wanted: Sequence[TableName]) -> dict[TableName, tuple[str, str]]:
    """(TABLE_TYPE, engine) of whatever stands under these names."""
    return {name: (_text(row["kind"]), _text(row["engine"] or "")) for name, row in _ask(connection, ABOUT, wanted)}


def _ask(connection: Session, query: str, wanted: Sequence[TableName]) -> Iterator[tuple[TableName, dict[str, Any]]]:
    """The rows about these tables. The catalogue compares names without regard to case; we do."""
    for database, group in groupby(sorted(wanted), key=lambda table: table.schema):
        names = [table.name for table in group]
        if len(names) <= ONE_BY_ONE_MAX:
            found = [row for name in names for row in rows(connection, query.format("TABLE_NAME = %s"), (database, name))]
        else:
            listed = query.format(f"TABLE_NAME IN ({', '.join(['%s'] * len(names))})")
            found = rows(connection, listed, (database, *names))
        for row in found:
            if (name := _text(row["name"])) in names:
                yield TableName(database, name), row


def _keys(connection: Session, columns: dict[TableName, list[dict[str, Any]]]) -> dict[TableName, tuple[str, tuple[str, ...]]]:
    """The index that names a row, with its columns: the primary key, or else the shortest unique one (the first by name) over columns
    without NULL."""
    indexes: dict[tuple[TableName, str], list[tuple[str, bool]]] = {}
    for name, row in _ask(connection, INDEXES, sorted(columns)):
        usable = row["prefix"] is None and row["part"] is not None
        indexes.setdefault((name, _text(row["called"])), []).append((_text(row["part"] or ""), usable))
    found: dict[TableName, tuple[str, tuple[str, ...]]] = {}
    for (name, called), parts in sorted(indexes.items(), key=lambda one: (one[0][0], one[0][1] != "PRIMARY", len(one[1]), one[0][1])):
        fit = {
            _text(row["called"]) for row in columns[name] if row["nullable"] == "NO" and "VIRTUAL" not in _text(row["extra"] or "").upper()
        }
        if name not in found and all(usable and part in fit for part, usable in parts):
            found[name] = called, tuple(part for part, _ in parts)
    return found


def _json_checks(connection: Session, columns: dict[TableName, list[dict[str, Any]]]) -> dict[TableName, frozenset[str]]:
    """The check clauses of tables that have a column which may be MariaDB's JSON."""
    if not connection.mariadb:
        return {}
    texts = [name for name, described in columns.items() if any(row["collation"] == "utf8mb4_bin" for row in described)]
    found: dict[TableName, set[str]] = {}
    for name, row in _ask(connection, JSON_CHECKS, texts):
        found.setdefault(name, set()).add(_text(row["clause"]))
    return {name: frozenset(clauses) for name, clauses in found.items()}


def _table(name: TableName, about: dict[str, Any], fields: tuple[Field, ...], primary: bool) -> Table:
    schema = TableSchema(name, tuple(field.column for field in fields))
    return Table(schema, fields, _text(about["engine"] or ""), int(about["estimate"] or 0), int(about["bytes"] or 0), primary)


def _field(row: dict[str, Any], key: tuple[str, ...], checks: frozenset[str], mariadb: bool) -> Field:
    name, spelled, kind, extra = (_text(row[part] or "") for part in ("called", "type", "kind", "extra"))
    kind = kind.lower()
    charset = types.charset_of(kind, _text(row["charset"] or ""))
    generated = "GENERATED" in extra.upper().replace("DEFAULT_GENERATED", "")
    column = Column(
        name,
        spelled,
        key=name in key,
        nullable=row["nullable"] == "YES",
        writable=not generated,
        type_id=types.from_catalogue(spelled, "varbinary" if mariadb and kind == "vector" else kind, charset, int(row["bytes"] or 0)),
        base=mysql_types.base(spelled, charset or None, json=f"json_valid({quote(name)})" in checks),
    )
    return Field(
        column,
        kind,
        charset,
        _text(row["collation"] or ""),
        types.labels_of(spelled) if kind in ("enum", "set") else (),
        kind not in ("enum", "set") and "unsigned" in spelled,
        types.fraction_of(spelled, kind),
        "VIRTUAL" in extra.upper(),
    )


def _text(value: Any) -> str:
    """A name or a type: MySQL 8 gives some of them as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
