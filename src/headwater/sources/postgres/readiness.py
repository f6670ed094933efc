"""Everything that would keep tables from being captured, found at once, each with the sentence that repairs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg

from headwater.domain.tables import TableName
from headwater.ports.source import Finding
from headwater.sources.postgres import catalogue, publication, restrictions
from headwater.sources.postgres.config import PostgresConfig

VERSION_MIN = 120000

Connection = psycopg.Connection[tuple[Any, ...]]

SERVER = """
SELECT current_setting('wal_level') AS wal_level, pg_is_in_recovery() AS standby,
       current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots)::int AS free_slots,
       current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication)::int AS free_senders,
       EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %(slot)s) AS has_slot,
       EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %(slot)s AND active) AS sending,
       EXISTS (SELECT FROM pg_roles WHERE (rolname = current_user AND (rolreplication OR rolsuper))
                  OR (rolname IN ('rds_replication', 'cloudsqlsuperuser') AND pg_has_role(oid, 'MEMBER'))) AS may_replicate,
       has_database_privilege(current_database(), 'CREATE') AS may_create,
       quote_ident(current_user) AS role, quote_ident(current_database()) AS database
"""
TABLE = f"""
SELECT wanted.schema, wanted.name, c.relkind, c.relpersistence, c.relreplident,
       quote_ident(wanted.schema) || '.' || quote_ident(wanted.name),
       pg_has_role(c.relowner, 'USAGE'), has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'),
       EXISTS ({catalogue.KEY}), row_security_active(c.oid), quote_ident(wanted.schema),
       ARRAY(SELECT t.oid::regclass::text FROM (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf UNION SELECT c.oid) AS held (oid)
               JOIN pg_class t USING (oid) WHERE t.relkind = 'r' AND t.relreplident <> 'f' ORDER BY 1)
  FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS wanted (schema, name, at)
  LEFT JOIN pg_namespace n ON n.nspname = wanted.schema
  LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
 ORDER BY wanted.at
"""  # noqa: S608  glued from a constant

NARROWED = """
SELECT n.nspname, c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       r.prqual IS NOT NULL AS rows_filtered, r.prattrs IS NOT NULL AS columns_filtered
  FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
  JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE p.pubname = %s AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL)
"""
"""Tables of which the publication leaves something out; possible since version 15."""

BY_PARTITION = "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = %s AND NOT pubviaroot)"
"""True where the publication sends changes of a partitioned table under the names of its partitions; an option since version 13."""

NOT_TABLES = {
    "v": ("a view", "Map the tables behind it."),
    "m": ("a materialized view", "Map the tables behind it."),
    "f": ("a foreign table", "Map the table at the server where it lives."),
    "S": ("a sequence", "Sequences are not replicated: set it at the target before you write there."),
    "i": ("an index", "Map its table."),
    "I": ("an index", "Map its table."),
    "c": ("a composite type", "Map the tables that use it."),
    "t": ("a TOAST table", "Map the table that it belongs to."),
}
NAMED_MAX = 10
"""Partitions that a finding names at most."""

NOT_LOGGED = {"u": "unlogged", "t": "temporary"}


def findings(connection: Connection, config: PostgresConfig, tables: Sequence[TableName]) -> list[Finding]:
    """See `Source.check`. An old server is told alone, for what follows can't be asked of it."""
    version = connection.info.server_version
    if version < VERSION_MIN:
        what = f"The server runs PostgreSQL {version // 10000}."
        return [Finding(what, "Headwater reads the log of PostgreSQL 12 and later: upgrade it.")]
    server = _row(connection, SERVER, {"slot": config.slot})
    found = publication.find(connection, config.publication)
    held = found.tables if found else frozenset[TableName]()
    made = [*_server(server, config), *_publication(found, tables, server, config)]
    if found is not None and version >= 150000:
        made += _narrowed(connection, config, tables)
    by_partition = found is not None and version >= 130000 and connection.execute(BY_PARTITION, (config.publication,)).fetchall()[0][0]
    for row in connection.execute(TABLE, ([t.schema for t in tables], [t.name for t in tables])).fetchall():
        table = TableName(row[0], row[1])
        made += [replace(finding, table=None if row[2] is None else table) for finding in _table(row, version, server["role"])]
        if by_partition and row[2] == "p":
            repair = f"Run: ALTER PUBLICATION {config.publication} SET (publish_via_partition_root = true);"
            made.append(
                Finding(f"The publication {config.publication} sends changes of {row[5]} under the names of its partitions.", repair)
            )
        if row[2] in ("r", "p") and not row[6] and table not in held and (found is None or found.ours):
            made.append(_not_owner(row[5], server["role"], config))
    return made + restrictions.findings(connection, config, tables)


def _row(connection: Connection, query: str, values: dict[str, str]) -> dict[str, Any]:
    cursor = connection.execute(query, values)
    row = cursor.fetchone()
    assert row is not None
    assert cursor.description is not None
    return dict(zip((column.name for column in cursor.description), row, strict=True))


def _server(server: dict[str, Any], config: PostgresConfig) -> list[Finding]:
    made = []
    if server["standby"]:
        made.append(Finding(f"{config.place} is a standby server.", "Use the address of its primary."))
    if server["wal_level"] != "logical":
        repair = "Run: ALTER SYSTEM SET wal_level = 'logical'; then restart the server."
        made.append(Finding(f"The server's wal_level is '{server['wal_level']}', but following its log needs 'logical'.", repair))
    if not server["may_replicate"]:
        role = server["role"]
        made.append(Finding(f"The role {role} may not read the log.", f"Let an administrator run: ALTER ROLE {role} REPLICATION;"))
    if not server["has_slot"] and server["free_slots"] < 1:
        made.append(_exhausted("replication slot", "max_replication_slots", "drop a slot that nobody reads (see pg_replication_slots)"))
    if not server["sending"] and server["free_senders"] < 1:
        made.append(_exhausted("WAL sender", "max_wal_senders", "end a connection that reads the log (see pg_stat_replication)"))
    return made


