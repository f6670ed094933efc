"""The statements that make a table of another database's outline in MariaDB or MySQL.

Texts get a collation that tells every two texts apart, blanks at their end included: rows with differing keys at the source are then
differing rows here, whatever their letters.
"""

from __future__ import annotations

from headwater.dialects.mysql_session import quote
from headwater.domain.best_types import KEY_BYTES_MAX, best
from headwater.domain.kinds import Kind, kind_of
from headwater.domain.outline import ColumnOutline, Default, Made, Outline, plain
from headwater.domain.tables import TableName

COLLATIONS = {True: "utf8mb4_nopad_bin", False: "utf8mb4_0900_bin"}
"""Whether it is MariaDB -> a collation that neither folds nor pads."""

NAME_MAX = 64
COMMENT_MAX = 1024
TABLE_COMMENT_MAX = 2048
"""Characters."""

TRUTHS = {"t": "1", "f": "0"}
EXPRESSED = frozenset({"tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob", "json", "geometry"})
"""Types whose default must be an expression."""


def create_table(outline: Outline, table: TableName, mariadb: bool) -> Made:
    """How `table` is made after the outline. Pure."""
    names = (table.name, *(one.column.name for one in outline.columns))
    if bad := [name for name in names if len(name) > NAME_MAX or name.endswith(" ")]:
        return Made(problem=f"A name has at most {NAME_MAX} characters and no blank at its end: {', '.join(bad)}. Make the table by hand.")
    notes: list[str] = []
    room = _room([kind_of(one.column.base or one.column.type) for one in outline.columns if one.column.key])
    lines = [_column(one, mariadb, room, notes) for one in outline.columns]
    if outline.key:
        lines.append(f"PRIMARY KEY ({', '.join(map(quote, outline.key))})")
    options = f"ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE={COLLATIONS[mariadb]}"
    if outline.comment and len(outline.comment) <= TABLE_COMMENT_MAX:
        options += f" COMMENT={_literal(outline.comment)}"
    elif outline.comment:
        notes.append("the table's comment is too long")
    body = ",\n    ".join(lines)
    return Made((f"CREATE TABLE {quote(table.schema, table.name)} (\n    {body}\n) {options}",), tuple(notes))


NUMBER_BYTES = 32
"""What a number or time takes of an index at most."""
_NUMBERS = frozenset({"integer", "year", "decimal", "float", "double", "boolean", "bits", "date", "stamp", "instant", "time"})
"""Forms of numbers and times."""


def _room(key: list[Kind]) -> int:
    """The bytes that each text of a key may have."""
    numbers = sum(kind.form in _NUMBERS for kind in key)
    return (KEY_BYTES_MAX - NUMBER_BYTES * numbers) // max(1, len(key) - numbers)


def _column(one: ColumnOutline, mariadb: bool, room: int, notes: list[str]) -> str:
    column = one.column
    source = kind_of(column.base or column.type)
    made = best(source, "mariadb" if mariadb else "mysql", room if column.key else 0)
    if column.key and source.form in ("text", "bytes", "other") and (source.length or 1 << 32) > (kind_of(f"mysql:{made}").length or 0):
        notes.append(f"{column.name}: a key of {source.spelling} becomes {made}; rows with longer ones are refused")
    parts = [quote(column.name), made, "NOT NULL" if not column.nullable or column.key else "NULL"]
    if one.lost:
        notes.append(f"{column.name}: {one.lost}")
    if one.default is not None:
        written = _default(source, kind_of(f"mysql:{made}"), one.default)
        if written is None:
            notes.append(f"{column.name}: its default has no counterpart in {'MariaDB' if mariadb else 'MySQL'}")
        else:
            parts.append(f"DEFAULT {written}")
    if one.comment and len(one.comment) <= COMMENT_MAX:
        parts.append(f"COMMENT {_literal(one.comment)}")
    elif one.comment:
        notes.append(f"{column.name}: its comment is too long")
    return " ".join(parts)


def _default(source: Kind, kind: Kind, default: Default) -> str | None:
    if default.text is None:
        return _now(kind)
    text = TRUTHS.get(default.text, default.text) if kind.name == "tinyint" else default.text
    if not source.mysql and not plain(kind, text):
        return None
    written = _written(kind, text)
    return f"({written})" if kind.name in EXPRESSED or kind.form == "geometry" else written


def _now(kind: Kind) -> str | None:
    if kind.form == "date":
        return "(CURRENT_DATE)"
    if kind.form not in ("stamp", "instant"):
        return None
    return f"CURRENT_TIMESTAMP({kind.precision})" if kind.precision else "CURRENT_TIMESTAMP"


def _written(kind: Kind, text: str) -> str:
    if kind.form in ("integer", "year", "decimal"):
        return text
    if kind.form == "bits":
        return f"b'{text}'"
    if kind.form == "bytes":
        return f"X'{text[2:]}'"
    return _literal(text.removesuffix("+00") if kind.form in ("stamp", "instant") else text)


def _literal(text: str) -> str:
    """A text as `sql_mode` without NO_BACKSLASH_ESCAPES reads it, which our sessions pin."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"
