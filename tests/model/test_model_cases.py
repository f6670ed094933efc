"""Histories that a random search meets rarely, spelled out: the same world, the same engine, chosen steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.domain.tables import Column
from tests.model.model_world import TASKS, A, D, K, World, without_waiting


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which both tasks have copied nothing and follow."""
    without_waiting(monkeypatch)
    made = World()
    for task_id in TASKS:
        assert made.run(task_id) == ""
    return made


def moment(world: World) -> int:
    """A moment of its own, in ms."""
    world.clock.move(1)
    return world.clock.now_ms()


def replay(world: World, since_ms: int) -> None:
    """Catch up, check, reset, catch up, check."""
    world.settle()
    world.check_equal("one")
    assert world.reset("one", since_ms).outcome == "done"
    world.settle()
    world.check_equal("one")


def test_a_key_that_is_used_again_does_not_give_its_large_value_to_the_row_that_left_it(world: World) -> None:
    """Replaying the move finds rows at both keys, and must not take the later one for the one that moved."""
    with world.source.transaction() as t:
        t.insert(A.table, id=1, v=1, doc="first")
    since = moment(world)
    with world.source.transaction() as t:
        t.update(A.table, [1], id=2)
    with world.source.transaction() as t:
        t.insert(A.table, id=1, v=3, doc="second")
    replay(world, since)


def test_a_row_that_moved_twice_keeps_its_large_value(world: World) -> None:
    with world.source.transaction() as t:
        t.insert(A.table, id=1, v=1, doc="first")
    since = moment(world)
    for old, new in ((1, 2), (2, 3)):
        with world.source.transaction() as t:
            t.update(A.table, [old], id=new, v=new)
    replay(world, since)


def test_a_row_that_went_and_came_back_keeps_its_large_value(world: World) -> None:
    with world.source.transaction() as t:
        t.insert(A.table, id=1, v=1, doc="first")
    since = moment(world)
    for old, new in ((1, 2), (2, 1)):
        with world.source.transaction() as t:
            t.update(A.table, [old], id=new, v=new)
    replay(world, since)


def test_updates_of_a_row_that_is_gone_by_now_bring_nothing_back(world: World) -> None:
    with world.source.transaction() as t:
        t.insert(A.table, id=1, v=1, doc="first")
    since = moment(world)
    with world.source.transaction() as t:
        t.update(A.table, [1], v=2)
    with world.source.transaction() as t:
        t.truncate(A.table)
    with world.source.transaction() as t:
        t.insert(A.table, id=2, v=2, doc="second")
    replay(world, since)


def test_a_large_transaction_is_replayed_whole_from_its_own_moment(world: World) -> None:
    since = moment(world)
    with world.source.transaction() as t:
        for i in range(20):
            t.insert(A.table, id=i, v=i, doc=f"doc {i}")
    with world.source.transaction() as t:
        for i in range(19):
            t.update(A.table, [i], id=i + 100)
    replay(world, since)
    place = world.target.place("one")
    assert place is not None
    assert place.offset == place.exact_from == 2


def test_a_mapped_column_that_is_dropped_stops_its_task_at_exactly_that_place_and_no_other_task(world: World) -> None:
    """Task `one` maps column v of table a, and so does `two`; `three` does not follow the table."""
    with world.source.transaction() as t:
        t.insert(A.table, id=1, v=1, doc="before")
    world.capture()
    stands = world.journal.end().next_offset
    wanted = {task_id: world.source_rows(task_id, world.source.state) for task_id in TASKS}
    world.source.schemas[A.table] = replace(A, columns=tuple(c for c in A.columns if c.name != "v"))
    with world.source.transaction() as t:
        t.insert(A.table, id=2, doc="after")
        t.insert(K.table, v=1, w=1)
    world.capture()
    for _ in range(2):
        for task_id in ("one", "two"):
            assert world.run(task_id) == "schema_mismatch"
            place = world.target.place(task_id)
            assert place is not None
            assert place.offset == stands
            assert world.rows(task_id) == wanted[task_id]
    assert world.run("three") == ""
    world.check_equal("three")


def test_a_table_that_is_altered_and_altered_back_within_one_frame_keeps_its_order(world: World) -> None:
    with world.source.transaction() as t:
        t.insert(D.table, id=1, w=1, doc="first")
    altered = replace(D, columns=(Column("x", "text", number=100, type_id="text"), *D.columns))
    for schema, w in ((altered, 3), (D, 5)):
        with world.source.transaction() as t:
            world.source.schemas[D.table] = schema
            t.update(D.table, [1], w=w, doc=f"doc {w}")
    world.settle()
    world.check_equal("two")
    world.check_equal("three")
