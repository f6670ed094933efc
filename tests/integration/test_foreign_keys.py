"""Foreign keys of every shape in force at a target whose role is no superuser: rings, trees, cascades, under load, kills and resets.

What is checked all the while, by a reader in snapshots of its own: money is only moved, so its sum never changes once the first copy is
to be seen, not in a replay either. That foreign keys hold is the target's own doing, and looked at in the end.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.databases import AnyDatabase
from tests.exactness.exact_world import TASK, ExactWorld, moment
from tests.pairs import Sides, on

DEPTS, PEOPLE, TOTAL = 5, 40, 40 * 100
TABLES = (
    "CREATE TABLE dept (id int PRIMARY KEY, code varchar(20) NOT NULL UNIQUE, head int NOT NULL)",
    """CREATE TABLE person (id int PRIMARY KEY, dept int NOT NULL REFERENCES dept (id){later}, boss int REFERENCES person (id){nulled},
    email varchar(20) UNIQUE, balance int NOT NULL, doc text{extra})""",
    "ALTER TABLE dept ADD CONSTRAINT has_head FOREIGN KEY (head) REFERENCES person (id){later}",
    "CREATE TABLE badge (id int PRIMARY KEY, person int NOT NULL REFERENCES person (id){cascaded}, note text)",
    "CREATE TABLE node (id int PRIMARY KEY, parent int REFERENCES node (id){cascaded}, label text)",
)
EXTERNAL = "ALTER TABLE person ALTER doc SET STORAGE EXTERNAL"
FILL = {
    "INSERT INTO dept SELECT i, concat('c', i), i FROM {}": DEPTS,
    f"""INSERT INTO person SELECT i, 1 + i % {DEPTS}, NULLIF(floor(i / 2), 0), concat('e', i), 100, repeat(md5(concat(i)), 300)
    FROM {{}}""": PEOPLE,
    f"INSERT INTO badge SELECT i, 1 + i % {PEOPLE}, 'n' FROM {{}}": PEOPLE,
    "INSERT INTO node SELECT i, NULLIF(floor(i / 2), 0), 'l' FROM {}": 60,
}
UNCHECKED = "SET foreign_key_checks = 0"
"""MariaDB has no constraint that waits for the commit."""
ORPHANS = """
SELECT (SELECT count(*) FROM dept d WHERE NOT EXISTS (SELECT 1 FROM person p WHERE p.id = d.head))
     + (SELECT count(*) FROM person p WHERE NOT EXISTS (SELECT 1 FROM dept d WHERE d.id = p.dept)
                                         OR boss IS NOT NULL AND NOT EXISTS (SELECT 1 FROM person b WHERE b.id = p.boss))
     + (SELECT count(*) FROM badge b WHERE NOT EXISTS (SELECT 1 FROM person p WHERE p.id = b.person))
     + (SELECT count(*) FROM node n WHERE parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM node p WHERE p.id = n.parent))
