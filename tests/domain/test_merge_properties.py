"""Merged steps do what the changes would have done one by one: exactly, and converging from any later state (P5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.domain.changes import ChangeBatch, Op, batch_schema
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.merge import MergedTable, MergeStep, Move, merge
from headwater.domain.tables import Column, TableName, TableSchema

Row = tuple[bytes | None, ...]
Table = dict[bytes, Row]

NAME = TableName("public", "t")
SCHEMA = TableSchema(NAME, (Column("id", "bigint", key=True), Column("a", "text"), Column("big", "text")))
COLUMNS = (ColumnPair("id", "id", key=True), ColumnPair("a", "a"), ColumnPair("big", "big"))
ALL = frozenset({"INSERT", "UPDATE", "DELETE"})
SUBSETS = [
    ALL,
    *(frozenset(s) for s in (["INSERT", "UPDATE"], ["INSERT", "DELETE"], ["UPDATE", "DELETE"], ["INSERT"], ["UPDATE"], ["DELETE"])),
]


@dataclass(frozen=True)
class Change:
    """One row of a change batch; `big` may be unchanged."""

    op: Op
    key: bytes | None
    a: bytes | None = None
    big: bytes | None = None
    unchanged: bool = False


@dataclass(frozen=True)
class Wish:
    """A step of the generator; it becomes whatever is possible in the source's state."""

    kind: str
    key: int
    to: int
    a: int
    big: int | None


wishes = st.lists(
    st.builds(
        Wish,
        st.sampled_from(["put", "put", "delete", "rekey", "rekey", "truncate"]),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 9),
        st.none() | st.integers(0, 9),
    ),
    max_size=25,
)


def history(plan: Sequence[Wish]) -> list[list[Change]]:
    """What a source would log, one group of inseparable changes per step."""
    rows: dict[bytes, Row] = {}
    log: list[list[Change]] = []
    for wish in plan:
        key, to, a = b"%d" % wish.key, b"%d" % wish.to, b"a%d" % wish.a
        big = None if wish.big is None else b"b%d" % wish.big
        if wish.kind == "put" and key not in rows:
            rows[key] = (a, big)
            log.append([Change(Op.INSERT, key, a, big)])
        elif wish.kind == "put":
            kept = wish.big is None or rows[key][1] == big
            rows[key] = (a, rows[key][1] if kept else big)
            log.append([Change(Op.UPDATE, key, a, None if kept else big, kept)])
        elif wish.kind == "delete" and key in rows:
            del rows[key]
            log.append([Change(Op.DELETE, key)])
        elif wish.kind == "rekey" and key in rows and to not in rows:
            old = rows.pop(key)
            kept = wish.big is None or old[1] == big
            rows[to] = (a, old[1] if kept else big)
            log.append([Change(Op.KEY_OLD, key), Change(Op.KEY_NEW, to, a, None if kept else big, kept)])
        elif wish.kind == "truncate" and wish.a == 0:
            rows.clear()
            log.append([Change(Op.TRUNCATE, None)])
    return log


def batches(log: Sequence[list[Change]], size: int) -> list[ChangeBatch]:
    """Change batches of about `size` groups each."""
    made = []
    for at in range(0, len(log), size):
        changes = [c for group in log[at : at + size] for c in group]
        marked = any(c.unchanged for c in changes)
        arrays: list[pa.Array] = [
            pa.array(range(len(changes)), pa.int32()),
            pa.array([0] * len(changes), pa.int32()),
            pa.array([int(c.op) for c in changes], pa.uint8()),
            pa.array([c.key for c in changes], pa.binary()),
            pa.array([c.a for c in changes], pa.binary()),
            pa.array([c.big for c in changes], pa.binary()),
        ]
        if marked:
            arrays.append(pa.array([c.unchanged for c in changes], pa.bool_()))
        schema = batch_schema(SCHEMA, (2,) if marked else ())
        made.append(ChangeBatch(SCHEMA, pa.RecordBatch.from_arrays(arrays, schema=schema)))
    return made


def one_by_one(table: Table, log: Sequence[list[Change]], operations: frozenset[str]) -> None:
    """The plain meaning of each change, one at a time."""
    for group in log:
        change = group[-1]
        if len(group) == 2:
            if "UPDATE" in operations:
                _rekey(table, group[0].key or b"", change, "INSERT" in operations)
        elif change.op is Op.INSERT and "INSERT" in operations:
            table[change.key or b""] = (change.a, change.big)
        elif change.op is Op.UPDATE and "UPDATE" in operations:
            _update(table, change, "INSERT" in operations)
        elif change.op is Op.DELETE and "DELETE" in operations:
            table.pop(change.key or b"", None)
        elif change.op is Op.TRUNCATE and "DELETE" in operations:
            table.clear()


