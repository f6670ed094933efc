"""The pure decisions of a reset: what is refused and in which words, and where the task is put."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headwater.domain.reset import (
    CLOCK_SKEW_MS,
    DATE_FROM_MAX,
    Reach,
    Standing,
    Unreachable,
    check_moment,
    decide,
    iso_ms,
    whole_ms,
)
from headwater.ports.target import Checkpoint

NOW_MS = 1_767_229_200_000  # 2026-01-01T01:00:00Z
REACH = Reach((NOW_MS - 3_600_000) * 1000 + 1, NOW_MS * 1000)
WINDOW_SAID = "Reachable: 1767225600001 (2026-01-01T00:00:00.001Z) to 1767229200000 (2026-01-01T01:00:00.000Z)."


@pytest.mark.parametrize("value", [True, False, "1630052714000", 1630052714000.0, 1.5, [1], {}, b"1"])
def test_what_is_not_an_integer_is_refused(value: object) -> None:
    with pytest.raises(Unreachable, match="must be an integer, the moment in milliseconds"):
        whole_ms(value)


@pytest.mark.parametrize("value", [0, -1, DATE_FROM_MAX + 1, 2**70, -(2**70)])
def test_an_integer_outside_of_the_documented_bounds_is_refused(value: int) -> None:
    with pytest.raises(Unreachable, match="between 1 and 9999999999999999999"):
        whole_ms(value)


@pytest.mark.parametrize("value", [1, 1630052714000, DATE_FROM_MAX])
def test_an_integer_within_the_documented_bounds_is_read(value: int) -> None:
    assert whole_ms(value) == value


def refusal(ms: int, reach: Reach = REACH) -> str:
    with pytest.raises(Unreachable) as refused:
        check_moment(ms, reach, NOW_MS * 1000)
    return str(refused.value)


def test_seconds_are_recognised_and_named() -> None:
    assert "looks like seconds" in refusal(NOW_MS // 1000)
    assert WINDOW_SAID in refusal(NOW_MS // 1000)


@pytest.mark.parametrize("ms", [NOW_MS * 1000, NOW_MS * 1_000_000, DATE_FROM_MAX])
def test_microseconds_and_nanoseconds_are_recognised_and_called_the_future(ms: int) -> None:
    assert "finer than the milliseconds" in refusal(ms)
    assert "future" in refusal(ms)
    assert WINDOW_SAID in refusal(ms)


def test_the_future_is_refused_beyond_a_small_skew_of_the_clocks() -> None:
    check_moment(NOW_MS + CLOCK_SKEW_MS, REACH, NOW_MS * 1000)
    assert "(2026-01-01T01:00:01.001Z) lies in the future" in refusal(NOW_MS + CLOCK_SKEW_MS + 1)
    assert WINDOW_SAID in refusal(NOW_MS + CLOCK_SKEW_MS + 1)


def test_before_the_window_is_refused_with_the_window_rounded_inward() -> None:
    assert REACH.earliest_ms is not None
    check_moment(REACH.earliest_ms, REACH, NOW_MS * 1000)
    assert "lies before the window" in refusal(REACH.earliest_ms - 1)
    assert WINDOW_SAID in refusal(REACH.earliest_ms - 1)


def test_without_a_history_there_is_nothing_to_go_back_to() -> None:
    assert refusal(NOW_MS - 1, Reach(None, None)) == "There is no history to go back to yet."


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_630_052_714_007, "2021-08-27T08:25:14.007Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z")],
)
def test_moments_are_written_to_the_millisecond(ms: int, text: str) -> None:
    assert iso_ms(ms) == text


@given(st.integers(-(2**80), 2**80))
def test_no_number_is_too_large_to_be_named(ms: int) -> None:
    assert iso_ms(ms)


def test_the_task_goes_back_to_the_first_transaction_that_may_matter() -> None:
    decision = decide(40, Standing(offset=100, copied_from=10, first_offset=5, next_offset=120))
    assert decision.to_offset == 40
    assert "60 transactions are replayed" in decision.message


@pytest.mark.parametrize("sought", [100, 101, 120])
def test_a_reset_never_skips_what_was_not_applied(sought: int) -> None:
    decision = decide(sought, Standing(offset=100, copied_from=10, first_offset=5, next_offset=120))
    assert decision.to_offset == 100
    assert "goes on from where it stood" in decision.message


def test_a_task_without_a_place_stays_without() -> None:
    assert decide(7, Standing(offset=None, copied_from=0, first_offset=0, next_offset=9)).to_offset is None


@pytest.mark.parametrize("offset", [4, 121, -1])
def test_a_place_that_the_journal_does_not_hold_can_not_be_replayed_up_to(offset: int) -> None:
    with pytest.raises(Unreachable, match="no longer holds the place"):
        decide(50, Standing(offset=offset, copied_from=0, first_offset=5, next_offset=120))


def test_before_the_copy_there_is_nothing_to_replay() -> None:
    standing = Standing(offset=100, copied_from=60, first_offset=5, next_offset=120)
    assert decide(60, standing).to_offset == 60
    with pytest.raises(Unreachable, match="before the task's tables were copied"):
        decide(59, standing)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_moving_back_never_moves_on_and_is_exact_only_behind_everything_written(offset: int, exact_from: int, to: int) -> None:
    old = Checkpoint(3, "j", offset, exact_from, "p", 5)
    new = old.moved_back(Checkpoint(4, offset=to), 4)
    assert new.offset is not None
    assert new.epoch == 4
    assert new.journal_id == "j"
    assert new.offset == min(offset, to)
    assert new.exact_from >= exact_from
    assume(to < offset)
    assert new.exact_from >= offset


def test_moving_to_no_place_is_a_fresh_copy_and_having_none_stays_so() -> None:
    assert Checkpoint(3, "j", 5, 7).moved_back(Checkpoint(4), 4) == Checkpoint(4)
    assert Checkpoint(3).moved_back(Checkpoint(4, offset=5), 4) == Checkpoint(4)
