"""Tasks: wishes, refusals with the right code, start checks that tell everything at once, and one task in many hands at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from headwater.domain.errors import SourceError
from headwater.domain.tables import Column, TableName
from headwater.ports.source import Finding
from headwater.ports.store import Reset, Run, Scope, Task
from headwater.services import tasks as module
from headwater.services.errors import ServiceError, refusal
from headwater.services.mappings import MappingForm
from headwater.services.tasks import InitForm, TaskChange, TaskFilter, TaskForm
from tests.services.control_plane import Plane, table

STRANGER = Scope("f" * 32, "another-instance")
ALL = ("INSERT", "UPDATE", "DELETE")


def failure(plane: Plane, act: Callable[[Scope, list[str]], Any], task_id: str) -> tuple[str, str]:
    """Code and message of a batch in which the one task fails."""
    outcome = act(plane.scope, [task_id])
    assert outcome.success == ()
    (item,) = outcome.failure
    assert item.task_id == task_id
    return item.error_code, item.error_message


def test_init_gives_out_an_id_and_create_saves_under_it(plane: Plane) -> None:
    source, target = plane.connections()
    made = plane.tasks.init(plane.scope, InitForm(source, target, ext_info={"server_id": "5"}))
    assert (made.source_id, made.source_name, made.source_type, made.source_app_id) == (source, "source", "POSTGRESQL", plane.app_id)
    assert (made.target_id, made.ext_info, made.mappings.total) == (target, {"server_id": "5"}, 0)
    with pytest.raises(ServiceError):
        plane.tasks.show(plane.scope, made.task_id)
    assert (
        plane.tasks.create(plane.scope, TaskForm("my-task", ("DELETE", "INSERT"), made.task_id, description="d", tag="t-1")) == made.task_id
    )
    view = plane.tasks.show(plane.scope, made.task_id)
    assert (view.name, view.operations, view.description, view.tag) == ("my-task", ("INSERT", "DELETE"), "d", "t-1")
    assert (view.running, view.state, view.execute_status) == (False, "saved", "UNSTARTED")
    assert (view.source_app_id, view.source_app_name) == (plane.app_id, "headwater")


def test_create_without_an_id_makes_one(plane: Plane) -> None:
    task_id = plane.tasks.create(plane.scope, TaskForm("my-task", ALL))
    assert plane.tasks.show(plane.scope, task_id).source_id is None


def test_an_id_that_was_never_given_out_is_refused_like_anothers(plane: Plane) -> None:
    theirs = plane.task().id
    messages = set()
    for scope, task_id in ((plane.scope, "made-up"), (STRANGER, theirs)):
        calls: list[Callable[[], object]] = [
            partial(plane.tasks.init, scope, InitForm(task_id=task_id)),
            partial(plane.tasks.create, scope, TaskForm("name", ALL, task_id)),
        ]
        for call in calls:
            with pytest.raises(ServiceError) as caught:
                call()
            assert (caught.value.code, caught.value.status) == ("FDI.3180", 404)
            messages.add(caught.value.message)
    assert len(messages) == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "ab"}, "task_name"),
        ({"name": "-abc"}, "task_name"),
        ({"name": "x" * 101}, "task_name"),
        ({"name": "a b c"}, "task_name"),
        ({"name": "abc\n"}, "task_name"),
        ({"operations": ()}, "operation_types"),
        ({"operations": ("insert",)}, "operation_types"),
        ({"operations": ("INSERT", "TRUNCATE")}, "operation_types"),
        ({"task_type": "SOMETIMES"}, "task_type"),
        ({"tag": "a b"}, "task_tag"),
        ({"tag": "x" * 65}, "task_tag"),
        ({"description": "x" * 1025}, "description"),
        ({"description": "a\0"}, "description"),
        ({"source_app_id": "another"}, "source_app_id"),
        ({"target_app_id": "another"}, "target_app_id"),
    ],
)
def test_a_form_that_is_wrong_is_refused_by_name(plane: Plane, change: dict[str, Any], named: str) -> None:
    with pytest.raises(ServiceError, match=rf"\[{named}\]") as caught:
        plane.tasks.create(plane.scope, replace(TaskForm("name", ALL), **change))
    assert (caught.value.code, caught.value.status) == ("FDI.3033", 400)
    assert plane.store.tasks() == []


def test_a_task_is_created_once(plane: Plane) -> None:
    task = plane.task("first")
    with pytest.raises(ServiceError, match=r"\[task_id\].*already"):
        plane.tasks.create(plane.scope, TaskForm("second", ALL, task.id))
    assert plane.stored(task.id).name == "first"


def test_init_refuses_what_it_can_not_use(plane: Plane) -> None:
    source, target = plane.connections()
    for form, parameter in (
        (InitForm("nobody", target), "source_datasource_id"),
        (InitForm(source, "nobody"), "target_datasource_id"),
        (InitForm(source, auto_mapping=True), "target_datasource_id"),
        (InitForm(auto_mapping=True), "source_datasource_id"),
    ):
        with pytest.raises(ServiceError, match=rf"\[{parameter}\]") as caught:
            plane.tasks.init(plane.scope, form)
        assert (caught.value.code, caught.value.status) == ("FDI.3033", 400)
    running = plane.started()
    with pytest.raises(ServiceError) as caught:
        plane.tasks.init(plane.scope, InitForm(task_id=running.id, auto_mapping=True))
    assert caught.value.code == "FDI.3023"


def test_an_init_that_fails_leaves_nothing(plane: Plane) -> None:
    source, target = plane.connections()
    task_id = plane.tasks.init(plane.scope, InitForm(source)).task_id
    before = plane.stored(task_id)
    plane.target.reachable = False
    with pytest.raises(ServiceError, match="At the target"):
        plane.tasks.init(plane.scope, InitForm(target_id=target, task_id=task_id, auto_mapping=True))
    assert plane.stored(task_id) == before
    assert plane.store.mappings(task_id) == []


def test_a_data_source_that_is_deleted_meanwhile_is_refused(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = plane.connections()
    joined = plane.mappings.joined

    def joined_too_late(task: Task, source_id: str | None, target_id: str | None) -> Task:
        made = joined(task, source_id, target_id)
        plane.data_sources.delete(plane.scope, target)
        return made

    monkeypatch.setattr(plane.mappings, "joined", joined_too_late)
    with pytest.raises(ServiceError, match="no such data source") as caught:
        plane.tasks.init(plane.scope, InitForm(source, target))
    assert (caught.value.code, caught.value.status) == ("FDI.3033", 400)


def test_ids_that_nobody_used_are_forgotten(plane: Plane) -> None:
    task_id = plane.tasks.init(plane.scope, InitForm()).task_id
    plane.clock.move(6 * 86_400)
    plane.tasks.init(plane.scope, InitForm())
    assert plane.store.task(task_id) is not None
    plane.clock.move(2 * 86_400)
    plane.tasks.init(plane.scope, InitForm())
    assert plane.store.task(task_id) is None


def test_a_task_that_ran_keeps_its_data_sources(plane: Plane) -> None:
    """Its checkpoint lies at its target and counts in its source's journal."""
    task = plane.started()
    plane.tasks.stop(plane.scope, [task.id])
    for mapping in plane.store.mappings(task.id):
        plane.mappings.delete(plane.scope, task.id, mapping.id)
    other, _ = plane.connections()
    for form in (InitForm(source_id=other, task_id=task.id), InitForm(target_id=other, task_id=task.id)):
        with pytest.raises(ServiceError, match="another task") as caught:
            plane.tasks.init(plane.scope, form)
        assert caught.value.code == "FDI.3037"


