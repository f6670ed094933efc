"""Running ahead of a consumer: bounded, in order, errors in their place, ended with the consumer."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from headwater.engine.ahead import Ahead
from tests.databases import wait_until


def test_items_come_in_order() -> None:
    with Ahead(iter(range(100)), depth=3) as items:
        assert list(items) == list(range(100))


def test_no_more_than_depth_and_one_are_made_ahead() -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for i in range(10):
            made.append(i)
            yield i

    with Ahead(make(), depth=2) as items:
        wait_until(lambda: len(made) == 3)
        assert next(iter(items)) == 0
        wait_until(lambda: len(made) == 4)


def test_an_error_comes_where_its_item_would_have() -> None:
    def make() -> Iterator[int]:
        yield 1
        raise KeyError("here")

    with Ahead(make()) as items:
        one_by_one = iter(items)
        assert next(one_by_one) == 1
        with pytest.raises(KeyError, match="here"):
            next(one_by_one)


def test_leaving_early_ends_the_thread_and_closes_the_iterator() -> None:
    closed = threading.Event()

    def make() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    with Ahead(make()) as items:
        assert next(iter(items)) == 0
    assert closed.is_set()
