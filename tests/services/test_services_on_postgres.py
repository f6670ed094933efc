"""The control plane over real PostgreSQL servers, the oldest and the newest at hand: what a person sees before a task ever runs."""

from __future__ import annotations

from typing import Any

import pytest

from headwater import adapters
from headwater.services.data_sources import Connections, DataSourceForm
from headwater.services.errors import ServiceError
from headwater.services.mappings import MappingFilter, MappingForm, PairForm
from headwater.services.tasks import InitForm, TaskForm
from tests.databases import Database
from tests.services.control_plane import Plane

SCHEMA = (
    "CREATE TABLE customers (id bigint PRIMARY KEY, name varchar(60) NOT NULL, since timestamp(3), note text)",
    "CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint REFERENCES customers, total numeric(12,2), tags text[])",
    "CREATE TABLE lines (order_id bigint, number int, what text, PRIMARY KEY (order_id, number))",
    'CREATE SCHEMA "Sales"',
    'CREATE TABLE "Sales"."Big Table" ("Key" uuid PRIMARY KEY, "Value" jsonb)',
    "CREATE TABLE log (at timestamptz, what text)",
    "ALTER TABLE log REPLICA IDENTITY FULL",
)


@pytest.fixture
def real(plane: Plane, source_database: Database, target_database: Database) -> Plane:
    """Services whose connections are real."""
    connections = Connections(adapters.source_of, adapters.target_of)
    for service in (plane.data_sources, plane.mappings, plane.tasks, plane.monitoring):
        service._connections = connections
    plane.supervised = False
    source_database.run(*SCHEMA)
    target_database.run(*SCHEMA)
    return plane


def form(plane: Plane, database: Database, **content: Any) -> DataSourceForm:
    found = database.cluster
    members = {
        "host": "127.0.0.1",
        "port": str(found.port),
        "database_name": database.name,
        "user_name": found.user,
        "password": found.password,
    }
    return DataSourceForm(database.name, "POSTGRESQL", plane.app_id, members | content)


def ids(plane: Plane, source: Database, target: Database, **content: Any) -> tuple[str, str]:
    made = plane.data_sources.create(plane.scope, form(plane, source, **content))
    return made.id, plane.data_sources.create(plane.scope, form(plane, target, **content)).id


def test_a_connection_works_or_is_told_why_not(real: Plane, source_database: Database) -> None:
    made = real.data_sources.create(real.scope, form(real, source_database))
    assert real.data_sources.test_connect(real.scope, made.id) is True
    for wrong in ({"database_name": "nothing_here"}, {"user_name": "nobody_here"}, {"port": "1"}, {"password": "wrong-secret"}):
        changed = form(real, source_database, **wrong)
        with pytest.raises(ServiceError) as caught:
            real.data_sources.test_connect(real.scope, made.id, changed)
        assert (caught.value.code, caught.value.status) == ("FDI.3016", 400)
        assert "wrong-secret" not in caught.value.message
        assert source_database.cluster.password not in caught.value.message


def test_tables_and_columns_are_those_of_the_database(real: Plane, source_database: Database) -> None:
    made = real.data_sources.create(real.scope, form(real, source_database))
    for side in ("SOURCE", "TARGET"):
        tables = real.data_sources.tables(real.scope, made.id, side)
        assert tables == ["Sales.Big Table", "public.customers", "public.lines", "public.log", "public.orders"]
        columns = real.data_sources.columns(real.scope, made.id, side, "customers")
        assert [(c.name, c.type, c.length, c.key) for c in columns] == [
            ("id", "bigint", None, True),
            ("name", "character varying", "60", False),
            ("since", "timestamp without time zone", "3", False),
            ("note", "text", None, False),
        ]


