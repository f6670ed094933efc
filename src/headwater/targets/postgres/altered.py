"""Whether a refused write was refused because somebody altered the target's tables while the run knew them as they were.

A run reads the catalogue once and keeps staging tables of the columns' types. When a write is refused, the tables are looked at over
another connection: what is missing now is told by name, and where they merely differ the run begins anew and learns them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg

from headwater.domain.errors import HeadwaterError, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.tables import TableName
from headwater.targets.postgres.catalog import TableInfo, read_tables
from headwater.targets.postgres.check import find
from headwater.targets.postgres.config import PostgresTargetConfig
from headwater.targets.postgres.session import connect


def explained(
    config: PostgresTargetConfig, mappings: Sequence[TableMapping], known: Mapping[TableName, TableInfo], refusal: HeadwaterError
) -> HeadwaterError:
    """What to raise instead of `refusal`; itself where the tables are as they were, or can't be looked at.

    `schema_mismatch` where something that the mappings need is missing; `target_unavailable`, which begins anew, where it is not."""
    tables = sorted({mapping.target for mapping in mappings} & known.keys())
    try:
        with connect(config) as connection:
            now = read_tables(connection, tables)
            changed = [table for table in tables if table not in now or _seen(now[table]) != _seen(known[table])]
            findings = find(connection, [m for m in mappings if m.target in changed]) if changed else []
    except (psycopg.Error, TargetError):
        return refusal
    if findings:
        return TargetError("The target was altered. " + " ".join(map(str, findings)), kind="schema_mismatch")
    if changed:
        names = ", ".join(map(str, changed))
        return TargetError(f"At the target {names} was altered while it was written to; the run begins anew with the table as it is now.")
    return refusal


def _seen(info: TableInfo) -> tuple[object, ...]:
    """What writing depends on: columns, unique keys, and which columns fill themselves."""
    return info.schema, info.keys, info.defaults
