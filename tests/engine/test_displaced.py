"""Key changes without their large values, repeated on a target that is ahead: harmless, or their table is copied again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headwater.engine import collect
from headwater.engine.collect import Limits
from headwater.ports.target import Checkpoint
from headwater.testing.source import OpenTransaction
from tests.databases import wait_until
from tests.engine.workbench import ACCOUNTS, NOTES, Workbench

N = NOTES.table
Change = Callable[[OpenTransaction], None]


def swap(t: OpenTransaction) -> None:
    """Two rows exchange their keys."""
    t.update(N, [1], id=0)
    t.update(N, [2], id=1)
    t.update(N, [0], id=2)


def take_a_freed_place(t: OpenTransaction) -> None:
    """A row takes the key of one that is gone."""
    t.delete(N, [3])
    t.update(N, [4], id=3)


def take_a_reused_place(t: OpenTransaction) -> None:
    """A row takes a key that another one had for a moment only."""
    t.insert(N, id=100, text="passing")
    t.delete(N, [100])
    t.update(N, [5], id=100)


def move(t: OpenTransaction) -> None:
    """Rows take keys that nobody had."""
    t.update(N, [6], id=200)
    t.update(N, [200], id=201)
    t.insert(N, id=6, text="after")


def after_truncate(t: OpenTransaction) -> None:
    """What stood before a TRUNCATE does not count."""
    t.delete(N, [7])
    t.truncate(N)
    t.insert(N, id=8, text="kept")
    t.insert(N, id=7, text="gone")
    t.delete(N, [7])
    t.update(N, [8], id=7)


@pytest.mark.parametrize(
    ("change", "copied_again"),
    [(swap, True), (take_a_freed_place, True), (take_a_reused_place, True), (move, False), (after_truncate, False)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
@pytest.mark.parametrize("batches", ["one", "many"])
def test_a_replay_over_moved_rows_converges_p5(change: Change, copied_again: bool, batches: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Workbench()
    bench.source.toast = {N: frozenset({"text"})}
    if batches == "many":
        monkeypatch.setattr(collect, "REPLAY", Limits(1, 1 << 30))
        bench.source.group = bench.source.part_rows = 1
    with bench.source.transaction() as t:
        for i in range(1, 10):
            t.insert(N, id=i, text=f"text {i}")
    with bench.capturing():
        with bench.applying():
            wait_until(bench.copied, what="the copy is complete")
            before = bench.target.look("task")[0]
            with bench.source.transaction() as t:
                change(t)
            with bench.source.transaction() as t:
                t.insert(ACCOUNTS.table, id=1, owner="a", amount=1)
            bench.await_equal()
            bench.await_applied()
        since = bench.target.look("task")[1]["m-notes"].since
        bench.epoch += 1
        bench.target.raise_epoch("task", bench.epoch, Checkpoint(bench.epoch, before.journal_id, before.offset))
        with bench.applying():
            bench.await_applied()
            bench.await_equal()
        states = bench.target.look("task")[1]
        assert (states["m-notes"].since > since) is copied_again
        assert states["m-accounts"].since <= since
