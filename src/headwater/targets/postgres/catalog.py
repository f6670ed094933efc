"""What the target's catalogue says about tables: columns, unique keys, foreign keys, privileges. Read once per run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from headwater.dialects.postgres_types import BASE
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.targets.postgres.session import Connection

_TABLES = """
SELECT n.nspname, c.relname, c.oid, c.relkind, c.relpersistence = 'u', row_security_active(c.oid),
       has_schema_privilege(n.oid, 'USAGE'),
       ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p WHERE has_table_privilege(c.oid, p)),
       EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid AND f.conrelid <> c.oid),
       EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = c.oid AND f.condeferrable),
       ARRAY(SELECT r.rulename FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1'
             AND r.ev_enabled IN ('A', CASE current_setting('session_replication_role') WHEN 'replica' THEN 'R' ELSE 'O' END)),
       (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)),
       ARRAY(SELECT DISTINCT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
             WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND (a.attnum = ANY (i.indkey) OR EXISTS (
                 SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = c.oid
                 AND d.refobjsubid = a.attnum)))
FROM unnest(%s::text[], %s::text[]) AS wanted (schema_name, table_name)
JOIN pg_namespace n ON n.nspname = wanted.schema_name
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.table_name
WHERE c.relkind = ANY (%s::"char"[])
"""

_COLUMNS = f"""
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull AND NOT t.typnotnull, a.attgenerated = '',
       a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL, a.attidentity = 'a', base.type
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
{BASE}
WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""  # noqa: S608  glued from a constant

_KEYS = """
SELECT i.indrelid, i.indexrelid, i.indisprimary, a.attname, format_type(a.atttypid, -1), a.attnotnull, o.oprname, s.nspname,
       t.typtype = 'e' OR a.atttypid = 'numeric'::regtype AND a.atttypmod <> -1
           OR coalesce(nullif(t.typbasetype, 0), a.atttypid)::regtype::text = ANY (%s::text[])
           AND (i.indcollation[place] = 0 OR (SELECT l.collisdeterministic FROM pg_collation l WHERE l.oid = i.indcollation[place])),
       t.typcategory <> 'A'
FROM pg_index i
CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS place
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[place]
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_opclass c ON c.oid = i.indclass[place]
JOIN pg_amop p ON p.amopfamily = c.opcfamily AND p.amopstrategy = 3 AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype
JOIN pg_operator o ON o.oid = p.amopopr
JOIN pg_namespace s ON s.oid = o.oprnamespace
WHERE i.indrelid = ANY (%s::oid[]) AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indrelid, NOT i.indisprimary, i.indexrelid, place
"""

_LITERAL = (
    *("smallint", "integer", "bigint", "oid", "uuid", "boolean", "date", "bytea", "money", "pg_lsn", "inet", "cidr", "macaddr", "macaddr8"),
    *("text", "character varying", "name", "timestamp without time zone", "timestamp with time zone"),
    *("time without time zone", "time with time zone"),
)
"""Types whose values are equal where their texts are, in the form in which our sessions write them."""

_FOREIGN_KEYS = """
SELECT f.conname, child.root, parent.root, f.confdeltype NOT IN ('a', 'r'), f.confupdtype NOT IN ('a', 'r'), f.confdeltype = 'a',
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = f.confrelid AND a.attnum = ANY (f.confkey)),
       n.nspname, c.relname
FROM pg_constraint f
CROSS JOIN LATERAL (SELECT coalesce(pg_partition_root(f.conrelid), f.conrelid)::oid AS root) AS child
CROSS JOIN LATERAL (SELECT coalesce(pg_partition_root(f.confrelid), f.confrelid)::oid AS root) AS parent
JOIN pg_class c ON c.oid = child.root
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE f.contype = 'f' AND (child.root = ANY (%s::oid[]) OR parent.root = ANY (%s::oid[])) AND f.conparentid = 0
  AND coalesce((to_jsonb(f) ->> 'conenforced')::boolean, true)
ORDER BY f.conname
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
    """A column of a unique key, its type without length (a cast with one would cut values), and the operator by which the key's index
    compares it: (schema, name).

    `literal`: values are equal where their texts are. Otherwise two keys of the source may be one here (`citext`, 1.0 and 1.00).
    `in_arrays`: many values can stand in one array, which arrays themselves can't."""

    name: str
    type: str
    equals: tuple[str, str]
    literal: bool
    in_arrays: bool = True


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


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key, between roots of partitioned tables. `parent` None or `child` None: not among the tables that were asked for.

    `takes_along`: deleting a row that is referred to changes rows of the child; `follows`: changing it does; `patient`: a row that is
    referred to may be deleted and inserted anew in one statement. `refers_to` are the parent's columns."""

    name: str
    child: TableName | None
    parent: TableName | None
    child_name: str
    takes_along: bool
    follows: bool
    patient: bool
    refers_to: frozenset[str]


@dataclass
class TableInfo:
    """One table; `kind` as in `pg_class.relkind`. `referenced`: another table has a foreign key to it; `deferrable`: it has
    constraints that may be checked as late as at the commit; `further_unique`: it has more than one unique or exclusion index, and
    `unique_columns` are the columns of all of them.
    `hides`: row security applies to us; `rules` are those in force that rewrite what we write."""

    table: TableName
    oid: int
    kind: str
    unlogged: bool
    hides: bool
    schema_usage: bool
    privileges: frozenset[str]
    referenced: bool
    deferrable: bool
    rules: tuple[str, ...]
    further_unique: bool
    unique_columns: frozenset[str]
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
        return TableSchema(self.table, tuple(replace(c, key=c.name in names) for c in self.columns))


def all_tables(connection: Connection) -> list[TableName]:
    """All ordinary and partitioned tables that are not the system's or ours."""
    return [TableName(schema, name) for schema, name in connection.execute(_ALL_TABLES).fetchall()]


def read_tables(connection: Connection, tables: Sequence[TableName], kinds: str = "rp") -> dict[TableName, TableInfo]:
    """Everything about these tables; missing ones, and those of other kinds (`pg_class.relkind`), are missing in the answer."""
    wanted = [[t.schema for t in tables], [t.name for t in tables], list(kinds)]
    found: dict[int, TableInfo] = {}
    for schema, name, oid, kind, *facts, privileges, referenced, deferrable, rules, unique, of_unique in connection.execute(
        _TABLES, wanted
    ):
        table = TableName(schema, name)
        unlogged, hides, usage = facts
        found[oid] = TableInfo(
            table, oid, kind, unlogged, hides, usage, frozenset(privileges), referenced, deferrable, tuple(rules),
            unique > 1, frozenset(of_unique),
        )  # fmt: skip
    for oid, name, kind, nullable, writable, default, always, base in connection.execute(_COLUMNS, [list(found)]):
        info = found[oid]
        info.columns.append(Column(name, kind, nullable=nullable, writable=writable, base=base))
        info.defaults.update([name] if default else [])
        info.always_identity.update([name] if always else [])
    _read_keys(connection, found)
    return {info.table: info for info in found.values()}


def _read_keys(connection: Connection, found: dict[int, TableInfo]) -> None:
    columns: dict[tuple[int, int], list[tuple[KeyColumn, bool]]] = {}
    primary: set[tuple[int, int]] = set()
    for oid, index, is_primary, name, kind, not_null, operator, schema, literal, in_arrays in connection.execute(
        _KEYS, [list(_LITERAL), list(found)]
    ):
        column = KeyColumn(name, kind, (schema, operator), bool(literal), in_arrays)
        columns.setdefault((oid, index), []).append((column, not_null))
        primary.update([(oid, index)] if is_primary else [])
    for (oid, index), parts in columns.items():
        key = UniqueKey(tuple(column for column, _ in parts), (oid, index) in primary, all(not_null for _, not_null in parts))
        found[oid].keys.append(key)


def foreign_keys(connection: Connection, tables: Sequence[TableInfo]) -> list[ForeignKey]:
    """Foreign keys to or from these tables that the server enforces."""
    names = {info.oid: info.table for info in tables}
    found = []
    for name, child, parent, along, follows, patient, columns, schema, table in connection.execute(
        _FOREIGN_KEYS, [list(names), list(names)]
    ):
        key = (names.get(child), names.get(parent), str(TableName(schema, table)))
        found.append(ForeignKey(name, *key, along, follows, patient, frozenset(columns)))
    return found


def parents_first(tables: Sequence[TableName], keys: Sequence[ForeignKey]) -> list[TableName]:
    """The tables so that foreign keys among them point backward; where they form a ring, in the order given."""
    parents: dict[TableName, set[TableName]] = {table: set() for table in tables}
    for key in keys:
        if key.child in parents and key.parent is not None:
            parents[key.child].update({key.parent} - {key.child})
    order: list[TableName] = []
    while parents:
        ready = [table for table, above in parents.items() if not above & parents.keys()] or [next(iter(parents))]
        for table in ready:
            del parents[table]
        order += ready
    return order