def test_start_and_stop_write_wishes_and_wake_the_supervisor(plane: Plane) -> None:
    plane.supervised = False
    task = plane.task()
    before = plane.nudges
    outcome = plane.tasks.start(plane.scope, [task.id])
    assert [(item.task_id, item.task_name, item.error_code) for item in outcome.success] == [(task.id, "task-1", "")]
    assert plane.nudges > before
    assert (plane.stored(task.id).wished, plane.tasks.show(plane.scope, task.id).execute_status) == (True, "WAITING")
    plane.tasks.stop(plane.scope, [task.id])
    assert not plane.stored(task.id).wished
    assert plane.tasks.show(plane.scope, task.id).running is False


def test_starting_twice_is_refused_and_stopping_twice_is_not(plane: Plane) -> None:
    task = plane.started()
    code, message = failure(plane, plane.tasks.start, task.id)
    assert code == "FDI.3023"
    assert "started already" in message
    for _ in range(2):
        assert plane.tasks.stop(plane.scope, [task.id]).failure == ()


def test_a_failed_task_is_started_again(plane: Plane) -> None:
    task = plane.started()
    plane.store.record_state(task.id, "failed", "slot_lost", "It is gone.")
    view = plane.tasks.show(plane.scope, task.id)
    assert (view.running, view.execute_status, view.message) == (False, "ERROR", "It is gone.")
    assert "Reset the task" in view.hint
    assert plane.tasks.start(plane.scope, [task.id]).failure == ()
    assert plane.tasks.show(plane.scope, task.id).error_kind == ""


