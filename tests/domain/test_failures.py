"""What follows from a failure, and what a task's state is called."""

from __future__ import annotations

import pytest

from headwater.domain.failures import HEALTHY_AFTER_S, POLICIES, RETRY_PAUSE_S, decide, policy
from headwater.domain.lifecycle import EXECUTE_STATUS, RUNNING, Fact, Recorded, running_state


def test_pauses_grow_and_stay_at_the_longest() -> None:
    failures, pauses = 0, []
    for _ in range(len(RETRY_PAUSE_S) + 2):
        decision = decide("target_unavailable", failures, ran_s=0.1)
        failures = decision.failures
        pauses.append(decision.pause_s)
    assert pauses == [*RETRY_PAUSE_S, RETRY_PAUSE_S[-1], RETRY_PAUSE_S[-1]]


def test_a_worker_that_ran_well_before_begins_a_new_series() -> None:
    assert decide("crashed", 5, ran_s=HEALTHY_AFTER_S).pause_s == RETRY_PAUSE_S[0]


def test_a_worker_that_got_further_begins_a_new_series() -> None:
    assert decide("crashed", 5, ran_s=0.5, got_further=True).pause_s == RETRY_PAUSE_S[0]


@pytest.mark.parametrize(("kind", "action"), [("slot_lost", "stop"), ("fenced", "replace"), ("source_unavailable", "retry")])
def test_the_action_is_the_table_s(kind: str, action: str) -> None:
    assert decide(kind, 0, 0.0).action == action


def test_a_kind_that_nobody_knows_is_tried_again() -> None:
    assert policy("never heard of").action == "retry"


def test_every_kind_has_a_hint() -> None:
    assert all(one.hint.endswith(".") for one in POLICIES.values())


def test_a_failure_that_is_being_tried_again_shows_before_anything_else() -> None:
    fact = Fact("following", "capturing", ("target_unavailable", "down"))
    assert running_state(fact) == Recorded("retrying", "target_unavailable", "down")


def test_a_task_whose_worker_has_not_reported_is_starting() -> None:
    assert running_state(Fact(None, "capturing")).state == "starting"
    assert "capture" in running_state(Fact(None, None)).message


def test_every_running_state_has_a_word_in_the_api() -> None:
    assert set(EXECUTE_STATUS) >= RUNNING
