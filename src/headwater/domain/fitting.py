"""Whether two tables can be joined by column pairs, and by which key. Pure.

A change finds its row at the target by key, so the key must mean the same row on both sides: every column of the source's key is
paired, and together the pairs fill exactly the target's key. With less, two source rows would fall together in one
target row, or a delete (which brings only the source's key) could not name its row.

A source table without a usable key is joined without one: its rows are found as a whole. Then no other mapping may fill the target table,
because copying the one again would clear the rows of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from headwater.domain.mapping import ColumnPair, ColumnShape, TableMapping
from headwater.domain.tables import Column, TableSchema

Compatible = Callable[[str, str], str | None]
"""None where a target type takes every value of a source type, otherwise why not; arguments as `Column.type` spells them."""


@dataclass(frozen=True)
class Fit:
    """How two tables are joined. `problems` are sentences for the person who maps; the columns can be applied only without any.

    `percent` is the share of the source's columns that are mapped, rounded down."""

    columns: tuple[ColumnPair, ...]
    percent: int
    problems: tuple[str, ...] = ()


def by_name(source: TableSchema, target: TableSchema) -> list[tuple[str, str]]:
    """Pairs of equally named columns, in the source's order; a name that differs in case only counts as equal where nothing else
    matches. Generated columns are left out on both sides: the log does not hold them, and nobody may write them."""
    theirs = [column.name for column in target.columns if column.writable]
    ours = [column.name for column in source.columns if column.writable]
    folded = {name.casefold(): name for name in theirs if name not in ours}
    pairs = [(name, name if name in theirs else folded.pop(name.casefold(), None)) for name in ours]
    return [(name, other) for name, other in pairs if other is not None]


def fitting(source: TableSchema, target: TableSchema, compatible: Compatible) -> tuple[list[tuple[str, str]], list[str]]:
    """The pairs by name whose types fit, and a sentence for each that does not."""
    pairs = by_name(source, target)
    misfits = {pair: reason for pair in pairs for reason in _type_problems(source, target, pair, compatible)}
    return [pair for pair in pairs if pair not in misfits], list(misfits.values())


def fit(source: TableSchema, target: TableSchema, pairs: Sequence[tuple[str, str]], compatible: Compatible) -> Fit:
    """Join two tables by pairs of (source column, target column), with every problem told at once."""
    problems = [problem for pair in pairs for problem in _pair_problems(source, target, pair, compatible)]
    problems += [f"The target column {name} is filled by more than one pair; keep one." for name in _repeated([t for _, t in pairs])]
    if not pairs:
        problems.append(f"No columns of {source.table} and {target.table} are paired.")
    keyed = {(s, t) for s, t in pairs if s in source.key and t in target.key}
    problems += _key_problems(source, target, keyed)
    columns = with_shapes([ColumnPair(s, t, (s, t) in keyed) for s, t in pairs], source)
    share = len({s for s, _ in pairs}) * 100 // max(1, len(source.columns))
    return Fit(columns, min(share, 100), tuple(problems))


def with_shapes(pairs: Sequence[ColumnPair], source: TableSchema) -> tuple[ColumnPair, ...]:
    """The pairs with what their source columns are in this schema; former names are kept."""
    made = []
    for pair in pairs:
        column, names = _column(source, pair.source), pair.shape.names if pair.shape else ()
        made.append(pair if column is None else replace(pair, shape=replace(ColumnShape.of(source, column), names=names)))
    return tuple(made)


def sharing(mappings: Sequence[TableMapping], operations: frozenset[str]) -> list[str]:
    """What is wrong with a task's mappings that have no key, seen together and with the operations that the task replicates."""
    problems = []
    for mapping in mappings:
        if mapping.key:
            continue
        if any(other.target == mapping.target for other in mappings if other is not mapping):
            problems.append(
                f"{mapping.source} has no usable key, so {mapping.target} must be filled by it alone: when it is copied again, the rows "
                f"of other tables there would be lost. Give {mapping.source} a primary key, or map it to a table of its own."
            )
        if "UPDATE" in operations and "INSERT" not in operations:
            problems.append(
                f"{mapping.source} has no usable key, so its updates can't be told from inserts, which the task leaves out. "
                f"Let the task replicate INSERT, leave out UPDATE, or give {mapping.source} a primary key."
            )
    return problems


def _pair_problems(source: TableSchema, target: TableSchema, pair: tuple[str, str], compatible: Compatible) -> list[str]:
    read, written = _column(source, pair[0]), _column(target, pair[1])
    problems = []
    if read is None:
        problems.append(f"{source.table} has no column {pair[0]}.")
    elif not read.writable:
        problems.append(f"{source.table}.{pair[0]} is a generated column, which the log does not hold; leave it out.")
    if written is None:
        problems.append(f"{target.table} has no column {pair[1]}.")
    elif not written.writable:
        problems.append(f"{target.table}.{pair[1]} is a generated column, which can't be written; leave it out.")
    return problems + _type_problems(source, target, pair, compatible)


def _type_problems(source: TableSchema, target: TableSchema, pair: tuple[str, str], compatible: Compatible) -> list[str]:
    read, written = _column(source, pair[0]), _column(target, pair[1])
    reason = compatible(read.base or read.type, written.base or written.type) if read and written else None
    if read is None or written is None or reason is None:
        return []
    return [f"{source.table}.{read.name} ({read.type}) can't fill {target.table}.{written.name} ({written.type}): {reason}."]


def _key_problems(source: TableSchema, target: TableSchema, keyed: set[tuple[str, str]]) -> list[str]:
    if not source.key:
        return []
    if not target.key:
        return [f"{target.table} has no usable key; give it a primary key or a unique index over NOT NULL columns."]
    if {s for s, _ in keyed} != set(source.key) or {t for _, t in keyed} != set(target.key) or len(keyed) != len(source.key):
        ours, theirs = ", ".join(source.key), ", ".join(target.key)
        return [f"The keys don't meet: pair the key of {source.table} ({ours}) column by column with that of {target.table} ({theirs})."]
    return []


def _column(table: TableSchema, name: str) -> Column | None:
    at = table.index(name)
    return None if at is None else table.columns[at]


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
