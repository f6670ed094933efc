"""Data sources: what is accepted, that secrets never come back (P10), and that nothing is left behind at a source silently."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headwater import adapters
from headwater.domain.errors import HeadwaterError
from headwater.domain.tables import Column
from headwater.ports.store import Leftover, Scope
from headwater.services import data_sources as module
from headwater.services.data_sources import DataSourceFilter, column_view
from headwater.services.errors import ServiceError
from headwater.services.mappings import MappingFilter
from headwater.services.tasks import InitForm
from tests.services.control_plane import Plane, table

STRANGER = Scope("f" * 32, "another-instance")


def refused(caught: pytest.ExceptionInfo[ServiceError]) -> tuple[str, int]:
    return caught.value.code, caught.value.status


def test_secrets_never_come_back(plane: Plane) -> None:
    form = plane.form(sk="s1", trust_store_password="s2", api_auth_detail={"password": "s3"}, url="jdbc:x?password=s4", db_passwd="s5")
    made = plane.data_sources.create(plane.scope, form)
    shown = [made, plane.data_sources.show(plane.scope, made.id)]
    shown += plane.data_sources.find(plane.scope, DataSourceFilter(), 10, 0).items
    for secret in ("hidden-word", "s1", "s2", "s3", "s4", "s5"):
        assert secret not in repr(shown)
    assert "hidden-word" not in repr(form)
    stored = plane.store.data_source(made.id)
    assert stored is not None
    assert stored.secrets["password"] == "hidden-word"


def test_fields_that_are_not_used_are_kept(plane: Plane) -> None:
    made = plane.data_sources.create(plane.scope, plane.form(ssl_enable=True, encoding="UTF-8", mysql_timeout=7, anything={"a": [1]}))
    assert {"ssl_enable": True, "encoding": "UTF-8", "mysql_timeout": 7, "anything": {"a": [1]}}.items() <= made.content.items()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"host": ""}, "host"),
        ({"host": None}, "host"),
        ({"host": "x" * 256}, "host"),
        ({"host": "a b"}, "host"),
        ({"host": "a,b"}, "host"),
        ({"host": "/var/run"}, "host"),
        ({"host": 7}, "host"),
        ({"port": "0"}, "port"),
        ({"port": "65536"}, "port"),
        ({"port": 2**70}, "port"),
        ({"port": "-1"}, "port"),
        ({"port": "5432; DROP"}, "port"),
        ({"port": True}, "port"),
        ({"port": "٣"}, "port"),
        ({"database_name": ""}, "database_name"),
        ({"database_name": "x" * 64}, "database_name"),
        ({"database_name": "a\0b"}, "content"),
        ({"user_name": None}, "user_name"),
        ({"password": 7}, "password"),
        ({"password": "x" * 2000}, "password"),
        ({"ssl_enable": "yes"}, "ssl_enable"),
        ({"mode": "professional"}, "mode"),
        ({"extra": "x" * 2_000_000}, "content"),
        ({"extra": "\ud800"}, "content"),
        ({"ext\0ra": "x"}, "content"),
    ],
)
def test_a_content_that_leads_nowhere_is_refused_by_name(plane: Plane, content: dict[str, Any], named: str) -> None:
    with pytest.raises(ServiceError, match=rf"\[{named}\]") as caught:
        plane.data_sources.create(plane.scope, plane.form(**content))
    assert refused(caught) == ("FDI.3033", 400)
    assert "hidden-word" not in caught.value.message
    assert len(caught.value.message) <= 512
    assert plane.store.data_sources() == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": ""}, "datasource_name"),
        ({"name": "a<b"}, "datasource_name"),
        ({"name": "x" * 256}, "datasource_name"),
        ({"name": "a\0"}, "datasource_name"),
        ({"type": "ORACLE"}, "datasource_type"),
        ({"app_id": "another"}, "app_id"),
        ({"description": "x" * 1025}, "description"),
    ],
)
def test_a_form_that_is_wrong_is_refused_by_name(plane: Plane, change: dict[str, Any], named: str) -> None:
    with pytest.raises(ServiceError, match=rf"\[{named}\]") as caught:
        plane.data_sources.create(plane.scope, replace(plane.form(), **change))
    assert refused(caught) == ("FDI.3033", 400)


def test_an_unsupported_type_is_told_what_is(plane: Plane) -> None:
    with pytest.raises(ServiceError, match="POSTGRESQL"):
        plane.data_sources.create(plane.scope, replace(plane.form(), type="KAFKA"))


@pytest.mark.parametrize("written", ["postgresql", " POSTGRESQL ", "PostgreSQL/openGauss"])
def test_the_names_of_the_type_in_the_documents_are_accepted(plane: Plane, written: str) -> None:
    assert plane.data_sources.create(plane.scope, replace(plane.form(), type=written)).type == "POSTGRESQL"


def test_a_port_may_be_a_number(plane: Plane) -> None:
    assert plane.data_sources.create(plane.scope, plane.form(port=5433)).content["port"] == "5433"


def test_listing_filters_pages_and_sorts(plane: Plane) -> None:
    for name in ("One", "two", "Three"):
        plane.data_sources.create(plane.scope, plane.form(name))

    def names(wanted: DataSourceFilter, limit: int = 10, offset: int = 0) -> list[str]:
        return [one.name for one in plane.data_sources.find(plane.scope, wanted, limit, offset).items]

    assert names(DataSourceFilter()) == ["Three", "two", "One"]
    assert names(DataSourceFilter(ascending=True)) == ["One", "two", "Three"]
    assert names(DataSourceFilter(name="T")) == ["Three", "two"]
    assert names(DataSourceFilter(type="postgresql")) == ["Three", "two", "One"]
    assert names(DataSourceFilter(type="MYSQL")) == []
    assert names(DataSourceFilter(app_id="another")) == []
    assert names(DataSourceFilter(custom_plugin_id="x")) == []
    assert names(DataSourceFilter(customized=True)) == []
    assert names(DataSourceFilter(), 1, 1) == ["two"]
    assert names(DataSourceFilter(), 10, -5) == ["Three", "two", "One"]
    assert names(DataSourceFilter(), 10, 5) == []
    assert plane.data_sources.find(plane.scope, DataSourceFilter(), 1, 0).total == 3


def test_nobody_sees_or_touches_anothers(plane: Plane) -> None:
    made = plane.data_sources.create(plane.scope, plane.form())
    assert plane.data_sources.find(STRANGER, DataSourceFilter(), 10, 0).total == 0
    services = plane.data_sources
    for call in (
        lambda: services.show(STRANGER, made.id),
        lambda: services.update(STRANGER, made.id, plane.form()),
        lambda: services.delete(STRANGER, made.id),
        lambda: services.test_connect(STRANGER, made.id),
        lambda: services.tables(STRANGER, made.id, "SOURCE"),
        lambda: services.columns(STRANGER, made.id, "SOURCE", "orders"),
    ):
        with pytest.raises(ServiceError) as caught:
            call()
        assert refused(caught) == ("FDI.3033", 404)
        with pytest.raises(ServiceError) as unknown:
            services.show(plane.scope, "nobody")
        assert unknown.value.message == caught.value.message, "an unknown one and another's look the same"
    assert plane.store.data_source(made.id) is not None


def test_a_password_that_is_left_out_stays(plane: Plane) -> None:
    made = plane.data_sources.create(plane.scope, plane.form(sk="old"))
    for left_out in ({"password": None}, {"password": ""}):
        plane.data_sources.update(plane.scope, made.id, plane.form("renamed", **left_out))
    stored = plane.store.data_source(made.id)
    assert stored is not None
    assert (stored.name, stored.secrets) == ("renamed", {"password": "hidden-word", "sk": "old"})
    plane.data_sources.update(plane.scope, made.id, plane.form(password="changed"))
    stored = plane.store.data_source(made.id)
    assert stored is not None
    assert stored.secrets["password"] == "changed"


def test_the_type_stays(plane: Plane) -> None:
    plane.data_sources._connections = replace(plane.data_sources._connections, kinds=("POSTGRESQL", "MYSQL"))
    made = plane.data_sources.create(plane.scope, plane.form())
    with pytest.raises(ServiceError, match=r"\[datasource_type\].*POSTGRESQL"):
        plane.data_sources.update(plane.scope, made.id, replace(plane.form(), type="MYSQL"))


def test_a_bare_table_name_of_a_mysql_is_one_of_its_database(plane: Plane) -> None:
    connections = replace(plane.data_sources._connections, kinds=("POSTGRESQL", "MYSQL"), schema=adapters.default_schema)
    plane.data_sources._connections = connections
    made = plane.data_sources.create(plane.scope, replace(plane.form(database_name="public"), type="MYSQL"))
    assert plane.data_sources.columns(plane.scope, made.id, "SOURCE", "orders")
    other = plane.data_sources.create(plane.scope, replace(plane.form("other", database_name="shop"), type="MYSQL"))
    with pytest.raises(ServiceError, match=r"no table shop\.orders"):
        plane.data_sources.columns(plane.scope, other.id, "SOURCE", "orders")


def test_a_server_id_is_kept_with_the_data_source_that_is_read_under_it(plane: Plane) -> None:
    plane.data_sources._connections = replace(plane.data_sources._connections, kinds=("POSTGRESQL", "MYSQL"))
    source = plane.data_sources.create(plane.scope, replace(plane.form("mysql", server_id=" 17 "), type="MYSQL"))
    target = plane.data_sources.create(plane.scope, plane.form("target"))
    assert source.content["server_id"] == 17
    task = plane.tasks.init(plane.scope, InitForm(source.id, target.id, ext_info={"server_id": "4711"}))
    assert plane.data_sources.show(plane.scope, source.id).content["server_id"] == 4711
    assert plane.mappings.find(plane.scope, task.task_id, MappingFilter(), 10, 0).ext_info == {"server_id": "4711"}
    for wrong in ("0", "4294967296", "-1", "x"):
        with pytest.raises(ServiceError, match=r"\[server_id\]"):
            plane.tasks.init(plane.scope, InitForm(source.id, target.id, ext_info={"server_id": wrong}))
    plane.tasks.init(plane.scope, InitForm(target.id, source.id, ext_info={"server_id": "5"}))
    assert "server_id" not in plane.data_sources.show(plane.scope, target.id).content


def test_a_running_task_keeps_its_server_but_takes_a_new_password(plane: Plane) -> None:
    task = plane.started()
    assert task.source_id is not None
    with pytest.raises(ServiceError, match="stop it") as caught:
        plane.data_sources.update(plane.scope, task.source_id, plane.form(host="elsewhere.example"))
    assert refused(caught) == ("FDI.3023", 400)
    before = plane.nudges
    plane.data_sources.update(plane.scope, task.source_id, plane.form(password="changed"))
    assert plane.nudges > before, "workers get the new password at once"


def test_a_captured_source_moves_only_to_a_server_that_keeps_our_place(plane: Plane) -> None:
    task = plane.started()
    assert task.source_id is not None
    plane.tasks.stop(plane.scope, [task.id])
    with pytest.raises(ServiceError, match="keep our place") as caught:
        plane.data_sources.update(plane.scope, task.source_id, plane.form(host="elsewhere.example"))
    assert refused(caught) == ("FDI.3033", 400)
    plane.source.publish([table("orders").table, table("customers").table])  # the new address leads to the same server
    plane.data_sources.update(plane.scope, task.source_id, plane.form(host="elsewhere.example"))
    assert plane.connected[-1].content["host"] == "elsewhere.example"


def test_a_data_source_in_use_is_not_deleted(plane: Plane) -> None:
    task = plane.task("orders-task")
    for data_source_id in (task.source_id, task.target_id):
        with pytest.raises(ServiceError, match=r"\[datasource_id\].*orders-task.*delete") as caught:
            plane.data_sources.delete(plane.scope, data_source_id or "")
        assert refused(caught) == ("FDI.3033", 400)
    plane.tasks.delete(plane.scope, task.id)
    plane.data_sources.delete(plane.scope, task.source_id or "")
    plane.data_sources.delete(plane.scope, task.target_id or "")
    assert plane.store.data_sources() == []


def test_deleting_waits_until_the_slot_is_dropped(plane: Plane) -> None:
    task = plane.started()
    plane.source.publish([table("orders").table])
    plane.tasks.stop(plane.scope, [task.id])
    plane.supervised = False
    plane.store.record_state(task.id, "stopped")
    plane.tasks.delete(plane.scope, task.id)
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        plane.supervised = len(waits) > 2

    plane.data_sources._pause = pause
    plane.data_sources.delete(plane.scope, task.source_id or "")
    assert len(waits) >= 3
    assert plane.source.slot is None


def test_a_source_out_of_reach_keeps_its_data_source(plane: Plane) -> None:
    """Never leave a slot behind silently: it would keep the source's log for ever."""
    task = plane.started()
    plane.source.publish([table("orders").table])
    plane.tasks.stop(plane.scope, [task.id])
    plane.source.reachable = False
    plane.tasks.delete(plane.scope, task.id)
    with pytest.raises(ServiceError, match="can't be reached") as caught:
        plane.data_sources.delete(plane.scope, task.source_id or "")
    assert refused(caught) == ("FDI.3033", 400)
    plane.data_sources.delete(plane.scope, task.source_id or "", force=True)
    assert plane.store.data_source(task.source_id or "") is None