def _update(table: Table, change: Change, may_insert: bool) -> None:
    key = change.key or b""
    if key in table:
        table[key] = (change.a, table[key][1] if change.unchanged else change.big)
    elif may_insert and not change.unchanged:
        table[key] = (change.a, change.big)


def _rekey(table: Table, old: bytes, change: Change, may_insert: bool) -> None:
    if change.key not in table and old in table:
        table[change.key or b""] = table[old]
    table.pop(old, None)
    _update(table, change, may_insert)


def write(table: Table, merged: MergedTable) -> None:
    """What a target does with merged steps; inserting over a row is an error, as it is there."""
    for step in merged.steps:
        _write_step(table, step)


def _write_step(table: Table, step: MergeStep) -> None:
    if step.truncate:
        table.clear()
    for row in _rows(step.deletes):
        table.pop(row["id"] or b"", None)
    for row in _rows(step.inserts):
        assert row["id"] not in table
        table[row["id"] or b""] = (row["a"], row["big"])
    for row in _rows(step.upserts):
        table[row["id"] or b""] = (row["a"], row["big"])
    for batch in step.partials:
        for row in _rows(batch):
            _set(table, row["id"] or b"", row)
    for move in step.moves:
        _move(table, move)


def _move(table: Table, move: Move) -> None:
    old, new = move.old_key[0] or b"", move.values["id"] or b""
    if new not in table and old in table:
        table[new] = table[old]
    table.pop(old, None)
    _set(table, new, move.values)


def _set(table: Table, key: bytes, values: dict[str, bytes | None]) -> None:
    if key in table:
        before = dict(zip(("a", "big"), table[key], strict=True))
        after = before | {name: value for name, value in values.items() if name != "id"}
        table[key] = (after["a"], after["big"])


def _rows(batch: pa.RecordBatch | None) -> list[dict[str, bytes | None]]:
    return [] if batch is None else list(batch.to_pylist())


def mapping(operations: frozenset[str] = ALL) -> TableMapping:
    return TableMapping("m", NAME, NAME, COLUMNS, operations)


@pytest.mark.parametrize("operations", SUBSETS, ids=lambda o: "+".join(sorted(o)))
@given(plan=wishes, cuts=st.lists(st.integers(0, 25), max_size=3), size=st.integers(1, 8), copied=st.booleans())
@settings(max_examples=100, deadline=None)
def test_exact_stretches_equal_changes_one_by_one(
    operations: frozenset[str], plan: list[Wish], cuts: list[int], size: int, copied: bool
) -> None:
    log = history(plan)
    expected: Table = {}
    actual: Table = {}
    done = 0
    if copied and log:  # the target begins as a copy of some moment, whatever the operations
        done = min(min(cuts, default=0), len(log))
        one_by_one(expected, log[:done], ALL)
        actual = dict(expected)
    for cut in [*sorted(c for c in cuts if done < c < len(log)), len(log)]:
        write(actual, merge(mapping(operations), batches(log[done:cut], size), exact=True))
        one_by_one(expected, log[done:cut], operations)
        assert actual == expected
        done = cut


@pytest.mark.parametrize("operations", SUBSETS, ids=lambda o: "+".join(sorted(o)))
@given(
    plan=wishes, start=st.integers(0, 25), later=st.integers(0, 25), cuts=st.lists(st.integers(0, 25), max_size=3), size=st.integers(1, 8)
)
@settings(max_examples=150, deadline=None)
def test_replayed_stretches_converge_from_any_later_state(
    operations: frozenset[str], plan: list[Wish], start: int, later: int, cuts: list[int], size: int
) -> None:
    log = history(plan)
    actual: Table = {}
    one_by_one(actual, log[: max(start, later)], operations)
    expected = dict(actual)
    one_by_one(expected, log[max(start, later) :], operations)
    done = min(start, len(log))
    for cut in [*sorted(c for c in cuts if done < c < len(log)), len(log)]:
        write(actual, merge(mapping(operations), batches(log[done:cut], size), exact=False))
        done = cut
    assert actual == expected


@pytest.mark.parametrize("stayed", [None, 0])
def test_without_deletes_a_row_that_stayed_keeps_what_a_key_change_does_not_send(stayed: int | None) -> None:
    plan = [Wish("put", 0, 0, 0, stayed), Wish("put", 2, 0, 1, 1), Wish("delete", 0, 0, 0, 0), Wish("rekey", 2, 0, 0, None)]
    operations = frozenset({"INSERT", "UPDATE"})
    expected: Table = {}
    actual: Table = {}
    write(actual, merge(mapping(operations), batches(history(plan), 8), exact=True))
    one_by_one(expected, history(plan), operations)
    assert actual == expected == {b"0": (b"a0", None if stayed is None else b"b0")}
