"""A table's schema changes while its task runs: what the mapping touches stops it in front of that transaction, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.domain.mapping import ColumnPair, ColumnShape, TableMapping
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.engine import collect
from headwater.engine.collect import Limits
from headwater.engine.misfits import Misfit
from headwater.ports.target import Checkpoint
from headwater.testing import ScriptedSource
from tests.databases import wait_until
from tests.engine.workbench import Workbench

T, N = TableName("public", "t"), TableName("public", "n")


def schema(*columns: tuple[str, int, str], table: TableName = T, id: str = "1") -> TableSchema:
    """A table whose first column is its key; columns are (name, number, type)."""
    made = (Column(name, kind, i == 0, i > 0, number=number, type_id=kind) for i, (name, number, kind) in enumerate(columns))
    return TableSchema(table, tuple(made), id)


OLD = schema(("id", 1, "integer"), ("v", 2, "text"), ("w", 3, "text"))
OTHER = schema(("id", 1, "integer"), ("v", 2, "text"), table=N, id="2")


def mapping(table: TableSchema, *names: str) -> TableMapping:
    """These columns to those of the same names, as a service makes it from the table of now."""
    columns = [table.columns[at] for name in names if (at := table.index(name)) is not None]
    pairs = tuple(ColumnPair(c.name, c.name, c.key, ColumnShape.of(table, c)) for c in columns)
    return TableMapping(f"m-{table.table.name}", table.table, table.table, pairs, frozenset({"INSERT", "UPDATE", "DELETE"}))


def alter(source: ScriptedSource, new: TableSchema, **filled: bytes) -> None:
    """Change the schema: values go with the columns' numbers; `filled` are those of new columns. No row is logged."""
    old = source.schemas[new.table]
    names = {c.number: c.name for c in old.columns}
    rows = {
        key: {c.name: row[names[c.number]] if c.number in names else filled.get(c.name) for c in new.columns}
        for key, row in source.state[new.table].items()
    }
    source.schemas[new.table] = new
    source.states[-1] = {**source.state, new.table: rows}


def bench(*names: str) -> Workbench:
    """A copied task over `t` (these columns) and `n`."""
    made = Workbench((OLD, OTHER))
    made.mappings = [mapping(OLD, *names), mapping(OTHER, "id", "v")]
    with made.source.transaction() as t:
        for i in range(5):
            t.insert(T, id=i, v=f"v{i}", w=f"w{i}")
    with made.capturing(), made.applying():
        wait_until(made.copied, what="all is copied")
        made.await_applied()
        wait_until(made.copied, what="the copy is marked as complete")
    return made


def write(made: Workbench, number: int, **values: object) -> None:
    """One transaction on both tables."""
    with made.source.transaction() as t:
        t.insert(N, id=number, v="x")
        t.insert(T, id=number, **values)


def stopped_at(made: Workbench, offset: int) -> str:
    """Let the task run into a misfit; it has to stand exactly there, with everything before it applied. Returns the message."""
    with made.capturing(), made.applying() as running:
        running.thread.join(20)
    (stop,) = running.error
    assert isinstance(stop, Misfit)
    place = made.target.place("task")
    assert place is not None
    assert place.offset == stop.offset == offset
    return str(stop)


TOUCHED = {
    "dropped": (schema(("id", 1, "integer"), ("w", 3, "text")), "no longer has the column v"),
    "dropped, another added": (schema(("id", 1, "integer"), ("w", 3, "text"), ("z", 4, "text")), "not mapped: w, z"),
    "renamed": (schema(("id", 1, "integer"), ("amount", 2, "text"), ("w", 3, "text")), "renamed to amount"),
    "names swapped": (schema(("id", 1, "integer"), ("w", 2, "text"), ("v", 3, "text")), "v of public.t was renamed to w"),
    "retyped": (schema(("id", 1, "integer"), ("v", 2, "bigint"), ("w", 3, "text")), "from text to bigint"),
    "dropped and added again": (schema(("id", 1, "integer"), ("w", 3, "text"), ("v", 4, "text")), "another one was given its name"),
    "another table": (replace(OLD, id="9"), "is another table here"),
    "table renamed": (replace(OLD, called=TableName("public", "t_old")), "was renamed to public.t_old"),
    "key changed": (
        replace(OLD, columns=(replace(OLD.columns[0], key=False), replace(OLD.columns[1], key=True), OLD.columns[2])),
        "by (v) now",
    ),
}


@pytest.mark.parametrize("what", TOUCHED)
def test_what_the_mapping_touches_stops_in_front_of_the_first_transaction(what: str) -> None:
    new, said = TOUCHED[what]
    made = bench("id", "v")
    stands = made.journal.end().next_offset
    write(made, 10, v="before", w="w")
    write(made, 11, v="before", w="w")
    alter(made.source, new)
    with made.source.transaction() as t:
        t.insert(N, id=12, v="same transaction")
        t.insert(T, id=12, v="after", w="w")
    assert said in stopped_at(made, stands + 2)
    assert {row["id"] for row in made.target.rows(N)} == {b"10", b"11"}
    assert {row["id"] for row in made.target.rows(T)} >= {b"10", b"11"}
    assert b"12" not in {row["id"] for row in made.target.rows(T)}
    assert said in stopped_at(made, stands + 2), "it stops at the same place again"


