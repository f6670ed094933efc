"""Tables without a key: rows are found as a whole, and as many of equal rows go or stay as are named.

A row is found by a hash of all of its mapped columns, byte for byte, which the server makes of both sides. It can't delete some of equal
rows by a statement over many; so all that are equal to one that goes are taken out, and those that stay are put in again, each with what
its other columns held.
"""

# ruff: noqa: S608  every name is quoted by `quote`

from __future__ import annotations

import pyarrow as pa

from headwater.dialects.mysql_session import quote
from headwater.domain.errors import TargetError
from headwater.targets.mysql.session import Connection
from headwater.targets.mysql.staging import Stages
from headwater.targets.mysql.statements import Statements, column_list

_HASHES = "CREATE TEMPORARY TABLE {name} (`~hash` binary(32) NOT NULL PRIMARY KEY, `~count` bigint NOT NULL) ENGINE = InnoDB"


def delete_whole(connection: Connection, sql: Statements, stages: Stages, rows: pa.RecordBatch) -> int:
    """Delete as many of each row as there are in `rows`; how many were there.

    Raises:
        TargetError: `target_changed`, some are not there. Where the task leaves operations out that is to be expected, and passed over.
    """
    staging = stages.put(sql, "rows", rows)
    going = _counted(connection, sql, "going", f"FROM {staging} AS t")
    meets = f"{going} AS g ON g.`~hash` = {_hash(sql, 't')}"
    out = _out(connection, sql)
    columns = column_list(sql.writable)
    found = connection.run(
        f"INSERT INTO {out} ({columns}, `~left`) SELECT {column_list(sql.writable, 't')}, "
        f"CAST(row_number() OVER (PARTITION BY g.`~hash`) AS SIGNED) - g.`~count` "
        f"FROM {sql.table} AS t STRAIGHT_JOIN {meets}"
    ).rows
    connection.run(f"DELETE t FROM {sql.table} AS t STRAIGHT_JOIN {meets}")
    kept = connection.run(f"INSERT INTO {sql.table} ({columns}) SELECT {columns} FROM {out} WHERE `~left` > 0").rows
    gone = found - kept
    if gone < rows.num_rows and sql.operations >= {"INSERT", "UPDATE", "DELETE"}:
        raise TargetError(
            f"{sql.name} has no key, so rows are found there as a whole, and {rows.num_rows - gone} of {rows.num_rows} that went or "
            "changed at the source are not there.",
            kind="target_changed",
        )
    return gone


def insert_more(connection: Connection, sql: Statements, staging: str) -> None:
    """Insert as many of each staged row as the table has fewer of."""
    standing = _counted(connection, sql, "standing", f"FROM {sql.table} AS t")
    columns = column_list(sql.columns)
    connection.run(
        f"INSERT INTO {sql.table} ({columns}) SELECT {column_list(sql.columns, 'n')} FROM (SELECT {column_list(sql.columns, 's')}, "
        f"{_hash(sql, 's')} AS `~hash`, row_number() OVER (PARTITION BY {_hash(sql, 's')}) AS `~number` FROM {staging} AS s) AS n "
        f"LEFT JOIN {standing} AS g ON g.`~hash` = n.`~hash` WHERE n.`~number` > COALESCE(g.`~count`, 0)"
    )


def _counted(connection: Connection, sql: Statements, what: str, of: str) -> str:
    """A temporary table of hashes with the number of rows that each has."""
    name = sql.staging(what)
    connection.run(f"DROP TEMPORARY TABLE IF EXISTS {name}")
    connection.run(_HASHES.replace("{name}", name))
    connection.run(f"INSERT INTO {name} SELECT {_hash(sql, 't')}, count(*) {of} GROUP BY 1")
    return name


def _out(connection: Connection, sql: Statements) -> str:
    name = sql.staging("out")
    connection.run(f"DROP TEMPORARY TABLE IF EXISTS {name}")
    connection.run(sql.stage(f"{name} (`~left` bigint)", sql.writable))
    return name


def _hash(sql: Statements, alias: str) -> str:
    """The hash of a row's mapped columns: of each the number of bytes, and the bytes."""
    pieces = ", ".join(
        f"COALESCE(CONCAT(LENGTH({_bytes(sql, alias, name)}), ':', {_bytes(sql, alias, name)}), '-')" for name in sql.columns
    )
    return f"UNHEX(SHA2(CONCAT({pieces}), 256))"


def _bytes(sql: Statements, alias: str, name: str) -> str:
    column = f"{alias}.{quote(name)}"
    exact = f"{column} + 0e0" if sql.info.by_name[name].data_type == "float" else column
    return f"CAST({exact} AS BINARY)"
