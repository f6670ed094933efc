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

from tests.crash.sides import side_of
from tests.databases import AWAY, AnyDatabase, Session

ACCOUNTS = 300
START_BALANCE = 1000
OPEN_TICKETS = 5
SHELVES = 40
TABLES = ("account", "transfer", "ticket", "archive")

SCHEMA = (
    "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL, note text NOT NULL)",
    """
    CREATE TABLE transfer (writer int, number bigint, origin int NOT NULL, destination int NOT NULL, amount int NOT NULL,
                           PRIMARY KEY (writer, number))
    """,
    "CREATE TABLE ticket (id bigint PRIMARY KEY, writer int NOT NULL)",
    "CREATE TABLE archive (id int PRIMARY KEY, text text NOT NULL)",
)
TWICE = "SELECT writer, number, times FROM ledger WHERE times > 1 ORDER BY 1, 2 LIMIT 3"

EXACT = """
SELECT c.next_offset >= c.exact_from AND (SELECT count(*) = %s FROM {states} s WHERE s.task_id = %s AND s.state = 'copied')
FROM {checkpoint} c WHERE c.task_id = %s
"""
THERE = "SELECT 1 FROM information_schema.tables WHERE (table_schema, table_name) = (%s, %s)"

WRONG_BALANCES = """
SELECT a.id, a.balance, moved.amount FROM account a LEFT JOIN (
    SELECT id, sum(amount) AS amount FROM (
        SELECT destination AS id, amount FROM transfer UNION ALL SELECT origin, -amount FROM transfer
    ) each_side GROUP BY id
) moved USING (id) WHERE a.balance <> %s + coalesce(moved.amount, 0) LIMIT 3
"""

WRONG_NUMBERS = "SELECT writer, count(*), max(number) FROM transfer GROUP BY writer HAVING count(*) <> max(number) LIMIT 3"

WRONG_TICKETS = """
SELECT w.writer, w.newest, t.open, t.low, t.high FROM (SELECT writer, max(number) AS newest FROM transfer GROUP BY writer) w
LEFT JOIN (
    SELECT writer, count(*) AS open, min(id) - writer * 10000000000 AS low, max(id) - writer * 10000000000 AS high
    FROM ticket GROUP BY writer
) t USING (writer)
WHERE t.open IS NULL OR t.open <> t.high - t.low + 1 OR t.high <> w.newest OR t.low <> greatest(1, w.newest - %s + 1) LIMIT 3
"""

WRONG_SHELVES = "SELECT id %% %s AS shelf, count(DISTINCT text) FROM archive GROUP BY 1 HAVING count(DISTINCT text) > 1 LIMIT 3"

APPLIED = "SELECT coalesce(max(number), 0) FROM transfer WHERE writer = %s"


def set_up(source: AnyDatabase, target: AnyDatabase, archive_rows: int) -> None:
    """Create the tables on both sides and fill the source's."""
    source.run(*SCHEMA)
    target.run(*SCHEMA, *side_of(target).ledger)
    source.run(
        f"INSERT INTO account SELECT i, {START_BALANCE}, concat(repeat('note ', 600), i) FROM {source.series(1, ACCOUNTS)}",
        f"INSERT INTO archive SELECT i, 'new' FROM {source.series(1, archive_rows)}",
    )


