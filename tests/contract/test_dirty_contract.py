"""The contract of set-aside rows at a target (`ports/dirty.py`, `Writing.tentatively`, `Target.mend`), over every implementation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.domain.errors import RowRefused
from headwater.domain.merge import MergeStep
from headwater.ports.dirty import DirtyRecord
from headwater.ports.target import Checkpoint, TargetRun
from tests.contract.test_target_contract import WHOLE, Memory, Mysql, Place, Postgres, batch, mapping, merged, place

__all__ = ["place"]

NAMES = ("id", "v", "doc")
RECORD = DirtyRecord("r1", "m", "s.t", "public.t", "open", "write", "why", "0/1", 7, 3, 100, 100, 1, 5, "", None, b"key", b"\x00\xff row")


def refusing(place: Place) -> None:
    """Rows whose `v` is `bad` break a constraint."""
    if isinstance(place, Memory):
        place.memory.tables_by_name[mapping().target].refuses = lambda row: row["v"] == b"bad"
    elif isinstance(place, Postgres | Mysql):
        place.database.run("ALTER TABLE t ADD CHECK (v <> 'bad')")


def opened(place: Place, epoch: int = 1) -> TargetRun:
    place.target.raise_epoch("task", epoch)
    return place.run("task", epoch)


def put(run: TargetRun, *rows: tuple[object, ...]) -> None:
    run.write(merged(MergeStep(upserts=batch(NAMES, *rows))))


def test_what_is_refused_tentatively_is_undone_and_nothing_else(place: Place) -> None:
    refusing(place)
    run = opened(place)
    many = [(i, "new", None) for i in range(1000, 1200)]  # enough to go through staging
    put(run, (1, "before", None), *many)

    def put_good_and_bad() -> None:
        with run.tentatively():
            put(run, (2, "good", None), *((i, "newer", None) for i in range(1000, 1200)))
            put(run, (3, "bad", None))

    with pytest.raises(RowRefused):
        put_good_and_bad()
    with run.tentatively():
        put(run, (4, "after", None), *((i, "last", None) for i in range(1100, 1200)))
        with run.tentatively(keep=False):
            put(run, (5, "tried", None))
    run.check()
    run.commit(Checkpoint(1, "j", 1))
    values = {key: value for key, value, _ in place.rows()}
    assert {key: value for key, value in values.items() if key < 1000} == {1: "before", 4: "after"}
    assert {values[i] for i in range(1000, 1100)} == {"new"}
    assert {values[i] for i in range(1100, 1200)} == {"last"}


def test_records_are_one_commit_with_rows_and_checkpoint_p3(place: Place) -> None:
    run = opened(place)
    put(run, (1, "x", None))
    assert (run.stands(mapping(), [b"1"]), run.stands(mapping(), [b"2"])) == (True, False)
    run.dirty.put([RECORD])
    run.rollback()
    assert run.dirty.held() == []
    put(run, (1, "x", None))
    run.dirty.put([RECORD])
    run.commit(Checkpoint(1, "j", 1))
    assert run.dirty.held() == [replace(RECORD, sealed_row=None)]
    assert run.dirty.take(["r1", "r2"]) == [RECORD]
    run.rollback()


def test_the_same_row_refused_again_is_the_same_record(place: Place) -> None:
    run = opened(place)
    run.dirty.put([RECORD])
    run.dirty.put([replace(RECORD, reason="still", first_us=200, last_us=200)])
    run.commit(Checkpoint(1, "j", 1))
    (held,) = run.dirty.take(["r1"])
    assert (held.first_us, held.last_us, held.times, held.reason) == (100, 200, 2, "still")
    run.dirty.settle(["r1"], "resolved", "", 300)
    run.dirty.put([replace(RECORD, first_us=400, last_us=400)])
    run.commit(Checkpoint(1, "j", 2))
    (held,) = run.dirty.take(["r1"])
    assert (held.state, held.first_us, held.times, held.sealed_row) == ("open", 100, 3, RECORD.sealed_row)
    run.rollback()


def test_settled_records_tell_who_and_when_and_hold_no_row(place: Place) -> None:
    run = opened(place)
    run.dirty.put([RECORD, replace(RECORD, id="r2"), replace(RECORD, id="r3")])
    run.dirty.settle(["r1", "r2"], "discarded", "anna", 200)
    run.commit(Checkpoint(1, "j", 1))
    assert {r.id for r in run.dirty.held()} == {"r1", "r2", "r3"}, "later updates may need what was discarded"
    run.dirty.settle(["r2", "r3"], "resolved", "", 300)
    run.commit(Checkpoint(1, "j", 2))
    known = run.dirty.known(["r1", "r2", "r3", "r4"])
    assert {i: (r.state, r.settled_by, r.settled_us) for i, r in known.items()} == {
        "r1": ("discarded", "anna", 200), "r2": ("discarded", "anna", 200), "r3": ("resolved", "", 300)
    }  # fmt: skip
    assert [r.id for r in run.dirty.take(["r1", "r2", "r3"])] == ["r1"]
    assert run.dirty.page("discarded", 1, 1)[0] == 2
    assert [r.id for r in run.dirty.page("", 10, 1)[1]] == ["r2", "r3"]
    run.rollback()


def test_a_person_mends_beside_a_run(place: Place) -> None:
    refusing(place)
    run = opened(place)
    run.dirty.put([RECORD])
    run.commit(Checkpoint(1, "j", 1))
    mending = place.target.mend("task")
    assert mending.dirty.take(["r1"]) == [RECORD]
    with pytest.raises(RowRefused), mending.tentatively():
        mending.write(merged(MergeStep(upserts=batch(NAMES, (1, "bad", None)))))
    mending.write(merged(MergeStep(upserts=batch(NAMES, (1, "good", None)))))
    mending.dirty.settle(["r1"], "retried", "anna", 200)
    mending.commit()
    mending.close()
    assert (place.rows(), run.dirty.held()) == ([(1, "good", None)], [])
    run.rollback()


def test_tables_that_are_copied_again_begin_without_set_aside_rows(place: Place) -> None:
    run = opened(place)
    run.dirty.put([RECORD, replace(RECORD, id="r2", mapping_id="other")])
    run.commit(Checkpoint(1, "j", 1))
    place.target.raise_epoch("task", 2, Checkpoint(2, offset=0), frozenset({"m"}))
    run = place.run("task", 2)
    assert {i: r.state for i, r in run.dirty.known(["r1", "r2"]).items()} == {"r1": "reset", "r2": "open"}
    run.rollback()
    place.target.raise_epoch("task", 3, Checkpoint(3), recopy=True)
    run = place.run("task", 3)
    assert run.dirty.held() == []
    run.rollback()
    place.target.forget("task")
    mending = place.target.mend("other")
    assert mending.dirty.page("", 10, 0) == (0, [])
    mending.close()


def test_a_chunk_can_be_copied_by_writes(place: Place) -> None:
    place.put((1, "old", None), (2, "gone", None), (3, "same", None))
    run = opened(place)
    run.remove_missing(mapping(), WHOLE, iter([b"1\n", b"3\n4\n"]))
    put(run, (1, "new", None), (4, "x", None))
    run.mark_chunk(mapping(), WHOLE, 3)
    run.rollback()
    assert run.table_states() == {}
    assert len(place.rows()) == 3
    run.remove_missing(mapping(), WHOLE, iter([b"1\n", b"3\n4\n"]))
    put(run, (1, "new", None), (4, "x", None))
    run.mark_chunk(mapping(), WHOLE, 3)
    run.commit(Checkpoint(1, "j", 1))
    assert place.rows() == [(1, "new", None), (3, "same", None), (4, "x", None)]
