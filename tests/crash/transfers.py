"""A bank to crash under: writers move money between accounts, and every state that the bank ever had can be told from the rows alone.

Each writer numbers its transfers. So in any state of the source, for each writer, its transfers are exactly 1 to n, of its
tickets those of the last few transfers are open, and each account holds what the transfers make it hold. Large transactions write a
text on a whole shelf of the archive. A checker reads the target in one snapshot at a time and holds it against that,
whenever the target's own checkpoint claims to be exact.

A ledger at the target counts how often each transfer was put in there: once, unless a copy or a replay explains a second time.
"""

from __future__ import annotations

import contextlib
import random
import threading
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psycopg
from psycopg import IsolationLevel

from tests.databases import Database

ACCOUNTS = 300
START_BALANCE = 1000
OPEN_TICKETS = 5
SHELVES = 40
TABLES = ("account", "transfer", "ticket", "archive")

SCHEMA = """
CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL, note text NOT NULL);
CREATE TABLE transfer (writer int, number bigint, origin int NOT NULL, destination int NOT NULL, amount int NOT NULL,
                       PRIMARY KEY (writer, number));
CREATE TABLE ticket (id bigint PRIMARY KEY, writer int NOT NULL);
CREATE TABLE archive (id int PRIMARY KEY, text text NOT NULL);
"""

LEDGER = """
CREATE TABLE ledger (writer int, number bigint, times int NOT NULL, PRIMARY KEY (writer, number));
CREATE FUNCTION note_transfer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.ledger AS l VALUES (NEW.writer, NEW.number, 1) ON CONFLICT (writer, number) DO UPDATE SET times = l.times + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER note_transfer AFTER INSERT OR UPDATE ON transfer FOR EACH ROW EXECUTE FUNCTION note_transfer();
ALTER TABLE transfer ENABLE ALWAYS TRIGGER note_transfer;
"""
TWICE = "SELECT writer, number, times FROM ledger WHERE times > 1 ORDER BY 1, 2 LIMIT 3"

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

WRONG_SHELVES = "SELECT id %% %s AS shelf, count(DISTINCT text) FROM archive GROUP BY 1 HAVING count(DISTINCT text) > 1 LIMIT 3"

APPLIED = "SELECT coalesce(max(number), 0) FROM transfer WHERE writer = %s"


def set_up(source: Database, target: Database, archive_rows: int) -> None:
    """Create the tables on both sides and fill the source's."""
    source.run(SCHEMA)
    target.run(SCHEMA, LEDGER)
    source.run(
        f"INSERT INTO account SELECT i, {START_BALANCE}, repeat('note ', 600) || i FROM generate_series(1, {ACCOUNTS}) i",
        f"INSERT INTO archive SELECT i, 'new' FROM generate_series(1, {archive_rows}) i",
    )


