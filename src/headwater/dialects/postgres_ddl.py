"""The statements that make a table of another database's outline in PostgreSQL."""

from __future__ import annotations

from headwater.domain.best_types import best
from headwater.domain.kinds import Kind, kind_of
from headwater.domain.outline import ColumnOutline, Default, Made, Outline, plain
from headwater.domain.tables import TableName

NAME_BYTES_MAX = 63
"""PostgreSQL cuts longer names, with a notice only."""

NOW = frozenset({"stamp", "instant", "date"})


def create_table(outline: Outline, table: TableName) -> Made:
    """How `table` is made after the outline. Pure."""
    names = (table.schema, table.name, *(one.column.name for one in outline.columns))
    if long := [name for name in names if len(name.encode()) > NAME_BYTES_MAX]:
        return Made(problem=f"PostgreSQL cuts names after {NAME_BYTES_MAX} bytes: {', '.join(long)}. Make the table by hand.")
    notes: list[str] = []
    lines = [_column(one, notes) for one in outline.columns]
    if outline.key:
        lines.append(f"PRIMARY KEY ({', '.join(map(quote, outline.key))})")
    whole = f"{quote(table.schema)}.{quote(table.name)}"
    body = ",\n    ".join(lines)
    statements = [f"CREATE TABLE {whole} (\n    {body}\n)"]
    if outline.comment:
        statements.append(f"COMMENT ON TABLE {whole} IS {_literal(outline.comment)}")
    commented = [one for one in outline.columns if one.comment]
    statements += [f"COMMENT ON COLUMN {whole}.{quote(one.column.name)} IS {_literal(one.comment)}" for one in commented]
    return Made(tuple(statements), tuple(notes))


def quote(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def _column(one: ColumnOutline, notes: list[str]) -> str:
    column = one.column
    source = kind_of(column.base or column.type)
    made = best(source, "postgres")
    parts = [quote(column.name), made]
    if not column.nullable or column.key:
        parts.append("NOT NULL")
    if one.lost:
        notes.append(f"{column.name}: {one.lost}")
    if one.default is not None:
        written = _default(source, kind_of(made), one.default)
        if written is None:
            notes.append(f"{column.name}: its default has no counterpart in PostgreSQL")
        else:
            parts.append(f"DEFAULT {written}")
    return " ".join(parts)


def _default(source: Kind, kind: Kind, default: Default) -> str | None:
    if default.text is None:
        return "CURRENT_TIMESTAMP" if kind.form in NOW else None
    if source.mysql and ("\0" in default.text or not plain(kind, default.text)):
        return None
    return default.text if kind.form in ("integer", "decimal") and plain(kind, default.text) else _literal(default.text)


def _literal(text: str) -> str:
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted
