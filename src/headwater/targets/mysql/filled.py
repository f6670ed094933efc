"""Which table each mapping fills: the table itself, not just its name.

Writing goes by name. A table that somebody emptied, or dropped and made anew, takes the next changes without an error, and lacks every row
that was there before. These servers have no number for a table that all may see and that no ALTER changes. So it is noted when the table
was made; where that has changed, and the table has no row but those of this transaction, it is another one. With rows in it, it was
altered. Looked at when a run begins, with each chunk and with each commit, while what was written there keeps the table as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headwater.domain.errors import TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.tables import TableName
from headwater.targets.mysql.session import Connection
from headwater.targets.records import another_table

TABLE = """
    CREATE TABLE IF NOT EXISTS headwater_filled (
        task_id    varchar(64) COLLATE utf8mb4_bin NOT NULL,
        mapping_id varchar(128) COLLATE utf8mb4_bin NOT NULL,
        made       varchar(40) NOT NULL,
        PRIMARY KEY (task_id, mapping_id)
    ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4
    """

_NOTED = """
SELECT f.mapping_id, f.made, COALESCE(s.state, 'pending') = 'pending' FROM headwater_filled f
LEFT JOIN headwater_table_state s ON s.task_id = f.task_id AND s.mapping_id = f.mapping_id WHERE f.task_id = %s
"""
_NOW = "SELECT CAST(CREATE_TIME AS CHAR) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
_NOTE = "REPLACE INTO headwater_filled (task_id, mapping_id, made) VALUES (%s, %s, %s)"


def check(connection: Connection, task_id: str, mappings: Sequence[TableMapping], is_empty: Callable[[TableName], bool]) -> None:
    """Hold the tables of these mappings against the notes, and note those that are new or were altered, in the connection's transaction.

    `is_empty` sees what is committed.

    Raises:
        TargetError: `schema_mismatch`, where a table that holds rows of a mapping is not there any more, or is another one.
    """
    noted = {mapping_id: (made, bool(pending)) for mapping_id, made, pending in connection.ask(_NOTED, [task_id])}
    others = []
    for mapping in mappings:
        found = connection.ask(_NOW, [mapping.target.schema, mapping.target.name])
        made = str(found[0][0] or "") if found else None
        before, pending = noted.get(mapping.mapping_id, (None, True))
        if made is None or (not pending and before != made and is_empty(mapping.target)):
            others += [another_table(mapping, gone=made is None)] if before is not None and not pending else []
        elif made != before:
            connection.run(_NOTE, [task_id, mapping.mapping_id, made])
    if others:
        raise TargetError(" ".join(others), kind="schema_mismatch")
