"""Everything that has to be right at the target before a task starts, all findings at once, each with what repairs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headwater.domain.mapping import TableMapping
from headwater.domain.tables import TableName
from headwater.ports.source import Finding
from headwater.targets.findings import never_cleared, unfit
from headwater.targets.postgres import checkpoints
from headwater.targets.postgres.catalog import ForeignKey, TableInfo, foreign_keys, read_tables
from headwater.targets.postgres.session import Connection, write_as_replica
from headwater.targets.postgres.statements import quote

OLDEST_VERSION = 120000


_TRIGGERS = """
SELECT n.nspname || '.' || c.relname, string_agg(DISTINCT t.tgname, ', ' ORDER BY t.tgname) FROM pg_trigger t
JOIN pg_class c ON c.oid = coalesce(pg_partition_root(t.tgrelid), t.tgrelid) JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%s::oid[]) AND NOT t.tgisinternal
  AND t.tgenabled IN ('A', CASE current_setting('session_replication_role') WHEN 'replica' THEN 'R' ELSE 'O' END) GROUP BY 1 ORDER BY 1
"""
"""Those in force for us; see docs/decisions/0007."""

_OTHER_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


def find(connection: Connection, mappings: Sequence[TableMapping]) -> list[Finding]:
    """All findings; empty when ready."""
    found = list(_server(connection))
    replica = write_as_replica(connection)
    tables = read_tables(connection, sorted({m.target for m in mappings}), "rp" + "".join(_OTHER_KINDS))
    user = str(_one(connection, "SELECT current_user"))
    for mapping in mappings:
        info = tables.get(mapping.target)
        if info is None:
            found.append(Finding(f"The target has no table {mapping.target}.", "Create it, or change the mapping."))
        elif info.kind in _OTHER_KINDS:
            found.append(Finding(f"{info.table} is {_OTHER_KINDS[info.kind]}, not a table.", "Map the table itself."))
        else:
            found += [*_table_itself(info, user), *unfit(mapping, info.table, info.columns, info.defaults), *_identities(mapping, info)]
            found += [*_beside(mapping, info), *_key(mapping, info)]
            found += _privileges(mapping, info, user)
    found += _triggers(connection, list(tables.values()))
    keys = [] if replica else foreign_keys(connection, list(tables.values()))
    found += [*_foreign_keys(connection, mappings, keys, user), *_room_aside(connection, mappings, tables, keys, user)]
    if any(mapping.beside for mapping in mappings) and not _one(connection, checkpoints.MAY_CREATE):
        found.append(
            Finding(
                f"Several mappings fill one table; the user {user} may not create the tables of the schema headwater that keep book of it.",
                f"GRANT CREATE ON SCHEMA headwater TO {_name(user)};",
            )
        )
    return list(dict.fromkeys(found))


def _table_itself(info: TableInfo, user: str) -> Iterator[Finding]:
    """What a table may be that would lose rows, or hide them from us, without a word."""
    if info.unlogged:
        yield Finding(
            f"{info.table} is an unlogged table: a crash of the target empties it, and nobody would notice.",
            f"ALTER TABLE {_table(info)} SET LOGGED;",
        )
    if info.hides:
        yield Finding(
            f"Row security hides rows of {info.table} from the user {user}.",
            f"ALTER ROLE {_name(user)} BYPASSRLS; or ALTER TABLE {_table(info)} DISABLE ROW LEVEL SECURITY;",
        )
    if info.rules:
        yield Finding(
            f"The rule {info.rules[0]} rewrites what is written to {info.table}.",
            f"DROP RULE {_name(info.rules[0])} ON {_table(info)}; or do its work by a trigger.",
        )


def _triggers(connection: Connection, tables: Sequence[TableInfo]) -> Iterator[Finding]:
    for table, names in connection.execute(_TRIGGERS.encode(), [[info.oid for info in tables]]).fetchall():
        yield Finding(
            f"Triggers of {table} fire for every row that is written, and may change or refuse it: {names}.",
            "Disable those whose work the source has done already.",
            stops=False,
        )


def _server(connection: Connection) -> Iterator[Finding]:
    if connection.info.server_version < OLDEST_VERSION:
        yield Finding(f"The target is PostgreSQL {connection.info.server_version // 10000}.", "Use version 12 or later.")
    if _one(connection, "SELECT pg_is_in_recovery()"):
        yield Finding("The target is a standby, which can't be written to.", "Name the primary server.")
        return
    database, user = connection.info.dbname, connection.info.user
    if not checkpoints.prepared(connection) and not _one(connection, checkpoints.MAY_CREATE):
        yield Finding(
            f"The user {user} may not create the schema headwater or its tables, where checkpoints are kept.",
            f"GRANT CREATE ON DATABASE {_name(database)} TO {_name(user)}; or create the schema as docs/reference/databases.md tells.",
        )
    elif checkpoints.prepared(connection) and not _one(connection, checkpoints.MAY_USE):
        yield Finding(
            f"The user {user} may not use the tables of the schema headwater, where checkpoints are kept.",
            f"GRANT USAGE ON SCHEMA headwater TO {_name(user)}; "
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA headwater TO {_name(user)};",
        )
    if not _one(connection, "SELECT has_database_privilege(current_database(), 'TEMPORARY')"):
        yield Finding(
            f"The user {user} may not make temporary tables, through which changes are written.",
            f"GRANT TEMPORARY ON DATABASE {_name(database)} TO {_name(user)};",
        )


def _foreign_keys(connection: Connection, mappings: Sequence[TableMapping], keys: Sequence[ForeignKey], user: str) -> Iterator[Finding]:
    """Foreign keys in force that can't be met (see docs/decisions/0015); all others can."""
    grant = f"GRANT SET ON PARAMETER session_replication_role TO {_name(user)};" if connection.info.server_version >= 150000 else ""
    repair = f"{grant or 'Use a superuser,'} or drop the foreign key at the target: the source keeps the rows consistent."
    filling: dict[TableName | None, list[TableMapping]] = {}
    for mapping in mappings:
        filling.setdefault(mapping.target, []).append(mapping)
    for key in keys:
        for table in {key.child, key.parent} & filling.keys():
            if key.parent is not None and any(not mapping.key for mapping in filling[table]):
                yield Finding(
                    f"The foreign key {key.name} of {key.child_name} is in force for {user}, and {table} is mapped without key.", repair
                )
            if key.parent is not None and len(filling[table]) > 1:
                yield Finding(
                    f"The foreign key {key.name} of {key.child_name} is in force for {user}, and several mappings fill {table}.", repair
                )
        found_by = [frozenset(pair.target for pair in mapping.key) for mapping in filling.get(key.parent, [])]
        if (key.takes_along or key.follows) and any(not key.refers_to <= names for names in found_by):
            yield Finding(
                f"The foreign key {key.name} of {key.child_name} changes rows when ({', '.join(sorted(key.refers_to))}) of {key.parent} "
                "changes, which is not the mapped key: values that pass from one row to another would take rows along. "
                f"It is in force for {user}.",
                repair,
            )


