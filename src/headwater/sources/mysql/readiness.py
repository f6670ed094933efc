"""What keeps tables of a MariaDB or MySQL from being captured: asked for before the start, and told all at once.

Much of it the server would take without a word, and then leave changes out of its log: a statement-based log, the rows of foreign keys
that cascade, a replica that does not log what it replicates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pymysql.err import Error

from headwater.dialects.mysql_errors import number_of
from headwater.dialects.mysql_session import Session, quote
from headwater.domain.tables import TableName
from headwater.ports.source import Finding
from headwater.sources.mysql import catalogue, lineage
from headwater.sources.mysql.catalogue import Table
from headwater.sources.mysql.config import MysqlConfig
from headwater.sources.mysql.connect import row, rows

VERSION_MIN = {True: (10, 5), False: (5, 7)}
"""By whether it is MariaDB."""

KEPT_MIN_S = 86_400
"""How long the server has to keep its log at least, so that a night without Headwater does no harm."""

SYSTEM = frozenset({"mysql", "information_schema", "performance_schema", "sys"})
NO_TABLE, NO_RIGHT, NO_RIGHT_COLUMN, NO_PRIVILEGE = 1146, 1142, 1143, 1227
EMPTIED = frozenset({"memory", "heap"})
ELSEWHERE = frozenset({"blackhole", "federated", "csv", "spider", "connect", "sphinx", "oqgraph"})

VARIABLES = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ({})"
WANTED = (
    "log_bin", "binlog_format", "binlog_row_image", "server_id", "binlog_expire_logs_seconds", "expire_logs_days", "log_slave_updates",
    "log_replica_updates", "innodb_native_foreign_keys",
)  # fmt: skip

CASCADES = """
SELECT CONSTRAINT_NAME AS called, TABLE_NAME AS name, REFERENCED_TABLE_NAME AS parent, DELETE_RULE AS deletes, UPDATE_RULE AS updates
  FROM information_schema.REFERENTIAL_CONSTRAINTS
 WHERE CONSTRAINT_SCHEMA = %s AND (DELETE_RULE IN ('CASCADE', 'SET NULL') OR UPDATE_RULE IN ('CASCADE', 'SET NULL'))
 ORDER BY TABLE_NAME, CONSTRAINT_NAME
"""
_GLOBAL = re.compile(r"GRANT (.*) ON \*\.\* TO", re.DOTALL)


def findings(connection: Session, config: MysqlConfig, tables: Sequence[TableName]) -> list[Finding]:
    """See `Source.check`. An old server is told alone, for what follows can't be asked of it."""
    if connection.version[:2] < VERSION_MIN[connection.mariadb]:
        repair = "Headwater reads the log of MariaDB 10.5 and later and of MySQL 5.7 and later: upgrade it."
        return [Finding(f"The server runs {connection.server_name}.", repair)]
    variables = _variables(connection)
    privileges = _privileges(connection)
    made = [*_log(variables, config), *_rights(connection, privileges, config), *_filters(connection, variables, tables)]
    if _is_replica(connection) and variables.get("log_replica_updates", variables.get("log_slave_updates")) == "OFF":
        name = "log_slave_updates" if connection.mariadb else "log_replica_updates"
        repair = f"Set {name} = ON in its configuration and restart it, or use the address of its primary."
        made.append(Finding(f"{config.server.place} is a replica that does not log what it replicates.", repair))
    found, there = catalogue.look(connection, tables), catalogue.kinds(connection, tables)
    for table in tables:
        made += _table(connection, table, found.get(table), there.get(table), variables)
    return [*made, *_cascades(connection, variables, tables)]


def _variables(connection: Session) -> dict[str, str]:
    listed = ", ".join(f"'{name}'" for name in WANTED)
    return {str(one["variable_name"]).lower(): str(one["value"]) for one in rows(connection, VARIABLES.format(listed))}