def test_a_batch_tells_each_task_apart(plane: Plane) -> None:
    good, running = plane.task("good"), plane.started("running")
    unmapped = plane.task("unmapped", mapped=False)
    timing = plane.tasks.create(plane.scope, TaskForm("timing", ALL, task_type="timing"))
    draft = plane.tasks.init(plane.scope, InitForm()).task_id
    ids = [good.id, running.id, unmapped.id, timing, draft, "", "\0"]
    outcome = plane.tasks.start(plane.scope, ids)
    assert [item.task_id for item in outcome.success] == [good.id]
    assert [(item.task_id, item.error_code) for item in outcome.failure] == [
        (running.id, "FDI.3023"),
        (unmapped.id, "FDI.3026"),
        (timing, "FDI.3083"),
        (draft, "FDI.3021"),
        ("", "FDI.3022"),
        ("\0", "FDI.3021"),
    ]
    assert plane.tasks.start(STRANGER, [good.id]).failure[0].error_code == "FDI.3021"
    assert plane.tasks.stop(STRANGER, [good.id]).failure[0].error_code == "FDI.3021"
    assert plane.stored(good.id).wished


def test_one_task_named_twice_starts_once(plane: Plane) -> None:
    task = plane.task()
    outcome = plane.tasks.start(plane.scope, [task.id, task.id])
    assert (len(outcome.success), [item.error_code for item in outcome.failure]) == (1, ["FDI.3023"])


def test_the_size_of_a_batch_is_bounded(plane: Plane) -> None:
    for act in (plane.tasks.start, plane.tasks.stop):
        with pytest.raises(ServiceError) as empty:
            act(plane.scope, [])
        assert (empty.value.code, empty.value.status) == ("FDI.3150", 400)
        with pytest.raises(ServiceError, match=r"\[list\]") as long:
            act(plane.scope, ["x"] * 11)
        assert (long.value.code, long.value.status) == ("FDI.3033", 400)


