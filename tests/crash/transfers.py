"""A bank to crash under: writers move money between accounts, and every state that the bank ever had can be told from the rows alone.

Each writer numbers its transfers. So in any state of the source, for each writer, its transfers are exactly 1 to n, of its
tickets those of the last few transfers are open, and each account holds what the transfers make it hold. A checker reads the
target in one snapshot at a time and holds it against that, whenever the target's own checkpoint claims to be exact.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from itertools import pairwise

import psycopg
from psycopg import IsolationLevel

from tests.databases import Database

ACCOUNTS = 300
START_BALANCE = 1000
OPEN_TICKETS = 5
TABLES = ("account", "transfer", "ticket", "archive")

SCHEMA = """
CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL, note text NOT NULL);
CREATE TABLE transfer (writer int, number bigint, origin int NOT NULL, destination int NOT NULL, amount int NOT NULL,
                       PRIMARY KEY (writer, number));
CREATE TABLE ticket (id bigint PRIMARY KEY, writer int NOT NULL);
CREATE TABLE archive (id int PRIMARY KEY, text text NOT NULL);
"""

EXACT = """
SELECT coalesce(bool_and(c.next_offset >= c.exact_from), false)
       AND (SELECT count(*) = %s AND bool_and(s.state = 'copied') FROM headwater.table_state s WHERE s.task_id = %s)
FROM headwater.checkpoint c WHERE c.task_id = %s
"""

WRONG_BALANCES = """
SELECT a.id, a.balance, moved.amount FROM account a LEFT JOIN (
    SELECT id, sum(amount) AS amount FROM (
        SELECT destination AS id, amount FROM transfer UNION ALL SELECT origin, -amount FROM transfer
    ) each_side GROUP BY id
) moved USING (id) WHERE a.balance <> %s + coalesce(moved.amount, 0) LIMIT 3
"""

WRONG_NUMBERS = "SELECT writer, count(*), max(number) FROM transfer GROUP BY writer HAVING count(*) <> max(number) LIMIT 3"

WRONG_TICKETS = """
SELECT w.writer, w.last, t.open FROM (SELECT writer, max(number) AS last FROM transfer GROUP BY writer) w
LEFT JOIN (SELECT writer, array_agg(id %% 10000000000 ORDER BY id) AS open FROM ticket GROUP BY writer) t USING (writer)
WHERE t.open IS DISTINCT FROM (SELECT array_agg(n) FROM generate_series(greatest(1, w.last - %s + 1), w.last) n) LIMIT 3
"""


def set_up(source: Database, target: Database, archive_rows: int) -> None:
    """Create the tables on both sides and fill the source's."""
    source.run(SCHEMA)
    target.run(SCHEMA)
    source.run(
        f"INSERT INTO account SELECT i, {START_BALANCE}, repeat('note ', 600) || i FROM generate_series(1, {ACCOUNTS}) i",
        f"INSERT INTO archive SELECT i, 'row ' || i FROM generate_series(1, {archive_rows}) i",
    )


class Writer(threading.Thread):
    """Transfers money until told to stop. `numbers` tells how many it has made."""

    def __init__(self, source: Database, number: int, seed: int, pause_s: float) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self._source, self._writer, self._pause_s = source, number, pause_s
        self._random = random.Random(seed * 100 + number)
        self._ended = threading.Event()
        self.made = 0
        self.error: Exception | None = None

    def stop(self) -> None:
        """End after the transfer under way."""
        self._ended.set()
        self.join(60)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        """See the class."""
        try:
            with self._source.connect(autocommit=False) as connection:
                while not self._ended.wait(self._pause_s):
                    size = self._random.choice((1, 1, 1, 4))
                    accounts = sorted(self._random.sample(range(1, ACCOUNTS + 1), 2 * size))  # in order: no deadlocks
                    for origin, destination in pairwise(accounts):
                        self._transfer(connection, origin, destination)
                    connection.commit()
        except psycopg.Error as error:
            self.error = error

    def _transfer(self, connection: psycopg.Connection[tuple[object, ...]], origin: int, destination: int) -> None:
        self.made += 1
        amount = self._random.randint(-50, 50)
        number, ticket = self.made, self._writer * 10**10 + self.made
        connection.execute("UPDATE account SET balance = balance - %s WHERE id = %s", [amount, origin])
        connection.execute("UPDATE account SET balance = balance + %s WHERE id = %s", [amount, destination])
        connection.execute("INSERT INTO transfer VALUES (%s, %s, %s, %s, %s)", [self._writer, number, origin, destination, amount])
        connection.execute("INSERT INTO ticket VALUES (%s, %s)", [ticket, self._writer])
        connection.execute("DELETE FROM ticket WHERE id = %s", [ticket - OPEN_TICKETS])


@dataclass
class Findings:
    """What a checker saw."""

    exact: int = 0
    not_exact: int = 0
    wrong: str = ""


class Checker(threading.Thread):
    """Reads the target in one snapshot after the other, until told to stop."""

    def __init__(self, target: Database, task_id: str, pause_s: float = 0.05) -> None:
        super().__init__(name="checker", daemon=True)
        self._target, self._task_id, self._pause_s = target, task_id, pause_s
        self._ended = threading.Event()
        self.findings = Findings()
        self.error: Exception | None = None

    def stop(self) -> Findings:
        """End, and tell."""
        self._ended.set()
        self.join(60)
        if self.error is not None:
            raise self.error
        return self.findings

    def run(self) -> None:
        """See the class."""
        try:
            with self._target.connect(autocommit=False) as connection:
                connection.isolation_level = IsolationLevel.REPEATABLE_READ
                while not self._ended.wait(self._pause_s) and not self.findings.wrong:
                    self._look(connection)
                    connection.rollback()
        except psycopg.Error as error:
            self.error = error

    def _look(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        (there,) = connection.execute("SELECT to_regclass('headwater.table_state') IS NOT NULL").fetchone() or (False,)
        row = connection.execute(EXACT, [len(TABLES), self._task_id, self._task_id]).fetchone() if there else None
        if row is None or not row[0]:
            self.findings.not_exact += 1
            return
        self.findings.exact += 1
        self.findings.wrong = wrong(connection)


def wrong(connection: psycopg.Connection[tuple[object, ...]]) -> str:
    """What no state of the source ever showed; empty where all is well."""
    findings = {
        "balances": connection.execute(WRONG_BALANCES, [START_BALANCE]).fetchall(),
        "numbers": connection.execute(WRONG_NUMBERS).fetchall(),
        "tickets": connection.execute(WRONG_TICKETS, [OPEN_TICKETS]).fetchall(),
        "sum": connection.execute("SELECT sum(balance) FROM account HAVING sum(balance) <> %s", [ACCOUNTS * START_BALANCE]).fetchall(),
    }
    return "; ".join(f"{name}: {rows}" for name, rows in findings.items() if rows)
