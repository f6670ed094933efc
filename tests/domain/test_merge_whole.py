"""Merging without a key: whatever the changes, cut as you like, the target's bag of rows is the source's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.domain.errors import SchemaMismatch
from headwater.domain.merge import MergedTable, merge
from tests.domain.test_merge import ALL, IN, KN, KO, TR, UNCHANGED, D, U, changes, only_step, rows, schema, to

BAG = schema("a", "b", "c", key=())
Values = tuple[object, ...]
Bag = Counter[tuple[bytes | None, ...]]

values = st.tuples(st.sampled_from(["x", "y", None, ""]), st.sampled_from([None, "x", "y"]), st.sampled_from(["p", "q"]))
wishes = st.lists(st.tuples(st.sampled_from(["insert", "insert", "delete", "update", "truncate"]), st.integers(0, 5), values), max_size=30)


def history(plan: Sequence[tuple[str, int, Values]]) -> list[list[Values]]:
    """What a source would log, an update's two rows together."""
    held: list[Values] = []
    log: list[list[Values]] = []
    for what, at, new in plan:
        if what == "insert":
            held.append(new)
            log.append([(IN, *new)])
        elif what == "truncate" and at == 0:
            held.clear()
            log.append([(TR, None, None, None)])
        elif what in ("delete", "update") and held:
            old = held.pop(at % len(held))
            if what == "update":
                held.append(new)
            log.append([(D, *old)] if what == "delete" else [(KO, *old), (KN, *new)])
    return log


def one_by_one(bag: Bag, log: Sequence[list[Values]], operations: frozenset[str], columns: Sequence[int]) -> None:
    """The plain meaning. What is to go and is not there stays away."""
    for op, *all_values in (change for group in log for change in group):
        row = tuple(None if v is None else str(v).encode() for v in (all_values[i] for i in columns))
        if op == TR and "DELETE" in operations:
            bag.clear()
        elif op in (IN, KN) and ("INSERT" if op == IN else "UPDATE") in operations:
            bag[row] += 1
        elif op in (D, KO) and ("DELETE" if op == D else "UPDATE") in operations:
            bag[row] -= bag[row] > 0


def write(bag: Bag, merged: MergedTable, strict: bool) -> None:
    for step in merged.steps:
        assert (step.upserts, step.partials, step.moves) == (None, (), ())
        if step.truncate:
            bag.clear()
        for row in rows(step.deletes):
            assert bag[tuple(row.values())] > 0 or not strict, "a row that is to go is not there"
            bag[tuple(row.values())] -= bag[tuple(row.values())] > 0
        for row in rows(step.inserts):
            bag[tuple(row.values())] += 1
        both = {tuple(r.values()) for r in rows(step.deletes)} & {tuple(r.values()) for r in rows(step.inserts)}
        assert not both, "what comes and goes is not written"


@given(plan=wishes, cuts=st.lists(st.integers(0, 30), max_size=4), size=st.integers(1, 7), columns=st.sampled_from(["abc", "cb", "a"]))
@settings(max_examples=200, deadline=None)
def test_the_target_holds_the_rows_of_the_source_as_often(
    plan: list[tuple[str, int, Values]], cuts: list[int], size: int, columns: str
) -> None:
    log = history(plan)
    expected: Bag = Counter()
    actual: Bag = Counter()
    done = 0
    for cut in [*sorted(c for c in cuts if c < len(log)), len(log)]:
        pieces = [changes(BAG, *(c for group in log[at : min(at + size, cut)] for c in group)) for at in range(done, cut, size)]
        write(actual, merge(to(*columns, key=()), pieces, exact=cut % 2 == 0), strict=True)
        one_by_one(expected, log[done:cut], ALL, ["abc".index(name) for name in columns])
        assert +actual == +expected
        done = cut


@pytest.mark.parametrize("operations", [["INSERT"], ["DELETE"], ["INSERT", "DELETE"], ["INSERT", "UPDATE"]], ids="+".join)
@given(plan=wishes)
@settings(max_examples=60, deadline=None)
def test_what_is_not_replicated_is_left_out(operations: list[str], plan: list[tuple[str, int, Values]]) -> None:
    """What was left out may be missing at the target, and is not missed."""
    log = history(plan)
    wanted = frozenset(operations)
    expected: Bag = Counter()
    actual: Bag = Counter()
    for change in log:
        write(actual, merge(to("a", "b", "c", key=(), operations=wanted), [changes(BAG, *change)], exact=True), strict=False)
        one_by_one(expected, [change], wanted, [0, 1, 2])
    assert +actual == +expected


def test_equal_rows_are_repeated_and_an_update_that_changes_nothing_mapped_is_not_written() -> None:
    log = changes(BAG, (IN, "x", None, 1), (IN, "x", None, 1), (KO, "y", "y", 1), (KN, "y", "y", 2), (D, "z", None, 1), (D, "z", None, 1))
    step = only_step(merge(to("a", "b", key=()), [log], exact=False))
    assert rows(step.inserts) == [{"a": b"x", "b": None}] * 2
    assert rows(step.deletes) == [{"a": b"z", "b": None}] * 2


@pytest.mark.parametrize("change", [(U, "x", "y", 1), (KN, "x", UNCHANGED, 1)])
def test_a_change_that_does_not_bring_the_whole_row_is_refused(change: Values) -> None:
    with pytest.raises(SchemaMismatch, match="REPLICA IDENTITY FULL"):
        merge(to("a", "b", key=()), [changes(BAG, change)], exact=True)


def test_updates_without_inserts_are_refused() -> None:
    log = changes(BAG, (KO, "x", None, 1), (KN, "y", None, 1))
    with pytest.raises(SchemaMismatch, match="told from inserts"):
        merge(to("a", key=(), operations=frozenset({"UPDATE"})), [log], exact=True)


def test_a_table_that_has_a_key_now_does_not_fit() -> None:
    with pytest.raises(SchemaMismatch, match="nothing: whole rows"):
        merge(to("a", "b", key=()), [changes(schema("a", "b", key=("a",)), (IN, "x", "y"))], exact=True)
