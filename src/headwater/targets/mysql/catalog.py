"""What the target's catalogue says about tables: columns, unique keys, engine, triggers. Read once per run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from headwater.dialects.mysql_types import base
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.targets.mysql.session import Connection, literal
from headwater.targets.mysql.values import ORDERED, TEXTS, reading

OURS = "headwater_"
"""Tables of ours begin with this."""

_TABLES = """
SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.TABLE_TYPE, COALESCE(t.ENGINE, ''), CAST(t.CREATE_TIME AS CHAR) FROM information_schema.TABLES t
WHERE (t.TABLE_SCHEMA, t.TABLE_NAME) IN ({tables})
"""
_COLUMNS = """
SELECT c.TABLE_SCHEMA, c.TABLE_NAME, c.COLUMN_NAME, c.COLUMN_TYPE, LOWER(c.DATA_TYPE), c.IS_NULLABLE = 'YES',
       COALESCE(c.GENERATION_EXPRESSION, '') <> '', c.COLUMN_DEFAULT IS NOT NULL OR c.EXTRA LIKE '%auto_increment%',
       COALESCE(c.CHARACTER_SET_NAME, ''), COALESCE(c.COLLATION_NAME, ''), COALESCE(c.DATETIME_PRECISION, 0)
FROM information_schema.COLUMNS c WHERE (c.TABLE_SCHEMA, c.TABLE_NAME) IN ({tables})
ORDER BY c.TABLE_SCHEMA, c.TABLE_NAME, c.ORDINAL_POSITION
"""
_KEYS = """
SELECT s.TABLE_SCHEMA, s.TABLE_NAME, s.INDEX_NAME, s.COLUMN_NAME, s.SUB_PART, s.NULLABLE = 'YES'
FROM information_schema.STATISTICS s WHERE s.NON_UNIQUE = 0 AND (s.TABLE_SCHEMA, s.TABLE_NAME) IN ({tables})
ORDER BY s.TABLE_SCHEMA, s.TABLE_NAME, s.INDEX_NAME <> 'PRIMARY', s.INDEX_NAME, s.SEQ_IN_INDEX
"""
_TRIGGERS = """
SELECT r.EVENT_OBJECT_SCHEMA, r.EVENT_OBJECT_TABLE, r.TRIGGER_NAME FROM information_schema.TRIGGERS r
WHERE (r.EVENT_OBJECT_SCHEMA, r.EVENT_OBJECT_TABLE) IN ({tables})
"""
_JSON = """
SELECT k.CONSTRAINT_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME FROM information_schema.CHECK_CONSTRAINTS k
WHERE (k.CONSTRAINT_SCHEMA, k.TABLE_NAME) IN ({tables}) AND k.CHECK_CLAUSE = CONCAT('json_valid(`', k.CONSTRAINT_NAME, '`)')
"""
"""MariaDB's JSON is a text with a constraint of the column's name."""
_ALL_TABLES = """
SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES
WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' AND TABLE_NAME NOT LIKE 'headwater\\\\_%' ORDER BY 1, 2
"""


@dataclass(frozen=True)
class TargetColumn:
    """A column: its type whole and by name, and the expression by which it reads values (see `values.py`)."""

    name: str
    type: str
    data_type: str
    nullable: bool
    writable: bool
    default: bool
    charset: str = ""
    collation: str = ""
    json: bool = False

    @cached_property
    def reading(self) -> str:
        """The expression over `{v}`; empty where the column reads the text by itself."""
        return reading(self.data_type, self.type, self.nullable)

    @property
    def base(self) -> str:
        """The type by which it is joined; see `Column.base`."""
        return base(self.type, self.charset or None, json=self.json)

    @property
    def collates(self) -> bool:
        """Whether values may be equal to the column although their bytes differ."""
        return self.data_type in TEXTS and self.collation != "binary"

    @property
    def ordered(self) -> bool:
        """Whether its values come in the same order as at the source."""
        return self.data_type in ORDERED


@dataclass(frozen=True)
class UniqueKey:
    """A unique index. `whole`: on columns as such, not on beginnings or expressions of them."""

    name: str
    columns: tuple[str, ...]
    primary: bool
    never_null: bool
    whole: bool


@dataclass
class TableInfo:
    """One table. `made`: when it was made, as the server tells."""

    table: TableName
    kind: str
    engine: str
    made: str
    columns: list[TargetColumn] = field(default_factory=list)
    keys: list[UniqueKey] = field(default_factory=list)
    triggers: list[str] = field(default_factory=list)

    @property
    def transactional(self) -> bool:
        """Whether its engine has transactions."""
        return self.engine.lower() in ("innodb", "rocksdb", "tokudb", "ndbcluster")

    @cached_property
    def by_name(self) -> dict[str, TargetColumn]:
        """The columns by name."""
        return {column.name: column for column in self.columns}

    @property
    def defaults(self) -> frozenset[str]:
        """Columns that fill themselves."""
        return frozenset(column.name for column in self.columns if column.default)

    @property
    def names(self) -> list[str]:
        """Names that may be said: those of columns and keys."""
        return [*self.by_name, *(key.name for key in self.keys)]

    def key_on(self, names: Iterable[str]) -> UniqueKey | None:
        """A unique key on exactly these columns."""
        wanted = frozenset(names)
        return next((key for key in self.keys if key.whole and frozenset(key.columns) == wanted), None)

    def further_keys(self, names: Iterable[str]) -> list[UniqueKey]:
        """The unique keys beside the one that is on these columns."""
        found = self.key_on(names)
        return [key for key in self.keys if key is not found]

    @property
    def schema(self) -> TableSchema:
        """The table as the rest of the product sees it; its key is the primary key, else the first unique one without NULL."""
        usable = [key for key in self.keys if key.whole and key.never_null]
        names = usable[0].columns if usable else ()
        columns = (Column(c.name, c.type, nullable=c.nullable, writable=c.writable, base=c.base) for c in self.columns)
        return TableSchema(self.table, tuple(replace(column, key=column.name in names) for column in columns))


def all_tables(connection: Connection) -> list[TableName]:
    """All tables of the data source's database that are not ours."""
    return [TableName(schema, name) for schema, name in connection.ask(_ALL_TABLES)]