def test_what_the_mapping_does_not_touch_passes() -> None:
    made = bench("id", "v")
    shapes = [
        schema(("id", 1, "integer"), ("v", 2, "text"), ("w", 3, "bigint")),
        schema(("id", 1, "integer"), ("v", 2, "text"), ("x", 3, "bigint")),
        schema(("id", 1, "integer"), ("v", 2, "text"), ("new", 4, "text")),
        schema(("id", 1, "integer"), ("v", 2, "text"), ("w", 5, "text")),
    ]
    with made.capturing(), made.applying() as running:
        for i, shape in enumerate(shapes):
            alter(made.source, shape)
            write(made, 10 + i, v=f"after {i}")
        made.await_applied()
        running.stop()
    assert [(row["id"], row["v"]) for row in made.target.rows(T)][5:] == [(b"%d" % (10 + i), b"after %d" % i) for i in range(4)]


def test_a_change_within_a_large_transaction_stops_in_front_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "EXACT", Limits(6, 1 << 30))
    made = bench("id", "v", "w")
    made.source.part_rows = 4
    stands = made.journal.end().next_offset
    for i in range(3):
        write(made, 10 + i, v="before", w="w")
    with made.source.transaction() as t:
        for i in range(20, 40):
            t.insert(T, id=i, v="early", w="w")
        alter(made.source, schema(("id", 1, "integer"), ("w", 3, "text")))
        for i in range(40, 60):
            t.insert(T, id=i, v="late", w="w")
    stopped_at(made, stands + 3)
    assert {row["id"] for row in made.target.rows(T)} == {b"%d" % i for i in [*range(5), 10, 11, 12]}


def test_going_on_after_the_mapping_follows_a_rename_and_a_replay_from_before_it() -> None:
    made = bench("id", "v", "w")
    stands = made.journal.end().next_offset
    write(made, 10, v="before", w="w")
    new = schema(("id", 1, "integer"), ("amount", 2, "text"), ("w", 3, "text"))
    alter(made.source, new)
    write(made, 11, amount="after", w="w")
    stopped_at(made, stands + 1)
    shape = ColumnShape.of(new, new.columns[1])
    pairs = (made.mappings[0].columns[0], ColumnPair("amount", "v", False, replace(shape, names=("v",))), made.mappings[0].columns[2])
    made.mappings[0] = replace(made.mappings[0], columns=pairs)

    def equal() -> bool:
        wanted = [{"id": row["id"], "v": row["amount"], "w": row["w"]} for row in made.source.rows(T)]
        return made.target.rows(T) == wanted

    with made.capturing(), made.applying():
        made.await_applied()
    assert equal()
    spoiled = made.target.tables_by_name[T].rows[b"10",]
    spoiled["v"] = b"spoiled"
    made.epoch += 1
    made.target.raise_epoch("task", made.epoch, Checkpoint(made.epoch, offset=stands))
    with made.capturing(), made.applying():
        made.await_applied()
    assert equal(), "the old stretch was read under the old name"


def test_a_mapping_that_is_copied_later_does_not_look_at_what_its_copy_has() -> None:
    made = bench("id", "v", "w")
    write(made, 10, v="before", w="w")
    new = schema(("id", 1, "integer"), ("w", 3, "text"), ("v", 4, "text"))
    alter(made.source, new, v=b"default")
    write(made, 11, v="after", w="w")
    stopped_at(made, made.journal.end().next_offset + 1)
    made.mappings[0] = replace(mapping(new, "id", "v", "w"), mapping_id="m-t.1")
    with made.capturing(), made.applying():
        made.await_equal()


def test_a_change_that_no_row_tells_of_stops_the_task_too() -> None:
    made = bench("id", "v")
    with made.capturing(), made.applying() as running:
        alter(made.source, schema(("id", 1, "integer"), ("v", 2, "text"), ("w", 5, "text")))  # not touched
        wait_until(lambda: made.clock.move(1) and looked(made, 1), what="the journal tells of it")
        made.await_applied()
        assert not running.error
        alter(made.source, schema(("id", 1, "integer"), ("w", 5, "text"), ("v", 6, "text")), v=b"default")
        wait_until(lambda: made.clock.move(1) and not running.thread.is_alive(), what="the task has stopped")
    (stop,) = running.error
    assert isinstance(stop, Misfit)
    assert "another one was given its name" in str(stop)
    assert looked(made, 2)
    with made.capturing():
        began = made.clock.monotonic()
        wait_until(lambda: made.clock.move(1) and made.clock.monotonic() > began + 30)
    assert looked(made, 2), "each change is told once, restarts or not"


def looked(made: Workbench, words: int) -> bool:
    """True where the journal holds so many words of changed tables."""
    return sum(batch.reshapes for placed in made.journal.history.frames for batch in placed.frame.batches) == words
