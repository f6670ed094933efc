"""Whether a mapping fits a table as some stretch of the log knows it, column by column. Pure.

A mapping remembers which column each of its pairs was made on (`ColumnShape`). A stretch of the log carries the schema that the table
had then. A column is recognised by its number where both sides know numbers, otherwise by its name, so a mapping that follows a renamed
column still reads older stretches. What it does not recognise is a `Misfit`, never a guess: a column that was dropped and added again
under its name, or that was given another type, may hold values that no change in the log has brought.
"""

from __future__ import annotations

from functools import lru_cache

from headwater.domain.errors import SchemaMismatch
from headwater.domain.mapping import ColumnPair, ColumnShape, TableMapping
from headwater.domain.tables import Column, TableSchema
from headwater.domain.widening import widened

SHOWN_MAX = 5
"""Names of columns that a sentence lists at most."""

COPY_AGAIN = "Save the mapping again, then start the task: this table is copied again, because the log does not hold what rows stand there."


class _Misfit(Exception):
    """Why one column does not fit."""


def places(mapping: TableMapping, schema: TableSchema) -> list[int]:
    """For each pair of the mapping the index of its column in the schema.

    Raises:
        SchemaMismatch: see `misfit`.
    """
    found, problem = _fitted(mapping, tuple(pair.shape for pair in mapping.columns), schema)
    if problem is not None:
        raise SchemaMismatch(problem)
    return list(found)


def misfit(mapping: TableMapping, schema: TableSchema, keyed: bool = True) -> str | None:
    """What the mapping does not find in the schema, as sentences with the repair; None where it fits. `keyed`: the schema tells the key."""
    return _fitted(mapping, tuple(pair.shape for pair in mapping.columns), schema, keyed)[1]


@lru_cache(maxsize=4096)
def _fitted(
    mapping: TableMapping, shapes: tuple[ColumnShape | None, ...], schema: TableSchema, keyed: bool = True
) -> tuple[tuple[int, ...], str | None]:
    """Places and problem. `shapes` are those of the mapping's pairs, which don't count when pairs are compared."""
    problem = _table(shapes, schema)
    if problem is not None:
        return (), problem
    found, problems = [], []
    for pair, shape in zip(mapping.columns, shapes, strict=True):
        try:
            found.append(_place(mapping, pair, shape or ColumnShape(), schema))
        except _Misfit as one:
            problems.append(str(one))
    if keyed and not problems:
        problems += _key(mapping, found, schema)
    return tuple(found), " ".join(dict.fromkeys(problems)) or None


def _table(shapes: tuple[ColumnShape | None, ...], schema: TableSchema) -> str | None:
    if schema.called is not None:
        back = f"Map {schema.called} instead, or give the table its name back and save the mapping again; then start the task."
        return f"{schema.table} was renamed to {schema.called}. {back}"
    known = {shape.table_id for shape in shapes if shape is not None and shape.table_id}
    if schema.id and known and schema.id not in known:
        return f"{schema.table} is another table here: it was dropped and made anew, or another one took its name. {COPY_AGAIN}"
    if not known and schema.columns and all(column.number < 0 for column in schema.columns):
        return (
            f"The rows of {schema.table} may be others from here on: the table, or a partition, was dropped, emptied, exchanged or made "
            f"anew, or another table took its name. {COPY_AGAIN}"
        )
    return None


def _place(mapping: TableMapping, pair: ColumnPair, shape: ColumnShape, schema: TableSchema) -> int:
    names = (pair.source, *shape.names)
    named = next((i for i, column in enumerate(schema.columns) if column.name in names), None)
    if not shape.number or not any(column.number for column in schema.columns):
        if named is None:
            raise _Misfit(_dropped(mapping, pair, schema, "dropped or renamed"))
        if schema.columns[named].number < 0:
            raise _Misfit(_unlogged(pair, schema))
        return _typed(pair, shape, schema, named)
    at = next((i for i, column in enumerate(schema.columns) if column.number == shape.number), None)
    if at is None:
        raise _Misfit(_dropped(mapping, pair, schema, "dropped") if named is None else _again(pair, schema, schema.columns[named]))
    if schema.columns[at].name not in names:
        raise _Misfit(_renamed(mapping, pair, schema, schema.columns[at].name))
    return _typed(pair, shape, schema, at)


def _typed(pair: ColumnPair, shape: ColumnShape, schema: TableSchema, at: int) -> int:
    column = schema.columns[at]
    same = shape.type_id == column.type_id if shape.type_id and column.type_id else shape.type in ("", column.type)
    if not same and (shape.number or not widened(shape.type_id, column.type_id)):
        was = f"{shape.type} to {column.type}" if shape.type != column.type else f"one {column.type} to another"
        raise _Misfit(f"Column {pair.source} of {schema.table} changed its type from {was}. {COPY_AGAIN}")
    return at


def _dropped(mapping: TableMapping, pair: ColumnPair, schema: TableSchema, what: str) -> str:
    mapped = {p.source for p in mapping.columns}
    others = [column.name for column in schema.columns if column.name not in mapped]
    new = f" (columns that are not mapped: {', '.join(others[:SHOWN_MAX])}{', ...' if len(others) > SHOWN_MAX else ''})" if others else ""
    return (
        f"{schema.table} no longer has the column {pair.source}: it was {what}{new}. It filled {mapping.target}.{pair.target}. "
        "Take the pair out of the mapping, or map another column, then start the task."
    )


def _renamed(mapping: TableMapping, pair: ColumnPair, schema: TableSchema, name: str) -> str:
    return (
        f"Column {pair.source} of {schema.table} was renamed to {name}. It fills {mapping.target}.{pair.target}. "
        f"Map {name} instead, then start the task: it goes on from here and nothing is copied again."
    )


def _again(pair: ColumnPair, schema: TableSchema, column: Column) -> str:
    if column.number < 0:
        return f"Columns of {schema.table} were dropped and added after this, and it can't be told any more which is which. {COPY_AGAIN}"
    return f"Column {pair.source} of {schema.table} was dropped, and another one was given its name. {COPY_AGAIN}"


def _unlogged(pair: ColumnPair, schema: TableSchema) -> str:
    return (
        f"The values of column {pair.source} of {schema.table} may have changed here, by a statement that changes the table and not its "
        f"rows (ALTER TABLE). {COPY_AGAIN}"
    )


def _key(mapping: TableMapping, found: list[int], schema: TableSchema) -> list[str]:
    ours = {at for at, pair in zip(found, mapping.columns, strict=True) if pair.key}
    if ours == {i for i, column in enumerate(schema.columns) if column.key}:
        return []
    mapped = ", ".join(pair.source for pair in mapping.key) or "nothing: whole rows"
    keys = f"({', '.join(schema.key) or 'nothing'}) now, but its mapping to {mapping.target} has the key ({mapped})"
    return [f"{schema.table} finds its rows by {keys}. Make both the same, then save the mapping again and start the task."]