def _log(variables: dict[str, str], config: MysqlConfig) -> Iterator[Finding]:
    if variables.get("log_bin") not in ("ON", "1"):
        yield Finding("The server writes no binary log (log_bin is OFF).", "Set log_bin in its configuration and restart it.")
    if (form := variables.get("binlog_format", "ROW")) != "ROW":
        repair = "Run: SET GLOBAL binlog_format = 'ROW'; put it in the configuration, and let applications connect anew."
        yield Finding(f"The server's log holds statements and not rows (binlog_format is {form}).", repair)
    if variables.get("server_id") in ("0", None):
        yield Finding("The server has no server_id, so that it sends its log to nobody.", "Run: SET GLOBAL server_id = 1;")
    if config.server_id is not None and str(config.server_id) == variables.get("server_id"):
        what = f"server_id {config.server_id} is the server's own, so that it would not send us its log."
        yield Finding(what, "Give this data source another server_id, one that no server of the database has, or none at all.")
    kept_s = _kept_s(variables)
    if kept_s is not None and kept_s < KEPT_MIN_S:
        name, value = ("binlog_expire_logs_seconds", "604800") if "binlog_expire_logs_seconds" in variables else ("expire_logs_days", "7")
        what = f"The server keeps its log for {kept_s} seconds only; what was not captured by then would be lost."
        yield Finding(what, f"Run: SET GLOBAL {name} = {value}; and put it in the configuration.")


def _kept_s(variables: dict[str, str]) -> int | None:
    """For how long the log is kept, None for ever. Where a server has both settings the one in seconds counts, unless it is 0."""
    seconds = int(variables.get("binlog_expire_logs_seconds") or 0)
    days = float(variables.get("expire_logs_days") or 0)
    return seconds or round(days * 86_400) or None


def _privileges(connection: Session) -> set[str]:
    """The global privileges of our user, with those of the roles that it has now."""
    query = "SHOW GRANTS"
    if connection.since(None, (8, 0)):
        roles = str(row(connection, "SELECT CURRENT_ROLE() AS roles")["roles"])
        query = f"SHOW GRANTS FOR CURRENT_USER() USING {roles}" if roles not in ("NONE", "") else query
    found: set[str] = set()
    for one in rows(connection, query):
        if grant := _GLOBAL.match(str(next(iter(one.values())))):
            found |= {name.strip().upper() for name in grant[1].split(",")}
    return found


def _rights(connection: Session, have: set[str], config: MysqlConfig) -> Iterator[Finding]:
    status = "BINLOG MONITOR" if connection.mariadb else "REPLICATION CLIENT"
    granted = {"ALL", "ALL PRIVILEGES"} & have
    missing = [right for right in ("REPLICATION SLAVE", status) if right not in have and not granted]
    if missing:
        what = f"The user {config.user} may not read the log of {config.server.place}."
        yield Finding(what, f"Let an administrator run: GRANT {', '.join(missing)} ON *.* TO {_who(connection)};")
    if not connection.mariadb and not granted and not have & {"RELOAD", "FLUSH_TABLES", "PROCESS"}:
        what = f"The user {config.user} can neither hold commits back while a copy begins, nor see when they are over."
        yield Finding(what, f"Let an administrator run: GRANT RELOAD, PROCESS ON *.* TO {_who(connection)};")


def _who(connection: Session) -> str:
    user, _, host = str(row(connection, "SELECT CURRENT_USER() AS who")["who"]).rpartition("@")
    return f"'{user}'@'{host}'"


def _filters(connection: Session, variables: dict[str, str], tables: Sequence[TableName]) -> Iterator[Finding]:
    """Databases that the server leaves out of its log."""
    if variables.get("log_bin") not in ("ON", "1"):
        return
    try:
        status = lineage.status(connection)
    except Error as error:
        if number_of(error) == NO_PRIVILEGE:
            return  # told already
        raise
    only, ignored = ({one for one in str(status.get(name) or "").split(",") if one} for name in ("binlog_do_db", "binlog_ignore_db"))
    for database in sorted({table.schema for table in tables}):
        if (only and database not in only) or database in ignored:
            what = f"The server leaves the database {database} out of its log (binlog_{'do' if only else 'ignore'}_db)."
            yield Finding(what, "Take that setting out of its configuration and restart it.")


def _is_replica(connection: Session) -> bool:
    """Whether the server is told to replicate from another one; without the right to see that, at MariaDB, whether it does so now."""
    newer = "SHOW REPLICA STATUS" if connection.since(None, (8, 0, 22)) else "SHOW SLAVE STATUS"
    try:
        return bool(rows(connection, "SHOW ALL SLAVES STATUS" if connection.mariadb else newer))
    except Error as error:
        if number_of(error) != NO_PRIVILEGE:
            raise
    if not connection.mariadb:
        return False  # the missing right is told already
    return rows(connection, "SHOW GLOBAL STATUS LIKE 'Slaves_running'")[0]["value"] not in ("0", 0)