def test_a_start_tells_everything_that_stands_in_its_way(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    task = plane.task()
    findings = [Finding("wal_level is replica.", "Set it to logical."), Finding("No slot is free.", "Raise max_replication_slots.")]
    monkeypatch.setattr(plane.source, "check", lambda tables: findings)
    monkeypatch.setattr(plane.target, "check", lambda mappings: [Finding("INSERT is not granted.", "Grant it.")])
    (item,) = plane.tasks.start(plane.scope, [task.id]).failure
    assert item.error_code == "FDI.3026"
    assert item.details == (
        "At the source: wal_level is replica. Set it to logical.",
        "At the source: No slot is free. Raise max_replication_slots.",
        "At the target: INSERT is not granted. Grant it.",
    )
    for part in item.details:
        assert part in item.error_message
    assert not plane.stored(task.id).wished


def test_a_start_notes_what_does_not_stand_in_its_way(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    task = plane.task()
    noted = Finding("s.t has no transactions.", "Use another engine.", stops=False)
    monkeypatch.setattr(plane.target, "check", lambda mappings: [noted, Finding("INSERT is not granted.", "Grant it.")])
    (refused,) = plane.tasks.start(plane.scope, [task.id]).failure
    assert refused.details == ("At the target: INSERT is not granted. Grant it.",)
    said = ("At the target: s.t has no transactions. Use another engine.",)
    for found, notes in (([noted], said), ([], ())):
        monkeypatch.setattr(plane.target, "check", lambda mappings, found=found: found)
        assert plane.tasks.start(plane.scope, [task.id]).failure == ()
        assert plane.tasks.show(plane.scope, task.id).notes == notes
        plane.tasks.stop(plane.scope, [task.id])


def test_a_start_finds_mappings_that_no_longer_fit(plane: Plane) -> None:
    task = plane.task()
    plane.source.schemas[TableName("public", "orders")] = table("orders", Column("id", "bigint", key=True))
    code, message = failure(plane, plane.tasks.start, task.id)
    assert code == "FDI.3026"
    assert "public.orders has no column name" in message


def test_a_start_is_refused_while_a_database_is_out_of_reach(plane: Plane) -> None:
    task = plane.task()
    plane.source.reachable = False
    code, message = failure(plane, plane.tasks.start, task.id)
    assert code == "FDI.3026"
    assert "At the source: The source can't be reached." in message
    assert not plane.stored(task.id).wished


def test_a_start_check_that_hangs_is_given_up(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    from headwater.services import data_sources

    task = plane.task()
    release = threading.Event()
    monkeypatch.setattr(data_sources, "DATABASE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(plane.target, "check", lambda mappings: release.wait(30))
    code, message = failure(plane, plane.tasks.start, task.id)
    release.set()
    assert code == "FDI.3026"
    assert "no answer within" in message


def test_update_changes_what_is_given(plane: Plane) -> None:
    task = plane.task()
    plane.clock.move(5)
    assert plane.tasks.update(plane.scope, task.id, TaskChange(("INSERT",), "new", "new-tag"), "me") == task.id
    view = plane.tasks.show(plane.scope, task.id)
    assert (view.operations, view.description, view.tag) == (("INSERT",), "new", "new-tag")
    assert view.modified_ms > task.modified_ms
    plane.tasks.update(plane.scope, task.id, TaskChange(), "me")
    assert plane.tasks.show(plane.scope, task.id).operations == ("INSERT",)
    assert plane.resets.asked == []


def test_update_of_an_unknown_task_is_as_documented(plane: Plane) -> None:
    draft = plane.tasks.init(plane.scope, InitForm()).task_id
    for scope, task_id in ((plane.scope, "nobody"), (plane.scope, draft), (STRANGER, plane.task().id)):
        with pytest.raises(ServiceError) as caught:
            plane.tasks.update(scope, task_id, TaskChange(ALL), "me")
        assert (caught.value.code, caught.value.status) == ("FDI.3021", 400)


def test_copying_again_is_a_reset_without_a_time(plane: Plane) -> None:
    task = plane.started()
    plane.tasks.update(plane.scope, task.id, TaskChange(copy_again=True), "somebody")
    assert plane.resets.asked == [(task.id, None, "somebody")]
    fresh = plane.task("fresh")
    plane.tasks.update(plane.scope, fresh.id, TaskChange(copy_again=True), "somebody")
    assert len(plane.resets.asked) == 1, "a task that never ran copies anyway"


def test_an_update_whose_reset_is_refused_changes_nothing(plane: Plane) -> None:
    task = plane.started()
    plane.resets.refusal = refusal("FDI.3016", "The target can't be reached.")
    with pytest.raises(ServiceError):
        plane.tasks.update(plane.scope, task.id, TaskChange(("INSERT",), "new", copy_again=True), "me")
    assert plane.stored(task.id) == task


def test_deleting(plane: Plane) -> None:
    task = plane.started()
    plane.store.save_run(Run("r", task.id, 1, 0, None, "running", "", {}))
    plane.store.save_reset(Reset("x", task.id, "me", 0, None, None, None, None, 1, "done", "", 0))
    with pytest.raises(ServiceError, match="Stop the task") as caught:
        plane.tasks.delete(plane.scope, task.id)
    assert (caught.value.code, caught.value.status) == ("FDI.3023", 400)
    plane.tasks.stop(plane.scope, [task.id])
    assert plane.target.place(task.id) is not None
    plane.tasks.delete(plane.scope, task.id)
    assert plane.target.place(task.id) is None
    assert (plane.store.task(task.id), plane.store.mappings(task.id), plane.store.resets()) == (None, [], [])
    assert plane.store.leftovers() == []
    with pytest.raises(ServiceError) as gone:
        plane.tasks.delete(plane.scope, task.id)
    assert (gone.value.code, gone.value.status) == ("FDI.3180", 404)


def test_a_draft_and_a_failed_task_may_be_deleted(plane: Plane) -> None:
    plane.tasks.delete(plane.scope, plane.tasks.init(plane.scope, InitForm()).task_id)
    task = plane.started()
    plane.store.record_state(task.id, "failed", "slot_lost", "gone")
    plane.tasks.delete(plane.scope, task.id)
    assert plane.store.tasks() == []


def test_nobody_deletes_anothers(plane: Plane) -> None:
    task = plane.task()
    with pytest.raises(ServiceError) as caught:
        plane.tasks.delete(STRANGER, task.id)
    assert (caught.value.code, caught.value.status) == ("FDI.3180", 404)
    assert plane.store.task(task.id) is not None


def test_deleting_right_after_stopping_waits_for_the_worker(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    task = plane.started()
    plane.supervised = False
    plane.tasks.stop(plane.scope, [task.id])
    monkeypatch.setattr(module, "STOP_TIMEOUT_S", 0.0)
    with pytest.raises(ServiceError, match="has not ended") as caught:
        plane.tasks.delete(plane.scope, task.id)
    assert (caught.value.code, caught.value.status) == ("FDI.3028", 400)
    monkeypatch.setattr(module, "STOP_TIMEOUT_S", 30.0)
    plane.supervised = True
    plane.tasks.delete(plane.scope, task.id)
    assert plane.store.task(task.id) is None


def test_what_an_unreachable_target_keeps_is_on_record_until_it_is_removed(plane: Plane) -> None:
    task = plane.started()
    plane.tasks.stop(plane.scope, [task.id])
    plane.target.reachable = False
    plane.tasks.delete(plane.scope, task.id)
    (left,) = plane.store.leftovers()
    assert (left.task_id, left.data_source_id, left.message) == (task.id, task.target_id, "The target can't be reached.")
    plane.target.reachable = True
    target = plane.store.data_source(task.target_id or "")
    assert target is not None
    plane.tasks.tidy(target)
    assert plane.store.leftovers() == []
    assert plane.target.place(task.id) is None


def test_a_checkpoint_is_on_record_before_the_task_is_gone(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the two must not leave a checkpoint that nobody knows of."""
    task = plane.started()
    plane.tasks.stop(plane.scope, [task.id])

    def crash(task_id: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plane.store, "delete_task", crash)
    with pytest.raises(KeyboardInterrupt):
        plane.tasks.delete(plane.scope, task.id)
    assert [left.task_id for left in plane.store.leftovers()] == [task.id]


def test_listing_filters_pages_and_sorts(plane: Plane) -> None:
    first, second, third = plane.task("Alpha"), plane.started("beta"), plane.task("alphabet")
    plane.tasks.update(plane.scope, third.id, TaskChange(tag="red"), "me")
    plane.tasks.init(plane.scope, InitForm())

    def found(limit: int = 10, offset: int = 0, **wanted: Any) -> list[str]:
        return [view.name for view in plane.tasks.find(plane.scope, TaskFilter(**wanted), limit, offset).items]

    assert found() == ["alphabet", "beta", "Alpha"]
    assert found(ascending=True) == ["Alpha", "beta", "alphabet"]
    assert found(name="ALPHA") == ["alphabet", "Alpha"]
    assert found(running=True) == ["beta"]
    assert found(running=False) == ["alphabet", "Alpha"]
    assert found(sort_field="STATUS") == ["beta", "alphabet", "Alpha"]
    assert found(sort_field="STATUS", ascending=True) == ["Alpha", "alphabet", "beta"]
    assert found(task_id=first.id) == ["Alpha"]
    assert found(task_type="realtime") == found()
    assert found(task_type="timing") == []
    assert found(tag="red") == ["alphabet"]
    assert found(execute_status="RUNNING") == ["beta"]
    assert found(execute_status="UNSTARTED") == ["alphabet", "Alpha"]
    assert found(source_id=second.source_id) == ["beta"]
    assert found(target_id=second.source_id) == []
    assert found(data_source_id=second.target_id) == ["beta"]
    assert found(source_app_id=plane.app_id, target_app_id=plane.app_id) == found()
    assert found(source_app_id="another") == []
    assert found(1, 1) == ["beta"]
    assert found(0, -3) == ["alphabet"]
    assert plane.tasks.find(plane.scope, TaskFilter(), 1, 0).total == 3
    assert plane.tasks.find(STRANGER, TaskFilter(), 10, 0).total == 0


def test_one_task_in_many_hands(plane: Plane) -> None:
    """Concurrent start, stop, change and delete: each answer is a success or a refusal, and the end is whole."""
    task = plane.task()
    problems: list[BaseException] = []

    def hand(act: Callable[[], object]) -> None:
        for _ in range(5):
            try:
                act()
            except ServiceError:
                continue
            except BaseException as error:
                problems.append(error)
                raise

    acts: list[Callable[[], object]] = [
        lambda: plane.tasks.start(plane.scope, [task.id]),
        lambda: plane.tasks.stop(plane.scope, [task.id]),
        lambda: plane.tasks.update(plane.scope, task.id, TaskChange(ALL, copy_again=True), "me"),
        lambda: plane.mappings.create(plane.scope, task.id, MappingForm("orders", "customers")),
        lambda: plane.tasks.delete(plane.scope, task.id),
    ]
    threads = [threading.Thread(target=hand, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    found = plane.store.task(task.id)
    if found is not None:
        plane.tasks.stop(plane.scope, [task.id])
        plane.tasks.delete(plane.scope, task.id)
    assert plane.store.mappings(task.id) == []
    assert plane.target.place(task.id) is None
    assert plane.locks._locks == {}


def test_only_one_of_many_starts_wins(plane: Plane) -> None:
    task = plane.task()
    outcomes: list[int] = []
    threads = [threading.Thread(target=lambda: outcomes.append(len(plane.tasks.start(plane.scope, [task.id]).success))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [0, 0, 0, 0, 0, 1]
    assert plane.stored(task.id).epoch == 1


def test_an_error_of_the_adapter_is_a_finding(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    task = plane.task()

    def broken(tables: object) -> list[Finding]:
        raise SourceError("The login was refused.", kind="source_refused")

    monkeypatch.setattr(plane.source, "check", broken)
    assert failure(plane, plane.tasks.start, task.id)[1].endswith("At the source: The login was refused.")
