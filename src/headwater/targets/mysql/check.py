"""Everything that has to be right at the target before a task starts, all findings at once, each with what repairs it.

What the user may do is found out by asking for it: rights come by roles, by patterns of names, column by column, and no table of the
catalogue has them all. `EXPLAIN` of a statement needs the rights of the statement, and does nothing. Our own tables are made here already.
"""

# ruff: noqa: S608  every name is quoted by `quote`

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

from pymysql.err import Error

from headwater.dialects.mysql_errors import message_of, number_of
from headwater.dialects.mysql_session import Server, quote
from headwater.domain.mapping import TableMapping
from headwater.ports.source import Finding
from headwater.targets.findings import never_cleared, unfit
from headwater.targets.mysql import books, checkpoints
from headwater.targets.mysql.catalog import TableInfo, read_tables
from headwater.targets.mysql.errors import READ_ONLY
from headwater.targets.mysql.session import Connection
from headwater.targets.mysql.statements import column_list

OLDEST_MARIADB = (10, 5)
OLDEST_MYSQL = (8, 0)
TELLS_APART = ("_nopad_bin", "_0900_bin")
"""Collations to which texts are equal where their bytes are."""
WITHOUT_TRANSACTIONS = ("myisam", "aria")
"""Engines whose tables can be written although nothing is undone there. Others lose rows (MEMORY, BLACKHOLE) or can't change them."""


def find(connection: Connection, server: Server, mappings: Sequence[TableMapping]) -> list[Finding]:
    """All findings; empty when ready. Makes our tables where they are missing."""
    ((user,),) = connection.ask("SELECT CURRENT_USER()")
    found = list(_server(connection, server, str(user)))
    if any(mapping.beside for mapping in mappings):
        found += _books(connection, server, str(user))
    tables = read_tables(connection, sorted({m.target for m in mappings}))
    filled_by = Counter(mapping.target for mapping in mappings)
    for mapping in mappings:
        info = tables.get(mapping.target)
        if info is None:
            found.append(Finding(f"The target has no table {mapping.target}.", "Create it, or change the mapping."))
        elif info.kind != "BASE TABLE":
            found.append(Finding(f"{info.table} is not a table, but a {info.kind.lower()}.", "Map the table itself."))
        else:
            found += [
                *unfit(mapping, info.table, info.columns, info.defaults),
                *_key(mapping, info),
                *_engine(mapping, info),
                *_triggers(info),
            ]
            found += _shared(mapping, info) if filled_by[mapping.target] > 1 else ()
            found += _privileges(connection, mapping, info, str(user))
    return list(dict.fromkeys(found))


def _server(connection: Connection, server: Server, user: str) -> Iterator[Finding]:
    if not connection.since(OLDEST_MARIADB, OLDEST_MYSQL):
        yield Finding(f"The target is {connection.server_name}.", "Use MariaDB 10.5 or MySQL 8.0, or later.")
    ((logs, logged_as),) = connection.ask("SELECT @@GLOBAL.log_bin, @@GLOBAL.binlog_format")
    if int(logs) and str(logged_as).upper() == "STATEMENT":
        yield Finding(
            "The target writes its own log by statements (binlog_format = STATEMENT), which it refuses for transactions like ours.",
            "SET GLOBAL binlog_format = 'ROW';",
        )
    if not connection.loads:
        yield Finding(
            "The server has local_infile off, so rows travel by statements, which is slower.", "SET GLOBAL local_infile = ON;", stops=False
        )
    database = quote(server.database)
    try:
        checkpoints.prepare(connection)
        for name in checkpoints.TABLES:
            for right in ("SELECT * FROM {}", "DELETE FROM {} WHERE false"):
                connection.ask(f"EXPLAIN {right.format(name)}")
    except Error as error:
        connection.rollback()
        yield _of_ours(error, database, user)
    try:
        connection.run("CREATE TEMPORARY TABLE headwater_probe (x int)")
        connection.run("DROP TEMPORARY TABLE headwater_probe")
    except Error as error:
        yield Finding(
            f"The user {user} may not make temporary tables, through which changes are written: {message_of(error)}.",
            f"GRANT CREATE TEMPORARY TABLES ON {database}.* TO {_account(user)};",
        )


def _books(connection: Connection, server: Server, user: str) -> Iterator[Finding]:
    try:
        books.prepare(connection)
    except Error as error:
        connection.rollback()
        yield _of_ours(error, quote(server.database), user)


def _of_ours(error: Error, database: str, user: str) -> Finding:
    if number_of(error) in READ_ONLY:
        return Finding("The target can only be read (read_only): a replica, or kept from changes.", "Name the primary server.")
    return Finding(
        f"The user {user} can't make or use the tables headwater_... in {database}, where checkpoints are kept: {message_of(error)}.",
        f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP ON {database}.* TO {_account(user)};",
    )


