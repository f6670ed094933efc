"""What we make at the source: one publication and one replication slot per data source, and their removal.

The publication comes first, always: a slot that is older than its publication can't be decoded. A publication that an administrator
has made under our name, for roles that own no tables, is used as it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from headwater.domain.errors import SourceError
from headwater.domain.tables import TableName
from headwater.sources.postgres.config import PostgresConfig
from headwater.sources.postgres.slot import FAILOVER_SINCE

Connection = psycopg.Connection[tuple[Any, ...]]

LOCK_TIMEOUT = "30s"
SLOT_TIMEOUT = "60s"
RELEASE_TIMEOUT_S = 10.0

PUBLICATION = """
SELECT pg_has_role(pubowner, 'USAGE'), puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate, pg_get_userbyid(pubowner)
  FROM pg_publication WHERE pubname = %s
"""
PUBLISHED = "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = %s ORDER BY 1, 2"
KINDS = """
SELECT n.nspname, c.relname, c.relkind = 'p' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
SLOT = "SELECT active, active_pid FROM pg_replication_slots WHERE slot_name = %s"
CREATE_SLOT = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"
CREATE_FAILOVER_SLOT = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput', failover => true)"
DROP_SLOT = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
END_WALSENDER = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active"


@dataclass(frozen=True)
class Publication:
    """The publication under our name as it stands. `ours`: we may change and drop it. `operations`: it publishes all of them."""

    ours: bool
    operations: bool
    owner: str
    tables: frozenset[TableName]


def find(connection: Connection, name: str) -> Publication | None:
    """The publication, None where there is none."""
    row = connection.execute(PUBLICATION, (name,)).fetchone()
    if row is None:
        return None
    held = frozenset(TableName(*pair) for pair in connection.execute(PUBLISHED, (name,)))
    return Publication(row[0] and not row[1], row[2], row[3], held)


def has_slot(connection: Connection, name: str) -> bool:
    """True where the slot is there, in whatever state."""
    return connection.execute(SLOT, (name,)).fetchone() is not None


def publish(connection: Connection, config: PostgresConfig, tables: Sequence[TableName]) -> None:
    """See `Source.publish`. The slot is made with the publication; where only the slot is missing, opening the log decides."""
    found = find(connection, config.publication)
    wanted = frozenset(tables)
    if found is None:
        _change(connection, [_create(connection, config.publication, tables)])
        renew_slot(connection, config.slot)
    elif found.ours:
        _change(connection, _alterations(connection, config.publication, found.tables, wanted))
    elif not wanted <= found.tables:
        missing = ", ".join(str(t) for t in sorted(wanted - found.tables))
        raise SourceError(
            f"The publication {config.publication} in {config.place} belongs to {found.owner} and does not hold {missing}. "
            f"Let its owner run: ALTER PUBLICATION {config.publication} ADD TABLE {missing};",
            kind="source_refused",
        )


def create_slot(connection: Connection, name: str) -> None:
    """Make the slot. The server waits for the transactions that are open now; where they take too long nothing is made.

    Raises:
        SourceError: `source_unavailable` after `SLOT_TIMEOUT`.
    """
    connection.execute("SELECT set_config('statement_timeout', %s, false)", (SLOT_TIMEOUT,))
    try:
        connection.execute(CREATE_FAILOVER_SLOT if connection.info.server_version >= FAILOVER_SINCE else CREATE_SLOT, (name,))
    except psycopg.errors.QueryCanceled:
        raise SourceError(
            f"The replication slot {name} could not be made within {SLOT_TIMEOUT}: a transaction that began before is still open. "
            "End it (see pg_stat_activity and pg_prepared_xacts); Headwater tries again."
        ) from None
    finally:
        if not connection.closed:
            connection.execute("SELECT set_config('statement_timeout', '0', false)")


def renew_slot(connection: Connection, name: str) -> None:
    """Make the slot for a publication that was not there a moment ago.

    A slot that is older has been reading without it: what was changed meanwhile can't be decoded (some versions fail, others leave it
    out without a word). Such a slot is dropped and none made, so that opening the log after a known place says that it is lost.
    """
    if has_slot(connection, name):
        drop_slot(connection, name)
    else:
        create_slot(connection, name)


def drop_slot(connection: Connection, name: str) -> None:
    """Drop the slot, ending whoever reads from it. Idempotent."""
    deadline = time.monotonic() + RELEASE_TIMEOUT_S
    while True:
        try:
            connection.execute(DROP_SLOT, (name,))
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            connection.execute(END_WALSENDER, (name,))
            time.sleep(0.05)
        else:
            return


def release(connection: Connection, config: PostgresConfig) -> None:
    """See `Source.release`. A publication that belongs to somebody else stays."""
    drop_slot(connection, config.slot)
    found = find(connection, config.publication)
    if found is not None and found.ours:
        connection.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(config.publication)))


def table_list(connection: Connection, tables: Sequence[TableName]) -> sql.Composable:
    """The tables as a publication names them: without what inherits from them, partitioned tables as a whole."""
    found = connection.execute(KINDS, ([t.schema for t in tables], [t.name for t in tables]))
    partitioned = {TableName(schema, name) for schema, name, kind in found if kind}
    names = [(sql.SQL("{}") if t in partitioned else sql.SQL("ONLY {}")).format(sql.Identifier(t.schema, t.name)) for t in tables]
    return sql.SQL(", ").join(names)


def _create(connection: Connection, name: str, tables: Sequence[TableName]) -> sql.Composable:
    options = "publish = 'insert, update, delete, truncate'"
    if connection.info.server_version >= 130000:
        options += ", publish_via_partition_root = true"
    of_tables = sql.SQL("FOR TABLE {} ").format(table_list(connection, tables)) if tables else sql.SQL("")
    return sql.SQL("CREATE PUBLICATION {} {}WITH ({})").format(sql.Identifier(name), of_tables, sql.SQL(options))


def _alterations(connection: Connection, name: str, held: frozenset[TableName], wanted: frozenset[TableName]) -> list[sql.Composable]:
    """Only what differs, so that the log of the others is not touched."""
    made: list[sql.Composable] = []
    for verb, tables in (("ADD", sorted(wanted - held)), ("DROP", sorted(held - wanted))):
        if tables:
            statement = sql.SQL(f"ALTER PUBLICATION {{}} {verb} TABLE {{}}")
            made.append(statement.format(sql.Identifier(name), table_list(connection, tables)))
    return made


def _change(connection: Connection, statements: Sequence[sql.Composable]) -> None:
    if not statements:
        return
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
        for statement in statements:
            connection.execute(sql.Composed([statement]))
