"""Lag: right when idle, right when blocked, right across two clocks."""

from __future__ import annotations

from headwater.domain.lag import BEHIND_BYTES, Progress, complete_us, lag_ms, lag_transactions

S = 1_000_000
NOW = 1_000 * S


def lag(progress: Progress, now_us: int = NOW, clock_offset_us: int = 0) -> int | None:
    return lag_ms(progress, now_us, clock_offset_us)


def test_idle_is_zero_however_long_ago_the_last_transaction_was() -> None:
    assert lag(Progress(5, 5, complete_us=NOW - 1 * S, caught_up_us=NOW - 1 * S)) == 0


def test_a_blocked_target_lets_it_grow() -> None:
    waiting = Progress(8, 5, complete_us=NOW, pending_us=NOW - 7 * S)
    assert lag(waiting) == 7_000
    assert lag(waiting, NOW + 60 * S) == 67_000
    assert lag_transactions(waiting) == 3


def test_a_silent_source_lets_it_grow_although_nothing_waits() -> None:
    silent = Progress(5, 5, complete_us=NOW - 30 * S)
    assert lag(silent) == 30_000


def test_a_capture_with_a_backlog_is_behind_by_what_it_has_captured() -> None:
    last = complete_us(None, NOW, BEHIND_BYTES * 10, NOW - 600 * S)
    assert lag(Progress(5, 5, complete_us=last)) == 600_000


def test_heartbeats_do_not_hide_the_backlog_of_a_capture() -> None:
    before = complete_us(None, NOW, BEHIND_BYTES * 10, NOW - 600 * S)
    assert complete_us(before, NOW + S, BEHIND_BYTES * 10, None) == before
    assert complete_us(before, NOW + S, 0, None) == NOW + S


def test_stamps_that_run_backward_do_not_move_it_back() -> None:
    before = complete_us(None, NOW, BEHIND_BYTES * 10, NOW - 10 * S)
    assert complete_us(before, NOW, BEHIND_BYTES * 10, NOW - 50 * S) == before


def test_the_difference_of_the_clocks_is_taken_out() -> None:
    ahead = 90 * S  # the source's clock shows more than ours
    assert lag(Progress(8, 5, complete_us=NOW + ahead, pending_us=NOW + ahead - 2 * S), NOW, ahead) == 2_000
    assert lag(Progress(5, 5, complete_us=NOW + ahead), NOW, ahead) == 0


def test_pending_without_a_known_stamp_counts_from_when_nothing_waited() -> None:
    assert lag(Progress(8, 5, complete_us=NOW, caught_up_us=NOW - 4 * S)) == 4_000


def test_nothing_is_claimed_before_anything_is_known() -> None:
    assert lag(Progress(5, None, complete_us=NOW)) is None
    assert lag(Progress(5, 5, complete_us=None)) is None
    assert lag_transactions(Progress(5, None, complete_us=NOW)) == 0
