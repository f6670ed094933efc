"""The checkers find what they are there for: a doctored copy of the bank is told from a true one."""

from __future__ import annotations

import pytest

from tests.crash import transfers
from tests.databases import Database

FAULTS = {
    "a transaction is skipped": "DELETE FROM transfer WHERE (writer, number) = (1, 2)",
    "one row of a transaction is skipped": "UPDATE account SET balance = 1000 WHERE id = 1",
    "money comes from nowhere": "UPDATE account SET balance = balance + 1 WHERE id = 7",
    "a delete is skipped": "INSERT INTO ticket VALUES (10000000000, 1)",
    "half of a large transaction": "UPDATE archive SET text = 'half' WHERE id = 40",
}


@pytest.fixture
def bank(newest_database: Database) -> Database:
    """A target that shows a state that the source had: three transfers of one writer."""
    newest_database.run(
        transfers.SCHEMA,
        transfers.LEDGER,
        f"INSERT INTO account SELECT i, {transfers.START_BALANCE}, '' FROM generate_series(1, {transfers.ACCOUNTS}) i",
        "INSERT INTO archive SELECT i, 'new' FROM generate_series(1, 80) i",
        "INSERT INTO transfer SELECT 1, i, 1, 2, 10 FROM generate_series(1, 3) i",
        "INSERT INTO ticket SELECT 10000000000 + i, 1 FROM generate_series(1, 3) i",
        "UPDATE account SET balance = balance - 30 WHERE id = 1",
        "UPDATE account SET balance = balance + 30 WHERE id = 2",
    )
    return newest_database


def test_a_true_state_is_right(bank: Database) -> None:
    with bank.connect() as connection:
        assert transfers.wrong(connection) == ""
    assert bank.rows(transfers.TWICE) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_false_state_is_found(fault: str, bank: Database) -> None:
    bank.run(FAULTS[fault])
    with bank.connect() as connection:
        assert transfers.wrong(connection) != ""


def test_a_transfer_that_is_put_in_twice_is_found(bank: Database) -> None:
    bank.run("INSERT INTO transfer VALUES (1, 2, 1, 2, 10) ON CONFLICT (writer, number) DO UPDATE SET amount = excluded.amount")
    assert bank.rows(transfers.TWICE) == [(1, 2, 2)]