def test_a_release_that_takes_too_long_is_told(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    task = plane.started()
    plane.tasks.stop(plane.scope, [task.id])
    plane.supervised = False
    plane.tasks.delete(plane.scope, task.id)
    monkeypatch.setattr(module, "RELEASE_TIMEOUT_S", 0.0)
    with pytest.raises(ServiceError, match="in a moment"):
        plane.data_sources.delete(plane.scope, task.source_id or "")


def test_deleting_a_target_tidies_up_what_deleted_tasks_left_there(plane: Plane) -> None:
    made = plane.data_sources.create(plane.scope, plane.form())
    plane.target.raise_epoch("gone", 3)
    plane.store.save_leftover(Leftover("gone", made.id, "gone", 0, "was out of reach"))
    plane.data_sources.delete(plane.scope, made.id)
    assert plane.target.place("gone") is None


def test_a_connection_is_tested_as_saved_and_as_changed(plane: Plane) -> None:
    made = plane.data_sources.create(plane.scope, plane.form())
    assert plane.data_sources.test_connect(plane.scope, made.id) is True
    assert plane.data_sources.test_connect(plane.scope, made.id, plane.form(host="other.example", password=None)) is True
    assert [(one.content["host"], one.secrets["password"]) for one in plane.connected] == [
        ("source.example", "hidden-word"),
        ("other.example", "hidden-word"),
    ]
    plane.source.reachable = False
    with pytest.raises(ServiceError, match="can't be reached") as caught:
        plane.data_sources.test_connect(plane.scope, made.id)
    assert refused(caught) == ("FDI.3016", 400)


def test_a_database_that_does_not_answer_does_not_hold_the_request(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plane.data_sources.create(plane.scope, plane.form())
    monkeypatch.setattr(module, "DATABASE_TIMEOUT_S", 0.05)
    with plane.source.changed:  # `tables` itself doesn't wait; a test of the connection that hangs does

        def hang() -> None:
            with plane.source.changed:
                pass

        monkeypatch.setattr(plane.source, "test", hang)
        with pytest.raises(ServiceError, match="no answer within") as caught:
            plane.data_sources.test_connect(plane.scope, made.id)
    assert refused(caught) == ("FDI.3016", 400)


def test_tables_of_either_side(plane: Plane) -> None:
    made = plane.data_sources.create(plane.scope, plane.form())
    plane.source.add_table(table("Later", schema="sales"))
    assert plane.data_sources.tables(plane.scope, made.id, "SOURCE") == ["public.customers", "public.orders", "sales.Later"]
    assert plane.data_sources.tables(plane.scope, made.id, "SOURCE", "LATER") == ["sales.Later"]
    assert plane.data_sources.tables(plane.scope, made.id, "TARGET", "order") == ["public.orders"]
    plane.source.reachable = False
    with pytest.raises(ServiceError) as caught:
        plane.data_sources.tables(plane.scope, made.id, "SOURCE")
    assert refused(caught) == ("FDI.3016", 400)


def test_columns_of_a_table(plane: Plane) -> None:
    made = plane.data_sources.create(plane.scope, plane.form())
    for written in ("orders", "public.orders"):
        found = plane.data_sources.columns(plane.scope, made.id, "SOURCE", written)
        assert [(one.name, one.type, one.key, one.nullable) for one in found] == [
            ("id", "bigint", True, False),
            ("name", "text", False, True),
        ]
    for wrong in ("nothing", "other.orders", "", ".orders", "x" * 300, "a\0b"):
        with pytest.raises(ServiceError, match=r"\[table_name\]") as caught:
            plane.data_sources.columns(plane.scope, made.id, "SOURCE", wrong)
        assert refused(caught) == ("FDI.3033", 400)


@pytest.mark.parametrize(
    ("type_", "parts"),
    [
        ("bigint", ("bigint", None, None)),
        ("numeric(12,2)", ("numeric", "12", "2")),
        ("numeric(3,-2)", ("numeric", "3", "-2")),
        ("character varying(60)", ("character varying", "60", None)),
        ("timestamp(3) without time zone", ("timestamp without time zone", "3", None)),
        ("character varying(60)[]", ("character varying[]", "60", None)),
        ('"odd(type)"', ('"odd(type)"', None, None)),
    ],
)
def test_a_type_is_taken_apart(type_: str, parts: tuple[str, str | None, str | None]) -> None:
    view = column_view(Column("c", type_))
    assert (view.type, view.length, view.decimal_digits) == parts


def test_errors_of_the_adapter_reach_the_caller_as_refusals(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plane.data_sources.create(plane.scope, plane.form())

    def broken() -> None:
        raise HeadwaterError("The role may not connect." + "x" * 1000)

    monkeypatch.setattr(plane.source, "test", broken)
    with pytest.raises(ServiceError, match="may not connect") as caught:
        plane.data_sources.test_connect(plane.scope, made.id)
    assert len(caught.value.message) <= 512
