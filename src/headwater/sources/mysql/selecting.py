"""The statements of a copy: which expression gives a column's value in its common text form, and which rows a chunk has.

Most values come as the server's text protocol has them, and become text rows in compiled code (`wire/mysql_rows.py`). Only a FLOAT needs an
expression: its own text has fewer digits than it takes. Keys are compared by the server in the columns' own types and collations.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pymysql.converters import escape_string

from headwater.dialects.mysql_session import quote
from headwater.domain.errors import SourceError
from headwater.domain.tables import TableName
from headwater.ports.source import Chunk
from headwater.sources.mysql import types
from headwater.sources.mysql.catalogue import Field, Table
from headwater.wire import mysql_rows

CUT_BY = (
    frozenset(types.INTEGERS)
    | {"decimal", "float", "double", "year", "date", "time", "datetime", "timestamp", "char", "varchar", "binary", "varbinary"}
    | frozenset(types.FORMS)
)
"""Kinds of key columns by whose order a table is cut. An ENUM or SET is ordered by number and compared by label."""

_NUMBER = re.compile(r"-?[0-9.]+(?:e[-+]?[0-9]+)?")
_APPROXIMATE = frozenset({"float", "double"})


def fields_of(table: Table | None, name: TableName, columns: Sequence[str]) -> list[Field]:
    """The columns of these names, in this order.

    Raises:
        SourceError: `source_refused` where the table, `schema_mismatch` where a column is not there.
    """
    if table is None:
        raise SourceError(f"The table {name} does not exist at the source. Correct the mapping, then start again.", kind="source_refused")
    known = {field.column.name: field for field in table.fields}
    if missing := [column for column in columns if column not in known]:
        raise SourceError(f"{name} has no column {missing[0]} any more. Correct the mapping, then start again.", kind="schema_mismatch")
    return [known[column] for column in columns]


def select(name: TableName, fields: Sequence[Field], key: Sequence[Field], chunk: Chunk) -> str:
    """The statement that gives a chunk's values, in the order of `fields`."""
    conditions = [compared(key, ">", chunk.after)] if chunk.after is not None else []
    conditions += [compared(key, "<=", chunk.upto)] if chunk.upto is not None else []
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    expressions = ", ".join(expression(field, quote(field.column.name)) for field in fields)
    return f"SELECT {expressions} FROM {quote(name.schema, name.name)}{where}"  # noqa: S608  identifiers and literals are quoted


def expression(field: Field, value: str) -> str:
    """SQL that gives a value of this column so that `row_kinds` makes its common text of it."""
    return f"{value} * 1e0" if field.kind in _APPROXIMATE and field.column.type != "double" else value


def row_kinds(fields: Sequence[Field]) -> bytes:
    """What `mysql_rows.rows` makes of each column."""
    return bytes(_row_kind(field) for field in fields)


def cut_by(key: Sequence[Field]) -> bool:
    """True where a table with this key can be cut into chunks."""
    return bool(key) and all(field.kind in CUT_BY for field in key)


def compared(key: Sequence[Field], operator: str, bound: Sequence[str]) -> str:
    """The key compared with a bound (`>`, `>=`, `<` or `<=`), column by column; the servers find no range in a comparison of rows."""
    strict = operator[0]
    alternatives = []
    for i, field in enumerate(key):
        last = i == len(key) - 1
        equal = [f"{quote(before.column.name)} = {literal(before, value)}" for before, value in zip(key[:i], bound[:i], strict=True)]
        alternatives.append(" AND ".join([*equal, f"{quote(field.column.name)} {operator if last else strict} {literal(field, bound[i])}"]))
    if len(key) == 1:
        return alternatives[0]
    first = f"{quote(key[0].column.name)} {strict}= {literal(key[0], bound[0])}"  # implied, and a range that an index can be read by
    return f"({first} AND ({' OR '.join(alternatives)}))"


def literal(field: Field, text: str) -> str:
    """A value of this column, given in its common text form, as SQL."""
    kind = field.kind
    if kind in types.INTEGERS or kind in ("decimal", "year") or kind in _APPROXIMATE:
        if not _NUMBER.fullmatch(text):
            raise SourceError(f"A bound of a chunk is no number, as the key column {field.column.name} is.", kind="schema_mismatch")
        return f"{text}e0" if kind in _APPROXIMATE and "e" not in text else text
    if kind in types.BYTES:
        return f"X'{bytes.fromhex(text.removeprefix(chr(92) + 'x')).hex()}'"
    return f"'{escape_string(text.removesuffix('+00') if kind == 'timestamp' else text)}'"


def _row_kind(field: Field) -> int:
    kind = field.kind
    if kind == "bit":
        return mysql_rows.BITS + int(field.column.type_id.removeprefix("bit(").removesuffix(")"))
    if kind in types.BYTES or kind in types.GEOMETRIES:
        return mysql_rows.BYTES
    if kind == "timestamp":
        return mysql_rows.INSTANT
    if kind == "year" or "zerofill" in field.column.type:
        return mysql_rows.NUMBER
    return mysql_rows.PLAIN if kind in CUT_BY and kind not in ("char", "varchar") else mysql_rows.TEXT