def _room_aside(
    connection: Connection, mappings: Sequence[TableMapping], tables: dict[TableName, TableInfo], keys: Sequence[ForeignKey], user: str
) -> Iterator[Finding]:
    """Where rows of different moments can't stand in the tables, they are kept in tables of ours meanwhile, which have to be made."""
    referring = {table for key in keys for table in (key.child, key.parent) if key.parent is not None}
    loose = {m.target for m in mappings if m.target in tables and _ambiguous(m, tables[m.target])}
    if (referring | loose) and checkpoints.prepared(connection) and not _one(connection, checkpoints.MAY_CREATE):
        yield Finding(
            f"The user {user} may not create tables in the schema headwater, where rows of {min(str(t) for t in referring | loose)} wait "
            "until its constraints let them in.",
            f"GRANT CREATE ON SCHEMA headwater TO {_name(user)};",
        )


def _ambiguous(mapping: TableMapping, info: TableInfo) -> bool:
    key = info.key_on(pair.target for pair in mapping.key)
    return key is not None and not all(column.literal for column in key.columns)


def _identities(mapping: TableMapping, info: TableInfo) -> Iterator[Finding]:
    for pair in mapping.columns:
        if pair.target in info.always_identity and not pair.key and "UPDATE" in mapping.operations:
            yield Finding(
                f"{info.table}.{pair.target} is GENERATED ALWAYS AS IDENTITY, so it can't be updated.",
                f"ALTER TABLE {_table(info)} ALTER COLUMN {_name(pair.target)} SET GENERATED BY DEFAULT;",
            )


def _beside(mapping: TableMapping, info: TableInfo) -> Iterator[Finding]:
    """What only matters where other mappings fill the table too: rows that stay when one of their source rows goes."""
    if not mapping.beside:
        return
    if _ambiguous(mapping, info):
        yield Finding(
            f"{info.table} is filled by several mappings, and by its key's type two different keys of a source may be one there.",
            "Give it a key whose values are equal where their texts are, such as an integer, uuid or text.",
        )
    yield from never_cleared(mapping, info.table, info.columns, info.defaults)


def _key(mapping: TableMapping, info: TableInfo) -> Iterator[Finding]:
    names = [pair.target for pair in mapping.key]
    if names and info.key_on(names) is None:
        yield Finding(
            f"{info.table} has no primary key or unique index on exactly ({', '.join(names)}), by which its mapping finds rows.",
            f"CREATE UNIQUE INDEX ON {_table(info)} ({', '.join(_name(name) for name in names)});",
        )


def _privileges(mapping: TableMapping, info: TableInfo, user: str) -> Iterator[Finding]:
    if not info.schema_usage:
        yield Finding(
            f"The user {user} may not use the schema {info.table.schema}.",
            f"GRANT USAGE ON SCHEMA {_name(info.table.schema)} TO {_name(user)};",
        )
    needed = {"SELECT", "INSERT", *mapping.operations}
    if "UPDATE" in needed or "INSERT" in needed:
        needed |= {"UPDATE"}
    missing = sorted(needed - info.privileges)
    if missing:
        yield Finding(
            f"The user {user} lacks {', '.join(missing)} on {info.table}.",
            f"GRANT {', '.join(missing)} ON {_table(info)} TO {_name(user)};",
        )


def _one(connection: Connection, query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def _name(name: str) -> str:
    return quote(name)


def _table(info: TableInfo) -> str:
    return quote(info.table.schema, info.table.name)
