"""Wishing, showing and cancelling verifications, over the real metadata store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.ports.store import Reset, Scope, Verification
from headwater.services.errors import ServiceError
from headwater.services.verifications import Verifications
from tests.services.control_plane import Plane


def verifications(plane: Plane, after_reset: bool = False) -> Verifications:
    """The service over a plane."""
    return Verifications(plane.store, plane.locks, plane.clock.now_ms, plane.nudge, after_reset=after_reset)


def refused(call: object) -> ServiceError:
    """What a call raises."""
    assert callable(call)
    with pytest.raises(ServiceError) as raised:
        call()
    return raised.value


def test_a_verification_is_wished_shown_and_cancelled(plane: Plane) -> None:
    service, task = verifications(plane), plane.started()
    begun = service.begin(plane.scope, task.id, True, "me")
    assert (begun.outcome, begun.repair, begun.by, begun.open) == ("waiting", True, "me", True)
    assert service.show(plane.scope, task.id, begun.id) == begun
    again = refused(lambda: service.begin(plane.scope, task.id, False, "me"))
    assert (again.code, begun.id in again.message) == ("FDI.3033", True)
    ended = service.cancel(plane.scope, task.id, begun.id, "me")
    assert (ended.outcome, ended.message) == ("cancelled", "Cancelled by me.")
    assert service.cancel(plane.scope, task.id, begun.id, "another") == ended
    second = service.begin(plane.scope, task.id, False, "me")
    found = service.find(plane.scope, task.id, 1, 0)
    assert (found.total, [v.id for v in found.items]) == (2, [second.id])
    shown = plane.monitoring.details(plane.scope, task.id).last_verification
    assert shown == second


def test_what_can_not_be_verified_is_refused(plane: Plane) -> None:
    service, task = verifications(plane), plane.task()
    assert "never started" in refused(lambda: service.begin(plane.scope, task.id, False, "me")).message
    bare = plane.task("task-2", mapped=False)
    assert refused(lambda: service.begin(plane.scope, bare.id, False, "me")).code == "FDI.3150"
    running = plane.started("task-3")
    plane.tasks.stop(plane.scope, [running.id])
    assert "only a running task" in refused(lambda: service.begin(plane.scope, running.id, True, "me")).message
    assert service.begin(plane.scope, running.id, False, "me").open


def test_nobody_sees_the_verifications_of_others(plane: Plane) -> None:
    service, task = verifications(plane), plane.started()
    begun = service.begin(plane.scope, task.id, False, "me")
    stranger = Scope("other", "other")
    for call in (
        lambda: service.begin(stranger, task.id, False, "x"),
        lambda: service.find(stranger, task.id, 10, 0),
        lambda: service.show(stranger, task.id, begun.id),
        lambda: service.cancel(stranger, task.id, begun.id, "x"),
        lambda: service.begin(plane.scope, "nothing", False, "x"),
    ):
        assert (refused(call).code, refused(call).status) == ("FDI.3180", 404)
    assert refused(lambda: service.show(plane.scope, task.id, "nothing")).status == 404


def test_a_reset_wishes_one_where_the_settings_say_so(plane: Plane) -> None:
    task = plane.started()
    reset = Reset("r", task.id, "me", 1, None, None, None, None, 1, "done", "", 2)
    verifications(plane).reset_done(reset)
    assert plane.store.verifications(task.id) == []
    service = verifications(plane, after_reset=True)
    service.reset_done(reset)
    service.reset_done(reset)
    waiting, before = plane.store.verifications(task.id)
    assert (waiting.after_reset, waiting.open, before.outcome) == (True, True, "cancelled")
    begun = service.begin(plane.scope, task.id, False, "me")  # a person does not have to wait for it
    assert [v.open for v in plane.store.verifications(task.id)] == [True, False, False]
    plane.store.save_verification(replace(begun, outcome="equal", ended_ms=9))
    assert isinstance(plane.store.verifications(task.id)[0], Verification)