class Writer(threading.Thread):
    """Transfers money until told to stop, whatever becomes of its source meanwhile. `made` is how many the source is known to have."""

    def __init__(self, source: Database, number: int, seed: int, pause_s: float) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self.source, self.number, self._pause_s = source, number, pause_s
        self._random = random.Random(seed * 100 + number)
        self._ended = threading.Event()
        self.made = self._making = 0
        self.error: Exception | None = None

    def end(self) -> None:
        """End after the transaction under way."""
        self._ended.set()

    def stop(self) -> None:
        """End, and tell of what went wrong."""
        self.end()
        self.join(60)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        """See the class."""
        try:
            while not self._ended.wait(0.05):
                with contextlib.suppress(psycopg.OperationalError):  # the server is away, or has ended us
                    self._write()
        except psycopg.Error as error:
            self.error = error

    def _write(self) -> None:
        with psycopg.connect(self.source.dsn) as connection:
            self.made = self._making = applied(connection, self.number)  # the answer of a commit may have been lost
            while not self._ended.wait(self._pause_s):
                size = self._random.choices((1, 4, 60), (30, 10, 1))[0]
                accounts = sorted(self._random.sample(range(1, ACCOUNTS + 1), 2 * size))  # in order: no deadlocks
                for origin, destination in pairwise(accounts):
                    self._transfer(connection, origin, destination)
                if size == 60:
                    self._write_shelf(connection)
                connection.commit()
                self.made = self._making

    def _write_shelf(self, connection: psycopg.Connection[Any]) -> None:
        shelf = self._random.randrange(SHELVES // 2) * 2 + self.number % 2  # each writer has its own shelves: no deadlocks
        text = f"{self.number} wrote at {self._making}"
        connection.execute("UPDATE archive SET text = %s WHERE id %% %s = %s", [text, SHELVES, shelf])

    def _transfer(self, connection: psycopg.Connection[Any], origin: int, destination: int) -> None:
        self._making += 1
        amount = self._random.randint(-50, 50)
        number, ticket = self._making, self.number * 10**10 + self._making
        connection.execute("UPDATE account SET balance = balance - %s WHERE id = %s", [amount, origin])
        connection.execute("UPDATE account SET balance = balance + %s WHERE id = %s", [amount, destination])
        connection.execute("INSERT INTO transfer VALUES (%s, %s, %s, %s, %s)", [self.number, number, origin, destination, amount])
        connection.execute("INSERT INTO ticket VALUES (%s, %s)", [ticket, self.number])
        connection.execute("DELETE FROM ticket WHERE id = %s", [ticket - OPEN_TICKETS])


@dataclass
class Findings:
    """What a checker saw."""

    exact: int = 0
    not_exact: int = 0
    wrong: str = ""


class Checker(threading.Thread):
    """Reads the target in one snapshot after the other, until told to stop."""

    def __init__(self, target: Database, task_id: str, pause_s: float = 0.2) -> None:
        super().__init__(name="checker", daemon=True)
        self._target, self._task_id, self._pause_s = target, task_id, pause_s
        self._ended = threading.Event()
        self.findings = Findings()
        self.error: Exception | None = None

    def end(self) -> None:
        """End after the look under way."""
        self._ended.set()

    def stop(self) -> Findings:
        """End, and tell."""
        self.end()
        self.join(60)
        if self.error is not None:
            raise self.error
        return self.findings

    def run(self) -> None:
        """See the class."""
        try:
            while not self._ended.wait(0.05) and not self.findings.wrong:
                with contextlib.suppress(psycopg.OperationalError):  # the server is away, or has ended us
                    self._watch()
        except psycopg.Error as error:
            self.error = error

    def _watch(self) -> None:
        with psycopg.connect(self._target.dsn) as connection:
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            while not self._ended.wait(self._pause_s) and not self.findings.wrong:
                self._look(connection)
                connection.rollback()

    def _look(self, connection: psycopg.Connection[Any]) -> None:
        if not exact(connection, self._task_id):
            self.findings.not_exact += 1
            return
        self.findings.exact += 1
        self.findings.wrong = wrong(connection)


def wrong(connection: psycopg.Connection[Any]) -> str:
    """What no state of the source ever showed; empty where all is well."""
    findings = {
        "balances": connection.execute(WRONG_BALANCES, [START_BALANCE]).fetchall(),
        "numbers": connection.execute(WRONG_NUMBERS).fetchall(),
        "tickets": connection.execute(WRONG_TICKETS, [OPEN_TICKETS]).fetchall(),
        "shelves": connection.execute(WRONG_SHELVES, [SHELVES]).fetchall(),
        "sum": connection.execute("SELECT sum(balance) FROM account HAVING sum(balance) <> %s", [ACCOUNTS * START_BALANCE]).fetchall(),
    }
    return "; ".join(f"{name}: {rows}" for name, rows in findings.items() if rows)


def exact(connection: psycopg.Connection[Any], task_id: str) -> bool:
    """Whether the target claims to show a state that the source had."""
    (there,) = connection.execute("SELECT to_regclass('headwater.table_state') IS NOT NULL").fetchone() or (False,)
    return bool(there and _one(connection, EXACT, len(TABLES), task_id, task_id))


def applied(connection: psycopg.Connection[Any], writer: int) -> int:
    """The number of a writer's last transfer there."""
    return int(_one(connection, APPLIED, writer))


def _one(connection: psycopg.Connection[Any], query: str, *values: object) -> Any:
    """The one value of a query; None where it gives no row."""
    row = connection.execute(query.encode(), values).fetchone()
    return row[0] if row else None