def _exhausted(what: str, setting: str, otherwise: str) -> Finding:
    repair = f"Raise it: ALTER SYSTEM SET {setting} = ...; then restart the server; or {otherwise}."
    return Finding(f"The server has no {what} left.", repair)


def _publication(
    found: publication.Publication | None, tables: Sequence[TableName], server: dict[str, Any], config: PostgresConfig
) -> list[Finding]:
    name = config.publication
    if found is None:
        if server["may_create"]:
            return []
        grant = f"GRANT CREATE ON DATABASE {server['database']} TO {server['role']};"
        ready = f"CREATE PUBLICATION {name} FOR TABLE ...;"
        what = f"The role {server['role']} may not make a publication in {config.place}."
        return [Finding(what, f"Let an administrator run: {grant} or make the publication beforehand: {ready}")]
    made = []
    if not found.operations:
        repair = f"Run: ALTER PUBLICATION {name} SET (publish = 'insert, update, delete, truncate');"
        made.append(Finding(f"The publication {name} does not publish all operations.", repair))
    missing = sorted(set(tables) - found.tables)
    if missing and not found.ours:
        listed = ", ".join(str(t) for t in missing)
        what = f"The publication {name} belongs to {found.owner} and does not hold {listed}."
        made.append(Finding(what, f"Let its owner run: ALTER PUBLICATION {name} ADD TABLE {listed};"))
    return made


def _narrowed(connection: Connection, config: PostgresConfig, tables: Sequence[TableName]) -> list[Finding]:
    made = []
    for schema, table, name, rows, _ in connection.execute(NARROWED, (config.publication,)).fetchall():
        if TableName(schema, table) in tables:
            what = f"The publication {config.publication} sends only some {'rows' if rows else 'columns'} of {name}."
            again = f"ALTER PUBLICATION {config.publication} DROP TABLE {name}; ALTER PUBLICATION {config.publication} ADD TABLE {name};"
            made.append(Finding(what, f"Let its owner run: {again}"))
    return made


def _not_owner(table: str, role: str, config: PostgresConfig) -> Finding:
    repair = (
        f"Let an administrator make the publication beforehand: CREATE PUBLICATION {config.publication} FOR TABLE {table}, ...; "
        f"or give the table to a role of which {role} is a member: ALTER TABLE {table} OWNER TO ...;"
    )
    return Finding(f"The role {role} does not own {table}, and only its owner can publish it.", repair)


def _table(row: tuple[Any, ...], version: int, role: str) -> list[Finding]:
    """What stands in the way of one table."""
    _, _, kind, persistence, identity, name, _, may_enter, may_read, has_key, hidden, schema, not_whole = row
    if kind is None:
        return [Finding(f"The table {name} does not exist.", "Correct the name, or make the table.")]
    if kind in NOT_TABLES:
        is_, repair = NOT_TABLES[kind]
        return [Finding(f"{name} is {is_}, which has no log of its own.", repair)]
    made = []
    if persistence in NOT_LOGGED:
        what = f"The table {name} is {NOT_LOGGED[persistence]}: its changes are not logged."
        made.append(Finding(what, f"Run: ALTER TABLE {name} SET LOGGED;"))
    if kind == "p" and version < 130000:
        what = f"The table {name} is partitioned, which PostgreSQL 12 can't publish."
        made.append(Finding(what, "Map its partitions, or upgrade to 13 or later."))
    if not may_enter:
        made.append(Finding(f"The role {role} may not use the schema {schema}.", f"Run: GRANT USAGE ON SCHEMA {schema} TO {role};"))
    if not may_read:
        made.append(Finding(f"The role {role} may not read {name}.", f"Run: GRANT SELECT ON TABLE {name} TO {role};"))
    if hidden:
        repair = f"Let an administrator run: ALTER ROLE {role} BYPASSRLS;"
        made.append(Finding(f"Row security would hide rows of {name} from the role {role}.", repair))
    return [*made, *(_key(identity, name) if has_key else _whole_rows(name, not_whole))]


def _key(identity: str, name: str) -> list[Finding]:
    if identity != "n":
        return []
    what = f"The table {name} has replica identity NOTHING, so its updates and deletes do not say which row they mean."
    return [Finding(what, f"Run: ALTER TABLE {name} REPLICA IDENTITY DEFAULT;")]


def _whole_rows(name: str, not_whole: Sequence[str]) -> list[Finding]:
    """Without a key changes find their row as a whole, so the log must hold old rows as a whole. `not_whole` are the table, or those of its
    partitions, where it does not. Inserts alone would do without, but publishing the table would make the server refuse everything else."""
    if not not_whole:
        return []
    what = f"The table {name} has no key and its log lacks old rows: once it is published, PostgreSQL refuses its UPDATE and DELETE."
    alterations = " ".join(f"ALTER TABLE {one} REPLICA IDENTITY FULL;" for one in not_whole[:NAMED_MAX])
    more = f" (and so on for {len(not_whole) - NAMED_MAX} more partitions)" if len(not_whole) > NAMED_MAX else ""
    return [Finding(what, f"Run: {alterations}{more} or give it a key: ALTER TABLE {name} ADD PRIMARY KEY (...);")]
