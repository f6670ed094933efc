"""Batches: what goes into one, where it ends, and that compacting a replay changes nothing but its length."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from headwater.domain.mapping import side_by_side
from headwater.engine import collect
from headwater.engine.collect import Batch, Collector, Followed, Limits, prepare
from headwater.ports.target import Checkpoint
from headwater.testing import MemoryJournal, MemoryTarget, ScriptedSource
from tests.databases import wait_until
from tests.engine.workbench import ACCOUNTS, NOTES, Workbench, mapping

A, N = ACCOUNTS.table, NOTES.table


def journal_of(source: ScriptedSource) -> MemoryJournal:
    """All that the source has logged."""
    journal = MemoryJournal()
    log, writer = source.open_log([A, N], None, new_history=False), journal.writer()
    while (captured := log.next(0)) is not None and captured.frames:
        writer.append(captured.frames, captured.position, captured.source_us)
    return journal


def busy(seed: int, toast: bool, transactions: int = 120, keys: int = 12) -> ScriptedSource:
    """A source with a random history over few keys."""
    source = ScriptedSource([ACCOUNTS, NOTES], toast={A: frozenset({"owner"})} if toast else {}, group=7, part_rows=15)
    source.publish([A, N])
    dice = random.Random(seed)
    with source.transaction() as t:
        for i in range(5):
            t.insert(A, id=f"early-{i}", owner="gone soon, and never touched again", amount=0)
    with source.transaction() as t:
        for i in range(5):
            t.delete(A, [f"early-{i}"])
    for n in range(transactions):
        with source.transaction() as t:
            for _ in range(dice.choice([1, 2, 3, 30])):
                key = str(dice.randrange(keys))
                held = {r["id"] for r in t._at(A)[1].values()}
                if key.encode() not in held:
                    t.insert(A, id=key, owner=f"o{n}", amount=n)
                elif dice.random() < 0.3:
                    t.delete(A, [key])
                elif dice.random() < 0.15 and (free := [k for k in map(str, range(keys)) if k.encode() not in held]):
                    t.update(A, [key], id=dice.choice(free), owner=f"k{n}")
                else:
                    t.update(A, [key], amount=n)
    return source


def batches(journal: MemoryJournal, followed: Sequence[Followed], exact_from: int = 0, offset: int = 0) -> list[Batch]:
    collector = Collector(journal.reader(), followed, offset, exact_from)
    taken = []
    while (batch := collector.take()) is not None:
        taken.append(batch)
    return taken


@pytest.mark.parametrize("toast", [False, True])
@pytest.mark.parametrize("stood_at", [0.0, 0.009, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_a_compacted_replay_ends_where_the_source_is_p5(seed: int, stood_at: float, toast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "REPLAY", Limits(60, 1 << 30))
    source = busy(seed, toast)
    journal = journal_of(source)
    followed = [Followed(mapping(ACCOUNTS))]
    target = MemoryTarget([ACCOUNTS])
    for row in source.states[int((len(source.states) - 1) * stood_at)][A].values():  # where the task stood before it went back
        target.tables_by_name[A].insert(row)
    target.raise_epoch("t", 1)
    run = target.open("t", 1)
    taken = batches(journal, followed, exact_from=1 << 40)
    for batch in taken:
        run.write(prepare(batch, followed).merged)
        if batch.whole:
            run.commit(Checkpoint(1, "memory", batch.next_offset))
    assert target.rows(A) == source.rows(A)
    assert taken[-1].next_offset == len(source.log)
    if not toast:
        assert len(taken) < 5  # without compaction there are a dozen


def test_compaction_is_bounded_by_the_number_of_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "REPLAY", Limits(60, 1 << 30))
    monkeypatch.setattr(collect, "REPLAY_ROWS", 200)
    journal = journal_of(busy(1, toast=False))
    assert all(batch.rows < 200 + 60 + 60 for batch in batches(journal, [Followed(mapping(ACCOUNTS))], exact_from=1 << 40))


def test_exactness_changes_between_batches_only() -> None:
    journal = journal_of(busy(2, toast=False))
    taken = batches(journal, [Followed(mapping(ACCOUNTS))], exact_from=30)
    assert [b.exact for b in taken] == sorted(b.exact for b in taken)
    assert all(b.exact is (b.first_offset >= 30) for b in taken)
    assert [b.first_offset for b in taken][1:] == [b.next_offset for b in taken if b.whole][:-1]


def test_batches_are_bounded_and_large_transactions_span_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "EXACT", Limits(20, 1 << 30))
    source = busy(3, toast=False, transactions=3)
    with source.transaction() as t:
        for i in range(1000, 1100):
            t.insert(A, id=i, owner="x", amount=0)
    taken = batches(journal_of(source), [Followed(mapping(ACCOUNTS))])
    assert max(b.rows for b in taken) < 20 + 15 + 100
    assert not taken[-2].whole
    assert taken[-1].whole
    assert sum(b.transactions for b in taken) == len(source.log)


def test_a_mapping_sees_nothing_from_before_its_copy() -> None:
    source = ScriptedSource([ACCOUNTS, NOTES], group=100)
    source.publish([A, N])
    for i in range(10):
        with source.transaction() as t:
            t.insert(A, id=i, owner="o", amount=i)
    journal = journal_of(source)
    late = Followed(mapping(ACCOUNTS), since=6)
    (batch,) = batches(journal, [late])
    (merged,) = prepare(batch, [late]).merged
    assert merged.steps[0].inserts is not None
    assert merged.steps[0].inserts.column("id").to_pylist() == [b"6", b"7", b"8", b"9"]


def test_a_mapping_that_shares_its_target_is_never_taken_as_exact() -> None:
    one, other = mapping(ACCOUNTS), mapping(NOTES, ACCOUNTS)
    assert [f.complete for f in collect.follow([one, other], lambda _: 0)] == [False, False]
    assert [f.complete for f in collect.follow([one], lambda _: 0)] == [True]
    assert [f.complete for f in collect.follow(side_by_side([one, other]), lambda _: 0)] == [True, True], "the target keeps book of them"


def test_the_workbench_follows_with_compaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "REPLAY", Limits(30, 1 << 30))
    bench = Workbench()
    with bench.capturing():
        with bench.applying():
            wait_until(bench.copied, what="the copy is complete, so that all that follows is in the replay")
            for n in range(60):
                with bench.source.transaction() as t:
                    (t.insert if n < 5 else lambda table, **v: t.update(table, [v.pop("id")], **v))(A, id=n % 5, owner=f"o{n}", amount=n)
            bench.await_equal()
            bench.await_applied()
        bench.epoch += 1
        bench.target.raise_epoch("task", bench.epoch, Checkpoint(bench.epoch, offset=0))
        bench.target.tables_by_name[A].rows.pop((b"3",))
        with bench.applying() as running:
            bench.await_equal()
            bench.await_applied()
            assert not running.error
