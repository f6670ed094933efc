"""What the log's table maps mean: which table it is for us, which columns these are, and which of them find a row.

A table map tells types. Names, character sets and labels it tells where the server says all (`binlog_row_metadata = FULL`); otherwise
they are those of today's catalogue, as long as its types are the announced ones. Where a table was altered since, only the log can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from headwater.dialects.mysql_session import Session
from headwater.domain.errors import SourceError
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.sources.frames import Framer
from headwater.sources.mysql import catalogue, types
from headwater.sources.mysql.catalogue import Field, Table
from headwater.sources.mysql.config import MysqlConfig
from headwater.sources.mysql.connect import connect, rows, translated
from headwater.sources.mysql.defaults import Defaults
from headwater.wire import binlog_charsets
from headwater.wire.binlog import TablePlan
from headwater.wire.binlog_events import MapColumn, TableMap
from headwater.wire.binlog_values import ColumnPlan

CHARSETS = "SELECT ID AS id, CHARACTER_SET_NAME AS charset FROM information_schema.{} WHERE ID IS NOT NULL"
BYTES = "binary"


class Announcer:
    """Answers the decoder's table maps. It asks the catalogue in a session of its own, once for each map that is new."""

    def __init__(self, config: MysqlConfig, tables: Sequence[TableName]) -> None:
        self.defaults = Defaults(tables)
        self.framer = Framer(str, lambda relation: (relation.schema, relation.name))
        self.wanted = frozenset(tables)
        self._config = config
        self._session: Session | None = None
        self._charsets: dict[int, str] = {}
        self._known: dict[TableName, TableSchema] = {}
        self._fields: dict[TableName, list[Field]] = {}

    def plan_of(self, relation: TableMap) -> TablePlan | None:
        """How the decoder is to read the table; None for one that nobody wants.

        Raises:
            SourceError: the log has rows from before the table was altered, and does not tell of which columns.
        """
        name = TableName(relation.schema, relation.name)
        if name not in self.wanted:
            return None
        with translated(f"Looking up the table {name} in {self._config.place}"):
            today = catalogue.look(self.session, [name]).get(name)
            charsets = self._all_charsets()
        found = _fields(relation, today, charsets)
        if found is None:
            raise SourceError(
                f"The log has rows of {name} from before it was altered or dropped, and does not tell their columns, because "
                "binlog_row_metadata is not FULL.",
                kind="slot_lost",
            )
        self._known[name] = TableSchema(name, tuple(field.column for field in found))
        self._fields[name] = found
        self.framer.announced(relation, self._known[name])
        key = tuple(i for i, field in enumerate(found) if field.column.key)
        return TablePlan(key, tuple(_plan(field) for field in found))

    def defaults_of(self, relation: TableMap, absent: tuple[int, ...], stamp_s: int) -> dict[int, bytes | None]:
        """What an insert of that time leaves to the defaults of these columns, as far as it can be known."""
        name = TableName(relation.schema, relation.name)
        fields = {at: self._fields[name][at] for at in absent}
        with translated(f"Asking for defaults of the table {name} in {self._config.place}"):
            found = self.defaults.of(name, list(fields.values()), stamp_s, lambda: self.session)
        return {at: found[field.column.name] for at, field in fields.items() if field.column.name in found}

    def schema(self, table: TableName) -> TableSchema:
        """How the table was when the log announced it last; otherwise as it is today, without columns where it is gone."""
        if table in self._known:
            return self._known[table]
        with translated(f"Looking up the table {table} in {self._config.place}"):
            return catalogue.describe(self.session, [table]).get(table, TableSchema(table, ()))

    def forget(self, tables: Iterable[TableName]) -> None:
        """They are not any more what the log has announced."""
        for table in tables:
            self._known.pop(table, None)

    def charset(self, collation: int | None) -> str:
        """The character set of a statement's text."""
        with translated(f"Looking up character sets in {self._config.place}"):
            return self._all_charsets().get(collation or 0, "utf8mb4")

    @property
    def session(self) -> Session:
        """A session for the catalogue, opened where there is none."""
        if self._session is None or not self._session.open:
            self._session = connect(self._config)
        return self._session

    def close(self) -> None:
        """Let the session go. Idempotent."""
        if self._session is not None and self._session.open:
            self._session._force_close()

    def _all_charsets(self) -> dict[int, str]:
        """By number of the collation. MariaDB's newer ones are numbered in another table."""
        if not self._charsets:
            listed = "COLLATION_CHARACTER_SET_APPLICABILITY" if self.session.since((10, 10), None) else "COLLATIONS"
            self._charsets = {int(one["id"]): str(one["charset"]) for one in rows(self.session, CHARSETS.format(listed))}
        return self._charsets


def _fields(relation: TableMap, today: Table | None, charsets: dict[int, str]) -> list[Field] | None:
    """The announced columns: today's where they are those, otherwise what the log itself tells; None where it does not."""
    announced = [_announced(column, charsets) for column in relation.columns]
    there = {field.column.name: field for field in today.fields} if today else {}
    if today and len(today.fields) == len(announced):
        pairs = zip(announced, today.fields, relation.columns, strict=True)
        if all(_same(spelled, field, column) for (_, _, spelled), field, column in pairs):
            return list(today.fields)
    keys = relation.primary_key
    if any(column.name is None for column in relation.columns):
        return None
    made = []
    for i, (column, (charset, labels, spelled)) in enumerate(zip(relation.columns, announced, strict=True)):
        field = there.get(column.name or "")
        key = i in keys if keys is not None else bool(field and field.column.key)
        if field is None or not _same(spelled, field, column):
            field = Field(
                Column(column.name or "", spelled or "", type_id=spelled or ""), "", charset, "", labels or (), bool(column.unsigned)
            )
        made.append(_with_key(field, key))
    return made


def _announced(column: MapColumn, charsets: dict[int, str]) -> tuple[str, tuple[str, ...] | None, str | None]:
    """(character set, labels, spelling of the type) of a column, as the log tells them."""
    charset = BYTES if column.collation is None else charsets.get(column.collation, "")
    convert = binlog_charsets.converter(charset) if column.labels is not None and charset != BYTES else None
    labels = None if column.labels is None else tuple((convert(one) if convert else one).decode() for one in column.labels)
    return charset, labels, types.from_log(column, charset, labels)


def _same(spelled: str | None, field: Field, column: MapColumn) -> bool:
    return column.name in (None, field.column.name) and spelled in (None, field.column.type_id)


def _with_key(field: Field, key: bool) -> Field:
    return replace(field, column=replace(field.column, key=key))


def _plan(field: Field) -> ColumnPlan:
    form = field.kind if field.kind in types.FORMS else ""
    charset = "utf8mb4" if field.labels else field.charset or "utf8mb4"
    return ColumnPlan(charset, field.unsigned, field.labels, form, field.fraction)