def _key(mapping: TableMapping, info: TableInfo) -> Iterator[Finding]:
    names = [pair.target for pair in mapping.key]
    if names and info.key_on(names) is None:
        yield Finding(
            f"{info.table} has no primary key or unique index on exactly ({', '.join(names)}), by which its mapping finds rows.",
            f"CREATE UNIQUE INDEX headwater_key ON {_table(info)} ({column_list(names)});",
        )


def _engine(mapping: TableMapping, info: TableInfo) -> Iterator[Finding]:
    """What can't be promised where nothing is undone: said, as long as rows can be written again by key; refused otherwise."""
    if info.transactional:
        return
    repair = f"ALTER TABLE {_table(info)} ENGINE = InnoDB;"
    names = [pair.target for pair in mapping.key]
    lacks = f"its engine {info.engine} has no transactions"
    if info.engine.lower() not in WITHOUT_TRANSACTIONS:
        yield Finding(f"{info.table} is of the engine {info.engine or '?'}, which does not keep rows as a target has to.", repair)
    elif not names:
        yield Finding(f"{info.table} is mapped without a key, and {lacks}: a crash could leave rows twice.", repair)
    elif further := info.further_keys(names):
        keys = "; ".join(", ".join(key.columns) for key in further)
        yield Finding(
            f"{info.table} has a further unique key ({keys}), and {lacks}: a crash while values change hands could lose rows.", repair
        )
    else:
        yield Finding(
            f"{info.table}: {lacks}. Its rows are there before their checkpoint: readers may see parts of a source's transaction, and "
            "after a crash some are written again, by key.",
            f"For more: {repair}",
            stops=False,
        )


def _shared(mapping: TableMapping, info: TableInfo) -> Iterator[Finding]:
    """What only matters where other mappings fill the table too: no row can be parked, and rows stay when one of their source rows goes."""
    names = [pair.target for pair in mapping.key]
    if names and not info.transactional:
        yield Finding(
            f"{info.table} is filled by several mappings, and its engine {info.engine} has no transactions: a crash could mix their rows.",
            f"ALTER TABLE {_table(info)} ENGINE = InnoDB;",
        )
    if names and (further := info.further_keys(names)):
        keys = "; ".join(", ".join(key.columns) for key in further)
        yield Finding(
            f"{info.table} is filled by several mappings, and has a further unique key ({keys}), so rows of one could stand in the way of "
            "another's.",
            "Remove that key, or let one mapping fill the table.",
        )
    columns = [info.by_name[name] for name in names if name in info.by_name]
    if any(column.collates and not column.collation.endswith(TELLS_APART) for column in columns):
        yield Finding(
            f"{info.table} is filled by several mappings, and to the collation of its key two different keys of a source may be one.",
            "Give the key a collation that tells them apart, such as utf8mb4_nopad_bin (MariaDB) or utf8mb4_0900_bin (MySQL).",
        )
    yield from never_cleared(mapping, info.table, info.columns, info.defaults)


def _triggers(info: TableInfo) -> Iterator[Finding]:
    if info.triggers:
        yield Finding(
            f"Triggers of {info.table} fire for every row that is written, and may change or refuse it: {', '.join(info.triggers)}.",
            "Drop those whose work the source has done already.",
            stops=False,
        )


def _privileges(connection: Connection, mapping: TableMapping, info: TableInfo, user: str) -> Iterator[Finding]:
    names = [pair.target for pair in mapping.columns if pair.target in info.by_name]
    if not names:
        return
    columns, one = column_list(names), quote(names[0])
    asked = {
        "SELECT": f"SELECT {columns} FROM {_table(info)}",
        "INSERT": f"INSERT INTO {_table(info)} ({columns}) SELECT {columns} FROM {_table(info)} WHERE false",
        "UPDATE": f"UPDATE {_table(info)} SET {one} = {one} WHERE false",
    } | ({"DELETE": f"DELETE FROM {_table(info)} WHERE false"} if "DELETE" in mapping.operations or info.further_keys(names) else {})
    missing = []
    for right, statement in asked.items():
        try:
            connection.ask(f"EXPLAIN {statement}")
        except Error as error:
            missing += [right] if number_of(error) in (1142, 1143, 1044, 1227, 1370) else []
    with suppress(Error):
        connection.rollback()
    if missing:
        yield Finding(
            f"The user {user} lacks {', '.join(missing)} on {info.table}.",
            f"GRANT {', '.join(missing)} ON {_table(info)} TO {_account(user)};",
        )


def _account(user: str) -> str:
    name, _, host = user.rpartition("@")
    return f"'{name}'@'{host}'"


def _table(info: TableInfo) -> str:
    return quote(info.table.schema, info.table.name)
