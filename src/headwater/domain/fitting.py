"""Whether two tables can be joined by column pairs, and by which key. Pure.

A change finds its row at the target by key, so the key must mean the same row on both sides: every column of the source's key is
paired, and together the pairs fill exactly the target's key. With less, two source rows would fall together in one
target row, or a delete (which brings only the source's key) could not name its row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headwater.domain.mapping import ColumnPair
from headwater.domain.tables import Column, TableSchema

Compatible = Callable[[str, str], bool]
"""Whether every value of a source type can be kept by a target type; arguments as `Column.type` spells them."""


@dataclass(frozen=True)
class Fit:
    """How two tables are joined. `problems` are sentences for the person who maps; the columns can be applied only without any.

    `percent` is the share of the source's columns that are mapped, rounded down."""

    columns: tuple[ColumnPair, ...]
    percent: int
    problems: tuple[str, ...] = ()


def by_name(source: TableSchema, target: TableSchema, compatible: Compatible) -> list[tuple[str, str]]:
    """Pairs of equally named columns whose types fit, in the source's order; a name that differs in case only counts as equal
    where nothing else matches. Columns that can't be read from the log or written are left out."""
    exact = {column.name: column for column in target.columns}
    folded = {column.name.casefold(): column for column in target.columns}
    pairs = []
    for column in source.columns:
        other = exact.get(column.name) or folded.get(column.name.casefold())
        if other is not None and column.writable and other.writable and compatible(column.type, other.type):
            pairs.append((column.name, other.name))
            folded.pop(other.name.casefold())
            exact.pop(other.name)
    return pairs


def fit(source: TableSchema, target: TableSchema, pairs: Sequence[tuple[str, str]], compatible: Compatible) -> Fit:
    """Join two tables by pairs of (source column, target column), with every problem told at once."""
    problems = [problem for pair in pairs for problem in _pair_problems(source, target, pair, compatible)]
    problems += [f"The target column {name} is filled by more than one pair; keep one." for name in _repeated([t for _, t in pairs])]
    if not pairs:
        problems.append(f"No columns of {source.table} and {target.table} are paired.")
    keyed = {(s, t) for s, t in pairs if s in source.key and t in target.key}
    problems += _key_problems(source, target, keyed)
    columns = tuple(ColumnPair(s, t, (s, t) in keyed) for s, t in pairs)
    share = len({s for s, _ in pairs}) * 100 // max(1, len(source.columns))
    return Fit(columns, min(share, 100), tuple(problems))


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
    if read and written and not compatible(read.type, written.type):
        problems.append(
            f"{read.name} ({read.type}) can't go to {written.name} ({written.type}); map it to a column that holds all its values."
        )
    return problems


def _key_problems(source: TableSchema, target: TableSchema, keyed: set[tuple[str, str]]) -> list[str]:
    if not source.key:
        return [f"{source.table} has no usable key; give it a primary key, or a unique index over NOT NULL columns as REPLICA IDENTITY."]
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


def same_family(source: str, target: str) -> bool:
    """Until the type matrix is there: the same type, lengths aside."""
    return source.split("(")[0].strip() == target.split("(")[0].strip()
