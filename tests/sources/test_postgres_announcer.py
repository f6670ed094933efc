"""Announced columns are recognised among those that the catalogue knows today, whatever has become of them since."""

from __future__ import annotations

import pytest

from headwater.sources.postgres.announcer import Attribute, align


def today(*columns: str) -> list[Attribute]:
    """Today's columns in the order of their numbers: `-` was dropped, `name*` is generated."""
    return [
        Attribute(i + 1, c.strip("*-") or f"........pg.dropped.{i + 1}........", c == "-", c.endswith("*")) for i, c in enumerate(columns)
    ]


CASES = {
    "nothing has changed": ("id a b", "id a b", [1, 2, 3]),
    "one was added later": ("id a", "id a b", [1, 2]),
    "renamed": ("id a b", "id x b", [1, 2, 3]),
    "the last one renamed": ("id a b", "id a x", [1, 2, 3]),
    "the last one renamed, another added": ("id a b", "id a x y", [1, 2, 3]),
    "all renamed": ("id a b", "x y z", [1, 2, 3]),
    "two names swapped": ("id a b", "id b a", [1, 2, 3]),
    "renamed, and its name given to a new one": ("id a", "id b a", [1, 2]),
    "one was dropped before": ("id b", "id - b", [1, 3]),
    "one was dropped since": ("id a b", "id - b", [1, 2, 3]),
    "the last one was dropped since": ("id a", "id -", [1, 2]),
    "dropped and added again since: taken for the new one, which stops early": ("id a", "id - a", [1, 3]),
    "dropped and added again before": ("id a", "id - a", [1, 3]),
    "one of two that were dropped": ("id x", "id - -", [1, -1]),
    "one of two that were dropped between": ("id x b", "id - - b", [1, -1, 4]),
    "both that were dropped between": ("id x y b", "id - - b", [1, 2, 3, 4]),
    "swapped beside a dropped one": ("id a b", "id - b a", [-1, -1, -1]),
    "generated columns are not announced": ("id b", "id g* b", [1, 3]),
    "the table is gone": ("id a", "", [0, 0]),
}


@pytest.mark.parametrize("case", CASES)
def test_announced_columns_are_recognised(case: str) -> None:
    announced, now, numbers = CASES[case]
    assert align(announced.split(), today(*now.split())) == numbers