"""
HEADLESS = "id NOT IN (SELECT head FROM dept)"


class Load:
    """Random transactions at the source, all of them valid there; each keeps the sum of balances."""

    def __init__(self, database: AnyDatabase, seed: int) -> None:
        self._random, self._session = random.Random(seed), database.session()
        self._cascades, self._any = database.type == "POSTGRESQL", "random()" if database.type == "POSTGRESQL" else "rand()"
        self._next = 1000
        if not self._cascades:
            self._do(UNCHECKED)

    def run(self, transactions: int) -> None:
        """So many transactions."""
        acts = [
            self.move,
            self.move,
            self.hire,
            self.fire,
            self.transfer,
            self.swap,
            self.pass_on,
            self.rename,
            self.grow,
            self.fell,
            self.found,
        ]
        for _ in range(transactions):
            for act in self._random.sample(acts, self._random.randint(1, 3)):
                act()
            self._session.commit()

    def close(self) -> None:
        """End."""
        self._session.close()

    def move(self) -> None:
        """Money from one to another."""
        one, other = self._people(2)
        amount = self._random.randint(1, 50)
        self._do(f"UPDATE person SET balance = balance - {amount} WHERE id = {one}")
        self._do(f"UPDATE person SET balance = balance + {amount} WHERE id = {other}")

    def hire(self) -> None:
        """A person with a boss and a badge."""
        boss, new = self._people(1)[0], self._new()
        self._do(f"INSERT INTO person SELECT {new}, dept, id, 'e{new}', 0, doc FROM person WHERE id = {boss}")
        self._do(f"INSERT INTO badge VALUES ({new}, {new}, 'new')")

    def fire(self) -> None:
        """Badges go along, others lose their boss; the money goes to somebody."""
        found = self._rows(f"SELECT id, balance FROM person WHERE {HEADLESS} ORDER BY {self._any} LIMIT 1")
        if found:
            ((who, balance),) = found
            if not self._cascades:
                self._do(f"DELETE FROM badge WHERE person = {who}")
                self._do(f"UPDATE person SET boss = NULL WHERE boss = {who}")
            self._do(f"DELETE FROM person WHERE id = {who}")
            self._do(f"UPDATE person SET balance = balance + {balance} WHERE id = (SELECT min(id) FROM person)")

    def transfer(self) -> None:
        """A department is closed, another one founded: people and head change before, between and behind."""
        (old,) = self._rows(f"SELECT id, head, code FROM dept ORDER BY {self._any} LIMIT 1")
        new = self._new()
        self._do(f"DELETE FROM dept WHERE id = {old[0]}")
        self._do(f"INSERT INTO dept VALUES ({new}, '{old[2]}', {old[1]})")
        self._do(f"UPDATE person SET dept = {new} WHERE dept = {old[0]}")

    def found(self) -> None:
        """A department and its head, who need one another."""
        new = self._new()
        self._do(f"INSERT INTO dept VALUES ({new}, 'c{new}', {new})")
        self._do(f"INSERT INTO person VALUES ({new}, {new}, NULL, 'e{new}', 0, 'short')")

    def swap(self) -> None:
        """Unique values change hands in a circle."""
        for table, column in (("person", "email"), ("dept", "code")):
            (one, a), (other, b) = self._rows(f"SELECT id, {column} FROM {table} ORDER BY {self._any} LIMIT 2")
            self._do(f"UPDATE {table} SET {column} = 'between' WHERE id = {one}")
            self._do(f"UPDATE {table} SET {column} = '{a}' WHERE id = {other}")
            self._do(f"UPDATE {table} SET {column} = '{b}' WHERE id = {one}")

    def pass_on(self) -> None:
        """A unique value goes to another one."""
        (one, a), (other, _) = self._rows(f"SELECT id, email FROM person ORDER BY {self._any} LIMIT 2")
        self._do(f"UPDATE person SET email = 'e{self._new()}' WHERE id = {one}")
        self._do(f"UPDATE person SET email = '{a}' WHERE id = {other}")

    def rename(self) -> None:
        """A key changes; large values are not sent."""
        free = "id NOT IN (SELECT person FROM badge) AND id NOT IN (SELECT boss FROM person WHERE boss IS NOT NULL)"
        self._do(f"UPDATE person SET id = {self._new()} WHERE id = (SELECT min(id) FROM person WHERE {HEADLESS} AND {free})")

    def grow(self) -> None:
        """Leaves of the tree."""
        parents = [row[0] for row in self._rows(f"SELECT id FROM node ORDER BY {self._any} LIMIT 2")]
        for parent in [*parents, "NULL"]:
            self._do(f"INSERT INTO node VALUES ({self._new()}, {parent}, 'leaf')")

    def fell(self) -> None:
        """A branch with all that hangs on it; now and then the whole tree."""
        if self._random.random() < 0.1:
            self._do("TRUNCATE node")
        else:
            for (branch,) in self._rows(f"SELECT id FROM node WHERE parent IS NOT NULL ORDER BY {self._any} LIMIT 1"):
                self._fell_branch(branch)

    def _fell_branch(self, branch: object) -> None:
        if not self._cascades:
            for (above,) in self._rows(f"SELECT id FROM node WHERE parent = {branch}"):
                self._fell_branch(above)
        self._do(f"DELETE FROM node WHERE id = {branch}")

    def _people(self, count: int) -> list[object]:
        return [row[0] for row in self._rows(f"SELECT id FROM person ORDER BY {self._any} LIMIT {count}")]

    def _new(self) -> int:
        self._next += 1
        return self._next

    def _do(self, statement: str) -> None:
        self._session.execute(statement)

    def _rows(self, query: str) -> list[tuple[object, ...]]:
        return self._session.execute(query)


@pytest.fixture
def world(tmp_path: Path, sides: Sides) -> Iterator[ExactWorld[AnyDatabase]]:
    """Source and target; at a PostgreSQL the target's role is a plain one that owns nothing."""
    source, target = sides
    set_up(source, later=" DEFERRABLE INITIALLY DEFERRED", extra="", cascades=source.type == "POSTGRESQL")
    set_up(target, later="", extra=", mine int NOT NULL DEFAULT 7", cascades=True)
    fill = [statement.format(source.series(1, rows)) for statement, rows in FILL.items()]
    source.run("; ".join(fill)) if source.type == "POSTGRESQL" else source.run(UNCHECKED, *fill)
    role = f"plain_{target.name}"
    plain = target.type == "POSTGRESQL"
    if plain:
        target.run(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'", f"GRANT CREATE, TEMPORARY ON DATABASE {target.name} TO {role}")
    made = ExactWorld[AnyDatabase](tmp_path, source, target)
    saved = made.store.data_source("target")
    assert saved is not None
    if plain:
        content = {**saved.content, "user_name": role}
        made.store.save_data_source(replace(saved, content=content, secrets={"password": "pw"}))
    made.prepare()
    if plain:
        target.run(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}", f"GRANT USAGE ON SCHEMA public TO {role}")
    yield made
    made.store.close()
    if plain:
        target.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def set_up(database: AnyDatabase, later: str, extra: str, cascades: bool) -> None:
    """The tables. MariaDB does not log what its cascades do, and has none there."""
    postgres = database.type == "POSTGRESQL"
    words = {"nulled": " ON DELETE SET NULL", "cascaded": " ON DELETE CASCADE"} if cascades else {"nulled": "", "cascaded": ""}
    database.run(*(statement.format(later=later if postgres else "", extra=extra, **words) for statement in TABLES))
    if postgres:
        database.run(EXTERNAL)


@contextmanager
def watched(database: AnyDatabase) -> Iterator[set[object]]:
    """Sums of the balances that a reader of the target sees meanwhile."""
    seen: set[object] = set()
    stop = threading.Event()

    def watch() -> None:
        with database.session(autocommit=True) as session:
            while not stop.wait(0.02):
                ((total, filled),) = session.execute("SELECT (SELECT sum(balance) FROM person), (SELECT count(*) FROM dept) > 0")
                seen.add((None if total is None else int(total), bool(filled)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(10)


@on("oldest-newest", "mariadb-newest")
def test_foreign_keys_in_force_hold_and_readers_see_states_of_the_source_p2_p5(world: ExactWorld[AnyDatabase]) -> None:
    assert world.findings() == []
    load = Load(world.source, 1)
    with watched(world.target) as seen, world.following():
        assert world.differences() == {}
        start = 0
        for round_ in range(6):
            if round_ in {0, 4}:
                start = moment(world.source)
            load.run(15)
            if round_ == 1:
                world.kill("apply", TASK)
            elif round_ in {2, 5}:
                world.reset(TASK, start)
            elif round_ == 3:
                world.reset(TASK, None)
            world.settle()
            assert world.differences() == {}
        rows = world.target.rows("SELECT count(*) FROM person WHERE mine = 7")
        assert rows == world.source.rows("SELECT count(*) FROM person")
    load.close()
    assert world.target.rows(ORPHANS) == [(0,)]
    begun = {(None, False)} if world.target.type == "POSTGRESQL" else {(None, False), (None, True)}
    assert seen <= {*begun, (TOTAL, True)}, "of a first copy alone tables may be seen one by one, where it is not one transaction"
    if world.target.type != "POSTGRESQL":
        return
    assert world.target.rows("SELECT relname FROM pg_class WHERE relname ~ '^(rows|gone)_[0-9]+$'") == []


@on("oldest-newest")
def test_a_row_whose_parent_is_not_mapped_is_refused_by_name_p7(world: ExactWorld[AnyDatabase]) -> None:
    world.target.run(
        "CREATE TABLE elsewhere (id int PRIMARY KEY)", "ALTER TABLE node ADD CONSTRAINT goes FOREIGN KEY (id) REFERENCES elsewhere"
    )
    world.target.run("INSERT INTO elsewhere SELECT generate_series(1, 60)")
    with world.following():
        world.source.run("INSERT INTO node VALUES (4711, NULL, 'secret')")
        world.await_state(TASK, "failed")
        task = world.task(TASK)
        assert task.error_kind == "row_refused"
        assert "constraint goes" in task.message
        assert "4711" not in task.message
        world.target.run("INSERT INTO elsewhere VALUES (4711)")
        world.wish(TASK, True)
        world.settle()
        assert world.differences() == {}