class Writer(threading.Thread):
    """Transfers money until told to stop, whatever becomes of its source meanwhile. `made` is how many the source is known to have."""

    def __init__(self, source: AnyDatabase, number: int, seed: int, pause_s: float) -> None:
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
                with contextlib.suppress(*AWAY):  # the server is away, or has ended us
                    self._write()
        except Exception as error:  # noqa: BLE001 - raised by `stop`, in the test's thread
            self.error = error

    def _write(self) -> None:
        with self.source.session() as session:
            self.made = self._making = applied(session, self.number)  # the answer of a commit may have been lost
            while not self._ended.wait(self._pause_s):
                size = self._random.choices((1, 4, 60), (30, 10, 1))[0]
                accounts = sorted(self._random.sample(range(1, ACCOUNTS + 1), 2 * size))  # in order: no deadlocks
                for origin, destination in pairwise(accounts):
                    self._transfer(session, origin, destination)
                if size == 60:
                    self._write_shelf(session)
                session.commit()
                self.made = self._making

    def _write_shelf(self, session: Session) -> None:
        shelf = self._random.randrange(SHELVES // 2) * 2 + self.number % 2  # each writer has its own shelves: no deadlocks
        text = f"{self.number} wrote at {self._making}"
        session.execute("UPDATE archive SET text = %s WHERE id %% %s = %s", [text, SHELVES, shelf])

    def _transfer(self, session: Session, origin: int, destination: int) -> None:
        self._making += 1
        amount = self._random.randint(-50, 50)
        number, ticket = self._making, self.number * 10**10 + self._making
        session.execute("UPDATE account SET balance = balance - %s WHERE id = %s", [amount, origin])
        session.execute("UPDATE account SET balance = balance + %s WHERE id = %s", [amount, destination])
        session.execute("INSERT INTO transfer VALUES (%s, %s, %s, %s, %s)", [self.number, number, origin, destination, amount])
        session.execute("INSERT INTO ticket VALUES (%s, %s)", [ticket, self.number])
        session.execute("DELETE FROM ticket WHERE id = %s", [ticket - OPEN_TICKETS])


@dataclass
class Findings:
    """What a checker saw."""

    exact: int = 0
    not_exact: int = 0
    wrong: str = ""


class Checker(threading.Thread):
    """Reads the target in one snapshot after the other, until told to stop."""

    def __init__(self, target: AnyDatabase, task_id: str, pause_s: float = 0.2) -> None:
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
                with contextlib.suppress(*AWAY):  # the server is away, or has ended us
                    self._watch()
        except Exception as error:  # noqa: BLE001 - raised by `stop`, in the test's thread
            self.error = error

    def _watch(self) -> None:
        with self._target.session(snapshot=True) as session:
            while not self._ended.wait(self._pause_s) and not self.findings.wrong:
                self._look(session)
                session.rollback()

    def _look(self, session: Session) -> None:
        if not exact(session, self._target, self._task_id):
            self.findings.not_exact += 1
            return
        self.findings.exact += 1
        self.findings.wrong = wrong(session)


def wrong(session: Session) -> str:
    """What no state of the source ever showed; empty where all is well."""
    findings = {
        "balances": session.execute(WRONG_BALANCES, [START_BALANCE]),
        "numbers": session.execute(WRONG_NUMBERS),
        "tickets": session.execute(WRONG_TICKETS, [OPEN_TICKETS]),
        "shelves": session.execute(WRONG_SHELVES, [SHELVES]),
        "sum": session.execute("SELECT sum(balance) FROM account HAVING sum(balance) <> %s", [ACCOUNTS * START_BALANCE]),
    }
    return "; ".join(f"{name}: {rows}" for name, rows in findings.items() if rows)


def equal(source: AnyDatabase, target: AnyDatabase) -> bool:
    """True where both sides have the same rows in all tables, now that nobody writes."""
    return all(source.rows(query) == target.rows(query) for query in (f"SELECT * FROM {table} ORDER BY 1, 2" for table in TABLES))


def exact(session: Session, target: AnyDatabase, task_id: str) -> bool:
    """Whether the target claims to show a state that the source had."""
    states, checkpoint = target.record("table_state"), target.record("checkpoint")
    query = EXACT.format(states=".".join(states), checkpoint=".".join(checkpoint))
    return bool(session.execute(THERE, states) and _one(session, query, len(TABLES), task_id, task_id))


def applied(session: Session, writer: int) -> int:
    """The number of a writer's last transfer there."""
    return int(_one(session, APPLIED, writer))


def _one(session: Session, query: str, *values: object) -> Any:
    """The one value of a query; None where it gives no row."""
    rows = session.execute(query, values)
    return rows[0][0] if rows else None
