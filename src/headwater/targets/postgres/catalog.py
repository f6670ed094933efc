"""What the target's catalogue says about tables: columns, unique keys, foreign keys, privileges. Read once per run and table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from headwater.domain.tables import Column, TableName, TableSchema
from headwater.targets.postgres.session import Connection

_TABLES = """
SELECT n.nspname, c.relname, c.oid, c.relkind = 'p',
       has_schema_privilege(n.oid, 'USAGE'),
       ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p WHERE has_table_privilege(c.oid, p)),
       EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid AND f.conrelid <> c.oid),
       EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid AND f.confdeltype NOT IN ('a', 'r'))
FROM unnest(%s::text[], %s::text[]) AS wanted (schema_name, table_name)
JOIN pg_namespace n ON n.nspname = wanted.schema_name
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.table_name
WHERE c.relkind IN ('r', 'p')
"""

_COLUMNS = """
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, a.attgenerated = '',
       a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL, a.attidentity = 'a'
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

_KEYS = """
SELECT i.indrelid, i.indexrelid, i.indisprimary, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, o.oprname, s.nspname
FROM pg_index i
CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS place
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[place]
JOIN pg_opclass c ON c.oid = i.indclass[place]
JOIN pg_amop p ON p.amopfamily = c.opcfamily AND p.amopstrategy = 3 AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype
JOIN pg_operator o ON o.oid = p.amopopr
JOIN pg_namespace s ON s.oid = o.oprnamespace
WHERE i.indrelid = ANY (%s::oid[]) AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indrelid, NOT i.indisprimary, i.indexrelid, place
"""

_REFERENCES = """
SELECT conname, conrelid, confrelid FROM pg_constraint
WHERE contype = 'f' AND conrelid = ANY (%s::oid[]) AND confrelid = ANY (%s::oid[])
  AND coalesce((to_jsonb(pg_constraint) ->> 'conenforced')::boolean, true)
ORDER BY conname
"""
"""`conenforced` came with version 18."""

_ALL_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'headwater')
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class KeyColumn:
    """A column of a unique key, its type, and the operator by which the key's index compares it: (schema, name)."""

    name: str
    type: str
    equals: tuple[str, str]


@dataclass(frozen=True)
class UniqueKey:
    """A unique index that can find rows: complete, valid, not deferrable, on plain columns."""

    columns: tuple[KeyColumn, ...]
    primary: bool
    never_null: bool

    @property
    def names(self) -> frozenset[str]:
        """Its columns' names."""
        return frozenset(c.name for c in self.columns)


@dataclass
class TableInfo:
    """One table. `referenced`: another table has a foreign key to it; `cascades`: deleting its rows changes rows elsewhere."""

    table: TableName
    oid: int
    partitioned: bool
    schema_usage: bool
    privileges: frozenset[str]
    referenced: bool
    cascades: bool
    columns: list[Column] = field(default_factory=list)
    defaults: set[str] = field(default_factory=set)
    always_identity: set[str] = field(default_factory=set)
    keys: list[UniqueKey] = field(default_factory=list)

    def key_on(self, names: Iterable[str]) -> UniqueKey | None:
        """A unique key on exactly these columns."""
        wanted = frozenset(names)
        return next((key for key in self.keys if key.names == wanted), None)

    @property
    def schema(self) -> TableSchema:
        """The table as the rest of the product sees it; its key is the primary key, else the first unique one without NULL."""
        key = next((k for k in self.keys if k.primary), None) or next((k for k in self.keys if k.never_null), None)
        names = key.names if key else frozenset()
        return TableSchema(self.table, tuple(Column(c.name, c.type, c.name in names, c.nullable, c.writable) for c in self.columns))


def all_tables(connection: Connection) -> list[TableName]:
    """All ordinary and partitioned tables that are not the system's or ours."""
    return [TableName(schema, name) for schema, name in connection.execute(_ALL_TABLES).fetchall()]


def read_tables(connection: Connection, tables: Sequence[TableName]) -> dict[TableName, TableInfo]:
    """Everything about these tables; missing ones are missing in the answer."""
    wanted = [[t.schema for t in tables], [t.name for t in tables]]
    found: dict[int, TableInfo] = {}
    for schema, name, oid, partitioned, usage, privileges, referenced, cascades in connection.execute(_TABLES, wanted):
        found[oid] = TableInfo(TableName(schema, name), oid, partitioned, usage, frozenset(privileges), referenced, cascades)
    for oid, name, kind, nullable, writable, default, always in connection.execute(_COLUMNS, [list(found)]):
        info = found[oid]
        info.columns.append(Column(name, kind, nullable=nullable, writable=writable))
        info.defaults.update([name] if default else [])
        info.always_identity.update([name] if always else [])
    _read_keys(connection, found)
    return {info.table: info for info in found.values()}


def _read_keys(connection: Connection, found: dict[int, TableInfo]) -> None:
    columns: dict[tuple[int, int], list[tuple[KeyColumn, bool]]] = {}
    primary: set[tuple[int, int]] = set()
    for oid, index, is_primary, name, kind, not_null, operator, operator_schema in connection.execute(_KEYS, [list(found)]):
        columns.setdefault((oid, index), []).append((KeyColumn(name, kind, (operator_schema, operator)), not_null))
        primary.update([(oid, index)] if is_primary else [])
    for (oid, index), parts in columns.items():
        key = UniqueKey(tuple(column for column, _ in parts), (oid, index) in primary, all(not_null for _, not_null in parts))
        found[oid].keys.append(key)


def references(connection: Connection, tables: Sequence[TableInfo]) -> list[tuple[str, TableName, TableName]]:
    """Foreign keys among the tables that are in force: (name, child, parent)."""
    names = {info.oid: info.table for info in tables}
    found = connection.execute(_REFERENCES, [list(names), list(names)])
    return [(name, names[child], names[parent]) for name, child, parent in found]


def parents_first(connection: Connection, tables: Sequence[TableInfo]) -> list[TableName]:
    """The tables so that foreign keys among them point backward; where they form a ring, in the order given."""
    parents: dict[TableName, set[TableName]] = {info.table: set() for info in tables}
    for _, child, parent in references(connection, tables):
        parents[child].update({parent} - {child})
    order: list[TableName] = []
    while parents:
        ready = [table for table, above in parents.items() if not above & parents.keys()] or [next(iter(parents))]
        for table in ready:
            del parents[table]
        order += ready
    return order
