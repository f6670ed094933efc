"""What an insert leaves to the defaults of columns: with `binlog_row_image = MINIMAL` the log does not tell these values.

Both servers leave out just the columns whose default is a literal, or none; what they compute (expressions, times, generated columns,
AUTO_INCREMENT) is in the log. Only MariaDB's virtual columns are not, and those can't be known. The server itself is asked for a default,
by the same expressions as a copy asks for values.

**Whose default.** The catalogue has today's definition of a table, and the row may be from before it was altered. It is the right one where
the table was made or altered last before the row's statement began, before the log was opened at its end, or by a statement that was met in
the log. An alteration that runs long beside inserts begins before them and counts behind them: it is met in the log later, in front of the
place where the log ended when the server was asked. Then what was captured may be wrong, and capture stops and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pymysql.err import Error

from headwater.dialects.mysql_errors import number_of
from headwater.dialects.mysql_session import Session, quote
from headwater.domain.errors import SourceError
from headwater.domain.tables import TableName
from headwater.sources.mysql import lineage, reading, selecting
from headwater.sources.mysql.catalogue import Field
from headwater.sources.mysql.connect import row

CREATED = """
SELECT UNIX_TIMESTAMP(CREATE_TIME) AS created FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
"""
_ALTERS = re.compile(r"\b(?:ALTER|CREATE|DROP|RENAME)\b", re.IGNORECASE)
NO_DEFAULT, NO_COLUMN, NO_TABLE = 1364, 1054, 1146
ROUNDING_S = 1

Text = bytes | None
Place = tuple[int, int]


class Defaults:
    """The defaults of a log's tables. `opened_s` is the source's clock when the log was opened at its end; 0 where that was elsewhere."""

    def __init__(self, tables: Sequence[TableName]) -> None:
        self.opened_s = 0
        self._tables = tables
        self._altered_s: dict[TableName, int] = {}
        self._known: dict[TableName, tuple[int, dict[str, Text]]] = {}
        self._asked_at: dict[TableName, Place] = {}

    def of(self, table: TableName, fields: Sequence[Field], stamp_s: int, ask: Callable[[], Session]) -> dict[str, Text]:
        """The defaults of these columns by name, as texts in common form; without those that can't be known for a row of that time."""
        created_s, known = self._known.get(table, (-1, {}))
        wanted = [field for field in fields if field.column.writable and field.column.name not in known]
        if wanted:
            session = ask()
            now_s = _created_s(session, table)
            if now_s != created_s:
                created_s, known, wanted = now_s, {}, [field for field in fields if field.column.writable]
            known |= {field.column.name: text for field in wanted for text in _default(session, table, field)}
            if _created_s(session, table) != created_s:
                return {}  # altered meanwhile
            self._known[table] = created_s, known
            self._asked_at[table] = lineage.end_place(session)
        in_force = created_s >= 0 and (created_s < stamp_s or created_s <= max(self.opened_s, self._altered_s.get(table, 0)))
        return known if in_force else {}

    def statement(self, text: str, ended_s: int, place: Place) -> None:
        """A statement was met in the log in front of `place`. It counts for each table whose name it has, if it may alter a table.

        Raises:
            SourceError: `slot_lost`, defaults from behind this place were taken for rows in front of it.
        """
        if not _ALTERS.search(text):
            return
        for table in self._tables:
            name = re.escape(table.name.replace("`", "``"))
            if re.search(rf"(?<![\w$]){name}(?![\w$])", text, re.IGNORECASE):
                self._altered(table, ended_s + ROUNDING_S, place)

    def _altered(self, table: TableName, altered_s: int, place: Place) -> None:
        if place < self._asked_at.pop(table, place):
            raise SourceError(
                f"Rows of {table} that left columns to their defaults were captured with the defaults that it has since it was altered, "
                "because binlog_row_image is not FULL and capture was behind. Reset the tasks that read it without a time, so that it "
                "is copied again.",
                kind="slot_lost",
            )
        self._known.pop(table, None)
        self._altered_s[table] = altered_s


def _created_s(session: Session, table: TableName) -> int:
    """When the table was made or altered last, by its server's clock; -1 where it is gone."""
    found = row(session, CREATED, (table.schema, table.name))
    return int(found["created"]) if found and found["created"] is not None else -1


def _default(session: Session, table: TableName, field: Field) -> list[Text]:
    """The column's default, alone in a list; empty where it has none, or where the server does not tell it.

    Without rows there is nothing to select it from; beside a row that is not there it is told for columns that may be NULL."""
    name = quote(table.schema, table.name)
    place = f"(SELECT 1) AS nothing LEFT JOIN {name} ON FALSE" if field.column.nullable else f"{name} LIMIT 1"
    statement = f"SELECT {selecting.expression(field, f'DEFAULT({quote(field.column.name)})')} FROM {place}"  # noqa: S608  names are quoted
    try:
        block = b"".join(reading.text_rows(session, statement, selecting.row_kinds([field]), lambda ended: ended._force_close()))
    except Error as error:
        if number_of(error) in (NO_DEFAULT, NO_COLUMN, NO_TABLE):
            return []
        raise
    if not block:
        return []
    return [None if block == b"\\N\n" else reading.fields(block)[0].encode()]