def read_tables(connection: Connection, tables: Sequence[TableName]) -> dict[TableName, TableInfo]:
    """Everything about these tables; missing ones are missing in the answer."""
    if not tables:
        return {}
    names = ", ".join(f"({_text(table.schema)}, {_text(table.name)})" for table in tables)
    found: dict[TableName, TableInfo] = {}
    for schema, name, kind, engine, made in connection.ask(_TABLES.replace("{tables}", names)):
        table = TableName(schema, name)
        found[table] = TableInfo(table, kind, engine, made or "")
    json = set(connection.ask(_JSON.replace("{tables}", names))) if connection.mariadb else set()
    for schema, name, *column in connection.ask(_COLUMNS.replace("{tables}", names)):
        called, type_, data_type, nullable, generated, default, charset, collation, _ = column
        checked = (schema, name, called) in json
        made_of = TargetColumn(called, type_, data_type, bool(nullable), not generated, bool(default), charset, collation, checked)
        found[TableName(schema, name)].columns.append(made_of)
    _read_keys(connection, names, found)
    for schema, name, trigger in connection.ask(_TRIGGERS.replace("{tables}", names)):
        found[TableName(schema, name)].triggers.append(trigger)
    return found


def _read_keys(connection: Connection, names: str, found: dict[TableName, TableInfo]) -> None:
    parts: dict[tuple[TableName, str], list[tuple[str | None, int | None, bool]]] = {}
    for schema, name, index, column, part, nullable in connection.ask(_KEYS.replace("{tables}", names)):
        parts.setdefault((TableName(schema, name), index), []).append((column, part, bool(nullable)))
    for (table, index), columns in parts.items():
        whole = all(column is not None and part is None for column, part, _ in columns)
        never_null = not any(nullable for *_, nullable in columns)
        key = UniqueKey(index, tuple(c for c, *_ in columns if c is not None), index == "PRIMARY", never_null, whole)
        found[table].keys.append(key)


def _text(name: str) -> str:
    return literal(name).decode()