def _table(
    connection: Session, name: TableName, table: Table | None, there: tuple[str, str] | None, variables: dict[str, str]
) -> Iterator[Finding]:
    """What stands in the way of one table."""
    if name.schema.lower() in SYSTEM:
        yield Finding(f"{name} is a table of the system.", "Take it out of the mapping.", name)
        return
    refused = _reading(connection, name)
    if refused == NO_TABLE or (there is None and not refused):
        yield Finding(f"The table {name} does not exist.", "Correct the name, or make the table.")
        return
    if refused:
        repair = f"Let an administrator run: GRANT SELECT ON {quote(name.schema, name.name)} TO {_who(connection)};"
        yield Finding(f"The user may not read {name}.", repair, name)
    if table is None:
        if there is not None:
            repair = "Map the tables behind it." if "VIEW" in there[0] else "Take it out of the mapping."
            yield Finding(f"{name} is a {there[0].lower()}, whose changes the log does not tell row by row.", repair, name)
        return
    yield from _engine(name, table)
    image = variables.get("binlog_row_image", "FULL")
    virtual = next((field.column.name for field in table.fields if field.virtual), None)
    if image.upper() == "MINIMAL" and connection.mariadb and virtual is not None:
        what = f"With binlog_row_image = MINIMAL the log does not tell changes of virtual columns, as {virtual} of {name} is one."
        yield Finding(what, "Run: SET GLOBAL binlog_row_image = 'FULL'; and put it in the configuration.", name)
    if image.upper() not in ("FULL", "FULL_NODUP") and not table.schema.key:
        what = f"The log does not hold whole rows (binlog_row_image is {image}), by which rows of {name}, which has no key, are found."
        yield Finding(what, "Run: SET GLOBAL binlog_row_image = 'FULL'; and put it in the configuration; or give the table a key.", name)


def _reading(connection: Session, name: TableName) -> int:
    """The number of the error that reading the table gives, 0 where it can be read."""
    try:
        connection.query(f"SELECT * FROM {quote(name.schema, name.name)} LIMIT 0")  # noqa: S608  a quoted name
    except Error as error:
        if number_of(error) in (NO_TABLE, NO_RIGHT, NO_RIGHT_COLUMN, 1044, 1049):
            return NO_TABLE if number_of(error) == 1049 else number_of(error)
        raise
    return 0


def _engine(name: TableName, table: Table) -> Iterator[Finding]:
    engine = table.engine.lower()
    change = f"Run: ALTER TABLE {quote(name.schema, name.name)} ENGINE = InnoDB;"
    if engine in EMPTIED:
        yield Finding(f"{name} is a table in memory, which a restart of the server empties.", change, name)
    elif engine in ELSEWHERE:
        yield Finding(f"The rows of {name} are kept by the engine {table.engine}, and change without the log.", change, name)
    elif not table.transactional and not table.schema.key:
        what = f"{name} has neither transactions (engine {table.engine}) nor a key, so that no exact copy of it can be made."
        yield Finding(what, f"{change} Or give it a primary key.", name)


def _cascades(connection: Session, variables: dict[str, str], tables: Sequence[TableName]) -> Iterator[Finding]:
    """Foreign keys by which rows of a mapped table change, and the log does not tell. MySQL 9.6 has moved that to where it is logged."""
    if variables.get("innodb_native_foreign_keys") == "OFF":
        return
    wanted = set(tables)
    for database in sorted({table.schema for table in tables}):
        for one in rows(connection, CASCADES, (database,)):
            child = TableName(database, str(one["name"]))
            if child in wanted:
                yield _cascade(child, one)


def _cascade(child: TableName, one: dict[str, Any]) -> Finding:
    events = (("DELETE", one["deletes"]), ("UPDATE", one["updates"]))
    rules = [f"ON {event} {rule}" for event, rule in events if rule in ("CASCADE", "SET NULL")]
    what = (
        f"Rows of {child} change by the foreign key {one['called']} ({' '.join(rules)}) when rows of {one['parent']} do, "
        "and the log does not tell: InnoDB does that by itself."
    )
    name = quote(child.schema, child.name)
    repair = (
        f"Make it a constraint that refuses: ALTER TABLE {name} DROP FOREIGN KEY {quote(str(one['called']))}; and add it again "
        "with ON DELETE RESTRICT ON UPDATE RESTRICT, so that the application (or a trigger, whose changes are logged) changes "
        "these rows itself. "
        f"Or take {child} out of the mapping."
    )
    return Finding(what, repair, child)
