"""The checkers find what they are there for: a doctored copy of the bank is told from a true one."""

from __future__ import annotations

import pytest

from headwater.clusters import MysqlServer, PrivatePostgres
from tests.conftest import DatabaseFactory
from tests.crash import transfers
from tests.crash.sides import side_of
from tests.databases import AnyDatabase

FAULTS = {
    "a transaction is skipped": "DELETE FROM transfer WHERE (writer, number) = (1, 2)",
    "one row of a transaction is skipped": "UPDATE account SET balance = 1000 WHERE id = 1",
    "money comes from nowhere": "UPDATE account SET balance = balance + 1 WHERE id = 7",
    "a delete is skipped": "INSERT INTO ticket VALUES (10000000000, 1)",
    "half of a large transaction": "UPDATE archive SET text = 'half' WHERE id = 40",
}


@pytest.fixture(params=["newest_cluster", "mariadb"])
def bank(request: pytest.FixtureRequest, make_database: DatabaseFactory) -> AnyDatabase:
    """A target that shows a state that the source had: three transfers of one writer."""
    server: PrivatePostgres | MysqlServer = request.getfixturevalue(request.param)
    database: AnyDatabase = make_database(server)
    database.run(
        *transfers.SCHEMA,
        *side_of(database).ledger,
        f"INSERT INTO account SELECT i, {transfers.START_BALANCE}, '' FROM {database.series(1, transfers.ACCOUNTS)}",
        f"INSERT INTO archive SELECT i, 'new' FROM {database.series(1, 80)}",
        f"INSERT INTO transfer SELECT 1, i, 1, 2, 10 FROM {database.series(1, 3)}",
        f"INSERT INTO ticket SELECT 10000000000 + i, 1 FROM {database.series(1, 3)}",
        "UPDATE account SET balance = balance - 30 WHERE id = 1",
        "UPDATE account SET balance = balance + 30 WHERE id = 2",
    )
    return database


def test_a_true_state_is_right(bank: AnyDatabase) -> None:
    with bank.session(snapshot=True) as session:
        assert transfers.wrong(session) == ""
    assert bank.rows(transfers.TWICE) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_false_state_is_found(fault: str, bank: AnyDatabase) -> None:
    bank.run(FAULTS[fault])
    with bank.session(snapshot=True) as session:
        assert transfers.wrong(session) != ""


def test_a_transfer_that_is_put_in_twice_is_found(bank: AnyDatabase) -> None:
    there = "ON CONFLICT (writer, number) DO UPDATE SET" if bank.type == "POSTGRESQL" else "ON DUPLICATE KEY UPDATE"
    bank.run(f"INSERT INTO transfer VALUES (1, 2, 1, 2, 10) {there} amount = 10")
    assert bank.rows(transfers.TWICE) == [(1, 2, 2)]