def test_a_whole_schema_is_mapped_and_starts(real: Plane, source_database: Database, target_database: Database) -> None:
    made = real.tasks.init(real.scope, InitForm(*ids(real, source_database, target_database), auto_mapping=True))
    assert [m.source_table for m in made.mappings.items] == [
        "Sales.Big Table", "public.customers", "public.lines", "public.log", "public.orders",
    ]  # fmt: skip
    assert all(m.percent == 100 for m in made.mappings.items)
    assert made.unmapped == ()
    lines = next(m for m in made.mappings.items if m.source_table == "public.lines")
    assert [(pair.source, pair.key) for pair in lines.columns] == [("order_id", True), ("number", True), ("what", False)]
    task_id = real.tasks.create(real.scope, TaskForm("whole-schema", ("INSERT", "UPDATE", "DELETE"), made.task_id))
    outcome = real.tasks.start(real.scope, [task_id])
    assert outcome.failure == ()
    assert real.stored(task_id).wished
    shown = real.monitoring.details(real.scope, task_id)
    assert shown.task.execute_status == "WAITING"


@pytest.mark.parametrize(
    ("source", "target", "pairs", "said"),
    [
        ("orders", "nothing", (), "target has no table public.nothing"),
        ("orders", "customers", (("id", "id"), ("tags", "since")), "can't fill"),
        ("orders", "customers", (("id", "id"), ("total", "absent")), "no column absent"),
        ("lines", "orders", (("order_id", "id"),), "keys don't meet"),
        ("orders", "log", (("tags", "what"),), "public.log has no usable key"),
    ],
)
def test_mappings_that_can_not_be_are_refused(
    real: Plane,
    source_database: Database,
    target_database: Database,
    source: str,
    target: str,
    pairs: tuple[tuple[str, str], ...],
    said: str,
) -> None:
    task_id = real.tasks.init(real.scope, InitForm(*ids(real, source_database, target_database))).task_id
    wanted = MappingForm(source, target, tuple(PairForm(*pair) for pair in pairs))
    with pytest.raises(ServiceError) as caught:
        real.mappings.create(real.scope, task_id, wanted)
    assert (caught.value.code, caught.value.status) == ("FDI.3037", 400)
    assert said in caught.value.message
    assert real.mappings.find(real.scope, task_id, MappingFilter(), 10, 0).mappings.total == 0


def test_a_start_without_privileges_lists_what_to_grant(real: Plane, source_database: Database, target_database: Database) -> None:
    for database in (source_database, target_database):
        database.run(
            "DO $$ BEGIN CREATE ROLE humble LOGIN PASSWORD 'humble-word'; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO humble",
        )
    try:
        connected = ids(real, source_database, target_database, user_name="humble", password="humble-word")
        made = real.tasks.init(real.scope, InitForm(*connected))
        real.mappings.create(real.scope, made.task_id, MappingForm("orders", "orders"))
        task_id = real.tasks.create(real.scope, TaskForm("humble-task", ("INSERT", "UPDATE", "DELETE"), made.task_id))
        (item,) = real.tasks.start(real.scope, [task_id]).failure
        assert item.error_code == "FDI.3026"
        at_source = [one for one in item.details if one.startswith("At the source:")]
        at_target = [one for one in item.details if one.startswith("At the target:")]
        assert any("REPLICATION" in one for one in at_source)
        assert any("GRANT" in one and "UPDATE" in one for one in at_target)
        assert len(item.details) >= 4
        assert not real.stored(task_id).wished
    finally:
        for database in (source_database, target_database):
            database.run("DROP OWNED BY humble")


def test_a_deleted_task_leaves_nothing_at_its_target(real: Plane, source_database: Database, target_database: Database) -> None:
    made = real.tasks.init(real.scope, InitForm(*ids(real, source_database, target_database), auto_mapping=True))
    task_id = real.tasks.create(real.scope, TaskForm("whole-schema", ("INSERT",), made.task_id))
    epoch = real.store.next_epoch(task_id)
    target = real.store.data_source(made.target_id or "")
    assert target is not None
    at_target = adapters.target_of(target)
    at_target.raise_epoch(task_id, epoch)
    assert at_target.look(task_id)[0].epoch == epoch
    real.tasks.delete(real.scope, task_id)
    assert at_target.look(task_id)[0].epoch == 0
    assert real.store.leftovers() == []
