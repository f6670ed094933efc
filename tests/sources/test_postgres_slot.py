"""Which slot can serve which place: decided without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.sources.postgres import PostgresConfig, open_source, positions
from headwater.sources.postgres.slot import SlotState, decide

GOOD = SlotState("pgoutput", "db", None, 100)


@pytest.mark.parametrize(
    ("slot", "after", "what", "reason"),
    [
        (GOOD, None, "use", ""),
        (GOOD, 100, "use", ""),
        (GOOD, 150, "use", ""),
        (GOOD, 200, "use", ""),
        (GOOD, 99, "lost", "beyond"),
        (GOOD, 201, "lost", "restored"),
        (None, None, "create", ""),
        (None, 100, "lost", "gone"),
        (replace(GOOD, plugin="test_decoding"), 100, "lost", "test_decoding"),
        (replace(GOOD, database="other"), 100, "lost", "other"),
        (replace(GOOD, ruined="the server has removed it"), 100, "lost", "removed"),
        (replace(GOOD, ruined="the server has removed it"), None, "lost", "removed"),
        (replace(GOOD, confirmed=None), 100, "lost", "never"),
    ],
)
def test_decision(slot: SlotState | None, after: int | None, what: str, reason: str) -> None:
    decision = decide(slot, 200, after, "db")
    assert decision.what == what
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("text", "number"), [("0/0", 0), ("16/B374D848", 0x16B374D848), ("FFFFFFFF/FFFFFFFF", 2**64 - 1), ("1/A", (1 << 32) + 10)]
)
def test_positions(text: str, number: int) -> None:
    assert positions.parse(text) == number
    assert positions.text(number) == text


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "x/0", "0/123456789"])
def test_what_is_not_a_position(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the text differs
        positions.parse(text)


def test_names_are_short_stable_and_differ() -> None:
    names = {PostgresConfig(source_id, "h", "d", "u").slot for source_id in ("a", "b", "0190-uuid", "ü" * 200)}
    assert len(names) == 4
    assert all(len(name) == 22 and name.startswith("headwater_") for name in names)
    assert PostgresConfig("a", "h", "d", "u").slot == PostgresConfig("a", "x", "y", "z").slot


def test_from_a_saved_data_source() -> None:
    content = {"host": "h", "port": "5433", "database_name": "d", "user_name": "u", "ssl_enable": True}
    config = open_source("a", content, {"password": "secret"}).config
    assert (config.host, config.port, config.database, config.user, config.password, config.sslmode) == (
        "h",
        5433,
        "d",
        "u",
        "secret",
        "require",
    )
    assert "secret" not in repr(config)
