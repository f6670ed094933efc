"""Pages of a listing: how many there are, and the ones that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

LIMIT_MAX = 999
"""The contract cuts a page at 999 rows."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """`total` counts all matches, `items` are those of this page."""

    total: int
    items: tuple[T, ...]


def page(items: Sequence[T], limit: int, offset: int) -> Page[T]:
    """The page of at most `limit` (1..999, cut) rows after `offset` rows; a negative offset is 0."""
    start = max(offset, 0)
    return Page(len(items), tuple(items[start : start + max(1, min(limit, LIMIT_MAX))]))
