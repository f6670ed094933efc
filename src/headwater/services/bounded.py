"""Calls to databases from within a request: never longer than the request can wait, whatever the network does.

Adapters have time limits of their own for each step; this is the one for the whole. A call that is given up goes on in its
daemon thread until its own limits end it; there can only be so many of them at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

from headwater.domain.errors import HeadwaterError

T = TypeVar("T")

CALLS_MAX = 64
"""Calls under way at once in this process, those that were given up included."""

_slots = threading.BoundedSemaphore(CALLS_MAX)


class GaveUp(HeadwaterError):
    """A database did not answer within the time that a request can wait."""

    kind = "gave_up"


def _run(call: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the result
        future.set_exception(error)
    finally:
        _slots.release()


def begin(call: Callable[[], T], what: str) -> Future[T]:
    """Start a call in a thread of its own. Raises GaveUp where too many are under way."""
    if not _slots.acquire(blocking=False):
        raise GaveUp(f"Too many requests wait for databases that don't answer; {what} was not tried. Try again later.")
    future: Future[T] = Future()
    threading.Thread(target=_run, args=(call, future), name=f"bounded: {what}", daemon=True).start()
    return future


def result(future: Future[T], timeout_s: float, what: str) -> T:
    """Wait for a call that was begun. Raises what it raised, or GaveUp after `timeout_s`."""
    try:
        return future.result(timeout_s)
    except FutureTimeout:
        if future.done():
            raise
        raise GaveUp(f"There was no answer within {timeout_s:g} s ({what}).") from None


def within(timeout_s: float, what: str, call: Callable[[], T]) -> T:
    """One call, bounded."""
    return result(begin(call, what), timeout_s, what)


def together(timeout_s: float, what: str, calls: Sequence[Callable[[], T]]) -> list[T]:
    """Several calls at the same time, each bounded by the same limit; raises what the first failing one raised."""
    futures = [begin(call, what) for call in calls]
    return [result(future, timeout_s, what) for future in futures]
