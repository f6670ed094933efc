"""Which target tables are created, and where: over a scripted source and a target in memory."""

from __future__ import annotations

import pytest

from headwater.domain.tables import TableName
from headwater.services.creation import TableCreation
from headwater.services.data_sources import Connections
from headwater.services.errors import ServiceError
from headwater.testing import MemoryTarget, ScriptedSource
from tests.services.control_plane import Plane, table


@pytest.fixture
def service(plane: Plane) -> TableCreation:
    plane.source = ScriptedSource(
        [table("orders"), table("items", schema="shop"), table("items", schema="old"), table("new", schema="shop")]
    )
    plane.target = MemoryTarget([table("orders"), table("other", schema="old")])
    return TableCreation(plane.store, Connections(plane.source_of, plane.target_of))


def test_what_is_missing_goes_where_mapping_looks_for_it(plane: Plane, service: TableCreation) -> None:
    task = plane.task(mapped=False)
    planned = service.create(plane.scope, task.id, [], dry_run=True)
    assert [(one.source_table, one.target_table, one.created) for one in planned] == [
        ("old.items", "old.items", False),  # the target has tables in this schema
        ("shop.items", "public.items", False),
        ("shop.new", "public.new", False),
    ]
    assert sorted(map(str, plane.target.tables())) == ["old.other", "public.orders"]
    made = service.create(plane.scope, task.id, [], dry_run=False)
    assert all(one.created and one.statements for one in made)
    assert service.create(plane.scope, task.id, [], dry_run=False) == []
    unmapped = plane.mappings.by_name(plane.stored(task.id))[1]
    assert unmapped == []


def test_tables_are_named_and_unknown_ones_refused(plane: Plane, service: TableCreation) -> None:
    task = plane.task(mapped=False)
    (made,) = service.create(plane.scope, task.id, ["shop.new"], dry_run=False)
    assert made.target_table == "public.new"
    with pytest.raises(ServiceError, match=r"no table shop\.nothing"):
        service.create(plane.scope, task.id, ["shop.nothing"], dry_run=False)
    with pytest.raises(ServiceError) as unknown:
        service.create(plane.scope, "no such task", [], dry_run=True)
    assert unknown.value.status == 404


def test_two_tables_that_would_meet_are_refused_and_the_others_made(plane: Plane, service: TableCreation) -> None:
    plane.target = MemoryTarget([table("orders")])
    made = {one.source_table: one for one in service.create(plane.scope, plane.task(mapped=False).id, [], dry_run=False)}
    assert "shop.items would go to public.items as well" in made["old.items"].problem
    assert not made["shop.items"].created
    assert made["shop.new"].created
    assert plane.target.tables() == [TableName("public", "new"), TableName("public", "orders")]


def test_a_mapped_table_that_was_dropped_is_made_under_its_mapped_name(plane: Plane, service: TableCreation) -> None:
    task = plane.task()
    dropped = TableName("public", "orders")
    del plane.target.tables_by_name[dropped]
    made = service.create(plane.scope, task.id, ["public.orders"], dry_run=False)
    assert [(one.target_table, one.created) for one in made] == [("public.orders", True)]


def test_what_the_target_refuses_is_told_beside_the_rest(plane: Plane, service: TableCreation) -> None:
    plane.target = MemoryTarget([table("orders"), table("x", schema="shop"), table("x", schema="forbidden")])
    plane.source.schemas |= {TableName("forbidden", "t"): table("t", schema="forbidden")}
    made = {one.source_table: one for one in service.create(plane.scope, plane.task(mapped=False).id, [], dry_run=False)}
    assert (made["forbidden.t"].created, "refused" in made["forbidden.t"].problem) == (False, True)
    assert made["shop.new"].created


def test_without_data_sources_there_is_nothing_to_compare(plane: Plane, service: TableCreation) -> None:
    from headwater.services.tasks import InitForm

    bare = plane.tasks.init(plane.scope, InitForm())
    with pytest.raises(ServiceError, match="needs both data sources"):
        service.create(plane.scope, bare.task_id, [], dry_run=True)
