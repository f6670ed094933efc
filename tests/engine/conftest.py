"""The engine's waits, shortened: they are how soon a stop is seen, and tests stop often."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops look for a stop every few milliseconds."""
    monkeypatch.setattr("headwater.engine.apply.IDLE_WAIT_S", 0.02)
    monkeypatch.setattr("headwater.engine.capture.TAKE_TIMEOUT_S", 0.02)
    monkeypatch.setattr("headwater.engine.snapshot.POLL_S", 0.01)
