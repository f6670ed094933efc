"""Several mappings into one target table, over every target: each fills its columns, and a row stands while one of them has it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from headwater.domain.errors import TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable, MergeStep
from headwater.ports.target import Checkpoint, TargetRun
from tests.contract.shared_model import Model, sharing
from tests.contract.test_target_contract import WHOLE, Place, batch, place

__all__ = ["place"]

SIDES = sharing(a=["v"], b=["doc"])
OVERLAPPING = sharing(a=["v", "doc"], b=["v", "doc"], c=["doc"])


def begun(place: Place, mappings: dict[str, TableMapping], epoch: int = 1) -> TargetRun:
    """A run in which the copies of all (empty) sources are complete."""
    place.target.raise_epoch("task", epoch)
    run = place.run("task", epoch)
    assert run.tracked(list(mappings.values())) == frozenset()
    for mapping in mappings.values():
        run.start_copy(mapping)
    for mapping in mappings.values():
        run.finish_copy(mapping)
    assert run.tracked(list(mappings.values())) == set(mappings)
    return run


def text(*rows: Sequence[object]) -> list[bytes]:
    return ["".join("\t".join("\\N" if v is None else str(v) for v in row) + "\n" for row in rows).encode()]


def put(mapping: TableMapping, *rows: Sequence[object]) -> MergedTable:
    return MergedTable(mapping, (MergeStep(upserts=batch(("id", *mapping.values), *rows)),), exact=True)


def gone(mapping: TableMapping, *keys: int) -> MergedTable:
    return MergedTable(mapping, (MergeStep(deletes=batch(("id",), *((key,) for key in keys))),), exact=True)


def committed(run: TargetRun, offset: int, *merged: MergedTable) -> None:
    run.write(merged)
    run.commit(Checkpoint(run.checkpoint().epoch, "j", offset))


def test_a_delete_clears_its_columns_and_the_last_one_removes_the_row(place: Place) -> None:
    run = begun(place, SIDES)
    committed(run, 1, put(SIDES["a"], (1, "x"), (2, "y")), put(SIDES["b"], (1, "d"), (3, "e")))
    assert place.rows() == [(1, "x", "d"), (2, "y", None), (3, None, "e")]
    committed(run, 2, gone(SIDES["a"], 1, 2))
    assert place.rows() == [(1, None, "d"), (3, None, "e")]
    committed(run, 3, gone(SIDES["b"], 1))
    assert place.rows() == [(3, None, "e")]


def test_a_truncate_is_that_of_its_own_rows(place: Place) -> None:
    run = begun(place, SIDES)
    committed(run, 1, put(SIDES["a"], (1, "x"), (2, "y")), put(SIDES["b"], (1, "d")))
    committed(run, 2, MergedTable(SIDES["a"], (MergeStep(truncate=True, inserts=batch(("id", "v"), (7, "z"))),), exact=True))
    assert place.rows() == [(1, None, "d"), (7, "z", None)]


def test_what_is_rolled_back_is_in_no_book(place: Place) -> None:
    run = begun(place, SIDES)
    committed(run, 1, put(SIDES["a"], (1, "x")))
    run.write([put(SIDES["b"], (1, "d"))])
    run.rollback()
    committed(run, 2, gone(SIDES["a"], 1))
    assert place.rows() == []


def test_a_row_may_go_from_one_mapping_to_another_in_one_transaction(place: Place) -> None:
    run = begun(place, OVERLAPPING)
    committed(run, 1, put(OVERLAPPING["a"], (1, "x", "d")))
    committed(run, 2, put(OVERLAPPING["b"], (1, "y", "e")), gone(OVERLAPPING["a"], 1))
    assert place.rows() == [(1, "y", "e")]
    committed(run, 3, gone(OVERLAPPING["b"], 1))
    assert place.rows() == []


def test_two_rows_that_fill_one_column_differently_are_refused_and_alike_ones_are_not(place: Place) -> None:
    run = begun(place, OVERLAPPING)
    committed(run, 1, put(OVERLAPPING["a"], (1, "x", "d")))
    committed(run, 2, put(OVERLAPPING["b"], (1, "x", "d")))
    with pytest.raises(TargetError) as caught:
        run.write([put(OVERLAPPING["b"], (1, "x", "secret"))])
    assert caught.value.kind == "row_refused"
    assert "secret" not in str(caught.value)
    run.rollback()
    assert place.rows() == [(1, "x", "d")]
    committed(run, 3, gone(OVERLAPPING["a"], 1))
    assert place.rows() == [(1, "x", "d")]


@pytest.mark.parametrize("mappings", [SIDES, OVERLAPPING], ids=["sides", "overlapping"])
@pytest.mark.parametrize("seed", range(3))
def test_the_table_is_the_join_of_its_sources_after_any_changes(place: Place, mappings: dict[str, TableMapping], seed: int) -> None:
    rng = random.Random(seed)
    run, model = begun(place, mappings), Model(mappings)
    for offset in range(1, 41):
        name = rng.choice(sorted(mappings))
        committed(run, offset, *(one for one in model.merged([name], rng) if not one.steps[0].empty))
        assert place.rows() == model.expected(), f"after change {offset} of {name}"


def test_a_copy_again_brings_the_table_to_the_join_whatever_stood_there(place: Place) -> None:
    run, model = begun(place, SIDES), Model(SIDES)
    committed(run, 1, put(SIDES["a"], (1, "old"), (2, "gone")), put(SIDES["b"], (1, "d"), (2, "stays"), (4, "gone")))
    place.put((9, "foreign", "row"))
    run.close()
    place.target.raise_epoch("task", 2, Checkpoint(2), True)
    again = place.run("task", 2)
    model.rows = {"a": {1: {"v": "new"}, 3: {"v": "x"}}, "b": {1: {"doc": "d"}, 2: {"doc": "stays"}}}
    for name, mapping in SIDES.items():
        again.start_copy(mapping)
        assert name not in again.tracked(list(SIDES.values())), "not before its copy is complete"
    for name, mapping in SIDES.items():
        rows = text(*((key, *values.values()) for key, values in model.rows[name].items()))
        again.copy_chunk(mapping, WHOLE, rows, fresh=False, remove=False)
    for mapping in SIDES.values():
        again.finish_copy(mapping)
    assert place.rows() == model.expected()
    committed(again, 3, gone(SIDES["a"], 3))
    assert 3 not in {row[0] for row in place.rows()}


def test_the_book_of_a_mapping_that_is_alone_meanwhile_is_dropped(place: Place) -> None:
    run = begun(place, SIDES)
    alone = sharing(a=["v"])
    assert run.tracked(list(alone.values())) == frozenset()
    assert run.tracked(list(SIDES.values())) == frozenset()


def test_forgetting_the_task_drops_its_books(place: Place) -> None:
    begun(place, SIDES).close()
    place.target.forget("task")
    place.target.raise_epoch("task", 1)
    run = place.run("task", 1)
    assert run.tracked(list(SIDES.values())) == frozenset()
