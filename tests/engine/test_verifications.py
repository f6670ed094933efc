"""The supervisor's care for verifications, one step at a time: started, told, passed on, ended, begun again, given up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headwater.domain.failures import RETRY_PAUSE_S
from headwater.engine.orders import VerifyOrder
from headwater.engine.supervisor import Supervisor
from headwater.engine.verifications import AT_ONCE, TRIES
from headwater.ports.runtime import ApplyReport, Exit, RepairAsk, VerifiedTable, VerifyReport
from headwater.ports.store import Verification
from tests.engine.test_supervisor import FakeWorker, Rig

FOUND = (VerifiedTable("t-m", "public.accounts", "public.accounts", "equal", rows=7),)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path)
    made.add_task()
    return made


def wish(rig: Rig, name: str = "v", **changes: Any) -> None:
    """Wish a verification and take a step."""
    made = Verification(name, "t", "me", repair=True, after_reset=False, asked_ms=1)
    rig.store.save_verification(replace(made, **changes))
    rig.step()


def record(rig: Rig, name: str = "v") -> Verification:
    """What is on record."""
    return next(v for v in rig.store.verifications() if v.id == name)


def end(rig: Rig, worker: FakeWorker, ended: Exit, seconds: float = 0.0) -> None:
    """The worker ends, and the supervisor takes a step some time later."""
    worker.ended = ended
    rig.step()
    rig.step(seconds)


def test_a_wish_becomes_a_worker_and_its_word_the_record(rig: Rig) -> None:
    rig.start()
    wish(rig)
    worker = rig.newest("verify", "v")
    order = VerifyOrder.read(worker.spec.payload["order"])
    assert (order.task_id, order.repair, [m.mapping_id for m in order.mappings], order.shared) == ("t", True, ["t-m"], frozenset())
    assert worker.spec.payload["running"] is True
    assert (record(rig).outcome, record(rig).started_ms is not None) == ("running", True)
    worker.said = VerifyReport("comparing", rows_per_s=5.0, offset=3, tables=FOUND)
    rig.step(2)
    assert (record(rig).tables, record(rig).offset, record(rig).outcome) == (FOUND, 3, "running")
    worker.said = VerifyReport("done", outcome="equal", offset=3, tables=FOUND)
    end(rig, worker, Exit("stopped", ""))
    assert (record(rig).outcome, record(rig).open, record(rig).tables, record(rig).message) == ("equal", False, FOUND, "")
    rig.step(100)
    assert rig.count("verify") == 1


def test_mappings_whose_target_table_others_fill_are_told(rig: Rig) -> None:
    rig.add_task("u")
    wish(rig)
    order = VerifyOrder.read(rig.newest("verify", "v").spec.payload["order"])
    assert order.shared == {"t-m"}


def test_what_is_to_be_repaired_reaches_the_apply_once(rig: Rig) -> None:
    apply = rig.start()
    wish(rig)
    worker = rig.newest("verify", "v")
    for number in (1, 1, 2):
        worker.said = VerifyReport("comparing", ask=RepairAsk(number, "t-m", (("7",),)))
        rig.step(1)
    repairs = [command["repair"] for command in apply.told if "repair" in command]
    assert [(r["number"], r["mapping_id"], r["keys"]) for r in repairs] == [(1, "t-m", (("7",),)), (2, "t-m", (("7",),))]


def test_the_worker_learns_that_its_task_has_stopped(rig: Rig) -> None:
    rig.start()
    wish(rig)
    rig.store.wish("t", False)
    rig.step()
    assert rig.newest("verify", "v").told == [{"running": False}]


def test_a_failure_that_heals_begins_it_again_and_others_end_it(rig: Rig) -> None:
    rig.start()
    wish(rig)
    first = rig.newest("verify", "v")
    first.said = VerifyReport("comparing", tables=FOUND)
    end(rig, first, Exit("target_unavailable", "gone"), RETRY_PAUSE_S[0])
    second = rig.newest("verify", "v")
    assert second is not first
    assert (record(rig).open, record(rig).tables) == (True, ())
    end(rig, second, Exit("history_broken", "The history has a gap."))
    assert record(rig).outcome == "failed"
    assert record(rig).message.startswith("The history has a gap. ")


def test_after_some_tries_it_has_failed(rig: Rig) -> None:
    wish(rig)
    for _ in range(TRIES):
        assert record(rig).open
        end(rig, rig.newest("verify", "v"), Exit("crashed", "killed"), 60)
    assert (record(rig).outcome, rig.count("verify")) == ("failed", TRIES)


def test_a_cancelled_one_and_one_of_a_deleted_task_lose_their_workers(rig: Rig) -> None:
    rig.add_task("u", "notes")
    wish(rig)
    wish(rig, "w", task_id="u")
    rig.store.save_verification(replace(record(rig), outcome="cancelled", ended_ms=5))
    rig.store.delete_task("u")
    rig.step()
    for name in ("v", "w"):
        assert {"stop": True} in rig.newest("verify", name).told
        end(rig, rig.newest("verify", name), Exit("stopped", ""))
    assert [v.outcome for v in rig.store.verifications()] == ["cancelled"]
    rig.step(100)
    assert rig.count("verify") == 2


def test_a_service_that_ends_leaves_it_open_and_the_next_one_begins_it_again(rig: Rig) -> None:
    wish(rig)
    worker = rig.newest("verify", "v")
    worker.ended = Exit("stopped", "")
    rig.supervisor._verifications.stop(rig.clock.monotonic(), at_once=False)
    assert record(rig).open
    rig.supervisor = Supervisor(rig.store, rig.runtime, rig.supervisor._terms, rig.tidy, frozenset, rig.clock)
    rig.step()
    again = rig.newest("verify", "v")
    assert again is not worker
    again.said = VerifyReport("done", outcome="equal", tables=FOUND)
    again.ended = Exit("stopped", "")
    rig.step()
    assert (record(rig).outcome, "interrupted" in record(rig).message) == ("equal", True)


def test_only_some_run_at_the_same_time(rig: Rig) -> None:
    for i in range(AT_ONCE + 2):
        wish(rig, f"v{i}")
    assert rig.count("verify") == AT_ONCE
    end(rig, rig.newest("verify", "v0"), Exit("undecodable", ""))
    assert rig.count("verify") == AT_ONCE + 1


def test_one_that_a_reset_wished_waits_until_the_task_follows(rig: Rig) -> None:
    apply = rig.start()
    apply.said = ApplyReport("copying")
    rig.step()
    wish(rig, after_reset=True)
    assert rig.count("verify") == 0
    apply.said = ApplyReport("following", offset=5, kept_offset=5, next_offset=5)
    rig.step()
    rig.step()
    assert rig.count("verify") == 1


def test_a_task_without_mappings_fails_it(rig: Rig) -> None:
    rig.store.delete_mapping("t", "t-m")
    wish(rig)
    assert (record(rig).outcome, rig.count("verify")) == ("failed", 0)
