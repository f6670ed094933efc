"""Whether a server's log goes on from what was captured: pure, over timelines."""

from __future__ import annotations

import pytest

from headwater.ports.source import Trail
from headwater.sources.postgres.lineage import Lineage, join
from headwater.sources.postgres.positions import parse

PROMOTED_TWICE = Lineage("77", 3, {1: parse("0/100"), 2: parse("0/200")})


@pytest.mark.parametrize(
    ("trail", "after", "goes_on_at"),
    [
        (Trail("77/3", "0/250"), "0/260", "0/260"),  # the same server
        (Trail("77/1", "0/90"), "0/95", "0/95"),  # all of it lies before the promotion
        (Trail("77/1", "0/100"), "0/180", "0/100"),  # only words without changes lie behind it
        (Trail("77/2", "0/150"), "0/200", "0/200"),
        (Trail("", "0/300"), "0/300", "0/300"),  # nothing was noted: an older Headwater
        (Trail("88/1", None), None, None),  # nothing was captured
    ],
)
def test_goes_on(trail: Trail, after: str | None, goes_on_at: str | None) -> None:
    joined = join(PROMOTED_TWICE, None if after is None else parse(after), trail)
    assert (joined.after, joined.reason) == (None if goes_on_at is None else parse(goes_on_at), "")


@pytest.mark.parametrize(
    ("trail", "after", "why"),
    [
        (Trail("77/1", "0/101"), "0/101", "promoted at 0/100"),
        (Trail("77/1", None), "0/101", "promoted at 0/100"),  # which transaction was the last is not known: the word counts
        (Trail("77/2", "0/201"), "0/210", "promoted at 0/200"),
        (Trail("77/4", "0/10"), "0/10", "does not come from"),  # the old primary, back again
        (Trail("88/3", "0/10"), "0/10", "another server"),
    ],
)
def test_history_lost_p7(trail: Trail, after: str, why: str) -> None:
    assert why in join(PROMOTED_TWICE, parse(after), trail).reason
