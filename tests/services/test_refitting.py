"""A changed mapping goes on where the log tells all that it needs, and is copied again where it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.domain.mapping import ColumnPair, ColumnShape
from headwater.ports.store import Mapping
from headwater.services.refitting import succeeding


def pair(source: str, target: str, number: int = 0, kind: str = "text", table: str = "1", names: tuple[str, ...] = ()) -> ColumnPair:
    """A pair on a column of this number and type."""
    return ColumnPair(source, target, target == "id", ColumnShape(table if number else "", number, kind, kind if number else "", names))


def mapping(*pairs: ColumnPair, source: str = "public.t", target: str = "public.t") -> Mapping:
    """A mapping of its third revision."""
    return Mapping("m", "task", source, target, pairs, (), (), (), "MANUAL", 100, 0, 3)


ID, V, W = pair("id", "id", 1), pair("v", "v", 2), pair("w", "w", 3)
GOES_ON = {
    "the same again": (mapping(ID, V, W), mapping(ID, V, W)),
    "in another order": (mapping(ID, V, W), mapping(ID, W, V)),
    "without a pair": (mapping(ID, V, W), mapping(ID, W)),
    "a renamed column": (mapping(ID, V), mapping(ID, pair("amount", "v", 2))),
    "made before columns had numbers": (
        mapping(replace(ID, shape=None), replace(V, shape=None)),
        mapping(pair("id", "id"), pair("v", "v")),
    ),
}
IS_COPIED = {
    "another column": (mapping(ID, V), mapping(ID, V, W)),
    "another target column": (mapping(ID, V), mapping(ID, pair("v", "x", 2))),
    "another source column for a target column": (mapping(ID, V), mapping(ID, pair("w", "v", 3))),
    "dropped and added again": (mapping(ID, V), mapping(ID, pair("v", "v", 4))),
    "another type": (mapping(ID, V), mapping(ID, pair("v", "v", 2, "bigint"))),
    "another type, without numbers": (mapping(pair("id", "id"), pair("v", "v")), mapping(pair("id", "id"), pair("v", "v", kind="bigint"))),
    "another name, without numbers": (mapping(pair("id", "id"), pair("v", "v")), mapping(pair("id", "id"), pair("w", "v"))),
    "another table of the same name": (mapping(ID, V), mapping(pair("id", "id", 1, table="2"), pair("v", "v", 2, table="2"))),
    "another source table": (mapping(ID, V), mapping(ID, V, source="public.u")),
    "another target table": (mapping(ID, V), mapping(ID, V, target="public.u")),
    "another key": (mapping(ID, V), mapping(replace(ID, key=False), replace(V, key=True))),
}


@pytest.mark.parametrize("case", GOES_ON)
def test_it_goes_on(case: str) -> None:
    old, new = GOES_ON[case]
    assert succeeding(old, new, stopped_at=False).revision == 3


@pytest.mark.parametrize("case", IS_COPIED)
def test_it_is_copied_again(case: str) -> None:
    old, new = IS_COPIED[case]
    assert succeeding(old, new, stopped_at=False).revision == 4


def test_what_the_task_stopped_at_and_was_saved_unchanged_is_copied_again() -> None:
    renamed = mapping(ID, pair("amount", "v", 2, names=("v",)))
    assert succeeding(renamed, mapping(ID, pair("amount", "v", 2)), stopped_at=True).revision == 4
    assert succeeding(mapping(ID, V), mapping(ID, V), stopped_at=True).revision == 4
    assert succeeding(mapping(ID, V, W), mapping(ID, V), stopped_at=True).revision == 3, "it was changed, and goes on"


def test_a_column_that_became_wider_goes_on_under_its_earlier_type() -> None:
    narrow, wide = (ColumnPair("v", "v", shape=ColumnShape("", 0, f"{kind}(9)", f"{kind}")) for kind in ("int4", "int8"))
    old, new = mapping(narrow), mapping(wide)
    assert succeeding(old, new, stopped_at=False) == old
    assert [pair.shape for pair in succeeding(old, new, stopped_at=False).columns] == [narrow.shape]
    assert succeeding(old, new, stopped_at=True).revision == 4, "what it stopped at is something else"
    assert succeeding(mapping(wide), mapping(narrow), stopped_at=False).revision == 4


def test_former_names_are_remembered() -> None:
    once = succeeding(mapping(ID, V), mapping(ID, pair("b", "v", 2)), stopped_at=False)
    twice = succeeding(once, mapping(ID, pair("c", "v", 2)), stopped_at=False)
    back = succeeding(twice, mapping(ID, V), stopped_at=False)
    assert [p.shape and p.shape.names for p in (*once.columns[1:], *twice.columns[1:], *back.columns[1:])] == [
        ("v",),
        ("b", "v"),
        ("c", "b"),
    ]
