"""Mappings: checked against both databases before they are kept; automatic ones say what they left out (P7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from headwater.domain.mapping import ColumnPair
from headwater.domain.tables import Column, TableName
from headwater.ports.store import Scope, Task
from headwater.services import mappings as module
from headwater.services.errors import ServiceError
from headwater.services.mappings import MappingFilter, MappingForm, PairForm, match_tables
from headwater.services.tasks import InitForm
from tests.services.control_plane import Plane, table

STRANGER = Scope("f" * 32, "another-instance")


def pairs(*names: tuple[str, str]) -> tuple[PairForm, ...]:
    return tuple(PairForm(source, target) for source, target in names)


def refused(plane: Plane, task: Task, form: MappingForm) -> ServiceError:
    """The refusal of a mapping, which must leave nothing behind."""
    before = plane.store.mappings(task.id)
    with pytest.raises(ServiceError) as caught:
        plane.mappings.create(plane.scope, task.id, form)
    assert plane.store.mappings(task.id) == before
    assert len(caught.value.message) <= 512
    return caught.value


def test_a_mapping_is_kept_with_what_the_databases_say(plane: Plane) -> None:
    task = plane.task(mapped=False)
    form = MappingForm("orders", "public.customers", pairs(("id", "id"), ("name", "name")))
    mapping_id = plane.mappings.create(plane.scope, task.id, form)
    (found,) = plane.mappings.find(plane.scope, task.id, MappingFilter(), 10, 0).mappings.items
    assert (found.id, found.source_table, found.target_table) == (mapping_id, "public.orders", "public.customers")
    assert found.columns == (ColumnPair("id", "id", key=True), ColumnPair("name", "name"))
    assert (found.status, found.percent) == ("MANUAL", 100)
    assert found.source_columns == ({"field_name": "id", "field_type": "bigint"}, {"field_name": "name", "field_type": "text"})
    assert found.pairs[0] == {
        "source_column": "id",
        "source_column_type": "bigint",
        "target_column": "id",
        "target_column_type": "bigint",
    }


def test_without_pairs_columns_are_paired_by_name(plane: Plane) -> None:
    task = plane.task(mapped=False)
    plane.mappings.create(plane.scope, task.id, MappingForm("orders", "orders"))
    (found,) = plane.store.mappings(task.id)
    assert [(pair.source, pair.target) for pair in found.columns] == [("id", "id"), ("name", "name")]


def test_a_column_subset_and_other_names(plane: Plane) -> None:
    plane.target.tables_by_name |= MemoryTables(table("slim", Column("number", "bigint", key=True), Column("label", "varchar(60)")))
    task = plane.task(mapped=False)
    plane.mappings.create(plane.scope, task.id, MappingForm("orders", "slim", pairs(("id", "number"))))
    (found,) = plane.store.mappings(task.id)
    assert (found.columns, found.percent) == ((ColumnPair("id", "number", key=True),), 50)
    plane.mappings.update(plane.scope, task.id, found.id, MappingForm("", "", pairs(("id", "number"), ("name", "label"))))
    (found,) = plane.store.mappings(task.id)
    assert (found.percent, found.status, found.revision) == (100, "UPDATE", 1)
    assert found.pairs[1]["target_column_length"] == "60"


def MemoryTables(*schemas: Any) -> dict[TableName, Any]:  # noqa: N802 - reads as a literal
    from headwater.testing.target import MemoryTable

    return {schema.table: MemoryTable(schema) for schema in schemas}


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (MappingForm("nothing", "orders"), "source has no table public.nothing"),
        (MappingForm("orders", "nothing"), "target has no table public.nothing"),
        (MappingForm("none", "nothing"), "target has no table public.nothing"),
        (MappingForm("orders", "orders", pairs(("id", "id"), ("no", "name"))), "no column no"),
        (MappingForm("orders", "orders", pairs(("id", "id"), ("name", "no"))), "no column no"),
        (MappingForm("orders", "orders", pairs(("name", "name"))), "keys don't meet"),
        (MappingForm("orders", "numbers", pairs(("id", "id"), ("name", "name"))), "can't fill"),
        (MappingForm("orders", "bare"), "public.bare has no usable key"),
        (MappingForm("'; DROP TABLE x; --", "orders"), "source has no table"),
    ],
)
def test_a_mapping_that_can_not_be_is_refused_with_the_reason(plane: Plane, form: MappingForm, said: str) -> None:
    bare = table("bare", Column("id", "bigint"), Column("name", "text"))
    plane.source.add_table(bare)
    plane.target.tables_by_name |= MemoryTables(bare, table("numbers", Column("id", "bigint", key=True), Column("name", "integer")))
    error = refused(plane, plane.task(mapped=False), form)
    assert (error.code, error.status) == ("FDI.3037", 400)
    assert said in error.message


def test_a_table_without_a_key_is_mapped_as_a_whole_to_a_target_of_its_own(plane: Plane) -> None:
    bare = table("bare", Column("id", "bigint"), Column("name", "text"))
    plane.source.add_table(bare)
    plane.target.tables_by_name |= MemoryTables(bare)
    task = plane.task()
    (mapping,) = [m for m in plane.store.mappings(task.id) if m.source_table == "public.bare"]
    assert not any(pair.key for pair in mapping.columns)
    assert "must be filled by it alone" in refused(plane, task, MappingForm("bare", "orders")).message
    assert plane.mappings.problems(task) == []
    plane.source.schemas[bare.table] = table("bare", Column("id", "bigint", key=True), Column("name", "text"))
    plane.target.tables_by_name |= MemoryTables(plane.source.schemas[bare.table])
    assert "another one than its mapping was made for" in plane.mappings.problems(task)[0]


def test_all_problems_are_in_the_details(plane: Plane) -> None:
    wrong = pairs(*((f"no{i}", f"none{i}") for i in range(50)))
    error = refused(plane, plane.task(mapped=False), MappingForm("orders", "orders", wrong))
    assert len(error.details) == 101


@pytest.mark.parametrize(("side", "parameter"), [({"source_table": ""}, "source_table"), ({"target_table": "."}, "target_table")])
def test_a_table_name_must_be_one(plane: Plane, side: dict[str, Any], parameter: str) -> None:
    error = refused(plane, plane.task(mapped=False), replace(MappingForm("orders", "orders"), **side))
    assert (error.code, error.status) == ("FDI.3033", 400)
    assert f"[{parameter}]" in error.message


def test_the_same_pair_of_tables_is_mapped_once(plane: Plane) -> None:
    task = plane.task()
    error = refused(plane, task, MappingForm("public.orders", "orders"))
    assert error.code == "FDI.3037"
    assert "already" in error.message
    plane.mappings.create(plane.scope, task.id, MappingForm("orders", "customers"))  # another target is another mapping


def test_mappings_of_a_running_task_do_not_change(plane: Plane) -> None:
    task = plane.started()
    (first, _) = plane.store.mappings(task.id)
    before = plane.store.mappings(task.id)
    calls: list[Callable[[], str]] = [
        lambda: plane.mappings.create(plane.scope, task.id, MappingForm("orders", "customers")),
        lambda: plane.mappings.update(plane.scope, task.id, first.id, MappingForm("orders", "customers")),
        lambda: plane.mappings.delete(plane.scope, task.id, first.id),
    ]
    for call in calls:
        with pytest.raises(ServiceError, match="Stop the task") as caught:
            call()
        assert (caught.value.code, caught.value.status) == ("FDI.3023", 400)
    assert plane.store.mappings(task.id) == before
    plane.tasks.stop(plane.scope, [task.id])
    plane.mappings.delete(plane.scope, task.id, first.id)


def test_mappings_of_a_failed_task_may_be_repaired(plane: Plane) -> None:
    task = plane.started()
    plane.store.record_state(task.id, "failed", "schema_mismatch", "a column is gone")
    (first, _) = plane.store.mappings(task.id)
    plane.mappings.update(plane.scope, task.id, first.id, MappingForm("", "", pairs(("id", "id"))))


def test_only_a_mapping_whose_copy_changes_is_copied_again(plane: Plane) -> None:
    task = plane.task()
    (first, second) = plane.store.mappings(task.id)
    plane.mappings.update(plane.scope, task.id, first.id, MappingForm("", "", pairs(("id", "id"), ("name", "name"))))
    plane.mappings.update(plane.scope, task.id, second.id, MappingForm("", "", pairs(("id", "id"))))
    (same, fewer) = plane.store.mappings(task.id)
    assert (same.incarnation, fewer.incarnation) == (first.incarnation, second.incarnation)
    plane.mappings.update(plane.scope, task.id, second.id, MappingForm("", "", pairs(("id", "id"), ("name", "name"))))
    (same, more) = plane.store.mappings(task.id)
    assert same.incarnation == first.incarnation
    assert more.incarnation != second.incarnation
    assert more.id == second.id


def test_all_mappings_of_a_task_join_the_same_data_sources(plane: Plane) -> None:
    task = plane.task()
    other, _ = plane.connections()
    either: list[dict[str, Any]] = [{"source_id": other}, {"target_id": other}]
    for ids in either:
        error = refused(plane, task, MappingForm("orders", "customers", **ids))
        assert (error.code, error.status) == ("FDI.3037", 400)
    error = refused(plane, task, MappingForm("orders", "customers", source_id="nobody"))
    assert (error.code, error.status) == ("FDI.3033", 400)
    assert "[source_datasource_id]" in error.message
    ours = MappingForm("orders", "customers", source_id=task.source_id, target_id=task.target_id)
    plane.mappings.create(plane.scope, task.id, ours)


def test_the_first_mapping_gives_a_task_its_data_sources(plane: Plane) -> None:
    source, target = plane.connections()
    task_id = plane.tasks.init(plane.scope, InitForm()).task_id
    with pytest.raises(ServiceError, match=r"\[source_datasource_id\]"):
        plane.mappings.create(plane.scope, task_id, MappingForm("orders", "orders"))
    form = MappingForm("orders", "orders", source_id=source, target_id=target, ext_info={"server_id": "7"})
    plane.mappings.create(plane.scope, task_id, form)
    task = plane.stored(task_id)
    assert (task.source_id, task.target_id, task.ext_info) == (source, target, {"server_id": "7"})


def test_a_table_is_never_its_own_target(plane: Plane) -> None:
    """It would feed itself with its own changes for ever."""
    source = plane.data_sources.create(plane.scope, plane.form("one")).id
    again = plane.data_sources.create(plane.scope, plane.form("the same server")).id
    task_id = plane.tasks.init(plane.scope, InitForm(source, again)).task_id
    error = refused(plane, plane.stored(task_id), MappingForm("orders", "orders"))
    assert error.code == "FDI.3037"
    assert "own target" in error.message
    plane.mappings.create(plane.scope, task_id, MappingForm("orders", "customers"))
    made = plane.tasks.init(plane.scope, InitForm(source, again, auto_mapping=True))
    assert made.mappings.total == 0
    assert all("own target" in one.reason for one in made.unmapped)


def test_unknown_tasks_and_mappings(plane: Plane) -> None:
    task = plane.task()
    (first, _) = plane.store.mappings(task.id)
    for scope, task_id in ((STRANGER, task.id), (plane.scope, "nobody"), (plane.scope, "\0")):
        calls: list[Callable[[], object]] = [
            partial(plane.mappings.create, scope, task_id, MappingForm("orders", "customers")),
            partial(plane.mappings.find, scope, task_id, MappingFilter(), 10, 0),
            partial(plane.mappings.update, scope, task_id, first.id, MappingForm("", "")),
            partial(plane.mappings.delete, scope, task_id, first.id),
        ]
        for call in calls:
            with pytest.raises(ServiceError) as caught:
                call()
            assert (caught.value.code, caught.value.status) == ("FDI.3180", 404)
    unknown: list[Callable[[], object]] = [
        partial(plane.mappings.update, plane.scope, task.id, "nobody", MappingForm("", "")),
        partial(plane.mappings.delete, plane.scope, task.id, "nobody"),
    ]
    for call in unknown:
        with pytest.raises(ServiceError, match=r"\[mapping_id\]") as missing:
            call()
        assert (missing.value.code, missing.value.status) == ("FDI.3033", 404)


def test_listing_filters_and_pages(plane: Plane) -> None:
    task = plane.task()

    def found(limit: int = 10, offset: int = 0, **wanted: str) -> list[str]:
        shown = plane.mappings.find(plane.scope, task.id, MappingFilter(**wanted), limit, offset)
        return [mapping.source_table for mapping in shown.mappings.items]

    assert found() == ["public.customers", "public.orders"]
    assert found(1, 1) == ["public.orders"]
    assert found(source_table="ORD") == ["public.orders"]
    assert found(target_table="cust") == ["public.customers"]
    assert found(table_name="orders") == ["public.orders"]
    assert found(table_name="nothing") == []
    assert found(source_id=str(task.source_id)) == found()
    assert found(target_id="another") == []


def test_no_more_mappings_than_allowed(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAPPINGS_MAX", 1)
    task = plane.task()
    assert len(plane.store.mappings(task.id)) == 1
    assert "at most 1" in refused(plane, task, MappingForm("orders", "orders")).message


def test_a_database_out_of_reach_is_told_with_its_side(plane: Plane) -> None:
    task = plane.task(mapped=False)
    plane.target.reachable = False
    error = refused(plane, task, MappingForm("orders", "orders"))
    assert (error.code, error.status) == ("FDI.3016", 400)
    assert "target" in error.message


def test_automatic_mapping_takes_what_fits_and_tells_the_rest(plane: Plane) -> None:
    plane.source.add_table(table("only_here"))
    plane.source.add_table(table("parts", schema="sales"))
    plane.source.add_table(table("mixed", Column("id", "bigint", key=True), Column("at", "timestamp with time zone")))
    plane.source.add_table(table("unkeyed", Column("id", "bigint")))
    plane.target.tables_by_name |= MemoryTables(
        table("parts"),
        table("mixed", Column("id", "bigint", key=True), Column("at", "date")),
        table("unkeyed", Column("id", "bigint")),
    )
    source, target = plane.connections()
    made = plane.tasks.init(plane.scope, InitForm(source, target, auto_mapping=True))
    mapped = {m.source_table: (m.target_table, m.status, m.percent) for m in made.mappings.items}
    assert mapped == {
        "public.customers": ("public.customers", "AUTO", 100),
        "public.mixed": ("public.mixed", "AUTO", 50),
        "public.orders": ("public.orders", "AUTO", 100),
        "public.unkeyed": ("public.unkeyed", "AUTO", 100),
        "sales.parts": ("public.parts", "AUTO", 100),
    }
    reasons = {one.source_table: one.reason for one in made.unmapped}
    assert "time of day" in reasons["public.mixed"]
    assert "no table public.only_here" in reasons["public.only_here"]
    assert len(reasons) == 2


def test_mapping_automatically_again_adds_only_what_is_new(plane: Plane) -> None:
    task = plane.task()
    before = plane.store.mappings(task.id)
    plane.source.add_table(table("later"))
    plane.target.tables_by_name |= MemoryTables(table("later"))
    plane.tasks.init(plane.scope, InitForm(task_id=task.id, auto_mapping=True))
    after = plane.store.mappings(task.id)
    assert after[:-1] == before
    assert after[-1].source_table == "public.later"


def names(*written: str) -> list[TableName]:
    return [TableName.parse(one, "public") for one in written]


def test_tables_of_one_bare_name_are_never_mapped_together_by_guessing() -> None:
    theirs = names("public.t", "public.u", "public.v", "a.x")
    pairs_, unmapped = match_tables(names("a.t", "b.t", "public.u", "c.u", "d.v"), theirs, "public")
    assert [(str(s), str(t)) for s, t in pairs_] == [("public.u", "public.u"), ("d.v", "public.v")]
    reasons = {one.source_table: one.reason for one in unmapped}
    assert set(reasons) == {"a.t", "b.t", "c.u"}
    assert "by hand" in reasons["a.t"]


def test_problems_of_a_mapped_task_are_found_when_tables_change(plane: Plane) -> None:
    task = plane.task()
    assert plane.mappings.problems(task) == []
    plane.source.schemas[TableName("public", "orders")] = table("orders", Column("id", "bigint", key=True))
    del plane.target.tables_by_name[TableName("public", "customers")]
    problems = plane.mappings.problems(task)
    assert problems == ["The target has no table public.customers that its user can see.", "public.orders has no column name."]
